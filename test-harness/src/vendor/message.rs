//! The messages of a conversation, as far as an answer depends on them, and those of a chat.

use serde_json::Value;

use super::fault::Fault;
use super::picture;

/// One message.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Message {
    /// As in chats: where an API has no role for the results of tools, that is `tool` all the same.
    pub(super) role: String,
    /// Its text, all parts of it.
    pub(super) text: String,
    /// What its pictures are.
    pub(super) pictures: Vec<String>,
}

impl Message {
    /// One without anything in it.
    pub(super) fn of(role: &str) -> Self {
        Self { role: role.to_owned(), ..Self::default() }
    }

    /// Adds a part that is text.
    pub(super) fn say(&mut self, text: &str) {
        if !self.text.is_empty() && !text.is_empty() {
            self.text.push(' ');
        }
        self.text.push_str(text);
    }

    /// Whether it is what a tool gave.
    pub(super) fn is_result(&self) -> bool {
        matches!(self.role.as_str(), "tool" | "function")
    }
}

/// Reads the messages of a request for a chat; the first that is not as published is refused.
pub(super) fn read(messages: &[Value]) -> Result<Vec<Message>, Fault> {
    check_calls(messages)?;
    messages
        .iter()
        .enumerate()
        .map(|(index, message)| read_one(&format!("messages[{index}]"), message))
        .collect()
}

/// Calls of tools must be answered, all of them and right after, and nothing else can be.
fn check_calls(messages: &[Value]) -> Result<(), Fault> {
    let mut open: Vec<&str> = Vec::new();
    for (index, message) in messages.iter().enumerate() {
        let at = format!("messages[{index}]");
        match message["role"].as_str() {
            Some("tool") => {
                let id = message["tool_call_id"].as_str().unwrap_or_default();
                let known = open.len();
                open.retain(|open| *open != id);
                if open.len() == known {
                    return Err(Fault::rule(
                        format!("{at}.role"),
                        "A tool's message must follow the call that it answers",
                    ));
                }
            }
            _ if !open.is_empty() => return Err(unanswered(&at, &open)),
            _ => {
                let calls = message["tool_calls"].as_array().into_iter().flatten();
                open = calls.filter_map(|call| call["id"].as_str()).collect();
            }
        }
    }
    if open.is_empty() { Ok(()) } else { Err(unanswered("messages", &open)) }
}

fn unanswered(at: &str, open: &[&str]) -> Fault {
    Fault::rule(at, format!("These calls must be answered first: {}", open.join(", ")))
}

fn read_one(at: &str, message: &Value) -> Result<Message, Fault> {
    if !message.is_object() {
        return Err(Fault::wrong_type(at, "an object"));
    }
    let role = message["role"].as_str().ok_or_else(|| Fault::wrong_type(format!("{at}.role"), "a string"))?;
    if !["system", "developer", "user", "assistant", "tool", "function"].contains(&role) {
        return Err(Fault::wrong_value(format!("{at}.role"), "a role such as `user`"));
    }
    let may_be_absent =
        role == "assistant" && (message["tool_calls"].is_array() || message["function_call"].is_object());
    let mut read = Message::of(role);
    match &message["content"] {
        Value::String(text) => read.say(text),
        Value::Array(parts) => {
            for (index, part) in parts.iter().enumerate() {
                read_part(&format!("{at}.content[{index}]"), part, &mut read)?;
            }
        }
        Value::Null if may_be_absent => {}
        _ => return Err(Fault::wrong_type(format!("{at}.content"), "a string or an array of parts")),
    }
    Ok(read)
}

fn read_part(at: &str, part: &Value, message: &mut Message) -> Result<(), Fault> {
    match part["type"].as_str() {
        Some("text") => {
            let text = part["text"].as_str();
            message.say(text.ok_or_else(|| Fault::wrong_type(format!("{at}.text"), "a string"))?);
        }
        Some("image_url") if message.role == "user" => {
            let at = format!("{at}.image_url.url");
            let url = part["image_url"]["url"].as_str();
            let url = url.ok_or_else(|| Fault::wrong_type(at.as_str(), "a string"))?;
            message.pictures.push(picture::at_url(&at, url)?);
        }
        Some(kind @ ("input_audio" | "file")) if part[kind].is_object() => {}
        Some("refusal") if part["refusal"].is_string() => {}
        _ => {
            return Err(Fault::wrong_value(
                format!("{at}.type"),
                "a kind of part, and the part of that kind",
            ));
        }
    }
    Ok(())
}
