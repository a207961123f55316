//! Calls of tools, put together from the pieces that a stream brings, and written as OpenAI's.

use common::json::{self, Object, Raw};

use crate::text::{MARK, floor};

/// How many calls of one answer are told apart.
const MAX_CALLS: usize = 128;
/// A longer id or name is none.
const MAX_NAME: usize = 1024;

/// The calls so far. All their texts together have one limit: of what is beyond, nothing is kept.
#[derive(Debug, Default)]
pub(crate) struct ToolCalls {
    /// In the order of their indices.
    calls: Vec<Call>,
    /// Bytes of all their texts.
    held: usize,
}

#[derive(Debug, Default)]
struct Call {
    index: u64,
    id: String,
    kind: String,
    name: String,
    arguments: String,
    /// The arguments go on.
    is_cut: bool,
}

impl ToolCalls {
    /// Takes one event of a stream.
    pub(crate) fn event(&mut self, event: &Object<'_>, limit: usize) {
        if let Some(choices) = event.get("choices") {
            let choice = choices.elements().and_then(|choices| choices.first()?.object());
            let delta = choice.and_then(|choice| choice.get("delta")?.object());
            for call in delta.and_then(|delta| delta.get("tool_calls")?.elements()).unwrap_or_default() {
                if let Some(call) = call.object() {
                    self.openai(&call, limit);
                }
            }
            return;
        }
        let index = event.get("index").and_then(|index| index.as_u64()).unwrap_or(0);
        if let Some(block) = event.get("content_block").as_ref().and_then(Raw::object) {
            self.anthropic(index, &block, limit);
        } else if let Some(piece) = event.get("delta").as_ref().and_then(Raw::object)
            && let Some(piece) = piece.get("partial_json").as_ref().and_then(Raw::as_str)
            && let Some(call) = self.calls.iter_mut().find(|call| call.index == index)
        {
            call.add(&mut self.held, &piece, limit);
        }
    }

    /// Takes the blocks of a whole answer of Anthropic's.
    pub(crate) fn blocks(&mut self, content: Raw<'_>, limit: usize) {
        for (block, index) in content.elements().unwrap_or_default().iter().zip(0..) {
            if let Some(block) = block.object() {
                self.anthropic(index, &block, limit);
            }
        }
    }

    fn openai(&mut self, said: &Object<'_>, limit: usize) {
        let index = said.get("index").and_then(|index| index.as_u64()).unwrap_or(0);
        let Self { calls, held } = self;
        let Some(call) = at(calls, index) else { return };
        let function = said.get("function").as_ref().and_then(Raw::object);
        name(&mut call.id, held, said.get("id"), limit);
        name(&mut call.kind, held, said.get("type"), limit);
        let Some(function) = function else { return };
        name(&mut call.name, held, function.get("name"), limit);
        if let Some(arguments) = function.get("arguments").as_ref().and_then(Raw::as_str) {
            call.add(held, &arguments, limit);
        }
    }

    /// What a block begins with is an empty object where its input is streamed.
    fn anthropic(&mut self, index: u64, block: &Object<'_>, limit: usize) {
        if !block.get("type").is_some_and(|kind| kind.is("tool_use")) {
            return;
        }
        let Self { calls, held } = self;
        let Some(call) = at(calls, index) else { return };
        name(&mut call.kind, held, block.get("type"), limit);
        name(&mut call.id, held, block.get("id"), limit);
        name(&mut call.name, held, block.get("name"), limit);
        let input = block.get("input");
        let is_empty = input.as_ref().and_then(Raw::object).is_none_or(|input| input.is_empty());
        if let Some(input) = input.filter(|_| !is_empty) {
            call.add(held, &String::from_utf8_lossy(input.text()), limit);
        }
    }

    /// All calls, as a JSON array; `None` where there are none. Empty members are left out, an index of 0 too.
    pub(crate) fn to_json(&self) -> Option<Vec<u8>> {
        let mut out = vec![b'['];
        for call in &self.calls {
            out.extend_from_slice(if out.len() > 1 { b",{" } else { b"{" });
            if call.index > 0 {
                out.extend_from_slice(format!("\"index\":{},", call.index).as_bytes());
            }
            for (member, text) in [("id", &call.id), ("type", &call.kind)] {
                text_member(&mut out, member, text);
            }
            out.extend_from_slice(b"\"function\":{");
            text_member(&mut out, "name", &call.name);
            match call.is_cut {
                true => text_member(&mut out, "arguments", &format!("{}{MARK}", call.arguments)),
                false => text_member(&mut out, "arguments", &call.arguments),
            }
            if out.last() == Some(&b',') {
                out.pop();
            }
            out.extend_from_slice(b"}}");
        }
        out.push(b']');
        (!self.calls.is_empty()).then_some(out)
    }
}

