//! The life of one exchange.

use std::borrow::Cow;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use common::config::{ConfigError, Section};
use common::filter::{
    self, CallAnswer, End, Env, Filter, Flow, LogLevel, MetricKind, RequestBody, RequestCx, ResponseBody,
    ResponseCx, Start, StreamCx, TickCx,
};
use common::http::head::Value;
use common::http::multipart::Passing;
use common::http::{Fault, Head, LocalReply, path};
use common::llm::api::{Api, Placeholders};
use common::llm::dialect::Dialect;
use common::llm::error;

use crate::answer::{self, ChatStream, Form, Opening, Translated};
use crate::attempt::Attempt;
use crate::config::{ActiveProvider, Config, Protocol};
use crate::context::{self, Context, Fetched, Waiting};
use crate::credential::OriginalAuth;
use crate::custom_settings::Part;
use crate::keys::Keys;
use crate::path::{Way, parameter, without};
use crate::status::is_success;
use crate::{body, count_tokens, form, health};
use translate::{Carried, Pair, Stamp, Talk, vendor_error};

pub(crate) const ORIGINAL_HOST: &str = "x-envoy-original-host";
pub(crate) const ORIGINAL_PATH: &str = "x-envoy-original-path";
/// Names the cluster that was chosen before the request was readdressed; the first route reads it.
const PINNED_CLUSTER: &str = "x-ai-pinned-cluster";
/// Read by patched Envoys only; harmless on others.
const FIRST_BYTE_TIMEOUT: &str = "x-envoy-upstream-rq-first-byte-timeout-ms";

/// Tells the client what it asked for and the vendor was not told, as names of request members.
const DROPPED: &str = "x-ai-proxy-dropped";

/// Counts the events of rewritten streams that were left out because they could not be read.
const UNREADABLE: &str = "ai_proxy_unreadable_events";

/// One exchange with an LLM vendor.
pub struct AiProxy {
    config: Rc<Config>,
    /// The provider in charge.
    active: Rc<ActiveProvider>,
    /// There in a cluster's upstream chain.
    attempt: Option<Attempt>,
    /// `None`: the path names none.
    api: Option<Api>,
    /// The client speaks another API than the vendor is asked in.
    pair: Option<Pair>,
    /// How that is done, once the request has come.
    carried: Option<Box<Carried>>,
    /// Names of what the vendor is not told of a request in its own API.
    dropped: Option<String>,
    reads: Reads,
    /// There if it matters how the exchange ends.
    keys: Option<Box<Keys>>,
    /// The body, while the context file is fetched.
    waiting: Option<Waiting>,
    /// A form that passes.
    form: Option<Box<Passing>>,
    /// The answer may have to be read.
    reads_answer: bool,
    /// A streamed answer that has not begun, where its client is not to see it before.
    opening: Option<Box<Opening>>,
    /// A streamed answer that is rewritten.
    stream: Option<Box<ChatStream>>,
}

/// What is read of a request body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reads {
    Nothing,
    /// A JSON object, which is made to fit the vendor.
    Json,
    /// What may be a JSON object, for the configuration's own settings and for what it says about a stream.
    Settings,
    /// A form, whose model is mapped.
    Form,
    /// A message whose tokens are counted here.
    Tokens,
}

impl Filter for AiProxy {
    const NAME: &'static str = "ai-proxy";
    const BROKEN_CONFIG_REFUSES: bool = true;
    type Config = Config;

    fn configure(section: &mut Section<'_>) -> Result<Config, ConfigError> {
        Config::load(section)
    }

    fn loaded(config: &Rc<Config>, env: &dyn Env) {
        config
            .providers()
            .filter_map(|provider| provider.failover.as_ref())
            .for_each(|failover| failover.found(env));
    }

    fn period(config: &Config) -> Option<Duration> {
        health::interval(config)
    }

    fn tick(config: &Rc<Config>, cx: &mut TickCx<'_>) {
        health::check(config, cx);
    }

    fn tick_call(config: &Rc<Config>, cx: &mut TickCx<'_>, tag: u64, answer: CallAnswer) {
        health::answered(config, cx.env, tag, &answer);
    }

