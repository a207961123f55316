//! The life of one exchange.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::rc::Rc;
use std::time::Duration;

use common::config::{ConfigError, Section};
use common::filter::{
    End, Env, Filter, LogLevel, RequestBody, RequestCx, ResponseBody, ResponseCx, Start, StreamCx,
};
use common::http::{Fault, Head, LocalReply, MediaType, encoding, path};
use common::llm::usage::{Details, Format, Report, Usage};

use crate::attribute::{Attribute, Log, SPAN_PREFIX, Source, Value};
use crate::built_in::{self, BuiltIn, Tokens};
use crate::config::{Config, MAX_KEPT, Spans};
use crate::conventions::{self};
use crate::log::{Members, Writer, escaped};
use crate::metrics::{Labels, Metric};
use crate::request::RequestReader;
use crate::response::{Response, Wanted, counted};

/// Filter state that the access log and other plugins read.
const AI_LOG: &str = "ai_log";
/// The error of an exchange that broke off.
const ABORTED: &str = "aborted";
/// What stands for a route, a cluster or an API that there is none of.
const NONE: &str = "-";

/// What is known of one exchange.
pub struct AiStatistics {
    config: Rc<Config>,
    began: Duration,
    traced: Traced,
    request: Asked,
    request_model: Option<String>,
    turns: Option<u64>,
    /// In the order in which they were found: the later one of a key counts.
    values: Vec<(usize, Value)>,
    status: u16,
    phase: Phase,
}

/// Whether what is meant for spans is of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Traced {
    Yes,
    No,
}

/// The request body.
enum Asked {
    /// It is read as it passes.
    Read(Box<RequestReader>),
    /// It is not read, or there is none.
    Unread,
    /// What it says is known.
    Known,
}

enum Phase {
    /// No response yet.
    Awaiting,
    /// The response is not to be looked at.
    Skipping,
    Responding(Box<Response>),
    /// Everything is written.
    Done,
}

/// Where a request went. It is asked at the end: what the request phase says of it may be out of date by then.
struct Place {
    route: String,
    /// 1 without a retry.
    attempts: u64,
    /// Who answered, where that is of interest.
    provider: Option<String>,
    cluster: OnceCell<String>,
}

impl Filter for AiStatistics {
    const NAME: &'static str = "ai-statistics";
    const READS_ENCODED: bool = true;
    const ENDS_BEFORE_LOG: bool = true;
    type Config = Config;

    fn configure(section: &mut Section<'_>) -> Result<Config, ConfigError> {
        Config::load(section)
    }

    fn start(config: &Rc<Config>, cx: &mut RequestCx<'_>) -> Result<Start<Self>, Fault> {
        let (head, env) = (&*cx.head, cx.env);
        let path = path_of(head);
        let is_enabled = |suffix: &String| path.ends_with(suffix.as_str());
        if !config.path_suffixes.is_empty() && !config.path_suffixes.iter().any(is_enabled) {
            return Ok(Start::Inactive);
        }
        let reads_body = cx.has_body && is_readable(head);
        let mut filter = Self {
            began: env.monotonic(),
            traced: match config.spans {
                Spans::Auto => traced(head),
                Spans::Always => Traced::Yes,
                Spans::Never => Traced::No,
            },
            request: match reads_body {
                true => Asked::Read(Box::new(RequestReader::new(&config.of_request, MAX_KEPT))),
                false => Asked::Unread,
            },
            request_model: None,
            turns: None,
            values: Vec::new(),
            status: 0,
            phase: Phase::Awaiting,
            config: Rc::clone(config),
        };
        filter.write_span(env, "gen_ai.span.kind", "LLM");
        if filter.has_conventional_span()
            && let Some(operation) = conventions::operation(path)
        {
            filter.write_span(env, "gen_ai.operation.name", operation);
        }
        for (attribute, at) in config.attributes.iter().zip(0..) {
            let value = match &attribute.source {
                Source::Fixed(text) => Some(text.as_str()),
                Source::RequestHeader(name) => head.get_str(name),
                _ => continue,
            };
            let value = value.map(|text| Value::of_text(text, config.value_limit, &attribute.redaction));
            filter.found(env, at, attribute, value);
        }
        let body = if reads_body { RequestBody::Observed } else { RequestBody::Pass };
        Ok(Start::Run { filter, body, response: true })
    }

