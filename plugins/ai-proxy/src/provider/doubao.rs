//! Doubao, Volcengine Ark: <https://www.volcengine.com/docs/82379/1298454>.

use common::config::{ConfigError, Node, Section};
use common::json::{Object, Patch};
use common::llm::api::Api;

use super::{Endpoint, Profile, Provider, custom_url};

pub(super) static PROFILE: Profile = Profile {
    settings: super::own::<Doubao>(),
    ..Profile::new(
        "doubao",
        "ark.cn-beijing.volces.com",
        &[
            (Api::ChatCompletions, "/api/v3/chat/completions"),
            (Api::Embeddings, "/api/v3/embeddings"),
            (Api::ImageGeneration, "/api/v3/images/generations"),
            (Api::Responses, "/api/v3/responses"),
        ],
    )
};

common::settings! {
    struct Doubao {
        /// The host of another region, such as `ark.ap-southeast.bytepluses.com`.
        doubao_domain: String,
    }
}

impl Provider for Doubao {
    fn profile(&self) -> &'static Profile {
        &PROFILE
    }

    fn endpoint(&self, node: &Node<'_>, _: &mut Section<'_>) -> Result<Endpoint, ConfigError> {
        Ok(PROFILE.endpoint().at(custom_url::host(&self.doubao_domain, "doubaoDomain", node)?))
    }

    /// Responses know less than OpenAI's, and images have a watermark unless they are asked not to:
    /// <https://www.volcengine.com/docs/82379/1541523>.
    fn edit(&self, api: Api, body: &Object<'_>, patch: &mut Patch<'_>) {
        match api {
            Api::Responses => patch.remove(body, &["parallel_tool_calls", "tool_choice"]),
            Api::ImageGeneration if body.get("watermark").is_none() => patch.set(body, "watermark", b"false"),
            _ => {}
        }
    }
}
