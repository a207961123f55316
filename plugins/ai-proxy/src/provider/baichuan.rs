//! Baichuan: <https://platform.baichuan-ai.com/docs/api>.

use common::llm::api::Api;

use super::Profile;

pub(super) static PROFILE: Profile = Profile::new(
    "baichuan",
    "api.baichuan-ai.com",
    &[(Api::ChatCompletions, "/v1/chat/completions"), (Api::Embeddings, "/v1/embeddings")],
);
