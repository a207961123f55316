//! Errors in the shape that a client of each dialect understands.
//!
//! Shapes and types as published: [OpenAI](https://platform.openai.com/docs/guides/error-codes),
//! [Anthropic](https://docs.anthropic.com/en/api/errors),
//! [Gemini](https://ai.google.dev/gemini-api/docs/troubleshooting).

use super::api::Api;
use super::dialect::Dialect;
use crate::http::{Fault, Head, LocalReply};
use crate::json;

/// Response code details are for one line of an access log.
const MAX_DETAILS: usize = 200;

/// The reply to a fault, in the dialect of the client's request.
#[must_use]
pub fn reply(request: &Head, fault: &Fault) -> LocalReply {
    let dialect = dialect(request);
    LocalReply::json(fault.status, body(dialect, fault.status, fault.code, &fault.message), details(fault))
}

/// The dialect of a client's request: that of the path that it asked for. Models, which OpenAI and Anthropic have at the
/// same paths, are told apart by a header that [all of Anthropic's
/// clients](https://docs.anthropic.com/en/api/versioning) send.
#[must_use]
pub fn dialect(request: &Head) -> Dialect {
    let path = request.original(":path").and_then(|path| std::str::from_utf8(path).ok()).unwrap_or_default();
    let is_shared = |path: &str| matches!(Api::detect(path), Some((Api::Models | Api::Model, _)));
    if request.original("anthropic-version").is_some() && path.split('?').next().is_some_and(is_shared) {
        return Dialect::Anthropic;
    }
    Dialect::of_path(path)
}

/// An error body.
#[must_use]
pub fn body(dialect: Dialect, status: u16, code: &str, message: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 96);
    let mut text = |text: &str| out.extend_from_slice(text.as_bytes());
    match dialect {
        Dialect::OpenAi => {
            text("{\"error\":{\"message\":");
            json::write_string(&mut out, message);
            out.extend_from_slice(b",\"type\":\"");
            out.extend_from_slice(openai_type(status).as_bytes());
            out.extend_from_slice(b"\",\"param\":null,\"code\":");
            json::write_string(&mut out, code);
        }
        Dialect::Anthropic => {
            text("{\"type\":\"error\",\"error\":{\"type\":\"");
            text(anthropic_type(status));
            text("\",\"message\":");
            json::write_string(&mut out, message);
        }
        Dialect::Gemini => {
            text(&format!("{{\"error\":{{\"code\":{status},\"message\":"));
            json::write_string(&mut out, message);
            out.extend_from_slice(b",\"status\":\"");
            out.extend_from_slice(gemini_status(status).as_bytes());
            out.push(b'"');
        }
    }
    out.extend_from_slice(b"}}");
    out
}

fn openai_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        403 => "permission_error",
        429 => "rate_limit_error",
        500.. => "server_error",
        _ => "invalid_request_error",
    }
}

fn anthropic_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        504 => "timeout_error",
        529 => "overloaded_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    }
}

fn gemini_status(status: u16) -> &'static str {
    match status {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        499 => "CANCELLED",
        // Anthropic's 529 is what Gemini calls an overload.
        503 | 529 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        500.. => "INTERNAL",
        _ => "INVALID_ARGUMENT",
    }
}

/// Code and detail as one word, so that access logs stay one word a field.
fn details(fault: &Fault) -> String {
    let mut details = String::from(fault.code);
    if !fault.detail.is_empty() {
        details.push(':');
        details.extend(fault.detail.chars().map(|char| if char.is_ascii_graphic() { char } else { '_' }));
    }
    details.truncate(MAX_DETAILS);
    details
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(path: &str, fault: &Fault, expected: &Value) {
        let reply = reply(&Head::from_fields(&[(":path", path)]), fault);
        assert_eq!(reply.status, fault.status);
        assert_eq!(&serde_json::from_slice::<Value>(&reply.body).unwrap(), expected);
    }

    #[test]
    fn a_header_says_whose_models_are_asked_for() {
        let dialect = |fields: &[(&str, &str)]| dialect(&Head::from_fields(fields));
        let version = ("anthropic-version", "2023-06-01");
        for (path, plain, versioned) in [
            ("/v1/models", Dialect::OpenAi, Dialect::Anthropic),
            ("/ai/v1/models/m?x=1", Dialect::OpenAi, Dialect::Anthropic),
            ("/v1/chat/completions", Dialect::OpenAi, Dialect::OpenAi),
            ("/v1/messages", Dialect::Anthropic, Dialect::Anthropic),
        ] {
            assert_eq!(dialect(&[(":path", path)]), plain, "{path}");
            assert_eq!(dialect(&[(":path", path), version]), versioned, "{path}");
        }
        assert_eq!(dialect(&[]), Dialect::OpenAi);
    }

    #[test]
    fn each_client_reads_its_own_shape() {
        let fault = Fault::client(400, "invalid_json", "no \"JSON\"\n");
        check(
            "/v1/chat/completions",
            &fault,
            &json!({"error": {"message": "no \"JSON\"\n", "type": "invalid_request_error", "param": null, "code": "invalid_json"}}),
        );
        check(
            "/v1/messages?beta=true",
            &fault,
            &json!({"type": "error", "error": {"type": "invalid_request_error", "message": "no \"JSON\"\n"}}),
        );
        check(
            "/v1beta/models/m:generateContent",
            &fault,
            &json!({"error": {"code": 400, "message": "no \"JSON\"\n", "status": "INVALID_ARGUMENT"}}),
        );
    }

    #[test]
    fn types_follow_the_status() {
        let types = |status| (openai_type(status), anthropic_type(status), gemini_status(status));
        let table = [
            (400, "invalid_request_error", "invalid_request_error", "INVALID_ARGUMENT"),
            (401, "authentication_error", "authentication_error", "UNAUTHENTICATED"),
            (402, "invalid_request_error", "billing_error", "INVALID_ARGUMENT"),
            (403, "permission_error", "permission_error", "PERMISSION_DENIED"),
            (404, "invalid_request_error", "not_found_error", "NOT_FOUND"),
            (413, "invalid_request_error", "request_too_large", "INVALID_ARGUMENT"),
            (422, "invalid_request_error", "invalid_request_error", "INVALID_ARGUMENT"),
            (429, "rate_limit_error", "rate_limit_error", "RESOURCE_EXHAUSTED"),
            (499, "invalid_request_error", "invalid_request_error", "CANCELLED"),
            (500, "server_error", "api_error", "INTERNAL"),
            (502, "server_error", "api_error", "INTERNAL"),
            (503, "server_error", "api_error", "UNAVAILABLE"),
            (504, "server_error", "timeout_error", "DEADLINE_EXCEEDED"),
            (529, "server_error", "overloaded_error", "UNAVAILABLE"),
        ];
        for (status, openai, anthropic, gemini) in table {
            assert_eq!(types(status), (openai, anthropic, gemini), "{status}");
        }
    }

    #[test]
    fn the_edited_path_does_not_change_the_clients_dialect() {
        let mut head = Head::from_fields(&[(":path", "/v1/messages")]);
        head.set(":path", "/v1/chat/completions");
        let reply = reply(&head, &Fault::too_large(1));
        assert!(String::from_utf8_lossy(&reply.body).contains("request_too_large"));
    }

    #[test]
    fn details_are_one_short_word() {
        let fault = Fault::internal("host said: no\nreally \u{e9}".to_owned() + &"x".repeat(300));
        let details = details(&fault);
        assert!(details.starts_with("internal_error:host_said:_no_really__xxx"), "{details}");
        assert_eq!(details.len(), 200);
    }
}
