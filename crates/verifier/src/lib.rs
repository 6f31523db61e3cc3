//! Verifies and appraises Evidence: bytes, expectations and trust anchors go in, a proof type or a typed error comes
//! out. Nothing in this crate reads a clock, a socket or a file, and it does not know who is asking.
//!
//! The argument is carried by types that only this crate makes, in this order:
//!
//! 1. [`UnverifiedEvidence`]: bytes of a peer, of bounded size. `Ok` proves nothing else.
//! 2. [`VerifiedEvidence`]: the signature is good under the root that the Evidence itself presents, and its report data
//!    is what this channel demands. It does **not** prove that the root is one to be trusted.
//! 3. [`AttestationResult`]: the root and the measurement are among the reference values. It does **not** prove that the
//!    identity may do anything: that is the relying party's decision (the manifest).
//!
//! None of them is `Clone`, and each step takes the one before by value, so one Evidence gives one result.
//!
//! ```
//! # fn f(evidence: protocol::Evidence, expected: protocol::ReportData, values: protocol::manifest::ReferenceValues)
//! # -> Result<(), Box<dyn std::error::Error>> {
//! let verified = verifier::verify(verifier::UnverifiedEvidence::new(evidence)?, &expected)?;
//! let result = verifier::appraise(verified, &values)?;
//! println!("{} on {}", result.identity(), result.tee().name());
//! # Ok(()) }
//! ```
//!
//! Skipping a step does not compile:
//!
//! ```compile_fail,E0308
//! # fn f(evidence: protocol::Evidence, values: &protocol::manifest::ReferenceValues) {
//! let unverified = verifier::UnverifiedEvidence::new(evidence).unwrap();
//! let result = verifier::appraise(unverified, values); // expected `VerifiedEvidence`
//! # }
//! ```
//!
//! nor does making a proof oneself:
//!
//! ```compile_fail,E0451
//! # fn f(claims: verifier::Claims, digest: protocol::Digest) -> verifier::VerifiedEvidence {
//! verifier::VerifiedEvidence { claims, digest }
//! # }
//! ```
//!
//! ```compile_fail,E0451
//! # fn f(claims: verifier::Claims, digest: protocol::Digest, vector: verifier::ear::TrustVector)
//! # -> verifier::AttestationResult {
//! verifier::AttestationResult { claims, digest, vector }
//! # }
//! ```
//!
//! nor using one twice:
//!
//! ```compile_fail,E0382
//! # fn f(verified: verifier::VerifiedEvidence, values: &protocol::manifest::ReferenceValues) {
//! let first = verifier::appraise(verified, values);
//! let second = verifier::appraise(verified, values);
//! # }
//! ```

#![warn(missing_docs)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]

pub mod anchors;
pub mod ccel;
mod context;
pub mod dcap;
pub mod ear;
pub mod endorsements;
mod error;
pub mod explain;
mod layer;
mod mismatch;
pub mod nvidia;
pub mod ocsp;
pub mod rim;
pub mod sgx;
pub mod snp;
mod software;
pub mod tdx;
mod time;
mod value;
pub mod x509;

pub use anchors::TrustAnchors;
pub use endorsements::Endorsements;
pub use error::{AppraiseError, Fault, NotGenuine, Tried, VerifyError};
pub use layer::Outcome;
pub use mismatch::{Mismatch, Rule};
pub use time::UnixTime;
pub use value::Value;

use protocol::digest::Measurement;
use protocol::manifest::ReferenceValues;
use protocol::{Digest, Evidence, Identity, ReportData, Tee};

use ear::{Ear, TrustVector};

/// Evidence of a peer, of a size that may be parsed. Nothing in it is believed.
#[derive(Debug)]
pub struct UnverifiedEvidence {
    evidence: Evidence,
}

impl UnverifiedEvidence {
    /// Takes Evidence over, unless it is larger than any TEE makes.
    pub fn new(evidence: Evidence) -> Result<Self, VerifyError> {
        if evidence.body.len() > Evidence::MAX_BODY {
            return Err(VerifyError::TooLong { got: evidence.body.len(), limit: Evidence::MAX_BODY });
        }
        Ok(Self { evidence })
    }
}

