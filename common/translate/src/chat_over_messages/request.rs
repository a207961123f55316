//! A request for a chat, as a request for a message.

use common::http::Fault;
use common::json::{self, Kind, Object, ObjectWriter, Patch, Raw};

use super::conversation::Conversation;
use super::model::{Effort, Model, OFF, Off, Thinks};
use super::{schema, tools};
use crate::Dropped;
use crate::chat::{drop_others, refuse_audio};
use crate::place::Place;
use crate::read::{is_blank, is_of, member};

/// Members that are put in another way, or that nothing has to be said of. All others have no place.
const PUT: [&str; 27] = [
    "model",
    "messages",
    "max_tokens",
    "max_completion_tokens",
    "stream",
    "stream_options",
    "stop",
    "temperature",
    "top_p",
    "top_k",
    "thinking",
    "reasoning_effort",
    "reasoning_max_tokens",
    "reasoning",
    "output_config",
    "cache_control",
    "response_format",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "functions",
    "function_call",
    "web_search_options",
    "user",
    "safety_identifier",
    "modalities",
    "audio",
];

/// What is left for the answer where a model thinks within a budget and the client sets no limit.
const LEAST_ANSWER: u64 = 4096;

/// Longer ids are refused: <https://docs.anthropic.com/en/api/messages#body-metadata-user-id>.
const MAX_USER: usize = 256;

/// The least that Anthropic takes for thinking, and what it has to leave of all that may be said:
/// <https://docs.anthropic.com/en/docs/build-with-claude/extended-thinking>.
const LEAST_BUDGET: u64 = 1024;

/// What thinking leaves to be chosen from, at the least.
const LEAST_TOP_P: f64 = 0.95;

