//! How a vendor's stream begins. In a cluster's upstream chain a stream waits for its first word: an error that comes
//! in its stead, or an end, is an attempt that failed, and Envoy may try the next endpoint before its client has seen
//! anything of it.

use common::framing::sse::{Decoder, Event};
use common::http::{Fault, Side};
use common::json::{self, Object};
use common::llm::dialect::Dialect;

use super::{error_of, is_blank};
use translate::vendor_error;

/// What is kept of a stream that says nothing. One that is longer has begun, whatever it says.
const MAX_HELD: usize = 64 << 10;

/// What an attempt has failed with that the vendor calls by no name of its own.
const FAILED: &str = "upstream_error";

/// Events that come before the first word, in the APIs of OpenAI and Anthropic.
const PREAMBLE: [&str; 5] =
    ["message_start", "ping", "response.created", "response.in_progress", "response.queued"];

/// A stream that has not begun.
pub(crate) struct Opening {
    decoder: Decoder,
    held: Vec<u8>,
    limit: usize,
    verdict: Option<Verdict>,
}

/// What is known of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    /// It says something.
    Begun,
    /// The vendor says what went wrong: as this status, in these words, and whether it is an overflow.
    Failed(u16, String, bool),
}

impl Opening {
    /// `limit`: how much may be held at all.
    pub(crate) fn new(limit: usize) -> Self {
        let limit = limit.min(MAX_HELD);
        Self { decoder: Decoder::skipping(limit), held: Vec::new(), limit, verdict: None }
    }

    /// Takes the next piece. Gives all that has come, once the stream has begun.
    ///
    /// # Errors
    /// The stream failed before it began.
    pub(crate) fn push(&mut self, piece: &[u8], end: bool) -> Result<Option<Vec<u8>>, Fault> {
        self.held.extend_from_slice(piece);
        let verdict = &mut self.verdict;
        let mut take = |event: &Event| {
            if verdict.is_none() {
                *verdict = judge(event);
            }
        };
        // It leaves out what is too long, and that is no error.
        let _ = self.decoder.push(piece, &mut take);
        if end {
            self.decoder.finish(&mut take);
        }
        match self.verdict.take() {
            Some(Verdict::Failed(status, message, is_overflow)) => {
                let code = if is_overflow { vendor_error::OVERFLOW } else { FAILED };
                Err(failed(status, code, message))
            }
            Some(Verdict::Begun) => Ok(Some(std::mem::take(&mut self.held))),
            None if self.held.len() >= self.limit => Ok(Some(std::mem::take(&mut self.held))),
            None if end => {
                Err(failed(502, FAILED, "the upstream's stream ended before its answer began".to_owned()))
            }
            None => Ok(None),
        }
    }
}

fn failed(status: u16, code: &'static str, message: String) -> Fault {
    Fault {
        side: Side::Upstream,
        status,
        code,
        message: message.into(),
        detail: "before the first word of a stream".into(),
    }
}

fn judge(event: &Event) -> Option<Verdict> {
    // Comments keep connections open.
    let data = event.data.as_deref()?;
    let Ok(body) = json::object(data) else { return Some(Verdict::Begun) };
    let kind = body.get("type").and_then(|kind| kind.as_str());
    // Nobody looks for other words in what clients of OpenAI's get.
    let failed = |body: &Object<'_>, text: &[u8]| {
        let (status, message, is_overflow) = vendor_error::within(Dialect::Anthropic, body, text);
        Verdict::Failed(status, message, is_overflow)
    };
    match kind.as_deref() {
        Some("error") => Some(failed(&body, data)),
        Some("response.failed") => {
            let response = body.get("response").and_then(|value| Some((value.object()?, value.text())));
            Some(response.map_or_else(|| failed(&body, data), |(response, text)| failed(&response, text)))
        }
        _ if error_of(&body).is_some() => Some(failed(&body, data)),
        Some(kind) if PREAMBLE.contains(&kind) => None,
        _ if is_silent(&body) => None,
        _ => Some(Verdict::Begun),
    }
}

