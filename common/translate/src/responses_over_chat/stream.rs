//! A streamed chat, as a streamed response.

use std::rc::Rc;

use common::framing::sse;
use common::json::{Kind as JsonKind, Object, ObjectWriter, Raw};
use common::llm::dialect::Dialect;

use super::output::{Asked, Call, Head, Item, Part, State, Status, Thinking, Usage};
use super::output::{add, annotation, incomplete, write_list, write_summary};
use super::thinking::add_blocks;
use super::tools::Kind;
use super::{error_code, error_type, logprobs, said};
use crate::chat::{choice, finish_reason, index, thinking};
use crate::{ClientStream, vendor_error};

/// How many tools a response may call.
const MAX_TOOLS: usize = 128;
/// How much a response may have in it: it is all said again at its end.
const MAX_KEPT: usize = 16 << 20;
/// What an item takes beside its texts.
const ITEM: usize = 256;

/// The state of one stream.
#[derive(Debug)]
pub(super) struct ResponseStream {
    asked: Rc<Asked>,
    stage: Stage,
    /// There once the client was promised a response.
    head: Option<Head>,
    /// The number of the next event.
    next: u64,
    items: Vec<Item>,
    /// The item, if it is open, that is no call: it is the last of its kind.
    open: Option<Open>,
    calls: Vec<OpenCall>,
    room: usize,
    /// Why the chat ended.
    reason: Option<String>,
    usage: Option<Usage>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing has come.
    Waiting,
    /// The client was promised a response.
    Begun,
    /// It has ended.
    Ended,
}

/// An item that may get more, at its place in the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    Thinking(usize),
    /// The last part of the message is open.
    Message(usize),
}

/// A call, at its place in the output.
#[derive(Debug)]
struct OpenCall {
    /// The vendor's number of it.
    index: u64,
    /// The vendor's name of it, as JSON.
    id: Option<Vec<u8>>,
    at: usize,
}

impl ClientStream for ResponseStream {
    fn chunk(&mut self, chunk: &Object<'_>, out: &mut Vec<u8>) {
        if self.stage == Stage::Ended {
            return;
        }
        if let Some(usage) = chunk.get("usage").and_then(|usage| usage.object()) {
            self.usage = Some(Usage::of(&usage));
        }
        let choice = choice(chunk);
        let Some(choice) = choice.filter(|choice| index(choice) == 0) else { return };
        self.begin(Some(chunk), out);
        if let Some(delta) = choice.get("delta").and_then(|delta| delta.object()) {
            self.delta(&delta, logprobs(&choice), out);
        }
        if let Some(reason) = choice.get("finish_reason").and_then(finish_reason) {
            // More may come: nothing is closed before the end.
            self.reason = Some(reason);
        }
    }

    fn say(&mut self, pieces: &[&[u8]], out: &mut Vec<u8>) {
        if self.stage != Stage::Ended {
            self.begin(None, out);
            self.text(pieces, false, b"", out);
        }
    }

    fn done(&mut self, out: &mut Vec<u8>) {
        match self.stage {
            Stage::Waiting => self.fail(502, "the upstream's stream has no answer in it", out),
            Stage::Begun => self.conclude(out),
            Stage::Ended => {}
        }
    }

    fn vendor_error(&mut self, chunk: &Object<'_>, body: &[u8], out: &mut Vec<u8>) {
        let (status, message, is_overflow) = vendor_error::within(Dialect::OpenAi, chunk, body);
        let code = if is_overflow { vendor_error::OVERFLOW } else { error_code(status, chunk) };
        self.fail_as(code, &message, out);
    }

    fn fail(&mut self, _: u16, message: &str, out: &mut Vec<u8>) {
        self.fail_as("server_error", message, out);
    }
}

impl ResponseStream {
    pub(super) fn new(asked: Rc<Asked>) -> Self {
        Self {
            asked,
            stage: Stage::Waiting,
            head: None,
            next: 0,
            items: Vec::new(),
            open: None,
            calls: Vec::new(),
            room: MAX_KEPT,
            reason: None,
            usage: None,
        }
    }

