//! OpenRouter: <https://openrouter.ai/docs/api-reference/overview>.

use common::json::{Object, Patch};
use common::llm::api::Api;

use super::{Profile, Provider};
use translate::{Manner, Thinking};

pub(super) static PROFILE: Profile = Profile {
    keeps_original_path: true,
    manner: Manner { thinking: Thinking::Budget, ..Manner::OPENAI },
    settings: super::own::<OpenRouter>(),
    ..Profile::new(
        "openrouter",
        "openrouter.ai",
        &[(Api::ChatCompletions, "/api/v1/chat/completions"), (Api::Completions, "/api/v1/completions")],
    )
};

common::settings! {
    struct OpenRouter {}
}

impl Provider for OpenRouter {
    fn profile(&self) -> &'static Profile {
        &PROFILE
    }

    /// A budget for reasoning stands in an object of its own, and excludes an effort:
    /// <https://openrouter.ai/docs/use-cases/reasoning-tokens>.
    fn edit(&self, api: Api, body: &Object<'_>, patch: &mut Patch<'_>) {
        if api != Api::ChatCompletions {
            return;
        }
        let Some(budget) = body.get("reasoning_max_tokens").filter(|it| it.as_u64().is_some_and(|it| it > 0))
        else {
            return;
        };
        patch.remove(body, &["reasoning_effort", "reasoning_max_tokens"]);
        match body.get("reasoning").and_then(|reasoning| reasoning.object()) {
            Some(reasoning) => patch.set(&reasoning, "max_tokens", budget.text()),
            None => patch.set(body, "reasoning", &[br#"{"max_tokens":"#, budget.text(), b"}"].concat()),
        }
    }
}
