//! What becomes of a chat depends on the model of Claude that is asked: how it is told to think, how much it may say where
//! nobody limits it, and what it refuses.
#![expect(clippy::unwrap_used, reason = "a panic is the verdict")]

use ai_proxy::AiProxy;
use common::testkit::Script;
use serde_json::{Value, json};

const ANSWER: &str = r#"{"id":"i","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"A"}],"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":1}}"#;

/// What goes upstream, and what is named as dropped, with these settings of the provider.
fn sent(settings: &Value, model: &str, members: &Value) -> (Value, String) {
    let mut provider = json!({"type":"claude","apiTokens":["k"]});
    provider.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    let mut body = json!({"model":model,"messages":[{"role":"user","content":"q"}]});
    body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    let script = Script::post("/v1/chat/completions", body.to_string());
    let script = script.answered(200, &[("content-type", "application/json")], [ANSWER.into()]);
    let played = common::testkit::play::<AiProxy>(&json!({ "provider": provider }).to_string(), script);
    let dropped = played.client.as_ref().unwrap().header("x-ai-proxy-dropped").unwrap_or_default();
    (serde_json::from_slice(&played.sent().body()).unwrap(), dropped)
}

/// What this model is told beside what every one is, and what is named as dropped.
fn told(model: &str, members: &Value) -> (Value, String) {
    let (mut sent, dropped) = sent(&json!({}), model, members);
    for name in ["model", "messages", "max_tokens", "tools"] {
        sent.as_object_mut().unwrap().remove(name);
    }
    (sent, dropped)
}

#[track_caller]
fn check(model: &str, members: &Value, expected: &Value, dropped: &str) {
    assert_eq!(told(model, members), (expected.clone(), dropped.to_owned()), "{model}: {members}");
}

fn adaptive(effort: &str) -> Value {
    json!({"thinking":{"type":"adaptive","display":"summarized"},"output_config":{"effort":effort}})
}

#[test]
fn a_model_is_told_to_think_as_it_knows_it() {
    let ask = |effort: &str| json!({ "reasoning_effort": effort });
    check("claude-3-5-sonnet-20241022", &ask("high"), &json!({}), "reasoning_effort");
    let budget = json!({"thinking":{"type":"enabled","budget_tokens":16_384}});
    for model in
        ["claude-3-7-sonnet-latest", "claude-sonnet-4-20250514", "us.anthropic.claude-opus-4-5-20251101-v1:0"]
    {
        check(model, &ask("high"), &budget, "");
    }
    let plain = |effort: &str| json!({"thinking":{"type":"adaptive"},"output_config":{"effort":effort}});
    for model in ["claude-opus-4-6", "anthropic/claude-sonnet-4.6"] {
        for (effort, expected) in [("minimal", "low"), ("medium", "medium"), ("xhigh", "max"), ("max", "max")]
        {
            check(model, &ask(effort), &plain(expected), "");
        }
    }
    for model in
        ["claude-opus-4-7", "claude-sonnet-5", "claude-opus-5-5", "claude-fable-5-1", "claude-mythos-preview"]
    {
        for (effort, expected) in [
            ("minimal", "low"),
            ("low", "low"),
            ("medium", "medium"),
            ("high", "high"),
            ("xhigh", "xhigh"),
            ("max", "max"),
        ] {
            check(model, &ask(effort), &adaptive(expected), "");
        }
        check(model, &json!({"reasoning":{"effort":"high"}}), &adaptive("high"), "");
        // A budget, which it does not know, stands for an effort.
        check(model, &json!({"reasoning_max_tokens":9000}), &adaptive("medium"), "");
        check(model, &json!({"reasoning":{"max_tokens":60_000}}), &adaptive("xhigh"), "");
        check(model, &json!({}), &json!({}), "");
    }
    check(
        "claude-opus-latest",
        &ask("low"),
        &json!({"thinking":{"type":"enabled","budget_tokens":1024}}),
        "",
    );
}

