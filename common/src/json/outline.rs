//! The upper levels of a text that comes in pieces, passed 64 bytes at a time. Nothing is proven, and next to
//! nothing kept: it is for those who look on while a body passes.

use super::block::{Block, LONG};
use super::nested::{following, last, up_to_each};

/// Only what stands in so many containers is shown.
const LEVELS: u32 = 3;
/// Of a longer string only so much is shown.
pub const MAX_SHOWN: usize = 1024;

/// Who is shown an outline. Levels count from 1, the outermost container's.
pub trait Outlined {
    /// An object, or an array, begins at this level.
    fn opens(&mut self, level: u32, is_object: bool);
    /// It has ended.
    fn closes(&mut self, level: u32);
    /// A string that stands in the container of this level, as it is written between its quotes: a member's name
    /// or a value. At most its first [`MAX_SHOWN`] bytes.
    fn string(&mut self, level: u32, is_name: bool, text: &[u8]);
}

/// Passes a text by. What is no JSON shows something or other.
#[derive(Debug, Default)]
pub struct Outline {
    level: u32,
    /// All ones inside a string, as in [`super::nested`].
    inside: u64,
    /// One if the next byte is escaped.
    escaped: u64,
    /// The string that is to be shown when it ends, and whether it is a name.
    shown: Option<bool>,
    /// What earlier pieces had of it.
    held: Vec<u8>,
    /// The last byte of earlier pieces that is no space.
    before: u8,
}

impl Outline {
    /// Takes the next piece.
    pub fn push(&mut self, piece: &[u8], reader: &mut impl Outlined) {
        let (mut at, mut start) = (0, 0);
        while let Some(rest) = piece.get(at..).filter(|rest| !rest.is_empty()) {
            let (block, len) = match rest.first_chunk::<LONG>() {
                Some(bytes) => (Block::new(bytes), LONG),
                None => (last(rest), rest.len()),
            };
            let (quotes, strings) = self.strings(&block, len);
            let mut places = block.brackets() & !strings | quotes;
            while places != 0 {
                let place = at + places.trailing_zeros() as usize;
                places &= places - 1;
                match piece.get(place) {
                    Some(b'"') if strings >> (place - at) & 1 == 1 => {
                        start = place + 1;
                        self.begin(piece.get(..place).unwrap_or_default());
                    }
                    Some(b'"') => self.end(piece.get(start..place).unwrap_or_default(), reader),
                    Some(bracket @ (b'{' | b'[')) => {
                        self.level = self.level.saturating_add(1);
                        if self.level <= LEVELS {
                            reader.opens(self.level, *bracket == b'{');
                        }
                    }
                    _ => {
                        if (1..=LEVELS).contains(&self.level) {
                            reader.closes(self.level);
                        }
                        self.level = self.level.saturating_sub(1);
                    }
                }
            }
            at += LONG;
        }
        if self.shown.is_some() {
            self.hold(piece.get(start..).unwrap_or_default());
        }
        self.before = last_but_spaces(piece).unwrap_or(self.before);
    }

    /// Quotes that are not escaped, and what is inside strings, the opening quote among it.
    #[inline]
    fn strings(&mut self, block: &Block, len: usize) -> (u64, u64) {
        if !block.has_one_of(b'"', b'\\') {
            self.escaped = 0;
            return (0, self.inside);
        }
        let escaped = following(block.equal(b'\\'), &mut self.escaped);
        if len < LONG {
            // The next byte is the next piece's first.
            self.escaped = escaped >> len & 1;
        }
        let quotes = block.equal(b'"') & !escaped;
        let strings = up_to_each(quotes) ^ self.inside;
        self.inside = (strings >> (LONG - 1)).wrapping_neg();
        (quotes, strings)
    }

    #[inline]
    fn begin(&mut self, before: &[u8]) {
        if (1..=LEVELS).contains(&self.level) {
            let is_name = matches!(last_but_spaces(before).unwrap_or(self.before), b'{' | b',');
            self.shown = Some(is_name);
        }
    }

