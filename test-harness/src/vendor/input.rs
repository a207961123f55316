//! A request's body, read member by member; what is not as published is refused.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use super::fault::Fault;
use super::{Asked, models};
use crate::upstream::Recorded;

/// The members of a body.
pub(super) struct Input(Map<String, Value>);

impl Input {
    /// Reads a body that has these members and no others.
    pub(super) fn read(request: &Recorded, known: &[&str]) -> Result<Self, Fault> {
        let content_type = request.header("content-type");
        let media_type = content_type.as_deref().and_then(|kind| kind.split(';').next());
        if !media_type.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json")) {
            return Err(Fault::content_type(content_type.as_deref()));
        }
        let members: Map<String, Value> =
            serde_json::from_slice(&request.body).map_err(|error| Fault::not_json(&error.to_string()))?;
        // The model comes first, as it decides what the other members may be.
        if !members.contains_key("model") {
            return Err(Fault::no_model());
        }
        match members.keys().find(|name| !known.contains(&name.as_str())) {
            Some(unknown) => Err(Fault::unknown(unknown)),
            None => Ok(Self(members)),
        }
    }

    /// The model, if it does what is asked of it here.
    pub(super) fn model(&self, asked: &Asked<'_>, api: models::Use) -> Result<&str, Fault> {
        let model = self.text("model")?.ok_or_else(Fault::no_model)?;
        models::usable(asked.options.speaks, model, api)?;
        Ok(model)
    }

    /// A member; one that is null is not there.
    pub(super) fn value(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, Fault> {
        self.typed(name, "a string", Value::as_str)
    }

    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, Fault> {
        self.typed(name, "a boolean", Value::as_bool)
    }

    pub(super) fn list(&self, name: &str) -> Result<Option<&[Value]>, Fault> {
        self.typed(name, "an array", |value| value.as_array().map(Vec::as_slice))
    }

    pub(super) fn object(&self, name: &str) -> Result<Option<&Map<String, Value>>, Fault> {
        self.typed(name, "an object", Value::as_object)
    }

    pub(super) fn integer(&self, name: &str, range: RangeInclusive<u64>) -> Result<Option<u64>, Fault> {
        let number = self.typed(name, "an integer", Value::as_i64)?;
        number
            .map(|number| {
                let in_range = u64::try_from(number).ok().filter(|number| range.contains(number));
                in_range.ok_or_else(|| {
                    Fault::wrong_value(name, &format!("between {} and {}", range.start(), range.end()))
                })
            })
            .transpose()
    }

    pub(super) fn decimal(&self, name: &str, range: RangeInclusive<f64>) -> Result<Option<f64>, Fault> {
        match self.typed(name, "a number", Value::as_f64)? {
            Some(number) if !range.contains(&number) => {
                Err(Fault::wrong_value(name, &format!("between {} and {}", range.start(), range.end())))
            }
            number => Ok(number),
        }
    }

    /// One string, or up to `most` of them.
    pub(super) fn texts(&self, name: &str, most: usize) -> Result<Vec<&str>, Fault> {
        let Some(value) = self.value(name) else { return Ok(Vec::new()) };
        let texts = match value {
            Value::String(text) => Some(vec![text.as_str()]),
            Value::Array(items) => items.iter().map(Value::as_str).collect(),
            _ => None,
        };
        let texts = texts.ok_or_else(|| Fault::wrong_type(name, "a string or an array of strings"))?;
        if texts.len() > most {
            return Err(Fault::wrong_value(name, &format!("at most {most} strings")));
        }
        Ok(texts)
    }

    /// Whether to stream, and whether with usage.
    pub(super) fn stream(&self) -> Result<Stream, Fault> {
        let options = self.object("stream_options")?;
        match (self.flag("stream")?.unwrap_or(false), options) {
            (false, Some(_)) => {
                Err(Fault::wrong_value("stream_options", "absent where `stream` is not true"))
            }
            (false, None) => Ok(Stream::No),
            (true, None) => Ok(Stream::Plain),
            (true, Some(options)) => match options.get("include_usage") {
                Some(Value::Bool(true)) => Ok(Stream::WithUsage),
                Some(Value::Bool(false)) | None => Ok(Stream::Plain),
                Some(_) => Err(Fault::wrong_type("stream_options.include_usage", "a boolean")),
            },
        }
    }

    fn typed<'a, T>(
        &'a self,
        name: &str,
        expected: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, Fault> {
        self.value(name).map(|value| read(value).ok_or_else(|| Fault::wrong_type(name, expected))).transpose()
    }
}

/// Refuses a value that is no object with these members, or fewer of them.
pub(super) fn only(at: &str, value: &Value, known: &[&str]) -> Result<(), Fault> {
    let members = value.as_object().ok_or_else(|| Fault::wrong_type(at, "an object"))?;
    match members.keys().find(|name| !known.contains(&name.as_str())) {
        Some(unknown) => Err(Fault::unknown(&format!("{at}.{unknown}"))),
        None => Ok(()),
    }
}

/// How an answer is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    /// In one piece.
    No,
    /// As events.
    Plain,
    /// As events, the last of which tells the usage.
    WithUsage,
}
