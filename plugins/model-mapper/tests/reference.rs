//! What the README says of every key is what the code says. `UPDATE=1 cargo test -p model-mapper --test reference`
//! writes it.
use common::config::reference::filled;

#[test]
fn the_readme_lists_every_key_as_the_code_has_it() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = std::fs::read_to_string(path).unwrap();
    let parts = model_mapper::reference();
    for (name, _) in &parts {
        assert!(readme.contains(&format!("<!-- {name}: ")), "the README has no place for the {name}");
    }
    let fresh = filled(&readme, &parts);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, fresh).unwrap();
    } else {
        assert!(readme == fresh, "stale: UPDATE=1 cargo test -p model-mapper --test reference");
    }
}
