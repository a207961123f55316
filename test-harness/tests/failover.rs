//! Failover across vendors, with Envoy's own retries: the shipped config, every fault, every client.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "in a test, a panic is the verdict"
)]

use std::net::{SocketAddr, TcpListener};

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use test_harness::client::{Request, Response, send};
use test_harness::envoy::{Envoy, EnvoyBinary, Options, Release, Render, Transport, provide_or_skip};
use test_harness::upstream::{Answer, ContentLength, Recorded, Script, Then, Upstream};
use test_harness::workspace_root;

/// The text that every vendor answers with.
const WORD: &str = "Pong";
/// The client's own key, which no vendor may see.
const CLIENTS: &str = "sk-clients";
/// The providers of the config, in the order in which they are tried.
const PROVIDERS: [&str; 3] = ["anthropic", "openai", "deepseek"];

/// Who stands behind an endpoint.
#[derive(Debug, Clone, Copy)]
struct Vendor {
    /// As `type` names it.
    kind: &'static str,
    model: &'static str,
}

const CLAUDE: Vendor = Vendor { kind: "claude", model: "claude-sonnet-4-5" };
const OPENAI: Vendor = Vendor { kind: "openai", model: "gpt-5.5" };
/// With a model that does not think.
const OPENAI_BEFORE: Vendor = Vendor { kind: "openai", model: "gpt-4o" };
const DEEPSEEK: Vendor = Vendor { kind: "deepseek", model: "deepseek-chat" };

/// What goes wrong at the first vendor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    Status(u16),
    /// The connection is reset, after the beginning of a stream where there is one.
    Reset,
    /// Nobody listens.
    Refused,
    /// Nothing more comes, after the beginning of a stream where there is one.
    Silent,
    /// A stream begins with an error.
    ErrorEvent,
    /// A stream ends before its first word.
    Empty,
    /// It ends where it begins.
    Bare,
}

const WRONGS: [Wrong; 9] = [
    Wrong::Status(429),
    Wrong::Status(401),
    Wrong::Status(500),
    Wrong::Reset,
    Wrong::Refused,
    Wrong::Silent,
    Wrong::ErrorEvent,
    Wrong::Empty,
    Wrong::Bare,
];

impl Wrong {
    /// How long Envoy waits for a vendor. Where none is silent it is only a busy machine that takes time.
    fn patience(self) -> &'static str {
        if self == Self::Silent { "0.5s" } else { "10s" }
    }

    /// Only the body shows that it is a failure.
    fn is_within(self) -> bool {
        matches!(self, Self::ErrorEvent | Self::Empty | Self::Bare)
    }

    /// Whether Envoy tries again. [rule 16] Before 1.37 it cannot when the body has been seen. That it does from then on
    /// proves as well that it tells its version.
    fn is_retried(self, binary: &EnvoyBinary) -> bool {
        !self.is_within() || binary.is_at_least(Release::v1(37))
    }
}

/// What a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Client {
    Chat,
    Messages,
    Responses,
}

const CLIENTS_OF_ALL_KINDS: [Client; 3] = [Client::Chat, Client::Messages, Client::Responses];

impl Client {
    fn request(self, streams: bool) -> Request {
        let (path, mut body) = match self {
            Self::Chat => {
                ("/v1/chat/completions?x=1", json!({ "messages": [{ "role": "user", "content": "Ping" }] }))
            }
            Self::Messages => ("/v1/messages?beta=true", claude_code()),
            Self::Responses => ("/v1/responses", json!({ "input": "Ping" })),
        };
        body["model"] = json!("best");
        if streams {
            body["stream"] = json!(true);
        }
        let request = Request::post_json(path, &body);
        match self {
            Self::Messages => request.header("x-api-key", CLIENTS).header("anthropic-version", "2023-06-01"),
            Self::Chat | Self::Responses => request.header("authorization", format!("Bearer {CLIENTS}")),
        }
    }

    /// The answer is one of this client's own.
    fn check(self, response: &Response, streams: bool) {
        let text = response.text();
        assert_eq!(response.status, 200, "{text}");
        assert!(response.complete, "{text}");
        if streams {
            let is_ended = match self {
                Self::Chat => text.ends_with("data: [DONE]\n\n"),
                Self::Messages => text.contains("event: message_stop\n"),
                Self::Responses => text.contains("event: response.completed\n"),
            };
            assert!(is_ended && text.matches(WORD).count() >= 1, "{text}");
            assert!(!text.contains("error\":{"), "{text}");
            return;
        }
        let body = response.json();
        let said = match self {
            Self::Chat => &body["choices"][0]["message"]["content"],
            Self::Messages => &body["content"][0]["text"],
            Self::Responses => &body["output"][0]["content"][0]["text"],
        };
        assert_eq!(said, WORD, "{text}");
    }

