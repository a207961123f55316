//! Worked cases of the behavioural specification, by their numbers: what the client sends, what goes upstream.
#![expect(clippy::expect_used, reason = "in a test, a panic is the verdict")]

use common::filter::LogLevel;
use common::testkit::{Played, Script, load_errors};
use model_router::ModelRouter;

const R1: &str = r#"{"modelToHeader":"x-ai-model"}"#;
const R2: &str = r#"{"addProviderHeader":"x-ai-provider","modelToHeader":"x-ai-model"}"#;
const R3: &str = r#"{"modelToHeader":"x-ai-model","autoRouting":{"enable":true,"modelId":"auto",
    "defaultModel":"small-1","rules":[{"pattern":"(?i)\\b(sql|select)\\b","model":"coder-2"},
    {"pattern":"(?i)translate","model":"mt-1"}]}}"#;
const R4: &str = r#"{"modelKey":"engine","addProviderHeader":"x-ai-provider","enableOnPathSuffix":["*"]}"#;
const CHAT: &str = "/v1/chat/completions";

fn play(config: &str, script: Script) -> Played {
    common::testkit::play::<ModelRouter>(config, script)
}

/// What goes upstream for a POST of JSON, whole and in single bytes: the model's and the provider's header (empty:
/// absent), and the body.
#[track_caller]
fn check(case: &str, config: &str, path: &str, body: &str, model: &str, provider: &str, expected: &str) {
    let bytes = Script::post(path, body).chunks(body.bytes().map(|byte| vec![byte]));
    let trailers = Script::post(path, body).without("content-length").with_request_trailers();
    for script in [Script::post(path, body), bytes, trailers] {
        let played = play(config, script);
        let seen = played.sent();
        let header = |name: &str| seen.header(name).unwrap_or_default();
        assert_eq!(
            (header("x-ai-model").as_str(), header("x-ai-provider").as_str()),
            (model, provider),
            "{case}"
        );
        assert_eq!(seen.text(), expected, "{case}");
    }
}

/// As `check`, with a body that stays as it is.
#[track_caller]
fn kept(case: &str, config: &str, body: &str, model: &str) {
    check(case, config, CHAT, body, model, "", body);
}

