//! Cursor asks for chats as one does for responses, where its users name an address of their own:
//! <https://forum.cursor.com/t/override-openai-base-url-sends-responses-api-payload-to-chat-completions-but-expects-chat-completions-output/159298>.
#![expect(clippy::unwrap_used, reason = "a panic is the verdict")]

use ai_proxy::AiProxy;
use common::testkit::{Played, Script};
use serde_json::{Value, json};

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];
const EVENTS: [(&str, &str); 1] = [("content-type", "text/event-stream")];

fn provider(kind: &str, more: &str) -> String {
    let comma = if more.is_empty() { "" } else { "," };
    format!(r#"{{"provider":{{"type":"{kind}","apiTokens":["k"]{comma}{more}}}}}"#)
}

fn play(config: &str, script: Script) -> Played {
    common::testkit::play::<AiProxy>(config, script)
}

/// What Cursor sends, beside its input.
fn cursors(input: &Value) -> Value {
    json!({"model":"gpt-5.5","input":input,"stream":true,"include":["reasoning.encrypted_content"],
        "reasoning":{"effort":"medium","summary":"auto"},"text":{"verbosity":"low"},"store":false,
        "stream_options":{"include_usage":true},"user":"u",
        "tools":[{"type":"function","name":"f","parameters":{"type":"object"}},
            {"type":"custom","name":"ApplyPatch","description":"D","format":{"type":"grammar","syntax":"lark","definition":"x"}}]})
}

fn asked(body: &Value) -> Script {
    Script::post("/v1/chat/completions", body.to_string())
}

fn value(bytes: impl AsRef<[u8]>) -> Value {
    serde_json::from_slice(bytes.as_ref()).unwrap()
}

fn turn() -> Value {
    json!([{"role":"system","content":"S"},{"role":"user","content":[{"type":"input_text","text":"Hi"}]},
        {"type":"function_call","call_id":"c","name":"f","arguments":"{}"},
        {"type":"function_call_output","call_id":"c","output":"r"}])
}

#[test]
fn a_vendor_of_chats_is_asked_for_one_and_its_answer_passes() {
    let answer =
        b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"A\"}}]}\n\ndata: [DONE]\n\n".to_vec();
    let config = provider("openai", r#""modelMapping":{"gpt-*":"m"}"#);
    let played = play(&config, asked(&cursors(&turn())).answered(200, &EVENTS, [answer.clone()]));
    let seen = played.sent();
    assert_eq!(seen.header(":path").as_deref(), Some("/v1/chat/completions"));
    let sent = value(seen.body());
    let tools = sent["tools"].as_array().unwrap();
    let names: Vec<_> = tools.iter().map(|tool| (&tool["type"], &tool["function"]["name"])).collect();
    assert_eq!(names, [(&json!("function"), &json!("f")), (&json!("function"), &json!("ApplyPatch"))]);
    let mut rest = sent.clone();
    rest.as_object_mut().unwrap().remove("tools");
    let call = json!({"id":"c","type":"function","function":{"name":"f","arguments":"{}"}});
    let expected = json!({"model":"m","stream":true,"user":"u","reasoning_effort":"medium","verbosity":"low",
        "stream_options":{"include_usage":true},"messages":[{"role":"system","content":"S"},{"role":"user","content":"Hi"},
            {"role":"assistant","content":null,"tool_calls":[call]},{"role":"tool","tool_call_id":"c","content":"r"}]});
    assert_eq!(rest, expected);
    assert_eq!(played.client.unwrap().body(), answer);
}

#[test]
fn a_vendor_of_messages_answers_in_chunks_of_a_chat() {
    let message = [
        json!({"type":"message_start","message":{"id":"m1","usage":{"input_tokens":3}}}),
        json!({"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello"}}),
        json!({"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":2}}),
        json!({"type":"message_stop"}),
    ];
    let answer: String = message.iter().map(|event| format!("data: {event}\n\n")).collect();
    let body = cursors(&json!("Hi"));
    let played = play(&provider("claude", ""), asked(&body).answered(200, &EVENTS, [answer.into_bytes()]));
    let sent = value(played.sent().body());
    assert_eq!(sent["messages"], json!([{"role":"user","content":"Hi"}]));
    assert_eq!(sent["thinking"], json!({"type":"enabled","budget_tokens":8192}));
    let client = played.client.unwrap();
    // In the words of who asked.
    assert_eq!(client.header("x-ai-proxy-dropped").as_deref(), Some("text.verbosity"));
    let text = client.text();
    for part in
        [r#""object":"chat.completion.chunk""#, r#""content":"Hello""#, r#""total_tokens":5"#, "[DONE]"]
    {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_vendor_of_responses_is_asked_for_one_again() {
    let config = provider("openai", r#""translateApis":{"openai/v1/chatcompletions":"openai/v1/responses"}"#);
    let answer = json!({"id":"i","status":"completed","output":[{"type":"message","id":"o","role":"assistant",
        "content":[{"type":"output_text","text":"A","annotations":[]}]}]});
    let body = json!({"model":"m","input":"Hi","reasoning":{"effort":"low"}});
    let played = play(&config, asked(&body).answered(200, &JSON, [answer.to_string().into_bytes()]));
    let sent = value(played.sent().body());
    assert_eq!(sent["input"], json!([{"type":"message","role":"user","content":"Hi"}]));
    assert_eq!(sent["reasoning"]["effort"], "low");
    assert_eq!(value(played.client.unwrap().body())["choices"][0]["message"]["content"], "A");
}

#[test]
fn places_are_those_of_the_request_that_came() {
    let refused = |kind: &str, input: Value| {
        let played = play(&provider(kind, ""), asked(&json!({"model":"m","input":input})));
        assert!(played.upstream.is_none());
        let reply = played.reply.unwrap();
        let message = value(&reply.body)["error"]["message"].as_str().unwrap().to_owned();
        (reply.status, message)
    };
    let role = "input.0.role: expected user, assistant, system or developer".to_owned();
    assert_eq!(refused("openai", json!([{"role":"x","content":"y"}])), (400, role.clone()));
    assert_eq!(refused("claude", json!([{"role":"x","content":"y"}])), (400, role));
    let (status, message) = refused("claude", json!([{"role":"system","content":"S"}]));
    assert_eq!(status, 400);
    assert!(message.starts_with("in the chat that the request becomes, messages"), "{message}");
}

#[test]
fn all_that_is_done_to_chats_is_done_to_these() {
    let more = r#""customSettings":[{"name":"max_tokens","value":7}],"mergeConsecutiveMessages":true,
        "context":{"fileUrl":"http://f/x","cluster":"files"}"#;
    let input = json!([{"role":"developer","content":"a"},{"role":"user","content":"b"},{"role":"user","content":"c"}]);
    let script = asked(&json!({"model":"m","input":input})).call_answer(200, "CTX").answered(
        200,
        &JSON,
        [b"{}".to_vec()],
    );
    let sent = value(play(&provider("deepseek", more), script).sent().body());
    let said = |role: &str, content: &str| json!({"role":role,"content":content});
    let messages = json!([said("system", "a"), said("system", "CTX"), said("user", "b\n\nc")]);
    assert_eq!(sent, json!({"model":"m","max_tokens":7,"messages":messages}));
}

#[test]
fn what_is_a_chat_or_not_ours_to_read_stays() {
    let same = |config: &str, body: &str| {
        let script = Script::post("/v1/chat/completions", body).answered(200, &JSON, [b"{}".to_vec()]);
        assert_eq!(play(config, script).sent().text(), body, "{config}");
    };
    let openai = provider("openai", "");
    same(&openai, r#"{"input":"x","messages":[]}"#);
    same(&openai, r#"{"input":{"messages":[]}}"#);
    same(&openai, r#"{"input":null}"#);
    let response = r#"{"model":"m", "input":"x"}"#;
    same(&provider("generic", r#""genericHost":"h""#), response);
    same(&provider("openai", r#""protocol":"original""#), response);
}
