//! A text as a tree of values: for configurations, which are small and looked at from many sides.

use serde_json::{Map, Number, Value};

use super::decimal;
use super::object::unquoted;
use super::scan::{JsonError, Scanner};

/// How deep arrays and objects may nest.
const MAX_DEPTH: u32 = 128;

/// The text as a tree. Of members with the same name the last counts.
///
/// # Errors
/// It is not JSON; or a string is no text, or a number none that a computer has.
pub fn tree(text: &[u8]) -> Result<Value, JsonError> {
    let mut scanner = Scanner::new(text);
    scanner.spaces();
    let value = grown(&mut scanner, text, 0)?;
    scanner.end()?;
    Ok(value)
}

fn grown(scanner: &mut Scanner<'_>, text: &[u8], depth: u32) -> Result<Value, JsonError> {
    let start = scanner.at;
    let opening = scanner.peek();
    if matches!(opening, Some(b'{' | b'[')) {
        if depth >= MAX_DEPTH {
            return Err(JsonError::TooDeep { at: start });
        }
        scanner.at += 1;
        scanner.spaces();
    }
    let syntax = || JsonError::Syntax { at: start };
    match opening {
        Some(b'{') => {
            let mut map = Map::new();
            let mut goes_on = !scanner.pass(b'}');
            while goes_on {
                let at = scanner.at;
                let (end, _) = scanner.key()?;
                let name = text.get(at..end).and_then(unquoted).ok_or(JsonError::Syntax { at })?.into_owned();
                map.insert(name, grown(scanner, text, depth + 1)?);
                goes_on = another(scanner, b'}')?;
            }
            Ok(Value::Object(map))
        }
        Some(b'[') => {
            let mut list = Vec::new();
            let mut goes_on = !scanner.pass(b']');
            while goes_on {
                list.push(grown(scanner, text, depth + 1)?);
                goes_on = another(scanner, b']')?;
            }
            Ok(Value::Array(list))
        }
        _ => {
            scanner.value(depth)?;
            let scalar = text.get(start..scanner.at).unwrap_or_default();
            match scalar {
                b"null" => Ok(Value::Null),
                b"true" => Ok(Value::Bool(true)),
                b"false" => Ok(Value::Bool(false)),
                [b'"', ..] => {
                    unquoted(scalar).map(|text| Value::String(text.into_owned())).ok_or_else(syntax)
                }
                number => self::number(number).map(Value::Number).ok_or_else(syntax),
            }
        }
    }
}

/// Passes what stands behind an entry. Says whether another one follows.
fn another(scanner: &mut Scanner<'_>, closing: u8) -> Result<bool, JsonError> {
    scanner.spaces();
    if scanner.pass(closing) {
        return Ok(false);
    }
    if !scanner.pass(b',') {
        return Err(scanner.syntax());
    }
    scanner.spaces();
    Ok(true)
}

fn number(text: &[u8]) -> Option<Number> {
    let text = std::str::from_utf8(text).ok()?;
    if let Ok(number) = text.parse::<u64>() {
        return Some(number.into());
    }
    if let Ok(number) = text.parse::<i64>() {
        return Some(number.into());
    }
    Number::from_f64(decimal::read(text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_what_serde_json_makes_of_the_text() {
        for text in [
            "null",
            " [ true , false ] ",
            r#"{"a":{"b":[1,-2,3.5,1e3,-0.0,18446744073709551615,-9223372036854775808,1E400e]}}"#,
            r#"{"a":1,"b":2,"a":{"c":"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00 é😀"}}"#,
            r#""""#,
            "7",
            "{}",
            "[]",
            "",
            "{",
            "[1,]",
            "1e999",
            r#"["\ud800"]"#,
            r#"["\ud800\u0041"]"#,
            "nul",
            "{} x",
            r#"{"a":[1e4e]}"#,
            r#"{"a":[1,2 3]}"#,
            r#"{"a":{"b" 1}}"#,
            r#"{"a":{"b":1,}}"#,
            r#"["\q"]"#,
        ] {
            let expected = serde_json::from_str::<Value>(text).ok();
            assert_eq!(tree(text.as_bytes()).ok(), expected, "{text}");
        }
        assert!(tree(b"\"\xff\"").is_err());
        let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(tree(deep(128).as_bytes()).is_ok());
        assert_eq!(tree(deep(129).as_bytes()), Err(JsonError::TooDeep { at: 128 }));
        assert_eq!(tree(b"{\"a\":[1, 2x]}"), Err(JsonError::Syntax { at: 10 }));
    }
}
