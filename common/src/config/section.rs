//! One config object in the hands of a plugin.

use std::any::Any;
use std::rc::Rc;

use serde::de::DeserializeOwned;

use super::lenient::{self, Unknown};
use super::load::Variables;
use super::node::member;
use super::{ConfigError, Node};

/// One config object, the global one or a rule's, without the reserved keys.
pub struct Section<'a> {
    pub(super) node: Node<'a>,
    pub(super) global: Option<Node<'a>>,
    pub(super) variables: Variables<'a>,
    pub(super) warnings: &'a mut Vec<ConfigError>,
    pub(super) is_order_lost: bool,
    pub(super) shared: &'a mut Shared,
}

/// What several objects of one document have in common, by its key.
pub(super) type Shared = Vec<(String, Result<Rc<dyn Any>, ConfigError>)>;

impl<'a> Section<'a> {
    /// The object itself.
    #[must_use]
    pub fn node(&self) -> Node<'a> {
        self.node.clone()
    }

    /// In a rule: the global object, for plugins whose rules inherit.
    #[must_use]
    pub fn global(&self) -> Option<Node<'a>> {
        self.global.clone()
    }

    /// Whether the document came in a form that keeps no order of keys.
    #[must_use]
    pub fn is_order_lost(&self) -> bool {
        self.is_order_lost
    }

    /// Reads the whole object. A key that `T` does not have is a warning.
    ///
    /// # Errors
    /// A value has the wrong type, or a needed one is missing.
    pub fn read<T: DeserializeOwned>(&mut self) -> Result<T, ConfigError> {
        self.read_node(&self.node.clone())
    }

    /// Reads one value. A key that `T` does not have is a warning.
    ///
    /// # Errors
    /// A value has the wrong type, or a needed one is missing.
    pub fn read_node<T: DeserializeOwned>(&mut self, node: &Node<'_>) -> Result<T, ConfigError> {
        let (found, unknown) = lenient::read(node.value(), node.path(), self.variables);
        self.warn_of(unknown.iter().map(|unknown| (unknown, unknown.known, &[][..])));
        found
    }

    /// Reads one object twice: settings that all kinds share, and those of one kind. A key is unknown
    /// only if neither has it.
    ///
    /// # Errors
    /// A value has the wrong type, or a needed one is missing.
    pub fn read_pair<A: DeserializeOwned, B: DeserializeOwned>(
        &mut self,
        node: &Node<'_>,
    ) -> Result<(A, B), ConfigError> {
        let (shared, first) = lenient::read(node.value(), node.path(), self.variables);
        let (own, second) = lenient::read(node.value(), node.path(), self.variables);
        self.warn_of_pair(node, &first, &second);
        Ok((shared?, own?))
    }

    /// What `make` makes of a part of the document that several objects refer to: made once, and the same for all that
    /// give the same key.
    ///
    /// # Errors
    /// That of `make`.
    pub fn shared<T: 'static>(
        &mut self,
        key: &str,
        make: impl FnOnce(&mut Self) -> Result<T, ConfigError>,
    ) -> Result<Rc<T>, ConfigError> {
        if let Some((_, made)) = self.shared.iter().find(|(known, _)| known == key) {
            match made.clone().map(Rc::downcast) {
                Ok(Ok(made)) => return Ok(made),
                Err(error) => return Err(error),
                // Another kind of thing has the same key.
                Ok(Err(_)) => {}
            }
        }
        let made = make(self).map(Rc::new);
        self.shared.push((key.to_owned(), made.clone().map(|made| made as Rc<dyn Any>)));
        made
    }

    /// Tells the operator something that does not stop the configuration.
    pub fn warn(&mut self, path: &str, message: impl Into<String>) {
        self.warnings.push(ConfigError::new(path, message));
    }

    /// Apart from [`Section::read_pair`], of which there is a copy for each pair of types.
    fn warn_of_pair(&mut self, node: &Node<'_>, first: &[Unknown], second: &[Unknown]) {
        let is_top = |unknown: &&Unknown| unknown.parent == node.path();
        let neither = first.iter().filter(is_top).filter_map(|one| {
            let other = second.iter().find(|other| other.parent == one.parent && other.key == one.key)?;
            Some((one, one.known, other.known))
        });
        // Below the top, whoever looked there knew its parent.
        let nested = first.iter().chain(second).filter(|unknown| !is_top(unknown));
        self.warn_of(neither.chain(nested.map(|unknown| (unknown, unknown.known, &[][..]))));
    }

    fn warn_of<'u>(
        &mut self,
        unknown: impl Iterator<Item = (&'u Unknown, &'static [&'static str], &'static [&'static str])>,
    ) {
        for (unknown, known, also_known) in unknown {
            let nearest = nearest(&unknown.key, known.iter().chain(also_known));
            let message = match nearest {
                Some(name) => format!("unknown key, is `{name}` meant?"),
                None => "unknown key, it has no effect".to_owned(),
            };
            self.warnings.push(ConfigError::new(member(&unknown.parent, &unknown.key), message));
        }
    }
}

/// The known name with the fewest edits from `key`, if they are few.
fn nearest<'n>(key: &str, known: impl Iterator<Item = &'n &'static str>) -> Option<&'static str> {
    let key = key.to_ascii_lowercase();
    let limit = (key.chars().count() / 3).max(2);
    known
        .map(|name| (distance(&key, &name.to_ascii_lowercase()), *name))
        .filter(|(distance, name)| *distance <= limit && *distance < name.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// How many characters must be put in, left out or changed.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, left) in one.chars().enumerate() {
        let mut diagonal = at;
        let mut before = at + 1;
        let mut next = vec![before];
        for (right, above) in other.iter().zip(row.iter().skip(1)) {
            let changed = diagonal + usize::from(left != *right);
            before = changed.min(before + 1).min(above + 1);
            diagonal = *above;
            next.push(before);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_edits() {
        for (one, other, expected) in
            [("", "", 0), ("a", "", 1), ("", "ab", 2), ("abc", "abd", 1), ("kitten", "sitting", 3)]
        {
            assert_eq!(distance(one, other), expected, "{one} {other}");
        }
    }

    #[test]
    fn the_nearest_name_is_near() {
        let known = ["apiTokens", "modelMapping", "id"];
        let near = |key: &str| nearest(key, known.iter());
        assert_eq!(near("apiToken"), Some("apiTokens"));
        assert_eq!(near("modelmaping"), Some("modelMapping"));
        assert_eq!(near("temperature"), None);
        assert_eq!(near("xy"), None);
    }
}
