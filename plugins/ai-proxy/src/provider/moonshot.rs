//! Moonshot AI, Kimi: <https://platform.moonshot.cn/docs>.

use common::json::{Kind, Object, Patch};
use common::llm::api::Api;

use super::{Profile, Provider};

pub(super) static PROFILE: Profile = Profile {
    settings: super::own::<Moonshot>(),
    ..Profile::new(
        "moonshot",
        "api.moonshot.cn",
        &[
            (Api::ChatCompletions, "/v1/chat/completions"),
            (Api::Models, "/v1/models"),
            (Api::Model, "/v1/models/{model_id}"),
        ],
    )
};

common::settings! {
    struct Moonshot {}
}

impl Provider for Moonshot {
    fn profile(&self) -> &'static Profile {
        &PROFILE
    }

    fn edits_chunks(&self) -> bool {
        true
    }

    /// Usage stands in a choice at the end of a stream: <https://platform.moonshot.cn/docs/api/chat>.
    fn edit_chunk(&self, chunk: &Object<'_>, patch: &mut Patch<'_>) {
        let choices = chunk.get("choices").and_then(|choices| choices.elements());
        for choice in choices.into_iter().flatten().filter_map(|choice| choice.object()) {
            let Some(usage) = choice.get("usage") else { continue };
            patch.remove(&choice, &["usage"]);
            if usage.kind() == Kind::Object && chunk.get("usage").is_none_or(|own| own.kind() == Kind::Null) {
                patch.set(chunk, "usage", usage.text());
            }
        }
    }
}
