//! The response half of an exchange: read as the filter wants it, and let go.

use super::{Action, Exchange, Stage, Step, apply, report_unread};
use crate::filter::env::{Body, Host, LogLevel, Map};
use crate::filter::rewrite::{observe, read, rewrite};
use crate::filter::{Filter, Opening, ResponseBody, ResponseCx, StreamCx};
use crate::http::Fault;

/// Fields that tell of the connection an answer came over, not of the answer.
const CONNECTION_FIELDS: [&str; 8] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

impl<F: Filter> Exchange<F> {
    pub(super) fn observe_response(&mut self, host: &dyn Host, size: usize, end: bool) -> Action {
        if end {
            self.stage = Stage::Responded;
        }
        if let Some(filter) = self.filter.as_mut() {
            let cx = StreamCx { request: &self.request, response: &self.response, env: host };
            let mut see = |slice: &[u8], is_last: bool| filter.response_passes(&cx, slice, end && is_last);
            report_unread(host, F::NAME, observe(host, Body::Response, size, &mut see));
        }
        Action::Continue
    }

    /// Asks the filter about the head of a response, the upstream's or one taken in its place.
    pub(super) fn ask(&mut self, host: &dyn Host, has_body: bool) -> Action {
        let Some(filter) = self.filter.as_mut() else { return Action::Continue };
        let mut cx = ResponseCx { request: &self.request, head: &mut self.response, has_body, env: host };
        let wanted = filter.response_head(&mut cx);
        self.grant(host, wanted, has_body)
    }

    /// Does with a response whose head is held what the filter wants with it.
    pub(super) fn grant(
        &mut self,
        host: &dyn Host,
        wanted: Result<ResponseBody, Fault>,
        has_body: bool,
    ) -> Action {
        match wanted {
            Err(fault) => self.refuse(host, &fault),
            Ok(ResponseBody::Pass) => self.release_response(host, None, Stage::Responded),
            Ok(ResponseBody::Chunks) => {
                // [rule 3] The length of a rewritten stream is not known beforehand.
                self.response.remove("content-length");
                self.stream(host)
            }
            // [rule 16] It cannot wait for what is asked for.
            Ok(ResponseBody::Opening { .. } | ResponseBody::Call { .. }) if self.must_lead(host) => {
                self.release_response(host, None, Stage::Responded)
            }
            Ok(ResponseBody::Opening { limit }) => {
                self.limit = limit;
                self.response.remove("content-length");
                match self.taken.take() {
                    Some(body) => self.open(host, &body, true),
                    None if self.waits => self.opening(host, limit, self.finished),
                    None if self.finished => self.open(host, &[], true),
                    None => {
                        self.stage = Stage::ResponseOpening;
                        Action::Pause
                    }
                }
            }
            Ok(ResponseBody::Observed) => self.show(host),
            Ok(ResponseBody::Whole { limit }) => {
                self.limit = limit;
                match &self.taken {
                    Some(body) if body.len() > limit => self.refuse(host, &self.response_too_large()),
                    Some(body) => self.whole_response(host, body.clone(), !body.is_empty()),
                    None if self.finished && self.waits => self.buffered_response(host, limit),
                    // [rule 1] HEAD, 204 and 304 have no body: nothing else will come.
                    None if self.finished => self.whole_response(host, Vec::new(), false),
                    None if self.response.content_length().is_some_and(|length| length > limit as u64) => {
                        self.refuse(host, &self.response_too_large())
                    }
                    None if self.must_lead(host) => self.lead(host, Stage::ResponseHeld),
                    None => {
                        self.stage = Stage::ResponseHeld;
                        Action::Pause
                    }
                }
            }
            Ok(ResponseBody::Call { callout, limit }) => {
                self.limit = limit;
                self.call(host, Step::ResponseHead, &callout, has_body)
            }
            Ok(ResponseBody::Take { head, body }) => {
                let sent = std::mem::replace(&mut self.response, head);
                if self.taken.is_none() {
                    self.replaced = Some(Box::new(sent));
                }
                for name in CONNECTION_FIELDS {
                    self.response.remove(name);
                }
                let has_body = !body.is_empty();
                self.taken = Some(body);
                self.ask(host, has_body)
            }
            Ok(ResponseBody::Reply(reply)) => self.reply(host, &reply),
        }
    }

