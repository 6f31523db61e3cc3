//! The record: the log, the manifests and the versions of secrets, as they were read from the store and checked, or as
//! they grew since.

use std::collections::BTreeMap;
use std::sync::Arc;

use pki::history::{HistoryError, Successor, Tip};
use pki::log::{Checkpoint, LogSigner, MAX_ENTRY, Tree, leaf_hash, origin, peek_checkpoint};
use protocol::api::SignedManifest;
use protocol::log::{ConsistencyProof, LogEntry, LoggedEntry};
use protocol::manifest::{Manifest, Quorum};
use protocol::{DeploymentId, Digest};

use crate::refusal::{Fault, Refusal};
use crate::store::{Founding, Step, Store, StoreError, StoredManifest};

/// A manifest in the log.
#[derive(Debug)]
pub(crate) struct Generation {
    /// The manifest.
    pub(crate) stored: StoredManifest,
    /// The index of its log entry.
    index: u64,
    /// That entry's text.
    entry: String,
}

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Record {
    deployment: DeploymentId,
    tree: Tree,
    /// The signed checkpoint of the whole tree; `None` when nothing was stored yet.
    head: Option<String>,
    founding: Option<Founding>,
    generations: Vec<Generation>,
    manifest: Option<Arc<Manifest>>,
    /// The tip before the last manifest, for an owner who repeats a `set` whose answer was lost.
    before: Tip,
    tip: Tip,
    secrets: BTreeMap<String, u64>,
    shown: usize,
}

/// A store that holds no history of this deployment.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// It failed, or contradicts itself.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It is another deployment's.
    #[error("the store is of deployment {got}, this Coordinator is of {expected}")]
    OtherDeployment {
        /// The store's.
        got: DeploymentId,
        /// Ours.
        expected: DeploymentId,
    },
    /// Its manifests were not made by the owners in our initdata and their successors.
    #[error("the stored manifests are no history that the owners made")]
    History(#[from] HistoryError),
}

/// What one entry takes of a `State` answer besides the manifest: entry, proof of at most 64 hashes, checkpoint.
const SHOWN_OVERHEAD: usize = 9 * 1024;
/// LIMIT: a `State` answer holds the whole history in one frame ([`protocol::wire::MAX_FRAME`]), with room for the rest.
pub(crate) const MAX_SHOWN: usize = 15 * 1024 * 1024;

/// How many bytes of a `State` answer a manifest takes.
fn shown(signed: &SignedManifest) -> usize {
    serde_json::to_vec(signed).map_or(usize::MAX, |json| json.len().saturating_add(SHOWN_OVERHEAD))
}

impl Record {
    /// The record of a deployment that begins.
    pub(crate) fn empty(deployment: DeploymentId, owners: &Quorum) -> Self {
        Self {
            deployment,
            tree: Tree::default(),
            head: None,
            founding: None,
            generations: Vec::new(),
            manifest: None,
            before: Tip::start(owners),
            tip: Tip::start(owners),
            secrets: BTreeMap::new(),
            shown: 0,
        }
    }

