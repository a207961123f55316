//! Words, which are this vendor's tokens, and how an answer is cut.

use std::time::Duration;

use serde_json::{Value, json};

use crate::upstream::{Answer, Chunk, ContentLength};

/// The moment all answers were made, so that the same question has the same answer.
pub(super) const CREATED: u64 = 1_767_225_600;

/// Words longer than this come in two pieces: a token is not always a word.
const LONG_WORD: usize = 8;

/// FNV-1a; any spread would do, this one needs no more than two lines.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

pub(super) fn count(text: &str) -> usize {
    text.split_whitespace().count()
}

pub(super) fn usage(prompt: usize, completion: usize) -> Value {
    json!({
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": { "cached_tokens": 0, "audio_tokens": 0 },
        "completion_tokens_details": { "reasoning_tokens": 0, "audio_tokens": 0 },
    })
}

/// A text as it is repeated: short, or its beginning and its end.
pub(super) fn quote(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.as_slice() {
        words if words.len() <= 16 => words.join(" "),
        [first @ .., a, b, c] => format!("{} ... {a} {b} {c}", first[..8].join(" ")),
        _ => String::new(),
    }
}

pub(super) fn plural(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// A text that ended where it was told to, and why it did.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ended<'a> {
    pub(super) text: String,
    pub(super) why: Why<'a>,
}

/// Why a text is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why<'a> {
    /// There is no more to say.
    Whole,
    /// This would have come next.
    Stop(&'a str),
    /// It has as many words as it may.
    Length,
}

impl Why<'_> {
    /// As OpenAI says it in chats.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Whole | Self::Stop(_) => "stop",
            Self::Length => "length",
        }
    }
}

/// Ends a text before the first of the stop sequences, or after so many words.
pub(super) fn end<'a>(text: &str, stops: &[&'a str], most: Option<u64>) -> Ended<'a> {
    let found =
        stops.iter().filter(|stop| !stop.is_empty()).filter_map(|stop| Some((text.find(stop)?, *stop)));
    let (text, why) = match found.min_by_key(|(at, _)| *at) {
        Some((at, stop)) => (&text[..at], Why::Stop(stop)),
        None => (text, Why::Whole),
    };
    let most = most.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
    match pieces_of_words(text).get(most) {
        Some(piece) => {
            let kept = piece.as_ptr() as usize - text.as_ptr() as usize;
            Ended { text: text[..kept].trim_end().to_owned(), why: Why::Length }
        }
        None => Ended { text: text.to_owned(), why },
    }
}

/// The pieces a text is streamed in: words with the space before them, and long words in two.
pub(super) fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    for word in pieces_of_words(text) {
        let letters = word.chars().count();
        let half = word.char_indices().nth(letters / 2).map_or(0, |(at, _)| at);
        if letters > LONG_WORD {
            pieces.extend([&word[..half], &word[half..]]);
        } else {
            pieces.push(word);
        }
    }
    pieces
}

/// Words with the space before them; the last one with the space behind it, too.
fn pieces_of_words(text: &str) -> Vec<&str> {
    let mut starts = vec![0];
    let mut in_word = false;
    let mut has_word = false;
    for (at, letter) in text.char_indices() {
        if letter.is_whitespace() && in_word {
            starts.push(at);
        }
        in_word = !letter.is_whitespace();
        has_word |= in_word;
    }
    if !has_word {
        return if text.is_empty() { Vec::new() } else { vec![text] };
    }
    if !in_word {
        starts.pop();
    }
    starts
        .iter()
        .enumerate()
        .map(|(at, start)| &text[*start..*starts.get(at + 1).unwrap_or(&text.len())])
        .collect()
}

/// Events with these data, each waited for, and the one that ends them all.
pub(super) fn events(events: &[Value], pace: Duration) -> Answer {
    let texts = events.iter().map(|event| format!("data: {event}\n\n"));
    stream(texts.collect(), pace).chunk("data: [DONE]\n\n")
}

/// Events that are named as their `type` is, each waited for.
pub(super) fn named_events(events: &[Value], pace: Duration) -> Answer {
    let text =
        |event: &Value| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or_default());
    stream(events.iter().map(text).collect(), pace)
}

fn stream(events: Vec<String>, pace: Duration) -> Answer {
    let head = Answer::new(200)
        .header("content-type", "text/event-stream; charset=utf-8")
        .header("cache-control", "no-cache")
        .content_length(ContentLength::None);
    events.into_iter().fold(head, |answer, event| answer.chunk(Chunk::after(pace, event)))
}

/// Adds the usage to events as it is published: null in all but one more, which has no choices.
pub(super) fn add_usage(events: &mut Vec<Value>, usage: &Value) {
    for event in events.iter_mut() {
        event["usage"] = Value::Null;
    }
    let Some(mut last) = events.last().cloned() else { return };
    last["choices"] = json!([]);
    last["usage"] = usage.clone();
    events.push(last);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_make_the_text_again() {
        let check = |text: &str, expected: &[&str]| {
            assert_eq!(pieces(text), expected);
            assert_eq!(pieces(text).concat(), text);
        };
        check("", &[]);
        check("  ", &["  "]);
        check("one two", &["one", " two"]);
        check(" one\n two ", &[" one", "\n two "]);
        check("transformation", &["transfo", "rmation"]);
        check("ää öööööööööö", &["ää", " öööö", "öööööö"]);
    }

    #[test]
    fn texts_end_where_they_are_told_to() {
        let check = |stops: &[&str], most, text: &str, why| {
            assert_eq!(end("one two three", stops, most), Ended { text: text.to_owned(), why });
        };
        check(&[], None, "one two three", Why::Whole);
        check(&["three", "two"], None, "one ", Why::Stop("two"));
        check(&[""], Some(3), "one two three", Why::Whole);
        check(&[], Some(2), "one two", Why::Length);
        check(&["three"], Some(1), "one", Why::Length);
    }

    #[test]
    fn long_texts_are_quoted_in_part() {
        assert_eq!(quote(" a  b "), "a b");
        let long: Vec<String> = (0..20).map(|n| n.to_string()).collect();
        assert_eq!(quote(&long.join(" ")), "0 1 2 3 4 5 6 7 ... 17 18 19");
    }
}
