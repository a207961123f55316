//! Clients of OpenAI's chats over a vendor that speaks Anthropic's Messages: worked cases of the behavioural
//! specification by their numbers, and streams. In `fixtures/chat_over_messages`, `<stream>.sse` is the vendor's, made after
//! the examples in Anthropic's reference, and `<stream>.chat.sse` the client's, the same however the vendor's is cut.
//! `UPDATE=1 cargo test -p ai-proxy --test chat_over_messages` writes what clients get.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a panic is the verdict")]

mod cuts;
mod grown;

use ai_proxy::AiProxy;
use common::testkit::{Played, Script};
use cuts::{folder, play_cuts, streams};
use grown::Seed;
use serde_json::{Value, json};

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];
const SSE: [(&str, &str); 1] = [("content-type", "text/event-stream; charset=utf-8")];
const ANSWER: &str = r#"{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"A"}],"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":1}}"#;

fn provider(more: &str) -> String {
    let comma = if more.is_empty() { "" } else { "," };
    format!(r#"{{"provider":{{"type":"claude","apiTokens":["sk-ant-a"]{comma}{more}}}}}"#)
}

fn play(config: &str, script: Script) -> Played {
    common::testkit::play::<AiProxy>(config, script)
}

fn chat(body: &Value) -> Script {
    Script::post("/v1/chat/completions", body.to_string()).header("authorization", "Bearer client-key")
}

fn value(bytes: impl AsRef<[u8]>) -> Value {
    serde_json::from_slice(bytes.as_ref())
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(bytes.as_ref())))
}

fn with(members: &Value) -> Value {
    let mut body = json!({ "model": "m", "messages": [{ "role": "user", "content": "q" }] });
    body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    body
}

/// All that goes upstream for this chat, and the names of what the vendor is not told.
#[track_caller]
fn sent(body: &Value) -> (Value, String) {
    let played = play(&provider(""), chat(body).answered(200, &JSON, [ANSWER.into()]));
    let dropped = played.client.as_ref().unwrap().header("x-ai-proxy-dropped");
    (value(played.sent().body()), dropped.unwrap_or_default())
}

/// What goes upstream for a chat with these members, without what every such request has.
#[track_caller]
fn beside(members: &Value) -> (Value, String) {
    let (mut sent, dropped) = sent(&with(members));
    let object = sent.as_object_mut().unwrap();
    assert_eq!(object.remove("model"), Some(json!("m")));
    for (name, usual) in [("max_tokens", json!(4096)), ("messages", with(&json!({}))["messages"].clone())] {
        if object[name] == usual {
            object.remove(name);
        }
    }
    (sent, dropped)
}

/// The same where nothing is dropped.
#[track_caller]
fn told(members: &Value) -> Value {
    let (told, dropped) = beside(members);
    assert_eq!(dropped, "", "{members}");
    told
}

/// What the messages of a chat become.
#[track_caller]
fn said(messages: &Value) -> Value {
    told(&json!({ "messages": messages }))["messages"].clone()
}

/// What a client is told of a chat with these members that is refused.
#[track_caller]
fn refused(members: &Value) -> String {
    let played = play(&provider(""), chat(&with(members)));
    assert!(played.upstream.is_none(), "{members}: {}", played.sent().text());
    let reply = played.replied();
    let body = value(&reply.body);
    assert_eq!((reply.status, &body["error"]["type"]), (400, &json!("invalid_request_error")), "{members}");
    body["error"]["message"].as_str().unwrap().to_owned()
}

/// What a client gets for this answer to a chat with these members. The time of it is not looked at.
#[track_caller]
fn answered(members: &Value, answer: &Value) -> Value {
    let script = chat(&with(members)).answered(200, &JSON, [answer.to_string().into_bytes()]);
    let mut body = value(play(&provider(""), script).client.unwrap().body());
    assert!(body["created"].is_u64(), "{body}");
    body["created"] = json!(1);
    body
}

