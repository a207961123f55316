//! A failed request is sent again, with another key.

use std::cell::Cell;
use std::time::Duration;

use common::config::{ConfigError, Node, Section};
use common::filter::{Callout, Env, Filter, LogLevel};
use common::http::Head;
use common::llm::api::Api;

use crate::credential;
use crate::filter::AiProxy;
use crate::status::StatusSet;

const MAX_RETRIES: u32 = 1;
const RETRY_TIMEOUT: u64 = 60_000;
/// Envoy gives up an answer to a callout that is larger than this.
const MAX_ANSWER_BYTES: usize = 32 << 20;

common::settings! {
    /// `retryOnFailure`, as it is written. Zero stands for the default.
    #[derive(Debug)]
    pub(crate) struct RetrySettings {
        /// Switches it on.
        enabled: bool,
        /// Attempts beyond the first, each with a key of its own. Only a number larger than that of the keys lets a key
        /// be used again, so that a single key is not tried twice unless you ask for it.
        max_retries: u32 => MAX_RETRIES,
        /// How long an attempt may take.
        retry_timeout: u64 as "milliseconds" => RETRY_TIMEOUT,
        /// As `failoverOnStatus`.
        retry_on_status: Vec<String> => crate::status::DEFAULT.map(str::to_owned).to_vec(),
    }
}

/// When and how often a failed request is sent again.
#[derive(Debug)]
pub(crate) struct Retry {
    pub(crate) max_retries: u32,
    /// More retries than keys were asked for, so a key may be used more than once.
    pub(crate) reuses_keys: bool,
    timeout: Duration,
    statuses: StatusSet,
    /// The operator has been told that it does not work where this filter stands.
    is_misplaced: Cell<bool>,
}

impl Retry {
    /// Compiles `retryOnFailure`, if it is switched on.
    pub(crate) fn load(
        settings: &RetrySettings,
        section: &mut Section<'_>,
        node: &Node<'_>,
        keys: usize,
    ) -> Result<Option<Self>, ConfigError> {
        if !settings.enabled {
            return Ok(None);
        }
        let place = node.get("retryOnFailure");
        let place = place.as_ref().unwrap_or(node);
        let statuses = StatusSet::load(section, place, "retryOnStatus", &settings.retry_on_status)?;
        let reuses_keys = usize::try_from(settings.max_retries).is_ok_and(|retries| retries > keys);
        if keys < 2 && !reuses_keys {
            let message =
                "has no effect without a second token, unless maxRetries is larger than their number";
            section.warn(place.path(), message);
            return Ok(None);
        }
        let timeout = if settings.retry_timeout == 0 { RETRY_TIMEOUT } else { settings.retry_timeout };
        Ok(Some(Self {
            max_retries: if settings.max_retries == 0 { MAX_RETRIES } else { settings.max_retries },
            reuses_keys,
            timeout: Duration::from_millis(timeout),
            statuses,
            is_misplaced: Cell::new(false),
        }))
    }

    /// Whether a request with this status may be sent again.
    pub(crate) fn is_failure(&self, status: u16) -> bool {
        self.statuses.has(status)
    }

    /// The same request again, with the credentials that are in `head` now.
    pub(crate) fn callout(&self, cluster: String, head: &Head, body: Vec<u8>) -> Callout {
        Callout {
            cluster,
            headers: fields(head),
            body,
            timeout: self.timeout,
            max_answer_bytes: MAX_ANSWER_BYTES,
        }
    }

    /// In a cluster's upstream chain Envoy itself sends again what fails, and this filter runs for
    /// each of its attempts; retries of our own would multiply them.
    pub(crate) fn warn_of_place(&self, env: &dyn Env) {
        if !self.is_misplaced.replace(true) {
            env.log(LogLevel::Warn, format_args!(
                "{}: retryOnFailure has no effect in a cluster's upstream chain, the route's retry_policy has",
                AiProxy::NAME));
        }
    }
}

/// Whether a failed request for this API may be sent again with another key. Not where a vendor keeps
/// what was sent under the first one, nor where the answer is no single message. A new response is
/// nobody's yet, unless a consumer has others under its key.
pub(crate) fn is_repeatable(api: Api, has_consumer: bool) -> bool {
    match api {
        Api::Responses => !has_consumer,
        Api::Realtime | Api::GeminiStreamGenerateContent => false,
        api => !credential::is_stateful(api),
    }
}

/// Fields that tell of the connection or of a body's form there, not of the request.
const CONNECTION_FIELDS: [&[u8]; 10] = [
    b"connection",
    b"content-length",
    b"expect",
    b"host",
    b"keep-alive",
    b"proxy-connection",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
];

/// The fields of a request as a callout sends them. Left out are those of the connection, what
/// instructs Envoy (a time-out or retries of the client's would apply to the callout), and values
/// that are no text, which a callout cannot carry.
pub(crate) fn fields(head: &Head) -> Vec<(String, String)> {
    let is_sent = |name: &[u8]| {
        let instructs = name.starts_with(b"x-envoy-") && !name.starts_with(b"x-envoy-original-");
        !instructs && !CONNECTION_FIELDS.contains(&name)
    };
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(str::to_owned);
    let sent = head.fields().filter(|(name, _)| is_sent(name));
    sent.filter_map(|(name, value)| Some((text(name)?, text(value)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_the_connection_or_to_envoy_stays_behind() {
        let mut head = Head::from_pairs(common::http::head::to_pairs(
            [
                (&b":path"[..], &b"/a"[..]),
                (b"x-custom", b"1"),
                (b"x-custom", b"2"),
                (b"x-odd", b"\xff"),
                (b"content-length", b"3"),
                (b"connection", b"close"),
                (b"transfer-encoding", b"chunked"),
                (b"x-envoy-upstream-rq-timeout-ms", b"1"),
                (b"x-envoy-original-path", b"/b"),
            ]
            .into_iter(),
        ));
        head.set("authorization", "Bearer k2");
        let expected = [
            (":path", "/a"),
            ("x-custom", "1"),
            ("x-custom", "2"),
            ("x-envoy-original-path", "/b"),
            ("authorization", "Bearer k2"),
        ];
        assert_eq!(fields(&head), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn what_a_vendor_keeps_under_a_key_is_not_sent_with_another() {
        for api in [Api::ChatCompletions, Api::Embeddings, Api::Models, Api::AudioSpeech, Api::Responses] {
            assert!(is_repeatable(api, false), "{api:?}");
            assert_eq!(is_repeatable(api, true), api != Api::Responses, "{api:?}");
        }
        for api in [Api::Files, Api::RetrieveBatch, Api::Videos, Api::Realtime, Api::FineTuningJobs] {
            assert!(!is_repeatable(api, false), "{api:?}");
        }
    }
}
