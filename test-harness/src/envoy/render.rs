//! An Envoy config with a test's ports, modules and upstreams put in its place.
//!
//! The shipped files are run as they are; what differs in a test is replaced in the parsed document,
//! by name. A name that is not there is an error: a test must not pass against a config it did not change.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize as _;
use serde_json::{Map, Value, json};

use crate::toolchain;

const WASM_FILTER: &str = "envoy.extensions.filters.http.wasm.v3.Wasm";
const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// Why a config could not be rendered.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// The file is not there, or not readable.
    #[error("{path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Not YAML, or not one document.
    #[error("{path}: {source}")]
    NotYaml {
        /// The file, or `the given text`.
        path: String,
        /// What the parser said.
        source: serde_yaml_ng::Error,
    },
    /// The config has no such thing.
    #[error("the config has no {kind} `{name}`; it has: {known}")]
    Unknown {
        /// What was looked for: a listener, a cluster, a Wasm filter, a Wasm file, a JSON pointer.
        kind: &'static str,
        /// The name looked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// A module could not be built.
    #[error(transparent)]
    Toolchain(#[from] toolchain::Error),
}

/// How a cluster's connections are made once its endpoint is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Without TLS, whatever the file says: the scripted upstreams speak plain HTTP.
    Plain,
    /// As the file says.
    AsConfigured,
}

/// A config and the replacements made in it.
///
/// Every call is a replacement in the document. The first one that finds nothing to replace is what
/// [`Render::finish`] returns.
#[derive(Debug)]
pub struct Render {
    config: Value,
    /// Module files that the test has named itself.
    given: Vec<String>,
    error: Option<RenderError>,
}

