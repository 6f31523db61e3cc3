//! The images of the corpus: a layout each, with a Debian-like root file system in two layers, the upper one as the
//! scripts of a package leave it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::images::fake::archive::Tar;
use crate::images::fake::{GZIP, Packed, ZSTD, digest_of, pack};
use crate::images::{LayoutSource, Options};

/// By reference, the configuration as a builder writes it, and under `users` what a package's script adds to
/// `/etc/passwd`, as `name:uid:gid`, and with a `+` before it to `/etc/group`, as `+group:gid:member,member`.
const TABLE: &str = include_str!("../../tests/corpus/images.json");

const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n\
    bin:x:2:2:bin:/bin:/usr/sbin/nologin\nsys:x:3:3:sys:/dev:/usr/sbin/nologin\n\
    mail:x:8:8:mail:/var/mail:/usr/sbin/nologin\nproxy:x:13:13:proxy:/bin:/usr/sbin/nologin\n\
    www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin\nbackup:x:34:34:backup:/var/backups:/usr/sbin/nologin\n\
    nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n";
const GROUP: &str = "root:x:0:\ndaemon:x:1:\nbin:x:2:\nsys:x:3:\nadm:x:4:\ntty:x:5:\ndisk:x:6:\nmail:x:8:\nproxy:x:13:\n\
    www-data:x:33:\nbackup:x:34:\nshadow:x:42:\nvideo:x:44:\nstaff:x:50:\nnogroup:x:65534:\n";

/// Our own image in the corpus.
pub(super) const POD_IMAGE: &str = "ghcr.io/casemate/casemate-pod:0";

/// Options of a registry that has the images of the corpus, and no other without a network.
pub(super) fn options() -> Options {
    static LAYOUTS: OnceLock<(TempDir, BTreeMap<String, LayoutSource>)> = OnceLock::new();
    let (_, layouts) = LAYOUTS.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let table: BTreeMap<String, Value> = serde_json::from_str(TABLE).unwrap();
        let mut layouts = BTreeMap::new();
        for (number, (reference, image)) in table.iter().enumerate() {
            let path = folder.path().join(number.to_string());
            write(&path, image, if number % 3 == 0 { ZSTD } else { GZIP });
            layouts.insert(reference.clone(), LayoutSource { path, tag: None });
        }
        (folder, layouts)
    });
    Options { layouts: layouts.clone(), ..Options::default() }
}

fn write(folder: &Path, image: &Value, packing: &'static str) {
    let mut layers = Vec::new();
    let mut config = image.clone();
    let users = config.as_object_mut().unwrap().remove("users");
    if let Some(users) = users {
        let base = Tar::default()
            .dir("./")
            .dir("./etc/")
            .file("./etc/passwd", PASSWD)
            .file("./etc/group", GROUP)
            .file("./etc/debian_version", "13.1\n")
            .link("./bin", "usr/bin")
            .file("./usr/bin/sh", "#!\n")
            .end();
        layers.push(pack(&base, packing));
        let added: Vec<&str> = users.as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
        if !added.is_empty() {
            layers.push(package(&added, packing));
        }
    }
    layout(folder, &config, &layers);
}

/// What the script of a package leaves: the two files anew, what it keeps of the old ones, and what it deletes.
fn package(added: &[&str], packing: &'static str) -> Packed {
    let (mut passwd, mut group) = (PASSWD.to_owned(), GROUP.to_owned());
    for line in added {
        let fields: Vec<&str> = line.trim_start_matches('+').split(':').collect();
        if line.starts_with('+') {
            group.push_str(&format!("{}:x:{}:{}\n", fields[0], fields[1], fields.get(2).unwrap_or(&"")));
        } else {
            passwd
                .push_str(&format!("{0}:x:{1}:{2}::/var/lib/{0}:/usr/sbin/nologin\n", fields[0], fields[1], fields[2]));
            if !added.iter().any(|other| other.starts_with('+') && other.split(':').nth(1) == Some(fields[2])) {
                group.push_str(&format!("{}:x:{}:\n", fields[0], fields[2]));
            }
        }
    }
    let tar = Tar::default()
        .dir("etc")
        .file("etc/passwd-", PASSWD)
        .file("etc/passwd", &passwd)
        .file("etc/group", &group)
        .file("etc/.wh.debian_version", "")
        .dir("var/lib/apt/lists")
        .file("var/lib/apt/lists/.wh..wh..opq", "")
        .end();
    pack(&tar, packing)
}

/// Writes a layout of one image.
pub(super) fn layout(folder: &Path, config: &Value, layers: &[Packed]) {
    let blobs = folder.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let blob = |content: &[u8]| {
        let digest = digest_of(content);
        std::fs::write(blobs.join(digest.trim_start_matches("sha256:")), content).unwrap();
        digest
    };
    let diff_ids: Vec<_> = layers.iter().map(|layer| layer.diff_id.as_str()).collect();
    let config = json!({"architecture": "amd64", "os": "linux", "config": config,
        "rootfs": {"type": "layers", "diff_ids": diff_ids}})
    .to_string();
    let descriptors: Vec<Value> = layers
        .iter()
        .map(
            |layer| json!({"mediaType": layer.media_type, "digest": blob(&layer.content), "size": layer.content.len()}),
        )
        .collect();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": blob(config.as_bytes()),
            "size": config.len()},
        "layers": descriptors,
    })
    .to_string();
    let index = json!({"schemaVersion": 2, "manifests": [{"mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": blob(manifest.as_bytes()), "size": manifest.len()}]});
    std::fs::write(folder.join("index.json"), index.to_string()).unwrap();
    std::fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#).unwrap();
}
