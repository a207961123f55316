//! What answers say beside their content: how many tokens they took, which model gave them, and their id.
//!
//! One reader for every wire format: OpenAI's, Anthropic's, Gemini's, Bedrock's, Cohere's, DashScope's and Ollama's
//! names differ, so each is known wherever it stands. A stream says its counts again and again, each time
//! cumulative: a later number takes the place of an earlier one and is never added to it.

use std::rc::Rc;

use base64::prelude::{BASE64_STANDARD, Engine as _};

use crate::framing::{aws_event_stream, sse};
use crate::json::{self, Kind, Object, Raw, Skim, Skimmer, Want};

/// The largest event that is read.
const MAX_EVENT: usize = 1 << 20;
/// The largest member of a body that is looked into for usage.
const MAX_MEMBER: usize = 64 << 10;
/// A longer id or name of a model is none.
const MAX_NAME: usize = 1024;
/// How many kinds of tokens are told apart in each direction.
const MAX_DETAILS: usize = 32;
/// How many members are remembered for which there was no room.
const MAX_LOST: usize = 32;
/// What Bedrock adds to the last event that InvokeModel streams.
const BEDROCK_METRICS: &str = "amazon-bedrock-invocationMetrics";
/// Model and id are said at the beginning of a stream, or never.
const FIRST_EVENTS: u32 = 4;

/// Tokens of one exchange.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Usage {
    /// Of the request, as the vendor counts them: Anthropic and Bedrock leave out what their caches know.
    pub input: Option<u64>,
    /// Of the answer.
    pub output: Option<u64>,
    /// Of the request, read from a cache.
    pub cached: Option<u64>,
    /// Of the answer, spent on thinking.
    pub reasoning: Option<u64>,
    /// Kinds of tokens of the request, under the vendor's names.
    pub input_details: Details,
    /// Kinds of tokens of the answer.
    pub output_details: Details,
    /// As the vendor says.
    total: Option<u64>,
    /// OpenAI and Gemini count in `input` what their caches know.
    has_cached_input: bool,
    /// What Gemini leaves out of `output`.
    thoughts: u64,
}

/// Counts by name.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Details(Vec<(String, u64)>);

impl Details {
    /// Names and counts, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(name, count)| (name.as_str(), *count))
    }

    /// The count of that name.
    #[must_use]
    pub fn count(&self, name: &str) -> Option<u64> {
        self.iter().find(|(known, _)| *known == name).map(|(_, count)| count)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A JSON object.
    #[must_use]
    pub fn to_json(&self) -> String {
        let members = self
            .iter()
            .map(|(name, count)| format!("{}:{count}", String::from_utf8_lossy(&json::string(name))));
        format!("{{{}}}", members.collect::<Vec<_>>().join(","))
    }

    fn set(&mut self, name: &str, count: u64) {
        match self.0.binary_search_by(|(known, _)| known.as_str().cmp(name)) {
            Ok(at) => {
                if let Some((_, known)) = self.0.get_mut(at) {
                    *known = (*known).max(count);
                }
            }
            Err(at) if self.0.len() < MAX_DETAILS && name.len() <= MAX_NAME => {
                self.0.insert(at, (name.to_owned(), count));
            }
            Err(_) => {}
        }
    }

    /// A map of counts, or a list of them by modality, as Gemini has it.
    fn read(&mut self, value: Raw<'_>) {
        if let Some(object) = value.object() {
            for (name, count) in object.members() {
                self.set(&name, number(count).unwrap_or(0));
            }
        }
        for entry in value.elements().unwrap_or_default().iter().filter_map(Raw::object) {
            let name = entry.get("modality").and_then(|name| name.as_str());
            let count = entry.get("tokenCount").and_then(number);
            if let (Some(name), Some(count)) = (name, count) {
                self.set(&name, count);
            }
        }
    }
}

impl Usage {
    /// All tokens: as the vendor says, else the sum of what it does say.
    #[must_use]
    pub fn total(&self) -> u64 {
        let beside = |name: &str| self.input_details.count(name).unwrap_or(0);
        self.total.unwrap_or_else(|| {
            [
                self.input.unwrap_or(0),
                self.output.unwrap_or(0),
                beside("cache_creation_input_tokens"),
                beside("cache_read_input_tokens"),
            ]
            .into_iter()
            .fold(0, u64::saturating_add)
        })
    }

