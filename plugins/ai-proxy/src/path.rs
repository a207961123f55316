//! The path that goes upstream, compiled from the settings so that most requests copy one string.

use std::borrow::Cow;

use common::http::path;
use common::llm::api::{self, Api, Placeholders};

/// What `{model}` in a path stands for until the model is known.
const MODEL: &str = "{model}";

/// What becomes of requests for which a provider has no path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Others {
    /// A known API that the vendor lacks is refused; a path that is no known API is sent as it is.
    UnknownSent,
    /// All of them are sent as they are.
    Sent,
    /// All of them are refused.
    Refused,
}

/// What becomes of the prefix that clients reach this gateway under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BasePath {
    /// There is none, or nothing is done about it.
    Kept,
    /// It is removed.
    Removed(String),
    /// It is added where it is missing.
    Prepended(String),
}

/// Which query goes upstream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Query {
    /// Appended to every mapped path; its parameters replace the client's of the same name.
    pub(crate) fixed: String,
    /// The client's query goes no further.
    pub(crate) drops_client: bool,
}

/// Where a provider is reached, as far as its settings decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// `None`: the client's stays.
    pub(crate) authority: Option<String>,
    /// Path templates, `{file_id}` and the like included. An API with an empty path is switched off.
    pub(crate) apis: Vec<(Api, String)>,
    /// What becomes of everything else.
    pub(crate) others: Others,
    /// The one path for everything else, whatever `others` says.
    pub(crate) elsewhere: Option<String>,
    /// Which query goes upstream.
    pub(crate) query: Query,
}

impl Endpoint {
    /// The same at another host, if one is named.
    pub(crate) fn at(self, authority: Option<String>) -> Self {
        Self { authority: authority.or(self.authority), ..self }
    }
}

/// Where one API stands upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    /// As the vendor has it.
    vendors: String,
    path: String,
    query: String,
    has_placeholders: bool,
    has_model: bool,
}

/// The path pipeline of one provider.
#[derive(Debug)]
pub(crate) struct Paths {
    base: BasePath,
    provider_base: String,
    routes: Vec<(Api, Route)>,
    /// Switched off by an empty capability.
    disabled: Vec<Api>,
    others: Others,
    /// Takes the place of `others`.
    elsewhere: Option<Route>,
    query: Query,
}

/// Where a request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way<'a> {
    /// To a path of the vendor's.
    Mapped(&'a Route),
    /// To the path that the client named, after the base path rules.
    Kept,
    /// Nowhere.
    Refused,
}

impl Paths {
    /// Compiles the pipeline of an endpoint.
    pub(crate) fn new(base: BasePath, provider_base: &str, endpoint: &Endpoint) -> Self {
        let (disabled, served): (Vec<_>, Vec<_>) =
            endpoint.apis.iter().partition(|(_, path)| path.is_empty());
        let mut paths = Self {
            base,
            provider_base: normal(provider_base),
            routes: Vec::new(),
            disabled: disabled.iter().map(|(api, _)| *api).collect(),
            others: endpoint.others,
            elsewhere: None,
            query: endpoint.query.clone(),
        };
        paths.routes = served.iter().map(|(api, template)| (*api, paths.route(template))).collect();
        paths.elsewhere = endpoint.elsewhere.as_deref().map(|template| paths.route(template));
        paths
    }

    fn route(&self, template: &str) -> Route {
        let (path, query) = path::split(template);
        Route {
            vendors: path.to_owned(),
            path: self.prefixed(path),
            query: query.unwrap_or_default().to_owned(),
            has_placeholders: path.contains('{'),
            has_model: template.contains(MODEL),
        }
    }

