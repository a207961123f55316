//! The head of a request or response: pseudo headers and fields, as bytes, with its edits recorded.

use std::ops::Deref;
use std::rc::Rc;

/// A copy of a head as the host gave it, plus the edits made since.
///
/// Names are lower case, as Envoy keeps them; values are bytes, because clients may send any.
/// Reading sees the edits; the host sees them when the driver applies [`Head::changes`].
#[derive(Debug, Default, Clone)]
pub struct Head {
    raw: Vec<u8>,
    original: Vec<Field>,
    edits: Vec<Edit>,
    /// The tags of the names in `original`.
    sent: Tags,
    /// The tags of the names in `edits`.
    edited: Tags,
    /// Both.
    known: Tags,
    /// What an earlier attempt at the request found, where it left something else.
    earlier: Option<Box<Undo>>,
}

/// What a head was like before it was edited, for names that were edited. Made for another run of a filter over the
/// same head, which knows nothing of the first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Undo {
    /// Names and the values they had.
    fields: Vec<(String, Vec<Vec<u8>>)>,
}

impl Undo {
    /// Reads what [`Undo::bytes`] wrote.
    #[must_use]
    pub fn read(bytes: Vec<u8>) -> Self {
        let head = Head::from_pairs(bytes);
        let mut undo = Self::default();
        for (name, value) in head.fields() {
            let (name, value) = if name.is_empty() { (value, None) } else { (name, Some(value)) };
            let Ok(name) = std::str::from_utf8(name) else { continue };
            match undo.fields.iter_mut().find(|(known, _)| known == name) {
                Some((_, values)) => values.extend(value.map(<[u8]>::to_vec)),
                None => undo.fields.push((name.to_owned(), value.map(<[u8]>::to_vec).into_iter().collect())),
            }
        }
        undo
    }

    /// As bytes that keep until the next run: fields in the host's form, and a nameless one for each name that had no
    /// value.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let fields = self.fields.iter().flat_map(|(name, values)| {
            let absent = values.is_empty().then_some((&b""[..], name.as_bytes()));
            absent.into_iter().chain(values.iter().map(|value| (name.as_bytes(), value.as_slice())))
        });
        to_pairs(fields)
    }

    fn and(mut self, head: &Head) -> Self {
        for change in head.changes() {
            let Ok(name) = std::str::from_utf8(change.name) else { continue };
            if !self.fields.iter().any(|(known, _)| known == name) {
                let values = head.sent(name).map(|field| head.slice(field.value).to_vec()).collect();
                self.fields.push((name.to_owned(), values));
            }
        }
        self
    }
}

/// Where a name and a value lie in the host's bytes.
#[derive(Debug, Clone, Copy)]
struct Field {
    tag: Tag,
    name: Span,
    value: Span,
}

/// Six bits of a name. Most questions are for names that are not there, and most of those end here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tag(u8);

impl Tag {
    #[inline(always)]
    fn of(name: &[u8]) -> Self {
        // Among the names that meet in a request, these three tell the most.
        let middle = name.get(name.len() / 2).copied().unwrap_or_default();
        let last = name.last().copied().unwrap_or_default();
        let [length, ..] = name.len().to_le_bytes();
        Self((length.wrapping_mul(13) ^ middle.wrapping_mul(3) ^ last.wrapping_mul(7)) & 63)
    }
}

/// Which tags occur.
#[derive(Debug, Default, Clone, Copy)]
struct Tags(u64);

impl Tags {
    fn add(&mut self, tag: Tag) {
        self.0 |= 1 << tag.0;
    }

    #[inline]
    fn has(self, tag: Tag) -> bool {
        self.0 >> tag.0 & 1 == 1
    }
}

#[derive(Debug, Clone, Copy)]
struct Span {
    start: u32,
    len: u32,
}

#[derive(Debug, Clone)]
struct Edit {
    tag: Tag,
    name: Name,
    /// What the name has from now on.
    values: Values,
}

/// A name that the peer sent costs no copy.
#[derive(Debug, Clone)]
enum Name {
    Sent(Span),
    New(Box<str>),
}

/// Where a name is to be found.
enum Place {
    Edited(usize),
    Sent(usize),
    Nowhere,
}

/// A value that a field is given. One that every request gets is shared, not copied.
#[derive(Debug, Clone)]
pub enum Value {
    /// Made for this head.
    Own(Vec<u8>),
    /// Made once, when the configuration was read.
    Shared(Rc<[u8]>),
}