#[test]
fn cl_1_a_chat_is_asked_as_a_message() {
    let body = json!({"model":"gpt-4o","messages":[{"role":"system","content":"Be terse."},{"role":"user","content":"Hi"}],
        "temperature":0,"stop":"END"});
    let config = provider(r#""modelMapping":{"gpt-4o":"claude-sonnet-4-5"}"#);
    let played = play(&config, chat(&body).answered(200, &JSON, [ANSWER.into()]));
    let seen = played.sent();
    for (name, expected) in [
        (":method", Some("POST")),
        (":path", Some("/v1/messages")),
        (":authority", Some("api.anthropic.com")),
        ("x-api-key", Some("sk-ant-a")),
        ("anthropic-version", Some("2023-06-01")),
        ("authorization", None),
    ] {
        assert_eq!(seen.header(name).as_deref(), expected, "CL-1: {name}");
    }
    let expected = json!({"model":"claude-sonnet-4-5","max_tokens":32_000,"system":"Be terse.",
        "messages":[{"role":"user","content":"Hi"}],"temperature":0,"stop_sequences":["END"]});
    assert_eq!(value(seen.body()), expected, "CL-1");
    let client = played.client.unwrap();
    assert_eq!(value(client.body())["model"], "claude-sonnet-4-5");
    assert_eq!(client.header("content-type").as_deref(), Some("application/json"));
    assert_eq!(client.header("x-ai-proxy-dropped"), None);

    let streamed = with(&json!({"stream":true}));
    let played = play(&provider(""), chat(&streamed).answered(200, &SSE, [b": \n\n".to_vec()]));
    assert_eq!(played.sent().header("accept").as_deref(), Some("text/event-stream"));
    let expected =
        json!({"model":"m","max_tokens":4096,"stream":true,"messages":[{"role":"user","content":"q"}]});
    assert_eq!(value(played.sent().body()), expected);
    assert_eq!(told(&json!({"stream":false})), json!({}));
}

#[test]
fn cl_2_tools_and_what_came_of_them() {
    let body = json!({"model":"claude-opus-4-1","max_tokens":300,"parallel_tool_calls":false,
        "tool_choice":{"type":"function","function":{"name":"wx"}},
        "tools":[{"type":"function","function":{"name":"wx","description":"weather","parameters":{"type":"object","properties":{"c":{"type":"string"}}}}},
            {"type":"function","function":{"name":"now"}}],
        "messages":[{"role":"user","content":"go"},
            {"role":"assistant","content":"ok","tool_calls":[{"id":"a1","type":"function","function":{"name":"wx","arguments":"{\"c\":\"Bonn\"}"}},
                {"id":"a2","type":"function","function":{"name":"now","arguments":""}}]},
            {"role":"tool","tool_call_id":"a1","content":"7C"},
            {"role":"tool","tool_call_id":"a2","content":[{"type":"text","text":"12:00"},{"type":"text","text":"UTC"}]}]});
    let expected = json!({"model":"claude-opus-4-1","max_tokens":300,
        "tool_choice":{"type":"tool","name":"wx","disable_parallel_tool_use":true},
        "tools":[{"name":"wx","description":"weather","input_schema":{"type":"object","properties":{"c":{"type":"string"}}}},
            {"name":"now","input_schema":{"type":"object","properties":{}}}],
        "messages":[{"role":"user","content":"go"},
            {"role":"assistant","content":[{"type":"text","text":"ok"},{"type":"tool_use","id":"a1","name":"wx","input":{"c":"Bonn"}},
                {"type":"tool_use","id":"a2","name":"now","input":{}}]},
            {"role":"user","content":[{"type":"tool_result","tool_use_id":"a1","content":"7C"},
                {"type":"tool_result","tool_use_id":"a2","content":"12:00\nUTC"}]}]});
    assert_eq!(sent(&body), (expected, String::new()), "CL-2");
}

#[test]
fn cl_3_instructions_and_images() {
    let body = json!({"model":"m","messages":[{"role":"system","content":"A"},{"role":"developer","content":"B"},
        {"role":"user","content":[{"type":"text","text":"see"},{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBO"}},
            {"type":"image_url","image_url":{"url":"https://x.test/p.jpg"}}]}]});
    let expected = json!({"model":"m","max_tokens":4096,"system":[{"type":"text","text":"A"},{"type":"text","text":"B"}],
        "messages":[{"role":"user","content":[{"type":"text","text":"see"},
            {"type":"image","source":{"type":"base64","media_type":"image/png","data":"iVBO"}},
            {"type":"image","source":{"type":"url","url":"https://x.test/p.jpg"}}]}]});
    assert_eq!(sent(&body), (expected, String::new()), "CL-3");
}

#[test]
fn cl_4_thinking_leaves_room_for_an_answer() {
    let budget = |budget: u64| json!({"thinking":{"type":"enabled","budget_tokens":budget},"max_tokens":budget + 4096});
    assert_eq!(told(&json!({"reasoning_effort":"medium"})), budget(8192), "CL-4");
    let (limited, dropped) =
        beside(&json!({"reasoning_effort":"medium","max_tokens":5000,"temperature":0.3}));
    let expected = json!({"max_tokens":5000,"thinking":{"type":"enabled","budget_tokens":4999}});
    assert_eq!((limited, &*dropped), (expected, "temperature"), "CL-4");
    assert_eq!(told(&json!({"reasoning":{"effort":"medium"}})), budget(8192));
    assert_eq!(told(&json!({"reasoning":{"max_tokens":9000,"effort":"low"}})), budget(9000));
    let short = beside(&json!({"reasoning":{"effort":"medium"},"max_tokens":800}));
    assert_eq!(short, (json!({"max_tokens":800}), "reasoning".to_owned()));
    let short = beside(&json!({"reasoning_effort":"medium","max_tokens":800}));
    assert_eq!(short, (json!({"max_tokens":800}), "reasoning_effort".to_owned()), "CL-4");
    assert_eq!(told(&json!({"reasoning_effort":"none"})), json!({}), "CL-4");

    for (effort, expected) in
        [("minimal", 1024), ("low", 1024), ("high", 16_384), ("xhigh", 32_768), ("max", 32_768)]
    {
        assert_eq!(told(&json!({"reasoning_effort":effort})), budget(expected), "{effort}");
    }
    assert_eq!(told(&json!({"reasoning_effort":"low","reasoning_max_tokens":9000})), budget(9000));
    assert_eq!(told(&json!({"reasoning_effort":null,"reasoning_max_tokens":1})), budget(1024));
    assert_eq!(told(&json!({"reasoning_max_tokens":0})), json!({}));
    let least = json!({"max_tokens":1025,"thinking":{"type":"enabled","budget_tokens":1024}});
    assert_eq!(told(&json!({"reasoning_effort":"max","max_completion_tokens":1025,"max_tokens":9})), least);
    assert!(refused(&json!({"reasoning_effort":"hard"})).starts_with("reasoning_effort: expected `none`"));
}

#[test]
fn thinking_in_the_vendors_own_words_passes() {
    let adaptive =
        json!({"thinking":{"type":"adaptive","display":"omitted"},"output_config":{"effort":"low"}});
    assert_eq!(told(&adaptive), adaptive);
    let off = json!({"thinking":{"type":"disabled"},"temperature":0.5});
    assert_eq!(told(&off), off);
    let enabled = json!({"thinking":{"type":"enabled","budget_tokens":2000},"reasoning_effort":"max"});
    let expected = json!({"thinking":{"type":"enabled","budget_tokens":2000},"max_tokens":6096});
    assert_eq!(told(&enabled), expected);
    assert_eq!(refused(&json!({"thinking":"on"})), "thinking: expected an object");
}

#[test]
fn what_does_not_go_with_thinking_is_left_out() {
    let tools = json!([{"type":"function","function":{"name":"f"}}]);
    let (sent, dropped) = beside(&json!({"reasoning_effort":"low","temperature":0.3,"top_k":4,"top_p":0.5,
        "tools":tools,"tool_choice":"required"}));
    assert_eq!(dropped, "temperature, top_k, tool_choice");
    assert_eq!(sent["top_p"], json!(0.95));
    assert_eq!(sent["tool_choice"], json!({"type":"auto"}));
    assert!(sent.get("temperature").is_none() && sent.get("top_k").is_none(), "{sent}");
    let kept =
        told(&json!({"thinking":{"type":"adaptive"},"temperature":1,"tools":tools,"tool_choice":"none"}));
    assert_eq!((&kept["temperature"], &kept["tool_choice"]), (&json!(1), &json!({"type":"none"})));
    let kept = told(&json!({"reasoning_effort":"low","top_p":0.99}));
    assert_eq!(kept["top_p"], json!(0.99));
}

/// A turn that calls a tool, and what came of it.
fn turn(thoughts: &Value) -> Value {
    let call = json!({"id":"c","type":"function","function":{"name":"f","arguments":"{}"}});
    json!({"messages":[{"role":"user","content":"q"},
        {"role":"assistant","content":null,"reasoning_content":"T","thinking_blocks":thoughts,"tool_calls":[call]},
        {"role":"tool","tool_call_id":"c","content":"r"}]})
}

#[test]
fn thinking_goes_on_where_it_is_brought_back() {
    let blocks = json!([{"type":"thinking","thinking":"T","signature":"c2ln"},
        {"index":1,"type":"redacted_thinking","data":"ZW5j"},{"type":"thinking","thinking":"U","signature":""},{"type":"x"}]);
    let known = json!([{"type":"thinking","thinking":"T","signature":"c2ln"},{"type":"redacted_thinking","data":"ZW5j"}]);
    let call = json!({"type":"tool_use","id":"c","name":"f","input":{}});
    let asking = |thoughts: &Value, members: Value| {
        let mut body = turn(thoughts);
        body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        let (sent, dropped) = beside(&body);
        (sent["thinking"].clone(), sent["messages"][1]["content"].clone(), dropped)
    };
    let enabled = json!({"type":"enabled","budget_tokens":1024});
    let all = json!([known[0], known[1], call]);
    let none = json!([call]);
    let low = || json!({"reasoning_effort":"low"});
    assert_eq!(asking(&blocks, low()), (enabled, all.clone(), String::new()));
    assert_eq!(asking(&json!(null), low()), (json!(null), none.clone(), "reasoning_effort".into()));
    assert_eq!(asking(&json!([blocks[2]]), low()), (json!(null), none.clone(), "reasoning_effort".into()));
    let own = json!({"thinking":{"type":"enabled","budget_tokens":2000}});
    assert_eq!(asking(&json!([]), own), (json!(null), none.clone(), "thinking".into()));
    // Adaptive thinking may begin anywhere, and some models do it unasked.
    let adaptive = json!({"thinking":{"type":"adaptive"}});
    let expected = (json!({"type":"adaptive"}), none.clone(), String::new());
    assert_eq!(asking(&json!([]), adaptive), expected);
    assert_eq!(asking(&blocks, json!({})), (json!(null), all, String::new()));
    // Without thinking its blocks are refused.
    let off = json!({"thinking":{"type":"disabled"}});
    assert_eq!(asking(&blocks, off), (json!({"type":"disabled"}), none.clone(), String::new()));
    assert_eq!(asking(&blocks, json!({"reasoning_effort":"none"})), (json!(null), none, String::new()));
}

#[test]
fn only_the_answer_that_goes_on_decides_about_thinking() {
    let thinks = |messages: Value| {
        let (sent, dropped) = beside(&json!({"reasoning_effort":"low","messages":messages}));
        assert_eq!(sent["thinking"].is_null(), dropped == "reasoning_effort", "{messages}");
        !sent["thinking"].is_null()
    };
    let earlier = turn(&json!(null))["messages"].as_array().unwrap().clone();
    let later = |more: &[Value]| json!([earlier.clone(), more.to_vec()].concat());
    assert!(!thinks(later(&[])));
    assert!(!thinks(later(&[json!({"role":"system","content":"S"})])));
    assert!(thinks(later(&[json!({"role":"user","content":"next"})])));
    assert!(thinks(later(&[
        json!({"role":"assistant","content":"A"}),
        json!({"role":"user","content":"next"})
    ])));
    assert!(!thinks(later(&[
        json!({"role":"user","content":"next"}),
        json!({"role":"assistant","content":"So,"})
    ])));
    // Between calls of one answer a model need not think again.
    let mut going = turn(&json!([{"type":"thinking","thinking":"T","signature":"s"}]))["messages"].clone();
    let call = json!({"id":"d","type":"function","function":{"name":"f","arguments":"{}"}});
    going.as_array_mut().unwrap().extend([
        json!({"role":"assistant","tool_calls":[call]}),
        json!({"role":"tool","tool_call_id":"d","content":"r"}),
    ]);
    assert!(thinks(going));
}

#[test]
fn cl_5_an_answer_becomes_a_chat() {
    let answer = json!({"id":"msg_9","type":"message","role":"assistant","model":"claude-x","content":[
        {"type":"thinking","thinking":"T1","signature":"s"},{"type":"text","text":"one "},{"type":"text","text":"two"},
        {"type":"tool_use","id":"u1","name":"f","input":{"k":1}},{"type":"tool_use","id":"u2","name":"g","input":{}}],
        "stop_reason":"tool_use","stop_sequence":null,
        "usage":{"input_tokens":5,"output_tokens":9,"cache_read_input_tokens":40,"cache_creation_input_tokens":2}});
    let expected = json!({"id":"msg_9","object":"chat.completion","created":1,"model":"claude-x","choices":[{"index":0,"message":{
        "role":"assistant","content":"one two","reasoning_content":"T1",
        "thinking_blocks":[{"type":"thinking","thinking":"T1","signature":"s"}],
        "tool_calls":[{"index":0,"id":"u1","type":"function","function":{"name":"f","arguments":"{\"k\":1}"}},
            {"index":1,"id":"u2","type":"function","function":{"name":"g","arguments":"{}"}}]},
        "finish_reason":"tool_calls","logprobs":null}],
        "usage":{"prompt_tokens":47,"completion_tokens":9,"total_tokens":56,"prompt_tokens_details":{"cached_tokens":40}}});
    assert_eq!(answered(&json!({"model":"claude-x"}), &answer), expected, "CL-5");
}

#[test]
fn what_an_answer_is_made_of() {
    let message = |content: Value| {
        let answer = json!({"id":"i","content":content,"stop_reason":"end_turn"});
        answered(&json!({}), &answer)["choices"][0]["message"].clone()
    };
    assert_eq!(message(json!([])), json!({"role":"assistant","content":""}));
    let thoughts = json!([{"type":"redacted_thinking","data":"ZW5j"},{"type":"thinking","thinking":"a\"","signature":"s"},
        {"type":"thinking","thinking":"b"},{"type":"text","text":"t\n"}]);
    let expected = json!({"role":"assistant","content":"t\n","reasoning_content":"a\"b","thinking_blocks":[thoughts[0],thoughts[1]]});
    assert_eq!(message(thoughts), expected);
    let searched = json!([{"type":"server_tool_use","id":"s","name":"web_search","input":{"query":"q"}},
        {"type":"web_search_tool_result","tool_use_id":"s","content":[]},{"type":"text","text":"t","citations":[{"url":"u"}]},
        {"type":"tool_use","id":"u","input":{}}, "x", {"type":"later"}]);
    assert_eq!(message(searched), json!({"role":"assistant","content":"t"}));
    let call = json!([{"type":"tool_use","id":"u","name":"f","input":{"a":"\"\n"}}]);
    let expected = json!({"role":"assistant","content":null,"tool_calls":[
        {"index":0,"id":"u","type":"function","function":{"name":"f","arguments":"{\"a\":\"\\\"\\n\"}"}}]});
    assert_eq!(message(call), expected);

    let whole = answered(
        &json!({}),
        &json!({"content":[],"usage":{"input_tokens":3,"output_tokens":9,"service_tier":"priority",
            "output_tokens_details":{"thinking_tokens":7},"cache_read_input_tokens":null}}),
    );
    let id = whole["id"].as_str().unwrap();
    assert!(id.starts_with("chatcmpl-") && id.len() == 25, "{id}");
    assert_eq!((&whole["service_tier"], &whole["model"]), (&json!("priority"), &json!("m")));
    let usage = json!({"prompt_tokens":3,"completion_tokens":9,"total_tokens":12,"completion_tokens_details":{"reasoning_tokens":7}});
    assert_eq!(whole["usage"], usage);
    assert_eq!(answered(&json!({}), &json!({"content":[]}))["usage"], json!(null));
}

#[test]
fn cl_9_why_an_answer_ended_is_told_in_openais_words() {
    for (reason, expected) in [
        (json!("end_turn"), "stop"),
        (json!("stop_sequence"), "stop"),
        (json!("pause_turn"), "stop"),
        (json!("max_tokens"), "length"),
        (json!("model_context_window_exceeded"), "length"),
        (json!("tool_use"), "tool_calls"),
        (json!("refusal"), "content_filter"),
        (json!("later"), "stop"),
        (json!(null), "stop"),
    ] {
        let answer = json!({"content":[],"stop_reason":reason});
        assert_eq!(answered(&json!({}), &answer)["choices"][0]["finish_reason"], expected, "CL-9: {reason}");
    }
}

#[test]
fn functions_as_they_were_before_tools() {
    let members = json!({"functions":[{"name":"f","description":"d","parameters":{"properties":{}}}],"function_call":{"name":"f"},
        "messages":[{"role":"user","content":"q"},{"role":"assistant","content":null,"function_call":{"name":"f","arguments":"{\"a\":1}"}},
            {"role":"function","name":"f","content":"r"},{"role":"assistant","function_call":{"name":"f","arguments":"bad"}},
            {"role":"function","name":"f","content":null}]});
    let expected = json!({"tools":[{"name":"f","description":"d","input_schema":{"type":"object","properties":{}}}],
        "tool_choice":{"type":"tool","name":"f","disable_parallel_tool_use":true},
        "messages":[{"role":"user","content":"q"},
            {"role":"assistant","content":[{"type":"tool_use","id":"function_call_1","name":"f","input":{"a":1}}]},
            {"role":"user","content":[{"type":"tool_result","tool_use_id":"function_call_1","content":"r"}]},
            {"role":"assistant","content":[{"type":"tool_use","id":"function_call_3","name":"f","input":{}}]},
            {"role":"user","content":[{"type":"tool_result","tool_use_id":"function_call_3","content":""}]}]});
    assert_eq!(told(&members), expected);
    let chosen = |choice: &str| {
        told(&json!({"functions":[{"name":"f"}],"function_call":choice}))["tool_choice"].clone()
    };
    assert_eq!(chosen("auto"), json!({"type":"auto","disable_parallel_tool_use":true}));
    assert_eq!(chosen("none"), json!({"type":"none"}));

    let answer = json!({"content":[{"type":"tool_use","id":"u","name":"f","input":{"a":1}},{"type":"tool_use","id":"v","name":"g","input":{}}],
        "stop_reason":"tool_use"});
    let choice = answered(&json!({"functions":[{"name":"f"}]}), &answer)["choices"][0].clone();
    let expected = json!({"index":0,"message":{"role":"assistant","content":null,"function_call":{"name":"f","arguments":"{\"a\":1}"}},
        "finish_reason":"function_call","logprobs":null});
    assert_eq!(choice, expected);
}

#[test]
fn cl_6_who_speaks_messages_gets_what_it_said() {
    let body = r#"{"model":"a","max_tokens":5,"messages":[],"top_k":3}"#;
    let config = provider(r#""modelMapping":{"a":"b"}"#);
    let answer: &[u8] = b"event: x\ndata: {\"type\":\"message_start\"}\n\n";
    let script = Script::post("/v1/messages?beta=true", body).answered(200, &SSE, [answer.to_vec()]);
    let played = play(&config, script);
    assert_eq!(played.sent().header(":path").as_deref(), Some("/v1/messages?beta=true"), "CL-6");
    assert_eq!(played.sent().text(), body.replace("\"a\"", "\"b\""), "CL-6");
    assert_eq!(played.client.unwrap().body(), answer, "CL-6");
}

#[test]
fn how_much_may_be_said_and_how() {
    for (members, limit) in [
        (json!({"max_tokens":7}), 7),
        (json!({"max_tokens":7,"max_completion_tokens":8}), 8),
        (json!({"max_tokens":7,"max_completion_tokens":0}), 7),
        (json!({"max_tokens":-1,"max_completion_tokens":null}), 4096),
    ] {
        assert_eq!(sent(&with(&members)).0["max_tokens"], limit, "{members}");
    }
    for (members, expected) in [
        (json!({"temperature":0,"top_p":null}), json!({"temperature":0})),
        (json!({"temperature":1.7}), json!({"temperature":1})),
        (json!({"top_p":0,"top_k":4}), json!({"top_p":0,"top_k":4})),
        // Both at once are refused by newer models; of two the one goes that changes nothing.
        (json!({"temperature":0.5,"top_p":1}), json!({"temperature":0.5})),
        (json!({"temperature":1.0,"top_p":0.5}), json!({"top_p":0.5})),
        (json!({"temperature":1,"top_p":1}), json!({"temperature":1})),
        (json!({"temperature":0.5,"top_p":0.5}), json!({"temperature":0.5,"top_p":0.5})),
        (json!({"stop":null}), json!({})),
        (json!({"stop":[]}), json!({})),
        (json!({"stop":["a","","b\n"]}), json!({"stop_sequences":["a","b\n"]})),
        (json!({"user":"u"}), json!({"metadata":{"user_id":"u"}})),
        (json!({"user":"s","safety_identifier":"s"}), json!({"metadata":{"user_id":"s"}})),
        (json!({"cache_control":{"type":"ephemeral"}}), json!({"cache_control":{"type":"ephemeral"}})),
    ] {
        assert_eq!(told(&members), expected, "{members}");
    }
    let blank = beside(&json!({"stop":["\n","x"]}));
    assert_eq!(blank, (json!({"stop_sequences":["x"]}), "stop".to_owned()));
    assert_eq!(beside(&json!({"stop":" "})), (json!({}), "stop".to_owned()));
    let both = beside(&json!({"user":"u","safety_identifier":"s"}));
    assert_eq!(both, (json!({"metadata":{"user_id":"s"}}), "user".to_owned()));
}

#[test]
fn a_user_who_can_be_recognized_is_not_told() {
    let long = "x".repeat(257);
    for user in ["ann@x.example", "Ann <ann@x.example>", "+1 (555) 010-9999", "5550109", &long] {
        assert_eq!(beside(&json!({ "user": user })), (json!({}), "user".to_owned()), "{user}");
        let (told, dropped) = beside(&json!({"safety_identifier":user,"user":"u"}));
        assert_eq!((told, &*dropped), (json!({"metadata":{"user_id":"u"}}), "safety_identifier"));
        let (told, dropped) = beside(&json!({"safety_identifier":"s","user":user}));
        assert_eq!((told, &*dropped), (json!({"metadata":{"user_id":"s"}}), "user"));
    }
    for user in [
        "3fa85f64-5717-4562-b3fc-2c963f66afa6",
        "1234",
        "12345678901234567890",
        "a@b",
        "@x.y",
        "user_5550109",
    ] {
        assert_eq!(told(&json!({ "user": user })), json!({"metadata":{"user_id":user}}));
    }
}

#[test]
fn the_form_of_an_answer() {
    let schema = json!({"type":"object","properties":{"a":{"type":"string"}},"additionalProperties":false});
    let format = |about: Value| told(&json!({"response_format":{"type":"json_schema","json_schema":about}}));
    let expected = |schema: Value| json!({"output_config":{"format":{"type":"json_schema","schema":schema}}});
    assert_eq!(format(json!({"schema":schema,"strict":true})), expected(schema.clone()));
    let mut named = schema.clone();
    named["title"] = json!("N");
    named["description"] = json!("D");
    assert_eq!(format(json!({"name":"N","description":"D","schema":schema})), expected(named.clone()));
    assert_eq!(format(json!({"name":"n","description":"d","schema":named})), expected(named));
    let reference = json!({"$ref":"#/$defs/a","$defs":{"a":{"type":"object","additionalProperties":false}}});
    assert_eq!(format(json!({"name":"n","schema":reference})), expected(reference));
    let open = json!({"type":"object","properties":{"age":{"type":"integer","minimum":0},
        "tags":{"oneOf":[{"type":"array","items":{"type":"string"},"maxItems":3},{"type":"null"}]}}});
    let closed = json!({"type":"object","title":"N","description":"D","properties":{
        "age":{"type":"integer","description":"{minimum: 0}"},
        "tags":{"anyOf":[{"type":"array","items":{"type":"string"},"description":"{maxItems: 3}"},{"type":"null"}]}},
        "additionalProperties":false});
    assert_eq!(format(json!({"name":"N","description":"D","schema":open})), expected(closed));
    let with_effort = told(&json!({"output_config":{"effort":"low"},
        "response_format":{"type":"json_schema","json_schema":{"schema":schema}}}));
    assert_eq!(with_effort["output_config"]["effort"], "low");
    assert_eq!(with_effort["output_config"]["format"]["schema"], schema);
    assert_eq!(told(&json!({"response_format":{"type":"text"}})), json!({}));
    let any = beside(&json!({"response_format":{"type":"json_object"}}));
    assert_eq!(any, (json!({}), "response_format".to_owned()));
}

#[test]
fn tools_and_the_choice_among_them() {
    let tool = |name: &str| json!({"type":"function","function":{"name":name}});
    let plain = |name: &str| json!({"name":name,"input_schema":{"type":"object","properties":{}}});
    let chosen =
        |choice: Value| told(&json!({"tools":[tool("a")],"tool_choice":choice}))["tool_choice"].clone();
    assert_eq!(chosen(json!(null)), json!(null));
    assert_eq!(chosen(json!("auto")), json!({"type":"auto"}));
    assert_eq!(chosen(json!("required")), json!({"type":"any"}));
    assert_eq!(chosen(json!("none")), json!({"type":"none"}));
    let one_by_one = |members: Value| {
        let mut all = json!({"tools":[tool("a")],"parallel_tool_calls":false});
        all.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        told(&all)["tool_choice"].clone()
    };
    assert_eq!(one_by_one(json!({})), json!({"type":"auto","disable_parallel_tool_use":true}));
    assert_eq!(
        one_by_one(json!({"tool_choice":"required"})),
        json!({"type":"any","disable_parallel_tool_use":true})
    );
    assert_eq!(one_by_one(json!({"tool_choice":"none"})), json!({"type":"none"}));
    assert_eq!(one_by_one(json!({"parallel_tool_calls":true})), json!(null));
    assert_eq!(one_by_one(json!({"tools":[]})), json!(null));

    let allowed = |mode: &str, names: &[&str]| {
        let tools: Vec<Value> = names.iter().map(|name| tool(name)).collect();
        json!({"tools":[tool("a"),tool("b"),tool("c")],
            "tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":mode,"tools":tools}}})
    };
    let expected = json!({"tools":[plain("a"),plain("c")],"tool_choice":{"type":"any"}});
    assert_eq!(told(&allowed("required", &["c", "a", "x"])), expected);
    assert_eq!(refused(&allowed("required", &["x"])), "tool_choice: expected tools to choose from");

    let schema = |strict: bool, parameters: Value| {
        let function = json!({"name":"f","strict":strict,"parameters":parameters});
        let tool = told(&json!({"tools":[{"type":"function","function":function}]}))["tools"][0].clone();
        assert_eq!((&tool["name"], &tool["strict"]), (&json!("f"), &json!(strict)));
        tool["input_schema"].clone()
    };
    assert_eq!(schema(false, json!({})), json!({"type":"object"}));
    let open = json!({"type":"object","properties":{"n":{"type":"integer","maximum":9}}});
    assert_eq!(schema(false, open.clone()), open);
    // What a call is held to has to be what the vendor can hold it to.
    let closed = json!({"type":"object","additionalProperties":false,
        "properties":{"n":{"type":"integer","description":"{maximum: 9}"}}});
    assert_eq!(schema(true, open), closed);
    assert_eq!(schema(true, json!({})), json!({"type":"object","additionalProperties":false}));

    let control = json!({"type":"ephemeral","ttl":"1h"});
    for cached in [
        json!({"type":"function","function":{"name":"f"},"cache_control":control}),
        json!({"type":"function","function":{"name":"f","cache_control":control}}),
    ] {
        assert_eq!(told(&json!({"tools":[cached]}))["tools"][0]["cache_control"], control);
    }
    let own = json!({"type":"web_search_20260209","name":"web_search","max_uses":2});
    assert_eq!(told(&json!({"tools":[own]}))["tools"], json!([own]));
    let search = json!({"web_search_options":{"user_location":{"type":"approximate","approximate":{"city":"Oslo","country":"NO"}}}});
    let expected = json!([{"type":"web_search_20250305","name":"web_search",
        "user_location":{"type":"approximate","city":"Oslo","country":"NO"}}]);
    assert_eq!(told(&search)["tools"], expected);
}

#[test]
fn what_is_said_finds_its_place() {
    assert_eq!(
        said(&json!([
            {"role":"assistant","content":"Hi","refusal":null,"annotations":[],"audio":null,"function_call":null,"tool_calls":null,
                "reasoning_content":"R"},
            {"role":"user","content":""},{"role":"user","content":[{"type":"text","text":" \n"}]},{"role":"user","content":null},
            {"role":"user","content":"a"},{"role":"user","content":[{"type":"text","text":"\"b\"\n"},{"type":"text","text":"\t"}]},
            {"role":"assistant","content":null},{"role":"assistant","content":[]},
            {"role":"assistant","content":[{"type":"text","text":"A"},{"type":"refusal","refusal":"N"}]},
            {"role":"assistant","content":"","refusal":"No"},
            {"role":"assistant","content":"So,"}])),
        json!([
            {"role":"assistant","content":"Hi"},
            {"role":"user","content":"a"},{"role":"user","content":[{"type":"text","text":"\"b\"\n"}]},
            {"role":"assistant","content":[{"type":"text","text":"A"},{"type":"text","text":"N"}]},
            {"role":"assistant","content":"No"},
            {"role":"assistant","content":"So,"}])
    );
    let system = |messages: Value| {
        let all = [messages.as_array().unwrap().clone(), vec![json!({"role":"user","content":"q"})]].concat();
        told(&json!({"messages":all}))["system"].clone()
    };
    let parts = json!([{"role":"system","content":[{"type":"text","text":"a"},{"type":"text","text":""},{"type":"text","text":"b"}]},{"role":"developer","content":""}]);
    assert_eq!(system(parts), json!("a\nb"));
    let control = json!({"type":"ephemeral"});
    let cached = json!([{"role":"system","content":[{"type":"text","text":"a","cache_control":control},{"type":"text","text":"b"}]}]);
    assert_eq!(
        system(cached),
        json!([{"type":"text","text":"a","cache_control":control},{"type":"text","text":"b"}])
    );
    let cached = json!([{"role":"system","content":"a","cache_control":control}]);
    assert_eq!(system(cached), json!([{"type":"text","text":"a","cache_control":control}]));
}

#[test]
fn what_is_to_be_cached_is_said() {
    let control = json!({"type":"ephemeral","ttl":"1h"});
    let call = json!({"id":"c","type":"function","function":{"name":"f","arguments":"{}"}});
    assert_eq!(
        said(&json!([
            {"role":"user","content":"q","cache_control":control},
            {"role":"user","content":[{"type":"text","text":"a","prompt_cache_breakpoint":{"mode":"explicit"}},
                {"type":"image_url","image_url":{"url":"http://i"},"cache_control":control}]},
            {"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}],"cache_control":control},
            {"role":"assistant","content":"A","cache_control":control},
            {"role":"assistant","content":"A","cache_control":control,"tool_calls":[call]},
            {"role":"tool","tool_call_id":"c","content":[{"type":"text","text":"r","cache_control":control}]}])),
        json!([
            {"role":"user","content":[{"type":"text","text":"q","cache_control":control}]},
            {"role":"user","content":[{"type":"text","text":"a","cache_control":{"type":"ephemeral"}},
                {"type":"image","source":{"type":"url","url":"http://i"},"cache_control":control}]},
            {"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b","cache_control":control}]},
            {"role":"assistant","content":[{"type":"text","text":"A","cache_control":control}]},
            {"role":"assistant","content":[{"type":"text","text":"A"},{"type":"tool_use","id":"c","name":"f","input":{},"cache_control":control}]},
            {"role":"user","content":[{"type":"tool_result","tool_use_id":"c","content":"r","cache_control":control}]}])
    );
}

