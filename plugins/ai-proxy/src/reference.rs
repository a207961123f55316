//! The tables of keys that the README shows.

use common::config::reference::{Documented, rows};

use crate::config::{Container, Settings};
use crate::provider;

/// The generated parts of the README, by their names.
#[must_use]
pub fn reference() -> Vec<(&'static str, String)> {
    vec![
        ("keys at the top", rows(&[("", Container::KEYS)])),
        ("keys of a provider", rows(&[("", Settings::KEYS)])),
        ("keys of single providers", rows(&provider::keys())),
    ]
}
