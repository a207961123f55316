//! What is read of chats by all who make something else of them.

use common::http::Fault;
use common::json::{self, Kind, Object, Raw};

use super::Dropped;
use super::place::Place;
use super::read::{is_blank, member, name_others};

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

/// The choice that a chat or a chunk begins with: of a translated one there is no other.
pub(super) fn choice<'a>(chat: &Object<'a>) -> Option<Object<'a>> {
    chat.get("choices")?.first()?.object()
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

/// A list of a chat's, empty where there is none.
///
/// # Errors
/// There is something else.
pub(super) fn list<'a>(chat: &Object<'a>, name: &str) -> Result<Vec<Raw<'a>>, Fault> {
    match member(chat, name) {
        None => Ok(Vec::new()),
        list => Place::of(name).list(list, "a list"),
    }
}

/// Names the members that have none of these names and ask for what would not be so anyway.
pub(super) fn drop_others(object: &Object<'_>, of: &str, known: &[&str], dropped: &mut Dropped) {
    name_others(object, of, known, is_no_request, dropped);
}

/// Whether a member says nothing, or asks for what is done unasked.
pub(super) fn is_no_request(name: &str, value: Raw<'_>) -> bool {
    match name {
        _ if is_blank(value) => true,
        "n" => value.as_u64() == Some(1),
        "presence_penalty" | "frequency_penalty" => value.as_f64() == Some(0.0),
        "logprobs" | "store" | "include_obfuscation" => value.as_bool() == Some(false),
        "top_logprobs" => value.as_u64() == Some(0),
        "service_tier" | "detail" => value.is("auto"),
        "verbosity" => value.is("medium"),
        _ => false,
    }
}

/// What is said to a client in text instead of sound would be no answer to it.
///
/// # Errors
/// The chat asks for sound.
pub(super) fn refuse_audio(chat: &Object<'_>) -> Result<(), Fault> {
    if let Some(modes) = member(chat, "modalities")
        && !modes.elements().is_some_and(|modes| modes.iter().all(|mode| mode.is("text")))
    {
        return Err(Place::of("modalities").expected("text only, the upstream gives no other answers"));
    }
    match member(chat, "audio") {
        Some(_) => Err(Place::of("audio").expected("none, the upstream answers in text only")),
        None => Ok(()),
    }
}
