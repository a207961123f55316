//! Tools, as functions: a chat's vendors know no others.
//!
//! A custom tool becomes a function with one text, the local shell one with the members of its action, and those of
//! a namespace functions whose names begin with it. Calls of them are told apart by their names.

use std::borrow::Cow;

use common::http::Fault;
use common::json::{ArrayWriter, Kind as JsonKind, Object, ObjectWriter};

use super::request::drop_others;
use crate::Dropped;
use crate::place::Place;
use crate::read::{copy, member};

/// The name of the local shell's function.
pub(super) const SHELL: &str = "local_shell";

/// Longer names of functions are refused.
const MAX_NAME: usize = 64;

const CUSTOM_PARAMETERS: &[u8] = br#"{"type":"object","properties":{"input":{"type":"string","description":"The input of the tool, as it is."}},"required":["input"],"additionalProperties":false}"#;

const SHELL_DESCRIPTION: &str = "Runs a command on the user's machine and returns its output.";
const SHELL_PARAMETERS: &[u8] = br#"{"type":"object","properties":{"command":{"type":"array","items":{"type":"string"},"description":"The command to run and its arguments."},"env":{"type":"object","additionalProperties":{"type":"string"},"description":"Environment variables of the command."},"timeout_ms":{"type":"integer","description":"Milliseconds after which the command is ended."},"user":{"type":"string","description":"Who runs the command."},"working_directory":{"type":"string","description":"Where the command runs."}},"required":["command"],"additionalProperties":false}"#;

/// What a client knows a tool as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Function,
    Custom,
    Shell,
}

/// A tool whose function has another name or form than it.
#[derive(Debug)]
pub(super) struct Tool {
    /// The function's name.
    function: String,
    pub(super) kind: Kind,
    /// The client's name of it, as JSON.
    pub(super) name: Vec<u8>,
    /// As JSON.
    pub(super) namespace: Option<Vec<u8>>,
}

/// Those of a request.
#[derive(Debug, Default)]
pub(super) struct Tools(Vec<Tool>);

impl Tools {
    /// The tool whose function this is; `None`: it is the client's own.
    pub(super) fn find(&self, function: &str) -> Option<&Tool> {
        self.0.iter().find(|tool| tool.function == function)
    }
}

/// The name of a function of a namespace. One that is too long ends in a number that is its own.
pub(super) fn function_name<'n>(namespace: Option<&str>, name: &'n str) -> Cow<'n, str> {
    let Some(namespace) = namespace.filter(|namespace| !namespace.is_empty()) else {
        return Cow::Borrowed(name);
    };
    let between = if namespace.ends_with("__") { "" } else { "__" };
    let whole = format!("{namespace}{between}{name}");
    if whole.len() <= MAX_NAME {
        return Cow::Owned(whole);
    }
    // FNV-1a: <http://www.isthe.com/chongo/tech/comp/fnv/>.
    let hash =
        whole.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let end = (0..=MAX_NAME - 9).rev().find(|end| whole.is_char_boundary(*end)).unwrap_or(0);
    let start = whole.split_at_checked(end).map_or("", |(start, _)| start);
    Cow::Owned(format!("{start}_{hash:08x}"))
}

/// A tool as it is asked for.
struct Asked<'a> {
    tool: Object<'a>,
    kind: Kind,
    name: Cow<'a, str>,
    namespace: Option<Cow<'a, str>>,
    function: String,
}

/// What a client chooses of its tools.
enum Choice<'a> {
    /// Nothing is said.
    Unsaid,
    Word(Cow<'a, str>),
    One(Named<'a>),
    /// Some of them, and whether one of them must be called.
    Some(Vec<Named<'a>>, bool),
}

/// A tool as a choice names it.
struct Named<'a> {
    kind: Kind,
    name: Cow<'a, str>,
    namespace: Option<Cow<'a, str>>,
}

impl Named<'_> {
    fn is(&self, tool: &Asked<'_>) -> bool {
        self.kind == tool.kind
            && self.name == tool.name
            && (self.namespace.is_none() || self.namespace == tool.namespace)
    }
}

