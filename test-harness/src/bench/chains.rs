//! The filter chains that are measured, and the most each may cost.

use serde_json::{Value, json};

use super::traffic::{MODEL, Talk};
use super::{BenchError, native};
use crate::toolchain::{self, Built};

/// The token that ai-proxy puts in the place of the client's.
const VENDOR_TOKEN: &str = "sk-vendor-0123456789abcdef";
/// The model that ai-proxy asks for where it maps the client's.
const MAPPED_MODEL: &str = "gpt-4.1-nano-2025-04-14";

/// What stands before the router.
#[derive(Debug, Clone)]
pub struct Chain {
    /// What the chain is called in tables.
    pub name: String,
    /// The filters, in the order in which requests pass; none in the empty chain.
    pub filters: Vec<Filter>,
    /// Whether its filters do nothing: others of as many filters are compared with it.
    pub does_nothing: bool,
    /// Where they stand.
    pub place: Place,
    /// What the client speaks.
    pub client: Talk,
    /// What the vendor speaks.
    pub vendor: Talk,
    /// What may be said of it.
    pub bars: Bars,
}

/// Where the filters of a chain stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Before the router.
    Downstream,
    /// In the cluster's chain, which runs for each attempt.
    Upstream,
}

/// A Wasm filter and its configuration.
#[derive(Debug, Clone)]
pub struct Filter {
    /// Its module.
    pub module: Built,
    /// Its configuration.
    pub config: Value,
    /// Texts that the upstream must find in a request, or the filter did not do its work.
    pub upstream_sees: Vec<String>,
}

/// The most that a chain should cost; `None` where nothing is promised.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Bars {
    /// CPU of a request of 1 KiB: points over the do-nothing filter, in percent of the empty chain.
    pub small_points: Option<f64>,
    /// The same at 16 KiB.
    pub large_points: Option<f64>,
    /// CPU of a request of 1 KiB, in percent over the empty chain.
    pub small_over_empty: Option<f64>,
    /// CPU of a streamed event over the empty chain, in microseconds.
    pub event_us: Option<f64>,
    /// Time that loading adds to Envoy's start, in milliseconds.
    pub load_ms: Option<f64>,
}

impl Chain {
    /// A chain for chats, of which nothing is promised.
    pub(super) fn new(name: String, filters: Vec<Filter>) -> Self {
        let (place, client, vendor) = (Place::Downstream, Talk::Chats, Talk::Chats);
        Self { name, filters, does_nothing: false, place, client, vendor, bars: Bars::default() }
    }

    /// The router alone.
    pub fn empty() -> Self {
        Self::new("empty chain".to_owned(), Vec::new())
    }

    /// So many of the harness's own filter that does nothing, each in a VM of its own.
    ///
    /// # Errors
    /// It could not be built.
    pub fn do_nothing(count: usize) -> Result<Self, BenchError> {
        let filter = own("noop", Vec::new())?;
        let name =
            if count == 1 { "do-nothing filter".to_owned() } else { format!("{count} do-nothing filters") };
        Ok(Self { does_nothing: true, ..Self::new(name, vec![filter; count]) })
    }

    /// The harness's own filter that hears what this chain's one plugin hears, makes its host calls, and nothing of
    /// them: what is left of the plugin's cost beyond this one's is its own doing. `None`: nobody knows what it asks.
    ///
    /// # Errors
    /// It could not be built, or the plugin does not play an exchange.
    pub fn host_calls_of(plugin: &Self) -> Result<Option<Self>, BenchError> {
        let Some(calls) = native::host_calls(plugin)? else { return Ok(None) };
        let mut filter = own("hostcalls", Vec::new())?;
        filter.config = Value::String(calls.join("\n"));
        if let [plugin] = plugin.filters.as_slice() {
            filter.module = toolchain::like(&filter.module, &plugin.module)?;
        }
        let name = format!("host calls of {}", plugin.name);
        let Self { place, client, vendor, .. } = *plugin;
        Ok(Some(Self { place, client, vendor, ..Self::new(name, vec![filter]) }))
    }
}

