//! The keys of one exchange: which one is used, what its answer says about it, which one is used next.

use common::filter::{CallAnswer, Env, RequestCx, ResponseBody, ResponseCx};
use common::http::{Head, path};
use common::llm::api::Api;

use crate::attempt::Attempt;
use crate::body;
use crate::config::{ActiveProvider, Config};
use crate::credential;
use crate::failover::{Endpoint, Failover, Outcome};
use crate::form;
use crate::retry::{self, Retry};
use crate::status::is_success;

/// Envoy puts it into answers of an upstream, not into those it gives itself.
const FROM_UPSTREAM: &str = "x-envoy-upstream-service-time";

/// Where access logs find how often a request was sent again: `%FILTER_STATE(wasm.ai_proxy_retries:PLAIN)%`.
const RETRIES: &str = "ai_proxy_retries";

/// An exchange of which it matters how it ends: for its key, or because it may be sent again.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    /// The place of the key that was used last.
    place: usize,
    /// All that were used, by their places.
    tried: Vec<usize>,
    /// How often the request may be sent again.
    retries: u32,
    /// The request's body as it left, if it may be sent again.
    body: Vec<u8>,
    /// The answer that the client gets has been judged.
    is_settled: bool,
}

impl Keys {
    /// Chooses the place of the key that is sent. The second part is there if the answer matters.
    pub(crate) fn choose(
        config: &Config,
        active: &ActiveProvider,
        api: Option<Api>,
        attempt: Option<&Attempt>,
        cx: &RequestCx<'_>,
    ) -> (usize, Option<Box<Self>>) {
        let keys = active.credentials.len();
        if active.failover.is_none() && active.retry.is_none() {
            if keys < 2 {
                return (0, None);
            }
            let place = match consumer(config, active, api, cx.head) {
                Some(consumer) => credential::place_of(consumer, keys),
                None => random(cx.env, keys),
            };
            return (place, None);
        }
        let consumer = consumer(config, active, api, cx.head);
        let mut fit = fit(active, cx.env);
        let mut retries = 0;
        if let Some(attempt) = attempt {
            let spent = attempt.spent;
            if fit.iter().any(|place| Some(*place) != spent) {
                fit.retain(|place| Some(*place) != spent);
            }
            if let Some(retry) = &active.retry {
                retry.warn_of_place(cx.env);
            }
            if let Some(failover) = &active.failover {
                failover.note_upstream(cx.env);
            }
        } else if let Some(retry) = &active.retry
            && api.is_some_and(|api| retry::is_repeatable(api, consumer.is_some()))
            && !cx.head.has("upgrade")
        {
            retries = retry.max_retries;
        }
        if fit.is_empty() {
            // Rather a key that failed than no answer at all.
            fit = (0..keys).collect();
        }
        let own = consumer.map(|consumer| (consumer, credential::place_of(consumer, keys)));
        let place = match own {
            Some((_, own)) if fit.contains(&own) => own,
            Some((consumer, _)) => nth(&fit, credential::place_of(consumer, fit.len())),
            None => nth(&fit, random(cx.env, fit.len())),
        };
        let keys = Self { place, tried: vec![place], retries, ..Self::default() };
        (place, (keys.retries > 0 || active.failover.is_some()).then(|| Box::new(keys)))
    }

    /// Whether a body that nobody else reads is to be read, so that it can be sent again. One of
    /// unknown or too large a size passes, and is sent once.
    pub(crate) fn wants_body(&mut self, cx: &RequestCx<'_>, limit: usize) -> bool {
        if self.retries == 0 || !cx.has_body {
            return false;
        }
        let fits = cx.head.content_length().is_some_and(|length| length <= limit as u64);
        if !fits {
            self.retries = 0;
        }
        fits
    }

    /// Keeps the body as it leaves. A stream is not sent again: a callout's answer comes whole. Nor is a body sent
    /// again that cannot be read, for it may ask for one.
    pub(crate) fn keep(&mut self, head: &Head, body: &[u8]) {
        if self.retries == 0 {
            return;
        }
        if head.has("content-encoding") || form::asks_for_stream(head, body) || body::asks_for_stream(body) {
            self.retries = 0;
        } else {
            self.body = body.to_vec();
        }
    }

    /// Judges the upstream's answer by its head. `None`: it is what the client gets.
    pub(crate) fn judge(
        &mut self,
        active: &ActiveProvider,
        api: Option<Api>,
        is_vendors: bool,
        cx: &ResponseCx<'_>,
        limit: usize,
    ) -> Option<ResponseBody> {
        if self.is_settled {
            return None;
        }
        self.is_settled = true;
        let status = cx.status();
        // What Envoy answers by itself says nothing about a key.
        if !is_success(status) && !is_vendors {
            return None;
        }
        self.record(active, cx, status);
        if cx.head.content_length().is_some_and(|length| length > limit as u64) {
            // It could not wait for the answer to another attempt.
            return None;
        }
        self.again(active, api, cx, status, limit)
    }

