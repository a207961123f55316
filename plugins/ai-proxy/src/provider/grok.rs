//! xAI, Grok: <https://docs.x.ai/docs/api-reference>.

use common::llm::api::Api;

use super::Profile;

pub(super) static PROFILE: Profile = Profile {
    keeps_original_path: true,
    ..Profile::new("grok", "api.x.ai", &[(Api::ChatCompletions, "/v1/chat/completions")])
};
