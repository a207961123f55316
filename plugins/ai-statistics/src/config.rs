//! What can be said in a configuration, compiled for the request path.

use std::cell::RefCell;
use std::rc::Rc;

use common::config::{ConfigError, Section};
use common::json::Query;
use common::llm::usage::Keep;
use serde::de::IgnoredAny;

use crate::attribute::{Attribute, Rule, Source};
use crate::built_in::BuiltIn;
use crate::conventions::FinishReasons;
use crate::log::Redactions;
use crate::metrics::Metrics;

/// Headers in which an authentication filter before this one names the consumer.
const CONSUMER_HEADERS: [&str; 2] = ["x-consumer", "x-mse-consumer"];
/// Headers in which agents name their session.
const SESSION_HEADERS: [&str; 4] =
    ["x-openclaw-session-key", "x-clawdbot-session-key", "x-moltbot-session-key", "x-agent-session"];
/// The paths of chats, which a default set of attributes is for.
const CHAT_SUFFIXES: [&str; 2] = ["/completions", "/messages"];
/// How much of a stream, or of a body, all attributes together may keep.
pub(crate) const MAX_KEPT: usize = 1 << 20;

const DEFAULT_VALUE_LENGTH: usize = 32_000;
const ALL_ATTRIBUTES: [&str; 10] = [
    "messages",
    "question",
    "system",
    "answer",
    "reasoning",
    "tool_calls",
    "reasoning_tokens",
    "cached_tokens",
    "input_token_details",
    "output_token_details",
];
const TOKEN_ATTRIBUTES: [&str; 4] =
    ["reasoning_tokens", "cached_tokens", "input_token_details", "output_token_details"];

common::settings! {
    /// What stands in a config object, beside the reserved keys.
    pub(crate) snake_case struct Settings {
        /// Values to record, see [Attributes](#attributes).
        attributes: IgnoredAny as "list of objects",
        /// Read no usage, and count nothing.
        disable_openai_usage: bool,
        /// Bytes of a value; of a longer one the middle is left out and ` [truncated] ` stands there. With
        /// `use_default_attributes` 10485760, with `use_default_response_attributes` 4000.
        value_length_limit: Option<usize> => DEFAULT_VALUE_LENGTH,
        /// Only requests whose path, without its query, ends with one of these. `*` is all of them, and so is an empty
        /// list; without the key, a default set of attributes is for `/completions` and `/messages`.
        enable_path_suffixes: Option<Vec<String>>,
        /// Only responses whose `content-type` contains one of these; `*` is all of them, and so is an empty list.
        enable_content_types: Vec<String>,
        /// Header that names the session; tried before those that agents are known to send.
        session_id_header: String,
        /// Record all that is known of a conversation, with its texts: `messages` and the
        /// [built-in attributes](#built-in-attributes), in the place of `attributes`.
        use_default_attributes: bool,
        /// Record the four built-in attributes that are counts, in the place of `attributes`.
        use_default_response_attributes: bool,
        /// Header in which an authentication filter names the consumer. The default is a choice of two: the first
        /// that the request has.
        consumer_header: Option<String> => CONSUMER_HEADERS.map(str::to_owned).to_vec(),
        /// `higress`, `otel` or `both`: under which names it is counted, see [Metrics](#metrics). `metricsFormat` is
        /// the same key.
        #[serde(alias = "metricsFormat")]
        metrics_format: String = "higress".to_owned(),
        /// How many combinations of labels a worker tells apart, in each format, for the whole plugin and all of its
        /// `_rules_`. Beyond, model and consumer are `other`: both come from clients, and Envoy never forgets a metric.
        max_label_combinations: usize = 1000,
        /// Count requests, with usage or without (`llm_request_count`).
        count_requests: bool,
        /// Count cached and reasoning tokens (`cached_token`, `reasoning_token`).
        count_token_details: bool,
        /// Record latencies as histograms, too (`ai_first_token_ms`, `ai_service_ms`).
        histograms: bool,
        /// `escaped`: `ai_log` can stand between quotes in a text log. `raw`: it is JSON, for a `json_format` log,
        /// which escapes it itself.
        log_encoding: String = "escaped".to_owned(),
        /// For which requests span attributes are written. `auto`: those that Envoy traces, by what it writes into its
        /// request id; with `pack_trace_reason: false` it writes nothing there, so say `always`. Or `never`.
        span_attributes: String = "auto".to_owned(),
        /// Members of `ai_log` that are written as `[redacted]`, before anything is cut: paths of names with `#` for
        /// each element, such as `messages.#.content`. Those of an attribute are redacted in spans and fields of
        /// their own, too. Where a path cannot go on, such as into a text, nothing is shown.
        redact: Vec<String>,
    }
}

