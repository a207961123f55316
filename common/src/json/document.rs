//! A text of which everything that readers commonly ask for is found in one pass.

use std::ops::Range;

use super::object::{Entry, Object, Tag, each_element, each_member};
use super::scan::{JsonError, Scanner};

/// What stands in so many containers is found at once: in a conversation its messages, their members, and the parts
/// of their contents. What stands deeper, such as a tool's schema, is more often copied than read, and is found when
/// somebody reads it.
const LEVELS: u32 = 4;
/// With more values than any conversation has only the object's own members are found at once.
const MAX_ENTRIES: usize = 1 << 16;

/// An object, with the places of all values on its upper levels.
///
/// For a reader who goes through all of it: to take its members one by one from [`object`](super::object) would
/// pass what is inside them over and over. Nothing of it differs for the reader.
#[derive(Debug)]
pub struct Document<'t> {
    text: &'t [u8],
    /// Each container's entries stand behind its own.
    entries: Vec<Entry>,
    levels: u32,
}

impl<'t> Document<'t> {
    /// Proves that `text` is one object, and all of its upper levels to be JSON. Of what is nested deeper it proves
    /// that it ends.
    ///
    /// # Errors
    /// It is not JSON, or JSON of another kind.
    pub fn of(text: &'t [u8]) -> Result<Self, JsonError> {
        let mut document = Self { text, entries: Vec::with_capacity(16 + text.len() / 128), levels: LEVELS };
        document.read()?;
        if document.is_full() {
            document = Self { text, entries: Vec::new(), levels: 1 };
            document.read()?;
        }
        Ok(document)
    }

