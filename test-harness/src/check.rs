//! `cargo harness check-config`: what the plugins say of their configurations, before an Envoy is asked.
//!
//! Configurations are found where people keep them: in Envoy's own files, in Istio's and Higress's `WasmPlugin`s, in
//! lists of these as `kubectl` gives them; or a file is one.
#![allow(clippy::print_stderr, clippy::print_stdout, reason = "a command-line program talks to its user")]

use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;

use common::config::{self, ConfigError};
use common::filter::Filter;
use serde_json::{Map, Value, json};

use crate::envoy::render::parse_yaml;
use crate::plugins::each_plugin;

const USAGE: &str = "\
usage: cargo harness check-config [options] FILE…

  FILE              YAML or JSON: an Envoy config, Istio or Higress resources, or one plugin's configuration;
                    `-` is the standard input
  --plugin NAME     whose configuration the files are
  --strict          warnings fail too";

/// What a plugin says of a configuration.
type Check = fn(&[u8]) -> Findings;

/// Every plugin there is.
const PLUGINS: [(&str, Check); 4] = each_plugin!(check);

/// What is wrong with a configuration.
#[derive(Debug, Default)]
struct Findings {
    /// The first is why Envoy would refuse it, or each is what is out of service.
    errors: Vec<ConfigError>,
    warnings: Vec<ConfigError>,
}

fn check<F: Filter>(bytes: &[u8]) -> Findings {
    // The gateway's environment is not this one: a variable that is unknown here may be set there.
    let variable = |name: &str| Some(std::env::var(name).unwrap_or_else(|_| "unknown".to_owned()));
    match config::load(bytes, &variable, &mut |section| F::configure(section)) {
        Ok(loaded) => Findings { errors: loaded.errors, warnings: loaded.warnings },
        Err(error) => Findings { errors: vec![error], warnings: Vec::new() },
    }
}

/// Configurations that were checked, and lines for their owner.
#[derive(Debug, Default)]
pub struct Report {
    /// How many were checked.
    pub checked: usize,
    /// How many errors were found.
    pub errors: usize,
    /// How many warnings were.
    pub warnings: usize,
    /// A line for each of them, and for what is none of these plugins'.
    pub lines: Vec<String>,
}

/// One configuration of a plugin.
#[derive(Debug, PartialEq)]
struct Found {
    /// What a person would look for in the file.
    place: String,
    /// What may tell whose it is: where the module comes from, and what it is called.
    names: [String; 2],
    config: Vec<u8>,
}

/// `harness check-config`.
pub fn run(arguments: &[String]) -> ExitCode {
    let (mut files, mut plugin, mut is_strict) = (Vec::new(), None, false);
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--strict" => is_strict = true,
            "--plugin" => match arguments.next().filter(|name| known(name).is_some()) {
                Some(name) => plugin = Some(name.as_str()),
                None => return misused(&format!("--plugin needs one of {}", names())),
            },
            option if option.starts_with("--") => return misused(&format!("`{option}` is no option")),
            file => files.push(file),
        }
    }
    if files.is_empty() {
        return misused("there is nothing to check");
    }
    let mut report = Report::default();
    for file in files {
        let text = match file {
            "-" => {
                let mut text = String::new();
                std::io::stdin().read_to_string(&mut text).map(|_| text)
            }
            _ => std::fs::read_to_string(Path::new(file)),
        };
        match text {
            Ok(text) => report.add(file, &text, plugin),
            Err(error) => report.fail(format!("{file}: {error}")),
        }
    }
    report.lines.iter().for_each(|line| println!("{line}"));
    let Report { checked, errors, warnings, .. } = report;
    println!("{checked} configurations checked: {errors} errors, {warnings} warnings");
    match errors > 0 || (is_strict && warnings > 0) {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    }
}

fn misused(complaint: &str) -> ExitCode {
    eprintln!("{complaint}\n\n{USAGE}");
    ExitCode::from(2)
}

fn names() -> String {
    PLUGINS.map(|(name, _)| name).join(", ")
}

fn known(name: &str) -> Option<Check> {
    PLUGINS.iter().find(|(known, _)| *known == name).map(|(_, check)| *check)
}

