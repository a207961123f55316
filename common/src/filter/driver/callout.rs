//! What a step of the filter's decides, and the callouts that some of them make.

use super::{Action, Call, Exchange, Stage, Step};
use crate::filter::env::{Body, Host, HostError, Map};
use crate::filter::rewrite::read;
use crate::filter::{CallAnswer, Callout, Filter, Flow, RequestCx, ResponseCx};
use crate::http::{Fault, Head};

impl<F: Filter> Exchange<F> {
    /// Goes on with the answer that has waited for this callback of the response's body.
    pub(super) fn resume_in_body(&mut self, host: &dyn Host) -> Action {
        let Some(answer) = self.answer.take() else { return Action::Continue };
        let (call, answer) = *answer;
        self.answered(host, call.step, answer, call.has_body)
    }

    pub(super) fn answered(
        &mut self,
        host: &dyn Host,
        step: Step,
        answer: CallAnswer,
        has_body: bool,
    ) -> Action {
        let Some(filter) = self.filter.as_mut() else { return Action::Continue };
        let flow = match step {
            Step::Request => {
                let mut cx = RequestCx { head: &mut self.request, has_body, env: host };
                filter.request_call(&mut cx, answer)
            }
            _ if !F::SEES_RESPONSES => return Action::Continue,
            Step::ResponseHead => {
                let mut cx =
                    ResponseCx { request: &self.request, head: &mut self.response, has_body, env: host };
                let wanted = filter.response_head_call(&mut cx, answer);
                return self.grant(host, wanted, has_body);
            }
            Step::Response => {
                let mut cx =
                    ResponseCx { request: &self.request, head: &mut self.response, has_body, env: host };
                filter.response_call(&mut cx, answer)
            }
        };
        self.follow(host, step, flow, has_body)
    }

    pub(super) fn follow(
        &mut self,
        host: &dyn Host,
        step: Step,
        flow: Result<Flow, Fault>,
        has_body: bool,
    ) -> Action {
        match (step, flow) {
            (_, Err(fault)) => self.refuse(host, &fault),
            (_, Ok(Flow::Reply(reply))) => self.reply(host, &reply),
            (_, Ok(Flow::Call(callout))) => self.call(host, step, &callout, has_body),
            (Step::Request, Ok(Flow::Pass)) => self.release_request(host, None),
            _ if step != Step::Request && !F::SEES_RESPONSES => Action::Continue,
            (_, Ok(Flow::Pass)) => self.release_response(host, None, Stage::Responded),
            // [rule 4] A write over the buffer limit would bring Envoy itself down.
            (Step::Request, Ok(Flow::Send(body))) if body.len() > self.limit => {
                self.refuse(host, &Fault::too_large(self.limit))
            }
            (_, Ok(Flow::Send(body))) if body.len() > self.limit => {
                self.refuse(host, &self.response_too_large())
            }
            (_, Ok(Flow::Send(_))) if !has_body => self.refuse(host, &Fault::internal("no_body_to_replace")),
            (Step::Request, Ok(Flow::Send(body))) => self.release_request(host, Some(&body)),
            (_, Ok(Flow::Send(body))) => self.release_response(host, Some(&body), Stage::Responded),
        }
    }

    pub(super) fn call(&mut self, host: &dyn Host, step: Step, callout: &Callout, has_body: bool) -> Action {
        match host.call(callout) {
            Ok(token) => {
                let max_answer_bytes = callout.max_answer_bytes;
                self.stage = Stage::Calling(Call { token, step, has_body, max_answer_bytes });
                Action::Pause
            }
            // [rule 9] No callback comes for a call that could not start: the filter hears of it now.
            Err(error) => self.answered(host, step, CallAnswer::Failed(error), has_body),
        }
    }
}

/// A callout's answer, inside its callback. [rule 8] With `headers == 0` there is nothing to read.
pub(in crate::filter) fn read_answer(
    host: &dyn Host,
    headers: usize,
    body_size: usize,
    max: usize,
) -> CallAnswer {
    if headers == 0 {
        return CallAnswer::Failed(HostError::Empty);
    }
    match host.pairs(Map::Call) {
        Ok(pairs) => CallAnswer::Answered {
            head: Head::from_pairs(pairs),
            body: read(host, Body::Call, 0, body_size.min(max)).unwrap_or_default(),
        },
        Err(error) => CallAnswer::Failed(error),
    }
}
