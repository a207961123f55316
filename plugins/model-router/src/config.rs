//! What can be said in a configuration, compiled for the request path.

use common::config::{ConfigError, Node, Section};
use common::filter::Counter;
use common::model::{self, Scope};
use regex_lite::RegexBuilder;

use crate::auto::Auto;
use crate::headers::{self, Headers, Names};

/// The most bytes that one compiled pattern may take.
const MAX_PATTERN: usize = 256 << 10;

common::settings! {
    /// What stands in a config object, beside what all readers of models have.
    struct Settings {
        /// Header that takes the whole model, as the client named it. `""` is none, which is also the default where
        /// another header is named.
        model_to_header: Option<String> => headers::MODEL,
        /// Header that takes the part of a model before its first slash; the body then names the part behind it.
        add_provider_header: String,
        /// A model chosen by what the user writes, see [below](#a-model-chosen-here).
        auto_routing: Option<AutoRouting> as "object" => "",
        /// Let clients set these headers themselves. Else what a client sends in them is removed, whatever the path.
        trust_client_header: bool,
        /// `percent` writes bytes that no header may carry as `%XX`. Else a model that has any sets no header.
        header_encoding: String,
        /// Set `x-higress-llm-model` and `x-higress-llm-provider` beside the model's and the provider's header.
        compat_headers: bool,
        /// `join` puts the texts of a message in several parts one below the other; `last` takes the last one only.
        text_join: String = "join".to_owned(),
        /// Leave out a rule of `autoRouting` whose pattern is no regex, with a warning, instead of refusing the
        /// configuration.
        lenient: bool,
    }
}

common::settings! {
    /// `autoRouting`.
    struct AutoRouting {
        /// Turns it on.
        enable: bool,
        /// The model by which clients leave the choice to the gateway; `higress/auto` always does.
        model_id: String = "auto".to_owned(),
        /// `{"pattern": …, "model": …}`, tried in order: the first pattern that is found in the text decides. A rule
        /// that lacks one of the two is left out, with a warning.
        rules: Vec<RuleSettings> as "list of objects" => "",
        /// The model where no rule fits. Without it the request passes as it is, with no header.
        default_model: String,
        /// Header that takes the chosen model where there is no `modelToHeader`.
        target_header: Option<String> => headers::MODEL,
    }
}

common::settings! {
    /// One of the `rules`.
    struct RuleSettings {
        /// A regex; `(?i)` in front ignores the case of ASCII letters. `\p{…}` is refused.
        pattern: String,
        /// The model that it stands for.
        model: String,
    }
}

/// One config object, ready to run.
#[derive(Debug)]
pub struct Config {
    pub(crate) scope: Scope,
    pub(crate) headers: Headers,
    pub(crate) auto: Option<Auto>,
    pub(crate) header_set: Counter,
    pub(crate) provider_split: Counter,
    pub(crate) auto_matched: Counter,
    pub(crate) auto_default: Counter,
    pub(crate) auto_none: Counter,
    pub(crate) invalid_body: Counter,
    pub(crate) too_large: Counter,
}

impl Config {
    /// Compiles one config object; a rule takes nothing from the global one.
    ///
    /// # Errors
    /// What is wrong and where.
    pub(crate) fn load(section: &mut Section<'_>) -> Result<Self, ConfigError> {
        let node = section.node();
        let (shared, own): (model::Settings, Settings) = section.read_pair(&node)?;
        let auto = own.auto_routing.filter(|auto| auto.enable);
        let target = auto.as_ref().map(|auto| auto.target_header.as_deref().filter(|name| !name.is_empty()));
        let auto_node = node.get("autoRouting");
        for (parent, key, name) in [
            (Some(&node), "modelToHeader", own.model_to_header.as_deref()),
            (Some(&node), "addProviderHeader", Some(own.add_provider_header.as_str())),
            (auto_node.as_ref(), "targetHeader", target.flatten()),
        ] {
            if name.is_some_and(|name| !name.is_empty() && !headers::is_name(name)) {
                let parent = parent.unwrap_or(&node);
                return Err(at(parent, key, "no header that a model can be put into has this name"));
            }
        }
        let headers = Headers::new(&Names {
            model: own.model_to_header.as_deref(),
            provider: &own.add_provider_header,
            chosen: target,
            compatible: own.compat_headers,
            trust_client: own.trust_client_header,
            percent: one_of(&node, "headerEncoding", &own.header_encoding, ["", "percent"])? == 1,
        });
        let last_part_only = one_of(&node, "textJoin", &own.text_join, ["join", "last"])? == 1;
        let auto = match (auto, auto_node) {
            (Some(auto), Some(node)) => Some(compile(section, &node, auto, own.lenient, last_part_only)?),
            _ => None,
        };
        Ok(Self {
            scope: Scope::new(shared, section)?,
            headers,
            auto,
            header_set: Counter::new("model_router.header_set"),
            provider_split: Counter::new("model_router.provider_split"),
            auto_matched: Counter::new("model_router.auto_matched"),
            auto_default: Counter::new("model_router.auto_default"),
            auto_none: Counter::new("model_router.auto_none"),
            invalid_body: Counter::new("model_router.invalid_body"),
            too_large: Counter::new("model_router.too_large"),
        })
    }
}

