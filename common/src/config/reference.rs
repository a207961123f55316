//! Settings that document themselves: what a README says of a key is written where the key is read.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::de::{DeserializeOwned, IgnoredAny};

use super::Secret;
use crate::llm::model_mapping::ModelMapping;

/// Declares a struct of settings: read with every key optional, and listed with its documentation.
///
/// A doc comment is what the README says of the key. After the type may stand `as "…"`, where the words of
/// [`Setting::KIND`] would say too little; then `= value`, what the field holds without its key, or
/// `=> value`, what stands in for a field that is `None` then. Both are shown as the default. Keys are in
/// camel case; with `snake_case` before `struct` they are as the fields.
///
/// ```
/// common::settings! {
///     /// Limits of one route.
///     #[derive(Debug)]
///     pub struct Limits {
///         /// How large a body may be.
///         max_body_bytes: usize = 1024,
///         /// How long to wait.
///         timeout: u64 as "milliseconds",
///     }
/// }
/// use common::config::reference::{Documented, rows};
/// assert_eq!(Limits::default().max_body_bytes, 1024);
/// let rows = rows(&[("", Limits::KEYS)]);
/// assert!(rows.contains("| `maxBodyBytes` | number, 1024 | How large a body may be. |"));
/// ```
#[macro_export]
macro_rules! settings {
    (
        $(#[$outer:meta])*
        $vis:vis struct $name:ident { $($fields:tt)* }
    ) => {
        $crate::settings!(@declare "camelCase" $(#[$outer])* $vis $name { $($fields)* });
    };
    (
        $(#[$outer:meta])*
        $vis:vis snake_case struct $name:ident { $($fields:tt)* }
    ) => {
        $crate::settings!(@declare "snake_case" $(#[$outer])* $vis $name { $($fields)* });
    };
    (
        @declare $case:literal
        $(#[$outer:meta])*
        $vis:vis $name:ident {
            $(
                $(#[doc = $doc:literal])*
                $(#[serde($($serde:tt)*)])?
                $field_vis:vis $field:ident: $type:ty $(as $kind:literal)? $(= $default:expr)? $(=> $shown:expr)?
            ),* $(,)?
        }
    ) => {
        $(#[$outer])*
        #[derive(::serde::Deserialize)]
        #[serde(rename_all = $case, default)]
        $vis struct $name {
            $(
                $(#[doc = $doc])*
                $(#[serde($($serde)*)])?
                $field_vis $field: $type,
            )*
        }

        impl ::core::default::Default for $name {
            fn default() -> Self {
                Self { $($field: $crate::settings!(@first $($default,)? ::core::default::Default::default()),)* }
            }
        }

        impl $crate::config::reference::Setting for $name {
            const KIND: &'static str = "object";
        }

        impl $crate::config::reference::Documented for $name {
            #[cfg(not(target_arch = "wasm32"))]
            const KEYS: &'static [$crate::config::reference::Key] = &[
                $($crate::config::reference::Key {
                    field: stringify!($field),
                    case: $case,
                    kind: $crate::settings!(
                        @first $($kind,)? <$type as $crate::config::reference::Setting>::KIND
                    ),
                    default: || $crate::settings!(
                        @first $($crate::config::reference::Setting::shown(&$shown),)?
                        $crate::config::reference::Setting::shown(&<Self>::default().$field)
                    ),
                    doc: &[$($doc),*],
                },)*
            ];
        }
    };
    (@first $first:expr $(, $other:expr)?) => { $first };
}

/// A struct that [`settings!`](crate::settings) declares.
pub trait Documented: DeserializeOwned {
    /// Its keys, as the README lists them. A plugin in Envoy carries no documentation.
    #[cfg(not(target_arch = "wasm32"))]
    const KEYS: &'static [Key];
}

/// What a README says of one key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// The name of the field it is read into.
    pub field: &'static str,
    /// How its name is made of that: `camelCase` or `snake_case`.
    pub case: &'static str,
    /// What kind of value it has.
    pub kind: &'static str,
    /// What holds without the key; empty where there is nothing to show.
    pub default: fn() -> String,
    /// The lines of its documentation.
    pub doc: &'static [&'static str],
}

impl Key {
    /// The name in configurations, as serde makes it of the field.
    fn name(&self) -> String {
        if self.case == "snake_case" {
            return self.field.trim_start_matches("r#").to_owned();
        }
        let mut name = String::with_capacity(self.field.len());
        let mut raise = false;
        for char in self.field.trim_start_matches("r#").chars() {
            match char {
                '_' => raise = true,
                char => name.push(if std::mem::take(&mut raise) { char.to_ascii_uppercase() } else { char }),
            }
        }
        name
    }

    fn meaning(&self) -> String {
        let lines: Vec<&str> = self.doc.iter().map(|line| line.trim()).collect();
        // A bar would end the cell.
        lines.join(" ").replace('|', "\\|")
    }
}

/// A type that settings have.
pub trait Setting {
    /// What a README calls it.
    const KIND: &'static str;

    /// A default, as a README shows it; empty where there is nothing to show.
    fn shown(&self) -> String {
        String::new()
    }
}

macro_rules! kinds {
    ($($type:ty, $kind:literal $(, $value:ident => $shown:expr)?;)*) => {
        $(impl Setting for $type {
            const KIND: &'static str = $kind;
            $(fn shown(&self) -> String {
                let $value = self;
                $shown
            })?
        })*
    };
}

kinds! {
    bool, "bool", value => format!("`{value}`");
    u16, "number", value => value.to_string();
    u32, "number", value => value.to_string();
    u64, "number", value => value.to_string();
    usize, "number", value => value.to_string();
    f64, "number", value => value.to_string();
    &str, "text", value => quoted(value);
    String, "text", value => quoted(value);
    Vec<String>, "list of texts", value => value.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", ");
    Vec<u16>, "list of numbers", value => value.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
    Secret, "secret";
    Vec<Secret>, "list of secrets";
    BTreeMap<String, String>, "object of texts";
    ModelMapping, "object of texts";
    IgnoredAny, "any";
}

fn quoted(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("`{text}`") }
}

impl<T: Setting> Setting for Option<T> {
    const KIND: &'static str = T::KIND;

    fn shown(&self) -> String {
        self.as_ref().map(T::shown).unwrap_or_default()
    }
}

/// The rows of a table of keys. Where several owners are given, a column says whose a key is; owners of the
/// same key with the same words share a row.
#[must_use]
pub fn rows(owners: &[(&str, &[Key])]) -> String {
    let mut rows: Vec<(String, Vec<String>, String)> = Vec::new();
    for (owner, keys) in owners {
        for key in *keys {
            let default = (key.default)();
            let comma = if default.is_empty() { "" } else { ", " };
            let front = format!("| `{}` | {}{comma}{default} |", key.name(), key.kind);
            let meaning = key.meaning();
            let known = rows.iter_mut().find(|(known, _, words)| *known == front && *words == meaning);
            match known {
                Some((_, owners, _)) => owners.push(format!("`{owner}`")),
                None => rows.push((front, vec![format!("`{owner}`")], meaning)),
            }
        }
    }
    let is_shared = owners.len() > 1;
    let mut out = String::from(if is_shared {
        "| key | type, default | of | meaning |\n|---|---|---|---|\n"
    } else {
        "| key | type, default | meaning |\n|---|---|---|\n"
    });
    for (front, owners, meaning) in rows {
        let of = if is_shared { format!(" {} |", owners.join(", ")) } else { String::new() };
        let _ = writeln!(out, "{front}{of} {meaning} |");
    }
    out
}

/// A text whose generated parts are these: each stands between `<!-- name: … -->` and `<!-- end -->`.
/// A part that the text has no place for is left out.
#[must_use]
pub fn filled(text: &str, parts: &[(&str, String)]) -> String {
    let mut text = text.to_owned();
    for (name, part) in parts {
        let open = format!("<!-- {name}: ");
        let Some((before, rest)) = text.split_once(&open) else { continue };
        let Some((note, rest)) = rest.split_once("-->\n") else { continue };
        let Some((_, after)) = rest.split_once("<!-- end -->") else { continue };
        text = format!("{before}{open}{note}-->\n{part}<!-- end -->{after}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::settings! {
        /// Every form that a field may have.
        #[derive(Debug)]
        struct Sample {
            /// Two lines
            /// of words | and a bar.
            first_key: String = "a".to_owned(),
            /// A keyword.
            r#type: Option<u64> as "whole number" => 7_000_u64,
            /// Nothing to show.
            tokens: Vec<Secret>,
            #[serde(alias = "old")]
            list: Vec<String> = vec!["x".to_owned(), "y".to_owned()],
            on: bool,
        }
    }

    const TABLE: &str = "\
| key | type, default | meaning |
|---|---|---|
| `firstKey` | text, `a` | Two lines of words \\| and a bar. |
| `type` | whole number, 7000 | A keyword. |
| `tokens` | list of secrets | Nothing to show. |
| `list` | list of texts, `x`, `y` |  |
| `on` | bool, `false` |  |
";

    #[test]
    fn keys_are_listed_as_they_are_read() {
        assert_eq!(rows(&[("", Sample::KEYS)]), TABLE);
        let read: Sample = serde_json::from_str(r#"{"type":3,"old":["z"]}"#).unwrap();
        assert_eq!((read.first_key.as_str(), read.r#type, read.on), ("a", Some(3), false));
        assert_eq!((read.list, read.tokens.len()), (vec!["z".to_owned()], 0));
    }

    crate::settings! {
        snake_case struct Snake {
            /// Words.
            two_words: u64,
        }
    }

    #[test]
    fn keys_may_be_in_snake_case() {
        assert!(rows(&[("", Snake::KEYS)]).contains("| `two_words` | number, 0 | Words. |"));
        assert_eq!(serde_json::from_str::<Snake>(r#"{"two_words":3}"#).unwrap().two_words, 3);
    }

    #[test]
    fn owners_of_the_same_key_share_a_row() {
        let both = rows(&[("one", &Sample::KEYS[..1]), ("two", &Sample::KEYS[..2])]);
        assert!(both.contains("| `firstKey` | text, `a` | `one`, `two` | Two"), "{both}");
        assert!(both.contains("| `type` | whole number, 7000 | `two` | A"), "{both}");
    }

    #[test]
    fn only_what_is_between_the_marks_is_filled() {
        let text = "a\n<!-- keys: do not edit -->\nold\n<!-- end -->\nb\n<!-- end -->\n";
        let filled = filled(text, &[("keys", "new\n".to_owned()), ("others", "x".to_owned())]);
        assert_eq!(filled, "a\n<!-- keys: do not edit -->\nnew\n<!-- end -->\nb\n<!-- end -->\n");
    }
}
