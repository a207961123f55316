//! What a user says, and tools give, as the parts of a chat's content.

use common::http::Fault;
use common::json::{Object, ObjectWriter, Raw};

use super::request::drop_others;
use crate::Dropped;
use crate::place::Place;
use crate::read::{is_of, member};

/// What a document without a title is called; OpenAI wants files to have names.
const FILE_NAME: &[u8] = b"document.pdf";

/// Between paragraphs, inside a JSON string.
pub(super) const PARAGRAPH: &[u8] = br"\n\n";

/// What the content of a chat's message is made of. Texts are pieces as they stand inside their quotes.
pub(super) enum Part<'a> {
    /// With what the client says about caching it.
    Text(Vec<&'a [u8]>, Option<Raw<'a>>),
    /// A URL.
    Image(Vec<&'a [u8]>),
    File {
        name: &'a [u8],
        url: Vec<&'a [u8]>,
    },
}

impl<'a> Part<'a> {
    /// The pieces of what is a text.
    pub(super) fn text(&self) -> Option<&[&'a [u8]]> {
        if let Self::Text(pieces, _) = self { Some(pieces) } else { None }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut part = ObjectWriter::open(out);
        match self {
            Self::Text(pieces, control) => {
                part.raw("type", br#""text""#);
                part.pieces("text", pieces.iter().copied());
                if let Some(control) = control {
                    part.raw("cache_control", control.text());
                }
            }
            Self::Image(url) => {
                part.raw("type", br#""image_url""#);
                let mut image = ObjectWriter::open(part.member("image_url"));
                image.pieces("url", url.iter().copied());
                image.close();
            }
            Self::File { name, url } => {
                part.raw("type", br#""file""#);
                let mut file = ObjectWriter::open(part.member("file"));
                file.pieces("filename", [*name]);
                file.pieces("file_data", url.iter().copied());
                file.close();
            }
        }
        part.close();
    }
}

/// Reads a block that a user, or a tool, can say. `of` is what it is called where something of it is dropped.
///
/// # Errors
/// It is no such block, or one that no chat can have.
pub(super) fn read<'a>(
    kind: &str,
    block: &Object<'a>,
    of: &str,
    place: Place<'_>,
    dropped: &mut Dropped,
    parts: &mut Vec<Part<'a>>,
) -> Result<(), Fault> {
    let known: &[&str] = match kind {
        "text" => {
            let control = member(block, "cache_control");
            parts.push(Part::Text(vec![escaped(block, "text", place)?], control));
            &["type", "text", "cache_control"]
        }
        "image" => {
            parts.push(image(block, place)?);
            &["type", "source"]
        }
        "document" => {
            document(block, of, place, dropped, parts)?;
            &["type", "source", "title", "context"]
        }
        "search_result" => {
            let place = place.member("content");
            let mut texts = texts_of(block, &["title", "source"]);
            for found in place.objects(block.get("content"), "a list of text blocks")? {
                let (at, found) = found?;
                texts.push(escaped(&found, "text", place.element(at))?);
                drop_others(&found, &format!("{of}.content"), &["type", "text"], dropped);
            }
            parts.push(paragraphs(&texts));
            &["type", "title", "source", "content"]
        }
        // Nobody searches for tools: all of them are there from the beginning.
        "tool_reference" => {
            parts.push(Part::Text(vec![escaped(block, "tool_name", place)?], None));
            &["type", "tool_name"]
        }
        other => return Err(place.has_no_place(other)),
    };
    drop_others(block, of, known, dropped);
    Ok(())
}

fn document<'a>(
    block: &Object<'a>,
    of: &str,
    place: Place<'_>,
    dropped: &mut Dropped,
    parts: &mut Vec<Part<'a>>,
) -> Result<(), Fault> {
    let place = place.member("source");
    let expected = || place.expected("a PDF in base64, a text or content: the vendor has no other documents");
    let source = block.get("source").and_then(|source| source.object()).ok_or_else(expected)?;
    let kind = source.get("type").and_then(|kind| kind.as_str()).unwrap_or_default();
    // A file has a name; what else is said about a document is said before it.
    let about = texts_of(block, if kind == "base64" { &["context"] } else { &["title", "context"] });
    if kind == "text" {
        parts.push(paragraphs(&[about, vec![escaped(&source, "data", place)?]].concat()));
        return Ok(());
    }
    if !about.is_empty() {
        parts.push(paragraphs(&about));
    }
    match &*kind {
        "base64" => {
            let name = texts_of(block, &["title"]).first().copied().unwrap_or(FILE_NAME);
            parts.push(Part::File { name, url: data_url(&source, b"application/pdf", place)? });
        }
        "content" => {
            let place = place.member("content");
            let content = source.get("content");
            if let Some(text) = content.and_then(|content| content.escaped()) {
                parts.push(Part::Text(vec![text], None));
                return Ok(());
            }
            let of = format!("{of}.source.content");
            for block in place.objects(content, "a text or content blocks")? {
                let (at, block) = block?;
                let place = place.element(at);
                let kind = ["text", "image"].into_iter().find(|kind| is_of(&block, "type", kind));
                let kind = kind.ok_or_else(|| place.expected("a text or an image"))?;
                read(kind, &block, &of, place, dropped, parts)?;
            }
        }
        _ => return Err(expected()),
    }
    Ok(())
}

/// The member of a block that must be a text, as it stands inside its quotes.
pub(super) fn escaped<'a>(block: &Object<'a>, name: &str, place: Place<'_>) -> Result<&'a [u8], Fault> {
    Ok(place.text_of(block, name)?.escaped().unwrap_or_default())
}

/// Those of these members that say something.
fn texts_of<'a>(block: &Object<'a>, names: &[&str]) -> Vec<&'a [u8]> {
    let texts = names.iter().filter_map(|name| block.get(name)?.escaped());
    texts.filter(|text| !text.is_empty()).collect()
}

fn paragraphs<'a>(texts: &[&'a [u8]]) -> Part<'a> {
    let pieces =
        texts.iter().enumerate().flat_map(|(at, text)| [if at == 0 { &b""[..] } else { PARAGRAPH }, *text]);
    Part::Text(pieces.collect(), None)
}

fn image<'a>(block: &Object<'a>, place: Place<'_>) -> Result<Part<'a>, Fault> {
    let place = place.member("source");
    let source = place.object(block.get("source"))?;
    match source.get("url").and_then(|url| url.escaped()) {
        _ if source.get("data").is_some() => Ok(Part::Image(data_url(&source, b"image/png", place)?)),
        Some(url) => Ok(Part::Image(vec![url])),
        None => Err(place.expected("base64 or a URL: the vendor has no image that was uploaded to another")),
    }
}

/// A source in base64 as the pieces of a URL.
fn data_url<'a>(
    source: &Object<'a>,
    default: &'static [u8],
    place: Place<'_>,
) -> Result<Vec<&'a [u8]>, Fault> {
    let kind = source.get("media_type").and_then(|kind| kind.escaped()).unwrap_or(default);
    Ok(vec![b"data:", kind, b";base64,", escaped(source, "data", place)?])
}