fn compile(
    section: &mut Section<'_>,
    node: &Node<'_>,
    settings: AutoRouting,
    is_lenient: bool,
    last_part_only: bool,
) -> Result<Auto, ConfigError> {
    let nodes = node.get("rules").map(|rules| rules.items()).unwrap_or_default();
    let mut rules = Vec::new();
    for (RuleSettings { pattern, model }, node) in settings.rules.into_iter().zip(&nodes) {
        if pattern.is_empty() || model.is_empty() {
            section.warn(node.path(), "a rule needs a pattern and a model; it is left out");
            continue;
        }
        let place = node.get("pattern").unwrap_or(node.clone());
        match RegexBuilder::new(&pattern).size_limit(MAX_PATTERN).build() {
            Ok(regex) => {
                if folds(&pattern) && pattern.chars().any(is_cased) {
                    section.warn(place.path(), "`(?i)` ignores the case of ASCII letters only");
                }
                rules.push((regex, model));
            }
            Err(error) => {
                let error = place.error(format!("the pattern is no regex: {error}"));
                if !is_lenient {
                    return Err(error);
                }
                section.warn(&error.path, format!("{}; the rule is left out", error.message));
            }
        }
    }
    let id = if settings.model_id.is_empty() { "auto".to_owned() } else { settings.model_id };
    Ok(Auto { id, rules, default: settings.default_model, last_part_only })
}

/// Whether a pattern asks somewhere to ignore case: flags stand behind `(?`, and behind a dash those that are off.
fn folds(pattern: &str) -> bool {
    let mut before = *b"  ";
    let mut is_flag = false;
    pattern.bytes().any(|byte| {
        // `(?P<name>` has none, nor has `(?<name>`.
        is_flag = before == *b"(?" || is_flag;
        is_flag = is_flag && byte.is_ascii_alphabetic() && byte != b'P';
        let [_, last] = before;
        before = [last, byte];
        is_flag && byte == b'i'
    })
}

/// Whether a letter that is not ASCII has two cases, by the scripts that have them: tables of all letters would be a
/// large part of the module.
fn is_cased(char: char) -> bool {
    matches!(char,
        '\u{c0}'..='\u{24f}' | '\u{370}'..='\u{58f}' | '\u{10a0}'..='\u{10ff}' | '\u{1e00}'..='\u{1fff}'
        | '\u{ff21}'..='\u{ff5a}')
}

/// Which of these a setting says.
fn one_of(node: &Node<'_>, key: &str, value: &str, known: [&str; 2]) -> Result<usize, ConfigError> {
    let [first, second] = known;
    let expected = || {
        let first = if first.is_empty() { String::new() } else { format!("`{first}` or ") };
        at(node, key, format!("expected {first}`{second}`"))
    };
    known.iter().position(|known| *known == value).ok_or_else(expected)
}

fn at(node: &Node<'_>, key: &str, message: impl Into<String>) -> ConfigError {
    node.get(key).as_ref().unwrap_or(node).error(message)
}

/// The generated parts of the README, by their names.
#[cfg(not(target_arch = "wasm32"))]
#[must_use]
pub fn reference() -> Vec<(&'static str, String)> {
    use common::config::reference::{Documented, rows};
    vec![
        ("keys", rows(&[("", &[Settings::KEYS, model::Settings::KEYS].concat())])),
        ("keys of autoRouting", rows(&[("", AutoRouting::KEYS)])),
    ]
}
