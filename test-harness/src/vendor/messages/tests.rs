//! Anthropic's Messages, asked as a client would.

use serde_json::{Value, json};

use crate::client::{Request, Response, send};
use crate::vendor::{Dialect, Options, Vendor};

const MODEL: &str = "claude-haiku-4-5";

fn vendor() -> Vendor {
    let speaks = Dialect::Anthropic;
    Vendor::start(Options { key: "the-key".to_owned(), speaks, ..Options::default() })
}

fn post(path: &str, body: &Value) -> Response {
    let request = Request::post_json(path, body);
    let request = request.header("x-api-key", "the-key").header("anthropic-version", "2023-06-01");
    send(vendor().addr(), &request).unwrap()
}

/// The answer to a message with these members beside those that every message has.
fn ask(more: &Value) -> Response {
    let messages = json!([{ "role": "user", "content": "Hello there, gateway" }]);
    let mut body = json!({ "model": MODEL, "max_tokens": 2000, "messages": messages });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    post("/v1/messages", &body)
}

fn events(response: &Response) -> Vec<Value> {
    let text = response.text();
    text.split_terminator("\n\n")
        .map(|event| {
            let (name, data) = event.split_once('\n').unwrap();
            let data: Value = serde_json::from_str(&data["data: ".len()..]).unwrap();
            assert_eq!(name, format!("event: {}", data["type"].as_str().unwrap()));
            data
        })
        .collect()
}

/// The message that a stream's events make.
fn assembled(events: &[Value]) -> Value {
    let mut message = events[0]["message"].clone();
    let mut inputs = vec![String::new(); 8];
    for event in events {
        let index = event["index"].as_u64().unwrap_or_default() as usize;
        let delta = &event["delta"];
        match event["type"].as_str().unwrap() {
            "content_block_start" => {
                assert_eq!(message["content"].as_array().unwrap().len(), index);
                message["content"].as_array_mut().unwrap().push(event["content_block"].clone());
            }
            "content_block_delta" => {
                for name in ["text", "thinking", "signature"] {
                    if let Some(piece) = delta[name].as_str() {
                        let text = message["content"][index][name].as_str().unwrap().to_owned() + piece;
                        message["content"][index][name] = json!(text);
                    }
                }
                inputs[index] += delta["partial_json"].as_str().unwrap_or_default();
            }
            "content_block_stop" if !inputs[index].is_empty() => {
                message["content"][index]["input"] = serde_json::from_str(&inputs[index]).unwrap();
            }
            "message_delta" => {
                message["stop_reason"] = delta["stop_reason"].clone();
                message["stop_sequence"] = delta["stop_sequence"].clone();
                message["usage"]["output_tokens"] = event["usage"]["output_tokens"].clone();
            }
            _ => {}
        }
    }
    message
}

fn weather_and_time() -> Value {
    let tool = |name: &str, property: &str| {
        let schema = json!({ "type": "object", "properties": { property: { "type": "string" } } });
        json!({ "name": name, "input_schema": schema })
    };
    json!([tool("get_weather", "city"), tool("get_time", "city"), tool("send_mail", "to")])
}

fn said(text: &str) -> Value {
    json!([{ "role": "user", "content": text }])
}

#[test]
fn a_message_is_told_what_it_said() {
    let answer = ask(&json!({ "system": [{ "type": "text", "text": "Be brief." }] })).json();
    let text = answer["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("\"Hello there, gateway\""), "{text}");
    assert_eq!((&answer["type"], &answer["role"]), (&json!("message"), &json!("assistant")));
    assert_eq!(answer["stop_reason"], "end_turn");
    assert_eq!(answer["usage"]["input_tokens"], 5);
    assert_eq!(answer["usage"]["output_tokens"], text.split_whitespace().count());
}

