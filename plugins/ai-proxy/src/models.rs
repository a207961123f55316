//! `/v1/models` answered from the configuration, for vendors that have no such list.

use common::json::{ArrayWriter, ObjectWriter};
use common::llm::dialect::Dialect;

/// The models that a configuration names, as a list for clients.
#[derive(Debug)]
pub(crate) struct ModelList {
    names: Vec<String>,
    owner: String,
}

impl ModelList {
    /// The list of `names`, offered by `owner`; `None` if there is nothing to list.
    pub(crate) fn of<'a>(names: impl Iterator<Item = &'a str>, owner: &str) -> Option<Self> {
        let names: Vec<String> = names.map(str::to_owned).collect();
        (!names.is_empty()).then(|| Self { names, owner: owner.to_owned() })
    }

    /// The body of `GET /v1/models`, as
    /// [OpenAI](https://platform.openai.com/docs/api-reference/models/list) or
    /// [Anthropic](https://docs.anthropic.com/en/api/models-list) has it. There is one page.
    pub(crate) fn all(&self, dialect: Dialect) -> Vec<u8> {
        let mut out = Vec::new();
        let mut list = ObjectWriter::open(&mut out);
        if dialect != Dialect::Anthropic {
            list.raw("object", br#""list""#);
        }
        let mut data = ArrayWriter::open(list.member("data"));
        self.names.iter().for_each(|name| self.write(name, dialect, data.element()));
        data.close();
        if let (Dialect::Anthropic, Some(first), Some(last)) =
            (dialect, self.names.first(), self.names.last())
        {
            list.raw("has_more", b"false");
            list.text("first_id", first);
            list.text("last_id", last);
        }
        list.close();
        out
    }

    /// The body of `GET /v1/models/{name}`.
    pub(crate) fn one(&self, name: &str, dialect: Dialect) -> Option<Vec<u8>> {
        let name = self.names.iter().find(|known| *known == name)?;
        let mut out = Vec::new();
        self.write(name, dialect, &mut out);
        Some(out)
    }

    fn write(&self, name: &str, dialect: Dialect, out: &mut Vec<u8>) {
        let mut model = ObjectWriter::open(out);
        if dialect == Dialect::Anthropic {
            model.raw("type", br#""model""#);
            model.text("id", name);
            model.text("display_name", name);
            // As published for a day that is not known.
            model.raw("created_at", br#""1970-01-01T00:00:00Z""#);
        } else {
            model.text("id", name);
            model.raw("object", br#""model""#);
            model.raw("created", b"0");
            model.text("owned_by", &self.owner);
        }
        model.close();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn value(json: &[u8]) -> Value {
        serde_json::from_slice(json).unwrap()
    }

    #[test]
    fn the_list_is_json_whatever_the_names() {
        let models = ModelList::of(["a", "b\"/c"].into_iter(), "groq").unwrap();
        let model = |name: &str| json!({"id":name,"object":"model","created":0,"owned_by":"groq"});
        let expected = json!({"object":"list","data":[model("a"), model("b\"/c")]});
        assert_eq!(value(&models.all(Dialect::OpenAi)), expected);
        assert_eq!(value(&models.one("a", Dialect::OpenAi).unwrap()), model("a"));
        assert!(models.one("c", Dialect::OpenAi).is_none());
    }

    #[test]
    fn anthropics_clients_get_a_page_of_theirs() {
        let models = ModelList::of(["a", "b\"/c"].into_iter(), "groq").unwrap();
        let model = |name: &str| json!({"type":"model","id":name,"display_name":name,"created_at":"1970-01-01T00:00:00Z"});
        let expected =
            json!({"data":[model("a"), model("b\"/c")],"has_more":false,"first_id":"a","last_id":"b\"/c"});
        assert_eq!(value(&models.all(Dialect::Anthropic)), expected);
        assert_eq!(value(&models.one("a", Dialect::Anthropic).unwrap()), model("a"));
        assert!(models.one("c", Dialect::Anthropic).is_none());
    }

    #[test]
    fn no_names_is_no_list() {
        assert!(ModelList::of(std::iter::empty(), "groq").is_none());
    }
}
