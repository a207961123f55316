//! Answers to attempts, in the chain of a cluster, where Envoy may try again because of them.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a panic is the verdict")]

use ai_proxy::AiProxy;
use common::testkit::{Played, Script};
use serde_json::{Value, json};

const JSON: [(&str, &str); 2] = [("content-type", "application/json; charset=utf-8"), ("retry-after", "7")];
const BUSY: &str = r#"{"error":{"message":"busy","type":"server_error"}}"#;
/// The last release that cannot try again because of a head that was held with its body, and the first that can.
const RELEASES: [u64; 2] = [36, 37];

/// Messages to a vendor that speaks chats, by an Envoy whose headers do not tell of its router.
fn play(minor: u64, more: &str, answer: impl FnOnce(Script) -> Script) -> Played {
    let config = format!(r#"{{"provider":{{"type":"openai","apiTokens":["k"]{more}}},"maxBodyBytes":1024}}"#);
    let body = r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"Hi"}]}"#;
    let script = Script::post("/v1/messages", body).property("upstream.address", "10.0.0.1:443");
    common::testkit::play::<AiProxy>(&config, answer(script.on_release(minor)))
}

/// What a client of Messages gets of an error: type and message.
#[track_caller]
fn said(text: &str) -> (String, String) {
    let body: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(body["type"], "error", "{text}");
    let member = |name: &str| body["error"][name].as_str().unwrap().to_owned();
    (member("type"), member("message"))
}

#[test]
fn an_error_is_translated_whether_its_head_can_wait_or_not() {
    let large = json!({ "error": { "message": "x".repeat(2000) } }).to_string();
    let too_large = "response is larger than the limit of 1024 bytes";
    let nothing = "the upstream answered with status 429";
    let cases: [(Vec<Vec<u8>>, &str); 5] = [
        (vec![BUSY.into()], "busy"),
        (BUSY.bytes().map(|byte| vec![byte]).collect(), "busy"),
        (vec![Vec::new()], nothing),
        (vec![large.clone().into()], too_large),
        (large.as_bytes().chunks(1000).map(<[u8]>::to_vec).collect(), too_large),
    ];
    for (pieces, message) in cases {
        for minor in RELEASES {
            let client = play(minor, "", |script| script.answered(429, &JSON, pieces.clone())).client;
            let client = client.expect("Envoy decides what becomes of it");
            assert_eq!(said(&client.text()).1, message, "1.{minor}");
            assert_eq!(client.header("content-type").as_deref(), Some("application/json"), "1.{minor}");
            let status = client.header(":status").unwrap();
            assert!(status == "429" || (minor == 37 && message == too_large), "1.{minor} {status}");
            assert_eq!(client.header("content-length").is_some(), minor == 37, "1.{minor}");
            assert_eq!(client.header("retry-after").as_deref(), Some("7"), "1.{minor}");
        }
    }
}

#[test]
fn an_error_that_cannot_be_read_has_words_of_our_own() {
    for minor in RELEASES {
        let encoded = [JSON[0], ("content-encoding", "gzip"), ("content-length", "3")];
        let client =
            play(minor, "", |script| script.answered(429, &encoded, [b"\x1f\x8b\x08".to_vec()])).client;
        let client = client.expect("Envoy decides what becomes of it");
        assert_eq!(client.header(":status").as_deref(), Some("429"));
        assert_eq!(client.header("content-encoding"), None);
        assert_eq!(
            said(&client.text()),
            ("rate_limit_error".into(), "the upstream answered with status 429".into())
        );
        // A head alone.
        let client = play(minor, "", |script| script.answered(429, &JSON, [])).client.unwrap();
        assert_eq!((client.header(":status").as_deref(), client.text()), (Some("429"), String::new()));
    }
}

#[test]
fn errors_that_are_passed_wait_nowhere() {
    for minor in RELEASES {
        let passes = |script: Script| script.answered(429, &JSON, [BUSY.into()]);
        let client = play(minor, r#","errorPassthrough":true"#, passes).client.unwrap();
        assert_eq!((client.header(":status").as_deref(), client.text()), (Some("429"), BUSY.to_owned()));
    }
}

#[test]
fn what_a_body_shows_to_be_a_failure_is_written_over_or_else_replied() {
    let events = [("content-type", "text/event-stream")];
    let error = format!("data: {BUSY}\n\n");
    let answers = [
        (&JSON[..], BUSY.to_owned()),
        (&JSON, "no JSON".to_owned()),
        (&events, error),
        (&events, String::new()),
    ];
    for (head, body) in answers {
        let answer = |script: Script| script.answered(200, head, [body.clone().into()]);
        let old = play(36, "", answer);
        assert_eq!(said(&String::from_utf8_lossy(&old.replied().body)).0, "api_error");
        assert!(old.replied().status >= 500);
        let new = play(37, "", answer).client.expect("Envoy decides what becomes of it");
        assert!(new.header(":status").unwrap().starts_with('5'));
        assert_eq!(new.header(":status").unwrap(), old.replied().status.to_string());
    }
}