impl Report {
    /// Checks what a file has. `plugin`: whose configuration it is, if it is one.
    pub fn add(&mut self, file: &str, text: &str, plugin: Option<&str>) {
        let documents = match parse_yaml(text) {
            Ok(documents) => documents,
            Err(error) => return self.fail(format!("{file}: {error}")),
        };
        let mut found = Vec::new();
        match plugin {
            Some(plugin) => found.extend(documents.iter().map(|document| Found {
                place: plugin.to_owned(),
                names: [plugin.to_owned(), String::new()],
                config: bytes(document),
            })),
            None => documents.iter().for_each(|document| find(document, &mut found)),
        }
        if found.is_empty() {
            let message =
                "no plugin's configuration is in it; --plugin says whose it is, if it is one itself";
            self.fail(format!("{file}: {message}"));
        }
        for Found { place, names: own, config } in found {
            let Some(check) = own.iter().find_map(|name| known(plugin_of(name)?)) else {
                let [module, _] = own;
                self.lines.push(format!("{file}: {place}: not checked: `{module}` is none of {}", names()));
                continue;
            };
            let Findings { errors, warnings } = check(&config);
            let line = |kind: &str, error: &ConfigError| format!("{file}: {place}: {kind}: {error}");
            self.lines.extend(errors.iter().map(|error| line("error", error)));
            self.lines.extend(warnings.iter().map(|error| line("warning", error)));
            self.checked += 1;
            self.errors += errors.len();
            self.warnings += warnings.len();
        }
    }

    fn fail(&mut self, line: String) {
        self.errors += 1;
        self.lines.push(line);
    }
}

/// The plugin that a module is by its name, file, URL or image: `oci://host/ai-proxy:1.0`, `/etc/ai-proxy.wasm`.
fn plugin_of(module: &str) -> Option<&'static str> {
    let file = module.rsplit('/').next().unwrap_or_default();
    let name = file.split([':', '@']).next().unwrap_or_default();
    let name = name.strip_suffix(".wasm").unwrap_or(name);
    PLUGINS.iter().map(|(known, _)| *known).find(|known| *known == name)
}

/// Finds every plugin's configuration in a document.
fn find(document: &Value, found: &mut Vec<Found>) {
    match document {
        Value::Array(elements) => elements.iter().for_each(|element| find(element, found)),
        Value::Object(object) if object.get("kind").is_some_and(|kind| kind == "WasmPlugin") => {
            found.push(resource(document));
        }
        Value::Object(object) if object.contains_key("vm_config") || object.contains_key("vmConfig") => {
            found.push(envoys(document));
        }
        Value::Object(object) => object.values().for_each(|value| find(value, found)),
        _ => {}
    }
}

/// The configuration in Envoy's `envoy.extensions.wasm.v3.PluginConfig`.
fn envoys(plugin: &Value) -> Found {
    let text = |pointer: &str| plugin.pointer(pointer).and_then(Value::as_str);
    let code = |vm: &str| {
        let of = |place: &str| text(&format!("/{vm}/code/{place}"));
        of("local/filename").or_else(|| of("remote/http_uri/uri")).or_else(|| of("remote/httpUri/uri"))
    };
    let name = text("/name").or_else(|| text("/root_id")).or_else(|| text("/rootId")).unwrap_or_default();
    let module = code("vm_config").or_else(|| code("vmConfig")).unwrap_or_default();
    let config = match plugin.pointer("/configuration/value") {
        Some(Value::String(text)) => text.clone().into_bytes(),
        Some(object) => bytes(object),
        None => Vec::new(),
    };
    let place = if name.is_empty() { module } else { name };
    Found { place: place.to_owned(), names: [module.to_owned(), name.to_owned()], config }
}

/// The configuration of a `WasmPlugin`: of Istio's as it is, of Higress's as Higress gives it to its Envoy.
fn resource(plugin: &Value) -> Found {
    let text = |pointer: &str| plugin.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let spec = plugin.get("spec").unwrap_or(&Value::Null);
    let config = match spec.get("pluginConfig") {
        Some(config) => config.clone(),
        None => higress(spec),
    };
    let place = format!("WasmPlugin {}", text("/metadata/name"));
    let names = [text("/spec/url"), text("/spec/pluginName")].map(str::to_owned);
    Found { place, names, config: bytes(&config) }
}

/// One configuration of `defaultConfig` and `matchRules`.
fn higress(spec: &Value) -> Value {
    let is_off = |of: &Value, key: &str| of.get(key).is_some_and(|off| off == true);
    let object = |of: Option<&Value>| of.and_then(Value::as_object).cloned().unwrap_or_default();
    let mut config =
        if is_off(spec, "defaultConfigDisable") { Map::new() } else { object(spec.get("defaultConfig")) };
    let rules = spec.get("matchRules").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let rules: Vec<Value> = rules
        .iter()
        .filter(|rule| !is_off(rule, "configDisable"))
        .map(|rule| {
            let mut own = object(rule.get("config"));
            for (theirs, ours) in
                [("ingress", "_match_route_"), ("domain", "_match_domain_"), ("service", "_match_service_")]
            {
                if let Some(list) = rule.get(theirs) {
                    own.insert(ours.to_owned(), list.clone());
                }
            }
            Value::Object(own)
        })
        .collect();
    if !rules.is_empty() {
        config.insert("_rules_".to_owned(), json!(rules));
    }
    Value::Object(config)
}

