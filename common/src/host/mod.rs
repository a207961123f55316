//! Envoy behind [`Env`](crate::filter::Env) and [`Host`](crate::filter::Host); the only place with
//! host calls and the only user of the proxy-wasm SDK.

mod alloc;
mod entry;
mod envoy;
mod ffi;

pub use entry::start;
#[doc(hidden)]
pub use proxy_wasm;

#[global_allocator]
static POOL: alloc::Pool = alloc::Pool::new();
