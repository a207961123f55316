//! The messages of a chat, as far as an answer depends on them.

use serde_json::Value;

use super::fault::Fault;

/// One message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) role: String,
    /// Its text, all parts of it.
    pub(super) text: String,
}

/// Reads the messages of a request; the first that is not as published is refused.
pub(super) fn read(messages: &[Value]) -> Result<Vec<Message>, Fault> {
    messages
        .iter()
        .enumerate()
        .map(|(index, message)| read_one(&format!("messages[{index}]"), message))
        .collect()
}

fn read_one(at: &str, message: &Value) -> Result<Message, Fault> {
    if !message.is_object() {
        return Err(Fault::wrong_type(at, "an object"));
    }
    let role = message["role"].as_str().ok_or_else(|| Fault::wrong_type(format!("{at}.role"), "a string"))?;
    if !["system", "developer", "user", "assistant", "tool", "function"].contains(&role) {
        return Err(Fault::wrong_value(format!("{at}.role"), "a role such as `user`"));
    }
    if role == "tool" && !message["tool_call_id"].is_string() {
        return Err(Fault::wrong_type(format!("{at}.tool_call_id"), "a string"));
    }
    let may_be_absent =
        role == "assistant" && (message["tool_calls"].is_array() || message["function_call"].is_object());
    let text = match &message["content"] {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let texts: Result<Vec<&str>, Fault> = parts
                .iter()
                .enumerate()
                .map(|(index, part)| read_part(&format!("{at}.content[{index}]"), part))
                .collect();
            texts?.join(" ")
        }
        Value::Null if may_be_absent => String::new(),
        _ => return Err(Fault::wrong_type(format!("{at}.content"), "a string or an array of parts")),
    };
    Ok(Message { role: role.to_owned(), text })
}

/// The text of a part; what is no text has none.
fn read_part<'a>(at: &str, part: &'a Value) -> Result<&'a str, Fault> {
    match part["type"].as_str() {
        Some("text") => {
            part["text"].as_str().ok_or_else(|| Fault::wrong_type(format!("{at}.text"), "a string"))
        }
        Some("image_url") if part["image_url"]["url"].is_string() => Ok(""),
        Some(kind @ ("input_audio" | "file")) if part[kind].is_object() => Ok(""),
        Some("refusal") if part["refusal"].is_string() => Ok(""),
        _ => Err(Fault::wrong_value(format!("{at}.type"), "a kind of part, and the part of that kind")),
    }
}
