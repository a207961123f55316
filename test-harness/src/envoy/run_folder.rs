//! The folder of one run: config and log. It outlives the run only if a test fails.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::{announce, target_folder};

/// How much of the log a failed test shows.
const TAIL_LINES: usize = 60;

#[derive(Debug)]
pub(super) struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    pub(super) fn create() -> io::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let runs = target_folder("run");
        loop {
            let path = runs.join(format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
            match std::fs::create_dir(&path) {
                Ok(()) => return Ok(Self { path }),
                // Left by a process that had this id before.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn config_path(&self) -> PathBuf {
        self.path.join("envoy.json")
    }

    pub(super) fn log_path(&self) -> PathBuf {
        self.path.join("envoy.log")
    }

    pub(super) fn admin_address_path(&self) -> PathBuf {
        self.path.join("admin-address")
    }

    /// Where the admin interface is, once Envoy has written it.
    pub(super) fn admin_address(&self) -> Option<SocketAddr> {
        std::fs::read_to_string(self.admin_address_path()).ok()?.trim().parse().ok()
    }

    /// Opened for appending: Envoy opens it a second time for an access log on stdout.
    pub(super) fn log_for_writing(&self) -> io::Result<File> {
        File::options().create(true).append(true).open(self.log_path())
    }

    pub(super) fn log(&self) -> String {
        std::fs::read(self.log_path())
            .map(|log| String::from_utf8_lossy(&log).into_owned())
            .unwrap_or_default()
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.path);
            return;
        }
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n");
        announce(&format!(
            "the test failed; config and log are in {}; the log ends with:\n{tail}",
            self.path.display()
        ));
    }
}
