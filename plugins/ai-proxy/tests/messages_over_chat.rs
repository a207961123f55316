//! Clients of Anthropic's Messages over vendors that speak OpenAI's chats: worked cases of the behavioural
//! specification by their numbers, and streams as vendors send them. In `fixtures/messages_over_chat`, `<stream>.sse` is the
//! vendor's and `<stream>.message.sse` the client's, the same however the vendor's is cut.
//! `UPDATE=1 cargo test -p ai-proxy --test messages_over_chat` writes what clients get.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a panic is the verdict")]

mod grown;

use std::path::PathBuf;

use ai_proxy::AiProxy;
use common::testkit::{Played, Script, load_errors};
use grown::Seed;
use serde_json::{Value, json};

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];
const SSE: [(&str, &str); 1] = [("content-type", "text/event-stream")];
const MSG: &str = r#"{"model":"c","max_tokens":10,"messages":[{"role":"user","content":"x"}]}"#;
const ANSWER: &str = r#"{"id":"i","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"A"},"finish_reason":"stop"}]}"#;

/// OpenAI itself is asked for Responses, if nobody says otherwise.
const OVER_CHATS: &str = r#""translateApis":{"anthropic/v1/messages":"openai/v1/chatcompletions"}"#;

/// A provider that is asked for chats, if it has no Messages.
fn provider(kind: &str, more: &str) -> String {
    let parts = [if kind == "openai" { OVER_CHATS } else { "" }, more];
    by_default(kind, &parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(","))
}

fn by_default(kind: &str, more: &str) -> String {
    let comma = if more.is_empty() { "" } else { "," };
    format!(r#"{{"provider":{{"type":"{kind}","apiTokens":["k"]{comma}{more}}}}}"#)
}

fn play(config: &str, script: Script) -> Played {
    common::testkit::play::<AiProxy>(config, script)
}

fn messages(body: &str) -> Script {
    Script::post("/v1/messages", body)
}

fn value(bytes: impl AsRef<[u8]>) -> Value {
    serde_json::from_slice(bytes.as_ref())
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(bytes.as_ref())))
}

/// What goes upstream for a request of the client's.
#[track_caller]
fn sent(kind: &str, more: &str, body: &Value) -> Value {
    let script = messages(&body.to_string()).answered(200, &JSON, [ANSWER.into()]);
    value(play(&provider(kind, more), script).sent().body())
}

/// The same without what every request of the check has.
#[track_caller]
fn sent_beside(kind: &str, members: &Value) -> Value {
    let mut body = value(MSG);
    body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    let mut sent = sent(kind, "", &body);
    for name in ["model", "max_tokens", "max_completion_tokens"] {
        sent.as_object_mut().unwrap().remove(name);
    }
    if sent["messages"] == json!([{ "role": "user", "content": "x" }]) {
        sent.as_object_mut().unwrap().remove("messages");
    }
    sent
}

/// What the messages of a request become.
#[track_caller]
fn said(messages: &Value) -> Value {
    sent("openai", "", &json!({ "model": "c", "messages": messages }))["messages"].clone()
}

/// What the client gets of an answer.
#[track_caller]
fn answered(more: &str, status: u16, body: &str) -> (Played, Value) {
    let script = messages(MSG).answered(status, &JSON, [body.as_bytes().to_vec()]);
    let played = play(&provider("openai", more), script);
    let bytes = match (&played.client, &played.reply) {
        (Some(client), _) => client.body(),
        (None, reply) => reply.clone().unwrap().body,
    };
    let body = value(bytes);
    (played, body)
}

#[test]
fn w61_a_request_becomes_a_chat() {
    let request = r#"{"model":"c","max_tokens":100,"temperature":0,"top_p":0.5,"top_k":4,"stop_sequences":["E"],"metadata":{"user_id":"u"},
     "system":[{"type":"text","text":"S1","cache_control":{"type":"ephemeral"}}],
     "tools":[{"name":"t1","description":"d","input_schema":{"type":"object"}}],
     "tool_choice":{"type":"any","disable_parallel_tool_use":true},"thinking":{"type":"enabled","budget_tokens":5000},
     "messages":[
      {"role":"user","content":[{"type":"text","text":"a"},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"QQ=="}}]},
      {"role":"assistant","content":[{"type":"text","text":"t"},{"type":"tool_use","id":"tu1","name":"t1","input":{"b":1}},{"type":"tool_use","id":"tu2","name":"t1","input":{}}]},
      {"role":"user","content":[{"type":"text","text":"before"},{"type":"tool_result","tool_use_id":"tu1","content":[{"type":"text","text":"r1"},{"type":"text","text":"r2"}]},{"type":"tool_result","tool_use_id":"tu2","content":"plain"},{"type":"text","text":"after"}]}]}"#;
    let script = Script::post("/v1/messages?beta=true", request)
        .header("x-api-key", "client")
        .header("anthropic-version", "2023-06-01")
        .header("anthropic-beta", "b")
        .answered(200, &JSON, [ANSWER.into()]);
    let played = play(&provider("openai", ""), script);
    let seen = played.sent();
    for (name, expected) in [
        (":authority", Some("api.openai.com")),
        (":path", Some("/v1/chat/completions")),
        ("x-envoy-original-path", Some("/v1/messages?beta=true")),
        ("authorization", Some("Bearer k")),
        ("x-api-key", None),
        ("anthropic-version", None),
        ("anthropic-beta", None),
    ] {
        assert_eq!(seen.header(name).as_deref(), expected, "W61: {name}");
    }
    // By the name that OpenAI's own models take, which is newer than that of the specification.
    let expected = json!({"model":"c","max_completion_tokens":100,"temperature":0,"top_p":0.5,"stop":["E"],"reasoning_effort":"medium",
     "messages":[{"role":"system","content":[{"type":"text","text":"S1","cache_control":{"type":"ephemeral"}}]},
      {"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"data:image/png;base64,QQ=="}}]},
      {"role":"assistant","content":"t","tool_calls":[{"index":0,"id":"tu1","type":"function","function":{"name":"t1","arguments":"{\"b\":1}"}},{"index":1,"id":"tu2","type":"function","function":{"name":"t1","arguments":"{}"}}]},
      {"role":"tool","tool_call_id":"tu1","content":"r1\nr2"},{"role":"tool","tool_call_id":"tu2","content":"plain"},
      {"role":"user","content":"before\n\nafter"}],
     "tools":[{"type":"function","function":{"name":"t1","description":"d","parameters":{"type":"object"}}}],
     "tool_choice":"required","parallel_tool_calls":false});
    assert_eq!(value(seen.body()), expected, "W61");
}

