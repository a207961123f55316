//! Carries a [`Filter`] through Envoy's callbacks; the one owner of Envoy's quirks.
//!
//! Numbers in brackets, as in `[rule 3]`, are the host rules of ARCHITECTURE.md. Every one of them
//! holds here for every plugin, so none of them can be broken from a plugin.

mod callout;
mod reply;
mod request;
mod response;

use std::rc::Rc;

use super::env::{Body, Host, HostError, LogLevel, Map, MetricKind};
use super::{CallAnswer, End, Filter, RequestBody, RequestCx, Start, StreamCx};
use crate::config::{self, ConfigError, RuleSet, Selected, Target, Variables};
use crate::http::{Fault, Head};

pub(super) use callout::read_answer;

/// What Envoy is told at the end of a callback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Go on to the next filter.
    Continue,
    /// Hold what this callback was about.
    Pause,
}

/// A configured plugin: what all its exchanges share.
pub struct Plugin<F: Filter> {
    rules: RuleSet<F::Config>,
}

impl<F: Filter> Plugin<F> {
    /// Parses and compiles a configuration, and tells the operator what is wrong with it.
    ///
    /// # Errors
    /// Nothing in it is usable; Envoy must refuse it.
    pub fn configure(bytes: &[u8], variables: Variables<'_>, host: &dyn Host) -> Result<Self, ConfigError> {
        let loaded = match config::load(bytes, variables, &mut |section| F::configure(section)) {
            Ok(loaded) => loaded,
            Err(error) => {
                host.log(LogLevel::Error, format_args!("{}: {error}", F::NAME));
                return Err(error);
            }
        };
        for warning in &loaded.warnings {
            host.log(LogLevel::Warn, format_args!("{}: {warning}", F::NAME));
        }
        for error in &loaded.errors {
            host.log(LogLevel::Error, format_args!("{}: {error}", F::NAME));
        }
        let name = format!("{}_config_errors", F::NAME.replace('-', "_"));
        if let Some(gauge) = host.metric(MetricKind::Gauge, &name) {
            host.record(gauge, u64::try_from(loaded.errors.len()).unwrap_or(u64::MAX));
        }
        for config in loaded.rules.configs() {
            F::loaded(config, host);
        }
        Ok(Self { rules: loaded.rules })
    }

    /// Every config object that is in service.
    pub(super) fn configs(&self) -> impl Iterator<Item = &Rc<F::Config>> {
        self.rules.configs()
    }
}

/// One exchange of one plugin, from the first request callback to the last of all.
pub struct Exchange<F: Filter> {
    plugin: Rc<Plugin<F>>,
    filter: Option<F>,
    request: Head,
    response: Head,
    stage: Stage,
    limit: usize,
    /// What a watched request body has grown to.
    so_far: Vec<u8>,
    /// What is done with a request body that passes. No stage: a response may begin meanwhile.
    request_passing: Passing,
    /// The response is to be shown to the filter.
    wants_response: bool,
    /// Path or authority were changed, so that Envoy chooses the route again.
    readdressed: bool,
    /// The response came to its end.
    finished: bool,
    /// Some of the response's body waits in Envoy.
    waits: bool,
    /// The upstream's response has begun.
    responds: bool,
    /// The head of the response has left, though its body is held.
    led: bool,
    /// How much of a response that begins the filter has seen.
    opened: usize,
    /// Body of the answer that takes the place of the response; its head is `response` then.
    taken: Option<Vec<u8>>,
    /// The head that Envoy has, where it is not `response`.
    replaced: Option<Box<Head>>,
    /// The answer to a call, until the next piece of the body comes.
    answer: Option<Box<(Call, CallAnswer)>>,
}

/// What is done with the pieces of a request body whose head has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Passing {
    /// Nothing.
    Unread,
    /// The filter sees them.
    Observed,
    /// The filter rewrites them.
    Rewritten,
}

