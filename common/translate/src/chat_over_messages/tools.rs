//! A chat's tools, and the choice among them.

use common::http::Fault;
use common::json::{ArrayWriter, Kind, Object, ObjectWriter, Raw};

use super::conversation::cache_control;
use super::request::{object, patched, text};
use crate::Dropped;
use crate::read::{copy, is_of, list, member, misfit, name_rest};

/// The search of the web that all models know which know any:
/// <https://docs.anthropic.com/en/docs/agents-and-tools/tool-use/web-search-tool>.
const SEARCH: &[u8] = br#""web_search_20250305""#;

/// One of a chat's tools.
enum Tool<'a> {
    Function {
        place: String,
        function: Object<'a>,
        /// What it stands in.
        tool: Option<Object<'a>>,
    },
    /// One of Anthropic's own, in its words.
    Other(Raw<'a>),
    Search(Object<'a>),
}

/// What a model has to call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Choice<'a> {
    Unsaid,
    Auto,
    Any,
    None,
    /// The JSON of a name.
    Named(&'a [u8]),
}

/// Writes tools and choice.
///
/// # Errors
/// They are none, or of a kind that the vendor does not have.
pub(super) fn write(
    chat: &Object<'_>,
    thinks: bool,
    request: &mut ObjectWriter<'_>,
    dropped: &mut Dropped,
) -> Result<(), Fault> {
    let mut tools = tools(chat)?;
    let (name, mut choice) = choice(chat)?;
    if let Some(allowed) = allowed(chat)? {
        tools.retain(|tool| tool.is_one_of(&allowed));
    }
    if tools.is_empty() {
        return match choice {
            Choice::Any | Choice::Named(_) => Err(misfit(name, "tools to choose from")),
            _ => Ok(()),
        };
    }
    let mut list = ArrayWriter::open(request.member("tools"));
    for tool in &tools {
        tool.write(list.element(), dropped)?;
    }
    list.close();
    if thinks && matches!(choice, Choice::Any | Choice::Named(_)) {
        // https://docs.anthropic.com/en/docs/build-with-claude/extended-thinking#extended-thinking-with-tool-use
        choice = Choice::Auto;
        dropped.name(name);
    }
    // As functions they are called one by one.
    let is_single = member(chat, "functions").is_some() && member(chat, "tools").is_none();
    let parallel = member(chat, "parallel_tool_calls").and_then(|parallel| parallel.as_bool());
    let one_by_one = is_single || parallel == Some(false);
    let kind: &[u8] = match choice {
        Choice::Unsaid if !one_by_one => return Ok(()),
        Choice::Unsaid | Choice::Auto => br#""auto""#,
        Choice::Any => br#""any""#,
        Choice::None => br#""none""#,
        Choice::Named(_) => br#""tool""#,
    };
    let mut written = ObjectWriter::open(request.member("tool_choice"));
    written.raw("type", kind);
    if let Choice::Named(name) = choice {
        written.raw("name", name);
    }
    if one_by_one && choice != Choice::None {
        written.raw("disable_parallel_tool_use", b"true");
    }
    written.close();
    Ok(())
}

fn tools<'a>(chat: &Object<'a>) -> Result<Vec<Tool<'a>>, Fault> {
    let mut tools = Vec::new();
    for (at, value) in list(chat, "tools")?.into_iter().enumerate() {
        let place = format!("tools.{at}");
        let tool = object(&place, Some(value))?;
        let kind = tool.get("type").and_then(|kind| kind.as_str());
        tools.push(match kind.as_deref() {
            Some("function") | None => {
                let place = format!("{place}.function");
                let function = object(&place, tool.get("function"))?;
                Tool::Function { place, function, tool: Some(tool) }
            }
            // What a model gives such a tool is a text of any kind, and here it is always an object.
            Some("custom") => return Err(misfit(&format!("{place}.type"), "`function`")),
            Some(_) => Tool::Other(value),
        });
    }
    for (at, value) in list(chat, "functions")?.into_iter().enumerate() {
        let place = format!("functions.{at}");
        let function = object(&place, Some(value))?;
        tools.push(Tool::Function { place, function, tool: None });
    }
    if let Some(search) = member(chat, "web_search_options") {
        tools.push(Tool::Search(object("web_search_options", Some(search))?));
    }
    Ok(tools)
}

/// The choice, and the name of the member that makes it.
fn choice<'a>(chat: &Object<'a>) -> Result<(&'static str, Choice<'a>), Fault> {
    if let Some(value) = member(chat, "tool_choice") {
        let place = "tool_choice";
        let Some(choice) = value.object() else { return Ok((place, chosen(place, value)?)) };
        let kind = choice.get("type").and_then(|kind| kind.as_str());
        let choice = match kind.as_deref() {
            Some("function") => named("tool_choice.function", choice.get("function"))?,
            Some("allowed_tools") => {
                let allowed = object("tool_choice.allowed_tools", choice.get("allowed_tools"))?;
                let mode = allowed.get("mode");
                mode.map_or(Ok(Choice::Auto), |mode| chosen("tool_choice.allowed_tools.mode", mode))?
            }
            _ => return Err(misfit("tool_choice.type", "`function` or `allowed_tools`")),
        };
        return Ok((place, choice));
    }
    let place = "function_call";
    let choice = match member(chat, place) {
        None => Choice::Unsaid,
        Some(value) if value.kind() == Kind::Object => named(place, Some(value))?,
        Some(value) => chosen(place, value)?,
    };
    Ok((place, choice))
}

