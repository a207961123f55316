//! A base URL of the operator's: `openaiCustomUrl`, `vllmCustomUrl`.

use common::config::{ConfigError, Node, Section};
use common::llm::api::Api;

use super::{Endpoint, Profile, Query};
use crate::path::normal;

/// The endpoint of `profile` at the URL in `key`. It names a base, under which the APIs stand as they
/// do under `/v1` of OpenAI, or ends with one of `named` and then shows where that API stands.
pub(super) fn endpoint(
    url: &str,
    key: &str,
    named: &[&str],
    profile: &Profile,
    node: &Node<'_>,
    section: &mut Section<'_>,
) -> Result<Endpoint, ConfigError> {
    let place = node.get(key);
    let place = place.as_ref().unwrap_or(node);
    let Some(url) = CustomUrl::parse(url) else {
        return Err(place.error("expected a URL such as `https://host/v1`"));
    };
    if url.path.is_empty() {
        section.warn(
            place.path(),
            format!(
                "without a path, chats go to `/chat/completions`; write `https://{}/v1` for `/v1/chat/completions`",
                url.authority
            ),
        );
    }
    let (base, single) = match named.iter().find_map(|end| Some((url.path.strip_suffix(end)?, *end))) {
        // `/chat/completions` is `/completions` as well; what stands before `/chat` is the base.
        Some((base, "/completions")) => match base.strip_suffix("/chat") {
            Some(base) => (base, "/chat/completions"),
            None => (base, "/completions"),
        },
        found => found.unwrap_or((url.path.as_str(), "")),
    };
    let mut apis = rebased(base, profile.apis);
    if single == "/completions" {
        for (api, path) in &mut apis {
            if *api == Api::ChatCompletions {
                *path = format!("{}{single}", normal(base));
            }
        }
    }
    Ok(Endpoint {
        authority: Some(url.authority),
        apis,
        query: Query { fixed: url.query, drops_client: false },
        ..profile.endpoint()
    })
}

/// The host that a setting names, with a port or without; a scheme before it says nothing. `None`: it names none.
pub(crate) fn host(text: &str, key: &str, node: &Node<'_>) -> Result<Option<String>, ConfigError> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    match CustomUrl::parse(text).filter(|url| url.path.is_empty() && url.query.is_empty()) {
        Some(url) => Ok(Some(url.authority)),
        None => {
            let place = node.get(key);
            Err(place.as_ref().unwrap_or(node).error("expected a host, with a port or without"))
        }
    }
}

/// APIs under another base than `/v1`.
pub(super) fn rebased(base: &str, apis: &[(Api, &str)]) -> Vec<(Api, String)> {
    let base = normal(base);
    apis.iter()
        .map(|(api, path)| (*api, format!("{base}{}", path.strip_prefix("/v1").unwrap_or(path))))
        .collect()
}

/// The parts of a URL that matter here.
pub(super) struct CustomUrl {
    pub(super) authority: String,
    /// Empty, or with a leading slash and no trailing one.
    pub(super) path: String,
    pub(super) query: String,
}

impl CustomUrl {
    /// The scheme may be left out; it says nothing, for the cluster decides about TLS.
    pub(super) fn parse(url: &str) -> Option<Self> {
        let url = url.trim();
        let rest = match url.split_once("://") {
            Some((scheme, rest))
                if ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) =>
            {
                rest
            }
            Some(_) => return None,
            None => url,
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let is_host = |byte: char| byte.is_ascii_alphanumeric() || "-._:[]".contains(byte);
        if authority.is_empty() || !authority.chars().all(is_host) {
            return None;
        }
        // Doubled slashes inside a base come from careless joining, and vendors answer 404 to them.
        let path = path.split('/').filter(|segment| !segment.is_empty()).collect::<Vec<_>>().join("/");
        Some(Self { authority: authority.to_owned(), path: normal(&path), query: query.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        let parts = |url: &str| {
            let url = CustomUrl::parse(url)?;
            Some((url.authority, url.path, url.query))
        };
        let expect = |a: &str, p: &str, q: &str| Some((a.to_owned(), p.to_owned(), q.to_owned()));
        assert_eq!(parts("https://h.test:8443/llm/v1"), expect("h.test:8443", "/llm/v1", ""));
        assert_eq!(parts("HTTP://h.test"), expect("h.test", "", ""));
        assert_eq!(parts("h.test//a//b/?x=1"), expect("h.test", "/a/b", "x=1"));
        assert_eq!(parts("http://[::1]:80/"), expect("[::1]:80", "", ""));
        for bad in ["", "https://", "ftp://h", "https://user:pw@h/", "https://h h/"] {
            assert_eq!(parts(bad), None, "{bad}");
        }
    }
}
