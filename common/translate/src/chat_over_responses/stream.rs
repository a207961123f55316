//! A streamed response, as a streamed chat.

use common::framing::sse::Event;
use common::json::{self, ArrayWriter, Document, Kind, Object, ObjectWriter, Raw};

use super::{
    Call, Completion, Failure, PARAGRAPH, citations, length, logprobs, outcome, part_refusal, part_text,
    parts, thoughts, write_citation, write_logprobs, write_moderation, write_usage,
};
use crate::read::{is_blank, is_of, member};
use crate::{Chunk, Chunks, VendorStream};

/// How many items of a response may be under way at once.
const MAX_OPEN: usize = 128;

/// The JSON of a text without anything in it.
const EMPTY: &[u8] = br#""""#;

/// The state of one stream.
pub(super) struct ChunkStream {
    completion: Completion,
    /// What each chunk begins with, up to its tier; empty until the first one.
    head: Vec<u8>,
    /// The member that says which tier answers; empty where none is known.
    tier: Vec<u8>,
    /// Items that have begun and not ended.
    open: Vec<Item>,
    /// More were open than are kept: whether something was said of an item is not known any more.
    has_lost_items: bool,
    /// How many tools are called.
    calls: u64,
    /// Something came beside the head.
    has_spoken: bool,
    text: Text,
    /// The last piece of thinking.
    thought: Option<Place>,
    /// The member that pads the chunks of this event.
    padding: Vec<u8>,
    /// The chunk that is being written.
    chunk: Vec<u8>,
}

/// Where a piece of text belongs: its item, its part, and the kind of thinking that it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    item: Option<u64>,
    part: Option<u64>,
    is_summary: bool,
}

/// What has been said so far.
#[derive(Default)]
struct Text {
    last: Option<Place>,
    /// In characters.
    length: u64,
    /// Where the last part began.
    part: u64,
}

/// An item that has begun.
#[derive(Clone, Copy)]
struct Item {
    at: Option<u64>,
    /// The call that it is.
    call: Option<Ordinal>,
    /// Something of its content was given.
    is_given: bool,
}

#[derive(Clone, Copy)]
struct Ordinal {
    index: u64,
    is_custom: bool,
}

impl VendorStream for ChunkStream {
    fn event(&mut self, event: &Event, chunk: Chunks<'_>) -> bool {
        let Ok(document) = Document::of(event.data()) else { return false };
        let data = document.object();
        let kind = data.get("type").and_then(|kind| kind.as_str());
        let name = event.name.as_deref().and_then(|name| std::str::from_utf8(name).ok());
        self.padding.clear();
        if self.completion.wants_padding
            && let Some(padding) = member(&data, "obfuscation")
        {
            self.padding.extend_from_slice(br#","obfuscation":"#);
            self.padding.extend_from_slice(padding.text());
        }
        let response = || data.get("response").and_then(|response| response.object());
        match kind.as_deref().or(name).unwrap_or_default() {
            "response.created" | "response.in_progress" | "response.queued" => {
                self.begin(response().as_ref(), chunk);
            }
            "response.output_item.added" => self.added(&data, chunk),
            "response.output_item.done" => {
                let item = data.get("item").and_then(|item| item.object());
                if let Some(item) = item {
                    self.done(index_of(&data), &item, chunk);
                }
            }
            "response.output_text.delta" => {
                self.say(Place::of(&data, "content_index"), delta(&data), logprobs(&data), chunk);
            }
            "response.output_text.annotation.added" => {
                let annotation = data.get("annotation").and_then(|annotation| annotation.object());
                if let Some(it) = annotation.filter(|annotation| is_of(annotation, "type", "url_citation")) {
                    self.cite(&it, chunk);
                }
            }
            "response.refusal.delta" => {
                self.refuse(index_of(&data), delta(&data), chunk);
            }
            "response.reasoning_summary_text.delta" => {
                let place = Place { is_summary: true, ..Place::of(&data, "summary_index") };
                self.think(place, delta(&data), chunk);
            }
            "response.reasoning_text.delta" => {
                self.think(Place::of(&data, "content_index"), delta(&data), chunk);
            }
            "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta" => {
                self.input(index_of(&data), data.get("delta"), chunk);
            }
            "response.completed" | "response.incomplete" => {
                match response() {
                    Some(response) => self.finish(&response, chunk),
                    None => self.fail(
                        &Failure { error: None, words: "the upstream's stream has no response" },
                        chunk,
                    ),
                }
                return true;
            }
            "response.failed" | "response.cancelled" => {
                let response = response();
                let failure = response.as_ref().and_then(|response| outcome(response).err());
                self.fail(
                    &failure.unwrap_or(Failure { error: None, words: "the upstream's response has failed" }),
                    chunk,
                );
                return true;
            }
            // As documented the error is the event, but OpenAI puts it into a member of the event:
            // https://github.com/openai/openai-dotnet/issues/881
            "error" => {
                let inner = data.get("error").filter(|error| !is_blank(*error));
                let event = json::value(event.data()).ok();
                self.fail(&Failure { error: inner.or(event), words: "the upstream has failed" }, chunk);
                return true;
            }
            "" => {
                if let Some(error) = data.get("error").filter(|error| !is_blank(*error)) {
                    self.fail(&Failure::of(error), chunk);
                    return true;
                }
            }
            _ => {}
        }
        false
    }
}

impl ChunkStream {
    pub(super) fn new(completion: Completion) -> Self {
        Self {
            completion,
            head: Vec::new(),
            tier: Vec::new(),
            open: Vec::new(),
            has_lost_items: false,
            calls: 0,
            has_spoken: false,
            text: Text::default(),
            thought: None,
            padding: Vec::new(),
            chunk: Vec::new(),
        }
    }