    /// All of the request, what caches know included.
    #[must_use]
    pub fn whole_input(&self) -> Option<u64> {
        let read = self.input_details.count("cache_read_input_tokens");
        let beside = [read, self.cache_written()].into_iter().flatten();
        match self.has_cached_input {
            true => self.input,
            false => beside.fold(self.input, |sum, count| Some(sum.unwrap_or(0).saturating_add(count))),
        }
    }

    /// All of the answer, thoughts included.
    #[must_use]
    pub fn whole_output(&self) -> Option<u64> {
        match self.thoughts {
            0 => self.output,
            thoughts => Some(self.output.unwrap_or(0).saturating_add(thoughts)),
        }
    }

    /// Of the request, written to a cache.
    #[must_use]
    pub fn cache_written(&self) -> Option<u64> {
        self.input_details.count("cache_creation_input_tokens")
    }

    /// Takes the counts of one object, such as OpenAI's `usage`. A count of zero is not taken for one that is
    /// known to be more, since counts only grow.
    fn read(&mut self, object: &Object<'_>) -> bool {
        // Some vendors send two dialects' names at once, and fill in only the first.
        let (mut input, mut output) = (None, None);
        let mut found = false;
        for (name, value) in object.members() {
            let Some(count) = number(value) else {
                match &*name {
                    "prompt_tokens_details" | "input_tokens_details" | "promptTokensDetails" => {
                        self.input_details.read(value);
                        larger(&mut self.cached, self.input_details.count("cached_tokens"));
                    }
                    "completion_tokens_details" | "output_tokens_details" | "candidatesTokensDetails" => {
                        self.output_details.read(value);
                        larger(&mut self.reasoning, self.output_details.count("reasoning_tokens"));
                    }
                    _ => {}
                }
                continue;
            };
            match &*name {
                "prompt_tokens" | "promptTokenCount" => {
                    self.has_cached_input = true;
                    input = Some(count);
                }
                "inputTokens" | "inputTokenCount" => input = Some(count),
                "completion_tokens" | "candidatesTokenCount" | "outputTokens" | "outputTokenCount" => {
                    output = Some(count);
                }
                "input_tokens" => input = input.or(Some(count)),
                "output_tokens" => output = output.or(Some(count)),
                "total_tokens" | "totalTokenCount" | "totalTokens" => newer(&mut self.total, Some(count)),
                "cached_tokens" | "prompt_cache_hit_tokens" => larger(&mut self.cached, Some(count)),
                "cache_read_input_tokens" | "cacheReadInputTokens" => {
                    self.input_details.set("cache_read_input_tokens", count);
                    larger(&mut self.cached, Some(count));
                }
                "cache_creation_input_tokens" | "cacheWriteInputTokens" => {
                    self.input_details.set("cache_creation_input_tokens", count);
                }
                "cachedContentTokenCount" => {
                    self.input_details.set("cached_content_token_count", count);
                    larger(&mut self.cached, Some(count));
                }
                "toolUsePromptTokenCount" => self.input_details.set("tool_use_prompt_token_count", count),
                "search_units" => self.input_details.set("search_units", count),
                "thoughtsTokenCount" => {
                    self.output_details.set("thoughts_token_count", count);
                    larger(&mut self.reasoning, Some(count));
                    self.thoughts = self.thoughts.max(count);
                }
                "generated_images" => self.output_details.set("generated_images", count),
                _ => continue,
            }
            found = true;
        }
        newer(&mut self.input, input);
        newer(&mut self.output, output);
        found
    }
}

fn newer(known: &mut Option<u64>, said: Option<u64>) {
    if said.is_some_and(|said| said > 0 || known.is_none()) {
        *known = said;
    }
}

fn larger(known: &mut Option<u64>, said: Option<u64>) {
    *known = (*known).max(said);
}

/// A whole number, also where a vendor writes it as a fraction.
fn number(value: Raw<'_>) -> Option<u64> {
    if value.kind() != Kind::Number {
        return None;
    }
    value.as_u64().or_else(|| {
        let number = value.as_f64()?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "inside the range")]
        (0.0..=9e15).contains(&number).then_some(number as u64)
    })
}

