//! Entry points that no plugin needs, taken out of modules.
//!
//! The SDK exports one for everything that a proxy may ask of a module. An HTTP filter that makes no calls of gRPC and
//! has no queues never hears of those, yet what they reach is some sixteen kilobytes of every plugin.

use walrus::ModuleConfig;

/// What Envoy asks of an HTTP filter that makes HTTP calls and has a timer; and what every module has.
const USED: [&str; 18] = [
    "_initialize",
    "memory",
    "proxy_abi_version_0_2_1",
    "proxy_on_configure",
    "proxy_on_context_create",
    "proxy_on_delete",
    "proxy_on_done",
    "proxy_on_http_call_response",
    "proxy_on_log",
    "proxy_on_memory_allocate",
    "proxy_on_request_body",
    "proxy_on_request_headers",
    "proxy_on_request_trailers",
    "proxy_on_response_body",
    "proxy_on_response_headers",
    "proxy_on_response_trailers",
    "proxy_on_tick",
    "proxy_on_vm_start",
];

/// The module without the others. `None`: it is no module that can be read.
pub(super) fn keep_used(module: &[u8]) -> Option<Vec<u8>> {
    let mut module = ModuleConfig::new().generate_producers_section(false).parse(module).ok()?;
    let is_unused = |name: &str| !USED.contains(&name);
    let unused: Vec<_> =
        module.exports.iter().filter(|export| is_unused(&export.name)).map(|export| export.id()).collect();
    for export in unused {
        module.exports.delete(export);
    }
    walrus::passes::gc::run(&mut module);
    Some(module.emit_wasm())
}
