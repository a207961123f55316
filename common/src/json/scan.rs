//! Is this JSON? One pass, no recursion, no allocation.

use super::{block, nested};

/// Why a text is not what it should be. Positions are byte offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// The grammar is broken here, or the text ends too early.
    #[error("syntax error at byte {at}")]
    Syntax {
        /// Where.
        at: usize,
    },
    /// A string holds bytes that are no UTF-8.
    #[error("invalid UTF-8 at byte {at}")]
    NotUtf8 {
        /// Where.
        at: usize,
    },
    /// Arrays and objects nest more than 128 deep.
    #[error("nested too deep at byte {at}")]
    TooDeep {
        /// Where.
        at: usize,
    },
    /// Valid JSON, but of another kind than an object.
    #[error("expected an object")]
    NotAnObject,
    /// Something follows the value.
    #[error("unexpected text after the value at byte {at}")]
    Trailing {
        /// Where.
        at: usize,
    },
}

impl JsonError {
    /// Where in the text, as far as there is a place.
    #[must_use]
    pub fn at(&self) -> Option<usize> {
        match self {
            Self::Syntax { at } | Self::NotUtf8 { at } | Self::TooDeep { at } | Self::Trailing { at } => {
                Some(*at)
            }
            Self::NotAnObject => None,
        }
    }
}

/// A place in a text.
pub(super) struct Scanner<'a> {
    text: &'a [u8],
    pub(super) at: usize,
    /// Some string so far has bytes beyond ASCII: whether they are UTF-8 is asked once, at the end.
    beyond_ascii: bool,
    /// A text to look out for, and whether a string inside a nested value was just that.
    watched: &'a [u8],
    pub(super) seen: bool,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self::watching(text, b"")
    }

    /// Notes on the way whether a string inside a nested value begins with `watched`.
    pub(super) fn watching(text: &'a [u8], watched: &'a [u8]) -> Self {
        Self { text, at: 0, beyond_ascii: false, watched, seen: false }
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    pub(super) fn syntax(&self) -> JsonError {
        JsonError::Syntax { at: self.at }
    }

    /// Passes `byte` if it comes next.
    pub(super) fn pass(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    pub(super) fn spaces(&mut self) {
        self.at = spaces(self.text, self.at);
    }

    /// Nothing but spaces may follow, and what was passed must be text.
    pub(super) fn end(&mut self) -> Result<(), JsonError> {
        self.spaces();
        if self.at < self.text.len() {
            return Err(JsonError::Trailing { at: self.at });
        }
        if self.beyond_ascii && simdutf8::basic::from_utf8(self.text).is_err() {
            let at = std::str::from_utf8(self.text).map_or_else(|error| error.valid_up_to(), str::len);
            return Err(JsonError::NotUtf8 { at });
        }
        Ok(())
    }

    /// Passes a member's name, its colon, and the spaces around. Says where the name ends, and whether it
    /// has escapes.
    pub(super) fn key(&mut self) -> Result<(usize, bool), JsonError> {
        let quoted = quoted(self.text, self.at)?;
        self.beyond_ascii |= quoted.beyond_ascii;
        self.at = colon(self.text, quoted.end)?;
        Ok((quoted.end, quoted.escaped))
    }

    /// Passes one value of any kind that stands inside `outer` containers. What is nested in it is not
    /// looked into.
    pub(super) fn value(&mut self, outer: u32) -> Result<(), JsonError> {
        let (text, at) = (self.text, self.at);
        self.at = match text.get(at) {
            Some(b'"') => {
                let quoted = quoted(text, at)?;
                self.beyond_ascii |= quoted.beyond_ascii;
                quoted.end
            }
            Some(b'{' | b'[') => {
                let nested = nested::pass(text, at, outer, self.watched)?;
                self.beyond_ascii |= nested.beyond_ascii;
                self.seen |= nested.seen;
                nested.end
            }
            Some(b'-' | b'0'..=b'9') => number(text, at)?,
            Some(b't') => word(text, at, b"true")?,
            Some(b'f') => word(text, at, b"false")?,
            Some(b'n') => word(text, at, b"null")?,
            _ => return Err(JsonError::Syntax { at }),
        };
        Ok(())
    }
}

/// A string that was passed.
struct Quoted {
    /// Behind its closing quote.
    end: usize,
    escaped: bool,
    beyond_ascii: bool,
}

#[inline]
fn spaces(text: &[u8], mut at: usize) -> usize {
    while matches!(text.get(at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
        at += 1;
    }
    at
}

/// The colon behind a member's name, and the spaces around it.
#[inline]
fn colon(text: &[u8], at: usize) -> Result<usize, JsonError> {
    let at = spaces(text, at);
    if text.get(at) != Some(&b':') {
        return Err(JsonError::Syntax { at });
    }
    Ok(spaces(text, at + 1))
}

/// The string that begins at `open`.
#[inline]
fn quoted(text: &[u8], open: usize) -> Result<Quoted, JsonError> {
    if text.get(open) != Some(&b'"') {
        return Err(JsonError::Syntax { at: open });
    }
    let mut quoted = Quoted { end: open + 1, escaped: false, beyond_ascii: false };
    loop {
        let run = block::run(text, quoted.end);
        quoted.beyond_ascii |= run.beyond_ascii;
        quoted.end = run.end;
        match text.get(quoted.end) {
            Some(b'"') => {
                quoted.end += 1;
                return Ok(quoted);
            }
            Some(b'\\') => {
                quoted.escaped = true;
                quoted.end = escape(text, quoted.end + 1)?;
            }
            _ => return Err(JsonError::Syntax { at: quoted.end }),
        }
    }
}

/// What follows a backslash.
#[inline]
fn escape(text: &[u8], at: usize) -> Result<usize, JsonError> {
    match text.get(at) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 1),
        Some(b'u') => {
            let digits = at + 1..at + 5;
            match digits.clone().find(|at| !text.get(*at).is_some_and(u8::is_ascii_hexdigit)) {
                None => Ok(digits.end),
                Some(at) => Err(JsonError::Syntax { at }),
            }
        }
        _ => Err(JsonError::Syntax { at }),
    }
}

