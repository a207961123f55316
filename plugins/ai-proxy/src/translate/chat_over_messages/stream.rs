//! A streamed message, as a streamed chat.

use common::framing::sse::Event;
use common::json::{self, ArrayWriter, Object, ObjectWriter};

use super::{Completion, Failure, Usage, input, thinking, write_call, write_function};
use crate::translate::VendorStream;
use crate::translate::read::{escaped, member, string};

/// How many blocks of a message may be under way at once; Anthropic sends one after another.
const MAX_OPEN: usize = 128;
/// How much thinking is kept for the signature that follows it. What is longer is not given back.
const MAX_THOUGHT: usize = 1 << 20;

/// Takes the JSON of chunks.
type Chunks<'c> = &'c mut dyn FnMut(&[u8]);

/// What stands behind each delta.
const REST: &[u8] = br#","finish_reason":null,"logprobs":null}]}"#;

/// The state of one stream.
pub(super) struct ChunkStream {
    completion: Completion,
    /// What each chunk begins with, up to its choices; empty until the first one.
    head: Vec<u8>,
    open: Vec<Block>,
    /// How many tools are called.
    calls: usize,
    usage: Usage,
    has_finished: bool,
    /// The chunk that is being written.
    chunk: Vec<u8>,
}

/// A block that has begun.
struct Block {
    index: u64,
    kind: Kind,
}

enum Kind {
    /// What is thought, as it stands inside its quotes, and its signature. `None`: it was too long.
    Thinking(Option<Vec<u8>>, Vec<u8>),
    /// A call: its number, and whether anything was said of what the tool is called with.
    Call(usize, bool),
}

