//! `/v1/chat/completions`.

use serde_json::{Value, json};

use super::Asked;
use super::fault::Fault;
use super::input::{Input, Stream};
use super::message::{self, Message};
use super::models::Use;
use super::text::{self, Ended, plural};
use super::tools::{self, Call};
use crate::upstream::Answer;

/// What OpenAI documents for this API.
const MEMBERS: [&str; 35] = [
    "audio",
    "frequency_penalty",
    "function_call",
    "functions",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "metadata",
    "modalities",
    "model",
    "n",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "prompt_cache_retention",
    "reasoning_effort",
    "response_format",
    "safety_identifier",
    "seed",
    "service_tier",
    "stop",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "user",
    "verbosity",
    "web_search_options",
];

/// One choice of an answer.
enum Choice {
    Text(Ended),
    Calls(Vec<Call>),
}

impl Choice {
    fn reason(&self) -> &'static str {
        match self {
            Self::Text(ended) => ended.reason,
            Self::Calls(_) => "tool_calls",
        }
    }

    fn count(&self) -> usize {
        match self {
            Self::Text(ended) => text::count(&ended.text),
            Self::Calls(calls) => calls.iter().map(|call| text::count(&call.arguments)).sum(),
        }
    }

    fn message(&self) -> Value {
        match self {
            Self::Text(ended) => {
                json!({ "role": "assistant", "content": ended.text, "refusal": null, "annotations": [] })
            }
            Self::Calls(calls) => {
                let calls: Vec<Value> = calls.iter().map(Call::json).collect();
                json!({ "role": "assistant", "content": null, "refusal": null, "annotations": [], "tool_calls": calls })
            }
        }
    }

    /// What a stream adds to the message, piece by piece.
    fn deltas(&self) -> Vec<Value> {
        match self {
            Self::Text(ended) => {
                let mut deltas = vec![json!({ "role": "assistant", "content": "", "refusal": null })];
                deltas.extend(text::pieces(&ended.text).into_iter().map(|piece| json!({ "content": piece })));
                deltas
            }
            Self::Calls(calls) => {
                let mut deltas = vec![json!({ "role": "assistant", "content": null, "refusal": null })];
                for (index, call) in calls.iter().enumerate() {
                    let mut start = call.json();
                    start["index"] = json!(index);
                    start["function"]["arguments"] = json!("");
                    deltas.push(json!({ "tool_calls": [start] }));
                    for piece in tools::pieces(call) {
                        deltas.push(
                            json!({ "tool_calls": [{ "index": index, "function": { "arguments": piece } }] }),
                        );
                    }
                }
                deltas
            }
        }
    }
}

pub(super) fn answer(asked: &Asked<'_>) -> Result<Answer, Fault> {
    let input = Input::read(asked.request, &MEMBERS)?;
    let model = input.model(Use::Chat)?;
    let messages = input.list("messages")?.ok_or_else(|| Fault::missing("messages"))?;
    if messages.is_empty() {
        return Err(Fault::empty("messages"));
    }
    let messages = message::read(messages)?;
    check_ranges(&input)?;
    let stream = input.stream()?;
    let choices = choices(&input, &messages, asked.seed())?;
    let prompt = messages.iter().map(|message| text::count(&message.text)).sum();
    let usage = text::usage(prompt, choices.iter().map(Choice::count).sum());
    let id = format!("chatcmpl-{:016x}", asked.seed());
    let document = |object: &str, choices: &Value| {
        json!({
            "id": id,
            "object": object,
            "created": text::CREATED,
            "model": model,
            "system_fingerprint": "fp_mock",
            "service_tier": "default",
            "choices": choices,
        })
    };
    if stream == Stream::No {
        let choices = choices.iter().enumerate().map(|(index, choice)| {
            json!({ "index": index, "message": choice.message(), "logprobs": null, "finish_reason": choice.reason() })
        });
        let mut document = document("chat.completion", &choices.collect());
        document["usage"] = usage;
        return Ok(Answer::json(200, &document));
    }
    let mut events = Vec::new();
    for (index, choice) in choices.iter().enumerate() {
        let piece = |delta: Value, reason: Value| {
            let choice = json!({ "index": index, "delta": delta, "logprobs": null, "finish_reason": reason });
            document("chat.completion.chunk", &json!([choice]))
        };
        events.extend(choice.deltas().into_iter().map(|delta| piece(delta, Value::Null)));
        events.push(piece(json!({}), json!(choice.reason())));
    }
    if stream == Stream::WithUsage {
        text::add_usage(&mut events, &usage);
    }
    Ok(text::events(events, asked.pace))
}

/// What changes nothing here must still be as published.
fn check_ranges(input: &Input) -> Result<(), Fault> {
    input.decimal("temperature", 0.0..=2.0)?;
    input.decimal("top_p", 0.0..=1.0)?;
    input.decimal("frequency_penalty", -2.0..=2.0)?;
    input.decimal("presence_penalty", -2.0..=2.0)?;
    input.flag("logprobs")?;
    input.text("user")?;
    input.object("metadata")?;
    Ok(())
}

fn choices(input: &Input, messages: &[Message], seed: u64) -> Result<Vec<Choice>, Fault> {
    let count = input.integer("n", 1..=128)?.unwrap_or(1);
    let most = input.integer("max_tokens", 1..=1 << 20)?;
    let most = input.integer("max_completion_tokens", 1..=1 << 20)?.or(most);
    let stops = input.texts("stop", 4)?;
    let last = messages.last();
    let said =
        messages.iter().rev().find(|message| message.role == "user").map_or("", |message| &message.text);
    // A tool that has answered is not called again.
    let has_result = last.is_some_and(|message| matches!(message.role.as_str(), "tool" | "function"));
    let calls = tools::calls(input, if has_result { "" } else { said }, seed)?;
    if !calls.is_empty() {
        // All choices make the same calls; one of them is enough.
        return Ok(vec![Choice::Calls(calls)]);
    }
    let text = match last {
        Some(message) if has_result => format!("The tool answered: \"{}\".", text::quote(&message.text)),
        _ => reply(input, said, messages.len())?,
    };
    Ok((1..=count)
        .map(|index| {
            let text = if index == 1 { text.clone() } else { format!("Answer {index}: {text}") };
            Choice::Text(text::end(&text, &stops, most))
        })
        .collect())
}

fn reply(input: &Input, said: &str, messages: usize) -> Result<String, Fault> {
    let quoted = text::quote(said);
    let words = text::count(said);
    let Some(format) = input.object("response_format")? else {
        return Ok(format!(
            "You said \"{quoted}\", which is {} in a conversation of {}. I am a mock vendor: I repeat what I hear, \
             without understanding any of it.",
            plural(words, "word"),
            plural(messages, "message"),
        ));
    };
    match format.get("type").and_then(Value::as_str) {
        Some("text") => Ok(format!("You said \"{quoted}\".")),
        Some("json_object") => Ok(json!({ "said": quoted, "words": words }).to_string()),
        Some("json_schema") => match format.get("json_schema").map(|wanted| &wanted["schema"]) {
            Some(schema) if schema.is_object() => Ok(tools::sample(schema, said, 8).to_string()),
            _ => Err(Fault::wrong_type("response_format.json_schema.schema", "a JSON schema")),
        },
        _ => Err(Fault::wrong_value("response_format.type", "`text`, `json_object` or `json_schema`")),
    }
}
