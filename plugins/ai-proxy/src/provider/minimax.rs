//! MiniMax: <https://platform.minimaxi.com/document/ChatCompletion_v2>.

use common::config::{ConfigError, Node, Section};
use common::llm::api::Api;

use super::{Endpoint, Profile, Provider};

pub(super) static PROFILE: Profile = Profile {
    settings: super::own::<MiniMax>(),
    ..Profile::new("minimax", "api.minimax.chat", &[(Api::ChatCompletions, "/v1/text/chatcompletion_v2")])
};

common::settings! {
    struct MiniMax {
        /// `v2`, which is like OpenAI's. `pro`, the older one, is not carried and refused.
        minimax_api_type: String = "v2".to_owned(),
        /// Of `pro` alone, so without effect.
        minimax_group_id: String,
    }
}

impl Provider for MiniMax {
    fn profile(&self) -> &'static Profile {
        &PROFILE
    }

    fn endpoint(&self, node: &Node<'_>, _: &mut Section<'_>) -> Result<Endpoint, ConfigError> {
        if self.minimax_api_type == "pro" {
            let place = node.get("minimaxApiType");
            return Err(place.as_ref().unwrap_or(node).error("`pro` is not supported, use `v2`"));
        }
        Ok(PROFILE.endpoint())
    }
}
