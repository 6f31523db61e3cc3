//! What a pod holds its Coordinator to for the rest of its life.
//!
//! The first grant is believed because the Coordinator attested and the owners signed. Every later one must also come
//! from the same deployment, further on: the same root CA and log, a manifest that is no older, and a log that still
//! holds what it held. A host that brings an earlier store back, or a second Coordinator with the same initdata and
//! another seed, has none of that to show.
//!
//! Not shown by pins: that the first grant was the latest there was to have. A pod that starts afresh knows no past.

use pki::log::{Checkpoint, ProofError, verify_consistency};
use protocol::Digest;
use protocol::log::ConsistencyProof;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, TrustAnchor};
use serde::{Deserialize, Serialize};

/// What one grant committed the deployment to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pins {
    /// The root CA, PEM.
    pub(crate) root_ca: String,
    /// Verifier key of the log.
    pub(crate) log_key: String,
    /// The number of the manifest, from 1.
    pub(crate) generation: u64,
    /// [`protocol::api::transition`] of the manifest.
    pub(crate) transition: Digest,
    /// The log.
    pub(crate) log: LogHead,
}

/// Size and root of a log, from a checkpoint that was verified.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogHead {
    /// The log's name.
    pub(crate) origin: String,
    /// How many entries.
    pub(crate) size: u64,
    /// The root over them.
    pub(crate) root: Digest,
}

impl From<Checkpoint> for LogHead {
    fn from(Checkpoint { origin, size, root }: Checkpoint) -> Self {
        Self { origin, size, root }
    }
}

impl LogHead {
    fn checkpoint(&self) -> Checkpoint {
        Checkpoint { origin: self.origin.clone(), size: self.size, root: self.root }
    }
}

/// How a grant contradicts an earlier one.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum PinError {
    #[error("root CA is another one than at enrolment")]
    OtherRootCa,
    #[error("log key is `{got}`, at enrolment it was `{known}`")]
    OtherLogKey { got: String, known: String },
    #[error("manifest has generation {got}, an earlier grant had {known}")]
    GenerationBack { got: u64, known: u64 },
    #[error("two manifests of generation {generation} were shown")]
    ManifestForked { generation: u64 },
    #[error("manifest of generation {generation} does not succeed the one that an earlier grant had")]
    OtherPredecessor { generation: u64 },
    #[error("log of size {got} was shown, an earlier one had {known}")]
    LogShrank { got: u64, known: u64 },
    #[error("two logs of size {size} were shown")]
    LogForked { size: u64 },
    #[error("log of size {got} comes without proof that it extends the one of size {known}")]
    NoProof { got: u64, known: u64 },
    #[error("log of size {got} does not extend the one of size {known}")]
    LogRewritten {
        got: u64,
        known: u64,
        #[source]
        source: ProofError,
    },
}

/// Whether the answer must prove that the log was extended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Extension {
    /// A renewal: the question named the size that we know.
    Proven,
    /// An enrolment: the question has no place for a size, so an answer is held to what can be compared without a proof.
    Compared,
}

impl Pins {
    /// Checks that a later grant follows this one. `previous` is the transition that the later manifest names as its
    /// predecessor's.
    pub(crate) fn admit(
        &self,
        later: &Self,
        previous: Digest,
        consistency: Option<&ConsistencyProof>,
        extension: Extension,
    ) -> Result<(), PinError> {
        // The signature in a CA certificate is random, and a Coordinator whose store lost the certificate signs again. Name
        // and key are what makes it this CA.
        if !same_anchor(&self.root_ca, &later.root_ca) {
            return Err(PinError::OtherRootCa);
        }
        if self.log_key != later.log_key {
            return Err(PinError::OtherLogKey { got: later.log_key.clone(), known: self.log_key.clone() });
        }
        let (got, known) = (later.generation, self.generation);
        if got < known {
            return Err(PinError::GenerationBack { got, known });
        }
        if got == known && later.transition != self.transition {
            return Err(PinError::ManifestForked { generation: got });
        }
        if known.checked_add(1) == Some(got) && previous != self.transition {
            return Err(PinError::OtherPredecessor { generation: got });
        }
        self.log.extended_by(&later.log, consistency, extension)
    }
}

impl LogHead {
    fn extended_by(
        &self,
        later: &Self,
        consistency: Option<&ConsistencyProof>,
        extension: Extension,
    ) -> Result<(), PinError> {
        let (got, known) = (later.size, self.size);
        if got < known {
            return Err(PinError::LogShrank { got, known });
        }
        if got == known {
            return if self == later { Ok(()) } else { Err(PinError::LogForked { size: got }) };
        }
        match consistency {
            Some(proof) => verify_consistency(proof, &self.checkpoint(), &later.checkpoint())
                .map_err(|source| PinError::LogRewritten { got, known, source }),
            None if extension == Extension::Compared => Ok(()),
            None => Err(PinError::NoProof { got, known }),
        }
    }
}

/// Whether two PEM texts hold certificates of one CA: the same name, key and constraints.
fn same_anchor(one: &str, other: &str) -> bool {
    let anchor = |pem: &str| -> Option<TrustAnchor<'static>> {
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
        Some(webpki::anchor_from_trusted_cert(&certificate).ok()?.to_owned())
    };
    anchor(one).is_some_and(|one| anchor(other).is_some_and(|other| one == other))
}

