//! Answers that are not the upstream's.

use super::{Action, Exchange, Stage, apply};
use crate::filter::Filter;
use crate::filter::env::{Body, Host, LogLevel, Map};
use crate::http::{Fault, LocalReply, Side};

/// Fields that tell of a body that goes.
const CONTENT_FIELDS: [&str; 5] =
    ["content-encoding", "content-length", "content-type", "etag", "transfer-encoding"];

impl<F: Filter> Exchange<F> {
    /// Answers with a fault, in the client's own protocol, and tells the operator.
    pub(super) fn refuse(&mut self, host: &dyn Host, fault: &Fault) -> Action {
        let level = match fault.side {
            Side::Client => LogLevel::Debug,
            Side::Upstream => LogLevel::Warn,
            Side::Config | Side::Internal => LogLevel::Error,
        };
        host.log(
            level,
            format_args!("{}: {} {}: {} {}", F::NAME, fault.status, fault.code, fault.message, fault.detail),
        );
        let reply = F::refuse(&self.request, fault);
        self.reply(host, &reply)
    }

    /// Puts another answer in the place of the response. It is written over the response, so that the
    /// filters that it passes next see it like any other.
    pub(super) fn replace(&mut self, host: &dyn Host, body: Vec<u8>) -> Action {
        match (self.waits, self.finished) {
            // [rule 4] What is there to be written over has been held.
            (true, _) if body.len() <= self.limit => self.write_replacement(host, &body),
            (false, false) => {
                self.taken = Some(body);
                if self.must_lead(host) {
                    return self.lead(host, Stage::Replacing);
                }
                self.stage = Stage::Replacing;
                Action::Pause
            }
            // Too large for that, or there is no body to write over.
            _ => self.reply_with(host, &body),
        }
    }

    pub(super) fn write_replacement(&mut self, host: &dyn Host, body: &[u8]) -> Action {
        if self.led {
            return self.write_behind(host, body);
        }
        if !matches!(self.response.get(":status"), Some(b"204" | b"304")) {
            self.response.set("content-length", body.len().to_string());
        }
        let mut head = self.replaced.take().unwrap_or_default();
        head.replace_all(&self.response);
        match apply(host, Map::Response, Body::Response, &head, Some(body)) {
            Ok(()) => {
                self.stage = Stage::Dropping;
                Action::Continue
            }
            Err(error) => self.refuse(host, &Fault::internal(format!("response_not_writable:{error}"))),
        }
    }

    /// Puts this in the place of the body of a response whose head has left.
    pub(super) fn write_behind(&mut self, host: &dyn Host, body: &[u8]) -> Action {
        self.stage = Stage::Dropping;
        if let Err(error) = host.replace_body(Body::Response, body) {
            host.log(LogLevel::Error, format_args!("{}: a body is not written over: {error}", F::NAME));
        }
        Action::Continue
    }

    /// Answers with what took the place of the response.
    pub(super) fn reply_with(&mut self, host: &dyn Host, body: &[u8]) -> Action {
        self.stage = Stage::Replaced;
        if let Err(error) = host.replace_response(&self.response, body) {
            host.log(
                LogLevel::Error,
                format_args!("{}: the host refused another response: {error}", F::NAME),
            );
        }
        Action::Pause
    }

    /// Writes a reply over the response, whose other fields stay, as if the upstream had sent it.
    pub(super) fn overwrite(&mut self, host: &dyn Host, reply: &LocalReply) -> Action {
        // Should it fail, there is a local reply after all.
        self.responds = false;
        if self.replaced.is_none() {
            self.replaced = Some(Box::new(self.response.clone()));
        }
        for name in CONTENT_FIELDS {
            self.response.remove(name);
        }
        self.response.set(":status", reply.status.to_string());
        for (name, value) in &reply.headers {
            self.response.set(name, value.as_str());
        }
        if self.waits || !self.finished {
            return self.replace(host, reply.body.clone());
        }
        // There is no body that could be written over, and none can be added.
        self.response.remove("content-type");
        let mut head = self.replaced.take().unwrap_or_default();
        head.replace_all(&self.response);
        self.stage = Stage::Responded;
        if let Err(error) = apply(host, Map::Response, Body::Response, &head, None) {
            host.log(LogLevel::Error, format_args!("{}: a response is not written over: {error}", F::NAME));
        }
        Action::Continue
    }

