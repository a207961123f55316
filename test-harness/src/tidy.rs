//! The invariants of ARCHITECTURE.md and the house rules, as far as a look at the files can see them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::Value;

use crate::envoy::provision::{TESTED_VERSION, VERSIONS};
use crate::envoy::render::{parse_yaml, visit};
use crate::workspace_root;

/// One place that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file or folder, from the workspace's root.
    pub path: String,
    /// The line, from 1; 0 for a file as a whole.
    pub line: usize,
    /// The rule, in a sentence.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.message),
            line => write!(f, "{}:{line}: {}", self.path, self.message),
        }
    }
}

/// `harness tidy`: prints what it finds, and fails if that is anything.
pub fn run(_arguments: &[String]) -> ExitCode {
    let findings = check(&workspace_root());
    for finding in &findings {
        println!("{finding}");
    }
    if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Every broken rule in the tree below `root`.
pub fn check(root: &Path) -> Vec<Finding> {
    let tree = Tree::read(root);
    let mut findings = Vec::new();
    for rule in [
        top_level_is_what_the_readme_shows,
        files_begin_with_what_they_hold,
        nothing_is_left_to_do,
        host_is_called_in_one_place,
        layers_point_one_way,
        surroundings_come_through_env,
        unsafe_code_stays_where_it_is,
        manifests_inherit,
        only_common_knows_the_sdk,
        plugins_are_complete,
        envoy_configs_are_safe,
        container_runs_the_tested_envoy,
        readme_tells_the_tested_envoys,
        links_lead_somewhere,
    ] {
        rule(&tree, &mut |path, line, message| {
            findings.push(Finding { path: path.to_owned(), line, message: message.to_owned() });
        });
    }
    findings.sort();
    findings
}

/// Takes path, line and message of a finding.
type Report<'a> = dyn FnMut(&str, usize, &str) + 'a;

/// All text files that may be committed, by their path from the root.
struct Tree {
    root: PathBuf,
    top: Vec<String>,
    files: BTreeMap<String, String>,
}

impl Tree {
    fn read(root: &Path) -> Self {
        let mut tree = Self { root: root.to_path_buf(), top: Vec::new(), files: BTreeMap::new() };
        let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
        tree.top = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        tree.top.sort();
        tree.read_folder(root, "");
        tree
    }

    fn read_folder(&mut self, folder: &Path, prefix: &str) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = format!("{prefix}{name}");
            if entry.path().is_dir() {
                if !matches!(name.as_str(), ".git" | "target" | "__pycache__") {
                    self.read_folder(&entry.path(), &format!("{path}/"));
                }
            } else if let Ok(text) = std::fs::read_to_string(entry.path()) {
                self.files.insert(path, text);
            }
        }
    }

    fn text(&self, path: &str) -> &str {
        self.files.get(path).map_or("", String::as_str)
    }

    /// Files below a folder (all, if it is empty) with this ending.
    fn files<'a>(&'a self, folder: &'a str, ending: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.files
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
            .filter(move |(path, _)| path.starts_with(folder) && path.ends_with(ending))
    }

    /// Names of the crates in a folder.
    fn crates(&self, folder: &str) -> Vec<String> {
        let names =
            self.files.keys().filter_map(|path| path.strip_prefix(folder)?.strip_suffix("/Cargo.toml"));
        names.filter(|name| !name.contains('/')).map(str::to_owned).collect()
    }
}

/// Code lines with their numbers: no comments, and nothing from the test module on.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(at, line)| (at + 1, line))
}

fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(at, line)| (at + 1, line))
}

fn top_level_is_what_the_readme_shows(tree: &Tree, report: &mut Report<'_>) {
    const EXPECTED: [&str; 17] = [
        ".cargo",
        ".ci",
        ".gitignore",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "Cargo.lock",
        "Cargo.toml",
        "LICENSE",
        "README.md",
        "clippy.toml",
        "common",
        "deny.toml",
        "envoy",
        "examples",
        "plugins",
        "rustfmt.toml",
    ];
    let may_be_there = ["test-harness", "target", ".git"];
    for expected in EXPECTED.iter().chain(&may_be_there[..1]) {
        if !tree.top.iter().any(|name| name == expected) {
            report(expected, 0, "is missing at the top level");
        }
    }
    for name in &tree.top {
        if !EXPECTED.contains(&name.as_str()) && !may_be_there.contains(&name.as_str()) {
            report(name, 0, "does not belong at the top level");
        }
    }
}

