//! The model-router plugin: puts the model that a request asks for where Envoy can route by it.
//!
//! | to find | look in |
//! |---|---|
//! | the life of one exchange | `filter` |
//! | what can be said in a configuration | `config` |
//! | the header names, and what a header may carry | `headers` |
//! | a model chosen by what the user writes | `auto` |
//! | which requests are read, and how a model is replaced | `common::model` |

mod auto;
mod config;
mod filter;
mod headers;

pub use config::Config;
#[cfg(not(target_arch = "wasm32"))]
pub use config::reference;
pub use filter::ModelRouter;

common::plugin!(ModelRouter);
