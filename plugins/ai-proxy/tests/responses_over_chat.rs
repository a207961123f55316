//! Clients of OpenAI's Responses over vendors that speak its chats alone. In `fixtures/responses_over_chat`,
//! `<stream>.sse` is the vendor's and `<stream>.response.sse` the client's, the same however the vendor's is cut.
//! `UPDATE=1 cargo test -p ai-proxy --test responses_over_chat` writes what clients get.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a panic is the verdict")]

mod cuts;
mod grown;

use ai_proxy::AiProxy;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use common::testkit::{Played, Script};
use cuts::{play_cuts, streams};
use grown::Seed;
use serde_json::{Value, json};

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];
const ANSWER: &str = r#"{"id":"chatcmpl-i","object":"chat.completion","created":7,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"A"},"finish_reason":"stop"}]}"#;

fn provider(kind: &str, more: &str) -> String {
    let comma = if more.is_empty() { "" } else { "," };
    format!(r#"{{"provider":{{"type":"{kind}","apiTokens":["k"]{comma}{more}}}}}"#)
}

fn play(config: &str, script: Script) -> Played {
    common::testkit::play::<AiProxy>(config, script)
}

fn responses(body: &Value) -> Script {
    Script::post("/v1/responses", body.to_string())
}

fn value(bytes: impl AsRef<[u8]>) -> Value {
    serde_json::from_slice(bytes.as_ref())
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(bytes.as_ref())))
}

/// A request with these members over the least there is.
fn with(members: &Value) -> Value {
    let mut body = json!({"model":"m","input":"x"});
    body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    body
}

/// What goes upstream for a request, and what the client is told was left out.
#[track_caller]
fn sent_to(kind: &str, body: &Value) -> (Value, String) {
    let played = play(&provider(kind, ""), responses(body).answered(200, &JSON, [ANSWER.into()]));
    let dropped = played.client.as_ref().and_then(|client| client.header("x-ai-proxy-dropped"));
    (value(played.sent().body()), dropped.unwrap_or_default())
}

/// The same of `deepseek`, beside what every request has, for these members.
#[track_caller]
fn sent(members: &Value) -> (Value, String) {
    let (mut sent, dropped) = sent_to("deepseek", &with(members));
    assert_eq!(sent["model"], "m");
    sent.as_object_mut().unwrap().remove("model");
    if sent["messages"] == json!([{"role":"user","content":"x"}]) {
        sent.as_object_mut().unwrap().remove("messages");
    }
    (sent, dropped)
}

#[track_caller]
fn check(members: &Value, expected: &Value, dropped: &str) {
    assert_eq!(sent(members), (expected.clone(), dropped.to_owned()), "{members}");
}

/// What the items of an input become.
#[track_caller]
fn said(input: &Value) -> Value {
    sent(&json!({ "input": input })).0["messages"].clone()
}

/// What a request is refused with.
#[track_caller]
fn refused(members: &Value) -> String {
    let played = play(&provider("deepseek", ""), responses(&with(members)));
    assert!(played.upstream.is_none(), "{members}");
    let reply = played.reply.unwrap();
    let error = value(&reply.body)["error"].clone();
    assert_eq!((reply.status, &error["type"]), (400, &json!("invalid_request_error")), "{members}");
    error["message"].as_str().unwrap().to_owned()
}

/// What the client gets of an answer to a request.
#[track_caller]
fn answered(request: &Value, answer: &str) -> Value {
    let script = responses(&with(request)).answered(200, &JSON, [answer.as_bytes().to_vec()]);
    let played = play(&provider("deepseek", ""), script);
    let client = played.client.unwrap_or_else(|| panic!("{:?}", played.reply));
    assert_eq!(client.header("content-type").as_deref(), Some("application/json"));
    value(client.body())
}

/// The same of a message.
#[track_caller]
fn output(request: &Value, message: &Value) -> Value {
    let answer = json!({"id":"i","choices":[{"index":0,"message":message,"finish_reason":"stop"}]});
    answered(request, &answer.to_string())["output"].clone()
}

fn tools() -> Value {
    json!([
        {"type":"function","name":"f1","description":"d","parameters":{"type":"object"},"strict":true},
        {"type":"custom","name":"patch","description":"Edits files.","format":{"type":"grammar","syntax":"lark","definition":"start: \"x\""}},
        {"type":"local_shell"},
        {"type":"namespace","name":"mcp__docs","description":"Docs.","tools":[
            {"type":"function","name":"find","parameters":{"type":"object"}},{"type":"custom","name":"note"}]},
        {"type":"web_search"}
    ])
}

