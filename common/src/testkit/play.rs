//! Plays an exchange: the calls that Envoy would make, in its order, and what came of them.
#![expect(clippy::indexing_slicing, clippy::panic, reason = "test support: a panic is the verdict")]

use std::rc::Rc;
use std::time::Duration;

use super::fake::{FakeEnvoy, Fields};
use crate::filter::driver::{Action, Exchange, Plugin};
use crate::filter::root::Root;
use crate::filter::{Callout, Filter, LogLevel};
use crate::http::LocalReply;

/// Where an Envoy tells of which release it is.
const MINOR: &str = "xds.node.user_agent_build_version.version.minor_number";

/// What both peers do. Start from [`Script::post`] or [`Script::request`] and chain.
#[derive(Debug, Clone, Default)]
pub struct Script {
    request: Fields,
    request_body: Vec<Vec<u8>>,
    request_trailers: bool,
    response: Option<Fields>,
    response_body: Vec<Vec<u8>>,
    response_trailers: bool,
    aborted: bool,
    answers: Vec<Option<(Fields, Vec<u8>)>>,
    properties: Vec<(String, Vec<u8>)>,
    dead_clusters: Vec<String>,
    random: u64,
    moments: Vec<Duration>,
    late: usize,
}

impl Script {
    /// A request without a body.
    #[must_use]
    pub fn request(method: &str, path: &str) -> Self {
        let fields = [(":method", method), (":path", path), (":authority", "gw.local"), (":scheme", "https")];
        let request =
            fields.iter().map(|(name, value)| ((*name).into(), value.as_bytes().to_vec())).collect();
        Self { request, ..Self::default() }
    }

    /// A POST of JSON, in one piece.
    #[must_use]
    pub fn post(path: &str, body: impl AsRef<[u8]>) -> Self {
        let length = body.as_ref().len().to_string();
        Self::request("POST", path)
            .header("content-type", "application/json")
            .header("content-length", length)
            .chunks([body.as_ref().to_vec()])
    }

    /// Adds a request header, or replaces `:authority` and the other pseudo headers.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        if name.starts_with(':') {
            self.request.retain(|(known, _)| known != name);
        }
        self.request.push((name.into(), value.as_ref().to_vec()));
        self
    }

    /// Removes a request header.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.request.retain(|(known, _)| known != name);
        self
    }

    /// The request body, piece by piece.
    #[must_use]
    pub fn chunks(mut self, chunks: impl IntoIterator<Item = Vec<u8>>) -> Self {
        self.request_body = chunks.into_iter().collect();
        self
    }

    /// The request ends with trailers.
    #[must_use]
    pub fn with_request_trailers(mut self) -> Self {
        self.request_trailers = true;
        self
    }

    /// What the upstream answers.
    #[must_use]
    pub fn answered(
        mut self,
        status: u16,
        headers: &[(&str, &str)],
        chunks: impl IntoIterator<Item = Vec<u8>>,
    ) -> Self {
        let mut fields: Fields = vec![(":status".into(), status.to_string().into_bytes())];
        fields.extend(headers.iter().map(|(name, value)| ((*name).into(), value.as_bytes().to_vec())));
        self.response = Some(fields);
        self.response_body = chunks.into_iter().collect();
        self.property("response.code_details", "via_upstream")
    }

    /// The response ends with trailers.
    #[must_use]
    pub fn with_response_trailers(mut self) -> Self {
        self.response_trailers = true;
        self
    }

    /// The upstream breaks off after the last chunk.
    #[must_use]
    pub fn broken_off(mut self) -> Self {
        self.aborted = true;
        self
    }

    /// What the next callout gets: a status and a body.
    #[must_use]
    pub fn call_answer(mut self, status: u16, body: impl AsRef<[u8]>) -> Self {
        let head = vec![(":status".into(), status.to_string().into_bytes())];
        self.answers.push(Some((head, body.as_ref().to_vec())));
        self
    }

    /// What the next callout gets: a status, fields and a body.
    #[must_use]
    pub fn call_answer_with(mut self, status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Self {
        let mut head: Fields = vec![(":status".into(), status.to_string().into_bytes())];
        head.extend(headers.iter().map(|(name, value)| ((*name).into(), value.as_bytes().to_vec())));
        self.answers.push(Some((head, body.as_ref().to_vec())));
        self
    }

    /// Callouts of the response phase are answered only after so many further pieces of its body; the
    /// end counts as a piece.
    #[must_use]
    pub fn call_answers_after(mut self, pieces: usize) -> Self {
        self.late = pieces;
        self
    }

    /// The next callout breaks off without an answer.
    #[must_use]
    pub fn call_broken(mut self) -> Self {
        self.answers.push(None);
        self
    }

    /// A cluster that no call can be started to.
    #[must_use]
    pub fn dead_cluster(mut self, name: &str) -> Self {
        self.dead_clusters.push(name.into());
        self
    }

    /// A property, its path joined by dots.
    #[must_use]
    pub fn property(mut self, path: &str, value: impl AsRef<[u8]>) -> Self {
        self.properties.push((path.into(), value.as_ref().to_vec()));
        self
    }

    /// An Envoy of the release 1.`minor`, rather than of the newest.
    #[must_use]
    pub fn on_release(self, minor: u64) -> Self {
        self.property(MINOR, minor.to_le_bytes())
    }

    /// When the pieces of the response come, its end among them, in milliseconds from the beginning.
    #[must_use]
    pub fn at(mut self, moments: &[u64]) -> Self {
        self.moments = moments.iter().copied().map(Duration::from_millis).collect();
        self
    }

    /// What the random source says first.
    #[must_use]
    pub fn random(mut self, seed: u64) -> Self {
        self.random = seed;
        self
    }
}

