//! A value inside objects, named by the members that lead to it.

use super::object::{Kind, Object, Raw};
use super::patch::Patch;
use super::write_string;

/// Names of members, from the outermost object to the value: `request.model`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    first: String,
    rest: Vec<String>,
}

impl Path {
    /// Reads a path, as [`path_names`] does.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut names = path_names(text).into_iter();
        Self { first: names.next().unwrap_or_default(), rest: names.collect() }
    }

    /// Every value of that path, in the order of the text. There are several where a name stands twice.
    #[must_use]
    pub fn values<'a>(&self, object: &Object<'a>) -> Vec<Raw<'a>> {
        let mut found: Vec<Raw<'a>> = object.all(&self.first).collect();
        for name in &self.rest {
            let inner = found.iter().filter_map(Raw::object);
            found = inner.flat_map(|object| object.all(name).collect::<Vec<_>>()).collect();
        }
        found
    }

    /// Gives every value of that path this one, and makes what leads to it where it is absent or null. Where
    /// something else than an object is in the way, that stays.
    pub fn set(&self, patch: &mut Patch<'_>, object: &Object<'_>, with: &[u8]) {
        set(&self.first, &self.rest, patch, object, with);
    }
}

/// The names in a path: dots stand between them, and a backslash takes the next character as it is. There is always
/// one, if an empty one.
#[must_use]
pub fn path_names(path: &str) -> Vec<String> {
    let mut names = vec![String::new()];
    let mut chars = path.chars();
    while let Some(char) = chars.next() {
        match (char, names.last_mut()) {
            ('.', _) => names.push(String::new()),
            ('\\', Some(name)) => name.extend(chars.next()),
            (char, Some(name)) => name.push(char),
            (_, None) => {}
        }
    }
    names
}

fn set(name: &str, rest: &[String], patch: &mut Patch<'_>, object: &Object<'_>, with: &[u8]) {
    let Some((next, rest)) = rest.split_first() else { return patch.set(object, name, with) };
    let mut is_absent = true;
    for value in object.all(name) {
        is_absent = false;
        match (value.kind(), value.object()) {
            (_, Some(inner)) => set(next, rest, patch, &inner, with),
            (Kind::Null, _) => patch.replace(value, &nested(next, rest, with)),
            _ => {}
        }
    }
    if is_absent {
        patch.set(object, name, &nested(next, rest, with));
    }
}

fn nested(name: &str, rest: &[String], with: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len() + with.len() + 8);
    out.push(b'{');
    write_string(&mut out, name);
    out.push(b':');
    match rest.split_first() {
        Some((next, rest)) => out.extend_from_slice(&nested(next, rest, with)),
        None => out.extend_from_slice(with),
    }
    out.push(b'}');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::object;

    fn check(path: &str, text: &str, values: &[&str], set: &str) {
        let path = Path::parse(path);
        let body = object(text.as_bytes()).unwrap();
        let found = path.values(&body);
        let found: Vec<_> = found.iter().map(|value| std::str::from_utf8(value.text()).unwrap()).collect();
        assert_eq!(found, values, "{text}");
        let mut patch = Patch::new(text.as_bytes());
        path.set(&mut patch, &body, b"9");
        assert_eq!(String::from_utf8(patch.finish()).unwrap(), set);
    }

    #[test]
    fn a_path_leads_through_objects() {
        check("m", r#"{"m":1,"o":{"m":2}}"#, &["1"], r#"{"m":9,"o":{"m":2}}"#);
        check("o.m", r#"{"m":1,"o":{"m":2}}"#, &["2"], r#"{"m":1,"o":{"m":9}}"#);
        check("a.b.c", r#"{"a":{"b":{"c":[1]}}}"#, &["[1]"], r#"{"a":{"b":{"c":9}}}"#);
    }

    #[test]
    fn names_may_hold_dots_and_backslashes() {
        check(r"a\.b.c\\d", r#"{"a.b":{"c\\d":1},"a":{"b":2}}"#, &["1"], r#"{"a.b":{"c\\d":9},"a":{"b":2}}"#);
        check("", r#"{"":1}"#, &["1"], r#"{"":9}"#);
        check(r"a\", r#"{"a":1}"#, &["1"], r#"{"a":9}"#);
    }

    #[test]
    fn what_is_absent_or_null_on_the_way_is_made() {
        check("m", "{}", &[], r#"{"m":9}"#);
        check("a.b.c", r#"{"x":1}"#, &[], r#"{"x":1,"a":{"b":{"c":9}}}"#);
        check("a.b.c", r#"{"a":{}}"#, &[], r#"{"a":{"b":{"c":9}}}"#);
        check("a.b", r#"{"a":null}"#, &[], r#"{"a":{"b":9}}"#);
        check("a.b", r#"{"a":"text"}"#, &[], r#"{"a":"text"}"#);
    }

    #[test]
    fn duplicates_are_found_and_set_at_every_level() {
        check("m", r#"{"m":1,"m":2}"#, &["1", "2"], r#"{"m":9,"m":9}"#);
        check(
            "a.b",
            r#"{"a":{"b":1,"b":2},"a":{"b":3},"a":{}}"#,
            &["1", "2", "3"],
            r#"{"a":{"b":9,"b":9},"a":{"b":9},"a":{"b":9}}"#,
        );
    }
}
