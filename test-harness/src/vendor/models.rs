//! The models there are, and some that only fail.

use serde_json::{Value, json};

use super::Dialect;
use super::fault::Fault;
use super::text::CREATED;
use crate::upstream::Answer;

/// What a model can be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    Chat,
    Completions,
    /// Vectors of at most this length; the wish for any length is written as 0.
    Embeddings(usize),
}

impl Use {
    fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat completions",
            Self::Completions => "completions",
            Self::Embeddings(_) => "embeddings",
        }
    }
}

/// What is seen of a model's thinking in a chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Thinking {
    /// It does not think.
    None,
    /// What it costs.
    Cost,
    /// What it costs, and a text.
    Text,
}

/// Always answers 429.
const RATE_LIMITED: &str = "mock-rate-limited";
/// Always answers 401, whatever the key.
const LOCKED: &str = "mock-locked";
/// Always answers 500.
const BROKEN: &str = "mock-broken";
/// Answers half of a stream and then an error; what is not to be streamed is an error at once.
const BREAKS_OFF: &str = "mock-breaks-off";

const OF_OPENAI: [(&str, Use); 16] = [
    ("gpt-4o-mini", Use::Chat),
    ("gpt-4o", Use::Chat),
    ("gpt-4.1", Use::Chat),
    ("gpt-5-mini", Use::Chat),
    ("gpt-5.5", Use::Chat),
    ("deepseek-chat", Use::Chat),
    ("deepseek-reasoner", Use::Chat),
    ("mistral-large-latest", Use::Chat),
    ("gpt-3.5-turbo-instruct", Use::Completions),
    ("text-embedding-3-small", Use::Embeddings(1536)),
    ("text-embedding-3-large", Use::Embeddings(3072)),
    ("text-embedding-ada-002", Use::Embeddings(1536)),
    (RATE_LIMITED, Use::Chat),
    (LOCKED, Use::Chat),
    (BROKEN, Use::Chat),
    (BREAKS_OFF, Use::Chat),
];

const OF_ANTHROPIC: [(&str, Use); 5] = [
    ("claude-haiku-4-5", Use::Chat),
    (RATE_LIMITED, Use::Chat),
    (LOCKED, Use::Chat),
    (BROKEN, Use::Chat),
    (BREAKS_OFF, Use::Chat),
];

/// Refuses a model that is not there, fails by design, or does something else.
pub(super) fn usable(speaks: Dialect, model: &str, wanted: Use) -> Result<(), Fault> {
    match (model, find(speaks, model)?) {
        (RATE_LIMITED, _) => Err(Fault::rate_limited()),
        (LOCKED, _) => Err(Fault::wrong_key()),
        (BROKEN, _) => Err(Fault::broken()),
        (_, Use::Embeddings(_)) if matches!(wanted, Use::Embeddings(_)) => Ok(()),
        (_, can) if can == wanted => Ok(()),
        _ => Err(Fault::wrong_model(model, wanted.name())),
    }
}

/// How OpenAI's models think, and one of another vendor that speaks its chats.
pub(super) fn thinking(model: &str) -> Thinking {
    match model {
        "gpt-5-mini" | "gpt-5.5" => Thinking::Cost,
        "deepseek-reasoner" => Thinking::Text,
        _ => Thinking::None,
    }
}

/// What becomes of the events of a model's answer.
pub(super) fn break_off(
    model: &str,
    mut events: Vec<Value>,
    error: impl FnOnce(usize) -> Value,
) -> Vec<Value> {
    if model == BREAKS_OFF {
        events.truncate(events.len() / 2);
        events.push(error(events.len()));
    }
    events
}

/// Refuses a model that does not get to the end of an answer.
pub(super) fn finishes(model: &str) -> Result<(), Fault> {
    if model == BREAKS_OFF { Err(Fault::overloaded()) } else { Ok(()) }
}

/// The length of a model's vectors.
pub(super) fn dimensions(model: &str) -> usize {
    match find(Dialect::OpenAi, model) {
        Ok(Use::Embeddings(dimensions)) => dimensions,
        _ => 0,
    }
}

fn all(speaks: Dialect) -> &'static [(&'static str, Use)] {
    match speaks {
        Dialect::OpenAi => &OF_OPENAI,
        Dialect::Anthropic => &OF_ANTHROPIC,
    }
}

fn find(speaks: Dialect, model: &str) -> Result<Use, Fault> {
    let found = all(speaks).iter().find(|(id, _)| *id == model);
    found.map(|(_, can)| *can).ok_or_else(|| Fault::unknown_model(model))
}

pub(super) fn list(speaks: Dialect) -> Answer {
    let models: Vec<Value> = all(speaks).iter().map(|(id, _)| object(speaks, id)).collect();
    let document = match speaks {
        Dialect::OpenAi => json!({ "object": "list", "data": models }),
        Dialect::Anthropic => json!({
            "data": models,
            "has_more": false,
            "first_id": models.first().map(|model| &model["id"]),
            "last_id": models.last().map(|model| &model["id"]),
        }),
    };
    Answer::json(200, &document)
}

pub(super) fn describe(speaks: Dialect, id: &str) -> Result<Answer, Fault> {
    find(speaks, id)?;
    Ok(Answer::json(200, &object(speaks, id)))
}

fn object(speaks: Dialect, id: &str) -> Value {
    match speaks {
        Dialect::OpenAi => json!({ "id": id, "object": "model", "created": CREATED, "owned_by": "mock" }),
        Dialect::Anthropic => {
            json!({ "type": "model", "id": id, "display_name": id, "created_at": "2026-01-01T00:00:00Z" })
        }
    }
}
