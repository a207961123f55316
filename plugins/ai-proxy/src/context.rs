//! `context`: the text of a file, put into every chat as a system message. The file may be the vendor's own.

use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use common::config::{ConfigError, Node};
use common::filter::{CallAnswer, Callout, Env, Filter, HostError, LogLevel, RequestCx};
use common::http::Fault;
use common::json::{self, Patch, Raw};

use crate::filter::AiProxy;

pub(crate) const TIMEOUT: u64 = 120_000;
const REFRESH_INTERVAL: u64 = 600_000;
/// How long an old copy serves before a refresh that failed is tried again.
const PATIENCE: Duration = Duration::from_secs(10);

common::settings! {
    /// `context`, as it is written.
    #[derive(Debug)]
    pub(crate) struct ContextSettings {
        /// Required. Its host is sent as `:authority`; where it is fetched is decided by the cluster.
        file_url: String,
        /// Required without `cluster`, as the next one: the cluster <code>outbound&#124;port&#124;&#124;name</code>, or the
        /// one that has the plain name.
        service_name: String,
        /// Of the service.
        service_port: u16,
        /// Name of the Envoy cluster instead.
        cluster: String,
        /// After this time each worker fetches the file again; 0: never.
        refresh_interval: Option<u64> as "milliseconds" => REFRESH_INTERVAL,
        /// What becomes of chats while there is no copy of the file, not even an old one: `refuse`, a 502, or `proceed`
        /// without it.
        on_failure: String = "refuse".to_owned(),
    }
}

/// Where the file is, and the copy of it that this VM has.
#[derive(Debug)]
pub(crate) struct Context {
    place: Place,
    path_and_query: String,
    timeout: Duration,
    limit: usize,
    /// `None`: a copy never grows old.
    refresh: Option<Duration>,
    /// Chats go on where there is no file.
    proceeds: bool,
    copy: RefCell<Option<Kept>>,
}

/// Who has the file.
#[derive(Debug)]
enum Place {
    Service {
        /// Names by which Envoy may know the service, in the order in which they are tried.
        clusters: Vec<String>,
        authority: String,
    },
    /// The vendor: where chats go, with the key of the chat that asks. It answers with JSON.
    Vendor,
}

#[derive(Debug)]
struct Kept {
    /// `None`: there was no file, and chats go on without it.
    message: Option<Rc<[u8]>>,
    /// When it grows old, on the monotonic clock; `None`: never.
    due: Option<Duration>,
}

/// A request that waits for the file.
#[derive(Debug)]
pub(crate) struct Waiting {
    /// The body to put it into.
    pub(crate) body: Vec<u8>,
    /// The place of the name under which the service was called.
    cluster: usize,
}

/// What became of a request that waited.
pub(crate) enum Fetched {
    /// The message to put into the body; `None`: it goes without one.
    Message(Vec<u8>, Option<Rc<[u8]>>),
    /// The service goes by another name.
    Again(Waiting, Callout),
}

impl Context {
    /// Compiles `context`. `timeout` is the provider's; `limit` is how large the file may be.
    pub(crate) fn load(
        settings: &ContextSettings,
        node: &Node<'_>,
        timeout: u64,
        limit: usize,
    ) -> Result<Self, ConfigError> {
        let place = node.get("context");
        let place = place.as_ref().unwrap_or(node);
        let missing = |what: &str| Err(place.error(format!("missing {what} in context config")));
        if settings.file_url.is_empty() {
            return missing("fileUrl");
        }
        let Some((authority, path_and_query)) = target(&settings.file_url) else {
            let at = place.get("fileUrl");
            let message = "invalid fileUrl in context config: expected a URL such as `http://host/file.txt`";
            return Err(at.as_ref().unwrap_or(place).error(message));
        };
        let (name, port) = (&settings.service_name, settings.service_port);
        let clusters = match (settings.cluster.as_str(), name.as_str(), port) {
            ("", "", _) => return missing("serviceName"),
            ("", _, 0) => return missing("servicePort"),
            ("", name, port) => vec![format!("outbound|{port}||{name}"), name.to_owned()],
            (cluster, ..) => vec![cluster.to_owned()],
        };
        let refresh = settings.refresh_interval.unwrap_or(REFRESH_INTERVAL);
        let proceeds = match settings.on_failure.as_str() {
            "" | "refuse" => false,
            "proceed" => true,
            _ => {
                let at = place.get("onFailure");
                return Err(at.as_ref().unwrap_or(place).error("expected `refuse` or `proceed`"));
            }
        };
        Ok(Self {
            place: Place::Service { clusters, authority: authority.to_owned() },
            path_and_query,
            timeout: duration(timeout),
            limit,
            refresh: (refresh > 0).then(|| Duration::from_millis(refresh)),
            proceeds,
            copy: RefCell::default(),
        })
    }

