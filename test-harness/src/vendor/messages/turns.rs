//! The turns of a conversation, and what must stand in which.

use serde_json::Value;

use crate::vendor::fault::Fault;
use crate::vendor::input::only;
use crate::vendor::message::Message;
use crate::vendor::{picture, text, tools};

/// What proves that a thought was this vendor's.
pub(super) fn signature(thought: &str) -> String {
    format!("signed{:016x}", text::hash(thought.as_bytes()))
}

/// The system's prompt.
pub(super) fn system(system: &Value) -> Result<Message, Fault> {
    let mut message = Message::of("system");
    match system {
        Value::String(text) => message.say(text),
        Value::Array(blocks) => {
            for (index, block) in blocks.iter().enumerate() {
                message.say(text_block(&format!("system.{index}"), block)?);
            }
        }
        _ => return Err(Fault::wrong_type("system", "a string or an array of blocks")),
    }
    Ok(message)
}

/// All turns. Results of tools become messages of their own, as they are in chats.
pub(super) fn read(turns: &[Value]) -> Result<Vec<Message>, Fault> {
    if turns.is_empty() {
        return Err(Fault::empty("messages"));
    }
    let mut messages = Vec::new();
    // Calls that the next turn must answer.
    let mut open: Vec<&str> = Vec::new();
    for (index, turn) in turns.iter().enumerate() {
        let at = format!("messages.{index}");
        only(&at, turn, &["role", "content"])?;
        let role = turn["role"].as_str().unwrap_or_default();
        let is_last = index + 1 == turns.len();
        match role {
            "user" => answered(&at, turn, &open)?,
            "assistant" if index == 0 => {
                return Err(Fault::rule(at, "The first message must be the user's"));
            }
            "assistant" if !open.is_empty() => return Err(no_result(&at, &open)),
            "assistant" => {}
            _ => return Err(Fault::wrong_value(format!("{at}.role"), "`user` or `assistant`")),
        }
        open.clear();
        let mut message = Message::of(role);
        match &turn["content"] {
            Value::String(text) if text.is_empty() && !(is_last && role == "assistant") => {
                return Err(Fault::rule(at, "All messages must have content that is not empty"));
            }
            Value::String(text) => message.say(text),
            Value::Array(blocks) if blocks.is_empty() => {
                return Err(Fault::rule(at, "All messages must have content that is not empty"));
            }
            Value::Array(blocks) => {
                for (index, block) in blocks.iter().enumerate() {
                    let at = format!("{at}.content.{index}");
                    match (role, block["type"].as_str()) {
                        ("user", Some("tool_result")) => messages.push(result(&at, block)?),
                        ("user", Some("image")) => message.pictures.push(image(&at, block)?),
                        ("assistant", Some("tool_use")) => open.push(call(&at, block, &open)?),
                        ("assistant", Some("thinking")) => check_signature(&at, block)?,
                        ("assistant", Some("redacted_thinking")) => only(&at, block, &["type", "data"])?,
                        (_, Some("text")) => message.say(text_block(&at, block)?),
                        _ => {
                            return Err(Fault::wrong_value(
                                format!("{at}.type"),
                                "a block that may stand here",
                            ));
                        }
                    }
                }
            }
            _ => return Err(Fault::wrong_type(format!("{at}.content"), "a string or an array of blocks")),
        }
        if is_last && role == "assistant" && message.text.ends_with(char::is_whitespace) {
            return Err(Fault::rule(at, "The last message must not end with white space"));
        }
        // Of a turn that only gives results, nothing is left.
        let has_results_only =
            messages.last().is_some_and(Message::is_result) && message == Message::of("user");
        if !has_results_only {
            messages.push(message);
        }
    }
    match open.as_slice() {
        [] => Ok(messages),
        open => Err(no_result(&format!("messages.{}", turns.len()), open)),
    }
}

/// With thinking, the answer whose tools are being called must begin with the thought that led there.
pub(super) fn check_thoughts(turns: &[Value]) -> Result<(), Fault> {
    let [.., answer, results] = turns else { return Ok(()) };
    let has_result =
        results["content"].as_array().into_iter().flatten().any(|block| block["type"] == "tool_result");
    let first = answer["content"][0]["type"].as_str();
    if has_result && !matches!(first, Some("thinking" | "redacted_thinking")) {
        let rule =
            "With thinking, an assistant's message whose tools are called must begin with a thinking block";
        return Err(Fault::rule(format!("messages.{}.content.0", turns.len() - 2), rule));
    }
    Ok(())
}

fn no_result(at: &str, open: &[&str]) -> Fault {
    Fault::rule(at, format!("{at}: the `tool_use` of {} needs a `tool_result` right after", open.join(", ")))
}