#[test]
fn images_and_files_find_their_place() {
    let part = |part: Value| said(&json!([{"role":"user","content":[part]}]))[0]["content"][0].clone();
    let image = |url: &str| part(json!({"type":"image_url","image_url":{"url":url}}));
    let base64 = |kind: &str, media: &str| json!({"type":kind,"source":{"type":"base64","media_type":media,"data":"QQ=="}});
    let url = |kind: &str, url: &str| json!({"type":kind,"source":{"type":"url","url":url}});
    assert_eq!(image("data:image/webp;base64,QQ=="), base64("image", "image/webp"));
    assert_eq!(image("data:image/jpg;base64,QQ=="), base64("image", "image/jpeg"));
    assert_eq!(image("data:application/pdf;base64,QQ=="), base64("document", "application/pdf"));
    assert_eq!(image("HTTPS://x.test/a"), url("image", "HTTPS://x.test/a"));
    assert_eq!(image("http://x.test/a.PDF?x=1#y"), url("document", "http://x.test/a.PDF?x=1#y"));
    assert_eq!(image("https://x.test/ü.pd"), url("image", "https://x.test/ü.pd"));
    assert_eq!(part(json!({"type":"image_url","image_url":"http://i"})), url("image", "http://i"));
    let auto = json!({"type":"image_url","image_url":{"url":"http://i","detail":"auto"}});
    assert_eq!(part(auto), url("image", "http://i"));

    let file = |file: Value| part(json!({"type":"file","file":file}));
    assert_eq!(
        file(json!({"file_id":"f"})),
        json!({"type":"document","source":{"type":"file","file_id":"f"}})
    );
    let mut titled = base64("document", "application/pdf");
    titled["title"] = json!("a.pdf");
    assert_eq!(file(json!({"file_data":"data:application/pdf;base64,QQ==","filename":"a.pdf"})), titled);
    assert_eq!(file(json!({"file_data":"data:image/png;base64,QQ=="})), base64("image", "image/png"));
    let bare = file(json!({"file_data":"JVBERi0xLjc="}));
    assert_eq!(bare["source"], json!({"type":"base64","media_type":"application/pdf","data":"JVBERi0xLjc="}));

    // Slashes may be escaped.
    let escaped = r#"{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image\/png;base64,Q\/\u0051="}}]}]}"#;
    let script = Script::post("/v1/chat/completions", escaped).answered(200, &JSON, [ANSWER.into()]);
    let sent = value(play(&provider(""), script).sent().body());
    assert_eq!(sent["messages"][0]["content"][0]["source"]["data"], "Q/Q=");

    let call = json!({"id":"c","type":"function","function":{"name":"f","arguments":"{}"}});
    let shown =
        said(&json!([{"role":"assistant","tool_calls":[call]},{"role":"tool","tool_call_id":"c","content":[
        {"type":"text","text":"see"},{"type":"image_url","image_url":{"url":"http://i"}}]}]));
    let expected = json!([{"type":"tool_result","tool_use_id":"c","content":[{"type":"text","text":"see"},url("image", "http://i")]}]);
    assert_eq!(shown[1]["content"], expected);
}