#[test]
fn w62_to_w65_system_choice_results_and_what_is_no_json() {
    let script = messages(
        &json!({"model":"c","system":"sys","stream":true,"tool_choice":{"type":"auto"},"messages":[]})
            .to_string(),
    );
    let played = play(&provider("openai", ""), script.answered(200, &SSE, [b"data: [DONE]\n\n".to_vec()]));
    let seen = played.sent();
    assert_eq!(seen.header("accept").as_deref(), Some("text/event-stream"), "W62");
    let expected = json!({"model":"c","stream":true,"stream_options":{"include_usage":true},
        "messages":[{"role":"system","content":"sys"}],"tool_choice":"auto"});
    assert_eq!(value(seen.body()), expected, "W62");

    let named = sent_beside("openai", &json!({"tool_choice":{"type":"tool","name":"t"}}));
    // Nor is it said that calls may be side by side: they may anyway, and some models refuse to be told.
    assert_eq!(named, json!({"tool_choice":{"type":"function","function":{"name":"t"}}}), "W63");

    let empty = said(&json!([{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"n"}]},
        {"role":"user","content":[{"type":"tool_result","tool_use_id":"t"}]}]));
    assert_eq!(empty[1], json!({"role":"tool","tool_call_id":"t","content":""}), "W64");

    let played = play(&provider("openai", ""), messages("{").answered(200, &JSON, [ANSWER.into()]));
    let reply = played.replied();
    assert!(played.upstream.is_none());
    assert_eq!(reply.status, 400, "W65");
    let body = value(&reply.body);
    assert_eq!(
        (&body["type"], &body["error"]["type"]),
        (&json!("error"), &json!("invalid_request_error")),
        "W65"
    );
}

