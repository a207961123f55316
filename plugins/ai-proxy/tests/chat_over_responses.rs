//! Clients of OpenAI's chats, and of Anthropic's Messages, over a vendor that is asked in OpenAI's Responses. In
//! `fixtures/chat_over_responses`, `<stream>.sse` is the vendor's, made after the examples in OpenAI's reference,
//! `<stream>.chat.sse` what a client of chats gets and `<stream>.message.sse` what one of Messages does, the same
//! however the vendor's is cut. `UPDATE=1 cargo test -p ai-proxy --test chat_over_responses` writes what clients get.
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
const CHAT: &str = "openai/v1/chatcompletions";
const MESSAGES: &str = "anthropic/v1/messages";
const ANSWER: &str =
    r#"{"id":"resp_1","object":"response","created_at":1,"status":"completed","model":"m","output":[]}"#;

fn provider(client: &str, more: &str) -> String {
    let comma = if more.is_empty() { "" } else { "," };
    format!(
        r#"{{"provider":{{"type":"openai","apiTokens":["k"],"translateApis":{{"{client}":"openai/v1/responses"}}{comma}{more}}}}}"#
    )
}

fn play(config: &str, script: Script) -> Played {
    common::testkit::play::<AiProxy>(config, script)
}

fn chat(body: &Value) -> Script {
    Script::post("/v1/chat/completions", body.to_string())
}

fn value(bytes: impl AsRef<[u8]>) -> Value {
    serde_json::from_slice(bytes.as_ref())
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(bytes.as_ref())))
}

fn with(members: &Value) -> Value {
    let mut body = json!({ "model": "m", "messages": [{ "role": "user", "content": "x" }] });
    body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    body
}

/// What goes upstream for a chat with these members, without what every such request has; and the names of what the
/// vendor is not told.
#[track_caller]
fn sent(members: &Value) -> (Value, Option<String>) {
    let played = play(&provider(CHAT, ""), chat(&with(members)).answered(200, &JSON, [ANSWER.into()]));
    let mut sent = value(played.sent().body());
    let sent_members = sent.as_object_mut().unwrap();
    assert_eq!(sent_members.remove("model"), Some(json!("m")));
    if sent_members["store"] == json!(false) {
        sent_members.remove("store");
    }
    if sent_members["input"] == json!([{ "type": "message", "role": "user", "content": "x" }]) {
        sent_members.remove("input");
    }
    (sent, played.client.unwrap().header("x-ai-proxy-dropped"))
}

/// What is sent where nothing is dropped.
#[track_caller]
fn told(members: &Value) -> Value {
    let (sent, dropped) = sent(members);
    assert_eq!(dropped, None, "{members}");
    sent
}

/// What the messages of a chat become.
#[track_caller]
fn said(messages: &Value) -> Value {
    told(&json!({ "messages": messages }))["input"].clone()
}

/// What is dropped of a chat with these members.
#[track_caller]
fn dropped(members: &Value) -> String {
    sent(members).1.unwrap_or_default()
}

/// What the client is told of a chat that is refused.
#[track_caller]
fn refused(members: &Value) -> String {
    let played = play(&provider(CHAT, ""), chat(&with(members)));
    assert!(played.upstream.is_none(), "{members}");
    let reply = played.replied();
    let body = value(&reply.body);
    assert_eq!((reply.status, &body["error"]["type"]), (400, &json!("invalid_request_error")), "{members}");
    body["error"]["message"].as_str().unwrap().to_owned()
}

/// What a client of chats gets for this answer to a chat with these members.
#[track_caller]
fn answered(members: &Value, answer: &Value) -> Value {
    let script = chat(&with(members)).answered(200, &JSON, [answer.to_string().into_bytes()]);
    value(play(&provider(CHAT, ""), script).client.unwrap().body())
}

/// The same for an answer of these items.
#[track_caller]
fn choice(output: &Value) -> Value {
    answered(&json!({}), &json!({"id":"r","created_at":1,"model":"m","status":"completed","output":output}))
        ["choices"][0]
        .clone()
}

