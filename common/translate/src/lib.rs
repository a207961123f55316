//! APIs that a vendor lacks, carried over one that it has. One module a pair, named `<client's>_over_<vendor's>`:
//! bytes in, bytes out, and the state of a stream.
//!
//! OpenAI's chat is what all of them meet in. A *front* turns a client's request into a chat, and the chat's answer
//! into the client's; a *back* turns a chat into a vendor's request, and the vendor's answer into a chat's. Where
//! neither side speaks chats, both are at work, and what is done to chats is done between them.

mod call_id;
mod chat;
mod chat_over_messages;
mod chat_over_responses;
mod dropped;
mod messages_over_chat;
pub mod place;
mod read;
mod responses_over_chat;
pub mod signature;
pub mod vendor_error;

use common::framing::sse::Event;
use common::http::{Fault, Head};
use common::json::{Document, JsonError, Object, ObjectWriter, Raw};
use common::llm::api::Api;
use common::llm::dialect::Dialect;

pub(crate) use dropped::Dropped;
pub use responses_over_chat::{MARK as OUR_THINKING, remove_thinking};

/// The APIs in which conversations are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Talk {
    /// OpenAI's [chat completions](https://platform.openai.com/docs/api-reference/chat).
    Chat,
    /// Anthropic's [Messages](https://docs.anthropic.com/en/api/messages).
    Messages,
    /// OpenAI's [Responses](https://platform.openai.com/docs/api-reference/responses).
    Responses,
}

impl Talk {
    /// All of them. What most vendors are asked in, the one that loses the least first.
    pub const ALL: [Self; 3] = [Self::Chat, Self::Messages, Self::Responses];

    /// The conversation that a request for this API takes part in.
    pub fn of(api: Api) -> Option<Self> {
        match api {
            Api::ChatCompletions => Some(Self::Chat),
            Api::AnthropicMessages => Some(Self::Messages),
            Api::Responses => Some(Self::Responses),
            _ => None,
        }
    }

    /// The operation that takes it a step further.
    pub fn api(self) -> Api {
        match self {
            Self::Chat => Api::ChatCompletions,
            Self::Messages => Api::AnthropicMessages,
            Self::Responses => Api::Responses,
        }
    }
}

/// What a client speaks, and what it is carried over. The two differ, but for [`Pair::CHAT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    /// The client's.
    pub client: Talk,
    /// The vendor's.
    pub vendor: Talk,
}

impl Pair {
    /// A chat over chats, where it comes in another form: [`Carried::chat_of_response`].
    pub const CHAT: Self = Self { client: Talk::Chat, vendor: Talk::Chat };

    /// How each API is carried that is not spoken as it is: as it is `told`, or else, where a vendor `lacks` it, over
    /// the first of its `order` that it `serves`.
    pub fn all(
        told: &[Self],
        order: [Talk; 3],
        lacks: impl Fn(Api) -> bool,
        serves: impl Fn(Api) -> bool,
    ) -> Vec<Self> {
        let over = |client: Talk| {
            let is_other = |vendor: &Talk| *vendor != client && serves(vendor.api());
            order.into_iter().find(is_other).filter(|_| lacks(client.api()))
        };
        let pair = |client: Talk| match told.iter().find(|pair| pair.client == client) {
            Some(pair) => Some(*pair),
            None => over(client).map(|vendor| Self { client, vendor }),
        };
        Talk::ALL.into_iter().filter_map(pair).collect()
    }

    /// What the client's errors look like.
    pub fn dialect(self) -> Dialect {
        Dialect::of(self.client.api())
    }

    /// Headers that tell the vendor of the client's API only; keys are removed anyway.
    pub fn headers(self) -> &'static [&'static str] {
        match (self.client, self.vendor) {
            (Talk::Messages, _) => &["anthropic-version", "anthropic-beta"],
            (_, Talk::Messages) => &["openai-beta", "openai-organization", "openai-project"],
            (Talk::Responses, _) => &["openai-beta"],
            (Talk::Chat, _) => &[],
        }
    }
}

/// What translators know of an exchange beside its bodies.
#[derive(Debug, Clone, Copy)]
pub struct Stamp {
    /// When the request came, in seconds since 1970.
    pub created: u64,
    /// Makes ids unique that no vendor gives.
    pub seed: u64,
}

/// The client's side of one exchange, once its request has become a chat.
pub(crate) trait Front {
    /// A whole chat completion, as the client knows answers.
    fn answer(&self, chat: &Document<'_>) -> Vec<u8>;

    /// What turns the chunks of a chat into the events that the client knows.
    fn stream(&self) -> Box<dyn ClientStream>;

    /// What the client calls this member of the chat that its request became. Most names are the same.
    fn name<'n>(&self, member: &'n str) -> &'n str {
        member
    }
}

