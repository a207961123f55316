//! A streamed answer, rewritten event by event in its own dialect, or into the client's.

use common::framing::sse::{self, Decoder, Event};
use common::json::{Document, JsonError, Object, Patch};
use common::llm::dialect::Dialect;
use common::llm::error;

use super::reasoning::{self, CLOSE, Mode, NAMES, OPEN, Said};
use super::{Answers, error_of, is_blank};
use crate::provider::Provider;
use translate::{ClientStream, Streams, VendorStream};

/// The largest event that is read; streams of images have large ones.
const MAX_EVENT: usize = 16 << 20;
/// How much thinking is kept for an answer that may stay empty. What is beyond is not promoted.
const MAX_HELD: usize = 512 << 10;
/// How many answers of one stream are told apart. OpenAI's `n` ends there.
const MAX_CHOICES: usize = 128;

/// The state of one stream.
pub(crate) struct ChatStream {
    decoder: Decoder,
    events: Events,
    /// Makes chunks of what the vendor sends, if it sends others.
    back: Option<Box<dyn VendorStream>>,
    /// What the client gets instead of chunks, if it speaks another API.
    front: Option<Box<dyn ClientStream>>,
}

/// Where events go.
struct Outlet<'a> {
    bytes: &'a mut Vec<u8>,
    front: Option<&'a mut (dyn ClientStream + 'static)>,
}

struct Events {
    answers: Answers,
    choices: Vec<Choice>,
    /// What chunks of our own have in common with the vendor's.
    envelope: Option<Envelope>,
    stage: Stage,
    /// The answers that have begun, and those of them that have come to their end, a bit for each.
    begun: u128,
    ended: u128,
    /// The vendor's stream ended, or was no longer readable, before its answers did.
    is_broken: bool,
    /// For thinking that is held.
    room: usize,
    unreadable: u64,
}

/// How far a stream has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It goes on.
    Open,
    /// All answers were finished, or the vendor said what went wrong: it may end here.
    Settled,
    /// The end marker has been written, and nothing may follow.
    Done,
}

/// One of the answers that a stream carries.
struct Choice {
    index: u64,
    /// Whose it is has been said.
    named_role: bool,
    /// A tag is open in the content.
    thinks: bool,
    /// Something came that is more than thinking, so nothing needs promotion.
    answered: bool,
    /// Thinking that may be promoted, as it stands inside a JSON string.
    held: Vec<u8>,
}

/// JSON texts.
struct Envelope {
    id: Vec<u8>,
    created: Vec<u8>,
    model: Vec<u8>,
}

impl ChatStream {
    pub(crate) fn new(answers: Answers, streams: Streams) -> Self {
        let events = Events {
            answers,
            choices: Vec::new(),
            envelope: None,
            stage: Stage::Open,
            begun: 0,
            ended: 0,
            is_broken: false,
            room: MAX_HELD,
            unreadable: 0,
        };
        Self { decoder: Decoder::new(MAX_EVENT), events, back: streams.back, front: streams.front }
    }

    /// Takes the next piece of the stream. `end`: it ends here.
    pub(crate) fn push(&mut self, provider: &dyn Provider, piece: &[u8], end: bool, out: &mut Vec<u8>) {
        if self.events.stage == Stage::Done {
            return;
        }
        let out = &mut Outlet { bytes: out, front: self.front.as_deref_mut() };
        let (events, back) = (&mut self.events, &mut self.back);
        let mut take = |event: &Event| match back {
            None => events.event(provider, event, out),
            Some(back) => events.vendor_event(provider, event, back.as_mut(), out),
        };
        let pushed = self.decoder.push(piece, &mut take);
        if let Err(error) = pushed {
            self.events.fail(
                "event_too_large",
                &format!("the upstream's stream is unreadable: {error}"),
                out,
            );
        } else if end {
            self.decoder.finish(&mut take);
            self.events.end(out);
        }
    }

