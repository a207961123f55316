//! A whole form, edited.

use super::{Form, MultipartError, State};

/// Changes of one form, collected and then made in one go. Of two values for one name the later wins.
#[derive(Debug)]
pub struct Edit<'a> {
    form: &'a Form,
    body: &'a [u8],
    values: Vec<(&'a str, Vec<u8>)>,
}

impl<'a> Edit<'a> {
    /// No change yet of this form, which was read in this very body and to its end.
    #[must_use]
    pub fn new(form: &'a Form, body: &'a [u8]) -> Self {
        Self { form, body, values: Vec::new() }
    }

    /// Gives every part of that name this value; adds one before the closing boundary where there is none.
    ///
    /// # Errors
    /// The value holds the boundary.
    pub fn set(&mut self, name: &'a str, value: &[u8]) -> Result<(), MultipartError> {
        self.form.carried(Some(value))?;
        self.values.retain(|(known, _)| *known != name);
        self.values.push((name, value.to_vec()));
        Ok(())
    }

    /// Whether nothing would change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The edited body.
    ///
    /// # Errors
    /// The form has not been read to its end.
    pub fn finish(self) -> Result<Vec<u8>, MultipartError> {
        let State::Closed { start } = self.form.state else { return Err(MultipartError::Unclosed) };
        let mut out = Vec::with_capacity(self.body.len() + 256);
        let mut at = 0;
        let mut keep = |out: &mut Vec<u8>, to: usize, next: usize| {
            out.extend_from_slice(self.body.get(at..to).unwrap_or_default());
            at = next;
        };
        for part in &self.form.parts {
            let new = self.values.iter().find(|(name, _)| part.name.as_deref() == Some(name.as_bytes()));
            if let Some((_, value)) = new {
                keep(&mut out, part.value.start, part.value.end);
                out.extend_from_slice(value);
                // Behind an empty value the boundary may stand at once; behind any other it may not.
                if !value.is_empty() && self.form.has_dashes(self.body, part.value.end) {
                    out.extend_from_slice(self.form.newline);
                }
            }
        }
        keep(&mut out, start, start);
        for (name, value) in &self.values {
            if self.form.named(name).next().is_none() {
                self.form.add(self.body, &mut out, start, name, value);
            }
        }
        keep(&mut out, self.body.len(), self.body.len());
        Ok(out)
    }
}
