//! The Merkle tree. Every perfect subtree's hash is kept, so appending, the root and proofs for any earlier size cost
//! a logarithm; the price is 64 bytes of memory for each leaf.

use protocol::Digest;
use protocol::log::{ConsistencyProof, InclusionProof};

/// The hash of an entry as a leaf: SHA-256 over a zero byte and the entry.
pub fn leaf_hash(entry: &[u8]) -> Digest {
    let mut bytes = Vec::with_capacity(entry.len().saturating_add(1));
    bytes.push(0);
    bytes.extend_from_slice(entry);
    Digest::of(&bytes)
}

/// The hash of an inner node: SHA-256 over a one byte, left and right.
pub(super) fn node_hash(left: Digest, right: Digest) -> Digest {
    let mut bytes = [1; 65];
    let children = left.as_bytes().iter().chain(right.as_bytes());
    for (to, from) in bytes.iter_mut().skip(1).zip(children) {
        *to = *from;
    }
    Digest::of(&bytes)
}

/// The root of the empty tree: the hash of no bytes.
pub(super) fn empty_root() -> Digest {
    Digest::of(&[])
}

/// An append-only Merkle tree.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// `levels[k][i]` is the hash over leaves `i * 2^k` to `(i + 1) * 2^k - 1`.
    levels: Vec<Vec<Digest>>,
}

/// The largest power of two below `n`: where RFC 9162 splits a tree of `n` leaves. `None` for a leaf.
pub(super) fn split(n: u64) -> Option<u64> {
    match n {
        0 | 1 => None,
        _ => n.saturating_sub(1).checked_ilog2().and_then(|bits| 1_u64.checked_shl(bits)),
    }
}

impl Tree {
    /// The tree over leaf hashes.
    pub fn from_leaves(leaves: &[Digest]) -> Self {
        let mut tree = Self::default();
        for leaf in leaves {
            tree.push(*leaf);
        }
        tree
    }

    /// How many leaves there are.
    pub fn size(&self) -> u64 {
        self.levels.first().map_or(0, |leaves| u64::try_from(leaves.len()).unwrap_or(u64::MAX))
    }

    /// Appends a leaf.
    pub fn push(&mut self, leaf: Digest) {
        let mut hash = leaf;
        let mut height = 0;
        loop {
            if self.levels.len() == height {
                self.levels.push(Vec::new());
            }
            let Some(level) = self.levels.get_mut(height) else { return };
            level.push(hash);
            // A level of even length has just completed a perfect subtree of the next height.
            let (true, Some([left, right])) = (level.len().is_multiple_of(2), level.last_chunk::<2>()) else { return };
            hash = node_hash(*left, *right);
            height = height.saturating_add(1);
        }
    }

    /// The root over all leaves.
    pub fn root(&self) -> Digest {
        self.root_at(self.size()).unwrap_or_else(empty_root)
    }

    /// The root over the first `size` leaves; `None` when there are not so many.
    pub fn root_at(&self, size: u64) -> Option<Digest> {
        if size == 0 { Some(empty_root()) } else { self.range(0, size) }
    }

    /// The hash over `len` leaves from `start`, which is where a split of the tree begins, so that every perfect
    /// subtree in the range is one that is kept.
    fn range(&self, start: u64, len: u64) -> Option<Digest> {
        if len.is_power_of_two() {
            let height = len.ilog2();
            let index = usize::try_from(start.checked_shr(height)?).ok()?;
            return self.levels.get(usize::try_from(height).ok()?)?.get(index).copied();
        }
        // The recursion halves its range: at most 64 deep.
        let left = split(len)?;
        Some(node_hash(self.range(start, left)?, self.range(start.checked_add(left)?, len.checked_sub(left)?)?))
    }

    /// Proof that leaf `index` is among the first `size` leaves (RFC 9162, section 2.1.3.1).
    pub fn inclusion_proof(&self, index: u64, size: u64) -> Option<InclusionProof> {
        if index >= size || size > self.size() {
            return None;
        }
        let mut hashes = Vec::new();
        let (mut start, mut len) = (0_u64, size);
        while let Some(left) = split(len) {
            let middle = start.checked_add(left)?;
            let right = len.checked_sub(left)?;
            if index < middle {
                hashes.push(self.range(middle, right)?);
                len = left;
            } else {
                hashes.push(self.range(start, left)?);
                start = middle;
                len = right;
            }
        }
        hashes.reverse();
        Some(InclusionProof { index, size, hashes })
    }

