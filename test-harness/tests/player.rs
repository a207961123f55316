//! The scenario player must find what does not hold, all of it, and say where.
#![expect(clippy::unwrap_used, clippy::panic, reason = "in a test, a panic is the verdict")]

use std::path::Path;

use test_harness::scenario::{Outcome, Report, Scenario, play};

fn play_text(text: &str) -> Report {
    let scenario = Scenario::parse(Path::new("player.yaml"), text).unwrap();
    play(&scenario, &|_| true)
}

/// The failures of a scenario of one case, or none where there is no Envoy.
fn failures(text: &str) -> Option<Vec<String>> {
    match play_text(text).cases.remove(0).outcome {
        Outcome::Failed(failures) => Some(failures),
        Outcome::Skipped => None,
        other => panic!("the player found nothing wrong with: {text}: {other:?}"),
    }
}

#[test]
fn every_expectation_that_does_not_hold_is_told_with_its_place() {
    let Some(failures) = failures(
        r#"
about: Nothing of this holds.
plugin: noop
cases:
- name: wrong in every way
  client: { method: PUT, path: /a, headers: { x-a: '1' }, json: { model: m } }
  upstream: { json: { n: 1 }, headers: { x-b: '2' } }
  upstream_sees:
    method: POST
    path: /b
    host: other.test
    version: h2
    headers: { x-a: { absent: true }, x-c: { present: true } }
    json: { model: n }
  client_sees:
    status: 201
    complete: false
    headers: { x-b: '3' }
    json: { n: 2 }
    text_includes: z
  access_log: { status: 500 }
  log_includes: never written
"#,
    ) else {
        return;
    };
    let expected = [
        "upstream_sees.method: expected \"POST\", found \"PUT\"",
        "upstream_sees.path: expected \"/b\", found \"/a\"",
        "upstream_sees.host: expected \"other.test\", found \"gw.local\"",
        "upstream_sees.version: expected H2, found H1",
        "upstream_sees.headers.x-a: expected nothing, found \"1\"",
        "upstream_sees.headers.x-c: expected any value, found nothing",
        "upstream_sees.json: $.model: expected \"n\", found \"m\"",
        "client_sees.status: expected 201, found 200",
        "client_sees.headers.x-b: expected \"3\", found \"2\"",
        "client_sees.complete: expected false, found true",
        "client_sees.json: $.n: expected 2, found 1",
        "client_sees.text_includes: no \"z\" in \"{\\\"n\\\":1}\"",
        "access_log.status: expected \"500\", found \"200\"",
        "log_includes: no \"never written\" in the log",
    ];
    assert_eq!(failures[..expected.len()], expected);
    let told = &failures[expected.len()];
    assert!(
        told.contains("the client got: 200 {\"n\":1}") && told.contains("the upstream got: PUT gw.local /a"),
        "{told}"
    );
}

#[test]
fn requests_are_counted() {
    let case = |sees: &str| {
        format!(
            "{{ about: x, plugin: noop, cases: [{{ name: a, client: {{ path: / }}, \
             upstream_sees: {sees}, client_sees: {{ status: 200 }} }}] }}"
        )
    };
    let Some(told) = failures(&case("{ none: true }")) else { return };
    assert_eq!(told[0], "upstream_sees: expected 0 requests, found 1");
    let told = failures(&case("[{ path: / }, { path: / }]")).unwrap_or_default();
    assert_eq!(told[0], "upstream_sees: expected 2 requests, found 1");
}

#[test]
fn a_stream_that_is_held_back_is_no_stream() {
    let Some(told) = failures(
        "{ about: x, plugin: probe, config: { response: whole, responseLimit: 1000 }, cases: [{ name: a, client: { path: / }, \
         upstream: { sse: [one, two] }, client_sees: { status: 200, streamed: true } }] }",
    ) else {
        return;
    };
    assert_eq!(
        told[0],
        "client_sees.streamed: nothing reached the client before the upstream sent its last chunk"
    );
}

#[test]
fn an_envoy_that_starts_has_not_refused() {
    let Some(told) = failures("{ about: x, plugin: noop, config: {}, config_error: broken }") else { return };
    assert_eq!(told, ["Envoy started; it must refuse this config"]);
}

#[test]
fn a_config_that_is_refused_for_another_reason_is_told_with_the_log() {
    let Some(told) = failures("{ about: x, plugin: probe, config: '{', config_error: no such words }") else {
        return;
    };
    assert_eq!(told[0], "log_includes: no \"no such words\"");
    assert!(told[1].contains("Envoy ended with"), "{told:?}");
}

#[test]
fn an_envoy_that_does_not_start_fails_every_case_with_its_log() {
    let case =
        |name: &str| format!("{{ name: {name}, client: {{ path: / }}, client_sees: {{ status: 200 }} }}");
    let text = format!("{{ about: x, plugin: probe, config: '{{', cases: [{}, {}] }}", case("a"), case("b"));
    let report = play_text(&text);
    assert_eq!(report.cases.len(), 2);
    for case in report.cases {
        match case.outcome {
            Outcome::Failed(told) => assert!(told[0].contains("Envoy ended with"), "{told:?}"),
            Outcome::Skipped => return,
            other => panic!("`{}` cannot have come to this: {other:?}", case.name),
        }
    }
}

#[test]
fn a_file_that_needs_a_later_envoy_is_skipped_with_the_reason() {
    let text = "{ about: x, plugin: noop, needs: { envoy: '9.1', for: wings }, \
        cases: [{ name: a, client: { path: / }, client_sees: { status: 201 } }] }";
    match play_text(text).cases.remove(0).outcome {
        Outcome::Lacking(what) => assert!(what.ends_with("lacks what came with 9.1: wings"), "{what}"),
        Outcome::Skipped => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_report_names_each_case_and_what_is_wrong_with_it() {
    let text = "{ about: x, plugin: noop, cases: [ \
        { name: good, client: { path: / }, client_sees: { status: 200 } }, \
        { name: bad, client: { path: / }, client_sees: { status: 201 } }] }";
    let report = play_text(text).to_string();
    if report.contains("SKIPPED") {
        return;
    }
    assert!(report.starts_with("player.yaml (2 cases in "), "{report}");
    let expected =
        "  ok       good\n  FAILED   bad\n             client_sees.status: expected 201, found 200\n";
    assert!(report.contains(expected), "{report}");
}
