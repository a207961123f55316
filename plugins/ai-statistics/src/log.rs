//! The JSON in the access log: written, merged with what others wrote, and escaped.

use std::borrow::Cow;
use std::cmp::Ordering;

use common::json::{self, Raw};

use crate::config::Encoding;

/// What a redacted value is written as.
const REDACTED: &[u8] = b"\"[redacted]\"";

/// Members of `ai_log` beside those that every exchange has, in the order of their names.
#[derive(Debug, Default)]
pub(crate) struct Members<'a>(Vec<Member<'a>>);

#[derive(Debug)]
struct Member<'a> {
    name: Cow<'a, str>,
    value: Written<'a>,
    /// It was there before this exchange's own, which take its place.
    is_old: bool,
}

/// The value of a member.
#[derive(Debug)]
pub(crate) enum Written<'a> {
    Text(Cow<'a, str>),
    /// A JSON text.
    Json(Cow<'a, [u8]>),
}

impl Written<'_> {
    /// The text that it is.
    pub(crate) fn text(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Text(text) => Some(Cow::Borrowed(text)),
            Self::Json(json) => json::value(json).ok()?.as_str(),
        }
    }

    /// The number that it is, or that a text says.
    pub(crate) fn number(&self) -> Option<u64> {
        match self {
            Self::Text(text) => text.parse().ok(),
            Self::Json(json) => {
                let value = json::value(json).ok()?;
                value.as_u64().or_else(|| value.as_str()?.parse().ok())
            }
        }
    }
}

impl<'a> Members<'a> {
    /// Gives a member a value, or another one than it had.
    pub(crate) fn set(&mut self, name: &'a str, value: Written<'a>) {
        let member = Member { name: Cow::Borrowed(name), value, is_old: false };
        match self.place(name) {
            Ok(at) => {
                if let Some(known) = self.0.get_mut(at) {
                    *known = member;
                }
            }
            Err(at) => self.0.insert(at, member),
        }
    }

    /// The value of a member.
    pub(crate) fn get(&self, name: &str) -> Option<&Written<'a>> {
        let at = self.place(name).ok()?;
        self.0.get(at).map(|member| &member.value)
    }

    fn place(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|member| (*member.name).cmp(name))
    }

    /// Adds what is in an `ai_log` already. `None`: it cannot be read.
    pub(crate) fn keep(&mut self, existing: &[u8], encoding: Encoding) -> Option<()> {
        let text = match encoding {
            Encoding::Raw => Cow::Borrowed(existing),
            Encoding::Escaped => Cow::Owned(unescaped(existing)?),
        };
        for (name, value) in json::object(&text).ok()?.members() {
            if let Err(at) = self.place(&name) {
                let value = Written::Json(Cow::Owned(value.text().to_vec()));
                self.0.insert(at, Member { name: Cow::Owned(name.into_owned()), value, is_old: true });
            }
        }
        Some(())
    }
}

/// Writes `ai_log`: an exchange's own members, which must come in the order of their names, with the others between
/// them.
pub(crate) struct Writer<'a> {
    out: Vec<u8>,
    members: Members<'a>,
    /// How many of them are written.
    written: usize,
    /// How it is written as long as it is not closed.
    during: Encoding,
    encoding: Encoding,
    redactions: &'a [Redaction],
}

impl<'a> Writer<'a> {
    /// Opens the object.
    pub(crate) fn open(members: Members<'a>, encoding: Encoding, redactions: &'a [Redaction]) -> Self {
        let mut out = Vec::with_capacity(512);
        out.push(b'{');
        // What is redacted must be JSON until it is.
        let during = if redactions.is_empty() { encoding } else { Encoding::Raw };
        Self { out, members, written: 0, during, encoding, redactions }
    }

    /// A member with this text.
    #[inline(never)]
    pub(crate) fn text(&mut self, name: &str, text: &str) {
        if self.begins(name) {
            self.quoted(text);
        }
    }

    /// A member with this number.
    #[inline(never)]
    pub(crate) fn number(&mut self, name: &str, number: u64) {
        if self.begins(name) {
            write_number(&mut self.out, number);
        }
    }

    /// A member with this JSON.
    pub(crate) fn json(&mut self, name: &str, json: &[u8]) {
        if self.begins(name) {
            self.raw(json);
        }
    }

    /// The text of the object.
    pub(crate) fn close(mut self) -> Vec<u8> {
        while self.write_next() {}
        self.out.push(b'}');
        if self.redactions.is_empty() {
            return self.out;
        }
        let out = self.redactions.iter().fold(self.out, |text, redaction| redaction.applied(text));
        if self.encoding == Encoding::Raw { out } else { escaped(&out) }
    }

