//! OpenAI's [Responses](https://platform.openai.com/docs/api-reference/responses) over its
//! [chat completions](https://platform.openai.com/docs/api-reference/chat).
//!
//! Nothing is kept between requests, so the whole conversation comes with each; a response says `store: false`.
//! A model's thinking is the summary of a reasoning item, and goes back to the vendor where tools were called; what is
//! signed of it is carried beside the summary, and goes back to whoever signs. Tools that are no functions become some,
//! and calls of them are again what the client knows.
//!
//! Texts, schemas and ids are copied as they stand in the JSON, escapes unread.

mod argument;
mod input;
mod output;
mod request;
mod stream;
mod thinking;
mod tools;

use std::rc::Rc;

use common::http::Fault;
use common::json::{Document, Kind, Object};

pub use self::thinking::{MARK, remove_thinking};

use self::output::{Asked, Call, Head, Item, Part, State, Status, Thinking, Usage};
use self::output::{add, annotation, incomplete};
use self::thinking::add_blocks;
use super::chat::{choice, finish_reason, thinking};
use super::read::member;
use super::{ClientStream, Dropped, Front, Manner, Pair, Stamp};
use common::http::body;

/// Codes of failures that clients know: of a
/// [response's](https://platform.openai.com/docs/api-reference/responses/object), and two that Codex looks for.
const CODES: [&str; 6] = [
    "server_error",
    "rate_limit_exceeded",
    "invalid_prompt",
    "context_length_exceeded",
    "insufficient_quota",
    "image_content_policy_violation",
];

/// A request for a response as one for a chat, and what its answer needs.
///
/// # Errors
/// It is no JSON object, has members of another kind than they are, or needs what no chat has.
pub(crate) fn request(
    text: &[u8],
    pair: Pair,
    manner: Manner,
    stamp: Stamp,
    dropped: &mut Dropped,
) -> Result<(Vec<u8>, Box<dyn Front>), Fault> {
    let document = body::document(text)?;
    let body = document.object();
    let mut chat = Vec::with_capacity(text.len() + 256);
    let tools = request::write(&body, pair, manner, &mut chat, dropped)?;
    let asked = |name: &str, absent: &[u8]| {
        let value = member(&body, name).filter(|value| value.kind() == Kind::String);
        value.map_or_else(|| absent.to_vec(), |value| value.text().to_vec())
    };
    let (model, service_tier) = (asked("model", br#""""#), asked("service_tier", b"null"));
    let asked = Asked { stamp, model, service_tier, echo: request::echo(&body), tools };
    Ok((chat, Box::new(Response(Rc::new(asked)))))
}

/// A request for a response as the chat that its client asks for by it, whose stream has options of its own. Calls of
/// tools that are no functions stay calls of functions.
///
/// # Errors
/// As [`request`].
pub(crate) fn chat(text: &[u8], pair: Pair, manner: Manner, dropped: &mut Dropped) -> Result<Vec<u8>, Fault> {
    let mut chat = Vec::with_capacity(text.len() + 256);
    request::write(&body::document(text)?.object(), pair, manner, &mut chat, dropped)?;
    Ok(chat)
}

/// What a client of Responses calls this member of a chat.
pub(crate) fn name(member: &str) -> &str {
    match member {
        "reasoning_effort" => "reasoning.effort",
        "response_format" => "text.format",
        "verbosity" => "text.verbosity",
        _ => member,
    }
}

/// The client's side.
struct Response(Rc<Asked>);

impl Front for Response {
    fn answer(&self, chat: &Document<'_>) -> Vec<u8> {
        response(&self.0, chat)
    }

    fn name<'n>(&self, member: &'n str) -> &'n str {
        name(member)
    }

    fn stream(&self) -> Box<dyn ClientStream> {
        Box::new(stream::ResponseStream::new(Rc::clone(&self.0)))
    }
}

