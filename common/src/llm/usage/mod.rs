//! What answers say beside their content: how many tokens they took, which model gave them, and their id.
//!
//! One reader for every wire format: OpenAI's, Anthropic's, Gemini's, Bedrock's, Cohere's, DashScope's and Ollama's
//! names differ, so each is known wherever it stands. A stream says its counts again and again, each time
//! cumulative: a later number takes the place of an earlier one and is never added to it.

mod kept;
mod reader;
mod report;

use crate::json::{self, Kind, Object, Raw};

pub use kept::{Keep, Kept};
pub use reader::{Format, OnEvent, Reader};
pub use report::Report;

/// A longer id or name of a model is none.
const MAX_NAME: usize = 1024;
/// How many kinds of tokens are told apart in each direction.
const MAX_DETAILS: usize = 32;

/// Tokens of one exchange.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Usage {
    /// Of the request, as the vendor counts them: Anthropic and Bedrock leave out what their caches know.
    pub input: Option<u64>,
    /// Of the answer.
    pub output: Option<u64>,
    /// Of the request, read from a cache.
    pub cached: Option<u64>,
    /// Of the answer, spent on thinking.
    pub reasoning: Option<u64>,
    /// Kinds of tokens of the request, under the vendor's names.
    pub input_details: Details,
    /// Kinds of tokens of the answer.
    pub output_details: Details,
    /// As the vendor says.
    total: Option<u64>,
    /// OpenAI and Gemini count in `input` what their caches know.
    has_cached_input: bool,
    /// What Gemini leaves out of `output`.
    thoughts: u64,
}

/// Counts by name.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Details(Vec<(String, u64)>);

impl Details {
    /// Names and counts, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(name, count)| (name.as_str(), *count))
    }

    /// The count of that name.
    #[must_use]
    pub fn count(&self, name: &str) -> Option<u64> {
        self.iter().find(|(known, _)| *known == name).map(|(_, count)| count)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A JSON object.
    #[must_use]
    pub fn to_json(&self) -> String {
        let members = self
            .iter()
            .map(|(name, count)| format!("{}:{count}", String::from_utf8_lossy(&json::string(name))));
        format!("{{{}}}", members.collect::<Vec<_>>().join(","))
    }

    fn set(&mut self, name: &str, count: u64) {
        match self.0.binary_search_by(|(known, _)| known.as_str().cmp(name)) {
            Ok(at) => {
                if let Some((_, known)) = self.0.get_mut(at) {
                    *known = (*known).max(count);
                }
            }
            Err(at) if self.0.len() < MAX_DETAILS && name.len() <= MAX_NAME => {
                self.0.insert(at, (name.to_owned(), count));
            }
            Err(_) => {}
        }
    }

    /// A map of counts, or a list of them by modality, as Gemini has it.
    fn read(&mut self, value: Raw<'_>) {
        if let Some(object) = value.object() {
            for (name, count) in object.members() {
                self.set(&name, number(count).unwrap_or(0));
            }
        }
        for entry in value.elements().unwrap_or_default().iter().filter_map(Raw::object) {
            let name = entry.get("modality").and_then(|name| name.as_str());
            let count = entry.get("tokenCount").and_then(number);
            if let (Some(name), Some(count)) = (name, count) {
                self.set(&name, count);
            }
        }
    }
}

impl Usage {
    /// All tokens: as the vendor says, else the sum of what it does say.
    #[must_use]
    pub fn total(&self) -> u64 {
        let beside = |name: &str| self.input_details.count(name).unwrap_or(0);
        self.total.unwrap_or_else(|| {
            [
                self.input.unwrap_or(0),
                self.output.unwrap_or(0),
                beside("cache_creation_input_tokens"),
                beside("cache_read_input_tokens"),
            ]
            .into_iter()
            .fold(0, u64::saturating_add)
        })
    }