    fn start(config: &Rc<Config>, cx: &mut RequestCx<'_>) -> Result<Start<Self>, Fault> {
        let attempt = Attempt::begin(config, cx);
        let named = attempt.as_ref().and_then(|attempt| attempt.provider.as_ref());
        match named.or(config.active.as_ref()).cloned() {
            Some(active) => Self::begin(config, active, attempt, cx),
            None => Ok(Start::Inactive),
        }
    }

    fn request_body(&mut self, cx: &mut RequestCx<'_>, body: Vec<u8>) -> Result<Flow, Fault> {
        let flow = match self.reads {
            Reads::Nothing => Flow::Pass,
            Reads::Tokens => return Ok(Flow::Reply(count_tokens::reply(&body)?)),
            Reads::Form => self.edit_form(cx, &body)?,
            Reads::Json | Reads::Settings => self.edit(cx, &body)?,
        };
        if self.keys.is_none() && self.pair.is_none() && self.context().is_none() {
            return Ok(flow);
        }
        let (body, is_edited) = match flow {
            Flow::Pass => (body, false),
            Flow::Send(edited) => (edited, true),
            flow => return Ok(flow),
        };
        let Some(context) = self.context() else { return self.leave(cx, body, is_edited) };
        match context.message(cx.env) {
            Some(message) => self.leave_with(cx, body, is_edited, message.as_deref()),
            None => {
                let (waiting, callout) = context.fetch(cx, body, self.attempt.is_some())?;
                self.waiting = Some(waiting);
                Ok(Flow::Call(callout))
            }
        }
    }

    fn request_call(&mut self, cx: &mut RequestCx<'_>, answer: CallAnswer) -> Result<Flow, Fault> {
        let (Some(waiting), Some(context)) = (self.waiting.take(), self.context()) else {
            return Err(Fault::internal("nothing waits for this answer"));
        };
        match context.fetched(cx, waiting, answer)? {
            Fetched::Message(body, message) => self.leave_with(cx, body, true, message.as_deref()),
            Fetched::Again(waiting, callout) => {
                self.waiting = Some(waiting);
                Ok(Flow::Call(callout))
            }
        }
    }

    fn request_chunk(
        &mut self,
        _: &StreamCx<'_>,
        chunk: &[u8],
        end: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        match &mut self.form {
            Some(form) => form::push(form, &self.active, chunk, end, out).map(|_| ()),
            None => {
                out.extend_from_slice(chunk);
                Ok(())
            }
        }
    }

    fn response_head(&mut self, cx: &mut ResponseCx<'_>) -> Result<ResponseBody, Fault> {
        if let Some(mut keys) = self.keys.take() {
            let is_vendors = self.is_vendors(cx);
            let step = keys.judge(&self.active, self.api, is_vendors, cx, self.config.max_body_bytes);
            self.keys = Some(keys);
            if let Some(step) = step {
                return Ok(step);
            }
        }
        self.wanted(cx)
    }

    fn response_head_call(
        &mut self,
        cx: &mut ResponseCx<'_>,
        answer: CallAnswer,
    ) -> Result<ResponseBody, Fault> {
        if let Some(keys) = &mut self.keys
            && let Some(step) =
                keys.judge_retry(&self.active, self.api, cx, answer, self.config.max_body_bytes)
        {
            return Ok(step);
        }
        self.wanted(cx)
    }

    fn response_body(&mut self, cx: &mut ResponseCx<'_>, body: Vec<u8>) -> Result<Flow, Fault> {
        let active = &self.active;
        let (Some(pair), Some(carried)) = (self.pair, &self.carried) else {
            return answer::edit(active.answers, &body);
        };
        let status = cx.status();
        if is_success(status) {
            return answer::translate(active.answers, carried, pair.dialect(), &body);
        }
        if !cx.has_body {
            return Ok(Flow::Reply(answer::wordless(pair, cx)));
        }
        let (told, body) = vendor_error::told(pair.dialect(), status, &body);
        if told != status {
            cx.head.set(":status", told.to_string());
        }
        Ok(Flow::Send(body))
    }

    fn response_chunk(&mut self, _: &StreamCx<'_>, chunk: &[u8], end: bool, out: &mut Vec<u8>) {
        match &mut self.stream {
            Some(stream) => stream.push(self.active.provider.as_ref(), chunk, end, out),
            None => out.extend_from_slice(chunk),
        }
    }

