//! What a body must be, and how it is not.

use serde::Deserialize;
use serde_json::Value;

use super::json::{Others, differences};
use super::pattern::{Pattern, line_difference, shorten};
use super::payload::{Event, base64};
use super::{Texts, Wrong, given};

/// Longer bodies are shown cut.
const SHOWN: usize = 600;

/// What a body must be: every key that is given is checked.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Expected {
    #[serde(deserialize_with = "given")]
    json: Option<Value>,
    #[serde(deserialize_with = "given")]
    json_includes: Option<Value>,
    text: Option<Pattern>,
    text_includes: Texts,
    text_excludes: Texts,
    base64: Option<String>,
    bytes: Option<usize>,
    sse: Option<Vec<Value>>,
    events: Option<Vec<Event>>,
}

impl Expected {
    pub(super) const KEYS: &[&str] = &[
        "json",
        "json_includes",
        "text",
        "text_includes",
        "text_excludes",
        "base64",
        "bytes",
        "sse",
        "events",
    ];

    /// Checks what can be checked before the scenario is played.
    pub(super) fn check(&self) -> Result<(), Wrong> {
        self.base64.as_deref().map(base64).transpose().map(drop)
    }

    /// How a body is not what it must be.
    pub(super) fn refuse(&self, body: &[u8]) -> Vec<String> {
        let text = String::from_utf8_lossy(body);
        let mut failures = Vec::new();
        failures.extend(
            self.json.iter().flat_map(|pattern| refuse_json("json", pattern, &text, Others::Refused)),
        );
        failures.extend(
            self.json_includes
                .iter()
                .flat_map(|pattern| refuse_json("json_includes", pattern, &text, Others::Allowed)),
        );
        failures.extend(self.refuse_text(&text));
        if let Some(expected) = self.base64.as_deref().and_then(|text| base64(text).ok()) {
            failures.extend(byte_difference(&expected, body).map(|line| format!("base64: {line}")));
        }
        if let Some(count) = self.bytes.filter(|count| *count != body.len()) {
            failures.push(format!("bytes: expected {count}, found {}", body.len()));
        }
        if self.sse.is_some() || self.events.is_some() {
            failures.extend(self.refuse_stream(&text));
        }
        failures
    }

    fn refuse_text(&self, text: &str) -> Vec<String> {
        let mut failures = Vec::new();
        let difference = match &self.text {
            Some(Pattern::Is(expected)) => line_difference(expected, text),
            Some(pattern) => pattern.refuse(&[text.as_bytes()]),
            None => None,
        };
        failures.extend(difference.map(|line| format!("text: {line}")));
        for part in self.text_includes.missing_in(text) {
            failures.push(format!("text_includes: no {part:?} in {:?}", shorten(text, SHOWN)));
        }
        for part in self.text_excludes.found_in(text) {
            failures.push(format!("text_excludes: {part:?} in {:?}", shorten(text, SHOWN)));
        }
        failures
    }

    fn refuse_stream(&self, text: &str) -> Vec<String> {
        let (found, rest) = parse_events(text);
        let mut failures = Vec::new();
        if !rest.is_empty() {
            failures.push(format!("the stream ends within an event: {:?}", shorten(rest, SHOWN)));
        }
        if let Some(expected) = &self.sse {
            let expected = expected.iter().map(|data| Event { data: data.clone(), ..Event::default() });
            failures.extend(refuse_events("sse", &expected.collect::<Vec<_>>(), &found, Names::Ignored));
        }
        if let Some(expected) = &self.events {
            failures.extend(refuse_events("events", expected, &found, Names::Compared));
        }
        failures
    }
}

fn refuse_json(name: &str, pattern: &Value, text: &str, others: Others) -> Vec<String> {
    match serde_json::from_str(text) {
        Ok(found) => {
            differences(pattern, &found, others).iter().map(|line| format!("{name}: {line}")).collect()
        }
        Err(error) => vec![format!("{name}: not JSON ({error}): {:?}", shorten(text, SHOWN))],
    }
}

/// An event as it arrived.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    event: Option<String>,
    id: Option<String>,
    data: String,
}

/// The events of a stream and what follows the last of them. Comments are left out.
fn parse_events(text: &str) -> (Vec<Seen>, &str) {
    let mut events = Vec::new();
    let mut event = Seen::default();
    let mut data: Option<String> = None;
    let mut rest = text;
    let mut at = 0;
    for raw in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        at += raw.len();
        let line = raw.trim_end_matches(['\n', '\r']);
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
        match name {
            "data" => match &mut data {
                Some(data) => *data = format!("{data}\n{value}"),
                None => data = Some(value),
            },
            "event" => event.event = Some(value),
            "id" => event.id = Some(value),
            _ => {}
        }
        if line.is_empty() {
            rest = &text[at..];
            let ended = std::mem::take(&mut event);
            events.extend(data.take().map(|data| Seen { data, ..ended }));
        }
    }
    (events, rest)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Names {
    Compared,
    Ignored,
}

