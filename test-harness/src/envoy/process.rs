//! A running Envoy: started on ports of its own, ready when handed out, gone when dropped.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::docker::Composition;
use super::run_folder::RunFolder;
use super::{EnvoyBinary, Render, RenderError, admin, docker};

/// Between two looks at something that is not there yet.
const POLL: Duration = Duration::from_millis(10);
/// Picking a free port and binding it are two steps in the container; another program may come between.
const ATTEMPTS: usize = 3;

/// How an Envoy is run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Worker threads.
    pub concurrency: u32,
    /// Envoy's `--log-level`.
    pub log_level: String,
    /// Envoy's `--component-log-level`.
    pub component_log_level: String,
    /// How long it may take until Envoy is ready.
    pub patience: Duration,
    /// Added to the environment, where `host_env_keys` finds it.
    pub variables: Vec<(String, String)>,
    /// In a container instead of as a process.
    pub docker: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            concurrency: 1,
            log_level: "info".to_owned(),
            // At its start, `main` lists every extension there is.
            component_log_level: "wasm:debug,main:warning".to_owned(),
            patience: Duration::from_secs(30),
            variables: Vec::new(),
            docker: docker::docker_is_wanted(),
        }
    }
}

/// Why there is no running Envoy.
#[derive(thiserror::Error)]
pub enum StartError {
    /// The config is not what the test takes it for.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// Envoy would share the port with the program that has it, and get half of its connections.
    #[error("port {0} is in use")]
    PortInUse(u16),
    /// The program could not be run, or its files not be written.
    #[error("{path}: {source}")]
    Io {
        /// The program or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no Docker to run the container.
    #[error("{0}")]
    NoDocker(String),
    /// Envoy has ended; it does so for a config that it, or a plugin, refuses.
    #[error("Envoy ended with {status}; its log:\n{log}")]
    Exited {
        /// How it ended.
        status: ExitStatus,
        /// All it wrote.
        log: String,
    },
    /// Envoy runs but has not become ready in time.
    #[error("Envoy is not ready after {patience:?}; its log:\n{log}")]
    NotReady {
        /// How long was waited.
        patience: Duration,
        /// All it wrote.
        log: String,
    },
}

// What an `expect` shows; the log is readable only with its lines intact.
impl fmt::Debug for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl StartError {
    pub(super) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}

/// A running Envoy.
#[derive(Debug)]
pub struct Envoy {
    // In the order of dropping: the process must be gone before its folder.
    process: Process,
    admin: SocketAddr,
    listeners: BTreeMap<String, SocketAddr>,
    folder: RunFolder,
}

impl Envoy {
    /// Starts an Envoy and waits until it serves.
    #[expect(clippy::needless_pass_by_value, reason = "options are made for one start")]
    pub fn start(binary: &EnvoyBinary, render: Render, options: Options) -> Result<Self, StartError> {
        let config = render.finish()?;
        for port in Render::fixed_ports(&config) {
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(|_| StartError::PortInUse(port))?;
        }
        let mut attempt = 1;
        loop {
            match Self::start_once(binary, config.clone(), &options) {
                Err(StartError::Exited { log, .. })
                    if options.docker && attempt < ATTEMPTS && log.contains("Address already in use") =>
                {
                    attempt += 1;
                }
                result => return result,
            }
        }
    }

    fn start_once(binary: &EnvoyBinary, mut config: Value, options: &Options) -> Result<Self, StartError> {
        let folder = RunFolder::create().map_err(StartError::io("target/run"))?;
        let admin = if options.docker { Some(fixed_admin(&mut config)?) } else { None };
        write_config(&folder, &config)?;
        let log = folder.log_for_writing().map_err(StartError::io(folder.log_path()))?;
        let process = if options.docker {
            Process::Composed(Box::new(Composition::up(&folder, &mut config, options, log)?))
        } else {
            Process::Plain(spawn_plain(binary, &folder, options, log)?)
        };
        let mut starting = Starting { process, folder, deadline: Instant::now() + options.patience };
        let admin = starting.wait_until_ready(admin, options.patience)?;
        let listeners = listeners(admin).map_err(StartError::io("the admin interface"))?;
        Ok(Self { process: starting.process, admin, listeners, folder: starting.folder })
    }

    /// The port of a listener; of the only one, if the name is empty.
    ///
    /// # Panics
    /// If there is no such listener.
    pub fn port(&self, listener: &str) -> u16 {
        self.addr(listener).port()
    }

