//! A request for a chat, as a request for a message.

use common::http::Fault;
use common::json::{ArrayWriter, Object, ObjectWriter, Raw};

use super::messages::Conversation;
use super::thinking::{self, Thinking};
use super::tools;
use crate::translate::Dropped;
use crate::translate::read::{inner, is_blank, is_of, member, misfit, name_rest, refuse_audio};

/// Members that find a place, or that nothing has to be said of. All others have none.
const PUT: [&str; 26] = [
    "model",
    "messages",
    "stream",
    "stream_options",
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "top_k",
    "stop",
    "response_format",
    "reasoning_effort",
    "reasoning_max_tokens",
    "reasoning",
    "thinking",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "functions",
    "function_call",
    "user",
    "safety_identifier",
    "modalities",
    "audio",
    "logprobs",
    "cache_control",
];

/// Writes the request for a message. Says whether it names files that were uploaded.
///
/// # Errors
/// The messages are none, or something is asked for that no message can give.
pub(super) fn write(chat: &Object<'_>, out: &mut Vec<u8>, dropped: &mut Dropped) -> Result<bool, Fault> {
    refuse_audio(chat)?;
    let limit = ["max_completion_tokens", "max_tokens"]
        .into_iter()
        .find_map(|name| member(chat, name).and_then(|limit| limit.as_u64()).filter(|limit| *limit > 0));
    let thinking = Thinking::of(chat, limit, dropped);
    let mut request = ObjectWriter::open(out);
    if let Some(model) = member(chat, "model") {
        request.raw("model", model.text());
    }
    request.raw("max_tokens", limit.unwrap_or_else(|| thinking.limit()).to_string().as_bytes());
    let mut conversation = Conversation::default();
    conversation.read(chat, dropped)?;
    conversation.write_system(&mut request);
    conversation.write_messages(&mut request);
    if let Some(stream) = member(chat, "stream") {
        request.raw("stream", stream.text());
    }
    write_sampling(chat, thinking.is_on(), &mut request, dropped);
    write_stops(chat, &mut request)?;
    thinking.write(&mut request);
    tools::write(chat, thinking.is_on(), &mut request, dropped)?;
    write_format(chat, &mut request, dropped)?;
    write_user(chat, &mut request);
    if let Some(control) = member(chat, "cache_control") {
        request.raw("cache_control", control.text());
    }
    request.close();
    if member(chat, "logprobs").is_some_and(|asked| asked.as_bool() == Some(true)) {
        dropped.name("logprobs");
    }
    name_rest(chat, "", |name| PUT.contains(&name), dropped);
    Ok(conversation.names_files)
}

fn write_sampling(chat: &Object<'_>, thinks: bool, request: &mut ObjectWriter<'_>, dropped: &mut Dropped) {
    if let Some(temperature) = member(chat, "temperature") {
        match temperature.as_f64() {
            // A model that thinks takes no other.
            Some(value) if thinks && value < 1.0 => dropped.name("temperature"),
            // OpenAI's goes up to two, and Anthropic's to one.
            Some(value) if value > 1.0 => request.raw("temperature", b"1"),
            _ => request.raw("temperature", temperature.text()),
        }
    }
    if let Some(share) = thinking::top_p(chat, thinks) {
        request.raw("top_p", share);
    }
    if let Some(count) = member(chat, "top_k") {
        if thinks {
            dropped.name("top_k");
        } else {
            request.raw("top_k", count.text());
        }
    }
}

/// Anthropic refuses an end that is nothing but space.
fn write_stops(chat: &Object<'_>, request: &mut ObjectWriter<'_>) -> Result<(), Fault> {
    let Some(stop) = member(chat, "stop") else { return Ok(()) };
    let is_text = |stop: &Raw<'_>| stop.as_str().is_some_and(|text| !text.trim().is_empty());
    let stops = match stop.elements() {
        Some(stops) if stops.iter().all(|stop| stop.as_str().is_some()) => stops,
        None if stop.as_str().is_some() => vec![stop],
        _ => return Err(misfit("stop", "a text or a list of texts")),
    };
    let stops: Vec<Raw<'_>> = stops.into_iter().filter(is_text).collect();
    if !stops.is_empty() {
        let mut list = ArrayWriter::open(request.member("stop_sequences"));
        stops.iter().for_each(|stop| list.element().extend_from_slice(stop.text()));
        list.close();
    }
    Ok(())
}

fn write_format(
    chat: &Object<'_>,
    request: &mut ObjectWriter<'_>,
    dropped: &mut Dropped,
) -> Result<(), Fault> {
    let Some(format) = member(chat, "response_format") else { return Ok(()) };
    let format = format.object().ok_or_else(|| misfit("response_format", "an object"))?;
    if is_of(&format, "type", "text") {
        return Ok(());
    }
    if !is_of(&format, "type", "json_schema") {
        // There is no JSON without a schema.
        dropped.name("response_format");
        return Ok(());
    }
    let named = inner("response_format", &format, "json_schema")?;
    let schema = member(&named, "schema").filter(|schema| schema.object().is_some());
    let schema = schema.ok_or_else(|| misfit("response_format.json_schema.schema", "an object"))?;
    let mut config = ObjectWriter::open(request.member("output_config"));
    let mut format = ObjectWriter::open(config.member("format"));
    format.raw("type", br#""json_schema""#);
    format.raw("schema", schema.text());
    format.close();
    config.close();
    // A schema is always kept to; its name and description are for nobody.
    let known = |name: &str| matches!(name, "schema" | "strict" | "name");
    name_rest(&named, "response_format.json_schema.", known, dropped);
    Ok(())
}

fn write_user(chat: &Object<'_>, request: &mut ObjectWriter<'_>) {
    let names = ["user", "safety_identifier"];
    let user = names.into_iter().find_map(|name| member(chat, name).filter(|user| !is_blank(*user)));
    if let Some(user) = user {
        let mut metadata = ObjectWriter::open(request.member("metadata"));
        metadata.raw("user_id", user.text());
        metadata.close();
    }
}
