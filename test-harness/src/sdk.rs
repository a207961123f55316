//! The official clients for Python of OpenAI and Anthropic, in a place of their own, driving the shipped gateway over
//! vendors of each API.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::demo::{Backend, Gateway, VENDOR_KEY, Wanted};
use crate::envoy::{EnvoyBinary, provision};
use crate::upstream::Recorded;
use crate::vendor::{self, Dialect, Vendor};
use crate::{announce, apt, lock, target_folder, workspace_root};

/// What a client sends as its key; the vendor does not know it.
pub const CLIENT_KEY: &str = "key-of-the-client";
/// Short: here nobody watches the stream.
const PACE: Duration = Duration::from_millis(1);
/// Where streams are cut follows from this and the request.
const CUT: u64 = 4;
/// Would have the client talk to somebody else, or say more than it is told to.
const OTHER_VARIABLES: [&str; 11] = [
    "ALL_PROXY",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "all_proxy",
    "https_proxy",
    "http_proxy",
    "OPENAI_ORG_ID",
    "OPENAI_PROJECT_ID",
    "OPENAI_LOG",
    "ANTHROPIC_AUTH_TOKEN",
    "ANTHROPIC_LOG",
];

/// An official client, and the check that it is put through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// OpenAI's, and its chats.
    OpenAi,
    /// OpenAI's, and its responses.
    Responses,
    /// Anthropic's.
    Anthropic,
}

impl Client {
    fn script(self) -> &'static str {
        match self {
            Self::OpenAi => "openai_check.py",
            Self::Responses => "responses_check.py",
            Self::Anthropic => "anthropic_check.py",
        }
    }

    /// The variables in which it looks for its server and its key.
    fn variables(self) -> (&'static str, &'static str) {
        match self {
            Self::OpenAi | Self::Responses => ("OPENAI_BASE_URL", "OPENAI_API_KEY"),
            Self::Anthropic => ("ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY"),
        }
    }

    /// OpenAI's wants to be told the version of the API, too.
    fn base_url(self, server: SocketAddr) -> String {
        match self {
            Self::OpenAi | Self::Responses => format!("http://{server}/v1"),
            Self::Anthropic => format!("http://{server}"),
        }
    }

    /// The API that it speaks, as `translateApis` names it.
    fn api(self) -> &'static str {
        match self {
            Self::OpenAi => "openai/v1/chatcompletions",
            Self::Responses => "openai/v1/responses",
            Self::Anthropic => "anthropic/v1/messages",
        }
    }
}

/// What a vendor is asked in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// OpenAI's chats.
    Chats,
    /// OpenAI's responses.
    Responses,
    /// Anthropic's Messages.
    Messages,
}

impl Over {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Chats, Self::Responses, Self::Messages];

    /// Where the vendor is asked.
    pub fn path(self) -> &'static str {
        match self {
            Self::Chats => "/v1/chat/completions",
            Self::Responses => "/v1/responses",
            Self::Messages => "/v1/messages",
        }
    }

    /// How the checks call it.
    fn name(self) -> &'static str {
        match self {
            Self::Chats => "chats",
            Self::Responses => "responses",
            Self::Messages => "messages",
        }
    }

    /// A vendor that is asked so, and cuts its streams at random places.
    pub fn vendor(self) -> vendor::Options {
        let speaks = if self == Self::Messages { Dialect::Anthropic } else { Dialect::OpenAi };
        vendor::Options { key: VENDOR_KEY.to_owned(), speaks, cut: Some(CUT), ..Default::default() }
    }
}

/// A client, and what it is carried over, if that is not what it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    /// Who asks.
    pub client: Client,
    /// What the vendor is asked in.
    pub over: Over,
}

impl Pair {
    /// Each client over each API.
    pub fn all() -> impl Iterator<Item = Self> {
        let clients = [Client::OpenAi, Client::Responses, Client::Anthropic];
        clients.into_iter().flat_map(|client| Over::ALL.map(|over| Self { client, over }))
    }

    /// The configuration of ai-proxy that brings them together; `None`: the shipped one does.
    pub fn config(self) -> Option<Value> {
        let told = match (self.client, self.over) {
            (Client::OpenAi, Over::Chats) | (Client::Responses | Client::Anthropic, Over::Responses) => {
                return None;
            }
            (_, Over::Messages) => return Some(provider("claude", &json!({}))),
            (_, Over::Chats) => "openai/v1/chatcompletions",
            (_, Over::Responses) => "openai/v1/responses",
        };
        Some(provider("openai", &json!({ self.client.api(): told })))
    }

