//! Finds, or makes, a Rust that can build for `wasm32-wasip1`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::TARGET;
use crate::{announce, apt, target_folder};

/// Chooses the toolchain by name instead of by trying: `installed`, `rustup` or `distribution`.
pub const CHOICE_VARIABLE: &str = "AI_GATEWAY_WASM_TOOLCHAIN";

const DISTRIBUTION_RUSTC: &str = "/usr/bin/rustc";
const DISTRIBUTION_LINKER: &str = "/usr/bin/wasm-ld";
const DISTRIBUTION_LIBC: &str = "/usr/lib/wasm32-wasi";
const DISTRIBUTION_PACKAGES: [&str; 4] = ["rustc-web", "rust-web-src", "lld", "wasi-libc"];
/// The oldest compiler the workspace builds with: `rust-version` of its manifest, such as `1.88`.
const OLDEST_RUSTC: &str = env!("CARGO_PKG_RUST_VERSION");

/// A Rust that can build the plugins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Toolchain {
    /// The default one; its standard library for the target is installed.
    Default,
    /// The distribution's compiler, which builds the standard library from its sources first.
    Distribution,
}

/// No toolchain can be had; the message says what to install.
#[derive(Debug, thiserror::Error)]
#[error(
    "no Rust here can build for {TARGET}:\n{}\nInstall one of:\n  rustup target add {TARGET}\n  \
     apt-get install --no-install-recommends {} (Debian and Ubuntu)",
    .tried.iter().map(|reason| format!("  - {reason}")).collect::<Vec<_>>().join("\n"),
    DISTRIBUTION_PACKAGES.join(" ")
)]
pub struct NoToolchain {
    tried: Vec<String>,
}

/// The first of: the target as installed, the target fetched by rustup, the distribution's own Rust.
pub fn choose() -> Result<Toolchain, NoToolchain> {
    let wanted = std::env::var(CHOICE_VARIABLE).ok().filter(|wanted| !wanted.is_empty());
    let may = |step: &str| wanted.as_deref().is_none_or(|wanted| wanted == step);
    let mut tried = Vec::new();

    if may("installed") {
        if target_is_installed() {
            return Ok(Toolchain::Default);
        }
        tried.push(format!("the default toolchain has no standard library for {TARGET}"));
    }
    if may("rustup") {
        match add_with_rustup() {
            Ok(()) => return Ok(Toolchain::Default),
            Err(reason) => tried.push(reason),
        }
    }
    if may("distribution") {
        match distribution() {
            Ok(()) => return Ok(Toolchain::Distribution),
            Err(reason) => tried.push(reason),
        }
    }
    if tried.is_empty() {
        tried.push(format!("{CHOICE_VARIABLE} names no known way: {}", wanted.unwrap_or_default()));
    }
    // A person will now change something, perhaps the network: rustup gets its chance again.
    let _ = std::fs::remove_file(rustup_stamp());
    Err(NoToolchain { tried })
}

fn target_is_installed() -> bool {
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    let Some(folder) = output_of(rustc.args(["--print", "target-libdir", "--target", TARGET])) else {
        return false;
    };
    std::fs::read_dir(folder).is_ok_and(|files| {
        files.flatten().any(|file| {
            let name = file.file_name();
            let name = name.to_string_lossy();
            name.starts_with("libstd-") && name.ends_with(".rlib")
        })
    })
}

/// A failed download is remembered for this toolchain, so that not every run waits for it again.
fn rustup_stamp() -> PathBuf {
    target_folder("tools").join("rustup-target-failed")
}

fn add_with_rustup() -> Result<(), String> {
    let failed = || format!("`rustup target add {TARGET}` failed");
    if output_of(Command::new("rustup").arg("--version")).is_none() {
        return Err("no rustup here".to_owned());
    }
    let toolchain = output_of(Command::new("rustc").arg("-vV")).unwrap_or_default();
    let stamp = rustup_stamp();
    if std::fs::read_to_string(&stamp).is_ok_and(|known| known == toolchain) {
        return Err(format!("{} (as remembered in {})", failed(), stamp.display()));
    }
    announce(&format!("the target {TARGET} is not installed; asking rustup for it"));
    let added = Command::new("rustup")
        .args(["target", "add", TARGET])
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .status()
        .is_ok_and(|status| status.success());
    if added && target_is_installed() {
        return Ok(());
    }
    let _ = std::fs::write(&stamp, toolchain);
    announce(&failed());
    Err(failed())
}

