//! Scenario files: what a client sends, what the upstream answers, and what each must see, through a
//! real Envoy with the plugins in it. `test-harness/README.md` describes the format.

mod case;
pub(crate) mod cut;
mod exchange;
mod expected;
mod file;
mod gateway;
mod json;
mod pattern;
mod payload;
mod player;
mod size;

use std::path::PathBuf;
use std::process::ExitCode;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

pub use file::{FileError, Scenario};
pub use player::{CaseReport, Outcome, Report, play};

use crate::workspace_root;

/// Something in a scenario that cannot be meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Wrong {
    message: String,
}

impl Wrong {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

/// Where a document lacks what a pattern names, a line for each place; members that it has beyond that are
/// no difference.
pub fn json_lacks(document: &Value, pattern: &Value) -> Vec<String> {
    json::differences(pattern, document, json::Others::Allowed)
}

/// All scenario files, `plugins/*/e2e/*.yaml` and the harness's own, in the order of their paths.
pub fn files() -> Vec<PathBuf> {
    let plugins = std::fs::read_dir(workspace_root().join("plugins")).into_iter().flatten().flatten();
    let folders = plugins.map(|plugin| plugin.path()).chain([workspace_root().join("test-harness")]);
    let mut files: Vec<PathBuf> = folders
        .filter_map(|folder| std::fs::read_dir(folder.join("e2e")).ok())
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    files
}

/// `harness play [<file>…]`: plays scenarios and tells what became of each case.
pub fn run(arguments: &[String]) -> ExitCode {
    let paths = if arguments.is_empty() { files() } else { arguments.iter().map(PathBuf::from).collect() };
    let mut is_good = true;
    for path in paths {
        let scenario = match Scenario::read(&path) {
            Ok(scenario) => scenario,
            Err(error) => {
                eprintln!("{error}");
                is_good = false;
                continue;
            }
        };
        let report = play(&scenario, &|_| true);
        println!("{report}");
        is_good &=
            report.cases.iter().all(|case| matches!(case.outcome, Outcome::Passed | Outcome::Lacking(_)));
    }
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A list of texts; one text is a list of one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value")]
struct Texts(Vec<String>);

impl TryFrom<Value> for Texts {
    type Error = Wrong;

    fn try_from(value: Value) -> Result<Self, Wrong> {
        match value {
            Value::String(text) => Ok(Self(vec![text])),
            list => serde_json::from_value(list).map(Self).map_err(|error| Wrong::new(error.to_string())),
        }
    }
}

impl Texts {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn missing_in<'a>(&'a self, text: &'a str) -> impl Iterator<Item = &'a String> {
        self.0.iter().filter(move |part| !text.contains(part.as_str()))
    }

    fn found_in<'a>(&'a self, text: &'a str) -> impl Iterator<Item = &'a String> {
        self.0.iter().filter(move |part| text.contains(part.as_str()))
    }
}

/// One thing, or a list of them.
#[derive(Debug, Clone, PartialEq, Eq)]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

impl<'de, T: serde::de::DeserializeOwned> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wrong = |error: serde_json::Error| serde::de::Error::custom(error);
        match Value::deserialize(deserializer)? {
            Value::Array(list) => {
                let read = |(index, value)| {
                    serde_json::from_value(value)
                        .map_err(|error| serde::de::Error::custom(format!("[{index}]: {error}")))
                };
                list.into_iter().enumerate().map(read).collect::<Result<_, _>>().map(Self::Many)
            }
            value => serde_json::from_value(value).map(Self::One).map_err(wrong),
        }
    }
}

/// For keys whose value may be `null`: only a key that is not there is `None`.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}