    /// Whether the vendor's stream was not complete.
    pub(crate) fn is_broken(&self) -> bool {
        self.events.is_broken
    }

    /// How many events were left out because they could not be read.
    pub(crate) fn unreadable(&self) -> u64 {
        self.events.unreadable
    }
}

impl Events {
    /// Takes an event of a vendor that sends no chunks.
    fn vendor_event(
        &mut self,
        provider: &dyn Provider,
        event: &Event,
        back: &mut dyn VendorStream,
        out: &mut Outlet<'_>,
    ) {
        if self.stage == Stage::Done {
            return;
        }
        if event.data.is_none() {
            return out.comment(event);
        }
        if back.is_ping(event) {
            // A chat and a response know no such event, and every client passes over a comment.
            return out.comment(&Event { comment: Some(b"ping".to_vec()), ..Event::default() });
        }
        let is_read = out.front.is_some() || self.answers.reads(provider);
        let ends = back.event(event, &mut |chunk| match self.stage {
            Stage::Done => {}
            _ if is_read => {
                // Nothing of the vendor's event but its data is of use to anyone.
                let event = Event { data: Some(chunk.json.to_vec()), ..Event::default() };
                self.event(provider, &event, out);
            }
            _ => {
                if chunk.settles {
                    self.stage = Stage::Settled;
                }
                sse::write(out.bytes, None, chunk.json);
            }
        });
        if ends && self.stage != Stage::Done {
            self.end(out);
        }
    }

    fn event(&mut self, provider: &dyn Provider, event: &Event, out: &mut Outlet<'_>) {
        if self.stage == Stage::Done {
            return;
        }
        let Some(data) = &event.data else {
            // Comments keep connections open.
            return out.comment(event);
        };
        if event.is_done() {
            return self.done(out);
        }
        match Document::of(data) {
            Ok(chunk) => self.chunk(provider, event, data, &chunk.object(), out),
            // Vendors cut characters in two; what has no thinking in it has nothing to hide.
            Err(_) if out.front.is_some() => self.unreadable += 1,
            Err(JsonError::NotUtf8 { .. }) if !names_reasoning(data) => sse::forward(out.bytes, event),
            Err(_) if self.answers.edits_text() => self.unreadable += 1,
            Err(_) => sse::forward(out.bytes, event),
        }
    }

    fn chunk(
        &mut self,
        provider: &dyn Provider,
        event: &Event,
        data: &[u8],
        chunk: &Object<'_>,
        out: &mut Outlet<'_>,
    ) {
        if error_of(chunk).is_some() {
            (self.stage, self.ended) = (Stage::Settled, u128::MAX);
            return out.vendor_error(event, data, chunk);
        }
        let mut patch = Patch::new(data);
        provider.edit_chunk(chunk, &mut patch);
        let choices = chunk.get("choices").and_then(|choices| choices.elements()).unwrap_or_default();
        // An event that is about nothing but hidden thinking is left out.
        let edits_text = self.answers.edits_text();
        let mut is_empty = edits_text && !choices.is_empty() && chunk.get("usage").is_none_or(is_blank);
        for choice in choices.iter().filter_map(|choice| choice.object()) {
            let finishes = choice.get("finish_reason").is_some_and(|reason| !is_blank(reason));
            let index = index(&choice);
            self.follow(index, finishes);
            if edits_text {
                self.envelope.get_or_insert_with(|| Envelope::of(chunk));
                let hides = self.choice(index, &choice, finishes, &mut patch);
                is_empty &= hides && !finishes;
                if finishes {
                    self.settle(|choice| choice.index == index, out);
                }
            }
        }
        if is_empty {
            return;
        }
        out.chunk(event, chunk, patch);
    }

    /// One answer goes on, or comes to its end. Those that no bit stands for are not waited for.
    fn follow(&mut self, index: u64, finishes: bool) {
        let bit = u32::try_from(index).ok().and_then(|index| 1_u128.checked_shl(index)).unwrap_or(0);
        self.begun |= bit;
        if finishes {
            self.ended |= bit;
        }
        let is_waited_for = self.begun & !self.ended != 0;
        if finishes || is_waited_for {
            self.stage = if is_waited_for { Stage::Open } else { Stage::Settled };
        }
    }

