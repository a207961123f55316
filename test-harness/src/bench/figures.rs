//! From samples to figures: each round compared with the same round of the other chains.

use serde::Serialize;

use super::chains::{Bars, Chain, Filter};
use super::measure::{MANY_WORKERS, Plan, Samples};

/// Everything a run has found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Version of the Envoy that ran.
    pub envoy: String,
    /// Cores of the machine, which Envoy, load generator and upstream shared.
    pub cores: usize,
    /// How much was measured.
    pub plan: Plan,
    /// One for each chain, the empty one first, a do-nothing one second.
    pub chains: Vec<Figures>,
    /// One for each bar.
    pub verdicts: Vec<Verdict>,
}

/// What was found of one chain.
#[derive(Debug, Clone, Serialize)]
pub struct Figures {
    /// The chain.
    pub chain: String,
    /// A request of 1 KiB.
    pub small: Cost,
    /// A request of 16 KiB.
    pub large: Cost,
    /// CPU µs of a streamed event.
    pub event_us: Spread,
    /// CPU µs of a streamed event over the empty chain.
    pub event_added_us: Spread,
    /// Half of all exchanges of 1 KiB took at most so many µs.
    pub p50_us: f64,
    /// All but one in a hundred took at most so many µs.
    pub p99_us: f64,
    /// `p50_us` over the empty chain.
    pub p50_added_us: f64,
    /// `p99_us` over the empty chain.
    pub p99_added_us: f64,
    /// Resident MiB of a process with one worker, under load.
    pub resident_mib: f64,
    /// The same over the empty chain.
    pub resident_added_mib: f64,
    /// What each further worker adds, over what it adds to the empty chain.
    pub resident_added_by_worker_mib: f64,
    /// From the start of the process to its being ready.
    pub start_ms: Spread,
    /// The same over the empty chain.
    pub load_ms: Spread,
    /// Size of the module.
    pub wasm_kib: Option<f64>,
    /// What all this comes from.
    pub samples: Samples,
}

/// CPU time of a request.
#[derive(Debug, Clone, Serialize)]
pub struct Cost {
    /// µs.
    pub us: Spread,
    /// Percent over the empty chain.
    pub over_empty: Spread,
    /// Percent of the empty chain over the do-nothing filter, or over as many of them as the chain has filters.
    pub points: Spread,
}

/// The middle of several values, and how far they lie apart.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// As many values lie above as below.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
}

/// A figure and the bar it should not be over.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// The chain.
    pub chain: String,
    /// What was measured.
    pub what: &'static str,
    /// The figure.
    pub measured: f64,
    /// The most it should be.
    pub bar: f64,
    /// Unit of both.
    pub unit: &'static str,
    /// Whether it is more.
    pub is_over: bool,
}

impl Spread {
    /// Of one value or more.
    fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Self { median: f64::midpoint(low, high), min: values[0], max: values[values.len() - 1] }
    }
}

impl Report {
    pub(super) fn new(envoy: &str, plan: &Plan, chains: &[Chain], samples: &[Samples]) -> Self {
        let figures: Vec<Figures> = chains
            .iter()
            .zip(samples)
            .map(|(chain, own)| {
                Figures::new(chain, own.clone(), &samples[0], &samples[compared_with(chains, chain)])
            })
            .collect();
        Self {
            envoy: envoy.to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            plan: plan.clone(),
            verdicts: chains
                .iter()
                .zip(&figures)
                .flat_map(|(chain, figures)| verdicts(chain, figures))
                .collect(),
            chains: figures,
        }
    }
}

/// The place of the do-nothing chain of as many filters; of the first one where there is none.
fn compared_with(chains: &[Chain], chain: &Chain) -> usize {
    let is_alike = |other: &Chain| other.does_nothing && other.filters.len() == chain.filters.len();
    chains.iter().position(is_alike).unwrap_or(1)
}

