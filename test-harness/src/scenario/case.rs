//! One case: what the client sends, what is answered, what each must see.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::expected::Expected;
use super::pattern::Pattern;
use super::payload::{Payload, split};
use super::{OneOrMany, Texts, Wrong};
use crate::client::{Leave, Request, Version};
use crate::upstream::{Answer, Chunk, ContentLength, Fields, Then};

/// One exchange and what must come of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) client: Client,
    #[serde(default)]
    pub(super) upstream: Option<OneOrMany<ScriptedAnswer>>,
    #[serde(default)]
    pub(super) upstream_sees: Option<OneOrMany<Seen>>,
    pub(super) client_sees: ClientSees,
    #[serde(default)]
    pub(super) services: BTreeMap<String, Service>,
    #[serde(default)]
    pub(super) access_log: BTreeMap<String, Pattern>,
    #[serde(default)]
    pub(super) log_includes: Texts,
    #[serde(default)]
    pub(super) log_excludes: Texts,
}

/// What another cluster than the upstream answers and sees.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Service {
    #[serde(default)]
    pub(super) answers: Option<OneOrMany<ScriptedAnswer>>,
    #[serde(default)]
    pub(super) sees: Option<OneOrMany<Seen>>,
}

/// Header fields to send: a value, a list of values, `{base64: …}`, or null for none.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(try_from = "Value")]
pub(super) struct Headers(Vec<(String, Option<Vec<u8>>)>);

impl TryFrom<Value> for Headers {
    type Error = Wrong;

    fn try_from(value: Value) -> Result<Self, Wrong> {
        let Value::Object(object) = value else { return Err(Wrong::new("headers: expected an object")) };
        let mut fields = Vec::new();
        for (name, value) in object {
            match value {
                Value::Null => fields.push((name, None)),
                Value::Array(values) => {
                    for value in values {
                        fields.push((name.clone(), Some(field_value(&name, value)?)));
                    }
                }
                value => {
                    let bytes = field_value(&name, value)?;
                    fields.push((name, Some(bytes)));
                }
            }
        }
        Ok(Self(fields))
    }
}

fn field_value(name: &str, value: Value) -> Result<Vec<u8>, Wrong> {
    match value {
        Value::String(text) => Ok(text.into_bytes()),
        Value::Number(number) => Ok(number.to_string().into_bytes()),
        Value::Bool(is) => Ok(is.to_string().into_bytes()),
        value => match (value.as_object().map(|object| object.len()), value["base64"].as_str()) {
            (Some(1), Some(text)) => super::payload::base64(text),
            _ => Err(Wrong::new(format!("{name}: {value} is neither a value nor {{base64: …}}"))),
        },
    }
}

impl Headers {
    /// The fields to send, with a content type for the body unless they have one or refuse it.
    fn fields(&self, content_type: Option<&str>) -> Fields {
        let has_type = self.0.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        let added = content_type
            .filter(|_| !has_type)
            .map(|kind| ("content-type".to_owned(), kind.as_bytes().to_vec()));
        let own = self.0.iter().filter_map(|(name, value)| Some((name.clone(), value.clone()?)));
        own.chain(added).collect()
    }
}

