//! `/v1/chat/completions`.

use serde_json::{Value, json};

use super::Asked;
use super::fault::Fault;
use super::input::{Input, Stream};
use super::message;
use super::models::{self, Thinking, Use};
use super::reply::{self, Format, Reply, Wanted};
use super::text;
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

/// How much a model may be told to think.
pub(super) const EFFORTS: [&str; 6] = ["none", "minimal", "low", "medium", "high", "xhigh"];

/// One choice of an answer.
struct Choice<'a> {
    thought: Option<&'a str>,
    reply: &'a Reply<'a>,
}

impl Choice<'_> {
    fn reason(&self) -> &'static str {
        match self.reply {
            Reply::Text(ended) => ended.why.reason(),
            Reply::Calls(_) => "tool_calls",
        }
    }

    fn message(&self) -> Value {
        let mut message = match self.reply {
            Reply::Text(ended) => {
                json!({ "role": "assistant", "content": ended.text, "refusal": null, "annotations": [] })
            }
            Reply::Calls(calls) => {
                let calls: Vec<Value> = calls.iter().map(Call::json).collect();
                json!({ "role": "assistant", "content": null, "refusal": null, "annotations": [], "tool_calls": calls })
            }
        };
        if let Some(thought) = self.thought {
            message["reasoning_content"] = json!(thought);
        }
        message
    }

    /// What a stream adds to the message, piece by piece.
    fn deltas(&self) -> Vec<Value> {
        let empty = if matches!(self.reply, Reply::Text(_)) { json!("") } else { Value::Null };
        let mut deltas = vec![json!({ "role": "assistant", "content": empty, "refusal": null })];
        let thoughts = self.thought.map(text::pieces).unwrap_or_default();
        deltas.extend(thoughts.into_iter().map(|piece| json!({ "reasoning_content": piece })));
        match self.reply {
            Reply::Text(ended) => {
                deltas.extend(text::pieces(&ended.text).into_iter().map(|piece| json!({ "content": piece })));
            }
            Reply::Calls(calls) => {
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
            }
        }
        deltas
    }
}

pub(super) fn answer(asked: &Asked<'_>) -> Result<Answer, Fault> {
    let input = Input::read(asked.request, &MEMBERS)?;
    let model = input.model(asked, Use::Chat)?;
    let messages = input.list("messages")?.ok_or_else(|| Fault::missing("messages"))?;
    if messages.is_empty() {
        return Err(Fault::empty("messages"));
    }
    let messages = message::read(messages)?;
    check_ranges(&input)?;
    check_effort(&input, model)?;
    let stream = input.stream()?;
    let count = input.integer("n", 1..=128)?.unwrap_or(1);
    let replies = reply::replies(&wanted(&input, &messages)?, count, asked.seed());
    let thought = reply::thought(&messages);
    let thinking = models::thinking(model);
    let thought_words = if thinking == Thinking::None { 0 } else { text::count(&thought) };
    let shown = (thinking == Thinking::Text).then_some(thought.as_str());
    let choices: Vec<Choice<'_>> = replies.iter().map(|reply| Choice { thought: shown, reply }).collect();

    let said: usize = replies.iter().map(Reply::count).sum();
    let mut usage = text::usage(reply::count(&messages), said + thought_words);
    usage["completion_tokens_details"]["reasoning_tokens"] = json!(thought_words);
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
        models::finishes(model)?;
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
    let error = |_| json!({ "error": Fault::overloaded().of_openai() });
    Ok(text::events(&models::break_off(model, events, error), asked.options.pace))
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

/// A model that does not think cannot be told how much to; OpenAI's that do take less of the rest:
/// <https://platform.openai.com/docs/guides/reasoning>.
fn check_effort(input: &Input, model: &str) -> Result<(), Fault> {
    if models::thinking(model) == Thinking::Cost {
        if input.value("max_tokens").is_some() {
            let rule = "`max_tokens` is not supported with this model; use `max_completion_tokens`";
            return Err(Fault::rule("max_tokens", rule));
        }
        if input.decimal("temperature", 0.0..=2.0)?.is_some_and(|temperature| temperature != 1.0) {
            return Err(Fault::rule(
                "temperature",
                "`temperature` must be 1, as is the default, with this model",
            ));
        }
    }
    match input.text("reasoning_effort")? {
        None => Ok(()),
        Some(_) if models::thinking(model) == Thinking::None => Err(Fault::unknown("reasoning_effort")),
        Some(effort) if EFFORTS.contains(&effort) => Ok(()),
        Some(_) => Err(Fault::wrong_value("reasoning_effort", &format!("one of {}", EFFORTS.join(", ")))),
    }
}

fn wanted<'a>(input: &'a Input, messages: &'a [message::Message]) -> Result<Wanted<'a>, Fault> {
    let most = input.integer("max_tokens", 1..=1 << 20)?;
    let tools = tools::read(input)?;
    Ok(Wanted {
        messages,
        choice: tools::choice(input, &tools, |choice| &choice["function"]["name"])?,
        tools,
        is_parallel: input.flag("parallel_tool_calls")?.unwrap_or(true),
        format: format(input)?,
        stops: input.texts("stop", 4)?,
        most: input.integer("max_completion_tokens", 1..=1 << 20)?.or(most),
    })
}

fn format(input: &Input) -> Result<Format<'_>, Fault> {
    let Some(format) = input.value("response_format") else { return Ok(Format::Plain) };
    match format["type"].as_str() {
        Some("text") => Ok(Format::Plain),
        Some("json_object") => Ok(Format::Json),
        Some("json_schema") => {
            let at = "response_format.json_schema";
            read_schema(at, &format["json_schema"]).map(Format::Schema)
        }
        _ => Err(Fault::wrong_value("response_format.type", "`text`, `json_object` or `json_schema`")),
    }
}

/// The schema that an answer is to be in, as OpenAI publishes it for chats and responses.
pub(super) fn read_schema<'a>(at: &str, wanted: &'a Value) -> Result<&'a Value, Fault> {
    let schema = &wanted["schema"];
    if !wanted["name"].as_str().is_some_and(|name| tools::is_name(name, 64)) {
        return Err(Fault::wrong_value(format!("{at}.name"), "a name"));
    }
    if !schema.is_object() {
        return Err(Fault::wrong_type(format!("{at}.schema"), "a JSON schema"));
    }
    if wanted["strict"] == true {
        tools::check_closed(&format!("{at}.schema"), schema, true)?;
    }
    Ok(schema)
}
