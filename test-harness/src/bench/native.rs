//! The plugins' own code natively, exchange after exchange, for a profiler to look into.
//!
//! The host here only hands out what it has, so what remains is the plugin and the layers under it:
//! what Envoy and V8 add is the business of the real benchmark.

use std::cell::RefCell;
use std::fmt;
use std::hint::black_box;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use common::filter::driver::{Action, Exchange, Plugin};
use common::filter::env::{Body, CasMismatch, Env, Host, HostError, LogLevel, Map, MetricId, MetricKind};
use common::filter::{Callout, Filter};
use common::http::head::{Change, to_pairs};
use common::http::{Head, LocalReply};
use serde_json::Value;

use super::chains::{Chain, plugin_chains};
use super::traffic::{Traffic, parts};
use super::{BenchError, report};
use crate::announce;
use crate::plugins::each_plugin;
use crate::toolchain::Built;

/// What Envoy adds to a request's head before the first filter sees it.
const ADDED_BY_ENVOY: [(&str, &str); 5] = [
    (":scheme", "http"),
    (":method", "POST"),
    (":authority", "gateway.test"),
    ("x-forwarded-proto", "http"),
    ("x-request-id", "6f1c1f0e-2a55-4a53-9d3a-0b7b9c4d1e2f"),
];

/// Between what two callbacks ask of the host.
pub(super) const NEXT_CALLBACK: &str = "|";
/// A callback that makes its half of the exchange wait.
pub(super) const HOLD: &str = "hold";

/// Plays so many exchanges of a chain: what one takes, and what it asks of the host, callback by callback.
type Play = fn(&Chain, &[u8], &[u8], usize) -> Result<(Duration, Vec<String>), BenchError>;

/// The plugins whose code is linked in.
const PLUGINS: [(&str, Play); 4] = each_plugin!(play);

/// Plays so many exchanges of every chain and prints what one takes.
pub(super) fn run(plugins: &[String], exchanges: usize) -> Result<(), BenchError> {
    let known = PLUGINS.map(|(name, _)| name);
    if let Some(name) = plugins.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(BenchError::UnknownPlugin { name: name.clone(), known: known.join(", ") });
    }
    let is_wanted = |name: &str| plugins.is_empty() || plugins.iter().any(|wanted| wanted == name);
    let (mut rows, mut asked) = (Vec::new(), Vec::new());
    let wanted = PLUGINS.into_iter().filter(|(name, _)| is_wanted(name));
    let chains = wanted.flat_map(|(name, play)| {
        let module = Built { name: name.to_owned(), path: Default::default(), size: 0, budget_kib: None };
        plugin_chains(&module).into_iter().map(move |chain| (chain, play))
    });
    for (chain, play) in chains {
        announce(&format!("{}: {exchanges} exchanges of each size", chain.name));
        let traffic = Traffic::of(chain.client, chain.vendor);
        let time = |request| play(&chain, request, &traffic.completion, exchanges);
        let shown = |time: Duration| format!("{:.2}", time.as_secs_f64() * 1e6);
        let (small, calls) = time(&traffic.small)?;
        let (large, _) = time(&traffic.large)?;
        let count = calls.iter().filter(|call| ![NEXT_CALLBACK, HOLD].contains(&call.as_str())).count();
        rows.push(vec![chain.name.clone(), shown(small), shown(large), count.to_string()]);
        asked.push(format!("{}: {}", chain.name, calls.join(", ")));
    }
    println!("{}", report::table(&["chain, native", "1 KiB µs", "16 KiB µs", "host calls"], rows));
    println!("{}", asked.join("\n"));
    Ok(())
}