fn refuse_events(key: &str, expected: &[Event], found: &[Seen], names: Names) -> Vec<String> {
    let mut failures = Vec::new();
    for (index, (expected, found)) in expected.iter().zip(found).enumerate() {
        let path = format!("{key}[{index}]");
        if names == Names::Compared && expected.event != found.event {
            failures.push(format!("{path}.event: expected {:?}, found {:?}", expected.event, found.event));
        }
        if expected.id.is_some() && expected.id != found.id {
            failures.push(format!("{path}.id: expected {:?}, found {:?}", expected.id, found.id));
        }
        match &expected.data {
            Value::String(data) => {
                failures.extend(line_difference(data, &found.data).map(|line| format!("{path}: {line}")));
            }
            data => failures.extend(refuse_json(&path, data, &found.data, Others::Refused)),
        }
    }
    for (index, expected) in expected.iter().enumerate().skip(found.len()) {
        failures.push(format!("{key}[{index}]: expected {}, found the end of the stream", expected.data));
    }
    for (index, found) in found.iter().enumerate().skip(expected.len()) {
        failures.push(format!(
            "{key}[{index}]: expected the end of the stream, found {}",
            shorten(&found.data, SHOWN)
        ));
    }
    failures
}

/// The first byte in which two bodies differ.
pub(super) fn byte_difference(expected: &[u8], found: &[u8]) -> Option<String> {
    if expected == found {
        return None;
    }
    let at = expected.iter().zip(found).take_while(|(one, other)| one == other).count();
    let around = |bytes: &[u8]| {
        let piece = &bytes[at.min(bytes.len())..(at + 40).min(bytes.len())];
        if piece.is_empty() { "the end".to_owned() } else { format!("\"{}\"", piece.escape_ascii()) }
    };
    let (ours, theirs) = (around(expected), around(found));
    let (expected, found) = (expected.len(), found.len());
    Some(format!("byte {at}: expected {ours}, found {theirs} ({expected} bytes expected, {found} found)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(expected: &str, body: &str, failures: &[&str]) {
        let expected: Expected = serde_yaml_ng::from_str(expected).unwrap();
        assert_eq!(expected.refuse(body.as_bytes()), failures, "{body:?}");
    }

    #[test]
    fn a_body_that_is_as_expected_gives_no_failure() {
        check("{}", "anything", &[]);
        check("json: { a: 1 }", "{ \"a\": 1 }", &[]);
        check("json_includes: { a: 1 }", "{ \"a\": 1, \"b\": 2 }", &[]);
        check("text: x", "x", &[]);
        check(
            "{ text: { matches: '^a.c$' }, text_includes: b, text_excludes: [d, e], bytes: 3 }",
            "abc",
            &[],
        );
        check("base64: 'YWI='", "ab", &[]);
        check("sse: [{ a: 1 }, '[DONE]']", "data: {\"a\":1}\n\n: note\n\nevent: x\ndata:[DONE]\n\n", &[]);
        check("events: [{ event: e, id: '1', data: x }]", "event: e\r\nid: 1\r\ndata: x\r\n\r\n", &[]);
    }

    #[test]
    fn every_key_that_does_not_hold_is_told() {
        check(
            "{ json: { a: 1 }, text_includes: [z], text_excludes: a, bytes: 1 }",
            "{\"a\":2}",
            &[
                "json: $.a: expected 1, found 2",
                r#"text_includes: no "z" in "{\"a\":2}""#,
                r#"text_excludes: "a" in "{\"a\":2}""#,
                "bytes: expected 1, found 7",
            ],
        );
        check("json: {}", "oops", &["json: not JSON (expected value at line 1 column 1): \"oops\""]);
        check("json: null", "1", &["json: $: expected null, found 1"]);
        check(
            "base64: 'YWI='",
            "aX!",
            &["base64: byte 1: expected \"b\", found \"X!\" (2 bytes expected, 3 found)"],
        );
    }

    #[test]
    fn streams_are_compared_event_by_event() {
        check("sse: [a, b]", "data: a\n\n", &["sse[1]: expected \"b\", found the end of the stream"]);
        check("sse: []", "data: a\n\n", &["sse[0]: expected the end of the stream, found a"]);
        check("sse: [{ a: 1 }]", "data: {\"a\":2}\n\n", &["sse[0]: $.a: expected 1, found 2"]);
        check("sse: [a]", "data: a\n\ndata: b", &["the stream ends within an event: \"data: b\""]);
        check(
            "events: [{ data: a }]",
            "event: x\ndata: a\n\n",
            &["events[0].event: expected None, found Some(\"x\")"],
        );
    }

    #[test]
    fn data_of_several_lines_is_joined() {
        let (events, rest) = parse_events("data: a\ndata: b\nid\n\n: only a comment\n\n");
        assert_eq!(events, [Seen { event: None, id: Some(String::new()), data: "a\nb".to_owned() }]);
        assert_eq!(rest, "");
    }
}
