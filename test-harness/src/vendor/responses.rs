//! OpenAI's `/v1/responses`: <https://platform.openai.com/docs/api-reference/responses>. It keeps no response.

mod items;
#[cfg(test)]
mod tests;

use serde_json::{Value, json};

use super::Asked;
use super::chat::{EFFORTS, read_schema};
use super::fault::Fault;
use super::input::{Input, only};
use super::message::Message;
use super::models::{self, Thinking, Use};
use super::reply::{self, Format, Reply, Wanted};
use super::text::{self, Why};
use super::tools::{self, Call, Tool};
use crate::upstream::Answer;

/// What OpenAI documents for this API.
const MEMBERS: [&str; 30] = [
    "background",
    "context_management",
    "conversation",
    "include",
    "input",
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "metadata",
    "model",
    "moderation",
    "parallel_tool_calls",
    "previous_response_id",
    "prompt",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning",
    "safety_identifier",
    "service_tier",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "truncation",
];
/// `user` is deprecated, and taken.
const DEPRECATED: &str = "user";
/// Fewer tokens cannot be asked for.
const LEAST_TOKENS: u64 = 16;

/// An item of a response's output.
enum Item<'a> {
    Reasoning(Option<&'a str>),
    Message { text: &'a str, is_whole: bool },
    Call(&'a Call),
}

impl Item<'_> {
    fn kind(&self) -> (&'static str, &'static str) {
        match self {
            Self::Reasoning(_) => ("rs", "reasoning"),
            Self::Message { .. } => ("msg", "message"),
            Self::Call(_) => ("fc", "function_call"),
        }
    }

    fn id(&self, seed: u64, index: usize) -> String {
        format!("{}_{seed:016x}{index}", self.kind().0)
    }

    /// As it stands in a response.
    fn whole(&self, id: &str) -> Value {
        match self {
            Self::Reasoning(thought) => {
                let summary: Vec<Value> = thought.iter().map(|thought| summary(thought)).collect();
                json!({ "id": id, "type": "reasoning", "summary": summary })
            }
            Self::Message { text, is_whole } => {
                let status = if *is_whole { "completed" } else { "incomplete" };
                let content = json!([output_text(text)]);
                json!({ "id": id, "type": "message", "status": status, "role": "assistant", "content": content })
            }
            Self::Call(call) => json!({
                "id": id,
                "type": "function_call",
                "status": "completed",
                "call_id": call.id("call"),
                "name": call.name,
                "arguments": call.arguments,
            }),
        }
    }

    /// As it begins in a stream.
    fn start(&self, id: &str) -> Value {
        let mut item = self.whole(id);
        match self {
            Self::Reasoning(_) => {
                item["summary"] = json!([]);
                return item;
            }
            Self::Message { .. } => item["content"] = json!([]),
            Self::Call(_) => item["arguments"] = json!(""),
        }
        item["status"] = json!("in_progress");
        item
    }

    /// What a stream tells of it between its beginning and its end.
    fn events(&self) -> Vec<Value> {
        match self {
            Self::Reasoning(None) => Vec::new(),
            Self::Reasoning(Some(thought)) => {
                let part = json!({ "summary_index": 0, "part": summary("") });
                let mut events = vec![typed("response.reasoning_summary_part.added", part)];
                events.extend(text::pieces(thought).into_iter().map(|piece| {
                    typed(
                        "response.reasoning_summary_text.delta",
                        json!({ "summary_index": 0, "delta": piece }),
                    )
                }));
                let done = json!({ "summary_index": 0, "text": thought });
                events.push(typed("response.reasoning_summary_text.done", done));
                let part = json!({ "summary_index": 0, "part": summary(thought) });
                events.push(typed("response.reasoning_summary_part.done", part));
                events
            }
            Self::Message { text, .. } => {
                let part = json!({ "content_index": 0, "part": output_text("") });
                let mut events = vec![typed("response.content_part.added", part)];
                events.extend(text::pieces(text).into_iter().map(|piece| {
                    let delta = json!({ "content_index": 0, "delta": piece, "logprobs": [] });
                    typed("response.output_text.delta", delta)
                }));
                let done = json!({ "content_index": 0, "text": text, "logprobs": [] });
                events.push(typed("response.output_text.done", done));
                let part = json!({ "content_index": 0, "part": output_text(text) });
                events.push(typed("response.content_part.done", part));
                events
            }
            Self::Call(call) => {
                let pieces = tools::pieces(call).into_iter();
                let mut events: Vec<Value> = pieces
                    .map(|piece| typed("response.function_call_arguments.delta", json!({ "delta": piece })))
                    .collect();
                let done = json!({ "name": call.name, "arguments": call.arguments });
                events.push(typed("response.function_call_arguments.done", done));
                events
            }
        }
    }
}

fn typed(kind: &str, mut event: Value) -> Value {
    event["type"] = json!(kind);
    event
}

fn summary(text: &str) -> Value {
    json!({ "type": "summary_text", "text": text })
}

fn output_text(text: &str) -> Value {
    json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": [] })
}

pub(super) fn answer(asked: &Asked<'_>) -> Result<Answer, Fault> {
    let known: Vec<&str> = MEMBERS.into_iter().chain([DEPRECATED]).collect();
    let input = Input::read(asked.request, &known)?;
    let model = input.model(asked, Use::Chat)?;
    refuse_state(&input)?;
    check_ranges(&input)?;
    let messages = messages(&input)?;
    let shows_thoughts = read_reasoning(&input, model)?;
    let is_streamed = input.flag("stream")?.unwrap_or(false);
    if input.value("stream_options").is_some() && !is_streamed {
        return Err(Fault::wrong_value("stream_options", "absent where `stream` is not true"));
    }
    let wanted = wanted(&input, &messages)?;
    let replies = reply::replies(&wanted, 1, asked.seed());
    let thought = reply::thought(&messages);
    let mut items = Vec::new();
    let thinks = models::thinking(model) != Thinking::None;
    if thinks {
        items.push(Item::Reasoning(shows_thoughts.then_some(thought.as_str())));
    }
    let mut is_whole = true;
    for reply in &replies {
        match reply {
            Reply::Text(ended) => {
                is_whole = ended.why != Why::Length;
                items.push(Item::Message { text: &ended.text, is_whole });
            }
            Reply::Calls(calls) => items.extend(calls.iter().map(Item::Call)),
        }
    }
    let reasoned = if thinks { text::count(&thought) } else { 0 };
    let said = replies.iter().map(Reply::count).sum::<usize>() + reasoned;
    let prompt = reply::count(&messages);
    let usage = json!({
        "input_tokens": prompt,
        "input_tokens_details": { "cached_tokens": 0, "cache_write_tokens": 0 },
        "output_tokens": said,
        "output_tokens_details": { "reasoning_tokens": reasoned },
        "total_tokens": prompt + said,
    });
    let begun = document(asked, &input, model);
    let mut whole = begun.clone();
    whole["output"] =
        items.iter().enumerate().map(|(at, item)| item.whole(&item.id(asked.seed(), at))).collect();
    whole["usage"] = usage;
    whole["status"] = json!(if is_whole { "completed" } else { "incomplete" });
    if !is_whole {
        whole["incomplete_details"] = json!({ "reason": "max_output_tokens" });
    }
    if !is_streamed {
        models::finishes(model)?;
        return Ok(Answer::json(200, &whole));
    }
    let events = events(asked, &items, &begun, &whole);
    let error = |number| {
        let error = Fault::overloaded().of_openai();
        let event = json!({ "code": error["code"], "message": error["message"], "param": null });
        let mut event = typed("error", event);
        event["sequence_number"] = json!(number);
        event
    };
    Ok(text::named_events(&models::break_off(model, events, error), asked.options.pace))
}

/// The events of a stream, each with its number.
fn events(asked: &Asked<'_>, items: &[Item<'_>], begun: &Value, whole: &Value) -> Vec<Value> {
    let mut events = vec![
        typed("response.created", json!({ "response": begun })),
        typed("response.in_progress", json!({ "response": begun })),
    ];
    for (index, item) in items.iter().enumerate() {
        let id = item.id(asked.seed(), index);
        let place = |mut event: Value| {
            event["output_index"] = json!(index);
            event
        };
        events.push(place(typed("response.output_item.added", json!({ "item": item.start(&id) }))));
        events.extend(item.events().into_iter().map(|mut event| {
            event["item_id"] = json!(id);
            place(event)
        }));
        events.push(place(typed("response.output_item.done", json!({ "item": item.whole(&id) }))));
    }
    let end = if whole["status"] == "completed" { "response.completed" } else { "response.incomplete" };
    events.push(typed(end, json!({ "response": whole })));
    for (number, event) in events.iter_mut().enumerate() {
        event["sequence_number"] = json!(number);
    }
    events
}

