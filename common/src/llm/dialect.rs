//! Families of wire formats that clients speak.

use super::api::Api;

/// The family of formats that a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// OpenAI's, and whatever is compatible with it.
    OpenAi,
    /// Anthropic's.
    Anthropic,
    /// Google's Gemini.
    Gemini,
}

impl Dialect {
    /// The dialect of an operation: whose name its own begins with, so that no new one is forgotten here.
    #[must_use]
    pub fn of(api: Api) -> Self {
        let name = api.name();
        if name.starts_with("anthropic/") {
            Self::Anthropic
        } else if name.starts_with("gemini/") {
            Self::Gemini
        } else {
            Self::OpenAi
        }
    }

    /// The dialect that a client speaks who asks for this path, query or not. OpenAI's where none is named.
    #[must_use]
    pub fn of_path(path: &str) -> Self {
        let path = path.split('?').next().unwrap_or_default();
        Api::detect(path).map_or(Self::OpenAi, |(api, _)| Self::of(api))
    }
}

#[cfg(test)]
mod tests {
    use super::Dialect;

    #[test]
    fn the_path_says_which_dialect_is_spoken() {
        let dialect = |path| Dialect::of_path(path);
        assert_eq!(dialect("/v1/chat/completions?x=1"), Dialect::OpenAi);
        assert_eq!(dialect("/ai/v1/messages?beta=true"), Dialect::Anthropic);
        assert_eq!(dialect("/v1/messages/count_tokens"), Dialect::Anthropic);
        assert_eq!(dialect("/v1beta/models/m:streamGenerateContent?alt=sse"), Dialect::Gemini);
        assert_eq!(dialect("/v1/models/m:generateContent"), Dialect::Gemini);
        assert_eq!(dialect("/v1/complete"), Dialect::Anthropic);
        assert_eq!(dialect("/whatever"), Dialect::OpenAi);
    }
}
