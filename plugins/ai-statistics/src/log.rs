//! The JSON in the access log: written, merged with what others wrote, and escaped.

use common::json::{self, Raw};

use crate::config::Encoding;

/// What a redacted value is written as.
const REDACTED: &[u8] = b"\"[redacted]\"";

/// The members of `ai_log`, as JSON texts, in the order of their names.
#[derive(Debug, Default)]
pub(crate) struct Members(Vec<(String, Vec<u8>)>);

impl Members {
    /// Gives a member a value, or another one than it had.
    pub(crate) fn set(&mut self, name: &str, value: Vec<u8>) {
        self.put(name, value, true);
    }

    /// The same with a text.
    #[inline(never)]
    pub(crate) fn set_text(&mut self, name: &str, text: &str) {
        self.set(name, json::string(text));
    }

    /// The same with a number.
    #[inline(never)]
    pub(crate) fn set_number(&mut self, name: &str, number: u64) {
        self.set(name, number.to_string().into_bytes());
    }

    /// The value of a member.
    pub(crate) fn get(&self, name: &str) -> Option<&[u8]> {
        let at = self.place(name).ok()?;
        self.0.get(at).map(|(_, value)| value.as_slice())
    }

    fn place(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| known.as_str().cmp(name))
    }

    #[inline(never)]
    fn put(&mut self, name: &str, value: Vec<u8>, replaces: bool) {
        match self.place(name) {
            Ok(at) => {
                if let Some((_, known)) = self.0.get_mut(at).filter(|_| replaces) {
                    *known = value;
                }
            }
            Err(at) => self.0.insert(at, (name.to_owned(), value)),
        }
    }

    /// One object of these members and of those that `existing` has beside them. `None`: what is there cannot be
    /// read.
    pub(crate) fn written(
        mut self,
        existing: Option<&[u8]>,
        encoding: Encoding,
        redactions: &[Redaction],
    ) -> Option<Vec<u8>> {
        if let Some(text) = existing {
            let text = if encoding == Encoding::Raw { text.to_vec() } else { unescaped(text)? };
            for (name, value) in json::object(&text).ok()?.members() {
                self.put(&name, value.text().to_vec(), false);
            }
        }
        let mut out = Vec::with_capacity(512);
        out.push(b'{');
        for (name, value) in &self.0 {
            if out.len() > 1 {
                out.push(b',');
            }
            json::write_string(&mut out, name);
            out.push(b':');
            out.extend_from_slice(value);
        }
        out.push(b'}');
        for redaction in redactions {
            out = redaction.applied(out);
        }
        Some(match encoding {
            Encoding::Raw => out,
            Encoding::Escaped => escaped(&out),
        })
    }
}

/// As the inside of a JSON string, safe in HTML too.
pub(crate) fn escaped(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + text.len() / 4);
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
    out
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

    fn check(existing: Option<&str>, encoding: Encoding, redact: &[&str], expected: Option<&str>) {
        let members =
            [("model", "\"m<1>\""), ("messages", r#"[{"role":"user","content":"q"},{"content":1}]"#)];
        let mut all = Members::default();
        for (name, value) in members {
            all.set_text(name, "replaced");
            all.set(name, value.into());
        }
        let redactions: Vec<_> = redact.iter().map(|path| Redaction::parse(path)).collect();
        let found = all.written(existing.map(str::as_bytes), encoding, &redactions);
        assert_eq!(found.map(|text| String::from_utf8(text).unwrap()).as_deref(), expected);
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
    fn redacted_values_are_not_written() {
        let redacted = r#"{"messages":[{"role":"user","content":"[redacted]"},{"content":"[redacted]"}],"model":"m<1>"}"#;
        check(None, Encoding::Raw, &["messages.#.content", "absent.x"], Some(redacted));
        let second = r#"{"messages":[{"role":"user","content":"q"},"[redacted]"],"model":"[redacted]"}"#;
        check(None, Encoding::Raw, &["messages.1", "model"], Some(second));
    }
}
