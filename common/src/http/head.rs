//! The head of a request or response: pseudo headers and fields, as bytes, with its edits recorded.

use std::ops::Range;

/// A copy of a head as the host gave it, plus the edits made since.
///
/// Names are lower case, as Envoy keeps them; values are bytes, because clients may send any.
/// Reading sees the edits; the host sees them when the driver applies [`Head::changes`].
#[derive(Debug, Default, Clone)]
pub struct Head {
    raw: Vec<u8>,
    original: Vec<(Range<usize>, Range<usize>)>,
    edits: Vec<Edit>,
}

#[derive(Debug, Clone)]
struct Edit {
    name: String,
    /// All values of the name from now on; empty = removed.
    values: Vec<Vec<u8>>,
}

/// One name whose values differ from what the host holds.
#[derive(Debug, PartialEq, Eq)]
pub struct Change<'a> {
    /// Lower-case name.
    pub name: &'a str,
    /// The values that the name has now; none = remove it.
    pub values: &'a [Vec<u8>],
}

impl Head {
    /// Reads the host's serialised form: a count, then key and value lengths, then NUL-ended texts,
    /// all numbers `u32` little-endian. Anything beyond a malformed part is left out.
    #[must_use]
    pub fn from_pairs(raw: Vec<u8>) -> Self {
        let original = spans(&raw).unwrap_or_default();
        Self { raw, original, edits: Vec::new() }
    }

    /// A head made of the given fields, for callouts and tests.
    #[must_use]
    pub fn from_fields<N: AsRef<str>, V: AsRef<[u8]>>(fields: &[(N, V)]) -> Self {
        let mut head = Self::default();
        for (name, value) in fields {
            let start = head.raw.len();
            head.raw.extend_from_slice(name.as_ref().as_bytes());
            let middle = head.raw.len();
            head.raw.extend_from_slice(value.as_ref());
            head.original.push((start..middle, middle..head.raw.len()));
        }
        head
    }

    /// The first value of `name`, edits included.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        match self.edit(name) {
            Some(edit) => edit.values.first().map(Vec::as_slice),
            None => self.original(name),
        }
    }

    /// The first value of `name` where it is valid UTF-8.
    #[must_use]
    pub fn get_str(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// The first value of `name` as the peer sent it, edits or not.
    #[must_use]
    pub fn original(&self, name: &str) -> Option<&[u8]> {
        self.original
            .iter()
            .find(|(key, _)| self.slice(key) == name.as_bytes())
            .map(|(_, value)| self.slice(value))
    }

    /// Whether `name` has a value now.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Whether the bytes of `name`'s first value contain `needle`, ignoring ASCII case.
    #[must_use]
    pub fn contains(&self, name: &str, needle: &str) -> bool {
        self.get(name).is_some_and(|value| {
            value.windows(needle.len().max(1)).any(|window| window.eq_ignore_ascii_case(needle.as_bytes()))
        })
    }

    /// `content-length`, where it is a number.
    #[must_use]
    pub fn content_length(&self) -> Option<u64> {
        self.get_str("content-length")?.trim().parse().ok()
    }

    /// All fields as they are now, unedited ones first in their order.
    pub fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let kept = self.original.iter().filter_map(|(key, value)| {
            let name = self.slice(key);
            let edited = self.edits.iter().any(|edit| edit.name.as_bytes() == name);
            (!edited).then(|| (name, self.slice(value)))
        });
        let edited = self
            .edits
            .iter()
            .flat_map(|edit| edit.values.iter().map(move |value| (edit.name.as_bytes(), value.as_slice())));
        kept.chain(edited)
    }

    /// Gives `name` this one value.
    pub fn set(&mut self, name: &str, value: impl Into<Vec<u8>>) {
        let value = value.into();
        if self.get(name) == Some(value.as_slice()) && self.count(name) == 1 {
            return;
        }
        let edit = self.edit_mut(name);
        edit.values.clear();
        edit.values.push(value);
    }

    /// Adds a value to those that `name` has.
    pub fn append(&mut self, name: &str, value: impl Into<Vec<u8>>) {
        if self.edit(name).is_none() {
            let kept = self.all(name);
            self.edit_mut(name).values = kept;
        }
        self.edit_mut(name).values.push(value.into());
    }

    /// Removes every value of `name`.
    pub fn remove(&mut self, name: &str) {
        if self.has(name) {
            self.edit_mut(name).values.clear();
        }
    }

    /// What the host must be told, one entry a name.
    pub fn changes(&self) -> impl Iterator<Item = Change<'_>> {
        self.edits
            .iter()
            .filter(|edit| !(edit.values.is_empty() && self.original(&edit.name).is_none()))
            .map(|edit| Change { name: &edit.name, values: &edit.values })
    }

    /// Whether any edit stands.
    #[must_use]
    pub fn is_edited(&self) -> bool {
        self.changes().next().is_some()
    }

    /// The edits are now what the host holds: they become the original.
    pub fn settle(&mut self) {
        if self.edits.is_empty() {
            return;
        }
        let fields: Vec<(String, Vec<u8>)> = self
            .fields()
            .map(|(name, value)| (String::from_utf8_lossy(name).into_owned(), value.to_vec()))
            .collect();
        *self = Self::from_fields(&fields);
    }

    fn all(&self, name: &str) -> Vec<Vec<u8>> {
        let matching = self.original.iter().filter(|(key, _)| self.slice(key) == name.as_bytes());
        matching.map(|(_, value)| self.slice(value).to_vec()).collect()
    }

    fn count(&self, name: &str) -> usize {
        match self.edit(name) {
            Some(edit) => edit.values.len(),
            None => self.original.iter().filter(|(key, _)| self.slice(key) == name.as_bytes()).count(),
        }
    }

    fn edit(&self, name: &str) -> Option<&Edit> {
        self.edits.iter().find(|edit| edit.name == name)
    }

    fn edit_mut(&mut self, name: &str) -> &mut Edit {
        let at = self.edits.iter().position(|edit| edit.name == name).unwrap_or_else(|| {
            self.edits.push(Edit { name: name.into(), values: Vec::new() });
            self.edits.len() - 1
        });
        #[expect(clippy::indexing_slicing, reason = "`at` was found or pushed on the line above")]
        &mut self.edits[at]
    }

    fn slice(&self, span: &Range<usize>) -> &[u8] {
        self.raw.get(span.clone()).unwrap_or_default()
    }
}

