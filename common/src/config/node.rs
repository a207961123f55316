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
    // What would read as more than one step, or break the line, is quoted and escaped.
    let is_odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '.' | '[' | ']' | '"');
    let is_plain = !key.is_empty() && !key.contains(is_odd);
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(steps: &[&str], expected: &str) {
        let path = steps.iter().fold(String::new(), |path, step| match step.parse() {
            Ok(at) => element(&path, at),
            Err(_) => member(&path, step),
        });
        assert_eq!(path, expected);
    }

    #[test]
    fn a_path_is_one_line_whatever_the_keys_are() {
        check(&["_rules_", "2", "provider", "apiTokens", "0"], "_rules_[2].provider.apiTokens[0]");
        check(&["modelMapping", "gpt-4*"], "modelMapping.gpt-4*");
        check(&["a.b", "c d", ""], r#"["a.b"]["c d"][""]"#);
        check(&["a\nb", "\u{1b}c"], r#"["a\nb"]["\u{1b}c"]"#);
        check(&["a\u{2028}b"], r#"["a\u{2028}b"]"#);
    }

    #[test]
    fn members_and_elements_keep_their_order_and_know_their_place() {
        let value = json!({"z": [1, 2], "a": "x", "none": null});
        let node = Node::new("p", &value);
        let paths = |nodes: &[Node<'_>]| nodes.iter().map(|node| node.path().to_owned()).collect::<Vec<_>>();
        assert_eq!(node.entries().iter().map(|(key, _)| *key).collect::<Vec<_>>(), ["z", "a", "none"]);
        assert_eq!(paths(&node.get("z").unwrap().items()), ["p.z[0]", "p.z[1]"]);
        assert_eq!(paths(&node.get("a").unwrap().items()), ["p.a"], "a scalar is a list of one");
        assert!(node.get("none").unwrap().items().is_empty());
        assert!(node.get("absent").is_none());
        assert_eq!(node.get("a").unwrap().error("no").to_string(), "p.a: no");
    }
}
