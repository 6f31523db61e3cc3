//! Checking of proofs. Both functions follow the verification algorithms of RFC 9162, sections 2.1.3.2 and 2.1.4.2.

use protocol::Digest;
use protocol::log::{ConsistencyProof, InclusionProof};

use super::checkpoint::Checkpoint;
use super::tree::{empty_root, node_hash};

/// Why a proof proves nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// The proof is about trees of other sizes than the checkpoints.
    #[error("the proof is for a tree of size {proof}, the checkpoint has {checkpoint}")]
    OtherSize {
        /// The size in the proof.
        proof: u64,
        /// The size in the checkpoint.
        checkpoint: u64,
    },
    /// The checkpoints are of two logs.
    #[error("the checkpoints are of two logs")]
    OtherLog,
    /// The leaf lies beyond the tree.
    #[error("leaf {index} lies beyond a tree of size {size}")]
    BeyondEnd {
        /// The leaf's index.
        index: u64,
        /// The tree's size.
        size: u64,
    },
    /// The newer tree is smaller than the older.
    #[error("the log shrank from {from} to {to} entries")]
    Shrunk {
        /// The older size.
        from: u64,
        /// The newer size.
        to: u64,
    },
    /// Too many hashes or too few.
    #[error("a proof of {got} hashes has the wrong length")]
    Length {
        /// How many hashes it has.
        got: usize,
    },
    /// The hashes lead to another root.
    #[error("the hashes lead to another root than the checkpoint of size {size} has")]
    OtherRoot {
        /// The size of the tree whose root was missed.
        size: u64,
    },
}

