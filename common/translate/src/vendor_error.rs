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

/// What OpenAI's clients know it by that a conversation has become longer than its model reads. They make it shorter
/// then, and ask again.
pub const OVERFLOW: &str = "context_length_exceeded";

/// Anthropic's clients know it by these words, at the beginning of a message with status 400:
/// <https://docs.anthropic.com/en/docs/build-with-claude/context-windows>.
const TOO_LONG: &str = "prompt is too long";

/// What vendors call it: OpenAI, llama.cpp, and Anthropic where there are too many bytes.
const OVERFLOWS: [&str; 3] = [OVERFLOW, "exceed_context_size_error", "request_too_large"];

/// What they say of it, in small letters.
const OVERFLOW_WORDS: [&str; 10] = [
    // Anthropic.
    TOO_LONG,
    "exceed context limit",
    // OpenAI, and with it most who serve open models: vLLM, SGLang, OpenRouter, DeepSeek, Mistral.
    "maximum context length",
    // OpenAI's Responses, MiniMax.
    "context window",
    // Amazon.
    "input is too long",
    // xAI.
    "maximum prompt length",
    // Groq.
    "reduce the length of the messages",
    // Together, LM Studio.
    "the context length",
    // Moonshot.
    "exceeded model token limit",
    // DashScope.
    "range of input length should be",
];

/// Whether an error says that the conversation has become longer than its model reads.
fn is_overflow(status: u16, error: Option<&Object<'_>>, message: &str) -> bool {
    let is_called = |name: &str| {
        let word = error.and_then(|error| error.get(name));
        word.is_some_and(|word| OVERFLOWS.iter().any(|overflow| word.is(overflow)))
    };
    let says = || {
        let message = message.to_ascii_lowercase();
        OVERFLOW_WORDS.iter().any(|words| message.contains(words))
    };
    // Limits of a rate are told in tokens, too.
    status != 429 && (is_called("code") || is_called("type") || says())
}

/// The message of an overflow, as clients of a dialect look for it.
fn overflow_message(dialect: Dialect, message: String) -> String {
    if dialect == Dialect::Anthropic && !message.starts_with(TOO_LONG) {
        format!("{TOO_LONG}: {message}")
    } else {
        message
    }
}

/// An upstream's error, as the client knows errors: its status and its body. Programs tell errors apart by their codes,
/// so the vendor's is kept, and its type where the client's dialect leaves that open; its `param` is not, as it names
/// what the client has not said.
pub fn told(dialect: Dialect, status: u16, text: &[u8]) -> (u16, Vec<u8>) {
    let object = json::object(text).ok();
    let error = object.as_ref().and_then(|body| body.get("error")?.object());
    let message = message(status, text);
    if is_overflow(status, error.as_ref(), &message) {
        return (400, error::body(dialect, 400, OVERFLOW, &overflow_message(dialect, message)));
    }
    let word = |name: &str| error.as_ref().and_then(|error| error.get(name)?.as_str());
    let code = word("code").filter(|code| !code.is_empty()).unwrap_or_else(|| status.to_string().into());
    let kind = word("type").filter(|kind| dialect == Dialect::OpenAi && is_type(kind));
    let Some(kind) = kind else { return (status, error::body(dialect, status, &code, &message)) };
    let mut out = Vec::with_capacity(message.len() + 96);
    let mut body = ObjectWriter::open(&mut out);
    let mut written = ObjectWriter::open(body.member("error"));
    written.text("message", &message);
    written.text("type", &kind);
    written.raw("param", b"null");
    written.text("code", &code);
    written.close();
    body.close();
    (status, out)
}

/// An error within a stream, as the client knows errors: the status that it would have had outside of it, its message,
/// and whether it is an overflow. `body` has it as its `error`, or is one, and `text` is all of it.
pub fn within(dialect: Dialect, body: &Object<'_>, text: &[u8]) -> (u16, String, bool) {
    let status = status(body).unwrap_or(502);
    let message = message(status, text);
    let error = body.get("error").and_then(|error| error.object());
    if is_overflow(status, error.as_ref().or(Some(body)), &message) {
        return (400, overflow_message(dialect, message), true);
    }
    (status, message, false)
}

/// Whether this could be the type of an error.
fn is_type(kind: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    !kind.is_empty() && kind.len() <= MAX_KIND && kind.bytes().all(is_plain)
}

