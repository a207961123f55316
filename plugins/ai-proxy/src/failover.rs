//! Which keys are fit to be used: a state machine over (now, outcome), whose state all workers share.

use std::cell::Cell;
use std::time::{Duration, SystemTime};

use common::config::{ConfigError, Node, Section};
use common::filter::{Env, Filter, LogLevel, Shared};

use crate::credential::Credentials;
use crate::filter::AiProxy;
use crate::status::StatusSet;

const FAILURE_THRESHOLD: u32 = 3;
const SUCCESS_THRESHOLD: u32 = 1;
const HEALTH_CHECK_INTERVAL: u64 = 5_000;
const HEALTH_CHECK_TIMEOUT: u64 = 5_000;
/// Milliseconds after which a key comes back that nobody can check and no `cooldownDuration` brings back.
const UNCHECKED_COOLDOWN: u64 = 60_000;

common::settings! {
    /// `failover`, as it is written. Zero stands for the default.
    #[derive(Debug)]
    pub(crate) struct FailoverSettings {
        /// Switches it on.
        enabled: bool,
        /// Failures in a row that take a key out of use.
        failure_threshold: u32 => FAILURE_THRESHOLD,
        /// Regexes for a whole status, `429` or `5..`; success (2xx) is never a failure.
        failover_on_status: Vec<String> => crate::status::DEFAULT.map(str::to_owned).to_vec(),
        /// Required, unless there is a `cooldownDuration`. A key that is out of use is asked `who are you?` with this
        /// model (which `modelMapping` maps), the same way as the chats of clients go.
        health_check_model: String,
        /// How often. One worker checks for all.
        health_check_interval: u64 as "milliseconds" => HEALTH_CHECK_INTERVAL,
        /// How long an answer may take.
        health_check_timeout: u64 as "milliseconds" => HEALTH_CHECK_TIMEOUT,
        /// Checks in a row that must be served before the key comes back.
        success_threshold: u32 => SUCCESS_THRESHOLD,
        /// The key comes back by itself after this time, checked or not; 0: it does not.
        cooldown_duration: u64 as "milliseconds",
    }
}

/// Failover among the keys of one provider.
#[derive(Debug)]
pub(crate) struct Failover {
    limits: Limits,
    statuses: StatusSet,
    check: Option<HealthCheck>,
    /// How many keys there are.
    keys: usize,
    /// Names the provider to the operator.
    name: String,
    /// Names the provider and its set of keys to other workers, without telling them.
    pool: String,
    shared: Shared,
    /// This filter has been seen in a cluster's upstream chain, and the operator has been told.
    is_upstream: Cell<bool>,
}

/// How a key that is out of use is tried.
#[derive(Debug)]
pub(crate) struct HealthCheck {
    pub(crate) model: String,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
}

/// What moves a key in and out of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limits {
    /// Failures in a row before a key is taken out of use.
    failures: u32,
    /// Successful checks in a row before it comes back.
    successes: u32,
    /// Milliseconds after which it comes back by itself.
    cooldown: Option<u64>,
}

/// What became of one use of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The vendor served a request.
    Served,
    /// It answered with a status that speaks against the key.
    Failed,
    /// A health check was served.
    Passed,
    /// A health check was not.
    Missed,
}

/// What an outcome changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    None,
    Counted,
    /// The key is out of use.
    Evicted,
    /// The key is in use again.
    Returned,
}

/// The request that took a key out of use; health checks go where it went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// The client's `:authority`.
    pub(crate) host: String,
    /// The client's path, without its query.
    pub(crate) path: String,
    /// The cluster that the route named.
    pub(crate) cluster: String,
}

/// The state of all keys, by their places; what the workers share.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Health {
    keys: Vec<Key>,
    endpoint: Option<Endpoint>,
}

/// The state of one key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Key {
    failures: u32,
    successes: u32,
    /// Milliseconds since the epoch.
    evicted: Option<u64>,
}

impl Endpoint {
    fn read(text: &str) -> Option<Self> {
        let mut lines = text.lines().map(str::to_owned);
        Some(Self { host: lines.next()?, path: lines.next()?, cluster: lines.next()? })
    }
}

