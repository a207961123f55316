//! Server-sent events: an incremental decoder and a writer.
//!
//! The rules are those of the [HTML standard](https://html.spec.whatwg.org/multipage/server-sent-events.html),
//! with three differences that LLM vendors make necessary: bytes that are no UTF-8 are kept as they
//! are, an event that the stream ends in without its blank line still counts, and comments are kept,
//! because some vendors put a status there.

use memchr::{memchr, memchr2};

use super::FrameError;

/// Before each line of data.
const DATA: &[u8] = b"data: ";
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// One event. Its buffers are reused for the next one.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Event {
    /// The `event:` field.
    pub name: Option<Vec<u8>>,
    /// All `data:` lines, joined by line feeds; `None` where the event had none.
    pub data: Option<Vec<u8>>,
    /// The `id:` field.
    pub id: Option<Vec<u8>>,
    /// The `retry:` field, as it came.
    pub retry: Option<Vec<u8>>,
    /// The last comment line of the event, without its colon.
    pub comment: Option<Vec<u8>>,
}

impl Event {
    /// The data, empty where there was none.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        self.data.as_deref().unwrap_or_default()
    }

    /// Whether this is the end marker of OpenAI's dialect.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.data().trim_ascii() == b"[DONE]"
    }

    fn is_empty(&self) -> bool {
        let Self { name, data, id, retry, comment } = self;
        [name, data, id, retry, comment].iter().all(|field| field.is_none())
    }

    /// Takes one line, without its ending, into the event.
    fn take(&mut self, line: &[u8]) {
        let (field, value) = match line.iter().position(|byte| *byte == b':') {
            // Position is inside the line, so both halves exist.
            Some(colon) => line.split_at_checked(colon).unwrap_or((line, &[])),
            None => (line, &[][..]),
        };
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => match &mut self.data {
                Some(data) => {
                    data.push(b'\n');
                    data.extend_from_slice(value);
                }
                None => self.data = Some(value.to_vec()),
            },
            b"event" => self.name = Some(value.to_vec()),
            b"id" => self.id = Some(value.to_vec()),
            b"retry" => self.retry = Some(value.to_vec()),
            b"" => self.comment = Some(value.to_vec()),
            // The standard: a field of another name is ignored.
            _ => {}
        }
    }
}

/// Bytes in, events out.
#[derive(Debug)]
pub struct Decoder {
    /// The line that has begun and not ended.
    line: Vec<u8>,
    event: Event,
    /// Bytes of the event so far, for the limit.
    size: usize,
    limit: usize,
    /// The last byte was a carriage return: a line feed that follows belongs to it.
    after_return: bool,
    /// No line has been ended yet, so a byte order mark may stand at the beginning.
    at_start: bool,
    /// What becomes of an event that is longer than the limit.
    oversize: Oversize,
}

/// What becomes of an event that is longer than the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Oversize {
    /// It is an error.
    Fails,
    /// It is left out.
    IsSkipped,
    /// It is being left out: the next blank line ends it.
    Skipping,
}

