//! A request for a message, as a request for a chat.

use common::http::Fault;
use common::json::{ArrayWriter, Kind, Object, ObjectWriter, Raw};

use super::messages;
use crate::place::Place;
use crate::read::{copy, is_of, member, name_others};
use crate::{Dropped, Manner, Thinking};
use common::http::body;

/// Members that mean the same in both.
const SAME: [&str; 4] = ["model", "temperature", "top_p", "stream"];
/// Members that become something else.
const MAPPED: [&str; 9] = [
    "messages",
    "max_tokens",
    "system",
    "stop_sequences",
    "thinking",
    "output_config",
    "output_format",
    "tools",
    "tool_choice",
];

/// Below these budgets of thinking a model is asked for little of it, or for some.
const LOW_BUDGET: u64 = 4096;
const MEDIUM_BUDGET: u64 = 16_384;

/// Anthropic's formats have no name, and OpenAI's need one.
const FORMAT_NAME: &str = "answer";

/// The request as a chat, in the vendor's manner, and the name of the member that asks for thinking.
///
/// # Errors
/// It is no JSON object, or says what no chat can.
pub(super) fn request(
    text: &[u8],
    manner: Manner,
    dropped: &mut Dropped,
) -> Result<(Vec<u8>, &'static str), Fault> {
    let document = body::document(text)?;
    let body = document.object();
    let mut out = Vec::with_capacity(text.len() + 256);
    let mut chat = ObjectWriter::open(&mut out);
    copy(&body, &SAME, &mut chat);
    if let Some(limit) = member(&body, "max_tokens") {
        chat.raw(manner.limit, limit.text());
    }
    let is_empty = |list: &Raw<'_>| list.elements().is_some_and(|list| list.is_empty());
    if let Some(stops) = member(&body, "stop_sequences").filter(|stops| !is_empty(stops)) {
        chat.raw("stop", stops.text());
    }
    let effort = write_thinking(&body, manner.thinking, &mut chat, dropped);
    write_format(&body, &mut chat, dropped)?;
    messages::write(&body, manner, chat.member("messages"), dropped)?;
    write_tools(&body, &mut chat, dropped)?;
    chat.close();
    for (name, value) in body.others(&MAPPED) {
        match value.object().filter(|_| name == "metadata") {
            Some(metadata) => drop_others(&metadata, "metadata", &[], dropped),
            None if value.kind() == Kind::Null || SAME.contains(&&*name) => {}
            None => dropped.name(&name),
        }
    }
    Ok((out, effort))
}

/// Names the members that say something, but for these.
pub(super) fn drop_others(object: &Object<'_>, of: &str, known: &[&str], dropped: &mut Dropped) {
    name_others(object, of, known, |_, value| value.kind() == Kind::Null, dropped);
}

/// Gives the name of the member that decides.
fn write_thinking(
    body: &Object<'_>,
    told: Thinking,
    chat: &mut ObjectWriter<'_>,
    dropped: &mut Dropped,
) -> &'static str {
    let thinking = body.get("thinking").and_then(|thinking| thinking.object());
    let kind = thinking.as_ref().and_then(|thinking| thinking.get("type")?.as_str());
    let budget = thinking.as_ref().and_then(|thinking| thinking.get("budget_tokens"));
    let output = body.get("output_config").and_then(|output| output.object());
    let asked = output.as_ref().and_then(|output| output.get("effort")?.as_str());
    let is_enabled = kind.as_deref() == Some("enabled");
    let effort = match kind.as_deref() {
        Some("enabled") => match budget.and_then(|budget| budget.as_u64()).unwrap_or(0) {
            0..LOW_BUDGET => Some("low"),
            LOW_BUDGET..MEDIUM_BUDGET => Some("medium"),
            MEDIUM_BUDGET.. => Some("high"),
        },
        Some("adaptive") => Some(asked.as_deref().map_or("medium", effort)),
        // A switch stays off unless thinking itself is asked for.
        None if told != Thinking::Switch => asked.as_deref().map(effort),
        _ => None,
    };
    let budget = budget.filter(|budget| is_enabled && budget.as_u64().is_some_and(|budget| budget > 0));
    told.ask(effort, budget, chat);
    let is_off = told == Thinking::Switch && kind.as_deref() == Some("disabled");
    if effort.is_none() && !is_off && member(body, "thinking").is_some() {
        dropped.name("thinking");
    } else if let Some(thinking) = thinking {
        let known: &[&str] = if told == Thinking::Switch { &["type"] } else { &["type", "budget_tokens"] };
        drop_others(&thinking, "thinking", known, dropped);
    }
    if asked.is_some() && (told == Thinking::Switch || is_enabled || effort.is_none()) {
        dropped.name("output_config.effort");
    }
    if kind.is_some() { "thinking" } else { "output_config.effort" }
}

/// How much thinking is asked for, in OpenAI's words that all of its models know.
fn effort(asked: &str) -> &'static str {
    match asked {
        "low" => "low",
        "high" | "xhigh" | "max" => "high",
        _ => "medium",
    }
}