impl Key {
    fn read(line: &str) -> Option<Self> {
        let mut numbers = line.split(' ');
        let (failures, successes) = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
        let evicted = numbers.next().map(str::parse).transpose().ok()?;
        Some(Self { failures, successes, evicted })
    }

    fn line(self) -> String {
        let Self { failures, successes, evicted } = self;
        match evicted {
            Some(evicted) => format!("{failures} {successes} {evicted}"),
            None => format!("{failures} {successes}"),
        }
    }

    fn is_out(self, now: u64, limits: Limits) -> bool {
        let Some(evicted) = self.evicted else { return false };
        // A clock that was set back must not keep a key out.
        limits.cooldown.is_none_or(|cooldown| now.checked_sub(evicted).is_some_and(|since| since < cooldown))
    }

    fn on(&mut self, outcome: Outcome, now: u64, limits: Limits) -> Change {
        if self.is_out(now, limits) {
            return match outcome {
                // Requests that were under way, or had no other key.
                Outcome::Served | Outcome::Failed => Change::None,
                Outcome::Passed => {
                    self.successes = self.successes.saturating_add(1);
                    if self.successes < limits.successes {
                        return Change::Counted;
                    }
                    *self = Self::default();
                    Change::Returned
                }
                Outcome::Missed if self.successes == 0 => Change::None,
                Outcome::Missed => {
                    self.successes = 0;
                    Change::Counted
                }
            };
        }
        match outcome {
            Outcome::Served if *self == Self::default() => Change::None,
            Outcome::Served => {
                *self = Self::default();
                Change::Counted
            }
            Outcome::Failed => {
                // What came back by itself begins anew.
                let failures = if self.evicted.is_some() { 1 } else { self.failures.saturating_add(1) };
                if failures >= limits.failures {
                    *self = Self { evicted: Some(now), ..Self::default() };
                    return Change::Evicted;
                }
                *self = Self { failures, ..Self::default() };
                Change::Counted
            }
            // The check of a key that came back meanwhile.
            Outcome::Passed | Outcome::Missed => Change::None,
        }
    }
}

impl Health {
    /// What the workers share, for so many keys. What cannot be read is as if it were not there.
    fn read(bytes: Option<&[u8]>, keys: usize) -> Self {
        let text = bytes.and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default();
        let (states, endpoint) = text.split_once("\n\n").unwrap_or((text, ""));
        let mut health = Self {
            keys: states.lines().map(|line| Key::read(line).unwrap_or_default()).collect(),
            endpoint: Endpoint::read(endpoint),
        };
        health.keys.resize(keys, Key::default());
        health
    }

    /// A line for each key; after an empty one, the lines of the endpoint, if there is one.
    fn bytes(&self) -> Vec<u8> {
        let keys: Vec<String> = self.keys.iter().map(|key| key.line()).collect();
        let mut text = keys.join("\n");
        text.push_str("\n\n");
        if let Some(Endpoint { host, path, cluster }) = &self.endpoint {
            text.push_str(&[host.as_str(), path, cluster].join("\n"));
        }
        text.into_bytes()
    }

    /// The places of the keys that are out of use, or of those that are not.
    fn places(&self, out: bool, now: u64, limits: Limits) -> Vec<usize> {
        let keys = self.keys.iter().enumerate();
        keys.filter(|(_, key)| key.is_out(now, limits) == out).map(|(at, _)| at).collect()
    }
}

