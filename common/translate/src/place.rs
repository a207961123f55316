//! Where in a request something stands, and what should stand there.

use std::fmt::{self, Display, Formatter};

use common::http::Fault;
use common::json::{Kind, Object, Raw};

/// A way to a value, which is written down only if somebody has to be told of it.
#[derive(Debug, Clone, Copy)]
pub enum Place<'p> {
    /// The request itself.
    Request,
    /// A member of what stands there.
    Member(&'p Place<'p>, &'p str),
    /// An element of the list that stands there.
    Element(&'p Place<'p>, usize),
}

impl<'p> Place<'p> {
    /// The place of a member of the request.
    #[must_use]
    pub fn of(name: &'p str) -> Self {
        Self::Member(&Self::Request, name)
    }

    /// The place of a member.
    #[must_use]
    pub fn member(&'p self, name: &'p str) -> Self {
        Self::Member(self, name)
    }

    /// The place of an element.
    #[must_use]
    pub fn element(&'p self, at: usize) -> Self {
        Self::Element(self, at)
    }

    /// The value here, which must be a text.
    ///
    /// # Errors
    /// It is none.
    pub fn text<'a>(self, value: Option<Raw<'a>>) -> Result<Raw<'a>, Fault> {
        value.filter(|value| value.kind() == Kind::String).ok_or_else(|| self.expected("a text"))
    }

    /// The member of the object here that must be a text.
    ///
    /// # Errors
    /// It is none.
    pub fn text_of<'a>(self, object: &Object<'a>, name: &str) -> Result<Raw<'a>, Fault> {
        self.member(name).text(object.get(name))
    }

    /// The value here, which must be an object.
    ///
    /// # Errors
    /// It is none.
    pub fn object<'a>(self, value: Option<Raw<'a>>) -> Result<Object<'a>, Fault> {
        value.and_then(|value| value.object()).ok_or_else(|| self.expected("an object"))
    }

    /// The member of the object here that must be one too.
    ///
    /// # Errors
    /// It is none.
    pub fn object_of<'a>(self, object: &Object<'a>, name: &str) -> Result<Object<'a>, Fault> {
        self.member(name).object(object.get(name))
    }

    /// The elements of the list here, which is `what` should stand here.
    ///
    /// # Errors
    /// It is no list.
    pub fn list<'a>(self, list: Option<Raw<'a>>, what: &str) -> Result<Vec<Raw<'a>>, Fault> {
        list.and_then(|list| list.elements()).ok_or_else(|| self.expected(what))
    }

    /// The elements of a list of objects, which is `what` should stand here. Each comes with its number.
    ///
    /// # Errors
    /// It is no list. That an element is no object is said when its turn comes.
    pub fn objects<'a>(
        self,
        list: Option<Raw<'a>>,
        what: &str,
    ) -> Result<impl Iterator<Item = Result<(usize, Object<'a>), Fault>> + use<'p, 'a>, Fault> {
        let elements = self.list(list, what)?;
        let object = move |(at, element): (usize, Raw<'a>)| {
            self.element(at).object(Some(element)).map(|object| (at, object))
        };
        Ok(elements.into_iter().enumerate().map(object))
    }

    /// What stands there is not what should.
    pub fn expected(self, what: &str) -> Fault {
        self.refused(&format!("expected {what}"))
    }

    /// What stands there cannot be carried.
    pub fn has_no_place(self, kind: &str) -> Fault {
        let is_name =
            kind.len() <= 64 && kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let kind = if is_name { kind } else { "?" };
        self.refused(&format!("the type `{kind}` has no place here in the vendor's API"))
    }

    /// What stands there is refused.
    pub fn refused(self, why: &str) -> Fault {
        Fault::client(400, "invalid_request", format!("{self}: {why}"))
    }
}

impl Display for Place<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request => f.write_str("the request"),
            Self::Member(Self::Request, name) => f.write_str(name),
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
        let root = Place::of("messages");
        let (second, content) = (root.element(2), "content");
        assert_eq!(second.member(content).element(0).to_string(), "messages.2.content.0");
    }
}
