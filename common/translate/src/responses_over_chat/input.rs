//! The input of a response, item by item, as the messages of a chat.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};

use common::http::Fault;
use common::json::{ArrayWriter, Kind, Object, ObjectWriter, Raw};

use super::request::drop_others;
use super::thinking::{unsealed, write_blocks};
use super::tools::{SHELL, function_name};
use crate::place::Place;
use crate::read::{copy, joined, member};
use crate::{Dropped, Manner, Pair, Talk};

/// Items of tools that no vendor of chats has: what they say is lost.
const HOSTED: [&str; 20] = [
    "web_search_call",
    "file_search_call",
    "computer_call",
    "computer_call_output",
    "code_interpreter_call",
    "image_generation_call",
    "shell_call",
    "shell_call_output",
    "apply_patch_call",
    "apply_patch_call_output",
    "mcp_list_tools",
    "mcp_approval_request",
    "mcp_approval_response",
    "mcp_call",
    "tool_search_call",
    "tool_search_output",
    "additional_tools",
    "configuration_update",
    "program",
    "program_output",
];

const NO_STATE: &str = "this vendor keeps no items; send the item itself";
const NO_FILES: &str = "this vendor has none of OpenAI's files; send what is in it";

/// Between paragraphs, and between lines, inside a JSON string.
const PARAGRAPH: &[u8] = br"\n\n";
const LINE: &[u8] = br"\n";

/// Where the items stand.
const INPUT: Place<'_> = Place::Member(&Place::Request, "input");

/// What messages and outputs are to be.
const CONTENT: &str = "a text or a list of content parts";

/// One item, and where it stands in the input.
struct Entry<'a> {
    at: usize,
    item: Item<'a>,
}

enum Item<'a> {
    /// Of the user's or of the system's, with its role as JSON.
    Message(&'static str, Object<'a>),
    Assistant(Object<'a>),
    /// With what of it can be sent again, if the vendor wants to see that: elements of a chat's `thinking_blocks`.
    Thinking(Object<'a>, Vec<u8>),
    Call(Call<'a>),
    /// What came of the call with this id.
    Output(Cow<'a, str>, Raw<'a>),
}

struct Call<'a> {
    /// Any of them may be what its output names.
    ids: Vec<Raw<'a>>,
    name: Cow<'a, str>,
    /// The text of an object, as JSON.
    arguments: Cow<'a, [u8]>,
}

/// Writes the instructions and the input.
///
/// # Errors
/// It is none, or has in it what cannot be said in a chat.
pub(super) fn write_messages(
    body: &Object<'_>,
    pair: Pair,
    manner: Manner,
    dropped: &mut Dropped,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    let expected = "a text or a list of items";
    let input = member(body, "input").ok_or_else(|| INPUT.expected(expected))?;
    let mut list = ArrayWriter::open(out);
    if let Some(instructions) = member(body, "instructions") {
        let instructions = Place::of("instructions").text(Some(instructions))?;
        write_plain("system", instructions.text(), &mut list);
    }
    if input.kind() == Kind::String {
        write_plain("user", input.text(), &mut list);
    } else {
        let mut entries = Vec::new();
        let signs = pair.vendor == Talk::Messages;
        for item in INPUT.objects(Some(input), expected)? {
            let (at, item) = item?;
            let item = read(INPUT.element(at), item, signs, dropped)?;
            entries.extend(item.map(|item| Entry { at, item }));
        }
        if manner.system_first {
            entries.sort_by_key(|entry| !matches!(entry.item, Item::Message("system" | "developer", _)));
        }
        Conversation::new(&entries, manner.takes_thinking).write(dropped, &mut list)?;
    }
    list.close();
    Ok(())
}

fn write_plain(role: &str, text: &[u8], list: &mut ArrayWriter<'_>) {
    let mut message = ObjectWriter::open(list.element());
    message.text("role", role);
    message.raw("content", text);
    message.close();
}

/// `None`: it is left out. `signs`: the vendor wants to see its signed thinking again.
fn read<'a>(
    place: Place<'_>,
    object: Object<'a>,
    signs: bool,
    dropped: &mut Dropped,
) -> Result<Option<Item<'a>>, Fault> {
    let kind = match member(&object, "type").map(|kind| kind.as_str()) {
        Some(kind) => kind.unwrap_or_default(),
        None if object.get("role").is_some() => "message".into(),
        None if object.get("id").is_some() => "item_reference".into(),
        None => return Err(place.member("type").expected("the type of an item")),
    };
    Ok(Some(match &*kind {
        "message" => {
            drop_others(&object, "input", &["type", "role", "content", "id", "status"], dropped);
            match object.get("role").and_then(|role| role.as_str()).as_deref() {
                Some("user") => Item::Message("user", object),
                Some("system") => Item::Message("system", object),
                Some("developer") => Item::Message("developer", object),
                Some("assistant") => Item::Assistant(object),
                _ => return Err(place.member("role").expected("user, assistant, system or developer")),
            }
        }
        "reasoning" => {
            let sealed = object.get("encrypted_content").filter(|_| signs);
            let blocks = sealed.and_then(unsealed).unwrap_or_default();
            let carried = if blocks.is_empty() { "type" } else { "encrypted_content" };
            drop_others(&object, "input", &["type", "summary", "content", "id", "status", carried], dropped);
            Item::Thinking(object, blocks)
        }
        "function_call" | "custom_tool_call" => Item::Call(call(place, &kind, &object, dropped)?),
        "local_shell_call" => Item::Call(shell_call(place, &object, dropped)?),
        "function_call_output" | "custom_tool_call_output" | "local_shell_call_output" => {
            output(place, &kind, &object, dropped)?
        }
        "item_reference" => return Err(place.refused(NO_STATE)),
        "compaction" | "compaction_summary" | "compaction_trigger" => {
            return Err(place.refused("what OpenAI has compacted it alone can read"));
        }
        hosted if HOSTED.contains(&hosted) => {
            dropped.member("input", hosted);
            return Ok(None);
        }
        _ => return Err(place.member("type").expected("the type of an item")),
    }))
}

