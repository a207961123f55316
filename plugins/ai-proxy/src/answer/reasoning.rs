//! A model's thinking beside its answer, in a message or a delta.

use common::json::{Kind, Object, Patch, Raw};
use serde::de::{Deserialize, Deserializer};

use super::is_blank;

/// Where it is: vendors put its text into one of the first two, and the first that has any counts; what is to be sent
/// again stands in the last.
pub(super) const NAMES: [&str; 3] = ["reasoning_content", "reasoning", "thinking_blocks"];

pub(super) const OPEN: &[u8] = b"<think>";
/// As it stands inside a JSON string.
pub(super) const CLOSE: &[u8] = br"</think>\n";

/// What becomes of a model's thinking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Mode {
    /// The configuration does not say: it is left alone, but for what promotion takes.
    #[default]
    Unset,
    /// It is left alone, and comes before a promoted text too.
    Passthrough,
    /// It goes.
    Ignore,
    /// It goes into the content, between tags.
    Concat,
    /// No such mode: as `Unset`, and the operator is told.
    Unknown,
}

impl<'de> Deserialize<'de> for Mode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Ok(match name.to_ascii_lowercase().as_str() {
            "" => Self::Unset,
            "passthrough" => Self::Passthrough,
            "ignore" => Self::Ignore,
            "concat" => Self::Concat,
            _ => Self::Unknown,
        })
    }
}

/// What one message, or one delta of it, says.
pub(super) struct Said<'a> {
    /// The thinking, as it stands inside its quotes; empty where there is none.
    pub(super) reasoning: &'a [u8],
    /// There is a member for thinking, with text or without.
    pub(super) has_reasoning: bool,
    /// The content, as it stands inside its quotes; empty where there is none.
    pub(super) content: &'a [u8],
    /// The content is text or absent, so that text can be put into it.
    pub(super) is_text: bool,
    /// There is an answer: text that is more than spaces, or a call of a tool.
    pub(super) answers: bool,
    /// A tool is called.
    pub(super) calls: bool,
}

impl<'a> Said<'a> {
    pub(super) fn of(message: &Object<'a>) -> Self {
        let mut reasoning =
            NAMES.iter().filter_map(|name| message.get(name)).filter_map(|text| text.escaped());
        let content = message.get("content").filter(|content| content.kind() != Kind::Null);
        let text = content.and_then(|content| content.escaped());
        let is_said = |text: Raw<'_>| text.as_str().is_none_or(|text| !text.trim().is_empty());
        let calls = ["tool_calls", "function_call"]
            .iter()
            .any(|name| message.get(name).is_some_and(|calls| !is_blank(calls)));
        let refuses = message.get("refusal").is_some_and(|refusal| !is_blank(refusal));
        Self {
            reasoning: reasoning.find(|text| !text.is_empty()).unwrap_or_default(),
            has_reasoning: NAMES.iter().any(|name| message.get(name).is_some()),
            content: text.unwrap_or_default(),
            is_text: content.is_none() || text.is_some(),
            answers: calls
                || refuses
                || content.is_some_and(|content| !is_blank(content) && is_said(content)),
            calls,
        }
    }
}

/// Removes the thinking.
pub(super) fn remove(message: &Object<'_>, patch: &mut Patch<'_>) {
    patch.remove(message, &NAMES);
}

/// A JSON string of these pieces, each as it stands inside one.
pub(super) fn joined(pieces: &[&[u8]]) -> Vec<u8> {
    [b"\"", pieces.concat().as_slice(), b"\""].concat()
}

#[cfg(test)]
mod tests {
    use common::json;

    use super::*;

    #[test]
    fn thinking_is_found_where_vendors_put_it() {
        let check = |text: &str, expected: &str| {
            let message = json::object(text.as_bytes()).unwrap();
            assert_eq!(Said::of(&message).reasoning, expected.as_bytes(), "{text}");
        };
        check(r#"{"reasoning_content":"a\n\ud83d"}"#, r"a\n\ud83d");
        check(r#"{"reasoning":"b"}"#, "b");
        check(r#"{"reasoning_content":"","reasoning":"b"}"#, "b");
        check(r#"{"reasoning_content":null,"reasoning":{"effort":"high"}}"#, "");
        check(r#"{"thinking_blocks":[{"thinking":"a"}],"reasoning":"b"}"#, "b");
    }

    #[test]
    fn an_answer_is_text_or_a_call() {
        let answers = |text: &str| Said::of(&json::object(text.as_bytes()).unwrap()).answers;
        for text in [
            r#"{"content":" x"}"#,
            r#"{"content":"\ud83d"}"#,
            r#"{"content":null,"tool_calls":[{"id":"c"}]}"#,
            r#"{"content":[{"type":"text"}]}"#,
            r#"{"refusal":"no"}"#,
        ] {
            assert!(answers(text), "{text}");
        }
        for text in [
            "{}",
            r#"{"content":null,"tool_calls":null}"#,
            r#"{"content":""}"#,
            r#"{"content":" \n\t"}"#,
            r#"{"content":[],"tool_calls":[],"function_call":null}"#,
        ] {
            assert!(!answers(text), "{text}");
        }
    }
}
