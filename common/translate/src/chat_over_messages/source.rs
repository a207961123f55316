//! Images and files, as the vendor takes them.

use std::borrow::Cow;

use common::http::Fault;
use common::json::{Object, ObjectWriter};

use crate::Dropped;
use crate::chat::drop_others;
use crate::place::Place;
use crate::read::member;

const PDF: &str = "application/pdf";
/// How a PDF begins in base64.
const PDF_BEGINNING: &str = "JVBERi0";

/// What a data URL says.
struct Data<'a> {
    kind: Cow<'a, str>,
    base64: &'a str,
}

impl<'a> Data<'a> {
    /// `None`: this is no data URL in base64.
    fn of(url: &'a str) -> Option<Self> {
        let (head, base64) = strip_scheme(url, "data:")?.split_once(',')?;
        let (kind, parameters) = head.split_once(';').unwrap_or((head, ""));
        let is_base64 =
            parameters.rsplit(';').next().is_some_and(|last| last.trim().eq_ignore_ascii_case("base64"));
        let kind = kind.trim();
        let kind = match kind.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => Cow::Owned(kind.to_ascii_lowercase()),
            false => Cow::Borrowed(kind),
        };
        // A name that is not registered, and often used.
        let kind = if kind == "image/jpg" { Cow::Borrowed("image/jpeg") } else { kind };
        let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
        (is_base64 && !base64.is_empty() && base64.bytes().all(is_digit)).then_some(Self { kind, base64 })
    }

    /// The block that it is put in; `None`: the vendor has none for it.
    fn block(&self) -> Option<&'static [u8]> {
        match &*self.kind {
            PDF => Some(DOCUMENT),
            kind if kind.starts_with("image/") => Some(IMAGE),
            _ => None,
        }
    }

    fn write(&self, block: &mut ObjectWriter<'_>) {
        let mut source = ObjectWriter::open(block.member("source"));
        source.raw("type", br#""base64""#);
        source.text("media_type", &self.kind);
        source.text("data", self.base64);
        source.close();
    }
}

const IMAGE: &[u8] = br#""image""#;
const DOCUMENT: &[u8] = br#""document""#;

/// What stands behind a scheme, in whatever case that is.
fn strip_scheme<'a>(url: &'a str, scheme: &str) -> Option<&'a str> {
    let (start, rest) = url.split_at_checked(scheme.len())?;
    start.eq_ignore_ascii_case(scheme).then_some(rest)
}

/// Writes the members of a block for an image.
///
/// # Errors
/// It is none that the vendor takes.
pub(super) fn write_image(
    place: Place<'_>,
    part: &Object<'_>,
    block: &mut ObjectWriter<'_>,
    dropped: &mut Dropped,
) -> Result<(), Fault> {
    let place = place.member("image_url");
    let value = member(part, "image_url");
    let image = value.and_then(|value| value.object());
    // Some clients send the address alone.
    let value = match &image {
        Some(image) => place.text_of(image, "url")?,
        None => place.text(value)?,
    };
    if let Some(image) = &image {
        drop_others(image, "messages.content.image_url", &["url"], dropped);
    }
    let url = value.as_str().unwrap_or_default();
    if let Some(data) = Data::of(&url) {
        let kind = data.block().ok_or_else(|| place.expected("an image or a PDF"))?;
        block.raw("type", kind);
        data.write(block);
        return Ok(());
    }
    let address = ["https://", "http://"].iter().find_map(|scheme| strip_scheme(&url, scheme));
    let address = address.ok_or_else(|| place.expected("an http or https URL, or a data URL in base64"))?;
    let path = address.split(['?', '#']).next().unwrap_or_default();
    let is_pdf =
        path.len() >= 4 && path.get(path.len() - 4..).is_some_and(|end| end.eq_ignore_ascii_case(".pdf"));
    block.raw("type", if is_pdf { DOCUMENT } else { IMAGE });
    let mut source = ObjectWriter::open(block.member("source"));
    source.raw("type", br#""url""#);
    source.raw("url", value.text());
    source.close();
    Ok(())
}

/// Writes the members of a block for a file. Says whether that was uploaded before.
///
/// # Errors
/// It is none that the vendor takes.
pub(super) fn write_file(
    place: Place<'_>,
    part: &Object<'_>,
    block: &mut ObjectWriter<'_>,
    dropped: &mut Dropped,
) -> Result<bool, Fault> {
    let file = place.object_of(part, "file")?;
    let place = place.member("file");
    let id = member(&file, "file_id");
    let is_document = if id.is_some() {
        let id = place.text_of(&file, "file_id")?;
        block.raw("type", DOCUMENT);
        let mut source = ObjectWriter::open(block.member("source"));
        source.raw("type", br#""file""#);
        source.raw("file_id", id.text());
        source.close();
        true
    } else {
        let place = place.member("file_data");
        let value = place.text(file.get("file_data"))?;
        let value = value.as_str().unwrap_or_default();
        let data = match Data::of(&value) {
            None if value.starts_with(PDF_BEGINNING) => Some(Data { kind: PDF.into(), base64: &value }),
            data => data,
        };
        let kind = data.as_ref().and_then(|data| data.block());
        let (Some(data), Some(kind)) = (data, kind) else {
            return Err(place.expected("a PDF or an image, as a data URL in base64"));
        };
        block.raw("type", kind);
        data.write(block);
        kind == DOCUMENT
    };
    let mut known = vec!["file_id", "file_data"];
    if is_document && member(&file, "filename").is_some() {
        block.raw("title", place.text_of(&file, "filename")?.text());
        known.push("filename");
    }
    drop_others(&file, "messages.content.file", &known, dropped);
    Ok(id.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_url_says_what_it_holds() {
        let read = |url: &str| Data::of(url).map(|data| (data.kind.into_owned(), data.base64.to_owned()));
        let found = |kind: &str, data: &str| Some((kind.to_owned(), data.to_owned()));
        assert_eq!(read("data:image/png;base64,QQ=="), found("image/png", "QQ=="));
        assert_eq!(read("DATA:Image/JPG;charset=x;BASE64,QQ"), found("image/jpeg", "QQ"));
        assert_eq!(read("data:;base64,QQ"), found("", "QQ"));
        for url in [
            "",
            "data:image/png;base64,",
            "data:image/png;base64,Q-",
            "data:image/png;base64,Q Q",
            "data:",
            "data:image/png,QQ",
            "data:image/png;base64",
            "http://a,b",
            "dätä:;base64,",
        ] {
            assert_eq!(read(url), None, "{url}");
        }
    }
}