    /// [rule 16] Whether the head of this response has to leave before its body: Envoy may try again because of it, and
    /// would not survive that.
    pub(super) fn must_lead(&self, host: &dyn Host) -> bool {
        let is_failure = !matches!(self.response.get(":status"), Some([b'2', ..]));
        is_failure
            && !self.finished
            && self.filter.as_ref().is_some_and(Filter::replies_in_place)
            && !failures_can_wait(host)
    }

    /// [rule 16] Lets a head go whose body is yet to be read or written over. If Envoy tries again, nothing more comes.
    pub(super) fn lead(&mut self, host: &dyn Host, next: Stage) -> Action {
        // [rule 3] The length of the body is not known beforehand.
        self.response.remove("content-length");
        let sent = self.replaced.take().map(|mut sent| {
            sent.replace_all(&self.response);
            sent
        });
        let head = sent.as_deref().unwrap_or(&self.response);
        match apply(host, Map::Response, Body::Response, head, None) {
            Ok(()) => {
                self.led = true;
                self.stage = next;
                Action::Continue
            }
            Err(error) => self.refuse(host, &Fault::internal(format!("response_not_writable:{error}"))),
        }
    }

    /// [rule 5] After a reply nothing is resumed: the stage says so for good.
    pub(super) fn reply(&mut self, host: &dyn Host, reply: &LocalReply) -> Action {
        if F::SEES_RESPONSES && self.led {
            return self.write_behind(host, &reply.body);
        }
        let is_open =
            !matches!(self.stage, Stage::Streaming | Stage::Observing | Stage::Responded | Stage::Dropping);
        if F::SEES_RESPONSES
            && self.responds
            && is_open
            && self.filter.as_ref().is_some_and(Filter::replies_in_place)
            // [rule 16] What has waited for its body may not become a failure any more.
            && (self.stage == Stage::Requested || failures_can_wait(host))
        {
            return self.overwrite(host, reply);
        }
        self.stage = Stage::Replied;
        if let Err(error) = host.reply(reply) {
            host.log(LogLevel::Error, format_args!("{}: the host refused a local reply: {error}", F::NAME));
        }
        Action::Pause
    }

    /// A layout that routes by what we change answers 404 to everything: say why.
    pub(super) fn report_lost_route(&self, host: &dyn Host) {
        if host.property(&["response", "code_details"]).as_deref() == Some(b"route_not_found") {
            host.log(LogLevel::Error, format_args!(
                "{}: no route matches after the rewrite to {}{}. Envoy chooses the route again when path or \
                 authority change: use one virtual host with domains [\"*\"] and routes that match neither \
                 (see envoy/gateway.yaml), set pinCluster, or run this filter in the cluster's upstream chain",
                F::NAME,
                self.request.get_str(":authority").unwrap_or("?"),
                self.request.get_str(":path").and_then(|path| path.split('?').next()).unwrap_or("?"),
            ));
        }
    }
}

/// [rule 16] Whether this Envoy survives that it tries again because of a head that was held, in a cluster's upstream
/// chain, with what follows it. Before 1.37 its router gives the attempt up for the head, and dies of [the
/// rest](https://github.com/envoyproxy/envoy/pull/41879). An Envoy that does not tell its version is not put to the test.
fn failures_can_wait(host: &dyn Host) -> bool {
    let number = |name| {
        let value = host.property(&["xds", "node", "user_agent_build_version", "version", name])?;
        value.try_into().ok().map(u64::from_le_bytes)
    };
    match (number("major_number"), number("minor_number")) {
        (Some(1), Some(minor)) => minor >= 37,
        (major, _) => major.is_some_and(|major| major > 1),
    }
}