    #[inline]
    fn end(&mut self, text: &[u8], reader: &mut impl Outlined) {
        let Some(is_name) = self.shown.take() else { return };
        if self.held.is_empty() {
            reader.string(self.level, is_name, text.get(..MAX_SHOWN).unwrap_or(text));
        } else {
            self.hold(text);
            reader.string(self.level, is_name, &self.held);
            self.held.clear();
        }
    }

    fn hold(&mut self, text: &[u8]) {
        let room = MAX_SHOWN.saturating_sub(self.held.len());
        self.held.extend_from_slice(text.get(..room).unwrap_or(text));
    }
}

fn last_but_spaces(text: &[u8]) -> Option<u8> {
    text.iter().rev().find(|byte| !matches!(byte, b' ' | b'\n' | b'\r' | b'\t')).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Reader(String);

    impl Outlined for Reader {
        fn opens(&mut self, level: u32, is_object: bool) {
            self.0 += &format!("{level}{}", if is_object { '{' } else { '[' });
        }

        fn closes(&mut self, level: u32) {
            self.0 += &format!("{level}}}");
        }

        fn string(&mut self, level: u32, is_name: bool, text: &[u8]) {
            let mark = if is_name { ":" } else { "" };
            self.0 += &format!("{level}<{}{mark}>", String::from_utf8_lossy(text));
        }
    }

    fn shown<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> String {
        let (mut outline, mut reader) = (Outline::default(), Reader::default());
        for piece in pieces {
            outline.push(piece, &mut reader);
        }
        reader.0
    }

    /// The same whole, at every cut in two, in single bytes, and at every place of a block.
    fn check(text: &str, expected: &str) {
        for before in 0..70 {
            let text = [b" ".repeat(before), text.into()].concat();
            assert_eq!(shown([text.as_slice()]), expected, "{before} before {text:?}");
        }
        for cut in 0..=text.len() {
            let (left, right) = text.as_bytes().split_at(cut);
            assert_eq!(shown([left, right]), expected, "cut at {cut}: {text}");
        }
        assert_eq!(shown(text.as_bytes().chunks(1)), expected, "in single bytes: {text}");
    }

    #[test]
    fn strings_and_containers_of_the_upper_levels_are_shown() {
        check(
            r#"{"a":"b" , "c":[ {"d" : "e","f":{"g":"h"},"i":["j"]}, "k"],"l":1,"m":null}"#,
            "1{1<a:>1<b>1<c:>2[3{3<d:>3<e>3<f:>3<i:>3}2<k:>2}1<l:>1<m:>1}",
        );
    }

    #[test]
    fn brackets_and_quotes_inside_strings_are_text() {
        check(r#"{"a\"":"}\\","b":"[\\\"{","":""}"#, r#"1{1<a\":>1<}\\>1<b:>1<[\\\"{>1<:>1<>1}"#);
        check(
            r#"{"longer than a block of sixty-four bytes, so that it begins in one and ends in another, \" and \\":"é"}"#,
            r#"1{1<longer than a block of sixty-four bytes, so that it begins in one and ends in another, \" and \\:>1<é>1}"#,
        );
    }

    #[test]
    fn a_long_string_is_shown_cut_however_it_comes() {
        let text = format!("{{\"{}\":1}}", "x".repeat(5000));
        let expected = format!("1{{1<{}:>1}}", "x".repeat(MAX_SHOWN));
        for size in [1, 7, 64, 1000, 10_000] {
            assert_eq!(shown(text.as_bytes().chunks(size)), expected, "in pieces of {size}");
        }
    }

    #[test]
    fn random_bytes_show_the_same_however_they_come_and_never_panic() {
        let mut state = 5_u64;
        let alphabet = b"{}[]\",:\\a1 \n\xff";
        for _ in 0..20_000 {
            let text: Vec<u8> = (0..150)
                .map(|_| {
                    state =
                        state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    alphabet[usize::try_from(state >> 33).unwrap() % alphabet.len()]
                })
                .collect();
            assert_eq!(shown(text.chunks(7)), shown([text.as_slice()]), "{}", String::from_utf8_lossy(&text));
        }
    }
}
