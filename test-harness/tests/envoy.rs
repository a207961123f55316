//! The runner keeps its promises: free ports, readiness, a readable refusal, and nothing left behind.
#![allow(clippy::expect_used, reason = "what fails here fails a test")]

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use test_harness::envoy::{Envoy, EnvoyBinary, Options, Render, StartError, provide_or_skip, validate};
use test_harness::toolchain;

mod fixture;

fn render() -> Render {
    Render::from_value(fixture::gateway()).wasm("noop.wasm", toolchain::module("noop").expect("the module"))
}

fn start(binary: &EnvoyBinary) -> Envoy {
    Envoy::start(binary, render(), Options::default()).expect("Envoy starts")
}

#[test]
fn two_run_side_by_side_on_ports_of_their_own() {
    let Some(binary) = provide_or_skip("side by side") else { return };
    let (first, second) = (start(&binary), start(&binary));
    assert_ne!(first.port("gateway"), second.port("gateway"));
    assert_eq!(fixture::get(first.addr("gateway")), "served");
    assert_eq!(fixture::get(second.addr("")), "served");
    let stats = first.stats(r"^http\.gateway\.downstream_rq_2xx$").expect("stats");
    assert_eq!(stats.get("http.gateway.downstream_rq_2xx"), Some(&1), "{stats:?}");
    assert!(first.wait_for_log("Thread-Local Wasm created", Duration::from_secs(5)), "{}", first.log());
}

#[test]
fn dropped_envoy_is_gone_with_its_folder() {
    let Some(binary) = provide_or_skip("dropped") else { return };
    let mut envoy = start(&binary);
    let (admin, folder) = (envoy.admin(), envoy.folder().to_owned());
    assert!(envoy.is_running() && folder.join("envoy.json").is_file());
    drop(envoy);
    assert!(TcpStream::connect(("127.0.0.1", admin)).is_err());
    assert!(!folder.exists());
}

#[test]
fn panic_leaves_the_log_but_no_process() {
    let Some(binary) = provide_or_skip("panic") else { return };
    let envoy = start(&binary);
    let (admin, folder) = (envoy.admin(), envoy.folder().to_owned());
    let failed = std::thread::spawn(move || {
        let _envoy = envoy;
        panic!("a test that fails, as it should here");
    });
    assert!(failed.join().is_err());
    assert!(TcpStream::connect(("127.0.0.1", admin)).is_err());
    assert!(std::fs::read_to_string(folder.join("envoy.log")).is_ok_and(|log| !log.is_empty()));
    std::fs::remove_dir_all(folder).expect("the folder is kept");
}

#[test]
fn envoy_outlives_the_thread_that_started_it() {
    let Some(binary) = provide_or_skip("other thread") else { return };
    let started = std::thread::spawn(move || start(&binary));
    let mut envoy = started.join().expect("Envoy starts");
    assert_eq!(fixture::get(envoy.addr("gateway")), "served");
    assert!(envoy.is_running());
}

#[test]
fn port_of_another_program_is_not_shared() {
    let Some(binary) = provide_or_skip("port in use") else { return };
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("its address").port();
    let error =
        Envoy::start(&binary, render().listener_port("gateway", port), Options::default()).unwrap_err();
    assert!(matches!(error, StartError::PortInUse(found) if found == port), "{error}");
}

#[test]
fn fixed_ports_are_kept() {
    let Some(binary) = provide_or_skip("fixed ports") else { return };
    let free = || {
        TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port()
    };
    let (gateway, admin) = (free(), free());
    let render = render().listener_port("gateway", gateway).admin_port(admin);
    let envoy = Envoy::start(&binary, render, Options::default()).expect("Envoy starts");
    assert_eq!((envoy.port("gateway"), envoy.admin()), (gateway, admin));
}

#[test]
fn refused_config_gives_the_log() {
    let Some(binary) = provide_or_skip("refused config") else { return };
    let broken = || render().set("/static_resources/listeners/0/no_such_field", json!(1));
    for error in [
        Envoy::start(&binary, broken(), Options::default()).map(|_| ()).unwrap_err(),
        validate(&binary, broken(), Options::default()).unwrap_err(),
    ] {
        let StartError::Exited { log, .. } = &error else { panic!("{error}") };
        assert!(log.contains("no_such_field"), "{log}");
        // What `expect` shows has its lines intact.
        assert_eq!(format!("{error:?}"), error.to_string());
    }
    validate(&binary, render(), Options::default()).expect("the same without the field is taken");
}

#[test]
fn module_that_is_not_there_is_refused() {
    let Some(binary) = provide_or_skip("no module") else { return };
    let render = Render::from_value(fixture::gateway()).wasm("noop.wasm", Path::new("/nowhere/noop.wasm"));
    let error = validate(&binary, render, Options::default()).unwrap_err();
    assert!(error.to_string().contains("/nowhere/noop.wasm"), "{error}");
}
