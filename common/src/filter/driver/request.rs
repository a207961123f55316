//! The request half of an exchange: read as the filter wants it, and let go.

use super::{Action, Exchange, Passing, Stage, Step, apply, report_unread};
use crate::filter::env::{Body, Host, HostError, Map};
use crate::filter::rewrite::{Broken, observe, read, rewrite};
use crate::filter::{Filter, Growth, RequestCx, StreamCx};
use crate::http::Fault;

impl<F: Filter> Exchange<F> {
    pub(super) fn release_passing(&mut self, host: &dyn Host, passing: Passing) -> Action {
        let action = self.release_request(host, None);
        if action == Action::Continue {
            self.request_passing = passing;
        }
        action
    }

    pub(super) fn observe_request(&mut self, host: &dyn Host, size: usize, end: bool) -> Action {
        if end {
            self.request_passing = Passing::Unread;
        }
        if let Some(filter) = self.filter.as_mut() {
            let cx = StreamCx { request: &self.request, response: &self.response, env: host };
            let mut see = |slice: &[u8], is_last: bool| filter.request_passes(&cx, slice, end && is_last);
            report_unread(host, F::NAME, observe(host, Body::Request, size, &mut see));
        }
        Action::Continue
    }

    pub(super) fn request_chunk(&mut self, host: &dyn Host, size: usize, end: bool) -> Action {
        if end {
            self.request_passing = Passing::Unread;
        }
        let Some(filter) = self.filter.as_mut() else { return Action::Continue };
        let cx = StreamCx { request: &self.request, response: &self.response, env: host };
        let mut edit = |piece: &[u8], is_last: bool, out: &mut Vec<u8>| {
            filter.request_chunk(&cx, piece, end && is_last, out)
        };
        let fault = match rewrite(host, Body::Request, F::NAME, size, &mut edit) {
            Ok(()) => return Action::Continue,
            Err(Broken::Fault(fault)) => fault,
            Err(Broken::Host(error)) => Fault::internal(format!("request_chunk_not_rewritten:{error}")),
        };
        self.request_passing = Passing::Unread;
        self.refuse(host, &fault)
    }

    /// The body ended with trailers: its buffer is gone, so nothing can be sent any more.
    pub(super) fn last_request_chunk(&mut self, host: &dyn Host) -> Action {
        self.request_passing = Passing::Unread;
        let Some(filter) = self.filter.as_mut() else { return Action::Continue };
        let mut rest = Vec::new();
        let cx = StreamCx { request: &self.request, response: &self.response, env: host };
        match filter.request_chunk(&cx, &[], true, &mut rest) {
            Ok(()) if rest.is_empty() => Action::Continue,
            Ok(()) => self.refuse(host, &Fault::internal("request_ended_with_trailers")),
            Err(fault) => self.refuse(host, &fault),
        }
    }

    pub(super) fn request_too_large(&mut self, host: &dyn Host) -> Action {
        let Some(filter) = self.filter.as_mut() else { return Action::Continue };
        let mut cx = RequestCx { head: &mut self.request, has_body: true, env: host };
        match filter.request_too_large(&mut cx, self.limit) {
            Ok(()) => self.release_request(host, None),
            Err(fault) => self.refuse(host, &fault),
        }
    }

    /// Only what is new is read, so that a body in many pieces is not copied over and over. Of a piece that goes
    /// over the limit the filter sees what is under it, and has the last word then.
    pub(super) fn watched_request(&mut self, host: &dyn Host, size: usize, end: bool) -> Action {
        let known = self.so_far.len();
        let is_too_large = size > self.limit;
        match read(host, Body::Request, known, size.min(self.limit).saturating_sub(known)) {
            Ok(more) if known == 0 => self.so_far = more,
            Ok(more) => self.so_far.extend_from_slice(&more),
            Err(error) => return self.refuse(host, &unreadable(error)),
        }
        if end && !is_too_large {
            return self.grown_request(host);
        }
        let Some(filter) = self.filter.as_mut() else { return Action::Continue };
        let mut cx = RequestCx { head: &mut self.request, has_body: true, env: host };
        match filter.request_growing(&mut cx, &self.so_far) {
            Ok(Growth::Wait) if is_too_large => self.request_too_large(host),
            Ok(Growth::Wait) => Action::Pause,
            Ok(Growth::Release) => {
                self.so_far = Vec::new();
                self.release_request(host, None)
            }
            Err(fault) => self.refuse(host, &fault),
        }
    }

    pub(super) fn grown_request(&mut self, host: &dyn Host) -> Action {
        let body = std::mem::take(&mut self.so_far);
        let has_body = !body.is_empty();
        self.whole_request(host, body, has_body)
    }

    pub(super) fn buffered_request(&mut self, host: &dyn Host, size: usize) -> Action {
        match read(host, Body::Request, 0, size) {
            Ok(body) => {
                let has_body = !body.is_empty();
                self.whole_request(host, body, has_body)
            }
            Err(error) => self.refuse(host, &unreadable(error)),
        }
    }

    pub(super) fn whole_request(&mut self, host: &dyn Host, body: Vec<u8>, has_body: bool) -> Action {
        let Some(filter) = self.filter.as_mut() else { return Action::Continue };
        let mut cx = RequestCx { head: &mut self.request, has_body, env: host };
        let flow = filter.request_body(&mut cx, body);
        self.follow(host, Step::Request, flow, has_body)
    }

    pub(super) fn release_request(&mut self, host: &dyn Host, body: Option<&[u8]>) -> Action {
        if F::SEES_RESPONSES && self.wants_response && !F::READS_ENCODED {
            // The answer must be readable; Envoy does not decode it for a filter.
            self.request.remove("accept-encoding");
        }
        if let Some(body) = body {
            // [rule 3] A stale length would leave bytes on the pooled upstream connection, where they
            // would start the next client's request.
            self.request.set("content-length", body.len().to_string());
            self.request.remove("transfer-encoding");
        }
        self.readdressed =
            self.request.changes().any(|change| matches!(change.name, b":path" | b":authority"));
        match apply(host, Map::Request, Body::Request, &self.request, body) {
            Ok(()) => {
                self.stage = Stage::Requested;
                Action::Continue
            }
            Err(error) => self.refuse(host, &Fault::internal(format!("request_not_writable:{error}"))),
        }
    }
}

fn unreadable(error: HostError) -> Fault {
    Fault::internal(format!("request_body_unreadable:{error}"))
}
