//! From bytes to compiled configs, and what a bad part takes with it.

use std::rc::Rc;

use serde_json::{Map, Value};

use super::lenient::kind;
use super::node::{Node, element};
use super::protobuf_struct;
use super::rules::{Matcher, Rule, RuleSet, Slot};
use super::{ConfigError, Section};

/// Looks an environment variable of the VM up.
pub type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What came of a plugin's configuration.
#[derive(Debug)]
pub struct Loaded<C> {
    /// The configs, ready to be chosen from.
    pub rules: RuleSet<C>,
    /// What the operator should know.
    pub warnings: Vec<ConfigError>,
    /// What is out of service: broken rules, or a broken global config beside good rules.
    pub errors: Vec<ConfigError>,
}

const RULES: &str = "_rules_";

/// Reads a document and compiles the global config and each rule's with `compile`.
///
/// # Errors
/// The document is no JSON object, or nothing in it is usable.
pub fn load<C>(
    bytes: &[u8],
    variables: Variables<'_>,
    compile: &mut dyn FnMut(&mut Section<'_>) -> Result<C, ConfigError>,
) -> Result<Loaded<C>, ConfigError> {
    let (document, is_order_lost) = parse(bytes)?;
    let rules = rules_of(&document)?;
    let global = without_reserved(&document);
    let (mut warnings, mut errors) = (Vec::new(), Vec::new());
    let mut compiled = |node: Node<'_>, global: Option<Node<'_>>, warnings: &mut Vec<ConfigError>| {
        compile(&mut Section { node, global, variables, warnings, is_order_lost })
    };
    let global_node = Node::new("", &global);
    let is_empty = global.as_object().is_none_or(Map::is_empty);
    let global_slot = if is_empty && !rules.is_empty() {
        // Nothing but rules: requests that meet none are not this plugin's business.
        None
    } else {
        Some(compiled(global_node.clone(), None, &mut warnings))
    };

    let mut set = Vec::with_capacity(rules.len());
    for (at, (path, rule)) in rules.iter().enumerate() {
        let path = path.as_deref().map_or_else(|| element(RULES, at), str::to_owned);
        let node = Node::new(&path, rule);
        let matcher = match Matcher::of(&node, &mut warnings) {
            Ok(matcher) => matcher,
            // A rule that can match nothing is left out.
            Err(error) => {
                errors.push(error);
                continue;
            }
        };
        let slot = match is_disabled(&node) {
            Ok(true) => Slot::Disabled,
            disabled => {
                let own = without_reserved_of(rule);
                let own = Node::new(&path, &own);
                let result = disabled.and_then(|_| compiled(own, Some(global_node.clone()), &mut warnings));
                kept(result, &mut errors)
            }
        };
        set.push(Rule { matcher, slot });
    }
    let global_slot = global_slot.map(|result| kept(result, &mut errors));
    let is_usable = |slot: &Slot<C>| !matches!(slot, Slot::Broken);
    if !global_slot.iter().chain(set.iter().map(|rule| &rule.slot)).any(is_usable) {
        return Err(errors
            .into_iter()
            .next()
            .unwrap_or_else(|| ConfigError::new("", "nothing is configured")));
    }
    dedup(&mut warnings);
    Ok(Loaded { rules: RuleSet { global: global_slot, rules: set }, warnings, errors })
}

fn kept<C>(result: Result<C, ConfigError>, errors: &mut Vec<ConfigError>) -> Slot<C> {
    match result {
        Ok(config) => Slot::Ready(Rc::new(config)),
        Err(error) => {
            errors.push(error);
            Slot::Broken
        }
    }
}

/// A rule that inherits reads the global config once more, and would warn of it once more.
fn dedup(warnings: &mut Vec<ConfigError>) {
    let mut seen = Vec::with_capacity(warnings.len());
    warnings.retain(|warning| {
        let is_new = !seen.contains(warning);
        if is_new {
            seen.push(warning.clone());
        }
        is_new
    });
}

/// The document, and whether its keys have lost their order.
fn parse(bytes: &[u8]) -> Result<(Map<String, Value>, bool), ConfigError> {
    if bytes.trim_ascii().is_empty() {
        return Ok((Map::new(), false));
    }
    match serde_json::from_slice::<Value>(bytes) {
        Ok(Value::Object(document)) => Ok((document, false)),
        Ok(other) => Err(ConfigError::new("", format!("expected a JSON object, found {}", kind(&other)))),
        // The tag of a Struct's only field; no JSON text that means anything begins with a line feed.
        Err(error) => {
            match bytes.first().filter(|first| **first == 0x0a).and_then(|_| protobuf_struct::decode(bytes)) {
                Some(document) => Ok((document, true)),
                None => Err(ConfigError::new(
                    "",
                    format!(
                        "not valid JSON (line {} column {}); the configuration must be JSON text in a \
                     google.protobuf.StringValue",
                        error.line(),
                        error.column()
                    ),
                )),
            }
        }
    }
}

type PlacedRule = (Option<String>, Value);

/// The rules and, where it is not their number in a list, their path.
fn rules_of(document: &Map<String, Value>) -> Result<Vec<PlacedRule>, ConfigError> {
    let rules = match document.get(RULES) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(rules)) => rules.iter().map(|rule| (None, rule.clone())).collect(),
        Some(one @ Value::Object(_)) => vec![(Some(RULES.to_owned()), one.clone())],
        Some(other) => {
            return Err(ConfigError::new(
                RULES,
                format!("expected a list of objects, found {}", kind(other)),
            ));
        }
    };
    for (at, (_, rule)) in rules.iter().enumerate() {
        if !rule.is_object() {
            let message = format!("expected an object, found {}", kind(rule));
            return Err(ConfigError::new(element(RULES, at), message));
        }
    }
    Ok(rules)
}

