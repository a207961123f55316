//! Anthropic, Claude: <https://docs.anthropic.com/en/api/overview>. Clients speak its own API.

use common::http::Head;
use common::llm::api::Api;

use super::{Auth, Profile, Provider};

/// <https://docs.anthropic.com/en/api/versioning>
const VERSION: &str = "2023-06-01";

pub(super) static PROFILE: Profile = Profile {
    auth: Auth::Header("x-api-key"),
    tells_usage: true,
    // https://docs.anthropic.com/en/docs/build-with-claude/extended-thinking#thinking-encryption
    checks_signatures: true,
    settings: super::own::<Claude>(),
    ..Profile::new(
        "claude",
        "api.anthropic.com",
        &[
            (Api::AnthropicMessages, "/v1/messages"),
            (Api::MessagesCountTokens, "/v1/messages/count_tokens"),
            (Api::AnthropicComplete, "/v1/complete"),
            (Api::Completions, "/v1/complete"),
            (Api::Embeddings, "/v1/embeddings"),
            (Api::Models, "/v1/models"),
            (Api::Model, "/v1/models/{model_id}"),
            (Api::Files, "/v1/files"),
            (Api::RetrieveFile, "/v1/files/{file_id}"),
            (Api::RetrieveFileContent, "/v1/files/{file_id}/content"),
        ],
    )
};

common::settings! {
    struct Claude {
        /// Sent as `anthropic-version`; without it that is the client's, or else `2023-06-01`.
        claude_version: String,
        /// The same, by another name.
        api_version: String,
    }
}

impl Provider for Claude {
    fn profile(&self) -> &'static Profile {
        &PROFILE
    }

    fn edit_head(&self, head: &mut Head) {
        let versions = [&self.claude_version, &self.api_version];
        let version = versions.into_iter().map(|version| version.trim()).find(|version| !version.is_empty());
        match version {
            Some(version) => head.set("anthropic-version", version),
            // A client that speaks this very API knows which version of it.
            None if head.has("anthropic-version") => {}
            None => head.set("anthropic-version", VERSION),
        }
    }
}
