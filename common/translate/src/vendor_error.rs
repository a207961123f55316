//! What a vendor's error says, wherever it says it.

use common::json::{self, Object, ObjectWriter};
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

/// No type of an error that a vendor publishes is longer.
const MAX_KIND: usize = 64;

/// The body of an upstream's error, as the client knows errors. Programs tell errors apart by their codes, so the
/// vendor's is kept, and its type where the client's dialect leaves that open; its `param` is not, as it names what the
/// client has not said.
pub fn body(dialect: Dialect, status: u16, text: &[u8]) -> Vec<u8> {
    let object = json::object(text).ok();
    let error = object.as_ref().and_then(|body| body.get("error")?.object());
    let word = |name: &str| error.as_ref().and_then(|error| error.get(name)?.as_str());
    let code = word("code").filter(|code| !code.is_empty()).unwrap_or_else(|| status.to_string().into());
    let message = message(status, text);
    let kind = word("type").filter(|kind| dialect == Dialect::OpenAi && is_type(kind));
    let Some(kind) = kind else { return error::body(dialect, status, &code, &message) };
    let mut out = Vec::with_capacity(message.len() + 96);
    let mut body = ObjectWriter::open(&mut out);
    let mut written = ObjectWriter::open(body.member("error"));
    written.text("message", &message);
    written.text("type", &kind);
    written.raw("param", b"null");
    written.text("code", &code);
    written.close();
    body.close();
    out
}

/// Whether this could be the type of an error.
fn is_type(kind: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    !kind.is_empty() && kind.len() <= MAX_KIND && kind.bytes().all(is_plain)
}

/// The message in the body of an error; the whole body where none is found in it.
pub fn message(status: u16, body: &[u8]) -> String {
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

/// What vendors call their errors, and the status that each of them has outside of streams:
/// [Anthropic](https://docs.anthropic.com/en/api/errors), [OpenAI](https://platform.openai.com/docs/guides/error-codes).
const STATUSES: &[(&str, u16)] = &[
    ("invalid_request_error", 400),
    ("invalid_prompt", 400),
    ("authentication_error", 401),
    ("invalid_api_key", 401),
    ("billing_error", 402),
    ("permission_error", 403),
    ("not_found_error", 404),
    ("model_not_found", 404),
    ("request_too_large", 413),
    ("context_length_exceeded", 400),
    ("rate_limit_error", 429),
    ("rate_limit_exceeded", 429),
    ("insufficient_quota", 429),
    ("api_error", 500),
    ("server_error", 500),
    ("timeout_error", 504),
    ("overloaded_error", 529),
];

/// The status that an error within a stream would have had outside of it, if it says.
pub fn status(body: &Object<'_>) -> Option<u16> {
    let error = body.get("error").and_then(|error| error.object());
    let said = ["code", "status", "type"].into_iter().filter_map(|name| {
        let value = error.as_ref().and_then(|error| error.get(name)).or_else(|| body.get(name))?;
        let number = match value.as_str() {
            Some(text) => match STATUSES.iter().find(|(name, _)| *name == &*text) {
                Some((_, status)) => return Some(*status),
                None => text.parse().ok()?,
            },
            None => value.as_u64()?,
        };
        u16::try_from(number).ok().filter(|status| (400..600).contains(status))
    });
    said.into_iter().next()
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
    fn the_type_is_the_vendors_where_the_client_takes_any() {
        let check = |dialect, body: &str, expected: &str| {
            assert_eq!(String::from_utf8(super::body(dialect, 529, body.as_bytes())).unwrap(), expected);
        };
        let busy = r#"{"type":"error","error":{"type":"overloaded_error","message":"\"busy\""}}"#;
        let expected =
            r#"{"error":{"message":"\"busy\"","type":"overloaded_error","param":null,"code":"529"}}"#;
        check(Dialect::OpenAi, busy, expected);
        let expected = r#"{"type":"error","error":{"type":"overloaded_error","message":"M"}}"#;
        check(Dialect::Anthropic, r#"{"error":{"type":"x","message":"M"}}"#, expected);
        let expected = r#"{"error":{"message":"M","type":"server_error","param":null,"code":"529"}}"#;
        for kind in ["null", "7", "\"\"", "\"a b\"", &format!("\"{}\"", "k".repeat(65))] {
            check(Dialect::OpenAi, &format!(r#"{{"error":{{"type":{kind},"message":"M"}}}}"#), expected);
        }
    }

    #[test]
    fn the_vendors_code_is_kept() {
        let check = |text: &str, expected: &str| {
            let body = body(Dialect::OpenAi, 404, text.as_bytes());
            let body = String::from_utf8(body).unwrap();
            assert!(body.contains(&format!(r#""param":null,"code":"{expected}""#)), "{body}");
        };
        check(r#"{"error":{"message":"M","param":"model","code":"model_not_found"}}"#, "model_not_found");
        check(r#"{"error":{"message":"M","code":null}}"#, "404");
        check(r#"{"error":{"message":"M","code":7}}"#, "404");
        check(r#"{"error":"M"}"#, "404");
        check("M", "404");
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let long = format!("a{}", "ü".repeat(2000));
        let cut = message(500, long.as_bytes());
        assert_eq!(cut.len(), 2047);
        assert!(long.starts_with(&cut));
    }
}