#[test]
fn a_file_that_was_uploaded_is_named_with_the_header_that_allows_it() {
    let betas = |part: Value, own: Option<&str>| {
        let body = with(&json!({"messages":[{"role":"user","content":[part]}]}));
        let script = chat(&body).answered(200, &JSON, [ANSWER.into()]);
        let script = own.into_iter().fold(script, |script, own| script.header("anthropic-beta", own));
        play(&provider(""), script).sent().header("anthropic-beta")
    };
    let uploaded = json!({"type":"file","file":{"file_id":"f"}});
    let files = "files-api-2025-04-14";
    assert_eq!(betas(uploaded.clone(), None).as_deref(), Some(files));
    assert_eq!(betas(uploaded.clone(), Some("b")).as_deref(), Some("b,files-api-2025-04-14"));
    assert_eq!(betas(uploaded, Some("files-api-2025-04-14,b")).as_deref(), Some("files-api-2025-04-14,b"));
    let data = json!({"type":"file","file":{"file_data":"data:application/pdf;base64,QQ=="}});
    assert_eq!(betas(data, None), None);
}

#[test]
fn calls_of_other_vendors_have_ids_that_this_one_takes() {
    let call = |id: &str| json!({"id":id,"type":"function","function":{"name":"f","arguments":{"a":[1]}}});
    let result = |id: &str| json!({"role":"tool","tool_call_id":id,"name":"f","content":"r"});
    let messages = said(&json!([
        {"role":"assistant","tool_calls":[call("functions.f:0"), call("functions:f.0"), call("")]},
        result("functions:f.0"), result(""), result("functions.f:0"),
        {"role":"assistant","tool_calls":[call("functions.f:0")]},
        {"role":"system","content":""},
        {"role":"assistant","content":"more","tool_calls":[call("d")]},
        result("d"), result("functions.f:0")]));
    let ids = |at: usize, name: &str| -> Vec<String> {
        let blocks = messages[at]["content"].as_array().unwrap();
        blocks.iter().filter_map(|block| Some(block.get(name)?.as_str()?.to_owned())).collect()
    };
    assert_eq!(ids(0, "id"), ["functions_f_0", "functions_f_0_1", "_2"]);
    assert_eq!(ids(1, "tool_use_id"), ["functions_f_0_1", "_2", "functions_f_0"]);
    assert_eq!((ids(2, "id"), ids(3, "id")), (vec!["functions_f_0_3".into()], vec!["d".into()]));
    assert_eq!(ids(4, "tool_use_id"), ["d", "functions_f_0_3"]);
    assert_eq!(messages[0]["content"][0]["input"], json!({"a":[1]}));

    for arguments in [json!("{\"a\":[1,}"), json!("[1]"), json!(" "), json!(7), json!(null)] {
        let call = json!({"id":"c","type":"function","function":{"name":"f","arguments":arguments}});
        let called = said(&json!([{"role":"assistant","tool_calls":[call]}]));
        assert_eq!(called[0]["content"][0]["input"], json!({}), "{arguments}");
    }
}

