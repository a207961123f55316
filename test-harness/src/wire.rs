//! Fields, chunks, and HTTP/1.1 as bytes on a socket: what the scripted upstream and the test client share.

use std::io;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Header or trailer fields in the order of the wire; names in lower case, values as they came.
pub type Fields = Vec<(String, Vec<u8>)>;

/// What opens every HTTP/2 connection, and no HTTP/1 one.
pub(crate) const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// One piece of a body, and how long to wait before it is sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chunk {
    /// The bytes; a chunk of none is only a wait.
    pub bytes: Vec<u8>,
    /// Waited before the bytes are sent.
    pub delay: Duration,
}

impl Chunk {
    /// A chunk that is sent at once.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: bytes.into(), delay: Duration::ZERO }
    }

    /// A chunk that is sent after a wait.
    pub fn after(delay: Duration, bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: bytes.into(), delay }
    }

    pub(crate) async fn wait(&self) {
        // A timer of zero is not over at once.
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
    }
}

impl From<&str> for Chunk {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for Chunk {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<&[u8]> for Chunk {
    fn from(bytes: &[u8]) -> Self {
        Self::new(bytes)
    }
}

impl From<Vec<u8>> for Chunk {
    fn from(bytes: Vec<u8>) -> Self {
        Self::new(bytes)
    }
}

impl<T: Into<Vec<u8>>> From<(T, Duration)> for Chunk {
    /// The bytes, after a wait.
    fn from((bytes, delay): (T, Duration)) -> Self {
        Self::after(delay, bytes)
    }
}

/// The values of all fields of a name, in order.
pub(crate) fn values<'a>(fields: &'a [(String, Vec<u8>)], name: &str) -> Vec<&'a [u8]> {
    fields
        .iter()
        .filter(|(field, _)| field.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_slice())
        .collect()
}

/// Whether a comma-separated field has this element, in any case.
pub(crate) fn has_token(fields: &[(String, Vec<u8>)], name: &str, token: &str) -> bool {
    values(fields, name).iter().any(|value| {
        value.split(|byte| *byte == b',').any(|part| part.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
    })
}

/// The fields of an HTTP/2 head.
pub(crate) fn fields(map: &HeaderMap) -> Fields {
    map.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect()
}

/// The head of these fields in HTTP/2.
///
/// # Errors
/// A name or value that HTTP/2 cannot carry.
pub(crate) fn header_map(fields: &[(String, Vec<u8>)]) -> Result<HeaderMap, http::Error> {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        map.append(HeaderName::from_bytes(name.as_bytes())?, HeaderValue::from_bytes(value)?);
    }
    Ok(map)
}

/// `name: value` lines, with the bytes of the values as they are.
pub(crate) fn write_fields(fields: &[(String, Vec<u8>)], out: &mut Vec<u8>) {
    for (name, value) in fields {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    }
}

/// One chunk of the chunked coding. Nothing is written for no bytes: that would be the last chunk.
pub(crate) fn write_chunk(bytes: &[u8], out: &mut Vec<u8>) {
    if !bytes.is_empty() {
        out.extend_from_slice(format!("{:x}\r\n", bytes.len()).as_bytes());
        out.extend_from_slice(bytes);
        out.extend_from_slice(b"\r\n");
    }
}

/// The last chunk and the trailers.
pub(crate) fn write_last_chunk(trailers: &[(String, Vec<u8>)], out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n");
    write_fields(trailers, out);
    out.extend_from_slice(b"\r\n");
}

/// A start line and the fields below it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) start: Vec<u8>,
    pub(crate) fields: Fields,
}

impl Head {
    /// Takes anything apart that has lines: judging it is up to who reads the record.
    pub(crate) fn parse(text: &[u8]) -> Self {
        let mut lines =
            text.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let start = lines.next().unwrap_or_default().to_vec();
        Self { start, fields: fields_of_lines(lines) }
    }
}

fn fields_of_lines<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Fields {
    let mut fields = Fields::new();
    for line in lines.filter(|line| !line.is_empty()) {
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let name = String::from_utf8_lossy(&line[..colon]).to_ascii_lowercase();
        let value = line.get(colon + 1..).unwrap_or_default().trim_ascii().to_vec();
        fields.push((name, value));
    }
    fields
}

/// How the end of a body is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

