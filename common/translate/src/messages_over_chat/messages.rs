//! What is said in a request for a message, as the messages of a chat.

use std::borrow::Cow;
use std::collections::BTreeSet;

use common::http::Fault;
use common::json::{ArrayWriter, Object, ObjectWriter, Raw};

use super::part::{self, PARAGRAPH, Part, escaped};
use super::request::drop_others;
use crate::place::Place;
use crate::read::{escaped as text_of, joined, member};
use crate::{Dropped, Manner};

/// A client of Anthropic's begins the system's text with this line, in which one item differs from request to
/// request, so that no vendor could cache what follows.
const BILLING: &[u8] = b"x-anthropic-billing-header:";
const VOLATILE: &[u8] = b"cch=";

/// Between lines, inside a JSON string.
const LINE: &[u8] = br"\n";

/// What a message, and a result, is to have as its content.
const CONTENT: &str = "a text or a list of content blocks";

/// Blocks of earlier turns that only Anthropic can read, or that come from what only Anthropic can do. Thinking that
/// has called tools is told where the vendor may be told it.
const ANTHROPICS: [&str; 4] = ["thinking", "redacted_thinking", "server_tool_use", "mcp_tool_use"];
/// What thinking is called that is left out.
const THINKING: &str = "messages.content.thinking";
/// The end of the names of what the tools that run at Anthropic have given.
const ANTHROPICS_RESULT: &str = "_tool_result";

/// Writes the system's text and the messages as the messages of a chat.
///
/// # Errors
/// They are none, or say what no chat can.
pub(super) fn write(
    body: &Object<'_>,
    manner: Manner,
    out: &mut Vec<u8>,
    dropped: &mut Dropped,
) -> Result<(), Fault> {
    let root = Place::of("messages");
    let messages = root.objects(body.get("messages"), "a list of messages")?.map(|message| {
        let (at, message) = message?;
        Role::of(&message, root.element(at)).map(|role| (at, role, message))
    });
    let mut messages: Vec<(usize, Role, Object<'_>)> = messages.collect::<Result<_, Fault>>()?;
    if manner.system_first {
        messages.sort_by_key(|(_, role, _)| *role != Role::System);
    }
    let mut chat = Chat {
        list: ArrayWriter::open(out),
        called: BTreeSet::new(),
        takes_thinking: manner.takes_thinking,
        dropped,
    };
    if let Some(system) = member(body, "system").filter(|system| system.escaped() != Some(b"")) {
        let place = Place::of("system");
        match system.escaped() {
            Some(text) => chat.write_said(Role::System, &Content::Pieces(pieces_of(Role::System, text))),
            None => {
                let Said { parts, .. } = chat.said(Role::System, system, "system", place)?;
                if !parts.is_empty() {
                    chat.write_said(Role::System, &Content::Parts(parts));
                }
            }
        }
    }
    for (at, role, message) in &messages {
        chat.message(*role, message, root.element(*at))?;
    }
    chat.list.close();
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    System,
    User,
    Assistant,
}

impl Role {
    fn of(message: &Object<'_>, place: Place<'_>) -> Result<Self, Fault> {
        let Some(role) = member(message, "role") else { return Ok(Self::User) };
        match role.as_str().as_deref() {
            Some("system") => Ok(Self::System),
            Some("user") => Ok(Self::User),
            Some("assistant") => Ok(Self::Assistant),
            _ => Err(place.member("role").expected("`user`, `assistant` or `system`")),
        }
    }

    fn json(self) -> &'static [u8] {
        match self {
            Self::System => br#""system""#,
            Self::User => br#""user""#,
            Self::Assistant => br#""assistant""#,
        }
    }
}

/// The content of a chat's message.
enum Content<'a> {
    /// The JSON of a text.
    Whole(&'a [u8]),
    Pieces(Vec<&'a [u8]>),
    Parts(Vec<Part<'a>>),
}

impl Content<'_> {
    fn write(&self, message: &mut ObjectWriter<'_>) {
        match self {
            Self::Whole(json) => message.raw("content", json),
            Self::Pieces(pieces) => message.pieces("content", pieces.iter().copied()),
            Self::Parts(parts) => {
                let mut list = ArrayWriter::open(message.member("content"));
                parts.iter().for_each(|part| part.write(list.element()));
                list.close();
            }
        }
    }
}

/// What one message of Anthropic's says; a chat may need several for it.
#[derive(Default)]
struct Said<'a> {
    parts: Vec<Part<'a>>,
    /// As it stands inside its quotes.
    thinking: Vec<&'a [u8]>,
    calls: Vec<Object<'a>>,
    results: Vec<Answer<'a>>,
}

