//! Which model is asked for upstream, given the one that the client named.

use std::borrow::Cow;
use std::fmt;

use regex_lite::Regex;
use serde::Deserialize;
use serde::de::{Error, MapAccess, Visitor};

/// A `modelMapping`, compiled. The first of these that knows a name decides: an exact key, the longest
/// prefix key (`gpt-*`), the regex keys (`~gpt-(.*)`) in the order of the configuration, the key `*`.
#[derive(Debug, Default)]
pub struct ModelMapping {
    exact: Vec<(String, String)>,
    /// Without their star, longest first.
    prefixes: Vec<(String, String)>,
    patterns: Vec<(Regex, String)>,
    any: Option<String>,
}

impl ModelMapping {
    /// The model to ask for, given the client's (`""` where it named none). An empty target keeps the client's name.
    #[must_use]
    pub fn map<'a>(&'a self, model: &'a str) -> Cow<'a, str> {
        let literal =
            |target: &'a String| Cow::Borrowed(if target.is_empty() { model } else { target.as_str() });
        if let Some((_, target)) = self.exact.iter().find(|(name, _)| name == model) {
            return literal(target);
        }
        if let Some((_, target)) = self.prefixes.iter().find(|(prefix, _)| model.starts_with(prefix.as_str()))
        {
            return literal(target);
        }
        if let Some((pattern, target)) = self.patterns.iter().find(|(pattern, _)| pattern.is_match(model)) {
            return if target.is_empty() {
                Cow::Borrowed(model)
            } else {
                pattern.replace_all(model, target.as_str())
            };
        }
        self.any.as_ref().map_or(Cow::Borrowed(model), literal)
    }

    /// Whether every model is asked for under the client's name.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.prefixes.is_empty() && self.patterns.is_empty() && self.any.is_none()
    }

    /// Tries prefix keys in the order of their bytes, star included, instead: the shorter of two comes first.
    pub fn order_prefixes_by_alphabet(&mut self) {
        // As if the star still stood: it is less than letters and digits, but not than every byte.
        let key = |(prefix, _): &(String, String)| [prefix.as_bytes(), b"*"].concat();
        reorder(&mut self.prefixes, |one, other| key(one) < key(other));
    }

    /// For a configuration that has lost the order of its keys. Says whether that matters.
    pub fn order_by_alphabet(&mut self) -> bool {
        reorder(&mut self.patterns, |(one, _), (other, _)| one.as_str() < other.as_str());
        self.patterns.len() > 1
    }

    /// The names that clients can use without guessing: the exact keys.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.exact.iter().map(|(name, _)| name.as_str()).filter(|name| !name.starts_with('~'))
    }

    fn insert(&mut self, key: String, target: String) -> Result<(), regex_lite::Error> {
        // The tilde first: `~gpt.*` ends in a star and is no prefix.
        if let Some(pattern) = key.strip_prefix('~') {
            self.patterns.push((Regex::new(pattern)?, target.clone()));
            // The spelled-out name matches too, as every key does.
            self.exact.push((key, target));
        } else if key == "*" {
            self.any = Some(target);
        } else if let Some(prefix) = key.strip_suffix('*') {
            self.prefixes.push((prefix.to_owned(), target));
        } else {
            self.exact.push((key, target));
        }
        Ok(())
    }
}

/// Puts entries into their order, equals as they came. There are few, so the simplest way is the smallest too.
fn reorder<T>(entries: &mut Vec<T>, precedes: impl Fn(&T, &T) -> bool) {
    for entry in std::mem::take(entries) {
        let at = entries.iter().position(|other| precedes(&entry, other)).unwrap_or(entries.len());
        entries.insert(at, entry);
    }
}

impl<'de> Deserialize<'de> for ModelMapping {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = ModelMapping;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of model names")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<ModelMapping, A::Error> {
                let mut mapping = ModelMapping::default();
                while let Some((key, target)) = entries.next_entry::<String, String>()? {
                    let shown = key.clone();
                    mapping
                        .insert(key, target)
                        .map_err(|error| A::Error::custom(format_args!("`{shown}` is no regex: {error}")))?;
                }
                reorder(&mut mapping.prefixes, |(one, _), (other, _)| one.len() > other.len());
                Ok(mapping)
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(mapping: &str, cases: &[(&str, &str)]) {
        let mapping: ModelMapping = serde_json::from_str(mapping).unwrap();
        for (model, expected) in cases {
            assert_eq!(mapping.map(model), *expected, "{model}");
        }
    }

    #[test]
    fn an_exact_name_wins_and_an_empty_target_keeps_it() {
        check(
            r#"{"*":"small","gpt-4-*":"big","keep":""}"#,
            &[("keep", "keep"), ("gpt-4-turbo", "big"), ("x", "small"), ("gpt-4", "small")],
        );
    }

    #[test]
    fn the_longest_prefix_wins_whatever_the_order() {
        check(
            r#"{"a*":"1","abc*":"3","ab*":"2"}"#,
            &[("abcd", "3"), ("abx", "2"), ("ax", "1"), ("abc", "3")],
        );
    }

    #[test]
    fn prefixes_may_be_tried_by_alphabet() {
        let mut mapping: ModelMapping =
            serde_json::from_str(r#"{"abc*":"3","ab*":"2","ab!*":"1","b*":"4"}"#).unwrap();
        mapping.order_prefixes_by_alphabet();
        for (model, expected) in [("abcd", "2"), ("ab!c", "1"), ("b", "4"), ("a", "a")] {
            assert_eq!(mapping.map(model), expected, "{model}");
        }
    }

    #[test]
    fn a_prefix_wins_over_a_regex_and_a_regex_over_the_star() {
        check(r#"{"*":"s","~gpt":"r","gpt-4*":"p"}"#, &[("gpt-4o", "p"), ("gpt-3", "r-3"), ("x", "s")]);
    }

    #[test]
    fn regexes_are_tried_in_the_order_of_the_configuration() {
        check(r#"{"~b":"1","~a":"2"}"#, &[("ab", "a1"), ("a", "2")]);
    }

    #[test]
    fn every_match_of_a_regex_is_replaced_with_its_groups() {
        check(
            r#"{"~gpt-(\\d)":"g${1}x","~o(\\w+)":"p/$1$$"}"#,
            &[("my-gpt-4o", "my-g4xo"), ("gpt-1gpt-2", "g1xg2x"), ("oak", "p/ak$")],
        );
    }

    #[test]
    fn a_regex_that_ends_in_a_star_is_no_prefix() {
        check(r#"{"~gpt.*":"qwen-max"}"#, &[("gpt-4o", "qwen-max"), ("~gpt.*", "qwen-max")]);
    }

    #[test]
    fn a_missing_model_meets_the_star_only() {
        check(r#"{"a*":"1","*":"X"}"#, &[("", "X")]);
        check(r#"{"a*":"1"}"#, &[("", "")]);
    }

    #[test]
    fn a_bad_regex_is_refused_when_it_is_read() {
        let error = serde_json::from_str::<ModelMapping>(r#"{"~(":"x"}"#).unwrap_err().to_string();
        assert!(error.contains("`~(` is no regex"), "{error}");
    }
}
