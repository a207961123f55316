//! What a client has received.

use std::time::Instant;

use serde_json::Value;

use crate::wire::{Fields, values};

/// One piece of a body as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrived {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// When they were there.
    pub at: Instant,
}

/// A response, as far as it came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Response {
    /// The status; 0 if the client left, as it was told, before there was one.
    pub status: u16,
    /// In the order of the wire, names in lower case.
    pub headers: Fields,
    /// The body in the pieces in which it came, without its framing.
    pub chunks: Vec<Arrived>,
    /// The fields after the body.
    pub trailers: Fields,
    /// Whether it ended as its framing says; never where the client left.
    pub complete: bool,
    /// The statuses of interim responses, such as 100.
    pub interim: Vec<u16>,
}

impl Response {
    /// The body without its framing.
    pub fn body(&self) -> Vec<u8> {
        self.chunks.iter().flat_map(|chunk| chunk.bytes.iter().copied()).collect()
    }

    /// The body as text; bytes that are no UTF-8 are shown as U+FFFD.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body()).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// If it is not JSON; the message has status and body.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body()).unwrap_or_else(|error| {
            panic!("the client got no JSON ({error}) but {}: {}", self.status, self.text())
        })
    }

    /// All values of a header, joined by `, `; `None` if it is not there.
    pub fn header(&self, name: &str) -> Option<String> {
        let values = values(&self.headers, name);
        (!values.is_empty()).then(|| String::from_utf8_lossy(&values.join(b", ".as_slice())).into_owned())
    }

    pub(super) fn arrived(&mut self, bytes: Vec<u8>) {
        self.chunks.push(Arrived { bytes, at: Instant::now() });
    }

    pub(super) fn len(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.bytes.len()).sum()
    }

    /// For the message of an error.
    pub(super) fn describe(&self) -> String {
        if self.status == 0 {
            return "nothing".to_owned();
        }
        format!("status {}, {} bytes of body: {}", self.status, self.len(), self.text())
    }
}
