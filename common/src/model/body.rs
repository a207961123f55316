//! The model in one body: found where it lies, replaced in place.

use std::borrow::Cow;

use crate::http::multipart::{Edit, Form, MultipartError};
use crate::json::{self, Kind, Object, Patch, Path, Raw};

/// More than this is no model's name.
const MAX_FIELD: usize = 1 << 10;

/// Where the model stands in a body.
#[derive(Debug)]
pub struct Key {
    /// In JSON.
    path: Path,
    /// In a form.
    field: String,
}

impl Key {
    /// A path in JSON, which is the name of a field in forms; `model` if it is empty.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let text = if text.is_empty() { "model" } else { text };
        Self { path: Path::parse(text), field: text.to_owned() }
    }
}

/// How one request's body is read.
#[derive(Debug)]
pub struct Reader(Format);

#[derive(Debug)]
enum Format {
    Json,
    /// JSON, if it begins like an object.
    Untyped,
    Form(Box<Form>),
}

/// Why a body names no model that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoModel {
    /// It is not JSON, or no object.
    #[error(transparent)]
    Json(#[from] json::JsonError),
    /// It is no form.
    #[error(transparent)]
    Form(#[from] MultipartError),
}

/// What a body that has not come to its end shows so far.
#[derive(Debug)]
pub enum Glance<'a> {
    /// Nothing yet.
    Nothing,
    /// That it is none of those that are read.
    Other,
    /// The model.
    Model(Document<'a>),
    /// That it cannot be read.
    Broken(NoModel),
}

impl Reader {
    pub(super) fn json() -> Self {
        Self(Format::Json)
    }

    pub(super) fn untyped() -> Self {
        Self(Format::Untyped)
    }

    pub(super) fn form(form: Form) -> Self {
        Self(Format::Form(Box::new(form)))
    }

    /// Looks at what has come so far; it begins as it did the last time.
    pub fn glance<'a>(&'a mut self, so_far: &'a [u8], key: &Key) -> Glance<'a> {
        match &mut self.0 {
            Format::Json => Glance::Nothing,
            Format::Untyped => match so_far.trim_ascii_start().first() {
                None | Some(b'{') => Glance::Nothing,
                Some(_) => Glance::Other,
            },
            Format::Form(form) => match form.read(so_far, false) {
                Err(error) => Glance::Broken(error.into()),
                Ok(()) if form.named(&key.field).next().is_some() => {
                    Glance::Model(Document { text: so_far, content: Content::Form(form) })
                }
                Ok(()) => Glance::Nothing,
            },
        }
    }

    /// Reads the whole body; `Ok(None)` where it is none of those that are read.
    ///
    /// # Errors
    /// It is not what its content type says.
    pub fn read<'a>(&'a mut self, text: &'a [u8]) -> Result<Option<Document<'a>>, NoModel> {
        let content = match &mut self.0 {
            Format::Untyped if text.trim_ascii_start().first() != Some(&b'{') => return Ok(None),
            Format::Json | Format::Untyped => Content::Json(json::object(text)?),
            Format::Form(form) => {
                form.read(text, true)?;
                Content::Form(form)
            }
        };
        Ok(Some(Document { text, content }))
    }
}

/// A body that can be read.
#[derive(Debug)]
pub struct Document<'a> {
    text: &'a [u8],
    content: Content<'a>,
}

