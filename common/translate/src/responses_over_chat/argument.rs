//! The one text that a function of a custom tool is called with, taken out of its arguments as they come.

use common::json;

/// So much may stand before the text, in spaces too.
const MAX_BEFORE: usize = 64;
const NAME: &[u8] = br#""input""#;

/// `{"input":"…"}`, seen piece by piece; what is not of this form is the text itself.
#[derive(Debug)]
pub(super) struct Argument {
    stage: Stage,
    /// The arguments while nobody knows what they are; then what has begun of an escape.
    held: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Before,
    Inside,
    After,
    /// It has another form, which is known when it is complete.
    Other,
}

/// What an escape has come to.
enum Escape {
    /// More has to come.
    Open,
    /// It is over: this stands for it inside a JSON string.
    Is(Vec<u8>),
    /// It was half a pair of two, and this one is not the other half.
    Alone,
}

impl Argument {
    pub(super) fn new() -> Self {
        Self { stage: Stage::Before, held: Vec::new() }
    }

    /// Takes a piece of the arguments. What is known of the text by then is added to `out`, as it stands inside a
    /// JSON string.
    pub(super) fn push(&mut self, piece: &str, out: &mut Vec<u8>) {
        match self.stage {
            Stage::Before => {
                self.held.extend_from_slice(piece.as_bytes());
                match begins(&self.held) {
                    Some(Some(start)) => {
                        let held = std::mem::take(&mut self.held);
                        self.stage = Stage::Inside;
                        self.inside(held.get(start..).unwrap_or_default(), out);
                    }
                    Some(None) if self.held.len() <= MAX_BEFORE => {}
                    _ => self.stage = Stage::Other,
                }
            }
            Stage::Inside => self.inside(piece.as_bytes(), out),
            Stage::Other => self.held.extend_from_slice(piece.as_bytes()),
            Stage::After => {}
        }
    }

    /// The arguments are complete: adds what was not known before.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        let held = std::mem::take(&mut self.held);
        if matches!(self.stage, Stage::Before | Stage::Other) {
            let object = json::object(&held).ok();
            let input = object.and_then(|object| object.get("input")?.as_str().map(|text| text.into_owned()));
            let text = input.unwrap_or_else(|| String::from_utf8_lossy(&held).into_owned());
            let quoted = json::string(&text);
            out.extend_from_slice(quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default());
        }
        self.stage = Stage::After;
    }

    fn inside(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        for byte in piece.iter().copied() {
            if !self.held.is_empty() {
                self.held.push(byte);
                match escape(&self.held) {
                    Escape::Open => continue,
                    Escape::Is(text) => {
                        out.extend_from_slice(&text);
                        self.held.clear();
                        continue;
                    }
                    Escape::Alone => {
                        out.extend_from_slice(br"\ufffd");
                        // What follows the half is on its own: its backslash, and another byte or none.
                        let kept = if self.held.len() > 7 { b"\\".to_vec() } else { Vec::new() };
                        self.held = kept;
                        if !self.held.is_empty() {
                            self.held.push(byte);
                            if let Escape::Is(text) = escape(&self.held) {
                                out.extend_from_slice(&text);
                                self.held.clear();
                            }
                            continue;
                        }
                    }
                }
            }
            match byte {
                b'"' => {
                    self.stage = Stage::After;
                    return;
                }
                b'\\' => self.held.push(byte),
                0..=0x1f => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
                _ => out.push(byte),
            }
        }
    }
}

/// Where the text begins: `Some(None)`, not yet; `None`, it has another form.
fn begins(text: &[u8]) -> Option<Option<usize>> {
    let mut rest = text.trim_ascii_start();
    for token in [&b"{"[..], NAME, b":", b"\""] {
        let same = rest.iter().zip(token).take_while(|(one, other)| one == other).count();
        if same < token.len() {
            return (same == rest.len()).then_some(None);
        }
        rest = rest.get(same..)?;
        if token != b"\"" {
            rest = rest.trim_ascii_start();
        }
    }
    Some(Some(text.len() - rest.len()))
}