#[test]
fn w66_to_w69_paths_keys_and_vendors_that_speak_it() {
    let config = provider("openai", r#""modelMapping":{"claude-*":"gpt-4o"},"providerBasePath":"/pb""#);
    let script = Script::post("/ai/v1/messages?x=1", MSG.replace("\"c\"", "\"claude-x\""))
        .header("x-api-key", "client")
        .answered(200, &JSON, [ANSWER.into()]);
    let played = play(&config, script);
    assert_eq!(played.sent().header(":path").as_deref(), Some("/pb/v1/chat/completions"), "W66");
    assert_eq!(played.sent().header("x-api-key"), None, "W66");
    assert_eq!(value(played.sent().body())["model"], "gpt-4o", "W66");

    let budget = sent_beside("openrouter", &json!({"thinking":{"type":"enabled","budget_tokens":2000}}));
    assert_eq!(budget, json!({"reasoning":{"max_tokens":2000}}), "W67");

    let more = r#""modelMapping":{"*":"deepseek-chat"}"#;
    let body = r#"{"model":"c" ,"stream":true, "top_k":1,"messages":[]}"#;
    let script = Script::post("/v1/messages?beta=true", body).answered(200, &SSE, [b"event: x\n\n".to_vec()]);
    let played = play(&provider("deepseek", more), script);
    assert_eq!(played.sent().header(":path").as_deref(), Some("/anthropic/v1/messages?beta=true"), "W68");
    assert_eq!(played.sent().text(), body.replace("\"c\"", "\"deepseek-chat\""), "W68");
    assert_eq!(played.client.unwrap().text(), "event: x\n\n", "W68");

    let script = messages(MSG).header("authorization", "Bearer gw").answered(200, &JSON, [b"{}".to_vec()]);
    let played = play(&provider("claude", ""), script);
    for (name, expected) in [
        (":authority", Some("api.anthropic.com")),
        (":path", None.or(Some("/v1/messages"))),
        ("x-api-key", Some("k")),
        ("anthropic-version", Some("2023-06-01")),
        ("authorization", None),
    ] {
        assert_eq!(played.sent().header(name).as_deref(), expected, "W69: {name}");
    }
    assert_eq!(played.sent().text(), MSG, "W69");
}

#[test]
fn claude_is_reached_in_its_own_api() {
    let config = provider("claude", r#""apiVersion":"2","claudeVersion":"1","modelMapping":{"*":"m"}"#);
    let path = |path: &str| {
        let played = play(
            &config,
            Script::post(path, r#"{"model":"a","stream":true}"#).answered(200, &JSON, [b"{}".to_vec()]),
        );
        let seen = played.upstream?;
        assert_eq!(seen.header("anthropic-version").as_deref(), Some("1"));
        Some((seen.header(":path").unwrap(), seen.text()))
    };
    let mapped = r#"{"model":"m","stream":true}"#.to_owned();
    for (asked, expected) in [
        ("/ai/v1/messages?beta=true", "/v1/messages?beta=true"),
        ("/v1/messages/count_tokens", "/v1/messages/count_tokens"),
        ("/v1/complete", "/v1/complete"),
        ("/v1/completions", "/v1/complete"),
        ("/v1/embeddings", "/v1/embeddings"),
    ] {
        assert_eq!(path(asked), Some((expected.to_owned(), mapped.clone())), "{asked}");
    }
    assert_eq!(path("/v1/chat/completions"), None, "this is no chat");
    let models =
        play(&config, Script::request("GET", "/v1/models?limit=2").answered(200, &JSON, [b"{}".to_vec()]));
    assert_eq!(models.sent().header(":path").as_deref(), Some("/v1/models?limit=2"));
}

#[test]
fn a_key_of_claudes_is_tried_with_a_message() {
    let config = r#"{"provider":{"type":"claude","apiTokens":["k1","k2"],
        "failover":{"enabled":true,"failureThreshold":1,"healthCheckModel":"h"}}}"#;
    let mut worker = common::testkit::Worker::<AiProxy>::start(config);
    let _ = worker.play(messages(MSG).property("xds.cluster_name", "vendor").answered(
        401,
        &JSON,
        [b"{}".to_vec()],
    ));
    worker.pass(std::time::Duration::from_secs(5));
    let calls = worker.tick(|_| Some(200));
    let [call] = calls.as_slice() else { panic!("{calls:?}") };
    assert!(call.headers.contains(&(":path".into(), "/v1/messages".into())), "{:?}", call.headers);
    let expected = json!({"model":"h","max_tokens":16,"messages":[{"role":"user","content":"who are you?"}]});
    assert_eq!(value(&call.body), expected);
}

#[test]
fn what_a_message_says_finds_its_place() {
    let user = |content: Value| json!([{ "role": "user", "content": content }]);
    assert_eq!(said(&user(json!(null))), user(json!("")));
    assert_eq!(said(&user(json!([]))), user(json!([])));
    assert_eq!(
        said(&user(
            json!([{"type":"thinking","thinking":"t"},{"type":"web_search_tool_result","content":[]}])
        )),
        user(json!([]))
    );
    let image = json!({"type":"image","source":{"type":"url","url":"u"}});
    let shown = json!({"type":"image_url","image_url":{"url":"u"}});
    assert_eq!(said(&user(json!([image]))), user(json!([shown])));
    let call = json!({"type":"tool_use","id":"i","name":"n"});
    let called = json!({"role":"assistant","content":[{"type":"thinking","thinking":"t"}, call]});
    let calls = json!({"role":"assistant","tool_calls":[{"index":0,"id":"i","type":"function","function":{"name":"n","arguments":"{}"}}]});
    assert_eq!(said(&json!([called])), json!([calls]));
    let result = json!({"type":"tool_result","tool_use_id":"i","is_error":true,"content":[{"type":"text","text":"\"r\"\n"},{"type":"tool_reference","tool_name":"t"}]});
    assert_eq!(
        said(&json!([called, {"role":"user","content":[result, {"type":"text","text":"t"}, image]}])),
        json!([calls, {"role":"tool","tool_call_id":"i","content":"\"r\"\n\nt"},
            {"role":"user","content":[{"type":"text","text":"t"}, shown]}])
    );
}

#[test]
fn images_that_tools_give_are_said_by_the_user_after_all_results() {
    let image = |url: &str| json!({"type":"image","source":{"type":"url","url":url}});
    let shown = |url: &str| json!({"type":"image_url","image_url":{"url":url}});
    let call = |id: &str| json!({"type":"tool_use","id":id,"name":"n"});
    let result = |id: &str, content: Value| json!({"type":"tool_result","tool_use_id":id,"content":content});
    let said = said(
        &json!([{"role":"assistant","content":[call("a"), call("b")]}, {"role":"user","content":[
        result("a", json!([image("1"), {"type":"text","text":"A"}])), result("b", json!([image("2")])), {"type":"text","text":"t"}]}]),
    );
    assert_eq!(
        said.as_array().unwrap()[1..],
        [
            json!({"role":"tool","tool_call_id":"a","content":"A"}),
            json!({"role":"tool","tool_call_id":"b","content":""}),
            json!({"role":"user","content":[shown("1"), shown("2"), {"type":"text","text":"t"}]}),
        ]
    );
}

#[test]
fn documents_are_read_as_texts_and_files() {
    let parts = |block: Value| said(&json!([{"role":"user","content":[block]}]))[0]["content"].clone();
    let document = |source: Value| json!({"type":"document","title":"T\"","context":"C","source":source});
    let text = |text: &str| json!({"type":"text","text":text});
    let plain = document(json!({"type":"text","media_type":"text/plain","data":"a\nb"}));
    assert_eq!(parts(plain), json!([text("T\"\n\nC\n\na\nb")]));
    let pdf = document(json!({"type":"base64","media_type":"application/pdf","data":"QQ=="}));
    let file =
        json!({"type":"file","file":{"filename":"T\"","file_data":"data:application/pdf;base64,QQ=="}});
    assert_eq!(parts(pdf), json!([text("C"), file]));
    let nameless = json!({"type":"document","source":{"type":"base64","data":"QQ=="}});
    assert_eq!(parts(nameless)[0]["file"]["filename"], "document.pdf");
    let of_blocks =
        document(json!({"type":"content","content":[text("a"),{"type":"image","source":{"data":"QQ=="}}]}));
    let image = json!({"type":"image_url","image_url":{"url":"data:image/png;base64,QQ=="}});
    assert_eq!(parts(of_blocks), json!([text("T\"\n\nC"), text("a"), image]));
    let of_text = document(json!({"type":"content","content":"a"}));
    assert_eq!(parts(of_text), json!([text("T\"\n\nC"), text("a")]));
    let found =
        json!({"type":"search_result","title":"T","source":"http://s","content":[text("a"), text("b")]});
    assert_eq!(parts(found), json!([text("T\n\nhttp://s\n\na\n\nb")]));
}

/// Why a request is refused.
#[track_caller]
fn refused(members: &Value) -> String {
    let mut body = value(MSG);
    body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    let played = play(&provider("openai", ""), messages(&body.to_string()));
    let error = value(&played.replied().body);
    assert_eq!((played.replied().status, &error["type"]), (400, &json!("error")), "{members}");
    assert_eq!(error["error"]["type"], "invalid_request_error");
    error["error"]["message"].as_str().unwrap().to_owned()
}

#[test]
fn what_cannot_be_carried_is_refused_by_its_place() {
    let user = |content: Value| json!({"messages":[{"role":"user","content":"a"},{"role":"user","content":content}]});
    let block = |block: Value| user(json!([{"type":"text","text":"a"}, block]));
    let assistant = |block: Value| json!({"messages":[{"role":"assistant","content":[block]}]});
    let result = |content: Value| {
        json!({"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"i","name":"n"}]},
        {"role":"user","content":[{"type":"tool_result","tool_use_id":"i","content":content}]}]})
    };
    for (members, place) in [
        (json!({"messages":7}), "messages: "),
        (json!({"messages":[7]}), "messages.0: "),
        (json!({"messages":[{"role":"tool","content":"a"}]}), "messages.0.role: "),
        (user(json!(7)), "messages.1.content: "),
        (user(json!(["x"])), "messages.1.content.0: "),
        (user(json!([{}])), "messages.1.content.0.type: "),
        (block(json!({"type":"text"})), "messages.1.content.1.text: "),
        (
            block(json!({"type":"container_upload","file_id":"f"})),
            "messages.1.content.1: the type `container_upload`",
        ),
        (block(json!({"type":"a\r\nb"})), "messages.1.content.1: the type `?`"),
        (block(json!({"type":"image"})), "messages.1.content.1.source: "),
        (
            block(json!({"type":"image","source":{"type":"file","file_id":"f"}})),
            "messages.1.content.1.source: ",
        ),
        (
            block(json!({"type":"document","source":{"type":"url","url":"u"}})),
            "messages.1.content.1.source: ",
        ),
        (
            block(json!({"type":"document","source":{"type":"file","file_id":"f"}})),
            "messages.1.content.1.source: ",
        ),
        (
            block(json!({"type":"document","source":{"type":"content","content":[{"type":"document"}]}})),
            "messages.1.content.1.source.content.0: ",
        ),
        (block(json!({"type":"search_result","content":[{}]})), "messages.1.content.1.content.0.text: "),
        (block(json!({"type":"tool_use","id":"i","name":"n"})), "messages.1.content.1: the type `tool_use`"),
        (block(json!({"type":"tool_result","tool_use_id":"i"})), "messages.1.content.1.tool_use_id: "),
        (result(json!([{"type":"audio"}])), "messages.1.content.0.content.0: the type `audio`"),
        (result(json!(7)), "messages.1.content.0.content: "),
        (assistant(json!({"type":"tool_use","name":"n"})), "messages.0.content.0.id: "),
        (assistant(json!({"type":"tool_use","id":"i"})), "messages.0.content.0.name: "),
        (assistant(json!({"type":"image","source":{"url":"u"}})), "messages.0.content.0: the type `image`"),
        (json!({"system":7}), "system: "),
        (json!({"system":[{"type":"image","source":{"url":"u"}}]}), "system.0: the type `image`"),
        (json!({"tools":{}}), "tools: "),
        (json!({"tools":[7]}), "tools.0: "),
        (json!({"tool_choice":"auto"}), "tool_choice: "),
        (json!({"tool_choice":{"type":"all"}}), "tool_choice.type: "),
        (json!({"tool_choice":{"type":"tool"}}), "tool_choice.name: "),
        (json!({"output_config":7}), "output_config: "),
        (json!({"output_config":{"format":{"type":"text"}}}), "output_config.format: "),
        (json!({"output_format":{"type":"json_schema","schema":7}}), "output_format: "),
    ] {
        let message = refused(&members);
        assert!(message.starts_with(place), "{members}: {message}");
    }
}