#[test]
fn a_stream_is_the_same_message() {
    let thinking = json!({ "type": "enabled", "budget_tokens": 1024 });
    for mut more in [
        json!({}),
        json!({ "stop_sequences": [", gate"] }),
        json!({ "max_tokens": 2 }),
        json!({ "tools": weather_and_time(), "messages": said("Weather and time in Paris?") }),
        json!({ "thinking": thinking }),
        json!({ "thinking": thinking, "tools": weather_and_time(), "messages": said("Weather?") }),
    ] {
        let whole = ask(&more).json();
        more["stream"] = json!(true);
        let events = events(&ask(&more));
        let mut made = assembled(&events);
        // The id follows from the request, which is not the same.
        made["id"] = whole["id"].clone();
        for (index, block) in whole["content"].as_array().unwrap().iter().enumerate() {
            if block["type"] == "tool_use" {
                made["content"][index]["id"] = block["id"].clone();
            }
        }
        assert_eq!(made, whole);
        let kinds: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
        assert_eq!(kinds[..3], ["message_start", "content_block_start", "ping"]);
        assert_eq!(kinds[kinds.len() - 3..], ["content_block_stop", "message_delta", "message_stop"]);
    }
}

#[test]
fn a_stream_can_be_cut_anywhere() {
    let speaks = Dialect::Anthropic;
    let cut = |seed| {
        let options = Options { key: "the-key".to_owned(), speaks, cut: seed, ..Options::default() };
        let vendor = Vendor::start(options);
        let body = json!({ "model": MODEL, "max_tokens": 9, "messages": said("Hello"), "stream": true });
        let request = Request::post_json("/v1/messages", &body).header("x-api-key", "the-key");
        send(vendor.addr(), &request.header("anthropic-version", "2023-06-01")).unwrap().text()
    };
    assert_eq!(cut(Some(1)), cut(None));
}

#[test]
fn limits_and_stops_are_kept() {
    let answer = ask(&json!({ "max_tokens": 2 })).json();
    assert_eq!(
        (&answer["content"][0]["text"], &answer["stop_reason"]),
        (&json!("You said"), &json!("max_tokens"))
    );
    let answer = ask(&json!({ "stop_sequences": [", gate", "never"] })).json();
    assert_eq!(answer["content"][0]["text"], "You said \"Hello there");
    assert_eq!(
        (&answer["stop_reason"], &answer["stop_sequence"]),
        (&json!("stop_sequence"), &json!(", gate"))
    );
}

#[test]
fn tools_are_called_after_a_word_and_answered() {
    let question = "Weather and time in Paris?";
    let answer = ask(&json!({ "tools": weather_and_time(), "messages": said(question) })).json();
    assert_eq!(answer["stop_reason"], "tool_use");
    assert_eq!(answer["content"][0]["text"], "Let me see.");
    let (weather, time) = (&answer["content"][1], &answer["content"][2]);
    assert_eq!((&weather["name"], &weather["input"]), (&json!("get_weather"), &json!({ "city": "Paris" })));
    let results = json!([
        { "type": "tool_result", "tool_use_id": time["id"], "content": "noon" },
        { "type": "tool_result", "tool_use_id": weather["id"], "content": [{ "type": "text", "text": "sunny" }] },
    ]);
    let messages = json!([
        { "role": "user", "content": question },
        { "role": "assistant", "content": answer["content"] },
        { "role": "user", "content": results },
    ]);
    let answer = ask(&json!({ "tools": weather_and_time(), "messages": messages })).json();
    assert_eq!(answer["content"][0]["text"], "The tools answered: \"noon\", \"sunny\".");
}

#[test]
fn pictures_and_schemas_are_taken() {
    let source = json!({ "type": "base64", "media_type": "image/png", "data": "QUJD" });
    let content = json!([{ "type": "image", "source": source }, { "type": "text", "text": "Look" }]);
    let answer = ask(&json!({ "messages": [{ "role": "user", "content": content }] })).json();
    let text = answer["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("\"Look\" and showed image/png of 3 bytes"), "{text}");

    let schema = json!({
        "type": "object", "properties": { "n": { "type": "integer" } }, "additionalProperties": false,
    });
    let format = json!({ "format": { "type": "json_schema", "schema": schema } });
    assert_eq!(ask(&json!({ "output_config": format })).json()["content"][0]["text"], r#"{"n":1}"#);
}

