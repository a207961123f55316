//! `responseJsonSchema`: the `response_format` that every chat is to be answered in.

use common::config::reference::Setting;
use common::json::{Object, Patch};
use common::llm::api::Api;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// The JSON text of an object.
pub(super) struct ResponseFormat(Vec<u8>);

impl Setting for ResponseFormat {
    const KIND: &'static str = "object";
}

impl<'de> Deserialize<'de> for ResponseFormat {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = serde_json::Map::<String, serde_json::Value>::deserialize(deserializer)?;
        serde_json::to_vec(&object).map(Self).map_err(D::Error::custom)
    }
}

impl ResponseFormat {
    /// Replaces what the client asked for, in a chat.
    pub(super) fn apply(format: Option<&Self>, api: Api, body: &Object<'_>, patch: &mut Patch<'_>) {
        if let (Api::ChatCompletions, Some(Self(format))) = (api, format) {
            patch.set(body, "response_format", format);
        }
    }
}