    /// Reads a store and checks all that can be checked without the seed: that entries hash to the head, that the
    /// manifests were signed by `owners` and their successors, and that each manifest is the one in the log. The head's
    /// own signature can only be checked once the seed is back.
    pub(crate) fn load(store: &dyn Store, deployment: DeploymentId, owners: &Quorum) -> Result<Self, LoadError> {
        let mut record = Self::empty(deployment, owners);
        let Some(stored) = store.load()? else { return Ok(record) };
        if stored.founding.deployment != deployment {
            return Err(LoadError::OtherDeployment { got: stored.founding.deployment, expected: deployment });
        }
        let mut logged = Vec::new();
        store.entries(&mut |index, text| {
            if text.len() > MAX_ENTRY {
                return Err(StoreError::damaged(format!("log entry {index} has {} bytes", text.len())));
            }
            let entry: LogEntry = serde_json::from_str(text)
                .map_err(|error| StoreError::damaged(format!("log entry {index}: {error}")))?;
            match entry {
                LogEntry::Manifest { generation, manifest, transition, .. } => {
                    logged.push((index, text.to_owned(), generation, manifest, transition));
                }
                LogEntry::SecretStored { secret, .. } => {
                    let version = record.secrets.entry(secret.name).or_insert(0);
                    if secret.version.checked_sub(1) != Some(*version) {
                        return Err(StoreError::damaged(format!("log entry {index} skips a version of a secret")));
                    }
                    *version = secret.version;
                }
                _ => {}
            }
            record.tree.push(leaf_hash(text.as_bytes()));
            Ok(())
        })?;
        let head =
            peek_checkpoint(&stored.head).map_err(|error| StoreError::damaged(format!("stored head: {error}")))?;
        if head != record.tip_checkpoint() {
            return Err(StoreError::damaged("the log entries do not hash to the stored head").into());
        }
        if logged.len() != stored.manifests.len() || logged.is_empty() {
            let what = format!("{} manifests are stored, {} are in the log", stored.manifests.len(), logged.len());
            return Err(StoreError::damaged(what).into());
        }
        for (manifest, (index, entry, generation, digest, transition)) in stored.manifests.into_iter().zip(logged) {
            let next = record.tip.next(deployment, &manifest.signed)?;
            let text = Digest::of(manifest.signed.manifest.as_bytes());
            if (generation, digest, transition) != (next.tip.generation, text, next.tip.transition) {
                let what = format!("log entry {index} is not that of manifest {}", next.tip.generation);
                return Err(StoreError::damaged(what).into());
            }
            record.add_generation(next, manifest, index, entry);
        }
        record.head = Some(stored.head);
        record.founding = Some(stored.founding);
        Ok(record)
    }

    /// The deployment.
    pub(crate) fn deployment(&self) -> DeploymentId {
        self.deployment
    }

    /// Whether nothing was ever stored.
    pub(crate) fn is_empty(&self) -> bool {
        self.head.is_none()
    }

    /// How many entries the log has.
    pub(crate) fn size(&self) -> u64 {
        self.tree.size()
    }

    /// The root over the first `size` entries.
    pub(crate) fn root_at(&self, size: u64) -> Option<Digest> {
        self.tree.root_at(size)
    }

    /// The signed checkpoint of the whole log.
    pub(crate) fn head(&self) -> Option<&str> {
        self.head.as_deref()
    }

    /// What was written with the first manifest.
    pub(crate) fn founding(&self) -> Option<&Founding> {
        self.founding.as_ref()
    }

    /// The active manifest.
    pub(crate) fn manifest(&self) -> Option<&Arc<Manifest>> {
        self.manifest.as_ref()
    }

    /// Every manifest, oldest first.
    pub(crate) fn generations(&self) -> &[Generation] {
        &self.generations
    }

    /// What the next manifest must follow.
    pub(crate) fn tip(&self) -> &Tip {
        &self.tip
    }

    /// What the active manifest had to follow.
    pub(crate) fn before(&self) -> &Tip {
        &self.before
    }

    /// The latest version of every secret.
    pub(crate) fn secrets(&self) -> &BTreeMap<String, u64> {
        &self.secrets
    }

    /// What the log's head must say.
    pub(crate) fn tip_checkpoint(&self) -> Checkpoint {
        Checkpoint { origin: origin(self.deployment), size: self.tree.size(), root: self.tree.root() }
    }

    /// How many bytes of a `State` answer the history takes with one more manifest.
    pub(crate) fn shown_with(&self, signed: &SignedManifest) -> usize {
        self.shown.saturating_add(shown(signed))
    }

    /// Proof that the log extends its first `from` entries; `None` when it has not so many.
    pub(crate) fn consistency(&self, from: u64) -> Option<ConsistencyProof> {
        self.tree.consistency_proof(from, self.tree.size())
    }

