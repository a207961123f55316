//! What can be said in a configuration, compiled for the request path.

use std::collections::BTreeMap;
use std::rc::Rc;

use common::config::{ConfigError, Node, Secret, Section};
use common::llm::api::Api;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::context::{Context, ContextSettings};
use crate::credential::{Auth, BadTokens, Credentials};
use crate::failover::{Failover, FailoverSettings};
use crate::model_mapping::ModelMapping;
use crate::models::ModelList;
use crate::path::{self, BasePath, Paths};
use crate::provider::{self, Profile, Provider};
use crate::retry::{Retry, RetrySettings};

/// Envoy's own default limit. A plugin cannot read the limit that is set, so it takes the least.
const DEFAULT_MAX_BODY_BYTES: usize = 1 << 20;

/// Headers in which an authentication filter before this one names the consumer.
const CONSUMER_HEADERS: [&str; 2] = ["x-consumer", "x-mse-consumer"];

/// One config object, ready to run.
#[derive(Debug)]
pub struct Config {
    /// `None`: this configuration names no provider, so the plugin leaves requests alone.
    pub(crate) active: Option<ActiveProvider>,
    pub(crate) max_body_bytes: usize,
    pub(crate) pin_cluster: bool,
    pub(crate) keep_original_auth: bool,
    /// In order of precedence.
    pub(crate) consumer_headers: Vec<String>,
}

/// The provider in charge, compiled.
pub(crate) struct ActiveProvider {
    pub(crate) profile: &'static Profile,
    pub(crate) provider: Box<dyn Provider>,
    pub(crate) protocol: Protocol,
    /// `None`: the client's stays.
    pub(crate) authority: Option<Rc<[u8]>>,
    pub(crate) paths: Paths,
    pub(crate) credentials: Credentials,
    pub(crate) models: ModelMapping,
    /// Answers `/v1/models` where the vendor has no such list.
    pub(crate) model_list: Option<ModelList>,
    /// Milliseconds, as the header that carries them.
    pub(crate) first_byte_timeout: Option<String>,
    pub(crate) asks_for_usage: bool,
    pub(crate) failover: Option<Failover>,
    pub(crate) retry: Option<Retry>,
    /// Put into every chat.
    pub(crate) context: Option<Context>,
    /// For these a consumer stays with one token too, though no vendor keeps their state.
    pub(crate) affinity_apis: Vec<Api>,
}

impl std::fmt::Debug for ActiveProvider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ActiveProvider").field("kind", &self.profile.kind).finish_non_exhaustive()
    }
}

/// What the client and the vendor speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// The client speaks a published API, and the request is made to fit the vendor.
    OpenAi,
    /// The client speaks the vendor's own: only host and credentials are ours.
    Original,
}

/// What stands in a config object, beside the reserved keys.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Container {
    /// Declared, so that the key is known; `active_node` reads it.
    provider: IgnoredAny,
    /// Declared, so that the key is known; `active_node` reads it.
    providers: IgnoredAny,
    active_provider_id: Option<String>,
    max_body_bytes: Option<usize>,
    pin_cluster: Option<bool>,
    keep_original_auth: Option<bool>,
    consumer_header: Option<String>,
    disable_stream_usage_stats: Option<bool>,
}

/// Settings of every provider. Those of one vendor stand in its file.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Settings {
    /// Declared, so that the key is known; `active_node` reads it.
    id: IgnoredAny,
    /// Declared, so that the key is known; [`ActiveProvider::load`] reads it.
    r#type: IgnoredAny,
    /// Of the call for the context file, and of nothing else.
    timeout: u64,
    api_tokens: Vec<Secret>,
    auth_header_key: String,
    protocol: String,
    model_mapping: ModelMapping,
    capabilities: BTreeMap<String, String>,
    base_path: String,
    base_path_handling: String,
    sub_path: String,
    provider_base_path: String,
    provider_domain: String,
    first_byte_timeout: u64,
    disable_stream_usage_stats: bool,
    failover: Option<FailoverSettings>,
    retry_on_failure: Option<RetrySettings>,
    context: Option<ContextSettings>,
    affinity_apis: Vec<String>,
}

