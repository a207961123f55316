//! The messages of a chat, as Anthropic has them: the system's apart, results of tools as the user's.

use std::borrow::Cow;
use std::collections::BTreeSet;

use common::http::Fault;
use common::json::{ArrayWriter, Kind, Object, ObjectWriter, Raw};

use super::thinking::{self, BLOCKS};
use crate::translate::Dropped;
use crate::translate::chat::arguments;
use crate::translate::read::{
    copy, escaped, inner, is_blank, is_of, member, misfit, name_rest, objects, parts, string, text,
};

/// Between two parts of a text, inside a JSON string.
const LINE: &[u8] = br"\n";

/// What nobody is told of: chats have no place for what was thought in earlier turns, but many clients send it back.
const OF_ANY_ROLE: [&str; 5] = ["role", "content", "reasoning_content", "reasoning", "reasoning_details"];

/// A conversation, read.
#[derive(Default)]
pub(super) struct Conversation<'a> {
    system: Vec<System<'a>>,
    /// Each a JSON object.
    messages: Vec<Vec<u8>>,
    /// Results that wait for others which follow them: all of a turn are one message.
    results: Vec<Vec<u8>>,
    /// Ids of calls.
    calls: BTreeSet<Cow<'a, str>>,
    /// Files are named that were uploaded before.
    pub(super) names_files: bool,
}

/// One text of the system's, in pieces as they stand inside their quotes.
struct System<'a> {
    pieces: Vec<&'a [u8]>,
    control: Option<Raw<'a>>,
}

impl<'a> Conversation<'a> {
    pub(super) fn read(&mut self, chat: &Object<'a>, dropped: &mut Dropped) -> Result<(), Fault> {
        let messages = member(chat, "messages").ok_or_else(|| misfit("messages", "a list of messages"))?;
        for (place, message) in objects("messages", messages, "a list of messages")? {
            let role = message.get("role").and_then(|role| role.as_str());
            let is_answer = matches!(role.as_deref(), Some("tool" | "function"));
            if !is_answer {
                self.end_results();
            }
            let known: &[&str] = match role.as_deref() {
                Some("system" | "developer") => {
                    self.system(&place, &message, dropped)?;
                    &[]
                }
                Some("user") => {
                    self.user(&place, &message, dropped)?;
                    &[]
                }
                Some("assistant") => {
                    self.assistant(&place, &message, dropped)?;
                    &["refusal", "tool_calls", "function_call", "annotations", BLOCKS]
                }
                Some("tool") => {
                    let id = text(&place, &message, "tool_call_id")?;
                    self.result(&place, "tool_call_id", id, &message, dropped)?;
                    &["tool_call_id", "name"]
                }
                Some("function") => {
                    let name = text(&place, &message, "name")?;
                    self.result(&place, "name", name, &message, dropped)?;
                    &["name"]
                }
                _ => {
                    let roles = "`user`, `assistant`, `system`, `developer`, `tool` or `function`";
                    return Err(misfit(&format!("{place}.role"), roles));
                }
            };
            let is_known = |name: &str| OF_ANY_ROLE.contains(&name) || known.contains(&name);
            name_rest(&message, "messages.", is_known, dropped);
        }
        self.end_results();
        Ok(())
    }

