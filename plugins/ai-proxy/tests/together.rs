//! Settings that meet in one exchange: keys that are tried again, files in chats, bodies and answers that are edited.

use ai_proxy::AiProxy;
use common::testkit::{Script, play};

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

fn config(more: &str) -> String {
    format!(r#"{{"provider":{{"type":"openai","apiTokens":["k1","k2"],{more}}}}}"#)
}

#[test]
fn the_answer_to_another_attempt_is_edited_too() {
    let config = config(r#""retryOnFailure":{"enabled":true},"reasoningContentMode":"ignore""#);
    let body = r#"{"messages":[]}"#;
    let script = Script::post("/v1/chat/completions", body)
        .property("xds.cluster_name", "vendor")
        .answered(401, &JSON, [b"{}".to_vec()])
        .call_answer_with(200, &JSON, r#"{"choices":[{"message":{"content":"A","reasoning_content":"R"}}]}"#);
    let played = play::<AiProxy>(&config, script);
    assert_eq!(played.calls.len(), 1);
    assert_eq!(played.calls[0].body, body.as_bytes());
    let client = played.client.unwrap();
    assert_eq!(client.header(":status").as_deref(), Some("200"));
    assert_eq!(client.text(), r#"{"choices":[{"message":{"content":"A"}}]}"#);
}

#[test]
fn an_answer_that_stays_is_edited_where_keys_are_watched() {
    let config = config(
        r#""failover":{"enabled":true,"cooldownDuration":1000},"retryOnFailure":{"enabled":true},"reasoningContentMode":"ignore""#,
    );
    let answer = br#"{"choices":[{"message":{"content":"A","reasoning_content":"R"}}]}"#.to_vec();
    let script = Script::post("/v1/chat/completions", "{}").property("xds.cluster_name", "vendor").answered(
        200,
        &JSON,
        [answer],
    );
    let client = play::<AiProxy>(&config, script).client.unwrap();
    assert_eq!(client.text(), r#"{"choices":[{"message":{"content":"A"}}]}"#);
}

#[test]
fn a_form_is_held_where_it_may_be_sent_again() {
    let config = config(r#""retryOnFailure":{"enabled":true},"modelMapping":{"a":"b"}"#);
    let form = "--X\r\nContent-Disposition: form-data; name=model\r\n\r\na\r\n--X--\r\n";
    let mapped = form.replace("\r\na\r\n", "\r\nb\r\n");
    let script = || {
        Script::request("POST", "/v1/images/edits")
            .header("content-type", "multipart/form-data; boundary=X")
            .chunks([form.as_bytes().to_vec()])
            .property("xds.cluster_name", "vendor")
            .answered(500, &JSON, [b"{}".to_vec()])
            .call_answer_with(200, &JSON, "{}")
    };
    let held = play::<AiProxy>(&config, script().header("content-length", form.len().to_string()));
    assert_eq!(held.calls[0].body, mapped.as_bytes());
    assert_eq!(held.sent().header("content-length"), Some(mapped.len().to_string()));
    // One of unknown size passes, and is sent once.
    let passed = play::<AiProxy>(&config, script());
    assert!(passed.calls.is_empty());
    assert_eq!(passed.sent().text(), mapped);
    assert_eq!(passed.client.unwrap().header(":status").as_deref(), Some("500"));
}

#[test]
fn a_file_is_put_into_what_the_clean_up_and_the_merge_have_left() {
    let config = config(
        r#""contextCleanupCommands":"/clear","mergeConsecutiveMessages":true,
        "customSettings":{"name":"max_tokens","value":5},"context":{"fileUrl":"http://f/x","cluster":"files"}"#,
    );
    let user = |text: &str| format!(r#"{{"role":"user","content":"{text}"}}"#);
    let messages = ["before", "/clear", "a", "b"].map(user).join(",");
    let script = Script::post("/v1/chat/completions", format!(r#"{{"messages":[{messages}]}}"#))
        .call_answer(200, "CTX")
        .answered(200, &JSON, [b"{}".to_vec()]);
    let played = play::<AiProxy>(&config, script);
    let sent: serde_json::Value = serde_json::from_slice(&played.sent().body()).unwrap();
    let expected = serde_json::json!({
        "messages": [{ "role": "system", "content": "CTX" }, { "role": "user", "content": "a\n\nb" }],
        "max_tokens": 5,
    });
    assert_eq!(sent, expected);
}
