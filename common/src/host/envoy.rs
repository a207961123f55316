//! The traits of [`crate::filter::env`], told in host calls.

use std::cell::RefCell;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant, SystemTime};

use super::ffi;
use crate::filter::Callout;
use crate::filter::env::{Body, CasMismatch, Env, Host, HostError, LogLevel, Map, MetricId, MetricKind};
use crate::http::head::{Change, to_pairs};
use crate::http::{Head, LocalReply};

/// Response code details of an answer that took the place of the upstream's.
const REPLACED: &str = "replaced_by_callout_answer";

/// The stream that Envoy has called us for.
pub(super) struct Envoy;

/// This VM's metrics by kind and name; the host gives a new id for every definition, so they are asked once.
type MetricIds = Vec<(u32, Box<str>, MetricId)>;

thread_local! {
    static METRICS: RefCell<MetricIds> = RefCell::default();
    static STARTED: Instant = Instant::now();
    /// Seeded by WASI's `random_get` for each VM copy, then a xorshift: one host call a VM, not one a request.
    static RANDOM: RefCell<u64> = RefCell::new(RandomState::new().build_hasher().finish() | 1);
}

impl Env for Envoy {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_nanos(ffi::current_time().unwrap_or(0))
    }

    fn monotonic(&self) -> Duration {
        STARTED.with(Instant::elapsed)
    }

    fn random(&self) -> u64 {
        RANDOM.with_borrow_mut(|state| {
            *state ^= *state << 13;
            *state ^= *state >> 7;
            *state ^= *state << 17;
            state.wrapping_mul(0x2545_F491_4F6C_DD1D)
        })
    }

    fn log(&self, level: LogLevel, message: fmt::Arguments<'_>) {
        if level as u32 >= ffi::log_level().unwrap_or(0) {
            ffi::log(level as u32, &message.to_string());
        }
    }

    fn property(&self, path: &[&str]) -> Option<Vec<u8>> {
        let mut joined = Vec::with_capacity(64);
        for (part, at) in path.iter().zip(0..) {
            if at > 0 {
                joined.push(0);
            }
            joined.extend_from_slice(part.as_bytes());
        }
        ffi::property(&joined).ok().flatten()
    }

    fn set_property(&self, key: &str, value: &[u8]) {
        if let Err(error) = ffi::set_property(key.as_bytes(), value) {
            self.log(LogLevel::Warn, format_args!("The property {key} could not be set: {error}"));
        }
    }

    fn shared(&self, key: &str) -> Option<(Vec<u8>, u32)> {
        match ffi::shared_data(key) {
            Ok((Some(value), token)) => Some((value, token)),
            _ => None,
        }
    }

    fn set_shared(&self, key: &str, value: &[u8], token: Option<u32>) -> Result<(), CasMismatch> {
        ffi::set_shared_data(key, value, token.unwrap_or(0)).map_err(|_| CasMismatch)
    }

    fn metric(&self, kind: MetricKind, name: &str) -> Option<MetricId> {
        METRICS.with_borrow_mut(|metrics| {
            let key = (kind as u32, name);
            let at = match metrics.binary_search_by_key(&key, |(kind, name, _)| (*kind, name)) {
                Ok(at) => return metrics.get(at).map(|(_, _, id)| *id),
                Err(at) => at,
            };
            let id = MetricId(ffi::define_metric(kind as u32, name).ok()?);
            metrics.insert(at, (kind as u32, name.into(), id));
            Some(id)
        })
    }

    fn add(&self, metric: MetricId, delta: i64) {
        // A counter refuses zero and less; there is nothing to count then.
        let _ = ffi::increment_metric(metric.0, delta);
    }

    fn record(&self, metric: MetricId, value: u64) {
        let _ = ffi::record_metric(metric.0, value);
    }
}

impl Host for Envoy {
    fn pairs(&self, map: Map) -> Result<Vec<u8>, HostError> {
        ffi::pairs(map_kind(map))
    }

    fn change(&self, map: Map, change: &Change<'_>) -> Result<(), HostError> {
        let kind = map_kind(map);
        let Some((first, more)) = change.values.split_first() else {
            return ffi::remove_header(kind, change.name);
        };
        ffi::replace_header(kind, change.name, first)?;
        more.iter().try_for_each(|value| ffi::add_header(kind, change.name, value))
    }

    fn body(&self, body: Body, start: usize, max: usize) -> Result<Vec<u8>, HostError> {
        Ok(ffi::buffer(buffer_kind(body), start, max)?.unwrap_or_default())
    }

    fn replace_body(&self, body: Body, bytes: &[u8]) -> Result<(), HostError> {
        ffi::replace_buffer(buffer_kind(body), bytes)
    }

    fn append_body(&self, body: Body, bytes: &[u8]) -> Result<(), HostError> {
        ffi::append_buffer(buffer_kind(body), bytes)
    }

    fn reply(&self, reply: &LocalReply) -> Result<(), HostError> {
        let headers = reply.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        ffi::send_local_response(reply.status, &reply.details, &reply.body, &to_pairs(headers))
    }

    fn replace_response(&self, head: &Head, body: &[u8]) -> Result<(), HostError> {
        let status = head.get_str(":status").and_then(|status| status.parse().ok()).unwrap_or(502);
        let fields: Vec<(&[u8], &[u8])> = head.fields().filter(|(name, _)| !name.starts_with(b":")).collect();
        ffi::send_local_response(status, REPLACED, body, &to_pairs(fields.into_iter()))
    }

    fn resume(&self, body: Body) -> Result<(), HostError> {
        ffi::continue_stream(u32::from(body == Body::Response))
    }

    /// Through the SDK, whose dispatcher must know which context a token belongs to.
    fn call(&self, callout: &Callout) -> Result<u32, HostError> {
        let headers = callout.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let body = (!callout.body.is_empty()).then_some(callout.body.as_slice());
        proxy_wasm::hostcalls::dispatch_http_call(
            &callout.cluster,
            headers,
            body,
            Vec::new(),
            callout.timeout,
        )
        .map_err(|status| match status {
            proxy_wasm::types::Status::BadArgument => HostError::BadArgument,
            _ => HostError::Internal,
        })
    }

    fn tick_every(&self, period: Duration) -> Result<(), HostError> {
        ffi::set_tick_period(u32::try_from(period.as_millis()).unwrap_or(u32::MAX))
    }
}

fn map_kind(map: Map) -> u32 {
    match map {
        Map::Request => 0,
        Map::Response => 2,
        Map::Call => 6,
    }
}

fn buffer_kind(body: Body) -> u32 {
    match body {
        Body::Request => 0,
        Body::Response => 1,
        Body::Call => 4,
    }
}
