//! Paths that ask for more than one name after the other: the GJSON dialect, as far as configurations use it.
//!
//! Dots stand between steps; a bar puts the result of all before it in front of what follows. A step is the name
//! of a member, with `*` and `?` for any characters, or the index of an element; `#`, which at the end is the
//! number of elements and before more steps means each element; `#(path == value)` for the first element of which
//! that holds, `#(…)#` for all; or `@reverse`, `@this`, `@keys`, `@values`, `@flatten`. A backslash takes the next
//! character as it is.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::object::{Kind, Raw, value};
use super::write_string;

/// A compiled path.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// What stands between bars.
    pipes: Vec<Vec<Step>>,
}

/// Why a text is no path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// A condition has no end.
    #[error("a parenthesis is not closed")]
    Unclosed,
    /// A modifier that is not known here.
    #[error("no modifier of this name: @{0}")]
    UnknownModifier(String),
}

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Name(String),
    Pattern(String),
    Each,
    First(Condition),
    All(Condition),
    Modifier(Modifier),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Modifier {
    This,
    Reverse,
    Keys,
    Values,
    Flatten,
}

#[derive(Debug, Clone, PartialEq)]
struct Condition {
    /// `None`: the element itself.
    path: Option<Box<Query>>,
    test: Test,
}

#[derive(Debug, Clone, PartialEq)]
enum Test {
    Exists,
    Compares(Operator, Operand),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Like,
    NotLike,
}

#[derive(Debug, Clone, PartialEq)]
enum Operand {
    Text(String),
    Number(f64),
    Word(&'static str),
}

/// Longer ones first, so that none is taken for the beginning of another.
const OPERATORS: [(&str, Operator); 9] = [
    ("==", Operator::Equal),
    ("!=", Operator::NotEqual),
    ("<=", Operator::LessOrEqual),
    (">=", Operator::GreaterOrEqual),
    ("!%", Operator::NotLike),
    ("=", Operator::Equal),
    ("<", Operator::Less),
    (">", Operator::Greater),
    ("%", Operator::Like),
];

impl Query {
    /// Reads a path.
    ///
    /// # Errors
    /// A condition does not end, or a modifier is not known.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        let mut pipes = vec![Vec::new()];
        let mut rest = text;
        loop {
            let (step, behind) = step(rest)?;
            if let Some(steps) = pipes.last_mut() {
                steps.push(step);
            }
            let mut chars = behind.chars();
            match chars.next() {
                Some('|') => pipes.push(Vec::new()),
                Some(_) => {}
                None => return Ok(Self { pipes }),
            }
            rest = chars.as_str();
        }
    }

    /// The member of an object without which there is no result, if the path begins with one.
    #[must_use]
    pub fn first(&self) -> Option<&str> {
        match self.pipes.first()?.first()? {
            Step::Name(name) => Some(name),
            _ => None,
        }
    }

    /// The text of the value that the path leads to. A null is a value.
    #[must_use]
    pub fn find<'a>(&self, text: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        let mut found = Cow::Borrowed(value(text).ok()?.text());
        for steps in &self.pipes {
            found = match found {
                Cow::Borrowed(text) => walk(steps, text)?,
                Cow::Owned(text) => Cow::Owned(walk(steps, &text)?.into_owned()),
            };
        }
        Some(found)
    }
}

/// The first step of a path, and what stands behind it, its dot or bar first.
fn step(text: &str) -> Result<(Step, &str), QueryError> {
    if let Some(name) = text.strip_prefix('@') {
        let end = name.find(['.', '|']).unwrap_or(name.len());
        let (name, behind) = name.split_at_checked(end).unwrap_or((name, ""));
        // An argument may follow a colon; none of ours takes one.
        let modifier = match name.split(':').next().unwrap_or_default() {
            "this" => Modifier::This,
            "reverse" => Modifier::Reverse,
            "keys" => Modifier::Keys,
            "values" => Modifier::Values,
            "flatten" => Modifier::Flatten,
            other => return Err(QueryError::UnknownModifier(other.to_owned())),
        };
        return Ok((Step::Modifier(modifier), behind));
    }
    if let Some(behind) = text.strip_prefix("#(").or_else(|| text.strip_prefix("#[")) {
        let end = closing(behind).ok_or(QueryError::Unclosed)?;
        let (inner, behind) = behind.split_at_checked(end).unwrap_or((behind, ""));
        let behind = behind.get(1..).unwrap_or_default();
        let condition = condition(inner)?;
        return Ok(match behind.strip_prefix('#') {
            Some(behind) => (Step::All(condition), behind),
            None => (Step::First(condition), behind),
        });
    }
    let (mut name, mut pattern, mut is_pattern) = (String::new(), String::new(), false);
    let mut chars = text.char_indices();
    let end = loop {
        match chars.next() {
            None => break text.len(),
            Some((at, '.' | '|')) => break at,
            Some((_, '\\')) => {
                if let Some((_, char)) = chars.next() {
                    name.push(char);
                    if matches!(char, '*' | '?' | '\\') {
                        pattern.push('\\');
                    }
                    pattern.push(char);
                }
            }
            Some((_, char)) => {
                is_pattern |= matches!(char, '*' | '?');
                name.push(char);
                pattern.push(char);
            }
        }
    };
    let behind = text.get(end..).unwrap_or_default();
    Ok(match (is_pattern, text.get(..end)) {
        (true, _) => (Step::Pattern(pattern), behind),
        (false, Some("#")) => (Step::Each, behind),
        (false, _) => (Step::Name(name), behind),
    })
}

