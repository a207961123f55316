//! The model that a request names in its body: which requests may, where it stands, how it is replaced.
//!
//! model-mapper and model-router stand on this. Both leave alone whatever they cannot read.

mod body;
mod scope;

pub use body::{Document, Glance, Key, Model, NoModel, Reader};
pub use scope::{Scope, Settings};
