//! Values that all workers share, and whose turn it is among them.

use std::time::{Duration, SystemTime};

use super::env::Env;

/// How often a write is tried again that another worker was faster with.
const TRIES: usize = 10;

/// A value that all workers share, changed by compare-and-swap.
///
/// All plugins with one `vm_id` share one space of names, so each name begins with the plugin's. There
/// is no way to delete a value: names must be few.
#[derive(Debug, Clone)]
pub struct Shared {
    name: String,
}

impl Shared {
    /// The value `name` of a plugin.
    #[must_use]
    pub fn new(plugin: &str, name: &str) -> Self {
        Self { name: format!("{plugin}.{name}") }
    }

    /// The value, if there is one.
    #[must_use]
    pub fn read(&self, env: &dyn Env) -> Option<Vec<u8>> {
        env.shared(&self.name).map(|(value, _)| value)
    }

    /// Writes a first value, unless there is one. Best done when a configuration is loaded: two
    /// workers that do it at the same moment do not see each other.
    pub fn found(&self, env: &dyn Env, first: &[u8]) {
        if env.shared(&self.name).is_none() {
            // Without a token nothing can be in the way.
            let _ = env.set_shared(&self.name, first, None);
        }
    }

    /// Changes the value: `change` gets what is there now and gives what is to be there, or `None` to
    /// leave it; it is asked again where another worker wrote in between. Says whether the value now
    /// is as the last answer of `change` wants it; it is not where ten tries were not enough.
    pub fn update(&self, env: &dyn Env, mut change: impl FnMut(Option<&[u8]>) -> Option<Vec<u8>>) -> bool {
        for _ in 0..TRIES {
            let (value, token) = match env.shared(&self.name) {
                Some((value, token)) => (Some(value), Some(token)),
                None => (None, None),
            };
            let Some(new) = change(value.as_deref()) else { return true };
            if env.set_shared(&self.name, &new, token).is_ok() {
                return true;
            }
        }
        false
    }
}

/// Who of all workers does the work of a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Turn {
    owner: u64,
    /// Milliseconds since the epoch.
    taken: u64,
}

impl Turn {
    /// After so many periods without a turn its owner counts as gone.
    const PATIENCE: u32 = 3;

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (owner, rest) = bytes.split_first_chunk::<8>()?;
        let (taken, _) = rest.split_first_chunk::<8>()?;
        Some(Self { owner: u64::from_le_bytes(*owner), taken: u64::from_le_bytes(*taken) })
    }

    fn bytes(self) -> Vec<u8> {
        [self.owner.to_le_bytes(), self.taken.to_le_bytes()].concat()
    }

    /// Whether `worker` may take the next turn. The owner keeps it, but takes none twice in a period.
    fn passes_to(self, worker: u64, now: u64, period: Duration) -> bool {
        // A clock that was set back must not keep everybody waiting.
        let Some(since) = now.checked_sub(self.taken).map(Duration::from_millis) else { return true };
        if self.owner == worker { since >= period / 2 } else { since > period * Self::PATIENCE }
    }
}

/// Takes the turn of this period, if nobody has and `worker` may.
pub(super) fn take_turn(shared: &Shared, env: &dyn Env, worker: u64, period: Duration) -> bool {
    let now = millis(env.now());
    let mut takes = false;
    let written = shared.update(env, |bytes| {
        takes = bytes.and_then(Turn::parse).is_none_or(|turn| turn.passes_to(worker, now, period));
        takes.then(|| Turn { owner: worker, taken: now }.bytes())
    });
    takes && written
}

/// Milliseconds since the epoch.
fn millis(now: SystemTime) -> u64 {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::FakeEnvoy;

    #[test]
    fn a_value_is_changed_by_what_it_is() {
        let (envoy, shared) = (FakeEnvoy::default(), Shared::new("p", "count"));
        let count = |bytes: Option<&[u8]>| Some(vec![bytes.map_or(0, |bytes| bytes[0]) + 1]);
        assert!(shared.update(&envoy, count) && shared.update(&envoy, count));
        assert_eq!(shared.read(&envoy), Some(vec![2]));
        shared.found(&envoy, &[9]);
        assert_eq!(shared.read(&envoy), Some(vec![2]), "what is there stays");
        assert!(envoy.shared("p.count").is_some(), "the plugin's name stands in front");
    }

    #[test]
    fn a_change_that_lost_is_made_again_on_what_won() {
        let (envoy, shared) = (FakeEnvoy::default(), Shared::new("p", "n"));
        shared.found(&envoy, &[1]);
        let mut seen = Vec::new();
        let done = shared.update(&envoy, |bytes| {
            seen.push(bytes.map(<[u8]>::to_vec));
            if seen.len() == 1 {
                envoy.set_shared("p.n", &[7], None).unwrap();
            }
            Some(vec![bytes.unwrap()[0] + 1])
        });
        assert!(done);
        assert_eq!(seen, [Some(vec![1]), Some(vec![7])]);
        assert_eq!(shared.read(&envoy), Some(vec![8]));
    }

    #[test]
    fn a_change_that_always_loses_gives_up() {
        let (envoy, shared) = (FakeEnvoy::default(), Shared::new("p", "n"));
        shared.found(&envoy, &[1]);
        let mut tries = 0;
        let done = shared.update(&envoy, |_| {
            tries += 1;
            envoy.set_shared("p.n", &[0], None).unwrap();
            Some(vec![2])
        });
        assert!(!done);
        assert_eq!(tries, TRIES);
    }

    #[test]
    fn one_worker_has_the_turn_and_another_follows_when_it_is_gone() {
        let (envoy, shared) = (FakeEnvoy::default(), Shared::new("p", "turn"));
        let period = Duration::from_secs(5);
        let at = |seconds: u64, worker: u64| {
            envoy.now.set(SystemTime::UNIX_EPOCH + Duration::from_secs(1000 + seconds));
            take_turn(&shared, &envoy, worker, period)
        };
        assert!(at(0, 1));
        assert!(!at(0, 1), "once in a period");
        assert!(!at(1, 2));
        assert!(at(5, 1));
        assert!(!at(19, 2));
        assert!(at(21, 2), "three periods without the first");
        assert!(!at(25, 1));
        envoy.now.set(SystemTime::UNIX_EPOCH);
        assert!(take_turn(&shared, &envoy, 1, period), "the clock was set back");
    }
}
