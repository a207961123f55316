//! Where a body is cut into the pieces it is sent in.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::Wrong;
use crate::wire::Chunk;

/// Seeds a case is played with if a cut of it is `random`.
pub(super) const SEEDS: [u64; 3] = [1, 2, 3];

/// So many of the pieces of a fine cut go out one by one, [`PACE`] apart; the rest follow at once.
const PACED: usize = 256;
/// Long enough for Envoy to read a piece before the next is there.
const PACE: Duration = Duration::from_millis(1);
/// Pieces of a random cut have at most this many bytes.
const LONGEST: u64 = 64;

/// How a body is cut.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value")]
pub(super) enum Cut {
    /// In one piece.
    Whole,
    /// Byte by byte.
    Bytes,
    /// At places that depend on the seed alone; without one, at each of [`SEEDS`].
    Random(Option<u64>),
    /// Before the bytes with these numbers.
    At(Vec<usize>),
}

impl TryFrom<Value> for Cut {
    type Error = Wrong;

    fn try_from(value: Value) -> Result<Self, Wrong> {
        let text = match &value {
            Value::Array(_) => {
                return serde_json::from_value(value)
                    .map(Self::At)
                    .map_err(|error| Wrong::new(format!("cut: {error}")));
            }
            Value::String(text) => text.as_str(),
            _ => "",
        };
        let seed = text.strip_prefix("random(").and_then(|rest| rest.strip_suffix(')')?.parse().ok());
        match (text, seed) {
            ("whole", _) => Ok(Self::Whole),
            ("bytes", _) => Ok(Self::Bytes),
            ("random", _) => Ok(Self::Random(None)),
            (_, Some(seed)) => Ok(Self::Random(Some(seed))),
            _ => Err(Wrong::new(format!(
                "cut: `{value}` is none of whole, bytes, random, random(<seed>), [<place>, …]"
            ))),
        }
    }
}

impl Cut {
    /// The pieces, in order and none empty.
    pub(super) fn pieces(&self, body: &[u8], seed: u64) -> Vec<Chunk> {
        let places: Vec<usize> = match self {
            Self::Whole => Vec::new(),
            Self::Bytes => (1..body.len()).collect(),
            Self::Random(own) => random_places(body.len(), own.unwrap_or(seed)),
            Self::At(places) => places.clone(),
        };
        let mut pieces = Vec::new();
        let mut start = 0;
        for end in places.into_iter().chain([body.len()]) {
            let end = end.min(body.len());
            if start < end {
                let delay = if (1..PACED).contains(&pieces.len()) { PACE } else { Duration::ZERO };
                pieces.push(Chunk::after(delay, &body[start..end]));
                start = end;
            }
        }
        pieces
    }
}

/// The pieces of a body that is cut at random places, for what is no scenario.
pub(crate) fn at_random(body: &[u8], seed: u64) -> Vec<Chunk> {
    Cut::Random(Some(seed)).pieces(body, seed)
}

fn random_places(length: usize, seed: u64) -> Vec<usize> {
    let mut state = seed;
    let mut places = Vec::new();
    let mut place = 0;
    while place < length {
        place += 1 + (splitmix(&mut state) % LONGEST) as usize;
        places.push(place);
    }
    places
}

/// The next number of the SplitMix64 sequence.
fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> Result<Cut, String> {
        serde_yaml_ng::from_str(text).map_err(|error| error.to_string())
    }

    fn check(text: &str, body: &str, expected: &[&str]) {
        let pieces = cut(text).unwrap().pieces(body.as_bytes(), 0);
        let pieces: Vec<_> = pieces.iter().map(|piece| std::str::from_utf8(&piece.bytes).unwrap()).collect();
        assert_eq!(pieces, expected, "{text}");
    }

    #[test]
    fn bodies_are_cut_as_told() {
        check("whole", "abc", &["abc"]);
        check("whole", "", &[]);
        check("bytes", "abc", &["a", "b", "c"]);
        check("[1, 3, 99]", "abcd", &["a", "bc", "d"]);
    }

    #[test]
    fn random_cuts_lose_nothing_and_repeat_themselves() {
        let body: Vec<u8> = (0..=255).cycle().take(2000).collect();
        let pieces = |seed| Cut::Random(None).pieces(&body, seed);
        for seed in SEEDS {
            assert_eq!(pieces(seed).iter().flat_map(|piece| piece.bytes.clone()).collect::<Vec<_>>(), body);
            assert_eq!(pieces(seed), pieces(seed));
        }
        assert_ne!(pieces(1), pieces(2));
        assert_eq!(cut("random(7)").unwrap().pieces(&body, 1), pieces(7));
    }

    #[test]
    fn an_unknown_cut_is_an_error() {
        for text in ["halves", "random(x)", "7"] {
            assert!(cut(text).unwrap_err().contains("is none of whole, bytes"), "{text}");
        }
    }
}
