//! Documents on disk, shared by any number of processes.
//!
//! ```text
//! FOLDER/lock                    taken by whoever writes
//! FOLDER/blobs/SHA-256           a document; its name is its digest
//! FOLDER/entries/KEY.json        which documents answer which need, from where, since when
//! FOLDER/tmp/…                   what a writer that was killed left behind; the next one removes it
//! ```
//!
//! A file appears under its name whole or not at all: it is written under another name, synced and renamed, documents
//! before the entry that names them. Readers take no lock. What does not fit together (a document whose digest is not its
//! name, an entry that cannot be read) is damage: named, passed over and fetched again.
//!
//! The folder is not trusted: whoever can write to it can make an answer go missing, and nothing else.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use protocol::Digest;
use serde::{Deserialize, Serialize};
use verifier::UnixTime;
use verifier::endorsements::{EndorsementKind, Need};

use crate::answer::{Document, MAX_DOCUMENTS, check};
use crate::dates::{Dates, dates};
use crate::error::Wrong;
use crate::newer::MAX_KEPT;
use crate::sources::key;

/// LIMIT: an entry. The longest need has two certificates of 16 KiB in hex, which is 64 KiB.
const MAX_ENTRY: u64 = 128 * 1024;
/// LIMIT: what a cache holds unless its owner says otherwise: a site with a thousand machines has 2 MiB of certificates,
/// and a few dozen RIMs of 30 KiB.
const DEFAULT_MAX_BYTES: u64 = 64 * 1024 * 1024;
/// LIMIT: entries, so that listing them stays cheap.
const MAX_ENTRIES: usize = 4_096;
/// LIMIT: an address in an entry; ours have some 200 characters, most of them a chip id.
pub(crate) const MAX_URL: usize = 1_024;

/// Why the cache could not do something.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// The file system says no.
    #[error("{action} `{}`: {reason}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// The system's words.
        reason: String,
    },
    /// Something that does not fit together.
    #[error("`{}` {damage}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        damage: Damage,
    },
    /// The program is ending.
    #[error("the cache was not read, because the program is ending")]
    GivenUp,
}

/// What is wrong with a file of the cache.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// An entry that cannot be read.
    #[error("is no entry")]
    NotAnEntry,
    /// An entry under another's name.
    #[error("is the entry of something else")]
    Misplaced,
    /// A document that an entry names is not there.
    #[error("is missing")]
    Gone,
    /// A document whose content has changed.
    #[error("has changed since it was written")]
    Changed,
    /// A document that cannot answer the need.
    #[error("is not what was asked for: {0}")]
    Wrong(Wrong),
}

/// One document of an entry.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// Its kind.
    pub kind: EndorsementKind,
    /// SHA-256.
    pub sha256: Digest,
    /// Bytes.
    pub size: u64,
}

/// What the cache has for one need. All of it is unverified.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// What it answers.
    pub need: Need,
    /// Which of several answers: the channel of Intel's collateral, or nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
    /// Where it came from.
    pub url: String,
    /// When it was fetched.
    pub fetched_at: UnixTime,
    /// When it was issued, by its own word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued_at: Option<UnixTime>,
    /// Until when it is good, by its own word: next update or end of validity, of several documents the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_update: Option<UnixTime>,
    /// The documents.
    pub documents: Vec<Item>,
    /// Earlier answers that are given out with them: issued later, or revoking what they do not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<Vec<Item>>,
}

impl Entry {
    /// How many seconds ago it was fetched.
    pub fn age(&self, now: UnixTime) -> u64 {
        now.0.saturating_sub(self.fetched_at.0)
    }

    /// Whether it is past its next update.
    pub fn is_stale(&self, now: UnixTime) -> bool {
        self.next_update.is_some_and(|time| time < now)
    }

    /// Bytes of all its documents.
    pub fn size(&self) -> u64 {
        self.items().map(|item| item.size).sum()
    }

    /// All documents, of the last answer and of those kept beside it.
    pub(crate) fn items(&self) -> impl Iterator<Item = &Item> {
        self.documents.iter().chain(self.kept.iter().flatten())
    }

    pub(crate) fn key(&self) -> Digest {
        key(&self.need, &self.variant)
    }

