//! Fireworks AI: <https://docs.fireworks.ai/api-reference>.

use common::llm::api::Api;

use super::Profile;

pub(super) static PROFILE: Profile = Profile {
    keeps_original_path: true,
    ..Profile::new(
        "fireworks",
        "api.fireworks.ai",
        &[
            (Api::ChatCompletions, "/inference/v1/chat/completions"),
            (Api::Completions, "/inference/v1/completions"),
            (Api::Models, "/inference/v1/models"),
            (Api::Model, "/inference/v1/models/{model_id}"),
        ],
    )
};
