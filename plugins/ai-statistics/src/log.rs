//! The JSON in the access log: written, merged with what others wrote, and escaped.

use std::borrow::Cow;
use std::cmp::Ordering;

use common::json::{self, Raw};

use crate::config::Encoding;

/// What a redacted value is written as.
pub(crate) const REDACTED: &str = "[redacted]";

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
    encoding: Encoding,
    redactions: &'a Redactions,
}

impl<'a> Writer<'a> {
    /// Opens the object.
    pub(crate) fn open(members: Members<'a>, encoding: Encoding, redactions: &'a Redactions) -> Self {
        let mut out = Vec::with_capacity(512);
        out.push(b'{');
        Self { out, members, written: 0, encoding, redactions }
    }

    /// A member with this text.
    #[inline(never)]
    pub(crate) fn text(&mut self, name: &str, text: &str) {
        if self.begins(name) {
            self.quoted(if self.redactions.lead_into(name) { REDACTED } else { text });
        }
    }

    /// A member with this number.
    #[inline(never)]
    pub(crate) fn number(&mut self, name: &str, number: u64) {
        if !self.begins(name) {
            return;
        }
        match self.redactions.lead_into(name) {
            true => self.quoted(REDACTED),
            false => write_number(&mut self.out, number),
        }
    }

    /// A member with this JSON.
    pub(crate) fn json(&mut self, name: &str, json: &[u8]) {
        if self.begins(name) {
            self.shown(name, json);
        }
    }

    /// The text of the object.
    pub(crate) fn close(mut self) -> Vec<u8> {
        while self.write_next() {}
        self.out.push(b'}');
        self.out
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
                Written::Text(_) if self.redactions.hide(name) => self.quoted(REDACTED),
                // What may not be read inside of an attribute has been taken out of it before it was cut.
                Written::Text(text) => self.quoted(text),
                Written::Json(json) => self.shown(name, json),
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
        if self.encoding == Encoding::Escaped {
            self.out.push(b'\\');
        }
        self.out.push(b'"');
    }

    fn quoted(&mut self, text: &str) {
        self.quote();
        write_inside(&mut self.out, text, self.encoding);
        self.quote();
    }

    /// What may be read of a JSON text.
    fn shown(&mut self, name: &str, json: &[u8]) {
        if !self.redactions.lead_into(name) {
            return self.raw(json);
        }
        let redaction = self.redactions.of(name);
        match redaction.is_whole {
            true => self.quoted(REDACTED),
            false => self.raw(&redaction.applied(json)),
        }
    }

    fn raw(&mut self, json: &[u8]) {
        match self.encoding {
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

/// Where in `ai_log` values are that nobody may read: the names that lead to each.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Redactions(Vec<Vec<String>>);

impl Redactions {
    /// Names with dots between them; `#` is each element of an array.
    pub(crate) fn parse(paths: &[String]) -> Self {
        Self(paths.iter().map(|path| json::path_names(path)).collect())
    }

    /// What may not be read of one member.
    pub(crate) fn of(&self, member: &str) -> Redaction {
        let mut redaction = Redaction::default();
        for path in &self.0 {
            match path.split_first() {
                Some((first, [])) if first == member => redaction.is_whole = true,
                Some((first, rest)) if first == member => redaction.within.push(rest.to_vec()),
                _ => {}
            }
        }
        redaction
    }

    /// Whether any of them is this member, or inside of it.
    fn lead_into(&self, member: &str) -> bool {
        self.0.iter().any(|path| path.first().is_some_and(|first| first == member))
    }

    /// Whether this member may not be read at all.
    fn hide(&self, member: &str) -> bool {
        self.0.iter().any(|path| path.as_slice() == [member])
    }
}

/// What may not be read of one value.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Redaction {
    /// Nothing may.
    pub(crate) is_whole: bool,
    /// The names that lead to values inside of it.
    within: Vec<Vec<String>>,
}

impl Redaction {
    /// Whether there are paths into the value. Where it is no JSON, nobody can tell what they would lead to.
    pub(crate) fn is_inside(&self) -> bool {
        !self.within.is_empty()
    }

    /// A JSON text without what may not be read inside of it.
    pub(crate) fn applied<'a>(&self, text: &'a [u8]) -> Cow<'a, [u8]> {
        self.within.iter().fold(Cow::Borrowed(text), |text, names| Cow::Owned(redacted(&text, names)))
    }
}

fn redacted(text: &[u8], names: &[String]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    match json::value(text) {
        Ok(value) => write_redacted(&mut out, value, names),
        Err(_) => json::write_string(&mut out, REDACTED),
    }
    out
}