    /// Writes an event whose members, but for the first two, are written by `members`.
    fn event(
        &mut self,
        kind: &str,
        out: &mut Vec<u8>,
        members: impl FnOnce(&mut ObjectWriter<'_>, &Self, &Head),
    ) {
        sse::write_with(out, kind, |data| {
            let mut object = ObjectWriter::open(data);
            object.pieces("type", [kind.as_bytes()]);
            object.number("sequence_number", self.next);
            if let Some(head) = &self.head {
                members(&mut object, self, head);
            }
            object.close();
        });
        self.next += 1;
    }

    /// An event about the whole response.
    fn event_of_response(
        &mut self,
        kind: &str,
        status: Status,
        error: Option<(&str, &str)>,
        out: &mut Vec<u8>,
    ) {
        self.event(kind, out, |event, this, head| {
            let incomplete =
                if status == Status::Incomplete { incomplete(this.reason.as_deref()) } else { None };
            let is_over = matches!(status, Status::Completed | Status::Incomplete);
            let items = if is_over { this.items.as_slice() } else { &[] };
            let state = State { status, items, incomplete, error, usage: this.usage };
            this.asked.write(head, &state, event.member("response"));
        });
    }

    /// An event about the item at this place.
    fn event_of_item(
        &mut self,
        kind: &str,
        at: usize,
        out: &mut Vec<u8>,
        members: impl FnOnce(&mut ObjectWriter<'_>, &Item),
    ) {
        self.event(kind, out, |event, this, head| {
            let Some(item) = this.items.get(at) else { return };
            item.write_id(head, at, event.member("item_id"));
            event.number("output_index", at as u64);
            members(event, item);
        });
    }

    /// An event that has all of an item in it.
    fn event_with_item(&mut self, kind: &str, at: usize, status: Status, out: &mut Vec<u8>) {
        self.event(kind, out, |event, this, head| {
            event.number("output_index", at as u64);
            if let Some(item) = this.items.get(at) {
                item.write(head, at, status, event.member("item"));
            }
        });
    }

    fn begin(&mut self, chunk: Option<&Object<'_>>, out: &mut Vec<u8>) {
        if self.stage != Stage::Waiting {
            return;
        }
        self.stage = Stage::Begun;
        self.head = Some(Head::of(chunk, &self.asked));
        // Its usage is told when it is complete.
        let usage = self.usage.take();
        self.event_of_response("response.created", Status::InProgress, None, out);
        self.event_of_response("response.in_progress", Status::InProgress, None, out);
        self.usage = usage;
    }

    fn delta(&mut self, delta: &Object<'_>, logprobs: &[u8], out: &mut Vec<u8>) {
        if let Some(thought) = thinking(delta) {
            self.think(thought, out);
        }
        if let Some(blocks) = delta.get("thinking_blocks") {
            self.sign(blocks, out);
        }
        let (texts, refusal) = said(delta);
        if !texts.is_empty() {
            self.text(&texts, false, logprobs, out);
        }
        if let Some(refusal) = refusal {
            self.text(&[refusal], true, b"", out);
        }
        let list = |name: &str| delta.get(name).and_then(|list| list.elements()).unwrap_or_default();
        for cited in list("annotations").iter().filter_map(|it| annotation(&it.object()?)) {
            self.annotate(&cited, out);
        }
        for call in list("tool_calls").iter().filter_map(|call| call.object()) {
            self.call(&call, out);
        }
    }

    /// Takes room for what is kept. Says whether there was any.
    fn takes(&mut self, size: usize, out: &mut Vec<u8>) -> bool {
        if self.stage == Stage::Ended {
            return false;
        }
        match self.room.checked_sub(size) {
            Some(room) => {
                self.room = room;
                true
            }
            None => {
                self.fail(502, "the upstream's stream has too much in it", out);
                false
            }
        }
    }

    /// Begins an item, and gives its place.
    fn start(&mut self, item: Item, out: &mut Vec<u8>) -> usize {
        let at = self.items.len();
        self.items.push(item);
        self.event_with_item("response.output_item.added", at, Status::InProgress, out);
        at
    }

    fn think(&mut self, thought: &[u8], out: &mut Vec<u8>) {
        let open = if let Some(Open::Thinking(at)) = self.open { Some(at) } else { None };
        if !self.takes(thought.len() + if open.is_some() { 0 } else { ITEM }, out) {
            return;
        }
        let at = open.unwrap_or_else(|| self.start_thinking(out));
        self.event_of_first_thought(at, out);
        if let Some(Item::Thinking(thinking)) = self.items.get_mut(at) {
            thinking.text.extend_from_slice(thought);
        }
        self.event_of_thinking("response.reasoning_summary_text.delta", at, out, |event, _| {
            event.pieces("delta", [thought]);
        });
    }

    /// Takes what can be sent again of the thinking before it; some of that has no text at all.
    fn sign(&mut self, blocks: Raw<'_>, out: &mut Vec<u8>) {
        let mut signed = Vec::new();
        add_blocks(blocks, &mut signed);
        let open = if let Some(Open::Thinking(at)) = self.open { Some(at) } else { None };
        if signed.is_empty() || !self.takes(signed.len() + if open.is_some() { 0 } else { ITEM }, out) {
            return;
        }
        let at = open.unwrap_or_else(|| self.start_thinking(out));
        if let Some(Item::Thinking(thinking)) = self.items.get_mut(at) {
            add(&mut thinking.blocks, &signed);
        }
    }

    /// An event about the thinking at this place.
    fn event_of_thinking(
        &mut self,
        kind: &str,
        at: usize,
        out: &mut Vec<u8>,
        members: impl FnOnce(&mut ObjectWriter<'_>, &[u8]),
    ) {
        self.event_of_item(kind, at, out, |event, item| {
            let Item::Thinking(Thinking { text, .. }) = item else { return };
            event.raw("summary_index", b"0");
            members(event, text);
        });
    }

    fn start_thinking(&mut self, out: &mut Vec<u8>) -> usize {
        self.close(out);
        let at = self.start(Item::Thinking(Thinking::default()), out);
        self.open = Some(Open::Thinking(at));
        at
    }

    /// A summary begins with its first words.
    fn event_of_first_thought(&mut self, at: usize, out: &mut Vec<u8>) {
        if !self.has_text(at) {
            self.event_of_thinking("response.reasoning_summary_part.added", at, out, |event, text| {
                write_summary(text, event.member("part"));
            });
        }
    }

    /// Whether the thinking at this place has been put into words.
    fn has_text(&self, at: usize) -> bool {
        matches!(self.items.get(at), Some(Item::Thinking(Thinking { text, .. })) if !text.is_empty())
    }

    /// Goes on with the message that is open, or with a new one.
    fn message(&mut self, out: &mut Vec<u8>) -> usize {
        if let Some(Open::Message(at)) = self.open {
            return at;
        }
        self.close(out);
        let at = self.start(Item::Message(Vec::new()), out);
        self.open = Some(Open::Message(at));
        at
    }

    /// Goes on with the part of the message that is open, if it is of this kind, or with a new one. Takes room for
    /// what is to be kept; `None`: there is none.
    fn part(&mut self, refuses: bool, size: usize, out: &mut Vec<u8>) -> Option<usize> {
        let open = match self.open {
            Some(Open::Message(at)) => self.items.get(at),
            _ => None,
        };
        let last = if let Some(Item::Message(parts)) = open { parts.last() } else { None };
        let is_open = last.is_some_and(|part| part.refuses == refuses);
        if !self.takes(size + if is_open { 0 } else { ITEM }, out) {
            return None;
        }
        let at = self.message(out);
        if !is_open {
            self.close_part(at, out);
            if let Some(Item::Message(parts)) = self.items.get_mut(at) {
                parts.push(Part { refuses, ..Part::default() });
            }
            self.event_of_part("response.content_part.added", at, out, |event, part| {
                part.write(event.member("part"));
            });
        }
        Some(at)
    }

    /// An event about the last part of the message at this place.
    fn event_of_part(
        &mut self,
        kind: &str,
        at: usize,
        out: &mut Vec<u8>,
        members: impl FnOnce(&mut ObjectWriter<'_>, &Part),
    ) {
        self.event_of_item(kind, at, out, |event, item| {
            let Item::Message(parts) = item else { return };
            event.number("content_index", parts.len().saturating_sub(1) as u64);
            if let Some(part) = parts.last() {
                members(event, part);
            }
        });
    }

    fn text(&mut self, pieces: &[&[u8]], refuses: bool, logprobs: &[u8], out: &mut Vec<u8>) {
        let size: usize = pieces.iter().map(|piece| piece.len()).sum();
        let Some(at) = self.part(refuses, size + logprobs.len(), out) else { return };
        if let Some(Item::Message(parts)) = self.items.get_mut(at)
            && let Some(part) = parts.last_mut()
        {
            pieces.iter().for_each(|piece| part.text.extend_from_slice(piece));
            if !logprobs.is_empty() {
                add(&mut part.logprobs, logprobs);
            }
        }
        let kind = if refuses { "response.refusal.delta" } else { "response.output_text.delta" };
        self.event_of_part(kind, at, out, |event, _| {
            event.pieces("delta", pieces.iter().copied());
            if !refuses {
                write_list(logprobs, event.member("logprobs"));
            }
        });
    }

    fn annotate(&mut self, cited: &[u8], out: &mut Vec<u8>) {
        let Some(at) = self.part(false, cited.len(), out) else { return };
        self.event_of_part("response.output_text.annotation.added", at, out, |event, part| {
            event.number("annotation_index", part.annotated);
            event.raw("annotation", cited);
        });
        if let Some(Item::Message(parts)) = self.items.get_mut(at)
            && let Some(part) = parts.last_mut()
        {
            add(&mut part.annotations, cited);
            part.annotated += 1;
        }
    }

    fn call(&mut self, call: &Object<'_>, out: &mut Vec<u8>) {
        let function = call.get("function").and_then(|function| function.object());
        let said = |value: Option<Raw<'_>>| {
            value
                .filter(|value| value.escaped().is_some_and(|text| !text.is_empty()))
                .map(|it| it.text().to_vec())
        };
        let id = said(call.get("id"));
        let name = function.as_ref().and_then(|function| function.get("name"));
        let name = name.filter(|name| name.escaped().is_some_and(|name| !name.is_empty()));
        let index = index(call);
        let known = self.calls.iter().rposition(|call| call.index == index);
        // Some vendors count no calls: then another id is another call.
        let is_same = |at: &usize| {
            name.is_none() || id.is_none() || self.calls.get(*at).is_some_and(|call| call.id == id)
        };
        let place = match (known.filter(is_same), name) {
            (Some(place), _) => place,
            (None, Some(name)) if self.calls.len() < MAX_TOOLS => {
                if !self.takes(ITEM, out) {
                    return;
                }
                self.start_call(index, id, name, out)
            }
            // What nobody can tell the name of cannot be called.
            (None, _) => return,
        };
        if let Some(arguments) = function.and_then(|function| function.get("arguments")) {
            self.arguments(place, arguments, out);
        }
    }

    fn start_call(&mut self, index: u64, id: Option<Vec<u8>>, name: Raw<'_>, out: &mut Vec<u8>) -> usize {
        self.close(out);
        let at = self.items.len();
        if let Some(head) = &self.head {
            let call = Call::new(id.clone(), name, head, at, &self.asked.tools);
            self.start(Item::Call(call), out);
        }
        self.calls.push(OpenCall { index, id, at });
        self.calls.len() - 1
    }

    fn arguments(&mut self, place: usize, arguments: Raw<'_>, out: &mut Vec<u8>) {
        let Some(at) = self.calls.get(place).map(|call| call.at) else { return };
        // What is no text may grow when it is made one, and what a custom tool is called with when it is mended.
        let most = if arguments.kind() == JsonKind::String { 3 } else { 6 };
        if !self.takes(arguments.text().len().saturating_mul(most), out) {
            return;
        }
        let Some(Item::Call(call)) = self.items.get_mut(at) else { return };
        let before = call.text.len();
        call.push(arguments);
        self.arguments_delta(at, before, out);
    }

    /// Tells of what a call is called with, from here on.
    fn arguments_delta(&mut self, at: usize, before: usize, out: &mut Vec<u8>) {
        let Some(Item::Call(call)) = self.items.get(at) else { return };
        let kind = match call.kind {
            Kind::Function => "response.function_call_arguments.delta",
            Kind::Custom => "response.custom_tool_call_input.delta",
            Kind::Shell => return,
        };
        if call.text.len() == before {
            return;
        }
        self.event_of_item(kind, at, out, |event, item| {
            if let Item::Call(call) = item {
                event.pieces("delta", [call.text.get(before..).unwrap_or_default()]);
            }
        });
    }

    /// Ends the part of a message that is open.
    fn close_part(&mut self, at: usize, out: &mut Vec<u8>) {
        let Some(Item::Message(parts)) = self.items.get(at) else { return };
        let Some(part) = parts.last() else { return };
        let kind = if part.refuses { "response.refusal.done" } else { "response.output_text.done" };
        self.event_of_part(kind, at, out, |event, part| {
            event.pieces(if part.refuses { "refusal" } else { "text" }, [part.text.as_slice()]);
            if !part.refuses {
                write_list(&part.logprobs, event.member("logprobs"));
            }
        });
        self.event_of_part("response.content_part.done", at, out, |event, part| {
            part.write(event.member("part"));
        });
    }

    /// Ends the item that is open and no call.
    fn close(&mut self, out: &mut Vec<u8>) {
        let at = match self.open.take() {
            None => return,
            Some(Open::Message(at)) => {
                self.close_part(at, out);
                at
            }
            Some(Open::Thinking(at)) if !self.has_text(at) => at,
            Some(Open::Thinking(at)) => {
                self.event_of_thinking("response.reasoning_summary_text.done", at, out, |event, text| {
                    event.pieces("text", [text]);
                });
                self.event_of_thinking("response.reasoning_summary_part.done", at, out, |event, text| {
                    write_summary(text, event.member("part"));
                });
                at
            }
        };
        self.close_item(at, out);
    }

    /// What the chat had no more room for is cut in its last item.
    fn close_item(&mut self, at: usize, out: &mut Vec<u8>) {
        let is_cut = incomplete(self.reason.as_deref()).is_some() && at + 1 == self.items.len();
        let status = if is_cut { Status::Incomplete } else { Status::Completed };
        self.event_with_item("response.output_item.done", at, status, out);
    }

    fn close_call(&mut self, at: usize, out: &mut Vec<u8>) {
        let Some(Item::Call(call)) = self.items.get_mut(at) else { return };
        let before = call.text.len();
        call.finish();
        let done = match call.kind {
            Kind::Function => Some(("response.function_call_arguments.done", "arguments")),
            Kind::Custom => Some(("response.custom_tool_call_input.done", "input")),
            Kind::Shell => None,
        };
        self.arguments_delta(at, before, out);
        if let Some((done, name)) = done {
            self.event_of_item(done, at, out, |event, item| {
                let Item::Call(call) = item else { return };
                if call.kind == Kind::Function {
                    event.raw("name", &call.name);
                }
                event.pieces(name, [call.text.as_slice()]);
            });
        }
        self.close_item(at, out);
    }

    fn conclude(&mut self, out: &mut Vec<u8>) {
        self.close(out);
        for call in std::mem::take(&mut self.calls) {
            self.close_call(call.at, out);
        }
        match incomplete(self.reason.as_deref()) {
            Some(_) => self.event_of_response("response.incomplete", Status::Incomplete, None, out),
            None => self.event_of_response("response.completed", Status::Completed, None, out),
        }
        self.stage = Stage::Ended;
    }

    /// Says what went wrong twice, as OpenAI does: its clients raise the one, Codex reads the other.
    fn fail_as(&mut self, code: &str, message: &str, out: &mut Vec<u8>) {
        if self.stage == Stage::Ended {
            return;
        }
        self.begin(None, out);
        self.event("error", out, |event, _, _| {
            event.text("code", code);
            event.text("message", message);
            event.raw("param", b"null");
            let mut error = ObjectWriter::open(event.member("error"));
            error.text("type", error_type(code));
            error.text("code", code);
            error.text("message", message);
            error.raw("param", b"null");
            error.close();
        });
        self.event_of_response("response.failed", Status::Failed, Some((code, message)), out);
        self.stage = Stage::Ended;
    }
}
