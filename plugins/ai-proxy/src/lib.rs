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
//! | edits of a request body | `body` |
//! | parameters that a configuration adds to requests | `custom_settings` |
//! | the model in an upload | `form` |
//! | which messages of a chat go upstream | `conversation` |
//! | edits of an answer, whole or streamed | `answer` |
//! | an API that a vendor lacks, carried over one that it has | `translate` |
//! | tokens of a message counted where the vendor does not | `count_tokens` |
//! | `/v1/models` answered from the configuration | `models` |

mod answer;
mod attempt;
mod body;
mod config;
mod context;
mod conversation;
mod count_tokens;
mod credential;
mod custom_settings;
mod failover;
mod filter;
mod form;
mod health;
mod keys;
mod models;
mod path;
mod provider;
#[cfg(not(target_arch = "wasm32"))]
mod reference;
mod retry;
mod status;

pub use config::Config;
pub use filter::AiProxy;
#[cfg(not(target_arch = "wasm32"))]
pub use reference::reference;

common::plugin!(AiProxy);