#[test]
fn a_request_of_codexs_becomes_a_chat() {
    let body = json!({
        "model":"gpt-5-codex","instructions":"I\n","stream":true,"store":false,"parallel_tool_calls":true,"tool_choice":"auto",
        "include":["reasoning.encrypted_content"],"prompt_cache_key":"p","reasoning":{"effort":"high","summary":"auto"},
        "text":{"verbosity":"low","format":{"type":"json_schema","name":"n","schema":{"type":"object"},"strict":true}},
        "client_metadata":{"a":"b"},"tools":tools(),
        "input":[
            {"type":"message","role":"developer","content":[{"type":"input_text","text":"D"}]},
            {"type":"message","role":"user","content":[{"type":"input_text","text":"env"},{"type":"input_text","text":"do \"it\""}]},
            {"type":"reasoning","summary":[{"type":"summary_text","text":"T"}],"content":null,"encrypted_content":null},
            {"type":"message","role":"assistant","content":[{"type":"output_text","text":"go"}]},
            {"type":"function_call","name":"f1","arguments":"{\"a\":1}","call_id":"c1"},
            {"type":"custom_tool_call","status":"completed","call_id":"c2","name":"patch","input":"*** \"x\"\n"},
            {"type":"function_call_output","call_id":"c1","output":"r1"},
            {"type":"custom_tool_call_output","call_id":"c2","output":"r2"},
            {"type":"local_shell_call","call_id":"c3","status":"completed","action":{"type":"exec","command":["ls"],"timeout_ms":null,"env":{}}},
            {"type":"function_call_output","call_id":"c3","output":"r3"},
            {"type":"function_call","namespace":"mcp__docs","name":"find","arguments":"{}","call_id":"c4"},
            {"type":"function_call_output","call_id":"c4","output":[{"type":"input_text","text":"r"},{"type":"input_text","text":"4"}]},
            {"type":"web_search_call","status":"completed","action":{"type":"search","query":"q"}},
            {"type":"message","role":"user","content":[{"type":"input_text","text":"thanks"}]}
        ]
    });
    let script = responses(&body)
        .header("openai-beta", "b")
        .header("authorization", "Bearer client")
        .answered(200, &[("content-type", "text/event-stream")], [b"data: [DONE]\n\n".to_vec()]);
    let played = play(&provider("deepseek", ""), script);
    let seen = played.sent();
    for (name, expected) in [
        (":authority", Some("api.deepseek.com")),
        (":path", Some("/v1/chat/completions")),
        ("x-envoy-original-path", Some("/v1/responses")),
        ("authorization", Some("Bearer k")),
        ("openai-beta", None),
        ("accept", Some("text/event-stream")),
    ] {
        assert_eq!(seen.header(name).as_deref(), expected, "{name}");
    }
    let call = |id: &str, name: &str, arguments: &str| json!({"id":id,"type":"function","function":{"name":name,"arguments":arguments}});
    let function =
        |name: &str| json!({"type":"function","function":{"name":name,"parameters":{"type":"object"}}});
    let mut sent = value(seen.body());
    let given = sent["tools"].take();
    let expected = json!({
        "model":"gpt-5-codex","stream":true,"stream_options":{"include_usage":true},"prompt_cache_key":"p",
        "reasoning_effort":"high","verbosity":"low","tools":null,"tool_choice":"auto","parallel_tool_calls":true,
        "response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{"type":"object"},"strict":true}},
        "messages":[
            {"role":"system","content":"I\n"},
            {"role":"system","content":"D"},
            {"role":"user","content":[{"type":"text","text":"env"},{"type":"text","text":"do \"it\""}]},
            {"role":"assistant","content":"go","reasoning_content":"T","tool_calls":[call("c1", "f1", "{\"a\":1}"),
                call("c2", "patch", "{\"input\":\"*** \\\"x\\\"\\n\"}")]},
            {"role":"tool","tool_call_id":"c1","content":"r1"},
            {"role":"tool","tool_call_id":"c2","content":"r2"},
            {"role":"assistant","content":null,"tool_calls":[call("c3", "local_shell", "{\"command\":[\"ls\"],\"env\":{}}")]},
            {"role":"tool","tool_call_id":"c3","content":"r3"},
            {"role":"assistant","content":null,"tool_calls":[call("c4", "mcp__docs__find", "{}")]},
            {"role":"tool","tool_call_id":"c4","content":"r\n4"},
            {"role":"user","content":"thanks"}
        ]
    });
    assert_eq!(sent, expected);
    assert_eq!(given.as_array().unwrap().len(), 5);
    assert_eq!(
        given[0],
        json!({"type":"function","function":{"name":"f1","description":"d","parameters":{"type":"object"},"strict":true}})
    );
    assert_eq!(
        given[1]["function"]["description"],
        "Edits files.\n\nThe input must match this lark grammar:\nstart: \"x\""
    );
    assert_eq!(given[1]["function"]["parameters"]["required"], json!(["input"]));
    assert_eq!(given[2]["function"]["name"], "local_shell");
    assert_eq!(given[3], function("mcp__docs__find"));
    assert_eq!(given[4]["function"]["name"], "mcp__docs__note");
    let dropped = played.client.unwrap().header("x-ai-proxy-dropped");
    assert_eq!(
        dropped.as_deref(),
        Some("input.web_search_call, tools.description, tools.web_search, client_metadata")
    );
}

#[test]
fn members_find_their_place() {
    let same = json!({"temperature":0.10,"top_p":1,"user":"u","safety_identifier":"s","service_tier":"flex","stream":false,
        "prompt_cache_key":"k","prompt_cache_retention":"24h"});
    check(&same, &same, "");
    check(&json!({"max_output_tokens":9}), &json!({"max_tokens":9}), "");
    check(
        &json!({"metadata":{"a":"b"},"store":false,"truncation":"disabled","background":false,"include":[],"temperature":null,
            "previous_response_id":null,"stream_options":{"include_obfuscation":false},"top_logprobs":0,"max_tool_calls":null}),
        &json!({}),
        "",
    );
    check(
        &json!({"store":true,"truncation":"auto","stream_options":{"include_obfuscation":true},"max_tool_calls":3,"seed":1,
            "include":["web_search_call.results"],"reasoning":{"context":"auto"},"text":{"odd":1}}),
        &json!({}),
        "reasoning.context, text.odd, include, max_tool_calls, seed, store, truncation, stream_options.include_obfuscation",
    );
    check(&json!({"top_logprobs":2}), &json!({"logprobs":true,"top_logprobs":2}), "");
    check(&json!({"include":["message.output_text.logprobs"]}), &json!({"logprobs":true}), "");
    check(&json!({"text":{"format":{"type":"text"}}}), &json!({}), "");
    check(
        &json!({"text":{"format":{"type":"json_object"}}}),
        &json!({"response_format":{"type":"json_object"}}),
        "",
    );
    // Nothing can be chosen of what is not there.
    check(&json!({"tool_choice":"auto","parallel_tool_calls":false}), &json!({}), "");
    check(&json!({"tools":[{"type":"web_search"}],"tool_choice":"auto"}), &json!({}), "tools.web_search");
}

#[test]
fn thinking_is_asked_for_as_each_vendor_has_it() {
    let asked = |kind: &str, effort: &str| {
        let mut sent = sent_to(kind, &with(&json!({"reasoning":{"effort":effort}}))).0;
        for name in ["model", "messages"] {
            sent.as_object_mut().unwrap().remove(name);
        }
        sent
    };
    for effort in ["none", "minimal", "high", "xhigh"] {
        assert_eq!(asked("deepseek", effort), json!({"reasoning_effort":effort}));
        assert_eq!(asked("openrouter", effort), json!({"reasoning_effort":effort}));
    }
    assert_eq!(asked("zhipuai", "low"), json!({"thinking":{"type":"enabled"}}));
    assert_eq!(asked("zhipuai", "none"), json!({"thinking":{"type":"disabled"}}));
    let unsaid = sent_to("zhipuai", &with(&json!({"reasoning":{"summary":"auto"}}))).0;
    assert_eq!(unsaid, json!({"model":"m","messages":[{"role":"user","content":"x"}]}));
}

#[test]
fn messages_say_what_items_do() {
    assert_eq!(said(&json!("x\n")), json!([{"role":"user","content":"x\n"}]));
    assert_eq!(
        said(
            &json!([{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"assistant","content":"c"},
            {"role":"system","content":[{"type":"input_text","text":"d"}]},{"role":"user","content":[]}])
        ),
        json!([{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"assistant","content":"c"},
            {"role":"system","content":"d"},{"role":"user","content":[]}])
    );
    let parts = json!([
        {"type":"input_text","text":"a"},{"type":"input_image","image_url":"data:x","detail":"low"},{"type":"input_image","image_url":"http://i","detail":"auto"},
        {"type":"input_file","file_data":"data:f","filename":"n"},{"type":"input_audio","input_audio":{"data":"d","format":"wav"}}
    ]);
    assert_eq!(
        said(&json!([{"role":"user","content":parts}])),
        json!([{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"data:x","detail":"low"}},
            {"type":"image_url","image_url":{"url":"http://i"}},{"type":"file","file":{"filename":"n","file_data":"data:f"}},
            {"type":"input_audio","input_audio":{"data":"d","format":"wav"}}]}])
    );
    let answer = json!({"type":"message","id":"msg_1","status":"completed","role":"assistant","phase":"final_answer","content":[
        {"type":"output_text","text":"a","annotations":[],"logprobs":[]},{"type":"refusal","refusal":"b"}]});
    check(
        &json!({ "input": [answer] }),
        &json!({"messages":[{"role":"assistant","content":"ab"}]}),
        "input.phase",
    );
    let cited = json!([{"role":"assistant","content":[{"type":"output_text","text":"a","annotations":[{"type":"file_path"}]}]}]);
    assert_eq!(sent(&json!({ "input": cited })).1, "input.content.annotations");
}