#[test]
fn tokens_are_counted() {
    let body = json!({ "model": MODEL, "system": "Be brief.", "messages": said("Hello there") });
    assert_eq!(post("/v1/messages/count_tokens", &body).json(), json!({ "input_tokens": 4 }));
}

/// The error that a request ends in.
fn check_fault(response: &Response, status: u16, kind: &str, includes: &str) {
    let document = response.json();
    assert_eq!((response.status, &document["error"]["type"]), (status, &json!(kind)), "{document}");
    assert_eq!(document["type"], "error");
    let message = document["error"]["message"].as_str().unwrap();
    assert!(message.contains(includes), "{includes}: {message}");
}

#[test]
fn keys_and_versions_are_checked_first() {
    let check = |headers: &[(&str, &str)], status, kind: &str, includes: &str| {
        let request = Request::post_json("/v1/messages", &json!({}));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(name, *value));
        check_fault(&send(vendor().addr(), &request).unwrap(), status, kind, includes);
    };
    check(&[], 401, "authentication_error", "x-api-key");
    check(&[("authorization", "Bearer the-key")], 400, "invalid_request_error", "anthropic-version");
    check(&[("x-api-key", "another")], 401, "authentication_error", "not known");
    check(&[("x-api-key", "the-key")], 400, "invalid_request_error", "anthropic-version");
}

#[test]
fn the_newest_version_knows_no_sampling() {
    let ask = |version: &str| {
        let body = json!({ "model": MODEL, "max_tokens": 9, "messages": said("Hello"), "temperature": 1 });
        let request = Request::post_json("/v1/messages", &body).header("x-api-key", "the-key");
        send(vendor().addr(), &request.header("anthropic-version", version)).unwrap()
    };
    assert_eq!(ask("2023-06-01").status, 200);
    check_fault(&ask("2026-10-21"), 400, "invalid_request_error", "temperature");
    check_fault(&ask("2026-01-01"), 400, "invalid_request_error", "anthropic-version");
}

#[test]
fn failures_have_their_own_kinds() {
    check_fault(&ask(&json!({ "model": "gpt-4o-mini" })), 404, "not_found_error", "gpt-4o-mini");
    check_fault(&ask(&json!({ "model": "mock-rate-limited" })), 429, "rate_limit_error", "");
    check_fault(&ask(&json!({ "model": "mock-broken" })), 500, "api_error", "");
    check_fault(&ask(&json!({ "model": "mock-breaks-off" })), 529, "overloaded_error", "");
    check_fault(&post("/v1/chat/completions", &json!({})), 404, "not_found_error", "/v1/chat/completions");
    let events = events(&ask(&json!({ "model": "mock-breaks-off", "stream": true })));
    assert_eq!(events.last().unwrap()["error"]["type"], "overloaded_error");
    assert!(events.iter().any(|event| event["type"] == "content_block_delta"));
}

#[test]
fn bad_input_is_refused_with_its_place() {
    let check = |more: Value, includes: &str| {
        check_fault(&ask(&more), 400, "invalid_request_error", includes);
    };
    check(json!({ "max_tokens": null }), "max_tokens");
    check(json!({ "seed": 1 }), "seed");
    check(json!({ "stream_options": {} }), "stream_options");
    check(json!({ "messages": [] }), "messages");
    check(json!({ "temperature": 1.5 }), "temperature");
    check(json!({ "temperature": 1, "top_p": 0.5 }), "top_p");
    check(json!({ "stop_sequences": ["\n"] }), "stop_sequences");
    check(json!({ "stop_sequences": "a" }), "stop_sequences");
    check(json!({ "metadata": { "trace": "1" } }), "metadata.trace");
    check(json!({ "tool_choice": { "type": "auto" } }), "tool_choice");
    check(json!({ "tools": weather_and_time(), "tool_choice": "auto" }), "tool_choice.type");
    check(json!({ "tools": [{ "name": "a", "input_schema": {} }] }), "tools.0.input_schema.type");
    check(json!({ "tools": [{ "type": "function", "function": {} }] }), "tools.0.function");
    let open = json!({ "type": "object", "properties": { "n": {} } });
    check(
        json!({ "output_config": { "format": { "type": "json_schema", "schema": open } } }),
        "additionalProperties",
    );
}