fn number(text: &[u8], mut at: usize) -> Result<usize, JsonError> {
    let is = |at: usize, byte: u8| text.get(at) == Some(&byte);
    at += usize::from(is(at, b'-'));
    at = if is(at, b'0') { at + 1 } else { digits(text, at)? };
    if is(at, b'.') {
        at = digits(text, at + 1)?;
    }
    if is(at, b'e') || is(at, b'E') {
        at += 1;
        at += usize::from(is(at, b'+') || is(at, b'-'));
        at = digits(text, at)?;
    }
    Ok(at)
}

fn digits(text: &[u8], start: usize) -> Result<usize, JsonError> {
    let mut at = start;
    while text.get(at).is_some_and(u8::is_ascii_digit) {
        at += 1;
    }
    if at == start { Err(JsonError::Syntax { at }) } else { Ok(at) }
}

fn word(text: &[u8], at: usize, word: &[u8]) -> Result<usize, JsonError> {
    match text.get(at..at + word.len()) {
        Some(found) if found == word => Ok(at + word.len()),
        _ => Err(JsonError::Syntax { at }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{Kind, Raw, object};

    /// Whether the text is an object that can be read to its last member.
    fn verdict(text: &[u8]) -> Result<(), JsonError> {
        fn is_readable(value: Raw<'_>) -> bool {
            match value.kind() {
                Kind::Object => {
                    let object = value.object();
                    object.is_some_and(|object| object.members().all(|(_, value)| is_readable(value)))
                }
                Kind::Array => value.elements().is_some_and(|all| all.into_iter().all(is_readable)),
                _ => true,
            }
        }
        let object = object(text)?;
        let unreadable = JsonError::Syntax { at: 0 };
        if object.members().all(|(_, value)| is_readable(value)) { Ok(()) } else { Err(unreadable) }
    }

    /// Our verdict is serde_json's, but for what it reads more narrowly than the grammar: numbers too
    /// large for it, and lone surrogates in escapes.
    fn check(text: &[u8]) {
        let nested = [br#"{"a":"#, text, b"}"].concat();
        for text in [text, &nested] {
            let theirs = serde_json::from_slice::<serde_json::Value>(text);
            let narrow = theirs.as_ref().is_err_and(|error| {
                let words = error.to_string();
                words.contains("out of range") || words.contains("surrogate") || words.contains("hex escape")
            });
            let shown = String::from_utf8_lossy(text);
            match theirs {
                Ok(serde_json::Value::Object(_)) => assert_eq!(verdict(text), Ok(()), "{shown}"),
                Ok(_) => assert_eq!(verdict(text), Err(JsonError::NotAnObject), "{shown}"),
                Err(_) if narrow => {}
                Err(_) => assert!(verdict(text).is_err(), "{shown}"),
            }
        }
    }

    const CHAT: &str = r#" {"model":"gpt-4o","messages":[{"role":"user","content":"h\u00e9llo \"w\" \\ grüße 🌍"},
        {"role":"assistant","content":null,"tool_calls":[{"id":"a","function":{"arguments":"{}"}}]}],
        "temperature":-0.5e+10,"n":0,"stream":true,"stop":[],"x":{},"logprobs":false, "seed":12345678901234567890} "#;

    #[test]
    fn the_verdict_is_the_grammars() {
        let texts = [
            "",
            " ",
            "{}",
            "[]",
            "[[]]",
            "[{}]",
            "null",
            "true",
            "false",
            "nul",
            "truex",
            "\"\"",
            "\"a",
            "\"\\\"",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\u12g4\"",
            "\"\\u1234\"",
            "\"\t\"",
            "\"\u{7f}\"",
            "0",
            "-0",
            "00",
            "01",
            "-",
            "1.",
            ".1",
            "1.5",
            "1e",
            "1e5",
            "1E+5",
            "1e-",
            "+1",
            "1 2",
            "[1,]",
            "[,1]",
            "[1 2]",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{,}",
            "{\"a\":1 \"b\":2}",
            "{a:1}",
            "{'a':1}",
            "{\"a\":1}}",
            "[1}",
            "{\"a\":1]",
            "[",
            "{",
            "{\"a\":[1,{\"b\":[{}]}]}",
            "\u{feff}{}",
            "{\"a\":1}\0",
            "NaN",
            "Infinity",
            "/**/{}",
            "{\"\":\"\"}",
        ];
        for text in texts {
            check(text.as_bytes());
        }
    }

    #[test]
    fn every_truncation_and_every_changed_byte_is_judged_alike() {
        check(CHAT.as_bytes());
        for cut in 0..CHAT.len() {
            check(&CHAT.as_bytes()[..cut]);
        }
        for at in 0..CHAT.len() {
            for byte in [b'"', b'\\', b'{', b']', b',', b':', b'0', b' ', 0x01, 0xff, b'e', b'u'] {
                let mut text = CHAT.as_bytes().to_vec();
                text[at] = byte;
                check(&text);
            }
        }
    }

    #[test]
    fn random_bytes_never_panic() {
        let mut state = 1_u64;
        let alphabet = b"{}[]\",:\\u0123e+-.tfn alse\x00\xff\xc3\xa9";
        for _ in 0..20_000 {
            let text: Vec<u8> = (0..24)
                .map(|_| {
                    state =
                        state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    alphabet[usize::try_from(state >> 33).unwrap() % alphabet.len()]
                })
                .collect();
            check(&text);
        }
    }

    #[test]
    fn the_object_itself_is_one_level_of_nesting() {
        let within = |depth: usize| ["{\"a\":", &"[".repeat(depth), &"]".repeat(depth), "}"].concat();
        assert_eq!(object(within(127).as_bytes()).map(|_| ()), Ok(()));
        assert_eq!(object(within(128).as_bytes()).map(|_| ()), Err(JsonError::TooDeep { at: 132 }));
    }

    #[test]
    fn a_text_that_ends_too_early_is_no_object_though_nothing_nested_is_read() {
        for cut in 1..CHAT.trim_end().len() {
            assert!(object(&CHAT.as_bytes()[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn the_inside_of_a_deep_text_can_be_read_to_its_end() {
        let text = ["{\"a\":".repeat(128), "1".into(), "}".repeat(128)].concat();
        let mut inner = object(text.as_bytes()).unwrap().get("a").unwrap();
        let mut levels = 1;
        while let Some(object) = inner.object() {
            inner = object.get("a").unwrap();
            levels += 1;
        }
        assert_eq!((levels, inner.text()), (128, &b"1"[..]));
    }

    #[test]
    fn invalid_utf8_is_told_apart() {
        assert_eq!(verdict(b"{\"ok\":\"\xff\"}"), Err(JsonError::NotUtf8 { at: 7 }));
        assert_eq!(verdict(b"{\"a\":[\"\xed\xa0\x80\"]}"), Err(JsonError::NotUtf8 { at: 7 }));
    }
}
