//! Bodies as a scenario writes them.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::cut::{Cut, SEEDS};
use super::{Wrong, size};
use crate::wire::Chunk;

/// A body to send: at most one of `json`, `text`, `base64`, `file`, `sse`, `events`, and how it is cut.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Payload {
    #[serde(deserialize_with = "super::given")]
    json: Option<Value>,
    text: Option<String>,
    base64: Option<String>,
    file: Option<String>,
    sse: Option<Vec<Value>>,
    events: Option<Vec<Event>>,
    pad_to: Option<size::Size>,
    cut: Option<Cut>,
    delays_ms: Option<Delays>,
}

/// One server-sent event with more than its data.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Event {
    /// The `event` field.
    pub(super) event: Option<String>,
    /// The `id` field.
    pub(super) id: Option<String>,
    /// The data: a text as it is, anything else as JSON.
    pub(super) data: Value,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Delays {
    Each(u64),
    List(Vec<u64>),
}

/// The keys of an object that describe its body are read apart from the rest of it.
pub(super) fn split<B: DeserializeOwned, R: DeserializeOwned>(
    name: &str,
    value: Value,
    body_keys: &[&str],
) -> Result<(B, R), Wrong> {
    let Value::Object(object) = value else { return Err(Wrong::new(format!("{name}: expected an object"))) };
    let (body, rest): (Map<_, _>, Map<_, _>) =
        object.into_iter().partition(|(name, _)| body_keys.contains(&name.as_str()));
    let wrong = |error: serde_json::Error| {
        Wrong::new(format!("{name}: {error}; what tells of its body is one of {}", body_keys.join(", ")))
    };
    Ok((
        serde_json::from_value(body.into()).map_err(wrong)?,
        serde_json::from_value(rest.into()).map_err(wrong)?,
    ))
}

impl Payload {
    pub(super) const KEYS: &[&str] =
        &["json", "text", "base64", "file", "sse", "events", "pad_to", "cut", "delays_ms"];

    /// What each way to write a body gives, in the pieces it has without a cut; none is no body.
    fn written(&self, folder: &Path) -> Result<Option<Vec<Vec<u8>>>, Wrong> {
        let mut ways = Vec::new();
        ways.extend(self.json.as_ref().map(|json| vec![json.to_string().into_bytes()]));
        ways.extend(self.text.as_ref().map(|text| vec![text.clone().into_bytes()]));
        if let Some(text) = &self.base64 {
            ways.push(vec![base64(text)?]);
        }
        if let Some(file) = &self.file {
            let path = folder.join(file);
            ways.push(vec![
                std::fs::read(&path).map_err(|error| Wrong::new(format!("{}: {error}", path.display())))?,
            ]);
        }
        ways.extend(self.sse.as_ref().map(|list| list.iter().map(|data| frame(None, None, data)).collect()));
        ways.extend(self.events.as_ref().map(|list| {
            list.iter().map(|event| frame(event.event.as_deref(), event.id.as_deref(), &event.data)).collect()
        }));
        if ways.len() > 1 {
            return Err(Wrong::new("more than one of json, text, base64, file, sse, events"));
        }
        let mut pieces = ways.pop();
        if let Some(size::Size(length)) = self.pad_to {
            let missing = length.saturating_sub(pieces.iter().flatten().map(Vec::len).sum());
            pieces.get_or_insert_default().push(vec![b' '; missing]);
        }
        Ok(pieces)
    }

    /// Checks what can be checked before the scenario is played.
    pub(super) fn check(&self, folder: &Path) -> Result<(), Wrong> {
        self.written(folder).map(drop)
    }

    /// Whether there is a body.
    pub(super) fn is_there(&self) -> bool {
        self.pad_to.is_some()
            || self.json.is_some()
            || self.text.is_some()
            || self.base64.is_some()
            || self.file.is_some()
            || self.is_stream()
    }

    pub(super) fn is_stream(&self) -> bool {
        self.sse.is_some() || self.events.is_some()
    }

    /// Whether the pieces are those of a cut or of events.
    pub(super) fn is_in_pieces(&self) -> bool {
        self.cut.is_some() || self.is_stream() || self.delays_ms.is_some()
    }

