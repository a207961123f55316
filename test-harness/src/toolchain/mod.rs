//! `cargo plugins`: every plugin as a finished Wasm module, and what it may weigh.

use std::collections::BTreeMap;
use std::io::{self, BufReader, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

pub mod choose;
mod entry_points;
pub mod image;
mod symbols;

use crate::{lock, target_folder, workspace_root};

/// What Envoy runs.
const TARGET: &str = "wasm32-wasip1";

/// One finished module.
#[derive(Debug, Clone)]
pub struct Built {
    /// The package, which is the folder and the file stem too.
    pub name: String,
    /// The finished module.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// The most it may weigh, from `package.metadata.plugin.wasm-budget-kib` of its manifest.
    pub budget_kib: Option<u64>,
}

impl Built {
    /// Whether the module weighs more than its manifest allows.
    pub fn is_over_budget(&self) -> bool {
        self.budget_kib.is_some_and(|budget| self.size > budget * 1024)
    }
}

/// Why there are no modules.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// No compiler for the target.
    #[error("{0}")]
    NoToolchain(String),
    /// Cargo said why on stderr.
    #[error("cargo could not build the Wasm modules in {0}")]
    Build(String),
    /// A manifest that is not one.
    #[error("{path}: {message}")]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// The build gave no module of this name.
    #[error("no crate `{name}` in {folder}; there are: {known}")]
    Unknown {
        /// The name asked for.
        name: String,
        /// Where it was looked for.
        folder: String,
        /// What is there.
        known: String,
    },
    /// A file could not be read or written.
    #[error("{path}: {message}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        message: String,
    },
}

/// Builds every crate of `plugins/`; at most once in a process.
pub fn build_plugins() -> Result<Vec<Built>, Error> {
    static BUILT: OnceLock<Result<Vec<Built>, Error>> = OnceLock::new();
    BUILT.get_or_init(|| build("plugins", "plugins")).clone()
}

/// Builds the modules the tests themselves need; at most once in a process.
pub fn build_modules() -> Result<Vec<Built>, Error> {
    static BUILT: OnceLock<Result<Vec<Built>, Error>> = OnceLock::new();
    BUILT.get_or_init(|| build("test-harness/modules", "modules")).clone()
}

/// The finished module of one plugin.
pub fn plugin(name: &str) -> Result<PathBuf, Error> {
    find(build_plugins()?, name, "plugins")
}

/// The finished module of one crate in `test-harness/modules`.
pub fn module(name: &str) -> Result<PathBuf, Error> {
    find(build_modules()?, name, "test-harness/modules")
}

/// A copy of a module with no other entry points than another one has.
pub fn like(module: &Built, other: &Built) -> Result<Built, Error> {
    let read = |built: &Built| std::fs::read(&built.path).map_err(|error| io_error(&built.path, &error));
    let unreadable = || io_error(&module.path, &io::Error::from(io::ErrorKind::InvalidData));
    let copy = entry_points::keep_those_of(&read(other)?, &read(module)?).ok_or_else(unreadable)?;
    let path = module.path.with_file_name(format!("{}-like-{}.wasm", module.name, other.name));
    replace_if_different(&copy, &path)?;
    Ok(Built { path, size: copy.len() as u64, ..module.clone() })
}

/// The finished module of a plugin, or else of a test module, with this name.
pub fn plugin_or_module(name: &str) -> Result<PathBuf, Error> {
    let is_plugin = workspace_root().join("plugins").join(name).join("Cargo.toml").is_file();
    if is_plugin { plugin(name) } else { module(name) }
}

fn find(built: Vec<Built>, name: &str, folder: &str) -> Result<PathBuf, Error> {
    let known = built.iter().map(|built| built.name.as_str()).collect::<Vec<_>>().join(", ");
    built.into_iter().find(|built| built.name == name).map(|built| built.path).ok_or_else(|| Error::Unknown {
        name: name.to_owned(),
        folder: folder.to_owned(),
        known,
    })
}

