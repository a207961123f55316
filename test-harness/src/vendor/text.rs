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
pub(super) struct Ended {
    pub(super) text: String,
    pub(super) reason: &'static str,
}

/// Ends a text before the first of the stop sequences, or after so many words.
pub(super) fn end(text: &str, stops: &[&str], most: Option<u64>) -> Ended {
    let stop = stops.iter().filter(|stop| !stop.is_empty()).filter_map(|stop| text.find(stop)).min();
    let text = &text[..stop.unwrap_or(text.len())];
    let most = most.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
    match pieces_of_words(text).get(most) {
        Some(piece) => {
            let kept = piece.as_ptr() as usize - text.as_ptr() as usize;
            Ended { text: text[..kept].trim_end().to_owned(), reason: "length" }
        }
        None => Ended { text: text.to_owned(), reason: "stop" },
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

/// Events, each waited for, and the one that ends them all.
pub(super) fn events(events: Vec<Value>, pace: Duration) -> Answer {
    let head = Answer::new(200)
        .header("content-type", "text/event-stream; charset=utf-8")
        .header("cache-control", "no-cache")
        .content_length(ContentLength::None);
    let answer = events
        .into_iter()
        .fold(head, |answer, event| answer.chunk(Chunk::after(pace, format!("data: {event}\n\n"))));
    answer.chunk("data: [DONE]\n\n")
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
        let check = |stops: &[&str], most, text: &str, reason| {
            assert_eq!(end("one two three", stops, most), Ended { text: text.to_owned(), reason });
        };
        check(&[], None, "one two three", "stop");
        check(&["three", "two"], None, "one ", "stop");
        check(&[""], Some(3), "one two three", "stop");
        check(&[], Some(2), "one two", "length");
        check(&["three"], Some(1), "one", "length");
    }

    #[test]
    fn long_texts_are_quoted_in_part() {
        assert_eq!(quote(" a  b "), "a b");
        let long: Vec<String> = (0..20).map(|n| n.to_string()).collect();
        assert_eq!(quote(&long.join(" ")), "0 1 2 3 4 5 6 7 ... 17 18 19");
    }
}