    /// What the client has to say over a gateway of its own, and the requests that have reached the vendor.
    ///
    /// # Errors
    /// Envoy does not start, or Python cannot be run.
    pub fn check(
        self,
        binary: &EnvoyBinary,
        python: &Python,
    ) -> Result<(Outcome, Vec<Recorded>), Box<dyn std::error::Error>> {
        let vendor = Vendor::start(self.over.vendor());
        let gateway = Gateway::start_before(binary, self.config().as_ref(), vendor.addr())?;
        let outcome = python.check(self, gateway.addr(), CLIENT_KEY)?;
        Ok((outcome, vendor.take()))
    }
}

fn provider(kind: &str, translated: &Value) -> Value {
    json!({ "provider": { "type": kind, "apiTokens": [VENDOR_KEY], "translateApis": translated } })
}

/// Why the check could not be run.
#[derive(Debug, thiserror::Error)]
pub enum SdkError {
    /// No Python that can install packages.
    #[error("the SDK check needs python3 with pip: {0}")]
    NoPip(apt::AptError),
    /// The packages could not be installed; pip said why on stderr.
    #[error("pip could not install {0}")]
    Install(PathBuf),
    /// A program or file failed.
    #[error("{what}: {source}")]
    Io {
        /// Which.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
}

impl SdkError {
    fn io(what: impl ToString) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { what: what.to_string(), source }
    }
}

/// A Python with the client in it.
#[derive(Debug, Clone)]
pub struct Python {
    program: PathBuf,
    /// Where the packages are, if not in the program's own environment.
    packages: Option<PathBuf>,
}

/// What the check had to say.
#[derive(Debug)]
pub struct Outcome {
    /// Whether all of it passed.
    pub passed: bool,
    /// `ok <name>` for each check, or what went wrong in it.
    pub text: String,
}

impl Python {
    /// Makes the environment, once for each version of the requirements and of Python.
    ///
    /// # Errors
    /// There is no pip, or the packages cannot be had.
    pub fn provide() -> Result<Self, SdkError> {
        let requirements = folder().join("requirements.txt");
        let wanted = std::fs::read_to_string(&requirements).map_err(SdkError::io(requirements.display()))?;
        let wanted = format!("{}{wanted}", version("python3").unwrap_or_default());
        let tools = target_folder("tools");
        let inside = tools.join("sdk-venv");
        let beside = tools.join("sdk-site");
        let _lock = lock::acquire("sdk").map_err(SdkError::io("target/tools"))?;
        let own = Self { program: inside.join("bin/python"), packages: None };
        if is_stamped(&inside, &wanted) && version(&own.program).is_some() {
            return Ok(own);
        }
        let borrowed = Self { program: "python3".into(), packages: Some(beside.clone()) };
        if is_stamped(&beside, &wanted) {
            return Ok(borrowed);
        }
        for stale in [&inside, &beside] {
            let _ = std::fs::remove_dir_all(stale);
        }
        announce("installing the OpenAI and Anthropic clients for Python into target/tools (once)");
        let (python, place) = if make_venv(&inside) {
            own.install(&requirements, None)?;
            (own, inside)
        } else {
            let _ = std::fs::remove_dir_all(&inside);
            announce("python3 makes no virtual environment here; the packages go into a folder of their own");
            if !succeeds(Command::new("python3").args(["-m", "pip", "--version"])) {
                apt::install(&["python3", "python3-pip"]).map_err(SdkError::NoPip)?;
            }
            borrowed.install(&requirements, Some(&beside))?;
            (borrowed, beside)
        };
        let stamp = stamp(&place);
        std::fs::write(&stamp, wanted).map_err(SdkError::io(stamp.display()))?;
        Ok(python)
    }

    /// The same for a test; `None` after saying loudly that the test is skipped.
    ///
    /// # Panics
    /// Where nothing may be skipped, as for a missing Envoy.
    pub fn provide_or_skip(test: &str) -> Option<Self> {
        match Self::provide() {
            Ok(python) => Some(python),
            Err(error) if provision::is_required() => panic!("{test}: {error}"),
            Err(error) => {
                announce(&format!("SKIPPED {test}: {error}"));
                None
            }
        }
    }

    /// Runs the check against a server, with this key as the client's own.
    ///
    /// # Errors
    /// Python cannot be run.
    pub fn check(&self, pair: Pair, server: SocketAddr, key: &str) -> Result<Outcome, SdkError> {
        self.run(pair.client.script(), pair, server, key)
    }

    /// Runs the check that is made for [`Aimock`](crate::aimock::Aimock) behind the server.
    ///
    /// # Errors
    /// Python cannot be run.
    pub fn check_aimock(&self, over: Over, server: SocketAddr, key: &str) -> Result<Outcome, SdkError> {
        self.run("aimock_check.py", Pair { client: Client::OpenAi, over }, server, key)
    }

