//! `multipart/form-data` read where it lies and edited in place.
//!
//! A body may be read while it still grows: what has been read is not looked at again. Edits are splices on
//! the original bytes, so preamble, part heads, files and epilogue stay as the client wrote them.

mod edit;
mod passing;

use std::ops::Range;

use memchr::memmem;

use super::media_type::MediaType;

pub use edit::Edit;
pub use passing::{Passing, Revise};

/// The most parts a form may have.
pub const MAX_PARTS: usize = 1000;
/// The most bytes a field may have whose value is to be replaced while the form passes.
pub const MAX_FIELD: usize = 16 << 10;
/// The most bytes the head of a part may have.
pub const MAX_PART_HEAD: usize = 16 << 10;
/// RFC 2046, section 5.1.1.
const MAX_BOUNDARY: usize = 70;
/// More spaces than this behind a boundary, and the line is none.
const MAX_PADDING: usize = 128;

/// Why a body is no form that can be read or changed. Positions are byte offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MultipartError {
    /// The content type is another one.
    #[error("the content type is not multipart/form-data")]
    NotAForm,
    /// The content type does not say what stands between the parts.
    #[error("missing multipart boundary")]
    NoBoundary,
    /// The boundary has no, or more than 70, characters, or such as no boundary may have.
    #[error("the multipart boundary is not valid")]
    BadBoundary,
    /// The body ended before its closing boundary.
    #[error("the closing multipart boundary is missing")]
    Unclosed,
    /// A part does not begin with header fields and an empty line.
    #[error("the multipart part at byte {at} has no valid head")]
    BadPartHead {
        /// Where the part begins.
        at: usize,
    },
    /// The head of a part is longer than [`MAX_PART_HEAD`].
    #[error("the head of the multipart part at byte {at} is too long")]
    PartHeadTooLong {
        /// Where the part begins.
        at: usize,
    },
    /// There are more parts than [`MAX_PARTS`].
    #[error("the form has more than {MAX_PARTS} parts")]
    TooManyParts,
    /// A value that is to be looked at is longer than [`MAX_FIELD`].
    #[error("a field of the form is longer than {MAX_FIELD} bytes")]
    FieldTooLong,
    /// A new value holds the boundary, so that it would end its part.
    #[error("the value holds the multipart boundary")]
    ValueHoldsBoundary,
}

/// A form: where its parts stand.
#[derive(Debug, Clone)]
pub struct Form {
    /// Two dashes and the boundary.
    dashes: memmem::Finder<'static>,
    newline: &'static [u8],
    parts: Vec<Part>,
    state: State,
    /// Everything before has been read.
    at: usize,
    forgotten: Forgotten,
}

/// What stood before the body that is there.
#[derive(Debug, Clone, Copy, Default)]
struct Forgotten {
    bytes: usize,
    parts: usize,
}

/// One part of a form that has been read to its end.
#[derive(Debug, Clone)]
pub struct Part {
    name: Option<Vec<u8>>,
    value: Range<usize>,
}

/// What is expected next.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Preamble,
    Head,
    Value {
        name: Option<Vec<u8>>,
        start: usize,
        /// Some of it has been let go.
        is_cut: bool,
    },
    /// Where the closing boundary's line begins, the newline before it included.
    Closed {
        start: usize,
    },
}

/// A place where the boundary stands, and whether that is a line which ends a part.
enum Line {
    /// It ends here, and another part begins.
    Next(usize),
    /// It ends here, and so does the form.
    Close(usize),
    /// It only looks like one.
    Other,
    /// The line is not all there yet.
    Unknown,
}

impl Form {
    /// A form of which nothing has been read yet; the content type says what stands between its parts.
    ///
    /// # Errors
    /// It is not `multipart/form-data`, or names no valid boundary.
    pub fn new(content_type: &[u8]) -> Result<Self, MultipartError> {
        let media_type = MediaType::of(content_type);
        if !media_type.is("multipart/form-data") {
            return Err(MultipartError::NotAForm);
        }
        let boundary = media_type.parameter("boundary").ok_or(MultipartError::NoBoundary)?;
        let is_printable = boundary.iter().all(|byte| matches!(byte, b' '..=b'~'));
        if boundary.is_empty() || boundary.len() > MAX_BOUNDARY || boundary.ends_with(b" ") || !is_printable {
            return Err(MultipartError::BadBoundary);
        }
        let dashes = [b"--", boundary.as_ref()].concat();
        Ok(Self {
            dashes: memmem::Finder::new(&dashes).into_owned(),
            newline: b"\r\n",
            parts: Vec::new(),
            state: State::Preamble,
            at: 0,
            forgotten: Forgotten::default(),
        })
    }