#[test]
fn what_has_no_place_is_named() {
    for (members, expected) in [
        (
            json!({"n":1,"presence_penalty":0,"frequency_penalty":0.0,"logprobs":false,"top_logprobs":0,"store":false,
            "logit_bias":{},"service_tier":"auto","verbosity":"medium","modalities":["text"],"audio":null,"seed":null,
            "parallel_tool_calls":true,"stream_options":{"include_obfuscation":false,"include_usage":true}}),
            "",
        ),
        (
            json!({"n":2,"seed":1,"logit_bias":{"1":2},"logprobs":true,"top_logprobs":2,"presence_penalty":1,
            "frequency_penalty":-1,"store":true,"metadata":{"a":"b"},"prediction":{"type":"content","content":"x"},
            "service_tier":"flex","verbosity":"low"}),
            "n, seed, logit_bias, logprobs, top_logprobs, presence_penalty, frequency_penalty, store, metadata, prediction, service_tier, verbosity",
        ),
        (
            json!({"prompt_cache_key":"k","prompt_cache_retention":"24h","moderation":{"model":"m"},"enable_thinking":true}),
            "prompt_cache_key, prompt_cache_retention, moderation, enable_thinking",
        ),
        (json!({"stream_options":{"include_obfuscation":true}}), "stream_options.include_obfuscation"),
        (
            json!({"messages":[{"role":"system","name":"n","content":"S"},{"role":"user","name":"n","content":[
            {"type":"image_url","image_url":{"url":"http://i","detail":"high"}},
            {"type":"text","text":"t","prompt_cache_breakpoint":{"mode":"explicit","ttl":"30m"},"x":1}]}]}),
            "messages.name, messages.content.image_url.detail, messages.content.prompt_cache_breakpoint.ttl, messages.content.x",
        ),
        (
            json!({"messages":[{"role":"user","content":[{"type":"file","file":{"file_data":"data:image/png;base64,QQ","filename":"a"}}]},
            {"role":"assistant","content":"a","name":"n","annotations":[{"type":"url_citation"}]}]}),
            "messages.content.file.filename, messages.name, messages.annotations",
        ),
        (
            json!({"tools":[{"type":"function","function":{"name":"f","x":1},"y":2}],"web_search_options":{"search_context_size":"low"}}),
            "tools.function.x, tools.y, web_search_options.search_context_size",
        ),
        (json!({"functions":[{"name":"f","x":1}]}), "functions.x"),
    ] {
        assert_eq!(beside(&members).1, expected, "{members}");
    }
}

