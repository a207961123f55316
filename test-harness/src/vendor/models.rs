//! The models there are, and two that only fail.

use serde_json::{Value, json};

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

/// Always answers 429.
const RATE_LIMITED: &str = "mock-rate-limited";
/// Always answers 500.
const BROKEN: &str = "mock-broken";

const MODELS: [(&str, Use); 11] = [
    ("gpt-4o-mini", Use::Chat),
    ("gpt-4o", Use::Chat),
    ("gpt-4.1", Use::Chat),
    ("deepseek-chat", Use::Chat),
    ("mistral-large-latest", Use::Chat),
    ("gpt-3.5-turbo-instruct", Use::Completions),
    ("text-embedding-3-small", Use::Embeddings(1536)),
    ("text-embedding-3-large", Use::Embeddings(3072)),
    ("text-embedding-ada-002", Use::Embeddings(1536)),
    (RATE_LIMITED, Use::Chat),
    (BROKEN, Use::Chat),
];

/// Refuses a model that is not there, fails by design, or does something else.
pub(super) fn usable(model: &str, wanted: Use) -> Result<(), Fault> {
    match (model, find(model)?) {
        (RATE_LIMITED, _) => Err(Fault::rate_limited()),
        (BROKEN, _) => Err(Fault::broken()),
        (_, Use::Embeddings(_)) if matches!(wanted, Use::Embeddings(_)) => Ok(()),
        (_, can) if can == wanted => Ok(()),
        _ => Err(Fault::wrong_model(model, wanted.name())),
    }
}

/// The length of a model's vectors.
pub(super) fn dimensions(model: &str) -> usize {
    match find(model) {
        Ok(Use::Embeddings(dimensions)) => dimensions,
        _ => 0,
    }
}

fn find(model: &str) -> Result<Use, Fault> {
    let found = MODELS.iter().find(|(id, _)| *id == model);
    found.map(|(_, can)| *can).ok_or_else(|| Fault::unknown_model(model))
}

pub(super) fn list() -> Answer {
    let models: Vec<Value> = MODELS.iter().map(|(id, _)| object(id)).collect();
    Answer::json(200, &json!({ "object": "list", "data": models }))
}

pub(super) fn describe(id: &str) -> Result<Answer, Fault> {
    find(id)?;
    Ok(Answer::json(200, &object(id)))
}

fn object(id: &str) -> Value {
    json!({ "id": id, "object": "model", "created": CREATED, "owned_by": "mock" })
}