/// Where an exchange is. One value for both directions: while a request is held no upstream response
/// can come, and once a response came no request callback matters any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// No request head yet.
    New,
    /// The plugin has nothing (more) to do: everything passes.
    Passing,
    /// The request head waits for the body.
    RequestHeld,
    /// The same, but the filter sees the body grow.
    RequestWatched,
    /// The request has left; the response is awaited.
    Requested,
    /// The response head waits for the body.
    ResponseHeld,
    /// The response head waits for as much of the body as says that it may go.
    ResponseOpening,
    /// A held half waits for a callout's answer.
    Calling(Call),
    /// The answer is there, and waits for the next piece of the body.
    Answered,
    /// The response is rewritten as it comes.
    Streaming,
    /// The response passes as it comes, and the filter sees it.
    Observing,
    /// The response has been dealt with.
    Responded,
    /// We answered; what comes back through the response callbacks is our own reply.
    Replied,
    /// Another answer takes the place of the response as soon as there is a body to write it into.
    Replacing,
    /// It did: what is left of the response's own body goes nowhere.
    Dropping,
    /// It did as a local reply, and comes back in the same way.
    Replaced,
}

/// A callout that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Call {
    token: u32,
    step: Step,
    has_body: bool,
    max_answer_bytes: usize,
}

/// The step of an exchange that asked for a callout, and hears of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Request,
    ResponseHead,
    Response,
}

impl<F: Filter> Exchange<F> {
    /// An exchange that has seen nothing yet.
    #[must_use]
    pub fn new(plugin: Rc<Plugin<F>>) -> Self {
        Self {
            plugin,
            filter: None,
            request: Head::default(),
            response: Head::default(),
            stage: Stage::New,
            limit: usize::MAX,
            so_far: Vec::new(),
            request_passing: Passing::Unread,
            wants_response: false,
            readdressed: false,
            finished: false,
            waits: false,
            responds: false,
            led: false,
            opened: 0,
            taken: None,
            replaced: None,
            answer: None,
        }
    }

    /// The request head arrived. `end`: no body follows.
    pub fn request_head(&mut self, host: &dyn Host, end: bool) -> Action {
        self.stage = Stage::Passing;
        // [rule 6] Only the whole map, as bytes: one odd byte in a header must not matter.
        let Ok(pairs) = host.pairs(Map::Request) else { return Action::Continue };
        self.request = Head::from_pairs(pairs);
        let selected = self.plugin.rules.select(&Routed { head: &self.request, host });
        let config = match selected {
            Selected::Inactive => return Action::Continue,
            Selected::Broken if !F::BROKEN_CONFIG_REFUSES => return Action::Continue,
            Selected::Broken => {
                return self
                    .refuse(host, &Fault::config("the rule that matches is broken, see the load error"));
            }
            Selected::Config(config) => config,
        };
        let mut cx = RequestCx { head: &mut self.request, has_body: !end, env: host };
        let (filter, body, response) = match F::start(&config, &mut cx) {
            Ok(Start::Inactive) => return Action::Continue,
            Ok(Start::Run { filter, body, response }) => (filter, body, response),
            Ok(Start::Reply(reply)) => return self.reply(host, &reply),
            Err(fault) => return self.refuse(host, &fault),
        };
        self.filter = Some(filter);
        self.wants_response = response;
        let (limit, stage) = match body {
            RequestBody::Pass => return self.release_request(host, None),
            RequestBody::Whole { limit } => (limit, Stage::RequestHeld),
            RequestBody::Watched { limit } => (limit, Stage::RequestWatched),
            RequestBody::Chunks if end || self.is_upgrade() => (usize::MAX, Stage::RequestHeld),
            RequestBody::Chunks => {
                // [rule 3] The length of a rewritten body is not known beforehand.
                self.request.remove("content-length");
                return self.release_passing(host, Passing::Rewritten);
            }
            RequestBody::Observed if end || self.is_upgrade() => return self.release_request(host, None),
            RequestBody::Observed => return self.release_passing(host, Passing::Observed),
        };
        self.limit = limit;
        if self.is_upgrade() {
            // An upgraded connection has no end to wait for: holding its head would hang the handshake. Only
            // a request that brings something of its own may not pass unread in this way.
            return match self.request.get(":method") {
                Some(b"GET" | b"CONNECT") => self.release_request(host, None),
                _ => self.refuse(
                    host,
                    &Fault::client(
                        400,
                        "upgrade_with_body",
                        "a request that upgrades its connection has no body of its own",
                    ),
                ),
            };
        }
        if end {
            // [rule 1] Nothing else will come after this callback, so it must not pause for more.
            return self.whole_request(host, Vec::new(), false);
        }
        let is_whole = stage == Stage::RequestHeld;
        if is_whole && self.request.content_length().is_some_and(|length| length > limit as u64) {
            return self.request_too_large(host);
        }
        self.stage = stage;
        Action::Pause
    }

