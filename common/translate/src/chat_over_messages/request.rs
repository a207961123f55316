//! A request for a chat, as a request for a message.

use common::http::Fault;
use common::json::{self, Kind, Object, ObjectWriter, Patch, Raw};

use super::conversation::Conversation;
use super::model::Model;
use super::thinking::Thinking;
use super::{schema, tools};
use crate::Dropped;
use crate::chat::{drop_others, refuse_audio};
use crate::place::Place;
use crate::read::{is_blank, member};

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

/// Longer ids are refused: <https://docs.anthropic.com/en/api/messages#body-metadata-user-id>.
const MAX_USER: usize = 256;

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
    thinking.write(model, &mut request);
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
