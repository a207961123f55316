//! The dashboard that is shipped asks for what a real Envoy has, by the labels that it has.
#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "in a test, a panic is the verdict")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use regex_lite::Regex;
use serde_json::{Value, json};
use test_harness::client::{Request, send};
use test_harness::envoy::render::parse_yaml;
use test_harness::envoy::{Envoy, Options, Render, Transport, provide_or_skip};
use test_harness::upstream::{Answer, Script, Upstream};
use test_harness::workspace_root;

/// The labels of each metric.
type Scrape = BTreeMap<String, BTreeSet<String>>;

fn scraped(text: &str) -> Scrape {
    let sample = Regex::new(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)\{(.*)\} ").expect("a pattern");
    let label = Regex::new(r#"([a-zA-Z_][a-zA-Z0-9_]*)=""#).expect("a pattern");
    let mut found = Scrape::new();
    for line in text.lines() {
        if let Some(groups) = sample.captures(line) {
            let labels = label.captures_iter(&groups[2]).map(|groups| groups[1].to_owned());
            found.entry(groups[1].to_owned()).or_default().extend(labels);
        }
    }
    found
}

/// Every query of the dashboard, those of its variables among them.
fn queries(dashboard: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        let targets = panel["targets"].as_array().cloned().unwrap_or_default();
        assert!(!targets.is_empty() || panel["type"] == "row", "{}", panel["title"]);
        found.extend(targets.iter().map(|target| target["expr"].as_str().expect("a query").to_owned()));
    }
    for variable in dashboard["templating"]["list"].as_array().expect("variables") {
        found.extend(variable["query"]["query"].as_str().map(str::to_owned));
    }
    found
}

