//! The host rules of ARCHITECTURE.md, each tried on a real Envoy with the probe module.
//!
//! What the driver promises natively in `modules/probe/tests/lifecycle.rs` must hold where it counts.
#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "in a test, a panic is the verdict")]

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use test_harness::client::{Request, Response, Version, send};
use test_harness::envoy::{Envoy, Options, Release, Render, StartError, Transport, provide_or_skip};
use test_harness::upstream::{Answer, ContentLength, Recorded, Script, Then, Upstream};

const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/probe.yaml");
const LIMIT: usize = 1 << 20;

/// An Envoy with one probe, and both servers behind it.
struct Gateway {
    envoy: Envoy,
    upstream: Upstream,
    service: Upstream,
}

impl Gateway {
    fn start(test: &str, probe: &Value) -> Option<Self> {
        Self::start_with(test, probe, Options::default())
    }

    fn start_with(test: &str, probe: &Value, options: Options) -> Option<Self> {
        let binary = provide_or_skip(test)?;
        let (upstream, service) = (Upstream::start(), Upstream::start());
        let render = render(probe, &upstream, &service);
        let envoy = Envoy::start(&binary, render, options).expect("Envoy starts");
        Some(Self { envoy, upstream, service })
    }

    fn send(&self, request: &Request) -> Response {
        send(self.envoy.addr("gateway"), request).expect("an answer")
    }

    /// Everything the upstream has seen, when it has seen at least so much.
    fn seen(&self, count: usize) -> Vec<Recorded> {
        self.upstream.wait_for(count, Duration::from_secs(5))
    }

    /// Envoy still serves, after whatever it was put through.
    fn assert_alive(&self) {
        let before = self.upstream.wait_for(0, Duration::ZERO).len();
        self.upstream.script(Script::new().otherwise(Answer::new(204)));
        let response = self.send(&Request::get("/alive"));
        assert!(response.status < 500, "{}", response.status);
        assert!(self.upstream.wait_for(before + 1, Duration::from_secs(5)).len() > before);
    }
}

fn render(probe: &Value, upstream: &Upstream, service: &Upstream) -> Render {
    render_of(Render::from_file(CONFIG).expect("the fixture"), probe, upstream, service)
}

fn render_of(config: Render, probe: &Value, upstream: &Upstream, service: &Upstream) -> Render {
    config
        .built_wasm()
        .wasm_config("probe", probe)
        .cluster_endpoint("upstream", upstream.addr(), Transport::Plain)
        .cluster_endpoint("service", service.addr(), Transport::Plain)
}

fn post(body: impl Into<Vec<u8>>) -> Request {
    Request::new("POST", "/v1/x").body(body)
}

/// Replaces the request body by a text, so many times.
fn replacing(text: &str, times: usize) -> Value {
    json!({ "requestLimit": LIMIT, "requestBody": { "text": text, "times": times } })
}

fn calling(reply: bool, half: &str) -> Value {
    let call = json!({ "cluster": "service", "path": "/check", "reply": reply, "timeoutMs": 5000 });
    let mut config = json!({ "requestLimit": LIMIT, "responseLimit": LIMIT, format!("{half}Call"): call });
    if half == "response" {
        config["response"] = json!("whole");
    }
    config
}

/// Asks the service before it is said what is wanted of a response.
fn calling_from_the_head(what: &str) -> Value {
    let call =
        json!({ "cluster": "service", "path": "/other", "take": false, "reply": false, "timeoutMs": 5000 });
    let mut config =
        json!({ "response": "pass", "responseLimit": LIMIT, "responseTail": "!", "responseHeadCall": call });
    match what {
        "take" | "reply" => config["responseHeadCall"][what] = json!(true),
        mode => config["response"] = json!(mode),
    }
    config
}