fn spans(raw: &[u8]) -> Option<Vec<(Range<usize>, Range<usize>)>> {
    let number = |at: usize| -> Option<usize> {
        let bytes: [u8; 4] = raw.get(at..at.checked_add(4)?)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    };
    let count = number(0)?;
    let mut at = count.checked_mul(8)?.checked_add(4)?;
    if at > raw.len() {
        return None;
    }
    let mut spans = Vec::with_capacity(count);
    for pair in 0..count {
        let key = at..at.checked_add(number(4 + pair * 8)?)?;
        let value = key.end.checked_add(1)?..key.end.checked_add(1)?.checked_add(number(8 + pair * 8)?)?;
        at = value.end.checked_add(1)?;
        if value.end > raw.len() {
            return Some(spans);
        }
        spans.push((key, value));
    }
    Some(spans)
}

/// The host's serialised form of fields, as [`Head::from_pairs`] reads it.
#[must_use]
pub fn to_pairs<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone) -> Vec<u8> {
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
    let (mut count, mut size) = (0_u32, 4_usize);
    for (name, value) in fields.clone() {
        count += 1;
        size += 10 + name.len() + value.len();
    }
    let mut raw = Vec::with_capacity(size);
    raw.extend_from_slice(&count.to_le_bytes());
    for (name, value) in fields.clone() {
        raw.extend_from_slice(&length(name));
        raw.extend_from_slice(&length(value));
    }
    for (name, value) in fields {
        raw.extend_from_slice(name);
        raw.push(0);
        raw.extend_from_slice(value);
        raw.push(0);
    }
    raw
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Head {
        let fields: [(&[u8], &[u8]); 4] =
            [(b":path", b"/a"), (b"x-two", b"1"), (b"x-two", b"2"), (b"x-odd", b"\xff\xfe")];
        Head::from_pairs(to_pairs(fields.into_iter()))
    }

    #[test]
    fn reads_bytes_that_are_no_text() {
        assert_eq!(head().get("x-odd"), Some(&b"\xff\xfe"[..]));
        assert_eq!(head().get_str("x-odd"), None);
    }

    #[test]
    fn edits_are_seen_and_reported_once() {
        let mut head = head();
        head.set(":path", "/b");
        head.set(":path", "/c");
        head.remove("x-two");
        head.remove("x-absent");
        assert_eq!(head.get(":path"), Some(&b"/c"[..]));
        assert_eq!(head.original(":path"), Some(&b"/a"[..]));
        assert!(!head.has("x-two"));
        let changes: Vec<_> = head.changes().map(|change| (change.name, change.values.len())).collect();
        assert_eq!(changes, [(":path", 1), ("x-two", 0)]);
    }

    #[test]
    fn setting_the_same_value_changes_nothing() {
        let mut head = head();
        head.set(":path", "/a");
        assert!(!head.is_edited());
        head.set("x-two", "1");
        assert!(head.is_edited(), "two values become one");
    }

    #[test]
    fn append_keeps_what_was_there() {
        let mut head = head();
        head.append("x-two", "3");
        let values: Vec<_> =
            head.fields().filter(|(name, _)| *name == b"x-two").map(|(_, value)| value).collect();
        assert_eq!(values, [b"1", b"2", b"3"]);
    }

    #[test]
    fn a_name_set_and_removed_again_is_no_change() {
        let mut head = head();
        head.set("x-new", "1");
        head.remove("x-new");
        assert!(!head.is_edited());
    }

    #[test]
    fn settled_edits_become_the_original() {
        let mut head = head();
        head.set(":path", "/b");
        head.settle();
        assert_eq!(head.original(":path"), Some(&b"/b"[..]));
        assert!(!head.is_edited());
    }

    #[test]
    fn malformed_pairs_never_panic() {
        let good = {
            let fields: [(&[u8], &[u8]); 2] = [(b"a", b"1"), (b"b", b"2")];
            to_pairs(fields.into_iter())
        };
        for cut in 0..good.len() {
            let _ = Head::from_pairs(good[..cut].to_vec()).fields().count();
        }
        let mut huge = good;
        huge[0..4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(Head::from_pairs(huge).fields().count(), 0);
    }
}
