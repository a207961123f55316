//! A value of the document, with its place.

use std::rc::Rc;

use serde_json::Value;

use super::ConfigError;

/// A JSON value and its path, such as `_rules_[2].provider.apiTokens[0]`.
#[derive(Debug, Clone)]
pub struct Node<'a> {
    path: Rc<str>,
    value: &'a Value,
}

impl<'a> Node<'a> {
    pub(super) fn new(path: &str, value: &'a Value) -> Self {
        Self { path: path.into(), value }
    }

    /// Where the value stands; empty for the document itself.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The value.
    #[must_use]
    pub fn value(&self) -> &'a Value {
        self.value
    }

    /// A member of an object.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Node<'a>> {
        let value = self.value.as_object()?.get(key)?;
        Some(Self::new(&member(&self.path, key), value))
    }

    /// The elements of an array; anything else is its own only element, and null has none.
    #[must_use]
    pub fn items(&self) -> Vec<Node<'a>> {
        match self.value {
            Value::Array(items) => {
                let item = |(at, value)| Self::new(&element(&self.path, at), value);
                items.iter().enumerate().map(item).collect()
            }
            Value::Null => Vec::new(),
            _ => vec![self.clone()],
        }
    }

    /// The members of an object, in the order of the text.
    #[must_use]
    pub fn entries(&self) -> Vec<(&'a str, Node<'a>)> {
        let entry = |(key, value): (&'a String, &'a Value)| {
            (key.as_str(), Self::new(&member(&self.path, key), value))
        };
        self.value.as_object().map(|object| object.iter().map(entry).collect()).unwrap_or_default()
    }

    /// A complaint about this value.
    #[must_use]
    pub fn error(&self, message: impl Into<String>) -> ConfigError {
        ConfigError::new(&*self.path, message)
    }
}

/// The path of a member.
pub(super) fn member(path: &str, key: &str) -> String {
    let is_plain = !key.is_empty() && !key.contains(['.', '[', ']', ' ', '"']);
    match (path.is_empty(), is_plain) {
        (true, true) => key.to_owned(),
        (false, true) => format!("{path}.{key}"),
        (_, false) => format!("{path}[{key:?}]"),
    }
}

/// The path of an element.
pub(super) fn element(path: &str, at: usize) -> String {
    format!("{path}[{at}]")
}