/// Writes the tools that are the client's, and which of them is to be called.
///
/// # Errors
/// They are none, or what must be called is not there.
pub(super) fn write_tools(
    body: &Object<'_>,
    dropped: &mut Dropped,
    chat: &mut ObjectWriter<'_>,
) -> Result<Tools, Fault> {
    let mut asked = Vec::new();
    if let Some(tools) = member(body, "tools") {
        let place = Place::of("tools");
        for tool in place.objects(Some(tools), "a list of tools")? {
            let (at, tool) = tool?;
            read(place.element(at), tool, None, dropped, &mut asked)?;
        }
    }
    let choice = choice(body, dropped)?;
    let place = Place::of("tool_choice");
    let required = match &choice {
        Choice::Unsaid => false,
        Choice::Word(word) => word == "required",
        Choice::One(named) => {
            if !asked.iter().any(|tool| named.is(tool)) {
                return Err(place.refused("this tool is not among the tools"));
            }
            true
        }
        Choice::Some(named, required) => {
            asked.retain(|tool| named.iter().any(|named| named.is(tool)));
            *required
        }
    };
    if asked.is_empty() {
        return if required {
            Err(place.refused("none of the tools that could be called is one that this vendor has"))
        } else {
            // Without tools a choice of them is refused.
            Ok(Tools::default())
        };
    }
    let mut list = ArrayWriter::open(chat.member("tools"));
    for tool in &asked {
        tool.write(dropped, list.element());
    }
    list.close();
    match &choice {
        Choice::Unsaid => {}
        Choice::Word(word) => chat.text("tool_choice", word),
        Choice::Some(..) => chat.text("tool_choice", if required { "required" } else { "auto" }),
        Choice::One(named) => {
            let mut outer = ObjectWriter::open(chat.member("tool_choice"));
            outer.raw("type", br#""function""#);
            let mut function = ObjectWriter::open(outer.member("function"));
            let tool = asked.iter().find(|tool| named.is(tool));
            function.text("name", tool.map_or(&*named.name, |tool| &tool.function));
            function.close();
            outer.close();
        }
    }
    if let Some(parallel) = member(body, "parallel_tool_calls") {
        chat.raw("parallel_tool_calls", parallel.text());
    }
    let disguised = |tool: &&Asked<'_>| tool.kind != Kind::Function || tool.namespace.is_some();
    Ok(Tools(asked.iter().filter(disguised).map(Asked::told_apart).collect()))
}

/// Takes a tool, or those of a namespace.
fn read<'a>(
    place: Place<'_>,
    tool: Object<'a>,
    namespace: Option<&Cow<'a, str>>,
    dropped: &mut Dropped,
    asked: &mut Vec<Asked<'a>>,
) -> Result<(), Fault> {
    let kind = place.text_of(&tool, "type")?.as_str().unwrap_or_default();
    let named = |kind: Kind| {
        let name = place.text_of(&tool, "name")?.as_str();
        name.map(|name| (kind, name)).ok_or_else(|| place.member("name").expected("a text"))
    };
    let (kind, name) = match &*kind {
        "function" => named(Kind::Function)?,
        "custom" => named(Kind::Custom)?,
        SHELL if namespace.is_none() => (Kind::Shell, Cow::Borrowed(SHELL)),
        "namespace" if namespace.is_none() => {
            let (_, name) = named(Kind::Function)?;
            drop_others(&tool, "tools", &["type", "name", "tools"], dropped);
            let place = place.member("tools");
            for tool in place.objects(tool.get("tools"), "a list of tools")? {
                let (at, tool) = tool?;
                read(place.element(at), tool, Some(&name), dropped, asked)?;
            }
            return Ok(());
        }
        // Run by OpenAI, or in a form that nobody else asks for.
        other => {
            let outer = if namespace.is_some() { "tools.tools" } else { "tools" };
            dropped.member(outer, other);
            return Ok(());
        }
    };
    let function = function_name(namespace.map(|namespace| &**namespace), &name).into_owned();
    asked.push(Asked { tool, kind, name, namespace: namespace.cloned(), function });
    Ok(())
}

