//! What a vendor's error says, wherever it says it.

use common::json::{self, Object};
use common::llm::dialect::Dialect;
use common::llm::error;

/// More of a vendor's message than this is no help to a client.
const MAX_MESSAGE: usize = 2 << 10;

/// Where vendors put their message.
const PLACES: [&[&str]; 5] = [
    &["error", "message"],
    &["message"],
    &["Response", "Error", "Message"],
    &["base_resp", "status_msg"],
    &["error"],
];

/// The body of an upstream's error, as the client knows errors.
pub(crate) fn body(dialect: Dialect, status: u16, text: &[u8]) -> Vec<u8> {
    error::body(dialect, status, &status.to_string(), &message(status, text))
}

/// The status that an error in a stream stands for: its `code`, where that is one.
pub(super) fn status(chunk: &Object<'_>) -> u16 {
    let error = chunk.get("error").and_then(|error| error.object());
    let code = error.and_then(|error| match error.get("code")?.as_str() {
        Some(text) => text.parse().ok(),
        None => error.get("code")?.as_u64(),
    });
    let status = code.and_then(|code| u16::try_from(code).ok()).filter(|code| (400..600).contains(code));
    status.unwrap_or(502)
}

/// The message in the body of an error; the whole body where none is found in it.
pub(super) fn message(status: u16, body: &[u8]) -> String {
    let found = json::object(body).ok().and_then(|body| {
        PLACES.iter().find_map(|place| {
            let (last, parents) = place.split_last()?;
            let mut object = body.clone();
            for name in parents {
                object = object.get(name)?.object()?;
            }
            object.get(last)?.as_str().filter(|message| !message.trim().is_empty())
        })
    });
    let text = found.unwrap_or_else(|| String::from_utf8_lossy(body));
    let text = text.trim();
    if text.is_empty() || text.starts_with('\u{1f}') {
        return format!("the upstream answered with status {status}");
    }
    let end = (0..=MAX_MESSAGE.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.split_at_checked(end.unwrap_or(0)).map_or(text, |(start, _)| start).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_is_found_where_vendors_put_it() {
        for body in [
            r#"{"error":{"message":"M","type":"t"}}"#,
            r#"{"message":"M"}"#,
            r#"{"error":{"message":""},"message":"M"}"#,
            r#"{"Response":{"Error":{"Code":"c","Message":"M"}}}"#,
            r#"{"base_resp":{"status_code":7,"status_msg":"M"}}"#,
            r#"{"error":"M"}"#,
            " M\n",
        ] {
            assert_eq!(message(500, body.as_bytes()), "M", "{body}");
        }
        assert_eq!(message(500, b"[1]"), "[1]");
        assert_eq!(message(503, b" "), "the upstream answered with status 503");
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let long = format!("a{}", "ü".repeat(2000));
        let cut = message(500, long.as_bytes());
        assert_eq!(cut.len(), 2047);
        assert!(long.starts_with(&cut));
    }
}
