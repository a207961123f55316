//! `harness <command>`: everything a person or CI asks of the harness. The aliases are in `.cargo/config.toml`.
#![allow(clippy::print_stderr, reason = "a command-line program talks to its user")]

use std::process::ExitCode;

use test_harness::{bench, envoy, scenario, tidy, toolchain};

struct Command {
    name: &'static str,
    does: &'static str,
    run: fn(&[String]) -> ExitCode,
}

const COMMANDS: &[Command] = &[
    Command { name: "plugins", does: "build every plugin and print sizes against budgets", run: toolchain::run },
    Command { name: "bench", does: "measure what the plugins cost", run: bench::run },
    Command { name: "play", does: "play scenario files, all of them if none is named", run: scenario::run },
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
    let command = arguments.first().and_then(|name| COMMANDS.iter().find(|command| command.name == name));
    match command {
        Some(command) => (command.run)(&arguments[1..]),
        None => {
            eprintln!("usage: cargo harness <command> [--docker]\n");
            for command in COMMANDS {
                eprintln!("  {:8}  {}", command.name, command.does);
            }
            ExitCode::from(2)
        }
    }
}