/// What one exchange of a chain asks of the host, callback by callback; `None`: its code is not linked in.
pub(super) fn host_calls(chain: &Chain) -> Result<Option<Vec<String>>, BenchError> {
    let module = chain.filters.first().map(|filter| filter.module.name.as_str());
    let Some((_, play)) = PLUGINS.into_iter().find(|(name, _)| Some(*name) == module) else {
        return Ok(None);
    };
    let traffic = Traffic::of(chain.client, chain.vendor);
    play(chain, &traffic.small, &traffic.completion, 0).map(|(_, calls)| Some(calls))
}

/// The time of one exchange, and what it asks of the host.
fn play<F: Filter>(
    chain: &Chain,
    request: &[u8],
    answer: &[u8],
    exchanges: usize,
) -> Result<(Duration, Vec<String>), BenchError> {
    let config = chain.filters.first().map_or(Value::Null, |filter| filter.config.clone()).to_string();
    let mut host = StillHost::new(request, answer);
    let plugin = Plugin::<F>::configure(config.as_bytes(), &|_| None, &host)
        .map_err(|error| BenchError::unexpected(&chain.name, error.to_string()))?;
    let plugin = Rc::new(plugin);
    // What is asked once in the life of a worker, such as a metric by its name, is not meant.
    exchange(&plugin, &host, chain)?;
    host.calls = Some(RefCell::default());
    exchange(&plugin, &host, chain)?;
    let calls = host.calls.take().map(RefCell::into_inner).unwrap_or_default();
    let start = Instant::now();
    for _ in 0..exchanges {
        exchange(&plugin, &host, chain)?;
    }
    Ok((start.elapsed() / u32::try_from(exchanges.max(1)).unwrap_or(u32::MAX), calls))
}

fn exchange<F: Filter>(plugin: &Rc<Plugin<F>>, host: &StillHost, chain: &Chain) -> Result<(), BenchError> {
    let mut exchange = Exchange::new(Rc::clone(plugin));
    host.ends(exchange.request_head(host, false));
    let released = exchange.request_body(host, host.request_body.len(), true);
    if released != Action::Continue {
        return Err(BenchError::unexpected(&chain.name, "the request is held after its end"));
    }
    host.ends(released);
    host.ends(exchange.response_head(host, false));
    host.ends(exchange.response_body(host, host.response_body.len(), true));
    exchange.end(host);
    Ok(())
}

/// A host in which nothing ever changes.
struct StillHost {
    request: Vec<u8>,
    request_body: Vec<u8>,
    response: Vec<u8>,
    response_body: Vec<u8>,
    /// What is asked, if that is to be kept: each call is a step out of the VM and back.
    calls: Option<RefCell<Vec<String>>>,
}

impl StillHost {
    fn new(request: &[u8], answer: &[u8]) -> Self {
        let path = parts(request).0.split(' ').nth(1).unwrap_or_default();
        let (request, request_body) = pairs(request, &[&ADDED_BY_ENVOY[..], &[(":path", path)]].concat());
        let (response, response_body) = pairs(answer, &[(":status", "200")]);
        Self { request, request_body, response, response_body, calls: None }
    }

    /// A callback ends so.
    fn ends(&self, action: Action) {
        if action != Action::Continue {
            self.called(format_args!("{HOLD}"));
        }
        self.called(format_args!("{NEXT_CALLBACK}"));
    }

    fn called(&self, call: fmt::Arguments<'_>) {
        if let Some(calls) = &self.calls {
            calls.borrow_mut().push(call.to_string());
        }
    }
}

/// A message as Envoy hands it to a filter: the head serialised, the body apart.
fn pairs(message: &[u8], added: &[(&str, &str)]) -> (Vec<u8>, Vec<u8>) {
    let (head, body) = parts(message);
    let fields = head.split("\r\n").skip(1).filter_map(|line| line.split_once(": "));
    let fields: Vec<(&str, &str)> =
        added.iter().copied().chain(fields.filter(|(name, _)| *name != "host")).collect();
    (to_pairs(fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()))), body.to_vec())
}

impl Env for StillHost {
    fn now(&self) -> SystemTime {
        self.called(format_args!("now"));
        SystemTime::UNIX_EPOCH
    }

