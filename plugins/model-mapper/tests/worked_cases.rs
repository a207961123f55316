//! Worked cases of the behavioural specification, by their numbers: what the client sends, what goes upstream.
#![expect(clippy::expect_used, clippy::string_slice, reason = "in a test, a panic is the verdict")]

use common::filter::LogLevel;
use common::testkit::{Played, Script, load_errors};
use model_mapper::ModelMapper;

const A: &str = r#"{"modelMapping":{"claude-*":"sonnet-prod","claude-haiku":"haiku-prod","llama3:8b":"","*":"general-1"}}"#;
const B: &str =
    r#"{"modelKey":"input.model","modelMapping":{"a*":"A1","ab*":"A2"},"enableOnPathSuffix":["/infer"]}"#;
const C: &str = r#"{"modelMapping":{"":"fill-me","x":"x"}}"#;
const CHAT: &str = "/v1/chat/completions";

fn play(config: &str, script: Script) -> Played {
    common::testkit::play::<ModelMapper>(config, script)
}

/// The body that goes upstream for a POST of JSON, whole and in single bytes.
#[track_caller]
fn check(case: &str, config: &str, path: &str, body: &str, expected: &str) {
    let pieces = body.bytes().map(|byte| vec![byte]);
    let bytes = Script::post(path, body).chunks(pieces);
    let trailers = Script::post(path, body).without("content-length").with_request_trailers();
    for script in [Script::post(path, body), bytes, trailers] {
        assert_eq!(play(config, script).sent().text(), expected, "{case}");
    }
}

