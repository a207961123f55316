//! Objects and values as places in a text.

use std::borrow::Cow;
use std::ops::Range;

use super::decimal;
use super::scan::{JsonError, Scanner};

/// Proves that `text` is one object and finds its members. Nested values are proven to end, not to be JSON.
///
/// # Errors
/// It is not JSON, or JSON of another kind.
pub fn object(text: &[u8]) -> Result<Object<'_>, JsonError> {
    object_watching(text, "").map(|(object, _)| object)
}

/// The same, and whether a string anywhere below a member begins with `watched`, or is just that, if `watched` ends
/// with a quote: a reader who would have to look through all of them can spare itself the way. A string that spells it
/// with escapes is not noticed.
///
/// # Errors
/// It is not JSON, or JSON of another kind.
pub fn object_watching<'a>(text: &'a [u8], watched: &'a str) -> Result<(Object<'a>, bool), JsonError> {
    let mut scanner = Scanner::watching(text, watched.as_bytes());
    scanner.spaces();
    if scanner.peek() != Some(b'{') {
        scanner.value(0)?;
        scanner.end()?;
        return Err(JsonError::NotAnObject);
    }
    let object = members(&mut scanner, text, 0)?;
    scanner.end()?;
    Ok((object, scanner.seen))
}

/// Proves that `text` is one value of any kind. What is nested in it is proven to end.
///
/// # Errors
/// It is not JSON.
pub fn value(text: &[u8]) -> Result<Raw<'_>, JsonError> {
    let mut scanner = Scanner::new(text);
    scanner.spaces();
    let start = scanner.at;
    scanner.value(0)?;
    let end = scanner.at;
    scanner.end()?;
    Ok(Raw { text: text.get(start..end).unwrap_or_default(), offset: start, inside: &[] })
}

fn members<'a>(scanner: &mut Scanner<'_>, text: &'a [u8], offset: usize) -> Result<Object<'a>, JsonError> {
    let mut entries = Vec::with_capacity(8);
    each_member(scanner, |scanner, start, end, escaped| {
        let value = scanner.at;
        scanner.value(1)?;
        entries.push(Entry {
            key: start + offset..end + offset,
            value: value + offset..scanner.at + offset,
            below: 0,
            tag: Tag::at(text, start, end, escaped),
        });
        Ok(())
    })?;
    Ok(Object { text, offset, entries: Entries::Found(entries) })
}

/// Passes an object. `value` is told where each member's name stands, quotes included, and whether there are escapes
/// in it, and has to pass the value.
pub(super) fn each_member<'t>(
    scanner: &mut Scanner<'t>,
    mut value: impl FnMut(&mut Scanner<'t>, usize, usize, bool) -> Result<(), JsonError>,
) -> Result<(), JsonError> {
    scanner.at += 1;
    scanner.spaces();
    if scanner.pass(b'}') {
        return Ok(());
    }
    loop {
        let start = scanner.at;
        let (end, escaped) = scanner.key()?;
        value(scanner, start, end, escaped)?;
        scanner.spaces();
        if scanner.pass(b'}') {
            return Ok(());
        }
        if !scanner.pass(b',') {
            return Err(scanner.syntax());
        }
        scanner.spaces();
    }
}

/// Passes an array; `value` has to pass each element.
pub(super) fn each_element<'t>(
    scanner: &mut Scanner<'t>,
    mut value: impl FnMut(&mut Scanner<'t>) -> Result<(), JsonError>,
) -> Result<(), JsonError> {
    scanner.at += 1;
    scanner.spaces();
    if scanner.pass(b']') {
        return Ok(());
    }
    loop {
        value(scanner)?;
        scanner.spaces();
        if scanner.pass(b']') {
            return Ok(());
        }
        if !scanner.pass(b',') {
            return Err(scanner.syntax());
        }
        scanner.spaces();
    }
}

/// A value in a container, and the name of a member. Places are those in the text that is patched.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// The name, quotes included; empty for an element.
    pub(super) key: Range<usize>,
    pub(super) value: Range<usize>,
    /// How many of the entries behind this one are of what is inside the value.
    pub(super) below: usize,
    pub(super) tag: Tag,
}

/// Most of a name, in a word: names of different tags are different.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tag(u64);

