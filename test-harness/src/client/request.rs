//! What a client is told to send.

use std::time::Duration;

use serde_json::Value;

use crate::wire::{Chunk, Fields, values};

/// The HTTP that is spoken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.1.
    #[default]
    H1,
    /// HTTP/2 in clear text, with prior knowledge.
    H2,
}

/// A request's body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Body {
    /// None, and no field that says so.
    #[default]
    None,
    /// All at once, with its length told in HTTP/1.1.
    Whole(Vec<u8>),
    /// Each chunk written by itself. In HTTP/1.1 in the chunked coding, unless the request has a
    /// `content-length` of its own: then the bytes follow as they are.
    Chunked(Vec<Chunk>),
}

/// When a client leaves before it has its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// When this many chunks of the body are sent and the next is due.
    AfterChunks(usize),
    /// As soon as the whole request is sent.
    AfterSending,
    /// As soon as this many bytes of the response's body are there.
    AfterReceiving(usize),
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Any method.
    pub method: String,
    /// The request target, byte for byte.
    pub path: Vec<u8>,
    /// In this order. `host` is added where it is missing, and what frames the body.
    pub headers: Fields,
    /// The body.
    pub body: Body,
    /// Sent after the body; in HTTP/1.1 only after a chunked one.
    pub trailers: Fields,
    /// Which HTTP.
    pub version: Version,
    /// Leaves the exchange early.
    pub leave: Option<Leave>,
    /// How long the other side may be silent.
    pub patience: Duration,
}

impl Request {
    /// The host asked for where the headers name none.
    pub const HOST: &str = "gw.local";

    /// A request without a body.
    pub fn new(method: &str, path: impl Into<Vec<u8>>) -> Self {
        Self {
            method: method.to_owned(),
            path: path.into(),
            headers: Fields::new(),
            body: Body::default(),
            trailers: Fields::new(),
            version: Version::default(),
            leave: None,
            patience: Duration::from_secs(10),
        }
    }

    /// A GET.
    pub fn get(path: impl Into<Vec<u8>>) -> Self {
        Self::new("GET", path)
    }

    /// A POST of JSON, in one piece.
    pub fn post_json(path: impl Into<Vec<u8>>, document: &Value) -> Self {
        Self::new("POST", path).header("content-type", "application/json").body(document.to_string())
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Sets a body in one piece.
    #[must_use]
    pub fn body(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.body = Body::Whole(bytes.into());
        self
    }

    /// Sets a body in chunks.
    #[must_use]
    pub fn chunks<T: Into<Chunk>>(mut self, chunks: impl IntoIterator<Item = T>) -> Self {
        self.body = Body::Chunked(chunks.into_iter().map(Into::into).collect());
        self
    }

    /// Adds a trailer.
    #[must_use]
    pub fn trailer(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.trailers.push((name.to_owned(), value.into()));
        self
    }

    /// Sends it over this HTTP.
    #[must_use]
    pub fn over(mut self, version: Version) -> Self {
        self.version = version;
        self
    }

    /// Leaves early.
    #[must_use]
    pub fn leaving(mut self, leave: Leave) -> Self {
        self.leave = Some(leave);
        self
    }

    pub(super) fn has(&self, name: &str) -> bool {
        !values(&self.headers, name).is_empty()
    }

    /// The body as it is written, and whether the chunks are to be framed in HTTP/1.1.
    pub(super) fn pieces(&self) -> Vec<Chunk> {
        match &self.body {
            Body::None => Vec::new(),
            Body::Whole(bytes) => vec![Chunk::new(bytes.as_slice())],
            Body::Chunked(chunks) => chunks.clone(),
        }
    }
}
