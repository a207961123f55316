//! `customSettings`: parameters that every request of a provider carries, set where they belong in the JSON.

use common::config::{ConfigError, Node, Section};
use common::json::{self, JsonError, Kind, Object, Patch, Raw};
use serde::de::IgnoredAny;

use crate::config::Protocol;

/// Names that each vendor writes in its own way: the setting, and the vendors' names of it by their types. The
/// first is that of the published API.
const NAMES: &[(&str, &[(&str, &str)])] = &[
    (
        "max_tokens",
        &[
            ("openai", "max_tokens"),
            ("baidu", "max_output_tokens"),
            ("spark", "max_tokens"),
            ("qwen", "max_tokens"),
            ("gemini", "maxOutputTokens"),
            ("claude", "max_tokens"),
            ("minimax", "tokens_to_generate"),
        ],
    ),
    (
        "temperature",
        &[
            ("openai", "temperature"),
            ("baidu", "temperature"),
            ("spark", "temperature"),
            ("qwen", "temperature"),
            ("gemini", "temperature"),
            ("claude", "temperature"),
            ("minimax", "temperature"),
            ("hunyuan", "Temperature"),
        ],
    ),
    (
        "top_p",
        &[
            ("openai", "top_p"),
            ("baidu", "top_p"),
            ("qwen", "top_p"),
            ("gemini", "topP"),
            ("claude", "top_p"),
            ("minimax", "top_p"),
            ("hunyuan", "TopP"),
        ],
    ),
    ("top_k", &[("spark", "top_k"), ("gemini", "topK"), ("claude", "top_k")]),
    ("seed", &[("openai", "seed"), ("qwen", "seed")]),
];

/// Where parameters stand in a vendor's own requests.
const PREFIXES: &[(&str, &str)] = &[("qwen", "parameters"), ("gemini", "generation_config")];

/// What a chat has as well as all that it becomes, if by other names: `max_tokens` is `max_output_tokens` to some.
const OF_CHATS: [&str; 4] = ["max_tokens", "temperature", "top_p", "top_k"];

common::settings! {
    /// One entry.
    pub(crate) struct Entry {
        /// The name, or the way to it through objects, with dots between; a number names a place in a list, `\.` is a
        /// dot in a name.
        name: String,
        /// Any JSON. An entry without it has no effect.
        // Null would be lost on the way, so `Setting::of` reads it.
        value: IgnoredAny as "any",
        /// `auto`: the name is one of `max_tokens`, `temperature`, `top_p`, `top_k`, `seed`, and is written as the API
        /// has it; others have no effect. `raw`: it is written as it stands here.
        mode: String = "auto".to_owned(),
        /// `false`: only where the request says nothing of it.
        overwrite: bool = true,
    }
}

/// The settings of a provider, compiled.
#[derive(Debug, Default)]
pub(crate) struct CustomSettings {
    /// Settings of one batch meet nowhere, so that they are made in one go.
    batches: Vec<Vec<Setting>>,
}

/// Which settings are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    All,
    /// In a chat that becomes something else: those that only stand in for what its client does not say. What it becomes
    /// may have to say it anyway, so that there it would be too late.
    Chat,
    /// In what a chat has become: all others.
    BehindChat,
}

#[derive(Debug)]
struct Setting {
    path: Vec<String>,
    /// JSON text.
    value: Vec<u8>,
    overwrite: bool,
    /// It stands in for what a chat may say itself.
    is_default_of_chats: bool,
}

/// What became of a body.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Applied {
    /// The new body, if anything changed.
    pub(crate) body: Option<Vec<u8>>,
    /// A setting had no place in this body; it and those after it were left out.
    pub(crate) misfit: Option<String>,
}