impl Config {
    /// Compiles one config object.
    ///
    /// A rule takes what it does not say from the global configuration, but for the choice of the
    /// provider: a rule without one switches the plugin off.
    ///
    /// # Errors
    /// What is wrong and where.
    pub(crate) fn load(section: &mut Section<'_>) -> Result<Self, ConfigError> {
        let own: Container = section.read()?;
        let max_body_bytes =
            inherited(section, "maxBodyBytes", own.max_body_bytes)?.unwrap_or(DEFAULT_MAX_BODY_BYTES);
        let pin_cluster = inherited(section, "pinCluster", own.pin_cluster)?;
        let keep_original_auth = inherited(section, "keepOriginalAuth", own.keep_original_auth)?;
        let consumer_header = inherited(section, "consumerHeader", own.consumer_header)?;
        let disable_usage =
            inherited(section, "disableStreamUsageStats", own.disable_stream_usage_stats)?.unwrap_or(false);
        let active = match active_node(section, own.active_provider_id.as_deref())? {
            Some(node) => Some(ActiveProvider::load(section, &node, !disable_usage, max_body_bytes)?),
            None => None,
        };
        let consumer_headers = match consumer_header.filter(|name| !name.is_empty()) {
            Some(name) => vec![name.to_ascii_lowercase()],
            None => CONSUMER_HEADERS.map(str::to_owned).to_vec(),
        };
        Ok(Self {
            active,
            max_body_bytes,
            pin_cluster: pin_cluster.unwrap_or(false),
            keep_original_auth: keep_original_auth.unwrap_or(false),
            consumer_headers,
        })
    }
}

/// A rule's own value, else the global one.
fn inherited<T: DeserializeOwned>(
    section: &mut Section<'_>,
    key: &str,
    own: Option<T>,
) -> Result<Option<T>, ConfigError> {
    if own.is_some() {
        return Ok(own);
    }
    match section.global().and_then(|global| global.get(key)) {
        Some(node) => section.read_node::<Option<T>>(&node),
        None => Ok(None),
    }
}

/// The provider in charge of one config object: its `provider`, else the entry of `providers` with
/// the id that this very object names. None is no error: the plugin is off then.
fn active_node<'a>(section: &mut Section<'a>, id: Option<&str>) -> Result<Option<Node<'a>>, ConfigError> {
    let present = |node: &Node<'a>, key: &str| node.get(key).filter(|node| !node.value().is_null());
    let own = section.node();
    if let Some(provider) = present(&own, "provider") {
        return Ok(Some(provider));
    }
    let Some(id) = id.filter(|id| !id.is_empty()) else { return Ok(None) };
    let listed = present(&own, "providers").or_else(|| {
        section.global().and_then(|global| present(&global, "provider").or(present(&global, "providers")))
    });
    let entries = listed.map(|listed| listed.items()).unwrap_or_default();
    let found = entries.into_iter().find(|entry| entry.get("id").is_some_and(|node| text_of(&node) == id));
    if found.is_none() {
        let path = own.get("activeProviderId").map_or_else(String::new, |node| node.path().to_owned());
        section
            .warn(&path, format!("no provider has the id `{id}`, so the plugin leaves these requests alone"));
    }
    Ok(found)
}

/// A name, which may be written as a number.
pub(crate) fn text_of(node: &Node<'_>) -> String {
    node.value().as_str().map_or_else(|| node.value().to_string(), str::to_owned)
}

impl ActiveProvider {
    /// How this API wants its key.
    pub(crate) fn auth(&self, api: Option<Api>) -> Auth {
        api.map_or(self.profile.auth, |api| self.provider.auth(api))
    }