/// A filter of the harness's own.
fn own(name: &str, upstream_sees: Vec<String>) -> Result<Filter, BenchError> {
    let module = toolchain::build_modules()?.into_iter().find(|module| module.name == name);
    let module = module.ok_or_else(|| BenchError::UnknownPlugin {
        name: name.to_owned(),
        known: "none of the harness's own modules has this name".to_owned(),
    })?;
    Ok(Filter { module, config: json!({}), upstream_sees })
}

/// The chains in which a plugin is measured: one for each way in which it is ordinarily used.
pub fn plugin_chains(module: &Built) -> Vec<Chain> {
    let chain = |use_case: &str, config: Value, upstream_sees: Vec<String>, bars: Bars| {
        let name =
            if use_case.is_empty() { module.name.clone() } else { format!("{}, {use_case}", module.name) };
        let filters = vec![Filter { module: module.clone(), config, upstream_sees }];
        Chain { bars, ..Chain::new(name, filters) }
    };
    let load_ms = Some(1000.0);
    match module.name.as_str() {
        "ai-proxy" => {
            let bars = Bars {
                small_points: Some(20.0),
                large_points: Some(30.0),
                event_us: Some(3.0),
                load_ms,
                ..Bars::default()
            };
            let provider = json!({ "type": "openai", "apiTokens": [VENDOR_TOKEN] });
            let mut mapping = provider.clone();
            mapping["modelMapping"] = json!({ MODEL: MAPPED_MODEL });
            let token = format!("Bearer {VENDOR_TOKEN}");
            let translated = |client: Talk, vendor: Talk, use_case: &str, provider: Value, sees: &str| {
                let bars =
                    Bars { small_over_empty: Some(60.0), event_us: Some(5.0), load_ms, ..Bars::default() };
                let chain = chain(
                    use_case,
                    json!({ "provider": provider }),
                    vec![VENDOR_TOKEN.to_owned(), sees.to_owned()],
                    bars,
                );
                Chain { client, vendor, ..chain }
            };
            let over = |client: &str, vendor: &str| {
                let mut provider = provider.clone();
                provider["translateApis"] = json!({ client: vendor });
                provider
            };
            let (chats, responses, messages) =
                ("openai/v1/chatcompletions", "openai/v1/responses", "anthropic/v1/messages");
            let claude = json!({ "type": "claude", "apiTokens": [VENDOR_TOKEN] });
            let each = chain(
                "for each attempt",
                json!({ "provider": provider }),
                vec![token.clone()],
                Bars::default(),
            );
            vec![
                Chain { place: Place::Upstream, ..each },
                translated(
                    Talk::Messages,
                    Talk::Chats,
                    "Messages over chats",
                    over(messages, chats),
                    "/v1/chat/completions",
                ),
                translated(Talk::Chats, Talk::Messages, "chats over Messages", claude, "/v1/messages"),
                translated(
                    Talk::Responses,
                    Talk::Chats,
                    "Responses over chats",
                    over(responses, chats),
                    "/v1/chat/completions",
                ),
                translated(
                    Talk::Chats,
                    Talk::Responses,
                    "chats over Responses",
                    over(chats, responses),
                    "/v1/responses",
                ),
                chain("", json!({ "provider": provider }), vec![token.clone(), MODEL.to_owned()], bars),
                chain(
                    "model mapped",
                    json!({ "provider": mapping }),
                    vec![token, MAPPED_MODEL.to_owned()],
                    bars,
                ),
            ]
        }
        "ai-statistics" => {
            let bars = Bars { small_points: Some(10.0), event_us: Some(2.5), load_ms, ..Bars::default() };
            let answer = json!({ "attributes": [{ "key": "answer", "apply_to_log": true }] });
            vec![
                chain("", json!({}), vec![MODEL.to_owned()], bars),
                chain("answers logged", answer, vec![MODEL.to_owned()], Bars { load_ms, ..Bars::default() }),
            ]
        }
        "model-mapper" => {
            let mapping = |from: &str| json!({ "modelMapping": { from: MAPPED_MODEL } });
            vec![
                chain("", mapping("another"), vec![MODEL.to_owned()], model_bars()),
                chain("model mapped", mapping(MODEL), vec![MAPPED_MODEL.to_owned()], model_bars()),
            ]
        }
        "model-router" => {
            let header = json!({ "modelToHeader": "x-ai-model" });
            vec![chain("", header, vec![format!("x-ai-model: {MODEL}")], model_bars())]
        }
        // A plugin that is not in this table yet shows what it costs with nothing to do.
        _ => vec![chain("", json!({}), Vec::new(), Bars { load_ms, ..Bars::default() })],
    }
}

