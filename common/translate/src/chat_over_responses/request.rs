//! A request for a chat, as a request for a response.

use std::borrow::Cow;
use std::collections::BTreeMap;

use common::http::Fault;
use common::json::{self, ArrayWriter, Kind, Object, ObjectWriter, Patch, Raw};

use crate::Dropped;
use crate::read::{
    copy, inner, is_blank, is_of, list, member, misfit, name_rest, objects, parts, refuse_audio, string, text,
};

/// Members that mean the same in both.
const SAME: [&str; 13] = [
    "model",
    "temperature",
    "top_p",
    "top_logprobs",
    "parallel_tool_calls",
    "metadata",
    "user",
    "safety_identifier",
    "service_tier",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "moderation",
];

/// Members that are put in another way, or that nothing has to be said of. All others have no place.
const PUT: [&str; 18] = [
    "messages",
    "stream",
    "stream_options",
    "store",
    "max_tokens",
    "max_completion_tokens",
    "response_format",
    "verbosity",
    "reasoning_effort",
    "reasoning",
    "logprobs",
    "tools",
    "tool_choice",
    "functions",
    "function_call",
    "web_search_options",
    "modalities",
    "audio",
];

/// What any message may have. Nobody is told what a model thought in earlier turns: chats have no place for it, but
/// many clients send it back.
const OF_ANY_ROLE: [&str; 5] = ["role", "content", "reasoning_content", "reasoning", "reasoning_details"];

/// OpenAI refuses to give fewer tokens, which clients ask for only to see whether a model is there:
/// [a report](https://github.com/earendil-works/pi/issues/6265).
const LEAST_TOKENS: u64 = 16;

/// Marks the end of what is to be cached; texts, images and files can have it.
const BREAKPOINT: &str = "prompt_cache_breakpoint";