#[cfg(test)]
mod tests {
    use pki::log::{Tree, leaf_hash, origin};
    use pki::seed::{KeySchedule, Seed};

    use super::*;
    use crate::rig::DEPLOYMENT;

    fn tree(size: u64) -> Tree {
        let leaves: Vec<_> = (0..size).map(|leaf| leaf_hash(&leaf.to_be_bytes())).collect();
        Tree::from_leaves(&leaves)
    }

    fn schedule() -> KeySchedule {
        KeySchedule::new(&Seed::generate().unwrap(), DEPLOYMENT)
    }

    fn pins(schedule: &KeySchedule, generation: u64, size: u64) -> Pins {
        Pins {
            root_ca: schedule.root_ca(true).unwrap().certificate_pem().to_owned(),
            log_key: schedule.log_signer().unwrap().vkey(),
            generation,
            transition: Digest::of(&generation.to_be_bytes()),
            log: LogHead { origin: origin(DEPLOYMENT), size, root: tree(size).root() },
        }
    }

    fn proof(from: u64, to: u64) -> ConsistencyProof {
        tree(to).consistency_proof(from, to).unwrap()
    }

    fn admit(known: &Pins, later: &Pins, proof: Option<&ConsistencyProof>) -> Result<(), PinError> {
        known.admit(later, known.transition, proof, Extension::Proven)
    }

    #[test]
    fn a_deployment_that_went_on_is_admitted() {
        let schedule = schedule();
        let known = pins(&schedule, 2, 5);
        for (generation, size) in [(2, 5), (2, 6), (3, 9), (7, 31)] {
            // Signed again: a Coordinator whose store lost its certificate.
            let later = pins(&schedule, generation, size);
            assert_eq!(admit(&known, &later, Some(&proof(5, size))), Ok(()), "{generation} {size}");
        }
        assert_eq!(admit(&known, &known, None), Ok(()), "nothing new needs no proof");
    }

    #[test]
    fn each_wrong_part_is_refused_by_name() {
        type Change = fn(&mut Pins, &mut Option<ConsistencyProof>);
        let cases: [(&str, Change); 16] = [
            ("root CA is another one", |later, _| later.root_ca = pins(&schedule(), 3, 9).root_ca),
            ("root CA is another one", |later, _| later.root_ca.clear()),
            ("root CA is another one", |later, _| {
                later.root_ca = KeySchedule::new(&Seed::generate().unwrap(), DEPLOYMENT)
                    .root_ca(false)
                    .unwrap()
                    .certificate_pem()
                    .to_owned();
            }),
            ("log key is `", |later, _| later.log_key = pins(&schedule(), 3, 9).log_key),
            ("log key is `", |later, _| later.log_key.clear()),
            ("manifest has generation 1, an earlier grant had 2", |later, _| later.generation = 1),
            ("two manifests of generation 2", |later, _| later.generation = 2),
            ("log of size 4 was shown, an earlier one had 5", |later, _| later.log.size = 4),
            ("two logs of size 5", |later, _| later.log.size = 5),
            ("log of size 9 comes without proof", |_, proof| *proof = None),
            ("log of size 9 does not extend", |later, _| later.log.root = Digest::of(b"another")),
            ("log of size 9 does not extend", |later, _| later.log.origin.push('x')),
            ("log of size 9 does not extend", |_, given| *given = Some(proof(4, 9))),
            ("log of size 9 does not extend", |_, given| *given = Some(proof(5, 8))),
            ("log of size 9 does not extend", |_, given| {
                if let Some(node) = given.as_mut().and_then(|proof| proof.hashes.first_mut()) {
                    *node = Digest::ZERO;
                }
            }),
            ("log of size 9 does not extend", |_, given| {
                if let Some(proof) = given.as_mut() {
                    proof.hashes.pop();
                }
            }),
        ];
        for (index, (message, change)) in cases.into_iter().enumerate() {
            let schedule = schedule();
            let (known, mut later, mut consistency) = (pins(&schedule, 2, 5), pins(&schedule, 3, 9), Some(proof(5, 9)));
            change(&mut later, &mut consistency);
            let error = admit(&known, &later, consistency.as_ref()).unwrap_err().to_string();
            assert!(error.contains(message), "case {index}: `{message}` is not in `{error}`");
        }
    }

    #[test]
    fn the_next_manifest_succeeds_the_one_that_is_known() {
        let schedule = schedule();
        let (known, later) = (pins(&schedule, 2, 5), pins(&schedule, 3, 9));
        let given = proof(5, 9);
        assert_eq!(
            known.admit(&later, Digest::ZERO, Some(&given), Extension::Proven),
            Err(PinError::OtherPredecessor { generation: 3 })
        );
    }

    #[test]
    fn another_enrolment_in_one_life_is_held_to_all_that_needs_no_proof() {
        let schedule = schedule();
        let known = pins(&schedule, 2, 5);
        let again = |later: &Pins| known.admit(later, known.transition, None, Extension::Compared);
        assert_eq!(again(&pins(&schedule, 2, 6)), Ok(()));
        assert_eq!(again(&pins(&schedule, 2, 4)), Err(PinError::LogShrank { got: 4, known: 5 }));
        assert_eq!(again(&pins(&schedule, 1, 6)), Err(PinError::GenerationBack { got: 1, known: 2 }));
        assert_eq!(again(&pins(&self::schedule(), 2, 6)), Err(PinError::OtherRootCa));
    }
}