fn is_text(value: &Raw<'_>) -> bool {
    value.kind() == Kind::String
}

/// JSON as the text of a string.
fn quoted<'a>(json: &[u8]) -> Cow<'a, [u8]> {
    common::json::string(&String::from_utf8_lossy(json)).into()
}

/// A call of a function, or of a custom tool, whose function has one text.
fn call<'a>(
    place: Place<'_>,
    kind: &str,
    object: &Object<'a>,
    dropped: &mut Dropped,
) -> Result<Call<'a>, Fault> {
    let id = place.text_of(object, "call_id")?;
    let name = place.text_of(object, "name")?.as_str().unwrap_or_default();
    let namespace = object.get("namespace").and_then(|namespace| namespace.as_str());
    let name = match namespace {
        Some(namespace) => Cow::Owned(function_name(Some(&namespace), &name).into_owned()),
        None => name,
    };
    let (said, arguments) = if kind == "custom_tool_call" {
        let mut arguments = Vec::new();
        let mut writer = ObjectWriter::open(&mut arguments);
        writer.raw("input", place.text_of(object, "input")?.text());
        writer.close();
        ("input", quoted(&arguments))
    } else {
        let arguments = match member(object, "arguments") {
            None => br#""{}""#.into(),
            Some(arguments) if is_text(&arguments) => arguments.text().into(),
            Some(arguments) => quoted(arguments.text()),
        };
        ("arguments", arguments)
    };
    drop_others(object, "input", &["type", "call_id", "name", "namespace", said, "id", "status"], dropped);
    Ok(Call { ids: vec![id], name, arguments })
}

/// What the local shell is told.
pub(super) const ACTION: [&str; 5] = ["command", "env", "timeout_ms", "user", "working_directory"];