/// Writes the request for a message. Says whether it names files that were uploaded before.
///
/// # Errors
/// The messages are none, or something is asked for that no message can give.
pub(super) fn write(chat: &Object<'_>, out: &mut Vec<u8>, dropped: &mut Dropped) -> Result<bool, Fault> {
    refuse_audio(chat)?;
    let conversation = Conversation::of(chat)?;
    let mut request = ObjectWriter::open(out);
    let name = Place::Request.text_of(chat, "model")?;
    request.raw("model", name.text());
    let model = Model::of(&name.as_str().unwrap_or_default());
    let thinking = Thinking::of(chat, model, &conversation, dropped)?;
    request.number("max_tokens", thinking.max_tokens);
    match thinking.told {
        Told::Nothing | Told::Left => {}
        Told::Verbatim { thinking, .. } => request.raw("thinking", thinking.text()),
        Told::Budget(budget) => {
            let mut thinking = ObjectWriter::open(request.member("thinking"));
            thinking.raw("type", br#""enabled""#);
            thinking.number("budget_tokens", budget);
            thinking.close();
        }
        Told::Freely if model.is_after_4_6() => {
            request.raw("thinking", br#"{"type":"adaptive","display":"summarized"}"#);
        }
        Told::Freely => request.raw("thinking", br#"{"type":"adaptive"}"#),
        Told::Off(off) => request.raw("thinking", off),
    }
    write_sampling(chat, model, thinking.is_on(), &mut request, dropped)?;
    write_stops(chat, &mut request, dropped)?;
    if let Some(stream) = member(chat, "stream").filter(|stream| stream.as_bool() != Some(false)) {
        request.raw("stream", stream.text());
    }
    write_user(chat, &mut request, dropped)?;
    write_output(chat, thinking.effort.map(|effort| model.effort(effort)), &mut request, dropped)?;
    if let Some(control) = member(chat, "cache_control") {
        request.raw("cache_control", control.text());
    }
    let may_be_made_to_call = model.can_be_made_to_call() && !thinking.is_budgeted();
    tools::write(chat, may_be_made_to_call, &mut request, dropped)?;
    let names_files = conversation.write(thinking.may_be_sent_again(), &mut request, dropped)?;
    request.close();
    drop_others(chat, "", &PUT, dropped);
    if let Some(options) = member(chat, "stream_options").and_then(|options| options.object()) {
        drop_others(&options, "stream_options", &["include_usage"], dropped);
    }
    Ok(names_files)
}

/// How much a model may think and say.
struct Thinking<'a> {
    told: Told<'a>,
    effort: Option<Effort>,
    max_tokens: u64,
}

/// What the vendor is told about thinking.
#[derive(Clone, Copy)]
enum Told<'a> {
    /// Nobody asks for it or forbids it.
    Nothing,
    /// It is asked for and cannot be, or it is not wanted.
    Left,
    /// What the client says in the vendor's own words.
    Verbatim {
        thinking: Raw<'a>,
        is_on: bool,
        is_budgeted: bool,
    },
    Budget(u64),
    /// To think, and that the model knows best how much.
    Freely,
    /// Not to think, as this model is told.
    Off(&'static [u8]),
}

impl<'a> Told<'a> {
    /// What is told, with the effort that goes with it, and how much is for thinking alone.
    fn of(
        chat: &Object<'a>,
        model: Model,
        limit: Option<u64>,
        conversation: &Conversation<'_>,
        dropped: &mut Dropped,
    ) -> Result<(Self, Option<Effort>, u64), Fault> {
        // An answer that has begun without thinking is refused thinking; adaptive thinking is not as strict.
        let goes_on = conversation.goes_on_without_thinking();
        if let Some(value) = member(chat, "thinking") {
            let thinking = Place::of("thinking").object(Some(value))?;
            let is_budgeted = is_of(&thinking, "type", "enabled");
            if is_budgeted && goes_on {
                dropped.name("thinking");
                return Ok((Self::Left, None, 0));
            }
            let is_on = !is_of(&thinking, "type", "disabled");
            let budget = thinking.get("budget_tokens").and_then(|budget| budget.as_u64());
            let reserved = budget.filter(|_| is_budgeted).unwrap_or(0);
            return Ok((Self::Verbatim { thinking: value, is_on, is_budgeted }, None, reserved));
        }
        let Some((name, asked)) = asked(chat)? else { return Ok((Self::Nothing, None, 0)) };
        let (effort, budget) = match asked {
            Asked::Nothing => {
                return Ok(match model.off() {
                    Off::Unsaid => (Self::Left, None, 0),
                    Off::Told(off) => (Self::Off(off), None, 0),
                    Off::Least(effort) => (Self::Nothing, Some(effort), 0),
                });
            }
            Asked::Effort(effort) => (effort, effort.budget()),
            Asked::Budget(budget) => (Effort::within(budget), budget),
        };
        Ok(match model.thinks() {
            Thinks::Freely => (Self::Freely, Some(effort), 0),
            Thinks::Within if !goes_on && limit.is_none_or(|limit| limit > LEAST_BUDGET) => {
                // Some models end where the default does.
                let most = match (limit, model.max_tokens()) {
                    (Some(limit), _) => limit.saturating_sub(1),
                    (None, ..=LEAST_ANSWER) => budget,
                    (None, default) => default.saturating_sub(LEAST_ANSWER),
                };
                let budget = budget.min(most);
                (Self::Budget(budget), None, budget)
            }
            Thinks::Within | Thinks::Never => {
                dropped.name(name);
                (Self::Left, None, 0)
            }
        })
    }
}

impl<'a> Thinking<'a> {
    fn of(
        chat: &Object<'a>,
        model: Model,
        conversation: &Conversation<'_>,
        dropped: &mut Dropped,
    ) -> Result<Self, Fault> {
        let limit = limit(chat)?;
        let (told, effort, reserved) = Told::of(chat, model, limit, conversation, dropped)?;
        let least = LEAST_ANSWER.saturating_add(reserved);
        let max_tokens = limit.unwrap_or_else(|| model.max_tokens().max(least));
        Ok(Self { told, effort, max_tokens })
    }

    fn is_on(&self) -> bool {
        matches!(self.told, Told::Budget(_) | Told::Freely | Told::Verbatim { is_on: true, .. })
    }

    fn is_budgeted(&self) -> bool {
        matches!(self.told, Told::Budget(_) | Told::Verbatim { is_budgeted: true, .. })
    }

    /// Where it is off, blocks of earlier thinking are refused in an answer that goes on. Some models think without
    /// being asked to, and some between calls of tools even if they are told not to.
    fn may_be_sent_again(&self) -> bool {
        match self.told {
            Told::Nothing => true,
            Told::Off(off) => off != OFF,
            _ => self.is_on(),
        }
    }
}

/// What a client asks for of thinking.
enum Asked {
    Nothing,
    Effort(Effort),
    Budget(u64),
}

/// What a client asks for and the name of the member that says so. Some vendors of chats have an object for it, and so
/// have clients of theirs.
fn asked(chat: &Object<'_>) -> Result<Option<(&'static str, Asked)>, Fault> {
    let reasoning = member(chat, "reasoning").map(|value| Place::of("reasoning").object(Some(value)));
    let reasoning = reasoning.transpose()?;
    let inner = |name: &str| reasoning.as_ref().and_then(|reasoning| member(reasoning, name));
    if let Some(budget) = positive("reasoning_max_tokens", member(chat, "reasoning_max_tokens"))? {
        return Ok(Some(("reasoning_max_tokens", Asked::Budget(budget.max(LEAST_BUDGET)))));
    }
    if let Some(budget) = positive("reasoning.max_tokens", inner("max_tokens"))? {
        return Ok(Some(("reasoning", Asked::Budget(budget.max(LEAST_BUDGET)))));
    }
    let (name, place, effort) = match (member(chat, "reasoning_effort"), inner("effort")) {
        (Some(effort), _) => ("reasoning_effort", "reasoning_effort", effort),
        (None, Some(effort)) => ("reasoning", "reasoning.effort", effort),
        (None, None) => return Ok(None),
    };
    let asked = match effort.as_str().as_deref() {
        Some("none") => Asked::Nothing,
        Some("minimal" | "low") => Asked::Effort(Effort::Low),
        Some("medium") => Asked::Effort(Effort::Medium),
        Some("high") => Asked::Effort(Effort::High),
        Some("xhigh") => Asked::Effort(Effort::XHigh),
        Some("max") => Asked::Effort(Effort::Max),
        _ => {
            let efforts = "`none`, `minimal`, `low`, `medium`, `high`, `xhigh` or `max`";
            return Err(Place::of(place).expected(efforts));
        }
    };
    Ok(Some((name, asked)))
}

fn limit(chat: &Object<'_>) -> Result<Option<u64>, Fault> {
    match positive("max_completion_tokens", member(chat, "max_completion_tokens"))? {
        None => positive("max_tokens", member(chat, "max_tokens")),
        limit => Ok(limit),
    }
}

/// A number of tokens. Zero, and less, which some clients send for no limit, is none.
fn positive(place: &str, value: Option<Raw<'_>>) -> Result<Option<u64>, Fault> {
    let Some(value) = value else { return Ok(None) };
    match (value.as_u64(), value.as_f64()) {
        (Some(number), _) => Ok(Some(number).filter(|number| *number > 0)),
        (None, Some(number)) if number <= 0.0 => Ok(None),
        _ => Err(Place::of(place).expected("a whole number")),
    }
}

/// Anthropic's range ends at 1 where OpenAI's ends at 2. Many models refuse both of `temperature` and `top_p`, so of two
/// the one is left out that changes nothing. Newer ones refuse all of them.
fn write_sampling(
    chat: &Object<'_>,
    model: Model,
    thinks: bool,
    request: &mut ObjectWriter<'_>,
    dropped: &mut Dropped,
) -> Result<(), Fault> {
    let mut temperature = number(chat, "temperature")?;
    let mut top_p = number(chat, "top_p")?;
    let top_k = number(chat, "top_k")?;
    if model.is_after_4_6() {
        for (name, said, usual) in
            [("temperature", temperature, Some(1.0)), ("top_p", top_p, Some(1.0)), ("top_k", top_k, None)]
        {
            if said.is_some_and(|(_, said)| Some(said) != usual) {
                dropped.name(name);
            }
        }
        return Ok(());
    }
    if thinks {
        if temperature.is_some_and(|(_, temperature)| temperature != 1.0) {
            temperature = None;
            dropped.name("temperature");
        }
        if let Some((text, value)) = &mut top_p
            && *value < LEAST_TOP_P
        {
            (*text, *value) = (b"0.95", LEAST_TOP_P);
        }
        if top_k.is_some() {
            dropped.name("top_k");
        }
    }
    let is_one = |number: &Option<(&[u8], f64)>| number.is_some_and(|(_, number)| number == 1.0);
    if is_one(&top_p) && temperature.is_some() {
        top_p = None;
    } else if is_one(&temperature) && top_p.is_some() {
        temperature = None;
    } else if model.takes_one_of_sampling() && temperature.is_some() && top_p.take().is_some() {
        dropped.name("top_p");
    }
    if let Some((text, value)) = temperature {
        request.raw("temperature", if value > 1.0 { b"1" } else { text });
    }
    if let Some((text, _)) = top_p {
        request.raw("top_p", text);
    }
    if let Some((text, _)) = top_k.filter(|_| !thinks) {
        request.raw("top_k", text);
    }
    Ok(())
}

fn number<'a>(chat: &Object<'a>, name: &str) -> Result<Option<(&'a [u8], f64)>, Fault> {
    let Some(value) = member(chat, name) else { return Ok(None) };
    let number = value.as_f64().ok_or_else(|| Place::of(name).expected("a number"))?;
    Ok(Some((value.text(), number)))
}

/// Anthropic refuses texts of spaces alone. An empty one means nothing to anyone.
fn write_stops(
    chat: &Object<'_>,
    request: &mut ObjectWriter<'_>,
    dropped: &mut Dropped,
) -> Result<(), Fault> {
    let Some(stop) = member(chat, "stop") else { return Ok(()) };
    let place = Place::of("stop");
    let stops = match stop.kind() {
        Kind::String => vec![stop],
        _ => place.list(Some(stop), "a text or a list of texts")?,
    };
    let mut told: Vec<&[u8]> = Vec::new();
    for (at, stop) in stops.into_iter().enumerate() {
        let stop = place.element(at).text(Some(stop))?;
        if stop.as_str().is_none_or(|text| !text.trim().is_empty()) {
            told.push(stop.text());
        } else if !is_blank(stop) {
            dropped.name("stop");
        }
    }
    if !told.is_empty() {
        let list = request.member("stop_sequences");
        list.push(b'[');
        list.extend_from_slice(&told.join(&b','));
        list.push(b']');
    }
    Ok(())
}

/// Who asks, for the vendor to find abuse by; OpenAI has two names for it.
fn write_user(chat: &Object<'_>, request: &mut ObjectWriter<'_>, dropped: &mut Dropped) -> Result<(), Fault> {
    let mut told: Option<Raw<'_>> = None;
    for name in ["safety_identifier", "user"] {
        let Some(value) = member(chat, name) else { continue };
        let value = Place::of(name).text(Some(value))?;
        if is_blank(value) {
            continue;
        }
        let is_fit = value.as_str().is_some_and(|text| is_opaque(&text));
        match told {
            None if is_fit => told = Some(value),
            Some(told) if told.text() == value.text() => {}
            _ => dropped.name(name),
        }
    }
    if let Some(told) = told {
        let mut metadata = ObjectWriter::open(request.member("metadata"));
        metadata.raw("user_id", told.text());
        metadata.close();
    }
    Ok(())
}

/// Whether an id names nobody to others: Anthropic refuses what looks like an address of mail or a phone number
/// ([as here](https://github.com/BerriAI/litellm/issues/10106)), whose digits are 15 at the most.
fn is_opaque(id: &str) -> bool {
    let is_address =
        matches!(id.split_once('@'), Some((name, host)) if !name.is_empty() && host.contains('.'));
    let digits = id.bytes().filter(u8::is_ascii_digit).count();
    let is_of_phone =
        |byte: u8| byte.is_ascii_digit() || matches!(byte, b' ' | b'+' | b'-' | b'.' | b'(' | b')');
    let is_phone = (7..=15).contains(&digits) && id.bytes().all(is_of_phone);
    id.len() <= MAX_USER && !is_phone && !is_address
}

/// The form of the answer, and how hard the model tries. Anthropic has no form for JSON of any kind.
fn write_output(
    chat: &Object<'_>,
    effort: Option<&str>,
    request: &mut ObjectWriter<'_>,
    dropped: &mut Dropped,
) -> Result<(), Fault> {
    let place = Place::of("response_format");
    let format = match member(chat, "response_format") {
        None => None,
        Some(value) => {
            let format = place.object(Some(value))?;
            let kind = format.get("type").and_then(|kind| kind.as_str());
            match kind.as_deref() {
                Some("text") => None,
                Some("json_object") => {
                    dropped.name("response_format");
                    None
                }
                Some("json_schema") => Some(schema(place, &format)?),
                _ => return Err(place.member("type").expected("`text`, `json_object` or `json_schema`")),
            }
        }
    };
    let config = member(chat, "output_config");
    if format.is_none() && effort.is_none() {
        if let Some(config) = config {
            request.raw("output_config", config.text());
        }
        return Ok(());
    }
    let own = config.map(|config| Place::of("output_config").object(Some(config))).transpose()?;
    let says_effort = own.is_some_and(|own| member(&own, "effort").is_some());
    let effort = effort.filter(|_| !says_effort).map(json::string);
    let more: Vec<_> = [("format", &format), ("effort", &effort)]
        .into_iter()
        .filter_map(|(name, json)| Some((name, json.as_deref()?)))
        .collect();
    request.raw("output_config", &patched(config.map_or(b"{}", |config| config.text()), &more));
    Ok(())
}

/// The format of a schema. Its name and what it is for stand in the schema itself, if they stand anywhere.
fn schema(place: Place<'_>, format: &Object<'_>) -> Result<Vec<u8>, Fault> {
    let about = place.object_of(format, "json_schema")?;
    let place = place.member("json_schema");
    let place = place.member("schema");
    let value = about.get("schema").ok_or_else(|| place.expected("an object"))?;
    let schema = place.object(Some(value))?;
    // Nothing may stand beside a reference.
    let takes = |name: &str| member(&schema, name).is_none() && member(&schema, "$ref").is_none();
    let said =
        [("title", "name"), ("description", "description")].into_iter().filter_map(|(name, theirs)| {
            let text = member(&about, theirs).filter(|text| text.kind() == Kind::String && takes(name))?;
            Some((name, text.text()))
        });
    let said: Vec<_> = said.collect();
    let mut out = Vec::new();
    let mut written = ObjectWriter::open(&mut out);
    written.raw("type", br#""json_schema""#);
    schema::write(&patched(value.text(), &said), written.member("schema"));
    written.close();
    Ok(out)
}

/// The text of an object with these members set.
pub(super) fn patched(text: &[u8], members: &[(&str, &[u8])]) -> Vec<u8> {
    let Ok(object) = json::object(text) else { return text.to_vec() };
    let mut patch = Patch::new(text);
    for (name, json) in members {
        patch.set(&object, name, json);
    }
    patch.finish()
}
