//! What can be said in a configuration, compiled for the request path.

use common::config::{ConfigError, Section};
use common::filter::Counter;
use common::llm::model_mapping::ModelMapping;
use common::model::{self, Scope};

common::settings! {
    /// What stands in a config object, beside what all readers of models have.
    struct Settings {
        /// The client's model name → the upstream's. In this order: the exact name; the longest `prefix*`; `~regex` in
        /// the order written (`${1}` stands for a group, every match is replaced); `*`. An empty target keeps the
        /// name. A request that names no model has the name `""`.
        model_mapping: ModelMapping,
        /// `longest`, or `alphabetical`: of several prefixes that fit, the first by alphabet counts, star included,
        /// which is the shortest of those that begin alike.
        prefix_match: String = "longest".to_owned(),
        /// Set the property `model_mapper` to `old->new`; an access log shows it as
        /// `%FILTER_STATE(wasm.model_mapper:PLAIN)%`.
        log_mapping: bool,
    }
}

/// One config object, ready to run.
#[derive(Debug)]
pub struct Config {
    pub(crate) scope: Scope,
    pub(crate) models: ModelMapping,
    pub(crate) logs_mapping: bool,
    pub(crate) mapped: Counter,
    pub(crate) unchanged: Counter,
    pub(crate) invalid: Counter,
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
        let mut models = own.model_mapping;
        if let Some(mapping) = node.get("modelMapping") {
            // A number is hardly meant as a name, and null not as an empty one.
            if let Some((_, target)) =
                mapping.entries().iter().find(|(_, target)| !target.value().is_string())
            {
                return Err(target.error("expected a string"));
            }
            if section.is_order_lost() && models.order_by_alphabet() {
                section.warn(
                    mapping.path(),
                    "the order of several regexes is lost in a Struct, they are tried by alphabet; use a StringValue",
                );
            }
        }
        match own.prefix_match.as_str() {
            "longest" => {}
            "alphabetical" => models.order_prefixes_by_alphabet(),
            _ => {
                let place = node.get("prefixMatch").unwrap_or(node);
                return Err(place.error("expected `longest` or `alphabetical`"));
            }
        }
        Ok(Self {
            scope: Scope::new(shared, section)?,
            models,
            logs_mapping: own.log_mapping,
            mapped: Counter::new("model_mapper.mapped"),
            unchanged: Counter::new("model_mapper.unchanged"),
            invalid: Counter::new("model_mapper.invalid_json"),
            too_large: Counter::new("model_mapper.too_large"),
        })
    }
}

/// The generated parts of the README, by their names.
#[cfg(not(target_arch = "wasm32"))]
#[must_use]
pub fn reference() -> Vec<(&'static str, String)> {
    use common::config::reference::{Documented, rows};
    vec![("keys", rows(&[("", &[Settings::KEYS, model::Settings::KEYS].concat())]))]
}