    /// Promises an answer, once.
    fn begin(&mut self, response: Option<&Object<'_>>, chunks: Chunks<'_>) {
        if !self.head.is_empty() {
            return;
        }
        self.completion.write_head(
            response,
            "chat.completion.chunk",
            &mut ObjectWriter::open(&mut self.head),
        );
        if let Some(response) = response {
            self.name_tier(response);
        }
        let mut role = |delta: &mut ObjectWriter<'_>| {
            delta.raw("role", br#""assistant""#);
            delta.raw("content", br#""""#);
        };
        self.choice(&mut role, None, &[], chunks);
    }

    /// Something is said. A vendor may not have said that it begins.
    fn delta(
        &mut self,
        members: &mut dyn FnMut(&mut ObjectWriter<'_>),
        logprobs: Option<&[u8]>,
        chunks: Chunks<'_>,
    ) {
        self.begin(None, chunks);
        self.has_spoken = true;
        self.choice(members, None, logprobs.as_slice(), chunks);
    }

    /// Which tier was asked for is known at the beginning, which one has answered at the end.
    fn name_tier(&mut self, response: &Object<'_>) {
        if let Some(tier) = member(response, "service_tier") {
            self.tier.clear();
            self.tier.extend_from_slice(br#","service_tier":"#);
            self.tier.extend_from_slice(tier.text());
        }
    }

    fn added(&mut self, data: &Object<'_>, chunks: Chunks<'_>) {
        let item = data.get("item").and_then(|item| item.object());
        let Some(call) = item.as_ref().and_then(Call::of) else { return };
        let index = self.calls;
        let Some(item) = self.item(index_of(data)) else { return };
        item.call = Some(Ordinal { index, is_custom: call.is_custom });
        item.is_given = call.input != EMPTY;
        self.call(&call, chunks);
    }

    /// An item has ended. What was not given of it is given now.
    fn done(&mut self, at: Option<u64>, item: &Object<'_>, chunks: Chunks<'_>) {
        let place = self.open.iter().position(|open| open.at == at);
        let begun = place.map(|place| self.open.swap_remove(place));
        if let Some(call) = Call::of(item) {
            match begun.and_then(|begun| begun.call) {
                None => self.call(&call, chunks),
                Some(ordinal) if begun.is_some_and(|begun| !begun.is_given) && call.input != EMPTY => {
                    self.write_input(ordinal, call.input, chunks);
                }
                Some(_) => {}
            }
            return;
        }
        if self.has_lost_items || begun.is_some_and(|begun| begun.is_given) {
            return;
        }
        if is_of(item, "type", "message") {
            for (part, content) in (0..).zip(parts(item, "content")) {
                let place = Place { item: at, part: Some(part), is_summary: false };
                self.say(place, part_text(&content).unwrap_or_default(), logprobs(&content), chunks);
                citations(&content).for_each(|citation| self.cite(&citation, chunks));
                self.refuse(at, part_refusal(&content).unwrap_or_default(), chunks);
            }
        } else if is_of(item, "type", "reasoning") {
            for (part, thought) in (0..).zip(thoughts(item)) {
                self.think(Place { item: at, part: Some(part), is_summary: true }, thought, chunks);
            }
        }
        self.open.retain(|open| open.at != at);
    }

    /// The item that stands there; `None`: too many are under way.
    fn item(&mut self, at: Option<u64>) -> Option<&mut Item> {
        match self.open.iter().position(|open| open.at == at) {
            Some(place) => self.open.get_mut(place),
            None if self.open.len() < MAX_OPEN => {
                self.open.push(Item { at, call: None, is_given: false });
                self.open.last_mut()
            }
            None => {
                self.has_lost_items = true;
                None
            }
        }
    }

    fn give(&mut self, at: Option<u64>) {
        if let Some(item) = self.item(at) {
            item.is_given = true;
        }
    }

    fn say(&mut self, place: Place, text: &[u8], logprobs: Option<&[u8]>, chunks: Chunks<'_>) {
        if text.is_empty() {
            return;
        }
        self.give(place.item);
        let is_other = self.text.last.is_some_and(|last| last.item != place.item);
        let between = if is_other { PARAGRAPH } else { b"" };
        self.text.length += length(between);
        if self.text.last.replace(place) != Some(place) {
            self.text.part = self.text.length;
        }
        self.text.length += length(text);
        let mut content = |delta: &mut ObjectWriter<'_>| delta.pieces("content", [between, text]);
        self.delta(&mut content, logprobs, chunks);
    }

    /// Cites what the last part is about.
    fn cite(&mut self, citation: &Object<'_>, chunks: Chunks<'_>) {
        let start = self.text.part;
        let mut annotations = |delta: &mut ObjectWriter<'_>| {
            let mut list = ArrayWriter::open(delta.member("annotations"));
            write_citation(citation, start, list.element());
            list.close();
        };
        self.delta(&mut annotations, None, chunks);
    }

    fn refuse(&mut self, at: Option<u64>, text: &[u8], chunks: Chunks<'_>) {
        if !text.is_empty() {
            self.give(at);
            self.delta(&mut |delta| delta.pieces("refusal", [text]), None, chunks);
        }
    }

    fn think(&mut self, place: Place, text: &[u8], chunks: Chunks<'_>) {
        if text.is_empty() {
            return;
        }
        self.give(place.item);
        let is_other = self.thought.replace(place).is_some_and(|last| last != place);
        let between = if is_other { PARAGRAPH } else { b"" };
        let mut thought = |delta: &mut ObjectWriter<'_>| delta.pieces("reasoning_content", [between, text]);
        self.delta(&mut thought, None, chunks);
    }

    /// Begins the next call, with as much of its input as is there.
    fn call(&mut self, call: &Call<'_>, chunks: Chunks<'_>) {
        let index = self.calls;
        self.calls += 1;
        if !self.completion.has_functions {
            let mut calls = |delta: &mut ObjectWriter<'_>| {
                let mut list = ArrayWriter::open(delta.member("tool_calls"));
                call.write(index, call.input, list.element());
                list.close();
            };
            self.delta(&mut calls, None, chunks);
        } else if index == 0 {
            let mut function =
                |delta: &mut ObjectWriter<'_>| call.write_function(call.input, delta.member("function_call"));
            self.delta(&mut function, None, chunks);
        }
    }

    fn input(&mut self, at: Option<u64>, delta: Option<Raw<'_>>, chunks: Chunks<'_>) {
        let Some(delta) = delta.filter(|delta| delta.kind() == Kind::String && !is_blank(*delta)) else {
            return;
        };
        // What is called without a name is told of when its item ends.
        let item = self.open.iter_mut().find(|open| open.at == at);
        let Some((item, ordinal)) = item.and_then(|item| item.call.map(|call| (item, call))) else { return };
        item.is_given = true;
        self.write_input(ordinal, delta.text(), chunks);
    }

    /// Writes more of what a tool is called with, a JSON string.
    fn write_input(&mut self, call: Ordinal, input: &[u8], chunks: Chunks<'_>) {
        let (kind, name) = if call.is_custom { ("custom", "input") } else { ("function", "arguments") };
        if !self.completion.has_functions {
            let mut calls = |delta: &mut ObjectWriter<'_>| {
                let mut list = ArrayWriter::open(delta.member("tool_calls"));
                let mut more = ObjectWriter::open(list.element());
                more.number("index", call.index);
                let mut inner = ObjectWriter::open(more.member(kind));
                inner.raw(name, input);
                inner.close();
                more.close();
                list.close();
            };
            self.delta(&mut calls, None, chunks);
        } else if call.index == 0 {
            let mut function = |delta: &mut ObjectWriter<'_>| {
                let mut inner = ObjectWriter::open(delta.member("function_call"));
                inner.raw("arguments", input);
                inner.close();
            };
            self.delta(&mut function, None, chunks);
        }
    }