/// A response that has just begun; it repeats what was asked for.
fn document(asked: &Asked<'_>, input: &Input, model: &str) -> Value {
    let told = |name: &str, otherwise: Value| input.value(name).cloned().unwrap_or(otherwise);
    json!({
        "id": format!("resp_{:016x}", asked.seed()),
        "object": "response",
        "created_at": text::CREATED,
        "status": "in_progress",
        "background": false,
        "error": null,
        "incomplete_details": null,
        "instructions": told("instructions", Value::Null),
        "max_output_tokens": told("max_output_tokens", Value::Null),
        "max_tool_calls": null,
        "metadata": told("metadata", json!({})),
        "model": model,
        "output": [],
        "parallel_tool_calls": told("parallel_tool_calls", json!(true)),
        "previous_response_id": null,
        "prompt_cache_key": told("prompt_cache_key", Value::Null),
        "reasoning": told("reasoning", json!({ "effort": null, "summary": null })),
        "safety_identifier": null,
        "service_tier": "default",
        "store": told("store", json!(true)),
        "temperature": told("temperature", json!(1.0)),
        "text": told("text", json!({ "format": { "type": "text" } })),
        "tool_choice": told("tool_choice", json!("auto")),
        "tools": told("tools", json!([])),
        "top_logprobs": 0,
        "top_p": told("top_p", json!(1.0)),
        "truncation": told("truncation", json!("disabled")),
        "usage": null,
        "user": null,
    })
}

