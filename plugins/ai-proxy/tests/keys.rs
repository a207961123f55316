//! Keys and callouts: failover, retries and the context file, with the worked cases of the
//! behavioural specification by their numbers.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests state what must hold, and a panic is the verdict"
)]

use std::time::Duration;

use ai_proxy::AiProxy;
use common::filter::{Callout, LogLevel};
use common::testkit::{Played, Script, Worker, load_errors};
use serde_json::{Value, json};

const CHAT: &str = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
const PATH: &str = "/v1/chat/completions?q=1";
const FAILED: &str = r#"{"error":{"message":"no"}}"#;

/// An OpenAI provider with these keys and more settings.
fn openai(tokens: &[&str], more: &Value) -> String {
    let mut provider = json!({ "type": "openai", "apiTokens": tokens });
    provider.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "provider": provider }).to_string()
}

fn retrying(more: &Value) -> String {
    let mut settings = json!({ "retryOnFailure": { "enabled": true } });
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    openai(&["k1", "k2"], &settings)
}

/// A chat that is answered with this status, over the cluster `vendor`.
fn answered(script: Script, status: u16) -> Script {
    let body = if status < 300 { "{}" } else { FAILED };
    let fields = [("content-type", "application/json"), ("x-from", "first")];
    script.answered(status, &fields, [body.into()]).property("xds.cluster_name", "vendor")
}

fn chat(status: u16) -> Script {
    answered(Script::post(PATH, CHAT), status)
}

fn play(config: &str, script: Script) -> Played {
    common::testkit::play::<AiProxy>(config, script)
}

fn header<'c>(call: &'c Callout, name: &str) -> &'c str {
    call.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
}

fn status(played: &Played) -> String {
    played
        .client
        .as_ref()
        .unwrap_or_else(|| panic!("no response: {:?}", played.reply))
        .header(":status")
        .unwrap()
}

// ---- retryOnFailure

