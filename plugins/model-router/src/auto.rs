//! A model chosen by what the user writes.

use std::borrow::Cow;

use common::json::{Kind, Object, Raw};
use regex_lite::Regex;

/// What is matched of a text, at most.
const MAX_TEXT: usize = 64 << 10;
/// The name that existing clients ask for.
const OTHER_ID: &str = "higress/auto";

/// The rules by which a model is chosen, compiled.
#[derive(Debug)]
pub(crate) struct Auto {
    /// The name by which clients leave the choice to us.
    pub(crate) id: String,
    pub(crate) rules: Vec<(Regex, String)>,
    /// Where no rule fits; empty is none.
    pub(crate) default: String,
    /// Of a message in several parts, only the last text counts.
    pub(crate) last_part_only: bool,
}

/// Which model was chosen, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice<'a> {
    Matched(&'a str),
    Default(&'a str),
    None,
}

impl Auto {
    /// Whether a client leaves the choice to us by this name.
    pub(crate) fn is_asked(&self, model: &str) -> bool {
        model == self.id || model == OTHER_ID
    }

    /// The model for a request.
    pub(crate) fn choose(&self, body: &Object<'_>) -> Choice<'_> {
        let text = self.text(body);
        let text = cut(&text);
        let mut rules = self.rules.iter();
        match rules.find(|(pattern, _)| !text.is_empty() && pattern.is_match(text)) {
            Some((_, model)) => Choice::Matched(model),
            None if self.default.is_empty() => Choice::None,
            None => Choice::Default(&self.default),
        }
    }

    /// What the user wrote last, in whichever shape the request has.
    fn text<'a>(&self, body: &Object<'a>) -> Cow<'a, str> {
        if let Some(messages) = array(body, "messages") {
            return self.last_of_user(&messages, "content");
        }
        if let Some(input) = body.get("input") {
            return match input.elements() {
                Some(items) => self.last_of_user(&items, "content"),
                None => input.as_str().unwrap_or_default(),
            };
        }
        // Gemini leaves the role out where the user is the only one who speaks.
        array(body, "contents").map(|contents| self.last_of_user(&contents, "parts")).unwrap_or_default()
    }

    /// The text of the last message that is the user's and has any; a message of pictures only has none.
    fn last_of_user<'a>(&self, messages: &[Raw<'a>], content: &str) -> Cow<'a, str> {
        let messages = messages.iter().rev().filter_map(Raw::object);
        let is_users = |message: &Object<'_>| match message.get("role") {
            Some(role) => role.is("user"),
            None => content == "parts",
        };
        for message in messages.filter(is_users) {
            let Some(content) = message.get(content) else { return Cow::Borrowed("") };
            let Some(parts) = content.elements() else { return content.as_str().unwrap_or_default() };
            if let Some(text) = self.of_parts(&parts) {
                return text;
            }
        }
        Cow::Borrowed("")
    }

    fn of_parts<'a>(&self, parts: &[Raw<'a>]) -> Option<Cow<'a, str>> {
        let mut texts = parts.iter().filter_map(Raw::object).filter_map(|part| {
            // Gemini's parts have no type.
            let is_text = part.get("type").is_none_or(|kind| {
                kind.as_str().is_some_and(|kind| matches!(kind.as_ref(), "text" | "input_text"))
            });
            part.get("text").filter(|_| is_text)?.as_str()
        });
        if self.last_part_only {
            return texts.next_back();
        }
        let first = texts.next()?;
        let Some(second) = texts.next() else { return Some(first) };
        let mut joined = first.into_owned();
        for text in [second].into_iter().chain(texts) {
            joined.push('\n');
            joined.push_str(&text);
            if joined.len() > MAX_TEXT {
                break;
            }
        }
        Some(Cow::Owned(joined))
    }
}

fn array<'a>(body: &Object<'a>, name: &str) -> Option<Vec<Raw<'a>>> {
    body.get(name).filter(|value| value.kind() == Kind::Array)?.elements()
}

fn cut(text: &str) -> &str {
    if text.len() <= MAX_TEXT {
        return text;
    }
    (0..=MAX_TEXT).rev().find_map(|end| text.get(..end)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::json::object;

    fn check(body: &str, joined: &str, last: &str) {
        let object = object(body.as_bytes()).unwrap();
        let text = |last_part_only| {
            let auto = Auto { id: "auto".into(), rules: Vec::new(), default: String::new(), last_part_only };
            auto.text(&object).into_owned()
        };
        assert_eq!((text(false).as_str(), text(true).as_str()), (joined, last), "{body}");
    }

    #[test]
    fn the_last_message_of_the_user_counts() {
        check(
            r#"{"messages":[{"role":"user","content":"a"},{"role":"user","content":"b\u0021"},{"role":"assistant","content":"c"}]}"#,
            "b!",
            "b!",
        );
        check(r#"{"messages":[{"role":"system","content":"a"},{"content":"b"},"c",7]}"#, "", "");
        check(r#"{"messages":[]}"#, "", "");
        check(r#"{"messages":"text","prompt":"p"}"#, "", "");
    }

    #[test]
    fn texts_of_several_parts_are_joined() {
        check(
            r#"{"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url"},{"type":"text","text":"b"}]}]}"#,
            "a\nb",
            "b",
        );
        check(
            r#"{"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"other","text":"no"}]}]}"#,
            "a",
            "a",
        );
    }

    #[test]
    fn a_message_without_text_leaves_the_one_before_and_another_kind_does_not() {
        let after = |content: &str| {
            format!(
                r#"{{"messages":[{{"role":"user","content":"a"}},{{"role":"user","content":{content}}}]}}"#
            )
        };
        check(&after(r#"[{"type":"image_url"}]"#), "a", "a");
        check(&after("[]"), "a", "a");
        check(&after("null"), "", "");
        check(&after(r#""""#), "", "");
    }

    #[test]
    fn responses_and_gemini_are_read_too() {
        check(r#"{"input":"a"}"#, "a", "a");
        check(
            r#"{"input":[{"role":"user","content":[{"type":"input_text","text":"a"},{"type":"input_text","text":"b"}]},{"type":"reasoning"}]}"#,
            "a\nb",
            "b",
        );
        check(
            r#"{"contents":[{"parts":[{"text":"a"}]},{"role":"user","parts":[{"text":"b"},{"inlineData":{}},{"text":"c"}]},{"role":"model","parts":[{"text":"d"}]}]}"#,
            "b\nc",
            "c",
        );
        check(r#"{"contents":[{"parts":[{"text":"a"}]}]}"#, "a", "a");
    }

    #[test]
    fn no_more_of_a_text_is_matched_than_the_limit() {
        let long = "é".repeat(MAX_TEXT / 2 + 3);
        assert_eq!(cut(&long).len(), MAX_TEXT);
        assert_eq!(cut(&format!("x{long}")).len(), MAX_TEXT - 1);
        assert_eq!(cut("short"), "short");
    }
}
