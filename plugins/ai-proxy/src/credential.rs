//! Which key is sent upstream, and which of the client's credentials are not.

use std::rc::Rc;

use common::config::Secret;
use common::http::head::Value;
use common::http::{Fault, Head};
use common::llm::api::Api;

/// Headers in which clients carry keys. None of them passes beside a key of ours.
const CREDENTIALS: [&str; 5] = ["authorization", "x-api-key", "x-authorization", "api-key", "x-goog-api-key"];

const BEARER: &str = "Bearer ";

/// Browsers can open a WebSocket with no other header, so they name their key
/// [as a sub-protocol](https://platform.openai.com/docs/guides/realtime-websocket).
const PROTOCOLS: &str = "sec-websocket-protocol";
const PROTOCOL_KEY: &str = "openai-insecure-api-key.";

/// The client's own `authorization`, kept by a gateway in front of this one.
const ORIGINAL_AUTH: &str = "x-hi-original-auth";

/// How a vendor wants its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Auth {
    /// `authorization: Bearer <key>`.
    Bearer,
    /// The same, unless the key names a scheme itself.
    BearerUnlessScheme,
    /// `authorization: <key>`.
    Raw,
    /// A header of the vendor's own.
    Header(&'static str),
}

impl Auth {
    fn header(self) -> &'static str {
        match self {
            Self::Bearer | Self::BearerUnlessScheme | Self::Raw => "authorization",
            Self::Header(name) => name,
        }
    }

    fn value(self, key: &str) -> Vec<u8> {
        match self {
            Self::Bearer => [b"Bearer ", key.as_bytes()].concat(),
            Self::BearerUnlessScheme if !key.contains(' ') => [b"Bearer ", key.as_bytes()].concat(),
            Self::BearerUnlessScheme | Self::Raw | Self::Header(_) => key.as_bytes().to_vec(),
        }
    }
}

/// Where the key comes from if no token is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keyless {
    /// Nowhere: such a configuration is refused, unless it names a header of the client.
    Refused,
    /// From the client, whose key is sent once, as the vendor wants it; a request without one is
    /// answered 401.
    ClientKey,
    /// From the client, if it sends one.
    ClientKeyIfAny,
    /// The client's `authorization` passes as it came.
    AsSent,
}

/// The keys of one provider.
#[derive(Debug)]
pub(crate) struct Credentials {
    auth: Auth,
    /// Each with its header value, ready to be sent.
    tokens: Vec<Token>,
    keyless: Keyless,
    /// The client header to take the key from first, if no token is configured.
    key_header: Option<String>,
}

struct Token {
    key: Secret,
    value: Rc<[u8]>,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.key.fmt(f)
    }
}

/// Why tokens cannot be used. No variant carries one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadTokens {
    /// There are none, and the vendor needs one.
    None,
    /// The one at this place holds a control character, which no header may carry.
    Unsendable(usize),
}

impl Credentials {
    /// Readies the keys of a configuration. Blank ones count as absent.
    pub(crate) fn new(
        auth: Auth,
        keyless: Keyless,
        tokens: Vec<Secret>,
        key_header: &str,
    ) -> Result<Self, BadTokens> {
        let unsendable = |token: &Secret| token.reveal().trim().contains(char::is_control);
        if let Some(at) = tokens.iter().position(unsendable) {
            return Err(BadTokens::Unsendable(at));
        }
        let tokens: Vec<Token> = tokens
            .into_iter()
            .filter(|key| !key.reveal().trim().is_empty())
            // A key read from a file often ends in a line break.
            .map(|key| Token { value: auth.value(key.reveal().trim()).into(), key })
            .collect();
        let key_header = Some(key_header.trim().to_ascii_lowercase()).filter(|name| !name.is_empty());
        if tokens.is_empty() && keyless == Keyless::Refused && key_header.is_none() {
            return Err(BadTokens::None);
        }
        Ok(Self { auth, tokens, keyless, key_header })
    }

    /// How many tokens there are.
    pub(crate) fn len(&self) -> usize {
        self.tokens.len()
    }

    /// The place of the token that a head carries already.
    pub(crate) fn place_in(&self, head: &Head) -> Option<usize> {
        self.tokens.iter().position(|token| {
            CREDENTIALS.iter().any(|name| {
                let sent = head.get(name).filter(|sent| !sent.is_empty());
                sent.is_some_and(|sent| *sent == *token.value || sent == token.key.reveal().trim().as_bytes())
            })
        })
    }

    /// Tells one set of tokens from another, without telling the tokens.
    pub(crate) fn fingerprint(&self) -> u64 {
        let bytes = self.tokens.iter().flat_map(|token| token.key.reveal().trim().bytes().chain([0]));
        bytes
            .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    }