impl Deref for Value {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Own(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Value {}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Own(bytes)
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Self::Own(bytes.to_vec())
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        text.as_bytes().into()
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Own(text.into_bytes())
    }
}

impl From<&Rc<[u8]>> for Value {
    fn from(bytes: &Rc<[u8]>) -> Self {
        Self::Shared(Rc::clone(bytes))
    }
}

/// Nearly every edit is a removal or one value.
#[derive(Debug, Clone)]
enum Values {
    None,
    One(Value),
    Many(Vec<Value>),
}

impl Values {
    fn as_slice(&self) -> &[Value] {
        match self {
            Self::None => &[],
            Self::One(value) => std::slice::from_ref(value),
            Self::Many(values) => values,
        }
    }
}

/// One name whose values differ from what the host holds.
#[derive(Debug, PartialEq, Eq)]
pub struct Change<'a> {
    /// Lower-case name.
    pub name: &'a [u8],
    /// The values that the name has now; none = remove it.
    pub values: &'a [Value],
}

impl Head {
    /// Reads the host's serialised form: a count, then key and value lengths, then NUL-ended texts,
    /// all numbers `u32` little-endian. Anything beyond a malformed part is left out.
    #[must_use]
    pub fn from_pairs(raw: Vec<u8>) -> Self {
        let original = fields(&raw).unwrap_or_default();
        let mut sent = Tags::default();
        original.iter().for_each(|field| sent.add(field.tag));
        Self { raw, original, edits: Vec::new(), sent, edited: Tags::default(), known: sent, earlier: None }
    }

    /// A head made of the given fields, for callouts and tests.
    #[must_use]
    pub fn from_fields<N: AsRef<str>, V: AsRef<[u8]>>(fields: &[(N, V)]) -> Self {
        let fields = fields.iter().map(|(name, value)| (name.as_ref().as_bytes(), value.as_ref()));
        Self::from_pairs(to_pairs(fields))
    }