    /// The address of a listener; of the only one, if the name is empty.
    ///
    /// # Panics
    /// If there is no such listener.
    pub fn addr(&self, listener: &str) -> SocketAddr {
        let found = match listener {
            "" if self.listeners.len() == 1 => self.listeners.values().next(),
            name => self.listeners.get(name),
        };
        *found.unwrap_or_else(|| panic!("no listener `{listener}`; there are: {:?}", self.listeners))
    }

    /// The port of the admin interface.
    pub fn admin(&self) -> u16 {
        self.admin.port()
    }

    /// What the admin interface answers to a GET, such as `/stats/prometheus`.
    pub fn admin_get(&self, path: &str) -> io::Result<String> {
        self.admin_ask("GET", path)
    }

    /// What the admin interface answers to a POST, such as `/logging?wasm=trace`.
    pub fn admin_post(&self, path: &str) -> io::Result<String> {
        self.admin_ask("POST", path)
    }

    fn admin_ask(&self, method: &str, path: &str) -> io::Result<String> {
        match admin::ask(self.admin, method, path)? {
            (200, body) => Ok(body),
            (status, body) => Err(io::Error::other(format!("{method} {path}: {status} {body}"))),
        }
    }

    /// Counters and gauges whose name matches a regular expression.
    pub fn stats(&self, filter: &str) -> io::Result<BTreeMap<String, u64>> {
        let text = self.admin_get(&format!("/stats?filter={}", admin::query_value(filter)))?;
        Ok(text
            .lines()
            .filter_map(|line| line.rsplit_once(": "))
            .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
            .collect())
    }

    /// All it has written, access log included where that goes to stdout.
    pub fn log(&self) -> String {
        self.folder.log()
    }

    /// Waits for a text in the log; whether it came in time.
    pub fn wait_for_log(&self, needle: &str, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        loop {
            if self.log().contains(needle) {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(POLL);
        }
    }

    /// The process id: of Envoy, or of the compose client that keeps its container.
    pub fn pid(&self) -> u32 {
        self.process.child().id()
    }

    /// Whether the process still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.process.child_mut().try_wait(), Ok(None))
    }

    /// Where its config and log are, until it is dropped; kept if that happens in a panic.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// Checks a config with `envoy --mode validate`, which loads the modules too.
pub fn validate(binary: &EnvoyBinary, render: Render, options: Options) -> Result<(), StartError> {
    let mut config = render.finish()?;
    let folder = RunFolder::create().map_err(StartError::io("target/run"))?;
    write_config(&folder, &config)?;
    let log = folder.log_for_writing().map_err(StartError::io(folder.log_path()))?;
    let options = Options { log_level: "warning".to_owned(), ..options };
    let mut command = if options.docker {
        docker::validation(&folder, &mut config, &options)?
    } else {
        let mut command = Command::new(&binary.path);
        command.args(arguments(&folder, &options)).args(["--mode", "validate"]);
        command.envs(options.variables.iter().cloned());
        command
    };
    let mut child = spawn(&mut command, log, Signal::KILL).map_err(StartError::io(&binary.path))?;
    let status = child.wait().map_err(StartError::io(&binary.path))?;
    if status.success() { Ok(()) } else { Err(StartError::Exited { status, log: folder.log() }) }
}

/// What every Envoy is given on its command line.
pub(super) fn arguments(folder: &RunFolder, options: &Options) -> Vec<String> {
    let config = folder.config_path().display().to_string();
    let concurrency = options.concurrency.to_string();
    [
        ["--config-path", &config],
        ["--concurrency", &concurrency],
        ["--log-level", &options.log_level],
        ["--component-log-level", &options.component_log_level],
        // Tests read the access log as it is written.
        ["--file-flush-interval-msec", "50"],
    ]
    .iter()
    .flatten()
    .map(|argument| (*argument).to_owned())
    // No shared memory, so that any number of them run side by side.
    .chain(["--disable-hot-restart".to_owned()])
    .collect()
}

fn write_config(folder: &RunFolder, config: &Value) -> Result<(), StartError> {
    let text = serde_json::to_string_pretty(config).map_err(io::Error::other);
    text.and_then(|text| std::fs::write(folder.config_path(), text))
        .map_err(StartError::io(folder.config_path()))
}

/// A container cannot tell its admin port by a file, so the port is picked here.
fn fixed_admin(config: &mut Value) -> Result<SocketAddr, StartError> {
    let port = &mut config["admin"]["address"]["socket_address"]["port_value"];
    if *port == 0 {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
        *port = json!(free.map_err(StartError::io("a free port"))?.port());
    }
    Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port.as_u64().unwrap_or_default() as u16)))
}