#[test]
fn what_a_model_did_at_once_is_one_message() {
    let call = |id: &str| json!({"type":"function_call","call_id":id,"name":"f","arguments":"{}"});
    let output = |id: &str| json!({"type":"function_call_output","call_id":id,"output":id});
    let text = |text: &str| json!({"role":"assistant","content":text});
    let user = json!({"role":"user","content":"u"});
    let thought =
        |text: &str| json!({"type":"reasoning","id":"rs","summary":[{"type":"summary_text","text":text}]});
    let shape = |items: Value| {
        let name = |message: &Value| {
            let calls = message["tool_calls"].as_array().into_iter().flatten();
            let calls: Vec<_> = calls.map(|call| call["id"].as_str().unwrap()).collect();
            let said = message["content"].as_str().unwrap_or("-");
            let thought = message["reasoning_content"].as_str().unwrap_or("");
            let role = message["role"].as_str().unwrap().chars().next().unwrap();
            format!("{role}:{said}/{thought}/{}", calls.join("+"))
        };
        said(&items).as_array().unwrap().iter().map(name).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(shape(json!([call("1"), call("2"), output("2"), output("1")])), "a:-//1+2 t:1// t:2//");
    assert_eq!(shape(json!([text("a"), call("1"), text("b"), output("1")])), "a:a\n\nb//1 t:1//");
    assert_eq!(shape(json!([call("1"), output("1"), call("2"), output("2")])), "a:-//1 t:1// a:-//2 t:2//");
    // Another's word between a call and its output would be refused.
    assert_eq!(shape(json!([call("1"), user, output("1")])), "a:-//1 t:1// u:u//");
    // Some vendors name their calls alike in each turn.
    assert_eq!(shape(json!([call("1"), output("1"), call("1"), output("1")])), "a:-//1 t:1// a:-//1 t:1//");
    assert_eq!(
        shape(json!([
            thought("T"),
            call("1"),
            thought("V"),
            call("2"),
            output("1"),
            output("2"),
            thought("W"),
            text("a")
        ])),
        "a:-/T\n\nV/1+2 t:1// t:2// a:a/W/"
    );
    // Where no tool was called nobody wants to hear of it.
    let quiet = json!([user, thought("T"), text("a"), user, thought("V"), call("1"), output("1")]);
    assert_eq!(shape(quiet.clone()), "u:u// a:a// u:u// a:-/V/1 t:1//");
    assert_eq!(sent(&json!({ "input": quiet })).1, "input.summary");
    // Some vendors refuse to hear of it at all.
    let (chat, dropped) = sent_to("mistral", &with(&json!({"input":[thought("T"), call("1"), output("1")]})));
    assert_eq!((chat["messages"][0].get("reasoning_content"), dropped.as_str()), (None, "input.summary"));
    let long = json!({"type":"reasoning","summary":[],"content":[{"type":"reasoning_text","text":"C"}],"encrypted_content":"E"});
    let (chat, dropped) = sent(&json!({"input":[long, call("1"), output("1")]}));
    assert_eq!(
        (&chat["messages"][0]["reasoning_content"], dropped.as_str()),
        (&json!("C"), "input.encrypted_content")
    );
    let shell = json!([{"type":"local_shell_call","id":"lsh_1","call_id":"1","status":"completed","action":{"type":"exec","command":["a"],"env":{}}},
        {"type":"local_shell_call_output","id":"lsh_1","output":"o"}]);
    assert_eq!(shape(shell), "a:-//1 t:o//");
}

#[test]
fn what_tools_have_shown_is_shown_by_the_user() {
    let items = json!([{"type":"function_call","call_id":"1","name":"f","arguments":"{}"},{"type":"function_call","call_id":"2","name":"f","arguments":"{}"},
        {"type":"function_call_output","call_id":"1","output":[{"type":"input_text","text":"t"},{"type":"input_image","image_url":"i"}]},
        {"type":"function_call_output","call_id":"2","output":"o"}]);
    let messages = said(&items);
    assert_eq!(messages[1], json!({"role":"tool","tool_call_id":"1","content":"t"}));
    assert_eq!(messages[2], json!({"role":"tool","tool_call_id":"2","content":"o"}));
    let seen = json!([{"type":"text","text":"Output of the tool call 1:"},{"type":"image_url","image_url":{"url":"i"}}]);
    assert_eq!(messages[3], json!({"role":"user","content":seen}));
}

#[test]
fn the_systems_messages_come_first_where_a_vendor_demands_it() {
    let late = json!({"model":"m","instructions":"a","input":[{"role":"user","content":"x"},{"role":"developer","content":"b"}]});
    let contents = |kind: &str| -> Vec<Value> {
        let sent = sent_to(kind, &late).0;
        sent["messages"].as_array().unwrap().iter().map(|message| message["content"].clone()).collect()
    };
    assert_eq!(contents("deepseek"), ["a", "x", "b"]);
    assert_eq!(contents("vllm"), ["a", "b", "x"]);
}

#[test]
fn tools_are_chosen_as_a_chat_has_it() {
    let chosen = |choice: Value| {
        let (sent, dropped) = sent(&json!({"tools":tools(),"tool_choice":choice}));
        let names =
            sent["tools"].as_array().unwrap().iter().map(|tool| tool["function"]["name"].as_str().unwrap());
        (names.collect::<Vec<_>>().join(" "), sent["tool_choice"].clone(), dropped)
    };
    let all = "f1 patch local_shell mcp__docs__find mcp__docs__note";
    let named = |name: &str| json!({"type":"function","function":{"name":name}});
    for word in ["auto", "none", "required"] {
        let (names, choice, _) = chosen(json!(word));
        assert_eq!((names.as_str(), choice), (all, json!(word)));
    }
    for (choice, name) in [
        (json!({"type":"function","name":"f1"}), "f1"),
        (json!({"type":"custom","name":"patch"}), "patch"),
        (json!({"type":"local_shell"}), "local_shell"),
        (json!({"type":"function","name":"find"}), "mcp__docs__find"),
    ] {
        assert_eq!(chosen(choice).1, named(name));
    }
    let some = |mode: &str| {
        chosen(
            json!({"type":"allowed_tools","mode":mode,"tools":[{"type":"function","name":"f1"},{"type":"custom","name":"patch"},{"type":"mcp","server_label":"s"}]}),
        )
    };
    let dropped = "tools.description, tools.web_search, tool_choice.tools";
    assert_eq!(some("auto"), ("f1 patch".to_owned(), json!("auto"), dropped.to_owned()));
    assert_eq!(some("required").1, "required");
}

#[test]
fn what_no_chat_can_give_is_refused_where_it_stands() {
    for (members, message) in [
        (
            json!({"previous_response_id":"r"}),
            "previous_response_id: this vendor keeps no state; send the whole input",
        ),
        (
            json!({"conversation":{"id":"c"}}),
            "conversation: this vendor keeps no state; send the whole input",
        ),
        (json!({"prompt":{"id":"p"}}), "prompt: this vendor keeps no prompts; send instructions and input"),
        (json!({"background":true}), "background: this vendor answers while you wait only"),
        (json!({"input":null}), "input: expected a text or a list of items"),
        (json!({"input":{}}), "input: expected a text or a list of items"),
        (json!({"input":[7]}), "input.0: expected an object"),
        (json!({"input":[{}]}), "input.0.type: expected the type of an item"),
        (json!({"input":[{"type":"odd"}]}), "input.0.type: expected the type of an item"),
        (
            json!({"input":[{"type":"item_reference","id":"i"}]}),
            "input.0: this vendor keeps no items; send the item itself",
        ),
        (json!({"input":[{"id":"i"}]}), "input.0: this vendor keeps no items; send the item itself"),
        (
            json!({"input":[{"type":"compaction","encrypted_content":"e"}]}),
            "input.0: what OpenAI has compacted it alone can read",
        ),
        (
            json!({"input":[{"role":"critic","content":"a"}]}),
            "input.0.role: expected user, assistant, system or developer",
        ),
        (json!({"input":[{"role":"user"}]}), "input.0.content: expected a text or a list of content parts"),
        (
            json!({"input":[{"role":"assistant","content":7}]}),
            "input.0.content: expected a text or a list of content parts",
        ),
        (
            json!({"input":[{"role":"user","content":[{"type":"input_text"}]}]}),
            "input.0.content.0.text: expected a text",
        ),
        (
            json!({"input":[{"role":"user","content":[{"type":"video"}]}]}),
            "input.0.content.0.type: expected input_text, output_text, refusal, input_image, input_file or input_audio",
        ),
        (
            json!({"input":[{"role":"user","content":[{"type":"input_image","file_id":"f"}]}]}),
            "input.0.content.0.file_id: this vendor has none of OpenAI's files; send what is in it",
        ),
        (
            json!({"input":[{"role":"user","content":[{"type":"input_file","file_id":"f"}]}]}),
            "input.0.content.0.file_id: this vendor has none of OpenAI's files; send what is in it",
        ),
        (
            json!({"input":[{"role":"user","content":[{"type":"input_file","file_url":"u"}]}]}),
            "input.0.content.0.file_url: this vendor fetches no files; send what is in it as file_data",
        ),
        (
            json!({"input":[{"role":"user","content":[{"type":"input_audio"}]}]}),
            "input.0.content.0.input_audio: expected an object",
        ),
        (
            json!({"input":[{"role":"user","content":"a"},{"type":"function_call_output","call_id":"c","output":"o"}]}),
            "input.1.call_id: no call before it has this id and waits for its output",
        ),
        (json!({"input":[{"type":"function_call_output","output":"o"}]}), "input.0.call_id: expected a text"),
        (
            json!({"input":[{"type":"function_call","name":"f","arguments":"{}"}]}),
            "input.0.call_id: expected a text",
        ),
        (
            json!({"input":[{"type":"function_call","call_id":"c","arguments":"{}"}]}),
            "input.0.name: expected a text",
        ),
        (
            json!({"input":[{"type":"custom_tool_call","call_id":"c","name":"f"}]}),
            "input.0.input: expected a text",
        ),
        (json!({"input":[{"type":"local_shell_call","call_id":"c"}]}), "input.0.action: expected an object"),
        (json!({"input":[{"type":"local_shell_call","action":{}}]}), "input.0.call_id: expected a text"),
        (json!({"instructions":[]}), "instructions: expected a text"),
        (json!({"tools":{}}), "tools: expected a list of tools"),
        (json!({"tools":["x"]}), "tools.0: expected an object"),
        (json!({"tools":[{"type":"function"}]}), "tools.0.name: expected a text"),
        (
            json!({"tools":[{"type":"namespace","name":"n","tools":[{"type":"custom"}]}]}),
            "tools.0.tools.0.name: expected a text",
        ),
        (json!({"tool_choice":"any"}), "tool_choice: expected auto, none, required or an object with a type"),
        (
            json!({"tools":tools(),"tool_choice":{"type":"web_search_preview"}}),
            "tool_choice: this vendor has no tool of this type",
        ),
        (
            json!({"tools":tools(),"tool_choice":{"type":"function","name":"f9"}}),
            "tool_choice: this tool is not among the tools",
        ),
        (
            json!({"tools":[{"type":"web_search"}],"tool_choice":"required"}),
            "tool_choice: none of the tools that could be called is one that this vendor has",
        ),
        (json!({"text":7}), "text: expected an object"),
        (
            json!({"text":{"format":{"type":"x"}}}),
            "text.format.type: expected text, json_object or json_schema",
        ),
        (json!({"reasoning":{"effort":7}}), "reasoning.effort: expected a text"),
        (json!({"include":[7]}), "include: expected a list of texts"),
    ] {
        assert_eq!(refused(&members), message, "{members}");
    }
    let played = play(&provider("deepseek", ""), Script::post("/v1/responses", "{"));
    assert_eq!(played.replied().status, 400);
}

#[test]
fn an_answer_becomes_a_response() {
    let answer = r#"{"id":"chatcmpl-A1","object":"chat.completion","created":7,"model":"vendor-m","service_tier":"default","choices":[{"index":0,"message":{
        "role":"assistant","content":"hello","reasoning_content":"th\n","refusal":null,"annotations":[{"type":"url_citation","url_citation":{"start_index":1,"end_index":2,"url":"u","title":"t"}}],
        "tool_calls":[{"id":"a","type":"function","function":{"name":"f1","arguments":"{\"a\":1}"}},{"id":"b","type":"function","function":{"name":"patch","arguments":"{\"input\":\"x\\n\"}"}},
            {"type":"function","function":{"name":"mcp__docs__find","arguments":""}}]},
        "logprobs":{"content":[{"token":"hello","logprob":-0.5,"bytes":null,"top_logprobs":[]}]},"finish_reason":"tool_calls"}],
        "usage":{"prompt_tokens":9,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":1}}}"#;
    let request = json!({"instructions":"I","tools":tools(),"tool_choice":"required","temperature":0.5,"metadata":{"a":"b"},"user":"u","max_output_tokens":9,
        "reasoning":{"effort":"low"},"text":{"verbosity":"low"},"parallel_tool_calls":false,"truncation":"auto","store":true,"service_tier":"auto"});
    let expected = json!({
        "id":"resp_A1","object":"response","created_at":7,"status":"completed","completed_at":null,"error":null,"incomplete_details":null,
        "model":"vendor-m","output":[
            {"id":"rs_ai_proxy_A1_0","type":"reasoning","status":"completed","summary":[{"type":"summary_text","text":"th\n"}]},
            {"id":"msg_A1_1","type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","text":"hello",
                "annotations":[{"type":"url_citation","start_index":1,"end_index":2,"url":"u","title":"t"}],
                "logprobs":[{"token":"hello","logprob":-0.5,"bytes":null,"top_logprobs":[]}]}]},
            {"id":"fc_A1_2","type":"function_call","status":"completed","call_id":"a","name":"f1","arguments":"{\"a\":1}"},
            {"id":"ctc_A1_3","type":"custom_tool_call","status":"completed","call_id":"b","name":"patch","input":"x\n"},
            {"id":"fc_A1_4","type":"function_call","status":"completed","call_id":"call_A1_4","name":"find","namespace":"mcp__docs","arguments":"{}"}],
        "background":false,"instructions":"I","max_output_tokens":9,"max_tool_calls":null,"metadata":{"a":"b"},"parallel_tool_calls":false,
        "previous_response_id":null,"prompt_cache_key":null,"reasoning":{"effort":"low","summary":null},"safety_identifier":null,"store":false,
        "temperature":0.5,"text":{"format":{"type":"text"},"verbosity":"low"},"tool_choice":"required","tools":tools(),"top_logprobs":0,
        "top_p":null,"truncation":"auto","user":"u","service_tier":"default",
        "usage":{"input_tokens":9,"input_tokens_details":{"cached_tokens":4,"cache_write_tokens":0},"output_tokens":2,
            "output_tokens_details":{"reasoning_tokens":1},"total_tokens":11}
    });
    assert_eq!(answered(&request, answer), expected);
}