/// Metrics and labels that a query names and the scrape lacks.
fn lacking(query: &str, scrape: &Scrape) -> Vec<String> {
    let metric = Regex::new(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\{([^}]*)\}").expect("a pattern");
    let label = Regex::new(r#"([a-zA-Z_][a-zA-Z0-9_]*)(?:=|!=|=~|!~)""#).expect("a pattern");
    let by = Regex::new(r"by \(([^)]*)\)").expect("a pattern");
    let grouped: BTreeSet<String> = by
        .captures_iter(query)
        .flat_map(|groups| groups[1].split(',').map(|name| name.trim().to_owned()).collect::<Vec<_>>())
        .collect();
    let mut lacking = Vec::new();
    for groups in metric.captures_iter(query) {
        let Some(labels) = scrape.get(&groups[1]) else {
            lacking.push(groups[1].to_owned());
            continue;
        };
        let named = label.captures_iter(&groups[2]).map(|groups| groups[1].to_owned());
        for name in named.chain(grouped.iter().cloned()) {
            if !labels.contains(&name) {
                lacking.push(format!("{}{{{name}}}", &groups[1]));
            }
        }
    }
    assert!(metric.is_match(query), "no metric in {query}");
    lacking
}

/// Whether a query adds one metric to another. What Prometheus adds must be on both sides, so a model without output
/// tokens would have no cost: instead, both are made one list of series that are told apart by a label.
fn drops_one_sided_series(query: &str) -> bool {
    let metric = Regex::new(r"[a-zA-Z_:][a-zA-Z0-9_:]*\{[^}]*\}").expect("a pattern");
    let label = Regex::new(r#"label_replace\(.*?, "of", "([a-z]+)", "", ""\)"#).expect("a pattern");
    let plain = metric.replace_all(query, "metric");
    let is_list = plain.contains(" or ");
    let parts: Vec<&str> = plain.split(" or ").collect();
    let told_apart: BTreeSet<String> =
        label.captures_iter(&plain).map(|groups| groups[1].to_owned()).collect();
    plain.contains('+') || (is_list && told_apart.len() != parts.len())
}

fn traffic() -> Script {
    let usage = json!({
        "prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14,
        "prompt_tokens_details": { "cached_tokens": 4 }, "completion_tokens_details": { "reasoning_tokens": 2 },
    });
    let events = [json!({ "id": "c", "model": "gpt-4.1", "choices": [], "usage": usage }).to_string()];
    let error = json!({ "error": { "message": "slow down" } });
    Script::new().next(Answer::sse(&events)).next(Answer::json(429, &error)).otherwise(Answer::sse(&events))
}

/// The config with a stand-in for the filter that says who a consumer is, and would not take out who else is named.
fn with_authentication(config: &Path) -> Value {
    let text = std::fs::read_to_string(config).expect("the config");
    let mut config = parse_yaml(&text).expect("YAML").remove(0);
    let manager = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
    let filters = config.pointer_mut(manager).expect("a manager")["http_filters"].as_array_mut();
    filters.expect("filters").insert(
        0,
        json!({
            "name": "envoy.filters.http.header_mutation",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation",
                "mutations": { "request_mutations": [{ "append": {
                    "header": { "key": "x-consumer", "value": "team.a" },
                    "append_action": "APPEND_IF_EXISTS_OR_ADD",
                } }] },
            },
        }),
    );
    config
}

#[test]
fn every_metric_and_label_of_the_dashboard_is_in_a_scrape_of_the_gateway() {
    let Some(binary) = provide_or_skip("the dashboard") else { return };
    let folder = workspace_root().join("examples/observability");
    let dashboard = std::fs::read_to_string(folder.join("dashboard.json")).expect("the dashboard");
    let dashboard: Value = serde_json::from_str(&dashboard).expect("JSON");
    let upstream = Upstream::start();
    upstream.script(traffic());
    let render = Render::from_value(with_authentication(&folder.join("envoy.yaml")))
        .built_wasm()
        .set("/stats_flush_interval", json!("0.1s"))
        .cluster_endpoint("openai", upstream.addr(), Transport::Plain);
    let variables = vec![("OPENAI_API_KEY".to_owned(), "sk-x".to_owned())];
    let envoy =
        Envoy::start(&binary, render, Options { variables, ..Options::default() }).expect("Envoy starts");
    let chat =
        json!({ "model": "gpt-4.1", "stream": true, "messages": [{ "role": "user", "content": "q" }] });
    let request = Request::post_json("/v1/chat/completions", &chat).header("x-consumer", "somebody.else");
    for status in [200, 429, 200] {
        assert_eq!(send(envoy.addr(""), &request).expect("an answer").status, status);
    }
    // Histograms show when they have been flushed.
    let until = Instant::now() + Duration::from_secs(10);
    let is_flushed = |text: &str| {
        let mut lines =
            text.lines().filter(|line| line.starts_with("gen_ai_server_time_to_first_token_count{"));
        lines.any(|line| line.ends_with("} 2"))
    };
    let text = loop {
        let text = envoy.admin_get("/stats/prometheus").expect("a scrape");
        if is_flushed(&text) || Instant::now() > until {
            break text;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    let scrape = scraped(&text);
    let ours: Vec<&String> = scrape
        .keys()
        .filter(|name| name.starts_with("route_upstream") || name.starts_with("gen_ai"))
        .collect();
    for query in queries(&dashboard) {
        let lacking = lacking(&query, &scrape);
        assert!(lacking.is_empty(), "{query}\nlacks {lacking:?}\nthere are {ours:?}");
    }
    assert!(!envoy.log().contains("Skipping duplicate tag"), "two tags of one name");
    // The labels are what they should be, dots and all.
    let line = |start: &str, parts: &[&str]| {
        let found =
            text.lines().find(|line| line.starts_with(start) && parts.iter().all(|part| line.contains(part)));
        assert!(
            found.is_some(),
            "{start} {parts:?}: {:?}",
            text.lines().filter(|line| line.starts_with(start)).collect::<Vec<_>>()
        );
    };
    line(
        "route_upstream_model_consumer_metric_input_token{",
        &[
            r#"ai_route="chat""#,
            r#"ai_cluster="openai""#,
            r#"ai_model="gpt-4.1""#,
            r#"ai_consumer="team.a""#,
            "} 18",
        ],
    );
    line("route_upstream_model_consumer_metric_request_error_count{", &["} 1"]);
    line(
        "gen_ai_client_token_usage_bucket{",
        &[
            r#"gen_ai_operation_name="chat""#,
            r#"gen_ai_provider_name="openai""#,
            r#"gen_ai_request_model="gpt-4.1""#,
            r#"gen_ai_response_model="gpt-4.1""#,
            r#"gen_ai_token_type="input""#,
            r#"ai_route="chat""#,
            r#"ai_consumer="team.a""#,
            r#"le="16"} 2"#,
        ],
    );
    line("gen_ai_client_operation_duration_count{", &[r#"error_type="429""#, "} 1"]);
    line("gen_ai_server_time_to_first_token_bucket{", &[r#"le="10000"} 2"#]);
}

#[test]
fn what_has_input_or_output_only_has_a_cost() {
    let dashboard = std::fs::read_to_string(workspace_root().join("examples/observability/dashboard.json"));
    let dashboard: Value = serde_json::from_str(&dashboard.expect("the dashboard")).expect("JSON");
    let queries = queries(&dashboard);
    let costs: Vec<&String> = queries.iter().filter(|query| query.contains("_price")).collect();
    assert_eq!(costs.len(), 4);
    for query in queries.iter() {
        assert!(!drops_one_sided_series(query), "{query}");
    }
    for query in costs {
        assert!(query.contains(" or ") && query.contains("$input_price") && query.contains("$output_price"));
    }
    for panel in dashboard["panels"].as_array().expect("panels") {
        let is_cost = panel["targets"].to_string().contains("_price");
        let description = panel["description"].as_str().unwrap_or_default();
        assert_eq!(is_cost, description.starts_with("An estimate"), "{}", panel["title"]);
    }
    // What it was, and what is hardly better: with the same labels on both sides, `or` takes the left one only.
    assert!(drops_one_sided_series("sum(rate(a{x=\"+\"}[5m])) * $p + sum(rate(b{}[5m])) * $q"));
    assert!(drops_one_sided_series("sum(rate(a{}[5m]) * $p or rate(b{}[5m]) * $q)"));
    assert!(!drops_one_sided_series("sum(rate(a{}[5m])) / sum(rate(b{}[5m]))"));
}

#[test]
fn a_metric_or_label_that_is_not_there_is_told() {
    let scrape = scraped("a_b{x=\"1\",y=\"2\"} 3\nc{} 1\n");
    assert_eq!(lacking("sum by (x) (a_b{y=~\"$y\"})", &scrape), Vec::<String>::new());
    assert_eq!(lacking("sum by (z) (a_b{w=\"1\"}) + d{}", &scrape), ["a_b{w}", "a_b{z}", "d"]);
}
