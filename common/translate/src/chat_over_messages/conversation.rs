//! What has been said: instructions, questions, answers, calls of tools and what came of them.

use common::http::Fault;
use common::json::{ArrayWriter, Kind, Object, ObjectWriter};

use super::calls::{Calls, called};
use super::source;
use crate::Dropped;
use crate::chat::drop_others;
use crate::place::Place;
use crate::read::{copy, is_blank, is_of, member};

/// Where the messages stand.
const MESSAGES: Place<'_> = Place::Member(&Place::Request, "messages");

/// What a message may have. Thinking without its signature is nothing to the vendor, and what a model said of its
/// thinking is told in `thinking_blocks`.
const OF_ANY_ROLE: [&str; 6] =
    ["role", "content", "cache_control", "reasoning_content", "reasoning", "reasoning_details"];
const OF_AN_ANSWER: [&str; 10] = [
    "role",
    "content",
    "refusal",
    "tool_calls",
    "function_call",
    "cache_control",
    "thinking_blocks",
    "reasoning_content",
    "reasoning",
    "reasoning_details",
];
const OF_A_RESULT: [&str; 8] = [
    "role",
    "content",
    "tool_call_id",
    "name",
    "cache_control",
    "reasoning_content",
    "reasoning",
    "reasoning_details",
];

/// Between two texts, inside a JSON string.
const LINE: &[u8] = br"\n";

/// The messages of a chat.
pub(super) struct Conversation<'a> {
    messages: Vec<Message<'a>>,
}

struct Message<'a> {
    /// Where it stands in the chat.
    at: usize,
    role: Role,
    object: Object<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// OpenAI's `system`, and its newer name `developer`.
    System,
    User,
    Assistant,
    Tool,
    /// As it was before there were tools.
    Function,
}

