//! Documents in one file, for a machine with no way out.
//!
//! The file is one JSON document. It has no names, no links and no modes, so there is nothing in it that could lead out of
//! a folder; what is in it goes through the same checks as an answer of a service. The bytes depend on the entries alone:
//! the same entries give the same file, whoever exports them and when.
//!
//! It is signed by nobody. What is in it is verified where it is used, like everything else here.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use protocol::Digest;
use serde::{Deserialize, Serialize};
use verifier::UnixTime;
use verifier::endorsements::{EndorsementKind, Endorsements, Need};

use crate::answer::{Document, check};
use crate::cache::{Cache, CacheError, Entry, Item, Stored};
use crate::error::Wrong;

/// What the first member says.
const FORMAT: &str = "casemate endorsements 1";
/// LIMIT: a bundle: everything that a cache holds by default, in base64.
const MAX_BUNDLE: usize = 96 * 1024 * 1024;
/// LIMIT: what a cache holds.
const MAX_ENTRIES: usize = 4_096;
/// LIMIT: a document for each entry, and some more for chains.
const MAX_DOCUMENTS: usize = 2 * MAX_ENTRIES;

/// The file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bundle {
    format: String,
    /// Sorted by key.
    entries: Vec<Entry>,
    /// By digest; base64.
    documents: BTreeMap<Digest, String>,
}

/// A bundle, and what did not get into it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Exported {
    /// The file.
    pub bytes: Vec<u8>,
    /// How many needs it answers.
    pub entries: usize,
    /// Needs that the cache has no answer to.
    pub missing: Vec<Need>,
    /// Entries that are damaged.
    pub damaged: Vec<CacheError>,
}

/// What became of a bundle's entries.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Imported {
    /// Taken: there was none, or an older one.
    pub added: Vec<Need>,
    /// Not taken, because the cache has the same or a newer one.
    pub kept_newer: Vec<Need>,
    /// Not taken, because it cannot be an answer to that need.
    pub refused: Vec<Refusal>,
}

/// An entry that was not taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// What it says it answers.
    pub need: Need,
    /// Why it does not.
    pub reason: Wrong,
}

/// Why a bundle was not read or written. Nothing of it was taken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// Larger than any that is written.
    #[error("a bundle of {got} bytes; at most {limit} are read")]
    TooLong {
        /// Its size.
        got: usize,
        /// The limit.
        limit: usize,
    },
    /// No bundle, or one with something in it that this version does not know.
    #[error("it is no bundle of endorsements: {reason}")]
    NotABundle {
        /// What the parser says.
        reason: String,
    },
    /// A bundle of another version.
    #[error("a bundle of format `{got}`; this version reads `{FORMAT}`")]
    OtherFormat {
        /// What it says.
        got: String,
    },
    /// More entries or documents than a cache holds.
    #[error("a bundle with {got} {what}; at most {limit} are read")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        got: usize,
        /// The limit.
        limit: usize,
    },
    /// An entry that no cache would write.
    #[error("entry {number} (from 1) is none: it names too many or too large documents")]
    UnsoundEntry {
        /// Which.
        number: usize,
    },
    /// Two entries for the same.
    #[error("entry {number} (from 1) answers the same need as one before")]
    Repeated {
        /// Which.
        number: usize,
    },
    /// A document that is not what its name says.
    #[error("document {} has another digest", digest.short())]
    WrongDigest {
        /// Its name.
        digest: Digest,
    },
    /// A document that is not there, or not of the size that the entry says.
    #[error("document {} is not there as entry {number} (from 1) has it", digest.short())]
    NoDocument {
        /// The entry.
        number: usize,
        /// The document.
        digest: Digest,
    },
    /// A document that no entry names.
    #[error("document {} belongs to no entry", digest.short())]
    Unused {
        /// Its name.
        digest: Digest,
    },
    /// The cache.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

impl BundleError {
    /// Whether this is the machine's failure ("could not tell") rather than the bundle's.
    pub fn could_not_tell(&self) -> bool {
        matches!(self, Self::Cache(_))
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Cache(_) => None,
            Self::OtherFormat { .. } => Some("export it again with the version that is to read it".into()),
            _ => Some("`casemate endorsements export` writes bundles; this file was changed or cut off since".into()),
        }
    }
}