#[test]
fn what_the_client_says_in_the_vendors_words_wins() {
    let own = json!({"output_config":{"effort":"max"},"reasoning_effort":"low"});
    let mut expected = adaptive("max");
    check("claude-opus-5", &own, &expected, "");
    let format = json!({"type":"json_schema","schema":{"type":"object","additionalProperties":false}});
    expected["output_config"] = json!({"format":format,"effort":"low"});
    check(
        "claude-opus-5",
        &json!({"output_config":{"format":format},"reasoning_effort":"low"}),
        &expected,
        "",
    );
    let response_format = json!({"type":"json_schema","json_schema":{"schema":format["schema"]}});
    check(
        "claude-opus-5",
        &json!({"response_format":response_format,"reasoning_effort":"low"}),
        &expected,
        "",
    );
    let own = json!({"thinking":{"type":"adaptive","display":"omitted"}});
    check("claude-opus-5", &json!({"thinking":own["thinking"],"reasoning_effort":"low"}), &own, "");
    let own = json!({"thinking":{"type":"enabled","budget_tokens":2000}});
    check("claude-opus-4-6", &own, &own, "");
}

#[test]
fn a_model_is_told_not_to_think_if_it_would() {
    let none = json!({"reasoning_effort":"none"});
    for model in ["claude-3-5-haiku-latest", "claude-sonnet-4-5", "claude-opus-4-6", "claude-opus-4-8"] {
        check(model, &none, &json!({}), "");
    }
    for model in ["claude-sonnet-5", "claude-opus-5", "claude-haiku-5-5"] {
        check(model, &none, &json!({"thinking":{"type":"disabled"}}), "");
    }
    check("claude-sonnet-5-5", &none, &json!({"thinking":{"type":"between_tools"}}), "");
    for model in ["claude-opus-5-5", "claude-fable-5", "claude-mythos-preview"] {
        check(model, &none, &json!({"output_config":{"effort":"low"}}), "");
    }
}

#[test]
fn an_answer_goes_on_with_thinking_where_it_may() {
    let call = json!({"id":"c","type":"function","function":{"name":"f","arguments":"{}"}});
    let thoughts = json!([{"type":"thinking","thinking":"T","signature":"s"}]);
    let goes_on = |model: &str, effort: &str, thoughts: &Value| {
        let members = json!({"reasoning_effort":effort,"messages":[{"role":"user","content":"q"},
            {"role":"assistant","content":null,"tool_calls":[call],"thinking_blocks":thoughts},
            {"role":"tool","tool_call_id":"c","content":"r"}]});
        let (sent, dropped) = sent(&json!({}), model, &members);
        let repeats = sent["messages"][1]["content"][0]["type"] == "thinking";
        (sent["thinking"]["type"].clone(), repeats, dropped)
    };
    assert_eq!(
        goes_on("claude-sonnet-4-5", "low", &json!([])),
        (json!(null), false, "reasoning_effort".into())
    );
    assert_eq!(goes_on("claude-opus-4-6", "low", &json!([])), (json!("adaptive"), false, String::new()));
    assert_eq!(goes_on("claude-opus-5-5", "low", &thoughts), (json!("adaptive"), true, String::new()));
    assert_eq!(goes_on("claude-opus-5-5", "none", &thoughts), (json!(null), true, String::new()));
    assert_eq!(
        goes_on("claude-sonnet-5-5", "none", &thoughts),
        (json!("between_tools"), true, String::new())
    );
    assert_eq!(goes_on("claude-opus-5", "none", &thoughts), (json!("disabled"), false, String::new()));
}

