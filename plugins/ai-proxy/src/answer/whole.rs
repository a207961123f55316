//! A whole answer, edited while its head is held, and translated where its client speaks another dialect.

use common::filter::Flow;
use common::http::{Fault, LocalReply};
use common::json::{self, Document, JsonError, Kind, Object, Patch, Raw};
use common::llm::dialect::Dialect;
use common::llm::error;

use super::reasoning::{self, CLOSE, Mode, OPEN, Said};
use super::{Answers, error_of};
use translate::Carried;

/// More of a vendor's message than this is no help to a client.
const MAX_MESSAGE: usize = 2 << 10;

/// Edits a whole chat completion.
///
/// # Errors
/// It is no JSON object, so that nothing can be hidden in it or promoted.
pub(crate) fn edit(answers: Answers, text: &[u8]) -> Result<Flow, Fault> {
    edit_chat(answers, Dialect::OpenAi, &Document::of(text).map_err(invalid)?)
}

/// The same with a vendor's answer that has to become a chat completion first, or another answer after.
///
/// # Errors
/// It is no JSON object.
pub(crate) fn translate(
    answers: Answers,
    carried: &Carried,
    dialect: Dialect,
    text: &[u8],
) -> Result<Flow, Fault> {
    let chat = carried.chat_of_answer(text).map_err(invalid)?;
    let text = chat.as_deref().unwrap_or(text);
    if !answers.edits_text() && !carried.translates_chats() {
        let refusal = refusal(&json::object(text).map_err(invalid)?, dialect);
        return Ok(refusal.map_or_else(|| chat.map_or(Flow::Pass, Flow::Send), Flow::Reply));
    }
    let found = Document::of(text).map_err(invalid)?;
    let answer = match edit_chat(answers, dialect, &found)? {
        Flow::Pass => carried.answer(&found).or(chat),
        Flow::Send(edited) => {
            let answer = carried.answer(&Document::of(&edited).map_err(invalid)?);
            answer.or(Some(edited))
        }
        flow => return Ok(flow),
    };
    Ok(answer.map_or(Flow::Pass, Flow::Send))
}

fn invalid(_: JsonError) -> Fault {
    Fault::upstream("invalid_upstream_response", "the upstream's answer is not valid JSON")
}

fn edit_chat(answers: Answers, dialect: Dialect, chat: &Document<'_>) -> Result<Flow, Fault> {
    let body = chat.object();
    if let Some(refusal) = refusal(&body, dialect) {
        return Ok(Flow::Reply(refusal));
    }
    if !answers.edits_text() {
        return Ok(Flow::Pass);
    }
    let mut patch = Patch::new(chat.text());
    let choices = body.get("choices").and_then(|choices| choices.elements()).unwrap_or_default();
    for choice in choices.into_iter().filter_map(|choice| choice.object()) {
        if let Some(message) = choice.get("message").and_then(|message| message.object()) {
            edit_message(answers, &message, &mut patch);
        }
    }
    Ok(if patch.is_empty() { Flow::Pass } else { Flow::Send(patch.finish()) })
}

fn edit_message(answers: Answers, message: &Object<'_>, patch: &mut Patch<'_>) {
    let said = Said::of(message);
    if !said.has_reasoning {
        return;
    }
    let has_text = !said.reasoning.is_empty();
    if answers.promotes && has_text && !said.answers {
        patch.set(message, "content", &reasoning::joined(&[said.reasoning]));
        reasoning::remove(message, patch);
        return;
    }
    match answers.reasoning {
        Mode::Unset | Mode::Passthrough | Mode::Unknown => {}
        Mode::Ignore => reasoning::remove(message, patch),
        // What is no text takes none.
        Mode::Concat if !said.is_text => {}
        Mode::Concat => {
            if has_text {
                let content = reasoning::joined(&[OPEN, said.reasoning, CLOSE, said.content]);
                patch.set(message, "content", &content);
            }
            reasoning::remove(message, patch);
        }
    }
}

