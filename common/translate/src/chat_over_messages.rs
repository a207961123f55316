//! OpenAI's [chat completions](https://platform.openai.com/docs/api-reference/chat) over Anthropic's
//! [Messages](https://docs.anthropic.com/en/api/messages).
//!
//! Texts, schemas and ids are copied as they stand in the JSON, escapes unread.
//!
//! Anthropic wants to see again what a model thought before it called tools, signed as it was sent. So an answer
//! carries those blocks beside their text, as `thinking_blocks`, and a message that brings them back has them first.

mod calls;
mod conversation;
mod model;
mod request;
mod schema;
mod source;
mod stream;
mod thinking;
mod tools;

use common::http::{Fault, Head};
use common::json::{ArrayWriter, Document, JsonError, Kind, Object, ObjectWriter, Raw};

use super::read::{escaped, is_blank, member, string};
use super::{Back, Dropped, Stamp, VendorStream};
use common::http::body;

/// Lets a request name files that were uploaded before: <https://docs.anthropic.com/en/docs/build-with-claude/files>.
const FILES_BETA: &str = "files-api-2025-04-14";

/// A chat as a request for a message, and what its answer needs.
///
/// # Errors
/// It is no chat, or it asks for what no message can give.
pub(crate) fn request(
    text: &[u8],
    stamp: Stamp,
    dropped: &mut Dropped,
) -> Result<(Vec<u8>, Box<dyn Back>), Fault> {
    let document = body::document(text)?;
    let chat = document.object();
    let mut out = Vec::with_capacity(text.len() + 256);
    let names_files = request::write(&chat, &mut out, dropped)?;
    Ok((out, Box::new(Completion { names_files, ..Completion::of(&chat, stamp) })))
}

/// The vendor's side: what the chat says about its answer.
#[derive(Debug, Clone)]
struct Completion {
    stamp: Stamp,
    /// The JSON of the model that was asked for.
    model: Vec<u8>,
    /// The chat has functions as they were before there were tools: one is called at most, and without an id.
    has_functions: bool,
    /// Usage is to stand at the end of a stream.
    wants_usage: bool,
    /// The request names files that were uploaded before.
    names_files: bool,
}

impl Completion {
    fn of(chat: &Object<'_>, stamp: Stamp) -> Self {
        let options = member(chat, "stream_options").and_then(|options| options.object());
        let usage = options.and_then(|options| options.get("include_usage")?.as_bool());
        Self {
            stamp,
            model: string(chat.get("model")).to_vec(),
            has_functions: member(chat, "functions").is_some() && member(chat, "tools").is_none(),
            wants_usage: usage != Some(false),
            names_files: false,
        }
    }

    /// Writes the members that a completion and each of its chunks begin with.
    fn write_head(&self, message: Option<&Object<'_>>, kind: &str, answer: &mut ObjectWriter<'_>) {
        let id = message.and_then(|message| message.get("id"));
        match id.filter(|id| id.kind() == Kind::String && !is_blank(*id)) {
            Some(id) => answer.raw("id", id.text()),
            None => answer.text("id", &format!("chatcmpl-{:016x}", self.stamp.seed)),
        }
        answer.text("object", kind);
        answer.number("created", self.stamp.created);
        answer.raw("model", &self.model);
        let usage = message.and_then(|message| message.get("usage")?.object());
        if let Some(tier) = usage.and_then(|usage| member(&usage, "service_tier")) {
            answer.raw("service_tier", tier.text());
        }
    }

    /// Why the model stopped, in OpenAI's words.
    fn finish_reason(&self, reason: Option<Raw<'_>>) -> &'static str {
        match reason.and_then(|reason| reason.as_str()).as_deref() {
            Some("tool_use") if self.has_functions => "function_call",
            Some("tool_use") => "tool_calls",
            Some("max_tokens" | "model_context_window_exceeded") => "length",
            Some("refusal") => "content_filter",
            _ => "stop",
        }
    }
}

impl Back for Completion {
    fn answer(&self, text: &[u8]) -> Result<Vec<u8>, JsonError> {
        let document = Document::of(text)?;
        let message = document.object();
        if message.get("error").is_some_and(|error| !is_blank(error)) {
            return Ok(text.to_vec());
        }
        let Some(blocks) = message.get("content").and_then(|content| content.elements()) else {
            return Ok(br#"{"error":{"message":"the upstream's answer is no message"}}"#.to_vec());
        };
        let blocks: Vec<_> = blocks.iter().filter_map(|block| Some((*block, block.object()?))).collect();
        let mut out = Vec::with_capacity(text.len() + 256);
        let mut answer = ObjectWriter::open(&mut out);
        self.write_head(Some(&message), "chat.completion", &mut answer);
        let mut choices = ArrayWriter::open(answer.member("choices"));
        let mut choice = ObjectWriter::open(choices.element());
        choice.raw("index", b"0");
        Said::of(&blocks).write(self.has_functions, choice.member("message"));
        choice.text("finish_reason", self.finish_reason(message.get("stop_reason")));
        choice.raw("logprobs", b"null");
        choice.close();
        choices.close();
        match message.get("usage").and_then(|usage| usage.object()) {
            Some(usage) => {
                let mut counts = Usage::default();
                counts.take(&usage);
                counts.write(answer.member("usage"));
            }
            None => answer.raw("usage", b"null"),
        }
        answer.close();
        Ok(out)
    }

    fn stream(&self) -> Box<dyn VendorStream> {
        Box::new(stream::ChunkStream::new(self.clone()))
    }

    fn edit_head(&self, head: &mut Head) {
        if !self.names_files {
            return;
        }
        match head.get_str("anthropic-beta").map(str::to_owned) {
            None => head.set("anthropic-beta", FILES_BETA),
            Some(betas) if betas.contains(FILES_BETA) => {}
            Some(betas) => head.set("anthropic-beta", format!("{betas},{FILES_BETA}")),
        }
    }
}

/// What a model said, in pieces as they stand inside their quotes. What it did at the vendor's, and what came of
/// that, has no place in a chat.
#[derive(Default)]
struct Said<'a> {
    texts: Vec<&'a [u8]>,
    thoughts: Vec<&'a [u8]>,
    /// Blocks of thinking that can be sent again.
    signed: Vec<&'a [u8]>,
    calls: Vec<Call<'a>>,
}

impl<'a> Said<'a> {
    fn of(blocks: &[(Raw<'a>, Object<'a>)]) -> Self {
        let mut said = Self::default();
        for (raw, block) in blocks {
            let kind = block.get("type").and_then(|kind| kind.as_str());
            match kind.as_deref() {
                Some("text") => said.texts.extend(escaped(block, "text")),
                Some("thinking") => {
                    said.thoughts.extend(escaped(block, "thinking"));
                    let is_signed = escaped(block, "signature").is_some();
                    said.signed.extend(is_signed.then_some(raw.text()));
                }
                Some("redacted_thinking") => said.signed.push(raw.text()),
                Some("tool_use") => said.calls.extend(Call::of(block)),
                _ => {}
            }
        }
        said
    }