    /// Where a request for `api` goes; `None` is a path that names no API.
    pub(crate) fn way(&self, api: Option<Api>) -> Way<'_> {
        let route = api.and_then(|api| self.routes.iter().find(|(known, _)| *known == api));
        if let Some((_, route)) = route {
            return Way::Mapped(route);
        }
        if self.others == Others::Sent {
            return Way::Kept;
        }
        if api.is_some_and(|api| self.disabled.contains(&api)) {
            return Way::Refused;
        }
        match (&self.elsewhere, self.others) {
            (Some(route), _) => Way::Mapped(route),
            (None, Others::UnknownSent) if api.is_none_or(passes_unlisted) => Way::Kept,
            (None, _) => Way::Refused,
        }
    }

    /// The API that a path names in the vendor's own way, and whether the path goes on behind that.
    pub(crate) fn named_by_vendor(&self, path: &str) -> Option<(Api, bool)> {
        let named =
            self.routes.iter().filter(|(_, route)| !route.has_placeholders && path.contains(&route.vendors));
        let (api, route) = named.max_by_key(|(_, route)| route.vendors.len())?;
        Some((*api, !path.ends_with(&route.vendors)))
    }

    /// Whether the client would get nothing for `api` because nobody listed it, rather than by intent.
    pub(crate) fn lacks(&self, api: Api) -> bool {
        self.others == Others::UnknownSent && self.is_unlisted(api)
    }

    /// Whether nobody says where `api` stands, nor that it is off.
    pub(crate) fn is_unlisted(&self, api: Api) -> bool {
        !self.disabled.contains(&api) && !self.serves(api)
    }

    /// Whether it is known where at the vendor's `api` stands. Where one URL stands for all, it is that of one API.
    pub(crate) fn serves(&self, api: Api) -> bool {
        let only = self.elsewhere.as_ref().map(|route| match route.path.rsplit('/').next() {
            Some("responses") => Api::Responses,
            Some("messages") => Api::AnthropicMessages,
            _ => Api::ChatCompletions,
        });
        only == Some(api) || self.routes.iter().any(|(known, _)| *known == api)
    }

    /// Whether a prefix is removed from the client's path.
    pub(crate) fn removes_prefix(&self) -> bool {
        matches!(self.base, BasePath::Removed(_))
    }

    /// The client's path as it goes upstream where nothing maps it.
    pub(crate) fn kept(&self, path: &str, query: Option<&str>) -> String {
        let stripped = match &self.base {
            BasePath::Removed(base) => path::strip_prefix(path, base),
            BasePath::Kept | BasePath::Prepended(_) => None,
        };
        path::with_query(&self.prefixed(stripped.as_deref().unwrap_or(path)), query)
    }

    /// A vendor's path as it goes upstream. `model` is asked only if the path names one.
    pub(crate) fn mapped<'a>(
        &self,
        route: &'a Route,
        places: &Placeholders,
        query: Option<&str>,
        model: &str,
    ) -> Cow<'a, str> {
        if route.has_model {
            let model = segment(places.value("model").unwrap_or(model));
            let (path, query_own) = (route.path.replace(MODEL, &model), route.query.replace(MODEL, &model));
            let known = Route { path, query: query_own, has_model: false, ..route.clone() };
            return self.mapped(&known, places, query, "").into_owned().into();
        }
        let target = match route.has_placeholders {
            true => Cow::Owned(api::fill(&route.path, places)),
            false => Cow::Borrowed(route.path.as_str()),
        };
        let client = query.filter(|_| !self.query.drops_client);
        if self.query.fixed.is_empty() && route.query.is_empty() {
            return match client {
                Some(client) => path::with_query(&target, Some(client)).into(),
                None => target,
            };
        }
        let client = client.map(|client| without(client, |name| has_parameter(&self.query.fixed, name)));
        let parts = [route.query.as_str(), client.as_deref().unwrap_or_default(), &self.query.fixed];
        let mut target = target.into_owned();
        for (at, part) in parts.iter().filter(|part| !part.is_empty()).enumerate() {
            target.push(if at == 0 { '?' } else { '&' });
            target.push_str(part);
        }
        target.into()
    }

    fn prefixed(&self, path: &str) -> String {
        let path = match &self.base {
            BasePath::Prepended(base) if !starts_with(path, base) => path::join(base, path),
            _ => path.to_owned(),
        };
        if self.provider_base.is_empty() || starts_with(&path, &self.provider_base) {
            return path;
        }
        path::join(&self.provider_base, &path)
    }
}

impl Way<'_> {
    /// Whether the path depends on the model, which may stand in a body that is not read yet.
    pub(crate) fn names_model(self) -> bool {
        matches!(self, Self::Mapped(route) if route.has_model)
    }
}

/// APIs with a name of their own that most vendors serve at the usual place, whether or not they are
/// listed for it.
fn passes_unlisted(api: Api) -> bool {
    matches!(
        api,
        Api::Model
            | Api::MessagesCountTokens
            | Api::RetrieveResponse
            | Api::CancelResponse
            | Api::ResponseInputItems
            | Api::Moderations
    )
}

/// A path prefix as it is compared and joined: a leading slash and no trailing one, or empty.
pub(crate) fn normal(prefix: &str) -> String {
    let inner = prefix.trim().trim_matches('/');
    if inner.is_empty() { String::new() } else { format!("/{inner}") }
}

