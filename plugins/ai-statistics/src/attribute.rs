//! An attribute: where its value comes from, and where it goes.

use std::borrow::Cow;

use common::config::{ConfigError, Node, Section};
use common::json::{self, Kind, Query};

use crate::built_in::BuiltIn;
use crate::log::{REDACTED, Redaction, Written};
use crate::text::{Growing, LOST, truncated};

/// What the access log's object and flags of other builds of Envoy are stored under.
const RESERVED: [&str; 6] = [
    "ai_log",
    "clear_route_cache",
    "set_decoder_buffer_limit",
    "set_encoder_buffer_limit",
    "wasm_need_rebuild",
    "x_request_id",
];

/// Attributes of these names are counted.
const COUNTED: [&str; 4] = ["model", "input_token", "output_token", "total_token"];

/// Before the keys of span attributes, so that tracing can be told to read them.
pub(crate) const SPAN_PREFIX: &str = "trace_span_tag.";

common::settings! {
    /// What stands in one element of `attributes`.
    pub(crate) snake_case struct Settings {
        /// Its name in the log and in spans. Some names have a value by themselves, see [below](#built-in-attributes).
        key: String,
        /// `fixed_value`, `request_header`, `request_body`, `response_header`, `response_streaming_body` or
        /// `response_body`. Of the last two only the one is looked at that the response is.
        value_source: String,
        /// The value itself, the name of the header, or a [path](#paths).
        value: String,
        /// Stands in for a value that is absent or empty.
        default_value: String,
        /// With `response_streaming_body`: `first` or `replace` for the value of the first or last event that has
        /// one, `append` for all of them joined.
        rule: String,
        /// Put it into the log.
        apply_to_log: bool,
        /// Put it into the span.
        apply_to_span: bool,
        /// Its name in the span, in the place of `key`.
        trace_span_key: String,
        /// Not a member of `ai_log` but a value of its own: `%FILTER_STATE(wasm.<key>:PLAIN)%`.
        as_separate_log_field: bool,
    }
}

/// One attribute, compiled.
#[derive(Debug, PartialEq)]
pub(crate) struct Attribute {
    pub(crate) key: String,
    pub(crate) source: Source,
    /// What it is where the source gives nothing.
    pub(crate) built_in: Option<BuiltIn>,
    pub(crate) default: Option<String>,
    pub(crate) log: Log,
    /// With the prefix.
    pub(crate) span_key: Option<String>,
    /// What nobody may read of it, wherever it is written.
    pub(crate) redaction: Redaction,
}

/// Where in the log an attribute stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Log {
    Nowhere,
    Member,
    OwnField,
}

/// Where a value is looked for; without a path only the built-in value is.
#[derive(Debug, PartialEq)]
pub(crate) enum Source {
    Fixed(String),
    RequestHeader(String),
    RequestBody(Option<Query>),
    ResponseHeader(String),
    Stream {
        path: Option<Query>,
        rule: Rule,
    },
    Body(Option<Query>),
    /// Whichever the response is.
    Response {
        rule: Rule,
    },
    /// It is not known, so there is never a value.
    Unknown,
}

/// Which of the values in a stream counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    First,
    Replace,
    Append,
}

