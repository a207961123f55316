//! Calls of tools in earlier answers, and which of them a result belongs to.

use std::borrow::Cow;
use std::collections::BTreeSet;

use common::http::Fault;
use common::json::Object;

use crate::call_id::plain;
use crate::chat::arguments;
use crate::place::Place;
use crate::read::{is_of, member};

/// No id that is repeated to a client is longer.
const MAX_ID: usize = 64;

/// A call of a tool in an earlier answer.
pub(super) struct Call<'a> {
    /// What its result names it by: its id, or the name of a function.
    pub(super) id: Cow<'a, str>,
    pub(super) is_function: bool,
    /// Both are JSON.
    pub(super) name: &'a [u8],
    pub(super) input: Vec<u8>,
}

/// The calls in an answer.
///
/// # Errors
/// They are none, or of a tool that is not called with an object.
pub(super) fn called<'a>(place: Place<'_>, message: &Object<'a>) -> Result<Vec<Call<'a>>, Fault> {
    let mut calls = Vec::new();
    if let Some(value) = member(message, "function_call") {
        let place = place.member("function_call");
        let function = place.object(Some(value))?;
        let name = place.text_of(&function, "name")?;
        calls.push(Call {
            id: name.as_str().unwrap_or_default(),
            is_function: true,
            name: name.text(),
            input: arguments(function.get("arguments")),
        });
    }
    let Some(list) = member(message, "tool_calls") else { return Ok(calls) };
    let place = place.member("tool_calls");
    for call in place.objects(Some(list), "a list of calls")? {
        let (at, call) = call?;
        let place = place.element(at);
        if is_of(&call, "type", "custom") {
            return Err(place.member("type").expected("`function`"));
        }
        let function = place.object_of(&call, "function")?;
        let name = place.member("function").text_of(&function, "name")?;
        let id = place.text_of(&call, "id")?;
        calls.push(Call {
            id: id.as_str().unwrap_or_default(),
            is_function: false,
            name: name.text(),
            input: arguments(function.get("arguments")),
        });
    }
    Ok(calls)
}

/// Calls that have been made, for what answers them.
#[derive(Default)]
pub(super) struct Calls<'a> {
    /// Those of the last answer.
    last: Vec<Made<'a>>,
    /// Something was answered since.
    has_results: bool,
    /// All ids that the vendor has been told.
    told: BTreeSet<String>,
    /// Makes an id another one.
    count: u64,
}

struct Made<'a> {
    id: Cow<'a, str>,
    is_function: bool,
    told: String,
    is_answered: bool,
}

impl<'a> Calls<'a> {
    /// The user speaks: what has not been answered never is.
    pub(super) fn are_past(&mut self) {
        self.last.clear();
        self.has_results = false;
    }

    /// The model speaks. It may do so in several messages, before anything is answered.
    pub(super) fn are_answered(&mut self) {
        if self.has_results {
            self.are_past();
        }
    }

    /// Takes a call. Gives the id that the vendor is told: it takes letters, digits, `_` and `-` alone, and no id twice,
    /// while other vendors, whose calls may be in the same conversation, are not as strict.
    pub(super) fn add(&mut self, id: Cow<'a, str>, is_function: bool, at: usize) -> &str {
        let wanted = if is_function { format!("function_call_{at}") } else { plain(&id) };
        let mut told = wanted.clone();
        while told.is_empty() || self.told.contains(&told) {
            self.count += 1;
            told = format!("{wanted}_{}", self.count);
        }
        self.told.insert(told.clone());
        self.last.push(Made { id, is_function, told, is_answered: false });
        self.last.last().map_or("", |made| &made.told)
    }

    /// The id that the vendor knows a call by that is answered now.
    ///
    /// # Errors
    /// There is none that waits for it.
    pub(super) fn answer(&mut self, place: Place<'_>, id: &str, is_function: bool) -> Result<String, Fault> {
        self.has_results = true;
        let is_it =
            |made: &&mut Made<'_>| made.id == id && made.is_function == is_function && !made.is_answered;
        match self.last.iter_mut().find(is_it) {
            Some(made) => {
                made.is_answered = true;
                Ok(made.told.clone())
            }
            None => {
                let (what, id) = (if is_function { "name" } else { "id" }, plain(id));
                let end = id.len().min(MAX_ID);
                let id = id.get(..end).unwrap_or_default();
                let why =
                    format!("no call with the {what} `{id}` waits for its result, in the answer before");
                Err(place.refused(&why))
            }
        }
    }
}
