//! The tables of keys that the README shows.

use common::config::reference::{Documented, rows};

use crate::attribute;
use crate::config::Settings;

/// The generated parts of the README, by their names.
#[must_use]
pub fn reference() -> Vec<(&'static str, String)> {
    vec![
        ("keys at the top", rows(&[("", Settings::KEYS)])),
        ("keys of an attribute", rows(&[("", attribute::Settings::KEYS)])),
    ]
}