/// What stands for an error with status 200, which a client that reads an answer would take for one.
fn refusal(chat: &Object<'_>, dialect: Dialect) -> Option<LocalReply> {
    if chat.get("choices").is_some_and(|choices| choices.kind() == Kind::Array) {
        return None;
    }
    let error = error_of(chat)?;
    let text = |raw: Raw<'_>| raw.as_str().map(|text| text.chars().take(MAX_MESSAGE).collect::<String>());
    let member = |name: &str| error.object().and_then(|object| object.get(name)).and_then(text);
    let message = member("message").or_else(|| text(error)).unwrap_or_else(|| "the upstream failed".into());
    let code = member("code").or_else(|| member("type")).unwrap_or_else(|| "upstream_error".into());
    Some(LocalReply::json(502, error::body(dialect, 502, &code, &message), "error_with_status_200"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(answers: Answers, message: &str, expected: &str) {
        let text = |message: &str| format!(r#"{{"choices":[{{"index":0,"message":{message}}}],"x":1.0}}"#);
        let edited = match edit(answers, text(message).as_bytes()).unwrap() {
            Flow::Pass => text(message),
            Flow::Send(body) => String::from_utf8(body).unwrap(),
            other => panic!("{other:?}"),
        };
        assert_eq!(edited, text(expected));
    }

    const fn with(reasoning: Mode, promotes: bool) -> Answers {
        Answers { reasoning, promotes }
    }

    const BOTH: &str = r#"{"role":"a","content":"C","reasoning_content":"R\n"}"#;

    #[test]
    fn thinking_goes_where_the_mode_says() {
        check(with(Mode::Ignore, false), BOTH, r#"{"role":"a","content":"C"}"#);
        check(with(Mode::Concat, false), BOTH, r#"{"role":"a","content":"<think>R\n</think>\nC"}"#);
        check(with(Mode::Concat, false), r#"{"reasoning":"R"}"#, r#"{"content":"<think>R</think>\n"}"#);
        check(with(Mode::Concat, false), r#"{"content":"C","reasoning":null}"#, r#"{"content":"C"}"#);
        let parts = r#"{"content":[{"type":"text"}],"reasoning":"R"}"#;
        check(with(Mode::Concat, false), parts, parts);
    }

    #[test]
    fn thinking_stands_in_for_an_empty_answer_only() {
        let promotes = with(Mode::Unset, true);
        check(promotes, r#"{"content":"","reasoning_content":"R"}"#, r#"{"content":"R"}"#);
        check(promotes, r#"{"content":null,"reasoning":"R"}"#, r#"{"content":"R"}"#);
        check(promotes, r#"{"reasoning_content":"R","x":1}"#, r#"{"x":1,"content":"R"}"#);
        check(promotes, BOTH, BOTH);
        let call = r#"{"content":null,"reasoning_content":"R","tool_calls":[{"id":"c"}]}"#;
        check(promotes, call, call);
        check(with(Mode::Ignore, true), r#"{"content":" ","reasoning":"R"}"#, r#"{"content":"R"}"#);
        check(with(Mode::Ignore, true), BOTH, r#"{"role":"a","content":"C"}"#);
    }

    #[test]
    fn an_error_with_status_200_becomes_one() {
        let reply = |text: &str| match edit(with(Mode::Ignore, false), text.as_bytes()).unwrap() {
            Flow::Reply(reply) => (reply.status, String::from_utf8(reply.body).unwrap()),
            other => panic!("{other:?}"),
        };
        let (status, body) = reply(r#"{"error":{"message":"no quota","code":"q"}}"#);
        assert_eq!(status, 502);
        assert!(body.contains(r#""message":"no quota""#) && body.contains(r#""code":"q""#), "{body}");
        assert!(reply(r#"{"error":"oops"}"#).1.contains("oops"));
        assert!(reply(r#"{"error":{"code":7}}"#).1.contains("upstream_error"));
        let passes = |text: &str| matches!(edit(with(Mode::Ignore, false), text.as_bytes()), Ok(Flow::Pass));
        assert!(passes(r#"{"error":null,"choices":[]}"#) && passes(r#"{"choices":[],"error":{"a":1}}"#));
        assert_eq!(edit(with(Mode::Ignore, false), b"oops").unwrap_err().status, 502);
    }
}
