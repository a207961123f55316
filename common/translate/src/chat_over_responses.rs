//! OpenAI's [chat completions](https://platform.openai.com/docs/api-reference/chat) over its
//! [Responses](https://platform.openai.com/docs/api-reference/responses), in which alone some models are to be had.
//! What becomes of what is OpenAI's
//! [guide to migration](https://platform.openai.com/docs/guides/migrate-to-responses), read in both directions.
//!
//! Texts, schemas and ids are copied as they stand in the JSON, escapes unread.

mod models;
mod request;
mod stream;

use common::http::Fault;
use common::json::{ArrayWriter, Document, JsonError, Kind, Object, ObjectWriter, Raw};

use super::read::{is_blank, is_of, member, string};
use super::{Back, Dropped, Stamp, VendorStream};
use common::http::body;

/// A chat as a request for a response, and what its answer needs. `is_clients`: it is what a client has sent, who
/// knows the model that it asks for.
///
/// # Errors
/// It is no chat, or it asks for what no response can give.
pub(crate) fn request(
    text: &[u8],
    stamp: Stamp,
    is_clients: bool,
    dropped: &mut Dropped,
) -> Result<(Vec<u8>, Box<dyn Back>), Fault> {
    let document = body::document(text)?;
    let chat = document.object();
    let mut out = Vec::with_capacity(text.len() + 256);
    request::write(&chat, is_clients, &mut out, dropped)?;
    Ok((out, Box::new(Completion::of(&chat, stamp))))
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
    /// Chunks of a stream are to be padded.
    wants_padding: bool,
}

impl Completion {
    fn of(chat: &Object<'_>, stamp: Stamp) -> Self {
        let options = member(chat, "stream_options").and_then(|options| options.object());
        let wants =
            |name: &str| options.as_ref().and_then(|options| options.get(name)?.as_bool()).unwrap_or(false);
        Self {
            stamp,
            model: string(chat.get("model")).to_vec(),
            has_functions: member(chat, "functions").is_some() && member(chat, "tools").is_none(),
            wants_usage: wants("include_usage"),
            wants_padding: wants("include_obfuscation"),
        }
    }

    /// Writes the members that a completion and each of its chunks begin with.
    fn write_head(&self, response: Option<&Object<'_>>, kind: &str, answer: &mut ObjectWriter<'_>) {
        let text = |name: &str| {
            let value = response.and_then(|response| response.get(name));
            value.filter(|value| value.kind() == Kind::String && !is_blank(*value))
        };
        match text("id") {
            Some(id) => answer.raw("id", id.text()),
            None => answer.text("id", &format!("chatcmpl-{:016x}", self.stamp.seed)),
        }
        answer.text("object", kind);
        let created = response.and_then(|response| seconds(response.get("created_at")?));
        answer.number("created", created.unwrap_or(self.stamp.created));
        answer.raw("model", text("model").map_or(&self.model, |model| model.text()));
    }

    fn finish_reason(&self, response: &Object<'_>, calls_tools: bool) -> &'static str {
        let details = response.get("incomplete_details").and_then(|details| details.object());
        let reason = details.and_then(|details| details.get("reason")?.as_str());
        match reason.as_deref() {
            Some("max_output_tokens") => "length",
            Some("content_filter") => "content_filter",
            _ if !calls_tools => "stop",
            _ if self.has_functions => "function_call",
            _ => "tool_calls",
        }
    }
}

impl Back for Completion {
    fn answer(&self, text: &[u8]) -> Result<Vec<u8>, JsonError> {
        let document = Document::of(text)?;
        let response = document.object();
        let mut out = Vec::with_capacity(text.len());
        let output = match outcome(&response) {
            Ok(output) => output,
            Err(error) => {
                error.write(&mut out);
                return Ok(out);
            }
        };
        let items: Vec<_> = output.iter().filter_map(|item| item.object()).collect();
        let said = Said::of(&items);
        let mut answer = ObjectWriter::open(&mut out);
        self.write_head(Some(&response), "chat.completion", &mut answer);
        copy_tier(&response, &mut answer);
        let mut choices = ArrayWriter::open(answer.member("choices"));
        let mut choice = ObjectWriter::open(choices.element());
        choice.raw("index", b"0");
        said.write(self.has_functions, choice.member("message"));
        choice.text("finish_reason", self.finish_reason(&response, !said.calls.is_empty()));
        write_logprobs(&said.logprobs, choice.member("logprobs"));
        choice.close();
        choices.close();
        match response.get("usage").and_then(|usage| usage.object()) {
            Some(usage) => write_usage(&usage, answer.member("usage")),
            None => answer.raw("usage", b"null"),
        }
        if let Some(moderation) = member(&response, "moderation").and_then(|moderation| moderation.object()) {
            write_moderation(&moderation, answer.member("moderation"));
        }
        answer.close();
        Ok(out)
    }