    fn request_passes(&mut self, cx: &StreamCx<'_>, piece: &[u8], end: bool) {
        if let Asked::Read(request) = &mut self.request {
            request.push(piece);
        }
        if end {
            self.request_ends(cx.env, cx.request);
        }
    }

    fn response_head(&mut self, cx: &mut ResponseCx<'_>) -> Result<ResponseBody, Fault> {
        // An upstream may answer before it has read all.
        self.request_ends(cx.env, cx.request);
        self.status = cx.status();
        let content_type = cx.head.get("content-type");
        let is_enabled = |part: &String| cx.head.contains("content-type", part);
        if !self.config.content_types.is_empty() && !self.config.content_types.iter().any(is_enabled) {
            self.phase = Phase::Skipping;
            return Ok(ResponseBody::Pass);
        }
        let config = Rc::clone(&self.config);
        for (attribute, at) in config.attributes.iter().zip(0..) {
            if let Source::ResponseHeader(name) = &attribute.source {
                let value = cx.head.get_str(name);
                let value = value.map(|text| Value::of_text(text, config.value_limit, &attribute.redaction));
                self.found(cx.env, at, attribute, value);
            }
        }
        let format = Format::of(content_type);
        let is_stream = matches!(format, Some(Format::Sse | Format::AwsEventStream));
        let encoding = cx.head.get("content-encoding").filter(|name| !name.eq_ignore_ascii_case(b"identity"));
        let decoder = encoding.and_then(encoding::Decoder::of);
        let is_legible = encoding.is_none() || decoder.is_some();
        let is_tunnel = self.status == 101 || cx.request.get(":method") == Some(b"CONNECT");
        let format = format.filter(|_| is_legible && !is_tunnel);
        let wanted = Wanted { format, decoder, is_stream, has_reasons: self.has_conventional_span() };
        let response = Response::new(&config, cx.head, wanted);
        self.phase = Phase::Responding(Box::new(response));
        if !cx.has_body {
            self.finish(cx.env, cx.request, false);
            return Ok(ResponseBody::Pass);
        }
        // What is not read may still be a stream whose first piece is waited for.
        let is_observed = format.is_some() || (is_stream && !is_tunnel);
        Ok(if is_observed { ResponseBody::Observed } else { ResponseBody::Pass })
    }

    fn response_passes(&mut self, cx: &StreamCx<'_>, piece: &[u8], end: bool) {
        let config = Rc::clone(&self.config);
        if let Phase::Responding(response) = &mut self.phase {
            if response.is_stream && response.first.is_none() && !piece.is_empty() {
                response.first = Some(cx.env.monotonic().saturating_sub(self.began));
            }
            response.read(&config, piece, end);
        }
        if end {
            self.finish(cx.env, cx.request, false);
        }
    }

    fn end(mut self, cx: &StreamCx<'_>, how: End) {
        self.finish(cx.env, cx.request, how == End::Aborted);
    }

    /// Nothing is ever refused here, so no client's dialect need be known.
    fn refuse(_: &Head, fault: &Fault) -> LocalReply {
        LocalReply::json(fault.status, "{}", fault.code)
    }
}

impl AiStatistics {
    /// The request body has ended, or no more of it is waited for.
    fn request_ends(&mut self, env: &dyn Env, head: &Head) {
        let mut request = match std::mem::replace(&mut self.request, Asked::Known) {
            Asked::Known => return,
            Asked::Unread => {
                self.request_model = model_in_path(path_of(head));
                return self.write_asked_model(env, false);
            }
            Asked::Read(request) => request,
        };
        self.turns = Some(request.turns());
        self.request_model = request.take_model().or_else(|| model_in_path(path_of(head)));
        self.write_asked_model(env, true);
        let config = Rc::clone(&self.config);
        for (attribute, at) in config.attributes.iter().zip(0..) {
            let Source::RequestBody(path) = &attribute.source else { continue };
            let kept = request.kept();
            let asked = path.as_ref().and_then(|path| path.find(kept));
            let found = asked.filter(|text| !is_blank(text)).or_else(|| match attribute.built_in {
                Some(BuiltIn::Question) => built_in::question(kept),
                Some(BuiltIn::System) => built_in::system(kept),
                _ => None,
            });
            let value = found.and_then(|text| Value::of(&text, config.value_limit, &attribute.redaction));
            let value = value.or_else(|| attribute.lost(|name| request.lacks(name)));
            self.found(env, at, attribute, value);
        }
    }

