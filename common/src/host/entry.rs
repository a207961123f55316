//! The entry points that Envoy calls, handed on to the [driver](crate::filter::driver).

use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action as HostAction, ContextType};

use super::envoy::Envoy;
use super::ffi;
use crate::filter::Filter;
use crate::filter::driver::{Action, Exchange, Plugin};
use crate::filter::root::Root;

/// Buffer kinds of the host that only configuration uses.
const PLUGIN_CONFIGURATION: u32 = 7;

/// Registers a plugin; [`plugin!`](crate::plugin) calls it when the module is loaded.
pub fn start<F: Filter>() {
    // The SDK's panic hook, which puts the panic into Envoy's log. Lines are filtered by `Env::log`.
    proxy_wasm::set_log_level(proxy_wasm::types::LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Configured::<F>(None)));
}

/// A root context; it has nothing before it is configured.
struct Configured<F: Filter>(Option<Root<F>>);

impl<F: Filter> Context for Configured<F> {
    fn on_http_call_response(&mut self, token: u32, headers: usize, body_size: usize, _trailers: usize) {
        if let Some(root) = &mut self.0 {
            root.call_answer(&Envoy, token, headers, body_size);
        }
    }
}

impl<F: Filter> RootContext for Configured<F> {
    fn on_configure(&mut self, size: usize) -> bool {
        let bytes = if size == 0 {
            Vec::new()
        } else {
            // Absent and unreadable are the same here: the parser says what is missing.
            ffi::buffer(PLUGIN_CONFIGURATION, 0, size).ok().flatten().unwrap_or_default()
        };
        match Plugin::configure(&bytes, &|name| std::env::var(name).ok(), &Envoy) {
            Ok(plugin) => {
                self.0 = Some(Root::start(Rc::new(plugin), &Envoy));
                true
            }
            // [rule 15] Envoy refuses the start or the update, and keeps what ran before.
            Err(_) => false,
        }
    }

    fn on_tick(&mut self) {
        if let Some(root) = &mut self.0 {
            root.tick(&Envoy);
        }
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(match &self.0 {
            Some(root) => Box::new(Stream { exchange: Exchange::new(Rc::clone(root.plugin())) }),
            None => Box::new(Unconfigured),
        })
    }
}

/// A stream of a plugin whose configuration was refused; Envoy does not send it any.
struct Unconfigured;

impl Context for Unconfigured {}
impl HttpContext for Unconfigured {}

struct Stream<F: Filter> {
    exchange: Exchange<F>,
}

impl<F: Filter> Context for Stream<F> {
    fn on_http_call_response(&mut self, token: u32, headers: usize, body_size: usize, _trailers: usize) {
        self.exchange.call_answer(&Envoy, token, headers, body_size);
    }
}

/// When Envoy deletes the stream: after its log, if that was heard, and before another attempt in a cluster's upstream
/// chain.
impl<F: Filter> Drop for Stream<F> {
    fn drop(&mut self) {
        self.exchange.end(&Envoy);
    }
}

impl<F: Filter> HttpContext for Stream<F> {
    fn on_http_request_headers(&mut self, _: usize, end: bool) -> HostAction {
        told(self.exchange.request_head(&Envoy, end))
    }

    fn on_http_request_body(&mut self, size: usize, end: bool) -> HostAction {
        told(self.exchange.request_body(&Envoy, size, end))
    }

    fn on_http_request_trailers(&mut self, _: usize) -> HostAction {
        told(self.exchange.request_trailers(&Envoy))
    }

    fn on_http_response_headers(&mut self, _: usize, end: bool) -> HostAction {
        told(self.exchange.response_head(&Envoy, end))
    }

    fn on_http_response_body(&mut self, size: usize, end: bool) -> HostAction {
        told(self.exchange.response_body(&Envoy, size, end))
    }

    fn on_http_response_trailers(&mut self, _: usize) -> HostAction {
        told(self.exchange.response_trailers(&Envoy))
    }

    fn on_log(&mut self) {
        if F::ENDS_BEFORE_LOG {
            self.exchange.end(&Envoy);
        }
    }
}

fn told(action: Action) -> HostAction {
    match action {
        Action::Continue => HostAction::Continue,
        Action::Pause => HostAction::Pause,
    }
}
