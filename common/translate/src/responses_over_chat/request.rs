//! A request for a response, as a request for a chat.

use std::borrow::Cow;

use common::http::Fault;
use common::json::{Kind, Object, ObjectWriter, Raw};

use super::input;
use super::tools::{Tools, write_tools};
use crate::place::Place;
use crate::read::{copy, member, name_others};
use crate::{Dropped, Manner, Pair, Talk, Thinking};

/// Members that mean the same in both.
const SAME: [&str; 9] = [
    "model",
    "temperature",
    "top_p",
    "stream",
    "user",
    "safety_identifier",
    "service_tier",
    "prompt_cache_key",
    "prompt_cache_retention",
];

/// Members that are seen to one by one. `metadata` is for the response alone: a chat may have it only if it is stored.
const OTHERS: [&str; 18] = [
    "input",
    "instructions",
    "tools",
    "tool_choice",
    "text",
    "reasoning",
    "max_output_tokens",
    "metadata",
    "parallel_tool_calls",
    "top_logprobs",
    "include",
    "store",
    "truncation",
    "background",
    "stream_options",
    "previous_response_id",
    "conversation",
    "prompt",
];

/// Members that need a vendor who keeps something, and what is to be done without.
const STATE: [(&str, &str); 3] = [
    ("previous_response_id", "this vendor keeps no state; send the whole input"),
    ("conversation", "this vendor keeps no state; send the whole input"),
    ("prompt", "this vendor keeps no prompts; send instructions and input"),
];

/// Writes the request as a chat, in the vendor's manner. Gives the tools whose calls are not what they seem.
///
/// # Errors
/// It has members of another kind than they are, or needs what no chat has.
pub(super) fn write(
    body: &Object<'_>,
    pair: Pair,
    manner: Manner,
    out: &mut Vec<u8>,
    dropped: &mut Dropped,
) -> Result<Tools, Fault> {
    refuse_state(body)?;
    let mut chat = ObjectWriter::open(out);
    copy(body, &SAME, &mut chat);
    if let Some(limit) = member(body, "max_output_tokens") {
        chat.raw(manner.limit, limit.text());
    }
    write_reasoning(body, manner.thinking, dropped, &mut chat)?;
    write_text(body, dropped, &mut chat)?;
    write_logprobs(body, dropped, &mut chat)?;
    let streams_chat = pair.client == Talk::Chat;
    if streams_chat {
        copy(body, &["stream_options"], &mut chat);
    }
    input::write_messages(body, pair, manner, dropped, chat.member("messages"))?;
    let tools = write_tools(body, dropped, &mut chat)?;
    chat.close();
    name_dropped(body, streams_chat, dropped);
    Ok(tools)
}

/// An object that may be absent.
fn object<'a>(body: &Object<'a>, name: &str) -> Result<Option<Object<'a>>, Fault> {
    member(body, name).map(|value| Place::of(name).object(Some(value))).transpose()
}

/// Names the members that say something, but for these.
pub(super) fn drop_others(object: &Object<'_>, of: &str, known: &[&str], dropped: &mut Dropped) {
    name_others(object, of, known, |_, value| says_nothing(value), dropped);
}

fn says_nothing(value: Raw<'_>) -> bool {
    matches!(value.text(), b"null" | b"false" | b"\"\"" | b"[]" | b"{}")
}

fn refuse_state(body: &Object<'_>) -> Result<(), Fault> {
    if let Some((name, why)) = STATE.iter().find(|(name, _)| member(body, name).is_some()) {
        return Err(Place::of(name).refused(why));
    }
    if body.get("background").is_some_and(|value| value.as_bool() == Some(true)) {
        return Err(Place::of("background").refused("this vendor answers while you wait only"));
    }
    Ok(())
}

fn write_reasoning(
    body: &Object<'_>,
    told: Thinking,
    dropped: &mut Dropped,
    chat: &mut ObjectWriter<'_>,
) -> Result<(), Fault> {
    let Some(reasoning) = object(body, "reasoning")? else { return Ok(()) };
    drop_others(&reasoning, "reasoning", &["effort", "summary", "generate_summary"], dropped);
    let Some(effort) = member(&reasoning, "effort") else { return Ok(()) };
    let effort = effort.as_str().ok_or_else(|| Place::of("reasoning.effort").expected("a text"))?;
    match (told, &*effort) {
        (Thinking::Switch, "none" | "minimal") => told.ask(None, None, chat),
        _ => told.ask(Some(&effort), None, chat),
    }
    Ok(())
}

