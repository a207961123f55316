//! The host behind two traits: what a plugin may use, and what the driver alone may.

use std::cell::Cell;
use std::fmt;
use std::time::{Duration, SystemTime};

use super::Callout;
use crate::http::head::Change;
use crate::http::{Head, LocalReply};

/// What a plugin may use of its surroundings.
pub trait Env {
    /// Wall-clock time.
    fn now(&self) -> SystemTime;
    /// Time since some fixed point, never running backwards.
    fn monotonic(&self) -> Duration;
    /// 64 random bits.
    fn random(&self) -> u64;
    /// Writes one log line; lines below the host's level are not formatted.
    fn log(&self, level: LogLevel, message: fmt::Arguments<'_>);
    /// A property of the stream, such as `["xds", "route_name"]`; `None` where it is not set.
    fn property(&self, path: &[&str]) -> Option<Vec<u8>>;
    /// Stores filter state that other plugins read as `[key]` and access logs as
    /// `%FILTER_STATE(wasm.key:PLAIN)%`.
    fn set_property(&self, key: &str, value: &[u8]);
    /// A value shared by all workers, with the token that a conditional write needs.
    fn shared(&self, key: &str) -> Option<(Vec<u8>, u32)>;
    /// Writes a shared value; with a token, only if nobody wrote since it was read.
    ///
    /// # Errors
    /// Somebody did.
    fn set_shared(&self, key: &str, value: &[u8], token: Option<u32>) -> Result<(), CasMismatch>;
    /// The metric of that name, defined on first use; `None` where the host refuses it.
    fn metric(&self, kind: MetricKind, name: &str) -> Option<MetricId>;
    /// Adds to a counter (`delta` > 0) or moves a gauge.
    fn add(&self, metric: MetricId, delta: i64);
    /// Sets a gauge, or records one value of a histogram.
    fn record(&self, metric: MetricId, value: u64);
}

/// What the driver may do beyond [`Env`]. Plugins never see it.
pub trait Host: Env {
    /// Every field of a head, serialised as [`crate::http::Head::from_pairs`] reads it.
    fn pairs(&self, map: Map) -> Result<Vec<u8>, HostError>;
    /// Applies one change to a head.
    fn change(&self, map: Map, change: &Change<'_>) -> Result<(), HostError>;
    /// Up to `max` bytes of a body, from the one that stands at `start`.
    fn body(&self, body: Body, start: usize, max: usize) -> Result<Vec<u8>, HostError>;
    /// Replaces all of a body that is there now.
    fn replace_body(&self, body: Body, bytes: &[u8]) -> Result<(), HostError>;
    /// Adds to the end of a body that is there now and has just been replaced.
    fn append_body(&self, body: Body, bytes: &[u8]) -> Result<(), HostError>;
    /// Answers the client.
    fn reply(&self, reply: &LocalReply) -> Result<(), HostError>;
    /// Answers the client with this in the place of the response that is held.
    fn replace_response(&self, head: &Head, body: &[u8]) -> Result<(), HostError>;
    /// Lets a paused phase go on.
    fn resume(&self, body: Body) -> Result<(), HostError>;
    /// Starts a call; the token comes back with its answer.
    fn call(&self, callout: &Callout) -> Result<u32, HostError>;
    /// Asks for a timer that calls the plugin so often from now on.
    fn tick_every(&self, period: Duration) -> Result<(), HostError>;
}

/// A header map of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Map {
    /// The request head.
    Request,
    /// The response head.
    Response,
    /// The head of a callout's answer, inside its callback.
    Call,
}

/// A body buffer of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// The request body.
    Request,
    /// The response body.
    Response,
    /// The body of a callout's answer, inside its callback.
    Call,
}

/// A status other than success of a host call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// Nothing of that name.
    #[error("not found")]
    NotFound,
    /// The call is not possible in this phase, or an argument is wrong; for a callout: no such
    /// cluster, or a pseudo header missing.
    #[error("bad argument")]
    BadArgument,
    /// Bytes that could not be read or written as a map.
    #[error("serialization failure")]
    Serialization,
    /// Nothing there (yet).
    #[error("empty")]
    Empty,
    /// A conditional write lost.
    #[error("compare-and-swap mismatch")]
    CasMismatch,
    /// The host failed; for a callout: no healthy host, or an open circuit breaker.
    #[error("internal failure")]
    Internal,
    /// A status that proxy-wasm does not name.
    #[error("status {0}")]
    Other(u32),
}

/// A conditional write lost against another worker's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("another worker wrote first")]
pub struct CasMismatch;

/// Severity of a log line, in the host's numbering.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
#[expect(missing_docs, reason = "the levels explain themselves")]
pub enum LogLevel {
    Trace = 0,
    Debug = 1,
    Info = 2,
    Warn = 3,
    Error = 4,
    Critical = 5,
}

/// Kind of a metric, in the host's numbering.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum MetricKind {
    /// Only grows.
    Counter = 0,
    /// Goes up and down.
    Gauge = 1,
    /// A distribution of recorded values.
    Histogram = 2,
}

/// A counter of one VM, which asks the host for its metric once.
#[derive(Debug)]
pub struct Counter {
    name: &'static str,
    metric: Cell<Option<MetricId>>,
}

impl Counter {
    /// A counter of that name.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self { name, metric: Cell::new(None) }
    }

    /// Counts one more.
    pub fn count(&self, env: &dyn Env) {
        let metric = self.metric.get().or_else(|| env.metric(MetricKind::Counter, self.name));
        if let Some(metric) = metric {
            self.metric.set(Some(metric));
            env.add(metric, 1);
        }
    }
}

/// A metric that the host knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricId(pub u32);
