//! The vendors: what every one of them has, and the registry. One file each.

use common::config::reference::Documented;
#[cfg(not(target_arch = "wasm32"))]
use common::config::reference::Key;
use common::config::{ConfigError, Node, Section};
use common::http::Head;
use common::json::{Object, Patch};
use common::llm::api::Api;

use crate::config::Settings;
use crate::credential::{Auth, Keyless};
use crate::path::{Endpoint, Others, Query};
use translate::Manner;

mod ai360;
mod azure;
mod baichuan;
mod baidu;
mod claude;
mod cloudflare;
mod coze;
pub(crate) mod custom_url;
mod deepseek;
mod doubao;
mod fireworks;
mod generic;
mod github;
mod grok;
mod groq;
mod longcat;
mod minimax;
mod mistral;
mod moonshot;
mod ollama;
mod openai;
mod openrouter;
mod response_format;
mod stepfun;
mod together_ai;
mod vllm;
mod yi;
mod zhipuai;

/// Every vendor there is, one line each.
static PROFILES: &[&Profile] = &[
    &ai360::PROFILE,
    &azure::PROFILE,
    &baichuan::PROFILE,
    &baidu::PROFILE,
    &claude::PROFILE,
    &cloudflare::PROFILE,
    &coze::PROFILE,
    &deepseek::PROFILE,
    &doubao::PROFILE,
    &fireworks::PROFILE,
    &generic::PROFILE,
    &github::PROFILE,
    &grok::PROFILE,
    &groq::PROFILE,
    &longcat::PROFILE,
    &minimax::PROFILE,
    &mistral::PROFILE,
    &moonshot::PROFILE,
    &ollama::PROFILE,
    &openai::PROFILE,
    &openrouter::PROFILE,
    &stepfun::PROFILE,
    &together_ai::PROFILE,
    &vllm::PROFILE,
    &yi::PROFILE,
    &zhipuai::PROFILE,
];

/// The vendor of a config's `type`.
pub(crate) fn find(kind: &str) -> Option<&'static Profile> {
    PROFILES.iter().copied().find(|profile| profile.kind == kind)
}

/// One upstream vendor. A file lists only how the vendor differs; most are a profile alone.
///
/// Where a vendor has settings of its own, the struct that they are read into is the provider.
pub(crate) trait Provider {
    /// What is the same for everyone who uses this vendor.
    fn profile(&self) -> &'static Profile;

    /// Where the vendor is reached, if the settings have a say in it. Called once, when the
    /// configuration is loaded; it also checks the vendor's own settings.
    fn endpoint(&self, _node: &Node<'_>, _section: &mut Section<'_>) -> Result<Endpoint, ConfigError> {
        Ok(self.profile().endpoint())
    }

    /// How this API wants the key.
    fn auth(&self, _api: Api) -> Auth {
        self.profile().auth
    }

    /// How chats that come in another API's form are put. `elsewhere`: another host stands for the vendor's.
    fn manner(&self, _elsewhere: bool) -> Manner {
        self.profile().manner
    }

    /// Headers of the vendor's own, beside the one with the key.
    fn edit_head(&self, _head: &mut Head) {}

    /// Where at the vendor's a file is, as the JSON that has its text as `content`, that goes into every chat.
    fn file(&self) -> Option<&str> {
        None
    }

    /// Whether the JSON body of this API is to be edited: the model mapped, usage asked for.
    fn edits(&self, _api: Api) -> bool {
        true
    }

    /// The vendor's own edits of a request body, before the model is mapped.
    fn edit(&self, _api: Api, _body: &Object<'_>, _patch: &mut Patch<'_>) {}

    /// Whether a streamed chat of this vendor is not quite OpenAI's, so that [`Provider::edit_chunk`] is to see
    /// each of its chunks.
    fn edits_chunks(&self) -> bool {
        false
    }

    /// Makes a chunk of a streamed chat OpenAI's.
    fn edit_chunk(&self, _chunk: &Object<'_>, _patch: &mut Patch<'_>) {}
}

/// Settings of one vendor: how a provider object that has them is read, and what the README says of them.
pub(crate) struct Own {
    load: Load,
    #[cfg(not(target_arch = "wasm32"))]
    keys: &'static [Key],
}

