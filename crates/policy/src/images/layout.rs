//! Images in OCI layouts: a folder, or a tar file of one, in the place of a registry.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::document::{self, MAX_DOCUMENT, is_sha256};
use super::tar::{Archive, Kind};

/// The annotations by which tools name an image of a layout: a tag, or the whole reference.
const NAMES: [&str; 2] = ["org.opencontainers.image.ref.name", "io.containerd.image.name"];

/// Where a layout lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayoutSource {
    /// The folder or the tar file.
    pub path: PathBuf,
    /// Which of its images; none where it has but one.
    pub tag: Option<String>,
}

impl LayoutSource {
    /// From `oci:PATH[:TAG]`. `None` when it is something else.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("oci:")?;
        // What follows the last colon is a tag if it looks like one, and a part of the path otherwise.
        let (path, tag) = match rest.rsplit_once(':') {
            Some((path, tag)) if !tag.is_empty() && !tag.contains('/') => (path, Some(tag.to_owned())),
            _ => (rest, None),
        };
        (!path.is_empty()).then(|| Self { path: path.into(), tag })
    }
}

/// An open layout.
pub(super) struct Layout {
    path: PathBuf,
    /// Of a tar file: where each of its files stands.
    index: Option<BTreeMap<String, (u64, u64)>>,
}

impl Layout {
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let metadata = std::fs::metadata(path).map_err(|error| error.to_string())?;
        let mut layout = Self { path: path.to_owned(), index: None };
        if !metadata.is_dir() {
            let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
            layout.index = Some(index(file)?);
        }
        let marker = layout.small("oci-layout").map_err(|_| "not an OCI layout: it has no `oci-layout`".to_owned())?;
        let marker: Option<Value> = serde_json::from_slice(&marker).ok();
        let version = marker.as_ref().and_then(|marker| marker["imageLayoutVersion"].as_str());
        match version {
            Some(version) if version.starts_with("1.") => Ok(layout),
            _ => Err("`oci-layout` names no version that is known here, 1.x".into()),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The digest and the media type of an image.
    pub(super) fn find(&self, tag: Option<&str>) -> Result<(String, Option<String>), String> {
        let index = self.small("index.json")?;
        let index = document::parse(&index).map_err(|error| format!("`index.json`: {error}"))?;
        let entries = index["manifests"].as_array().ok_or("`index.json` has no list `manifests`")?;
        let named = |entry: &&Value| {
            let Some(tag) = tag else { return true };
            let names = NAMES.iter().filter_map(|name| entry["annotations"][*name].as_str());
            names.into_iter().any(|name| name == tag || name.rsplit_once(':').is_some_and(|(_, last)| last == tag))
        };
        let fitting: Vec<&Value> = entries.iter().filter(named).collect();
        let entry = match (fitting.as_slice(), tag) {
            ([entry], _) => entry,
            ([], Some(tag)) => return Err(format!("it has no image `{tag}`")),
            ([], None) => return Err("it has no image".into()),
            (several, Some(tag)) => return Err(format!("{} images are `{tag}`", several.len())),
            (several, None) => return Err(format!("it has {} images: name one, `oci:PATH:TAG`", several.len())),
        };
        let digest = entry["digest"].as_str().filter(|digest| is_sha256(digest));
        let digest = digest.ok_or("`index.json` names an image without a sha256 digest")?;
        Ok((digest.to_owned(), entry["mediaType"].as_str().map(str::to_owned)))
    }

    /// Opens what a digest names, and says how long it is. `None` when the layout does not have it.
    pub(super) fn blob(&self, digest: &str) -> Result<Option<(std::fs::File, u64)>, String> {
        let hex = digest.strip_prefix("sha256:").filter(|_| is_sha256(digest)).ok_or("no sha256 digest")?;
        self.file(&format!("blobs/sha256/{hex}"))
    }

    fn file(&self, name: &str) -> Result<Option<(std::fs::File, u64)>, String> {
        if let Some(index) = &self.index {
            let Some((at, size)) = index.get(name) else { return Ok(None) };
            let mut file = std::fs::File::open(&self.path).map_err(|error| error.to_string())?;
            file.seek(SeekFrom::Start(*at)).map_err(|error| error.to_string())?;
            return Ok(Some((file, *size)));
        }
        match std::fs::File::open(self.path.join(name)) {
            Ok(file) => {
                let metadata = file.metadata().map_err(|error| error.to_string())?;
                if !metadata.is_file() {
                    return Err(format!("`{name}` is not a file"));
                }
                Ok(Some((file, metadata.len())))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("`{name}`: {error}")),
        }
    }

    fn small(&self, name: &str) -> Result<Vec<u8>, String> {
        let (file, size) = self.file(name)?.ok_or_else(|| format!("it has no `{name}`"))?;
        if size > MAX_DOCUMENT as u64 {
            return Err(format!("`{name}` is longer than {MAX_DOCUMENT} bytes"));
        }
        let mut content = Vec::new();
        file.take(size).read_to_end(&mut content).map_err(|error| format!("`{name}`: {error}"))?;
        Ok(content)
    }
}

/// Where the files of an archive stand in it.
fn index(file: std::fs::File) -> Result<BTreeMap<String, (u64, u64)>, String> {
    let mut archive = Archive::new(std::io::BufReader::new(file));
    let mut index = BTreeMap::new();
    while let Some(entry) = archive.next().map_err(|error| error.to_string())? {
        if entry.kind == Kind::File {
            // Nothing is written twice in a layout; if it is, tools differ in which one counts.
            if index.insert(entry.path.clone(), (archive.position(), entry.size)).is_some() {
                return Err(format!("`{}` stands in it twice", entry.path));
            }
        }
    }
    Ok(index)
}