    /// All of it.
    #[must_use]
    pub fn text(&self) -> &'t [u8] {
        self.text
    }

    /// The object.
    #[must_use]
    pub fn object(&self) -> Object<'_> {
        Object::described(self.text, 0, &self.entries)
    }

    fn is_full(&self) -> bool {
        self.levels > 1 && self.entries.len() > MAX_ENTRIES
    }

    fn read(&mut self) -> Result<(), JsonError> {
        let mut scanner = Scanner::new(self.text);
        scanner.spaces();
        if scanner.peek() != Some(b'{') {
            scanner.value(0)?;
            scanner.end()?;
            return Err(JsonError::NotAnObject);
        }
        self.object_at(&mut scanner, 1)?;
        scanner.end()
    }

    fn object_at(&mut self, scanner: &mut Scanner<'t>, level: u32) -> Result<(), JsonError> {
        each_member(scanner, |scanner, start, end, escaped| {
            let tag = Tag::at(self.text, start, end, escaped);
            self.value(scanner, level, start..end, tag)
        })
    }

    /// Passes a value that stands in so many containers.
    fn value(
        &mut self,
        scanner: &mut Scanner<'t>,
        level: u32,
        key: Range<usize>,
        tag: Tag,
    ) -> Result<(), JsonError> {
        let (start, mine) = (scanner.at, self.entries.len());
        if self.is_full() {
            return scanner.value(level);
        }
        self.entries.push(Entry { key, value: start..start, below: 0, tag });
        match scanner.peek() {
            Some(b'{') if level < self.levels => self.object_at(scanner, level + 1)?,
            Some(b'[') if level < self.levels => each_element(scanner, |scanner| {
                let none = scanner.at..scanner.at;
                self.value(scanner, level + 1, none, Tag::NONE)
            })?,
            _ => scanner.value(level)?,
        }
        let below = self.entries.len() - mine - 1;
        if let Some(entry) = self.entries.get_mut(mine) {
            entry.value.end = scanner.at;
            entry.below = below;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{Kind, Raw, object};

    /// All of a value as a reader finds it.
    fn read(value: Raw<'_>, out: &mut Vec<(String, usize)>) {
        let text = String::from_utf8_lossy(value.text()).into_owned();
        out.push((text, value.place().start));
        match value.kind() {
            Kind::Object => members(&value.object().unwrap(), out),
            Kind::Array => {
                let elements = value.elements().unwrap();
                let place = |element: &Raw<'_>| element.place();
                assert_eq!(value.first().as_ref().map(place), elements.first().map(place));
                elements.into_iter().for_each(|element| read(element, out));
            }
            _ => {}
        }
    }

    fn members(object: &Object<'_>, out: &mut Vec<(String, usize)>) {
        for (name, value) in object.members() {
            out.push((name.clone().into_owned(), object.open()));
            let all: Vec<_> = object.all(&name).map(|value| value.text()).collect();
            assert!(all.contains(&value.text()));
            assert_eq!(object.get(&name).map(|value| value.text()), all.last().copied());
            read(value, out);
        }
    }

    fn check(text: &str) {
        let (mut lazy, mut eager) = (Vec::new(), Vec::new());
        members(&object(text.as_bytes()).unwrap(), &mut lazy);
        members(&Document::of(text.as_bytes()).unwrap().object(), &mut eager);
        assert_eq!(lazy, eager, "{text}");
    }

    #[test]
    fn what_is_found_at_once_is_what_is_found_when_it_is_read() {
        let deep = ["{\"a\":[".repeat(20), "1".to_owned(), "]}".repeat(20)].concat();
        for text in [
            "{}",
            " { } ",
            r#"{"a":{}, "b" : [ ] ,"c":[[],{},[ ]]}"#,
            r#"{"a":1,"a":[2,3],"\u0061":{"a":null},"":""}"#,
            r#"{"content":1,"contents":2,"conten":3,"content_":4,"contentX":5}"#,
            r#" {"messages":[{"role":"user","content":[{"type":"text","text":"grüße \" \\"},{"x":{"y":[1]}}]}, 5, {"role":"assistant"}],"n":-1.5e3}"#,
            &deep,
        ] {
            check(text);
        }
    }

    #[test]
    fn names_are_told_apart_whatever_their_length() {
        for len in [0, 1, 6, 7, 8, 9, 15, 253, 254, 255, 256, 300] {
            let name = "n".repeat(len);
            for other in [format!("{name}x"), format!("x{name}"), name.replacen('n', "m", 1), name.clone()] {
                let text = format!("{{\"{name}\":1}}");
                let found = Document::of(text.as_bytes()).unwrap().object().get(&other).is_some();
                assert_eq!(found, other == name, "{len}");
                let others = object(text.as_bytes()).unwrap().others(&[&other]).count();
                assert_eq!(others, usize::from(other != name), "{len}");
            }
        }
    }

    #[test]
    fn the_verdict_on_what_is_no_object_is_the_same() {
        for text in ["", "[1]", "null", "{} x", "{\"a\":1,}", "{\"a\":\"\u{1}\"}", "{\"a\":[1"] {
            let verdict = Document::of(text.as_bytes()).map(|_| ());
            assert_eq!(verdict, object(text.as_bytes()).map(|_| ()), "{text}");
        }
        assert!(Document::of(b"{\"a\":[1,]}").is_err(), "the upper levels are proven");
        assert!(matches!(Document::of(b"{\"a\":[\"\xff\"]}"), Err(JsonError::NotUtf8 { at: 7 })));
        let nested = |depth: usize| ["{\"a\":", &"[".repeat(depth), &"]".repeat(depth), "}"].concat();
        assert!(Document::of(nested(127).as_bytes()).is_ok());
        assert!(matches!(Document::of(nested(128).as_bytes()), Err(JsonError::TooDeep { .. })));
    }

    #[test]
    fn of_more_values_than_anyone_sends_no_places_are_kept() {
        let zeros = "0,".repeat(MAX_ENTRIES);
        let text = format!("{{\"a\":[{zeros}0],\"b\":{{\"c\":1}}}}");
        let document = Document::of(text.as_bytes()).unwrap();
        assert_eq!(document.entries.len(), 2);
        let elements = document.object().get("a").unwrap().elements().unwrap();
        assert_eq!(elements.len(), MAX_ENTRIES + 1);
        assert_eq!(document.object().get("b").unwrap().object().unwrap().get("c").unwrap().text(), b"1");
    }
}