impl Figures {
    fn new(chain: &Chain, samples: Samples, empty: &Samples, do_nothing: &Samples) -> Self {
        let [p50_us, p99_us] = quantiles(&samples.exchange_us, [50, 99]);
        let [empty_p50_us, empty_p99_us] = quantiles(&empty.exchange_us, [50, 99]);
        let resident_mib = Spread::of(samples.resident_mib.iter().copied()).median;
        let empty_resident_mib = Spread::of(empty.resident_mib.iter().copied()).median;
        let resident_of_many = samples.resident_many_mib - resident_mib;
        let empty_of_many = empty.resident_many_mib - empty_resident_mib;
        Self {
            chain: chain.name.clone(),
            small: Cost::new(&samples.small_us, &empty.small_us, &do_nothing.small_us),
            large: Cost::new(&samples.large_us, &empty.large_us, &do_nothing.large_us),
            event_us: Spread::of(samples.event_us.iter().copied()),
            event_added_us: differences(&samples.event_us, &empty.event_us),
            p50_us,
            p99_us,
            p50_added_us: p50_us - empty_p50_us,
            p99_added_us: p99_us - empty_p99_us,
            resident_mib,
            resident_added_mib: resident_mib - empty_resident_mib,
            resident_added_by_worker_mib: (resident_of_many - empty_of_many) / f64::from(MANY_WORKERS - 1),
            start_ms: Spread::of(samples.start_ms.iter().copied()),
            load_ms: differences(&samples.start_ms, &empty.start_ms),
            wasm_kib: only_filter(chain).map(|filter| filter.module.size as f64 / 1024.0),
            samples,
        }
    }
}

impl Cost {
    fn new(own: &[f64], empty: &[f64], do_nothing: &[f64]) -> Self {
        let rounds = || own.iter().zip(empty).zip(do_nothing);
        Self {
            us: Spread::of(own.iter().copied()),
            over_empty: Spread::of(rounds().map(|((own, empty), _)| (own - empty) / empty * 100.0)),
            points: Spread::of(rounds().map(|((own, empty), nothing)| (own - nothing) / empty * 100.0)),
        }
    }
}

fn differences(own: &[f64], empty: &[f64]) -> Spread {
    Spread::of(own.iter().zip(empty).map(|(own, empty)| own - empty))
}

fn quantiles<const N: usize>(values: &[f64], percents: [usize; N]) -> [f64; N] {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    percents.map(|percent| sorted[(sorted.len() - 1) * percent / 100])
}

/// A module is weighed where it stands alone.
fn only_filter(chain: &Chain) -> Option<&Filter> {
    if let [filter] = chain.filters.as_slice() { Some(filter) } else { None }
}

