//! The state of a fake Envoy, behind the traits of the real one.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use crate::filter::Callout;
use crate::filter::env::{Body, CasMismatch, Env, Host, HostError, LogLevel, Map, MetricId, MetricKind};
use crate::http::head::{Change, to_pairs};
use crate::http::{Head, LocalReply};

/// Buffer limit of a fake Envoy, the default of a real one.
pub const SHARED_LIMIT: usize = 1 << 20;

pub(super) type Fields = Vec<(String, Vec<u8>)>;

/// Shared values with their write tokens.
type SharedData = BTreeMap<String, (Vec<u8>, u32)>;

/// One stream's worth of Envoy. Clock and randomness are plain fields.
pub struct FakeEnvoy {
    /// What [`Env::now`] says, to all workers.
    pub now: Rc<Cell<SystemTime>>,
    /// What [`Env::monotonic`] says, to all workers.
    pub monotonic: Rc<Cell<Duration>>,
    /// What [`Env::random`] says next; it counts up.
    pub random: Cell<u64>,
    /// Properties by their path joined with dots.
    pub properties: RefCell<BTreeMap<String, Vec<u8>>>,
    /// Shared data of all workers with its write tokens.
    pub shared: Rc<RefCell<SharedData>>,
    /// Log lines so far.
    pub log: RefCell<Vec<(LogLevel, String)>>,
    /// Metrics of a worker, by name.
    pub metrics: Rc<RefCell<Vec<(String, i64)>>>,
    /// Calls made so far, in order; a call's token is its place.
    pub calls: RefCell<Vec<Callout>>,
    /// Clusters that calls cannot reach.
    pub dead_clusters: Vec<String>,
    /// The timer that was asked for.
    pub timer: Cell<Option<Duration>>,
    /// What was asked of the host so far, in order. Each is a step out of the VM and back, and the larger part of
    /// what a plugin costs.
    pub host_calls: RefCell<Vec<String>>,
    pub(super) heads: RefCell<[Fields; 3]>,
    pub(super) bodies: RefCell<[Vec<u8>; 3]>,
    /// Whether bytes of that body have been held back by a Pause.
    pub(super) buffered: Cell<[bool; 2]>,
    pub(super) reply: RefCell<Option<LocalReply>>,
    /// What took the place of the response.
    pub(super) replaced: RefCell<Option<(Fields, Vec<u8>)>>,
    pub(super) resumed: Cell<[u32; 2]>,
}

impl Default for FakeEnvoy {
    fn default() -> Self {
        Self {
            now: Rc::new(Cell::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000))),
            monotonic: Rc::default(),
            random: Cell::default(),
            properties: RefCell::new(version(1, 40)),
            shared: Rc::default(),
            log: RefCell::default(),
            metrics: Rc::default(),
            calls: RefCell::default(),
            dead_clusters: Vec::new(),
            timer: Cell::default(),
            host_calls: RefCell::default(),
            heads: RefCell::default(),
            bodies: RefCell::default(),
            buffered: Cell::default(),
            reply: RefCell::default(),
            replaced: RefCell::default(),
            resumed: Cell::default(),
        }
    }
}

/// The properties that tell the version of an Envoy.
fn version(major: u64, minor: u64) -> BTreeMap<String, Vec<u8>> {
    [("major", major), ("minor", minor)]
        .into_iter()
        .map(|(name, number)| {
            let path = format!("xds.node.user_agent_build_version.version.{name}_number");
            (path, number.to_le_bytes().to_vec())
        })
        .collect()
}

impl FakeEnvoy {
    /// Another worker of the same Envoy: it has the same clock and shared data.
    #[must_use]
    pub fn beside(&self) -> Self {
        let (now, monotonic) = (Rc::clone(&self.now), Rc::clone(&self.monotonic));
        Self { now, monotonic, shared: Rc::clone(&self.shared), ..Self::default() }
    }

    /// A stream of this worker: it has the same metrics, too, and the plugin knows them by their ids.
    #[must_use]
    pub fn stream(&self) -> Self {
        Self { metrics: Rc::clone(&self.metrics), ..self.beside() }
    }

    fn called(&self, call: fmt::Arguments<'_>) {
        self.host_calls.borrow_mut().push(call.to_string());
    }
}

pub(super) fn map_index(map: Map) -> usize {
    match map {
        Map::Request => 0,
        Map::Response => 1,
        Map::Call => 2,
    }
}

pub(super) fn body_index(body: Body) -> usize {
    match body {
        Body::Request => 0,
        Body::Response => 1,
        Body::Call => 2,
    }
}

impl Env for FakeEnvoy {
    fn now(&self) -> SystemTime {
        self.called(format_args!("now"));
        self.now.get()
    }

    fn monotonic(&self) -> Duration {
        self.called(format_args!("monotonic"));
        self.monotonic.get()
    }

    fn random(&self) -> u64 {
        let value = self.random.get();
        self.random.set(value.wrapping_add(1));
        value
    }

    fn log(&self, level: LogLevel, message: fmt::Arguments<'_>) {
        self.called(format_args!("log"));
        self.log.borrow_mut().push((level, message.to_string()));
    }

    fn property(&self, path: &[&str]) -> Option<Vec<u8>> {
        self.called(format_args!("property {}", path.join(".")));
        self.properties.borrow().get(&path.join(".")).cloned()
    }

