//! Worked cases of the behavioural specification, by their numbers, as far as they belong to the
//! providers that are there. Each row shows both sides: what the client sends, what goes upstream.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests state what must hold, and a panic is the verdict"
)]

use ai_proxy::AiProxy;
use common::testkit::{Played, Script, load_errors};

const CHAT: &str = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
const OA: &str = r#"{"type":"openai","apiTokens":["sk-a"]}"#;

/// A configuration with this one provider.
fn single(provider: &str) -> String {
    format!(r#"{{"provider":{provider}}}"#)
}

/// `OA` with more settings.
fn oa(more: &str) -> String {
    single(&format!(r#"{{"type":"openai","apiTokens":["sk-a"],{more}}}"#))
}

fn chat() -> Script {
    Script::post("/v1/chat/completions", CHAT)
}

fn get(path: &str) -> Script {
    Script::request("GET", path)
}

fn play(config: &str, script: Script) -> Played {
    let answer = script.answered(200, &[("content-type", "application/json")], [b"{}".to_vec()]);
    common::testkit::play::<AiProxy>(config, answer)
}

/// What goes upstream. A header with an empty value must be absent.
#[track_caller]
fn sent(case: &str, config: &str, script: Script, headers: &[(&str, &str)]) -> String {
    let played = play(config, script);
    let seen = played.sent();
    for (name, value) in headers {
        assert_eq!(seen.header(name).unwrap_or_default(), *value, "{case}: {name}");
    }
    seen.text()
}

/// Where it goes, by host and path.
#[track_caller]
fn goes_to(case: &str, config: &str, script: Script, authority: &str, path: &str) -> String {
    sent(case, config, script, &[(":authority", authority), (":path", path)])
}

/// What goes upstream as a body, compared by value.
#[track_caller]
fn body(case: &str, config: &str, path: &str, body: &str, expected: &str) {
    let text = sent(case, config, Script::post(path, body), &[]);
    let value = |text: &str| -> serde_json::Value { serde_json::from_str(text).unwrap() };
    assert_eq!(value(&text), value(expected), "{case}");
}

/// A local reply, of which the upstream hears nothing.
#[track_caller]
fn refused(case: &str, config: &str, script: Script, status: u16) -> serde_json::Value {
    let played = play(config, script);
    let reply = played.replied();
    assert_eq!(reply.status, status, "{case}");
    assert!(played.upstream.is_none(), "{case}");
    serde_json::from_slice(&reply.body).unwrap_or_else(|error| panic!("{case}: {error}"))
}

#[track_caller]
fn not_loaded(case: &str, config: &str, message: &str) {
    let error = load_errors::<AiProxy>(config).err().unwrap_or_else(|| panic!("{case}: it loads"));
    assert!(error.contains(message), "{case}: {error}");
}

const TWO: &str = r#""providers":[{"id":"a","type":"openai","apiTokens":["k1"]},
    {"id":"b","type":"deepseek","apiTokens":["k2"]}]"#;

#[test]
fn w01_chat_goes_to_the_vendor_with_our_key_and_the_clients_bytes() {
    let text = sent(
        "W01",
        &single(OA),
        chat(),
        &[
            (":authority", "api.openai.com"),
            (":path", "/v1/chat/completions"),
            ("authorization", "Bearer sk-a"),
            ("x-envoy-original-host", "gw.local"),
            ("x-envoy-original-path", ""),
        ],
    );
    assert_eq!(text, CHAT);
}

#[test]
fn w02_to_w06_the_provider_is_chosen() {
    let active = |id: &str| format!(r#"{{{TWO},"activeProviderId":"{id}"}}"#);
    sent("W02", &active("b"), chat(), &[(":authority", "api.deepseek.com"), ("authorization", "Bearer k2")]);
    let untouched = [(":authority", "gw.local"), ("authorization", ""), ("x-envoy-original-host", "")];
    sent("W03", &format!("{{{TWO}}}"), chat(), &untouched);
    sent("W03", &active("zz"), chat(), &untouched);
    let warnings = load_errors::<AiProxy>(&active("zz")).unwrap();
    assert!(warnings.iter().any(|line| line.contains("zz")), "W03: {warnings:?}");

    let rules = r#"{"providers":[{"id":"a","type":"openai","apiTokens":["k1"]},
        {"id":"b","type":"groq","apiTokens":["k2"]}],"activeProviderId":"a",
        "_rules_":[{"_match_route_":["r1"],"activeProviderId":"b"}]}"#;
    let on_r1 = || chat().property("xds.route_name", "r1");
    let groq = [
        (":authority", "api.groq.com"),
        (":path", "/openai/v1/chat/completions"),
        ("authorization", "Bearer k2"),
    ];
    sent("W04", rules, on_r1(), &groq);
    sent("W04, elsewhere", rules, chat(), &[(":authority", "api.openai.com")]);

    let inert =
        format!(r#"{{{TWO},"activeProviderId":"a","_rules_":[{{"_match_route_":["r1"],"timeout":1}}]}}"#);
    sent("W05", &inert, on_r1(), &untouched);
    let own = format!(
        r#"{{"provider":{OA},"_rules_":[{{"_match_route_":["r1"],"provider":{{"type":"grok","apiTokens":["k9"]}}}}]}}"#
    );
    sent("W06", &own, on_r1(), &[(":authority", "api.x.ai"), ("authorization", "Bearer k9")]);
}

#[test]
fn w07_a_broken_rule_breaks_no_other() {
    let config =
        format!(r#"{{"provider":{OA},"_rules_":[{{"_match_route_":["r1"],"provider":{{"type":"grok"}}}}]}}"#);
    let lines = load_errors::<AiProxy>(&config).unwrap();
    assert!(lines.iter().any(|line| line.contains("no apiToken found in provider config")), "{lines:?}");
    sent("W07", &config, chat(), &[(":authority", "api.openai.com")]);
    let error = refused("W07", &config, chat().property("xds.route_name", "r1"), 500);
    assert_eq!(error["error"]["message"], "plugin configuration error");
}

#[test]
fn w08_and_w09_a_wrong_configuration_is_refused() {
    not_loaded("W08", &single(r#"{"type":"nope"}"#), "unknown provider type: nope");
    not_loaded("W08, no type", &single("{}"), "missing type in provider config");
    not_loaded("W08, a vendor to come", &single(r#"{"type":"bedrock"}"#), "unknown provider type: bedrock");
    not_loaded("W09", &oa(r#""protocol":"claude""#), "invalid protocol in config");
    not_loaded("regex", &oa(r#""modelMapping":{"~(":"x"}"#), "no regex");
    not_loaded("base path", &oa(r#""basePath":"/a","basePathHandling":"drop""#), "basePathHandling");
    not_loaded("another's client", &oa(r#""claudeCodeMode":true"#), "provider.claudeCodeMode");
    not_loaded("token", &oa(r#""protocol":"","apiTokens":["a\nb"]"#), "no header may carry");
    not_loaded("type of a setting", &oa(r#""modelMapping":[]"#), "modelMapping");
    for kind in [
        "deepseek",
        "moonshot",
        "groq",
        "mistral",
        "grok",
        "together-ai",
        "fireworks",
        "openrouter",
        "github",
        "stepfun",
        "yi",
        "baichuan",
        "ai360",
        "longcat",
    ] {
        let config = single(&format!(r#"{{"type":"{kind}","apiTokens":[""]}}"#));
        not_loaded(kind, &config, "no apiToken found in provider config");
    }
    let ollama = |more: &str| single(&format!(r#"{{"type":"ollama"{more}}}"#));
    not_loaded("ollama", &ollama(""), "missing ollamaServerHost");
    not_loaded("ollama", &ollama(r#","ollamaServerHost":"h""#), "missing ollamaServerPort");
}

#[test]
fn no_key_shows_in_what_is_said_about_a_configuration() {
    let config = oa(r#""apiTokens":["sk-secret\u0001"]"#);
    let error = load_errors::<AiProxy>(&config).unwrap_err();
    assert!(!error.contains("sk-secret"), "{error}");
}

#[test]
fn w11_to_w13_keys_are_chosen() {
    let deepseek = single(r#"{"type":"deepseek","apiTokens":"solo"}"#);
    sent("W11", &deepseek, chat(), &[("authorization", "Bearer solo")]);
    let keyless = single(r#"{"type":"openai"}"#);
    let both = chat().header("x-api-key", "ck").header("authorization", "Bearer gw");
    let ours = [("authorization", "Bearer ck"), ("x-api-key", ""), ("x-hi-original-auth", "")];
    sent("W12", &keyless, both, &ours);
    sent("W13", &keyless, chat().header("authorization", "tok"), &[("authorization", "Bearer tok")]);
    let error = refused("no key at all", &keyless, chat(), 401);
    assert_eq!(error["error"]["type"], "authentication_error");
}

#[test]
fn w14_to_w25_paths_go_where_the_settings_say() {
    let file = "/v1/files/file-1/content?variant=a";
    goes_to("W14", &single(OA), get(file), "api.openai.com", file);
    let events = "/v1/fine_tuning/jobs/ft-1/events?limit=2";
    goes_to("W15", &single(OA), get(&format!("/api{events}")), "api.openai.com", events);
    let custom = |url: &str| oa(&format!(r#""openaiCustomUrl":"{url}""#));
    let images = Script::post("/v1/images/generations?x=1", "{}");
    goes_to("W16", &custom("https://a.com/api/v3"), images, "a.com", "/api/v3/images/generations?x=1");
    goes_to("W17", &custom("https://a.com"), chat(), "a.com", "/chat/completions");
    let warnings = load_errors::<AiProxy>(&custom("https://a.com")).unwrap();
    assert!(warnings.iter().any(|line| line.contains("https://a.com/v1")), "W17: {warnings:?}");
    let embeddings = || Script::post("/v1/embeddings?q=1", "{}");
    let fixed = custom("http://a.com/x/chat/completions");
    goes_to("W18", &fixed, embeddings(), "a.com", "/x/embeddings?q=1");
    goes_to("W18, chat", &fixed, chat(), "a.com", "/x/chat/completions");
    goes_to("W18, both", &custom("http://a.com/x/completions"), chat(), "a.com", "/x/completions");
    goes_to("W18, unknown", &fixed, get("/v1/zzz"), "a.com", "/v1/zzz");
    goes_to("W18, query", &custom("http://a.com/x?k=v"), embeddings(), "a.com", "/x/embeddings?q=1&k=v");
    goes_to("W19", &custom("https://a.com/api"), get("/v1/files/file-1"), "a.com", "/api/files/file-1");

    let base = oa(r#""basePath":"/ai""#);
    let untouched = r#"{"model":"m", "input" : 1}"#;
    let text = goes_to(
        "W20",
        &oa(r#""basePath":"/ai","modelMapping":{"*":"X"}"#),
        Script::post("/ai/v1/moderations", untouched),
        "api.openai.com",
        "/v1/moderations",
    );
    assert_eq!(text, untouched, "W20");
    let original = [("x-envoy-original-path", "/ai/v1/moderations")];
    sent("W20", &base, Script::post("/ai/v1/moderations", "{}"), &original);
    let similar = "/aix/v1/moderations";
    goes_to("W21", &base, Script::post(similar, "{}"), "api.openai.com", similar);
    goes_to("subPath", &oa(r#""subPath":"/ai""#), get("/ai/v1/zzz"), "api.openai.com", "/v1/zzz");

    let prepend = oa(r#""basePath":"/pp","basePathHandling":"prepend""#);
    let odd = Script::post("/v1/chat/completions?u=http://x//y/", CHAT);
    goes_to("W22", &prepend, odd, "api.openai.com", "/pp/v1/chat/completions?u=http://x//y/");
    let domain = oa(r#""providerBasePath":"/api/ai","providerDomain":"proxy.in:8080""#);
    let query = Script::post("/v1/chat/completions?a=1", CHAT);
    goes_to("W23", &domain, query, "proxy.in:8080", "/api/ai/v1/chat/completions?a=1");

    let text = goes_to(
        "W24",
        &oa(r#""basePath":"/ai","protocol":"original","modelMapping":{"*":"X"}"#),
        Script::post("/ai/v1/chat/completions?z=1", CHAT),
        "api.openai.com",
        "/v1/chat/completions?z=1",
    );
    assert_eq!(text, CHAT, "W24");
    let stream = r#"{"model":"m","stream":true,"messages":[]}"#;
    let original = oa(r#""protocol":"original""#);
    let zz = Script::post("/zz/v1/chat/completions", stream);
    let text = goes_to("W25", &original, zz, "api.openai.com", "/v1/chat/completions");
    assert_eq!(text, stream, "W25");
}

#[test]
fn w26_to_w32_vendors_are_reached_where_they_are() {
    let of = |kind: &str| single(&format!(r#"{{"type":"{kind}","apiTokens":["k"]}}"#));
    let pre = Script::post("/pre/v1/chat/completions", CHAT);
    goes_to("W26", &of("mistral"), pre, "api.mistral.ai", "/v1/chat/completions");
    let responses = Script::post("/v1/responses", r#"{"model":"m","input":"x"}"#);
    let text = goes_to("W27", &of("deepseek"), responses, "api.deepseek.com", "/v1/chat/completions");
    assert_eq!(text, r#"{"model":"m","messages":[{"role":"user","content":"x"}]}"#, "W27");
    let error = refused("W27", &of("deepseek"), Script::post("/v1/embeddings", "{}"), 404);
    assert_eq!(error["error"]["code"], "unsupported_api", "W27");
    goes_to("W28", &of("deepseek"), get("/v1/models?limit=1"), "api.deepseek.com", "/v1/models?limit=1");
    let cloudflare = single(r#"{"type":"cloudflare","apiTokens":["k"],"cloudflareAccountId":"acc"}"#);
    refused("W29", &cloudflare, get("/v1/models"), 404);
    let chats = "/client/v4/accounts/acc/ai/v1/chat/completions";
    goes_to("W29, chat", &cloudflare, chat(), "api.cloudflare.com", chats);

    let config = oa(r#""capabilities":{"cohere/v1/rerank":"/rr","openai/v1/chatcompletions":"/c"}"#);
    let rerank = r#"{"model":"r","query":"q"}"#;
    let text = goes_to("W30", &config, Script::post("/v1/rerank", rerank), "api.openai.com", "/rr");
    assert_eq!(text, rerank, "W30");
    goes_to("W30, chat", &config, chat(), "api.openai.com", "/c");

    let github = [
        (":authority", "models.github.ai"),
        (":path", "/inference/chat/completions"),
        ("authorization", "Bearer k"),
    ];
    sent("W31, github", &of("github"), chat(), &github);
    let ai360 = [(":authority", "api.360.cn"), (":path", "/v1/chat/completions"), ("authorization", "k")];
    sent("W31, ai360", &of("ai360"), chat(), &ai360);
    let vllm = single(r#"{"type":"vllm","vllmServerHost":"v.local:8000"}"#);
    sent("W32", &vllm, chat(), &[(":authority", "v.local:8000"), ("authorization", "")]);
}

#[test]
fn w33_and_w34_azure_paths_name_the_deployment() {
    let azure = |url: &str, more: &str| {
        single(&format!(r#"{{"type":"azure","apiTokens":["k"],"azureServiceUrl":"{url}"{more}}}"#))
    };
    let resource = azure("https://r.openai.azure.com?api-version=1", r#","modelMapping":{"*":"gpt4"}"#);
    let host = "r.openai.azure.com";
    let path = "/openai/deployments/gpt4/chat/completions?api-version=1";
    goes_to("W33", &resource, chat(), host, path);
    let ours = [("api-key", "k"), ("authorization", "")];
    sent("W33", &resource, chat().header("authorization", "Bearer x"), &ours);
    goes_to("W33, files", &resource, get("/v1/files/f1?x=1"), host, "/openai/files/f1?x=1&api-version=1");
    refused("W33, unknown", &resource, get("/v1/zzz"), 404);
    let deployment = azure(
        "https://r.openai.azure.com/openai/deployments/dep1?api-version=1",
        r#","modelMapping":{"*":"zz"}"#,
    );
    let embeddings = Script::post("/v1/embeddings", r#"{"model":"m"}"#);
    let text =
        goes_to("W34", &deployment, embeddings, host, "/openai/deployments/dep1/embeddings?api-version=1");
    assert_eq!(text, r#"{"model":"zz"}"#, "W34");
}

#[test]
fn w35_a_malformed_path_is_refused() {
    refused("W35", &single(OA), get("/v1/%zz"), 400);
}

#[test]
fn w36_to_w40_models_are_mapped() {
    let check = |case: &str, mapping: &str, model: &str, expected: &str| {
        let config = oa(&format!(r#""modelMapping":{mapping}"#));
        let text = format!(r#"{{"model":"{model}"}}"#);
        body(case, &config, "/v1/chat/completions", &text, &format!(r#"{{"model":"{expected}"}}"#));
    };
    let names = r#"{"keep":"","gpt-4-*":"big","*":"small"}"#;
    check("W36", names, "keep", "keep");
    check("W36", names, "gpt-4-turbo", "big");
    check("W36", names, "x", "small");
    check("W37", r#"{"~gpt(.*)":"openai/gpt$1"}"#, "gpt-4o", "openai/gpt-4o");
    check("W38", r#"{"~gpt-(\\d)":"g${1}x"}"#, "my-gpt-4o", "my-g4xo");
    check("W39", r#"{"~gpt.*":"qwen-max"}"#, "gpt-4o", "qwen-max");
    body("W40", &single(OA), "/v1/chat/completions", r#"{"n":1}"#, r#"{"n":1}"#);
    let any = oa(r#""modelMapping":{"*":"X"}"#);
    body("W40", &any, "/v1/chat/completions", r#"{"n":1}"#, r#"{"n":1,"model":"X"}"#);
    body("no name", &any, "/v1/chat/completions", r#"{"model":null}"#, r#"{"model":"X"}"#);
    body("no text", &any, "/v1/chat/completions", r#"{"model":[1]}"#, r#"{"model":[1]}"#);
}

#[test]
fn of_two_models_the_first_is_read_and_both_are_written() {
    let config = oa(r#""modelMapping":{"keep":"","a":"b"}"#);
    let check = |before: &str, after: &str| body("two", &config, "/v1/chat/completions", before, after);
    check(r#"{"model":"a","model":"c"}"#, r#"{"model":"b","model":"b"}"#);
    check(r#"{"model":"keep","model":"a"}"#, r#"{"model":"keep","model":"keep"}"#);
    check(r#"{"model":null,"model":"a"}"#, r#"{"model":"b","model":"b"}"#);
    check(r#"{"model":"keep","model":"keep"}"#, r#"{"model":"keep","model":"keep"}"#);
    check(r#"{"model":null}"#, r#"{"model":null}"#);
}

#[test]
fn only_the_models_bytes_change() {
    let config = oa(r#""modelMapping":{"m":"a \"quoted\" name"}"#);
    let before =
        "{ \"x\" : 1.0e5,\t\"model\" :\"m\", \"model\":\"m\" ,\"y\":[ ],\"z\":\"\\u00e9\u{1F600}\" }";
    let after = before.replace("\"m\"", r#""a \"quoted\" name""#);
    assert_eq!(sent("in place", &config, Script::post("/v1/embeddings", before), &[]), after);
}

#[test]
fn w41_a_body_that_is_no_json_object_is_refused() {
    for bad in ["not json", "[]", "\"x\"", "{\"model\":\"m\"", "{}{}", "", "{\"a\":\"\u{1}\"}"] {
        let error = refused("W41", &single(OA), Script::post("/v1/chat/completions", bad), 400);
        assert_eq!(error["error"]["type"], "invalid_request_error", "{bad:?}");
    }
    refused("W41, not UTF-8", &single(OA), Script::post("/v1/chat/completions", b"{\"a\":\"\xff\"}"), 400);
    let bodyless = Script::request("POST", "/v1/chat/completions").header("content-length", "0");
    refused("W41, no body", &single(OA), bodyless, 400);
    let messages = Script::post("/v1/messages", "oops");
    let error = refused("W41, Anthropic", &single(r#"{"type":"deepseek","apiTokens":["k"]}"#), messages, 400);
    assert_eq!(error["type"], "error");
}

#[test]
fn w42_streams_end_with_usage() {
    let path = "/v1/chat/completions";
    let rows = [
        (r#"{"stream":true}"#, r#"{"stream":true,"stream_options":{"include_usage":true}}"#),
        (
            r#"{"stream":true,"stream_options":null}"#,
            r#"{"stream":true,"stream_options":{"include_usage":true}}"#,
        ),
        (
            r#"{"stream":true,"stream_options":{"x":1}}"#,
            r#"{"stream":true,"stream_options":{"x":1,"include_usage":true}}"#,
        ),
        (
            r#"{"stream":true,"stream_options":{"include_usage":false}}"#,
            r#"{"stream":true,"stream_options":{"include_usage":false}}"#,
        ),
        (
            r#"{"stream":true,"stream_options":{}}"#,
            r#"{"stream":true,"stream_options":{"include_usage":true}}"#,
        ),
        (r#"{"stream":false}"#, r#"{"stream":false}"#),
    ];
    for (before, after) in rows {
        body("W42", &single(OA), path, before, after);
        body("W42", &single(OA), "/v1/completions", before, after);
    }
    let stream = || Script::post(path, r#"{"stream":true}"#);
    sent("W42", &single(OA), stream(), &[("accept", "text/event-stream")]);
    sent("W42", &single(OA), chat(), &[("accept", "")]);
    let off = oa(r#""disableStreamUsageStats":true"#);
    assert_eq!(sent("opt-out", &off, stream(), &[]), r#"{"stream":true}"#);
    let off = format!(r#"{{"disableStreamUsageStats":true,"provider":{OA}}}"#);
    assert_eq!(sent("opt-out", &off, stream(), &[]), r#"{"stream":true}"#);
}

#[test]
fn w43_only_chats_and_completions_are_asked_for_usage() {
    for path in ["/v1/embeddings", "/v1/responses", "/v1/images/generations"] {
        body("W43", &single(OA), path, r#"{"stream":true}"#, r#"{"stream":true}"#);
    }
}

#[test]
fn w44_custom_settings_are_made_where_they_belong() {
    let settings = r#""customSettings":[{"name":"max_tokens","value":5},
        {"name":"temperature","value":0.1,"overwrite":false},{"name":"top_k","value":3},
        {"name":"a.b","value":{"c":1},"mode":"raw"}]"#;
    let config = oa(settings);
    let before = CHAT.replace('}', r#","max_tokens":9,"temperature":0.9}"#).replacen(
        r#","max_tokens":9,"temperature":0.9}"#,
        "}",
        1,
    );
    let text = sent("W44", &config, Script::post("/v1/chat/completions", &before), &[]);
    let after = before.replace(":9,", ":5,");
    assert_eq!(text, format!(r#"{},"a":{{"b":{{"c":1}}}}}}"#, after.strip_suffix('}').unwrap()), "W44");
    let warnings = load_errors::<AiProxy>(&config).unwrap();
    assert!(warnings.iter().any(|line| line.contains("provider.customSettings[2]")), "{warnings:?}");

    body(
        "every API",
        &config,
        "/v1/embeddings",
        "{}",
        r#"{"max_tokens":5,"temperature":0.1,"a":{"b":{"c":1}}}"#,
    );
    body(
        "every API",
        &config,
        "/v1/moderations",
        "{}",
        r#"{"max_tokens":5,"temperature":0.1,"a":{"b":{"c":1}}}"#,
    );
    assert_eq!(sent("no JSON", &config, Script::post("/v1/moderations", "text"), &[]), "text");
    assert_eq!(sent("no API", &config, Script::post("/v1/zzz", "{}"), &[]), "{}");
    refused("no JSON", &config, Script::post("/v1/chat/completions", "text"), 400);
    let chosen =
        oa(r#""modelMapping":{"*":"X"},"customSettings":{"name":"model","value":"big","mode":"raw"}"#);
    body("before the mapping", &chosen, "/v1/chat/completions", "{}", r#"{"model":"X"}"#);
}

#[test]
fn w44_custom_settings_of_a_protocol_have_its_names() {
    let settings = |kind: &str, more: &str| {
        single(&format!(
            r#"{{"type":"{kind}","apiTokens":["k"],"protocol":"original","customSettings":[{{"name":"max_tokens","value":5}}{more}]}}"#
        ))
    };
    body("baidu", &settings("baidu", ""), "/v2/chat/completions", "{}", r#"{"max_output_tokens":5}"#);
    body(
        "minimax",
        &settings("minimax", ""),
        "/v1/text/chatcompletion_v2",
        "{}",
        r#"{"tokens_to_generate":5}"#,
    );
    let raw = settings("groq", r#",{"name":"seed","value":null,"mode":"raw"}"#);
    body("raw", &raw, "/openai/v1/chat/completions", r#"{"model":"m"}"#, r#"{"model":"m","seed":null}"#);
    let generic = single(r#"{"type":"generic","customSettings":[{"name":"x","value":1,"mode":"raw"}]}"#);
    body("generic", &generic, "/v1/chat/completions", r#"{"stream":true}"#, r#"{"stream":true,"x":1}"#);
    let lost = oa(
        r#""customSettings":[{"name":"max_tokens"},{"value":1,"mode":"raw"},{"name":"a..b","value":1,"mode":"raw"}]"#,
    );
    let warnings = load_errors::<AiProxy>(&lost).unwrap();
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    assert_eq!(sent("nothing left", &lost, Script::post("/v1/embeddings", "{ }"), &[]), "{ }");
    not_loaded("no object", &oa(r#""customSettings":[5]"#), "provider.customSettings[0]");
}

#[test]
fn w45_developer_is_called_system_and_nothing_else_is_lost() {
    let before = r#"{"temperature":0,"foo":1,"stop":"END","messages":[{"role":"developer","content":"developer"},
        {"content":[],"role":"user"},{"role" : "developer"},7,{"role":5}]}"#;
    let after = before.replace(r#""role":"developer""#, r#""role":"system""#);
    let after = after.replace(r#""role" : "developer""#, r#""role" : "system""#);
    let deepseek = single(r#"{"type":"deepseek","apiTokens":["k"]}"#);
    let path = "/v1/chat/completions";
    for config in [&deepseek, &single(OA)] {
        assert_eq!(sent("W45", config, Script::post(path, before), &[]), after);
    }
    let azure = single(r#"{"type":"azure","apiTokens":["k"],"azureServiceUrl":"https://r?api-version=1"}"#);
    assert_eq!(sent("W45, azure", &azure, Script::post(path, before), &[]), before);
}

#[test]
fn w46_and_w47_neighbours_of_one_role_become_one_message() {
    let config = oa(r#""mergeConsecutiveMessages":true"#);
    let merged = |case: &str, before: &str, after: &str| {
        let chat = |messages: &str| format!(r#"{{"messages":[{messages}],"temperature":0}}"#);
        let text = sent(case, &config, Script::post("/v1/chat/completions", chat(before)), &[]);
        assert_eq!(text, chat(after), "{case}");
    };
    let x = r#"{"role":"assistant","content":"x"}"#;
    merged(
        "W46",
        &[r#"{"role":"user","content":"a"},{"role":"user","content":"b"}"#, x].join(","),
        &[r#"{"role":"user","content":"a\n\nb"}"#, x].join(","),
    );
    let image = r#"{"type":"image_url","image_url":{"url":"u"}}"#;
    let calls = r#"{"role":"assistant","content":null,"tool_calls":[{"id":"t"}]}"#;
    let text = |text: &str| format!(r#"{{"type":"text","text":"{text}"}}"#);
    let parts = format!(r#"{{"role":"user","content":[{}, {image}]}}"#, text("b"));
    let together = format!(r#"{{"role":"user","content":[{},{}, {image}]}}"#, text("a"), text("b"));
    merged(
        "W47",
        &[r#"{"role":"user","content":"a"}"#, &parts, x, calls].join(","),
        &[together.as_str(), x, calls].join(","),
    );
    merged(
        "no neighbours",
        &[x, r#"{"role":"user"}"#, x].join(" ,"),
        &[x, r#"{"role":"user"}"#, x].join(" ,"),
    );
}

#[test]
fn w48_and_w49_a_command_ends_what_was_said_before() {
    let config = oa(r#""contextCleanupCommands":["/clear",""]"#);
    let user = |content: &str| format!(r#"{{"role":"user","content":{content}}}"#);
    let chat = |messages: &[&str]| format!(r#"{{"messages":[{}],"n":0}}"#, messages.join(","));
    let left = |case: &str, before: &[&str], after: &[&str]| {
        let text = sent(case, &config, Script::post("/v1/chat/completions", chat(before)), &[]);
        assert_eq!(text, chat(after), "{case}");
    };
    let system = r#"{"role":"system","content":"S"}"#;
    let (a, b, clear) = (user(r#""a""#), user(r#""b""#), user(r#""/clear""#));
    left("W48", &[system, &a, &clear, &b], &[system, &b]);
    let parts = user(r#"[{"type":"text","text":"/clear"}]"#);
    left("W49", &[&parts, &b], &[&b]);
    let error =
        refused("nothing left", &config, Script::post("/v1/chat/completions", chat(&[&a, &clear])), 400);
    assert_eq!(error["error"]["message"], "no message left after context cleanup");
    let all = oa(r#""contextCleanupCommands":"/new","hiclawMode":true"#);
    let messages = chat(&[&user(r#""/new""#), &a, &b]);
    let text = sent("hiclaw", &all, Script::post("/v1/chat/completions", messages), &[]);
    assert_eq!(text, chat(&[&user(r#""a\n\nb""#)]), "hiclaw");
}

/// A form with these fields, between two that hold anything.
fn form(fields: &[(&str, &str)]) -> String {
    let mut form = String::from(
        "--XX\r\nContent-Type: image/png\r\ncontent-disposition: form-data; name=\"image\"; filename=\"model\"\r\n\r\n\u{0}\r\n--X\r\n",
    );
    for (name, value) in fields {
        form.push_str(&format!("\r\n--XX\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}"));
    }
    form + "\r\n--XX\r\nContent-Disposition: form-data; name=\"n\"\r\n\r\n2\r\n--XX--\r\n"
}

fn upload(path: &str, body: &str, step: usize) -> Script {
    Script::request("POST", path)
        .header("content-type", "multipart/form-data; boundary=XX")
        .header("content-length", body.len().to_string())
        .chunks(body.as_bytes().chunks(step).map(<[u8]>::to_vec))
}

#[test]
fn w52_to_w54_the_model_in_a_form_is_mapped() {
    let mapped = oa(r#""modelMapping":{"a":"b"}"#);
    let any = oa(r#""modelMapping":{"*":"b"}"#);
    let paths =
        ["/v1/images/edits", "/v1/images/variations", "/v1/audio/transcriptions", "/v1/audio/translations"];
    for path in paths {
        for step in [1, 7, 10_000] {
            let spaced = form(&[("model", " a ")]);
            let played = play(&mapped, upload(path, &spaced, step));
            assert_eq!(played.sent().text(), form(&[("model", "b")]), "W52: {path} by {step}");
            assert_eq!(
                played.sent().header("content-length"),
                None,
                "W52: its length is not known beforehand"
            );
            let added = play(&any, upload(path, &form(&[]), step));
            let closing = "\r\n--XX--\r\n";
            let part = "\r\n--XX\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nb";
            assert_eq!(
                added.sent().text(),
                form(&[]).replace(closing, &[part, closing].concat()),
                "W53: {path} by {step}"
            );
        }
    }
    let kept = form(&[("model", " c ")]);
    assert_eq!(sent("W52, not mapped", &mapped, upload(paths[0], &kept, 5), &[]), kept);
    let twice = form(&[("model", "a"), ("model", "a")]);
    assert_eq!(sent("twice", &mapped, upload(paths[0], &twice, 5), &[]), twice.replace("\r\na", "\r\nb"));
    let setting = oa(r#""customSettings":[{"name":"x","value":1,"mode":"raw"}],"modelMapping":{"a":"b"}"#);
    let with = form(&[("model", "a")]);
    assert_eq!(sent("W54", &setting, upload(paths[0], &with, 99), &[]), form(&[("model", "b")]), "W54");
    let length = with.len().to_string();
    let text =
        sent("nothing to map", &single(OA), upload(paths[0], &with, 99), &[("content-length", &length)]);
    assert_eq!(text, with);
    let json = Script::post("/v1/images/edits", r#"{"model":"a"}"#);
    assert_eq!(sent("JSON", &mapped, json, &[]), r#"{"model":"b"}"#);
    assert_eq!(sent("other uploads", &mapped, upload("/v1/files", "no form", 3), &[]), "no form");
}

#[test]
fn what_is_no_form_is_refused() {
    let mapped = oa(r#""modelMapping":{"a":"b"}"#);
    let good = form(&[("model", "a")]);
    for (case, body) in
        [("unclosed", good.replace("XX--", "XX-")), ("no form", "oops".into()), ("empty", String::new())]
    {
        let error = refused(case, &mapped, upload("/v1/images/edits", &body, 50).header("x", "y"), 400);
        assert_eq!(error["error"]["code"], "invalid_multipart", "{case}");
    }
    let nameless = upload("/v1/images/edits", &good, 50)
        .without("content-type")
        .header("content-type", "multipart/form-data");
    let error = refused("no boundary", &single(OA), nameless, 400);
    assert!(error["error"]["message"].as_str().unwrap().contains("missing multipart boundary"));
}

#[test]
fn a_form_is_held_where_the_path_names_its_model() {
    let azure = single(
        r#"{"type":"azure","apiTokens":["k"],"azureServiceUrl":"https://r?api-version=1","modelMapping":{"a":"dep"}}"#,
    );
    let body = form(&[("model", "a")]);
    let path = "/openai/deployments/dep/audio/transcriptions?api-version=1";
    let length = form(&[("model", "dep")]).len().to_string();
    let text = sent(
        "azure",
        &azure,
        upload("/v1/audio/transcriptions", &body, 9),
        &[(":path", path), ("content-length", &length)],
    );
    assert_eq!(text, form(&[("model", "dep")]));
    refused("azure", &azure, upload("/v1/audio/transcriptions", "oops", 9), 400);
}

#[test]
fn w55_a_consumer_stays_with_a_key_where_the_vendor_keeps_state() {
    let config = single(r#"{"type":"openai","apiTokens":["t0","t1","t2"]}"#);
    let responses = |seed| Script::post("/v1/responses", "{}").random(seed).header("x-mse-consumer", "alice");
    for seed in 0..3 {
        sent("W55", &config, responses(seed), &[("authorization", "Bearer t2")]);
    }
    let neutral =
        Script::post("/v1/responses", "{}").header("x-mse-consumer", "alice").header("x-consumer", "svc-1");
    sent("W55, neutral name first", &config, neutral, &[("authorization", "Bearer t0")]);
    for (seed, token) in [(0, "Bearer t0"), (4, "Bearer t1"), (5, "Bearer t2")] {
        let chat = chat().random(seed).header("x-mse-consumer", "alice");
        sent("any key for a chat", &config, chat, &[("authorization", token)]);
    }
    let named = r#"{"consumerHeader":"X-Who","provider":{"type":"openai","apiTokens":["t0","t1","t2"]}}"#;
    let who =
        Script::post("/v1/responses", "{}").random(1).header("x-who", "bob").header("x-consumer", "svc-1");
    sent("W55, named", named, who, &[("authorization", "Bearer t2")]);
}

#[test]
fn w56_and_w57_oddities_of_zhipuai_and_doubao() {
    let zhipu =
        single(r#"{"type":"zhipuai","apiTokens":["k"],"zhipuCodePlanMode":true,"zhipuDomain":"api.z.ai"}"#);
    let effort = Script::post("/v1/chat/completions", r#"{"model":"m","reasoning_effort":"low"}"#);
    let text = goes_to("W56", &zhipu, effort, "api.z.ai", "/api/coding/paas/v4/chat/completions");
    assert_eq!(text, r#"{"model":"m","thinking":{"type":"enabled"}}"#, "W56");
    let doubao = single(r#"{"type":"doubao","apiTokens":["k"]}"#);
    let responses =
        Script::post("/v1/responses", r#"{"tool_choice":"auto","parallel_tool_calls":true,"model":"m"}"#);
    let text = goes_to("W57", &doubao, responses, "ark.cn-beijing.volces.com", "/api/v3/responses");
    assert_eq!(text, r#"{"model":"m"}"#, "W57");
}

#[test]
fn w58_a_limit_for_the_first_byte_goes_with_streams() {
    let header = "x-envoy-upstream-rq-first-byte-timeout-ms";
    let stream = || Script::post("/v1/chat/completions", r#"{"stream":true}"#);
    let config = oa(r#""firstByteTimeout":900"#);
    sent("W58", &config, stream(), &[(header, "900")]);
    sent("W58", &config, chat(), &[(header, "")]);
    let original = oa(r#""firstByteTimeout":900,"protocol":"original""#);
    let text = sent("W58, original", &original, stream(), &[(header, "900"), ("accept", "")]);
    assert_eq!(text, r#"{"stream":true}"#);
    sent("W58, original", &original, Script::post("/v1/chat/completions", "not json"), &[(header, "")]);
    let generic = single(r#"{"type":"generic","firstByteTimeout":900}"#);
    sent("W58, generic", &generic, get("/x"), &[(header, "900")]);
}

#[test]
fn w59_a_response_format_is_for_chats() {
    let config = oa(r#""responseJsonSchema":{"type":"json_object"}"#);
    let formatted = r#"{"a":0,"response_format":{"type":"json_object"}}"#;
    body("W59", &config, "/v1/chat/completions", r#"{"a":0,"response_format":5}"#, formatted);
    body("W59", &config, "/v1/embeddings", r#"{"a":0}"#, r#"{"a":0}"#);
}

#[test]
fn w60_no_model_is_made_up() {
    let remix = r#"{"prompt":"x"}"#;
    let text = sent("W60", &single(OA), Script::post("/v1/videos/vid_1/remix", remix), &[]);
    assert_eq!(text, remix);
}

#[test]
fn w68_messages_are_native_where_the_vendor_speaks_them() {
    let config = single(r#"{"type":"deepseek","apiTokens":["k"],"modelMapping":{"*":"deepseek-chat"}}"#);
    let messages = Script::post("/v1/messages?beta=true", r#"{"model":"c","max_tokens":10,"stream":true}"#)
        .header("x-api-key", "gateway-key")
        .header("authorization", "Bearer gateway-key");
    let expected = [
        (":authority", "api.deepseek.com"),
        (":path", "/anthropic/v1/messages?beta=true"),
        ("x-api-key", "k"),
        ("authorization", ""),
    ];
    let text = sent("W68", &config, messages, &expected);
    assert_eq!(text, r#"{"model":"deepseek-chat","max_tokens":10,"stream":true}"#);
}

#[test]
fn w84_a_stream_passes_with_its_bytes_and_borders() {
    let chunks = [b"data: {\"a\":1}\n\nda".to_vec(), b"ta: [DONE]\n\n".to_vec()];
    let script = Script::post("/v1/chat/completions", r#"{"stream":true}"#).header("accept-encoding", "gzip");
    let script = script.answered(200, &[("content-type", "text/event-stream")], chunks.clone());
    let played = common::testkit::play::<AiProxy>(&single(OA), script);
    assert_eq!(played.client.as_ref().unwrap().chunks, chunks);
    assert_eq!(
        played.sent().header("accept-encoding").as_deref(),
        Some("gzip"),
        "nobody here reads the answer"
    );
}

/// What a client gets of a stream that comes in these pieces.
#[track_caller]
fn streamed(case: &str, provider: &str, pieces: &[&str]) -> String {
    let script = Script::post("/v1/chat/completions", r#"{"stream":true}"#);
    let pieces = pieces.iter().map(|piece| piece.as_bytes().to_vec());
    let script = script.answered(200, &[("content-type", "text/event-stream")], pieces);
    let played = common::testkit::play::<AiProxy>(&single(provider), script);
    assert_eq!(played.sent().header("accept-encoding"), None, "{case}");
    played.client.unwrap_or_else(|| panic!("{case}")).text()
}

#[test]
fn w85_to_w88_events_are_read_whole_and_written_whole() {
    let moonshot = r#"{"type":"moonshot","apiTokens":["k"]}"#;
    let usage = r#"data: {"choices":[{"index":0,"delta":{},"usage":{"total_tokens":3}}]}"#;
    let lifted = r#"data: {"choices":[{"index":0,"delta":{}}],"usage":{"total_tokens":3}}"#;
    assert_eq!(
        streamed("W85", moonshot, &[&format!("event: x\nid: 1\n{usage}\n\nda"), "ta: [DONE]\n\n"]),
        format!("event: x\nid: 1\n{lifted}\n\ndata: [DONE]\n\n")
    );
    let joined = ": keepalive\n\ndata: {\"a\":1}\ndata: {\"b\":2}\n\n";
    assert_eq!(streamed("W86", moonshot, &[joined, "data: [DONE]\n\n"]), format!("{joined}data: [DONE]\n\n"));
    assert_eq!(
        streamed("W87", moonshot, &["garbage\n\ndata: {\"a\":1}\n\n", "data: [DONE]\n\n"]),
        "data: {\"a\":1}\n\ndata: [DONE]\n\n"
    );
    assert_eq!(
        streamed("W88", moonshot, &["data: {\"a\":1}\n\ndata: [DONE]"]),
        "data: {\"a\":1}\n\ndata: [DONE]\n\n"
    );
}

fn delta(delta: &str, finish: &str) -> String {
    format!(
        "data: {{\"id\":\"c\",\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{finish}}}]}}\n\n"
    )
}

#[test]
fn w89_and_w90_thinking_goes_where_the_mode_says() {
    let events = |deltas: &[&str]| deltas.iter().map(|text| delta(text, "null")).collect::<String>();
    let vendors = events(&[
        r#"{"reasoning_content":"R1"}"#,
        r#"{"reasoning_content":"R2"}"#,
        r#"{"content":"A"}"#,
        r#"{"content":"B"}"#,
    ]);
    let end = [delta("{}", "\"stop\""), "data: [DONE]\n\n".into()].concat();
    let mode =
        |mode: &str| format!(r#"{{"type":"baichuan","apiTokens":["k"],"reasoningContentMode":"{mode}"}}"#);
    let joined = events(&[
        r#"{"content":"<think>R1"}"#,
        r#"{"content":"R2"}"#,
        r#"{"content":"</think>\nA"}"#,
        r#"{"content":"B"}"#,
    ]);
    assert_eq!(streamed("W89", &mode("concat"), &[&vendors, &end]), [joined, end.clone()].concat());
    let kept = events(&[r#"{"content":"A"}"#, r#"{"content":"B"}"#]);
    assert_eq!(streamed("W90", &mode("Ignore"), &[&vendors, &end]), [kept, end.clone()].concat());
    let warnings = load_errors::<AiProxy>(&single(&mode("hide"))).unwrap();
    assert!(warnings.iter().any(|line| line.contains("provider.reasoningContentMode")), "{warnings:?}");
}

#[test]
fn w91_and_w92_thinking_stands_in_for_an_empty_answer() {
    let answer = br#"{"id":"c","choices":[{"index":0,"message":{"role":"assistant","content":"","reasoning_content":"R"},"finish_reason":"stop"}],"x":0}"#;
    for kind in ["vllm", "openai"] {
        let config =
            single(&format!(r#"{{"type":"{kind}","apiTokens":["k"],"promoteThinkingOnEmpty":true}}"#));
        let headers = [("content-type", "application/json"), ("content-length", "154")];
        let played =
            common::testkit::play::<AiProxy>(&config, chat().answered(200, &headers, [answer.to_vec()]));
        let client = played.client.unwrap();
        let promoted = r#"{"id":"c","choices":[{"index":0,"message":{"role":"assistant","content":"R"},"finish_reason":"stop"}],"x":0}"#;
        assert_eq!(client.text(), promoted, "W91, W92: {kind}");
        assert_eq!(client.header("content-length"), Some(promoted.len().to_string()), "W91, W92: {kind}");
    }
}

#[test]
fn w93_and_w94_thinking_without_an_answer_comes_before_the_end() {
    let vllm = r#"{"type":"vllm","promoteThinkingOnEmpty":true}"#;
    let promoted = |text: &str| {
        format!(
            "data: {{\"id\":\"c\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":null,\"logprobs\":null}}],\"created\":null,\"model\":null,\"object\":\"chat.completion.chunk\",\"usage\":null}}\n\n"
        )
    };
    let first = delta(r#"{"role":"assistant","reasoning_content":"R1"}"#, "null");
    let second = delta(r#"{"reasoning_content":"R2"}"#, "null");
    let end = [delta("{}", "\"stop\""), "data: [DONE]\n\n".into()].concat();
    let role = delta(r#"{"role":"assistant"}"#, "null");
    assert_eq!(
        streamed("W93", vllm, &[&first, &second, &end]),
        [role.clone(), delta("{}", "null"), promoted("R1R2"), end.clone()].concat()
    );
    assert_eq!(streamed("W94", vllm, &[&first, &end, ""]), [role, promoted("R1"), end].concat());
}

#[test]
fn answers_that_are_no_success_or_no_json_pass_as_they_are() {
    let config = oa(r#""reasoningContentMode":"ignore""#);
    for (status, kind, encoding) in [
        (500, "application/json", ""),
        (200, "text/plain", ""),
        (201, "application/json", ""),
        (200, "application/json", "br"),
    ] {
        let mut headers = vec![("content-type", kind), ("content-length", "4")];
        headers.extend((!encoding.is_empty()).then_some(("content-encoding", encoding)));
        let script = chat().answered(status, &headers, [b"oops".to_vec()]);
        let client = common::testkit::play::<AiProxy>(&config, script).client.unwrap();
        assert_eq!(client.text(), "oops", "{status} {kind} {encoding}");
    }
    let unreadable = chat().answered(200, &[("content-type", "application/json")], [b"oops".to_vec()]);
    assert_eq!(common::testkit::play::<AiProxy>(&config, unreadable).replied().status, 502);
    let error = chat().answered(
        200,
        &[("content-type", "application/json")],
        [br#"{"error":{"message":"no"}}"#.to_vec()],
    );
    let played = common::testkit::play::<AiProxy>(&config, error);
    assert_eq!(played.replied().status, 502);
    assert!(String::from_utf8_lossy(&played.replied().body).contains(r#""message":"no""#));
    let other = Script::post("/v1/embeddings", "{}").header("accept-encoding", "br");
    sent("no chat", &config, other, &[("accept-encoding", "br")]);
}

#[test]
fn w104_what_a_client_claims_about_its_origin_is_replaced() {
    let request = || {
        Script::post("/x/v1/chat/completions", CHAT)
            .header("x-envoy-original-host", "evil")
            .header("x-envoy-original-path", "/evil")
            .header("x-hi-original-auth", "Bearer prev")
            .header("authorization", "Bearer me")
    };
    let expected = |kept| {
        [
            ("x-envoy-original-host", "gw.local"),
            ("x-envoy-original-path", "/x/v1/chat/completions"),
            ("authorization", "Bearer sk-a"),
            ("x-hi-original-auth", kept),
        ]
    };
    sent("W104", &single(OA), request(), &expected(""));
    let keep = format!(r#"{{"keepOriginalAuth":true,"provider":{OA}}}"#);
    sent("W104, kept", &keep, request(), &expected("Bearer prev"));
    let first = chat().header("authorization", "Bearer me");
    sent(
        "first gateway",
        &keep,
        first,
        &[("x-hi-original-auth", "Bearer me"), ("authorization", "Bearer sk-a")],
    );
    let bare = single(r#"{"type":"generic"}"#);
    let claims =
        get("/v1/zzz").header("x-envoy-original-host", "evil").header("x-envoy-original-path", "/evil");
    sent("not readdressed", &bare, claims, &[("x-envoy-original-host", ""), ("x-envoy-original-path", "")]);
}