/// Writes a value without what these names lead to. Where they lead no further although there are more of them, the
/// value is another than whoever wrote the path thought of, so nothing of it is written.
fn write_redacted(out: &mut Vec<u8>, value: Raw<'_>, names: &[String]) {
    let Some((name, rest)) = names.split_first() else { return json::write_string(out, REDACTED) };
    let entry = |out: &mut Vec<u8>, is_named: bool, value: Raw<'_>| {
        if is_named { write_redacted(out, value, rest) } else { out.extend_from_slice(value.text()) }
    };
    let index = name.parse::<usize>().ok();
    let is_of_array = name == "#" || index.is_some();
    match (value.object(), value.elements()) {
        (Some(object), _) if !is_of_array || object.get(name).is_some() => {
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
        (None, Some(elements)) if is_of_array => {
            out.push(b'[');
            for (element, at) in elements.iter().zip(0..) {
                if at > 0 {
                    out.push(b',');
                }
                entry(out, name == "#" || index == Some(at), *element);
            }
            out.push(b']');
        }
        _ => json::write_string(out, REDACTED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redactions(paths: &[&str]) -> Redactions {
        Redactions::parse(&paths.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>())
    }

    /// `ai_log` with a member of its own, a redacted one of an attribute, and what there was before.
    fn check(existing: Option<&str>, encoding: Encoding, redact: &[&str], expected: Option<&str>) {
        let redactions = redactions(redact);
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
            let redactions = Redactions::default();
            let mut writer = Writer::open(members, encoding, &redactions);
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

    #[test]
    fn what_others_wrote_is_redacted_too() {
        let existing = r#"{"a":{"b":1,"c":2},"d":"x"}"#;
        let merged = |a: &str, d: &str| format!(r#"{{"a":{a},"d":{d},{MESSAGES},"model":"m<1>"}}"#);
        let redacted = "\"[redacted]\"";
        check(
            Some(existing),
            Encoding::Raw,
            &["a.b", "d"],
            Some(&merged(&format!(r#"{{"b":{redacted},"c":2}}"#), redacted)),
        );
        check(Some(existing), Encoding::Raw, &["a", "d.e"], Some(&merged(redacted, redacted)));
        let escaped = merged(redacted, "\"x\"").replace('"', "\\\"");
        let escaped = escaped.replace('<', "\\u003c").replace('>', "\\u003e");
        check(Some(r#"{\"a\":1,\"d\":\"x\"}"#), Encoding::Escaped, &["a.b"], Some(&escaped));
    }

    #[test]
    fn members_that_every_exchange_has_are_redacted() {
        let redactions = redactions(&["model", "count", "details.a", "whole"]);
        let mut writer = Writer::open(Members::default(), Encoding::Raw, &redactions);
        writer.number("count", 7);
        writer.json("details", br#"{"a":1,"b":2}"#);
        writer.text("model", "m");
        writer.number("more", 8);
        writer.json("whole", b"{}");
        assert_eq!(
            String::from_utf8(writer.close()).unwrap(),
            r#"{"count":"[redacted]","details":{"a":"[redacted]","b":2},"model":"[redacted]","more":8,"whole":"[redacted]"}"#
        );
    }

    #[test]
    fn where_a_path_cannot_go_on_nothing_is_written() {
        for (value, path, expected) in [
            (
                r#"[{"t":"s"},"s",7,null]"#,
                "#.t",
                r#"[{"t":"[redacted]"},"[redacted]","[redacted]","[redacted]"]"#,
            ),
            (r#""s""#, "#.t", r#""[redacted]""#),
            (r#"[{"t":"s"}]"#, "t", r#""[redacted]""#),
            (r#"{"t":"s"}"#, "#.t", r#""[redacted]""#),
            (r#"{"t":"s"}"#, "0", r#""[redacted]""#),
            (r##"{"#":"s","0":"s","t":1}"##, "0", r##"{"#":"s","0":"[redacted]","t":1}"##),
            (r#"{"t":"s"}"#, "u.v", r#"{"t":"s"}"#),
            (r#"{"t":"s","t":"s2"}"#, "t", r#"{"t":"[redacted]","t":"[redacted]"}"#),
            ("[1,", "#", r#""[redacted]""#),
        ] {
            let redaction = redactions(&[&format!("k.{path}")]).of("k");
            let found = redaction.applied(value.as_bytes());
            assert_eq!(std::str::from_utf8(&found).unwrap(), expected, "{value} {path}");
        }
    }
}