    fn set_property(&self, key: &str, value: &[u8]) {
        self.called(format_args!("set_property {key}"));
        self.properties.borrow_mut().insert(key.into(), value.into());
    }

    fn shared(&self, key: &str) -> Option<(Vec<u8>, u32)> {
        self.called(format_args!("shared {key}"));
        self.shared.borrow().get(key).cloned()
    }

    fn set_shared(&self, key: &str, value: &[u8], token: Option<u32>) -> Result<(), CasMismatch> {
        self.called(format_args!("set_shared {key}"));
        let mut shared = self.shared.borrow_mut();
        let current = shared.get(key).map_or(0, |(_, token)| *token);
        if token.is_some_and(|token| token != 0 && token != current) {
            return Err(CasMismatch);
        }
        shared.insert(key.into(), (value.into(), current + 1));
        Ok(())
    }

    fn metric(&self, _kind: MetricKind, name: &str) -> Option<MetricId> {
        self.called(format_args!("metric {name}"));
        let mut metrics = self.metrics.borrow_mut();
        let at = metrics.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
            metrics.push((name.into(), 0));
            metrics.len() - 1
        });
        u32::try_from(at).ok().map(MetricId)
    }

    fn add(&self, metric: MetricId, delta: i64) {
        self.called(format_args!("add"));
        if let Some((_, value)) = self.metrics.borrow_mut().get_mut(metric.0 as usize) {
            *value += delta;
        }
    }

    fn record(&self, metric: MetricId, value: u64) {
        self.called(format_args!("record"));
        if let Some((_, current)) = self.metrics.borrow_mut().get_mut(metric.0 as usize) {
            *current = i64::try_from(value).unwrap_or(i64::MAX);
        }
    }
}

#[expect(clippy::indexing_slicing, reason = "three heads, three bodies and two directions, by enum")]
impl Host for FakeEnvoy {
    fn pairs(&self, map: Map) -> Result<Vec<u8>, HostError> {
        self.called(format_args!("pairs {map:?}"));
        let heads = self.heads.borrow();
        Ok(to_pairs(heads[map_index(map)].iter().map(|(name, value)| (name.as_bytes(), value.as_slice()))))
    }

    fn change(&self, map: Map, change: &Change<'_>) -> Result<(), HostError> {
        self.called(format_args!("change {}", String::from_utf8_lossy(change.name)));
        let fields = &mut self.heads.borrow_mut()[map_index(map)];
        let changed = String::from_utf8_lossy(change.name);
        fields.retain(|(name, _)| *name != changed);
        fields.extend(change.values.iter().map(|value| (changed.to_string(), value.to_vec())));
        Ok(())
    }

    fn body(&self, body: Body, start: usize, max: usize) -> Result<Vec<u8>, HostError> {
        self.called(format_args!("body {body:?}"));
        let bodies = self.bodies.borrow();
        let bytes = &bodies[body_index(body)];
        Ok(bytes.iter().copied().skip(start).take(max).collect())
    }

    fn replace_body(&self, body: Body, bytes: &[u8]) -> Result<(), HostError> {
        self.called(format_args!("replace_body {body:?}"));
        let index = body_index(body);
        let held = index < 2 && self.buffered.get()[index];
        assert!(
            !held || bytes.len() <= SHARED_LIMIT,
            "rule 4: Envoy dies of a buffered write of {} bytes",
            bytes.len()
        );
        self.bodies.borrow_mut()[index] = bytes.into();
        Ok(())
    }

    fn append_body(&self, body: Body, bytes: &[u8]) -> Result<(), HostError> {
        self.called(format_args!("append_body {body:?}"));
        self.bodies.borrow_mut()[body_index(body)].extend_from_slice(bytes);
        Ok(())
    }

    fn reply(&self, reply: &LocalReply) -> Result<(), HostError> {
        self.called(format_args!("reply"));
        assert!(self.replaced.borrow().is_none(), "a local reply after another answer: {reply:?}");
        let before = self.reply.replace(Some(reply.clone()));
        assert!(before.is_none(), "a second local reply: {reply:?}");
        Ok(())
    }

    fn replace_response(&self, head: &Head, body: &[u8]) -> Result<(), HostError> {
        self.called(format_args!("replace_response"));
        assert!(self.reply.borrow().is_none(), "another answer after a local reply");
        let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
        let fields = head.fields().map(|(name, value)| (text(name), value.to_vec())).collect();
        let before = self.replaced.replace(Some((fields, body.to_vec())));
        assert!(before.is_none(), "a second answer in the place of the response");
        Ok(())
    }

    fn resume(&self, body: Body) -> Result<(), HostError> {
        self.called(format_args!("resume {body:?}"));
        let mut resumed = self.resumed.get();
        resumed[body_index(body)] += 1;
        self.resumed.set(resumed);
        Ok(())
    }

    fn call(&self, callout: &Callout) -> Result<u32, HostError> {
        self.called(format_args!("call {}", callout.cluster));
        if self.dead_clusters.contains(&callout.cluster) {
            return Err(HostError::BadArgument);
        }
        let mut calls = self.calls.borrow_mut();
        calls.push(callout.clone());
        u32::try_from(calls.len() - 1).map_err(|_| HostError::Internal)
    }

    fn tick_every(&self, period: Duration) -> Result<(), HostError> {
        self.called(format_args!("tick_every {period:?}"));
        self.timer.set(Some(period));
        Ok(())
    }
}