#[test]
fn turns_must_be_as_published() {
    let check = |messages: Value, includes: &str| {
        check_fault(&ask(&json!({ "messages": messages })), 400, "invalid_request_error", includes);
    };
    let user = |content: Value| json!({ "role": "user", "content": content });
    let assistant = |content: Value| json!({ "role": "assistant", "content": content });
    let call = json!({ "type": "tool_use", "id": "toolu_1", "name": "a", "input": {} });
    let result = json!({ "type": "tool_result", "tool_use_id": "toolu_1", "content": "done" });
    let text = json!({ "type": "text", "text": "Hello" });

    check(json!([{ "role": "system", "content": "Be brief." }]), "messages.0.role");
    check(json!([assistant(json!("Hello"))]), "first message");
    check(json!([user(json!(""))]), "not empty");
    check(json!([user(json!([]))]), "not empty");
    check(json!([user(json!([{ "type": "text", "text": " " }]))]), "white space");
    check(json!([user(json!("Hello")), assistant(json!("So "))]), "white space");
    check(json!([user(json!([{ "type": "text", "text": "a", "index": 0 }]))]), "messages.0.content.0.index");
    check(json!([user(json!([{ "type": "image_url", "image_url": {} }]))]), "messages.0.content.0.type");
    check(json!([user(json!([call]))]), "messages.0.content.0.type");
    check(json!([user(json!([result]))]), "toolu_1");
    check(json!([user(json!("Hello")), assistant(json!([call])), user(json!("And?"))]), "toolu_1");
    check(json!([user(json!("Hello")), assistant(json!([call]))]), "toolu_1");
    check(json!([user(json!("Hello")), assistant(json!([call, call])), user(json!([result]))]), "unique");
    check(
        json!([user(json!("Hello")), assistant(json!([call])), user(json!([text, result]))]),
        "before everything",
    );
    let as_text = json!({ "type": "tool_use", "id": "toolu_1", "name": "a", "input": "{}" });
    check(json!([user(json!("Hello")), assistant(json!([as_text])), user(json!([result]))]), "input");
    let thought = json!({ "type": "thinking", "thinking": "Well", "signature": "mine" });
    check(json!([user(json!("Hello")), assistant(json!([thought, text])), user(json!("And?"))]), "signature");
}

#[test]
fn thinking_has_its_rules() {
    let thinking = json!({ "type": "enabled", "budget_tokens": 1024 });
    let check = |more: Value, includes: &str| {
        let mut body = json!({ "thinking": thinking });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        check_fault(&ask(&body), 400, "invalid_request_error", includes);
    };
    check(json!({ "max_tokens": 1024 }), "greater than");
    check(json!({ "thinking": { "type": "enabled", "budget_tokens": 1000 } }), "1024");
    check(json!({ "temperature": 0.5 }), "temperature");
    check(json!({ "top_k": 5 }), "top_k");
    check(json!({ "tools": weather_and_time(), "tool_choice": { "type": "any" } }), "forces");

    let asked =
        json!({ "thinking": thinking, "tools": weather_and_time(), "messages": said("Weather in Paris?") });
    let content = ask(&asked).json()["content"].clone();
    let kinds: Vec<&str> =
        content.as_array().unwrap().iter().map(|block| block["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["thinking", "text", "tool_use"]);
    let follow = |content: &Value| {
        let id = content.as_array().unwrap().last().unwrap()["id"].clone();
        let result = json!([{ "type": "tool_result", "tool_use_id": id, "content": "sunny" }]);
        let mut next = asked.clone();
        next["messages"] = json!([
            { "role": "user", "content": "Weather in Paris?" },
            { "role": "assistant", "content": content },
            { "role": "user", "content": result },
        ]);
        next
    };
    assert_eq!(ask(&follow(&content)).status, 200);
    check(follow(&json!(content.as_array().unwrap()[1..])), "begin with a thinking block");
}
