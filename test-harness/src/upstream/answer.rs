//! What an upstream is told to answer.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::Recorded;
use crate::wire::{Chunk, Fields, values};

/// One scripted answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status line's number.
    pub status: u16,
    /// Sent in this order; framing fields are added. A `content-length` among them is the one that is sent.
    pub headers: Fields,
    /// The body; each chunk is written by itself.
    pub chunks: Vec<Chunk>,
    /// Sent after the body; in HTTP/1.1 this needs the chunked coding, which is then used.
    pub trailers: Fields,
    /// What follows the last byte.
    pub then: Then,
    /// How the length of the body is told.
    pub content_length: ContentLength,
    /// Waited before the head.
    pub delay: Duration,
    /// No head and no body: only `then` happens.
    pub silent: bool,
    /// Answers as soon as the head of the request is there, and reads the body afterwards.
    pub early: bool,
    /// The body is a JSON object that tells what was received, instead of `chunks`.
    pub echo: bool,
}

/// What follows the last byte of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Then {
    /// The answer ends properly, and the connection stays.
    #[default]
    Finish,
    /// The connection is closed in order, whether the answer is complete or not.
    Close,
    /// TCP reset in HTTP/1.1, `RST_STREAM` in HTTP/2.
    Reset,
    /// Nothing more, until the other side leaves.
    Hang,
}

/// How the length of an answer's body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ContentLength {
    /// A `content-length` for a body of at most one chunk that ends properly, without trailers; else none.
    #[default]
    Auto,
    /// None: chunked coding in HTTP/1.1.
    None,
    /// This one, true or not.
    Given(u64),
}

impl Answer {
    /// An answer without a body.
    pub fn new(status: u16) -> Self {
        Self {
            status,
            headers: Fields::new(),
            chunks: Vec::new(),
            trailers: Fields::new(),
            then: Then::default(),
            content_length: ContentLength::default(),
            delay: Duration::ZERO,
            silent: false,
            early: false,
            echo: false,
        }
    }

    /// A JSON document in one chunk.
    pub fn json(status: u16, document: &Value) -> Self {
        Self::new(status).header("content-type", "application/json").body(document.to_string())
    }

    /// Server-sent events with this data, each its own chunk.
    pub fn sse<T: AsRef<str>>(events: impl IntoIterator<Item = T>) -> Self {
        let answer =
            Self::new(200).header("content-type", "text/event-stream").content_length(ContentLength::None);
        events.into_iter().fold(answer, |answer, data| answer.chunk(format!("data: {}\n\n", data.as_ref())))
    }

    /// Tells in JSON what was received: `method`, `path`, `headers` (name to list of values), `body`,
    /// `trailers`. Bytes that are no UTF-8 are shown as U+FFFD.
    pub fn echo() -> Self {
        Self { echo: true, ..Self::new(200).header("content-type", "application/json") }
    }

    /// A reset where an answer was hoped for.
    pub fn reset() -> Self {
        Self { silent: true, then: Then::Reset, ..Self::new(200) }
    }

    /// No answer at all, until the other side leaves.
    pub fn silence() -> Self {
        Self { silent: true, then: Then::Hang, ..Self::new(200) }
    }

    /// Adds a field.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Sets a body of one chunk.
    #[must_use]
    pub fn body(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.chunks = vec![Chunk::new(bytes)];
        self
    }

    /// Adds a chunk.
    #[must_use]
    pub fn chunk(mut self, chunk: impl Into<Chunk>) -> Self {
        self.chunks.push(chunk.into());
        self
    }

    /// Adds a trailer.
    #[must_use]
    pub fn trailer(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.trailers.push((name.to_owned(), value.into()));
        self
    }

    /// Says what follows the last byte.
    #[must_use]
    pub fn then(mut self, then: Then) -> Self {
        self.then = then;
        self
    }

    /// Says how the length is told.
    #[must_use]
    pub fn content_length(mut self, length: ContentLength) -> Self {
        self.content_length = length;
        self
    }

