//! GitHub Models: <https://docs.github.com/en/rest/models/inference>.

use common::llm::api::Api;

use super::{Auth, Profile};

pub(super) static PROFILE: Profile = Profile {
    auth: Auth::BearerUnlessScheme,
    keeps_original_path: true,
    ..Profile::new(
        "github",
        "models.github.ai",
        &[(Api::ChatCompletions, "/inference/chat/completions"), (Api::Embeddings, "/inference/embeddings")],
    )
};