    /// Judges the answer to another attempt. `None`: the client gets the upstream's own.
    pub(crate) fn judge_retry(
        &mut self,
        active: &ActiveProvider,
        api: Option<Api>,
        cx: &ResponseCx<'_>,
        answer: CallAnswer,
        limit: usize,
    ) -> Option<ResponseBody> {
        let CallAnswer::Answered { head, body } = answer else {
            // No answer at all is as good a reason as a bad gateway's.
            return self.again(active, api, cx, 502, limit);
        };
        let status = head.get_str(":status").and_then(|status| status.parse().ok()).unwrap_or(0);
        if is_success(status) || head.has(FROM_UPSTREAM) {
            self.record(active, cx, status);
        }
        if is_success(status) {
            return Some(ResponseBody::Take { head, body });
        }
        self.again(active, api, cx, status, limit)
    }

    /// Counts an answer for or against the key that was used for it.
    fn record(&self, active: &ActiveProvider, cx: &ResponseCx<'_>, status: u16) {
        let Some(failover) = &active.failover else { return };
        let outcome = match status {
            status if is_success(status) => Outcome::Served,
            status if failover.is_failure(status) => Outcome::Failed,
            _ => return,
        };
        failover.record(cx.env, self.place, outcome, || endpoint(cx));
    }

    /// Another attempt, if this status, the number of attempts and the keys allow one.
    fn again(
        &mut self,
        active: &ActiveProvider,
        api: Option<Api>,
        cx: &ResponseCx<'_>,
        status: u16,
        limit: usize,
    ) -> Option<ResponseBody> {
        let retry = active.retry.as_ref().filter(|retry| self.retries > 0 && retry.is_failure(status))?;
        let place = self.next(active, retry, cx.env)?;
        let cluster = cluster(cx.env)?;
        let mut head = cx.request.clone();
        if active.credentials.len() > 0 {
            active.credentials.apply(&mut head, active.auth(api), place).ok()?;
        }
        self.retries -= 1;
        self.place = place;
        cx.env.set_property(RETRIES, self.tried.len().to_string().as_bytes());
        self.tried.push(place);
        Some(ResponseBody::Call { callout: retry.callout(cluster, &head, self.body.clone()), limit })
    }

    /// A key that was not used yet for this request; where more retries than keys were asked for, any
    /// but the last.
    fn next(&self, active: &ActiveProvider, retry: &Retry, env: &dyn Env) -> Option<usize> {
        let mut fit = fit(active, env);
        let fresh: Vec<usize> = fit.iter().copied().filter(|place| !self.tried.contains(place)).collect();
        if !fresh.is_empty() {
            return Some(nth(&fresh, random(env, fresh.len())));
        }
        if !retry.reuses_keys {
            return None;
        }
        if fit.is_empty() {
            fit = (0..active.credentials.len()).collect();
        }
        if fit.len() > 1 {
            fit.retain(|place| *place != self.place);
        }
        Some(nth(&fit, random(env, fit.len())))
    }
}

/// The places of the keys that are in use.
fn fit(active: &ActiveProvider, env: &dyn Env) -> Vec<usize> {
    match &active.failover {
        Some(failover) => Failover::in_use(failover, env),
        None => (0..active.credentials.len()).collect(),
    }
}

/// The consumer that has to stay with one key, because a vendor keeps its state under it.
fn consumer<'h>(
    config: &Config,
    active: &ActiveProvider,
    api: Option<Api>,
    head: &'h Head,
) -> Option<&'h [u8]> {
    let api = api?;
    if !credential::is_stateful(api) && !active.affinity_apis.contains(&api) {
        return None;
    }
    config.consumer_headers.iter().find_map(|name| head.get(name).filter(|it| !it.is_empty()))
}

/// Where a request of the same kind would go.
fn endpoint(cx: &ResponseCx<'_>) -> Option<Endpoint> {
    let text = |name: &str| cx.request.original(name).and_then(|value| std::str::from_utf8(value).ok());
    Some(Endpoint {
        host: text(":authority")?.to_owned(),
        path: path::split(text(":path")?).0.to_owned(),
        cluster: cluster(cx.env)?,
    })
}

fn cluster(env: &dyn Env) -> Option<String> {
    String::from_utf8(env.property(&["xds", "cluster_name"])?).ok()
}

fn random(env: &dyn Env, count: usize) -> usize {
    usize::try_from(env.random().checked_rem(count as u64).unwrap_or(0)).unwrap_or(0)
}

fn nth(places: &[usize], at: usize) -> usize {
    places.get(at).copied().unwrap_or(0)
}
