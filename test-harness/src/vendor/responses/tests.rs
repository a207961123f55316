//! OpenAI's responses, asked as a client would.

use serde_json::{Value, json};

use crate::client::{Request, Response, send};
use crate::vendor::{Options, Vendor};

/// The response to a request with these members beside those that every request has.
fn ask(more: &Value) -> Response {
    let vendor = Vendor::start(Options { key: "the-key".to_owned(), ..Options::default() });
    let mut body = json!({ "model": "gpt-4o-mini", "input": "Hello there, gateway" });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let request = Request::post_json("/v1/responses", &body).header("authorization", "Bearer the-key");
    send(vendor.addr(), &request).unwrap()
}

fn events(response: &Response) -> Vec<Value> {
    let text = response.text();
    let events = text.split_terminator("\n\n").enumerate().map(|(number, event)| {
        let (name, data) = event.split_once('\n').unwrap();
        let data: Value = serde_json::from_str(&data["data: ".len()..]).unwrap();
        assert_eq!(name, format!("event: {}", data["type"].as_str().unwrap()));
        assert_eq!(data["sequence_number"], number);
        data
    });
    events.collect()
}

fn weather_and_time() -> Value {
    let tool = |name: &str, property: &str| {
        let parameters = json!({ "type": "object", "properties": { property: { "type": "string" } } });
        json!({ "type": "function", "name": name, "parameters": parameters, "strict": false })
    };
    json!([tool("get_weather", "city"), tool("get_time", "city"), tool("send_mail", "to")])
}

#[test]
fn a_response_is_told_what_it_said() {
    let answer = ask(&json!({ "instructions": "Be brief." })).json();
    let item = &answer["output"][0];
    let text = item["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("\"Hello there, gateway\""), "{text}");
    assert_eq!((&answer["object"], &answer["status"]), (&json!("response"), &json!("completed")));
    assert_eq!((&item["type"], &item["role"]), (&json!("message"), &json!("assistant")));
    assert_eq!(answer["usage"]["input_tokens"], 5);
    assert_eq!(answer["usage"]["output_tokens"], text.split_whitespace().count());
    assert_eq!(answer["instructions"], "Be brief.");
}

#[test]
fn a_stream_ends_in_the_same_response() {
    let reasoning = json!({ "effort": "low", "summary": "auto" });
    for mut more in [
        json!({}),
        json!({ "max_output_tokens": 16 }),
        json!({ "tools": weather_and_time(), "input": "Weather and time in Paris?" }),
        json!({ "model": "gpt-5-mini", "reasoning": reasoning }),
        json!({ "model": "gpt-5-mini", "tools": weather_and_time(), "input": "Weather?" }),
    ] {
        let whole = ask(&more).json();
        more["stream"] = json!(true);
        let events = events(&ask(&more));
        let end = events.last().unwrap();
        assert_eq!(end["type"], format!("response.{}", whole["status"].as_str().unwrap()));
        assert_eq!(end["response"]["usage"], whole["usage"]);
        let output = end["response"]["output"].as_array().unwrap();
        assert_eq!(output.len(), whole["output"].as_array().unwrap().len());
        for (index, item) in output.iter().enumerate() {
            let of_item = || events.iter().filter(move |event| event["output_index"] == index);
            let done = of_item().next_back().unwrap();
            assert_eq!((&done["type"], &done["item"]), (&json!("response.output_item.done"), item));
            let deltas: String = of_item().filter_map(|event| event["delta"].as_str()).collect();
            let text = match item["type"].as_str().unwrap() {
                "message" => item["content"][0]["text"].as_str(),
                "reasoning" => item["summary"][0]["text"].as_str(),
                _ => item["arguments"].as_str(),
            };
            assert_eq!(deltas, text.unwrap_or_default());
        }
        let kinds: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
        assert_eq!(kinds[..3], ["response.created", "response.in_progress", "response.output_item.added"]);
    }
}

#[test]
fn limits_are_kept() {
    let answer = ask(&json!({ "max_output_tokens": 16 })).json();
    assert_eq!(answer["status"], "incomplete");
    assert_eq!(answer["incomplete_details"], json!({ "reason": "max_output_tokens" }));
    assert_eq!(answer["usage"]["output_tokens"], 16);
}

