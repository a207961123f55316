//! Anthropic's `/v1/messages`: <https://docs.anthropic.com/en/api/messages>, and the counting of what it would be told.

mod ask;
#[cfg(test)]
mod tests;
mod turns;

use serde_json::{Value, json};

use super::Asked;
use super::fault::Fault;
use super::input::Input;
use super::models::{self, Use};
use super::reply::{self, Reply};
use super::text::{self, Ended, Why};
use super::tools::{self, Call};
use crate::upstream::{Answer, Recorded};

/// The version that took away what tells how to sample.
const NEWEST: &str = "2026-10-21";
/// What is said before tools are called; this vendor's models seldom call them without a word.
const BEFORE_CALLS: &str = "Let me see.";

/// Every request must say which version of the API it is written for: <https://docs.anthropic.com/en/api/versioning>.
pub(super) fn check_version(request: &Recorded) -> Result<(), Fault> {
    match request.header("anthropic-version").as_deref() {
        None => Err(Fault::no_header("anthropic-version")),
        Some("2023-06-01" | NEWEST) => Ok(()),
        Some(_) => Err(Fault::wrong_value("anthropic-version", &format!("`2023-06-01` or `{NEWEST}`"))),
    }
}

/// The members that a request may have in its version.
fn members(request: &Recorded) -> Vec<&'static str> {
    let is_newest = request.header("anthropic-version").as_deref() == Some(NEWEST);
    ask::MEMBERS.into_iter().chain(ask::SAMPLING.into_iter().filter(|_| !is_newest)).collect()
}

/// One block of an answer.
enum Block<'a> {
    Thinking(&'a str),
    Text(&'a str),
    Call(&'a Call),
}

impl Block<'_> {
    fn count(&self) -> usize {
        match self {
            Self::Thinking(text) | Self::Text(text) => text::count(text),
            Self::Call(call) => text::count(&call.arguments),
        }
    }

    /// As it stands in a message.
    fn whole(&self) -> Value {
        match self {
            Self::Thinking(text) => {
                json!({ "type": "thinking", "thinking": text, "signature": turns::signature(text) })
            }
            Self::Text(text) => json!({ "type": "text", "text": text, "citations": null }),
            Self::Call(call) => {
                let input: Value = serde_json::from_str(&call.arguments).unwrap_or_default();
                json!({ "type": "tool_use", "id": call.id("toolu"), "name": call.name, "input": input })
            }
        }
    }

    /// As it begins in a stream.
    fn start(&self) -> Value {
        let mut block = self.whole();
        match self {
            Self::Thinking(_) => {
                block["thinking"] = json!("");
                block["signature"] = json!("");
            }
            Self::Text(_) => block["text"] = json!(""),
            Self::Call(_) => block["input"] = json!({}),
        }
        block
    }

    /// What a stream adds to it.
    fn deltas(&self) -> Vec<Value> {
        match self {
            Self::Thinking(text) => {
                let thoughts = text::pieces(text).into_iter();
                let mut deltas: Vec<Value> =
                    thoughts.map(|piece| json!({ "type": "thinking_delta", "thinking": piece })).collect();
                deltas.push(json!({ "type": "signature_delta", "signature": turns::signature(text) }));
                deltas
            }
            Self::Text(text) => {
                let pieces = text::pieces(text).into_iter();
                pieces.map(|piece| json!({ "type": "text_delta", "text": piece })).collect()
            }
            Self::Call(call) => {
                // The first piece is empty, and so are the arguments of a tool that takes none.
                let pieces = tools::pieces(call).into_iter().filter(|_| call.arguments != "{}");
                [""].into_iter()
                    .chain(pieces)
                    .map(|piece| json!({ "type": "input_json_delta", "partial_json": piece }))
                    .collect()
            }
        }
    }
}

pub(super) fn answer(asked: &Asked<'_>) -> Result<Answer, Fault> {
    let input = Input::read(asked.request, &members(asked.request))?;
    let model = input.model(asked, Use::Chat)?;
    let messages = ask::messages(&input)?;
    let ask = ask::read(&input, &messages)?;
    let replies = reply::replies(&ask.wanted, 1, asked.seed());
    let thought = reply::thought(&messages);
    let mut blocks = Vec::new();
    // A tool's result is answered without another thought.
    if ask.thinks && !messages.last().is_some_and(super::message::Message::is_result) {
        blocks.push(Block::Thinking(&thought));
    }
    let mut why = None;
    for reply in &replies {
        match reply {
            Reply::Text(Ended { text, why: ended }) => {
                blocks.push(Block::Text(text));
                why = Some(*ended);
            }
            Reply::Calls(calls) => {
                blocks.push(Block::Text(BEFORE_CALLS));
                blocks.extend(calls.iter().map(Block::Call));
            }
        }
    }
    let (reason, stop) = match why {
        None => ("tool_use", None),
        Some(Why::Whole) => ("end_turn", None),
        Some(Why::Stop(stop)) => ("stop_sequence", Some(stop)),
        Some(Why::Length) => ("max_tokens", None),
    };
    let usage = |output: usize| {
        json!({
            "input_tokens": reply::count(&messages),
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "cache_creation": { "ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0 },
            "output_tokens": output,
            "service_tier": "standard",
        })
    };
    let output = blocks.iter().map(Block::count).sum();
    let mut message = json!({
        "id": format!("msg_{:016x}", asked.seed()),
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": null,
        "stop_sequence": null,
        "usage": usage(1),
    });
    if !input.flag("stream")?.unwrap_or(false) {
        models::finishes(model)?;
        message["content"] = blocks.iter().map(Block::whole).collect();
        message["stop_reason"] = json!(reason);
        message["stop_sequence"] = json!(stop);
        message["usage"] = usage(output);
        return Ok(Answer::json(200, &message));
    }
    let mut events = vec![json!({ "type": "message_start", "message": message })];
    for (index, block) in blocks.iter().enumerate() {
        events.push(json!({ "type": "content_block_start", "index": index, "content_block": block.start() }));
        if index == 0 {
            events.push(json!({ "type": "ping" }));
        }
        let deltas = block.deltas().into_iter();
        events.extend(
            deltas.map(|delta| json!({ "type": "content_block_delta", "index": index, "delta": delta })),
        );
        events.push(json!({ "type": "content_block_stop", "index": index }));
    }
    events.push(json!({
        "type": "message_delta",
        "delta": { "stop_reason": reason, "stop_sequence": stop },
        "usage": {
            "input_tokens": reply::count(&messages),
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": output,
        },
    }));
    events.push(json!({ "type": "message_stop" }));
    let error = |_| Fault::overloaded().of_anthropic(&format!("req_{:016x}", asked.seed())).1;
    Ok(text::named_events(&models::break_off(model, events, error), asked.options.pace))
}

/// What a request would count: <https://docs.anthropic.com/en/api/messages-count-tokens>.
pub(super) fn count(asked: &Asked<'_>) -> Result<Answer, Fault> {
    let input = Input::read(asked.request, &ask::MEMBERS_OF_COUNT)?;
    input.model(asked, Use::Chat)?;
    let messages = ask::messages(&input)?;
    Ok(Answer::json(200, &json!({ "input_tokens": reply::count(&messages) })))
}
