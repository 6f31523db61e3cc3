//! One device's Evidence, layer by layer.

use protocol::Nonce;
use protocol::digest::Hex;
use protocol::evidence::{DeviceEvidence, DeviceKind};

use super::claims::{Claims, Established, FwidCheck, Report, RevocationCheck};
use super::error::NvidiaError;
use super::firmware::{self, Found, Wanted};
use super::identity::{self, Chain};
use super::spdm::Transcript;
use crate::VerifyError;
use crate::context::{Cache, Context};
use crate::endorsements::Need;
use crate::layer::{EXPECTED_NONCE, Outcome, demand_all};
use crate::ocsp::{self, OcspError, OcspProblem, Standing};
use crate::time::UnixTime;
use crate::x509::pem_chain;
use std::sync::Arc;

/// One device's Evidence, examined.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Examination {
    /// What it says, where the report can be read.
    pub claims: Option<Claims>,
    /// What came of each layer.
    pub layers: Layers,
    /// The names in the chain, leaf first; of a peer, until the chain holds.
    pub endorsers: Vec<String>,
    /// Why OCSP could not tell, where something was given. Reference values decide whether that matters.
    pub revocation_problem: Option<OcspError>,
}

/// What came of each layer. `None`: the layer does not apply to this device, or there was nothing to judge and reference
/// values decide whether that is acceptable ([`Claims::established`] says which).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Layers {
    /// The report can be read, and is of the kind of device that it is presented as.
    pub format: Outcome,
    /// The certificates lead to NVIDIA's root.
    pub chain: Outcome,
    /// The certificates are those of a device, and of the chip that the report is about.
    pub identity: Outcome,
    /// NVIDIA says that no certificate was revoked. It could not be told where NVIDIA's word is at hand and does not say
    /// so; `None` where there is none about some certificate.
    pub ocsp: Option<Outcome>,
    /// The report's firmware is the one that the key was issued to. `None` where the report does not say.
    pub fwid: Option<Outcome>,
    /// The device's key signed the report.
    pub signature: Outcome,
    /// The report was made for this channel.
    pub nonce: Outcome,
    /// A manifest of the driver is there. `None` for switches, which have no driver of their own.
    pub driver_rim: Option<Outcome>,
    /// A manifest of the VBIOS or of the switch's firmware is there.
    pub vbios_rim: Outcome,
    /// Every measurement that a manifest speaks of is as it says.
    pub measurements: Outcome,
}

impl Layers {
    /// The layers that apply, by name.
    pub fn list(&self) -> Vec<(&'static str, &Outcome)> {
        let Self { format, chain, identity, ocsp, fwid, signature, nonce, driver_rim, vbios_rim, measurements } = self;
        let all = [
            ("format", Some(format)),
            ("chain", Some(chain)),
            ("identity", Some(identity)),
            ("ocsp", ocsp.as_ref()),
            ("fwid", fwid.as_ref()),
            ("signature", Some(signature)),
            ("nonce", Some(nonce)),
            ("driver_rim", driver_rim.as_ref()),
            ("vbios_rim", Some(vbios_rim)),
            ("measurements", Some(measurements)),
        ];
        all.into_iter().filter_map(|(name, outcome)| outcome.map(|outcome| (name, outcome))).collect()
    }
}

impl Examination {
    /// The claims, if every layer holds.
    pub(crate) fn verdict(&self) -> Result<&Claims, VerifyError> {
        demand_all(&self.layers.list())?;
        self.claims.as_ref().ok_or(VerifyError::NotJudged { layer: "format" })
    }

    /// What the device is, for people: `gpu 48b02d7a7cd2`, as far as it is known.
    pub fn label(&self) -> String {
        let Some(claims) = &self.claims else { return "unreadable".to_owned() };
        claims.label()
    }
}