impl Tag {
    /// Of so many bytes a tag is all there is to know, but for the longest ones.
    const WHOLE: usize = 7;
    /// The tag of names with escapes, which are compared the long way.
    const ESCAPED: Self = Self(u64::MAX);
    /// An element has no name.
    pub(super) const NONE: Self = Self(0);

    #[inline]
    fn of(name: &str) -> Self {
        let name = name.as_bytes();
        let len = name.len();
        let byte = |at: usize| name.get(at).map_or(0, |byte| u64::from(*byte) << (8 * at));
        let first = if let Some(eight) = name.first_chunk() {
            u64::from_le_bytes(*eight) & Self::kept(Self::WHOLE)
        } else if let (Some(first), Some(last)) = (name.first_chunk(), name.last_chunk()) {
            // Bytes that are in both are the same in both.
            u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << (8 * (len - 4))
        } else {
            byte(0) | byte(1) | byte(2)
        };
        Self(first | Self::len(len))
    }

    /// The tag of the name that stands there, between its quotes.
    #[inline]
    pub(super) fn at(text: &[u8], start: usize, end: usize, escaped: bool) -> Self {
        if escaped {
            return Self::ESCAPED;
        }
        let len = end.saturating_sub(start + 2);
        let behind = text.get(start + 1..).unwrap_or_default();
        let word = match behind.first_chunk() {
            Some(eight) => u64::from_le_bytes(*eight),
            None => behind.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
        };
        Self(word & Self::kept(len.min(Self::WHOLE)) | Self::len(len))
    }

    /// The bits of so many bytes.
    fn kept(bytes: usize) -> u64 {
        (1 << (8 * bytes)) - 1
    }

    fn len(len: usize) -> u64 {
        (len.min(0xfe) as u64) << (8 * Self::WHOLE)
    }
}

/// An object: where its members stand. Duplicate names are kept.
#[derive(Debug, Clone)]
pub struct Object<'a> {
    text: &'a [u8],
    /// Where `text`, which begins with the opening brace or with what is before it, begins in the text that is patched.
    offset: usize,
    entries: Entries<'a>,
}

#[derive(Debug, Clone)]
enum Entries<'a> {
    /// Of the members alone.
    Found(Vec<Entry>),
    /// Of the members, each followed by those of what is inside it.
    Described(&'a [Entry]),
}

/// The entries of a container, without those of what is inside its values.
struct Walk<'s, 'a> {
    entries: &'s [Entry],
    /// The same, if it says what is inside values.
    described: &'a [Entry],
    at: usize,
}

impl<'s, 'a> Iterator for Walk<'s, 'a> {
    type Item = (&'s Entry, &'a [Entry]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.entries.get(self.at)?;
        let inside = self.at + 1..self.at + 1 + entry.below;
        self.at = inside.end;
        Some((entry, self.described.get(inside).unwrap_or_default()))
    }
}

impl<'a> Object<'a> {
    /// An object of which everything is known that these entries say.
    pub(super) fn described(text: &'a [u8], offset: usize, entries: &'a [Entry]) -> Self {
        Self { text, offset, entries: Entries::Described(entries) }
    }

