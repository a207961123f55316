//! The ledgers: for each field of a client's published request schema, what becomes of it at a vendor that speaks
//! another API. Every row of `ledger/<client>_over_<vendor>.json` is played through the plugin.
//!
//! `field` is a path as in `ledger/schema`, which `test-harness/sdk/schemas.py` takes from the official clients; a row
//! stands for all below it that has no row of its own. `example` is laid over a minimal request. By its `fate` a field is
//!
//! | `fate` | what is checked |
//! |---|---|
//! | `identical` | it stands at the same place in the vendor's request, unchanged |
//! | `mapped`, `emulated` | the vendor's request has what `to` says, by JSON pointers; `null` says that it has nothing there |
//! | `rejected` | the answer is a 400 in the client's own shape, and nothing goes upstream |
//! | `dropped` | the vendor's request is the one without it, and `x-ai-proxy-dropped` says `named`, else the path |
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a panic is the verdict")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use ai_proxy::AiProxy;
use common::testkit::{Played, Script};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// How a pair is brought about: the `provider` of its configuration, beside the key.
fn provider(pair: &str) -> Value {
    let openai_for = |client: &str, vendor: &str| json!({"type":"openai","translateApis":{client:vendor}});
    match pair {
        "messages_over_chat" => openai_for("anthropic/v1/messages", "openai/v1/chatcompletions"),
        "chat_over_messages" | "responses_over_messages" => json!({"type":"claude"}),
        // OpenAI itself takes no thinking back.
        "responses_over_chat" => json!({"type":"deepseek"}),
        "chat_over_responses" => openai_for("openai/v1/chatcompletions", "openai/v1/responses"),
        "messages_over_responses" => json!({"type":"openai"}),
        other => panic!("{other}: no provider makes this pair"),
    }
}

/// The path and the least request of a client.
fn minimal(client: &str) -> (&'static str, Value) {
    let messages = json!([{"role":"user","content":"x"}]);
    match client {
        "chat" => ("/v1/chat/completions", json!({"model":"m","messages":messages})),
        "messages" => ("/v1/messages", json!({"model":"m","max_tokens":16,"messages":messages})),
        "responses" => ("/v1/responses", json!({"model":"m","input":"x"})),
        other => panic!("{other}: no client speaks this"),
    }
}

/// The least answer of a vendor.
fn answer(vendor: &str) -> Value {
    match vendor {
        "chat" => json!({"id":"i","object":"chat.completion","created":1,"model":"m","choices":[
            {"index":0,"message":{"role":"assistant","content":"A"},"finish_reason":"stop"}]}),
        "messages" => {
            json!({"id":"i","type":"message","role":"assistant","model":"m","stop_reason":"end_turn",
            "content":[{"type":"text","text":"A"}],"usage":{"input_tokens":1,"output_tokens":1}})
        }
        "responses" => {
            json!({"id":"i","object":"response","created_at":1,"status":"completed","model":"m","output":[
            {"type":"message","id":"o","role":"assistant","status":"completed",
             "content":[{"type":"output_text","text":"A","annotations":[]}]}]})
        }
        other => panic!("{other}: no vendor speaks this"),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    field: String,
    fate: Fate,
    example: Map<String, Value>,
    #[serde(default)]
    to: BTreeMap<String, Value>,
    named: Option<String>,
}

#[derive(Debug, Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Fate {
    Identical,
    Mapped,
    Emulated,
    Rejected,
    Dropped,
}

/// One step of a field's path.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Member(String),
    Elements,
    /// What is of this kind.
    Kind(String),
}

