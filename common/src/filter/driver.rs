//! Carries a [`Filter`] through Envoy's callbacks; the one owner of Envoy's quirks.
//!
//! Numbers in brackets, as in `[rule 3]`, are the host rules of ARCHITECTURE.md. Every one of them
//! holds here for every plugin, so none of them can be broken from a plugin.

use std::rc::Rc;

use super::env::{Body, Host, HostError, LogLevel, Map, MetricKind};
use super::{
    CallAnswer, Callout, End, Filter, Flow, Growth, RequestBody, RequestCx, ResponseBody, ResponseCx, Start,
    StreamCx,
};
use crate::config::{self, ConfigError, RuleSet, Selected, Target, Variables};
use crate::http::{Fault, Head, LocalReply, Side};

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
        Ok(Self { rules: loaded.rules })
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
    /// The response is to be shown to the filter.
    wants_response: bool,
    /// Path or authority were changed, so that Envoy chooses the route again.
    readdressed: bool,
    /// The response came to its end.
    finished: bool,
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
    /// A held half waits for a callout's answer.
    Calling(Call),
    /// The response is rewritten as it comes.
    Streaming,
    /// The response has been dealt with.
    Responded,
    /// We answered; what comes back through the response callbacks is our own reply.
    Replied,
}

/// A callout that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Call {
    token: u32,
    half: Half,
    has_body: bool,
    max_answer_bytes: usize,
}

