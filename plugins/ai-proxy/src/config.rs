//! What can be said in a configuration, compiled for the request path.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use common::config::{ConfigError, Node, Secret, Section};
use common::llm::api::Api;
use common::llm::model_mapping::ModelMapping;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::answer::{Answers, Mode};
use crate::context::{self, Context, ContextSettings};
use crate::conversation::Conversation;
use crate::credential::{Auth, BadTokens, Credentials};
use crate::custom_settings::CustomSettings;
use crate::failover::{Failover, FailoverSettings};
use crate::models::ModelList;
use crate::path::{self, BasePath, Paths};
use crate::provider::{self, Profile, Provider};
use crate::retry::{Retry, RetrySettings};
use translate::{Manner, Pair, Talk, signature};

/// Envoy's own default limit. A plugin cannot read the limit that is set, so it takes the least.
const DEFAULT_MAX_BODY_BYTES: usize = 1 << 20;

/// Headers in which an authentication filter before this one names the consumer.
const CONSUMER_HEADERS: [&str; 2] = ["x-consumer", "x-mse-consumer"];

/// One config object, ready to run.
#[derive(Debug)]
pub struct Config {
    /// `None`: this configuration names no provider, so the plugin leaves requests alone.
    pub(crate) active: Option<Rc<ActiveProvider>>,
    /// Those that an endpoint may name in a cluster's upstream chain, by their ids. A lone one that is in charge
    /// anyway is not listed.
    pub(crate) named: Vec<(String, Rc<ActiveProvider>)>,
    /// An endpoint named a provider that is not there, and the operator has been told.
    pub(crate) met_unknown: Cell<bool>,
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
    /// Which signatures the vendor refuses in the thinking of earlier messages, if it checks them.
    pub(crate) refuses_signature: Option<fn(&str) -> bool>,
    /// At the end of the streams of clients that speak chats. All others are told it anyway.
    pub(crate) asks_for_usage: bool,
    pub(crate) custom_settings: CustomSettings,
    /// How chats that come in another API's form are put.
    pub(crate) manner: Manner,
    pub(crate) conversation: Conversation,
    pub(crate) answers: Answers,
    /// The client's APIs that are carried over another one of the vendor's.
    carried: Vec<Pair>,
    /// Answers counts of tokens where Messages are served, but nobody counts.
    pub(crate) counts_tokens: bool,
    /// The upstream's errors pass as they came, in whatever form the client knows them.
    pub(crate) passes_errors: bool,
    /// Answers to chats have to be looked at.
    pub(crate) reads_answers: bool,
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

common::settings! {
    /// What stands in a config object, beside the reserved keys.
    pub(crate) struct Container {
        /// The provider in charge. It wins over the next two.
        // `active_node` reads it, and the next one.
        provider: IgnoredAny as "object",
        /// Providers to choose from.
        providers: IgnoredAny as "list of objects",
        /// The `id` of the one in charge. Without it, or if no provider has it, requests are left alone.
        active_provider_id: Option<String>,
        /// How large a body may be that has to be read; more is a 413, or a 502 where it is the vendor's. Never set
        /// it above Envoy's own limit (`per_connection_buffer_limit_bytes`).
        max_body_bytes: Option<usize> => DEFAULT_MAX_BODY_BYTES,
        /// Keep the cluster that was chosen before the request was readdressed, see [Routing](#routing).
        pin_cluster: Option<bool> => false,
        /// Send the client's `authorization` on as `x-hi-original-auth`, for gateways behind this one. The vendor
        /// sees it too.
        keep_original_auth: Option<bool> => false,
        /// Header in which an authentication filter names the consumer. The default is a choice of two: the first
        /// that the request has.
        consumer_header: Option<String> => CONSUMER_HEADERS.map(str::to_owned).to_vec(),
        /// Never ask for usage at the end of a stream, for clients that speak chats. Others expect it, so it is asked for.
        disable_stream_usage_stats: Option<bool> => false,
    }
}

common::settings! {
    /// Settings of every provider. Those of one vendor stand in its file.
    pub(crate) struct Settings {
        /// One of the table above.
        // `ActiveProvider::load` reads it.
        r#type: IgnoredAny as "text",
        /// What `activeProviderId` names.
        // `active_node` reads it.
        id: IgnoredAny as "text",
        /// One is picked at random for each request; for APIs whose state the vendor keeps under a key (responses,
        /// files, batches, fine-tuning, videos, conversations) a consumer stays with one.
        api_tokens: Vec<Secret>,
        /// For these APIs (their names) a consumer stays with one key too, for the sake of the vendor's caches:
        /// `["anthropic/v1/messages"]`.
        affinity_apis: Vec<String>,
        /// [Keys that fail go out of use](#failover).
        failover: Option<FailoverSettings>,
        /// [What fails is sent again with another key](#retryonfailure).
        retry_on_failure: Option<RetrySettings>,
        /// [The text of a file in every chat](#context).
        context: Option<ContextSettings>,
        /// Without `apiTokens`: the client's header to take the key from. A request without it is a 401, unless the
        /// provider takes the client's key from elsewhere too.
        auth_header_key: String,
        /// The client's model name → the vendor's. In this order: the exact name; the longest `prefix*`; `~regex` in
        /// the order written (`${1}` stands for a group, every match is replaced); `*`. An empty target keeps the
        /// name.
        model_mapping: ModelMapping,
        /// `openai`, or `original`: the client speaks the vendor's own API. Only host and key are ours then, the body
        /// is not touched.
        protocol: String = "openai".to_owned(),
        /// API name → path, over the provider's own: `{"openai/v1/embeddings": "/v2/embed"}`. `{file_id}` and the
        /// like are filled in from the client's path. `""` switches an API off.
        capabilities: BTreeMap<String, String>,
        /// API name → the API it is [translated](#translation) to, for these three: `openai/v1/chatcompletions`,
        /// `openai/v1/responses`, `anthropic/v1/messages`. Without it a vendor is asked in the client's own API where
        /// it has that.
        translate_apis: BTreeMap<String, String>,
        /// A prefix under which clients reach this gateway.
        base_path: String,
        /// `removePrefix` or `prepend`: take the prefix off, or put it on where it is missing.
        base_path_handling: String = "removePrefix".to_owned(),
        /// The older name of a `basePath` that is removed.
        sub_path: String,
        /// A prefix of every path upstream, unless it is there already.
        provider_base_path: String,
        /// The host that is sent upstream, with a port or without, in the place of the provider's.
        provider_domain: String,
        /// Sent with streaming requests (`generic`: with all) as `x-envoy-upstream-rq-first-byte-timeout-ms`; 0 is
        /// none. Stock Envoy does not read it: a route's `timeout` is another thing.
        first_byte_timeout: u64 as "milliseconds",
        /// Of the call for the `context` file; without effect on requests to the vendor.
        timeout: u64 as "milliseconds" = context::TIMEOUT,
        /// As above.
        disable_stream_usage_stats: bool,
        /// Parameters that every request with a JSON body carries, also with `protocol: original`, see below.
        // `CustomSettings::load` reads it.
        custom_settings: IgnoredAny as "list of objects",
        /// Chats: where a user's whole message is one of these, nothing before it goes upstream but the system's
        /// messages. If no message is left, that is a 400.
        context_cleanup_commands: Vec<String>,
        /// Chats: neighbouring messages of a user, or of an assistant, become one, where nothing is lost by it.
        merge_consecutive_messages: bool,
        /// Chats: thinking without an answer becomes the answer. In a stream, thinking waits for as long as no answer
        /// has begun (up to 512 KiB is kept); with an explicit `reasoningContentMode: passthrough` it is shown as it
        /// comes, too.
        promote_thinking_on_empty: bool,
        /// Chats: `passthrough`, or what becomes of `reasoning_content` and `reasoning` in answers. `ignore`: they go.
        /// `concat`: they go into the content, as `<think>…</think>`.
        reasoning_content_mode: Mode,
        /// Errors of the upstream pass as they came, also where requests are [translated](#translation).
        error_passthrough: bool,
        /// Switches `mergeConsecutiveMessages` and `promoteThinkingOnEmpty` on.
        hiclaw_mode: bool,
        /// Refused if it is true: this plugin does not pass itself off as another program.
        claude_code_mode: bool,
    }
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
        let load = |section: &mut Section<'_>, node: &Node<'_>| {
            // Rules mostly refer to what stands in the global configuration.
            let key = format!("{} {disable_usage} {max_body_bytes}", node.path());
            section
                .shared(&key, |section| ActiveProvider::load(section, node, !disable_usage, max_body_bytes))
        };
        let active = match active_node(section, own.active_provider_id.as_deref())? {
            Some(node) => Some(load(section, &node)?),
            None => None,
        };
        let mut named: Vec<(String, Rc<ActiveProvider>)> = Vec::new();
        let list = listed(section).filter(|_| present(&section.node(), "provider").is_none());
        for node in list.map(|list| list.items()).unwrap_or_default() {
            let Some(id) = node.get("id").map(|id| text_of(&id)) else { continue };
            if named.iter().any(|(known, _)| *known == id) {
                continue;
            }
            match load(section, &node) {
                Ok(provider) => named.push((id, provider)),
                // Whoever is in charge serves all the same.
                Err(error) => section.warn(
                    &error.path,
                    format!("{}; this provider is left out, and failover cannot choose it", error.message),
                ),
            }
        }
        if let ([(_, only)], Some(active)) = (named.as_slice(), &active)
            && Rc::ptr_eq(only, active)
        {
            named.clear();
        }
        let consumer_headers = match consumer_header.filter(|name| !name.is_empty()) {
            Some(name) => vec![name.to_ascii_lowercase()],
            None => CONSUMER_HEADERS.map(str::to_owned).to_vec(),
        };
        Ok(Self {
            active,
            named,
            met_unknown: Cell::new(false),
            max_body_bytes,
            pin_cluster: pin_cluster.unwrap_or(false),
            keep_original_auth: keep_original_auth.unwrap_or(false),
            consumer_headers,
        })
    }
}

