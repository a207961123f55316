//! A scenario file as it is written.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::case::{Case, Http};
use super::size::Size;
use super::{Texts, Wrong, given};
use crate::envoy::Release;
use crate::workspace_root;

/// Why a scenario file is none.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("{path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is not written as a scenario is.
    #[error("{path}: {source}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where in the file.
        source: serde_yaml_ng::Error,
    },
    /// Its parts do not go together.
    #[error("{path}: {source}")]
    Wrong {
        /// The file.
        path: PathBuf,
        /// What does not go with what.
        source: Wrong,
    },
}

/// A scenario, ready to be played.
#[derive(Debug, Clone)]
pub struct Scenario {
    pub(super) path: PathBuf,
    pub(super) needs: Option<Needs>,
    pub(super) chain: Vec<Plugin>,
    pub(super) envoy: Knobs,
    pub(super) start_log_includes: Texts,
    pub(super) cases: Vec<Case>,
    pub(super) refused: Vec<Refusal>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(rename = "about")]
    _about: String,
    #[serde(default)]
    needs: Option<Needs>,
    #[serde(default)]
    plugin: Option<String>,
    #[serde(default)]
    plugins: Vec<PluginEntry>,
    #[serde(default, deserialize_with = "given")]
    config: Option<Value>,
    #[serde(default)]
    environment: BTreeMap<String, String>,
    #[serde(default)]
    envoy: Knobs,
    #[serde(default)]
    start_log_includes: Texts,
    #[serde(default)]
    cases: Vec<Case>,
    #[serde(default)]
    config_error: Option<Texts>,
    #[serde(default)]
    refused: Vec<RefusalEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PluginEntry {
    name: String,
    #[serde(default, deserialize_with = "given")]
    config: Option<Value>,
    #[serde(default)]
    environment: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RefusalEntry {
    name: String,
    #[serde(default, deserialize_with = "given")]
    config: Option<Value>,
    log_includes: Texts,
}

/// What older Envoys lack.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Needs {
    /// The release that it came with.
    pub(super) envoy: Release,
    /// What it is, for the reader of a test that is skipped.
    #[serde(rename = "for")]
    pub(super) what: String,
}

/// A plugin of the chain.
#[derive(Debug, Clone)]
pub(super) struct Plugin {
    pub(super) name: String,
    /// The configuration's text; `None` sends none.
    pub(super) config: Option<String>,
    pub(super) environment: BTreeMap<String, String>,
}

/// A configuration that Envoy must not start with.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) name: String,
    pub(super) chain: Vec<Plugin>,
    pub(super) log_includes: Texts,
}

/// What may differ from the base config.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Knobs {
    pub(super) buffer_limit: Option<Size>,
    pub(super) concurrency: Option<u32>,
    pub(super) routes: Vec<Route>,
    pub(super) upstream: Http,
    pub(super) trailers: bool,
    pub(super) upgrades: Vec<String>,
    pub(super) services: Vec<String>,
    pub(super) access_log: BTreeMap<String, String>,
    pub(super) listener: Value,
    pub(super) manager: Value,
    pub(super) route: Value,
    pub(super) cluster: Value,
    pub(super) chain: Place,
}

/// Where the plugins stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Place {
    /// Between the client and the router.
    #[default]
    Downstream,
    /// Between the router and the cluster `upstream`, once for each attempt.
    Upstream,
}

/// A route before the default one.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Route {
    pub(super) name: String,
    #[serde(default)]
    pub(super) prefix: Option<String>,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) cluster: Option<String>,
}

impl Scenario {
    /// Reads a file; whatever in it is not known is an error.
    ///
    /// # Errors
    /// It cannot be read, is not YAML, or says what no scenario says.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| FileError::Unreadable { path: path.to_path_buf(), source })?;
        Self::parse(path, &text)
    }

    /// As [`Scenario::read`], of a text that need not be in a file; the path tells the plugin's name.
    ///
    /// # Errors
    /// It is not YAML, or says what no scenario says.
    pub fn parse(path: &Path, text: &str) -> Result<Self, FileError> {
        let document: Document = serde_yaml_ng::from_str(text)
            .map_err(|source| FileError::Malformed { path: path.to_path_buf(), source })?;
        document.compile(path).map_err(|source| FileError::Wrong { path: path.to_path_buf(), source })
    }

    /// The file, as a person names it.
    pub fn name(&self) -> String {
        self.path.strip_prefix(workspace_root()).unwrap_or(&self.path).display().to_string()
    }

    /// The names of the cases, in the order in which they are played.
    pub fn case_names(&self) -> Vec<String> {
        let refused = self.refused.iter().map(|refusal| refusal.name.clone());
        refused.chain(self.cases.iter().map(|case| case.name.clone())).collect()
    }

    /// Where the files that the scenario names are looked for.
    pub(super) fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }
}