impl Failover {
    /// Compiles `failover`, if it is switched on.
    pub(crate) fn load(
        settings: FailoverSettings,
        section: &mut Section<'_>,
        node: &Node<'_>,
        kind: &str,
        credentials: &Credentials,
    ) -> Result<Option<Self>, ConfigError> {
        if !settings.enabled {
            return Ok(None);
        }
        let place = node.get("failover");
        let place = place.as_ref().unwrap_or(node);
        let or = |value: u32, default: u32| if value == 0 { default } else { value };
        let millis =
            |value: u64, default: u64| Duration::from_millis(if value == 0 { default } else { value });
        let cooldown = Some(settings.cooldown_duration).filter(|cooldown| *cooldown > 0);
        let check = match settings.health_check_model {
            model if model.is_empty() && cooldown.is_none() => {
                return Err(place.error("missing healthCheckModel in failover config"));
            }
            model if model.is_empty() => None,
            model => Some(HealthCheck {
                model,
                interval: millis(settings.health_check_interval, HEALTH_CHECK_INTERVAL),
                timeout: millis(settings.health_check_timeout, HEALTH_CHECK_TIMEOUT),
            }),
        };
        let statuses = StatusSet::load(section, place, "failoverOnStatus", &settings.failover_on_status)?;
        let keys = credentials.len();
        if keys < 2 {
            section.warn(place.path(), "has no effect without a second token to use instead");
            return Ok(None);
        }
        let id = node.get("id").map(|id| crate::config::text_of(&id)).unwrap_or_default();
        let name = if id.is_empty() { kind.to_owned() } else { format!("{kind} {id}") };
        let pool = format!("{kind}.{id}.{:016x}", credentials.fingerprint());
        Ok(Some(Self {
            limits: Limits {
                failures: or(settings.failure_threshold, FAILURE_THRESHOLD),
                successes: or(settings.success_threshold, SUCCESS_THRESHOLD),
                cooldown,
            },
            statuses,
            check,
            keys,
            shared: Shared::new(AiProxy::NAME, &format!("failover.{pool}")),
            name,
            pool,
            is_upstream: Cell::new(false),
        }))
    }

    /// Lets the shared state be there before the first request. State of the same set of keys stays.
    pub(crate) fn found(&self, env: &dyn Env) {
        self.shared.found(env, &Health::read(None, self.keys).bytes());
    }

    /// How keys that are out of use are tried, if they are.
    pub(crate) fn check(&self) -> Option<&HealthCheck> {
        self.check.as_ref().filter(|_| !self.is_upstream.get())
    }

    /// In a cluster's upstream chain a check would run through this very filter, from within its own call; and the
    /// key that it tries would be replaced by one that is in use.
    pub(crate) fn note_upstream(&self, env: &dyn Env) {
        if self.is_upstream.replace(true) || self.check.is_none() {
            return;
        }
        let back = self.limits.cooldown.unwrap_or(UNCHECKED_COOLDOWN);
        env.log(
            LogLevel::Warn,
            format_args!(
                "{}: failover makes no health checks in a cluster's upstream chain, a key of {} comes back after {back} ms",
                AiProxy::NAME,
                self.name
            ),
        );
    }

    /// What moves keys, given that they are checked only where somebody knows how.
    fn limits(&self, health: &Health) -> Limits {
        let is_checked = self.check().is_some() && health.endpoint.is_some();
        let cooldown = self.limits.cooldown.or((!is_checked).then_some(UNCHECKED_COOLDOWN));
        Limits { cooldown, ..self.limits }
    }

    /// A name for the provider and its keys, the same in all workers.
    pub(crate) fn pool(&self) -> &str {
        &self.pool
    }

    /// Whether a status speaks against the key that was used.
    pub(crate) fn is_failure(&self, status: u16) -> bool {
        self.statuses.has(status)
    }

    /// The places of the keys that are in use.
    pub(crate) fn in_use(&self, env: &dyn Env) -> Vec<usize> {
        let health = self.health(env);
        health.places(false, millis(env), self.limits(&health))
    }

    /// The keys that are out of use, and where the request went that took one out last.
    pub(crate) fn out_of_use(&self, env: &dyn Env) -> (Vec<usize>, Option<Endpoint>) {
        let health = self.health(env);
        (health.places(true, millis(env), self.limits(&health)), health.endpoint)
    }

    /// Tells all workers what became of a use of the key at `place`. `endpoint` is asked where the key
    /// goes out of use by it.
    pub(crate) fn record(
        &self,
        env: &dyn Env,
        place: usize,
        outcome: Outcome,
        endpoint: impl Fn() -> Option<Endpoint>,
    ) {
        let now = millis(env);
        let mut change = Change::None;
        let written = self.shared.update(env, |bytes| {
            let mut health = Health::read(bytes, self.keys);
            let limits = self.limits(&health);
            change = health.keys.get_mut(place).map_or(Change::None, |key| key.on(outcome, now, limits));
            if change == Change::Evicted
                && !self.is_upstream.get()
                && let Some(endpoint) = endpoint()
            {
                health.endpoint = Some(endpoint);
            }
            (change != Change::None).then(|| health.bytes())
        });
        let (level, what) = match change {
            _ if !written => (LogLevel::Warn, "kept its state, other workers wrote too often"),
            Change::Evicted => (LogLevel::Warn, "failed too often and is out of use"),
            Change::Returned => (LogLevel::Info, "is in use again"),
            Change::None | Change::Counted => return,
        };
        // By its place: the key itself is nobody's business.
        env.log(level, format_args!("{}: apiTokens[{place}] of {} {what}", AiProxy::NAME, self.name));
    }