impl Cache {
    /// Everything in the cache, or what it has for `needs` and for the manifests among that, as one file. Damaged entries are left out, and named.
    pub fn export(&self, needs: Option<&[Need]>) -> Result<Exported, BundleError> {
        let listing = self.list()?;
        let (mut found, mut damaged) = (BTreeMap::new(), listing.damaged);
        let mut take = |wanted: &dyn Fn(&Need) -> bool, found: &mut BTreeMap<Digest, Stored>| {
            for entry in &listing.entries {
                if wanted(&entry.need) && !found.contains_key(&entry.key()) {
                    match self.load(entry) {
                        Ok(stored) => drop(found.insert(entry.key(), stored)),
                        Err(error) => damaged.push(error),
                    }
                }
            }
        };
        let mut needed = needs.unwrap_or_default().to_vec();
        take(&|need| needs.is_none() || needed.contains(need), &mut found);
        if needs.is_some() {
            let further = verifier::further_needs(&manifests(found.values()));
            take(&|need| further.contains(need), &mut found);
            needed.extend(further);
        }
        let has = |need: &Need| found.values().any(|stored| stored.need == *need);
        let missing = needed.into_iter().filter(|need| !has(need)).collect();
        let documents = found.values().flat_map(Stored::answers).flatten();
        let bundle = Bundle {
            format: FORMAT.into(),
            entries: found.values().map(Stored::entry).collect(),
            documents: documents
                .map(|document| (Digest::of(&document.bytes), STANDARD.encode(&document.bytes)))
                .collect(),
        };
        let mut bytes = serde_json::to_vec_pretty(&bundle).expect("a bundle is plain data");
        bytes.push(b'\n');
        Ok(Exported { bytes, entries: bundle.entries.len(), missing, damaged })
    }

    /// Takes what a bundle has and this cache has not, or has older. A bundle with anything wrong in its form is refused
    /// as a whole, before the first file is written; an entry that cannot be an answer to its need is left out alone.
    pub fn import(&self, bytes: &[u8], now: UnixTime) -> Result<Imported, BundleError> {
        let mut imported = Imported::default();
        let mut good = Vec::new();
        for stored in read(bytes, now)? {
            let checked = stored.answers().try_for_each(|documents| check(&stored.need, documents));
            match checked {
                Ok(()) => good.push(stored),
                Err(reason) => imported.refused.push(Refusal { need: stored.need, reason }),
            }
        }
        let rank = |stored: &Stored| (stored.rank(now), stored.fetched_at);
        self.put_all(&good, now, |stored, present| {
            let newer = present.is_none_or(|present| rank(stored) > rank(present));
            let list = if newer { &mut imported.added } else { &mut imported.kept_newer };
            list.push(stored.need.clone());
            newer
        })?;
        Ok(imported)
    }
}

/// The RIMs among answers.
fn manifests<'a>(answers: impl Iterator<Item = &'a Stored>) -> Endorsements {
    let mut manifests = Endorsements::default();
    for document in answers.flat_map(Stored::answers).flatten() {
        if document.kind == EndorsementKind::Rim {
            // Past the limit of one set nothing more is looked for.
            let _ = manifests.add(document.kind, &document.bytes);
        }
    }
    manifests
}

/// The entries of a bundle, with their documents.
fn read(bytes: &[u8], now: UnixTime) -> Result<Vec<Stored>, BundleError> {
    if bytes.len() > MAX_BUNDLE {
        return Err(BundleError::TooLong { got: bytes.len(), limit: MAX_BUNDLE });
    }
    let bundle: Bundle = serde_json::from_slice(bytes)
        .map_err(|error| BundleError::NotABundle { reason: crate::error::quote(&error.to_string()) })?;
    if bundle.format != FORMAT {
        return Err(BundleError::OtherFormat { got: crate::error::quote(&bundle.format) });
    }
    let too_many = |what, got, limit| if got > limit { Err(BundleError::TooMany { what, got, limit }) } else { Ok(()) };
    too_many("entries", bundle.entries.len(), MAX_ENTRIES)?;
    too_many("documents", bundle.documents.len(), MAX_DOCUMENTS)?;
    let mut documents = BTreeMap::new();
    for (digest, text) in &bundle.documents {
        let document = STANDARD.decode(text).ok().filter(|document| Digest::of(document) == *digest);
        documents.insert(*digest, document.ok_or(BundleError::WrongDigest { digest: *digest })?);
    }
    let mut unused: BTreeSet<Digest> = documents.keys().copied().collect();
    let mut stored = BTreeMap::new();
    for (number, entry) in (1..).zip(bundle.entries) {
        if !entry.is_sound() {
            return Err(BundleError::UnsoundEntry { number });
        }
        let mut answer = |items: &[Item]| -> Result<Vec<Document>, BundleError> {
            let mut own = Vec::new();
            for item in items {
                let document = documents.get(&item.sha256).filter(|document| document.len() as u64 == item.size);
                let document = document.ok_or(BundleError::NoDocument { number, digest: item.sha256 })?;
                own.push(Document { kind: item.kind, bytes: document.clone() });
                unused.remove(&item.sha256);
            }
            Ok(own)
        };
        let own = answer(&entry.documents)?;
        let kept = entry.kept.iter().map(|items| answer(items)).collect::<Result<_, _>>()?;
        let key = entry.key();
        let entry = Stored {
            need: entry.need,
            variant: entry.variant,
            url: entry.url,
            // A bundle from the future would look fresh for ever.
            fetched_at: entry.fetched_at.min(now),
            documents: own,
            kept,
        };
        if stored.insert(key, entry).is_some() {
            return Err(BundleError::Repeated { number });
        }
    }
    match unused.into_iter().next() {
        Some(digest) => Err(BundleError::Unused { digest }),
        None => Ok(stored.into_values().collect()),
    }
}
