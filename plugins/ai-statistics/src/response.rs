//! A response under way: what is kept of it, and what its attributes find there.

use std::time::Duration;

use common::http::{Head, encoding};
use common::json;
use common::llm::usage::{Details, Format, Reader, Report, Usage};

use crate::attribute::{Attribute, Collected, Source, Value};
use crate::built_in::{self, BuiltIn, Tokens};
use crate::config::{Config, MAX_KEPT, What};
use crate::conventions::FinishReasons;
use crate::log::Redaction;
use crate::tool_calls::ToolCalls;

/// What Bedrock's InvokeModel says of usage.
const BEDROCK_INPUT: &str = "x-amzn-bedrock-input-token-count";
const BEDROCK_OUTPUT: &str = "x-amzn-bedrock-output-token-count";

/// A response under way.
pub(crate) struct Response {
    pub(crate) is_stream: bool,
    decoder: Option<encoding::Decoder>,
    reader: Option<Reader>,
    collected: Vec<Collected>,
    calls: ToolCalls,
    /// Where a span wants them.
    reasons: Option<FinishReasons>,
    /// How long its first piece was waited for.
    pub(crate) first: Option<Duration>,
    /// What the head says of usage.
    from_head: Option<Usage>,
}

/// What a response is to be read for, and how.
pub(crate) struct Wanted {
    /// `None`: it is not read.
    pub(crate) format: Option<Format>,
    pub(crate) decoder: Option<encoding::Decoder>,
    pub(crate) is_stream: bool,
    /// Why it ended is of interest.
    pub(crate) has_reasons: bool,
}

impl Response {
    pub(crate) fn new(config: &Config, head: &Head, wanted: Wanted) -> Self {
        let reasons = wanted.has_reasons.then(FinishReasons::default);
        let keep = if reasons.is_some() { &config.of_traced_response } else { &config.of_response };
        Self {
            is_stream: wanted.is_stream,
            decoder: wanted.decoder,
            reader: wanted.format.map(|format| Reader::new(format, keep.clone(), MAX_KEPT)),
            collected: config.searches.iter().map(|search| Collected::new(search.rule)).collect(),
            calls: ToolCalls::default(),
            reasons,
            first: None,
            from_head: reported(head),
        }
    }

    /// What was kept of a whole body: members of it, as one object.
    pub(crate) fn kept(&self) -> &[u8] {
        self.reader.as_ref().map(Reader::kept).unwrap_or_default()
    }

    /// Whether the body has this member, but too large to be kept.
    pub(crate) fn lacks(&self, name: &str) -> bool {
        self.reader.as_ref().is_some_and(|reader| reader.lacks(name))
    }

    pub(crate) fn read(&mut self, config: &Config, piece: &[u8], end: bool) {
        let Self { decoder, reader, collected, calls, reasons, .. } = self;
        let Some(reader) = reader else { return };
        let is_passed_by = config.searches.is_empty() && reasons.is_none();
        let mut on_event = |text: &[u8]| {
            search(config, collected, calls, text);
            if let Some(reasons) = reasons
                && let Ok(event) = json::object(text)
            {
                reasons.read(&event);
            }
        };
        let mut read = |piece: &[u8], end: bool| match is_passed_by {
            true => reader.push(piece, end, None),
            false => reader.push(piece, end, Some(&mut on_event)),
        };
        match decoder {
            None => read(piece, end),
            Some(decoder) => {
                decoder.push(piece, &mut |decoded| read(decoded, false));
                if end {
                    read(b"", true);
                }
            }
        }
    }

    /// Why the answer ended, where that is asked.
    pub(crate) fn reasons(&self) -> Option<Vec<u8>> {
        let reasons = self.reasons.as_ref()?;
        if self.is_stream {
            return reasons.to_json();
        }
        let mut reasons = FinishReasons::default();
        reasons.read(&json::object(self.reader.as_ref()?.kept()).ok()?);
        reasons.to_json()
    }

