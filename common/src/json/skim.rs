//! Members of an object that comes in pieces, without keeping more of it than is asked for.

use memchr::memchr2;

use super::object::{Object, Raw, object, value};

/// Names longer than this are nobody's.
const MAX_NAME: usize = 256;

/// What a reader wants of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// Nothing.
    Nothing,
    /// Its value, if it has at most so many bytes.
    Value {
        /// Bytes.
        limit: usize,
    },
    /// The text of its value as it passes.
    Pieces,
}

/// A reader of members.
pub trait Skim {
    /// A member of that name begins.
    fn wants(&mut self, name: &str) -> Want;
    /// A member ended of which the value was wanted. Only its end is proven.
    fn member(&mut self, name: &str, value: Raw<'_>);
    /// A member of which the value was wanted has more bytes than were.
    fn too_large(&mut self, _name: &str) {}
    /// Some more of a value of which the pieces were wanted.
    fn piece(&mut self, _text: &[u8]) {}
    /// An object has ended.
    fn object_ends(&mut self) {}
}

/// Passes objects by: one, or one after the other, between the brackets of an array or not.
///
/// What comes whole is scanned at once; else byte by byte, and of that nothing is proven but that brackets are
/// balanced.
#[derive(Debug, Default)]
pub struct Skimmer {
    state: State,
    /// The name of the member, with its quotes.
    name: Vec<u8>,
    want: Option<Want>,
    kept: Vec<u8>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before an object.
    #[default]
    Outside,
    /// Inside one, before a name.
    Object,
    /// Inside a name.
    Name { escaped: bool },
    /// Behind a name.
    Colon,
    /// Before the value.
    Value,
    /// Inside a value that is no string and no container, up to what ends it.
    Scalar,
    /// Inside any other value.
    Nested { depth: u32, quoted: bool, escaped: bool },
    /// This is not what it was taken for.
    Lost,
}

impl Skimmer {
    /// Takes the next piece of the text.
    pub fn push(&mut self, text: &[u8], reader: &mut dyn Skim) {
        if self.state == State::Outside && whole(text, reader) {
            return;
        }
        let mut at = 0;
        while let Some(byte) = text.get(at) {
            at = self.step(text, at, *byte, reader);
        }
    }

    /// Takes what begins at `at`; says where the rest begins.
    fn step(&mut self, text: &[u8], at: usize, byte: u8, reader: &mut dyn Skim) -> usize {
        match self.state {
            State::Lost => return text.len(),
            State::Outside => match byte {
                b'{' => self.state = State::Object,
                b'[' | b']' | b',' | b' ' | b'\n' | b'\r' | b'\t' => {}
                _ => self.state = State::Lost,
            },
            State::Object => match byte {
                b'"' => {
                    self.name.clear();
                    self.name.push(b'"');
                    self.state = State::Name { escaped: false };
                }
                b'}' => {
                    self.state = State::Outside;
                    reader.object_ends();
                }
                b',' | b' ' | b'\n' | b'\r' | b'\t' => {}
                _ => self.state = State::Lost,
            },
            State::Name { escaped } => {
                if self.name.len() <= MAX_NAME {
                    self.name.push(byte);
                }
                self.state = match byte {
                    b'"' if !escaped => State::Colon,
                    _ => State::Name { escaped: byte == b'\\' && !escaped },
                };
            }
            State::Colon => match byte {
                b':' => self.state = State::Value,
                b' ' | b'\n' | b'\r' | b'\t' => {}
                _ => self.state = State::Lost,
            },
            State::Value => match byte {
                b' ' | b'\n' | b'\r' | b'\t' => {}
                _ => {
                    self.begin(byte, reader);
                    return at;
                }
            },
            State::Scalar => {
                let rest = text.get(at..).unwrap_or_default();
                let is_end = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t');
                let end = rest.iter().position(is_end);
                self.take(rest.get(..end.unwrap_or(rest.len())).unwrap_or_default(), reader);
                if end.is_some() {
                    self.finish(reader);
                }
                return at + end.unwrap_or(rest.len());
            }
            State::Nested { .. } => return self.nested(text, at, reader),
        }
        at + 1
    }