    /// The first value of `name`, edits included.
    #[must_use]
    #[inline(always)]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        if self.may_have(name) { self.value(name) } else { None }
    }

    fn value(&self, name: &str) -> Option<&[u8]> {
        match self.place(name) {
            Place::Edited(at) => self.edits.get(at)?.values.as_slice().first().map(|value| &**value),
            Place::Sent(at) => self.original.get(at).map(|field| self.slice(field.value)),
            Place::Nowhere => None,
        }
    }

    /// The first value of `name` where it is valid UTF-8.
    #[must_use]
    #[inline]
    pub fn get_str(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// The first value of `name` as the peer sent it, edits or not.
    #[must_use]
    pub fn original(&self, name: &str) -> Option<&[u8]> {
        if let Some(undo) = &self.earlier
            && let Some((_, values)) = undo.fields.iter().find(|(known, _)| known == name)
        {
            return values.first().map(Vec::as_slice);
        }
        self.sent(name).next().map(|field| self.slice(field.value))
    }

    /// Whether `name` has a value now.
    #[must_use]
    #[inline(always)]
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Whether the bytes of `name`'s first value contain `needle`, ignoring ASCII case.
    #[must_use]
    #[inline]
    pub fn contains(&self, name: &str, needle: &str) -> bool {
        self.get(name).is_some_and(|value| {
            value.windows(needle.len().max(1)).any(|window| window.eq_ignore_ascii_case(needle.as_bytes()))
        })
    }

    /// `content-length`, where it is a number.
    #[must_use]
    pub fn content_length(&self) -> Option<u64> {
        let digits = self.get("content-length")?.trim_ascii();
        let add = |length: u64, digit: &u8| {
            let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
            length.checked_mul(10)?.checked_add(digit)
        };
        if digits.is_empty() { None } else { digits.iter().try_fold(0, add) }
    }

    /// All fields as they are now, unedited ones first in their order.
    pub fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let kept = self.original.iter().filter_map(|field| {
            let name = self.slice(field.name);
            let is_edit = |edit: &Edit| edit.tag == field.tag && self.name(edit) == name;
            let is_edited = self.edits.iter().any(is_edit);
            (!is_edited).then(|| (name, self.slice(field.value)))
        });
        let edited = self.edits.iter().flat_map(|edit| {
            let name = self.name(edit);
            edit.values.as_slice().iter().map(move |value| (name, &**value))
        });
        kept.chain(edited)
    }

    /// Gives `name` this one value.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.put(name, value.into());
    }

    fn put(&mut self, name: &str, value: Value) {
        let place = self.place(name);
        if let Place::Sent(at) = place {
            let is_same = |field: &Field| *self.slice(field.value) == *value;
            let is_only = || self.sent(name).nth(1).is_none();
            if self.original.get(at).is_some_and(is_same) && is_only() {
                return;
            }
        }
        self.edit(&place, name, Values::One(value));
    }

    /// Adds a value to those that `name` has.
    pub fn append(&mut self, name: &str, value: impl Into<Value>) {
        let place = self.place(name);
        let mut values = match place {
            Place::Edited(at) => self.edits.get(at).map(|edit| edit.values.as_slice().to_vec()),
            Place::Sent(_) => Some(self.sent(name).map(|field| self.slice(field.value).into()).collect()),
            Place::Nowhere => None,
        }
        .unwrap_or_default();
        values.push(value.into());
        self.edit(&place, name, Values::Many(values));
    }

    /// Removes every value of `name`.
    #[inline(always)]
    pub fn remove(&mut self, name: &str) {
        if self.may_have(name) {
            self.take_away(name);
        }
    }

    fn take_away(&mut self, name: &str) {
        match self.place(name) {
            Place::Nowhere => {}
            place => self.edit(&place, name, Values::None),
        }
    }

    /// Gives this head the fields of another one, and no others.
    pub fn replace_all(&mut self, other: &Self) {
        let text = |name: &[u8]| std::str::from_utf8(name).map(str::to_owned).ok();
        let own: Vec<String> = self.fields().filter_map(|(name, _)| text(name)).collect();
        for name in own.iter().filter(|name| !other.has(name)) {
            self.remove(name);
        }
        let mut seen = Vec::new();
        for (name, value) in other.fields() {
            let Some(name) = text(name) else { continue };
            if seen.contains(&name) {
                self.append(&name, value);
            } else {
                self.set(&name, value);
                seen.push(name);
            }
        }
    }

    /// Takes back what an earlier run of the filter did to this head. What it found counts as sent by the peer.
    pub fn restore(&mut self, undo: Undo) {
        for (name, values) in &undo.fields {
            match values.split_first() {
                None => self.remove(name),
                Some((first, others)) => {
                    self.set(name, first.as_slice());
                    others.iter().for_each(|value| self.append(name, value.as_slice()));
                }
            }
        }
        self.earlier = Some(Box::new(undo));
    }

    /// What takes the edits of this head back, and those of the runs before.
    #[must_use]
    pub fn undo(&self) -> Undo {
        self.earlier.as_deref().cloned().unwrap_or_default().and(self)
    }

    /// What the host must be told, one entry a name.
    pub fn changes(&self) -> impl Iterator<Item = Change<'_>> {
        // A name that was only ever here is not there to be removed.
        let is_news = |edit: &&Edit| !matches!((&edit.name, &edit.values), (Name::New(_), Values::None));
        let change = |edit| Change { name: self.name(edit), values: edit.values.as_slice() };
        self.edits.iter().filter(is_news).map(change)
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
        let fields: Vec<(Vec<u8>, Vec<u8>)> =
            self.fields().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
        let fields = fields.iter().map(|(name, value)| (name.as_slice(), value.as_slice()));
        *self = Self::from_pairs(to_pairs(fields));
    }

    fn sent(&self, name: &str) -> impl Iterator<Item = &Field> {
        let tag = Tag::of(name.as_bytes());
        self.original.iter().filter(move |field| self.is_named(field, tag, name))
    }

    #[inline]
    fn is_named(&self, field: &Field, tag: Tag, name: &str) -> bool {
        field.tag == tag && self.slice(field.name) == name.as_bytes()
    }

    /// Whether the name may be there at all. Inlined, so that for a name that stands in the code its tag is a
    /// constant, and the question one bit.
    #[inline(always)]
    fn may_have(&self, name: &str) -> bool {
        self.known.has(Tag::of(name.as_bytes()))
    }

    fn place(&self, name: &str) -> Place {
        let tag = Tag::of(name.as_bytes());
        let is_edited = |edit: &Edit| edit.tag == tag && self.name(edit) == name.as_bytes();
        let edited = || self.edits.iter().position(is_edited);
        if let Some(at) = self.edited.has(tag).then(edited).flatten() {
            return Place::Edited(at);
        }
        let sent = || self.original.iter().position(|field| self.is_named(field, tag, name));
        self.sent.has(tag).then(sent).flatten().map_or(Place::Nowhere, Place::Sent)
    }

    fn edit(&mut self, place: &Place, name: &str, values: Values) {
        if let Place::Edited(at) = *place {
            if let Some(edit) = self.edits.get_mut(at) {
                edit.values = values;
            }
            return;
        }
        let sent = match *place {
            Place::Sent(at) => self.original.get(at),
            Place::Edited(_) | Place::Nowhere => None,
        };
        let tag = Tag::of(name.as_bytes());
        let name = sent.map_or_else(|| Name::New(name.into()), |field| Name::Sent(field.name));
        if self.edits.capacity() == 0 {
            // One growth for what most requests need.
            self.edits.reserve(8);
        }
        self.edits.push(Edit { tag, name, values });
        self.edited.add(tag);
        self.known.add(tag);
    }

    fn name<'a>(&'a self, edit: &'a Edit) -> &'a [u8] {
        match &edit.name {
            Name::Sent(span) => self.slice(*span),
            Name::New(name) => name.as_bytes(),
        }
    }

    #[inline]
    fn slice(&self, span: Span) -> &[u8] {
        let start = span.start as usize;
        self.raw.get(start..start + span.len as usize).unwrap_or_default()
    }
}

