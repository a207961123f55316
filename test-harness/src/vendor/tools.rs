//! Tools: which of them an answer calls, and with what arguments.

use serde_json::{Map, Value, json};

use super::fault::Fault;
use super::input::Input;
use super::text;

/// Schemas nest; beyond this depth a value is null.
pub(super) const DEEPEST: usize = 8;

/// A tool of a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tool<'a> {
    pub(super) name: &'a str,
    /// Its schema, or null.
    pub(super) parameters: &'a Value,
}

/// A call of a tool.
#[derive(Debug)]
pub(super) struct Call {
    seed: u64,
    index: usize,
    pub(super) name: String,
    pub(super) arguments: String,
}

impl Call {
    /// Its id, which begins as the ids of its API do.
    pub(super) fn id(&self, prefix: &str) -> String {
        format!("{prefix}_{:016x}{}", self.seed, self.index)
    }

    /// As it stands in a message of a chat.
    pub(super) fn json(&self) -> Value {
        let function = json!({ "name": self.name, "arguments": self.arguments });
        json!({ "id": self.id("call"), "type": "function", "function": function })
    }
}

/// The calls that answer a text: of each tool it mentions, or of the one that must be called.
pub(super) fn calls(
    tools: &[Tool<'_>],
    choice: Choice<'_>,
    is_parallel: bool,
    said: &str,
    seed: u64,
) -> Vec<Call> {
    let mentioned = || tools.iter().filter(|tool| is_mentioned(tool.name, said));
    let chosen: Vec<&Tool<'_>> = match choice {
        Choice::None => Vec::new(),
        Choice::Auto => mentioned().collect(),
        Choice::Required if mentioned().next().is_none() => tools.iter().take(1).collect(),
        Choice::Required => mentioned().collect(),
        Choice::Named(name) => tools.iter().filter(|tool| tool.name == name).collect(),
    };
    let most = if is_parallel { usize::MAX } else { 1 };
    let calls = chosen.into_iter().take(most).enumerate().map(|(index, tool)| Call {
        seed,
        index,
        name: tool.name.to_owned(),
        arguments: sample(tool.parameters, said, DEEPEST).to_string(),
    });
    calls.collect()
}

/// The tools of a chat.
pub(super) fn read(input: &Input) -> Result<Vec<Tool<'_>>, Fault> {
    let tools = input.list("tools")?.unwrap_or_default().iter().enumerate();
    tools
        .map(|(index, tool)| {
            let at = format!("tools[{index}]");
            if tool["type"] != "function" {
                return Err(Fault::wrong_value(format!("{at}.type"), "`function`"));
            }
            read_function(&format!("{at}.function"), &tool["function"])
        })
        .collect()
}

/// A function as OpenAI publishes it for chats and, without one level, for responses.
pub(super) fn read_function<'a>(at: &str, function: &'a Value) -> Result<Tool<'a>, Fault> {
    let name = function["name"].as_str().filter(|name| is_name(name, 64));
    let name = name.ok_or_else(|| Fault::wrong_value(format!("{at}.name"), "a name"))?;
    let parameters = &function["parameters"];
    if !parameters.is_object() && !parameters.is_null() {
        return Err(Fault::wrong_type(format!("{at}.parameters"), "a JSON schema"));
    }
    match &function["strict"] {
        Value::Null | Value::Bool(false) => {}
        Value::Bool(true) => check_closed(&format!("{at}.parameters"), parameters, true)?,
        _ => return Err(Fault::wrong_type(format!("{at}.strict"), "a boolean")),
    }
    Ok(Tool { name, parameters })
}

/// Refuses a schema that cannot be kept to: an object must say that it has no other members, and for OpenAI that it has
/// all of them: <https://platform.openai.com/docs/guides/structured-outputs>.
pub(super) fn check_closed(at: &str, schema: &Value, has_all: bool) -> Result<(), Fault> {
    if let Some(properties) = schema["properties"].as_object() {
        if schema["additionalProperties"] != false {
            return Err(Fault::wrong_value(at, "a schema whose `additionalProperties` is false"));
        }
        let required = schema["required"].as_array();
        let is_required =
            |name: &String| required.is_some_and(|required| required.iter().any(|other| other == name));
        if has_all && !properties.keys().all(is_required) {
            return Err(Fault::wrong_value(at, "a schema that has all properties in `required`"));
        }
        for (name, schema) in properties {
            check_closed(&format!("{at}.properties.{name}"), schema, has_all)?;
        }
    }
    match &schema["items"] {
        Value::Null => Ok(()),
        items => check_closed(&format!("{at}.items"), items, has_all),
    }
}

pub(super) fn is_name(name: &str, longest: usize) -> bool {
    (1..=longest).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}

/// Which tools may, or must, be called.
#[derive(Debug, Clone, Copy)]
pub(super) enum Choice<'a> {
    None,
    Auto,
    Required,
    Named(&'a str),
}