    /// Removes the client's credentials and sets the one that goes upstream: the token at `pick`, or
    /// the client's own key where no token is configured. `auth` is how this API wants it.
    pub(crate) fn apply(&self, head: &mut Head, auth: Auth, pick: usize) -> Result<(), Fault> {
        let value = match self.tokens.get(pick) {
            Some(token) if auth == self.auth => Some(Value::from(&token.value)),
            Some(token) => Some(auth.value(token.key.reveal().trim()).into()),
            None => self.client_key(head).map(|key| auth.value(&key).into()),
        };
        let Some(value) = value else {
            return match self.keyless {
                Keyless::Refused | Keyless::ClientKey => {
                    Err(Fault::client(401, "missing_api_key", "the request carries no API key"))
                }
                Keyless::ClientKeyIfAny | Keyless::AsSent => {
                    let kept = (self.keyless == Keyless::AsSent).then_some("authorization");
                    strip(head, kept);
                    Ok(())
                }
            };
        };
        strip(head, Some(auth.header()));
        if let Some(name) = self.key_header.as_deref().filter(|name| *name != auth.header()) {
            head.remove(name);
        }
        head.set(auth.header(), value);
        Ok(())
    }

    fn client_key(&self, head: &Head) -> Option<String> {
        let key = |value: &[u8]| {
            let text = std::str::from_utf8(value).ok()?;
            let key = without_scheme(text).trim();
            (!key.is_empty()).then(|| key.to_owned())
        };
        if let Some(found) = self.key_header.as_deref().and_then(|name| head.get(name)).and_then(key) {
            return Some(found);
        }
        match self.keyless {
            Keyless::Refused | Keyless::AsSent => None,
            Keyless::ClientKey | Keyless::ClientKeyIfAny => {
                let named =
                    ["x-api-key", "x-authorization"].iter().find_map(|name| head.get(name).and_then(key));
                named.or_else(|| original_auth(head).and_then(key)).or_else(|| protocol_key(head))
            }
        }
    }
}

/// A key without the scheme of its header, whose case does not matter: <https://www.rfc-editor.org/rfc/rfc9110#section-11.1>.
fn without_scheme(text: &str) -> &str {
    match text.split_at_checked(BEARER.len()) {
        Some((scheme, key)) if scheme.eq_ignore_ascii_case(BEARER) => key,
        _ => text,
    }
}

/// The key of a client that can set no header but the names of sub-protocols.
fn protocol_key(head: &Head) -> Option<String> {
    let list = head.get_str(PROTOCOLS)?;
    let key = list.split(',').find_map(|name| name.trim().strip_prefix(PROTOCOL_KEY))?;
    (!key.is_empty()).then(|| key.to_owned())
}

/// Removes every credential but the one named.
fn strip(head: &mut Head, kept: Option<&str>) {
    if let Some(list) = head.get_str(PROTOCOLS).filter(|list| list.contains(PROTOCOL_KEY)) {
        let others: Vec<&str> =
            list.split(',').map(str::trim).filter(|name| !name.starts_with(PROTOCOL_KEY)).collect();
        match others.join(", ") {
            list if list.is_empty() => head.remove(PROTOCOLS),
            list => head.set(PROTOCOLS, list),
        }
    }
    for name in CREDENTIALS {
        if Some(name) != kept {
            head.remove(name);
        }
    }
}

/// What the client itself sent as `authorization`, even if a gateway before this one has replaced it.
fn original_auth(head: &Head) -> Option<&[u8]> {
    head.get(ORIGINAL_AUTH).filter(|value| !value.is_empty()).or_else(|| head.get("authorization"))
}

/// What becomes of `x-hi-original-auth`: taken before [`Credentials::apply`] changes what it is taken
/// from, set or removed after it.
pub(crate) struct OriginalAuth(Option<Vec<u8>>);

impl OriginalAuth {
    /// What is to be kept, if `keep`.
    pub(crate) fn of(head: &Head, keep: bool) -> Self {
        Self(original_auth(head).filter(|value| keep && !value.is_empty()).map(<[u8]>::to_vec))
    }

    /// Sets or removes the header. It would show a gateway's credential to the vendor, so it is
    /// removed unless asked for.
    pub(crate) fn apply(self, head: &mut Head) {
        match self.0 {
            Some(value) => head.set(ORIGINAL_AUTH, value),
            None => head.remove(ORIGINAL_AUTH),
        }
    }
}

/// Whether a vendor may keep state for this API under one key, so that a consumer must stay with it.
pub(crate) fn is_stateful(api: Api) -> bool {
    matches!(
        api,
        Api::Responses
            | Api::RetrieveResponse
            | Api::CancelResponse
            | Api::ResponseInputItems
            | Api::QwenConversations
            | Api::Files
            | Api::RetrieveFile
            | Api::RetrieveFileContent
            | Api::Batches
            | Api::RetrieveBatch
            | Api::CancelBatch
            | Api::FineTuningJobs
            | Api::RetrieveFineTuningJob
            | Api::FineTuningJobEvents
            | Api::FineTuningJobCheckpoints
            | Api::CancelFineTuningJob
            | Api::ResumeFineTuningJob
            | Api::PauseFineTuningJob
            | Api::FineTuningCheckpointPermissions
            | Api::DeleteFineTuningCheckpointPermission
            | Api::Videos
            | Api::RetrieveVideo
            | Api::RetrieveVideoContent
            | Api::VideoRemix
    )
}

