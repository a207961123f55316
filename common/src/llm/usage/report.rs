//! What an answer says beside its content.

use crate::json::{self, Object, Raw};

use super::reader::says_usage;
use super::{MAX_NAME, Usage, newer, number};

/// What Bedrock adds to the last event that InvokeModel streams.
const BEDROCK_METRICS: &str = "amazon-bedrock-invocationMetrics";
/// Model and id are said at the beginning of a stream, or never.
const FIRST_EVENTS: u32 = 4;

/// What an answer says beside its content.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Report {
    /// `None`: it says nothing of usage.
    pub usage: Option<Usage>,
    /// Which model answered.
    pub model: Option<String>,
    /// The answer's id.
    pub id: Option<String>,
}

impl Report {
    /// Takes what one event or body says.
    pub fn read(&mut self, object: &Object<'_>) {
        for (name, value) in object.members() {
            self.member(&name, value);
        }
    }

    /// Whether a member of that name may say something.
    pub(super) fn names(name: &str) -> bool {
        matches!(
            name,
            "usage"
                | "usageMetadata"
                | "response"
                | "message"
                | "body"
                | "meta"
                | "id"
                | "responseId"
                | "model"
                | "modelVersion"
                | "prompt_eval_count"
                | "eval_count"
                | BEDROCK_METRICS
        )
    }

    pub(super) fn member(&mut self, name: &str, value: Raw<'_>) {
        match name {
            "id" | "responseId" => name_once(&mut self.id, value),
            "model" | "modelVersion" => name_once(&mut self.model, value),
            "usage" | "usageMetadata" | BEDROCK_METRICS => {
                if let Some(object) = value.object() {
                    self.count(&object);
                }
            }
            // OpenAI Responses and batches, Anthropic's first event.
            "response" | "message" | "body" => {
                let Some(object) = value.object() else { return };
                for name in ["id", "model", "usage", "usageMetadata", "body"] {
                    if let Some(value) = object.get(name) {
                        self.member(name, value);
                    }
                }
            }
            // Cohere.
            "meta" => {
                let Some(meta) = value.object() else { return };
                for inner in ["tokens", "billed_units"] {
                    if let Some(object) = meta.get(inner).as_ref().and_then(Raw::object) {
                        self.count(&object);
                    }
                }
            }
            // Ollama, which has no object around them.
            "prompt_eval_count" => newer(&mut self.usage.get_or_insert_default().input, number(value)),
            "eval_count" => newer(&mut self.usage.get_or_insert_default().output, number(value)),
            _ => {}
        }
    }

    fn count(&mut self, object: &Object<'_>) {
        let mut usage = self.usage.take().unwrap_or_default();
        let found = usage.read(object);
        if found || usage != Usage::default() {
            self.usage = Some(usage);
        }
    }

    /// Bedrock's own counts, beside the model's.
    pub(super) fn read_metrics(&mut self, text: &[u8]) {
        if let Ok(object) = json::object(text)
            && let Some(metrics) = object.get(BEDROCK_METRICS)
        {
            self.member(BEDROCK_METRICS, metrics);
        }
    }

    /// Whether the next event may say model or id, so many having been.
    pub(super) fn is_early(&self, events: u32) -> bool {
        events < FIRST_EVENTS && (self.model.is_none() || self.id.is_none())
    }

    /// An event is only looked into where something can be expected of it.
    pub(super) fn event(&mut self, events: &mut u32, text: &[u8]) {
        let is_early = self.is_early(*events);
        *events = events.saturating_add(1);
        if (is_early || says_usage(text))
            && let Ok(object) = json::object(text)
        {
            self.read(&object);
        }
    }
}

fn name_once(known: &mut Option<String>, value: Raw<'_>) {
    if known.is_none() && value.text().len() <= MAX_NAME {
        *known = value.as_str().filter(|name| !name.is_empty()).map(std::borrow::Cow::into_owned);
    }
}
