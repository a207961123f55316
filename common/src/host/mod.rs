//! Envoy behind [`Env`](crate::filter::Env) and [`Host`](crate::filter::Host); the only place with
//! host calls. It speaks proxy-wasm's ABI 0.2.1 itself: what an SDK brings for every kind of plugin would be a third
//! of a small module.

mod alloc;
mod entry;
mod envoy;
mod ffi;

pub use entry::start;

#[global_allocator]
static POOL: alloc::Pool = alloc::Pool::new();