fn steps(field: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut rest = field;
    while !rest.is_empty() {
        let (step, after) = if let Some(after) = rest.strip_prefix("[]") {
            (Step::Elements, after)
        } else if let Some((kind, after)) = rest.strip_prefix('<').and_then(|kind| kind.split_once('>')) {
            (Step::Kind(kind.to_owned()), after)
        } else {
            let name = rest.strip_prefix('.').unwrap_or(rest);
            let (name, after) = name.split_at(name.find(['.', '[', '<']).unwrap_or(name.len()));
            assert!(!name.is_empty(), "{field}: a name is missing");
            (Step::Member(name.to_owned()), after)
        };
        steps.push(step);
        rest = after;
    }
    steps
}

/// The JSON pointers of what a path leads to in a value.
fn pointers(value: &Value, steps: &[Step], at: String, found: &mut Vec<String>) {
    let Some((step, rest)) = steps.split_first() else { return found.push(at) };
    match step {
        Step::Member(name) => {
            if let Some(member) = value.get(name) {
                pointers(member, rest, format!("{at}/{name}"), found);
            }
        }
        Step::Elements => {
            for (index, element) in value.as_array().into_iter().flatten().enumerate() {
                pointers(element, rest, format!("{at}/{index}"), found);
            }
        }
        Step::Kind(kind) => {
            if ["type", "role"].iter().any(|name| value.get(name).is_some_and(|word| word == kind)) {
                pointers(value, rest, at, found);
            }
        }
    }
}

/// Takes what a pointer leads to out of a value.
fn remove(value: &mut Value, pointer: &str) {
    let (parent, last) = pointer.rsplit_once('/').unwrap();
    match value.pointer_mut(parent).unwrap() {
        Value::Array(elements) => drop(elements.remove(last.parse().unwrap())),
        parent => drop(parent.as_object_mut().unwrap().remove(last)),
    }
}

/// Whether a row for `field` stands for `path`, as far as no longer one does.
fn covers(field: &str, path: &str) -> bool {
    path.strip_prefix(field).is_some_and(|below| below.is_empty() || below.starts_with(['.', '[', '<']))
}

/// The rows that say nothing about the schema, and the fields that no row says anything about.
fn uncovered(rows: &[Row], paths: &[&str]) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut seen = BTreeSet::new();
    for row in rows {
        if !seen.insert(&row.field) {
            complaints.push(format!("{}: there are two rows", row.field));
        }
        if !paths.iter().any(|path| covers(&row.field, path)) {
            complaints.push(format!("{}: the schema has no such field", row.field));
        }
    }
    for path in paths.iter().filter(|path| !rows.iter().any(|row| covers(&row.field, path))) {
        complaints.push(format!("{path}: no row covers it"));
    }
    complaints
}

/// One pair, ready to be asked.
struct Pair {
    client: String,
    vendor: String,
    config: String,
}

impl Pair {
    fn of(name: &str) -> Self {
        let (client, vendor) = name.split_once("_over_").unwrap_or_else(|| panic!("{name}: this is no pair"));
        let mut provider = provider(name);
        provider.as_object_mut().unwrap().insert("apiTokens".to_owned(), json!(["k"]));
        let config = json!({"provider":provider}).to_string();
        Self { client: client.to_owned(), vendor: vendor.to_owned(), config }
    }

    fn play(&self, request: &Value) -> Played {
        let answer = answer(&self.vendor).to_string().into_bytes();
        let script = Script::post(minimal(&self.client).0, request.to_string());
        let script = script.answered(200, &[("content-type", "application/json")], [answer]);
        common::testkit::play::<AiProxy>(&self.config, script)
    }

    fn request(&self, example: &Map<String, Value>) -> Value {
        let mut request = minimal(&self.client).1;
        request.as_object_mut().unwrap().extend(example.clone());
        request
    }