/// What an answer says beside its content.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Report {
    /// `None`: it says nothing of usage.
    pub usage: Option<Usage>,
    /// Which model answered.
    pub model: Option<String>,
    /// The answer's id.
    pub id: Option<String>,
}

impl Report {
    /// Takes what one event or body says.
    pub fn read(&mut self, object: &Object<'_>) {
        for (name, value) in object.members() {
            self.member(&name, value);
        }
    }

    /// Whether a member of that name may say something.
    fn names(name: &str) -> bool {
        matches!(
            name,
            "usage"
                | "usageMetadata"
                | "response"
                | "message"
                | "body"
                | "meta"
                | "id"
                | "responseId"
                | "model"
                | "modelVersion"
                | "prompt_eval_count"
                | "eval_count"
                | BEDROCK_METRICS
        )
    }

    fn member(&mut self, name: &str, value: Raw<'_>) {
        match name {
            "id" | "responseId" => name_once(&mut self.id, value),
            "model" | "modelVersion" => name_once(&mut self.model, value),
            "usage" | "usageMetadata" | BEDROCK_METRICS => {
                if let Some(object) = value.object() {
                    self.count(&object);
                }
            }
            // OpenAI Responses and batches, Anthropic's first event.
            "response" | "message" | "body" => {
                let Some(object) = value.object() else { return };
                for name in ["id", "model", "usage", "usageMetadata", "body"] {
                    if let Some(value) = object.get(name) {
                        self.member(name, value);
                    }
                }
            }
            // Cohere.
            "meta" => {
                let Some(meta) = value.object() else { return };
                for inner in ["tokens", "billed_units"] {
                    if let Some(object) = meta.get(inner).as_ref().and_then(Raw::object) {
                        self.count(&object);
                    }
                }
            }
            // Ollama, which has no object around them.
            "prompt_eval_count" => newer(&mut self.usage.get_or_insert_default().input, number(value)),
            "eval_count" => newer(&mut self.usage.get_or_insert_default().output, number(value)),
            _ => {}
        }
    }

    fn count(&mut self, object: &Object<'_>) {
        let mut usage = self.usage.take().unwrap_or_default();
        let found = usage.read(object);
        if found || usage != Usage::default() {
            self.usage = Some(usage);
        }
    }
}

fn name_once(known: &mut Option<String>, value: Raw<'_>) {
    if known.is_none() && value.text().len() <= MAX_NAME {
        *known = value.as_str().filter(|name| !name.is_empty()).map(std::borrow::Cow::into_owned);
    }
}

/// Members of whole bodies that a reader is asked to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keep {
    /// None.
    Nothing,
    /// Those of these names.
    Members(Rc<[String]>),
    /// All.
    Everything,
}

impl Keep {
    /// Whether a member of that name is to be kept.
    #[must_use]
    pub fn wants(&self, name: &str) -> bool {
        match self {
            Self::Nothing => false,
            Self::Members(names) => names.iter().any(|known| known == name),
            Self::Everything => true,
        }
    }

    /// These and members of other names.
    #[must_use]
    pub fn with(self, others: &[&str]) -> Self {
        let known: &[String] = match &self {
            Self::Everything => return self,
            Self::Nothing => &[],
            Self::Members(names) => names,
        };
        Self::Members(known.iter().cloned().chain(others.iter().map(|name| (*name).to_owned())).collect())
    }
}

/// Members that were kept, as one object again.
#[derive(Debug, Clone, Default)]
pub struct Kept {
    text: Vec<u8>,
    is_closed: bool,
    /// The names of those for which there was no room.
    lost: Vec<String>,
}

impl Kept {
    /// Takes a member, if there is room for it within `limit`.
    pub fn take(&mut self, name: &str, value: &[u8], limit: usize) {
        self.begin();
        if self.text.len() + name.len() + value.len() > limit {
            return self.lose(name);
        }
        self.text.push(if self.text.is_empty() { b'{' } else { b',' });
        json::write_string(&mut self.text, name);
        self.text.push(b':');
        self.text.extend_from_slice(value);
    }