#[test]
fn cl_10_what_no_message_can_carry_is_refused() {
    let user = |part: Value| json!({"messages":[{"role":"user","content":[part]}]});
    let image = |url: &str| user(json!({"type":"image_url","image_url":{"url":url}}));
    let file = |file: Value| user(json!({"type":"file","file":file}));
    let answer = |message: Value| {
        let mut answer = json!({"role":"assistant"});
        answer.as_object_mut().unwrap().extend(message.as_object().unwrap().clone());
        json!({"messages":[{"role":"user","content":"q"}, answer]})
    };
    let tool = |tool: Value| json!({ "tools": [tool] });
    let not_image = "messages.0.content.0.image_url: expected an http or https URL, or a data URL in base64";
    let not_file = "messages.0.content.0.file.file_data: expected a PDF or an image, as a data URL in base64";
    for (members, expected) in [
        (json!({"messages":null}), "messages: expected a list of messages"),
        (json!({"messages":[]}), "messages: expected a message that is no instruction, among others"),
        (
            json!({"messages":[{"role":"system","content":"S"}]}),
            "messages: expected a message that is no instruction, among others",
        ),
        (json!({"messages":["q"]}), "messages.0: expected an object"),
        (
            json!({"messages":[{"content":"q"}]}),
            "messages.0.role: expected `system`, `developer`, `user`, `assistant`, `tool` or `function`",
        ),
        (
            json!({"messages":[{"role":"user","content":7}]}),
            "messages.0.content: expected a text or a list of content parts",
        ),
        (
            json!({"messages":[{"role":"system","content":[{"type":"image_url"}]},{"role":"user","content":"q"}]}),
            "messages.0.content.0.type: expected `text`",
        ),
        (json!({"model":null}), "model: expected a text"),
        (user(json!("x")), "messages.0.content.0: expected an object"),
        (user(json!({"type":"text"})), "messages.0.content.0.text: expected a text"),
        (
            user(json!({"type":"video_url"})),
            "messages.0.content.0.type: expected `text`, `image_url` or `file`",
        ),
        (
            user(json!({"type":"input_audio","input_audio":{"data":"QQ==","format":"wav"}})),
            "messages.0.content.0.type: expected no sound, the upstream hears none",
        ),
        (user(json!({"type":"image_url"})), "messages.0.content.0.image_url: expected a text"),
        (
            user(json!({"type":"image_url","image_url":{}})),
            "messages.0.content.0.image_url.url: expected a text",
        ),
        (image("data:image/png,QQ"), not_image),
        (image("gs://b/i.png"), not_image),
        (image("data:image/png;base64,Q\"Q"), not_image),
        (image(""), not_image),
        (image("data:audio/wav;base64,QQ=="), "messages.0.content.0.image_url: expected an image or a PDF"),
        (file(json!(null)), "messages.0.content.0.file: expected an object"),
        (file(json!({})), "messages.0.content.0.file.file_data: expected a text"),
        (file(json!({"file_data":"QQ=="})), not_file),
        (file(json!({"file_data":"data:text/plain;base64,QQ=="})), not_file),
        (
            answer(json!({"audio":{"id":"a"}})),
            "messages.1.audio: expected none, the upstream knows no sound that was said before",
        ),
        (answer(json!({"tool_calls":7})), "messages.1.tool_calls: expected a list of calls"),
        (
            answer(json!({"tool_calls":[{"id":"c","function":{}}]})),
            "messages.1.tool_calls.0.function.name: expected a text",
        ),
        (
            answer(json!({"tool_calls":[{"function":{"name":"f"}}]})),
            "messages.1.tool_calls.0.id: expected a text",
        ),
        (
            answer(json!({"tool_calls":[{"id":"c","type":"custom","custom":{"name":"f","input":"x"}}]})),
            "messages.1.tool_calls.0.type: expected `function`",
        ),
        (answer(json!({"function_call":"f"})), "messages.1.function_call: expected an object"),
        (answer(json!({"refusal":7})), "messages.1.refusal: expected a text"),
        (answer(json!({"content":[{"type":"image_url"}]})), "messages.1.content.0.type: expected `text`"),
        (tool(json!({"type":"custom","custom":{"name":"c"}})), "tools.0.type: expected `function`"),
        (tool(json!({"type":"function"})), "tools.0.function: expected an object"),
        (tool(json!({"type":"function","function":{}})), "tools.0.function.name: expected a text"),
        (
            tool(json!({"type":"function","function":{"name":"f","parameters":[]}})),
            "tools.0.function.parameters: expected an object",
        ),
        (json!({"tools":7}), "tools: expected a list"),
        (json!({"functions":["f"]}), "functions.0: expected an object"),
        (json!({"tool_choice":"required"}), "tool_choice: expected tools to choose from"),
        (json!({"tool_choice":"some"}), "tool_choice: expected `auto`, `required`, `none` or an object"),
        (
            json!({"tool_choice":{"type":"custom","custom":{"name":"c"}}}),
            "tool_choice.type: expected `function` or `allowed_tools`",
        ),
        (
            json!({"tool_choice":{"type":"allowed_tools","allowed_tools":{}}}),
            "tool_choice.allowed_tools.tools: expected a list of tools",
        ),
        (json!({"function_call":{"name":7}}), "function_call.name: expected a text"),
        (
            json!({"modalities":["text","audio"]}),
            "modalities: expected text only, the upstream gives no other answers",
        ),
        (
            json!({"audio":{"voice":"alloy","format":"wav"}}),
            "audio: expected none, the upstream answers in text only",
        ),
        (json!({"stop":7}), "stop: expected a text or a list of texts"),
        (json!({"stop":["a",7]}), "stop.1: expected a text"),
        (json!({"temperature":"hot"}), "temperature: expected a number"),
        (json!({"max_tokens":1.5}), "max_tokens: expected a whole number"),
        (json!({"reasoning":"low"}), "reasoning: expected an object"),
        (
            json!({"reasoning":{"effort":7}}),
            "reasoning.effort: expected `none`, `minimal`, `low`, `medium`, `high`, `xhigh` or `max`",
        ),
        (json!({"max_completion_tokens":"9"}), "max_completion_tokens: expected a whole number"),
        (json!({"user":7}), "user: expected a text"),
        (
            json!({"response_format":{"type":"xml"}}),
            "response_format.type: expected `text`, `json_object` or `json_schema`",
        ),
        (
            json!({"response_format":{"type":"json_schema","json_schema":{"name":"n"}}}),
            "response_format.json_schema.schema: expected an object",
        ),
        (json!({"web_search_options":true}), "web_search_options: expected an object"),
    ] {
        assert_eq!(refused(&members), expected, "{members}");
    }
    let none = play(&provider(""), chat(&json!({"model":"x"}))).replied().status;
    assert_eq!(none, 400, "CL-10");
}

#[test]
fn a_result_belongs_to_a_call_just_before() {
    let call = |id: &str| json!({"role":"assistant","tool_calls":[{"id":id,"type":"function","function":{"name":"f","arguments":"{}"}}]});
    let result = |id: &str| json!({"role":"tool","tool_call_id":id,"content":"secret"});
    let user = json!({"role":"user","content":"q"});
    let orphan = |at: usize, id: &str| {
        format!("messages.{at}: no call with the id `{id}` waits for its result, in the answer before")
    };
    let refused = |messages: Value| refused(&json!({ "messages": messages }));
    assert_eq!(refused(json!([user, result("c")])), orphan(1, "c"));
    assert_eq!(refused(json!([call("c"), result("d")])), orphan(1, "d"));
    assert_eq!(refused(json!([call("c"), result("c"), result("c")])), orphan(2, "c"));
    assert_eq!(refused(json!([call("c"), user, result("c")])), orphan(2, "c"));
    assert_eq!(refused(json!([call("c"), result("c"), call("d"), result("c")])), orphan(3, "c"));
    assert_eq!(refused(json!([result(&"\u{e9}`x".repeat(40))])), orphan(0, "__x".repeat(40).split_at(64).0));
    let function = json!({"role":"function","name":"f","content":"r"});
    let expected = "messages.1: no call with the name `f` waits for its result, in the answer before";
    assert_eq!(refused(json!([call("f"), function])), expected);
    assert_eq!(refused(json!([{"role":"tool","content":"r"}])), "messages.0.tool_call_id: expected a text");
}

