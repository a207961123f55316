//! A serde deserializer for configurations: converts what loses nothing, knows where it is, and
//! notes the keys that nothing reads.

use std::cell::RefCell;
use std::fmt::{self, Write as _};

use serde::de::value::{StrDeserializer, StringDeserializer};
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error as _, Expected, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, VariantAccess, Visitor,
};
use serde_json::Value;

use super::ConfigError;
use super::load::Variables;
use super::node::{element, member};
use super::secret::{MARKER, substitute};
use crate::json::decimal;

/// A key that the struct it was read into does not have.
#[derive(Debug, Clone)]
pub(super) struct Unknown {
    /// Path of the object.
    pub(super) parent: String,
    pub(super) key: String,
    /// The keys that the struct has.
    pub(super) known: &'static [&'static str],
}

/// What a reading needs and collects.
pub(super) struct Reading<'r> {
    variables: Variables<'r>,
    unknown: RefCell<Vec<Unknown>>,
}

/// Reads a value into a type. The second part names the keys that were not read, also where a value
/// failed: a misspelt key may be why another one is missing.
pub(super) fn read<'de, T: serde::Deserialize<'de>>(
    value: &'de Value,
    path: &str,
    variables: Variables<'_>,
) -> (Result<T, ConfigError>, Vec<Unknown>) {
    let reading = Reading { variables, unknown: RefCell::default() };
    let result = T::deserialize(Lenient { value, path: Path::Root(path), reading: &reading });
    let found = result.map_err(|failure| {
        ConfigError::new(failure.path.unwrap_or_else(|| path.to_owned()), failure.message)
    });
    (found, reading.unknown.into_inner())
}

/// The way from the document to a value, written out only where something is wrong.
#[derive(Clone, Copy)]
enum Path<'p> {
    Root(&'p str),
    Member(&'p Path<'p>, &'p str),
    Element(&'p Path<'p>, usize),
}

impl Path<'_> {
    fn text(&self) -> String {
        match self {
            Self::Root(path) => (*path).to_owned(),
            Self::Member(parent, key) => member(&parent.text(), key),
            Self::Element(parent, at) => element(&parent.text(), *at),
        }
    }
}

#[derive(Debug)]
struct Failure {
    path: Option<String>,
    message: String,
}

impl Failure {
    fn new(message: impl Into<String>) -> Self {
        Self { path: None, message: message.into() }
    }

    /// The innermost place that an error passes is where it belongs.
    #[cold]
    #[inline(never)]
    fn at(mut self, path: &Path<'_>) -> Self {
        self.path.get_or_insert_with(|| path.text());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// No message may hold a value: it could be a secret in the wrong place.
impl serde::de::Error for Failure {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("expected {expected}, found {}", kind_of(&found)))
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("expected {expected}"))
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        let mut message = String::from("expected ");
        for (at, name) in expected.iter().enumerate() {
            let _ = write!(message, "{}`{name}`", if at == 0 { "" } else { " or " });
        }
        Self::new(message)
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(format!("`{field}` is missing"))
    }
}

fn kind_of(found: &Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(_) => "a bool",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) | Unexpected::Float(_) => "a number",
        Unexpected::Str(_) | Unexpected::Char(_) | Unexpected::Bytes(_) => "a string",
        Unexpected::Unit | Unexpected::Option => "null",
        Unexpected::Seq => "a list",
        Unexpected::Map => "an object",
        _ => "something else",
    }
}

/// What a value is, in the words of the messages.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a bool",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

struct Lenient<'de, 'p, 'r> {
    value: &'de Value,
    path: Path<'p>,
    reading: &'r Reading<'r>,
}

impl<'de> Lenient<'de, '_, '_> {
    #[cold]
    #[inline(never)]
    fn expected(&self, what: &str) -> Failure {
        Failure::new(format!("expected {what}, found {}", kind(self.value))).at(&self.path)
    }

