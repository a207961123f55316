//! What OpenAI's models take, as far as their names tell. Clients of other APIs than OpenAI's cannot know it.

/// What a model is asked for without refusing the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Takes {
    /// `reasoning`.
    pub(super) effort: bool,
    /// `temperature` and `top_p`, with another value than 1.
    pub(super) sampling: bool,
}

impl Takes {
    /// Nothing is known against it.
    pub(super) const ALL: Self = Self { effort: true, sampling: true };

    /// What the model of this name takes. It may be a deployment that somebody has named: then nobody knows.
    ///
    /// Models that do not think [refuse an effort](https://github.com/BoundaryML/baml/pull/2708), and those that think
    /// [a temperature](https://community.openai.com/t/gpt-5-models-temperature/1337957), but where they are told not to
    /// think at all. What ChatGPT itself uses is among the first in its version 5; the later ones of it
    /// think as much as they like.
    pub(super) fn of(model: &str) -> Self {
        // One that was trained further is like the one that it comes of.
        let name = model.strip_prefix("ft:").unwrap_or(model);
        let begins = |names: &[&str]| names.iter().any(|begin| name.starts_with(begin));
        if begins(&["gpt-3", "gpt-4", "chatgpt-", "gpt-5-chat"]) {
            return Self { effort: false, sampling: true };
        }
        let version = |begin: &str| {
            let rest = name.strip_prefix(begin)?;
            let end = rest.find(|char: char| !char.is_ascii_digit()).unwrap_or(rest.len());
            rest.get(..end)?.parse::<u32>().ok()
        };
        let thinks = version("gpt-").is_some_and(|version| version >= 5) || version("o").is_some();
        match thinks {
            true => Self { effort: !name.contains("-chat"), sampling: false },
            false => Self::ALL,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_models_name_tells_what_it_takes() {
        let check = |names: &[&str], effort: bool, sampling: bool| {
            for name in names {
                assert_eq!(Takes::of(name), Takes { effort, sampling }, "{name}");
            }
        };
        let old =
            ["gpt-3.5-turbo", "gpt-4", "gpt-4o-mini", "gpt-4.1", "chatgpt-4o-latest", "gpt-5-chat-latest"];
        check(&old, false, true);
        check(&["ft:gpt-4o-2024-08-06:org::id"], false, true);
        let thinking =
            ["gpt-5", "gpt-5-mini", "gpt-5.5", "gpt-5.3-codex", "gpt-6", "gpt-10", "o1", "o3-pro", "o4-mini"];
        check(&thinking, true, false);
        check(&["gpt-5.2-chat-latest"], false, false);
        check(&["", "my-deployment", "gpt-oss-120b", "omni", "gpt-image-1", "claude-sonnet-4-5"], true, true);
    }
}