fn write_text(body: &Object<'_>, dropped: &mut Dropped, chat: &mut ObjectWriter<'_>) -> Result<(), Fault> {
    let Some(text) = object(body, "text")? else { return Ok(()) };
    drop_others(&text, "text", &["format", "verbosity"], dropped);
    if let Some(verbosity) = member(&text, "verbosity") {
        chat.raw("verbosity", verbosity.text());
    }
    let Some(format) = member(&text, "format") else { return Ok(()) };
    let place = Place::of("text.format");
    let format = place.object(Some(format))?;
    match format.get("type").and_then(|kind| kind.as_str()).as_deref() {
        // What a chat answers with unasked.
        Some("text") => {}
        Some("json_object") => chat.raw("response_format", br#"{"type":"json_object"}"#),
        Some("json_schema") => {
            let known = ["type", "name", "description", "schema", "strict"];
            drop_others(&format, "text.format", &known, dropped);
            let mut outer = ObjectWriter::open(chat.member("response_format"));
            outer.raw("type", br#""json_schema""#);
            let mut schema = ObjectWriter::open(outer.member("json_schema"));
            copy(&format, &["name", "description", "schema", "strict"], &mut schema);
            schema.close();
            outer.close();
        }
        _ => return Err(place.member("type").expected("text, json_object or json_schema")),
    }
    Ok(())
}

fn write_logprobs(
    body: &Object<'_>,
    dropped: &mut Dropped,
    chat: &mut ObjectWriter<'_>,
) -> Result<(), Fault> {
    let mut asked = false;
    if let Some(include) = member(body, "include") {
        let (place, expected) = (Place::of("include"), "a list of texts");
        for value in place.list(Some(include), expected)? {
            match value.as_str().as_deref() {
                Some("message.output_text.logprobs") => asked = true,
                // So that thinking can be sent again, which it can in any case.
                Some("reasoning.encrypted_content") => {}
                Some(_) => dropped.name("include"),
                None => return Err(place.expected(expected)),
            }
        }
    }
    let top = member(body, "top_logprobs").filter(|top| top.as_u64() != Some(0));
    if asked || top.is_some() {
        chat.raw("logprobs", b"true");
    }
    if let Some(top) = top {
        chat.raw("top_logprobs", top.text());
    }
    Ok(())
}

fn name_dropped(body: &Object<'_>, streams_chat: bool, dropped: &mut Dropped) {
    let is_same = |name: &str, value: Raw<'_>| value.kind() == Kind::Null || SAME.contains(&name);
    name_others(body, "", &OTHERS, is_same, dropped);
    if body.get("store").is_some_and(|store| store.as_bool() == Some(true)) {
        dropped.name("store");
    }
    if body.get("truncation").is_some_and(|value| value.is("auto")) {
        dropped.name("truncation");
    }
    if let Some(options) = body.get("stream_options").and_then(|options| options.object())
        && !streams_chat
    {
        drop_others(&options, "stream_options", &[], dropped);
    }
}

/// What the response repeats of its request, as JSON.
pub(super) fn echo(body: &Object<'_>) -> Vec<(&'static str, Cow<'static, [u8]>)> {
    // Of a client that writes its JSON over many lines: an event's is one.
    let one_line = |text: &[u8]| {
        let mut line = text.to_vec();
        line.iter_mut().for_each(|byte| *byte = if matches!(*byte, b'\n' | b'\r') { b' ' } else { *byte });
        Cow::Owned(line)
    };
    let value = |name: &str, absent: &'static [u8]| {
        member(body, name).map_or(Cow::Borrowed(absent), |value| one_line(value.text()))
    };
    let of = |outer: &str, name: &str| {
        let value = body.get(outer).and_then(|outer| member(&outer.object()?, name));
        value.map(|value| one_line(value.text()))
    };
    let mut reasoning = Vec::new();
    let mut object = ObjectWriter::open(&mut reasoning);
    for name in ["effort", "summary"] {
        object.raw(name, &of("reasoning", name).unwrap_or(Cow::Borrowed(b"null")));
    }
    object.close();
    let mut text = Vec::new();
    let mut object = ObjectWriter::open(&mut text);
    object.raw("format", &of("text", "format").unwrap_or(Cow::Borrowed(br#"{"type":"text"}"#)));
    if let Some(verbosity) = of("text", "verbosity") {
        object.raw("verbosity", &verbosity);
    }
    object.close();
    let null = |name: &'static str| (name, value(name, b"null"));
    vec![
        ("background", Cow::Borrowed(b"false")),
        null("instructions"),
        null("max_output_tokens"),
        null("max_tool_calls"),
        ("metadata", value("metadata", b"{}")),
        ("parallel_tool_calls", value("parallel_tool_calls", b"true")),
        ("previous_response_id", Cow::Borrowed(b"null")),
        null("prompt_cache_key"),
        ("reasoning", reasoning.into()),
        null("safety_identifier"),
        ("store", Cow::Borrowed(b"false")),
        null("temperature"),
        ("text", text.into()),
        ("tool_choice", value("tool_choice", br#""auto""#)),
        ("tools", value("tools", b"[]")),
        ("top_logprobs", value("top_logprobs", b"0")),
        null("top_p"),
        ("truncation", value("truncation", br#""disabled""#)),
        null("user"),
    ]
}