impl Asked<'_> {
    fn told_apart(&self) -> Tool {
        Tool {
            function: self.function.clone(),
            kind: self.kind,
            name: common::json::string(&self.name),
            namespace: self.namespace.as_ref().map(|namespace| common::json::string(namespace)),
        }
    }

    fn write(&self, dropped: &mut Dropped, out: &mut Vec<u8>) {
        let place = if self.namespace.is_some() { "tools.tools" } else { "tools" };
        let mut entry = ObjectWriter::open(out);
        entry.raw("type", br#""function""#);
        let mut function = ObjectWriter::open(entry.member("function"));
        function.text("name", &self.function);
        let description = member(&self.tool, "description");
        match self.kind {
            Kind::Function => {
                drop_others(
                    &self.tool,
                    place,
                    &["type", "name", "description", "parameters", "strict"],
                    dropped,
                );
                copy(&self.tool, &["description", "parameters", "strict"], &mut function);
            }
            Kind::Custom => {
                drop_others(&self.tool, place, &["type", "name", "description", "format"], dropped);
                let described = description.and_then(|text| text.escaped()).unwrap_or_default();
                let format = self.tool.get("format").and_then(|format| format.object());
                let inside = |name: &str| format.as_ref().and_then(|format| format.get(name)?.escaped());
                let mut pieces = vec![described];
                // Nobody holds the model to it, so it has to know.
                if let Some(definition) = inside("definition") {
                    let between: &[u8] = if described.is_empty() { b"" } else { br"\n\n" };
                    let syntax = inside("syntax").unwrap_or_default();
                    pieces.extend([
                        between,
                        b"The input must match this ",
                        syntax,
                        br" grammar:\n",
                        definition,
                    ]);
                }
                if pieces.iter().any(|piece| !piece.is_empty()) {
                    function.pieces("description", pieces);
                }
                function.raw("parameters", CUSTOM_PARAMETERS);
            }
            Kind::Shell => {
                drop_others(&self.tool, place, &["type"], dropped);
                function.text("description", SHELL_DESCRIPTION);
                function.raw("parameters", SHELL_PARAMETERS);
            }
        }
        function.close();
        entry.close();
    }
}

fn choice<'a>(body: &Object<'a>, dropped: &mut Dropped) -> Result<Choice<'a>, Fault> {
    let place = Place::of("tool_choice");
    let expected = || place.expected("auto, none, required or an object with a type");
    let Some(choice) = member(body, "tool_choice") else { return Ok(Choice::Unsaid) };
    if choice.kind() == JsonKind::String {
        let word = choice.as_str().filter(|word| matches!(&**word, "auto" | "none" | "required"));
        return word.map(Choice::Word).ok_or_else(expected);
    }
    let choice = choice.object().ok_or_else(expected)?;
    let kind = choice.get("type").and_then(|kind| kind.as_str()).ok_or_else(expected)?;
    if kind == "allowed_tools" {
        let must = match choice.get("mode").and_then(|mode| mode.as_str()).as_deref() {
            Some("auto") => false,
            Some("required") => true,
            _ => return Err(place.member("mode").expected("auto or required")),
        };
        let place = place.member("tools");
        let mut named = Vec::new();
        for tool in place.objects(choice.get("tools"), "a list of tools")? {
            let (at, tool) = tool?;
            match name_of(place.element(at), &tool)? {
                Some(tool) => named.push(tool),
                None => dropped.name("tool_choice.tools"),
            }
        }
        return Ok(Choice::Some(named, must));
    }
    let named = name_of(place, &choice)?;
    named.map(Choice::One).ok_or_else(|| place.refused("this vendor has no tool of this type"))
}

/// `None`: it is OpenAI's own.
fn name_of<'a>(place: Place<'_>, choice: &Object<'a>) -> Result<Option<Named<'a>>, Fault> {
    let kind = match choice.get("type").and_then(|kind| kind.as_str()).as_deref() {
        Some("function") => Kind::Function,
        Some("custom") => Kind::Custom,
        Some(SHELL) => return Ok(Some(Named { kind: Kind::Shell, name: SHELL.into(), namespace: None })),
        Some(_) => return Ok(None),
        None => return Err(place.member("type").expected("a text")),
    };
    let name = place.text_of(choice, "name")?.as_str().unwrap_or_default();
    Ok(Some(Named { kind, name, namespace: choice.get("namespace").and_then(|name| name.as_str()) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_a_namespace_are_short_and_their_own() {
        assert_eq!(function_name(None, "f"), "f");
        assert_eq!(function_name(Some(""), "f"), "f");
        assert_eq!(function_name(Some("mcp__s"), "f"), "mcp__s__f");
        assert_eq!(function_name(Some("mcp__s__"), "f"), "mcp__s__f");
        let long = |last: &str| function_name(Some(&"ü".repeat(40)), last).into_owned();
        assert!(long("a").len() <= MAX_NAME && long("a").starts_with("üü"), "{}", long("a"));
        assert_ne!(long("a"), long("b"));
        assert_eq!(long("a"), long("a"));
    }
}