#[test]
fn rule_01_heads_are_held_only_when_a_body_follows() {
    let mut config = replacing("new", 1);
    config["response"] = json!("whole");
    config["responseLimit"] = json!(LIMIT);
    config["requestHeaders"] = json!({ "x-probe": "1" });
    let Some(gateway) = Gateway::start("rule_01", &config) else { return };
    gateway
        .upstream
        .script(Script::new().at("/none", Answer::new(204)).otherwise(Answer::new(200).body("answer")));

    let with_body = gateway.send(&post("something"));
    assert_eq!((with_body.status, with_body.text().as_str()), (200, "answer"));
    let head_only = gateway.send(&Request::get("/"));
    assert_eq!(head_only.text(), "answer");
    assert_eq!(gateway.send(&Request::new("HEAD", "/")).status, 200);
    assert_eq!(gateway.send(&Request::get("/none")).status, 204);

    let seen = gateway.seen(4);
    assert_eq!(seen[0].text(), "new");
    assert!(seen.iter().all(|request| request.header("x-probe").as_deref() == Some("1")));
}

#[test]
fn rule_01_a_response_waits_for_the_call_of_its_head_with_or_without_a_body() {
    for (mode, body) in [("pass", "failed twice"), ("whole", "failed twice"), ("chunks", "FAILED TWICE!")] {
        let Some(gateway) = Gateway::start("rule_01", &calling_from_the_head(mode)) else { return };
        for delay in [0, 50, 200] {
            let mut slow = Answer::new(200).body("granted");
            slow.delay = Duration::from_millis(delay);
            gateway.service.script(slow);
            let pieces = [("failed ", 0), ("twice", 100)];
            gateway.upstream.script(pieces.iter().fold(Answer::new(503), |answer, (piece, wait)| {
                answer.chunk((piece.as_bytes().to_vec(), Duration::from_millis(*wait)))
            }));
            let response = gateway.send(&post("body"));
            assert_eq!((response.status, response.text().as_str()), (503, body), "{mode} {delay}");
            assert_eq!(response.header("x-call").as_deref(), Some("200 granted"), "{mode} {delay}");
            assert!(response.complete);
            gateway.upstream.script(Answer::new(204));
            let bare = gateway.send(&Request::get("/none"));
            assert_eq!((bare.status, bare.header("x-call").as_deref()), (204, Some("200 granted")));
        }
        gateway.assert_alive();
    }
}

#[test]
fn rule_02_a_request_waits_for_its_callout_whatever_body_arrives() {
    let Some(gateway) = Gateway::start("rule_02", &calling(false, "request")) else { return };
    let mut slow = Answer::new(200).body("granted");
    slow.delay = Duration::from_millis(300);
    gateway.service.script(slow);
    let started = Instant::now();
    let response = gateway.send(&post("").chunks(["one", "two", "three"]));
    assert_eq!(response.status, 200);
    assert!(started.elapsed() >= Duration::from_millis(300));
    let seen = gateway.seen(1);
    assert_eq!(seen[0].header("x-call").as_deref(), Some("200 granted"));
    assert_eq!(seen[0].text(), "onetwothree");
}

#[test]
fn rule_03_a_changed_body_leaves_no_stray_bytes_on_the_pooled_connection() {
    for times in [0, 1, 40] {
        let Some(gateway) = Gateway::start("rule_03", &replacing("0123456789", times)) else { return };
        for body in ["short", "a body of another length than before", "x"] {
            assert_eq!(gateway.send(&post(body)).status, 200);
            assert_eq!(gateway.send(&post("").chunks([body])).status, 200);
        }
        let seen = gateway.seen(6);
        assert_eq!(seen.len(), 6);
        for request in &seen {
            assert_eq!((request.method.as_str(), request.body.len()), ("POST", 10 * times));
            assert_eq!(request.header("content-length"), Some((10 * times).to_string()));
            assert_eq!(request.header("transfer-encoding"), None);
        }
        assert!(gateway.upstream.stray().is_empty(), "{:?}", gateway.upstream.stray());
    }
}