/// The message in the body of an error; the whole body where none is found in it.
fn message(status: u16, body: &[u8]) -> String {
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
fn status(body: &Object<'_>) -> Option<u16> {
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
            let (status, body) = told(dialect, 529, body.as_bytes());
            assert_eq!((status, String::from_utf8(body).unwrap()), (529, expected.to_owned()));
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
            let body = String::from_utf8(told(Dialect::OpenAi, 404, text.as_bytes()).1).unwrap();
            assert!(body.contains(&format!(r#""param":null,"code":"{expected}""#)), "{body}");
        };
        check(r#"{"error":{"message":"M","param":"model","code":"model_not_found"}}"#, "model_not_found");
        check(r#"{"error":{"message":"M","code":null}}"#, "404");
        check(r#"{"error":{"message":"M","code":7}}"#, "404");
        check(r#"{"error":"M"}"#, "404");
        check("M", "404");
    }

    #[test]
    fn a_conversation_that_is_too_long_is_known_whoever_says_so() {
        for (status, error) in [
            (
                400,
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 213462 tokens > 200000 maximum"}}"#,
            ),
            (
                413,
                r#"{"type":"error","error":{"type":"request_too_large","message":"Request exceeds the maximum size"}}"#,
            ),
            (
                400,
                r#"{"error":{"message":"input length and `max_tokens` exceed context limit: 170636 + 34048 > 200000"}}"#,
            ),
            (400, r#"{"error":{"message":"Too much","code":"context_length_exceeded"}}"#),
            (
                400,
                r#"{"error":{"code":400,"message":"the request is too large","type":"exceed_context_size_error"}}"#,
            ),
            (
                400,
                r#"{"object":"error","message":"This model's maximum context length is 4096 tokens.","code":400}"#,
            ),
            (400, r#"{"error":{"message":"Your input exceeds the context window of this model."}}"#),
            (400, r#"{"message":"Input is too long for requested model."}"#),
            (
                400,
                r#"{"error":"This model's maximum prompt length is 131072 but the request contains 537812 tokens"}"#,
            ),
            (400, r#"{"error":{"message":"Please reduce the length of the messages or completion."}}"#),
            (
                422,
                r#"{"error":{"message":"The input (9 tokens) is longer than the context length (8 tokens)."}}"#,
            ),
            (
                400,
                r#"{"error":{"message":"Invalid request: Your request exceeded model token limit: 8192"}}"#,
            ),
            (400, r#"{"error":{"message":"<400> Range of input length should be [1, 30720]"}}"#),
            (500, "prompt is too long"),
        ] {
            let words = message(status, error.as_bytes());
            let (told_status, body) = told(Dialect::OpenAi, status, error.as_bytes());
            let expected = error::body(Dialect::OpenAi, 400, OVERFLOW, &words);
            assert_eq!((told_status, String::from_utf8(body)), (400, String::from_utf8(expected)), "{error}");
            let (told_status, body) = told(Dialect::Anthropic, status, error.as_bytes());
            let begins =
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long"#;
            let body = String::from_utf8(body).unwrap();
            assert!(told_status == 400 && body.starts_with(begins), "{error}: {body}");
            if let Ok(object) = json::object(error.as_bytes()) {
                let (status, told, is_overflow) = within(Dialect::Anthropic, &object, error.as_bytes());
                assert!(status == 400 && told.starts_with(TOO_LONG) && is_overflow, "{told}");
                assert!(told.ends_with(&words), "{told}");
            }
        }
        for (status, error) in [
            (429, r#"{"error":{"message":"Too many tokens: 9 > the maximum context length"}}"#),
            (400, r#"{"error":{"message":"max_tokens is too large","type":"invalid_request_error"}}"#),
            (413, "Payload Too Large"),
        ] {
            assert_eq!(told(Dialect::Anthropic, status, error.as_bytes()).0, status, "{error}");
            assert!(
                !String::from_utf8(told(Dialect::OpenAi, status, error.as_bytes()).1)
                    .unwrap()
                    .contains(OVERFLOW)
            );
        }
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let long = format!("a{}", "ü".repeat(2000));
        let cut = message(500, long.as_bytes());
        assert_eq!(cut.len(), 2047);
        assert!(long.starts_with(&cut));
    }
}