    /// What an attribute is; its span is told at once.
    fn found(&mut self, env: &dyn Env, at: usize, attribute: &Attribute, value: Option<Value>) {
        let Some(value) = attribute.or_default(value) else { return };
        if let Some(key) = attribute.span_key.as_ref().filter(|_| self.traced == Traced::Yes)
            && !value.is_empty()
        {
            env.set_property(key, attribute.shown(&value).as_bytes());
        }
        if attribute.log != Log::Nowhere {
            self.values.push((at, value));
        }
    }

    fn write_span(&self, env: &dyn Env, key: &str, value: &str) {
        if self.traced == Traced::Yes {
            env.set_property(&format!("{SPAN_PREFIX}{key}"), value.as_bytes());
        }
    }

    /// Higress has a word for a model that a body does not name; OpenTelemetry has none.
    fn write_asked_model(&self, env: &dyn Env, is_read: bool) {
        if self.request_model.is_some() || (is_read && self.config.formats.higress) {
            self.write_span(env, "gen_ai.request.model", self.asked_model());
        }
    }

    /// Whether a span gets what OpenTelemetry's conventions have.
    fn has_conventional_span(&self) -> bool {
        self.traced == Traced::Yes && self.config.formats.otel
    }

    fn asked_model(&self) -> &str {
        self.request_model.as_deref().unwrap_or("UNKNOWN")
    }

    fn answered_model<'a>(&'a self, report: &'a Report) -> &'a str {
        report.model.as_deref().unwrap_or_else(|| self.asked_model())
    }

    /// Everything is written, once.
    fn finish(&mut self, env: &dyn Env, request: &Head, aborted: bool) {
        let mut response = match std::mem::replace(&mut self.phase, Phase::Done) {
            Phase::Done => return,
            Phase::Responding(response) => Some(response),
            Phase::Skipping => None,
            Phase::Awaiting => {
                self.request_ends(env, request);
                None
            }
        };
        let took = milliseconds(env.monotonic().saturating_sub(self.began));
        let is_skipped = response.is_none() && self.status != 0;
        let times = (!is_skipped).then(|| Times {
            took,
            first: response.as_ref().and_then(|response| response.first).map(milliseconds),
            is_stream: response.as_ref().map(|response| response.is_stream),
            aborted,
        });
        let mut report = response.as_mut().map(|response| response.take_report()).unwrap_or_default();
        if !self.config.reads_usage {
            report.usage = None;
            report.id = None;
        }
        let place = Place::asked(env, &self.config, times.is_some());
        if self.traced == Traced::Yes {
            self.write_counts(env, &report);
        }
        if let Some(response) = response.as_ref().filter(|_| self.has_conventional_span()) {
            self.write_conventions(env, request, &place, &report, response.reasons());
        }
        if let Some(error) = self.error(aborted).filter(|_| !is_skipped && self.has_conventional_span()) {
            self.write_span(env, "error.type", &error);
        }
        if let Some(response) = response {
            self.read_attributes(env, *response, &report);
        }
        let values = std::mem::take(&mut self.values);
        let mut members = Members::default();
        self.write_attributes(env, &mut members, values);
        if let Some(times) = times.as_ref().filter(|_| self.config.reads_usage) {
            self.count(env, &members, &place, request, &report, times);
        }
        let existing = env.property(&[AI_LOG]).filter(|text| !text.is_empty());
        if existing.is_some_and(|existing| members.keep(&existing, self.config.encoding).is_none()) {
            return env.log(
                LogLevel::Warn,
                format_args!("{}: what ai_log holds already cannot be read, so nothing is added", Self::NAME),
            );
        }
        let mut log = Writer::open(members, self.config.encoding, &self.config.redactions);
        self.describe(&mut log, &place, request, &report, times.as_ref());
        env.set_property(AI_LOG, &log.close());
    }