#[test]
fn openai_is_strict_about_schemas_that_it_can_be_strict_about() {
    let format = |schema: &Value| json!({"type":"json_schema","schema":schema});
    let told = |schema: &Value| {
        let sent = sent_beside("openai", &json!({"output_config":{"format":format(schema)}}));
        assert_eq!(sent, sent_beside("openai", &json!({"output_format":format(schema)})));
        let told = &sent["response_format"];
        assert_eq!((&told["type"], &told["json_schema"]["name"]), (&json!("json_schema"), &json!("answer")));
        assert_eq!(told["json_schema"]["schema"], *schema);
        told["json_schema"].get("strict").cloned()
    };
    let object = |required: Value| json!({"type":"object","properties":{"a":{"type":"string"}},"required":required,"additionalProperties":false});
    for (schema, expected) in [
        (object(json!(["a"])), Some(json!(true))),
        (object(json!([])), None),
        (json!({"type":"object","properties":{}}), None),
        (json!({"type":"object"}), None),
        (json!({"type":"array","items":object(json!(["a"]))}), Some(json!(true))),
        (json!({"anyOf":[{"type":"string"},object(json!(["b"]))]}), None),
    ] {
        assert_eq!(told(&schema), expected, "{schema}");
    }
}

#[test]
fn the_client_is_told_what_the_vendor_is_not() {
    let named = |kind: &str, members: Value| {
        let mut body = value(MSG);
        body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        let script = messages(&body.to_string()).answered(200, &JSON, [ANSWER.into()]);
        play(&provider(kind, ""), script).client.unwrap().header("x-ai-proxy-dropped")
    };
    let of_a_turn = json!({"top_k":4,"metadata":{"user_id":"u"},"container":null,"new_thing":1,"messages":[{"role":"user","content":[
        {"type":"text","text":"a","citations":[]},{"type":"redacted_thinking","data":"d"}],"id":7}]});
    let expected = "messages.id, messages.content.citations, messages.content.redacted_thinking, top_k, metadata.user_id, new_thing";
    assert_eq!(named("openai", of_a_turn).as_deref(), Some(expected));
    assert_eq!(named("openai", json!({"stream":false,"temperature":1,"tools":[],"system":null})), None);
    let effort = json!({"output_config":{"effort":"low","task_budget":1}});
    assert_eq!(named("openai", effort.clone()).as_deref(), Some("output_config.task_budget"));
    assert_eq!(named("zhipuai", effort).as_deref(), Some("output_config.effort, output_config.task_budget"));
    let enabled = json!({"thinking":{"type":"enabled","budget_tokens":2000,"display":"omitted"},"output_config":{"effort":"low"}});
    for (kind, expected) in [
        ("openai", "thinking.display, output_config.effort"),
        ("openrouter", "thinking.display, output_config.effort"),
        ("zhipuai", "thinking.budget_tokens, thinking.display, output_config.effort"),
    ] {
        assert_eq!(named(kind, enabled.clone()).as_deref(), Some(expected), "{kind}");
    }
    let disabled = json!({"thinking":{"type":"disabled"}});
    assert_eq!(named("openai", disabled.clone()).as_deref(), Some("thinking"));
    assert_eq!(named("zhipuai", disabled), None);
    let choice = json!({"tools":[{"type":"bash_20250124","name":"bash"}],"tool_choice":{"type":"any"}});
    assert_eq!(named("openai", choice).as_deref(), Some("tools.bash_20250124, tool_choice"));
}

#[test]
fn the_systems_text_loses_what_differs_from_request_to_request() {
    let line = "x-anthropic-billing-header: cc_version=2.1; cc_entrypoint=cli; cch=1a2b3;";
    let sent = sent_beside(
        "openai",
        &json!({"system":[{"type":"text","text":line},{"type":"text","text":"cch=1;"}]}),
    );
    assert_eq!(
        sent["messages"][0]["content"],
        json!([{"type":"text","text":"x-anthropic-billing-header: cc_version=2.1; cc_entrypoint=cli;"},{"type":"text","text":"cch=1;"}])
    );
}

