//! What is wrong with a configuration, as one line.

use std::fmt;

/// A complaint about a configuration: where, and what. It never holds the value itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// JSON path, such as `providers[2].awsRegion`; empty for the document as a whole.
    pub path: String,
    /// What is wrong there.
    pub message: String,
}

impl ConfigError {
    /// A complaint about what stands at `path`.
    #[must_use]
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        // One line, whatever a message quotes.
        f.write_str(&self.message.replace(|c: char| c.is_control(), " "))
    }
}

impl std::error::Error for ConfigError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_with_its_path_in_front() {
        for (path, message, expected) in [
            ("providers[2].awsRegion", "expected a string", "providers[2].awsRegion: expected a string"),
            ("", "not valid JSON", "not valid JSON"),
            ("a", "one\r\ntwo\u{1b}[31m", "a: one  two [31m"),
        ] {
            assert_eq!(ConfigError::new(path, message).to_string(), expected);
        }
    }
}
