//! `cargo demo`: what it shows, and that nothing of it stays.
#![cfg(target_os = "linux")] // Children are looked for in `/proc`.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what fails here fails a test"
)]

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use test_harness::client::{Request, send};
use test_harness::demo::{Backend, Options, demo};
use test_harness::envoy;

/// A container takes its time to go.
const PATIENCE: Duration = Duration::from_secs(30);

/// One test at a time: each looks at all children of this process.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// State and parent of every process.
fn processes() -> Vec<(u32, String, u32)> {
    let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
    let stats = entries.filter_map(|entry| {
        let pid = entry.file_name().to_string_lossy().parse::<u32>().ok()?;
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        let (_, rest) = stat.rsplit_once(')')?;
        let mut fields = rest.split_ascii_whitespace();
        Some((pid, fields.next()?.to_owned(), fields.next()?.parse().ok()?))
    });
    stats.collect()
}

fn children(of: u32) -> Vec<u32> {
    processes().into_iter().filter(|(_, _, parent)| *parent == of).map(|(pid, ..)| pid).collect()
}

/// Whether they end in time. What is dead and only waits to be noticed has ended.
fn are_gone(pids: &[u32]) -> bool {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let alive = processes().into_iter().any(|(pid, state, _)| pids.contains(&pid) && state != "Z");
        if !alive || Instant::now() > deadline {
            return !alive;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Runs the demo once, on ports given or free.
fn once(port: u16, admin_port: u16) -> String {
    let options = Options {
        once: true,
        port,
        admin_port,
        backend: Backend::BuiltIn { pace: Duration::from_millis(1) },
        has_colours: false,
    };
    let mut out = Vec::new();
    let ended = demo(&options, &mut out);
    let text = String::from_utf8(out).expect("text");
    assert!(ended.is_ok(), "{text}\n{ended:?}");
    text
}

#[test]
fn a_demo_shows_both_chats_and_leaves_no_process() {
    let _alone = alone();
    let Some(_) = envoy::provide_or_skip("the demo") else { return };
    let text = once(0, 0);
    let shown = text.split_once("POST /v1/chat/completions\n").expect("a chat").1;
    let (chat, stream) = shown.split_once("POST /v1/chat/completions, streamed\n").expect("a streamed chat");
    for (part, question) in
        [(chat, "What does an AI gateway do?"), (stream, "And what is streaming good for?")]
    {
        assert!(part.contains(&format!("  > {question}")), "{text}");
        assert!(part.contains(&format!("  < You said \"{question}")), "{text}");
        assert!(part.contains("I am a mock vendor"), "{text}");
        assert!(part.contains("\n    200, "), "{text}");
    }
    assert!(stream.contains(" events in "), "{text}");
    assert!(!text.contains('\x1b'), "{text}");
    assert_eq!(children(std::process::id()), [0_u32; 0]);
}

#[test]
fn a_taken_port_is_told_and_replaced() {
    let _alone = alone();
    let Some(_) = envoy::provide_or_skip("the demo beside another program") else { return };
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("its address").port();
    let text = once(port, port);
    assert!(
        text.contains(&format!("port {port} is taken, so it is a free one instead (--port chooses)")),
        "{text}"
    );
    assert!(
        text.contains(&format!("port {port} is taken, so it is a free one instead (--admin-port chooses)")),
        "{text}"
    );
    assert!(!text.contains(&format!("http://127.0.0.1:{port} ")), "{text}");
    assert!(text.contains("I am a mock vendor"), "{text}");
}

/// The demo as a process of its own, ended with the test.
struct Running {
    process: Child,
    shown: Vec<String>,
    out: BufReader<ChildStdout>,
    err: BufReader<ChildStderr>,
}

impl Running {
    /// Starts it and waits until it says that it stays up.
    fn start() -> Self {
        let mut process = command(&["--port", "0", "--admin-port=0"]).spawn().expect("the harness");
        let out = BufReader::new(process.stdout.take().expect("its output"));
        let err = BufReader::new(process.stderr.take().expect("its complaints"));
        let mut running = Self { process, shown: Vec::new(), out, err };
        while running.shown.last().is_none_or(|line| line != "Ctrl-C ends it.") {
            let mut line = String::new();
            let read = running.out.read_line(&mut line).expect("its output");
            assert!(read > 0, "it ended after: {:#?}", running.shown);
            running.shown.push(line.trim_end().to_owned());
        }
        running
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).expect("the harness is there");
    }

    /// What follows a name in the list of facts.
    fn fact(&self, name: &str) -> &str {
        let fact = self.shown.iter().find_map(|line| line.trim_start().strip_prefix(name)?.strip_prefix(' '));
        fact.unwrap_or_else(|| panic!("no `{name}` in {:#?}", self.shown)).trim()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_harness"));
    command.arg("demo").args(arguments).env_remove("OPENAI_API_KEY");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn address(url: &str) -> SocketAddr {
    let rest = url.strip_prefix("http://").expect("a URL");
    rest.split([' ', '/']).next().and_then(|address| address.parse().ok()).expect("an address")
}

#[test]
fn a_demo_stays_up_as_it_says_until_it_is_interrupted() {
    let _alone = alone();
    let Some(_) = envoy::provide_or_skip("the demo that stays up") else { return };
    for signal in [Signal::INT, Signal::TERM] {
        let mut demo = Running::start();
        let gateway = address(demo.fact("gateway"));
        assert!(
            demo.shown
                .iter()
                .any(|line| line.contains(&format!("curl http://{gateway}/v1/chat/completions")))
        );
        let body =
            json!({ "model": "gpt-4o-mini", "messages": [{ "role": "user", "content": "Still there?" }] });
        let answer = send(gateway, &Request::post_json("/v1/chat/completions", &body)).expect("an answer");
        assert!(answer.text().contains("Still there?"), "{}", answer.text());
        for (name, path, expected) in [
            ("metrics", "/stats/prometheus", "envoy_"),
            ("stats", "/stats?filter=cluster.openai", "cluster.openai."),
        ] {
            assert!(demo.fact(name).ends_with(path), "{}", demo.fact(name));
            let stats = send(address(demo.fact("admin")), &Request::get(path)).expect("stats");
            assert!(stats.text().contains(expected), "{}", stats.text());
        }
        let log = test_harness::workspace_root().join(demo.fact("log"));
        assert!(
            std::fs::read_to_string(&log).is_ok_and(|log| log.contains("/v1/chat/completions")),
            "{}",
            log.display()
        );

        let below = children(demo.process.id());
        assert_eq!(below.len(), 1, "{below:?}");
        demo.signal(signal);
        assert_eq!(demo.process.wait().expect("its status").code(), Some(0));
        assert!(are_gone(&below), "{below:?}");
        assert!(!log.exists(), "{}", log.display());
    }
}

#[test]
fn a_demo_that_is_killed_takes_envoy_with_it() {
    let _alone = alone();
    let Some(_) = envoy::provide_or_skip("the demo that is killed") else { return };
    let mut demo = Running::start();
    let below = children(demo.process.id());
    assert_eq!(below.len(), 1, "{below:?}");
    demo.signal(Signal::KILL);
    assert_eq!(demo.process.wait().expect("its status").signal(), Some(Signal::KILL.as_raw()));
    assert!(are_gone(&below), "{below:?}");
    // It had no time to do so itself.
    let log = test_harness::workspace_root().join(demo.fact("log"));
    std::fs::remove_dir_all(log.parent().expect("its folder")).expect("the folder of its run");
}

#[test]
fn a_demo_says_so_when_its_envoy_ends() {
    let _alone = alone();
    let Some(_) = envoy::provide_or_skip("the demo whose Envoy ends") else { return };
    let mut demo = Running::start();
    let below = children(demo.process.id());
    let envoy = i32::try_from(below[0]).ok().and_then(Pid::from_raw).expect("its Envoy");
    kill_process(envoy, Signal::KILL).expect("Envoy is there");
    assert_eq!(demo.process.wait().expect("its status").code(), Some(1));
    let complaint: Vec<String> = demo.err.by_ref().lines().map_while(Result::ok).collect();
    assert!(complaint.iter().any(|line| line.contains("cargo demo: Envoy has ended")), "{complaint:#?}");
}

#[test]
fn a_demo_without_an_envoy_ends_with_one_message() {
    let mut command = command(&["--once"]);
    // In a container it would not be asked for.
    command.env("ENVOY_BIN", "/nowhere/envoy").env_remove(envoy::DOCKER_VARIABLE);
    let output = command.output().expect("the harness");
    assert_eq!(output.status.code(), Some(1));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(complaint.contains("cargo demo: no usable Envoy"), "{complaint}");
    assert!(complaint.contains("/nowhere/envoy"), "{complaint}");
}