    /// Reads a form that is all there.
    ///
    /// # Errors
    /// The content type or the body is not that of a form.
    pub fn of(content_type: &[u8], body: &[u8]) -> Result<Self, MultipartError> {
        let mut form = Self::new(content_type)?;
        form.read(body, true)?;
        Ok(form)
    }

    /// Reads on. `body` is all that came so far, and begins as it did the last time; `end`: that is all.
    ///
    /// # Errors
    /// This is no form, or one beyond the limits.
    pub fn read(&mut self, body: &[u8], end: bool) -> Result<(), MultipartError> {
        loop {
            let goes_on = match &self.state {
                State::Preamble => self.preamble(body, end),
                State::Head => self.part_head(body)?,
                State::Value { .. } => self.value(body, end)?,
                State::Closed { .. } => return Ok(()),
            };
            if !goes_on {
                return if end { Err(MultipartError::Unclosed) } else { Ok(()) };
            }
        }
    }

    /// Whether the closing boundary has been read: no further part comes.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }

    /// The parts of that name that have been read to their end, in order.
    pub fn named<'n>(&self, name: &'n str) -> impl Iterator<Item = &Part> + use<'_, 'n> {
        self.parts.iter().filter(move |part| part.name.as_deref() == Some(name.as_bytes()))
    }

    /// Before this place nothing matters any more for what is still to be read, but for the parts that have
    /// been found there.
    fn settled(&self, body: &[u8]) -> usize {
        match &self.state {
            // What stands before a boundary tells it from one inside a line.
            State::Preamble => self.at.saturating_sub(2),
            State::Head => self.at,
            State::Value { start, .. } => match self.find(body) {
                // Whether this is one, what follows has still to say.
                Some(found) => found.saturating_sub(2).max(*start),
                None => self.before_boundary(body, *start),
            },
            State::Closed { .. } => body.len(),
        }
    }

    /// Where a boundary may have begun at the end of what is there.
    fn before_boundary(&self, body: &[u8], start: usize) -> usize {
        let line = [self.newline, self.dashes.needle()].concat();
        let from = body.len().saturating_sub(line.len()).max(start);
        let may_begin = |at: &usize| {
            let tail = body.get(*at..).unwrap_or_default();
            line.starts_with(tail) || (*at == start && self.dashes.needle().starts_with(tail))
        };
        (from..body.len()).find(may_begin).unwrap_or(body.len())
    }

    /// Lets go of what is settled: the next body to be read begins so many bytes later.
    fn forget(&mut self, bytes: usize) {
        self.forgotten.bytes += bytes;
        self.forgotten.parts += self.parts.len();
        self.parts.clear();
        self.at = self.at.saturating_sub(bytes);
        match &mut self.state {
            State::Value { start, is_cut, .. } => {
                *is_cut |= bytes > *start;
                *start = start.saturating_sub(bytes);
            }
            State::Closed { start } => *start = start.saturating_sub(bytes),
            State::Preamble | State::Head => {}
        }
    }

    /// A value, if a part can hold it.
    fn carried<V: AsRef<[u8]>>(&self, value: Option<V>) -> Result<Option<V>, MultipartError> {
        match &value {
            Some(value) if self.dashes.find(value.as_ref()).is_some() => {
                Err(MultipartError::ValueHoldsBoundary)
            }
            _ => Ok(value),
        }
    }

    /// Whether a boundary stands here without a newline of its own before it.
    fn has_dashes(&self, body: &[u8], at: usize) -> bool {
        body.get(at..).is_some_and(|behind| behind.starts_with(self.dashes.needle()))
    }

    /// Writes a part of its own where the closing boundary starts.
    fn add(&self, body: &[u8], out: &mut Vec<u8>, start: usize, name: &str, value: &[u8]) {
        let newline = self.newline;
        // The newline before a boundary belongs to it; the first of a form has none.
        if self.forgotten.parts + self.parts.len() > 0 {
            out.extend_from_slice(newline);
        }
        out.extend_from_slice(self.dashes.needle());
        out.extend_from_slice(newline);
        out.extend_from_slice(b"Content-Disposition: form-data; name=\"");
        for byte in name.bytes() {
            match byte {
                b'"' => out.extend_from_slice(b"%22"),
                b'\r' => out.extend_from_slice(b"%0D"),
                b'\n' => out.extend_from_slice(b"%0A"),
                byte => out.push(byte),
            }
        }
        out.push(b'"');
        out.extend_from_slice(newline);
        out.extend_from_slice(newline);
        out.extend_from_slice(value);
        if self.has_dashes(body, start) {
            out.extend_from_slice(newline);
        }
    }

    fn preamble(&mut self, body: &[u8], end: bool) -> bool {
        while let Some(found) = self.find(body) {
            let is_line = found == 0 || body.get(found - 1) == Some(&b'\n');
            match self.line(body, found, end) {
                Line::Unknown if is_line => return false,
                Line::Next(next) if is_line => {
                    self.settle_newline(body, next);
                    (self.state, self.at) = (State::Head, next);
                    return true;
                }
                Line::Close(next) if is_line => {
                    self.settle_newline(body, next);
                    self.state = State::Closed { start: found };
                    return true;
                }
                _ => self.at = found + 1,
            }
        }
        self.skip(body, 0);
        false
    }

    /// The first line settles how lines end; so a file may hold lines that end otherwise.
    fn settle_newline(&mut self, body: &[u8], next: usize) {
        if let Some([.., before, b'\n']) = body.get(..next) {
            self.newline = if *before == b'\r' { b"\r\n" } else { b"\n" };
        }
    }

    fn part_head(&mut self, body: &[u8]) -> Result<bool, MultipartError> {
        let at = self.at;
        let mut head = PartHead::default();
        let mut rest = body.get(at..).unwrap_or_default();
        loop {
            let length = memchr::memchr(b'\n', rest).map(|end| end + 1);
            let read = body.len() - at - rest.len();
            if read + length.unwrap_or(rest.len()) > MAX_PART_HEAD {
                return Err(MultipartError::PartHeadTooLong { at: self.forgotten.bytes + at });
            }
            let Some((line, behind)) = length.and_then(|length| rest.split_at_checked(length)) else {
                return Ok(false);
            };
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            rest = behind;
            if line.is_empty() {
                break;
            }
            let is_field = !line.starts_with(self.dashes.needle()) && head.add(line);
            if !is_field {
                return Err(MultipartError::BadPartHead { at: self.forgotten.bytes + at });
            }
        }
        let start = body.len() - rest.len();
        (self.state, self.at) = (State::Value { name: head.name(), start, is_cut: false }, start);
        Ok(true)
    }

    fn value(&mut self, body: &[u8], end: bool) -> Result<bool, MultipartError> {
        let State::Value { name, start, is_cut } = &mut self.state else { return Ok(false) };
        let (name, start, is_cut) = (name.take(), *start, *is_cut);
        while let Some(found) = self.find(body) {
            // Of an empty value, the newline before the boundary is the one that ends the head.
            let before = body.get(start..found).unwrap_or_default();
            let stop = if before.is_empty() && !is_cut {
                Some(found)
            } else {
                self.end_of(before).map(|it| start + it)
            };
            let line = stop.map_or(Line::Other, |_| self.line(body, found, end));
            match (line, stop) {
                (Line::Unknown, _) => {
                    self.state = State::Value { name, start, is_cut };
                    return Ok(false);
                }
                (Line::Other, _) | (_, None) => self.at = found + 1,
                (line, Some(stop)) => {
                    if self.forgotten.parts + self.parts.len() >= MAX_PARTS {
                        return Err(MultipartError::TooManyParts);
                    }
                    self.parts.push(Part { name, value: start..stop });
                    match line {
                        Line::Next(next) => (self.state, self.at) = (State::Head, next),
                        _ => self.state = State::Closed { start: stop },
                    }
                    return Ok(true);
                }
            }
        }
        self.state = State::Value { name, start, is_cut };
        self.skip(body, start);
        Ok(false)
    }

    /// Where the newline at the end of a value begins.
    fn end_of(&self, value: &[u8]) -> Option<usize> {
        value.strip_suffix(self.newline).map(<[u8]>::len)
    }

    fn find(&self, body: &[u8]) -> Option<usize> {
        Some(self.at + self.dashes.find(body.get(self.at..)?)?)
    }

    /// Nothing is found in what is there; only a boundary that has begun there may still be.
    fn skip(&mut self, body: &[u8], from: usize) {
        self.at = self.at.max(body.len().saturating_sub(self.dashes.needle().len())).max(from);
    }

    /// What the line is whose dashes stand `at` this place.
    fn line(&self, body: &[u8], at: usize, end: bool) -> Line {
        let behind = body.get(at + self.dashes.needle().len()..).unwrap_or_default();
        let (closes, padded) = match behind {
            [b'-', b'-', rest @ ..] => (true, rest),
            [b'-'] if !end => return Line::Unknown,
            rest => (false, rest),
        };
        let padding = padded.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        let rest = padded.get(padding..).unwrap_or_default();
        if padding > MAX_PADDING {
            return Line::Other;
        }
        // How lines end is not known before the first one has.
        let newline = match (&self.state, rest) {
            (State::Preamble, [b'\n', ..]) => 1,
            (_, rest) if rest.starts_with(self.newline) => self.newline.len(),
            (_, [] | [b'\r']) if !end => return Line::Unknown,
            (_, []) if closes => 0,
            _ => return Line::Other,
        };
        let next = body.len() - rest.len() + newline;
        if closes { Line::Close(next) } else { Line::Next(next) }
    }
}

