//! A run: every chain started, checked, warmed up, and measured in turn, round after round.

use serde::Serialize;

use super::BenchError;
use super::chains::Chain;
use super::figures::Report;
use super::gateway::Gateway;
use super::peers::Peers;
use crate::announce;
use crate::envoy::{self, EnvoyBinary};

/// Workers of the Envoy that shows what each more of them takes.
pub(super) const MANY_WORKERS: u32 = 4;
/// Enough that Envoy seldom waits, few enough that each request is handled soon.
const CONNECTIONS: usize = 8;
/// So many that no worker is left without one.
const SPREAD_CONNECTIONS: usize = 64;

/// How much is measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// How often each chain has its turn.
    pub rounds: usize,
    /// Requests of 1 KiB in a turn.
    pub small_requests: usize,
    /// Requests of 16 KiB in a turn.
    pub large_requests: usize,
    /// Streams in a turn.
    pub streams: usize,
    /// Events in a stream.
    pub events: usize,
    /// Exchanges in a turn whose time is taken, one after the other.
    pub timed_exchanges: usize,
    /// Requests before anything is measured: V8 compiles what runs often anew.
    pub warm_up_requests: usize,
    /// How often each chain is started: for its load time and memory, and anew for its share of the rounds,
    /// since where a process happens to lie in memory is worth a few percent.
    pub starts: usize,
}

impl Default for Plan {
    /// Many short rounds rather than few long ones: what is compared then lies less than a second apart.
    fn default() -> Self {
        Self {
            rounds: 50,
            small_requests: 1000,
            large_requests: 1000,
            streams: 3,
            events: 500,
            timed_exchanges: 100,
            warm_up_requests: 5000,
            starts: 10,
        }
    }
}

impl Plan {
    /// A first impression.
    pub fn quick() -> Self {
        Self { rounds: 8, warm_up_requests: 3000, starts: 2, ..Self::default() }
    }
}

/// What was measured of one chain; costs have one value for each round.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Samples {
    /// CPU µs of a request of 1 KiB.
    pub small_us: Vec<f64>,
    /// CPU µs of a request of 16 KiB.
    pub large_us: Vec<f64>,
    /// CPU µs of a streamed event, its share of the request included.
    pub event_us: Vec<f64>,
    /// Time of each exchange in µs; not in the JSON, where it would be most of it.
    #[serde(skip)]
    pub exchange_us: Vec<f64>,
    /// From the start of the process to its being ready, of each start.
    pub start_ms: Vec<f64>,
    /// Resident MiB with one worker under load, of each start.
    pub resident_mib: Vec<f64>,
    /// Resident MiB with [`MANY_WORKERS`] under load.
    pub resident_many_mib: f64,
    /// Events that a filter held back, of all.
    pub events_held: usize,
}

/// Measures chains, the first of which is the empty one and the second a do-nothing one.
///
/// # Errors
/// No Envoy, or a chain that does not do its work.
pub fn measure(chains: &[Chain], plan: &Plan) -> Result<Report, BenchError> {
    let binary = envoy::provide()?;
    let run = Run { binary: &binary, chains, plan };
    let mut samples = vec![Samples::default(); chains.len()];
    run.starts(&mut samples)?;
    run.rounds(&mut samples)?;
    Ok(Report::new(&binary.version, plan, chains, &samples))
}

struct Run<'a> {
    binary: &'a EnvoyBinary,
    chains: &'a [Chain],
    plan: &'a Plan,
}

/// A chain's Envoy and the connections that are kept to it.
struct Running<'a> {
    gateway: &'a Gateway,
    peers: Peers<'a>,
}