/// A chat completion as a response.
fn response(asked: &Asked, chat: &Document<'_>) -> Vec<u8> {
    let body = chat.object();
    let choice = choice(&body);
    let head = Head::of(Some(&body), asked);
    let mut items = Vec::new();
    if let Some(choice) = &choice
        && let Some(message) = choice.get("message").and_then(|message| message.object())
    {
        read(&message, logprobs(choice), &head, asked, &mut items);
    }
    let reason = choice.as_ref().and_then(|choice| choice.get("finish_reason")).and_then(finish_reason);
    let incomplete = incomplete(reason.as_deref());
    let usage = body.get("usage").and_then(|usage| usage.object()).map(|usage| Usage::of(&usage));
    let (status, error) = match (&choice, incomplete) {
        (None, _) => (Status::Failed, Some(("server_error", "the upstream's answer has no choice in it"))),
        (Some(_), Some(_)) => (Status::Incomplete, None),
        (Some(_), None) => (Status::Completed, None),
    };
    let mut out = Vec::with_capacity(chat.text().len() + 1024);
    asked.write(&head, &State { status, items: &items, incomplete, error, usage }, &mut out);
    out
}

/// Takes the items out of a message.
fn read(message: &Object<'_>, logprobs: &[u8], head: &Head, asked: &Asked, items: &mut Vec<Item>) {
    let mut thought =
        Thinking { text: thinking(message).unwrap_or_default().to_vec(), ..Thinking::default() };
    if let Some(blocks) = message.get("thinking_blocks") {
        add_blocks(blocks, &mut thought.blocks);
    }
    if !thought.text.is_empty() || !thought.blocks.is_empty() {
        items.push(Item::Thinking(thought));
    }
    let list = |name: &str| message.get(name).and_then(|list| list.elements()).unwrap_or_default();
    let (texts, refusal) = said(message);
    let mut parts = Vec::new();
    if !texts.is_empty() {
        let mut part = Part { text: texts.concat(), logprobs: logprobs.to_vec(), ..Part::default() };
        for cited in list("annotations").iter().filter_map(|it| annotation(&it.object()?)) {
            add(&mut part.annotations, &cited);
        }
        parts.push(part);
    }
    parts.extend(refusal.map(|text| Part { refuses: true, text: text.to_vec(), ..Part::default() }));
    if !parts.is_empty() {
        items.push(Item::Message(parts));
    }
    for call in list("tool_calls").iter().filter_map(|call| call.object()) {
        let Some(function) = call.get("function").and_then(|function| function.object()) else { continue };
        let Some(name) = function.get("name").filter(|name| name.kind() == Kind::String) else { continue };
        let id = call.get("id").filter(|id| id.escaped().is_some_and(|id| !id.is_empty()));
        let id = id.map(|id| id.text().to_vec());
        let mut call = Call::new(id, name, head, items.len(), &asked.tools);
        if let Some(arguments) = function.get("arguments") {
            call.push(arguments);
        }
        call.finish();
        items.push(Item::Call(call));
    }
}

/// What a message or a delta says, and what it refuses with, in pieces as they stand inside their quotes.
fn said<'a>(message: &Object<'a>) -> (Vec<&'a [u8]>, Option<&'a [u8]>) {
    let content = message.get("content");
    let mut texts: Vec<&[u8]> = match content.and_then(|content| content.elements()) {
        Some(parts) => parts.iter().filter_map(|part| part.object()?.get("text")?.escaped()).collect(),
        None => content.and_then(|content| content.escaped()).into_iter().collect(),
    };
    texts.retain(|text| !text.is_empty());
    let refusal = message.get("refusal").and_then(|refusal| refusal.escaped());
    (texts, refusal.filter(|refusal| !refusal.is_empty()))
}

/// What a choice knows of its tokens: the elements of the list, as they stand in its brackets.
fn logprobs<'a>(choice: &Object<'a>) -> &'a [u8] {
    let list = choice.get("logprobs").and_then(|logprobs| logprobs.object()?.get("content"));
    let text = list.filter(|list| list.kind() == Kind::Array).map_or(&[][..], |list| list.text());
    text.get(1..text.len().saturating_sub(1)).unwrap_or_default().trim_ascii()
}

/// What a failure is called.
fn error_code(status: u16, chunk: &Object<'_>) -> &'static str {
    let error = chunk.get("error").and_then(|error| error.object());
    let known = ["code", "type"].iter().find_map(|name| {
        let name = error.as_ref()?.get(name)?.as_str()?;
        CODES.iter().find(|code| **code == name)
    });
    match (known, status) {
        (Some(code), _) => code,
        (None, 429) => "rate_limit_exceeded",
        (None, _) => "server_error",
    }
}

/// The family of the errors that a failure belongs to.
fn error_type(code: &str) -> &'static str {
    match code {
        "server_error" => "server_error",
        "rate_limit_exceeded" => "rate_limit_error",
        "insufficient_quota" => "insufficient_quota",
        _ => "invalid_request_error",
    }
}