impl Render {
    /// Reads a YAML or JSON file.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, RenderError> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path)
            .map_err(|source| RenderError::Unreadable { path: path.to_path_buf(), source })?;
        Self::parse(&text, &path.display().to_string())
    }

    /// Reads YAML or JSON text.
    pub fn from_yaml(text: &str) -> Result<Self, RenderError> {
        Self::parse(text, "the given text")
    }

    /// Takes a document that is parsed already.
    pub fn from_value(config: Value) -> Self {
        let mut render = Self { config, given: Vec::new(), error: None };
        render.keep_to_loopback();
        render
    }

    fn parse(text: &str, path: &str) -> Result<Self, RenderError> {
        let mut documents =
            parse_yaml(text).map_err(|source| RenderError::NotYaml { path: path.to_owned(), source })?;
        Ok(Self::from_value(if documents.is_empty() { Value::Null } else { documents.swap_remove(0) }))
    }

    /// Listeners and the admin interface move to ports that the system picks, on the loopback.
    ///
    /// A file that people deploy listens on a well-known port, and may do so on every interface. Two Envoys on one port would
    /// share it silently, since Envoy sets `SO_REUSEPORT`.
    fn keep_to_loopback(&mut self) {
        for listener in self.listeners() {
            if let Some(address) = listener.pointer_mut("/address/socket_address") {
                address["address"] = json!("127.0.0.1");
                address["port_value"] = json!(0);
            }
        }
        self.config["admin"] =
            json!({ "address": { "socket_address": { "address": "127.0.0.1", "port_value": 0 } } });
    }

    /// A fixed port for a listener; the first one if the name is empty.
    #[must_use]
    pub fn listener_port(mut self, name: &str, port: u16) -> Self {
        let known = names(&self.listeners(), "name");
        let found = self.listeners().into_iter().find(|listener| name.is_empty() || listener["name"] == name);
        match found.and_then(|listener| listener.pointer_mut("/address/socket_address")) {
            Some(address) => address["port_value"] = json!(port),
            None => self.unknown("listener", name, known),
        }
        self
    }

    /// A fixed port for the admin interface.
    #[must_use]
    pub fn admin_port(mut self, port: u16) -> Self {
        self.config["admin"]["address"]["socket_address"]["port_value"] = json!(port);
        self
    }

    /// The file a Wasm filter loads, for every filter whose file has this name in any folder.
    #[must_use]
    pub fn wasm(mut self, file_name: &str, path: impl AsRef<Path>) -> Self {
        let path = path.as_ref().to_string_lossy().into_owned();
        let mut known = Vec::new();
        let mut found = false;
        visit(&mut self.config, &mut |object| {
            if let Some(file) = local_file(object) {
                let name = base_name(file);
                if name == file_name {
                    found = true;
                    object["code"]["local"]["filename"] = json!(path);
                } else {
                    known.push(name);
                }
            }
        });
        if !found {
            self.unknown("Wasm file", file_name, known);
        }
        self.given.push(path);
        self
    }

    /// Builds what the config loads: every file `<name>.wasm` becomes the module of that plugin, or
    /// of that test module, unless [`Render::wasm`] gave it already.
    #[must_use]
    pub fn built_wasm(mut self) -> Self {
        let mut files = Vec::new();
        let given = &self.given;
        visit(&mut self.config, &mut |object| {
            files.extend(
                local_file(object).filter(|file| !given.iter().any(|given| given == file)).map(base_name),
            );
        });
        files.sort();
        files.dedup();
        for file in files {
            match toolchain::plugin_or_module(file.trim_end_matches(".wasm")) {
                Ok(path) => self = self.wasm(&file, path),
                Err(error) => self.fail(error.into()),
            }
        }
        self
    }

    /// The one address of all endpoints of a cluster.
    #[must_use]
    pub fn cluster_endpoint(self, cluster: &str, address: SocketAddr, transport: Transport) -> Self {
        self.move_endpoints(cluster, None, address, transport)
    }

    /// The address of one endpoint of a cluster, counted over all its localities from 0.
    #[must_use]
    pub fn cluster_endpoint_at(
        self,
        cluster: &str,
        index: usize,
        address: SocketAddr,
        transport: Transport,
    ) -> Self {
        self.move_endpoints(cluster, Some(index), address, transport)
    }

    fn move_endpoints(
        mut self,
        name: &str,
        index: Option<usize>,
        address: SocketAddr,
        transport: Transport,
    ) -> Self {
        let known = names(&self.clusters(), "name");
        let Some(cluster) = self.clusters().into_iter().find(|cluster| cluster["name"] == name) else {
            self.unknown("cluster", name, known);
            return self;
        };
        let endpoints: Vec<&mut Value> = array(cluster.pointer_mut("/load_assignment/endpoints"))
            .into_iter()
            .flat_map(|locality| array(locality.get_mut("lb_endpoints")))
            .collect();
        let count = endpoints.len();
        let mut moved = false;
        for (at, endpoint) in endpoints.into_iter().enumerate() {
            if index.is_none_or(|index| index == at) {
                moved = true;
                endpoint["endpoint"]["address"] = json!({
                    "socket_address": { "address": address.ip().to_string(), "port_value": address.port() },
                });
            }
        }
        if !moved {
            let wanted = format!("{name}[{}]", index.unwrap_or_default());
            self.unknown("endpoint", &wanted, vec![format!("{count} endpoints")]);
            return self;
        }
        if let Some(cluster) = cluster.as_object_mut() {
            take_addresses_as_they_are(cluster);
            if transport == Transport::Plain {
                remove_tls(cluster);
            }
        }
        self
    }

    /// The configuration of a Wasm filter, by the plugin's name in its `config.name`.
    #[must_use]
    pub fn wasm_config(self, filter: &str, configuration: &Value) -> Self {
        self.wasm_config_text(filter, &configuration.to_string())
    }

    /// As [`Render::wasm_config`], with a text that need not be JSON.
    #[must_use]
    pub fn wasm_config_text(self, filter: &str, configuration: &str) -> Self {
        let configuration =
            json!({ "@type": "type.googleapis.com/google.protobuf.StringValue", "value": configuration });
        self.edit_wasm(filter, |config| config["configuration"] = configuration.clone())
    }

    /// An environment variable for a Wasm filter, by the plugin's name in its `config.name`.
    #[must_use]
    pub fn wasm_variable(self, filter: &str, name: &str, value: &str) -> Self {
        self.edit_wasm(filter, |config| {
            let variables = &mut config["vm_config"]["environment_variables"];
            variables["key_values"][name] = json!(value);
            // Envoy refuses a variable that is both given and inherited.
            if let Some(inherited) = variables.get_mut("host_env_keys").and_then(Value::as_array_mut) {
                inherited.retain(|key| key != name);
            }
        })
    }

    fn edit_wasm(mut self, filter: &str, mut edit: impl FnMut(&mut Value)) -> Self {
        let mut known = Vec::new();
        let mut found = false;
        visit(&mut self.config, &mut |object| {
            let is_wasm = object["@type"].as_str().is_some_and(|kind| kind.ends_with(WASM_FILTER));
            if is_wasm && object["config"]["name"] == filter {
                found = true;
                edit(&mut object["config"]);
            } else if is_wasm {
                known.extend(object["config"]["name"].as_str().map(str::to_owned));
            }
        });
        if !found {
            self.unknown("Wasm filter", filter, known);
        }
        self
    }

    /// Sets the value a JSON pointer names; all but its last part must be there.
    #[must_use]
    pub fn set(mut self, pointer: &str, value: Value) -> Self {
        let (parent, key) = pointer.rsplit_once('/').unwrap_or(("", pointer));
        let key = key.replace("~1", "/").replace("~0", "~");
        let place = match self.config.pointer_mut(parent) {
            Some(Value::Object(object)) => Some(object.entry(key).or_insert(Value::Null)),
            Some(Value::Array(array)) => key.parse::<usize>().ok().and_then(|index| array.get_mut(index)),
            _ => None,
        };
        match place {
            Some(place) => *place = value,
            None => self.unknown("JSON pointer", pointer, Vec::new()),
        }
        self
    }

    /// The finished document, or the first replacement that found nothing.
    pub fn finish(self) -> Result<Value, RenderError> {
        match self.error {
            Some(error) => Err(error),
            None => Ok(self.config),
        }
    }

    /// The variables of Envoy's own environment that the modules may see.
    pub(super) fn inherited_variables(config: &mut Value) -> Vec<String> {
        let mut names = Vec::new();
        visit(config, &mut |object| {
            let keys = object.pointer("/environment_variables/host_env_keys").and_then(Value::as_array);
            names.extend(keys.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned));
        });
        names
    }

    /// The ports that are not left to the system.
    pub(super) fn fixed_ports(config: &Value) -> Vec<u16> {
        let listeners = config["static_resources"]["listeners"].as_array();
        listeners
            .into_iter()
            .flatten()
            .chain([&config["admin"]])
            .filter_map(|bound| bound.pointer("/address/socket_address/port_value")?.as_u64())
            .filter_map(|port| u16::try_from(port).ok())
            .filter(|port| *port != 0)
            .collect()
    }

    fn listeners(&mut self) -> Vec<&mut Value> {
        array(self.config.pointer_mut("/static_resources/listeners"))
    }

    fn clusters(&mut self) -> Vec<&mut Value> {
        array(self.config.pointer_mut("/static_resources/clusters"))
    }

    fn unknown(&mut self, kind: &'static str, name: &str, mut known: Vec<String>) {
        known.sort();
        known.dedup();
        self.fail(RenderError::Unknown { kind, name: name.to_owned(), known: known.join(", ") });
    }

    fn fail(&mut self, error: RenderError) {
        self.error.get_or_insert(error);
    }
}

