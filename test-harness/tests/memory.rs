//! What a VM grows by. Linear memory never shrinks, so whatever a plugin holds once, a worker has for good.
//!
//! Measured is the linear memory itself: V8 maps it readable and writable at the start of a reservation of
//! gigabytes, which nothing else in Envoy has behind it, so `/proc/<pid>/maps` shows its size to the page.
//! Envoy's resident memory would say less: its own buffers and allocators move it by more than what is allowed.
#![cfg(target_os = "linux")]
#![expect(clippy::expect_used, reason = "in a test, a panic is the verdict")]

mod fixture;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use test_harness::client::{Request, send};
use test_harness::envoy::{Envoy, Options, provide_or_skip};
use test_harness::upstream::{Answer, Upstream};

const MIB: u64 = 1 << 20;
/// What one exchange may make a VM grow by, whatever its size.
const ALLOWED: u64 = 4 * MIB;
/// Between the pieces of a stream that is one of many.
const PACE: Duration = Duration::from_millis(20);
/// Behind a linear memory stands the rest of what it may grow to.
const RESERVATION: u64 = 2 << 30;

struct Gateway {
    envoy: Envoy,
    upstream: Upstream,
}

impl Gateway {
    fn start(test: &str, provider: &Value) -> Option<Self> {
        // Processes in a container are not ours to look into.
        let binary = provide_or_skip(test).filter(|_| !Options::default().docker)?;
        let upstream = Upstream::start();
        let config = json!({ "maxBodyBytes": 30 * MIB, "provider": provider });
        let render = fixture::ai_proxy(&config, upstream.addr())
            .set("/static_resources/listeners/0/per_connection_buffer_limit_bytes", json!(32 * MIB));
        let envoy = Envoy::start(&binary, render, Options::default()).expect("Envoy starts");
        Some(Self { envoy, upstream })
    }

    /// The linear memories of all VMs together.
    fn memory(&self) -> u64 {
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", self.envoy.pid())).expect("the maps");
        let memory = linear_memory(&maps);
        assert!(memory > 0, "no VM in the maps of Envoy");
        memory
    }

    /// Sends a small one first, so that what every exchange needs is there; then says what the large one adds.
    fn growth(&self, small: &Request, small_answer: Answer, large: &Request, large_answer: Answer) -> u64 {
        self.upstream.script(small_answer);
        assert_eq!(send(self.envoy.addr("gateway"), small).expect("an answer").status, 200);
        let before = self.memory();
        self.upstream.script(large_answer);
        let response = send(self.envoy.addr("gateway"), large).expect("an answer");
        assert!(response.status == 200 && response.complete, "{}", response.status);
        self.memory() - before
    }
}

fn linear_memory(maps: &str) -> u64 {
    let regions: Vec<(u64, u64, &str)> = maps.lines().filter_map(region).collect();
    let pairs = regions.iter().zip(regions.iter().skip(1));
    let is_memory =
        |((_, end, access), (next, next_end, next_access)): &(&(u64, u64, &str), &(u64, u64, &str))| {
            *access == "rw-p" && *next_access == "---p" && end == next && next_end - next >= RESERVATION
        };
    pairs.filter(is_memory).map(|((start, end, _), _)| end - start).sum()
}

fn region(line: &str) -> Option<(u64, u64, &str)> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    Some((u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?, words.next()?))
}

fn upload(file: usize) -> Request {
    let body = [
        b"--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\n".as_slice(),
        &vec![b'-'; file],
        b"\r\n--XX\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nm\r\n--XX--\r\n",
    ];
    Request::new("POST", "/v1/audio/transcriptions")
        .header("content-type", "multipart/form-data; boundary=XX")
        .body(body.concat())
}

