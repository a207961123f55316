//! StepFun: <https://platform.stepfun.com/docs>.

use common::llm::api::Api;

use super::Profile;

pub(super) static PROFILE: Profile =
    Profile::new("stepfun", "api.stepfun.com", &[(Api::ChatCompletions, "/v1/chat/completions")]);
