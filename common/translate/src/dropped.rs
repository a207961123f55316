//! What a client asked for and its vendor is not told.

/// So many names fit into a header that nobody has to scroll through.
const MAX_NAMES: usize = 32;
/// No name of a published API is longer; a client may send any.
const MAX_NAME: usize = 96;

/// The names of request members that had no place in the vendor's API: `top_k`, `messages.content.citations`.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Dropped {
    names: Vec<String>,
}

impl Dropped {
    /// Takes a name, once. Lists are passed over: their members are named like an object's. What is no name of a
    /// published API is not repeated to anyone, but that there was one is.
    pub(crate) fn name(&mut self, name: &str) {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
        let is_name = !name.is_empty() && name.len() <= MAX_NAME && name.bytes().all(is_plain);
        let name = if is_name { name } else { "?" };
        if self.names.len() < MAX_NAMES && !self.names.iter().any(|known| known == name) {
            self.names.push(name.to_owned());
        }
    }

    /// Takes the name of a member of what is called `of`; of the request itself, where that is nothing.
    pub(crate) fn member(&mut self, of: &str, name: &str) {
        if of.is_empty() {
            self.name(name);
        } else {
            self.name(&format!("{of}.{name}"));
        }
    }

    /// The names, in the order in which they came.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// The names as the value of a header; `None` where there are none.
    pub(crate) fn header(&self) -> Option<String> {
        (!self.names.is_empty()).then(|| self.names.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_once_and_none_breaks_the_header() {
        let mut dropped = Dropped::default();
        assert_eq!(dropped.header(), None);
        for name in ["top_k", "tools.cache_control", "top_k", "a\r\nx: y", "", &"n".repeat(97)] {
            dropped.name(name);
        }
        assert_eq!(dropped.header().as_deref(), Some("top_k, tools.cache_control, ?"));
        for number in 0..100 {
            dropped.name(&format!("m{number}"));
        }
        assert_eq!(dropped.header().unwrap().split(", ").count(), MAX_NAMES);
    }
}
