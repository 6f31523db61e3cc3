//! What the Coordinator's append-only log holds, and the proofs about it. The tree itself is in `pki::log`.

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, Identity};

/// One leaf of the log. Its bytes are the compact JSON of this value, written once and never re-encoded.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum LogEntry {
    /// A manifest became active.
    Manifest {
        /// Its number, from 1.
        generation: u64,
        /// The digest of its text.
        manifest: Digest,
        /// [`crate::api::transition`] of it and its predecessor.
        transition: Digest,
        /// Ids of the owner keys that signed.
        signers: Vec<Digest>,
    },
    /// A certificate was issued, with or without secrets. Written before either leaves the Coordinator.
    Grant {
        /// Who got it.
        identity: Identity,
        /// The digest of the Evidence that the decision rested on.
        evidence: Digest,
        /// The manifest under which it was decided.
        generation: u64,
        /// Serial number of the certificate, hex.
        certificate: String,
        /// Names and versions of the secrets released.
        secrets: Vec<SecretVersion>,
        /// Seconds since 1970 by the Coordinator's clock, which its host sets: a hint, nothing rests on it.
        time: u64,
    },
    /// An owner stored a secret.
    SecretStored {
        /// Name and version.
        secret: SecretVersion,
        /// Ids of the owner keys that signed.
        signers: Vec<Digest>,
    },
    /// The seed was rebuilt from shares.
    Recovered {
        /// Ids of the share holders' keys.
        holders: Vec<Digest>,
    },
    /// The seed was rebuilt from shares, and some holders had nothing to hold the store against. When these are all of
    /// them, the log may have been rolled back just before this entry.
    RecoveredUncompared {
        /// Ids of the share holders' keys.
        holders: Vec<Digest>,
        /// Those of them who showed no checkpoint.
        without_checkpoint: Vec<Digest>,
    },
}

/// A secret's name and version.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretVersion {
    /// The name.
    pub name: String,
    /// The version, from 1.
    pub version: u64,
}

/// Proof that a leaf is in the tree of a checkpoint (RFC 9162, section 2.1.3).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InclusionProof {
    /// The leaf's index, from 0.
    pub index: u64,
    /// The tree size that the proof is for.
    pub size: u64,
    /// Sibling hashes, leaf to root.
    pub hashes: Vec<Digest>,
}

/// Proof that one tree extends another (RFC 9162, section 2.1.4).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsistencyProof {
    /// Size of the older tree.
    pub from: u64,
    /// Size of the newer tree.
    pub to: u64,
    /// The proof's nodes.
    pub hashes: Vec<Digest>,
}

/// A log entry with the proof that it is in the log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoggedEntry {
    /// The leaf's exact text.
    pub entry: String,
    /// Its place in the tree of `checkpoint`.
    pub proof: InclusionProof,
    /// The signed checkpoint (C2SP signed note) that the proof is for.
    pub checkpoint: String,
}