    /// What a body like this calls itself if nobody says otherwise.
    pub(super) fn content_type(&self) -> Option<&'static str> {
        if self.json.is_some() {
            Some("application/json")
        } else if self.is_stream() {
            Some("text/event-stream")
        } else {
            None
        }
    }

    /// The seeds that make a difference.
    pub(super) fn seeds(&self) -> &'static [u64] {
        if self.cut == Some(Cut::Random(None)) { &SEEDS } else { &SEEDS[..1] }
    }

    pub(super) fn bytes(&self, folder: &Path) -> Vec<u8> {
        self.written(folder).ok().flatten().unwrap_or_default().concat()
    }

    pub(super) fn chunks(&self, folder: &Path, seed: u64) -> Vec<Chunk> {
        let mut chunks = match &self.cut {
            Some(cut) => cut.pieces(&self.bytes(folder), seed),
            None => {
                self.written(folder).ok().flatten().unwrap_or_default().into_iter().map(Chunk::new).collect()
            }
        };
        for (index, chunk) in chunks.iter_mut().enumerate() {
            let delay = match &self.delays_ms {
                None => continue,
                // Between the pieces; the first is not between any.
                Some(Delays::Each(delay)) => delay * u64::from(index > 0),
                Some(Delays::List(list)) => list.get(index).copied().unwrap_or_default(),
            };
            chunk.delay = Duration::from_millis(delay);
        }
        chunks
    }
}

fn frame(event: Option<&str>, id: Option<&str>, data: &Value) -> Vec<u8> {
    let mut frame = String::new();
    for (name, value) in [("event", event), ("id", id)] {
        if let Some(value) = value {
            frame.push_str(&format!("{name}: {value}\n"));
        }
    }
    for line in text_of(data).split('\n') {
        frame.push_str(&format!("data: {line}\n"));
    }
    frame.push('\n');
    frame.into_bytes()
}

/// A text as it is, anything else as JSON.
fn text_of(data: &Value) -> String {
    data.as_str().map_or_else(|| data.to_string(), str::to_owned)
}

/// Standard base64 with padding; white space is ignored.
pub(super) fn base64(text: &str) -> Result<Vec<u8>, Wrong> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let symbols: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let data = symbols.strip_suffix(b"==").or(symbols.strip_suffix(b"=")).unwrap_or(&symbols);
    if !symbols.len().is_multiple_of(4) {
        return Err(Wrong::new(format!("`{text}` is no base64: its length is no multiple of four")));
    }
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0_u32, 0);
    for symbol in data {
        let Some(value) = ALPHABET.iter().position(|known| known == symbol) else {
            return Err(Wrong::new(format!("`{text}` is no base64: `{}`", char::from(*symbol))));
        };
        bits = bits << 6 | value as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(text: &str) -> Payload {
        serde_yaml_ng::from_str(text).unwrap()
    }

    fn check(text: &str, expected: &[&str]) {
        let payload = payload(text);
        payload.check(Path::new(".")).unwrap();
        let chunks = payload.chunks(Path::new("."), 1);
        let pieces: Vec<_> = chunks.iter().map(|chunk| std::str::from_utf8(&chunk.bytes).unwrap()).collect();
        assert_eq!(pieces, expected, "{text}");
        assert_eq!(payload.bytes(Path::new(".")), expected.concat().into_bytes());
        assert_eq!(payload.is_there(), text != "{}");
    }

    #[test]
    fn bodies_are_written_in_many_ways() {
        check("{}", &[]);
        check("json: { b: 1, a: [x, null] }", &[r#"{"b":1,"a":["x",null]}"#]);
        check("json: null", &["null"]);
        check("text: ' a '", &[" a "]);
        check("{ base64: 'aGk=', cut: bytes }", &["h", "i"]);
        check("{ json: {}, pad_to: 4 }", &["{}", "  "]);
        check("sse: [{ a: 1 }, '[DONE]']", &["data: {\"a\":1}\n\n", "data: [DONE]\n\n"]);
        check(
            "events: [{ event: ping, id: '7', data: { type: ping } }, { data: \"a\\nb\" }]",
            &["event: ping\nid: 7\ndata: {\"type\":\"ping\"}\n\n", "data: a\ndata: b\n\n"],
        );
    }

    #[test]
    fn delays_stand_between_pieces_or_where_they_are_listed() {
        let delays = |text| -> Vec<u128> {
            payload(text).chunks(Path::new("."), 1).iter().map(|chunk| chunk.delay.as_millis()).collect()
        };
        assert_eq!(delays("{ sse: [a, b, c], delays_ms: 20 }"), [0, 20, 20]);
        assert_eq!(delays("{ sse: [a, b, c], delays_ms: [5, 0] }"), [5, 0, 0]);
    }

    #[test]
    fn two_bodies_at_once_are_refused() {
        let error = payload("{ json: {}, text: '' }").check(Path::new(".")).unwrap_err();
        assert_eq!(error.to_string(), "more than one of json, text, base64, file, sse, events");
        assert!(payload("file: nowhere.bin").check(Path::new("/nowhere")).is_err());
    }

    #[test]
    fn base64_is_read_strictly() {
        assert_eq!(base64("").unwrap(), b"");
        assert_eq!(base64("AP8Q\n/w==").unwrap(), b"\x00\xff\x10\xff");
        for text in ["abc", "ab=c", "ab-_"] {
            assert!(base64(text).is_err(), "{text}");
        }
    }
}
