//! Which messages of a chat go upstream: those after a clean-up command, and one where two of the same role
//! stand behind one another.

use common::http::Fault;
use common::json::{Kind, Object, Patch, Raw};

/// What a configuration does to the messages of a chat.
#[derive(Debug, Default)]
pub(crate) struct Conversation {
    /// Each of them, as the whole text of a user, ends what was said before.
    commands: Vec<String>,
    merges: bool,
}

/// One message.
struct Message<'a> {
    /// `None`: it is no object, and stays as it is.
    object: Option<Object<'a>>,
    stays: bool,
}

/// What a message says.
enum Content<'a> {
    /// As it stands inside its quotes.
    Text(&'a [u8]),
    /// As it stands inside its brackets.
    Parts(&'a [u8]),
    Nothing,
}

impl Conversation {
    pub(crate) fn new(commands: &[String], merges: bool) -> Self {
        let commands = commands.iter().map(|command| command.trim().to_owned());
        Self { commands: commands.filter(|command| !command.is_empty()).collect(), merges }
    }

    /// Makes the edits in the body of a chat.
    ///
    /// # Errors
    /// The clean-up leaves no message.
    pub(crate) fn edit(&self, body: &Object<'_>, patch: &mut Patch<'_>) -> Result<(), Fault> {
        if self.commands.is_empty() && !self.merges {
            return Ok(());
        }
        let elements = body.get("messages").and_then(|messages| messages.elements()).unwrap_or_default();
        let mut messages: Vec<Message<'_>> =
            elements.iter().map(|message| Message { object: message.object(), stays: true }).collect();
        self.clean_up(&mut messages);
        if !elements.is_empty() && !messages.iter().any(|message| message.stays) {
            let message = "no message left after context cleanup";
            return Err(Fault::client(400, "no_message_left", message));
        }
        if self.merges {
            merge(&mut messages, patch);
        }
        if messages.iter().any(|message| !message.stays) {
            patch.remove_elements(&elements, |at| messages.get(at).is_some_and(|message| !message.stays));
        }
        Ok(())
    }

    /// Behind the last command everything stays, before it the system's messages alone.
    fn clean_up(&self, messages: &mut [Message<'_>]) {
        let is_command = |message: &Message<'_>| {
            message.is_by("user")
                && message.text().is_some_and(|text| self.commands.iter().any(|it| it == text.trim()))
        };
        let Some(last) = messages.iter().rposition(is_command) else { return };
        for (at, message) in messages.iter_mut().enumerate().take(last + 1) {
            message.stays = at < last && (message.is_by("system") || message.is_by("developer"));
        }
    }
}

impl<'a> Message<'a> {
    fn get(&self, name: &str) -> Option<Raw<'a>> {
        self.object.as_ref()?.get(name)
    }

    fn is_by(&self, role: &str) -> bool {
        self.get("role").is_some_and(|name| name.as_str().as_deref() == Some(role))
    }

    /// The text, if that is all that is said.
    fn text(&self) -> Option<std::borrow::Cow<'a, str>> {
        let content = self.get("content")?;
        if content.kind() != Kind::Array {
            return content.as_str();
        }
        let parts = content.elements()?;
        let [part] = parts.as_slice() else { return None };
        let part = part.object()?;
        part.get("type").is_some_and(|kind| kind.is("text")).then_some(())?;
        part.get("text")?.as_str()
    }

    fn content(&self) -> Option<Content<'a>> {
        let Some(content) = self.get("content") else { return Some(Content::Nothing) };
        let inside = content.text().get(1..content.text().len().saturating_sub(1)).unwrap_or_default();
        match content.kind() {
            Kind::Null => Some(Content::Nothing),
            Kind::String => Some(Content::Text(inside)),
            Kind::Array => Some(Content::Parts(inside.trim_ascii())),
            Kind::Bool | Kind::Number | Kind::Object => None,
        }
    }

    /// Whether it can become one message with others: it has a role that speaks, and says nothing that would be
    /// lost. Calls of tools, their answers and whatever else is beside the content stay apart.
    fn is_mergeable(&self) -> bool {
        let Some(object) = &self.object else { return false };
        let is_said = |value: Raw<'_>| !matches!(value.text(), b"null" | b"\"\"" | b"[]" | b"{}");
        (self.is_by("user") || self.is_by("assistant"))
            && self.content().is_some()
            && object
                .members()
                .all(|(name, value)| matches!(&*name, "role" | "content" | "name") || !is_said(value))
    }

    fn goes_with(&self, other: &Self) -> bool {
        let same =
            |name| self.get(name).map(|value| value.text()) == other.get(name).map(|value| value.text());
        same("role") && same("name")
    }
}