/// A request that leaves as it came, head and body.
#[track_caller]
fn untouched(case: &str, config: &str, script: Script) -> Played {
    let played = play(config, script.clone());
    let nothing_to_do = play(r#"{"modelToHeader":""}"#, script);
    assert_eq!(played.sent().head, nothing_to_do.sent().head, "{case}");
    assert!(played.sent().body() == nothing_to_do.sent().body(), "{case}: another body");
    played
}

#[track_caller]
fn not_loaded(case: &str, config: &str, message: &str) {
    let error = load_errors::<ModelRouter>(config).expect_err(case);
    assert!(error.contains(message), "{case}: {error}");
}

fn counted(played: &Played) -> Vec<(String, i64)> {
    let mut metrics = played.envoy.metrics.borrow().clone();
    metrics.retain(|(name, _)| name.starts_with("model_router."));
    metrics
}

fn with(config: &str, more: &str) -> String {
    config.replacen('{', &format!("{{{more},"), 1)
}

fn typed(body: &str, content_type: &str) -> Script {
    Script::post(CHAT, body).without("content-type").header("content-type", content_type)
}

#[test]
fn w01_and_w02_the_model_goes_into_the_header() {
    kept("W1", R1, r#"{"model":"phi-4"}"#, "phi-4");
    kept("W2", R1, r#"{"model":"acme/phi-4"}"#, "acme/phi-4");
}

#[test]
fn w03_and_w04_the_provider_is_split_off() {
    check("W3", R2, CHAT, r#"{"model":"acme/phi-4"}"#, "acme/phi-4", "acme", r#"{"model":"phi-4"}"#);
    check("W4", R2, CHAT, r#"{"model":"acme/org/phi"}"#, "acme/org/phi", "acme", r#"{"model":"org/phi"}"#);
}

#[test]
fn w05_a_clients_own_headers_are_not_believed() {
    let spoofed = |script: Script| script.header("x-ai-provider", "evil").header("x-ai-model", "evil");
    let absent = |played: &Played, names: &[&str]| {
        names.iter().for_each(|name| assert_eq!(played.sent().header(name), None, "W5: {name}"));
    };
    let played = play(R2, spoofed(Script::post(CHAT, r#"{"model":"phi-4"}"#)));
    assert_eq!(played.sent().header("x-ai-model").as_deref(), Some("phi-4"));
    absent(&played, &["x-ai-provider"]);
    // Nor where the body says nothing, cannot be read, is too large, or is not there.
    for script in [
        Script::post(CHAT, "{}"),
        Script::post(CHAT, "not json"),
        Script::post(CHAT, vec![b' '; 2 << 20]),
        Script::post(CHAT, "x").header("content-encoding", "gzip"),
        typed("{}", "text/plain"),
        Script::request("POST", CHAT),
        // Nor on paths that are not read.
        Script::post("/v1/files", "{}"),
        Script::request("GET", "/v1/models"),
    ] {
        absent(&play(R2, spoofed(script)), &["x-ai-model", "x-ai-provider"]);
    }
    let both = ["x-ai-model", "x-higress-llm-model"];
    absent(
        &play("{}", both.iter().fold(Script::post(CHAT, "{}"), |script, name| script.header(name, "evil"))),
        &both,
    );
    untouched("trusted", &with(R2, r#""trustClientHeader":true"#), spoofed(Script::post(CHAT, "{}")));
    untouched("elsewhere", R2, Script::post("/v1/files", "{}"));
}

#[test]
fn w06_an_empty_side_of_the_slash_is_no_provider() {
    kept("W6", R2, r#"{"model":"acme/"}"#, "acme/");
    kept("W6", R2, r#"{"model":"/m"}"#, "/m");
    kept("W6", R2, r#"{"model":"/"}"#, "/");
}

#[test]
fn w07_and_w08_what_names_no_model_sets_no_header() {
    for body in [r#"{"messages":[]}"#, r#"{"model":""}"#, r#"{"model":null}"#] {
        assert!(play(R1, Script::post(CHAT, body)).logged(LogLevel::Info).is_empty(), "W7");
        kept("W7", R1, body, "");
    }
    for value in ["12", "true", "{}", "[\"a\"]", r#""\ud800""#] {
        let body = format!(r#"{{"model":{value}}}"#);
        kept("W8", R1, &body, "");
        assert_eq!(play(R1, Script::post(CHAT, &body)).logged(LogLevel::Warn).len(), 1, "W8");
    }
    for body in ["[]", "7", "not json", r#"{"model":"a""#] {
        kept("invalid", R1, body, "");
        assert_eq!(
            counted(&play(R1, Script::post(CHAT, body))),
            [("model_router.invalid_body".to_owned(), 1)]
        );
    }
}

#[test]
fn w09_paths_of_uploads_are_read_by_default() {
    let played = play(R1, upload("/v1/images/edits", &form("gpt-image-1")));
    assert_eq!(played.sent().header("x-ai-model").as_deref(), Some("gpt-image-1"), "W9");
}

#[test]
fn w10_another_key_on_any_path() {
    check("W10", R4, "/anything", r#"{"engine":"b/c"}"#, "", "b", r#"{"engine":"c"}"#);
    let nested = R4.replace("engine", "a.engine");
    check(
        "nested",
        &nested,
        "/x",
        r#"{"engine":"no","a":{"engine":"b/c"}}"#,
        "",
        "b",
        r#"{"engine":"no","a":{"engine":"c"}}"#,
    );
}

/// A chat that leaves the choice to the gateway.
fn auto(messages: &str) -> String {
    format!(r#"{{"model":"auto","messages":[{messages}]}}"#)
}

fn user(content: &str) -> String {
    format!(r#"{{"role":"user","content":{content}}}"#)
}

#[track_caller]
fn chosen(case: &str, config: &str, body: &str, model: &str) {
    check(case, config, CHAT, body, model, "", &body.replace("\"auto\"", &format!("\"{model}\"")));
}

#[test]
fn w11_to_w14_a_model_is_chosen_by_what_the_user_writes_last() {
    chosen("W11", R3, &auto(&user(r#""please write a SQL query""#)), "coder-2");
    chosen("W12", R3, &auto(&user(r#""hello""#)), "small-1");
    let conversation = [
        user(r#""translate this""#),
        r#"{"role":"assistant","content":"..."}"#.into(),
        user(r#""and select columns""#),
    ];
    chosen("W13", R3, &auto(&conversation.join(",")), "coder-2");
    let parts = r#"[{"type":"text","text":"translate"},{"type":"image_url","image_url":{}},{"type":"text","text":"thanks"}]"#;
    chosen("W14", R3, &auto(&user(parts)), "mt-1");
    chosen("W14", &with(R3, r#""textJoin":"last""#), &auto(&user(parts)), "small-1");
}

#[test]
fn w15_where_nothing_is_chosen_the_request_stays() {
    let without = R3.replace(r#""defaultModel":"small-1","#, "");
    for body in [auto(&user(r#""hi""#)), auto(""), r#"{"model":"auto"}"#.to_owned()] {
        kept("W15", &without, &body, "");
        let played = play(&without, Script::post(CHAT, &body));
        assert_eq!(played.logged(LogLevel::Warn).len(), 1, "W15");
        assert_eq!(counted(&played), [("model_router.auto_none".to_owned(), 1)], "W15");
    }
}

#[test]
fn w16_other_models_take_the_ordinary_way() {
    kept("W16", R3, r#"{"model":"small-1"}"#, "small-1");
    kept("W16", R3, r#"{"model":"auto-x"}"#, "auto-x");
    kept("W16", R3, r#"{"model":"Auto"}"#, "Auto");
    kept("off", &R3.replace(r#""enable":true"#, r#""enable":false"#), &auto(&user(r#""sql""#)), "auto");
}

#[test]
fn a_rule_that_is_no_regex_is_refused_or_left_out() {
    let config = R3.replace(r#""rules":["#, r#""rules":[{"pattern":"[","model":"bad"},"#);
    not_loaded("regex", &config, "autoRouting.rules[0].pattern: the pattern is no regex");
    let lenient = with(&config, r#""lenient":true"#);
    let lines = load_errors::<ModelRouter>(&lenient).unwrap_or_default();
    assert!(lines.len() == 1 && lines.iter().all(|line| line.contains("left out")), "{lines:?}");
    chosen("lenient", &lenient, &auto(&user(r#""sql""#)), "coder-2");
    let half = R3.replace(r#""rules":["#, r#""rules":[{"pattern":"sql"},{"model":"x"},"#);
    assert_eq!(load_errors::<ModelRouter>(&half).map(|lines| lines.len()), Ok(2));
    chosen("half a rule", &half, &auto(&user(r#""sql""#)), "coder-2");
}

#[test]
fn a_pattern_whose_case_is_not_ignored_is_told() {
    for (pattern, is_told) in [
        ("(?i)écrire", true),
        ("a|(?i:Привет)", true),
        ("(?si)ὁ", true),
        ("(?i)translate|翻译", false),
        ("écrire", false),
        ("(?s-i)é", false),
        ("(?s)é", false),
        ("(?P<i>é)", false),
        ("(?i)[Éé]crire", true),
    ] {
        let rule = format!(r#""rules":[{{"pattern":"{pattern}","model":"x"}},"#);
        let lines = load_errors::<ModelRouter>(&R3.replace(r#""rules":["#, &rule)).expect("it loads");
        assert_eq!(lines.len(), usize::from(is_told), "{pattern}: {lines:?}");
        assert!(lines.iter().all(|line| line.contains("ASCII letters only")), "{lines:?}");
    }
    not_loaded("class", &R3.replace("(?i)translate", r"\\p{L}"), "the pattern is no regex");
}

#[test]
fn the_chosen_model_is_split_and_told_like_any_other() {
    let config = with(&R3.replace("mt-1", "acme/mt-1"), r#""addProviderHeader":"x-ai-provider""#);
    let body = auto(&user(r#""Translate""#));
    check("split", &config, CHAT, &body, "acme/mt-1", "acme", &body.replace("\"auto\"", "\"mt-1\""));
    let played = play(&config, Script::post(CHAT, &body));
    let names: Vec<String> = counted(&played).into_iter().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        ["model_router.provider_split", "model_router.header_set", "model_router.auto_matched"]
    );
    assert_eq!(played.envoy.properties.borrow()["model_router"], b"acme/mt-1");
}

#[test]
fn a_choice_has_a_header_of_its_own_only_where_the_model_has_none() {
    let own = R3
        .replace(r#""modelToHeader":"x-ai-model","#, "")
        .replace(r#""enable":true"#, r#""enable":true,"targetHeader":"X-Chosen""#);
    let header = |body: &str, name: &str| play(&own, Script::post(CHAT, body)).sent().header(name);
    let body = auto(&user(r#""sql""#));
    assert_eq!((header(&body, "x-chosen").as_deref(), header(&body, "x-ai-model")), (Some("coder-2"), None));
    assert_eq!(header(r#"{"model":"m"}"#, "x-chosen"), None);
    // Where no header is named at all, the neutral one is for both.
    let neutral = R3.replace(r#""modelToHeader":"x-ai-model","#, "");
    chosen("neutral", &neutral, &body, "coder-2");
    kept("neutral", &neutral, r#"{"model":"m"}"#, "m");
}

#[test]
fn other_names_of_the_sentinel_and_the_headers_are_known() {
    let body = auto(&user(r#""sql""#)).replace("\"auto\"", "\"higress/auto\"");
    check("alias", R3, CHAT, &body, "coder-2", "", &body.replace("higress/auto", "coder-2"));
    let played = play(&with(R2, r#""compatHeaders":true"#), Script::post(CHAT, r#"{"model":"a/b"}"#));
    let header = |name: &str| played.sent().header(name).unwrap_or_default();
    let headers =
        ["x-ai-model", "x-higress-llm-model", "x-ai-provider", "x-higress-llm-provider"].map(header);
    assert_eq!(headers, ["a/b", "a/b", "a", "a"]);
}

fn form(model: &str) -> String {
    format!(
        "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n{model}\r\n--b\r\n\
         Content-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n\0\u{1}\r\n--bb\r\n\r\n--b--\r\n"
    )
}

fn upload(path: &str, body: &str) -> Script {
    let pieces = body.as_bytes().chunks(7).map(<[u8]>::to_vec);
    Script::post(path, body)
        .without("content-type")
        .header("content-type", "multipart/form-data; boundary=b")
        .chunks(pieces)
}

#[test]
fn w17_only_the_models_part_of_a_form_changes() {
    let played = play(R2, upload("/v1/audio/transcriptions", &form("acme/whisper")));
    assert_eq!(played.sent().header("x-ai-provider").as_deref(), Some("acme"), "W17");
    assert_eq!(played.sent().text(), form("whisper"), "W17");
    let played = play(R2, upload("/v1/audio/transcriptions", &form("whisper")));
    assert!(played.sent().chunks.len() > 10, "what need not change is not held to its end");
    assert_eq!(played.sent().text(), form("whisper"), "W17");
}

#[test]
fn a_large_upload_is_routed_by_a_model_that_stands_first() {
    let small = with(R2, r#""maxBodyBytes":100"#);
    let played = play(&small, upload("/v1/audio/transcriptions", &form("whisper")));
    assert_eq!(played.sent().header("x-ai-model").as_deref(), Some("whisper"));
    untouched("must change", &small, upload("/v1/audio/transcriptions", &form("acme/whisper")));
    let file_first = form("whisper").replace("name=\"model\"", "name=\"n\"");
    untouched("no model", &small, upload("/v1/audio/transcriptions", &file_first));
    let refusing = with(&small, r#""rejectOversize":true"#);
    assert_eq!(play(&refusing, upload("/v1/audio/transcriptions", &file_first)).replied().status, 413);
}

#[test]
fn the_choice_is_not_left_to_us_in_a_form() {
    let played = play(R3, upload("/v1/audio/transcriptions", &form("auto")));
    assert_eq!(played.sent().header("x-ai-model").as_deref(), Some("auto"));
    assert_eq!(played.sent().text(), form("auto"));
}

#[test]
fn w18_to_w20_the_content_type_says_what_is_read() {
    untouched("W18", R1, typed(&form("m"), "multipart/form-data"));
    untouched("W19", R1, typed(r#"{"model":"a"}"#, "text/plain"));
    let untyped = |body: &str| play(R1, Script::post(CHAT, body).without("content-type"));
    assert_eq!(untyped(r#" {"model":"a"}"#).sent().header("x-ai-model").as_deref(), Some("a"), "W20");
    assert_eq!(untyped(r#""model""#).sent().header("x-ai-model"), None, "W20");
    for json in ["application/json;charset=utf-8", "APPLICATION/vnd.x+JSON"] {
        let played = play(R1, typed(r#"{"model":"a"}"#, json));
        assert_eq!(played.sent().header("x-ai-model").as_deref(), Some("a"), "{json}");
    }
}

#[test]
fn w21_and_w22_the_query_is_no_part_of_the_path() {
    check("W21", R1, "/v1/completions?model=z", r#"{"model":"a"}"#, "a", "", r#"{"model":"a"}"#);
    untouched("W22", R1, Script::request("GET", "/v1/models"));
}

#[test]
fn w23_a_name_that_no_header_can_carry() {
    let body = r#"{"model":"名"}"#;
    kept("W23", R1, body, "");
    assert_eq!(play(R1, Script::post(CHAT, body)).logged(LogLevel::Warn).len(), 1, "W23");
    kept("W23", &with(R1, r#""headerEncoding":"percent""#), body, "%E5%90%8D");
    kept("line break", R1, r#"{"model":"a\r\nx-evil: 1"}"#, "");
    kept("long", R1, &format!(r#"{{"model":"{}"}}"#, "m".repeat(257)), "");
    // A provider that cannot be told is not taken out of the body.
    kept("provider", R2, r#"{"model":"名/m"}"#, "");
}

#[test]
fn w24_wrong_values_are_refused() {
    not_loaded("W24", r#"{"enableOnPathSuffix":"*"}"#, "enableOnPathSuffix: expected a list");
    for (config, message) in [
        (r#"{"modelToHeader":"a b"}"#, "modelToHeader: no header that a model can be put into has this name"),
        (r#"{"modelToHeader":"Content-Length"}"#, "modelToHeader"),
        (r#"{"addProviderHeader":":path"}"#, "addProviderHeader"),
        (r#"{"autoRouting":{"enable":true,"targetHeader":"x\n"}}"#, "autoRouting.targetHeader"),
        (r#"{"headerEncoding":"base64"}"#, "headerEncoding: expected `percent`"),
        (r#"{"textJoin":"first"}"#, "textJoin: expected `join` or `last`"),
        (r#"{"autoRouting":[]}"#, "autoRouting"),
    ] {
        not_loaded(config, config, message);
    }
}

#[test]
fn nothing_named_is_the_neutral_header_and_an_empty_name_is_none() {
    kept("neutral", "{}", r#"{"model":"a/b"}"#, "a/b");
    untouched("off", r#"{"modelToHeader":""}"#, Script::post(CHAT, r#"{"model":"a"}"#));
    check(
        "provider only",
        r#"{"addProviderHeader":"x-ai-provider"}"#,
        CHAT,
        r#"{"model":"a/b"}"#,
        "",
        "a",
        r#"{"model":"b"}"#,
    );
}

#[test]
fn of_two_models_the_first_counts_for_everybody() {
    let body = r#"{"model":"a","x":1,"model":"b"}"#;
    check("both", R1, CHAT, body, "a", "", r#"{"model":"a","x":1,"model":"a"}"#);
    check("split", R2, CHAT, r#"{"model":"p/a","model":"b"}"#, "p/a", "p", r#"{"model":"a","model":"a"}"#);
    let twice = format!("{}{}", form("a").trim_end_matches("--b--\r\n"), form("b"));
    let played = play(R1, upload("/v1/videos", &twice).chunks([twice.clone().into_bytes()]));
    assert_eq!(played.sent().header("x-ai-model").as_deref(), Some("a"));
}

#[test]
fn headers_are_set_with_the_body_that_they_are_true_of_or_not_at_all() {
    let auto = R3.replace("small-1", &"s".repeat(100));
    let body = auto_body();
    let config = with(&auto, &format!(r#""maxBodyBytes":{}"#, body.len()));
    let played = untouched("too large", &config, Script::post(CHAT, &body));
    assert_eq!(counted(&played), [("model_router.too_large".to_owned(), 1)]);
    let part = form("acme/--b--").replace("\r\n--bb", "");
    untouched("boundary", R2, upload("/v1/videos", &part));
}

fn auto_body() -> String {
    auto(&user(r#""hello""#))
}

#[test]
fn a_long_text_and_a_nested_regex_take_bounded_time() {
    let config = R3.replace("(?i)translate", "(a*)*b(a|a)*$");
    let body = auto(&user(&format!("\"{}\"", "a".repeat(900_000))));
    let start = std::time::Instant::now();
    assert_eq!(
        play(&config, Script::post(CHAT, &body)).sent().header("x-ai-model").as_deref(),
        Some("small-1")
    );
    assert!(start.elapsed() < std::time::Duration::from_secs(10), "{:?}", start.elapsed());
    not_loaded("huge", &R3.replace("(?i)translate", "((a{200}){200}){200}"), "autoRouting.rules[1].pattern");
}

#[test]
fn two_routers_in_one_chain_do_not_disturb_each_other() {
    let first = play(R4, Script::post(CHAT, r#"{"engine":"b/c","model":"m"}"#));
    let head = first.sent().head.clone();
    let script = head.iter().fold(Script::post(CHAT, first.sent().body()), |script, (name, value)| {
        if name.starts_with("x-") { script.header(name, value) } else { script }
    });
    let second = play(R1, script);
    assert_eq!(second.sent().header("x-ai-provider").as_deref(), Some("b"));
    assert_eq!(second.sent().header("x-ai-model").as_deref(), Some("m"));
}

#[test]
fn a_rule_is_for_its_domain_and_takes_nothing_from_the_global_part() {
    let config = r#"{"modelToHeader":"x-ai-model","_rules_":[{"_match_domain_":["*.p.test"],"addProviderHeader":"x-ai-provider"}]}"#;
    let on = |host: &str| play(config, Script::post(CHAT, r#"{"model":"a/b"}"#).header(":authority", host));
    let played = on("x.p.test");
    assert_eq!(
        (played.sent().header("x-ai-model"), played.sent().header("x-ai-provider").as_deref()),
        (None, Some("a"))
    );
    assert_eq!(on("other.test").sent().header("x-ai-model").as_deref(), Some("a/b"));
}
