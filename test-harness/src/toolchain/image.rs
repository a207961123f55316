//! `cargo harness images`: every plugin as an OCI image, for a registry to keep and for Istio's agent to pull.
//!
//! Each is an [image layout](https://github.com/opencontainers/image-spec/blob/main/image-layout.md) with one layer that holds
//! the module as `plugin.wasm`, which is the name that Istio looks for. The layer has to be compressed: Istio's agent takes
//! `tar+gzip` alone. The same module gives the same bytes, so its digest says what it is.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{Built, Error, build_plugins, io_error};
use crate::{target_folder, workspace_root};

/// The name of the module within its image.
pub const FILE: &str = "plugin.wasm";

/// One image in its folder.
#[derive(Debug, Clone)]
pub struct Image {
    /// The folder of the layout.
    pub folder: PathBuf,
    /// `sha256:…` of its manifest, by which it is pinned.
    pub digest: String,
}

/// `harness images`: builds the plugins, and says where their images are and how to push one.
pub fn run(_arguments: &[String]) -> ExitCode {
    let version = match version() {
        Ok(version) => version,
        Err(error) => return failed(&error),
    };
    let written = build_plugins().and_then(|built| {
        built
            .iter()
            .map(|built| Ok((built.name.clone(), image(built, &version)?)))
            .collect::<Result<Vec<_>, _>>()
    });
    match written {
        Ok(images) => {
            for (name, image) in &images {
                println!("target/images/{name:<14}  {}", image.digest);
            }
            if let Some((name, _)) = images.first() {
                println!("\nskopeo copy oci:target/images/{name} docker://registry.example/{name}:{version}");
            }
            ExitCode::SUCCESS
        }
        Err(error) => failed(&error),
    }
}

fn failed(error: &Error) -> ExitCode {
    eprintln!("{error}");
    ExitCode::FAILURE
}

/// That of the workspace: all plugins have one.
fn version() -> Result<String, Error> {
    let path = workspace_root().join("Cargo.toml");
    let text = fs::read_to_string(&path).map_err(|error| io_error(&path, &error))?;
    let wrong = |message: String| Error::Manifest { path: path.clone(), message };
    let manifest: toml::Table = text.parse().map_err(|error: toml::de::Error| wrong(error.to_string()))?;
    let version =
        manifest.get("workspace").and_then(|workspace| workspace.get("package")?.get("version")?.as_str());
    version.map(str::to_owned).ok_or_else(|| wrong("no workspace.package.version".to_owned()))
}

/// Writes the image of a plugin to `target/images/<name>`.
fn image(built: &Built, version: &str) -> Result<Image, Error> {
    let module = fs::read(&built.path).map_err(|error| io_error(&built.path, &error))?;
    write(&target_folder("images").join(&built.name), &built.name, version, &module)
}

