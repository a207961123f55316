//! DeepSeek: <https://api-docs.deepseek.com>. It also speaks Anthropic's Messages, with Anthropic's
//! header for the key: <https://api-docs.deepseek.com/guides/anthropic_api>.

use common::llm::api::Api;

use super::{Auth, Profile, Provider};

pub(super) static PROFILE: Profile = Profile {
    keeps_original_path: true,
    settings: super::own::<DeepSeek>(),
    ..Profile::new(
        "deepseek",
        "api.deepseek.com",
        &[
            (Api::ChatCompletions, "/v1/chat/completions"),
            (Api::Models, "/v1/models"),
            (Api::Model, "/v1/models/{model_id}"),
            (Api::AnthropicMessages, "/anthropic/v1/messages"),
        ],
    )
};

common::settings! {
    struct DeepSeek {}
}

impl Provider for DeepSeek {
    fn profile(&self) -> &'static Profile {
        &PROFILE
    }

    fn auth(&self, api: Api) -> Auth {
        if api == Api::AnthropicMessages { Auth::Header("x-api-key") } else { PROFILE.auth }
    }
}