fn chosen<'a>(place: &str, value: Raw<'_>) -> Result<Choice<'a>, Fault> {
    match value.as_str().as_deref() {
        Some("auto") => Ok(Choice::Auto),
        Some("required") => Ok(Choice::Any),
        Some("none") => Ok(Choice::None),
        _ => Err(misfit(place, "`auto`, `required`, `none` or an object")),
    }
}

fn named<'a>(place: &str, function: Option<Raw<'a>>) -> Result<Choice<'a>, Fault> {
    let function = object(place, function)?;
    Ok(Choice::Named(text(&format!("{place}.name"), function.get("name"))?.text()))
}

/// The names of the only tools that may be called, where a choice says which.
fn allowed<'a>(chat: &Object<'a>) -> Result<Option<Vec<Raw<'a>>>, Fault> {
    let choice = member(chat, "tool_choice").and_then(|choice| choice.object());
    let Some(choice) = choice.filter(|choice| is_of(choice, "type", "allowed_tools")) else {
        return Ok(None);
    };
    let place = "tool_choice.allowed_tools.tools";
    let allowed = choice.get("allowed_tools").and_then(|allowed| allowed.object()?.get("tools")?.elements());
    let allowed = allowed.ok_or_else(|| misfit(place, "a list of tools"))?;
    let name = |(at, tool): (usize, Raw<'a>)| {
        let place = format!("{place}.{at}");
        let tool = object(&place, Some(tool))?;
        let function = object(&format!("{place}.function"), tool.get("function"))?;
        text(&format!("{place}.function.name"), function.get("name"))
    };
    allowed.into_iter().enumerate().map(name).collect::<Result<_, Fault>>().map(Some)
}

impl Tool<'_> {
    fn is_one_of(&self, names: &[Raw<'_>]) -> bool {
        let Self::Function { function, .. } = self else { return matches!(self, Self::Search(_)) };
        let name = function.get("name").and_then(|name| name.as_str());
        name.is_some_and(|name| names.iter().any(|allowed| allowed.as_str().as_ref() == Some(&name)))
    }

    fn write(&self, out: &mut Vec<u8>, dropped: &mut Dropped) -> Result<(), Fault> {
        match self {
            Self::Function { place, function, tool } => {
                write_function(place, function, tool.as_ref(), out, dropped)
            }
            Self::Other(tool) => {
                out.extend_from_slice(tool.text());
                Ok(())
            }
            Self::Search(options) => {
                write_search(options, out, dropped);
                Ok(())
            }
        }
    }
}

fn write_function(
    place: &str,
    function: &Object<'_>,
    tool: Option<&Object<'_>>,
    out: &mut Vec<u8>,
    dropped: &mut Dropped,
) -> Result<(), Fault> {
    let mut written = ObjectWriter::open(out);
    written.raw("name", text(&format!("{place}.name"), function.get("name"))?.text());
    copy(function, &["description", "strict"], &mut written);
    match member(function, "parameters") {
        None => written.raw("input_schema", br#"{"type":"object","properties":{}}"#),
        Some(parameters) => {
            let schema = object(&format!("{place}.parameters"), Some(parameters))?;
            match member(&schema, "type") {
                Some(_) => written.raw("input_schema", parameters.text()),
                None => written.raw("input_schema", &patched(parameters, &[("type", br#""object""#)])),
            }
        }
    }
    let control = cache_control(function, dropped).or_else(|| cache_control(tool?, dropped));
    if let Some(control) = control {
        written.raw("cache_control", control);
    }
    written.close();
    let is_known =
        |name: &str| matches!(name, "name" | "description" | "parameters" | "strict" | "cache_control");
    let names = if tool.is_some() { "tools.function." } else { "functions." };
    name_rest(function, names, is_known, dropped);
    if let Some(tool) = tool {
        let is_known = |name: &str| matches!(name, "type" | "function" | "cache_control");
        name_rest(tool, "tools.", is_known, dropped);
    }
    Ok(())
}

fn write_search(options: &Object<'_>, out: &mut Vec<u8>, dropped: &mut Dropped) {
    let mut tool = ObjectWriter::open(out);
    tool.raw("type", SEARCH);
    tool.raw("name", br#""web_search""#);
    let location = member(options, "user_location").and_then(|location| location.object());
    if let Some(place) = location.and_then(|location| location.get("approximate")?.object()) {
        let mut location = ObjectWriter::open(tool.member("user_location"));
        location.raw("type", br#""approximate""#);
        copy(&place, &["city", "country", "region", "timezone"], &mut location);
        location.close();
    }
    tool.close();
    name_rest(options, "web_search_options.", |name| name == "user_location", dropped);
}