/// A user's turn must begin with the results of all calls before it, and with no others.
fn answered(at: &str, turn: &Value, open: &[&str]) -> Result<(), Fault> {
    let blocks = turn["content"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut results: Vec<&str> = Vec::new();
    for (index, block) in blocks.iter().enumerate().filter(|(_, block)| block["type"] == "tool_result") {
        let at = format!("{at}.content.{index}");
        let id = block["tool_use_id"].as_str().unwrap_or_default();
        if !open.contains(&id) || results.contains(&id) {
            return Err(Fault::rule(
                at.as_str(),
                format!("{at}: no `tool_use` of {id} is before this result"),
            ));
        }
        if index > results.len() {
            return Err(Fault::rule(at, "Results of tools must stand before everything else"));
        }
        results.push(id);
    }
    let left: Vec<&str> = open.iter().filter(|id| !results.contains(id)).copied().collect();
    if left.is_empty() { Ok(()) } else { Err(no_result(at, &left)) }
}

fn text_block<'a>(at: &str, block: &'a Value) -> Result<&'a str, Fault> {
    only(at, block, &["type", "text", "cache_control", "citations"])?;
    let text = block["text"].as_str().filter(|_| block["type"] == "text");
    let text = text.ok_or_else(|| Fault::wrong_type(format!("{at}.text"), "a string"))?;
    if text.trim().is_empty() {
        return Err(Fault::rule(at, "Text blocks must have text that is more than white space"));
    }
    Ok(text)
}

fn image(at: &str, block: &Value) -> Result<String, Fault> {
    only(at, block, &["type", "source", "cache_control"])?;
    let source = &block["source"];
    let text = |name: &str| {
        source[name].as_str().ok_or_else(|| Fault::wrong_type(format!("{at}.source.{name}"), "a string"))
    };
    let at = format!("{at}.source");
    match source["type"].as_str() {
        Some("base64") => {
            only(&at, source, &["type", "media_type", "data"])?;
            picture::encoded(&at, text("media_type")?, text("data")?)
        }
        Some("url") => {
            only(&at, source, &["type", "url"])?;
            picture::at_url(&at, text("url")?).and_then(|picture| match text("url")?.starts_with("http") {
                true => Ok(picture),
                false => Err(Fault::wrong_value(at.as_str(), "a URL of the web")),
            })
        }
        _ => Err(Fault::wrong_value(format!("{at}.type"), "`base64` or `url`")),
    }
}

/// The id of a call.
fn call<'a>(at: &str, block: &'a Value, open: &[&str]) -> Result<&'a str, Fault> {
    only(at, block, &["type", "id", "name", "input", "cache_control", "caller"])?;
    let id = block["id"].as_str().filter(|id| tools::is_name(id, 256));
    let id =
        id.ok_or_else(|| Fault::wrong_value(format!("{at}.id"), "an id of letters, digits, `_` and `-`"))?;
    if open.contains(&id) {
        return Err(Fault::rule(at, "Ids of calls must be unique"));
    }
    if !block["name"].is_string() {
        return Err(Fault::wrong_type(format!("{at}.name"), "a string"));
    }
    if !block["input"].is_object() {
        return Err(Fault::wrong_type(format!("{at}.input"), "an object"));
    }
    Ok(id)
}

fn result(at: &str, block: &Value) -> Result<Message, Fault> {
    only(at, block, &["type", "tool_use_id", "content", "is_error", "cache_control"])?;
    let mut message = Message::of("tool");
    match &block["content"] {
        Value::Null => {}
        Value::String(text) => message.say(text),
        Value::Array(blocks) => {
            for (index, block) in blocks.iter().enumerate() {
                let at = format!("{at}.content.{index}");
                match block["type"].as_str() {
                    Some("image") => message.pictures.push(image(&at, block)?),
                    _ => message.say(text_block(&at, block)?),
                }
            }
        }
        _ => return Err(Fault::wrong_type(format!("{at}.content"), "a string or an array of blocks")),
    }
    Ok(message)
}

/// A thought comes back as it was, or not at all.
fn check_signature(at: &str, block: &Value) -> Result<(), Fault> {
    only(at, block, &["type", "thinking", "signature"])?;
    let thought = block["thinking"].as_str();
    let thought = thought.ok_or_else(|| Fault::wrong_type(format!("{at}.thinking"), "a string"))?;
    if block["signature"].as_str() != Some(signature(thought).as_str()) {
        return Err(Fault::rule(format!("{at}.signature"), "The `signature` is not that of the thought"));
    }
    Ok(())
}