#[test]
fn the_systems_messages_come_first_where_a_vendor_demands_it() {
    let late = json!({"model":"c","system":"a","messages":[{"role":"user","content":"x"},{"role":"system","content":"b"}]});
    let roles = |kind: &str| -> Vec<String> {
        let sent = sent(kind, "", &late);
        sent["messages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["content"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(roles("openai"), ["a", "x", "b"]);
    assert_eq!(roles("vllm"), ["a", "b", "x"]);
}

#[test]
fn tools_of_anthropics_own_are_left_out() {
    let tools = json!({"tools":[{"type":"web_search_20250305","name":"w"},{"type":"custom","name":"t","strict":false,"cache_control":{}}],
        "tool_choice":{"type":"none"}});
    let expected =
        json!({"tools":[{"type":"function","function":{"name":"t","strict":false}}],"tool_choice":"none"});
    assert_eq!(sent_beside("openai", &tools), expected);
    let none = json!({"tools":[{"type":"web_search_20250305","name":"w"}],"tool_choice":{"type":"auto"}});
    assert_eq!(sent_beside("openai", &none), json!({}));
}

#[test]
fn thinking_is_asked_for_as_each_vendor_has_it() {
    let enabled = |budget: u64| json!({"thinking":{"type":"enabled","budget_tokens":budget}});
    for (budget, effort) in
        [(0, "low"), (4095, "low"), (4096, "medium"), (16_383, "medium"), (16_384, "high")]
    {
        assert_eq!(sent_beside("openai", &enabled(budget)), json!({"reasoning_effort":effort}), "{budget}");
    }
    let adaptive = |effort: Value| json!({"thinking":{"type":"adaptive"},"output_config":{"effort":effort}});
    assert_eq!(sent_beside("openai", &adaptive(json!(null))), json!({"reasoning_effort":"medium"}));
    assert_eq!(sent_beside("openai", &adaptive(json!("max"))), json!({"reasoning_effort":"high"}));
    let disabled = json!({"thinking":{"type":"disabled"}});
    assert_eq!(sent_beside("openai", &disabled), json!({}));
    assert_eq!(sent_beside("openrouter", &disabled), json!({}));
    assert_eq!(sent_beside("openrouter", &adaptive(json!("low"))), json!({"reasoning_effort":"low"}));
    assert_eq!(sent_beside("zhipuai", &json!({})), json!({"thinking":{"type":"disabled"}}));
    assert_eq!(sent_beside("zhipuai", &disabled), json!({"thinking":{"type":"disabled"}}));
    assert_eq!(sent_beside("zhipuai", &enabled(9)), json!({"thinking":{"type":"enabled"}}));
}

#[test]
fn w71_and_w72_an_answer_becomes_a_message() {
    let answer = r#"{"id":"c1","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hello","reasoning_content":"th","tool_calls":[
        {"id":"a","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}},{"id":"b","type":"function","function":{"name":"g","arguments":"bad"}}]},"finish_reason":"tool_calls"}],
        "usage":{"prompt_tokens":9,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":4}}}"#;
    let (played, message) = answered("", 200, answer);
    let expected = json!({"id":"c1","type":"message","role":"assistant","model":"m","content":[
        {"type":"thinking","thinking":"th","signature":"unsigned:ai-proxy"},{"type":"text","text":"hello"},
        {"type":"tool_use","id":"a","name":"f","input":{"a":1}},{"type":"tool_use","id":"b","name":"g","input":{}}],
        "stop_reason":"tool_use","stop_sequence":null,
        "usage":{"input_tokens":5,"output_tokens":2,"cache_read_input_tokens":4}});
    assert_eq!(message, expected, "W71");
    assert_eq!(played.client.unwrap().header("content-type").as_deref(), Some("application/json"), "W71");

    let (_, message) = answered("", 200, r#"{"id":"c","model":"m","choices":[]}"#);
    let expected = json!({"id":"c","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,
        "stop_sequence":null,"usage":{"input_tokens":0,"output_tokens":0}});
    assert_eq!(message, expected, "W72");
}

#[test]
fn why_a_chat_ended_is_told_in_anthropics_words() {
    for (reason, expected) in [
        ("\"stop\"", json!("end_turn")),
        ("\"length\"", json!("max_tokens")),
        ("\"content_filter\"", json!("refusal")),
        ("\"odd\"", json!("odd")),
        ("\"\"", json!(null)),
        ("null", json!(null)),
    ] {
        let answer = format!(r#"{{"choices":[{{"message":{{"content":"x"}},"finish_reason":{reason}}}]}}"#);
        assert_eq!(answered("", 200, &answer).1["stop_reason"], expected, "{reason}");
    }
}

#[test]
fn w73_and_w74_failures_have_the_clients_shape() {
    let (played, body) = answered("", 200, "oops");
    assert_eq!(played.replied().status, 502, "W73");
    assert_eq!((&body["type"], &body["error"]["type"]), (&json!("error"), &json!("api_error")), "W73");

    let script = messages(MSG).answered(
        429,
        &[("content-type", "application/json"), ("retry-after", "7")],
        [br#"{"error":{"message":"slow down","type":"x"}}"#.to_vec()],
    );
    let client = play(&provider("openai", ""), script.clone()).client.unwrap();
    assert_eq!(client.header(":status").as_deref(), Some("429"), "W74");
    assert_eq!(client.header("retry-after").as_deref(), Some("7"), "W74");
    let expected = json!({"type":"error","error":{"type":"rate_limit_error","message":"slow down"}});
    assert_eq!(value(client.body()), expected, "W74");

    let client = play(&provider("openai", r#""errorPassthrough":true"#), script).client.unwrap();
    assert_eq!(client.text(), r#"{"error":{"message":"slow down","type":"x"}}"#);

    let (played, body) = answered("", 200, r#"{"error":{"message":"no quota"}}"#);
    assert_eq!((played.replied().status, &body["error"]["message"]), (502, &json!("no quota")));

    let empty = messages(MSG).answered(503, &[("retry-after", "9")], []);
    let reply = play(&provider("openai", ""), empty).reply.unwrap();
    assert_eq!((reply.status, reply.headers.contains(&("retry-after", "9".into()))), (503, true));
    assert_eq!(value(&reply.body)["error"]["type"], "api_error");

    let odd = Script::post("/v1/messages", MSG).without("content-type").header("content-type", "text/plain");
    assert_eq!(play(&provider("openai", ""), odd).replied().status, 415);
}

#[test]
fn who_speaks_it_or_is_told_so_is_not_bridged() {
    let path = |config: &str| {
        let played = play(config, messages(MSG).answered(200, &JSON, [b"{}".to_vec()]));
        played.upstream.map(|seen| (seen.header(":path").unwrap(), seen.text()))
    };
    let kept = Some(("/v1/messages".to_owned(), MSG.to_owned()));
    assert_eq!(path(&provider("generic", r#""genericHost":"h""#)), kept);
    assert_eq!(
        path(&by_default("openai", r#""capabilities":{"anthropic/v1/messages":"/v1/messages"}"#)),
        kept
    );
    assert_eq!(path(&provider("openai", r#""protocol":"original""#)), kept);
    assert_eq!(path(&provider("groq", r#""capabilities":{"anthropic/v1/messages":""}"#)), None);
    let azure = r#""azureServiceUrl":"https://a?api-version=1","modelMapping":{"*":"dep"}"#;
    let azure = path(&provider("azure", azure)).unwrap().0;
    assert_eq!(azure, "/openai/deployments/dep/chat/completions?api-version=1");
}

#[test]
fn all_that_is_done_to_chats_is_done_to_these() {
    let more = r#""customSettings":[{"name":"max_tokens","value":5},{"name":"seed","value":1}],"mergeConsecutiveMessages":true,
        "contextCleanupCommands":["/clear"],"context":{"fileUrl":"http://f/x","cluster":"files"},"disableStreamUsageStats":true"#;
    let body = json!({"model":"c","max_tokens":9,"stream":true,"system":"S","messages":[{"role":"user","content":"old"},
        {"role":"user","content":"/clear"},{"role":"user","content":"a"},{"role":"user","content":"b"}]});
    let script = messages(&body.to_string()).call_answer(200, "CTX").answered(
        200,
        &SSE,
        [b"data: [DONE]\n\n".to_vec()],
    );
    let sent = value(play(&provider("openai", more), script).sent().body());
    // Whoever asks for a message expects its usage.
    let expected = json!({"model":"c","max_tokens":5,"seed":1,"stream":true,"stream_options":{"include_usage":true},
        "messages":[{"role":"system","content":"S"},{"role":"system","content":"CTX"},{"role":"user","content":"a\n\nb"}]});
    assert_eq!(sent, expected);
}

#[test]
fn openai_itself_is_asked_for_responses() {
    let path = |config: &str| {
        let script = Script::post("/v1/messages", MSG);
        play(config, script.answered(200, &JSON, [ANSWER.into()])).sent().header(":path").unwrap()
    };
    let azure = |url: &str| {
        by_default("azure", &format!(r#""azureServiceUrl":"{url}","modelMapping":{{"*":"dep"}}"#))
    };
    let custom = |url: &str| by_default("openai", &format!(r#""openaiCustomUrl":"{url}""#));
    for (config, expected) in [
        (by_default("openai", ""), "/v1/responses"),
        (by_default("openai", r#""providerDomain":"proxy""#), "/v1/chat/completions"),
        (by_default("openai", r#""capabilities":{"openai/v1/responses":""}"#), "/v1/chat/completions"),
        (provider("openai", ""), "/v1/chat/completions"),
        // Who else has Responses may not do well by them.
        (custom("https://h/v1"), "/v1/chat/completions"),
        (by_default("groq", ""), "/openai/v1/chat/completions"),
        (azure("https://a/openai/v1/"), "/openai/v1/responses"),
        (
            azure("https://a?api-version=2025-01-01"),
            "/openai/deployments/dep/chat/completions?api-version=2025-01-01",
        ),
    ] {
        assert_eq!(path(&config), expected, "{config}");
    }
}

#[test]
fn what_a_model_thought_before_it_called_tools_is_told_where_its_vendor_takes_it() {
    let thought = |text: &str| json!({"type":"thinking","thinking":text,"signature":"unsigned:ai-proxy"});
    let call = json!({"type":"tool_use","id":"i","name":"n","input":{}});
    let result = json!({"role":"user","content":[{"type":"tool_result","tool_use_id":"i","content":"r"}]});
    let body = json!({"model":"c","max_tokens":9,"messages":[{"role":"user","content":"x"},
        {"role":"assistant","content":[thought("a\""), thought("b"), thought(""), call]}, result,
        {"role":"assistant","content":[thought("c"), {"type":"text","text":"t"}]}, {"role":"user","content":"y"}]});
    let script = || messages(&body.to_string()).answered(200, &JSON, [ANSWER.into()]);
    let custom = r#""openaiCustomUrl":"https://h/v1""#;
    for (config, expected) in [
        (by_default("moonshot", ""), json!("a\"\n\nb")),
        (by_default("openai", custom), json!("a\"\n\nb")),
        (provider("openai", ""), Value::Null),
        (by_default("mistral", ""), Value::Null),
        (by_default("groq", ""), Value::Null),
    ] {
        let played = play(&config, script());
        let sent = value(played.sent().body());
        assert_eq!(sent["messages"][1]["reasoning_content"], expected, "{config}");
        assert!(
            sent["messages"][1]["tool_calls"].is_array() && sent["messages"][2]["role"] == "tool",
            "{sent}"
        );
        assert_eq!(sent["messages"][3].get("reasoning_content"), None, "{config}");
        let dropped = played.client.unwrap().header("x-ai-proxy-dropped");
        assert_eq!(dropped.as_deref(), Some("messages.content.thinking"), "{config}");
    }
}

#[test]
fn ids_of_calls_are_such_as_anthropic_takes() {
    let answer = |calls: Value| {
        let message = json!({"role":"assistant","content":null,"tool_calls":calls});
        json!({"id":"i","model":"m","choices":[{"message":message,"finish_reason":"tool_calls"}]}).to_string()
    };
    let call = |id: Value| json!({"id":id,"type":"function","function":{"name":"f","arguments":"{}"}});
    let calls =
        json!([call(json!("functions.Bash:0")), call(json!("")), call(json!(null)), call(json!("a_B-9"))]);
    let (_, message) = answered("", 200, &answer(calls.clone()));
    let ids: Vec<&str> =
        message["content"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap()).collect();
    assert_eq!((ids[0], ids[3]), ("functions_Bash_0", "a_B-9"));
    assert!(ids[1].starts_with("call_") && ids[1].ends_with("_1") && ids[2].ends_with("_2"), "{ids:?}");

    let mut stream = String::new();
    for (at, call) in calls.as_array().unwrap().iter().enumerate() {
        let mut call = call.clone();
        call["index"] = json!(at);
        let chunk = json!({"id":"i","model":"m","choices":[{"index":0,"delta":{"tool_calls":[call]}}]});
        stream.push_str(&format!("data: {chunk}\n\n"));
    }
    stream.push_str("data: [DONE]\n\n");
    let text = streamed(&provider("openai", ""), vec![stream.into_bytes()]).client.unwrap().text();
    let blocks: Vec<Value> = text
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(value)
        .filter(|data| data["type"] == "content_block_start")
        .collect();
    let told: Vec<&str> = blocks.iter().map(|it| it["content_block"]["id"].as_str().unwrap()).collect();
    assert_eq!(told, ids, "the same as in a whole answer");
    let is_plain = |id: &str| id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    assert!(told.iter().all(|id| is_plain(id)), "{told:?}");
}

/// The vendor's own answers are Anthropic's, but a conversation may have been elsewhere.
#[test]
fn claude_is_not_shown_what_others_have_thought() {
    let theirs = json!({"type":"thinking","thinking":"t","signature":"Eu9v".repeat(20)});
    let thought = |signature: &str| json!({"type":"thinking","thinking":"t","signature":signature});
    let text = json!({"type":"text","text":"a"});
    let body = |answer: Value| {
        json!({"model":"c","max_tokens":9,"messages":[{"role":"user","content":"q"},
            {"role":"assistant","content":answer}, {"role":"user","content":"q"}]})
    };
    let sent_to = |config: &str, path: &str, body: &Value| {
        let script = Script::post(path, body.to_string()).answered(200, &JSON, [b"{}".to_vec()]);
        play(config, script).sent().text()
    };
    let claude = by_default("claude", "");
    let elsewhere = by_default("claude", r#""providerDomain":"proxy""#);
    for path in ["/v1/messages", "/v1/messages/count_tokens"] {
        let kept = body(json!([theirs, text]));
        assert_eq!(sent_to(&claude, path, &kept), kept.to_string());
        for signature in ["unsigned:ai-proxy", "", "91cfbb94-554b-4136-8e21-fa02280d56ed"] {
            let foreign = body(json!([thought(signature), text]));
            assert_eq!(sent_to(&claude, path, &foreign), body(json!([text])).to_string(), "{signature}");
            let expected = if signature.contains('-') && !signature.contains(':') {
                &foreign
            } else {
                &body(json!([text]))
            };
            assert_eq!(sent_to(&elsewhere, path, &foreign), expected.to_string(), "{signature}");
            // Whoever else speaks Messages has signed it, or signs nothing.
            assert_eq!(sent_to(&by_default("deepseek", ""), "/v1/messages", &foreign), foreign.to_string());
        }
    }
    let nothing = body(json!([thought("unsigned:ai-proxy")]));
    let expected = json!({"model":"c","max_tokens":9,"messages":[{"role":"user","content":"q"},{"role":"user","content":"q"}]});
    assert_eq!(sent_to(&claude, "/v1/messages", &nothing), expected.to_string());
}

#[test]
fn in_an_upstream_chain_what_claude_is_not_shown_is_named() {
    let thought = json!({"type":"thinking","thinking":"t","signature":"unsigned:ai-proxy"});
    let call = json!({"type":"tool_use","id":"i","name":"n","input":{}});
    let body = json!({"model":"c","max_tokens":2000,"thinking":{"type":"enabled","budget_tokens":1024},"messages":[
        {"role":"user","content":"q"}, {"role":"assistant","content":[thought, call]},
        {"role":"user","content":[{"type":"tool_result","tool_use_id":"i","content":"r"}]}]});
    let config = r#"{"providers":[{"id":"a","type":"claude","apiTokens":["k"]},{"id":"b","type":"openai","apiTokens":["k"]}]}"#;
    let answer = r#"{"id":"i","type":"message","role":"assistant","model":"m","content":[]}"#;
    let script = messages(&body.to_string())
        .property("xds.upstream_host_metadata.filter_metadata.ai-proxy.provider", "a")
        .property("upstream.address", "1.2.3.4:443")
        .answered(200, &JSON, [answer.into()]);
    let played = play(config, script);
    let sent = value(played.sent().body());
    assert_eq!(sent.get("thinking"), None);
    assert_eq!(sent["messages"][1]["content"], json!([call]));
    let dropped = played.client.unwrap().header("x-ai-proxy-dropped");
    assert_eq!(dropped.as_deref(), Some("messages.content.thinking, thinking"));
}

#[test]
fn the_answer_to_another_attempt_is_translated_too() {
    let config = format!(
        r#"{{"provider":{{"type":"openai","apiTokens":["k1","k2"],"retryOnFailure":{{"enabled":true}},{OVER_CHATS},
        "failover":{{"enabled":true,"cooldownDuration":1000}},"reasoningContentMode":"ignore"}}}}"#
    );
    let config = config.as_str();
    let answer = r#"{"id":"i","model":"m","choices":[{"message":{"content":"A","reasoning_content":"R"},"finish_reason":"stop"}]}"#;
    let script = || {
        messages(MSG).property("xds.cluster_name", "vendor").answered(
            401,
            &JSON,
            [br#"{"error":"no"}"#.to_vec()],
        )
    };
    let played = play(config, script().call_answer_with(200, &JSON, answer));
    let head = |name: &str| {
        let found = played.calls[0].headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.clone())
    };
    assert_eq!(head(":path").as_deref(), Some("/v1/chat/completions"));
    assert_eq!(played.calls[0].body, played.sent().body());
    let client = played.client.unwrap();
    assert_eq!(client.header(":status").as_deref(), Some("200"));
    assert_eq!(value(client.body())["content"], json!([{"type":"text","text":"A"}]));

    let client = play(config, script().call_answer(500, "{}")).client.unwrap();
    assert_eq!(client.header(":status").as_deref(), Some("401"));
    let expected = json!({"type":"error","error":{"type":"authentication_error","message":"no"}});
    assert_eq!(value(client.body()), expected);
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/messages_over_chat")
}

fn streamed(config: &str, pieces: Vec<Vec<u8>>) -> Played {
    let script = messages(r#"{"model":"c","stream":true,"messages":[]}"#);
    // An empty piece keeps the player from ending the stream with its head.
    let pieces = if pieces.concat().is_empty() { vec![Vec::new()] } else { pieces };
    play(config, script.answered(200, &[("content-type", "text/event-stream; charset=utf-8")], pieces))
}

/// W75 to W83 and W95, and what else vendors send. `promote` in a name switches that on, `vllm` asks that vendor.
fn config_of(stream: &str) -> String {
    let kind = if stream.contains("vllm") { "vllm" } else { "openai" };
    provider(kind, if stream.contains("promote") { r#""promoteThinkingOnEmpty":true"# } else { "" })
}

#[test]
fn w75_to_w83_and_w95_streams_become_messages_however_they_are_cut() {
    let mut names: Vec<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|name| name.strip_suffix(".sse").filter(|it| !it.contains('.')).map(str::to_owned))
        .collect();
    names.sort();
    assert!(names.len() >= 16, "{names:?}");
    for name in names {
        let vendors = std::fs::read(folder().join(format!("{name}.sse"))).unwrap();
        let config = config_of(&name);
        let client = |pieces: Vec<Vec<u8>>| streamed(&config, pieces).client.unwrap().body();
        let whole = client(vec![vendors.clone()]);
        let path = folder().join(format!("{name}.message.sse"));
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &whole).unwrap();
        }
        let expected = std::fs::read(&path).unwrap();
        let same = |found: &[u8], how: &str| {
            assert!(found == expected, "{name}, {how}:\n{}", String::from_utf8_lossy(found));
        };
        same(&whole, "whole");
        same(&client(vendors.chunks(1).map(<[u8]>::to_vec).collect()), "byte by byte");
        for cut in 1..vendors.len() {
            same(&client(vec![vendors[..cut].to_vec(), vendors[cut..].to_vec()]), &format!("cut at {cut}"));
        }
        holds_together(&name, &String::from_utf8(expected).unwrap());
    }
}

/// Blocks begin in order, get something only while they are open, and end; and the message ends once.
fn holds_together(name: &str, text: &str) {
    let (mut open, mut next, mut begun, mut ended) = (Vec::new(), 0, false, false);
    for event in text.split_terminator("\n\n").filter(|event| !event.starts_with(':')) {
        let (kind, data) = event.split_once("\ndata: ").unwrap();
        let data = value(data);
        assert_eq!(kind, format!("event: {}", data["type"].as_str().unwrap()), "{name}");
        assert!(!ended, "{name}: {event}");
        match data["type"].as_str().unwrap() {
            "message_start" => assert!(!std::mem::replace(&mut begun, true), "{name}"),
            "content_block_start" => {
                assert_eq!(data["index"], next, "{name}");
                open.push(next);
                next += 1;
            }
            "content_block_delta" => {
                assert!(open.contains(&data["index"].as_i64().unwrap()), "{name}: {event}");
            }
            "content_block_stop" => {
                let at = open.iter().position(|block| data["index"] == *block);
                open.remove(at.unwrap_or_else(|| panic!("{name}: {event}")));
            }
            "message_delta" => assert!(data["usage"]["output_tokens"].is_u64(), "{name}"),
            "message_stop" => ended = true,
            "error" => ended = !begun,
            other => panic!("{name}: {other}"),
        }
    }
    assert!(open.is_empty() && ended, "{name}");
}

#[test]
fn a_stream_that_is_reset_is_not_ended() {
    let first: &[u8] = b"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
    let script =
        messages(r#"{"stream":true,"messages":[]}"#).answered(200, &SSE, [first.to_vec()]).broken_off();
    let text = play(&provider("openai", ""), script).client.unwrap().text();
    assert!(text.contains("\"a\"") && !text.contains("message_stop") && !text.contains("error"), "{text}");
}

#[test]
fn no_json_makes_it_panic() {
    let words = r#"null 7 -1.5 true "" "text" "tool_use" "tool_result" "\ud800" [] {} "user" "{\"a\":" "image"
        "document" "search_result" "content" "enabled" 0 "assistant""#;
    let names =
        "messages content type text role system tools tool_choice thinking choices message delta tool_calls
        function name arguments id index usage prompt_tokens finish_reason source data input title
        output_config format schema error code reasoning stream model";
    let mut seed = Seed::new(7, words, names);
    for round in 0..3000 {
        let mut text = |depth| seed.grow(depth);
        let (request, answer, other) = (text(5), text(6), text(4));
        let kind = ["openai", "openrouter", "zhipuai", "vllm", "moonshot"][round % 5];
        let body = format!(
            r#"{{"messages":[{request},{{"role":"user","content":[{other},{request}]}}],"tools":[{other}],"system":{other}}}"#
        );
        let _ =
            play(&provider(kind, ""), messages(&body).answered(200, &JSON, [answer.clone().into_bytes()]));
        let chunk = format!(
            r#"data: {{"choices":[{{"delta":{{"tool_calls":[{other}],"content":{other}}}}},{other}],"usage":{other}}}"#
        );
        let stream = format!("{chunk}\n\ndata: {answer}\n\n{chunk}\n\ndata: [DONE]\n\n");
        let _ = streamed(&provider(kind, ""), vec![stream.into_bytes()]);
        let _ = answered("", 500, &answer);
    }
}

#[test]
fn a_file_of_moonshots_goes_into_every_chat() {
    let config = provider("moonshot", r#""moonshotFileId":"fid-9","timeout":7"#);
    let worker = common::testkit::Worker::<AiProxy>::start(&config);
    let chat = || {
        Script::post(
            "/v1/chat/completions",
            r#"{"messages":[{"role":"user","content":"hey"}],"partial":true}"#,
        )
        .property("xds.cluster_name", "vendor")
        .answered(200, &JSON, [b"{}".to_vec()])
    };
    let failed = worker.play(chat().call_answer(404, "{}"));
    assert_eq!(failed.replied().status, 502);
    let first =
        worker.play(chat().call_answer(200, r#"{"content":"PDF TEXT","file_type":"application/pdf"}"#));
    let call = &first.calls[0];
    assert_eq!((call.cluster.as_str(), call.timeout.as_millis()), ("vendor", 7));
    for (name, expected) in [
        (":method", "GET"),
        (":path", "/v1/files/fid-9/content"),
        (":authority", "api.moonshot.cn"),
        ("authorization", "Bearer k"),
    ] {
        assert!(call.headers.contains(&(name.into(), expected.into())), "{name}: {:?}", call.headers);
    }
    let expected = json!({"messages":[{"role":"system","content":"PDF TEXT"},{"role":"user","content":"hey"}],"partial":true});
    assert_eq!(value(first.sent().body()), expected);
    let second = worker.play(chat());
    assert!(second.calls.is_empty());
    assert_eq!(value(second.sent().body()), expected);
    let both = r#""moonshotFileId":"f","context":{"fileUrl":"http://f/x","cluster":"files"}"#;
    let error = load_errors::<AiProxy>(&provider("moonshot", both)).unwrap_err();
    assert!(error.contains("moonshotFileId and context cannot be configured at the same time"), "{error}");
}
