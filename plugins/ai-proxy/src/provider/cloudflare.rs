//! Cloudflare Workers AI: <https://developers.cloudflare.com/workers-ai/configuration/open-ai-compatibility/>.

use common::config::{ConfigError, Node, Section};
use common::llm::api::Api;

use super::{Endpoint, Profile, Provider};

pub(super) static PROFILE: Profile = Profile {
    settings: super::own::<Cloudflare>(),
    ..Profile::new(
        "cloudflare",
        "api.cloudflare.com",
        &[
            (Api::ChatCompletions, "/client/v4/accounts/{account}/ai/v1/chat/completions"),
            (Api::Embeddings, "/client/v4/accounts/{account}/ai/v1/embeddings"),
        ],
    )
};

common::settings! {
    struct Cloudflare {
        /// Required.
        cloudflare_account_id: String,
    }
}

impl Provider for Cloudflare {
    fn profile(&self) -> &'static Profile {
        &PROFILE
    }

    fn endpoint(&self, node: &Node<'_>, _: &mut Section<'_>) -> Result<Endpoint, ConfigError> {
        if self.cloudflare_account_id.is_empty() {
            return Err(node.error("missing cloudflareAccountId in provider config"));
        }
        let mut endpoint = PROFILE.endpoint();
        for (_, path) in &mut endpoint.apis {
            *path = path.replace("{account}", &self.cloudflare_account_id);
        }
        Ok(endpoint)
    }
}
