//! What a Claude model takes, told by its name. Sources:
//! [thinking](https://platform.claude.com/docs/en/build-with-claude/thinking),
//! [adaptive thinking](https://platform.claude.com/docs/en/build-with-claude/adaptive-thinking), also
//! [at Amazon](https://docs.aws.amazon.com/bedrock/latest/userguide/claude-messages-adaptive-thinking.html),
//! [effort](https://platform.claude.com/docs/en/build-with-claude/effort) and
//! [all models](https://platform.claude.com/docs/en/about-claude/models/overview).

/// A model. `claude-sonnet-4-5-20250929`, `anthropic/claude-sonnet-4.5` and
/// `us.anthropic.claude-sonnet-4-5-20250929-v1:0` are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Model {
    family: Family,
    version: (u8, u8),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    /// None of Claude's, or one whose name has no version.
    Unknown,
    Opus,
    Sonnet,
    Haiku,
    /// Fable and Mythos, which always think.
    Fable,
    /// The first ones, before there were families.
    Other,
}

/// How a model is told to think.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Thinks {
    Never,
    /// Within a budget of tokens.
    Within,
    /// As much as it finds right, which an effort guides.
    Freely,
}

/// How a model is told not to think.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Off {
    /// It does not unless it is told to.
    Unsaid,
    /// By this `thinking`.
    Told(&'static [u8]),
    /// It cannot be told. With this effort it thinks the least.
    Least(Effort),
}

/// Says that a model is not to think.
pub(super) const OFF: &[u8] = br#"{"type":"disabled"}"#;

/// How hard a model thinks, in words that OpenAI and Anthropic have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effort {
    Low,
    Medium,
    High,
    XHigh,
    Max,
}

impl Effort {
    /// The nearest one to a budget.
    pub(super) fn within(budget: u64) -> Self {
        match budget {
            ..=4608 => Self::Low,
            4609..=12_288 => Self::Medium,
            12_289..=24_576 => Self::High,
            _ => Self::XHigh,
        }
    }

    /// The budget that stands for it where models know none.
    pub(super) fn budget(self) -> u64 {
        match self {
            Self::Low => 1024,
            Self::Medium => 8192,
            Self::High => 16_384,
            Self::XHigh | Self::Max => 32_768,
        }
    }
}

impl Model {
    pub(super) fn of(name: &str) -> Self {
        let number = |word: &[u8]| match word {
            [one @ b'0'..=b'9'] => Some(one - b'0'),
            [ten @ b'0'..=b'9', one @ b'0'..=b'9'] => Some((ten - b'0') * 10 + one - b'0'),
            _ => None,
        };
        let (mut family, mut version) = (Family::Other, None);
        let mut words = name.as_bytes().split(|byte| !byte.is_ascii_alphanumeric()).peekable();
        // Whose it is may stand before.
        let _ = words.find(|word| word == b"claude");
        while let Some(word) = words.next() {
            match word {
                b"opus" => family = Family::Opus,
                b"sonnet" => family = Family::Sonnet,
                b"haiku" => family = Family::Haiku,
                b"fable" | b"mythos" => family = Family::Fable,
                // What is longer is a date.
                _ if version.is_none() => {
                    let minor = words.peek().and_then(|word| number(word));
                    version = number(word).map(|major| (major, minor.unwrap_or(0)));
                }
                _ => {}
            }
        }
        match version {
            Some(version) => Self { family, version },
            // `claude-mythos-preview`
            None if family == Family::Fable => Self { family, version: (5, 0) },
            None => Self { family: Family::Unknown, version: (0, 0) },
        }
    }

    /// How much it may say where the client sets no limit. All that it could would be more than a client expects that
    /// does not stream; later models take 32,000 and more.
    pub(super) fn max_tokens(self) -> u64 {
        match self.version {
            (..=2, _) | (3, ..=4) => 4096,
            (3, ..=6) => 8192,
            _ => 32_000,
        }
    }

    pub(super) fn thinks(self) -> Thinks {
        match self.version {
            _ if self.family == Family::Unknown => Thinks::Within,
            (..=2, _) | (3, ..=6) => Thinks::Never,
            // Budgets are on their way out with 4.6, and gone after it.
            (3, _) | (4, ..=5) => Thinks::Within,
            _ => Thinks::Freely,
        }
    }

