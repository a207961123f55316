//! OpenTelemetry's conventions for generative AI: what operations and providers are called, and why an answer ended.
//!
//! <https://github.com/open-telemetry/semantic-conventions-genai/blob/main/docs/gen-ai/gen-ai-spans.md>

use common::json::{self, Object, Raw};

/// Stands for what is not known.
pub(crate) const UNKNOWN: &str = "unknown";
/// How many choices of an answer are told apart.
const MAX_CHOICES: usize = 16;
/// A longer reason is none.
const MAX_REASON: usize = 64;

/// What the ends of paths say that a request does. The conventions name `chat`, `text_completion`, `embeddings` and
/// `generate_content`, and leave room for others.
const OPERATIONS: [(&str, &str); 37] = [
    ("/chat/completions", "chat"),
    ("/messages", "chat"),
    ("/responses", "chat"),
    ("/chat", "chat"),
    ("/chatcompletion_v2", "chat"),
    ("/text-generation/generation", "chat"),
    ("/multimodal-generation/generation", "chat"),
    ("/converse", "chat"),
    ("/converse-stream", "chat"),
    (":rawPredict", "chat"),
    (":streamRawPredict", "chat"),
    ("/completions", "text_completion"),
    ("/complete", "text_completion"),
    ("/api/generate", "text_completion"),
    (":generateContent", "generate_content"),
    (":streamGenerateContent", "generate_content"),
    ("/embeddings", "embeddings"),
    ("/embed", "embeddings"),
    ("/text-embedding", "embeddings"),
    ("/multimodal-embedding", "embeddings"),
    (":embedContent", "embeddings"),
    (":batchEmbedContents", "embeddings"),
    ("/rerank", "rerank"),
    ("/text-rerank", "rerank"),
    ("/moderations", "moderation"),
    ("/images/generations", "image_generation"),
    ("/images/edits", "image_generation"),
    ("/images/variations", "image_generation"),
    ("/image-synthesis", "image_generation"),
    ("/image-generation/generation", "image_generation"),
    ("/videos", "video_generation"),
    ("/video-synthesis", "video_generation"),
    ("/audio/speech", "speech"),
    ("/audio/transcriptions", "transcription"),
    ("/audio/translations", "transcription"),
    // Bedrock's own path says nothing of what a model does; its name may, see below.
    ("/invoke", "chat"),
    ("/invoke-with-response-stream", "chat"),
];

/// What a path does, without its query; `None` where nothing is known of it.
pub(crate) fn operation(path: &str) -> Option<&'static str> {
    let (end, operation) = OPERATIONS.iter().find(|(end, _)| path.ends_with(end))?;
    if !end.starts_with("/invoke") {
        return Some(operation);
    }
    let (_, model) = path.split_once("/model/")?;
    Some(if model.contains("embed") { "embeddings" } else { operation })
}

/// Types of providers that the conventions call otherwise.
const PROVIDERS: [(&str, &str); 7] = [
    ("azure", "azure.ai.openai"),
    ("bedrock", "aws.bedrock"),
    ("claude", "anthropic"),
    ("gemini", "gcp.gemini"),
    ("grok", "x_ai"),
    ("mistral", "mistral_ai"),
    ("vertex", "gcp.vertex_ai"),
];

/// What the conventions call a provider; they leave others their names.
pub(crate) fn provider(name: &str) -> &str {
    PROVIDERS.iter().find(|(known, _)| *known == name).map_or(name, |(_, conventional)| conventional)
}

/// Why an answer ended, for each of its choices.
#[derive(Debug, Default)]
pub(crate) struct FinishReasons(Vec<Option<String>>);

impl FinishReasons {
    /// The members of a whole body that may say it.
    pub(crate) const MEMBERS: [&str; 5] =
        ["choices", "candidates", "stop_reason", "stopReason", "done_reason"];

    /// Takes what a whole body, or an event of a stream, says.
    pub(crate) fn read(&mut self, object: &Object<'_>) {
        for (list, name) in [("choices", "finish_reason"), ("candidates", "finishReason")] {
            let choices = object.get(list).as_ref().and_then(Raw::elements).unwrap_or_default();
            for (choice, at) in choices.iter().filter_map(Raw::object).zip(0_u64..) {
                let index = choice.get("index").and_then(|index| index.as_u64()).unwrap_or(at);
                self.take(index, choice.get(name));
            }
        }
        // Anthropic, Bedrock and Ollama give one answer only. Anthropic's streams say it in a delta.
        for name in ["stop_reason", "stopReason", "done_reason"] {
            self.take(0, object.get(name));
        }
        if let Some(delta) = object.get("delta").as_ref().and_then(Raw::object) {
            self.take(0, delta.get("stop_reason"));
        }
    }