/// Where the parenthesis ends whose inside begins here.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut quoted, mut escaped) = (0, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'(' | b'[' => depth += 1,
            b')' | b']' if depth == 0 => return Some(at),
            b')' | b']' => depth -= 1,
            _ => {}
        }
    }
    None
}

fn condition(text: &str) -> Result<Condition, QueryError> {
    let found = operator(text);
    let (path, test) = match found {
        None => (text.trim(), Test::Exists),
        Some((path, operator, operand)) => {
            (path.trim(), Test::Compares(operator, operand_of(operand.trim())))
        }
    };
    let path = if path.is_empty() { None } else { Some(Box::new(Query::parse(path)?)) };
    Ok(Condition { path, test })
}

/// The first operator outside quotes and parentheses, and what stands around it.
fn operator(text: &str) -> Option<(&str, Operator, &str)> {
    let (mut depth, mut quoted, mut escaped) = (0_u32, false, false);
    for (at, char) in text.char_indices() {
        match char {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            _ if quoted => {}
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            _ if depth > 0 => {}
            _ => {
                let (before, rest) = text.split_at_checked(at)?;
                let found = OPERATORS.iter().find_map(|(sign, operator)| {
                    rest.strip_prefix(sign).map(|operand| (before, *operator, operand))
                });
                if found.is_some() {
                    return found;
                }
            }
        }
    }
    None
}

fn operand_of(text: &str) -> Operand {
    let found = value(text.as_bytes()).ok();
    if let Some(text) = found.and_then(|found| found.as_str()) {
        return Operand::Text(text.into_owned());
    }
    match text {
        "true" => Operand::Word("true"),
        "false" => Operand::Word("false"),
        "null" => Operand::Word("null"),
        _ => match found.and_then(|found| found.as_f64()) {
            Some(number) => Operand::Number(number),
            None => Operand::Text(text.trim_matches('"').to_owned()),
        },
    }
}

fn walk<'a>(steps: &[Step], text: &'a [u8]) -> Option<Cow<'a, [u8]>> {
    let Some((step, rest)) = steps.split_first() else { return Some(Cow::Borrowed(text)) };
    match step {
        Step::Name(name) => {
            let here = value(text).ok()?;
            let next = match here.kind() {
                Kind::Object => here.object()?.get(name)?,
                Kind::Array => *here.elements()?.get(name.parse::<usize>().ok()?)?,
                _ => return None,
            };
            walk(rest, next.text())
        }
        Step::Pattern(pattern) => {
            let object = value(text).ok()?.object()?;
            let found = object.members().find(|(name, _)| matches(pattern, name));
            walk(rest, found?.1.text())
        }
        Step::Each => {
            let elements = value(text).ok()?.elements()?;
            if rest.is_empty() {
                return Some(Cow::Owned(elements.len().to_string().into_bytes()));
            }
            let mut found = elements.iter().filter_map(|element| walk(rest, element.text()));
            Some(Cow::Owned(array(&mut found)))
        }
        Step::First(condition) => {
            let elements = value(text).ok()?.elements()?;
            walk(rest, elements.iter().find(|element| condition.holds(**element))?.text())
        }
        Step::All(condition) => {
            let elements = value(text).ok()?.elements()?;
            let found = elements.iter().filter(|element| condition.holds(**element));
            Some(Cow::Owned(array(&mut found.filter_map(|element| walk(rest, element.text())))))
        }
        Step::Modifier(Modifier::This) => walk(rest, text),
        Step::Modifier(modifier) => {
            let made = modifier.of(value(text).ok()?)?;
            Some(Cow::Owned(walk(rest, &made)?.into_owned()))
        }
    }
}

