//! A writer of OCI image layouts whose output depends on nothing but the files that go in: no clock, no owner, no order
//! of a folder listing. Two people who build the same binaries get the same digest, which is what a policy pins.
//!
//! It writes what we need and no more: one platform, regular files, gzip layers. See the OCI image specification 1.1.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context, Result};
use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// A file or a folder of an image.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Absolute path in the image.
    pub(crate) path: String,
    /// What is there.
    pub(crate) source: Source,
    /// Permission bits.
    pub(crate) mode: u32,
}

/// What an [`Entry`] is.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// The bytes of a file of this machine.
    File(PathBuf),
    /// These bytes.
    Bytes(Vec<u8>),
    /// An empty folder of this user and group. Everything else is root's.
    Folder(u32),
}

impl Entry {
    /// A file whose bytes are those of a file of this machine.
    pub(crate) fn file(path: impl Into<String>, source: PathBuf, mode: u32) -> Self {
        Self { path: path.into(), source: Source::File(source), mode }
    }
}

/// A layer, packed once for every image that has it.
#[derive(Debug)]
pub(crate) struct Layer {
    /// Digest of the archive before compression, by which a config names it.
    diff_id: String,
    compressed: Vec<u8>,
}

impl Layer {
    /// Packs files. `level` is gzip's, from 1 (fast) to 9.
    pub(crate) fn pack(entries: &[Entry], level: u32) -> Result<Rc<Self>> {
        let tar = archive(entries)?;
        Ok(Rc::new(Self { diff_id: digest(&tar), compressed: gzip(&tar, level)? }))
    }
}

/// An image: layers from the bottom up, and how it starts.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    pub(crate) name: String,
    pub(crate) tag: String,
    pub(crate) layers: Vec<Rc<Layer>>,
    pub(crate) entrypoint: Vec<String>,
    pub(crate) user: String,
    /// Where it starts, and its home; `/` for most.
    pub(crate) home: String,
    pub(crate) description: String,
}

/// The creation time in every image: a real one would make two builds differ.
const CREATED: &str = "1970-01-01T00:00:00Z";
/// What the gzip header says about the system that wrote it: unknown.
const GZIP_UNKNOWN_SYSTEM: u8 = 255;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Writes an image as a layout into `folder`, replacing what is there, and returns the digest of its manifest.
pub(crate) fn write_layout(image: &Image, folder: &Path) -> Result<String> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("remove `{}`", folder.display()));
        }
        _ => {}
    }
    let blobs = Blobs { folder: folder.join("blobs/sha256") };
    fs::create_dir_all(&blobs.folder).with_context(|| format!("create `{}`", blobs.folder.display()))?;

    let mut layers = Vec::new();
    let mut diff_ids = Vec::new();
    for layer in &image.layers {
        diff_ids.push(layer.diff_id.as_str());
        layers.push(blobs.put(LAYER, &layer.compressed)?);
    }
    let config = json!({
        "created": CREATED,
        "architecture": "amd64",
        "os": "linux",
        "config": {
            "User": image.user,
            "Env": environment(&image.home),
            "Entrypoint": image.entrypoint,
            "WorkingDir": image.home,
            "Labels": {
                "org.opencontainers.image.title": image.name,
                "org.opencontainers.image.version": image.tag,
                "org.opencontainers.image.description": image.description,
                "org.opencontainers.image.licenses": "Apache-2.0",
            },
        },
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
        "history": image.layers.iter().map(|_| json!({ "created": CREATED, "created_by": "cargo xtask images" }))
            .collect::<Vec<_>>(),
    });
    let config = blobs.put(CONFIG, &serde_json::to_vec(&config)?)?;
    let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers });
    let mut manifest = blobs.put(MANIFEST, &serde_json::to_vec(&manifest)?)?;
    let digest = manifest["digest"].as_str().unwrap_or_default().to_owned();
    manifest["annotations"] = json!({ "org.opencontainers.image.ref.name": image.tag });
    manifest["platform"] = json!({ "architecture": "amd64", "os": "linux" });
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [manifest] });
    write(&folder.join("index.json"), &serde_json::to_vec(&index)?)?;
    write(&folder.join("oci-layout"), &serde_json::to_vec(&json!({ "imageLayoutVersion": "1.0.0" }))?)?;
    Ok(digest)
}

