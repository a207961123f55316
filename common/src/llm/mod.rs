//! What vendors publish: their APIs, their dialects, the shapes of their errors.

pub mod api;
pub mod dialect;
pub mod error;
pub mod model_mapping;
pub mod tokens;
pub mod usage;