/// The client's request.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Value")]
pub(super) struct Client {
    pub(super) payload: Payload,
    head: ClientHead,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClientHead {
    #[serde(default)]
    method: Option<String>,
    path: String,
    #[serde(default)]
    headers: Headers,
    #[serde(default)]
    trailers: Headers,
    #[serde(default)]
    version: Http,
    #[serde(default)]
    leaves: Option<Leaves>,
    #[serde(default)]
    patience_ms: Option<u64>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Http {
    #[default]
    H1,
    H2,
}

impl From<Http> for Version {
    fn from(http: Http) -> Self {
        match http {
            Http::H1 => Self::H1,
            Http::H2 => Self::H2,
        }
    }
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct Leaves {
    #[serde(default)]
    after_sending: Option<bool>,
    #[serde(default)]
    after_chunks: Option<usize>,
    #[serde(default)]
    after_bytes: Option<usize>,
}

impl TryFrom<Value> for Client {
    type Error = Wrong;

    fn try_from(value: Value) -> Result<Self, Wrong> {
        let (payload, head) = split("client", value, Payload::KEYS)?;
        let client = Self { payload, head };
        client.leave()?;
        Ok(client)
    }
}

impl Client {
    fn leave(&self) -> Result<Option<Leave>, Wrong> {
        match self.head.leaves {
            None => Ok(None),
            Some(Leaves { after_sending: Some(true), after_chunks: None, after_bytes: None }) => {
                Ok(Some(Leave::AfterSending))
            }
            Some(Leaves { after_sending: None, after_chunks: Some(count), after_bytes: None }) => {
                Ok(Some(Leave::AfterChunks(count)))
            }
            Some(Leaves { after_sending: None, after_chunks: None, after_bytes: Some(count) }) => {
                Ok(Some(Leave::AfterReceiving(count)))
            }
            Some(_) => Err(Wrong::new(
                "leaves: one of `after_sending: true`, `after_chunks: <n>`, `after_bytes: <n>`",
            )),
        }
    }

    pub(super) fn request(&self, folder: &Path, seed: u64) -> Request {
        let head = &self.head;
        let has_body = self.payload.is_there();
        let method = head.method.as_deref().unwrap_or(if has_body { "POST" } else { "GET" });
        let mut request = Request::new(method, head.path.as_str()).over(head.version.into());
        request.headers = head.headers.fields(self.payload.content_type());
        request.trailers = head.trailers.fields(None);
        request.leave = self.leave().unwrap_or_default();
        if let Some(patience) = head.patience_ms {
            request.patience = Duration::from_millis(patience);
        }
        if !has_body {
            return request;
        }
        if self.payload.is_in_pieces() || !request.trailers.is_empty() {
            request.chunks(self.payload.chunks(folder, seed))
        } else {
            request.body(self.payload.bytes(folder))
        }
    }
}

/// One answer of the upstream.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Value")]
pub(super) struct ScriptedAnswer {
    pub(super) payload: Payload,
    head: AnswerHead,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct AnswerHead {
    status: u16,
    headers: Headers,
    trailers: Headers,
    reset: Option<Moment>,
    hang: Option<Moment>,
    close: Option<Moment>,
    content_length: Option<Length>,
    delay_ms: u64,
    early: bool,
    echo: bool,
    path: Option<String>,
}

impl Default for AnswerHead {
    fn default() -> Self {
        Self {
            status: 200,
            headers: Headers::default(),
            trailers: Headers::default(),
            reset: None,
            hang: None,
            close: None,
            content_length: None,
            delay_ms: 0,
            early: false,
            echo: false,
            path: None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Moment {
    BeforeHead,
    MidStream,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "Value")]
struct Length(ContentLength);

impl TryFrom<Value> for Length {
    type Error = Wrong;

    fn try_from(value: Value) -> Result<Self, Wrong> {
        match (value.as_u64(), value.as_str()) {
            (Some(length), _) => Ok(Self(ContentLength::Given(length))),
            (_, Some("auto")) => Ok(Self(ContentLength::Auto)),
            (_, Some("none")) => Ok(Self(ContentLength::None)),
            _ => Err(Wrong::new(format!("content_length: {value} is none of auto, none, <number>"))),
        }
    }
}

impl TryFrom<Value> for ScriptedAnswer {
    type Error = Wrong;

    fn try_from(value: Value) -> Result<Self, Wrong> {
        let (payload, head): (_, AnswerHead) = split("answer", value, Payload::KEYS)?;
        if [head.reset, head.hang, head.close].iter().flatten().count() > 1 {
            return Err(Wrong::new("one of reset, hang, close"));
        }
        Ok(Self { payload, head })
    }
}

impl ScriptedAnswer {
    /// The path it is for, if it is for one.
    pub(super) fn path(&self) -> Option<&str> {
        self.head.path.as_deref()
    }

    pub(super) fn answer(&self, folder: &Path, seed: u64) -> Answer {
        let head = &self.head;
        let ends = [(head.reset, Then::Reset), (head.hang, Then::Hang), (head.close, Then::Close)];
        let end = ends.into_iter().find_map(|(moment, then)| Some((moment?, then)));
        let content_type = if head.echo { Some("application/json") } else { self.payload.content_type() };
        let is_stream = self.payload.is_stream();
        Answer {
            status: head.status,
            headers: head.headers.fields(content_type),
            chunks: self.payload.chunks(folder, seed),
            trailers: head.trailers.fields(None),
            then: end.map(|(_, then)| then).unwrap_or_default(),
            content_length: match head.content_length {
                Some(Length(length)) => length,
                None if is_stream => ContentLength::None,
                None => ContentLength::Auto,
            },
            delay: Duration::from_millis(head.delay_ms),
            silent: end.is_some_and(|(moment, _)| moment == Moment::BeforeHead),
            early: head.early,
            echo: head.echo,
        }
    }
}

/// What an upstream must have received.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Value")]
pub(super) struct Seen {
    pub(super) body: Expected,
    pub(super) head: SeenHead,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SeenHead {
    pub(super) none: bool,
    pub(super) count: usize,
    pub(super) method: Option<String>,
    pub(super) path: Option<Pattern>,
    pub(super) host: Option<Pattern>,
    pub(super) version: Option<Http>,
    pub(super) headers: BTreeMap<String, Pattern>,
    pub(super) trailers: BTreeMap<String, Pattern>,
    pub(super) complete: bool,
    pub(super) left: bool,
    pub(super) bytes_same_as_client: bool,
}

impl Default for SeenHead {
    fn default() -> Self {
        Self {
            none: false,
            count: 1,
            method: None,
            path: None,
            host: None,
            version: None,
            headers: BTreeMap::new(),
            trailers: BTreeMap::new(),
            complete: true,
            left: false,
            bytes_same_as_client: false,
        }
    }
}

impl TryFrom<Value> for Seen {
    type Error = Wrong;

    fn try_from(value: Value) -> Result<Self, Wrong> {
        let (body, head) = split::<Expected, _>("sees", value, Expected::KEYS)?;
        body.check()?;
        Ok(Self { body, head })
    }
}

/// What the client must have received.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Value")]
pub(super) struct ClientSees {
    pub(super) body: Expected,
    pub(super) head: ClientSeesHead,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ClientSeesHead {
    pub(super) status: Option<u16>,
    pub(super) headers: BTreeMap<String, Pattern>,
    pub(super) trailers: BTreeMap<String, Pattern>,
    pub(super) complete: bool,
    pub(super) no_answer: bool,
    pub(super) streamed: bool,
    pub(super) bytes_same_as_upstream: bool,
}

impl Default for ClientSeesHead {
    fn default() -> Self {
        Self {
            status: None,
            headers: BTreeMap::new(),
            trailers: BTreeMap::new(),
            complete: true,
            no_answer: false,
            streamed: false,
            bytes_same_as_upstream: false,
        }
    }
}

impl TryFrom<Value> for ClientSees {
    type Error = Wrong;

    fn try_from(value: Value) -> Result<Self, Wrong> {
        let (body, head) = split::<Expected, ClientSeesHead>("client_sees", value, Expected::KEYS)?;
        body.check()?;
        if head.status.is_none() && !head.no_answer {
            return Err(Wrong::new("client_sees: either `status` or `no_answer: true`"));
        }
        Ok(Self { body, head })
    }
}

impl Case {
    /// Every answer that is scripted, for the upstream and for services.
    fn answers(&self) -> impl Iterator<Item = &ScriptedAnswer> {
        let services = self.services.values().filter_map(|service| service.answers.as_ref());
        self.upstream.iter().chain(services).flat_map(OneOrMany::all)
    }

    /// The seeds this case is played with.
    pub(super) fn seeds(&self) -> &'static [u64] {
        let payloads =
            std::iter::once(&self.client.payload).chain(self.answers().map(|answer| &answer.payload));
        payloads.map(Payload::seeds).max_by_key(|seeds| seeds.len()).unwrap_or(&[1])
    }

    /// Checks what can be checked before the case is played.
    pub(super) fn check(&self, folder: &Path) -> Result<(), Wrong> {
        self.client.payload.check(folder)?;
        self.answers().try_for_each(|answer| answer.payload.check(folder))?;
        let sees_stream = self.client_sees.head.streamed;
        if sees_stream && !self.answers().any(|answer| answer.payload.is_stream()) {
            return Err(Wrong::new("client_sees.streamed needs an upstream that answers with sse or events"));
        }
        Ok(())
    }
}

impl<T> OneOrMany<T> {
    /// All of them.
    pub(super) fn all(&self) -> &[T] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(list) => list,
        }
    }
}

/// A stream is only seen to be one if it takes its time: its last chunk waits this long.
const STREAMED: Duration = Duration::from_millis(150);

/// Holds the last chunk back long enough for the first to get through.
pub(super) fn hold_last_chunk(chunks: &mut [Chunk]) {
    if let Some(last) = chunks.last_mut() {
        last.delay = last.delay.max(STREAMED);
    }
}
