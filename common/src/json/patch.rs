//! Edits as splices: every byte that none of them names stays.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Range;

use super::object::{Object, Raw};

/// Edits of one text, collected and then made in one go.
///
/// They may come in any order and meet in any place. Of two edits of one value or member the later wins; what
/// becomes of a value or member as a whole covers every edit inside it. Valid JSON stays valid.
#[derive(Debug)]
pub struct Patch<'a> {
    text: &'a [u8],
    splices: Vec<Splice>,
    /// Objects and arrays that lose or gain entries, by where the first one stands or would stand.
    lists: BTreeMap<usize, List>,
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
        Self { text, splices: Vec::new(), lists: BTreeMap::new() }
    }

    /// Whether nothing would change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.splices.is_empty() && self.lists.values().all(List::is_as_it_was)
    }

    /// Puts other JSON in the place of a value.
    pub fn replace(&mut self, value: Raw<'_>, with: &[u8]) {
        debug_assert_eq!(self.text.get(value.place()), Some(value.text()), "a value of another text");
        self.splices.push(Splice { range: value.place(), with: with.to_vec() });
    }

    /// Gives every member of that name this value; adds one at the end where there is none.
    pub fn set(&mut self, object: &Object<'_>, name: &str, with: &[u8]) {
        let list = self.lists.get(&object.open());
        let before = self.splices.len();
        for (at, range) in object.named(name) {
            if list.is_none_or(|list| list.keeps(at)) {
                self.splices.push(Splice { range, with: with.to_vec() });
            }
        }
        if self.splices.len() == before {
            let mut member = Vec::with_capacity(name.len() + with.len() + 4);
            super::write_string(&mut member, name);
            member.push(b':');
            member.extend_from_slice(with);
            self.members(object).add(usize::MAX, Some(name), member);
        }
    }

    /// Removes every member whose name is one of these.
    pub fn remove(&mut self, object: &Object<'_>, names: &[&str]) {
        for name in names {
            if let Some(list) = self.lists.get_mut(&object.open()) {
                list.added.retain(|added| added.name.as_deref() != Some(name));
            }
            for (at, _) in object.named(name) {
                self.members(object).cut(at);
            }
        }
    }

    /// Removes the elements of an array that `goes` names by their places among all its elements.
    pub fn remove_elements(&mut self, elements: &[Raw<'_>], goes: impl Fn(usize) -> bool) {
        let Some(first) = elements.first() else { return };
        let list = self.elements(first.place().start, elements);
        (0..elements.len()).filter(|at| goes(*at)).for_each(|at| list.cut(at));
    }

    /// Puts an element into an array of these elements, before the one that stands `at` this place or at the
    /// end. Several at one place stand in the order in which they came.
    pub fn insert(&mut self, array: Raw<'_>, elements: &[Raw<'_>], at: usize, with: &[u8]) {
        let start = elements.first().map_or(array.place().start + 1, |first| first.place().start);
        self.elements(start, elements).add(at, None, with.to_vec());
    }

    /// The edited text.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        for (start, list) in std::mem::take(&mut self.lists) {
            list.splice(start, &mut self.splices);
        }
        // Insertions first, then what covers most; insertions at one place keep their order.
        let order = |(nth, splice): (usize, &Splice)| {
            (splice.range.start, !splice.range.is_empty(), Reverse(splice.range.end), nth)
        };
        // They mostly come in order; a sort for any number of them would be a hundredth of a small plugin.
        let mut sorted = Vec::with_capacity(self.splices.len());
        for splice in self.splices.iter().enumerate().map(order) {
            let at = sorted.partition_point(|other| *other < splice);
            sorted.insert(at, splice);
        }
        let grown: usize = self.splices.iter().map(|splice| splice.with.len()).sum();
        let mut out = Vec::with_capacity(self.text.len() + grown);
        let mut at = 0;
        let mut order = sorted.into_iter().peekable();
        while let Some((start, replaces, end, nth)) = order.next() {
            // An edit inside another's range is covered by it, and so is an earlier one of the same value.
            let is_last = order.peek().is_none_or(|next| (next.0, next.1, next.2) != (start, replaces, end));
            let Some(splice) = self.splices.get(nth).filter(|_| start >= at && (is_last || !replaces)) else {
                continue;
            };
            out.extend_from_slice(self.text.get(at..splice.range.start).unwrap_or_default());
            out.extend_from_slice(&splice.with);
            at = splice.range.end;
        }
        out.extend_from_slice(self.text.get(at..).unwrap_or_default());
        out
    }

    fn members(&mut self, object: &Object<'_>) -> &mut List {
        self.lists.entry(object.open()).or_insert_with(|| List::new(object.places()))
    }

    /// No object has its key in `lists`: behind a brace stands no value, and an array's `start` is one or
    /// is behind a bracket.
    fn elements(&mut self, start: usize, elements: &[Raw<'_>]) -> &mut List {
        self.lists.entry(start).or_insert_with(|| List::new(elements.iter().map(Raw::place)))
    }
}