    /// Whether it can be an entry at all, before anything it names is looked for.
    pub(crate) fn is_sound(&self) -> bool {
        let all = || std::iter::once(&self.documents).chain(&self.kept);
        all().all(|documents| (1..=MAX_DOCUMENTS + 1).contains(&documents.len()))
            && self.kept.len() <= MAX_KEPT
            && self.url.len() <= MAX_URL
            && self.variant.len() <= 10
            && self.variant.bytes().all(|byte| byte.is_ascii_alphanumeric())
            && self.items().all(|item| item.size <= item.kind.max_len() as u64)
    }
}

/// What the cache holds, and what is wrong with it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Listing {
    /// Sorted by name of the need.
    pub entries: Vec<Entry>,
    /// Files that will be fetched again, each with what is wrong.
    pub damaged: Vec<CacheError>,
}

/// An entry with its documents.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Stored {
    pub(crate) need: Need,
    pub(crate) variant: String,
    pub(crate) url: String,
    pub(crate) fetched_at: UnixTime,
    /// The last answer.
    pub(crate) documents: Vec<Document>,
    /// Earlier ones that it must not push out.
    pub(crate) kept: Vec<Vec<Document>>,
}

impl Stored {
    pub(crate) fn dates(&self) -> Dates {
        Dates::together(self.documents.iter().map(|document| dates(document.kind, &document.bytes)))
    }

    pub(crate) fn next_update(&self) -> Option<UnixTime> {
        self.dates().next_update
    }

    pub(crate) fn entry(&self) -> Entry {
        let Dates { issued_at, next_update } = self.dates();
        let item = |document: &Document| Item {
            kind: document.kind,
            sha256: Digest::of(&document.bytes),
            size: document.bytes.len() as u64,
        };
        Entry {
            need: self.need.clone(),
            variant: self.variant.clone(),
            url: self.url.clone(),
            fetched_at: self.fetched_at,
            issued_at,
            next_update,
            documents: self.documents.iter().map(item).collect(),
            kept: self.kept.iter().map(|documents| documents.iter().map(item).collect()).collect(),
        }
    }
}

/// A folder of documents. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Cache {
    folder: Arc<Path>,
    max_bytes: u64,
}

