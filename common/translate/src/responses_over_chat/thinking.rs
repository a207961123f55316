//! Items of thinking that are ours: how they are told from OpenAI's, and what they carry.
//!
//! Anthropic wants to see again what a model thought before it called tools, signed as it was sent. Clients send an
//! item's `encrypted_content` back without looking into it, so ours is the mark, and behind it, in base64, the JSON of a
//! chat's `thinking_blocks`. Nothing in it is a secret: its text is the summary's.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use common::json::{self, ArrayWriter, Kind, Object, ObjectWriter, Patch, Raw};

use super::output::add;

/// What the ids of our items of thinking begin with, and their `encrypted_content`. No id of OpenAI's goes on like this
/// behind its `rs_`.
pub const MARK: &str = "rs_ai_proxy_";

/// Takes our items of thinking out of an input that goes to OpenAI itself, whoever they came from: it looks up what it
/// does not find signed by itself, and refuses the request if it has no such item, as in
/// <https://github.com/vercel/ai/issues/7543>. Messages and calls are different: they are taken with ids that nobody
/// knows, if these begin as they should (<https://github.com/UKGovernmentBEIS/inspect_ai/pull/1545>).
pub fn remove_thinking(body: &Object<'_>, patch: &mut Patch<'_>) {
    let Some(items) = body.get("input").and_then(|input| input.elements()) else { return };
    let goes = |at: usize| items.get(at).and_then(|item| item.object()).is_some_and(|item| is_ours(&item));
    patch.remove_elements(&items, goes);
}

/// Whether an item, or a reference to one, is our thinking.
fn is_ours(item: &Object<'_>) -> bool {
    let begins = |name: &str| item.get(name).is_some_and(|text| text.escaped().is_some_and(is_marked));
    begins("id") || begins("encrypted_content")
}

fn is_marked(text: &[u8]) -> bool {
    text.starts_with(MARK.as_bytes())
}

/// Adds the blocks of a chat's `thinking_blocks` to the elements of a list. All that they have are texts; the numbers of a
/// stream's are not kept.
pub(super) fn add_blocks(blocks: Raw<'_>, to: &mut Vec<u8>) {
    for block in blocks.elements().unwrap_or_default().iter().filter_map(|block| block.object()) {
        let mut out = Vec::new();
        let mut written = ObjectWriter::open(&mut out);
        for name in ["type", "thinking", "signature", "data"] {
            if let Some(text) = block.get(name).filter(|text| text.kind() == Kind::String) {
                written.raw(name, text.text());
            }
        }
        written.close();
        add(to, &out);
    }
}

/// Writes the `encrypted_content` that carries these elements of a list.
pub(super) fn write_sealed(blocks: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(MARK.as_bytes());
    out.extend_from_slice(BASE64_STANDARD.encode([b"[", blocks, b"]"].concat()).as_bytes());
    out.push(b'"');
}

/// The elements that an `encrypted_content` carries; `None`: it is not ours, or not as it was written.
pub(super) fn unsealed(content: Raw<'_>) -> Option<Vec<u8>> {
    let list = BASE64_STANDARD.decode(content.escaped()?.strip_prefix(MARK.as_bytes())?).ok()?;
    // Nothing nested is proven to be JSON by finding a list's elements.
    json::tree(&list).ok()?;
    let mut blocks = Vec::new();
    add_blocks(json::value(&list).ok()?, &mut blocks);
    Some(blocks).filter(|blocks| !blocks.is_empty())
}

/// Writes a chat's `thinking_blocks` with these elements in it, several at a time.
pub(super) fn write_blocks(elements: &[&[u8]], message: &mut ObjectWriter<'_>) {
    if !elements.is_empty() {
        let mut list = ArrayWriter::open(message.member("thinking_blocks"));
        elements.iter().for_each(|some| list.element().extend_from_slice(some));
        list.close();
    }
}