fn files_begin_with_what_they_hold(tree: &Tree, report: &mut Report<'_>) {
    for (path, text) in tree.files("", ".rs") {
        if !text.starts_with("//! ") {
            report(path, 1, "a Rust file begins with a `//!` line that says what it holds");
        }
    }
}

fn nothing_is_left_to_do(tree: &Tree, report: &mut Report<'_>) {
    // Put together here, so that this file passes its own check.
    let words =
        [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("unimplemented", "!("), concat!("todo", "!(")];
    for (path, text) in tree.files("", "") {
        for (number, line) in lines(text) {
            if let Some(word) = words.iter().find(|word| line.contains(**word)) {
                report(path, number, &format!("`{word}`: finish it, or leave it out"));
            }
        }
    }
}

fn host_is_called_in_one_place(tree: &Tree, report: &mut Report<'_>) {
    let ours = tree.files("common/", ".rs").chain(tree.files("plugins/", ".rs"));
    for (path, text) in ours.filter(|(path, _)| !path.starts_with("common/src/host/")) {
        for (number, line) in code(text) {
            // What the entry macro expands to stands for the host layer wherever it lands.
            let line = line.replace("$crate::host::proxy_wasm", "");
            if line.contains("proxy_wasm") || line.contains("extern \"C\"") {
                report(path, number, "only common/src/host calls Envoy");
            }
        }
    }
}

fn layers_point_one_way(tree: &Tree, report: &mut Report<'_>) {
    // The testkit is a test's own, and so is free.
    let layers: [(&str, &[&str]); 7] = [
        ("common/src/json", &["config", "filter", "framing", "host", "http", "llm", "model"]),
        ("common/src/framing", &["config", "filter", "host", "http", "json", "llm", "model"]),
        ("common/src/llm", &["config", "filter", "host", "http", "model"]),
        ("common/src/http", &["config", "filter", "host", "llm", "model"]),
        ("common/src/config", &["filter", "host", "model"]),
        ("common/src/filter", &["host", "model"]),
        ("common/src/model", &["host"]),
    ];
    for (path, text) in tree.files("common/translate/src/", ".rs") {
        for (number, line) in code(text) {
            for other in ["config", "filter", "host", "model"] {
                if line.contains(&format!("common::{other}")) {
                    report(path, number, &format!("common/translate must not know common/src/{other}"));
                }
            }
        }
    }
    for (layer, above) in layers {
        for (path, text) in tree.files(layer, ".rs") {
            for (number, line) in code(text) {
                for other in above.iter().filter(|other| names_module(line, other)) {
                    // An error answered in the client's dialect is made of a head and a fault, as values.
                    if !(*other == "http" && path == "common/src/llm/error.rs") {
                        report(path, number, &format!("{layer} must not know common/src/{other}"));
                    }
                }
            }
        }
    }
}

/// Whether a line of code names a module of its own crate.
fn names_module(line: &str, module: &str) -> bool {
    let mut rest = line;
    while let Some((_, after)) = rest.split_once("crate::") {
        // `use crate::{a::B, c};` names several.
        let named = after.strip_prefix('{').map_or(after, |group| group.split('}').next().unwrap_or(group));
        let mut names =
            if after.starts_with('{') { named.split(',').collect() } else { vec![named] }.into_iter();
        if names.any(|name| {
            let name = name.trim().strip_prefix(module);
            name.is_some_and(|rest| !rest.starts_with(|next: char| next.is_alphanumeric() || next == '_'))
        }) {
            return true;
        }
        rest = after;
    }
    false
}

fn surroundings_come_through_env(tree: &Tree, report: &mut Report<'_>) {
    let ours = tree.files("common/", ".rs").chain(tree.files("plugins/", ".rs"));
    for (path, text) in
        ours.filter(|(path, _)| !path.starts_with("common/src/host/") && path.contains("/src/"))
    {
        for (number, line) in code(text) {
            for reads in ["SystemTime::now", "Instant::now", "std::env", "getrandom"] {
                if line.contains(reads) {
                    report(
                        path,
                        number,
                        &format!("`{reads}`: clock, randomness and environment come through `Env`"),
                    );
                }
            }
        }
    }
}

fn unsafe_code_stays_where_it_is(tree: &Tree, report: &mut Report<'_>) {
    const MAY: [&str; 3] = ["common/src/host/alloc.rs", "common/src/host/ffi.rs", "common/src/json/block.rs"];
    let ours = tree.files("common/", ".rs").chain(tree.files("plugins/", ".rs"));
    for (path, text) in ours.filter(|(path, _)| !MAY.contains(path)) {
        for (number, _) in code(text).filter(|(_, line)| line.contains("unsafe")) {
            report(
                path,
                number,
                "unsafe code stands only in the host layer and the vector loads of common/src/json",
            );
        }
    }
}

