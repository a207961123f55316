//! The values that attributes of well-known keys have by themselves, in every dialect a client may speak.

use std::borrow::Cow;

use common::json::{self, Kind, Object, Raw};

/// A key with a value of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BuiltIn {
    /// The last message of a request.
    Question,
    /// Anthropic's system prompt.
    System,
    /// The text of an answer.
    Answer,
    /// The thinking in an answer.
    Reasoning,
    /// The calls of tools in an answer.
    ToolCalls,
    /// Counts, which usage has.
    Tokens(Tokens),
}

/// Which count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tokens {
    Reasoning,
    Cached,
    InputDetails,
    OutputDetails,
}

impl BuiltIn {
    pub(crate) fn of(key: &str) -> Option<Self> {
        Some(match key {
            "question" => Self::Question,
            "system" => Self::System,
            "answer" => Self::Answer,
            "reasoning" => Self::Reasoning,
            "tool_calls" => Self::ToolCalls,
            "reasoning_tokens" => Self::Tokens(Tokens::Reasoning),
            "cached_tokens" => Self::Tokens(Tokens::Cached),
            "input_token_details" => Self::Tokens(Tokens::InputDetails),
            "output_token_details" => Self::Tokens(Tokens::OutputDetails),
            _ => return None,
        })
    }

    pub(crate) fn is_of_request(self) -> bool {
        matches!(self, Self::Question | Self::System)
    }

    /// The members of a body that it is found in.
    pub(crate) fn members(self) -> &'static [&'static str] {
        match self {
            Self::Question => &["messages", "contents", "input"],
            Self::System => &["system"],
            Self::Answer | Self::Reasoning | Self::ToolCalls => {
                &["choices", "content", "output", "candidates"]
            }
            Self::Tokens(_) => &[],
        }
    }
}

/// The last message of a request, whoever said it; a JSON text.
pub(crate) fn question(request: &[u8]) -> Option<Cow<'_, [u8]>> {
    let request = json::object(request).ok()?;
    if let Some(messages) = request.get("messages") {
        return content(*messages.elements()?.last()?);
    }
    if let Some(contents) = request.get("contents") {
        let last = contents.elements()?.last()?.object()?;
        return Some(Cow::Owned(json::string(&texts(last.get("parts")?, "text"))));
    }
    let input = request.get("input")?;
    match input.kind() {
        Kind::Array => content(*input.elements()?.last()?),
        _ => Some(Cow::Borrowed(input.text())),
    }
}

fn content(message: Raw<'_>) -> Option<Cow<'_, [u8]>> {
    Some(Cow::Borrowed(message.object()?.get("content")?.text()))
}

/// The system prompt; a JSON text.
pub(crate) fn system(request: &[u8]) -> Option<Cow<'_, [u8]>> {
    Some(Cow::Borrowed(json::object(request).ok()?.get("system")?.text()))
}

/// The text, or the thinking, that one event of a stream adds.
pub(crate) fn added(event: &Object<'_>, wanted: BuiltIn) -> Option<String> {
    let thinks = wanted == BuiltIn::Reasoning;
    if let Some(choice) = first(event, "choices") {
        return match choice.get("delta").as_ref().and_then(Raw::object) {
            Some(delta) => text_of(&delta, thinks),
            None => choice.get("text").filter(|_| !thinks).and_then(owned),
        };
    }
    if let Some(candidate) = first(event, "candidates") {
        return parts(&candidate, thinks);
    }
    let delta = event.get("delta")?;
    if let Some(text) = delta.as_str() {
        // OpenAI Responses; the kind of event says what it is the text of.
        let kind = event.get("type")?.as_str()?;
        let is_thinking = kind.starts_with("response.reasoning");
        let is_text = kind == "response.output_text.delta" || is_thinking;
        return (is_text && is_thinking == thinks).then(|| text.into_owned());
    }
    let delta = delta.object()?;
    if thinks {
        let bedrock = || delta.get("reasoningContent")?.object()?.get("text");
        delta.get("thinking").or_else(bedrock).and_then(owned)
    } else {
        delta.get("text").and_then(owned)
    }
}

/// The text, or the thinking, of a whole answer.
pub(crate) fn whole(body: &Object<'_>, wanted: BuiltIn) -> Option<String> {
    let thinks = wanted == BuiltIn::Reasoning;
    if let Some(choice) = first(body, "choices") {
        return message_text(&choice, thinks);
    }
    if let Some(content) = body.get("content") {
        return some(texts(content, if thinks { "thinking" } else { "text" }));
    }
    if let Some(candidate) = first(body, "candidates") {
        return parts(&candidate, thinks);
    }
    let output = body.get("output")?;
    if let Some(items) = output.elements() {
        // OpenAI Responses: messages have a content, thinking a summary.
        let member = if thinks { "summary" } else { "content" };
        let inner = items.iter().filter_map(Raw::object).filter_map(|item| item.get(member));
        return some(inner.map(|content| texts(content, "text")).collect());
    }
    let output = output.object()?;
    // DashScope.
    if let Some(choice) = first(&output, "choices") {
        return message_text(&choice, thinks);
    }
    if let Some(text) = output.get("text").filter(|_| !thinks).and_then(owned) {
        return Some(text);
    }
    // Bedrock.
    let content = output.get("message")?.object()?.get("content")?;
    if thinks {
        let blocks = content.elements()?;
        let inner = blocks.iter().filter_map(|block| {
            let text = block.object()?.get("reasoningContent")?.object()?.get("reasoningText")?;
            text.object()?.get("text").and_then(owned)
        });
        return some(inner.collect());
    }
    some(texts(content, "text"))
}

