//! The benchmark's machinery, in a run too small to say what anything costs.

use test_harness::bench::{self, Chain, Plan};
use test_harness::envoy;

#[test]
fn a_tiny_run_finds_costs_above_zero_and_writes_them_as_json() {
    if envoy::provide_or_skip("the benchmark").is_none() {
        return;
    }
    let plan = Plan {
        rounds: 2,
        small_requests: 200,
        large_requests: 100,
        streams: 1,
        events: 50,
        timed_exchanges: 20,
        warm_up_requests: 100,
        starts: 1,
    };
    let plugins = test_harness::toolchain::build_plugins().unwrap();
    let proxy = plugins.iter().find(|plugin| plugin.name == "ai-proxy").unwrap();
    let of_proxy = bench::plugin_chains(proxy);
    let translated = of_proxy.iter().find(|chain| chain.name == "ai-proxy, Messages over chats").unwrap();
    let chains = [
        Chain::empty(),
        Chain::do_nothing(1).unwrap(),
        Chain::do_nothing(3).unwrap(),
        Chain::host_calls_of(translated).unwrap().unwrap(),
    ];
    let report = bench::measure(&chains, &plan).unwrap();

    let json: serde_json::Value = serde_json::from_str(&bench::json(&report)).unwrap();
    assert_eq!(json["plan"]["small_requests"], 200);
    let chains = json["chains"].as_array().unwrap();
    let names: Vec<&str> = chains.iter().filter_map(|chain| chain["chain"].as_str()).collect();
    let calls = "host calls of ai-proxy, Messages over chats";
    assert_eq!(names, ["empty chain", "do-nothing filter", "3 do-nothing filters", calls]);
    for chain in chains {
        for figure in
            ["/small/us/min", "/large/us/min", "/event_us/min", "/p50_us", "/resident_mib", "/start_ms/min"]
        {
            let value = chain.pointer(figure).and_then(serde_json::Value::as_f64);
            assert!(value.is_some_and(|value| value > 0.0), "{figure} is {value:?} in {chain}");
        }
        assert_eq!(chain["samples"]["small_us"].as_array().map(Vec::len), Some(2));
    }
    assert_eq!(chains[0]["wasm_kib"], serde_json::Value::Null);
    assert_eq!(chains[2]["wasm_kib"], serde_json::Value::Null);
    assert!(chains[1]["wasm_kib"].as_f64().is_some_and(|size| size > 1.0));
}
