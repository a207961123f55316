//! Schemas that Anthropic holds an answer to, or what a tool is called with. It refuses those with more in them than
//! [it can hold to](https://platform.claude.com/docs/en/build-with-claude/structured-outputs#json-schema-limitations).
//! As Anthropic's own clients do it, objects are closed, and what it does not know goes into the description, where the
//! model may read it.

use common::json::{self, ArrayWriter, Document, Kind, Object, ObjectWriter, Raw};

use crate::read::is_of;

/// What stands behind a name in a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    /// Something that Anthropic does not know.
    Unknown,
    /// Nothing that is said here.
    Nothing,
    Plain,
    Schema,
    List,
    /// Schemas by their names.
    Named,
    /// The same, which may be referred to.
    Defined,
}

const KNOWN: [(&str, Holds); 19] = [
    ("$schema", Holds::Nothing),
    ("$id", Holds::Nothing),
    ("$comment", Holds::Nothing),
    ("description", Holds::Nothing),
    ("additionalProperties", Holds::Nothing),
    ("type", Holds::Plain),
    ("enum", Holds::Plain),
    ("const", Holds::Plain),
    ("title", Holds::Plain),
    ("default", Holds::Plain),
    ("required", Holds::Plain),
    ("format", Holds::Plain),
    ("minItems", Holds::Plain),
    ("items", Holds::Schema),
    ("anyOf", Holds::List),
    ("allOf", Holds::List),
    ("properties", Holds::Named),
    ("$defs", Holds::Defined),
    ("definitions", Holds::Defined),
];

/// How deep schemas are looked for in one another. What is deeper stays as it is.
const MAX_DEPTH: u32 = 32;

/// What texts can be held to.
const FORMATS: [&str; 10] =
    ["date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"];

/// Writes a schema as Anthropic takes it.
pub(super) fn write(text: &[u8], out: &mut Vec<u8>) {
    match Document::of(text) {
        Ok(schema) => write_schema(&schema.object(), MAX_DEPTH, out),
        Err(_) => out.extend_from_slice(text),
    }
}

fn write_schema(schema: &Object<'_>, depth: u32, out: &mut Vec<u8>) {
    let refers = schema.get("$ref");
    let has_any_of = schema.get("anyOf").is_some();
    let mut moved = Vec::new();
    let mut written = ObjectWriter::open(out);
    for (name, value) in schema.members() {
        let name = if name == "oneOf" && !has_any_of { "anyOf" } else { &*name };
        let is_unknown = match name {
            "additionalProperties" => value.kind() != Kind::Bool,
            "format" => !FORMATS.iter().any(|format| value.is(format)),
            "minItems" => !matches!(value.text(), b"0" | b"1"),
            "items" => value.kind() == Kind::Array,
            _ => false,
        };
        let known = KNOWN.iter().find(|(known, _)| *known == name && !is_unknown);
        match known.map_or(Holds::Unknown, |(_, holds)| *holds) {
            Holds::Defined => write_named(value, depth, written.member(name)),
            // Nothing else may stand beside a reference.
            _ if refers.is_some() => {}
            Holds::Nothing => {}
            Holds::Plain => written.raw(name, value.text()),
            Holds::Schema => write_value(value, depth, written.member(name)),
            Holds::List => write_list(value, depth, written.member(name)),
            Holds::Named => write_named(value, depth, written.member(name)),
            Holds::Unknown => {
                let before: &[u8] = if moved.is_empty() { b"{" } else { b", " };
                moved.extend([before, name.as_bytes(), b": ", value.text()].concat());
            }
        }
    }
    if let Some(refers) = refers {
        written.raw("$ref", refers.text());
        return written.close();
    }
    let types = schema.get("type").and_then(|types| types.elements()).unwrap_or_default();
    if is_of(schema, "type", "object")
        || types.iter().any(|kind| kind.is("object"))
        || schema.get("properties").is_some()
    {
        written.raw("additionalProperties", b"false");
    }
    let said = schema.get("description").and_then(|description| description.escaped()).unwrap_or_default();
    if !moved.is_empty() {
        moved.push(b'}');
    }
    let moved = json::string(std::str::from_utf8(&moved).unwrap_or_default());
    let moved = moved.strip_prefix(b"\"").and_then(|moved| moved.strip_suffix(b"\"")).unwrap_or_default();
    let between: &[u8] = if said.is_empty() || moved.is_empty() { b"" } else { br"\n\n" };
    if !(said.is_empty() && moved.is_empty()) {
        written.pieces("description", [said, between, moved]);
    }
    written.close();
}

