//! The ai-statistics plugin: usage, latency and attributes of every AI exchange, in metrics, the access log and
//! traces. It looks at what passes and changes nothing.
//!
//! | to find | look in |
//! |---|---|
//! | the life of one exchange | `filter` |
//! | what can be configured | `config` |
//! | an attribute: where its value comes from and where it goes | `attribute` |
//! | the values that attributes of well-known keys have by themselves | `built_in` |
//! | calls of tools, put together from a stream | `tool_calls` |
//! | what is read of a request body | `request` |
//! | a response under way, and what attributes find in it | `response` |
//! | what OpenTelemetry calls operations, providers and ends | `conventions` |
//! | long values, cut | `text` |
//! | the JSON in the access log | `log` |
//! | counters and histograms, and how many there may be | `metrics` |

mod attribute;
mod built_in;
mod config;
mod conventions;
mod filter;
mod log;
mod metrics;
#[cfg(not(target_arch = "wasm32"))]
mod reference;
mod request;
mod response;
mod text;
mod tool_calls;

pub use config::Config;
pub use filter::AiStatistics;
#[cfg(not(target_arch = "wasm32"))]
pub use reference::reference;

common::plugin!(AiStatistics);