    /// Edits what one choice says. Says whether nothing of it is left.
    fn choice(&mut self, index: u64, choice: &Object<'_>, finishes: bool, patch: &mut Patch<'_>) -> bool {
        let Some(delta) = choice.get("delta").and_then(|delta| delta.object()) else { return false };
        let said = Said::of(&delta);
        let answers = self.answers;
        let Some(state) = state(&mut self.choices, index) else { return false };
        let named_role = state.named_role;
        state.named_role |= delta.get("role").is_some();
        if said.answers {
            state.answered = true;
            state.held = Vec::new();
        } else if answers.promotes && !state.answered && !said.reasoning.is_empty() {
            // Behind what finds no room nothing does: a text with a gap would be worse than one cut short.
            self.room = self.room.saturating_sub(said.reasoning.len());
            if self.room > 0 {
                state.held.extend_from_slice(said.reasoning);
            }
        }
        match answers.reasoning {
            // Whether it is promoted or nobody's, thinking that an answer may still replace waits.
            Mode::Unset | Mode::Unknown if !state.answered && said.has_reasoning => {
                reasoning::remove(&delta, patch);
            }
            Mode::Unset | Mode::Unknown | Mode::Passthrough => {}
            Mode::Ignore if said.has_reasoning => {
                reasoning::remove(&delta, patch);
                let is_hidden = |name: &str| NAMES.contains(&name) || (name == "role" && named_role);
                return delta.members().all(|(name, value)| is_hidden(&name) || is_blank(value));
            }
            Mode::Ignore => {}
            Mode::Concat if !said.is_text => {}
            Mode::Concat => {
                let mut pieces = Vec::new();
                if !said.reasoning.is_empty() {
                    if !std::mem::replace(&mut state.thinks, true) {
                        pieces.push(OPEN);
                    }
                    pieces.push(said.reasoning);
                }
                let held = if finishes { std::mem::take(&mut state.held) } else { Vec::new() };
                let ends = !said.content.is_empty() || said.calls || finishes;
                if ends && std::mem::take(&mut state.thinks) {
                    pieces.extend([CLOSE, &held]);
                }
                if !pieces.is_empty() {
                    pieces.push(said.content);
                    patch.set(&delta, "content", &reasoning::joined(&pieces));
                }
                if said.has_reasoning {
                    reasoning::remove(&delta, patch);
                }
            }
        }
        false
    }

    /// Sends what choices were promised and have not been given, before their end.
    fn settle(&mut self, ends: impl Fn(&Choice) -> bool, out: &mut Outlet<'_>) {
        for choice in self.choices.iter_mut().filter(|choice| ends(choice)) {
            let close = if std::mem::take(&mut choice.thinks) { CLOSE } else { b"" };
            let held = std::mem::take(&mut choice.held);
            choice.answered = true;
            if let (true, Some(envelope)) = (close.len() + held.len() > 0, &self.envelope) {
                out.say(envelope, choice.index, &[close, &held]);
            }
        }
    }

    fn done(&mut self, out: &mut Outlet<'_>) {
        self.settle(|_| true, out);
        out.done();
        self.stage = Stage::Done;
    }

    fn end(&mut self, out: &mut Outlet<'_>) {
        match self.stage {
            Stage::Open => {
                self.settle(|_| true, out);
                self.fail("stream_incomplete", "the upstream's stream ended before its answer did", out);
            }
            Stage::Settled => self.done(out),
            Stage::Done => {}
        }
    }

    fn fail(&mut self, code: &str, message: &str, out: &mut Outlet<'_>) {
        out.fail(code, message);
        (self.stage, self.is_broken) = (Stage::Done, true);
    }
}

