//! The library every plugin stands on.
//!
//! Layers point one way, `host → filter → http → llm → json/framing`; a lower layer does not know a
//! higher one. Everything here but [`host`] is pure: it takes bytes, heads, times and randomness as
//! arguments and can be driven by a test as well as by Envoy.

pub mod config;
pub mod filter;
pub mod framing;
#[cfg(target_arch = "wasm32")]
pub mod host;
pub mod http;
pub mod json;
pub mod llm;
pub mod model;
#[cfg(feature = "testkit")]
pub mod testkit;

/// Makes a crate a loadable plugin: `common::plugin!(AiProxy);` in its `lib.rs`.
///
/// Natively it expands to nothing, so the crate links into tests.
#[macro_export]
macro_rules! plugin {
    ($filter:ident) => {
        #[cfg(target_arch = "wasm32")]
        mod entry_point {
            $crate::host::proxy_wasm::main! {{ $crate::host::start::<super::$filter>(); }}
            $crate::callbacks_section!($crate::filter::Callbacks::of::<super::$filter>());
        }
    };
}