    fn response_opens(
        &mut self,
        _: &mut ResponseCx<'_>,
        piece: &[u8],
        end: bool,
        out: &mut Vec<u8>,
    ) -> Result<filter::Opening, Fault> {
        let held = match &mut self.opening {
            Some(opening) => opening.push(piece, end)?,
            None => Some(piece.to_vec()),
        };
        let Some(held) = held else { return Ok(filter::Opening::Wait) };
        self.opening = None;
        Ok(match &mut self.stream {
            Some(stream) => {
                stream.push(self.active.provider.as_ref(), &held, end, out);
                filter::Opening::Rewrite
            }
            None => {
                *out = held;
                filter::Opening::Pass
            }
        })
    }

    fn has_broken_response(&self) -> bool {
        self.stream.as_ref().is_some_and(|stream| stream.is_broken())
    }

    fn replies_in_place(&self) -> bool {
        self.attempt.is_some()
    }

    fn end(self, cx: &StreamCx<'_>, how: End) {
        if let Some(attempt) = &self.attempt {
            attempt.end(cx, how);
        }
        let unreadable = self.stream.map_or(0, |stream| stream.unreadable());
        if unreadable == 0 {
            return;
        }
        let message = "were left out of a stream because they could not be read";
        cx.env.log(LogLevel::Warn, format_args!("{}: {unreadable} events {message}", Self::NAME));
        if let Some(counter) = cx.env.metric(MetricKind::Counter, UNREADABLE) {
            cx.env.add(counter, i64::try_from(unreadable).unwrap_or(i64::MAX));
        }
    }
}

impl AiProxy {
    /// A request that `active` is in charge of.
    pub(crate) fn begin(
        config: &Rc<Config>,
        active: Rc<ActiveProvider>,
        attempt: Option<Attempt>,
        cx: &mut RequestCx<'_>,
    ) -> Result<Start<Self>, Fault> {
        let mut request = Addressed::of(cx.head)?;
        request.ask_vendor(&active);
        if let Some(reply) = request.models_from_config(cx.head, &active)? {
            return Ok(Start::Reply(reply));
        }
        if request.counts_tokens(cx.head, &active)? {
            let filter = Self::reading(config, active, request.api, Reads::Tokens);
            let body = RequestBody::Whole { limit: config.max_body_bytes };
            return Ok(Start::Run { filter, body, response: false });
        }
        let asked = request.api;
        let pair = active.carries(asked).filter(|_| has_body_of(cx.head));
        // Whose answers are held has to know the chain it is in, though nothing else tells.
        let attempt = attempt.or_else(|| pair.and_then(|_| Attempt::unmarked(cx.env)));
        request.carry(pair);
        let way = request.way(&active);
        if way == Way::Refused {
            return Err(request.refusal());
        }
        let api = request.api;
        if pair.is_some() {
            demand_json(cx.head)?;
        }
        let mut reads = api.map_or(Reads::Nothing, |api| reads(&active, api, way, cx.head));
        let mut form = None;
        if reads == Reads::Form {
            form = form::passing(&active, way, cx.head)?.map(Box::new);
            if form.is_none() {
                reads = Reads::Nothing;
            }
        }
        // A path that names the model waits for the body that says which.
        let waits = way.names_model() && matches!(reads, Reads::Json | Reads::Form);
        let target = if waits { Target::Kept } else { request.target(&active, way, None) };
        if config.pin_cluster {
            // Before any other edit: each of them makes Envoy choose the route again.
            pin_cluster(cx);
        }
        let original_auth = OriginalAuth::of(cx.head, config.keep_original_auth);
        let (token, mut keys) = Keys::choose(config, &active, asked, attempt.as_ref(), cx);
        active.credentials.apply(cx.head, active.auth(api), token)?;
        original_auth.apply(cx.head);
        active.provider.edit_head(cx.head);
        for name in pair.map_or(&[][..], Pair::headers) {
            cx.head.remove(name);
        }
        match &active.authority {
            Some(authority) => readdress(cx.head, ":authority", ORIGINAL_HOST, authority),
            None => cx.head.remove(ORIGINAL_HOST),
        }
        if active.profile.times_every_request || asked == Some(Api::GeminiStreamGenerateContent) {
            limit_first_byte(cx.head, &active);
        }
        if !waits {
            target.apply(cx.head);
        }
        let limit = config.max_body_bytes;
        let passes = matches!(reads, Reads::Nothing | Reads::Form) && !waits;
        let keeps = passes && keys.as_mut().is_some_and(|keys| keys.wants_body(cx, limit));
        let body = match reads {
            Reads::Nothing if !keeps => RequestBody::Pass,
            Reads::Form if passes && !keeps => RequestBody::Chunks,
            _ => RequestBody::Whole { limit },
        };
        let reads_answer = pair.is_some() || (active.reads_answers && api == Some(Api::ChatCompletions));
        let response = reads_answer || keys.is_some() || attempt.is_some();
        let filter =
            Self { attempt, pair, keys, form, reads_answer, ..Self::reading(config, active, api, reads) };
        Ok(Start::Run { filter, body, response })
    }