impl Outlet<'_> {
    /// Comments keep connections open.
    fn comment(&mut self, event: &Event) {
        match (&self.front, &event.comment) {
            (None, _) => sse::forward(self.bytes, event),
            (Some(_), Some(_)) => {
                let comment = event.comment.clone();
                sse::forward(self.bytes, &Event { comment, ..Event::default() });
            }
            (Some(_), None) => {}
        }
    }

    fn chunk(&mut self, event: &Event, chunk: &Object<'_>, patch: Patch<'_>) {
        match (&mut self.front, patch.is_empty()) {
            (None, true) => sse::forward(self.bytes, event),
            (None, false) => sse::rewrite(self.bytes, event, &patch.finish()),
            (Some(front), true) => front.chunk(chunk, self.bytes),
            (Some(front), false) => {
                if let Ok(chunk) = Document::of(&patch.finish()) {
                    front.chunk(&chunk.object(), self.bytes);
                }
            }
        }
    }

    fn vendor_error(&mut self, event: &Event, data: &[u8], chunk: &Object<'_>) {
        match &mut self.front {
            None => sse::forward(self.bytes, event),
            Some(front) => front.vendor_error(chunk, data, self.bytes),
        }
    }

    /// Content of our own, in pieces as they stand inside a JSON string.
    fn say(&mut self, envelope: &Envelope, index: u64, content: &[&[u8]]) {
        match &mut self.front {
            None => envelope.write(self.bytes, index, content),
            Some(front) if index == 0 => front.say(content, self.bytes),
            Some(_) => {}
        }
    }

    fn done(&mut self) {
        match &mut self.front {
            None => sse::write_done(self.bytes),
            Some(front) => front.done(self.bytes),
        }
    }

    fn fail(&mut self, code: &str, words: &str) {
        match &mut self.front {
            None => {
                sse::write(self.bytes, None, &error::body(Dialect::OpenAi, 502, code, words));
                sse::write_done(self.bytes);
            }
            Some(front) => front.fail(502, words, self.bytes),
        }
    }
}

fn state(choices: &mut Vec<Choice>, index: u64) -> Option<&mut Choice> {
    match choices.iter().position(|choice| choice.index == index) {
        Some(at) => choices.get_mut(at),
        None if choices.len() < MAX_CHOICES => {
            choices.push(Choice {
                index,
                named_role: false,
                thinks: false,
                answered: false,
                held: Vec::new(),
            });
            choices.last_mut()
        }
        None => None,
    }
}

/// Whether a text that is no JSON may hold thinking.
fn names_reasoning(data: &[u8]) -> bool {
    NAMES.iter().any(|name| data.windows(name.len()).any(|window| window == name.as_bytes()))
}

fn index(choice: &Object<'_>) -> u64 {
    choice.get("index").and_then(|index| index.as_u64()).unwrap_or(0)
}

impl Envelope {
    fn of(chunk: &Object<'_>) -> Self {
        let text = |name| chunk.get(name).map_or(&b"null"[..], |value| value.text()).to_vec();
        Self { id: text("id"), created: text("created"), model: text("model") }
    }

    /// Writes a chunk with this content, given in pieces as they stand inside a JSON string. Nothing of it has a
    /// line break, and it may be long: so it is one line, and never a text of its own.
    fn write(&self, out: &mut Vec<u8>, index: u64, content: &[&[u8]]) {
        let index = index.to_string();
        let before: [&[u8]; 5] = [
            br#"data: {"id":"#,
            &self.id,
            br#","choices":[{"index":"#,
            index.as_bytes(),
            br#","delta":{"content":""#,
        ];
        let after: [&[u8]; 5] = [
            br#""},"finish_reason":null,"logprobs":null}],"created":"#,
            &self.created,
            br#","model":"#,
            &self.model,
            b",\"object\":\"chat.completion.chunk\",\"usage\":null}\n\n",
        ];
        for piece in before.iter().chain(content).chain(&after) {
            out.extend_from_slice(piece);
        }
    }
}