#[test]
fn a_chat_is_asked_as_a_response() {
    let body = with(
        &json!({"stream":true,"max_tokens":100,"temperature":0,"top_p":0.5,"user":"u","metadata":{"a":"b"},
        "parallel_tool_calls":false,"service_tier":"flex","seed":1}),
    );
    let script = Script::post("/v1/chat/completions?x=1", body.to_string())
        .header("authorization", "Bearer client")
        .answered(200, &SSE, [b"data: {}\n\n".to_vec()]);
    let played = play(&provider(CHAT, r#""modelMapping":{"m":"gpt-5-pro"}"#), script);
    let seen = played.sent();
    for (name, expected) in [
        (":authority", "api.openai.com"),
        (":path", "/v1/responses"),
        ("authorization", "Bearer k"),
        ("accept", "text/event-stream"),
        ("content-type", "application/json"),
    ] {
        assert_eq!(seen.header(name).as_deref(), Some(expected), "{name}");
    }
    let expected = json!({"model":"gpt-5-pro","stream":true,"max_output_tokens":100,"temperature":0,"top_p":0.5,"user":"u",
        "metadata":{"a":"b"},"parallel_tool_calls":false,"service_tier":"flex","store":false,
        "input":[{"type":"message","role":"user","content":"x"}]});
    assert_eq!(value(seen.body()), expected);
    assert_eq!(played.client.unwrap().header("x-ai-proxy-dropped").as_deref(), Some("seed"));
}

#[test]
fn what_was_said_becomes_items() {
    let messages = json!([
        {"role":"system","content":"S"},
        {"role":"developer","content":[{"type":"text","text":"D"}]},
        {"role":"user","content":[
            {"type":"text","text":"\"a\"\n","prompt_cache_breakpoint":{"mode":"explicit"}},
            {"type":"image_url","image_url":{"url":"data:image/png;base64,QQ==","detail":"low"}},
            {"type":"image_url","image_url":{"url":"http://i"}},
            {"type":"image_url","image_url":"http://j"},
            {"type":"file","file":{"file_data":"data:application/pdf;base64,QQ==","filename":"f.pdf"}},
            {"type":"file","file":{"file_id":"file-1"}},
            {"type":"input_audio","input_audio":{"data":"QQ==","format":"wav"}}]},
        {"role":"assistant","content":"A","refusal":null,"annotations":[],"audio":null,"function_call":null,"tool_calls":null,
            "reasoning_content":"R"},
        {"role":"assistant","content":[{"type":"text","text":"B"},{"type":"refusal","refusal":"N"}]},
        {"role":"assistant","content":null,"refusal":"No"},
        {"role":"assistant","content":""}
    ]);
    let image = |url: &str, detail: &str| json!({"type":"input_image","image_url":url,"detail":detail});
    let answer = |content: Value| json!({"type":"message","role":"assistant","content":content});
    let expected = json!([
        {"type":"message","role":"system","content":"S"},
        {"type":"message","role":"system","content":[{"type":"input_text","text":"D"}]},
        {"type":"message","role":"user","content":[
            {"type":"input_text","text":"\"a\"\n","prompt_cache_breakpoint":{"mode":"explicit"}},
            image("data:image/png;base64,QQ==", "low"), image("http://i", "auto"), image("http://j", "auto"),
            {"type":"input_file","file_data":"data:application/pdf;base64,QQ==","filename":"f.pdf"},
            {"type":"input_file","file_id":"file-1"},
            {"type":"input_audio","input_audio":{"data":"QQ==","format":"wav"}}]},
        answer(json!([{"type":"output_text","text":"A"}])),
        answer(json!([{"type":"output_text","text":"B"},{"type":"refusal","refusal":"N"}])),
        answer(json!([{"type":"refusal","refusal":"No"}]))
    ]);
    assert_eq!(said(&messages), expected);
}

#[test]
fn calls_and_what_answers_them_become_items() {
    let messages = json!([
        {"role":"assistant","content":"t","tool_calls":[
            {"index":0,"id":"c1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}},
            {"id":"c2","function":{"name":"g","arguments":{"b":[]}}},
            {"id":"c3","type":"custom","custom":{"name":"h","input":"ls"}}]},
        {"role":"tool","tool_call_id":"c2","name":"g","content":[{"type":"text","text":"r"},{"type":"image_url","image_url":{"url":"u"}}]},
        {"role":"tool","tool_call_id":"c1","content":"plain"},
        {"role":"tool","tool_call_id":"c3"},
        {"role":"assistant","function_call":{"name":"f","arguments":""}},
        {"role":"function","name":"f","content":"1"},
        {"role":"assistant","content":null,"function_call":{"name":"f"}},
        {"role":"function","name":"f","content":null}
    ]);
    let expected = json!([
        {"type":"message","role":"assistant","content":[{"type":"output_text","text":"t"}]},
        {"type":"function_call","call_id":"c1","name":"f","arguments":"{\"a\":1}"},
        {"type":"function_call","call_id":"c2","name":"g","arguments":"{\"b\":[]}"},
        {"type":"custom_tool_call","call_id":"c3","name":"h","input":"ls"},
        {"type":"function_call_output","call_id":"c2","output":[{"type":"input_text","text":"r"},{"type":"input_image","image_url":"u","detail":"auto"}]},
        {"type":"function_call_output","call_id":"c1","output":"plain"},
        {"type":"custom_tool_call_output","call_id":"c3","output":""},
        {"type":"function_call","call_id":"function_call_4","name":"f","arguments":""},
        {"type":"function_call_output","call_id":"function_call_4","output":"1"},
        {"type":"function_call","call_id":"function_call_6","name":"f","arguments":"{}"},
        {"type":"function_call_output","call_id":"function_call_6","output":""}
    ]);
    assert_eq!(said(&messages), expected);
}

#[test]
fn tools_are_flat_and_strict_only_where_the_client_says_so() {
    let parameters = json!({"type":"object","properties":{"a":{"type":"string"}}});
    let tools = json!([
        {"type":"function","function":{"name":"f","description":"d","parameters":parameters,"strict":true}},
        {"type":"function","function":{"name":"g"}},
        {"type":"function","function":{"name":"h","parameters":{},"strict":null}},
        {"type":"custom","custom":{"name":"c","description":"d","format":{"type":"text"}}},
        {"type":"custom","custom":{"name":"l","format":{"type":"grammar","grammar":{"syntax":"lark","definition":"start: X"}}}},
        {"type":"web_search"}
    ]);
    let expected = json!([
        {"type":"function","name":"f","description":"d","parameters":parameters,"strict":true},
        {"type":"function","name":"g","parameters":{"type":"object","properties":{}},"strict":false},
        {"type":"function","name":"h","parameters":{},"strict":false},
        {"type":"custom","name":"c","description":"d","format":{"type":"text"}},
        {"type":"custom","name":"l","format":{"type":"grammar","syntax":"lark","definition":"start: X"}},
        {"type":"web_search"}
    ]);
    assert_eq!(told(&json!({"tools":tools})), json!({"tools":expected}));

    let chosen = |choice: Value| told(&json!({ "tool_choice": choice }))["tool_choice"].clone();
    for word in ["none", "auto", "required"] {
        assert_eq!(chosen(json!(word)), json!(word));
    }
    let function = json!({"type":"function","function":{"name":"f"}});
    assert_eq!(chosen(function.clone()), json!({"type":"function","name":"f"}));
    let custom = json!({"type":"custom","custom":{"name":"c"}});
    assert_eq!(chosen(custom.clone()), json!({"type":"custom","name":"c"}));
    let allowed = json!({"type":"allowed_tools","allowed_tools":{"mode":"required","tools":[function,custom,{"type":"web_search"}]}});
    let expected = json!({"type":"allowed_tools","mode":"required",
        "tools":[{"type":"function","name":"f"},{"type":"custom","name":"c"},{"type":"web_search"}]});
    assert_eq!(chosen(allowed), expected);
}

#[test]
fn functions_of_the_time_before_tools_are_tools() {
    let functions = json!([{"name":"f","description":"d","parameters":{"type":"object"}}]);
    let tools = json!([{"type":"function","name":"f","description":"d","parameters":{"type":"object"},"strict":false}]);
    assert_eq!(
        told(&json!({"functions":functions,"function_call":{"name":"f"}})),
        json!({"tools":tools,"tool_choice":{"type":"function","name":"f"},"parallel_tool_calls":false})
    );
    assert_eq!(
        told(&json!({"functions":functions,"function_call":"none"})),
        json!({"tools":tools,"tool_choice":"none","parallel_tool_calls":false})
    );
    let call = |id: &str, name: &str| json!({"type":"function_call","call_id":id,"name":name,"arguments":"{\"a\":1}"});
    let answer = json!({"id":"r","created_at":1,"model":"m","status":"completed","output":[call("1","f"),call("2","g")]});
    let answer = answered(&json!({"functions":functions}), &answer);
    let expected = json!({"index":0,"message":{"role":"assistant","content":null,"refusal":null,
        "function_call":{"name":"f","arguments":"{\"a\":1}"}},"finish_reason":"function_call","logprobs":null});
    assert_eq!(answer["choices"][0], expected);
}

#[test]
fn settings_find_their_places() {
    for (members, expected) in [
        (json!({"max_tokens":50,"max_completion_tokens":60}), json!({"max_output_tokens":60})),
        (json!({"max_tokens":1}), json!({"max_output_tokens":16})),
        (json!({"max_completion_tokens":16}), json!({"max_output_tokens":16})),
        (json!({"max_tokens":0}), json!({"max_output_tokens":0})),
        (json!({"response_format":{"type":"text"}}), json!({"text":{"format":{"type":"text"}}})),
        (
            json!({"response_format":{"type":"json_object"},"verbosity":"low"}),
            json!({"text":{"format":{"type":"json_object"},"verbosity":"low"}}),
        ),
        (
            json!({"response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{"type":"object"},"strict":true}}}),
            json!({"text":{"format":{"type":"json_schema","name":"n","schema":{"type":"object"},"strict":true}}}),
        ),
        (json!({"reasoning_effort":"low"}), json!({"reasoning":{"effort":"low"}})),
        (json!({"reasoning":{"summary":"auto"}}), json!({"reasoning":{"summary":"auto"}})),
        (
            json!({"reasoning":{"summary":"auto"},"reasoning_effort":"high"}),
            json!({"reasoning":{"summary":"auto","effort":"high"}}),
        ),
        (
            json!({"logprobs":true,"top_logprobs":3}),
            json!({"include":["message.output_text.logprobs"],"top_logprobs":3}),
        ),
        (json!({"logprobs":false}), json!({})),
        (json!({"store":true}), json!({"store":true})),
        (
            json!({"store":null,"stop":null,"n":1,"presence_penalty":0,"frequency_penalty":0.0,"logit_bias":{}}),
            json!({}),
        ),
        (json!({"modalities":["text"]}), json!({})),
        (
            json!({"stream":true,"stream_options":{"include_usage":true,"include_obfuscation":false}}),
            json!({"stream":true,"stream_options":{"include_obfuscation":false}}),
        ),
        (json!({"web_search_options":{}}), json!({"tools":[{"type":"web_search"}]})),
        (
            json!({"tools":[],"web_search_options":{"search_context_size":"low",
                "user_location":{"type":"approximate","approximate":{"city":"Oslo","country":"NO"}}}}),
            json!({"tools":[{"type":"web_search","search_context_size":"low",
                "user_location":{"type":"approximate","city":"Oslo","country":"NO"}}]}),
        ),
    ] {
        assert_eq!(told(&members), expected, "{members}");
    }
    let same = json!({"safety_identifier":"s","prompt_cache_key":"k","prompt_cache_retention":"24h",
        "prompt_cache_options":{"mode":"explicit"},"moderation":{"model":"omni-moderation-latest"}});
    assert_eq!(told(&same), same);
}

#[test]
fn the_configurations_own_settings_are_put_as_the_vendor_knows_them() {
    let more = r#""customSettings":[{"name":"reasoning.summary","value":"auto","mode":"raw"}]"#;
    let script = chat(&with(&json!({"reasoning_effort":"low"}))).answered(200, &JSON, [ANSWER.into()]);
    let sent = value(play(&provider(CHAT, more), script).sent().body());
    assert_eq!(sent["reasoning"], json!({"effort":"low","summary":"auto"}));
}

#[test]
fn what_has_no_place_is_named() {
    for (members, expected) in [
        (json!({"stop":["a"]}), "stop"),
        (json!({"seed":0,"n":2}), "seed, n"),
        (
            json!({"logit_bias":{"1":2},"presence_penalty":0.1,"frequency_penalty":-1}),
            "logit_bias, presence_penalty, frequency_penalty",
        ),
        (json!({"prediction":{"type":"content","content":"c"}}), "prediction"),
        (json!({"top_k":4,"thinking":{"type":"enabled"}}), "top_k, thinking"),
        (json!({"messages":[{"role":"user","name":"n","content":"x"}]}), "messages.name"),
        (json!({"messages":[{"role":"assistant","audio":{"id":"a"}}]}), "messages.audio"),
        (
            json!({"messages":[{"role":"user","content":[{"type":"text","text":"x","cache_control":{"type":"ephemeral"}}]}]}),
            "messages.content.cache_control",
        ),
        (
            json!({"messages":[{"role":"assistant","content":[{"type":"text","text":"x","prompt_cache_breakpoint":{"mode":"explicit"}}]}]}),
            "messages.content.prompt_cache_breakpoint",
        ),
        (
            json!({"tools":[{"type":"function","cache_control":{"type":"x"},"function":{"name":"f","x":1}}]}),
            "tools.function.x, tools.cache_control",
        ),
    ] {
        assert_eq!(dropped(&members), expected, "{members}");
    }
}

#[test]
fn what_no_response_can_give_is_refused_with_its_place() {
    let message = |message: Value| json!({"messages":[{"role":"user","content":"x"}, message]});
    for (members, place) in [
        (json!({"messages":null}), "messages"),
        (json!({"messages":{}}), "messages"),
        (json!({"messages":["x"]}), "messages.0"),
        (message(json!({"content":"x"})), "messages.1.role"),
        (message(json!({"role":"owner","content":"x"})), "messages.1.role"),
        (message(json!({"role":"user"})), "messages.1.content"),
        (message(json!({"role":"user","content":7})), "messages.1.content"),
        (message(json!({"role":"user","content":["x"]})), "messages.1.content.0"),
        (message(json!({"role":"user","content":[{"text":"x"}]})), "messages.1.content.0.type"),
        (
            message(json!({"role":"user","content":[{"type":"video_url","video_url":{}}]})),
            "messages.1.content.0.type",
        ),
        (message(json!({"role":"user","content":[{"type":"text","text":7}]})), "messages.1.content.0.text"),
        (
            message(json!({"role":"user","content":[{"type":"image_url","image_url":{}}]})),
            "messages.1.content.0.image_url.url",
        ),
        (message(json!({"role":"user","content":[{"type":"file","file":"f"}]})), "messages.1.content.0.file"),
        (
            message(json!({"role":"user","content":[{"type":"input_audio"}]})),
            "messages.1.content.0.input_audio",
        ),
        (message(json!({"role":"assistant","content":[{"type":"image_url"}]})), "messages.1.content.0.type"),
        (message(json!({"role":"assistant","refusal":7})), "messages.1.refusal"),
        (message(json!({"role":"assistant","tool_calls":{}})), "messages.1.tool_calls"),
        (
            message(json!({"role":"assistant","tool_calls":[{"type":"function"}]})),
            "messages.1.tool_calls.0.id",
        ),
        (
            message(json!({"role":"assistant","tool_calls":[{"id":"c","type":"function"}]})),
            "messages.1.tool_calls.0.function",
        ),
        (
            message(json!({"role":"assistant","tool_calls":[{"id":"c","type":"custom","custom":{}}]})),
            "messages.1.tool_calls.0.custom.name",
        ),
        (message(json!({"role":"assistant","function_call":"f"})), "messages.1.function_call"),
        (message(json!({"role":"tool","content":"x"})), "messages.1.tool_call_id"),
        (message(json!({"role":"tool","tool_call_id":"c","content":"x"})), "messages.1.tool_call_id"),
        (message(json!({"role":"function","name":"f","content":"x"})), "messages.1.name"),
        (json!({"tools":{}}), "tools"),
        (json!({"tools":[7]}), "tools.0"),
        (json!({"tools":[{"type":"function","name":"f"}]}), "tools.0.function"),
        (json!({"functions":["f"]}), "functions.0"),
        (json!({"tool_choice":{"type":"function"}}), "tool_choice.function"),
        (
            json!({"tool_choice":{"type":"allowed_tools","allowed_tools":{}}}),
            "tool_choice.allowed_tools.tools",
        ),
        (json!({"function_call":{}}), "function_call.name"),
        (json!({"response_format":"json"}), "response_format"),
        (json!({"response_format":{"type":"json_schema"}}), "response_format.json_schema"),
        (json!({"web_search_options":true}), "web_search_options"),
        (json!({"modalities":["text","audio"]}), "modalities"),
        (json!({"audio":{"voice":"alloy","format":"wav"}}), "audio"),
    ] {
        let message = refused(&members);
        assert!(message.starts_with(&format!("{place}: expected ")), "{place}: {message}");
    }
    for text in ["", "[]", "{\"messages\":"] {
        assert_eq!(
            play(&provider(CHAT, ""), Script::post("/v1/chat/completions", text)).replied().status,
            400,
            "{text}"
        );
    }
}

#[test]
fn a_response_becomes_a_completion() {
    let answer = json!({"id":"resp_1","object":"response","created_at":1741476777.5,"status":"completed","model":"gpt-5-pro","error":null,
        "service_tier":"default","output":[
            {"type":"reasoning","id":"rs","summary":[{"type":"summary_text","text":"One."},{"type":"summary_text","text":"Two."}]},
            {"type":"message","role":"assistant","content":[{"type":"output_text","text":"Sée ","annotations":[]},
                {"type":"output_text","text":"here.\n","annotations":[{"type":"url_citation","start_index":0,"end_index":4,"title":"T","url":"u"},{"type":"file_path"}],
                 "logprobs":[{"token":"here","bytes":[104],"logprob":-0.5,"top_logprobs":[]}]}]},
            {"type":"web_search_call","id":"ws"},
            {"type":"message","role":"assistant","content":[{"type":"output_text","text":"End.","annotations":[{"type":"url_citation","start_index":0,"end_index":1,"title":"T","url":"u"}]}]},
            {"type":"function_call","id":"fc","call_id":"c1","name":"f","arguments":"{\"a\":1}"},
            {"type":"custom_tool_call","id":"ctc","call_id":"c2","name":"h","input":"ls"}],
        "usage":{"input_tokens":10,"input_tokens_details":{"cached_tokens":4},"output_tokens":20,"output_tokens_details":{"reasoning_tokens":15},"total_tokens":30},
        "moderation":{"input":{"type":"moderation_result","model":"omni","flagged":false},"output":{"type":"error","code":"c","message":"m"}}});
    let citation = |start: u64, end: u64| json!({"type":"url_citation","url_citation":{"start_index":start,"end_index":end,"title":"T","url":"u"}});
    let expected = json!({"id":"resp_1","object":"chat.completion","created":1_741_476_777_u64,"model":"gpt-5-pro","service_tier":"default",
        "choices":[{"index":0,"message":{"role":"assistant","content":"Sée here.\n\n\nEnd.","refusal":null,"reasoning_content":"One.\n\nTwo.",
            "annotations":[citation(4, 8), citation(12, 13)],
            "tool_calls":[{"index":0,"id":"c1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}},
                {"index":1,"id":"c2","type":"custom","custom":{"name":"h","input":"ls"}}]},
            "finish_reason":"tool_calls","logprobs":{"content":[{"token":"here","bytes":[104],"logprob":-0.5,"top_logprobs":[]}],"refusal":null}}],
        "usage":{"prompt_tokens":10,"completion_tokens":20,"total_tokens":30,"prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":15}},
        "moderation":{"input":{"type":"moderation_results","model":"omni","results":[{"type":"moderation_result","model":"omni","flagged":false}]},
            "output":{"type":"error","code":"c","message":"m"}}});
    assert_eq!(answered(&json!({}), &answer), expected);
}

#[test]
fn an_answer_ends_for_the_reason_that_the_vendor_gives() {
    let reason = |status: &str, why: &str, output: Value| {
        let answer = json!({"status":status,"incomplete_details":{"reason":why},"output":output});
        answered(&json!({}), &answer)["choices"][0]["finish_reason"].clone()
    };
    let call = json!([{"type":"function_call","call_id":"c","name":"f","arguments":"{"}]);
    assert_eq!(reason("completed", "", json!([])), "stop");
    assert_eq!(reason("completed", "", call.clone()), "tool_calls");
    assert_eq!(reason("incomplete", "max_output_tokens", call), "length");
    assert_eq!(reason("incomplete", "content_filter", json!([])), "content_filter");
    assert_eq!(reason("incomplete", "steered", json!([])), "stop");
}

#[test]
fn a_message_says_what_there_is() {
    let message = |output: Value| choice(&output)["message"].clone();
    assert_eq!(message(json!([])), json!({"role":"assistant","content":"","refusal":null}));
    let refusal = json!([{"type":"message","content":[{"type":"refusal","refusal":"No."}]}]);
    assert_eq!(message(refusal), json!({"role":"assistant","content":null,"refusal":"No."}));
    let thoughts =
        json!([{"type":"reasoning","summary":[],"content":[{"type":"reasoning_text","text":"T"}]}]);
    assert_eq!(
        message(thoughts),
        json!({"role":"assistant","content":"","refusal":null,"reasoning_content":"T"})
    );
    let odd = json!([{"type":"function_call","arguments":"{}"}, 7, {"type":"message","content":[{"type":"output_text","text":7}]},
        {"type":"function_call","id":"fc","name":"f"}]);
    let call = json!([{"index":0,"id":"fc","type":"function","function":{"name":"f","arguments":""}}]);
    assert_eq!(message(odd), json!({"role":"assistant","content":null,"refusal":null,"tool_calls":call}));
}

#[test]
fn what_an_answer_leaves_out_is_known_of_the_request() {
    let script = chat(&with(&json!({}))).random(0xabc).answered(200, &JSON, [br#"{"output":[]}"#.to_vec()]);
    let answer = value(play(&provider(CHAT, ""), script).client.unwrap().body());
    assert_eq!(answer["model"], "m");
    assert!(answer["id"].as_str().unwrap().starts_with("chatcmpl-"), "{answer}");
    assert!(answer["created"].as_u64().unwrap() > 1_000_000, "{answer}");
    assert_eq!(answer["usage"], Value::Null);
}

#[test]
fn a_failure_is_an_error_of_the_clients_own() {
    let reply = |client: &str, script: Script, status: u16, body: &Value| {
        let script = script.answered(status, &JSON, [body.to_string().into_bytes()]);
        let played = play(&provider(client, ""), script);
        match (&played.reply, &played.client) {
            (Some(reply), _) => (reply.status, value(&reply.body)),
            (None, client) => {
                let client = client.as_ref().unwrap();
                (client.header(":status").unwrap().parse().unwrap(), value(client.body()))
            }
        }
    };
    let ask = || chat(&with(&json!({})));
    let failed = json!({"status":"failed","error":{"code":"server_error","message":"Oh."},"output":[]});
    let (status, body) = reply(CHAT, ask(), 200, &failed);
    assert_eq!(status, 502);
    assert_eq!((&body["error"]["message"], &body["error"]["code"]), (&json!("Oh."), &json!("server_error")));
    for (body, expected) in [
        (json!({"status":"failed","output":[]}), "the upstream's response has failed"),
        (json!({"status":"cancelled","output":[]}), "the upstream's response was cancelled"),
        (json!({"error":"busy"}), "busy"),
        (json!({"choices":[]}), "the upstream's answer is no response"),
    ] {
        let (status, error) = reply(CHAT, ask(), 200, &body);
        assert_eq!((status, &error["error"]["message"]), (502, &json!(expected)), "{body}");
    }
    let refusal = json!({"error":{"message":"slow down","type":"x","code":"rate_limit_exceeded"}});
    let (status, body) = reply(CHAT, ask(), 429, &refusal);
    assert_eq!((status, &body["error"]["message"]), (429, &json!("slow down")));
    let ask = Script::post("/v1/messages", r#"{"model":"m","max_tokens":9,"messages":[]}"#);
    let (status, body) = reply(MESSAGES, ask, 200, &failed);
    assert_eq!((status, body), (502, json!({"type":"error","error":{"type":"api_error","message":"Oh."}})));
}

#[test]
fn a_message_goes_the_whole_way_there_and_back() {
    let request = json!({"model":"c","max_tokens":100,"system":"S","stop_sequences":["E"],"temperature":0.5,
        "thinking":{"type":"enabled","budget_tokens":5000},
        "tools":[{"name":"t","description":"d","input_schema":{"type":"object"}}],"tool_choice":{"type":"any"},
        "messages":[
            {"role":"user","content":[{"type":"text","text":"a"},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"QQ=="}}]},
            {"role":"assistant","content":[{"type":"text","text":"t"},{"type":"tool_use","id":"tu","name":"t","input":{"b":1}}]},
            {"role":"user","content":[{"type":"tool_result","tool_use_id":"tu","content":"r"}]}]});
    let answer = json!({"id":"resp_1","created_at":1,"model":"gpt-5-pro","status":"completed","output":[
        {"type":"reasoning","summary":[{"type":"summary_text","text":"R"}]},
        {"type":"message","content":[{"type":"output_text","text":"A\n","annotations":[]}]},
        {"type":"function_call","call_id":"c","name":"t","arguments":"{\"b\":2}"}],
        "usage":{"input_tokens":10,"input_tokens_details":{"cached_tokens":4},"output_tokens":20,"total_tokens":30}});
    let script = Script::post("/v1/messages", request.to_string())
        .header("anthropic-version", "2023-06-01")
        .answered(200, &JSON, [answer.to_string().into_bytes()]);
    let played = play(&provider(MESSAGES, ""), script);
    let seen = played.sent();
    assert_eq!(seen.header(":path").as_deref(), Some("/v1/responses"));
    assert_eq!(seen.header("anthropic-version"), None);
    let expected = json!({"model":"c","max_output_tokens":100,"temperature":0.5,"reasoning":{"effort":"medium"},"store":false,
        "input":[
            {"type":"message","role":"system","content":"S"},
            {"type":"message","role":"user","content":[{"type":"input_text","text":"a"},{"type":"input_image","image_url":"data:image/png;base64,QQ==","detail":"auto"}]},
            {"type":"message","role":"assistant","content":[{"type":"output_text","text":"t"}]},
            {"type":"function_call","call_id":"tu","name":"t","arguments":"{\"b\":1}"},
            {"type":"function_call_output","call_id":"tu","output":"r"}],
        "tools":[{"type":"function","name":"t","description":"d","parameters":{"type":"object"},"strict":false}],
        "tool_choice":"required"});
    assert_eq!(value(seen.body()), expected);
    let client = played.client.unwrap();
    assert_eq!(
        client.header("x-ai-proxy-dropped").as_deref(),
        Some("stop_sequences"),
        "in the client's words"
    );
    let expected = json!({"id":"resp_1","type":"message","role":"assistant","model":"gpt-5-pro",
        "content":[{"type":"thinking","thinking":"R","signature":"unsigned:ai-proxy"},{"type":"text","text":"A\n"},{"type":"tool_use","id":"c","name":"t","input":{"b":2}}],
        "stop_reason":"tool_use","stop_sequence":null,
        "usage":{"input_tokens":6,"output_tokens":20,"cache_read_input_tokens":4}});
    assert_eq!(value(client.body()), expected);

    let orphan = json!({"model":"c","max_tokens":9,"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"t"}]}]});
    let played = play(&provider(MESSAGES, ""), Script::post("/v1/messages", orphan.to_string()));
    let body = value(&played.replied().body);
    let message = "messages.0.content.0.tool_use_id: expected the id of a `tool_use` block before it";
    let expected = json!({"type":"error","error":{"type":"invalid_request_error","message":message}});
    assert_eq!((played.replied().status, body), (400, expected), "in the client's words");
}

/// What goes upstream for a message to this model with these members, and what the client is told of it.
fn asked(model: &str, members: &Value) -> (Value, Option<String>) {
    let mut body = json!({"model":model,"max_tokens":32000,"messages":[{"role":"user","content":"x"}]});
    body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    let config = format!(
        r#"{{"provider":{{"type":"openai","apiTokens":["k"],"modelMapping":{{"best":"{model}"}}}}}}"#
    );
    body["model"] = json!("best");
    let script = Script::post("/v1/messages", body.to_string()).answered(200, &JSON, [ANSWER.into()]);
    let played = play(&config, script);
    (value(played.sent().body()), played.client.unwrap().header("x-ai-proxy-dropped"))
}

#[test]
fn a_model_is_asked_for_no_more_of_a_message_than_it_takes() {
    let adaptive = json!({"thinking":{"type":"adaptive"},"temperature":1});
    let effort = json!({"output_config":{"effort":"low"},"top_p":0.5,"temperature":0.2});
    let null = Value::Null;
    for (model, members, reasoning, temperature, dropped) in [
        ("gpt-5.5", &adaptive, json!({"effort":"medium"}), &null, None),
        ("gpt-4o", &adaptive, null.clone(), &null, Some("thinking")),
        ("gpt-5.5", &effort, json!({"effort":"low"}), &null, Some("temperature, top_p")),
        ("gpt-4.1", &effort, null.clone(), &json!(0.2), Some("output_config.effort")),
        // A deployment may be of any model.
        ("mine", &effort, json!({"effort":"low"}), &json!(0.2), None),
        ("mine", &adaptive, json!({"effort":"medium"}), &null, None),
    ] {
        let (sent, named) = asked(model, members);
        assert_eq!(sent["model"], model);
        assert_eq!(
            (&sent["reasoning"], &sent["temperature"]),
            (&reasoning, temperature),
            "{model} {members}"
        );
        assert_eq!(named.as_deref(), dropped, "{model} {members}");
    }
    // A client of chats knows what it asks for, and its vendor may answer for itself.
    let chat = json!({"model":"gpt-4o","reasoning_effort":"low","temperature":1,"messages":[]});
    let played = play(
        &provider(CHAT, ""),
        Script::post("/v1/chat/completions", chat.to_string()).answered(200, &JSON, [ANSWER.into()]),
    );
    let sent = value(played.sent().body());
    assert_eq!((&sent["reasoning"], &sent["temperature"]), (&json!({"effort":"low"}), &json!(1)));
}

#[test]
fn a_message_has_its_usage_at_the_end_whatever_clients_of_chats_get() {
    let config = r#"{"provider":{"type":"openai","apiTokens":["k"],"disableStreamUsageStats":true}}"#;
    let stream = std::fs::read(folder(PAIR).join("usage-details.sse")).unwrap();
    let body = r#"{"model":"m","max_tokens":9,"stream":true,"messages":[]}"#;
    let script = Script::post("/v1/messages", body).answered(200, &SSE, [stream]);
    let text = play(config, script).client.unwrap().text();
    let kept = std::fs::read_to_string(folder(PAIR).join("usage-details.message.sse")).unwrap();
    assert_eq!(text, kept);
}

const PAIR: &str = "chat_over_responses";

/// What the client asks for so that the vendor sends this stream.
fn asks(stream: &str) -> Value {
    let more = match stream {
        "functions" => json!({"functions":[{"name":"f"}]}),
        "padded" => json!({"stream_options":{"include_obfuscation":true}}),
        "without-usage" => json!({"stream_options":{"include_usage":false}}),
        _ => json!({}),
    };
    let mut body = with(&more);
    body["stream"] = json!(true);
    body
}

fn script(client: &str, body: &Value, pieces: Vec<Vec<u8>>) -> Script {
    let path = if client == CHAT { "/v1/chat/completions" } else { "/v1/messages" };
    Script::post(path, body.to_string()).answered(200, &SSE, pieces)
}

fn streamed(client: &str, body: &Value, pieces: Vec<Vec<u8>>) -> Played {
    play(&provider(client, ""), script(client, body, pieces))
}

/// Gives what the client gets.
fn played(client: &str, name: &str, kept: &str) -> String {
    let body = asks(name);
    play_cuts((PAIR, name, kept), &provider(client, ""), |pieces| script(client, &body, pieces))
}

#[test]
fn streams_become_chats_however_they_are_cut() {
    let names = streams(PAIR);
    assert!(names.len() >= 20, "{names:?}");
    for name in names {
        let text = played(CHAT, &name, "chat");
        let mut events: Vec<&str> =
            text.split_terminator("\n\n").filter(|event| event.contains("data: ")).collect();
        assert_eq!(events.pop(), Some("data: [DONE]"), "{name}");
        let chunks: Vec<Value> =
            events.iter().map(|event| value(event.strip_prefix("data: ").unwrap())).collect();
        holds_together(&name, &chunks);
    }
}

/// Chunks are of one completion, whose role comes first and which finishes once, or ends with an error.
fn holds_together(name: &str, chunks: &[Value]) {
    let (mut finished, mut calls) = (false, 0);
    let last = chunks.last().unwrap();
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
            assert!(
                finished && (chunk["usage"].is_object() || chunk["moderation"].is_object()),
                "{name}: {chunk}"
            );
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
    assert!(finished, "{name}: {last}");
}

#[test]
fn streams_become_messages_however_they_are_cut() {
    for name in [
        "text",
        "reasoning-summary",
        "text-and-tool",
        "two-tools",
        "incomplete-tokens",
        "refusal",
        "failed",
        "cut-short",
        "usage-details",
    ] {
        let text = played(MESSAGES, name, "message");
        assert!(text.contains("event: message_start"), "{name}");
        assert_eq!(text.matches("event: message_stop").count(), 1, "{name}");
        assert_eq!(text.contains("event: error"), matches!(name, "failed" | "cut-short"), "{name}");
    }
}

#[test]
fn a_stream_that_is_reset_is_not_ended() {
    let first = std::fs::read(folder(PAIR).join("cut-short.sse")).unwrap();
    let script = chat(&asks("")).answered(200, &SSE, [first]).broken_off();
    let text = play(&provider(CHAT, ""), script).client.unwrap().text();
    assert!(text.contains("\"Hel\"") && !text.contains("[DONE]") && !text.contains("error"), "{text}");
}

#[test]
fn more_items_at_once_than_are_kept_lose_nothing_that_was_streamed() {
    let mut stream = String::new();
    let mut event = |data: Value| stream.push_str(&format!("data: {data}\n\n"));
    event(json!({"type":"response.created","response":{"id":"r","model":"m"}}));
    for at in 0..200 {
        event(json!({"type":"response.output_text.delta","output_index":at,"content_index":0,"delta":"t"}));
    }
    let call =
        |at: u64| json!({"type":"function_call","call_id":format!("c{at}"),"name":"f","arguments":"{}"});
    for at in 200..400 {
        event(json!({"type":"response.output_item.added","output_index":at,"item":call(at)}));
    }
    for at in 0..200 {
        let item = json!({"type":"message","content":[{"type":"output_text","text":"t"}]});
        event(json!({"type":"response.output_item.done","output_index":at,"item":item}));
    }
    for at in 200..400 {
        event(json!({"type":"response.output_item.done","output_index":at,"item":call(at)}));
    }
    event(json!({"type":"response.completed","response":{"status":"completed"}}));
    let text = streamed(CHAT, &asks(""), vec![stream.into_bytes()]).client.unwrap().text();
    assert_eq!(text.matches(r#""content":"t""#).count() + text.matches(r#""content":"\n\nt""#).count(), 200);
    assert_eq!(text.matches(r#""name":"f""#).count(), 200);
}

#[test]
fn no_json_makes_it_panic() {
    let words = r#"null 7 -1.5 1e400 true "" "text" "\ud800" "\\" [] {} 0 "user" "assistant" "tool" "function" "custom"
        "message" "reasoning" "function_call" "custom_tool_call" "output_text" "url_citation" "json_schema"
        "image_url" "failed" "moderation_result" "c""#;
    let names =
        "messages content type text role tools tool_choice allowed_tools function custom name arguments id
        call_id tool_calls tool_call_id function_call functions image_url url refusal response_format
        json_schema stream_options web_search_options user_location approximate output summary annotations
        start_index logprobs usage input_tokens input_tokens_details error status item delta output_index
        content_index response moderation input created_at service_tier reasoning reasoning_effort
        max_tokens file grammar format obfuscation incomplete_details reason";
    let mut seed = Seed::new(11, words, names);
    let kinds = [
        "response.created",
        "response.output_item.added",
        "response.output_item.done",
        "response.output_text.delta",
        "response.output_text.annotation.added",
        "response.refusal.delta",
        "response.reasoning_summary_text.delta",
        "response.reasoning_text.delta",
        "response.function_call_arguments.delta",
        "response.custom_tool_call_input.delta",
        "response.completed",
        "response.incomplete",
        "response.failed",
        "error",
    ];
    for _ in 0..3000 {
        let mut text = |depth| seed.grow(depth);
        let (request, answer, other) = (text(5), text(6), text(4));
        let body = format!(
            r#"{{"messages":[{{"role":"user","content":[{other},{request}]}},{{"role":"assistant","content":{other},"tool_calls":[{request}]}},{request}],"tools":[{other}],"tool_choice":{request},"response_format":{other},"reasoning":{request}}}"#
        );
        let _ = play(
            &provider(CHAT, ""),
            Script::post("/v1/chat/completions", body).answered(200, &JSON, [answer.clone().into_bytes()]),
        );
        let body = format!(
            r#"{{"status":{other},"output":[{answer},{{"type":"message","content":[{request}]}}],"usage":{other}}}"#
        );
        let _ = play(&provider(CHAT, ""), chat(&with(&json!({}))).answered(200, &JSON, [body.into_bytes()]));
        let mut stream = String::new();
        for _ in 0..12 {
            let kind = kinds[seed.pick(kinds.len())];
            let mut text = |depth| seed.grow(depth);
            let (item, delta, at) = (text(4), text(1), text(0));
            stream.push_str(&format!(
                "data: {{\"type\":\"{kind}\",\"item\":{{\"type\":\"function_call\",\"name\":\"f\",\"x\":{item}}},\"annotation\":{item},\"delta\":{delta},\"output_index\":{at},\"response\":{item}}}\n\n"
            ));
        }
        let client = if seed.pick(2) == 0 { CHAT } else { MESSAGES };
        let text = streamed(client, &asks(""), vec![stream.into_bytes()]).client.unwrap().text();
        assert!(client == MESSAGES || text.matches("[DONE]").count() == 1, "{text}");
    }
}