impl Attribute {
    /// Compiles one element of `attributes`.
    pub(crate) fn load(section: &mut Section<'_>, node: &Node<'_>) -> Result<Self, ConfigError> {
        let settings: Settings = section.read_node(node)?;
        let built_in = BuiltIn::of(&settings.key);
        let path =
            |name: &str| node.get(name).map_or_else(|| node.path().to_owned(), |node| node.path().to_owned());
        let rule = match settings.rule.as_str() {
            "" => None,
            "first" => Some(Rule::First),
            "replace" => Some(Rule::Replace),
            "append" => Some(Rule::Append),
            other => {
                let message = format!("unknown rule `{other}`: first, replace or append");
                return Err(ConfigError::new(path("rule"), message));
            }
        };
        let query = || match Query::parse(&settings.value) {
            _ if settings.value.is_empty() => Ok(None),
            Ok(query) => Ok(Some(query)),
            Err(error) => Err(ConfigError::new(path("value"), error.to_string())),
        };
        let source = match (settings.value_source.as_str(), built_in) {
            ("fixed_value", _) => Source::Fixed(settings.value.clone()),
            ("request_header", _) => Source::RequestHeader(settings.value.to_ascii_lowercase()),
            ("response_header", _) => Source::ResponseHeader(settings.value.to_ascii_lowercase()),
            ("request_body", _) => Source::RequestBody(query()?),
            ("response_body", _) => Source::Body(query()?),
            ("response_streaming_body", None) if rule.is_none() => {
                section.warn(node.path(), "without a `rule` it has no value: first, replace or append");
                Source::Unknown
            }
            ("response_streaming_body", _) => {
                Source::Stream { path: query()?, rule: rule.unwrap_or(Rule::Append) }
            }
            ("", Some(built_in)) if built_in.is_of_request() => Source::RequestBody(None),
            ("", Some(_)) => Source::Response { rule: rule.unwrap_or(Rule::Append) },
            (other, _) => {
                let message = format!("unknown `value_source` `{other}`: the attribute has no value");
                section.warn(&path("value_source"), message);
                Source::Unknown
            }
        };
        let log = match (settings.apply_to_log, settings.as_separate_log_field) {
            (true, true) => Log::OwnField,
            (true, false) => Log::Member,
            (false, _) => Log::Nowhere,
        };
        let is_reserved = RESERVED.contains(&settings.key.as_str()) || settings.key.starts_with(SPAN_PREFIX);
        if log == Log::OwnField && (is_reserved || settings.key.is_empty()) {
            return Err(ConfigError::new(path("key"), "this name cannot be a field of its own"));
        }
        let span_key =
            if settings.trace_span_key.is_empty() { &settings.key } else { &settings.trace_span_key };
        Ok(Self {
            span_key: settings.apply_to_span.then(|| format!("{SPAN_PREFIX}{span_key}")),
            key: settings.key,
            source,
            built_in,
            default: Some(settings.default_value).filter(|text| !text.is_empty()),
            log,
            redaction: Redaction::default(),
        })
    }

    /// A built-in attribute that goes into the log.
    pub(crate) fn logged(key: &str) -> Self {
        let built_in = BuiltIn::of(key);
        let source = match built_in {
            None => Source::RequestBody(Query::parse(key).ok()),
            Some(built_in) if built_in.is_of_request() => Source::RequestBody(None),
            Some(_) => Source::Response { rule: Rule::Append },
        };
        Self {
            key: key.to_owned(),
            source,
            built_in,
            default: None,
            log: Log::Member,
            span_key: None,
            redaction: Redaction::default(),
        }
    }

    /// The value of an attribute whose members there was no room for. A count has none then: another one counts in its
    /// place.
    pub(crate) fn lost(&self, lacks: impl Fn(&str) -> bool) -> Option<Value> {
        let first = match &self.source {
            Source::RequestBody(path) | Source::Body(path) => path.as_ref().and_then(Query::first),
            _ => None,
        };
        let built_in = self.built_in.map(BuiltIn::members).unwrap_or_default();
        let is_lost = first.is_some_and(&lacks) || built_in.iter().any(|name| lacks(name));
        let is_counted = COUNTED.contains(&self.key.as_str());
        (is_lost && !is_counted).then(|| Value::Text(LOST.to_owned()))
    }

    /// The text of a value as others may read it.
    pub(crate) fn shown<'a>(&self, value: &'a Value) -> &'a str {
        if self.redaction.is_whole { REDACTED } else { value.text() }
    }

    /// The value, or what stands in for it.
    pub(crate) fn or_default(&self, value: Option<Value>) -> Option<Value> {
        match (value, &self.default) {
            (Some(value), Some(default)) if value.is_empty() => Some(Value::Text(default.clone())),
            (None, Some(default)) => Some(Value::Text(default.clone())),
            (value, _) => value,
        }
    }
}

/// A value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Text(String),
    /// A number, a bool, an array or an object, as the text that it is.
    Json(String),
}

impl Value {
    /// The value of a JSON text, no larger than the limit; null is none. What may not be read inside of it is taken
    /// out before it is cut: of half a text nobody can tell what it was.
    pub(crate) fn of(text: &[u8], limit: usize, redaction: &Redaction) -> Option<Self> {
        if json::value(text).ok()?.kind() == Kind::Null {
            return None;
        }
        let text = redaction.applied(text);
        let value = json::value(&text).ok()?;
        match value.kind() {
            Kind::String => Some(Self::Text(truncated(&value.as_str()?, limit))),
            _ => {
                let text = std::str::from_utf8(value.text()).ok()?;
                Some(if text.len() > limit {
                    Self::Text(truncated(text, limit))
                } else {
                    Self::Json(text.to_owned())
                })
            }
        }
    }

