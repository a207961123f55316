//! OpenAI's [chat completions](https://platform.openai.com/docs/api-reference/chat) over Anthropic's
//! [Messages](https://docs.anthropic.com/en/api/messages).
//!
//! Texts, schemas and ids are copied as they stand in the JSON, escapes unread.

mod messages;
mod request;
mod stream;
mod thinking;
mod tools;

use common::http::{Fault, Head};
use common::json::{self, ArrayWriter, JsonError, Object, ObjectWriter, Raw};

use super::read::{escaped, is_of, member, string};
use super::{Back, Dropped, Stamp, VendorStream};
use crate::body;

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
    let chat = body::object(text)?;
    let mut out = Vec::with_capacity(text.len() + 256);
    let names_files = request::write(&chat, &mut out, dropped)?;
    let options = member(&chat, "stream_options").and_then(|options| options.object());
    let usage = options.and_then(|options| options.get("include_usage")?.as_bool());
    Ok((
        out,
        Box::new(Completion {
            stamp,
            model: string(chat.get("model")).to_vec(),
            has_functions: member(&chat, "functions").is_some() && member(&chat, "tools").is_none(),
            hides_usage: usage == Some(false),
            names_files,
        }),
    ))
}

/// The vendor's side: what the chat says about its answer.
#[derive(Debug, Clone)]
struct Completion {
    stamp: Stamp,
    /// The JSON of the model that was asked for.
    model: Vec<u8>,
    /// The chat has functions as they were before there were tools: one is called at most, and without an id.
    has_functions: bool,
    /// A stream is to say nothing of usage.
    hides_usage: bool,
    /// The request names files that were uploaded before.
    names_files: bool,
}

impl Completion {
    /// Writes the members that a completion and each of its chunks begin with.
    fn write_head(&self, message: Option<&Object<'_>>, kind: &str, answer: &mut ObjectWriter<'_>) {
        let text = |name: &str| message.filter(|it| escaped(it, name).is_some()).and_then(|it| it.get(name));
        match text("id") {
            Some(id) => answer.raw("id", id.text()),
            None => answer.text("id", &format!("chatcmpl-{:016x}", self.stamp.seed)),
        }
        answer.text("object", kind);
        answer.raw("created", self.stamp.created.to_string().as_bytes());
        answer.raw("model", text("model").map_or(&self.model, |model| model.text()));
        let usage = message.and_then(|message| message.get("usage")?.object());
        if let Some(tier) = usage.and_then(|usage| member(&usage, "service_tier")) {
            answer.raw("service_tier", tier.text());
        }
    }
}

