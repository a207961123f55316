//! What becomes of a vendor's answer to a chat, where it does not pass as it is.
//!
//! Most configurations need nothing here, and then no answer is read. Where one is, it is edited in place: a
//! whole answer while its head is held, a stream event by event as it comes.

mod opening;
mod reasoning;
mod stream;
mod whole;

use common::config::reference::Setting;
use common::filter::{ResponseBody, ResponseCx};
use common::http::{Fault, LocalReply};
use common::json::{Kind, Object, Raw};

use crate::provider::Provider;
use translate::{Pair, vendor_error};

pub(crate) use opening::Opening;
pub(crate) use reasoning::Mode;
pub(crate) use stream::ChatStream;
pub(crate) use whole::{edit, translate};

/// What a configuration does to the answers of its vendor.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Answers {
    /// What becomes of a model's thinking.
    pub(crate) reasoning: Mode,
    /// Thinking stands in for an answer that stays empty.
    pub(crate) promotes: bool,
}

/// How an answer is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Not at all.
    Unread,
    /// Held until it is complete.
    Whole,
    /// Event by event.
    Events,
}

impl Answers {
    /// Whether answers of this vendor have to be looked at.
    pub(crate) fn reads(self, provider: &dyn Provider) -> bool {
        self.edits_text() || provider.edits_chunks()
    }

    /// How the answer with this head is read. `is_vendors`: it is not one of Envoy's own.
    pub(crate) fn form(self, is_vendors: bool, cx: &ResponseCx<'_>) -> Form {
        let is_answer = cx.status() == 200 && cx.has_body && !cx.head.has("content-encoding");
        if !is_answer || !is_vendors {
            return Form::Unread;
        }
        if cx.head.contains("content-type", "text/event-stream") {
            Form::Events
        } else if self.edits_text() && cx.head.contains("content-type", "json") {
            Form::Whole
        } else {
            Form::Unread
        }
    }

    /// How an answer that is to be translated is read, and what becomes of its head. `is_vendors`: it is not one of
    /// Envoy's own.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn translated(
        self,
        pair: Pair,
        passes_errors: bool,
        is_vendors: bool,
        limit: usize,
        cx: &ResponseCx<'_>,
    ) -> Result<Translated, Fault> {
        let is_success = crate::status::is_success(cx.status());
        if !is_vendors || (passes_errors && !is_success) {
            return Ok(Translated::As(Form::Unread));
        }
        let is_encoded = cx.head.has("content-encoding");
        if !is_success {
            let fits = cx.head.content_length().is_none_or(|length| length <= limit as u64);
            if cx.has_body && !is_encoded && fits {
                return Ok(Translated::As(Form::Whole));
            }
            return Ok(Translated::Reply(wordless(pair, cx)));
        }
        if is_encoded {
            let message = "the upstream's answer is encoded, which it was not asked for";
            return Err(Fault::upstream("encoded_upstream_response", message));
        }
        let is_stream = cx.has_body && cx.head.contains("content-type", "text/event-stream");
        Ok(Translated::As(if is_stream { Form::Events } else { Form::Whole }))
    }

    /// Whether thinking is hidden, moved or promoted, rather than left as the vendor sends it.
    fn edits_text(self) -> bool {
        self.promotes || !matches!(self.reasoning, Mode::Unset | Mode::Passthrough)
    }
}

/// A vendor's error of which nothing can be read but the status.
pub(crate) fn wordless(pair: Pair, cx: &ResponseCx<'_>) -> LocalReply {
    let (status, body) = vendor_error::told(pair.dialect(), cx.status(), b"");
    let mut reply = LocalReply::json(status, body, "unreadable_upstream_error");
    let after = cx.head.get_str("retry-after").map(|after| ("retry-after", after.to_owned()));
    reply.headers.extend(after);
    reply
}

/// How an answer that is to be translated is read.
pub(crate) enum Translated {
    /// In this way.
    As(Form),
    /// Not at all: this stands for it.
    Reply(LocalReply),
}

impl Form {
    /// The same for the driver.
    pub(crate) fn body(self, limit: usize) -> ResponseBody {
        match self {
            Self::Unread => ResponseBody::Pass,
            Self::Whole => ResponseBody::Whole { limit },
            Self::Events => ResponseBody::Chunks,
        }
    }
}

impl Setting for Mode {
    const KIND: &'static str = "text";

    fn shown(&self) -> String {
        "`passthrough`".to_owned()
    }
}

/// Whether this is the head of an answer in events.
pub(crate) fn is_stream(cx: &ResponseCx<'_>) -> bool {
    cx.has_body
        && crate::status::is_success(cx.status())
        && !cx.head.has("content-encoding")
        && cx.head.contains("content-type", "text/event-stream")
}

/// An error that a vendor sends with status 200, in a whole answer or as an event.
fn error_of<'a>(body: &Object<'a>) -> Option<Raw<'a>> {
    body.get("error").filter(|error| !is_blank(*error))
}

/// Whether a value says nothing: null, or a text, list or object without anything in it.
fn is_blank(value: Raw<'_>) -> bool {
    match value.kind() {
        Kind::Null => true,
        Kind::Bool | Kind::Number => false,
        Kind::String | Kind::Array | Kind::Object => {
            let inside = value.text().get(1..value.text().len().saturating_sub(1));
            inside.is_none_or(|inside| {
                if value.kind() == Kind::String { inside.is_empty() } else { inside.trim_ascii().is_empty() }
            })
        }
    }
}
