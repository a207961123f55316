//! JSON that grows at random from an API's own names and words, so that they stand where they do not belong.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is the verdict")]

/// What documents grow from.
pub(crate) struct Seed {
    state: u64,
    words: Vec<&'static str>,
    names: Vec<&'static str>,
}

impl Seed {
    /// `words` are values, `names` those of members; spaces are between them.
    pub(crate) fn new(state: u64, words: &'static str, names: &'static str) -> Self {
        Self { state, words: words.split_whitespace().collect(), names: names.split_whitespace().collect() }
    }

    /// One of so many.
    pub(crate) fn pick(&mut self, count: usize) -> usize {
        self.state =
            self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.state >> 33).unwrap() % count
    }

    /// A value with at most so many others around one in it.
    pub(crate) fn grow(&mut self, depth: usize) -> String {
        match self.pick(if depth == 0 { 1 } else { 4 }) {
            1 => {
                let items: Vec<_> = (0..self.pick(4)).map(|_| self.grow(depth - 1)).collect();
                format!("[{}]", items.join(","))
            }
            2 | 3 => {
                let members: Vec<_> = (0..self.pick(7)).map(|_| self.member(depth - 1)).collect();
                format!("{{{}}}", members.join(","))
            }
            _ => {
                let at = self.pick(self.words.len());
                self.words[at].to_owned()
            }
        }
    }

    fn member(&mut self, depth: usize) -> String {
        let at = self.pick(self.names.len());
        let name = self.names[at];
        format!("\"{name}\":{}", self.grow(depth))
    }
}