fn message_text(choice: &Object<'_>, thinks: bool) -> Option<String> {
    match choice.get("message").as_ref().and_then(Raw::object) {
        Some(message) => text_of(&message, thinks),
        None => choice.get("text").filter(|_| !thinks).and_then(owned),
    }
}

/// Of a message of OpenAI's, or what is added to one.
fn text_of(message: &Object<'_>, thinks: bool) -> Option<String> {
    if thinks {
        return message.get("reasoning_content").or_else(|| message.get("reasoning")).and_then(owned);
    }
    let content = message.get("content")?;
    match content.kind() {
        Kind::Array => some(texts(content, "text")),
        _ => owned(content),
    }
}

/// Of a candidate of Gemini's.
fn parts(candidate: &Object<'_>, thinks: bool) -> Option<String> {
    let parts = candidate.get("content")?.object()?.get("parts")?.elements()?;
    let is_wanted = |part: &Object<'_>| {
        part.get("thought").is_some_and(|thought| thought.as_bool() == Some(true)) == thinks
    };
    let parts = parts.iter().filter_map(Raw::object).filter(is_wanted);
    some(parts.filter_map(|part| part.get("text").and_then(owned)).collect())
}

fn first<'a>(object: &Object<'a>, name: &str) -> Option<Object<'a>> {
    object.get(name)?.elements()?.first()?.object()
}

fn owned(value: Raw<'_>) -> Option<String> {
    value.as_str().map(Cow::into_owned)
}

/// The texts of blocks that have one under this name, joined.
fn texts(blocks: Raw<'_>, name: &str) -> String {
    let blocks = blocks.elements().unwrap_or_default();
    blocks.iter().filter_map(|block| block.object()?.get(name)?.as_str()).collect()
}

fn some(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text and the thinking, in an event or a body.
    fn check(
        read: fn(&Object<'_>, BuiltIn) -> Option<String>,
        text: &str,
        answer: Option<&str>,
        reasoning: Option<&str>,
    ) {
        let object = json::object(text.as_bytes()).unwrap();
        assert_eq!(read(&object, BuiltIn::Answer).as_deref(), answer, "{text}");
        assert_eq!(read(&object, BuiltIn::Reasoning).as_deref(), reasoning, "{text}");
    }

    #[test]
    fn events_of_every_dialect_add_text_or_thinking() {
        check(
            added,
            r#"{"choices":[{"delta":{"content":"a","reasoning_content":"r"}}]}"#,
            Some("a"),
            Some("r"),
        );
        check(added, r#"{"choices":[{"delta":{"content":null}}]}"#, None, None);
        check(added, r#"{"choices":[{"text":"a"}]}"#, Some("a"), None);
        check(added, r#"{"choices":[]}"#, None, None);
        check(
            added,
            r#"{"type":"content_block_delta","delta":{"type":"text_delta","text":"a"}}"#,
            Some("a"),
            None,
        );
        check(added, r#"{"delta":{"type":"thinking_delta","thinking":"r"}}"#, None, Some("r"));
        check(added, r#"{"type":"response.output_text.delta","delta":"a"}"#, Some("a"), None);
        check(added, r#"{"type":"response.reasoning_summary_text.delta","delta":"r"}"#, None, Some("r"));
        check(added, r#"{"type":"response.function_call_arguments.delta","delta":"x"}"#, None, None);
        check(added, r#"{"delta":{"text":"a"},"contentBlockIndex":0}"#, Some("a"), None);
        check(added, r#"{"delta":{"reasoningContent":{"text":"r"}}}"#, None, Some("r"));
        check(
            added,
            r#"{"candidates":[{"content":{"parts":[{"text":"r","thought":true},{"text":"a"},{"text":"b"}]}}]}"#,
            Some("ab"),
            Some("r"),
        );
    }

    #[test]
    fn bodies_of_every_dialect_have_text_and_thinking() {
        check(
            whole,
            r#"{"choices":[{"message":{"content":"a","reasoning_content":"r"}}]}"#,
            Some("a"),
            Some("r"),
        );
        check(whole, r#"{"choices":[{"text":"a"}]}"#, Some("a"), None);
        check(
            whole,
            r#"{"content":[{"type":"thinking","thinking":"r"},{"type":"text","text":"a"},{"type":"text","text":"b"}]}"#,
            Some("ab"),
            Some("r"),
        );
        check(
            whole,
            r#"{"output":[{"summary":[{"text":"r"}]},{"content":[{"type":"output_text","text":"a"}]}]}"#,
            Some("a"),
            Some("r"),
        );
        check(whole, r#"{"output":{"text":"a"}}"#, Some("a"), None);
        check(whole, r#"{"output":{"choices":[{"message":{"content":"a"}}]}}"#, Some("a"), None);
        check(
            whole,
            r#"{"output":{"message":{"content":[{"reasoningContent":{"reasoningText":{"text":"r"}}},{"text":"a"}]}}}"#,
            Some("a"),
            Some("r"),
        );
        check(whole, r#"{"error":{"message":"x"}}"#, None, None);
    }

    #[test]
    fn the_question_is_the_last_message_whoever_said_it() {
        for (request, expected) in [
            (
                r#"{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}"#,
                Some("\"b\""),
            ),
            (r#"{"messages":[{"content":[{"text":"x"}]}]}"#, Some(r#"[{"text":"x"}]"#)),
            (r#"{"contents":[{"parts":[{"text":"x"},{"text":"y"}]}]}"#, Some("\"xy\"")),
            (r#"{"input":"x"}"#, Some("\"x\"")),
            (r#"{"input":[{"role":"user","content":"x"}]}"#, Some("\"x\"")),
            (r#"{"messages":[]}"#, None),
            ("", None),
        ] {
            let found = question(request.as_bytes());
            assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{request}");
        }
    }
}
