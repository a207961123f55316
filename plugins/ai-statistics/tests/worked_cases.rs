//! Whole exchanges: what is observed of each, and that nothing of it is changed.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the verdict")]

use ai_statistics::AiStatistics;
use common::testkit::{Played, Script, Worker, load_errors, play};
use serde_json::{Value, json};

const ROUTE: &str = "chat@prod@v1";
const CLUSTER: &str = "outbound|443||llm.dns";

fn post(path: &str, body: &Value) -> Script {
    on_route(Script::post(path, body.to_string()), ROUTE)
}

fn on_route(script: Script, route: &str) -> Script {
    // Not traced: what is meant for spans is another test's.
    script
        .property("xds.route_name", route)
        .property("xds.cluster_name", CLUSTER)
        .header("x-request-id", "00000000-0000-4000-8000-000000000000")
}

fn chat() -> Script {
    post("/v1/chat/completions", &json!({ "model": "m7", "messages": [{ "role": "user", "content": "q" }] }))
}

fn answer(body: &Value) -> Vec<Vec<u8>> {
    vec![body.to_string().into_bytes()]
}

fn json_answer(script: Script, body: &Value) -> Script {
    script.answered(200, &[("content-type", "application/json")], answer(body)).at(&[120, 120])
}

fn sse_answer(script: Script, events: &[Value]) -> Script {
    let mut pieces: Vec<Vec<u8>> =
        events.iter().map(|event| format!("data: {event}\n\n").into_bytes()).collect();
    pieces.push(b"data: [DONE]\n\n".to_vec());
    let last = pieces.len();
    let mut moments = vec![40; last];
    moments.push(300);
    script.answered(200, &[("content-type", "text/event-stream")], pieces).at(&moments)
}

fn delta(content: &str) -> Value {
    json!({ "choices": [{ "index": 0, "delta": { "content": content } }] })
}