    /// A text, no larger than the limit.
    pub(crate) fn of_text(text: &str, limit: usize, redaction: &Redaction) -> Self {
        match redaction.is_inside() && !text.is_empty() {
            true => Self::Text(REDACTED.to_owned()),
            false => Self::Text(truncated(text, limit)),
        }
    }

    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Text(text) | Self::Json(text) => text,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.text().is_empty()
    }

    /// As a member of the log.
    pub(crate) fn written(self) -> Written<'static> {
        match self {
            Self::Text(text) => Written::Text(Cow::Owned(text)),
            Self::Json(text) => Written::Json(Cow::Owned(text.into_bytes())),
        }
    }
}

/// The string form of a JSON text: what an appended value adds.
fn string_form(text: &[u8]) -> Cow<'_, str> {
    match json::value(text) {
        Ok(value) if value.kind() == Kind::Null => Cow::Borrowed(""),
        Ok(value) if value.kind() == Kind::String => value.as_str().unwrap_or_default(),
        _ => String::from_utf8_lossy(text),
    }
}

/// The value of one attribute in a stream, so far.
#[derive(Debug)]
pub(crate) struct Collected {
    rule: Rule,
    is_seen: bool,
    value: Option<Value>,
    text: Growing,
}

impl Collected {
    pub(crate) fn new(rule: Rule) -> Self {
        Self { rule, is_seen: false, value: None, text: Growing::default() }
    }

    /// An event has this JSON text.
    pub(crate) fn take(&mut self, found: &[u8], limit: usize, redaction: &Redaction) {
        match self.rule {
            Rule::First if self.is_seen => {}
            Rule::First | Rule::Replace => self.value = Value::of(found, limit, redaction),
            Rule::Append => self.text.push(&string_form(found), limit),
        }
        self.is_seen = true;
    }

    /// An event has this text.
    pub(crate) fn take_text(&mut self, found: &str, limit: usize, redaction: &Redaction) {
        match self.rule {
            Rule::First if self.is_seen => {}
            Rule::First | Rule::Replace => self.value = Some(Value::of_text(found, limit, redaction)),
            Rule::Append => self.text.push(found, limit),
        }
        self.is_seen = true;
    }

    /// The value, and nothing is left of it here. What is appended is a text, if an empty one.
    pub(crate) fn finish(&mut self, limit: usize, redaction: &Redaction) -> Option<Value> {
        match self.rule {
            Rule::First | Rule::Replace => self.value.take(),
            Rule::Append => {
                let text = self.text.text(limit);
                self.text.clear();
                // It is no longer than the limit, but for the mark in its middle.
                Some(Value::of_text(&text, usize::MAX, redaction))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rule: Rule, events: &[&str], expected: Option<&Value>) {
        let mut collected = Collected::new(rule);
        for event in events {
            collected.take(event.as_bytes(), 100, &Redaction::default());
        }
        let found = collected.finish(100, &Redaction::default());
        assert_eq!(found.as_ref(), expected, "{rule:?}: {events:?}");
    }

    fn text(text: &str) -> Option<Value> {
        Some(Value::Text(text.to_owned()))
    }

    #[test]
    fn rules_choose_among_events_worked_cases_11_to_13() {
        let events = [r#""""#, r#""He""#, r#""llo""#];
        check(Rule::First, &events, text("").as_ref());
        check(Rule::Append, &events, text("Hello").as_ref());
        check(Rule::Replace, &events, text("llo").as_ref());
    }

    #[test]
    fn a_null_counts_as_there_and_is_no_value() {
        check(Rule::First, &["null", r#""a""#], None);
        check(Rule::Replace, &[r#""a""#, "null"], None);
        check(Rule::Append, &[r#""a""#, "null", "7"], text("a7").as_ref());
        check(Rule::Append, &[], text("").as_ref());
        check(Rule::First, &[], None);
        check(Rule::Replace, &["1", "{\"a\":2}"], Some(&Value::Json("{\"a\":2}".to_owned())));
    }

    #[test]
    fn a_long_value_is_cut_and_becomes_a_text() {
        let cut = |text: &[u8], limit: usize| Value::of(text, limit, &Redaction::default());
        assert_eq!(cut(b"[1,2,3,4,5,6]", 6), text("[1, [truncated] ,6]"));
        assert_eq!(cut(br#""abcdefghijklmnop""#, 10), text("abcde [truncated] lmnop"));
        assert_eq!(cut(b"null", 6), None);
    }
}
