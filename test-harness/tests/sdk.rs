//! The official clients of OpenAI and Anthropic, over the shipped gateway.
#![expect(clippy::expect_used, reason = "a panic is the verdict")]

use std::time::Duration;

use test_harness::demo::{Gateway, VENDOR_KEY};
use test_harness::envoy;
use test_harness::sdk::{self, CLIENT_KEY, Client, Python};
use test_harness::vendor::{self, Vendor};

#[test]
fn the_openai_client_works_over_the_gateway_and_its_own_key_goes_no_further() {
    check("the OpenAI client over the gateway", Client::OpenAi, 20);
}

#[test]
fn the_anthropic_client_works_over_a_vendor_that_does_not_know_it() {
    check("the Anthropic client over the gateway", Client::Anthropic, 15);
}

fn check(test: &str, client: Client, least: usize) {
    let Some(binary) = envoy::provide_or_skip(test) else { return };
    let Some(python) = Python::provide_or_skip(test) else { return };
    let gateway = Gateway::start(&binary, &sdk::wanted()).expect("the shipped gateway");
    let outcome = python.check(client, gateway.addr(), CLIENT_KEY).expect("a Python that runs");
    assert!(outcome.passed, "{}", outcome.text);

    let arrived = gateway.vendor().expect("the built-in vendor").take();
    assert!(arrived.len() > least, "only {} requests reached the vendor", arrived.len());
    for request in arrived {
        let place = format!("{} {}", request.method, request.path());
        assert_eq!(request.header("authorization"), Some(format!("Bearer {VENDOR_KEY}")), "{place}");
        assert_eq!(request.host().as_deref(), Some("api.openai.com"), "{place}");
        let leaks =
            |bytes: &[u8]| bytes.windows(CLIENT_KEY.len()).any(|window| window == CLIENT_KEY.as_bytes());
        let leak = request.headers.iter().find(|(_, value)| leaks(value));
        assert_eq!(leak, None, "{place}");
        assert!(!leaks(&request.body) && !leaks(&request.raw_path), "{place}");
    }
}

#[test]
fn the_openai_client_works_over_a_gateway_that_counts_and_its_tokens_are_counted() {
    let test = "the OpenAI client over a gateway that counts";
    let Some(binary) = envoy::provide_or_skip(test) else { return };
    let Some(python) = Python::provide_or_skip(test) else { return };
    let config = "examples/observability/envoy.yaml";
    let gateway = Gateway::start_from(&binary, config, &sdk::wanted()).expect("the example's gateway");
    let outcome = python.check(Client::OpenAi, gateway.addr(), CLIENT_KEY).expect("a Python that runs");
    assert!(outcome.passed, "{}", outcome.text);
    let stats = gateway.envoy().stats("total_token").expect("the statistics");
    assert!(!stats.is_empty() && stats.values().all(|count| *count > 0), "{stats:?}");
}

/// Otherwise the test above would prove nothing about keys.
#[test]
fn the_vendor_itself_refuses_the_clients_key() {
    let Some(python) = Python::provide_or_skip("the OpenAI client without the gateway") else { return };
    let vendor = Vendor::start(vendor::Options { key: VENDOR_KEY.to_owned(), ..Default::default() });
    let outcome = python.check(Client::OpenAi, vendor.addr(), CLIENT_KEY).expect("a Python that runs");
    assert!(!outcome.passed && outcome.text.contains("AuthenticationError"), "{}", outcome.text);
}
