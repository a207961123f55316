//! Every scenario of every plugin on a real Envoy, each case a test of its own name.
#![allow(clippy::print_stderr, reason = "how long each file took belongs on the screen of whoever runs it")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use test_harness::scenario::{Outcome, Scenario, files, play};

/// Scenario files played at a time: each has an Envoy of its own.
const PLAYERS: usize = 2;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let verdicts = Arc::new(Verdicts::default());
    let mut trials = Vec::new();
    let mut to_play = Vec::new();
    for path in files() {
        match Scenario::read(&path) {
            Ok(scenario) => {
                let name = scenario.name();
                let cases = scenario.case_names().into_iter().map(|case| trial_name(&name, &case));
                let names: Vec<String> = cases.collect();
                let selected: Vec<String> =
                    names.iter().filter(|name| selects(&arguments, name)).cloned().collect();
                trials.extend(names.into_iter().map(|name| trial(name, &verdicts)));
                if !selected.is_empty() {
                    to_play.push((scenario, selected));
                }
            }
            Err(error) => trials.push(broken(&path, error.to_string())),
        }
    }
    // The first file is taken first.
    to_play.reverse();
    if !arguments.list {
        start_players(to_play, &verdicts);
    }
    // Each test only waits for its verdict; one after another, they stay in the order of the files.
    let arguments = Arguments { test_threads: Some(1), ..arguments };
    let conclusion = libtest_mimic::run(&arguments, trials);
    for line in verdicts.timings.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        eprintln!("{line}");
    }
    conclusion.exit_code()
}

fn trial_name(file: &str, case: &str) -> String {
    let file = file.trim_start_matches("plugins/").trim_end_matches(".yaml").replace("/e2e/", "::");
    format!("{file}::{case}")
}

/// As libtest-mimic selects, so that nothing is played that nobody asked for.
fn selects(arguments: &Arguments, name: &str) -> bool {
    let fits =
        |filter: &String| if arguments.exact { name == filter } else { name.contains(filter.as_str()) };
    // `--ignored` asks for tests that are not run otherwise, and there are none.
    !arguments.ignored && arguments.filter.as_ref().is_none_or(fits) && !arguments.skip.iter().any(fits)
}

fn trial(name: String, verdicts: &Arc<Verdicts>) -> Trial {
    let verdicts = Arc::clone(verdicts);
    Trial::ignorable_test(name.clone(), move || match verdicts.wait_for(&name) {
        Outcome::Passed => Ok(Completion::Completed),
        Outcome::Skipped => Ok(Completion::ignored_with("SKIPPED: no Envoy")),
        Outcome::Lacking(what) => Ok(Completion::ignored_with(format!("SKIPPED: {what}"))),
        Outcome::Failed(failures) => Err(Failed::from(failures.join("\n"))),
    })
}

/// A file that is no scenario fails as a test.
fn broken(path: &Path, error: String) -> Trial {
    let name: PathBuf = path.iter().rev().take(3).collect::<Vec<_>>().into_iter().rev().collect();
    Trial::test(format!("{} is a scenario", name.display()), move || Err(Failed::from(error)))
}

/// What became of the cases played so far.
#[derive(Default)]
struct Verdicts {
    told: Mutex<BTreeMap<String, Outcome>>,
    changed: Condvar,
    timings: Mutex<Vec<String>>,
}

impl Verdicts {
    fn tell(&self, name: String, outcome: Outcome) {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).insert(name, outcome);
        self.changed.notify_all();
    }

    fn wait_for(&self, name: &str) -> Outcome {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let mut told = self
            .changed
            .wait_while(told, |told| !told.contains_key(name))
            .unwrap_or_else(PoisonError::into_inner);
        told.remove(name).unwrap_or(Outcome::Skipped)
    }
}

fn start_players(to_play: Vec<(Scenario, Vec<String>)>, verdicts: &Arc<Verdicts>) {
    let to_play = Arc::new(Mutex::new(to_play));
    for _ in 0..PLAYERS {
        let (to_play, verdicts) = (Arc::clone(&to_play), Arc::clone(verdicts));
        std::thread::spawn(move || {
            loop {
                let next = to_play.lock().unwrap_or_else(PoisonError::into_inner).pop();
                let Some((scenario, selected)) = next else { return };
                play_file(&scenario, &selected, &verdicts);
            }
        });
    }
}

fn play_file(scenario: &Scenario, selected: &[String], verdicts: &Verdicts) {
    let file = scenario.name();
    let played =
        std::panic::catch_unwind(|| play(scenario, &|case| selected.contains(&trial_name(&file, case))));
    match played {
        Ok(report) => {
            let timing =
                format!("{file}: {} cases in {:.1} s", report.cases.len(), report.took.as_secs_f64());
            verdicts.timings.lock().unwrap_or_else(PoisonError::into_inner).push(timing);
            for case in report.cases {
                verdicts.tell(trial_name(&file, &case.name), case.outcome);
            }
        }
        Err(_) => {
            // The panic has printed itself; without a verdict the tests would wait for ever.
            for name in selected {
                verdicts.tell(name.clone(), Outcome::Failed(vec!["the player panicked".to_owned()]));
            }
        }
    }
}