impl Part {
    /// The part's content in the body that it was found in.
    #[must_use]
    pub fn value<'a>(&self, body: &'a [u8]) -> &'a [u8] {
        body.get(self.value.clone()).unwrap_or_default()
    }
}

/// The header fields of a part, of which one matters.
#[derive(Default)]
struct PartHead {
    disposition: Option<Vec<u8>>,
    last: Last,
}

/// What the line before was, which one that begins with a space continues.
#[derive(Default, PartialEq, Eq)]
enum Last {
    #[default]
    Nothing,
    Disposition,
    Other,
}

impl PartHead {
    /// Whether the line is one of a head.
    fn add(&mut self, line: &[u8]) -> bool {
        if matches!(line.first(), Some(b' ' | b'\t')) {
            if let (Last::Disposition, Some(disposition)) = (&self.last, &mut self.disposition) {
                disposition.extend_from_slice(line);
            }
            return self.last != Last::Nothing;
        }
        let colon = memchr::memchr(b':', line).and_then(|colon| line.split_at_checked(colon));
        let Some((name, value)) = colon else { return false };
        let is_first = self.disposition.is_none();
        if is_first && name.trim_ascii_end().eq_ignore_ascii_case(b"content-disposition") {
            self.disposition = value.get(1..).map(<[u8]>::to_vec);
            self.last = Last::Disposition;
        } else {
            self.last = Last::Other;
        }
        true
    }