    /// The members of an object that have one of these names. There is a copy of what calls this for each struct.
    #[inline(never)]
    fn known(&self, known: &'static [&'static str]) -> Result<Vec<(&'de str, &'de Value)>, Failure> {
        let Value::Object(object) = self.value else { return Err(self.expected("an object")) };
        let mut entries = Vec::with_capacity(object.len());
        for (key, value) in object {
            if !known.contains(&key.as_str()) {
                let unknown = Unknown { parent: self.path.text(), key: key.clone(), known };
                self.reading.unknown.borrow_mut().push(unknown);
            } else if !value.is_null() {
                // Null says no more than absence does.
                entries.push((key.as_str(), value));
            }
        }
        Ok(entries)
    }

    /// A string, or the text of a number or bool.
    #[inline(never)]
    fn text(&self) -> Option<String> {
        match self.value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => {
                let unsigned = number.as_u64().map(|number| number.to_string());
                let whole = unsigned.or_else(|| number.as_i64().map(|number| number.to_string()));
                whole.or_else(|| decimal::write(number.as_f64()?))
            }
            Value::Bool(value) => Some(value.to_string()),
            _ => None,
        }
    }

    /// A whole number, whatever spelling it has.
    fn whole(&self) -> Option<Whole> {
        match self.value {
            Value::Number(number) => number.as_u64().map(Whole::Unsigned).or_else(|| {
                number.as_i64().map(Whole::Signed).or_else(|| number.as_f64().and_then(whole_float))
            }),
            Value::String(text) => {
                let text = text.trim();
                let unsigned = text.parse().ok().map(Whole::Unsigned);
                unsigned.or_else(|| text.parse().ok().map(Whole::Signed))
            }
            Value::Bool(value) => Some(Whole::Unsigned(u64::from(*value))),
            _ => None,
        }
    }

    #[inline(never)]
    fn whole_within(&self, least: i64, most: u64) -> Result<Whole, Failure> {
        let whole = match self.whole() {
            Some(whole) => whole,
            None if self.value.as_f64().is_some_and(|number| number.fract() != 0.0) => {
                return Err(Failure::new("expected a whole number, found a fraction").at(&self.path));
            }
            None => return Err(self.expected("a whole number")),
        };
        let fits = match whole {
            Whole::Unsigned(number) => number <= most,
            Whole::Signed(number) => number >= least,
        };
        if fits {
            Ok(whole)
        } else {
            Err(Failure::new(format!("expected a whole number from {least} to {most}")).at(&self.path))
        }
    }
}

enum Whole {
    Unsigned(u64),
    /// Below zero.
    Signed(i64),
}

/// A float without a fraction, small enough that its digits are all there.
fn whole_float(number: f64) -> Option<Whole> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() != 0.0 || number.abs() > EXACT {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "it has no fraction and fits, see above")]
    let whole = number as i64;
    Some(u64::try_from(whole).map_or(Whole::Signed(whole), Whole::Unsigned))
}

macro_rules! whole_numbers {
    ($($method:ident: $number:ty),* $(,)?) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
            match self.whole_within(<$number>::MIN as i64, <$number>::MAX as u64)? {
                Whole::Unsigned(number) => visitor.visit_u64(number),
                Whole::Signed(number) => visitor.visit_i64(number),
            }
            .map_err(|failure: Failure| failure.at(&self.path))
        })*
    };
}