fn is_disabled(rule: &Node<'_>) -> Result<bool, ConfigError> {
    let Some(node) = rule.get("_disable_") else { return Ok(false) };
    match node.value() {
        Value::Null => Ok(false),
        Value::Bool(value) => Ok(*value),
        Value::String(text) if text == "true" => Ok(true),
        Value::String(text) if text == "false" => Ok(false),
        other => Err(node.error(format!("expected true or false, found {}", kind(other)))),
    }
}

fn without_reserved(object: &Map<String, Value>) -> Value {
    let is_own =
        |key: &str| !matches!(key, RULES | "_plugin_id_" | "_disable_") && !key.starts_with("_match_");
    let own = object.iter().filter(|(key, _)| is_own(key));
    Value::Object(own.map(|(key, value)| (key.clone(), value.clone())).collect())
}

fn without_reserved_of(rule: &Value) -> Value {
    rule.as_object().map_or(Value::Null, without_reserved)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::config::{Selected, Target};

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(rename_all = "camelCase", default)]
    struct Sample {
        number: u32,
        name: String,
    }

    struct Route(&'static str);

    impl Target for Route {
        fn host(&self) -> Option<String> {
            None
        }

        fn route(&self) -> Option<String> {
            Some(self.0.into())
        }

        fn cluster(&self) -> Option<String> {
            None
        }
    }

    fn loaded(text: &[u8]) -> Result<Loaded<Sample>, ConfigError> {
        load(text, &|_| None, &mut |section| section.read())
    }

    /// What requests on a route get: a number, `broken` or `inactive`.
    fn check(config: &str, route: &'static str, expected: &str) {
        let found = match loaded(config.as_bytes()).unwrap().rules.select(&Route(route)) {
            Selected::Config(config) => config.number.to_string(),
            Selected::Broken => "broken".into(),
            Selected::Inactive => "inactive".into(),
        };
        assert_eq!(found, expected, "{config}");
    }

    fn check_refused(config: &[u8], expected: &str) {
        let line = loaded(config).unwrap_err().to_string();
        assert!(line.contains(expected), "{line}");
    }

    #[test]
    fn an_empty_document_is_a_global_config_of_defaults() {
        for text in ["", "  ", "{}", "{\"_plugin_id_\":\"x\"}"] {
            check(text, "r", "0");
        }
    }

    #[test]
    fn rules_alone_leave_other_requests_untouched() {
        let config = r#"{"_rules_":[{"_match_route_":["a"],"number":1}]}"#;
        check(config, "a", "1");
        check(config, "b", "inactive");
        check(r#"{"_rules_":{"_match_route_":["a"],"number":1}}"#, "a", "1");
    }

    #[test]
    fn a_rule_inherits_nothing_by_itself() {
        let config = r#"{"number":7,"_rules_":[{"_match_route_":["a"],"name":"x"}]}"#;
        check(config, "a", "0");
        check(config, "b", "7");
    }

    #[test]
    fn a_broken_rule_keeps_its_place_and_never_falls_through() {
        let config = r#"{"number":7,"_rules_":[{"_match_route_":["a"],"number":{}},{"_match_route_":["a","b"],"number":2}]}"#;
        check(config, "a", "broken");
        check(config, "b", "2");
        check(config, "c", "7");
        let errors = loaded(config.as_bytes()).unwrap().errors;
        assert_eq!(errors[0].to_string(), "_rules_[0].number: expected a whole number, found an object");
    }

    #[test]
    fn a_broken_global_config_leaves_good_rules_working() {
        let config = r#"{"number":{},"_rules_":[{"_match_route_":["a"],"number":1}]}"#;
        check(config, "a", "1");
        check(config, "b", "broken");
    }

    #[test]
    fn a_rule_that_matches_nothing_is_left_out() {
        for rule in [
            r#"{"number":9}"#,
            r#"{"_match_route_":[],"number":9}"#,
            r#"{"_match_route_":[""],"number":9}"#,
            r#"{"_match_route_":{},"number":9}"#,
            r#"{"_match_route_":["a"],"_match_routes_":["b"],"number":9}"#,
        ] {
            let config = format!(r#"{{"number":7,"_rules_":[{rule},{{"_match_route_":["a"],"number":1}}]}}"#);
            assert_eq!(loaded(config.as_bytes()).unwrap().errors.len(), 1, "{rule}");
            let loaded = loaded(config.as_bytes()).unwrap();
            assert!(
                matches!(loaded.rules.select(&Route("a")), Selected::Config(config) if config.number == 1)
            );
        }
    }

    #[test]
    fn a_disabled_rule_switches_the_plugin_off() {
        let config = r#"{"number":7,"_rules_":[{"_match_route_":["a"],"_disable_":"true"},{"_match_route_":["b"],"_disable_":false,"number":1}]}"#;
        check(config, "a", "inactive");
        check(config, "b", "1");
        check(r#"{"number":7,"_rules_":[{"_match_route_":["a"],"_disable_":3}]}"#, "a", "broken");
    }

    #[test]
    fn what_holds_nothing_usable_is_refused() {
        check_refused(
            b"x",
            "not valid JSON (line 1 column 1); the configuration must be JSON text in a google.protobuf.StringValue",
        );
        check_refused(b"[1]", "expected a JSON object, found a list");
        check_refused(b"\x0a\x03abc", "StringValue");
        check_refused(br#"{"number":{}}"#, "number: expected a whole number, found an object");
        check_refused(br#"{"_rules_":3}"#, "_rules_: expected a list of objects, found a number");
        check_refused(br#"{"_rules_":[3]}"#, "_rules_[0]: expected an object, found a number");
        check_refused(br#"{"_rules_":[{"number":1}]}"#, "_rules_[0]: ");
        check_refused(br#"{"_rules_":[{"_match_route_":["a"],"number":{}}]}"#, "_rules_[0].number: ");
    }

    #[test]
    fn a_struct_is_read_and_said_to_have_no_order() {
        let Value::Object(map) = serde_json::json!({"number": 5}) else { panic!() };
        let wire = protobuf_struct::tests::encode(&map);
        let mut orders = Vec::new();
        let loaded = load(&wire, &|_| None, &mut |section| {
            orders.push(section.is_order_lost());
            section.read::<Sample>()
        });
        assert!(
            matches!(loaded.unwrap().rules.select(&Route("a")), Selected::Config(config) if config.number == 5)
        );
        assert_eq!(orders, [true]);
    }

    #[test]
    fn unknown_keys_are_warnings_that_name_the_nearest_one() {
        let config = r#"{"nunber":1,"zzz":2,"_rules_":[{"_match_route_":["a"],"nam":"x"}]}"#;
        let lines: Vec<_> =
            loaded(config.as_bytes()).unwrap().warnings.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "nunber: unknown key, is `number` meant?",
                "zzz: unknown key, it has no effect",
                "_rules_[0].nam: unknown key, is `name` meant?",
            ]
        );
    }

    #[test]
    fn two_readers_of_one_object_know_keys_together() {
        #[derive(Deserialize)]
        struct Other {
            #[serde(default)]
            extra: u32,
        }
        let text = br#"{"provider":{"number":1,"extra":2,"extr":3}}"#;
        let loaded = load(text, &|_| None, &mut |section| {
            let provider = section.node().get("provider").unwrap();
            let (sample, other) = section.read_pair::<Sample, Other>(&provider)?;
            assert_eq!((sample.number, other.extra), (1, 2));
            Ok(())
        });
        let lines: Vec<_> = loaded.unwrap().warnings.iter().map(ToString::to_string).collect();
        assert_eq!(lines, ["provider.extr: unknown key, is `extra` meant?"]);
    }

    #[test]
    fn any_bytes_are_refused_or_read_and_never_panic() {
        let text = br#"{"number":1,"_rules_":[{"_match_route_":["a"],"_match_domain_":"*","number":"2"}]}"#;
        for at in 0..text.len() {
            let _ = loaded(&text[..at]);
            for byte in [b'"', b'{', b'[', b'0', 0x0a, 0xff] {
                let mut changed = text.to_vec();
                changed[at] = byte;
                let _ = loaded(&changed);
            }
        }
    }
}
