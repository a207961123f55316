//! Every config that people are given is loaded by a real Envoy, and every example gives its answer.
#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "in a test, a panic is the verdict")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use test_harness::client::{Request, send};
use test_harness::envoy::render::{parse_yaml, visit};
use test_harness::envoy::{Envoy, Options, Release, Render, Transport, provide_or_skip, validate};
use test_harness::upstream::{Answer, Script, Upstream};
use test_harness::vendor::{self, Vendor};
use test_harness::{check, scenario, toolchain, workspace_root};

/// The variables that shipped configs take their keys from.
const KEYS: [&str; 4] = ["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "DEEPSEEK_API_KEY", "MISTRAL_API_KEY"];

/// What says who asks, and no vendor needs to know.
const OF_THE_CLIENT: [&str; 6] =
    ["cookie", "forwarded", "x-forwarded-for", "x-real-ip", "x-envoy-external-address", "x-envoy-internal"];

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
        let text = fs::read_to_string(&config).expect("the file");
        let is_composite = text.contains("envoy.clusters.composite");
        let name = config.display().to_string();
        if is_composite && !binary.has_or_skip(Release::v1(37), "the composite cluster", &name) {
            continue;
        }
        let render = Render::from_file(&config).expect("the file").built_wasm();
        if let Err(error) = validate(&binary, render, options()) {
            panic!("{}: {error}", config.display());
        }
    }
}

#[test]
fn shipped_configs_have_nothing_to_complain_of() {
    let root = workspace_root();
    let mut configs = files(&root.join("envoy"), ".yaml");
    configs.extend(files(&root.join("examples"), "envoy.yaml"));
    configs.extend(files(&root.join("examples"), "istio.yaml"));
    for config in configs {
        let mut report = check::Report::default();
        let text = fs::read_to_string(&config).expect("the file");
        report.add(&config.display().to_string(), &text, None);
        assert!(report.checked > 0 && report.lines.is_empty(), "{:?}", report.lines);
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
            let mut request = Request::post_json(api, &read(&path));
            for name in OF_THE_CLIENT {
                request = request.header(name, "who-asks");
            }
            let response = send(envoy.addr(""), &request).expect("an answer");
            let answer = read(&folder.join(name_of(&path).replacen("request", "answer", 1)));
            let differences = scenario::json_lacks(&response.json(), &answer);
            assert!(differences.is_empty(), "{}: {differences:?}\n{}", path.display(), response.text());
        }
        assert!(asked > 0, "{}: no request", folder.display());
        let seen: Vec<_> = vendors.iter().flat_map(Vendor::take).chain(overloaded.take()).collect();
        assert!(seen.len() >= asked, "{}: {seen:?}", folder.display());
        for request in seen {
            let told: Vec<&str> =
                OF_THE_CLIENT.into_iter().filter(|name| request.header(name).is_some()).collect();
            assert!(told.is_empty(), "{}: the vendor is told {told:?}", folder.display());
        }
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// What the README says of paths.
#[test]
fn the_filter_of_the_readme_lets_some_paths_pass_and_no_other() {
    let Some(binary) = provide_or_skip("the README's filter for paths") else { return };
    let root = workspace_root();
    let readme = fs::read_to_string(root.join("README.md")).expect("the file");
    let filters = readme.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next());
    let filters = parse_yaml(filters.expect("a filter")).expect("YAML").remove(0);
    let mut config = documents(&root.join("envoy/gateway.yaml")).remove(0);
    let manager = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters";
    let plugins = config.pointer_mut(manager).expect("filters");
    *plugins = [list(&filters), list(plugins)].concat().into();
    let vendor = Vendor::start(vendor::Options { key: key_of("openai"), ..Default::default() });
    let render = Render::from_value(config).built_wasm();
    let render = render.cluster_endpoint("openai", vendor.addr(), Transport::Plain);
    let envoy = Envoy::start(&binary, render, options()).expect("Envoy starts");
    let status = |request: &Request| send(envoy.addr(""), request).expect("an answer").status;
    let chat = json!({ "model": "gpt-4o-mini", "messages": [{ "role": "user", "content": "Hello" }] });
    assert_eq!(status(&Request::post_json("/v1/chat/completions?a=b", &chat)), 200);
    for path in ["/v1/files", "/v1/fine_tuning/jobs", "/x/v1/chat/completions", "/"] {
        assert_eq!(status(&Request::post_json(path, &chat)), 403, "{path}");
    }
    assert_eq!(vendor.take().len(), 1);
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

/// The cluster and the route that Istio cannot say itself are those of plain Envoy.
#[test]
fn istio_fails_over_as_plain_envoy_does() {
    let read = |name: &str| documents(&workspace_root().join("examples/failover").join(name));
    let (mut envoy, istio) = (read("envoy.yaml"), read("istio.yaml"));
    let patched = |kind: &str| {
        let patches = collect(&istio, |object| object.get("configPatches").map(list)).concat();
        let of_kind = |patch: &Value| (patch["applyTo"] == kind).then(|| patch["patch"]["value"].clone());
        patches.iter().find_map(of_kind).expect("a patch")
    };
    let (mut route, mut cluster) = (patched("HTTP_ROUTE"), patched("CLUSTER"));
    for document in [&mut envoy[0], &mut route, &mut cluster] {
        visit(document, &mut |object| {
            if object
                .get("filename")
                .is_some_and(|file| file.as_str().is_some_and(|file| file.ends_with(".wasm")))
            {
                object["filename"] = json!("the plugin");
            }
        });
    }
    route["name"] = json!("vendors");
    assert_eq!(cluster, envoy[0]["static_resources"]["clusters"][0]);
    assert_eq!(json!([route]), collect(&envoy, |object| object.get("routes").cloned())[0]);
}

/// The documents of a YAML file.
fn documents(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).expect("a file that can be read");
    let documents = parse_yaml(&text);
    assert!(documents.is_ok(), "{}: {documents:?}", path.display());
    documents.unwrap_or_default()
}

