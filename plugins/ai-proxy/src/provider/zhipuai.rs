//! Zhipu AI, Z.ai: <https://docs.bigmodel.cn/api-reference>.

use common::config::{ConfigError, Node, Section};
use common::json::{Object, Patch};
use common::llm::api::Api;

use super::{Endpoint, Profile, Provider, custom_url};
use translate::{Manner, Thinking};

pub(super) static PROFILE: Profile = Profile {
    manner: Manner { thinking: Thinking::Switch, ..Manner::OPENAI },
    settings: super::own::<ZhipuAi>(),
    ..Profile::new(
        "zhipuai",
        "open.bigmodel.cn",
        &[
            (Api::ChatCompletions, "/api/paas/v4/chat/completions"),
            (Api::Embeddings, "/api/paas/v4/embeddings"),
        ],
    )
};

/// Where chats of a coding plan go.
const CODE_PLAN: &str = "/api/coding/paas/v4/chat/completions";

common::settings! {
    struct ZhipuAi {
        /// The international host is `api.z.ai`.
        zhipu_domain: String,
        /// Chats are those of a coding plan.
        zhipu_code_plan_mode: bool,
    }
}

impl Provider for ZhipuAi {
    fn profile(&self) -> &'static Profile {
        &PROFILE
    }

    fn endpoint(&self, node: &Node<'_>, _: &mut Section<'_>) -> Result<Endpoint, ConfigError> {
        let mut endpoint = PROFILE.endpoint().at(custom_url::host(&self.zhipu_domain, "zhipuDomain", node)?);
        for (api, path) in &mut endpoint.apis {
            if *api == Api::ChatCompletions && self.zhipu_code_plan_mode {
                CODE_PLAN.clone_into(path);
            }
        }
        Ok(endpoint)
    }

    /// A model thinks or does not; there is no measure of it: <https://docs.bigmodel.cn/cn/guide/capabilities/thinking>.
    fn edit(&self, api: Api, body: &Object<'_>, patch: &mut Patch<'_>) {
        let effort = body.get("reasoning_effort").filter(|_| api == Api::ChatCompletions);
        let effort = effort.and_then(|effort| effort.as_str()).filter(|effort| !effort.is_empty());
        let Some(effort) = effort else { return };
        let thinks = !matches!(&*effort, "none" | "minimal");
        patch.remove(body, &["reasoning_effort"]);
        let thinking: &[u8] = if thinks { br#"{"type":"enabled"}"# } else { br#"{"type":"disabled"}"# };
        patch.set(body, "thinking", thinking);
    }
}
