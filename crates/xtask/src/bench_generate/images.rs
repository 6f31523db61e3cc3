//! Images of three sizes for the benchmark: files whose bytes are half noise and half text, as programs and their data are,
//! in layers of one size, with users and groups in the lowest.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::images::oci::{self, Entry, Image, Layer};
use crate::images::{self, Built};

/// Name, layers, bytes of each.
const IMAGES: [(&str, usize, usize); 3] = [("tiny", 1, 770_000), ("mid", 2, 35_000_000), ("big", 5, 200_000_000)];
const FILES_PER_LAYER: usize = 50;
/// gzip's level: as most builders pack.
const LEVEL: u32 = 6;

/// Builds what an earlier run has not left, and pushes those with these names; without names, all of them.
pub(crate) fn push(folder: &Path, registry: &str, names: &[&str]) -> Result<()> {
    let mut built = Vec::new();
    for (name, layers, bytes) in IMAGES.into_iter().filter(|(name, ..)| names.is_empty() || names.contains(name)) {
        let layout = folder.join("images").join(name);
        // The same bytes every time, so what is there is right unless its writing was cut off before the index.
        if !layout.join("index.json").is_file() {
            note!("bench: building the image `{name}`");
            let image = image(name, layers, bytes, &folder.join("files"))?;
            oci::write_layout(&image, &layout)?;
        }
        built.push(Built {
            name: format!("bench/{name}"),
            tag: "1".to_owned(),
            digest: String::new(),
            layout,
            sbom: None,
        });
    }
    images::push(&built, &images::Destination::root(registry))
}

fn image(name: &str, layers: usize, bytes: usize, files: &Path) -> Result<Image> {
    let mut packed = Vec::new();
    for layer in 0..layers {
        let mut entries = Vec::new();
        let mut add = |path: String, bytes: &[u8]| -> Result<()> {
            let source: PathBuf = files.join(path.trim_start_matches('/').replace('/', "_"));
            fs::write(&source, bytes).with_context(|| format!("write `{}`", source.display()))?;
            entries.push(Entry::file(path, source, 0o644));
            Ok(())
        };
        fs::create_dir_all(files).with_context(|| format!("create `{}`", files.display()))?;
        if layer == 0 {
            add("/etc/passwd".to_owned(), b"root:x:0:0::/root:/bin/sh\nweb:x:1000:1000::/:/bin/sh\n")?;
            add("/etc/group".to_owned(), b"root:x:0:\nweb:x:1000:\nlogs:x:1500:web\n")?;
        }
        for file in 0..FILES_PER_LAYER {
            let seed = (layer * FILES_PER_LAYER + file) as u64;
            add(format!("/opt/{layer}/{file}"), &content(bytes / FILES_PER_LAYER, seed))?;
        }
        packed.push(Layer::pack(&entries, LEVEL)?);
        fs::remove_dir_all(files).with_context(|| format!("remove `{}`", files.display()))?;
    }
    Ok(Image {
        name: format!("bench/{name}"),
        tag: "1".to_owned(),
        layers: packed,
        entrypoint: vec!["/opt/0/0".to_owned()],
        user: "1000:1000".to_owned(),
        home: "/".to_owned(),
        description: format!("{layers} layers of {bytes} bytes, half of them noise"),
    })
}

/// Half noise (xorshift64, Marsaglia 2003), half one line again and again.
fn content(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut content = Vec::with_capacity(bytes);
    while content.len() < bytes / 2 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        content.extend_from_slice(&state.to_le_bytes());
    }
    while content.len() < bytes {
        content.extend_from_slice(b"what does not change from one release to the next\n");
    }
    content.truncate(bytes);
    content
}
