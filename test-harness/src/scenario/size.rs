//! Sizes such as `20MiB`.

use serde::Deserialize;
use serde_json::Value;

use super::Wrong;

/// A number of bytes; `20MiB`, `64KiB` or a plain number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value")]
pub(super) struct Size(pub(super) usize);

impl TryFrom<Value> for Size {
    type Error = Wrong;

    fn try_from(value: Value) -> Result<Self, Wrong> {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let units = [("KiB", 1 << 10), ("MiB", 1 << 20), ("", 1)];
        let read = |(unit, factor)| Some(text.strip_suffix(unit)?.trim().parse::<usize>().ok()? * factor);
        units
            .into_iter()
            .find_map(read)
            .map(Self)
            .ok_or_else(|| Wrong::new(format!("`{text}` is no size such as 64KiB or 20MiB")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_units() {
        let check = |text: &str, expected: Option<usize>| {
            assert_eq!(serde_yaml_ng::from_str::<Size>(text).ok().map(|size| size.0), expected, "{text}");
        };
        check("12", Some(12));
        check("64KiB", Some(65_536));
        check("20 MiB", Some(20 << 20));
        check("20MB", None);
        check("-1", None);
        check("1.5", None);
    }
}
