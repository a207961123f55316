//! A chat's tools, and the choice among them.

use common::http::Fault;
use common::json::{ArrayWriter, Kind, Object, ObjectWriter, Raw};

use super::conversation::cache_control;
use super::request::patched;
use super::schema;
use crate::Dropped;
use crate::chat::{drop_others, list};
use crate::place::Place;
use crate::read::{copy, is_of, member};

/// The two lists in which functions stand, and where they are chosen from.
const TOOLS: Place<'_> = Place::Member(&Place::Request, "tools");
const FUNCTIONS: Place<'_> = Place::Member(&Place::Request, "functions");
const CHOICE: Place<'_> = Place::Member(&Place::Request, "tool_choice");
const ALLOWED: Place<'_> = Place::Member(&CHOICE, "allowed_tools");

/// The search of the web that all models know which know any:
/// <https://docs.anthropic.com/en/docs/agents-and-tools/tool-use/web-search-tool>.
const SEARCH: &[u8] = br#""web_search_20250305""#;

/// One of a chat's tools.
enum Tool<'a> {
    Function {
        /// Its number in its list.
        at: usize,
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

/// Writes tools and choice. `may_choose`: the model takes a choice that makes it call.
///
/// # Errors
/// They are none, or of a kind that the vendor does not have.
pub(super) fn write(
    chat: &Object<'_>,
    may_choose: bool,
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
            Choice::Any | Choice::Named(_) => Err(Place::of(name).expected("tools to choose from")),
            _ => Ok(()),
        };
    }
    let mut list = ArrayWriter::open(request.member("tools"));
    for tool in &tools {
        tool.write(list.element(), dropped)?;
    }
    list.close();
    if !may_choose && matches!(choice, Choice::Any | Choice::Named(_)) {
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
        let place = TOOLS.element(at);
        let tool = place.object(Some(value))?;
        let kind = tool.get("type").and_then(|kind| kind.as_str());
        tools.push(match kind.as_deref() {
            Some("function") | None => {
                Tool::Function { at, function: place.object_of(&tool, "function")?, tool: Some(tool) }
            }
            // What a model gives such a tool is a text of any kind, and here it is always an object.
            Some("custom") => return Err(place.member("type").expected("`function`")),
            Some(_) => Tool::Other(value),
        });
    }
    for (at, value) in list(chat, "functions")?.into_iter().enumerate() {
        let function = FUNCTIONS.element(at).object(Some(value))?;
        tools.push(Tool::Function { at, function, tool: None });
    }
    if let Some(search) = member(chat, "web_search_options") {
        tools.push(Tool::Search(Place::of("web_search_options").object(Some(search))?));
    }
    Ok(tools)
}

/// The choice, and the name of the member that makes it.
fn choice<'a>(chat: &Object<'a>) -> Result<(&'static str, Choice<'a>), Fault> {
    if let Some(value) = member(chat, "tool_choice") {
        let name = "tool_choice";
        let Some(choice) = value.object() else { return Ok((name, chosen(CHOICE, value)?)) };
        let kind = choice.get("type").and_then(|kind| kind.as_str());
        let choice = match kind.as_deref() {
            Some("function") => named(CHOICE.member("function"), choice.get("function"))?,
            Some("allowed_tools") => {
                let mode = ALLOWED.object(choice.get("allowed_tools"))?.get("mode");
                mode.map_or(Ok(Choice::Auto), |mode| chosen(ALLOWED.member("mode"), mode))?
            }
            _ => return Err(CHOICE.member("type").expected("`function` or `allowed_tools`")),
        };
        return Ok((name, choice));
    }
    let name = "function_call";
    let place = Place::of(name);
    let choice = match member(chat, name) {
        None => Choice::Unsaid,
        Some(value) if value.kind() == Kind::Object => named(place, Some(value))?,
        Some(value) => chosen(place, value)?,
    };
    Ok((name, choice))
}

fn chosen<'a>(place: Place<'_>, value: Raw<'_>) -> Result<Choice<'a>, Fault> {
    match value.as_str().as_deref() {
        Some("auto") => Ok(Choice::Auto),
        Some("required") => Ok(Choice::Any),
        Some("none") => Ok(Choice::None),
        _ => Err(place.expected("`auto`, `required`, `none` or an object")),
    }
}

fn named<'a>(place: Place<'_>, function: Option<Raw<'a>>) -> Result<Choice<'a>, Fault> {
    Ok(Choice::Named(place.text_of(&place.object(function)?, "name")?.text()))
}

/// The names of the only tools that may be called, where a choice says which.
fn allowed<'a>(chat: &Object<'a>) -> Result<Option<Vec<Raw<'a>>>, Fault> {
    let choice = member(chat, "tool_choice").and_then(|choice| choice.object());
    let Some(choice) = choice.filter(|choice| is_of(choice, "type", "allowed_tools")) else {
        return Ok(None);
    };
    let place = ALLOWED.member("tools");
    let allowed = choice.get("allowed_tools").and_then(|allowed| allowed.object()?.get("tools"));
    let name = |tool| {
        let (at, tool): (usize, Object<'a>) = tool?;
        let place = place.element(at);
        let function = place.object_of(&tool, "function")?;
        place.member("function").text_of(&function, "name")
    };
    place.objects(allowed, "a list of tools")?.map(name).collect::<Result<_, Fault>>().map(Some)
}

impl Tool<'_> {
    fn is_one_of(&self, names: &[Raw<'_>]) -> bool {
        let Self::Function { function, .. } = self else { return matches!(self, Self::Search(_)) };
        let name = function.get("name").and_then(|name| name.as_str());
        name.is_some_and(|name| names.iter().any(|allowed| allowed.is(&name)))
    }

    fn write(&self, out: &mut Vec<u8>, dropped: &mut Dropped) -> Result<(), Fault> {
        match self {
            Self::Function { at, function, tool: None } => {
                write_function(FUNCTIONS.element(*at), function, None, out, dropped)
            }
            Self::Function { at, function, tool } => {
                let place = TOOLS.element(*at);
                write_function(place.member("function"), function, tool.as_ref(), out, dropped)
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
    place: Place<'_>,
    function: &Object<'_>,
    tool: Option<&Object<'_>>,
    out: &mut Vec<u8>,
    dropped: &mut Dropped,
) -> Result<(), Fault> {
    let mut written = ObjectWriter::open(out);
    written.raw("name", place.text_of(function, "name")?.text());
    copy(function, &["description", "strict"], &mut written);
    match member(function, "parameters") {
        None => written.raw("input_schema", br#"{"type":"object","properties":{}}"#),
        Some(parameters) => {
            let schema = place.member("parameters").object(Some(parameters))?;
            let typed;
            let mut text = parameters.text();
            if member(&schema, "type").is_none() {
                typed = patched(parameters.text(), &[("type", br#""object""#)]);
                text = &typed;
            }
            match member(function, "strict").and_then(|strict| strict.as_bool()) {
                Some(true) => schema::write(text, written.member("input_schema")),
                _ => written.raw("input_schema", text),
            }
        }
    }
    let control = cache_control(function, dropped).or_else(|| cache_control(tool?, dropped));
    if let Some(control) = control {
        written.raw("cache_control", control);
    }
    written.close();
    let of = if tool.is_some() { "tools.function" } else { "functions" };
    drop_others(function, of, &["name", "description", "parameters", "strict", "cache_control"], dropped);
    if let Some(tool) = tool {
        drop_others(tool, "tools", &["type", "function", "cache_control"], dropped);
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
    drop_others(options, "web_search_options", &["user_location"], dropped);
}
