//! A `google.protobuf.Struct` in its wire form, which is what Envoy hands over where a configuration
//! is a Struct and not a StringValue.
//!
//! See <https://protobuf.dev/reference/protobuf/google.protobuf/#struct> for the messages and
//! <https://protobuf.dev/programming-guides/encoding/> for the encoding.

use serde_json::{Map, Value};

/// How deep values may nest; serde_json's own limit for JSON texts.
const MAX_DEPTH: usize = 128;

/// Reads a Struct. `None`: these bytes are none.
pub(super) fn decode(bytes: &[u8]) -> Option<Map<String, Value>> {
    fields(bytes, 0)
}

fn fields(bytes: &[u8], depth: usize) -> Option<Map<String, Value>> {
    let mut map = Map::new();
    for field in parse(bytes)? {
        // Struct: map<string, Value> fields = 1. Each entry: key = 1, value = 2.
        let (1, Wire::Bytes(entry)) = field else { return None };
        let (mut key, mut found) = ("", Value::Null);
        for field in parse(entry)? {
            match field {
                (1, Wire::Bytes(text)) => key = std::str::from_utf8(text).ok()?,
                (2, Wire::Bytes(bytes)) => found = value(bytes, depth)?,
                _ => return None,
            }
        }
        map.insert(key.to_owned(), found);
    }
    Some(map)
}

/// Value: null = 1, number = 2, string = 3, bool = 4, struct = 5, list = 6.
fn value(bytes: &[u8], depth: usize) -> Option<Value> {
    if depth == MAX_DEPTH {
        return None;
    }
    let mut found = Value::Null;
    for field in parse(bytes)? {
        found = match field {
            (1, Wire::Varint(_)) => Value::Null,
            (2, Wire::Fixed64(bits)) => number(f64::from_bits(bits))?,
            (3, Wire::Bytes(text)) => Value::String(std::str::from_utf8(text).ok()?.to_owned()),
            (4, Wire::Varint(flag)) => Value::Bool(flag != 0),
            (5, Wire::Bytes(inner)) => Value::Object(fields(inner, depth + 1)?),
            (6, Wire::Bytes(inner)) => {
                let item = |field| match field {
                    (1, Wire::Bytes(item)) => value(item, depth + 1),
                    _ => None,
                };
                Value::Array(parse(inner)?.into_iter().map(item).collect::<Option<_>>()?)
            }
            _ => return None,
        };
    }
    Some(found)
}

/// A double; one without a fraction was a whole number in the text that the Struct was made from.
fn number(number: f64) -> Option<Value> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() <= EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "it has no fraction and fits, see above")]
        return Some(Value::from(number as i64));
    }
    serde_json::Number::from_f64(number).map(Value::Number)
}

enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
}

fn parse(mut bytes: &[u8]) -> Option<Vec<(u64, Wire<'_>)>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        let wire = match tag & 7 {
            0 => Wire::Varint(varint(&mut bytes)?),
            1 => {
                let (word, rest) = bytes.split_first_chunk::<8>()?;
                bytes = rest;
                Wire::Fixed64(u64::from_le_bytes(*word))
            }
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                let (inner, rest) = bytes.split_at_checked(length)?;
                bytes = rest;
                Wire::Bytes(inner)
            }
            _ => return None,
        };
        fields.push((tag >> 3, wire));
    }
    Some(fields)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    /// The other direction, for tests.
    pub(in crate::config) fn encode(map: &Map<String, Value>) -> Vec<u8> {
        let mut out = Vec::new();
        for (key, value) in map {
            let entry = [bytes(1, key.as_bytes()), bytes(2, &encode_value(value))].concat();
            out.extend(bytes(1, &entry));
        }
        out
    }

    fn encode_value(value: &Value) -> Vec<u8> {
        match value {
            Value::Null => vec![0x08, 0],
            Value::Number(number) => [&[0x11][..], &number.as_f64().unwrap().to_le_bytes()].concat(),
            Value::String(text) => bytes(3, text.as_bytes()),
            Value::Bool(flag) => vec![0x20, u8::from(*flag)],
            Value::Object(map) => bytes(5, &encode(map)),
            Value::Array(items) => {
                bytes(6, &items.iter().flat_map(|item| bytes(1, &encode_value(item))).collect::<Vec<_>>())
            }
        }
    }

    fn bytes(field: u8, inner: &[u8]) -> Vec<u8> {
        let mut out = vec![field << 3 | 2];
        let mut length = inner.len();
        while length >= 0x80 {
            out.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
            length >>= 7;
        }
        out.push(u8::try_from(length).unwrap());
        out.extend_from_slice(inner);
        out
    }

    fn sample() -> Value {
        json!({
            "provider": {"type": "openai", "apiTokens": ["a", "b"], "timeout": 5000, "share": 0.25, "big": 1e300},
            "flag": true, "none": null, "empty": {}, "list": [], "text": "grüße", "negative": -7,
            "long": "x".repeat(300),
        })
    }

    #[test]
    fn a_struct_reads_as_the_json_it_was_made_from() {
        let Value::Object(map) = sample() else { panic!() };
        let wire = encode(&map);
        assert_eq!(wire[0], 0x0a);
        assert_eq!(Value::Object(decode(&wire).unwrap()), sample());
    }

    #[test]
    fn broken_bytes_are_none_and_never_panic() {
        let Value::Object(map) = sample() else { panic!() };
        let wire = encode(&map);
        for cut in 0..wire.len() {
            let _ = decode(&wire[..cut]);
        }
        for at in 0..wire.len() {
            for byte in [0, 0x0a, 0x7f, 0xff] {
                let mut changed = wire.clone();
                changed[at] = byte;
                let _ = decode(&changed);
            }
        }
        assert!(decode(&[0x0a]).is_none());
        let deep = (0..200).fold(vec![0x08, 0], |inner, _| bytes(6, &bytes(1, &inner)));
        let entry = [bytes(1, b"k"), bytes(2, &deep)].concat();
        assert!(decode(&bytes(1, &entry)).is_none());
    }
}
