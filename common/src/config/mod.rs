//! The configuration of a plugin: read once, compiled to a ready-to-run value, with a JSON path in
//! every complaint.
//!
//! A document is one JSON object. All but its reserved keys is the global config; `_rules_` holds more
//! configs, each for the routes, domains or services that it names. Nothing falls back silently: what
//! is wrong is said, and where, and how much of the configuration it takes out of service.

mod error;
mod lenient;
mod load;
mod node;
mod protobuf_struct;
pub mod reference;
mod rules;
mod secret;
mod section;

pub use error::ConfigError;
pub use load::{Loaded, Variables, load};
pub use node::Node;
pub use rules::{RuleSet, Selected, Target};
pub use secret::Secret;
pub use section::Section;