fn starts_with(path: &str, base: &str) -> bool {
    path.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A query without the parameters that `unwanted` names.
pub(crate) fn without(query: &str, unwanted: impl Fn(&str) -> bool) -> String {
    let kept: Vec<&str> = query.split('&').filter(|pair| !unwanted(name_of(pair))).collect();
    kept.join("&")
}

fn has_parameter(query: &str, name: &str) -> bool {
    !name.is_empty() && query.split('&').any(|pair| name_of(pair) == name)
}

/// The value of a query parameter, as it stands there.
pub(crate) fn parameter<'a>(query: Option<&'a str>, name: &str) -> Option<&'a str> {
    let pair = query?.split('&').find(|pair| name_of(pair) == name)?;
    Some(pair.split_once('=').map_or("", |(_, value)| value))
}

fn name_of(pair: &str) -> &str {
    pair.split_once('=').map_or(pair, |(name, _)| name)
}

/// Text as one segment of a path: a slash in a model's name must not become a separator.
pub(crate) fn segment(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => {
                let digit =
                    |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0').to_ascii_uppercase();
                encoded.extend(['%', digit(byte >> 4), digit(byte & 15)]);
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(base: BasePath, provider_base: &str, query: &str) -> Paths {
        let chat = [(Api::ChatCompletions, "/v1/chat/completions".to_owned())];
        let query = Query { fixed: query.into(), drops_client: false };
        let apis = chat.to_vec();
        Paths::new(base, provider_base, &Endpoint { apis, query, ..nowhere() })
    }

    fn nowhere() -> Endpoint {
        Endpoint {
            authority: None,
            apis: Vec::new(),
            others: Others::UnknownSent,
            elsewhere: None,
            query: Query::default(),
        }
    }

    fn chat(paths: &Paths, query: Option<&str>) -> String {
        let Way::Mapped(route) = paths.way(Some(Api::ChatCompletions)) else { panic!("chat is mapped") };
        paths.mapped(route, &Placeholders::default(), query, "").into_owned()
    }

    #[test]
    fn a_removed_prefix_is_whole_segments() {
        let paths = paths(BasePath::Removed("/ai".into()), "", "");
        assert_eq!(paths.kept("/ai/v1/x", Some("a=1")), "/v1/x?a=1");
        assert_eq!(paths.kept("/aix/v1/x", None), "/aix/v1/x");
        assert_eq!(paths.kept("/ai", None), "/");
    }

    #[test]
    fn prefixes_are_added_once() {
        let paths = paths(BasePath::Prepended("/pp".into()), "api/ai/", "");
        assert_eq!(chat(&paths, None), "/api/ai/pp/v1/chat/completions");
        assert_eq!(paths.kept("/pp/x", None), "/api/ai/pp/x");
        assert_eq!(paths.kept("/api/ai/x", None), "/api/ai/pp/api/ai/x");
    }

    #[test]
    fn the_query_is_kept_byte_for_byte() {
        let paths = paths(BasePath::Prepended("/pp".into()), "", "");
        assert_eq!(chat(&paths, Some("u=http://x//y/")), "/pp/v1/chat/completions?u=http://x//y/");
        assert_eq!(chat(&paths, Some("")), "/pp/v1/chat/completions?");
    }

    #[test]
    fn a_fixed_parameter_replaces_the_clients() {
        let paths = paths(BasePath::Kept, "", "api-version=1");
        assert_eq!(chat(&paths, None), "/v1/chat/completions?api-version=1");
        assert_eq!(chat(&paths, Some("api-version=0&x=1&x=2")), "/v1/chat/completions?x=1&x=2&api-version=1");
        assert_eq!(chat(&paths, Some("")), "/v1/chat/completions?api-version=1");
    }

    #[test]
    fn a_model_is_one_segment() {
        assert_eq!(segment("a/b c:ü-1.0_x~"), "a%2Fb%20c%3A%C3%BC-1.0_x~");
    }

    #[test]
    fn a_known_api_that_is_not_listed_is_refused_and_an_unknown_path_is_not() {
        let paths = paths(BasePath::Kept, "", "");
        assert_eq!(paths.way(Some(Api::Embeddings)), Way::Refused);
        assert_eq!(paths.way(Some(Api::Moderations)), Way::Kept);
        assert_eq!(paths.way(None), Way::Kept);
    }

    #[test]
    fn an_api_that_is_switched_off_is_refused() {
        let apis = vec![(Api::Moderations, String::new())];
        let paths = Paths::new(BasePath::Kept, "", &Endpoint { apis, ..nowhere() });
        assert_eq!(paths.way(Some(Api::Moderations)), Way::Refused);
    }
}