fn shell_call<'a>(place: Place<'_>, object: &Object<'a>, dropped: &mut Dropped) -> Result<Call<'a>, Fault> {
    drop_others(object, "input", &["type", "call_id", "action", "id", "status"], dropped);
    let ids: Vec<Raw<'a>> =
        ["call_id", "id"].iter().filter_map(|name| object.get(name)).filter(is_text).collect();
    if ids.is_empty() {
        return Err(place.member("call_id").expected("a text"));
    }
    let action = place.object_of(object, "action")?;
    let mut arguments = Vec::new();
    let mut writer = ObjectWriter::open(&mut arguments);
    copy(&action, &ACTION, &mut writer);
    writer.close();
    Ok(Call { ids, name: SHELL.into(), arguments: quoted(&arguments) })
}

fn output<'a>(
    place: Place<'_>,
    kind: &str,
    object: &Object<'a>,
    dropped: &mut Dropped,
) -> Result<Item<'a>, Fault> {
    let known = ["type", "call_id", "output", "id", "status", "name", "namespace"];
    drop_others(object, "input", &known, dropped);
    // The local shell's output names its call with its own id.
    let id = member(object, "call_id")
        .or_else(|| member(object, "id").filter(|_| kind == "local_shell_call_output"));
    let id = id.and_then(|id| id.as_str());
    let id = id.ok_or_else(|| place.member("call_id").expected("a text"))?;
    let output = object.get("output").filter(|it| matches!(it.kind(), Kind::String | Kind::Array));
    let output = output.ok_or_else(|| place.member("output").expected(CONTENT))?;
    Ok(Item::Output(id, output))
}

/// What a message has in it.
enum Part<'a> {
    /// As it stands inside its quotes.
    Text(&'a [u8]),
    /// The address as JSON, and how closely it is looked at.
    Image(Raw<'a>, Option<Raw<'a>>),
    /// Name and data as JSON.
    File(Option<Raw<'a>>, Raw<'a>),
    Audio(Raw<'a>),
}

/// The parts of a content or of an output, which has that `name`.
fn parts<'a>(
    place: Place<'_>,
    name: &str,
    content: Raw<'a>,
    dropped: &mut Dropped,
) -> Result<Vec<Part<'a>>, Fault> {
    let place = place.member(name);
    let mut parts = Vec::new();
    for element in place.objects(Some(content), CONTENT)? {
        let (at, element) = element?;
        parts.push(part(place.element(at), name, &element, dropped)?);
    }
    Ok(parts)
}

fn part<'a>(
    place: Place<'_>,
    name: &str,
    part: &Object<'a>,
    dropped: &mut Dropped,
) -> Result<Part<'a>, Fault> {
    let inside = |name: &str| Ok::<_, Fault>(place.text_of(part, name)?.escaped().unwrap_or_default());
    let kind = part.get("type").and_then(|kind| kind.as_str()).unwrap_or_default();
    let outer = if name == "output" { "input.output" } else { "input.content" };
    let mut known = |names: &[&str]| drop_others(part, outer, names, dropped);
    let is_file = member(part, "file_id").is_some();
    Ok(match &*kind {
        "input_text" | "output_text" | "text" => {
            known(&["type", "text"]);
            Part::Text(inside("text")?)
        }
        // What a model refused with it has said.
        "refusal" => {
            known(&["type", "refusal"]);
            Part::Text(inside("refusal")?)
        }
        "input_image" => {
            known(&["type", "image_url", "detail"]);
            match member(part, "image_url") {
                Some(url) if is_text(&url) => Part::Image(url, member(part, "detail").filter(is_text)),
                None if is_file => return Err(place.member("file_id").refused(NO_FILES)),
                _ => return Err(place.member("image_url").expected("a text")),
            }
        }
        "input_file" => {
            known(&["type", "file_data", "filename"]);
            match member(part, "file_data") {
                Some(data) if is_text(&data) => Part::File(member(part, "filename").filter(is_text), data),
                None if is_file => return Err(place.member("file_id").refused(NO_FILES)),
                None if member(part, "file_url").is_some() => {
                    let why = "this vendor fetches no files; send what is in it as file_data";
                    return Err(place.member("file_url").refused(why));
                }
                _ => return Err(place.member("file_data").expected("a text")),
            }
        }
        "input_audio" => {
            known(&["type", "input_audio"]);
            let audio = part.get("input_audio").filter(|audio| audio.kind() == Kind::Object);
            Part::Audio(audio.ok_or_else(|| place.member("input_audio").expected("an object"))?)
        }
        _ => {
            let known = "input_text, output_text, refusal, input_image, input_file or input_audio";
            return Err(place.member("type").expected(known));
        }
    })
}