/// All documents of a YAML text.
pub fn parse_yaml(text: &str) -> Result<Vec<Value>, serde_yaml_ng::Error> {
    let mut documents = Vec::new();
    for document in serde_yaml_ng::Deserializer::from_str(text) {
        let mut document = serde_yaml_ng::Value::deserialize(document)?;
        document.apply_merge()?;
        documents.push(Value::deserialize(document)?);
    }
    Ok(documents)
}

/// Calls `edit` on every object in the document, from the outside in.
pub fn visit(value: &mut Value, edit: &mut dyn FnMut(&mut Value)) {
    if value.is_object() {
        edit(value);
    }
    match value {
        Value::Object(object) => object.values_mut().for_each(|value| visit(value, edit)),
        Value::Array(array) => array.iter_mut().for_each(|value| visit(value, edit)),
        _ => {}
    }
}

fn array(value: Option<&mut Value>) -> Vec<&mut Value> {
    value.and_then(Value::as_array_mut).into_iter().flatten().collect()
}

fn names(objects: &[&mut Value], key: &str) -> Vec<String> {
    objects.iter().filter_map(|object| object[key].as_str().map(str::to_owned)).collect()
}

/// The file of a `vm_config`.
fn local_file(object: &Value) -> Option<&str> {
    object.pointer("/code/local/filename")?.as_str()
}