    /// One text is written as one, several as blocks.
    pub(super) fn write_system(&self, request: &mut ObjectWriter<'_>) {
        match self.system.as_slice() {
            [] => {}
            [System { pieces, control: None }] => request.pieces("system", pieces.iter().copied()),
            texts => {
                let mut list = ArrayWriter::open(request.member("system"));
                for System { pieces, control } in texts {
                    let mut block = ObjectWriter::open(list.element());
                    block.raw("type", br#""text""#);
                    block.pieces("text", pieces.iter().copied());
                    if let Some(control) = control {
                        block.raw("cache_control", control.text());
                    }
                    block.close();
                }
                list.close();
            }
        }
    }

    pub(super) fn write_messages(&self, request: &mut ObjectWriter<'_>) {
        let mut list = ArrayWriter::open(request.member("messages"));
        self.messages.iter().for_each(|message| list.element().extend_from_slice(message));
        list.close();
    }

    fn system(&mut self, place: &str, message: &Object<'a>, dropped: &mut Dropped) -> Result<(), Fault> {
        let Some(content) = member(message, "content") else { return Ok(()) };
        if let Some(text) = content.escaped() {
            if !text.is_empty() {
                self.system.push(System { pieces: vec![text], control: None });
            }
            return Ok(());
        }
        let mut texts = Vec::new();
        for (place, part) in parts(place, content)? {
            if !is_of(&part, "type", "text") {
                return Err(misfit(&format!("{place}.type"), "`text`"));
            }
            text(&place, &part, "text")?;
            let control = member(&part, "cache_control");
            texts.extend(escaped(&part, "text").map(|text| System { pieces: vec![text], control }));
            name_rest(&part, "messages.content.", is_of_text, dropped);
        }
        if texts.iter().any(|text| text.control.is_some()) {
            self.system.extend(texts);
        } else if !texts.is_empty() {
            let pieces = joined(texts.iter().flat_map(|text| text.pieces.iter().copied()));
            self.system.push(System { pieces, control: None });
        }
        Ok(())
    }

    fn user(&mut self, place: &str, message: &Object<'_>, dropped: &mut Dropped) -> Result<(), Fault> {
        let content = member(message, "content");
        let content = content
            .ok_or_else(|| misfit(&format!("{place}.content"), "a text or a list of content parts"))?;
        if content.kind() == Kind::String {
            if !is_blank(content) {
                self.say("user", content.text());
            }
            return Ok(());
        }
        let mut blocks = Vec::new();
        for (place, part) in parts(place, content)? {
            self.part(&place, &part, &mut blocks, dropped)?;
        }
        self.say_blocks("user", &blocks);
        Ok(())
    }

    fn assistant(&mut self, place: &str, message: &Object<'a>, dropped: &mut Dropped) -> Result<(), Fault> {
        let mut blocks = Vec::new();
        let thoughts = member(message, BLOCKS).and_then(|blocks| blocks.elements()).unwrap_or_default();
        for thought in thoughts.iter().filter_map(|block| block.object()).filter(thinking::is_kept) {
            thinking::write(&thought, begin(&mut blocks));
        }
        let content = member(message, "content").filter(|content| !is_blank(*content));
        let calls = member(message, "tool_calls");
        let function = member(message, "function_call");
        let refusal = member(message, "refusal").filter(|refusal| !is_blank(*refusal));
        if let Some(text) = content.filter(|content| content.kind() == Kind::String) {
            if blocks.is_empty() && calls.is_none_or(is_blank) && function.is_none() && refusal.is_none() {
                self.say("assistant", text.text());
                return Ok(());
            }
            write_text(text, None, begin(&mut blocks));
        } else if let Some(content) = content {
            for (place, part) in parts(place, content)? {
                let kind = part.get("type").and_then(|kind| kind.as_str());
                let name = match kind.as_deref() {
                    Some("text") => "text",
                    Some("refusal") => "refusal",
                    _ => return Err(misfit(&format!("{place}.type"), "`text` or `refusal`")),
                };
                let said = text(&place, &part, name)?;
                if !is_blank(said) {
                    write_text(said, member(&part, "cache_control"), begin(&mut blocks));
                }
                let is_known = |known: &str| known == name || is_of_text(known);
                name_rest(&part, "messages.content.", is_known, dropped);
            }
        }
        if let Some(refusal) = refusal {
            let refusal = text(place, message, "refusal").map(|_| refusal)?;
            write_text(refusal, None, begin(&mut blocks));
        }
        if let Some(call) = function {
            let place = format!("{place}.function_call");
            let call = call.object().ok_or_else(|| misfit(&place, "an object"))?;
            let name = text(&place, &call, "name")?;
            self.call(name, &place, &call, begin(&mut blocks))?;
        }
        if let Some(calls) = calls {
            for (place, call) in objects(&format!("{place}.tool_calls"), calls, "a list of calls")? {
                let id = text(&place, &call, "id")?;
                if is_of(&call, "type", "custom") {
                    let expected = "`function`, since the upstream has no tools of other forms";
                    return Err(misfit(&format!("{place}.type"), expected));
                }
                let function = inner(&place, &call, "function")?;
                self.call(id, &format!("{place}.function"), &function, begin(&mut blocks))?;
            }
        }
        self.say_blocks("assistant", &blocks);
        Ok(())
    }

    fn call(
        &mut self,
        id: Raw<'a>,
        place: &str,
        function: &Object<'a>,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        self.calls.insert(id.as_str().unwrap_or_default());
        let mut block = ObjectWriter::open(out);
        block.raw("type", br#""tool_use""#);
        block.raw("id", id.text());
        block.raw("name", text(place, function, "name")?.text());
        block.raw("input", &arguments(function.get("arguments")));
        block.close();
        Ok(())
    }

    fn result(
        &mut self,
        place: &str,
        name: &str,
        id: Raw<'_>,
        message: &Object<'_>,
        dropped: &mut Dropped,
    ) -> Result<(), Fault> {
        if !self.calls.contains(&id.as_str().unwrap_or_default()) {
            return Err(misfit(&format!("{place}.{name}"), "the call of a message before"));
        }
        let mut result = Vec::new();
        let mut block = ObjectWriter::open(&mut result);
        block.raw("type", br#""tool_result""#);
        block.raw("tool_use_id", id.text());
        match member(message, "content").filter(|content| content.kind() != Kind::String) {
            None => block.raw("content", string(message.get("content"))),
            Some(content) => {
                let parts = parts(place, content)?;
                if parts.iter().all(|(_, part)| is_of(part, "type", "text")) {
                    let texts = parts.iter().filter_map(|(_, part)| escaped(part, "text"));
                    block.pieces("content", joined(texts));
                    for (_, part) in &parts {
                        name_rest(part, "messages.content.", is_of_text, dropped);
                    }
                } else {
                    let mut blocks = Vec::new();
                    for (place, part) in parts {
                        self.part(&place, &part, &mut blocks, dropped)?;
                    }
                    let content = block.member("content");
                    content.push(b'[');
                    content.extend_from_slice(&blocks);
                    content.push(b']');
                }
            }
        }
        block.close();
        self.results.push(result);
        Ok(())
    }

    fn end_results(&mut self) {
        if !self.results.is_empty() {
            let blocks = std::mem::take(&mut self.results).join(&b',');
            self.say_blocks("user", &blocks);
        }
    }

    /// What a user or a tool says, as one more of these blocks.
    fn part(
        &mut self,
        place: &str,
        part: &Object<'_>,
        blocks: &mut Vec<u8>,
        dropped: &mut Dropped,
    ) -> Result<(), Fault> {
        let kind = part.get("type").and_then(|kind| kind.as_str()).unwrap_or_default();
        match &*kind {
            "text" => {
                let said = text(place, part, "text")?;
                if !is_blank(said) {
                    write_text(said, member(part, "cache_control"), begin(blocks));
                }
            }
            "image_url" => write_image(place, part, begin(blocks), dropped)?,
            "file" => self.names_files |= write_file(place, part, begin(blocks))?,
            _ => return Err(misfit(&format!("{place}.type"), "`text`, `image_url` or `file`")),
        }
        let is_known = |name: &str| name == kind || is_of_text(name);
        name_rest(part, "messages.content.", is_known, dropped);
        Ok(())
    }

    fn say(&mut self, role: &str, content: &[u8]) {
        let mut out = Vec::with_capacity(content.len() + 32);
        let mut message = ObjectWriter::open(&mut out);
        message.text("role", role);
        message.raw("content", content);
        message.close();
        self.messages.push(out);
    }

    /// Blocks with commas between them. Without any there is no message: Anthropic refuses an empty one.
    fn say_blocks(&mut self, role: &str, blocks: &[u8]) {
        if !blocks.is_empty() {
            self.say(role, &[b"[", blocks, b"]"].concat());
        }
    }
}

/// Where the next block goes.
fn begin(blocks: &mut Vec<u8>) -> &mut Vec<u8> {
    if !blocks.is_empty() {
        blocks.push(b',');
    }
    blocks
}

fn is_of_text(name: &str) -> bool {
    matches!(name, "type" | "text" | "cache_control")
}

fn joined<'a>(texts: impl Iterator<Item = &'a [u8]>) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for text in texts {
        if !pieces.is_empty() {
            pieces.push(LINE);
        }
        pieces.push(text);
    }
    pieces
}

fn write_text(text: Raw<'_>, control: Option<Raw<'_>>, out: &mut Vec<u8>) {
    let mut block = ObjectWriter::open(out);
    block.raw("type", br#""text""#);
    block.raw("text", text.text());
    if let Some(control) = control {
        block.raw("cache_control", control.text());
    }
    block.close();
}

/// An address that holds what it is the address of.
struct DataUrl<'a> {
    media_type: &'a str,
    data: &'a str,
}

impl<'a> DataUrl<'a> {
    /// `None`: it is no such address, or not in base64.
    fn of(url: &'a str) -> Option<Self> {
        let (head, data) = url.strip_prefix("data:")?.split_once(',')?;
        let media_type = head.strip_suffix(";base64")?;
        let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
        let media_type = media_type.split(';').next().unwrap_or_default();
        (!data.is_empty() && data.bytes().all(is_base64)).then_some(Self { media_type, data })
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut source = ObjectWriter::open(out);
        source.raw("type", br#""base64""#);
        source.text("media_type", self.media_type);
        source.text("data", self.data);
        source.close();
    }
}

fn write_image(
    place: &str,
    part: &Object<'_>,
    out: &mut Vec<u8>,
    dropped: &mut Dropped,
) -> Result<(), Fault> {
    let image = member(part, "image_url");
    let object = image.and_then(|image| image.object());
    // Some clients send the address alone.
    let url = object.as_ref().map_or(image, |object| object.get("url"));
    let place = format!("{place}.image_url.url");
    let url = url.and_then(|url| url.as_str()).ok_or_else(|| misfit(&place, "a text"))?;
    let detail = object.and_then(|object| member(&object, "detail"));
    if detail.is_some_and(|detail| detail.as_str().as_deref() != Some("auto")) {
        dropped.name("messages.content.image_url.detail");
    }
    let data = DataUrl::of(&url);
    let is_web = url.starts_with("https://") || url.starts_with("http://");
    if data.is_none() && !is_web {
        return Err(misfit(&place, "an address that begins with `https:`, or with `data:` and is in base64"));
    }
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let is_document = match &data {
        Some(data) => data.media_type == "application/pdf",
        None => path.to_ascii_lowercase().ends_with(".pdf"),
    };
    let mut block = ObjectWriter::open(out);
    block.text("type", if is_document { "document" } else { "image" });
    match data {
        Some(data) => data.write(block.member("source")),
        None => {
            let mut source = ObjectWriter::open(block.member("source"));
            source.raw("type", br#""url""#);
            source.text("url", &url);
            source.close();
        }
    }
    copy(part, &["cache_control"], &mut block);
    block.close();
    Ok(())
}

/// Says whether the file was uploaded before.
fn write_file(place: &str, part: &Object<'_>, out: &mut Vec<u8>) -> Result<bool, Fault> {
    let file = inner(place, part, "file")?;
    let place = format!("{place}.file");
    let mut block = ObjectWriter::open(out);
    block.raw("type", br#""document""#);
    let id = member(&file, "file_id");
    match id {
        Some(_) => {
            let id = text(&place, &file, "file_id")?;
            let mut source = ObjectWriter::open(block.member("source"));
            source.raw("type", br#""file""#);
            source.raw("file_id", id.text());
            source.close();
        }
        None => {
            let place = format!("{place}.file_data");
            let url = file.get("file_data").and_then(|data| data.as_str());
            let url = url.ok_or_else(|| misfit(&place, "a text, or `file_id` beside it"))?;
            let data = DataUrl::of(&url).filter(|data| data.media_type == "application/pdf");
            let data = data.ok_or_else(|| misfit(&place, "a PDF as `data:application/pdf;base64,…`"))?;
            data.write(block.member("source"));
        }
    }
    if let Some(name) = member(&file, "filename") {
        block.raw("title", name.text());
    }
    copy(part, &["cache_control"], &mut block);
    block.close();
    Ok(id.is_some())
}