fn usage() -> Value {
    json!({ "prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7 })
}

fn whole() -> Value {
    json!({ "id": "c9", "model": "m7", "usage": usage() })
}

/// The exchange passed as it came; what is in `ai_log`, which stands between quotes.
fn run(config: &Value, script: Script) -> (Value, Played) {
    let played = play::<AiStatistics>(&config.to_string(), script);
    assert!(played.reply.is_none(), "{:?}", played.reply);
    let log = match property(&played, "ai_log") {
        Some(text) if config["log_encoding"] == "raw" => serde_json::from_str(&text).unwrap(),
        Some(text) => {
            let text: String = serde_json::from_str(&format!("\"{text}\"")).unwrap();
            serde_json::from_str(&text).unwrap()
        }
        None => Value::Null,
    };
    (log, played)
}

fn property(played: &Played, name: &str) -> Option<String> {
    let properties = played.envoy.properties.borrow();
    properties.get(name).map(|text| String::from_utf8(text.clone()).unwrap())
}

/// Counters of Higress's form by their last part, for a model.
fn counters(played: &Played, route: &str, model: &str) -> Value {
    let prefix = format!("route.{route}.upstream.{CLUSTER}.model.{model}.consumer.none.metric.");
    let metrics = played.envoy.metrics.borrow();
    let own = metrics.iter().filter(|(name, _)| name != "ai_statistics_config_errors");
    own.map(|(name, value)| {
        let name = name.strip_prefix(&prefix).unwrap_or(name);
        (name.to_owned(), json!(value))
    })
    .collect::<serde_json::Map<_, _>>()
    .into()
}

fn attribute(fields: &Value) -> Value {
    json!({ "attributes": [fields] })
}

#[test]
fn a_whole_answer_is_logged_and_counted_worked_case_1() {
    let (log, played) = run(&json!({}), json_answer(chat(), &whole()));
    assert_eq!(
        log,
        json!({
            "api": ROUTE, "chat_id": "c9", "chat_round": 1, "input_token": 5, "input_token_details": {},
            "llm_service_duration": 120, "model": "m7", "output_token": 2, "output_token_details": {},
            "response_type": "normal", "status": 200, "total_token": 7,
        })
    );
    assert_eq!(
        counters(&played, ROUTE, "m7"),
        json!({
            "input_token": 5, "output_token": 2, "total_token": 7,
            "llm_service_duration": 120, "llm_duration_count": 1,
        })
    );
}

#[test]
fn a_stream_has_a_first_token_worked_case_2() {
    let events = [json!({ "id": "c9", "model": "m7", "choices": [], "usage": usage() })];
    let (log, played) = run(&json!({}), sse_answer(chat(), &events));
    assert_eq!((&log["llm_first_token_duration"], &log["llm_service_duration"]), (&json!(40), &json!(300)));
    assert_eq!(log["response_type"], "stream");
    assert_eq!(
        counters(&played, ROUTE, "m7"),
        json!({
            "input_token": 5, "output_token": 2, "total_token": 7,
            "llm_service_duration": 300, "llm_duration_count": 1,
            "llm_first_token_duration": 40, "llm_stream_duration_count": 1,
        })
    );
    let passed: Vec<u8> = played.client.unwrap().body();
    assert!(passed.starts_with(b"data: {") && passed.ends_with(b"data: [DONE]\n\n"));
}

#[test]
fn a_stream_without_usage_is_logged_and_not_counted_worked_case_3() {
    let (log, played) = run(&json!({}), sse_answer(chat(), &[delta("x")]));
    assert_eq!(log["response_type"], "stream");
    assert!(log.get("model").is_none() && log.get("input_token").is_none(), "{log}");
    assert_eq!(counters(&played, ROUTE, "m7"), json!({}));
}

#[test]
fn an_error_is_logged_and_counted_as_one_worked_case_4() {
    let error = answer(&json!({ "error": { "message": "slow down" } }));
    let script = chat().answered(429, &[("content-type", "application/json")], error).at(&[50, 50]);
    let (log, played) = run(&json!({}), script);
    assert_eq!((&log["status"], &log["response_type"]), (&json!(429), &json!("normal")));
    assert_eq!(log["llm_service_duration"], 50);
    assert_eq!(counters(&played, ROUTE, "m7"), json!({ "request_error_count": 1 }));
}

#[test]
fn other_paths_are_left_alone_worked_cases_5_and_6() {
    let config = json!({ "enable_path_suffixes": ["/completions"] });
    let script = || post("/v1/embeddings?x=/completions", &json!({ "model": "m" }));
    let (log, played) = run(&config, json_answer(script(), &whole()));
    assert_eq!((log, counters(&played, ROUTE, "m7")), (Value::Null, json!({})));
    let (log, _) = run(&json!({ "enable_path_suffixes": ["/x", "*"] }), json_answer(script(), &whole()));
    assert_eq!(log["total_token"], 7);
    let (log, _) = run(&config, json_answer(chat(), &whole()));
    assert_eq!(log["total_token"], 7);
}

#[test]
fn other_content_types_leave_the_requests_part_worked_case_7() {
    let config = json!({ "enable_content_types": ["application/json"] });
    let (log, played) = run(&config, sse_answer(chat(), &[json!({ "model": "m7", "usage": usage() })]));
    assert_eq!(log, json!({ "api": ROUTE, "chat_round": 1 }));
    assert_eq!(counters(&played, ROUTE, "m7"), json!({}));
    let (log, _) = run(&config, json_answer(chat(), &whole()));
    assert_eq!(log["total_token"], 7);
}

#[test]
fn a_header_is_an_attribute_or_its_default_worked_case_8() {
    let config = attribute(&json!({
        "key": "team", "value_source": "request_header", "value": "X-Team", "default_value": "none",
        "apply_to_log": true,
    }));
    assert_eq!(run(&config, json_answer(chat(), &whole())).0["team"], "none");
    assert_eq!(run(&config, json_answer(chat().header("x-team", "red"), &whole())).0["team"], "red");
}

#[test]
fn a_field_of_its_own_is_escaped_and_no_member_worked_case_9() {
    let config = attribute(&json!({
        "key": "team", "value_source": "request_header", "value": "x-team", "apply_to_log": true,
        "as_separate_log_field": true,
    }));
    let (log, played) = run(&config, json_answer(chat().header("x-team", "a\"b"), &whole()));
    assert_eq!((log.get("team"), property(&played, "team").as_deref()), (None, Some("a\\\"b")));
    let (_, played) = run(&config, json_answer(chat(), &whole()));
    assert_eq!(property(&played, "team"), None);
}

#[test]
fn a_span_attribute_has_its_own_name_worked_case_10() {
    let config = attribute(&json!({
        "key": "lat", "value_source": "response_header", "value": "x-up-ms", "apply_to_span": true,
        "trace_span_key": "up.ms",
    }));
    let script = |id: &str| {
        let script = Script::post("/v1/chat/completions", "{}").header("x-request-id", id);
        script.answered(200, &[("content-type", "application/json"), ("x-up-ms", "17")], answer(&whole()))
    };
    let (log, played) = run(&config, script("00000000-0000-9000-8000-000000000000"));
    assert_eq!(log.get("lat"), None);
    for (key, value) in [
        ("up.ms", "17"),
        ("gen_ai.span.kind", "LLM"),
        ("gen_ai.request.model", "UNKNOWN"),
        ("gen_ai.model_name", "m7"),
        ("gen_ai.usage.input_tokens", "5"),
        ("gen_ai.usage.output_tokens", "2"),
        ("gen_ai.usage.total_tokens", "7"),
    ] {
        assert_eq!(property(&played, &format!("trace_span_tag.{key}")).as_deref(), Some(value), "{key}");
    }
    let (_, played) = run(&config, script("00000000-0000-4000-8000-000000000000"));
    assert_eq!(property(&played, "trace_span_tag.up.ms"), None, "Envoy does not trace this one");
    let mut always = config.clone();
    always["span_attributes"] = json!("always");
    let (_, played) = run(&always, script("00000000-0000-4000-8000-000000000000"));
    assert_eq!(property(&played, "trace_span_tag.up.ms").as_deref(), Some("17"));
    let (_, played) = run(&config, script("my own id"));
    assert_eq!(property(&played, "trace_span_tag.up.ms").as_deref(), Some("17"));
}

#[test]
fn rules_choose_among_the_events_of_a_stream_worked_cases_11_to_14() {
    let config = |rule: &str, default: &str| {
        attribute(&json!({
            "key": "text", "value_source": "response_streaming_body", "value": "choices.0.delta.content",
            "rule": rule, "apply_to_log": true, "default_value": default,
        }))
    };
    let script = || sse_answer(chat(), &[delta(""), delta("He"), json!({ "choices": [] }), delta("llo")]);
    for (rule, default, expected) in
        [("first", "", ""), ("first", "d", "d"), ("append", "", "Hello"), ("replace", "", "llo")]
    {
        assert_eq!(run(&config(rule, default), script()).0["text"], expected, "{rule}");
    }
    let error = load_errors::<AiStatistics>(&config("last", "").to_string()).unwrap_err();
    assert!(error.contains("attributes[0].rule"), "{error}");
}

#[test]
fn an_answer_without_a_rule_is_joined_worked_case_15() {
    let config = attribute(&json!({ "key": "answer", "apply_to_log": true }));
    let (log, _) = run(&config, sse_answer(chat(), &[delta("He"), delta("llo")]));
    assert_eq!(log["answer"], "Hello");
    let body = json!({ "choices": [{ "message": { "content": "Hi" } }] });
    assert_eq!(run(&config, json_answer(chat(), &body)).0["answer"], "Hi");
    let (log, _) = run(&config, sse_answer(chat(), &[json!({ "choices": [] })]));
    assert_eq!(log.get("answer"), None);
}

#[test]
fn counts_are_attributes_by_default_worked_case_16() {
    let usage = json!({ "prompt_tokens": 70, "completion_tokens": 2, "total_tokens": 72,
        "prompt_tokens_details": { "cached_tokens": 64 } });
    let config = json!({ "use_default_response_attributes": true });
    let (log, _) = run(&config, json_answer(chat(), &json!({ "model": "m7", "usage": usage })));
    assert_eq!(log["cached_tokens"], 64);
    assert_eq!(log["input_token_details"], "{\"cached_tokens\":64}");
    assert_eq!(log["output_token_details"], "{}");
    assert_eq!(log.get("reasoning_tokens"), None);
    let embeddings = post("/v1/embeddings", &json!({ "model": "m7" }));
    assert_eq!(run(&config, json_answer(embeddings, &whole())).0, Value::Null, "chats only");
}

#[test]
fn attributes_of_a_vendors_own_names_are_counted_worked_case_17() {
    let of_body = |key: &str, path: &str| json!({ "key": key, "value_source": "response_body", "value": path, "apply_to_log": true });
    let config = json!({ "attributes": [
        of_body("model", "usages.models.0.model_id"),
        of_body("input_token", "usages.models.0.in"),
        of_body("output_token", "usages.models.0.out"),
    ] });
    let body = json!({ "usages": { "models": [{ "model_id": "native", "in": 3, "out": 4 }] } });
    let (log, played) = run(&config, json_answer(chat(), &body));
    assert_eq!((&log["model"], &log["input_token"]), (&json!("native"), &json!(3)));
    assert_eq!(counters(&played, ROUTE, "native")["total_token"], 7);
}

#[test]
fn without_usage_only_times_are_logged_worked_case_18() {
    let (log, played) = run(&json!({ "disable_openai_usage": true }), json_answer(chat(), &whole()));
    assert_eq!(
        log,
        json!({
            "api": ROUTE, "chat_round": 1, "llm_service_duration": 120, "response_type": "normal", "status": 200,
        })
    );
    assert_eq!(counters(&played, ROUTE, "m7"), json!({}));
}

#[test]
fn a_session_is_named_by_the_first_header_that_has_one_worked_case_19() {
    let config = json!({ "session_id_header": "X-Sid" });
    let script = chat().header("x-sid", "").header("x-agent-session", "s1");
    assert_eq!(run(&config, json_answer(script, &whole())).0["session_id"], "s1");
    let script = chat().header("x-sid", "s0").header("x-agent-session", "s1");
    assert_eq!(run(&config, json_answer(script, &whole())).0["session_id"], "s0");
}

#[test]
fn a_long_value_is_cut_worked_case_20() {
    let mut config = attribute(&json!({ "key": "question", "apply_to_log": true }));
    config["value_length_limit"] = json!(10);
    let body = json!({ "messages": [{ "role": "user", "content": "abcdefghijklmnop" }] });
    let (log, _) = run(&config, json_answer(post("/v1/chat/completions", &body), &whole()));
    assert_eq!(log["question"], "abcde [truncated] lmnop");
}

#[test]
fn gemini_is_asked_for_a_model_by_its_path_worked_case_21() {
    let path = "/v1beta/models/gem-1:streamGenerateContent?alt=sse";
    let script = post(path, &json!({ "contents": [{}, { "role": "model" }, { "role": "user" }] }));
    let event = json!({ "usageMetadata": { "promptTokenCount": 8, "candidatesTokenCount": 4, "totalTokenCount": 12 } });
    let (log, _) = run(&json!({}), sse_answer(script, &[event]));
    assert_eq!(
        (&log["chat_round"], &log["model"], &log["total_token"]),
        (&json!(2), &json!("gem-1"), &json!(12))
    );
}

#[test]
fn a_plain_route_is_no_api_worked_case_22() {
    let script = Script::post("/v1/chat/completions", r#"{"model":"m7"}"#);
    let (log, played) = run(&json!({}), json_answer(on_route(script, "plain"), &whole()));
    assert_eq!(log["api"], "-");
    assert_eq!(counters(&played, "plain", "m7")["llm_duration_count"], 1);
}

#[test]
fn an_exchange_that_breaks_off_is_logged_with_what_is_known_worked_case_23() {
    let script = sse_answer(chat(), &[delta("x"), delta("y")]).broken_off();
    let (log, played) = run(&json!({}), script);
    assert_eq!((&log["aborted"], &log["llm_first_token_duration"]), (&json!(true), &json!(40)));
    assert_eq!((&log["response_type"], &log["status"]), (&json!("stream"), &json!(200)));
    assert!(log["llm_service_duration"].is_number());
    assert_eq!(counters(&played, ROUTE, "m7"), json!({}));
    let played = play::<AiStatistics>("{}", chat());
    assert!(property(&played, "ai_log").unwrap().contains("aborted"), "no answer ever came");
}

#[test]
fn what_another_plugin_wrote_stays_worked_case_24() {
    let script = json_answer(chat(), &whole()).property("ai_log", r#"{\"cache_status\":\"miss\"}"#);
    let (log, _) = run(&json!({}), script);
    assert_eq!((&log["cache_status"], &log["model"]), (&json!("miss"), &json!("m7")));
}

#[test]
fn an_answer_without_a_body_is_logged_worked_case_25() {
    let (log, _) = run(&json!({}), chat().answered(204, &[], []));
    assert_eq!((&log["status"], &log["response_type"]), (&json!(204), &json!("normal")));
    assert_eq!(log.get("aborted"), None);
}

#[test]
fn streamed_tool_calls_are_put_together_worked_case_26() {
    let call = |fields: &Value| json!({ "choices": [{ "delta": { "tool_calls": [fields] } }] });
    let events = [
        call(
            &json!({ "index": 0, "id": "a", "type": "function", "function": { "name": "f", "arguments": "{\"a\":" } }),
        ),
        call(&json!({ "index": 0, "function": { "arguments": "1}" } })),
        call(&json!({ "index": 1, "id": "b", "type": "function", "function": { "name": "g" } })),
    ];
    let config = attribute(&json!({ "key": "tool_calls", "apply_to_log": true }));
    let (log, _) = run(&config, sse_answer(chat(), &events));
    assert_eq!(
        log["tool_calls"],
        json!([
            { "id": "a", "type": "function", "function": { "name": "f", "arguments": "{\"a\":1}" } },
            { "index": 1, "id": "b", "type": "function", "function": { "name": "g" } },
        ])
    );
    let body = json!({ "choices": [{ "message": { "tool_calls": [{ "id": "a" }] } }] });
    assert_eq!(run(&config, json_answer(chat(), &body)).0["tool_calls"], json!([{ "id": "a" }]));
    let body = json!({ "content": [{ "type": "tool_use", "id": "t", "name": "f", "input": { "a": 1 } }] });
    assert_eq!(
        run(&config, json_answer(chat(), &body)).0["tool_calls"][0]["function"]["arguments"],
        "{\"a\":1}"
    );
}

#[test]
fn a_rule_for_one_route_leaves_others_alone_worked_case_27() {
    let config = json!({ "_rules_": [{ "_match_route_": ["a"] }] });
    let on = |route: &str| {
        let script = on_route(Script::post("/v1/chat/completions", "{}"), route);
        run(&config, json_answer(script, &whole())).0
    };
    assert_eq!((on("b"), on("a")["total_token"].clone()), (Value::Null, json!(7)));
}

#[test]
fn all_default_attributes_of_a_conversation_are_logged() {
    let body = json!({
        "model": "m7", "system": "be kind", "messages": [{ "role": "user", "content": "q" }], "temperature": 1,
    });
    let script = sse_answer(
        post("/v1/messages", &body),
        &[
            json!({ "choices": [{ "delta": { "reasoning_content": "th" } }] }),
            json!({ "choices": [{ "delta": { "reasoning_content": "ink" } }] }),
            delta("a"),
        ],
    );
    let (log, _) = run(&json!({ "use_default_attributes": true }), script);
    assert_eq!(log["messages"], json!([{ "role": "user", "content": "q" }]));
    for (key, value) in [("question", "q"), ("system", "be kind"), ("answer", "a"), ("reasoning", "think")] {
        assert_eq!(log[key], value, "{key}");
    }
}

#[test]
fn what_there_was_no_room_for_is_marked() {
    let mut config = json!({ "attributes": [
        { "key": "question", "apply_to_log": true },
        { "key": "asked", "value_source": "request_body", "value": "messages.#.role", "apply_to_log": true },
        { "key": "answer", "apply_to_log": true, "default_value": "none" },
        { "key": "absent", "value_source": "request_body", "value": "nothing", "apply_to_log": true },
        { "key": "model", "value_source": "response_body", "value": "choices.0.model", "apply_to_log": true },
    ] });
    config["log_encoding"] = json!("raw");
    let long = "x".repeat(2 << 20);
    let body = json!({ "model": "m7", "messages": [{ "role": "user", "content": long }] });
    let answer = json!({ "model": "m7", "choices": [{ "message": { "content": long } }], "usage": usage() });
    let (log, played) = run(&config, json_answer(post("/v1/chat/completions", &body), &answer));
    for key in ["question", "asked", "answer"] {
        assert_eq!(log[key], "[truncated]", "{key}");
    }
    assert_eq!((log.get("absent"), &log["model"], &log["chat_round"]), (None, &json!("m7"), &json!(1)));
    assert_eq!(counters(&played, ROUTE, "m7")["total_token"], 7);
}

#[test]
fn paths_with_conditions_lead_into_a_request() {
    let config = attribute(&json!({
        "key": "last", "value_source": "request_body", "value": "messages.@reverse.0.content", "apply_to_log": true,
    }));
    let body =
        json!({ "messages": [{ "role": "user", "content": "a" }, { "role": "user", "content": "b" }] });
    let script = post("/v1/chat/completions", &body);
    assert_eq!(run(&config, json_answer(script, &whole())).0["last"], "b");
    let text = body.to_string();
    let pieces = text.as_bytes().chunks(3).map(<[u8]>::to_vec);
    let script = on_route(Script::post("/v1/chat/completions", &text).chunks(pieces), ROUTE);
    assert_eq!(run(&config, json_answer(script, &whole())).0["last"], "b", "in pieces");
}

#[test]
fn the_last_present_value_of_a_key_counts() {
    let of = |source: &str, path: &str| json!({ "key": "id", "value_source": source, "value": path, "rule": "first", "apply_to_log": true });
    let config = json!({ "attributes": [of("response_streaming_body", "id"), of("response_body", "id")] });
    assert_eq!(run(&config, json_answer(chat(), &json!({ "id": "w" }))).0["id"], "w");
    assert_eq!(run(&config, sse_answer(chat(), &[json!({ "id": "s" })])).0["id"], "s");
}

#[test]
fn encodings_are_undone_for_reading_and_what_passes_stays() {
    // `{"model":"m7","usage":{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7}}`, stored in one block.
    let text = json!({ "model": "m7", "usage": usage() }).to_string();
    let length = u16::try_from(text.len()).unwrap();
    let mut body = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1];
    body.extend_from_slice(&length.to_le_bytes());
    body.extend_from_slice(&(!length).to_le_bytes());
    body.extend_from_slice(text.as_bytes());
    body.extend_from_slice(&[0; 8]);
    let head = [("content-type", "application/json"), ("content-encoding", "gzip")];
    let script = chat().header("accept-encoding", "gzip").answered(200, &head, [body.clone()]);
    let (log, played) = run(&json!({}), script);
    assert_eq!(log["total_token"], 7);
    assert_eq!(played.sent().header("accept-encoding").as_deref(), Some("gzip"));
    assert_eq!(played.client.unwrap().body(), body);
    let head = [("content-type", "application/json"), ("content-encoding", "br")];
    let (log, _) = run(&json!({}), chat().answered(200, &head, [body]));
    assert_eq!((log.get("total_token"), &log["status"]), (None, &json!(200)));
}

#[test]
fn retries_are_told_with_the_vendor_that_answered() {
    let script = json_answer(chat(), &whole())
        .property("upstream.request_attempt_count", 3_u64.to_le_bytes())
        .property("xds.upstream_host_metadata.filter_metadata.ai-proxy.provider", "second");
    let (log, _) = run(&json!({}), script);
    assert_eq!((&log["attempts"], &log["provider"]), (&json!(3), &json!("second")));
}

#[test]
fn bedrock_says_usage_in_its_head() {
    let head = [
        ("content-type", "application/json"),
        ("x-amzn-bedrock-input-token-count", "12"),
        ("x-amzn-bedrock-output-token-count", "3"),
    ];
    let script = post("/model/titan%3A1/invoke", &json!({ "inputText": "x" }));
    let (log, _) = run(&json!({}), script.answered(200, &head, answer(&json!({ "results": [] }))));
    assert_eq!((&log["model"], &log["total_token"]), (&json!("titan:1"), &json!(15)));
}

#[test]
fn counters_and_histograms_can_be_added() {
    let config = json!({ "count_requests": true, "count_token_details": true, "histograms": true });
    let usage = json!({ "prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": { "cached_tokens": 4 },
        "completion_tokens_details": { "reasoning_tokens": 1 } });
    let events = [json!({ "model": "m7", "usage": usage })];
    let (_, played) = run(&config, sse_answer(chat(), &events));
    let found = counters(&played, ROUTE, "m7");
    for (name, value) in [
        ("llm_request_count", 1),
        ("cached_token", 4),
        ("reasoning_token", 1),
        ("ai_first_token_ms", 40),
        ("ai_service_ms", 300),
        ("total_token", 11),
    ] {
        assert_eq!(found[name], value, "{name}");
    }
}

#[test]
fn opentelemetrys_names_can_be_chosen() {
    let events = [json!({ "model": "m7-1", "usage": { "prompt_tokens": 5, "completion_tokens": 11 } })];
    let labels = |token_type: &str| {
        format!(
            "op.chat.provider.{CLUSTER}.request_model.m7.response_model.m7-1{token_type}.route.{ROUTE}.consumer.none"
        )
    };
    let config = json!({ "metricsFormat": "otel" });
    let (_, played) = run(&config, sse_answer(chat(), &events));
    let expected = json!({
        format!("gen_ai.client.operation.duration.{}", labels("")): 300,
        format!("gen_ai.client.token.usage.{}", labels(".token_type.input")): 5,
        format!("gen_ai.client.token.usage.{}", labels(".token_type.output")): 11,
        format!("gen_ai.server.time_to_first_token.{}", labels("")): 40,
        format!("gen_ai.server.time_per_output_token.{}", labels("")): 26,
    });
    assert_eq!(counters(&played, "", ""), expected);
    let (_, played) = run(&json!({ "metrics_format": "both" }), sse_answer(chat(), &events));
    assert_eq!(counters(&played, ROUTE, "m7-1").as_object().unwrap().len(), 12);
    let (_, played) = run(&config, sse_answer(chat(), &[delta("x")]).broken_off());
    let names = counters(&played, "", "").to_string();
    assert!(
        names.contains("gen_ai.client.operation.duration") && names.contains(".error_type.aborted."),
        "{names}"
    );
    let error = answer(&json!({}));
    let (_, played) = run(&config, chat().answered(503, &[("content-type", "application/json")], error));
    let names: Vec<String> = counters(&played, "", "").as_object().unwrap().keys().cloned().collect();
    assert_eq!(names.len(), 1);
    assert!(names[0].contains(".request_model.m7.response_model.unknown.error_type.503.route."), "{names:?}");
}

fn provided(script: Script, provider: &str) -> Script {
    script.property("xds.cluster_metadata.filter_metadata.ai-proxy.provider", provider)
}

#[test]
fn opentelemetry_counts_all_tokens_and_knows_providers_by_its_own_names() {
    let config = json!({ "metricsFormat": "otel" });
    let anthropic = json!({ "type": "message", "model": "c-1", "usage": {
        "input_tokens": 9, "output_tokens": 5, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 3,
    } });
    let gemini = json!({ "usageMetadata": {
        "promptTokenCount": 8, "cachedContentTokenCount": 2, "candidatesTokenCount": 4, "thoughtsTokenCount": 6,
    } });
    let gemini_path = "/v1beta/models/gem-1:generateContent";
    for (path, body, provider, labels, input, output) in [
        (
            "/v1/messages",
            &anthropic,
            "claude",
            "op.chat.provider.anthropic.request_model.m7.response_model.c-1",
            112,
            5,
        ),
        (
            gemini_path,
            &gemini,
            "my-gemini",
            "op.generate_content.provider.my-gemini.request_model.m7.response_model.m7",
            8,
            10,
        ),
    ] {
        let (log, played) =
            run(&config, json_answer(provided(post(path, &json!({ "model": "m7" })), provider), body));
        let found = counters(&played, "", "");
        let count = |token_type: &str| {
            let name = format!(
                "gen_ai.client.token.usage.{labels}.token_type.{token_type}.route.{ROUTE}.consumer.none"
            );
            assert!(found[&name].is_number(), "no {name} in {found}");
            found[&name].clone()
        };
        assert_eq!((count("input"), count("output")), (json!(input), json!(output)));
        assert_ne!(
            (&log["input_token"], &log["output_token"]),
            (&json!(input), &json!(output)),
            "as the vendor says"
        );
    }
}

#[test]
fn of_a_path_that_says_nothing_opentelemetry_counts_what_has_usage() {
    let config = json!({ "metricsFormat": "otel" });
    let on = |path: &str, answer: &Value| {
        let (_, played) = run(&config, json_answer(post(path, &json!({ "model": "m7" })), answer));
        counters(&played, "", "").as_object().unwrap().keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(on("/v1/models", &json!({ "data": [] })), Vec::<String>::new());
    assert_eq!(on("/own", &whole()).len(), 3);
    assert!(on("/own", &whole())[0].contains(".op.unknown."));
    assert!(on("/v1/embeddings", &json!({}))[0].contains(".op.embeddings."));
}

/// What is written for the span of a request.
fn span(played: &Played) -> serde_json::Map<String, Value> {
    let properties = played.envoy.properties.borrow();
    let own =
        properties.iter().filter_map(|(key, value)| Some((key.strip_prefix("trace_span_tag.")?, value)));
    own.map(|(key, value)| (key.to_owned(), json!(String::from_utf8_lossy(value)))).collect()
}

#[test]
fn a_span_has_what_opentelemetrys_conventions_have() {
    let config = json!({ "metricsFormat": "otel", "span_attributes": "always" });
    let usage = json!({ "input_tokens": 9, "output_tokens": 5, "cache_read_input_tokens": 100,
        "cache_creation_input_tokens": 3 });
    let body = json!({ "id": "msg", "model": "c-1", "stop_reason": "end_turn", "usage": usage });
    let messages = || provided(post("/v1/messages", &json!({ "model": "c" })), "claude");
    let expected = json!({
        "gen_ai.span.kind": "LLM",
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": "c",
        "gen_ai.response.model": "c-1",
        "gen_ai.response.id": "msg",
        "gen_ai.response.finish_reasons": "[\"end_turn\"]",
        "gen_ai.usage.input_tokens": "112",
        "gen_ai.usage.output_tokens": "5",
        "gen_ai.usage.cache_read.input_tokens": "100",
        "gen_ai.usage.cache_creation.input_tokens": "3",
        "gen_ai.model_name": "c-1",
        "gen_ai.usage.total_tokens": "117",
    });
    let (_, played) = run(&config, json_answer(messages(), &body));
    assert_eq!(Value::from(span(&played)), expected);
    let events = [
        json!({ "type": "message_start", "message": { "id": "msg", "model": "c-1", "usage": usage } }),
        json!({ "type": "message_delta", "delta": { "stop_reason": "end_turn" } }),
    ];
    let (_, played) = run(&config, sse_answer(messages(), &events));
    assert_eq!(Value::from(span(&played)), expected);

    let openai = json!({ "id": "c9", "model": "m7-1", "choices": [{ "finish_reason": "stop" }, { "finish_reason": "length" }],
        "usage": { "prompt_tokens": 5, "completion_tokens": 2, "completion_tokens_details": { "reasoning_tokens": 1 } } });
    let (log, played) = run(&config, json_answer(chat(), &openai));
    let found = span(&played);
    assert_eq!(found["gen_ai.response.finish_reasons"], "[\"stop\",\"length\"]");
    assert_eq!(found["gen_ai.usage.reasoning.output_tokens"], "1");
    assert_eq!(found["gen_ai.provider.name"], CLUSTER);
    assert_eq!((&log["model"], found.get("error.type")), (&json!("m7-1"), None));
    // The other attributes stay what they are without.
    let mut asked = attribute(&json!({ "key": "answer", "apply_to_log": true }));
    asked["metricsFormat"] = json!("both");
    asked["span_attributes"] = json!("always");
    let answer = json!({ "choices": [{ "message": { "content": "Hi" }, "finish_reason": "stop" }] });
    let (log, played) = run(&asked, json_answer(chat(), &answer));
    assert_eq!(
        (&log["answer"], &span(&played)["gen_ai.response.finish_reasons"]),
        (&json!("Hi"), &json!("[\"stop\"]"))
    );

    let error = json_error(chat());
    assert_eq!(span(&run(&config, error).1)["error.type"], "429");
    let broken = sse_answer(chat(), &[delta("x")]).broken_off();
    assert_eq!(span(&run(&config, broken).1)["error.type"], "aborted");

    // Neither without the format nor without a span.
    let names = |config: &Value| {
        let found = span(&run(config, json_answer(messages(), &body)).1);
        found.keys().filter(|key| expected.get(key).is_some()).count()
    };
    assert_eq!(names(&json!({ "span_attributes": "always" })), 6);
    assert_eq!(names(&json!({ "metricsFormat": "otel" })), 0);
}

fn json_error(script: Script) -> Script {
    script.answered(429, &[("content-type", "application/json")], answer(&json!({ "error": {} })))
}

/// What the README tells operators to name in the connection manager.
#[test]
fn the_readme_names_every_tag_of_a_span() {
    let readme = include_str!("../README.md");
    let traces = readme.split("## Traces").nth(1).unwrap().split("```").nth(1).unwrap();
    let listed: Vec<&str> =
        traces.lines().filter_map(|line| line.split("{ tag: ").nth(1)?.split(',').next()).collect();
    let others = [include_str!("../../../envoy/ai-statistics.yaml"), include_str!("../e2e/spans.yaml")];
    for tag in &listed {
        let value = format!("%FILTER_STATE(wasm.trace_span_tag.{tag}:PLAIN)%");
        let line = format!("- {{ tag: {tag}, value: \"{value}\" }}\n");
        assert!([traces].iter().chain(&others).all(|text| text.contains(&line)), "{tag}");
    }
    let config = json!({ "metricsFormat": "both", "span_attributes": "always" });
    let usage = json!({ "prompt_tokens": 5, "completion_tokens": 2, "cache_creation_input_tokens": 1,
        "prompt_tokens_details": { "cached_tokens": 1 }, "completion_tokens_details": { "reasoning_tokens": 1 } });
    let body = json!({ "id": "i", "model": "m", "choices": [{ "finish_reason": "stop" }], "usage": usage });
    let script = chat().answered(500, &[("content-type", "application/json")], answer(&body));
    let mut written: Vec<String> = span(&run(&config, script).1).keys().cloned().collect();
    let mut expected: Vec<String> = listed.iter().map(|tag| (*tag).to_owned()).collect();
    written.sort();
    expected.sort();
    assert_eq!(written, expected);
}

#[test]
fn a_model_in_a_path_counts_where_the_body_is_not_read() {
    let path = "/openai/deployments/whisper/audio/transcriptions?api-version=1";
    let upload = || {
        Script::post(path, "--b--")
            .without("content-type")
            .header("content-type", "multipart/form-data; boundary=b")
    };
    let encoded = || Script::post("/model/titan%3A1/invoke", "x").header("content-encoding", "gzip");
    let bare = || Script::request("GET", "/v1beta/models/gem-1:generateContent");
    let config = json!({ "span_attributes": "always" });
    for (script, model) in [(upload(), "whisper"), (encoded(), "titan:1"), (bare(), "gem-1")] {
        let (log, played) = run(&config, json_answer(on_route(script, ROUTE), &json!({ "usage": usage() })));
        assert_eq!((&log["model"], log.get("chat_round")), (&json!(model), None));
        assert_eq!(counters(&played, ROUTE, model)["total_token"], 7);
        assert_eq!(span(&played)["gen_ai.request.model"], model);
    }
    let (_, played) =
        run(&config, json_answer(on_route(Script::request("GET", "/v1/models"), ROUTE), &json!({})));
    assert_eq!(span(&played).get("gen_ai.request.model"), None, "nothing is asked for");
}

#[test]
fn all_rules_of_a_worker_tell_so_many_combinations_apart() {
    let rule = json!({ "_match_route_": ["a"], "max_label_combinations": 2 });
    let config = json!({ "max_label_combinations": 2, "_rules_": [rule] });
    let worker = Worker::<AiStatistics>::start(&config.to_string());
    let play = |model: &str, route: &str| {
        let script = Script::post("/v1/chat/completions", json!({ "model": model }).to_string());
        let body = json!({ "model": model, "usage": usage() });
        worker.play(json_answer(on_route(script, route), &body)).envoy.metrics.borrow().clone()
    };
    for (model, route) in [("m0", "a"), ("m1", "b"), ("m2", "a"), ("m3", "b"), ("m4", "a")] {
        play(model, route);
    }
    let found = play("m1", "b");
    let mut names: Vec<&str> =
        found.iter().filter_map(|(name, _)| name.strip_suffix(".metric.llm_duration_count")).collect();
    names.sort_unstable();
    let name = |route: &str, model: &str, consumer: &str| {
        format!("route.{route}.upstream.{CLUSTER}.model.{model}.consumer.{consumer}")
    };
    assert_eq!(
        names,
        [
            name("a", "m0", "none"),
            name("a", "other", "other"),
            name("b", "m1", "none"),
            name("b", "other", "other")
        ]
    );
}

#[test]
fn redacted_members_are_not_written() {
    let mut config = json!({ "use_default_attributes": true, "redact": ["messages.#.content", "question"] });
    config["log_encoding"] = json!("raw");
    let (log, played) = run(&config, json_answer(chat(), &whole()));
    assert_eq!(log["messages"], json!([{ "role": "user", "content": "[redacted]" }]));
    assert_eq!(log["question"], "[redacted]");
    assert!(property(&played, "ai_log").unwrap().starts_with("{\"api\":"));
}

#[test]
fn what_is_redacted_is_taken_out_before_a_value_is_cut() {
    let secret = |at: usize| format!("secret{at}{}", "s".repeat(100));
    let messages: Vec<Value> =
        (0..4).map(|at| json!({ "role": "user", "content": secret(at), "n": "n".repeat(20) })).collect();
    let mut config = attribute(&json!({
        "key": "messages", "value_source": "request_body", "value": "messages", "apply_to_log": true,
        "apply_to_span": true,
    }));
    config["redact"] = json!(["messages.#.content"]);
    config["span_attributes"] = json!("always");
    for limit in [50, 100, 200, 400, 10_000] {
        config["value_length_limit"] = json!(limit);
        let body = json!({ "model": "m7", "messages": messages });
        let (log, played) = run(&config, json_answer(post("/v1/chat/completions", &body), &whole()));
        let span = property(&played, "trace_span_tag.messages").unwrap();
        for text in [log.to_string(), span] {
            assert!(!text.contains("secret"), "{limit}: {text}");
            assert!(limit < 100 || text.contains("[redacted]"), "{limit}: {text}");
        }
        assert_eq!(log["messages"].is_string(), limit < 400, "{log}");
    }
}

#[test]
fn a_path_into_what_is_no_container_redacts_it_whole() {
    let messages = json!([
        { "role": "user", "content": "secret" },
        { "role": "user", "content": [{ "type": "text", "text": "secret" }] },
    ]);
    let body = json!({ "model": "m7", "messages": messages });
    let config = |keys: &[&str], redact: &[&str]| {
        let attributes: Vec<Value> = keys
            .iter()
            .map(|key| json!({ "key": key, "rule": "append", "apply_to_log": true, "apply_to_span": true }))
            .collect();
        json!({ "attributes": attributes, "redact": redact, "span_attributes": "always" })
    };
    let mut asked = config(&["messages"], &["messages.#.content.#.text"]);
    asked["attributes"][0]["value_source"] = json!("request_body");
    asked["attributes"][0]["value"] = json!("messages");
    let (log, _) = run(&asked, json_answer(post("/v1/chat/completions", &body), &whole()));
    assert_eq!(log["messages"][0]["content"], "[redacted]");
    assert_eq!(log["messages"][1]["content"], json!([{ "type": "text", "text": "[redacted]" }]));
    // Texts, put together from a stream or found whole, and texts of maps.
    let keys = ["answer", "input_token_details", "cached_tokens"];
    for redact in [&["answer.x", "input_token_details.cached_tokens", "cached_tokens.x"][..], &keys] {
        let usage = json!({ "prompt_tokens": 1, "prompt_tokens_details": { "cached_tokens": 77 } });
        let end = json!({ "choices": [], "usage": usage });
        let streamed = sse_answer(chat(), &[delta("sec"), delta("ret"), end]);
        let answer = json!({ "choices": [{ "message": { "content": "secret" } }], "usage": usage });
        for script in [streamed, json_answer(chat(), &answer)] {
            // The counts of usage are other members.
            let mut redact = redact.to_vec();
            redact.extend(["chat_round", "input_token", "llm_service_duration"]);
            let (log, played) = run(&config(&keys, &redact), script);
            for key in keys {
                let span = property(&played, &format!("trace_span_tag.{key}")).unwrap();
                for text in [log[key].to_string(), span] {
                    assert!(!text.contains("secret") && !text.contains("77"), "{key}: {text}");
                    assert!(text.contains("[redacted]"), "{key}: {text}");
                }
            }
            assert_eq!(
                (&log["chat_round"], &log["input_token"]),
                (&json!("[redacted]"), &json!("[redacted]"))
            );
        }
    }
}

#[test]
fn a_field_of_its_own_is_redacted_and_counts_are_not() {
    let of_body = |key: &str, path: &str| json!({ "key": key, "value_source": "response_body", "value": path, "apply_to_log": true });
    let mut asked = of_body("asked", "choices");
    asked["as_separate_log_field"] = json!(true);
    let config = json!({
        "attributes": [of_body("model", "m"), of_body("input_token", "in"), of_body("output_token", "out"), asked],
        "redact": ["model", "input_token", "asked.#.text"],
    });
    let body = json!({ "m": "native", "in": 3, "out": 4, "choices": [{ "text": "secret", "n": 1 }] });
    let (log, played) = run(&config, json_answer(chat(), &body));
    assert_eq!((&log["model"], &log["input_token"]), (&json!("[redacted]"), &json!("[redacted]")));
    let own = property(&played, "asked").unwrap();
    assert!(!own.contains("secret") && own.contains("[redacted]"), "{own}");
    assert_eq!(counters(&played, ROUTE, "native")["input_token"], 3);
}

#[test]
fn what_is_no_json_is_passed_and_timed() {
    let script = on_route(Script::post("/v1/audio/speech", r#"{"model":"tts"}"#), ROUTE);
    let audio = vec![vec![0xff; 70_000]];
    let (log, played) = run(&json!({}), script.answered(200, &[("content-type", "audio/mpeg")], audio));
    assert_eq!((&log["response_type"], &log["status"]), (&json!("normal"), &json!(200)));
    assert_eq!(played.client.unwrap().body().len(), 70_000);
}

#[test]
fn trailers_end_a_response() {
    let script = json_answer(chat(), &whole()).with_response_trailers();
    assert_eq!(run(&json!({}), script).0["total_token"], 7);
}

#[test]
fn what_cannot_be_meant_is_refused_or_told() {
    let refused = |config: &Value, path: &str| {
        let error = load_errors::<AiStatistics>(&config.to_string()).unwrap_err();
        assert!(error.contains(path), "{error}");
    };
    refused(&json!({ "metricsFormat": "x" }), "metricsFormat");
    refused(&json!({ "log_encoding": "x" }), "log_encoding");
    refused(&json!({ "span_attributes": "x" }), "span_attributes");
    refused(
        &attribute(&json!({ "key": "ai_log", "apply_to_log": true, "as_separate_log_field": true })),
        "attributes[0].key",
    );
    refused(
        &attribute(&json!({ "key": "k", "value_source": "request_body", "value": "a.#(b" })),
        "attributes[0].value",
    );
    refused(&attribute(&json!({ "key": [] })), "attributes[0].key");
    let told = |config: &Value, words: &str| {
        let lines = load_errors::<AiStatistics>(&config.to_string()).unwrap();
        assert!(lines.iter().any(|line| line.contains(words)), "{lines:?}");
    };
    told(&attribute(&json!({ "key": "k", "value_source": "nowhere" })), "unknown `value_source` `nowhere`");
    told(&attribute(&json!({ "key": "k", "value_source": "response_streaming_body" })), "without a `rule`");
    told(&json!({ "atributes": [] }), "is `attributes` meant?");
    let lenient =
        json!({ "use_default_attributes": "true", "enable_path_suffixes": "/x", "value_length_limit": "5" });
    assert_eq!(load_errors::<AiStatistics>(&lenient.to_string()), Ok(vec![]));
}

#[test]
fn the_configurations_of_the_readme_load_without_a_complaint() {
    let readme = include_str!("../README.md");
    let blocks: Vec<&str> =
        readme.split("```json\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(blocks.len(), 2);
    for block in blocks {
        assert_eq!(load_errors::<AiStatistics>(block), Ok(vec![]), "{block}");
    }
}

/// What an exchange of a busy worker asks of Envoy.
fn host_calls(config: &Value, script: impl Fn() -> Script) -> Vec<String> {
    let worker = Worker::<AiStatistics>::start(&config.to_string());
    // What is asked once in the life of a worker, such as a metric by its name, is not meant.
    let _ = worker.play(script());
    worker.play(script().at(&[500; 8])).envoy.host_calls.take()
}

/// Each is a step out of the VM and back; those that give something cost the most.
#[test]
fn an_exchange_asks_no_more_of_envoy_than_it_must() {
    let expected = [
        "pairs Request",
        "monotonic",
        "body Request",
        "pairs Response",
        "body Response",
        "monotonic",
        "property xds.route_name",
        "property upstream.request_attempt_count",
        "property xds.cluster_name",
        "add",
        "add",
        "add",
        "add",
        "add",
        "property ai_log",
        "set_property ai_log",
    ];
    assert_eq!(host_calls(&json!({}), || json_answer(chat(), &whole())), expected);

    let events = [delta("a"), json!({ "id": "c9", "model": "m7", "choices": [], "usage": usage() })];
    let calls = host_calls(&json!({}), || sse_answer(chat(), &events));
    // Three pieces, the time of the first one, and two counters of streams.
    assert_eq!(calls.len(), expected.len() + 2 + 1 + 2, "{calls:?}");

    // What is not counted needs no cluster.
    let calls = host_calls(&json!({ "disable_openai_usage": true }), || json_answer(chat(), &whole()));
    assert!(!calls.iter().any(|call| call == "add" || call == "property xds.cluster_name"), "{calls:?}");
}