impl Run<'_> {
    fn start(&self, chain: &Chain, workers: u32) -> Result<Gateway, BenchError> {
        Gateway::start(self.binary, chain, workers)
    }

    /// Load time and memory, each from a process that has done nothing else.
    fn starts(&self, samples: &mut [Samples]) -> Result<(), BenchError> {
        for turn in 1..=self.plan.starts {
            announce(&format!("start {turn} of {}: load time and memory", self.plan.starts));
            for (chain, samples) in self.chains.iter().zip(samples.iter_mut()) {
                let gateway = self.start(chain, 1)?;
                samples.start_ms.push(gateway.start_time().as_secs_f64() * 1e3);
                samples.resident_mib.push(self.resident_under_load(&gateway)?);
            }
        }
        announce(&format!("memory with {MANY_WORKERS} workers"));
        for (chain, samples) in self.chains.iter().zip(samples.iter_mut()) {
            samples.resident_many_mib = self.resident_under_load(&self.start(chain, MANY_WORKERS)?)?;
        }
        Ok(())
    }

    fn resident_under_load(&self, gateway: &Gateway) -> Result<f64, BenchError> {
        let mut peers = gateway.connect(SPREAD_CONNECTIONS)?;
        let requests = self.plan.warm_up_requests / 2;
        let traffic = gateway.traffic();
        gateway.drive(|| peers.load(&traffic.large, &traffic.completion, requests))?;
        gateway.resident_mib()
    }

    fn rounds(&self, samples: &mut [Samples]) -> Result<(), BenchError> {
        let (rounds, starts) = (self.plan.rounds, self.plan.starts.clamp(1, self.plan.rounds.max(1)));
        for start in 0..starts {
            let mine = rounds * start / starts + 1..=rounds * (start + 1) / starts;
            announce(&format!(
                "rounds {} to {} of {rounds}: starting and warming up",
                mine.start(),
                mine.end()
            ));
            let gateways =
                self.chains.iter().map(|chain| self.start(chain, 1)).collect::<Result<Vec<_>, _>>()?;
            let mut running =
                gateways.iter().map(|gateway| self.warm(gateway)).collect::<Result<Vec<_>, _>>()?;
            for _ in mine {
                self.round(&mut running, samples)?;
            }
        }
        Ok(())
    }

    /// Each chain in turn for each figure.
    fn round(&self, running: &mut [Running<'_>], samples: &mut [Samples]) -> Result<(), BenchError> {
        for (running, samples) in running.iter_mut().zip(samples.iter_mut()) {
            let gateway = running.gateway;
            samples.small_us.push(running.load(&gateway.traffic().small, self.plan.small_requests)?);
        }
        for (running, samples) in running.iter_mut().zip(samples.iter_mut()) {
            let gateway = running.gateway;
            samples.large_us.push(running.load(&gateway.traffic().large, self.plan.large_requests)?);
        }
        for (running, samples) in running.iter_mut().zip(samples.iter_mut()) {
            let (event_us, held) = running.stream(self.plan)?;
            samples.event_us.push(event_us);
            samples.events_held += held;
        }
        for (running, samples) in running.iter_mut().zip(samples.iter_mut()) {
            samples.exchange_us.extend(running.time(self.plan.timed_exchanges)?);
        }
        Ok(())
    }

    fn warm<'a>(&'a self, gateway: &'a Gateway) -> Result<Running<'a>, BenchError> {
        let peers = gateway.connect(CONNECTIONS)?;
        let mut running = Running { gateway, peers };
        running.load(&gateway.traffic().small, self.plan.warm_up_requests)?;
        running.load(&gateway.traffic().large, self.plan.warm_up_requests / 2)?;
        running.stream(self.plan)?;
        Ok(running)
    }
}

impl Running<'_> {
    fn load(&mut self, request: &[u8], count: usize) -> Result<f64, BenchError> {
        let answer = &self.gateway.traffic().completion;
        self.gateway.cpu_us(count, || self.peers.load(request, answer, count))
    }

    fn stream(&mut self, plan: &Plan) -> Result<(f64, usize), BenchError> {
        let mut held = 0;
        let event_us = self.gateway.cpu_us(plan.streams * plan.events, || {
            for _ in 0..plan.streams {
                held += self.peers.stream(self.gateway.traffic(), plan.events)?;
            }
            Ok(())
        })?;
        Ok((event_us, held))
    }

    fn time(&mut self, count: usize) -> Result<Vec<f64>, BenchError> {
        let traffic = self.gateway.traffic();
        self.gateway.drive(|| {
            let exchange = |_| {
                let time = self.peers.exchange(&traffic.small, &traffic.completion)?;
                Ok(time.as_secs_f64() * 1e6)
            };
            (0..count).map(exchange).collect()
        })
    }
}
