//! Where in a request something stands.

use std::fmt::{self, Display, Formatter};

use common::http::Fault;

/// A way to a value, which is written down only if somebody has to be told of it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place<'p> {
    Root(&'static str),
    Member(&'p Place<'p>, &'static str),
    Element(&'p Place<'p>, usize),
}

impl Place<'_> {
    pub(super) fn member(&self, name: &'static str) -> Place<'_> {
        Place::Member(self, name)
    }

    pub(super) fn element(&self, at: usize) -> Place<'_> {
        Place::Element(self, at)
    }

    /// What stands there is not what should.
    pub(super) fn expected(self, what: &str) -> Fault {
        Fault::client(400, "invalid_request", format!("{self}: expected {what}"))
    }

    /// What stands there cannot be carried.
    pub(super) fn has_no_place(self, kind: &str) -> Fault {
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