fn verdicts(chain: &Chain, figures: &Figures) -> Vec<Verdict> {
    let Bars { small_points, large_points, small_over_empty, event_us, load_ms } = chain.bars;
    let budget_kib = only_filter(chain).and_then(|filter| filter.module.budget_kib);
    let lines = [
        ("CPU, 1 KiB, over do-nothing", figures.small.points.median, small_points, "points"),
        ("CPU, 16 KiB, over do-nothing", figures.large.points.median, large_points, "points"),
        ("CPU, 1 KiB, over empty", figures.small.over_empty.median, small_over_empty, "%"),
        ("CPU, streamed event, over empty", figures.event_added_us.median, event_us, "µs"),
        ("load time, over empty", figures.load_ms.median, load_ms, "ms"),
        (".wasm", figures.wasm_kib.unwrap_or(0.0), budget_kib.map(|kib| kib as f64), "KiB"),
    ];
    let verdict = |(what, measured, bar, unit): (_, f64, Option<f64>, _)| {
        let bar = bar?;
        Some(Verdict { chain: chain.name.clone(), what, measured, bar, unit, is_over: measured > bar })
    };
    lines.into_iter().filter_map(verdict).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;
    use crate::toolchain::Built;

    fn samples(scale: f64) -> Samples {
        let values =
            |base: f64| [base, base * 1.5, base * 2.0].iter().map(|value| value * scale).collect::<Vec<_>>();
        Samples {
            small_us: values(50.0),
            large_us: values(100.0),
            event_us: values(10.0),
            exchange_us: (1..=200).map(|at| f64::from(at) * scale).collect(),
            start_ms: values(200.0),
            resident_mib: vec![60.0 * scale],
            resident_many_mib: 60.0 * scale + 3.0 * 4.0 * scale,
            events_held: 0,
        }
    }

    pub(in crate::bench) fn report() -> Report {
        let bars = Bars {
            small_points: Some(20.0),
            large_points: Some(40.0),
            small_over_empty: Some(60.0),
            event_us: Some(1.0),
            load_ms: Some(1000.0),
        };
        let module = Built {
            name: "acme".to_owned(),
            path: "acme.wasm".into(),
            size: 512 * 1024,
            budget_kib: Some(900),
        };
        let noop = Built { budget_kib: None, ..module.clone() };
        let chain = |name: &str, module, does_nothing, bars| Chain {
            does_nothing,
            bars,
            ..Chain::new(
                name.to_owned(),
                vec![Filter { module, config: json!({}), upstream_sees: Vec::new() }],
            )
        };
        let chains = [
            Chain::empty(),
            chain("do-nothing filter", noop, true, Bars::default()),
            chain("acme", module, false, bars),
        ];
        Report::new("1.40.0", &Plan::default(), &chains, &[samples(1.0), samples(1.2), samples(1.5)])
    }

    #[test]
    fn median_lies_between_the_two_in_the_middle() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Spread { median: 2.0, min: 1.0, max: 3.0 });
        assert_eq!(Spread::of([4.0, 1.0]), Spread { median: 2.5, min: 1.0, max: 4.0 });
        assert_eq!(Spread::of([7.0]), Spread { median: 7.0, min: 7.0, max: 7.0 });
    }

    #[test]
    fn each_round_is_compared_with_itself() {
        let report = report();
        let acme = &report.chains[2];
        // The empty chain got twice as slow from the first round to the last, and so did the others.
        for spread in [acme.small.over_empty, acme.large.over_empty] {
            assert!((spread.min - 50.0).abs() < 1e-9 && (spread.max - 50.0).abs() < 1e-9, "{spread:?}");
        }
        assert!((acme.small.points.median - 30.0).abs() < 1e-9);
        assert!((acme.event_added_us.median - 7.5).abs() < 1e-9);
        assert!((acme.load_ms.min - 100.0).abs() < 1e-9);
    }

    #[test]
    fn a_chain_is_compared_with_as_many_filters_that_do_nothing() {
        let module =
            Built { name: "acme".to_owned(), path: "acme.wasm".into(), size: 1, budget_kib: Some(9) };
        let filter = Filter { module, config: json!({}), upstream_sees: Vec::new() };
        let chain = |count, does_nothing| Chain {
            does_nothing,
            ..Chain::new(String::new(), vec![filter.clone(); count])
        };
        let chains = [
            Chain::empty(),
            chain(1, true),
            chain(2, true),
            chain(1, false),
            chain(2, false),
            chain(3, false),
        ];
        let compared: Vec<usize> = chains.iter().map(|chain| compared_with(&chains, chain)).collect();
        assert_eq!(compared, [1, 1, 2, 1, 2, 1]);
        assert!(only_filter(&chains[3]).is_some() && only_filter(&chains[4]).is_none());
    }

    #[test]
    fn latency_and_memory_are_over_the_empty_chain() {
        let report = report();
        let acme = &report.chains[2];
        assert!((acme.p50_added_us - 50.0).abs() < 1e-9 && (acme.p99_added_us - 99.0).abs() < 1e-9);
        assert!((acme.resident_added_mib - 30.0).abs() < 1e-9);
        assert!((acme.resident_added_by_worker_mib - 2.0).abs() < 1e-9);
    }

    #[test]
    fn verdict_says_which_bars_are_missed() {
        let over: Vec<(&str, bool)> =
            report().verdicts.iter().map(|verdict| (verdict.what, verdict.is_over)).collect();
        let expected = [
            ("CPU, 1 KiB, over do-nothing", true),
            ("CPU, 16 KiB, over do-nothing", false),
            ("CPU, 1 KiB, over empty", false),
            ("CPU, streamed event, over empty", true),
            ("load time, over empty", false),
            (".wasm", false),
        ];
        assert_eq!(over, expected);
    }
}