/// OpenAI's `tool_choice`; `name` finds the name in the choice of one tool.
pub(super) fn choice<'a>(
    input: &'a Input,
    tools: &[Tool<'_>],
    name: impl FnOnce(&'a Value) -> &'a Value,
) -> Result<Choice<'a>, Fault> {
    let Some(choice) = input.value("tool_choice") else { return Ok(Choice::Auto) };
    if tools.is_empty() && choice != "none" {
        return Err(Fault::wrong_value("tool_choice", "absent where there are no `tools`"));
    }
    match choice.as_str() {
        Some("none") => return Ok(Choice::None),
        Some("auto") => return Ok(Choice::Auto),
        Some("required") => return Ok(Choice::Required),
        _ => {}
    }
    let name = name(choice).as_str().filter(|name| tools.iter().any(|tool| tool.name == *name));
    name.map(Choice::Named)
        .ok_or_else(|| Fault::wrong_value("tool_choice", "one of the `tools`, or how to choose"))
}

/// Whether a text has a word of the tool's name in it; `get` and the like say nothing.
fn is_mentioned(name: &str, said: &str) -> bool {
    let said = said.to_ascii_lowercase();
    let mut words =
        said.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_' && letter != '-');
    let parts: Vec<String> = name.split(['_', '-']).map(str::to_ascii_lowercase).collect();
    words.any(|word| {
        word == name.to_ascii_lowercase() || (word.len() > 3 && parts.iter().any(|part| part == word))
    })
}

/// A value that fits a schema, with the last word that was said where a string is wanted.
pub(super) fn sample(schema: &Value, said: &str, depth: usize) -> Value {
    let first = |name: &str| schema[name].as_array().and_then(|items| items.first());
    if let Some(value) = schema.get("const").or_else(|| first("enum")).or_else(|| schema.get("default")) {
        return value.clone();
    }
    if depth == 0 {
        return Value::Null;
    }
    if let Some(schema) = first("anyOf").or_else(|| first("oneOf")).or_else(|| first("allOf")) {
        return sample(schema, said, depth - 1);
    }
    let kind = schema["type"].as_str().or_else(|| first("type")?.as_str());
    match kind {
        Some("string") => json!(last_word(said)),
        Some("integer") => schema.get("minimum").cloned().unwrap_or(json!(1)),
        Some("number") => schema.get("minimum").cloned().unwrap_or(json!(0.5)),
        Some("boolean") => json!(true),
        Some("null") => Value::Null,
        Some("array") => json!([sample(&schema["items"], said, depth - 1)]),
        _ => {
            let properties = schema["properties"].as_object().into_iter().flatten();
            let members: Map<String, Value> =
                properties.map(|(name, schema)| (name.clone(), sample(schema, said, depth - 1))).collect();
            Value::Object(members)
        }
    }
}

fn last_word(said: &str) -> &str {
    let word = said.split_whitespace().next_back().unwrap_or("nothing");
    word.trim_matches(|letter: char| !letter.is_alphanumeric())
}

/// The pieces in which arguments are streamed: the words of their text.
pub(super) fn pieces(call: &Call) -> Vec<&str> {
    let text = call.arguments.as_str();
    let mut cuts: Vec<usize> =
        text.char_indices().filter(|(_, letter)| matches!(letter, ':' | ',')).map(|(at, _)| at + 1).collect();
    cuts.insert(0, 0);
    cuts.push(text.len());
    cuts.windows(2).flat_map(|cut| text::pieces(&text[cut[0]..cut[1]])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_is_mentioned_by_a_word_of_its_name() {
        let check = |name: &str, said: &str, expected| {
            assert_eq!(is_mentioned(name, said), expected, "{name}: {said}");
        };
        check("get_weather", "How is the weather?", true);
        check("get_weather", "Use get_weather now", true);
        check("get_weather", "Please get me a coffee", false);
        check("get_weather", "I am weathered", false);
        check("run", "run it", true);
    }

    #[test]
    fn samples_fit_their_schema() {
        let schema = json!({ "type": "object", "properties": {
            "city": { "type": "string" },
            "unit": { "enum": ["celsius", "fahrenheit"] },
            "days": { "type": "integer", "minimum": 2 },
            "tags": { "type": "array", "items": { "type": ["string", "null"] } },
            "more": { "anyOf": [{ "type": "boolean" }, { "type": "null" }] },
        } });
        let expected =
            json!({ "city": "Rome", "unit": "celsius", "days": 2, "tags": ["Rome"], "more": true });
        assert_eq!(sample(&schema, "in Rome?", DEEPEST), expected);
        assert_eq!(sample(&Value::Null, "", DEEPEST), json!({}));
    }

    #[test]
    fn strict_schemas_are_closed() {
        let check = |schema: Value, has_all, expected: bool| {
            assert_eq!(check_closed("schema", &schema, has_all).is_ok(), expected, "{schema}");
        };
        let city = json!({ "city": { "type": "string" } });
        check(json!({ "type": "object", "properties": city }), false, false);
        check(json!({ "type": "object", "properties": city, "additionalProperties": false }), false, true);
        check(json!({ "type": "object", "properties": city, "additionalProperties": false }), true, false);
        let closed = json!({ "type": "object", "properties": city, "additionalProperties": false, "required": ["city"] });
        check(closed, true, true);
        check(json!({ "type": "array", "items": { "type": "object", "properties": city } }), false, false);
        check(Value::Null, true, true);
    }

    #[test]
    fn arguments_in_pieces_make_the_arguments() {
        let arguments = r#"{"city":"São Paulo","days":[1,2]}"#.to_owned();
        let call = Call { seed: 0, index: 0, name: String::new(), arguments };
        assert!(pieces(&call).len() > 4);
        assert_eq!(pieces(&call).concat(), call.arguments);
    }
}
