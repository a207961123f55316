//! Moonshot AI, Kimi: <https://platform.moonshot.cn/docs>.

use common::llm::api::Api;

use super::Profile;

pub(super) static PROFILE: Profile = Profile::new(
    "moonshot",
    "api.moonshot.cn",
    &[
        (Api::ChatCompletions, "/v1/chat/completions"),
        (Api::Models, "/v1/models"),
        (Api::Model, "/v1/models/{model_id}"),
    ],
);
