//! Reading of what clients and vendors send.

use common::json::{Kind, Object, ObjectWriter, Raw};

use super::Dropped;

/// The value of a member that says something.
pub(super) fn member<'a>(object: &Object<'a>, name: &str) -> Option<Raw<'a>> {
    object.get(name).filter(|value| value.kind() != Kind::Null)
}

/// Whether a member is this word.
pub(super) fn is_of(object: &Object<'_>, name: &str, word: &str) -> bool {
    object.get(name).is_some_and(|value| value.is(word))
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

/// The texts that say something, with this between them.
pub(super) fn joined<'a>(texts: impl IntoIterator<Item = &'a [u8]>, between: &'static [u8]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for text in texts.into_iter().filter(|text| !text.is_empty()) {
        if !pieces.is_empty() {
            pieces.push(between);
        }
        pieces.push(text);
    }
    pieces
}

/// Copies the members of these names that say something.
pub(super) fn copy(from: &Object<'_>, names: &[&str], to: &mut ObjectWriter<'_>) {
    for name in names {
        if let Some(value) = member(from, name) {
            to.raw(name, value.text());
        }
    }
}

/// Names the members that have none of these names and say something. `of` is what the object itself is called.
pub(super) fn name_others(
    object: &Object<'_>,
    of: &str,
    known: &[&str],
    says_nothing: fn(&str, Raw<'_>) -> bool,
    dropped: &mut Dropped,
) {
    for (name, value) in object.others(known) {
        if !says_nothing(&name, value) {
            dropped.member(of, &name);
        }
    }
}
