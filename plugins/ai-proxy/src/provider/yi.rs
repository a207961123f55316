//! 01.AI, Yi: <https://platform.lingyiwanwu.com/docs>.

use common::llm::api::Api;

use super::Profile;

pub(super) static PROFILE: Profile =
    Profile::new("yi", "api.lingyiwanwu.com", &[(Api::ChatCompletions, "/v1/chat/completions")]);
