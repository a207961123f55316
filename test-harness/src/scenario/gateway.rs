//! The Envoy config a scenario is played against.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::{Map, Value, json};

use super::case::Http;
use super::file::{Knobs, Place, Plugin, Route};
use crate::toolchain;

/// The listener that clients connect to.
pub(super) const LISTENER: &str = "gateway";
/// The cluster of the scripted upstream.
const UPSTREAM: &str = "upstream";

/// What the names of Envoy's own filters begin with.
const OWN: &str = "envoy.";
/// What a cluster's protocol and filters stand in.
const PROTOCOL_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// What an access log line has that no other line of Envoy's log has.
const ACCESS_MARK: &str = "scenario_access_log";

/// Envoy's log, and the access log that is written into it.
pub(super) fn split_log(log: &str) -> (String, Vec<Value>) {
    let mut rest = String::new();
    let mut access = Vec::new();
    for line in log.split_inclusive('\n') {
        match serde_json::from_str::<Value>(line) {
            Ok(fields) if fields.get(ACCESS_MARK).is_some() => access.push(fields),
            _ => rest.push_str(line),
        }
    }
    (rest, access)
}

/// Where the parts of a running scenario are.
pub(super) struct Places<'a> {
    pub(super) upstream: SocketAddr,
    pub(super) services: &'a BTreeMap<String, SocketAddr>,
}

/// The config for these plugins: one listener, one virtual host for all domains, a route `default`.
///
/// # Errors
/// A plugin does not build.
pub(super) fn config(
    chain: &[Plugin],
    knobs: &Knobs,
    places: &Places<'_>,
) -> Result<Value, toolchain::Error> {
    let plugins = chain.iter().map(filter).collect::<Result<Vec<_>, _>>()?;
    let (mut filters, of_cluster) = match knobs.chain {
        Place::Downstream => (plugins, Vec::new()),
        Place::Upstream => (Vec::new(), plugins),
    };
    filters.push(typed(
        "envoy.filters.http.router",
        "envoy.extensions.filters.http.router.v3.Router",
        json!({}),
    ));
    let last = Route { name: "default".to_owned(), prefix: None, headers: BTreeMap::new(), cluster: None };
    let routes: Vec<Value> =
        knobs.routes.iter().chain([&last]).map(|entry| route(entry, &knobs.route)).collect();
    let upgrades: Vec<Value> = knobs.upgrades.iter().map(|kind| json!({ "upgrade_type": kind })).collect();
    let mut manager = json!({
        "stat_prefix": "scenario",
        "http_filters": filters,
        "http_protocol_options": { "enable_trailers": knobs.trailers },
        "upgrade_configs": upgrades,
        "route_config": {
            "name": "scenario",
            "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": routes }],
        },
        "access_log": [access_log(knobs)],
    });
    merge(&mut manager, &knobs.manager);
    let manager = typed(
        "envoy.filters.network.http_connection_manager",
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        manager,
    );
    let mut listener = json!({
        "name": LISTENER,
        "address": { "socket_address": { "address": "127.0.0.1", "port_value": 0 } },
        "filter_chains": [{ "filters": [manager] }],
    });
    if let Some(limit) = knobs.buffer_limit {
        listener["per_connection_buffer_limit_bytes"] = json!(limit.0);
    }
    merge(&mut listener, &knobs.listener);
    let mut upstream = cluster(UPSTREAM, places.upstream, knobs.upstream, knobs.trailers);
    if !of_cluster.is_empty() {
        let codec = typed(
            "envoy.filters.http.upstream_codec",
            "envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec",
            json!({}),
        );
        let filters: Vec<Value> = of_cluster.into_iter().chain([codec]).collect();
        upstream["typed_extension_protocol_options"][PROTOCOL_OPTIONS]["http_filters"] = json!(filters);
    }
    merge(&mut upstream, &knobs.cluster);
    let services =
        places.services.iter().map(|(name, address)| cluster(name, *address, Http::H1, knobs.trailers));
    let clusters: Vec<Value> = std::iter::once(upstream).chain(services).collect();
    Ok(json!({ "static_resources": { "listeners": [listener], "clusters": clusters } }))
}

fn typed(name: &str, kind: &str, mut config: Value) -> Value {
    config["@type"] = json!(format!("type.googleapis.com/{kind}"));
    json!({ "name": name, "typed_config": config })
}

fn filter(plugin: &Plugin) -> Result<Value, toolchain::Error> {
    let name = &plugin.name;
    if name.starts_with(OWN) {
        let config = plugin.config.as_deref().and_then(|text| serde_json::from_str::<Value>(text).ok());
        return Ok(json!({ "name": name, "typed_config": config }));
    }
    let module = toolchain::plugin_or_module(name)?;
    let mut config = json!({
        "name": name,
        "root_id": name,
        "allow_on_headers_stop_iteration": true,
        "failure_policy": "FAIL_RELOAD",
        "reload_config": { "backoff": { "base_interval": "1s" } },
        "vm_config": {
            "vm_id": name,
            "runtime": "envoy.wasm.runtime.v8",
            "code": { "local": { "filename": module } },
            "environment_variables": { "key_values": plugin.environment },
        },
    });
    if let Some(text) = &plugin.config {
        config["configuration"] =
            json!({ "@type": "type.googleapis.com/google.protobuf.StringValue", "value": text });
    }
    Ok(typed(name, "envoy.extensions.filters.http.wasm.v3.Wasm", json!({ "config": config })))
}

