//! A plugin's README, whose tables of keys are written from the code.

use std::path::Path;

use crate::config::reference::filled;

/// Compares the README in a plugin's folder with its generated parts, by their names, or writes them.
///
/// # Panics
/// The README is stale, or has no place for a part.
#[expect(clippy::panic, clippy::expect_used, reason = "in a test, a panic is the verdict")]
pub fn check_readme(folder: &str, parts: &[(&'static str, String)], writes: bool) {
    let folder = Path::new(folder);
    let path = folder.join("README.md");
    let readme = std::fs::read_to_string(&path).expect("a plugin has a README");
    for (name, _) in parts {
        assert!(readme.contains(&format!("<!-- {name}: ")), "the README has no place for the {name}");
    }
    let fresh = filled(&readme, parts);
    if writes {
        std::fs::write(&path, fresh).expect("the README can be written");
    } else if readme != fresh {
        let plugin = folder.file_name().unwrap_or_default().to_string_lossy();
        panic!("stale: UPDATE=1 cargo test -p {plugin} --test reference");
    }
}
