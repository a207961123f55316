//! `/v1/embeddings`: vectors that follow from the words alone, so that what shares words is near.

use serde_json::{Value, json};

use super::Asked;
use super::fault::Fault;
use super::input::Input;
use super::models::{self, Use};
use super::text;
use crate::upstream::Answer;

/// What OpenAI documents for this API.
const MEMBERS: [&str; 5] = ["dimensions", "encoding_format", "input", "model", "user"];

pub(super) fn answer(asked: &Asked<'_>) -> Result<Answer, Fault> {
    let input = Input::read(asked.request, &MEMBERS)?;
    let model = input.model(asked, Use::Embeddings(0))?;
    let texts = texts(&input)?;
    let longest = models::dimensions(model);
    let wanted = input.integer("dimensions", 1..=longest as u64)?;
    if wanted.is_some() && !model.starts_with("text-embedding-3") {
        return Err(Fault::wrong_value("dimensions", "absent: this model's vectors have one length"));
    }
    let dimensions = wanted.and_then(|wanted| usize::try_from(wanted).ok()).unwrap_or(longest);
    let encode: fn(&[f32]) -> Value = match input.text("encoding_format")? {
        None | Some("float") => |vector| json!(vector),
        Some("base64") => |vector| {
            let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
            json!(base64(&bytes))
        },
        Some(_) => return Err(Fault::wrong_value("encoding_format", "`float` or `base64`")),
    };
    let data: Vec<Value> = texts
        .iter()
        .enumerate()
        .map(|(index, text)| json!({ "object": "embedding", "index": index, "embedding": encode(&vector(text, dimensions)) }))
        .collect();
    let tokens: usize = texts.iter().map(|text| text::count(text)).sum();
    let usage = json!({ "prompt_tokens": tokens, "total_tokens": tokens });
    Ok(Answer::json(200, &json!({ "object": "list", "data": data, "model": model, "usage": usage })))
}

/// A string, strings, a list of token numbers, or lists of them.
fn texts(input: &Input) -> Result<Vec<String>, Fault> {
    let expected = || Fault::wrong_type("input", "a string, an array of strings, or tokens");
    let tokens = |value: &Value| -> Option<String> {
        let numbers: Option<Vec<String>> =
            value.as_array()?.iter().map(|token| token.as_u64().map(|token| token.to_string())).collect();
        numbers.map(|numbers| numbers.join(" "))
    };
    let texts = match input.value("input").ok_or_else(|| Fault::missing("input"))? {
        Value::String(text) => vec![text.clone()],
        list @ Value::Array(items) if items.first().is_some_and(Value::is_u64) => {
            vec![tokens(list).ok_or_else(expected)?]
        }
        Value::Array(items) => {
            let texts = items.iter().map(|item| item.as_str().map(str::to_owned).or_else(|| tokens(item)));
            texts.collect::<Option<_>>().ok_or_else(expected)?
        }
        _ => return Err(expected()),
    };
    if texts.is_empty() || texts.len() > 2048 || texts.iter().any(String::is_empty) {
        return Err(Fault::wrong_value("input", "1 to 2048 texts, none of them empty"));
    }
    Ok(texts)
}

/// The sum of a direction for each word, at length 1.
fn vector(text: &str, dimensions: usize) -> Vec<f32> {
    let mut sum = vec![0.0_f32; dimensions];
    for word in text.to_lowercase().split_whitespace() {
        let mut state = text::hash(word.as_bytes()) | 1;
        for number in &mut sum {
            // xorshift64; its upper bits are spread well enough for a direction.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *number += (state >> 40) as f32 / (1 << 23) as f32 - 1.0;
        }
    }
    let length = sum.iter().map(|number| number * number).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    sum.iter().map(|number| number / length).collect()
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits =
            group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let letter = char::from(LETTERS[(bits >> (18 - 6 * place)) as usize & 63]);
            out.push(if place <= group.len() { letter } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_padded() {
        let check = |bytes: &[u8], expected: &str| assert_eq!(base64(bytes), expected);
        check(b"", "");
        check(b"f", "Zg==");
        check(b"fo", "Zm8=");
        check(b"foo", "Zm9v");
        check(b"\xff\xef\xbe", "/+++");
    }
}
