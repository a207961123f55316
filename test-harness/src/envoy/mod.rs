//! A stock Envoy: found or fetched, given a config with a test's ports and upstreams in it, and run.

mod admin;
mod docker;
mod process;
pub mod provision;
pub mod render;

use std::process::ExitCode;

pub use docker::{docker_is_wanted, image as docker_image, unavailable as docker_unavailable};
pub use process::{Envoy, Options, StartError, validate};
pub use provision::{EnvoyBinary, Unavailable, provide, provide_or_skip};
pub use render::{Render, RenderError, Transport};

/// `harness envoy`: says which Envoy is used.
pub fn run(_arguments: &[String]) -> ExitCode {
    match provide() {
        Ok(envoy) => {
            println!("{} {}", envoy.path.display(), envoy.version);
            ExitCode::SUCCESS
        }
        Err(unavailable) => {
            eprintln!("{unavailable}");
            ExitCode::FAILURE
        }
    }
}