#[derive(Debug)]
enum Content<'a> {
    Json(Object<'a>),
    Form(&'a Form),
}

/// What a body names as its model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Model<'a> {
    /// Nothing, or null.
    Absent,
    /// This name.
    Named(Cow<'a, str>),
    /// Something that is no name: another kind of value, no text, or a very long field.
    Unreadable,
}

impl<'a> Model<'a> {
    fn of(name: Option<Cow<'a, str>>, is_absent: bool) -> Self {
        match name {
            Some(name) => Self::Named(name),
            None if is_absent => Self::Absent,
            None => Self::Unreadable,
        }
    }
}

impl<'a> Document<'a> {
    /// The first model that is named: a body may name it twice, and what is no name must not hide one.
    #[must_use]
    pub fn model(&self, key: &Key) -> Model<'a> {
        match &self.content {
            Content::Json(object) => {
                let values = key.path.values(object);
                let is_absent = values.iter().all(|value| value.kind() == Kind::Null);
                Model::of(values.iter().find_map(Raw::as_str), is_absent)
            }
            Content::Form(form) => {
                let mut values = form.named(&key.field).map(|part| part.value(self.text)).peekable();
                let is_absent = values.peek().is_none();
                let mut short = values.filter(|value| value.len() <= MAX_FIELD);
                let name = short.find_map(|value| std::str::from_utf8(value).ok());
                Model::of(name.map(Cow::Borrowed), is_absent)
            }
        }
    }

    /// Whether the body names this model, wherever it names one, and does so at all.
    #[must_use]
    pub fn names(&self, key: &Key, model: &str) -> bool {
        match &self.content {
            Content::Json(object) => {
                let values = key.path.values(object);
                !values.is_empty() && values.iter().all(|value| value.as_str().as_deref() == Some(model))
            }
            Content::Form(form) => {
                let mut parts = form.named(&key.field).peekable();
                parts.peek().is_some() && parts.all(|part| part.value(self.text) == model.as_bytes())
            }
        }
    }

    /// The body with this model wherever it names one: gateway and vendor must read the same, whichever of two
    /// they read. Where it names none, one is added. Every other byte stays.
    ///
    /// # Errors
    /// A form cannot carry this name, or has not come to its end.
    pub fn with_model(&self, key: &Key, model: &str) -> Result<Vec<u8>, MultipartError> {
        match &self.content {
            Content::Json(object) => {
                let mut patch = Patch::new(self.text);
                key.path.set(&mut patch, object, &json::string(model));
                Ok(patch.finish())
            }
            Content::Form(form) => {
                let mut edit = Edit::new(form, self.text);
                edit.set(&key.field, model.as_bytes())?;
                edit.finish()
            }
        }
    }

    /// The JSON object, where it is one.
    #[must_use]
    pub fn object(&self) -> Option<&Object<'a>> {
        match &self.content {
            Content::Json(object) => Some(object),
            Content::Form(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(key: &str, body: &str, model: &Model<'_>, renamed: &str) {
        let key = Key::new(key);
        let mut reader = Reader::json();
        let document = reader.read(body.as_bytes()).unwrap().unwrap();
        assert_eq!(document.model(&key), *model, "{body}");
        let out = document.with_model(&key, "new").unwrap();
        assert_eq!(String::from_utf8(out.clone()).unwrap(), renamed);
        let mut reader = Reader::json();
        let again = reader.read(&out).unwrap().unwrap();
        assert!(again.names(&key, "new") && !again.names(&key, "x"), "{renamed}");
    }

    fn named(name: &str) -> Model<'_> {
        Model::Named(Cow::Borrowed(name))
    }

    #[test]
    fn the_first_model_counts_and_all_are_replaced() {
        check(
            "",
            r#"{"model":"a","n":{"model":"no"}}"#,
            &named("a"),
            r#"{"model":"new","n":{"model":"no"}}"#,
        );
        check("model", r#"{"model":"a","model":"b"}"#, &named("a"), r#"{"model":"new","model":"new"}"#);
        check("model", r#"{"model":null,"model":"b"}"#, &named("b"), r#"{"model":"new","model":"new"}"#);
        for first in ["1", "[]", r#""\ud800""#, "null", "{}"] {
            let body = format!(r#"{{"model":{first},"model":"b","model":"c"}}"#);
            check("model", &body, &named("b"), r#"{"model":"new","model":"new","model":"new"}"#);
        }
        check("a.m", r#"{"a":{"m":"\u0067pt"}}"#, &named("gpt"), r#"{"a":{"m":"new"}}"#);
    }

    #[test]
    fn absent_null_and_other_values_are_told_apart() {
        check("model", "{}", &Model::Absent, r#"{"model":"new"}"#);
        check("model", r#"{"model":null}"#, &Model::Absent, r#"{"model":"new"}"#);
        for value in ["1", "true", "[]", r#"{"a":"b"}"#, r#""\ud800""#] {
            check("model", &format!(r#"{{"model":{value}}}"#), &Model::Unreadable, r#"{"model":"new"}"#);
        }
    }

    #[test]
    fn a_model_is_named_only_if_it_is_named_everywhere() {
        let key = Key::new("model");
        for (body, names) in [
            (r#"{"model":"a"}"#, true),
            (r#"{"model":"a","model":"a"}"#, true),
            (r#"{"model":"a","model":"b"}"#, false),
            (r#"{"model":"a","model":1}"#, false),
            ("{}", false),
        ] {
            let mut reader = Reader::json();
            assert_eq!(reader.read(body.as_bytes()).unwrap().unwrap().names(&key, "a"), names, "{body}");
        }
    }

    const FORM: &str = "--b\r\ncontent-disposition: form-data; name=model\r\n\r\nm\r\n--b\r\n\
                        content-disposition: form-data; name=file\r\n\r\n\0\r\n--b--";

    fn form() -> Reader {
        Reader::form(Form::new(b"multipart/form-data; boundary=b").unwrap())
    }

    #[test]
    fn a_form_shows_its_model_before_its_files() {
        let key = Key::new("model");
        let mut reader = form();
        assert!(matches!(reader.glance(&FORM.as_bytes()[..40], &key), Glance::Nothing));
        let so_far = FORM.find("file").unwrap();
        let Glance::Model(document) = reader.glance(&FORM.as_bytes()[..so_far], &key) else {
            panic!("the model is there")
        };
        assert_eq!(document.model(&key), named("m"));
        assert_eq!(document.with_model(&key, "n"), Err(MultipartError::Unclosed));
        let document = reader.read(FORM.as_bytes()).unwrap().unwrap();
        assert_eq!(
            document.with_model(&key, "n").unwrap(),
            FORM.replace("\r\nm\r\n", "\r\nn\r\n").as_bytes()
        );
    }

    #[test]
    fn a_very_long_field_is_no_model() {
        let key = Key::new("model");
        let body = |length: usize| FORM.replace("\r\nm\r\n", &format!("\r\n{}\r\n", "m".repeat(length)));
        let model = |body: &str| {
            matches!(form().read(body.as_bytes()).unwrap().unwrap().model(&key), Model::Named(_))
        };
        assert!(model(&body(MAX_FIELD)));
        assert!(!model(&body(MAX_FIELD + 1)));
        // Nor does it hide one that is.
        let second = "--b\r\ncontent-disposition: form-data; name=model\r\n\r\nm\r\n--b--";
        assert!(model(&body(MAX_FIELD + 1).replace("--b--", second)));
    }

    #[test]
    fn a_body_without_a_type_is_json_if_it_begins_like_an_object() {
        let key = Key::new("model");
        for (so_far, is_other) in [("", false), (" \n", false), (" {", false), ("[", true), ("x", true)] {
            let mut reader = Reader::untyped();
            assert_eq!(
                matches!(reader.glance(so_far.as_bytes(), &key), Glance::Other),
                is_other,
                "{so_far:?}"
            );
        }
        assert!(Reader::untyped().read(b"text").unwrap().is_none());
        assert!(Reader::untyped().read(b"{ text").is_err());
        assert!(Reader::untyped().read(b" {}").unwrap().is_some());
    }
}
