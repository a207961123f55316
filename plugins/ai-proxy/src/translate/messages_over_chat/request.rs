//! A request for a message, as a request for a chat.

use common::http::Fault;
use common::json::{ArrayWriter, Kind, Object, ObjectWriter, Raw};

use super::string;
use crate::body;
use crate::translate::{Dropped, Manner, Thinking};

/// Members that mean the same in both.
const SAME: [&str; 5] = ["model", "max_tokens", "temperature", "top_p", "stream"];

/// A client of Anthropic's begins the system's text with this line, in which one item differs from request to
/// request, so that no vendor could cache what follows.
const BILLING: &[u8] = b"x-anthropic-billing-header:";
const VOLATILE: &[u8] = b"cch=";

/// Below these budgets of thinking a model is asked for little of it, or for some.
const LOW_BUDGET: u64 = 4096;
const MEDIUM_BUDGET: u64 = 16_384;

/// The request as a chat, in the vendor's manner.
///
/// # Errors
/// It is no JSON object, or its messages are none.
pub(super) fn request(text: &[u8], manner: Manner, _dropped: &mut Dropped) -> Result<Vec<u8>, Fault> {
    let body = body::object(text)?;
    let mut out = Vec::with_capacity(text.len() + 256);
    let mut chat = ObjectWriter::open(&mut out);
    for name in SAME {
        if let Some(value) = member(&body, name) {
            chat.raw(name, value.text());
        }
    }
    let is_empty = |list: &Raw<'_>| list.elements().is_some_and(|list| list.is_empty());
    if let Some(stops) = member(&body, "stop_sequences").filter(|stops| !is_empty(stops)) {
        chat.raw("stop", stops.text());
    }
    write_thinking(&body, manner.thinking, &mut chat);
    write_messages(&body, manner, chat.member("messages"))?;
    write_tools(&body, &mut chat);
    chat.close();
    Ok(out)
}

/// The value of a member that says something.
fn member<'a>(object: &Object<'a>, name: &str) -> Option<Raw<'a>> {
    object.get(name).filter(|value| value.kind() != Kind::Null)
}

fn is_of(object: &Object<'_>, name: &str, word: &str) -> bool {
    object.get(name).is_some_and(|value| value.as_str().as_deref() == Some(word))
}

fn misfit(place: &str, expected: &str) -> Fault {
    Fault::client(400, "invalid_request", format!("{place}: expected {expected}"))
}

fn write_thinking(body: &Object<'_>, told: Thinking, chat: &mut ObjectWriter<'_>) {
    let thinking = body.get("thinking").and_then(|thinking| thinking.object());
    let budget = thinking.as_ref().and_then(|thinking| thinking.get("budget_tokens"));
    let is = |kind: &str| thinking.as_ref().is_some_and(|thinking| is_of(thinking, "type", kind));
    let effort = if is("enabled") {
        match budget.and_then(|budget| budget.as_u64()).unwrap_or(0) {
            0..LOW_BUDGET => Some("low"),
            LOW_BUDGET..MEDIUM_BUDGET => Some("medium"),
            MEDIUM_BUDGET.. => Some("high"),
        }
    } else if is("adaptive") {
        let output = body.get("output_config").and_then(|output| output.object());
        let asked = output.and_then(|output| output.get("effort")?.as_str());
        Some(match asked.as_deref() {
            Some("low") => "low",
            Some("high" | "xhigh" | "max") => "high",
            _ => "medium",
        })
    } else {
        None
    };
    let budget = budget.filter(|budget| is("enabled") && budget.as_u64().is_some_and(|budget| budget > 0));
    told.ask(effort, budget, chat);
}