    /// The `content-length` that is sent, if one is.
    pub(super) fn length(&self) -> Option<u64> {
        let told = values(&self.headers, "content-length");
        let told = told.first().and_then(|value| std::str::from_utf8(value).ok()?.parse().ok());
        match self.content_length {
            _ if told.is_some() => told,
            ContentLength::Given(length) => Some(length),
            ContentLength::None => None,
            // Of a body that breaks off, only its framing tells that it did.
            ContentLength::Auto if self.then != Then::Finish => None,
            ContentLength::Auto if self.chunks.len() > 1 || !self.trailers.is_empty() => None,
            ContentLength::Auto => Some(self.chunks.iter().map(|chunk| chunk.bytes.len() as u64).sum()),
        }
    }

    /// The fields without those that [`Answer::length`] tells.
    pub(super) fn fields(&self) -> Fields {
        let is_told = |name: &str| self.length().is_some() && name.eq_ignore_ascii_case("content-length");
        self.headers.iter().filter(|(name, _)| !is_told(name)).cloned().collect()
    }

    /// Whether HTTP has no body for this status.
    pub(super) fn is_bodiless(&self) -> bool {
        matches!(self.status, 100..=199 | 204 | 304)
    }
}

/// Which answer a request gets: one for its path, else the next in the queue, else the default.
///
/// A computed script has one rule for all of them instead.
#[derive(Debug, Clone)]
pub struct Script {
    compute: Option<Compute>,
    by_path: Vec<(String, Answer)>,
    queue: VecDeque<Answer>,
    otherwise: Answer,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            compute: None,
            by_path: Vec::new(),
            queue: VecDeque::new(),
            otherwise: Answer::json(200, &Value::Object(serde_json::Map::new())),
        }
    }
}

impl Script {
    /// Nothing in the queue, and `{}` by default.
    pub fn new() -> Self {
        Self::default()
    }

    /// Every answer is made from its request, once all of that has arrived.
    pub fn computed(compute: impl Fn(&Recorded) -> Answer + Send + Sync + 'static) -> Self {
        Self { compute: Some(Compute(Arc::new(compute))), ..Self::default() }
    }

    /// Adds an answer to the queue; it is given once.
    #[must_use]
    pub fn next(mut self, answer: Answer) -> Self {
        self.queue.push_back(answer);
        self
    }

    /// The answer to every request for a path, whatever its query.
    #[must_use]
    pub fn at(mut self, path: &str, answer: Answer) -> Self {
        self.by_path.push((path.to_owned(), answer));
        self
    }

    /// The answer where no other is left.
    #[must_use]
    pub fn otherwise(mut self, answer: Answer) -> Self {
        self.otherwise = answer;
        self
    }

    pub(super) fn compute(&self) -> Option<Compute> {
        self.compute.clone()
    }

    pub(super) fn choose(&mut self, raw_path: &[u8]) -> Answer {
        let path = raw_path.split(|byte| *byte == b'?').next().unwrap_or_default();
        let here = self.by_path.iter().find(|(wanted, _)| wanted.as_bytes() == path);
        match here {
            Some((_, answer)) => answer.clone(),
            None => self.queue.pop_front().unwrap_or_else(|| self.otherwise.clone()),
        }
    }
}

/// Makes answers from requests.
#[derive(Clone)]
pub(super) struct Compute(pub(super) Arc<dyn Fn(&Recorded) -> Answer + Send + Sync>);

impl fmt::Debug for Compute {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Compute(..)")
    }
}

impl From<Answer> for Script {
    /// This answer to every request.
    fn from(answer: Answer) -> Self {
        Self::new().otherwise(answer)
    }
}

impl From<Vec<Answer>> for Script {
    /// These answers in order.
    fn from(answers: Vec<Answer>) -> Self {
        answers.into_iter().fold(Self::new(), Self::next)
    }
}