/// Holds the cache's lock; the system lets go of it also when the process is killed.
struct Locked(#[expect(dead_code, reason = "the lock is the open file")] File);

impl Cache {
    /// The cache in this folder, which is made if need be.
    pub fn open(folder: &Path) -> Result<Self, CacheError> {
        let cache = Self { folder: folder.into(), max_bytes: DEFAULT_MAX_BYTES };
        for folder in [cache.blobs(), cache.entries(), cache.temporary()] {
            fs::create_dir_all(&folder).map_err(io("create", &folder))?;
        }
        Ok(cache)
    }

    /// The same, with another bound on its size. The documents that were fetched last are kept.
    #[must_use]
    pub fn with_max_bytes(self, max_bytes: u64) -> Self {
        Self { max_bytes, ..self }
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn blobs(&self) -> PathBuf {
        self.folder.join("blobs")
    }

    fn entries(&self) -> PathBuf {
        self.folder.join("entries")
    }

    fn temporary(&self) -> PathBuf {
        self.folder.join("tmp")
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.blobs().join(digest.to_string())
    }

    fn entry_path(&self, key: &Digest) -> PathBuf {
        self.entries().join(format!("{key}.json"))
    }

    /// What the cache holds. Reads no documents; [`Cache::verify`] does.
    pub fn list(&self) -> Result<Listing, CacheError> {
        let mut listing = Listing::default();
        for path in files(&self.entries())? {
            match self.read_entry(&path) {
                Ok(Some(entry)) => listing.entries.push(entry),
                Ok(None) => {}
                Err(error) => listing.damaged.push(error),
            }
        }
        listing.entries.sort_by_cached_key(|entry| (entry.need.to_string(), entry.key()));
        Ok(listing)
    }

    /// Reads everything, and says what is damaged.
    pub fn verify(&self) -> Result<Vec<CacheError>, CacheError> {
        let mut listing = self.list()?;
        let faults = listing.entries.iter().filter_map(|entry| self.load(entry).err());
        listing.damaged.extend(faults);
        Ok(listing.damaged)
    }

    /// The entry for a need, in whatever variants there are.
    pub fn find(&self, need: &Need) -> Result<Vec<Entry>, CacheError> {
        Ok(self.list()?.entries.into_iter().filter(|entry| entry.need == *need).collect())
    }

    /// Removes what it has for a need. Says whether there was anything.
    pub fn remove(&self, need: &Need) -> Result<bool, CacheError> {
        let found = self.find(need)?;
        let _locked = self.lock()?;
        for entry in &found {
            remove(&self.entry_path(&entry.key()))?;
        }
        self.sweep(None)?;
        Ok(!found.is_empty())
    }

    /// What answers the need with this key, with its documents.
    pub(crate) fn get(&self, key: &Digest) -> Result<Option<Stored>, CacheError> {
        match self.read_entry(&self.entry_path(key))? {
            None => Ok(None),
            Some(entry) => self.load(&entry).map(Some),
        }
    }

    /// Keeps an answer that was just fetched, in place of the one before or, where that must not be pushed out, beside it.
    /// What is given out from now on comes back in either case, and why it could not be kept.
    pub(crate) fn put(&self, stored: &Stored) -> (Stored, Result<(), CacheError>) {
        let key = key(&stored.need, &stored.variant);
        let locked = self.lock();
        // Damage is as good as nothing: it is replaced.
        let present = self.get(&key).unwrap_or(None);
        let both = stored.beside(present.as_ref(), stored.fetched_at);
        let kept = locked.and_then(|_locked| {
            self.write(&both)?;
            self.sweep(Some(key))
        });
        (both, kept)
    }

    /// Keeps several answers under one lock, or those of them that `wanted` still wants when it sees what is there. Of the
    /// others only what they revoke is kept.
    pub(crate) fn put_all<'a>(
        &self,
        all: impl IntoIterator<Item = &'a Stored>,
        now: UnixTime,
        mut wanted: impl FnMut(&Stored, Option<&Stored>) -> bool,
    ) -> Result<(), CacheError> {
        let _locked = self.lock()?;
        for stored in all {
            // Damage is as good as nothing: it is replaced.
            let present = self.get(&key(&stored.need, &stored.variant)).unwrap_or(None);
            match (wanted(stored, present.as_ref()), &present) {
                (false, Some(present)) => {
                    let both = present.beside(Some(stored), now);
                    if both != *present {
                        self.write(&both)?;
                    }
                }
                _ => self.write(&stored.beside(present.as_ref(), now))?,
            }
        }
        self.sweep(None)
    }

    fn write(&self, stored: &Stored) -> Result<(), CacheError> {
        let entry = stored.entry();
        for (document, item) in stored.answers().flatten().zip(entry.items()) {
            let path = self.blob_path(&item.sha256);
            // One that is there is written again all the same: it may be damaged.
            self.replace(&path, &document.bytes)?;
        }
        let text = serde_json::to_vec_pretty(&entry).expect("an entry is plain data");
        self.replace(&self.entry_path(&entry.key()), &text)
    }

    fn read_entry(&self, path: &Path) -> Result<Option<Entry>, CacheError> {
        let damaged = |damage| CacheError::Damaged { path: path.to_owned(), damage };
        let Some(text) = read(path, MAX_ENTRY, Damage::NotAnEntry)? else { return Ok(None) };
        let entry: Entry = serde_json::from_slice(&text).map_err(|_| damaged(Damage::NotAnEntry))?;
        if !entry.is_sound() {
            return Err(damaged(Damage::NotAnEntry));
        }
        if self.entry_path(&entry.key()) != path {
            return Err(damaged(Damage::Misplaced));
        }
        Ok(Some(entry))
    }

    /// The documents of an entry, each with the digest that the entry has for it.
    pub(crate) fn load(&self, entry: &Entry) -> Result<Stored, CacheError> {
        let documents = self.load_answer(entry, &entry.documents)?;
        let kept = entry.kept.iter().map(|items| self.load_answer(entry, items)).collect::<Result<_, _>>()?;
        Ok(Stored {
            need: entry.need.clone(),
            variant: entry.variant.clone(),
            url: entry.url.clone(),
            fetched_at: entry.fetched_at,
            documents,
            kept,
        })
    }

    fn load_answer(&self, entry: &Entry, items: &[Item]) -> Result<Vec<Document>, CacheError> {
        let mut documents = Vec::new();
        for item in items {
            let path = self.blob_path(&item.sha256);
            let damaged = |damage| CacheError::Damaged { path: path.clone(), damage };
            let bytes = read(&path, item.size, Damage::Changed)?.ok_or_else(|| damaged(Damage::Gone))?;
            if Digest::of(&bytes) != item.sha256 {
                return Err(damaged(Damage::Changed));
            }
            documents.push(Document { kind: item.kind, bytes });
        }
        check(&entry.need, &documents).map_err(|wrong| CacheError::Damaged {
            path: self.entry_path(&entry.key()),
            damage: Damage::Wrong(wrong),
        })?;
        Ok(documents)
    }

    /// Waits until no other process writes.
    fn lock(&self) -> Result<Locked, CacheError> {
        let path = self.folder.join("lock");
        let file = File::options().create(true).append(true).open(&path).map_err(io("open", &path))?;
        file.lock().map_err(io("lock", &path))?;
        Ok(Locked(file))
    }

    /// Puts a file in place, whole or not at all.
    fn replace(&self, path: &Path, content: &[u8]) -> Result<(), CacheError> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let temporary = self.temporary().join(format!("{}-{number}", std::process::id()));
        let written = File::create(&temporary).and_then(|mut file| {
            file.write_all(content)?;
            file.sync_all()
        });
        written.map_err(io("write", &temporary))?;
        fs::rename(&temporary, path).map_err(io("put in place", path))?;
        let folder = path.parent().unwrap_or(&self.folder);
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(io("sync", folder))
    }

    /// Under the lock: forgets what was fetched longest ago until all fits, then removes documents that no entry names,
    /// and what killed writers left. `keep` stays whatever happens.
    fn sweep(&self, keep: Option<Digest>) -> Result<(), CacheError> {
        for path in files(&self.temporary())? {
            remove(&path)?;
        }
        let mut entries = self.list()?.entries;
        // The newest first, the one to keep before all.
        entries.sort_by_key(|entry| (keep == Some(entry.key()), entry.fetched_at));
        entries.reverse();
        let mut named = BTreeSet::new();
        let (mut bytes, mut count) = (0, 0);
        for entry in &entries {
            let fresh = entry.items().filter(|item| !named.contains(&item.sha256));
            let size: u64 = fresh.map(|item| item.size).sum();
            if (bytes + size > self.max_bytes || count >= MAX_ENTRIES) && keep != Some(entry.key()) {
                remove(&self.entry_path(&entry.key()))?;
                continue;
            }
            bytes += size;
            count += 1;
            named.extend(entry.items().map(|item| item.sha256));
        }
        for path in files(&self.blobs())? {
            let digest = path.file_name().and_then(|name| name.to_str()?.parse().ok());
            if !digest.is_some_and(|digest: Digest| named.contains(&digest)) {
                remove(&path)?;
            }
        }
        Ok(())
    }
}

fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> CacheError {
    let path = path.to_owned();
    move |error| CacheError::Io { action, path, reason: error.to_string() }
}

/// A file, or `None` when it is not there. One that is longer than `limit`, or no plain file, is `damage`.
fn read(path: &Path, limit: u64, damage: Damage) -> Result<Option<Vec<u8>>, CacheError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io("open", path)(error)),
    };
    let mut bytes = Vec::new();
    match file.take(limit + 1).read_to_end(&mut bytes) {
        Ok(_) if bytes.len() as u64 <= limit => Ok(Some(bytes)),
        Err(error) if error.kind() != ErrorKind::IsADirectory => Err(io("read", path)(error)),
        _ => Err(CacheError::Damaged { path: path.to_owned(), damage }),
    }
}

fn remove(path: &Path) -> Result<(), CacheError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io("remove", path)(error)),
    }
}

/// The files of a folder, sorted.
fn files(folder: &Path) -> Result<Vec<PathBuf>, CacheError> {
    let listed = fs::read_dir(folder).and_then(|files| files.map(|file| file.map(|file| file.path())).collect());
    let mut paths: Vec<PathBuf> = listed.map_err(io("list", folder))?;
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests;