#[test]
fn how_to_choose_words_is_told_to_models_that_take_it() {
    let all = json!({"temperature":0.5,"top_p":0.9,"top_k":4});
    check("claude-sonnet-4-20250514", &all, &all, "");
    check("claude-opus-4-6", &all, &json!({"temperature":0.5,"top_k":4}), "top_p");
    for model in ["claude-opus-4-7", "claude-sonnet-5", "claude-mythos-preview"] {
        check(model, &all, &json!({}), "temperature, top_p, top_k");
        check(model, &json!({"temperature":1,"top_p":1}), &json!({}), "");
        check(model, &json!({"temperature":0,"top_p":1.0}), &json!({}), "temperature");
    }
}

#[test]
fn a_model_is_made_to_call_a_tool_if_it_can_be() {
    let ask = |effort: Option<&str>| json!({"tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":"required","reasoning_effort":effort});
    for (model, effort, kind) in [
        ("claude-sonnet-4-5", None, "any"),
        ("claude-sonnet-4-5", Some("low"), "auto"),
        ("claude-opus-4-6", Some("low"), "any"),
        ("claude-opus-5", None, "any"),
        ("claude-sonnet-5-5", None, "auto"),
        ("claude-opus-5-5", Some("low"), "auto"),
        ("claude-haiku-5-5", Some("low"), "any"),
    ] {
        let (told, dropped) = told(model, &ask(effort));
        assert_eq!(told["tool_choice"]["type"], kind, "{model}");
        assert_eq!(dropped, if kind == "any" { "" } else { "tool_choice" }, "{model}");
    }
}

#[test]
fn how_much_may_be_said_where_nobody_limits_it() {
    let most =
        |model: &str, members: Value| sent(&json!({}), model, &members).0["max_tokens"].as_u64().unwrap();
    for (model, expected) in [
        ("claude-3-opus-20240229", 4096),
        ("claude-3-5-sonnet-20241022", 8192),
        ("claude-3-7-sonnet-latest", 32_000),
        ("claude-opus-4-1-20250805", 32_000),
        ("claude-fable-5-1", 32_000),
        ("m", 4096),
    ] {
        assert_eq!(most(model, json!({})), expected, "{model}");
        assert_eq!(most(model, json!({"max_tokens":7})), 7, "{model}");
    }
    assert_eq!(most("claude-opus-5", json!({"reasoning_effort":"max"})), 32_000);
    // Thinking leaves room for an answer, within what the model takes.
    let (sent, _) = sent(&json!({}), "claude-opus-4-1", &json!({"reasoning_effort":"max"}));
    assert_eq!((&sent["max_tokens"], &sent["thinking"]["budget_tokens"]), (&json!(32_000), &json!(27_904)));
    let own = json!({"thinking":{"type":"enabled","budget_tokens":40_000}});
    assert_eq!(most("claude-sonnet-4-5", own), 44_096);
}

#[test]
fn an_operator_may_say_how_much() {
    let setting =
        |name: &str, value: Value| json!({"customSettings":[{"name":name,"value":value,"overwrite":false}]});
    let most = |settings: &Value, members: Value| {
        sent(settings, "claude-opus-4-1", &members).0["max_tokens"].clone()
    };
    let limit = setting("max_tokens", json!(9000));
    assert_eq!(most(&limit, json!({})), 9000);
    assert_eq!(most(&limit, json!({"max_tokens":7})), 7);
    assert_eq!(most(&limit, json!({"max_completion_tokens":8})), 8);
    let (thinking, _) = sent(&limit, "claude-opus-4-1", &json!({"reasoning_effort":"high"}));
    assert_eq!(
        (&thinking["max_tokens"], &thinking["thinking"]["budget_tokens"]),
        (&json!(9000), &json!(8999))
    );
    // What the model refuses is left out, whoever wants it.
    let warm = setting("temperature", json!(0.3));
    assert_eq!(sent(&warm, "claude-sonnet-4-5", &json!({})).0["temperature"], 0.3);
    let (sent, dropped) = sent(&warm, "claude-opus-5", &json!({}));
    assert_eq!((sent.get("temperature"), &*dropped), (None, "temperature"));
}
