//! Members of bodies that pass, kept for those who look into them.

use std::rc::Rc;

use crate::json;

/// How many members are remembered for which there was no room.
const MAX_LOST: usize = 32;

/// Members of whole bodies that a reader is asked to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keep {
    /// None.
    Nothing,
    /// Those of these names.
    Members(Rc<[String]>),
    /// All.
    Everything,
}

impl Keep {
    /// Whether a member of that name is to be kept.
    #[must_use]
    pub fn wants(&self, name: &str) -> bool {
        match self {
            Self::Nothing => false,
            Self::Members(names) => names.iter().any(|known| known == name),
            Self::Everything => true,
        }
    }

    /// These and members of other names.
    #[must_use]
    pub fn with(self, others: &[&str]) -> Self {
        let known: &[String] = match &self {
            Self::Everything => return self,
            Self::Nothing => &[],
            Self::Members(names) => names,
        };
        Self::Members(known.iter().cloned().chain(others.iter().map(|name| (*name).to_owned())).collect())
    }
}

/// Members that were kept, as one object again.
#[derive(Debug, Clone, Default)]
pub struct Kept {
    text: Vec<u8>,
    is_closed: bool,
    /// The names of those for which there was no room.
    lost: Vec<String>,
}

impl Kept {
    /// Takes a member, if there is room for it within `limit`.
    pub fn take(&mut self, name: &str, value: &[u8], limit: usize) {
        self.begin();
        if self.text.len() + name.len() + value.len() > limit {
            return self.lose(name);
        }
        self.text.push(if self.text.is_empty() { b'{' } else { b',' });
        json::write_string(&mut self.text, name);
        self.text.push(b':');
        self.text.extend_from_slice(value);
    }

    /// There is a member for which there is no room.
    pub fn lose(&mut self, name: &str) {
        self.begin();
        if self.lost.len() < MAX_LOST {
            self.lost.push(name.to_owned());
        }
    }

    /// Whether there was no room for a member of that name.
    #[must_use]
    pub fn lacks(&self, name: &str) -> bool {
        self.lost.iter().any(|lost| lost == name)
    }

    fn begin(&mut self) {
        if self.is_closed {
            // Another object begins; the last one counts.
            *self = Self::default();
        }
    }

    /// The object has ended.
    pub fn close(&mut self) {
        if !self.is_closed && !self.text.is_empty() {
            self.text.push(b'}');
            self.is_closed = true;
        }
    }

    /// The object, once it is closed; else nothing.
    #[must_use]
    pub fn object(&self) -> &[u8] {
        if self.is_closed { &self.text } else { b"" }
    }
}
