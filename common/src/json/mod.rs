//! JSON read where it lies and edited in place.
//!
//! A body is scanned once, which finds the members of its top-level object and proves them; of nested values
//! it proves only that they end, and so whoever reads one proves as much of it as is read. Nothing is built. Edits are splices on the original bytes, so that whatever is not named in one
//! stays as the peer wrote it: order, spaces, numbers, escapes, unknown fields.

mod block;
pub mod decimal;
mod document;
mod nested;
mod object;
mod outline;
mod patch;
mod path;
mod query;
mod scan;
mod skim;
mod tree;
mod write;

pub use document::Document;
pub use object::{Kind, Object, Raw, object, object_watching, unescaped, value};
pub use outline::{MAX_SHOWN, Outline, Outlined};
pub use patch::Patch;
pub use path::{Path, path_names};
pub use query::{Query, QueryError};
pub use scan::JsonError;
pub use skim::{Skim, Skimmer, Want};
pub use tree::tree;
pub use write::{ArrayWriter, ObjectWriter};

/// A JSON string literal, quotes included.
#[must_use]
pub fn string(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 2);
    write_string(&mut out, text);
    out
}

/// Appends a JSON string literal, quotes included.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    let text = text.as_bytes();
    out.reserve(text.len() + 2);
    out.push(b'"');
    let mut start = 0;
    loop {
        let end = block::run(text, start).end;
        out.extend_from_slice(text.get(start..end).unwrap_or_default());
        let Some(byte) = text.get(end) else { break };
        write_escaped(out, *byte);
        start = end + 1;
    }
    out.push(b'"');
}

/// Appends a byte that does not stand in a string as it is.
fn write_escaped(out: &mut Vec<u8>, byte: u8) {
    match byte {
        b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        _ => {
            let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 15)]);
        }
    }
}

/// Appends a whole number.
pub fn write_number(out: &mut Vec<u8>, number: u64) {
    if number > 9 {
        write_number(out, number / 10);
    }
    out.push(b'0' + (number % 10) as u8);
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_literal_reads_back_as_its_text() {
        for text in ["", "plain", "q\"b\\s/", "\u{0}\u{1f}\n\r\t\u{7f}", "grüße 🌍"] {
            for text in [text.to_owned(), format!("{text}{text} behind {text}")] {
                let back: String = serde_json::from_slice(&super::string(&text)).unwrap();
                assert_eq!(back, text);
            }
        }
    }

    #[test]
    fn a_number_is_written_with_all_its_digits() {
        for number in [0, 7, 10, 99, 100, 1_700_000_000, u64::MAX] {
            let mut out = Vec::new();
            super::write_number(&mut out, number);
            assert_eq!(out, number.to_string().as_bytes());
        }
    }
}