/// A configuration as a plugin is given it; none is an empty one.
fn bytes(config: &Value) -> Vec<u8> {
    if config.is_null() { Vec::new() } else { config.to_string().into_bytes() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(text: &str, plugin: Option<&str>) -> Report {
        let mut report = Report::default();
        report.add("f.yaml", text, plugin);
        report
    }

    #[track_caller]
    fn check(text: &str, plugin: Option<&str>, checked: usize, lines: &[&str]) {
        let report = report(text, plugin);
        assert_eq!(
            (report.checked, report.lines),
            (checked, lines.iter().map(|it| (*it).to_owned()).collect())
        );
    }

    #[test]
    fn every_plugin_is_known() {
        let folders = std::fs::read_dir(crate::workspace_root().join("plugins")).unwrap();
        let mut folders: Vec<String> =
            folders.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        folders.sort();
        assert_eq!(folders, PLUGINS.map(|(name, _)| name));
    }

    #[test]
    fn a_file_may_be_a_configuration_itself() {
        let good = r#"{"provider":{"type":"openai","apiTokens":["${OF_THE_GATEWAY}"]}}"#;
        check(good, Some("ai-proxy"), 1, &[]);
        let typo = "provider: { type: openai, apiTokens: [k], modelMaping: {} }";
        check(
            typo,
            Some("ai-proxy"),
            1,
            &["f.yaml: ai-proxy: warning: provider.modelMaping: unknown key, is `modelMapping` meant?"],
        );
        check(
            "[1]",
            Some("model-mapper"),
            1,
            &["f.yaml: model-mapper: error: expected a JSON object, found a list"],
        );
        let none = "no plugin's configuration is in it; --plugin says whose it is, if it is one itself";
        check("a: b", None, 0, &[&format!("f.yaml: {none}")]);
        assert_eq!(report("a: [", None).errors, 1);
    }

    #[test]
    fn envoys_own_config_is_searched() {
        let plugin = |file: &str, value: &str| {
            format!(
                "- {{ name: p, vm_config: {{ code: {{ local: {{ filename: {file} }} }} }}, configuration: {{ value: {value} }} }}\n"
            )
        };
        let text = [
            plugin("/x/model-mapper.wasm", r#"'{"modelMapping":1}'"#),
            plugin("/x/model-mapper.wasm", "{ modelMapping: { a: b } }"),
            plugin("/x/other.wasm", "'{}'"),
            plugin("/x/plugin.wasm", "'{}'").replace("name: p,", "name: model-router,"),
        ];
        let text = text.concat();
        let found = report(&text, None);
        assert_eq!((found.checked, found.errors), (3, 1), "{:?}", found.lines);
        assert!(found.lines[0].starts_with("f.yaml: p: error: modelMapping: "), "{:?}", found.lines);
        assert!(found.lines[1].contains("`/x/other.wasm` is none of ai-proxy, "), "{:?}", found.lines);
    }

    #[test]
    fn resources_are_found_also_in_lists() {
        let text = r"
kind: List
items:
- kind: WasmPlugin
  metadata: { name: istios }
  spec: { url: 'oci://host:5000/team/model-mapper:1.0', pluginConfig: { modelMapping: 1 } }
- kind: WasmPlugin
  metadata: { name: higresss }
  spec:
    url: oci://host/plugins/model-mapper@sha256:00
    defaultConfig: { modelMapping: { a: b } }
    matchRules:
    - { ingress: [ r ], config: { modelMapping: { c: d } } }
    - { domain: [ x.com ], config: { modelMapping: 2 } }
    - { domain: [ y.com ], configDisable: true, config: { modelMapping: 3 } }
- kind: WasmPlugin
  metadata: { name: empty }
  spec: { url: oci://host/model-router }
";
        let found = report(text, None);
        assert_eq!((found.checked, found.errors, found.warnings), (3, 2, 0), "{:?}", found.lines);
        assert!(found.lines[0].starts_with("f.yaml: WasmPlugin istios: error: modelMapping: "));
        assert!(found.lines[1].starts_with("f.yaml: WasmPlugin higresss: error: _rules_[1].modelMapping: "));
    }

    #[test]
    fn a_module_is_known_by_its_name() {
        for module in [
            "ai-proxy",
            "ai-proxy.wasm",
            "/a/ai-proxy.wasm",
            "oci://h:1/x/ai-proxy:v1",
            "h/ai-proxy@sha256:0",
        ] {
            assert_eq!(plugin_of(module), Some("ai-proxy"), "{module}");
        }
        assert_eq!(plugin_of("my-ai-proxy.wasm"), None);
    }
}
