//! Streams as vendors send them, and what clients get of them, for each configuration. In `fixtures/streams`,
//! `<stream>.sse` is the vendor's and `<stream>.<configuration>.sse` the client's, byte for byte and the same
//! however the vendor's is cut. `UPDATE=1 cargo test -p ai-proxy --test streams` writes what clients get.
#![expect(clippy::unwrap_used, reason = "a panic is the verdict")]

use std::collections::BTreeSet;
use std::path::PathBuf;

use ai_proxy::AiProxy;
use common::testkit::{Played, Script};

/// More settings, by the name of the configuration.
const CONFIGURATIONS: &[(&str, &str)] = &[
    ("moonshot", r#""type":"moonshot""#),
    ("ignore", r#""type":"openai","reasoningContentMode":"ignore""#),
    ("concat", r#""type":"deepseek","reasoningContentMode":"CONCAT""#),
    ("promote", r#""type":"vllm","promoteThinkingOnEmpty":true"#),
    ("promote-shown", r#""type":"openai","hiclawMode":true,"reasoningContentMode":"passthrough""#),
    ("promote-ignore", r#""type":"moonshot","promoteThinkingOnEmpty":true,"reasoningContentMode":"ignore""#),
    ("promote-concat", r#""type":"openai","promoteThinkingOnEmpty":true,"reasoningContentMode":"concat""#),
];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/streams")
}

fn play(provider: &str, pieces: &[&[u8]]) -> Played {
    let config = format!(r#"{{"provider":{{"apiTokens":["k"],{provider}}}}}"#);
    let pieces: Vec<Vec<u8>> = pieces.iter().map(|piece| piece.to_vec()).collect();
    let headers = [("content-type", "text/event-stream; charset=utf-8"), ("x-vendor", "1")];
    let script = Script::post("/v1/chat/completions", r#"{"model":"m","stream":true,"messages":[]}"#);
    // An empty piece keeps the player from ending the stream with its head.
    let pieces = if pieces.concat().is_empty() { vec![Vec::new()] } else { pieces };
    common::testkit::play::<AiProxy>(&config, script.answered(200, &headers, pieces))
}

fn client(provider: &str, pieces: &[&[u8]]) -> Vec<u8> {
    play(provider, pieces).client.unwrap().body()
}

fn streams() -> BTreeSet<String> {
    let names = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name());
    let names = names.map(|name| name.into_string().unwrap());
    names.filter_map(|name| Some(name.strip_suffix(".sse")?.split('.').next()?.to_owned())).collect()
}

#[test]
fn clients_get_the_same_however_a_stream_is_cut() {
    let mut compared = 0;
    for stream in streams() {
        let vendors = std::fs::read(folder().join(format!("{stream}.sse"))).unwrap();
        for (name, provider) in CONFIGURATIONS {
            let path = folder().join(format!("{stream}.{name}.sse"));
            let whole = client(provider, &[&vendors]);
            if std::env::var_os("UPDATE").is_some() {
                std::fs::write(&path, &whole).unwrap();
            }
            let expected = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let same = |found: &[u8], how: &str| {
                let text = String::from_utf8_lossy(found);
                assert!(found == expected, "{stream}, {name}, {how}:\n{text}");
            };
            same(&whole, "whole");
            let bytes: Vec<&[u8]> = vendors.chunks(1).collect();
            same(&client(provider, &bytes), "byte by byte");
            for cut in 1..vendors.len() {
                same(&client(provider, &[&vendors[..cut], &vendors[cut..]]), &format!("cut at {cut}"));
            }
            compared += 1;
        }
    }
    assert!(compared >= 16 * CONFIGURATIONS.len(), "{compared}");
}

#[test]
fn whatever_is_rewritten_ends_once() {
    for stream in streams() {
        for (name, _) in CONFIGURATIONS {
            let text = std::fs::read(folder().join(format!("{stream}.{name}.sse"))).unwrap();
            let text = String::from_utf8_lossy(&text);
            assert!(text.ends_with("data: [DONE]\n\n"), "{stream}.{name}");
            assert_eq!(text.matches("[DONE]").count(), 1, "{stream}.{name}");
        }
    }
}

#[test]
fn what_nobody_rewrites_is_not_read() {
    for stream in streams() {
        let vendors = std::fs::read(folder().join(format!("{stream}.sse"))).unwrap();
        let pieces: Vec<&[u8]> = vendors.chunks(7).collect();
        let played = play(r#""type":"openai""#, &pieces);
        assert_eq!(played.client.unwrap().chunks, pieces, "{stream}");
    }
}

#[test]
fn an_event_over_the_limit_ends_the_stream() {
    let large = [b"data: {\"x\":\"".as_slice(), &vec![b'a'; 17 << 20], b"\"}\n\ndata: {}\n\n"].concat();
    let good: &[u8] = b"data: {\"choices\":[]}\n\n";
    let text = String::from_utf8(client(r#""type":"moonshot""#, &[good, &large, good])).unwrap();
    let rest = text.strip_prefix(std::str::from_utf8(good).unwrap()).unwrap();
    let (error, rest) = rest.split_once("\n\n").unwrap();
    assert!(error.contains("event_too_large"), "{error}");
    assert_eq!(rest, "data: [DONE]\n\n");
}

#[test]
fn a_stream_is_complete_when_all_of_its_answers_are() {
    let chunk = |index: u64, reason: &str| {
        format!(
            "data: {{\"choices\":[{{\"index\":{index},\"delta\":{{\"content\":\"A\"}},\"finish_reason\":{reason}}}]}}\n\n"
        )
    };
    let (goes, stops) = ("null", "\"stop\"");
    let check = |events: &[(u64, &str)], is_complete: bool| {
        let events: Vec<_> = events.iter().map(|(index, reason)| chunk(*index, reason)).collect();
        let pieces: Vec<&[u8]> = events.iter().map(|event| event.as_bytes()).collect();
        let text =
            String::from_utf8(client(r#""type":"openai","reasoningContentMode":"ignore""#, &pieces)).unwrap();
        assert_eq!(!text.contains("stream_incomplete"), is_complete, "{text}");
        assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    };
    check(&[(0, stops), (1, goes)], false);
    check(&[(0, goes), (1, stops)], false);
    check(&[(0, goes), (1, goes), (1, stops), (0, stops)], true);
    check(&[(0, stops), (1, stops)], true);
    check(&[(0, stops), (0, goes)], true);
    check(&[(500, stops)], true);
}

#[test]
fn thinking_beyond_what_is_kept_is_cut_between_events() {
    let thought = format!(
        "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"reasoning\":\"{}\"}}}}]}}\n\n",
        "r".repeat(200_000)
    );
    let end: &[u8] = b"data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
    let pieces = [
        thought.as_bytes(),
        thought.as_bytes(),
        thought.as_bytes(),
        b"data: {\"choices\":[{\"index\":0,\"delta\":{\"reasoning\":\"x\"}}]}\n\n",
        end,
    ];
    let text =
        String::from_utf8(client(r#""type":"openai","promoteThinkingOnEmpty":true"#, &pieces)).unwrap();
    assert_eq!(text.matches('r').count() / 200_000, 2);
    assert!(!text.contains("rx"), "nothing behind a gap");
}

#[test]
fn what_cannot_be_read_is_counted() {
    let vendors = std::fs::read(folder().join("no-json.sse")).unwrap();
    let played = play(r#""type":"openai","reasoningContentMode":"ignore""#, &[&vendors]);
    let counted = ("ai_proxy_unreadable_events".to_owned(), 2);
    assert!(played.envoy.metrics.borrow().contains(&counted));
    let told = played.logged(common::filter::LogLevel::Warn);
    assert!(told.len() == 1 && told[0].contains("2 events"), "{told:?}");
}

#[test]
fn a_stream_that_breaks_off_is_not_ended() {
    let script = Script::post("/v1/chat/completions", r#"{"stream":true}"#)
        .answered(200, &[("content-type", "text/event-stream")], [b"data: {\"choices\":[]}\n\n".to_vec()])
        .broken_off();
    let config = r#"{"provider":{"type":"moonshot","apiTokens":["k"]}}"#;
    let played = common::testkit::play::<AiProxy>(config, script);
    assert_eq!(played.client.unwrap().text(), "data: {\"choices\":[]}\n\n");
}