#[test]
fn why_a_chat_ended_is_how_its_response_stands() {
    for (reason, status, details) in [
        ("\"stop\"", "completed", json!(null)),
        ("\"tool_calls\"", "completed", json!(null)),
        ("null", "completed", json!(null)),
        ("\"length\"", "incomplete", json!({"reason":"max_output_tokens"})),
        ("\"content_filter\"", "incomplete", json!({"reason":"content_filter"})),
    ] {
        let answer = format!(
            r#"{{"choices":[{{"message":{{"reasoning":"r","content":"x"}},"finish_reason":{reason}}}]}}"#
        );
        let response = answered(&json!({}), &answer);
        assert_eq!(
            (&response["status"], &response["incomplete_details"]),
            (&json!(status), &details),
            "{reason}"
        );
        assert_eq!(response["output"][0]["status"], "completed");
        assert_eq!(response["output"][1]["status"], status);
        assert_eq!((&response["model"], &response["usage"]), (&json!("m"), &json!(null)));
    }
    let nothing = answered(&json!({}), r#"{"id":"c","choices":[]}"#);
    assert_eq!((&nothing["status"], &nothing["output"]), (&json!("failed"), &json!([])));
    assert_eq!(nothing["error"]["code"], "server_error");
}

#[test]
fn ids_are_the_chats_or_else_of_their_own() {
    let id = |id: Value| {
        answered(&json!({}), &json!({"id":id,"choices":[]}).to_string())["id"].as_str().unwrap().to_owned()
    };
    assert_eq!(id(json!("chatcmpl-x_1")), "resp_x_1");
    assert_eq!(id(json!("20250101-ab")), "resp_20250101-ab");
    for odd in [json!(null), json!(7), json!(""), json!("a\"b"), json!("x".repeat(41))] {
        let id = id(odd.clone());
        let plain = id.strip_prefix("resp_").unwrap().bytes().all(|byte| byte.is_ascii_hexdigit());
        assert!(plain && id.len() == 29, "{odd}: {id}");
    }
}

#[test]
fn messages_are_read_as_vendors_write_them() {
    let none = json!({});
    assert_eq!(output(&none, &json!({"content":null})), json!([]));
    assert_eq!(output(&none, &json!({"content":""})), json!([]));
    let parts = json!({"content":[{"type":"text","text":"a"},{"type":"text","text":"b"}],"refusal":"no"});
    assert_eq!(
        output(&none, &parts)[0]["content"],
        json!([{"type":"output_text","text":"ab","annotations":[],"logprobs":[]},{"type":"refusal","refusal":"no"}])
    );
    let shell = json!({ "tools": [{"type":"local_shell"}] });
    let called = |arguments: Value| {
        let call = json!({"id":"a","function":{"name":"local_shell","arguments":arguments}});
        output(&shell, &json!({ "tool_calls": [call] }))[0].clone()
    };
    let action = json!({"type":"exec","command":["ls"],"env":{"A":"b"},"timeout_ms":5,"user":"u","working_directory":"/"});
    let mut arguments = action.clone();
    arguments.as_object_mut().unwrap().remove("type");
    let expected =
        json!({"id":"lsh_i_0","type":"local_shell_call","status":"completed","call_id":"a","action":action});
    assert_eq!(called(json!(arguments.to_string())), expected);
    assert_eq!(called(arguments), expected);
    let of = |arguments: &str| called(json!(arguments))["action"].clone();
    assert_eq!(of("{\"command\":\"ls\"}"), json!({"type":"exec","command":["ls"],"env":{}}));
    for odd in ["{}", "oops", "[]", "", "{\"command\":[nul]}"] {
        assert_eq!(of(odd), json!({"type":"exec","command":[],"env":{}}), "{odd}");
    }
    // The tool of that name is the client's own here.
    let call = json!({ "tool_calls": [{"id":"a","function":{"name":"local_shell","arguments":"{}"}}] });
    assert_eq!(output(&none, &call)[0]["type"], "function_call");
}

#[test]
fn failures_have_openais_shape() {
    let failing = |config: &str, status: u16, body: &str| {
        let script = responses(&with(&json!({}))).answered(status, &JSON, [body.as_bytes().to_vec()]);
        let played = play(config, script);
        match (played.client, played.reply) {
            (_, Some(reply)) => (reply.status.to_string(), value(reply.body)),
            (client, None) => {
                let client = client.unwrap();
                (client.header(":status").unwrap(), value(client.body()))
            }
        }
    };
    let config = provider("deepseek", "");
    let (status, body) = failing(&config, 429, r#"{"message":"slow down"}"#);
    let expected =
        json!({"error":{"message":"slow down","type":"rate_limit_error","param":null,"code":"429"}});
    assert_eq!((status.as_str(), body), ("429", expected));
    let (status, body) = failing(&config, 200, "oops");
    assert_eq!((status.as_str(), &body["error"]["type"]), ("502", &json!("server_error")));
    let (status, body) = failing(&config, 200, r#"{"error":{"message":"no quota"}}"#);
    assert_eq!((status.as_str(), &body["error"]["message"]), ("502", &json!("no quota")));
}

#[test]
fn who_speaks_it_or_is_told_so_is_not_translated() {
    let body = r#"{"model":"m" ,"input":"x","previous_response_id":"r"}"#;
    let path = |config: &str| {
        let script = Script::post("/v1/responses", body).answered(200, &JSON, [b"{}".to_vec()]);
        play(config, script).upstream.map(|seen| (seen.header(":path").unwrap(), seen.text()))
    };
    let kept = |path: &str| Some((path.to_owned(), body.to_owned()));
    assert_eq!(path(&provider("groq", "")), kept("/openai/v1/responses"));
    assert_eq!(path(&provider("deepseek", r#""capabilities":{"openai/v1/responses":"/r"}"#)), kept("/r"));
    assert_eq!(path(&provider("deepseek", r#""protocol":"original""#)), kept("/v1/responses"));
    assert_eq!(path(&provider("deepseek", r#""capabilities":{"openai/v1/responses":""}"#)), None);
    for kind in ["deepseek", "moonshot", "mistral", "zhipuai", "grok"] {
        let sent = sent_to(kind, &with(&json!({}))).0;
        assert_eq!(sent["messages"], json!([{"role":"user","content":"x"}]), "{kind}");
    }
    let told = provider("openai", r#""translateApis":{"openai/v1/responses":"openai/v1/chatcompletions"}"#);
    let script = responses(&with(&json!({}))).answered(200, &JSON, [ANSWER.into()]);
    assert_eq!(play(&told, script).sent().header(":path").as_deref(), Some("/v1/chat/completions"));
}

/// What a vendor of Responses is sent of an input. Its bytes are the client's, but for what is taken out.
#[track_caller]
fn natively(kind: &str, input: &str) -> String {
    let body = |input: &str| format!(r#"{{ "input" : {input}, "model":"m" }}"#);
    let more = if kind == "azure" {
        r#""azureServiceUrl":"https://a.openai.azure.com/openai/v1/responses?api-version=v""#
    } else {
        ""
    };
    let script = Script::post("/v1/responses", body(input)).answered(200, &JSON, [b"{}".to_vec()]);
    let text = play(&provider(kind, more), script).sent().text();
    let (before, after) = (r#"{ "input" : "#, r#", "model":"m" }"#);
    text.strip_prefix(before).and_then(|text| text.strip_suffix(after)).unwrap_or(&text).to_owned()
}

#[test]
fn thinking_that_is_ours_does_not_go_to_who_speaks_responses() {
    let ours = output(&json!({}), &json!({"content":"A","reasoning_content":"T"}));
    assert!(ours[0]["id"].as_str().unwrap().starts_with("rs_ai_proxy_"), "{ours}");
    let (thinking, said) = (ours[0].to_string(), ours[1].to_string());
    let theirs = r#"{"type":"reasoning","id":"rs_0a1b","summary":[],"encrypted_content":"gAAAA"}"#;
    let user = r#"{"role":"user","content":"rs_ai_proxy_ is no id here"}"#;
    // Codex leaves ids out.
    let nameless = r#"{"type":"reasoning","summary":[],"encrypted_content":"rs_ai_proxy_e30="}"#;
    let reference = r#"{"type":"item_reference","id":"rs_ai_proxy_i_0"}"#;
    let all = [user, &thinking, theirs, nameless, &said, reference].join(" , ");
    for kind in ["openai", "azure", "groq"] {
        let kept = [user, theirs, &said].join(" , ");
        assert_eq!(natively(kind, &format!("[{all}]")), format!("[{kept}]"), "{kind}");
    }
    for untouched in ["\"rs_ai_proxy_\"", "[]", "[7,[\"rs_ai_proxy_\"]]", "{\"id\":\"rs_ai_proxy_\"}", user] {
        assert_eq!(natively("openai", untouched), untouched);
    }
    let original = provider("openai", r#""protocol":"original""#);
    let body = format!(r#"{{"input":[{all}]}}"#);
    let script = Script::post("/v1/responses", body.clone()).answered(200, &JSON, [b"{}".to_vec()]);
    assert_eq!(play(&original, script).sent().text(), body);
}

/// A turn of a client of Responses that calls a tool at Claude's: the items of the answer, and what Claude is sent when
/// they come back with what came of the call, with the names of what is left out.
fn turn_at_claude(answer: &[u8], kind: &str) -> (Value, Value, String) {
    let user = json!({"role":"user","content":"q"});
    let is_stream = kind == "text/event-stream";
    let asked = with(&json!({"input":[user],"stream":is_stream,"reasoning":{"effort":"low"}}));
    let head = [("content-type", kind)];
    let claude = provider("claude", "");
    let text =
        play(&claude, responses(&asked).answered(200, &head, [answer.to_vec()])).client.unwrap().text();
    let response = if is_stream {
        holds_together("claude", &text);
        let last = text.trim_end().rsplit_once("data: ").unwrap().1;
        value(last)["response"].clone()
    } else {
        value(&text)
    };
    let items = response["output"].as_array().unwrap().clone();
    let result = json!({"type":"function_call_output","call_id":"u","output":"r"});
    let input = [vec![user], items.clone(), vec![result]].concat();
    let (sent, dropped) = sent_on("claude", &json!({"input":input,"reasoning":{"effort":"low"}}));
    (json!(items), sent, dropped)
}

fn sent_on(kind: &str, members: &Value) -> (Value, String) {
    let answer = if kind == "claude" {
        r#"{"id":"i","content":[{"type":"text","text":"A"}],"stop_reason":"end_turn"}"#
    } else {
        ANSWER
    };
    let played = play(&provider(kind, ""), responses(&with(members)).answered(200, &JSON, [answer.into()]));
    let dropped = played.client.as_ref().and_then(|client| client.header("x-ai-proxy-dropped"));
    (value(played.sent().body()), dropped.unwrap_or_default())
}

fn thoughts() -> Value {
    json!([{"type":"thinking","thinking":"T \"1\"\nü","signature":"c2ln"},{"type":"redacted_thinking","data":"ZW5j"}])
}

/// Claude's stream of these blocks, each told at once.
fn message_of(blocks: &[Value]) -> String {
    let mut events = vec![json!({"type":"message_start","message":{"id":"m1","usage":{"input_tokens":1}}})];
    for (index, block) in blocks.iter().enumerate() {
        events.push(json!({"type":"content_block_start","index":index,"content_block":block}));
        events.push(json!({"type":"content_block_stop","index":index}));
    }
    events
        .push(json!({"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":2}}));
    events.push(json!({"type":"message_stop"}));
    events.iter().map(|event| format!("data: {event}\n\n")).collect()
}

#[test]
fn signed_thinking_goes_through_the_client_and_back() {
    let call = json!({"type":"tool_use","id":"u","name":"f","input":{"a":1}});
    let blocks = [thoughts()[0].clone(), thoughts()[1].clone(), call.clone()];
    let whole = json!({"id":"m1","content":blocks,"stop_reason":"tool_use"}).to_string();
    let stream = message_of(&blocks);
    for (answer, kind) in [(whole, "application/json"), (stream, "text/event-stream")] {
        let (items, sent, dropped) = turn_at_claude(answer.as_bytes(), kind);
        assert_eq!(items.as_array().unwrap().len(), 2, "{items}");
        assert_eq!(items[0]["summary"], json!([{"type":"summary_text","text":"T \"1\"\nü"}]));
        let sealed = items[0]["encrypted_content"].as_str().unwrap();
        assert!(sealed.starts_with("rs_ai_proxy_W3sidHlwZSI6InRoaW5raW5nIiwi"), "{sealed}");
        assert_eq!(sent["messages"][1]["content"], json!([thoughts()[0], thoughts()[1], call]), "{kind}");
        assert_eq!((&sent["thinking"]["type"], dropped.as_str()), (&json!("enabled"), ""), "{kind}");
    }
}

#[test]
fn thinking_that_nobody_may_read_is_an_item_without_a_summary() {
    let call = json!({"type":"tool_use","id":"u","name":"f","input":{}});
    let stream = message_of(&[json!({"type":"text","text":"So."}), thoughts()[1].clone(), call.clone()]);
    let (items, sent, dropped) = turn_at_claude(stream.as_bytes(), "text/event-stream");
    let kinds: Vec<_> = items.as_array().unwrap().iter().map(|item| item["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["message", "reasoning", "function_call"]);
    assert_eq!(items[1]["summary"], json!([]));
    let said = json!({"type":"text","text":"So."});
    assert_eq!(sent["messages"][1]["content"], json!([thoughts()[1], said, call]));
    assert_eq!((&sent["thinking"]["type"], dropped.as_str()), (&json!("enabled"), ""));
}

#[test]
fn what_is_signed_goes_to_who_has_signed_it_alone() {
    let call = json!({"type":"tool_use","id":"u","name":"f","input":{}});
    let whole = json!({"content":[thoughts()[0], call],"stop_reason":"tool_use"}).to_string();
    let (items, ..) = turn_at_claude(whole.as_bytes(), "application/json");
    let turn = |thinking: &Value| {
        json!({"input":[{"role":"user","content":"q"},thinking,items[1],
            {"type":"function_call_output","call_id":"u","output":"r"}],"reasoning":{"effort":"low"}})
    };
    let (sent, dropped) = sent_on("deepseek", &turn(&items[0]));
    let message = sent["messages"][1].as_object().unwrap();
    assert_eq!(message["reasoning_content"], "T \"1\"\nü");
    assert!(!message.contains_key("thinking_blocks"), "{sent}");
    assert_eq!(dropped, "input.encrypted_content");
    // What is not as it was sent is as good as nothing.
    let sealed = |text: &str| format!("rs_ai_proxy_{}", BASE64_STANDARD.encode(text));
    for odd in [
        "gAAAAA".to_owned(),
        "rs_ai_proxy_".to_owned(),
        "rs_ai_proxy_*".to_owned(),
        sealed(""),
        sealed("[]"),
        sealed("[7,null]"),
        sealed("{\"type\":\"thinking\"}"),
        sealed("[{\"type\":\"thinking\",\"signature\":\"s\",\"thinking\":\"\\x\"}]"),
        sealed("[{\"type\":\"thinking\""),
        sealed(&format!("{}{}", "[".repeat(1000), "]".repeat(1000))),
    ] {
        let mut thinking = items[0].clone();
        thinking["encrypted_content"] = json!(odd);
        let (sent, dropped) = sent_on("claude", &turn(&thinking));
        let message = &sent["messages"][1];
        assert_eq!(message["content"][0]["type"], "tool_use", "{odd}");
        assert_eq!(dropped, "input.encrypted_content, reasoning.effort", "{odd}");
    }
}

#[test]
fn all_that_is_done_to_chats_is_done_to_these() {
    let more = r#""modelMapping":{"gpt-*":"deepseek-chat"},"customSettings":[{"name":"seed","value":1}],"mergeConsecutiveMessages":true,
        "reasoningContentMode":"ignore""#;
    let body = json!({"model":"gpt-5","input":[{"role":"user","content":"a"},{"role":"user","content":"b"}]});
    let answer =
        r#"{"choices":[{"message":{"content":"A","reasoning_content":"R"},"finish_reason":"stop"}]}"#;
    let played = play(&provider("deepseek", more), responses(&body).answered(200, &JSON, [answer.into()]));
    let expected = json!({"model":"deepseek-chat","seed":1,"messages":[{"role":"user","content":"a\n\nb"}]});
    assert_eq!(value(played.sent().body()), expected);
    let response = value(played.client.unwrap().body());
    assert_eq!(
        (response["output"].as_array().unwrap().len(), &response["output"][0]["type"]),
        (1, &json!("message"))
    );
}

fn script(tools: &Value, pieces: Vec<Vec<u8>>) -> Script {
    let script = responses(&json!({"model":"m","stream":true,"input":"x","tools":tools}));
    script.answered(200, &[("content-type", "text/event-stream; charset=utf-8")], pieces)
}

fn streamed(config: &str, tools: &Value, pieces: Vec<Vec<u8>>) -> Played {
    play(config, script(tools, pieces))
}

#[test]
fn streams_become_responses_however_they_are_cut() {
    let names = streams("responses_over_chat");
    assert!(names.len() >= 35, "{names:?}");
    for name in names {
        let more = if name.contains("promote") { r#""promoteThinkingOnEmpty":true"# } else { "" };
        let given = ["custom", "shell", "namespace"].iter().any(|word| name.contains(word));
        let tools = if given { tools() } else { json!([]) };
        let stream = ("responses_over_chat", name.as_str(), "response");
        let text = play_cuts(stream, &provider("deepseek", more), |pieces| script(&tools, pieces));
        holds_together(&name, &text);
    }
}

/// What a reader of the events knows of an item.
struct Read {
    id: Value,
    /// Of each part, as the deltas say it.
    parts: Vec<String>,
    /// A part is open.
    open: bool,
    done: Option<Value>,
}

/// Events are counted; items begin in order, get something only while they are open, and end; all texts are what
/// their deltas say; and the response, which ends once, has in it what its items were.
fn holds_together(name: &str, text: &str) {
    let mut items: Vec<Read> = Vec::new();
    let (mut count, mut ended, mut failed) = (0, false, false);
    for event in text.split_terminator("\n\n").filter(|event| !event.starts_with(':')) {
        let (kind, data) = event.split_once("\ndata: ").unwrap();
        let data = value(data);
        let at = || panic!("{name}: {event}");
        assert!(!ended, "{name}: {event}");
        assert_eq!(kind, format!("event: {}", data["type"].as_str().unwrap()), "{name}");
        assert_eq!(data["sequence_number"], count, "{name}: {event}");
        let kind = data["type"].as_str().unwrap();
        let response = &data["response"];
        match count {
            0 => assert_eq!(kind, "response.created", "{name}"),
            1 => assert_eq!(kind, "response.in_progress", "{name}"),
            _ => {}
        }
        count += 1;
        let index = data["output_index"].as_u64().map(|index| usize::try_from(index).unwrap());
        let last = items.len();
        let mut item = index.and_then(|index| items.get_mut(index));
        if let (Some(item), Some(id)) = (&item, data.get("item_id")) {
            assert!(item.done.is_none() && item.id == *id, "{name}: {event}");
        }
        let part =
            data.get("content_index").or(data.get("summary_index")).map_or(0, |at| at.as_u64().unwrap());
        let part = usize::try_from(part).unwrap();
        match kind {
            "response.created" | "response.in_progress" => {
                assert_eq!(
                    (&response["status"], &response["output"]),
                    (&json!("in_progress"), &json!([])),
                    "{name}"
                );
            }
            "response.output_item.added" => {
                assert_eq!(index, Some(last), "{name}: {event}");
                let item = &data["item"];
                let is_call = item["type"].as_str().unwrap().ends_with("_call");
                let parts = if is_call { vec![String::new()] } else { Vec::new() };
                items.push(Read { id: item["id"].clone(), parts, open: is_call, done: None });
            }
            "response.content_part.added" | "response.reasoning_summary_part.added" => {
                let item = item.unwrap_or_else(at);
                assert!(!item.open && item.parts.len() == part, "{name}: {event}");
                item.parts.push(String::new());
                item.open = true;
            }
            "response.output_text.delta"
            | "response.refusal.delta"
            | "response.reasoning_summary_text.delta"
            | "response.function_call_arguments.delta"
            | "response.custom_tool_call_input.delta" => {
                let item = item.unwrap_or_else(at);
                assert!(item.open && item.parts.len() == part + 1, "{name}: {event}");
                item.parts[part].push_str(data["delta"].as_str().unwrap());
            }
            "response.output_text.annotation.added" => {
                assert!(item.unwrap_or_else(at).open, "{name}: {event}");
            }
            "response.output_text.done"
            | "response.refusal.done"
            | "response.reasoning_summary_text.done"
            | "response.function_call_arguments.done"
            | "response.custom_tool_call_input.done" => {
                let said = ["text", "refusal", "arguments", "input"].iter().find_map(|name| data.get(name));
                assert_eq!(said.unwrap(), &json!(item.unwrap_or_else(at).parts[part]), "{name}: {event}");
            }
            "response.content_part.done" | "response.reasoning_summary_part.done" => {
                let item = item.unwrap_or_else(at);
                let said = data["part"].get("text").or(data["part"].get("refusal")).unwrap();
                assert!(item.open && said == &json!(item.parts[part]), "{name}: {event}");
                item.open = false;
            }
            "response.output_item.done" => {
                let read = item.as_mut().unwrap_or_else(|| panic!("{name}: {event}"));
                let item = &data["item"];
                assert_eq!(item["id"], read.id, "{name}");
                let texts = |list: &Value| -> Vec<String> {
                    let text = |part: &Value| {
                        part.get("text").or(part.get("refusal")).unwrap().as_str().unwrap().to_owned()
                    };
                    list.as_array().unwrap().iter().map(text).collect()
                };
                let said = match item["type"].as_str().unwrap() {
                    "message" => texts(&item["content"]),
                    "reasoning" => texts(&item["summary"]),
                    "function_call" => vec![item["arguments"].as_str().unwrap().to_owned()],
                    "custom_tool_call" => vec![item["input"].as_str().unwrap().to_owned()],
                    "local_shell_call" => vec![String::new()],
                    other => panic!("{name}: {other}"),
                };
                assert_eq!(said, read.parts, "{name}: {event}");
                assert!(read.done.is_none(), "{name}: {event}");
                read.done = Some(item.clone());
            }
            "response.completed" | "response.incomplete" => {
                let done: Vec<Value> = items.iter_mut().map(|item| item.done.take().unwrap()).collect();
                assert_eq!(response["output"], json!(done), "{name}");
                assert_eq!(kind, format!("response.{}", response["status"].as_str().unwrap()), "{name}");
                ended = true;
            }
            "error" => {
                assert_eq!(data["message"], data["error"]["message"], "{name}");
                failed = true;
            }
            "response.failed" => {
                assert!(
                    failed && response["status"] == "failed" && response["error"]["code"].is_string(),
                    "{name}"
                );
                ended = true;
            }
            other => panic!("{name}: {other}"),
        }
    }
    assert!(ended, "{name}");
}

#[test]
fn a_response_that_grows_too_large_fails() {
    let text = "x".repeat(1 << 20);
    let thought = format!(r#"data: {{"choices":[{{"delta":{{"reasoning_content":"{text}"}}}}]}}"#);
    let call = |text: &str| {
        format!(
            r#"data: {{"choices":[{{"delta":{{"tool_calls":[{{"function":{{"name":"f","arguments":"{text}"}}}}]}}}}]}}"#
        )
    };
    for chunk in [thought, call(&text)] {
        let config = provider("deepseek", "");
        let stream = [format!("{chunk}\n\n").repeat(17), "data: [DONE]\n\n".to_owned()].concat();
        let text = streamed(&config, &json!([]), vec![stream.into_bytes()]).client.unwrap().text();
        holds_together("too large", &text);
        assert!(text.contains("the upstream's stream has too much in it"));
    }
}

#[test]
fn a_stream_that_is_reset_is_not_ended() {
    let first: &[u8] = b"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
    let script = responses(&with(&json!({"stream":true})));
    let script =
        script.answered(200, &[("content-type", "text/event-stream")], [first.to_vec()]).broken_off();
    let text = play(&provider("deepseek", ""), script).client.unwrap().text();
    assert!(text.contains("\"delta\":\"a\""), "{text}");
    assert!(!text.contains("response.completed") && !text.contains("response.failed"), "{text}");
}

#[test]
fn no_json_makes_it_panic() {
    let words = r#"null 7 -1.5 true "" "text" "function_call" "function_call_output" "\ud800" [] {} "user"
        "{\"input\":\"a" "input_image" "reasoning" 0 "assistant" "custom_tool_call" "local_shell_call"
        "custom" "function" "namespace" "local_shell" "allowed_tools" "auto" "output_text" "length""#;
    let names = "input content type text role instructions tools tool_choice reasoning choices message delta
        tool_calls function name arguments id index usage prompt_tokens finish_reason call_id output action
        error code summary stream model namespace format mode logprobs annotations url_citation refusal
        include image_url command";
    let mut seed = Seed::new(7, words, names);
    for round in 0..1000 {
        let mut text = |depth| seed.grow(depth);
        let (request, answer, other) = (text(5), text(6), text(4));
        let kind = ["deepseek", "openrouter", "zhipuai", "vllm", "moonshot"][round % 5];
        let config =
            if kind == "vllm" { provider(kind, r#""vllmServerHost":"h""#) } else { provider(kind, "") };
        let items = format!(
            r#"[{request},{{"role":"user","content":[{other},{request}]}},{{"type":"function_call","call_id":"c","name":"f","arguments":{other}}},{{"type":"function_call_output","call_id":"c","output":[{other}]}}]"#
        );
        for body in [
            format!(r#"{{"input":{items}}}"#),
            format!(
                r#"{{"input":"x","tools":[{other}],"tool_choice":{other},"text":{other},"reasoning":{other},"include":{other}}}"#
            ),
        ] {
            let _ = play(
                &config,
                Script::post("/v1/responses", body).answered(200, &JSON, [answer.clone().into_bytes()]),
            );
        }
        let _ = play(
            &config,
            responses(&with(&json!({}))).answered(
                200,
                &JSON,
                [format!(r#"{{"choices":[{{"message":{other}}}]}}"#).into_bytes()],
            ),
        );
        let chunk = format!(
            r#"data: {{"choices":[{{"delta":{{"tool_calls":[{other}],"content":{other},"annotations":[{other}]}},"logprobs":{other}}},{other}],"usage":{other}}}"#
        );
        let stream = format!("{chunk}\n\ndata: {answer}\n\n{chunk}\n\ndata: [DONE]\n\n");
        let _ = streamed(&config, &tools(), vec![stream.into_bytes()]);
    }
}
