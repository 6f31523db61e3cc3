//! What survives a restart. The store is untrusted (decision 0003): whoever runs the machine may read, change, delete
//! or roll it back. Nothing in it is secret in the clear, and nothing read from it is believed before it was checked
//! against the owners' signatures, the log's own hashes and, once the seed is rebuilt, the log key.
//!
//! Two honest Coordinators on one store are kept apart by a compare-and-swap on the head. Against a lying store only
//! the checkpoints that others hold help (promise P4).

pub(crate) mod file;

use std::collections::BTreeMap;

use protocol::api::{SeedShares, SignedManifest};
use protocol::{DeploymentId, Digest};
use serde::{Deserialize, Serialize};

/// What is written once, with the first manifest.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Founding {
    /// The format of the store, 1.
    pub(crate) version: u32,
    /// The deployment.
    pub(crate) deployment: DeploymentId,
    /// The root certificate as clients have it, PEM.
    pub(crate) root_ca: String,
    /// The encrypted shares, so that an owner whose first `set` lost its answer gets them by asking again.
    pub(crate) seed_shares: SeedShares,
    /// [`pki::seed::share_fingerprint`] of each share, by holder.
    pub(crate) fingerprints: BTreeMap<Digest, Digest>,
}

/// A manifest with what belongs to its generation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoredManifest {
    /// The manifest and its signatures.
    pub(crate) signed: SignedManifest,
    /// The mesh CA's certificate as clients have it, PEM.
    pub(crate) mesh_ca: String,
}

/// Everything but log entries and secrets, as it was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Stored {
    /// The signed checkpoint of the latest entry.
    pub(crate) head: String,
    /// Written once.
    pub(crate) founding: Founding,
    /// Oldest first.
    pub(crate) manifests: Vec<StoredManifest>,
}

/// One step of the log with all that belongs to it: stored whole or not at all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step<'a> {
    /// The entry's index.
    pub(crate) index: u64,
    /// The entry's exact text.
    pub(crate) entry: &'a str,
    /// The signed checkpoint with this entry as its last.
    pub(crate) head: &'a str,
    /// With the first manifest.
    pub(crate) founding: Option<&'a Founding>,
    /// A new manifest and its generation.
    pub(crate) manifest: Option<(u64, &'a StoredManifest)>,
    /// The name and sealed value of a new version of a secret. It takes the place of the version before.
    pub(crate) secret: Option<(&'a str, &'a [u8])>,
}

/// A store that failed or holds what it should not.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file cannot be used.
    #[error("store: {operation}: {reason}")]
    Failed {
        /// What was tried.
        operation: &'static str,
        /// The database's words.
        reason: String,
    },
    /// Another process has the file open.
    #[error("the store is in use by another process")]
    InUse,
    /// Another Coordinator has written since this one read.
    #[error("another Coordinator has written to the store")]
    Moved,
    /// Something in it cannot be what a Coordinator wrote.
    #[error("the store is damaged: {what}")]
    Damaged {
        /// What is wrong.
        what: String,
    },
}

impl StoreError {
    pub(crate) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged { what: what.into() }
    }
}

/// A place that keeps the log and what belongs to it. Called by one thread at a time.
///
/// `Ok` of [`Store::commit`] means that the step survives a crash from now on. After an error nobody knows whether it
/// does: the caller must not sign another head of the same size, and stops.
pub(crate) trait Store: Send {
    /// Everything but entries and secrets; `None` when nothing was ever stored.
    fn load(&self) -> Result<Option<Stored>, StoreError>;

    /// Calls `each` with every entry in order.
    fn entries(&self, each: &mut dyn FnMut(u64, &str) -> Result<(), StoreError>) -> Result<(), StoreError>;

    /// The sealed value of a secret's latest version.
    fn secret(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError>;

    /// Stores a step if the head is still `expected`.
    fn commit(&mut self, expected: Option<&str>, step: Step<'_>) -> Result<(), StoreError>;
}