impl Document {
    fn compile(self, path: &Path) -> Result<Scenario, Wrong> {
        let chain = self.chain(path)?;
        let mut refused = Vec::new();
        if let Some(log_includes) = self.config_error {
            let name = "Envoy does not start".to_owned();
            refused.push(Refusal { name, chain: chain.clone(), log_includes });
        }
        for entry in self.refused {
            let mut chain = chain.clone();
            let [plugin] = chain.as_mut_slice() else {
                return Err(Wrong::new("`refused` gives a config to one plugin; there are several"));
            };
            plugin.config = entry.config.as_ref().map(text_of);
            refused.push(Refusal { name: entry.name, chain, log_includes: entry.log_includes });
        }
        let scenario = Scenario {
            path: path.to_path_buf(),
            needs: self.needs,
            chain,
            envoy: self.envoy,
            start_log_includes: self.start_log_includes,
            cases: self.cases,
            refused,
        };
        if let Some(refusal) = scenario.refused.iter().find(|refusal| refusal.log_includes.is_empty()) {
            return Err(Wrong::new(format!("`{}` says nothing that Envoy's log must have", refusal.name)));
        }
        let mut names = scenario.case_names();
        names.sort();
        if names.is_empty() {
            return Err(Wrong::new("no case, and no config that is refused"));
        }
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Wrong::new(format!("two cases named `{}`", twice[0])));
        }
        for case in &scenario.cases {
            let in_case = |wrong: Wrong| Wrong::new(format!("case `{}`: {wrong}", case.name));
            case.check(scenario.folder()).map_err(in_case)?;
            if let Some(unknown) = case.services.keys().find(|name| !scenario.envoy.services.contains(*name))
            {
                return Err(in_case(Wrong::new(format!("service `{unknown}` is not in envoy.services"))));
            }
        }
        Ok(scenario)
    }

    fn chain(&self, path: &Path) -> Result<Vec<Plugin>, Wrong> {
        if self.plugins.is_empty() {
            let name = match &self.plugin {
                Some(name) => name.clone(),
                None => plugin_of(path).ok_or_else(|| Wrong::new("no `plugin`, and the path names none"))?,
            };
            let config = self.config.as_ref().map(text_of);
            return Ok(vec![Plugin { name, config, environment: self.environment.clone() }]);
        }
        if self.plugin.is_some() || self.config.is_some() || !self.environment.is_empty() {
            return Err(Wrong::new("with `plugins`, each entry has its own config and environment"));
        }
        let plugin = |entry: &PluginEntry| Plugin {
            name: entry.name.clone(),
            config: entry.config.as_ref().map(text_of),
            environment: entry.environment.clone(),
        };
        Ok(self.plugins.iter().map(plugin).collect())
    }
}

/// A text is sent as it is, anything else as JSON.
fn text_of(config: &Value) -> String {
    config.as_str().map_or_else(|| config.to_string(), str::to_owned)
}

