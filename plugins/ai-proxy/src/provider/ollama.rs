//! Ollama: <https://github.com/ollama/ollama/blob/main/docs/openai.md>.

use common::config::{ConfigError, Node, Section};
use common::llm::api::Api;

use super::{Endpoint, Keyless, Others, Profile, Provider, custom_url};

pub(super) static PROFILE: Profile = Profile {
    keyless: Keyless::AsSent,
    others: Others::Sent,
    keeps_original_path: true,
    settings: super::own::<Ollama>(),
    ..Profile::new(
        "ollama",
        "",
        &[
            (Api::ChatCompletions, "/v1/chat/completions"),
            (Api::Embeddings, "/v1/embeddings"),
            (Api::Models, "/v1/models"),
            (Api::Model, "/v1/models/{model_id}"),
        ],
    )
};

common::settings! {
    struct Ollama {
        /// Required.
        ollama_server_host: String,
        /// Required.
        ollama_server_port: u16,
    }
}

impl Provider for Ollama {
    fn profile(&self) -> &'static Profile {
        &PROFILE
    }

    fn endpoint(&self, node: &Node<'_>, _: &mut Section<'_>) -> Result<Endpoint, ConfigError> {
        let Some(host) = custom_url::host(&self.ollama_server_host, "ollamaServerHost", node)? else {
            return Err(node.error("missing ollamaServerHost in provider config"));
        };
        if self.ollama_server_port == 0 {
            return Err(node.error("missing ollamaServerPort in provider config"));
        }
        Ok(PROFILE.endpoint().at(Some(format!("{host}:{}", self.ollama_server_port))))
    }
}
