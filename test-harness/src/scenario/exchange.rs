//! One case, played once, and all in it that does not hold.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::case::{Case, ScriptedAnswer, Seen, hold_last_chunk};
use super::expected::byte_difference;
use super::gateway::{LISTENER, split_log};
use super::pattern::{Pattern, shorten};
use super::player::Stage;
use super::{OneOrMany, Texts};
use crate::client::{self, Body, ClientError, Request, Response, Version};
use crate::envoy::Envoy;
use crate::upstream::{Answer, Fields, Progress, Recorded, Script, Upstream};
use crate::wire::values;

/// Within this, everything that an exchange causes has happened.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks at a log.
const LOOK: Duration = Duration::from_millis(5);
/// Lines of Envoy's log shown with a failure.
const LOG_LINES: usize = 30;

/// Plays a case with one seed; gives what does not hold.
pub(super) fn play_once(stage: &Stage<'_>, envoy: &Envoy, case: &Case, seed: u64) -> Vec<String> {
    let folder = stage.scenario.folder();
    let request = case.client.request(folder, seed);
    let (log_start, access_line) = (envoy.log().len(), stage.next_access_line());
    let compile = |scripted: Option<&OneOrMany<ScriptedAnswer>>| {
        scripted
            .map(OneOrMany::all)
            .unwrap_or_default()
            .iter()
            .map(|answer| answer.answer(folder, seed))
            .collect()
    };
    let mut answers: Vec<Answer> = compile(case.upstream.as_ref());
    if case.client_sees.head.streamed {
        answers.iter_mut().for_each(|answer| hold_last_chunk(&mut answer.chunks));
    }
    set_script(&stage.upstream, case.upstream.as_ref(), &answers);
    for (name, service) in &stage.services {
        let scripted = case.services.get(name).and_then(|service| service.answers.as_ref());
        set_script(service, scripted, &compile(scripted));
    }

    let received = client::send(envoy.addr(LISTENER), &request);

    let mut failures = Vec::new();
    let records = check_upstream(
        "upstream_sees",
        &stage.upstream,
        case.upstream_sees.as_ref(),
        &request,
        &mut failures,
    );
    for (name, service) in &stage.services {
        let sees = case.services.get(name).and_then(|service| service.sees.as_ref());
        check_upstream(&format!("services.{name}.sees"), service, sees, &request, &mut failures);
    }
    check_client(case, &received, &answers, &records, &mut failures);
    check_access_log(case, || split_log(&envoy.log()).1.into_iter().nth(access_line), &mut failures);
    let log = || split_log(envoy.log().get(log_start..).unwrap_or_default()).0;
    failures.extend(missing_in_log(&case.log_includes, "log_includes", log));
    let log = log();
    failures
        .extend(case.log_excludes.found_in(&log).map(|part| format!("log_excludes: {part:?} in the log")));
    if !failures.is_empty() {
        failures.push(describe(&received, &records, &log));
    }
    failures
}

/// One answer is the answer to every request; of a list, each is given once.
fn set_script(upstream: &Upstream, scripted: Option<&OneOrMany<ScriptedAnswer>>, answers: &[Answer]) {
    upstream.take();
    let mut script = Script::new();
    let written = scripted.map(OneOrMany::all).unwrap_or_default();
    for (written, answer) in written.iter().zip(answers.iter().cloned()) {
        script = match (written.path(), scripted) {
            (Some(path), _) => script.at(path, answer),
            (None, Some(OneOrMany::One(_))) => script.otherwise(answer),
            (None, _) => script.next(answer),
        };
    }
    upstream.script(script);
}

fn check_upstream(
    name: &str,
    upstream: &Upstream,
    sees: Option<&OneOrMany<Seen>>,
    request: &Request,
    failures: &mut Vec<String>,
) -> Vec<Recorded> {
    let expected = sees.map(expand);
    let count = expected.as_ref().map_or(0, Vec::len);
    let records = upstream.wait_until(PATIENCE, |records| {
        let leaves = |(seen, record): (&&Seen, &Recorded)| {
            !seen.head.left || record.sent.progress == Progress::PeerLeft
        };
        records.len() >= count && expected.iter().flatten().zip(records).all(leaves)
    });
    if expected.is_some() && records.len() != count {
        failures.push(format!("{name}: expected {count} requests, found {}", records.len()));
    }
    for (index, (seen, record)) in expected.iter().flatten().zip(&records).enumerate() {
        let path = if count > 1 { format!("{name}[{index}]") } else { name.to_owned() };
        failures
            .extend(refuse_record(seen, record, request).into_iter().map(|line| format!("{path}.{line}")));
    }
    for (connection, bytes) in upstream.stray() {
        let bytes = shorten(&bytes.escape_ascii().to_string(), 200);
        failures.push(format!(
            "{name}: connection {connection} carries bytes that belong to no request, and would begin the next: \"{bytes}\""
        ));
    }
    records
}

/// The requests that are expected, in order.
fn expand(sees: &OneOrMany<Seen>) -> Vec<&Seen> {
    let times = |seen: &Seen| if seen.head.none { 0 } else { seen.head.count };
    sees.all().iter().flat_map(|seen| std::iter::repeat_n(seen, times(seen))).collect()
}