    /// An exchange of which nothing but its request is known to matter.
    fn reading(config: &Rc<Config>, active: Rc<ActiveProvider>, api: Option<Api>, reads: Reads) -> Self {
        Self {
            config: Rc::clone(config),
            active,
            attempt: None,
            api,
            pair: None,
            carried: None,
            dropped: None,
            reads,
            keys: None,
            waiting: None,
            form: None,
            reads_answer: false,
            opening: None,
            stream: None,
        }
    }

    /// What becomes of the body of the response that the client gets.
    fn wanted(&mut self, cx: &mut ResponseCx<'_>) -> Result<ResponseBody, Fault> {
        let dropped = self.carried.as_ref().and_then(|carried| carried.dropped());
        if let Some(dropped) = dropped.or_else(|| self.dropped.take()) {
            cx.head.set(DROPPED, dropped);
        }
        let limit = self.config.max_body_bytes;
        let is_vendors = self.is_vendors(cx);
        let answers = self.active.answers;
        let form = match self.pair {
            _ if !self.reads_answer => Form::Unread,
            None => answers.form(is_vendors, cx),
            Some(pair) => match answers.translated(pair, self.active.passes_errors, is_vendors, limit, cx)? {
                Translated::As(form) => {
                    if form == Form::Whole {
                        cx.head.set("content-type", "application/json");
                    }
                    form
                }
                Translated::Reply(reply) => return Ok(ResponseBody::Reply(reply)),
            },
        };
        if form == Form::Events {
            let streams = self.carried.as_ref().map(|carried| carried.streams()).unwrap_or_default();
            self.stream = Some(Box::new(ChatStream::new(answers, streams)));
        }
        if self.attempt.is_some() && form != Form::Whole && answer::is_stream(cx) {
            self.opening = Some(Box::new(Opening::new(limit)));
            return Ok(ResponseBody::Opening { limit });
        }
        Ok(form.body(limit))
    }

    /// Whether a vendor gave this answer, rather than Envoy or another filter. Nobody else has a word in an upstream
    /// chain.
    fn is_vendors(&self, cx: &ResponseCx<'_>) -> bool {
        self.attempt.is_some() || cx.is_from_upstream()
    }

    /// A form that is held: the path names its model, or it may be sent again.
    fn edit_form(&mut self, cx: &mut RequestCx<'_>, body: &[u8]) -> Result<Flow, Fault> {
        let (active, Some(form)) = (&self.active, &mut self.form) else { return Ok(Flow::Pass) };
        let (edited, model) = form::edit(form, active, body)?;
        let way = active.paths.way(self.api);
        Addressed::of(cx.head)?.target(active, way, model.as_deref()).apply(cx.head);
        Ok(if edited == body { Flow::Pass } else { Flow::Send(edited) })
    }

    /// The context of this request, if it has one.
    fn context(&self) -> Option<&Context> {
        let is_chat = self.pair.is_some() || self.api == Some(Api::ChatCompletions);
        self.active.context.as_ref().filter(|_| self.reads == Reads::Json && is_chat)
    }

    /// The same with the text of a file in front, if there is one.
    fn leave_with(
        &mut self,
        cx: &mut RequestCx<'_>,
        body: Vec<u8>,
        is_edited: bool,
        message: Option<&[u8]>,
    ) -> Result<Flow, Fault> {
        match message.and_then(|message| context::insert(&body, message)) {
            Some(body) => self.leave(cx, body, true),
            None => self.leave(cx, body, is_edited),
        }
    }