fn environment(home: &str) -> Vec<String> {
    let mut environment = vec!["PATH=/".to_owned()];
    if home != "/" {
        environment.push(format!("HOME={home}"));
    }
    environment
}

struct Blobs {
    folder: PathBuf,
}

impl Blobs {
    /// Stores a blob and returns its descriptor.
    fn put(&self, media_type: &str, bytes: &[u8]) -> Result<Value> {
        let digest = digest(bytes);
        write(&self.folder.join(digest.trim_start_matches("sha256:")), bytes)?;
        Ok(json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() }))
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).with_context(|| format!("write `{}`", path.display()))
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// A tar archive: sorted, owned by 0:0, without times, with the folders that its files need.
fn archive(entries: &[Entry]) -> Result<Vec<u8>> {
    let mut sorted: Vec<&Entry> = entries.iter().collect();
    sorted.sort_by(|a, b| a.path.cmp(&b.path));
    let mut tar = tar::Builder::new(Vec::new());
    tar.mode(tar::HeaderMode::Deterministic);
    let mut folders: Vec<String> = Vec::new();
    for entry in sorted {
        let path = entry.path.trim_start_matches('/');
        for (end, _) in path.match_indices('/') {
            let folder = format!("{}/", &path[..end]);
            if !folders.contains(&folder) {
                let mut header = header(0o755, 0);
                header.set_entry_type(tar::EntryType::Directory);
                tar.append_data(&mut header, &folder, std::io::empty())?;
                folders.push(folder);
            }
        }
        let mut head = header(entry.mode, 0);
        let put = match &entry.source {
            Source::Folder(owner) => {
                head.set_entry_type(tar::EntryType::Directory);
                head.set_uid(u64::from(*owner));
                head.set_gid(u64::from(*owner));
                folders.push(format!("{path}/"));
                tar.append_data(&mut head, format!("{path}/"), std::io::empty())
            }
            Source::Bytes(bytes) => append(&mut tar, head, path, bytes),
            Source::File(source) => {
                let bytes = fs::read(source).with_context(|| format!("read `{}`", source.display()))?;
                append(&mut tar, head, path, &bytes)
            }
        };
        put.with_context(|| format!("put `{}` into a layer", entry.path))?;
    }
    tar.into_inner().context("finish a layer")
}

fn append(tar: &mut tar::Builder<Vec<u8>>, mut head: tar::Header, path: &str, bytes: &[u8]) -> std::io::Result<()> {
    head.set_size(bytes.len() as u64);
    tar.append_data(&mut head, path, bytes)
}