    /// There is a member for which there is no room.
    pub fn lose(&mut self, name: &str) {
        self.begin();
        if self.lost.len() < MAX_LOST {
            self.lost.push(name.to_owned());
        }
    }

    /// Whether there was no room for a member of that name.
    #[must_use]
    pub fn lacks(&self, name: &str) -> bool {
        self.lost.iter().any(|lost| lost == name)
    }

    fn begin(&mut self) {
        if self.is_closed {
            // Another object begins; the last one counts.
            *self = Self::default();
        }
    }

    /// The object has ended.
    pub fn close(&mut self) {
        if !self.is_closed && !self.text.is_empty() {
            self.text.push(b'}');
            self.is_closed = true;
        }
    }

    /// The object, once it is closed; else nothing.
    #[must_use]
    pub fn object(&self) -> &[u8] {
        if self.is_closed { &self.text } else { b"" }
    }
}

/// How a response is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object, several in lines, or an array of them.
    Json,
    /// Server-sent events.
    Sse,
    /// AWS's messages.
    AwsEventStream,
}

impl Format {
    /// The format of a media type that may say something of usage. A response without a type may be JSON.
    #[must_use]
    pub fn of(content_type: Option<&[u8]>) -> Option<Self> {
        let Some(content_type) = content_type else { return Some(Self::Json) };
        let essence = content_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        let suffix = essence.split_last_chunk::<5>().map_or(&b""[..], |(_, suffix)| suffix);
        match FORMATS.iter().find(|(name, _)| essence.eq_ignore_ascii_case(name.as_bytes())) {
            Some((_, format)) => Some(*format),
            None if suffix.eq_ignore_ascii_case(b"+json") => Some(Self::Json),
            None => None,
        }
    }
}

/// Media types that may say something of usage.
static FORMATS: [(&str, Format); 8] = [
    ("text/event-stream", Format::Sse),
    ("application/json", Format::Json),
    ("application/x-ndjson", Format::Json),
    ("application/jsonl", Format::Json),
    ("application/vnd.amazon.eventstream", Format::AwsEventStream),
    ("text/json", Format::Json),
    ("text/plain", Format::Json),
    ("text/javascript", Format::Json),
];

/// Gets the JSON of an event.
pub type OnEvent<'a> = dyn FnMut(&[u8]) + 'a;

/// Reads a response as it passes, and keeps nothing of it but what it was asked for.
#[derive(Debug)]
pub struct Reader {
    framing: Framing,
    report: Report,
    keep: Keep,
    kept: Kept,
    limit: usize,
    events: u32,
}

#[derive(Debug)]
enum Framing {
    Json(Skimmer),
    Sse(sse::Decoder),
    Aws(aws_event_stream::Decoder),
}

impl Reader {
    /// A reader that keeps these members of a whole body, up to so many bytes.
    #[must_use]
    pub fn new(format: Format, keep: Keep, limit: usize) -> Self {
        let framing = match format {
            Format::Json => Framing::Json(Skimmer::default()),
            Format::Sse => Framing::Sse(sse::Decoder::skipping(MAX_EVENT)),
            Format::AwsEventStream => Framing::Aws(aws_event_stream::Decoder::skipping(MAX_EVENT)),
        };
        Self { framing, report: Report::default(), keep, kept: Kept::default(), limit, events: 0 }
    }

    /// Takes the next piece. `end`: that is all. Every event of a stream that holds JSON is shown to `on_event`,
    /// if there is one.
    pub fn push(&mut self, piece: &[u8], end: bool, on_event: Option<&mut OnEvent<'_>>) {
        let mut ignored = |_: &[u8]| {};
        let (report, events) = (&mut self.report, &mut self.events);
        match &mut self.framing {
            // Most of a stream is text, and comes in whole events.
            Framing::Sse(decoder)
                if on_event.is_none()
                    && !end
                    && !report.is_early(*events)
                    && decoder.may_pass(piece)
                    && !says_usage(piece) => {}
            Framing::Json(skimmer) => {
                let mut body = Body { report, keep: &self.keep, kept: &mut self.kept, limit: self.limit };
                skimmer.push(piece, &mut body);
            }
            Framing::Sse(decoder) => {
                let on_event = on_event.unwrap_or(&mut ignored);
                let mut event = |event: &sse::Event| {
                    if let Some(text) = document(event.data()) {
                        report.event(events, text);
                        on_event(text);
                    }
                };
                // It skips what is too long, so it does not fail.
                let _ = decoder.push(piece, &mut event);
                if end {
                    decoder.finish(&mut event);
                }
            }
            Framing::Aws(decoder) => {
                let on_event = on_event.unwrap_or(&mut ignored);
                decoder.push(piece, &mut |message| {
                    // What InvokeModel streams is the model's own events, wrapped once more.
                    let wrapped = match message.header(":event-type") {
                        Some("chunk") => unwrapped(message.payload),
                        _ => None,
                    };
                    let text = wrapped.as_deref().unwrap_or(message.payload);
                    report.event(events, text);
                    if wrapped.is_some() {
                        report.read_metrics(text);
                    }
                    on_event(text);
                });
            }
        }
    }

