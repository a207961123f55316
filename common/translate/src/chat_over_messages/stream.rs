//! A streamed message, as a streamed chat.

use common::framing::sse::Event;
use common::json::{self, Document, Object, ObjectWriter, Raw};
use common::llm::dialect::Dialect;

use super::{Call, Completion, Usage};
use crate::read::{escaped, is_blank, member, string};
use crate::{Chunk, Chunks, VendorStream, vendor_error};

/// How many blocks of a message may be under way at once.
const MAX_OPEN: usize = 128;
/// How much thinking of one stream is kept until its signature comes. What is beyond is not given to be sent again.
const MAX_HELD: usize = 1 << 20;

/// Around the delta of a chunk that finishes nothing.
const CHOICE: &[u8] = br#"{"index":0,"delta":"#;
const CHOICE_END: &[u8] = br#","finish_reason":null,"logprobs":null}]}"#;

/// The state of one stream.
pub(super) struct ChunkStream {
    out: Outlet,
    usage: Option<Usage>,
    /// Blocks that have begun, have not ended, and are more than their text.
    open: Vec<Block>,
    /// How many tools are called.
    calls: u64,
    /// How many blocks of thinking have been given to be sent again.
    signed: u64,
    /// For thinking that is kept.
    room: usize,
}

/// Where chunks are made.
struct Outlet {
    completion: Completion,
    stage: Stage,
    /// What each chunk begins with, up to its choices; empty until the first one.
    head: Vec<u8>,
    /// The chunk that is being written.
    chunk: Vec<u8>,
}

/// How far the stream has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    /// The client knows why the answer ended.
    Finished,
    /// It has been told the usage too.
    Counted,
}

struct Block {
    at: Option<u64>,
    kind: Kind,
}

enum Kind {
    Call {
        /// The JSON of its number among the calls.
        ordinal: String,
        given: Given,
    },
    /// Both as they stand inside their quotes.
    Thinking { text: Vec<u8>, signature: Vec<u8> },
}

/// A part of a block of thinking.
#[derive(Debug, Clone, Copy)]
enum Part {
    Text,
    Signature,
}

/// What the client has been given of that with which a tool is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Given {
    Nothing,
    Pieces,
    /// It came with the call; pieces of it could only repeat it.
    All,
}

impl VendorStream for ChunkStream {
    fn is_ping(&self, event: &Event) -> bool {
        event.name.as_deref() == Some(b"ping")
    }

    fn event(&mut self, event: &Event, chunk: Chunks<'_>) -> bool {
        let Ok(document) = Document::of(event.data()) else { return false };
        let data = document.object();
        let kind = data.get("type").and_then(|kind| kind.as_str());
        let name = event.name.as_deref().and_then(|name| std::str::from_utf8(name).ok());
        match kind.as_deref().or(name).unwrap_or_default() {
            "message_start" => {
                let message = data.get("message").and_then(|message| message.object());
                self.count(message.as_ref());
                self.out.begin(message.as_ref(), chunk);
            }
            "content_block_start" => self.start(&data, chunk),
            "content_block_delta" => self.delta(&data, chunk),
            "content_block_stop" => {
                let at = index_of(&data);
                if let Some(place) = self.open.iter().rposition(|block| block.at == at) {
                    let block = self.open.remove(place);
                    self.close(block, chunk);
                }
            }
            "message_delta" => {
                self.count(Some(&data));
                let delta = data.get("delta").and_then(|delta| delta.object());
                if let Some(reason) = delta.and_then(|delta| member(&delta, "stop_reason")) {
                    self.finish(Some(reason), chunk);
                    // A stream may be cut short before its last event.
                    if data.get("usage").is_some_and(|usage| !is_blank(usage)) {
                        self.out.count(self.usage, chunk);
                    }
                }
            }
            "message_stop" => {
                if self.out.has_begun() {
                    self.finish(None, chunk);
                    self.out.count(self.usage, chunk);
                }
                return true;
            }
            "error" => {
                self.out.fail(&data, event.data(), chunk);
                return true;
            }
            "" if data.get("error").is_some_and(|error| !is_blank(error)) => {
                self.out.fail(&data, event.data(), chunk);
                return true;
            }
            _ => {}
        }
        false
    }
}

impl ChunkStream {
    pub(super) fn new(completion: Completion) -> Self {
        let out = Outlet { completion, stage: Stage::Open, head: Vec::new(), chunk: Vec::new() };
        Self { out, usage: None, open: Vec::new(), calls: 0, signed: 0, room: MAX_HELD }
    }

    fn count(&mut self, from: Option<&Object<'_>>) {
        if let Some(usage) = from.and_then(|from| from.get("usage")?.object()) {
            self.usage.get_or_insert_default().take(&usage);
        }
    }