    /// The answer is an error of this client's own.
    fn check_error(self, response: &Response) {
        let text = response.text();
        assert!(matches!(response.status, 502 | 529) && response.complete, "{} {text}", response.status);
        let body = response.json();
        assert!(body["error"]["message"].is_string(), "{text}");
        assert_eq!(body["type"] == "error", self == Self::Messages, "{text}");
    }
}

/// What Claude Code asks for, in a turn that another vendor has begun: it thinks and has called a tool.
fn claude_code() -> Value {
    let cached = json!({ "type": "ephemeral" });
    json!({
        "max_tokens": 32000,
        "temperature": 1,
        "thinking": { "type": "adaptive" },
        "metadata": { "user_id": "user" },
        "system": [{ "type": "text", "text": "You use tools.", "cache_control": cached }],
        "tools": [{ "name": "Bash", "description": "Runs a command", "input_schema": {
            "type": "object", "properties": { "command": { "type": "string" } }, "required": ["command"] } }],
        "messages": [
            { "role": "user", "content": [{ "type": "text", "text": "Ping" }] },
            { "role": "assistant", "content": [
                { "type": "thinking", "thinking": "Well.", "signature": "unsigned:ai-proxy" },
                { "type": "tool_use", "id": "functions_Bash_0", "name": "Bash", "input": { "command": "ls" } }] },
            { "role": "user", "content": [
                { "type": "tool_result", "tool_use_id": "functions_Bash_0", "content": "a", "cache_control": cached }] },
        ],
    })
}

/// What a vendor refuses, in its own words.
fn refusal(request: &Recorded) -> Option<Answer> {
    let (host, path, body) = (request.host().unwrap_or_default(), request.path(), request.json());
    let model = body["model"].as_str().unwrap_or_default();
    let has = |name: &str| !body[name].is_null();
    let thinks = has("reasoning") || has("reasoning_effort");
    let says = match host.as_str() {
        "api.openai.com" if path.contains("/chat/completions") && has("tools") && has("reasoning_effort") => {
            format!(
                "Function tools with reasoning_effort are not supported for {model} in /v1/chat/completions. Please use /v1/responses instead."
            )
        }
        "api.openai.com" if model == OPENAI_BEFORE.model && thinks => {
            "Unsupported parameter: 'reasoning.effort' is not supported with this model.".to_owned()
        }
        "api.openai.com" if model == OPENAI.model && has("temperature") => {
            "Unsupported parameter: 'temperature' is not supported with this model.".to_owned()
        }
        "api.anthropic.com" if body["messages"].to_string().contains("unsigned") => {
            "messages.1.content.0: Invalid `signature` in `thinking` block".to_owned()
        }
        _ => return None,
    };
    let error = json!({ "type": "error", "error": { "type": "invalid_request_error", "message": says } });
    Some(Answer::json(400, &error))
}

/// A vendor that answers whatever it is asked, in the API that it is asked in.
fn vendor(request: &Recorded) -> Answer {
    if let Some(refusal) = refusal(request) {
        return refusal;
    }
    let streams = request.json()["stream"] == true;
    let path = request.path();
    if path.contains("/messages") {
        messages(streams)
    } else if path.contains("/responses") {
        responses(streams)
    } else {
        chat(streams)
    }
}

fn events(events: &[(&str, Value)]) -> Answer {
    let answer =
        Answer::new(200).header("content-type", "text/event-stream").content_length(ContentLength::None);
    events
        .iter()
        .fold(answer, |answer, (name, data)| answer.chunk(format!("event: {name}\ndata: {data}\n\n")))
}

fn messages(streams: bool) -> Answer {
    let message = json!({ "id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "content": [],
        "stop_reason": null, "stop_sequence": null, "usage": { "input_tokens": 3, "output_tokens": 1 } });
    if !streams {
        let mut whole = message;
        whole["content"] = json!([{ "type": "text", "text": WORD }]);
        whole["stop_reason"] = json!("end_turn");
        return Answer::json(200, &whole);
    }
    events(&[
        ("message_start", json!({ "type": "message_start", "message": message })),
        (
            "content_block_start",
            json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "" } }),
        ),
        (
            "content_block_delta",
            json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": WORD } }),
        ),
        ("content_block_stop", json!({ "type": "content_block_stop", "index": 0 })),
        (
            "message_delta",
            json!({ "type": "message_delta", "delta": { "stop_reason": "end_turn", "stop_sequence": null }, "usage": { "output_tokens": 2 } }),
        ),
        ("message_stop", json!({ "type": "message_stop" })),
    ])
}

