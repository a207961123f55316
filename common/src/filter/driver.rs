//! Carries a [`Filter`] through Envoy's callbacks; the one owner of Envoy's quirks.
//!
//! Numbers in brackets, as in `[rule 3]`, are the host rules of ARCHITECTURE.md. Every one of them
//! holds here for every plugin, so none of them can be broken from a plugin.

use std::rc::Rc;

use super::env::{Body, Host, HostError, LogLevel, Map, MetricKind};
use super::rewrite::{Broken, observe, read, rewrite};
use super::{
    CallAnswer, Callout, End, Filter, Flow, Growth, Opening, RequestBody, RequestCx, ResponseBody,
    ResponseCx, Start, StreamCx,
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
            Stage::Replacing => {
                // No body came, and none can be written here.
                let body = self.taken.take().unwrap_or_default();
                self.reply_with(host, &body)
            }
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

    /// Goes on with the answer that has waited for this callback of the response's body.
    fn resume_in_body(&mut self, host: &dyn Host) -> Action {
        let Some(answer) = self.answer.take() else { return Action::Continue };
        let (call, answer) = *answer;
        self.answered(host, call.step, answer, call.has_body)
    }

    /// The exchange is over. Safe to call again: the filter hears of it once.
    pub fn end(&mut self, host: &dyn Host) {
        let Some(filter) = self.filter.take() else { return };
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

    fn release_passing(&mut self, host: &dyn Host, passing: Passing) -> Action {
        let action = self.release_request(host, None);
        if action == Action::Continue {
            self.request_passing = passing;
        }
        action
    }

    fn observe_request(&mut self, host: &dyn Host, size: usize, end: bool) -> Action {
        if end {
            self.request_passing = Passing::Unread;
        }
        if let Some(filter) = self.filter.as_mut() {
            let cx = StreamCx { request: &self.request, response: &self.response, env: host };
            let mut see = |slice: &[u8], is_last: bool| filter.request_passes(&cx, slice, end && is_last);
            report_unread(host, F::NAME, observe(host, Body::Request, size, &mut see));
        }
        Action::Continue
    }

    fn observe_response(&mut self, host: &dyn Host, size: usize, end: bool) -> Action {
        if end {
            self.stage = Stage::Responded;
        }
        if let Some(filter) = self.filter.as_mut() {
            let cx = StreamCx { request: &self.request, response: &self.response, env: host };
            let mut see = |slice: &[u8], is_last: bool| filter.response_passes(&cx, slice, end && is_last);
            report_unread(host, F::NAME, observe(host, Body::Response, size, &mut see));
        }
        Action::Continue
    }

    fn request_chunk(&mut self, host: &dyn Host, size: usize, end: bool) -> Action {
        if end {
            self.request_passing = Passing::Unread;
        }
        let Some(filter) = self.filter.as_mut() else { return Action::Continue };
        let cx = StreamCx { request: &self.request, response: &self.response, env: host };
        let mut edit = |piece: &[u8], is_last: bool, out: &mut Vec<u8>| {
            filter.request_chunk(&cx, piece, end && is_last, out)
        };
        let fault = match rewrite(host, Body::Request, F::NAME, size, &mut edit) {
            Ok(()) => return Action::Continue,
            Err(Broken::Fault(fault)) => fault,
            Err(Broken::Host(error)) => Fault::internal(format!("request_chunk_not_rewritten:{error}")),
        };
        self.request_passing = Passing::Unread;
        self.refuse(host, &fault)
    }

    /// The body ended with trailers: its buffer is gone, so nothing can be sent any more.
    fn last_request_chunk(&mut self, host: &dyn Host) -> Action {
        self.request_passing = Passing::Unread;
        let Some(filter) = self.filter.as_mut() else { return Action::Continue };
        let mut rest = Vec::new();
        let cx = StreamCx { request: &self.request, response: &self.response, env: host };
        match filter.request_chunk(&cx, &[], true, &mut rest) {
            Ok(()) if rest.is_empty() => Action::Continue,
            Ok(()) => self.refuse(host, &Fault::internal("request_ended_with_trailers")),
            Err(fault) => self.refuse(host, &fault),
        }
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
        self.follow(host, Step::Request, flow, has_body)
    }

    /// Asks the filter about the head of a response, the upstream's or one taken in its place.
    fn ask(&mut self, host: &dyn Host, has_body: bool) -> Action {
        let Some(filter) = self.filter.as_mut() else { return Action::Continue };
        let mut cx = ResponseCx { request: &self.request, head: &mut self.response, has_body, env: host };
        let wanted = filter.response_head(&mut cx);
        self.grant(host, wanted, has_body)
    }

    /// Does with a response whose head is held what the filter wants with it.
    fn grant(&mut self, host: &dyn Host, wanted: Result<ResponseBody, Fault>, has_body: bool) -> Action {
        match wanted {
            Err(fault) => self.refuse(host, &fault),
            Ok(ResponseBody::Pass) => self.release_response(host, None, Stage::Responded),
            Ok(ResponseBody::Chunks) => {
                // [rule 3] The length of a rewritten stream is not known beforehand.
                self.response.remove("content-length");
                self.stream(host)
            }
            Ok(ResponseBody::Opening { limit }) => {
                self.limit = limit;
                self.response.remove("content-length");
                match self.taken.take() {
                    Some(body) => self.open(host, &body, true),
                    None if self.waits => self.opening(host, limit, self.finished),
                    None if self.finished => self.open(host, &[], true),
                    None => {
                        self.stage = Stage::ResponseOpening;
                        Action::Pause
                    }
                }
            }
            Ok(ResponseBody::Observed) => self.show(host),
            Ok(ResponseBody::Whole { limit }) => {
                self.limit = limit;
                match &self.taken {
                    Some(body) if body.len() > limit => self.refuse(host, &self.response_too_large()),
                    Some(body) => self.whole_response(host, body.clone(), !body.is_empty()),
                    None if self.finished && self.waits => self.buffered_response(host, limit),
                    // [rule 1] HEAD, 204 and 304 have no body: nothing else will come.
                    None if self.finished => self.whole_response(host, Vec::new(), false),
                    None if self.response.content_length().is_some_and(|length| length > limit as u64) => {
                        self.refuse(host, &self.response_too_large())
                    }
                    None => {
                        self.stage = Stage::ResponseHeld;
                        Action::Pause
                    }
                }
            }
            Ok(ResponseBody::Call { callout, limit }) => {
                self.limit = limit;
                self.call(host, Step::ResponseHead, &callout, has_body)
            }
            Ok(ResponseBody::Take { head, body }) => {
                let sent = std::mem::replace(&mut self.response, head);
                if self.taken.is_none() {
                    self.replaced = Some(Box::new(sent));
                }
                for name in CONNECTION_FIELDS {
                    self.response.remove(name);
                }
                let has_body = !body.is_empty();
                self.taken = Some(body);
                self.ask(host, has_body)
            }
            Ok(ResponseBody::Reply(reply)) => self.reply(host, &reply),
        }
    }

    /// Lets the head go, and shows the filter what of the body is there already.
    fn show(&mut self, host: &dyn Host) -> Action {
        let is_whole = self.finished || self.taken.is_some();
        if let Some(filter) = self.filter.as_mut() {
            let cx = StreamCx { request: &self.request, response: &self.response, env: host };
            if let Some(body) = self.taken.as_ref().filter(|body| !body.is_empty()) {
                filter.response_passes(&cx, body, true);
            } else if self.waits {
                let finished = self.finished;
                let mut see =
                    |slice: &[u8], is_last: bool| filter.response_passes(&cx, slice, finished && is_last);
                report_unread(host, F::NAME, observe(host, Body::Response, self.limit, &mut see));
            }
        }
        self.release_response(host, None, if is_whole { Stage::Responded } else { Stage::Observing })
    }

    /// Lets the head go, and shows the filter as a first piece what of the body has waited.
    fn stream(&mut self, host: &dyn Host) -> Action {
        if let Some(body) = &self.taken {
            let (body, mut out) = (body.clone(), Vec::new());
            self.with_chunk(host, &body, true, &mut out);
            self.taken = Some(out);
            return self.release_response(host, None, Stage::Responded);
        }
        if !self.waits {
            return self.release_response(host, None, Stage::Streaming);
        }
        let waiting = match read(host, Body::Response, 0, self.limit) {
            Ok(waiting) => waiting,
            Err(error) => {
                return self.refuse(host, &Fault::internal(format!("response_body_unreadable:{error}")));
            }
        };
        let mut out = Vec::with_capacity(waiting.len());
        self.with_chunk(host, &waiting, self.finished, &mut out);
        if out.len() > self.limit {
            return self.refuse(host, &self.response_too_large());
        }
        let changed = (out != waiting).then_some(out);
        let next = if self.finished { Stage::Responded } else { Stage::Streaming };
        match apply(host, Map::Response, Body::Response, &self.response, changed.as_deref()) {
            Ok(()) => {
                self.stage = next;
                Action::Continue
            }
            Err(error) => self.refuse(host, &Fault::internal(format!("response_not_writable:{error}"))),
        }
    }

    /// More of a response that begins has come; `size` counts all that waits.
    fn opening(&mut self, host: &dyn Host, size: usize, end: bool) -> Action {
        self.waits |= size > 0;
        match read(host, Body::Response, self.opened, size.saturating_sub(self.opened)) {
            Ok(piece) => {
                self.opened += piece.len();
                self.open(host, &piece, end)
            }
            Err(error) => self.refuse(host, &Fault::internal(format!("response_body_unreadable:{error}"))),
        }
    }

    /// Shows the filter more of a response that begins.
    fn open(&mut self, host: &dyn Host, piece: &[u8], end: bool) -> Action {
        let Some(filter) = self.filter.as_mut() else { return Action::Continue };
        let mut out = Vec::with_capacity(piece.len());
        let has_body = self.waits || !piece.is_empty();
        let mut cx = ResponseCx { request: &self.request, head: &mut self.response, has_body, env: host };
        let opening = match filter.response_opens(&mut cx, piece, end, &mut out) {
            Ok(opening) => opening,
            Err(fault) => return self.refuse(host, &fault),
        };
        if opening == Opening::Wait && !end {
            if self.opened >= self.limit {
                return self.refuse(host, &self.response_too_large());
            }
            self.stage = Stage::ResponseOpening;
            return Action::Pause;
        }
        if self.replaced.is_some() {
            // An answer that was taken in the response's place came whole.
            return self.replace(host, out);
        }
        if out.len() > self.limit {
            return self.refuse(host, &self.response_too_large());
        }
        let next = if end || opening == Opening::Pass { Stage::Responded } else { Stage::Streaming };
        match apply(host, Map::Response, Body::Response, &self.response, self.waits.then_some(out.as_slice()))
        {
            Ok(()) => {
                self.stage = next;
                Action::Continue
            }
            Err(error) => self.refuse(host, &Fault::internal(format!("response_not_writable:{error}"))),
        }
    }

    /// A response outgrew what may wait for a callout: it goes as it came, and the answer is too late.
    fn let_go(&mut self, host: &dyn Host) -> Action {
        host.log(
            LogLevel::Warn,
            format_args!(
                "{}: a response of more than {} bytes did not wait for the call made because of it",
                F::NAME,
                self.limit
            ),
        );
        self.release_response(host, None, Stage::Responded)
    }

    fn buffered_response(&mut self, host: &dyn Host, size: usize) -> Action {
        self.waits = true;
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
        self.follow(host, Step::Response, flow, has_body)
    }

    fn answered(&mut self, host: &dyn Host, step: Step, answer: CallAnswer, has_body: bool) -> Action {
        let Some(filter) = self.filter.as_mut() else { return Action::Continue };
        let flow = match step {
            Step::Request => {
                let mut cx = RequestCx { head: &mut self.request, has_body, env: host };
                filter.request_call(&mut cx, answer)
            }
            _ if !F::SEES_RESPONSES => return Action::Continue,
            Step::ResponseHead => {
                let mut cx =
                    ResponseCx { request: &self.request, head: &mut self.response, has_body, env: host };
                let wanted = filter.response_head_call(&mut cx, answer);
                return self.grant(host, wanted, has_body);
            }
            Step::Response => {
                let mut cx =
                    ResponseCx { request: &self.request, head: &mut self.response, has_body, env: host };
                filter.response_call(&mut cx, answer)
            }
        };
        self.follow(host, step, flow, has_body)
    }

    fn follow(&mut self, host: &dyn Host, step: Step, flow: Result<Flow, Fault>, has_body: bool) -> Action {
        match (step, flow) {
            (_, Err(fault)) => self.refuse(host, &fault),
            (_, Ok(Flow::Reply(reply))) => self.reply(host, &reply),
            (_, Ok(Flow::Call(callout))) => self.call(host, step, &callout, has_body),
            (Step::Request, Ok(Flow::Pass)) => self.release_request(host, None),
            _ if step != Step::Request && !F::SEES_RESPONSES => Action::Continue,
            (_, Ok(Flow::Pass)) => self.release_response(host, None, Stage::Responded),
            // [rule 4] A write over the buffer limit would bring Envoy itself down.
            (Step::Request, Ok(Flow::Send(body))) if body.len() > self.limit => {
                self.refuse(host, &Fault::too_large(self.limit))
            }
            (_, Ok(Flow::Send(body))) if body.len() > self.limit => {
                self.refuse(host, &self.response_too_large())
            }
            (_, Ok(Flow::Send(_))) if !has_body => self.refuse(host, &Fault::internal("no_body_to_replace")),
            (Step::Request, Ok(Flow::Send(body))) => self.release_request(host, Some(&body)),
            (_, Ok(Flow::Send(body))) => self.release_response(host, Some(&body), Stage::Responded),
        }
    }

    fn call(&mut self, host: &dyn Host, step: Step, callout: &Callout, has_body: bool) -> Action {
        match host.call(callout) {
            Ok(token) => {
                let max_answer_bytes = callout.max_answer_bytes;
                self.stage = Stage::Calling(Call { token, step, has_body, max_answer_bytes });
                Action::Pause
            }
            // [rule 9] No callback comes for a call that could not start: the filter hears of it now.
            Err(error) => self.answered(host, step, CallAnswer::Failed(error), has_body),
        }
    }

    fn release_request(&mut self, host: &dyn Host, body: Option<&[u8]>) -> Action {
        if F::SEES_RESPONSES && self.wants_response && !F::READS_ENCODED {
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
        if let Some(taken) = self.taken.take() {
            return self.replace(host, body.map_or(taken, <[u8]>::to_vec));
        }
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
        if end {
            self.stage = Stage::Responded;
        }
        let Some(filter) = self.filter.as_mut() else { return };
        let cx = StreamCx { request: &self.request, response: &self.response, env: host };
        let mut edit = |piece: &[u8], is_last: bool, out: &mut Vec<u8>| {
            filter.response_chunk(&cx, piece, end && is_last, out);
            Ok(())
        };
        if let Err(error) = rewrite(host, Body::Response, F::NAME, size, &mut edit) {
            host.log(
                LogLevel::Error,
                format_args!("{}: a response chunk is not rewritten: {error:?}", F::NAME),
            );
            // What was to be rewritten must not pass as it is.
            let _ = host.replace_body(Body::Response, &[]);
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

    /// Puts another answer in the place of the response. It is written over the response, so that the
    /// filters that it passes next see it like any other.
    fn replace(&mut self, host: &dyn Host, body: Vec<u8>) -> Action {
        match (self.waits, self.finished) {
            // [rule 4] What is there to be written over has been held.
            (true, _) if body.len() <= self.limit => self.write_replacement(host, &body),
            (false, false) => {
                self.taken = Some(body);
                self.stage = Stage::Replacing;
                Action::Pause
            }
            // Too large for that, or there is no body to write over.
            _ => self.reply_with(host, &body),
        }
    }

    fn write_replacement(&mut self, host: &dyn Host, body: &[u8]) -> Action {
        if !matches!(self.response.get(":status"), Some(b"204" | b"304")) {
            self.response.set("content-length", body.len().to_string());
        }
        let mut head = self.replaced.take().unwrap_or_default();
        head.replace_all(&self.response);
        match apply(host, Map::Response, Body::Response, &head, Some(body)) {
            Ok(()) => {
                self.stage = Stage::Dropping;
                Action::Continue
            }
            Err(error) => self.refuse(host, &Fault::internal(format!("response_not_writable:{error}"))),
        }
    }

    /// Answers with what took the place of the response.
    fn reply_with(&mut self, host: &dyn Host, body: &[u8]) -> Action {
        self.stage = Stage::Replaced;
        if let Err(error) = host.replace_response(&self.response, body) {
            host.log(
                LogLevel::Error,
                format_args!("{}: the host refused another response: {error}", F::NAME),
            );
        }
        Action::Pause
    }

    /// Writes a reply over the response, whose other fields stay, as if the upstream had sent it.
    fn overwrite(&mut self, host: &dyn Host, reply: &LocalReply) -> Action {
        // Should it fail, there is a local reply after all.
        self.responds = false;
        if self.replaced.is_none() {
            self.replaced = Some(Box::new(self.response.clone()));
        }
        for name in CONTENT_FIELDS {
            self.response.remove(name);
        }
        self.response.set(":status", reply.status.to_string());
        for (name, value) in &reply.headers {
            self.response.set(name, value.as_str());
        }
        if self.waits || !self.finished {
            return self.replace(host, reply.body.clone());
        }
        // There is no body that could be written over, and none can be added.
        self.response.remove("content-type");
        let mut head = self.replaced.take().unwrap_or_default();
        head.replace_all(&self.response);
        self.stage = Stage::Responded;
        if let Err(error) = apply(host, Map::Response, Body::Response, &head, None) {
            host.log(LogLevel::Error, format_args!("{}: a response is not written over: {error}", F::NAME));
        }
        Action::Continue
    }

    /// [rule 5] After a reply nothing is resumed: the stage says so for good.
    fn reply(&mut self, host: &dyn Host, reply: &LocalReply) -> Action {
        let is_open =
            !matches!(self.stage, Stage::Streaming | Stage::Observing | Stage::Responded | Stage::Dropping);
        if F::SEES_RESPONSES
            && self.responds
            && is_open
            && self.filter.as_ref().is_some_and(Filter::replies_in_place)
        {
            return self.overwrite(host, reply);
        }
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

/// A piece that could not be looked at passes all the same.
fn report_unread(host: &dyn Host, name: &str, observed: Result<(), HostError>) {
    if let Err(error) = observed {
        host.log(LogLevel::Warn, format_args!("{name}: a piece of a body was not seen: {error}"));
    }
}

fn unreadable(error: HostError) -> Fault {
    Fault::internal(format!("request_body_unreadable:{error}"))
}

/// Fields that tell of the connection an answer came over, not of the answer.
const CONNECTION_FIELDS: [&str; 8] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Fields that tell of a body that goes.
const CONTENT_FIELDS: [&str; 5] =
    ["content-encoding", "content-length", "content-type", "etag", "transfer-encoding"];

/// A callout's answer, inside its callback. [rule 8] With `headers == 0` there is nothing to read.
pub(super) fn read_answer(host: &dyn Host, headers: usize, body_size: usize, max: usize) -> CallAnswer {
    if headers == 0 {
        return CallAnswer::Failed(HostError::Empty);
    }
    match host.pairs(Map::Call) {
        Ok(pairs) => CallAnswer::Answered {
            head: Head::from_pairs(pairs),
            body: read(host, Body::Call, 0, body_size.min(max)).unwrap_or_default(),
        },
        Err(error) => CallAnswer::Failed(error),
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
