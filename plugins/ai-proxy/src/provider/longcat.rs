//! LongCat: <https://longcat.chat/platform/docs>. Its embeddings are undocumented.

use common::json::{Object, Patch};
use common::llm::api::Api;

use super::response_format::ResponseFormat;
use super::{Profile, Provider};

pub(super) static PROFILE: Profile = Profile {
    keeps_original_path: true,
    settings: super::own::<LongCat>(),
    ..Profile::new(
        "longcat",
        "api.longcat.chat",
        &[
            (Api::ChatCompletions, "/openai/v1/chat/completions"),
            (Api::AnthropicMessages, "/anthropic/v1/messages"),
            (Api::Embeddings, "/v1/embeddings"),
            (Api::Models, "/v1/models"),
            (Api::Model, "/v1/models/{model_id}"),
        ],
    )
};

common::settings! {
    struct LongCat {
        /// The `response_format` of every chat.
        response_json_schema: Option<ResponseFormat>,
    }
}

impl Provider for LongCat {
    fn profile(&self) -> &'static Profile {
        &PROFILE
    }

    fn edit(&self, api: Api, body: &Object<'_>, patch: &mut Patch<'_>) {
        ResponseFormat::apply(self.response_json_schema.as_ref(), api, body, patch);
    }
}
