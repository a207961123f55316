//! Any vendor that needs no more than its host and a key: path and body go as the client sent them.

use common::config::{ConfigError, Node, Section};
use common::llm::api::Api;

use super::{Endpoint, Keyless, Others, Profile, Provider, custom_url};

pub(super) static PROFILE: Profile = Profile {
    keyless: Keyless::AsSent,
    others: Others::Sent,
    keeps_original_path: true,
    times_every_request: true,
    settings: super::own::<Generic>(),
    ..Profile::new("generic", "", &[])
};

common::settings! {
    struct Generic {
        /// The host that is sent upstream; without it the client's stays.
        generic_host: String,
    }
}

impl Provider for Generic {
    fn profile(&self) -> &'static Profile {
        &PROFILE
    }

    fn endpoint(&self, node: &Node<'_>, _: &mut Section<'_>) -> Result<Endpoint, ConfigError> {
        Ok(PROFILE.endpoint().at(custom_url::host(&self.generic_host, "genericHost", node)?))
    }

    fn edits(&self, _: Api) -> bool {
        false
    }
}