    fn health(&self, env: &dyn Env) -> Health {
        Health::read(self.shared.read(env).as_deref(), self.keys)
    }
}

/// Milliseconds since the epoch: the one clock that all workers have.
fn millis(env: &dyn Env) -> u64 {
    let since = env.now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Change::{Counted, Evicted, Returned};
    use Outcome::{Failed, Missed, Passed, Served};

    const LIMITS: Limits = Limits { failures: 2, successes: 2, cooldown: None };

    /// Plays (now, outcome) against one key and says what each changed.
    fn check(limits: Limits, events: &[(u64, Outcome)], expected: &[Change]) {
        let mut key = Key::default();
        let changes: Vec<_> = events.iter().map(|(now, outcome)| key.on(*outcome, *now, limits)).collect();
        assert_eq!(changes, expected, "{events:?}");
    }

    #[test]
    fn failures_in_a_row_take_a_key_out_of_use() {
        check(LIMITS, &[(0, Failed), (1, Failed)], &[Counted, Evicted]);
        check(
            LIMITS,
            &[(0, Failed), (1, Served), (2, Failed), (3, Failed)],
            &[Counted, Counted, Counted, Evicted],
        );
        check(Limits { failures: 1, ..LIMITS }, &[(0, Failed)], &[Evicted]);
        check(LIMITS, &[(0, Served)], &[Change::None]);
    }

    #[test]
    fn requests_say_nothing_about_a_key_that_is_out_of_use() {
        let events = [(0, Failed), (1, Failed), (2, Failed), (3, Served), (4, Passed), (5, Passed)];
        check(LIMITS, &events, &[Counted, Evicted, Change::None, Change::None, Counted, Returned]);
    }

    #[test]
    fn a_missed_check_makes_the_successes_begin_anew() {
        let events =
            [(0, Failed), (1, Failed), (2, Missed), (3, Passed), (4, Missed), (5, Passed), (6, Passed)];
        check(LIMITS, &events, &[Counted, Evicted, Change::None, Counted, Counted, Counted, Returned]);
    }

    #[test]
    fn a_key_comes_back_by_itself_and_begins_anew() {
        let limits = Limits { cooldown: Some(10), ..LIMITS };
        let events = [(0, Failed), (5, Failed), (14, Failed), (15, Failed), (16, Failed), (25, Passed)];
        check(limits, &events, &[Counted, Evicted, Change::None, Counted, Evicted, Counted]);
        check(
            limits,
            &[(0, Failed), (5, Failed), (15, Served), (16, Failed)],
            &[Counted, Evicted, Counted, Counted],
        );
        let mut key = Key { evicted: Some(100), ..Key::default() };
        assert!(key.is_out(109, limits) && !key.is_out(110, limits));
        assert!(!key.is_out(99, limits), "the clock was set back");
        assert_eq!(key.on(Passed, 110, limits), Change::None, "a check that came too late");
    }

    #[test]
    fn what_is_shared_is_read_for_as_many_keys_as_there_are() {
        let mut health = Health::read(None, 3);
        health.keys[1].on(Failed, 7, Limits { failures: 1, ..LIMITS });
        assert_eq!(health.bytes(), b"0 0\n0 0 7\n0 0\n\n");
        assert_eq!(Health::read(Some(&health.bytes()), 3), health);
        let text = |text: &str| text.to_owned();
        health.endpoint =
            Some(Endpoint { host: text("h:1"), path: text("/p"), cluster: text("outbound|1||c") });
        assert_eq!(Health::read(Some(&health.bytes()), 3), health);
        assert_eq!(Health::read(Some(b"garbage"), 2), Health::read(None, 2));
        assert_eq!(health.places(false, 8, LIMITS), [0, 2]);
        assert_eq!(health.places(true, 8, LIMITS), [1]);
    }
}
