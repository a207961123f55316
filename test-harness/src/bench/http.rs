//! Just enough HTTP/1.1 to know where a message ends.

use std::io::{self, Error, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;

/// One keep-alive connection, never waited for, and the last message that came on it.
pub(super) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    filled: usize,
    /// What the buffer holds has been taken; what comes next begins anew.
    is_read: bool,
}

impl Connection {
    pub(super) fn over(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self { stream, buffer: vec![0; 64 * 1024], filled: 0, is_read: false })
    }

    /// Sends all of it.
    pub(super) fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if is_not_now(&error) => std::thread::yield_now(),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The next whole message, head and body as they came; `None` while there is more to come.
    pub(super) fn message(&mut self) -> io::Result<Option<&[u8]>> {
        if !self.read()? {
            return Ok(None);
        }
        match end_of_message(&self.buffer[..self.filled])? {
            None => Ok(None),
            Some(end) if end == self.filled => {
                self.is_read = true;
                Ok(Some(self.last()))
            }
            // Neither side speaks before it is asked.
            Some(_) => Err(malformed("more than was asked for")),
        }
    }

    /// What came next, in whatever piece it came.
    pub(super) fn piece(&mut self) -> io::Result<Option<&[u8]>> {
        self.is_read = true;
        if !self.read()? {
            return Ok(None);
        }
        self.is_read = true;
        Ok(Some(self.last()))
    }

    /// The message that came last.
    pub(super) fn last(&self) -> &[u8] {
        &self.buffer[..self.filled]
    }

    /// Whether anything came.
    fn read(&mut self) -> io::Result<bool> {
        let start = if self.is_read { 0 } else { self.filled };
        if start == self.buffer.len() {
            self.buffer.resize(2 * start, 0);
        }
        match self.stream.read(&mut self.buffer[start..]) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                self.filled = start + count;
                self.is_read = false;
                Ok(true)
            }
            Err(error) if is_not_now(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn is_not_now(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

fn malformed(what: &'static str) -> Error {
    Error::new(ErrorKind::InvalidData, what)
}

/// Where the message ends, if all of it is there.
fn end_of_message(bytes: &[u8]) -> io::Result<Option<usize>> {
    let Some(head_end) = find(bytes, b"\r\n\r\n") else { return Ok(None) };
    let body_start = head_end + 4;
    let head = std::str::from_utf8(&bytes[..head_end]).map_err(|_| malformed("a head that is no text"))?;
    for line in head.split("\r\n").skip(1) {
        let Some((name, value)) = line.split_once(':') else {
            return Err(malformed("a header without a colon"));
        };
        if name.eq_ignore_ascii_case("content-length") {
            let length: usize = value.trim().parse().map_err(|_| malformed("a bad content-length"))?;
            return Ok((bytes.len() >= body_start + length).then_some(body_start + length));
        }
        if name.eq_ignore_ascii_case("transfer-encoding") {
            return Ok(end_of_chunks(&bytes[body_start..])?.map(|length| body_start + length));
        }
    }
    Ok(Some(body_start))
}

fn end_of_chunks(bytes: &[u8]) -> io::Result<Option<usize>> {
    let mut at = 0;
    loop {
        let Some(line) = find(&bytes[at..], b"\r\n") else { return Ok(None) };
        let size = std::str::from_utf8(&bytes[at..at + line]).ok();
        let size = size
            .and_then(|size| usize::from_str_radix(size, 16).ok())
            .ok_or(malformed("a bad chunk size"))?;
        let end = at + line + 2 + size + 2;
        if bytes.len() < end {
            return Ok(None);
        }
        if size == 0 {
            return Ok(Some(end));
        }
        at = end;
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_ends_where_its_framing_says() {
        let check = |message: &str| {
            let bytes = message.as_bytes();
            assert_eq!(end_of_message(bytes).unwrap(), Some(bytes.len()), "{message}");
            for cut in 0..bytes.len() {
                assert_eq!(end_of_message(&bytes[..cut]).unwrap(), None, "{message} cut at {cut}");
            }
        };
        check("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nx: y\r\n\r\nhello");
        check(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\na\r\n0123456789\r\n0\r\n\r\n",
        );
        check("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    }

    #[test]
    fn bytes_behind_a_message_do_not_belong_to_it() {
        let bytes = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP";
        assert_eq!(end_of_message(bytes).unwrap(), Some(bytes.len() - 4));
    }

    #[test]
    fn broken_framing_is_an_error() {
        assert!(end_of_message(b"HTTP/1.1 200 OK\r\ncontent-length: two\r\n\r\n").is_err());
        assert!(end_of_message(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n").is_err());
        assert!(end_of_message(b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n").is_err());
    }
}
