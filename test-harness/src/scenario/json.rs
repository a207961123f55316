//! JSON compared by value, with the path of each difference.

use regex_lite::Regex;
use serde_json::{Map, Value};

/// More differences than this help nobody.
const MOST: usize = 8;
/// Longer values are shown cut.
const SHOWN: usize = 300;

/// Whether members that the pattern does not name may be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Others {
    Refused,
    Allowed,
}

/// The differences, each with its path, such as `$.messages[0].role: expected "system", found "user"`.
///
/// In the pattern `{"$matches": "<regex>"}` stands for a string, `{"$any": true}` for any value, and
/// `{"$absent": true}` for a member that must not be there.
pub(super) fn differences(pattern: &Value, found: &Value, others: Others) -> Vec<String> {
    let mut differences = Differences { others, lines: Vec::new() };
    differences.compare("$", pattern, found);
    let count = differences.lines.len();
    if count > MOST {
        differences.lines.truncate(MOST);
        differences.lines.push(format!("and {} more differences", count - MOST));
    }
    differences.lines
}

struct Differences {
    others: Others,
    lines: Vec<String>,
}

impl Differences {
    fn compare(&mut self, path: &str, pattern: &Value, found: &Value) {
        if let Some((name, argument)) = operator(pattern) {
            return self.operate(path, name, argument, found);
        }
        match (pattern, found) {
            (Value::Object(pattern), Value::Object(found)) => self.objects(path, pattern, found),
            (Value::Array(pattern), Value::Array(found)) => self.arrays(path, pattern, found),
            (Value::Number(one), Value::Number(other)) if one.as_f64() == other.as_f64() => {
                // Two integers may differ and yet be the same as floating-point numbers.
                if one.as_i128() != other.as_i128() && one.as_i128().is_some() && other.as_i128().is_some() {
                    self.differ(path, pattern, found);
                }
            }
            (pattern, found) if pattern == found => {}
            (pattern, found) => self.differ(path, pattern, found),
        }
    }

    fn objects(&mut self, path: &str, pattern: &Map<String, Value>, found: &Map<String, Value>) {
        for (name, pattern) in pattern {
            let path = member(path, name);
            let must_be_absent = operator(pattern).is_some_and(|(name, _)| name == "$absent");
            match found.get(name) {
                Some(found) => self.compare(&path, pattern, found),
                None if must_be_absent => {}
                None => self.lines.push(format!("{path}: expected {}, found nothing", shown(pattern))),
            }
        }
        if self.others == Others::Refused {
            for (name, found) in found.iter().filter(|(name, _)| !pattern.contains_key(*name)) {
                self.lines.push(format!("{}: expected nothing, found {}", member(path, name), shown(found)));
            }
        }
    }

    fn arrays(&mut self, path: &str, pattern: &[Value], found: &[Value]) {
        for (index, (pattern, found)) in pattern.iter().zip(found).enumerate() {
            self.compare(&format!("{path}[{index}]"), pattern, found);
        }
        for (index, pattern) in pattern.iter().enumerate().skip(found.len()) {
            self.lines.push(format!("{path}[{index}]: expected {}, found nothing", shown(pattern)));
        }
        for (index, found) in found.iter().enumerate().skip(pattern.len()) {
            self.lines.push(format!("{path}[{index}]: expected nothing, found {}", shown(found)));
        }
    }

    fn operate(&mut self, path: &str, name: &str, argument: &Value, found: &Value) {
        match name {
            "$any" => {}
            "$absent" => self.lines.push(format!("{path}: expected nothing, found {}", shown(found))),
            _ => {
                let Some(pattern) = argument.as_str() else {
                    return self.lines.push(format!("{path}: $matches takes a text, not {argument}"));
                };
                let matches = |text| Regex::new(pattern).is_ok_and(|regex| regex.is_match(text));
                if !found.as_str().is_some_and(matches) {
                    self.lines.push(format!(
                        "{path}: expected a text that matches `{pattern}`, found {}",
                        shown(found)
                    ));
                }
            }
        }
    }

    fn differ(&mut self, path: &str, pattern: &Value, found: &Value) {
        self.lines.push(format!("{path}: expected {}, found {}", shown(pattern), shown(found)));
    }
}

fn operator(pattern: &Value) -> Option<(&str, &Value)> {
    let (name, argument) = pattern.as_object().filter(|object| object.len() == 1)?.iter().next()?;
    matches!(name.as_str(), "$matches" | "$any" | "$absent").then_some((name, argument))
}

fn member(path: &str, name: &str) -> String {
    let is_plain =
        !name.is_empty() && name.chars().all(|character| character.is_alphanumeric() || character == '_');
    if is_plain { format!("{path}.{name}") } else { format!("{path}[{name:?}]") }
}

fn shown(value: &Value) -> String {
    super::pattern::shorten(&value.to_string(), SHOWN)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(pattern: &Value, found: &Value, expected: &[&str]) {
        assert_eq!(differences(pattern, found, Others::Refused), expected);
    }

    #[test]
    fn values_are_compared_whatever_their_order_and_notation() {
        check(&json!({"a": 1, "b": [true, null]}), &json!({"b": [true, null], "a": 1.0}), &[]);
        check(
            &json!(9_007_199_254_740_993_i64),
            &json!(9_007_199_254_740_992_i64),
            &["$: expected 9007199254740993, found 9007199254740992"],
        );
    }

    #[test]
    fn every_difference_has_its_path() {
        check(
            &json!({"messages": [{"role": "system"}], "n": 1, "x-y": {}}),
            &json!({"messages": [{"role": "user"}, {}], "n": "1", "extra": null}),
            &[
                "$.messages[0].role: expected \"system\", found \"user\"",
                "$.messages[1]: expected nothing, found {}",
                "$.n: expected 1, found \"1\"",
                "$[\"x-y\"]: expected {}, found nothing",
                "$.extra: expected nothing, found null",
            ],
        );
    }

    #[test]
    fn a_part_may_be_compared_alone() {
        let found = json!({"a": {"b": 1, "c": 2}, "list": [{"x": 1, "y": 2}]});
        assert!(differences(&json!({"a": {"c": 2}, "list": [{"y": 2}]}), &found, Others::Allowed).is_empty());
        assert_eq!(differences(&json!({"list": []}), &found, Others::Allowed).len(), 1);
        assert_eq!(differences(&json!({"a": {"$absent": true}}), &found, Others::Allowed).len(), 1);
        assert!(differences(&json!({"z": {"$absent": true}}), &found, Others::Allowed).is_empty());
    }

    #[test]
    fn what_is_not_known_beforehand_is_matched() {
        let pattern = json!({"id": {"$matches": "^chatcmpl-[0-9a-f]+$"}, "created": {"$any": true}});
        check(&pattern, &json!({"id": "chatcmpl-0a", "created": 5}), &[]);
        check(
            &pattern,
            &json!({"id": "x", "created": null}),
            &["$.id: expected a text that matches `^chatcmpl-[0-9a-f]+$`, found \"x\""],
        );
    }

    #[test]
    fn a_long_list_of_differences_is_cut() {
        let lines = differences(&Value::from(vec![1; 20]), &json!([]), Others::Refused);
        assert_eq!((lines.len(), lines[8].as_str()), (9, "and 12 more differences"));
    }
}