    /// Lets the head go, and shows the filter what of the body is there already.
    pub(super) fn show(&mut self, host: &dyn Host) -> Action {
        let is_whole = self.finished || self.taken.is_some();
        if let Some(filter) = self.filter.as_mut() {
            let cx = StreamCx { request: &self.request, response: &self.response, env: host };
            if let Some(body) = self.taken.as_ref().filter(|body| !body.is_empty()) {
                filter.response_passes(&cx, body, true);
            } else if self.waits {
                let finished = self.finished;
                let mut see =
                    |slice: &[u8], is_last: bool| filter.response_passes(&cx, slice, finished && is_last);
                report_unread(host, F::NAME, observe(host, Body::Response, self.limit, &mut see));
            }
        }
        self.release_response(host, None, if is_whole { Stage::Responded } else { Stage::Observing })
    }

    /// Lets the head go, and shows the filter as a first piece what of the body has waited.
    pub(super) fn stream(&mut self, host: &dyn Host) -> Action {
        if let Some(body) = &self.taken {
            let (body, mut out) = (body.clone(), Vec::new());
            self.with_chunk(host, &body, true, &mut out);
            self.taken = Some(out);
            return self.release_response(host, None, Stage::Responded);
        }
        if !self.waits {
            return self.release_response(host, None, Stage::Streaming);
        }
        let waiting = match read(host, Body::Response, 0, self.limit) {
            Ok(waiting) => waiting,
            Err(error) => {
                return self.refuse(host, &Fault::internal(format!("response_body_unreadable:{error}")));
            }
        };
        let mut out = Vec::with_capacity(waiting.len());
        self.with_chunk(host, &waiting, self.finished, &mut out);
        if out.len() > self.limit {
            return self.refuse(host, &self.response_too_large());
        }
        let changed = (out != waiting).then_some(out);
        let next = if self.finished { Stage::Responded } else { Stage::Streaming };
        match apply(host, Map::Response, Body::Response, &self.response, changed.as_deref()) {
            Ok(()) => {
                self.stage = next;
                Action::Continue
            }
            Err(error) => self.refuse(host, &Fault::internal(format!("response_not_writable:{error}"))),
        }
    }

    /// More of a response that begins has come; `size` counts all that waits.
    pub(super) fn opening(&mut self, host: &dyn Host, size: usize, end: bool) -> Action {
        self.waits |= size > 0;
        match read(host, Body::Response, self.opened, size.saturating_sub(self.opened)) {
            Ok(piece) => {
                self.opened += piece.len();
                self.open(host, &piece, end)
            }
            Err(error) => self.refuse(host, &Fault::internal(format!("response_body_unreadable:{error}"))),
        }
    }

    /// Shows the filter more of a response that begins.
    pub(super) fn open(&mut self, host: &dyn Host, piece: &[u8], end: bool) -> Action {
        let Some(filter) = self.filter.as_mut() else { return Action::Continue };
        let mut out = Vec::with_capacity(piece.len());
        let has_body = self.waits || !piece.is_empty();
        let mut cx = ResponseCx { request: &self.request, head: &mut self.response, has_body, env: host };
        let opening = match filter.response_opens(&mut cx, piece, end, &mut out) {
            Ok(opening) => opening,
            Err(fault) => return self.refuse(host, &fault),
        };
        if opening == Opening::Wait && !end {
            if self.opened >= self.limit {
                return self.refuse(host, &self.response_too_large());
            }
            self.stage = Stage::ResponseOpening;
            return Action::Pause;
        }
        if self.replaced.is_some() {
            // An answer that was taken in the response's place came whole.
            return self.replace(host, out);
        }
        if out.len() > self.limit {
            return self.refuse(host, &self.response_too_large());
        }
        let next = if end || opening == Opening::Pass { Stage::Responded } else { Stage::Streaming };
        match apply(host, Map::Response, Body::Response, &self.response, self.waits.then_some(out.as_slice()))
        {
            Ok(()) => {
                self.stage = next;
                Action::Continue
            }
            Err(error) => self.refuse(host, &Fault::internal(format!("response_not_writable:{error}"))),
        }
    }