#[test]
fn rule_03_a_changed_response_is_neither_cut_nor_awaited() {
    let config = json!({ "response": "whole", "responseLimit": LIMIT, "responseBody": { "text": "0123456789", "times": 3 } });
    let Some(gateway) = Gateway::start("rule_03", &config) else { return };
    for body in ["", "short", "a body that is longer than thirty bytes is"] {
        gateway.upstream.script(Answer::new(200).body(body));
        let response = gateway.send(&Request::get("/"));
        let expected = if body.is_empty() { String::new() } else { "0123456789".repeat(3) };
        assert_eq!(response.text(), expected);
        assert!(response.complete);
    }
}

#[test]
fn rule_04_no_write_exceeds_the_buffer_limit() {
    let over = json!({ "text": "x", "times": LIMIT + 1 });
    let in_request = json!({ "requestLimit": LIMIT, "requestBody": over });
    let mut in_request_call = calling(false, "request");
    in_request_call["requestBody"] = over.clone();
    let in_response = json!({ "response": "whole", "responseLimit": LIMIT, "responseBody": over });
    let mut in_response_call = calling(false, "response");
    in_response_call["responseBody"] = over;
    for (config, status) in
        [(in_request, 413), (in_request_call, 413), (in_response, 502), (in_response_call, 502)]
    {
        let Some(gateway) = Gateway::start("rule_04", &config) else { return };
        gateway.upstream.script(Answer::new(200).chunk("one").chunk("two"));
        let response = gateway.send(&post("").chunks(["a", "b"]));
        assert_eq!(response.status, status, "{config}");
        gateway.assert_alive();
    }
}

#[test]
fn rule_04_a_body_over_the_limit_is_refused_in_json() {
    let config = json!({ "requestLimit": 1000, "requestBody": { "text": "x", "times": 1 } });
    let Some(gateway) = Gateway::start("rule_04", &config) else { return };
    let declared = gateway.send(&post(vec![b'x'; 1001]));
    let undeclared = gateway.send(&post("").chunks([vec![b'x'; 600], vec![b'x'; 600]]));
    for response in [declared, undeclared] {
        assert_eq!(response.status, 413);
        assert_eq!(response.json()["error"]["code"], "request_too_large");
    }
    gateway.assert_alive();
}

#[test]
fn rule_05_a_request_goes_upstream_once() {
    let Some(gateway) = Gateway::start("rule_05", &calling(false, "request")) else { return };
    for _ in 0..20 {
        assert_eq!(gateway.send(&post("body")).status, 200);
        assert_eq!(gateway.send(&Request::get("/")).status, 200);
    }
    assert_eq!(gateway.seen(40).len(), 40);
    assert_eq!(gateway.service.take().len(), 40);
}

#[test]
fn rule_05_nothing_goes_upstream_after_a_reply() {
    let Some(gateway) = Gateway::start("rule_05", &calling(true, "request")) else { return };
    gateway.service.script(Answer::new(401).body("no"));
    for request in [post("body"), Request::get("/")] {
        let response = gateway.send(&request);
        assert_eq!((response.status, response.text().as_str()), (403, "401 no"));
    }
    assert!(gateway.upstream.take().is_empty());
}

#[test]
fn rule_05_another_answer_takes_the_place_of_a_response_once() {
    let Some(gateway) = Gateway::start("rule_05", &calling_from_the_head("take")) else { return };
    // More than the buffer limit, which is for what waits in Envoy.
    let large = "x".repeat(3 * LIMIT);
    for body in ["ok", large.as_str()] {
        gateway.service.script(Answer::new(201).header("x-from", "service").body(body));
        for (answer, request) in [
            (Answer::new(503).body("failed"), post("body")),
            (Answer::new(503).chunk("fai").chunk(("led", Duration::from_millis(100))), post("body")),
            (Answer::new(503), Request::get("/")),
        ] {
            gateway.upstream.script(answer);
            let response = gateway.send(&request);
            assert_eq!(response.status, 201);
            assert!(response.text() == body, "{} bytes", response.text().len());
            assert_eq!(response.header("x-from").as_deref(), Some("service"));
            assert_eq!(response.header("content-length"), Some(body.len().to_string()));
            assert!(response.complete);
        }
    }
    let h2 = gateway.send(&post("body").over(Version::H2));
    assert_eq!((h2.status, h2.text().len()), (201, large.len()));
    assert_eq!(gateway.seen(7).len(), 7);
    assert_eq!(gateway.service.take().len(), 7);
    gateway.assert_alive();
}

