//! Bytes as text, [RFC 4648](https://www.rfc-editor.org/rfc/rfc4648#section-4).

const DIGITS: [u8; 64] = *b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Adds the text of these bytes.
pub fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    for three in bytes.chunks(3) {
        let byte = |at: usize| three.get(at).copied().map_or(0, u32::from);
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let digit = bits >> (18 - 6 * place) & 63;
            let digit = DIGITS.get(digit as usize).copied().filter(|_| place <= three.len());
            out.push(digit.unwrap_or(b'='));
        }
    }
}

/// The bytes of a text, in either of the two alphabets, with padding or without.
#[must_use]
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let (mut out, mut bits, mut count) = (Vec::with_capacity(text.len() / 4 * 3), 0_u32, 0);
    for byte in text.iter().filter(|byte| **byte != b'=') {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 1;
        if count == 4 {
            let [_, bytes @ ..] = bits.to_be_bytes();
            out.extend_from_slice(&bytes);
            (bits, count) = (0, 0);
        }
    }
    let [_, first, second, _] = (bits << (6 * ((4 - count) % 4))).to_be_bytes();
    match count {
        2 => out.push(first),
        3 => out.extend_from_slice(&[first, second]),
        _ => {}
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], text: &str) {
        let mut out = Vec::new();
        encode(bytes, &mut out);
        assert_eq!(out, text.as_bytes());
        assert_eq!(decode(text.as_bytes()).as_deref(), Some(bytes));
        assert_eq!(decode(text.trim_end_matches('=').as_bytes()).as_deref(), Some(bytes));
    }

    #[test]
    fn texts_are_those_of_the_rfc() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            check(bytes.as_bytes(), text);
        }
        check(&[0xfb, 0xff, 0xfe, 0xff], "+//+/w==");
        assert_eq!(decode(b"-__-_w"), Some(vec![0xfb, 0xff, 0xfe, 0xff]));
        assert_eq!(decode(b"Zm9v\n"), None);
    }
}