    fn run(&self, script: &str, pair: Pair, server: SocketAddr, key: &str) -> Result<Outcome, SdkError> {
        let (base_url, api_key) = pair.client.variables();
        let mut command = self.command();
        command
            .arg(folder().join(script))
            .env(base_url, pair.client.base_url(server))
            .env("CHECK_OVER", pair.over.name())
            .env(api_key, key)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null());
        for name in OTHER_VARIABLES {
            command.env_remove(name);
        }
        self.outcome(&mut command)
    }

    /// Whether the schemas in this folder are those of the clients; `schemas.py` writes them.
    ///
    /// # Errors
    /// Python cannot be run.
    pub fn check_schemas(&self, schemas: &Path) -> Result<Outcome, SdkError> {
        let mut command = self.command();
        command.arg(folder().join("schemas.py")).arg("--check").arg(schemas).stdin(Stdio::null());
        self.outcome(command.env("PYTHONDONTWRITEBYTECODE", "1"))
    }

    fn outcome(&self, command: &mut Command) -> Result<Outcome, SdkError> {
        let output = command.output().map_err(SdkError::io(self.program.display()))?;
        let text = [output.stdout, output.stderr].concat();
        Ok(Outcome { passed: output.status.success(), text: String::from_utf8_lossy(&text).into_owned() })
    }

    fn install(&self, requirements: &Path, target: Option<&Path>) -> Result<(), SdkError> {
        let mut pip = self.command();
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--root-user-action=ignore",
        ]);
        if let Some(target) = target {
            pip.arg("--target").arg(target);
        }
        pip.arg("--requirement").arg(requirements).stdin(Stdio::null()).stdout(std::io::stderr());
        let status = pip.status().map_err(SdkError::io(self.program.display()))?;
        if status.success() { Ok(()) } else { Err(SdkError::Install(requirements.to_path_buf())) }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env_remove("PYTHONHOME").env_remove("PYTHONPATH");
        if let Some(packages) = &self.packages {
            command.env("PYTHONPATH", packages);
        }
        command
    }
}

/// `harness sdk`: the checks of all pairs against the gateway, or with `--direct` those of clients and vendors of one
/// API without one, which tells a fault of the check from one of the gateway.
pub fn run(arguments: &[String]) -> ExitCode {
    let checked = match arguments {
        [] => through_the_gateway(),
        [argument] if argument == "--direct" => direct(),
        _ => {
            eprintln!("usage: cargo harness sdk [--direct]");
            return ExitCode::from(2);
        }
    };
    match checked {
        Ok(outcomes) => {
            outcomes.iter().for_each(|outcome| print!("{}", outcome.text));
            let passed = outcomes.iter().all(|outcome| outcome.passed);
            if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("cargo harness sdk: {error}");
            ExitCode::FAILURE
        }
    }
}

fn through_the_gateway() -> Result<Vec<Outcome>, Box<dyn std::error::Error>> {
    let python = Python::provide()?;
    let binary = crate::envoy::provide()?;
    Pair::all().map(|pair| Ok(pair.check(&binary, &python)?.0)).collect()
}

fn direct() -> Result<Vec<Outcome>, Box<dyn std::error::Error>> {
    let python = Python::provide()?;
    let native = [
        Pair { client: Client::OpenAi, over: Over::Chats },
        Pair { client: Client::Responses, over: Over::Responses },
        Pair { client: Client::Anthropic, over: Over::Messages },
    ];
    let checked = native.into_iter().map(|pair| {
        let vendor = Vendor::start(pair.over.vendor());
        Ok(python.check(pair, vendor.addr(), VENDOR_KEY)?)
    });
    checked.collect()
}

/// The shipped gateway with the vendor that it has in the demo.
pub fn wanted() -> Wanted {
    Wanted { port: 0, admin_port: 0, backend: Backend::BuiltIn { pace: PACE } }
}

fn folder() -> PathBuf {
    workspace_root().join("test-harness/sdk")
}

fn stamp(place: &Path) -> PathBuf {
    place.join("installed.txt")
}

fn is_stamped(place: &Path, wanted: &str) -> bool {
    std::fs::read_to_string(stamp(place)).is_ok_and(|installed| installed == wanted)
}

/// Whether there is an environment now, with a pip of its own.
fn make_venv(place: &Path) -> bool {
    // Debian's python3 has the module but not what it needs, unless python3-venv is installed.
    succeeds(Command::new("python3").args(["-m", "venv"]).arg(place))
        && succeeds(Command::new(place.join("bin/python")).args(["-m", "pip", "--version"]))
}

fn version(program: impl AsRef<std::ffi::OsStr>) -> Option<String> {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn succeeds(command: &mut Command) -> bool {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