impl CustomSettings {
    /// Compiles the entries of a list. What has no effect is said.
    ///
    /// # Errors
    /// An entry is no object, or a value in it has the wrong type.
    pub(crate) fn load(
        section: &mut Section<'_>,
        entries: &Node<'_>,
        kind: &str,
        protocol: Protocol,
    ) -> Result<Self, ConfigError> {
        let mut settings = Self::default();
        for node in entries.items() {
            if let Some(setting) = Setting::of(section, &node, kind, protocol)? {
                settings.add(setting);
            }
        }
        Ok(settings)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Whether a member of the body has a setting.
    pub(crate) fn sets(&self, name: &str) -> bool {
        self.batches.iter().flatten().any(|setting| matches!(setting.path.as_slice(), [only] if only == name))
    }

    fn add(&mut self, setting: Setting) {
        let meets = |other: &Setting| other.path.first() == setting.path.first();
        match self.batches.last_mut().filter(|batch| !batch.iter().any(meets)) {
            Some(batch) => batch.push(setting),
            None => self.batches.push(vec![setting]),
        }
    }

    /// Makes settings in a body.
    ///
    /// # Errors
    /// It is no JSON object.
    pub(crate) fn apply(&self, text: &[u8], part: Part) -> Result<Applied, JsonError> {
        let mut applied = Applied::default();
        for batch in &self.batches {
            let before = applied.body.as_deref().unwrap_or(text);
            let body = json::object(before)?;
            let mut patch = Patch::new(before);
            let mut batch = batch.iter().filter(|setting| setting.is_of(part, &body));
            let misfit = batch.find(|setting| !setting.put(&body, &setting.path, &mut patch));
            if !patch.is_empty() {
                applied.body = Some(patch.finish());
            }
            if let Some(misfit) = misfit {
                applied.misfit = Some(misfit.path.join("."));
                break;
            }
        }
        Ok(applied)
    }
}

impl Setting {
    fn of(
        section: &mut Section<'_>,
        node: &Node<'_>,
        kind: &str,
        protocol: Protocol,
    ) -> Result<Option<Self>, ConfigError> {
        let entry: Entry = section.read_node(node)?;
        let Some(value) = node.get("value") else {
            section.warn(node.path(), "a setting without a value has no effect");
            return Ok(None);
        };
        let (api, prefix) = match protocol {
            Protocol::OpenAi => ("openai", None),
            Protocol::Original => (kind, found(PREFIXES, kind)),
        };
        let name = if entry.mode == "raw" {
            entry.name
        } else {
            let names = NAMES.iter().find(|(name, _)| *name == entry.name);
            match names.and_then(|(_, names)| found(names, api)) {
                Some(name) => name.to_owned(),
                None => {
                    let message = "no such setting here; with `mode: raw` a name is written as it is";
                    section.warn(node.path(), message);
                    return Ok(None);
                }
            }
        };
        let mut path: Vec<String> = prefix.map(str::to_owned).into_iter().collect();
        path.extend(steps(&name));
        if path.iter().any(String::is_empty) {
            section.warn(node.path(), "a setting without a name has no effect");
            return Ok(None);
        }
        Ok(Some(Self::new(path, value.value().to_string().into_bytes(), entry.overwrite)))
    }

    fn new(path: Vec<String>, value: Vec<u8>, overwrite: bool) -> Self {
        let name = path.first().map_or("", String::as_str);
        let is_default_of_chats = !overwrite && path.len() == 1 && OF_CHATS.contains(&name);
        Self { path, value, overwrite, is_default_of_chats }
    }

    /// Whether it is made in this part. A chat may say by another name how much may be said.
    fn is_of(&self, part: Part, body: &Object<'_>) -> bool {
        match part {
            Part::All => true,
            Part::BehindChat => !self.is_default_of_chats,
            Part::Chat => {
                let is_said = || self.limits() && body.get("max_completion_tokens").is_some();
                self.is_default_of_chats && !is_said()
            }
        }
    }

    fn limits(&self) -> bool {
        self.path.first().is_some_and(|name| name == "max_tokens")
    }

    /// Puts the value where `steps` lead to. `false`: there is no such place.
    fn put(&self, object: &Object<'_>, steps: &[String], patch: &mut Patch<'_>) -> bool {
        let Some((name, rest)) = steps.split_first() else { return false };
        match object.get(name) {
            Some(value) if !rest.is_empty() => return self.put_inside(value, rest, patch),
            Some(_) if !self.overwrite => {}
            _ => patch.set(object, name, &self.wrapped(rest)),
        }
        true
    }

    fn put_inside(&self, value: Raw<'_>, steps: &[String], patch: &mut Patch<'_>) -> bool {
        let Some((step, rest)) = steps.split_first() else { return false };
        match value.kind() {
            Kind::Object => value.object().is_some_and(|object| self.put(&object, steps, patch)),
            Kind::Array => {
                let elements = value.elements().unwrap_or_default();
                let Ok(at) = step.parse::<usize>() else { return false };
                match elements.get(at) {
                    Some(element) if !rest.is_empty() => return self.put_inside(*element, rest, patch),
                    Some(element) if self.overwrite => patch.replace(*element, &self.value),
                    Some(_) => {}
                    None if at == elements.len() => patch.insert(value, &elements, at, &self.wrapped(rest)),
                    None => return false,
                }
                true
            }
            // Nothing can stand inside; whether this may go is said by `overwrite`.
            _ => {
                if self.overwrite || value.kind() == Kind::Null {
                    patch.replace(value, &self.wrapped(steps));
                }
                true
            }
        }
    }

    /// The value inside the objects that are still to be made.
    fn wrapped(&self, steps: &[String]) -> Vec<u8> {
        let mut text = Vec::with_capacity(self.value.len() + 16 * steps.len());
        for step in steps {
            text.push(b'{');
            json::write_string(&mut text, step);
            text.push(b':');
        }
        text.extend_from_slice(&self.value);
        text.resize(text.len() + steps.len(), b'}');
        text
    }
}

fn found<'a>(names: &[(&str, &'a str)], kind: &str) -> Option<&'a str> {
    names.iter().find(|(known, _)| *known == kind).map(|(_, name)| *name)
}

