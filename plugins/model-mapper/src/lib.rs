//! The model-mapper plugin: renames the model that a request asks for.
//!
//! | to find | look in |
//! |---|---|
//! | the life of one exchange | `filter` |
//! | what can be said in a configuration | `config` |
//! | which requests are read, and how a model is replaced | `common::model` |
//! | which name becomes which | `common::llm::model_mapping` |

mod config;
mod filter;

pub use config::Config;
#[cfg(not(target_arch = "wasm32"))]
pub use config::reference;
pub use filter::ModelMapper;

common::plugin!(ModelMapper);
