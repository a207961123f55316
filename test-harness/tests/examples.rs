//! Every config that people are given is loaded by a real Envoy, and every example gives its answer.
#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "in a test, a panic is the verdict")]

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use test_harness::client::{Request, send};
use test_harness::envoy::render::{parse_yaml, visit};
use test_harness::envoy::{Envoy, Options, Render, Transport, provide_or_skip, validate};
use test_harness::upstream::{Answer, Script, Upstream};
use test_harness::vendor::{self, Vendor};
use test_harness::{scenario, workspace_root};

/// The variables that shipped configs take their keys from.
const KEYS: [&str; 4] = ["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "DEEPSEEK_API_KEY", "MISTRAL_API_KEY"];

fn files(folder: &Path, name: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            found.extend(files(&entry, name));
        } else if entry.file_name().is_some_and(|file| file.to_string_lossy().ends_with(name)) {
            found.push(entry);
        }
    }
    found.sort();
    found
}

/// The key of a vendor, which no other one takes; its variable and its cluster are named after it.
fn key_of(name: &str) -> String {
    format!("sk-{}", name.trim_end_matches("_API_KEY").to_lowercase())
}

fn options() -> Options {
    Options { variables: KEYS.map(|name| (name.to_owned(), key_of(name))).to_vec(), ..Options::default() }
}

#[test]
fn shipped_configs_are_valid() {
    let Some(binary) = provide_or_skip("shipped configs") else { return };
    let root = workspace_root();
    let mut configs = files(&root.join("envoy"), ".yaml");
    configs.extend(files(&root.join("examples"), "envoy.yaml"));
    assert!(configs.len() >= 2, "{configs:?}");
    for config in configs {
        let render = Render::from_file(&config).expect("the file").built_wasm();
        if let Err(error) = validate(&binary, render, options()) {
            panic!("{}: {error}", config.display());
        }
    }
}

#[test]
fn examples_give_their_answers() {
    let Some(binary) = provide_or_skip("examples") else { return };
    for config in files(&workspace_root().join("examples"), "envoy.yaml") {
        let folder = config.parent().expect("a folder");
        let read = |path: &Path| -> Value {
            let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        };
        let mut render = Render::from_file(&config).expect("the file").built_wasm();
        let (mut vendors, overloaded) = (Vec::new(), Upstream::start());
        overloaded.script(Script::new().otherwise(Answer::new(529)));
        for endpoint in endpoints(&config) {
            // Of several endpoints the first fails, so that the example shows what follows.
            if endpoint.place == 0 && endpoint.has_others {
                let address = overloaded.addr();
                render = render.cluster_endpoint_at(&endpoint.cluster, 0, address, Transport::Plain);
                continue;
            }
            let vendor =
                Vendor::start(vendor::Options { key: key_of(&endpoint.vendor), ..Default::default() });
            let address = vendor.addr();
            render = render.cluster_endpoint_at(&endpoint.cluster, endpoint.place, address, Transport::Plain);
            vendors.push(vendor);
        }
        let envoy = Envoy::start(&binary, render, options()).expect("Envoy starts");
        let requests = files(folder, ".json").into_iter().filter(|path| name_of(path).starts_with("request"));
        let mut asked = 0;
        for path in requests {
            asked += 1;
            let api =
                if name_of(&path).contains("messages") { "/v1/messages" } else { "/v1/chat/completions" };
            let request = Request::post_json(api, &read(&path));
            let response = send(envoy.addr(""), &request).expect("an answer");
            let answer = read(&folder.join(name_of(&path).replacen("request", "answer", 1)));
            let differences = scenario::json_lacks(&response.json(), &answer);
            assert!(differences.is_empty(), "{}: {differences:?}\n{}", path.display(), response.text());
        }
        assert!(asked > 0, "{}: no request", folder.display());
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Examples explain configs that stand among those to deploy.
#[test]
fn examples_show_the_shipped_configs() {
    let read = |path: &str| {
        let text = fs::read_to_string(workspace_root().join(path)).expect("the file");
        parse_yaml(&text).expect("YAML")
    };
    assert_eq!(read("examples/multi-model-gateway/envoy.yaml"), read("envoy/multi-model.yaml"));
    assert_eq!(read("examples/failover/envoy.yaml"), read("envoy/failover.yaml"));
}

/// Where a config sends requests.
struct Endpoint {
    cluster: String,
    /// Among those of its cluster.
    place: usize,
    has_others: bool,
    /// Named by its metadata, or else by its cluster.
    vendor: String,
}

fn endpoints(config: &Path) -> Vec<Endpoint> {
    let text = fs::read_to_string(config).expect("the file");
    let documents = parse_yaml(&text).expect("YAML");
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut endpoints = Vec::new();
    for cluster in list(&documents[0]["static_resources"]["clusters"]) {
        let name = cluster["name"].as_str().expect("a name");
        let localities = list(&cluster["load_assignment"]["endpoints"]);
        let all: Vec<Value> =
            localities.iter().flat_map(|locality| list(&locality["lb_endpoints"])).collect();
        for (place, endpoint) in all.iter().enumerate() {
            let vendor =
                endpoint["metadata"]["filter_metadata"]["ai-proxy"]["provider"].as_str().unwrap_or(name);
            let (cluster, vendor) = (name.to_owned(), vendor.to_owned());
            endpoints.push(Endpoint { cluster, place, has_others: all.len() > 1, vendor });
        }
    }
    endpoints
}

/// Istio's control plane is not to be had in a test; what it passes on is: the plugin's own config.
#[test]
fn plugin_configs_of_istio_resources_load_without_a_complaint() {
    let mut seen = 0;
    for path in files(&workspace_root().join("examples"), "istio.yaml") {
        let text = fs::read_to_string(&path).expect("the file");
        for mut document in parse_yaml(&text).expect("YAML") {
            assert!(document["apiVersion"].is_string() && document["kind"].is_string(), "{}", path.display());
            visit(&mut document, &mut |object| {
                let Some(config) = object["configuration"]["value"].as_str() else { return };
                seen += 1;
                let config = KEYS
                    .iter()
                    .fold(config.to_owned(), |text, key| text.replace(&format!("${{{key}}}"), "k"));
                let lines = match object["name"].as_str() {
                    Some("ai-proxy") => common::testkit::load_errors::<ai_proxy::AiProxy>(&config),
                    Some("ai-statistics") => {
                        common::testkit::load_errors::<ai_statistics::AiStatistics>(&config)
                    }
                    Some("model-mapper") => {
                        common::testkit::load_errors::<model_mapper::ModelMapper>(&config)
                    }
                    Some("model-router") => {
                        common::testkit::load_errors::<model_router::ModelRouter>(&config)
                    }
                    other => panic!("{}: no plugin {other:?}", path.display()),
                };
                assert_eq!(lines, Ok(vec![]), "{}", path.display());
            });
        }
    }
    assert!(seen > 0);
}
