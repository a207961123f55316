//! 360 AI: <https://ai.360.com/platform/docs>. It takes the bare key, without a scheme.

use common::llm::api::Api;

use super::{Auth, Profile};

pub(super) static PROFILE: Profile = Profile {
    auth: Auth::Raw,
    ..Profile::new(
        "ai360",
        "api.360.cn",
        &[(Api::ChatCompletions, "/v1/chat/completions"), (Api::Embeddings, "/v1/embeddings")],
    )
};
