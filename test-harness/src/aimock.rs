//! A vendor that nobody here has written: [aimock](https://github.com/CopilotKit/aimock), a mock of many vendors' APIs
//! that is kept in step with the real ones. It answers as its fixtures say, and takes what the real ones may refuse.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::client::{Request, send};
use crate::envoy::{provision, spawn};
use crate::{announce, lock, target_folder, workspace_root};

/// The version that the fixtures were last played with.
const VERSION: &str = "1.43.0";
const PACKAGE: &str = "@copilotkit/aimock";
/// How long it may take until it listens.
const PATIENCE: Duration = Duration::from_secs(20);
/// Pieces of a stream have so many characters.
const PIECE: &str = "5";

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// It needs Node.js, of a version that can run it, and npm.
    #[error("aimock needs node of version 20 or later and npm: {0}")]
    NoNode(String),
    /// npm said why on stderr.
    #[error("npm could not install {PACKAGE}")]
    Install,
    /// It was started, and is not there.
    #[error("aimock does not listen; its log: {0}")]
    Silent(PathBuf),
    /// A program or file failed.
    #[error("{what}: {source}")]
    Io {
        /// Which.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Unavailable {
    fn io(what: impl ToString) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { what: what.to_string(), source }
    }
}

/// A running one; gone when dropped.
#[derive(Debug)]
pub struct Aimock {
    process: Child,
    address: SocketAddr,
    key: String,
}

impl Aimock {
    /// Starts one that takes this key, after installing it once.
    ///
    /// # Errors
    /// There is no Node.js, the package cannot be had, or it does not start.
    pub fn start(key: &str) -> Result<Self, Unavailable> {
        let program = provide()?;
        // Nothing can be told to pick a port and say which; between the two steps another program may come.
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
        let address = free.map_err(Unavailable::io("a free port"))?;
        let path = target_folder("tools").join(format!("aimock-{}.log", address.port()));
        let log = std::fs::File::create(&path).map_err(Unavailable::io(path.display()))?;
        let mut command = Command::new("node");
        command.arg(program).args(["--host", "127.0.0.1", "--port", &address.port().to_string()]);
        command.arg("--fixtures").arg(workspace_root().join("test-harness/sdk/aimock.json"));
        command.args(["--strict", "--chunk-size", PIECE, "--log-level", "warn"]).env("AIMOCK_API_KEYS", key);
        let process = spawn(&mut command, log, Signal::KILL).map_err(Unavailable::io("node"))?;
        let mut running = Self { process, address, key: key.to_owned() };
        let started = Instant::now();
        while TcpStream::connect(address).is_err() {
            let has_ended = running.process.try_wait().is_ok_and(|status| status.is_some());
            if has_ended || started.elapsed() > PATIENCE {
                return Err(Unavailable::Silent(path));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        // What it has to say from here on is nobody's business.
        let _ = std::fs::remove_file(path);
        Ok(running)
    }

    /// The same for a test; `None` after saying loudly that the test is skipped.
    ///
    /// # Panics
    /// Where nothing may be skipped, as for a missing Envoy.
    pub fn start_or_skip(test: &str, key: &str) -> Option<Self> {
        match Self::start(key) {
            Ok(running) => Some(running),
            Err(error) if provision::is_required() => panic!("{test}: {error}"),
            Err(error) => {
                announce(&format!("SKIPPED {test}: {error}"));
                None
            }
        }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// The paths of all requests so far.
    ///
    /// # Panics
    /// If it does not tell.
    pub fn paths(&self) -> Vec<String> {
        let request = Request::get("/__aimock/journal");
        let request = request.header("authorization", format!("Bearer {}", self.key));
        let journal = send(self.address, &request).expect("the journal").json();
        let path = |entry: &Value| entry["path"].as_str().map(str::to_owned);
        journal.as_array().into_iter().flatten().filter_map(path).collect()
    }
}

impl Drop for Aimock {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The program, installed once for each version.
fn provide() -> Result<PathBuf, Unavailable> {
    let major = run("node", &["--version"]).and_then(|version| {
        let major = version.trim_start_matches('v').split('.').next()?.parse::<u32>();
        major.ok()
    });
    if major.is_none_or(|major| major < 20) {
        return Err(Unavailable::NoNode("`node --version` tells none such".to_owned()));
    }
    let folder = target_folder("tools").join(format!("aimock-{VERSION}"));
    let program = folder.join("node_modules").join(PACKAGE).join("dist/cli.js");
    let _lock = lock::acquire("aimock").map_err(Unavailable::io("target/tools"))?;
    if program.is_file() {
        return Ok(program);
    }
    if run("npm", &["--version"]).is_none() {
        return Err(Unavailable::NoNode("`npm --version` fails".to_owned()));
    }
    announce("installing aimock from npm into target/tools (once)");
    install(&folder)?;
    if program.is_file() { Ok(program) } else { Err(Unavailable::Install) }
}

/// Into a folder beside the one, which then takes its place: a half is never there.
fn install(folder: &Path) -> Result<(), Unavailable> {
    let half = folder.with_extension("half");
    let _ = std::fs::remove_dir_all(&half);
    std::fs::create_dir_all(&half).map_err(Unavailable::io(half.display()))?;
    let package = format!("{PACKAGE}@{VERSION}");
    let status = Command::new("npm")
        .args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--silent", "--prefix"])
        .arg(&half)
        .arg(package)
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .status()
        .map_err(Unavailable::io("npm"))?;
    if !status.success() {
        return Err(Unavailable::Install);
    }
    let _ = std::fs::remove_dir_all(folder);
    std::fs::rename(&half, folder).map_err(Unavailable::io(folder.display()))
}

fn run(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
