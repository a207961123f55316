//! Builds the plugins, runs a stock Envoy with them, and plays client and upstream around it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    reason = "the harness is the tests' own tool: here a panic is a verdict, and printing is the purpose"
)]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

pub mod aimock;
pub mod apt;
pub mod bench;
pub mod check;
pub mod client;
pub mod demo;
pub mod envoy;
pub mod lock;
mod plugins;
pub mod scenario;
pub mod sdk;
pub mod tidy;
pub mod toolchain;
pub mod upstream;
pub mod vendor;
mod wire;

/// The folder of the workspace manifest.
///
/// The path known at compile time, unless the tree has moved since; then the first folder above the
/// current one that holds the workspace.
pub fn workspace_root() -> PathBuf {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        let compiled = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
        if is_workspace(compiled) {
            return compiled.to_path_buf();
        }
        let current = std::env::current_dir().unwrap_or_default();
        current.ancestors().find(|folder| is_workspace(folder)).unwrap_or(compiled).to_path_buf()
    })
    .clone()
}

fn is_workspace(folder: &Path) -> bool {
    folder.join("Cargo.toml").is_file() && folder.join("test-harness/Cargo.toml").is_file()
}

/// A folder under `target/`, created if it is not there.
pub fn target_folder(name: &str) -> PathBuf {
    let folder = workspace_root().join("target").join(name);
    // A folder that cannot be created shows in the first use of it, with its path.
    let _ = std::fs::create_dir_all(&folder);
    folder
}

/// Tells a person what is going on.
///
/// Written to stderr itself: the print macros are captured in tests, and what is said here (a download,
/// a test that is skipped) must be seen in a passing run too.
pub fn announce(line: &str) {
    let _ = writeln!(std::io::stderr(), "harness: {line}");
}