/// Writes the image of a module to a folder, in the place of what is there.
pub fn write(folder: &Path, name: &str, version: &str, module: &[u8]) -> Result<Image, Error> {
    let tar = archive(module);
    let layer = Blob::new("application/vnd.oci.image.layer.v1.tar+gzip", gzip(&tar));
    // A module runs anywhere. This is the platform that those who pull ask for if nobody says otherwise.
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": { "type": "layers", "diff_ids": [digest(&tar)] },
    });
    let config = Blob::new("application/vnd.oci.image.config.v1+json", config.to_string().into_bytes());
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": config.descriptor(),
        "layers": [layer.descriptor()],
        "annotations": {
            "org.opencontainers.image.title": name,
            "org.opencontainers.image.version": version,
            "org.opencontainers.image.licenses": "Apache-2.0",
        },
    });
    let manifest = Blob::new(media_type, manifest.to_string().into_bytes());
    let mut listed = manifest.descriptor();
    listed["annotations"] = json!({ "org.opencontainers.image.ref.name": version });
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [listed],
    });

    let put = |path: PathBuf, bytes: &[u8]| fs::write(&path, bytes).map_err(|error| io_error(&path, &error));
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io_error(folder, &error)),
        _ => {}
    }
    let blobs = folder.join("blobs/sha256");
    fs::create_dir_all(&blobs).map_err(|error| io_error(&blobs, &error))?;
    for blob in [&layer, &config, &manifest] {
        put(blobs.join(blob.digest.trim_start_matches("sha256:")), &blob.bytes)?;
    }
    put(folder.join("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    put(folder.join("index.json"), index.to_string().as_bytes())?;
    Ok(Image { folder: folder.to_path_buf(), digest: manifest.digest })
}

/// What is kept under its digest.
struct Blob {
    media_type: &'static str,
    digest: String,
    bytes: Vec<u8>,
}

impl Blob {
    fn new(media_type: &'static str, bytes: Vec<u8>) -> Self {
        Self { media_type, digest: digest(&bytes), bytes }
    }

    fn descriptor(&self) -> Value {
        json!({ "mediaType": self.media_type, "digest": self.digest, "size": self.bytes.len() })
    }
}

fn digest(bytes: &[u8]) -> String {
    let mut text = "sha256:".to_owned();
    for byte in Sha256::digest(bytes) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// A tar archive (ustar) of the one file: readable by everybody, of nobody, of no time.
fn archive(module: &[u8]) -> Vec<u8> {
    const BLOCK: usize = 512;
    let mut head = [0; BLOCK];
    let mut put = |at: usize, text: &str| head[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, FILE);
    put(100, "0000644\0"); // mode
    put(108, "0000000\0"); // user
    put(116, "0000000\0"); // group
    put(124, &format!("{:011o}\0", module.len()));
    put(136, "00000000000\0"); // when it was changed
    put(148, "        "); // the sum, as which it is counted itself
    put(156, "0"); // a file
    put(257, "ustar\x0000");
    let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
    head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut archive = head.to_vec();
    archive.extend_from_slice(module);
    // To a whole block, and two empty ones as the end.
    archive.resize(archive.len().next_multiple_of(BLOCK) + 2 * BLOCK, 0);
    archive
}

/// One gzip member without a name and a time.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    packed.extend(miniz_oxide::deflate::compress_to_vec(bytes, 9));
    packed.extend(crc32(bytes).to_le_bytes());
    packed.extend((bytes.len() as u32).to_le_bytes());
    packed
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg()))
    })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn module() -> Vec<u8> {
        (0..70_000_u32)
            .flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes())
            .chain([1, 2, 3])
            .collect()
    }

    fn written(folder: &str) -> Image {
        let folder = target_folder("tests").join(format!("image-{folder}-{}", std::process::id()));
        write(&folder, "ai-proxy", "1.2.3", &module()).unwrap()
    }

    fn json_of(path: &Path) -> Value {
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    }

    /// The file of what a descriptor describes, whose digest and size it has.
    fn blob(image: &Image, descriptor: &Value) -> PathBuf {
        let name = descriptor["digest"].as_str().unwrap();
        let path = image.folder.join("blobs/sha256").join(name.strip_prefix("sha256:").unwrap());
        let bytes = fs::read(&path).unwrap();
        assert_eq!(descriptor["size"], bytes.len());
        assert_eq!(digest(&bytes), name);
        path
    }

    #[test]
    fn an_image_is_what_its_digests_say_and_unpacks_to_the_very_module() {
        let image = written("whole");
        let index = json_of(&image.folder.join("index.json"));
        assert_eq!(json_of(&image.folder.join("oci-layout"))["imageLayoutVersion"], "1.0.0");
        assert_eq!(index["manifests"][0]["digest"], image.digest);
        assert_eq!(index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"], "1.2.3");
        let manifest = json_of(&blob(&image, &index["manifests"][0]));
        assert_eq!(manifest["layers"].as_array().unwrap().len(), 1);
        // Istio's agent takes no other kind of layer.
        assert_eq!(manifest["layers"][0]["mediaType"], "application/vnd.oci.image.layer.v1.tar+gzip");
        let layer = blob(&image, &manifest["layers"][0]);
        let config = json_of(&blob(&image, &manifest["config"]));

        let unpacked =
            Command::new("gzip").arg("-dc").stdin(fs::File::open(&layer).unwrap()).output().unwrap();
        assert!(unpacked.status.success(), "{}", String::from_utf8_lossy(&unpacked.stderr));
        assert_eq!(config["rootfs"]["diff_ids"], json!([digest(&unpacked.stdout)]));
        let tar = |arguments: &[&str]| {
            let output = Command::new("tar").args(arguments).arg("-f").arg(&layer).output().unwrap();
            assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
            output.stdout
        };
        assert_eq!(tar(&["-tz"]), b"plugin.wasm\n");
        assert!(tar(&["-xzO"]) == module(), "the module has changed on its way");
        fs::remove_dir_all(&image.folder).unwrap();
    }

    #[test]
    fn the_same_module_gives_the_same_image() {
        let (one, other) = (written("one"), written("other"));
        assert_eq!(one.digest, other.digest);
        let index = |image: &Image| fs::read(image.folder.join("index.json")).unwrap();
        assert_eq!(index(&one), index(&other));
        // Nothing of what was there before is left.
        write(&one.folder, "ai-proxy", "1.2.3", b"\0asm").unwrap();
        assert_eq!(fs::read_dir(one.folder.join("blobs/sha256")).unwrap().count(), 3);
        for image in [one, other] {
            fs::remove_dir_all(&image.folder).unwrap();
        }
    }

    #[test]
    fn sums_are_those_of_the_standards() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(digest(b""), "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