fn write_value(value: Raw<'_>, depth: u32, out: &mut Vec<u8>) {
    match (value.object(), depth.checked_sub(1)) {
        (Some(schema), Some(depth)) => write_schema(&schema, depth, out),
        _ => out.extend_from_slice(value.text()),
    }
}

fn write_list(value: Raw<'_>, depth: u32, out: &mut Vec<u8>) {
    let Some(schemas) = value.elements() else { return out.extend_from_slice(value.text()) };
    let mut list = ArrayWriter::open(out);
    schemas.into_iter().for_each(|schema| write_value(schema, depth, list.element()));
    list.close();
}

/// Schemas by their names, which may be any.
fn write_named(value: Raw<'_>, depth: u32, out: &mut Vec<u8>) {
    let Some(schemas) = value.object() else { return out.extend_from_slice(value.text()) };
    out.push(b'{');
    for (at, (name, schema)) in schemas.members().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        json::write_string(out, &name);
        out.push(b':');
        write_value(schema, depth, out);
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(schema: &str, expected: &str) {
        let mut out = Vec::new();
        write(schema.as_bytes(), &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn objects_are_closed_wherever_they_stand() {
        let closed = r#"{"type":"object","properties":{},"additionalProperties":false}"#;
        check(closed, closed);
        check(r#"{"type":"object","properties":{},"additionalProperties":true}"#, closed);
        check(r#"{"properties":{}}"#, r#"{"properties":{},"additionalProperties":false}"#);
        check(r#"{"type":["object","null"]}"#, r#"{"type":["object","null"],"additionalProperties":false}"#);
        for (before, after) in [
            (r#"{"type":"array","items":"#, "}"),
            (r#"{"anyOf":["#, r#",{"type":"null"}]}"#),
            (r#"{"allOf":["#, "]}"),
            (r#"{"$defs":{"a\"b":"#, r##"},"$ref":"#/$defs/a"}"##),
            (r#"{"definitions":{"a":"#, r#"},"enum":[1,null]}"#),
            (
                r#"{"type":"object","properties":{"type":"#,
                r#"},"required":["type"],"additionalProperties":false}"#,
            ),
        ] {
            let around = |schema: &str| format!("{before}{schema}{after}");
            check(
                &around(r#"{"type":"object"}"#),
                &around(r#"{"type":"object","additionalProperties":false}"#),
            );
        }
    }

    #[test]
    fn what_is_not_known_goes_into_the_description() {
        check(
            r#"{"type":"integer","minimum":0,"description":"An \"age\"","maximum":10}"#,
            r#"{"type":"integer","description":"An \"age\"\n\n{minimum: 0, maximum: 10}"}"#,
        );
        check(
            r#"{"type":"string","pattern":"^\\d$","format":"x","maxLength":1}"#,
            r#"{"type":"string","description":"{pattern: \"^\\\\d$\", format: \"x\", maxLength: 1}"}"#,
        );
        check(r#"{"type":"array","minItems":2}"#, r#"{"type":"array","description":"{minItems: 2}"}"#);
        check(
            r#"{"type":"object","additionalProperties":{"type":"string"}}"#,
            r#"{"type":"object","additionalProperties":false,"description":"{additionalProperties: {\"type\":\"string\"}}"}"#,
        );
        check(
            r#"{"items":[{"type":"string"}],"anyOf":[],"oneOf":[]}"#,
            r#"{"anyOf":[],"description":"{items: [{\"type\":\"string\"}], oneOf: []}"}"#,
        );
    }

    #[test]
    fn what_is_known_stays() {
        for schema in [
            r#"{"type":"string","format":"date-time","const":"a","default":"a","title":"T","description":"D"}"#,
            r#"{"type":"array","minItems":1,"items":{"type":"string"}}"#,
            r##"{"$ref":"#/$defs/a"}"##,
            r#"{"items":true,"properties":7,"anyOf":8,"additionalProperties":false}"#,
            "{}",
        ] {
            check(schema, schema);
        }
        check(r#"{"$schema":"s","$id":"i","oneOf":[{"type":"null"}]}"#, r#"{"anyOf":[{"type":"null"}]}"#);
        check(r#"{"$ref":"r","description":"D","minimum":1}"#, r#"{"$ref":"r"}"#);
        check("7", "7");
    }

    #[test]
    fn what_is_too_deep_stays() {
        let nested =
            |depth: usize, leaf: &str| format!("{}{leaf}{}", r#"{"items":"#.repeat(depth), "}".repeat(depth));
        let open = r#"{"type":"integer","minimum":1}"#;
        check(&nested(32, open), &nested(32, r#"{"type":"integer","description":"{minimum: 1}"}"#));
        check(&nested(33, open), &nested(33, open));
    }
}
