//! Thinking: what is asked for, and how it survives a turn in which tools are called.
//!
//! Anthropic signs what a model thinks, and wants it back, unchanged, with the results of the tools that were called
//! after it: <https://docs.anthropic.com/en/docs/build-with-claude/extended-thinking>. Chats have no place for that, so
//! answers carry it in a member of their own, which a client that sends messages back as they came sends along.

use common::json::{Object, ObjectWriter, Raw};

use crate::translate::Dropped;
use crate::translate::read::{copy, is_of, member};

/// The member of a message of the assistant's in which blocks of thinking stand as the vendor gave them.
pub(super) const BLOCKS: &str = "thinking_blocks";

/// The least budget that Anthropic takes.
const LEAST: u64 = 1024;
/// What is left for the answer beyond the thinking, where a client sets no limit.
pub(super) const ANSWER: u64 = 4096;
/// With thinking, a model takes no less.
const LEAST_TOP_P: f64 = 0.95;

/// Whether a block has to come back.
pub(super) fn is_kept(block: &Object<'_>) -> bool {
    let is_signed = || member(block, "signature").is_some_and(|signature| signature.text().len() > 2);
    is_of(block, "type", "redacted_thinking") || (is_of(block, "type", "thinking") && is_signed())
}

/// Writes such a block with the members that the vendor checks.
pub(super) fn write(block: &Object<'_>, out: &mut Vec<u8>) {
    let mut written = ObjectWriter::open(out);
    copy(block, &["type", "thinking", "signature", "data"], &mut written);
    written.close();
}

/// What a chat asks for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Thinking<'a> {
    /// The vendor's own setting, with its budget, if it names one.
    Told(Raw<'a>, Option<u64>),
    /// So many tokens.
    Budget(u64),
    None,
}

impl<'a> Thinking<'a> {
    /// What a chat asks for that allows so many tokens in all.
    pub(super) fn of(chat: &Object<'a>, limit: Option<u64>, dropped: &mut Dropped) -> Self {
        let asked = Self::asked(chat);
        let goes = match asked {
            Self::None => return Self::None,
            Self::Told(..) => may_think(chat),
            Self::Budget(_) => limit.is_none_or(|limit| limit > LEAST) && may_think(chat),
        };
        if !goes {
            for name in ["thinking", "reasoning_max_tokens", "reasoning_effort", "reasoning"] {
                if member(chat, name).is_some() {
                    dropped.name(name);
                }
            }
            return Self::None;
        }
        match (asked, limit) {
            (Self::Budget(budget), Some(limit)) => Self::Budget(budget.min(limit.saturating_sub(1))),
            (asked, _) => asked,
        }
    }

    fn asked(chat: &Object<'a>) -> Self {
        if let Some(told) = member(chat, "thinking")
            && let Some(object) = told.object()
        {
            if is_of(&object, "type", "disabled") {
                return Self::None;
            }
            return Self::Told(told, object.get("budget_tokens").and_then(|budget| budget.as_u64()));
        }
        let reasoning = member(chat, "reasoning").and_then(|reasoning| reasoning.object());
        let budget = member(chat, "reasoning_max_tokens")
            .or_else(|| reasoning.as_ref().and_then(|reasoning| member(reasoning, "max_tokens")));
        if let Some(budget) = budget.and_then(|budget| budget.as_u64()).filter(|budget| *budget > 0) {
            return Self::Budget(budget.max(LEAST));
        }
        let effort = member(chat, "reasoning_effort")
            .or_else(|| reasoning.as_ref().and_then(|reasoning| member(reasoning, "effort")));
        match effort.and_then(|effort| effort.as_str()).as_deref() {
            Some("minimal" | "low") => Self::Budget(LEAST),
            Some("high") => Self::Budget(16_384),
            Some("xhigh" | "max") => Self::Budget(32_768),
            None | Some("none") => Self::None,
            Some(_) => Self::Budget(8192),
        }
    }

    /// The limit of tokens for a chat that has none.
    pub(super) fn limit(self) -> u64 {
        match self {
            Self::Told(_, Some(budget)) | Self::Budget(budget) => budget.saturating_add(ANSWER),
            Self::Told(_, None) | Self::None => ANSWER,
        }
    }

    pub(super) fn is_on(self) -> bool {
        !matches!(self, Self::None)
    }

    pub(super) fn write(self, request: &mut ObjectWriter<'_>) {
        match self {
            Self::None => {}
            Self::Told(told, _) => request.raw("thinking", told.text()),
            Self::Budget(budget) => {
                let mut thinking = ObjectWriter::open(request.member("thinking"));
                thinking.raw("type", br#""enabled""#);
                thinking.raw("budget_tokens", budget.to_string().as_bytes());
                thinking.close();
            }
        }
    }
}

/// Whether a model that thinks would take the conversation: not where tools were called in the turn that goes on, and
/// what was thought before is not there.
fn may_think(chat: &Object<'_>) -> bool {
    let messages = member(chat, "messages").and_then(|messages| messages.elements()).unwrap_or_default();
    for message in messages.iter().rev().filter_map(|message| message.object()) {
        if is_of(&message, "role", "assistant") {
            let calls = member(&message, "tool_calls").or_else(|| member(&message, "function_call"));
            let is_without = member(&message, BLOCKS).is_none_or(|blocks| {
                let blocks = blocks.elements().unwrap_or_default();
                !blocks.iter().filter_map(|block| block.object()).any(|block| is_kept(&block))
            });
            if calls.is_some() && is_without {
                return false;
            }
        } else if is_of(&message, "role", "user") {
            return true;
        }
    }
    true
}

/// How much of the probability a model may choose from. One of it all is no choice.
pub(super) fn top_p<'a>(chat: &Object<'a>, thinks: bool) -> Option<&'a [u8]> {
    let value = member(chat, "top_p")?;
    match value.as_f64() {
        Some(share) if thinks && share < LEAST_TOP_P => Some(b"0.95"),
        _ => Some(value.text()),
    }
}
