//! Pictures, which nobody here looks at: an answer tells of what kind they are, and how large.

use super::fault::Fault;

/// What both OpenAI and Anthropic take.
const KINDS: [&str; 4] = ["image/jpeg", "image/png", "image/gif", "image/webp"];

/// What is at a URL, which may be the picture itself.
pub(super) fn at_url(at: &str, url: &str) -> Result<String, Fault> {
    match url.strip_prefix("data:") {
        Some(data) => {
            let split = data.split_once(";base64,");
            let (kind, data) = split
                .ok_or_else(|| Fault::wrong_value(at, "a data URL such as `data:image/png;base64,…`"))?;
            encoded(at, kind, data)
        }
        None if url.starts_with("https://") || url.starts_with("http://") => Ok(url.to_owned()),
        None => Err(Fault::wrong_value(at, "a URL")),
    }
}

/// A picture in Base64.
pub(super) fn encoded(at: &str, kind: &str, data: &str) -> Result<String, Fault> {
    if !KINDS.contains(&kind) {
        return Err(Fault::wrong_value(at, &format!("one of {}", KINDS.join(", "))));
    }
    let digits = data.trim_end_matches('=');
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || b"+/".contains(&byte);
    let padding = data.len() - digits.len();
    if digits.is_empty() || !data.len().is_multiple_of(4) || padding > 2 || !digits.bytes().all(is_digit) {
        return Err(Fault::wrong_value(at, "a picture in Base64"));
    }
    Ok(format!("{kind} of {} bytes", data.len() / 4 * 3 - padding))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_told_apart_by_kind_and_size() {
        let check = |url: &str, expected: Option<&str>| {
            assert_eq!(at_url("image", url).ok().as_deref(), expected, "{url}");
        };
        check("data:image/png;base64,QUJD", Some("image/png of 3 bytes"));
        check("data:image/webp;base64,QQ==", Some("image/webp of 1 bytes"));
        check("https://example.com/a.png", Some("https://example.com/a.png"));
        check("data:image/bmp;base64,QUJD", None);
        check("data:image/png;base64,Q*==", None);
        check("data:image/png;base64,QUJ", None);
        check("data:image/png;base64,", None);
        check("data:image/png,QUJD", None);
        check("a.png", None);
    }
}