/// `harness plugins`: builds, prints the table, and fails if a module is over its budget.
pub fn run(_arguments: &[String]) -> ExitCode {
    match build_plugins() {
        Ok(built) => {
            print!("{}", table(&built));
            let fits = !built.iter().any(Built::is_over_budget);
            if fits { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn table(built: &[Built]) -> String {
    let width = built.iter().map(|built| built.name.len()).max().unwrap_or(0).max("plugin".len());
    let mut table = format!("{:<width$}  {:>10}  {:>10}\n", "plugin", "size", "budget");
    for built in built {
        let size = format!("{:.1} KiB", built.size as f64 / 1024.0);
        let budget = built.budget_kib.map_or_else(|| "none".to_owned(), |kib| format!("{kib} KiB"));
        let verdict = if built.is_over_budget() { "  OVER BUDGET" } else { "" };
        table.push_str(&format!("{:<width$}  {size:>10}  {budget:>10}{verdict}\n", built.name));
    }
    table
}

/// What a manifest says of the package.
struct Package {
    name: String,
    budget_kib: Option<u64>,
}

fn build(folder: &str, finished: &str) -> Result<Vec<Built>, Error> {
    let packages = packages(&workspace_root().join(folder))?;
    if packages.is_empty() {
        return Ok(Vec::new());
    }
    let _lock = lock::acquire("wasm-build").map_err(|error| io_error(Path::new("target/tools"), &error))?;
    let files = cargo_build(folder, &packages)?;
    let finished = target_folder(finished);
    packages
        .into_iter()
        .map(|package| {
            let file = files.get(&package.name).ok_or_else(|| Error::Build(folder.to_owned()))?;
            let path = finished.join(format!("{}.wasm", package.name));
            let size = finish(file, &path)?;
            Ok(Built { name: package.name, path, size, budget_kib: package.budget_kib })
        })
        .collect()
}

fn packages(folder: &Path) -> Result<Vec<Package>, Error> {
    let mut packages = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path().join("Cargo.toml");
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let manifest: toml::Table = text.parse().map_err(|error: toml::de::Error| Error::Manifest {
            path: path.clone(),
            message: error.to_string(),
        })?;
        let package = manifest.get("package");
        let name = package
            .and_then(|package| package.get("name")?.as_str())
            .ok_or_else(|| Error::Manifest { path: path.clone(), message: "no package.name".to_owned() })?;
        let budget_kib = package
            .and_then(|package| package.get("metadata")?.get("plugin")?.get("wasm-budget-kib")?.as_integer())
            .and_then(|kib| u64::try_from(kib).ok());
        packages.push(Package { name: name.to_owned(), budget_kib });
    }
    packages.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(packages)
}

/// Builds the packages in one go; gives the module of each.
fn cargo_build(folder: &str, packages: &[Package]) -> Result<BTreeMap<String, PathBuf>, Error> {
    let toolchain = choose::choose().map_err(|error| Error::NoToolchain(error.to_string()))?;
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace_root()).arg("build");
    toolchain.apply(&mut cargo);
    cargo.args(["--target", TARGET, "--profile", "plugin", "--message-format", "json-render-diagnostics"]);
    cargo.arg("--target-dir").arg(target_folder("wasm"));
    for package in packages {
        cargo.args(["--package", &package.name]);
    }
    if io::stderr().is_terminal() {
        cargo.env("CARGO_TERM_COLOR", "always");
    }
    let failed = |_| Error::Build(folder.to_owned());
    let mut child =
        cargo.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(failed)?;
    let progress =
        child.stderr.take().map(|stderr| std::thread::spawn(move || forward(BufReader::new(stderr))));
    let files = child.stdout.take().map(|stdout| modules(BufReader::new(stdout))).unwrap_or_default();
    if let Some(progress) = progress {
        let _ = progress.join();
    }
    let status = child.wait().map_err(failed)?;
    if status.success() { Ok(files) } else { Err(Error::Build(folder.to_owned())) }
}

/// Shows cargo's progress, without the line it ends with even when there was nothing to do.
fn forward(lines: impl io::BufRead) {
    for line in lines.split(b'\n').map_while(Result::ok) {
        if !String::from_utf8_lossy(&line).contains("Finished") {
            let _ = io::stderr().write_all(&[line.as_slice(), b"\n"].concat());
        }
    }
}

/// Package name and module, from cargo's messages.
fn modules(messages: impl io::BufRead) -> BTreeMap<String, PathBuf> {
    let mut modules = BTreeMap::new();
    for line in messages.lines().map_while(Result::ok) {
        let Ok(message) = serde_json::from_str::<Value>(&line) else { continue };
        if message["reason"] != "compiler-artifact" {
            continue;
        }
        let files = message["filenames"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let module = files.filter(|file| file.ends_with(".wasm")).map(PathBuf::from).next();
        // The manifest's folder, not the target's name: that one has its dashes replaced.
        let folder = message["manifest_path"].as_str().and_then(|path| Path::new(path).parent()?.file_name());
        if let (Some(module), Some(folder)) = (module, folder) {
            modules.insert(folder.to_string_lossy().into_owned(), module);
        }
    }
    modules
}

/// Puts the new module in place, and the names of its functions beside it. Gives the module's size.
fn finish(from: &Path, to: &Path) -> Result<u64, Error> {
    let module = std::fs::read(from).map_err(|error| io_error(from, &error))?;
    let unreadable = || io_error(from, &io::Error::from(io::ErrorKind::InvalidData));
    let module = entry_points::keep_used(&module).ok_or_else(unreadable)?;
    let (module, names) = symbols::split(&module).ok_or_else(unreadable)?;
    replace_if_different(&names.into_bytes(), &to.with_extension("symbols"))?;
    replace_if_different(&module, to)?;
    Ok(module.len() as u64)
}

/// Replaces a file at once, since an Envoy may be reading the old one.
fn replace_if_different(new: &[u8], to: &Path) -> Result<(), Error> {
    if std::fs::read(to).is_ok_and(|old| old == new) {
        return Ok(());
    }
    let mut partial = to.as_os_str().to_owned();
    partial.push(".new");
    let partial = PathBuf::from(partial);
    std::fs::write(&partial, new).map_err(|error| io_error(&partial, &error))?;
    std::fs::rename(&partial, to).map_err(|error| io_error(to, &error))
}

fn io_error(path: &Path, error: &io::Error) -> Error {
    Error::Io { path: path.to_path_buf(), message: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(size: u64, budget_kib: Option<u64>) -> Built {
        Built { name: "ai-proxy".to_owned(), path: PathBuf::new(), size, budget_kib }
    }

    #[test]
    fn a_module_of_exactly_its_budget_fits() {
        assert!(!built(900 * 1024, Some(900)).is_over_budget());
        assert!(built(900 * 1024 + 1, Some(900)).is_over_budget());
        assert!(!built(u64::MAX, None).is_over_budget());
    }

    #[test]
    fn table_marks_what_is_over_its_budget() {
        let table = table(&[built(512 * 1024, Some(900)), built(1024 * 1024, Some(900)), built(1, None)]);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[1], "ai-proxy   512.0 KiB     900 KiB");
        assert_eq!(lines[2], "ai-proxy  1024.0 KiB     900 KiB  OVER BUDGET");
        assert_eq!(lines[3], "ai-proxy     0.0 KiB        none");
    }

    #[test]
    fn modules_are_named_by_their_folder() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","manifest_path":"/w/common/Cargo.toml","filenames":["/t/libcommon.rlib"]}"#,
            "\n",
            r#"{"reason":"compiler-artifact","manifest_path":"/w/plugins/ai-proxy/Cargo.toml","filenames":["/t/ai_proxy.wasm","/t/libai_proxy.rlib"]}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        let modules = modules(messages.as_bytes());
        assert_eq!(modules, BTreeMap::from([("ai-proxy".to_owned(), PathBuf::from("/t/ai_proxy.wasm"))]));
    }
}