impl<'de> Deserializer<'de> for Lenient<'de, '_, '_> {
    type Error = Failure;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(_) => match self.whole() {
                Some(Whole::Unsigned(number)) => visitor.visit_u64(number),
                Some(Whole::Signed(number)) => visitor.visit_i64(number),
                None => visitor.visit_f64(self.value.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Array(_) => return self.deserialize_seq(visitor),
            Value::Object(_) => return self.deserialize_map(visitor),
        }
        .map_err(|failure: Failure| failure.at(&self.path))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        let value = match self.value {
            Value::Bool(value) => Some(*value),
            Value::String(text) => text.trim().parse().ok(),
            Value::Number(number) if number.as_u64() == Some(0) => Some(false),
            Value::Number(number) if number.as_u64() == Some(1) => Some(true),
            _ => None,
        };
        let value = value.ok_or_else(|| self.expected("true or false"))?;
        visitor.visit_bool(value).map_err(|failure: Failure| failure.at(&self.path))
    }

    whole_numbers! {
        deserialize_i8: i8, deserialize_i16: i16, deserialize_i32: i32, deserialize_i64: i64,
        deserialize_u8: u8, deserialize_u16: u16, deserialize_u32: u32, deserialize_u64: u64,
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        let number = match self.value {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => decimal::read(text.trim()),
            Value::Bool(value) => Some(f64::from(*value)),
            _ => None,
        };
        let number = number.ok_or_else(|| self.expected("a number"))?;
        visitor.visit_f64(number).map_err(|failure: Failure| failure.at(&self.path))
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_string(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_string(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        let text = self.text().ok_or_else(|| self.expected("a string"))?;
        visitor.visit_string(text).map_err(|failure: Failure| failure.at(&self.path))
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_string(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_string(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        if self.value.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_any(visitor)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.deserialize_any(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        if name != MARKER {
            return visitor.visit_newtype_struct(self);
        }
        let text = self.text().ok_or_else(|| self.expected("a string"))?;
        let text = substitute(&text, self.reading.variables)
            .map_err(|message| Failure::new(message).at(&self.path))?;
        let inner: StringDeserializer<Failure> = text.into_deserializer();
        visitor.visit_newtype_struct(inner).map_err(|failure| failure.at(&self.path))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        let items = match self.value {
            Value::Array(items) => items.as_slice(),
            Value::Object(_) | Value::Null => return Err(self.expected("a list")),
            scalar => {
                // A scalar is a list of one; its place is its own.
                let path = self.path;
                return visitor
                    .visit_seq(One(Some(Self { value: scalar, path, ..self })))
                    .map_err(|failure| failure.at(&path));
            }
        };
        let access = Items { items: items.iter().enumerate(), path: &self.path, reading: self.reading };
        visitor.visit_seq(access).map_err(|failure| failure.at(&self.path))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        let Value::Object(object) = self.value else { return Err(self.expected("an object")) };
        let entries = object.iter().map(|(key, value)| (key.as_str(), value)).collect();
        let access = Members::new(entries, &self.path, self.reading);
        visitor.visit_map(access).map_err(|failure| failure.at(&self.path))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        let access = Members::new(self.known(known)?, &self.path, self.reading);
        visitor.visit_map(access).map_err(|failure| failure.at(&self.path))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        let text = self.text().ok_or_else(|| self.expected("a string"))?;
        visitor.visit_enum(Word(&text)).map_err(|failure| failure.at(&self.path))
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_string(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_unit()
    }
}

struct One<D>(Option<D>);

impl<'de, D: Deserializer<'de, Error = Failure>> SeqAccess<'de> for One<D> {
    type Error = Failure;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Failure> {
        self.0.take().map(|only| seed.deserialize(only)).transpose()
    }
}

struct Items<'de, 'p, 'r> {
    items: std::iter::Enumerate<std::slice::Iter<'de, Value>>,
    path: &'p Path<'p>,
    reading: &'r Reading<'r>,
}

impl<'de> SeqAccess<'de> for Items<'de, '_, '_> {
    type Error = Failure;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Failure> {
        let Some((at, value)) = self.items.next() else { return Ok(None) };
        let item = Lenient { value, path: Path::Element(self.path, at), reading: self.reading };
        seed.deserialize(item).map(Some).map_err(|failure| failure.at(&Path::Element(self.path, at)))
    }
}

struct Members<'de, 'p, 'r> {
    entries: std::vec::IntoIter<(&'de str, &'de Value)>,
    value: Option<(&'de str, &'de Value)>,
    path: &'p Path<'p>,
    reading: &'r Reading<'r>,
}

impl<'de, 'p, 'r> Members<'de, 'p, 'r> {
    fn new(entries: Vec<(&'de str, &'de Value)>, path: &'p Path<'p>, reading: &'r Reading<'r>) -> Self {
        Self { entries: entries.into_iter(), value: None, path, reading }
    }
}

impl<'de> MapAccess<'de> for Members<'de, '_, '_> {
    type Error = Failure;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Failure> {
        self.value = self.entries.next();
        let Some((key, _)) = self.value else { return Ok(None) };
        let name: StrDeserializer<'_, Failure> = key.into_deserializer();
        seed.deserialize(name).map(Some).map_err(|failure| failure.at(&Path::Member(self.path, key)))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Failure> {
        let Some((key, value)) = self.value.take() else {
            return Err(Failure::custom("a value without a key"));
        };
        let path = Path::Member(self.path, key);
        seed.deserialize(Lenient { value, path, reading: self.reading }).map_err(|failure| failure.at(&path))
    }
}

/// The name of a variant without content.
struct Word<'w>(&'w str);