fn manifests_inherit(tree: &Tree, report: &mut Report<'_>) {
    for (path, text) in tree.files("", "/Cargo.toml") {
        let Ok(manifest) = text.parse::<toml::Table>() else {
            report(path, 1, "not a manifest");
            continue;
        };
        let inherits = |value: Option<&toml::Value>| {
            value.and_then(|value| value.get("workspace")?.as_bool()).unwrap_or_default()
        };
        let package = manifest.get("package");
        let folder = path.trim_end_matches("/Cargo.toml").rsplit('/').next().unwrap_or_default();
        if package.and_then(|package| package.get("name")?.as_str()) != Some(folder) {
            report(path, line_of(text, "name ="), "a crate is named like its folder");
        }
        for key in ["version", "edition", "rust-version", "license", "publish"] {
            if !inherits(package.and_then(|package| package.get(key))) {
                report(
                    path,
                    line_of(text, "[package]"),
                    &format!("`{key}` is inherited: `{key}.workspace = true`"),
                );
            }
        }
        if !inherits(manifest.get("lints").filter(|lints| lints.is_table())) {
            report(path, 0, "lints are inherited: `[lints]`, `workspace = true`");
        }
        for (name, source) in dependencies(&manifest) {
            // A neighbour by its path has no version to disagree about.
            let is_neighbour = source.get("path").is_some() && source.get("version").is_none();
            if !inherits(Some(source)) && !is_neighbour {
                let message = format!("the version of `{name}` stands in the workspace manifest");
                report(path, line_of(text, name), &message);
            }
        }
        let has_budget = package
            .and_then(|package| package.get("metadata")?.get("plugin")?.get("wasm-budget-kib")?.as_integer())
            .is_some();
        if path.starts_with("plugins/") && !has_budget {
            report(path, 0, "a plugin has a size budget: `[package.metadata.plugin]`, `wasm-budget-kib`");
        }
    }
}

fn only_common_knows_the_sdk(tree: &Tree, report: &mut Report<'_>) {
    for (path, text) in tree.files("", "/Cargo.toml") {
        let Ok(manifest) = text.parse::<toml::Table>() else { continue };
        let may = ["common/Cargo.toml", "test-harness/modules/noop/Cargo.toml"].contains(&path);
        if !may && dependencies(&manifest).iter().any(|(name, _)| *name == "proxy-wasm") {
            report(path, line_of(text, "proxy-wasm"), "only common depends on the proxy-wasm SDK");
        }
    }
}

/// All dependencies of a manifest, whatever they are for.
fn dependencies(manifest: &toml::Table) -> Vec<(&str, &toml::Value)> {
    const KINDS: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];
    let targets = manifest.get("target").and_then(toml::Value::as_table).into_iter().flatten();
    let tables = targets.filter_map(|(_, target)| target.as_table()).chain([manifest]);
    tables
        .flat_map(|table| KINDS.iter().filter_map(|kind| table.get(*kind)?.as_table()))
        .flat_map(|dependencies| dependencies.iter().map(|(name, source)| (name.as_str(), source)))
        .collect()
}

fn plugins_are_complete(tree: &Tree, report: &mut Report<'_>) {
    for name in tree.crates("plugins/") {
        let folder = format!("plugins/{name}");
        if !tree.files.contains_key(&format!("{folder}/README.md")) {
            report(&folder, 0, "a plugin has a README.md");
        }
        if tree.files(&format!("{folder}/e2e/"), ".yaml").next().is_none() {
            report(&folder, 0, "a plugin has scenarios in e2e/*.yaml");
        }
        let module = format!("{name}.wasm");
        let mut shipped = tree.files("envoy/", ".yaml").chain(tree.files("examples/", ".yaml"));
        if !shipped.any(|(_, text)| text.contains(&module)) {
            report(&folder, 0, &format!("some config in envoy/ or examples/ loads {module}"));
        }
        if !tree.text("CHANGELOG.md").contains(&name) {
            report("CHANGELOG.md", 0, &format!("says something of {name}"));
        }
    }
}

fn envoy_configs_are_safe(tree: &Tree, report: &mut Report<'_>) {
    let shipped = tree.files("envoy/", ".yaml").chain(tree.files("examples/", ".yaml"));
    for (path, text) in shipped {
        match parse_yaml(text) {
            Ok(documents) => {
                for document in documents {
                    check_wasm_filters(path, text, document, report);
                }
            }
            Err(error) => {
                let line = error.location().map_or(1, |location| location.line());
                report(path, line, &format!("not YAML: {error}"));
            }
        }
    }
}

