//! Request bodies that have to be JSON objects.

use super::Fault;
use crate::json::{self, Document, JsonError, Object};

/// The members of a body.
///
/// # Errors
/// It is no JSON object.
pub fn object(text: &[u8]) -> Result<Object<'_>, Fault> {
    if text.is_empty() {
        return Err(empty());
    }
    json::object(text).map_err(malformed)
}

/// A body of which more will be read than its members.
///
/// # Errors
/// It is no JSON object.
pub fn document(text: &[u8]) -> Result<Document<'_>, Fault> {
    if text.is_empty() {
        return Err(empty());
    }
    Document::of(text).map_err(malformed)
}

/// The members of a body, and whether `watched` may be in it.
///
/// # Errors
/// It is no JSON object.
pub fn object_watching<'a>(text: &'a [u8], watched: &'a str) -> Result<(Object<'a>, bool), Fault> {
    if text.is_empty() {
        return Err(empty());
    }
    json::object_watching(text, watched).map_err(malformed)
}

/// There is no body.
#[must_use]
pub fn empty() -> Fault {
    Fault::client(400, "empty_body", "the request has no body, a JSON object is expected")
}

/// What is wrong with a body.
#[must_use]
pub fn malformed(error: JsonError) -> Fault {
    match error {
        JsonError::NotAnObject => Fault::client(400, "invalid_json", "the request body is no JSON object"),
        error => Fault::client(400, "invalid_json", format!("the request body is not valid JSON: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_is_no_object_is_the_clients_fault() {
        for text in ["", "not json", "[]", "\"x\"", "{\"a\":1", "{\"a\":1}x", "{\"a\":\"\u{1}\"}"] {
            assert_eq!(object(text.as_bytes()).map(|_| ()).unwrap_err().status, 400, "{text:?}");
            assert_eq!(document(text.as_bytes()).map(|_| ()).unwrap_err().status, 400, "{text:?}");
        }
        assert_eq!(object_watching(b"{\"a\":\"\xff\"}", "a").map(|_| ()).unwrap_err().status, 400);
        assert!(object(b"{}").is_ok());
    }
}
