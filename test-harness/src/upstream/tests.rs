//! The upstream and the client, against each other.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use super::*;
use crate::client::{ClientError, Leave, Request, Response, Version, send};

const PATIENCE: Duration = Duration::from_secs(10);
const BOTH: [Version; 2] = [Version::H1, Version::H2];

fn ask(upstream: &Upstream, request: &Request) -> Response {
    send(upstream.addr(), request).unwrap()
}

/// Writes bytes on a connection, says that no more come, and gives all that comes back.
fn raw(upstream: &Upstream, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(upstream.addr()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(bytes).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn request_and_answer_arrive_as_they_were_sent() {
    for version in BOTH {
        let upstream = Upstream::start();
        upstream.script(Answer::json(201, &json!({"ok": true})).header("x-two", "1").header("x-two", "2"));
        let request =
            Request::post_json("/a%20b/c?q=1&q=2", &json!({"n": 1})).header("x-a", "1").over(version);
        let response = ask(&upstream, &request);
        assert_eq!((response.status, response.json(), response.complete), (201, json!({"ok": true}), true));
        assert_eq!(response.header("X-Two").as_deref(), Some("1, 2"));
        let records = upstream.take();
        let [seen] = records.as_slice() else { panic!("{records:?}") };
        assert_eq!((seen.method.as_str(), seen.path().as_str()), ("POST", "/a%20b/c?q=1&q=2"));
        assert_eq!((seen.host().as_deref(), seen.header("x-a").as_deref()), (Some("gw.local"), Some("1")));
        assert_eq!((seen.json(), seen.complete, seen.version), (json!({"n": 1}), true, version));
        assert!(upstream.take().is_empty());
    }
}

#[test]
fn a_request_without_a_body_has_none() {
    for version in BOTH {
        let upstream = Upstream::start();
        assert_eq!(ask(&upstream, &Request::get("/").over(version)).json(), json!({}));
        let seen = upstream.take().remove(0);
        assert!(seen.body.is_empty() && seen.complete);
        assert_eq!((seen.header("content-length"), seen.header("transfer-encoding")), (None, None));
    }
}

#[test]
fn chunks_and_trailers_arrive_both_ways() {
    for version in BOTH {
        let upstream = Upstream::start();
        let answer = Answer::new(200).chunk("ab").chunk(Chunk::after(Duration::from_millis(30), "cd"));
        upstream.script(answer.trailer("x-sum", "4"));
        let request =
            Request::new("POST", "/").chunks(["1", "2", "345"]).trailer("x-end", "yes").over(version);
        let response = ask(&upstream, &request);
        assert_eq!((response.text().as_str(), response.complete), ("abcd", true));
        assert_eq!(response.trailers, [("x-sum".to_owned(), b"4".to_vec())]);
        let pieces: Vec<&[u8]> = response.chunks.iter().map(|chunk| chunk.bytes.as_slice()).collect();
        assert_eq!(pieces, [b"ab", b"cd"]);
        assert!(response.chunks[1].at > response.chunks[0].at);
        let seen = upstream.take().remove(0);
        assert_eq!((seen.text().as_str(), seen.sent.chunks), ("12345", 2));
        assert_eq!(seen.trailers, [("x-end".to_owned(), b"yes".to_vec())]);
        assert!(response.chunks[0].at < seen.sent.last_chunk.unwrap());
    }
}

#[test]
fn a_length_of_its_own_replaces_the_chunked_coding() {
    let upstream = Upstream::start();
    ask(&upstream, &Request::new("POST", "/").header("content-length", "3").chunks(["a", "b", "c"]));
    let seen = upstream.take().remove(0);
    assert_eq!((seen.text().as_str(), seen.header("transfer-encoding")), ("abc", None));
}

#[test]
fn bytes_that_are_no_text_survive_in_fields_paths_and_bodies() {
    let upstream = Upstream::start();
    upstream.script(Answer::new(200).header("x-odd", b"\xfe\x80".to_vec()).body(b"\xff\x00".to_vec()));
    let request = Request::new("POST", b"/\xff".to_vec())
        .header("x-odd", b"a\xff\x80b".to_vec())
        .body(b"\xc3(".to_vec());
    let response = ask(&upstream, &request);
    assert_eq!(response.headers[0], ("x-odd".to_owned(), b"\xfe\x80".to_vec()));
    assert_eq!(response.body(), b"\xff\x00");
    let seen = upstream.take().remove(0);
    assert_eq!(seen.raw_path, b"/\xff");
    assert!(seen.headers.contains(&("x-odd".to_owned(), b"a\xff\x80b".to_vec())));
    assert_eq!(seen.body, b"\xc3(");
}

#[test]
fn http2_carries_odd_field_bytes_too() {
    let upstream = Upstream::start();
    ask(&upstream, &Request::get("/").header("x-odd", b"a\xff".to_vec()).over(Version::H2));
    let seen = upstream.take().remove(0);
    assert!(seen.headers.contains(&("x-odd".to_owned(), b"a\xff".to_vec())));
    let refused = send(upstream.addr(), &Request::get("/").header("x y", "1").over(Version::H2)).unwrap_err();
    assert!(matches!(refused, ClientError::Unsendable(_)), "{refused}");
}

#[test]
fn answers_go_by_path_then_in_order_then_by_default() {
    let upstream = Upstream::start();
    let script = Script::new().next(Answer::new(201)).next(Answer::new(202)).at("/fixed", Answer::new(299));
    upstream.script(script.otherwise(Answer::new(418)));
    let status = |path: &str| ask(&upstream, &Request::get(path)).status;
    assert_eq!(
        [status("/a"), status("/fixed?q"), status("/b"), status("/c"), status("/fixed")],
        [201, 299, 202, 418, 299]
    );
    upstream.script(Script::new());
    assert_eq!(status("/fixed"), 200);
}

#[test]
fn an_echo_tells_what_came() {
    for version in BOTH {
        let upstream = Upstream::start();
        upstream.script(Answer::echo());
        let request =
            Request::new("PUT", "/x?y").header("x-a", "1").header("x-a", "2").body("hello").over(version);
        let told = ask(&upstream, &request).json();
        assert_eq!(
            (&told["method"], &told["path"], &told["body"]),
            (&json!("PUT"), &json!("/x?y"), &json!("hello"))
        );
        assert_eq!(told["headers"]["x-a"], json!(["1", "2"]));
    }
}

#[test]
fn a_reset_before_the_head_is_no_answer() {
    for version in BOTH {
        let upstream = Upstream::start();
        upstream.script(Answer::reset());
        let error = send(upstream.addr(), &Request::get("/").over(version)).unwrap_err();
        assert!(matches!(error, ClientError::NoAnswer { .. }), "{error}");
        assert_eq!(upstream.take().len(), 1);
    }
}

#[test]
fn a_body_that_breaks_off_is_not_complete() {
    for version in BOTH {
        for then in [Then::Reset, Then::Close] {
            let upstream = Upstream::start();
            upstream.script(Answer::sse(["one", "two"]).then(then));
            let response = ask(&upstream, &Request::get("/").over(version));
            assert_eq!((response.status, response.complete), (200, false), "{version:?} {then:?}");
            assert_eq!(response.text(), "data: one\n\ndata: two\n\n");
        }
    }
}

#[test]
fn a_length_that_is_not_reached_is_not_complete() {
    let upstream = Upstream::start();
    upstream.script(Answer::new(200).body("abc").content_length(ContentLength::Given(9)).then(Then::Close));
    let response = ask(&upstream, &Request::get("/"));
    assert_eq!((response.text().as_str(), response.complete), ("abc", false));
}

#[test]
fn a_length_among_the_headers_is_sent_once() {
    for version in BOTH {
        let upstream = Upstream::start();
        upstream.script(Answer::new(200).header("content-length", "4").chunk("ab").chunk("cd"));
        let response = ask(&upstream, &Request::get("/").over(version));
        assert_eq!(
            (response.text().as_str(), response.header("content-length").as_deref()),
            ("abcd", Some("4"))
        );
        assert_eq!(response.header("transfer-encoding"), None);
    }
}

#[test]
fn silence_ends_with_the_clients_patience_and_says_what_had_come() {
    for version in BOTH {
        let upstream = Upstream::start();
        let mut request = Request::get("/").over(version);
        request.patience = Duration::from_millis(50);
        upstream.script(Answer::silence());
        let error = send(upstream.addr(), &request).unwrap_err();
        assert!(matches!(&error, ClientError::Silent { .. }), "{error}");
        upstream.script(Answer::new(203).chunk("so far").then(Then::Hang));
        let error = send(upstream.addr(), &request).unwrap_err().to_string();
        assert!(error.ends_with("status 203, 6 bytes of body: so far"), "{error}");
        let records = upstream.wait_until(PATIENCE, |records| {
            records.len() == 2 && records.iter().all(|record| record.sent.progress == Progress::PeerLeft)
        });
        assert!(records.iter().all(|record| record.sent.progress == Progress::PeerLeft), "{records:?}");
    }
}

#[test]
fn a_client_that_leaves_is_noticed_while_an_answer_is_sent() {
    for version in BOTH {
        let upstream = Upstream::start();
        upstream.script(Answer::sse(["one"]).chunk(Chunk::after(Duration::from_secs(60), "late")));
        let response = ask(&upstream, &Request::get("/").over(version).leaving(Leave::AfterReceiving(4)));
        assert!(!response.complete && response.text().starts_with("data"));
        let records = upstream.wait_until(PATIENCE, |records| records[0].sent.progress != Progress::Sending);
        assert_eq!((records[0].sent.progress, records[0].sent.chunks), (Progress::PeerLeft, 1));
    }
}

#[test]
fn a_client_that_leaves_in_its_body_sends_an_incomplete_request() {
    for version in BOTH {
        let upstream = Upstream::start();
        let request = Request::new("POST", "/").chunks(["abc", "def", "ghi"]).over(version);
        let response = ask(&upstream, &request.leaving(Leave::AfterChunks(2)));
        assert_eq!((response.status, response.complete), (0, false));
        let records = upstream.wait_for(1, PATIENCE);
        assert_eq!((records[0].text().as_str(), records[0].complete), ("abcdef", false), "{version:?}");
    }
}

#[test]
fn a_client_that_leaves_after_sending_has_sent_all() {
    for version in BOTH {
        let upstream = Upstream::start();
        upstream.script(Answer::silence());
        let response =
            ask(&upstream, &Request::new("POST", "/").body("all").over(version).leaving(Leave::AfterSending));
        assert_eq!((response.status, response.complete), (0, false));
        let records = upstream.wait_for(1, PATIENCE);
        assert_eq!((records[0].text().as_str(), records[0].complete), ("all", true), "{version:?}");
    }
}

#[test]
fn an_early_answer_comes_before_the_body_is_sent() {
    for version in BOTH {
        let upstream = Upstream::start();
        upstream.script(Answer { early: true, ..Answer::new(200).body("early") });
        let request =
            Request::new("POST", "/").chunks([Chunk::new("a"), Chunk::after(Duration::from_secs(60), "b")]);
        let asked = Instant::now();
        assert_eq!(ask(&upstream, &request.over(version)).text(), "early");
        assert!(asked.elapsed() < Duration::from_secs(30));
        let records = upstream.wait_until(PATIENCE, |records| records[0].body == b"a");
        assert_eq!((records[0].text().as_str(), records[0].complete), ("a", false));
    }
}

#[test]
fn a_client_that_expects_100_waits_for_it() {
    let upstream = Upstream::start();
    let response = ask(&upstream, &Request::new("POST", "/").header("expect", "100-continue").body("now"));
    assert_eq!((response.interim.as_slice(), response.status), ([100].as_slice(), 200));
    assert_eq!(upstream.take()[0].text(), "now");
}

#[test]
fn bytes_left_over_on_a_connection_are_the_next_request() {
    let upstream = Upstream::start();
    let first = b"POST /first HTTP/1.1\r\nhost: a\r\ncontent-length: 8\r\n\r\n{\"val\":1";
    let answer =
        raw(&upstream, &[first.as_slice(), b"ue\":1}GET /second HTTP/1.1\r\nhost: b\r\n\r\n"].concat());
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 2);
    let records = upstream.take();
    let seen: Vec<_> =
        records.iter().map(|seen| (seen.method.as_str(), seen.path(), seen.connection_id)).collect();
    assert_eq!(seen, [("POST", "/first".to_owned(), 0), ("ue\":1}GET", "/second".to_owned(), 0)]);
}

#[test]
fn bytes_left_over_are_visible_before_and_after_the_connection_ends() {
    let upstream = Upstream::start();
    let mut stream = TcpStream::connect(upstream.addr()).unwrap();
    stream.write_all(b"POST /first HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}\"longer\":1}").unwrap();
    let mut byte = [0];
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    while byte != *b"}" {
        stream.read_exact(&mut byte).unwrap();
    }
    let deadline = Instant::now() + PATIENCE;
    while upstream.stray().is_empty() && Instant::now() < deadline {
        std::thread::yield_now();
    }
    assert_eq!(upstream.stray(), [(0, b"\"longer\":1}".to_vec())]);
    drop(stream);
    let records = upstream.wait_for(2, PATIENCE);
    assert_eq!((records[1].method.as_str(), records[1].complete), ("\"longer\":1}", false));
}

#[test]
fn what_is_no_http_is_recorded_and_refused() {
    let upstream = Upstream::start();
    let answer = raw(&upstream, b"HELLO there\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert_eq!((upstream.take()[0].method.as_str(), upstream.stray().len()), ("HELLO", 0));
}

#[test]
fn connections_are_told_apart_and_kept() {
    let upstream = Upstream::start();
    raw(&upstream, b"GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\nconnection: close\r\n\r\n");
    raw(&upstream, b"GET /3 HTTP/1.1\r\n\r\n");
    let connections: Vec<u64> = upstream.take().iter().map(|record| record.connection_id).collect();
    assert_eq!(connections, [0, 0, 1]);
}

#[test]
fn answers_without_a_body_end_with_their_head() {
    for version in BOTH {
        let upstream = Upstream::start();
        for status in [204, 304] {
            upstream.script(Answer::new(status));
            let response = ask(&upstream, &Request::get("/").over(version));
            assert_eq!((response.status, response.complete, response.chunks.len()), (status, true, 0));
        }
        upstream.script(Answer::new(200).body("not for HEAD"));
        let response = ask(&upstream, &Request::new("HEAD", "/").over(version));
        assert_eq!((response.header("content-length").as_deref(), response.chunks.len()), (Some("12"), 0));
    }
}

#[test]
fn an_upgrade_is_answered_with_raw_bytes() {
    let upstream = Upstream::start();
    upstream.script(
        Answer::new(101)
            .header("upgrade", "websocket")
            .header("connection", "upgrade")
            .chunk(b"\x81\x01a".to_vec()),
    );
    let request = Request::get("/").header("connection", "upgrade").header("upgrade", "websocket");
    let response = ask(&upstream, &request);
    assert_eq!((response.status, response.body(), response.complete), (101, b"\x81\x01a".to_vec(), true));
}

#[test]
fn a_large_body_passes_both_ways() {
    for version in BOTH {
        let upstream = Upstream::start();
        upstream.script(Answer::new(200).body(vec![b'y'; 8 << 20]));
        let response = ask(&upstream, &Request::new("POST", "/").body(vec![b'x'; 8 << 20]).over(version));
        assert_eq!((response.body().len(), response.complete), (8 << 20, true));
        assert_eq!(upstream.take()[0].body.len(), 8 << 20);
    }
}

#[test]
fn nobody_listening_is_an_error_with_the_address() {
    let address = Upstream::start().addr();
    let error = send(address, &Request::get("/")).unwrap_err().to_string();
    assert!(error.starts_with(&format!("no connection to {address}")), "{error}");
}
