//! What is answered, whatever the API it was asked in.

use serde_json::{Value, json};

use super::message::Message;
use super::text::{self, Ended, plural};
use super::tools::{self, Call, Choice, Tool};

/// What a request comes to, as far as its answer depends on it.
pub(super) struct Wanted<'a> {
    pub(super) messages: &'a [Message],
    pub(super) tools: Vec<Tool<'a>>,
    pub(super) choice: Choice<'a>,
    /// Whether more than one tool may be called.
    pub(super) is_parallel: bool,
    pub(super) format: Format<'a>,
    /// What ends the text.
    pub(super) stops: Vec<&'a str>,
    /// How many words it may have.
    pub(super) most: Option<u64>,
}

/// What the text of an answer is to be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Format<'a> {
    Plain,
    Json,
    /// JSON by this schema.
    Schema(&'a Value),
}

/// An answer.
#[derive(Debug)]
pub(super) enum Reply<'a> {
    Text(Ended<'a>),
    Calls(Vec<Call>),
}

impl Reply<'_> {
    /// Its length, in words.
    pub(super) fn count(&self) -> usize {
        match self {
            Self::Text(ended) => text::count(&ended.text),
            Self::Calls(calls) => calls.iter().map(|call| text::count(&call.arguments)).sum(),
        }
    }
}

/// The answer: the calls of tools that the user mentions, or else a text, of which there may be `count` versions.
pub(super) fn replies<'a>(wanted: &Wanted<'a>, count: u64, seed: u64) -> Vec<Reply<'a>> {
    let results = results(wanted.messages);
    let said = said(wanted.messages);
    // A tool that has answered is not called again.
    let mentioned = if results.is_empty() { said } else { "" };
    let calls = tools::calls(&wanted.tools, wanted.choice, wanted.is_parallel, mentioned, seed);
    if !calls.is_empty() {
        // All versions make the same calls; one of them is enough.
        return vec![Reply::Calls(calls)];
    }
    let text = match results.as_slice() {
        [] => spoken(wanted, said),
        [result] => format!("The tool answered: {result}."),
        results => format!("The tools answered: {}.", results.join(", ")),
    };
    (1..=count)
        .map(|index| {
            let text = if index == 1 { text.clone() } else { format!("Answer {index}: {text}") };
            Reply::Text(text::end(&text, &wanted.stops, wanted.most))
        })
        .collect()
}

/// What is thought before the answer, where there is thinking.
pub(super) fn thought(messages: &[Message]) -> String {
    format!("They said \"{}\", so there is nothing to do but to repeat it.", text::quote(said(messages)))
}

/// How much was said, in words.
pub(super) fn count(messages: &[Message]) -> usize {
    messages.iter().map(|message| text::count(&message.text)).sum()
}

/// What the user said last.
fn said(messages: &[Message]) -> &str {
    messages.iter().rev().find(|message| message.role == "user").map_or("", |message| &message.text)
}

/// What tools have given since somebody said something.
fn results(messages: &[Message]) -> Vec<String> {
    let start = messages.iter().rposition(|message| !message.is_result()).map_or(0, |last| last + 1);
    messages[start..].iter().map(|message| format!("\"{}\"", text::quote(&message.text))).collect()
}

fn spoken(wanted: &Wanted<'_>, said: &str) -> String {
    let quoted = text::quote(said);
    let words = text::count(said);
    match wanted.format {
        Format::Plain => {
            let last = wanted.messages.iter().rev().find(|message| message.role == "user");
            let pictures: String = last
                .into_iter()
                .flat_map(|message| &message.pictures)
                .map(|picture| format!(" and showed {picture}"))
                .collect();
            format!(
                "You said \"{quoted}\"{pictures}, which is {} in a conversation of {}. I am a mock vendor: I repeat \
                 what I hear, without understanding any of it.",
                plural(words, "word"),
                plural(wanted.messages.len(), "message"),
            )
        }
        Format::Json => json!({ "said": quoted, "words": words }).to_string(),
        Format::Schema(schema) => tools::sample(schema, said, tools::DEEPEST).to_string(),
    }
}
