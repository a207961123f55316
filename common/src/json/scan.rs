//! Is this JSON? One pass, no recursion, no allocation.

use super::block;

/// How deep arrays and objects may nest, the outermost one counted; one bit of a word for each.
const MAX_DEPTH: u32 = 128;

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
    #[error("invalid UTF-8 in the string at byte {at}")]
    NotUtf8 {
        /// Where the string begins.
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

/// A place in a text.
pub(super) struct Scanner<'a> {
    text: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0 }
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
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    /// Nothing but spaces may follow.
    pub(super) fn end(&mut self) -> Result<(), JsonError> {
        self.spaces();
        if self.at < self.text.len() { Err(JsonError::Trailing { at: self.at }) } else { Ok(()) }
    }

    /// Passes one value of any kind that stands inside `outer` containers.
    pub(super) fn value(&mut self, outer: u32) -> Result<(), JsonError> {
        // The innermost container is the lowest bit: 1 for an object.
        let (mut open, mut depth) = (0_u128, outer);
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.string()?;
                }
                Some(bracket @ (b'{' | b'[')) => {
                    if depth >= MAX_DEPTH {
                        return Err(JsonError::TooDeep { at: self.at });
                    }
                    self.at += 1;
                    self.spaces();
                    let is_object = bracket == b'{';
                    if !self.pass(if is_object { b'}' } else { b']' }) {
                        depth += 1;
                        open = open << 1 | u128::from(is_object);
                        if is_object {
                            self.key()?;
                        }
                        continue;
                    }
                }
                Some(b'-' | b'0'..=b'9') => self.number()?,
                Some(b't') => self.word(b"true")?,
                Some(b'f') => self.word(b"false")?,
                Some(b'n') => self.word(b"null")?,
                _ => return Err(self.syntax()),
            }
            loop {
                if depth == outer {
                    return Ok(());
                }
                self.spaces();
                let in_object = open & 1 == 1;
                if self.pass(b',') {
                    self.spaces();
                    if in_object {
                        self.key()?;
                    }
                    break;
                }
                if !self.pass(if in_object { b'}' } else { b']' }) {
                    return Err(self.syntax());
                }
                open >>= 1;
                depth -= 1;
            }
        }
    }

    /// Passes a member's name and its colon, and the spaces around.
    fn key(&mut self) -> Result<(), JsonError> {
        self.string()?;
        self.colon()
    }

    /// Passes the colon behind a member's name, and the spaces around.
    pub(super) fn colon(&mut self) -> Result<(), JsonError> {
        self.spaces();
        if !self.pass(b':') {
            return Err(self.syntax());
        }
        self.spaces();
        Ok(())
    }

    /// Passes a string, quotes included; says whether it has escapes.
    pub(super) fn string(&mut self) -> Result<bool, JsonError> {
        let start = self.at;
        if !self.pass(b'"') {
            return Err(self.syntax());
        }
        let (mut escaped, mut beyond_ascii) = (false, false);
        loop {
            let run = block::run(self.text.get(self.at..).unwrap_or_default());
            self.at += run.len;
            beyond_ascii |= run.beyond_ascii;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    break;
                }
                Some(b'\\') => {
                    escaped = true;
                    self.at += 1;
                    self.escape()?;
                }
                _ => return Err(self.syntax()),
            }
        }
        let inside = self.text.get(start..self.at).unwrap_or_default();
        if beyond_ascii && std::str::from_utf8(inside).is_err() {
            return Err(JsonError::NotUtf8 { at: start });
        }
        Ok(escaped)
    }

    fn escape(&mut self) -> Result<(), JsonError> {
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                self.at += 1;
                for _ in 0..4 {
                    if !self.peek().is_some_and(|byte| byte.is_ascii_hexdigit()) {
                        return Err(self.syntax());
                    }
                    self.at += 1;
                }
            }
            _ => return Err(self.syntax()),
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), JsonError> {
        self.pass(b'-');
        if !self.pass(b'0') {
            self.digits()?;
        }
        if self.pass(b'.') {
            self.digits()?;
        }
        if self.pass(b'e') || self.pass(b'E') {
            if !self.pass(b'+') {
                self.pass(b'-');
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { Err(self.syntax()) } else { Ok(()) }
    }

    fn word(&mut self, word: &[u8]) -> Result<(), JsonError> {
        let found = self.text.get(self.at..).is_some_and(|rest| rest.starts_with(word));
        if !found {
            return Err(self.syntax());
        }
        self.at += word.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::object;

    fn verdict(text: &[u8]) -> Result<(), JsonError> {
        let mut scanner = Scanner::new(text);
        scanner.spaces();
        scanner.value(0)?;
        scanner.end()
    }

    /// Our verdict is serde_json's, but for what it reads more narrowly than the grammar: numbers too
    /// large for it, and lone surrogates in escapes.
    fn check(text: &[u8]) {
        let theirs = serde_json::from_slice::<serde_json::Value>(text);
        let narrow = theirs.as_ref().is_err_and(|error| {
            let words = error.to_string();
            words.contains("out of range") || words.contains("surrogate") || words.contains("hex escape")
        });
        let ours = verdict(text);
        if !narrow {
            assert_eq!(ours.is_ok(), theirs.is_ok(), "{:?}: {ours:?}", String::from_utf8_lossy(text));
        }
        let expected = ours.and_then(|()| match text.iter().find(|byte| !byte.is_ascii_whitespace()) {
            Some(b'{') => Ok(()),
            _ => Err(JsonError::NotAnObject),
        });
        assert_eq!(object(text).map(|_| ()), expected, "{:?}", String::from_utf8_lossy(text));
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
    fn nesting_has_a_cap() {
        for inside in ["", "1"] {
            let nested = |depth: usize| [&"[".repeat(depth), inside, &"]".repeat(depth)].concat();
            assert_eq!(verdict(nested(128).as_bytes()), Ok(()));
            assert_eq!(verdict(nested(129).as_bytes()), Err(JsonError::TooDeep { at: 128 }));
            let within = |depth: usize| format!("{{\"a\":{}}}", nested(depth));
            assert_eq!(object(within(127).as_bytes()).map(|_| ()), Ok(()), "the object itself is one level");
            assert_eq!(object(within(128).as_bytes()).map(|_| ()), Err(JsonError::TooDeep { at: 132 }));
        }
        assert!(verdict(&vec![b'['; 1_000_000]).is_err());
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
        assert_eq!(verdict(b"[\"ok\",\"\xff\"]"), Err(JsonError::NotUtf8 { at: 6 }));
        assert_eq!(verdict(b"\"\xed\xa0\x80\""), Err(JsonError::NotUtf8 { at: 0 }));
    }
}