    fn stream(&self) -> Box<dyn VendorStream> {
        Box::new(stream::ChunkStream::new(self.clone()))
    }
}

/// Whole seconds; some write them with a fraction.
fn seconds(value: Raw<'_>) -> Option<u64> {
    let text = std::str::from_utf8(value.text()).ok()?;
    let (whole, _) = text.split_once('.').unwrap_or((text, ""));
    whole.parse().ok()
}

/// What a response puts out, or why it does not.
fn outcome<'a>(response: &Object<'a>) -> Result<Vec<Raw<'a>>, Failure<'a>> {
    let error = response.get("error").filter(|error| !is_blank(*error));
    let status = response.get("status").and_then(|status| status.as_str());
    match (error, status.as_deref()) {
        (Some(error), _) => Err(Failure::of(error)),
        (None, Some("failed")) => Err(Failure { error: None, words: "the upstream's response has failed" }),
        (None, Some("cancelled")) => {
            Err(Failure { error: None, words: "the upstream's response was cancelled" })
        }
        (None, _) => response
            .get("output")
            .and_then(|output| output.elements())
            .ok_or(Failure { error: None, words: "the upstream's answer is no response" }),
    }
}

/// An error of the vendor's.
struct Failure<'a> {
    error: Option<Raw<'a>>,
    /// What is said where the vendor says nothing.
    words: &'static str,
}

impl<'a> Failure<'a> {
    fn of(error: Raw<'a>) -> Self {
        Self { error: Some(error), words: "the upstream has failed" }
    }

    /// Writes it as chats have it.
    fn write(&self, out: &mut Vec<u8>) {
        let object = self.error.and_then(|error| error.object());
        let text = |name: &str| match &object {
            Some(object) => member(object, name),
            None => self.error.filter(|error| name == "message" && error.kind() == Kind::String),
        };
        let mut body = ObjectWriter::open(out);
        let mut error = ObjectWriter::open(body.member("error"));
        match text("message") {
            Some(message) => error.raw("message", message.text()),
            None => error.text("message", self.words),
        }
        // The type of an event is none of an error.
        match text("type").filter(|kind| !kind.is("error")) {
            Some(kind) => error.raw("type", kind.text()),
            None => error.text("type", "server_error"),
        }
        for name in ["param", "code"] {
            error.raw(name, text(name).map_or(b"null", |value| value.text()));
        }
        error.close();
        body.close();
    }
}

/// What a model said, in pieces as they stand inside their quotes.
#[derive(Default)]
struct Said<'a> {
    texts: Vec<&'a [u8]>,
    refusals: Vec<&'a [u8]>,
    thoughts: Vec<&'a [u8]>,
    calls: Vec<Call<'a>>,
    /// Each with the place at which the text begins that it is about.
    citations: Vec<(Object<'a>, u64)>,
    logprobs: Vec<&'a [u8]>,
}

/// Between two texts, inside a JSON string.
const PARAGRAPH: &[u8] = br"\n\n";