    fn begin(&mut self, byte: u8, reader: &mut dyn Skim) {
        self.want = self.named().map(|name| reader.wants(&name));
        self.kept.clear();
        self.state = match byte {
            b'"' | b'{' | b'[' => State::Nested { depth: 0, quoted: false, escaped: false },
            _ => State::Scalar,
        };
    }

    /// The value's text up to its end or the piece's.
    fn nested(&mut self, text: &[u8], start: usize, reader: &mut dyn Skim) -> usize {
        let State::Nested { mut depth, mut quoted, mut escaped } = self.state else { return text.len() };
        let mut at = start;
        let mut ended = false;
        while let Some(byte) = text.get(at) {
            at += 1;
            if quoted {
                match byte {
                    _ if escaped => escaped = false,
                    b'\\' => escaped = true,
                    b'"' => {
                        quoted = false;
                        ended = depth == 0;
                    }
                    _ => {
                        let rest = text.get(at..).unwrap_or_default();
                        at += memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
                    }
                }
            } else {
                match byte {
                    b'"' => quoted = true,
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => {
                        depth = depth.saturating_sub(1);
                        ended = depth == 0;
                    }
                    _ => {}
                }
            }
            if ended {
                break;
            }
        }
        self.state = State::Nested { depth, quoted, escaped };
        self.take(text.get(start..at).unwrap_or_default(), reader);
        if ended {
            self.finish(reader);
        }
        at
    }

    fn take(&mut self, text: &[u8], reader: &mut dyn Skim) {
        match self.want {
            Some(Want::Value { limit }) if self.kept.len() + text.len() <= limit => {
                self.kept.extend_from_slice(text);
            }
            Some(Want::Value { .. }) => {
                self.kept = Vec::new();
                self.want = None;
                if let Some(name) = self.named() {
                    reader.too_large(&name);
                }
            }
            Some(Want::Pieces) => reader.piece(text),
            Some(Want::Nothing) | None => {}
        }
    }

    fn finish(&mut self, reader: &mut dyn Skim) {
        self.state = State::Object;
        if let Some(Want::Value { .. }) = self.want
            && let Some(name) = self.named()
        {
            reader.member(&name, Raw::unproven(&self.kept));
        }
        self.kept.clear();
    }

    /// `None`: no text, or too long.
    fn named(&self) -> Option<String> {
        Some(value(&self.name).ok()?.as_str()?.into_owned())
    }
}

/// Shows what is one object, or one array, all at once; `false`: it is not.
fn whole(text: &[u8], reader: &mut dyn Skim) -> bool {
    match (text.trim_ascii_start().first(), text.trim_ascii_end().last()) {
        (Some(b'{'), Some(b'}')) => {
            let Ok(object) = object(text) else { return false };
            show(&object, reader);
            true
        }
        (Some(b'['), Some(b']')) => {
            let Some(elements) = value(text).ok().as_ref().and_then(Raw::elements) else { return false };
            for object in elements.iter().filter_map(Raw::object) {
                show(&object, reader);
            }
            true
        }
        _ => false,
    }
}

fn show(object: &Object<'_>, reader: &mut dyn Skim) {
    for (name, value) in object.members() {
        match reader.wants(&name) {
            Want::Value { limit } if value.text().len() <= limit => reader.member(&name, value),
            Want::Pieces => reader.piece(value.text()),
            Want::Value { .. } => reader.too_large(&name),
            Want::Nothing => {}
        }
    }
    reader.object_ends();
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keeps `a` up to ten bytes, sees `p` in pieces, and notes where objects end.
    #[derive(Default)]
    struct Reader {
        seen: Vec<String>,
        pieces: Vec<u8>,
    }

    impl Skim for Reader {
        fn wants(&mut self, name: &str) -> Want {
            match name {
                "a" => Want::Value { limit: 10 },
                "p" => Want::Pieces,
                _ => Want::Nothing,
            }
        }

        fn member(&mut self, name: &str, value: Raw<'_>) {
            self.seen.push(format!("{name}={}", String::from_utf8_lossy(value.text())));
        }

        fn too_large(&mut self, name: &str) {
            self.seen.push(format!("{name} is too large"));
        }

        fn piece(&mut self, text: &[u8]) {
            self.pieces.extend_from_slice(text);
        }

        fn object_ends(&mut self) {
            self.seen.push("end".to_owned());
        }
    }

    fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<String>, String) {
        let (mut skimmer, mut reader) = (Skimmer::default(), Reader::default());
        for piece in pieces {
            skimmer.push(piece, &mut reader);
        }
        (reader.seen, String::from_utf8_lossy(&reader.pieces).into_owned())
    }