#[test]
fn tools_are_called_and_answered() {
    let question = "Weather and time in Paris?";
    let answer = ask(&json!({ "tools": weather_and_time(), "input": question })).json();
    let calls = answer["output"].as_array().unwrap();
    assert_eq!(
        (&calls[0]["name"], &calls[0]["arguments"]),
        (&json!("get_weather"), &json!(r#"{"city":"Paris"}"#))
    );
    let output = |call: &Value, text: &str| json!({ "type": "function_call_output", "call_id": call["call_id"], "output": text });
    let input = json!([
        { "role": "user", "content": question },
        calls[0], calls[1], output(&calls[0], "sunny"), output(&calls[1], "noon"),
    ]);
    let answer = ask(&json!({ "tools": weather_and_time(), "input": input })).json();
    assert_eq!(answer["output"][0]["content"][0]["text"], "The tools answered: \"sunny\", \"noon\".");

    let named = json!({ "type": "function", "name": "send_mail" });
    let named = ask(&json!({ "tools": weather_and_time(), "tool_choice": named })).json();
    assert_eq!(named["output"][0]["name"], "send_mail");
}

#[test]
fn pictures_and_schemas_are_taken() {
    let image = json!({ "type": "input_image", "image_url": "data:image/png;base64,QUJD", "detail": "auto" });
    let content = json!([{ "type": "input_text", "text": "Look" }, image]);
    let answer = ask(&json!({ "input": [{ "role": "user", "content": content }] })).json();
    let text = answer["output"][0]["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("\"Look\" and showed image/png of 3 bytes"), "{text}");

    let schema = json!({
        "type": "object", "properties": { "n": { "type": "integer" } }, "required": ["n"], "additionalProperties": false,
    });
    let format = json!({ "type": "json_schema", "name": "number", "schema": schema, "strict": true });
    let answer = ask(&json!({ "text": { "format": format } })).json();
    assert_eq!(answer["output"][0]["content"][0]["text"], r#"{"n":1}"#);
}

#[test]
fn thoughts_are_seen_where_asked_for() {
    let reasoning = |reasoning: Value| {
        let answer = ask(&json!({ "model": "gpt-5-mini", "reasoning": reasoning })).json();
        assert_eq!(answer["output"][0]["type"], "reasoning");
        assert_ne!(answer["usage"]["output_tokens_details"]["reasoning_tokens"], 0);
        answer["output"][0]["summary"].as_array().unwrap().len()
    };
    assert_eq!(reasoning(json!({ "effort": "low" })), 0);
    assert_eq!(reasoning(json!({ "summary": "auto" })), 1);
}

#[test]
fn a_stream_that_breaks_off_says_so() {
    let events = events(&ask(&json!({ "model": "mock-breaks-off", "stream": true })));
    let error = events.last().unwrap();
    assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!("overloaded")));
}

#[test]
fn bad_input_is_refused_with_its_place() {
    let check = |more: Value, param: &str| {
        let response = ask(&more);
        let error = &response.json()["error"];
        assert_eq!((response.status, error["param"].as_str()), (400, Some(param)), "{error}");
    };
    let items = |items: Value| json!({ "input": items });
    check(json!({ "messages": [] }), "messages");
    check(json!({ "input": null }), "input");
    check(json!({ "max_output_tokens": 15 }), "max_output_tokens");
    check(json!({ "stream_options": {} }), "stream_options");
    check(
        json!({ "stream": true, "stream_options": { "include_usage": true } }),
        "stream_options.include_usage",
    );
    check(json!({ "previous_response_id": "resp_1" }), "previous_response_id");
    check(json!({ "reasoning": { "effort": "low" } }), "reasoning.effort");
    check(json!({ "text": { "format": { "type": "json_schema" } } }), "text.format.name");
    check(json!({ "tools": [{ "type": "function", "function": { "name": "a" } }] }), "tools[0].function");
    check(json!({ "tool_choice": "required" }), "tool_choice");
    check(items(json!([])), "input");
    check(items(json!([{ "role": "tool", "content": "" }])), "input[0].role");
    check(
        items(json!([{ "role": "user", "content": [{ "type": "text", "text": "a" }] }])),
        "input[0].content[0].type",
    );
    let said = json!([{ "type": "input_text", "text": "a" }]);
    check(items(json!([{ "role": "assistant", "content": said }])), "input[0].content[0].type");
    let call = json!({ "type": "function_call", "call_id": "call_1", "name": "a", "arguments": "{}" });
    check(items(json!([call])), "input");
    check(items(json!([{ "type": "function_call_output", "call_id": "call_1", "output": "" }])), "input");
    check(items(json!([{ "type": "reasoning", "id": "rs_1", "summary": [] }])), "input");
    check(items(json!([{ "type": "reasoning", "id": "1", "summary": [] }])), "input[0].id");
}