/// Examines one device's Evidence: all layers, whatever comes of each.
pub(crate) fn examine(device: &DeviceEvidence, expected: Option<&Nonce>, context: &Context<'_>) -> Examination {
    let transcript = Transcript::parse(&device.report);
    let report = transcript.as_ref().map_err(Clone::clone).and_then(Report::read);
    let chain = identity::read(&device.chain, context);
    let format: Outcome = match &report {
        Ok(report) if report.kind != device.kind => {
            Err(NvidiaError::OtherKind { presented: device.kind, reported: report.kind }).into()
        }
        Ok(_) => Outcome::Holds,
        Err(error) => Outcome::Fails(error.clone().into()),
    };
    let (ocsp, revocation, revocation_problem) = match &chain {
        Ok(chain) => revocation(chain, context),
        Err(_) => (None, RevocationCheck::NotGiven, None),
    };
    let chain_outcome = match &chain {
        Ok(chain) => chain.path.as_ref().map(|_| ()).map_err(Clone::clone).into(),
        Err(error) => Outcome::Fails(error.clone()),
    };
    // Both rest on the transcript alone: a forged report is refused also where a field of it is not known to this release.
    let signature = match (&transcript, &chain) {
        (Err(_), _) => Outcome::Skipped { needs: "format" },
        (Ok(_), Err(_)) => Outcome::Skipped { needs: "chain" },
        (Ok(transcript), Ok(chain)) if chain.signed(transcript.signed, transcript.signature) => Outcome::Holds,
        (Ok(_), Ok(chain)) => Err(NvidiaError::Signature { leaf: chain.leaf() }).into(),
    };
    let nonce = match (&transcript, expected) {
        (Err(_), _) => Outcome::Skipped { needs: "format" },
        (Ok(_), None) => Outcome::Skipped { needs: EXPECTED_NONCE },
        (Ok(transcript), Some(expected)) if expected.0 == transcript.nonce => Outcome::Holds,
        (Ok(transcript), Some(expected)) => {
            Err(NvidiaError::Nonce { got: Hex(transcript.nonce), expected: Hex(expected.0) }).into()
        }
    };
    let endorsers = chain
        .as_ref()
        .map(|chain| chain.certificates.iter().map(|certificate| certificate.subject().to_owned()).collect())
        .unwrap_or_default();
    let Ok(report) = report else {
        let skipped = || Outcome::Skipped { needs: "format" };
        let layers = Layers {
            format,
            chain: chain_outcome,
            identity: skipped(),
            ocsp,
            fwid: None,
            signature,
            nonce,
            driver_rim: None,
            vbios_rim: skipped(),
            measurements: skipped(),
        };
        return Examination { claims: None, layers, endorsers, revocation_problem };
    };

    let mut established = Established { revocation, ..Established::default() };
    let identity = chain.as_ref().ok().and_then(|chain| chain.identity.as_ref().ok());
    let identity_outcome = match &chain {
        Err(_) => Outcome::Skipped { needs: "chain" },
        Ok(chain) => match &chain.identity {
            Ok(identity) => identity::agree(identity, &report).into(),
            Err(error) => Outcome::Fails(error.clone().into()),
        },
    };
    let fwid = report.fwid.map(|reported| match identity {
        None => Outcome::Skipped { needs: "identity" },
        Some(identity) if identity.fwid == reported => {
            established.fwid = FwidCheck::Equal;
            Outcome::Holds
        }
        Some(identity) => {
            established.fwid = FwidCheck::Different;
            Err(NvidiaError::Fwid { reported, certified: identity.fwid }).into()
        }
    });
    let chip = identity.map(|identity| identity.chip.as_str());
    let firmware = Firmware::examine(&report, chip, context, &mut established);
    let layers = Layers {
        format,
        chain: chain_outcome,
        identity: identity_outcome,
        ocsp,
        fwid,
        signature,
        nonce,
        driver_rim: firmware.driver,
        vbios_rim: firmware.vbios,
        measurements: firmware.measurements,
    };
    let claims = Claims { report, identity: identity.cloned(), established };
    Examination { claims: Some(claims), layers, endorsers, revocation_problem }
}

/// The three layers about firmware.
struct Firmware {
    driver: Option<Outcome>,
    vbios: Outcome,
    measurements: Outcome,
}

