//! The Verifier: one function from Evidence to [`VerifiedEvidence`], and one from there to an [`AttestationResult`].

use protocol::manifest::ReferenceValues;
use protocol::{Digest, Evidence, Expected, Identity, ReportData, Tee};

use crate::anchors::TrustAnchors;
use crate::context::{Cache, Context};
use crate::ear::TrustVector;
use crate::endorsements::{Endorsements, Need};
use crate::error::Tried;
use crate::evidence::{AttestationResult, Claims, Detail, UnverifiedEvidence, VerifiedEvidence};
use crate::layer::{Outcome, demand_all};
use crate::mismatch::{Mismatch, Rule};
use crate::time::UnixTime;
use crate::value::Value;
use crate::{AppraiseError, VerifyError, nvidia, sgx, snp, software, tdx};

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
        let mut claims = match verify_tee(&evidence, &expected.report_data, &context) {
            Ok(claims) => claims,
            // The report data covers the devices, so a set that was changed on its way is unbound. Where a device by itself
            // shows why, stale or standing twice, that says more. Only for a TEE that is genuine: nobody else may make us
            // look at devices.
            Err(NotVerified { error, genuine: true }) => {
                let changed = verify_devices(&evidence, expected, &context).err();
                return Err(changed.filter(VerifyError::is_refusal).unwrap_or(error));
            }
            Err(NotVerified { error, genuine: false }) => return Err(error),
        };
        claims.devices = verify_devices(&evidence, expected, &context)?;
        Ok(VerifiedEvidence { claims, digest, verified_at: now })
    }

    pub(crate) fn context<'a>(&'a self, endorsements: &'a Endorsements, now: UnixTime) -> Context<'a> {
        Context { anchors: &self.anchors, endorsements, now, cache: &self.cache }
    }
}

/// Why a TEE's own Evidence was not verified.
struct NotVerified {
    error: VerifyError,
    /// Whether everything holds but the binding.
    genuine: bool,
}

impl From<VerifyError> for NotVerified {
    fn from(error: VerifyError) -> Self {
        Self { error, genuine: false }
    }
}

fn verify_tee(evidence: &Evidence, report_data: &ReportData, context: &Context<'_>) -> Result<Claims, NotVerified> {
    let (body, got) = (&evidence.body, evidence.devices.len());
    match evidence.tee {
        // An enclave owns no device, and the software TEE is no hardware.
        tee @ (Tee::Software | Tee::Sgx) if got > 0 => Err(VerifyError::DevicesNotVouchedFor { tee, got }.into()),
        Tee::Software => Ok(software::verify(body, report_data)?),
        Tee::Snp => {
            let examination = snp::examine(body, Some(report_data), context);
            proven(&examination.layers.list(), examination.claims).map(snp_claims)
        }
        Tee::Tdx => {
            let examination = tdx::examine(body, Some(report_data), context);
            proven(&examination.layers.list(), examination.claims).map(tdx_claims)
        }
        Tee::Sgx => {
            let examination = sgx::examine(body, Some(report_data), context);
            proven(&examination.layers.list(), examination.claims).map(sgx_claims)
        }
        tee => Err(VerifyError::Unsupported { tee }.into()),
    }
}

