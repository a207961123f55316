//! A conversation that has become longer than its model reads: clients shorten it, if they are told as they know it.
#![expect(clippy::unwrap_used, reason = "a panic is the verdict")]

use ai_proxy::AiProxy;
use common::testkit::{Script, play};
use serde_json::{Value, json};

const ANTHROPIC: &str = r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 9 tokens > 8 maximum"}}"#;
const TOO_LARGE: &str =
    r#"{"type":"error","error":{"type":"request_too_large","message":"Request exceeds the maximum size"}}"#;
const OPENAI: &str = r#"{"error":{"message":"This model's maximum context length is 8 tokens.","type":"BadRequestError","code":400}}"#;

/// What a client of the API at this path gets: the status, and the body or stream.
fn told(path: &str, vendor: &str, streams: bool, status: u16, error: &str) -> (String, String) {
    let mut body = json!({"model":"m","max_tokens":9,"stream":streams});
    let members = if path == "/v1/responses" {
        json!({"input":"q"})
    } else {
        json!({"messages":[{"role":"user","content":"q"}]})
    };
    body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    let (kind, text) = match streams {
        false => ("application/json", error.to_owned()),
        true => ("text/event-stream", format!("event: error\ndata: {error}\n\n")),
    };
    let script = Script::post(path, body.to_string());
    let script = script.answered(status, &[("content-type", kind)], [text.into_bytes()]);
    let config = json!({"provider":{"type":vendor,"apiTokens":["k"]}}).to_string();
    let client = play::<AiProxy>(&config, script).client.unwrap();
    (client.header(":status").unwrap(), client.text())
}

#[test]
fn openais_clients_are_told_by_its_code() {
    for (path, vendor, status, error) in [
        ("/v1/chat/completions", "claude", 400, ANTHROPIC),
        ("/v1/chat/completions", "claude", 413, TOO_LARGE),
        ("/v1/responses", "claude", 400, ANTHROPIC),
        ("/v1/responses", "deepseek", 400, OPENAI),
    ] {
        let found = told(path, vendor, false, status, error);
        let message = serde_json::from_str::<Value>(error).unwrap()["error"]["message"].clone();
        let expected = json!({"message":message,"type":"invalid_request_error","param":null,"code":"context_length_exceeded"});
        let body: Value = serde_json::from_str(&found.1).unwrap();
        assert_eq!((&*found.0, body), ("400", json!({ "error": expected })), "{path} over {vendor}");

        let (_, stream) = told(path, vendor, true, 200, error);
        assert!(stream.contains(r#""code":"context_length_exceeded""#), "{path} over {vendor}: {stream}");
    }
}

#[test]
fn anthropics_clients_are_told_by_its_words() {
    let expected = r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: This model's maximum context length is 8 tokens."}}"#;
    let found = told("/v1/messages", "openai", false, 400, OPENAI);
    assert_eq!(found, ("400".to_owned(), expected.to_owned()));
    let (_, stream) = told("/v1/messages", "openai", true, 200, OPENAI);
    assert_eq!(stream, format!("event: error\ndata: {expected}\n\n"));
}