#[test]
fn rule_05_a_reply_takes_the_place_of_a_response() {
    let Some(gateway) = Gateway::start("rule_05", &calling_from_the_head("reply")) else { return };
    gateway.service.script(Answer::new(200).body("no"));
    for answer in [Answer::new(503).body("failed"), Answer::new(503)] {
        gateway.upstream.script(answer);
        let response = gateway.send(&post("body"));
        assert_eq!((response.status, response.text().as_str()), (451, "200 no"));
    }
    gateway.assert_alive();
}

#[test]
fn rule_06_an_odd_header_byte_harms_nobody() {
    let Some(gateway) = Gateway::start("rule_06", &replacing("new", 1)) else { return };
    let response = gateway.send(&post("body").header("x-odd", b"caf\xe9 \xff".to_vec()));
    assert_eq!(response.status, 200);
    let seen = gateway.seen(1);
    assert!(seen[0].headers.iter().any(|(name, value)| name == "x-odd" && value == b"caf\xe9 \xff"));
    gateway.assert_alive();
}

#[test]
fn rule_07_the_request_head_is_known_in_the_response() {
    let config = json!({ "response": "pass", "echoHeader": "x-client" });
    let Some(gateway) = Gateway::start("rule_07", &config) else { return };
    let response = gateway.send(&Request::get("/").header("x-client", "me"));
    assert_eq!(response.header("x-request-header").as_deref(), Some("me"));
}

#[test]
fn rule_08_a_callout_that_breaks_off_is_a_failure_not_a_trap() {
    let Some(gateway) = Gateway::start("rule_08", &calling(false, "request")) else { return };
    gateway.service.script(Answer::new(200).chunk("half").then(Then::Reset));
    assert_eq!(gateway.send(&post("body")).status, 200);
    assert_eq!(gateway.seen(1)[0].header("x-call").as_deref(), Some("failed empty"));
}

#[test]
fn rule_08_a_callout_that_times_out_or_finds_nobody_is_answered() {
    let mut config = calling(false, "request");
    config["requestCall"]["timeoutMs"] = json!(200);
    let Some(gateway) = Gateway::start("rule_08", &config) else { return };
    gateway.service.script(Answer::silence());
    assert_eq!(gateway.send(&post("body")).status, 200);
    let told = gateway.seen(1)[0].header("x-call").unwrap_or_default();
    assert!(told.starts_with("504"), "{told}");
}

#[test]
fn rule_09_a_callout_that_cannot_start_does_not_hang() {
    let mut config = calling(false, "request");
    config["requestCall"]["cluster"] = json!("nowhere");
    let Some(gateway) = Gateway::start("rule_09", &config) else { return };
    for request in [post("body"), Request::get("/")] {
        assert_eq!(gateway.send(&request).status, 200);
    }
    let seen = gateway.seen(2);
    assert!(seen.iter().all(|request| request.header("x-call").as_deref() == Some("failed bad argument")));
}

#[test]
fn rule_08_and_09_a_response_survives_the_call_of_its_head() {
    let mut nowhere = calling_from_the_head("pass");
    nowhere["responseHeadCall"]["cluster"] = json!("nowhere");
    for (config, told) in [(calling_from_the_head("pass"), "failed empty"), (nowhere, "failed bad argument")]
    {
        let Some(gateway) = Gateway::start("rule_08", &config) else { return };
        gateway.service.script(Answer::new(200).chunk("half").then(Then::Reset));
        for answer in [Answer::new(503).body("failed"), Answer::new(503)] {
            gateway.upstream.script(answer);
            let response = gateway.send(&post("body"));
            assert_eq!((response.status, response.header("x-call").as_deref()), (503, Some(told)));
        }
        gateway.assert_alive();
    }
}

