//! The driver's promises, played natively; `test-harness/tests/host_rules.rs` plays them on Envoy.

use std::rc::Rc;
use std::time::Duration;

use common::filter::LogLevel;
use common::filter::driver::{Action, Exchange, Plugin};
use common::testkit::{FakeEnvoy, Played, SHARED_LIMIT, Script, Worker, load_errors, play};
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
fn an_upgrade_that_brings_a_body_is_refused() {
    let played = run(REPLACE, post("something to hide").header("upgrade", "websocket"));
    assert_eq!(played.replied().status, 400);
    assert!(played.upstream.is_none());
}

#[test]
fn a_call_holds_the_request_until_its_answer() {
    let played = run(CALL, post("abc").call_answer(200, "ok"));
    assert_eq!(played.sent().header("x-call").as_deref(), Some("200 ok"));
    assert_eq!(played.sent().text(), "nn");
}

#[test]
fn a_request_goes_on_while_its_early_answer_waits_for_a_call() {
    let envoy = FakeEnvoy::default();
    let config = br#"{"response":"whole","responseLimit":100,"responseCall":{"cluster":"s","path":"/","timeoutMs":9}}"#;
    let plugin = Plugin::<Probe>::configure(config, &|_| None, &envoy).unwrap();
    let mut exchange = Exchange::new(Rc::new(plugin));
    assert_eq!(exchange.request_head(&envoy, false), Action::Continue);
    assert_eq!(exchange.response_head(&envoy, true), Action::Pause);
    assert_eq!(envoy.calls.borrow().len(), 1);
    assert_eq!(exchange.request_body(&envoy, 10, false), Action::Continue);
    assert_eq!(exchange.request_trailers(&envoy), Action::Continue);
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

const CHUNKS: &str = r#"{"requestChunks":true,"requestBody":{"text":"","times":0}}"#;

#[test]
fn a_request_body_is_rewritten_as_it_comes() {
    let played = run(CHUNKS, post("").chunks(chunks(&["ax", "-", "b"])));
    assert_eq!(played.sent().chunks, chunks(&["axx", "b", "end"]));
    assert_eq!(played.sent().header("content-length"), None);
    let whole = run(r#"{"requestChunks":true}"#, post("untouched"));
    assert_eq!(whole.sent().text(), "untouched");
    let none = run(CHUNKS, Script::request("GET", "/"));
    assert!(none.upstream.is_some());
    let tunnel =
        run(CHUNKS, Script::request("GET", "/").header("upgrade", "websocket").chunks(chunks(&["x"])));
    assert_eq!(tunnel.sent().text(), "x");
}

#[test]
fn a_piece_of_any_size_is_rewritten() {
    let size = 1 << 20;
    for at in [0, 1, 65_535, 65_536, 300_000, size - 1] {
        let mut body = vec![b'a'; size];
        body[at] = b'x';
        let played = run(r#"{"requestChunks":true}"#, post("").chunks([body.clone(), b"-".to_vec()]));
        body.insert(at, b'x');
        assert!(played.sent().body() == body, "{at}");
    }
    let all = run(CHUNKS, post("").chunks([vec![b'x'; size]]));
    assert!(all.sent().body() == [vec![b'x'; 2 * size], b"end".to_vec()].concat());
    let none = run(CHUNKS, post("").chunks([vec![b'-'; size]]));
    assert_eq!(none.sent().text(), "end");
    let streamed =
        run(r#"{"response":"chunks"}"#, answered(Script::request("GET", "/"), &["a", &"b".repeat(size), ""]));
    assert!(streamed.client.unwrap().text() == ["A", &"B".repeat(size)].concat());
}

#[test]
fn a_fault_in_a_request_body_is_answered_though_its_head_has_left() {
    let played = run(CHUNKS, post("").chunks(chunks(&["a", "!", "x"])));
    assert_eq!(played.replied().status, 400);
}

#[test]
fn a_rewritten_request_body_may_end_with_trailers() {
    let played = run(
        r#"{"requestChunks":true}"#,
        post("").without("content-length").chunks(chunks(&["x"])).with_request_trailers(),
    );
    assert_eq!(played.sent().text(), "xx");
    let lost = run(CHUNKS, post("").without("content-length").chunks(chunks(&["x"])).with_request_trailers());
    assert_eq!(lost.replied().status, 500, "what cannot be sent any more is not left out in silence");
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

/// What the probe saw of bodies that passed.
fn observed(script: Script) -> (Played, Vec<String>) {
    let played = run(r#"{"requestObserved":true,"response":"observed"}"#, script);
    let lines = played.logged(LogLevel::Info);
    let lines = lines.into_iter().filter_map(|line| Some(line.strip_prefix("probe: saw ")?.to_owned()));
    let lines = lines.collect();
    (played, lines)
}

#[test]
fn an_observed_body_passes_as_it_came_and_every_piece_is_seen_once() {
    let script = answered(post("").chunks(chunks(&["ab", "c"])).without("content-length"), &["12", "345"]);
    let (played, lines) = observed(script);
    assert_eq!(played.sent().chunks, chunks(&["ab", "c"]));
    assert_eq!(played.client.as_ref().unwrap().chunks, chunks(&["12", "345"]));
    assert_eq!(
        lines,
        [
            "2 bytes of the request, end false",
            "1 bytes of the request, end false",
            "0 bytes of the request, end true",
            "2 bytes of the response, end false",
            "3 bytes of the response, end false",
            "0 bytes of the response, end true",
        ]
    );
}

#[test]
fn trailers_end_an_observed_body() {
    let script = answered(post("abc").without("content-length").with_request_trailers(), &["1"]);
    let (_, lines) = observed(script.with_response_trailers());
    assert_eq!(
        lines,
        [
            "3 bytes of the request, end false",
            "0 bytes of the request, end true",
            "1 bytes of the response, end false",
            "0 bytes of the response, end true",
        ]
    );
}

#[test]
fn a_large_piece_is_observed_in_slices() {
    let (played, lines) = observed(post(&"x".repeat(150_000)));
    assert_eq!(played.sent().chunks.len(), 1);
    assert_eq!(lines[..2], ["65536 bytes of the request, end false"; 2]);
    assert_eq!(lines[2..], ["18928 bytes of the request, end false", "0 bytes of the request, end true"]);
}

#[test]
fn what_has_no_body_or_is_a_tunnel_is_not_observed() {
    let (_, lines) = observed(Script::request("GET", "/").answered(204, &[], []));
    assert_eq!(lines, Vec::<String>::new());
    let (_, lines) = observed(post("abc").header("upgrade", "websocket"));
    assert_eq!(lines, Vec::<String>::new());
}

/// The response is asked about only when the service has answered.
fn head_call(more: &str) -> String {
    format!(
        r#"{{"responseLimit":1000,{more},"responseHeadCall":{{"cluster":"s","path":"/","timeoutMs":1}}}}"#
    )
}

/// The service's answer takes the place of the response.
fn taking(response: &str) -> String {
    format!(
        r#"{{"responseLimit":1000,"response":"{response}","responseTail":"!","responseBody":{{"text":"new","times":1}},
            "responseHeadCall":{{"cluster":"s","path":"/","take":true,"timeoutMs":1}}}}"#
    )
}

fn failed(pieces: &[&str]) -> Script {
    let length: usize = pieces.iter().map(|piece| piece.len()).sum();
    Script::request("GET", "/").answered(503, &[("content-length", &length.to_string())], chunks(pieces))
}

#[test]
fn a_response_goes_on_as_the_filter_says_when_its_call_is_answered_however_late() {
    for late in 0..4 {
        let script = || failed(&["abc", "def"]).call_answer(200, "ok").call_answers_after(late);
        let passed = run(&head_call(r#""response":"pass""#), script()).client.expect("a response");
        assert_eq!(passed.header("x-call").as_deref(), Some("200 ok"), "{late}");
        assert_eq!(passed.header(":status").as_deref(), Some("503"), "{late}");
        assert_eq!(passed.text(), "abcdef", "{late}");

        let whole = head_call(r#""response":"whole","responseBody":{"text":"new","times":1}"#);
        let whole = run(&whole, script()).client.expect("a response");
        assert_eq!((whole.text().as_str(), whole.header("content-length").as_deref()), ("new", Some("3")));

        let streamed = head_call(r#""response":"chunks","responseTail":"!""#);
        let streamed = run(&streamed, script()).client.expect("a response");
        assert_eq!(
            (streamed.text().as_str(), streamed.header("content-length")),
            ("ABCDEF!", None),
            "{late}"
        );
    }
}

#[test]
fn an_observed_response_is_seen_whole_though_it_waited_for_a_call_or_is_another_answer() {
    for late in 0..4 {
        let script = failed(&["abc", "def"]).call_answer(200, "ok").call_answers_after(late);
        let played = run(&head_call(r#""response":"observed""#), script);
        let seen = |line: &String| line.strip_prefix("probe: saw ")?.split(' ').next()?.parse::<usize>().ok();
        let bytes: usize = played.logged(LogLevel::Info).iter().filter_map(seen).sum();
        assert_eq!(
            (played.client.as_ref().expect("a response").text().as_str(), bytes),
            ("abcdef", 6),
            "{late}"
        );

        let script = failed(&["abc", "def"]).call_answer(200, "ok").call_answers_after(late);
        let played = run(&taking("observed"), script);
        let bytes: usize = played.logged(LogLevel::Info).iter().filter_map(seen).sum();
        assert_eq!((played.client.as_ref().expect("a response").text().as_str(), bytes), ("ok", 2), "{late}");
    }
}

#[test]
fn trailers_end_a_body_that_waited_for_a_call() {
    for (response, expected) in [("pass", "abc"), ("whole", "abc"), ("chunks", "ABC")] {
        let script = Script::request("GET", "/")
            .answered(503, &[], chunks(&["abc"]))
            .with_response_trailers()
            .call_answer(200, "ok")
            .call_answers_after(9);
        let played = run(&head_call(&format!(r#""response":"{response}""#)), script);
        assert_eq!(played.client.expect("a response").text(), expected);
    }
}

#[test]
fn a_head_only_response_waits_for_its_call_too() {
    for response in ["pass", "whole", "chunks"] {
        let script = Script::request("HEAD", "/").answered(503, &[], []).call_answer(200, "ok");
        let played = run(&head_call(&format!(r#""response":"{response}""#)), script);
        assert_eq!(played.client.expect("a response").header("x-call").as_deref(), Some("200 ok"));
    }
}

#[test]
fn a_call_of_the_head_that_fails_or_cannot_start_is_told() {
    let config = head_call(r#""response":"whole""#);
    let broken = run(&config, failed(&["abc"]).call_broken()).client.expect("a response");
    assert_eq!(broken.header("x-call").as_deref(), Some("failed empty"));
    let unstarted = run(&config, failed(&["abc"]).dead_cluster("s")).client.expect("a response");
    assert_eq!(unstarted.header("x-call").as_deref(), Some("failed bad argument"));
    assert_eq!(unstarted.text(), "abc");
}

#[test]
fn another_answer_takes_the_place_of_a_response_and_goes_through_the_same_steps() {
    let fields = [("x-from", "service"), ("content-length", "2"), ("transfer-encoding", "chunked")];
    for late in 0..3 {
        for (response, expected) in [("pass", "ok"), ("whole", "new"), ("chunks", "OK!")] {
            let script =
                failed(&["abc", "def"]).call_answer_with(201, &fields, "ok").call_answers_after(late);
            let played = run(&taking(response), script);
            assert!(played.reply.is_none());
            let client = played.client.as_ref().expect("a response");
            assert_eq!(client.header(":status").as_deref(), Some("201"), "{response}");
            assert_eq!(client.header("x-from").as_deref(), Some("service"), "{response}");
            assert_eq!(client.text(), expected, "{response}");
            assert_eq!(client.header("transfer-encoding"), None, "{response}");
            let ended = played.logged(LogLevel::Info);
            assert!(ended.iter().any(|line| line == "probe: ended Complete"), "{ended:?}");
        }
    }
}

#[test]
fn an_answer_over_the_limit_does_not_take_the_place_of_a_response() {
    let script = failed(&["abc"]).call_answer(200, "x".repeat(1001));
    assert_eq!(run(&taking("whole"), script).replied().status, 502);
}

#[test]
fn an_answer_too_large_to_be_written_over_a_held_body_takes_its_place_all_the_same() {
    let large = "x".repeat(SHARED_LIMIT + 1);
    for late in [0, 1, 9] {
        let script = failed(&["abc", "def"]).call_answer(200, &large).call_answers_after(late);
        let client = run(&taking("pass"), script).client.expect("a response");
        assert!(client.text() == large, "{late}: {} bytes", client.text().len());
    }
}

#[test]
fn a_reply_takes_the_place_of_a_response() {
    let config = r#"{"responseLimit":1000,"response":"pass",
        "responseHeadCall":{"cluster":"s","path":"/","reply":true,"timeoutMs":1}}"#;
    for late in 0..3 {
        let played = run(config, failed(&["abc", "def"]).call_answer(200, "no").call_answers_after(late));
        assert_eq!((played.replied().status, played.replied().body.as_slice()), (451, &b"200 no"[..]));
    }
}

#[test]
fn a_response_too_large_to_wait_goes_as_it_came() {
    let config = taking("pass").replace(r#""responseLimit":1000"#, r#""responseLimit":4"#);
    let played = run(&config, failed(&["abc", "def"]).call_answer(200, "ok").call_answers_after(9));
    assert_eq!(played.client.as_ref().expect("a response").text(), "abcdef");
    assert!(played.logged(LogLevel::Warn).iter().any(|line| line.contains("did not wait")));
}

#[test]
fn a_timer_is_asked_for_only_where_a_config_object_needs_one() {
    assert_eq!(Worker::<Probe>::start("{}").envoy.timer.get(), None);
    let config = r#"{"tick":{"everyMs":500},"_rules_":[{"_match_route_":["r"],"tick":{"everyMs":200}}]}"#;
    assert_eq!(Worker::<Probe>::start(config).envoy.timer.get(), Some(Duration::from_millis(200)));
}

/// The value of a counter of the plugin.
fn counted(worker: &Worker<Probe>, name: &str) -> i64 {
    let metrics = worker.envoy.metrics.borrow();
    metrics.iter().find(|(known, _)| known == name).map_or(0, |(_, value)| *value)
}

#[test]
fn each_config_object_ticks_at_its_own_period() {
    let config = r#"{"_rules_":[{"_match_route_":["a"],"tick":{"everyMs":300}},
        {"_match_route_":["b"],"tick":{"everyMs":100}}]}"#;
    let mut worker = Worker::<Probe>::start(config);
    for _ in 0..6 {
        worker.pass(Duration::from_millis(100));
        let calls = worker.tick(|_| None);
        assert!(calls.is_empty());
    }
    assert_eq!(counted(&worker, "probe_ticks"), 2 + 6);
}

const TICK_CALL: &str =
    r#"{"tick":{"everyMs":100,"turn":true,"call":{"cluster":"s","path":"/","timeoutMs":1}}}"#;

#[test]
fn a_call_of_the_timer_is_answered_once_whatever_comes_of_it() {
    for (answer, told) in [(Some(200), "200 "), (None, "failed empty")] {
        let mut worker = Worker::<Probe>::start(TICK_CALL);
        worker.pass(Duration::from_millis(100));
        assert_eq!(worker.tick(|_| answer).len(), 1);
        let log = worker.envoy.log.borrow();
        let expected = format!("probe: tick call 7 got {told}");
        assert_eq!(log.iter().filter(|(_, line)| *line == expected).count(), 1, "{log:?}");
    }
    let mut worker = Worker::<Probe>::start(TICK_CALL);
    worker.envoy.dead_clusters.push("s".into());
    worker.pass(Duration::from_millis(100));
    assert!(worker.tick(|_| None).is_empty());
    assert_eq!(counted(&worker, "probe_tick_answers"), 1, "a call that cannot start is told at once");
}

#[test]
fn one_of_all_workers_does_the_work_of_a_period() {
    let mut first = Worker::<Probe>::start(TICK_CALL);
    let mut second = first.beside(TICK_CALL);
    for _ in 0..5 {
        first.pass(Duration::from_millis(100));
        let calls = first.tick(|_| Some(200)).len() + second.tick(|_| Some(200)).len();
        assert_eq!(calls, 1);
    }
    assert_eq!((counted(&first, "probe_turns"), counted(&second, "probe_turns")), (5, 0));
    // The first is gone.
    let mut calls = 0;
    for _ in 0..5 {
        second.pass(Duration::from_millis(100));
        calls += second.tick(|_| Some(200)).len();
    }
    assert_eq!(calls, 2, "after three periods of silence the other takes over");
    let shared = second.envoy.shared.borrow();
    assert!(shared.keys().all(|name| name.starts_with("probe.")), "{shared:?}");
}

const OPENS: &str = r#"{"response":"opening","responseLimit":9,"responseUntil":"b"}"#;

fn opened(config: &str, pieces: &[&str]) -> Played {
    run(config, post("x").answered(200, &[("content-length", "18"), ("etag", "e")], chunks(pieces)))
}

#[test]
fn a_response_opens_when_enough_was_seen() {
    let client = opened(OPENS, &["a", "ab", "cd", "ef"]).client.unwrap();
    assert_eq!(client.header("x-opened").as_deref(), Some("3"));
    assert_eq!(client.header("content-length"), None);
    assert_eq!(client.chunks, chunks(&["AAB", "CD", "EF"]), "what follows is rewritten, and not held");
    let passes = OPENS.replace("\"b\"", "\"|\"");
    let client = opened(&passes, &["a", "|b", "cd"]).client.unwrap();
    assert_eq!(client.chunks, chunks(&["A|B", "cd"]), "what follows passes");
}

#[test]
fn a_response_that_ends_first_opens_at_its_end() {
    for trailers in [false, true] {
        let script = post("x").answered(200, &[], chunks(&["x", "y"]));
        let script = if trailers { script.with_response_trailers() } else { script };
        assert_eq!(run(OPENS, script).client.unwrap().text(), "XY");
    }
    let client = run(OPENS, post("x").answered(204, &[], [])).client.unwrap();
    assert_eq!((client.header("x-opened").as_deref(), client.text()), (Some("0"), String::new()));
    let after_a_call = r#"{"response":"opening","responseLimit":99,"responseUntil":"b",
        "responseHeadCall":{"cluster":"s","path":"/","timeoutMs":1}}"#;
    let script =
        post("x").answered(200, &[], chunks(&["a", "b", "c"])).call_answer(200, "").call_answers_after(1);
    assert_eq!(run(after_a_call, script).client.unwrap().text(), "ABC");
}

#[test]
fn a_response_that_does_not_open_within_the_limit_is_refused() {
    let never = OPENS.replace("\"b\"", "\"never\"");
    assert_eq!(opened(&never, &["01234", "56789"]).replied().status, 502);
    assert_eq!(opened(OPENS, &["b0123456789"]).replied().status, 502);
}

#[test]
fn what_takes_the_place_of_a_response_is_written_over_it_where_that_is_asked_for() {
    let in_place = r#"{"response":"opening","responseLimit":999,"responseUntil":"b","inPlace":true}"#;
    for pieces in [&["!"][..], &["a", "!", "rest", "of it"]] {
        let client = opened(in_place, pieces).client.unwrap();
        assert_eq!(client.header(":status").as_deref(), Some("502"), "{pieces:?}");
        assert_eq!(client.header("content-type").as_deref(), Some("application/json"));
        assert_eq!(client.header("etag"), None, "what told of the body that is gone");
        assert!(
            client.text().contains("bad_opening") && !client.text().contains("rest"),
            "{}",
            client.text()
        );
    }
    let whole = r#"{"response":"whole","responseLimit":300,"inPlace":true}"#;
    let long = "0".repeat(301);
    let client = opened(whole, &[&long]).client.unwrap();
    assert_eq!(client.header(":status").as_deref(), Some("502"));
    assert!(client.text().contains("response_too_large"), "{}", client.text());
    let announced = post("x").answered(200, &[("content-length", "301")], chunks(&["0", &"0".repeat(300)]));
    let client = run(whole, announced).client.unwrap();
    assert!(client.text().contains("response_too_large"), "{}", client.text());
    let replies = r#"{"response":"whole","responseLimit":999,"inPlace":true,
        "responseHeadCall":{"cluster":"s","path":"/","timeoutMs":1,"reply":true}}"#;
    let script = post("x").answered(200, &[], chunks(&["a"])).call_answer(200, "");
    let client = run(replies, script).client.unwrap();
    assert_eq!(client.header(":status").as_deref(), Some("451"));
    let script = post("x").answered(204, &[], []).call_answer(200, "");
    let client = run(replies, script).client.unwrap();
    assert_eq!((client.header(":status").as_deref(), client.text()), (Some("451"), String::new()));
}

#[test]
fn before_1_37_what_has_waited_in_a_clusters_chain_becomes_no_failure_that_is_tried_again() {
    let at = |minor: u64, config: &str, script: Script| {
        run(config, script.on_release(minor).property("upstream.address", "10.0.0.1:443"))
    };
    let opens = r#"{"response":"opening","responseLimit":999,"responseUntil":"b","inPlace":true}"#;
    let whole =
        r#"{"response":"whole","responseLimit":300,"inPlace":true,"responseBody":{"text":"new","times":1}}"#;
    let long = &*"0".repeat(200);
    let answered = |status: u16, pieces: &[&str]| post("x").answered(status, &[], chunks(pieces));
    for (config, pieces) in [(opens, &["a", "!"][..]), (whole, &[long, long][..])] {
        let old = at(36, config, answered(200, pieces));
        assert_eq!((old.replied().status, old.client), (502, None));
        let new = at(37, config, answered(200, pieces)).client.unwrap();
        assert_eq!(new.header(":status").as_deref(), Some("502"));
        // One that does not tell its version.
        let script =
            answered(200, pieces).property("xds.node.user_agent_build_version.version.major_number", "");
        assert_eq!(at(40, config, script).replied().status, 502);
    }
    assert_eq!(at(36, whole, answered(200, &["ol", "d"])).client.unwrap().text(), "new");
    assert_eq!(at(36, opens, answered(503, &["a", "!"])).client.unwrap().text(), "a!", "it passes");
}

#[test]
fn before_1_37_the_head_of_a_failure_leaves_a_clusters_chain_before_its_body() {
    let at = |config: &str, script: Script| {
        let played = run(config, script.on_release(36).property("upstream.address", "10.0.0.1:443"));
        let client = played.client.expect("no reply of our own");
        (client.header(":status").unwrap(), client.header("content-length"), client.text())
    };
    let whole =
        r#"{"response":"whole","responseLimit":300,"inPlace":true,"responseBody":{"text":"new","times":1}}"#;
    let long = &*"0".repeat(200);
    let answered = |pieces: &[&str]| post("x").answered(503, &[("content-length", "4")], chunks(pieces));
    let failed = |text: &str| ("503".to_owned(), None, text.to_owned());
    assert_eq!(at(whole, answered(&["fa", "il"])), failed("new"));
    assert_eq!(at(whole, answered(&["fa", "il"]).with_response_trailers()), failed("new"));
    let keeps = r#"{"response":"whole","responseLimit":300,"inPlace":true}"#;
    assert_eq!(at(keeps, answered(&["fa", "il"])), failed("fail"));
    // What is wrong with the rest can only be said in the body.
    let (status, _, text) = at(whole, answered(&[long, long]));
    assert!(status == "503" && text.contains("response_too_large"), "{status} {text}");
    // What stands for a response follows its head, and what comes of its own goes nowhere.
    let long = post("x").answered(503, &[("content-length", "400")], chunks(&[long, long]));
    let (status, length, text) = at(whole, long);
    assert_eq!((status.as_str(), length), ("502", None));
    assert!(text.contains("response_too_large") && !text.contains("000"), "{text}");
    // A head alone waits for nothing.
    assert_eq!(at(whole, post("x").answered(503, &[], [])), failed(""));
    let calls = r#"{"response":"pass","responseLimit":300,"inPlace":true,
        "responseHeadCall":{"cluster":"s","path":"/","timeoutMs":1}}"#;
    assert_eq!(at(calls, post("x").answered(503, &[], chunks(&["fail"]))), failed("fail"));
}
