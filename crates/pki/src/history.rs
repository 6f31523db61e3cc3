//! Whether a list of manifests is a history that its owners made: the first signed by the owners that the caller
//! trusts beforehand, each other one by those of its predecessor.

use protocol::api::{SignedManifest, transition};
use protocol::manifest::{Manifest, ManifestError, Quorum};
use protocol::{DeploymentId, Digest};

use crate::owner::{Approved, QuorumError, verify_quorum};

/// Why a list of manifests is no history. Generations count from 1.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HistoryError {
    /// The manifest is not one.
    #[error("manifest of generation {generation}")]
    Manifest {
        /// Which.
        generation: u64,
        /// What is wrong with it.
        #[source]
        source: ManifestError,
    },
    /// A manifest of another deployment.
    #[error("manifest of generation {generation} is for deployment {got}, expected {expected}")]
    OtherDeployment {
        /// Which.
        generation: u64,
        /// Its deployment.
        got: DeploymentId,
        /// The caller's.
        expected: DeploymentId,
    },
    /// It does not follow its predecessor.
    #[error(
        "manifest of generation {generation} follows transition {}, its predecessor is {}",
        got.short(), expected.short()
    )]
    Broken {
        /// Which.
        generation: u64,
        /// The predecessor it names.
        got: Digest,
        /// Its real predecessor.
        expected: Digest,
    },
    /// The owners did not sign it.
    #[error("signatures of generation {generation}")]
    NotSigned {
        /// Which.
        generation: u64,
        /// What is wrong with the signatures.
        #[source]
        source: QuorumError,
    },
}

/// The end of a history: what a next manifest must follow, and who must sign it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tip {
    /// The generation, 0 before the first manifest.
    pub generation: u64,
    /// The transition, all zero before the first manifest.
    pub transition: Digest,
    /// The owners whose signatures the next manifest needs.
    pub owners: Quorum,
}

/// Proof that the owners made a manifest the next one. Only [`Tip::next`] makes it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Successor {
    /// The manifest.
    pub manifest: Manifest,
    /// The tip with this manifest at the end.
    pub tip: Tip,
    /// The owners' approval of the new transition.
    pub approved: Approved,
}

impl Tip {
    /// The beginning of every history: no manifest yet, `owners` decide on the first.
    pub fn start(owners: &Quorum) -> Self {
        Self { generation: 0, transition: Digest::ZERO, owners: owners.clone() }
    }

    /// Checks that `signed` is the next manifest.
    pub fn next(&self, deployment: DeploymentId, signed: &SignedManifest) -> Result<Successor, HistoryError> {
        let generation = self.generation.saturating_add(1);
        let manifest =
            Manifest::parse(&signed.manifest).map_err(|source| HistoryError::Manifest { generation, source })?;
        if manifest.deployment_id != deployment {
            let got = manifest.deployment_id;
            return Err(HistoryError::OtherDeployment { generation, got, expected: deployment });
        }
        if signed.previous != self.transition {
            return Err(HistoryError::Broken { generation, got: signed.previous, expected: self.transition });
        }
        let transition = transition(deployment, signed.previous, &signed.manifest);
        let approved = verify_quorum(&self.owners, &transition, &signed.signatures)
            .map_err(|source| HistoryError::NotSigned { generation, source })?;
        let tip = Self { generation, transition, owners: manifest.owners.clone() };
        Ok(Successor { manifest, tip, approved })
    }
}