#[test]
fn rule_04_a_response_too_large_to_wait_is_let_go() {
    let mut config = calling_from_the_head("take");
    config["responseLimit"] = json!(50_000);
    let Some(gateway) = Gateway::start("rule_04", &config) else { return };
    let mut slow = Answer::new(200).body("late");
    slow.delay = Duration::from_millis(500);
    gateway.service.script(slow);
    gateway.upstream.script(Answer::new(503).body("x".repeat(500_000)));
    let response = gateway.send(&post("body"));
    assert_eq!((response.status, response.text().len()), (503, 500_000));
    gateway.assert_alive();
}

#[test]
fn one_worker_does_the_periodic_work_of_all() {
    let call = json!({ "cluster": "service", "path": "/tick", "timeoutMs": 1000 });
    let config = json!({ "tick": { "everyMs": 100, "turn": true, "call": call } });
    let options = Options { concurrency: 2, ..Options::default() };
    let Some(gateway) = Gateway::start_with("ticks", &config, options) else { return };
    std::thread::sleep(Duration::from_millis(1500));
    let stat = |name: &str| {
        let stats = gateway.envoy.stats(name).expect("the admin answers");
        stats.iter().find(|(known, _)| known.ends_with(name)).map_or(0, |(_, value)| *value)
    };
    let (turns, ticks) = (stat("probe_turns"), stat("probe_ticks"));
    let answers = stat("probe_tick_answers");
    let called = gateway.service.take().len() as u64;
    // Two workers and the main thread tick ten times a second each, on a machine that has other work too.
    assert!(ticks >= 2 * turns, "{ticks} ticks, {turns} turns");
    assert!((4..=17).contains(&turns), "{turns} turns in a second and a half");
    assert!(called >= turns && called - answers <= 2, "{called} calls, {answers} answers");
    gateway.assert_alive();
}

#[test]
fn without_periodic_work_there_is_no_timer() {
    let Some(gateway) = Gateway::start("no ticks", &json!({})) else { return };
    std::thread::sleep(Duration::from_millis(300));
    assert!(gateway.envoy.stats("probe_ticks").expect("the admin answers").is_empty());
}

#[test]
fn rule_10_streamed_pieces_are_replaced_whole() {
    let config = json!({ "response": "chunks", "responseTail": "-end" });
    let Some(gateway) = Gateway::start("rule_10", &config) else { return };
    let pieces = ["one ", "two ", "three"];
    gateway.upstream.script(pieces.iter().fold(Answer::new(200), |answer, piece| {
        answer.chunk((piece.as_bytes().to_vec(), Duration::from_millis(60)))
    }));
    let response = gateway.send(&Request::get("/"));
    assert_eq!(response.text(), "ONE TWO THREE-end");
    assert!(response.chunks.len() >= 3, "pieces go out as they come: {:?}", response.chunks);
    let declared = Answer::new(200).header("content-length", "3").chunk("abc");
    gateway.upstream.script(declared);
    assert_eq!(gateway.send(&Request::get("/")).text(), "ABC-end");
}