    /// The value of the last member of that name: readers of JSON commonly take the last.
    #[must_use]
    #[inline]
    pub fn get(&self, name: &str) -> Option<Raw<'a>> {
        self.tagged(Tag::of(name), name)
    }

    /// The same of a name with its tag, which for most callers is known when they are compiled.
    fn tagged(&self, tag: Tag, name: &str) -> Option<Raw<'a>> {
        let mut walk = self.walk();
        let mut found = None;
        while let Some(entry) = walk.entries.get(walk.at) {
            if self.is_named(entry, tag, name) {
                found = Some((entry, walk.at));
            }
            walk.at += 1 + entry.below;
        }
        let (entry, at) = found?;
        let inside = walk.described.get(at + 1..at + 1 + entry.below).unwrap_or_default();
        Some(self.raw(entry, inside))
    }

    /// The values of all members of that name, in order.
    pub fn all<'n>(&self, name: &'n str) -> impl Iterator<Item = Raw<'a>> + use<'_, 'a, 'n> {
        let tag = Tag::of(name);
        let named = self.walk().filter(move |(entry, _)| self.is_named(entry, tag, name));
        named.map(|(entry, inside)| self.raw(entry, inside))
    }

    /// Names and values of all members, in order. A name that is no text, because an escape in it is half
    /// a surrogate pair, is given as it is written.
    pub fn members(&self) -> impl Iterator<Item = (Cow<'a, str>, Raw<'a>)> + use<'_, 'a> {
        self.walk().map(|(entry, inside)| (self.name(entry), self.raw(entry, inside)))
    }

    /// The members that have none of these names.
    pub fn others<'n>(
        &self,
        names: &'n [&'n str],
    ) -> impl Iterator<Item = (Cow<'a, str>, Raw<'a>)> + use<'_, 'a, 'n> {
        let is_other = |entry: &Entry| !names.iter().any(|name| self.is_written(entry, name));
        let others = self.walk().filter(move |(entry, _)| is_other(entry));
        others.map(|(entry, inside)| (self.name(entry), self.raw(entry, inside)))
    }

    /// Whether there are no members.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.walk().next().is_none()
    }

    /// Which members have that name, and where their values stand.
    pub(super) fn named<'n>(
        &self,
        name: &'n str,
    ) -> impl Iterator<Item = (usize, Range<usize>)> + use<'_, 'a, 'n> {
        let tag = Tag::of(name);
        let named = self.walk().enumerate().filter(move |(_, (entry, _))| self.is_named(entry, tag, name));
        named.map(|(at, (entry, _))| (at, entry.value.clone()))
    }

    /// Where each member stands, name and value.
    pub(super) fn places(&self) -> impl Iterator<Item = Range<usize>> {
        self.walk().map(|(entry, _)| entry.key.start..entry.value.end)
    }

    /// Behind the opening brace.
    pub(super) fn open(&self) -> usize {
        let before = self.text.iter().position(|byte| *byte == b'{').unwrap_or(0);
        self.offset + before + 1
    }

    #[inline]
    fn walk(&self) -> Walk<'_, 'a> {
        match &self.entries {
            Entries::Found(entries) => Walk { entries, described: &[], at: 0 },
            Entries::Described(entries) => Walk { entries, described: entries, at: 0 },
        }
    }

    fn raw(&self, entry: &Entry, inside: &'a [Entry]) -> Raw<'a> {
        Raw { text: self.slice(&entry.value), offset: entry.value.start, inside }
    }

    fn slice(&self, place: &Range<usize>) -> &'a [u8] {
        let (start, end) = (place.start.wrapping_sub(self.offset), place.end.wrapping_sub(self.offset));
        self.text.get(start..end).unwrap_or_default()
    }

    fn name(&self, entry: &Entry) -> Cow<'a, str> {
        let quoted = self.slice(&entry.key);
        let inside = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
        if entry.tag != Tag::ESCAPED
            && let Ok(name) = std::str::from_utf8(inside)
        {
            return Cow::Borrowed(name);
        }
        unescaped(inside).unwrap_or_else(|| String::from_utf8_lossy(inside))
    }

    #[inline]
    fn is_named(&self, entry: &Entry, tag: Tag, name: &str) -> bool {
        if entry.tag == tag {
            return name.len() <= Tag::WHOLE || self.is_written(entry, name);
        }
        entry.tag == Tag::ESCAPED && self.is_written(entry, name)
    }

    fn is_written(&self, entry: &Entry, name: &str) -> bool {
        if entry.tag == Tag::ESCAPED {
            return unquoted(self.slice(&entry.key)).as_deref() == Some(name);
        }
        entry.key.len() == name.len() + 2
            && self.slice(&entry.key).get(1..=name.len()) == Some(name.as_bytes())
    }
}

/// The kinds of JSON values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the kinds of JSON explain themselves")]
pub enum Kind {
    Null,
    Bool,
    Number,
    String,
    Array,
    Object,
}

/// One value, as its exact text.
#[derive(Debug, Clone, Copy)]
pub struct Raw<'a> {
    text: &'a [u8],
    /// Where it begins in the text that is patched.
    offset: usize,
    /// What a [`Document`](super::Document) says of what is inside it; nothing, where it has not looked.
    inside: &'a [Entry],
}

impl<'a> Raw<'a> {
    /// A text that is taken for one value: whoever reads it proves what is read of it.
    pub(super) fn unproven(text: &'a [u8]) -> Self {
        Self { text, offset: 0, inside: &[] }
    }

