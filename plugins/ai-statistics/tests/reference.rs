//! What the README says of every key is what the code says. `UPDATE=1 cargo test -p ai-statistics --test reference`
//! writes it.

#[test]
fn the_readme_lists_every_key_as_the_code_has_it() {
    let writes = std::env::var_os("UPDATE").is_some();
    common::testkit::check_readme(env!("CARGO_MANIFEST_DIR"), &ai_statistics::reference(), writes);
}
