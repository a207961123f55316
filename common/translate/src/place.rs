//! Where in a request something stands, and what should stand there.

use std::fmt::{self, Display, Formatter};

use common::http::Fault;
use common::json::{Kind, Object, Raw};

/// A way to a value, which is written down only if somebody has to be told of it.
#[derive(Debug, Clone, Copy)]
pub enum Place<'p> {
    /// A member of the request.
    Root(&'static str),
    /// A member of what stands there.
    Member(&'p Place<'p>, &'static str),
    /// An element of the list that stands there.
    Element(&'p Place<'p>, usize),
}

impl Place<'_> {
    /// The place of a member.
    #[must_use]
    pub fn member(&self, name: &'static str) -> Place<'_> {
        Place::Member(self, name)
    }

    /// The place of an element.
    #[must_use]
    pub fn element(&self, at: usize) -> Place<'_> {
        Place::Element(self, at)
    }

    /// The elements of a list of objects, which is `what` should stand here.
    ///
    /// # Errors
    /// It is no list, or not all of its elements are objects.
    pub fn objects<'a>(self, list: Option<Raw<'a>>, what: &str) -> Result<Vec<Object<'a>>, Fault> {
        let elements = list.and_then(|list| list.elements()).ok_or_else(|| self.expected(what))?;
        let object = |(at, element): (usize, &Raw<'a>)| {
            element.object().ok_or_else(|| self.element(at).expected("an object"))
        };
        elements.iter().enumerate().map(object).collect()
    }

    /// The member of the object here that must be a text.
    ///
    /// # Errors
    /// It is none.
    pub fn text<'a>(self, object: &Object<'a>, name: &'static str) -> Result<Raw<'a>, Fault> {
        let text = object.get(name).filter(|value| value.kind() == Kind::String);
        text.ok_or_else(|| self.member(name).expected("a text"))
    }

    /// What stands there is not what should.
    pub fn expected(self, what: &str) -> Fault {
        Fault::client(400, "invalid_request", format!("{self}: expected {what}"))
    }

    /// What stands there cannot be carried.
    pub fn has_no_place(self, kind: &str) -> Fault {
        let is_name =
            kind.len() <= 64 && kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let kind = if is_name { kind } else { "?" };
        let message = format!("{self}: the type `{kind}` has no place here in the vendor's API");
        Fault::client(400, "invalid_request", message)
    }
}

impl Display for Place<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root(name) => f.write_str(name),
            Self::Member(of, name) => write!(f, "{of}.{name}"),
            Self::Element(of, at) => write!(f, "{of}.{at}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_told_from_the_top() {
        let root = Place::Root("messages");
        let (second, content) = (root.element(2), "content");
        assert_eq!(second.member(content).element(0).to_string(), "messages.2.content.0");
    }
}