    /// The body as it goes upstream. Until here a conversation is a chat, whoever speaks what.
    fn leave(
        &mut self,
        cx: &mut RequestCx<'_>,
        mut body: Vec<u8>,
        mut is_edited: bool,
    ) -> Result<Flow, Fault> {
        if let Some(carried) = &mut self.carried
            && self.pair.is_some_and(|pair| pair.vendor != Talk::Chat)
        {
            let settings = &self.active.custom_settings;
            let settled = settings.apply(&body, Part::Chat).unwrap_or_default().body;
            if let Some(vendors) = carried.request_of(settled.as_deref().unwrap_or(&body), cx.head)? {
                // The other ones of the configuration's settings are put as the vendor knows them.
                let applied = settings.apply(&vendors, Part::BehindChat).unwrap_or_default();
                report_misfit(cx.env, applied.misfit.as_deref());
                (body, is_edited) = (applied.body.unwrap_or(vendors), true);
            }
        }
        if let Some(keys) = &mut self.keys {
            keys.keep(cx.head, &body);
        }
        Ok(if is_edited { Flow::Send(body) } else { Flow::Pass })
    }

    /// The body of a request of our own, as it goes upstream. It has no context.
    pub(crate) fn probe(&mut self, cx: &mut RequestCx<'_>, body: &[u8]) -> Result<Flow, Fault> {
        match self.edit(cx, body)? {
            Flow::Pass => self.leave(cx, body.to_vec(), false),
            Flow::Send(edited) => self.leave(cx, edited, true),
            flow => Ok(flow),
        }
    }

    /// Makes the request fit the vendor, but for its API.
    fn edit(&mut self, cx: &mut RequestCx<'_>, body: &[u8]) -> Result<Flow, Fault> {
        let (active, Some(api)) = (Rc::clone(&self.active), self.api) else { return Ok(Flow::Pass) };
        let mut carried = self.pair.map(|pair| Box::new(carry(pair, cx.env)));
        let mut chat = match &mut carried {
            Some(carried) => carried.chat_of(body, active.manner)?,
            None => None,
        };
        let api = if carried.is_some() { Api::ChatCompletions } else { api };
        let mut flow = self.fit(cx, &active, api, chat.as_deref().unwrap_or(body))?;
        if flow.is_none() {
            let carried = carried.get_or_insert_with(|| Box::new(carry(Pair::CHAT, cx.env)));
            let made = chat.insert(carried.chat_of_response(body, active.manner)?);
            flow = self.fit(cx, &active, api, made)?;
        }
        self.carried = carried;
        Ok(match (flow, chat) {
            (None | Some(Flow::Pass), Some(chat)) => Flow::Send(chat),
            (flow, _) => flow.unwrap_or(Flow::Pass),
        })
    }

    /// The same in the API that the vendor is asked for, or in the one that becomes it. `None`: what should be a chat
    /// asks for a response.
    fn fit(
        &mut self,
        cx: &mut RequestCx<'_>,
        active: &ActiveProvider,
        api: Api,
        body: &[u8],
    ) -> Result<Option<Flow>, Fault> {
        if self.reads == Reads::Settings {
            let applied = body::edit_settings(body, active);
            report_misfit(cx.env, applied.misfit.as_deref());
            let text = applied.body.as_deref().unwrap_or(body);
            if active.first_byte_timeout.is_some() && body::may_stream(api) && body::asks_for_stream(text) {
                limit_first_byte(cx.head, active);
            }
            return Ok(Some(applied.body.map_or(Flow::Pass, Flow::Send)));
        }
        let way = active.paths.way(self.api);
        let wanted = body::Wanted { model: way.names_model(), usage: wants_usage(self.pair, active) };
        let edited = if self.pair.is_some_and(|pair| pair.vendor != Talk::Chat) {
            body::edit_for_vendor(body, api, active, wanted)?
        } else {
            body::edit(body, api, active, wanted)?
        };
        if edited.asks_for_response {
            return Ok(None);
        }
        report_misfit(cx.env, edited.misfit.as_deref());
        self.dropped = edited.dropped;
        if edited.streams {
            if matches!(api, Api::ChatCompletions | Api::Videos | Api::VideoRemix) {
                cx.head.set("accept", "text/event-stream");
            }
            if body::may_stream(api) {
                limit_first_byte(cx.head, active);
            }
        }
        if way.names_model() {
            let mut request = Addressed::of(cx.head)?;
            request.carry(self.pair);
            request.target(active, way, edited.model.as_deref()).apply(cx.head);
        }
        Ok(Some(edited.body.map_or(Flow::Pass, Flow::Send)))
    }
}

