//! Texts with a cap: of a long one the middle is lost.

/// Stands where the middle was.
pub(crate) const MARK: &str = " [truncated] ";

/// Stands for a text of which nothing could be kept.
pub(crate) const LOST: &str = "[truncated]";

/// A text of at most `limit` bytes: what is longer keeps as many bytes of its beginning and of its end as half
/// the limit is, cut between characters.
pub(crate) fn truncated(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let half = limit / 2;
    let front = floor(text, half);
    let back = text.len() - half;
    let back = (back..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    let (front, back) = (text.get(..front).unwrap_or_default(), text.get(back..).unwrap_or_default());
    format!("{front}{MARK}{back}")
}

/// The end of what fits into so many bytes, between characters.
pub(crate) fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// A text that is added to, and never kept longer than its limit and what is added at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Growing {
    /// The beginning; all of it as long as nothing is lost.
    front: String,
    /// The end, once something may be lost.
    back: String,
    /// Bytes in all.
    size: usize,
}

impl Growing {
    pub(crate) fn push(&mut self, text: &str, limit: usize) {
        self.size = self.size.saturating_add(text.len());
        let room = limit.saturating_sub(self.front.len());
        let fits = if self.back.is_empty() { floor(text, room) } else { 0 };
        let (fits, rest) = text.split_at_checked(fits).unwrap_or((text, ""));
        self.front.push_str(fits);
        self.back.push_str(rest);
        // Moved seldom, so that a long text is not copied for each of its pieces.
        if self.back.len() > limit.saturating_mul(2).max(64) {
            let start = self.back.len() - limit / 2;
            let start = (start..=self.back.len()).find(|at| self.back.is_char_boundary(*at));
            self.back.drain(..start.unwrap_or(0));
        }
    }

    /// The text, cut as [`truncated`] cuts it.
    pub(crate) fn text(&self, limit: usize) -> String {
        if self.size <= limit {
            return format!("{}{}", self.front, self.back);
        }
        let half = limit / 2;
        let front = self.front.get(..floor(&self.front, half)).unwrap_or_default();
        let joined = format!("{}{}", self.front, self.back);
        let back = joined.len().saturating_sub(half);
        let back = (back..=joined.len()).find(|at| joined.is_char_boundary(*at)).unwrap_or(joined.len());
        format!("{front}{MARK}{}", joined.get(back..).unwrap_or_default())
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A text cut to a limit, at once and in pieces of every size.
    fn check(text: &str, limit: usize, expected: &str) {
        assert_eq!(truncated(text, limit), expected);
        for size in 1..=text.chars().count().max(1) {
            let mut growing = Growing::default();
            let chars: Vec<char> = text.chars().collect();
            for piece in chars.chunks(size) {
                growing.push(&piece.iter().collect::<String>(), limit);
            }
            assert_eq!(growing.text(limit), expected, "in pieces of {size}");
        }
    }

    #[test]
    fn the_middle_of_a_long_text_is_lost_worked_case_20() {
        check("abcdefghijklmnop", 10, "abcde [truncated] lmnop");
        check("abcdefghij", 10, "abcdefghij");
        check("", 10, "");
        check("abc", 0, " [truncated] ");
        let long = "0123456789".repeat(100);
        check(&long, 8, "0123 [truncated] 6789");
    }

    #[test]
    fn characters_are_not_cut() {
        check("ääääää", 6, "ä [truncated] ä");
        check("🌍🌍🌍", 10, "🌍 [truncated] 🌍");
    }

    #[test]
    fn what_is_kept_of_an_endless_text_is_bounded() {
        let mut growing = Growing::default();
        for _ in 0..100_000 {
            growing.push("0123456789", 100);
        }
        assert!(growing.front.len() + growing.back.len() < 400);
    }
}
