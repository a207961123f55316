//! `/v1/completions`, the API of before there were chats.

use serde_json::{Value, json};

use super::Asked;
use super::fault::Fault;
use super::input::{Input, Stream};
use super::models::Use;
use super::text::{self, plural};
use crate::upstream::Answer;

/// What OpenAI documents for this API.
const MEMBERS: [&str; 18] = [
    "best_of",
    "echo",
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "max_tokens",
    "model",
    "n",
    "presence_penalty",
    "prompt",
    "seed",
    "stop",
    "stream",
    "stream_options",
    "suffix",
    "temperature",
    "top_p",
    "user",
];
/// The published default of `max_tokens`.
const USUAL_LENGTH: u64 = 16;

pub(super) fn answer(asked: &Asked<'_>) -> Result<Answer, Fault> {
    let input = Input::read(asked.request, &MEMBERS)?;
    let model = input.model(asked, Use::Completions)?;
    let prompts = input.texts("prompt", 2048)?;
    input.decimal("temperature", 0.0..=2.0)?;
    let count = input.integer("n", 1..=128)?.unwrap_or(1);
    let most = input.integer("max_tokens", 1..=1 << 20)?.unwrap_or(USUAL_LENGTH);
    let stops = input.texts("stop", 4)?;
    let repeats = input.flag("echo")?.unwrap_or(false);
    let stream = input.stream()?;

    let mut choices = Vec::new();
    for prompt in if prompts.is_empty() { &[""] } else { prompts.as_slice() } {
        let text = format!(
            " ... which is to say: \"{}\", {}.",
            text::quote(prompt),
            plural(text::count(prompt), "word")
        );
        let mut ended = text::end(&text, &stops, Some(most));
        if repeats {
            ended.text.insert_str(0, prompt);
        }
        for _ in 0..count {
            choices.push((ended.text.clone(), ended.why.reason()));
        }
    }
    let prompt = prompts.iter().map(|prompt| text::count(prompt)).sum();
    let usage = text::usage(prompt, choices.iter().map(|(text, _)| text::count(text)).sum());
    let id = format!("cmpl-{:016x}", asked.seed());
    let document = |choices: &Value| {
        json!({
            "id": id,
            "object": "text_completion",
            "created": text::CREATED,
            "model": model,
            "system_fingerprint": "fp_mock",
            "choices": choices,
        })
    };
    let choice = |index: usize, text: &str, reason: Option<&str>| json!({ "index": index, "text": text, "logprobs": null, "finish_reason": reason });
    if stream == Stream::No {
        let choices =
            choices.iter().enumerate().map(|(index, (text, reason))| choice(index, text, Some(reason)));
        let mut document = document(&choices.collect());
        document["usage"] = usage;
        return Ok(Answer::json(200, &document));
    }
    let mut events = Vec::new();
    for (index, (text, reason)) in choices.iter().enumerate() {
        events.extend(
            text::pieces(text).into_iter().map(|piece| document(&json!([choice(index, piece, None)]))),
        );
        events.push(document(&json!([choice(index, "", Some(reason))])));
    }
    if stream == Stream::WithUsage {
        text::add_usage(&mut events, &usage);
    }
    Ok(text::events(&events, asked.options.pace))
}