impl<'a> Conversation<'a> {
    /// Reads the messages of a chat.
    ///
    /// # Errors
    /// They are none, or are nobody's.
    pub(super) fn of(chat: &Object<'a>) -> Result<Self, Fault> {
        let message = |message| {
            let (at, object): (usize, Object<'a>) = message?;
            let role = object.get("role").and_then(|role| role.as_str());
            let role = match role.as_deref() {
                Some("system" | "developer") => Role::System,
                Some("user") => Role::User,
                Some("assistant") => Role::Assistant,
                Some("tool") => Role::Tool,
                Some("function") => Role::Function,
                _ => {
                    let roles = "`system`, `developer`, `user`, `assistant`, `tool` or `function`";
                    return Err(MESSAGES.element(at).member("role").expected(roles));
                }
            };
            Ok(Message { at, role, object })
        };
        let messages = MESSAGES.objects(chat.get("messages"), "a list of messages")?;
        let messages = messages.map(message).collect::<Result<Vec<_>, Fault>>()?;
        let speaks = |message: &Message<'_>| message.role != Role::System;
        if !messages.iter().any(speaks) {
            return Err(MESSAGES.expected("a message that is no instruction, among others"));
        }
        Ok(Self { messages })
    }

    /// Whether the model is in the middle of an answer that it began without thinking, or with none that it could be
    /// shown again. Such an answer cannot go on with thinking, says
    /// <https://docs.anthropic.com/en/docs/build-with-claude/extended-thinking#extended-thinking-with-tool-use>.
    pub(super) fn goes_on_without_thinking(&self) -> bool {
        let asked = self.messages.iter().rposition(|message| message.role == Role::User);
        let mut answers = self.messages.iter().skip(asked.map_or(0, |at| at + 1));
        let first = answers.find(|message| message.role == Role::Assistant);
        first.is_some_and(|message| signed(&message.object).next().is_none())
    }

    /// Writes the instructions and all else that was said. `thinks`: with what the model thought. Says whether files
    /// are named that were uploaded before.
    ///
    /// # Errors
    /// Something has no place in a message, or answers nothing.
    pub(super) fn write(
        &self,
        thinks: bool,
        request: &mut ObjectWriter<'_>,
        dropped: &mut Dropped,
    ) -> Result<bool, Fault> {
        self.write_system(request, dropped)?;
        let messages: Vec<&Message<'_>> =
            self.messages.iter().filter(|message| message.role != Role::System).collect();
        let list = ArrayWriter::open(request.member("messages"));
        let parts = Parts { dropped, names_files: false };
        let mut writer = Writer { list, thinks, calls: Calls::default(), parts };
        let mut rest = messages.as_slice();
        while let Some((message, others)) = rest.split_first() {
            rest = others;
            match message.role {
                Role::System => {}
                Role::User => writer.user(message)?,
                Role::Assistant => writer.assistant(message)?,
                Role::Tool | Role::Function => {
                    let is_result = |it: &&&Message<'_>| matches!(it.role, Role::Tool | Role::Function);
                    let count = others.iter().take_while(is_result).count();
                    let (results, others) = others.split_at_checked(count).unwrap_or((others, &[]));
                    writer.results(message, results)?;
                    rest = others;
                }
            }
        }
        writer.list.close();
        Ok(writer.parts.names_files)
    }

    fn write_system(&self, request: &mut ObjectWriter<'_>, dropped: &mut Dropped) -> Result<(), Fault> {
        let mut said: Vec<Text<'_>> = Vec::new();
        for message in self.messages.iter().filter(|message| message.role == Role::System) {
            instructions(message, &mut said, dropped)?;
            drop_others(&message.object, "messages", &OF_ANY_ROLE, dropped);
        }
        match said.as_slice() {
            [] => {}
            [Text { text, control: None }] => request.pieces("system", text.iter().copied()),
            said => {
                let mut list = ArrayWriter::open(request.member("system"));
                for instruction in said {
                    write_text(&instruction.text, instruction.control, list.element());
                }
                list.close();
            }
        }
        Ok(())
    }
}

/// One text, in pieces as they stand inside a JSON string, and what says that it is to be cached.
struct Text<'a> {
    text: Vec<&'a [u8]>,
    control: Option<&'a [u8]>,
}

/// The parts of one message are one text, unless some of them are to be cached for themselves.
fn instructions<'a>(
    message: &Message<'a>,
    said: &mut Vec<Text<'a>>,
    dropped: &mut Dropped,
) -> Result<(), Fault> {
    let place = MESSAGES.element(message.at);
    let place = place.member("content");
    let control = cache_control(&message.object, dropped);
    match content(place, &message.object)? {
        Content::Nothing => {}
        Content::Text(text) => said.push(Text { text: vec![text], control }),
        Content::Parts(parts) => {
            let mut joined = Text { text: Vec::new(), control: None };
            let mut alone = Vec::new();
            for (at, part) in &parts {
                let text = part_text(place.element(*at), part)?;
                let control = cache_control(part, dropped);
                drop_others_of_part(part, "text", dropped);
                if !joined.text.is_empty() {
                    joined.text.push(LINE);
                }
                joined.text.push(text);
                alone.push(Text { text: vec![text], control });
            }
            if let Some(last) = alone.last_mut() {
                last.control = last.control.or(control);
            }
            match alone.iter().any(|instruction| instruction.control.is_some()) {
                true => said.append(&mut alone),
                false => said.push(joined),
            }
        }
    }
    Ok(())
}

