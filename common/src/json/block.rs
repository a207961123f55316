//! Many bytes at a time: the inner loops of the scanner.

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
use portable as width;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
use simd as width;

pub(super) use width::Block;

/// How many bytes of a string are looked at in one go.
const SHORT: usize = 16;
/// How many bytes a [`Block`] has.
pub(super) const LONG: usize = 64;

/// What a search for the end of a run of plain string bytes found.
pub(super) struct Run {
    /// The first byte that is not plain: a quote, a backslash, a control character; or the text's end.
    pub(super) end: usize,
    /// Whether any byte looked at is not ASCII. It may lie behind the run's end: a false alarm costs a
    /// validation, a missed one would let invalid UTF-8 through.
    pub(super) beyond_ascii: bool,
}

/// Measures the run of plain bytes that begins at `at`.
#[inline]
pub(super) fn run(text: &[u8], mut at: usize) -> Run {
    let mut beyond_ascii = false;
    while let Some(block) = text.get(at..).and_then(|rest| rest.first_chunk::<SHORT>()) {
        let (special, high) = width::specials(block);
        beyond_ascii |= high;
        if special != 0 {
            return Run { end: at + special.trailing_zeros() as usize, beyond_ascii };
        }
        at += SHORT;
    }
    tail(text, at, beyond_ascii)
}

/// The last bytes of a text, fewer than a block.
#[cold]
fn tail(text: &[u8], at: usize, beyond_ascii: bool) -> Run {
    let tail = text.get(at..).unwrap_or_default();
    let len = tail.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f)).unwrap_or(tail.len());
    Run { end: at + len, beyond_ascii: beyond_ascii || !tail.is_ascii() }
}

/// The four brackets differ in these bits only, and share all others with [`BRACKET`].
const BRACKETS_DIFFER: u8 = 0x26;
const BRACKET: u8 = 0x7f;

/// With the instruction set that every stock Envoy runs.
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
#[expect(unsafe_code, reason = "there is no other way to load sixteen bytes at once")]
mod simd {
    use core::arch::wasm32::{i8x16_bitmask, u8x16_eq, u8x16_lt, u8x16_splat, v128, v128_load, v128_or};

    use super::{BRACKET, BRACKETS_DIFFER, LONG, SHORT};

    fn load(bytes: &[u8; SHORT]) -> v128 {
        // SAFETY: sixteen readable bytes; this load asks for no alignment.
        unsafe { v128_load(bytes.as_ptr().cast()) }
    }

    /// One bit for each byte that ends a run, lowest first; and whether any byte is not ASCII.
    #[inline]
    pub(super) fn specials(bytes: &[u8; SHORT]) -> (u32, bool) {
        let bytes = load(bytes);
        let quotes = u8x16_eq(bytes, u8x16_splat(b'"'));
        let backslashes = u8x16_eq(bytes, u8x16_splat(b'\\'));
        let controls = u8x16_lt(bytes, u8x16_splat(0x20));
        let special = v128_or(v128_or(quotes, backslashes), controls);
        (u32::from(i8x16_bitmask(special)), i8x16_bitmask(bytes) != 0)
    }

    /// Bytes that are looked at together. Masks have one bit for each, the first one lowest.
    pub(in crate::json) struct Block([v128; LONG / SHORT]);

    impl Block {
        #[inline]
        pub(in crate::json) fn new(bytes: &[u8; LONG]) -> Self {
            match bytes.as_chunks::<SHORT>().0 {
                [a, b, c, d] => Self([load(a), load(b), load(c), load(d)]),
                _ => Self([u8x16_splat(0); LONG / SHORT]),
            }
        }

        #[inline]
        pub(in crate::json) fn is_ascii(&self) -> bool {
            i8x16_bitmask(any(self.0)) == 0
        }

        #[inline]
        pub(in crate::json) fn has_one_of(&self, one: u8, other: u8) -> bool {
            let found = |part| v128_or(u8x16_eq(part, u8x16_splat(one)), u8x16_eq(part, u8x16_splat(other)));
            // Not `v128_any_true`, which costs two shifts here.
            i8x16_bitmask(any(self.0.map(found))) != 0
        }

        #[inline]
        pub(in crate::json) fn equal(&self, byte: u8) -> u64 {
            mask(self.0.map(|part| u8x16_eq(part, u8x16_splat(byte))))
        }

