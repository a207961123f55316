//! A streamed chat, as a streamed message.

use common::framing::sse;
use common::json::{Kind, Object, ObjectWriter, Raw, write_number};
use common::llm::dialect::Dialect;
use common::llm::error;

use super::{Usage, call_id, finish_reason, stop_reason, string, texts, thinking};
use crate::chat::{choice, index};
use crate::read::escaped;
use crate::signature::UNSIGNED;
use crate::{ClientStream, Stamp, vendor_error};

/// How many tools a message may call.
const MAX_TOOLS: usize = 128;
/// How much is kept of what tools are called with while another one's call is under way.
const MAX_HELD: usize = 1 << 20;

/// What deltas begin with, up to what they give.
const TEXT: &[u8] = br#","delta":{"type":"text_delta","text":""#;
const THOUGHT: &[u8] = br#","delta":{"type":"thinking_delta","thinking":""#;
const SIGNATURE: &[u8] = br#","delta":{"type":"signature_delta","signature":""#;
const INPUT: &[u8] = br#","delta":{"type":"input_json_delta","partial_json":""#;

/// The state of one stream.
#[derive(Debug)]
pub(super) struct MessageStream {
    stage: Stage,
    open: Open,
    /// The number of the next block.
    next: u64,
    tools: Vec<Tool>,
    /// For arguments that are kept.
    room: usize,
    /// Makes ids of calls that have none.
    stamp: Stamp,
    /// Why the chat ended.
    reason: Option<String>,
    usage: Usage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing has come.
    Waiting,
    /// The client was promised a message.
    Begun,
    /// The message has ended.
    Ended,
}

/// The block that is being written.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Open {
    #[default]
    Nothing,
    Thinking(u64),
    Text(u64),
    /// Of the tool at this place.
    Tool(usize),
}

#[derive(Debug)]
struct Tool {
    index: u64,
    /// Both as JSON, the id as the client knows it.
    id: Vec<u8>,
    name: Vec<u8>,
    call: Call,
    nesting: Nesting,
}

/// How far the client has heard of a call.
#[derive(Debug)]
enum Call {
    /// Not yet: another one is under way. What it is called with, as it stands inside a JSON string.
    Held(Vec<u8>),
    /// It is this block.
    Open(u64),
    Closed,
}

/// How far a JSON object has come, seen piece by piece.
#[derive(Debug, Default)]
struct Nesting {
    depth: u32,
    has_begun: bool,
    in_string: bool,
    is_escaped: bool,
}

impl Nesting {
    fn pass(&mut self, text: &str) {
        for byte in text.bytes() {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' if self.in_string => self.is_escaped = true,
                b'"' => self.in_string = !self.in_string,
                b'{' | b'[' if !self.in_string => {
                    self.depth = self.depth.saturating_add(1);
                    self.has_begun = true;
                }
                b'}' | b']' if !self.in_string => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
    }

    fn is_complete(&self) -> bool {
        self.has_begun && self.depth == 0
    }
}

impl ClientStream for MessageStream {
    fn chunk(&mut self, chunk: &Object<'_>, out: &mut Vec<u8>) {
        if self.stage == Stage::Ended {
            return;
        }
        let usage = chunk.get("usage").and_then(|usage| usage.object());
        if let Some(usage) = &usage {
            self.usage = Usage::of(usage);
        }
        let choice = choice(chunk);
        if let Some(choice) = choice.filter(|choice| index(choice) == 0) {
            self.begin(chunk, out);
            if let Some(delta) = choice.get("delta").and_then(|delta| delta.object()) {
                self.delta(&delta, out);
            }
            if let Some(reason) = choice.get("finish_reason").and_then(finish_reason) {
                self.close_all(out);
                self.reason = Some(reason);
            }
        }
        // It comes with the end of the chat, or after it. What comes before is not the last of it.
        if usage.is_some() && self.reason.is_some() {
            self.conclude(out);
        }
    }

    fn say(&mut self, pieces: &[&[u8]], out: &mut Vec<u8>) {
        if self.stage == Stage::Begun {
            self.text(pieces, out);
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
        let (status, message, _) = vendor_error::within(Dialect::Anthropic, chunk, body);
        self.fail(status, &message, out);
    }

    fn fail(&mut self, status: u16, message: &str, out: &mut Vec<u8>) {
        if self.stage == Stage::Ended {
            return;
        }
        self.close(out);
        sse::write(out, Some("error"), &error::body(Dialect::Anthropic, status, "", message));
        if self.stage == Stage::Begun {
            write_stop(out);
        }
        self.stage = Stage::Ended;
    }
}

impl MessageStream {
    pub(super) fn new(stamp: Stamp) -> Self {
        Self {
            stamp,
            stage: Stage::Waiting,
            open: Open::Nothing,
            next: 0,
            tools: Vec::new(),
            room: MAX_HELD,
            reason: None,
            usage: Usage::default(),
        }
    }

