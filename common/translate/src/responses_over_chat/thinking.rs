//! Items of thinking that are ours: how they are told from OpenAI's.

use common::json::{Object, Patch};

/// What the ids of our items of thinking begin with. No id of OpenAI's goes on like this behind its `rs_`.
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