impl Decoder {
    /// A decoder whose events may have up to `limit` bytes, line endings not counted.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            line: Vec::new(),
            event: Event::default(),
            size: 0,
            limit,
            after_return: false,
            at_start: true,
            oversize: Oversize::Fails,
        }
    }

    /// A decoder that leaves longer events out, for those who only read: [`Decoder::push`] never fails.
    #[must_use]
    pub fn skipping(limit: usize) -> Self {
        Self { oversize: Oversize::IsSkipped, ..Self::new(limit) }
    }

    /// Takes the next piece of the stream and hands every event that ends in it to `on_event`.
    ///
    /// # Errors
    /// An event is longer than the limit. The stream cannot be read any further.
    pub fn push(&mut self, mut bytes: &[u8], on_event: &mut dyn FnMut(&Event)) -> Result<(), FrameError> {
        while let Some((&first, rest)) = bytes.split_first() {
            if std::mem::take(&mut self.after_return) && first == b'\n' {
                bytes = rest;
                continue;
            }
            let Some((line, ending)) = memchr2(b'\n', b'\r', bytes).and_then(|at| bytes.split_at_checked(at))
            else {
                self.grow(bytes.len())?;
                if self.oversize == Oversize::Skipping {
                    // Only whether the line is empty matters.
                    self.line.clear();
                    self.line.push(b'-');
                } else {
                    self.line.extend_from_slice(bytes);
                }
                return Ok(());
            };
            self.grow(line.len())?;
            self.after_return = ending.first() == Some(&b'\r');
            bytes = ending.get(1..).unwrap_or_default();
            if self.oversize == Oversize::Skipping {
                let is_blank = line.is_empty() && self.line.is_empty();
                self.line.clear();
                if is_blank {
                    self.oversize = Oversize::IsSkipped;
                    self.size = 0;
                }
            } else if self.line.is_empty() {
                self.end_line(line, on_event);
            } else {
                let mut whole = std::mem::take(&mut self.line);
                whole.extend_from_slice(line);
                self.end_line(&whole, on_event);
                whole.clear();
                self.line = whole;
            }
        }
        Ok(())
    }

    /// The stream has ended. An event without its blank line is handed out all the same.
    pub fn finish(&mut self, on_event: &mut dyn FnMut(&Event)) {
        let line = std::mem::take(&mut self.line);
        if !line.is_empty() && self.oversize != Oversize::Skipping {
            self.end_line(&line, on_event);
        }
        self.end_event(on_event);
    }

    /// Whether an event has begun and not ended.
    #[must_use]
    pub fn is_inside_event(&self) -> bool {
        !self.line.is_empty() || !self.event.is_empty()
    }

    /// Whether this piece is nothing but whole events: who finds nothing in it of interest need not push it.
    #[must_use]
    pub fn may_pass(&self, piece: &[u8]) -> bool {
        let is_between = !self.at_start && !self.is_inside_event() && self.oversize != Oversize::Skipping;
        is_between && (piece.ends_with(b"\n\n") || piece.ends_with(b"\n\r\n"))
    }

    fn grow(&mut self, by: usize) -> Result<(), FrameError> {
        self.size = self.size.saturating_add(by);
        match self.oversize {
            _ if self.size <= self.limit => Ok(()),
            Oversize::Fails => Err(FrameError::TooLong { limit: self.limit }),
            Oversize::Skipping => Ok(()),
            Oversize::IsSkipped => {
                self.oversize = Oversize::Skipping;
                self.line = Vec::new();
                self.event = Event::default();
                Ok(())
            }
        }
    }

    fn end_line(&mut self, line: &[u8], on_event: &mut dyn FnMut(&Event)) {
        let line = match std::mem::take(&mut self.at_start) {
            true => line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line),
            false => line,
        };
        if line.is_empty() {
            self.end_event(on_event);
        } else {
            self.event.take(line);
        }
    }

    fn end_event(&mut self, on_event: &mut dyn FnMut(&Event)) {
        self.size = 0;
        if !self.event.is_empty() {
            on_event(&self.event);
            self.event = Event::default();
        }
    }
}

/// Writes an event of another dialect: its name, if any, and one line of data.
pub fn write(out: &mut Vec<u8>, name: Option<&str>, data: &[u8]) {
    if let Some(name) = name {
        field(out, b"event", name.as_bytes());
    }
    write_data(out, data);
    out.push(b'\n');
}

/// The same with data that `write_text` appends, which saves it the way over a text of its own.
pub fn write_with(out: &mut Vec<u8>, name: &str, write_text: impl FnOnce(&mut Vec<u8>)) {
    field(out, b"event", name.as_bytes());
    out.extend_from_slice(DATA);
    let start = out.len();
    write_text(out);
    if memchr(b'\n', out.get(start..).unwrap_or_default()).is_some() {
        let data = out.split_off(start);
        out.truncate(start - DATA.len());
        write_data(out, &data);
    } else {
        out.push(b'\n');
    }
    out.push(b'\n');
}

/// Writes an event again, with other data and all else that it came with.
pub fn rewrite(out: &mut Vec<u8>, event: &Event, data: &[u8]) {
    write_fields(out, event);
    write_data(out, data);
    out.push(b'\n');
}