/// A name taken apart at its dots.
fn steps(name: &str) -> Vec<String> {
    let mut steps = vec![String::new()];
    let mut chars = name.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '.' => steps.push(String::new()),
            '\\' if chars.peek() == Some(&'.') => {
                chars.next();
                steps.iter_mut().last().into_iter().for_each(|step| step.push('.'));
            }
            char => steps.iter_mut().last().into_iter().for_each(|step| step.push(char)),
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(entries: &[(&str, &str, bool)]) -> CustomSettings {
        let mut settings = CustomSettings::default();
        for (name, value, overwrite) in entries {
            settings.add(Setting::new(steps(name), value.as_bytes().to_vec(), *overwrite));
        }
        settings
    }

    fn check(entries: &[(&str, &str, bool)], before: &str, after: &str) {
        let applied = settings(entries).apply(before.as_bytes(), Part::All).unwrap();
        let body = applied.body.unwrap_or_else(|| before.as_bytes().to_vec());
        assert_eq!(String::from_utf8(body).unwrap(), after);
        assert_eq!(applied.misfit, None);
    }

    #[test]
    fn a_value_is_put_where_its_path_leads() {
        check(&[("a", "5", true)], r#"{ "a" : 9 }"#, r#"{ "a" : 5 }"#);
        check(&[("a.b", r#"{"c":1}"#, true)], "{}", r#"{"a":{"b":{"c":1}}}"#);
        check(&[("a.b.c", "1", true)], r#"{"a":{"x":0}}"#, r#"{"a":{"x":0,"b":{"c":1}}}"#);
        check(&[("a.1.b", "7", true)], r#"{"a":[0,{"b":1}]}"#, r#"{"a":[0,{"b":7}]}"#);
        check(&[("a.0", "7", true), ("b.2", "8", true)], r#"{"a":[],"b":[0,1]}"#, r#"{"a":[7],"b":[0,1,8]}"#);
        check(&[("a.b", "1", true)], r#"{"a":5}"#, r#"{"a":{"b":1}}"#);
        check(&[(r"a\.b", "1", true)], "{}", r#"{"a.b":1}"#);
    }

    #[test]
    fn what_is_there_may_be_kept() {
        check(&[("a", "5", false)], r#"{"a":null}"#, r#"{"a":null}"#);
        check(&[("a", "5", false)], "{}", r#"{"a":5}"#);
        check(&[("a.b", "5", false)], r#"{"a":null}"#, r#"{"a":{"b":5}}"#);
        check(&[("a.b", "5", false)], r#"{"a":"x"}"#, r#"{"a":"x"}"#);
        check(&[("a.0", "5", false)], r#"{"a":[1]}"#, r#"{"a":[1]}"#);
    }

    #[test]
    fn what_a_chat_may_say_stands_in_before_it_becomes_something_else() {
        let settings = settings(&[
            ("max_tokens", "9", false),
            ("top_k", "1", true),
            ("x", "2", false),
            ("a.b", "3", false),
        ]);
        let made = |applied: Result<Applied, JsonError>| {
            applied.unwrap().body.map(|body| String::from_utf8(body).unwrap()).unwrap_or_default()
        };
        assert_eq!(made(settings.apply(b"{}", Part::Chat)), r#"{"max_tokens":9}"#);
        assert_eq!(made(settings.apply(br#"{"max_tokens":1}"#, Part::Chat)), "");
        assert_eq!(made(settings.apply(br#"{"max_completion_tokens":1}"#, Part::Chat)), "");
        assert_eq!(made(settings.apply(b"{}", Part::BehindChat)), r#"{"top_k":1,"x":2,"a":{"b":3}}"#);
    }

    #[test]
    fn later_settings_see_earlier_ones() {
        check(
            &[("a.b", "1", true), ("x", "0", true), ("a.c", "2", true)],
            "{}",
            r#"{"a":{"b":1,"c":2},"x":0}"#,
        );
        check(&[("a", "{}", true), ("a.b", "2", true), ("a", "3", false)], "{}", r#"{"a":{"b":2}}"#);
    }

    #[test]
    fn a_setting_without_a_place_ends_the_list() {
        let list = [("x", "1", true), ("a.n", "1", true), ("y", "2", true)];
        let applied = settings(&list).apply(br#"{"a":[]}"#, Part::All).unwrap();
        assert_eq!(applied.body.as_deref(), Some(&br#"{"a":[],"x":1}"#[..]));
        assert_eq!(applied.misfit.as_deref(), Some("a.n"));
        assert_eq!(
            settings(&[("a.7", "1", true)]).apply(br#"{"a":[]}"#, Part::All).unwrap().misfit.as_deref(),
            Some("a.7")
        );
        assert!(settings(&list).apply(b"oops", Part::All).is_err());
    }
}
