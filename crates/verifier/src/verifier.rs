//! The Verifier: one function from Evidence to [`VerifiedEvidence`], and one from there to an [`AttestationResult`].

use protocol::manifest::ReferenceValues;
use protocol::{Evidence, Expected, Identity, Tee};

use crate::anchors::TrustAnchors;
use crate::context::{Cache, Context};
use crate::endorsements::{Endorsements, Need};
use crate::evidence::{AttestationResult, UnverifiedEvidence, VerifiedEvidence};
use crate::time::UnixTime;
use crate::{AppraiseError, VerifyError, software};

/// Verifies Evidence under fixed trust anchors, and remembers chains and documents that it has verified before, so that
/// a machine's second report costs the signatures that are new in it and no more. Cheap to share: every method takes
/// `&self`.
#[derive(Debug, Default)]
pub struct Verifier {
    anchors: TrustAnchors,
    cache: Cache,
}

impl Verifier {
    /// A Verifier that believes the vendors' roots, and those alone.
    pub fn new() -> Self {
        Self::default()
    }

    /// A Verifier that believes other roots: see [`crate::anchors::danger`].
    pub fn with_anchors(anchors: TrustAnchors) -> Self {
        Self { anchors, cache: Cache::default() }
    }

    /// Verifies Evidence at the time `now`: its chain up to the vendor's root, revocation, signature, and that it carries
    /// exactly what `expected` says.
    ///
    /// Evidence that was recorded on another channel, or made for another nonce, purpose, role or deployment, ends in
    /// [`VerifyError::Unbound`]. Where an Endorsement is missing or out of date the error is "could not tell"
    /// ([`VerifyError::is_refusal`]), which is never "yes".
    pub fn verify(
        &self,
        evidence: UnverifiedEvidence,
        expected: &Expected,
        endorsements: &Endorsements,
        now: UnixTime,
    ) -> Result<VerifiedEvidence, VerifyError> {
        let _context = Context { anchors: &self.anchors, endorsements, now, cache: &self.cache };
        let evidence = evidence.into_inner();
        let digest = evidence.digest();
        let claims = match evidence.tee {
            Tee::Software if !evidence.devices.is_empty() => {
                return Err(VerifyError::DevicesWithoutHardware { got: evidence.devices.len() });
            }
            Tee::Software => software::verify(&evidence.body, &expected.report_data)?,
            tee => return Err(VerifyError::Unsupported { tee }),
        };
        Ok(VerifiedEvidence { claims, digest, verified_at: now })
    }
}

/// Appraises verified Evidence against reference values.
pub fn appraise(evidence: VerifiedEvidence, values: &ReferenceValues) -> Result<AttestationResult, AppraiseError> {
    let VerifiedEvidence { claims, digest, verified_at: _ } = evidence;
    let vector = match claims.tee {
        Tee::Software => software::appraise(&claims, values)?,
        tee => return Err(AppraiseError::Unsupported { tee }),
    };
    Ok(AttestationResult { claims, digest, vector })
}

/// Which Endorsements a piece of Evidence cannot be judged without. The answer rests on unverified claims: it says what
/// to fetch, and nothing else.
pub fn needs(evidence: &Evidence) -> Vec<Need> {
    match evidence.tee {
        _ => Vec::new(),
    }
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