    /// What was said, once that is all.
    pub fn take_report(&mut self) -> Report {
        std::mem::take(&mut self.report)
    }

    /// What was said so far.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Whether there was no room for a member of that name that was to be kept.
    #[must_use]
    pub fn lacks(&self, name: &str) -> bool {
        self.kept.lacks(name)
    }

    /// The members kept of a whole body, as one object; empty where none has ended.
    #[must_use]
    pub fn kept(&self) -> &[u8] {
        self.kept.object()
    }
}

impl Report {
    /// Bedrock's own counts, beside the model's.
    fn read_metrics(&mut self, text: &[u8]) {
        if let Ok(object) = json::object(text)
            && let Some(metrics) = object.get(BEDROCK_METRICS)
        {
            self.member(BEDROCK_METRICS, metrics);
        }
    }

    /// Whether the next event may say model or id, so many having been.
    fn is_early(&self, events: u32) -> bool {
        events < FIRST_EVENTS && (self.model.is_none() || self.id.is_none())
    }

    /// An event is only looked into where something can be expected of it.
    fn event(&mut self, events: &mut u32, text: &[u8]) {
        let is_early = self.is_early(*events);
        *events = events.saturating_add(1);
        if (is_early || says_usage(text))
            && let Ok(object) = json::object(text)
        {
            self.read(&object);
        }
    }
}

/// Whether an event may have usage in it that is not null. `g` is rare in JSON, so few places are looked at twice.
fn says_usage(text: &[u8]) -> bool {
    let has = |at: usize, word: &[u8]| text.get(at..).is_some_and(|rest| rest.starts_with(word));
    memchr::memchr_iter(b'g', text).any(|at| {
        if !at.checked_sub(4).is_some_and(|start| has(start, b"\"usage")) {
            return false;
        }
        let behind = text.get(at + 2..).unwrap_or_default();
        !behind.strip_prefix(b"\":").is_some_and(|value| value.trim_ascii_start().starts_with(b"null"))
    })
}

/// JSON, wherever it begins in the data of an event.
fn document(data: &[u8]) -> Option<&[u8]> {
    match data.first() {
        Some(b'{') => Some(data),
        _ => data.get(memchr::memchr2(b'{', b'[', data)?..).filter(|text| text.starts_with(b"{")),
    }
}

struct Body<'a> {
    report: &'a mut Report,
    keep: &'a Keep,
    kept: &'a mut Kept,
    limit: usize,
}

impl Skim for Body<'_> {
    fn wants(&mut self, name: &str) -> Want {
        if self.keep.wants(name) {
            Want::Value { limit: self.limit }
        } else if Report::names(name) {
            Want::Value { limit: MAX_MEMBER }
        } else {
            Want::Nothing
        }
    }

    fn member(&mut self, name: &str, value: Raw<'_>) {
        self.report.member(name, value);
        if self.keep.wants(name) {
            self.kept.take(name, value.text(), self.limit);
        }
    }

    fn too_large(&mut self, name: &str) {
        if self.keep.wants(name) {
            self.kept.lose(name);
        }
    }

    fn object_ends(&mut self) {
        self.kept.close();
    }
}

