//! The shipped gateway, running.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use crate::envoy::{self, Envoy, EnvoyBinary, Render, RenderError, StartError, Transport};
use crate::vendor::{self, Vendor};
use crate::workspace_root;

/// The very file that people deploy.
pub(super) const CONFIG: &str = "envoy/gateway.yaml";
/// Its listener.
const LISTENER: &str = "gateway";
/// Its cluster.
const CLUSTER: &str = "openai";
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
        let mut render = config()?
            .built_wasm()
            .listener_port(LISTENER, wanted.port)
            .admin_port(wanted.admin_port);
        let mut options =
            envoy::Options { component_log_level: "wasm:info".to_owned(), ..envoy::Options::default() };
        let vendor = match wanted.backend {
            Backend::OpenAi => None,
            Backend::BuiltIn { pace } => {
                let vendor = Vendor::start(vendor::Options { key: VENDOR_KEY.to_owned(), pace });
                render = render.cluster_endpoint(CLUSTER, vendor.addr(), Transport::Plain);
                options.variables.push(("OPENAI_API_KEY".to_owned(), VENDOR_KEY.to_owned()));
                Some(vendor)
            }
        };
        Ok(Self { envoy: Envoy::start(binary, render, options)?, vendor })
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

fn config() -> Result<Render, RenderError> {
    Render::from_file(workspace_root().join(CONFIG))
}

/// Whether nobody listens there; 0, which is any port, always is free.
pub(super) fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}
