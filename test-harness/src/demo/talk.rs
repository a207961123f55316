//! Two chats through the gateway, shown as they happen.

use std::io;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{DemoError, Gateway, Screen};
use crate::client::{ClientError, Request, Response, send, send_watching};

pub(super) const MODEL: &str = "gpt-4o-mini";
/// A real vendor may think for a while.
const PATIENCE: Duration = Duration::from_secs(60);
/// Where an answer's lines begin, and how long they get.
const INDENT: &str = "    ";
const WIDTH: usize = 92;

/// A chat that is answered in one piece.
pub(super) fn chat(gateway: &Gateway, screen: &mut Screen<'_>) -> Result<(), DemoError> {
    const WHAT: &str = "the chat";
    let question = "What does an AI gateway do? One sentence, please.";
    ask(screen, "", question)?;
    let start = Instant::now();
    let request = request(&json!({ "model": MODEL, "messages": [{ "role": "user", "content": question }] }));
    let response = answered(gateway, WHAT, send(gateway.addr(), &request))?;
    let time = start.elapsed();

    let document: Value = serde_json::from_slice(&response.body()).unwrap_or_default();
    let text = document["choices"][0]["message"]["content"].as_str().unwrap_or_default();
    if text.is_empty() {
        return Err(wrong(gateway, WHAT, &response));
    }
    let mut speech = Speech::begin(screen)?;
    for (index, word) in text.split(' ').enumerate() {
        let space = if index == 0 { "" } else { " " };
        speech.say(screen, &format!("{space}{word}"))?;
    }
    note(screen, &format!("{}, {} ms, {}", response.status, time.as_millis(), tokens(&document["usage"])))?;
    Ok(())
}

/// A chat whose answer is shown as it arrives.
pub(super) fn streamed_chat(gateway: &Gateway, screen: &mut Screen<'_>) -> Result<(), DemoError> {
    const WHAT: &str = "the streamed chat";
    let question = "And what is streaming good for?";
    ask(screen, ", streamed", question)?;
    let body = json!({
        "model": MODEL,
        "messages": [{ "role": "user", "content": question }],
        "stream": true,
        "stream_options": { "include_usage": true },
    });
    let start = Instant::now();
    let mut speech = Speech::begin(screen)?;
    let mut events = Events::default();
    let mut first_word = None;
    let mut usage = Value::Null;
    let mut written = Ok(());
    let response = send_watching(gateway.addr(), &request(&body), &mut |bytes| {
        for event in events.read(bytes) {
            let piece = event["choices"][0]["delta"]["content"].as_str().unwrap_or_default();
            if !piece.is_empty() {
                first_word.get_or_insert_with(|| start.elapsed());
                if written.is_ok() {
                    written = speech.say(screen, piece);
                }
            }
            if event["usage"].is_object() {
                usage = event["usage"].clone();
            }
        }
    });
    written?;
    let response = answered(gateway, WHAT, response)?;
    let Some(first_word) = first_word.filter(|_| events.is_done) else {
        return Err(wrong(gateway, WHAT, &response));
    };
    let (first, all) = (first_word.as_millis(), start.elapsed().as_millis());
    let count = events.count;
    note(
        screen,
        &format!(
            "{}, first word after {first} ms, {count} events in {all} ms, {}",
            response.status,
            tokens(&usage)
        ),
    )?;
    Ok(())
}

fn request(body: &Value) -> Request {
    Request { patience: PATIENCE, ..Request::post_json("/v1/chat/completions", body) }
}

fn ask(screen: &mut Screen<'_>, how: &str, question: &str) -> io::Result<()> {
    screen.line("")?;
    screen.title(&format!("POST /v1/chat/completions{how}"))?;
    screen.line(&format!("  > {question}"))
}

fn note(screen: &mut Screen<'_>, text: &str) -> io::Result<()> {
    let text = screen.styled("2", text);
    screen.line(&format!("\n{INDENT}{text}"))
}

fn tokens(usage: &Value) -> String {
    format!("{} tokens in, {} out", usage["prompt_tokens"], usage["completion_tokens"])
}

fn answered(
    gateway: &Gateway,
    what: &'static str,
    response: Result<Response, ClientError>,
) -> Result<Response, DemoError> {
    let response =
        response.map_err(|source| DemoError::NoAnswer { what, source, log: gateway.log_tail() })?;
    if response.status == 200 && response.complete {
        Ok(response)
    } else {
        Err(wrong(gateway, what, &response))
    }
}

fn wrong(gateway: &Gateway, what: &'static str, response: &Response) -> DemoError {
    let end = if response.complete { "" } else { " (and then it broke off)" };
    let got = format!("status {}: {}{end}", response.status, response.text().trim_end());
    DemoError::WrongAnswer { what, got, log: gateway.log_tail() }
}

/// The events of a stream, from pieces cut anywhere.
#[derive(Default)]
struct Events {
    waiting: Vec<u8>,
    count: usize,
    is_done: bool,
}

impl Events {
    fn read(&mut self, bytes: &[u8]) -> Vec<Value> {
        self.waiting.extend_from_slice(bytes);
        let whole = self.waiting.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let lines: Vec<u8> = self.waiting.drain(..whole).collect();
        let mut events = Vec::new();
        for data in lines.split(|byte| *byte == b'\n').filter_map(|line| line.strip_prefix(b"data:")) {
            let data = data.trim_ascii();
            self.count += 1;
            self.is_done |= data == b"[DONE]";
            events.extend(serde_json::from_slice::<Value>(data));
        }
        events
    }
}

/// An answer on its way to the screen, broken into lines.
struct Speech {
    column: usize,
}

impl Speech {
    fn begin(screen: &mut Screen<'_>) -> io::Result<Self> {
        screen.say("  < ")?;
        Ok(Self { column: INDENT.len() })
    }

    /// Says a piece; a line ends before a word that would not fit.
    fn say(&mut self, screen: &mut Screen<'_>, piece: &str) -> io::Result<()> {
        for (index, line) in piece.split('\n').enumerate() {
            let is_full = line.starts_with(' ') && self.column + line.trim_end().chars().count() > WIDTH;
            let is_over = self.column > WIDTH;
            let text = if index > 0 || is_full || is_over {
                screen.say(&format!("\n{INDENT}"))?;
                self.column = INDENT.len();
                line.trim_start()
            } else {
                line
            };
            screen.say(text)?;
            self.column += text.chars().count();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_whatever_the_cut() {
        let stream = b"data: {\"a\":\"\xc3\xa4\"}\r\n\r\n: comment\n\ndata:{\"b\":2}\n\ndata: [DONE]\n\n";
        for width in 1..=stream.len() {
            let mut events = Events::default();
            let read: Vec<Value> = stream.chunks(width).flat_map(|chunk| events.read(chunk)).collect();
            assert_eq!(read, [json!({ "a": "ä" }), json!({ "b": 2 })]);
            assert_eq!((events.count, events.is_done), (3, true));
        }
    }

    #[test]
    fn long_answers_are_broken_between_words() {
        let mut out = Vec::new();
        let mut screen = Screen { out: &mut out, has_colours: false };
        let mut speech = Speech::begin(&mut screen).unwrap();
        for _ in 0..40 {
            speech.say(&mut screen, " trans").unwrap();
            speech.say(&mut screen, "lation").unwrap();
        }
        speech.say(&mut screen, "\nEnd").unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.len() > 4, "{text}");
        assert!(lines.iter().all(|line| line.len() <= WIDTH + "lation".len()), "{text}");
        assert_eq!(text.matches("translation").count(), 40, "{text}");
        assert_eq!(lines.last(), Some(&"    End"));
    }
}
