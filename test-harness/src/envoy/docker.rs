//! Envoy in a container, by docker compose, with the same config and on the same ports.

use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::process::{Options, StartError, arguments, spawn};
use super::provision::{EnvoyBinary, TESTED_VERSION, chosen_version};
use super::render::Render;
use super::run_folder::RunFolder;
use crate::{target_folder, workspace_root};

/// Set to `1`, every Envoy runs in a container.
pub const DOCKER_VARIABLE: &str = "AI_GATEWAY_DOCKER";
/// Names another image than the one in `docker-compose.yaml`.
pub const IMAGE_VARIABLE: &str = "ENVOY_IMAGE";

static WANTED: AtomicBool = AtomicBool::new(false);

/// What `--docker` on the command line does.
pub fn want_docker() {
    WANTED.store(true, Ordering::Relaxed);
}

/// Whether every Envoy is to run in a container.
pub fn docker_is_wanted() -> bool {
    WANTED.load(Ordering::Relaxed) || std::env::var(DOCKER_VARIABLE).is_ok_and(|value| value == "1")
}

/// The image that a container is made of.
pub fn docker_image() -> String {
    let named = std::env::var(IMAGE_VARIABLE).ok().filter(|image| !image.is_empty());
    named.unwrap_or_else(|| {
        let version = chosen_version().ok().flatten();
        format!("envoyproxy/envoy:v{}", version.as_deref().unwrap_or(TESTED_VERSION))
    })
}

/// Why no container can be started here; `None` if one can.
pub fn docker_unavailable() -> Option<String> {
    if compose().is_none() {
        return Some("neither `docker compose` nor `docker-compose` is installed".to_owned());
    }
    let answers = succeeds(Command::new("docker").arg("info"));
    (!answers).then(|| "no Docker engine answers (`docker info` fails)".to_owned())
}

/// Whether the image is here already, so that nothing need be downloaded.
pub fn docker_image_is_local() -> bool {
    succeeds(Command::new("docker").args(["image", "inspect", &docker_image()]))
}

/// Stands for the image where a program is expected.
pub(super) fn in_container() -> Result<EnvoyBinary, String> {
    if let Some(reason) = docker_unavailable() {
        return Err(reason);
    }
    let image = docker_image();
    let version = image.rsplit_once(':').map_or("latest", |(_, tag)| tag.trim_start_matches('v')).to_owned();
    Ok(EnvoyBinary { path: image.into(), version })
}

/// The words that start compose: a part of `docker`, or a program of its own.
fn compose() -> Option<&'static [&'static str]> {
    const KNOWN: [&[&str]; 2] = [&["docker", "compose"], &["docker-compose"]];
    KNOWN.into_iter().find(|words| succeeds(Command::new(words[0]).args(&words[1..]).arg("version")))
}

fn succeeds(command: &mut Command) -> bool {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// One project of compose, with one container. Dropping it takes it down.
#[derive(Debug)]
pub(super) struct Composition {
    client: Child,
    down: Command,
}

impl Composition {
    pub(super) fn up(
        folder: &RunFolder,
        config: &mut Value,
        options: &Options,
        log: File,
    ) -> Result<Self, StartError> {
        write_command(folder, config, options)?;
        let mut down = project(folder, options)?;
        down.args(["down", "--timeout", "1", "--volumes"]);
        let mut up = project(folder, options)?;
        up.args(["up", "--no-color", "--no-log-prefix"]);
        // Compose takes the container down itself when it is asked to end.
        let client = spawn(&mut up, log, Signal::TERM).map_err(StartError::io("docker compose"))?;
        Ok(Self { client, down })
    }

    pub(super) fn client(&self) -> &Child {
        &self.client
    }

    pub(super) fn client_mut(&mut self) -> &mut Child {
        &mut self.client
    }
}

impl Drop for Composition {
    fn drop(&mut self) {
        succeeds(&mut self.down);
        let _ = self.client.kill();
        let _ = self.client.wait();
    }
}

/// `envoy --mode validate` in a container.
pub(super) fn validation(
    folder: &RunFolder,
    config: &mut Value,
    options: &Options,
) -> Result<Command, StartError> {
    write_command(folder, config, options)?;
    let mut command = project(folder, options)?;
    command
        .args(["run", "--rm", "-T", "envoy"])
        .args(arguments(folder, options))
        .args(["--mode", "validate"]);
    Ok(command)
}

/// What the command line and the environment of this one run add to `docker-compose.yaml`.
///
/// Variables are listed by name only; compose takes their values from its own environment, so that no
/// key is written to a file.
fn write_command(folder: &RunFolder, config: &mut Value, options: &Options) -> Result<(), StartError> {
    let mut names = Render::inherited_variables(config);
    names.retain(|name| std::env::var_os(name).is_some());
    names.extend(options.variables.iter().map(|(name, _)| name.clone()));
    names.sort();
    names.dedup();
    let service = json!({ "command": arguments(folder, options), "environment": names });
    let addition = json!({ "version": "3.7", "services": { "envoy": service } });
    let path = folder.path().join("compose.json");
    std::fs::write(&path, addition.to_string()).map_err(StartError::io(path))
}

fn project(folder: &RunFolder, options: &Options) -> Result<Command, StartError> {
    let words = compose().ok_or_else(|| StartError::NoDocker(docker_unavailable().unwrap_or_default()))?;
    let name = folder.path().file_name().unwrap_or_default().to_string_lossy();
    let mut command = Command::new(words[0]);
    command
        .args(&words[1..])
        .args(["--project-name", &format!("ai-gateway-{name}")])
        .arg("--file")
        .arg(workspace_root().join("test-harness/docker-compose.yaml"))
        .arg("--file")
        .arg(folder.path().join("compose.json"))
        .env("RUN_FOLDER", folder.path())
        .env("PLUGINS_FOLDER", target_folder("plugins"))
        .env("MODULES_FOLDER", target_folder("modules"))
        .env(IMAGE_VARIABLE, docker_image())
        .envs(options.variables.iter().map(|(name, value)| (name, value)));
    Ok(command)
}
