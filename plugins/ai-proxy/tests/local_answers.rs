//! What is answered without the vendor, in the dialect of the client: counts of tokens, and lists of models.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is the verdict")]

use ai_proxy::AiProxy;
use common::testkit::{Played, Script};
use serde_json::{Value, json};

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];
const COUNT: &str = "/ai/v1/messages/count_tokens?beta=true";

fn provider(kind: &str, more: &str) -> String {
    format!(r#"{{"provider":{{"type":"{kind}","apiTokens":["k"]{more}}}}}"#)
}

fn play(config: &str, script: Script) -> Played {
    common::testkit::play::<AiProxy>(config, script.answered(200, &JSON, [b"{}".to_vec()]))
}

/// The status and the body of what the plugin itself answers.
#[track_caller]
fn replied(played: &Played) -> (u16, Value) {
    let reply = played.replied();
    assert!(played.upstream.is_none());
    (reply.status, serde_json::from_slice(&reply.body).unwrap())
}

/// The tokens of a request, estimated.
#[track_caller]
fn counted(body: &Value) -> u64 {
    let played = play(&provider("openai", ""), Script::post(COUNT, body.to_string()));
    let (status, answer) = replied(&played);
    assert_eq!(status, 200, "{answer}");
    let header = ("x-ai-proxy-token-count", "estimated".to_owned());
    assert!(played.replied().headers.contains(&header));
    let count = answer["input_tokens"].as_u64().unwrap();
    assert_eq!(answer, json!({"input_tokens":count}));
    count
}

/// The tokens of a block beside those of an empty message.
#[track_caller]
fn of_block(block: &Value) -> u64 {
    let of = |content: Value| counted(&json!({"model":"m","messages":[{"role":"user","content":content}]}));
    of(json!([block])) - of(json!([]))
}

#[test]
fn the_tokens_of_a_message_are_estimated_where_nobody_counts_them() {
    let text = "Tell me something about rivers in Norway";
    let message = json!({"role":"user","content":text});
    let one = counted(&json!({"model":"m","messages":[message]}));
    assert!((9..=13).contains(&one), "{one}");
    let request = json!({"model":"m","system":[{"type":"text","text":text}],"messages":[message, message],
        "tools":[{"name":"t","description":text,"input_schema":{"type":"object","properties":{"a":{"type":"string"}}}}]});
    let more = counted(&request);
    assert!((45..=65).contains(&more), "{more}");
    assert_eq!(counted(&json!({"messages":[]})), 0);
    assert_eq!(counted(&json!({"system":null,"tools":null,"messages":[{"role":"user","content":null}]})), 4);
}

#[test]
fn each_kind_of_content_is_counted() {
    let text = "one two three four five";
    for (block, least, most) in [
        (json!({"type":"text","text":text}), 4, 6),
        (json!({"type":"image","source":{"type":"base64","data":"Q".repeat(9000)}}), 1000, 1000),
        (json!({"type":"document","title":"one","source":{"type":"text","data":text}}), 5, 7),
        (json!({"type":"document","source":{"type":"base64","data":"QQ=="}}), 2000, 2000),
        (json!({"type":"document","source":{"type":"base64","data":"Q".repeat(150 << 10)}}), 4000, 4000),
        (json!({"type":"document","source":{"type":"url","url":"u"}}), 2000, 2000),
        (
            json!({"type":"document","source":{"type":"content","content":[{"type":"text","text":text},{"type":"image"}]}}),
            1004,
            1006,
        ),
        (
            json!({"type":"search_result","title":"one","source":"two","content":[{"type":"text","text":text}]}),
            6,
            8,
        ),
        (json!({"type":"tool_use","id":"i","name":"one","input":{"two":"three"}}), 4, 7),
        (json!({"type":"tool_result","tool_use_id":"i","content":text}), 4, 6),
        (
            json!({"type":"tool_result","tool_use_id":"i","content":[{"type":"text","text":text},{"type":"image"}]}),
            1004,
            1006,
        ),
        (json!({"type":"thinking","thinking":text,"signature":"s"}), 0, 0),
        (json!({"type":"server_tool_use","input":text}), 6, 9),
        (json!({}), 0, 0),
    ] {
        let count = of_block(&block);
        assert!((least..=most).contains(&count), "{block}: {count}");
    }
}

#[test]
fn what_is_no_message_is_told_so_in_anthropics_shape() {
    let refused = |body: &str| {
        let (status, answer) = replied(&play(&provider("openai", ""), Script::post(COUNT, body)));
        assert_eq!((status, &answer["type"]), (400, &json!("error")), "{body}");
        assert_eq!(answer["error"]["type"], "invalid_request_error", "{body}");
        answer["error"]["message"].as_str().unwrap().to_owned()
    };
    refused("");
    refused("{");
    for (body, place) in [
        (json!({}), "messages: "),
        (json!({"messages":[7]}), "messages.0: "),
        (json!({"messages":[{"content":7}]}), "messages.0.content: "),
        (json!({"messages":[{"content":[7]}]}), "messages.0.content.0: "),
        (json!({"messages":[],"system":7}), "system: "),
        (json!({"messages":[],"tools":7}), "tools: "),
        (json!({"messages":[],"tools":[7]}), "tools.0: "),
    ] {
        let message = refused(&body.to_string());
        assert!(message.starts_with(place), "{body}: {message}");
    }
    let encoded = Script::post(COUNT, "{}").header("content-encoding", "gzip");
    assert_eq!(replied(&play(&provider("openai", ""), encoded)).0, 415);
    let get = Script::request("GET", "/v1/messages/count_tokens");
    assert!(play(&provider("openai", ""), get).upstream.is_some(), "only what has a body is answered");
}

#[test]
fn who_counts_or_takes_anything_is_asked() {
    let is_asked = |config: &str| {
        let played = play(config, Script::post(COUNT, r#"{"messages":[]}"#));
        assert!(played.upstream.is_some() || replied(&played).0 == 200);
        played.upstream.is_some()
    };
    for (kind, more, expected) in [
        ("openai", "", false),
        ("groq", "", false),
        ("vllm", "", false),
        ("deepseek", "", false),
        ("claude", "", true),
        ("generic", r#","genericHost":"h""#, true),
        ("openai", r#","protocol":"original""#, true),
        ("openai", r#","capabilities":{"anthropic/v1/messages/counttokens":"/count"}"#, true),
        ("openai", r#","openaiCustomUrl":"https://h/x/chat/completions""#, false),
    ] {
        assert_eq!(is_asked(&provider(kind, more)), expected, "{kind} {more}");
    }
    let off = provider("groq", r#","capabilities":{"anthropic/v1/messages/counttokens":""}"#);
    assert_eq!(replied(&play(&off, Script::post(COUNT, "{}"))).0, 404);
}

#[test]
fn models_of_the_configuration_are_listed_as_the_client_knows_lists() {
    let config = provider("groq", r#","modelMapping":{"a":"x","b":"y","c-*":"z"}"#);
    let get = |path: &str| Script::request("GET", path);
    let anthropic = |path: &str| get(path).header("anthropic-version", "2023-06-01");
    let model = |name: &str| json!({"type":"model","id":name,"display_name":name,"created_at":"1970-01-01T00:00:00Z"});
    let list = json!({"data":[model("a"), model("b")],"has_more":false,"first_id":"a","last_id":"b"});
    assert_eq!(replied(&play(&config, anthropic("/v1/models?limit=1000"))), (200, list));
    assert_eq!(replied(&play(&config, anthropic("/v1/models/b"))), (200, model("b")));
    let (status, error) = replied(&play(&config, anthropic("/v1/models/z")));
    assert_eq!((status, &error["error"]["type"]), (404, &json!("not_found_error")));

    let (status, list) = replied(&play(&config, get("/v1/models")));
    assert_eq!((status, &list["object"], &list["data"][1]["id"]), (200, &json!("list"), &json!("b")));
    let (status, error) = replied(&play(&config, get("/v1/models/z")));
    assert_eq!((status, &error["error"]["code"]), (404, &json!("model_not_found")));
}