impl Framing {
    /// What the fields say; `otherwise` where they say nothing.
    ///
    /// # Errors
    /// A content-length that is no number.
    pub(crate) fn of(fields: &[(String, Vec<u8>)], otherwise: Self) -> io::Result<Self> {
        if has_token(fields, "transfer-encoding", "chunked") {
            return Ok(Self::Chunked);
        }
        match values(fields, "content-length").first() {
            Some(value) => Ok(Self::Length(number(value, 10)?)),
            None => Ok(otherwise),
        }
    }
}

fn number(text: &[u8], radix: u32) -> io::Result<u64> {
    let text = std::str::from_utf8(text).unwrap_or_default().trim();
    u64::from_str_radix(text, radix).map_err(|_| malformed(format!("`{text}` is no length")))
}

fn malformed(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// What has arrived on a connection and was not taken yet, and where more comes from.
#[derive(Debug)]
pub(crate) struct Inbox<R> {
    pub(crate) io: R,
    pub(crate) waiting: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Inbox<R> {
    pub(crate) fn new(io: R) -> Self {
        Self { io, waiting: Vec::new() }
    }

    /// Reads once; 0 is the end. Nothing is lost if the future is dropped.
    pub(crate) async fn fill(&mut self) -> io::Result<usize> {
        self.waiting.reserve(16 << 10);
        self.io.read_buf(&mut self.waiting).await
    }

    /// Takes a head with its empty line, if all of it is there.
    pub(crate) fn take_head(&mut self) -> Option<Head> {
        let end = self.waiting.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let head = Head::parse(&self.waiting[..end]);
        self.waiting.drain(..end);
        Some(head)
    }

    fn take_line(&mut self) -> Option<Vec<u8>> {
        let end = self.waiting.windows(2).position(|window| window == b"\r\n")?;
        let line = self.waiting[..end].to_vec();
        self.waiting.drain(..end + 2);
        Some(line)
    }
}

/// One step of reading a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Data(Vec<u8>),
    /// The body ended as its framing says.
    End(Fields),
    /// The connection ended first.
    Cut,
}

/// Takes a body apart by its framing, in the pieces in which it arrives.
#[derive(Debug)]
pub(crate) struct BodyReader {
    state: State,
    trailers: Fields,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Length(u64),
    UntilClose,
    ChunkSize,
    Chunk(u64),
    ChunkEnd,
    Trailers,
}

impl BodyReader {
    pub(crate) fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::ChunkSize,
            Framing::UntilClose => State::UntilClose,
        };
        Self { state, trailers: Fields::new() }
    }

    /// The next piece. Nothing is lost if the future is dropped.
    ///
    /// # Errors
    /// The chunked coding is broken. A connection that breaks is [`Piece::Cut`].
    pub(crate) async fn next<R: AsyncRead + Unpin>(&mut self, inbox: &mut Inbox<R>) -> io::Result<Piece> {
        loop {
            if let Some(piece) = self.step(inbox)? {
                return Ok(piece);
            }
            if !matches!(inbox.fill().await, Ok(count) if count > 0) {
                return Ok(match self.state {
                    State::UntilClose => Piece::End(Fields::new()),
                    _ => Piece::Cut,
                });
            }
        }
    }

    /// What can be said with the bytes that are there; `None` asks for more.
    fn step<R: AsyncRead + Unpin>(&mut self, inbox: &mut Inbox<R>) -> io::Result<Option<Piece>> {
        loop {
            match self.state {
                State::Length(0) => return Ok(Some(Piece::End(Fields::new()))),
                State::UntilClose if inbox.waiting.is_empty() => return Ok(None),
                State::UntilClose => return Ok(Some(Piece::Data(std::mem::take(&mut inbox.waiting)))),
                State::Length(left) => {
                    return Ok(take_up_to(left, inbox).map(|data| {
                        self.state = State::Length(left - data.len() as u64);
                        Piece::Data(data)
                    }));
                }
                State::Chunk(0) => self.state = State::ChunkEnd,
                State::Chunk(left) => {
                    return Ok(take_up_to(left, inbox).map(|data| {
                        self.state = State::Chunk(left - data.len() as u64);
                        Piece::Data(data)
                    }));
                }
                State::ChunkSize => {
                    let Some(line) = inbox.take_line() else { return Ok(None) };
                    let size = line.split(|byte| *byte == b';').next().unwrap_or_default();
                    self.state = match number(size, 16)? {
                        0 => State::Trailers,
                        size => State::Chunk(size),
                    };
                }
                State::ChunkEnd => match inbox.take_line() {
                    Some(line) if line.is_empty() => self.state = State::ChunkSize,
                    Some(line) => {
                        let line = String::from_utf8_lossy(&line).into_owned();
                        return Err(malformed(format!("`{line}` after a chunk")));
                    }
                    None => return Ok(None),
                },
                State::Trailers => match inbox.take_line() {
                    Some(line) if line.is_empty() => {
                        self.state = State::Length(0);
                        return Ok(Some(Piece::End(std::mem::take(&mut self.trailers))));
                    }
                    Some(line) => self.trailers.extend(fields_of_lines(std::iter::once(line.as_slice()))),
                    None => return Ok(None),
                },
            }
        }
    }
}

