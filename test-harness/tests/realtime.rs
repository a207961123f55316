//! A session over a WebSocket, opened through ai-proxy: bytes pass both ways, unread and at once.
#![expect(clippy::expect_used, reason = "in a test, a panic is the verdict")]

mod fixture;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use serde_json::json;
use test_harness::envoy::{Envoy, Options, provide_or_skip};

/// A head as it stands on the wire, in lower case.
fn head(reader: &mut BufReader<TcpStream>) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).expect("a line") > 0, "the connection ended in a head: {head}");
    }
    head.to_ascii_lowercase()
}

/// Opens the session, greets, and sends back whatever comes.
fn serve(listener: &TcpListener) -> String {
    let (stream, _) = listener.accept().expect("a connection");
    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
    let request = head(&mut reader);
    let mut stream = stream;
    let opened = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\nhello";
    stream.write_all(opened.as_bytes()).expect("the session opens");
    let mut message = [0; 4];
    while reader.read_exact(&mut message).is_ok() {
        stream.write_all(&message).expect("the message goes back");
    }
    request
}

#[test]
fn a_realtime_session_is_opened_with_our_host_path_and_key() {
    let Some(binary) = provide_or_skip("realtime") else { return };
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let upstream = std::thread::spawn(move || serve(&listener));
    let config = json!({ "provider": { "type": "openai", "apiTokens": ["sk-vendor"], "basePath": "/ai" } });
    let render = fixture::ai_proxy(&config, address).set(
        "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/upgrade_configs",
        json!([{ "upgrade_type": "websocket" }]),
    );
    let envoy = Envoy::start(&binary, render, Options::default()).expect("Envoy starts");

    let mut client = TcpStream::connect(envoy.addr("gateway")).expect("a connection");
    client.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    let request = "GET /ai/v1/realtime?model=gpt-realtime HTTP/1.1\r\nhost: gw.local\r\nconnection: Upgrade\r\n\
        upgrade: websocket\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\
        authorization: Bearer client-secret\r\n\r\n";
    client.write_all(request.as_bytes()).expect("the request");
    let mut reader = BufReader::new(client.try_clone().expect("a second handle"));
    assert!(head(&mut reader).starts_with("http/1.1 101 "));
    let mut greeting = [0; 5];
    reader.read_exact(&mut greeting).expect("a greeting before anything was said");
    assert_eq!(&greeting, b"hello");
    for message in [b"\x81\x02hi", b"\x00\xff{}"] {
        client.write_all(message).expect("a message");
        let mut echo = [0; 4];
        reader.read_exact(&mut echo).expect("the same message");
        assert_eq!(&echo, message);
    }
    drop((client, reader));

    let request = upstream.join().expect("the upstream ends with the session");
    assert!(request.starts_with("get /v1/realtime?model=gpt-realtime http/1.1\r\n"), "{request}");
    for field in ["host: api.openai.com", "authorization: bearer sk-vendor", "upgrade: websocket"] {
        assert!(request.contains(&format!("\r\n{field}\r\n")), "{field}: {request}");
    }
    assert!(!request.contains("client-secret"), "{request}");
}