fn write_messages(body: &Object<'_>, manner: Manner, out: &mut Vec<u8>) -> Result<(), Fault> {
    let elements = member(body, "messages").and_then(|messages| messages.elements());
    let elements = elements.ok_or_else(|| misfit("messages", "a list of messages"))?;
    let messages = elements.iter().enumerate().map(|(at, message)| {
        let place = format!("messages.{at}");
        let object = message.object().ok_or_else(|| misfit(&place, "an object"));
        object.map(|message| (place, message))
    });
    let mut messages: Vec<(String, Object<'_>)> = messages.collect::<Result<_, Fault>>()?;
    if manner.system_first {
        messages.sort_by_key(|(_, message)| !is_of(message, "role", "system"));
    }
    let mut list = ArrayWriter::open(out);
    write_system(body, &mut list)?;
    for (place, message) in &messages {
        write_message(place, message, &mut list)?;
    }
    list.close();
    Ok(())
}

fn write_system(body: &Object<'_>, list: &mut ArrayWriter<'_>) -> Result<(), Fault> {
    let Some(system) = member(body, "system") else { return Ok(()) };
    if let Some(text) = system.escaped() {
        if !text.is_empty() {
            let mut message = ObjectWriter::open(list.element());
            message.raw("role", br#""system""#);
            message.pieces("content", without_volatile(text));
            message.close();
        }
        return Ok(());
    }
    let blocks = blocks(system).ok_or_else(|| misfit("system", "a text or a list of text blocks"))?;
    if blocks.iter().any(|block| matches!(block, Block::Text(..))) {
        let mut message = ObjectWriter::open(list.element());
        message.raw("role", br#""system""#);
        write_parts(blocks.iter().filter(|block| matches!(block, Block::Text(..))), &mut message);
        message.close();
    }
    Ok(())
}

/// The pieces of a text of the system's that stay the same from request to request.
fn without_volatile(text: &[u8]) -> [&[u8]; 2] {
    let whole = [text, &[]];
    if !text.starts_with(BILLING) {
        return whole;
    }
    let Some(start) = text.windows(VOLATILE.len()).position(|window| window == VOLATILE) else {
        return whole;
    };
    let (before, item) = text.split_at_checked(start).unwrap_or((text, &[]));
    match item.iter().position(|byte| *byte == b';') {
        Some(end) => [before.trim_ascii_end(), item.get(end + 1..).unwrap_or_default()],
        None => whole,
    }
}

/// One thing that a message says.
enum Block<'a> {
    /// The text, as it stands inside its quotes.
    Text(&'a [u8], Object<'a>),
    /// The source of an image.
    Image(Object<'a>),
    Call(Object<'a>),
    Result(Object<'a>),
    /// No vendor of chats has a place for it.
    Other,
}

/// `None`: this is no list of blocks.
fn blocks(content: Raw<'_>) -> Option<Vec<Block<'_>>> {
    content.elements()?.iter().map(block).collect()
}

fn block<'a>(element: &Raw<'a>) -> Option<Block<'a>> {
    let block = element.object()?;
    let kind = block.get("type")?.as_str()?;
    let known = match &*kind {
        "text" => block.get("text").and_then(|text| text.escaped()).map(|text| Block::Text(text, block)),
        "image" => block.get("source").and_then(|source| source.object()).map(Block::Image),
        "tool_use" => Some(Block::Call(block)),
        "tool_result" => Some(Block::Result(block)),
        _ => None,
    };
    Some(known.unwrap_or(Block::Other))
}

/// Texts of some blocks, with this between them.
fn joined<'a>(texts: impl Iterator<Item = &'a [u8]>, between: &'static [u8]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for text in texts {
        if !pieces.is_empty() {
            pieces.push(between);
        }
        pieces.push(text);
    }
    pieces
}

/// Between paragraphs, and between lines, inside a JSON string.
const PARAGRAPH: &[u8] = br"\n\n";
const LINE: &[u8] = br"\n";

fn write_message(place: &str, message: &Object<'_>, list: &mut ArrayWriter<'_>) -> Result<(), Fault> {
    let role = message.get("role").filter(|role| role.kind() == Kind::String);
    let role = role.map_or(&br#""user""#[..], |role| role.text());
    let content = member(message, "content");
    let text = content
        .map_or(Some(&br#""""#[..]), |content| (content.kind() == Kind::String).then_some(content.text()));
    if let Some(text) = text {
        let mut message = ObjectWriter::open(list.element());
        message.raw("role", role);
        message.raw("content", text);
        message.close();
        return Ok(());
    }
    let blocks = content.and_then(blocks);
    let blocks =
        blocks.ok_or_else(|| misfit(&format!("{place}.content"), "a text or a list of content blocks"))?;
    let calls = blocks.iter().any(|block| matches!(block, Block::Call(_)));
    if calls {
        write_calls(role, &blocks, list);
    }
    let mut answers = false;
    for result in
        blocks.iter().filter_map(|block| if let Block::Result(it) = block { Some(it) } else { None })
    {
        answers = true;
        write_result(result, list);
    }
    let is_said = blocks.iter().any(|block| matches!(block, Block::Text(..) | Block::Image(_)));
    // What a model says beside its calls is said already; what a user says beside results follows them.
    if !calls && (is_said || !answers) {
        let mut message = ObjectWriter::open(list.element());
        message.raw("role", role);
        if answers && !blocks.iter().any(|block| matches!(block, Block::Image(_))) {
            message.pieces("content", joined(texts(&blocks), PARAGRAPH));
        } else {
            write_parts(blocks.iter(), &mut message);
        }
        message.close();
    }
    Ok(())
}

fn texts<'b, 'a: 'b>(blocks: &'b [Block<'a>]) -> impl Iterator<Item = &'a [u8]> + use<'b, 'a> {
    blocks.iter().filter_map(|block| if let Block::Text(text, _) = block { Some(*text) } else { None })
}

fn write_calls(role: &[u8], blocks: &[Block<'_>], list: &mut ArrayWriter<'_>) {
    let mut message = ObjectWriter::open(list.element());
    message.raw("role", role);
    let said = joined(texts(blocks), PARAGRAPH);
    if !said.is_empty() {
        message.pieces("content", said);
    }
    let mut calls = ArrayWriter::open(message.member("tool_calls"));
    let called =
        blocks.iter().filter_map(|block| if let Block::Call(call) = block { Some(call) } else { None });
    for (index, block) in called.enumerate() {
        let mut call = ObjectWriter::open(calls.element());
        call.raw("index", index.to_string().as_bytes());
        call.raw("id", string(block.get("id")));
        call.raw("type", br#""function""#);
        let mut function = ObjectWriter::open(call.member("function"));
        function.raw("name", string(block.get("name")));
        let input = member(block, "input").map_or(&b"{}"[..], |input| input.text());
        function.text("arguments", std::str::from_utf8(input).unwrap_or("{}"));
        function.close();
        call.close();
    }
    calls.close();
    message.close();
}

fn write_result(result: &Object<'_>, list: &mut ArrayWriter<'_>) {
    let mut message = ObjectWriter::open(list.element());
    message.raw("role", br#""tool""#);
    message.raw("tool_call_id", string(result.get("tool_use_id")));
    let content = member(result, "content");
    match content.and_then(blocks) {
        Some(blocks) => message.pieces("content", joined(texts(&blocks), LINE)),
        None => message.raw("content", string(content)),
    }
    message.close();
}

/// Texts and images as the parts of one content.
fn write_parts<'b, 'a: 'b>(blocks: impl Iterator<Item = &'b Block<'a>>, message: &mut ObjectWriter<'_>) {
    let mut parts = ArrayWriter::open(message.member("content"));
    for block in blocks {
        match block {
            Block::Text(text, block) => {
                let mut part = ObjectWriter::open(parts.element());
                part.raw("type", br#""text""#);
                part.pieces("text", without_volatile(text));
                if let Some(control) = member(block, "cache_control") {
                    part.raw("cache_control", control.text());
                }
                part.close();
            }
            Block::Image(source) => {
                let value = |name| source.get(name).and_then(|value| value.escaped());
                let url = match (value("data"), value("url")) {
                    (Some(data), _) => {
                        let kind = value("media_type").unwrap_or(b"image/png");
                        vec![&b"data:"[..], kind, b";base64,", data]
                    }
                    (None, Some(url)) => vec![url],
                    // One that was uploaded to Anthropic: others do not have it.
                    (None, None) => continue,
                };
                let mut part = ObjectWriter::open(parts.element());
                part.raw("type", br#""image_url""#);
                let mut image = ObjectWriter::open(part.member("image_url"));
                image.pieces("url", url);
                image.close();
                part.close();
            }
            Block::Call(_) | Block::Result(_) | Block::Other => {}
        }
    }
    parts.close();
}

fn write_tools(body: &Object<'_>, chat: &mut ObjectWriter<'_>) {
    let all = member(body, "tools").and_then(|tools| tools.elements()).unwrap_or_default();
    // The others are Anthropic's own, and run there.
    let is_clients = |tool: &Object<'_>| member(tool, "type").is_none() || is_of(tool, "type", "custom");
    let tools: Vec<Object<'_>> = all.iter().filter_map(|tool| tool.object()).filter(is_clients).collect();
    if !tools.is_empty() {
        let mut list = ArrayWriter::open(chat.member("tools"));
        for tool in &tools {
            write_tool(tool, list.element());
        }
        list.close();
    }
    let choice = body.get("tool_choice").and_then(|choice| choice.object());
    // Nothing can be chosen of what is not there; a client that sent no tools is told so by the vendor.
    let Some(choice) = choice.filter(|_| !tools.is_empty() || all.is_empty()) else { return };
    let kind = choice.get("type").and_then(|kind| kind.as_str());
    match kind.as_deref() {
        Some("auto") => chat.text("tool_choice", "auto"),
        Some("any") => chat.text("tool_choice", "required"),
        Some("none") => chat.text("tool_choice", "none"),
        Some("tool") => {
            let mut named = ObjectWriter::open(chat.member("tool_choice"));
            named.raw("type", br#""function""#);
            let mut function = ObjectWriter::open(named.member("function"));
            function.raw("name", string(choice.get("name")));
            function.close();
            named.close();
        }
        _ => return,
    }
    let one_by_one = choice.get("disable_parallel_tool_use").and_then(|value| value.as_bool());
    chat.raw("parallel_tool_calls", if one_by_one == Some(true) { b"false" } else { b"true" });
}

fn write_tool(tool: &Object<'_>, out: &mut Vec<u8>) {
    let mut entry = ObjectWriter::open(out);
    entry.raw("type", br#""function""#);
    let mut function = ObjectWriter::open(entry.member("function"));
    for (name, theirs) in [
        ("name", "name"),
        ("description", "description"),
        ("parameters", "input_schema"),
        ("strict", "strict"),
    ] {
        if let Some(value) = member(tool, theirs) {
            function.raw(name, value.text());
        }
    }
    function.close();
    entry.close();
}
