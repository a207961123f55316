//! What is particular about single vendors, and what holds for all: cases OA, AZ, OR, OC and P of the
//! vendor specifications, the gate, credentials, local answers.
#![expect(clippy::unwrap_used, reason = "tests state what must hold, and a panic is the verdict")]

use ai_proxy::AiProxy;
use common::testkit::{Played, Script, load_errors};

const CHAT: &str = r#"{"model":"m","messages":[]}"#;

fn provider(kind: &str, more: &str) -> String {
    format!(r#"{{"provider":{{"type":"{kind}","apiTokens":["k1"]{more}}}}}"#)
}

fn post(path: &str) -> Script {
    Script::post(path, CHAT)
}

fn get(path: &str) -> Script {
    Script::request("GET", path)
}

fn play(config: &str, script: Script) -> Played {
    let answer = script.answered(200, &[("content-type", "application/json")], [b"{}".to_vec()]);
    common::testkit::play::<AiProxy>(config, answer)
}

#[track_caller]
fn path(case: &str, config: &str, script: Script, expected: &str) {
    let played = play(config, script);
    assert_eq!(played.sent().header(":path").as_deref(), Some(expected), "{case}");
}

#[track_caller]
fn status(case: &str, config: &str, script: Script) -> u16 {
    let played = play(config, script);
    assert!(played.upstream.is_none(), "{case}");
    played.replied().status
}

#[track_caller]
fn body(case: &str, config: &str, script: Script, expected: &str) {
    let text = play(config, script).sent().text();
    let value = |text: &str| -> serde_json::Value { serde_json::from_str(text).unwrap() };
    assert_eq!(value(&text), value(expected), "{case}");
}

#[test]
fn openai_custom_urls_name_a_base_or_one_api() {
    let custom = |url: &str| provider("openai", &format!(r#","openaiCustomUrl":"{url}""#));
    path(
        "OA-2",
        &custom("https://h.test:8443/llm/v1"),
        post("/v1/chat/completions"),
        "/llm/v1/chat/completions",
    );
    path("OA-3", &custom("https://h.test/api/"), post("/v1/audio/speech?a=1"), "/api/audio/speech?a=1");
    path("OA-4", &custom("h.test/only/chat/completions"), post("/v1/embeddings"), "/only/embeddings");
    path("OA-9", &custom("https://h.test/api"), get("/v1/files/f1/content"), "/api/files/f1/content");
    path("OA-11", &custom("https://h.test/api"), get("/v1/realtime?model=m"), "/api/realtime?model=m");
    path("models", &custom("https://h.test/api/models"), get("/v1/models/x"), "/api/models/x");
    let error = load_errors::<AiProxy>(&custom("ftp://h")).unwrap_err();
    assert!(error.contains("provider.openaiCustomUrl"), "{error}");
}

#[test]
fn azure_urls_fix_as_much_of_the_path_as_they_name() {
    let azure = |url: &str| {
        let more = format!(
            r#","azureServiceUrl":"https://r.openai.azure.com{url}","modelMapping":{{"gpt-4*":"prod4o"}}"#
        );
        provider("azure", &more)
    };
    let chat = |model: &str| Script::post("/v1/chat/completions", format!(r#"{{"model":"{model}"}}"#));
    let full = azure("/openai/deployments/d1/chat/completions?api-version=V");
    path("AZ-1", &full, chat("x"), "/openai/deployments/d1/chat/completions?api-version=V");
    path("AZ-2", &full, post("/v1/embeddings?a=1"), "/openai/deployments/d1/chat/completions?api-version=V");
    path("full, unknown", &full, get("/zzz"), "/openai/deployments/d1/chat/completions?api-version=V");
    let deployment = azure("/openai/deployments/d1/?api-version=V");
    path("AZ-3", &deployment, post("/v1/embeddings"), "/openai/deployments/d1/embeddings?api-version=V");
    let resource = azure("?api-version=V");
    let gpt4 = "/openai/deployments/prod4o/chat/completions?api-version=V";
    path("AZ-4", &resource, chat("gpt-4o"), gpt4);
    body("AZ-4", &resource, chat("gpt-4o"), r#"{"model":"prod4o"}"#);
    path("AZ-5", &resource, get("/v1/files?limit=3"), "/openai/files?limit=3&api-version=V");
    path("AZ-6", &resource, get("/v1/files?"), "/openai/files?api-version=V");
    path("AZ-7", &resource, get("/v1/files/file-9/content"), "/openai/files/file-9/content?api-version=V");
    path("AZ-8", &resource, post("/v1/responses"), "/openai/responses?api-version=V");
    path("AZ-10", &azure("/custom/route?api-version=V"), chat("m"), "/custom/route?api-version=V");
    let client = Script::post("/v1/files?api-version=old&x=1", "");
    path("the client's version", &resource, client, "/openai/files?x=1&api-version=V");
    path(
        "a name with a slash",
        &resource,
        chat("a/b"),
        "/openai/deployments/a%2Fb/chat/completions?api-version=V",
    );
    let unnamed = Script::post("/v1/chat/completions", "{}");
    path("no model", &resource, unnamed, "/openai/deployments/placeholder/chat/completions?api-version=V");
    let realtime = get("/v1/realtime?model=gpt-4o-rt");
    path("realtime", &resource, realtime, "/openai/realtime?deployment=prod4o&model=gpt-4o-rt&api-version=V");
    path("v1", &azure("/openai/v1"), chat("m"), "/openai/v1/chat/completions");
    let error = load_errors::<AiProxy>(&azure("")).unwrap_err();
    assert!(error.contains("missing api-version query parameter in azureServiceUrl"), "AZ-12: {error}");
}

#[test]
fn azure_applies_base_paths_after_the_model_is_known() {
    let azure =
        |more: &str| provider("azure", &format!(r#","azureServiceUrl":"https://r?api-version=V",{more}"#));
    let base = azure(r#""basePath":"/az""#);
    let deployed = "/openai/deployments/m/chat/completions?api-version=V";
    path("AZ-11", &base, post("/az/v1/chat/completions"), deployed);
    let original = azure(r#""basePath":"/az","protocol":"original""#);
    path("AZ-11, original", &original, post("/az/v1/chat/completions"), "/v1/chat/completions");
    let prefixed = azure(r#""providerBasePath":"/pb","basePath":"/pp","basePathHandling":"prepend""#);
    path("prefixes", &prefixed, post("/v1/chat/completions"), &format!("/pb/pp{deployed}"));
}

#[test]
fn openrouter_gets_a_budget_for_reasoning_where_it_looks_for_it() {
    let config = provider("openrouter", "");
    let chat = |body: &str| Script::post("/v1/chat/completions", body);
    body(
        "OR-1",
        &config,
        chat(r#"{"model":"a/b","reasoning_max_tokens":900,"reasoning_effort":"low","messages":[]}"#),
        r#"{"model":"a/b","messages":[],"reasoning":{"max_tokens":900}}"#,
    );
    body(
        "OR-1, merged",
        &config,
        chat(r#"{"reasoning":{"exclude":true},"reasoning_max_tokens":9}"#),
        r#"{"reasoning":{"exclude":true,"max_tokens":9}}"#,
    );
    body(
        "OR-1, alone",
        &config,
        chat(r#"{"reasoning_max_tokens":9,"reasoning_effort":"low"}"#),
        r#"{"reasoning":{"max_tokens":9}}"#,
    );
    for unchanged in
        [r#"{"reasoning":{"effort":"high"}}"#, r#"{"reasoning_max_tokens":0,"reasoning_effort":"low"}"#]
    {
        assert_eq!(play(&config, chat(unchanged)).sent().text(), unchanged, "OR-4");
    }
}

#[test]
fn compatible_vendors_are_reached_at_their_own_paths() {
    let responses = Script::post("/v1/responses", r#"{"model":"m"}"#);
    let groq = provider("groq", r#","modelMapping":{"*":"llama"}"#);
    path("OC-1", &groq, responses.clone(), "/openai/v1/responses");
    body("OC-1", &groq, responses, r#"{"model":"llama"}"#);
    let ollama = r#"{"provider":{"type":"ollama","ollamaServerHost":"10.0.0.5","ollamaServerPort":11434}}"#;
    let played = play(ollama, post("/v1/chat/completions").header("authorization", "Basic x"));
    assert_eq!(played.sent().header(":authority").as_deref(), Some("10.0.0.5:11434"), "OC-3");
    assert_eq!(played.sent().header("authorization").as_deref(), Some("Basic x"), "OC-3");
    path("ollama, unlisted", ollama, post("/v1/rerank"), "/v1/rerank");
    let vllm = provider("vllm", r#","vllmCustomUrl":"http://v.test:8000/serve""#);
    path("OC-5", &vllm, post("/v1/rerank"), "/serve/rerank");
    let generic = provider("generic", r#","genericHost":"g.test","basePath":"/p","modelMapping":{"*":"X"}"#);
    path("OC-6", &generic, Script::post("/p/anything?x=1", "not json"), "/anything?x=1");
    assert_eq!(play(&generic, post("/p/v1/chat/completions")).sent().text(), CHAT, "OC-6");
    path("OC-7", &provider("mistral", ""), post("/v1/embeddings"), "/v1/embeddings");
    assert_eq!(status("OC-8", &provider("grok", ""), post("/v1/embeddings")), 404);
    let fireworks = provider("fireworks", r#","providerBasePath":"/inference""#);
    path("fireworks", &fireworks, post("/v1/chat/completions"), "/inference/v1/chat/completions");
    let longcat =
        provider("longcat", r#","responseJsonSchema":{"type":"json_object"},"modelMapping":{"*":"L"}"#);
    path("longcat", &longcat, post("/v1/chat/completions"), "/openai/v1/chat/completions");
    let formatted = r#"{"model":"L","messages":[],"response_format":{"type":"json_object"}}"#;
    body("P-7", &longcat, post("/v1/chat/completions"), formatted);
    let original = provider("openrouter", r#","protocol":"original""#);
    path("original", &original, post("/x/v1/chat/completions"), "/x/v1/chat/completions");
}

#[test]
fn capabilities_of_the_configuration_win() {
    let more = r#","capabilities":{"openai/v1/embeddings":"/alt/emb?v=1","openai/v1/chatcompletions":"",
        "openai/v1/files":"/store","openai/v1/retrievefile":"/store/{file_id}/x","nope":"/n"}"#;
    let config = provider("stepfun", more);
    path("P-5", &config, post("/v1/embeddings?q=2"), "/alt/emb?v=1&q=2");
    assert_eq!(status("switched off", &config, post("/v1/chat/completions")), 404);
    path("by name", &config, get("/v1/files/f-1"), "/store/f-1/x");
    let warnings = load_errors::<AiProxy>(&config).unwrap();
    assert!(warnings.iter().any(|line| line.contains("nope")), "{warnings:?}");
}

#[test]
fn the_gate_is_the_same_for_every_method() {
    let groq = provider("groq", "");
    for method in ["GET", "POST", "DELETE"] {
        assert_eq!(status(method, &groq, Script::request(method, "/v1/files")), 404, "{method}");
    }
    path("unknown", &groq, Script::request("DELETE", "/v1/zzz"), "/v1/zzz");
    path("passed on", &groq, post("/v1/moderations"), "/v1/moderations");
    assert_eq!(status("Anthropic", &groq, post("/v1/complete")), 404);
    path("original", &provider("groq", r#","protocol":"original""#), get("/v1/files"), "/v1/files");
}

#[test]
fn a_refusal_has_the_shape_that_the_client_reads() {
    let played = play(&provider("groq", ""), post("/v1/complete"));
    let error: serde_json::Value = serde_json::from_slice(&played.replied().body).unwrap();
    assert_eq!((&error["type"], &error["error"]["type"]), (&"error".into(), &"not_found_error".into()));
    assert!(!error.to_string().contains("groq"), "{error}");
}

#[test]
fn models_are_listed_from_the_configuration_where_the_vendor_has_no_list() {
    let config =
        provider("groq", r#","modelMapping":{"fast":"llama-8b","big":"","gpt-*":"x","*":"y","~z":"z"}"#);
    let played = play(&config, get("/v1/models"));
    let list: serde_json::Value = serde_json::from_slice(&played.replied().body).unwrap();
    let ids: Vec<_> =
        list["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
    assert_eq!((played.replied().status, ids), (200, vec!["fast", "big"]));
    let one = play(&config, get("/v1/models/big"));
    assert_eq!(one.replied().status, 200);
    assert_eq!(status("no such model", &config, get("/v1/models/llama-8b")), 404);
    assert_eq!(status("nothing to list (W29)", &provider("groq", ""), get("/v1/models")), 404);
    path(
        "the vendor's own list",
        &provider("deepseek", r#","modelMapping":{"a":"b"}"#),
        get("/v1/models"),
        "/v1/models",
    );
}

#[test]
fn no_credential_of_the_client_passes_beside_ours() {
    let names = ["x-api-key", "x-authorization", "api-key", "x-goog-api-key"];
    let request = names
        .iter()
        .fold(post("/v1/chat/completions"), |script, name| script.header(name, "client-secret"))
        .header("authorization", "Bearer client-secret")
        .header("x-hi-original-auth", "Bearer client-secret");
    for config in [provider("openai", ""), provider("generic", ""), provider("ai360", "")] {
        let played = play(&config, request.clone());
        let leaked: Vec<_> =
            played.sent().head.iter().filter(|(_, value)| value.ends_with(b"client-secret")).collect();
        assert!(leaked.is_empty(), "{leaked:?}");
    }
    let gemini = get("/v1beta/models/g:generateContent?key=client-secret&alt=sse");
    path("Gemini's key", &provider("openai", ""), gemini, "/v1beta/models/g:generateContent?alt=sse");
}

#[test]
fn a_key_of_the_client_is_taken_from_the_header_that_is_named() {
    let config = r#"{"provider":{"type":"deepseek","authHeaderKey":"X-My-Key"}}"#;
    let played = play(config, post("/v1/chat/completions").header("x-my-key", "mine"));
    assert_eq!(played.sent().header("authorization").as_deref(), Some("Bearer mine"));
    assert_eq!(played.sent().header("x-my-key"), None);
    assert_eq!(
        status("missing", config, post("/v1/chat/completions").header("authorization", "Bearer x")),
        401
    );
}

#[test]
fn bodies_that_are_not_json_pass_unread() {
    let config = provider("openai", r#","modelMapping":{"*":"X"}"#);
    let upload = |kind: &str| {
        Script::request("POST", "/v1/images/edits")
            .header("content-type", kind)
            .chunks([b"\x00binary\xff".to_vec()])
    };
    for kind in ["multipart/mixed; boundary=b", "application/octet-stream", "application/grpc", "text/plain"]
    {
        assert_eq!(play(&config, upload(kind)).sent().body(), b"\x00binary\xff", "{kind}");
    }
    let packed = post("/v1/embeddings").header("content-encoding", "gzip");
    assert_eq!(play(&config, packed).sent().text(), CHAT);
    let shouting = Script::request("POST", "/v1/embeddings")
        .header("content-type", "Application/JSON; charset=utf-8")
        .chunks([b"{}".to_vec()]);
    assert_eq!(play(&config, shouting).sent().text(), r#"{"model":"X"}"#);
    let untyped = post("/v1/embeddings").without("content-type");
    assert_eq!(play(&config, untyped).sent().text(), r#"{"model":"X","messages":[]}"#);
}

#[test]
fn a_body_over_the_limit_is_refused_at_its_head() {
    let config = r#"{"maxBodyBytes":20,"provider":{"type":"openai","apiTokens":["k"]}}"#;
    let large = Script::request("POST", "/v1/batches")
        .header("content-type", "application/json")
        .header("content-length", "21")
        .chunks([vec![b' '; 21]]);
    let chat = post("/v1/chat/completions").chunks([vec![b' '; 21]]);
    assert_eq!(status("announced", config, chat), 413);
    // An API that is not read has no limit here.
    assert_eq!(play(config, large).sent().body().len(), 21);
    let rule = r#"{"maxBodyBytes":20,"_rules_":[{"_match_route_":["r"],"provider":{"type":"openai","apiTokens":["k"]}}]}"#;
    let chat = post("/v1/chat/completions").property("xds.route_name", "r");
    assert_eq!(status("inherited", rule, chat), 413);
}

#[test]
fn a_body_in_single_bytes_is_the_same_body() {
    let config = provider("openai", r#","modelMapping":{"m":"mapped"}"#);
    let bytes = CHAT.bytes().map(|byte| vec![byte]);
    assert_eq!(
        play(&config, post("/v1/chat/completions").chunks(bytes)).sent().text(),
        CHAT.replace("\"m\"", "\"mapped\"")
    );
}

#[test]
fn the_cluster_is_pinned_before_the_request_is_readdressed() {
    let config = r#"{"pinCluster":true,"provider":{"type":"openai","apiTokens":["k"]}}"#;
    let spoofed = || post("/v1/chat/completions").header("x-ai-pinned-cluster", "evil");
    let played = play(config, spoofed().property("xds.cluster_name", "vendor"));
    assert_eq!(played.sent().header("x-ai-pinned-cluster").as_deref(), Some("vendor"));
    assert_eq!(play(config, spoofed()).sent().header("x-ai-pinned-cluster"), None);
}

#[test]
fn upstream_errors_pass_untouched() {
    for code in [400, 401, 429, 500, 503] {
        let body = b"{\"error\":{\"message\":\"vendor says no\"}}".to_vec();
        let headers = [("content-type", "application/problem+json"), ("retry-after", "7")];
        let script = post("/v1/chat/completions").answered(code, &headers, [body.clone()]);
        let client = common::testkit::play::<AiProxy>(&provider("openai", ""), script).client.unwrap();
        assert_eq!(client.header(":status"), Some(code.to_string()));
        assert_eq!(client.header("retry-after").as_deref(), Some("7"));
        assert_eq!(client.chunks, [body]);
    }
}

#[test]
fn unknown_keys_are_named() {
    let warnings =
        load_errors::<AiProxy>(&provider("openai", r#","apiToken":["x"],"failover":{"failureTreshold":1}"#))
            .unwrap();
    assert!(
        warnings.iter().any(|line| line.contains("provider.apiToken") && line.contains("apiTokens")),
        "{warnings:?}"
    );
    assert!(
        warnings.iter().any(|line| line.contains("provider.failover.failureTreshold: unknown key, is `fail")),
        "{warnings:?}"
    );
    let known =
        load_errors::<AiProxy>(&provider("openai", r#","timeout":1,"id":"a","openaiCustomUrl":"h/v1""#))
            .unwrap();
    assert!(known.is_empty(), "{known:?}");
}

#[test]
fn the_configuration_in_the_readme_works() {
    let readme = include_str!("../README.md");
    let (_, rest) = readme.split_once("```json\n").unwrap();
    let (config, _) = rest.split_once("```").unwrap();
    let config = config.replace("${OPENAI_API_KEY}", "sk-a");
    assert!(load_errors::<AiProxy>(&config).unwrap().is_empty());
    let played = play(&config, post("/v1/chat/completions"));
    assert_eq!(played.sent().header("authorization").as_deref(), Some("Bearer sk-a"));
}

#[test]
fn a_rule_takes_a_provider_of_the_global_configuration_and_its_settings() {
    let config = r#"{"provider":{"id":"a","type":"openai","apiTokens":["k"]},"disableStreamUsageStats":true,
        "_rules_":[{"_match_route_":["r"],"activeProviderId":"a"}]}"#;
    let stream = r#"{"stream":true}"#;
    let script = Script::post("/v1/chat/completions", stream).property("xds.route_name", "r");
    let played = play(config, script);
    assert_eq!(played.sent().header(":authority").as_deref(), Some("api.openai.com"));
    assert_eq!(played.sent().text(), stream);
}

#[test]
fn more_compatible_vendors_are_reached_at_their_own_paths() {
    let mapped = |kind: &str, more: &str| provider(kind, &format!(r#","modelMapping":{{"*":"X"}}{more}"#));
    let chat = |query: &str| Script::post(&format!("/v1/chat/completions{query}"), r#"{"model":"m"}"#);
    path("P-1", &mapped("baidu", ""), chat("?trace=7"), "/v2/chat/completions?trace=7");
    path("baidu", &mapped("baidu", ""), post("/v1/embeddings"), "/v2/embeddings");
    let original = mapped("baidu", r#","protocol":"original""#);
    path("P-8", &original, post("/team-a/v2/chat/completions?z=1"), "/v2/chat/completions?z=1");
    assert_eq!(play(&original, post("/team-a/v2/chat/completions")).sent().text(), CHAT, "P-8");
    path("MM-5", &mapped("minimax", ""), chat("?t=1"), "/v1/text/chatcompletion_v2?t=1");
    body("MM-5", &mapped("minimax", ""), chat(""), r#"{"model":"X"}"#);
    let error = load_errors::<AiProxy>(&mapped("minimax", r#","minimaxApiType":"pro""#)).unwrap_err();
    assert!(error.contains("provider.minimaxApiType"), "{error}");
    let cloudflare = mapped("cloudflare", r#","cloudflareAccountId":"ac1""#);
    path("OC-4", &cloudflare, chat(""), "/client/v4/accounts/ac1/ai/v1/chat/completions");
    path("OC-4", &cloudflare, post("/v1/embeddings"), "/client/v4/accounts/ac1/ai/v1/embeddings");
    let error = load_errors::<AiProxy>(&mapped("cloudflare", "")).unwrap_err();
    assert!(error.contains("missing cloudflareAccountId"), "{error}");
    path(
        "ZP-4",
        &mapped("zhipuai", r#","zhipuCodePlanMode":true"#),
        post("/v1/embeddings"),
        "/api/paas/v4/embeddings",
    );
    let thinking = |effort: &str| {
        Script::post("/v1/chat/completions", format!(r#"{{"model":"m","thinking":7{effort}}}"#))
    };
    body("ZP-2", &mapped("zhipuai", ""), thinking(""), r#"{"model":"X","thinking":7}"#);
    let off = r#"{"model":"X","thinking":{"type":"disabled"}}"#;
    body("F-Z1", &mapped("zhipuai", ""), thinking(r#","reasoning_effort":"none""#), off);
}

#[test]
fn doubao_is_told_what_it_does_not_know() {
    let doubao = provider("doubao", r#","doubaoDomain":"ark.ap-southeast.bytepluses.com""#);
    let images = |body: &str| Script::post("/v1/images/generations", body);
    let played = play(&doubao, images(r#"{"prompt":"p"}"#));
    assert_eq!(played.sent().header(":authority").as_deref(), Some("ark.ap-southeast.bytepluses.com"));
    assert_eq!(played.sent().text(), r#"{"prompt":"p","watermark":false}"#);
    path("images", &doubao, images("{}"), "/api/v3/images/generations");
    body("images", &doubao, images(r#"{"watermark":true}"#), r#"{"watermark":true}"#);
    let original = provider("doubao", r#","protocol":"original""#);
    path("original", &original, post("/x/api/v3/chat/completions"), "/api/v3/chat/completions");
    path(
        "original",
        &original,
        post("/api/v3/contents/generations/tasks"),
        "/api/v3/contents/generations/tasks",
    );
}

#[test]
fn coze_gets_what_the_client_sent() {
    let original = provider("coze", r#","protocol":"original""#);
    path("CZ-1", &original, post("/v3/chat?conversation_id=55"), "/v3/chat?conversation_id=55");
    let mapped = provider("coze", r#","modelMapping":{"*":"M"}"#);
    path("CZ-2", &mapped, post("/v1/chat/completions"), "/v1/chat/completions");
    assert_eq!(play(&mapped, post("/v1/chat/completions")).sent().text(), CHAT, "CZ-2");
}

#[test]
fn an_api_without_a_public_path_is_named_by_the_vendors_own() {
    let more = r#","protocol":"original","firstByteTimeout":900,"customSettings":{"name":"a","value":1,"mode":"raw"},
        "capabilities":{"qwen/v1/services/aigc":"/api/v1/services/aigc/","qwen/v1/tasks":"/api/v1/tasks/"}"#;
    let config = provider("openai", more);
    let image = "/api/v1/services/aigc/text2image/image-synthesis?x=1";
    path("Wanxiang", &config, post(image), image);
    body("Wanxiang", &config, Script::post(image, "{}"), r#"{"a":1}"#);
    path("its tasks", &config, get("/api/v1/tasks/tk-1"), "/api/v1/tasks/tk-1");
    body("nobody's", &config, Script::post("/api/v1/other", "{}"), "{}");
}

#[test]
fn every_api_of_openai_goes_to_its_usual_place() {
    let config = provider("openai", r#","basePath":"/ai""#);
    let mut apis = 0;
    for api in common::llm::api::Api::ALL.iter().filter(|api| api.name().starts_with("openai/")) {
        let path_of = api.path().replace(['{', '}'], "");
        path(api.name(), &config, get(&format!("/ai{path_of}?q=1")), &format!("{path_of}?q=1"));
        apis += 1;
    }
    assert!(apis > 30, "{apis}");
    let realtime =
        get("/ai/v1/realtime?model=m").header("upgrade", "websocket").header("connection", "Upgrade");
    path("realtime", &config, realtime, "/v1/realtime?model=m");
    path("no name", &config, post("/ai/v1/uploads"), "/v1/uploads");
    path("Anthropic's", &config, post("/ai/v1/messages/count_tokens"), "/v1/messages/count_tokens");
}