    /// The counts of a span.
    fn write_counts(&self, env: &dyn Env, report: &Report) {
        let Some(usage) = report.usage.as_ref().filter(|usage| usage.total() > 0) else { return };
        let is_whole = self.config.formats.otel;
        let (input, output) = match is_whole {
            true => (usage.whole_input(), usage.whole_output()),
            false => (usage.input, usage.output),
        };
        self.write_span(env, "gen_ai.model_name", self.answered_model(report));
        let count = |key: &str, count: Option<u64>| {
            if let Some(count) = count {
                self.write_span(env, key, &count.to_string());
            }
        };
        count("gen_ai.usage.input_tokens", Some(input.unwrap_or(0)));
        count("gen_ai.usage.output_tokens", Some(output.unwrap_or(0)));
        count("gen_ai.usage.total_tokens", Some(usage.total()));
        if is_whole {
            count("gen_ai.usage.cache_read.input_tokens", usage.cached);
            count("gen_ai.usage.cache_creation.input_tokens", usage.cache_written());
            count("gen_ai.usage.reasoning.output_tokens", usage.reasoning);
        }
    }

    /// What OpenTelemetry's conventions have for the span of a response, beside counts.
    fn write_conventions(
        &self,
        env: &dyn Env,
        request: &Head,
        place: &Place,
        report: &Report,
        reasons: Option<Vec<u8>>,
    ) {
        // That of a path that is known is written already.
        if report.usage.is_some() && conventions::operation(path_of(request)).is_none() {
            self.write_span(env, "gen_ai.operation.name", conventions::UNKNOWN);
        }
        self.write_span(env, "gen_ai.provider.name", place.conventional_provider(env));
        if let Some(model) = &report.model {
            self.write_span(env, "gen_ai.response.model", model);
        }
        if let Some(id) = &report.id {
            self.write_span(env, "gen_ai.response.id", id);
        }
        if let Some(reasons) = reasons {
            self.write_span(env, "gen_ai.response.finish_reasons", &String::from_utf8_lossy(&reasons));
        }
    }

