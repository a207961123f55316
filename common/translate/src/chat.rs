//! What is read of chats by all who make something else of them.

use common::json::{self, Kind, Object, Raw};

/// Where vendors put a model's thinking.
const THINKING: [&str; 2] = ["reasoning", "reasoning_content"];

/// A message's or a delta's thinking, as it stands inside its quotes.
pub(super) fn thinking<'a>(message: &Object<'a>) -> Option<&'a [u8]> {
    let mut texts = THINKING.iter().filter_map(|name| message.get(name)?.escaped());
    texts.find(|text| !text.is_empty())
}

/// Why a chat ended. Some vendors write nothing as a text.
pub(super) fn finish_reason(value: Raw<'_>) -> Option<String> {
    let reason = value.as_str().filter(|reason| !matches!(&**reason, "" | "null"))?;
    Some(reason.into_owned())
}

/// The number of a choice or a call; the first where none is said.
pub(super) fn index(object: &Object<'_>) -> u64 {
    object.get("index").and_then(|index| index.as_u64()).unwrap_or(0)
}

/// The arguments of a call as the object that they are the text of; what is none is an empty one.
pub(super) fn arguments(value: Option<Raw<'_>>) -> Vec<u8> {
    let empty = || b"{}".to_vec();
    let Some(value) = value else { return empty() };
    if value.kind() == Kind::Object {
        return value.text().to_vec();
    }
    match value.as_str() {
        // Nothing nested is proven to be JSON by finding an object's members.
        Some(text) if json::object(text.as_bytes()).is_ok() && json::tree(text.as_bytes()).is_ok() => {
            text.trim().as_bytes().to_vec()
        }
        _ => empty(),
    }
}