/// Gives what neighbours of one role say to the first of them.
fn merge(messages: &mut [Message<'_>], patch: &mut Patch<'_>) {
    let staying: Vec<usize> =
        messages.iter().enumerate().filter(|(_, message)| message.stays).map(|(at, _)| at).collect();
    let at = |place: &usize| messages.get(*place);
    let mut gone: Vec<usize> = Vec::new();
    let joins = |one: &usize, next: &usize| match (at(one), at(next)) {
        (Some(one), Some(next)) => one.is_mergeable() && next.is_mergeable() && one.goes_with(next),
        _ => false,
    };
    for run in staying.chunk_by(joins).filter(|run| run.len() > 1) {
        let said: Vec<&Message<'_>> = run.iter().filter_map(at).collect();
        if let Some(object) = said.first().and_then(|first| first.object.as_ref()) {
            patch.set(object, "content", &together(&said));
            gone.extend(run.iter().skip(1));
        }
    }
    for (at, message) in messages.iter_mut().enumerate() {
        message.stays &= gone.binary_search(&at).is_err();
    }
}

/// One content for all of them: texts with an empty line between, or one list of parts.
fn together(run: &[&Message<'_>]) -> Vec<u8> {
    let contents: Vec<Content<'_>> = run.iter().filter_map(|message| message.content()).collect();
    let is_text = |content: &Content<'_>| matches!(content, Content::Text(_) | Content::Nothing);
    if contents.iter().all(is_text) {
        let text = |content: &Content<'_>| match content {
            Content::Text(text) => Some(text.to_vec()),
            _ => None,
        };
        let texts: Vec<Vec<u8>> = contents.iter().filter_map(text).collect();
        return [b"\"", texts.join(&br"\n\n"[..]).as_slice(), b"\""].concat();
    }
    let part = |content: &Content<'_>| match content {
        Content::Text(b"") | Content::Parts(b"") | Content::Nothing => None,
        Content::Text(text) => Some([br#"{"type":"text","text":""#, *text, br#""}"#].concat()),
        Content::Parts(parts) => Some(parts.to_vec()),
    };
    let parts: Vec<Vec<u8>> = contents.iter().filter_map(part).collect();
    [b"[", parts.join(&b","[..]).as_slice(), b"]"].concat()
}

#[cfg(test)]
mod tests {
    use common::json;

    use super::*;

    fn edited(commands: &[&str], merges: bool, messages: &str) -> Result<String, Fault> {
        let text = format!(r#"{{"n":1.0,"messages":[{messages}]}}"#);
        let body = json::object(text.as_bytes()).unwrap();
        let mut patch = Patch::new(text.as_bytes());
        let commands: Vec<String> = commands.iter().map(|command| (*command).to_owned()).collect();
        Conversation::new(&commands, merges).edit(&body, &mut patch)?;
        let edited = String::from_utf8(patch.finish()).unwrap();
        let inside = edited.strip_prefix(r#"{"n":1.0,"messages":["#).and_then(|text| text.strip_suffix("]}"));
        Ok(inside.unwrap().to_owned())
    }

    fn check_cleanup(messages: &str, expected: &str) {
        assert_eq!(edited(&["/clear", " "], false, messages).unwrap(), expected);
    }

    fn check_merge(messages: &str, expected: &str) {
        assert_eq!(edited(&[], true, messages).unwrap(), expected);
    }

    const S: &str = r#"{"role":"system","content":"S"}"#;
    const A: &str = r#"{"role":"user","content":"a"}"#;
    const B: &str = r#"{ "role" : "user", "content" : "b" }"#;
    const X: &str = r#"{"role":"assistant","content":"x"}"#;
    const CLEAR: &str = r#"{"role":"user","content":" /clear\n"}"#;

    #[test]
    fn a_command_ends_what_was_said_before() {
        check_cleanup(&[S, A, CLEAR, B].join(" , "), &[S, B].join(" , "));
        check_cleanup(&[A, CLEAR, X, CLEAR, S, B].join(","), &[S, B].join(","));
        check_cleanup(&[S, A, X].join(","), &[S, A, X].join(","));
        let parts = r#"{"role":"user","content":[{"type":"text","text":"/clear"}]}"#;
        check_cleanup(&[A, parts, B].join(","), B);
        for no_command in [
            r#"{"role":"assistant","content":"/clear"}"#,
            r#"{"role":"user","content":"/Clear"}"#,
            r#"{"role":"user","content":""}"#,
            r#"{"role":"user","content":[{"type":"text","text":"/clear"},{"type":"text","text":"x"}]}"#,
            r#"{"role":"user","content":[{"type":"image","text":"/clear"}]}"#,
            "7",
        ] {
            check_cleanup(&[A, no_command].join(","), &[A, no_command].join(","));
        }
    }

    #[test]
    fn a_command_without_a_word_after_it_is_refused() {
        assert_eq!(edited(&["/clear"], true, &[A, CLEAR].join(",")).unwrap_err().status, 400);
        check_cleanup("", "");
        check_cleanup(&[S, CLEAR].join(","), S);
    }

    #[test]
    fn neighbours_of_one_role_become_one_message() {
        check_merge(
            &[A, B, X].join(", "),
            r#"{"role":"user","content":"a\n\nb"}, {"role":"assistant","content":"x"}"#,
        );
        check_merge(&[X, X, X].join(","), r#"{"role":"assistant","content":"x\n\nx\n\nx"}"#);
        check_merge(&[A, X, B].join(","), &[A, X, B].join(","));
        check_merge(&[S, S].join(","), &[S, S].join(","));
        let parts = r#"{"role":"user","content":[ {"type":"text","text":"c"},{"type":"x"} ]}"#;
        check_merge(
            &[A, parts].join(","),
            r#"{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"c"},{"type":"x"}]}"#,
        );
        check_merge(r#"{"role":"user","content":null},{"role":"user"}"#, r#"{"role":"user","content":""}"#);
    }

    #[test]
    fn what_would_be_lost_stays_apart() {
        for apart in [
            r#"{"role":"user","content":"a","name":"n"}"#,
            r#"{"role":"user","content":"a","x":1}"#,
            r#"{"role":"user","content":7}"#,
            "null",
        ] {
            check_merge(&[A, apart, B].join(","), &[A, apart, B].join(","));
        }
        let calls = r#"{"role":"assistant","content":null,"tool_calls":[{"id":"c"}]}"#;
        check_merge(&[X, calls, X].join(","), &[X, calls, X].join(","));
        let echoed = r#"{"role":"assistant","content":"y","refusal":null,"tool_calls":[]}"#;
        check_merge(&[X, echoed].join(","), r#"{"role":"assistant","content":"x\n\ny"}"#);
    }

    #[test]
    fn both_are_made_in_one_go() {
        let both = edited(&["/clear"], true, &[S, A, CLEAR, A, B].join(",")).unwrap();
        assert_eq!(both, format!(r#"{S},{{"role":"user","content":"a\n\nb"}}"#));
    }
}