/// A message as a peer received it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Fields, pseudo headers among them.
    pub head: Vec<(String, Vec<u8>)>,
    /// Pieces as they were passed on; empty ones are left out.
    pub chunks: Vec<Vec<u8>>,
}

impl Seen {
    /// The first value of a field, lossily as text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        let found = self.head.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
    }

    /// All pieces together.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        self.chunks.concat()
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body()).into_owned()
    }
}

/// What came of an exchange.
pub struct Played {
    /// What the upstream received; `None` when nothing left.
    pub upstream: Option<Seen>,
    /// What the client received from the upstream, or what took the place of it; `None` when it got a
    /// local reply or nothing.
    pub client: Option<Seen>,
    /// The local reply, if any.
    pub reply: Option<LocalReply>,
    /// Callouts made.
    pub calls: Vec<Callout>,
    /// The fake, for logs, metrics, shared data and properties.
    pub envoy: FakeEnvoy,
}

impl Played {
    /// Log lines at or above a level.
    #[must_use]
    pub fn logged(&self, level: LogLevel) -> Vec<String> {
        let log = self.envoy.log.borrow();
        log.iter().filter(|(at, _)| *at >= level).map(|(_, line)| line.clone()).collect()
    }

    /// What the upstream received.
    ///
    /// # Panics
    /// Nothing left.
    #[must_use]
    pub fn sent(&self) -> &Seen {
        self.upstream.as_ref().unwrap_or_else(|| panic!("nothing went upstream; reply: {:?}", self.reply))
    }

    /// The local reply.
    ///
    /// # Panics
    /// There was none.
    #[must_use]
    pub fn replied(&self) -> &LocalReply {
        self.reply.as_ref().unwrap_or_else(|| panic!("no local reply; upstream: {:?}", self.upstream))
    }
}

/// The error and warning lines that loading a configuration gives; `Err` if it is refused.
///
/// # Errors
/// The line with which it is refused.
pub fn load_errors<F: Filter>(config: &str) -> Result<Vec<String>, String> {
    let envoy = FakeEnvoy::default();
    Plugin::<F>::configure(config.as_bytes(), &|_| None, &envoy).map_err(|error| error.to_string())?;
    let log = envoy.log.take();
    Ok(log.into_iter().filter(|(level, _)| *level >= LogLevel::Warn).map(|(_, line)| line).collect())
}

