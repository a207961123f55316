//! Attempts: in the upstream chain of a cluster Envoy runs this filter anew each time that it tries an endpoint.
//!
//! Each run gets the body that the client sent, and the head that the run before it has left. So a run that failed
//! keeps what takes its edits back, and the next one begins with that: nothing that was meant for one vendor, its keys
//! above all, reaches another.

use std::rc::Rc;

use common::filter::{End, Env, Filter, LogLevel, MetricKind, RequestCx, StreamCx};
use common::http::head::Undo;

use crate::config::{ActiveProvider, Config};
use crate::filter::{AiProxy, ORIGINAL_HOST, ORIGINAL_PATH};
use crate::status::is_success;

/// Where the endpoint that Envoy has chosen says whose it is, as an `id` of `providers`.
const PROVIDER: [&str; 5] = ["xds", "upstream_host_metadata", "filter_metadata", AiProxy::NAME, "provider"];

/// Keeps, from attempt to attempt, what takes the edits of a head back.
const UNDO: &str = "ai_proxy_undo";

/// Where access logs find whose endpoint was tried last: `%FILTER_STATE(wasm.ai_proxy_provider:PLAIN)%`.
const TRIED: &str = "ai_proxy_provider";

/// Envoy's router gives it to requests before this chain sees them, if it is not told to keep its headers to itself.
const ROUTED: &str = "x-envoy-expected-rq-timeout-ms";

/// One attempt at an endpoint.
#[derive(Debug)]
pub(crate) struct Attempt {
    /// The provider that the endpoint names.
    pub(crate) provider: Option<Rc<ActiveProvider>>,
    /// The place of the key that the attempt before has used, among this provider's.
    pub(crate) spent: Option<usize>,
    /// What the endpoint calls its provider.
    id: Option<String>,
}

impl Attempt {
    /// The attempt that this request is, with its head as the client sent it. `None`: the filter does not stand in an
    /// upstream chain.
    pub(crate) fn begin(config: &Config, cx: &mut RequestCx<'_>) -> Option<Self> {
        let named = if config.named.is_empty() { None } else { cx.env.property(&PROVIDER) };
        let id = named.and_then(|id| String::from_utf8(id).ok());
        // Most requests are asked no more than this: a question to the host costs more.
        let matters = |provider: &Rc<ActiveProvider>| provider.failover.is_some() || provider.retry.is_some();
        let may_be = [ORIGINAL_HOST, ORIGINAL_PATH, ROUTED].iter().any(|name| cx.head.has(name))
            || config.active.as_ref().is_some_and(matters);
        if id.is_none() && !(may_be && is_upstream(cx.env)) {
            return None;
        }
        let provider = id.as_ref().and_then(|id| config.provider(id));
        if let (Some(id), None) = (&id, &provider) {
            config.report_unknown(id, cx.env);
        }
        let spent =
            provider.as_ref().or(config.active.as_ref()).and_then(|it| it.credentials.place_in(cx.head));
        if let Some(undo) = cx.env.property(&[UNDO]) {
            cx.head.restore(Undo::read(undo));
        }
        Some(Self { provider, spent, id })
    }

    /// The first attempt of a request whose head does not tell that it is one.
    pub(crate) fn unmarked(env: &dyn Env) -> Option<Self> {
        is_upstream(env).then_some(Self { provider: None, spent: None, id: None })
    }

    /// Lets the next attempt begin as this one did, if it failed, and counts this one.
    pub(crate) fn end(&self, cx: &StreamCx<'_>, how: End) {
        let outcome = match cx.response.get_str(":status").and_then(|status| status.parse().ok()) {
            Some(status) if is_success(status) && how != End::Aborted => "served",
            Some(status) if is_success(status) => "aborted",
            Some(_) => "failed",
            None => "unanswered",
        };
        if outcome != "served" && cx.request.is_edited() {
            cx.env.set_property(UNDO, &cx.request.undo().bytes());
        }
        let Some(id) = &self.id else { return };
        cx.env.set_property(TRIED, id.as_bytes());
        let name = format!("ai_proxy.attempts.provider.{}.outcome.{outcome}", label(id));
        if let Some(counter) = cx.env.metric(MetricKind::Counter, &name) {
            cx.env.add(counter, 1);
        }
    }
}

/// Whether this filter stands in a cluster's upstream chain: only there an address is chosen already
/// when the request comes.
fn is_upstream(env: &dyn Env) -> bool {
    env.property(&["upstream", "address"]).is_some()
}

/// An id as one part of a metric's name.
fn label(id: &str) -> String {
    let part =
        |char: char| if char.is_ascii_alphanumeric() || matches!(char, '-' | '_') { char } else { '_' };
    id.chars().take(64).map(part).collect()
}

impl Config {
    fn provider(&self, id: &str) -> Option<Rc<ActiveProvider>> {
        self.named.iter().find(|(known, _)| known == id).map(|(_, provider)| Rc::clone(provider))
    }

    /// Once is enough: every request would say it.
    fn report_unknown(&self, id: &str, env: &dyn Env) {
        if !self.met_unknown.replace(true) {
            let id: String = id.chars().take(64).filter(|char| !char.is_control()).collect();
            env.log(
                LogLevel::Error,
                format_args!(
                    "{}: an endpoint names the provider `{id}`, which `providers` does not have",
                    AiProxy::NAME
                ),
            );
        }
    }
}