    fn finish(&mut self, response: &Object<'_>, chunks: Chunks<'_>) {
        if let Some(error) = response.get("error").filter(|error| !is_blank(*error)) {
            return self.fail(&Failure::of(error), chunks);
        }
        self.begin(Some(response), chunks);
        self.name_tier(response);
        if !self.has_spoken {
            for (at, item) in (0..).zip(parts(response, "output")) {
                self.done(Some(at), &item, chunks);
            }
        }
        let reason = self.completion.finish_reason(response, self.calls > 0);
        self.choice(&mut |_| {}, Some(reason), &[], chunks);
        if let Some(moderation) = member(response, "moderation").and_then(|moderation| moderation.object()) {
            self.open_chunk();
            self.chunk.push(b']');
            self.chunk.extend_from_slice(br#","moderation":"#);
            write_moderation(&moderation, &mut self.chunk);
            self.close_chunk(None, true, chunks);
        }
        let usage = response.get("usage").and_then(|usage| usage.object());
        if let Some(usage) = usage.filter(|_| self.completion.wants_usage) {
            self.open_chunk();
            self.chunk.push(b']');
            self.close_chunk(Some(&usage), true, chunks);
        }
    }

    fn fail(&mut self, failure: &Failure<'_>, chunks: Chunks<'_>) {
        self.chunk.clear();
        failure.write(&mut self.chunk);
        chunks(Chunk { json: &self.chunk, settles: true });
    }

    /// Writes a chunk of the one choice that there is.
    fn choice(
        &mut self,
        members: &mut dyn FnMut(&mut ObjectWriter<'_>),
        finish_reason: Option<&str>,
        logprobs: &[&[u8]],
        chunks: Chunks<'_>,
    ) {
        self.open_chunk();
        let mut choice = ObjectWriter::open(&mut self.chunk);
        choice.raw("index", b"0");
        let mut delta = ObjectWriter::open(choice.member("delta"));
        members(&mut delta);
        delta.close();
        match finish_reason {
            Some(reason) => choice.text("finish_reason", reason),
            None => choice.raw("finish_reason", b"null"),
        }
        write_logprobs(logprobs, choice.member("logprobs"));
        choice.close();
        self.chunk.push(b']');
        self.close_chunk(None, finish_reason.is_some(), chunks);
    }

    /// Begins a chunk, up to its choices.
    fn open_chunk(&mut self) {
        self.chunk.clear();
        self.chunk.extend_from_slice(&self.head);
        self.chunk.extend_from_slice(&self.tier);
        self.chunk.extend_from_slice(br#","choices":["#);
    }

    /// Ends a chunk. Where usage was asked for, chunks without it say so.
    fn close_chunk(&mut self, usage: Option<&Object<'_>>, settles: bool, chunks: Chunks<'_>) {
        if self.completion.wants_usage {
            self.chunk.extend_from_slice(br#","usage":"#);
            match usage {
                Some(usage) => write_usage(usage, &mut self.chunk),
                None => self.chunk.extend_from_slice(b"null"),
            }
        }
        self.chunk.extend_from_slice(&self.padding);
        self.chunk.push(b'}');
        chunks(Chunk { json: &self.chunk, settles });
    }
}

impl Place {
    fn of(data: &Object<'_>, part: &str) -> Self {
        Self { item: index_of(data), part: index(data, part), is_summary: false }
    }
}

/// What has come, as it stands inside its quotes.
fn delta<'a>(data: &Object<'a>) -> &'a [u8] {
    data.get("delta").and_then(|delta| delta.escaped()).unwrap_or_default()
}

fn index_of(data: &Object<'_>) -> Option<u64> {
    index(data, "output_index")
}

fn index(data: &Object<'_>, name: &str) -> Option<u64> {
    data.get(name)?.as_u64()
}