/// Plays one exchange against a plugin with the given configuration.
///
/// # Panics
/// The configuration is refused, or the plugin does what a real Envoy would hang or crash on.
#[must_use]
pub fn play<F: Filter>(config: &str, script: Script) -> Played {
    let envoy = FakeEnvoy::default();
    let plugin = configured::<F>(config, &envoy);
    exchange(plugin, envoy, script)
}

fn configured<F: Filter>(config: &str, envoy: &FakeEnvoy) -> Rc<Plugin<F>> {
    match Plugin::<F>::configure(config.as_bytes(), &|_| None, envoy) {
        Ok(plugin) => Rc::new(plugin),
        Err(error) => panic!("the configuration is refused: {error}"),
    }
}

/// A plugin in one worker, for tests of what lives on from exchange to exchange.
pub struct Worker<F: Filter> {
    root: Root<F>,
    /// The fake, as the timer sees it.
    pub envoy: FakeEnvoy,
}

impl<F: Filter> Worker<F> {
    /// The first worker of an Envoy.
    ///
    /// # Panics
    /// The configuration is refused.
    #[must_use]
    pub fn start(config: &str) -> Self {
        Self::on(FakeEnvoy::default(), config)
    }

    /// Another worker of the same Envoy, or the same one after an update of the configuration.
    ///
    /// # Panics
    /// The configuration is refused.
    #[must_use]
    pub fn beside(&self, config: &str) -> Self {
        let envoy = self.envoy.beside();
        envoy.random.set(self.envoy.random.get() + 1000);
        Self::on(envoy, config)
    }

    fn on(envoy: FakeEnvoy, config: &str) -> Self {
        let root = Root::start(configured(config, &envoy), &envoy);
        Self { root, envoy }
    }

    /// Plays one exchange.
    ///
    /// # Panics
    /// The plugin does what a real Envoy would hang or crash on.
    #[must_use]
    pub fn play(&self, script: Script) -> Played {
        exchange(Rc::clone(self.root.plugin()), self.envoy.stream(), script)
    }

    /// Time passes, for all workers.
    pub fn pass(&self, time: Duration) {
        self.envoy.now.set(self.envoy.now.get() + time);
        self.envoy.monotonic.set(self.envoy.monotonic.get() + time);
    }

    /// The timer fires. Every call that follows is answered by `answer` with a status, or breaks off;
    /// gives the calls.
    pub fn tick(&mut self, mut answer: impl FnMut(&Callout) -> Option<u16>) -> Vec<Callout> {
        assert!(self.envoy.timer.get().is_some(), "no timer was asked for");
        let first = self.envoy.calls.borrow().len();
        self.root.tick(&self.envoy);
        let mut at = first;
        loop {
            let Some(call) = self.envoy.calls.borrow().get(at).cloned() else { break };
            let head: Fields = match answer(&call) {
                Some(status) => vec![(":status".into(), status.to_string().into_bytes())],
                None => Vec::new(),
            };
            let headers = head.len();
            self.envoy.heads.borrow_mut()[2] = head;
            self.envoy.bodies.borrow_mut()[2] = Vec::new();
            self.root.call_answer(&self.envoy, u32::try_from(at).unwrap_or(u32::MAX), headers, 0);
            at += 1;
        }
        self.envoy.calls.borrow().iter().skip(first).cloned().collect()
    }
}

fn exchange<F: Filter>(plugin: Rc<Plugin<F>>, envoy: FakeEnvoy, script: Script) -> Played {
    let envoy = FakeEnvoy { dead_clusters: script.dead_clusters.clone(), ..envoy };
    envoy.random.set(script.random);
    envoy.properties.borrow_mut().extend(script.properties.iter().cloned());
    let mut player = Player { is_within: false, exchange: Exchange::new(plugin), envoy, script, answered: 0 };
    let upstream = player.request();
    let client = if upstream.is_some() { player.response() } else { None };
    player.exchange.end(&player.envoy);
    player.exchange.end(&player.envoy);
    let envoy = player.envoy;
    let reply = envoy.reply.take();
    let calls = envoy.calls.take();
    let client = match envoy.replaced.take() {
        Some((head, body)) => Some(Seen { head, chunks: vec![body] }),
        None if reply.is_some() => None,
        None => client,
    };
    Played { client, upstream, reply, calls, envoy }
}

