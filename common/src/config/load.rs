//! From bytes to compiled configs, and what a bad part takes with it.

use std::rc::Rc;

use serde_json::{Map, Value};

use super::lenient::kind;
use super::node::{Node, element};
use super::protobuf_struct;
use super::rules::{Matcher, Rule, RuleSet, Slot};
use super::{ConfigError, Section};
use crate::json;

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
    let (mut warnings, mut errors, mut shared) = (Vec::new(), Vec::new(), Vec::new());
    let mut compiled = |node: Node<'_>, global: Option<Node<'_>>, warnings: &mut Vec<ConfigError>| {
        compile(&mut Section { node, global, variables, warnings, is_order_lost, shared: &mut shared })
    };
    let global_node = Node::new("", &global);
    let is_empty = global.as_object().is_none_or(Map::is_empty);
    let has_rules = document.get(RULES).is_some_and(|rules| !rules.is_null());
    // Nobody reads a reserved key in the wrong place, so nobody else would say that it does nothing there.
    for key in document.keys().filter(|key| is_rule_key(key)) {
        warnings.push(ConfigError::new(key, "has a meaning only in a rule, here it has no effect"));
    }
    let global_slot = if is_empty && has_rules {
        // Nothing but rules: requests that meet none are not this plugin's business.
        None
    } else {
        Some(compiled(global_node.clone(), None, &mut warnings))
    };

    let mut set = Vec::with_capacity(rules.len());
    for (at, (path, rule)) in rules.iter().enumerate() {
        let path = path.as_deref().map_or_else(|| element(RULES, at), str::to_owned);
        let node = Node::new(&path, rule);
        if let Some(inner) = node.get(RULES) {
            warnings.push(inner.error("has a meaning only at the top, here it has no effect"));
        }
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
            .unwrap_or_else(|| ConfigError::new(RULES, "no rule, and no config beside it")));
    }
    dedup(&mut warnings);
    Ok(Loaded { rules: RuleSet { global: global_slot, rules: set }, warnings, errors })
}

fn is_rule_key(key: &str) -> bool {
    key == "_disable_" || key.starts_with("_match_")
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
    match json::tree(bytes) {
        Ok(Value::Object(document)) => Ok((document, false)),
        Ok(other) => Err(ConfigError::new("", format!("expected a JSON object, found {}", kind(&other)))),
        // The tag of a Struct's only field; no JSON text that means anything begins with a line feed.
        Err(error) => {
            match bytes.first().filter(|first| **first == 0x0a).and_then(|_| protobuf_struct::decode(bytes)) {
                Some(document) => Ok((document, true)),
                None => {
                    let (line, column) = place(bytes, error.at().unwrap_or(0));
                    let message = format!(
                        "not valid JSON (line {line} column {column}); the configuration must be JSON text in a \
                         google.protobuf.StringValue"
                    );
                    Err(ConfigError::new("", message))
                }
            }
        }
    }
}

/// Line and column of a byte, both from 1.
fn place(text: &[u8], at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
    (line, column)
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
    let is_own = |key: &str| !matches!(key, RULES | "_plugin_id_") && !is_rule_key(key);
    let own = object.iter().filter(|(key, _)| is_own(key));
    Value::Object(own.map(|(key, value)| (key.clone(), value.clone())).collect())
}