    /// A file of the vendor's own, at this path. What was uploaded there does not change.
    pub(crate) fn at_vendor(path: String, timeout: u64, limit: usize) -> Self {
        Self {
            place: Place::Vendor,
            path_and_query: path,
            timeout: duration(timeout),
            limit,
            refresh: None,
            proceeds: false,
            copy: RefCell::default(),
        }
    }

    /// The message, if this VM has a copy of it that is not old. Whoever finds it old has to fetch it;
    /// the others go on with the old one meanwhile. The inner `None`: chats go without one.
    pub(crate) fn message(&self, env: &dyn Env) -> Option<Option<Rc<[u8]>>> {
        let mut copy = self.copy.borrow_mut();
        let copy = copy.as_mut()?;
        let now = copy.due.map(|due| (due, env.monotonic()));
        match now {
            Some((due, now)) if due <= now => {
                copy.due = Some(now + self.timeout);
                None
            }
            _ => Some(copy.message.clone()),
        }
    }

    /// Fetches the file for this body. `is_attempt`: from a cluster's upstream chain.
    ///
    /// # Errors
    /// It is the vendor's, who is reached through this very chain: there the call would run into itself.
    pub(crate) fn fetch(
        &self,
        cx: &RequestCx<'_>,
        body: Vec<u8>,
        is_attempt: bool,
    ) -> Result<(Waiting, Callout), Fault> {
        if is_attempt && matches!(self.place, Place::Vendor) {
            let message = "a vendor's file cannot be fetched in a cluster's upstream chain, use `context`";
            return Err(Fault::config(message));
        }
        Ok((Waiting { body, cluster: 0 }, self.callout(cx, 0)))
    }

    fn callout(&self, cx: &RequestCx<'_>, at: usize) -> Callout {
        let sent = |name: &str| cx.head.get_str(name).unwrap_or_default();
        let (authority, scheme) = match &self.place {
            Place::Service { authority, .. } => (authority.as_str(), "http"),
            Place::Vendor => (sent(":authority"), "https"),
        };
        let mut fields = vec![
            (":method", "GET"),
            (":path", &self.path_and_query),
            (":authority", authority),
            (":scheme", scheme),
        ];
        let cluster = match &self.place {
            Place::Service { clusters, .. } => clusters.get(at).cloned().unwrap_or_default(),
            Place::Vendor => {
                fields.push(("authorization", sent("authorization")));
                let own = cx.env.property(&["xds", "cluster_name"]);
                own.and_then(|name| String::from_utf8(name).ok()).unwrap_or_default()
            }
        };
        Callout {
            cluster,
            headers: fields.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            body: Vec::new(),
            timeout: self.timeout,
            // One more than may be, so that too many are told from just enough.
            max_answer_bytes: self.limit.saturating_add(1),
        }
    }

    /// Takes the file, or falls back to an old copy.
    ///
    /// # Errors
    /// There is neither.
    pub(crate) fn fetched(
        &self,
        cx: &RequestCx<'_>,
        waiting: Waiting,
        answer: CallAnswer,
    ) -> Result<Fetched, Fault> {
        let next = waiting.cluster + 1;
        let env = cx.env;
        let others = match &self.place {
            Place::Service { clusters, .. } => clusters.len(),
            Place::Vendor => 1,
        };
        if matches!(answer, CallAnswer::Failed(HostError::BadArgument)) && next < others {
            return Ok(Fetched::Again(Waiting { cluster: next, ..waiting }, self.callout(cx, next)));
        }
        let now = env.monotonic();
        let mut copy = self.copy.borrow_mut();
        let read = self.read(answer);
        if read.is_err() && self.proceeds {
            copy.get_or_insert(Kept { message: None, due: None });
        }
        match (read, copy.as_mut()) {
            (Ok(message), _) => {
                let due = self.refresh.map(|refresh| now + refresh);
                *copy = Some(Kept { message: Some(Rc::clone(&message)), due });
                Ok(Fetched::Message(waiting.body, Some(message)))
            }
            (Err(why), Some(old)) => {
                let what = if old.message.is_some() { "the old one serves" } else { "chats go without it" };
                env.log(
                    LogLevel::Warn,
                    format_args!("{}: the context file is not to be had ({why}), {what}", AiProxy::NAME),
                );
                old.due = Some(now + PATIENCE);
                Ok(Fetched::Message(waiting.body, old.message.clone()))
            }
            (Err(why), None) => {
                Err(Fault::upstream("load_ctx_failed", "failed to load context file").with_detail(why))
            }
        }
    }

