//! The tree keeps the rules that a look at its files can check.

#[test]
fn tree_is_tidy() {
    let findings = test_harness::tidy::check(&test_harness::workspace_root());
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "{} findings:\n{}", lines.len(), lines.join("\n"));
}