/// One function for all kinds of elements: it is large, and seldom called.
fn array<'a>(elements: &mut dyn Iterator<Item = Cow<'a, [u8]>>) -> Vec<u8> {
    let mut out = vec![b'['];
    for element in elements {
        if out.len() > 1 {
            out.push(b',');
        }
        out.extend_from_slice(&element);
    }
    out.push(b']');
    out
}

impl Modifier {
    #[inline(never)]
    fn of(self, value: Raw<'_>) -> Option<Vec<u8>> {
        let texts = |values: Vec<Raw<'_>>| array(&mut values.iter().map(|value| Cow::Borrowed(value.text())));
        match (self, value.object(), value.elements()) {
            (Self::Reverse, None, Some(mut elements)) => {
                elements.reverse();
                Some(texts(elements))
            }
            (Self::Reverse, Some(object), _) => {
                let mut members: Vec<_> = object.members().collect();
                members.reverse();
                let mut out = vec![b'{'];
                for (name, value) in members {
                    if out.len() > 1 {
                        out.push(b',');
                    }
                    write_string(&mut out, &name);
                    out.push(b':');
                    out.extend_from_slice(value.text());
                }
                out.push(b'}');
                Some(out)
            }
            (Self::Keys, Some(object), _) => {
                let mut names = object.members().map(|(name, _)| Cow::Owned(super::string(&name)));
                Some(array(&mut names))
            }
            (Self::Values, Some(object), _) => {
                Some(texts(object.members().map(|(_, value)| value).collect()))
            }
            (Self::Flatten, None, Some(elements)) => {
                let inner = |element: Raw<'_>| match element.elements() {
                    Some(inner) => inner.iter().map(|value| value.text().to_vec()).collect(),
                    None => vec![element.text().to_vec()],
                };
                Some(array(&mut elements.into_iter().flat_map(inner).map(Cow::Owned)))
            }
            _ => Some(value.text().to_vec()),
        }
    }
}

impl Condition {
    fn holds(&self, element: Raw<'_>) -> bool {
        let found = match &self.path {
            Some(path) => path.find(element.text()),
            None => Some(Cow::Borrowed(element.text())),
        };
        let Some(found) = found else { return false };
        let Test::Compares(operator, operand) = &self.test else { return true };
        let Ok(found) = value(&found) else { return false };
        operator.holds(found, operand)
    }
}

impl Operator {
    fn holds(self, found: Raw<'_>, operand: &Operand) -> bool {
        if let (Self::Like | Self::NotLike, Operand::Text(pattern)) = (self, operand) {
            let is_like = found.as_str().is_some_and(|text| matches(pattern, &text));
            return is_like == (self == Self::Like);
        }
        let order = match operand {
            Operand::Text(text) => found.as_str().map(|found| (*found).cmp(text.as_str())),
            Operand::Number(number) if found.kind() == Kind::Number => {
                found.as_f64().and_then(|found| found.partial_cmp(number))
            }
            Operand::Word(word) if found.text() == word.as_bytes() => Some(Ordering::Equal),
            Operand::Number(_) | Operand::Word(_) => None,
        };
        match self {
            Self::Equal => order == Some(Ordering::Equal),
            Self::NotEqual => order != Some(Ordering::Equal),
            Self::Less => order == Some(Ordering::Less),
            Self::LessOrEqual => order.is_some_and(Ordering::is_le),
            Self::Greater => order == Some(Ordering::Greater),
            Self::GreaterOrEqual => order.is_some_and(Ordering::is_ge),
            Self::Like | Self::NotLike => false,
        }
    }
}