/// Nothing is kept here, so nothing can be gone on with.
fn refuse_state(input: &Input) -> Result<(), Fault> {
    for name in ["previous_response_id", "conversation", "prompt", "background"] {
        if input.value(name).is_some_and(|value| value != false) {
            return Err(Fault::wrong_value(name, "of something that is kept here, and nothing is"));
        }
    }
    Ok(())
}

/// What changes nothing here must still be as published.
fn check_ranges(input: &Input) -> Result<(), Fault> {
    input.decimal("temperature", 0.0..=2.0)?;
    input.decimal("top_p", 0.0..=1.0)?;
    input.flag("store")?;
    input.text("user")?;
    input.object("metadata")?;
    input.list("include")?;
    if let Some(options) = input.value("stream_options") {
        only("stream_options", options, &["include_obfuscation"])?;
    }
    match input.text("truncation")? {
        None | Some("auto" | "disabled") => Ok(()),
        Some(_) => Err(Fault::wrong_value("truncation", "`auto` or `disabled`")),
    }
}

/// What was said: the instructions and the items.
fn messages(input: &Input) -> Result<Vec<Message>, Fault> {
    let mut messages = Vec::new();
    if let Some(text) = input.text("instructions")? {
        let mut instructions = Message::of("system");
        instructions.say(text);
        messages.push(instructions);
    }
    match input.value("input") {
        None => return Err(Fault::missing("input")),
        Some(Value::String(text)) => {
            let mut message = Message::of("user");
            message.say(text);
            messages.push(message);
        }
        Some(Value::Array(list)) => messages.extend(items::read(list)?),
        Some(_) => return Err(Fault::wrong_type("input", "a string or an array of items")),
    }
    Ok(messages)
}

/// Whether thoughts are to be seen. A model that does not think cannot be told how to.
fn read_reasoning(input: &Input, model: &str) -> Result<bool, Fault> {
    let Some(reasoning) = input.value("reasoning") else { return Ok(false) };
    only("reasoning", reasoning, &["effort", "summary", "generate_summary", "context", "mode"])?;
    let told = |name: &str| reasoning[name].as_str();
    let says = |name: &str| !reasoning[name].is_null();
    if models::thinking(model) == Thinking::None && (says("effort") || says("summary")) {
        return Err(Fault::rule("reasoning.effort", "Unsupported parameter: this model does not think"));
    }
    if says("effort") && !told("effort").is_some_and(|effort| EFFORTS.contains(&effort)) {
        return Err(Fault::wrong_value("reasoning.effort", &format!("one of {}", EFFORTS.join(", "))));
    }
    match told("summary") {
        None => Ok(false),
        Some("auto" | "concise" | "detailed") => Ok(true),
        Some(_) => Err(Fault::wrong_value("reasoning.summary", "`auto`, `concise` or `detailed`")),
    }
}

fn wanted<'a>(input: &'a Input, messages: &'a [Message]) -> Result<Wanted<'a>, Fault> {
    let tools = input.list("tools")?.unwrap_or_default().iter().enumerate();
    let tools: Vec<Tool<'_>> = tools
        .map(|(index, tool)| {
            let at = format!("tools[{index}]");
            only(&at, tool, &["type", "name", "description", "parameters", "strict"])?;
            if tool["type"] != "function" {
                return Err(Fault::wrong_value(format!("{at}.type"), "`function`"));
            }
            tools::read_function(&at, tool)
        })
        .collect::<Result<_, _>>()?;
    Ok(Wanted {
        messages,
        choice: tools::choice(input, &tools, |choice| &choice["name"])?,
        tools,
        is_parallel: input.flag("parallel_tool_calls")?.unwrap_or(true),
        format: format(input)?,
        stops: Vec::new(),
        most: input.integer("max_output_tokens", LEAST_TOKENS..=1 << 20)?,
    })
}

fn format(input: &Input) -> Result<Format<'_>, Fault> {
    let Some(text) = input.value("text") else { return Ok(Format::Plain) };
    only("text", text, &["format", "verbosity"])?;
    let format = &text["format"];
    if format.is_null() {
        return Ok(Format::Plain);
    }
    only("text.format", format, &["type", "name", "schema", "strict", "description"])?;
    match format["type"].as_str() {
        Some("text") => Ok(Format::Plain),
        Some("json_object") => Ok(Format::Json),
        Some("json_schema") => read_schema("text.format", format).map(Format::Schema),
        _ => Err(Fault::wrong_value("text.format.type", "`text`, `json_object` or `json_schema`")),
    }
}
