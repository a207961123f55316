//! Tools, and which of them may be called.

use std::borrow::Cow;

use common::http::Fault;
use common::json::{self, ArrayWriter, Object, ObjectWriter, Patch, Raw};

use crate::translate::Dropped;
use crate::translate::read::{copy, inner, is_of, list, member, misfit, name_rest, objects, text};

/// The schema of a function that takes nothing.
const NOTHING: &[u8] = br#"{"type":"object","properties":{}}"#;

/// What is to be called.
enum Choice<'a> {
    Auto,
    /// Any tool.
    Any,
    None,
    /// This one, by the JSON of its name.
    Tool(Raw<'a>),
}

/// What a chat lets a model call.
struct Chosen<'a> {
    choice: Option<Choice<'a>>,
    /// Only these, if any are named.
    allowed: Option<Vec<Cow<'a, str>>>,
}

/// Writes tools and choice. A model that `thinks` cannot be forced to call one.
pub(super) fn write(
    chat: &Object<'_>,
    thinks: bool,
    request: &mut ObjectWriter<'_>,
    dropped: &mut Dropped,
) -> Result<(), Fault> {
    let chosen = Chosen::of(chat)?;
    let (tools, functions) = (list(chat, "tools")?, list(chat, "functions")?);
    if tools.is_empty() && functions.is_empty() {
        return Ok(());
    }
    let mut written = ArrayWriter::open(request.member("tools"));
    let mut any = false;
    for (at, tool) in tools.into_iter().enumerate() {
        let place = format!("tools.{at}");
        let object = tool.object().ok_or_else(|| misfit(&place, "an object"))?;
        if is_of(&object, "type", "custom") {
            let expected = "`function`, since the upstream has no tools of other forms";
            return Err(misfit(&format!("{place}.type"), expected));
        }
        if !is_of(&object, "type", "function") {
            // No chat has others, and what they are the vendor knows.
            any = true;
            written.element().extend_from_slice(tool.text());
            continue;
        }
        let function = inner(&place, &object, "function")?;
        if chosen.lets(&function) {
            any = true;
            write_tool(&format!("{place}.function"), &function, Some(&object), written.element())?;
            name_function_rest("tools.function.", &function, dropped);
            let is_known = |name: &str| matches!(name, "type" | "function" | "cache_control");
            name_rest(&object, "tools.", is_known, dropped);
        }
    }
    for (at, function) in functions.iter().enumerate() {
        let place = format!("functions.{at}");
        let function = function.object().ok_or_else(|| misfit(&place, "an object"))?;
        if chosen.lets(&function) {
            any = true;
            write_tool(&place, &function, None, written.element())?;
            name_function_rest("functions.", &function, dropped);
        }
    }
    written.close();
    if any {
        chosen.write(chat, thinks, request, dropped);
    }
    Ok(())
}

fn name_function_rest(place: &str, function: &Object<'_>, dropped: &mut Dropped) {
    let is_known =
        |name: &str| matches!(name, "name" | "description" | "parameters" | "strict" | "cache_control");
    name_rest(function, place, is_known, dropped);
}

fn write_tool(
    place: &str,
    function: &Object<'_>,
    outer: Option<&Object<'_>>,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    let mut tool = ObjectWriter::open(out);
    tool.raw("name", text(place, function, "name")?.text());
    copy(function, &["description"], &mut tool);
    match member(function, "parameters") {
        None => tool.raw("input_schema", NOTHING),
        Some(schema) => {
            let object =
                schema.object().ok_or_else(|| misfit(&format!("{place}.parameters"), "an object"))?;
            if object.is_empty() {
                tool.raw("input_schema", NOTHING);
            } else if member(&object, "type").is_some() {
                tool.raw("input_schema", schema.text());
            } else {
                tool.raw("input_schema", &with_type(schema));
            }
        }
    }
    copy(function, &["strict"], &mut tool);
    let control = outer.and_then(|outer| member(outer, "cache_control"));
    if let Some(control) = control.or_else(|| member(function, "cache_control")) {
        tool.raw("cache_control", control.text());
    }
    tool.close();
    Ok(())
}