    /// A response outgrew what may wait for a callout: it goes as it came, and the answer is too late.
    pub(super) fn let_go(&mut self, host: &dyn Host) -> Action {
        host.log(
            LogLevel::Warn,
            format_args!(
                "{}: a response of more than {} bytes did not wait for the call made because of it",
                F::NAME,
                self.limit
            ),
        );
        self.release_response(host, None, Stage::Responded)
    }

    pub(super) fn buffered_response(&mut self, host: &dyn Host, size: usize) -> Action {
        self.waits = true;
        match read(host, Body::Response, 0, size) {
            Ok(body) => {
                let has_body = !body.is_empty();
                self.whole_response(host, body, has_body)
            }
            Err(error) => self.refuse(host, &Fault::internal(format!("response_body_unreadable:{error}"))),
        }
    }

    pub(super) fn whole_response(&mut self, host: &dyn Host, body: Vec<u8>, has_body: bool) -> Action {
        let Some(filter) = self.filter.as_mut() else { return Action::Continue };
        let mut cx = ResponseCx { request: &self.request, head: &mut self.response, has_body, env: host };
        let flow = filter.response_body(&mut cx, body);
        self.follow(host, Step::Response, flow, has_body)
    }

    pub(super) fn release_response(&mut self, host: &dyn Host, body: Option<&[u8]>, next: Stage) -> Action {
        if self.led {
            self.stage = next;
            return body.map_or(Action::Continue, |body| self.write_behind(host, body));
        }
        if let Some(taken) = self.taken.take() {
            return self.replace(host, body.map_or(taken, <[u8]>::to_vec));
        }
        if let Some(body) = body {
            self.response.set("content-length", body.len().to_string());
            self.response.remove("transfer-encoding");
        }
        match apply(host, Map::Response, Body::Response, &self.response, body) {
            Ok(()) => {
                self.stage = next;
                Action::Continue
            }
            Err(error) => self.refuse(host, &Fault::internal(format!("response_not_writable:{error}"))),
        }
    }

    pub(super) fn chunk(&mut self, host: &dyn Host, size: usize, end: bool) {
        if end {
            self.stage = Stage::Responded;
        }
        let Some(filter) = self.filter.as_mut() else { return };
        let cx = StreamCx { request: &self.request, response: &self.response, env: host };
        let mut edit = |piece: &[u8], is_last: bool, out: &mut Vec<u8>| {
            filter.response_chunk(&cx, piece, end && is_last, out);
            Ok(())
        };
        if let Err(error) = rewrite(host, Body::Response, F::NAME, size, &mut edit) {
            host.log(
                LogLevel::Error,
                format_args!("{}: a response chunk is not rewritten: {error:?}", F::NAME),
            );
            // What was to be rewritten must not pass as it is.
            let _ = host.replace_body(Body::Response, &[]);
        }
    }

    pub(super) fn with_chunk(&mut self, host: &dyn Host, chunk: &[u8], end: bool, out: &mut Vec<u8>) {
        let Some(filter) = self.filter.as_mut() else { return };
        let cx = StreamCx { request: &self.request, response: &self.response, env: host };
        filter.response_chunk(&cx, chunk, end, out);
    }

    pub(super) fn response_too_large(&self) -> Fault {
        Fault::upstream(
            "response_too_large",
            format!("response is larger than the limit of {} bytes", self.limit),
        )
    }
}
