//! The same gateway in a container, where a Docker engine answers and has the image.
//!
//! A test of its own program, since the choice of a container holds for a whole process.

use test_harness::envoy::{
    Envoy, Options, Render, docker_image, docker_image_is_local, docker_unavailable, provide, want_docker,
};
use test_harness::{announce, toolchain};

mod fixture;

#[test]
fn an_envoy_in_a_container_serves_and_goes() {
    if let Some(reason) = docker_unavailable() {
        announce(&format!("SKIPPED the container test: {reason}"));
        return;
    }
    if !docker_image_is_local() {
        announce(&format!("SKIPPED the container test: no image {} here", docker_image()));
        return;
    }
    want_docker();
    let binary = provide().expect("a Docker engine");
    let module = toolchain::module("noop").expect("the module");
    let render = || Render::from_value(fixture::gateway()).wasm("noop.wasm", &module);
    test_harness::envoy::validate(&binary, render(), Options::default()).expect("a config that Envoy takes");

    let mut envoy = Envoy::start(&binary, render(), Options::default()).expect("Envoy starts");
    assert_eq!(fixture::get(envoy.addr("gateway")), "served");
    assert!(envoy.is_running());
    assert!(envoy.log().contains("Thread-Local Wasm created"), "{}", envoy.log());
    let admin = envoy.admin();
    drop(envoy);
    assert!(std::net::TcpStream::connect(("127.0.0.1", admin)).is_err(), "the container is still there");
}