/// The fields of the host's serialised form. `None`: not even their lengths are there.
fn fields(raw: &[u8]) -> Option<Vec<Field>> {
    let (count, rest) = raw.split_first_chunk::<4>()?;
    let count = u32::from_le_bytes(*count) as usize;
    let (lengths, _) = rest.as_chunks::<8>();
    let lengths = lengths.get(..count)?;
    let mut fields = Vec::with_capacity(count);
    let mut at = u32::try_from(count.checked_mul(8)?.checked_add(4)?).ok()?;
    for [a, b, c, d, e, f, g, h] in lengths.iter().copied() {
        let name = Span { start: at, len: u32::from_le_bytes([a, b, c, d]) };
        let start = at.checked_add(name.len)?.checked_add(1)?;
        let value = Span { start, len: u32::from_le_bytes([e, f, g, h]) };
        let end = start.checked_add(value.len)?;
        if end as usize > raw.len() {
            break;
        }
        at = end.checked_add(1)?;
        let tag = Tag::of(raw.get(name.start as usize..).and_then(|rest| rest.get(..name.len as usize))?);
        fields.push(Field { tag, name, value });
    }
    Some(fields)
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
        assert_eq!(changes, [(&b":path"[..], 1), (&b"x-two"[..], 0)]);
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
    fn a_head_takes_the_fields_of_another_and_keeps_no_other() {
        let mut head = head();
        let other = [(":path", "/a"), ("x-new", "1"), ("x-two", "3"), ("x-two", "2"), ("x-new", "4")];
        head.replace_all(&Head::from_fields(&other));
        let changes: Vec<_> = head
            .changes()
            .map(|change| (change.name, change.values.iter().flat_map(|value| value.to_vec()).collect()))
            .collect();
        let expected: [(&[u8], Vec<u8>); 3] =
            [(b"x-odd", Vec::new()), (b"x-new", b"14".to_vec()), (b"x-two", b"32".to_vec())];
        assert_eq!(changes, expected);
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
    fn a_content_length_is_a_number_that_fits() {
        for (value, expected) in [
            ("0", Some(0)),
            (" 17 ", Some(17)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("", None),
            ("1a", None),
            ("-1", None),
            ("+1", None),
        ] {
            let head = Head::from_fields(&[("content-length", value)]);
            assert_eq!(head.content_length(), expected, "{value}");
        }
        assert_eq!(Head::default().content_length(), None);
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

    #[test]
    fn a_run_begins_with_what_the_first_one_found() {
        let sent = [(":path", "/client"), ("authorization", "client"), ("x-many", "1"), ("x-many", "2")];
        let mut head = Head::from_fields(&sent);
        let first = Head::from_fields(&sent);
        for (path, key) in [("/first", "sk-1"), ("/second", "sk-2"), ("/third", "sk-3")] {
            assert_eq!(head.original(":path"), Some(&b"/client"[..]));
            assert_eq!(head.original("x-key"), None);
            let (mut now, mut then) = (Vec::from_iter(head.fields()), Vec::from_iter(first.fields()));
            now.sort_unstable();
            then.sort_unstable();
            assert_eq!(now, then, "{path}");
            head.set(":path", path);
            head.remove("authorization");
            head.set("x-key", key);
            if key != "sk-1" {
                head.set("x-many", key);
            }
            let kept = head.undo().bytes();
            head.settle();
            assert_eq!(head.get_str("x-key"), Some(key));
            head.restore(Undo::read(kept));
        }
    }
}