impl<'de> EnumAccess<'de> for Word<'_> {
    type Error = Failure;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Failure> {
        let name: StrDeserializer<'_, Failure> = self.0.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> VariantAccess<'de> for Word<'_> {
    type Error = Failure;

    fn unit_variant(self) -> Result<(), Failure> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _: T) -> Result<T::Value, Failure> {
        Err(Failure::new("expected an object"))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Failure> {
        Err(Failure::new("expected a list"))
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], _: V) -> Result<V::Value, Failure> {
        Err(Failure::new("expected an object"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;
    use serde_json::json;

    use super::*;
    use crate::config::Secret;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Sample {
        text: String,
        number: u16,
        signed: i64,
        share: f64,
        flag: bool,
        list: Vec<String>,
        numbers: Vec<u32>,
        map: BTreeMap<String, String>,
        inner: Inner,
        inners: Vec<Inner>,
        maybe: Option<u32>,
        mode: Mode,
        token: Secret,
        tokens: Vec<Secret>,
        port: Option<std::num::NonZeroU16>,
        anything: Value,
        #[serde(alias = "older_name")]
        newer_name: String,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Inner {
        needed_key: u32,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(rename_all = "camelCase")]
    enum Mode {
        #[default]
        FirstMode,
        Second,
    }

    fn sample(value: &Value) -> (Result<Sample, String>, Vec<String>) {
        let variables = |name: &str| (name == "KEY").then(|| "sk-1".to_owned());
        let (sample, unknown) = read(value, "p", &variables);
        let unknown = unknown.iter().map(|unknown| member(&unknown.parent, &unknown.key)).collect();
        (sample.map_err(|error| error.to_string()), unknown)
    }

    fn check(value: &Value, expected: &Sample) {
        let (found, unknown) = sample(value);
        assert_eq!(found.as_ref(), Ok(expected));
        assert!(unknown.is_empty(), "{unknown:?}");
    }

    fn check_error(value: &Value, expected: &str) {
        assert_eq!(sample(value).0.unwrap_err(), expected);
    }

    #[test]
    fn what_loses_nothing_is_converted() {
        check(
            &json!({"text": 5, "number": "8080"}),
            &Sample { text: "5".into(), number: 8080, ..Sample::default() },
        );
        check(
            &json!({"text": true, "number": 1.0}),
            &Sample { text: "true".into(), number: 1, ..Sample::default() },
        );
        check(
            &json!({"flag": "true", "signed": "-3"}),
            &Sample { flag: true, signed: -3, ..Sample::default() },
        );
        check(
            &json!({"share": true, "signed": false, "number": " 7 ", "port": "80"}),
            &Sample { share: 1.0, number: 7, port: std::num::NonZeroU16::new(80), ..Sample::default() },
        );
        check(&json!({"flag": 1, "share": "0.5"}), &Sample { flag: true, share: 0.5, ..Sample::default() });
        check(
            &json!({"list": "solo", "numbers": 7}),
            &Sample { list: vec!["solo".into()], numbers: vec![7], ..Sample::default() },
        );
        check(
            &json!({"list": [1, "b", false]}),
            &Sample { list: vec!["1".into(), "b".into(), "false".into()], ..Sample::default() },
        );
    }

    #[test]
    fn what_loses_something_is_an_error_with_its_place() {
        check_error(&json!({"number": 1.5}), "p.number: expected a whole number, found a fraction");
        check_error(&json!({"number": -1}), "p.number: expected a whole number from 0 to 65535");
        check_error(&json!({"number": 1e300}), "p.number: expected a whole number, found a number");
        check_error(&json!({"port": 0}), "p.port: expected a nonzero u16");
        check_error(&json!({"share": "NaN"}), "p.share: expected a number, found a string");
        check_error(&json!({"tokens": ["a", {}]}), "p.tokens[1]: expected a string, found an object");
        check_error(&json!({"number": "x"}), "p.number: expected a whole number, found a string");
        check_error(&json!({"number": 70000}), "p.number: expected a whole number from 0 to 65535");
        check_error(&json!({"flag": 2}), "p.flag: expected true or false, found a number");
        check_error(&json!({"text": {}}), "p.text: expected a string, found an object");
        check_error(&json!({"text": ["a"]}), "p.text: expected a string, found a list");
        check_error(&json!({"list": {"a": 1}}), "p.list: expected a list, found an object");
        check_error(&json!({"list": ["a", null]}), "p.list[1]: expected a string, found null");
        check_error(&json!({"map": {"a b": []}}), "p.map[\"a b\"]: expected a string, found a list");
        check_error(&json!({"inner": "x"}), "p.inner: expected an object, found a string");
        check_error(
            &json!({"inners": [{}, {"neededKey": "no"}]}),
            "p.inners[1].neededKey: expected a whole number, found a string",
        );
        check_error(&json!({"mode": "third"}), "p.mode: expected `firstMode` or `second`");
        check_error(&json!([]), "p: expected an object, found a list");
    }

    #[test]
    fn null_is_absence() {
        check(&json!({"text": null, "maybe": null, "list": null, "inner": null}), &Sample::default());
    }

    #[test]
    fn unread_keys_are_noted_wherever_they_stand() {
        let value = json!({"texd": 1, "inner": {"neededkey": 1}, "inners": [{"x": 1}], "older_name": "o"});
        let (sample, unknown) = sample(&value);
        assert_eq!(sample.unwrap().newer_name, "o", "an alias is a known key");
        assert_eq!(unknown, ["p.texd", "p.inner.neededkey", "p.inners[0].x"]);
    }

    #[test]
    fn unread_keys_are_noted_beside_an_error() {
        let (sample, unknown) = sample(&json!({"nunber": 1, "number": {}}));
        assert_eq!(sample.unwrap_err(), "p.number: expected a whole number, found an object");
        assert_eq!(unknown, ["p.nunber"]);
    }

    #[test]
    fn a_value_of_no_fixed_type_is_kept_as_it_is() {
        let anything = json!({"a": [1, 1.5, -2, null, "${KEY}", {"b": true}]});
        check(&json!({"anything": anything}), &Sample { anything, ..Sample::default() });
    }

    #[test]
    fn secrets_are_filled_in_and_never_told() {
        check(&json!({"token": "a-${KEY}"}), &Sample { token: Secret::from("a-sk-1"), ..Sample::default() });
        check(
            &json!({"tokens": ["${KEY}", 5], "token": "$${KEY}", "text": "${KEY}"}),
            &Sample {
                tokens: vec!["sk-1".into(), "5".into()],
                token: "${KEY}".into(),
                text: "${KEY}".into(),
                ..Sample::default()
            },
        );
        check(&json!({"tokens": "${KEY}"}), &Sample { tokens: vec!["sk-1".into()], ..Sample::default() });
        let error = sample(&json!({"token": "geheim ${NONE}"})).0.unwrap_err();
        assert!(error.starts_with("p.token: the environment variable \"NONE\" is not set"), "{error}");
        for value in [
            json!({"token": "geheim ${NONE}"}),
            json!({"token": "geheim ${"}),
            json!({"token": {"geheim": "geheim"}}),
            json!({"number": "geheim"}),
            json!({"flag": "geheim"}),
            json!({"mode": "geheim"}),
            json!({"inner": "geheim"}),
            json!({"port": "geheim"}),
        ] {
            let error = sample(&value).0.unwrap_err();
            assert!(!error.contains("geheim"), "{error}");
        }
    }
}