    fn monotonic(&self) -> Duration {
        self.called(format_args!("monotonic"));
        Duration::ZERO
    }

    fn random(&self) -> u64 {
        7
    }

    fn log(&self, level: LogLevel, message: fmt::Arguments<'_>) {
        if level >= LogLevel::Warn {
            announce(&message.to_string());
        }
    }

    fn property(&self, path: &[&str]) -> Option<Vec<u8>> {
        self.called(format_args!("property {}", path.join(".")));
        (path == ["response", "code_details"]).then(|| b"via_upstream".to_vec())
    }

    fn set_property(&self, key: &str, value: &[u8]) {
        self.called(format_args!("set_property {key}"));
        black_box((key, value));
    }

    fn shared(&self, key: &str) -> Option<(Vec<u8>, u32)> {
        self.called(format_args!("shared {key}"));
        None
    }

    fn set_shared(&self, key: &str, value: &[u8], token: Option<u32>) -> Result<(), CasMismatch> {
        self.called(format_args!("set_shared {key}"));
        black_box((key, value, token));
        Ok(())
    }

    fn metric(&self, _kind: MetricKind, name: &str) -> Option<MetricId> {
        self.called(format_args!("metric {name}"));
        Some(MetricId(0))
    }

    fn add(&self, metric: MetricId, delta: i64) {
        self.called(format_args!("add"));
        black_box((metric, delta));
    }

    fn record(&self, metric: MetricId, value: u64) {
        self.called(format_args!("record"));
        black_box((metric, value));
    }
}

impl Host for StillHost {
    fn pairs(&self, map: Map) -> Result<Vec<u8>, HostError> {
        self.called(format_args!("pairs {map:?}"));
        match map {
            Map::Request => Ok(self.request.clone()),
            Map::Response => Ok(self.response.clone()),
            Map::Call => Err(HostError::NotFound),
        }
    }

    fn change(&self, map: Map, change: &Change<'_>) -> Result<(), HostError> {
        self.called(format_args!("change {}", String::from_utf8_lossy(change.name)));
        black_box((map, change));
        Ok(())
    }

    fn body(&self, body: Body, start: usize, max: usize) -> Result<Vec<u8>, HostError> {
        self.called(format_args!("body {body:?}"));
        let bytes = match body {
            Body::Request => &self.request_body,
            Body::Response => &self.response_body,
            Body::Call => return Err(HostError::NotFound),
        };
        let rest = bytes.get(start..).unwrap_or_default();
        Ok(rest[..rest.len().min(max)].to_vec())
    }

    fn replace_body(&self, body: Body, bytes: &[u8]) -> Result<(), HostError> {
        self.called(format_args!("replace_body {body:?}"));
        black_box((body, bytes));
        Ok(())
    }

    fn append_body(&self, body: Body, bytes: &[u8]) -> Result<(), HostError> {
        self.called(format_args!("append_body {body:?}"));
        black_box((body, bytes));
        Ok(())
    }

    fn reply(&self, reply: &LocalReply) -> Result<(), HostError> {
        self.called(format_args!("reply"));
        black_box(reply);
        Ok(())
    }

    fn replace_response(&self, head: &Head, body: &[u8]) -> Result<(), HostError> {
        self.called(format_args!("replace_response"));
        black_box((head, body));
        Ok(())
    }

    fn resume(&self, body: Body) -> Result<(), HostError> {
        self.called(format_args!("resume {body:?}"));
        black_box(body);
        Ok(())
    }

    fn call(&self, callout: &Callout) -> Result<u32, HostError> {
        self.called(format_args!("call {}", callout.cluster));
        Err(HostError::BadArgument)
    }

    fn tick_every(&self, period: Duration) -> Result<(), HostError> {
        self.called(format_args!("tick_every {period:?}"));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_chain_carries_an_exchange_natively() {
        run(&[], 3).unwrap();
    }
}
