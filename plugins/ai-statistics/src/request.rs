//! What is read of a request body: the model, how many turns a conversation has, and the members that attributes
//! ask for.

use std::borrow::Cow;

use common::json::{self, MAX_SHOWN, Outline, Outlined, Raw, Skim, Skimmer, Want};
use common::llm::usage::{Keep, Kept};

/// Reads a request body as it passes.
pub(crate) struct RequestReader {
    outline: Outline,
    asked: Asked,
    /// Where attributes ask for members.
    keeper: Option<(Skimmer, Keeper)>,
}

impl RequestReader {
    /// A reader that keeps these members, up to so many bytes.
    pub(crate) fn new(keep: &Keep, limit: usize) -> Self {
        let keeper = match keep {
            Keep::Nothing => None,
            keep => Some((Skimmer::default(), Keeper { keep: keep.clone(), limit, kept: Kept::default() })),
        };
        Self { outline: Outline::default(), asked: Asked::default(), keeper }
    }

    /// Takes the next piece.
    pub(crate) fn push(&mut self, piece: &[u8]) {
        self.outline.push(piece, &mut self.asked);
        if let Some((skimmer, keeper)) = &mut self.keeper {
            skimmer.push(piece, keeper);
        }
    }

    /// The model that is asked for.
    pub(crate) fn take_model(&mut self) -> Option<String> {
        self.asked.model.take()
    }

    /// How often the user had the word.
    pub(crate) fn turns(&self) -> u64 {
        let Asked { messages, contents, .. } = self.asked;
        messages.or(contents).unwrap_or(0)
    }

    /// Whether there was no room for a member that was asked for.
    pub(crate) fn lacks(&self, name: &str) -> bool {
        self.keeper.as_ref().is_some_and(|(_, keeper)| keeper.kept.lacks(name))
    }

    /// The members that were asked for, as one object.
    pub(crate) fn kept(&self) -> &[u8] {
        self.keeper.as_ref().map(|(_, keeper)| keeper.kept.object()).unwrap_or_default()
    }
}

/// Keeps members.
struct Keeper {
    keep: Keep,
    limit: usize,
    kept: Kept,
}

impl Skim for Keeper {
    fn wants(&mut self, name: &str) -> Want {
        if self.keep.wants(name) { Want::Value { limit: self.limit } } else { Want::Nothing }
    }

    fn member(&mut self, name: &str, value: Raw<'_>) {
        self.kept.take(name, value.text(), self.limit);
    }

    fn too_large(&mut self, name: &str) {
        self.kept.lose(name);
    }

    fn object_ends(&mut self) {
        self.kept.close();
    }
}

/// What a request asks for, as far as it is told in passing.
#[derive(Debug, Default)]
struct Asked {
    model: Option<String>,
    /// How often the user had the word in OpenAI's and Anthropic's `messages`.
    messages: Option<u64>,
    /// The same in Gemini's `contents`.
    contents: Option<u64>,
    is_object: bool,
    /// The member that is passed.
    member: Member,
    in_list: bool,
    in_turn: bool,
    says_role: bool,
    role: Role,
}

/// A member of a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Member {
    Model,
    Messages,
    Contents,
    #[default]
    Other,
}

/// Whose turn it is in a conversation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Role {
    #[default]
    Unsaid,
    User,
    Other,
}

impl Asked {
    fn member_begins(&mut self, name: &[u8]) {
        let spelled = spelled(name);
        self.member = match &*spelled {
            b"model" => Member::Model,
            b"messages" => Member::Messages,
            b"contents" => Member::Contents,
            _ => Member::Other,
        };
        // Of several with one name the last one counts.
        match self.member {
            Member::Model => self.model = None,
            Member::Messages => self.messages = Some(0),
            Member::Contents => self.contents = Some(0),
            Member::Other => {}
        }
    }