/// What genuine Evidence says of its TEE. A plain value: only inside a proof type does it mean anything.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Claims {
    /// Which TEE made the Evidence.
    pub tee: Tee,
    /// What was started: the guest, for the software TEE the pod agent.
    pub measurement: Measurement,
    /// The digest of the initdata, as the TEE's host-data field has it.
    pub identity: Identity,
    /// Which machine: for the software TEE the SHA-256 of the engine's root key.
    pub chip_id: Digest,
}

/// Genuine Evidence, bound to what the verifying side demanded. The only value that [`appraise`] takes.
///
/// It shows no identity: before the appraisal anybody who can make a key pair can make Evidence that is genuine in
/// this sense.
#[derive(Debug)]
pub struct VerifiedEvidence {
    claims: Claims,
    digest: Digest,
}

impl VerifiedEvidence {
    /// Which TEE made it.
    pub fn tee(&self) -> Tee {
        self.claims.tee
    }

    /// The digest under which the log names the Evidence.
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

/// The outcome of an appraisal: Evidence that is genuine, bound and within the reference values.
#[derive(Debug)]
pub struct AttestationResult {
    claims: Claims,
    digest: Digest,
    vector: TrustVector,
}

impl AttestationResult {
    /// The identity of the pod: the digest of its initdata.
    pub fn identity(&self) -> Identity {
        self.claims.identity
    }

    /// The result, if it is that of one expected pod: for a relying party that knows whom it wants to talk to.
    pub fn require_identity(self, expected: Identity) -> Result<Self, AppraiseError> {
        if self.claims.identity == expected {
            Ok(self)
        } else {
            Err(AppraiseError::OtherIdentity { reported: self.claims.identity, expected })
        }
    }

    /// Which TEE made the Evidence.
    pub fn tee(&self) -> Tee {
        self.claims.tee
    }

    /// The measurement that was found among the reference values.
    pub fn measurement(&self) -> Measurement {
        self.claims.measurement
    }

    /// The machine.
    pub fn chip_id(&self) -> Digest {
        self.claims.chip_id
    }

    /// The digest under which the log names the Evidence this rests on.
    pub fn evidence_digest(&self) -> Digest {
        self.digest
    }

    /// Whether this proves nothing about hardware. Every output that rests on it must say INSECURE.
    pub fn is_insecure(&self) -> bool {
        self.claims.tee.is_insecure()
    }

    /// The AR4SI trustworthiness vector.
    pub fn trust_vector(&self) -> &TrustVector {
        &self.vector
    }

    /// The result as EAR claims. `issued_at`, in seconds since 1970, comes from the caller, who has the clock.
    pub fn ear(&self, issued_at: u64) -> Ear {
        Ear::new(self, issued_at)
    }
}

/// Verifies Evidence: its signature chain, and that its report data is exactly `expected`.
///
/// Evidence that was recorded on another channel, or made for another nonce, purpose, role or deployment, ends in
/// [`VerifyError::Unbound`]. Evidence of a TEE that this release cannot verify ends in
/// [`VerifyError::Unsupported`], which is "could not tell" and never "yes".
pub fn verify(evidence: UnverifiedEvidence, expected: &ReportData) -> Result<VerifiedEvidence, VerifyError> {
    let evidence = evidence.evidence;
    let digest = evidence.digest();
    let claims = match evidence.tee {
        Tee::Software => software::verify(&evidence.body, expected)?,
        tee => return Err(VerifyError::Unsupported { tee }),
    };
    Ok(VerifiedEvidence { claims, digest })
}

/// Appraises verified Evidence against reference values.
pub fn appraise(evidence: VerifiedEvidence, values: &ReferenceValues) -> Result<AttestationResult, AppraiseError> {
    let VerifiedEvidence { claims, digest } = evidence;
    let vector = match claims.tee {
        Tee::Software => software::appraise(&claims, values)?,
        tee => return Err(AppraiseError::Unsupported { tee }),
    };
    Ok(AttestationResult { claims, digest, vector })
}

/// The identity that Evidence claims, unverified. For **one's own** Evidence only: a pod learns so which initdata digest
/// its TEE reports, and compares it with the document the host gave it. Of a peer's Evidence it says nothing.
pub fn claimed_identity(evidence: &Evidence) -> Result<Identity, VerifyError> {
    if evidence.body.len() > Evidence::MAX_BODY {
        return Err(VerifyError::TooLong { got: evidence.body.len(), limit: Evidence::MAX_BODY });
    }
    match evidence.tee {
        Tee::Software => software::claimed_identity(&evidence.body),
        tee => Err(VerifyError::Unsupported { tee }),
    }
}
