//! How far does an array or object reach? Asked of most of a body, so answered 64 bytes at a time.
//!
//! Only what can say where the value ends is looked at: quotes, escapes and brackets. Whether the inside is
//! JSON in every detail is found out by whoever reads it, which a gateway seldom does; the vendor does in any
//! case. (The way of finding strings without a branch is published in "Parsing Gigabytes of JSON per Second",
//! Langdale and Lemire, <https://arxiv.org/abs/1902.08318>, sections 3.1.1 and 3.1.2.)

use super::block::{Block, LONG};
use super::scan::JsonError;

/// How deep arrays and objects may nest, the outermost one counted; one bit of a word for each.
const MAX_DEPTH: u32 = 128;

/// A value that was passed.
pub(super) struct Nested {
    /// Behind its closing bracket.
    pub(super) end: usize,
    /// A byte of it, or one not far behind, is not ASCII.
    pub(super) beyond_ascii: bool,
    /// A string in it begins with what was watched for.
    pub(super) seen: bool,
}

/// Passes the array or object that begins at `start` and stands inside `outer` others. Notes whether one of
/// its strings begins just as `watched`, without escapes; its closing quote may be the end of that.
pub(super) fn pass(text: &[u8], start: usize, outer: u32, watched: &[u8]) -> Result<Nested, JsonError> {
    let mut walk = Walk { text, outer, depth: outer, open: 0, watched, seen: false };
    let mut beyond_ascii = false;
    // Carried from block to block: all ones inside a string, one if the next byte is escaped, or opens one.
    let (mut inside, mut escaped, mut opens) = (0_u64, 0_u64, 0_u64);
    let first_wanted = watched.first().copied().unwrap_or(b'"');
    let mut at = start;
    loop {
        let rest = text.get(at..).unwrap_or_default();
        let block = match rest.first_chunk::<LONG>() {
            Some(bytes) => Block::new(bytes),
            None if rest.is_empty() => return Err(JsonError::Syntax { at: text.len() }),
            None => last(rest),
        };
        beyond_ascii |= !block.is_ascii();
        let mut outside = !inside;
        if block.has_one_of(b'"', b'\\') {
            let backslashes = block.equal(b'\\');
            let quotes = block.equal(b'"') & !following(backslashes, &mut escaped);
            let strings = up_to_each(quotes) ^ inside;
            // The last bit, spread over all.
            inside = (strings >> (LONG - 1)).wrapping_neg();
            outside = !strings;
            let begins = quotes & strings;
            let firsts = begins << 1 | opens;
            if firsts != 0 && !watched.is_empty() {
                walk.look_for_watched(at, firsts & block.equal(first_wanted));
            }
            opens = begins >> (LONG - 1);
        } else {
            (escaped, opens) = (0, 0);
        }
        if outside != 0
            && let Some(end) = walk.brackets(at, block.brackets() & outside)?
        {
            return Ok(Nested { end, beyond_ascii, seen: walk.seen });
        }
        at += LONG;
    }
}

/// The end of a text, filled up with spaces.
#[cold]
pub(super) fn last(rest: &[u8]) -> Block {
    let mut bytes = [b' '; LONG];
    bytes.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    Block::new(&bytes)
}

/// The bytes that a backslash escapes. Of several in a row every second one is itself escaped; `carry` is
/// whether the first byte is, and becomes whether the first one behind is.
#[inline]
pub(super) fn following(backslashes: u64, carry: &mut u64) -> u64 {
    const ODD: u64 = 0xaaaa_aaaa_aaaa_aaaa;
    let escaping = backslashes & !*carry;
    let follows = escaping << 1 | ODD;
    // Subtracting lets a row of backslashes run out, and tells by the parity of its end which ones escape.
    let runs = follows.wrapping_sub(escaping) ^ ODD;
    let escaped = runs ^ (backslashes | *carry);
    *carry = (runs & backslashes) >> (LONG - 1);
    escaped
}

/// For each bit, whether the number of bits up to and with it is odd.
#[inline]
pub(super) fn up_to_each(mut bits: u64) -> u64 {
    for distance in [1, 2, 4, 8, 16, 32] {
        bits ^= bits << distance;
    }
    bits
}

struct Walk<'a> {
    text: &'a [u8],
    outer: u32,
    depth: u32,
    /// The innermost container is the lowest bit: 1 for an object.
    open: u128,
    watched: &'a [u8],
    seen: bool,
}

