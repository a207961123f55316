//! Mistral AI: <https://docs.mistral.ai/api>.

use common::llm::api::Api;

use super::Profile;
use translate::Manner;

pub(super) static PROFILE: Profile = Profile {
    keeps_original_path: true,
    // "Extra inputs are not permitted": https://github.com/charmbracelet/crush/issues/1590
    manner: Manner { takes_thinking: false, ..Manner::OPENAI },
    ..Profile::new(
        "mistral",
        "api.mistral.ai",
        &[(Api::ChatCompletions, "/v1/chat/completions"), (Api::Embeddings, "/v1/embeddings")],
    )
};
