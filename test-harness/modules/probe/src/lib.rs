//! A filter that does what its configuration says: one switch for each thing the driver can do, so
//! that the host rules can be tried on a real Envoy without a product plugin.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use common::config::{ConfigError, Secret, Section};
use common::filter::{
    CallAnswer, Callout, End, Env, Filter, Flow, Growth, LogLevel, MetricKind, Opening, RequestBody,
    RequestCx, ResponseBody, ResponseCx, Shared, Start, StreamCx, TickCx,
};
use common::http::{Fault, LocalReply};
use serde::Deserialize;

common::plugin!(Probe);

/// What to do with an exchange. Everything absent is left alone.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Config {
    /// Take the request body whole, up to this many bytes.
    request_limit: Option<usize>,
    /// Watch the request body grow until it holds this text, then let it go.
    request_until: Option<String>,
    /// Let a request body over the limit pass.
    request_passes: bool,
    /// Rewrite the request body as it comes: `x` becomes `xx`, `-` goes, `!` is a fault.
    request_chunks: bool,
    /// Only look at the request body as it passes.
    request_observed: bool,
    /// Replace the request body.
    request_body: Option<NewBody>,
    /// Set on the request; an empty value removes the header.
    request_headers: BTreeMap<String, String>,
    /// Call a service while the request is held.
    request_call: Option<Call>,
    /// What to do with responses: `pass`, `observed`, `chunks`, `opening` or `whole`.
    response: Option<Mode>,
    /// A response opens when this text has come; the rest is rewritten. `!` before it is a fault of the upstream's.
    response_until: String,
    /// What takes the place of a response is written over it.
    in_place: bool,
    /// Limit of a whole response.
    response_limit: usize,
    /// Replace the response body.
    response_body: Option<NewBody>,
    /// Set on the response; an empty value removes the header.
    response_headers: BTreeMap<String, String>,
    /// Call a service while the response is held.
    response_call: Option<Call>,
    /// Call a service before it is said what is wanted of the response.
    response_head_call: Option<Call>,
    /// Work that belongs to no exchange.
    tick: Option<Tick>,
    /// Sent after the last piece of a streamed response.
    response_tail: String,
    /// Answer at once with this status.
    reply: Option<u16>,
    /// Copy this request header into the response, as `x-request-header`.
    echo_header: Option<String>,
    /// Put the wall clock, the monotonic clock, a random number and this variable into request headers.
    surroundings: Option<Secret>,
    /// Trap on a request with the header `x-trap`.
    trap: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Mode {
    Pass,
    Observed,
    Chunks,
    Opening,
    Whole,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewBody {
    /// This text…
    text: String,
    /// …so many times.
    times: usize,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Call {
    cluster: String,
    path: String,
    /// Answer the client with the service's status instead of going on.
    #[serde(default)]
    reply: bool,
    /// The service's answer takes the place of the response.
    #[serde(default)]
    take: bool,
    timeout_ms: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tick {
    every_ms: u64,
    /// Call a service.
    call: Option<Call>,
    /// Only the worker whose turn it is.
    #[serde(default)]
    turn: bool,
}

impl NewBody {
    fn bytes(&self) -> Vec<u8> {
        self.text.repeat(self.times).into_bytes()
    }
}

impl Call {
    fn callout(&self) -> Callout {
        let fields = [(":method", "GET"), (":path", self.path.as_str()), (":authority", "service")];
        Callout {
            cluster: self.cluster.clone(),
            headers: fields.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            body: Vec::new(),
            timeout: Duration::from_millis(self.timeout_ms),
            max_answer_bytes: 32 << 20,
        }
    }
}

/// The state of an exchange.
pub struct Probe {
    config: Rc<Config>,
    /// The call of the response's head has been made.
    called: bool,
    /// What has come of a response that has not opened.
    opening: Vec<u8>,
}

impl Filter for Probe {
    const NAME: &'static str = "probe";
    const BROKEN_CONFIG_REFUSES: bool = true;
    type Config = Config;

    fn configure(section: &mut Section<'_>) -> Result<Config, ConfigError> {
        section.read()
    }

    fn loaded(config: &Rc<Config>, env: &dyn Env) {
        if config.tick.is_some() {
            ticks().found(env, &0_u64.to_le_bytes());
        }
    }

    fn period(config: &Config) -> Option<Duration> {
        config.tick.as_ref().map(|tick| Duration::from_millis(tick.every_ms))
    }

    fn tick(config: &Rc<Config>, cx: &mut TickCx<'_>) {
        let Some(tick) = &config.tick else { return };
        count(cx.env, "probe_ticks");
        if tick.turn && !cx.has_turn("work", Duration::from_millis(tick.every_ms)) {
            return;
        }
        count(cx.env, "probe_turns");
        ticks().update(cx.env, |bytes| {
            let before =
                bytes.and_then(|bytes| bytes.first_chunk::<8>()).map_or(0, |it| u64::from_le_bytes(*it));
            Some((before + 1).to_le_bytes().to_vec())
        });
        if let Some(call) = &tick.call {
            cx.call(7, call.callout());
        }
    }

    fn tick_call(_: &Rc<Config>, cx: &mut TickCx<'_>, tag: u64, answer: CallAnswer) {
        count(cx.env, "probe_tick_answers");
        cx.env.log(LogLevel::Info, format_args!("probe: tick call {tag} got {}", describe(&answer)));
    }

    fn start(config: &Rc<Config>, cx: &mut RequestCx<'_>) -> Result<Start<Self>, Fault> {
        if config.trap && cx.head.has("x-trap") {
            trap();
        }
        if let Some(status) = config.reply {
            return Ok(Start::Reply(LocalReply::json(status, "{\"from\":\"probe\"}", "probe_reply")));
        }
        if let Some(variable) = &config.surroundings {
            surroundings(cx, variable.reveal());
        }
        edit(cx.head, &config.request_headers);
        let body = match config.request_limit {
            _ if config.request_chunks => RequestBody::Chunks,
            _ if config.request_observed => RequestBody::Observed,
            Some(limit) if config.request_until.is_some() => RequestBody::Watched { limit },
            Some(limit) => RequestBody::Whole { limit },
            None => RequestBody::Pass,
        };
        let filter = Self { config: Rc::clone(config), called: false, opening: Vec::new() };
        Ok(Start::Run { filter, body, response: config.response.is_some() })
    }

    fn request_body(&mut self, cx: &mut RequestCx<'_>, _body: Vec<u8>) -> Result<Flow, Fault> {
        match &self.config.request_call {
            Some(call) => Ok(Flow::Call(call.callout())),
            None => Ok(send(self.config.request_body.as_ref().filter(|_| cx.has_body))),
        }
    }

    fn request_growing(&mut self, cx: &mut RequestCx<'_>, so_far: &[u8]) -> Result<Growth, Fault> {
        let until = self.config.request_until.as_deref().unwrap_or_default();
        if !String::from_utf8_lossy(so_far).contains(until) {
            return Ok(Growth::Wait);
        }
        cx.head.set("x-seen", so_far.len().to_string());
        Ok(Growth::Release)
    }

    fn request_chunk(
        &mut self,
        _: &StreamCx<'_>,
        chunk: &[u8],
        end: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        for byte in chunk {
            match byte {
                b'x' => out.extend_from_slice(b"xx"),
                b'-' => {}
                b'!' => return Err(Fault::client(400, "bad_body", "the body has a `!`")),
                other => out.push(*other),
            }
        }
        if end && self.config.request_body.is_some() {
            out.extend_from_slice(b"end");
        }
        Ok(())
    }

    fn request_too_large(&mut self, cx: &mut RequestCx<'_>, limit: usize) -> Result<(), Fault> {
        if !self.config.request_passes {
            return Err(Fault::too_large(limit));
        }
        cx.head.set("x-seen", "too large");
        Ok(())
    }

    fn request_call(&mut self, cx: &mut RequestCx<'_>, answer: CallAnswer) -> Result<Flow, Fault> {
        cx.head.set("x-call", describe(&answer));
        if self.config.request_call.as_ref().is_some_and(|call| call.reply) {
            return Ok(Flow::Reply(LocalReply::json(403, describe(&answer), "probe_call_reply")));
        }
        Ok(send(self.config.request_body.as_ref().filter(|_| cx.has_body)))
    }

    fn response_head(&mut self, cx: &mut ResponseCx<'_>) -> Result<ResponseBody, Fault> {
        edit(cx.head, &self.config.response_headers);
        if let Some(value) = self.config.echo_header.as_ref().and_then(|name| cx.request.get(name)) {
            cx.head.set("x-request-header", value);
        }
        if let Some(call) = self.config.response_head_call.as_ref().filter(|_| !self.called) {
            self.called = true;
            return Ok(ResponseBody::Call { callout: call.callout(), limit: self.config.response_limit });
        }
        Ok(self.wanted())
    }

    fn response_head_call(
        &mut self,
        cx: &mut ResponseCx<'_>,
        answer: CallAnswer,
    ) -> Result<ResponseBody, Fault> {
        cx.head.set("x-call", describe(&answer));
        let call = self.config.response_head_call.as_ref();
        if call.is_some_and(|call| call.reply) {
            return Ok(ResponseBody::Reply(LocalReply::json(451, describe(&answer), "probe_call_reply")));
        }
        match answer {
            CallAnswer::Answered { head, body } if call.is_some_and(|call| call.take) => {
                Ok(ResponseBody::Take { head, body })
            }
            _ => Ok(self.wanted()),
        }
    }

    fn response_body(&mut self, cx: &mut ResponseCx<'_>, _body: Vec<u8>) -> Result<Flow, Fault> {
        match &self.config.response_call {
            Some(call) => Ok(Flow::Call(call.callout())),
            None => Ok(send(self.config.response_body.as_ref().filter(|_| cx.has_body))),
        }
    }

    fn response_call(&mut self, cx: &mut ResponseCx<'_>, answer: CallAnswer) -> Result<Flow, Fault> {
        cx.head.set("x-call", describe(&answer));
        if self.config.response_call.as_ref().is_some_and(|call| call.reply) {
            return Ok(Flow::Reply(LocalReply::json(451, describe(&answer), "probe_call_reply")));
        }
        Ok(send(self.config.response_body.as_ref().filter(|_| cx.has_body)))
    }

    fn response_chunk(&mut self, _: &StreamCx<'_>, chunk: &[u8], end: bool, out: &mut Vec<u8>) {
        out.extend(chunk.iter().map(u8::to_ascii_uppercase));
        if end {
            out.extend_from_slice(self.config.response_tail.as_bytes());
        }
    }

    fn response_opens(
        &mut self,
        cx: &mut ResponseCx<'_>,
        piece: &[u8],
        end: bool,
        out: &mut Vec<u8>,
    ) -> Result<Opening, Fault> {
        self.opening.extend_from_slice(piece);
        if self.opening.contains(&b'!') {
            return Err(Fault::upstream("bad_opening", "the response has a `!`"));
        }
        let until = self.config.response_until.as_str();
        if !end && !String::from_utf8_lossy(&self.opening).contains(until) {
            return Ok(Opening::Wait);
        }
        cx.head.set("x-opened", self.opening.len().to_string());
        out.extend(self.opening.iter().map(u8::to_ascii_uppercase));
        Ok(if until == "|" { Opening::Pass } else { Opening::Rewrite })
    }

    fn replies_in_place(&self) -> bool {
        self.config.in_place
    }

    fn request_passes(&mut self, cx: &StreamCx<'_>, piece: &[u8], end: bool) {
        cx.env
            .log(LogLevel::Info, format_args!("probe: saw {} bytes of the request, end {end}", piece.len()));
    }

    fn response_passes(&mut self, cx: &StreamCx<'_>, piece: &[u8], end: bool) {
        cx.env
            .log(LogLevel::Info, format_args!("probe: saw {} bytes of the response, end {end}", piece.len()));
    }

    fn end(self, cx: &StreamCx<'_>, how: End) {
        let name = format!("probe_ended_{}", format!("{how:?}").to_ascii_lowercase());
        count(cx.env, &name);
        cx.env.log(LogLevel::Info, format_args!("probe: ended {how:?}"));
    }
}

impl Probe {
    fn wanted(&self) -> ResponseBody {
        match self.config.response {
            Some(Mode::Chunks) => ResponseBody::Chunks,
            Some(Mode::Observed) => ResponseBody::Observed,
            Some(Mode::Opening) => ResponseBody::Opening { limit: self.config.response_limit },
            Some(Mode::Whole) => ResponseBody::Whole { limit: self.config.response_limit },
            Some(Mode::Pass) | None => ResponseBody::Pass,
        }
    }
}

/// How often the work was done, by all workers.
fn ticks() -> Shared {
    Shared::new(Probe::NAME, "ticks")
}

fn count(env: &dyn Env, name: &str) {
    if let Some(counter) = env.metric(MetricKind::Counter, name) {
        env.add(counter, 1);
    }
}

fn edit(head: &mut common::http::Head, edits: &BTreeMap<String, String>) {
    for (name, value) in edits {
        if value.is_empty() {
            head.remove(name);
        } else {
            head.set(name, value.as_str());
        }
    }
}

fn send(body: Option<&NewBody>) -> Flow {
    body.map_or(Flow::Pass, |body| Flow::Send(body.bytes()))
}

fn describe(answer: &CallAnswer) -> String {
    match answer {
        CallAnswer::Answered { head, body } => {
            format!("{} {}", head.get_str(":status").unwrap_or("?"), String::from_utf8_lossy(body))
        }
        CallAnswer::Failed(error) => format!("failed {error}"),
    }
}

fn surroundings(cx: &mut RequestCx<'_>, variable: &str) {
    let seconds = cx.env.now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (monotonic, random) = (cx.env.monotonic().as_nanos(), cx.env.random());
    cx.head.set("x-now", seconds.to_string());
    cx.head.set("x-monotonic", monotonic.to_string());
    cx.head.set("x-random", random.to_string());
    cx.head.set("x-variable", variable);
}

#[expect(clippy::panic, reason = "this is what the switch is for")]
fn trap() {
    panic!("probe: trapped as told");
}