impl Firmware {
    fn examine(report: &Report, chip: Option<&str>, context: &Context<'_>, established: &mut Established) -> Self {
        let Some(chip) = chip else {
            let skipped = || Outcome::Skipped { needs: "identity" };
            let driver = (report.kind == DeviceKind::Gpu).then(skipped);
            return Self { driver, vbios: skipped(), measurements: skipped() };
        };
        let wanted = |manifest, id, version| Wanted { manifest, id, version, chip, kind: report.kind };
        let outcome = |found: &Result<Arc<Found>, VerifyError>| match found {
            Ok(_) => Outcome::Holds,
            Err(error) => Outcome::Fails(error.clone()),
        };
        let vbios = wanted("vbios", report.vbios_rim(), &report.vbios_version);
        let vbios_found = firmware::find(&vbios, context);
        let driver = report
            .driver_version
            .as_deref()
            .map(|version| wanted("driver", report.driver_rim().unwrap_or_default(), version));
        let driver_found = driver.as_ref().map(|driver| firmware::find(driver, context));

        let mut manifests: Vec<(&Wanted<'_>, &Found)> = Vec::new();
        if let (Some(driver), Some(Ok(found))) = (&driver, &driver_found) {
            manifests.push((driver, found));
        }
        if let Ok(found) = &vbios_found {
            manifests.push((&vbios, found));
        }
        // What is at hand is compared, so that a wrong VBIOS is wrong also where the driver's manifest is missing. It
        // holds only when both were.
        let compared = firmware::compare(report, &manifests, established);
        let measurements = match (compared, &driver_found, &vbios_found) {
            (Err(error), ..) => Outcome::Fails(error.into()),
            (Ok(()), Some(Err(_)), _) => Outcome::Skipped { needs: "driver_rim" },
            (Ok(()), _, Err(_)) => Outcome::Skipped { needs: "vbios_rim" },
            (Ok(()), Some(Ok(_)) | None, Ok(_)) => Outcome::Holds,
        };
        let vouched = established.manifests.iter().all(|used| used.revocation_known);
        if !vouched {
            established.revocation = RevocationCheck::NotGiven;
        }
        Self { driver: driver_found.as_ref().map(outcome), vbios: outcome(&vbios_found), measurements }
    }
}

/// Where a certificate says who can tell of its standing (RFC 5280, section 4.2.2.1). The certificates that a device makes
/// for itself do not have it.
const AUTHORITY_INFO: &str = "1.3.6.1.5.5.7.1.1";

/// What NVIDIA says of the standing of a chain's certificates. Whatever reference values say, a revoked one is a "no", and
/// one of which NVIDIA's word is at hand and does not clear it (unknown, or run out) is a "could not tell". Where there is
/// no word of NVIDIA's, reference values decide; a response that nobody authorized is none.
fn revocation(chain: &Chain, context: &Context<'_>) -> (Option<Outcome>, RevocationCheck, Option<OcspError>) {
    let responses = context.endorsements.ocsp_set();
    // Of certificates that lead nowhere nothing is remembered: anybody could fill the memory with them.
    let forgotten = Cache::default();
    let cache = if chain.path.is_ok() { context.cache } else { &forgotten };
    let mut until: Option<UnixTime> = None;
    let mut complete = true;
    let mut problem: Option<OcspError> = None;
    let is_word = |error: &OcspError| !matches!(error.problem, OcspProblem::Unusable(_));
    for (certificate, issuer) in chain.certificates.iter().zip(chain.certificates.iter().skip(1)) {
        match ocsp::check(responses, certificate, issuer, context.now, cache) {
            Ok(Standing::Good { until: end }) => until = Some(until.map_or(end, |until| until.min(end))),
            Ok(Standing::NotGiven) => complete &= certificate.extension(AUTHORITY_INFO).is_none(),
            Err(error) if error.fault().is_refusal() => {
                return (Some(Outcome::Fails(error.clone().into())), RevocationCheck::NotGiven, Some(error));
            }
            Err(error) => {
                complete = false;
                // NVIDIA's own word goes before one that is not, wherever it stands.
                if problem.as_ref().is_none_or(|problem| is_word(&error) && !is_word(problem)) {
                    problem = Some(error);
                }
            }
        }
    }
    match (until, problem) {
        (_, Some(error)) => {
            let outcome = is_word(&error).then(|| Outcome::Fails(error.clone().into()));
            (outcome, RevocationCheck::NotGiven, Some(error))
        }
        (Some(until), None) if complete => (Some(Outcome::Holds), RevocationCheck::Good { until }, None),
        (_, None) => (None, RevocationCheck::NotGiven, None),
    }
}

/// Which Endorsements a device cannot be judged without. Nothing is verified.
pub(crate) fn needs(device: &DeviceEvidence) -> Vec<Need> {
    let mut needs = Vec::new();
    if let Ok(report) = Transcript::parse(&device.report).and_then(|transcript| Report::read(&transcript)) {
        needs.extend(report.driver_rim().map(|id| Need::Rim { id }));
        needs.push(Need::Rim { id: report.vbios_rim() });
    }
    let certificates = pem_chain(&device.chain).unwrap_or_default();
    for (certificate, issuer) in certificates.iter().zip(certificates.iter().skip(1)) {
        if certificate.extension(AUTHORITY_INFO).is_some() {
            needs.push(Need::Ocsp { certificate: certificate.der().to_vec(), issuer: issuer.der().to_vec() });
        }
    }
    needs
}
