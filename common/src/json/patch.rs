//! Edits as splices: every byte that none of them names stays.

use std::ops::Range;

use super::object::{Object, Raw};

/// Edits of one text, collected and then made in one go.
#[derive(Debug)]
pub struct Patch<'a> {
    text: &'a [u8],
    splices: Vec<Splice>,
    /// Closing braces of objects that will have members, whatever they have now.
    filled: Vec<usize>,
    /// Closing braces of objects that lose every member they have.
    emptied: Vec<usize>,
}

#[derive(Debug)]
struct Splice {
    range: Range<usize>,
    with: Vec<u8>,
}

impl<'a> Patch<'a> {
    /// No edits of this text yet. Objects and values must have been found in this very text.
    #[must_use]
    pub fn new(text: &'a [u8]) -> Self {
        Self { text, splices: Vec::new(), filled: Vec::new(), emptied: Vec::new() }
    }

    /// Whether nothing would change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.splices.is_empty()
    }

    /// Puts other JSON in the place of a value. A later edit of the same value wins.
    pub fn replace(&mut self, value: Raw<'_>, with: &[u8]) {
        let range = value.place();
        self.splices.retain(|splice| splice.range != range);
        self.splices.push(Splice { range, with: with.to_vec() });
    }

    /// Gives every member of that name this value; adds one at the end where there is none.
    pub fn set(&mut self, object: &Object<'_>, name: &str, with: &[u8]) {
        let mut found = false;
        for value in object.all(name) {
            found = true;
            self.replace(value, with);
        }
        if !found {
            self.add(object, name, with);
        }
    }

    /// Removes every member whose name is one of these. At most once for an object, before anything is
    /// added to it, and not together with other edits of the members removed.
    pub fn remove(&mut self, object: &Object<'_>, names: &[&str]) {
        let places: Vec<_> = object.places().collect();
        let goes =
            |place: &(std::borrow::Cow<'_, str>, usize, Range<usize>)| names.contains(&place.0.as_ref());
        let mut kept_end = None;
        let mut gone: Option<Range<usize>> = None;
        for place in &places {
            let (_, key, value) = place;
            if goes(place) {
                // After a kept member, its comma goes too.
                let start = gone.as_ref().map_or(kept_end.unwrap_or(*key), |gone| gone.start);
                gone = Some(start..value.end);
                continue;
            }
            if let Some(mut gone) = gone.take() {
                if kept_end.is_none() {
                    // Nothing is kept before: the comma behind goes, not the one in front.
                    gone.end = *key;
                }
                self.splices.push(Splice { range: gone, with: Vec::new() });
            }
            kept_end = Some(value.end);
        }
        if let Some(gone) = gone {
            if kept_end.is_none() {
                self.emptied.push(object.ends().0);
            }
            self.splices.push(Splice { range: gone, with: Vec::new() });
        }
    }

    /// The edited text.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        // Stable: several insertions at one place keep their order.
        self.splices.sort_by_key(|splice| (splice.range.start, splice.range.end));
        let grown: usize = self.splices.iter().map(|splice| splice.with.len()).sum();
        let mut out = Vec::with_capacity(self.text.len() + grown);
        let mut at = 0;
        for splice in &self.splices {
            // An edit inside another's range is covered by it.
            if splice.range.start < at {
                continue;
            }
            out.extend_from_slice(self.text.get(at..splice.range.start).unwrap_or_default());
            out.extend_from_slice(&splice.with);
            at = splice.range.end;
        }
        out.extend_from_slice(self.text.get(at..).unwrap_or_default());
        out
    }

    fn add(&mut self, object: &Object<'_>, name: &str, with: &[u8]) {
        let (close, last) = object.ends();
        let mut member = Vec::with_capacity(name.len() + with.len() + 4);
        let keeps_some = !object.is_empty() && !self.emptied.contains(&close);
        if keeps_some || self.filled.contains(&close) {
            member.push(b',');
        }
        self.filled.push(close);
        super::write_string(&mut member, name);
        member.push(b':');
        member.extend_from_slice(with);
        self.splices.push(Splice { range: last..last, with: member });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::object;

    fn check(text: &str, edit: impl Fn(&mut Patch<'_>, &Object<'_>), expected: &str) {
        let body = object(text.as_bytes()).unwrap();
        let mut patch = Patch::new(text.as_bytes());
        edit(&mut patch, &body);
        let edited = String::from_utf8(patch.finish()).unwrap();
        assert_eq!(edited, expected);
        assert!(object(edited.as_bytes()).is_ok(), "{edited}");
    }

    #[test]
    fn only_the_value_changes() {
        let edit = |patch: &mut Patch<'_>, body: &Object<'_>| patch.set(body, "model", b"\"b\"");
        check(r#"{ "model" : "a", "n":1.0,"x": [ ] }"#, edit, r#"{ "model" : "b", "n":1.0,"x": [ ] }"#);
        check(
            r#"{"model":1,"o":{"model":2},"model":3}"#,
            edit,
            r#"{"model":"b","o":{"model":2},"model":"b"}"#,
        );
        check(r#"{"mod\u0065l":"a"}"#, edit, r#"{"mod\u0065l":"b"}"#);
    }

    #[test]
    fn an_absent_member_is_added_at_the_end() {
        let edit = |patch: &mut Patch<'_>, body: &Object<'_>| {
            patch.set(body, "a", b"1");
            patch.set(body, "b", b"2");
        };
        check("{}", edit, r#"{"a":1,"b":2}"#);
        check("{ \n }", edit, "{\"a\":1,\"b\":2 \n }");
        check(r#"{"x":0 }"#, edit, r#"{"x":0,"a":1,"b":2 }"#);
    }

    #[test]
    fn nested_objects_are_edited_in_the_same_go() {
        let edit = |patch: &mut Patch<'_>, body: &Object<'_>| {
            let options = body.get("o").unwrap().object().unwrap();
            patch.set(&options, "u", b"true");
            patch.set(body, "m", b"9");
        };
        check(r#"{"o":{"a":1},"m":2}"#, edit, r#"{"o":{"a":1,"u":true},"m":9}"#);
        check(r#"{"m":2,"o":{}}"#, edit, r#"{"m":9,"o":{"u":true}}"#);
    }

    #[test]
    fn members_go_with_their_commas() {
        let without = |names: &'static [&'static str]| {
            move |patch: &mut Patch<'_>, body: &Object<'_>| patch.remove(body, names)
        };
        let text = r#"{ "a":1, "b":2 , "c":3 }"#;
        check(text, without(&["a"]), r#"{ "b":2 , "c":3 }"#);
        check(text, without(&["b"]), r#"{ "a":1 , "c":3 }"#);
        check(text, without(&["c"]), r#"{ "a":1, "b":2 }"#);
        check(text, without(&["a", "b"]), r#"{ "c":3 }"#);
        check(text, without(&["a", "c"]), r#"{ "b":2 }"#);
        check(text, without(&["b", "c"]), r#"{ "a":1 }"#);
        check(text, without(&["a", "b", "c"]), "{  }");
        check(text, without(&["x"]), text);
        check(r#"{"a":1,"b":0,"a":2}"#, without(&["a"]), r#"{"b":0}"#);
    }

    #[test]
    fn an_emptied_object_is_filled_without_a_comma() {
        let edit = |patch: &mut Patch<'_>, body: &Object<'_>| {
            patch.remove(body, &["a", "b"]);
            patch.set(body, "x", b"1");
            patch.set(body, "y", b"2");
        };
        check(r#"{ "a":1 , "b":2 }"#, edit, r#"{ "x":1,"y":2 }"#);
        check(r#"{"a":1,"c":3,"b":2}"#, edit, r#"{"c":3,"x":1,"y":2}"#);
        check("{}", edit, r#"{"x":1,"y":2}"#);
    }

    #[test]
    fn a_later_edit_of_the_same_value_wins() {
        let edit = |patch: &mut Patch<'_>, body: &Object<'_>| {
            patch.set(body, "m", b"1");
            patch.set(body, "m", b"2");
        };
        check(r#"{"m":0}"#, edit, r#"{"m":2}"#);
    }

    #[test]
    fn an_edit_inside_a_replaced_value_is_covered() {
        let edit = |patch: &mut Patch<'_>, body: &Object<'_>| {
            let inner = body.get("o").unwrap().object().unwrap();
            patch.set(&inner, "a", b"5");
            patch.set(body, "o", b"null");
        };
        check(r#"{"o":{"a":1}}"#, edit, r#"{"o":null}"#);
    }
}