impl VendorStream for ChunkStream {
    fn event(&mut self, event: &Event, chunk: &mut dyn FnMut(&[u8])) -> bool {
        let Ok(data) = json::object(event.data()) else { return false };
        let kind = data.get("type").and_then(|kind| kind.as_str());
        let name = event.name.as_deref().and_then(|name| std::str::from_utf8(name).ok());
        match kind.as_deref().or(name).unwrap_or_default() {
            "message_start" => {
                let message = data.get("message").and_then(|message| message.object());
                if let Some(usage) = message.as_ref().and_then(|message| message.get("usage")?.object()) {
                    self.usage = self.usage.updated(&usage);
                }
                self.begin(message.as_ref(), chunk);
            }
            "content_block_start" => {
                if let Some(block) = data.get("content_block").and_then(|block| block.object()) {
                    self.start(index(&data), &block, chunk);
                }
            }
            "content_block_delta" => {
                if let Some(delta) = data.get("delta").and_then(|delta| delta.object()) {
                    self.delta(index(&data), &delta, chunk);
                }
            }
            "content_block_stop" => self.stop(index(&data), chunk),
            "message_delta" => {
                if let Some(usage) = data.get("usage").and_then(|usage| usage.object()) {
                    self.usage = self.usage.updated(&usage);
                }
                let delta = data.get("delta").and_then(|delta| delta.object());
                if let Some(reason) = delta.and_then(|delta| member(&delta, "stop_reason")) {
                    self.finish(reason.as_str().as_deref(), chunk);
                }
            }
            "message_stop" => {
                self.finish(None, chunk);
                self.end(chunk);
                return true;
            }
            "error" => {
                self.chunk.clear();
                Failure::of(&data).write(&mut self.chunk);
                chunk(&self.chunk);
                return true;
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
            open: Vec::new(),
            calls: 0,
            usage: Usage::default(),
            has_finished: false,
            chunk: Vec::new(),
        }
    }

    /// Promises an answer, once.
    fn begin(&mut self, message: Option<&Object<'_>>, chunks: Chunks<'_>) {
        if !self.head.is_empty() {
            return;
        }
        let mut head = ObjectWriter::open(&mut self.head);
        self.completion.write_head(message, "chat.completion.chunk", &mut head);
        self.choice(chunks, |delta| {
            delta.raw("role", br#""assistant""#);
            delta.raw("content", br#""""#);
        });
    }

    /// Something is said. A vendor may not have said that it begins.
    fn say(&mut self, chunks: Chunks<'_>, members: impl FnOnce(&mut ObjectWriter<'_>)) {
        self.begin(None, chunks);
        self.choice(chunks, members);
    }

    fn choice(&mut self, chunks: Chunks<'_>, members: impl FnOnce(&mut ObjectWriter<'_>)) {
        self.chunk.clear();
        self.chunk.extend_from_slice(&self.head);
        self.chunk.extend_from_slice(br#","choices":[{"index":0,"delta":"#);
        let mut delta = ObjectWriter::open(&mut self.chunk);
        members(&mut delta);
        delta.close();
        self.chunk.extend_from_slice(REST);
        chunks(&self.chunk);
    }

    fn start(&mut self, index: u64, block: &Object<'_>, chunks: Chunks<'_>) {
        let kind = block.get("type").and_then(|kind| kind.as_str());
        match kind.as_deref() {
            Some("text") => self.text(escaped(block, "text"), chunks),
            Some("thinking") => {
                self.open(index, Kind::Thinking(Some(Vec::new()), Vec::new()));
                self.think(index, escaped(block, "thinking"), chunks);
            }
            Some("redacted_thinking") => {
                self.say(chunks, |delta| {
                    let mut list = ArrayWriter::open(delta.member(thinking::BLOCKS));
                    thinking::write(block, list.element());
                    list.close();
                });
            }
            Some("tool_use") => {
                let number = self.calls;
                self.calls += 1;
                let given =
                    block.get("input").and_then(|input| input.object()).is_some_and(|it| !it.is_empty());
                let arguments = if given { input(block) } else { br#""""#.to_vec() };
                self.open(index, Kind::Call(number, given));
                if !self.completion.has_functions {
                    self.say(chunks, |delta| {
                        let mut list = ArrayWriter::open(delta.member("tool_calls"));
                        write_call(number, block, &arguments, list.element());
                        list.close();
                    });
                } else if number == 0 {
                    let name = string(block.get("name"));
                    self.say(chunks, |delta| write_function(name, &arguments, delta.member("function_call")));
                }
            }
            // What runs at the vendor is not the client's business.
            _ => {}
        }
    }

    fn open(&mut self, index: u64, kind: Kind) {
        self.open.retain(|block| block.index != index);
        if self.open.len() < MAX_OPEN {
            self.open.push(Block { index, kind });
        }
    }

    fn delta(&mut self, index: u64, delta: &Object<'_>, chunks: Chunks<'_>) {
        let kind = delta.get("type").and_then(|kind| kind.as_str());
        match kind.as_deref() {
            Some("text_delta") => self.text(escaped(delta, "text"), chunks),
            Some("thinking_delta") => self.think(index, escaped(delta, "thinking"), chunks),
            Some("signature_delta") => {
                if let (Some(Kind::Thinking(_, signature)), Some(more)) =
                    (self.kind(index), escaped(delta, "signature"))
                    && signature.len() + more.len() <= MAX_THOUGHT
                {
                    signature.extend_from_slice(more);
                }
            }
            Some("input_json_delta") => {
                if let Some(piece) = escaped(delta, "partial_json") {
                    self.arguments(index, piece, chunks);
                }
            }
            _ => {}
        }
    }

    fn kind(&mut self, index: u64) -> Option<&mut Kind> {
        self.open.iter_mut().find(|block| block.index == index).map(|block| &mut block.kind)
    }

    fn text(&mut self, text: Option<&[u8]>, chunks: Chunks<'_>) {
        if let Some(text) = text {
            self.say(chunks, |delta| delta.pieces("content", [text]));
        }
    }

    fn think(&mut self, index: u64, thought: Option<&[u8]>, chunks: Chunks<'_>) {
        let Some(thought) = thought else { return };
        if let Some(Kind::Thinking(kept, _)) = self.kind(index) {
            match kept {
                Some(text) if text.len() + thought.len() <= MAX_THOUGHT => text.extend_from_slice(thought),
                kept => *kept = None,
            }
        }
        self.say(chunks, |delta| delta.pieces("reasoning_content", [thought]));
    }

    /// A piece of what a tool is called with, as it stands inside its quotes.
    fn arguments(&mut self, index: u64, piece: &[u8], chunks: Chunks<'_>) {
        let Some(Kind::Call(number, is_given)) = self.kind(index) else { return };
        *is_given = true;
        let number = *number;
        if self.completion.has_functions {
            if number == 0 {
                self.say(chunks, |delta| {
                    let mut function = ObjectWriter::open(delta.member("function_call"));
                    function.pieces("arguments", [piece]);
                    function.close();
                });
            }
            return;
        }
        self.say(chunks, |delta| {
            let mut list = ArrayWriter::open(delta.member("tool_calls"));
            let mut call = ObjectWriter::open(list.element());
            call.raw("index", number.to_string().as_bytes());
            let mut function = ObjectWriter::open(call.member("function"));
            function.pieces("arguments", [piece]);
            function.close();
            call.close();
            list.close();
        });
    }

    /// A block has ended. A call about which nothing was said is one without arguments; thinking that is signed has to
    /// come back.
    fn stop(&mut self, index: u64, chunks: Chunks<'_>) {
        let Some(at) = self.open.iter().position(|block| block.index == index) else { return };
        if matches!(self.open.get(at).map(|block| &block.kind), Some(Kind::Call(_, false))) {
            self.arguments(index, b"{}", chunks);
        }
        let block = self.open.remove(at);
        if let Kind::Thinking(Some(thought), signature) = block.kind
            && !signature.is_empty()
        {
            self.say(chunks, |delta| {
                let mut list = ArrayWriter::open(delta.member(thinking::BLOCKS));
                let mut block = ObjectWriter::open(list.element());
                block.raw("type", br#""thinking""#);
                block.pieces("thinking", [thought.as_slice()]);
                block.pieces("signature", [signature.as_slice()]);
                block.close();
                list.close();
            });
        }
    }

    fn finish(&mut self, reason: Option<&str>, chunks: Chunks<'_>) {
        if std::mem::replace(&mut self.has_finished, true) {
            return;
        }
        self.begin(None, chunks);
        let reason = self.completion.finish_reason(reason, self.calls > 0);
        self.chunk.clear();
        self.chunk.extend_from_slice(&self.head);
        self.chunk.extend_from_slice(br#","choices":[{"index":0,"delta":{},"finish_reason":""#);
        self.chunk.extend_from_slice(reason.as_bytes());
        self.chunk.extend_from_slice(br#"","logprobs":null}]}"#);
        chunks(&self.chunk);
    }

    fn end(&mut self, chunks: Chunks<'_>) {
        if self.completion.hides_usage {
            return;
        }
        self.chunk.clear();
        self.chunk.extend_from_slice(&self.head);
        self.chunk.extend_from_slice(br#","choices":[],"usage":"#);
        self.usage.write(&mut self.chunk);
        self.chunk.push(b'}');
        chunks(&self.chunk);
    }
}

/// The number of a block; the first where none is said.
fn index(data: &Object<'_>) -> u64 {
    data.get("index").and_then(|index| index.as_u64()).unwrap_or(0)
}
