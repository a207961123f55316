//! Ollama: <https://github.com/ollama/ollama/blob/main/docs/openai.md>.

use common::config::{ConfigError, Node, Section};
use common::llm::api::Api;

use super::{Endpoint, Keyless, Others, Profile, Provider};

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
        if self.ollama_server_host.is_empty() {
            return Err(node.error("missing ollamaServerHost in provider config"));
        }
        if self.ollama_server_port == 0 {
            return Err(node.error("missing ollamaServerPort in provider config"));
        }
        let authority = format!("{}:{}", self.ollama_server_host, self.ollama_server_port);
        Ok(Endpoint { authority: Some(authority), ..PROFILE.endpoint() })
    }
}