#[test]
fn rule_10_a_request_body_is_rewritten_as_it_comes() {
    let config = json!({ "requestChunks": true, "requestBody": { "text": "", "times": 0 } });
    let Some(gateway) = Gateway::start("rule_10_request", &config) else { return };
    let pieces = ["one x ", "---", "two x ", "three"];
    let paced = |version| {
        post("")
            .chunks(pieces.map(|piece| (piece.as_bytes().to_vec(), Duration::from_millis(30))))
            .over(version)
    };
    for version in [Version::H1, Version::H2] {
        assert_eq!(gateway.send(&paced(version)).status, 200);
    }
    // Over the buffer limit, for nothing is held; with a length that no longer holds, too.
    let large = "x".repeat(3 * LIMIT);
    assert_eq!(gateway.send(&post(large)).status, 200);
    let seen = gateway.seen(3);
    for request in &seen[..2] {
        assert_eq!(request.text(), "one xx two xx threeend");
        assert_eq!(request.header("content-length"), None);
    }
    assert!(seen[2].body.len() == 6 * LIMIT + 3 && seen[2].text().ends_with("xend"));
    assert!(gateway.upstream.stray().is_empty(), "{:?}", gateway.upstream.stray());

    let mut early = Answer::new(200).body("enough");
    early.early = true;
    gateway.upstream.script(early);
    assert_eq!(gateway.send(&paced(Version::H2)).text(), "enough");
    gateway.upstream.script(Answer::new(200));
    let refused = gateway
        .send(&post("").chunks([("x".into(), Duration::ZERO), (b"!".to_vec(), Duration::from_millis(50))]));
    assert_eq!(refused.status, 400);
    assert_eq!(refused.json()["error"]["code"], "bad_body");
    gateway.assert_alive();
}

#[test]
fn rule_11_trailers_end_a_body() {
    let mut config = replacing("new", 1);
    config["response"] = json!("whole");
    config["responseLimit"] = json!(LIMIT);
    config["responseBody"] = json!({ "text": "answer", "times": 1 });
    let Some(gateway) = Gateway::start("rule_11", &config) else { return };
    gateway.upstream.script(Answer::new(200).chunk("old").trailer("x-end", "1"));
    let response = gateway.send(&post("").chunks(["old"]).trailer("x-last", "1"));
    assert_eq!(response.text(), "answer");
    assert_eq!(gateway.seen(1)[0].text(), "new");
    let h2 = gateway.send(&post("").chunks(["old"]).trailer("x-last", "1").over(Version::H2));
    assert_eq!((h2.status, h2.text().as_str()), (200, "answer"));
}

#[test]
fn rule_12_a_trap_is_over_after_the_reload() {
    let Some(gateway) = Gateway::start("rule_12", &json!({ "trap": true })) else { return };
    assert_eq!(gateway.send(&Request::get("/")).status, 200);
    assert_eq!(gateway.send(&Request::get("/").header("x-trap", "1")).status, 503);
    let started = Instant::now();
    while gateway.send(&Request::get("/")).status != 200 {
        assert!(started.elapsed() < Duration::from_secs(20), "no reload");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(gateway.envoy.log().contains("probe: trapped as told"), "the panic is in the log");
}

#[test]
fn rule_13_clock_randomness_and_environment_are_there() {
    let Some(gateway) = Gateway::start("rule_13", &json!({ "surroundings": "${GREETING} you" })) else {
        return;
    };
    for _ in 0..2 {
        assert_eq!(gateway.send(&Request::get("/")).status, 200);
    }
    let seen = gateway.seen(2);
    let number = |at: usize, name: &str| -> u64 {
        seen[at].header(name).and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name}"))
    };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock").as_secs();
    assert!(number(0, "x-now").abs_diff(now) < 60);
    assert!(number(1, "x-monotonic") > number(0, "x-monotonic"));
    assert_ne!(number(0, "x-random"), number(1, "x-random"));
    assert_eq!(seen[0].header("x-variable").as_deref(), Some("hello you"));
}

#[test]
fn rule_14_a_waiting_callout_holds_up_nobody_else() {
    let mut config = calling(false, "request");
    config["_rules_"] = json!([{ "_match_domain_": ["free.test"] }]);
    let Some(gateway) = Gateway::start("rule_14", &config) else { return };
    let mut slow = Answer::new(200);
    slow.delay = Duration::from_secs(2);
    gateway.service.script(slow);
    let address = gateway.envoy.addr("gateway");
    let waiting = std::thread::spawn(move || send(address, &post("body")).map(|response| response.status));
    assert_eq!(gateway.service.wait_until(Duration::from_secs(5), |seen| !seen.is_empty()).len(), 1);
    let started = Instant::now();
    assert_eq!(gateway.send(&Request::get("/").header("host", "free.test")).status, 200);
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    assert_eq!(waiting.join().expect("the thread").expect("an answer"), 200);
}

