//! Content encodings, undone for those who only read: the bytes that pass stay as they are.

use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZFlush, MZStatus};

/// How much is decoded at once.
const SLICE: usize = 8 << 10;
/// Of a body that decodes to more than this, the rest is not read: a small one may decode to anything.
const MAX_DECODED: usize = 64 << 20;

/// Decodes a body as it comes.
pub struct Decoder {
    stage: Stage,
    inflate: Box<InflateState>,
    decoded: usize,
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder").field("stage", &self.stage).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// In the part of a gzip header that always is, at this byte; with its flags, once they are known.
    GzipHead { at: usize, flags: u8 },
    /// Before its optional parts that these flags name.
    GzipParts { flags: u8 },
    /// Before the high byte of the length of its extra field.
    GzipExtraLength { flags: u8, low: u8 },
    /// So much of its header is to be passed.
    GzipSkip { flags: u8, left: usize },
    /// In a text of its header that ends with a zero.
    GzipText { flags: u8 },
    /// Before the first byte of `deflate`, which tells whether a zlib header stands there.
    Deflate,
    /// In the compressed data.
    Data,
    /// Behind it, or it is broken.
    Done,
}

const HEADER_CHECKSUM: u8 = 2;
const EXTRA: u8 = 4;
const NAME: u8 = 8;
const COMMENT: u8 = 16;

impl Decoder {
    /// A decoder for a `content-encoding`; `None` where it is another one, or several.
    #[must_use]
    pub fn of(content_encoding: &[u8]) -> Option<Self> {
        let is = |name: &str| content_encoding.trim_ascii().eq_ignore_ascii_case(name.as_bytes());
        let stage = if is("gzip") || is("x-gzip") {
            Stage::GzipHead { at: 0, flags: 0 }
        } else if is("deflate") {
            Stage::Deflate
        } else {
            return None;
        };
        Some(Self { stage, inflate: InflateState::new_boxed(DataFormat::Raw), decoded: 0 })
    }

    /// Takes the next piece and hands on what it decodes to. What is broken ends there.
    pub fn push(&mut self, mut bytes: &[u8], out: &mut dyn FnMut(&[u8])) {
        while let Some((&byte, rest)) = bytes.split_first() {
            self.stage = match self.stage {
                Stage::Done => return,
                Stage::Data => return self.data(bytes, out),
                Stage::Deflate => {
                    // A zlib header names the method, 8, and a window of at most 32 KiB.
                    if byte & 0x0f == 8 && byte >> 4 <= 7 {
                        self.inflate = InflateState::new_boxed(DataFormat::Zlib);
                    }
                    self.stage = Stage::Data;
                    continue;
                }
                Stage::GzipHead { at, flags } => match (at, byte) {
                    (0, 0x1f) | (1, 0x8b) | (2, 8) | (4..=8, _) => Stage::GzipHead { at: at + 1, flags },
                    (3, flags) => Stage::GzipHead { at: 4, flags },
                    (9, _) => next_part(flags),
                    _ => Stage::Done,
                },
                Stage::GzipParts { flags } if flags & EXTRA != 0 => {
                    Stage::GzipExtraLength { flags: flags & !EXTRA, low: byte }
                }
                Stage::GzipParts { flags } if flags & (NAME | COMMENT) != 0 => {
                    let done = if flags & NAME != 0 { NAME } else { COMMENT };
                    let flags = flags & !done;
                    if byte == 0 { next_part(flags) } else { Stage::GzipText { flags } }
                }
                // Of the two bytes of the header's checksum this is the first.
                Stage::GzipParts { flags } => Stage::GzipSkip { flags: flags & !HEADER_CHECKSUM, left: 1 },
                Stage::GzipExtraLength { flags, low } => match usize::from(u16::from_le_bytes([low, byte])) {
                    0 => next_part(flags),
                    left => Stage::GzipSkip { flags, left },
                },
                Stage::GzipSkip { flags, left: 1 } => next_part(flags),
                Stage::GzipSkip { flags, left } => Stage::GzipSkip { flags, left: left - 1 },
                Stage::GzipText { flags } if byte == 0 => next_part(flags),
                Stage::GzipText { flags } => Stage::GzipText { flags },
            };
            bytes = rest;
        }
    }