impl<'a> Said<'a> {
    fn of(items: &[Object<'a>]) -> Self {
        let mut said = Self::default();
        let mut characters = 0;
        for item in items {
            let kind = item.get("type").and_then(|kind| kind.as_str());
            match kind.as_deref() {
                Some("message") => {
                    let mut is_next = !said.texts.is_empty();
                    for part in parts(item, "content") {
                        if is_next && part_text(&part).is_some() {
                            is_next = false;
                            said.texts.push(PARAGRAPH);
                            characters += length(PARAGRAPH);
                        }
                        said.part(&part, &mut characters);
                    }
                }
                Some("reasoning") => {
                    for thought in thoughts(item) {
                        if !said.thoughts.is_empty() {
                            said.thoughts.push(PARAGRAPH);
                        }
                        said.thoughts.push(thought);
                    }
                }
                _ => said.calls.extend(Call::of(item)),
            }
        }
        said
    }

    fn part(&mut self, part: &Object<'a>, characters: &mut u64) {
        if let Some(text) = part_text(part) {
            self.texts.push(text);
            self.citations.extend(citations(part).map(|citation| (citation, *characters)));
            self.logprobs.extend(logprobs(part));
            *characters += length(text);
        }
        self.refusals.extend(part_refusal(part));
    }

    fn write(&self, has_functions: bool, out: &mut Vec<u8>) {
        let is_silent = !self.calls.is_empty() || !self.refusals.is_empty();
        let mut message = ObjectWriter::open(out);
        message.raw("role", br#""assistant""#);
        if self.texts.is_empty() && is_silent {
            message.raw("content", b"null");
        } else {
            message.pieces("content", self.texts.iter().copied());
        }
        if self.refusals.is_empty() {
            message.raw("refusal", b"null");
        } else {
            message.pieces("refusal", self.refusals.iter().copied());
        }
        if !self.thoughts.is_empty() {
            message.pieces("reasoning_content", self.thoughts.iter().copied());
        }
        if !self.citations.is_empty() {
            let mut list = ArrayWriter::open(message.member("annotations"));
            for (citation, start) in &self.citations {
                write_citation(citation, *start, list.element());
            }
            list.close();
        }
        match self.calls.first() {
            None => {}
            Some(call) if has_functions => call.write_function(call.input, message.member("function_call")),
            Some(_) => {
                let mut list = ArrayWriter::open(message.member("tool_calls"));
                for (index, call) in (0..).zip(&self.calls) {
                    call.write(index, call.input, list.element());
                }
                list.close();
            }
        }
        message.close();
    }
}

/// A call of a tool. All are JSON.
#[derive(Clone, Copy)]
struct Call<'a> {
    id: &'a [u8],
    name: &'a [u8],
    is_custom: bool,
    input: &'a [u8],
}

impl<'a> Call<'a> {
    /// The call that an item is. What has no name cannot be called.
    fn of(item: &Object<'a>) -> Option<Self> {
        let kind = item.get("type")?.as_str()?;
        let (is_custom, input) = match &*kind {
            "function_call" => (false, "arguments"),
            "custom_tool_call" => (true, "input"),
            _ => return None,
        };
        let name = item.get("name").filter(|name| name.kind() == Kind::String)?.text();
        let id = member(item, "call_id").or_else(|| item.get("id"));
        Some(Self { id: string(id), name, is_custom, input: string(item.get(input)) })
    }

    /// Writes it with this input, a JSON string.
    fn write(&self, index: u64, input: &[u8], out: &mut Vec<u8>) {
        let mut call = ObjectWriter::open(out);
        call.number("index", index);
        call.raw("id", self.id);
        if self.is_custom {
            call.raw("type", br#""custom""#);
            let mut custom = ObjectWriter::open(call.member("custom"));
            custom.raw("name", self.name);
            custom.raw("input", input);
            custom.close();
        } else {
            call.raw("type", br#""function""#);
            self.write_function(input, call.member("function"));
        }
        call.close();
    }

    fn write_function(&self, input: &[u8], out: &mut Vec<u8>) {
        let mut function = ObjectWriter::open(out);
        function.raw("name", self.name);
        function.raw("arguments", input);
        function.close();
    }
}

/// The elements of a list in an item that are objects.
fn parts<'a>(item: &Object<'a>, name: &str) -> impl Iterator<Item = Object<'a>> + use<'a> {
    let parts = item.get(name).and_then(|parts| parts.elements()).unwrap_or_default();
    parts.into_iter().filter_map(|part| part.object())
}

fn part_text<'a>(part: &Object<'a>) -> Option<&'a [u8]> {
    let text = part.get("text")?.escaped()?;
    (is_of(part, "type", "output_text") && !text.is_empty()).then_some(text)
}

fn part_refusal<'a>(part: &Object<'a>) -> Option<&'a [u8]> {
    part.get("refusal")?.escaped().filter(|refusal| !refusal.is_empty())
}

/// What an item says about a model's thinking: a summary, or all of it.
fn thoughts<'a>(item: &Object<'a>) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    let all = parts(item, "summary").chain(parts(item, "content"));
    all.filter_map(|part| part.get("text")?.escaped().filter(|text| !text.is_empty()))
}

/// The annotations of a part that chats have too.
fn citations<'a>(part: &Object<'a>) -> impl Iterator<Item = Object<'a>> + use<'a> {
    parts(part, "annotations").filter(|annotation| is_of(annotation, "type", "url_citation"))
}

