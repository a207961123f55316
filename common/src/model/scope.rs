//! Which requests may name a model: by their path, their content type and their size.

use super::body::{Key, Reader};
use crate::config::{ConfigError, Section};
use crate::filter::RequestBody;
use crate::http::multipart::Form;
use crate::http::{Head, MediaType, path};

/// Envoy's own default limit. A plugin cannot read the limit that is set, so it takes the least.
const DEFAULT_MAX_BODY_BYTES: usize = 1 << 20;

/// How much is looked at of an upload that is too large to be held: a model that stands before the files is found.
const GLIMPSE: usize = 64 << 10;

/// What ends the paths whose bodies name a model.
const PATH_SUFFIXES: [&str; 16] = [
    "/completions",
    "/messages",
    "/responses",
    "/embeddings",
    "/images/generations",
    "/images/edits",
    "/images/variations",
    "/audio/speech",
    "/audio/transcriptions",
    "/audio/translations",
    "/videos",
    "/rerank",
    "/moderations",
    "/fine_tuning/jobs",
    "/image-synthesis",
    "/video-synthesis",
];

const JSON: &str = "application/json";
const FORM: &str = "multipart/form-data";

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

crate::settings! {
    /// What the plugins that read a model out of a body have in common.
    #[derive(Debug)]
    pub struct Settings {
        /// Where the model stands: the name of a member of the JSON object; dots nest (`request.model`, and `\.` is a
        /// dot). In a form: the name of the field.
        model_key: String = "model".to_owned(),
        /// The plugin acts where the path, without its query, ends in one of these. `*` is any path; an empty list
        /// is none.
        enable_on_path_suffix: Vec<String> = owned(&PATH_SUFFIXES),
        /// Bodies that are read, by their content types. `application/json` stands for `…+json` and for a missing type
        /// too, where the body then begins with a brace.
        content_types: Vec<String> = owned(&[JSON, FORM]),
        /// How large a body may be that has to be held. A larger one passes unread. Never set it above Envoy's own
        /// limit (`per_connection_buffer_limit_bytes`).
        max_body_bytes: usize = DEFAULT_MAX_BODY_BYTES,
        /// Answer a larger body with a 413 instead.
        reject_oversize: bool,
    }
}

/// Which requests are read, and what of them; compiled.
#[derive(Debug)]
pub struct Scope {
    key: Key,
    paths: Paths,
    types: Vec<String>,
    reads_json: bool,
    max_body_bytes: usize,
    /// Whether a larger body is refused.
    pub rejects_oversize: bool,
}

#[derive(Debug)]
enum Paths {
    Any,
    Ending(Vec<String>),
}

impl Scope {
    /// Compiles what [`Settings`] say.
    ///
    /// # Errors
    /// `enableOnPathSuffix` is no list: as a text it would be taken for a list of one by mistake only.
    pub fn new(settings: Settings, section: &Section<'_>) -> Result<Self, ConfigError> {
        let suffixes = section.node().get("enableOnPathSuffix");
        if let Some(node) = suffixes.filter(|node| !node.value().is_array() && !node.value().is_null()) {
            return Err(node.error("expected a list"));
        }
        let is_any = |suffix: &String| suffix == "*" || suffix.is_empty();
        let paths = if settings.enable_on_path_suffix.iter().any(is_any) {
            Paths::Any
        } else {
            Paths::Ending(settings.enable_on_path_suffix)
        };
        Ok(Self {
            key: Key::new(&settings.model_key),
            paths,
            reads_json: settings.content_types.iter().any(|name| name.eq_ignore_ascii_case(JSON)),
            types: settings.content_types,
            max_body_bytes: settings.max_body_bytes,
            rejects_oversize: settings.reject_oversize,
        })
    }

    /// Where the model stands.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// The most bytes that a body may have which is held or written.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.max_body_bytes
    }

    /// Whether requests of this path are looked at.
    #[must_use]
    pub fn has_path(&self, head: &Head) -> bool {
        match &self.paths {
            Paths::Any => true,
            Paths::Ending(suffixes) => {
                let path = head.get_str(":path").map_or("", |path| path::split(path).0);
                suffixes.iter().any(|suffix| path.ends_with(suffix.as_str()))
            }
        }
    }

    /// How the body of this request is read, and what of it is held; `None` where it is none that can be read.
    #[must_use]
    pub fn reader(&self, head: &Head) -> Option<(Reader, RequestBody)> {
        let is_encoded = head.get("content-encoding").is_some_and(|coding| !coding.is_empty());
        if is_encoded || head.has("upgrade") {
            return None;
        }
        let whole = RequestBody::Whole { limit: self.max_body_bytes };
        let Some(value) = head.get("content-type").filter(|value| !value.is_empty()) else {
            let watched = RequestBody::Watched { limit: self.max_body_bytes };
            return self.reads_json.then(|| (Reader::untyped(), watched));
        };
        let media_type = MediaType::of(value);
        let is_listed = (self.reads_json && media_type.is_json())
            || self.types.iter().any(|listed| media_type.is(listed));
        if !is_listed {
            return None;
        }
        if !media_type.is(FORM) {
            return Some((Reader::json(), whole));
        }
        // An upload is not refused for its length: mostly its first bytes are all that has to be seen.
        let fits = head.content_length().is_none_or(|length| length <= self.max_body_bytes as u64);
        let limit = if fits { self.max_body_bytes } else { self.max_body_bytes.min(GLIMPSE) };
        let form = Form::new(value).ok()?;
        Some((Reader::form(form), RequestBody::Watched { limit }))
    }
}