    fn take(&mut self, index: u64, reason: Option<Raw<'_>>) {
        let reason = reason.as_ref().and_then(Raw::as_str);
        let Some(reason) = reason.filter(|reason| (1..=MAX_REASON).contains(&reason.len())) else { return };
        let Some(at) = usize::try_from(index).ok().filter(|at| *at < MAX_CHOICES) else { return };
        if self.0.len() <= at {
            self.0.resize(at + 1, None);
        }
        if let Some(known) = self.0.get_mut(at) {
            *known = Some(reason.into_owned());
        }
    }

    /// A JSON array; `None` where nothing was said. Tags of Envoy's are texts, and the conventions want a list.
    pub(crate) fn to_json(&self) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        for reason in self.0.iter().flatten() {
            out.push(if out.is_empty() { b'[' } else { b',' });
            json::write_string(&mut out, reason);
        }
        (!out.is_empty()).then(|| {
            out.push(b']');
            out
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_say_what_they_do_or_nothing() {
        for (path, expected) in [
            ("/v1/chat/completions", Some("chat")),
            ("/team/v1/messages", Some("chat")),
            ("/v1/responses", Some("chat")),
            ("/api/chat", Some("chat")),
            ("/model/anthropic.claude-v2%3A1/converse-stream", Some("chat")),
            ("/model/anthropic.claude-v2%3A1/invoke-with-response-stream", Some("chat")),
            ("/model/amazon.titan-embed-text-v2%3A0/invoke", Some("embeddings")),
            ("/v1/projects/p/locations/l/publishers/anthropic/models/c:streamRawPredict", Some("chat")),
            ("/v1beta/models/gem-1:streamGenerateContent", Some("generate_content")),
            ("/v1/completions", Some("text_completion")),
            ("/v1/embeddings", Some("embeddings")),
            ("/v1beta/models/gem-1:batchEmbedContents", Some("embeddings")),
            ("/v1/images/edits", Some("image_generation")),
            ("/v1/audio/transcriptions", Some("transcription")),
            ("/v1/models", None),
            ("/v1/messages/count_tokens", None),
            ("/v1/files", None),
            ("/lambda/invoke", None),
            ("/", None),
            ("", None),
        ] {
            assert_eq!(operation(path), expected, "{path}");
        }
    }

    #[test]
    fn providers_have_the_names_of_the_conventions() {
        for (name, expected) in [
            ("openai", "openai"),
            ("azure", "azure.ai.openai"),
            ("claude", "anthropic"),
            ("grok", "x_ai"),
            ("deepseek", "deepseek"),
            ("my-azure", "my-azure"),
        ] {
            assert_eq!(provider(name), expected);
        }
    }

    #[test]
    fn answers_of_every_dialect_say_why_they_ended() {
        for (texts, expected) in [
            (
                &[r#"{"choices":[{"finish_reason":"stop"},{"finish_reason":"length"}]}"#][..],
                Some(r#"["stop","length"]"#),
            ),
            (
                &[
                    r#"{"choices":[{"index":1,"finish_reason":null}]}"#,
                    r#"{"choices":[{"index":1,"finish_reason":"tool_calls"}]}"#,
                    r#"{"choices":[{"index":0,"finish_reason":"stop"}]}"#,
                    r#"{"choices":[]}"#,
                ],
                Some(r#"["stop","tool_calls"]"#),
            ),
            (&[r#"{"type":"message","stop_reason":"end_turn"}"#], Some(r#"["end_turn"]"#)),
            (
                &[
                    r#"{"type":"message_start","message":{"stop_reason":null}}"#,
                    r#"{"type":"message_delta","delta":{"stop_reason":"tool_use"}}"#,
                ],
                Some(r#"["tool_use"]"#),
            ),
            (&[r#"{"candidates":[{"finishReason":"STOP"}]}"#], Some(r#"["STOP"]"#)),
            (&[r#"{"stopReason":"max_tokens"}"#], Some(r#"["max_tokens"]"#)),
            (&[r#"{"done":true,"done_reason":"stop"}"#], Some(r#"["stop"]"#)),
            (&[r#"{"choices":[{"index":99,"finish_reason":"stop"}]}"#, r#"{"delta":"x"}"#], None),
        ] {
            let mut reasons = FinishReasons::default();
            for text in texts {
                reasons.read(&json::object(text.as_bytes()).unwrap());
            }
            assert_eq!(reasons.to_json().as_deref(), expected.map(str::as_bytes), "{texts:?}");
        }
    }
}