/// Writes an event again as it came; one without data stays without.
pub fn forward(out: &mut Vec<u8>, event: &Event) {
    write_fields(out, event);
    if let Some(data) = &event.data {
        write_data(out, data);
    }
    out.push(b'\n');
}

fn write_fields(out: &mut Vec<u8>, event: &Event) {
    for (name, value) in
        [("", &event.comment), ("event", &event.name), ("id", &event.id), ("retry", &event.retry)]
    {
        if let Some(value) = value {
            field(out, name.as_bytes(), value);
        }
    }
}

/// Writes the end marker of OpenAI's dialect.
pub fn write_done(out: &mut Vec<u8>) {
    out.extend_from_slice(b"data: [DONE]\n\n");
}

/// Data with line feeds takes one line for each.
fn write_data(out: &mut Vec<u8>, data: &[u8]) {
    let mut rest = data;
    while let Some((line, after)) = memchr(b'\n', rest).and_then(|at| rest.split_at_checked(at)) {
        field(out, b"data", line);
        rest = after.get(1..).unwrap_or_default();
    }
    field(out, b"data", rest);
}

fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Event> {
        let mut decoder = Decoder::new(1 << 16);
        let mut events = Vec::new();
        for piece in pieces {
            decoder.push(piece, &mut |event| events.push(event.clone())).unwrap();
        }
        decoder.finish(&mut |event| events.push(event.clone()));
        events
    }

    /// The data of each event, and the same however the text is cut in two or into single bytes.
    fn check(text: impl AsRef<[u8]>, expected: &[&str]) {
        let text = text.as_ref();
        let whole = decode([text]);
        let data: Vec<_> =
            whole.iter().map(|event| String::from_utf8_lossy(event.data()).into_owned()).collect();
        assert_eq!(data, expected);
        for cut in 0..=text.len() {
            assert_eq!(decode([&text[..cut], &text[cut..]]), whole, "cut at {cut}");
        }
        assert_eq!(decode(text.chunks(1)), whole, "in single bytes");
    }

    #[test]
    fn events_end_at_a_blank_line_whatever_ends_lines() {
        check("data: a\n\ndata: b\n\n", &["a", "b"]);
        check("data: a\r\n\r\ndata: b\r\n\r\n", &["a", "b"]);
        check("data: a\r\rdata: b\r\r", &["a", "b"]);
        check("data: a\r\n\ndata: b\n\r\n", &["a", "b"]);
    }

    #[test]
    fn an_event_without_its_blank_line_still_counts() {
        check("data: a\n\ndata: [DONE]", &["a", "[DONE]"]);
        check("data: a\n", &["a"]);
    }

    #[test]
    fn what_is_nothing_but_whole_events_may_pass() {
        let mut decoder = Decoder::skipping(20);
        let mut check = |before: &str, piece: &str, expected: bool| {
            decoder.push(before.as_bytes(), &mut |_| {}).unwrap();
            assert_eq!(decoder.may_pass(piece.as_bytes()), expected, "{piece:?} after {before:?}");
        };
        check("", "data: a\n\n", false);
        check("data: a\n\n", "data: b\n\ndata: c\r\n\r\n", true);
        check("", "data: b\n", false);
        check("data: b\n", "data: c\n\n", false);
        check("\nda", "ta: c\n\n", false);
        check("ta: longer than the limit", "\n\n", false);
        check("\n\n", "data: d\n\n", true);
    }

    #[test]
    fn data_lines_are_joined() {
        check("data: a\ndata: b\ndata:\n\n", &["a\nb\n"]);
    }

    #[test]
    fn one_leading_space_belongs_to_the_syntax() {
        check("data:a\n\ndata:  b\n\n", &["a", " b"]);
    }

    #[test]
    fn a_line_without_colon_is_a_field_without_value() {
        check("data\n\ngarbage\n\ndata: a\n\n", &["", "a"]);
    }

    #[test]
    fn a_byte_order_mark_is_dropped_at_the_beginning_only() {
        check("\u{feff}data: a\n\n\u{feff}data: b\n\ndata: c\n\n", &["a", "c"]);
    }

    #[test]
    fn split_multibyte_characters_and_invalid_bytes_survive() {
        check("data: grüße 🌍\n\n", &["grüße 🌍"]);
        assert_eq!(decode([&b"data: \xff\xfe\n\n"[..]])[0].data(), b"\xff\xfe");
    }

    #[test]
    fn other_fields_and_comments_are_kept() {
        let events =
            decode([&b":HTTP_STATUS/400\nid: 7\nevent: error\nretry: 10\ndata: {}\n\n: ping\n\n"[..]]);
        assert_eq!(events.len(), 2);
        let first = &events[0];
        assert_eq!(first.comment.as_deref(), Some(&b"HTTP_STATUS/400"[..]));
        assert_eq!((first.id.as_deref(), first.retry.as_deref()), (Some(&b"7"[..]), Some(&b"10"[..])));
        assert_eq!(first.name.as_deref(), Some(&b"error"[..]));
        assert_eq!((events[1].data.as_deref(), events[1].comment.as_deref()), (None, Some(&b"ping"[..])));
    }

    #[test]
    fn blank_lines_alone_are_no_events() {
        check("\n\n\r\n\r\r\n", &[]);
    }

    #[test]
    fn an_endless_event_is_an_error_in_any_cut() {
        let text = [&b"data: "[..], &[b'x'; 100]].concat();
        for size in [1, 7, 200] {
            let mut decoder = Decoder::new(64);
            let result = text.chunks(size).try_for_each(|piece| decoder.push(piece, &mut |_| {}));
            assert_eq!(result, Err(FrameError::TooLong { limit: 64 }));
        }
        let mut lines = Decoder::new(64);
        assert!(
            lines.push(&b"data: x\n".repeat(20), &mut |_| {}).is_err(),
            "many short lines are one long event"
        );
    }

    #[test]
    fn the_limit_is_for_each_event_alone() {
        let mut decoder = Decoder::new(64);
        let mut count = 0;
        decoder.push(&b"data: 0123456789\n\n".repeat(1000), &mut |_| count += 1).unwrap();
        assert_eq!(count, 1000);
    }

    #[test]
    fn a_long_event_is_left_out_at_any_cut_where_that_was_asked_for() {
        let text = b"data: a\n\ndata: 0123456789\ndata: more\n\ndata: b\r\n\r\n\ndata: 0123456789abcdef";
        let read = |cut: usize| {
            let mut decoder = Decoder::skipping(12);
            let mut events = Vec::new();
            for piece in [&text[..cut], &text[cut..]] {
                decoder.push(piece, &mut |event| events.push(event.data().to_vec())).unwrap();
            }
            decoder.finish(&mut |event| events.push(event.data().to_vec()));
            events
        };
        for cut in 0..=text.len() {
            assert_eq!(read(cut), [b"a", b"b"], "cut at {cut}");
        }
    }

    #[test]
    fn a_written_event_reads_the_same() {
        let mut out = Vec::new();
        write(&mut out, Some("delta"), b"{\"a\":1}");
        write_with(&mut out, "direct", |out| out.extend_from_slice(b"three"));
        write_with(&mut out, "direct", |out| out.extend_from_slice(b"four\nlines\n"));
        let event = Event { id: Some(b"7".to_vec()), data: Some(b"x".to_vec()), ..Event::default() };
        rewrite(&mut out, &event, b"two\nlines");
        forward(&mut out, &Event { comment: Some(b"ping".to_vec()), ..Event::default() });
        write_done(&mut out);
        assert_eq!(
            String::from_utf8_lossy(&out),
            "event: delta\ndata: {\"a\":1}\n\nevent: direct\ndata: three\n\n\
             event: direct\ndata: four\ndata: lines\ndata: \n\nid: 7\ndata: two\ndata: lines\n\n: ping\n\ndata: [DONE]\n\n"
        );
        let events = decode([out.as_slice()]);
        assert_eq!(events[3].data(), b"two\nlines");
        assert_eq!(events[4].comment.as_deref(), Some(&b"ping"[..]));
        assert!(events[5].is_done());
    }
}
