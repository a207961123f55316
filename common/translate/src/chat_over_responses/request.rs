//! A request for a chat, as a request for a response.

use std::borrow::Cow;
use std::collections::BTreeMap;

use common::http::Fault;
use common::json::{self, ArrayWriter, Kind, Object, ObjectWriter, Patch, Raw};

use super::models::Takes;
use crate::Dropped;
use crate::chat::{drop_others, is_no_request, list, refuse_audio};
use crate::place::Place;
use crate::read::{copy, is_blank, is_of, member, name_others, string};

/// Members that mean the same in both.
const SAME: [&str; 11] = [
    "model",
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
const PUT: [&str; 20] = [
    "messages",
    "temperature",
    "top_p",
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

/// What a message may have. Nobody is told what a model thought in earlier turns: chats have no place for it, but
/// many clients send it back.
const OF_ANY_ROLE: [&str; 5] = ["role", "content", "reasoning_content", "reasoning", "reasoning_details"];
const OF_AN_ANSWER: [&str; 8] = [
    "role",
    "content",
    "refusal",
    "tool_calls",
    "function_call",
    "reasoning_content",
    "reasoning",
    "reasoning_details",
];
const OF_A_RESULT: [&str; 7] =
    ["role", "content", "tool_call_id", "name", "reasoning_content", "reasoning", "reasoning_details"];
const OF_A_FUNCTIONS_RESULT: [&str; 6] =
    ["role", "content", "name", "reasoning_content", "reasoning", "reasoning_details"];

/// OpenAI refuses to give fewer tokens, which clients ask for only to see whether a model is there:
/// [a report](https://github.com/earendil-works/pi/issues/6265).
const LEAST_TOKENS: u64 = 16;

/// Marks the end of what is to be cached; texts, images and files can have it.
const BREAKPOINT: &str = "prompt_cache_breakpoint";

/// Where the messages stand.
const MESSAGES: Place<'_> = Place::Member(&Place::Request, "messages");
/// What may be chosen of.
const CHOICE: Place<'_> = Place::Member(&Place::Request, "tool_choice");
const ALLOWED: Place<'_> = Place::Member(&CHOICE, "allowed_tools");

/// What messages and outputs are to be.
const CONTENT: &str = "a text or a list of content parts";

/// Writes the request for a response.
///
/// # Errors
/// The messages are none, or something is asked for that no response can give.
pub(super) fn write(
    chat: &Object<'_>,
    is_clients: bool,
    out: &mut Vec<u8>,
    dropped: &mut Dropped,
) -> Result<(), Fault> {
    refuse_audio(chat)?;
    let mut request = ObjectWriter::open(out);
    copy(chat, &SAME, &mut request);
    let takes = match chat.get("model").and_then(|model| model.as_str()) {
        Some(model) if !is_clients => Takes::of(&model),
        _ => Takes::ALL,
    };
    for name in ["temperature", "top_p"] {
        let Some(value) = member(chat, name) else { continue };
        match value.as_f64() {
            // What is done unasked: there is nothing in it that a model could refuse.
            Some(1.0) if !is_clients => {}
            _ if takes.sampling => request.raw(name, value.text()),
            _ => dropped.name(name),
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
    if takes.effort {
        write_reasoning(chat, &mut request);
    } else if member(chat, "reasoning_effort").or_else(|| member(chat, "reasoning")).is_some() {
        dropped.name("reasoning_effort");
    }
    let mut input =
        Input { list: ArrayWriter::open(request.member("input")), dropped, calls: Calls::default() };
    input.write(chat)?;
    input.list.close();
    write_tools(chat, &mut request, dropped)?;
    write_choice(chat, &mut request)?;
    request.close();
    let is_same = |name: &str, value: Raw<'_>| SAME.contains(&name) || is_no_request(name, value);
    name_others(chat, "", &PUT, is_same, dropped);
    Ok(())
}

fn write_limit(chat: &Object<'_>, request: &mut ObjectWriter<'_>) {
    let limit = member(chat, "max_completion_tokens").or_else(|| member(chat, "max_tokens"));
    let Some(limit) = limit else { return };
    match limit.as_u64() {
        Some(1..LEAST_TOKENS) => request.number("max_output_tokens", LEAST_TOKENS),
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
        let place = Place::of("response_format");
        let object = place.object(Some(format))?;
        if is_of(&object, "type", "json_schema") {
            let schema = place.object_of(&object, "json_schema")?;
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
        for message in MESSAGES.objects(chat.get("messages"), "a list of messages")? {
            let (at, message) = message?;
            self.message(MESSAGES.element(at), at, &message)?;
        }
        Ok(())
    }

    fn message(&mut self, place: Place<'_>, at: usize, message: &Object<'a>) -> Result<(), Fault> {
        let role = message.get("role").and_then(|role| role.as_str());
        let known: &[&str] = match role.as_deref() {
            Some(role @ ("user" | "system" | "developer")) => {
                self.said(place, role, message)?;
                &OF_ANY_ROLE
            }
            Some("assistant") => {
                self.answered(place, at, message)?;
                &OF_AN_ANSWER
            }
            Some("tool") => {
                self.tool(place, message)?;
                &OF_A_RESULT
            }
            Some("function") => {
                self.function(place, message)?;
                &OF_A_FUNCTIONS_RESULT
            }
            _ => {
                let roles = "`user`, `assistant`, `system`, `developer`, `tool` or `function`";
                return Err(place.member("role").expected(roles));
            }
        };
        drop_others(message, "messages", known, self.dropped);
        Ok(())
    }

    fn said(&mut self, place: Place<'_>, role: &str, message: &Object<'_>) -> Result<(), Fault> {
        let mut item = ObjectWriter::open(self.list.element());
        item.raw("type", br#""message""#);
        item.text("role", role);
        write_content(place, message, item.member("content"), self.dropped)?;
        item.close();
        Ok(())
    }

    fn answered(&mut self, place: Place<'_>, at: usize, message: &Object<'a>) -> Result<(), Fault> {
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
            let place = place.member("function_call");
            let call = place.object(Some(call))?;
            let name = place.text_of(&call, "name")?;
            let id = format!("function_call_{at}");
            self.calls.functions.push((name.as_str().unwrap_or_default(), id.clone()));
            self.function_call(&json::string(&id), name, &call);
        }
        let Some(calls) = member(message, "tool_calls") else { return Ok(()) };
        let place = place.member("tool_calls");
        for call in place.objects(Some(calls), "a list of calls")? {
            let (at, call) = call?;
            self.tool_call(place.element(at), &call)?;
        }
        Ok(())
    }

    fn tool_call(&mut self, place: Place<'_>, call: &Object<'a>) -> Result<(), Fault> {
        let id = place.text_of(call, "id")?;
        let is_custom = is_of(call, "type", "custom");
        let kind = if is_custom { "custom" } else { "function" };
        let inner = place.object_of(call, kind)?;
        let name = place.member(kind).text_of(&inner, "name")?;
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

    fn tool(&mut self, place: Place<'_>, message: &Object<'_>) -> Result<(), Fault> {
        let id = place.text_of(message, "tool_call_id")?;
        let is_custom = id.as_str().and_then(|id| self.calls.tools.get(&id).copied());
        let is_custom = is_custom.ok_or_else(|| {
            place.member("tool_call_id").expected("the id of a tool call in a message before")
        })?;
        let kind = if is_custom { "custom_tool_call_output" } else { "function_call_output" };
        self.output(place, kind, id.text(), message)
    }

    fn function(&mut self, place: Place<'_>, message: &Object<'_>) -> Result<(), Fault> {
        let name = place.text_of(message, "name")?.as_str();
        let waits = self.calls.functions.iter().position(|(called, _)| Some(called) == name.as_ref());
        let Some(at) = waits else {
            let expected = "the name of a function that a message before calls";
            return Err(place.member("name").expected(expected));
        };
        let (_, id) = self.calls.functions.remove(at);
        self.output(place, "function_call_output", &json::string(&id), message)
    }

    fn output(&mut self, place: Place<'_>, kind: &str, id: &[u8], message: &Object<'_>) -> Result<(), Fault> {
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

/// What a model said: type and member of each part, and its text.
fn answer_parts<'a>(
    place: Place<'_>,
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
            let place = place.member("content");
            for part in place.objects(Some(content), CONTENT)? {
                let (at, part) = part?;
                let place = place.element(at);
                let kind = part.get("type").and_then(|kind| kind.as_str());
                let known = match kind.as_deref() {
                    Some("text") => TEXT,
                    Some("refusal") => REFUSAL,
                    _ => return Err(place.member("type").expected("`text` or `refusal`")),
                };
                say(known, place.text_of(&part, known.1)?);
                drop_others(&part, "messages.content", &["type", known.1], dropped);
            }
        }
    }
    if let Some(refusal) = member(message, "refusal") {
        say(REFUSAL, place.member("refusal").text(Some(refusal))?);
    }
    Ok(said)
}

/// What was said to the model, by people or tools: a text, or parts.
fn write_content(
    place: Place<'_>,
    message: &Object<'_>,
    out: &mut Vec<u8>,
    dropped: &mut Dropped,
) -> Result<(), Fault> {
    let content = message.get("content");
    match content.filter(|content| content.kind() == Kind::String) {
        Some(text) => out.extend_from_slice(text.text()),
        None => {
            let place = place.member("content");
            let mut list = ArrayWriter::open(out);
            for part in place.objects(content, CONTENT)? {
                let (at, part) = part?;
                write_part(place.element(at), &part, list.element(), dropped)?;
            }
            list.close();
        }
    }
    Ok(())
}

fn write_part(
    place: Place<'_>,
    part: &Object<'_>,
    out: &mut Vec<u8>,
    dropped: &mut Dropped,
) -> Result<(), Fault> {
    let kind = part.get("type").and_then(|kind| kind.as_str());
    let kind = kind.as_deref().unwrap_or_default();
    let mut written = ObjectWriter::open(out);
    match kind {
        "text" => {
            written.raw("type", br#""input_text""#);
            written.raw("text", place.text_of(part, "text")?.text());
        }
        "image_url" => write_image(place, part, &mut written)?,
        "file" => {
            let file = place.object_of(part, "file")?;
            written.raw("type", br#""input_file""#);
            copy(&file, &["file_id", "file_data", "file_url", "filename"], &mut written);
        }
        "input_audio" => {
            let audio = member(part, "input_audio");
            let audio = audio.ok_or_else(|| place.member("input_audio").expected("an object"))?;
            written.raw("type", br#""input_audio""#);
            written.raw("input_audio", audio.text());
        }
        _ => {
            let kinds = "`text`, `image_url`, `file` or `input_audio`";
            return Err(place.member("type").expected(kinds));
        }
    }
    let mut known = &["type", kind, BREAKPOINT][..];
    if kind == "input_audio" {
        known = &["type", "input_audio"];
    } else {
        copy(part, &[BREAKPOINT], &mut written);
    }
    written.close();
    drop_others(part, "messages.content", known, dropped);
    Ok(())
}

fn write_image(place: Place<'_>, part: &Object<'_>, written: &mut ObjectWriter<'_>) -> Result<(), Fault> {
    let image = member(part, "image_url");
    let object = image.and_then(|image| image.object());
    // Some clients send the address alone.
    let url = object.as_ref().map_or(image, |object| object.get("url"));
    let url = place.member("image_url").member("url").text(url)?;
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
        let place = Place::of("tools");
        let place = place.element(at);
        let object = place.object(Some(tool))?;
        let kind = object.get("type").and_then(|kind| kind.as_str());
        let kind = match kind.as_deref() {
            Some(kind @ ("function" | "custom")) => kind,
            // No chat has others, and what they are the vendor knows.
            _ => {
                written.element().extend_from_slice(tool.text());
                continue;
            }
        };
        let inner = place.object_of(&object, kind)?;
        if kind == "function" {
            write_function("tools.function", &inner, written.element(), dropped);
        } else {
            write_custom(&inner, written.element(), dropped);
        }
        drop_others(&object, "tools", &["type", kind], dropped);
    }
    for (at, function) in functions.into_iter().enumerate() {
        let function = Place::of("functions").element(at).object(Some(function))?;
        write_function("functions", &function, written.element(), dropped);
    }
    if let Some(search) = search {
        let search = Place::of("web_search_options").object(Some(search))?;
        write_search(&search, written.element());
    }
    written.close();
    Ok(())
}

fn write_function(of: &str, function: &Object<'_>, out: &mut Vec<u8>, dropped: &mut Dropped) {
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
    drop_others(function, of, &["name", "description", "parameters", "strict"], dropped);
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
    drop_others(custom, "tools.custom", &["name", "description", "format"], dropped);
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
            None => write_chosen(CHOICE, choice, request.member("tool_choice")),
        };
    }
    let Some(call) = member(chat, "function_call") else { return Ok(()) };
    let Some(function) = call.object() else {
        request.raw("tool_choice", call.text());
        return Ok(());
    };
    let name = Place::of("function_call").text_of(&function, "name")?;
    let mut choice = ObjectWriter::open(request.member("tool_choice"));
    choice.raw("type", br#""function""#);
    choice.raw("name", name.text());
    choice.close();
    Ok(())
}

fn write_allowed(allowed: &Object<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let place = ALLOWED.member("tools");
    let tools = place.list(allowed.get("tools"), "a list of tools")?;
    let mut choice = ObjectWriter::open(out);
    choice.raw("type", br#""allowed_tools""#);
    copy(allowed, &["mode"], &mut choice);
    let mut list = ArrayWriter::open(choice.member("tools"));
    for (at, tool) in tools.into_iter().enumerate() {
        write_chosen(place.element(at), tool, list.element())?;
    }
    list.close();
    choice.close();
    Ok(())
}

/// A choice of a tool by its name. Other choices are the same in both.
fn write_chosen(place: Place<'_>, choice: Raw<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let object = choice.object();
    let kind = object.as_ref().and_then(|choice| choice.get("type")?.as_str());
    let (Some(object), Some(kind @ ("function" | "custom"))) = (&object, kind.as_deref()) else {
        out.extend_from_slice(choice.text());
        return Ok(());
    };
    let name = place.member(kind).text_of(&place.object_of(object, kind)?, "name")?;
    let mut chosen = ObjectWriter::open(out);
    chosen.text("type", kind);
    chosen.raw("name", name.text());
    chosen.close();
    Ok(())
}