/// Checks that a leaf is in the tree of a checkpoint.
pub fn verify_inclusion(proof: &InclusionProof, leaf: &Digest, checkpoint: &Checkpoint) -> Result<(), ProofError> {
    let InclusionProof { index, size, hashes } = proof;
    if *size != checkpoint.size {
        return Err(ProofError::OtherSize { proof: *size, checkpoint: checkpoint.size });
    }
    if index >= size {
        return Err(ProofError::BeyondEnd { index: *index, size: *size });
    }
    let length = ProofError::Length { got: hashes.len() };
    let mut node = *index;
    let mut last = size.saturating_sub(1);
    let mut root = *leaf;
    for hash in hashes {
        if last == 0 {
            return Err(length);
        }
        if is_right(node) || node == last {
            root = node_hash(*hash, root);
            while !is_right(node) && node != 0 {
                (node, last) = (node >> 1, last >> 1);
            }
        } else {
            root = node_hash(root, *hash);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    if last != 0 {
        return Err(length);
    }
    if root != checkpoint.root {
        return Err(ProofError::OtherRoot { size: *size });
    }
    Ok(())
}

/// Checks that the tree of `new` extends that of `old`: what `old` committed to is still there, in the same order.
pub fn verify_consistency(proof: &ConsistencyProof, old: &Checkpoint, new: &Checkpoint) -> Result<(), ProofError> {
    let ConsistencyProof { from, to, hashes } = proof;
    if old.origin != new.origin {
        return Err(ProofError::OtherLog);
    }
    for (proof, checkpoint) in [(*from, old.size), (*to, new.size)] {
        if proof != checkpoint {
            return Err(ProofError::OtherSize { proof, checkpoint });
        }
    }
    if from > to {
        return Err(ProofError::Shrunk { from: *from, to: *to });
    }
    let length = ProofError::Length { got: hashes.len() };
    if *from == 0 || from == to {
        if !hashes.is_empty() {
            return Err(length);
        }
        // The empty tree has one root, and a tree of the same size is the same tree.
        let expected = if *from == 0 { empty_root() } else { new.root };
        return if old.root == expected { Ok(()) } else { Err(ProofError::OtherRoot { size: *from }) };
    }
    let mut hashes = hashes.iter();
    let mut node = from.saturating_sub(1);
    let mut last = to.saturating_sub(1);
    while is_right(node) {
        (node, last) = (node >> 1, last >> 1);
    }
    // When the old tree is perfect, its root is where the proof starts, and the verifier has it already.
    let start = if from.is_power_of_two() { old.root } else { *hashes.next().ok_or(length)? };
    let (mut old_root, mut new_root) = (start, start);
    for hash in hashes {
        if last == 0 {
            return Err(length);
        }
        if is_right(node) || node == last {
            old_root = node_hash(*hash, old_root);
            new_root = node_hash(*hash, new_root);
            while !is_right(node) && node != 0 {
                (node, last) = (node >> 1, last >> 1);
            }
        } else {
            new_root = node_hash(new_root, *hash);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    if last != 0 {
        return Err(length);
    }
    for (size, got, expected) in [(*from, old_root, old.root), (*to, new_root, new.root)] {
        if got != expected {
            return Err(ProofError::OtherRoot { size });
        }
    }
    Ok(())
}

/// Whether a node is a right child.
fn is_right(node: u64) -> bool {
    node & 1 == 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tree::{Tree, leaf_hash};
    use super::*;

    const SIZES: u64 = 64;

    fn leaf(index: u64) -> Digest {
        leaf_hash(&index.to_be_bytes())
    }

    fn tree(size: u64) -> Tree {
        Tree::from_leaves(&(0..size).map(leaf).collect::<Vec<_>>())
    }

    fn checkpoint(tree: &Tree, size: u64) -> Checkpoint {
        Checkpoint { origin: "log".into(), size, root: tree.root_at(size).unwrap() }
    }

    fn flip(digest: Digest, bit: usize) -> Digest {
        let mut bytes = *digest.as_bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        Digest::from_bytes(bytes)
    }

    #[test]
    fn every_leaf_of_every_tree_to_64_is_proven_and_at_no_other_index() {
        let tree = tree(SIZES);
        for size in 1..=SIZES {
            let at = checkpoint(&tree, size);
            for index in 0..size {
                let proof = tree.inclusion_proof(index, size).unwrap();
                assert_eq!(verify_inclusion(&proof, &leaf(index), &at), Ok(()), "leaf {index} of {size}");
                for other in (0..size).filter(|other| *other != index) {
                    let moved = InclusionProof { index: other, ..proof.clone() };
                    assert!(verify_inclusion(&moved, &leaf(index), &at).is_err(), "{index} as {other} of {size}");
                    assert!(verify_inclusion(&proof, &leaf(other), &at).is_err());
                }
            }
        }
    }

    #[test]
    fn every_pair_of_trees_to_64_is_consistent_and_no_fork_is() {
        let honest = tree(SIZES);
        for to in 0..=SIZES {
            let new = checkpoint(&honest, to);
            for from in 0..=to {
                let old = checkpoint(&honest, from);
                let proof = honest.consistency_proof(from, to).unwrap();
                assert_eq!(verify_consistency(&proof, &old, &new), Ok(()), "{from} to {to}");
                // A log that changed its last old entry.
                if from > 0 {
                    let mut forked: Vec<_> = (0..from).map(leaf).collect();
                    forked[usize::try_from(from).unwrap() - 1] = leaf(999);
                    let old = checkpoint(&Tree::from_leaves(&forked), from);
                    assert!(verify_consistency(&proof, &old, &new).is_err(), "fork at {from} of {to}");
                }
            }
        }
    }

    #[test]
    fn a_proof_is_good_for_its_own_sizes_only() {
        let tree = tree(8);
        let proof = tree.inclusion_proof(2, 7).unwrap();
        assert_eq!(
            verify_inclusion(&proof, &leaf(2), &checkpoint(&tree, 8)),
            Err(ProofError::OtherSize { proof: 7, checkpoint: 8 })
        );
        let at = checkpoint(&tree, 7);
        let beyond = InclusionProof { index: 7, ..proof.clone() };
        assert_eq!(verify_inclusion(&beyond, &leaf(2), &at), Err(ProofError::BeyondEnd { index: 7, size: 7 }));
        let mut short = proof.clone();
        short.hashes.pop();
        assert_eq!(verify_inclusion(&short, &leaf(2), &at), Err(ProofError::Length { got: 2 }));
        let mut long = proof;
        long.hashes.push(leaf(0));
        assert_eq!(verify_inclusion(&long, &leaf(2), &at), Err(ProofError::Length { got: 4 }));
        let empty = Checkpoint { origin: "log".into(), size: 0, root: empty_root() };
        let proof = InclusionProof { index: 0, size: 0, hashes: vec![] };
        assert_eq!(verify_inclusion(&proof, &empty_root(), &empty), Err(ProofError::BeyondEnd { index: 0, size: 0 }));
    }

    #[test]
    fn a_consistency_proof_is_good_for_its_own_checkpoints_only() {
        let tree = tree(8);
        let (old, new) = (checkpoint(&tree, 3), checkpoint(&tree, 7));
        let proof = tree.consistency_proof(3, 7).unwrap();
        let check = |old: &Checkpoint, new: &Checkpoint, proof: &ConsistencyProof, expected| {
            assert_eq!(verify_consistency(proof, old, new), Err(expected));
        };
        check(&checkpoint(&tree, 4), &new, &proof, ProofError::OtherSize { proof: 3, checkpoint: 4 });
        check(&old, &checkpoint(&tree, 8), &proof, ProofError::OtherSize { proof: 7, checkpoint: 8 });
        let backwards = ConsistencyProof { from: 7, to: 3, hashes: proof.hashes.clone() };
        check(&new, &old, &backwards, ProofError::Shrunk { from: 7, to: 3 });
        let foreign = Checkpoint { origin: "another".into(), ..old.clone() };
        check(&foreign, &new, &proof, ProofError::OtherLog);
        let got = proof.hashes.len();
        let none = ConsistencyProof { hashes: vec![], ..proof.clone() };
        check(&old, &new, &none, ProofError::Length { got: 0 });
        let mut short = proof.clone();
        short.hashes.pop();
        check(&old, &new, &short, ProofError::Length { got: got - 1 });
        let mut long = proof.clone();
        long.hashes.push(leaf(1));
        check(&old, &new, &long, ProofError::Length { got: got + 1 });
        let same = ConsistencyProof { from: 3, to: 3, hashes: vec![] };
        let other = Checkpoint { root: leaf(5), ..old.clone() };
        check(&old, &other, &same, ProofError::OtherRoot { size: 3 });
        let padded = ConsistencyProof { hashes: vec![leaf(1)], ..same };
        check(&old, &old, &padded, ProofError::Length { got: 1 });
        let fake_empty = Checkpoint { origin: "log".into(), size: 0, root: leaf(1) };
        let from_empty = ConsistencyProof { from: 0, to: 7, hashes: vec![] };
        check(&fake_empty, &new, &from_empty, ProofError::OtherRoot { size: 0 });
    }

    proptest! {
        #[test]
        fn a_flipped_bit_anywhere_in_an_inclusion_proof_is_noticed(
            size in 1..=SIZES, at in any::<prop::sample::Index>(), hash in any::<prop::sample::Index>(), bit in 0..256_usize
        ) {
            let tree = tree(size);
            let index = at.index(usize::try_from(size).unwrap()) as u64;
            let good = checkpoint(&tree, size);
            let proof = tree.inclusion_proof(index, size).unwrap();
            if !proof.hashes.is_empty() {
                let mut changed = proof.clone();
                let which = hash.index(changed.hashes.len());
                changed.hashes[which] = flip(changed.hashes[which], bit);
                prop_assert!(verify_inclusion(&changed, &leaf(index), &good).is_err());
            }
            prop_assert!(verify_inclusion(&proof, &flip(leaf(index), bit), &good).is_err());
            let bad = Checkpoint { root: flip(good.root, bit), ..good };
            prop_assert!(verify_inclusion(&proof, &leaf(index), &bad).is_err());
        }

        #[test]
        fn a_flipped_bit_anywhere_in_a_consistency_proof_is_noticed(
            to in 1..=SIZES, from in any::<prop::sample::Index>(), hash in any::<prop::sample::Index>(), bit in 0..256_usize
        ) {
            let tree = tree(to);
            let from = from.index(usize::try_from(to).unwrap()) as u64 + 1;
            let (old, new) = (checkpoint(&tree, from), checkpoint(&tree, to));
            let proof = tree.consistency_proof(from, to).unwrap();
            if !proof.hashes.is_empty() {
                let mut changed = proof.clone();
                let which = hash.index(changed.hashes.len());
                changed.hashes[which] = flip(changed.hashes[which], bit);
                prop_assert!(verify_consistency(&changed, &old, &new).is_err());
            }
            let bad = Checkpoint { root: flip(old.root, bit), ..old.clone() };
            prop_assert!(verify_consistency(&proof, &bad, &new).is_err());
            let bad = Checkpoint { root: flip(new.root, bit), ..new };
            prop_assert!(verify_consistency(&proof, &old, &bad).is_err());
        }

        #[test]
        fn proofs_of_random_shape_never_panic_and_never_verify(
            index in any::<u64>(), size in any::<u64>(), from in any::<u64>(),
            hashes in prop::collection::vec(any::<[u8; 32]>(), 0..70)
        ) {
            let hashes: Vec<_> = hashes.into_iter().map(Digest::from_bytes).collect();
            let at = Checkpoint { origin: "log".into(), size, root: leaf(1) };
            let proof = InclusionProof { index, size, hashes: hashes.clone() };
            prop_assert!(verify_inclusion(&proof, &leaf(0), &at).is_err());
            let old = Checkpoint { origin: "log".into(), size: from, root: leaf(2) };
            let proof = ConsistencyProof { from, to: size, hashes };
            prop_assert!(verify_consistency(&proof, &old, &at).is_err());
        }
    }
}
