//! What an upstream has received, shared between its thread and the test's.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::answer::{Answer, Script};
use crate::client::Version;
use crate::wire::{Fields, values};

/// One request as it arrived.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// The method. What is not a request at all stands here up to its first space.
    pub method: String,
    /// The request target, byte for byte.
    pub raw_path: Vec<u8>,
    /// Which HTTP it came by.
    pub version: Version,
    /// In the order of the wire, names in lower case; in HTTP/2 with `:authority` and `:scheme` first.
    pub headers: Fields,
    /// The body without its framing.
    pub body: Vec<u8>,
    /// The fields after the body.
    pub trailers: Fields,
    /// False if the other side left, or broke the framing, before the request ended.
    pub complete: bool,
    /// Requests with the same number came over the same connection.
    pub connection_id: u64,
    /// How far the answer has come.
    pub sent: Sent,
    pub(super) id: u64,
}

/// How far an answer has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    /// Chunks of the body that were written.
    pub chunks: usize,
    /// When the last of them was.
    pub last_chunk: Option<Instant>,
    /// What became of the answer.
    pub progress: Progress,
}

/// What became of an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Progress {
    /// It is being sent.
    #[default]
    Sending,
    /// It was sent as scripted.
    Done,
    /// The other side left before.
    PeerLeft,
}

impl Recorded {
    /// The path as text; bytes that are no UTF-8 are shown as U+FFFD.
    pub fn path(&self) -> String {
        String::from_utf8_lossy(&self.raw_path).into_owned()
    }

    /// The host asked for: `:authority` in HTTP/2, `host` in HTTP/1.1.
    pub fn host(&self) -> Option<String> {
        self.header(":authority").or_else(|| self.header("host"))
    }

    /// All values of a field, joined by `, `; `None` if it is not there.
    pub fn header(&self, name: &str) -> Option<String> {
        let values = values(&self.headers, name);
        (!values.is_empty()).then(|| String::from_utf8_lossy(&values.join(b", ".as_slice())).into_owned())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// If it is not JSON; the message has the body.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("the upstream got no JSON ({error}): {}", self.text()))
    }

    pub(super) fn echo(&self) -> Vec<u8> {
        let document = json!({
            "method": self.method,
            "path": self.path(),
            "headers": lists(&self.headers),
            "body": self.text(),
            "trailers": lists(&self.trailers),
        });
        document.to_string().into_bytes()
    }
}

fn lists(fields: &Fields) -> BTreeMap<&str, Vec<String>> {
    let mut lists = BTreeMap::<&str, Vec<String>>::new();
    for (name, value) in fields {
        lists.entry(name).or_default().push(String::from_utf8_lossy(value).into_owned());
    }
    lists
}

#[derive(Debug, Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    script: Script,
    records: Vec<Recorded>,
    next_id: u64,
    stray: BTreeMap<u64, Vec<u8>>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // A test that panics while it looks at the records leaves them whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_script(&self, script: Script) {
        self.state().script = script;
    }

    pub(super) fn choose(&self, raw_path: &[u8]) -> Answer {
        self.state().script.choose(raw_path)
    }

    /// The answer to a whole request, where the script computes it.
    pub(super) fn compute(&self, request: &Recorded) -> Option<Answer> {
        let compute = self.state().script.compute();
        compute.map(|compute| (compute.0)(request))
    }

    /// Keeps a request; gives the number by which its answer is reported.
    pub(super) fn record(&self, mut record: Recorded) -> u64 {
        let mut state = self.state();
        let id = state.next_id;
        state.next_id += 1;
        record.id = id;
        state.records.push(record);
        self.changed.notify_all();
        id
    }

    /// Puts what was read after an early answer into its record.
    pub(super) fn received(&self, id: u64, received: Recorded) {
        let mut state = self.state();
        if let Some(record) = state.records.iter_mut().find(|record| record.id == id) {
            *record = Recorded { id, sent: record.sent, ..received };
        }
        self.changed.notify_all();
    }

    pub(super) fn sent_chunk(&self, id: u64) {
        self.report(id, |sent| {
            sent.chunks += 1;
            sent.last_chunk = Some(Instant::now());
        });
    }

    pub(super) fn ended(&self, id: u64, progress: Progress) {
        self.report(id, |sent| sent.progress = progress);
    }

    fn report(&self, id: u64, change: impl FnOnce(&mut Sent)) {
        // Taken already, it concerns nobody any more.
        if let Some(record) = self.state().records.iter_mut().find(|record| record.id == id) {
            change(&mut record.sent);
        }
        self.changed.notify_all();
    }

    pub(super) fn set_stray(&self, connection: u64, bytes: &[u8]) {
        let mut state = self.state();
        if bytes.is_empty() {
            state.stray.remove(&connection);
        } else {
            state.stray.insert(connection, bytes.to_vec());
        }
    }

    pub(super) fn stray(&self) -> Vec<(u64, Vec<u8>)> {
        self.state().stray.iter().map(|(connection, bytes)| (*connection, bytes.clone())).collect()
    }

    pub(super) fn take(&self) -> Vec<Recorded> {
        std::mem::take(&mut self.state().records)
    }

    pub(super) fn wait_until(
        &self,
        timeout: Duration,
        wanted: impl Fn(&[Recorded]) -> bool,
    ) -> Vec<Recorded> {
        let waited = self.changed.wait_timeout_while(self.state(), timeout, |state| !wanted(&state.records));
        waited.unwrap_or_else(PoisonError::into_inner).0.records.clone()
    }
}
