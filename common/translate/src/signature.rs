//! Signatures of thinking. Anthropic signs what its models think and refuses whatever else stands in earlier messages
//! as if they had thought it; a conversation that another vendor has had a part in holds such.

use common::json::{Object, Patch, Raw};

use super::Dropped;
use super::read::is_of;

/// Stands in the place of a signature where a vendor's thinking has become Anthropic's without being signed.
pub const UNSIGNED: &str = "unsigned:ai-proxy";

/// None of Anthropic's is shorter. DeepSeek's are the answer's id:
/// [a report](https://github.com/NousResearch/hermes-agent/pull/21048).
const LEAST: usize = 64;

/// Whether thinking with this signature is ours.
pub fn is_unsigned(signature: &str) -> bool {
    signature.is_empty() || signature == UNSIGNED
}

/// Whether Anthropic cannot have signed this: its signatures are
/// [base64](https://docs.anthropic.com/en/docs/build-with-claude/extended-thinking#thinking-encryption).
pub fn is_foreign(signature: &str) -> bool {
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    signature.len() < LEAST || !signature.bytes().all(is_base64)
}

/// Takes thinking out of the earlier messages of a request for a message, by its signatures: a vendor that checks
/// those refuses the rest. Gives the names of what is left out, as the value of a header.
///
/// A message of which nothing would be left goes, for none may be empty; neighbours of one role are one to Anthropic.
/// A turn that has begun without thinking cannot go on with a budget for it, so it goes on without:
/// [what becomes of the others](https://github.com/anomalyco/opencode/issues/3077).
pub fn leave_out(body: &Object<'_>, is_refused: fn(&str) -> bool, patch: &mut Patch<'_>) -> Option<String> {
    let messages = body.get("messages")?.elements()?;
    let mut dropped = Dropped::default();
    let mut gone = Vec::new();
    // Whether the first answer since the user last spoke begins with thinking.
    let mut thinks = None;
    let mut ends_with_answer = false;
    for (at, message) in messages.iter().enumerate() {
        let Some(message) = message.object() else { continue };
        let blocks = message.get("content").and_then(|content| content.elements()).unwrap_or_default();
        let is_answer = is_of(&message, "role", "assistant");
        if !is_answer {
            // Results of tools come before all else that the user says with them.
            let goes_on = blocks.first().is_some_and(|block| is_block(*block, &["tool_result"]));
            (thinks, ends_with_answer) = (thinks.filter(|_| goes_on), false);
            continue;
        }
        let refused: Vec<bool> = blocks.iter().map(|block| is_unfit(*block, is_refused)).collect();
        if refused.contains(&true) {
            dropped.name("messages.content.thinking");
            if !refused.contains(&false) {
                gone.push(at);
                continue;
            }
            patch.remove_elements(&blocks, |at| refused.get(at) == Some(&true));
        }
        let first = blocks.iter().zip(&refused).find(|(_, is_refused)| !**is_refused);
        let begins = first.is_some_and(|(block, _)| is_block(*block, &["thinking", "redacted_thinking"]));
        thinks.get_or_insert(begins);
        ends_with_answer = true;
    }
    if !gone.is_empty() {
        patch.remove_elements(&messages, |at| gone.contains(&at));
    }
    let has_budget = body
        .get("thinking")
        .and_then(|thinking| thinking.object())
        .is_some_and(|thinking| is_of(&thinking, "type", "enabled"));
    if has_budget && thinks == Some(false) && !ends_with_answer {
        stop_thinking(body, patch, &mut dropped);
    }
    dropped.header()
}

fn is_block(block: Raw<'_>, kinds: &[&str]) -> bool {
    block.object().is_some_and(|block| kinds.iter().any(|kind| is_of(&block, "type", kind)))
}

fn is_unfit(block: Raw<'_>, is_refused: fn(&str) -> bool) -> bool {
    let Some(block) = block.object().filter(|block| is_of(block, "type", "thinking")) else { return false };
    let signature = block.get("signature").and_then(|signature| signature.as_str());
    is_refused(&signature.unwrap_or_default())
}