fn texts<'p, 'a: 'p>(parts: &'p [Part<'a>]) -> impl Iterator<Item = &'a [u8]> + use<'p, 'a> {
    parts.iter().filter_map(|part| if let Part::Text(text) = part { Some(*text) } else { None })
}

fn is_said(part: &Part<'_>) -> bool {
    matches!(part, Part::Text(_))
}

fn write_part(part: &Part<'_>, list: &mut ArrayWriter<'_>) {
    let mut out = ObjectWriter::open(list.element());
    match part {
        Part::Text(text) => {
            out.raw("type", br#""text""#);
            out.pieces("text", [*text]);
        }
        Part::Image(url, detail) => {
            out.raw("type", br#""image_url""#);
            let mut image = ObjectWriter::open(out.member("image_url"));
            image.raw("url", url.text());
            // Not every vendor knows the word for what is done unasked.
            if let Some(detail) = detail.filter(|detail| detail.text() != br#""auto""#) {
                image.raw("detail", detail.text());
            }
            image.close();
        }
        Part::File(name, data) => {
            out.raw("type", br#""file""#);
            let mut file = ObjectWriter::open(out.member("file"));
            if let Some(name) = name {
                file.raw("filename", name.text());
            }
            file.raw("file_data", data.text());
            file.close();
        }
        Part::Audio(audio) => {
            out.raw("type", br#""input_audio""#);
            out.raw("input_audio", audio.text());
        }
    }
    out.close();
}

/// Items on their way into messages: what a model did at once is one of a chat, and what came of it follows at once.
struct Conversation<'e, 'a> {
    entries: &'e [Entry<'a>],
    /// Outputs that have not been written, by what they name.
    outputs: BTreeMap<&'e str, VecDeque<usize>>,
    takes_thinking: bool,
    /// The model's message that is being put together.
    pending: Pending<'e, 'a>,
}

#[derive(Default)]
struct Pending<'e, 'a> {
    thinking: Vec<&'a [u8]>,
    /// What can be sent again of it.
    blocks: Vec<&'e [u8]>,
    texts: Vec<&'a [u8]>,
    is_said: bool,
    calls: Vec<&'e Call<'a>>,
}

impl<'e, 'a> Conversation<'e, 'a> {
    fn new(entries: &'e [Entry<'a>], takes_thinking: bool) -> Self {
        let mut outputs = BTreeMap::<&str, VecDeque<usize>>::new();
        for (at, entry) in entries.iter().enumerate() {
            if let Item::Output(id, _) = &entry.item {
                outputs.entry(id).or_default().push_back(at);
            }
        }
        Self { entries, outputs, takes_thinking, pending: Pending::default() }
    }

    fn write(mut self, dropped: &mut Dropped, list: &mut ArrayWriter<'_>) -> Result<(), Fault> {
        let entries = self.entries;
        let calls = calls_in_turn(entries);
        for (at, entry) in entries.iter().enumerate() {
            match &entry.item {
                Item::Message(role, message) => {
                    self.flush(dropped, list)?;
                    write_message(INPUT.element(entry.at), role, message, dropped, list)?;
                }
                Item::Assistant(message) => {
                    self.assistant(INPUT.element(entry.at), message, dropped, list)?;
                }
                Item::Thinking(_, blocks) if !blocks.is_empty() => {
                    // Thinking begins an answer, also one that said something first.
                    let is_another = self.pending.is_said && !self.pending.blocks.is_empty();
                    if is_another && self.pending.calls.is_empty() {
                        self.flush(dropped, list)?;
                    }
                    self.pending.blocks.push(blocks);
                }
                Item::Thinking(thinking, _) => {
                    let texts = thought(INPUT.element(entry.at), thinking)?;
                    if self.takes_thinking && calls.get(at) == Some(&true) {
                        if self.pending.is_said && self.pending.calls.is_empty() {
                            self.flush(dropped, list)?;
                        }
                        self.pending.thinking.extend(texts);
                    } else if !texts.is_empty() {
                        dropped.name("input.summary");
                    }
                }
                Item::Call(call) => self.pending.calls.push(call),
                Item::Output(id, _) => {
                    self.flush(dropped, list)?;
                    if self.outputs.get(&**id).is_some_and(|left| left.contains(&at)) {
                        let why = "no call before it has this id and waits for its output";
                        return Err(INPUT.element(entry.at).member("call_id").refused(why));
                    }
                }
            }
        }
        self.flush(dropped, list)
    }

    fn assistant(
        &mut self,
        place: Place<'_>,
        message: &Object<'a>,
        dropped: &mut Dropped,
        list: &mut ArrayWriter<'_>,
    ) -> Result<(), Fault> {
        let said = match member(message, "content") {
            Some(content) if content.kind() == Kind::String => {
                vec![Part::Text(content.escaped().unwrap_or_default())]
            }
            Some(content) => parts(place, "content", content, dropped)?,
            None => return Err(place.member("content").expected(CONTENT)),
        };
        // Two answers stay two, but between calls and what comes of them nothing may stand.
        if self.pending.is_said && self.pending.calls.is_empty() {
            self.flush(dropped, list)?;
        }
        if !said.iter().all(is_said) {
            self.flush(dropped, list)?;
            write_parts("assistant", &said, list);
            return Ok(());
        }
        if self.pending.is_said {
            self.pending.texts.push(PARAGRAPH);
        }
        self.pending.texts.extend(texts(&said));
        self.pending.is_said = true;
        Ok(())
    }

    /// Writes the model's message, and what came of its calls.
    fn flush(&mut self, dropped: &mut Dropped, list: &mut ArrayWriter<'_>) -> Result<(), Fault> {
        let pending = std::mem::take(&mut self.pending);
        if !pending.is_said && pending.calls.is_empty() {
            if !pending.thinking.is_empty() || !pending.blocks.is_empty() {
                dropped.name("input.summary");
            }
            return Ok(());
        }
        pending.write(list);
        let mut seen = Vec::new();
        for call in pending.calls {
            let found = call.ids.iter().find_map(|id| self.outputs.get_mut(&*id.as_str()?)?.pop_front());
            let Some(entry) = found.and_then(|at| self.entries.get(at)) else { continue };
            let Item::Output(_, output) = &entry.item else { continue };
            let id = call.ids.first().map_or(&br#""""#[..], |id| id.text());
            let mut message = ObjectWriter::open(list.element());
            message.raw("role", br#""tool""#);
            message.raw("tool_call_id", id);
            if output.kind() == Kind::String {
                message.raw("content", output.text());
            } else {
                let parts = parts(INPUT.element(entry.at), "output", *output, dropped)?;
                message.pieces("content", joined(texts(&parts), LINE));
                if !parts.iter().all(is_said) {
                    seen.push((id, parts));
                }
            }
            message.close();
        }
        if !seen.is_empty() {
            write_seen(&seen, list);
        }
        Ok(())
    }
}

impl Pending<'_, '_> {
    fn write(&self, list: &mut ArrayWriter<'_>) {
        let mut message = ObjectWriter::open(list.element());
        message.raw("role", br#""assistant""#);
        if self.is_said {
            message.pieces("content", self.texts.iter().copied());
        } else {
            message.raw("content", b"null");
        }
        if !self.thinking.is_empty() {
            message.pieces("reasoning_content", joined(self.thinking.iter().copied(), PARAGRAPH));
        }
        write_blocks(&self.blocks, &mut message);
        if !self.calls.is_empty() {
            let mut calls = ArrayWriter::open(message.member("tool_calls"));
            for called in &self.calls {
                let mut call = ObjectWriter::open(calls.element());
                call.raw("id", called.ids.first().map_or(&br#""""#[..], |id| id.text()));
                call.raw("type", br#""function""#);
                let mut function = ObjectWriter::open(call.member("function"));
                function.text("name", &called.name);
                function.raw("arguments", &called.arguments);
                function.close();
                call.close();
            }
            calls.close();
        }
        message.close();
    }
}

/// Whether tools are called between the user's words before and after each item. Thinking has to be sent again there,
/// and elsewhere it is ignored or even refused: <https://api-docs.deepseek.com/guides/thinking_mode>.
fn calls_in_turn(entries: &[Entry<'_>]) -> Vec<bool> {
    let is_users = |entry: &Entry<'_>| matches!(entry.item, Item::Message("user", _));
    let mut calls = Vec::with_capacity(entries.len());
    for turn in entries.chunk_by(|_, next| !is_users(next)) {
        let called = turn.iter().any(|entry| matches!(entry.item, Item::Call(_)));
        calls.extend(turn.iter().map(|_| called));
    }
    calls
}

/// The texts of a model's thinking: all of it, or else a summary.
fn thought<'a>(place: Place<'_>, thinking: &Object<'a>) -> Result<Vec<&'a [u8]>, Fault> {
    for name in ["content", "summary"] {
        let Some(list) = member(thinking, name) else { continue };
        let list = place.member(name).list(Some(list), "a list")?;
        let texts = list.iter().filter_map(|part| part.object()?.get("text")?.escaped());
        let texts: Vec<&[u8]> = texts.filter(|text| !text.is_empty()).collect();
        if !texts.is_empty() {
            return Ok(texts);
        }
    }
    Ok(Vec::new())
}

fn write_message(
    place: Place<'_>,
    role: &str,
    message: &Object<'_>,
    dropped: &mut Dropped,
    list: &mut ArrayWriter<'_>,
) -> Result<(), Fault> {
    let content = member(message, "content").ok_or_else(|| place.member("content").expected(CONTENT))?;
    if content.kind() == Kind::String {
        write_plain(role, content.text(), list);
        return Ok(());
    }
    let parts = parts(place, "content", content, dropped)?;
    write_parts(role, &parts, list);
    Ok(())
}

/// One text is written as one: not every vendor knows lists.
fn write_parts(role: &str, parts: &[Part<'_>], list: &mut ArrayWriter<'_>) {
    let mut message = ObjectWriter::open(list.element());
    message.text("role", role);
    if let [Part::Text(text)] = parts {
        message.pieces("content", [*text]);
    } else {
        let mut content = ArrayWriter::open(message.member("content"));
        for part in parts {
            write_part(part, &mut content);
        }
        content.close();
    }
    message.close();
}

/// What tools have shown: a chat's tools answer with texts alone, so the user shows it.
fn write_seen(seen: &[(&[u8], Vec<Part<'_>>)], list: &mut ArrayWriter<'_>) {
    let mut message = ObjectWriter::open(list.element());
    message.raw("role", br#""user""#);
    let mut content = ArrayWriter::open(message.member("content"));
    for (id, parts) in seen {
        let id = id.strip_prefix(b"\"").and_then(|id| id.strip_suffix(b"\"")).unwrap_or_default();
        let mut part = ObjectWriter::open(content.element());
        part.raw("type", br#""text""#);
        part.pieces("text", [b"Output of the tool call ", id, b":"]);
        part.close();
        for part in parts.iter().filter(|part| !is_said(part)) {
            write_part(part, &mut content);
        }
    }
    content.close();
    message.close();
}
