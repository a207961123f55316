//! Keys that are out of use are tried with a small chat, by one worker for all.

use std::rc::Rc;

use common::filter::{
    CallAnswer, Callout, Env, Filter, Flow, LogLevel, RequestBody, RequestCx, Start, TickCx,
};
use common::http::{Fault, Head, path};
use common::json;
use common::llm::api::Api;

use crate::config::{ActiveProvider, Config};
use crate::failover::{Endpoint, Failover, HealthCheck, Outcome};
use crate::filter::AiProxy;
use crate::retry;
use crate::status::is_success;

/// What is asked of a key.
const QUESTION: &str = "who are you?";

/// The providers whose keys are tried, each with its place among all.
fn checked(config: &Config) -> impl Iterator<Item = (usize, &Rc<ActiveProvider>, &Failover, &HealthCheck)> {
    config.providers().enumerate().filter_map(|(at, provider)| {
        let failover = provider.failover.as_ref()?;
        Some((at, provider, failover, failover.check()?))
    })
}

/// How often keys are tried.
pub(crate) fn interval(config: &Config) -> Option<std::time::Duration> {
    checked(config).map(|(.., check)| check.interval).min()
}

/// Tries every key that is out of use.
pub(crate) fn check(config: &Rc<Config>, cx: &mut TickCx<'_>) {
    for (at, provider, failover, health) in checked(config) {
        let (places, Some(endpoint)) = failover.out_of_use(cx.env) else { continue };
        if places.is_empty() || !cx.has_turn(failover.pool(), health.interval) {
            continue;
        }
        for place in places {
            match chat(config, provider, &health.model, place, &endpoint, cx.env) {
                Ok((head, body)) => {
                    let callout = Callout {
                        cluster: endpoint.cluster.clone(),
                        headers: retry::fields(&head),
                        body,
                        timeout: health.timeout,
                        max_answer_bytes: 0,
                    };
                    cx.call(tag(at, place), callout);
                }
                Err(fault) => cx.env.log(
                    LogLevel::Error,
                    format_args!("{}: no health check is possible: {fault} {}", AiProxy::NAME, fault.detail),
                ),
            }
        }
    }
}

/// Says of a call whose key it tries.
fn tag(provider: usize, place: usize) -> u64 {
    (provider as u64) << 32 | place as u64
}

/// Takes the answer to a call with this tag.
pub(crate) fn answered(config: &Config, env: &dyn Env, tag: u64, answer: &CallAnswer) {
    let (Ok(provider), Ok(place)) = (usize::try_from(tag >> 32), usize::try_from(tag & u64::from(u32::MAX)))
    else {
        return;
    };
    let Some((_, _, failover, _)) = checked(config).find(|(at, ..)| *at == provider) else { return };
    let status = match answer {
        CallAnswer::Answered { head, .. } => head.get_str(":status").and_then(|status| status.parse().ok()),
        CallAnswer::Failed(_) => None,
    };
    let outcome = if status.is_some_and(is_success) { Outcome::Passed } else { Outcome::Missed };
    failover.record(env, place, outcome, || None);
}

/// A chat as this gateway would send it for the client whose request took a key out of use: it goes
/// the same way through the plugin, so nothing of the configuration is lost on it.
fn chat(
    config: &Rc<Config>,
    active: &Rc<ActiveProvider>,
    model: &str,
    place: usize,
    endpoint: &Endpoint,
    env: &dyn Env,
) -> Result<(Head, Vec<u8>), Fault> {
    let has = |api| active.paths.serves(api);
    // Who has no chats is asked for a message.
    let asks_message = !has(Api::ChatCompletions) && has(Api::AnthropicMessages);
    let api = if asks_message { Api::AnthropicMessages } else { Api::ChatCompletions };
    let path = path::split(&endpoint.path).0;
    let path = if Api::detect(path).is_some_and(|(asked, _)| asked == api) { path } else { api.path() };
    let mut head = Head::from_fields(&[
        (":method", "POST"),
        (":path", path),
        (":authority", endpoint.host.as_str()),
        (":scheme", "https"),
        ("content-type", "application/json"),
    ]);
    let mut body = br#"{"model":"#.to_vec();
    json::write_string(&mut body, model);
    if asks_message {
        body.extend_from_slice(br#","max_tokens":16"#);
    }
    body.extend_from_slice(br#","messages":[{"role":"user","content":"#);
    json::write_string(&mut body, QUESTION);
    body.extend_from_slice(b"}]}");
    let mut cx = RequestCx { head: &mut head, has_body: true, env };
    let (mut filter, wanted) = match AiProxy::begin(config, Rc::clone(active), None, &mut cx)? {
        Start::Run { filter, body, .. } => (filter, body),
        Start::Inactive | Start::Reply(_) => return Err(Fault::internal("the chat does not go upstream")),
    };
    if matches!(wanted, RequestBody::Whole { .. }) {
        match filter.probe(&mut cx, &body)? {
            Flow::Pass => {}
            Flow::Send(edited) => body = edited,
            Flow::Call(_) | Flow::Reply(_) => return Err(Fault::internal("the chat does not go upstream")),
        }
    }
    active.credentials.apply(cx.head, active.auth(Some(api)), place)?;
    Ok((head, body))
}
