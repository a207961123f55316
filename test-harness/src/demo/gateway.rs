//! The shipped gateway, running.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use serde_json::Value;

use crate::envoy::{self, Envoy, EnvoyBinary, Render, RenderError, StartError, Transport};
use crate::vendor::{self, Vendor};
use crate::workspace_root;

/// The very file that people deploy.
pub(super) const CONFIG: &str = "envoy/gateway.yaml";
/// Its listener.
const LISTENER: &str = "gateway";
/// Its cluster.
const CLUSTER: &str = "openai";
/// Its filter.
const PLUGIN: &str = "ai-proxy";
/// The variable that has the vendor's key.
const KEY: &str = "OPENAI_API_KEY";
/// How much of the log an error shows.
const TAIL_LINES: usize = 30;
/// The only key the built-in vendor takes; Envoy has it, clients do not.
pub const VENDOR_KEY: &str = "demo-key";

/// Who answers behind the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// The vendor in this process.
    BuiltIn {
        /// The pause between two pieces of a stream.
        pace: Duration,
    },
    /// The real vendor, as the config says, with the key in the environment.
    OpenAi,
}

/// Where the gateway is to listen, and who answers.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Its port; 0 is any.
    pub port: u16,
    /// The port of the admin interface; 0 is any.
    pub admin_port: u16,
    /// Who answers.
    pub backend: Backend,
}

/// A running gateway; gone when dropped.
#[derive(Debug)]
pub struct Gateway {
    // In the order of dropping: Envoy goes before what it talks to.
    envoy: Envoy,
    vendor: Option<Vendor>,
}

impl Gateway {
    /// Starts the shipped config with its modules, ports and, for the built-in vendor, its endpoint replaced.
    ///
    /// # Errors
    /// A module cannot be built, or Envoy does not start.
    pub fn start(binary: &EnvoyBinary, wanted: &Wanted) -> Result<Self, StartError> {
        Self::start_from(binary, CONFIG, wanted)
    }

    /// The same from another config of the repository, whose listener and cluster have the same names.
    ///
    /// # Errors
    /// A module cannot be built, or Envoy does not start.
    pub fn start_from(binary: &EnvoyBinary, config: &str, wanted: &Wanted) -> Result<Self, StartError> {
        let (vendor, key) = match wanted.backend {
            Backend::OpenAi => (None, None),
            Backend::BuiltIn { pace } => {
                let vendor =
                    Vendor::start(vendor::Options { key: VENDOR_KEY.to_owned(), pace, ..Default::default() });
                (Some(vendor), Some((KEY.to_owned(), VENDOR_KEY.to_owned())))
            }
        };
        let render = render(config, wanted, vendor.as_ref().map(Vendor::addr))?.built_wasm();
        Ok(Self { envoy: Envoy::start(binary, render, options(key))?, vendor })
    }

    /// Starts the shipped config before a vendor that is somebody else's, with another configuration of ai-proxy if one
    /// is given.
    ///
    /// # Errors
    /// A module cannot be built, or Envoy does not start.
    pub fn start_before(
        binary: &EnvoyBinary,
        plugin: Option<&Value>,
        vendor: SocketAddr,
    ) -> Result<Self, StartError> {
        let mut render = Render::from_file(workspace_root().join(CONFIG))?
            .cluster_endpoint(CLUSTER, vendor, Transport::Plain)
            .built_wasm();
        if let Some(plugin) = plugin {
            render = render.wasm_config(PLUGIN, plugin);
        }
        let options = options(Some((KEY.to_owned(), VENDOR_KEY.to_owned())));
        Ok(Self { envoy: Envoy::start(binary, render, options)?, vendor: None })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.envoy.addr(LISTENER)
    }

    /// The Envoy.
    pub fn envoy(&self) -> &Envoy {
        &self.envoy
    }

    /// The built-in vendor; `None` if it is the real one.
    pub fn vendor(&self) -> Option<&Vendor> {
        self.vendor.as_ref()
    }

    pub(super) fn is_running(&mut self) -> bool {
        self.envoy.is_running()
    }

    pub(super) fn log_tail(&self) -> String {
        let log = self.envoy.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }
}

fn options(key: Option<(String, String)>) -> envoy::Options {
    envoy::Options {
        component_log_level: "wasm:info".to_owned(),
        variables: key.into_iter().collect(),
        ..envoy::Options::default()
    }
}

fn render(config: &str, wanted: &Wanted, vendor: Option<SocketAddr>) -> Result<Render, RenderError> {
    let render = Render::from_file(workspace_root().join(config))?
        .listener_port(LISTENER, wanted.port)
        .admin_port(wanted.admin_port);
    Ok(match vendor {
        Some(address) => render.cluster_endpoint(CLUSTER, address, Transport::Plain),
        None => render,
    })
}

/// Whether nobody listens there; 0, which is any port, always is free.
pub(super) fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The shipped config and the demo's, both without what the demo may replace.
    fn compare(backend: Backend, vendor: Option<SocketAddr>, replaced: &[&str]) -> Value {
        let wanted = Wanted { port: 8080, admin_port: 8081, backend };
        let rendered = render(CONFIG, &wanted, vendor).unwrap().finish().unwrap();
        let text = std::fs::read_to_string(workspace_root().join(CONFIG)).unwrap();
        let mut documents = [rendered.clone(), envoy::render::parse_yaml(&text).unwrap().remove(0)];
        for document in &mut documents {
            let addresses = ["/admin/address", "/static_resources/listeners/0/address"];
            for pointer in addresses.iter().chain(replaced) {
                let (parent, key) = pointer.rsplit_once('/').unwrap();
                document.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key);
            }
        }
        assert_eq!(documents[0], documents[1]);
        rendered
    }

    #[test]
    fn the_real_vendor_is_reached_as_the_shipped_config_says() {
        let rendered = compare(Backend::OpenAi, None, &[]);
        let listens = &rendered["static_resources"]["listeners"][0]["address"]["socket_address"];
        assert_eq!(listens, &json!({ "address": "127.0.0.1", "port_value": 8080 }));
        let admin = &rendered["admin"]["address"]["socket_address"];
        assert_eq!(admin, &json!({ "address": "127.0.0.1", "port_value": 8081 }));
        let cluster = &rendered["static_resources"]["clusters"][0];
        assert_eq!(cluster["transport_socket"]["typed_config"]["sni"], "api.openai.com");
    }

    #[test]
    fn the_built_in_vendor_replaces_the_endpoint_alone() {
        let cluster = "/static_resources/clusters/0";
        let replaced = ["type", "dns_lookup_family", "load_assignment", "transport_socket"];
        let replaced = replaced.map(|key| format!("{cluster}/{key}"));
        let replaced: Vec<&str> = replaced.iter().map(String::as_str).collect();
        let backend = Backend::BuiltIn { pace: Duration::ZERO };
        let rendered = compare(backend, Some(SocketAddr::from(([127, 0, 0, 1], 8082))), &replaced);
        let endpoint =
            rendered.pointer(cluster).unwrap()["load_assignment"]["endpoints"][0]["lb_endpoints"][0].clone();
        let address = json!({ "socket_address": { "address": "127.0.0.1", "port_value": 8082 } });
        assert_eq!(endpoint["endpoint"]["address"], address);
    }
}