fn check_wasm_filters(path: &str, text: &str, mut document: Value, report: &mut Report<'_>) {
    // The module that has claimed a VM. One module may stand in both chains, and shares its own.
    let mut owners: BTreeMap<String, String> = BTreeMap::new();
    visit(&mut document, &mut |object| {
        // In plain Envoy the whole filter is here; under Istio's `TypedStruct` its type stands in `type_url`.
        let is_wasm = ["@type", "type_url"]
            .iter()
            .any(|key| object[*key].as_str().is_some_and(|kind| kind.ends_with("filters.http.wasm.v3.Wasm")));
        if !is_wasm {
            return;
        }
        let config =
            if object["config"].is_object() { &object["config"] } else { &object["value"]["config"] };
        let name = config["name"].as_str().unwrap_or("without a name");
        let line = line_of(text, &format!("name: {name}"));
        if config["allow_on_headers_stop_iteration"] != true {
            report(
                path,
                line,
                "a Wasm filter has `allow_on_headers_stop_iteration: true`, or every request hangs",
            );
        }
        if config["failure_policy"] != "FAIL_RELOAD" {
            report(
                path,
                line,
                "a Wasm filter has `failure_policy: FAIL_RELOAD`, or one trap stops it for ever",
            );
        }
        let vm = &config["vm_config"];
        let Some(id) = vm["vm_id"].as_str().filter(|id| !id.is_empty()) else {
            report(path, line, "a Wasm filter has a `vm_id` of its own");
            return;
        };
        let owner = owners.entry(id.to_owned()).or_insert_with(|| name.to_owned());
        if owner != name {
            report(path, line, &format!("the `vm_id` {id} is that of {owner} already"));
        }
    });
}

fn container_runs_the_tested_envoy(tree: &Tree, report: &mut Report<'_>) {
    let path = "test-harness/docker-compose.yaml";
    let text = tree.text(path);
    if !text.contains(&format!("envoyproxy/envoy:v{TESTED_VERSION}")) {
        report(path, line_of(text, "image:"), &format!("the image is that of Envoy {TESTED_VERSION}"));
    }
}

fn readme_tells_the_tested_envoys(tree: &Tree, report: &mut Report<'_>) {
    let text = tree.text("README.md");
    for version in VERSIONS.into_iter().filter(|version| !text.contains(version)) {
        report("README.md", 0, &format!("it says that the tests pass on Envoy {version}, which they do"));
    }
}

fn links_lead_somewhere(tree: &Tree, report: &mut Report<'_>) {
    for (path, text) in tree.files("", ".md") {
        let folder = tree.root.join(path).parent().map(Path::to_path_buf).unwrap_or_default();
        let mut is_code = false;
        for (number, line) in lines(text) {
            if line.trim_start().starts_with("```") {
                is_code = !is_code;
            }
            for target in links(line).filter(|_| !is_code) {
                let file = target.split('#').next().unwrap_or_default();
                if !file.is_empty() && !file.contains(':') && !folder.join(file).exists() {
                    report(path, number, &format!("the link to {target} leads nowhere"));
                }
            }
        }
    }
}

fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next())
}

