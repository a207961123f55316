//! APIs that a vendor lacks, carried over one that it has. One module a pair, named `<client's>_over_<vendor's>`:
//! bytes in, bytes out, and the state of a stream.

pub(crate) mod anthropic_over_openai;
mod vendor_error;

use common::llm::api::Api;
use common::llm::dialect::Dialect;

/// What a client's API is carried over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pair {
    /// Anthropic's Messages over OpenAI's chat completions.
    AnthropicOverOpenAi,
}

impl Pair {
    /// How requests for this API are carried, if there is a way.
    pub(crate) fn for_client(api: Api) -> Option<Self> {
        (api == Api::AnthropicMessages).then_some(Self::AnthropicOverOpenAi)
    }

    /// The API that the vendor is asked for.
    pub(crate) fn vendors(self) -> Api {
        match self {
            Self::AnthropicOverOpenAi => Api::ChatCompletions,
        }
    }

    /// What the client speaks.
    pub(crate) fn dialect(self) -> Dialect {
        match self {
            Self::AnthropicOverOpenAi => Dialect::Anthropic,
        }
    }

    /// Headers that tell the vendor of the client's API only; keys are removed anyway.
    pub(crate) fn headers(self) -> &'static [&'static str] {
        match self {
            Self::AnthropicOverOpenAi => &["anthropic-version", "anthropic-beta"],
        }
    }
}

/// How a vendor wants to be asked, where vendors of one API differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Manner {
    pub(crate) thinking: Thinking,
    /// A message of the system's that stands among the others is refused.
    pub(crate) system_first: bool,
}

/// How a vendor is told to think.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Thinking {
    /// `reasoning_effort`.
    Effort,
    /// `reasoning.max_tokens`, a budget in tokens.
    Budget,
    /// `thinking.type`: it is on or off, and on unless it is told.
    Switch,
}

impl Manner {
    /// OpenAI's own.
    pub(crate) const OPENAI: Self = Self { thinking: Thinking::Effort, system_first: false };
}
