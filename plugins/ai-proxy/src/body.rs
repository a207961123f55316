//! Edits of a request body: only what must change does, every other byte stays as the client wrote it.

use std::borrow::Cow;

use common::http::Fault;
use common::http::body::{self, object_watching};
use common::json::{self, Kind, Object, Patch, Raw};
use common::llm::api::Api;

use crate::config::ActiveProvider;
use crate::custom_settings::{Applied, Part};
use translate::signature;

/// What became of a body.
#[derive(Debug, Default)]
pub(crate) struct Edited {
    /// The new body, if anything changed.
    pub(crate) body: Option<Vec<u8>>,
    /// The client asks for a stream.
    pub(crate) streams: bool,
    /// The model that is asked for upstream, if the body names one or the mapping gives one.
    pub(crate) model: Option<String>,
    /// A custom setting that has no place in this body.
    pub(crate) misfit: Option<String>,
    /// Nothing has been done: in the place of a chat this asks for a response.
    pub(crate) asks_for_response: bool,
    /// Names of what was left out.
    pub(crate) dropped: Option<String>,
}

/// How a body is edited that is made to fit a vendor.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    /// The model matters.
    pub(crate) model: bool,
    /// Usage at the end of a stream.
    pub(crate) usage: bool,
}

/// Whether requests of this API are one JSON object that may name a model.
pub(crate) fn is_json(api: Api) -> bool {
    matches!(
        api,
        Api::ChatCompletions
            | Api::Completions
            | Api::Embeddings
            | Api::ImageGeneration
            | Api::ImageEdit
            | Api::ImageVariation
            | Api::AudioSpeech
            | Api::Responses
            | Api::Videos
            | Api::VideoRemix
            | Api::FineTuningJobs
            | Api::AnthropicMessages
            | Api::AnthropicComplete
            | Api::MessagesCountTokens
            | Api::CohereRerank
            | Api::QwenRerank
    )
}

/// Whether requests of this API may be forms that name a model.
pub(crate) fn is_form(api: Api) -> bool {
    matches!(api, Api::ImageEdit | Api::ImageVariation | Api::AudioTranscription | Api::AudioTranslation)
}

/// Whether a truthy `stream` of this API makes the answer a stream of events.
pub(crate) fn may_stream(api: Api) -> bool {
    matches!(
        api,
        Api::ChatCompletions
            | Api::Completions
            | Api::ImageGeneration
            | Api::ImageEdit
            | Api::Responses
            | Api::AnthropicMessages
            | Api::AnthropicComplete
    )
}

/// Whether the body asks for a stream, in whatever way; a body that cannot be read does not.
pub(crate) fn asks_for_stream(text: &[u8]) -> bool {
    json::object(text).is_ok_and(|body| {
        body.get("stream").is_some_and(is_truthy)
            // [Speech](https://platform.openai.com/docs/api-reference/audio/createSpeech) names the form of its stream.
            || body.get("stream_format").is_some_and(|form| form.is("sse"))
    })
}

/// Makes the configuration's own settings, then maps the model, asks for usage at the end of a stream, and lets
/// the vendor make its edits.
///
/// # Errors
/// The body is no JSON object.
pub(crate) fn edit(text: &[u8], api: Api, active: &ActiveProvider, wanted: Wanted) -> Result<Edited, Fault> {
    if active.custom_settings.is_empty() {
        return edit_for_vendor(text, api, active, wanted);
    }
    // First, for all else depends on what a body asks for in the end.
    if text.is_empty() {
        return Err(body::empty());
    }
    let applied = active.custom_settings.apply(text, Part::All).map_err(body::malformed)?;
    let mut edited = edit_for_vendor(applied.body.as_deref().unwrap_or(text), api, active, wanted)?;
    edited.body = edited.body.or(applied.body);
    edited.misfit = applied.misfit;
    Ok(edited)
}

/// The configuration's own settings alone, for bodies that are the client's business otherwise: whatever is no
/// JSON object passes as it is.
pub(crate) fn edit_settings(text: &[u8], active: &ActiveProvider) -> Applied {
    active.custom_settings.apply(text, Part::All).unwrap_or_default()
}