    fn load(
        section: &mut Section<'_>,
        node: &Node<'_>,
        asks_for_usage: bool,
        max_body_bytes: usize,
    ) -> Result<Self, ConfigError> {
        if !node.value().is_object() {
            return Err(node.error("expected an object"));
        }
        let kind = node.get("type").filter(|kind| !kind.value().is_null());
        let Some(kind) = kind else { return Err(node.error("missing type in provider config")) };
        let name = text_of(&kind);
        let Some(profile) = provider::find(&name) else {
            return Err(kind.error(format!("unknown provider type: {name}")));
        };
        let (mut settings, provider) = (profile.load)(profile, section, node)?;
        let protocol = match settings.protocol.as_str() {
            "" | "openai" => Protocol::OpenAi,
            "original" => Protocol::Original,
            _ => return Err(at(node, "protocol", "invalid protocol in config")),
        };
        let credentials =
            Credentials::new(profile.auth, profile.keyless, settings.api_tokens, &settings.auth_header_key)
                .map_err(|error| match error {
                BadTokens::None => node.error("no apiToken found in provider config"),
                BadTokens::Unsendable(place) => {
                    at(node, "apiTokens", format!("token {place} holds a character that no header may carry"))
                }
            })?;
        if section.is_order_lost() && settings.model_mapping.order_by_alphabet() {
            let place = node.get("modelMapping");
            section.warn(
                place.as_ref().unwrap_or(node).path(),
                "the order of several regexes is lost in a Struct, they are tried by alphabet; use a StringValue",
            );
        }
        let failover = match settings.failover.take() {
            Some(failover) => Failover::load(failover, section, node, profile.kind, &credentials)?,
            None => None,
        };
        let retry = match &settings.retry_on_failure {
            Some(retry) => Retry::load(retry, section, node, credentials.len())?,
            None => None,
        };
        let context = match &settings.context {
            Some(context) => Some(Context::load(context, node, settings.timeout, max_body_bytes)?),
            None => None,
        };
        let affinity_apis = affinity_apis(section, node, &settings.affinity_apis);
        let base = base_path(node, &settings.base_path, &settings.base_path_handling, &settings.sub_path)?;
        let mut endpoint = provider.endpoint(node, section)?;
        capabilities(section, node, &settings.capabilities, &mut endpoint.apis);
        let paths = Paths::new(base, &settings.provider_base_path, &endpoint);
        let model_list = if protocol == Protocol::OpenAi && paths.lacks(Api::Models) {
            ModelList::of(settings.model_mapping.names(), profile.kind)
        } else {
            None
        };
        let domain = Some(settings.provider_domain).filter(|domain| !domain.is_empty());
        Ok(Self {
            profile,
            provider,
            protocol,
            authority: domain.or(endpoint.authority).map(|authority| authority.into_bytes().into()),
            paths,
            credentials,
            models: settings.model_mapping,
            model_list,
            first_byte_timeout: (settings.first_byte_timeout > 0)
                .then(|| settings.first_byte_timeout.to_string()),
            asks_for_usage: asks_for_usage && !settings.disable_stream_usage_stats,
            failover,
            retry,
            context,
            affinity_apis,
        })
    }
}

fn base_path(node: &Node<'_>, base: &str, handling: &str, sub_path: &str) -> Result<BasePath, ConfigError> {
    let own = path::normal(base);
    // The older name of a prefix that is removed.
    let base = if own.is_empty() { path::normal(sub_path) } else { own };
    match handling {
        _ if base.is_empty() => Ok(BasePath::Kept),
        "" | "removePrefix" => Ok(BasePath::Removed(base)),
        "prepend" => Ok(BasePath::Prepended(base)),
        _ => Err(at(node, "basePathHandling", "expected `removePrefix` or `prepend`")),
    }
}

/// The configuration's own paths win over the vendor's.
fn capabilities(
    section: &mut Section<'_>,
    node: &Node<'_>,
    capabilities: &BTreeMap<String, String>,
    apis: &mut Vec<(Api, String)>,
) {
    for (name, path) in capabilities {
        let Some(api) = Api::from_name(name) else {
            let place = node.get("capabilities").and_then(|node| node.get(name));
            section.warn(place.as_ref().unwrap_or(node).path(), "no API has this name");
            continue;
        };
        apis.retain(|(known, _)| *known != api);
        let slash = if path.is_empty() || path.starts_with('/') { "" } else { "/" };
        apis.push((api, format!("{slash}{path}")));
    }
}

fn affinity_apis(section: &mut Section<'_>, node: &Node<'_>, names: &[String]) -> Vec<Api> {
    let listed: Vec<_> = node.get("affinityApis").map(|list| list.items()).unwrap_or_default();
    let mut apis = Vec::new();
    for (at, name) in names.iter().enumerate() {
        match Api::from_name(name) {
            Some(api) => apis.push(api),
            None => section.warn(listed.get(at).unwrap_or(node).path(), "no API has this name"),
        }
    }
    apis
}

fn at(node: &Node<'_>, key: &str, message: impl Into<String>) -> ConfigError {
    node.get(key).as_ref().unwrap_or(node).error(message)
}
