//! `harness <command>`: everything a person or CI asks of the harness. The aliases are in `.cargo/config.toml`.
#![allow(clippy::print_stderr, reason = "a command-line program talks to its user")]

use std::process::ExitCode;

use test_harness::{bench, check, demo, envoy, scenario, sdk, tidy, toolchain};

struct Command {
    name: &'static str,
    does: &'static str,
    run: fn(&[String]) -> ExitCode,
}

const COMMANDS: &[Command] = &[
    Command {
        name: "plugins",
        does: "build every plugin and print sizes against budgets",
        run: toolchain::run,
    },
    Command {
        name: "images",
        does: "write every plugin as an OCI image to push",
        run: toolchain::image::run,
    },
    Command { name: "check-config", does: "say what is wrong with plugins' configurations", run: check::run },
    Command { name: "demo", does: "run the shipped gateway with a built-in vendor", run: demo::run },
    Command { name: "bench", does: "measure what the plugins cost", run: bench::run },
    Command { name: "play", does: "play scenario files, all of them if none is named", run: scenario::run },
    Command { name: "sdk", does: "drive the gateway with the official clients", run: sdk::run },
    Command { name: "tidy", does: "check the invariants a check can see", run: tidy::run },
    Command { name: "envoy", does: "say which Envoy is used, fetching one if need be", run: envoy::run },
];

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    // Meant for every command alike: where Envoy runs.
    if let Some(at) = arguments.iter().position(|argument| argument == "--docker") {
        arguments.remove(at);
        envoy::want_docker();
    }
    let named = arguments
        .split_first()
        .and_then(|(name, rest)| Some((COMMANDS.iter().find(|command| command.name == name)?, rest)));
    match named {
        Some((command, rest)) => (command.run)(rest),
        None => {
            eprintln!("usage: cargo harness <command> [--docker]\n");
            for command in COMMANDS {
                eprintln!("  {:12}  {}", command.name, command.does);
            }
            ExitCode::from(2)
        }
    }
}
