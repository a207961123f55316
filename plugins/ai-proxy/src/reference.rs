//! The tables of keys that the README shows.

use common::config::reference::{Documented, rows};

use crate::config::{Container, Settings};
use crate::context::ContextSettings;
use crate::custom_settings::Entry;
use crate::failover::FailoverSettings;
use crate::provider;
use crate::retry::RetrySettings;

/// The generated parts of the README, by their names.
#[must_use]
pub fn reference() -> Vec<(&'static str, String)> {
    vec![
        ("keys at the top", rows(&[("", Container::KEYS)])),
        ("keys of a provider", rows(&[("", Settings::KEYS)])),
        ("keys of a custom setting", rows(&[("", Entry::KEYS)])),
        ("keys of failover", rows(&[("", FailoverSettings::KEYS)])),
        ("keys of retryOnFailure", rows(&[("", RetrySettings::KEYS)])),
        ("keys of context", rows(&[("", ContextSettings::KEYS)])),
        ("keys of single providers", rows(&provider::keys())),
    ]
}
