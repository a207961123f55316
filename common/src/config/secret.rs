//! Text that must never be printed.

use std::fmt;

use serde::{Deserialize, Deserializer};

use super::load::Variables;

/// The name by which the config deserializer knows a secret.
pub(super) const MARKER: &str = "$secret";

/// A key, token or password from the configuration.
///
/// It has no `Display` and no `Serialize`, and its `Debug` is `***`. In the configuration, `${NAME}`
/// in it stands for an environment variable of the VM (`vm_config.environment_variables`), and `$${`
/// for the two characters `${`.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    /// The text itself, for the one place that sends it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether there is no text at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Secret;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<Secret, D::Error> {
                String::deserialize(inner).map(Secret)
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Secret, E> {
                Ok(Secret(text.to_owned()))
            }
        }
        deserializer.deserialize_newtype_struct(MARKER, Visitor)
    }
}

/// Puts variables in their places. The error says what is wrong without saying what the text is.
pub(super) fn substitute(text: &str, variables: Variables<'_>) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("${") {
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = behind;
            continue;
        }
        out.push_str(before);
        let Some((name, behind)) = behind.split_once('}') else {
            return Err("a `${` lacks its `}` (write `$${` for the characters themselves)".into());
        };
        match variables(name) {
            Some(value) => out.push_str(&value),
            None => {
                return Err(format!(
                    "the environment variable {name:?} is not set (vm_config.environment_variables names it to the VM)"
                ));
            }
        }
        rest = behind;
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&str, &str>) {
        let variables = |name: &str| match name {
            "KEY" => Some("sk-1".to_owned()),
            "NESTED" => Some("${KEY}".to_owned()),
            _ => None,
        };
        match (substitute(text, &variables), expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected),
            (Err(found), Err(expected)) => assert!(found.contains(expected), "{found}"),
            (found, expected) => panic!("{found:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn variables_stand_anywhere_in_a_secret() {
        check("plain", Ok("plain"));
        check("${KEY}", Ok("sk-1"));
        check("a${KEY}b${KEY}", Ok("ask-1bsk-1"));
        check("$${KEY}", Ok("${KEY}"));
        check("${NESTED}", Ok("${KEY}"));
        check("$KEY $", Ok("$KEY $"));
        check("${}", Err("\"\" is not set"));
        check("${MISSING}", Err("\"MISSING\" is not set"));
        check("secret${KEY", Err("lacks its `}`"));
    }

    #[test]
    fn a_secret_prints_as_stars() {
        assert_eq!(
            format!("{:?} {:#?}", Secret::from("sk-1"), Some(Secret::from("sk-1"))),
            "*** Some(\n    ***,\n)"
        );
    }
}