/// An exchange whose request is here.
fn carry(pair: Pair, env: &dyn Env) -> Carried {
    let created = env.now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Carried::new(pair, Stamp { created, seed: env.random() })
}

/// Whether a stream is to end with its usage: clients that speak no chats expect it.
fn wants_usage(pair: Option<Pair>, active: &ActiveProvider) -> bool {
    active.asks_for_usage || pair.is_some_and(|pair| pair.client != Talk::Chat)
}

fn report_misfit(env: &dyn Env, misfit: Option<&str>) {
    if let Some(name) = misfit {
        let message = "has no place in a request body, it and the settings after it were left out";
        env.log(LogLevel::Warn, format_args!("{}: the custom setting `{name}` {message}", AiProxy::NAME));
    }
}

fn limit_first_byte(head: &mut Head, active: &ActiveProvider) {
    if let Some(timeout) = &active.first_byte_timeout {
        head.set(FIRST_BYTE_TIMEOUT, timeout.as_str());
    }
}

/// What the client asked for, by its path.
struct Addressed<'h> {
    path_and_query: &'h str,
    path: &'h str,
    query: Option<&'h str>,
    api: Option<Api>,
    places: Placeholders,
    /// The path is the vendor's own, and goes on behind what names the API.
    goes_on: bool,
}

/// The path that goes upstream.
enum Target {
    /// The one that the client named.
    Kept,
    Changed(String),
}

impl Target {
    fn apply(self, head: &mut Head) {
        match self {
            Self::Kept => head.remove(ORIGINAL_PATH),
            Self::Changed(path) => readdress(head, ":path", ORIGINAL_PATH, path),
        }
    }
}

impl<'h> Addressed<'h> {
    fn of(head: &'h Head) -> Result<Self, Fault> {
        let path_and_query = head.original(":path").and_then(|path| std::str::from_utf8(path).ok());
        let Some(path_and_query) = path_and_query.filter(|path| path::is_valid(path)) else {
            return Err(Fault::client(400, "invalid_path", "the request path is malformed"));
        };
        let (path, query) = path::split(path_and_query);
        let (api, places) = match Api::detect(path) {
            Some((api, places)) => (Some(api), places),
            None => (None, Placeholders::default()),
        };
        Ok(Self { path_and_query, path, query, api, places, goes_on: false })
    }

    /// Clients that speak a vendor's own API may name it by the vendor's own path.
    fn ask_vendor(&mut self, active: &ActiveProvider) {
        if active.protocol == Protocol::Original
            && self.api.is_none()
            && let Some((api, goes_on)) = active.paths.named_by_vendor(self.path)
        {
            (self.api, self.goes_on) = (Some(api), goes_on);
        }
    }

    /// Goes on as a request for the API that stands in for the client's. The query is the client's API's own.
    fn carry(&mut self, pair: Option<Pair>) {
        if let Some(pair) = pair {
            (self.api, self.query) = (Some(pair.vendor.api()), None);
        }
    }