    /// Some of the request body arrived; `size` bytes wait in Envoy's buffer. `end`: that is all.
    pub fn request_body(&mut self, host: &dyn Host, size: usize, end: bool) -> Action {
        match self.request_passing {
            Passing::Rewritten => return self.request_chunk(host, size, end),
            Passing::Observed => return self.observe_request(host, size, end),
            Passing::Unread => {}
        }
        match self.stage {
            // [rule 2] A Continue from here would release the head before the answer is back. While the
            // response waits for one, what is left of the request goes on.
            Stage::Calling(call) if call.step == Step::Request => Action::Pause,
            Stage::Replied => Action::Pause,
            Stage::RequestWatched => self.watched_request(host, size, end),
            Stage::RequestHeld if size > self.limit => self.request_too_large(host),
            Stage::RequestHeld if end => self.buffered_request(host, size),
            Stage::RequestHeld => Action::Pause,
            _ => Action::Continue,
        }
    }

    /// The request ended with trailers. [rule 11] Then no body callback ever says `end`.
    pub fn request_trailers(&mut self, host: &dyn Host) -> Action {
        match self.request_passing {
            Passing::Rewritten => return self.last_request_chunk(host),
            Passing::Observed => return self.observe_request(host, 0, true),
            Passing::Unread => {}
        }
        match self.stage {
            Stage::Calling(call) if call.step == Step::Request => Action::Pause,
            Stage::Replied => Action::Pause,
            Stage::RequestHeld => self.buffered_request(host, self.limit),
            Stage::RequestWatched => self.grown_request(host),
            _ => Action::Continue,
        }
    }

    /// A response head arrived. `end`: no body follows.
    pub fn response_head(&mut self, host: &dyn Host, end: bool) -> Action {
        self.finished |= end;
        match self.stage {
            Stage::Requested => {}
            // Our own reply, or one that Envoy or another filter gave while we still held the request.
            Stage::Replied | Stage::Replaced => return Action::Continue,
            _ => {
                self.stage = Stage::Passing;
                return Action::Continue;
            }
        }
        if end && self.readdressed {
            self.report_lost_route(host);
        }
        if !F::SEES_RESPONSES || !self.wants_response {
            self.stage = Stage::Responded;
            return Action::Continue;
        }
        let Ok(pairs) = host.pairs(Map::Response) else {
            self.stage = Stage::Responded;
            return Action::Continue;
        };
        self.response = Head::from_pairs(pairs);
        self.responds = true;
        self.ask(host, !end)
    }

    /// Some of the response body arrived. While held, `size` counts all of it; streamed, this piece.
    pub fn response_body(&mut self, host: &dyn Host, size: usize, end: bool) -> Action {
        self.finished |= end;
        match self.stage {
            _ if !F::SEES_RESPONSES => Action::Continue,
            Stage::Calling(_) if size > self.limit && self.taken.is_none() => self.let_go(host),
            Stage::Answered if size > self.limit && self.taken.is_none() => self.let_go(host),
            Stage::Calling(_) => {
                self.waits = true;
                Action::Pause
            }
            Stage::Answered => {
                self.waits = true;
                self.resume_in_body(host)
            }
            Stage::Replacing => {
                let body = self.taken.take().unwrap_or_default();
                self.write_replacement(host, &body)
            }
            Stage::Dropping => {
                if size > 0
                    && let Err(error) = host.replace_body(Body::Response, &[])
                {
                    host.log(LogLevel::Error, format_args!("{}: a piece was not dropped: {error}", F::NAME));
                }
                Action::Continue
            }
            Stage::ResponseHeld if size > self.limit => {
                self.waits = true;
                self.refuse(host, &self.response_too_large())
            }
            Stage::ResponseHeld if end => self.buffered_response(host, size),
            Stage::ResponseHeld => Action::Pause,
            Stage::ResponseOpening => self.opening(host, size, end),
            Stage::Streaming => {
                self.chunk(host, size, end);
                Action::Continue
            }
            Stage::Observing => self.observe_response(host, size, end),
            _ => Action::Continue,
        }
    }