    pub(super) fn off(self) -> Off {
        match (self.family, self.version) {
            (Family::Fable, _) => Off::Least(Effort::Low),
            (_, (..=4, _)) => Off::Unsaid,
            (Family::Opus, version) if version >= (5, 5) => Off::Least(Effort::Low),
            // https://platform.claude.com/docs/en/models/sonnet-5-5/whats-new-sonnet-5-5
            (Family::Sonnet, version) if version >= (5, 5) => Off::Told(br#"{"type":"between_tools"}"#),
            _ => Off::Told(OFF),
        }
    }

    /// From 4.7 on `temperature`, `top_p` and `top_k` are refused, unless they say what is so anyway, and thinking
    /// comes without its text, unless that is asked for:
    /// <https://platform.claude.com/docs/en/about-claude/models/whats-new-claude-4-7>.
    pub(super) fn is_after_4_6(self) -> bool {
        self.version > (4, 6)
    }

    /// From Opus 4.1 on `temperature` goes without `top_p`:
    /// <https://platform.claude.com/docs/en/about-claude/models/migration-guide>.
    pub(super) fn takes_one_of_sampling(self) -> bool {
        self.version > (4, 0)
    }

    /// Whether it can be made to call a tool. Thinking within a budget forbids that too:
    /// <https://platform.claude.com/docs/en/models/opus-5-5/whats-new-opus-5-5>.
    pub(super) fn can_be_made_to_call(self) -> bool {
        match self.family {
            Family::Fable => self.version < (5, 1),
            Family::Opus | Family::Sonnet => self.version < (5, 5),
            Family::Haiku | Family::Other | Family::Unknown => true,
        }
    }

    /// The vendor's word for an effort. `xhigh`, the most that OpenAI's clients ask for, is younger than `max`.
    pub(super) fn effort(self, effort: Effort) -> &'static str {
        match effort {
            Effort::Low => "low",
            Effort::Medium => "medium",
            Effort::High => "high",
            Effort::XHigh if self.is_after_4_6() => "xhigh",
            Effort::XHigh | Effort::Max => "max",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_out_of_any_name() {
        for (name, family, version) in [
            ("claude-2.1", Family::Other, (2, 1)),
            ("claude-instant-1.2", Family::Other, (1, 2)),
            ("claude-3-opus-20240229", Family::Opus, (3, 0)),
            ("claude-3-5-sonnet-20241022", Family::Sonnet, (3, 5)),
            ("anthropic.claude-3-5-sonnet-20241022-v2:0", Family::Sonnet, (3, 5)),
            ("claude-3-7-sonnet-latest", Family::Sonnet, (3, 7)),
            ("anthropic/claude-3.7-sonnet:thinking", Family::Sonnet, (3, 7)),
            ("claude-sonnet-4-20250514", Family::Sonnet, (4, 0)),
            ("anthropic.claude-opus-4-v1:0", Family::Opus, (4, 0)),
            ("claude-opus-4-1-20250805", Family::Opus, (4, 1)),
            ("claude-haiku-4-5", Family::Haiku, (4, 5)),
            ("claude-haiku-4-5@20251001", Family::Haiku, (4, 5)),
            ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", Family::Sonnet, (4, 5)),
            ("claude-opus-4.6", Family::Opus, (4, 6)),
            ("claude-opus-4-6[1m]", Family::Opus, (4, 6)),
            ("anthropic.claude-opus-4-6-v1", Family::Opus, (4, 6)),
            ("anthropic/claude-opus-4.7", Family::Opus, (4, 7)),
            ("claude-4.7-opus", Family::Opus, (4, 7)),
            ("claude-opus-5", Family::Opus, (5, 0)),
            ("claude-opus-5-5", Family::Opus, (5, 5)),
            ("claude-opus-10-12", Family::Opus, (10, 12)),
            ("claude-fable-5-1", Family::Fable, (5, 1)),
            ("claude-mythos-preview", Family::Fable, (5, 0)),
            ("claude-opus-latest", Family::Unknown, (0, 0)),
            ("claude", Family::Unknown, (0, 0)),
            ("gpt-5.1", Family::Unknown, (0, 0)),
            ("sonnet-4-5", Family::Unknown, (0, 0)),
            ("", Family::Unknown, (0, 0)),
        ] {
            assert_eq!(Model::of(name), Model { family, version }, "{name}");
        }
    }

    #[test]
    fn what_models_take() {
        use Thinks::{Freely, Never, Within};
        let disabled = Off::Told(OFF);
        let least = Off::Least(Effort::Low);
        let between = Off::Told(br#"{"type":"between_tools"}"#);
        for (name, most, thinks, off, is_after_4_6, calls) in [
            ("m", 4096, Within, Off::Unsaid, false, true),
            ("claude-3-haiku-20240307", 4096, Never, Off::Unsaid, false, true),
            ("claude-3-5-haiku-latest", 8192, Never, Off::Unsaid, false, true),
            ("claude-3-7-sonnet-latest", 32_000, Within, Off::Unsaid, false, true),
            ("claude-sonnet-4-5", 32_000, Within, Off::Unsaid, false, true),
            ("claude-sonnet-4-6", 32_000, Freely, Off::Unsaid, false, true),
            ("claude-opus-4-7", 32_000, Freely, Off::Unsaid, true, true),
            ("claude-sonnet-5", 32_000, Freely, disabled, true, true),
            ("claude-opus-5", 32_000, Freely, disabled, true, true),
            ("claude-haiku-5-5", 32_000, Freely, disabled, true, true),
            ("claude-sonnet-5-5", 32_000, Freely, between, true, false),
            ("claude-opus-5-5", 32_000, Freely, least, true, false),
            ("claude-fable-5", 32_000, Freely, least, true, true),
            ("claude-mythos-5-1", 32_000, Freely, least, true, false),
            ("claude-mythos-preview", 32_000, Freely, least, true, true),
        ] {
            let model = Model::of(name);
            let found = (
                model.max_tokens(),
                model.thinks(),
                model.off(),
                model.is_after_4_6(),
                model.can_be_made_to_call(),
            );
            assert_eq!(found, (most, thinks, off, is_after_4_6, calls), "{name}");
        }
    }

    #[test]
    fn the_nearest_effort_stands_for_a_budget() {
        for effort in [Effort::Low, Effort::Medium, Effort::High, Effort::XHigh] {
            assert_eq!(Effort::within(effort.budget()), effort);
        }
        assert_eq!(Effort::within(u64::MAX), Effort::XHigh);
        let words = |name: &str| [Effort::XHigh, Effort::Max].map(|effort| Model::of(name).effort(effort));
        assert_eq!(words("claude-opus-4-6"), ["max", "max"]);
        assert_eq!(words("claude-opus-4-7"), ["xhigh", "max"]);
    }
}