/// What of a document is in an object, wherever in it that is.
fn collect<T>(documents: &[Value], mut of: impl FnMut(&Value) -> Option<T>) -> Vec<T> {
    let mut found = Vec::new();
    for document in documents {
        visit(&mut document.clone(), &mut |object| found.extend(of(object)));
    }
    found
}

/// Every example with resources for Istio.
fn examples_for_istio() -> Vec<PathBuf> {
    let found = files(&workspace_root().join("examples"), "istio.yaml");
    assert!(!found.is_empty());
    found.iter().map(|path| path.parent().expect("a folder").to_path_buf()).collect()
}

fn of_kind<'a>(documents: &'a [Value], kind: &'a str) -> impl Iterator<Item = &'a Value> {
    documents.iter().filter(move |document| document["kind"] == kind)
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

/// Whoever reaches such a gateway spends the keys.
#[test]
fn configs_with_keys_listen_on_this_machine_alone_and_tell_vendors_nothing_of_the_client() {
    let root = workspace_root();
    let mut configs = files(&root.join("envoy"), ".yaml");
    configs.extend(files(&root.join("examples"), "envoy.yaml"));
    let mut seen = 0;
    for path in configs {
        let config = documents(&path);
        if collect(&config, |object| object.get("host_env_keys").cloned()).is_empty() {
            continue;
        }
        seen += 1;
        for listener in list(&config[0]["static_resources"]["listeners"]) {
            assert_eq!(listener["address"]["socket_address"]["address"], "127.0.0.1", "{}", path.display());
        }
        let routes = collect(&config, |object| object.get("routes").map(list)).concat();
        assert!(!routes.is_empty(), "{}", path.display());
        for route in routes {
            assert_takes_from_requests(&route["request_headers_to_remove"], &path);
        }
    }
    assert!(seen >= 8);
}

fn assert_takes_from_requests(names: &Value, path: &Path) {
    for name in OF_THE_CLIENT {
        assert!(list(names).contains(&name.into()), "{}: {name} is not in {names}", path.display());
    }
}

#[test]
fn istio_resources_are_for_one_gateway_and_the_port_of_its_own() {
    for folder in examples_for_istio() {
        let (path, documents) = (folder.join("istio.yaml"), documents(&folder.join("istio.yaml")));
        let gateway = of_kind(&documents, "Gateway").next().expect("a gateway");
        let (labels, port) = (&gateway["spec"]["selector"], &gateway["spec"]["servers"][0]["port"]["number"]);
        for document in &documents {
            assert_eq!(document["metadata"]["namespace"], "ai-gateway", "{}", path.display());
        }
        for filter in of_kind(&documents, "EnvoyFilter") {
            assert_eq!(&filter["spec"]["workloadSelector"]["labels"], labels, "{}", path.display());
            for patch in list(&filter["spec"]["configPatches"]) {
                let of_port = match patch["applyTo"].as_str() {
                    Some("LISTENER" | "NETWORK_FILTER" | "HTTP_FILTER") => &patch["match"]["listener"],
                    Some("HTTP_ROUTE") => &patch["match"]["routeConfiguration"],
                    Some("CLUSTER" | "EXTENSION_CONFIG") => continue,
                    // Of a bootstrap, for one, Istio takes none since 1.21, and does not say so.
                    other => panic!("{}: a patch of {other:?}", path.display()),
                };
                assert_eq!(&of_port["portNumber"], port, "{}: {patch:#}", path.display());
            }
        }
    }
}

#[test]
fn istio_checks_vendors_certificates_and_neither_retries_nor_tells_of_the_client() {
    for folder in examples_for_istio() {
        let (path, documents) = (folder.join("istio.yaml"), documents(&folder.join("istio.yaml")));
        for rule in of_kind(&documents, "DestinationRule") {
            let (host, tls) = (&rule["spec"]["host"], &rule["spec"]["trafficPolicy"]["tls"]);
            assert_eq!(&tls["sni"], host, "{}", path.display());
            assert_eq!(tls["subjectAltNames"], json!([host]), "{}", path.display());
        }
        let hosts = |kind, host: fn(&Value) -> Value| -> BTreeSet<String> {
            of_kind(&documents, kind).map(|document| host(&document["spec"]).to_string()).collect()
        };
        let ruled = hosts("DestinationRule", |spec| spec["host"].clone());
        assert_eq!(hosts("ServiceEntry", |spec| spec["hosts"][0].clone()), ruled, "{}", path.display());
        let routes: Vec<Value> = of_kind(&documents, "VirtualService")
            .flat_map(|service| list(&service["spec"]["http"]))
            .filter(|route| route["route"].is_array())
            .collect();
        for route in &routes {
            assert_eq!(route["retries"]["attempts"], 0, "{}", path.display());
            assert_takes_from_requests(&route["headers"]["request"]["remove"], &path);
        }
        let patched = collect(&documents, |object| object.get("request_headers_to_remove").cloned());
        patched.iter().for_each(|names| assert_takes_from_requests(names, &path));
        assert!(!routes.is_empty() || !patched.is_empty(), "{}", path.display());
    }
}

/// Name, configuration and variables of each plugin.
fn plugins(documents: &[Value]) -> BTreeMap<String, (Value, Value)> {
    collect(documents, |object| {
        let config = object["configuration"]["value"].as_str()?;
        let name = object["name"].as_str().expect("a name").to_owned();
        let config = serde_json::from_str(config).expect("a configuration in JSON");
        Some((name, (config, object["vm_config"]["environment_variables"]["host_env_keys"].clone())))
    })
    .into_iter()
    .collect()
}

#[test]
fn istio_resources_configure_the_plugins_as_plain_envoy_does_and_their_gateway_has_the_keys() {
    for folder in examples_for_istio() {
        let read = |name: &str| documents(&folder.join(name));
        let of_istio = plugins(&read("istio.yaml"));
        assert_eq!(of_istio, plugins(&read("envoy.yaml")), "{}", folder.display());
        let values = &read("values.yaml")[0];
        assert_eq!(values["service"]["type"], "ClusterIP", "{}", folder.display());
        let wanted: BTreeSet<String> =
            of_istio.values().flat_map(|(_, keys)| list(keys)).map(|key| text(&key)).collect();
        let given = list(&values["envVarFrom"]).into_iter().map(|variable| {
            assert!(variable["valueFrom"]["secretKeyRef"].is_object(), "{variable}");
            text(&variable["name"])
        });
        assert_eq!(given.collect::<BTreeSet<String>>(), wanted, "{}", folder.display());
        // What is a file there is mounted there.
        for file in
            collect(&read("istio.yaml"), |object| object["local"]["filename"].as_str().map(PathBuf::from))
        {
            let mounted = |mount: &Value| file.parent() == mount["mountPath"].as_str().map(Path::new);
            assert!(list(&values["volumeMounts"]).iter().any(mounted), "{}", file.display());
            assert_eq!(name_of(&file), toolchain::image::FILE);
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

#[test]
fn istio_sees_of_a_gateway_what_plain_envoy_does() {
    let folder = workspace_root().join("examples/observability");
    let read = |name: &str| documents(&folder.join(name));
    let (envoy, istio) = (&read("envoy.yaml")[0], read("istio.yaml"));
    let bootstrap = of_kind(&istio, "ConfigMap").next().expect("a ConfigMap");
    let text = bootstrap["data"]["custom_bootstrap.json"].as_str().expect("a file");
    let stats: Value = serde_json::from_str(text).expect("JSON");
    assert_eq!(stats, json!({ "stats_config": envoy["stats_config"] }));
    let annotations = &read("values.yaml")[0]["podAnnotations"];
    assert_eq!(annotations["sidecar.istio.io/bootstrapOverride"], bootstrap["metadata"]["name"]);
    for key in ["access_log", "early_header_mutation_extensions"] {
        let of = |documents: &[Value]| collect(documents, |object| object.get(key).cloned());
        assert_eq!(of(&istio), of(std::slice::from_ref(envoy)), "{key}");
        assert!(!of(&istio).is_empty(), "{key}");
    }
    let provider = |documents: &[Value]| {
        collect(documents, |object| {
            object["filter_metadata"]["ai-proxy"]["provider"].as_str().map(str::to_owned)
        })
    };
    assert_eq!(provider(&istio), provider(std::slice::from_ref(envoy)));
}

#[test]
fn vendors_that_the_readme_calls_missing_are_refused_by_name() {
    let readme = fs::read_to_string(workspace_root().join("plugins/ai-proxy/README.md")).expect("the file");
    let missing = readme.split("Not built yet: ").nth(1).and_then(|rest| rest.split(". ").next());
    let missing: Vec<&str> = missing.expect("a list").split('`').skip(1).step_by(2).collect();
    assert!(!missing.is_empty());
    for kind in missing {
        let config = json!({ "provider": { "type": kind, "apiTokens": ["k"] } }).to_string();
        let error = common::testkit::load_errors::<ai_proxy::AiProxy>(&config).expect_err(kind);
        let said = format!("unknown provider type: {kind}");
        assert!(error.contains(&said), "{error}");
        let others = json!([{ "id": "a", "type": "openai" }, { "id": "b", "type": kind }]);
        let config = json!({ "activeProviderId": "a", "providers": others }).to_string();
        let warnings = common::testkit::load_errors::<ai_proxy::AiProxy>(&config).expect("it loads");
        assert!(matches!(warnings.as_slice(), [one] if one.contains(&said)), "{warnings:?}");
    }
}

/// What the plugin of this name says of a configuration, with keys in the place of their variables.
fn load(plugin: &str, config: &str) -> Option<Result<Vec<String>, String>> {
    let config = KEYS.iter().fold(config.to_owned(), |text, key| text.replace(&format!("${{{key}}}"), "k"));
    let load = match plugin {
        "ai-proxy" => common::testkit::load_errors::<ai_proxy::AiProxy>,
        "ai-statistics" => common::testkit::load_errors::<ai_statistics::AiStatistics>,
        "model-mapper" => common::testkit::load_errors::<model_mapper::ModelMapper>,
        "model-router" => common::testkit::load_errors::<model_router::ModelRouter>,
        _ => return None,
    };
    Some(load(&config))
}

#[test]
fn configurations_in_readmes_load_without_a_complaint() {
    for readme in files(&workspace_root().join("plugins"), "README.md") {
        let plugin = name_of(readme.parent().expect("a folder"));
        let text = fs::read_to_string(&readme).expect("the file");
        let configs = text.split("```json\n").skip(1).filter_map(|rest| rest.split("```").next());
        let mut seen = 0;
        for config in configs {
            seen += 1;
            let lines = load(&plugin, config).unwrap_or_else(|| panic!("no plugin {plugin}"));
            assert_eq!(lines, Ok(vec![]), "{}: {config}", readme.display());
        }
        assert!(seen > 0, "{}: no configuration", readme.display());
    }
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
                let name = object["name"].as_str().expect("a name");
                let lines =
                    load(name, config).unwrap_or_else(|| panic!("{}: no plugin {name}", path.display()));
                assert_eq!(lines, Ok(vec![]), "{}", path.display());
            });
        }
    }
    assert!(seen > 0);
}