fn stream(events: usize) -> Answer {
    let event = |delta: &str, finish: &str| {
        format!(
            "data: {{\"id\":\"c\",\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{finish}}}]}}\n\n"
        )
    };
    let mut body = event(r#"{"reasoning_content":"thinking "}"#, "null").repeat(events);
    body.push_str(&event("{}", "\"stop\""));
    body.push_str("data: [DONE]\n\n");
    Answer::new(200).header("content-type", "text/event-stream").body(body)
}

#[test]
fn an_upload_of_20_mib_is_not_held_in_the_vm() {
    let provider = json!({ "type": "openai", "apiTokens": ["k"], "modelMapping": { "m": "mapped" } });
    let Some(gateway) = Gateway::start("upload", &provider) else { return };
    let grown = gateway.growth(&upload(1000), Answer::new(200), &upload(20 << 20), Answer::new(200));
    let seen = gateway.upstream.take();
    assert!(seen.last().expect("the upload").body.ends_with(b"\r\n\r\nmapped\r\n--XX--\r\n"));
    assert!(grown <= ALLOWED, "it grew by {grown} bytes");
}

#[test]
fn a_stream_of_100_000_rewritten_events_is_not_held_in_the_vm() {
    for more in [json!({ "reasoningContentMode": "concat" }), json!({ "promoteThinkingOnEmpty": true })] {
        let mut provider = json!({ "type": "openai", "apiTokens": ["k"] });
        provider.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        let Some(gateway) = Gateway::start("stream", &provider) else { return };
        let chat = Request::post_json("/v1/chat/completions", &json!({ "stream": true }));
        let grown = gateway.growth(&chat, stream(10), &chat, stream(100_000));
        assert!(grown <= ALLOWED, "{more}: it grew by {grown} bytes");
    }
}

/// A stream in pieces that come a while apart, so that many are under way together.
fn slow_stream(events: usize) -> Answer {
    let event = format!(
        "data: {{\"id\":\"c\",\"model\":\"m\",\"choices\":[{{\"delta\":{{\"content\":\"{}\"}}}}]}}\n\n",
        "word ".repeat(20)
    );
    let usage =
        "data: {\"model\":\"m\",\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\ndata: [DONE]\n\n";
    let mut answer = Answer::new(200).header("content-type", "text/event-stream");
    for _ in 0..events {
        // Cut inside an event, so that each waits for its rest.
        let (front, back) = event.split_at(event.len() / 2);
        answer = answer.chunk((front, PACE)).chunk((back, PACE));
    }
    answer.chunk(usage)
}

#[test]
fn two_hundred_streams_at_a_time_are_watched_within_the_same_memory_round_after_round() {
    let Some(binary) = provide_or_skip("200 streams").filter(|_| !Options::default().docker) else { return };
    let upstream = Upstream::start();
    upstream.script(slow_stream(20));
    let config =
        json!({ "use_default_attributes": true, "value_length_limit": 1000, "metricsFormat": "both" });
    let render = fixture::plugin("ai-statistics", &config, upstream.addr());
    let envoy = Envoy::start(&binary, render, Options::default()).expect("Envoy starts");
    let gateway = Gateway { envoy, upstream };
    let round = || {
        let clients: Vec<_> = (0..200)
            .map(|_| {
                let address = gateway.envoy.addr("gateway");
                std::thread::spawn(move || {
                    let chat = json!({ "stream": true, "messages": [{ "role": "user", "content": "q" }] });
                    send(address, &Request::post_json("/v1/chat/completions", &chat)).expect("an answer")
                })
            })
            .collect();
        for client in clients {
            let response = client.join().expect("a client");
            assert!(response.status == 200 && response.complete);
        }
        gateway.memory()
    };
    // A few rounds tell of what each stream leaves behind; `SOAK_SECONDS=600` of what comes with time.
    let soak = std::env::var("SOAK_SECONDS").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(0);
    let (begun, first) = (Instant::now(), round());
    let (mut rounds, mut last) = (0, first);
    while rounds < 3 || begun.elapsed() < Duration::from_secs(soak) {
        last = round();
        rounds += 1;
    }
    let grown = last.saturating_sub(first);
    eprintln!("{} more streams in {:?} made it grow by {grown} bytes", 200 * rounds, begun.elapsed());
    assert!(grown <= MIB, "{} more streams made it grow by {grown} bytes", 200 * rounds);
}

#[test]
fn a_linear_memory_is_told_by_what_is_reserved_behind_it() {
    let maps = "\
7f0000000000-7f0000100000 rw-p 00000000 00:00 0
7f0000100000-7f0200000000 ---p 00000000 00:00 0
7f0300000000-7f0300100000 rw-p 00000000 00:00 0
7f0300100000-7f0300200000 ---p 00000000 00:00 0
7f0400000000-7f0400001000 r-xp 00000000 08:01 42 /usr/bin/envoy
";
    assert_eq!(linear_memory(maps), MIB);
}