    /// What OpenTelemetry calls the error of an exchange that failed.
    fn error(&self, aborted: bool) -> Option<Cow<'static, str>> {
        match self.status {
            400.. => Some(Cow::Owned(self.status.to_string())),
            _ => aborted.then_some(Cow::Borrowed(ABORTED)),
        }
    }

    /// What is known of every exchange, in the order in which it is written.
    fn describe(
        &self,
        log: &mut Writer<'_>,
        place: &Place,
        request: &Head,
        report: &Report,
        times: Option<&Times>,
    ) {
        let usage = report.usage.as_ref();
        if times.is_some_and(|times| times.aborted) {
            log.json("aborted", b"true");
        }
        log.text("api", api(&place.route));
        if place.attempts > 1 {
            log.number("attempts", place.attempts);
        }
        if let Some(id) = &report.id {
            log.text("chat_id", id);
        }
        if let Some(turns) = self.turns {
            log.number("chat_round", turns);
        }
        if let Some(usage) = usage {
            log.number("input_token", usage.input.unwrap_or(0));
            write_details(log, "input_token_details", &usage.input_details);
        }
        if let Some(times) = times {
            if let Some(first) = times.first {
                log.number("llm_first_token_duration", first);
            }
            log.number("llm_service_duration", times.took);
        }
        if let Some(usage) = usage {
            log.text("model", self.answered_model(report));
            log.number("output_token", usage.output.unwrap_or(0));
            write_details(log, "output_token_details", &usage.output_details);
        }
        if let Some(provider) = place.provider.as_ref().filter(|_| place.attempts > 1) {
            log.text("provider", provider);
        }
        if let Some(is_stream) = times.and_then(|times| times.is_stream) {
            log.text("response_type", if is_stream { "stream" } else { "normal" });
        }
        if let Some(session) = first_of(request, &self.config.session_headers) {
            log.text("session_id", session);
        }
        if times.is_some() && self.status > 0 {
            log.number("status", u64::from(self.status));
        }
        if let Some(usage) = usage {
            log.number("total_token", usage.total());
        }
    }

    /// The attributes of a response that has ended.
    fn read_attributes(&mut self, env: &dyn Env, mut response: Response, report: &Report) {
        let config = Rc::clone(&self.config);
        for (attribute, at) in config.attributes.iter().zip(0..) {
            let value = match (&attribute.source, response.is_stream) {
                (Source::Stream { .. } | Source::Response { .. }, true) => {
                    response.streamed(&config, at, attribute)
                }
                (Source::Body(path), false) => {
                    let found = path.as_ref().and_then(|path| path.find(response.kept()));
                    found.and_then(|text| Value::of(&text, config.value_limit, &attribute.redaction))
                }
                (Source::Response { .. }, false) => None,
                _ => continue,
            };
            let value = value.filter(|value| attribute.built_in.is_none() || !value.is_empty());
            let value = value.or_else(|| match attribute.built_in? {
                BuiltIn::Tokens(tokens) => counted(report, tokens, &attribute.redaction),
                built_in if !response.is_stream => {
                    response.whole(config.value_limit, built_in, &attribute.redaction)
                }
                _ => None,
            });
            let value =
                value.or_else(|| attribute.lost(|name| response.lacks(name)).filter(|_| !response.is_stream));
            self.found(env, at, attribute, value);
        }
    }

    /// What was found goes where its attributes say.
    fn write_attributes<'a>(&'a self, env: &dyn Env, members: &mut Members<'a>, values: Vec<(usize, Value)>) {
        for (at, value) in values {
            let Some(attribute) = self.config.attributes.get(at) else { continue };
            match attribute.log {
                Log::Nowhere => {}
                Log::Member => members.set(&attribute.key, value.written()),
                Log::OwnField => {
                    let is_map = matches!(
                        attribute.built_in,
                        Some(BuiltIn::Tokens(Tokens::InputDetails | Tokens::OutputDetails))
                    );
                    let text = attribute.shown(&value).as_bytes();
                    let text = if is_map { Cow::Borrowed(text) } else { Cow::Owned(escaped(text)) };
                    env.set_property(&attribute.key, &text);
                }
            }
        }
    }

    fn count(
        &self,
        env: &dyn Env,
        members: &Members<'_>,
        place: &Place,
        request: &Head,
        report: &Report,
        times: &Times,
    ) {
        let (mut metrics, limit) = (self.config.metrics.borrow_mut(), self.config.max_combinations);
        let api = api(&place.route);
        let route = if api == NONE { place.route.as_str() } else { api };
        let consumer = first_of(request, &self.config.consumer_headers).unwrap_or("none");
        let usage = report.usage.as_ref();
        // An attribute of the same name counts in the place of what the answer says.
        let number = |name: &str, said: fn(&Usage) -> u64| match members.get(name) {
            Some(value) => value.number(),
            None => usage.map(said),
        };
        let answered = self.answered_model(report);
        let named = match members.get("model") {
            Some(value) => value.text(),
            None => usage.map(|_| Cow::Borrowed(answered)),
        };
        let model = named.as_deref().unwrap_or(answered);
        let is_error = self.status >= 400;
        if self.config.formats.higress {
            let mut values = Vec::with_capacity(12);
            let input = number("input_token", |usage| usage.input.unwrap_or(0));
            let output = number("output_token", |usage| usage.output.unwrap_or(0));
            if let (Some(_), Some(input), Some(output)) = (&named, input, output) {
                let total =
                    number("total_token", Usage::total).unwrap_or_else(|| input.saturating_add(output));
                values.extend([
                    (Metric::InputToken, input),
                    (Metric::OutputToken, output),
                    (Metric::TotalToken, total),
                    (Metric::ServiceDuration, times.took),
                    (Metric::DurationCount, 1),
                ]);
                if times.is_stream == Some(true) {
                    values.push((Metric::FirstTokenDuration, times.first.unwrap_or(0)));
                    values.push((Metric::StreamDurationCount, 1));
                }
            }
            values.push((Metric::RequestErrorCount, u64::from(is_error)));
            values.push((Metric::RequestCount, u64::from(self.config.counts_requests)));
            if let Some(usage) = usage.filter(|_| self.config.counts_token_details) {
                values.push((Metric::CachedToken, usage.cached.unwrap_or(0)));
                values.push((Metric::ReasoningToken, usage.reasoning.unwrap_or(0)));
            }
            if self.config.histograms {
                values.push((Metric::ServiceMs, times.took));
                values.extend(times.first.map(|first| (Metric::FirstTokenMs, first)));
            }
            values.retain(|(metric, value)| {
                *value > 0 || matches!(metric, Metric::ServiceMs | Metric::FirstTokenMs)
            });
            if !values.is_empty() {
                let cluster = place.cluster(env);
                metrics.count(env, Labels::Higress { route, cluster, model, consumer }, &values, limit);
            }
        }
        // Of a path of which nothing is known, only what has usage is an operation.
        let operation = conventions::operation(path_of(request)).or(usage.map(|_| conventions::UNKNOWN));
        if let Some(operation) = operation.filter(|_| self.config.formats.otel) {
            let error = self.error(times.aborted);
            let request_model = self.request_model.as_deref().unwrap_or_default();
            // An error is nobody's answer.
            let said =
                named.as_deref().filter(|_| members.get("model").is_some()).or(report.model.as_deref());
            let response_model = said.unwrap_or(if error.is_some() { "" } else { request_model });
            let labels = Labels::Otel {
                operation,
                provider: place.conventional_provider(env),
                request_model,
                response_model,
                error: error.as_deref(),
                route,
                consumer,
            };
            let mut values = vec![(Metric::OperationDuration, times.took)];
            let output = usage.and_then(Usage::whole_output);
            values.extend(usage.and_then(Usage::whole_input).map(|count| (Metric::TokenUsageInput, count)));
            values.extend(output.map(|count| (Metric::TokenUsageOutput, count)));
            if let Some(first) = times.first {
                values.push((Metric::TimeToFirstToken, first));
                let more = output.unwrap_or(0).saturating_sub(1);
                let each = times.took.saturating_sub(first).checked_div(more);
                values.extend(each.map(|each| (Metric::TimePerOutputToken, each)));
            }
            metrics.count(env, labels, &values, limit);
        }
    }
}