/// The token that a consumer stays with: FNV-1a of its name, so that all workers agree.
pub(crate) fn place_of(consumer: &[u8], tokens: usize) -> usize {
    let hash = fnv1a(consumer);
    usize::try_from(hash).ok().and_then(|hash| hash.checked_rem(tokens)).unwrap_or(0)
}

fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consumers_hash_as_published() {
        let vectors = [
            ("alice", 0x8722_13e7, [1, 2, 4]),
            ("bob", 0x86c6_a0d4, [0, 2, 4]),
            ("carol", 0x6708_8f12, [0, 2, 2]),
            ("team-a", 0x26db_73d6, [0, 1, 1]),
            ("svc-1", 0x77bf_cfe3, [1, 0, 4]),
        ];
        for (consumer, hash, places) in vectors {
            assert_eq!(fnv1a(consumer.as_bytes()), hash, "{consumer}");
            assert_eq!([2, 3, 5].map(|tokens| place_of(consumer.as_bytes(), tokens)), places, "{consumer}");
        }
    }

    #[test]
    fn no_tokens_is_no_division_by_zero() {
        assert_eq!(place_of(b"alice", 0), 0);
    }

    fn sent(
        keyless: Keyless,
        key_header: &str,
        fields: &[(&str, &str)],
    ) -> Result<Vec<(String, String)>, u16> {
        let mut head = Head::from_fields(fields);
        let credentials = Credentials::new(Auth::Bearer, keyless, Vec::new(), key_header).unwrap();
        credentials.apply(&mut head, Auth::Bearer, 0).map_err(|fault| fault.status)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(head.fields().map(|(name, value)| (text(name), text(value))).collect())
    }

    fn check(keyless: Keyless, key_header: &str, fields: &[(&str, &str)], expected: &[(&str, &str)]) {
        let expected: Vec<_> = expected.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        assert_eq!(sent(keyless, key_header, fields), Ok(expected));
    }

    #[test]
    fn the_clients_key_is_sent_once_in_the_order_of_precedence() {
        let all =
            [("authorization", "Bearer a"), ("x-authorization", "b"), ("x-api-key", "c"), ("api-key", "d")];
        check(Keyless::ClientKey, "", &all, &[("authorization", "Bearer c")]);
        check(Keyless::ClientKey, "", &all[..2], &[("authorization", "Bearer b")]);
        check(Keyless::ClientKey, "", &[("authorization", "tok")], &[("authorization", "Bearer tok")]);
        check(
            Keyless::ClientKey,
            "",
            &[("authorization", "bEARER  tok")],
            &[("authorization", "Bearer tok")],
        );
        let protocols = [("sec-websocket-protocol", "openai-insecure-api-key.tok")];
        check(Keyless::ClientKey, "", &protocols, &[("authorization", "Bearer tok")]);
        check(
            Keyless::ClientKey,
            "",
            &[("authorization", "Token q")],
            &[("authorization", "Bearer Token q")],
        );
    }

    #[test]
    fn an_authorization_kept_by_an_earlier_gateway_counts_as_the_clients() {
        let fields = [("authorization", "Bearer gateway"), ("x-hi-original-auth", "Bearer mine")];
        let mut head = Head::from_fields(&fields);
        let credentials = Credentials::new(Auth::Bearer, Keyless::ClientKey, Vec::new(), "").unwrap();
        credentials.apply(&mut head, Auth::Bearer, 0).unwrap();
        assert_eq!(head.get_str("authorization"), Some("Bearer mine"));
    }

    #[test]
    fn a_named_header_is_taken_first_and_goes() {
        let fields = [("x-key", "n"), ("x-api-key", "c")];
        check(Keyless::ClientKey, "X-Key", &fields, &[("authorization", "Bearer n")]);
        check(Keyless::Refused, "x-key", &fields, &[("authorization", "Bearer n")]);
        assert_eq!(sent(Keyless::Refused, "x-key", &fields[1..]), Err(401), "no other header counts");
    }

    #[test]
    fn without_any_key_the_vendor_decides() {
        assert_eq!(sent(Keyless::ClientKey, "", &[("x-api-key", " ")]), Err(401));
        check(Keyless::ClientKeyIfAny, "", &[("api-key", "d")], &[]);
        check(
            Keyless::AsSent,
            "",
            &[("authorization", "Basic z"), ("x-api-key", "c")],
            &[("authorization", "Basic z")],
        );
    }

    #[test]
    fn a_scheme_in_the_key_is_kept_where_the_vendor_takes_one() {
        assert_eq!(Auth::BearerUnlessScheme.value("k"), b"Bearer k");
        assert_eq!(Auth::BearerUnlessScheme.value("Basic k"), b"Basic k");
        assert_eq!(Auth::Raw.value("k"), b"k");
    }
}