    pub(crate) fn take_report(&mut self) -> Report {
        let mut report = self.reader.as_mut().map(Reader::take_report).unwrap_or_default();
        report.usage = report.usage.or_else(|| self.from_head.take());
        report
    }

    /// What the searches for one attribute found in a stream; the first that found something counts.
    pub(crate) fn streamed(&mut self, config: &Config, at: usize, attribute: &Attribute) -> Option<Value> {
        let mut empty = None;
        for (search, collected) in config.searches.iter().zip(&mut self.collected) {
            if search.attribute != at {
                continue;
            }
            let value = match search.what {
                What::BuiltIn(BuiltIn::ToolCalls) => {
                    let json = self.calls.to_json();
                    json.and_then(|json| Value::of(&json, config.value_limit, &attribute.redaction))
                }
                _ => collected.finish(config.stream_limit, &attribute.redaction),
            };
            match value {
                Some(value) if value.is_empty() => empty = Some(value),
                Some(value) => return Some(value),
                None => {}
            }
        }
        empty.filter(|_| attribute.built_in.is_none())
    }

    /// The built-in value in a whole body.
    pub(crate) fn whole(&self, limit: usize, wanted: BuiltIn, redaction: &Redaction) -> Option<Value> {
        let body = json::object(self.reader.as_ref()?.kept()).ok()?;
        if wanted != BuiltIn::ToolCalls {
            return built_in::whole(&body, wanted).map(|text| Value::of_text(&text, limit, redaction));
        }
        if let Some(choices) = body.get("choices") {
            let message = choices.elements()?.first()?.object()?.get("message")?.object()?;
            return Value::of(message.get("tool_calls")?.text(), limit, redaction);
        }
        let mut calls = ToolCalls::default();
        calls.blocks(body.get("content")?, limit);
        Value::of(&calls.to_json()?, limit, redaction)
    }
}

/// Looks into one event of a stream for what attributes want.
fn search(config: &Config, collected: &mut [Collected], calls: &mut ToolCalls, text: &[u8]) {
    let mut parsed = None;
    for (search, collected) in config.searches.iter().zip(collected) {
        let Some(Attribute { source, redaction, .. }) = config.attributes.get(search.attribute) else {
            continue;
        };
        match &search.what {
            What::Path => {
                if let Source::Stream { path: Some(path), .. } = source
                    && let Some(found) = path.find(text)
                {
                    collected.take(&found, config.stream_limit, redaction);
                }
            }
            What::BuiltIn(wanted) => {
                let parsed = parsed.get_or_insert_with(|| json::object(text));
                let Ok(event) = parsed else { continue };
                if *wanted == BuiltIn::ToolCalls {
                    calls.event(event, config.stream_limit);
                } else if let Some(added) = built_in::added(event, *wanted) {
                    collected.take_text(&added, config.stream_limit, redaction);
                }
            }
        }
    }
}

/// The counts that an attribute is.
pub(crate) fn counted(report: &Report, tokens: Tokens, redaction: &Redaction) -> Option<Value> {
    let usage = report.usage.as_ref()?;
    let number = |count: Option<u64>| Value::of(count?.to_string().as_bytes(), usize::MAX, redaction);
    // A map is written as a text.
    let map = |details: &Details| {
        let text = details.to_json();
        Some(Value::Text(String::from_utf8_lossy(&redaction.applied(text.as_bytes())).into_owned()))
    };
    match tokens {
        Tokens::Reasoning => number(usage.reasoning),
        Tokens::Cached => number(usage.cached),
        Tokens::InputDetails => map(&usage.input_details),
        Tokens::OutputDetails => map(&usage.output_details),
    }
}

/// Usage that stands in the head.
fn reported(head: &Head) -> Option<Usage> {
    let number = |name: &str| head.get_str(name)?.parse::<u64>().ok();
    let (input, output) = (number(BEDROCK_INPUT), number(BEDROCK_OUTPUT));
    if input.is_none() && output.is_none() {
        return None;
    }
    let mut usage = Usage::default();
    (usage.input, usage.output) = (input, output);
    Some(usage)
}