    /// All of the request, what caches know included.
    #[must_use]
    pub fn whole_input(&self) -> Option<u64> {
        let read = self.input_details.count("cache_read_input_tokens");
        let beside = [read, self.cache_written()].into_iter().flatten();
        match self.has_cached_input {
            true => self.input,
            false => beside.fold(self.input, |sum, count| Some(sum.unwrap_or(0).saturating_add(count))),
        }
    }

    /// All of the answer, thoughts included.
    #[must_use]
    pub fn whole_output(&self) -> Option<u64> {
        match self.thoughts {
            0 => self.output,
            thoughts => Some(self.output.unwrap_or(0).saturating_add(thoughts)),
        }
    }

    /// Of the request, written to a cache.
    #[must_use]
    pub fn cache_written(&self) -> Option<u64> {
        self.input_details.count("cache_creation_input_tokens")
    }

    /// Takes the counts of one object, such as OpenAI's `usage`. A count of zero is not taken for one that is
    /// known to be more, since counts only grow.
    fn read(&mut self, object: &Object<'_>) -> bool {
        // Some vendors send two dialects' names at once, and fill in only the first.
        let (mut input, mut output) = (None, None);
        let mut found = false;
        for (name, value) in object.members() {
            let Some(count) = number(value) else {
                match &*name {
                    "prompt_tokens_details" | "input_tokens_details" | "promptTokensDetails" => {
                        self.input_details.read(value);
                        larger(&mut self.cached, self.input_details.count("cached_tokens"));
                    }
                    "completion_tokens_details" | "output_tokens_details" | "candidatesTokensDetails" => {
                        self.output_details.read(value);
                        larger(&mut self.reasoning, self.output_details.count("reasoning_tokens"));
                    }
                    _ => {}
                }
                continue;
            };
            match &*name {
                "prompt_tokens" | "promptTokenCount" => {
                    self.has_cached_input = true;
                    input = Some(count);
                }
                "inputTokens" | "inputTokenCount" => input = Some(count),
                "completion_tokens" | "candidatesTokenCount" | "outputTokens" | "outputTokenCount" => {
                    output = Some(count);
                }
                "input_tokens" => input = input.or(Some(count)),
                "output_tokens" => output = output.or(Some(count)),
                "total_tokens" | "totalTokenCount" | "totalTokens" => newer(&mut self.total, Some(count)),
                "cached_tokens" | "prompt_cache_hit_tokens" => larger(&mut self.cached, Some(count)),
                "cache_read_input_tokens" | "cacheReadInputTokens" => {
                    self.input_details.set("cache_read_input_tokens", count);
                    larger(&mut self.cached, Some(count));
                }
                "cache_creation_input_tokens" | "cacheWriteInputTokens" => {
                    self.input_details.set("cache_creation_input_tokens", count);
                }
                "cachedContentTokenCount" => {
                    self.input_details.set("cached_content_token_count", count);
                    larger(&mut self.cached, Some(count));
                }
                "toolUsePromptTokenCount" => self.input_details.set("tool_use_prompt_token_count", count),
                "search_units" => self.input_details.set("search_units", count),
                "thoughtsTokenCount" => {
                    self.output_details.set("thoughts_token_count", count);
                    larger(&mut self.reasoning, Some(count));
                    self.thoughts = self.thoughts.max(count);
                }
                "generated_images" => self.output_details.set("generated_images", count),
                _ => continue,
            }
            found = true;
        }
        newer(&mut self.input, input);
        newer(&mut self.output, output);
        found
    }
}

fn newer(known: &mut Option<u64>, said: Option<u64>) {
    if said.is_some_and(|said| said > 0 || known.is_none()) {
        *known = said;
    }
}

fn larger(known: &mut Option<u64>, said: Option<u64>) {
    *known = (*known).max(said);
}

/// A whole number, also where a vendor writes it as a fraction.
fn number(value: Raw<'_>) -> Option<u64> {
    if value.kind() != Kind::Number {
        return None;
    }
    value.as_u64().or_else(|| {
        let number = value.as_f64()?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "inside the range")]
        (0.0..=9e15).contains(&number).then_some(number as u64)
    })
}
