//! The output of a response: its items, and the object that they stand in.

use std::borrow::Cow;

use common::json::{self, ArrayWriter, Kind as JsonKind, Object, ObjectWriter, Raw};

use super::argument::Argument;
use super::input::ACTION;
use super::thinking::{MARK, write_sealed};
use super::tools::{Kind, Tools};
use crate::Stamp;
use crate::read::string;

/// No id that OpenAI makes is longer.
const MAX_ID: usize = 40;

/// An action of which nothing is known, or nothing yet.
const NO_ACTION: &[u8] = br#"{"type":"exec","command":[],"env":{}}"#;

/// How far a response or an item has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    InProgress,
    Completed,
    Incomplete,
    Failed,
}

impl Status {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Incomplete => "incomplete",
            Self::Failed => "failed",
        }
    }
}

/// Why a chat ended, as why a response is incomplete; `None`: it is complete.
pub(super) fn incomplete(reason: Option<&str>) -> Option<&'static str> {
    match reason? {
        "length" | "max_tokens" | "model_length" => Some("max_output_tokens"),
        "content_filter" | "sensitive" => Some("content_filter"),
        _ => None,
    }
}

/// What a response has of its chat.
#[derive(Debug)]
pub(super) struct Head {
    /// What the ids of the response and of its items end in.
    pub(super) id: String,
    created: u64,
    /// As JSON, like what follows.
    model: Vec<u8>,
    service_tier: Vec<u8>,
}

impl Head {
    /// Of a chat, a chunk of one, or nothing at all; with what was asked for where it does not say.
    pub(super) fn of(chat: Option<&Object<'_>>, asked: &Asked) -> Self {
        let get = |name: &str| chat.and_then(|chat| chat.get(name));
        let text =
            |name: &str| get(name).filter(|value| value.escaped().is_some_and(|text| !text.is_empty()));
        let id = get("id").and_then(|id| id.as_str()).and_then(|id| {
            let id = id.strip_prefix("chatcmpl-").unwrap_or(&id);
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
            (!id.is_empty() && id.len() <= MAX_ID && id.bytes().all(is_plain)).then(|| id.to_owned())
        });
        let Stamp { created, seed } = asked.stamp;
        let or = |value: Option<Raw<'_>>, asked: &[u8]| {
            value.map_or_else(|| asked.to_vec(), |value| value.text().to_vec())
        };
        Self {
            id: id.unwrap_or_else(|| format!("{created:08x}{seed:016x}")),
            created: get("created").and_then(|created| created.as_u64()).unwrap_or(created),
            model: or(text("model"), &asked.model),
            service_tier: or(text("service_tier"), &asked.service_tier),
        }
    }
}

/// What is kept of a request for its response.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) stamp: Stamp,
    /// As JSON, like what follows.
    pub(super) model: Vec<u8>,
    pub(super) service_tier: Vec<u8>,
    pub(super) echo: Vec<(&'static str, Cow<'static, [u8]>)>,
    pub(super) tools: Tools,
}

/// How a response stands.
pub(super) struct State<'s> {
    pub(super) status: Status,
    pub(super) items: &'s [Item],
    /// Why it is incomplete.
    pub(super) incomplete: Option<&'static str>,
    /// Code and message.
    pub(super) error: Option<(&'s str, &'s str)>,
    pub(super) usage: Option<Usage>,
}

impl Asked {
    /// Writes the response. Nobody here has a clock for when it was complete.
    pub(super) fn write(&self, head: &Head, state: &State<'_>, out: &mut Vec<u8>) {
        let mut response = ObjectWriter::open(out);
        response.pieces("id", [b"resp_", head.id.as_bytes()]);
        response.raw("object", br#""response""#);
        response.number("created_at", head.created);
        response.text("status", state.status.name());
        response.raw("completed_at", b"null");
        match state.error {
            Some((code, message)) => {
                let mut error = ObjectWriter::open(response.member("error"));
                error.text("code", code);
                error.text("message", message);
                error.close();
            }
            None => response.raw("error", b"null"),
        }
        match state.incomplete {
            Some(reason) => {
                let mut details = ObjectWriter::open(response.member("incomplete_details"));
                details.text("reason", reason);
                details.close();
            }
            None => response.raw("incomplete_details", b"null"),
        }
        response.raw("model", &head.model);
        let mut output = ArrayWriter::open(response.member("output"));
        for (at, item) in state.items.iter().enumerate() {
            let is_cut = state.status == Status::Incomplete && at + 1 == state.items.len();
            let status = if is_cut { Status::Incomplete } else { Status::Completed };
            item.write(head, at, status, output.element());
        }
        output.close();
        for (name, value) in &self.echo {
            response.raw(name, value);
        }
        response.raw("service_tier", &head.service_tier);
        match state.usage {
            Some(usage) => usage.write(response.member("usage")),
            None => response.raw("usage", b"null"),
        }
        response.close();
    }
}

/// One thing that a model has done. Texts are kept as they stand inside a JSON string.
#[derive(Debug)]
pub(super) enum Item {
    Thinking(Thinking),
    Message(Vec<Part>),
    Call(Call),
}

/// What a model has thought.
#[derive(Debug, Default)]
pub(super) struct Thinking {
    pub(super) text: Vec<u8>,
    /// What can be sent again of it: elements of a chat's `thinking_blocks`.
    pub(super) blocks: Vec<u8>,
}

/// A part of what is said.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) refuses: bool,
    pub(super) text: Vec<u8>,
    /// Elements of the lists of this name, as JSON.
    pub(super) logprobs: Vec<u8>,
    pub(super) annotations: Vec<u8>,
    /// How many.
    pub(super) annotated: u64,
}

