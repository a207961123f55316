//! Groq: <https://console.groq.com/docs/openai>.

use common::llm::api::Api;

use super::Profile;
use translate::Manner;

pub(super) static PROFILE: Profile = Profile {
    keeps_original_path: true,
    // "property 'reasoning_content' is unsupported": https://github.com/janhq/jan/issues/8136
    manner: Manner { takes_thinking: false, ..Manner::OPENAI },
    ..Profile::new(
        "groq",
        "api.groq.com",
        &[(Api::ChatCompletions, "/openai/v1/chat/completions"), (Api::Responses, "/openai/v1/responses")],
    )
};