/// Members or elements that stand between commas, and what becomes of them.
#[derive(Debug)]
struct List {
    entries: Vec<Entry>,
    added: Vec<Added>,
}

#[derive(Debug)]
struct Entry {
    place: Range<usize>,
    goes: bool,
}

#[derive(Debug)]
struct Added {
    /// Before which entry.
    at: usize,
    /// Of a member.
    name: Option<String>,
    text: Vec<u8>,
}

impl List {
    fn new(places: impl Iterator<Item = Range<usize>>) -> Self {
        let entries = places.map(|place| Entry { place, goes: false }).collect();
        Self { entries, added: Vec::new() }
    }

    fn is_as_it_was(&self) -> bool {
        self.added.is_empty() && !self.entries.iter().any(|entry| entry.goes)
    }

    fn keeps(&self, at: usize) -> bool {
        self.entries.get(at).is_some_and(|entry| !entry.goes)
    }

    fn cut(&mut self, at: usize) {
        if let Some(entry) = self.entries.get_mut(at) {
            entry.goes = true;
        }
    }

    fn add(&mut self, at: usize, name: Option<&str>, text: Vec<u8>) {
        let known =
            name.and_then(|name| self.added.iter_mut().find(|added| added.name.as_deref() == Some(name)));
        match known {
            Some(added) => added.text = text,
            None => {
                // In the order of their places, and at one place as they came.
                let behind = self.added.iter().rposition(|added| added.at <= at).map_or(0, |last| last + 1);
                self.added.insert(behind, Added { at, name: name.map(str::to_owned), text });
            }
        }
    }