/// Models write escapes that JSON has not, and halves of pairs: readers refuse both.
fn escape(text: &[u8]) -> Escape {
    let unit = |digits: &[u8]| {
        let text =
            std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|it| it.is_ascii_hexdigit()));
        text.and_then(|text| u32::from_str_radix(text, 16).ok())
    };
    match text {
        [_] => Escape::Open,
        [_, b'u', digits @ ..] if digits.len() < 4 => Escape::Open,
        [_, b'u', a, b, c, d, behind @ ..] => match unit(&[*a, *b, *c, *d]) {
            Some(0xd800..=0xdbff) => match behind {
                [] | [b'\\'] => Escape::Open,
                [b'\\', b'u', digits @ ..] if digits.len() < 4 => Escape::Open,
                [b'\\', b'u', digits @ ..] => match unit(digits) {
                    Some(0xdc00..=0xdfff) => Escape::Is(text.to_vec()),
                    // Both are of no use.
                    _ => Escape::Is(br"\ufffd\ufffd".to_vec()),
                },
                _ => Escape::Alone,
            },
            Some(0xdc00..=0xdfff) | None => Escape::Is(br"\ufffd".to_vec()),
            Some(_) => Escape::Is(text.to_vec()),
        },
        [_, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't'] => Escape::Is(text.to_vec()),
        [_, other @ 0..=0x1f, ..] => Escape::Is(format!("\\\\\\u{other:04x}").into_bytes()),
        [backslash, other, ..] => Escape::Is(vec![*backslash, *backslash, *other]),
        [] => Escape::Open,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(arguments: &str, expected: &str) {
        let of = |pieces: &[&str]| {
            let (mut argument, mut out) = (Argument::new(), Vec::new());
            pieces.iter().for_each(|piece| argument.push(piece, &mut out));
            argument.finish(&mut out);
            let quoted = [b"\"", out.as_slice(), b"\""].concat();
            serde_json::from_slice::<String>(&quoted).unwrap()
        };
        assert_eq!(of(&[arguments]), expected, "{arguments}");
        let chars: Vec<String> = arguments.chars().map(String::from).collect();
        assert_eq!(
            of(&chars.iter().map(String::as_str).collect::<Vec<_>>()),
            expected,
            "{arguments}, in pieces"
        );
    }

    #[test]
    fn the_text_is_what_stands_under_its_name() {
        check(r#"{"input":"a\n\"b\" ü \u00e9 \ud83d\ude00"}"#, "a\n\"b\" ü é 😀");
        check(r#" { "input" : "a" , "x" : 1 } "#, "a");
        check(r#"{"x":1,"input":"a"}"#, "a");
        check(r#"{"input":"cut sh"#, "cut sh");
        check(r#"{"input":"cut\"#, "cut");
        check(r#"{"input":""}"#, "");
    }

    #[test]
    fn what_has_another_form_is_the_text_itself() {
        for arguments in
            ["", "*** Begin Patch\n", "{\"input\":7}", "{\"patch\":\"x\"}", "[1]", "{", "{\"input\":"]
        {
            check(arguments, arguments);
        }
        check(&format!("{{{}\"input\":\"a\"}}", " ".repeat(100)), "a");
    }

    #[test]
    fn what_is_no_json_in_it_becomes_some() {
        check("{\"input\":\"a\nb\tc\"}", "a\nb\tc");
        check(r#"{"input":"\d \' \u12"}"#, "\\d \\' \u{fffd}");
        check(
            r#"{"input":"\ud83dx \ude00 \ud83d\n \ud83d\u0041"}"#,
            "\u{fffd}x \u{fffd} \u{fffd}\n \u{fffd}\u{fffd}",
        );
    }
}