struct Player<F: Filter> {
    /// More of the body that is being fed is to come.
    is_within: bool,
    exchange: Exchange<F>,
    envoy: FakeEnvoy,
    script: Script,
    answered: usize,
}

impl<F: Filter> Player<F> {
    fn request(&mut self) -> Option<Seen> {
        let script = self.script.clone();
        self.envoy.heads.borrow_mut()[0] = script.request;
        let headless = script.request_body.is_empty() && !script.request_trailers;
        let mut held = self.exchange.request_head(&self.envoy, headless) == Action::Pause;
        if self.replied() {
            self.own_reply();
            return None;
        }
        if headless {
            held = self.settle(held, 0);
            assert!(!held || self.replied(), "rule 1: a head-only request is held for ever");
            return self.seen(0, &[Vec::new()]);
        }
        let sent = self.body(0, held, &script.request_body, script.request_trailers)?;
        self.seen(0, &sent)
    }

    fn response(&mut self) -> Option<Seen> {
        let script = self.script.clone();
        self.envoy.heads.borrow_mut()[1] = script.response?;
        let headless = script.response_body.is_empty() && !script.response_trailers && !script.aborted;
        let mut held = self.exchange.response_head(&self.envoy, headless) == Action::Pause;
        if headless || script.late == 0 {
            held = self.settle(held, 1);
        }
        if self.replied() {
            self.own_reply();
            return None;
        }
        if headless {
            assert!(!held, "rule 1: a head-only response is held for ever");
            return self.seen(1, &[Vec::new()]);
        }
        let sent = self.body(1, held, &script.response_body, script.response_trailers)?;
        self.seen(1, &sent)
    }

    /// Feeds a body in one direction; gives the pieces that were passed on, or `None` after a reply.
    fn body(
        &mut self,
        way: usize,
        mut held: bool,
        chunks: &[Vec<u8>],
        trailers: bool,
    ) -> Option<Vec<Vec<u8>>> {
        let (mut sent, mut waiting) = (Vec::new(), Vec::new());
        let aborted = way == 1 && self.script.aborted;
        let last = if trailers || aborted { None } else { Some(Vec::new()) };
        let ends = chunks.len();
        for (at, chunk) in chunks.iter().chain(last.iter()).enumerate() {
            waiting.extend_from_slice(chunk);
            self.mark_buffered(way, waiting.len() > chunk.len());
            self.envoy.bodies.borrow_mut()[way].clone_from(&waiting);
            let end = at == ends;
            if let Some(moment) = self.script.moments.get(at).filter(|_| way == 1) {
                self.envoy.monotonic.set(*moment);
            }
            self.is_within = !end;
            let action = match way {
                0 => self.exchange.request_body(&self.envoy, waiting.len(), end),
                _ => self.exchange.response_body(&self.envoy, waiting.len(), end),
            };
            let waits = way == 1 && at < self.script.late && !end;
            let paused =
                if waits { action == Action::Pause } else { self.settle(action == Action::Pause, way) };
            if self.replied() {
                self.own_reply();
                return None;
            }
            waiting = std::mem::take(&mut self.envoy.bodies.borrow_mut()[way]);
            if !paused {
                if held && way == 1 {
                    self.assert_may_wait();
                }
                held = false;
                sent.push(std::mem::take(&mut waiting));
            }
        }
        self.is_within = false;
        if trailers {
            self.mark_buffered(way, true);
            self.envoy.bodies.borrow_mut()[way].clone_from(&waiting);
            let action = match way {
                0 => self.exchange.request_trailers(&self.envoy),
                _ => self.exchange.response_trailers(&self.envoy),
            };
            let was_held = held;
            held = self.settle(action == Action::Pause, way);
            if self.replied() {
                self.own_reply();
                return None;
            }
            if was_held && !held && way == 1 {
                self.assert_may_wait();
            }
            sent.push(std::mem::take(&mut self.envoy.bodies.borrow_mut()[way]));
        }
        assert!(!held || aborted, "rule 11: the head is still held after the end of the body");
        sent.retain(|piece| !piece.is_empty());
        Some(sent)
    }

