//! Entry points that no plugin needs, taken out of modules.
//!
//! The SDK exports one for everything that a proxy may ask of a module. An HTTP filter that makes no calls of gRPC and
//! has no queues never hears of those, yet what they reach is some sixteen kilobytes of every plugin. What a plugin says it
//! does not hear goes as well, which spares Envoy a call of each in every exchange.

use common::filter::Callbacks;
use walrus::{Module, ModuleConfig};

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
    let mut module = parse(module)?;
    let section = module.customs.remove_raw(Callbacks::SECTION);
    let callbacks = section.and_then(|section| section.data.first().copied()).map(Callbacks::from_bits);
    let is_heard = |name: &str| callbacks.is_none_or(|callbacks| callbacks.has(name));
    keep(&mut module, |name| USED.contains(&name) && is_heard(name));
    Some(module.emit_wasm())
}

/// The module without the entry points that another one lacks.
pub(super) fn keep_those_of(other: &[u8], module: &[u8]) -> Option<Vec<u8>> {
    let (other, mut module) = (parse(other)?, parse(module)?);
    let known: Vec<_> = other.exports.iter().map(|export| export.name.as_str()).collect();
    keep(&mut module, |name| known.contains(&name));
    Some(module.emit_wasm())
}

fn parse(module: &[u8]) -> Option<Module> {
    ModuleConfig::new().generate_producers_section(false).parse(module).ok()
}

fn keep(module: &mut Module, is_kept: impl Fn(&str) -> bool) {
    let others = module.exports.iter().filter(|export| !is_kept(&export.name)).map(|export| export.id());
    for export in others.collect::<Vec<_>>() {
        module.exports.delete(export);
    }
    walrus::passes::gc::run(module);
}

#[cfg(test)]
mod tests {
    use walrus::{FunctionBuilder, RawCustomSection};

    use super::*;

    /// A module that exports functions of these names.
    fn module(names: &[&str], callbacks: Option<Callbacks>) -> Vec<u8> {
        let mut module = Module::default();
        for name in names {
            let function =
                FunctionBuilder::new(&mut module.types, &[], &[]).finish(Vec::new(), &mut module.funcs);
            module.exports.add(name, function);
        }
        if let Some(callbacks) = callbacks {
            module
                .customs
                .add(RawCustomSection { name: Callbacks::SECTION.to_owned(), data: vec![callbacks.bits()] });
        }
        module.emit_wasm()
    }

    fn exports(module: &[u8]) -> Vec<String> {
        parse(module).unwrap().exports.iter().map(|export| export.name.clone()).collect()
    }

    const ALL: [&str; 5] = [
        "proxy_on_request_body",
        "proxy_on_response_body",
        "proxy_on_log",
        "proxy_on_done",
        "proxy_on_queue_ready",
    ];

    #[test]
    fn what_a_module_does_not_hear_goes() {
        let kept = |callbacks| exports(&keep_used(&module(&ALL, callbacks)).unwrap());
        assert_eq!(kept(None), ALL[..4]);
        assert_eq!(kept(Some(Callbacks { response: true, log: true })), ALL[..3]);
        assert_eq!(kept(Some(Callbacks { response: false, log: false })), ALL[..1]);
        let bare = keep_used(&module(&ALL, Some(Callbacks { response: false, log: true }))).unwrap();
        assert_eq!(exports(&bare), ["proxy_on_request_body", "proxy_on_log"]);
        assert_eq!(parse(&bare).unwrap().customs.iter().count(), 0);
        assert!(keep_used(b"no module").is_none());
    }

    #[test]
    fn a_module_is_made_like_another() {
        let other = module(&["proxy_on_log", "another"], None);
        assert_eq!(exports(&keep_those_of(&other, &module(&ALL, None)).unwrap()), ["proxy_on_log"]);
    }
}