/// The claims, if every layer holds.
fn proven<C>(layers: &[(&'static str, &Outcome)], claims: Option<C>) -> Result<C, NotVerified> {
    demand_all(layers).map_err(|error| {
        let unbound = matches!(error, VerifyError::Unbound { .. });
        let failing = layers.iter().filter(|(_, outcome)| !outcome.holds()).count();
        NotVerified { error, genuine: unbound && failing == 1 }
    })?;
    Ok(claims.ok_or(VerifyError::NotJudged { layer: "format" })?)
}

/// That the TEE vouches for exactly this set is in the report data, which covers their digest. What is left is that each
/// device is genuine, fresh, and another one than the rest.
fn verify_devices(
    evidence: &Evidence,
    expected: &Expected,
    context: &Context<'_>,
) -> Result<Vec<nvidia::Claims>, VerifyError> {
    let devices = &evidence.devices;
    if devices.is_empty() {
        return Ok(Vec::new());
    }
    let unexpected = VerifyError::DevicesUnexpected { got: devices.len() };
    let nonce = expected.device_nonce.as_ref().ok_or(unexpected)?;
    nvidia::examine_devices(devices, Some(nonce), context).verdict()
}

pub(crate) fn snp_claims(claims: snp::Claims) -> Claims {
    Claims {
        tee: Tee::Snp,
        measurement: claims.measurement,
        identity: Identity(Digest::from_bytes(claims.host_data.0)),
        chip_id: claims.chip().map_or(Digest::ZERO, |chip| Digest::of(&chip.0)),
        detail: Detail::Snp(Box::new(claims)),
        devices: Vec::new(),
    }
}

pub(crate) fn tdx_claims(claims: tdx::Claims) -> Claims {
    Claims {
        tee: Tee::Tdx,
        measurement: claims.report.mrtd,
        identity: claims.identity(),
        chip_id: claims.platform.chip_id().unwrap_or(Digest::ZERO),
        detail: Detail::Tdx(Box::new(claims)),
        devices: Vec::new(),
    }
}

pub(crate) fn sgx_claims(claims: sgx::Claims) -> Claims {
    Claims {
        tee: Tee::Sgx,
        measurement: claims.measurement(),
        identity: claims.identity(),
        chip_id: claims.platform.chip_id().unwrap_or(Digest::ZERO),
        detail: Detail::Sgx(Box::new(claims)),
        devices: Vec::new(),
    }
}

/// Appraises verified Evidence against reference values, at the time at which it was verified.
///
/// One entry has to accept the TEE whole. Entries for devices belong to the TEE's entries of the same `platform`: where
/// there are some, one of them has to accept the devices, and a TEE without devices is refused; where there are none, a
/// TEE with devices is.
pub fn appraise(evidence: VerifiedEvidence, values: &ReferenceValues) -> Result<AttestationResult, AppraiseError> {
    let VerifiedEvidence { claims, digest, verified_at } = evidence;
    let (platform, Vectors { tee, devices }) = match accepted_by(&claims, values, verified_at) {
        Some((platform, vectors)) => (Some(platform), vectors),
        None => match compare(&claims, values, verified_at) {
            Compared::Software => (None, Vectors { tee: software::appraise(&claims, values)?, devices: None }),
            Compared::Entries(entries) => {
                let (platform, vectors) = accepted(claims.tee, entries)?;
                (Some(platform), vectors)
            }
        },
    };
    Ok(AttestationResult { claims, digest, vector: tee, device_vector: devices, platform })
}

/// The first entry that accepts, and what it says. Entries for other guests cannot, so they are not compared here: saying in what
/// each of them differs is dear, and only worth it where none accepts.
fn accepted_by(claims: &Claims, values: &ReferenceValues, now: UnixTime) -> Option<(String, Vectors)> {
    let whole = |platform: &str, tee: Result<TrustVector, Vec<Mismatch>>| {
        let tee = tee.ok()?;
        let devices = devices_of(claims, platform, values).ok()?;
        Some((platform.to_owned(), Vectors { tee, devices }))
    };
    match &claims.detail {
        Detail::Software => None,
        Detail::Snp(snp) => {
            let mut entries = values.snp.iter().filter(|one| one.measurements.contains(&snp.measurement));
            entries.find_map(|one| whole(&one.platform, snp::appraise(snp, one, now)))
        }
        Detail::Tdx(tdx) => {
            let mut entries = values.tdx.iter().filter(|one| one.mrtd.contains(&tdx.report.mrtd));
            entries.find_map(|one| whole(&one.platform, tdx::appraise(tdx, one, now)))
        }
        Detail::Sgx(sgx) => values.sgx.iter().find_map(|one| whole(&one.platform, sgx::appraise(sgx, one, now))),
    }
}

/// What an entry that accepts says of the TEE, and of the devices if there are any.
pub(crate) struct Vectors {
    tee: TrustVector,
    devices: Option<TrustVector>,
}

/// An entry's name and its verdict.
pub(crate) type Entry<'a> = (&'a str, Result<Vectors, Vec<Mismatch>>);

/// What every entry says of the claims.
pub(crate) enum Compared<'a> {
    /// The software TEE has no entries.
    Software,
    /// Each entry with its name.
    Entries(Vec<Entry<'a>>),
}

pub(crate) fn compare<'a>(claims: &Claims, values: &'a ReferenceValues, now: UnixTime) -> Compared<'a> {
    fn entry<'a>(
        claims: &Claims,
        values: &ReferenceValues,
        platform: &'a str,
        outcome: Result<TrustVector, Vec<Mismatch>>,
    ) -> Entry<'a> {
        (platform, with_devices(claims, outcome, platform, values))
    }
    Compared::Entries(match &claims.detail {
        Detail::Software => return Compared::Software,
        Detail::Snp(snp) => {
            let entries = values.snp.iter();
            entries.map(|one| entry(claims, values, &one.platform, snp::appraise(snp, one, now))).collect()
        }
        Detail::Tdx(tdx) => {
            let entries = values.tdx.iter();
            entries.map(|one| entry(claims, values, &one.platform, tdx::appraise(tdx, one, now))).collect()
        }
        Detail::Sgx(sgx) => {
            let entries = values.sgx.iter();
            entries.map(|one| entry(claims, values, &one.platform, sgx::appraise(sgx, one, now))).collect()
        }
    })
}