    /// Plays a row, and says what differs.
    fn check(&self, row: &Row) -> Result<(), String> {
        let request = self.request(&row.example);
        let mut places = Vec::new();
        pointers(&request, &steps(&row.field), String::new(), &mut places);
        if places.is_empty() {
            return Err("the example does not have it".to_owned());
        }
        if matches!(row.fate, Fate::Mapped | Fate::Emulated) == row.to.is_empty() {
            return Err("`to` belongs to what is mapped or emulated, and only there".to_owned());
        }
        if row.named.is_some() && row.fate != Fate::Dropped {
            return Err("`named` belongs to what is dropped".to_owned());
        }
        let played = self.play(&request);
        if row.fate == Fate::Rejected {
            return self.check_refusal(&played);
        }
        let sent = sent(&played)?;
        let header = played.client.as_ref().and_then(|client| client.header("x-ai-proxy-dropped"));
        let header = header.unwrap_or_default();
        let by_default = steps(&row.field).into_iter().filter_map(|step| match step {
            Step::Member(name) => Some(name),
            Step::Elements | Step::Kind(_) => None,
        });
        let by_default = by_default.collect::<Vec<_>>().join(".");
        let name = row.named.as_deref().unwrap_or(&by_default);
        let is_named = header.split(", ").any(|dropped| dropped == name);
        if is_named != (row.fate == Fate::Dropped) {
            return Err(format!("`{name}` and x-ai-proxy-dropped: `{header}`"));
        }
        match row.fate {
            Fate::Dropped => self.check_dropped(&request, &places, &sent),
            Fate::Identical => same(&sent, places.iter().map(|at| (at, request.pointer(at).unwrap()))),
            _ => same(&sent, row.to.iter()),
        }
    }

    fn check_refusal(&self, played: &Played) -> Result<(), String> {
        let Some(reply) = &played.reply else {
            return Err(format!("it is sent: {}", sent(played)?));
        };
        let text = String::from_utf8_lossy(&reply.body);
        let body: Value = serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
        let has_shape = match self.client.as_str() {
            "messages" => body["type"] == "error" && body["error"]["type"] == "invalid_request_error",
            _ => body["error"]["type"] == "invalid_request_error",
        };
        let says = body["error"]["message"].as_str().is_some_and(|message| !message.is_empty());
        let is_refusal = reply.status == 400 && has_shape && says && played.upstream.is_none();
        if is_refusal { Ok(()) } else { Err(format!("the answer is {} {text}", reply.status)) }
    }

    /// Without the field the same is sent, be it that nothing of the example is left.
    fn check_dropped(&self, request: &Value, places: &[String], found: &Value) -> Result<(), String> {
        let mut without = request.clone();
        places.iter().rev().for_each(|place| remove(&mut without, place));
        let without = sent(&self.play(&without)).or_else(|_| sent(&self.play(&minimal(&self.client).1)))?;
        if without == *found { Ok(()) } else { Err(format!("sent {found}, and without it {without}")) }
    }
}

fn sent(played: &Played) -> Result<Value, String> {
    match (&played.upstream, &played.reply) {
        (Some(seen), None) => serde_json::from_slice(&seen.body()).map_err(|error| error.to_string()),
        (_, Some(reply)) => {
            Err(format!("the answer is {} {}", reply.status, String::from_utf8_lossy(&reply.body)))
        }
        (None, None) => Err("nothing is sent".to_owned()),
    }
}

fn same<'a>(sent: &Value, expected: impl Iterator<Item = (&'a String, &'a Value)>) -> Result<(), String> {
    for (pointer, expected) in expected {
        let found = sent.pointer(pointer).unwrap_or(&Value::Null);
        if found != expected {
            return Err(format!("{pointer} should be {expected}, and is {found}: {sent}"));
        }
    }
    Ok(())
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/ledger")
}

/// What is wrong with the ledger of one pair.
fn complaints(name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(folder().join(format!("{name}.json"))).unwrap();
    let rows: Vec<Row> = match serde_json::from_str(&text) {
        Ok(rows) => rows,
        Err(error) => return vec![error.to_string()],
    };
    let pair = Pair::of(name);
    let schema = std::fs::read_to_string(folder().join(format!("schema/{}.txt", pair.client))).unwrap();
    let paths: Vec<&str> = schema.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(paths.len() > 100, "{} is no schema", pair.client);
    let mut complaints = uncovered(&rows, &paths);
    for row in &rows {
        if let Err(error) = pair.check(row) {
            complaints.push(format!("{} is not {:?}: {error}", row.field, row.fate));
        }
    }
    complaints
}

