//! One chain in an Envoy of its own.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::chains::{Chain, Filter, Place};
use super::peers::Peers;
use super::traffic::Traffic;
use super::{BenchError, process};
use crate::envoy::{Envoy, EnvoyBinary, Options, Render};

/// Listener and cluster.
const GATEWAY: &str = "bench";

pub(super) struct Gateway {
    chain: String,
    upstream_sees: Vec<String>,
    envoy: Envoy,
    start_time: Duration,
    upstream: TcpListener,
    traffic: Traffic,
}

impl Gateway {
    /// Starts an Envoy with so many workers and waits until it is ready.
    pub(super) fn start(binary: &EnvoyBinary, chain: &Chain, workers: u32) -> Result<Self, BenchError> {
        let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| {
            let address = listener.local_addr()?;
            Ok((listener, address))
        });
        let (upstream, address) = bound.map_err(BenchError::io("binding a port"))?;
        let config = config(chain, address);
        let options = Options {
            concurrency: workers,
            // What a filter logs would be measured with it.
            log_level: "warning".to_owned(),
            component_log_level: "wasm:warning".to_owned(),
            // In a container, the process to measure would not be the one started.
            docker: false,
            ..Options::default()
        };
        let start = Instant::now();
        let envoy = Envoy::start(binary, Render::from_value(config), options)
            .map_err(|source| BenchError::Start { chain: chain.name.clone(), source })?;
        Ok(Self {
            chain: chain.name.clone(),
            upstream_sees: chain.filters.iter().flat_map(|filter| filter.upstream_sees.clone()).collect(),
            start_time: start.elapsed(),
            envoy,
            upstream,
            traffic: Traffic::of(chain.client, chain.vendor),
        })
    }

    /// From the start of the process to its being ready.
    pub(super) fn start_time(&self) -> Duration {
        self.start_time
    }

    /// What its peers send.
    pub(super) fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Opens so many connections, and makes sure that the filter does its work.
    pub(super) fn connect(&self, connections: usize) -> Result<Peers<'_>, BenchError> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.envoy.port(GATEWAY)));
        let mut peers = self.drive(|| Peers::connect(address, connections, &self.upstream))?;
        self.drive(|| peers.exchange(&self.traffic.small, &self.traffic.completion))?;
        let seen = String::from_utf8_lossy(peers.last_request());
        match self.upstream_sees.iter().find(|text| !seen.contains(text.as_str())) {
            None => Ok(peers),
            Some(text) => Err(BenchError::unexpected(
                &self.chain,
                format!("no `{text}` in what the upstream saw:\n{seen}"),
            )),
        }
    }

    /// Does some work with this gateway; what fails in it is said to be of this chain.
    pub(super) fn drive<T>(&self, work: impl FnOnce() -> io::Result<T>) -> Result<T, BenchError> {
        work().map_err(BenchError::io(&self.chain))
    }

    /// CPU time in microseconds that Envoy takes while `work` is done, for each of so many parts of it.
    pub(super) fn cpu_us(
        &self,
        parts: usize,
        work: impl FnOnce() -> io::Result<()>,
    ) -> Result<f64, BenchError> {
        self.drive(|| {
            let before = process::cpu_time(self.envoy.pid())?;
            work()?;
            let time = process::cpu_time(self.envoy.pid())?.saturating_sub(before);
            Ok(time.as_secs_f64() * 1e6 / parts as f64)
        })
    }

    /// Resident memory in MiB.
    pub(super) fn resident_mib(&self) -> Result<f64, BenchError> {
        let bytes = self.drive(|| process::resident(self.envoy.pid()))?;
        Ok(bytes as f64 / f64::from(1 << 20))
    }
}

fn config(chain: &Chain, upstream: SocketAddr) -> Value {
    let (before, behind): (&[Filter], &[Filter]) = match chain.place {
        Place::Downstream => (&chain.filters, &[]),
        Place::Upstream => (&[], &chain.filters),
    };
    json!({ "static_resources": { "listeners": [listener(before)], "clusters": [cluster(upstream, behind)] } })
}

fn listener(filters: &[Filter]) -> Value {
    let router = json!({
        "name": "envoy.filters.http.router",
        "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
    });
    let filters: Vec<Value> = filters.iter().enumerate().map(wasm).chain([router]).collect();
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": GATEWAY,
        "http_filters": filters,
        "route_config": { "name": GATEWAY, "virtual_hosts": [{
            "name": GATEWAY,
            "domains": ["*"],
            "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": GATEWAY, "timeout": "0s" } }],
        }] },
    });
    json!({
        "name": GATEWAY,
        "address": { "socket_address": { "address": "127.0.0.1", "port_value": 0 } },
        "filter_chains": [{ "filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": manager,
        }] }],
    })
}

fn wasm((place, filter): (usize, &Filter)) -> Value {
    // A module may stand in a chain several times, each time in a VM of its own.
    let name = format!("{}-{place}", filter.module.name);
    let configuration = json!({
        "@type": "type.googleapis.com/google.protobuf.StringValue",
        "value": filter.config.to_string(),
    });
    json!({
        "name": name,
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": {
                "name": name,
                "root_id": name,
                "allow_on_headers_stop_iteration": true,
                "failure_policy": "FAIL_RELOAD",
                "configuration": configuration,
                "vm_config": {
                    "vm_id": name,
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": { "local": { "filename": filter.module.path } },
                },
            },
        },
    })
}

fn cluster(upstream: SocketAddr, filters: &[Filter]) -> Value {
    let address =
        json!({ "socket_address": { "address": upstream.ip().to_string(), "port_value": upstream.port() } });
    let mut cluster = json!({
        "name": GATEWAY,
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": GATEWAY,
            "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": address } }] }],
        },
    });
    if !filters.is_empty() {
        let codec = json!({
            "name": "envoy.filters.http.upstream_codec",
            "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec" },
        });
        let filters: Vec<Value> = filters.iter().enumerate().map(wasm).chain([codec]).collect();
        cluster["typed_extension_protocol_options"] = json!({ "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": { "http_protocol_options": {} },
            "http_filters": filters,
        } });
    }
    cluster
}
