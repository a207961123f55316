//! Groq: <https://console.groq.com/docs/openai>.

use common::llm::api::Api;

use super::Profile;

pub(super) static PROFILE: Profile = Profile {
    keeps_original_path: true,
    ..Profile::new(
        "groq",
        "api.groq.com",
        &[(Api::ChatCompletions, "/openai/v1/chat/completions"), (Api::Responses, "/openai/v1/responses")],
    )
};