    /// The text of the value, without spaces around.
    #[must_use]
    pub fn text(&self) -> &'a [u8] {
        self.text
    }

    /// Its kind, by its first byte.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self.text.first() {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b'"') => Kind::String,
            Some(b't' | b'f') => Kind::Bool,
            Some(b'n') => Kind::Null,
            _ => Kind::Number,
        }
    }

    /// The text of a string. `None` for other kinds, and where an escape is half a surrogate pair.
    #[must_use]
    pub fn as_str(&self) -> Option<Cow<'a, str>> {
        unquoted(self.text)
    }

    /// A string as it stands between its quotes, escapes as they are: such texts can be put behind one another
    /// unread. `None` for other kinds.
    #[must_use]
    pub fn escaped(&self) -> Option<&'a [u8]> {
        self.text.strip_prefix(b"\"")?.strip_suffix(b"\"")
    }

    /// The value of a bool.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match self.text {
            b"true" => Some(true),
            b"false" => Some(false),
            _ => None,
        }
    }

    /// The value of a number.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        decimal::read(std::str::from_utf8(self.text).ok()?)
    }

    /// The value of a number that is a whole one.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        std::str::from_utf8(self.text).ok()?.parse().ok()
    }

    /// Whether this is a string with just this text.
    #[must_use]
    pub fn is(&self, word: &str) -> bool {
        let Some(inside) = self.escaped() else { return false };
        inside == word.as_bytes() || (inside.contains(&b'\\') && unescaped(inside).as_deref() == Some(word))
    }

    /// The members of an object.
    #[must_use]
    pub fn object(&self) -> Option<Object<'a>> {
        if self.kind() != Kind::Object {
            return None;
        }
        if !self.inside.is_empty() {
            return Some(Object::described(self.text, self.offset, self.inside));
        }
        members(&mut Scanner::new(self.text), self.text, self.offset).ok()
    }

    /// The first element of an array.
    #[must_use]
    pub fn first(&self) -> Option<Raw<'a>> {
        match self.inside.first() {
            Some(entry) if self.kind() == Kind::Array => {
                let inside = self.inside.get(1..=entry.below).unwrap_or_default();
                Some(self.within(&entry.value, inside))
            }
            _ => self.elements()?.first().copied(),
        }
    }

    /// The elements of an array.
    #[must_use]
    pub fn elements(&self) -> Option<Vec<Raw<'a>>> {
        if self.kind() != Kind::Array {
            return None;
        }
        if !self.inside.is_empty() {
            let walk = Walk { entries: self.inside, described: self.inside, at: 0 };
            return Some(walk.map(|(entry, inside)| self.within(&entry.value, inside)).collect());
        }
        let mut elements = Vec::new();
        let passed = each_element(&mut Scanner::new(self.text), |scanner| {
            let start = scanner.at;
            scanner.value(1)?;
            elements.push(self.within(&(start + self.offset..scanner.at + self.offset), &[]));
            Ok(())
        });
        passed.ok().map(|()| elements)
    }

    /// The value that stands there, inside this one.
    fn within(&self, place: &Range<usize>, inside: &'a [Entry]) -> Raw<'a> {
        let text = self.text.get(place.start - self.offset..place.end - self.offset).unwrap_or_default();
        Raw { text, offset: place.start, inside }
    }

    pub(super) fn place(&self) -> Range<usize> {
        self.offset..self.offset + self.text.len()
    }
}

/// The text of what stands between the quotes of a string. `None`: it is no text.
#[must_use]
pub fn unescaped(inside: &[u8]) -> Option<Cow<'_, str>> {
    if memchr::memchr(b'\\', inside).is_none() {
        return std::str::from_utf8(inside).ok().map(Cow::Borrowed);
    }
    spelled_out(inside).map(Cow::Owned)
}

fn spelled_out(inside: &[u8]) -> Option<String> {
    let mut text = String::with_capacity(inside.len());
    let mut rest = inside;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        let (plain, escape) = rest.split_at_checked(at)?;
        text.push_str(std::str::from_utf8(plain).ok()?);
        let (kind, behind) = escape.get(1..)?.split_first()?;
        rest = behind;
        text.push(match kind {
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = hex(&mut rest)?;
                let pair = match first {
                    0xd800..=0xdbff => {
                        rest = rest.strip_prefix(b"\\u")?;
                        let second = hex(&mut rest)?.checked_sub(0xdc00).filter(|second| *second < 0x400)?;
                        0x10000 + ((first - 0xd800) << 10) + second
                    }
                    single => single,
                };
                char::from_u32(pair)?
            }
            other => char::from(*other),
        });
    }
    text.push_str(std::str::from_utf8(rest).ok()?);
    Some(text)
}