    /// Whether a member of its own is to be written now, and not another of the same name.
    #[inline]
    fn begins(&mut self, name: &str) -> bool {
        if self.written < self.members.0.len() && !self.catches_up(name) {
            return false;
        }
        // Its own names have nothing to escape.
        self.comma();
        self.quote();
        self.out.extend_from_slice(name.as_bytes());
        self.quote();
        self.out.push(b':');
        true
    }

    /// Writes the others that come before.
    #[cold]
    fn catches_up(&mut self, name: &str) -> bool {
        while let Some(next) = self.members.0.get(self.written) {
            match (*next.name).cmp(name) {
                Ordering::Greater => break,
                Ordering::Equal if next.is_old => self.written += 1,
                Ordering::Equal => {
                    self.write_next();
                    return false;
                }
                Ordering::Less => {
                    self.write_next();
                }
            }
        }
        true
    }

    fn write_next(&mut self) -> bool {
        let members = std::mem::take(&mut self.members);
        let next = members.0.get(self.written);
        if let Some(Member { name, value, .. }) = next {
            self.written += 1;
            self.comma();
            self.quoted(name);
            self.out.push(b':');
            match value {
                Written::Text(text) => self.quoted(text),
                Written::Json(json) => self.raw(json),
            }
        }
        let is_written = next.is_some();
        self.members = members;
        is_written
    }

    fn comma(&mut self) {
        if self.out.len() > 1 {
            self.out.push(b',');
        }
    }

    fn quote(&mut self) {
        if self.during == Encoding::Escaped {
            self.out.push(b'\\');
        }
        self.out.push(b'"');
    }

    fn quoted(&mut self, text: &str) {
        self.quote();
        write_inside(&mut self.out, text, self.during);
        self.quote();
    }

    fn raw(&mut self, json: &[u8]) {
        match self.during {
            Encoding::Raw => self.out.extend_from_slice(json),
            Encoding::Escaped => write_escaped(&mut self.out, json),
        }
    }
}

/// What stands between the quotes of a JSON string.
fn write_inside(out: &mut Vec<u8>, text: &str, encoding: Encoding) {
    let is_plain = |byte: u8| !matches!(byte, 0..=0x1f | b'"' | b'\\' | b'<' | b'>' | b'&');
    if text.bytes().all(is_plain) {
        return out.extend_from_slice(text.as_bytes());
    }
    let quoted = json::string(text);
    let inside = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
    match encoding {
        Encoding::Raw => out.extend_from_slice(inside),
        Encoding::Escaped => write_escaped(out, inside),
    }
}

fn write_number(out: &mut Vec<u8>, number: u64) {
    let mut digits = [0; 20];
    let (mut rest, mut count) = (number, 0);
    for digit in digits.iter_mut().rev() {
        let [last, ..] = (rest % 10).to_le_bytes();
        *digit = b'0' + last;
        rest /= 10;
        count += 1;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(digits.len() - count..).unwrap_or_default());
}

/// As the inside of a JSON string, safe in HTML too.
pub(crate) fn escaped(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + text.len() / 4);
    write_escaped(&mut out, text);
    out
}

fn write_escaped(out: &mut Vec<u8>, text: &[u8]) {
    for byte in text {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..=0x1f | b'<' | b'>' | b'&' => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            other => out.push(*other),
        }
    }
}

fn unescaped(text: &[u8]) -> Option<Vec<u8>> {
    let quoted = [b"\"", text, b"\""].concat();
    let value = json::value(&quoted).ok()?;
    Some(value.as_str()?.into_owned().into_bytes())
}

/// Where in `ai_log` values are that nobody may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Redaction(Vec<String>);

impl Redaction {
    /// Names with dots between them; `#` is each element of an array.
    pub(crate) fn parse(path: &str) -> Self {
        Self(json::path_names(path))
    }

    fn applied(&self, text: Vec<u8>) -> Vec<u8> {
        let Ok(value) = json::value(&text) else { return text };
        let mut out = Vec::with_capacity(text.len());
        write_redacted(&mut out, value, &self.0);
        out
    }
}

