//! Plays a scenario: one Envoy, its cases one after another, and all that does not hold in each.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use super::case::Case;
use super::exchange::{missing_in_log, play_once, tail};
use super::file::{Plugin, Refusal, Scenario};
use super::gateway::{self, Places};
use crate::envoy::{self, Envoy, EnvoyBinary, Options, Render};
use crate::upstream::Upstream;

/// What became of a scenario.
#[derive(Debug)]
pub struct Report {
    /// The file.
    pub name: String,
    /// Its cases, as far as they were selected.
    pub cases: Vec<CaseReport>,
    /// From the first build to the last verdict.
    pub took: Duration,
}

/// What became of a case.
#[derive(Debug, Clone)]
pub struct CaseReport {
    /// Its name.
    pub name: String,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All holds.
    Passed,
    /// What does not hold.
    Failed(Vec<String>),
    /// There is no Envoy to play it on.
    Skipped,
    /// The Envoy that there is lacks what the scenario needs; this says what.
    Lacking(String),
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{} ({} cases in {:.1} s)", self.name, self.cases.len(), self.took.as_secs_f64())?;
        for case in &self.cases {
            match &case.outcome {
                Outcome::Passed => writeln!(out, "  ok       {}", case.name)?,
                Outcome::Skipped => writeln!(out, "  SKIPPED  {}", case.name)?,
                Outcome::Lacking(what) => writeln!(out, "  SKIPPED  {} ({what})", case.name)?,
                Outcome::Failed(failures) => {
                    writeln!(out, "  FAILED   {}", case.name)?;
                    for line in failures.iter().flat_map(|failure| failure.lines()) {
                        writeln!(out, "             {line}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Plays the cases that `selects` picks by name.
pub fn play(scenario: &Scenario, selects: &dyn Fn(&str) -> bool) -> Report {
    let started = Instant::now();
    let mut cases = Vec::new();
    let unplayed = |outcome: Outcome| {
        let names = scenario.case_names().into_iter().filter(|name| selects(name));
        let cases = names.map(|name| CaseReport { name, outcome: outcome.clone() }).collect();
        Report { name: scenario.name(), cases, took: started.elapsed() }
    };
    let Some(binary) = envoy::provide_or_skip(&scenario.name()) else {
        return unplayed(Outcome::Skipped);
    };
    if let Some(needs) = &scenario.needs
        && !binary.has_or_skip(needs.envoy, &needs.what, &scenario.name())
    {
        return unplayed(Outcome::Lacking(binary.lack(needs.envoy, &needs.what)));
    }
    let stage = Stage::new(scenario, binary);
    for refusal in scenario.refused.iter().filter(|refusal| selects(&refusal.name)) {
        cases.push(CaseReport { name: refusal.name.clone(), outcome: outcome(stage.play_refusal(refusal)) });
    }
    let selected: Vec<&Case> = scenario.cases.iter().filter(|case| selects(&case.name)).collect();
    if !selected.is_empty() {
        cases.extend(stage.play_cases(&selected));
    }
    Report { name: scenario.name(), cases, took: started.elapsed() }
}

fn outcome(failures: Vec<String>) -> Outcome {
    if failures.is_empty() { Outcome::Passed } else { Outcome::Failed(failures) }
}

/// What stands around an Envoy.
pub(super) struct Stage<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) upstream: Upstream,
    pub(super) services: BTreeMap<String, Upstream>,
    binary: EnvoyBinary,
    /// Requests sent so far, since the access log has a line for each in this order.
    exchanges: Cell<usize>,
}

impl<'a> Stage<'a> {
    fn new(scenario: &'a Scenario, binary: EnvoyBinary) -> Self {
        let services = scenario.envoy.services.iter().map(|name| (name.clone(), Upstream::start())).collect();
        Self { scenario, upstream: Upstream::start(), services, binary, exchanges: Cell::new(0) }
    }

    /// The line of the access log that the next request will have.
    pub(super) fn next_access_line(&self) -> usize {
        self.exchanges.replace(self.exchanges.get() + 1)
    }

    fn start(&self, chain: &[Plugin]) -> Result<Envoy, Vec<String>> {
        let services = self.services.iter().map(|(name, service)| (name.clone(), service.addr())).collect();
        let places = Places { upstream: self.upstream.addr(), services: &services };
        let config =
            gateway::config(chain, &self.scenario.envoy, &places).map_err(|error| vec![error.to_string()])?;
        let options =
            Options { concurrency: self.scenario.envoy.concurrency.unwrap_or(1), ..Options::default() };
        Envoy::start(&self.binary, Render::from_value(config), options)
            .map_err(|error| vec![error.to_string()])
    }

    fn play_refusal(&self, refusal: &Refusal) -> Vec<String> {
        match self.start(&refusal.chain) {
            Ok(_) => vec!["Envoy started; it must refuse this config".to_owned()],
            Err(told) => {
                let log = told.join("\n");
                let missing = refusal.log_includes.missing_in(&log);
                let mut failures: Vec<String> =
                    missing.map(|part| format!("log_includes: no {part:?}")).collect();
                if !failures.is_empty() {
                    failures.push(log.clone());
                }
                failures
            }
        }
    }

    fn play_cases(&self, cases: &[&Case]) -> Vec<CaseReport> {
        let mut envoy = match self.start(&self.scenario.chain) {
            Ok(envoy) => envoy,
            Err(failures) => {
                return cases
                    .iter()
                    .map(|case| CaseReport {
                        name: case.name.clone(),
                        outcome: Outcome::Failed(failures.clone()),
                    })
                    .collect();
            }
        };
        let at_start =
            missing_in_log(&self.scenario.start_log_includes, "start_log_includes", || envoy.log());
        let mut reports = Vec::new();
        for (index, case) in cases.iter().enumerate() {
            // What the whole file asks for is told once.
            let mut failures = if index == 0 { at_start.clone() } else { Vec::new() };
            for seed in case.seeds() {
                let found = play_once(self, &envoy, case, *seed);
                let is_one_of_many = case.seeds().len() > 1;
                failures.extend(
                    found.into_iter().map(|line| {
                        if is_one_of_many { format!("cut with seed {seed}: {line}") } else { line }
                    }),
                );
                if !envoy.is_running() {
                    failures.push(format!("Envoy is gone:\n{}", tail(&envoy.log())));
                    break;
                }
            }
            reports.push(CaseReport { name: case.name.clone(), outcome: outcome(failures) });
        }
        reports
    }
}
