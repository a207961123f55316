//! What is read of a request body: the model, how many turns a conversation has, and the members that attributes
//! ask for.

use common::json::{self, Skim, Skimmer, Want};
use common::llm::usage::{Keep, Kept};

/// A longer name of a model is none.
const MAX_MODEL: usize = 1024;

/// Reads a request body as it passes.
pub(crate) struct RequestReader {
    skimmer: Skimmer,
    body: Body,
}

struct Body {
    keep: Keep,
    limit: usize,
    kept: Kept,
    model: Option<String>,
    turns: Turns,
    inner: Skimmer,
}

/// How often the user had the word.
#[derive(Debug, Clone, Copy, Default)]
struct Turns {
    /// Of OpenAI's and Anthropic's `messages`.
    messages: Option<u64>,
    /// Of Gemini's `contents`.
    contents: Option<u64>,
    in_contents: bool,
    role: Role,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Role {
    #[default]
    Unsaid,
    User,
    Other,
}

impl RequestReader {
    /// A reader that keeps these members, up to so many bytes.
    pub(crate) fn new(keep: Keep, limit: usize) -> Self {
        let body = Body {
            keep,
            limit,
            kept: Kept::default(),
            model: None,
            turns: Turns::default(),
            inner: Skimmer::default(),
        };
        Self { skimmer: Skimmer::default(), body }
    }

    /// Takes the next piece.
    pub(crate) fn push(&mut self, piece: &[u8]) {
        self.skimmer.push(piece, &mut self.body);
    }

    /// The model that is asked for.
    pub(crate) fn model(&self) -> Option<&str> {
        self.body.model.as_deref()
    }

    /// How often the user had the word.
    pub(crate) fn turns(&self) -> u64 {
        let Turns { messages, contents, .. } = self.body.turns;
        messages.or(contents).unwrap_or(0)
    }

    /// The members that were asked for, as one object.
    pub(crate) fn kept(&self) -> &[u8] {
        self.body.kept.object()
    }
}

impl Body {
    fn turns_begin(&mut self, name: &str) -> bool {
        let Turns { messages, contents, in_contents, .. } = &mut self.turns;
        match name {
            "messages" => *messages = Some(0),
            "contents" => *contents = Some(0),
            _ => return false,
        }
        *in_contents = name == "contents";
        self.inner = Skimmer::default();
        true
    }
}

impl Skim for Body {
    fn wants(&mut self, name: &str) -> Want {
        let has_turns = self.turns_begin(name);
        match name {
            _ if self.keep.wants(name) => Want::Value { limit: self.limit },
            "model" => Want::Value { limit: MAX_MODEL },
            _ if has_turns => Want::Pieces,
            _ => Want::Nothing,
        }
    }

    fn member(&mut self, name: &str, text: &[u8]) {
        match name {
            "model" => {
                let text = json::value(text).ok();
                self.model = text.and_then(|text| text.as_str()).map(std::borrow::Cow::into_owned);
            }
            "messages" | "contents" => self.inner.push(text, &mut self.turns),
            _ => {}
        }
        if self.keep.wants(name) {
            self.kept.take(name, text, self.limit);
        }
    }

    fn piece(&mut self, text: &[u8]) {
        self.inner.push(text, &mut self.turns);
    }

    fn object_ends(&mut self) {
        self.kept.close();
    }
}

impl Skim for Turns {
    fn wants(&mut self, name: &str) -> Want {
        if name == "role" { Want::Value { limit: 64 } } else { Want::Nothing }
    }

    fn member(&mut self, _: &str, value: &[u8]) {
        self.role = if value == b"\"user\"" { Role::User } else { Role::Other };
    }

    fn object_ends(&mut self) {
        let role = std::mem::take(&mut self.role);
        let (count, is_turn) = if self.in_contents {
            (&mut self.contents, role != Role::Other)
        } else {
            (&mut self.messages, role == Role::User)
        };
        if is_turn {
            *count = count.map(|count| count.saturating_add(1));
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
                let mut reader = RequestReader::new(keep.clone(), 10_000);
                reader.push(&text.as_bytes()[..cut]);
                reader.push(&text.as_bytes()[cut..]);
                assert_eq!((reader.model(), reader.turns()), (model, turns), "cut at {cut}: {text}");
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
        check(r#"{"messages":"none"}"#, None, 0);
        check("nonsense", None, 0);
    }

    #[test]
    fn only_what_is_asked_for_is_kept() {
        let mut reader = RequestReader::new(Keep::Members(Rc::from(["system".to_owned()])), 30);
        reader.push(br#"{"system":"0123","messages":[{"role":"user"}],"#);
        assert_eq!(reader.kept(), b"");
        reader.push(br#""model":"m"}"#);
        assert_eq!(reader.kept(), br#"{"system":"0123"}"#);
        assert_eq!(reader.turns(), 1);
    }
}