/// An entry's verdict on the TEE together with that on its devices.
fn with_devices(
    claims: &Claims,
    outcome: Result<TrustVector, Vec<Mismatch>>,
    platform: &str,
    values: &ReferenceValues,
) -> Result<Vectors, Vec<Mismatch>> {
    let devices = match devices_of(claims, platform, values) {
        Ok(devices) => devices,
        Err(mut mismatches) => {
            // The TEE's own mismatches come first: they are about the guest, and the devices are the guest's.
            let mut all = outcome.err().unwrap_or_default();
            all.append(&mut mismatches);
            return Err(all);
        }
    };
    outcome.map(|tee| Vectors { tee, devices })
}

/// What the entries for devices of a platform say: the first that accepts them, or what the nearest did not accept.
fn devices_of(claims: &Claims, platform: &str, values: &ReferenceValues) -> Result<Option<TrustVector>, Vec<Mismatch>> {
    let mut nearest: Option<Vec<Mismatch>> = None;
    for entry in values.devices.iter().filter(|entry| entry.platform == platform) {
        match nvidia::appraise(&claims.devices, entry) {
            Ok(vector) => return Ok(Some(vector)),
            Err(mismatches) if nearest.as_ref().is_none_or(|nearest| mismatches.len() < nearest.len()) => {
                nearest = Some(mismatches);
            }
            Err(_) => {}
        }
    }
    match nearest {
        Some(mismatches) => Err(mismatches),
        None if claims.devices.is_empty() => Ok(None),
        None => {
            let reported: Value = claims.devices.iter().map(nvidia::Claims::label).collect();
            Err(vec![Mismatch::new("devices", Rule::Within, reported, Value::none())])
        }
    }
}

/// The first entry that accepts, or what every one of them did not accept. One signature check serves all of them.
fn accepted(tee: Tee, entries: Vec<Entry<'_>>) -> Result<(String, Vectors), AppraiseError> {
    let mut tried = Vec::new();
    for (platform, outcome) in entries {
        match outcome {
            Ok(vectors) => return Ok((platform.to_owned(), vectors)),
            Err(mismatches) => tried.push(Tried { platform: platform.to_owned(), mismatches }),
        }
    }
    if tried.is_empty() {
        Err(AppraiseError::NotAccepted { tee })
    } else {
        Err(AppraiseError::NoEntryAccepts { tried })
    }
}

/// Which Endorsements a piece of Evidence cannot be judged without. The answer rests on unverified claims: it says what
/// to fetch, and nothing else.
pub fn needs(evidence: &Evidence) -> Vec<Need> {
    let mut needs = match evidence.tee {
        Tee::Snp => snp::needs(&evidence.body),
        Tee::Tdx => tdx::needs(&evidence.body),
        Tee::Sgx => sgx::needs(&evidence.body),
        _ => Vec::new(),
    };
    needs.extend(nvidia::needs(&evidence.devices));
    needs
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
        Tee::Tdx => tdx::claimed_identity(&evidence.body),
        Tee::Sgx => sgx::claimed_identity(&evidence.body),
        tee => Err(VerifyError::Unsupported { tee }),
    }
}
