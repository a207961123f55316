//! Media types and other header values that carry parameters.

use std::borrow::Cow;

/// A value such as `multipart/form-data; boundary="x"`, read where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MediaType<'a> {
    essence: &'a [u8],
    parameters: &'a [u8],
}

impl<'a> MediaType<'a> {
    /// Reads a header's value. What stands before the first semicolon is taken as it is.
    #[must_use]
    pub fn of(value: &'a [u8]) -> Self {
        let end = memchr::memchr(b';', value).unwrap_or(value.len());
        let (essence, parameters) = value.split_at_checked(end).unwrap_or((value, b""));
        Self { essence: essence.trim_ascii(), parameters }
    }

    /// Whether it is this type, in whatever case.
    #[must_use]
    pub fn is(&self, essence: &str) -> bool {
        self.essence.eq_ignore_ascii_case(essence.as_bytes())
    }

    /// Whether it is JSON: `application/json`, or a type that ends in `+json`.
    #[must_use]
    pub fn is_json(&self) -> bool {
        let suffix = self.essence.split_last_chunk::<5>().map(|(_, suffix)| suffix);
        self.is("application/json") || suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case(b"+json"))
    }

    /// The value of the first parameter of that name, without its quotes.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<Cow<'a, [u8]>> {
        let mut rest = self.parameters;
        loop {
            rest = rest.strip_prefix(b";")?.trim_ascii_start();
            let end = rest.iter().position(|byte| matches!(byte, b'=' | b';')).unwrap_or(rest.len());
            let (found, behind) = rest.split_at_checked(end)?;
            let Some(value) = behind.strip_prefix(b"=") else {
                rest = behind;
                continue;
            };
            let (value, behind) = parameter_value(value.trim_ascii_start())?;
            if found.trim_ascii().eq_ignore_ascii_case(name.as_bytes()) {
                return Some(value);
            }
            let next = memchr::memchr(b';', behind)?;
            rest = behind.get(next..)?;
        }
    }
}

/// A quoted text or a word, and what follows it. `None`: its closing quote is missing.
fn parameter_value(text: &[u8]) -> Option<(Cow<'_, [u8]>, &[u8])> {
    let Some(quoted) = text.strip_prefix(b"\"") else {
        let end = memchr::memchr(b';', text).unwrap_or(text.len());
        let (word, behind) = text.split_at_checked(end)?;
        return Some((Cow::Borrowed(word.trim_ascii_end()), behind));
    };
    let mut plain = Vec::new();
    let mut rest = quoted;
    loop {
        let (piece, behind) = rest.split_at_checked(memchr::memchr2(b'"', b'\\', rest)?)?;
        match behind {
            [b'"', behind @ ..] if plain.is_empty() => return Some((Cow::Borrowed(piece), behind)),
            [b'"', behind @ ..] => {
                plain.extend_from_slice(piece);
                return Some((Cow::Owned(plain), behind));
            }
            // Browsers once sent whole Windows paths: a backslash before anything else is one.
            [b'\\', escaped @ (b'"' | b'\\'), behind @ ..] => {
                plain.extend_from_slice(piece);
                plain.push(*escaped);
                rest = behind;
            }
            [backslash, behind @ ..] => {
                plain.extend_from_slice(piece);
                plain.push(*backslash);
                rest = behind;
            }
            [] => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: &str, name: &str, expected: Option<&str>) {
        let found = MediaType::of(value.as_bytes()).parameter(name);
        assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{value}");
    }

    #[test]
    fn types_are_compared_in_any_case_and_without_parameters() {
        for json in ["application/json", "Application/JSON ; charset=utf-8", "application/problem+JSON"] {
            assert!(MediaType::of(json.as_bytes()).is_json(), "{json}");
        }
        for other in ["", "json", "text/plain; x=application/json", "application/jsonl", "+jso"] {
            assert!(!MediaType::of(other.as_bytes()).is_json(), "{other}");
        }
        assert!(MediaType::of(b" Multipart/Form-Data;boundary=x").is("multipart/form-data"));
    }

    #[test]
    fn a_parameter_is_found_in_any_order_case_and_quoting() {
        check("a/b; x=1; Boundary=y", "boundary", Some("y"));
        check("a/b;boundary=\"a;b=c\" ; x=1", "boundary", Some("a;b=c"));
        check("a/b;boundary=\"a;b=c\" ; x=1", "x", Some("1"));
        check("form-data; filename=\"x; name=\\\"no\\\"\"; name=model", "name", Some("model"));
        check("form-data; name=\"a\\\"b\\\\c\"", "name", Some("a\"b\\c"));
        check("form-data; name=\"c:\\dir\"", "name", Some("c:\\dir"));
        check("a/b; flag; boundary = z ", "boundary", Some("z"));
        check("a/b; x=1; x=2", "x", Some("1"));
        check("a/b; x=\"\"", "x", Some(""));
    }

    #[test]
    fn what_is_not_there_or_broken_is_not_found() {
        for value in ["", "a/b", "a/b;", "a/b; x", "a/b; x=\"y", "a/b; x=\"y\\", "a/b; y=\"1\" x=2"] {
            check(value, "x", None);
        }
    }
}