    /// The response ended with trailers. [rule 11]
    pub fn response_trailers(&mut self, host: &dyn Host) -> Action {
        self.finished = true;
        match self.stage {
            _ if !F::SEES_RESPONSES => Action::Continue,
            Stage::Calling(_) => {
                self.waits = true;
                Action::Pause
            }
            Stage::ResponseHeld => self.buffered_response(host, self.limit),
            Stage::ResponseOpening => self.opening(host, self.opened, true),
            Stage::Observing => self.observe_response(host, 0, true),
            Stage::Answered => self.resume_in_body(host),
            Stage::Replacing if self.led => Action::Continue,
            Stage::Replacing => {
                // No body came, and none can be written here.
                let body = self.taken.take().unwrap_or_default();
                self.reply_with(host, &body)
            }
            Stage::Streaming => {
                self.stage = Stage::Responded;
                let mut rest = Vec::new();
                self.with_chunk(host, &[], true, &mut rest);
                if rest.is_empty() {
                    return Action::Continue;
                }
                // The body buffer is gone by now; a write would trap.
                if self.filter.as_ref().is_some_and(Filter::has_broken_response) {
                    // The head has left, so Envoy can only break off: what the client has got must not look complete.
                    return self.refuse(host, &Fault::upstream("stream_incomplete", "a stream broke off"));
                }
                host.log(LogLevel::Warn, format_args!(
                    "{}: {} bytes at the end of a streamed response were lost because it ended with trailers",
                    F::NAME, rest.len()));
                Action::Continue
            }
            _ => Action::Continue,
        }
    }

    /// A callout was answered.
    pub fn call_answer(&mut self, host: &dyn Host, token: u32, headers: usize, body_size: usize) {
        let Stage::Calling(call) = self.stage else { return };
        if call.token != token {
            return;
        }
        let answer = read_answer(host, headers, body_size, call.max_answer_bytes);
        if F::SEES_RESPONSES && call.step == Step::ResponseHead && self.waits && !self.finished {
            // [rule 5] A part of the body waits. If it were resumed from here, Envoy would show us, in the
            // place of the next piece, what another filter holds.
            self.stage = Stage::Answered;
            self.answer = Some(Box::new((call, answer)));
            return;
        }
        // [rule 5] The phase is paused by our own Pause and not answered: resume it once, and only
        // if the step let it go.
        let action = self.answered(host, call.step, answer, call.has_body);
        if action == Action::Continue {
            let body = if call.step == Step::Request { Body::Request } else { Body::Response };
            if let Err(error) = host.resume(body) {
                host.log(LogLevel::Error, format_args!("{}: the host refused to resume: {error}", F::NAME));
            }
        }
    }

    /// The exchange is over. Safe to call again: the filter hears of it once.
    pub fn end(&mut self, host: &dyn Host) {
        let Some(filter) = self.filter.take() else { return };
        if !F::SEES_RESPONSES {
            return;
        }
        let how = match self.stage {
            Stage::Replied => End::Replied,
            Stage::Replaced => End::Complete,
            _ if self.finished => End::Complete,
            _ => End::Aborted,
        };
        self.stage = Stage::Passing;
        filter.end(&StreamCx { request: &self.request, response: &self.response, env: host }, how);
    }

    fn is_upgrade(&self) -> bool {
        self.request.has("upgrade") || self.request.get(":method") == Some(b"CONNECT")
    }
}

/// A piece that could not be looked at passes all the same.
fn report_unread(host: &dyn Host, name: &str, observed: Result<(), HostError>) {
    if let Err(error) = observed {
        host.log(LogLevel::Warn, format_args!("{name}: a piece of a body was not seen: {error}"));
    }
}

/// Head first: a body write that fails must not leave with the old length.
fn apply(host: &dyn Host, map: Map, which: Body, head: &Head, body: Option<&[u8]>) -> Result<(), HostError> {
    for change in head.changes() {
        host.change(map, &change)?;
    }
    match body {
        Some(body) => host.replace_body(which, body),
        None => Ok(()),
    }
}

/// What rules match on, asked of the host only where a rule needs it.
struct Routed<'a> {
    head: &'a Head,
    host: &'a dyn Host,
}

impl Routed<'_> {
    fn text(&self, path: &[&str]) -> Option<String> {
        String::from_utf8(self.host.property(path)?).ok()
    }
}

impl Target for Routed<'_> {
    fn host(&self) -> Option<String> {
        self.head.get_str(":authority").map(Into::into)
    }

    fn route(&self) -> Option<String> {
        self.text(&["xds", "route_name"])
    }

    fn cluster(&self) -> Option<String> {
        self.text(&["xds", "cluster_name"])
    }
}
