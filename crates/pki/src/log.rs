//! The append-only log of a deployment: a Merkle tree over its entries and signed checkpoints of it.
//!
//! Hashing and proofs follow RFC 6962 and RFC 9162, section 2.1; checkpoints are C2SP tlog-checkpoint in a C2SP
//! signed-note with Ed25519. A checkpoint commits its signer to every entry up to its size: whoever keeps one can
//! demand a [`ConsistencyProof`] to any later one, and a log that was rewritten has none to give.
//!
//! What a proof does not show: that the signer never gave another tree to somebody else. That takes witnesses, or
//! people who compare their checkpoints.

mod checkpoint;
mod proof;
mod tree;

use protocol::Digest;
use protocol::log::{ConsistencyProof, InclusionProof, LogEntry, LoggedEntry};

pub use self::checkpoint::{
    Checkpoint, CheckpointError, LogSigner, MAX_CHECKPOINT, open_checkpoint, origin, peek_checkpoint,
};
pub use self::proof::{ProofError, verify_consistency, verify_inclusion};
pub use self::tree::{Tree, leaf_hash};

/// LIMIT: the longest entry names the versions of every secret of an identity; a thousand make 64 KiB.
pub const MAX_ENTRY: usize = 256 * 1024;

/// The root over leaf hashes.
pub fn root(leaves: &[Digest]) -> Digest {
    Tree::from_leaves(leaves).root()
}

/// Proof that leaf `index` is in the tree over `leaves`; `None` beyond its end.
pub fn inclusion_proof(leaves: &[Digest], index: u64) -> Option<InclusionProof> {
    let tree = Tree::from_leaves(leaves);
    tree.inclusion_proof(index, tree.size())
}

/// Proof that the tree over `leaves` extends that over the first `from` of them; `None` when there are not so many.
pub fn consistency_proof(leaves: &[Digest], from: u64) -> Option<ConsistencyProof> {
    let tree = Tree::from_leaves(leaves);
    tree.consistency_proof(from, tree.size())
}

/// Why a logged entry is not believed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoggedError {
    /// Its checkpoint.
    #[error("checkpoint of a log entry")]
    Checkpoint(#[from] CheckpointError),
    /// Its proof.
    #[error("proof of a log entry")]
    Proof(#[from] ProofError),
    /// It is in the log, but it is no entry that we know.
    #[error("a log entry of {got} bytes is not one that is known here: {reason}")]
    Entry {
        /// Its length.
        got: usize,
        /// The parser's words.
        reason: String,
    },
}

/// Checks that an entry is in the log of `vkey`, and parses it. The checkpoint that proves it comes along, for a
/// caller who compares it with others.
pub fn verify_logged(logged: &LoggedEntry, vkey: &str) -> Result<(LogEntry, Checkpoint), LoggedError> {
    let got = logged.entry.len();
    if got > MAX_ENTRY {
        return Err(LoggedError::Entry { got, reason: format!("at most {MAX_ENTRY} bytes are read") });
    }
    let checkpoint = open_checkpoint(&logged.checkpoint, vkey)?;
    verify_inclusion(&logged.proof, &leaf_hash(logged.entry.as_bytes()), &checkpoint)?;
    let entry =
        serde_json::from_str(&logged.entry).map_err(|error| LoggedError::Entry { got, reason: error.to_string() })?;
    Ok((entry, checkpoint))
}

#[cfg(test)]
mod tests {
    use protocol::DeploymentId;
    use protocol::log::SecretVersion;

    use super::*;
    use crate::seed::{KeySchedule, Seed};

    fn logged() -> (LoggedEntry, LogSigner, LogEntry) {
        let deployment = DeploymentId::from_bytes([1; 16]);
        let signer = KeySchedule::new(&Seed::generate().unwrap(), deployment).log_signer().unwrap();
        let secret = SecretVersion { name: "model".into(), version: 1 };
        let entry = LogEntry::SecretStored { secret, signers: vec![] };
        let text = serde_json::to_string(&entry).unwrap();
        let tree = Tree::from_leaves(&[leaf_hash(b"before"), leaf_hash(text.as_bytes()), leaf_hash(b"after")]);
        let proof = tree.inclusion_proof(1, 3).unwrap();
        (LoggedEntry { entry: text, proof, checkpoint: signer.sign_tree(3, tree.root()) }, signer, entry)
    }

    #[test]
    fn a_logged_entry_is_believed_with_its_checkpoint() {
        let (logged, signer, entry) = logged();
        let (parsed, checkpoint) = verify_logged(&logged, &signer.vkey()).unwrap();
        assert_eq!((parsed, checkpoint.size), (entry, 3));
    }

    #[test]
    fn each_wrong_part_of_a_logged_entry_has_its_error() {
        let (good, signer, _) = logged();
        let (_, stranger, _) = logged();
        let refused = |logged: &LoggedEntry| verify_logged(logged, &signer.vkey()).unwrap_err();
        assert!(matches!(verify_logged(&good, &stranger.vkey()), Err(LoggedError::Checkpoint(_))));
        let changed = LoggedEntry { entry: good.entry.replace("model", "other"), ..good.clone() };
        assert_eq!(refused(&changed), LoggedError::Proof(ProofError::OtherRoot { size: 3 }));
        let moved = LoggedEntry { proof: InclusionProof { index: 0, ..good.proof.clone() }, ..good.clone() };
        assert!(matches!(refused(&moved), LoggedError::Proof(_)));
        let unsigned = LoggedEntry { checkpoint: String::new(), ..good.clone() };
        assert!(matches!(refused(&unsigned), LoggedError::Checkpoint(_)));
        let long = LoggedEntry { entry: "x".repeat(MAX_ENTRY + 1), ..good.clone() };
        assert!(matches!(refused(&long), LoggedError::Entry { .. }));
        // In the log, but of a kind that this release does not know.
        let text = r#"{"type":"unheard-of"}"#;
        let tree = Tree::from_leaves(&[leaf_hash(text.as_bytes())]);
        let unknown = LoggedEntry {
            entry: text.into(),
            proof: tree.inclusion_proof(0, 1).unwrap(),
            checkpoint: signer.sign_tree(1, tree.root()),
        };
        assert!(matches!(refused(&unknown), LoggedError::Entry { .. }));
    }
}
