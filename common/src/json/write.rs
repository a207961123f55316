//! New objects and arrays, written entry by entry.

use super::{write_number, write_string};

/// An object that is being written. Names are written as they are given: without escapes.
#[derive(Debug)]
pub struct ObjectWriter<'o> {
    out: &'o mut Vec<u8>,
    is_empty: bool,
}

impl<'o> ObjectWriter<'o> {
    /// Opens an object at the end of `out`.
    #[must_use]
    pub fn open(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, is_empty: true }
    }

    /// Begins a member; its value is to be appended to what this gives.
    pub fn member(&mut self, name: &str) -> &mut Vec<u8> {
        if !std::mem::take(&mut self.is_empty) {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    /// A member with this JSON.
    pub fn raw(&mut self, name: &str, json: &[u8]) {
        self.member(name).extend_from_slice(json);
    }

    /// A member with this text.
    pub fn text(&mut self, name: &str, text: &str) {
        write_string(self.member(name), text);
    }

    /// A member with this whole number.
    pub fn number(&mut self, name: &str, number: u64) {
        write_number(self.member(name), number);
    }

    /// A member with the text of these pieces, each as it stands inside a JSON string.
    pub fn pieces<'p>(&mut self, name: &str, pieces: impl IntoIterator<Item = &'p [u8]>) {
        let out = self.member(name);
        out.push(b'"');
        pieces.into_iter().for_each(|piece| out.extend_from_slice(piece));
        out.push(b'"');
    }

    /// Closes the object.
    pub fn close(self) {
        self.out.push(b'}');
    }
}

/// An array that is being written.
#[derive(Debug)]
pub struct ArrayWriter<'o> {
    out: &'o mut Vec<u8>,
    is_empty: bool,
}

impl<'o> ArrayWriter<'o> {
    /// Opens an array at the end of `out`.
    #[must_use]
    pub fn open(out: &'o mut Vec<u8>) -> Self {
        out.push(b'[');
        Self { out, is_empty: true }
    }

    /// Begins an element; it is to be appended to what this gives.
    pub fn element(&mut self) -> &mut Vec<u8> {
        if !std::mem::take(&mut self.is_empty) {
            self.out.push(b',');
        }
        self.out
    }

    /// Closes the array.
    pub fn close(self) {
        self.out.push(b']');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_stand_between_commas() {
        let mut out = Vec::new();
        let mut object = ObjectWriter::open(&mut out);
        object.raw("a", b"1");
        object.text("b", "x\"y");
        object.pieces("c", [&b"\\n"[..], b"z"]);
        let mut array = ArrayWriter::open(object.member("d"));
        array.element().push(b'1');
        ObjectWriter::open(array.element()).close();
        array.close();
        ArrayWriter::open(object.member("e")).close();
        object.close();
        assert_eq!(out, br#"{"a":1,"b":"x\"y","c":"\nz","d":[1,{}],"e":[]}"#);
    }
}
