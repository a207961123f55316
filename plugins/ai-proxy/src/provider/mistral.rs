//! Mistral AI: <https://docs.mistral.ai/api>.

use common::llm::api::Api;

use super::Profile;

pub(super) static PROFILE: Profile = Profile {
    keeps_original_path: true,
    ..Profile::new(
        "mistral",
        "api.mistral.ai",
        &[(Api::ChatCompletions, "/v1/chat/completions"), (Api::Embeddings, "/v1/embeddings")],
    )
};