/// The vendor's side of one exchange, once a chat has become its request.
pub(crate) trait Back {
    /// A vendor's whole answer, as a chat completion.
    ///
    /// # Errors
    /// It is no JSON object.
    fn answer(&self, body: &[u8]) -> Result<Vec<u8>, JsonError>;

    /// What turns the vendor's events into chunks of a chat.
    fn stream(&self) -> Box<dyn VendorStream>;

    /// What the vendor is to be told beside the body.
    fn edit_head(&self, _head: &mut Head) {}
}

/// Writes the events of an answer in a client's own API. It is told of a chat, chunk by chunk.
pub trait ClientStream {
    /// Takes a chunk of the chat.
    fn chunk(&mut self, chunk: &Object<'_>, out: &mut Vec<u8>);

    /// Takes text that nobody has seen yet, in pieces as they stand inside a JSON string.
    fn say(&mut self, pieces: &[&[u8]], out: &mut Vec<u8>);

    /// The chat has come to its end.
    fn done(&mut self, out: &mut Vec<u8>);

    /// The vendor says what went wrong: `chunk` has it as its `error`, and `text` is all of the chunk.
    fn vendor_error(&mut self, chunk: &Object<'_>, text: &[u8], out: &mut Vec<u8>);

    /// Ends the answer with an error.
    fn fail(&mut self, status: u16, message: &str, out: &mut Vec<u8>);
}

/// Reads a vendor's stream of events as one of chats.
pub trait VendorStream {
    /// Whether an event says nothing but that the vendor is still at work.
    fn is_ping(&self, _event: &Event) -> bool {
        false
    }

    /// Takes an event. Each chunk that comes of it is given to `chunk`. Says whether the vendor's answer ends here;
    /// then nothing is expected any more.
    fn event(&mut self, event: &Event, chunk: Chunks<'_>) -> bool;
}

/// A chunk that was made of a vendor's event.
#[derive(Debug, Clone, Copy)]
pub struct Chunk<'c> {
    /// The JSON of a `chat.completion.chunk`, or of an object with an `error`.
    pub json: &'c [u8],
    /// The chat has said why it ended, or what went wrong.
    pub settles: bool,
}

/// Takes chunks.
pub type Chunks<'c> = &'c mut dyn FnMut(Chunk<'_>);

/// How a vendor wants to be asked, where vendors of one API differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manner {
    /// How it is told to think.
    pub thinking: Thinking,
    /// A message of the system's that stands among the others is refused.
    pub system_first: bool,
    /// The member that limits an answer.
    pub limit: &'static str,
    /// What it is asked in, where it lacks the client's own API: the first that it serves.
    pub order: [Talk; 3],
    /// What its model thought before it called tools may be sent back to it, as `reasoning_content`.
    pub takes_thinking: bool,
}

/// How a vendor is told to think.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thinking {
    /// `reasoning_effort`.
    Effort,
    /// `reasoning.max_tokens`, a budget in tokens.
    Budget,
    /// `thinking.type`: it is on or off, and on unless it is told.
    Switch,
}

impl Thinking {
    /// Asks a vendor to think: with this effort or, where the vendor counts tokens, within this budget. Without
    /// either, not to think, where that has to be said.
    fn ask(self, effort: Option<&str>, budget: Option<Raw<'_>>, chat: &mut ObjectWriter<'_>) {
        match (self, effort, budget) {
            (Self::Budget, _, Some(budget)) => {
                let mut reasoning = ObjectWriter::open(chat.member("reasoning"));
                reasoning.raw("max_tokens", budget.text());
                reasoning.close();
            }
            (Self::Switch, Some(_), _) => chat.raw("thinking", br#"{"type":"enabled"}"#),
            (Self::Switch, None, _) => chat.raw("thinking", br#"{"type":"disabled"}"#),
            (Self::Effort | Self::Budget, Some(effort), _) => chat.text("reasoning_effort", effort),
            (Self::Effort | Self::Budget, None, _) => {}
        }
    }
}

impl Manner {
    /// That of whoever is compatible with OpenAI.
    pub const OPENAI: Self = Self {
        thinking: Thinking::Effort,
        system_first: false,
        limit: "max_tokens",
        order: Talk::ALL,
        takes_thinking: true,
    };
    /// That of OpenAI's own models, wherever they are served. Those that think refuse the older name of the limit, and
    /// all of them know the newer one:
    /// <https://platform.openai.com/docs/api-reference/chat/create#chat_create-max_completion_tokens>.
    pub const OPENAIS_OWN: Self =
        Self { limit: "max_completion_tokens", takes_thinking: false, ..Self::OPENAI };
    /// Of them the newer ones take no functions in chats while they think, and some think unless they are told not to:
    /// <https://github.com/openai/openai-openapi/issues/541>. So where OpenAI has both, clients of other APIs are
    /// carried over its Responses.
    pub const NEWEST_FIRST: [Talk; 3] = [Talk::Responses, Talk::Chat, Talk::Messages];
}

/// The two halves of a streamed answer's way, where there is something to be done.
#[derive(Default)]
pub struct Streams {
    /// The vendor sends no chunks of chats.
    pub back: Option<Box<dyn VendorStream>>,
    /// The client gets no chunks of chats.
    pub front: Option<Box<dyn ClientStream>>,
}

/// An exchange that is carried over another API than the client's.
pub struct Carried {
    pair: Pair,
    stamp: Stamp,
    front: Option<Box<dyn Front>>,
    back: Option<Box<dyn Back>>,
    /// The client asks for a chat as one does for a response.
    asks_otherwise: bool,
    dropped: Dropped,
}

impl Carried {
    /// An exchange whose request has not come yet.
    pub fn new(pair: Pair, stamp: Stamp) -> Self {
        Self { pair, stamp, front: None, back: None, asks_otherwise: false, dropped: Dropped::default() }
    }

    /// The client's request as a chat; `None`: it is one.
    ///
    /// # Errors
    /// The request is not one, or asks for what no chat can give.
    pub fn chat_of(&mut self, text: &[u8], manner: Manner) -> Result<Option<Vec<u8>>, Fault> {
        let (chat, front) = match self.pair.client {
            Talk::Chat => return Ok(None),
            Talk::Messages => messages_over_chat::request(text, manner, self.stamp, &mut self.dropped)?,
            Talk::Responses => {
                responses_over_chat::request(text, self.pair, manner, self.stamp, &mut self.dropped)?
            }
        };
        self.front = Some(front);
        Ok(Some(chat))
    }

    /// A chat that is asked for by a request for a response, as Cursor does where its users name an address of their own:
    /// <https://forum.cursor.com/t/override-openai-base-url-sends-responses-api-payload-to-chat-completions-but-expects-chat-completions-output/159298>.
    /// Its answer is a chat's.
    ///
    /// # Errors
    /// As [`Carried::chat_of`].
    pub fn chat_of_response(&mut self, text: &[u8], manner: Manner) -> Result<Vec<u8>, Fault> {
        self.asks_otherwise = true;
        responses_over_chat::chat(text, self.pair, manner, &mut self.dropped)
    }

    /// A chat as the vendor's request; `None`: it is one.
    ///
    /// # Errors
    /// The chat asks for what the vendor cannot give.
    pub fn request_of(&mut self, chat: &[u8], head: &mut Head) -> Result<Option<Vec<u8>>, Fault> {
        let mut dropped = Dropped::default();
        let made = match self.pair.vendor {
            Talk::Chat => return Ok(None),
            Talk::Messages => chat_over_messages::request(chat, self.stamp, &mut dropped),
            Talk::Responses => {
                let is_clients = self.front.is_none();
                chat_over_responses::request(chat, self.stamp, is_clients, &mut dropped)
            }
        };
        let (request, back) = match &self.front {
            Some(front) => {
                dropped.names().for_each(|name| self.dropped.name(front.name(name)));
                made.map_err(in_the_chat)?
            }
            None if self.asks_otherwise => {
                dropped.names().for_each(|name| self.dropped.name(responses_over_chat::name(name)));
                made.map_err(in_the_chat)?
            }
            None => {
                self.dropped = dropped;
                made?
            }
        };
        back.edit_head(head);
        self.back = Some(back);
        Ok(Some(request))
    }

    /// Names of what the client asked for and the vendor was not told, as the value of a header.
    pub fn dropped(&self) -> Option<String> {
        self.dropped.header()
    }

    /// A vendor's whole answer as a chat completion; `None`: it is one.
    ///
    /// # Errors
    /// It is no JSON object.
    pub fn chat_of_answer(&self, answer: &[u8]) -> Result<Option<Vec<u8>>, JsonError> {
        self.back.as_ref().map(|back| back.answer(answer)).transpose()
    }

    /// Whether chats become something else for the client.
    pub fn translates_chats(&self) -> bool {
        self.front.is_some()
    }

    /// A whole chat completion as the client's answer; `None`: it is one.
    pub fn answer(&self, chat: &Document<'_>) -> Option<Vec<u8>> {
        self.front.as_ref().map(|front| front.answer(chat))
    }

    /// The two halves of a streamed answer's way, where there is something to be done.
    pub fn streams(&self) -> Streams {
        Streams {
            back: self.back.as_ref().map(|back| back.stream()),
            front: self.front.as_ref().map(|front| front.stream()),
        }
    }
}

/// Places are named as they are in the chat, which a client that sent another request has not seen.
fn in_the_chat(fault: Fault) -> Fault {
    let message = format!("in the chat that the request becomes, {}", fault.message);
    Fault { message: message.into(), ..fault }
}
