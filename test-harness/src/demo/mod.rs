//! `cargo demo`: the shipped gateway on this machine, with a vendor of its own behind it.

mod gateway;
mod options;
mod stay;
mod talk;

use std::io::{self, IsTerminal as _, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

pub use gateway::{Backend, Gateway, VENDOR_KEY, Wanted};
pub use options::Options;

use crate::{client, envoy, toolchain, workspace_root};

/// The pause between two pieces of a streamed answer: slow enough to be seen.
const PACE: Duration = Duration::from_millis(30);

/// Why the demo ended.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// A plugin could not be built.
    #[error(transparent)]
    Toolchain(#[from] toolchain::Error),
    /// There is no Envoy.
    #[error(transparent)]
    Unavailable(#[from] envoy::Unavailable),
    /// Envoy did not start.
    #[error(transparent)]
    Start(#[from] envoy::StartError),
    /// The gateway could not be asked.
    #[error("{what}: {source}; Envoy's log ends with:\n{log}")]
    NoAnswer {
        /// What was asked for.
        what: &'static str,
        /// What the client saw.
        source: client::ClientError,
        /// The end of the log.
        log: String,
    },
    /// The gateway answered something else.
    #[error("{what}: {got}\nEnvoy's log ends with:\n{log}")]
    WrongAnswer {
        /// What was asked for.
        what: &'static str,
        /// What came.
        got: String,
        /// The end of the log.
        log: String,
    },
    /// Envoy is gone, though nobody asked it to leave.
    #[error("Envoy has ended; its log ends with:\n{log}")]
    EnvoyEnded {
        /// The end of the log.
        log: String,
    },
    /// What there is to say cannot be written, or signals cannot be caught.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// `harness demo`: shows two chats, then stays up until Ctrl-C.
pub fn run(arguments: &[String]) -> ExitCode {
    let mut options = match Options::parse(arguments) {
        Ok(options) => options,
        Err(complaint) => {
            eprintln!("{complaint}\n\n{}", options::USAGE);
            return ExitCode::from(2);
        }
    };
    let key = std::env::var("OPENAI_API_KEY");
    if key.is_ok_and(|key| !key.is_empty()) {
        options.backend = Backend::OpenAi;
    }
    options.has_colours = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    match demo(&options, &mut io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\ncargo demo: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The whole of it, told to `out`.
///
/// # Errors
/// Something is missing, or a chat did not go as it should.
pub fn demo(options: &Options, out: &mut dyn Write) -> Result<(), DemoError> {
    let mut screen = Screen { out, has_colours: options.has_colours };
    screen.fact("plugins", "building what is not built yet")?;
    for plugin in toolchain::build_plugins()? {
        screen.fact("", &format!("{}.wasm, {:.0} KiB", plugin.name, plugin.size as f64 / 1024.0))?;
    }
    screen.fact("envoy", "looking for one, or fetching it")?;
    let binary = envoy::provide()?;
    screen.fact("", &format!("{}, {}", binary.version, shown(&binary.path)))?;
    screen.fact(
        "vendor",
        match options.backend {
            Backend::BuiltIn { .. } => "built in; with OPENAI_API_KEY set it is the real one",
            Backend::OpenAi => "api.openai.com, with the key in OPENAI_API_KEY",
        },
    )?;
    let wanted = Wanted {
        port: screen.free_port("--port", options.port)?,
        admin_port: screen.free_port("--admin-port", options.admin_port)?,
        backend: options.backend,
    };
    let mut gateway = Gateway::start(&binary, &wanted)?;
    screen.fact("gateway", &format!("http://{} runs {}", gateway.addr(), gateway::CONFIG))?;

    talk::chat(&gateway, &mut screen)?;
    talk::streamed_chat(&gateway, &mut screen)?;
    if options.once {
        return Ok(());
    }
    let signals = stay::Signals::catch()?;
    invite(&gateway, &mut screen)?;
    signals.wait(&mut gateway)?;
    screen.line("\nEnded.")?;
    Ok(())
}

/// What a person can do now.
fn invite(gateway: &Gateway, screen: &mut Screen<'_>) -> io::Result<()> {
    let url = format!("http://{}", gateway.addr());
    let admin = format!("http://127.0.0.1:{}", gateway.envoy().admin());
    let post = |options: &str, more: &str| {
        format!(
            "  curl {options}{url}/v1/chat/completions -H 'content-type: application/json' \\\n       -d '{{\"model\":\"{}\",\
             \"messages\":[{{\"role\":\"user\",\"content\":\"Hello\"}}]{more}}}'",
            talk::MODEL,
        )
    };
    screen.line("")?;
    screen.title("Try it")?;
    screen.line(&post("", ""))?;
    screen.line(&post("-N ", ",\"stream\":true"))?;
    screen.line(&format!("  curl {url}/v1/models\n"))?;
    screen.fact("admin", &admin)?;
    screen.fact("metrics", &format!("{admin}/stats/prometheus"))?;
    screen.fact("stats", &format!("{admin}/stats?filter=cluster.openai"))?;
    screen.fact("log", &shown(&gateway.envoy().folder().join("envoy.log")))?;
    screen.line("\nCtrl-C ends it.")
}

/// A path as it is shorter to read.
fn shown(path: &Path) -> String {
    path.strip_prefix(workspace_root()).unwrap_or(path).display().to_string()
}

/// Where the demo tells what it does.
struct Screen<'a> {
    out: &'a mut dyn Write,
    has_colours: bool,
}

impl Screen<'_> {
    fn line(&mut self, text: &str) -> io::Result<()> {
        self.say(text)?;
        self.say("\n")
    }

    /// Writes at once, so that a stream shows as it comes.
    fn say(&mut self, text: &str) -> io::Result<()> {
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }

    fn title(&mut self, text: &str) -> io::Result<()> {
        let text = self.styled("1", text);
        self.line(&text)
    }

    /// A line below the facts before it; without a name it belongs to the one above.
    fn fact(&mut self, name: &str, text: &str) -> io::Result<()> {
        let name = self.styled("36", &format!("{name:<8}"));
        self.line(&format!("  {name} {text}"))
    }

    fn styled(&self, style: &str, text: &str) -> String {
        if self.has_colours { format!("\x1b[{style}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// The port if it is free; else 0, which is any, after saying so.
    fn free_port(&mut self, name: &str, port: u16) -> io::Result<u16> {
        if gateway::is_free(port) {
            return Ok(port);
        }
        self.fact("", &format!("port {port} is taken, so it is a free one instead ({name} chooses)"))?;
        Ok(0)
    }
}