    fn turn_ends(&mut self) {
        let (count, is_turn) = match self.member {
            Member::Contents => (&mut self.contents, self.role != Role::Other),
            _ => (&mut self.messages, self.role == Role::User),
        };
        if is_turn {
            *count = count.map(|count| count.saturating_add(1));
        }
    }
}

/// A name without its escapes, which next to none has.
fn spelled(name: &[u8]) -> Cow<'_, [u8]> {
    if !name.contains(&b'\\') {
        return Cow::Borrowed(name);
    }
    Cow::Owned(json::unescaped(name).unwrap_or_default().into_owned().into_bytes())
}

impl Outlined for Asked {
    fn opens(&mut self, level: u32, is_object: bool) {
        match level {
            1 => self.is_object = is_object,
            2 => self.in_list = !is_object && matches!(self.member, Member::Messages | Member::Contents),
            _ => {
                self.in_turn = self.in_list && is_object;
                self.role = Role::Unsaid;
                self.says_role = false;
            }
        }
    }

    fn closes(&mut self, level: u32) {
        match level {
            1 => self.is_object = false,
            2 => self.in_list = false,
            _ if std::mem::take(&mut self.in_turn) => self.turn_ends(),
            _ => {}
        }
    }

    fn string(&mut self, level: u32, is_name: bool, text: &[u8]) {
        match (level, is_name) {
            (1, true) if self.is_object => self.member_begins(text),
            (1, false) if self.member == Member::Model && text.len() < MAX_SHOWN => {
                self.model = json::unescaped(text).map(Cow::into_owned);
            }
            (3, true) if self.in_turn => {
                self.says_role = *spelled(text) == *b"role";
                if self.says_role {
                    self.role = Role::Other;
                }
            }
            (3, false) if self.in_turn && self.says_role && text == b"user" => self.role = Role::User,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    /// Model and turns, with and without `messages` kept, at any cut in two.
    fn check(text: &str, model: Option<&str>, turns: u64) {
        for keep in [Keep::Nothing, Keep::Everything, Keep::Members(Rc::from(["messages".to_owned()]))] {
            for cut in 0..=text.len() {
                let mut reader = RequestReader::new(&keep, 10_000);
                reader.push(&text.as_bytes()[..cut]);
                reader.push(&text.as_bytes()[cut..]);
                assert_eq!(
                    (reader.take_model().as_deref(), reader.turns()),
                    (model, turns),
                    "cut at {cut}: {text}"
                );
            }
        }
    }

    #[test]
    fn the_model_and_the_users_turns_are_read_at_any_cut() {
        check(
            r#"{"messages":[{"role":"system","content":"s"},{"role":"user","content":[{"role":"user"}]},{"content":"x","role":"user"},{"role":"assistant"},{}],"model":"m\u0031"}"#,
            Some("m1"),
            2,
        );
        check(r#"{"contents":[{},{"role":"model"},{"role":"user","parts":[]}]}"#, None, 2);
        check(r#"{"model":7,"input":"x"}"#, None, 0);
        check(r#"{"messages":"none","model":"m","model":{"model":"n"}}"#, None, 0);
        check(r#"{"messages":[],"stop":["user"],"model":"m","tools":[{"role":"user"}]}"#, Some("m"), 0);
        check(
            r#"{"messages":[["role","user"],{"r\u006fle":"user"},{"role":"user","role":"tool"},{"name":"role","x":"user"}]}"#,
            None,
            1,
        );
        check(r#"[{"model":"m"}]"#, None, 0);
        check("nonsense", None, 0);
    }

    #[test]
    fn only_what_is_asked_for_is_kept() {
        let mut reader = RequestReader::new(&Keep::Members(Rc::from(["system".to_owned()])), 30);
        reader.push(br#"{"system":"0123","messages":[{"role":"user"}],"#);
        assert_eq!(reader.kept(), b"");
        reader.push(br#""model":"m"}"#);
        assert_eq!(reader.kept(), br#"{"system":"0123"}"#);
        assert_eq!(reader.turns(), 1);
    }
}