fn route(route: &Route, patch: &Value) -> Value {
    let headers: Vec<Value> = route
        .headers
        .iter()
        .map(|(name, value)| json!({ "name": name, "string_match": { "exact": value } }))
        .collect();
    let mut action = json!({ "cluster": route.cluster.as_deref().unwrap_or(UPSTREAM) });
    merge(&mut action, patch);
    json!({
        "name": route.name,
        "match": { "prefix": route.prefix.as_deref().unwrap_or("/"), "headers": headers },
        "route": action,
    })
}

fn access_log(knobs: &Knobs) -> Value {
    let mut format = json!({
        ACCESS_MARK: "line",
        "method": "%REQ(:METHOD)%",
        "path": "%REQ(:PATH)%",
        "status": "%RESPONSE_CODE%",
        "details": "%RESPONSE_CODE_DETAILS%",
        "flags": "%RESPONSE_FLAGS%",
        "route": "%ROUTE_NAME%",
        "cluster": "%UPSTREAM_CLUSTER%",
    });
    for (name, value) in &knobs.access_log {
        format[name] = json!(value);
    }
    let config = json!({ "log_format": { "json_format": format } });
    typed("stdout", "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog", config)
}

fn cluster(name: &str, address: SocketAddr, http: Http, trailers: bool) -> Value {
    let protocol = match http {
        Http::H1 => json!({ "http_protocol_options": { "enable_trailers": trailers } }),
        Http::H2 => json!({ "http2_protocol_options": {} }),
    };
    let kind = PROTOCOL_OPTIONS;
    let endpoint = json!({
        "socket_address": { "address": address.ip().to_string(), "port_value": address.port() },
    });
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "2s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": endpoint } }] }],
        },
        "typed_extension_protocol_options": {
            kind: { "@type": format!("type.googleapis.com/{kind}"), "explicit_http_config": protocol },
        },
    })
}

/// Puts a patch over a value: objects are merged, null removes, anything else replaces.
fn merge(value: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        if !patch.is_null() {
            *value = patch.clone();
        }
        return;
    };
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    for (name, patch) in patch {
        if patch.is_null() {
            value.as_object_mut().map(|object| object.shift_remove(name));
        } else {
            merge(&mut value[name], patch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_merges_objects_removes_nulls_and_replaces_the_rest() {
        let mut value = json!({ "a": { "b": 1, "c": 2 }, "list": [1, 2] });
        merge(&mut value, &json!({ "a": { "b": null, "d": { "e": 3 } }, "list": [4] }));
        assert_eq!(value, json!({ "a": { "c": 2, "d": { "e": 3 } }, "list": [4] }));
        merge(&mut value, &Value::Null);
        assert_eq!(value["list"], json!([4]));
    }

    #[test]
    fn a_filter_of_envoys_own_stands_where_it_is_written() {
        let config = r#"{"@type":"t","a":1}"#.to_owned();
        let plugin = Plugin {
            name: "envoy.filters.http.x".to_owned(),
            config: Some(config),
            environment: BTreeMap::new(),
        };
        let expected = json!({ "name": "envoy.filters.http.x", "typed_config": { "@type": "t", "a": 1 } });
        assert_eq!(filter(&plugin).unwrap(), expected);
    }

    #[test]
    fn routes_stand_in_order_before_the_default() {
        let knobs: Knobs = serde_yaml_ng::from_str(
            "{ routes: [{ name: r1, headers: { x-route: one } }, { name: r2, prefix: /r2, cluster: other }], \
               route: { timeout: 1s }, buffer_limit: 2MiB, trailers: true, upgrades: [websocket], \
               manager: { use_remote_address: true }, upstream: h2 }",
        )
        .unwrap();
        let address: SocketAddr = "127.0.0.1:1".parse().unwrap();
        let services = BTreeMap::from([("other".to_owned(), address)]);
        let places = Places { upstream: address, services: &services };
        let config = config(&[], &knobs, &places).unwrap();
        let listener = &config["static_resources"]["listeners"][0];
        assert_eq!(listener["per_connection_buffer_limit_bytes"], 2 << 20);
        let manager = &listener["filter_chains"][0]["filters"][0]["typed_config"];
        assert_eq!(manager["use_remote_address"], true);
        let routes = &manager["route_config"]["virtual_hosts"][0]["routes"];
        assert_eq!(routes[0]["match"]["headers"][0]["string_match"]["exact"], "one");
        assert_eq!(
            (&routes[1]["route"]["cluster"], &routes[1]["route"]["timeout"]),
            (&json!("other"), &json!("1s"))
        );
        assert_eq!(
            (&routes[2]["name"], &routes[2]["route"]["cluster"]),
            (&json!("default"), &json!("upstream"))
        );
        let clusters = config["static_resources"]["clusters"].as_array().unwrap();
        assert_eq!((clusters.len(), &clusters[1]["name"]), (2, &json!("other")));
        assert!(clusters[0].to_string().contains("http2_protocol_options"));
    }
}
