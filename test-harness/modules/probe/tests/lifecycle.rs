//! The driver's promises, played natively; `test-harness/tests/host_rules.rs` plays them on Envoy.

use common::filter::LogLevel;
use common::testkit::{Played, SHARED_LIMIT, Script, load_errors, play};
use probe::Probe;

fn run(config: &str, script: Script) -> Played {
    play::<Probe>(config, script)
}

fn post(body: &str) -> Script {
    Script::post("/v1/x", body)
}

fn chunks(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

const REPLACE: &str = r#"{"requestLimit":1000000,"requestBody":{"text":"new","times":1}}"#;

#[test]
fn a_replaced_request_body_leaves_with_its_own_length() {
    let played = run(REPLACE, post("something much longer"));
    assert_eq!(played.sent().text(), "new");
    assert_eq!(played.sent().header("content-length").as_deref(), Some("3"));
}

#[test]
fn a_body_in_single_bytes_is_seen_whole() {
    let bytes = b"abcdef".iter().map(|byte| vec![*byte]);
    let played = run(REPLACE, post("abcdef").chunks(bytes));
    assert_eq!(played.sent().text(), "new");
}

#[test]
fn a_head_only_request_is_not_held() {
    let played = run(REPLACE, Script::request("GET", "/"));
    assert!(played.upstream.is_some());
}

#[test]
fn trailers_end_a_request_body() {
    let played = run(REPLACE, post("abc").without("content-length").with_request_trailers());
    assert_eq!(played.sent().text(), "new");
}

#[test]
fn a_declared_length_over_the_limit_is_refused_at_once() {
    let config = r#"{"requestLimit":4,"requestBody":{"text":"n","times":1}}"#;
    let played = run(config, post("12345"));
    assert_eq!(played.replied().status, 413);
}

#[test]
fn a_body_that_outgrows_the_limit_is_refused() {
    let config = r#"{"requestLimit":4,"requestBody":{"text":"n","times":1}}"#;
    let played = run(config, post("12345").without("content-length"));
    assert_eq!(played.replied().status, 413);
}

#[test]
fn a_new_body_over_the_limit_is_never_written() {
    let config = format!(r#"{{"requestLimit":{SHARED_LIMIT},"requestBody":{{"text":"x","times":1048577}}}}"#);
    let played = run(&config, post("abc"));
    assert_eq!(played.replied().status, 413);
}

#[test]
fn a_body_over_the_limit_passes_where_the_filter_lets_it() {
    let config = r#"{"requestLimit":4,"requestPasses":true,"requestBody":{"text":"n","times":1}}"#;
    let pieces = || post("12345").chunks(chunks(&["123", "4", "5"]));
    for script in [post("12345"), pieces(), pieces().without("content-length")] {
        let played = run(config, script);
        assert_eq!(played.sent().text(), "12345");
        assert_eq!(played.sent().header("x-seen").as_deref(), Some("too large"));
    }
}

const WATCH: &str = r#"{"requestLimit":9,"requestUntil":"b|","requestBody":{"text":"new","times":1}}"#;

#[test]
fn a_watched_body_is_let_go_when_enough_was_seen() {
    let pieces = chunks(&["a", "ab", "|cd", "ef", "0123456789"]);
    let played = run(WATCH, post("aab|cdef0123456789").chunks(pieces));
    assert_eq!(played.sent().header("x-seen").as_deref(), Some("6"));
    assert_eq!(played.sent().chunks, chunks(&["aab|cd", "ef", "0123456789"]), "the rest is not held");
    assert_eq!(played.sent().header("content-length").as_deref(), Some("18"), "nor is its length a reason");
}

#[test]
fn a_watched_body_is_looked_at_even_if_its_first_piece_is_over_the_limit() {
    for end in [chunks(&["aab|cdef0123456789"]), chunks(&["a", "ab|cdef0123456789"])] {
        let played = run(WATCH, post("aab|cdef0123456789").chunks(end));
        assert_eq!(played.sent().header("x-seen").as_deref(), Some("9"), "as much as the limit is");
        assert_eq!(played.sent().text(), "aab|cdef0123456789");
    }
}

#[test]
fn a_watched_body_that_ends_first_is_seen_whole() {
    let pieces = || post("abc").chunks(chunks(&["a", "bc"]));
    for script in [pieces(), pieces().without("content-length").with_request_trailers()] {
        let played = run(WATCH, script);
        assert_eq!(played.sent().text(), "new");
        assert_eq!(played.sent().header("x-seen"), None);
    }
}

#[test]
fn a_watched_body_that_outgrows_the_limit_is_refused() {
    let played = run(WATCH, post("0123456789").chunks(chunks(&["0123456", "789"])));
    assert_eq!(played.replied().status, 413);
}

#[test]
fn an_upgrade_is_never_held() {
    let script = Script::request("GET", "/").header("upgrade", "websocket").chunks(chunks(&["frame"]));
    let played = run(REPLACE, script);
    assert_eq!(played.sent().text(), "frame");
}

const CALL: &str = r#"{"requestLimit":1000,"requestCall":{"cluster":"s","path":"/","timeoutMs":1},"requestBody":{"text":"n","times":2}}"#;

#[test]
fn a_call_holds_the_request_until_its_answer() {
    let played = run(CALL, post("abc").call_answer(200, "ok"));
    assert_eq!(played.sent().header("x-call").as_deref(), Some("200 ok"));
    assert_eq!(played.sent().text(), "nn");
}

#[test]
fn a_call_is_made_for_a_request_without_a_body_too() {
    let played = run(CALL, Script::request("GET", "/").call_answer(200, "ok"));
    assert_eq!(played.sent().header("x-call").as_deref(), Some("200 ok"));
}

#[test]
fn a_broken_call_is_told_as_a_failure() {
    let played = run(CALL, post("abc").call_broken());
    assert_eq!(played.sent().header("x-call").as_deref(), Some("failed empty"));
}

#[test]
fn a_call_that_cannot_start_is_told_at_once() {
    let played = run(CALL, post("abc").dead_cluster("s"));
    assert_eq!(played.sent().header("x-call").as_deref(), Some("failed bad argument"));
}

#[test]
fn a_reply_from_a_call_ends_the_request() {
    let config =
        r#"{"requestLimit":1000,"requestCall":{"cluster":"s","path":"/","reply":true,"timeoutMs":1}}"#;
    let played = run(config, post("abc").call_answer(403, "no"));
    assert_eq!(played.replied().status, 403);
    assert!(played.upstream.is_none());
}

fn answered(script: Script, texts: &[&str]) -> Script {
    let length: usize = texts.iter().map(|text| text.len()).sum();
    script.answered(
        200,
        &[("content-length", &length.to_string()), ("content-type", "text/plain")],
        chunks(texts),
    )
}

#[test]
fn a_whole_response_is_replaced_with_its_length() {
    let config = r#"{"response":"whole","responseLimit":1000,"responseBody":{"text":"new","times":2}}"#;
    let played = run(config, answered(Script::request("GET", "/"), &["abc", "def"]));
    let client = played.client.expect("a response");
    assert_eq!(client.text(), "newnew");
    assert_eq!(client.header("content-length").as_deref(), Some("6"));
}

#[test]
fn trailers_end_a_response_body() {
    let config = r#"{"response":"whole","responseLimit":1000,"responseBody":{"text":"new","times":2}}"#;
    let script = Script::request("GET", "/").answered(200, &[], chunks(&["abc"])).with_response_trailers();
    assert_eq!(run(config, script).client.expect("a response").text(), "newnew");
}

#[test]
fn a_response_over_the_limit_becomes_a_502() {
    let config = r#"{"response":"whole","responseLimit":4}"#;
    let played = run(config, answered(Script::request("GET", "/"), &["abc", "def"]));
    assert_eq!(played.replied().status, 502);
}

#[test]
fn a_streamed_response_is_rewritten_piece_by_piece() {
    let config = r#"{"response":"chunks","responseTail":"END"}"#;
    let client =
        run(config, answered(Script::request("GET", "/"), &["abc", "def"])).client.expect("a response");
    assert_eq!(client.chunks, chunks(&["ABC", "DEF", "END"]));
    assert_eq!(client.header("content-length"), None);
}

#[test]
fn a_head_only_response_is_not_held() {
    let config = r#"{"response":"whole","responseLimit":1000,"responseBody":{"text":"new","times":2}}"#;
    let script = Script::request("HEAD", "/").answered(204, &[], []);
    assert!(run(config, script).client.is_some());
}

#[test]
fn a_response_that_is_read_is_asked_for_unencoded() {
    let script = || Script::request("GET", "/").header("accept-encoding", "gzip");
    let read = run(r#"{"response":"whole","responseLimit":1000}"#, script());
    assert_eq!(read.sent().header("accept-encoding"), None);
    let unread = run("{}", script());
    assert_eq!(unread.sent().header("accept-encoding").as_deref(), Some("gzip"));
}

#[test]
fn our_own_reply_is_not_shown_to_the_filter() {
    let played = run(r#"{"reply":418,"response":"chunks"}"#, post("abc"));
    assert_eq!(played.replied().status, 418);
    assert_eq!(played.replied().body, b"{\"from\":\"probe\"}");
}

#[test]
fn the_end_is_told_once_and_says_how() {
    let ended = |played: &Played| {
        let log = played.logged(LogLevel::Info);
        log.into_iter().filter(|line| line.starts_with("probe: ended")).collect::<Vec<_>>()
    };
    let whole = run("{}", answered(Script::request("GET", "/"), &["abc"]));
    assert_eq!(ended(&whole), ["probe: ended Complete"]);
    let broken = run("{}", answered(Script::request("GET", "/"), &["abc"]).broken_off());
    assert_eq!(ended(&broken), ["probe: ended Aborted"]);
    let refused = run(r#"{"requestLimit":1}"#, post("abc"));
    assert_eq!(ended(&refused), ["probe: ended Replied"]);
}

#[test]
fn bytes_that_are_no_text_pass_in_headers() {
    let played = run(REPLACE, post("abc").header("x-odd", b"\xff\xfe"));
    assert!(played.sent().head.iter().any(|(_, value)| value == b"\xff\xfe"));
}

#[test]
fn a_route_lost_by_rewriting_is_reported() {
    let script = Script::request("GET", "/")
        .answered(404, &[], [])
        .property("response.code_details", "route_not_found");
    let played = run(r#"{"requestHeaders":{":authority":"api.example"}}"#, script);
    let lines = played.logged(LogLevel::Error);
    assert!(
        lines.iter().any(|line| line.contains("no route matches after the rewrite to api.example/")),
        "{lines:?}"
    );
}

#[test]
fn one_broken_rule_breaks_only_what_it_matches() {
    let config = r#"{"response":"pass","_rules_":[{"_match_route_":["bad"],"requestLimit":{}}]}"#;
    let lines = load_errors::<Probe>(config).expect("it loads");
    assert!(lines.iter().any(|line| line.contains("_rules_[0].requestLimit")), "{lines:?}");
    let bad = run(config, post("abc").property("xds.route_name", "bad"));
    assert_eq!(bad.replied().status, 500);
    assert!(String::from_utf8_lossy(&bad.replied().body).contains("plugin configuration error"));
    let good = run(config, post("abc").property("xds.route_name", "good"));
    assert!(good.upstream.is_some());
}

#[test]
fn a_wholly_bad_config_is_refused() {
    assert!(load_errors::<Probe>("[1]").is_err());
    assert!(load_errors::<Probe>(r#"{"requestLimit":{}}"#).is_err());
}
