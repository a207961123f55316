//! The ai-proxy plugin: carries the APIs that LLM clients speak to the vendor that is configured.
//!
//! | to find | look in |
//! |---|---|
//! | the life of one exchange | `filter` |
//! | settings that every provider shares, which provider is active | `config` |
//! | a vendor: host, paths, auth, its own settings and oddities | `provider::<vendor>` |
//! | the path that goes upstream | `path` |
//! | which key is sent, and which of the client's headers are not | `credential` |
//! | which key is chosen, and which comes next when it fails | `keys` |
//! | keys taken out of use, and their health checks | `failover`, `health` |
//! | a failed request sent again | `retry`; `status` has the patterns |
//! | a file put into every chat | `context` |
//! | which model is asked for | `model_mapping` |
//! | edits of a request body | `body` |
//! | `/v1/models` answered from the configuration | `models` |

mod body;
mod config;
mod context;
mod credential;
mod failover;
mod filter;
mod health;
mod keys;
mod model_mapping;
mod models;
mod path;
mod provider;
mod retry;
mod status;

pub use config::Config;
pub use filter::AiProxy;

common::plugin!(AiProxy);