/// Reads a provider object: the settings of every provider, and the vendor itself.
type Load = fn(&'static Profile, &mut Section<'_>, &Node<'_>) -> Result<Loaded, ConfigError>;

type Loaded = (Settings, Box<dyn Provider>);

/// What is the same for everyone who uses a vendor.
pub(crate) struct Profile {
    /// The config's `type`, the metric label.
    pub(crate) kind: &'static str,
    /// Empty where the settings name it.
    pub(crate) host: &'static str,
    pub(crate) auth: Auth,
    pub(crate) keyless: Keyless,
    /// The APIs that the vendor speaks, and where.
    pub(crate) apis: &'static [(Api, &'static str)],
    pub(crate) others: Others,
    /// With `protocol: original` the path goes as the client named it, never to where `apis` says.
    pub(crate) keeps_original_path: bool,
    /// The vendor knows the role `developer`.
    pub(crate) knows_developer: bool,
    /// Streams tell their usage unasked, and a request that asks for it is refused.
    pub(crate) tells_usage: bool,
    /// It refuses thinking in earlier messages that it has not signed itself.
    pub(crate) checks_signatures: bool,
    /// How chats that come in another API's form are put.
    pub(crate) manner: Manner,
    /// `firstByteTimeout` goes with every request, streamed or not.
    pub(crate) times_every_request: bool,
    pub(crate) settings: Own,
}

impl Profile {
    /// A vendor like most: OpenAI's formats, a bearer key that must be configured, no settings.
    const fn new(kind: &'static str, host: &'static str, apis: &'static [(Api, &'static str)]) -> Self {
        Self {
            kind,
            host,
            auth: Auth::Bearer,
            keyless: Keyless::Refused,
            apis,
            others: Others::UnknownSent,
            keeps_original_path: false,
            knows_developer: false,
            tells_usage: false,
            checks_signatures: false,
            manner: Manner::OPENAI,
            times_every_request: false,
            settings: Own {
                load: plain,
                #[cfg(not(target_arch = "wasm32"))]
                keys: &[],
            },
        }
    }

    /// Reads a provider object of this vendor.
    pub(crate) fn load(
        &'static self,
        section: &mut Section<'_>,
        node: &Node<'_>,
    ) -> Result<Loaded, ConfigError> {
        (self.settings.load)(self, section, node)
    }

    /// Where the vendor is reached if no setting says otherwise.
    fn endpoint(&self) -> Endpoint {
        Endpoint {
            authority: (!self.host.is_empty()).then(|| self.host.to_owned()),
            apis: self.apis.iter().map(|(api, path)| (*api, (*path).to_owned())).collect(),
            others: self.others,
            elsewhere: None,
            query: Query::default(),
        }
    }
}

/// A vendor without settings of its own.
struct Plain(&'static Profile);

impl Provider for Plain {
    fn profile(&self) -> &'static Profile {
        self.0
    }
}

common::settings! {
    struct NoSettings {}
}

fn plain(
    profile: &'static Profile,
    section: &mut Section<'_>,
    node: &Node<'_>,
) -> Result<Loaded, ConfigError> {
    let (settings, NoSettings {}) = section.read_pair(node)?;
    Ok((settings, Box::new(Plain(profile))))
}

/// A vendor whose settings are its provider.
const fn own<P: Provider + Documented + 'static>() -> Own {
    fn load<P: Provider + Documented + 'static>(
        _: &'static Profile,
        section: &mut Section<'_>,
        node: &Node<'_>,
    ) -> Result<Loaded, ConfigError> {
        let (settings, provider) = section.read_pair::<Settings, P>(node)?;
        Ok((settings, Box::new(provider)))
    }
    Own {
        load: load::<P>,
        #[cfg(not(target_arch = "wasm32"))]
        keys: P::KEYS,
    }
}

/// The settings of single vendors, by their `type`.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn keys() -> Vec<(&'static str, &'static [Key])> {
    PROFILES.iter().map(|profile| (profile.kind, profile.settings.keys)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const README: &str = include_str!("../../README.md");

    #[test]
    fn kinds_are_unique_and_found() {
        for profile in PROFILES {
            assert!(std::ptr::eq(find(profile.kind).unwrap(), *profile), "{}", profile.kind);
        }
        assert!(find("nope").is_none());
    }

    #[test]
    fn paths_are_absolute_and_apis_stand_once() {
        for profile in PROFILES {
            for (place, (api, path)) in profile.apis.iter().enumerate() {
                assert!(path.starts_with('/'), "{} {path}", profile.kind);
                let twice = profile.apis.iter().skip(place + 1).any(|(other, _)| other == api);
                assert!(!twice, "{} lists {} twice", profile.kind, api.name());
            }
        }
    }

    #[test]
    fn the_readme_has_a_row_with_the_host_of_every_vendor() {
        for profile in PROFILES {
            let row = README.lines().find(|line| line.starts_with(&format!("| `{}` |", profile.kind)));
            let row = row.unwrap_or_else(|| panic!("no row for {}", profile.kind));
            assert!(row.contains(profile.host), "{row}");
        }
    }
}
