//! Reading of what clients and vendors send, and what is said of what cannot be read.

use common::http::Fault;
use common::json::{Kind, Object, ObjectWriter, Raw};

use super::Dropped;

/// The value of a member that says something.
pub(super) fn member<'a>(object: &Object<'a>, name: &str) -> Option<Raw<'a>> {
    object.get(name).filter(|value| value.kind() != Kind::Null)
}

/// Whether a member is this word.
pub(super) fn is_of(object: &Object<'_>, name: &str, word: &str) -> bool {
    object.get(name).is_some_and(|value| value.as_str().as_deref() == Some(word))
}

/// Whether a value is null, or has nothing in it.
pub(super) fn is_blank(value: Raw<'_>) -> bool {
    let text = value.text();
    match value.kind() {
        Kind::Null => true,
        Kind::Bool | Kind::Number => false,
        Kind::String => text.len() <= 2,
        Kind::Array | Kind::Object => {
            text.get(1..text.len().saturating_sub(1)).is_none_or(|inside| inside.trim_ascii().is_empty())
        }
    }
}

/// The JSON of a string; an empty one where there is none.
pub(super) fn string<'a>(value: Option<Raw<'a>>) -> &'a [u8] {
    value.filter(|value| value.kind() == Kind::String).map_or(br#""""#, |value| value.text())
}

/// A text that says something, as it stands inside its quotes.
pub(super) fn escaped<'a>(object: &Object<'a>, name: &str) -> Option<&'a [u8]> {
    object.get(name)?.escaped().filter(|text| !text.is_empty())
}

/// The client's mistake at a place, such as `messages.3.content`.
pub(super) fn misfit(place: &str, expected: &str) -> Fault {
    Fault::client(400, "invalid_request", format!("{place}: expected {expected}"))
}

/// A member that has to be a text.
pub(super) fn text<'a>(place: &str, object: &Object<'a>, name: &str) -> Result<Raw<'a>, Fault> {
    let value = object.get(name).filter(|value| value.kind() == Kind::String);
    value.ok_or_else(|| misfit(&format!("{place}.{name}"), "a text"))
}

/// A member that has to be an object.
pub(super) fn inner<'a>(place: &str, object: &Object<'a>, name: &str) -> Result<Object<'a>, Fault> {
    let inner = member(object, name).and_then(|inner| inner.object());
    inner.ok_or_else(|| misfit(&format!("{place}.{name}"), "an object"))
}

/// The elements of a list that have to be objects, each with its place.
pub(super) fn objects<'a>(
    place: &str,
    list: Raw<'a>,
    expected: &str,
) -> Result<Vec<(String, Object<'a>)>, Fault> {
    let elements = list.elements().ok_or_else(|| misfit(place, expected))?;
    let object = |(at, element): (usize, &Raw<'a>)| {
        let place = format!("{place}.{at}");
        let object = element.object().ok_or_else(|| misfit(&place, "an object"))?;
        Ok((place, object))
    };
    elements.iter().enumerate().map(object).collect()
}

/// The parts of a message's content.
pub(super) fn parts<'a>(place: &str, content: Raw<'a>) -> Result<Vec<(String, Object<'a>)>, Fault> {
    objects(&format!("{place}.content"), content, "a text or a list of content parts")
}

/// Copies the members of these names that say something.
pub(super) fn copy(from: &Object<'_>, names: &[&str], to: &mut ObjectWriter<'_>) {
    for name in names {
        if let Some(value) = member(from, name) {
            to.raw(name, value.text());
        }
    }
}

/// Names the members of an object of a chat's that say something and are not `known`.
pub(super) fn name_rest(
    object: &Object<'_>,
    place: &str,
    known: impl Fn(&str) -> bool,
    dropped: &mut Dropped,
) {
    for (name, value) in object.members() {
        let says_what_is_so_anyway = match &*name {
            "n" => value.as_u64() == Some(1),
            "presence_penalty" | "frequency_penalty" => value.as_f64() == Some(0.0),
            _ => false,
        };
        if !known(&name) && !is_blank(value) && !says_what_is_so_anyway {
            dropped.name(&format!("{place}{name}"));
        }
    }
}

/// A list of a chat's, empty where there is none.
pub(super) fn list<'a>(object: &Object<'a>, name: &str) -> Result<Vec<Raw<'a>>, Fault> {
    match member(object, name) {
        None => Ok(Vec::new()),
        Some(list) => list.elements().ok_or_else(|| misfit(name, "a list")),
    }
}

/// What is said to a client in text instead of sound would be no answer to it.
///
/// # Errors
/// The chat asks for sound.
pub(super) fn refuse_audio(chat: &Object<'_>) -> Result<(), Fault> {
    let is_text = |mode: &Raw<'_>| mode.as_str().as_deref() == Some("text");
    if let Some(modes) = member(chat, "modalities")
        && !modes.elements().is_some_and(|modes| modes.iter().all(is_text))
    {
        return Err(misfit("modalities", "text only, the upstream gives no other answers"));
    }
    match member(chat, "audio") {
        Some(_) => Err(misfit("audio", "none, the upstream answers in text only")),
        None => Ok(()),
    }
}
