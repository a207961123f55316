//! A stock Envoy: found or fetched, given a config with a test's ports and upstreams in it, and run.

mod admin;
mod docker;
mod process;
pub mod provision;
pub mod render;
mod run_folder;

use std::process::ExitCode;

pub use docker::{
    DOCKER_VARIABLE, IMAGE_VARIABLE, docker_image, docker_image_is_local, docker_is_wanted,
    docker_unavailable, want_docker,
};
pub(crate) use process::spawn;
pub use process::{Envoy, Options, StartError, validate};
pub use provision::{EnvoyBinary, Release, Unavailable, provide, provide_or_skip};
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