    /// An entry with its proof under the head.
    fn prove(&self, index: u64, entry: String) -> Result<LoggedEntry, Fault> {
        let missing = Fault::Unreachable { what: "a log entry lies beyond the head" };
        let proof = self.tree.inclusion_proof(index, self.tree.size()).ok_or(missing.clone())?;
        Ok(LoggedEntry { entry, proof, checkpoint: self.head.clone().ok_or(missing)? })
    }

    /// The log entry of a manifest with its proof under the head.
    pub(crate) fn prove_generation(&self, generation: &Generation) -> Result<LoggedEntry, Fault> {
        self.prove(generation.index, generation.entry.clone())
    }

    /// Appends an entry and stores it with what belongs to it. When this fails, the record is ahead of what may be in
    /// the store, and no further head may be signed.
    fn append(
        &mut self,
        store: &mut dyn Store,
        signer: &LogSigner,
        entry: &LogEntry,
        extra: Extra<'_>,
    ) -> Result<LoggedEntry, Refusal> {
        let text =
            serde_json::to_string(entry).map_err(|_| Fault::Unreachable { what: "a log entry cannot be encoded" })?;
        let index = self.tree.size();
        self.tree.push(leaf_hash(text.as_bytes()));
        let head = signer.sign(&self.tip_checkpoint());
        let Extra { founding, manifest, secret } = extra;
        let step = Step { index, entry: &text, head: &head, founding, manifest, secret };
        store.commit(self.head.as_deref(), step).map_err(Refusal::Commit)?;
        self.head = Some(head);
        Ok(self.prove(index, text)?)
    }

    /// Stores a manifest.
    pub(crate) fn append_manifest(
        &mut self,
        store: &mut dyn Store,
        signer: &LogSigner,
        next: Successor,
        stored: StoredManifest,
        founding: Option<Founding>,
    ) -> Result<LoggedEntry, Refusal> {
        let generation = next.tip.generation;
        let entry = LogEntry::Manifest {
            generation,
            manifest: Digest::of(stored.signed.manifest.as_bytes()),
            transition: next.tip.transition,
            signers: next.approved.signers().to_vec(),
        };
        let extra = Extra { founding: founding.as_ref(), manifest: Some((generation, &stored)), ..Extra::default() };
        let logged = self.append(store, signer, &entry, extra)?;
        if founding.is_some() {
            self.founding = founding;
        }
        self.add_generation(next, stored, logged.proof.index, logged.entry.clone());
        Ok(logged)
    }

    /// Stores a version of a secret.
    pub(crate) fn append_secret(
        &mut self,
        store: &mut dyn Store,
        signer: &LogSigner,
        entry: &LogEntry,
        (name, version, sealed): (&str, u64, &[u8]),
    ) -> Result<LoggedEntry, Refusal> {
        let extra = Extra { secret: Some((name, sealed)), ..Extra::default() };
        let logged = self.append(store, signer, entry, extra)?;
        self.secrets.insert(name.to_owned(), version);
        Ok(logged)
    }

    /// Stores an entry that nothing belongs to.
    pub(crate) fn append_entry(
        &mut self,
        store: &mut dyn Store,
        signer: &LogSigner,
        entry: &LogEntry,
    ) -> Result<LoggedEntry, Refusal> {
        self.append(store, signer, entry, Extra::default())
    }

    fn add_generation(&mut self, next: Successor, stored: StoredManifest, index: u64, entry: String) {
        self.shown = self.shown_with(&stored.signed);
        self.generations.push(Generation { stored, index, entry });
        self.manifest = Some(Arc::new(next.manifest));
        self.before = std::mem::replace(&mut self.tip, next.tip);
    }
}

#[derive(Clone, Copy, Default)]
struct Extra<'a> {
    founding: Option<&'a Founding>,
    manifest: Option<(u64, &'a StoredManifest)>,
    secret: Option<(&'a str, &'a [u8])>,
}