/// Checks a whole history, oldest first, and gives its manifests. An empty list is a history.
pub fn verify(
    deployment: DeploymentId,
    first_owners: &Quorum,
    history: &[SignedManifest],
) -> Result<Vec<Manifest>, HistoryError> {
    let mut tip = Tip::start(first_owners);
    let mut manifests = Vec::with_capacity(history.len());
    for signed in history {
        let next = tip.next(deployment, signed)?;
        tip = next.tip;
        manifests.push(next.manifest);
    }
    Ok(manifests)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use protocol::digest::Measurement;
    use protocol::manifest::{PolicyEntry, PublicKey, ReferenceValues, SoftwareReferenceValues};
    use protocol::{Identity, Role};

    use super::*;
    use crate::owner::OwnerKey;

    const DEPLOYMENT: DeploymentId = DeploymentId::from_bytes([1; 16]);

    fn quorum(threshold: u32, keys: &[&OwnerKey]) -> Quorum {
        Quorum { threshold, keys: keys.iter().map(|key| key.public()).collect() }
    }

    fn manifest(owners: Quorum, lease_seconds: u32) -> Manifest {
        let entry = PolicyEntry {
            names: vec!["coordinator".into()],
            role: Role::Coordinator,
            secrets: BTreeSet::new(),
            callers: None,
            platforms: None,
        };
        Manifest {
            version: 1,
            deployment_id: DEPLOYMENT,
            policies: BTreeMap::from([(Identity(Digest::of(b"c")), entry)]),
            reference_values: ReferenceValues::software(SoftwareReferenceValues {
                root: Digest::of(b"root"),
                measurements: vec![Measurement::from_bytes([1; 48])],
            }),
            owners,
            seed_share_holders: Quorum { threshold: 1, keys: vec![PublicKey(vec![2])] },
            lease_seconds,
        }
    }

    fn sign(manifest: &Manifest, previous: Digest, keys: &[&OwnerKey]) -> SignedManifest {
        let manifest = manifest.to_text();
        let message = transition(DEPLOYMENT, previous, &manifest);
        let signatures = keys.iter().map(|key| key.sign(&message).unwrap()).collect();
        SignedManifest { manifest, previous, signatures }
    }

    fn digest(signed: &SignedManifest) -> Digest {
        transition(DEPLOYMENT, signed.previous, &signed.manifest)
    }

    #[test]
    fn each_manifest_is_signed_by_the_owners_of_its_predecessor() {
        let (alice, bob) = (OwnerKey::generate().unwrap(), OwnerKey::generate().unwrap());
        let first_owners = quorum(1, &[&alice]);
        // Alice hands over to Bob, who then decides alone.
        let first = sign(&manifest(first_owners.clone(), 60), Digest::ZERO, &[&alice]);
        let second = sign(&manifest(quorum(1, &[&bob]), 61), digest(&first), &[&alice]);
        let third = sign(&manifest(quorum(1, &[&bob]), 62), digest(&second), &[&bob]);
        let history = [first.clone(), second.clone(), third.clone()];
        let manifests = verify(DEPLOYMENT, &first_owners, &history).unwrap();
        assert_eq!(manifests.iter().map(|m| m.lease_seconds).collect::<Vec<_>>(), [60, 61, 62]);
        assert_eq!(verify(DEPLOYMENT, &first_owners, &[]), Ok(vec![]));

        // Alice has no say any more.
        let late = sign(&manifest(quorum(1, &[&alice]), 63), digest(&second), &[&alice]);
        let error = verify(DEPLOYMENT, &first_owners, &[first, second, late]).unwrap_err();
        let source = QuorumError::UnknownKey { key: alice.public().id() };
        assert_eq!(error, HistoryError::NotSigned { generation: 3, source });
    }

    #[test]
    fn a_history_that_was_cut_reordered_or_changed_is_refused() {
        let alice = OwnerKey::generate().unwrap();
        let owners = quorum(1, &[&alice]);
        let first = sign(&manifest(owners.clone(), 60), Digest::ZERO, &[&alice]);
        let second = sign(&manifest(owners.clone(), 61), digest(&first), &[&alice]);
        let third = sign(&manifest(owners.clone(), 62), digest(&second), &[&alice]);
        let refused = |history: &[SignedManifest]| verify(DEPLOYMENT, &owners, history).unwrap_err();
        let broken = |generation, got, expected| HistoryError::Broken { generation, got, expected };
        assert_eq!(refused(std::slice::from_ref(&second)), broken(1, digest(&first), Digest::ZERO));
        assert_eq!(refused(&[first.clone(), third.clone()]), broken(2, digest(&second), digest(&first)));
        assert_eq!(refused(&[first.clone(), first.clone()]), broken(2, Digest::ZERO, digest(&first)));
        let mut changed = first.clone();
        changed.manifest = changed.manifest.replace("60", "70");
        let key = alice.public().id();
        let invalid = HistoryError::NotSigned { generation: 1, source: QuorumError::Invalid { key } };
        assert_eq!(refused(&[changed]), invalid);
        let mut moved = third;
        moved.previous = digest(&first);
        let invalid = HistoryError::NotSigned { generation: 2, source: QuorumError::Invalid { key } };
        assert_eq!(refused(&[first, moved]), invalid);
    }

    #[test]
    fn a_manifest_of_another_deployment_or_out_of_form_is_refused() {
        let alice = OwnerKey::generate().unwrap();
        let owners = quorum(1, &[&alice]);
        let signed = sign(&manifest(owners.clone(), 60), Digest::ZERO, &[&alice]);
        let other = DeploymentId::from_bytes([9; 16]);
        assert_eq!(
            verify(other, &owners, std::slice::from_ref(&signed)).unwrap_err(),
            HistoryError::OtherDeployment { generation: 1, got: DEPLOYMENT, expected: other }
        );
        let invalid = sign(&manifest(owners.clone(), 1), Digest::ZERO, &[&alice]);
        assert!(matches!(
            verify(DEPLOYMENT, &owners, &[invalid]).unwrap_err(),
            HistoryError::Manifest { generation: 1, source: ManifestError::Invalid { .. } }
        ));
        let garbage = SignedManifest { manifest: "{".into(), ..signed.clone() };
        assert!(matches!(verify(DEPLOYMENT, &owners, &[garbage]).unwrap_err(), HistoryError::Manifest { .. }));
        let nobody = Quorum { threshold: 0, keys: vec![] };
        assert!(matches!(verify(DEPLOYMENT, &nobody, &[signed]).unwrap_err(), HistoryError::NotSigned { .. }));
    }
}