#[test]
fn rule_15_a_bad_config_is_refused_with_one_line() {
    let Some(binary) = provide_or_skip("rule_15") else { return };
    let (upstream, service) = (Upstream::start(), Upstream::start());
    let render = render(&json!({ "requestLimit": { "a": 1 } }), &upstream, &service);
    let refused = Envoy::start(&binary, render, Options::default()).err();
    let Some(StartError::Exited { log, .. }) = refused else { panic!("Envoy must exit: {refused:?}") };
    let lines: Vec<_> = log.lines().filter(|line| line.contains("probe: requestLimit: ")).collect();
    assert!(!lines.is_empty(), "{log}");
    assert!(!log.contains("panicked"), "{log}");
}

/// The probe stands in the chain of the cluster `upstream`, and Envoy tries again what fails.
fn in_the_upstream_chain(probe: &Value, upstream: &Upstream, service: &Upstream) -> Render {
    const MANAGER: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
    const CHAIN: &str = "/static_resources/clusters/0/typed_extension_protocol_options/envoy.extensions.upstreams.http.v3.HttpProtocolOptions/http_filters";
    let config = Render::from_file(CONFIG).expect("the fixture").finish().expect("it renders");
    let filters = &config.pointer(MANAGER).expect("the manager")["http_filters"];
    let codec = "type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec";
    let codec = json!({ "name": "codec", "typed_config": { "@type": codec } });
    render_of(
        Render::from_value(config.clone()).set(CHAIN, json!([filters[0], codec])),
        probe,
        upstream,
        service,
    )
    .set(&format!("{MANAGER}/http_filters"), json!([filters[1]]))
    .set(
        &format!("{MANAGER}/route_config/virtual_hosts/0/routes/0/route/retry_policy"),
        json!({ "retry_on": "5xx", "num_retries": 1 }),
    )
}

#[test]
fn rule_16_what_is_tried_again_has_not_waited_for_its_body_before_1_37() {
    let Some(binary) = provide_or_skip("rule_16") else { return };
    let can_wait = binary.is_at_least(Release::v1(37));
    let body = json!({ "text": "new", "times": 1 });
    let whole = json!({ "response": "whole", "responseLimit": 500, "inPlace": true, "responseBody": body });
    let opens = json!({ "response": "opening", "responseLimit": 500, "responseUntil": "b", "inPlace": true });
    let failed = || Answer::new(503).chunk("fa").chunk(("iled", Duration::from_millis(20)));
    let begun = || Answer::new(200).chunk("a").chunk(("!", Duration::from_millis(20)));
    let long = |status| Answer::new(status).body("x".repeat(501));
    for (probe, answer, is_retried, said) in [
        // The head of a failure leaves first, where it has to.
        (&whole, failed(), true, "new"),
        (&whole, failed().trailer("x-end", "1"), true, "new"),
        (&whole, Answer::new(503).body(""), true, ""),
        // So does that of a failure of our own making, with nothing of the body seen.
        (&whole, long(503), true, "response_too_large"),
        // What a body shows is too late.
        (&opens, begun(), can_wait, "bad_opening"),
        (&whole, long(200).content_length(ContentLength::None), can_wait, "response_too_large"),
    ] {
        let (upstream, service) = (Upstream::start(), Upstream::start());
        let render = in_the_upstream_chain(probe, &upstream, &service);
        let envoy = Envoy::start(&binary, render, Options::default()).expect("Envoy starts");
        let gateway = Gateway { envoy, upstream, service };
        let fine = Answer::new(200).body("b");
        let expected = if probe == &whole { "new" } else { "B" };
        for attempts in [1, 2] {
            let script = (0..attempts).fold(Script::new(), |script, _| script.next(answer.clone()));
            gateway.upstream.script(script.otherwise(fine.clone()));
            let response = gateway.send(&post("something"));
            let tried = gateway.upstream.take().len();
            if is_retried && attempts == 1 {
                assert_eq!((response.status, response.text().as_str(), tried), (200, expected, 2), "{said}");
            } else {
                assert!(response.status >= 500 && response.complete, "{} {said}", response.status);
                assert!(response.text().contains(said), "{} {said}", response.text());
                assert_eq!(tried, if is_retried { 2 } else { 1 }, "{said}");
            }
        }
        gateway.assert_alive();
    }
}

