//! What a text or a header must be, and how it is not.

use regex_lite::Regex;
use serde::Deserialize;
use serde_json::Value;

use super::Wrong;
use super::payload::base64;

const FORMS: &str = "a pattern is a text, or an object with one of `matches: <regex>`, `includes: <text>`, \
                     `base64: <bytes>`, `values: [<text>, …]`, `absent: true`, `present: true`";

/// What a text, or the values of a header, must be.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Value")]
pub(super) enum Pattern {
    /// Exactly this.
    Is(String),
    /// Exactly these bytes.
    Bytes(Vec<u8>),
    /// These values, each in a field of its own, in this order.
    Values(Vec<String>),
    /// Found by this regular expression.
    Matches(Regex),
    /// With this in it.
    Includes(String),
    /// Not there.
    Absent,
    /// There, whatever it is.
    Present,
}

impl TryFrom<Value> for Pattern {
    type Error = Wrong;

    fn try_from(value: Value) -> Result<Self, Wrong> {
        let object = match value {
            Value::String(text) => return Ok(Self::Is(text)),
            Value::Number(number) => return Ok(Self::Is(number.to_string())),
            Value::Bool(is) => return Ok(Self::Is(is.to_string())),
            Value::Object(object) if object.len() == 1 => object,
            _ => return Err(Wrong::new(FORMS)),
        };
        let (name, argument) = object.into_iter().next().unwrap_or_default();
        match (name.as_str(), argument) {
            ("matches", Value::String(pattern)) => Regex::new(&pattern)
                .map(Self::Matches)
                .map_err(|error| Wrong::new(format!("`{pattern}`: {error}"))),
            ("includes", Value::String(part)) => Ok(Self::Includes(part)),
            ("base64", Value::String(text)) => base64(&text).map(Self::Bytes),
            ("values", list @ Value::Array(_)) => serde_json::from_value(list)
                .map(Self::Values)
                .map_err(|error| Wrong::new(format!("values: {error}"))),
            ("absent", Value::Bool(true)) => Ok(Self::Absent),
            ("present", Value::Bool(true)) => Ok(Self::Present),
            _ => Err(Wrong::new(FORMS)),
        }
    }
}

impl Pattern {
    /// How the values of a header, one for each field, are not what they must be.
    pub(super) fn refuse(&self, values: &[&[u8]]) -> Option<String> {
        let joined = values.join(b", ".as_slice());
        let text = String::from_utf8_lossy(&joined);
        let is_there = !values.is_empty();
        let (matches, expected) = match self {
            Self::Is(expected) => (is_there && joined == expected.as_bytes(), format!("{expected:?}")),
            Self::Bytes(expected) => (is_there && joined == *expected, format!("{expected:?}")),
            Self::Values(expected) => {
                (expected.iter().map(String::as_bytes).eq(values.iter().copied()), format!("{expected:?}"))
            }
            Self::Matches(regex) => (is_there && regex.is_match(&text), format!("a match of `{regex}`")),
            Self::Includes(part) => (is_there && text.contains(part.as_str()), format!("{part:?} in it")),
            Self::Absent => (!is_there, "nothing".to_owned()),
            Self::Present => (is_there, "any value".to_owned()),
        };
        let found = match values {
            [] => "nothing".to_owned(),
            [one] => format!("{:?}", String::from_utf8_lossy(one)),
            several => format!(
                "{:?}",
                several.iter().map(|value| String::from_utf8_lossy(value)).collect::<Vec<_>>()
            ),
        };
        (!matches).then(|| format!("expected {expected}, found {found}"))
    }
}

/// The first line in which two texts differ, and its neighbours.
pub(super) fn line_difference(expected: &str, found: &str) -> Option<String> {
    if expected == found {
        return None;
    }
    // Line ends are part of a text: `\r\n` instead of `\n` must show.
    let (ours, theirs): (Vec<&str>, Vec<&str>) =
        (expected.split_inclusive('\n').collect(), found.split_inclusive('\n').collect());
    let first = ours.iter().zip(&theirs).take_while(|(one, other)| one == other).count();
    let line = |lines: &[&str]| {
        lines.get(first).map_or("the end".to_owned(), |line| shorten(&format!("{line:?}"), 600))
    };
    let before = first
        .checked_sub(1)
        .map_or(String::new(), |index| format!(", after {:?}", shorten(ours[index], 100)));
    let counts = format!("{} lines expected, {} found", ours.len(), theirs.len());
    Some(format!("line {}{before}: expected {}, found {} ({counts})", first + 1, line(&ours), line(&theirs)))
}

/// A text that is not longer than `most` bytes, or is cut and says so.
pub(super) fn shorten(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let end = (0..=most).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    format!("{}… ({} bytes)", &text[..end], text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, values: &[&str], expected: Option<&str>) {
        let parsed: Pattern = serde_yaml_ng::from_str(pattern).unwrap();
        let values: Vec<&[u8]> = values.iter().map(|value| value.as_bytes()).collect();
        assert_eq!(parsed.refuse(&values).as_deref(), expected, "{pattern}");
    }

    #[test]
    fn a_header_is_what_its_pattern_says() {
        check("a", &["a"], None);
        check("7", &["7"], None);
        check("a, b", &["a", "b"], None);
        check("{ values: [a, b] }", &["a", "b"], None);
        check("{ matches: '^Bearer .+' }", &["Bearer x"], None);
        check("{ includes: ear }", &["Bearer"], None);
        check("{ base64: 'YQ==' }", &["a"], None);
        check("{ absent: true }", &[], None);
        check("{ present: true }", &[""], None);
    }

    #[test]
    fn a_header_that_is_something_else_is_shown() {
        check("a", &["b"], Some("expected \"a\", found \"b\""));
        check("''", &[], Some("expected \"\", found nothing"));
        check("{ values: [a] }", &["a", "b"], Some("expected [\"a\"], found [\"a\", \"b\"]"));
        check("{ matches: '^B' }", &["aB"], Some("expected a match of `^B`, found \"aB\""));
        check("{ absent: true }", &["x"], Some("expected nothing, found \"x\""));
        check("{ present: true }", &[], Some("expected any value, found nothing"));
    }

    #[test]
    fn a_pattern_that_is_none_is_refused() {
        for text in [
            "{ match: a }",
            "{ matches: '(' }",
            "{ matches: a, includes: b }",
            "{ absent: false }",
            "[a]",
            "null",
        ] {
            assert!(serde_yaml_ng::from_str::<Pattern>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn texts_are_compared_line_by_line() {
        assert_eq!(line_difference("a\nb\n", "a\nb\n"), None);
        let difference = line_difference("a\nb\nc", "a\nb\r\nc").unwrap();
        assert_eq!(
            difference,
            r#"line 2, after "a\n": expected "b\n", found "b\r\n" (3 lines expected, 3 found)"#
        );
        let difference = line_difference("a\n", "a\nmore").unwrap();
        assert_eq!(
            difference,
            r#"line 2, after "a\n": expected the end, found "more" (1 lines expected, 2 found)"#
        );
    }
}