/// The `bytes` of a message, which are base64.
fn unwrapped(payload: &[u8]) -> Option<Vec<u8>> {
    let object = json::object(payload).ok()?;
    let text = object.get("bytes")?.as_str()?;
    BASE64_STANDARD.decode(&*text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays a response at every cut in two; gives what is said, which must be the same each time.
    fn read(format: Format, text: &[u8]) -> Report {
        let read = |pieces: &[&[u8]]| {
            let mut reader = Reader::new(format, Keep::Nothing, 0);
            for piece in pieces {
                reader.push(piece, false, None);
            }
            reader.push(b"", true, None);
            reader.report().clone()
        };
        let whole = read(&[text]);
        // Events come alone more often than not.
        let ends = memchr::memmem::find_iter(text, b"\n\n").map(|at| at + 2);
        let mut start = 0;
        let events: Vec<&[u8]> = ends.map(|end| &text[std::mem::replace(&mut start, end)..end]).collect();
        assert_eq!(read(&[events.as_slice(), &[&text[start..]]].concat()), whole, "event by event");
        for cut in 0..=text.len() {
            assert_eq!(read(&[&text[..cut], &text[cut..]]), whole, "cut at {cut}");
        }
        whole
    }

    fn sse(events: &[&str]) -> Vec<u8> {
        events.iter().flat_map(|event| format!("data: {event}\n\n").into_bytes()).collect()
    }

    /// Input, output, total; then model and id; then the details as JSON.
    fn check(report: &Report, counts: Option<(u64, u64, u64)>, names: (&str, &str), details: (&str, &str)) {
        let found = report.usage.as_ref();
        let numbers = found.map(|usage| (usage.input.unwrap_or(0), usage.output.unwrap_or(0), usage.total()));
        assert_eq!(numbers, counts, "{report:?}");
        let name = |name: &Option<String>| name.clone().unwrap_or_default();
        assert_eq!((name(&report.model).as_str(), name(&report.id).as_str()), names);
        let usage = found.cloned().unwrap_or_default();
        assert_eq!(
            (usage.input_details.to_json().as_str(), usage.output_details.to_json().as_str()),
            details
        );
    }

    const NONE: (&str, &str) = ("{}", "{}");

    #[test]
    fn openai_says_usage_at_the_end_of_a_stream_worked_case_u1() {
        let chunk = r#"{"id":"c","model":"m1","usage":null,"choices":[]}"#;
        let last = r#"{"model":"m1","choices":[],"usage":{"prompt_tokens":11,"completion_tokens":7,"total_tokens":18}}"#;
        let report = read(Format::Sse, &sse(&[chunk, chunk, chunk, last, "[DONE]"]));
        check(&report, Some((11, 7, 18)), ("m1", "c"), NONE);
    }

    #[test]
    fn anthropic_says_it_in_two_parts_worked_cases_u2_and_u3() {
        let start = r#"{"type":"message_start","message":{"id":"msg","model":"claude","usage":{"input_tokens":40,"output_tokens":1}}}"#;
        let delta = r#"{"type":"message_delta","usage":{"output_tokens":22}}"#;
        let report = read(Format::Sse, &sse(&[start, delta]));
        check(&report, Some((40, 22, 62)), ("claude", "msg"), NONE);

        let start = r#"{"message":{"model":"c","usage":{"input_tokens":9,"cache_read_input_tokens":100}}}"#;
        let delta =
            r#"{"usage":{"output_tokens":5,"cache_read_input_tokens":100,"cache_creation_input_tokens":3}}"#;
        let report = read(Format::Sse, &sse(&[start, delta]));
        let details = r#"{"cache_creation_input_tokens":3,"cache_read_input_tokens":100}"#;
        check(&report, Some((9, 5, 117)), ("c", ""), (details, "{}"));
        assert_eq!(report.usage.unwrap().cached, Some(100));
    }

    #[test]
    fn gemini_says_it_cumulatively_in_events_or_an_array_worked_case_u4() {
        let event = |output: u64| {
            format!(
                r#"{{"modelVersion":"g","responseId":"r","usageMetadata":{{"promptTokenCount":8,"candidatesTokenCount":{output},"thoughtsTokenCount":6,"totalTokenCount":{},"promptTokensDetails":[{{"modality":"TEXT","tokenCount":8}}]}}}}"#,
                14 + output
            )
        };
        let details = (r#"{"TEXT":8}"#, r#"{"thoughts_token_count":6}"#);
        let report = read(Format::Sse, &sse(&[&event(1), &event(4)]));
        check(&report, Some((8, 4, 18)), ("g", "r"), details);
        assert_eq!(report.usage.unwrap().reasoning, Some(6));
        let array = format!("[{},\r\n{}]\n", event(1), event(4));
        check(&read(Format::Json, array.as_bytes()), Some((8, 4, 18)), ("g", "r"), details);
        check(&read(Format::Json, event(4).as_bytes()), Some((8, 4, 18)), ("g", "r"), details);
    }

    #[test]
    fn responses_say_it_inside_their_response_worked_case_u5() {
        let created = r#"{"type":"response.created","response":{"id":"r1","model":"m2","usage":null}}"#;
        let completed = r#"{"type":"response.completed","response":{"id":"r1","model":"m2","usage":{"input_tokens":3,"output_tokens":2,"total_tokens":5,"input_tokens_details":{"cached_tokens":1},"output_tokens_details":{"reasoning_tokens":1}}}}"#;
        let report = read(Format::Sse, &sse(&[created, completed]));
        check(
            &report,
            Some((3, 2, 5)),
            ("m2", "r1"),
            (r#"{"cached_tokens":1}"#, r#"{"reasoning_tokens":1}"#),
        );
        let usage = report.usage.unwrap();
        assert_eq!((usage.cached, usage.reasoning), (Some(1), Some(1)));
    }

    #[test]
    fn whole_bodies_of_every_dialect_are_read() {
        for (body, counts, names, details) in [
            (
                r#"{"id":"e","model":"emb","usage":{"prompt_tokens":4,"total_tokens":4}}"#,
                (4, 0, 4),
                ("emb", "e"),
                NONE,
            ),
            (
                r#"{"model":"dash","usage":{"input_tokens":2,"output_tokens":3}}"#,
                (2, 3, 5),
                ("dash", ""),
                NONE,
            ),
            (
                r#"{"output":{},"usage":{"inputTokens":7,"outputTokens":1,"totalTokens":19,"cacheReadInputTokens":11}}"#,
                (7, 1, 19),
                ("", ""),
                (r#"{"cache_read_input_tokens":11}"#, "{}"),
            ),
            (
                r#"{"id":"k","meta":{"billed_units":{"search_units":1},"tokens":{"input_tokens":6}}}"#,
                (6, 0, 6),
                ("", "k"),
                (r#"{"search_units":1}"#, "{}"),
            ),
            (
                r#"{"created":1,"usage":{"input_tokens":10,"output_tokens":20,"total_tokens":30,"generated_images":2}}"#,
                (10, 20, 30),
                ("", ""),
                ("{}", r#"{"generated_images":2}"#),
            ),
            (
                r#"{"model":"llama","message":{"content":"x"},"prompt_eval_count":5,"eval_count":6}"#,
                (5, 6, 11),
                ("llama", ""),
                NONE,
            ),
            (
                r#"{"usage":{"prompt_tokens":5,"completion_tokens":6,"input_tokens":0,"output_tokens":0}}"#,
                (5, 6, 11),
                ("", ""),
                NONE,
            ),
        ] {
            check(&read(Format::Json, body.as_bytes()), Some(counts), names, details);
        }
    }

    #[test]
    fn all_of_a_request_and_of_an_answer_is_counted_in_every_dialect() {
        for (usage, input, output) in [
            // Anthropic and Bedrock leave out what caches know.
            (
                r#"{"input_tokens":9,"output_tokens":5,"cache_read_input_tokens":100,"cache_creation_input_tokens":3}"#,
                Some(112),
                Some(5),
            ),
            (
                r#"{"inputTokens":7,"outputTokens":1,"cacheReadInputTokens":11,"cacheWriteInputTokens":2}"#,
                Some(20),
                Some(1),
            ),
            // OpenAI, in both of its APIs, and those who add Anthropic's names to its do not.
            (r#"{"prompt_tokens":9,"prompt_tokens_details":{"cached_tokens":4}}"#, Some(9), None),
            (r#"{"input_tokens":9,"input_tokens_details":{"cached_tokens":4}}"#, Some(9), None),
            (r#"{"prompt_tokens":9,"input_tokens":9,"cache_read_input_tokens":4}"#, Some(9), None),
            (r#"{"prompt_tokens_details":{"cache_read_input_tokens":4},"prompt_tokens":9}"#, Some(9), None),
            // Gemini counts its cache in, and leaves thoughts out.
            (
                r#"{"promptTokenCount":8,"cachedContentTokenCount":5,"candidatesTokenCount":4,"thoughtsTokenCount":6}"#,
                Some(8),
                Some(10),
            ),
            (r#"{"completion_tokens":9,"completion_tokens_details":{"reasoning_tokens":4}}"#, None, Some(9)),
            ("{}", None, None),
        ] {
            let mut report = Report::default();
            report.read(&json::object(format!(r#"{{"usage":{usage}}}"#).as_bytes()).unwrap());
            let found = report.usage.unwrap_or_default();
            assert_eq!((found.whole_input(), found.whole_output()), (input, output), "{usage}");
        }
    }

    #[test]
    fn lines_of_objects_are_read_to_the_last() {
        let lines = b"{\"model\":\"l\",\"response\":\"a\",\"done\":false}\n{\"model\":\"l\",\"prompt_eval_count\":5,\"eval_count\":6}\n";
        check(&read(Format::Json, lines), Some((5, 6, 11)), ("l", ""), NONE);
    }

    #[test]
    fn what_is_wrapped_in_base64_is_read() {
        let unwrap = |text: &str| unwrapped(format!(r#"{{"bytes":"{text}"}}"#).as_bytes());
        for (text, expected) in
            [("", ""), ("YQ==", "a"), ("YWI=", "ab"), ("YWJj", "abc"), ("YWJjZA==", "abcd")]
        {
            assert_eq!(unwrap(text).as_deref(), Some(expected.as_bytes()), "{text}");
        }
        assert_eq!((unwrap("a b"), unwrap("YQ")), (None, None));
    }

    #[test]
    fn a_body_of_mebibytes_is_read_without_being_kept() {
        let body = format!(
            r#"{{"id":"c","choices":[{{"text":"{}"}}],"usage":{{"prompt_tokens":1,"completion_tokens":2}}}}"#,
            "x".repeat(5 << 20)
        );
        let mut reader = Reader::new(Format::Json, Keep::Members(Rc::from(["choices".to_owned()])), 1000);
        for piece in body.as_bytes().chunks(16 << 10) {
            reader.push(piece, false, None);
        }
        check(reader.report(), Some((1, 2, 3)), ("", "c"), NONE);
        assert_eq!(reader.kept(), b"");
        assert!(reader.lacks("choices") && !reader.lacks("usage"));
    }

    #[test]
    fn kept_members_are_one_object_again() {
        let names: Rc<[String]> = ["a", "c"].map(str::to_owned).into();
        let text = r#"{"a":1,"b":2,"c":{"d":"x"}}"#;
        for cut in 0..text.len() {
            let mut reader = Reader::new(Format::Json, Keep::Members(Rc::clone(&names)), 100);
            reader.push(&text.as_bytes()[..cut], false, None);
            assert_eq!(reader.kept(), b"", "cut at {cut}");
            reader.push(&text.as_bytes()[cut..], true, None);
            assert_eq!(reader.kept(), br#"{"a":1,"c":{"d":"x"}}"#, "cut at {cut}");
        }
    }

    #[test]
    fn a_response_that_says_nothing_has_no_usage() {
        for text in ["", "{}", "[]", r#"{"usage":null}"#, r#"{"usage":{}}"#, r#"{"usage":"x"}"#, "nonsense"] {
            check(&read(Format::Json, text.as_bytes()), None, ("", ""), NONE);
        }
    }

    #[test]
    fn media_types_say_how_a_response_is_divided() {
        for (content_type, format) in [
            ("application/json; charset=utf-8", Some(Format::Json)),
            ("text/event-stream;charset=utf-8", Some(Format::Sse)),
            ("application/vnd.amazon.eventstream", Some(Format::AwsEventStream)),
            ("application/x-ndjson", Some(Format::Json)),
            ("audio/mpeg", None),
            ("application/octet-stream", None),
        ] {
            assert_eq!(Format::of(Some(content_type.as_bytes())), format, "{content_type}");
        }
    }
}
