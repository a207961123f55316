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
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..=0x1f => {
                out.extend_from_slice(b"\\u00");
                let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
                out.push(digit(byte >> 4));
                out.push(digit(byte & 15));
            }
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_literal_reads_back_as_its_text() {
        for text in ["", "plain", "q\"b\\s/", "\u{0}\u{1f}\n\r\t\u{7f}", "grüße 🌍"] {
            let back: String = serde_json::from_slice(&super::string(text)).unwrap();
            assert_eq!(back, text);
        }
    }
}