/// Whether a text fits a pattern with `*` and `?`. Linear but for the last `*`, which alone is tried again.
fn matches(pattern: &str, text: &str) -> bool {
    let pattern: Vec<(char, bool)> = {
        let mut chars = pattern.chars();
        let mut out = Vec::new();
        while let Some(char) = chars.next() {
            match char {
                '\\' => out.extend(chars.next().map(|char| (char, false))),
                char => out.push((char, matches!(char, '*' | '?'))),
            }
        }
        out
    };
    let text: Vec<char> = text.chars().collect();
    let (mut at, mut seen, mut star) = (0, 0, None);
    while seen < text.len() {
        match (pattern.get(at), text.get(seen)) {
            (Some(('*', true)), _) => {
                star = Some((at, seen));
                at += 1;
            }
            (Some(('?', true)), Some(_)) => {
                at += 1;
                seen += 1;
            }
            (Some((char, false)), Some(found)) if char == found => {
                at += 1;
                seen += 1;
            }
            _ => {
                let Some((star_at, star_seen)) = star else { return false };
                star = Some((star_at, star_seen + 1));
                at = star_at + 1;
                seen = star_seen + 1;
            }
        }
    }
    pattern.iter().skip(at).all(|(char, is_wild)| *char == '*' && *is_wild)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#" {"model":"m","a.b":1,"messages":[{"role":"system","content":"s"},
        {"role":"user","content":"q1","n":1},{"role":"user","content":"q2","n":22}],
        "usage":{"prompt_tokens":5,"models":[{"id":"x"}]},"null":null,"list":[1,[2,3],"t"],"o":{}} "#;

    fn check(path: &str, expected: Option<&str>) {
        let query = Query::parse(path).unwrap();
        let found = query.find(TEXT.as_bytes());
        assert_eq!(found.as_deref().map(|text| std::str::from_utf8(text).unwrap()), expected, "{path}");
    }

    #[test]
    fn names_and_indexes_lead_to_a_value() {
        check("model", Some("\"m\""));
        check("messages.1.content", Some("\"q1\""));
        check(r"a\.b", Some("1"));
        check("usage.models.0.id", Some("\"x\""));
        check("null", Some("null"));
        check("absent", None);
        check("model.x", None);
        check("messages.7", None);
        check("", None);
    }

    #[test]
    fn each_counts_at_the_end_and_maps_before_more() {
        check("messages.#", Some("3"));
        check("messages.#.content", Some(r#"["s","q1","q2"]"#));
        check("messages.#.n", Some("[1,22]"));
        check("model.#", None);
    }

    #[test]
    fn conditions_choose_elements() {
        check(r#"messages.#(role=="user").content"#, Some("\"q1\""));
        check(r#"messages.#(role=="user")#.content"#, Some(r#"["q1","q2"]"#));
        check(r#"messages.#(role=="user")#|#"#, Some("2"));
        check(r#"messages.#(role != "user").content"#, Some("\"s\""));
        check("messages.#(n>=22).content", Some("\"q2\""));
        check("messages.#(n<2).content", Some("\"q1\""));
        check("messages.#(n).content", Some("\"q1\""));
        check(r#"messages.#(content%"q*")#.n"#, Some("[1,22]"));
        check(r#"messages.#(content!%"q*").role"#, Some("\"system\""));
        check(r#"messages.#(role=="nobody").content"#, None);
        check(r#"messages.#(role=="nobody")#"#, Some("[]"));
        check("list.#(==1)", Some("1"));
    }

    #[test]
    fn modifiers_and_bars_work_on_what_stands_before() {
        check("messages.@reverse.0.content", Some("\"q2\""));
        check("messages.#.content|0", Some("\"s\""));
        check("messages.#(role==\"user\")#.content|@reverse|0", Some("\"q2\""));
        check("usage.@keys", Some(r#"["prompt_tokens","models"]"#));
        check("usage.@values.0", Some("5"));
        check("list.@flatten", Some(r#"[1,2,3,"t"]"#));
        check("o.@this", Some("{}"));
        check("usage.@reverse.@keys.0", Some("\"models\""));
    }

    #[test]
    fn wildcards_take_the_first_member_that_fits() {
        check("mod*", Some("\"m\""));
        check("us?ge.prompt_*", Some("5"));
        check(r"a\*", None);
        assert!(
            matches("a*b*c", "aXbYbZc")
                && !matches("a*b?", "ab")
                && matches("*", "")
                && matches("ab**", "ab")
        );
    }

    #[test]
    fn what_a_path_begins_with_is_known() {
        for (path, first) in
            [("a.b", Some("a")), ("@this", None), ("a*", None), ("#.x", None), (r"a\.b", Some("a.b"))]
        {
            assert_eq!(Query::parse(path).unwrap().first(), first, "{path}");
        }
    }

    #[test]
    fn broken_paths_are_refused_and_broken_texts_have_no_values() {
        assert_eq!(Query::parse("a.#(b==1"), Err(QueryError::Unclosed));
        assert_eq!(Query::parse("a.@nothing"), Err(QueryError::UnknownModifier("nothing".into())));
        let query = Query::parse("a.b").unwrap();
        for text in ["", "nonsense", "{\"a\":{\"b\":}}", "{\"a\":", "[1]"] {
            assert_eq!(query.find(text.as_bytes()), None, "{text}");
        }
    }
}