    fn data(&mut self, mut bytes: &[u8], out: &mut dyn FnMut(&[u8])) {
        let mut slice = vec![0; SLICE];
        while self.stage == Stage::Data {
            let result = inflate(&mut self.inflate, bytes, &mut slice, MZFlush::None);
            bytes = bytes.get(result.bytes_consumed..).unwrap_or_default();
            let written = slice.get(..result.bytes_written).unwrap_or_default();
            self.decoded = self.decoded.saturating_add(written.len());
            if !written.is_empty() {
                out(written);
            }
            let goes_on = matches!(result.status, Ok(MZStatus::Ok)) && self.decoded <= MAX_DECODED;
            let lacks_input = result.bytes_written < SLICE && bytes.is_empty();
            match result.status {
                // Nothing could be done without more input.
                Err(miniz_oxide::MZError::Buf) if bytes.is_empty() => return,
                _ if !goes_on => self.stage = Stage::Done,
                _ if lacks_input => return,
                _ => {}
            }
        }
    }
}

/// Behind one part of a gzip header: another, or the data.
fn next_part(flags: u8) -> Stage {
    if flags & (EXTRA | NAME | COMMENT | HEADER_CHECKSUM) == 0 {
        Stage::Data
    } else {
        Stage::GzipParts { flags }
    }
}

#[cfg(test)]
mod tests {
    use miniz_oxide::deflate::{compress_to_vec, compress_to_vec_zlib};

    use super::*;

    fn gzip(flags: u8, parts: &[u8], text: &[u8]) -> Vec<u8> {
        let mut out = vec![0x1f, 0x8b, 8, flags, 0, 0, 0, 0, 0, 3];
        out.extend_from_slice(parts);
        out.extend_from_slice(&compress_to_vec(text, 6));
        out.extend_from_slice(&[0; 8]);
        out
    }

    fn decode<'a>(encoding: &str, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
        let mut decoder = Decoder::of(encoding.as_bytes()).unwrap();
        let mut out = Vec::new();
        for piece in pieces {
            decoder.push(piece, &mut |bytes| out.extend_from_slice(bytes));
        }
        out
    }

    /// What it decodes to, at any cut in two and in single bytes.
    fn check(encoding: &str, encoded: &[u8], expected: &[u8]) {
        for cut in 0..=encoded.len() {
            assert_eq!(decode(encoding, [&encoded[..cut], &encoded[cut..]]), expected, "cut at {cut}");
        }
        assert_eq!(decode(encoding, encoded.chunks(1)), expected, "in single bytes");
    }

    const TEXT: &[u8] = b"data: {\"a\":1}\n\ndata: {\"a\":1}\n\ndata: {\"a\":1}\n\n";

    #[test]
    fn gzip_is_decoded_whatever_its_header_has() {
        check("gzip", &gzip(0, b"", TEXT), TEXT);
        check("GZIP", &gzip(NAME, b"name\0", TEXT), TEXT);
        check("x-gzip", &gzip(NAME | COMMENT, b"\0comment\0", TEXT), TEXT);
        check("gzip", &gzip(EXTRA | HEADER_CHECKSUM, b"\x03\0abc\x01\x02", TEXT), TEXT);
        check("gzip", &gzip(EXTRA, b"\0\0", TEXT), TEXT);
        check("gzip", &gzip(0, b"", b""), b"");
    }

    #[test]
    fn deflate_is_decoded_with_its_header_and_without() {
        check("deflate", &compress_to_vec_zlib(TEXT, 6), TEXT);
        check("deflate", &compress_to_vec(&TEXT.repeat(3), 9), &TEXT.repeat(3));
    }

    #[test]
    fn large_bodies_are_decoded_in_slices_and_endless_ones_are_left() {
        let text: Vec<u8> = TEXT.iter().copied().cycle().take(1 << 20).collect();
        assert_eq!(decode("gzip", gzip(0, b"", &text).chunks(1000)), text);
        let bomb = gzip(0, b"", &vec![0; MAX_DECODED + (4 << 20)]);
        let (mut decoder, mut size) = (Decoder::of(b"gzip").unwrap(), 0);
        decoder.push(&bomb, &mut |bytes| size += bytes.len());
        assert!((MAX_DECODED..=MAX_DECODED + SLICE).contains(&size), "{size}");
    }

    #[test]
    fn what_is_broken_ends_there_and_other_encodings_are_not_known() {
        assert_eq!(decode("gzip", [&b"not gzip at all"[..]]), b"");
        let mut broken = gzip(0, b"", TEXT);
        broken.truncate(20);
        broken.extend_from_slice(&[0xff; 40]);
        let _ = decode("gzip", [broken.as_slice()]);
        for other in ["br", "zstd", "identity", "gzip, br", ""] {
            assert!(Decoder::of(other.as_bytes()).is_none(), "{other}");
        }
    }
}
