//! The inner loop of the scanner: how far does a string run on, many bytes at a time.

/// What a search for the end of a run of plain string bytes found.
pub(super) struct Run {
    /// How many bytes are plain: no quote, no backslash, no control character.
    pub(super) len: usize,
    /// Whether any byte looked at is not ASCII. It may lie behind the run's end: a false alarm costs a
    /// validation, a missed one would let invalid UTF-8 through.
    pub(super) beyond_ascii: bool,
}

const WIDTH: usize = 16;

/// Measures the run of plain bytes at the beginning of `bytes`.
pub(super) fn run(bytes: &[u8]) -> Run {
    let (blocks, tail) = bytes.as_chunks::<WIDTH>();
    let mut beyond_ascii = false;
    for (at, block) in blocks.iter().enumerate() {
        let (special, high) = look(block);
        beyond_ascii |= high;
        if special != 0 {
            return Run { len: at * WIDTH + special.trailing_zeros() as usize, beyond_ascii };
        }
    }
    beyond_ascii |= !tail.is_ascii();
    let len = tail.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f)).unwrap_or(tail.len());
    Run { len: blocks.len() * WIDTH + len, beyond_ascii }
}

/// One bit for each byte that ends a run, lowest first; and whether any byte is not ASCII.
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
fn look(block: &[u8; WIDTH]) -> (u32, bool) {
    use core::arch::wasm32::{i8x16_bitmask, u8x16_eq, u8x16_lt, u8x16_splat, u64x2, v128_or};
    let (low, high) = halves(block);
    let bytes = u64x2(low, high);
    let quotes = u8x16_eq(bytes, u8x16_splat(b'"'));
    let backslashes = u8x16_eq(bytes, u8x16_splat(b'\\'));
    let controls = u8x16_lt(bytes, u8x16_splat(0x20));
    let special = v128_or(v128_or(quotes, backslashes), controls);
    (u32::from(i8x16_bitmask(special)), i8x16_bitmask(bytes) != 0)
}

/// The same with two words, for targets without that instruction set.
#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
fn look(block: &[u8; WIDTH]) -> (u32, bool) {
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let (low, high) = halves(block);
    // Only the lowest bit found is looked at, and that one is exact.
    let at = match (special(low), special(high)) {
        (0, 0) => 0,
        (0, found) => 1 << (8 + found.trailing_zeros() / 8),
        (found, _) => 1 << (found.trailing_zeros() / 8),
    };
    (at, (low | high) & HIGH != 0)
}

/// One bit for a byte that ends a run. A borrow may set bits above the lowest that are not true.
#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
fn special(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let quote = zero(word ^ (ONES * b'"' as u64));
    let backslash = zero(word ^ (ONES * b'\\' as u64));
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    (quote | backslash | control) & (ONES << 7)
}

fn halves(block: &[u8; WIDTH]) -> (u64, u64) {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *block;
    (u64::from_le_bytes([a, b, c, d, e, f, g, h]), u64::from_le_bytes([i, j, k, l, m, n, o, p]))
}

#[cfg(test)]
mod tests {
    use super::run;

    #[test]
    fn a_run_ends_at_the_first_special_byte_wherever_it_stands() {
        for special in 0..=255_u8 {
            for at in 0..40 {
                let mut bytes = vec![b'x'; 40];
                bytes[at] = special;
                let ends = matches!(special, b'"' | b'\\' | 0..=0x1f);
                let found = run(&bytes);
                assert_eq!(found.len, if ends { at } else { 40 }, "byte {special} at {at}");
                assert_eq!(found.beyond_ascii, special >= 0x80, "byte {special} at {at}");
            }
        }
    }
}