fn chat(streams: bool) -> Answer {
    if !streams {
        return Answer::json(
            200,
            &json!({ "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt",
            "choices": [{ "index": 0, "message": { "role": "assistant", "content": WORD }, "finish_reason": "stop" }],
            "usage": { "prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5 } }),
        );
    }
    let chunk = |delta: Value, reason: Value| {
        json!({ "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt",
            "choices": [{ "index": 0, "delta": delta, "finish_reason": reason }] })
        .to_string()
    };
    Answer::sse([
        chunk(json!({ "role": "assistant", "content": "" }), Value::Null),
        chunk(json!({ "content": WORD }), Value::Null),
        chunk(json!({}), json!("stop")),
        "[DONE]".to_owned(),
    ])
}

fn responses(streams: bool) -> Answer {
    let item = json!({ "type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
        "content": [{ "type": "output_text", "text": WORD, "annotations": [] }] });
    let response = |status: &str, output: Value| {
        json!({ "id": "resp_1", "object": "response", "created_at": 1, "model": "gpt", "status": status, "output": output,
            "usage": { "input_tokens": 3, "output_tokens": 2, "total_tokens": 5 } })
    };
    if !streams {
        return Answer::json(200, &response("completed", json!([item])));
    }
    events(&[
        (
            "response.created",
            json!({ "type": "response.created", "sequence_number": 0, "response": response("in_progress", json!([])) }),
        ),
        (
            "response.output_item.added",
            json!({ "type": "response.output_item.added", "sequence_number": 1, "output_index": 0,
            "item": { "type": "message", "id": "msg_1", "role": "assistant", "status": "in_progress", "content": [] } }),
        ),
        (
            "response.output_text.delta",
            json!({ "type": "response.output_text.delta", "sequence_number": 2, "item_id": "msg_1",
            "output_index": 0, "content_index": 0, "delta": WORD }),
        ),
        (
            "response.output_item.done",
            json!({ "type": "response.output_item.done", "sequence_number": 3, "output_index": 0, "item": item }),
        ),
        (
            "response.completed",
            json!({ "type": "response.completed", "sequence_number": 4, "response": response("completed", json!([item])) }),
        ),
    ])
}

/// What the first vendor answers instead.
fn fault(wrong: Wrong) -> Script {
    Script::computed(move |request| {
        let streams = request.json()["stream"] == true;
        // A stream that has begun, and said nothing yet.
        let begun = || {
            let mut answer = vendor(request);
            answer.chunks.truncate(1);
            answer
        };
        match wrong {
            Wrong::Status(status) => Answer::json(
                status,
                &json!({ "type": "error", "error": { "type": "some_error", "message": "not now" } }),
            ),
            Wrong::Reset if streams => begun().then(Then::Reset),
            Wrong::Reset | Wrong::Refused => Answer::reset(),
            Wrong::Silent if streams => begun().then(Then::Hang),
            Wrong::Silent => Answer::silence(),
            Wrong::ErrorEvent => {
                let error =
                    json!({ "type": "error", "error": { "type": "overloaded_error", "message": "busy" } });
                begun().chunk(format!("event: error\ndata: {error}\n\n"))
            }
            Wrong::Empty => begun(),
            Wrong::Bare => {
                let mut answer = begun().content_length(ContentLength::None);
                answer.chunks.clear();
                answer
            }
        }
    })
}

/// How the vendors stand in the config.
#[derive(Debug, Clone, Copy)]
enum Layout {
    /// One cluster, a priority each.
    Priorities,
    /// A cluster each, and one that is composed of them.
    Composite,
}

impl Layout {
    fn file(self) -> &'static str {
        match self {
            Self::Priorities => "envoy/failover.yaml",
            Self::Composite => "envoy/failover-composite.yaml",
        }
    }

    /// Whether this Envoy has all of it.
    fn has_or_skip(self, binary: &EnvoyBinary) -> bool {
        match self {
            Self::Priorities => true,
            Self::Composite => {
                binary.has_or_skip(Release::v1(37), "the composite cluster", "failover among clusters")
            }
        }
    }
}

struct Gateway {
    envoy: Envoy,
    first: Upstream,
    second: Upstream,
}

/// A port where nobody listens.
fn closed_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its address")
}

/// Counts what clients get, before the router.
fn statistics() -> Value {
    let config = json!({
        "name": "ai-statistics",
        "root_id": "ai-statistics",
        "allow_on_headers_stop_iteration": true,
        "failure_policy": "FAIL_RELOAD",
        "configuration": {
            "@type": "type.googleapis.com/google.protobuf.StringValue",
            "value": json!({ "metricsFormat": "otel" }).to_string(),
        },
        "vm_config": {
            "vm_id": "ai-statistics",
            "runtime": "envoy.wasm.runtime.v8",
            "code": { "local": { "filename": "ai-statistics.wasm" } },
        },
    });
    let wasm = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
    let router = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
    json!([
        { "name": "ai-statistics", "typed_config": { "@type": wasm, "config": config } },
        { "name": "router", "typed_config": { "@type": router } },
    ])
}

impl Gateway {
    /// A shipped config, whose first two providers are these.
    fn start(binary: &EnvoyBinary, layout: Layout, vendors: [Vendor; 2], wrong: Wrong) -> Self {
        let (first, second) = (Upstream::start(), Upstream::start());
        second.script(Script::computed(vendor));
        let provider = |id: &str, vendor: Vendor| json!({ "id": id, "type": vendor.kind, "apiTokens": [format!("sk-{id}")], "modelMapping": { "*": vendor.model } });
        let [anthropic, openai, deepseek] = PROVIDERS;
        let providers = json!([
            provider(anthropic, vendors[0]),
            provider(openai, vendors[1]),
            provider(deepseek, DEEPSEEK)
        ]);
        let place = if wrong == Wrong::Refused { closed_port() } else { first.addr() };
        let places = [place, second.addr(), closed_port()];
        let mut render = Render::from_file(workspace_root().join(layout.file()))
            .expect("the file")
            .set(FILTERS, statistics())
            .built_wasm()
            .wasm_config("ai-proxy", &json!({ "maxBodyBytes": 20_000_000, "providers": providers }))
            .set(&format!("{ROUTE}/retry_policy/per_try_timeout"), json!(wrong.patience()));
        for (at, (id, place)) in PROVIDERS.iter().zip(places).enumerate() {
            render = match layout {
                Layout::Priorities => render.cluster_endpoint_at("vendors", at, place, Transport::Plain),
                Layout::Composite => render.cluster_endpoint(id, place, Transport::Plain),
            };
        }
        let envoy = Envoy::start(binary, render, options()).expect("Envoy starts");
        Self { envoy, first, second }
    }

    fn ask(&self, client: Client, streams: bool) -> Response {
        send(self.envoy.addr("gateway"), &client.request(streams)).expect("an answer")
    }
}

const FILTERS: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters";
const ROUTE: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/route_config/virtual_hosts/0/routes/0/route";

fn options() -> Options {
    let variables = ["ANTHROPIC_API_KEY", "OPENAI_API_KEY", "DEEPSEEK_API_KEY"];
    Options {
        variables: variables.map(|name| (name.to_owned(), "unused".to_owned())).to_vec(),
        ..Options::default()
    }
}

/// Only this provider's key is in the request, and it is in the provider's own words.
fn check_request(request: &Recorded, id: &str, vendor: Vendor) {
    let kind = vendor.kind;
    let others = PROVIDERS.iter().filter(|other| **other != id).map(|other| format!("sk-{other}"));
    let head = format!(
        "{:?}",
        request
            .headers
            .iter()
            .map(|(name, value)| (name, String::from_utf8_lossy(value)))
            .collect::<Vec<_>>()
    );
    for key in others.chain([CLIENTS.to_owned()]) {
        assert!(!head.contains(&key), "{kind} sees {key}: {head}");
    }
    assert!(head.contains(&format!("sk-{id}")), "{kind}: {head}");
    let (host, paths): (&str, &[&str]) = match kind {
        "claude" => ("api.anthropic.com", &["/v1/messages", "/v1/messages?beta=true"]),
        "openai" => {
            ("api.openai.com", &["/v1/chat/completions?x=1", "/v1/chat/completions", "/v1/responses"])
        }
        "deepseek" => (
            "api.deepseek.com",
            &["/v1/chat/completions?x=1", "/v1/chat/completions", "/anthropic/v1/messages?beta=true"],
        ),
        other => panic!("{other}"),
    };
    assert_eq!(request.host().as_deref(), Some(host));
    assert!(paths.contains(&request.path().as_str()), "{kind}: {}", request.path());
    assert_eq!(request.json()["model"], vendor.model, "{}", request.text());
    assert_eq!(request.header("content-length"), Some(request.body.len().to_string()));
    let speaks_anthropic = request.path().contains("/messages");
    assert!(speaks_anthropic || request.header("anthropic-version").is_none(), "{kind}: {head}");
    assert!(request.complete);
}

fn play(layout: Layout, vendors: [Vendor; 2]) {
    let Some(binary) = provide_or_skip("failover").filter(|binary| layout.has_or_skip(binary)) else {
        return;
    };
    for wrong in WRONGS {
        let gateway = Gateway::start(&binary, layout, vendors, wrong);
        gateway.first.script(fault(wrong));
        for client in CLIENTS_OF_ALL_KINDS {
            for streams in [false, true] {
                if !streams && wrong.is_within() {
                    continue;
                }
                let what = format!("{vendors:?} {wrong:?} {client:?} streams: {streams}");
                let response = gateway.ask(client, streams);
                if !wrong.is_retried(&binary) {
                    client.check_error(&response);
                    assert_eq!((gateway.first.take().len(), gateway.second.take().len()), (1, 0), "{what}");
                    continue;
                }
                if response.status != 200 {
                    panic!("{what}: {} {}\n{}", response.status, response.text(), gateway.envoy.log());
                }
                client.check(&response, streams);
                let asked = gateway.first.take();
                assert_eq!(asked.len(), usize::from(wrong != Wrong::Refused), "{what}");
                asked.iter().for_each(|request| check_request(request, PROVIDERS[0], vendors[0]));
                let asked = gateway.second.take();
                assert_eq!(asked.len(), 1, "{what}");
                asked.iter().for_each(|request| check_request(request, PROVIDERS[1], vendors[1]));
            }
        }
        assert!(
            gateway.first.stray().is_empty() && gateway.second.stray().is_empty(),
            "{vendors:?} {wrong:?}"
        );
    }
}

#[test]
fn anthropic_fails_over_to_openai() {
    play(Layout::Priorities, [CLAUDE, OPENAI]);
}

#[test]
fn anthropic_fails_over_to_a_model_that_does_not_think() {
    play(Layout::Priorities, [CLAUDE, OPENAI_BEFORE]);
}

#[test]
fn openai_fails_over_to_anthropic() {
    play(Layout::Priorities, [OPENAI, CLAUDE]);
}

#[test]
fn deepseek_fails_over_to_anthropic() {
    play(Layout::Priorities, [DEEPSEEK, CLAUDE]);
}

#[test]
fn clusters_fail_over_like_priorities() {
    play(Layout::Composite, [CLAUDE, DEEPSEEK]);
}

/// What the failure costs beyond itself, and that nothing is lost or crossed in many of them.
#[test]
fn two_thousand_failures_in_a_row_are_all_answered_by_the_second_vendor() {
    let Some(binary) = provide_or_skip("failover in a row") else { return };
    let gateway = Gateway::start(&binary, Layout::Priorities, [OPENAI, CLAUDE], Wrong::Status(429));
    let mut times = [Vec::new(), Vec::new()];
    for (fails, times) in [false, true].into_iter().zip(&mut times) {
        gateway.first.script(if fails { fault(Wrong::Status(429)) } else { Script::computed(vendor) });
        for _ in 0..200 {
            let begun = Instant::now();
            let _ = gateway.ask(Client::Messages, false);
            times.push(begun.elapsed());
        }
        times.sort();
    }
    let [without, with] = times.map(|times| times[times.len() / 2]);
    eprintln!("a failover takes {:?}, the attempt that fails among it", with.saturating_sub(without));
    // Envoy's own pause before another attempt would be 25 ms.
    assert!(with < without + Duration::from_millis(5), "{with:?} with a failure, {without:?} without");
    gateway.first.take();
    gateway.second.take();
    for round in 0..2000 {
        let (client, streams) = (CLIENTS_OF_ALL_KINDS[round % CLIENTS_OF_ALL_KINDS.len()], round % 2 == 0);
        client.check(&gateway.ask(client, streams), streams);
        gateway.first.take().iter().for_each(|request| check_request(request, PROVIDERS[0], OPENAI));
        let asked = gateway.second.take();
        assert_eq!(asked.len(), 1, "{round}");
        asked.iter().for_each(|request| check_request(request, PROVIDERS[1], CLAUDE));
    }
    let count = |outcome: &str| {
        let stats = gateway.envoy.stats(&format!("outcome.{outcome}")).expect("stats");
        stats.values().sum::<u64>()
    };
    assert_eq!((count("failed"), count("served")), (2200, 2400));
    // Who stands above names the vendor whose answer it was.
    let named = |id: &str| {
        let stats = gateway.envoy.admin_get("/stats?filter=gen_ai").expect("stats");
        stats.contains(&format!("provider.{id}."))
    };
    assert!(named(PROVIDERS[1]), "the second vendor has answered");
    assert!(
        !gateway.envoy.admin_get("/stats?filter=gen_ai.*error_type").expect("stats").contains("provider")
    );
}