/// One config object, ready to run.
pub struct Config {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) reads_usage: bool,
    pub(crate) value_limit: usize,
    /// Of each value that a stream is searched for.
    pub(crate) stream_limit: usize,
    /// Empty: all.
    pub(crate) path_suffixes: Vec<String>,
    /// Empty: all.
    pub(crate) content_types: Vec<String>,
    /// In order of precedence.
    pub(crate) session_headers: Vec<String>,
    /// In order of precedence.
    pub(crate) consumer_headers: Vec<String>,
    pub(crate) formats: Formats,
    pub(crate) counts_requests: bool,
    pub(crate) counts_token_details: bool,
    pub(crate) histograms: bool,
    pub(crate) encoding: Encoding,
    pub(crate) spans: Spans,
    pub(crate) redactions: Redactions,
    /// Members of requests that attributes need.
    pub(crate) of_request: Keep,
    /// Members of whole responses that attributes need.
    pub(crate) of_response: Keep,
    /// The same, and what spans of OpenTelemetry's need.
    pub(crate) of_traced_response: Keep,
    /// What a stream is searched for.
    pub(crate) searches: Vec<Search>,
    /// The same for all rules of a worker.
    pub(crate) metrics: Rc<RefCell<Metrics>>,
    /// Of labels, for each format.
    pub(crate) max_combinations: usize,
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config").field("attributes", &self.attributes).finish_non_exhaustive()
    }
}

/// An attribute that every event of a stream is searched for.
#[derive(Debug, PartialEq)]
pub(crate) struct Search {
    /// The place of the attribute.
    pub(crate) attribute: usize,
    pub(crate) what: What,
    pub(crate) rule: Rule,
}

/// What an event is searched for.
#[derive(Debug, PartialEq)]
pub(crate) enum What {
    Path,
    BuiltIn(BuiltIn),
}

/// Under which names it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Formats {
    pub(crate) higress: bool,
    pub(crate) otel: bool,
}

/// For which requests span attributes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spans {
    Auto,
    Always,
    Never,
}

/// How `ai_log` is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Escaped,
    Raw,
}

