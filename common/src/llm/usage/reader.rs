//! Responses, read as they pass.

use base64::prelude::{BASE64_STANDARD, Engine as _};

use crate::framing::{aws_event_stream, sse};
use crate::json::{self, Raw, Skim, Skimmer, Want};

use super::kept::{Keep, Kept};
use super::report::Report;

/// The largest event that is read.
const MAX_EVENT: usize = 1 << 20;
/// The largest member of a body that is looked into for usage.
const MAX_MEMBER: usize = 64 << 10;

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

/// Whether an event may have usage in it that is not null. `g` is rare in JSON, so few places are looked at twice.
pub(super) fn says_usage(text: &[u8]) -> bool {
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
    use std::rc::Rc;

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