#[test]
fn every_field_has_the_fate_that_the_ledgers_say() {
    let names = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name());
    let names = names.map(|name| name.into_string().unwrap());
    let mut names: Vec<String> =
        names.filter_map(|name| Some(name.strip_suffix(".json")?.to_owned())).collect();
    names.sort();
    assert!(!names.is_empty());
    let complaints = names
        .iter()
        .flat_map(|name| complaints(name).into_iter().map(move |complaint| format!("{name}: {complaint}")));
    let complaints: Vec<String> = complaints.collect();
    assert!(complaints.is_empty(), "{} rows are wrong:\n{}", complaints.len(), complaints.join("\n"));
}

fn row(text: &str) -> Row {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_row_that_lies_is_found_out() {
    let pair = Pair::of("messages_over_chat");
    for (text, expected) in [
        (r#"{"field":"model","fate":"identical","example":{"model":"z"}}"#, None),
        (r#"{"field":"model","fate":"dropped","example":{"model":"z"}}"#, Some("x-ai-proxy-dropped")),
        (r#"{"field":"model","fate":"rejected","example":{"model":"z"}}"#, Some("it is sent")),
        (
            r#"{"field":"model","fate":"mapped","example":{"model":"z"},"to":{"/model":"y"}}"#,
            Some("/model should be \"y\""),
        ),
        (r#"{"field":"model","fate":"mapped","example":{"model":"z"}}"#, Some("`to` belongs")),
        (r#"{"field":"top_p","fate":"identical","example":{}}"#, Some("does not have it")),
        (
            r#"{"field":"stop_sequences[]","fate":"identical","example":{"stop_sequences":["a"]}}"#,
            Some("/stop_sequences/0"),
        ),
        (r#"{"field":"messages","fate":"identical","example":{"messages":7}}"#, Some("the answer is 400")),
        (r#"{"field":"messages","fate":"rejected","example":{"messages":7}}"#, None),
    ] {
        let found = pair.check(&row(text));
        match (found, expected) {
            (Ok(()), None) => {}
            (Err(error), Some(expected)) => assert!(error.contains(expected), "{text}: {error}"),
            (found, _) => panic!("{text}: {found:?}"),
        }
    }
}

#[test]
fn a_row_covers_what_is_below_it() {
    let rows = ["a", "b[]<x>", "c", "c"]
        .map(|field| row(&json!({"field":field,"fate":"rejected","example":{}}).to_string()));
    let found = uncovered(&rows, &["a", "a.b[]", "b[]<x>.c", "b[]<y>", "ab"]);
    let expected = [
        "c: the schema has no such field",
        "c: there are two rows",
        "c: the schema has no such field",
        "b[]<y>: no row covers it",
        "ab: no row covers it",
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_path_leads_to_all_that_it_stands_for() {
    let value = json!({"m":[{"role":"u","c":[{"type":"t","v":1},{"type":"i"}]},{"role":"a","c":[{"type":"t","v":2}]},
        {"role":"u","c":"s"},{"role":"u","c":[{"type":"t","v":3}]}]});
    let mut found = Vec::new();
    pointers(&value, &steps("m[]<u>.c[]<t>.v"), String::new(), &mut found);
    assert_eq!(found, ["/m/0/c/0/v", "/m/3/c/0/v"]);
    let mut less = value;
    found.iter().rev().for_each(|pointer| remove(&mut less, pointer));
    remove(&mut less, "/m/0/c/1");
    assert_eq!(less["m"][0], json!({"role":"u","c":[{"type":"t"}]}));
}