/// The form of the answer, by [its newer name or the one before](https://docs.claude.com/en/docs/build-with-claude/structured-outputs).
fn write_format(body: &Object<'_>, chat: &mut ObjectWriter<'_>, dropped: &mut Dropped) -> Result<(), Fault> {
    let root = Place::of("output_config");
    let output = member(body, "output_config").map(|output| root.object(Some(output))).transpose()?;
    if let Some(output) = &output {
        drop_others(output, "output_config", &["effort", "format"], dropped);
    }
    let (place, name) = match output.as_ref().and_then(|output| member(output, "format")) {
        Some(format) => (root.member("format"), Some(format)),
        None => (Place::of("output_format"), member(body, "output_format")),
    };
    let Some(format) = name else { return Ok(()) };
    let schema = format.object().filter(|format| is_of(format, "type", "json_schema"));
    let schema = schema.and_then(|format| format.get("schema")).filter(|it| it.kind() == Kind::Object);
    let schema = schema.ok_or_else(|| place.expected("a `json_schema` with its `schema`"))?;
    let mut format = ObjectWriter::open(chat.member("response_format"));
    format.raw("type", br#""json_schema""#);
    let mut named = ObjectWriter::open(format.member("json_schema"));
    named.text("name", FORMAT_NAME);
    named.raw("schema", schema.text());
    if is_strict(schema) {
        named.raw("strict", b"true");
    }
    named.close();
    format.close();
    Ok(())
}

/// Whether [OpenAI](https://platform.openai.com/docs/guides/structured-outputs#supported-schemas) would keep to this
/// schema: no object in it may have other members than the ones it lists, and all of those are required. Anthropic
/// lets some be left out; OpenAI refuses to be strict about such a schema, but not to follow it.
fn is_strict(schema: Raw<'_>) -> bool {
    if let Some(elements) = schema.elements() {
        return elements.into_iter().all(is_strict);
    }
    let Some(schema) = schema.object() else { return true };
    let is_closed = schema.get("additionalProperties").is_some_and(|more| more.as_bool() == Some(false));
    let required = schema.get("required").and_then(|required| required.elements()).unwrap_or_default();
    let is_required = |name: &str| required.iter().any(|required| required.is(name));
    let fits = match schema.get("properties").and_then(|properties| properties.object()) {
        Some(properties) => is_closed && properties.members().all(|(name, _)| is_required(&name)),
        None => !is_of(&schema, "type", "object") || is_closed,
    };
    fits && schema.members().all(|(_, value)| is_strict(value))
}

fn write_tools(body: &Object<'_>, chat: &mut ObjectWriter<'_>, dropped: &mut Dropped) -> Result<(), Fault> {
    let mut tools = Vec::new();
    let mut none_sent = true;
    let sent = member(body, "tools").map(|tools| Place::of("tools").objects(Some(tools), "a list of tools"));
    for tool in sent.transpose()?.into_iter().flatten() {
        let (_, tool) = tool?;
        none_sent = false;
        match member(&tool, "type").map(|kind| kind.as_str().unwrap_or_default()) {
            Some(kind) if kind != "custom" => dropped.member("tools", &kind),
            _ => tools.push(tool),
        }
    }
    if !tools.is_empty() {
        let mut list = ArrayWriter::open(chat.member("tools"));
        for tool in &tools {
            write_tool(tool, list.element(), dropped);
        }
        list.close();
    }
    let Some(choice) = member(body, "tool_choice") else { return Ok(()) };
    // Nothing can be chosen of what is not there; a client that sent no tools is told so by the vendor.
    if tools.is_empty() && !none_sent {
        dropped.name("tool_choice");
        return Ok(());
    }
    write_choice(choice, chat, dropped)
}

fn write_tool(tool: &Object<'_>, out: &mut Vec<u8>, dropped: &mut Dropped) {
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
    drop_others(tool, "tools", &["type", "name", "description", "input_schema", "strict"], dropped);
}

fn write_choice(choice: Raw<'_>, chat: &mut ObjectWriter<'_>, dropped: &mut Dropped) -> Result<(), Fault> {
    let root = Place::of("tool_choice");
    let choice = root.object(Some(choice))?;
    let kind = choice.get("type").and_then(|kind| kind.as_str());
    match kind.as_deref() {
        Some("auto") => chat.text("tool_choice", "auto"),
        Some("any") => chat.text("tool_choice", "required"),
        Some("none") => chat.text("tool_choice", "none"),
        Some("tool") => {
            let name = root.text_of(&choice, "name")?;
            let mut named = ObjectWriter::open(chat.member("tool_choice"));
            named.raw("type", br#""function""#);
            let mut function = ObjectWriter::open(named.member("function"));
            function.raw("name", name.text());
            function.close();
            named.close();
        }
        _ => return Err(root.member("type").expected("`auto`, `any`, `none` or `tool`")),
    }
    // Side by side is what all do unasked, and some models refuse to be told:
    // https://github.com/run-llama/llama_index/issues/20865.
    if choice.get("disable_parallel_tool_use").is_some_and(|value| value.as_bool() == Some(true)) {
        chat.raw("parallel_tool_calls", b"false");
    }
    drop_others(&choice, "tool_choice", &["type", "name", "disable_parallel_tool_use"], dropped);
    Ok(())
}