#[test]
fn a_configuration_may_come_as_a_struct() {
    let Some(binary) = provide_or_skip("a Struct as configuration") else { return };
    let (upstream, service) = (Upstream::start(), Upstream::start());
    let config = json!({
        "@type": "type.googleapis.com/google.protobuf.Struct",
        "value": { "requestHeaders": { "x-probe": "from a Struct" }, "requestLimit": 1000 },
    });
    let filter = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters/0";
    let place = format!("{filter}/typed_config/config/configuration");
    let render = render(&json!({}), &upstream, &service).set(&place, config);
    let envoy = Envoy::start(&binary, render, Options::default()).expect("Envoy starts");
    assert_eq!(send(envoy.addr("gateway"), &Request::get("/")).expect("an answer").status, 200);
    let seen = upstream.wait_for(1, Duration::from_secs(5));
    assert_eq!(seen[0].header("x-probe").as_deref(), Some("from a Struct"));
}

#[test]
fn a_naive_layout_is_caught_by_a_log_line() {
    let Some(binary) = provide_or_skip("naive layout") else { return };
    let (upstream, service) = (Upstream::start(), Upstream::start());
    let probe = json!({ "requestHeaders": { ":authority": "api.vendor.example" } });
    let render = render(&probe, &upstream, &service).set(
        "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/route_config/virtual_hosts/0/domains",
        json!(["gateway.test"]),
    );
    let envoy = Envoy::start(&binary, render, Options::default()).expect("Envoy starts");
    let request = Request::get("/v1/x").header("host", "gateway.test");
    assert_eq!(send(envoy.addr("gateway"), &request).expect("an answer").status, 404);
    assert!(
        envoy.wait_for_log(
            "no route matches after the rewrite to api.vendor.example/v1/x",
            Duration::from_secs(5)
        ),
        "{}",
        envoy.log()
    );
}

#[test]
fn an_upgraded_connection_is_never_held() {
    let binary = provide_or_skip("upgrade");
    let Some(binary) = binary else { return };
    let (upstream, service) = (Upstream::start(), Upstream::start());
    let render = render(&replacing("new", 1), &upstream, &service).set(
        "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/upgrade_configs",
        json!([{ "upgrade_type": "websocket" }]),
    );
    let envoy = Envoy::start(&binary, render, Options::default()).expect("Envoy starts");
    upstream.script(Answer::new(426).body("no upgrade here"));
    let request = Request::get("/v1/realtime")
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("sec-websocket-version", "13");
    let response = send(envoy.addr("gateway"), &request).expect("an answer, so the head was not held");
    assert_eq!(response.status, 426);

    // With a body of its own it would go past every plugin that has to read it.
    let request = post("something").header("connection", "Upgrade").header("upgrade", "websocket");
    let response = send(envoy.addr("gateway"), &request).expect("an answer");
    assert_eq!(response.status, 400);
    assert_eq!(response.json()["error"]["code"], "upgrade_with_body");
    assert_eq!(upstream.take().len(), 1);
}

#[test]
fn simd_and_bulk_memory_load_in_stock_envoy() {
    let Some(gateway) = Gateway::start("features", &json!({})) else { return };
    assert_eq!(gateway.send(&Request::get("/")).status, 200);
    let module = test_harness::toolchain::module("probe").expect("the module");
    let bytes = std::fs::read(module).expect("the module is readable");
    let names = |feature: &str| bytes.windows(feature.len()).any(|window| window == feature.as_bytes());
    // The `target_features` section names what the module was compiled with.
    assert!(names("+simd128") || names("simd128"), "simd128 is off");
    assert!(names("bulk-memory"), "bulk-memory is off");
}