/// Milliseconds of an exchange.
struct Times {
    took: u64,
    first: Option<u64>,
    /// Where there is a response.
    is_stream: Option<bool>,
    aborted: bool,
}

impl Place {
    fn asked(env: &dyn Env, config: &Config, is_whole: bool) -> Self {
        let route = property(env, &["xds", "route_name"]).unwrap_or_else(|| NONE.to_owned());
        if !is_whole {
            return Self { route, attempts: 1, provider: None, cluster: OnceCell::new() };
        }
        let attempts = env.property(&["upstream", "request_attempt_count"]);
        let attempts = attempts.as_deref().and_then(|bytes| bytes.first_chunk::<8>().copied());
        let attempts = attempts.map_or(1, u64::from_le_bytes).max(1);
        let provider = (attempts > 1 || config.formats.otel).then(|| {
            let of =
                |source: &str| property(env, &["xds", source, "filter_metadata", "ai-proxy", "provider"]);
            of("upstream_host_metadata").or_else(|| of("cluster_metadata"))
        });
        Self { route, attempts, provider: provider.flatten(), cluster: OnceCell::new() }
    }

    /// Asked for once, and only where it is needed.
    fn cluster(&self, env: &dyn Env) -> &str {
        let ask = || property(env, &["xds", "cluster_name"]).unwrap_or_else(|| NONE.to_owned());
        self.cluster.get_or_init(ask)
    }