/// Does not ask for thinking, nor for what is to become of it:
/// <https://platform.claude.com/docs/en/build-with-claude/context-editing>.
fn stop_thinking(body: &Object<'_>, patch: &mut Patch<'_>, dropped: &mut Dropped) {
    dropped.name("thinking");
    let mut names = vec!["thinking"];
    let context = body.get("context_management").and_then(|context| context.object());
    if let Some(edits) = context.and_then(|context| context.get("edits")?.elements()) {
        let kind =
            |edit: &Raw<'_>| edit.object().and_then(|edit| Some(edit.get("type")?.as_str()?.into_owned()));
        let clears: Vec<bool> = edits
            .iter()
            .map(|edit| kind(edit).is_some_and(|kind| kind.starts_with("clear_thinking")))
            .collect();
        if clears.contains(&true) {
            dropped.name("context_management");
            if clears.contains(&false) {
                patch.remove_elements(&edits, |at| clears.get(at) == Some(&true));
            } else {
                names.push("context_management");
            }
        }
    }
    patch.remove(body, &names);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a body becomes, and what is named.
    fn left(body: &str, is_refused: fn(&str) -> bool) -> (String, String) {
        let object = common::json::object(body.as_bytes()).unwrap();
        let mut patch = Patch::new(body.as_bytes());
        let dropped = leave_out(&object, is_refused, &mut patch).unwrap_or_default();
        (String::from_utf8(patch.finish()).unwrap(), dropped)
    }

    fn signed(signature: &str) -> String {
        format!(r#"{{"type":"thinking","thinking":"t","signature":"{signature}"}}"#)
    }

    #[test]
    fn a_signature_of_anthropics_is_long_and_base64() {
        let theirs = format!("{}+/==", "Eu9v".repeat(20));
        assert!(!is_foreign(&theirs) && !is_unsigned(&theirs));
        for other in ["", UNSIGNED, "91cfbb94-554b-4136-8e21-fa02280d56ed", &"a-b".repeat(40), "Eu9v"] {
            assert!(is_foreign(other), "{other}");
        }
        assert!(is_unsigned("") && is_unsigned(UNSIGNED) && !is_unsigned("91cfbb94"));
    }

    #[test]
    fn thinking_of_others_is_taken_out_of_answers_and_nothing_else_is_touched() {
        let (theirs, ours) = (signed(&"Eu9v".repeat(20)), signed(UNSIGNED));
        let user = r#"{"role":"user","content":"q"}"#;
        let text = r#"{"type":"text","text":"a"}"#;
        let body = |answers: &str| format!(r#"{{"messages" : [{user}, {answers}{user}]}}"#);
        let answer = |blocks: &str| format!(r#"{{"role":"assistant","content":[{blocks}]}}, "#);
        for (answers, expected) in [
            (answer(&format!("{ours}, {text}")), answer(text)),
            (answer(&format!("{theirs}, {text}")), answer(&format!("{theirs}, {text}"))),
            (answer(&format!("{theirs}, {ours}, {text}")), answer(&format!("{theirs}, {text}"))),
            (
                answer(r#"{"type":"redacted_thinking","data":"x"}"#),
                answer(r#"{"type":"redacted_thinking","data":"x"}"#),
            ),
            // Nothing is left of it.
            (answer(&ours), String::new()),
            (answer(&signed("")), String::new()),
        ] {
            let is_same = answers == expected;
            let (left, dropped) = left(&body(&answers), is_foreign);
            assert_eq!(left, body(&expected));
            assert_eq!(dropped, if is_same { "" } else { "messages.content.thinking" }, "{answers}");
        }
        let uuid = answer(&format!("{}, {text}", signed("91cfbb94-554b")));
        assert_eq!(left(&body(&uuid), is_unsigned).0, body(&uuid));
        assert_eq!(left(&body(&uuid), is_foreign).0, body(&answer(text)));
    }

    #[test]
    fn a_turn_that_has_begun_without_thinking_goes_on_without() {
        let call = r#"{"type":"tool_use","id":"i","name":"n","input":{}}"#;
        let result = r#"{"role":"user","content":[{"type":"tool_result","tool_use_id":"i","content":"r"}]}"#;
        let turn = |blocks: &str| {
            format!(r#"{{"role":"user","content":"q"}},{{"role":"assistant","content":[{blocks}]}},{result}"#)
        };
        let budget = r#""thinking":{"type":"enabled","budget_tokens":1024},"#;
        let body = |more: &str, messages: &str| format!(r#"{{{more}"messages":[{messages}]}}"#);
        let unthinking = turn(call);
        let (theirs, ours) = (signed(&"Eu9v".repeat(20)), signed(UNSIGNED));
        let named = "messages.content.thinking, thinking";
        for (more, messages, expected, dropped) in [
            (budget, turn(&format!("{ours},{call}")), body("", &unthinking), named),
            // Nor was any thinking told where there is none.
            (budget, unthinking.clone(), body("", &unthinking), "thinking"),
            (budget, turn(&format!("{theirs},{call}")), body(budget, &turn(&format!("{theirs},{call}"))), ""),
            // The next turn is another one.
            (
                budget,
                format!(r#"{unthinking},{{"role":"user","content":"q"}}"#),
                body(budget, &format!(r#"{unthinking},{{"role":"user","content":"q"}}"#)),
                "",
            ),
            (
                r#""thinking":{"type":"adaptive"},"#,
                turn(&format!("{ours},{call}")),
                body(r#""thinking":{"type":"adaptive"},"#, &unthinking),
                "messages.content.thinking",
            ),
        ] {
            let (left, names) = left(&body(more, &messages), is_foreign);
            assert_eq!((left.as_str(), names.as_str()), (expected.as_str(), dropped), "{messages}");
        }
        let clear = r#"{"type":"clear_thinking_20251015","keep":"all"}"#;
        let uses = r#"{"type":"clear_tool_uses_20250919"}"#;
        let context = |edits: &str| format!(r#""context_management":{{"edits":[{edits}]}},"#);
        for (edits, left_over) in [
            (clear.to_owned(), String::new()),
            (format!("{clear},{uses}"), context(uses)),
            (uses.to_owned(), context(uses)),
        ] {
            let (left, _) = left(&body(&format!("{budget}{}", context(&edits)), &unthinking), is_foreign);
            assert_eq!(left, body(&left_over, &unthinking), "{edits}");
        }
    }
}