    /// The same at any cut in two, in single bytes, and whole.
    fn check(text: &str, seen: &[&str], pieces: &str) {
        let bytes = text.as_bytes();
        for cut in 0..=bytes.len() {
            let (found, passed) = read([&bytes[..cut], &bytes[cut..]]);
            assert_eq!(
                (found.as_slice(), passed.as_str()),
                (seen.map_strings().as_slice(), pieces),
                "cut at {cut}: {text}"
            );
        }
        let (found, passed) = read(bytes.chunks(1));
        assert_eq!((found, passed.as_str()), (seen.map_strings(), pieces), "in single bytes: {text}");
    }

    trait Strings {
        fn map_strings(&self) -> Vec<String>;
    }

    impl Strings for &[&str] {
        fn map_strings(&self) -> Vec<String> {
            self.iter().map(|text| (*text).to_owned()).collect()
        }
    }

    #[test]
    fn wanted_members_are_seen_at_any_cut() {
        check(r#"{"a":1}"#, &["a=1", "end"], "");
        check(
            r#" { "x" : [1,{"a":2}] , "a" : "q\"}" , "\u0061":null } "#,
            &["a=\"q\\\"}\"", "a=null", "end"],
            "",
        );
        check(r#"{"a":{"b":[]},"y":"\\","a":true}"#, &["a={\"b\":[]}", "a=true", "end"], "");
        check("{}", &["end"], "");
        check(r#"{"p":[{"é":"x"},2],"q":1,"p":3}"#, &["end"], r#"[{"é":"x"},2]3"#);
    }

    #[test]
    fn values_over_their_limit_are_left_out() {
        check(r#"{"a":"0123456789","a":[1],"z":0}"#, &["a is too large", "a=[1]", "end"], "");
    }

    #[test]
    fn objects_may_follow_each_other_or_stand_in_an_array() {
        check("{\"a\":1}\n{\"a\":2}\n", &["a=1", "end", "a=2", "end"], "");
        check(r#"[{"a":1}, {"a":[2]} ]"#, &["a=1", "end", "a=[2]", "end"], "");
    }

    #[test]
    fn what_is_no_object_shows_nothing() {
        for text in ["", "nonsense", "data: {}", "\"{}\"", "{x}"] {
            check(text, &[], "");
        }
        check(r#"{"a":1,"b"#, &["a=1"], "");
    }

    #[test]
    fn random_bytes_never_panic() {
        let mut state = 5_u64;
        let alphabet = b"{}[]\",:\\ap1 \n\xff";
        for _ in 0..20_000 {
            let text: Vec<u8> = (0..30)
                .map(|_| {
                    state =
                        state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    alphabet[usize::try_from(state >> 33).unwrap() % alphabet.len()]
                })
                .collect();
            let _ = read(text.chunks(7));
            let _ = read([text.as_slice()]);
        }
    }
}