fn take_up_to<R>(most: u64, inbox: &mut Inbox<R>) -> Option<Vec<u8>> {
    let count = usize::try_from(most).unwrap_or(usize::MAX).min(inbox.waiting.len());
    (count > 0).then(|| inbox.waiting.drain(..count).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A body, its trailers, and whether it ended as it should.
    type Read<'a> = (&'a str, &'a [(&'a str, &'a str)], bool);

    /// Reads a body from bytes that arrive all at once, and then one by one.
    fn check(framing: Framing, bytes: &[u8], expected: Result<Read<'_>, &str>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for width in [bytes.len().max(1), 1] {
            let mut reader = slices(bytes, width);
            let read = runtime.block_on(async {
                let mut body = BodyReader::new(framing);
                let mut data = Vec::new();
                loop {
                    match body.next(&mut reader).await? {
                        Piece::Data(piece) => data.extend(piece),
                        Piece::End(trailers) => return io::Result::Ok((data, trailers, true)),
                        Piece::Cut => return Ok((data, Fields::new(), false)),
                    }
                }
            });
            let expected = expected.map(|(data, trailers, whole)| {
                let trailers: Fields = trailers
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()))
                    .collect();
                (data.as_bytes().to_vec(), trailers, whole)
            });
            assert_eq!(read.map_err(|error| error.to_string()), expected.map_err(str::to_owned));
        }
    }

    /// Gives its bytes `width` at a time.
    struct Slices<'a>(&'a [u8], usize);

    impl AsyncRead for Slices<'_> {
        fn poll_read(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            out: &mut tokio::io::ReadBuf<'_>,
        ) -> std::task::Poll<io::Result<()>> {
            let (now, later) = self.0.split_at(self.1.min(self.0.len()).min(out.remaining()));
            out.put_slice(now);
            self.0 = later;
            std::task::Poll::Ready(Ok(()))
        }
    }

    fn slices(bytes: &[u8], width: usize) -> Inbox<Slices<'_>> {
        Inbox::new(Slices(bytes, width))
    }

    #[test]
    fn bodies_end_where_their_framing_says() {
        check(Framing::Length(5), b"helloGET /", Ok(("hello", &[], true)));
        check(Framing::Length(0), b"", Ok(("", &[], true)));
        check(Framing::UntilClose, b"all of it", Ok(("all of it", &[], true)));
        check(
            Framing::Chunked,
            b"2\r\nab\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n",
            Ok(("ab0123456789", &[], true)),
        );
        check(
            Framing::Chunked,
            b"1\r\na\r\n0\r\nX-Sum: 1 \r\nb:2\r\n\r\n",
            Ok(("a", &[("x-sum", "1"), ("b", "2")], true)),
        );
    }

    #[test]
    fn a_body_that_stops_early_is_cut() {
        check(Framing::Length(5), b"hell", Ok(("hell", &[], false)));
        check(Framing::Chunked, b"5\r\nhel", Ok(("hel", &[], false)));
        check(Framing::Chunked, b"3\r\nhel\r\n0\r\n", Ok(("hel", &[], false)));
    }

    #[test]
    fn a_broken_chunk_is_an_error() {
        check(Framing::Chunked, b"zz\r\n", Err("`zz` is no length"));
        check(Framing::Chunked, b"1\r\nab\r\n", Err("`b` after a chunk"));
    }

    #[test]
    fn heads_keep_order_repetition_and_odd_bytes() {
        let head = Head::parse(b"GET /\xff HTTP/1.1\r\nHost: a\r\nX-A:1\r\nx-a:  \xfe2 \r\nnonsense\r\n\r\n");
        assert_eq!(head.start, b"GET /\xff HTTP/1.1");
        let names: Vec<&str> = head.fields.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["host", "x-a", "x-a", "nonsense"]);
        assert_eq!(values(&head.fields, "X-A"), [b"1".as_slice(), b"\xfe2"]);
    }
}