impl Config {
    /// Every provider that may be in charge of a request.
    pub(crate) fn providers(&self) -> impl Iterator<Item = &Rc<ActiveProvider>> {
        let is_other = |provider: &&Rc<ActiveProvider>| {
            self.active.as_ref().is_none_or(|active| !Rc::ptr_eq(active, provider))
        };
        self.active.iter().chain(self.named.iter().map(|(_, provider)| provider).filter(is_other))
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

/// The value of a key that says something.
fn present<'a>(node: &Node<'a>, key: &str) -> Option<Node<'a>> {
    node.get(key).filter(|node| !node.value().is_null())
}

/// The providers that one config object can choose from.
fn listed<'a>(section: &Section<'a>) -> Option<Node<'a>> {
    present(&section.node(), "providers").or_else(|| {
        section.global().and_then(|global| present(&global, "provider").or(present(&global, "providers")))
    })
}

/// The provider in charge of one config object: its `provider`, else the entry of `providers` with
/// the id that this very object names. None is no error: the plugin is off then.
fn active_node<'a>(section: &mut Section<'a>, id: Option<&str>) -> Result<Option<Node<'a>>, ConfigError> {
    let own = section.node();
    if let Some(provider) = present(&own, "provider") {
        return Ok(Some(provider));
    }
    let Some(id) = id.filter(|id| !id.is_empty()) else { return Ok(None) };
    let listed = listed(section);
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

    /// How a request for this API is carried over another one, if the vendor lacks it and has the other.
    pub(crate) fn carries(&self, api: Option<Api>) -> Option<Pair> {
        let talk = Talk::of(api?)?;
        self.carried.iter().copied().find(|pair| pair.client == talk)
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
        let (mut settings, provider) = profile.load(section, node)?;
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
        if settings.claude_code_mode {
            return Err(at(node, "claudeCodeMode", "not supported: this plugin imitates no vendor's client"));
        }
        if settings.reasoning_content_mode == Mode::Unknown {
            let place = node.get("reasoningContentMode");
            section.warn(
                place.as_ref().unwrap_or(node).path(),
                "expected `passthrough`, `ignore` or `concat`; taken as `passthrough`",
            );
        }
        let custom_settings = match node.get("customSettings") {
            Some(entries) => CustomSettings::load(section, &entries, profile.kind, protocol)?,
            None => CustomSettings::default(),
        };
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
        let file = provider.file();
        if context.is_some() && file.is_some() {
            return Err(node.error("moonshotFileId and context cannot be configured at the same time"));
        }
        let affinity_apis = affinity_apis(section, node, &settings.affinity_apis);
        let base = base_path(node, &settings.base_path, &settings.base_path_handling, &settings.sub_path)?;
        let mut endpoint = provider.endpoint(node, section)?;
        capabilities(section, node, &settings.capabilities, &mut endpoint.apis);
        let paths = Paths::new(base, &settings.provider_base_path, &endpoint);
        let at_vendor =
            |path: &str| Context::at_vendor(paths.kept(path, None), settings.timeout, max_body_bytes);
        let context = context.or_else(|| file.map(at_vendor));
        let model_list = if protocol == Protocol::OpenAi && paths.lacks(Api::Models) {
            ModelList::of(settings.model_mapping.names(), profile.kind)
        } else {
            None
        };
        let answers = Answers {
            reasoning: settings.reasoning_content_mode,
            promotes: settings.promote_thinking_on_empty || settings.hiclaw_mode,
        };
        let domain = provider::custom_url::host(&settings.provider_domain, "providerDomain", node)?;
        let mut manner = provider.manner(domain.is_some());
        if custom_settings.sets(Manner::OPENAI.limit) {
            // There must not be two limits, and the configuration's has this name.
            manner.limit = Manner::OPENAI.limit;
        }
        let carried = match protocol {
            Protocol::OpenAi => {
                let serves = |api| provider.edits(api) && paths.serves(api);
                let told = translations(node, &settings.translate_apis, serves)?;
                Pair::all(&told, manner.order, |api| paths.is_unlisted(api), serves)
            }
            Protocol::Original => Vec::new(),
        };
        let is_carried = carried.iter().any(|pair| pair.client == Talk::Messages);
        let counts_tokens = protocol == Protocol::OpenAi
            && paths.is_unlisted(Api::MessagesCountTokens)
            && (is_carried || paths.serves(Api::AnthropicMessages));
        // Where another host stands for it, that may serve what others have signed.
        let refuses: fn(&str) -> bool =
            if domain.is_none() { signature::is_foreign } else { signature::is_unsigned };
        Ok(Self {
            refuses_signature: profile.checks_signatures.then_some(refuses),
            reads_answers: protocol == Protocol::OpenAi && answers.reads(provider.as_ref()),
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
            asks_for_usage: asks_for_usage && !settings.disable_stream_usage_stats && !profile.tells_usage,
            custom_settings,
            manner,
            conversation: Conversation::new(
                &settings.context_cleanup_commands,
                settings.merge_consecutive_messages || settings.hiclaw_mode,
            ),
            answers,
            carried,
            counts_tokens,
            passes_errors: settings.error_passthrough,
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

/// What the configuration itself says is translated, and to what.
fn translations(
    node: &Node<'_>,
    apis: &BTreeMap<String, String>,
    serves: impl Fn(Api) -> bool,
) -> Result<Vec<Pair>, ConfigError> {
    let talk = |name: &str| Api::from_name(name).and_then(Talk::of);
    let pair = |(client, vendor): (&String, &String)| {
        let error = |message: String| {
            let place = node.get("translateApis").and_then(|apis| apis.get(client));
            place.as_ref().unwrap_or(node).error(message)
        };
        let (Some(client), Some(vendor)) = (talk(client), talk(vendor)) else {
            let names = Talk::ALL.map(|talk| format!("`{}`", talk.api().name())).join(", ");
            return Err(error(format!("expected two of {names}")));
        };
        if client == vendor || !serves(vendor.api()) {
            return Err(error(format!("the provider has no other API `{}`", vendor.api().name())));
        }
        Ok(Pair { client, vendor })
    };
    apis.iter().map(pair).collect()
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
