//! vLLM: <https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html>.

use common::config::{ConfigError, Node, Section};
use common::llm::api::Api;

use super::{Endpoint, Keyless, Profile, Provider, custom_url};
use translate::Manner;

pub(super) static PROFILE: Profile = Profile {
    keyless: Keyless::ClientKeyIfAny,
    keeps_original_path: true,
    // Templates of many models refuse a message of the system's that comes late.
    manner: Manner { system_first: true, ..Manner::OPENAI },
    settings: super::own::<Vllm>(),
    ..Profile::new(
        "vllm",
        "vllm-service.cluster.local",
        &[
            (Api::ChatCompletions, "/v1/chat/completions"),
            (Api::Completions, "/v1/completions"),
            (Api::Embeddings, "/v1/embeddings"),
            (Api::CohereRerank, "/v1/rerank"),
            (Api::Models, "/v1/models"),
            (Api::Model, "/v1/models/{model_id}"),
        ],
    )
};

/// Ends of `vllmCustomUrl` that name one API.
const NAMED: &[&str] = &["/completions", "/rerank", "/embeddings", "/models"];

common::settings! {
    struct Vllm {
        /// A host, with a port or without.
        vllm_server_host: String,
        /// A URL, as `openaiCustomUrl`. It wins over `vllmServerHost`.
        vllm_custom_url: String,
    }
}

impl Provider for Vllm {
    fn profile(&self) -> &'static Profile {
        &PROFILE
    }

    fn endpoint(&self, node: &Node<'_>, section: &mut Section<'_>) -> Result<Endpoint, ConfigError> {
        if !self.vllm_custom_url.is_empty() {
            return custom_url::endpoint(
                &self.vllm_custom_url,
                "vllmCustomUrl",
                NAMED,
                &PROFILE,
                node,
                section,
            );
        }
        Ok(PROFILE.endpoint().at(custom_url::host(&self.vllm_server_host, "vllmServerHost", node)?))
    }
}