    fn read(&self, answer: CallAnswer) -> Result<Rc<[u8]>, String> {
        let (head, body) = match answer {
            CallAnswer::Answered { head, body } => (head, body),
            CallAnswer::Failed(error) => return Err(error.to_string()),
        };
        match head.get_str(":status") {
            Some("200") => {}
            status => return Err(format!("status {}", status.unwrap_or("unknown"))),
        }
        if body.len() > self.limit {
            return Err(format!("more than {} bytes", self.limit));
        }
        let text = match self.place {
            Place::Service { .. } => std::str::from_utf8(&body).ok().map(Cow::Borrowed),
            Place::Vendor => json::object(&body).ok().and_then(|file| file.get("content")?.as_str()),
        };
        let text = text.ok_or_else(|| match self.place {
            Place::Service { .. } => "not UTF-8".to_owned(),
            Place::Vendor => "no content".to_owned(),
        })?;
        if text.is_empty() && matches!(self.place, Place::Vendor) {
            return Err("empty".to_owned());
        }
        let mut message = br#"{"role":"system","content":"#.to_vec();
        json::write_string(&mut message, text.trim_start_matches('\u{feff}'));
        message.push(b'}');
        Ok(message.into())
    }
}

fn duration(timeout: u64) -> Duration {
    Duration::from_millis(if timeout == 0 { TIMEOUT } else { timeout })
}

/// Puts the message in front of the first one that is none of the system's; where all are, in front of
/// all. A body without messages stays as it is, for the vendor to refuse.
pub(crate) fn insert(body: &[u8], message: &[u8]) -> Option<Vec<u8>> {
    let object = json::object(body).ok()?;
    let messages = object.get("messages")?;
    let elements = messages.elements()?;
    let is_system = |element: &Raw<'_>| {
        let role = element.object().and_then(|message| message.get("role")?.as_str());
        matches!(role.as_deref(), Some("system" | "developer"))
    };
    let at = elements.iter().position(|element| !is_system(element)).unwrap_or(0);
    let mut patch = Patch::new(body);
    patch.insert(messages, &elements, at, message);
    Some(patch.finish())
}

/// Authority, and path with its query, of a URL.
fn target(url: &str) -> Option<(&str, String)> {
    let (scheme, rest) = url.trim().split_once("://")?;
    if !["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return None;
    }
    let rest = rest.split('#').next().unwrap_or(rest);
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end)?;
    let is_host = |byte: char| byte.is_ascii_alphanumeric() || "-._:[]".contains(byte);
    if authority.is_empty() || !authority.chars().all(is_host) || !path.chars().all(|c| c.is_ascii_graphic())
    {
        return None;
    }
    let slash = if path.starts_with('/') { "" } else { "/" };
    Some((authority, format!("{slash}{path}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, expected: Option<&str>) {
        let found = insert(body.as_bytes(), b"C").map(|body| String::from_utf8(body).unwrap());
        assert_eq!(found.as_deref(), expected, "{body}");
    }

    #[test]
    fn the_message_stands_in_front_of_the_conversation() {
        let (s, d, u) = (r#"{"role":"system"}"#, r#"{"role":"developer"}"#, r#"{ "role" : "user" }"#);
        let body = |messages: &[&str]| format!(r#"{{ "x":1.0,"messages":[{}] }}"#, messages.join(","));
        check(&body(&[s, u]), Some(&body(&[s, "C", u])));
        check(&body(&[s, d, u, s]), Some(&body(&[s, d, "C", u, s])));
        check(&body(&[u]), Some(&body(&["C", u])));
        check(&body(&[s, s]), Some(&body(&["C", s, s])));
        check(&body(&[]), Some(&body(&["C"])));
        check(&body(&["7", s]), Some(&body(&["C", "7", s])));
        for body in [r#"{"prompt":"x"}"#, r#"{"messages":"x"}"#, "x"] {
            check(body, None);
        }
    }

    #[test]
    fn a_url_is_a_host_and_a_path_with_its_query() {
        let parts = |url: &str| target(url).map(|(host, path)| format!("{host} {path}"));
        let expect = |text: &str| Some(text.to_owned());
        assert_eq!(parts("http://files.local/a/ctx.txt?v=1"), expect("files.local /a/ctx.txt?v=1"));
        assert_eq!(parts("HTTPS://h:81?v=1#x"), expect("h:81 /?v=1"));
        assert_eq!(parts("http://[::1]"), expect("[::1] /"));
        for bad in ["", "files.local/a", "http://", "http:///a", "ftp://h/a", "http://u:p@h/", "http://h/a b"]
        {
            assert_eq!(parts(bad), None, "{bad}");
        }
    }
}
