//! Tools: which of them an answer calls, and with what arguments.

use serde_json::{Map, Value, json};

use super::fault::Fault;
use super::input::Input;
use super::text;

/// Schemas nest; beyond this depth a value is null.
const DEEPEST: usize = 8;

/// A tool of a request.
struct Tool<'a> {
    name: &'a str,
    parameters: &'a Value,
}

/// A call of a tool.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) arguments: String,
}

impl Call {
    /// As it stands in a message.
    pub(super) fn json(&self) -> Value {
        let function = json!({ "name": self.name, "arguments": self.arguments });
        json!({ "id": self.id, "type": "function", "function": function })
    }
}

/// The calls that answer a text: of each tool it mentions, or of the one that must be called.
pub(super) fn calls(input: &Input, said: &str, seed: u64) -> Result<Vec<Call>, Fault> {
    let tools = read(input)?;
    let mentioned = || tools.iter().filter(|tool| is_mentioned(tool.name, said));
    let chosen: Vec<&Tool<'_>> = match choice(input, &tools)? {
        Choice::None => Vec::new(),
        Choice::Auto => mentioned().collect(),
        Choice::Required if mentioned().next().is_none() => tools.iter().take(1).collect(),
        Choice::Required => mentioned().collect(),
        Choice::Named(name) => tools.iter().filter(|tool| tool.name == name).collect(),
    };
    let most = if input.flag("parallel_tool_calls")?.unwrap_or(true) { usize::MAX } else { 1 };
    let calls = chosen.into_iter().take(most).enumerate().map(|(index, tool)| Call {
        id: format!("call_{seed:016x}{index}"),
        name: tool.name.to_owned(),
        arguments: sample(tool.parameters, said, DEEPEST).to_string(),
    });
    Ok(calls.collect())
}

fn read(input: &Input) -> Result<Vec<Tool<'_>>, Fault> {
    let tools = input.list("tools")?.unwrap_or_default().iter().enumerate();
    tools
        .map(|(index, tool)| {
            let at = format!("tools[{index}]");
            if tool["type"] != "function" {
                return Err(Fault::wrong_value(format!("{at}.type"), "`function`"));
            }
            let name = tool["function"]["name"].as_str().filter(|name| is_name(name));
            let name = name.ok_or_else(|| Fault::wrong_value(format!("{at}.function.name"), "a name"))?;
            let parameters = &tool["function"]["parameters"];
            if !parameters.is_object() && !parameters.is_null() {
                return Err(Fault::wrong_type(format!("{at}.function.parameters"), "a JSON schema"));
            }
            Ok(Tool { name, parameters })
        })
        .collect()
}

fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}

enum Choice<'a> {
    None,
    Auto,
    Required,
    Named(&'a str),
}

fn choice<'a>(input: &'a Input, tools: &[Tool<'_>]) -> Result<Choice<'a>, Fault> {
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
    let name = choice["function"]["name"].as_str().filter(|name| tools.iter().any(|tool| tool.name == *name));
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
    fn arguments_in_pieces_make_the_arguments() {
        let arguments = r#"{"city":"São Paulo","days":[1,2]}"#.to_owned();
        let call = Call { id: String::new(), name: String::new(), arguments };
        assert!(pieces(&call).len() > 4);
        assert_eq!(pieces(&call).concat(), call.arguments);
    }
}