/// Takes four hex digits.
fn hex(rest: &mut &[u8]) -> Option<u32> {
    let (digits, behind) = rest.split_first_chunk::<4>()?;
    *rest = behind;
    digits.iter().try_fold(0, |number, digit| Some(number << 4 | char::from(*digit).to_digit(16)?))
}

/// The text of a string literal. `None`: it is none, or no text.
pub(super) fn unquoted(quoted: &[u8]) -> Option<Cow<'_, str>> {
    unescaped(quoted.strip_prefix(b"\"")?.strip_suffix(b"\"")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at<'a>(object: &Object<'a>, name: &str) -> &'a str {
        object.get(name).map_or("absent", |value| std::str::from_utf8(value.text()).unwrap())
    }

    #[test]
    fn members_are_found_whatever_spaces_and_escapes() {
        let text = b" { \"a\" : 1 ,\n\"mod\\u0065l\":\"x\\\"y\", \"o\":{\"model\":2}, \"\":[ ] } ";
        let object = object(text).unwrap();
        assert_eq!(at(&object, "a"), "1");
        assert_eq!(object.get("model").unwrap().as_str().unwrap(), "x\"y");
        assert_eq!(at(&object, "o"), "{\"model\":2}");
        assert_eq!(at(&object, ""), "[ ]");
        assert_eq!(at(&object, "mode"), "absent");
        let names: Vec<_> = object.members().map(|(name, _)| name.into_owned()).collect();
        assert_eq!(names, ["a", "model", "o", ""]);
    }

    #[test]
    fn the_last_of_duplicates_counts_and_all_are_there() {
        let object = object(br#"{"m":1,"m":2,"n":0,"m":3}"#).unwrap();
        assert_eq!(at(&object, "m"), "3");
        let all: Vec<_> = object.all("m").map(|value| value.text()).collect();
        assert_eq!(all, [b"1", b"2", b"3"]);
    }

    #[test]
    fn another_kind_is_told_apart_from_no_json() {
        assert_eq!(object(b"[1]").map(|_| ()), Err(JsonError::NotAnObject));
        assert_eq!(object(b" null ").map(|_| ()), Err(JsonError::NotAnObject));
        assert_eq!(object(b"").map(|_| ()), Err(JsonError::Syntax { at: 0 }));
        assert_eq!(object(b"{} x").map(|_| ()), Err(JsonError::Trailing { at: 3 }));
        assert_eq!(object(b"{\"a\":1,}").map(|_| ()), Err(JsonError::Syntax { at: 7 }));
    }

    #[test]
    fn kinds_and_values_are_read() {
        let object =
            object(br#"{"s":"a","t":true,"f":false,"n":null,"d":-1.5,"u":7,"a":[1,"b",[2]],"e":[]}"#)
                .unwrap();
        let kind = |name: &str| object.get(name).unwrap().kind();
        assert_eq!(
            [kind("s"), kind("t"), kind("n"), kind("d")],
            [Kind::String, Kind::Bool, Kind::Null, Kind::Number]
        );
        assert_eq!(
            [object.get("t").unwrap().as_bool(), object.get("f").unwrap().as_bool()],
            [Some(true), Some(false)]
        );
        assert_eq!(object.get("u").unwrap().as_u64(), Some(7));
        assert_eq!(object.get("d").unwrap().as_u64(), None);
        let elements = object.get("a").unwrap().elements().unwrap();
        let texts: Vec<_> = elements.iter().map(|element| element.text()).collect();
        assert_eq!(texts, [&b"1"[..], b"\"b\"", b"[2]"]);
        assert!(object.get("e").unwrap().elements().unwrap().is_empty());
        let first = |name: &str| object.get(name)?.first().map(|first| first.text());
        assert_eq!([first("a"), first("e"), first("s")], [Some(&b"1"[..]), None, None]);
        assert!(object.get("s").unwrap().object().is_none());
    }

    #[test]
    fn half_a_surrogate_pair_is_valid_json_and_no_text() {
        let object = object(br#"{"a":"\ud800","\ud800":1}"#).unwrap();
        assert_eq!(object.get("a").unwrap().as_str(), None);
        assert!(object.get("").is_none(), "a name that is no text is not the empty one");
        assert_eq!(object.members().last().unwrap().0, "\\ud800");
    }
}