/// What a tool has given.
struct Answer<'a> {
    /// The JSON of the id of its call.
    call: &'a [u8],
    content: Content<'a>,
    /// Images and files, which are no answers in a chat: the user says them, after all answers.
    beside: Vec<Part<'a>>,
}

/// The messages of a chat, as they are written.
struct Chat<'o, 'd, 'a> {
    list: ArrayWriter<'o>,
    /// Ids of the calls that were made so far.
    called: BTreeSet<Cow<'a, str>>,
    takes_thinking: bool,
    dropped: &'d mut Dropped,
}

impl<'a> Chat<'_, '_, 'a> {
    fn message(&mut self, role: Role, message: &Object<'a>, place: Place<'_>) -> Result<(), Fault> {
        drop_others(message, "messages", &["role", "content"], self.dropped);
        let Some(content) = member(message, "content") else {
            self.write_said(role, &Content::Whole(br#""""#));
            return Ok(());
        };
        match content.escaped() {
            Some(text) if role == Role::System => {
                self.write_said(role, &Content::Pieces(pieces_of(role, text)));
                return Ok(());
            }
            Some(_) => {
                self.write_said(role, &Content::Whole(content.text()));
                return Ok(());
            }
            None => {}
        }
        let said = self.said(role, content, "messages.content", place.member("content"))?;
        if !said.calls.is_empty() {
            self.write_calls(&said);
            return Ok(());
        }
        if !said.thinking.is_empty() {
            self.dropped.name(THINKING);
        }
        if said.results.is_empty() {
            self.write_said(role, &Content::Parts(said.parts));
            return Ok(());
        }
        let mut beside = Vec::new();
        for result in said.results {
            let mut message = ObjectWriter::open(self.list.element());
            message.raw("role", br#""tool""#);
            message.raw("tool_call_id", result.call);
            result.content.write(&mut message);
            message.close();
            beside.extend(result.beside);
        }
        beside.extend(said.parts);
        if beside.iter().any(|part| part.text().is_none()) {
            self.write_said(role, &Content::Parts(beside));
        } else if !beside.is_empty() {
            let pieces = self.joined(&beside, PARAGRAPH, "messages.content");
            self.write_said(role, &Content::Pieces(pieces));
        }
        Ok(())
    }

    fn write_said(&mut self, role: Role, content: &Content<'_>) {
        let mut message = ObjectWriter::open(self.list.element());
        message.raw("role", role.json());
        content.write(&mut message);
        message.close();
    }

    fn write_calls(&mut self, said: &Said<'a>) {
        let texts = self.joined(&said.parts, PARAGRAPH, "messages.content");
        let mut message = ObjectWriter::open(self.list.element());
        message.raw("role", Role::Assistant.json());
        if !texts.is_empty() {
            message.pieces("content", texts);
        }
        if !said.thinking.is_empty() {
            message.pieces("reasoning_content", joined(said.thinking.iter().copied(), PARAGRAPH));
        }
        let mut list = ArrayWriter::open(message.member("tool_calls"));
        for (index, block) in said.calls.iter().enumerate() {
            let json = |name| block.get(name).map_or(&br#""""#[..], |value| value.text());
            let mut call = ObjectWriter::open(list.element());
            call.number("index", index as u64);
            call.raw("id", json("id"));
            call.raw("type", br#""function""#);
            let mut function = ObjectWriter::open(call.member("function"));
            function.raw("name", json("name"));
            let input = member(block, "input").map_or(&b"{}"[..], |input| input.text());
            function.text("arguments", std::str::from_utf8(input).unwrap_or("{}"));
            function.close();
            call.close();
        }
        list.close();
        message.close();
    }

    /// The texts of some parts as one, with this between them. Nobody can be told to cache a part of it.
    fn joined(&mut self, parts: &[Part<'a>], between: &'static [u8], of: &str) -> Vec<&'a [u8]> {
        let mut pieces = Vec::new();
        for part in parts {
            let Part::Text(text, control) = part else { continue };
            if control.is_some() {
                self.dropped.member(of, "cache_control");
            }
            if !pieces.is_empty() {
                pieces.push(between);
            }
            pieces.extend_from_slice(text);
        }
        pieces
    }

    /// Reads the blocks of a content. `of` is what it is called where something of it is dropped.
    fn said(&mut self, role: Role, content: Raw<'a>, of: &str, place: Place<'_>) -> Result<Said<'a>, Fault> {
        let mut said = Said::default();
        for block in place.objects(Some(content), CONTENT)? {
            let (at, block) = block?;
            let place = place.element(at);
            let kind = place.text_of(&block, "type")?.as_str().unwrap_or_default();
            match (&*kind, role) {
                ("text", _) => {
                    let pieces = pieces_of(role, escaped(&block, "text", place)?);
                    said.parts.push(Part::Text(pieces, member(&block, "cache_control")));
                    drop_others(&block, of, &["type", "text", "cache_control"], self.dropped);
                }
                ("tool_use", Role::Assistant) => {
                    let id = place.text_of(&block, "id")?;
                    place.text_of(&block, "name")?;
                    self.called.extend(id.as_str());
                    drop_others(&block, of, &["type", "id", "name", "input"], self.dropped);
                    said.calls.push(block);
                }
                ("tool_result", Role::User) => said.results.push(self.answer(&block, place)?),
                // Its vendor may want it back, and refuse calls without: https://api-docs.deepseek.com/guides/thinking_mode,
                // https://platform.moonshot.ai/docs/guide/use-kimi-k2-thinking-model.
                ("thinking", Role::Assistant)
                    if self.takes_thinking && text_of(&block, "thinking").is_some() =>
                {
                    said.thinking.extend(text_of(&block, "thinking"));
                }
                (kind, Role::User | Role::Assistant)
                    if ANTHROPICS.contains(&kind) || kind.ends_with(ANTHROPICS_RESULT) =>
                {
                    self.dropped.member(of, kind);
                }
                (kind, Role::User) => part::read(kind, &block, of, place, self.dropped, &mut said.parts)?,
                (kind, _) => return Err(place.has_no_place(kind)),
            }
        }
        Ok(said)
    }

    fn answer(&mut self, result: &Object<'a>, place: Place<'_>) -> Result<Answer<'a>, Fault> {
        let id = place.text_of(result, "tool_use_id")?;
        if id.as_str().is_none_or(|id| !self.called.contains(&id)) {
            return Err(place.member("tool_use_id").expected("the id of a `tool_use` block before it"));
        }
        if result.get("is_error").is_some_and(|is_error| is_error.as_bool() == Some(true)) {
            self.dropped.name("messages.content.is_error");
        }
        let known = ["type", "tool_use_id", "content", "is_error"];
        drop_others(result, "messages.content", &known, self.dropped);
        let answer = |content, beside| Answer { call: id.text(), content, beside };
        let Some(content) = member(result, "content") else {
            return Ok(answer(Content::Whole(br#""""#), Vec::new()));
        };
        if content.escaped().is_some() {
            return Ok(answer(Content::Whole(content.text()), Vec::new()));
        }
        let of = "messages.content.content";
        let place = place.member("content");
        let mut parts = Vec::new();
        for block in place.objects(Some(content), CONTENT)? {
            let (at, block) = block?;
            let place = place.element(at);
            let kind = place.text_of(&block, "type")?.as_str().unwrap_or_default();
            part::read(&kind, &block, of, place, self.dropped, &mut parts)?;
        }
        let (texts, beside): (Vec<_>, Vec<_>) = parts.into_iter().partition(|part| part.text().is_some());
        let pieces = self.joined(&texts, LINE, of);
        Ok(answer(Content::Pieces(pieces), beside))
    }
}

/// A text in pieces. The system's come without what differs from request to request.
fn pieces_of(role: Role, text: &[u8]) -> Vec<&[u8]> {
    if role != Role::System || !text.starts_with(BILLING) {
        return vec![text];
    }
    let start = text.windows(VOLATILE.len()).position(|window| window == VOLATILE);
    let Some((before, item)) = start.and_then(|start| text.split_at_checked(start)) else {
        return vec![text];
    };
    match item.iter().position(|byte| *byte == b';') {
        Some(end) => vec![before.trim_ascii_end(), item.get(end + 1..).unwrap_or_default()],
        None => vec![text],
    }
}