fn header(mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

fn gzip(bytes: &[u8], level: u32) -> Result<Vec<u8>> {
    let builder = GzBuilder::new().mtime(0).operating_system(GZIP_UNKNOWN_SYSTEM);
    let mut encoder = builder.write(Vec::new(), Compression::new(level));
    encoder.write_all(bytes)?;
    encoder.finish().context("compress a layer")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::time::{Duration, SystemTime};

    use super::*;

    const PATHS: [&str; 3] = ["/b", "/models/deep/m.bin", "/a"];

    /// Files in the given order of [`PATHS`], each with its path as content.
    fn entries(dir: &Path, order: &[usize]) -> Vec<Entry> {
        let entry = |path: &str| {
            let source = dir.join(path.replace('/', "_"));
            fs::write(&source, path).expect("write");
            Entry::file(path, source, 0o755)
        };
        order.iter().map(|&n| entry(PATHS[n])).collect()
    }

    fn image(entries: &[Entry]) -> Image {
        Image {
            name: "test".to_owned(),
            tag: "1".to_owned(),
            layers: vec![Layer::pack(entries, 6).expect("packed")],
            entrypoint: vec!["/a".to_owned()],
            user: "0:0".to_owned(),
            home: "/".to_owned(),
            description: "a test".to_owned(),
        }
    }

    #[test]
    fn neither_order_nor_times_nor_modes_of_the_sources_change_the_digest() {
        let dir = tempfile::tempdir().expect("tempdir");
        let first = write_layout(&image(&entries(dir.path(), &[0, 1, 2])), &dir.path().join("one")).expect("written");
        let entries = entries(dir.path(), &[2, 0, 1]);
        let Source::File(source) = &entries[0].source else { panic!("a file") };
        fs::set_permissions(source, fs::Permissions::from_mode(0o600)).expect("chmod");
        let file = fs::File::options().append(true).open(source).expect("open");
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1)).expect("touch");
        let second = write_layout(&image(&entries), &dir.path().join("two")).expect("written");
        assert_eq!(first, second);
    }

    #[test]
    fn another_byte_another_mode_or_another_entrypoint_change_it() {
        let dir = tempfile::tempdir().expect("tempdir");
        let write = |image: &Image| write_layout(image, &dir.path().join("out")).expect("written");
        let mut entries = entries(dir.path(), &[0, 1, 2]);
        let mut first = image(&entries);
        let digest = write(&first);
        first.entrypoint.push("x".to_owned());
        assert_ne!(digest, write(&first));
        let Source::File(source) = entries[0].source.clone() else { panic!("a file") };
        fs::write(&source, "other").expect("write");
        assert_ne!(digest, write(&image(&entries)));
        fs::write(&source, &entries[0].path).expect("write");
        assert_eq!(digest, write(&image(&entries)));
        entries[0].mode = 0o644;
        assert_ne!(digest, write(&image(&entries)));
    }

    #[test]
    fn a_layer_holds_folders_before_files_owned_by_root_without_times() {
        let dir = tempfile::tempdir().expect("tempdir");
        let bytes = archive(&entries(dir.path(), &[0, 1, 2])).expect("an archive");
        let mut archive = tar::Archive::new(bytes.as_slice());
        let mut names = Vec::new();
        for entry in archive.entries().expect("entries") {
            let entry = entry.expect("an entry");
            let header = entry.header();
            assert_eq!((header.uid().ok(), header.gid().ok(), header.mtime().ok()), (Some(0), Some(0), Some(0)));
            names.push(entry.path().expect("a path").to_string_lossy().into_owned());
        }
        assert_eq!(names, ["a", "b", "models/", "models/deep/", "models/deep/m.bin"]);
    }

    #[test]
    fn a_folder_may_belong_to_whoever_runs_there() {
        let entries = [
            Entry { path: "/data".to_owned(), source: Source::Folder(65532), mode: 0o700 },
            Entry { path: "/data/notes".to_owned(), source: Source::Bytes(b"n".to_vec()), mode: 0o444 },
        ];
        let bytes = archive(&entries).expect("an archive");
        let mut archive = tar::Archive::new(bytes.as_slice());
        let found: Vec<_> = archive
            .entries()
            .expect("entries")
            .map(|entry| {
                let entry = entry.expect("an entry");
                let header = entry.header();
                let path = entry.path().expect("a path").to_string_lossy().into_owned();
                (path, header.uid().expect("an owner"), header.mode().expect("a mode"))
            })
            .collect();
        assert_eq!(found, [("data/".to_owned(), 65532, 0o700), ("data/notes".to_owned(), 0, 0o444)]);
    }

    #[test]
    fn every_blob_has_the_name_of_its_digest() {
        let dir = tempfile::tempdir().expect("tempdir");
        let out = dir.path().join("out");
        let top = write_layout(&image(&entries(dir.path(), &[0, 1, 2])), &out).expect("written");
        for blob in fs::read_dir(out.join("blobs/sha256")).expect("blobs") {
            let path = blob.expect("a blob").path();
            let bytes = fs::read(&path).expect("read");
            assert_eq!(digest(&bytes), format!("sha256:{}", path.file_name().expect("name").to_string_lossy()));
        }
        let index: Value = serde_json::from_slice(&fs::read(out.join("index.json")).expect("index")).expect("json");
        assert_eq!(index["manifests"][0]["digest"], top.as_str());
    }

    #[test]
    fn a_missing_source_is_named() {
        let dir = tempfile::tempdir().expect("tempdir");
        let entry = Entry::file("/a", dir.path().join("gone"), 0o755);
        let error = Layer::pack(&[entry], 1).expect_err("fails").to_string();
        assert!(error.ends_with("gone`"), "{error}");
    }
}
