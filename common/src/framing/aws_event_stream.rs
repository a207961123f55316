//! AWS's binary event streams (`application/vnd.amazon.eventstream`), as Bedrock answers in.
//!
//! A message is a prelude (its whole length, the length of its headers, a checksum of both), its headers, its
//! payload, and a checksum of all before. Published at
//! <https://docs.aws.amazon.com/transcribe/latest/dg/event-stream.html>.

/// Lengths and their checksum.
const PRELUDE: usize = 12;
/// The prelude and the last checksum: the shortest message there is.
const SHORTEST: usize = 16;

/// One message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    headers: &'a [u8],
    /// What it carries.
    pub payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// The value of a header that is a text, such as `:event-type`.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a str> {
        let mut rest = self.headers;
        while let Some((length, behind)) = rest.split_first() {
            let (found, behind) = behind.split_at_checked(usize::from(*length))?;
            let (kind, behind) = behind.split_first()?;
            let (size, behind) = match kind {
                0 | 1 => (0, behind),
                2 => (1, behind),
                3 => (2, behind),
                4 => (4, behind),
                5 | 8 => (8, behind),
                6 | 7 => {
                    let (length, behind) = behind.split_first_chunk::<2>()?;
                    (usize::from(u16::from_be_bytes(*length)), behind)
                }
                9 => (16, behind),
                _ => return None,
            };
            let (value, behind) = behind.split_at_checked(size)?;
            if *kind == 7 && found == name.as_bytes() {
                return std::str::from_utf8(value).ok();
            }
            rest = behind;
        }
        None
    }
}

/// Bytes in, messages out.
#[derive(Debug)]
pub struct Decoder {
    /// The message that has begun and not ended.
    begun: Vec<u8>,
    limit: usize,
    /// How much is still to come of a message that is longer than the limit.
    skip: usize,
    /// A checksum was wrong: where the next message begins is not known.
    is_lost: bool,
}

impl Decoder {
    /// A decoder that leaves out messages of more than `limit` bytes.
    #[must_use]
    pub fn skipping(limit: usize) -> Self {
        Self { begun: Vec::new(), limit, skip: 0, is_lost: false }
    }

    /// Takes the next piece of the stream and hands every message that ends in it to `on_message`. After a
    /// wrong checksum of a prelude nothing more is read; a message whose own checksum is wrong is left out.
    pub fn push(&mut self, mut bytes: &[u8], on_message: &mut dyn FnMut(&Message<'_>)) {
        while !bytes.is_empty() && !self.is_lost {
            if self.skip > 0 {
                let (_, rest) = bytes.split_at_checked(self.skip).unwrap_or((bytes, b""));
                self.skip -= bytes.len() - rest.len();
                bytes = rest;
                continue;
            }
            let missing = self.missing();
            let (taken, rest) = bytes.split_at_checked(missing).unwrap_or((bytes, b""));
            self.begun.extend_from_slice(taken);
            bytes = rest;
            match self.begun.len() {
                PRELUDE => self.check_prelude(),
                length if length > PRELUDE && self.missing() == 0 => {
                    if let Some(message) = message(&self.begun) {
                        on_message(&message);
                    }
                    self.begun.clear();
                }
                _ => {}
            }
        }
    }

    /// How many bytes the message that has begun lacks; before its prelude is whole, how many that lacks.
    fn missing(&self) -> usize {
        let end = if self.begun.len() < PRELUDE { PRELUDE } else { word(&self.begun, 0) };
        end.saturating_sub(self.begun.len())
    }

    fn check_prelude(&mut self) {
        let (length, headers) = (word(&self.begun, 0), word(&self.begun, 4));
        let is_right = self.begun.get(..8).is_some_and(|lengths| checksum(lengths) == word(&self.begun, 8));
        if !is_right || length < SHORTEST || headers > length - SHORTEST {
            self.is_lost = true;
        } else if length > self.limit {
            self.skip = length - PRELUDE;
        } else {
            return;
        }
        self.begun.clear();
    }
}

/// A whole message, if its checksum is right.
fn message(bytes: &[u8]) -> Option<Message<'_>> {
    let (content, sum) = bytes.split_at_checked(bytes.len().checked_sub(4)?)?;
    if checksum(content) != word(sum, 0) {
        return None;
    }
    let (headers, payload) = content.get(PRELUDE..)?.split_at_checked(word(bytes, 4))?;
    Some(Message { headers, payload })
}

