//! Ids of calls of tools.

/// An id that every vendor takes: Anthropic refuses all but letters, digits, `_` and `-`, and others are not as strict
/// (`functions.Bash:0`).
pub(super) fn plain(id: &str) -> String {
    let plain =
        |char: char| if char.is_ascii_alphanumeric() || matches!(char, '_' | '-') { char } else { '_' };
    id.chars().map(plain).collect()
}