    /// The list's edits as splices, with the commas that go or come with its entries.
    fn splice(self, start: usize, splices: &mut Vec<Splice>) {
        let mut kept_end = None;
        let mut gone: Option<Range<usize>> = None;
        for Entry { place, goes } in &self.entries {
            if *goes {
                // After a kept neighbour, its comma goes too.
                let start = gone.map_or(kept_end.unwrap_or(place.start), |gone| gone.start);
                gone = Some(start..place.end);
                continue;
            }
            if let Some(mut range) = gone.take() {
                if kept_end.is_none() {
                    // Nothing is kept before: the comma behind goes, not the one in front.
                    range.end = place.start;
                }
                splices.push(Splice { range, with: Vec::new() });
            }
            kept_end = Some(place.end);
        }
        splices.extend(gone.map(|range| Splice { range, with: Vec::new() }));

        let end = kept_end.or(self.entries.last().map(|last| last.place.end)).unwrap_or(start);
        let mut is_first = kept_end.is_none();
        for Added { at, text, .. } in self.added {
            let next = self.entries.iter().skip(at).find(|entry| !entry.goes);
            let (place, with) = match next {
                Some(next) => (next.place.start, [text.as_slice(), b","].concat()),
                None if is_first => (end, text),
                None => (end, [b",", text.as_slice()].concat()),
            };
            is_first = false;
            splices.push(Splice { range: place..place, with });
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

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
        check("{ }", edit, r#"{"m":2 }"#);
        check(r#"{"m":0,"m":0,"x":0}"#, edit, r#"{"m":2,"m":2,"x":0}"#);
    }

    #[test]
    fn members_are_added_and_removed_in_any_order() {
        let text = r#"{"a":1,"b":2,"c":3}"#;
        check(
            text,
            |patch, body| ["a", "b"].iter().for_each(|name| patch.remove(body, &[name])),
            r#"{"c":3}"#,
        );
        let emptied_last = |patch: &mut Patch<'_>, body: &Object<'_>| {
            patch.set(body, "x", b"9");
            patch.remove(body, &["a", "b", "c"]);
        };
        check(text, emptied_last, r#"{"x":9}"#);
        let moved_to_the_end = |patch: &mut Patch<'_>, body: &Object<'_>| {
            patch.set(body, "a", b"8");
            patch.remove(body, &["a"]);
            patch.set(body, "a", b"9");
        };
        check(text, moved_to_the_end, r#"{"b":2,"c":3,"a":9}"#);
        let added_in_vain = |patch: &mut Patch<'_>, body: &Object<'_>| {
            patch.set(body, "x", b"9");
            patch.remove(body, &["x", "y"]);
            assert!(patch.is_empty());
        };
        check(text, added_in_vain, text);
    }

    #[test]
    fn elements_go_with_their_commas() {
        let without = |gone: &'static [usize]| {
            move |patch: &mut Patch<'_>, body: &Object<'_>| {
                let elements = body.get("a").unwrap().elements().unwrap();
                patch.replace(elements[0], b"7");
                patch.remove_elements(&elements, |at| gone.contains(&at));
            }
        };
        let text = r#"{"a":[ 1, {"b":2} ,"3" ]}"#;
        check(text, without(&[0]), r#"{"a":[ {"b":2} ,"3" ]}"#);
        check(text, without(&[1]), r#"{"a":[ 7 ,"3" ]}"#);
        check(text, without(&[1, 2]), r#"{"a":[ 7 ]}"#);
        check(text, without(&[0, 1, 2]), r#"{"a":[  ]}"#);
        check(text, without(&[]), r#"{"a":[ 7, {"b":2} ,"3" ]}"#);
        check(r#"{"a":[1]}"#, without(&[0]), r#"{"a":[]}"#);
    }

    #[test]
    fn an_element_is_put_where_it_is_to_stand() {
        let with = |at: usize| {
            move |patch: &mut Patch<'_>, body: &Object<'_>| {
                let array = body.get("a").unwrap();
                patch.insert(array, &array.elements().unwrap(), at, b"9");
                patch.set(body, "z", b"0");
            }
        };
        check(r#"{"a":[ 1, 2 ]}"#, with(0), r#"{"a":[ 9,1, 2 ],"z":0}"#);
        check(r#"{"a":[ 1, 2 ]}"#, with(1), r#"{"a":[ 1, 9,2 ],"z":0}"#);
        check(r#"{"a":[ 1, 2 ]}"#, with(2), r#"{"a":[ 1, 2,9 ],"z":0}"#);
        check(r#"{"a":[ ]}"#, with(7), r#"{"a":[9 ],"z":0}"#);
        check(r#"{"a":[]}"#, with(0), r#"{"a":[9],"z":0}"#);
    }

    #[test]
    fn elements_are_put_and_removed_in_one_go() {
        let text = r#"{"a":[1,2,3]}"#;
        let check = |gone: &[usize], expected: &str| {
            let edit = |patch: &mut Patch<'_>, body: &Object<'_>| {
                let array = body.get("a").unwrap();
                let elements = array.elements().unwrap();
                patch.insert(array, &elements, 9, b"8");
                patch.insert(array, &elements, 1, b"6");
                patch.remove_elements(&elements, |at| gone.contains(&at));
                patch.insert(array, &elements, 1, b"7");
            };
            check(text, edit, expected);
        };
        check(&[0], r#"{"a":[6,7,2,3,8]}"#);
        check(&[1], r#"{"a":[1,6,7,3,8]}"#);
        check(&[2], r#"{"a":[1,6,7,2,8]}"#);
        check(&[1, 2], r#"{"a":[1,6,7,8]}"#);
        check(&[0, 1, 2], r#"{"a":[6,7,8]}"#);
    }

    #[test]
    fn edits_of_every_kind_and_order_give_what_they_say() {
        let mut state = 7_u64;
        let mut pick = |of: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap() % of
        };
        let names = ["a", "b", "c", "o"];
        let spaces = ["", " ", "\n\t"];
        for _ in 0..20_000 {
            let mut members = |depth: usize| {
                let member =
                    |name: &str, value: &str, space: &str| format!("{space}\"{name}\"{space}:{value}{space}");
                let mut all: Vec<String> = (0..pick(5))
                    .map(|at| member(names[pick(3 + depth)], &at.to_string(), spaces[pick(3)]))
                    .collect();
                if depth == 0 && pick(4) > 0 {
                    all.insert(pick(all.len() + 1), member("o", "@", ""));
                }
                if all.is_empty() { spaces[pick(3)].to_owned() } else { all.join(",") }
            };
            let text = format!("{{{}}}", members(0)).replace('@', &format!("{{{}}}", members(1)));

            // What happens to `o` as a whole covers what happens inside, so the two are kept apart.
            let mut expected: Value = serde_json::from_str(&text).unwrap();
            let mut inside = expected.get("o").cloned();
            let mut is_whole = true;
            let body = object(text.as_bytes()).unwrap();
            let inner = body.get("o").map(|value| value.object().unwrap());
            let mut patch = Patch::new(text.as_bytes());
            for value in 100..100 + pick(8) {
                let (name, with) = (names[pick(4)], value.to_string());
                let (place, target) = match (&inner, &mut inside) {
                    (Some(inner), Some(inside)) if pick(2) == 0 => (inner, inside),
                    _ => {
                        is_whole &= name != "o";
                        (&body, &mut expected)
                    }
                };
                let target = target.as_object_mut().unwrap();
                match pick(2) {
                    0 => {
                        patch.set(place, name, with.as_bytes());
                        target.insert(name.into(), value.into());
                    }
                    _ => {
                        patch.remove(place, &[name]);
                        target.remove(name);
                    }
                }
            }
            if let Some(inside) = inside.filter(|_| is_whole) {
                expected["o"] = inside;
            }
            let edited = patch.finish();
            let found: Value = serde_json::from_slice(&edited).unwrap();
            assert_eq!(found, expected, "{text} became {}", String::from_utf8_lossy(&edited));
        }
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