        #[inline]
        pub(in crate::json) fn brackets(&self) -> u64 {
            let found = |part| u8x16_eq(v128_or(part, u8x16_splat(BRACKETS_DIFFER)), u8x16_splat(BRACKET));
            mask(self.0.map(found))
        }
    }

    #[inline]
    fn any([a, b, c, d]: [v128; LONG / SHORT]) -> v128 {
        v128_or(v128_or(a, b), v128_or(c, d))
    }

    #[inline]
    fn mask(parts: [v128; LONG / SHORT]) -> u64 {
        let [a, b, c, d] = parts.map(|part| u32::from(i8x16_bitmask(part)));
        u64::from(a | b << SHORT) | u64::from(c | d << SHORT) << (2 * SHORT)
    }
}

/// With words, for native tests.
#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
mod portable {
    use super::{BRACKET, BRACKETS_DIFFER, LONG, SHORT};

    pub(super) fn specials(bytes: &[u8; SHORT]) -> (u32, bool) {
        let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..=0x1f);
        let special = bytes.iter().position(is_special).map_or(0, |at| 1 << at);
        (special, !bytes.is_ascii())
    }

    pub(in crate::json) struct Block([u64; LONG / 8]);

    /// A byte in all eight places of a word.
    const fn splat(byte: u8) -> u64 {
        u64::from_ne_bytes([byte; 8])
    }

    impl Block {
        pub(in crate::json) fn new(bytes: &[u8; LONG]) -> Self {
            let mut words = [0; LONG / 8];
            let (eights, _) = bytes.as_chunks();
            words.iter_mut().zip(eights).for_each(|(word, eight)| *word = u64::from_le_bytes(*eight));
            Self(words)
        }

        pub(in crate::json) fn is_ascii(&self) -> bool {
            self.0.iter().all(|word| word & splat(0x80) == 0)
        }

        pub(in crate::json) fn has_one_of(&self, one: u8, other: u8) -> bool {
            self.0.iter().any(|word| zeros(word ^ splat(one)) | zeros(word ^ splat(other)) != 0)
        }

        pub(in crate::json) fn equal(&self, byte: u8) -> u64 {
            self.mask(|word| word ^ splat(byte))
        }

        pub(in crate::json) fn brackets(&self) -> u64 {
            self.mask(|word| (word | splat(BRACKETS_DIFFER)) ^ splat(BRACKET))
        }

        fn mask(&self, zero_where: impl Fn(u64) -> u64) -> u64 {
            // Brings the eight bits of a word together in its highest byte.
            let gather = |bits: u64| (bits >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56;
            self.0.iter().rev().fold(0, |mask, word| mask << 8 | gather(zeros(zero_where(*word))))
        }
    }

    /// The highest bit of every byte that is zero.
    fn zeros(word: u64) -> u64 {
        !(((word & splat(0x7f)) + splat(0x7f)) | word | splat(0x7f))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_ends_at_the_first_special_byte_wherever_it_stands() {
        for special in 0..=255_u8 {
            for at in 0..40 {
                let mut bytes = vec![b'x'; 40];
                bytes[at] = special;
                let ends = matches!(special, b'"' | b'\\' | 0..=0x1f);
                let found = run(&bytes, 0);
                assert_eq!(found.end, if ends { at } else { 40 }, "byte {special} at {at}");
                assert_eq!(found.beyond_ascii, special >= 0x80, "byte {special} at {at}");
            }
        }
    }

    #[test]
    fn a_block_shows_where_each_byte_stands() {
        for byte in 0..=255_u8 {
            for at in 0..LONG {
                let mut bytes = [b'x'; LONG];
                bytes[at] = byte;
                let block = Block::new(&bytes);
                let expected = if byte == b'x' { u64::MAX } else { 1 << at };
                assert_eq!(block.equal(byte), expected, "byte {byte} at {at}");
                assert_eq!(block.is_ascii(), byte < 0x80);
                assert!(byte != b'"' || block.has_one_of(b'x', byte));
                assert_eq!(block.has_one_of(b'"', b'\\'), matches!(byte, b'"' | b'\\'));
                if b"{}[]".contains(&byte) {
                    assert_eq!(block.brackets(), 1 << at, "byte {byte} at {at}");
                }
            }
        }
    }
}