impl Walk<'_> {
    /// Goes through the brackets of a block; gives the end of the value if it is among them.
    #[inline]
    fn brackets(&mut self, block: usize, mut brackets: u64) -> Result<Option<usize>, JsonError> {
        while brackets != 0 {
            let at = block + brackets.trailing_zeros() as usize;
            brackets &= brackets - 1;
            let is_object = match self.text.get(at) {
                Some(bracket @ (b'{' | b'[')) => {
                    if self.depth >= MAX_DEPTH {
                        return Err(JsonError::TooDeep { at });
                    }
                    self.depth += 1;
                    self.open = self.open << 1 | u128::from(*bracket == b'{');
                    continue;
                }
                Some(b'}') => true,
                Some(b']') => false,
                _ => return Err(JsonError::Syntax { at }),
            };
            if self.depth == self.outer || (self.open & 1 == 1) != is_object {
                return Err(JsonError::Syntax { at });
            }
            self.open >>= 1;
            self.depth -= 1;
            if self.depth == self.outer {
                return Ok(Some(at + 1));
            }
        }
        Ok(None)
    }

    /// Compares the strings that begin with the first byte of what is watched for.
    #[inline]
    fn look_for_watched(&mut self, block: usize, mut candidates: u64) {
        while candidates != 0 {
            let at = block + candidates.trailing_zeros() as usize;
            candidates &= candidates - 1;
            let rest = self.text.get(at..).unwrap_or_default();
            self.seen |= rest.starts_with(self.watched);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(text: &[u8]) -> Result<usize, JsonError> {
        pass(text, 0, 0, b"").map(|nested| nested.end)
    }

    /// The same, a byte at a time.
    fn plain_end(text: &[u8]) -> Option<usize> {
        let (mut open, mut in_string, mut escaped) = (Vec::new(), false, false);
        for (at, byte) in text.iter().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if in_string => escaped = true,
                b'"' => in_string = !in_string,
                _ if in_string => {}
                b'{' | b'[' => open.push(*byte),
                b'}' | b']' if open.pop() != Some(if *byte == b'}' { b'{' } else { b'[' }) => return None,
                b'}' | b']' if open.is_empty() => return Some(at + 1),
                _ => {}
            }
        }
        None
    }

    #[test]
    fn a_value_ends_where_its_brackets_are_balanced_outside_strings() {
        let mut state = 1_u64;
        let mut pick = |from: &[&'static str]| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            from[usize::try_from(state >> 33).unwrap() % from.len()]
        };
        let outside = ["{", "}", "[", "]", "{", "[", ":", ",", " ", "1", "\"", "\"\""];
        let inside = ["\"", "\\\"", "\\\\", "\\\\\\\"", "{", "]", "x", "a longer piece of text", "\u{e9}"];
        for _ in 0..20_000 {
            let mut text = String::from(pick(&["{", "["]));
            let mut in_string = false;
            for _ in 0..40 {
                let piece = if in_string { pick(&inside) } else { pick(&outside) };
                in_string ^= piece == "\"";
                text.push_str(piece);
            }
            assert_eq!(end(text.as_bytes()).ok(), plain_end(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn what_follows_a_backslash_is_no_quote_at_any_place_of_a_block() {
        for before in 0..130 {
            for slashes in 0..6 {
                let text = format!("[\"{}{}\"]", "x".repeat(before), "\\".repeat(slashes));
                let expected = (slashes % 2 == 0).then_some(text.len());
                assert_eq!(end(text.as_bytes()).ok(), expected, "{before} before {slashes} backslashes");
            }
        }
    }

    #[test]
    fn a_watched_string_is_seen_wherever_it_stands_and_nothing_else_is() {
        for before in 0..130 {
            let check = |string: &str, expected: bool| {
                let text = format!("[\"{}\",\"{string}\"]", "x".repeat(before));
                let nested = pass(text.as_bytes(), 0, 0, b"developer\"").unwrap();
                assert_eq!(nested.seen, expected, "{text}");
                let nested = pass(text.as_bytes(), 0, 0, b"develope").unwrap();
                assert_eq!(nested.seen, string.starts_with("develope"), "{text}");
            };
            check("developer", true);
            check("developers", false);
            check("developed", false);
            check("a developer", false);
            check("\\\"developer", false);
            check("d", false);
        }
        assert!(pass(b"[\"developer", 0, 0, b"developer").is_err());
    }

    #[test]
    fn nesting_has_a_cap_that_counts_what_is_around() {
        let nested = |depth: usize| [b"[".repeat(depth), b"]".repeat(depth)].concat();
        assert_eq!(end(&nested(128)), Ok(256));
        assert_eq!(end(&nested(129)), Err(JsonError::TooDeep { at: 128 }));
        assert!(pass(&nested(127), 0, 1, b"").is_ok());
        assert!(pass(&nested(128), 0, 1, b"").is_err());
        assert!(end(&vec![b'['; 1_000_000]).is_err());
    }

    #[test]
    fn random_bytes_never_panic() {
        let mut state = 7_u64;
        for _ in 0..20_000 {
            let bytes: Vec<u8> = (0..100)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (state >> 56) as u8
                })
                .collect();
            let _ = pass(&bytes, 0, 0, b"\xff");
        }
    }
}