    fn way<'a>(&self, active: &'a ActiveProvider) -> Way<'a> {
        let way = active.paths.way(self.api);
        match active.protocol {
            Protocol::OpenAi => way,
            Protocol::Original if active.paths.removes_prefix() || active.profile.keeps_original_path => {
                Way::Kept
            }
            Protocol::Original if way == Way::Refused || self.goes_on => Way::Kept,
            Protocol::Original => way,
        }
    }

    /// The path that goes upstream. `model` is the one in the body, if that is known.
    fn target(&self, active: &ActiveProvider, way: Way<'_>, model: Option<&str>) -> Target {
        let mut query = self.query;
        let stripped;
        if active.credentials.len() > 0 && self.api.map(Dialect::of) == Some(Dialect::Gemini) {
            // Gemini's clients may carry their key here.
            stripped =
                query.map(|query| without(query, |name| name == "key")).filter(|query| !query.is_empty());
            query = stripped.as_deref();
        }
        let target = match way {
            Way::Mapped(route) => {
                let named = || parameter(self.query, "model").map(|model| active.models.map(model));
                let model = model.map(Cow::Borrowed).or_else(|| way.names_model().then(named).flatten());
                let model = model.as_deref().unwrap_or("placeholder");
                active.paths.mapped(route, &self.places, query, model)
            }
            Way::Kept | Way::Refused => active.paths.kept(self.path, query).into(),
        };
        if target == self.path_and_query { Target::Kept } else { Target::Changed(target.into_owned()) }
    }

    /// The answer to a question for models that the vendor cannot answer and the configuration can.
    fn models_from_config(&self, head: &Head, active: &ActiveProvider) -> Result<Option<LocalReply>, Fault> {
        let (Some(models), Some(Api::Models | Api::Model)) = (&active.model_list, self.api) else {
            return Ok(None);
        };
        if head.get(":method") != Some(b"GET") {
            return Ok(None);
        }
        let dialect = error::dialect(head);
        let body = if self.api == Some(Api::Models) {
            models.all(dialect)
        } else {
            let name = self.path.rsplit('/').next().unwrap_or_default();
            let unknown = || Fault::client(404, "model_not_found", "the model does not exist");
            models.one(name, dialect).ok_or_else(unknown)?
        };
        Ok(Some(LocalReply::json(200, body, "models_from_config")))
    }

    /// Whether this is a question for a count of tokens that only an estimate can answer.
    fn counts_tokens(&self, head: &Head, active: &ActiveProvider) -> Result<bool, Fault> {
        let counts = active.counts_tokens && self.api == Some(Api::MessagesCountTokens) && has_body_of(head);
        if counts {
            demand_json(head)?;
        }
        Ok(counts)
    }

    fn refusal(&self) -> Fault {
        match self.api {
            Some(api) => {
                Fault::client(404, "unsupported_api", format!("the API {} is not available here", api.name()))
            }
            None => Fault::client(404, "unknown_url", "no API is available at this path"),
        }
    }
}

/// Sets a pseudo header, and keeps what it was where the access log and others look for it. A copy
/// that the client sent itself is not to be believed.
fn readdress(head: &mut Head, name: &str, original_name: &str, value: impl Into<Value>) {
    let value = value.into();
    match head.original(name).filter(|original| **original != *value) {
        Some(original) => {
            let original = original.to_vec();
            head.set(original_name, original);
        }
        None => head.remove(original_name),
    }
    head.set(name, value);
}

fn pin_cluster(cx: &mut RequestCx<'_>) {
    match cx.env.property(&["xds", "cluster_name"]) {
        Some(cluster) => cx.head.set(PINNED_CLUSTER, cluster),
        None => cx.head.remove(PINNED_CLUSTER),
    }
}

/// What has to be read of a request body: JSON of an API whose body this provider edits, or what the
/// configuration's own settings go into, or what says whether a limited first byte is to be expected.
fn reads(active: &ActiveProvider, api: Api, way: Way<'_>, head: &Head) -> Reads {
    let is_mapped = active.protocol == Protocol::OpenAi && matches!(way, Way::Mapped(_));
    if is_mapped && body::is_form(api) && active.provider.edits(api) && form::is_form(head) {
        return if has_body_of(head) { Reads::Form } else { Reads::Nothing };
    }
    let reads = if is_mapped && body::is_json(api) && active.provider.edits(api) {
        Reads::Json
    } else if !active.custom_settings.is_empty() || times_stream(active, api) {
        Reads::Settings
    } else {
        return Reads::Nothing;
    };
    if has_body_of(head) && is_readable_json(head) { reads } else { Reads::Nothing }
}

/// Whether only a body of the client's own protocol says if the first byte is to be limited.
fn times_stream(active: &ActiveProvider, api: Api) -> bool {
    active.protocol == Protocol::Original
        && active.first_byte_timeout.is_some()
        && body::may_stream(api)
        && !active.profile.times_every_request
}

fn has_body_of(head: &Head) -> bool {
    matches!(head.get(":method"), Some(b"POST" | b"PUT" | b"PATCH"))
}

fn demand_json(head: &Head) -> Result<(), Fault> {
    let message = "the request body must be JSON, and not encoded";
    let unfit = || Fault::client(415, "unsupported_media_type", message);
    is_readable_json(head).then_some(()).ok_or_else(unfit)
}

fn is_readable_json(head: &Head) -> bool {
    (!head.has("content-type") || head.contains("content-type", "application/json"))
        && !head.has("content-encoding")
}
