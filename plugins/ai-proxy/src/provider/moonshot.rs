//! Moonshot AI, Kimi: <https://platform.moonshot.cn/docs>.

use common::config::reference::Setting;
use common::json::{Kind, Object, Patch};
use common::llm::api::Api;
use serde::de::{Deserialize, Deserializer};

use super::{Profile, Provider};
use crate::path::segment;

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
    struct Moonshot {
        /// A file that was uploaded there: its text goes into every chat, as that of a `context`, which it excludes.
        // Each worker fetches it once: <https://platform.moonshot.cn/docs/api/files>.
        moonshot_file_id: FileId as "text",
    }
}

/// Where the text of the file stands.
#[derive(Default)]
struct FileId(Option<String>);

impl<'de> Deserialize<'de> for FileId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let id = String::deserialize(deserializer)?;
        let id = id.trim();
        Ok(Self((!id.is_empty()).then(|| format!("/v1/files/{}/content", segment(id)))))
    }
}

impl Setting for FileId {
    const KIND: &'static str = "text";

    fn shown(&self) -> String {
        String::new()
    }
}

impl Provider for Moonshot {
    fn profile(&self) -> &'static Profile {
        &PROFILE
    }

    fn file(&self) -> Option<&str> {
        self.moonshot_file_id.0.as_deref()
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