fn distribution() -> Result<(), String> {
    if distribution_is_complete() {
        return Ok(());
    }
    announce("trying the distribution's own Rust");
    apt::install(&DISTRIBUTION_PACKAGES).map_err(|error| format!("the distribution's own Rust: {error}"))?;
    if distribution_is_complete() {
        return Ok(());
    }
    Err(format!(
        "the distribution's own Rust is older than {OLDEST_RUSTC}, or lacks sources, {DISTRIBUTION_LINKER} or {DISTRIBUTION_LIBC}"
    ))
}

fn distribution_is_complete() -> bool {
    let Some(sysroot) = output_of(Command::new(DISTRIBUTION_RUSTC).args(["--print", "sysroot"])) else {
        return false;
    };
    let version = output_of(Command::new(DISTRIBUTION_RUSTC).arg("--version")).unwrap_or_default();
    minor_version(version.trim_start_matches("rustc ")) >= minor_version(OLDEST_RUSTC)
        && Path::new(&sysroot).join("lib/rustlib/src/rust/library/std/Cargo.toml").is_file()
        && Path::new(DISTRIBUTION_LINKER).is_file()
        && Path::new(DISTRIBUTION_LIBC).join("libc.a").is_file()
}

/// `88` from `1.88.0 (…)`; a text that is no version is older than any.
fn minor_version(version: &str) -> Option<u32> {
    version.strip_prefix("1.")?.split(['.', ' ']).next()?.parse().ok()
}

/// Standard output of a command that succeeds.
fn output_of(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

impl Toolchain {
    /// Prepares `cargo build` to use this toolchain.
    pub(super) fn apply(self, cargo: &mut Command) {
        // They would replace the flags in .cargo/config.toml, or are meant for the native build.
        for variable in [
            "CARGO_BUILD_RUSTFLAGS",
            "CARGO_BUILD_TARGET",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_TARGET_DIR",
            "RUSTC_WORKSPACE_WRAPPER",
            "RUSTFLAGS",
        ] {
            cargo.env_remove(variable);
        }
        if self == Self::Default {
            return;
        }
        // Cargo points this at the default toolchain for the programs it runs.
        cargo.env_remove("LD_LIBRARY_PATH");
        cargo.env("RUSTC", DISTRIBUTION_RUSTC).env("RUSTC_BOOTSTRAP", "1");
        cargo.args(["-Z", "build-std=std,panic_abort"]);
        // Flags given this way are added to those in .cargo/config.toml.
        cargo.arg("--config").arg(format!("target.{TARGET}.linker = '{DISTRIBUTION_LINKER}'"));
        cargo.arg("--config").arg(format!(
            "target.{TARGET}.rustflags = ['-Clinker-flavor=wasm-ld', '-Clink-self-contained=no', '-Lnative={DISTRIBUTION_LIBC}']"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_compilers_are_compared_as_numbers() {
        assert_eq!(minor_version("1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)"), Some(96));
        assert_eq!(minor_version("1.88"), Some(88));
        assert!(minor_version("clang version 14.0.6") < minor_version("1.0.0"));
        assert!(minor_version(OLDEST_RUSTC).is_some());
    }

    #[test]
    fn failure_of_every_way_says_what_to_install() {
        let error = NoToolchain { tried: vec!["no rustup here".into(), "no apt-get here".into()] };
        let text = error.to_string();
        assert!(text.contains("  - no rustup here\n  - no apt-get here\n"), "{text}");
        assert!(text.contains("rustup target add wasm32-wasip1"), "{text}");
        assert!(text.contains("rustc-web rust-web-src lld wasi-libc"), "{text}");
    }
}
