//! What is read of a chat's answers by all who make something else of them.

use common::json::{Kind, Object, Raw};

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

/// The JSON of a string; an empty one where there is none.
pub(super) fn string<'a>(value: Option<Raw<'a>>) -> &'a [u8] {
    value.filter(|value| value.kind() == Kind::String).map_or(br#""""#, |value| value.text())
}