/// Writes a citation whose places count from this one.
fn write_citation(citation: &Object<'_>, start: u64, out: &mut Vec<u8>) {
    let mut annotation = ObjectWriter::open(out);
    annotation.raw("type", br#""url_citation""#);
    let mut inner = ObjectWriter::open(annotation.member("url_citation"));
    for name in ["end_index", "start_index"] {
        let place = citation.get(name).and_then(|place| place.as_u64()).unwrap_or(0);
        inner.number(name, place.saturating_add(start));
    }
    for name in ["title", "url"] {
        inner.raw(name, string(citation.get(name)));
    }
    inner.close();
    annotation.close();
}

/// The inside of a list of log probabilities, whose entries are the same in both.
fn logprobs<'a>(part: &Object<'a>) -> Option<&'a [u8]> {
    let list = part.get("logprobs").filter(|list| list.kind() == Kind::Array && !is_blank(*list))?;
    list.text().strip_prefix(b"[")?.strip_suffix(b"]")
}

fn write_logprobs(lists: &[&[u8]], out: &mut Vec<u8>) {
    if lists.is_empty() {
        return out.extend_from_slice(b"null");
    }
    let mut logprobs = ObjectWriter::open(out);
    let mut content = ArrayWriter::open(logprobs.member("content"));
    for list in lists {
        content.element().extend_from_slice(list);
    }
    content.close();
    logprobs.raw("refusal", b"null");
    logprobs.close();
}

/// Which of the vendor's tiers has answered.
fn copy_tier(response: &Object<'_>, answer: &mut ObjectWriter<'_>) {
    if let Some(tier) = member(response, "service_tier") {
        answer.raw("service_tier", tier.text());
    }
}

fn write_usage(usage: &Object<'_>, out: &mut Vec<u8>) {
    let count = |name: &str| usage.get(name).and_then(|count| count.as_u64()).unwrap_or(0);
    let (input, output) = (count("input_tokens"), count("output_tokens"));
    let total = usage.get("total_tokens").and_then(|total| total.as_u64());
    let mut written = ObjectWriter::open(out);
    for (name, count) in [
        ("prompt_tokens", input),
        ("completion_tokens", output),
        ("total_tokens", total.unwrap_or(input.saturating_add(output))),
    ] {
        written.number(name, count);
    }
    for (theirs, name, counts) in [
        ("input_tokens_details", "prompt_tokens_details", &["cached_tokens", "cache_write_tokens"][..]),
        ("output_tokens_details", "completion_tokens_details", &["reasoning_tokens"][..]),
    ] {
        let Some(details) = usage.get(theirs).and_then(|details| details.object()) else { continue };
        let mut inner = ObjectWriter::open(written.member(name));
        for name in counts {
            if let Some(count) = member(&details, name) {
                inner.raw(name, count.text());
            }
        }
        inner.close();
    }
    written.close();
}

/// Chats have a list of results where responses have one.
fn write_moderation(moderation: &Object<'_>, out: &mut Vec<u8>) {
    let mut written = ObjectWriter::open(out);
    for name in ["input", "output"] {
        let Some(verdict) = member(moderation, name) else { continue };
        let Some(object) = verdict.object().filter(|verdict| is_of(verdict, "type", "moderation_result"))
        else {
            written.raw(name, verdict.text());
            continue;
        };
        let mut results = ObjectWriter::open(written.member(name));
        results.raw("type", br#""moderation_results""#);
        results.raw("model", string(object.get("model")));
        let mut list = ArrayWriter::open(results.member("results"));
        list.element().extend_from_slice(verdict.text());
        list.close();
        results.close();
    }
    written.close();
}

/// How many characters a text has that is given as it stands inside a JSON string.
fn length(text: &[u8]) -> u64 {
    let (mut count, mut rest) = (0, text);
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        match byte {
            // Not the first byte of a character.
            0x80..=0xbf => {}
            b'\\' => {
                let is_second_half = matches!(behind, [b'u', b'd' | b'D', b'c'..=b'f' | b'C'..=b'F', ..]);
                count += u64::from(!is_second_half);
                let escape = if behind.first() == Some(&b'u') { 5 } else { 1 };
                rest = behind.get(escape..).unwrap_or_default();
            }
            _ => count += 1,
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_counted_as_they_are_read() {
        for text in ["", "abc", "grüße 🌍", "a\n\"b\"\\", "\u{1}é", "日本"] {
            let quoted = common::json::string(text);
            let inside = &quoted[1..quoted.len() - 1];
            assert_eq!(length(inside), text.chars().count() as u64, "{text}");
        }
        assert_eq!(length(br"\ud83c\udf0dx\u00e9"), 3);
        assert_eq!(length(br"a\"), 2);
        assert_eq!(length(br"\u1"), 1);
    }
}