/// What a message says.
enum Content<'a> {
    Nothing,
    /// As it stands inside its quotes.
    Text(&'a [u8]),
    /// Each with its number. There are some, and none of them is a text without anything in it.
    Parts(Vec<(usize, Object<'a>)>),
}

fn content<'a>(place: Place<'_>, message: &Object<'a>) -> Result<Content<'a>, Fault> {
    let Some(content) = member(message, "content") else { return Ok(Content::Nothing) };
    if let Some(text) = content.escaped() {
        return Ok(if says_nothing(text) { Content::Nothing } else { Content::Text(text) });
    }
    let mut parts = Vec::new();
    for part in place.objects(Some(content), "a text or a list of content parts")? {
        let (at, part) = part?;
        let is_silent = is_of(&part, "type", "text")
            && part.get("text").and_then(|text| text.escaped()).is_some_and(says_nothing);
        if !is_silent {
            parts.push((at, part));
        }
    }
    Ok(if parts.is_empty() { Content::Nothing } else { Content::Parts(parts) })
}

/// Whether a text, as it stands inside its quotes, is of spaces alone: Anthropic refuses those.
fn says_nothing(text: &[u8]) -> bool {
    let mut rest = text;
    loop {
        rest = match rest {
            [] => return true,
            [b' ', rest @ ..] | [b'\\', b'n' | b't' | b'r', rest @ ..] => rest,
            _ => return false,
        };
    }
}

/// The text of a part that has to be one.
fn part_text<'a>(place: Place<'_>, part: &Object<'a>) -> Result<&'a [u8], Fault> {
    if !is_of(part, "type", "text") {
        return Err(place.member("type").expected("`text`"));
    }
    Ok(place.text_of(part, "text")?.escaped().unwrap_or_default())
}

/// Names what has no place of a part of this kind.
fn drop_others_of_part(part: &Object<'_>, kind: &str, dropped: &mut Dropped) {
    drop_others(
        part,
        "messages.content",
        &["type", kind, "cache_control", "prompt_cache_breakpoint"],
        dropped,
    );
}

/// Where the vendor is to end what it caches: in its own words, or in OpenAI's, which know other times.
pub(super) fn cache_control<'a>(part: &Object<'a>, dropped: &mut Dropped) -> Option<&'a [u8]> {
    if let Some(control) = member(part, "cache_control") {
        return Some(control.text());
    }
    let breakpoint = member(part, "prompt_cache_breakpoint")?.object()?;
    drop_others(&breakpoint, "messages.content.prompt_cache_breakpoint", &["mode"], dropped);
    Some(br#"{"type":"ephemeral"}"#)
}

fn write_text(text: &[&[u8]], control: Option<&[u8]>, out: &mut Vec<u8>) {
    let mut block = ObjectWriter::open(out);
    block.raw("type", br#""text""#);
    block.pieces("text", text.iter().copied());
    write_control(control, block);
}

/// Ends a block.
fn write_control(control: Option<&[u8]>, mut block: ObjectWriter<'_>) {
    if let Some(control) = control {
        block.raw("cache_control", control);
    }
    block.close();
}

/// The blocks of thinking that a message brings back. Without a signature nobody can tell whose thinking it is.
fn signed<'a>(message: &Object<'a>) -> impl Iterator<Item = Object<'a>> + use<'a> {
    let blocks = message.get("thinking_blocks").and_then(|blocks| blocks.elements()).unwrap_or_default();
    blocks.into_iter().filter_map(|block| block.object()).filter(|block| {
        let has = |name: &str| {
            block.get(name).is_some_and(|value| value.kind() == Kind::String && !is_blank(value))
        };
        match block.get("type").and_then(|kind| kind.as_str()).as_deref() {
            Some("thinking") => has("signature"),
            Some("redacted_thinking") => has("data"),
            _ => false,
        }
    })
}

struct Writer<'o, 'd, 'a> {
    list: ArrayWriter<'o>,
    /// Blocks of thinking are sent again.
    thinks: bool,
    calls: Calls<'a>,
    parts: Parts<'d>,
}

/// What is found in contents while they are written.
struct Parts<'d> {
    dropped: &'d mut Dropped,
    /// Files are named that were uploaded before.
    names_files: bool,
}

