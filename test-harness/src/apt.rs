//! Debian and Ubuntu packages, installed where this user may.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::announce;

/// Why packages could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum AptError {
    /// No `apt-get` on this machine.
    #[error("no apt-get here: not a Debian or Ubuntu machine")]
    NoApt,
    /// Neither root nor a sudo that asks for no password.
    #[error("not root, and sudo wants a password")]
    NotAllowed,
    /// `apt-get` ran and failed; what it said went to stderr.
    #[error("`{0}` failed")]
    Failed(String),
}

/// Installs packages in their newest versions: lists that came with an image may name ones that are too old.
pub fn install(packages: &[&str]) -> Result<(), AptError> {
    if !Path::new("/usr/bin/apt-get").exists() {
        return Err(AptError::NoApt);
    }
    let prefix: &[&str] = if rustix::process::geteuid().is_root() {
        &[]
    } else if succeeds(Command::new("sudo").args(["-n", "true"])) {
        &["sudo", "-n"]
    } else {
        return Err(AptError::NotAllowed);
    };
    let install = [&["install", "--yes", "--no-install-recommends"], packages].concat();
    announce(&format!("installing packages: {}", packages.join(" ")));
    // Without a network there may still be packages on a medium.
    if let Err(error) = apt(prefix, &["update"]) {
        announce(&format!("the package lists are not refreshed: {error}"));
    }
    apt(prefix, &install)
}

fn apt(prefix: &[&str], arguments: &[&str]) -> Result<(), AptError> {
    let words = [prefix, &["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q"], arguments].concat();
    // Its output is progress for a person; stdout belongs to what the harness prints itself.
    let ran =
        Command::new(words[0]).args(&words[1..]).stdin(Stdio::null()).stdout(std::io::stderr()).status();
    match ran {
        Ok(status) if status.success() => Ok(()),
        _ => Err(AptError::Failed(words.join(" "))),
    }
}

fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
