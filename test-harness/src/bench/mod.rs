//! `cargo bench-gateway`: what the plugins cost, against an empty chain and a filter that does nothing.
//!
//! Every chain runs in an Envoy process of its own, all of them side by side, and is measured in turn,
//! round after round: a machine that gets slower for a while does so for all. Cost is CPU time of the
//! Envoy process, not throughput, so that neither the load generator nor a busy neighbour counts.

mod chains;
mod figures;
mod gateway;
mod http;
mod measure;
mod native;
mod options;
mod peers;
mod process;
mod report;
mod traffic;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub use chains::{Bars, Chain, joint_chains, plugin_chains};
pub use figures::{Figures, Report, Spread, Verdict};
pub use measure::{Plan, measure};
pub use options::Options;
pub use report::json;

use crate::{announce, envoy, target_folder, toolchain, workspace_root};

/// Why a run could not be finished.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// A module could not be built.
    #[error(transparent)]
    Toolchain(#[from] toolchain::Error),
    /// There is no Envoy.
    #[error(transparent)]
    Unavailable(#[from] envoy::Unavailable),
    /// The config of a chain could not be rendered or run.
    #[error("{chain}: {source}")]
    Start {
        /// The chain.
        chain: String,
        /// What Envoy said.
        source: envoy::StartError,
    },
    /// A socket or a file of `/proc` failed.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The gateway did not do what the chain is for, so a figure would mean nothing.
    #[error("{chain}: {what}")]
    Unexpected {
        /// The chain.
        chain: String,
        /// What came instead.
        what: String,
    },
    /// A plugin was asked for that is not there.
    #[error("there is no plugin `{name}`; there are: {known}")]
    UnknownPlugin {
        /// The name asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// The README has no place for the table.
    #[error("{0} has no `{begin}` … `{end}`", begin = report::BEGIN, end = report::END)]
    NoMarkers(PathBuf),
}

impl BenchError {
    fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { what: what.into(), source }
    }

    fn unexpected(chain: &str, what: impl Into<String>) -> Self {
        Self::Unexpected { chain: chain.to_owned(), what: what.into() }
    }
}

/// `harness bench`: measures, prints the table, writes the figures. Being over a bar is no failure.
pub fn run(arguments: &[String]) -> ExitCode {
    let options = match Options::parse(arguments) {
        Ok(options) => options,
        Err(complaint) => {
            eprintln!("{complaint}\n\n{}", options::USAGE);
            return ExitCode::from(2);
        }
    };
    match run_with(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run_with(options: &Options) -> Result<(), BenchError> {
    if options.is_native {
        return native::run(&options.plugins, options::NATIVE_EXCHANGES);
    }
    let chains = chains(&options.plugins)?;
    let report = measure(&chains, &options.plan())?;
    if options.is_markdown {
        print!("{}", report::markdown(&report));
    } else {
        print!("{}", report::terminal(&report));
    }
    let json = options.json.clone().unwrap_or_else(|| target_folder("bench").join("gateway.json"));
    write(&json, &report::json(&report))?;
    announce(&format!("the figures of every round are in {}", json.display()));
    if options.updates_readme {
        let readme = workspace_root().join("README.md");
        let text = std::fs::read_to_string(&readme).map_err(BenchError::io(readme.display().to_string()))?;
        let text = report::replace_table(&text, &report::markdown(&report))
            .ok_or_else(|| BenchError::NoMarkers(readme.clone()))?;
        write(&readme, &text)?;
    }
    Ok(())
}

/// The chains of which the host calls alone are measured too; those of the others are much the same.
const HOST_CALLS: [&str; 5] =
    ["ai-proxy", "ai-proxy, Messages over chats", "ai-statistics", "model-mapper", "model-router"];

fn write(path: &Path, text: &str) -> Result<(), BenchError> {
    std::fs::write(path, text).map_err(BenchError::io(path.display().to_string()))
}

/// The chains to compare with, then those of the wanted plugins; of all plugins, and of those that are used together, if
/// none is named.
fn chains(wanted: &[String]) -> Result<Vec<Chain>, BenchError> {
    announce("building the plugins and the filter that does nothing");
    let plugins = toolchain::build_plugins()?;
    if let Some(name) = wanted.iter().find(|name| !plugins.iter().any(|plugin| plugin.name == **name)) {
        let known = plugins.iter().map(|plugin| plugin.name.as_str()).collect::<Vec<_>>().join(", ");
        return Err(BenchError::UnknownPlugin { name: name.clone(), known });
    }
    let mut chains = vec![Chain::empty(), Chain::do_nothing(1)?];
    for plugin in &plugins {
        if wanted.is_empty() || wanted.contains(&plugin.name) {
            for chain in plugin_chains(plugin) {
                let has_row = HOST_CALLS.contains(&chain.name.as_str());
                let alone = if has_row { Chain::host_calls_of(&chain)? } else { None };
                chains.extend(alone);
                chains.push(chain);
            }
        }
    }
    let is_wanted = |filter: &chains::Filter| wanted.is_empty() || wanted.contains(&filter.module.name);
    for chain in joint_chains(&plugins).into_iter().filter(|chain| chain.filters.iter().all(is_wanted)) {
        if !chains.iter().any(|other| other.does_nothing && other.filters.len() == chain.filters.len()) {
            chains.push(Chain::do_nothing(chain.filters.len())?);
        }
        chains.push(chain);
    }
    Ok(chains)
}