/// `ai-proxy` of `plugins/ai-proxy/e2e/chat.yaml`.
fn plugin_of(path: &Path) -> Option<String> {
    let folder = path.parent().filter(|folder| folder.ends_with("e2e"))?.parent()?;
    Some(folder.file_name()?.to_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CASE: &str = "{ name: a, client: { path: / }, client_sees: { status: 200 } }";

    fn parse(text: &str) -> Result<Scenario, String> {
        Scenario::parse(Path::new("plugins/ai-proxy/e2e/x.yaml"), text).map_err(|error| error.to_string())
    }

    fn check_error(text: &str, expected: &[&str]) {
        let error = parse(text).unwrap_err();
        assert!(error.starts_with("plugins/ai-proxy/e2e/x.yaml: "), "{error}");
        for part in expected {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn the_folder_names_the_plugin() {
        let scenario = parse(&format!("{{ about: x, config: {{ b: 1, a: 2 }}, cases: [{CASE}] }}")).unwrap();
        let [plugin] = scenario.chain.as_slice() else { panic!("{scenario:?}") };
        assert_eq!((plugin.name.as_str(), plugin.config.as_deref()), ("ai-proxy", Some(r#"{"b":1,"a":2}"#)));
        let scenario =
            parse(&format!("{{ about: x, plugin: probe, config: 'no json', cases: [{CASE}] }}")).unwrap();
        assert_eq!(
            (scenario.chain[0].name.as_str(), scenario.chain[0].config.as_deref()),
            ("probe", Some("no json"))
        );
    }

    #[test]
    fn a_chain_has_a_config_for_each_plugin() {
        let chain = "plugins: [{ name: model-router, config: {} }, { name: ai-proxy }]";
        let scenario = parse(&format!("{{ about: x, {chain}, cases: [{CASE}] }}")).unwrap();
        assert_eq!(scenario.chain[0].config.as_deref(), Some("{}"));
        assert_eq!(
            (scenario.chain[1].name.as_str(), scenario.chain[1].config.as_deref()),
            ("ai-proxy", None)
        );
        check_error(
            &format!("{{ about: x, {chain}, config: {{}}, cases: [{CASE}] }}"),
            &["each entry has its own config"],
        );
    }

    #[test]
    fn what_older_envoys_lack_has_a_release_and_a_name() {
        let needing = |needs: &str| format!("{{ about: x, needs: {needs}, cases: [{CASE}] }}");
        let scenario = parse(&needing("{ envoy: '1.37', for: tags }")).unwrap();
        assert_eq!(scenario.needs, Some(Needs { envoy: Release::v1(37), what: "tags".to_owned() }));
        check_error(&needing("{ envoy: new, for: tags }"), &["`new` is no release of Envoy"]);
        check_error(&needing("{ envoy: '1.37' }"), &["missing field `for`"]);
    }

    #[test]
    fn refused_configs_are_cases_too() {
        let scenario = parse(
            "{ about: x, config: {}, config_error: broken, refused: [{ name: b, config: [], log_includes: [y] }] }",
        );
        let scenario = scenario.unwrap();
        assert_eq!(scenario.case_names(), ["Envoy does not start", "b"]);
        assert_eq!(scenario.refused[1].chain[0].config.as_deref(), Some("[]"));
    }

    #[test]
    fn a_key_that_is_not_known_is_an_error_with_its_place() {
        check_error("{ about: x, plugn: y }", &["unknown field `plugn`", "line 1"]);
        check_error(
            "about: x\ncases:\n- name: a\n  client:\n    path: /\n    jsn: {}\n  client_sees: { status: 200 }\n",
            &["cases[0]: client: unknown field `jsn`", "line"],
        );
        check_error(
            "about: x\ncases:\n- name: a\n  client: { path: / }\n  client_sees: { status: 200, text_include: b }\n",
            &["cases[0]: client_sees: unknown field `text_include`"],
        );
        check_error(
            "{ about: x, cases: [{ name: a, client: { path: / }, upstream: [{}, { statsu: 1 }], client_sees: { status: 200 } }] }",
            &["cases[0]", "[1]: answer: unknown field `statsu`"],
        );
        check_error(
            "{ about: x, envoy: { routes: [{ nam: a }] } }",
            &["envoy.routes[0]: unknown field `nam`"],
        );
    }

    #[test]
    fn parts_that_do_not_go_together_are_refused() {
        check_error("{ about: x }", &["no case"]);
        check_error(&format!("{{ about: x, cases: [{CASE}, {CASE}] }}"), &["two cases named `a`"]);
        let case = |client: &str, rest: &str| {
            format!("{{ about: x, cases: [{{ name: a, client: {{ path: /, {client} }}, {rest} }}] }}")
        };
        check_error(
            &case("json: {}, text: x", "client_sees: { status: 200 }"),
            &["case `a`: more than one of json, text"],
        );
        check_error(&case("leaves: {}", "client_sees: { status: 200 }"), &["leaves: one of"]);
        check_error(&case("", "client_sees: {}"), &["either `status` or `no_answer: true`"]);
        check_error(
            &case("", "client_sees: { status: 200, streamed: true }"),
            &["streamed needs an upstream"],
        );
        check_error(
            &case("", "upstream: { reset: before_head, hang: mid_stream }, client_sees: { status: 200 }"),
            &["one of reset, hang, close"],
        );
        check_error(
            &case("", "services: { files: {} }, client_sees: { status: 200 }"),
            &["service `files` is not in envoy.services"],
        );
        check_error(
            &case("headers: { a: { b: c } }", "client_sees: { status: 200 }"),
            &["a: {\"b\":\"c\"} is neither a value"],
        );
        check_error(
            &case("headers: { a: { base64: '?' } }", "client_sees: { status: 200 }"),
            &["is no base64"],
        );
    }
}
