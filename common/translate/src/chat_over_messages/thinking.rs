//! How much a model may think and say, and how it is told.

use common::http::Fault;
use common::json::{Object, ObjectWriter, Raw};

use super::conversation::Conversation;
use super::model::{Effort, Model, OFF, Off, Thinks};
use crate::Dropped;
use crate::place::Place;
use crate::read::{is_of, member};

/// What is left for the answer where a model thinks within a budget and the client sets no limit.
const LEAST_ANSWER: u64 = 4096;

/// The least that Anthropic takes for thinking, and what it has to leave of all that may be said:
/// <https://docs.anthropic.com/en/docs/build-with-claude/extended-thinking>.
const LEAST_BUDGET: u64 = 1024;

/// How much a model may think and say.
pub(super) struct Thinking<'a> {
    told: Told<'a>,
    pub(super) effort: Option<Effort>,
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

impl<'a> Thinking<'a> {
    /// Reads what a chat says of both.
    ///
    /// # Errors
    /// It is nothing that a model can be told.
    pub(super) fn of(
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

    /// Writes them.
    pub(super) fn write(&self, model: Model, request: &mut ObjectWriter<'_>) {
        request.number("max_tokens", self.max_tokens);
        match self.told {
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
    }

    pub(super) fn is_on(&self) -> bool {
        matches!(self.told, Told::Budget(_) | Told::Freely | Told::Verbatim { is_on: true, .. })
    }

    pub(super) fn is_budgeted(&self) -> bool {
        matches!(self.told, Told::Budget(_) | Told::Verbatim { is_budgeted: true, .. })
    }

    /// Where it is off, blocks of earlier thinking are refused in an answer that goes on. Some models think without
    /// being asked to, and some between calls of tools even if they are told not to.
    pub(super) fn may_be_sent_again(&self) -> bool {
        match self.told {
            Told::Nothing => true,
            Told::Off(off) => off != OFF,
            _ => self.is_on(),
        }
    }
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