fn base_name(file: &str) -> String {
    file.rsplit('/').next().unwrap_or(file).to_owned()
}

/// No name needs to be looked up any more.
fn take_addresses_as_they_are(cluster: &mut Map<String, Value>) {
    let resolves = ["STRICT_DNS", "LOGICAL_DNS"].iter().any(|kind| cluster.get("type") == Some(&json!(kind)))
        || cluster
            .get("cluster_type")
            .is_some_and(|kind| kind["name"].as_str().is_some_and(|name| name.contains("dns")));
    if resolves {
        cluster.remove("cluster_type");
        cluster.insert("type".to_owned(), json!("STATIC"));
    }
    for key in ["dns_lookup_family", "dns_refresh_rate", "dns_failure_refresh_rate", "respect_dns_ttl"] {
        cluster.remove(key);
    }
}

fn remove_tls(cluster: &mut Map<String, Value>) {
    cluster.remove("transport_socket");
    cluster.remove("transport_socket_matches");
    for options in array_of_values(cluster.get_mut("typed_extension_protocol_options")) {
        let is_http = options["@type"].as_str().is_some_and(|kind| kind.ends_with(HTTP_OPTIONS));
        let Some(options) = options.as_object_mut().filter(|_| is_http) else { continue };
        // Both choose by what TLS tells them, and Envoy refuses the first without it.
        if options.remove("auto_config").is_some() {
            options.insert("explicit_http_config".to_owned(), json!({ "http_protocol_options": {} }));
        }
        if let Some(upstream) =
            options.get_mut("upstream_http_protocol_options").and_then(Value::as_object_mut)
        {
            upstream.remove("auto_sni");
            upstream.remove("auto_san_validation");
        }
    }
}

