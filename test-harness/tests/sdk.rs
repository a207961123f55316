//! The official clients of OpenAI and Anthropic, over the shipped gateway and vendors of each API.
#![expect(clippy::expect_used, reason = "a panic is the verdict")]

use test_harness::aimock::Aimock;
use test_harness::demo::{Gateway, VENDOR_KEY};
use test_harness::envoy;
use test_harness::sdk::{self, CLIENT_KEY, Client, Over, Pair, Python};
use test_harness::upstream::Recorded;
use test_harness::vendor::Vendor;
use test_harness::workspace_root;

/// A test for each client and what it is carried over. Together they are all pairs: see the last one.
macro_rules! pairs {
    ($($test:ident: $client:ident over $over:ident;)*) => {
        const TESTED: &[Pair] = &[$(Pair { client: Client::$client, over: Over::$over }),*];
        $(#[test]
        fn $test() {
            check(stringify!($test), Pair { client: Client::$client, over: Over::$over });
        })*
    };
}

pairs! {
    chats_over_chats: OpenAi over Chats;
    chats_over_responses: OpenAi over Responses;
    chats_over_messages: OpenAi over Messages;
    responses_over_chats: Responses over Chats;
    responses_over_responses: Responses over Responses;
    responses_over_messages: Responses over Messages;
    messages_over_chats: Anthropic over Chats;
    messages_over_responses: Anthropic over Responses;
    messages_over_messages: Anthropic over Messages;
}

#[test]
fn no_pair_is_left_out() {
    assert_eq!(Pair::all().collect::<Vec<_>>(), TESTED);
}

fn check(test: &str, pair: Pair) {
    let Some(binary) = envoy::provide_or_skip(test) else { return };
    let Some(python) = Python::provide_or_skip(test) else { return };
    let (outcome, arrived) = pair.check(&binary, &python).expect("a gateway, and a Python that runs");
    assert!(outcome.passed, "{}", outcome.text);
    assert!(arrived.len() > 25, "only {} requests reached the vendor", arrived.len());
    for request in &arrived {
        let place = format!("{} {}", request.method, request.path());
        check_asked(request, pair.over, &place);
        let leaks =
            |bytes: &[u8]| bytes.windows(CLIENT_KEY.len()).any(|window| window == CLIENT_KEY.as_bytes());
        let leak = request.headers.iter().find(|(_, value)| leaks(value));
        assert_eq!(leak, None, "{place}");
        assert!(!leaks(&request.body) && !leaks(&request.raw_path), "{place}");
    }
}

/// The vendor must be asked in the API of the pair, as itself and with its own key.
fn check_asked(request: &Recorded, over: Over, place: &str) {
    let path = request.path();
    let is_of_another = Over::ALL.iter().any(|other| *other != over && path == other.path());
    assert!(!is_of_another, "{place}");
    let (host, name, key) = match over {
        Over::Messages => ("api.anthropic.com", "x-api-key", VENDOR_KEY.to_owned()),
        Over::Chats | Over::Responses => ("api.openai.com", "authorization", format!("Bearer {VENDOR_KEY}")),
    };
    assert_eq!(request.host().as_deref(), Some(host), "{place}");
    assert_eq!(request.header(name), Some(key), "{place}");
    let other = if over == Over::Messages { "authorization" } else { "x-api-key" };
    assert_eq!(request.header(other), None, "{place}");
}

/// The vendor of the tests above is ours, and so may share our errors; this one is not.
#[test]
fn the_openai_client_works_over_a_vendor_of_somebody_elses() {
    let test = "the OpenAI client over aimock";
    let Some(binary) = envoy::provide_or_skip(test) else { return };
    let Some(python) = Python::provide_or_skip(test) else { return };
    for pair in [
        // Both of the client's APIs over Anthropic's, and each over the other.
        Pair { client: Client::OpenAi, over: Over::Messages },
        Pair { client: Client::OpenAi, over: Over::Responses },
        Pair { client: Client::Responses, over: Over::Chats },
    ] {
        let Some(aimock) = Aimock::start_or_skip(test, VENDOR_KEY) else { return };
        let gateway =
            Gateway::start_before(&binary, pair.config().as_ref(), aimock.addr()).expect("a gateway");
        let outcome = python.check_aimock(pair.over, gateway.addr(), CLIENT_KEY).expect("a Python that runs");
        assert!(outcome.passed, "{}", outcome.text);
        let paths = aimock.paths();
        assert!(paths.len() > 15 && paths.iter().all(|path| path == pair.over.path()), "{paths:?}");
    }
}

#[test]
fn the_openai_client_works_over_a_gateway_that_counts_and_its_tokens_are_counted() {
    let test = "the OpenAI client over a gateway that counts";
    let Some(binary) = envoy::provide_or_skip(test) else { return };
    let Some(python) = Python::provide_or_skip(test) else { return };
    let config = "examples/observability/envoy.yaml";
    let gateway = Gateway::start_from(&binary, config, &sdk::wanted()).expect("the example's gateway");
    let pair = Pair { client: Client::OpenAi, over: Over::Chats };
    let outcome = python.check(pair, gateway.addr(), CLIENT_KEY).expect("a Python that runs");
    assert!(outcome.passed, "{}", outcome.text);
    let stats = gateway.envoy().stats("total_token").expect("the statistics");
    assert!(!stats.is_empty() && stats.values().all(|count| *count > 0), "{stats:?}");
}

/// Otherwise the tests above would prove nothing about keys.
#[test]
fn the_vendor_itself_refuses_the_clients_key() {
    let Some(python) = Python::provide_or_skip("clients without the gateway") else { return };
    for pair in [
        Pair { client: Client::OpenAi, over: Over::Chats },
        Pair { client: Client::Anthropic, over: Over::Messages },
    ] {
        let vendor = Vendor::start(pair.over.vendor());
        let outcome = python.check(pair, vendor.addr(), CLIENT_KEY).expect("a Python that runs");
        assert!(!outcome.passed && outcome.text.contains("AuthenticationError"), "{}", outcome.text);
    }
}

/// What is translated is listed field by field, from these.
#[test]
fn the_ledgers_of_translations_are_of_the_clients_own_schemas() {
    let Some(python) = Python::provide_or_skip("the request schemas of the official clients") else { return };
    let schemas = workspace_root().join("plugins/ai-proxy/tests/ledger/schema");
    let outcome = python.check_schemas(&schemas).expect("a Python that runs");
    assert!(outcome.passed, "{}", outcome.text);
}