    fn start(&mut self, data: &Object<'_>, chunks: Chunks<'_>) {
        let Some(block) = data.get("content_block").and_then(|block| block.object()) else { return };
        let at = index_of(data);
        let kind = block.get("type").and_then(|kind| kind.as_str());
        match kind.as_deref() {
            Some("text") => self.out.text(&block, chunks),
            Some("thinking") => {
                self.open(at, Kind::Thinking { text: Vec::new(), signature: Vec::new() });
                self.thinking(at, &block, chunks);
                self.signature(at, &block);
            }
            Some("redacted_thinking") => {
                self.sign(&[br#""redacted_thinking","data":"#, string(block.get("data"))], chunks);
            }
            Some("tool_use") => {
                if let Some(call) = Call::of(&block) {
                    self.call(at, &call, chunks);
                }
            }
            _ => {}
        }
    }

    fn delta(&mut self, data: &Object<'_>, chunks: Chunks<'_>) {
        let Some(delta) = data.get("delta").and_then(|delta| delta.object()) else { return };
        let kind = delta.get("type").and_then(|kind| kind.as_str());
        match kind.as_deref() {
            Some("text_delta") => self.out.text(&delta, chunks),
            Some("thinking_delta") => self.thinking(index_of(data), &delta, chunks),
            Some("signature_delta") => self.signature(index_of(data), &delta),
            Some("input_json_delta") => self.input(index_of(data), &delta, chunks),
            _ => {}
        }
    }

    fn thinking(&mut self, at: Option<u64>, from: &Object<'_>, chunks: Chunks<'_>) {
        let Some(thought) = escaped(from, "thinking") else { return };
        self.out.say(&[br#"{"reasoning_content":""#, thought, br#""}"#], chunks);
        self.keep(at, thought, Part::Text);
    }

    fn signature(&mut self, at: Option<u64>, from: &Object<'_>) {
        if let Some(piece) = escaped(from, "signature") {
            self.keep(at, piece, Part::Signature);
        }
    }

    /// Keeps a piece of a block of thinking. One that finds no room is not kept at all: nobody could use a part.
    fn keep(&mut self, at: Option<u64>, piece: &[u8], part: Part) {
        let Some(place) = self.open.iter().rposition(|block| block.at == at) else { return };
        let Some(Block { kind: Kind::Thinking { text, signature }, .. }) = self.open.get_mut(place) else {
            return;
        };
        match (self.room.checked_sub(piece.len()), part) {
            (Some(room), Part::Text) => {
                self.room = room;
                text.extend_from_slice(piece);
            }
            (Some(room), Part::Signature) => {
                self.room = room;
                signature.extend_from_slice(piece);
            }
            (None, _) => {
                self.room += text.len() + signature.len();
                self.open.remove(place);
            }
        }
    }

    fn call(&mut self, at: Option<u64>, call: &Call<'_>, chunks: Chunks<'_>) {
        let ordinal = self.calls.to_string();
        self.calls += 1;
        if self.out.completion.has_functions && self.calls > 1 {
            return;
        }
        let mut arguments = Vec::new();
        let input = call.input.and_then(|input| std::str::from_utf8(input).ok());
        json::write_string(&mut arguments, input.unwrap_or_default());
        let (name, between, end) = (br#"{"name":"#, br#","arguments":"#, b"}");
        if self.out.completion.has_functions {
            let before = br#"{"function_call":"#;
            self.out.say(&[before, name, call.name, between, &arguments, end, b"}"], chunks);
        } else {
            let (before, id) = (br#"{"tool_calls":[{"index":"#, br#","id":"#);
            let function = br#","type":"function","function":"#;
            let call: [&[u8]; 11] = [
                before,
                ordinal.as_bytes(),
                id,
                call.id,
                function,
                name,
                call.name,
                between,
                &arguments,
                end,
                b"}]}",
            ];
            self.out.say(&call, chunks);
        }
        let given = if input.is_some() { Given::All } else { Given::Nothing };
        self.open(at, Kind::Call { ordinal, given });
    }

    /// A piece of that with which a tool is called.
    fn input(&mut self, at: Option<u64>, delta: &Object<'_>, chunks: Chunks<'_>) {
        let called = self.open.iter_mut().rev().find(|block| block.at == at);
        // Others are tools of the vendor's own.
        let Some(Block { kind: Kind::Call { ordinal, given }, .. }) = called else { return };
        if let Some(piece) = escaped(delta, "partial_json").filter(|_| *given != Given::All) {
            *given = Given::Pieces;
            self.out.arguments(ordinal, piece, chunks);
        }
    }

    /// Begins a block. Of one that finds no room only the beginning is told.
    fn open(&mut self, at: Option<u64>, kind: Kind) {
        if self.open.len() < MAX_OPEN {
            self.open.push(Block { at, kind });
        }
    }

    fn close(&mut self, block: Block, chunks: Chunks<'_>) {
        match block.kind {
            Kind::Call { ordinal, given: Given::Nothing } => self.out.arguments(&ordinal, b"{}", chunks),
            Kind::Call { .. } => {}
            Kind::Thinking { text, signature } => {
                self.room += text.len() + signature.len();
                if !signature.is_empty() {
                    let (before, between) = (br#""thinking","thinking":""#, br#"","signature":""#);
                    self.sign(&[before, &text, between, &signature, b"\""], chunks);
                }
            }
        }
    }

    /// Gives a block of thinking, from its type on, to be sent again. It is numbered, since OpenAI's clients put no
    /// lists together whose entries are not.
    fn sign(&mut self, block: &[&[u8]], chunks: Chunks<'_>) {
        let number = self.signed.to_string();
        self.signed += 1;
        let before: [&[u8]; 3] = [br#"{"thinking_blocks":[{"index":"#, number.as_bytes(), br#","type":"#];
        self.out.say(&[&before, block, &[b"}]}"]].concat(), chunks);
    }

    fn finish(&mut self, reason: Option<Raw<'_>>, chunks: Chunks<'_>) {
        for block in std::mem::take(&mut self.open) {
            self.close(block, chunks);
        }
        self.out.finish(reason, chunks);
    }
}

impl Outlet {
    fn has_begun(&self) -> bool {
        !self.head.is_empty()
    }

    /// Promises an answer, once.
    fn begin(&mut self, message: Option<&Object<'_>>, chunks: Chunks<'_>) {
        if self.has_begun() {
            return;
        }
        let mut head = ObjectWriter::open(&mut self.head);
        self.completion.write_head(message, "chat.completion.chunk", &mut head);
        head.member("choices").push(b'[');
        self.say(&[br#"{"role":"assistant","content":""}"#], chunks);
    }

    /// Gives a delta. A vendor may not have said that it begins.
    fn say(&mut self, delta: &[&[u8]], chunks: Chunks<'_>) {
        if self.stage == Stage::Open {
            self.begin(None, chunks);
            self.write(CHOICE, delta, CHOICE_END, chunks);
        }
    }

    fn write(&mut self, before: &[u8], pieces: &[&[u8]], after: &[u8], chunks: Chunks<'_>) {
        self.chunk.clear();
        self.chunk.extend_from_slice(&self.head);
        self.chunk.extend_from_slice(before);
        pieces.iter().for_each(|piece| self.chunk.extend_from_slice(piece));
        self.chunk.extend_from_slice(after);
        chunks(Chunk { json: &self.chunk, settles: self.stage != Stage::Open });
    }

    fn text(&mut self, from: &Object<'_>, chunks: Chunks<'_>) {
        if let Some(text) = escaped(from, "text") {
            self.say(&[br#"{"content":""#, text, br#""}"#], chunks);
        }
    }

    /// A piece of that with which the tool of this number is called.
    fn arguments(&mut self, ordinal: &str, piece: &[u8], chunks: Chunks<'_>) {
        if self.completion.has_functions {
            self.say(&[br#"{"function_call":{"arguments":""#, piece, br#""}}"#], chunks);
        } else {
            let (before, between) = (br#"{"tool_calls":[{"index":"#, br#","function":{"arguments":""#);
            self.say(&[before, ordinal.as_bytes(), between, piece, br#""}}]}"#], chunks);
        }
    }

    fn finish(&mut self, reason: Option<Raw<'_>>, chunks: Chunks<'_>) {
        if self.stage == Stage::Open {
            self.begin(None, chunks);
            let reason = self.completion.finish_reason(reason);
            let pieces: [&[u8]; 2] = [br#"{},"finish_reason":""#, reason.as_bytes()];
            self.stage = Stage::Finished;
            self.write(CHOICE, &pieces, br#"","logprobs":null}]}"#, chunks);
        }
    }

    /// Tells the usage, once, if any is known.
    fn count(&mut self, usage: Option<Usage>, chunks: Chunks<'_>) {
        let Some(usage) = usage.filter(|_| self.stage == Stage::Finished) else { return };
        self.stage = Stage::Counted;
        if self.completion.wants_usage {
            let mut counts = Vec::new();
            usage.write(&mut counts);
            self.write(br#"],"usage":"#, &[&counts], b"}", chunks);
        }
    }

    /// Tells what went wrong, as chats do.
    fn fail(&mut self, data: &Object<'_>, text: &[u8], chunks: Chunks<'_>) {
        let (.., is_overflow) = vendor_error::within(Dialect::OpenAi, data, text);
        let error = data.get("error");
        let object = error.and_then(|error| error.object());
        let member = |name: &str| said(object.as_ref().and_then(|error| error.get(name)));
        self.chunk.clear();
        let mut body = ObjectWriter::open(&mut self.chunk);
        let mut written = ObjectWriter::open(body.member("error"));
        match member("message").or_else(|| said(error)) {
            Some(message) => written.raw("message", message.text()),
            None => written.text("message", "the upstream has failed"),
        }
        if is_overflow {
            written.text("type", "invalid_request_error");
            written.raw("param", b"null");
            written.text("code", vendor_error::OVERFLOW);
        } else {
            written.raw("type", member("type").map_or(br#""api_error""#, |kind| kind.text()));
            written.raw("param", b"null");
            written.raw("code", b"null");
        }
        written.close();
        body.close();
        chunks(Chunk { json: &self.chunk, settles: true });
    }
}

/// A text with anything in it.
fn said(value: Option<Raw<'_>>) -> Option<Raw<'_>> {
    value.filter(|value| value.kind() == json::Kind::String && !is_blank(*value))
}

/// Which block an event is about.
fn index_of(data: &Object<'_>) -> Option<u64> {
    data.get("index").and_then(|index| index.as_u64())
}
