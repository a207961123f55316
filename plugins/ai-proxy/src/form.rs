//! Uploads: the model in a form is mapped while the form passes, so that no file is held.

use common::http::multipart::{Form, MultipartError, Part, Passing};
use common::http::{Fault, Head};

use crate::body;
use crate::config::ActiveProvider;
use crate::path::Way;

/// The field that names the model.
const MODEL: &str = "model";

/// Whether the body is a form that can be read.
pub(crate) fn is_form(head: &Head) -> bool {
    head.contains("content-type", "multipart/form-data") && !head.has("content-encoding")
}

/// Whether this body is a form that asks for a stream.
pub(crate) fn asks_for_stream(head: &Head, body: &[u8]) -> bool {
    let form = is_form(head).then(|| Form::of(head.get("content-type").unwrap_or_default(), body));
    let is_true =
        |part: &Part| std::str::from_utf8(part.value(body)).is_ok_and(|text| body::is_true(text.trim()));
    form.is_some_and(|form| form.is_ok_and(|form| form.named("stream").any(is_true)))
}

/// The form that is about to come; `None` if nothing in it can have to change.
///
/// # Errors
/// Its parts cannot be told apart.
pub(crate) fn passing(active: &ActiveProvider, way: Way<'_>, head: &Head) -> Result<Option<Passing>, Fault> {
    let form = Form::new(head.get("content-type").unwrap_or_default()).map_err(refusal)?;
    let is_read = way.names_model() || !active.models.is_empty();
    Ok(is_read.then(|| Passing::new(form, MODEL)))
}

/// Takes the next piece, and writes what may go upstream. Gives the model that is asked for there, once it is
/// known; the last one counts.
///
/// # Errors
/// It is no form, or one that cannot carry the mapped model.
pub(crate) fn push(
    form: &mut Passing,
    active: &ActiveProvider,
    piece: &[u8],
    end: bool,
    out: &mut Vec<u8>,
) -> Result<Option<String>, Fault> {
    let mut model = None;
    let mut map = |value: Option<&[u8]>| {
        // What is no text is the vendor's to refuse.
        let named = std::str::from_utf8(value.unwrap_or_default()).ok()?.trim();
        let mapped = active.models.map(named);
        model = (!mapped.is_empty()).then(|| mapped.clone().into_owned());
        (mapped != named).then(|| mapped.into_owned().into_bytes())
    };
    form.push(piece, end, &mut map, out).map_err(refusal)?;
    Ok(model)
}

/// The same for a form that is all there.
///
/// # Errors
/// It is no form, or one that cannot carry the mapped model.
pub(crate) fn edit(
    form: &mut Passing,
    active: &ActiveProvider,
    body: &[u8],
) -> Result<(Vec<u8>, Option<String>), Fault> {
    let mut out = Vec::with_capacity(body.len());
    let model = push(form, active, body, true, &mut out)?;
    Ok((out, model))
}

fn refusal(error: MultipartError) -> Fault {
    match error {
        // Only a configured name can do that.
        MultipartError::ValueHoldsBoundary => Fault::config("a mapped model holds the boundary of a form"),
        error => Fault::client(400, "invalid_multipart", format!("the request body is no form: {error}")),
    }
}