/// A call of a tool.
#[derive(Debug)]
pub(super) struct Call {
    /// As JSON, like the name and the namespace.
    pub(super) id: Vec<u8>,
    pub(super) name: Vec<u8>,
    pub(super) namespace: Option<Vec<u8>>,
    pub(super) kind: Kind,
    /// The arguments, or the input of a custom tool.
    pub(super) text: Vec<u8>,
    /// Where that input is found.
    argument: Argument,
    /// What the local shell is to do, once that is known.
    action: Option<Vec<u8>>,
}

impl Item {
    /// Writes the id of the item that stands at this place.
    pub(super) fn write_id(&self, head: &Head, at: usize, out: &mut Vec<u8>) {
        out.push(b'"');
        out.extend_from_slice(self.prefix());
        out.extend_from_slice(head.id.as_bytes());
        out.push(b'_');
        json::write_number(out, at as u64);
        out.push(b'"');
    }

    /// What its id begins with.
    fn prefix(&self) -> &'static [u8] {
        match self {
            Self::Thinking(_) => MARK.as_bytes(),
            Self::Message(_) => b"msg_",
            Self::Call(call) => match call.kind {
                Kind::Function => b"fc_",
                Kind::Custom => b"ctc_",
                Kind::Shell => b"lsh_",
            },
        }
    }

    /// Writes the item that stands at this place.
    pub(super) fn write(&self, head: &Head, at: usize, status: Status, out: &mut Vec<u8>) {
        let mut item = ObjectWriter::open(out);
        self.write_id(head, at, item.member("id"));
        match self {
            Self::Thinking(Thinking { text, blocks }) => {
                item.raw("type", br#""reasoning""#);
                item.text("status", status.name());
                let mut summary = ArrayWriter::open(item.member("summary"));
                if !text.is_empty() {
                    write_summary(text, summary.element());
                }
                summary.close();
                if !blocks.is_empty() {
                    write_sealed(blocks, item.member("encrypted_content"));
                }
            }
            Self::Message(parts) => {
                item.raw("type", br#""message""#);
                item.text("status", status.name());
                item.raw("role", br#""assistant""#);
                let mut content = ArrayWriter::open(item.member("content"));
                for part in parts {
                    part.write(content.element());
                }
                content.close();
            }
            Self::Call(call) => call.write(status, &mut item),
        }
        item.close();
    }
}

/// Writes the one part of a summary.
pub(super) fn write_summary(text: &[u8], out: &mut Vec<u8>) {
    let mut part = ObjectWriter::open(out);
    part.raw("type", br#""summary_text""#);
    part.pieces("text", [text]);
    part.close();
}

impl Part {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut part = ObjectWriter::open(out);
        if self.refuses {
            part.raw("type", br#""refusal""#);
            part.pieces("refusal", [self.text.as_slice()]);
        } else {
            part.raw("type", br#""output_text""#);
            part.pieces("text", [self.text.as_slice()]);
            for (name, elements) in [("annotations", &self.annotations), ("logprobs", &self.logprobs)] {
                write_list(elements, part.member(name));
            }
        }
        part.close();
    }
}

/// Writes a list of these elements.
pub(super) fn write_list(elements: &[u8], out: &mut Vec<u8>) {
    out.push(b'[');
    out.extend_from_slice(elements);
    out.push(b']');
}

/// Adds an element to those of a list.
pub(super) fn add(elements: &mut Vec<u8>, element: &[u8]) {
    if !elements.is_empty() {
        elements.push(b',');
    }
    elements.extend_from_slice(element);
}

impl Call {
    /// A call that has just begun. `id`, as JSON, if the vendor gives one; `place`, where it stands in the output.
    pub(super) fn new(id: Option<Vec<u8>>, name: Raw<'_>, head: &Head, place: usize, tools: &Tools) -> Self {
        let tool = name.as_str().and_then(|name| tools.find(&name));
        Self {
            id: id.unwrap_or_else(|| format!("\"call_{}_{place}\"", head.id).into_bytes()),
            name: tool.map_or_else(|| name.text().to_vec(), |tool| tool.name.clone()),
            namespace: tool.and_then(|tool| tool.namespace.clone()),
            kind: tool.map_or(Kind::Function, |tool| tool.kind),
            text: Vec::new(),
            argument: Argument::new(),
            action: None,
        }
    }

    /// Takes a piece of the arguments. They should be text; some vendors send an object.
    pub(super) fn push(&mut self, arguments: Raw<'_>) {
        if arguments.kind() == JsonKind::Null {
            return;
        }
        match (self.kind, arguments.escaped()) {
            (Kind::Custom, Some(_)) => {
                self.argument.push(&arguments.as_str().unwrap_or_default(), &mut self.text);
            }
            (Kind::Custom, None) => {
                self.argument.push(&String::from_utf8_lossy(arguments.text()), &mut self.text);
            }
            (_, Some(escaped)) => self.text.extend_from_slice(escaped),
            (_, None) => {
                let quoted = json::string(&String::from_utf8_lossy(arguments.text()));
                self.text
                    .extend_from_slice(quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default());
            }
        }
    }

    /// The arguments are complete.
    pub(super) fn finish(&mut self) {
        match self.kind {
            Kind::Custom => self.argument.finish(&mut self.text),
            Kind::Shell => self.action = self.read_action(),
            // A function that takes nothing is called with nothing by some.
            Kind::Function if self.text.is_empty() => self.text.extend_from_slice(b"{}"),
            Kind::Function => {}
        }
    }

    /// What the local shell is to do; `None`: nobody can tell.
    fn read_action(&self) -> Option<Vec<u8>> {
        let quoted = [b"\"", self.text.as_slice(), b"\""].concat();
        let text = json::value(&quoted).ok()?.as_str()?.into_owned();
        // Nothing nested is proven to be JSON by finding an object's members.
        json::tree(text.as_bytes()).ok()?;
        let arguments = json::object(text.as_bytes()).ok()?;
        let mut out = Vec::new();
        let mut action = ObjectWriter::open(&mut out);
        action.raw("type", br#""exec""#);
        for name in ACTION {
            let value = arguments.get(name).filter(|value| value.kind() != JsonKind::Null);
            match (name, value) {
                ("command", Some(command)) if command.kind() == JsonKind::String => {
                    write_list(command.text(), action.member(name));
                }
                ("command", None) => return None,
                (_, Some(value)) => action.raw(name, value.text()),
                ("env", None) => action.raw(name, b"{}"),
                (_, None) => {}
            }
        }
        action.close();
        Some(out)
    }

    fn write(&self, status: Status, item: &mut ObjectWriter<'_>) {
        let (kind, text) = match self.kind {
            Kind::Function => ("function_call", "arguments"),
            Kind::Custom => ("custom_tool_call", "input"),
            Kind::Shell => ("local_shell_call", "action"),
        };
        item.text("type", kind);
        item.text("status", status.name());
        item.raw("call_id", &self.id);
        if self.kind == Kind::Shell {
            return item.raw(text, self.action.as_deref().unwrap_or(NO_ACTION));
        }
        item.raw("name", &self.name);
        if let Some(namespace) = &self.namespace {
            item.raw("namespace", namespace);
        }
        item.pieces(text, [self.text.as_slice()]);
    }
}

/// A citation of a chat's, as one of a response's.
pub(super) fn annotation(annotation: &Object<'_>) -> Option<Vec<u8>> {
    let cited = annotation.get("url_citation")?.object()?;
    let mut out = Vec::new();
    let mut object = ObjectWriter::open(&mut out);
    object.raw("type", br#""url_citation""#);
    for name in ["start_index", "end_index"] {
        let number = cited.get(name).and_then(|number| number.as_u64()).unwrap_or(0);
        object.number(name, number);
    }
    for name in ["url", "title"] {
        object.raw(name, string(cited.get(name)));
    }
    object.close();
    Some(out)
}

/// Tokens, counted as OpenAI does.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Usage {
    input: u64,
    cached: u64,
    cache_written: u64,
    output: u64,
    thinking: u64,
    total: u64,
}

impl Usage {
    pub(super) fn of(usage: &Object<'_>) -> Self {
        let count = |name: &str| usage.get(name).and_then(|count| count.as_u64());
        let detail = |of: &str, name: &str| usage.get(of).and_then(|of| of.object()?.get(name)?.as_u64());
        let input = count("prompt_tokens").unwrap_or(0);
        let output = count("completion_tokens").unwrap_or(0);
        let cached = detail("prompt_tokens_details", "cached_tokens");
        Self {
            input,
            // Moonshot's and DeepSeek's own names.
            cached: cached
                .or_else(|| count("cached_tokens"))
                .or_else(|| count("prompt_cache_hit_tokens"))
                .unwrap_or(0),
            cache_written: detail("prompt_tokens_details", "cache_write_tokens").unwrap_or(0),
            output,
            thinking: detail("completion_tokens_details", "reasoning_tokens").unwrap_or(0),
            total: count("total_tokens").unwrap_or_else(|| input.saturating_add(output)),
        }
    }

    fn write(self, out: &mut Vec<u8>) {
        let mut usage = ObjectWriter::open(out);
        usage.number("input_tokens", self.input);
        let mut details = ObjectWriter::open(usage.member("input_tokens_details"));
        details.number("cached_tokens", self.cached);
        details.number("cache_write_tokens", self.cache_written);
        details.close();
        usage.number("output_tokens", self.output);
        let mut details = ObjectWriter::open(usage.member("output_tokens_details"));
        details.number("reasoning_tokens", self.thinking);
        details.close();
        usage.number("total_tokens", self.total);
        usage.close();
    }
}