fn without_reserved_of(rule: &Value) -> Value {
    rule.as_object().map_or(Value::Null, without_reserved)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;
    use crate::config::{Secret, Selected, Target};

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(rename_all = "camelCase", default)]
    struct Sample {
        number: u32,
        name: String,
    }

    struct Route(&'static str);

    impl Target for Route {
        fn host(&self) -> Option<String> {
            Some("gateway.test".into())
        }

        fn route(&self) -> Option<String> {
            Some(self.0.into())
        }

        fn cluster(&self) -> Option<String> {
            None
        }
    }

    /// A request for a host, on a cluster, by a route that no rule names.
    struct To(&'static str, &'static str);

    impl Target for To {
        fn host(&self) -> Option<String> {
            Some(self.0.into())
        }

        fn route(&self) -> Option<String> {
            Some("other".into())
        }

        fn cluster(&self) -> Option<String> {
            Some(self.1.into())
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
        check_refused(br#"{"_rules_":[]}"#, "_rules_: no rule, and no config beside it");
        check_refused(b"\n{\"number\":", "not valid JSON (line 2 column 11)");
        check_refused(b"\xff\xfe", "not valid JSON");
        // Case 14 of the worked matching cases.
        check_refused(br#"{"_rules_":[{"modelKey":"m"}]}"#, "_rules_[0]: the rule matches nothing");
        check_refused(
            br#"{"number":{},"_rules_":[{"_match_route_":["a"],"number":{}}]}"#,
            "_rules_[0].number: expected a whole number, found an object",
        );
        check_refused(br#"{"_rules_":[{"_match_route_":["a"],"number":{}}]}"#, "_rules_[0].number: ");
    }

    #[test]
    fn reserved_keys_are_never_the_plugins_and_have_one_place_each() {
        let config = r#"{"_disable_":true,"_match_route_":["x"],"_plugin_id_":"p","number":7,
            "_rules_":[{"_match_route_":["a"],"_disable_":false,"_plugin_id_":"p","_rules_":[],"name":"n"}]}"#;
        let mut seen = Vec::new();
        let loaded = load(config.as_bytes(), &|_| None, &mut |section| {
            let keys = |node: Node<'_>| node.entries().iter().map(|(key, _)| (*key).to_owned()).collect();
            let keys_of: (Vec<String>, Option<Vec<String>>) =
                (keys(section.node()), section.global().map(keys));
            seen.push(keys_of);
            Ok(())
        });
        assert_eq!(
            seen,
            [(vec!["number".to_owned()], None), (vec!["name".to_owned()], Some(vec!["number".to_owned()]))]
        );
        let lines: Vec<_> = loaded.unwrap().warnings.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "_disable_: has a meaning only in a rule, here it has no effect",
                "_match_route_: has a meaning only in a rule, here it has no effect",
                "_rules_[0]._rules_: has a meaning only at the top, here it has no effect",
            ]
        );
    }

    #[test]
    fn what_is_not_there_is_not_compiled() {
        let compiled = |config: &str| {
            let mut paths = Vec::new();
            let _ = load(config.as_bytes(), &|_| None, &mut |section| {
                paths.push(section.node().path().to_owned());
                Ok(())
            });
            paths
        };
        assert_eq!(compiled("{}"), [""]);
        assert_eq!(compiled(r#"{"_rules_":[]}"#), [""; 0]);
        assert_eq!(compiled(r#"{"_rules_":[{"_match_route_":"a"}]}"#), ["_rules_[0]"]);
        assert_eq!(compiled(r#"{"_rules_":[{"_match_route_":"a","_disable_":true,"number":{}}]}"#), [""; 0]);
        assert_eq!(compiled(r#"{"n":1,"_rules_":[{},{"_match_route_":"a"}]}"#), ["", "_rules_[1]"]);
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
            #[serde(default)]
            inner: Sample,
        }
        let text = br#"{"provider":{"number":1,"extra":2,"extr":3,"inner":{"extra":4,"nam":"x"}}}"#;
        let loaded = load(text, &|_| None, &mut |section| {
            let provider = section.node().get("provider").unwrap();
            let (sample, other) = section.read_pair::<Sample, Other>(&provider)?;
            assert_eq!((sample.number, other.extra, other.inner), (1, 2, Sample::default()));
            Ok(())
        });
        let lines: Vec<_> = loaded.unwrap().warnings.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "provider.extr: unknown key, is `extra` meant?",
                "provider.inner.extra: unknown key, it has no effect",
                "provider.inner.nam: unknown key, is `name` meant?",
            ]
        );
    }

    /// A configuration as a gateway has it: every kind of value, and every kind of mistake.
    const GATEWAY: &str = r#"{
        "activeProviderId": "main",
        "providers": [
            {"id": "main", "type": "openai", "apiTokens": ["${OPENAI_KEY}", "sk-2"], "timeout": "30000",
             "modelMapping": {"~gpt-(.*)": "o-$1", "gpt-4*": "big", "~.*mini": "small", "*": ""},
             "capabilities": {"openai/v1/embeddings": "/e"},
             "failover": {"enabled": "true", "failureThreshold": 2.0, "failoverOnStatus": "4.*"},
             "customSettings": [{"name": "max_tokens", "value": 5}, {"name": "a.b", "value": {"c": null}, "mode": "raw"}]},
            {"id": 7, "type": "azure", "apiTokens": "${AZURE_KEY}", "apiToken": "x", "context": null}
        ],
        "_rules_": [
            {"_match_route_": ["a"], "activeProviderId": 7},
            {"_match_domain_": ["*.ai.test"], "providers": [{"id": "b", "type": "openai", "timeout": "soon"}]},
            {"_match_service_": ["s.dns"], "_disable_": true},
            {"_match_route_prefix_": ["api-"], "providers": [{"type": "openai", "apiTokens": "${NO_SUCH_KEY}"}]}
        ]
    }"#;

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(rename_all = "camelCase", default)]
    struct Gateway {
        active_provider_id: String,
        providers: Vec<Provider>,
    }

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(rename_all = "camelCase", default)]
    struct Provider {
        id: String,
        #[serde(rename = "type")]
        kind: String,
        api_tokens: Vec<Secret>,
        timeout: u32,
        model_mapping: BTreeMap<String, String>,
        capabilities: BTreeMap<String, String>,
        failover: Failover,
        custom_settings: Vec<Setting>,
        context: Option<Value>,
    }

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(rename_all = "camelCase", default)]
    struct Failover {
        enabled: bool,
        failure_threshold: u32,
        failover_on_status: Vec<String>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Setting {
        name: String,
        value: Value,
        #[serde(default)]
        mode: String,
    }

    fn gateway(bytes: &[u8]) -> Result<Loaded<Gateway>, ConfigError> {
        let variables = |name: &str| match name {
            "OPENAI_KEY" => Some("sk-1".to_owned()),
            "AZURE_KEY" => Some("az".to_owned()),
            _ => None,
        };
        load(bytes, &variables, &mut |section| section.read())
    }

    /// The same configuration as a Struct.
    fn gateway_wire() -> Vec<u8> {
        let Value::Object(map) = serde_json::from_str(GATEWAY).unwrap() else { panic!() };
        protobuf_struct::tests::encode(&map)
    }

    #[test]
    fn a_whole_gateway_loads_from_text_and_from_a_struct() {
        let setting = |name: &str, value, mode: &str| Setting { name: name.into(), value, mode: mode.into() };
        let texts = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let main = Provider {
            id: "main".into(),
            kind: "openai".into(),
            api_tokens: vec!["sk-1".into(), "sk-2".into()],
            timeout: 30_000,
            model_mapping: texts(&[
                ("~gpt-(.*)", "o-$1"),
                ("gpt-4*", "big"),
                ("~.*mini", "small"),
                ("*", ""),
            ]),
            capabilities: texts(&[("openai/v1/embeddings", "/e")]),
            failover: Failover {
                enabled: true,
                failure_threshold: 2,
                failover_on_status: vec!["4.*".into()],
            },
            custom_settings: vec![
                setting("max_tokens", Value::from(5), ""),
                setting("a.b", serde_json::json!({"c": null}), "raw"),
            ],
            context: None,
        };
        let azure = Provider {
            id: "7".into(),
            kind: "azure".into(),
            api_tokens: vec!["az".into()],
            ..Provider::default()
        };
        let global = Gateway { active_provider_id: "main".into(), providers: vec![main, azure] };
        for bytes in [GATEWAY.as_bytes().to_vec(), gateway_wire()] {
            let loaded = gateway(&bytes).unwrap();
            let lines = |list: &[ConfigError]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
            assert_eq!(
                lines(&loaded.warnings),
                ["providers[1].apiToken: unknown key, is `apiTokens` meant?"]
            );
            assert_eq!(
                lines(&loaded.errors),
                [
                    "_rules_[1].providers[0].timeout: expected a whole number, found a string",
                    "_rules_[3].providers[0].apiTokens: the environment variable \"NO_SUCH_KEY\" is not set \
                     (vm_config.environment_variables names it to the VM)",
                ]
            );
            let Selected::Config(found) = loaded.rules.select(&Route("other")) else { panic!() };
            assert_eq!(*found, global);
            let Selected::Config(found) = loaded.rules.select(&Route("a")) else { panic!() };
            assert_eq!(*found, Gateway { active_provider_id: "7".into(), ..Gateway::default() });
            assert!(matches!(loaded.rules.select(&To("eu.ai.test", "c")), Selected::Broken));
            assert!(matches!(loaded.rules.select(&Route("api-1")), Selected::Broken));
            assert!(matches!(loaded.rules.select(&To("h", "outbound|1||s.dns")), Selected::Inactive));
            assert!(matches!(loaded.rules.select(&To("h", "c")), Selected::Config(_)));
        }
    }

    #[test]
    fn the_order_of_keys_is_that_of_the_text() {
        let mut order = Vec::new();
        let _ = load(GATEWAY.as_bytes(), &|_| None, &mut |section| {
            let first = section.node().get("providers").and_then(|list| list.items().into_iter().next());
            let mapping = first.and_then(|provider| provider.get("modelMapping"));
            order.extend(mapping.iter().flat_map(Node::entries).map(|(key, _)| key.to_owned()));
            Ok(())
        });
        assert_eq!(order, ["~gpt-(.*)", "gpt-4*", "~.*mini", "*"]);
    }

    #[test]
    fn any_bytes_are_refused_or_read_and_never_panic() {
        for whole in [GATEWAY.as_bytes().to_vec(), gateway_wire()] {
            for at in 0..whole.len() {
                let _ = gateway(&whole[..at]);
                for byte in [b'"', b'{', b'[', b'0', 0x0a, 0xff] {
                    let mut changed = whole.clone();
                    changed[at] = byte;
                    // Whatever came of it, each complaint is one line.
                    let complaints = match gateway(&changed) {
                        Ok(loaded) => [loaded.warnings, loaded.errors].concat(),
                        Err(error) => vec![error],
                    };
                    for complaint in complaints {
                        assert_eq!(complaint.to_string().lines().count(), 1);
                    }
                }
            }
        }
    }
}