/// Writes the request for a response.
///
/// # Errors
/// The messages are none, or something is asked for that no response can give.
pub(super) fn write(chat: &Object<'_>, out: &mut Vec<u8>, dropped: &mut Dropped) -> Result<(), Fault> {
    refuse_audio(chat)?;
    let mut request = ObjectWriter::open(out);
    for name in SAME {
        if let Some(value) = member(chat, name) {
            request.raw(name, value.text());
        }
    }
    let has_one_function = member(chat, "functions").is_some() && member(chat, "tools").is_none();
    if has_one_function && member(chat, "parallel_tool_calls").is_none() {
        request.raw("parallel_tool_calls", b"false");
    }
    if let Some(stream) = member(chat, "stream") {
        request.raw("stream", stream.text());
    }
    let options = member(chat, "stream_options").and_then(|options| options.object());
    if let Some(obfuscation) = options.and_then(|options| member(&options, "include_obfuscation")) {
        let mut options = ObjectWriter::open(request.member("stream_options"));
        options.raw("include_obfuscation", obfuscation.text());
        options.close();
    }
    // A response is stored unless the request says otherwise; nobody who asks for a chat expects that.
    request.raw("store", member(chat, "store").map_or(b"false", |store| store.text()));
    if member(chat, "logprobs").is_some_and(|asked| asked.as_bool() == Some(true)) {
        request.raw("include", br#"["message.output_text.logprobs"]"#);
    }
    write_limit(chat, &mut request);
    write_text(chat, &mut request)?;
    write_reasoning(chat, &mut request);
    let mut input =
        Input { list: ArrayWriter::open(request.member("input")), dropped, calls: Calls::default() };
    input.write(chat)?;
    input.list.close();
    write_tools(chat, &mut request, dropped)?;
    write_choice(chat, &mut request)?;
    request.close();
    name_rest(chat, "", |name| SAME.contains(&name) || PUT.contains(&name), dropped);
    Ok(())
}

fn write_limit(chat: &Object<'_>, request: &mut ObjectWriter<'_>) {
    let limit = member(chat, "max_completion_tokens").or_else(|| member(chat, "max_tokens"));
    let Some(limit) = limit else { return };
    match limit.as_u64() {
        Some(1..LEAST_TOKENS) => request.raw("max_output_tokens", LEAST_TOKENS.to_string().as_bytes()),
        _ => request.raw("max_output_tokens", limit.text()),
    }
}

fn write_text(chat: &Object<'_>, request: &mut ObjectWriter<'_>) -> Result<(), Fault> {
    let format = member(chat, "response_format");
    let verbosity = member(chat, "verbosity");
    if format.is_none() && verbosity.is_none() {
        return Ok(());
    }
    let mut text = ObjectWriter::open(request.member("text"));
    if let Some(format) = format {
        let object = format.object().ok_or_else(|| misfit("response_format", "an object"))?;
        if is_of(&object, "type", "json_schema") {
            let schema = inner("response_format", &object, "json_schema")?;
            let mut format = ObjectWriter::open(text.member("format"));
            format.raw("type", br#""json_schema""#);
            copy(&schema, &["name", "description", "schema", "strict"], &mut format);
            format.close();
        } else {
            text.raw("format", format.text());
        }
    }
    if let Some(verbosity) = verbosity {
        text.raw("verbosity", verbosity.text());
    }
    text.close();
    Ok(())
}

/// `reasoning` is no member of OpenAI's chats, but of some vendors', and then what it is here. Summaries are not asked
/// for unless the client does: OpenAI refuses them to organisations that it has not verified.
fn write_reasoning(chat: &Object<'_>, request: &mut ObjectWriter<'_>) {
    let effort = member(chat, "reasoning_effort");
    match (member(chat, "reasoning"), effort) {
        (None, None) => {}
        (None, Some(effort)) => {
            let mut reasoning = ObjectWriter::open(request.member("reasoning"));
            reasoning.raw("effort", effort.text());
            reasoning.close();
        }
        (Some(reasoning), None) => request.raw("reasoning", reasoning.text()),
        (Some(reasoning), Some(effort)) => match json::object(reasoning.text()) {
            Ok(object) => {
                let mut patch = Patch::new(reasoning.text());
                patch.set(&object, "effort", effort.text());
                request.raw("reasoning", &patch.finish());
            }
            Err(_) => request.raw("reasoning", reasoning.text()),
        },
    }
}

/// What the conversation is made of.
struct Input<'o, 'd, 'a> {
    list: ArrayWriter<'o>,
    dropped: &'d mut Dropped,
    calls: Calls<'a>,
}

/// Calls that have been seen, for what answers them.
#[derive(Default)]
struct Calls<'a> {
    /// By their ids; `true`: of a custom tool.
    tools: BTreeMap<Cow<'a, str>, bool>,
    /// Of functions in the way that chats had before tools, whose calls have no ids: names and ids of our own. Those
    /// that were answered are gone.
    functions: Vec<(Cow<'a, str>, String)>,
}

impl<'a> Input<'_, '_, 'a> {
    fn write(&mut self, chat: &Object<'a>) -> Result<(), Fault> {
        let messages = member(chat, "messages").ok_or_else(|| misfit("messages", "a list of messages"))?;
        for (at, (place, message)) in
            objects("messages", messages, "a list of messages")?.into_iter().enumerate()
        {
            self.message(&place, at, &message)?;
        }
        Ok(())
    }

    fn message(&mut self, place: &str, at: usize, message: &Object<'a>) -> Result<(), Fault> {
        let role = message.get("role").and_then(|role| role.as_str());
        let known: &[&str] = match role.as_deref() {
            Some(role @ ("user" | "system" | "developer")) => {
                self.said(place, role, message)?;
                &[]
            }
            Some("assistant") => {
                self.answered(place, at, message)?;
                &["refusal", "tool_calls", "function_call"]
            }
            Some("tool") => {
                self.tool(place, message)?;
                &["tool_call_id", "name"]
            }
            Some("function") => {
                self.function(place, message)?;
                &["name"]
            }
            _ => {
                let roles = "`user`, `assistant`, `system`, `developer`, `tool` or `function`";
                return Err(misfit(&format!("{place}.role"), roles));
            }
        };
        let is_known = |name: &str| OF_ANY_ROLE.contains(&name) || known.contains(&name);
        name_rest(message, "messages.", is_known, self.dropped);
        Ok(())
    }

    fn said(&mut self, place: &str, role: &str, message: &Object<'_>) -> Result<(), Fault> {
        let mut item = ObjectWriter::open(self.list.element());
        item.raw("type", br#""message""#);
        item.text("role", role);
        write_content(place, message, item.member("content"), self.dropped)?;
        item.close();
        Ok(())
    }

    fn answered(&mut self, place: &str, at: usize, message: &Object<'a>) -> Result<(), Fault> {
        let said = answer_parts(place, message, self.dropped)?;
        if !said.is_empty() {
            // Without a type some vendors do not know what it is, and without these parts OpenAI refuses it.
            let mut item = ObjectWriter::open(self.list.element());
            item.raw("type", br#""message""#);
            item.raw("role", br#""assistant""#);
            let mut parts = ArrayWriter::open(item.member("content"));
            for (kind, name, text) in said {
                let mut part = ObjectWriter::open(parts.element());
                part.text("type", kind);
                part.raw(name, text.text());
                part.close();
            }
            parts.close();
            item.close();
        }
        if let Some(call) = member(message, "function_call") {
            let place = format!("{place}.function_call");
            let call = call.object().ok_or_else(|| misfit(&place, "an object"))?;
            let name = named(&place, &call)?;
            let id = format!("function_call_{at}");
            self.calls.functions.push((name.as_str().unwrap_or_default(), id.clone()));
            self.function_call(&json::string(&id), name, &call);
        }
        let calls = match member(message, "tool_calls") {
            None => Vec::new(),
            Some(calls) => {
                calls.elements().ok_or_else(|| misfit(&format!("{place}.tool_calls"), "a list of calls"))?
            }
        };
        for (at, call) in calls.iter().enumerate() {
            let place = format!("{place}.tool_calls.{at}");
            let call = call.object().ok_or_else(|| misfit(&place, "an object"))?;
            self.tool_call(&place, &call)?;
        }
        Ok(())
    }

    fn tool_call(&mut self, place: &str, call: &Object<'a>) -> Result<(), Fault> {
        let id = text(place, call, "id")?;
        let is_custom = is_of(call, "type", "custom");
        let kind = if is_custom { "custom" } else { "function" };
        let inner = inner(place, call, kind)?;
        let place = format!("{place}.{kind}");
        let name = named(&place, &inner)?;
        self.calls.tools.insert(id.as_str().unwrap_or_default(), is_custom);
        if !is_custom {
            self.function_call(id.text(), name, &inner);
            return Ok(());
        }
        let mut item = ObjectWriter::open(self.list.element());
        item.raw("type", br#""custom_tool_call""#);
        item.raw("call_id", id.text());
        item.raw("name", name.text());
        item.raw("input", string(inner.get("input")));
        item.close();
        Ok(())
    }

    fn function_call(&mut self, id: &[u8], name: Raw<'_>, function: &Object<'_>) {
        let mut item = ObjectWriter::open(self.list.element());
        item.raw("type", br#""function_call""#);
        item.raw("call_id", id);
        item.raw("name", name.text());
        match member(function, "arguments") {
            Some(arguments) if arguments.kind() == Kind::String => item.raw("arguments", arguments.text()),
            // They should be the text of an object; some send the object itself.
            Some(object) => item.text("arguments", std::str::from_utf8(object.text()).unwrap_or("{}")),
            None => item.text("arguments", "{}"),
        }
        item.close();
    }

    fn tool(&mut self, place: &str, message: &Object<'_>) -> Result<(), Fault> {
        let id = text(place, message, "tool_call_id")?;
        let is_custom = id.as_str().and_then(|id| self.calls.tools.get(&id).copied());
        let is_custom = is_custom.ok_or_else(|| {
            misfit(&format!("{place}.tool_call_id"), "the id of a tool call in a message before")
        })?;
        let kind = if is_custom { "custom_tool_call_output" } else { "function_call_output" };
        self.output(place, kind, id.text(), message)
    }

    fn function(&mut self, place: &str, message: &Object<'_>) -> Result<(), Fault> {
        let name = named(place, message)?.as_str();
        let waits = self.calls.functions.iter().position(|(called, _)| Some(called) == name.as_ref());
        let Some(at) = waits else {
            return Err(misfit(
                &format!("{place}.name"),
                "the name of a function that a message before calls",
            ));
        };
        let (_, id) = self.calls.functions.remove(at);
        self.output(place, "function_call_output", &json::string(&id), message)
    }

    fn output(&mut self, place: &str, kind: &str, id: &[u8], message: &Object<'_>) -> Result<(), Fault> {
        let mut item = ObjectWriter::open(self.list.element());
        item.text("type", kind);
        item.raw("call_id", id);
        if member(message, "content").is_some() {
            write_content(place, message, item.member("output"), self.dropped)?;
        } else {
            item.raw("output", br#""""#);
        }
        item.close();
        Ok(())
    }
}

fn named<'a>(place: &str, object: &Object<'a>) -> Result<Raw<'a>, Fault> {
    text(place, object, "name")
}

/// What a model said: type and member of each part, and its text.
fn answer_parts<'a>(
    place: &str,
    message: &Object<'a>,
    dropped: &mut Dropped,
) -> Result<Vec<(&'static str, &'static str, Raw<'a>)>, Fault> {
    const TEXT: (&str, &str) = ("output_text", "text");
    const REFUSAL: (&str, &str) = ("refusal", "refusal");
    let mut said = Vec::new();
    let mut say = |(kind, name): (&'static str, &'static str), text: Raw<'a>| {
        if !is_blank(text) {
            said.push((kind, name, text));
        }
    };
    match member(message, "content") {
        None => {}
        Some(content) if content.kind() == Kind::String => say(TEXT, content),
        Some(content) => {
            for (place, part) in parts(place, content)? {
                let kind = part.get("type").and_then(|kind| kind.as_str());
                let known = match kind.as_deref() {
                    Some("text") => TEXT,
                    Some("refusal") => REFUSAL,
                    _ => return Err(misfit(&format!("{place}.type"), "`text` or `refusal`")),
                };
                say(known, text(&place, &part, known.1)?);
                name_rest(&part, "messages.content.", |name| name == "type" || name == known.1, dropped);
            }
        }
    }
    if let Some(refusal) = member(message, "refusal") {
        if refusal.kind() != Kind::String {
            return Err(misfit(&format!("{place}.refusal"), "a text"));
        }
        say(REFUSAL, refusal);
    }
    Ok(said)
}

/// What was said to the model, by people or tools: a text, or parts.
fn write_content(
    place: &str,
    message: &Object<'_>,
    out: &mut Vec<u8>,
    dropped: &mut Dropped,
) -> Result<(), Fault> {
    let content = message.get("content");
    match content.filter(|content| content.kind() == Kind::String) {
        Some(text) => out.extend_from_slice(text.text()),
        None => {
            let nothing = || misfit(&format!("{place}.content"), "a text or a list of content parts");
            let mut list = ArrayWriter::open(out);
            for (place, part) in parts(place, content.ok_or_else(nothing)?)? {
                write_part(&place, &part, list.element(), dropped)?;
            }
            list.close();
        }
    }
    Ok(())
}

fn write_part(place: &str, part: &Object<'_>, out: &mut Vec<u8>, dropped: &mut Dropped) -> Result<(), Fault> {
    let kind = part.get("type").and_then(|kind| kind.as_str());
    let kind = kind.as_deref().unwrap_or_default();
    let mut written = ObjectWriter::open(out);
    match kind {
        "text" => {
            written.raw("type", br#""input_text""#);
            written.raw("text", text(place, part, "text")?.text());
        }
        "image_url" => write_image(place, part, &mut written)?,
        "file" => {
            let file = inner(place, part, "file")?;
            written.raw("type", br#""input_file""#);
            copy(&file, &["file_id", "file_data", "file_url", "filename"], &mut written);
        }
        "input_audio" => {
            let audio = member(part, "input_audio");
            let audio = audio.ok_or_else(|| misfit(&format!("{place}.input_audio"), "an object"))?;
            written.raw("type", br#""input_audio""#);
            written.raw("input_audio", audio.text());
        }
        _ => {
            let kinds = "`text`, `image_url`, `file` or `input_audio`";
            return Err(misfit(&format!("{place}.type"), kinds));
        }
    }
    let has_breakpoint = kind != "input_audio";
    if has_breakpoint {
        copy(part, &[BREAKPOINT], &mut written);
    }
    written.close();
    let is_known = |name: &str| name == "type" || name == kind || (name == BREAKPOINT && has_breakpoint);
    name_rest(part, "messages.content.", is_known, dropped);
    Ok(())
}

fn write_image(place: &str, part: &Object<'_>, written: &mut ObjectWriter<'_>) -> Result<(), Fault> {
    let image = member(part, "image_url");
    let object = image.and_then(|image| image.object());
    // Some clients send the address alone.
    let url = object.as_ref().map_or(image, |object| object.get("url"));
    let url = url.filter(|url| url.kind() == Kind::String);
    let url = url.ok_or_else(|| misfit(&format!("{place}.image_url.url"), "a text"))?;
    let detail = object.and_then(|object| member(&object, "detail"));
    written.raw("type", br#""input_image""#);
    written.raw("image_url", url.text());
    written.raw("detail", detail.map_or(br#""auto""#, |detail| detail.text()));
    Ok(())
}

fn write_tools(
    chat: &Object<'_>,
    request: &mut ObjectWriter<'_>,
    dropped: &mut Dropped,
) -> Result<(), Fault> {
    let (tools, functions) = (list(chat, "tools")?, list(chat, "functions")?);
    let search = member(chat, "web_search_options");
    if tools.is_empty() && functions.is_empty() && search.is_none() {
        return Ok(());
    }
    let mut written = ArrayWriter::open(request.member("tools"));
    for (at, tool) in tools.into_iter().enumerate() {
        let place = format!("tools.{at}");
        let object = tool.object().ok_or_else(|| misfit(&place, "an object"))?;
        let kind = object.get("type").and_then(|kind| kind.as_str());
        let kind = match kind.as_deref() {
            Some(kind @ ("function" | "custom")) => kind,
            // No chat has others, and what they are the vendor knows.
            _ => {
                written.element().extend_from_slice(tool.text());
                continue;
            }
        };
        let inner = inner(&place, &object, kind)?;
        if kind == "function" {
            write_function("tools.function.", &inner, written.element(), dropped);
        } else {
            write_custom(&inner, written.element(), dropped);
        }
        name_rest(&object, "tools.", |name| name == "type" || name == kind, dropped);
    }
    for (at, function) in functions.iter().enumerate() {
        let function = function.object().ok_or_else(|| misfit(&format!("functions.{at}"), "an object"))?;
        write_function("functions.", &function, written.element(), dropped);
    }
    if let Some(search) = search {
        let search = search.object().ok_or_else(|| misfit("web_search_options", "an object"))?;
        write_search(&search, written.element());
    }
    written.close();
    Ok(())
}

fn write_function(place: &str, function: &Object<'_>, out: &mut Vec<u8>, dropped: &mut Dropped) {
    let mut tool = ObjectWriter::open(out);
    tool.raw("type", br#""function""#);
    copy(function, &["name", "description"], &mut tool);
    let parameters = member(function, "parameters");
    // A chat's function without parameters has none; here the member has to be there.
    tool.raw("parameters", parameters.map_or(br#"{"type":"object","properties":{}}"#, |it| it.text()));
    // Functions are strict here unless it is said that they are not, in chats the other way round:
    // https://platform.openai.com/docs/guides/migrate-to-responses
    tool.raw("strict", member(function, "strict").map_or(b"false", |strict| strict.text()));
    tool.close();
    let is_known = |name: &str| matches!(name, "name" | "description" | "parameters" | "strict");
    name_rest(function, place, is_known, dropped);
}

fn write_custom(custom: &Object<'_>, out: &mut Vec<u8>, dropped: &mut Dropped) {
    let mut tool = ObjectWriter::open(out);
    tool.raw("type", br#""custom""#);
    copy(custom, &["name", "description"], &mut tool);
    if let Some(format) = member(custom, "format") {
        let grammar = format.object().and_then(|format| format.get("grammar")?.object());
        match grammar {
            None => tool.raw("format", format.text()),
            Some(grammar) => {
                let mut format = ObjectWriter::open(tool.member("format"));
                format.raw("type", br#""grammar""#);
                copy(&grammar, &["syntax", "definition"], &mut format);
                format.close();
            }
        }
    }
    tool.close();
    let is_known = |name: &str| matches!(name, "name" | "description" | "format");
    name_rest(custom, "tools.custom.", is_known, dropped);
}

fn write_search(options: &Object<'_>, out: &mut Vec<u8>) {
    let mut tool = ObjectWriter::open(out);
    tool.raw("type", br#""web_search""#);
    copy(options, &["search_context_size"], &mut tool);
    let location = member(options, "user_location").and_then(|location| location.object());
    if let Some(place) = location.and_then(|location| location.get("approximate")?.object()) {
        let mut location = ObjectWriter::open(tool.member("user_location"));
        location.raw("type", br#""approximate""#);
        copy(&place, &["city", "country", "region", "timezone"], &mut location);
        location.close();
    }
    tool.close();
}

fn write_choice(chat: &Object<'_>, request: &mut ObjectWriter<'_>) -> Result<(), Fault> {
    if let Some(choice) = member(chat, "tool_choice") {
        let allowed = choice.object().and_then(|choice| choice.get("allowed_tools")?.object());
        return match allowed {
            Some(allowed) => write_allowed(&allowed, request.member("tool_choice")),
            None => write_chosen("tool_choice", choice, request.member("tool_choice")),
        };
    }
    let Some(call) = member(chat, "function_call") else { return Ok(()) };
    let Some(function) = call.object() else {
        request.raw("tool_choice", call.text());
        return Ok(());
    };
    let name = named("function_call", &function)?;
    let mut choice = ObjectWriter::open(request.member("tool_choice"));
    choice.raw("type", br#""function""#);
    choice.raw("name", name.text());
    choice.close();
    Ok(())
}

fn write_allowed(allowed: &Object<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let place = "tool_choice.allowed_tools.tools";
    let tools = member(allowed, "tools").and_then(|tools| tools.elements());
    let tools = tools.ok_or_else(|| misfit(place, "a list of tools"))?;
    let mut choice = ObjectWriter::open(out);
    choice.raw("type", br#""allowed_tools""#);
    copy(allowed, &["mode"], &mut choice);
    let mut list = ArrayWriter::open(choice.member("tools"));
    for (at, tool) in tools.into_iter().enumerate() {
        write_chosen(&format!("{place}.{at}"), tool, list.element())?;
    }
    list.close();
    choice.close();
    Ok(())
}

/// A choice of a tool by its name. Other choices are the same in both.
fn write_chosen(place: &str, choice: Raw<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let object = choice.object();
    let kind = object.as_ref().and_then(|choice| choice.get("type")?.as_str());
    let (Some(object), Some(kind @ ("function" | "custom"))) = (&object, kind.as_deref()) else {
        out.extend_from_slice(choice.text());
        return Ok(());
    };
    let name = named(&format!("{place}.{kind}"), &inner(place, object, kind)?)?;
    let mut chosen = ObjectWriter::open(out);
    chosen.text("type", kind);
    chosen.raw("name", name.text());
    chosen.close();
    Ok(())
}