    /// Answers callouts until the phase goes on; says whether it is still paused.
    fn settle(&mut self, paused: bool, way: usize) -> bool {
        if !paused {
            return false;
        }
        self.mark_buffered(way, true);
        while self.answered < self.envoy.calls.borrow().len() && !self.replied() {
            let resumed = self.envoy.resumed.get()[way];
            let token = u32::try_from(self.answered).unwrap_or(u32::MAX);
            let answer = self.script.answers.get(self.answered).cloned();
            let Some(answer) = answer else { panic!("no answer scripted for callout {token}") };
            self.answered += 1;
            let (head, body) = answer.unwrap_or_default();
            let (headers, size) = (head.len(), body.len());
            self.envoy.heads.borrow_mut()[2] = head;
            self.envoy.bodies.borrow_mut()[2] = body;
            self.exchange.call_answer(&self.envoy, token, headers, size);
            let times = self.envoy.resumed.get()[way] - resumed;
            assert!(times <= 1, "rule 5: resumed {times} times");
            if times == 1 {
                assert!(!self.replied(), "rule 5: resumed after a reply");
                assert!(!self.is_within, "rule 5: resumed between two pieces of a body");
                return false;
            }
        }
        true
    }

    /// Our own reply runs through the response callbacks of the same exchange.
    fn own_reply(&mut self) {
        let status = match (&*self.envoy.reply.borrow(), &*self.envoy.replaced.borrow()) {
            (Some(reply), _) => reply.status,
            (_, Some((head, _))) => {
                let status = head.iter().find(|(name, _)| name == ":status");
                status.and_then(|(_, value)| std::str::from_utf8(value).ok()?.parse().ok()).unwrap_or(0)
            }
            _ => 500,
        };
        assert!((200..600).contains(&status), "status {status} breaks clients");
        self.envoy.heads.borrow_mut()[1] = vec![(":status".into(), status.to_string().into_bytes())];
        assert_eq!(self.exchange.response_head(&self.envoy, false), Action::Continue, "own reply held");
        assert_eq!(self.exchange.response_body(&self.envoy, 1, true), Action::Continue, "own reply held");
    }

    /// A response leaves that was held until more than its head was there.
    fn assert_may_wait(&self) {
        let property = |path: &str| self.envoy.properties.borrow().get(path).cloned();
        let minor = property(MINOR).unwrap_or_default();
        let is_old = minor.try_into().is_ok_and(|minor| u64::from_le_bytes(minor) < 37);
        if is_old && property("upstream.address").is_some() {
            let head = self.envoy.heads.borrow();
            let status = head[1].iter().find(|(name, _)| name == ":status");
            let is_failure = status.is_none_or(|(_, status)| !status.starts_with(b"2"));
            assert!(!is_failure, "rule 16: Envoy may try again because of a failure that was held");
        }
    }

    fn seen(&self, way: usize, chunks: &[Vec<u8>]) -> Option<Seen> {
        if self.replied() {
            return None;
        }
        let head = self.envoy.heads.borrow()[way].clone();
        let seen = Seen { head, chunks: chunks.iter().filter(|chunk| !chunk.is_empty()).cloned().collect() };
        let whole = way == 0 || (!self.script.aborted && !seen.chunks.is_empty());
        if let Some(length) = seen.header("content-length").filter(|_| whole) {
            assert_eq!(length, seen.body().len().to_string(), "rule 3: a stale content-length");
        }
        Some(seen)
    }

    fn mark_buffered(&self, way: usize, buffered: bool) {
        let mut flags = self.envoy.buffered.get();
        flags[way] = buffered;
        self.envoy.buffered.set(flags);
    }

    fn replied(&self) -> bool {
        self.envoy.reply.borrow().is_some() || self.envoy.replaced.borrow().is_some()
    }
}