fn array_of_values(value: Option<&mut Value>) -> Vec<&mut Value> {
    value.and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GATEWAY: &str = r#"
admin: { address: { socket_address: { address: 0.0.0.0, port_value: 9901 } } }
static_resources:
  listeners:
  - name: gateway
    address: { socket_address: { address: 0.0.0.0, port_value: 10000 } }
    filter_chains:
    - filters:
      - typed_config:
          http_filters:
          - name: first
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
              config:
                name: ai-proxy
                configuration: { "@type": type.googleapis.com/google.protobuf.StringValue, value: "{}" }
                vm_config: { code: { local: { filename: /etc/envoy/plugins/ai-proxy.wasm } }, environment_variables: { host_env_keys: [KEY] } }
  clusters:
  - name: vendor
    type: LOGICAL_DNS
    dns_lookup_family: V4_ONLY
    load_assignment:
      cluster_name: vendor
      endpoints:
      - lb_endpoints:
        - endpoint: { address: { socket_address: { address: api.vendor.test, port_value: 443 } } }
          metadata: { filter_metadata: { ai-proxy: { provider: one } } }
      - priority: 1
        lb_endpoints:
        - endpoint: { address: { socket_address: { address: spare.vendor.test, port_value: 443 } } }
    transport_socket: { name: tls }
    typed_extension_protocol_options:
      http:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        upstream_http_protocol_options: { auto_sni: true, auto_san_validation: true }
        auto_config: { http2_protocol_options: {} }
"#;

    fn gateway() -> Render {
        Render::from_yaml(GATEWAY).unwrap()
    }

    fn address() -> SocketAddr {
        "127.0.0.1:4321".parse().unwrap()
    }

    #[test]
    fn every_address_is_on_the_loopback_with_a_port_to_be_picked() {
        let config = gateway().finish().unwrap();
        let expected = json!({ "address": "127.0.0.1", "port_value": 0 });
        assert_eq!(config.pointer("/admin/address/socket_address"), Some(&expected));
        assert_eq!(config.pointer("/static_resources/listeners/0/address/socket_address"), Some(&expected));
        assert_eq!(Render::fixed_ports(&config), [0; 0]);
    }

    #[test]
    fn fixed_ports_are_those_asked_for() {
        let config = gateway().listener_port("gateway", 10000).admin_port(9901).finish().unwrap();
        assert_eq!(Render::fixed_ports(&config), [10000, 9901]);
        let config = gateway().listener_port("", 10001).finish().unwrap();
        assert_eq!(Render::fixed_ports(&config), [10001]);
    }

    #[test]
    fn module_is_found_by_its_file_name() {
        let config = gateway().wasm("ai-proxy.wasm", "/built/ai-proxy.wasm").finish().unwrap();
        let text = config.to_string();
        assert!(
            text.contains(r#""filename":"/built/ai-proxy.wasm""#) && !text.contains("/etc/envoy"),
            "{text}"
        );
    }

    #[test]
    fn configuration_and_variables_go_to_the_filter_of_that_name() {
        let config = gateway()
            .wasm_config("ai-proxy", &json!({ "provider": { "type": "openai" } }))
            .wasm_variable("ai-proxy", "KEY", "k")
            .finish()
            .unwrap();
        let plugin = config
            .pointer("/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters/0/typed_config/config")
            .unwrap();
        assert_eq!(plugin["configuration"]["value"], r#"{"provider":{"type":"openai"}}"#);
        let expected = json!({ "host_env_keys": [], "key_values": { "KEY": "k" } });
        assert_eq!(plugin["vm_config"]["environment_variables"], expected);
    }

    #[test]
    fn endpoint_moves_and_keeps_its_metadata_and_priority() {
        let config = gateway().cluster_endpoint("vendor", address(), Transport::Plain).finish().unwrap();
        let cluster = config.pointer("/static_resources/clusters/0").unwrap();
        assert_eq!(cluster["type"], "STATIC");
        assert!(cluster.get("transport_socket").is_none() && cluster.get("dns_lookup_family").is_none());
        let text = cluster.to_string();
        assert!(!text.contains("vendor.test") && !text.contains("auto_config") && !text.contains("auto_sni"));
        let endpoints = &cluster["load_assignment"]["endpoints"];
        assert_eq!(
            endpoints[0]["lb_endpoints"][0]["metadata"]["filter_metadata"]["ai-proxy"]["provider"],
            "one"
        );
        assert_eq!(endpoints[1]["priority"], 1);
    }

    #[test]
    fn one_endpoint_can_be_moved_alone_and_tls_kept() {
        let config =
            gateway().cluster_endpoint_at("vendor", 1, address(), Transport::AsConfigured).finish().unwrap();
        let cluster = config.pointer("/static_resources/clusters/0").unwrap();
        let text = cluster["load_assignment"].to_string();
        assert!(text.contains("api.vendor.test") && !text.contains("spare.vendor.test"), "{text}");
        assert!(cluster.get("transport_socket").is_some());
    }

    #[test]
    fn a_name_that_is_not_there_is_an_error_that_lists_what_is() {
        let check =
            |render: Render, expected: &str| assert_eq!(render.finish().unwrap_err().to_string(), expected);
        check(gateway().listener_port("door", 1), "the config has no listener `door`; it has: gateway");
        check(
            gateway().wasm("mapper.wasm", "/x"),
            "the config has no Wasm file `mapper.wasm`; it has: ai-proxy.wasm",
        );
        check(
            gateway().wasm_config("mapper", &json!({})),
            "the config has no Wasm filter `mapper`; it has: ai-proxy",
        );
        check(
            gateway().cluster_endpoint("other", address(), Transport::Plain),
            "the config has no cluster `other`; it has: vendor",
        );
        check(
            gateway().cluster_endpoint_at("vendor", 2, address(), Transport::Plain),
            "the config has no endpoint `vendor[2]`; it has: 2 endpoints",
        );
        check(
            gateway().set("/nowhere/at/all", json!(1)),
            "the config has no JSON pointer `/nowhere/at/all`; it has: ",
        );
    }

    #[test]
    fn the_first_error_is_the_one_reported() {
        let error = gateway().listener_port("door", 1).wasm("mapper.wasm", "/x").finish().unwrap_err();
        assert!(error.to_string().contains("door"), "{error}");
    }

    #[test]
    fn anchors_and_merge_keys_are_resolved() {
        let documents =
            parse_yaml("base: &b { x: 1, y: '2' }\nuse: { <<: *b, z: no }\n---\nsecond: true").unwrap();
        assert_eq!(documents[0]["use"], json!({ "z": "no", "x": 1, "y": "2" }));
        assert_eq!(documents[1], json!({ "second": true }));
    }
}