impl Back for Completion {
    fn answer(&self, body: &[u8]) -> Result<Vec<u8>, JsonError> {
        let message = json::object(body)?;
        let mut out = Vec::with_capacity(body.len() + 256);
        let content = member(&message, "content").and_then(|content| content.elements());
        let Some(content) = content.filter(|_| member(&message, "error").is_none()) else {
            Failure::of(&message).write(&mut out);
            return Ok(out);
        };
        let mut answer = ObjectWriter::open(&mut out);
        self.write_head(Some(&message), "chat.completion", &mut answer);
        let mut choices = ArrayWriter::open(answer.member("choices"));
        let mut choice = ObjectWriter::open(choices.element());
        choice.raw("index", b"0");
        let blocks: Vec<Object<'_>> = content.iter().filter_map(|block| block.object()).collect();
        let calls = self.write_message(&blocks, choice.member("message"));
        let reason = message.get("stop_reason").and_then(|reason| reason.as_str());
        choice.text("finish_reason", self.finish_reason(reason.as_deref(), calls));
        choice.raw("logprobs", b"null");
        choice.close();
        choices.close();
        let usage = message.get("usage").and_then(|usage| usage.object());
        usage
            .map_or_else(Usage::default, |usage| Usage::default().updated(&usage))
            .write(answer.member("usage"));
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

impl Completion {
    /// Says whether tools are called.
    fn write_message(&self, blocks: &[Object<'_>], out: &mut Vec<u8>) -> bool {
        let of = |kind: &'static str| blocks.iter().filter(move |block| is_of(block, "type", kind));
        let texts: Vec<&[u8]> = of("text").filter_map(|block| escaped(block, "text")).collect();
        let thoughts: Vec<&[u8]> = of("thinking").filter_map(|block| escaped(block, "thinking")).collect();
        let calls: Vec<&Object<'_>> = of("tool_use").collect();
        let mut message = ObjectWriter::open(out);
        message.raw("role", br#""assistant""#);
        if texts.is_empty() && !calls.is_empty() {
            message.raw("content", b"null");
        } else {
            message.pieces("content", texts);
        }
        if !thoughts.is_empty() {
            message.pieces("reasoning_content", thoughts);
        }
        let kept = thinking::is_kept;
        if blocks.iter().any(kept) {
            let mut list = ArrayWriter::open(message.member(thinking::BLOCKS));
            blocks
                .iter()
                .filter(|block| kept(block))
                .for_each(|block| thinking::write(block, list.element()));
            list.close();
        }
        match calls.first() {
            None => {}
            Some(call) if self.has_functions => {
                write_function(string(call.get("name")), &input(call), message.member("function_call"));
            }
            Some(_) => {
                let mut list = ArrayWriter::open(message.member("tool_calls"));
                for (index, call) in calls.iter().enumerate() {
                    write_call(index, call, &input(call), list.element());
                }
                list.close();
            }
        }
        message.close();
        !calls.is_empty()
    }

    /// Why a message ended, in OpenAI's words: <https://docs.anthropic.com/en/api/handling-stop-reasons>.
    fn finish_reason(&self, reason: Option<&str>, calls_tools: bool) -> &'static str {
        match reason {
            Some("max_tokens" | "model_context_window_exceeded") => "length",
            Some("refusal") => "content_filter",
            Some("tool_use") if self.has_functions => "function_call",
            Some("tool_use") => "tool_calls",
            None if calls_tools => "tool_calls",
            _ => "stop",
        }
    }
}

/// What a tool is called with, as the text of its JSON.
fn input(call: &Object<'_>) -> Vec<u8> {
    let input = member(call, "input").and_then(|input| std::str::from_utf8(input.text()).ok());
    json::string(input.unwrap_or("{}"))
}

/// Writes a call with this text of arguments.
fn write_call(index: usize, call: &Object<'_>, arguments: &[u8], out: &mut Vec<u8>) {
    let mut written = ObjectWriter::open(out);
    written.raw("index", index.to_string().as_bytes());
    written.raw("id", string(call.get("id")));
    written.raw("type", br#""function""#);
    write_function(string(call.get("name")), arguments, written.member("function"));
    written.close();
}

fn write_function(name: &[u8], arguments: &[u8], out: &mut Vec<u8>) {
    let mut function = ObjectWriter::open(out);
    function.raw("name", name);
    function.raw("arguments", arguments);
    function.close();
}

/// Tokens, counted as OpenAI does: input that was read from or written to a cache is input too.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Usage {
    input: u64,
    cache_read: u64,
    cache_written: u64,
    output: u64,
    thinking: u64,
}

impl Usage {
    /// The counters that are there are all of their tokens, not more of them.
    fn updated(self, usage: &Object<'_>) -> Self {
        let count =
            |name: &str, before: u64| usage.get(name).and_then(|count| count.as_u64()).unwrap_or(before);
        let details = usage.get("output_tokens_details").and_then(|details| details.object());
        let thinking = details.and_then(|details| details.get("thinking_tokens")?.as_u64());
        Self {
            input: count("input_tokens", self.input),
            cache_read: count("cache_read_input_tokens", self.cache_read),
            cache_written: count("cache_creation_input_tokens", self.cache_written),
            output: count("output_tokens", self.output),
            thinking: thinking.unwrap_or(self.thinking),
        }
    }

    fn write(self, out: &mut Vec<u8>) {
        let prompt = self.input.saturating_add(self.cache_read).saturating_add(self.cache_written);
        let mut usage = ObjectWriter::open(out);
        for (name, count) in [
            ("prompt_tokens", prompt),
            ("completion_tokens", self.output),
            ("total_tokens", prompt.saturating_add(self.output)),
        ] {
            usage.raw(name, count.to_string().as_bytes());
        }
        for (details, name, count) in [
            ("prompt_tokens_details", "cached_tokens", self.cache_read),
            ("completion_tokens_details", "reasoning_tokens", self.thinking),
        ] {
            if count > 0 {
                let mut inner = ObjectWriter::open(usage.member(details));
                inner.raw(name, count.to_string().as_bytes());
                inner.close();
            }
        }
        usage.close();
    }
}

/// An error of the vendor's, in an answer or a stream.
struct Failure<'a>(Option<Raw<'a>>);

impl<'a> Failure<'a> {
    fn of(body: &Object<'a>) -> Self {
        Self(member(body, "error"))
    }

    /// Writes it as chats have it.
    fn write(&self, out: &mut Vec<u8>) {
        let error = self.0.and_then(|error| error.object());
        let text =
            |name: &str| error.as_ref().filter(|it| escaped(it, name).is_some()).and_then(|it| it.get(name));
        let mut body = ObjectWriter::open(out);
        let mut written = ObjectWriter::open(body.member("error"));
        match text("message") {
            Some(message) => written.raw("message", message.text()),
            None => written.text("message", "the upstream failed"),
        }
        match text("type") {
            Some(kind) => written.raw("type", kind.text()),
            None => written.text("type", "api_error"),
        }
        written.raw("param", b"null");
        written.raw("code", b"null");
        written.close();
        body.close();
    }
}
