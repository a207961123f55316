//! The headers that carry a model and its provider, to routes and from nobody else.

use std::borrow::Cow;

use common::http::Head;

/// Where the model goes if a configuration names no header.
pub(crate) const MODEL: &str = "x-ai-model";
/// The name that existing route tables know.
const OTHER_MODEL: &str = "x-higress-llm-model";
/// The same for the provider.
const OTHER_PROVIDER: &str = "x-higress-llm-provider";

/// More than this is no model's name.
const MAX_VALUE: usize = 256;

/// Which headers are written, and which are not believed.
#[derive(Debug, Default)]
pub(crate) struct Headers {
    /// For the model as the client named it.
    pub(crate) model: Vec<String>,
    /// For a model that was chosen here.
    pub(crate) chosen: Vec<String>,
    /// For the part before the slash.
    pub(crate) provider: Vec<String>,
    /// All of them, and their other names: what a client sent there is removed.
    own: Vec<String>,
    pub(crate) percent: bool,
}

/// What a configuration says of headers. Empty names are none.
pub(crate) struct Names<'a> {
    pub(crate) model: Option<&'a str>,
    pub(crate) provider: &'a str,
    /// Of a chosen model; `None` where none is chosen.
    pub(crate) chosen: Option<Option<&'a str>>,
    /// Write the other names too.
    pub(crate) compatible: bool,
    pub(crate) trust_client: bool,
    pub(crate) percent: bool,
}

impl Headers {
    pub(crate) fn new(names: &Names<'_>) -> Self {
        let is_named =
            names.model.is_some() || !names.provider.is_empty() || names.chosen.flatten().is_some();
        let default = if is_named { "" } else { MODEL };
        let list = |name: &str, other: &str| -> Vec<String> {
            let other = if names.compatible { other } else { "" };
            let written = [name, other].into_iter().filter(|_| !name.is_empty());
            written.filter(|name| !name.is_empty()).map(str::to_ascii_lowercase).collect()
        };
        let model = list(names.model.unwrap_or(default), OTHER_MODEL);
        let chosen = match names.chosen {
            None => Vec::new(),
            Some(_) if !model.is_empty() => model.clone(),
            Some(name) => list(name.unwrap_or(MODEL), OTHER_MODEL),
        };
        let provider = list(names.provider, OTHER_PROVIDER);
        let mut own: Vec<String> = Vec::new();
        if !names.trust_client {
            let names = [&model, &chosen, &provider].into_iter().flatten().map(String::as_str);
            let neutral = names.clone().any(|name| name == MODEL).then_some(OTHER_MODEL);
            for name in names.chain(neutral) {
                if !own.iter().any(|known| known == name) {
                    own.push(name.to_owned());
                }
            }
        }
        Self { model, chosen, provider, own, percent: names.percent }
    }

    /// Whether there is anything to write.
    pub(crate) fn is_empty(&self) -> bool {
        self.model.is_empty() && self.chosen.is_empty() && self.provider.is_empty()
    }

    /// Removes what the client sent in their names.
    pub(crate) fn clear(&self, head: &mut Head) {
        self.own.iter().for_each(|name| head.remove(name));
    }

    /// A value as a header may carry it; `None` where none may.
    pub(crate) fn value<'a>(&self, text: &'a str) -> Option<Cow<'a, str>> {
        let is_plain = |byte: &u8| matches!(byte, b' '..=b'~');
        let value = if text.bytes().all(|byte| is_plain(&byte)) {
            Cow::Borrowed(text)
        } else if self.percent {
            Cow::Owned(percent(text))
        } else {
            return None;
        };
        (value.len() <= MAX_VALUE).then_some(value)
    }
}

/// Bytes that no header may carry as `%XX`.
fn percent(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' => out.push(char::from(byte)),
            _ => {
                out.push('%');
                for nibble in [byte >> 4, byte & 15] {
                    out.push(char::from(if nibble < 10 { b'0' + nibble } else { b'A' + nibble - 10 }));
                }
            }
        }
    }
    out
}

/// Whether a header of that name may carry a model: a name that HTTP allows, and none that HTTP itself needs.
pub(crate) fn is_name(name: &str) -> bool {
    const TAKEN: [&str; 7] =
        ["connection", "content-length", "content-type", "host", "te", "transfer-encoding", "upgrade"];
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty()
        && name.bytes().all(is_token)
        && !TAKEN.iter().any(|taken| name.eq_ignore_ascii_case(taken))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(model: Option<&str>, provider: &str, chosen: Option<Option<&str>>, expected: [&str; 4]) {
        let names = Names { model, provider, chosen, compatible: false, trust_client: false, percent: false };
        let headers = Headers::new(&names);
        let found =
            [&headers.model, &headers.chosen, &headers.provider, &headers.own].map(|list| list.join(" "));
        assert_eq!(found, expected);
    }

    #[test]
    fn a_name_that_is_given_is_the_one_that_is_used() {
        check(Some("X-M"), "", None, ["x-m", "", "", "x-m"]);
        check(None, "x-p", None, ["", "", "x-p", "x-p"]);
        check(Some("x-m"), "x-p", Some(Some("x-c")), ["x-m", "x-m", "x-p", "x-m x-p"]);
        check(None, "", Some(Some("x-c")), ["", "x-c", "", "x-c"]);
        check(Some(""), "", Some(None), ["", "x-ai-model", "", "x-ai-model x-higress-llm-model"]);
        check(Some(""), "", None, ["", "", "", ""]);
    }

    #[test]
    fn where_no_name_is_given_the_neutral_one_is_used() {
        check(None, "", None, ["x-ai-model", "", "", "x-ai-model x-higress-llm-model"]);
        check(None, "", Some(None), ["x-ai-model", "x-ai-model", "", "x-ai-model x-higress-llm-model"]);
    }

    #[test]
    fn other_names_are_written_on_request() {
        let names = Names {
            model: None,
            provider: "",
            chosen: None,
            compatible: true,
            trust_client: true,
            percent: false,
        };
        let headers = Headers::new(&names);
        assert_eq!(headers.model, ["x-ai-model", "x-higress-llm-model"]);
        assert!(headers.provider.is_empty() && headers.own.is_empty());
        let headers = Headers::new(&Names { provider: "x-p", trust_client: false, ..names });
        assert_eq!(headers.provider, ["x-p", "x-higress-llm-provider"]);
        assert_eq!(headers.own, ["x-p", "x-higress-llm-provider"]);
    }

    #[test]
    fn only_plain_and_short_texts_are_values() {
        let plain = Headers::default();
        let percent = Headers { percent: true, ..Headers::default() };
        assert_eq!(plain.value("acme/phi 4~").as_deref(), Some("acme/phi 4~"));
        for odd in ["名", "a\r\nb", "a\u{7f}", "\0"] {
            assert_eq!(plain.value(odd), None, "{odd:?}");
        }
        assert_eq!(percent.value("名\n%").as_deref(), Some("%E5%90%8D%0A%"));
        assert!(plain.value(&"x".repeat(256)).is_some());
        assert!(plain.value(&"x".repeat(257)).is_none());
        assert!(percent.value(&"é".repeat(43)).is_none());
    }

    #[test]
    fn names_are_those_that_http_leaves_free() {
        for name in ["x-ai-model", "X_Model.1"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", ":path", "a b", "x\n", "Host", "content-length", "é"] {
            assert!(!is_name(name), "{name}");
        }
    }
}
