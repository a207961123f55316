//! Anthropic's [token counts](https://docs.anthropic.com/en/api/messages-count-tokens), estimated where a vendor has none.
//!
//! Counted are the texts of a request as the model would read them: the system's, the messages', names, descriptions
//! and schemas of tools, what they are called with and what they give. Thinking of earlier turns is not read again.

use common::http::{Fault, LocalReply};
use common::json::{Kind, Object, Raw};
use common::llm::tokens::Estimate;

use common::http::body;
use translate::place::Place;

/// Tells the client that nobody has counted.
const HOW: (&str, &str) = ("x-ai-proxy-token-count", "estimated");

/// What stands around each message, and around each tool.
const FRAME: u64 = 4;
/// An image of 1000 by 750 pixels, of which
/// [Anthropic](https://docs.anthropic.com/en/docs/build-with-claude/vision#calculate-image-costs) has 750 a token. Nobody
/// looks into the image itself.
const IMAGE: u64 = 1000;
/// A page of a PDF, which [Anthropic](https://docs.anthropic.com/en/docs/build-with-claude/pdf-support) puts at 1500 to 3000.
const PAGE: u64 = 2000;
/// As much base64 is taken for a page.
const PAGE_BASE64: usize = 100 << 10;

/// The reply to the question how many tokens a request has.
///
/// # Errors
/// It is no request for a message.
pub(crate) fn reply(text: &[u8]) -> Result<LocalReply, Fault> {
    let body = format!("{{\"input_tokens\":{}}}", count(text)?);
    let mut reply = LocalReply::json(200, body, "token_count_estimated");
    reply.headers.push((HOW.0, HOW.1.to_owned()));
    Ok(reply)
}

fn count(text: &[u8]) -> Result<u64, Fault> {
    let body = body::object(text)?;
    let mut read = Estimate::default();
    if let Some(system) = said(&body, "system") {
        content(system, Place::of("system"), &mut read)?;
    }
    let place = Place::of("messages");
    for message in place.objects(body.get("messages"), "a list of messages")? {
        let (at, message) = message?;
        read.tokens(FRAME);
        if let Some(said) = said(&message, "content") {
            content(said, place.element(at).member("content"), &mut read)?;
        }
    }
    if let Some(tools) = said(&body, "tools") {
        for tool in Place::of("tools").objects(Some(tools), "a list of tools")? {
            let (_, tool) = tool?;
            read.tokens(FRAME);
            ["name", "description", "input_schema"].iter().for_each(|name| any(tool.get(name), &mut read));
        }
    }
    Ok(read.count())
}

/// The value of a member that says something.
fn said<'a>(object: &Object<'a>, name: &str) -> Option<Raw<'a>> {
    object.get(name).filter(|value| value.kind() != Kind::Null)
}

fn content(content: Raw<'_>, place: Place<'_>, read: &mut Estimate) -> Result<(), Fault> {
    if content.kind() == Kind::String {
        any(Some(content), read);
        return Ok(());
    }
    for block in place.objects(Some(content), "a text or a list of content blocks")? {
        let (_, block) = block?;
        self::block(&block, read);
    }
    Ok(())
}

fn block(block: &Object<'_>, read: &mut Estimate) {
    let kind = block.get("type").and_then(|kind| kind.as_str()).unwrap_or_default();
    let names: &[&str] = match &*kind {
        "text" => &["text"],
        "image" => return read.tokens(IMAGE),
        "document" => {
            let source = block.get("source").and_then(|source| source.object());
            if let Some(source) = source {
                document(&source, read);
            }
            &["title", "context"]
        }
        "search_result" => &["title", "source", "content"],
        "tool_use" => &["name", "input"],
        "tool_result" => &["content"],
        "thinking" | "redacted_thinking" => &[],
        _ => return block.members().for_each(|(_, value)| any(Some(value), read)),
    };
    names.iter().for_each(|name| parts(block.get(name), read));
}

fn document(source: &Object<'_>, read: &mut Estimate) {
    let kind = source.get("type").and_then(|kind| kind.as_str()).unwrap_or_default();
    match &*kind {
        "text" => any(source.get("data"), read),
        "content" => parts(source.get("content"), read),
        "base64" => {
            let length = source.get("data").map_or(0, |data| data.text().len());
            let pages = u64::try_from(length.div_ceil(PAGE_BASE64)).unwrap_or(u64::MAX);
            read.tokens(pages.saturating_mul(PAGE));
        }
        _ => read.tokens(PAGE),
    }
}

/// A member that may be a list of blocks.
fn parts(value: Option<Raw<'_>>, read: &mut Estimate) {
    let blocks = value.and_then(|value| value.elements()).unwrap_or_default();
    let blocks: Vec<Object<'_>> = blocks.iter().filter_map(|block| block.object()).collect();
    if blocks.is_empty() {
        return any(value, read);
    }
    blocks.iter().for_each(|block| self::block(block, read));
}

/// A text, or any other JSON as its text.
fn any(value: Option<Raw<'_>>, read: &mut Estimate) {
    let Some(value) = value else { return };
    match value.as_str() {
        Some(text) => read.text(&text),
        None => read.text(&String::from_utf8_lossy(value.text())),
    }
}