impl Config {
    /// Compiles one config object. Rules inherit nothing.
    pub(crate) fn load(section: &mut Section<'_>) -> Result<Self, ConfigError> {
        let settings: Settings = section.read()?;
        let node = section.node();
        let invalid = |key: &str, message: String| {
            let path = node.get(key).map_or_else(|| key.to_owned(), |node| node.path().to_owned());
            ConfigError::new(path, message)
        };
        let formats = match settings.metrics_format.as_str() {
            "higress" => Formats { higress: true, otel: false },
            "otel" => Formats { higress: false, otel: true },
            "both" => Formats { higress: true, otel: true },
            other => {
                let key =
                    if node.get("metricsFormat").is_some() { "metricsFormat" } else { "metrics_format" };
                return Err(invalid(key, format!("unknown format `{other}`: higress, otel or both")));
            }
        };
        let encoding = match settings.log_encoding.as_str() {
            "escaped" => Encoding::Escaped,
            "raw" => Encoding::Raw,
            other => {
                return Err(invalid("log_encoding", format!("unknown encoding `{other}`: escaped or raw")));
            }
        };
        let spans = match settings.span_attributes.as_str() {
            "auto" => Spans::Auto,
            "always" => Spans::Always,
            "never" => Spans::Never,
            other => {
                let message = format!("unknown choice `{other}`: auto, always or never");
                return Err(invalid("span_attributes", message));
            }
        };
        let named = |keys: &[&str]| keys.iter().map(|key| Attribute::logged(key)).collect();
        let (mut attributes, default_limit): (Vec<Attribute>, usize) = if settings.use_default_attributes {
            (named(&ALL_ATTRIBUTES), 10 << 20)
        } else if settings.use_default_response_attributes {
            (named(&TOKEN_ATTRIBUTES), 4000)
        } else {
            let nodes = node.get("attributes").map(|list| list.items()).unwrap_or_default();
            let attributes: Result<_, _> = nodes.iter().map(|node| Attribute::load(section, node)).collect();
            (attributes?, DEFAULT_VALUE_LENGTH)
        };
        let redactions = Redactions::parse(&settings.redact);
        for attribute in &mut attributes {
            attribute.redaction = redactions.of(&attribute.key);
        }
        let has_default_set = settings.use_default_attributes || settings.use_default_response_attributes;
        let path_suffixes = match settings.enable_path_suffixes {
            Some(suffixes) => suffixes,
            None if has_default_set => CHAT_SUFFIXES.map(str::to_owned).to_vec(),
            None => Vec::new(),
        };
        let value_limit = settings.value_length_limit.unwrap_or(default_limit);
        let searches = searches(&attributes);
        let is_named = |name: &str| !name.is_empty();
        let mut session_headers = vec![settings.session_id_header.to_ascii_lowercase()];
        session_headers.extend(SESSION_HEADERS.map(str::to_owned));
        session_headers.retain(|name| is_named(name));
        Ok(Self {
            reads_usage: !settings.disable_openai_usage,
            value_limit,
            stream_limit: value_limit.min(MAX_KEPT / searches.len().max(1)),
            path_suffixes: all_at_star(path_suffixes),
            content_types: all_at_star(settings.enable_content_types),
            session_headers,
            consumer_headers: match settings.consumer_header.filter(|name| is_named(name)) {
                Some(name) => vec![name.to_ascii_lowercase()],
                None => CONSUMER_HEADERS.map(str::to_owned).to_vec(),
            },
            formats,
            counts_requests: settings.count_requests,
            counts_token_details: settings.count_token_details,
            histograms: settings.histograms,
            encoding,
            spans,
            redactions,
            of_request: kept(&attributes, true),
            of_response: kept(&attributes, false),
            searches,
            of_traced_response: kept(&attributes, false).with(&FinishReasons::MEMBERS),
            metrics: section.shared("metrics", |_| Ok(RefCell::default()))?,
            max_combinations: settings.max_label_combinations,
            attributes,
        })
    }
}

/// An entry `*` means everything, as an empty list does.
fn all_at_star(entries: Vec<String>) -> Vec<String> {
    if entries.iter().any(|entry| entry == "*") { Vec::new() } else { entries }
}

fn searches(attributes: &[Attribute]) -> Vec<Search> {
    let mut searches = Vec::new();
    for (attribute, at) in attributes.iter().zip(0..) {
        let (path, rule) = match &attribute.source {
            Source::Stream { path, rule } => (path.as_ref(), *rule),
            Source::Response { rule } => (None, *rule),
            _ => continue,
        };
        if path.is_some() {
            searches.push(Search { attribute: at, what: What::Path, rule });
        }
        match attribute.built_in {
            None | Some(BuiltIn::Tokens(_)) => {}
            Some(built_in) if built_in.is_of_request() => {}
            // However its text is asked for, thinking is joined.
            Some(BuiltIn::Reasoning) => {
                let what = What::BuiltIn(BuiltIn::Reasoning);
                searches.push(Search { attribute: at, what, rule: Rule::Append });
            }
            Some(built_in) => searches.push(Search { attribute: at, what: What::BuiltIn(built_in), rule }),
        }
    }
    searches
}

/// The members of whole bodies that attributes are found in.
fn kept(attributes: &[Attribute], of_request: bool) -> Keep {
    let mut names: Vec<String> = Vec::new();
    for attribute in attributes {
        let path = match &attribute.source {
            Source::RequestBody(path) if of_request => path.as_ref(),
            Source::Body(path) if !of_request => path.as_ref(),
            Source::Response { .. } if !of_request => None,
            _ => continue,
        };
        match path.map(Query::first) {
            // It may lead anywhere.
            Some(None) => return Keep::Everything,
            Some(Some(name)) => names.push(name.to_owned()),
            None => {}
        }
        if let Some(built_in) = attribute.built_in.filter(|built_in| built_in.is_of_request() == of_request) {
            names.extend(built_in.members().iter().map(|name| (*name).to_owned()));
        }
    }
    if names.is_empty() { Keep::Nothing } else { Keep::Members(Rc::from_iter(names)) }
}