fn refuse_record(seen: &Seen, record: &Recorded, request: &Request) -> Vec<String> {
    let head = &seen.head;
    let mut failures = Vec::new();
    if let Some(method) = head.method.as_ref().filter(|method| **method != record.method) {
        failures.push(format!("method: expected {method:?}, found {:?}", record.method));
    }
    let path = [record.raw_path.as_slice()];
    failures.extend(
        head.path.iter().filter_map(|pattern| pattern.refuse(&path)).map(|line| format!("path: {line}")),
    );
    let host = record.host();
    let host: Vec<&[u8]> = host.iter().map(String::as_bytes).collect();
    failures.extend(
        head.host.iter().filter_map(|pattern| pattern.refuse(&host)).map(|line| format!("host: {line}")),
    );
    if let Some(version) = head.version.map(Version::from).filter(|version| *version != record.version) {
        failures.push(format!("version: expected {version:?}, found {:?}", record.version));
    }
    failures.extend(refuse_fields("headers", &head.headers, &record.headers));
    failures.extend(refuse_fields("trailers", &head.trailers, &record.trailers));
    if head.complete != record.complete {
        failures.push(format!("complete: expected {}, found {}", head.complete, record.complete));
    }
    if head.left && record.sent.progress != Progress::PeerLeft {
        failures.push(format!("left: expected Envoy to leave, but the answer is {:?}", record.sent.progress));
    }
    if head.bytes_same_as_client {
        let sent = match &request.body {
            Body::None => Vec::new(),
            Body::Whole(bytes) => bytes.clone(),
            Body::Chunked(chunks) => chunks.iter().flat_map(|chunk| chunk.bytes.iter().copied()).collect(),
        };
        failures
            .extend(byte_difference(&sent, &record.body).map(|line| format!("bytes_same_as_client: {line}")));
    }
    failures.extend(seen.body.refuse(&record.body));
    failures
}

fn refuse_fields(name: &str, patterns: &BTreeMap<String, Pattern>, fields: &Fields) -> Vec<String> {
    let refuse = |(field, pattern): (&String, &Pattern)| {
        let line = pattern.refuse(&values(fields, field))?;
        Some(format!("{name}.{field}: {line}"))
    };
    patterns.iter().filter_map(refuse).collect()
}

fn check_client(
    case: &Case,
    received: &Result<Response, ClientError>,
    answers: &[Answer],
    records: &[Recorded],
    failures: &mut Vec<String>,
) {
    let sees = &case.client_sees.head;
    let mut fail = |line: String| failures.push(format!("client_sees.{line}"));
    let response = match received {
        Ok(response) if sees.no_answer && response.status != 0 => {
            return fail(format!("no_answer: expected none, found status {}", response.status));
        }
        Ok(_) | Err(ClientError::NoAnswer { .. }) if sees.no_answer => return,
        Ok(response) => response,
        Err(error) => return fail(format!("status: {error}")),
    };
    if let Some(status) = sees.status.filter(|status| *status != response.status) {
        fail(format!("status: expected {status}, found {}", response.status));
    }
    refuse_fields("headers", &sees.headers, &response.headers).into_iter().for_each(&mut fail);
    refuse_fields("trailers", &sees.trailers, &response.trailers).into_iter().for_each(&mut fail);
    if sees.complete != response.complete {
        fail(format!("complete: expected {}, found {}", sees.complete, response.complete));
    }
    let body = response.body();
    if sees.bytes_same_as_upstream {
        let chunks = answers.last().map(|answer| answer.chunks.as_slice()).unwrap_or_default();
        let sent: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.bytes.iter().copied()).collect();
        byte_difference(&sent, &body)
            .map(|line| format!("bytes_same_as_upstream: {line}"))
            .into_iter()
            .for_each(&mut fail);
    }
    if sees.streamed {
        let first = response.chunks.first().map(|chunk| chunk.at);
        let last = records.last().and_then(|record| record.sent.last_chunk);
        if !matches!((first, last), (Some(first), Some(last)) if first < last) {
            fail("streamed: nothing reached the client before the upstream sent its last chunk".to_owned());
        }
    }
    case.client_sees.body.refuse(&body).into_iter().for_each(&mut fail);
}

fn check_access_log(case: &Case, line: impl Fn() -> Option<Value>, failures: &mut Vec<String>) {
    // What must not be in the log may still come until the exchange is logged as over.
    if case.access_log.is_empty() && case.log_excludes.is_empty() {
        return;
    }
    let Some(fields) = wait_for(line) else {
        return failures.push("access_log: Envoy logged no end of the exchange".to_owned());
    };
    for (name, pattern) in &case.access_log {
        let text = match &fields[name] {
            Value::Null => None,
            Value::String(text) if text == "-" => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        };
        let found: Vec<&[u8]> = text.iter().map(String::as_bytes).collect();
        failures.extend(pattern.refuse(&found).map(|line| format!("access_log.{name}: {line}")));
    }
}

/// The parts that do not come into a log in time.
pub(super) fn missing_in_log(parts: &Texts, name: &str, log: impl Fn() -> String) -> Vec<String> {
    let all_there = || parts.missing_in(&log()).next().is_none().then_some(());
    if wait_for(all_there).is_some() {
        return Vec::new();
    }
    parts.missing_in(&log()).map(|part| format!("{name}: no {part:?} in the log")).collect()
}

fn wait_for<T>(look: impl Fn() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() > deadline {
            return None;
        }
        std::thread::sleep(LOOK);
    }
}

/// What happened, for whoever reads the failures.
fn describe(received: &Result<Response, ClientError>, records: &[Recorded], log: &str) -> String {
    let client = match received {
        Ok(response) => format!("{} {}", response.status, shorten(&response.text(), 600)),
        Err(error) => error.to_string(),
    };
    let mut lines = vec![format!("the client got: {client}")];
    for record in records {
        let host = record.host().unwrap_or_default();
        let body = shorten(&record.text(), 600);
        lines.push(format!("the upstream got: {} {host} {} {body}", record.method, record.path()));
    }
    let log = tail(log);
    if !log.is_empty() {
        lines.push(format!("Envoy's log of the exchange:\n{log}"));
    }
    lines.join("\n")
}

/// The last lines of a log.
pub(super) fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}
