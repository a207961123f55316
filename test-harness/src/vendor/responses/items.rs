//! The items of a response's input, and what must go together.

use serde_json::Value;

use crate::vendor::fault::Fault;
use crate::vendor::input::only;
use crate::vendor::message::Message;
use crate::vendor::picture;

/// All items. Results of tools are messages of their own, as they are in chats; calls and thoughts are none.
pub(super) fn read(items: &[Value]) -> Result<Vec<Message>, Fault> {
    if items.is_empty() {
        return Err(Fault::empty("input"));
    }
    let mut messages = Vec::new();
    let mut calls: Vec<&str> = Vec::new();
    let mut answered: Vec<&str> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let at = format!("input[{index}]");
        match item["type"].as_str() {
            Some("message") => messages.push(message(&at, item)?),
            // A message may do without its type.
            None if item["type"].is_null() && item["role"].is_string() => messages.push(message(&at, item)?),
            Some("function_call") => {
                only(&at, item, &["type", "id", "call_id", "name", "arguments", "status"])?;
                check_id(&at, item, "fc")?;
                for name in ["name", "arguments"] {
                    text(&at, item, name)?;
                }
                calls.push(text(&at, item, "call_id")?);
            }
            Some("function_call_output") => {
                only(&at, item, &["type", "id", "call_id", "output", "status"])?;
                let id = text(&at, item, "call_id")?;
                if !calls.contains(&id) {
                    let rule = format!("No tool call found for function call output with call_id {id}");
                    return Err(Fault::rule("input", rule));
                }
                answered.push(id);
                messages.push(output(&at, item)?);
            }
            Some("reasoning") => {
                only(&at, item, &["type", "id", "summary", "content", "encrypted_content", "status"])?;
                check_id(&at, item, "rs")?;
                if !item["summary"].is_array() {
                    return Err(Fault::wrong_type(format!("{at}.summary"), "an array"));
                }
                let next = items.get(index + 1);
                if !next.is_some_and(|next| next["role"] == "assistant" || next["type"] == "function_call") {
                    let rule = "An item of type `reasoning` must be followed by what it led to";
                    return Err(Fault::rule("input", rule));
                }
            }
            _ => return Err(Fault::wrong_value(format!("{at}.type"), "a kind of item")),
        }
    }
    match calls.iter().find(|id| !answered.contains(id)) {
        Some(id) => Err(Fault::rule("input", format!("No tool output found for function call {id}"))),
        None => Ok(messages),
    }
}

fn text<'a>(at: &str, item: &'a Value, name: &str) -> Result<&'a str, Fault> {
    item[name].as_str().ok_or_else(|| Fault::wrong_type(format!("{at}.{name}"), "a string"))
}

/// Ids begin as those of their kind do.
fn check_id(at: &str, item: &Value, prefix: &str) -> Result<(), Fault> {
    match &item["id"] {
        Value::Null => Ok(()),
        Value::String(id) if id.starts_with(prefix) => Ok(()),
        _ => Err(Fault::wrong_value(format!("{at}.id"), &format!("an id that begins with `{prefix}`"))),
    }
}

fn message(at: &str, item: &Value) -> Result<Message, Fault> {
    only(at, item, &["type", "id", "role", "content", "status", "phase"])?;
    check_id(at, item, "msg")?;
    let role = text(at, item, "role")?;
    if !["user", "assistant", "system", "developer"].contains(&role) {
        return Err(Fault::wrong_value(format!("{at}.role"), "`user`, `assistant`, `system` or `developer`"));
    }
    let mut message = Message::of(role);
    match &item["content"] {
        Value::String(text) => message.say(text),
        Value::Array(parts) => {
            for (index, part) in parts.iter().enumerate() {
                read_part(&format!("{at}.content[{index}]"), part, &mut message)?;
            }
        }
        _ => return Err(Fault::wrong_type(format!("{at}.content"), "a string or an array of parts")),
    }
    Ok(message)
}

/// What an assistant says is output, and all else is input.
fn read_part(at: &str, part: &Value, message: &mut Message) -> Result<(), Fault> {
    match (message.role.as_str(), part["type"].as_str()) {
        ("assistant", Some("output_text")) => {
            only(at, part, &["type", "text", "annotations", "logprobs"])?;
            message.say(text(at, part, "text")?);
        }
        ("assistant", Some("refusal")) => message.say(text(at, part, "refusal")?),
        ("user" | "system" | "developer", Some("input_text")) => {
            only(at, part, &["type", "text", "prompt_cache_breakpoint"])?;
            message.say(text(at, part, "text")?);
        }
        ("user", Some("input_image")) => message.pictures.push(image(at, part)?),
        ("assistant", _) => {
            return Err(Fault::wrong_value(format!("{at}.type"), "`output_text` or `refusal`"));
        }
        _ => return Err(Fault::wrong_value(format!("{at}.type"), "`input_text` or `input_image`")),
    }
    Ok(())
}

fn image(at: &str, part: &Value) -> Result<String, Fault> {
    only(at, part, &["type", "image_url", "detail", "file_id", "prompt_cache_breakpoint"])?;
    if !matches!(part["detail"].as_str(), None | Some("low" | "high" | "auto" | "original")) {
        return Err(Fault::wrong_value(format!("{at}.detail"), "`low`, `high`, `auto` or `original`"));
    }
    picture::at_url(&format!("{at}.image_url"), text(at, part, "image_url")?)
}

/// What a tool gave.
fn output(at: &str, item: &Value) -> Result<Message, Fault> {
    let mut message = Message::of("tool");
    match &item["output"] {
        Value::String(text) => message.say(text),
        Value::Array(parts) => {
            for (index, part) in parts.iter().enumerate() {
                let at = format!("{at}.output[{index}]");
                match part["type"].as_str() {
                    Some("input_text") => message.say(text(&at, part, "text")?),
                    Some("input_image") => message.pictures.push(image(&at, part)?),
                    _ => {
                        return Err(Fault::wrong_value(
                            format!("{at}.type"),
                            "`input_text` or `input_image`",
                        ));
                    }
                }
            }
        }
        _ => return Err(Fault::wrong_type(format!("{at}.output"), "a string or an array of parts")),
    }
    Ok(message)
}