fn model_bars() -> Bars {
    Bars { small_points: Some(15.0), large_points: Some(25.0), load_ms: Some(1000.0), ..Bars::default() }
}

/// The chains of several plugins that are ordinarily used together, as far as those plugins are there.
pub fn joint_chains(modules: &[Built]) -> Vec<Chain> {
    let find = |name: &str| modules.iter().find(|module| module.name == name).cloned();
    let names = ["model-router", "model-mapper", "ai-proxy"];
    let [Some(router), Some(mapper), Some(proxy)] = names.map(find) else { return Vec::new() };
    let filter = |module, config, sees: &str| Filter { module, config, upstream_sees: vec![sees.to_owned()] };
    vec![Chain {
        filters: vec![
            filter(router, json!({ "modelToHeader": "x-ai-model" }), &format!("x-ai-model: {MODEL}")),
            filter(mapper, json!({ "modelMapping": { MODEL: MAPPED_MODEL } }), MAPPED_MODEL),
            filter(
                proxy,
                json!({ "provider": { "type": "openai", "apiTokens": [VENDOR_TOKEN] } }),
                VENDOR_TOKEN,
            ),
        ],
        bars: Bars { small_points: Some(45.0), ..Bars::default() },
        ..Chain::new(names.join(" + "), Vec::new())
    }]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(name: &str) -> Built {
        Built { name: name.to_owned(), path: "plugin.wasm".into(), size: 1, budget_kib: None }
    }

    #[test]
    fn names_of_chains_differ() {
        for name in ["ai-proxy", "model-mapper"] {
            let names: Vec<String> =
                plugin_chains(&built(name)).into_iter().map(|chain| chain.name).collect();
            assert!(names.contains(&name.to_owned()) && names.contains(&format!("{name}, model mapped")));
            let mut unique = names.clone();
            unique.sort();
            unique.dedup();
            assert_eq!(unique.len(), names.len(), "{names:?}");
        }
    }

    #[test]
    fn statistics_are_measured_with_and_without_texts() {
        let names: Vec<String> =
            plugin_chains(&built("ai-statistics")).into_iter().map(|chain| chain.name).collect();
        assert_eq!(names, ["ai-statistics", "ai-statistics, answers logged"]);
    }

    #[test]
    fn plugin_without_an_entry_is_measured_all_the_same() {
        let chains = plugin_chains(&built("acme"));
        assert_eq!(chains.len(), 1);
        assert_eq!(chains[0].filters[0].config, json!({}));
    }

    #[test]
    fn plugins_are_measured_together_where_all_of_them_are_there() {
        let modules = ["ai-proxy", "model-mapper", "model-router"].map(built);
        let chains = joint_chains(&modules);
        assert_eq!(chains.len(), 1);
        assert_eq!(chains[0].name, "model-router + model-mapper + ai-proxy");
        assert_eq!(chains[0].filters.len(), 3);
        assert!(joint_chains(&modules[..2]).is_empty());
    }
}
