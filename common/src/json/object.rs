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

/// The same, and whether a string anywhere below a member is exactly `watched`: a reader who would have to
/// look through all of them can spare itself the way. A string that spells it with escapes is not noticed.
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
    Ok(Raw { text: text.get(start..end).unwrap_or_default(), offset: start })
}

fn members<'a>(scanner: &mut Scanner<'_>, text: &'a [u8], offset: usize) -> Result<Object<'a>, JsonError> {
    scanner.at += 1;
    let mut object = Object { text, offset, open: scanner.at, members: Vec::with_capacity(8) };
    scanner.spaces();
    if !scanner.pass(b'}') {
        loop {
            let start = scanner.at;
            let (end, escaped) = scanner.key()?;
            let key = start..end;
            let value = scanner.at;
            scanner.value(1)?;
            object.members.push(Member { key, escaped, value: value..scanner.at });
            scanner.spaces();
            if scanner.pass(b'}') {
                break;
            }
            if !scanner.pass(b',') {
                return Err(scanner.syntax());
            }
            scanner.spaces();
        }
    }
    Ok(object)
}

/// An object: where its members stand. Duplicate names are kept.
#[derive(Debug, Clone)]
pub struct Object<'a> {
    text: &'a [u8],
    /// Where `text` begins in the text that is patched.
    offset: usize,
    /// After the opening brace.
    open: usize,
    members: Vec<Member>,
}

#[derive(Debug, Clone)]
struct Member {
    /// The name, quotes included.
    key: Range<usize>,
    escaped: bool,
    value: Range<usize>,
}

impl<'a> Object<'a> {
    /// The value of the last member of that name: readers of JSON commonly take the last.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Raw<'a>> {
        self.members.iter().rev().find(|member| self.is_named(member, name)).map(|member| self.raw(member))
    }

    /// The values of all members of that name, in order.
    pub fn all<'n>(&self, name: &'n str) -> impl Iterator<Item = Raw<'a>> + use<'_, 'a, 'n> {
        self.members.iter().filter(move |member| self.is_named(member, name)).map(|member| self.raw(member))
    }

    /// Names and values of all members, in order. A name that is no text, because an escape in it is half
    /// a surrogate pair, is given as it is written.
    pub fn members(&self) -> impl Iterator<Item = (Cow<'a, str>, Raw<'a>)> + use<'_, 'a> {
        self.members.iter().map(|member| (self.name(member), self.raw(member)))
    }

    /// Whether there are no members.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Which members have that name, and where their values stand.
    pub(super) fn named<'n>(
        &self,
        name: &'n str,
    ) -> impl Iterator<Item = (usize, Range<usize>)> + use<'_, 'a, 'n> {
        let named = self.members.iter().enumerate().filter(move |(_, member)| self.is_named(member, name));
        named.map(|(at, member)| (at, member.value.start + self.offset..member.value.end + self.offset))
    }

    /// Where each member stands, name and value.
    pub(super) fn places(&self) -> impl Iterator<Item = Range<usize>> {
        self.members.iter().map(|member| member.key.start + self.offset..member.value.end + self.offset)
    }

    /// Behind the opening brace.
    pub(super) fn open(&self) -> usize {
        self.open + self.offset
    }

    fn raw(&self, member: &Member) -> Raw<'a> {
        let text = self.text.get(member.value.clone()).unwrap_or_default();
        Raw { text, offset: self.offset + member.value.start }
    }

    fn quoted(&self, member: &Member) -> &'a [u8] {
        self.text.get(member.key.clone()).unwrap_or_default()
    }

    fn name(&self, member: &Member) -> Cow<'a, str> {
        let quoted = self.quoted(member);
        unquoted(quoted).unwrap_or_else(|| {
            String::from_utf8_lossy(quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default())
        })
    }

    fn is_named(&self, member: &Member, name: &str) -> bool {
        if member.escaped {
            return unquoted(self.quoted(member)).as_deref() == Some(name);
        }
        let quoted = self.quoted(member);
        quoted.len() == name.len() + 2 && quoted.get(1..=name.len()) == Some(name.as_bytes())
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
    offset: usize,
}

impl<'a> Raw<'a> {
    /// A text that is taken for one value: whoever reads it proves what is read of it.
    pub(super) fn unproven(text: &'a [u8]) -> Self {
        Self { text, offset: 0 }
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

    /// The members of an object.
    #[must_use]
    pub fn object(&self) -> Option<Object<'a>> {
        if self.kind() != Kind::Object {
            return None;
        }
        members(&mut Scanner::new(self.text), self.text, self.offset).ok()
    }

    /// The elements of an array.
    #[must_use]
    pub fn elements(&self) -> Option<Vec<Raw<'a>>> {
        if self.kind() != Kind::Array {
            return None;
        }
        let mut scanner = Scanner::new(self.text);
        scanner.at += 1;
        scanner.spaces();
        let mut elements = Vec::new();
        if scanner.pass(b']') {
            return Some(elements);
        }
        loop {
            let start = scanner.at;
            scanner.value(1).ok()?;
            elements.push(Raw { text: self.text.get(start..scanner.at)?, offset: self.offset + start });
            scanner.spaces();
            if scanner.pass(b']') {
                return Some(elements);
            }
            if !scanner.pass(b',') {
                return None;
            }
            scanner.spaces();
        }
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