/// Which half of an exchange a step belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Half {
    Request,
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
            wants_response: false,
            readdressed: false,
            finished: false,
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
        };
        self.limit = limit;
        if self.is_tunnel() {
            // An upgraded connection has no end to wait for: holding its head would hang the handshake.
            return self.release_request(host, None);
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
        match self.stage {
            // [rule 2] A Continue from here would release the head before the answer is back.
            Stage::Calling(_) | Stage::Replied => Action::Pause,
            Stage::RequestWatched => self.watched_request(host, size, end),
            Stage::RequestHeld if size > self.limit => self.request_too_large(host),
            Stage::RequestHeld if end => self.buffered_request(host, size),
            Stage::RequestHeld => Action::Pause,
            _ => Action::Continue,
        }
    }

    /// The request ended with trailers. [rule 11] Then no body callback ever says `end`.
    pub fn request_trailers(&mut self, host: &dyn Host) -> Action {
        match self.stage {
            Stage::Calling(_) | Stage::Replied => Action::Pause,
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
            Stage::Replied => return Action::Continue,
            _ => {
                self.stage = Stage::Passing;
                return Action::Continue;
            }
        }
        if end && self.readdressed {
            self.report_lost_route(host);
        }
        if !self.wants_response {
            self.stage = Stage::Responded;
            return Action::Continue;
        }
        let Ok(pairs) = host.pairs(Map::Response) else {
            self.stage = Stage::Responded;
            return Action::Continue;
        };
        self.response = Head::from_pairs(pairs);
        let Some(filter) = self.filter.as_mut() else { return Action::Continue };
        let mut cx =
            ResponseCx { request: &self.request, head: &mut self.response, has_body: !end, env: host };
        match filter.response_head(&mut cx) {
            Err(fault) => self.refuse(host, &fault),
            Ok(ResponseBody::Pass) => self.release_response(host, None, Stage::Responded),
            Ok(ResponseBody::Chunks) => {
                // [rule 3] The length of a rewritten stream is not known beforehand.
                self.response.remove("content-length");
                self.release_response(host, None, Stage::Streaming)
            }
            // [rule 1] HEAD, 204 and 304 have no body: nothing else will come.
            Ok(ResponseBody::Whole { .. }) if end => self.whole_response(host, Vec::new(), false),
            Ok(ResponseBody::Whole { limit }) => {
                self.limit = limit;
                self.stage = Stage::ResponseHeld;
                Action::Pause
            }
        }
    }

    /// Some of the response body arrived. While held, `size` counts all of it; streamed, this piece.
    pub fn response_body(&mut self, host: &dyn Host, size: usize, end: bool) -> Action {
        self.finished |= end;
        match self.stage {
            Stage::Calling(_) => Action::Pause,
            Stage::ResponseHeld if size > self.limit => self.refuse(host, &self.response_too_large()),
            Stage::ResponseHeld if end => self.buffered_response(host, size),
            Stage::ResponseHeld => Action::Pause,
            Stage::Streaming => {
                self.chunk(host, size, end);
                Action::Continue
            }
            _ => Action::Continue,
        }
    }

    /// The response ended with trailers. [rule 11]
    pub fn response_trailers(&mut self, host: &dyn Host) -> Action {
        self.finished = true;
        match self.stage {
            Stage::Calling(_) => Action::Pause,
            Stage::ResponseHeld => self.buffered_response(host, self.limit),
            Stage::Streaming => {
                self.stage = Stage::Responded;
                let mut rest = Vec::new();
                self.with_chunk(host, &[], true, &mut rest);
                if !rest.is_empty() {
                    // The body buffer is gone by now; a write would trap.
                    host.log(LogLevel::Warn, format_args!(
                        "{}: {} bytes at the end of a streamed response were lost because it ended with trailers",
                        F::NAME, rest.len()));
                }
                Action::Continue
            }
            _ => Action::Continue,
        }
    }

    /// A callout was answered. [rule 8] With `headers == 0` there is nothing to read.
    pub fn call_answer(&mut self, host: &dyn Host, token: u32, headers: usize, body_size: usize) {
        let Stage::Calling(call) = self.stage else { return };
        if call.token != token {
            return;
        }
        let answer = if headers == 0 {
            CallAnswer::Failed(HostError::Empty)
        } else {
            match host.pairs(Map::Call) {
                Ok(pairs) => CallAnswer::Answered {
                    head: Head::from_pairs(pairs),
                    body: read(host, Body::Call, 0, body_size.min(call.max_answer_bytes)).unwrap_or_default(),
                },
                Err(error) => CallAnswer::Failed(error),
            }
        };
        // [rule 5] The phase is paused by our own Pause and not answered: resume it once, and only
        // if the step let it go.
        let action = self.answered(host, call.half, answer, call.has_body);
        if action == Action::Continue {
            let body = if call.half == Half::Request { Body::Request } else { Body::Response };
            if let Err(error) = host.resume(body) {
                host.log(LogLevel::Error, format_args!("{}: the host refused to resume: {error}", F::NAME));
            }
        }
    }

    /// The exchange is over. Safe to call again: the filter hears of it once.
    pub fn end(&mut self, host: &dyn Host) {
        let Some(filter) = self.filter.take() else { return };
        let how = match self.stage {
            Stage::Replied => End::Replied,
            _ if self.finished => End::Complete,
            _ => End::Aborted,
        };
        self.stage = Stage::Passing;
        filter.end(&StreamCx { request: &self.request, response: &self.response, env: host }, how);
    }

    fn is_tunnel(&self) -> bool {
        self.request.has("upgrade") || self.request.get(":method") == Some(b"CONNECT")
    }

    fn request_too_large(&mut self, host: &dyn Host) -> Action {
        let Some(filter) = self.filter.as_mut() else { return Action::Continue };
        let mut cx = RequestCx { head: &mut self.request, has_body: true, env: host };
        match filter.request_too_large(&mut cx, self.limit) {
            Ok(()) => self.release_request(host, None),
            Err(fault) => self.refuse(host, &fault),
        }
    }

    /// Only what is new is read, so that a body in many pieces is not copied over and over. Of a piece that goes
    /// over the limit the filter sees what is under it, and has the last word then.
    fn watched_request(&mut self, host: &dyn Host, size: usize, end: bool) -> Action {
        let known = self.so_far.len();
        let is_too_large = size > self.limit;
        match read(host, Body::Request, known, size.min(self.limit).saturating_sub(known)) {
            Ok(more) if known == 0 => self.so_far = more,
            Ok(more) => self.so_far.extend_from_slice(&more),
            Err(error) => return self.refuse(host, &unreadable(error)),
        }
        if end && !is_too_large {
            return self.grown_request(host);
        }
        let Some(filter) = self.filter.as_mut() else { return Action::Continue };
        let mut cx = RequestCx { head: &mut self.request, has_body: true, env: host };
        match filter.request_growing(&mut cx, &self.so_far) {
            Ok(Growth::Wait) if is_too_large => self.request_too_large(host),
            Ok(Growth::Wait) => Action::Pause,
            Ok(Growth::Release) => {
                self.so_far = Vec::new();
                self.release_request(host, None)
            }
            Err(fault) => self.refuse(host, &fault),
        }
    }

    fn grown_request(&mut self, host: &dyn Host) -> Action {
        let body = std::mem::take(&mut self.so_far);
        let has_body = !body.is_empty();
        self.whole_request(host, body, has_body)
    }

    fn buffered_request(&mut self, host: &dyn Host, size: usize) -> Action {
        match read(host, Body::Request, 0, size) {
            Ok(body) => {
                let has_body = !body.is_empty();
                self.whole_request(host, body, has_body)
            }
            Err(error) => self.refuse(host, &unreadable(error)),
        }
    }

    fn whole_request(&mut self, host: &dyn Host, body: Vec<u8>, has_body: bool) -> Action {
        let Some(filter) = self.filter.as_mut() else { return Action::Continue };
        let mut cx = RequestCx { head: &mut self.request, has_body, env: host };
        let flow = filter.request_body(&mut cx, body);
        self.follow(host, Half::Request, flow, has_body)
    }

    fn buffered_response(&mut self, host: &dyn Host, size: usize) -> Action {
        match read(host, Body::Response, 0, size) {
            Ok(body) => {
                let has_body = !body.is_empty();
                self.whole_response(host, body, has_body)
            }
            Err(error) => self.refuse(host, &Fault::internal(format!("response_body_unreadable:{error}"))),
        }
    }

    fn whole_response(&mut self, host: &dyn Host, body: Vec<u8>, has_body: bool) -> Action {
        let Some(filter) = self.filter.as_mut() else { return Action::Continue };
        let mut cx = ResponseCx { request: &self.request, head: &mut self.response, has_body, env: host };
        let flow = filter.response_body(&mut cx, body);
        self.follow(host, Half::Response, flow, has_body)
    }

    fn answered(&mut self, host: &dyn Host, half: Half, answer: CallAnswer, has_body: bool) -> Action {
        let Some(filter) = self.filter.as_mut() else { return Action::Continue };
        let flow = match half {
            Half::Request => {
                let mut cx = RequestCx { head: &mut self.request, has_body, env: host };
                filter.request_call(&mut cx, answer)
            }
            Half::Response => {
                let mut cx =
                    ResponseCx { request: &self.request, head: &mut self.response, has_body, env: host };
                filter.response_call(&mut cx, answer)
            }
        };
        self.follow(host, half, flow, has_body)
    }

    fn follow(&mut self, host: &dyn Host, half: Half, flow: Result<Flow, Fault>, has_body: bool) -> Action {
        match (half, flow) {
            (_, Err(fault)) => self.refuse(host, &fault),
            (_, Ok(Flow::Reply(reply))) => self.reply(host, &reply),
            (_, Ok(Flow::Call(callout))) => self.call(host, half, &callout, has_body),
            (Half::Request, Ok(Flow::Pass)) => self.release_request(host, None),
            (Half::Response, Ok(Flow::Pass)) => self.release_response(host, None, Stage::Responded),
            // [rule 4] A write over the buffer limit would bring Envoy itself down.
            (Half::Request, Ok(Flow::Send(body))) if body.len() > self.limit => {
                self.refuse(host, &Fault::too_large(self.limit))
            }
            (Half::Response, Ok(Flow::Send(body))) if body.len() > self.limit => {
                self.refuse(host, &self.response_too_large())
            }
            (_, Ok(Flow::Send(_))) if !has_body => self.refuse(host, &Fault::internal("no_body_to_replace")),
            (Half::Request, Ok(Flow::Send(body))) => self.release_request(host, Some(&body)),
            (Half::Response, Ok(Flow::Send(body))) => {
                self.release_response(host, Some(&body), Stage::Responded)
            }
        }
    }

    fn call(&mut self, host: &dyn Host, half: Half, callout: &Callout, has_body: bool) -> Action {
        match host.call(callout) {
            Ok(token) => {
                let max_answer_bytes = callout.max_answer_bytes;
                self.stage = Stage::Calling(Call { token, half, has_body, max_answer_bytes });
                Action::Pause
            }
            // [rule 9] No callback comes for a call that could not start: the filter hears of it now.
            Err(error) => self.answered(host, half, CallAnswer::Failed(error), has_body),
        }
    }

    fn release_request(&mut self, host: &dyn Host, body: Option<&[u8]>) -> Action {
        if self.wants_response {
            // The answer must be readable; Envoy does not decode it for a filter.
            self.request.remove("accept-encoding");
        }
        if let Some(body) = body {
            // [rule 3] A stale length would leave bytes on the pooled upstream connection, where they
            // would start the next client's request.
            self.request.set("content-length", body.len().to_string());
            self.request.remove("transfer-encoding");
        }
        self.readdressed =
            self.request.changes().any(|change| matches!(change.name, b":path" | b":authority"));
        match apply(host, Map::Request, Body::Request, &self.request, body) {
            Ok(()) => {
                self.stage = Stage::Requested;
                Action::Continue
            }
            Err(error) => self.refuse(host, &Fault::internal(format!("request_not_writable:{error}"))),
        }
    }

    fn release_response(&mut self, host: &dyn Host, body: Option<&[u8]>, next: Stage) -> Action {
        if let Some(body) = body {
            self.response.set("content-length", body.len().to_string());
            self.response.remove("transfer-encoding");
        }
        match apply(host, Map::Response, Body::Response, &self.response, body) {
            Ok(()) => {
                self.stage = next;
                Action::Continue
            }
            Err(error) => self.refuse(host, &Fault::internal(format!("response_not_writable:{error}"))),
        }
    }

    fn chunk(&mut self, host: &dyn Host, size: usize, end: bool) {
        let chunk = match read(host, Body::Response, 0, size) {
            Ok(chunk) => chunk,
            Err(error) => {
                host.log(
                    LogLevel::Error,
                    format_args!("{}: a response chunk is unreadable: {error}", F::NAME),
                );
                return;
            }
        };
        if end {
            self.stage = Stage::Responded;
        }
        let mut out = Vec::with_capacity(chunk.len());
        self.with_chunk(host, &chunk, end, &mut out);
        if out == chunk {
            return;
        }
        // Unbuffered, so the limit of [rule 4] does not apply; whole, so [rule 10] holds.
        if let Err(error) = host.replace_body(Body::Response, &out) {
            host.log(LogLevel::Error, format_args!("{}: a response chunk is not writable: {error}", F::NAME));
        }
    }

    fn with_chunk(&mut self, host: &dyn Host, chunk: &[u8], end: bool, out: &mut Vec<u8>) {
        let Some(filter) = self.filter.as_mut() else { return };
        let cx = StreamCx { request: &self.request, response: &self.response, env: host };
        filter.response_chunk(&cx, chunk, end, out);
    }

    fn response_too_large(&self) -> Fault {
        Fault::upstream(
            "response_too_large",
            format!("response is larger than the limit of {} bytes", self.limit),
        )
    }

    /// Answers with a fault, in the client's own protocol, and tells the operator.
    fn refuse(&mut self, host: &dyn Host, fault: &Fault) -> Action {
        let level = match fault.side {
            Side::Client => LogLevel::Debug,
            Side::Upstream => LogLevel::Warn,
            Side::Config | Side::Internal => LogLevel::Error,
        };
        host.log(
            level,
            format_args!("{}: {} {}: {} {}", F::NAME, fault.status, fault.code, fault.message, fault.detail),
        );
        let reply = F::refuse(&self.request, fault);
        self.reply(host, &reply)
    }

    /// [rule 5] After a reply nothing is resumed: the stage says so for good.
    fn reply(&mut self, host: &dyn Host, reply: &LocalReply) -> Action {
        self.stage = Stage::Replied;
        if let Err(error) = host.reply(reply) {
            host.log(LogLevel::Error, format_args!("{}: the host refused a local reply: {error}", F::NAME));
        }
        Action::Pause
    }

    /// A layout that routes by what we change answers 404 to everything: say why.
    fn report_lost_route(&self, host: &dyn Host) {
        if host.property(&["response", "code_details"]).as_deref() == Some(b"route_not_found") {
            host.log(LogLevel::Error, format_args!(
                "{}: no route matches after the rewrite to {}{}. Envoy chooses the route again when path or \
                 authority change: use one virtual host with domains [\"*\"] and routes that match neither \
                 (see envoy/gateway.yaml), set pinCluster, or run this filter in the cluster's upstream chain",
                F::NAME,
                self.request.get_str(":authority").unwrap_or("?"),
                self.request.get_str(":path").and_then(|path| path.split('?').next()).unwrap_or("?"),
            ));
        }
    }
}

fn unreadable(error: HostError) -> Fault {
    Fault::internal(format!("request_body_unreadable:{error}"))
}

fn read(host: &dyn Host, body: Body, start: usize, size: usize) -> Result<Vec<u8>, HostError> {
    if size == 0 {
        return Ok(Vec::new());
    }
    match host.body(body, start, size) {
        Err(HostError::NotFound | HostError::Empty) => Ok(Vec::new()),
        read => read,
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