fn write_redacted(out: &mut Vec<u8>, value: Raw<'_>, names: &[String]) {
    let Some((name, rest)) = names.split_first() else { return out.extend_from_slice(REDACTED) };
    let entry = |out: &mut Vec<u8>, is_named: bool, value: Raw<'_>| {
        if is_named { write_redacted(out, value, rest) } else { out.extend_from_slice(value.text()) }
    };
    match (value.object(), value.elements()) {
        (Some(object), _) => {
            out.push(b'{');
            for ((member, value), at) in object.members().zip(0..) {
                if at > 0 {
                    out.push(b',');
                }
                json::write_string(out, &member);
                out.push(b':');
                entry(out, *member == **name, value);
            }
            out.push(b'}');
        }
        (None, Some(elements)) => {
            let index = name.parse::<usize>().ok();
            out.push(b'[');
            for (element, at) in elements.iter().zip(0..) {
                if at > 0 {
                    out.push(b',');
                }
                entry(out, name == "#" || index == Some(at), *element);
            }
            out.push(b']');
        }
        (None, None) => out.extend_from_slice(value.text()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `ai_log` with a member of its own, a redacted one of an attribute, and what there was before.
    fn check(existing: Option<&str>, encoding: Encoding, redact: &[&str], expected: Option<&str>) {
        let redactions: Vec<_> = redact.iter().map(|path| Redaction::parse(path)).collect();
        let mut members = Members::default();
        members.set("messages", Written::Text("replaced".into()));
        let messages = br#"[{"role":"user","content":"q"},{"content":1}]"#;
        members.set("messages", Written::Json(messages.into()));
        let kept = existing.map_or(Some(()), |existing| members.keep(existing.as_bytes(), encoding));
        let found = kept.map(|()| {
            let mut writer = Writer::open(members, encoding, &redactions);
            writer.text("messages", "the attribute counts");
            writer.text("model", "m<1>");
            String::from_utf8(writer.close()).unwrap()
        });
        assert_eq!(found.as_deref(), expected);
    }

    const MESSAGES: &str = r#""messages":[{"role":"user","content":"q"},{"content":1}]"#;

    #[test]
    fn members_stand_in_the_order_of_their_names() {
        check(None, Encoding::Raw, &[], Some(&format!(r#"{{{MESSAGES},"model":"m<1>"}}"#)));
    }

    #[test]
    fn what_others_wrote_stays_and_our_own_is_replaced_worked_case_24() {
        let merged = format!(r#"{{"cache_status":"miss",{MESSAGES},"model":"m<1>"}}"#);
        check(Some(r#"{"model":"old","cache_status":"miss"}"#), Encoding::Raw, &[], Some(&merged));
        let escaped = merged.replace('"', "\\\"").replace('<', "\\u003c").replace('>', "\\u003e");
        check(Some(r#"{\"cache_status\":\"miss\"}"#), Encoding::Escaped, &[], Some(&escaped));
    }

    #[test]
    fn what_cannot_be_read_is_not_overwritten() {
        check(Some("nonsense"), Encoding::Raw, &[], None);
        check(Some("\""), Encoding::Escaped, &[], None);
        check(Some("[1]"), Encoding::Escaped, &[], None);
    }

    #[test]
    fn an_escaped_text_reads_back() {
        let text = "{\"a\":\"q\\\"\\\\ <b>&\\n\u{1}é\"}";
        assert_eq!(unescaped(&escaped(text.as_bytes())).unwrap(), text.as_bytes());
    }

    #[test]
    fn values_of_every_kind_are_written() {
        let text = "q\"\\ <b>&\n\u{1}é";
        for encoding in [Encoding::Raw, Encoding::Escaped] {
            let mut members = Members::default();
            members.set("c\"", Written::Json(b"{\"x\":[\"<\"]}".into()));
            members.set("z", Written::Text(text.into()));
            let mut writer = Writer::open(members, encoding, &[]);
            writer.number("a", u64::MAX);
            writer.number("b", 0);
            writer.text("d", text);
            writer.json("e", b"[\"\\n\"]");
            let written = writer.close();
            let written = if encoding == Encoding::Raw { written } else { unescaped(&written).unwrap() };
            let expected = serde_json::json!({
                "a": u64::MAX, "b": 0, "c\"": { "x": ["<"] }, "d": text, "e": ["\n"], "z": text,
            });
            let written: serde_json::Value = serde_json::from_slice(&written).unwrap();
            assert_eq!(written, expected, "{encoding:?}");
        }
    }

    #[test]
    fn values_are_read_as_texts_and_numbers() {
        let json = |json: &'static str| Written::Json(json.as_bytes().into());
        for (value, text, number) in [
            (json("12"), None, Some(12)),
            (json("\"12\""), Some("12"), Some(12)),
            (json("{}"), None, None),
            (Written::Text("12".into()), Some("12"), Some(12)),
            (Written::Text("x".into()), Some("x"), None),
        ] {
            assert_eq!((value.text().as_deref(), value.number()), (text, number), "{value:?}");
        }
    }

    #[test]
    fn redacted_values_are_not_written() {
        let redacted = r#"{"messages":[{"role":"user","content":"[redacted]"},{"content":"[redacted]"}],"model":"m<1>"}"#;
        check(None, Encoding::Raw, &["messages.#.content", "absent.x"], Some(redacted));
        let second = r#"{"messages":[{"role":"user","content":"q"},"[redacted]"],"model":"[redacted]"}"#;
        check(None, Encoding::Raw, &["messages.1", "model"], Some(second));
    }
}