/// The number of four bytes that stands there.
fn word(bytes: &[u8], at: usize) -> usize {
    let found = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>());
    found.map_or(0, |bytes| u32::from_be_bytes(*bytes) as usize)
}

/// CRC-32 as in zip files, four bits at a time: messages are few and small.
fn checksum(bytes: &[u8]) -> usize {
    let step =
        |sum: u32| (0..4).fold(sum, |sum, _| if sum & 1 == 1 { (sum >> 1) ^ 0xedb8_8320 } else { sum >> 1 });
    let mut table = [0_u32; 16];
    for (entry, nibble) in table.iter_mut().zip(0..) {
        *entry = step(nibble);
    }
    let look_up = |nibble: u32| table.get((nibble & 15) as usize).copied().unwrap_or(0);
    let sum = bytes.iter().fold(u32::MAX, |sum, byte| {
        let sum = sum ^ u32::from(*byte);
        let sum = (sum >> 4) ^ look_up(sum);
        (sum >> 4) ^ look_up(sum)
    });
    !sum as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
        let mut fields = Vec::new();
        for (name, value) in headers {
            fields.push(u8::try_from(name.len()).unwrap());
            fields.extend_from_slice(name.as_bytes());
            fields.push(7);
            fields.extend_from_slice(&u16::try_from(value.len()).unwrap().to_be_bytes());
            fields.extend_from_slice(value.as_bytes());
        }
        let number = |number: usize| u32::try_from(number).unwrap().to_be_bytes();
        let mut out = number(SHORTEST + fields.len() + payload.len()).to_vec();
        out.extend_from_slice(&number(fields.len()));
        out.extend_from_slice(&number(checksum(&out)));
        out.extend_from_slice(&fields);
        out.extend_from_slice(payload);
        let sum = number(checksum(&out));
        out.extend_from_slice(&sum);
        out
    }

    fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<(String, Vec<u8>)> {
        let mut decoder = Decoder::skipping(64);
        let mut found = Vec::new();
        for piece in pieces {
            decoder.push(piece, &mut |message| {
                let kind = message.header(":event-type").unwrap_or("none");
                found.push((kind.to_owned(), message.payload.to_vec()));
            });
        }
        found
    }

    /// The payloads, and the same however the stream is cut in two or into single bytes.
    fn check(stream: &[u8], expected: &[(&str, &str)]) {
        let expected: Vec<(String, Vec<u8>)> =
            expected.iter().map(|(kind, payload)| ((*kind).into(), (*payload).into())).collect();
        for cut in 0..=stream.len() {
            assert_eq!(decode([&stream[..cut], &stream[cut..]]), expected, "cut at {cut}");
        }
        assert_eq!(decode(stream.chunks(1)), expected, "in single bytes");
    }

    #[test]
    fn the_checksum_is_that_of_the_published_example() {
        assert_eq!(checksum(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn messages_are_read_at_any_cut() {
        let mut stream = encode(&[(":x", "y"), (":event-type", "metadata")], b"{}");
        stream.extend(encode(&[], b""));
        stream.extend(encode(&[(":event-type", "chunk")], b"abc"));
        check(&stream, &[("metadata", "{}"), ("none", ""), ("chunk", "abc")]);
    }

    #[test]
    fn long_and_broken_messages_are_left_out() {
        let mut stream = encode(&[(":event-type", "long")], &[b'-'; 100]);
        let mut broken = encode(&[(":event-type", "broken")], b"abc");
        *broken.last_mut().unwrap() ^= 1;
        stream.extend(broken);
        stream.extend(encode(&[(":event-type", "good")], b"1"));
        check(&stream, &[("good", "1")]);
    }

    #[test]
    fn nothing_is_read_behind_a_broken_prelude() {
        let mut stream = encode(&[], b"a");
        let mut broken = encode(&[], b"b");
        broken[9] ^= 1;
        stream.extend(broken);
        stream.extend(encode(&[], b"c"));
        check(&stream, &[("none", "a")]);
    }

    #[test]
    fn random_bytes_never_panic() {
        let mut state = 3_u64;
        for _ in 0..2000 {
            let bytes: Vec<u8> = (0..80)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (state >> 56) as u8
                })
                .collect();
            let _ = decode([bytes.as_slice()]);
            let framed = [encode(&[], b""), bytes].concat();
            let _ = Message { headers: &framed, payload: b"" }.header("x");
            let _ = decode([framed.as_slice()]);
        }
    }
}
