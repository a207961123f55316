//! Sets of HTTP statuses, written as patterns.

use common::config::{ConfigError, Node, Section};
use regex_lite::Regex;

/// What `failoverOnStatus` and `retryOnStatus` are without a word of the configuration.
pub(crate) const DEFAULT: [&str; 2] = ["4.*", "5.*"];

/// Which statuses count as failures. Success never does, whatever the patterns say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StatusSet([u64; Self::WORDS]);

impl StatusSet {
    const FIRST: u16 = 100;
    const LAST: u16 = 599;
    const WORDS: usize = (Self::LAST - Self::FIRST) as usize / 64 + 1;

    /// Compiles the patterns that stand in `node` at `key`. Each is a regex for a whole status.
    pub(crate) fn load(
        section: &mut Section<'_>,
        node: &Node<'_>,
        key: &str,
        patterns: &[String],
    ) -> Result<Self, ConfigError> {
        let listed: Vec<_> = node.get(key).map(|list| list.items()).unwrap_or_default();
        let mut set = Self([0; Self::WORDS]);
        for (at, pattern) in patterns.iter().enumerate() {
            let place = listed.get(at).unwrap_or(node);
            if !set
                .add(pattern)
                .map_err(|()| place.error("is no regex for a status such as `429` or `5.*`"))?
            {
                section.warn(place.path(), "matches no status that could be a failure");
            }
        }
        if patterns.is_empty() {
            set = Self::default();
        }
        Ok(set)
    }

    /// Says whether any status was meant.
    fn add(&mut self, pattern: &str) -> Result<bool, ()> {
        // Anchored: `4.*` is not meant to be found in 504.
        let pattern = Regex::new(&format!("^(?:{pattern})$")).map_err(|_| ())?;
        let mut found = false;
        for status in Self::FIRST..=Self::LAST {
            if !is_success(status) && pattern.is_match(&status.to_string()) {
                let (word, bit) = Self::place(status);
                if let Some(word) = self.0.get_mut(word) {
                    *word |= bit;
                    found = true;
                }
            }
        }
        Ok(found)
    }

    /// Whether this status is one of them.
    pub(crate) fn has(&self, status: u16) -> bool {
        if !(Self::FIRST..=Self::LAST).contains(&status) {
            return false;
        }
        let (word, bit) = Self::place(status);
        self.0.get(word).is_some_and(|word| word & bit != 0)
    }

    fn place(status: u16) -> (usize, u64) {
        let at = usize::from(status.saturating_sub(Self::FIRST));
        (at / 64, 1 << (at % 64))
    }
}

impl Default for StatusSet {
    fn default() -> Self {
        let mut set = Self([0; Self::WORDS]);
        for pattern in DEFAULT {
            // Both are regexes.
            let _ = set.add(pattern);
        }
        set
    }
}

/// Whether a vendor served the request.
pub(crate) fn is_success(status: u16) -> bool {
    (200..300).contains(&status)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(patterns: &[&str], inside: &[u16], outside: &[u16]) {
        let mut set = StatusSet([0; StatusSet::WORDS]);
        for pattern in patterns {
            set.add(pattern).unwrap();
        }
        for status in inside {
            assert!(set.has(*status), "{patterns:?} {status}");
        }
        for status in outside {
            assert!(!set.has(*status), "{patterns:?} {status}");
        }
    }

    #[test]
    fn a_pattern_is_for_the_whole_status() {
        check(&["4.*"], &[400, 404, 429, 499], &[204, 304, 504, 500, 0, 600, 1400]);
        check(&["429", "5.."], &[429, 500, 599], &[428, 430, 403]);
        check(&["401|403"], &[401, 403], &[400, 402]);
        check(&["50"], &[], &[500, 502]);
    }

    #[test]
    fn success_is_never_a_failure() {
        check(&[".*"], &[100, 301, 400, 503], &[200, 201, 204, 206, 299]);
        assert!(!StatusSet([0; StatusSet::WORDS]).add("2..").unwrap());
    }

    #[test]
    fn without_patterns_every_error_is_one() {
        let set = StatusSet::default();
        assert!((400..=599).all(|status| set.has(status)));
        assert!((100..400).all(|status| !set.has(status)));
    }

    #[test]
    fn what_is_no_regex_is_said() {
        assert!(StatusSet([0; StatusSet::WORDS]).add("(").is_err());
    }
}