/// Anthropic wants to be told that arguments are an object.
fn with_type(schema: Raw<'_>) -> Vec<u8> {
    let Ok(object) = json::object(schema.text()) else { return schema.text().to_vec() };
    let mut patch = Patch::new(schema.text());
    patch.set(&object, "type", br#""object""#);
    patch.finish()
}

impl<'a> Chosen<'a> {
    fn of(chat: &Object<'a>) -> Result<Self, Fault> {
        let simple = |choice| Ok(Self { choice: Some(choice), allowed: None });
        let Some(value) = member(chat, "tool_choice").or_else(|| member(chat, "function_call")) else {
            return Ok(Self { choice: None, allowed: None });
        };
        let unknown =
            || misfit("tool_choice", "`auto`, `none`, `required` or an object that names a function");
        if let Some(word) = value.as_str() {
            return match &*word {
                "auto" => simple(Choice::Auto),
                "required" | "any" => simple(Choice::Any),
                "none" => simple(Choice::None),
                _ => Err(unknown()),
            };
        }
        let object = value.object().ok_or_else(unknown)?;
        if let Some(allowed) = member(&object, "allowed_tools").and_then(|allowed| allowed.object()) {
            return Self::allowed(&allowed);
        }
        // Before there were tools a function was named without being told from others.
        let function = member(&object, "function").and_then(|function| function.object()).unwrap_or(object);
        simple(Choice::Tool(text("tool_choice.function", &function, "name")?))
    }

    fn allowed(allowed: &Object<'a>) -> Result<Self, Fault> {
        let place = "tool_choice.allowed_tools.tools";
        let tools = member(allowed, "tools").ok_or_else(|| misfit(place, "a list of tools"))?;
        let name = |(place, tool): (String, Object<'a>)| {
            let function = inner(&place, &tool, "function")?;
            let name = text(&format!("{place}.function"), &function, "name")?;
            Ok(name.as_str().unwrap_or_default())
        };
        let names =
            objects(place, tools, "a list of tools")?.into_iter().map(name).collect::<Result<_, Fault>>()?;
        let choice = if is_of(allowed, "mode", "required") { Choice::Any } else { Choice::Auto };
        Ok(Self { choice: Some(choice), allowed: Some(names) })
    }

    /// Whether a function is among those that may be called.
    fn lets(&self, function: &Object<'_>) -> bool {
        let name = function.get("name").and_then(|name| name.as_str()).unwrap_or_default();
        self.allowed.as_ref().is_none_or(|allowed| allowed.contains(&name))
    }

    fn write(self, chat: &Object<'_>, thinks: bool, request: &mut ObjectWriter<'_>, dropped: &mut Dropped) {
        let one_by_one = member(chat, "parallel_tool_calls").is_some_and(|value| value.as_bool() == Some(false))
            // A function of the old kind is called alone.
            || (member(chat, "functions").is_some() && member(chat, "tools").is_none());
        let choice = match self.choice {
            None if !one_by_one => return,
            Some(Choice::Any | Choice::Tool(_)) if thinks => {
                dropped.name("tool_choice");
                Choice::Auto
            }
            choice => choice.unwrap_or(Choice::Auto),
        };
        let mut written = ObjectWriter::open(request.member("tool_choice"));
        let calls = !matches!(choice, Choice::None);
        match choice {
            Choice::Auto => written.raw("type", br#""auto""#),
            Choice::Any => written.raw("type", br#""any""#),
            Choice::None => written.raw("type", br#""none""#),
            Choice::Tool(name) => {
                written.raw("type", br#""tool""#);
                written.raw("name", name.text());
            }
        }
        if one_by_one && calls {
            written.raw("disable_parallel_tool_use", b"true");
        }
        written.close();
    }
}
