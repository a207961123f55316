//! The lifecycle of a plugin, and the driver that carries it through Envoy's callbacks.
//!
//! A plugin implements [`Filter`]. It gets heads and bodies as values and answers with values; the
//! [`driver`] alone knows what Envoy needs for each of them to come true.

mod callbacks;
pub mod driver;
pub mod env;
mod rewrite;
pub mod root;
pub mod shared;

use std::rc::Rc;
use std::time::Duration;

use crate::config::{ConfigError, Section};
use crate::http::{Fault, Head, LocalReply};

pub use callbacks::Callbacks;
pub use env::{CasMismatch, Counter, Env, Host, HostError, LogLevel, MetricId, MetricKind};
pub use root::TickCx;
pub use shared::Shared;

/// What one plugin does with one exchange, top to bottom in the order Envoy calls it.
///
/// No method can reach the host. Every `Err` is answered in one place, [`Filter::refuse`].
pub trait Filter: Sized + 'static {
    /// The plugin's name: its folder, its log prefix, its metric prefix.
    const NAME: &'static str;
    /// A ready-to-run configuration; one for the whole plugin and one for each of its `_rules_`.
    type Config: 'static;

    /// Compiles one config object, the global one or a rule's.
    ///
    /// # Errors
    /// What is wrong and where, as one line with a JSON path.
    fn configure(section: &mut Section<'_>) -> Result<Self::Config, ConfigError>;

    /// Whether requests that meet a broken rule are refused with 500 (`true`) or left alone (`false`).
    const BROKEN_CONFIG_REFUSES: bool = false;

    /// Whether the filter decodes what it reads of responses itself. If not, the upstream is asked for an
    /// answer without encoding.
    const READS_ENCODED: bool = false;

    /// Whether the filter may ask for responses. If not, what deals with them is left out of its module, and
    /// [`Filter::end`], which could not say how an exchange ended, is not called.
    const SEES_RESPONSES: bool = true;

    /// Whether [`Filter::end`] sets what Envoy's access log shows, so that it has to be called before that is written.
    /// In a cluster's upstream chain it always is.
    const ENDS_BEFORE_LOG: bool = false;

    /// A config object takes effect in this VM. Once for each, before any request.
    fn loaded(_config: &Rc<Self::Config>, _env: &dyn Env) {}

    /// How often [`Filter::tick`] is to be called for this config object. Where none asks, Envoy is not
    /// asked for a timer.
    fn period(_config: &Self::Config) -> Option<Duration> {
        None
    }

    /// Time for work that belongs to no exchange. Every worker has its own timer: what one of them is
    /// to do for all asks [`TickCx::has_turn`]. Not called while calls of the last time are under way.
    fn tick(_config: &Rc<Self::Config>, _cx: &mut TickCx<'_>) {}

    /// The answer to a call that [`Filter::tick`] or this method made, with the `tag` it was given.
    fn tick_call(_config: &Rc<Self::Config>, _cx: &mut TickCx<'_>, _tag: u64, _answer: CallAnswer) {}

    /// A request arrives. The head may be edited; it leaves when the body has been dealt with.
    ///
    /// # Errors
    /// A fault is answered locally; nothing goes upstream.
    fn start(config: &Rc<Self::Config>, cx: &mut RequestCx<'_>) -> Result<Start<Self>, Fault>;

    /// The whole request body (empty where there is none), if [`Start::run`] asked for it.
    ///
    /// # Errors
    /// A fault is answered locally; nothing goes upstream.
    fn request_body(&mut self, _cx: &mut RequestCx<'_>, _body: Vec<u8>) -> Result<Flow, Fault> {
        Ok(Flow::Pass)
    }

    /// What has come of the request body so far, each time that more of it comes, if
    /// [`RequestBody::Watched`] was asked for; never more than its limit. Never called with the whole: that is
    /// [`Filter::request_body`]'s.
    ///
    /// # Errors
    /// A fault is answered locally; nothing goes upstream.
    fn request_growing(&mut self, _cx: &mut RequestCx<'_>, _so_far: &[u8]) -> Result<Growth, Fault> {
        Ok(Growth::Wait)
    }

    /// The request body has more bytes than the `limit` that was asked for. `Ok`: it passes unread, and the
    /// head leaves as it is now.
    ///
    /// # Errors
    /// A fault is answered locally; nothing goes upstream.
    fn request_too_large(&mut self, _cx: &mut RequestCx<'_>, limit: usize) -> Result<(), Fault> {
        Err(Fault::too_large(limit))
    }

    /// One piece of the request body, if [`RequestBody::Chunks`] was asked for; the head has left. What is not
    /// written to `out` is not sent. `end` marks the last call; its piece may be empty, and where the request
    /// ends with trailers nothing can be sent any more.
    ///
    /// # Errors
    /// A fault is answered locally, if no response has begun, and what has gone upstream is broken off.
    fn request_chunk(
        &mut self,
        _cx: &StreamCx<'_>,
        chunk: &[u8],
        _end: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        out.extend_from_slice(chunk);
        Ok(())
    }

    /// One piece of a request body that passes as it comes, if [`RequestBody::Observed`] was asked for. A
    /// large piece is shown in slices. `end` marks the last call; its piece may be empty.
    fn request_passes(&mut self, _cx: &StreamCx<'_>, _piece: &[u8], _end: bool) {}

    /// The answer to a [`Flow::Call`] of the request phase, which is still held.
    ///
    /// # Errors
    /// A fault is answered locally; nothing goes upstream.
    fn request_call(&mut self, _cx: &mut RequestCx<'_>, _answer: CallAnswer) -> Result<Flow, Fault> {
        Ok(Flow::Pass)
    }

    /// The response head, if [`Start::run`] asked for responses. Never called for our own replies.
    ///
    /// # Errors
    /// A fault replaces the response.
    fn response_head(&mut self, _cx: &mut ResponseCx<'_>) -> Result<ResponseBody, Fault> {
        Ok(ResponseBody::Pass)
    }

    /// The next piece of a response body that begins, while its head waits, if [`ResponseBody::Opening`] was asked
    /// for. `end` marks the last call; its piece may be empty. What is written to `out` leaves with the head: until
    /// it is let go, nothing may be written.
    ///
    /// # Errors
    /// A fault replaces the response.
    fn response_opens(
        &mut self,
        _cx: &mut ResponseCx<'_>,
        piece: &[u8],
        _end: bool,
        out: &mut Vec<u8>,
    ) -> Result<Opening, Fault> {
        out.extend_from_slice(piece);
        Ok(Opening::Pass)
    }

    /// Whether what was rewritten piece by piece has ended before it was complete.
    fn has_broken_response(&self) -> bool {
        false
    }

    /// Whether what takes the place of a response is written over it, rather than replied in its stead. In a
    /// cluster's upstream chain only the first leaves it to Envoy to try another endpoint. Before Envoy 1.37 nothing that
    /// has waited for its body can be tried again: there the head of a failure leaves before a body that is read whole,
    /// failures are neither opened nor held for a call, and what a body shows to be a failure is replied. [rule 16]
    fn replies_in_place(&self) -> bool {
        false
    }

    /// The answer to a [`ResponseBody::Call`]; the response is still held.
    ///
    /// # Errors
    /// A fault replaces the response.
    fn response_head_call(
        &mut self,
        _cx: &mut ResponseCx<'_>,
        _answer: CallAnswer,
    ) -> Result<ResponseBody, Fault> {
        Ok(ResponseBody::Pass)
    }

    /// The whole response body, if [`ResponseBody::Whole`] was asked for; the head is still held.
    ///
    /// # Errors
    /// A fault replaces the response.
    fn response_body(&mut self, _cx: &mut ResponseCx<'_>, _body: Vec<u8>) -> Result<Flow, Fault> {
        Ok(Flow::Pass)
    }

    /// The answer to a [`Flow::Call`] of the response phase, which is still held.
    ///
    /// # Errors
    /// A fault replaces the response.
    fn response_call(&mut self, _cx: &mut ResponseCx<'_>, _answer: CallAnswer) -> Result<Flow, Fault> {
        Ok(Flow::Pass)
    }

    /// One piece of a streamed response, if [`ResponseBody::Chunks`] was asked for. What is not
    /// written to `out` is not sent. `end` marks the last call; its piece may be empty.
    fn response_chunk(&mut self, _cx: &StreamCx<'_>, chunk: &[u8], _end: bool, out: &mut Vec<u8>) {
        out.extend_from_slice(chunk);
    }

    /// One piece of a response that passes as it comes, if [`ResponseBody::Observed`] was asked for. A large
    /// piece is shown in slices. `end` marks the last call; its piece may be empty.
    fn response_passes(&mut self, _cx: &StreamCx<'_>, _piece: &[u8], _end: bool) {}

    /// Exactly once, however the exchange ended, if the filter [sees responses](Filter::SEES_RESPONSES).
    fn end(self, _cx: &StreamCx<'_>, _how: End) {}

    /// The reply to a fault, in the protocol of the client that asked.
    fn refuse(request: &Head, fault: &Fault) -> LocalReply {
        crate::llm::error::reply(request, fault)
    }
}

/// What a plugin wants with a request.
#[derive(Debug)]
pub enum Start<F> {
    /// Nothing: head and bodies pass untouched and no further method is called.
    Inactive,
    /// Go on with this state.
    Run {
        /// The state of the exchange.
        filter: F,
        /// What is to be done with the request body.
        body: RequestBody,
        /// Whether [`Filter::response_head`] is to be called. The driver then asks the upstream for
        /// an unencoded answer, unless the filter [reads encoded ones](Filter::READS_ENCODED).
        response: bool,
    },
    /// Answer at once.
    Reply(LocalReply),
}

/// What a plugin wants of a request body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestBody {
    /// It passes unread; the head leaves at once.
    Pass,
    /// All of it, up to this many bytes; the head waits. More is for [`Filter::request_too_large`] to judge.
    Whole {
        /// Bytes; it must not exceed Envoy's own buffer limit.
        limit: usize,
    },
    /// As [`RequestBody::Whole`], but [`Filter::request_growing`] sees it grow, and may let it go before its
    /// end. So a length that is announced does not count, only what has come.
    Watched {
        /// Bytes; it must not exceed Envoy's own buffer limit.
        limit: usize,
    },
    /// Piece by piece, rewritten as it comes, however long it is; the head leaves at once, without
    /// `content-length`.
    Chunks,
    /// It passes as it comes, however long it is, and [`Filter::request_passes`] sees each piece; the head
    /// leaves at once.
    Observed,
}

/// What becomes of a request body that has not come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Growth {
    /// More of it is to come first.
    Wait,
    /// Enough was seen: what has come leaves as it came, after the head as it is now, and the rest passes unread.
    Release,
}

/// What becomes of a response that begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// More of it is to come first. At its end it leaves all the same; if it has reached the limit, it is refused.
    Wait,
    /// It leaves, and [`Filter::response_chunk`] gets the pieces that follow.
    Rewrite,
    /// It leaves, and what follows passes unread.
    Pass,
}

/// What a plugin wants of a response body.
#[derive(Debug)]
pub enum ResponseBody {
    /// It passes unread; the head leaves at once, with its edits.
    Pass,
    /// All of it, up to this many bytes; the head waits, but see [`Filter::replies_in_place`]. More is a 502.
    Whole {
        /// Bytes; it must not exceed Envoy's own buffer limit.
        limit: usize,
    },
    /// Piece by piece, rewritten as it comes; the head leaves at once, without `content-length`.
    Chunks,
    /// The head waits until [`Filter::response_opens`] has seen enough of the body to let both go.
    Opening {
        /// Bytes that may wait; it must not exceed Envoy's own buffer limit.
        limit: usize,
    },
    /// It passes as it comes, and [`Filter::response_passes`] sees each piece; the head leaves at once.
    Observed,
    /// Not yet said: call a service first, then [`Filter::response_head_call`] says it. The head waits.
    Call {
        /// The call.
        callout: Callout,
        /// Bytes of the body that may wait meanwhile; with more the response is let go as it came.
        /// It must not exceed Envoy's own buffer limit.
        limit: usize,
    },
    /// None of it: this answer of a service takes the place of the response, as if the upstream had
    /// given it. [`Filter::response_head`] is asked about it next, and its body goes the way that is
    /// said there, all in one piece.
    Take {
        /// Head of the answer. What belongs to its connection is left out.
        head: Head,
        /// All of its body.
        body: Vec<u8>,
    },
    /// None of it: a local reply takes its place.
    Reply(LocalReply),
}

/// How a held phase goes on.
#[derive(Debug)]
pub enum Flow {
    /// With its body as it came.
    Pass,
    /// With this body instead. Where there was none to replace, it is a fault of the plugin.
    Send(Vec<u8>),
    /// Not yet: call a service first, then see its answer.
    Call(Callout),
    /// With a local reply.
    Reply(LocalReply),
}

/// A request to a service, made while a phase is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callout {
    /// Name of the Envoy cluster.
    pub cluster: String,
    /// `:method`, `:path`, `:authority` and fields.
    pub headers: Vec<(String, String)>,
    /// The body, if any.
    pub body: Vec<u8>,
    /// How long to wait for the whole answer.
    pub timeout: Duration,
    /// The answer's body is cut at this many bytes.
    pub max_answer_bytes: usize,
}

/// What came of a [`Callout`].
#[derive(Debug)]
pub enum CallAnswer {
    /// An answer. Envoy itself answers 504 after a time-out and 503 where it could not connect.
    Answered {
        /// Its head.
        head: Head,
        /// Its body.
        body: Vec<u8>,
    },
    /// No answer: the stream broke, or the call could not be made at all.
    Failed(HostError),
}

/// How an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The response was complete.
    Complete,
    /// The plugin answered itself.
    Replied,
    /// The client left, or the upstream broke off.
    Aborted,
}

/// What a plugin sees while the request is held.
pub struct RequestCx<'a> {
    /// The request head; edits take effect when the request is released.
    pub head: &'a mut Head,
    /// Whether a body follows.
    pub has_body: bool,
    /// Clock, randomness, metrics, properties, shared data.
    pub env: &'a dyn Env,
}

/// What a plugin sees while the response is held.
pub struct ResponseCx<'a> {
    /// The request head, as it left.
    pub request: &'a Head,
    /// The response head; edits take effect when the response is released.
    pub head: &'a mut Head,
    /// Whether a body follows.
    pub has_body: bool,
    /// Clock, randomness, metrics, properties, shared data.
    pub env: &'a dyn Env,
}

impl ResponseCx<'_> {
    /// The status code, 0 where it cannot be read.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.head.get_str(":status").and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    /// Whether the upstream sent this response, rather than Envoy or another filter.
    #[must_use]
    pub fn is_from_upstream(&self) -> bool {
        self.env.property(&["response", "code_details"]).as_deref() == Some(b"via_upstream")
    }
}

/// What a plugin sees when both heads have left.
pub struct StreamCx<'a> {
    /// The request head, as it left.
    pub request: &'a Head,
    /// The response head, as it left; empty where none came.
    pub response: &'a Head,
    /// Clock, randomness, metrics, properties, shared data.
    pub env: &'a dyn Env,
}