impl<'a> Writer<'_, '_, 'a> {
    fn user(&mut self, message: &Message<'a>) -> Result<(), Fault> {
        let place = MESSAGES.element(message.at);
        let place = place.member("content");
        drop_others(&message.object, "messages", &OF_ANY_ROLE, self.parts.dropped);
        let control = cache_control(&message.object, self.parts.dropped);
        let content = content(place, &message.object)?;
        if matches!(content, Content::Nothing) {
            return Ok(());
        }
        self.calls.are_past();
        let mut written = ObjectWriter::open(self.list.element());
        written.raw("role", br#""user""#);
        match (content, control) {
            (Content::Text(text), None) => written.pieces("content", [text]),
            (Content::Text(text), control) => {
                let mut blocks = ArrayWriter::open(written.member("content"));
                write_text(&[text], control, blocks.element());
                blocks.close();
            }
            (Content::Parts(parts), control) => {
                self.parts.write(place, &parts, control, written.member("content"))?;
            }
            (Content::Nothing, _) => {}
        }
        written.close();
        Ok(())
    }

    fn assistant(&mut self, message: &Message<'a>) -> Result<(), Fault> {
        let place = MESSAGES.element(message.at);
        if member(&message.object, "audio").is_some() {
            let nothing = "none, the upstream knows no sound that was said before";
            return Err(place.member("audio").expected(nothing));
        }
        drop_others(&message.object, "messages", &OF_AN_ANSWER, self.parts.dropped);
        let control = cache_control(&message.object, self.parts.dropped);
        let mut texts = answer_texts(place, &message.object, self.parts.dropped)?;
        let calls = called(place, &message.object)?;
        let thoughts: Vec<_> = if self.thinks { signed(&message.object).collect() } else { Vec::new() };
        if texts.is_empty() && calls.is_empty() && thoughts.is_empty() {
            return Ok(());
        }
        self.calls.are_answered();
        let mut written = ObjectWriter::open(self.list.element());
        written.raw("role", br#""assistant""#);
        if let ([Text { text, control: None }], [], [], None) = (&*texts, &*calls, &*thoughts, control) {
            written.pieces("content", text.iter().copied());
            written.close();
            return Ok(());
        }
        if let Some(last) = texts.last_mut().filter(|_| calls.is_empty()) {
            last.control = last.control.or(control);
        }
        let mut blocks = ArrayWriter::open(written.member("content"));
        for thought in &thoughts {
            let mut block = ObjectWriter::open(blocks.element());
            // As they came, but for the numbers that they have in streams.
            copy(thought, &["type", "thinking", "signature", "data"], &mut block);
            block.close();
        }
        for Text { text, control } in texts {
            write_text(&text, control, blocks.element());
        }
        let last = calls.len();
        for (number, call) in (1..).zip(calls) {
            let mut block = ObjectWriter::open(blocks.element());
            block.raw("type", br#""tool_use""#);
            block.text("id", self.calls.add(call.id, call.is_function, message.at));
            block.raw("name", call.name);
            block.raw("input", &call.input);
            write_control(control.filter(|_| number == last), block);
        }
        blocks.close();
        written.close();
        Ok(())
    }

    /// What came of calls, in one message: it has to follow the one with the calls.
    fn results(&mut self, first: &Message<'a>, others: &[&Message<'a>]) -> Result<(), Fault> {
        let mut written = ObjectWriter::open(self.list.element());
        written.raw("role", br#""user""#);
        let mut blocks = ArrayWriter::open(written.member("content"));
        for message in std::iter::once(first).chain(others.iter().copied()) {
            let place = MESSAGES.element(message.at);
            let is_function = message.role == Role::Function;
            let name = if is_function { "name" } else { "tool_call_id" };
            let answered = place.text_of(&message.object, name)?;
            let answered = answered.as_str().unwrap_or_default();
            let id = self.calls.answer(place, &answered, is_function)?;
            let mut block = ObjectWriter::open(blocks.element());
            block.raw("type", br#""tool_result""#);
            block.text("tool_use_id", &id);
            let control = self.parts.write_result(place.member("content"), &message.object, &mut block)?;
            write_control(control, block);
            drop_others(&message.object, "messages", &OF_A_RESULT, self.parts.dropped);
        }
        blocks.close();
        written.close();
        Ok(())
    }
}

impl Parts<'_> {
    /// Writes the content of a result. Gives what says that it is to be cached.
    fn write_result<'a>(
        &mut self,
        place: Place<'_>,
        message: &Object<'a>,
        block: &mut ObjectWriter<'_>,
    ) -> Result<Option<&'a [u8]>, Fault> {
        let mut control = cache_control(message, self.dropped);
        match content(place, message)? {
            Content::Nothing => block.raw("content", br#""""#),
            Content::Text(text) => block.pieces("content", [text]),
            Content::Parts(parts) if parts.iter().all(|(_, part)| is_of(part, "type", "text")) => {
                let mut pieces = Vec::new();
                for (at, part) in &parts {
                    if !pieces.is_empty() {
                        pieces.push(LINE);
                    }
                    pieces.push(part_text(place.element(*at), part)?);
                    control = control.or(cache_control(part, self.dropped));
                    drop_others_of_part(part, "text", self.dropped);
                }
                block.pieces("content", pieces);
            }
            Content::Parts(parts) => self.write(place, &parts, None, block.member("content"))?,
        }
        Ok(control)
    }

    /// `last`: says that the last one is to be cached.
    fn write(
        &mut self,
        place: Place<'_>,
        parts: &[(usize, Object<'_>)],
        last: Option<&[u8]>,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let mut blocks = ArrayWriter::open(out);
        for (number, (at, part)) in (1..).zip(parts) {
            let place = place.element(*at);
            let kind = part.get("type").and_then(|kind| kind.as_str());
            let kind = kind.as_deref().unwrap_or_default();
            let control = cache_control(part, self.dropped).or(last.filter(|_| number == parts.len()));
            let mut block = ObjectWriter::open(blocks.element());
            match kind {
                "text" => {
                    block.raw("type", br#""text""#);
                    block.pieces("text", [part_text(place, part)?]);
                }
                "image_url" => source::write_image(place, part, &mut block, self.dropped)?,
                "file" => self.names_files |= source::write_file(place, part, &mut block, self.dropped)?,
                "input_audio" => {
                    return Err(place.member("type").expected("no sound, the upstream hears none"));
                }
                _ => return Err(place.member("type").expected("`text`, `image_url` or `file`")),
            }
            write_control(control, block);
            drop_others_of_part(part, kind, self.dropped);
        }
        blocks.close();
        Ok(())
    }
}

/// What a model said.
fn answer_texts<'a>(
    place: Place<'_>,
    message: &Object<'a>,
    dropped: &mut Dropped,
) -> Result<Vec<Text<'a>>, Fault> {
    let mut texts = Vec::new();
    let mut say = |text: &'a [u8], control| {
        if !says_nothing(text) {
            texts.push(Text { text: vec![text], control });
        }
    };
    let parts_place = place.member("content");
    match content(parts_place, message)? {
        Content::Nothing => {}
        Content::Text(text) => say(text, None),
        Content::Parts(parts) => {
            for (at, part) in &parts {
                let place = parts_place.element(*at);
                let kind = if is_of(part, "type", "refusal") { "refusal" } else { "text" };
                let said = match kind {
                    "refusal" => place.text_of(part, "refusal")?.escaped(),
                    _ => Some(part_text(place, part)?),
                };
                say(said.unwrap_or_default(), cache_control(part, dropped));
                drop_others_of_part(part, kind, dropped);
            }
        }
    }
    if let Some(refusal) = member(message, "refusal") {
        let refusal = place.member("refusal").text(Some(refusal))?.escaped();
        say(refusal.unwrap_or_default(), None);
    }
    Ok(texts)
}