    /// Proof that the tree of `to` leaves extends that of `from` leaves (RFC 9162, section 2.1.4.1). The empty tree is
    /// extended by every tree, with an empty proof.
    pub fn consistency_proof(&self, from: u64, to: u64) -> Option<ConsistencyProof> {
        if from > to || to > self.size() {
            return None;
        }
        let mut hashes = Vec::new();
        if from == 0 {
            return Some(ConsistencyProof { from, to, hashes });
        }
        let (mut start, mut len, mut old) = (0_u64, to, from);
        // Whether the subtree at hand is one whose root the verifier already knows.
        let mut known = true;
        while old != len {
            let left = split(len)?;
            let middle = start.checked_add(left)?;
            let right = len.checked_sub(left)?;
            if old <= left {
                hashes.push(self.range(middle, right)?);
                len = left;
            } else {
                hashes.push(self.range(start, left)?);
                start = middle;
                len = right;
                old = old.checked_sub(left)?;
                known = false;
            }
        }
        if !known {
            hashes.push(self.range(start, len)?);
        }
        hashes.reverse();
        Some(ConsistencyProof { from, to, hashes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9162, section 2.1.1, word for word.
    fn naive_root(leaves: &[Digest]) -> Digest {
        match leaves {
            [] => Digest::of(b""),
            [leaf] => *leaf,
            _ => {
                let k = naive_split(leaves.len());
                node_hash(naive_root(&leaves[..k]), naive_root(&leaves[k..]))
            }
        }
    }

    fn naive_split(n: usize) -> usize {
        let mut k = 1;
        while k * 2 < n {
            k *= 2;
        }
        k
    }

    /// RFC 9162, section 2.1.3.1, word for word.
    fn naive_path(m: usize, leaves: &[Digest]) -> Vec<Digest> {
        if leaves.len() == 1 {
            return vec![];
        }
        let k = naive_split(leaves.len());
        let (mut path, sibling) = if m < k {
            (naive_path(m, &leaves[..k]), naive_root(&leaves[k..]))
        } else {
            (naive_path(m - k, &leaves[k..]), naive_root(&leaves[..k]))
        };
        path.push(sibling);
        path
    }

    /// RFC 9162, section 2.1.4.1, word for word.
    fn naive_subproof(m: usize, leaves: &[Digest], known: bool) -> Vec<Digest> {
        if m == leaves.len() {
            return if known { vec![] } else { vec![naive_root(leaves)] };
        }
        let k = naive_split(leaves.len());
        let (mut proof, sibling) = if m <= k {
            (naive_subproof(m, &leaves[..k], known), naive_root(&leaves[k..]))
        } else {
            (naive_subproof(m - k, &leaves[k..], false), naive_root(&leaves[..k]))
        };
        proof.push(sibling);
        proof
    }

    fn leaves(n: usize) -> Vec<Digest> {
        (0..n).map(|leaf| leaf_hash(&leaf.to_be_bytes())).collect()
    }

    #[test]
    fn roots_and_proofs_agree_with_the_rfc_s_recursion_for_every_size_to_64() {
        let all = leaves(64);
        let tree = Tree::from_leaves(&all);
        for size in 0..=64 {
            let prefix = &all[..size];
            let n = size as u64;
            assert_eq!(tree.root_at(n), Some(naive_root(prefix)), "size {size}");
            assert_eq!(super::super::root(prefix), naive_root(prefix), "size {size}");
            for index in 0..size {
                let proof = tree.inclusion_proof(index as u64, n).unwrap();
                assert_eq!(proof.hashes, naive_path(index, prefix), "leaf {index} of {size}");
                assert_eq!(super::super::inclusion_proof(prefix, index as u64), Some(proof));
            }
            for from in 1..=size {
                let proof = tree.consistency_proof(from as u64, n).unwrap();
                assert_eq!(proof.hashes, naive_subproof(from, prefix, true), "{from} to {size}");
                assert_eq!(super::super::consistency_proof(prefix, from as u64), Some(proof));
            }
        }
    }

    #[test]
    fn the_known_vectors_of_certificate_transparency_hold() {
        let entries =
            ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
        let roots = [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        let mut tree = Tree::default();
        assert_eq!(tree.root().to_string(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        for (entry, root) in entries.iter().zip(roots) {
            tree.push(leaf_hash(&hex::decode(entry).unwrap()));
            assert_eq!(tree.root().to_string(), root);
        }
    }

    #[test]
    fn there_is_no_proof_beyond_the_end() {
        let tree = Tree::from_leaves(&leaves(5));
        assert_eq!(tree.root_at(6), None);
        assert_eq!(tree.inclusion_proof(5, 5), None);
        assert_eq!(tree.inclusion_proof(0, 6), None);
        assert_eq!(tree.inclusion_proof(0, 0), None);
        assert_eq!(tree.inclusion_proof(u64::MAX, u64::MAX), None);
        assert_eq!(tree.consistency_proof(6, 6), None);
        assert_eq!(tree.consistency_proof(5, 4), None);
        assert_eq!(tree.consistency_proof(1, u64::MAX), None);
        assert_eq!(Tree::default().inclusion_proof(0, 0), None);
    }
}