#[test]
fn failures_have_the_clients_shape() {
    let play_answer = |more: &str, status: u16, headers: &[(&str, &str)], body: &str| {
        play(&provider(more), chat(&with(&json!({}))).answered(status, headers, [body.as_bytes().to_vec()]))
    };
    let limits = [
        ("content-type", "application/json"),
        ("retry-after", "7"),
        ("anthropic-ratelimit-requests-remaining", "0"),
    ];
    let busy =
        r#"{"type":"error","error":{"type":"rate_limit_error","message":"slow down"},"request_id":"r"}"#;
    let client = play_answer("", 429, &limits, busy).client.unwrap();
    let expected =
        json!({"error":{"message":"slow down","type":"rate_limit_error","param":null,"code":"429"}});
    assert_eq!(value(client.body()), expected);
    for (name, expected) in
        [(":status", "429"), ("retry-after", "7"), ("anthropic-ratelimit-requests-remaining", "0")]
    {
        assert_eq!(client.header(name).as_deref(), Some(expected), "{name}");
    }
    let client = play_answer("", 529, &JSON, &busy.replace("rate_limit_error", "overloaded_error")).client;
    let body = value(client.unwrap().body());
    assert_eq!((&body["error"]["type"], &body["error"]["code"]), (&json!("overloaded_error"), &json!("529")));
    let client = play_answer("", 503, &[("content-type", "text/html")], "<p>no</p>").client.unwrap();
    let expected = json!({"error":{"message":"<p>no</p>","type":"server_error","param":null,"code":"503"}});
    assert_eq!(value(client.body()), expected);
    let client = play_answer(r#""errorPassthrough":true"#, 429, &limits, busy).client.unwrap();
    assert_eq!(client.text(), busy);

    for (body, message) in [
        (busy, "slow down"),
        (r#"{"type":"error"}"#, "the upstream's answer is no message"),
        (r#"{"id":"x"}"#, "the upstream's answer is no message"),
        ("oops", "the upstream's answer is not valid JSON"),
    ] {
        let played = play_answer("", 200, &JSON, body);
        let found = value(&played.replied().body);
        let expected = (502, &json!(message));
        assert_eq!((played.replied().status, &found["error"]["message"]), expected, "{body}");
    }
}

#[test]
fn signs_of_life_reach_clients_of_each_api() {
    let stream: &[u8] = b"event: ping\ndata: {\"type\":\"ping\"}\n\n";
    let bodies = [
        ("/v1/chat/completions", with(&json!({"stream":true}))),
        ("/v1/responses", json!({"model":"m","input":"q","stream":true})),
    ];
    for (path, body) in bodies {
        let script = Script::post(path, body.to_string()).answered(200, &SSE, [stream.to_vec()]);
        let text = play(&provider(""), script.broken_off()).client.unwrap().text();
        assert_eq!(text, ": ping\n\n", "{path}");
    }
}

#[test]
fn all_that_is_done_to_chats_is_done_to_these() {
    let more = r#""customSettings":[{"name":"max_tokens","value":5},{"name":"top_k","value":1,"mode":"raw"}],"mergeConsecutiveMessages":true,
        "contextCleanupCommands":["/clear"],"context":{"fileUrl":"http://f/x","cluster":"files"}"#;
    let body = json!({"model":"c","messages":[{"role":"user","content":"old"},{"role":"user","content":"/clear"},
        {"role":"user","content":"a"},{"role":"user","content":"b"}]});
    let script = chat(&body).call_answer(200, "CTX").answered(200, &JSON, [ANSWER.into()]);
    let sent = value(play(&provider(more), script).sent().body());
    let expected = json!({"model":"c","max_tokens":5,"top_k":1,"system":"CTX","messages":[{"role":"user","content":"a\n\nb"}]});
    assert_eq!(sent, expected);
}

#[test]
fn hidden_thinking_is_not_sent_again_either() {
    let answer = r#"{"id":"i","content":[{"type":"thinking","thinking":"T","signature":"s"},{"type":"text","text":"A"}],"stop_reason":"end_turn"}"#;
    let message = |mode: &str| {
        let more = format!(r#""reasoningContentMode":"{mode}""#);
        let script = chat(&with(&json!({}))).answered(200, &JSON, [answer.into()]);
        value(play(&provider(&more), script).client.unwrap().body())["choices"][0]["message"].clone()
    };
    assert_eq!(message("ignore"), json!({"role":"assistant","content":"A"}));
    assert_eq!(message("concat"), json!({"role":"assistant","content":"<think>T</think>\nA"}));
    assert_eq!(message("passthrough")["thinking_blocks"][0]["signature"], "s");
}

#[test]
fn clients_of_responses_reach_it_too() {
    let body = json!({"model":"m","instructions":"S","input":"q","max_output_tokens":9});
    let script = Script::post("/v1/responses", body.to_string()).answered(200, &JSON, [ANSWER.into()]);
    let played = play(&provider(""), script);
    let expected =
        json!({"model":"m","max_tokens":9,"system":"S","messages":[{"role":"user","content":"q"}]});
    assert_eq!(value(played.sent().body()), expected);
    let response = value(played.client.unwrap().body());
    assert_eq!(response["object"], "response");
    assert_eq!(response["output"][0]["content"][0]["text"], "A");
}

const PAIR: &str = "chat_over_messages";

/// How a stream is asked for, and from whom.
fn asked(stream: &str, pieces: Vec<Vec<u8>>) -> (String, Script) {
    let more = match stream.split_once('-').map_or(stream, |(first, _)| first) {
        "functions" => json!({"functions":[{"name":"f"}]}),
        "without" => json!({"stream_options":{"include_usage":false}}),
        _ => json!({}),
    };
    let config = match stream {
        "ignore-thinking" => r#""reasoningContentMode":"ignore""#,
        "concat-thinking" => r#""reasoningContentMode":"concat""#,
        "promote-thinking" => r#""promoteThinkingOnEmpty":true"#,
        _ => "",
    };
    let mut body = with(&more);
    body["stream"] = json!(true);
    (provider(config), chat(&body).answered(200, &SSE, pieces))
}

#[test]
fn cl_8_and_cl_11_streams_become_chats_however_they_are_cut() {
    let names = streams(PAIR);
    assert!(names.len() >= 30, "{names:?}");
    for name in names {
        let config = asked(&name, Vec::new()).0;
        let text = play_cuts((PAIR, &name, "chat"), &config, |pieces| asked(&name, pieces).1);
        let mut events: Vec<&str> =
            text.split_terminator("\n\n").filter(|event| event.contains("data: ")).collect();
        assert_eq!(events.pop(), Some("data: [DONE]"), "{name}");
        let chunks: Vec<Value> =
            events.iter().map(|event| value(event.strip_prefix("data: ").unwrap())).collect();
        holds_together(&name, &chunks);
    }
}

/// Chunks are of one completion, whose role comes first, whose calls come in order, and which finishes once and then
/// tells its usage, or ends with an error.
fn holds_together(name: &str, chunks: &[Value]) {
    let (mut finished, mut counted, mut calls) = (false, false, 0);
    for (at, chunk) in chunks.iter().enumerate() {
        if chunk.get("error").is_some() {
            assert_eq!(at, chunks.len() - 1, "{name}: nothing follows an error");
            assert!(!finished && chunk["error"]["message"].is_string(), "{name}: {chunk}");
            return;
        }
        for member in ["id", "object", "created", "model"] {
            assert_eq!(chunk[member], chunks[0][member], "{name}: {chunk}");
        }
        let Some(choice) = chunk["choices"].get(0) else {
            assert!(finished && !counted && chunk["usage"]["total_tokens"].is_u64(), "{name}: {chunk}");
            counted = true;
            continue;
        };
        assert!(!finished, "{name}: {chunk}");
        assert_eq!(choice["delta"].get("role").is_some(), at == 0, "{name}: {chunk}");
        for call in choice["delta"]["tool_calls"].as_array().into_iter().flatten() {
            let is_new = call.get("id").is_some();
            assert_eq!(is_new, call["index"] == calls, "{name}: {chunk}");
            calls += i32::from(is_new);
        }
        finished = !choice["finish_reason"].is_null();
    }
    assert!(finished, "{name}: {chunks:?}");
    assert_eq!(counted, !matches!(name, "no-usage" | "without-usage"), "{name}");
}

#[test]
fn the_chunks_of_a_stream_look_like_this() {
    let client = std::fs::read_to_string(folder(PAIR).join("thinking-and-tool.chat.sse")).unwrap();
    let head = r#"data: {"id":"msg_7","object":"chat.completion.chunk","created":1785000000,"model":"m","service_tier":"standard","choices":["#;
    let created = client.split_once("\"created\":").unwrap().1.split_once(',').unwrap().0;
    let head = head.replace("1785000000", created);
    let delta = |delta: &str| {
        format!("{head}{{\"index\":0,\"delta\":{delta},\"finish_reason\":null,\"logprobs\":null}}]}}\n\n")
    };
    let expected = [
        delta(r#"{"role":"assistant","content":""}"#),
        delta(r#"{"reasoning_content":"Need weather."}"#),
        delta(
            r#"{"thinking_blocks":[{"index":0,"type":"thinking","thinking":"Need weather.","signature":"c2ln"}]}"#,
        ),
        delta(r#"{"content":"Checking."}"#),
        delta(
            r#"{"tool_calls":[{"index":0,"id":"toolu_1","type":"function","function":{"name":"wx","arguments":""}}]}"#,
        ),
        delta(r#"{"tool_calls":[{"index":0,"function":{"arguments":"{\"c\":\"Oslo\"}"}}]}"#),
        format!(
            "{head}{{\"index\":0,\"delta\":{{}},\"finish_reason\":\"tool_calls\",\"logprobs\":null}}]}}\n\n"
        ),
        format!(
            "{head}],\"usage\":{{\"prompt_tokens\":121,\"completion_tokens\":33,\"total_tokens\":154,\"prompt_tokens_details\":{{\"cached_tokens\":100}}}}}}\n\n"
        ),
        "data: [DONE]\n\n".to_owned(),
    ];
    assert_eq!(client, expected.concat());
    let error = std::fs::read_to_string(folder(PAIR).join("error-first.chat.sse")).unwrap();
    let expected = "data: {\"error\":{\"message\":\"Overloaded\",\"type\":\"overloaded_error\",\"param\":null,\"code\":null}}\n\ndata: [DONE]\n\n";
    assert_eq!(error, expected, "CL-8");
}

#[test]
fn cl_11_half_a_character_waits_for_the_other() {
    let start: &[u8] = b"data: {\"type\":\"message_start\",\"message\":{\"id\":\"i\"}}\n\n";
    let delta = "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"\u{fc}\"}}\n\n";
    let (before, after) = delta.as_bytes().split_at(delta.find('\u{fc}').unwrap() + 1);
    let client = |pieces: &[&[u8]]| {
        let pieces = pieces.iter().map(|piece| piece.to_vec()).collect();
        let (config, script) = asked("", pieces);
        play(&config, script.broken_off()).client.unwrap().text()
    };
    assert_eq!(client(&[start]), client(&[start, before]), "CL-11");
    let text = client(&[start, before, after]);
    assert_eq!(text.matches("\"delta\":{\"content\":\"\u{fc}\"}").count(), 1, "CL-11: {text}");
}

#[test]
fn a_stream_that_is_reset_is_not_ended() {
    let first = std::fs::read(folder(PAIR).join("cut-short.sse")).unwrap();
    let (config, script) = asked("", vec![first]);
    let text = play(&config, script.broken_off()).client.unwrap().text();
    assert!(text.contains("\"Hel\"") && !text.contains("[DONE]") && !text.contains("error"), "{text}");
}

#[test]
fn what_is_kept_of_a_stream_has_an_end() {
    let client = |events: &[Value]| {
        let stream: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
        let (config, script) = asked("", vec![stream.into_bytes()]);
        play(&config, script).client.unwrap().text()
    };
    let block =
        |at: usize, block: Value| json!({"type":"content_block_start","index":at,"content_block":block});
    let delta = |at: usize, delta: Value| json!({"type":"content_block_delta","index":at,"delta":delta});
    let stop = |at: usize| json!({"type":"content_block_stop","index":at});

    // More blocks at once than are told apart.
    let mut events: Vec<Value> =
        (0..200).map(|at| block(at, json!({"type":"tool_use","id":format!("t{at}"),"name":"f"}))).collect();
    events.extend((0..200).map(|at| delta(at, json!({"type":"input_json_delta","partial_json":"{}"}))));
    events.extend((0..200).map(stop));
    let text = client(&events);
    assert_eq!(text.matches("\"name\":\"f\"").count(), 200);
    assert_eq!(text.matches("\"arguments\":\"{}\"").count(), 128);

    // More thinking than is kept is told, and not given to be sent again; what comes later is.
    let thinking = |at: usize, length: usize| {
        [
            block(at, json!({"type":"thinking","thinking":""})),
            delta(at, json!({"type":"thinking_delta","thinking":"x".repeat(length)})),
            delta(at, json!({"type":"thinking_delta","thinking":"y"})),
            delta(at, json!({"type":"signature_delta","signature":format!("s{at}")})),
            stop(at),
        ]
    };
    let text = client(&[thinking(0, 1 << 20), thinking(1, 1000), thinking(2, 1 << 19)].concat());
    assert_eq!(text.matches("\"reasoning_content\":\"y\"").count(), 3);
    assert!(!text.contains("\"s0\"") && text.contains("\"s1\"") && text.contains("\"s2\""));
}

#[test]
fn no_json_makes_it_panic() {
    let words = r#"null 7 -1.5 1e400 true "" "\u0020" "text" "\ud800" "\\" [] {} 0 "user" "assistant" "tool" "function"
        "system" "thinking" "redacted_thinking" "tool_use" "text_delta" "thinking_delta" "signature_delta"
        "input_json_delta" "image_url" "file" "data:image/png;base64,\u00e9" "https://\u00e9.pdf" "enabled"
        "allowed_tools" "json_schema" "low" "c" "{\"a\":[1,}""#;
    let names = "messages content type text role tools tool_choice allowed_tools function name arguments id
        tool_calls tool_call_id function_call functions image_url url detail file file_id file_data filename
        refusal response_format json_schema schema thinking thinking_blocks signature data reasoning_effort
        max_tokens temperature top_p stop cache_control prompt_cache_breakpoint stream_options
        web_search_options user_location approximate usage input_tokens output_tokens_details service_tier
        error message content_block delta index input partial_json stop_reason output_config parameters";
    let mut seed = Seed::new(5, words, names);
    let kinds = [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "ping",
        "message_stop",
        "error",
        "later",
    ];
    let config = provider("");
    let worker = common::testkit::Worker::<AiProxy>::start(&config);
    for _ in 0..3000 {
        let mut text = |depth| seed.grow(depth);
        let (request, answer, other, part) = (text(5), text(6), text(4), text(2));
        let body = format!(
            r#"{{"model":"m","messages":[{{"role":"user","content":[{{"type":"image_url","image_url":{part}}},{{"type":"file","file":{other}}},{{"type":"text","text":"a","cache_control":{part}}}]}},{{"role":"assistant","content":"A","thinking_blocks":[{other}],"tool_calls":[{{"id":"c","function":{{"name":"f","arguments":{part}}}}},{request}]}},{{"role":"tool","tool_call_id":"c","content":{part}}},{request}],"tools":[{{"type":"function","function":{{"name":"f","parameters":{other}}}}}],"tool_choice":{part},"response_format":{other},"thinking":{request}}}"#
        );
        let script = |body: String, answer: &str| {
            Script::post("/v1/chat/completions", body).answered(200, &JSON, [answer.to_owned().into_bytes()])
        };
        let played = worker.play(script(body, &answer));
        if let Some(seen) = &played.upstream {
            assert!(value(seen.body())["messages"].is_array());
        }
        let _ = worker.play(script(request, &answer));
        let answer = format!(
            r#"{{"content":[{answer},{{"type":"tool_use","name":"f","input":{other}}},{{"type":"thinking","thinking":{part},"signature":{part}}}],"usage":{other},"stop_reason":{part}}}"#
        );
        let _ = worker.play(chat(&with(&json!({}))).answered(200, &JSON, [answer.into_bytes()]));
        let mut stream = String::new();
        for _ in 0..12 {
            let kind = kinds[seed.pick(kinds.len())];
            let mut text = |depth| seed.grow(depth);
            let (block, delta, at) = (text(3), text(2), text(0));
            stream.push_str(&format!(
                "data: {{\"type\":\"{kind}\",\"message\":{block},\"content_block\":{{\"type\":\"tool_use\",\"name\":\"f\",\"x\":{block}}},\"delta\":{delta},\"index\":{at},\"usage\":{block}}}\n\n"
            ));
        }
        let text = worker.play(asked("", vec![stream.into_bytes()]).1).client.unwrap().text();
        assert_eq!(text.matches("[DONE]").count(), 1, "{text}");
    }
}
