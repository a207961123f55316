//! A form that is edited while it passes.

use super::{Form, MAX_BOUNDARY, MAX_FIELD, MAX_PADDING, MultipartError, State};

/// Is asked for each value of a field, and once for `None` if the form closes without one; says what stands in
/// the form instead.
pub type Revise<'a> = dyn FnMut(Option<&[u8]>) -> Option<Vec<u8>> + 'a;

/// A form that is edited while it passes: however long it is, only what may have to change is kept back.
#[derive(Debug)]
pub struct Passing {
    form: Form,
    field: &'static str,
    /// What has come and not gone.
    window: Vec<u8>,
    /// The field has stood in the form.
    has_field: bool,
}

impl Passing {
    /// A form of which nothing has come yet, and the name of the field that matters.
    #[must_use]
    pub fn new(form: Form, field: &'static str) -> Self {
        Self { form, field, window: Vec::new(), has_field: false }
    }

    /// Takes the next piece of the form and writes what may go. `end`: that is all.
    ///
    /// # Errors
    /// This is no form, or one beyond the limits, or a new value cannot be carried. It cannot go on.
    pub fn push(
        &mut self,
        piece: &[u8],
        end: bool,
        revise: &mut Revise<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), MultipartError> {
        if self.form.is_closed() {
            out.extend_from_slice(piece);
            return Ok(());
        }
        self.window.extend_from_slice(piece);
        self.form.read(&self.window, end)?;
        let mut gone = 0;
        let window = self.window.as_slice();
        let mut pass = |out: &mut Vec<u8>, to: usize, next: usize| {
            out.extend_from_slice(window.get(gone..to).unwrap_or_default());
            gone = next;
        };
        for part in self.form.named(self.field) {
            self.has_field = true;
            if part.value.len() > MAX_FIELD {
                return Err(MultipartError::FieldTooLong);
            }
            let Some(value) = self.form.carried(revise(Some(part.value(window))))? else { continue };
            pass(out, part.value.start, part.value.end);
            out.extend_from_slice(&value);
            if !value.is_empty() && self.form.has_dashes(window, part.value.end) {
                out.extend_from_slice(self.form.newline);
            }
        }
        let settled = match &self.form.state {
            State::Closed { start } => {
                if !self.has_field
                    && let Some(value) = self.form.carried(revise(None))?
                {
                    pass(out, *start, *start);
                    self.form.add(window, out, *start, self.field, &value);
                }
                window.len()
            }
            State::Value { name, start, .. } if name.as_deref() == Some(self.field.as_bytes()) => {
                // With it may stand here what is going to be a boundary.
                if window.len() - start > MAX_FIELD + MAX_BOUNDARY + MAX_PADDING + 8 {
                    return Err(MultipartError::FieldTooLong);
                }
                *start
            }
            _ => self.form.settled(window),
        };
        pass(out, settled, settled);
        self.window.drain(..settled);
        self.form.forget(settled);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{FORM, TYPE};
    use super::super::{MAX_PART_HEAD, MAX_PARTS};
    use super::*;

    type Revision = fn(Option<&[u8]>) -> Option<Vec<u8>>;

    /// What passes in pieces of this size, with every value of `model` revised.
    fn passed(body: &[u8], step: usize, revise: Revision) -> Result<Vec<u8>, MultipartError> {
        let mut passing = Passing::new(Form::new(TYPE).unwrap(), "model");
        let mut out = Vec::new();
        for piece in body.chunks(step) {
            passing.push(piece, false, &mut |value| revise(value), &mut out)?;
            assert!(passing.window.len() <= step + MAX_PART_HEAD);
        }
        passing.push(b"", true, &mut |value| revise(value), &mut out)?;
        Ok(out)
    }

    #[test]
    fn a_form_that_passes_is_edited_however_it_is_cut() {
        let revise: Revision = |value| match value {
            Some(b"keep") => None,
            Some(value) => Some([value, b"+"].concat()),
            None => Some(b"new".to_vec()),
        };
        let framed = format!("before --b\r\n{FORM}after\r\n--b--");
        let twice = format!("{}{FORM}", FORM.strip_suffix("--b--\r\n").unwrap());
        let added = FORM.replace("=\"model\"", "=\"n\"");
        let newlines = FORM.replace("\r\n", "\n");
        let part = "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nnew\r\n--b--";
        for (body, expected) in [
            (FORM, FORM.replace("m-1", "m-1+")),
            (&framed, framed.replace("m-1", "m-1+")),
            (&twice, twice.replace("m-1", "m-1+")),
            (&newlines, newlines.replace("m-1", "m-1+")),
            (&FORM.replace("m-1", "keep"), FORM.replace("m-1", "keep")),
            (&FORM.replace("m-1", ""), FORM.replace("m-1", "+")),
            (&added, added.replace("--b--", part)),
            ("--b--", part.to_owned()),
        ] {
            for step in (1..40).chain([1000]) {
                let out = passed(body.as_bytes(), step, revise).unwrap();
                assert_eq!(String::from_utf8(out).unwrap(), expected, "by {step}");
            }
        }
    }

    #[test]
    fn a_form_that_passes_is_refused_as_one_that_does_not() {
        let same: Revision = |_| None;
        for body in
            ["", "text", "--b\r\nX: y", "--b\r\nno field\r\n\r\nx\r\n--b--", &FORM.replace("--b--", "--b--x")]
        {
            for step in [1, 7, 1000] {
                let expected = Form::of(TYPE, body.as_bytes()).map(|_| ()).unwrap_err();
                assert_eq!(passed(body.as_bytes(), step, same), Err(expected), "{body:?} by {step}");
            }
        }
        let long = FORM.replace("m-1", &"m".repeat(MAX_FIELD + 9));
        for step in [1000, 40_000] {
            assert!(passed(long.as_bytes(), step, same) == Err(MultipartError::FieldTooLong), "by {step}");
        }
        let ending: Revision = |value| value.map(|_| b"--b--".to_vec());
        assert_eq!(passed(FORM.as_bytes(), 7, ending), Err(MultipartError::ValueHoldsBoundary));
        let many = "--b\r\nX: y\r\n\r\nv\r\n".repeat(MAX_PARTS + 1) + "--b--";
        assert_eq!(passed(many.as_bytes(), 1000, same), Err(MultipartError::TooManyParts));
    }

    #[test]
    fn a_large_file_is_not_kept() {
        let file = vec![b'-'; 4 << 20];
        let (before, after) = FORM.split_once("\0").unwrap();
        let body = [before.as_bytes(), &file, after.as_bytes()].concat();
        let mut passing = Passing::new(Form::new(TYPE).unwrap(), "model");
        let mut out = Vec::new();
        for piece in body.chunks(16 << 10) {
            passing.push(piece, false, &mut |_| None, &mut out).unwrap();
            assert!(passing.window.len() < 64, "{}", passing.window.len());
        }
        passing.push(b"", true, &mut |_| None, &mut out).unwrap();
        assert!(out == body);
    }
}
