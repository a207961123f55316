//! `/v1/models` answered from the configuration, for vendors that have no such list.

use common::json;

/// The models that a configuration names, as a list for clients.
#[derive(Debug)]
pub(crate) struct ModelList {
    all: Vec<u8>,
    each: Vec<(String, Vec<u8>)>,
}

impl ModelList {
    /// The list of `names`, offered by `owner`; `None` if there is nothing to list.
    pub(crate) fn of<'a>(names: impl Iterator<Item = &'a str>, owner: &str) -> Option<Self> {
        let each: Vec<(String, Vec<u8>)> = names.map(|name| (name.to_owned(), model(name, owner))).collect();
        if each.is_empty() {
            return None;
        }
        let models: Vec<&[u8]> = each.iter().map(|(_, model)| model.as_slice()).collect();
        let all = [br#"{"object":"list","data":["#, models.join(&b',').as_slice(), b"]}"].concat();
        Some(Self { all, each })
    }

    /// The body of `GET /v1/models`.
    pub(crate) fn all(&self) -> &[u8] {
        &self.all
    }

    /// The body of `GET /v1/models/{name}`.
    pub(crate) fn one(&self, name: &str) -> Option<&[u8]> {
        self.each.iter().find(|(known, _)| known == name).map(|(_, model)| model.as_slice())
    }
}

fn model(name: &str, owner: &str) -> Vec<u8> {
    [
        br#"{"id":"#,
        json::string(name).as_slice(),
        br#","object":"model","created":0,"owned_by":"#,
        json::string(owner).as_slice(),
        b"}",
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_json_whatever_the_names() {
        let models = ModelList::of(["a", "b\"/c"].into_iter(), "groq").unwrap();
        let all: serde_json::Value = serde_json::from_slice(models.all()).unwrap();
        assert_eq!(all["data"][1]["id"], "b\"/c");
        assert_eq!(all["data"][0]["owned_by"], "groq");
        let one: serde_json::Value = serde_json::from_slice(models.one("a").unwrap()).unwrap();
        assert_eq!(one, all["data"][0]);
        assert!(models.one("c").is_none());
    }

    #[test]
    fn no_names_is_no_list() {
        assert!(ModelList::of(std::iter::empty(), "groq").is_none());
    }
}
