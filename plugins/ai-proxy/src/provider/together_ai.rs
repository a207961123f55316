//! Together AI: <https://docs.together.ai/docs/openai-api-compatibility>.

use common::llm::api::Api;

use super::Profile;

pub(super) static PROFILE: Profile = Profile {
    keeps_original_path: true,
    ..Profile::new("together-ai", "api.together.xyz", &[(Api::ChatCompletions, "/v1/chat/completions")])
};