/// A request that leaves as it came, head and body.
#[track_caller]
fn untouched(case: &str, config: &str, script: Script) -> Played {
    let played = play(config, script.clone());
    let nothing_to_do = play(r#"{"enableOnPathSuffix":[]}"#, script);
    assert_eq!(played.sent().head, nothing_to_do.sent().head, "{case}");
    assert!(played.sent().body() == nothing_to_do.sent().body(), "{case}: another body");
    played
}

#[track_caller]
fn not_loaded(case: &str, config: &str, message: &str) {
    let error = load_errors::<ModelMapper>(config).expect_err(case);
    assert!(error.contains(message), "{case}: {error}");
}

fn counted(played: &Played) -> Vec<(String, i64)> {
    let mut metrics = played.envoy.metrics.borrow().clone();
    metrics.retain(|(name, _)| name.starts_with("model_mapper."));
    metrics
}

#[test]
fn w01_to_w05_names_are_mapped() {
    check("W1", A, CHAT, r#"{"model":"claude-haiku","n":1}"#, r#"{"model":"haiku-prod","n":1}"#);
    check("W2", A, CHAT, r#"{"model":"claude-opus"}"#, r#"{"model":"sonnet-prod"}"#);
    check("W3", A, CHAT, r#"{"model":"llama3:8b"}"#, r#"{"model":"llama3:8b"}"#);
    check("W4", A, CHAT, r#"{"model":"mistral"}"#, r#"{"model":"general-1"}"#);
    check("W5", A, CHAT, r#"{"messages":[]}"#, r#"{"messages":[],"model":"general-1"}"#);
}

#[test]
fn w06_to_w09_other_requests_are_left_alone() {
    untouched("W6", A, Script::request("GET", "/v1/models"));
    untouched("W6", A, Script::post("/v1/models", r#"{"model":"mistral"}"#));
    let body = r#"{"model":"mistral"}"#;
    check("W7", A, "/v1/chat/completions?x=/nope", body, r#"{"model":"general-1"}"#);
    untouched("W8", A, Script::post("/v1/chat/completions/", body));
    let played = untouched("W9", A, Script::post(CHAT, "not json"));
    assert_eq!(counted(&played), [("model_mapper.invalid_json".to_owned(), 1)]);
    assert!(played.logged(LogLevel::Info).is_empty());
}

#[test]
fn w10_null_is_no_model() {
    check("W10", A, CHAT, r#"{"model":null}"#, r#"{"model":"general-1"}"#);
}

#[test]
fn w11_every_other_byte_stays() {
    let body = "{ \"model\" : \"claude-x\",\n \"t\":1.50 }";
    check("W11", A, CHAT, body, "{ \"model\" : \"sonnet-prod\",\n \"t\":1.50 }");
}

#[test]
fn w12_to_w14_a_key_may_be_a_path_and_the_paths_are_those_given() {
    let body = r#"{"input":{"model":"abc"}}"#;
    check("W12", B, "/infer", body, r#"{"input":{"model":"A2"}}"#);
    let alphabetical = B.replace("{\"modelKey\"", "{\"prefixMatch\":\"alphabetical\",\"modelKey\"");
    check("W12", &alphabetical, "/infer", body, r#"{"input":{"model":"A1"}}"#);
    check("W13", B, "/infer", r#"{"q":1}"#, r#"{"q":1}"#);
    untouched("W14", B, Script::post("/v1/completions", body));
}

#[test]
fn w15_and_w16_an_absent_model_has_an_empty_name() {
    check("W15", C, CHAT, r#"{"k":1}"#, r#"{"k":1,"model":"fill-me"}"#);
    untouched("W16", C, Script::post(CHAT, r#"{"model":"x"}"#));
}

#[test]
fn w17_and_w18_what_has_no_readable_body_is_left_alone() {
    untouched("W17", A, Script::request("POST", CHAT).header("content-type", "application/json"));
    untouched("W18", A, Script::post(CHAT, "\x1f\x08gzip").header("content-encoding", "gzip"));
}

#[test]
fn w19_a_body_over_the_limit_passes_or_is_refused() {
    let body = format!(r#"{{"model":"mistral","pad":"{}"}}"#, "x".repeat(3 << 20));
    let played = untouched("W19", A, Script::post(CHAT, &body));
    assert_eq!(counted(&played), [("model_mapper.too_large".to_owned(), 1)]);
    let pieces = || body.as_bytes().chunks(1 << 18).map(<[u8]>::to_vec);
    untouched("W19, in pieces", A, Script::post(CHAT, &body).without("content-length").chunks(pieces()));
    let refusing = A.replacen('{', r#"{"rejectOversize":true,"#, 1);
    for script in [Script::post(CHAT, &body), Script::post(CHAT, &body).without("content-length")] {
        assert_eq!(play(&refusing, script).replied().status, 413, "W19");
    }
}

#[test]
fn w20_names_are_compared_in_their_case() {
    check("W20", A, CHAT, r#"{"model":"Claude-opus"}"#, r#"{"model":"general-1"}"#);
}

#[test]
fn w21_to_w24_wrong_types_are_refused() {
    not_loaded("W21", r#"{"modelMapping":"x"}"#, "modelMapping: expected an object");
    not_loaded("W22", r#"{"enableOnPathSuffix":"/a"}"#, "enableOnPathSuffix: expected a list");
    not_loaded("W23", r#"{"modelMapping":{"a":7}}"#, "modelMapping.a: expected a string");
    not_loaded("W23", r#"{"modelMapping":{"a":null}}"#, "modelMapping.a");
    not_loaded(
        "prefixMatch",
        r#"{"prefixMatch":"short"}"#,
        "prefixMatch: expected `longest` or `alphabetical`",
    );
    untouched("W24", r#"{"modelMapping":{"*":"m"},"enableOnPathSuffix":[]}"#, Script::post(CHAT, "{}"));
}

#[test]
fn w25_a_rule_is_for_its_route_and_takes_nothing_from_the_global_part() {
    let rule =
        format!(r#"{{"_rules_":[{},"_match_route_":["r1"]}}]}}"#, A.strip_suffix('}').unwrap_or_default());
    let on = |route: &str| Script::post(CHAT, r#"{"model":"mistral"}"#).property("xds.route_name", route);
    untouched("W25", &rule, on("r2"));
    assert_eq!(play(&rule, on("r1")).sent().text(), r#"{"model":"general-1"}"#);
    let both = r#"{"modelMapping":{"*":"global"},"enableOnPathSuffix":["/x"],
        "_rules_":[{"_match_route_":["r1"],"modelMapping":{"a":"b"}}]}"#;
    untouched("W25", both, on("r1"));
    assert_eq!(play(both, Script::post("/x", "{}")).sent().text(), r#"{"model":"global"}"#);
}

#[test]
fn names_are_compared_as_texts_whatever_their_spelling() {
    let config = r#"{"modelMapping":{"gpt/4:x":"ünï/\"q\"","名":"n"}}"#;
    check("escapes", config, CHAT, r#"{"model":"\u0067pt\/4:x"}"#, r#"{"model":"ünï/\"q\""}"#);
    check("UTF-8", config, CHAT, r#"{"model":"名"}"#, r#"{"model":"n"}"#);
}

#[test]
fn of_two_models_the_first_is_read_and_both_are_replaced() {
    check(
        "both",
        A,
        CHAT,
        r#"{"model":"claude-x","model":"o1"}"#,
        r#"{"model":"sonnet-prod","model":"sonnet-prod"}"#,
    );
    // The first may stay, and the second must not go past the mapping.
    check(
        "second",
        A,
        CHAT,
        r#"{"model":"llama3:8b","model":"o1"}"#,
        r#"{"model":"llama3:8b","model":"llama3:8b"}"#,
    );
    check(
        "nested",
        A,
        CHAT,
        r#"{"a":{"model":"o1"},"model":"claude-x"}"#,
        r#"{"a":{"model":"o1"},"model":"sonnet-prod"}"#,
    );
}

#[test]
fn what_is_no_name_hides_none_that_is() {
    for first in ["1", "true", "null", "[]", r#"{"model":"x"}"#, r#""\ud800""#] {
        let body = |name: &str| format!(r#"{{"model":{first},"model":"{name}"}}"#);
        let both = |name: &str| format!(r#"{{"model":"{name}","model":"{name}"}}"#);
        check("mapped", A, CHAT, &body("o1"), &both("general-1"));
        check("kept", A, CHAT, &body("llama3:8b"), &both("llama3:8b"));
    }
}

/// What the README says of forms that are let go.
#[test]
fn a_second_model_of_a_form_is_seen_only_if_the_first_is_changed() {
    let two = |first: &str, second: &str| {
        let field = form(second).replace("name=\"file\"; filename=\"a\"", "name=\"other\"");
        format!("{}{field}", form(first).trim_end_matches("--b--\r\n"))
    };
    let changed = play(A, upload(&two("claude-3", "o1"))).sent().text();
    assert_eq!(changed, two("sonnet-prod", "sonnet-prod"));
    untouched("kept", A, upload(&two("llama3:8b", "o1")));
    let whole = Script::post("/v1/audio/transcriptions", two("llama3:8b", "o1"))
        .without("content-type")
        .header("content-type", "multipart/form-data; boundary=b");
    assert_eq!(play(A, whole).sent().text(), two("llama3:8b", "llama3:8b"), "it came at once");
}

#[test]
fn what_is_no_name_is_left_as_it_is() {
    for value in ["7", "true", "{}", "[\"claude-x\"]", r#""\ud800""#] {
        let played = untouched("type", A, Script::post(CHAT, format!(r#"{{"model":{value}}}"#)));
        assert_eq!(played.logged(LogLevel::Warn).len(), 1, "{value}");
        assert_eq!(counted(&played), [("model_mapper.unchanged".to_owned(), 1)], "{value}");
    }
    for body in ["[]", "7", "\"text\"", "{", "{\"model\":\"claude-x\"", "\u{feff}{}"] {
        untouched("not an object", A, Script::post(CHAT, body));
    }
}

#[test]
fn regexes_stand_between_prefixes_and_the_star() {
    let config = r#"{"modelMapping":{"*":"rest","~^o(\\d)-":"omni-${1}-","o1-p*":"pro"}}"#;
    check("regex", config, CHAT, r#"{"model":"o3-mini"}"#, r#"{"model":"omni-3-mini"}"#);
    check("prefix", config, CHAT, r#"{"model":"o1-pro"}"#, r#"{"model":"pro"}"#);
    check("star", config, CHAT, r#"{"model":"x"}"#, r#"{"model":"rest"}"#);
}

#[test]
fn every_path_is_meant_by_a_star_and_by_an_empty_suffix() {
    for any in ["*", ""] {
        let config = format!(r#"{{"modelMapping":{{"*":"m"}},"enableOnPathSuffix":["{any}"]}}"#);
        check("any path", &config, "/whatever", "{}", r#"{"model":"m"}"#);
    }
}

#[test]
fn every_path_of_the_default_list_is_read() {
    for path in [
        "/v1/chat/completions",
        "/beta/v1/completions",
        "/v1/embeddings",
        "/v1/images/generations",
        "/v1/audio/speech",
        "/v1/fine_tuning/jobs",
        "/v1/moderations",
        "/services/aigc/image-synthesis",
        "/services/aigc/video-synthesis",
        "/v1/rerank",
        "/v1/messages",
        "/v1/responses",
        "/v1/images/edits",
        "/v1/images/variations",
        "/v1/audio/transcriptions",
        "/v1/audio/translations",
        "/v1/videos",
    ] {
        check(path, A, path, r#"{"model":"x"}"#, r#"{"model":"general-1"}"#);
    }
}

#[test]
fn the_content_type_says_what_is_read() {
    let with = |kind: &str| {
        Script::post(CHAT, r#"{"model":"x"}"#).without("content-type").header("content-type", kind)
    };
    for json in ["application/json; charset=utf-8", "Application/JSON", "application/vnd.api+json"] {
        assert_eq!(play(A, with(json)).sent().text(), r#"{"model":"general-1"}"#, "{json}");
    }
    for other in ["text/plain", "application/octet-stream", "application/grpc", "multipart/form-data"] {
        untouched(other, A, with(other));
    }
    let listed = A.replacen('{', r#"{"contentTypes":["text/plain"],"#, 1);
    assert_eq!(play(&listed, with("text/plain")).sent().text(), r#"{"model":"general-1"}"#);
    untouched("not listed", &listed, with("application/json"));
}

#[test]
fn a_body_without_a_type_is_read_if_it_begins_like_an_object() {
    let untyped = |body: &str| Script::post(CHAT, body).without("content-type");
    assert_eq!(play(A, untyped(" {\"model\":\"x\"}")).sent().text(), " {\"model\":\"general-1\"}");
    let played =
        untouched("text", A, untyped("").chunks([b" x".to_vec(), b"yz".to_vec()]).without("content-length"));
    assert_eq!(played.sent().chunks.len(), 2, "what is none is not held");
    untouched(
        "not listed",
        &A.replacen('{', r#"{"contentTypes":["multipart/form-data"],"#, 1),
        untyped("{}"),
    );
}

fn form(model: &str) -> String {
    format!(
        "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n{model}\r\n--b\r\n\
         Content-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n\0{{\"model\":\"x\"}}\r\n--b--\r\n"
    )
}

fn upload(body: &str) -> Script {
    let pieces = body.as_bytes().chunks(7).map(<[u8]>::to_vec);
    Script::post("/v1/audio/transcriptions", body)
        .without("content-type")
        .header("content-type", "multipart/form-data; boundary=b")
        .chunks(pieces)
}

#[test]
fn the_model_of_a_form_is_mapped_in_its_place() {
    assert_eq!(play(A, upload(&form("claude-3"))).sent().text(), form("sonnet-prod"));
    let kept = untouched("kept", A, upload(&form("llama3:8b")));
    assert!(kept.sent().chunks.len() > 10, "what is kept is not held to its end");
    let without = form("x").replace("\"model\"\r\n", "\"n\"\r\n");
    let text = play(A, upload(&without)).sent().text();
    assert!(text.contains("name=\"model\"\r\n\r\ngeneral-1\r\n--b--"), "{text}");
    let twice = format!("{}{}", form("claude-3").trim_end_matches("--b--\r\n"), form("o1"));
    assert_eq!(
        play(A, upload(&twice)).sent().text(),
        twice.replace("claude-3", "sonnet-prod").replace("\no1\r", "\nsonnet-prod\r")
    );
}

#[test]
fn a_form_that_is_none_passes() {
    for broken in ["no form", "--b\r\nno field\r\n\r\nx\r\n--b--", &form("claude-3").replace("--b--", "--b")]
    {
        let played = untouched("broken", A, upload(broken));
        assert_eq!(counted(&played), [("model_mapper.invalid_json".to_owned(), 1)], "{broken:?}");
    }
    untouched("long", A, upload(&form(&"m".repeat(1025))));
}

#[test]
fn a_large_upload_passes_if_its_model_must_change() {
    let small = A.replacen('{', r#"{"maxBodyBytes":100,"#, 1);
    untouched("too large", &small, upload(&form("claude-3")));
    assert_eq!(
        play(&A.replacen('{', r#"{"maxBodyBytes":100,"rejectOversize":true,"#, 1), upload(&form("claude-3")))
            .replied()
            .status,
        413
    );
}

#[test]
fn a_new_name_that_makes_the_body_too_large_is_not_written() {
    let body = r#"{"model":"mistral"}"#;
    let config = |more: &str| A.replacen('{', &format!(r#"{{"maxBodyBytes":{},{more}"#, body.len()), 1);
    let played = untouched("longer", &config(""), Script::post(CHAT, body));
    assert_eq!(counted(&played), [("model_mapper.too_large".to_owned(), 1)]);
    assert_eq!(play(&config(r#""rejectOversize":true,"#), Script::post(CHAT, body)).replied().status, 413);
    let shorter = r#"{"model":"claude-haiku-"}"#;
    check("shorter", &config(""), CHAT, &shorter[..19], &shorter[..19]);
}

#[test]
fn the_mapping_is_shown_to_access_logs_on_request() {
    let script = || Script::post(CHAT, r#"{"model":"mistral"}"#);
    let property = |played: &Played| played.envoy.properties.borrow().get("model_mapper").cloned();
    assert_eq!(property(&play(A, script())), None);
    let played = play(&A.replacen('{', r#"{"logMapping":true,"#, 1), script());
    assert_eq!(property(&played).as_deref(), Some(&b"mistral->general-1"[..]));
    assert_eq!(counted(&played), [("model_mapper.mapped".to_owned(), 1)]);
    assert!(played.logged(LogLevel::Info).is_empty(), "both names are for debugging");
}

#[test]
fn an_upgrade_and_an_empty_body_are_left_alone() {
    untouched(
        "upgrade",
        A,
        Script::request("GET", CHAT).header("upgrade", "websocket").chunks([b"{}".to_vec()]),
    );
    untouched("empty", A, Script::post(CHAT, "").chunks([Vec::new()]));
}

#[test]
fn a_bad_rule_leaves_its_requests_alone_and_says_so() {
    let config = r#"{"modelMapping":{"*":"m"},"_rules_":[{"_match_route_":["r1"],"modelMapping":7}]}"#;
    let lines = load_errors::<ModelMapper>(config).unwrap_or_default();
    assert!(
        lines.len() == 1 && lines.iter().all(|line| line.contains("_rules_[0].modelMapping")),
        "{lines:?}"
    );
    untouched("broken", config, Script::post(CHAT, "{}").property("xds.route_name", "r1"));
    check("others", config, CHAT, "{}", r#"{"model":"m"}"#);
}

#[test]
fn an_unknown_key_is_named_and_an_empty_configuration_is_one() {
    let lines = load_errors::<ModelMapper>(r#"{"modelMaping":{}}"#).unwrap_or_default();
    assert!(lines.iter().any(|line| line.contains("is `modelMapping` meant?")), "{lines:?}");
    assert_eq!(load_errors::<ModelMapper>("{}"), Ok(Vec::new()));
    untouched("nothing to map", "{}", Script::post(CHAT, r#"{"model":"a","model":"b"}"#));
}