impl Call {
    /// Adds to the arguments what there is room for.
    fn add(&mut self, held: &mut usize, text: &str, limit: usize) {
        if self.is_cut {
            return;
        }
        let fits = text.get(..floor(text, limit.saturating_sub(*held))).unwrap_or_default();
        self.arguments.push_str(fits);
        self.is_cut = fits.len() < text.len();
        *held += fits.len();
    }
}

fn at(calls: &mut Vec<Call>, index: u64) -> Option<&mut Call> {
    let at = match calls.binary_search_by_key(&index, |call| call.index) {
        Ok(at) => at,
        Err(_) if calls.len() >= MAX_CALLS => return None,
        Err(at) => {
            calls.insert(at, Call { index, ..Call::default() });
            at
        }
    };
    calls.get_mut(at)
}

fn text_member(out: &mut Vec<u8>, name: &str, text: &str) {
    if !text.is_empty() {
        json::write_string(out, name);
        out.push(b':');
        json::write_string(out, text);
        out.push(b',');
    }
}

fn name(known: &mut String, held: &mut usize, said: Option<Raw<'_>>, limit: usize) {
    let said = said.as_ref().and_then(Raw::as_str);
    let Some(said) = said.filter(|said| !said.is_empty() && said.len() <= MAX_NAME) else { return };
    let others = held.saturating_sub(known.len());
    if others.saturating_add(said.len()) <= limit {
        *held = others + said.len();
        *known = said.into_owned();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(events: &[&str], expected: Option<&str>) {
        let mut calls = ToolCalls::default();
        for event in events {
            calls.event(&json::object(event.as_bytes()).unwrap(), 1000);
        }
        let found = calls.to_json().map(|text| String::from_utf8(text).unwrap());
        assert_eq!(found.as_deref(), expected);
    }

    #[test]
    fn calls_of_openai_are_put_together_worked_case_26() {
        check(
            &[
                r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"c0","type":"function","function":{"name":"f","arguments":""}}]}}]}"#,
                r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"a\":"}}]}}]}"#,
                r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"1}"}},{"index":1,"id":"c1","type":"function","function":{"name":"g"}}]}}]}"#,
            ],
            Some(
                r#"[{"id":"c0","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}},{"index":1,"id":"c1","type":"function","function":{"name":"g"}}]"#,
            ),
        );
    }

    #[test]
    fn calls_of_anthropic_are_put_together_without_their_empty_beginning() {
        check(
            &[
                r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
                r#"{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"t","name":"f","input":{}}}"#,
                r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"a\":"}}"#,
                r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"1}"}}"#,
            ],
            Some(
                r#"[{"index":1,"id":"t","type":"tool_use","function":{"name":"f","arguments":"{\"a\":1}"}}]"#,
            ),
        );
    }

    #[test]
    fn without_calls_there_is_nothing() {
        check(&[], None);
        check(&[r#"{"choices":[{"delta":{"content":"x"}}]}"#, r#"{"delta":{"partial_json":"x"}}"#], None);
    }

    #[test]
    fn all_calls_together_are_kept_up_to_one_limit() {
        let mut calls = ToolCalls::default();
        let event = |text: &str| text.replace("PIECE", &"é".repeat(200));
        for _ in 0..20 {
            for index in 0..2 * MAX_CALLS {
                let openai = event(&format!(
                    r#"{{"choices":[{{"delta":{{"tool_calls":[{{"index":{index},"id":"PIECE","type":"function","function":{{"name":"PIECE","arguments":"PIECE"}}}}]}}}}]}}"#
                ));
                calls.event(&json::object(openai.as_bytes()).unwrap(), 1001);
                let anthropic = event(&format!(r#"{{"index":{index},"delta":{{"partial_json":"PIECE"}}}}"#));
                calls.event(&json::object(anthropic.as_bytes()).unwrap(), 1001);
            }
        }
        let texts = |call: &Call| call.id.len() + call.kind.len() + call.name.len() + call.arguments.len();
        let held: usize = calls.calls.iter().map(texts).sum();
        assert_eq!((held, calls.calls.len()), (calls.held, MAX_CALLS));
        assert!((990..=1001).contains(&held), "{held}");
        let json = String::from_utf8(calls.to_json().unwrap()).unwrap();
        assert!(json.contains("éé [truncated] \"}"), "{json}");
    }
}