/// The line that a text is on; the first line if it is nowhere.
fn line_of(text: &str, what: &str) -> usize {
    lines(text).find(|(_, line)| line.contains(what)).map_or(1, |(number, _)| number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(rule: fn(&Tree, &mut Report<'_>), files: &[(&str, &str)]) -> Vec<String> {
        let files = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        let tree =
            Tree { root: PathBuf::from("/nowhere"), top: vec!["common".into(), "notes.txt".into()], files };
        let mut findings = Vec::new();
        rule(&tree, &mut |path, line, message| {
            findings.push(Finding { path: path.to_owned(), line, message: message.to_owned() }.to_string());
        });
        findings
    }

    #[test]
    fn a_stray_file_at_the_top_is_found() {
        let found = findings(top_level_is_what_the_readme_shows, &[]);
        assert!(found.contains(&"notes.txt: does not belong at the top level".to_owned()), "{found:?}");
        assert!(found.contains(&"plugins: is missing at the top level".to_owned()), "{found:?}");
        assert!(!found.iter().any(|finding| finding.starts_with("common:")), "{found:?}");
    }

    #[test]
    fn a_host_call_outside_the_host_layer_is_found() {
        let call = "//! A plugin.\n// proxy_wasm is not for us.\nuse proxy_wasm::hostcalls;\n";
        let found = findings(
            host_is_called_in_one_place,
            &[("plugins/x/src/lib.rs", call), ("common/src/host/ffi.rs", call)],
        );
        assert_eq!(found, ["plugins/x/src/lib.rs:3: only common/src/host calls Envoy"]);
    }

    #[test]
    fn a_layer_that_looks_up_is_found_but_not_in_its_tests() {
        let text = "use crate::{json, http::Head};\n#[cfg(test)]\nmod tests { use crate::filter; }\n";
        let found = findings(
            layers_point_one_way,
            &[("common/src/llm/api.rs", text), ("common/src/llm/error.rs", text)],
        );
        assert_eq!(found, ["common/src/llm/api.rs:1: common/src/llm must not know common/src/http"]);
    }

    #[test]
    fn modules_are_named_by_whole_words() {
        assert!(names_module("use crate::http;", "http"));
        assert!(names_module("fn f(head: &crate::http::Head)", "http"));
        assert!(names_module("use crate::{a::B, http};", "http"));
        assert!(!names_module("use crate::https;", "http"));
        assert!(!names_module("use crate::llm::http_like;", "http"));
        assert!(!names_module("use http::Head;", "http"));
    }

    #[test]
    fn a_clock_read_in_a_plugin_is_found() {
        let text = "fn now() -> Instant { Instant::now() }";
        let found = findings(
            surroundings_come_through_env,
            &[("plugins/x/src/a.rs", text), ("plugins/x/tests/a.rs", text)],
        );
        assert_eq!(
            found,
            ["plugins/x/src/a.rs:1: `Instant::now`: clock, randomness and environment come through `Env`"]
        );
    }

    #[test]
    fn unsafe_code_in_a_plugin_is_found() {
        let text = "fn read(at: *const u8) -> u8 { unsafe { *at } }";
        let found = findings(
            unsafe_code_stays_where_it_is,
            &[("common/src/host/ffi.rs", text), ("plugins/x/src/lib.rs", text)],
        );
        let expected = "plugins/x/src/lib.rs:1: unsafe code stands only in the host layer and the vector loads of common/src/json";
        assert_eq!(found, [expected]);
    }

    #[test]
    fn a_manifest_that_goes_its_own_way_is_found() {
        let text = "[package]\nname = \"y\"\nversion = \"1.0.0\"\nedition.workspace = true\nrust-version.workspace = true\n\
            license.workspace = true\npublish.workspace = true\n[dependencies]\nproxy-wasm = \"0.2\"\n";
        let files = [("plugins/x/Cargo.toml", text)];
        let found = findings(manifests_inherit, &files);
        assert_eq!(found.len(), 5, "{found:#?}");
        assert!(
            found[0].starts_with("plugins/x/Cargo.toml:2: a crate is named like its folder"),
            "{found:#?}"
        );
        let found = findings(only_common_knows_the_sdk, &files);
        assert_eq!(found, ["plugins/x/Cargo.toml:9: only common depends on the proxy-wasm SDK"]);
    }

    #[test]
    fn an_unsafe_wasm_filter_is_found_on_its_line() {
        let text = r#"
filters:
- typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
    config: { name: good, allow_on_headers_stop_iteration: true, failure_policy: FAIL_RELOAD, vm_config: { vm_id: a } }
- typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
    config:
      name: bad
      vm_config: { vm_id: a }
"#;
        let found =
            findings(envoy_configs_are_safe, &[("envoy/x.yaml", text), ("plugins/x/e2e/x.yaml", text)]);
        assert_eq!(found.len(), 3, "{found:#?}");
        assert!(found.iter().all(|finding| finding.starts_with("envoy/x.yaml:9: ")), "{found:#?}");
        assert!(found[2].ends_with("the `vm_id` a is that of good already"), "{found:#?}");
    }

    #[test]
    fn an_incomplete_plugin_is_found() {
        let found = findings(plugins_are_complete, &[("plugins/x/Cargo.toml", "")]);
        assert_eq!(found.len(), 4, "{found:#?}");
    }

    #[test]
    fn a_broken_link_is_found_but_not_in_code() {
        let text = "See [this](gone.md#part), [that](https://example.com) and [below](#below).\n```\n[x](gone.md)\n```\n";
        let found = findings(links_lead_somewhere, &[("README.md", text)]);
        assert_eq!(found, ["README.md:1: the link to gone.md#part leads nowhere"]);
    }
}
