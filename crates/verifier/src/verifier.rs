//! The Verifier: one function from Evidence to [`VerifiedEvidence`], and one from there to an [`AttestationResult`].

use protocol::manifest::ReferenceValues;
use protocol::{Digest, Evidence, Expected, Identity, Tee};

use crate::anchors::TrustAnchors;
use crate::context::{Cache, Context};
use crate::dcap::DcapError;
use crate::dcap::quote::{Body, Quote};
use crate::endorsements::{Endorsements, Need};
use crate::ear::TrustVector;
use crate::error::Tried;
use crate::evidence::{AttestationResult, Claims, Detail, UnverifiedEvidence, VerifiedEvidence};
use crate::layer::demand_all;
use crate::mismatch::Mismatch;
use crate::time::UnixTime;
use crate::{AppraiseError, VerifyError, sgx, snp, software, tdx};

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
        let context = self.context(endorsements, now);
        let evidence = evidence.into_inner();
        let digest = evidence.digest();
        let report_data = &expected.report_data;
        let claims = match evidence.tee {
            Tee::Software if !evidence.devices.is_empty() => {
                return Err(VerifyError::DevicesWithoutHardware { got: evidence.devices.len() });
            }
            Tee::Software => software::verify(&evidence.body, report_data)?,
            Tee::Snp => {
                let examination = snp::examine(&evidence.body, Some(report_data), &context);
                demand_all(&examination.layers.list())?;
                snp_claims(examination.claims.ok_or(VerifyError::NotJudged { layer: "format" })?)
            }
            Tee::Tdx => {
                let examination = tdx::examine(&evidence.body, Some(report_data), &context);
                demand_all(&examination.layers.list())?;
                tdx_claims(examination.claims.ok_or(VerifyError::NotJudged { layer: "format" })?)
            }
            Tee::Sgx => {
                let examination = sgx::examine(&evidence.body, Some(report_data), &context);
                demand_all(&examination.layers.list())?;
                sgx_claims(examination.claims.ok_or(VerifyError::NotJudged { layer: "format" })?)
            }
            tee => return Err(VerifyError::Unsupported { tee }),
        };
        Ok(VerifiedEvidence { claims, digest, verified_at: now })
    }

    pub(crate) fn context<'a>(&'a self, endorsements: &'a Endorsements, now: UnixTime) -> Context<'a> {
        Context { anchors: &self.anchors, endorsements, now, cache: &self.cache }
    }
}

fn snp_claims(claims: snp::Claims) -> Claims {
    Claims {
        tee: Tee::Snp,
        measurement: claims.measurement,
        identity: Identity(Digest::from_bytes(claims.host_data.0)),
        chip_id: claims.chip().map_or(Digest::ZERO, |chip| Digest::of(&chip.0)),
        detail: Detail::Snp(Box::new(claims)),
    }
}

fn tdx_claims(claims: tdx::Claims) -> Claims {
    Claims {
        tee: Tee::Tdx,
        measurement: claims.report.mrtd,
        identity: claims.identity(),
        chip_id: claims.platform.chip_id().unwrap_or(Digest::ZERO),
        detail: Detail::Tdx(Box::new(claims)),
    }
}

fn sgx_claims(claims: sgx::Claims) -> Claims {
    Claims {
        tee: Tee::Sgx,
        measurement: claims.measurement(),
        identity: claims.identity(),
        chip_id: claims.platform.chip_id().unwrap_or(Digest::ZERO),
        detail: Detail::Sgx(Box::new(claims)),
    }
}

/// Appraises verified Evidence against reference values, at the time at which it was verified.
pub fn appraise(evidence: VerifiedEvidence, values: &ReferenceValues) -> Result<AttestationResult, AppraiseError> {
    let VerifiedEvidence { claims, digest, verified_at: now } = evidence;
    let vector = match &claims.detail {
        Detail::Software => software::appraise(&claims, values)?,
        Detail::Snp(snp) => {
            let entries = values.snp.iter().map(|entry| (entry.platform.as_str(), snp::appraise(snp, entry, now)));
            any_entry(claims.tee, entries)?
        }
        Detail::Tdx(tdx) => {
            let entries = values.tdx.iter().map(|entry| (entry.platform.as_str(), tdx::appraise(tdx, entry, now)));
            any_entry(claims.tee, entries)?
        }
        Detail::Sgx(sgx) => {
            let entries = values.sgx.iter().map(|entry| (entry.platform.as_str(), sgx::appraise(sgx, entry, now)));
            any_entry(claims.tee, entries)?
        }
    };
    Ok(AttestationResult { claims, digest, vector })
}

/// The first entry that accepts, or what every one of them did not accept. One signature check serves all of them.
pub(crate) fn any_entry<'a>(
    tee: Tee,
    entries: impl Iterator<Item = (&'a str, Result<TrustVector, Vec<Mismatch>>)>,
) -> Result<TrustVector, AppraiseError> {
    let mut tried = Vec::new();
    for (platform, outcome) in entries {
        match outcome {
            Ok(vector) => return Ok(vector),
            Err(mismatches) => tried.push(Tried { platform: platform.to_owned(), mismatches }),
        }
    }
    if tried.is_empty() { Err(AppraiseError::NotAccepted { tee }) } else { Err(AppraiseError::NoEntryAccepts { tried }) }
}

/// Which Endorsements a piece of Evidence cannot be judged without. The answer rests on unverified claims: it says what
/// to fetch, and nothing else.
pub fn needs(evidence: &Evidence) -> Vec<Need> {
    match evidence.tee {
        Tee::Snp => snp::needs(&evidence.body),
        Tee::Tdx => tdx::needs(&evidence.body),
        Tee::Sgx => sgx::needs(&evidence.body),
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
        Tee::Snp => {
            let claims = snp::parse(&evidence.body).map_err(snp::SnpError::from)?;
            Ok(snp_claims(claims).identity)
        }
        Tee::Tdx | Tee::Sgx => {
            let quote = Quote::parse(&evidence.body).map_err(DcapError::from)?;
            let (tee, field): (_, &[u8]) = match &quote.body {
                Body::Tdx(report) => (Tee::Tdx, report.mr_config_id.as_bytes()),
                Body::Sgx(report) => (Tee::Sgx, &report.config_id.0),
            };
            match field.first_chunk::<32>() {
                Some(digest) if tee == evidence.tee => Ok(Identity(Digest::from_bytes(*digest))),
                _ => Err(DcapError::OtherTee { got: tee, expected: evidence.tee }.into()),
            }
        }
        tee => Err(VerifyError::Unsupported { tee }),
    }
}