#[test]
fn w96_a_failed_request_is_sent_again_with_another_key() {
    let fields = [("content-type", "application/json"), ("x-from", "second"), ("content-length", "12")];
    let script = chat(401).header("x-custom", "1").call_answer_with(200, &fields, r#"{"id":"two"}"#);
    let played = play(&retrying(&json!({})), script);
    assert_eq!(played.sent().header("authorization").as_deref(), Some("Bearer k1"));
    let call = &played.calls[0];
    let expected = [
        (":method", "POST"),
        (":path", PATH),
        (":authority", "api.openai.com"),
        ("authorization", "Bearer k2"),
        ("content-type", "application/json"),
        ("x-custom", "1"),
        ("x-envoy-original-host", "gw.local"),
        ("content-length", ""),
    ];
    for (name, value) in expected {
        assert_eq!(header(call, name), value, "{name}");
    }
    assert_eq!((call.cluster.as_str(), call.timeout), ("vendor", Duration::from_secs(60)));
    assert_eq!(call.body, CHAT.as_bytes());
    let client = played.client.unwrap();
    assert_eq!(client.text(), r#"{"id":"two"}"#);
    let statuses: Vec<_> = client.head.iter().filter(|(name, _)| name == ":status").collect();
    assert_eq!(statuses, [&(":status".to_owned(), b"200".to_vec())], "the status is no header beside it");
    assert_eq!(client.header("x-from").as_deref(), Some("second"));
}

#[test]
fn w97_what_is_sent_again_is_what_was_sent() {
    let config =
        retrying(&json!({ "modelMapping": { "*": "big" }, "basePath": "/ai", "providerBasePath": "/pb",
        "providerDomain": "proxy.in:8080" }));
    let body = r#"{"temperature":0,"model":"m","messages":[{"role":"developer","content":"hi"}]}"#;
    let script = answered(Script::post("/ai/v1/chat/completions?q=1", body).header("x-custom", "1"), 500)
        .call_answer(200, "{}");
    let played = play(&config, script);
    let (sent, call) = (played.sent(), &played.calls[0]);
    assert_eq!(call.body, sent.body());
    assert!(sent.text().contains(r#""model":"big""#) && sent.text().contains(r#""role":"system""#));
    let replayed: Vec<_> = sent
        .head
        .iter()
        .filter(|(name, _)| name != "content-length" && name != "authorization")
        .map(|(name, value)| (name.clone(), String::from_utf8(value.clone()).unwrap()))
        .collect();
    for field in &replayed {
        assert!(call.headers.contains(field), "{field:?} is missing in {:?}", call.headers);
    }
    assert_eq!(header(call, "x-custom"), "1");
    assert_eq!(
        (header(call, ":authority"), header(call, ":path")),
        ("proxy.in:8080", "/pb/v1/chat/completions?q=1")
    );
}

#[test]
fn a_stream_is_left_to_envoys_own_retries() {
    let stream = r#"{"stream":true,"messages":[]}"#;
    let played = play(&retrying(&json!({})), answered(Script::post(PATH, stream), 503));
    assert_eq!((status(&played).as_str(), played.calls.len()), ("503", 0));
}

#[test]
fn w98_a_single_token_is_not_tried_again() {
    let config = openai(&["k1"], &json!({ "retryOnFailure": { "enabled": true } }));
    let warnings = load_errors::<AiProxy>(&config).unwrap();
    assert!(
        warnings.iter().any(|line| line.contains("provider.retryOnFailure: has no effect")),
        "{warnings:?}"
    );
    let played = play(&config, chat(500));
    assert_eq!((status(&played).as_str(), played.calls.len()), ("500", 0));
    assert_eq!(played.client.unwrap().text(), FAILED);
}

#[test]
fn a_single_token_is_tried_again_where_more_retries_than_tokens_are_asked_for() {
    let config = openai(&["k1"], &json!({ "retryOnFailure": { "enabled": true, "maxRetries": 2 } }));
    let played = play(&config, chat(500).call_answer(500, "x").call_answer(200, "{}"));
    let keys: Vec<_> = played.calls.iter().map(|call| header(call, "authorization")).collect();
    assert_eq!(keys, ["Bearer k1", "Bearer k1"]);
    assert_eq!(status(&played), "200");
    assert_eq!(played.envoy.properties.borrow()["ai_proxy_retries"], b"2", "access logs tell of it");
}

#[test]
fn w99_success_is_never_sent_again() {
    for code in [200, 201, 204, 206] {
        let played = play(&retrying(&json!({})), chat(code));
        assert_eq!((status(&played), played.calls.len()), (code.to_string(), 0));
    }
    let redirect = play(&retrying(&json!({})), chat(302));
    assert_eq!((status(&redirect).as_str(), redirect.calls.len()), ("302", 0));
}

#[test]
fn every_attempt_has_a_key_of_its_own_and_the_first_answer_stays_when_all_fail() {
    let config =
        openai(&["k1", "k2", "k3"], &json!({ "retryOnFailure": { "enabled": true, "maxRetries": 3 } }));
    for seed in 0..6 {
        let script = chat(429).random(seed).call_answer(500, "second").call_answer(503, "third");
        let played = play(&config, script);
        let first = played.sent().header("authorization").unwrap();
        let mut keys: Vec<_> =
            played.calls.iter().map(|call| header(call, "authorization").to_owned()).collect();
        keys.push(first);
        keys.sort();
        assert_eq!(keys, ["Bearer k1", "Bearer k2", "Bearer k3"]);
        assert_eq!(status(&played), "429");
        let client = played.client.unwrap();
        assert_eq!((client.text().as_str(), client.header("x-from").as_deref()), (FAILED, Some("first")));
    }
}

#[test]
fn more_retries_than_tokens_use_them_again_but_never_twice_in_a_row() {
    let config = openai(&["k1", "k2"], &json!({ "retryOnFailure": { "enabled": true, "maxRetries": 4 } }));
    let failing = (0..4).fold(chat(500), |script, _| script.call_answer(500, "x"));
    let played = play(&config, failing);
    let keys: Vec<_> = played.calls.iter().map(|call| header(call, "authorization")).collect();
    assert_eq!(keys, ["Bearer k2", "Bearer k1", "Bearer k2", "Bearer k1"]);
    assert_eq!(status(&played), "500");
}

#[test]
fn an_attempt_that_breaks_off_or_cannot_start_leaves_the_first_answer() {
    let broken = play(&retrying(&json!({})), chat(500).call_broken());
    assert_eq!((status(&broken).as_str(), broken.calls.len()), ("500", 1));
    let unstarted = play(&retrying(&json!({})), chat(500).dead_cluster("vendor"));
    assert_eq!((status(&unstarted).as_str(), unstarted.calls.len()), ("500", 0));
    let timed = retrying(&json!({ "retryOnFailure": { "enabled": true, "retryTimeout": 1500 } }));
    let timed = play(&timed, chat(500).call_answer(504, "upstream request timeout"));
    assert_eq!((status(&timed).as_str(), timed.calls[0].timeout), ("500", Duration::from_millis(1500)));
}

#[test]
fn the_statuses_are_whole_and_the_operators() {
    let config = retrying(&json!({ "retryOnFailure": { "enabled": true, "retryOnStatus": ["429", "50."] } }));
    for (code, calls) in [(429, 1), (502, 1), (401, 0), (404, 0), (529, 0)] {
        let script = chat(code).call_answer(200, "{}");
        assert_eq!(play(&config, script).calls.len(), calls, "{code}");
    }
}

#[test]
fn what_envoy_answers_by_itself_is_not_sent_again() {
    let script = chat(503).property("response.code_details", "no_healthy_upstream");
    let played = play(&retrying(&json!({})), script);
    assert_eq!((status(&played).as_str(), played.calls.len()), ("503", 0));
}

#[test]
fn the_attempt_is_made_whenever_the_failed_body_comes() {
    for late in 0..3 {
        let script = Script::post(PATH, CHAT)
            .answered(500, &[("content-length", "6")], [b"abc".to_vec(), b"def".to_vec()])
            .property("xds.cluster_name", "vendor")
            .call_answer(200, "{}")
            .call_answers_after(late);
        let played = play(&retrying(&json!({})), script);
        assert_eq!((status(&played).as_str(), played.client.unwrap().text().as_str()), ("200", "{}"));
    }
    let bodiless = Script::post(PATH, CHAT).answered(500, &[], []).property("xds.cluster_name", "vendor");
    assert_eq!(status(&play(&retrying(&json!({})), bodiless.call_answer(200, "{}"))), "200");
}

#[test]
fn what_a_vendor_keeps_under_a_key_is_not_sent_with_another() {
    for path in
        ["/v1/files/file-1", "/v1/batches/b-1/cancel", "/v1/fine_tuning/jobs", "/v1/videos", "/v1/other"]
    {
        let played = play(&retrying(&json!({})), answered(Script::post(path, "{}"), 500));
        assert_eq!((status(&played).as_str(), played.calls.len()), ("500", 0), "{path}");
    }
    let responses =
        || answered(Script::post("/v1/responses", r#"{"input":"x"}"#), 500).call_answer(200, "{}");
    assert_eq!(play(&retrying(&json!({})), responses()).calls.len(), 1);
    assert_eq!(play(&retrying(&json!({})), responses().header("x-consumer", "alice")).calls.len(), 0);
}

#[test]
fn a_request_without_a_body_and_one_that_is_read_for_nothing_else_are_sent_again_too() {
    let models = answered(Script::request("GET", "/v1/models?x=1"), 500).call_answer(200, "{}");
    let played = play(&retrying(&json!({})), models);
    assert_eq!(
        (header(&played.calls[0], ":method"), header(&played.calls[0], ":path")),
        ("GET", "/v1/models?x=1")
    );
    assert!(played.calls[0].body.is_empty());

    let form = "--b\r\ncontent-disposition: form-data; name=\"file\"\r\n\r\nsound\r\n--b--\r\n";
    let upload = || {
        Script::request("POST", "/v1/audio/transcriptions")
            .header("content-type", "multipart/form-data; boundary=b")
            .chunks([form.into()])
    };
    let sized = answered(upload().header("content-length", form.len().to_string()), 500);
    let played = play(&retrying(&json!({})), sized.call_answer(200, "{}"));
    assert_eq!(played.calls[0].body, form.as_bytes());
    assert_eq!(played.sent().text(), form);

    let unsized_body = play(&retrying(&json!({})), answered(upload(), 500));
    assert_eq!((status(&unsized_body).as_str(), unsized_body.calls.len()), ("500", 0));
    let config = json!({ "maxBodyBytes": 10, "provider":
        { "type": "openai", "apiTokens": ["k1", "k2"], "retryOnFailure": { "enabled": true } } });
    let large = answered(upload().header("content-length", form.len().to_string()), 500);
    let large = play(&config.to_string(), large);
    assert_eq!((status(&large).as_str(), large.calls.len()), ("500", 0), "it is not refused for being kept");
}

#[test]
fn a_failed_answer_too_large_to_wait_is_passed_on() {
    let config = json!({ "maxBodyBytes": 60, "provider":
        { "type": "openai", "apiTokens": ["k1", "k2"], "retryOnFailure": { "enabled": true } } });
    let script = Script::post(PATH, CHAT)
        .answered(500, &[("content-length", "61")], [b"x".repeat(61)])
        .property("xds.cluster_name", "vendor");
    let played = play(&config.to_string(), script);
    assert_eq!((status(&played).as_str(), played.calls.len()), ("500", 0));
}

#[test]
fn in_an_upstream_chain_envoys_retries_are_the_only_ones_and_take_another_key() {
    let config = retrying(&json!({}));
    let attempt = |spent: &str| {
        let script = chat(500).property("upstream.address", "10.0.0.1:443");
        play(&config, if spent.is_empty() { script } else { script.header("authorization", spent) })
    };
    let first = attempt("");
    assert_eq!((status(&first).as_str(), first.calls.len()), ("500", 0));
    let warnings = first.logged(LogLevel::Warn);
    assert!(warnings.iter().any(|line| line.contains("retryOnFailure has no effect")), "{warnings:?}");
    for (spent, other) in [("Bearer k1", "Bearer k2"), ("Bearer k2", "Bearer k1")] {
        assert_eq!(attempt(spent).sent().header("authorization").as_deref(), Some(other));
    }
}

#[test]
fn without_these_settings_nobody_asks_for_the_response() {
    let script = || chat(500).header("accept-encoding", "gzip");
    let plain = play(&openai(&["k1", "k2"], &json!({})), script());
    assert_eq!(plain.sent().header("accept-encoding").as_deref(), Some("gzip"), "it is not to be read");
    let watched = play(&retrying(&json!({})), script().call_answer(200, "{}"));
    assert_eq!(watched.sent().header("accept-encoding"), None);
}

// ---- failover

fn failing_over(more: &Value) -> String {
    let mut failover = json!({ "enabled": true, "failureThreshold": 2, "healthCheckModel": "gpt-4o-mini",
        "healthCheckInterval": 1000 });
    failover.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    openai(&["k1", "k2"], &json!({ "failover": failover }))
}

/// Sends chats until one goes out with this key, which the vendor answers with this status.
fn use_key(worker: &Worker<AiProxy>, key: &str, code: u16) -> Played {
    let bearer = format!("Bearer {key}");
    let uses =
        |seed: u64| worker.play(chat(0).random(seed)).sent().header("authorization") == Some(bearer.clone());
    let seed = (0..10).find(|seed| uses(*seed)).unwrap_or_else(|| panic!("{key} is not in use"));
    worker.play(chat(code).random(seed))
}

/// The keys with which a number of chats go out.
fn used(worker: &Worker<AiProxy>) -> Vec<String> {
    let key = |seed| worker.play(chat(0).random(seed)).sent().header("authorization").unwrap();
    let mut keys: Vec<_> = (0..10).map(key).collect();
    keys.sort();
    keys.dedup();
    keys
}

/// The shared state of the keys: a line each, then where a request went that took one out of use.
fn state(worker: &Worker<AiProxy>) -> Vec<String> {
    let shared = worker.envoy.shared.borrow();
    let mut values = shared.iter().filter(|(name, _)| name.starts_with("ai-proxy.failover."));
    let (_, (bytes, _)) = values.next().unwrap();
    assert!(values.next().is_none(), "one set of keys, one value");
    std::str::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
}

/// Nothing is left of a key's text in what the workers share or log.
fn assert_secret(worker: &Worker<AiProxy>, played: &Played) {
    let shared = format!(
        "{:?}",
        worker
            .envoy
            .shared
            .borrow()
            .iter()
            .map(|(name, (value, _))| (name.clone(), String::from_utf8_lossy(value).into_owned()))
            .collect::<Vec<_>>()
    );
    let log = format!("{:?}", played.envoy.log.borrow());
    for text in [shared, log] {
        assert!(!text.contains("k1") && !text.contains("k2"), "{text}");
    }
}

#[test]
fn w10_a_check_needs_a_model_or_a_cooldown() {
    let error =
        load_errors::<AiProxy>(r#"{"provider":{"type":"openai","failover":{"enabled":true}}}"#).unwrap_err();
    assert_eq!(error, "provider.failover: missing healthCheckModel in failover config");
    let cooled = openai(&["a", "b"], &json!({ "failover": { "enabled": true, "cooldownDuration": 1000 } }));
    assert!(load_errors::<AiProxy>(&cooled).unwrap().is_empty());
    let single = openai(&["a"], &json!({ "failover": { "enabled": true, "cooldownDuration": 1000 } }));
    let warnings = load_errors::<AiProxy>(&single).unwrap();
    assert!(warnings[0].contains("provider.failover: has no effect without a second token"), "{warnings:?}");
    let off =
        openai(&["a"], &json!({ "failover": { "enabled": false }, "retryOnFailure": { "enabled": false } }));
    assert!(load_errors::<AiProxy>(&off).unwrap().is_empty());
    let pattern = openai(
        &["a", "b"],
        &json!({ "failover": { "enabled": true, "cooldownDuration": 1, "failoverOnStatus": ["429", "("] } }),
    );
    let error = load_errors::<AiProxy>(&pattern).unwrap_err();
    assert!(error.starts_with("provider.failover.failoverOnStatus[1]: is no regex"), "{error}");
    let useless = retrying(&json!({ "retryOnFailure": { "enabled": true, "retryOnStatus": "2.." } }));
    let warnings = load_errors::<AiProxy>(&useless).unwrap();
    assert!(warnings[0].contains("provider.retryOnFailure.retryOnStatus: matches no status"), "{warnings:?}");
}

#[test]
fn w100_failures_up_to_the_threshold_take_a_key_out_of_use_for_all_workers() {
    let worker = Worker::<AiProxy>::start(&failing_over(&json!({})));
    let other = worker.beside(&failing_over(&json!({})));
    use_key(&worker, "k2", 500);
    assert_eq!(state(&worker)[..2], ["0 0", "1 0"], "failures and successes");
    assert_eq!(used(&other), ["Bearer k1", "Bearer k2"]);
    let played = use_key(&other, "k2", 429);
    let state = state(&worker);
    assert!(state[1].starts_with("0 0 17"), "out of use since then: {state:?}");
    let endpoint = ["", "gw.local", "/v1/chat/completions", "vendor"];
    assert_eq!(state[2..], endpoint, "as the client named it, without its query");
    assert_eq!(used(&worker), ["Bearer k1"]);
    assert_eq!(used(&other), ["Bearer k1"]);
    let told = played.logged(LogLevel::Warn);
    assert!(told[0].contains("apiTokens[1] of openai failed too often and is out of use"), "{told:?}");
    assert_secret(&worker, &played);
}

#[test]
fn w101_when_all_keys_are_out_of_use_one_of_them_is_used_all_the_same() {
    let worker = Worker::<AiProxy>::start(&failing_over(&json!({ "failureThreshold": 1 })));
    use_key(&worker, "k2", 500);
    use_key(&worker, "k1", 500);
    assert_eq!(used(&worker), ["Bearer k1", "Bearer k2"]);
}

#[test]
fn w102_keys_out_of_use_are_checked_by_one_worker_and_come_back() {
    let mut worker =
        Worker::<AiProxy>::start(&failing_over(&json!({ "failureThreshold": 1, "successThreshold": 2 })));
    let mut other = worker.beside(&failing_over(&json!({ "failureThreshold": 1, "successThreshold": 2 })));
    worker.pass(Duration::from_secs(1));
    assert!(worker.tick(|_| None).is_empty(), "nothing to check");
    use_key(&worker, "k2", 500);
    let mut round = |status: Option<u16>| {
        worker.pass(Duration::from_secs(1));
        let mut calls = worker.tick(|_| status);
        assert!(other.tick(|_| status).is_empty(), "one worker does it");
        assert_eq!(calls.len(), 1);
        (calls.remove(0), used(&worker))
    };
    let (call, keys) = round(Some(200));
    assert_eq!(call.cluster, "vendor");
    for (name, value) in [
        (":method", "POST"),
        (":path", "/v1/chat/completions"),
        (":authority", "api.openai.com"),
        ("authorization", "Bearer k2"),
        ("content-type", "application/json"),
    ] {
        assert_eq!(header(&call, name), value);
    }
    let expected =
        json!({ "model": "gpt-4o-mini", "messages": [{ "role": "user", "content": "who are you?" }] });
    assert_eq!(serde_json::from_slice::<Value>(&call.body).unwrap(), expected);
    assert_eq!(call.timeout, Duration::from_secs(5));
    assert_eq!(keys, ["Bearer k1"], "two successes are asked for");
    assert_eq!(round(Some(500)).1, ["Bearer k1"], "a failure makes them begin anew");
    assert_eq!(round(Some(200)).1, ["Bearer k1"]);
    assert_eq!(round(None).1, ["Bearer k1"], "so does no answer");
    assert_eq!(round(Some(200)).1, ["Bearer k1"]);
    assert_eq!(round(Some(201)).1, ["Bearer k1", "Bearer k2"]);
    worker.pass(Duration::from_secs(1));
    assert!(worker.tick(|_| None).is_empty());
}

#[test]
fn a_check_goes_the_way_of_a_chat_whatever_is_configured() {
    let checked = |provider: &str, path: &str| {
        let mut worker = Worker::<AiProxy>::start(&format!(
            r#"{{"provider":{{{provider},"apiTokens":["k1","k2"],
            "failover":{{"enabled":true,"failureThreshold":1,"healthCheckModel":"check"}},
            "modelMapping":{{"check":"mapped"}}}}}}"#
        ));
        let body = if path.contains("embeddings") { r#"{"model":"e","input":"x"}"# } else { CHAT };
        let _ = worker.play(answered(Script::post(path, body), 503));
        worker.pass(Duration::from_secs(5));
        let calls = worker.tick(|_| None);
        let call = calls.first().unwrap_or_else(|| panic!("no check of {provider}"));
        assert!(call.body.starts_with(br#"{"model":"mapped","#), "{}", String::from_utf8_lossy(&call.body));
        let key = if header(call, "api-key").is_empty() { "authorization" } else { "api-key" };
        format!("{} {} {}", header(call, ":authority"), header(call, ":path"), header(call, key))
    };
    let based = r#""type":"openai","basePath":"/ai","providerBasePath":"/pb","providerDomain":"p.in:81""#;
    assert_eq!(checked(based, "/ai/v1/chat/completions?a=1"), "p.in:81 /pb/v1/chat/completions Bearer k1");
    assert_eq!(
        checked(r#""type":"groq""#, "/x/v1/chat/completions"),
        "api.groq.com /openai/v1/chat/completions Bearer k1"
    );
    let azure = r#""type":"azure","azureServiceUrl":"https://r.openai.azure.com?api-version=1""#;
    assert_eq!(
        checked(azure, "/v1/chat/completions"),
        "r.openai.azure.com /openai/deployments/mapped/chat/completions?api-version=1 k1"
    );
    assert_eq!(
        checked(r#""type":"openai""#, "/v1/embeddings"),
        "api.openai.com /v1/chat/completions Bearer k1",
        "a chat goes where chats go"
    );
    let context = r#""type":"openai","context":{"fileUrl":"http://f/x","cluster":"files"}"#;
    assert_eq!(
        checked(context, "/v1/embeddings"),
        "api.openai.com /v1/chat/completions Bearer k1",
        "a check needs no file"
    );
}

#[test]
fn w103_a_success_makes_the_failures_begin_anew() {
    let worker = Worker::<AiProxy>::start(&failing_over(&json!({})));
    use_key(&worker, "k1", 500);
    use_key(&worker, "k1", 201);
    assert_eq!(state(&worker)[0], "0 0");
    use_key(&worker, "k1", 500);
    use_key(&worker, "k1", 302);
    assert_eq!(state(&worker)[0], "1 0", "what is neither leaves them");
    assert_eq!(used(&worker), ["Bearer k1", "Bearer k2"]);
}

#[test]
fn what_envoy_answers_by_itself_says_nothing_about_a_key() {
    let worker = Worker::<AiProxy>::start(&failing_over(&json!({ "failureThreshold": 1 })));
    for _ in 0..3 {
        let _ = worker
            .play(chat(503).property("response.code_details", "upstream_reset_before_response_started"));
    }
    assert_eq!(used(&worker), ["Bearer k1", "Bearer k2"]);
}

#[test]
fn a_key_comes_back_by_itself_after_its_cooldown() {
    let config = openai(
        &["k1", "k2"],
        &json!({ "failover": { "enabled": true, "failureThreshold": 1, "cooldownDuration": 3000 } }),
    );
    let worker = Worker::<AiProxy>::start(&config);
    assert_eq!(worker.envoy.timer.get(), None, "without checks there is no timer");
    use_key(&worker, "k1", 401);
    worker.pass(Duration::from_millis(2999));
    assert_eq!(used(&worker), ["Bearer k2"]);
    worker.pass(Duration::from_millis(1));
    assert_eq!(used(&worker), ["Bearer k1", "Bearer k2"]);
}

#[test]
fn in_a_clusters_chain_a_key_is_not_checked_and_comes_back_after_a_minute() {
    let mut worker = Worker::<AiProxy>::start(&failing_over(&json!({ "failureThreshold": 1 })));
    let attempt = |worker: &Worker<AiProxy>, code: u16, seed: u64| {
        let script = chat(code).random(seed).property("upstream.address", "10.0.0.1:443");
        let played = worker.play(script);
        let told = played.logged(LogLevel::Warn).iter().any(|line| line.contains("no health checks"));
        (played.sent().header("authorization").unwrap(), told)
    };
    let uses = |worker: &Worker<AiProxy>, key: &str| (0..10).any(|seed| attempt(worker, 200, seed).0 == key);
    let (lost, told) = attempt(&worker, 401, 0);
    assert!(told && !attempt(&worker, 200, 1).1, "once");
    assert!(!uses(&worker, &lost), "{:?}", state(&worker));
    worker.pass(Duration::from_millis(59_999));
    assert!(worker.tick(|_| None).is_empty(), "a check would run into the filter that makes it");
    assert!(!uses(&worker, &lost), "{:?}", state(&worker));
    worker.pass(Duration::from_millis(1));
    assert!(uses(&worker, &lost), "{:?}", state(&worker));
}

#[test]
fn a_reloaded_configuration_remembers_keys_as_long_as_they_are_the_same() {
    let worker = Worker::<AiProxy>::start(&failing_over(&json!({ "failureThreshold": 1 })));
    use_key(&worker, "k2", 500);
    let reloaded = worker.beside(&failing_over(&json!({ "failureThreshold": 5 })));
    assert_eq!(used(&reloaded), ["Bearer k1"]);
    let other_keys =
        openai(&["k1", "k2", "k3"], &json!({ "failover": { "enabled": true, "healthCheckModel": "m" } }));
    assert_eq!(used(&worker.beside(&other_keys)), ["Bearer k1", "Bearer k2", "Bearer k3"]);
    assert_eq!(used(&reloaded), ["Bearer k1"], "another set of keys is no news for this one");
}

#[test]
fn w55_a_consumer_stays_with_its_key_and_moves_only_when_that_is_out_of_use() {
    let config = openai(
        &["t0", "t1", "t2"],
        &json!({ "affinityApis": ["anthropic/v1/messages"],
        "failover": { "enabled": true, "failureThreshold": 1, "healthCheckModel": "m" } }),
    );
    let worker = Worker::<AiProxy>::start(&config);
    let sent = |path: &str, seed: u64, code: u16| {
        let script = Script::post(path, r#"{"model":"m","input":"x","messages":[]}"#)
            .header("x-mse-consumer", "alice");
        worker.play(answered(script.random(seed), code)).sent().header("authorization").unwrap()
    };
    for seed in 0..4 {
        assert_eq!(sent("/v1/responses", seed, 200), "Bearer t2");
        assert_eq!(sent("/v1/messages", seed, 200), "Bearer t2", "where it is asked for");
    }
    assert_eq!(sent("/v1/responses", 0, 500), "Bearer t2");
    let next = sent("/v1/responses", 0, 200);
    assert_ne!(next, "Bearer t2");
    for seed in 0..4 {
        assert_eq!(sent("/v1/responses", seed, 200), next);
    }
    let chats: Vec<_> = (0..4).map(|seed| sent("/v1/chat/completions", seed, 200)).collect();
    assert!(chats.iter().any(|key| *key != chats[0]), "a chat goes with any key: {chats:?}");
}

#[test]
fn each_attempt_counts_for_the_key_that_it_was_made_with() {
    let config = openai(
        &["k1", "k2"],
        &json!({ "retryOnFailure": { "enabled": true },
        "failover": { "enabled": true, "failureThreshold": 3, "healthCheckModel": "m" } }),
    );
    let worker = Worker::<AiProxy>::start(&config);
    let failures = |worker: &Worker<AiProxy>| {
        let failures = |line: &String| line.split(' ').next().unwrap().parse::<u32>().unwrap();
        state(worker)[..2].iter().map(failures).collect::<Vec<_>>()
    };
    let vendors = [("x-envoy-upstream-service-time", "1")];
    // The random source counts up, so these go out with k1 first.
    let first = || chat(500).random(0);
    let _ = worker.play(first().call_answer_with(429, &vendors, "x"));
    assert_eq!(failures(&worker), [1, 1]);
    let _ = worker.play(first().call_answer(504, "upstream request timeout"));
    assert_eq!(failures(&worker), [2, 1], "Envoy's own time-out is not the key's doing");
    let _ = worker.play(first().call_answer(200, "{}"));
    assert_eq!(failures(&worker), [0, 0], "out of use, and served");
    assert_eq!(used(&worker), ["Bearer k2"]);
    let alone = worker.play(chat(500));
    assert_eq!((status(&alone).as_str(), alone.calls.len()), ("500", 0), "no other key is in use");
}

// ---- context

const MESSAGES: &str = r#"{"model":"m", "temperature":0,"messages":[{"role":"system","content":"S"},{"role":"user","content":"a"}]}"#;

fn with_context(more: &Value) -> String {
    let mut context = json!({ "fileUrl": "http://files.local/a/ctx.txt?v=1", "serviceName": "file.dns", "servicePort": 80 });
    context.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    openai(&["sk-a"], &json!({ "context": context, "timeout": 1234 }))
}

fn asks(body: &str) -> Script {
    Script::post("/v1/chat/completions", body).answered(200, &[], [b"{}".to_vec()])
}

#[test]
fn w50_the_file_is_put_in_front_of_the_conversation() {
    let played = play(&with_context(&json!({})), asks(MESSAGES).call_answer(200, "CTX \"1\"\n"));
    let call = &played.calls[0];
    assert_eq!(call.cluster, "outbound|80||file.dns");
    assert_eq!(call.timeout, Duration::from_millis(1234));
    let fields = [(":method", "GET"), (":path", "/a/ctx.txt?v=1"), (":authority", "files.local")];
    for (name, value) in fields {
        assert_eq!(header(call, name), value);
    }
    let expected =
        MESSAGES.replace(r#"{"role":"user""#, r#"{"role":"system","content":"CTX \"1\"\n"},{"role":"user""#);
    assert_eq!(played.sent().text(), expected, "all other bytes stay");
}

#[test]
fn w51_without_the_file_there_is_one_502() {
    let scripts = [
        asks(MESSAGES).call_answer(404, "nothing here"),
        asks(MESSAGES).call_broken(),
        asks(MESSAGES).dead_cluster("outbound|80||file.dns").dead_cluster("file.dns"),
        asks(MESSAGES).call_answer(200, b"\xff"),
        asks(MESSAGES).call_answer(200, "x".repeat((1 << 20) + 1)),
    ];
    for script in scripts {
        let played = play(&with_context(&json!({})), script);
        let reply = played.replied();
        assert_eq!(reply.status, 502);
        let body: Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(body["error"]["message"], "failed to load context file");
        assert!(reply.details.starts_with("load_ctx_failed"), "{}", reply.details);
        assert!(played.upstream.is_none());
    }
}

#[test]
fn the_service_may_be_a_cluster_by_its_own_name() {
    let script = asks(MESSAGES).dead_cluster("outbound|80||file.dns").call_answer(200, "CTX");
    assert_eq!(play(&with_context(&json!({})), script).calls[0].cluster, "file.dns");
    let named = with_context(&json!({ "cluster": "files", "serviceName": "", "servicePort": 0 }));
    assert_eq!(play(&named, asks(MESSAGES).call_answer(200, "CTX")).calls[0].cluster, "files");
}

#[test]
fn only_chats_of_the_openai_protocol_have_a_context() {
    let embeddings = Script::post("/v1/embeddings", r#"{"model":"m","input":"x"}"#);
    assert!(play(&with_context(&json!({})), embeddings).calls.is_empty());
    let original = with_context(&json!({})).replace(r#""type""#, r#""protocol":"original","type""#);
    let played = play(&original, asks(MESSAGES));
    assert_eq!((played.calls.len(), played.sent().text().as_str()), (0, MESSAGES));
    let broken = play(&with_context(&json!({})), asks("{"));
    assert_eq!((broken.calls.len(), broken.replied().status), (0, 400), "what is refused needs no file");
}

#[test]
fn the_file_is_fetched_once_and_again_when_it_is_old() {
    let worker = Worker::<AiProxy>::start(&with_context(&json!({ "refreshInterval": 60000 })));
    let text = |played: &Played| {
        let body: Value = serde_json::from_slice(&played.sent().body()).unwrap();
        body["messages"][1]["content"].as_str().unwrap().to_owned()
    };
    let fetched = |answer: Option<(u16, &str)>| {
        let script = match answer {
            Some((status, body)) => asks(MESSAGES).call_answer(status, body),
            None => asks(MESSAGES),
        };
        let played = worker.play(script);
        (played.calls.len(), text(&played))
    };
    assert_eq!(fetched(Some((200, "one"))), (1, "one".into()));
    assert_eq!(fetched(None), (0, "one".into()));
    worker.pass(Duration::from_secs(60));
    assert_eq!(fetched(Some((200, "two"))), (1, "two".into()));
    worker.pass(Duration::from_secs(60));
    assert_eq!(fetched(Some((503, "down"))), (1, "two".into()), "an old copy is better than none");
    assert_eq!(fetched(None), (0, "two".into()), "and serves a while");
    worker.pass(Duration::from_secs(10));
    assert_eq!(fetched(Some((200, "three"))), (1, "three".into()));

    let keeping = Worker::<AiProxy>::start(&with_context(&json!({ "refreshInterval": 0 })));
    assert_eq!(keeping.play(asks(MESSAGES).call_answer(200, "one")).calls.len(), 1);
    keeping.pass(Duration::from_secs(1_000_000));
    assert_eq!(keeping.play(asks(MESSAGES)).calls.len(), 0);
}

#[test]
fn what_a_context_lacks_is_said() {
    let error = |context: &Value| {
        load_errors::<AiProxy>(&openai(&["k"], &json!({ "context": context }))).unwrap_err()
    };
    for (context, expected) in [
        (json!({}), "provider.context: missing fileUrl in context config"),
        (json!({ "fileUrl": "http://f/x" }), "provider.context: missing serviceName in context config"),
        (
            json!({ "fileUrl": "http://f/x", "serviceName": "s" }),
            "provider.context: missing servicePort in context config",
        ),
        (
            json!({ "fileUrl": "::", "serviceName": "s", "servicePort": 1 }),
            "provider.context.fileUrl: invalid fileUrl in context config: ",
        ),
    ] {
        let error = error(&context);
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn a_context_goes_along_when_a_request_is_sent_again() {
    let config = openai(
        &["k1", "k2"],
        &json!({ "retryOnFailure": { "enabled": true },
        "context": { "fileUrl": "http://f/x", "cluster": "files" } }),
    );
    let script = answered(Script::post(PATH, MESSAGES), 500).call_answer(200, "CTX").call_answer(200, "{}");
    let played = play(&config, script);
    assert_eq!(played.calls[1].body, played.sent().body());
    assert!(played.sent().text().contains("CTX"));
    assert_eq!(status(&played), "200");
}