/// The same without the configuration's own settings.
///
/// # Errors
/// The body is no JSON object.
pub(crate) fn edit_for_vendor(
    text: &[u8],
    api: Api,
    active: &ActiveProvider,
    wanted: Wanted,
) -> Result<Edited, Fault> {
    let is_message = matches!(api, Api::AnthropicMessages | Api::MessagesCountTokens);
    let watched = match api {
        Api::Responses => translate::OUR_THINKING,
        _ if is_message => "thinking\"",
        _ => "developer\"",
    };
    let (body, seen) = object_watching(text, watched)?;
    if api == Api::ChatCompletions && asks_for_response(&body) {
        return Ok(Edited { asks_for_response: true, ..Edited::default() });
    }
    let mut patch = Patch::new(text);
    let streams = body.get("stream").is_some_and(is_truthy);
    if api == Api::ChatCompletions {
        active.conversation.edit(&body, &mut patch)?;
        if seen && !active.profile.knows_developer {
            name_developer_system(&body, &mut patch);
        }
    } else if api == Api::Responses && seen {
        translate::remove_thinking(&body, &mut patch);
    }
    let refuses = active.refuses_signature.filter(|_| is_message && seen);
    let dropped = refuses.and_then(|refuses| signature::leave_out(&body, refuses, &mut patch));
    active.provider.edit(api, &body, &mut patch);
    let model = map_model(&body, active, wanted.model, &mut patch);
    if streams && wanted.usage && matches!(api, Api::ChatCompletions | Api::Completions) {
        ask_for_usage(&body, &mut patch);
    }
    let body = (!patch.is_empty()).then(|| patch.finish());
    Ok(Edited { body, streams, model, dropped, ..Edited::default() })
}

/// Whether this is no chat but a request for a response.
fn asks_for_response(body: &Object<'_>) -> bool {
    let is_said = |value: Raw<'_>| value.kind() != Kind::Null;
    let is_input = |input: Raw<'_>| matches!(input.kind(), Kind::String | Kind::Array);
    !body.get("messages").is_some_and(is_said) && body.get("input").is_some_and(is_input)
}

/// The values of `stream` that vendors and clients take for true.
fn is_truthy(value: Raw<'_>) -> bool {
    match value.kind() {
        Kind::Bool => value.as_bool() == Some(true),
        Kind::Number => {
            let digits = value.text().iter().take_while(|byte| !matches!(byte, b'e' | b'E'));
            digits.copied().any(|byte| byte.is_ascii_digit() && byte != b'0')
        }
        Kind::String => value.as_str().is_some_and(|text| is_true(&text)),
        _ => false,
    }
}

/// The texts that are taken for true.
pub(crate) fn is_true(text: &str) -> bool {
    text == "1" || text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("t")
}

/// `developer` is OpenAI's newer name of the role `system`; other vendors refuse it.
fn name_developer_system(body: &Object<'_>, patch: &mut Patch<'_>) {
    let Some(messages) = body.get("messages").and_then(|messages| messages.elements()) else { return };
    for message in messages.into_iter().filter_map(|message| message.object()) {
        if message.get("role").is_some_and(|role| role.is("developer")) {
            patch.set(&message, "role", br#""system""#);
        }
    }
}

fn map_model(
    body: &Object<'_>,
    active: &ActiveProvider,
    wants_model: bool,
    patch: &mut Patch<'_>,
) -> Option<String> {
    if active.models.is_empty() && !wants_model {
        return None;
    }
    let named = match body.all("model").find(|value| value.kind() != Kind::Null) {
        None => Cow::Borrowed(""),
        // A model that is no text is the vendor's to refuse.
        Some(value) => value.as_str()?,
    };
    let mapped = active.models.map(&named);
    // A body may name two models, and a vendor read the other one.
    let is_other = |value: Raw<'_>| value.as_str().as_deref() != Some(&*mapped);
    if mapped != named || (!named.is_empty() && body.all("model").any(is_other)) {
        patch.set(body, "model", &json::string(&mapped));
    }
    (wants_model && !mapped.is_empty()).then(|| mapped.into_owned())
}

/// Without this a vendor's stream says nothing about tokens.
fn ask_for_usage(body: &Object<'_>, patch: &mut Patch<'_>) {
    match body.get("stream_options") {
        Some(options) if options.kind() == Kind::Object => {
            if let Some(options) = options.object().filter(|options| options.get("include_usage").is_none()) {
                patch.set(&options, "include_usage", b"true");
            }
        }
        Some(options) if options.kind() != Kind::Null => {}
        _ => patch.set(body, "stream_options", br#"{"include_usage":true}"#),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_is_truthy_as_clients_write_it() {
        let truthy =
            ["true", "1", "2.5", "-1", "0.1", "1e0", "\"true\"", "\"TRUE\"", "\"1\"", "\"t\"", "\"T\""];
        let falsy = ["false", "0", "-0.0", "0e9", "null", "\"\"", "\"yes\"", "{}", "[true]"];
        let asks = |value: &str| asks_for_stream(format!("{{\"stream\":{value}}}").as_bytes());
        for value in truthy {
            assert!(asks(value), "{value}");
        }
        for value in falsy {
            assert!(!asks(value), "{value}");
        }
        assert!(!asks_for_stream(b"{}"));
        assert!(!asks_for_stream(b"{\"stream\":true"));
    }
}
