//! `layers-cache.json`: what digests name never changes, so it is asked for once.
//!
//! The file lies beside the manifest. Documents stand in it as the registry sent them and are hashed again at each
//! use, so that the file cannot say anything of an image that its digest does not. What layers say of users is too
//! large to be checked again: whoever can write into the work folder can write the policies as well.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::Digest;
use serde::{Deserialize, Serialize};

use super::layer::Facts;

/// The file's name in the work folder.
pub const CACHE_FILE: &str = "layers-cache.json";
/// LIMIT: documents of a few kilobytes for thousands of images. When the file would grow beyond, what this run did not
/// use is left out.
const MAX_CACHE: u64 = 64 * 1024 * 1024;
/// Written by this version; another one is read anew.
const VERSION: u32 = 1;

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    version: u32,
    /// Indexes, manifests and configurations by digest.
    documents: BTreeMap<String, String>,
    /// What layers say, by their digest as the registry has them.
    layers: BTreeMap<String, Arc<Facts>>,
}

/// The cache of one run.
#[derive(Default)]
pub(super) struct Cache {
    path: Option<PathBuf>,
    content: Content,
    used: BTreeSet<String>,
    changed: bool,
    /// Why what was there is not used.
    pub(super) notice: Option<String>,
}

impl Cache {
    /// Reads the file. One that is damaged counts as empty.
    pub(super) fn open(path: Option<PathBuf>) -> Self {
        let mut cache = Self { path, ..Self::default() };
        let Some(path) = &cache.path else { return cache };
        match load(path) {
            Ok(Some(content)) => cache.content = content,
            Ok(None) => {}
            Err(reason) => {
                cache.notice = Some(format!("`{}` was left aside and is made anew: {reason}", path.display()));
                cache.changed = true;
            }
        }
        cache.content.version = VERSION;
        cache
    }

    pub(super) fn is_empty(&self) -> bool {
        self.content.documents.is_empty()
    }

    /// The document of a digest.
    pub(super) fn document(&mut self, digest: &str) -> Option<Vec<u8>> {
        let document = self.content.documents.get(digest)?;
        if digest != format!("sha256:{}", Digest::of(document.as_bytes())) {
            self.notice = Some(format!("`{CACHE_FILE}`: what stood there for `{digest}` is something else; dropped"));
            self.content.documents.remove(digest);
            self.changed = true;
            return None;
        }
        let document = document.clone().into_bytes();
        self.used.insert(digest.to_owned());
        Some(document)
    }

    /// Keeps a document that was checked against its digest.
    pub(super) fn keep_document(&mut self, digest: &str, document: &[u8]) {
        if let Ok(text) = std::str::from_utf8(document) {
            self.content.documents.insert(digest.to_owned(), text.to_owned());
            self.used.insert(digest.to_owned());
            self.changed = true;
        }
    }

    /// What a layer says.
    pub(super) fn facts(&mut self, digest: &str) -> Option<Arc<Facts>> {
        let facts = self.content.layers.get(digest)?;
        self.used.insert(digest.to_owned());
        Some(Arc::clone(facts))
    }

    /// Keeps what a layer says.
    pub(super) fn keep_facts(&mut self, digest: &str, facts: Arc<Facts>) {
        self.content.layers.insert(digest.to_owned(), facts);
        self.used.insert(digest.to_owned());
        self.changed = true;
    }

    /// Forgets what a layer says, because it does not fit the image that has it.
    pub(super) fn forget(&mut self, digest: &str) {
        self.changed |= self.content.layers.remove(digest).is_some();
    }

    /// Writes the file, if there is anything new.
    pub(super) fn save(&mut self) -> std::io::Result<()> {
        let Some(path) = self.path.clone().filter(|_| self.changed) else { return Ok(()) };
        let mut text = serde_json::to_string_pretty(&self.content)?;
        if text.len() as u64 > MAX_CACHE {
            let used = &self.used;
            self.content.documents.retain(|digest, _| used.contains(digest));
            self.content.layers.retain(|digest, _| used.contains(digest));
            text = serde_json::to_string_pretty(&self.content)?;
        }
        if text.len() as u64 > MAX_CACHE {
            // One run alone needs more: the next one asks again.
            return Ok(());
        }
        text.push('\n');
        replace(&path, text.as_bytes())?;
        self.changed = false;
        Ok(())
    }
}

fn load(path: &Path) -> Result<Option<Content>, String> {
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let mut text = Vec::new();
    file.take(MAX_CACHE.saturating_add(2)).read_to_end(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > MAX_CACHE.saturating_add(1) {
        return Err(format!("it is longer than {MAX_CACHE} bytes"));
    }
    let content: Content = serde_json::from_slice(&text).map_err(|error| format!("line {}: damaged", error.line()))?;
    if content.version == VERSION { Ok(Some(content)) } else { Err("it was written by another version".into()) }
}

/// The old file or the new one, whatever happens in between.
fn replace(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let written = std::fs::File::create(&temporary).and_then(|mut file| {
        file.write_all(text)?;
        file.sync_all()
    });
    let written = written.and_then(|()| std::fs::rename(&temporary, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written
}