    fn write(&self, has_functions: bool, out: &mut Vec<u8>) {
        let mut message = ObjectWriter::open(out);
        message.raw("role", br#""assistant""#);
        if self.texts.is_empty() && !self.calls.is_empty() {
            message.raw("content", b"null");
        } else {
            message.pieces("content", self.texts.iter().copied());
        }
        if !self.thoughts.is_empty() {
            message.pieces("reasoning_content", self.thoughts.iter().copied());
        }
        if !self.signed.is_empty() {
            let mut list = ArrayWriter::open(message.member("thinking_blocks"));
            self.signed.iter().for_each(|block| list.element().extend_from_slice(block));
            list.close();
        }
        match self.calls.first() {
            None => {}
            Some(call) if has_functions => call.write_function(message.member("function_call")),
            Some(_) => {
                let mut list = ArrayWriter::open(message.member("tool_calls"));
                for (index, call) in self.calls.iter().enumerate() {
                    let mut written = ObjectWriter::open(list.element());
                    written.number("index", index as u64);
                    written.raw("id", call.id);
                    written.raw("type", br#""function""#);
                    call.write_function(written.member("function"));
                    written.close();
                }
                list.close();
            }
        }
        message.close();
    }
}

/// A call of one of the client's tools. All are JSON.
#[derive(Clone, Copy)]
struct Call<'a> {
    id: &'a [u8],
    name: &'a [u8],
    /// An object; `None`: there is none, or nothing is in it.
    input: Option<&'a [u8]>,
}

impl<'a> Call<'a> {
    /// The call that a block is. What has no name cannot be called.
    fn of(block: &Object<'a>) -> Option<Self> {
        let name = block.get("name").filter(|name| name.kind() == Kind::String)?.text();
        let input = block.get("input").filter(|input| input.kind() == Kind::Object && !is_blank(*input));
        Some(Self { id: string(block.get("id")), name, input: input.map(|input| input.text()) })
    }

    fn write_function(&self, out: &mut Vec<u8>) {
        let mut function = ObjectWriter::open(out);
        function.raw("name", self.name);
        let input = self.input.unwrap_or(b"{}");
        function.text("arguments", std::str::from_utf8(input).unwrap_or("{}"));
        function.close();
    }
}

/// Tokens. Anthropic counts input that was written to a cache, or read from one, for itself.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Usage {
    input: u64,
    read: u64,
    written: u64,
    output: u64,
    thinking: u64,
}

impl Usage {
    /// Takes the counts that are there. Later ones are not what has been added, but all there is.
    fn take(&mut self, usage: &Object<'_>) {
        for (count, name) in [
            (&mut self.input, "input_tokens"),
            (&mut self.read, "cache_read_input_tokens"),
            (&mut self.written, "cache_creation_input_tokens"),
            (&mut self.output, "output_tokens"),
        ] {
            *count = usage.get(name).and_then(|count| count.as_u64()).unwrap_or(*count);
        }
        let details = usage.get("output_tokens_details").and_then(|details| details.object());
        let thinking = details.and_then(|details| details.get("thinking_tokens")?.as_u64());
        self.thinking = thinking.unwrap_or(self.thinking);
    }

    /// Writes them as OpenAI counts.
    fn write(self, out: &mut Vec<u8>) {
        let prompt = self.input.saturating_add(self.read).saturating_add(self.written);
        let mut usage = ObjectWriter::open(out);
        for (name, count) in [
            ("prompt_tokens", prompt),
            ("completion_tokens", self.output),
            ("total_tokens", prompt.saturating_add(self.output)),
        ] {
            usage.number(name, count);
        }
        for (name, detail, count) in [
            ("prompt_tokens_details", "cached_tokens", self.read),
            ("completion_tokens_details", "reasoning_tokens", self.thinking),
        ] {
            if count > 0 {
                let mut details = ObjectWriter::open(usage.member(name));
                details.number(detail, count);
                details.close();
            }
        }
        usage.close();
    }
}