    fn name(&self) -> Option<Vec<u8>> {
        let disposition = MediaType::of(self.disposition.as_deref()?);
        let name = disposition.is("form-data").then(|| disposition.parameter("name"))?;
        name.map(std::borrow::Cow::into_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) const TYPE: &[u8] = b"multipart/form-data; boundary=b";
    pub(super) const FORM: &str = "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nm-1\r\n--b\r\n\
                        Content-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\
                        Content-Type: audio/wav\r\n\r\n\0\r\n--bb\r\n--b-\r\nx\r\n--b--\r\n";

    /// The parts of a body, however it is cut: names and values.
    fn check(body: &str, expected: Result<&[(&str, &str)], MultipartError>) {
        let body = body.as_bytes();
        let shown = |form: &Form| -> Vec<(String, String)> {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let parts = form.parts.iter();
            parts.map(|part| (text(part.name.as_deref().unwrap_or(b"-")), text(part.value(body)))).collect()
        };
        let whole = Form::of(TYPE, body);
        match (&whole, expected) {
            (Ok(form), Ok(expected)) => {
                let expected: Vec<_> =
                    expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
                assert_eq!(shown(form), expected);
            }
            (found, expected) => {
                assert_eq!(found.as_ref().map(|_| ()).map_err(|error| *error), expected.map(|_| ()));
            }
        }
        for step in [1, 2, 3, 7] {
            let mut form = Form::new(TYPE).unwrap();
            let mut read = Ok(());
            for to in (0..body.len()).step_by(step) {
                read = read.and_then(|()| form.read(&body[..to], false));
            }
            let read = read.and_then(|()| form.read(body, true));
            assert_eq!(read, whole.as_ref().map(|_| ()).map_err(|error| *error), "by {step}");
            if let Ok(whole) = &whole {
                assert_eq!(shown(&form), shown(whole), "by {step}");
                assert_eq!(form.state, whole.state, "by {step}");
            }
        }
    }

    fn edited(body: &str, values: &[(&str, &str)]) -> String {
        let form = Form::of(TYPE, body.as_bytes()).unwrap();
        let mut edit = Edit::new(&form, body.as_bytes());
        for (name, value) in values {
            edit.set(name, value.as_bytes()).unwrap();
        }
        let out = edit.finish().unwrap();
        let form = Form::of(TYPE, &out).unwrap();
        if let Some((name, value)) = values.last() {
            assert!(form.named(name).all(|part| part.value(&out) == value.as_bytes()), "{name}");
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn parts_are_found_by_their_names() {
        check(FORM, Ok(&[("model", "m-1"), ("file", "\0\r\n--bb\r\n--b-\r\nx")]));
        check("--b--", Ok(&[]));
        check("--b\r\n\r\nx\r\n--b--", Ok(&[("-", "x")]));
    }

    #[test]
    fn preamble_and_epilogue_are_no_parts() {
        check(
            "before --b\r\nx--b\r\n--bc\r\n--b \t\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--b-- \r\n--b\r\nafter",
            Ok(&[("a", "1")]),
        );
    }

    #[test]
    fn heads_are_read_in_any_case_order_and_folding() {
        let head = |head: &str| format!("--b\r\n{head}\r\n\r\nv\r\n--b--\r\n");
        for named in [
            "content-disposition:form-data;name=n",
            "Content-Type: a/b; name=x\r\nCONTENT-DISPOSITION : Form-Data; filename=\"; name=y\"; NAME=\"n\"",
            "Content-Disposition: form-data;\r\n name=\"n\"\r\nX: y\r\n\tz",
            "Content-Disposition: form-data; name=n\r\nContent-Disposition: form-data; name=x",
        ] {
            check(&head(named), Ok(&[("n", "v")]));
        }
        for nameless in ["X: y", "Content-Disposition: attachment; name=n", "Content-Disposition: form-data"]
        {
            check(&head(nameless), Ok(&[("-", "v")]));
        }
        for broken in ["no field", " folded", "--b\r\nX: y"] {
            check(&head(broken), Err(MultipartError::BadPartHead { at: 5 }));
        }
    }

    #[test]
    fn lines_may_end_without_a_carriage_return_where_the_first_does() {
        let body = FORM.replace("\r\n", "\n");
        check(&body, Ok(&[("model", "m-1"), ("file", "\0\n--bb\n--b-\nx")]));
        assert_eq!(edited(&body, &[("model", "m-2")]), body.replace("m-1", "m-2"));
        // A line of a file is none of the form's.
        check(
            "--b\r\nContent-Disposition: form-data; name=f\r\n\r\n1\n--b\n2\r\n--b\n--b--\r\n\r\n--b--",
            Ok(&[("f", "1\n--b\n2\r\n--b\n--b--\r\n")]),
        );
    }

    #[test]
    fn values_may_be_empty_and_hold_newlines() {
        let part =
            |value: &str| format!("--b\r\nContent-Disposition: form-data; name=n\r\n\r\n{value}--b--\r\n");
        check(&part(""), Ok(&[("n", "")]));
        check(&part("\r\n"), Ok(&[("n", "")]));
        check(&part("\r\n\r\n"), Ok(&[("n", "\r\n")]));
        check(&part(" a\r\nb \r\n"), Ok(&[("n", " a\r\nb ")]));
        assert_eq!(edited(&part(""), &[("n", "x")]).matches("x--b--").count(), 0, "a newline comes between");
    }

    #[test]
    fn what_does_not_end_is_no_form() {
        let unclosed = Err(MultipartError::Unclosed);
        for body in ["", "--", "--b", "--b\r", "--b\r\n", "--b-", "--bb\r\n", "text", "--b\r\nX: y"] {
            check(body, unclosed);
        }
        check(FORM.strip_suffix("--\r\n").unwrap(), unclosed);
        check(FORM.strip_suffix("\r\n--b--\r\n").unwrap(), unclosed);
        check(&FORM.replace("--b--", "--b--x"), unclosed);
    }

    #[test]
    fn only_the_values_change() {
        let framed = format!("before\r\n{FORM}after\r\n--b--");
        for body in [FORM, &framed] {
            for model in ["", "longer-model", "m"] {
                assert_eq!(edited(body, &[("model", model)]), body.replace("m-1", model));
            }
        }
        let twice = format!("{}{FORM}", FORM.strip_suffix("--b--\r\n").unwrap());
        assert_eq!(edited(&twice, &[("model", "x"), ("model", "m-22")]), twice.replace("m-1", "m-22"));
    }

    #[test]
    fn an_absent_part_is_added_before_the_closing_boundary() {
        let added =
            |name: &str| format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\nv\r\n");
        let body = FORM.replace("model", "n");
        assert_eq!(
            edited(&body, &[("model", "v")]),
            body.replace("--b--\r\n", &format!("{}--b--\r\n", added("model")))
        );
        assert_eq!(edited("--b--", &[("m", "v")]), format!("{}--b--", added("m")));
        let form = Form::of(TYPE, FORM.as_bytes()).unwrap();
        let mut edit = Edit::new(&form, FORM.as_bytes());
        edit.set("q\"\r\n", b"v").unwrap();
        let out = String::from_utf8(edit.finish().unwrap()).unwrap();
        assert!(out.contains("name=\"q%22%0D%0A\"\r\n"), "{out}");
    }

    #[test]
    fn a_value_that_would_end_its_part_is_refused() {
        let form = Form::of(TYPE, FORM.as_bytes()).unwrap();
        let mut edit = Edit::new(&form, FORM.as_bytes());
        assert_eq!(edit.set("model", b"x\r\n--b--"), Err(MultipartError::ValueHoldsBoundary));
        assert!(edit.is_empty());
    }

    #[test]
    fn a_part_is_there_before_the_form_ends() {
        let mut form = Form::new(TYPE).unwrap();
        let so_far = FORM.split_once("--b\r\nContent-Disposition: form-data; name=\"file").unwrap().0;
        form.read(so_far.as_bytes(), false).unwrap();
        assert_eq!(form.named("model").count(), 0, "its boundary may still turn out to be none");
        form.read(format!("{so_far}--b\r\n").as_bytes(), false).unwrap();
        assert_eq!(form.named("model").count(), 1);
        assert!(!form.is_closed());
        assert_eq!(Edit::new(&form, so_far.as_bytes()).finish(), Err(MultipartError::Unclosed));
    }

    #[test]
    fn the_boundary_is_read_from_the_content_type() {
        for (content_type, expected) in [
            ("multipart/form-data; boundary=b", Ok(())),
            ("Multipart/Form-Data; charset=x; Boundary=\"b\"", Ok(())),
            ("application/json", Err(MultipartError::NotAForm)),
            ("multipart/mixed; boundary=b", Err(MultipartError::NotAForm)),
            ("multipart/form-data", Err(MultipartError::NoBoundary)),
            ("multipart/form-data; boundary=", Err(MultipartError::BadBoundary)),
            ("multipart/form-data; boundary=\"b \"", Err(MultipartError::BadBoundary)),
            ("multipart/form-data; boundary=\"b\u{1}\"", Err(MultipartError::BadBoundary)),
        ] {
            assert_eq!(Form::of(content_type.as_bytes(), FORM.as_bytes()).map(|_| ()), expected);
        }
        let long = |length: usize| format!("multipart/form-data; boundary={}", "b".repeat(length));
        assert!(Form::new(long(70).as_bytes()).is_ok());
        assert_eq!(Form::new(long(71).as_bytes()).map(|_| ()), Err(MultipartError::BadBoundary));
        let quoted = b"multipart/form-data; boundary=\"a b;c\"";
        let form = Form::of(quoted, b"--a b;c\r\n\r\nv\r\n--a b;c--").unwrap();
        assert_eq!(form.parts.len(), 1);
    }

    #[test]
    fn parts_and_heads_have_limits() {
        let parts = |count: usize| format!("{}--b--", "--b\r\n\r\n\r\n".repeat(count));
        assert!(Form::of(TYPE, parts(MAX_PARTS).as_bytes()).is_ok());
        check(&parts(MAX_PARTS + 1), Err(MultipartError::TooManyParts));
        let head = |length: usize| format!("--b\r\nX:{}\r\n\r\nv\r\n--b--", "x".repeat(length - 6));
        assert!(Form::of(TYPE, head(MAX_PART_HEAD).as_bytes()).is_ok());
        let too_long = MultipartError::PartHeadTooLong { at: 5 };
        assert_eq!(Form::of(TYPE, head(MAX_PART_HEAD + 1).as_bytes()).map(|_| ()), Err(too_long));
        let mut endless = Form::new(TYPE).unwrap();
        let line = format!("--b\r\n{}", "x".repeat(MAX_PART_HEAD + 1));
        assert_eq!(endless.read(line.as_bytes(), false), Err(too_long));
        let padded = |length: usize| format!("--b{}\r\n\r\nv\r\n--b--", " ".repeat(length));
        assert!(Form::of(TYPE, padded(MAX_PADDING).as_bytes()).is_ok());
        check(&padded(MAX_PADDING + 1), Ok(&[]));
    }

    #[test]
    fn no_bytes_make_it_panic_and_no_cut_changes_what_is_read() {
        let pieces = [
            "--b",
            "\r\n",
            "\n",
            "--",
            "-",
            "b",
            " ",
            "\r",
            "x",
            ":",
            ";",
            "\"",
            "name=model",
            "Content-Disposition: form-data; ",
            "--b\r\n",
            "\r\n--b",
            "\\",
        ];
        let mut state = 11_u64;
        let mut pick = |of: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap() % of
        };
        for _ in 0..20_000 {
            let mut body = String::new();
            for _ in 0..pick(24) {
                body.push_str(pieces[pick(pieces.len())]);
            }
            if pick(2) == 0 {
                body.push_str("\r\n--b--");
            }
            let whole = Form::of(TYPE, body.as_bytes());
            let mut form = Form::new(TYPE).unwrap();
            let cut = pick(body.len() + 1);
            let read = form.read(&body.as_bytes()[..cut], false);
            let read = read.and_then(|()| form.read(body.as_bytes(), true));
            assert_eq!(read, whole.as_ref().map(|_| ()).map_err(|error| *error), "{body:?} at {cut}");
            if let Ok(whole) = whole {
                assert_eq!(form.state, whole.state, "{body:?} at {cut}");
                let mut edit = Edit::new(&form, body.as_bytes());
                edit.set("model", b"v").unwrap();
                let out = edit.finish().unwrap();
                let again = Form::of(TYPE, &out).unwrap_or_else(|error| {
                    panic!("{body:?} became {:?}: {error}", String::from_utf8_lossy(&out))
                });
                assert!(again.named("model").count() > 0, "{body:?} became {out:?}");
                assert!(again.named("model").all(|part| part.value(&out) == b"v"), "{body:?} became {out:?}");
                assert!(again.parts.len().abs_diff(whole.parts.len()) <= 1, "{body:?}");
            }
        }
    }
}
