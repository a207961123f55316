//! Anthropic's [Messages](https://docs.anthropic.com/en/api/messages) over OpenAI's
//! [chat completions](https://platform.openai.com/docs/api-reference/chat).
//!
//! Texts, schemas and ids are copied as they stand in the JSON, escapes unread.

mod messages;
mod part;
mod request;
mod stream;

use common::http::Fault;
use common::json::{ArrayWriter, Document, Kind, Object, ObjectWriter, Raw};

use super::call_id::plain;
use super::chat::{arguments, choice, finish_reason, thinking};
use super::read::string;
use super::signature::UNSIGNED;
use super::{ClientStream, Dropped, Front, Manner, Stamp};

/// A request for a message as one for a chat, and what its answer needs.
///
/// # Errors
/// It is no JSON object, or its messages are none.
pub(crate) fn request(
    text: &[u8],
    manner: Manner,
    stamp: Stamp,
    dropped: &mut Dropped,
) -> Result<(Vec<u8>, Box<dyn Front>), Fault> {
    let (chat, effort) = request::request(text, manner, dropped)?;
    Ok((chat, Box::new(Message { stamp, effort })))
}

/// The client's side.
struct Message {
    stamp: Stamp,
    /// The member by which the client asks for thinking.
    effort: &'static str,
}

impl Front for Message {
    fn answer(&self, chat: &Document<'_>) -> Vec<u8> {
        response(chat, self.stamp)
    }

    fn stream(&self) -> Box<dyn ClientStream> {
        Box::new(stream::MessageStream::new(self.stamp))
    }

    fn name<'n>(&self, member: &'n str) -> &'n str {
        match member {
            "stop" => "stop_sequences",
            "reasoning_effort" => self.effort,
            same => same,
        }
    }
}

/// The id by which a client knows a call; one of our own where the vendor gives none. That differs from all others of
/// the conversation, as Anthropic demands.
fn call_id(id: Option<Raw<'_>>, stamp: Stamp, at: usize) -> Vec<u8> {
    let id = id.and_then(|id| id.as_str()).filter(|id| !id.is_empty());
    let id = id.map_or_else(|| format!("call_{:016x}_{at}", stamp.seed), |id| plain(&id));
    common::json::string(&id)
}

/// A chat completion as a message.
fn response(chat: &Document<'_>, stamp: Stamp) -> Vec<u8> {
    let body = chat.object();
    let choice = choice(&body);
    let message = choice.as_ref().and_then(|choice| choice.get("message")?.object());
    let mut out = Vec::with_capacity(chat.text().len());
    let mut answer = ObjectWriter::open(&mut out);
    answer.raw("id", string(body.get("id")));
    answer.raw("type", br#""message""#);
    answer.raw("role", br#""assistant""#);
    answer.raw("model", string(body.get("model")));
    let mut content = ArrayWriter::open(answer.member("content"));
    let calls_tools = message.is_some_and(|message| write_content(&message, stamp, &mut content));
    content.close();
    let reason = choice.and_then(|choice| choice.get("finish_reason")).and_then(finish_reason);
    match reason {
        Some(reason) => answer.text("stop_reason", stop_reason(&reason, calls_tools)),
        None => answer.raw("stop_reason", b"null"),
    }
    answer.raw("stop_sequence", b"null");
    let usage = body.get("usage").and_then(|usage| usage.object());
    usage.map_or_else(Usage::default, |usage| Usage::of(&usage)).write(answer.member("usage"));
    answer.close();
    out
}

/// Says whether tools are called.
fn write_content(message: &Object<'_>, stamp: Stamp, content: &mut ArrayWriter<'_>) -> bool {
    if let Some(thinking) = thinking(message) {
        let mut block = ObjectWriter::open(content.element());
        block.raw("type", br#""thinking""#);
        block.pieces("thinking", [thinking]);
        block.text("signature", UNSIGNED);
        block.close();
    }
    for text in texts(message) {
        let mut block = ObjectWriter::open(content.element());
        block.raw("type", br#""text""#);
        block.pieces("text", [text]);
        block.close();
    }
    let calls = message.get("tool_calls").and_then(|calls| calls.elements()).unwrap_or_default();
    let mut calls_tools = false;
    for (at, call) in calls.iter().filter_map(|call| call.object()).enumerate() {
        let Some(function) = call.get("function").and_then(|function| function.object()) else { continue };
        calls_tools = true;
        let mut block = ObjectWriter::open(content.element());
        block.raw("type", br#""tool_use""#);
        block.raw("id", &call_id(call.get("id"), stamp, at));
        block.raw("name", string(function.get("name")));
        block.raw("input", &arguments(function.get("arguments")));
        block.close();
    }
    calls_tools
}

/// What a message or a delta says, in pieces as they stand inside their quotes. A refusal is said too.
fn texts<'a>(message: &Object<'a>) -> Vec<&'a [u8]> {
    let content = message.get("content").filter(|content| content.kind() != Kind::Null);
    let parts = content.and_then(|content| content.elements());
    let mut texts: Vec<&[u8]> = match parts {
        Some(parts) => parts.iter().filter_map(|part| part.object()?.get("text")?.escaped()).collect(),
        None => content.and_then(|content| content.escaped()).into_iter().collect(),
    };
    texts.retain(|text| !text.is_empty());
    if texts.is_empty() {
        let refusal = message.get("refusal").and_then(|refusal| refusal.escaped());
        texts.extend(refusal.filter(|refusal| !refusal.is_empty()));
    }
    texts
}

/// Why a chat ended, in Anthropic's words; what has none is left as it is.
fn stop_reason(reason: &str, calls_tools: bool) -> &str {
    match reason {
        // With a tool that must be called OpenAI itself says that it stopped.
        "stop" if calls_tools => "tool_use",
        "stop" => "end_turn",
        "length" => "max_tokens",
        "tool_calls" | "function_call" => "tool_use",
        "content_filter" => "refusal",
        other => other,
    }
}

/// Tokens, counted as Anthropic does: input that was read from a cache counts for itself.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Usage {
    input: u64,
    output: u64,
    cached: u64,
}

impl Usage {
    fn of(usage: &Object<'_>) -> Self {
        let count = |name: &str| usage.get(name).and_then(|count| count.as_u64());
        let details = usage.get("prompt_tokens_details").and_then(|details| details.object());
        let cached = details.and_then(|details| details.get("cached_tokens")?.as_u64());
        let cached = cached.or_else(|| count("cached_tokens")).unwrap_or(0);
        let prompt = count("prompt_tokens").unwrap_or(0);
        Self { input: prompt.saturating_sub(cached), output: count("completion_tokens").unwrap_or(0), cached }
    }

    fn write(self, out: &mut Vec<u8>) {
        let mut usage = ObjectWriter::open(out);
        usage.number("input_tokens", self.input);
        usage.number("output_tokens", self.output);
        if self.cached > 0 {
            usage.number("cache_read_input_tokens", self.cached);
        }
        usage.close();
    }
}