fn spawn_plain(
    binary: &EnvoyBinary,
    folder: &RunFolder,
    options: &Options,
    log: File,
) -> Result<Child, StartError> {
    let mut command = Command::new(&binary.path);
    command
        .args(arguments(folder, options))
        .arg("--admin-address-path")
        .arg(folder.admin_address_path())
        .envs(options.variables.iter().map(|(name, value)| (name, value)));
    spawn(&mut command, log, Signal::KILL).map_err(StartError::io(&binary.path))
}

/// Starts a child that writes to `log` and does not outlive this process, however that ends.
pub(crate) fn spawn(command: &mut Command, log: File, on_our_death: Signal) -> io::Result<Child> {
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    die_with_us(command, on_our_death);
    let mut moved = Command::new("");
    std::mem::swap(command, &mut moved);
    let (answer, answered) = channel();
    spawner().send((moved, answer)).map_err(io::Error::other)?;
    answered.recv().map_err(io::Error::other)?
}

type Order = (Command, Sender<io::Result<Child>>);

/// The thread that starts all children.
///
/// The signal at a parent's death comes at the death of the *thread* that made the child, and a test's
/// thread may end before an Envoy that is shared between tests.
fn spawner() -> Sender<Order> {
    static SPAWNER: OnceLock<Sender<Order>> = OnceLock::new();
    SPAWNER
        .get_or_init(|| {
            let (sender, orders) = channel::<Order>();
            std::thread::spawn(move || {
                for (mut command, answer) in orders {
                    let _ = answer.send(command.spawn());
                }
            });
            sender
        })
        .clone()
}

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "nothing else runs code in the child before its program is loaded")]
fn die_with_us(command: &mut Command, signal: Signal) {
    // SAFETY: the closure makes one system call, allocates nothing and takes no lock.
    unsafe {
        command.pre_exec(move || {
            rustix::process::set_parent_process_death_signal(Some(signal)).map_err(io::Error::from)
        });
    }
}

#[cfg(not(target_os = "linux"))]
fn die_with_us(_command: &mut Command, _signal: Signal) {}

/// What has to end when the Envoy is dropped.
#[derive(Debug)]
enum Process {
    Plain(Child),
    Composed(Box<Composition>),
}

impl Process {
    fn child(&self) -> &Child {
        match self {
            Self::Plain(child) => child,
            Self::Composed(composition) => composition.client(),
        }
    }

    fn child_mut(&mut self) -> &mut Child {
        match self {
            Self::Plain(child) => child,
            Self::Composed(composition) => composition.client_mut(),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Self::Plain(child) = self {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// An Envoy that is not ready yet.
struct Starting {
    process: Process,
    folder: RunFolder,
    deadline: Instant,
}

impl Starting {
    fn wait_until_ready(
        &mut self,
        known: Option<SocketAddr>,
        patience: Duration,
    ) -> Result<SocketAddr, StartError> {
        loop {
            if let Ok(Some(status)) = self.process.child_mut().try_wait() {
                return Err(StartError::Exited { status, log: self.folder.log() });
            }
            let is_ready = |admin: &SocketAddr| matches!(admin::ask(*admin, "GET", "/ready"), Ok((200, _)));
            if let Some(admin) = known.or_else(|| self.folder.admin_address()).filter(is_ready) {
                return Ok(admin);
            }
            if Instant::now() >= self.deadline {
                return Err(StartError::NotReady { patience, log: self.folder.log() });
            }
            std::thread::sleep(POLL);
        }
    }
}

/// Where the listeners ended up.
fn listeners(admin: SocketAddr) -> io::Result<BTreeMap<String, SocketAddr>> {
    let (_, text) = admin::ask(admin, "GET", "/listeners?format=json")?;
    let answer: Value = serde_json::from_str(&text)?;
    let listeners = answer["listener_statuses"].as_array();
    Ok(listeners
        .into_iter()
        .flatten()
        .filter_map(|listener| {
            let bound = listener.pointer("/local_address/socket_address")?;
            let address = bound["address"].as_str()?.parse().ok()?;
            let port = u16::try_from(bound["port_value"].as_u64()?).ok()?;
            Some((listener["name"].as_str()?.to_owned(), SocketAddr::new(address, port)))
        })
        .collect())
}