    fn begin(&mut self, chunk: &Object<'_>, out: &mut Vec<u8>) {
        if self.stage != Stage::Waiting {
            return;
        }
        self.stage = Stage::Begun;
        event(out, "message_start", |start| {
            let mut message = ObjectWriter::open(start.member("message"));
            message.raw("id", string(chunk.get("id")));
            message.raw("type", br#""message""#);
            message.raw("role", br#""assistant""#);
            message.raw("model", string(chunk.get("model")));
            message.raw("content", b"[]");
            message.raw("stop_reason", b"null");
            message.raw("stop_sequence", b"null");
            self.usage.write(message.member("usage"));
            message.close();
        });
    }

    fn delta(&mut self, delta: &Object<'_>, out: &mut Vec<u8>) {
        if let Some(thought) = thinking(delta) {
            self.think(thought, out);
        }
        if let Some(text) = escaped(delta, "content") {
            self.text(&[text], out);
        } else {
            let said = texts(delta);
            if !said.is_empty() {
                self.text(&said, out);
            }
        }
        let calls = delta.get("tool_calls").and_then(|calls| calls.elements()).unwrap_or_default();
        for call in calls.iter().filter_map(|call| call.object()) {
            self.call(&call, out);
        }
    }

    fn think(&mut self, thought: &[u8], out: &mut Vec<u8>) {
        let block = match self.open {
            Open::Thinking(block) => block,
            _ => {
                let block = self.start(br#"{"type":"thinking","thinking":"","signature":""}"#, out);
                self.open = Open::Thinking(block);
                block
            }
        };
        write_delta(out, block, THOUGHT, &[thought]);
    }

    fn text(&mut self, pieces: &[&[u8]], out: &mut Vec<u8>) {
        let block = match self.open {
            Open::Text(block) => block,
            _ => {
                let block = self.start(br#"{"type":"text","text":""}"#, out);
                self.open = Open::Text(block);
                block
            }
        };
        write_delta(out, block, TEXT, pieces);
    }

    fn call(&mut self, call: &Object<'_>, out: &mut Vec<u8>) {
        let function = call.get("function").and_then(|function| function.object());
        let text = |value: Option<Raw<'_>>| {
            value
                .filter(|value| value.escaped().is_some_and(|text| !text.is_empty()))
                .map(|it| it.text().to_vec())
        };
        let id = text(call.get("id")).map(|_| call_id(call.get("id"), self.stamp, 0));
        let name = text(function.as_ref().and_then(|function| function.get("name")));
        let index = index(call);
        let known = self.tools.iter().rposition(|tool| tool.index == index);
        // Some vendors count no calls: then another id is another call.
        let is_same = |at: &usize| {
            let tool = self.tools.get(*at);
            name.is_none() || id.is_none() || tool.is_some_and(|tool| Some(&tool.id) == id.as_ref())
        };
        let at = match (known.filter(is_same), name) {
            (Some(at), _) => at,
            (None, Some(name)) if self.tools.len() < MAX_TOOLS => self.new_call(index, id, name, out),
            // What nobody can tell the name of cannot be called.
            (None, _) => return,
        };
        let arguments = function.and_then(|function| function.get("arguments"));
        if let Some(arguments) = arguments.filter(|arguments| arguments.kind() != Kind::Null) {
            self.arguments(at, arguments, out);
        }
    }

    fn new_call(&mut self, index: u64, id: Option<Vec<u8>>, name: Vec<u8>, out: &mut Vec<u8>) -> usize {
        let at = self.tools.len();
        let id = id.unwrap_or_else(|| call_id(None, self.stamp, at));
        let call = Call::Held(Vec::new());
        self.tools.push(Tool { index, id, name, call, nesting: Nesting::default() });
        let is_under_way = match self.open {
            Open::Tool(open) => self.tools.get(open).is_some_and(|tool| !tool.nesting.is_complete()),
            _ => false,
        };
        let waits = |tool: &Tool| matches!(tool.call, Call::Held(_));
        if !is_under_way && !self.tools.iter().take(at).any(waits) {
            self.close(out);
            self.start_call(at, out);
            self.open = Open::Tool(at);
        }
        at
    }

    fn arguments(&mut self, at: usize, arguments: Raw<'_>, out: &mut Vec<u8>) {
        // They should be the text of an object; some send the object itself.
        let mut quoted = Vec::new();
        let piece = arguments.escaped().unwrap_or_else(|| {
            common::json::write_string(&mut quoted, std::str::from_utf8(arguments.text()).unwrap_or("{}"));
            quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default()
        });
        let Some(tool) = self.tools.get_mut(at).filter(|_| !piece.is_empty()) else { return };
        match arguments.as_str() {
            Some(text) => tool.nesting.pass(&text),
            None => tool.nesting.pass(std::str::from_utf8(arguments.text()).unwrap_or_default()),
        }
        match &mut tool.call {
            Call::Open(block) => write_delta(out, *block, INPUT, &[piece]),
            Call::Held(held) if piece.len() <= self.room => {
                self.room -= piece.len();
                held.extend_from_slice(piece);
            }
            Call::Held(_) => self.fail(502, "the upstream's stream calls tools with too much at once", out),
            Call::Closed => {}
        }
    }

    /// Begins a block, after the one that is open.
    fn start(&mut self, content: &[u8], out: &mut Vec<u8>) -> u64 {
        self.close(out);
        self.write_start(content, out)
    }

    fn write_start(&mut self, content: &[u8], out: &mut Vec<u8>) -> u64 {
        let block = self.next;
        self.next += 1;
        event(out, "content_block_start", |start| {
            start.number("index", block);
            start.raw("content_block", content);
        });
        block
    }

    /// Begins the block of a call that was held, and gives it what it is called with so far.
    fn start_call(&mut self, at: usize, out: &mut Vec<u8>) {
        let Some(tool) = self.tools.get_mut(at) else { return };
        let mut content = Vec::new();
        let mut block = ObjectWriter::open(&mut content);
        block.raw("type", br#""tool_use""#);
        block.raw("id", &tool.id);
        block.raw("name", &tool.name);
        block.raw("input", b"{}");
        block.close();
        let number = self.next;
        let held = std::mem::replace(&mut tool.call, Call::Open(number));
        self.write_start(&content, out);
        if let Call::Held(held) = held
            && !held.is_empty()
        {
            self.room += held.len();
            write_delta(out, number, INPUT, &[&held]);
        }
    }

    /// Ends the block that is open.
    fn close(&mut self, out: &mut Vec<u8>) {
        match std::mem::take(&mut self.open) {
            Open::Nothing => {}
            Open::Text(block) => write_block_stop(out, block),
            Open::Thinking(block) => {
                write_delta(out, block, SIGNATURE, &[UNSIGNED.as_bytes()]);
                write_block_stop(out, block);
            }
            Open::Tool(at) => {
                if let Some(tool) = self.tools.get_mut(at) {
                    tool.close(out);
                }
            }
        }
    }

    /// Ends all blocks, after those that have waited.
    fn close_all(&mut self, out: &mut Vec<u8>) {
        if !matches!(self.open, Open::Tool(_)) {
            self.close(out);
        }
        let held = self.tools.iter().enumerate().filter(|(_, tool)| matches!(tool.call, Call::Held(_)));
        let mut held: Vec<(u64, usize)> = held.map(|(at, tool)| (tool.index, at)).collect();
        held.sort_unstable();
        for (_, at) in &held {
            self.start_call(*at, out);
        }
        self.close(out);
        for (_, at) in held {
            if let Some(tool) = self.tools.get_mut(at) {
                tool.close(out);
            }
        }
    }

    fn conclude(&mut self, out: &mut Vec<u8>) {
        self.close_all(out);
        let calls_tools = !self.tools.is_empty();
        let reason = self.reason.take();
        event(out, "message_delta", |message| {
            let mut delta = ObjectWriter::open(message.member("delta"));
            delta.text("stop_reason", stop_reason(reason.as_deref().unwrap_or("stop"), calls_tools));
            delta.raw("stop_sequence", b"null");
            delta.close();
            self.usage.write(message.member("usage"));
        });
        write_stop(out);
        self.stage = Stage::Ended;
    }
}

impl Tool {
    fn close(&mut self, out: &mut Vec<u8>) {
        if let Call::Open(block) = std::mem::replace(&mut self.call, Call::Closed) {
            write_block_stop(out, block);
        }
    }
}

fn event(out: &mut Vec<u8>, name: &str, members: impl FnOnce(&mut ObjectWriter<'_>)) {
    sse::write_with(out, name, |data| {
        let mut object = ObjectWriter::open(data);
        object.pieces("type", [name.as_bytes()]);
        members(&mut object);
        object.close();
    });
}

/// Writes a delta that begins with `before`, in pieces as they stand inside a JSON string. A message has hundreds.
fn write_delta(out: &mut Vec<u8>, block: u64, before: &[u8], pieces: &[&[u8]]) {
    sse::write_with(out, "content_block_delta", |data| {
        data.extend_from_slice(br#"{"type":"content_block_delta","index":"#);
        write_number(data, block);
        data.extend_from_slice(before);
        pieces.iter().for_each(|piece| data.extend_from_slice(piece));
        data.extend_from_slice(br#""}}"#);
    });
}

fn write_block_stop(out: &mut Vec<u8>, block: u64) {
    event(out, "content_block_stop", |stop| stop.number("index", block));
}

fn write_stop(out: &mut Vec<u8>) {
    event(out, "message_stop", |_| {});
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_complete_when_its_brackets_are() {
        let complete = |pieces: &[&str]| {
            let mut nesting = Nesting::default();
            pieces.iter().for_each(|piece| nesting.pass(piece));
            nesting.is_complete()
        };
        assert!(complete(&["{}"]) && complete(&["{\"a\":\"}\\", "\"{\",\"b\":[", "1]}"]));
        for pieces in [&[][..], &[""], &["{\"x\""], &["{\"a\":\"}"], &["{\"a\":{}"]] {
            assert!(!complete(pieces), "{pieces:?}");
        }
    }
}