/// Whether this is a chunk of a chat that says at most whose turn it is.
fn is_silent(chunk: &Object<'_>) -> bool {
    let Some(choices) = chunk.get("choices").and_then(|choices| choices.elements()) else { return false };
    chunk.get("usage").is_none_or(is_blank)
        && choices.iter().filter_map(|choice| choice.object()).all(|choice| {
            let delta = choice.get("delta").and_then(|delta| delta.object());
            let says_nothing = delta
                .is_none_or(|delta| delta.members().all(|(name, value)| name == "role" || is_blank(value)));
            says_nothing && choice.get("finish_reason").is_none_or(is_blank)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How much has to come before the stream goes on, or how it failed.
    fn play(text: &str) -> Result<usize, (u16, String)> {
        let mut opening = Opening::new(usize::MAX);
        for (at, byte) in text.bytes().enumerate() {
            match opening.push(&[byte], false) {
                Ok(None) => {}
                Ok(Some(held)) => {
                    assert_eq!(held, text.as_bytes()[..=at]);
                    return Ok(at + 1);
                }
                Err(fault) => return Err((fault.status, fault.message.into_owned())),
            }
        }
        match opening.push(b"", true) {
            Ok(held) => Ok(held.map_or(0, |held| held.len())),
            Err(fault) => Err((fault.status, fault.message.into_owned())),
        }
    }

    fn begins_after(preamble: &str, word: &str) {
        let text = format!("{preamble}{word}data: more\n\n");
        assert_eq!(play(&text), Ok(preamble.len() + word.len()), "{text}");
    }

    #[test]
    fn a_stream_begins_with_its_first_word() {
        begins_after("", "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n");
        begins_after(
            ": hello\n\ndata: {\"choices\":[]}\n\ndata: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n",
            "data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"a\"}}]}\n\n",
        );
        begins_after("", "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n");
        begins_after(
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{}}\n\nevent: ping\ndata: {\"type\":\"ping\"}\n\n",
            "event: content_block_start\ndata: {\"type\":\"content_block_start\"}\n\n",
        );
        begins_after(
            "data: {\"type\":\"response.created\"}\n\ndata: {\"type\":\"response.in_progress\"}\n\n",
            "data: {\"type\":\"response.output_item.added\"}\n\n",
        );
        begins_after("", "data: [DONE]\n\n");
        begins_after("", "data: no JSON\n\n");
    }

    #[test]
    fn an_error_or_an_end_in_its_stead_is_a_failure() {
        let error =
            "data: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"busy\"}}\n\n";
        assert_eq!(play(error), Err((529, "busy".into())));
        let start = "data: {\"type\":\"message_start\"}\n\n";
        assert_eq!(play(&format!("{start}{error}")), Err((529, "busy".into())));
        assert_eq!(
            play("data: {\"error\":{\"message\":\"slow\",\"code\":429}}\n\n"),
            Err((429, "slow".into()))
        );
        assert_eq!(play("data: {\"error\":\"oops\"}\n\n"), Err((502, "oops".into())));
        let failed = "data: {\"type\":\"response.failed\",\"response\":{\"error\":{\"code\":\"rate_limit_exceeded\",\"message\":\"m\"}}}\n\n";
        assert_eq!(play(failed), Err((429, "m".into())));
        assert_eq!(
            play("data: {\"type\":\"error\",\"code\":\"server_error\",\"message\":\"m\"}\n\n"),
            Err((500, "m".into()))
        );
        let long =
            "data: {\"error\":{\"message\":\"the maximum context length is 9 tokens\",\"code\":400}}\n\n";
        let fault = Opening::new(usize::MAX).push(long.as_bytes(), false).unwrap_err();
        assert_eq!((fault.status, fault.code), (400, "context_length_exceeded"));
        for text in ["", ": ping\n\n", start] {
            assert_eq!(play(text).unwrap_err().0, 502, "{text}");
        }
    }

    #[test]
    fn a_stream_that_says_nothing_for_long_has_begun() {
        let text = format!(": {}\n\n", "x".repeat(MAX_HELD));
        assert_eq!(play(&text), Ok(MAX_HELD));
    }
}