    /// Who answered, as OpenTelemetry calls them.
    fn conventional_provider(&self, env: &dyn Env) -> &str {
        self.provider.as_deref().map_or_else(|| self.cluster(env), conventions::provider)
    }
}

fn property(env: &dyn Env, path: &[&str]) -> Option<String> {
    String::from_utf8(env.property(path)?).ok().filter(|text| !text.is_empty())
}

/// Without the query.
fn path_of(request: &Head) -> &str {
    path::split(request.get_str(":path").unwrap_or_default()).0
}

/// The first of these fields that says something.
fn first_of<'a>(request: &'a Head, names: &[String]) -> Option<&'a str> {
    names.iter().find_map(|name| request.get_str(name).filter(|value| !value.is_empty()))
}

fn write_details(log: &mut Writer<'_>, name: &str, details: &Details) {
    match details.is_empty() {
        true => log.json(name, b"{}"),
        false => log.json(name, details.to_json().as_bytes()),
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn is_blank(text: &[u8]) -> bool {
    matches!(text, b"" | b"\"\"" | b"null")
}

/// Whether a request body may be JSON.
fn is_readable(head: &Head) -> bool {
    let content_type = MediaType::of(head.get("content-type").unwrap_or_default());
    let is_other = ["multipart/form-data", "application/octet-stream", "application/grpc"]
        .iter()
        .any(|name| content_type.is(name));
    !is_other && !head.has("content-encoding") && !head.has("upgrade")
}

/// Envoy writes into its request id whether it traces the request; `4` stands for no. Of another id nothing is
/// known.
fn traced(head: &Head) -> Traced {
    match head.get("x-request-id") {
        Some(id) if id.len() == 36 && id.get(14) == Some(&b'4') => Traced::No,
        _ => Traced::Yes,
    }
}

/// Three parts of a route's name, which gateways make of an API's name, its kind and its version.
fn api(route: &str) -> &str {
    match route.match_indices('@').nth(2) {
        Some((end, _)) => route.get(..end).unwrap_or(route),
        None if route.matches('@').count() == 2 => route,
        None => NONE,
    }
}

/// The model that a path names: Gemini's, Azure's and Bedrock's do.
fn model_in_path(path: &str) -> Option<String> {
    let behind = |mark: &str| path.split_once(mark).map(|(_, rest)| rest);
    let model = if let Some(rest) = behind("/models/").filter(|_| path.ends_with("enerateContent")) {
        rest.split(':').next()
    } else if let Some(rest) = behind("/deployments/") {
        rest.split('/').next()
    } else {
        let (model, method) = behind("/model/")?.split_once('/')?;
        (method.starts_with("converse") || method.starts_with("invoke")).then_some(model)
    };
    model.filter(|model| !model.is_empty()).map(percent_decoded)
}

fn percent_decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        let digits = behind.first_chunk::<2>().filter(|_| *byte == b'%');
        let code = digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        if code.is_some() {
            rest = behind.get(2..).unwrap_or_default();
        }
        out.push(code.unwrap_or(*byte));
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_api_is_three_parts_of_a_route() {
        for (route, expected) in [
            ("chat@prod@v1", "chat@prod@v1"),
            ("a@b@c@d@e", "a@b@c"),
            ("plain", "-"),
            ("a@b", "-"),
            ("", "-"),
        ] {
            assert_eq!(api(route), expected, "{route}");
        }
    }

    #[test]
    fn paths_of_some_vendors_name_the_model() {
        for (path, expected) in [
            ("/v1beta/models/gem-1:streamGenerateContent", Some("gem-1")),
            ("/openai/deployments/gpt-4o/chat/completions", Some("gpt-4o")),
            ("/model/anthropic.claude-v2%3A1/converse-stream", Some("anthropic.claude-v2:1")),
            ("/model/m/invoke", Some("m")),
            ("/model/m/other", None),
            ("/v1/models/gpt-4o", None),
            ("/v1/chat/completions", None),
        ] {
            assert_eq!(model_in_path(path).as_deref(), expected, "{path}");
        }
        assert_eq!(percent_decoded("a%2"), "a%2");
    }
}
