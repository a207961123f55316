//! Paths as texts: split, stripped and joined by whole segments. A query is never touched.

/// The path and, without its question mark, the query.
#[must_use]
pub fn split(path: &str) -> (&str, Option<&str>) {
    match path.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path, None),
    }
}

/// Whether this is a path as HTTP has it: it begins with a slash, and every percent sign is followed by
/// two hex digits.
#[must_use]
pub fn is_valid(path: &str) -> bool {
    let (path, _) = split(path);
    let escapes = path.bytes().enumerate().filter(|(_, byte)| *byte == b'%');
    let is_digit = |at: usize| path.as_bytes().get(at).is_some_and(u8::is_ascii_hexdigit);
    path.starts_with('/') && escapes.map(|(at, _)| at).all(|at| is_digit(at + 1) && is_digit(at + 2))
}

/// The path without a base, which must end where a segment does. The result begins with a slash.
#[must_use]
pub fn strip_prefix(path: &str, base: &str) -> Option<String> {
    let rest = path.strip_prefix(base.trim_end_matches('/'))?;
    match rest.as_bytes().first() {
        None => Some("/".into()),
        Some(b'/') => Some(rest.into()),
        Some(b'?') => Some(format!("/{rest}")),
        Some(_) => None,
    }
}

/// One path behind another, with one slash between them and one in front.
#[must_use]
pub fn join(base: &str, path: &str) -> String {
    let (base, path) = (base.trim_matches('/'), path.trim_start_matches('/'));
    if base.is_empty() { format!("/{path}") } else { format!("/{base}/{path}") }
}

/// A path with a query behind it, or behind the one that it has.
#[must_use]
pub fn with_query(path: &str, query: Option<&str>) -> String {
    match query {
        Some(query) => format!("{path}{}{query}", if path.contains('?') { '&' } else { '?' }),
        None => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_split_at_its_first_question_mark() {
        assert_eq!(split("/a?b=c?d"), ("/a", Some("b=c?d")));
        assert_eq!(split("/a"), ("/a", None));
        assert_eq!(split("/a?"), ("/a", Some("")));
    }

    #[test]
    fn a_broken_escape_makes_a_path_invalid() {
        for valid in ["/", "/a%20b", "/v1/x?q=%zz", "/%C3%bc"] {
            assert!(is_valid(valid), "{valid}");
        }
        for invalid in ["", "a", "/v1/%zz", "/%", "/%2", "*", "/%é1", "http://h/x"] {
            assert!(!is_valid(invalid), "{invalid}");
        }
    }

    #[test]
    fn a_base_is_stripped_by_whole_segments() {
        assert_eq!(strip_prefix("/ai/v1", "/ai").as_deref(), Some("/v1"));
        assert_eq!(strip_prefix("/ai/v1", "/ai/").as_deref(), Some("/v1"));
        assert_eq!(strip_prefix("/aix/v1", "/ai"), None);
        assert_eq!(strip_prefix("/ai", "/ai").as_deref(), Some("/"));
        assert_eq!(strip_prefix("/ai?x", "/ai").as_deref(), Some("/?x"));
        assert_eq!(strip_prefix("/x", "/"), Some("/x".into()));
    }

    #[test]
    fn joined_paths_have_one_slash_between_them() {
        for (base, path) in [("/a", "/b"), ("/a/", "b"), ("a", "/b"), ("/a/", "//b")] {
            assert_eq!(join(base, path), "/a/b");
        }
        assert_eq!(join("", "b"), "/b");
        assert_eq!(join("/", "/b/"), "/b/");
    }

    #[test]
    fn queries_are_joined() {
        assert_eq!(with_query("/a", Some("x=1")), "/a?x=1");
        assert_eq!(with_query("/a?y=2", Some("x=1")), "/a?y=2&x=1");
        assert_eq!(with_query("/a", None), "/a");
    }
}
