//! What Intel SGX and Intel TDX share (DCAP): the quote, the PCK certificate and Intel's signed TCB documents.
//!
//! Who vouches for what:
//!
//! ```text
//! Intel SGX Root CA ── PCK Platform or Processor CA ── PCK certificate ── QE report ── attestation key ── header and body
//!                └──── TCB signing ──┬── TCB info (platform, TDX module)
//!                                    └── QE identity (quoting enclave)
//! ```
//!
//! The quote brings its PCK chain along; lists, TCB info, QE identity and the chain of their signer are Endorsements. Where
//! one of those is missing, only the layers that need it cannot be told.

mod appraise;
mod collateral;
mod error;
mod explain;
mod pck;
pub mod quote;
mod read;
pub mod report;
mod tcb;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use aws_lc_rs::digest::{Context as Hash, SHA256};
use protocol::{Digest, ReportData, Tee};
use serde::Serialize;

pub use error::{CollateralProblem, DcapError};
pub use pck::{PckError, PckExtension};
pub use tcb::{Level, PlatformTcb, QeTcb, Tcb};

pub(crate) use appraise::{Bounds, appraise_platform, bits, policy_for, trust_vector};
pub(crate) use explain::{explain_document, platform_sections, subject, tee_section};

use crate::context::Context;
use crate::endorsements::{Need, PckAuthority};
use crate::error::VerifyError;
use crate::layer::{EXPECTED_REPORT_DATA, Outcome};
use crate::time::UnixTime;
use crate::value::Value;
use crate::x509::{
    Certificate, CertificateError, PathError, PreparedKey, PublicKey, VerifiedPath, build_path, pem_chain, standing,
    verify_path,
};
use collateral::{QeIdentity, Signed, TcbInfo};
use pck::PCK_EXTENSION;
use quote::{Body, Header, Quote};
use report::{ENCLAVE_REPORT, EnclaveReport};

/// What a quote and the documents about it say of the platform, whichever TEE was quoted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Platform {
    /// The quote's header.
    pub header: Header,
    /// The quoting enclave.
    pub quoting_enclave: EnclaveReport,
    /// What the PCK certificate says, if it can be read.
    pub pck: Option<PckExtension>,
    /// Which authority issued it, if it is one of Intel's two.
    pub authority: Option<PckAuthority>,
    /// What Intel's TCB info says, if that could be told.
    pub tcb: Option<PlatformTcb>,
    /// What Intel's QE identity says, if that could be told.
    pub qe_tcb: Option<QeTcb>,
}

impl Platform {
    /// The verdict of Intel's documents, if there are all.
    pub fn combined_tcb(&self) -> Option<Tcb> {
        Some(Tcb::new(self.tcb.as_ref()?, self.qe_tcb.as_ref()?))
    }

    /// The machine: SHA-256 of its platform instance id, or, where its certificate has none, of its provisioning id.
    pub fn chip_id(&self) -> Option<Digest> {
        let pck = self.pck.as_ref()?;
        Some(Digest::of(&pck.platform_instance_id.unwrap_or(pck.ppid).0))
    }
}

/// The layers of a quote's verification.
#[derive(Clone, Debug)]
pub(crate) struct Layers {
    /// The quote is one, of this TEE.
    pub(crate) format: Outcome,
    /// The PCK certificate leads to Intel's root.
    pub(crate) pck_chain: Outcome,
    /// Neither it, nor its authority, nor the signer of Intel's documents has been revoked.
    pub(crate) revocation: Outcome,
    /// The PCK signed the quoting enclave's report, which names the attestation key.
    pub(crate) qe_report: Outcome,
    /// The quoting enclave is Intel's, at a level that Intel lists.
    pub(crate) qe_identity: Outcome,
    /// The attestation key signed the quote.
    pub(crate) signature: Outcome,
    /// The platform is at a level that Intel lists and has not revoked.
    pub(crate) tcb: Outcome,
    /// The report data is what this channel demands.
    pub(crate) binding: Outcome,
}

impl Layers {
    /// Every layer with its name.
    pub(crate) fn list(&self) -> Vec<(&'static str, &Outcome)> {
        let Self { format, pck_chain, revocation, qe_report, qe_identity, signature, tcb, binding } = self;
        vec![
            ("format", format),
            ("pck_chain", pck_chain),
            ("revocation", revocation),
            ("qe_report", qe_report),
            ("qe_identity", qe_identity),
            ("signature", signature),
            ("tcb", tcb),
            ("binding", binding),
        ]
    }

    fn malformed(error: DcapError) -> Self {
        let skipped = || Outcome::Skipped { needs: "format" };
        Self {
            format: Outcome::Fails(error.into()),
            pck_chain: skipped(),
            revocation: skipped(),
            qe_report: skipped(),
            qe_identity: skipped(),
            signature: skipped(),
            tcb: skipped(),
            binding: skipped(),
        }
    }
}

/// A quote with everything that could be told about it.
#[derive(Debug)]
pub(crate) struct Examined {
    /// What it says, if it is a quote of the TEE.
    pub(crate) claims: Option<(Platform, Body)>,
    /// What holds.
    pub(crate) layers: Layers,
}

/// A PCK certificate whose path leads to Intel's root.
#[derive(Debug)]
struct Pck {
    /// The PEM text that was verified.
    chain: Box<[u8]>,
    path: VerifiedPath,
    certificate: Arc<Certificate>,
    authority: PckAuthority,
    extension: PckExtension,
}

/// Examines a quote of `tee`: every layer, whatever comes of the others.
pub(crate) fn examine(tee: Tee, bytes: &[u8], expected: Option<&ReportData>, context: &Context<'_>) -> Examined {
    let quote = match Quote::parse(bytes) {
        Ok(quote) if quote.tee() == tee => quote,
        Ok(quote) => {
            let error = DcapError::OtherTee { got: quote.tee(), expected: tee };
            return Examined { claims: None, layers: Layers::malformed(error) };
        }
        Err(error) => return Examined { claims: None, layers: Layers::malformed(error.into()) },
    };
    let (presented, chain) = pck_chain(&quote, context);
    let needs_pck = || Outcome::Skipped { needs: "pck_chain" };
    let attestation_key = Digest::of_fields(&[b"attestation key", quote.attestation_key]);
    let known = context.cache.get::<Vouched>(&attestation_key, context.now);
    let qe_report: Outcome = match &presented.certificate {
        Some(certificate) => check_qe_report(&quote, certificate, known.as_deref()).into(),
        None => needs_pck(),
    };
    let (qe_signer, qe_tcb, qe_identity) = judge_qe(tee, &quote.qe_report, context);
    let (tcb_signer, tcb, tcb_outcome) = match &presented.extension {
        Some(extension) => judge_platform(tee, extension, &quote.body, context),
        None => (None, None, needs_pck()),
    };
    let revocation = match &chain {
        Ok(pck) => check_revocation(&pck.path, [tcb_signer.as_deref(), qe_signer.as_deref()], context).into(),
        Err(_) => needs_pck(),
    };
    let key = known.as_ref().map(|known| Arc::clone(&known.key)).or_else(|| prepare(quote.attestation_key));
    let signature = match &key {
        Some(key) if key.verify_fixed(quote.signed, quote.signature) => Outcome::Holds,
        _ => Outcome::Fails(DcapError::Signature.into()),
    };
    // Keys that nobody vouches for are not remembered: anybody could fill the memory with them.
    if let (Ok(pck), Some(key), true) = (&chain, key, qe_report.holds() && signature.holds())
        && !known.is_some_and(|known| known.is_by(&quote, &pck.certificate))
    {
        // Whether a signature is good, and a point lies on its curve, is no matter of time.
        let vouched = Arc::new(Vouched::new(&quote, &pck.certificate, key));
        context.cache.keep(attestation_key, UnixTime(0), UnixTime(u64::MAX), &vouched);
    }
    let layers = Layers {
        format: Outcome::Holds,
        pck_chain: chain.map(drop).into(),
        revocation,
        qe_report,
        qe_identity,
        signature,
        tcb: tcb_outcome,
        binding: check_binding(&quote, expected),
    };
    let platform = Platform {
        header: quote.header,
        quoting_enclave: quote.qe_report,
        pck: presented.extension,
        authority: presented.authority,
        tcb,
        qe_tcb,
    };
    Examined { claims: Some((platform, quote.body)), layers }
}

/// What could be read of the presented PCK certificate, whether or not it leads anywhere.
#[derive(Default)]
struct Presented {
    certificate: Option<Arc<Certificate>>,
    extension: Option<PckExtension>,
    authority: Option<PckAuthority>,
}

/// So many bytes of a chain in PEM hold the serial number of its first certificate, which Intel gives to no other.
const CHAIN_BEGINNING: usize = 256;

fn pck_chain(quote: &Quote<'_>, context: &Context<'_>) -> (Presented, Result<Arc<Pck>, VerifyError>) {
    let root = context.anchors.intel();
    // Comparing bytes costs a thirtieth of hashing them, and the beginning of a chain, which holds the serial number, finds it.
    let beginning = quote.chain.get(..CHAIN_BEGINNING).unwrap_or(quote.chain);
    let key = Digest::of_fields(&[b"pck", root.as_bytes(), beginning]);
    let known = context.cache.get::<Pck>(&key, context.now);
    if let Some(pck) = known.filter(|pck| *pck.chain == *quote.chain) {
        let presented = Presented {
            certificate: Some(Arc::clone(&pck.certificate)),
            extension: Some(pck.extension.clone()),
            authority: Some(pck.authority),
        };
        return (presented, Ok(pck));
    }
    let mut presented = Presented::default();
    let verified = verify_pck(quote.chain, context, &mut presented).map(Arc::new);
    if let Ok(pck) = &verified {
        context.cache.keep(key, context.now, pck.path.until(), pck);
    }
    (presented, verified)
}

/// Which of Intel's authorities a common name is.
fn authority(common_name: &str) -> Option<PckAuthority> {
    match common_name {
        "Intel SGX PCK Processor CA" => Some(PckAuthority::Processor),
        "Intel SGX PCK Platform CA" => Some(PckAuthority::Platform),
        _ => None,
    }
}

/// The common name of every PCK certificate.
const PCK_NAME: &str = "Intel SGX PCK Certificate";

fn verify_pck(chain: &[u8], context: &Context<'_>, presented: &mut Presented) -> Result<Pck, VerifyError> {
    let malformed = |error: CertificateError| PathError::malformed("PCK chain of the quote", error);
    let certificates = pem_chain(chain).map_err(malformed)?;
    let Some((leaf, others)) = certificates.split_first() else {
        return Err(malformed(CertificateError::Pem { reason: "there is no certificate in it" }).into());
    };
    let certificate = Arc::new(leaf.clone());
    presented.certificate = Some(Arc::clone(&certificate));
    presented.authority = authority(leaf.issuer());
    let extension = leaf.extension(PCK_EXTENSION).ok_or(PckError::NoExtension).and_then(PckExtension::parse);
    presented.extension = extension.clone().ok();
    let path = build_path(leaf, others.iter().chain(context.anchors.certificates()))?;
    let path = verify_path(path, &[context.anchors.intel()], &[PCK_EXTENSION], context.now, context.cache)?;
    // Under the same root are the TCB signer and, on other paths, certificates of other services of Intel's.
    let not_pck = || DcapError::NotPck { leaf: leaf.subject().to_owned(), issuer: leaf.issuer().to_owned() };
    let authority = presented.authority.filter(|_| leaf.subject() == PCK_NAME && path.certificates().len() == 3);
    let authority = authority.ok_or_else(not_pck)?;
    let extension = extension.map_err(DcapError::from)?;
    Ok(Pck { chain: chain.into(), path, certificate, authority, extension })
}

/// `known`: what vouched for the same attestation key before.
fn check_qe_report(quote: &Quote<'_>, pck: &Certificate, known: Option<&Vouched>) -> Result<(), DcapError> {
    let mut hash = Hash::new(&SHA256);
    hash.update(quote.attestation_key);
    hash.update(quote.qe_auth_data);
    let mut expected = [0; 64];
    for (to, from) in expected.iter_mut().zip(hash.finish().as_ref()) {
        *to = *from;
    }
    if quote.qe_report.report_data.0 != expected {
        let (reported, expected) = (Value::from(quote.qe_report.report_data), Value::from(expected));
        return Err(DcapError::AttestationKey { reported, expected });
    }
    let is_known = known.is_some_and(|known| known.is_by(quote, pck));
    if is_known || pck.key().verify_fixed(quote.qe_report_bytes, quote.qe_report_signature) {
        Ok(())
    } else {
        Err(DcapError::QeReportSignature)
    }
}

/// An attestation key, and who vouched for it: a quoting enclave's report that is signed by a PCK which leads to Intel's
/// root. One report serves every quote of a machine until its attestation key changes.
struct Vouched {
    pck: Digest,
    report: [u8; ENCLAVE_REPORT],
    signature: [u8; 64],
    key: Arc<PreparedKey>,
}

impl Vouched {
    fn new(quote: &Quote<'_>, pck: &Certificate, key: Arc<PreparedKey>) -> Self {
        let (report, signature) = (*quote.qe_report_bytes, *quote.qe_report_signature);
        Self { pck: pck.fingerprint(), report, signature, key }
    }

    /// Whether it is the very report in this quote, signed by this certificate's key.
    fn is_by(&self, quote: &Quote<'_>, pck: &Certificate) -> bool {
        self.pck == pck.fingerprint()
            && self.report == *quote.qe_report_bytes
            && self.signature == *quote.qe_report_signature
    }
}

/// The key of these coordinates, unless they are no point of the curve.
fn prepare(attestation_key: &[u8; 64]) -> Option<Arc<PreparedKey>> {
    // SEC 1, 2.3.3: an uncompressed point begins with 4.
    let mut point = Vec::with_capacity(65);
    point.push(4);
    point.extend_from_slice(attestation_key);
    PublicKey::P256(point).prepare_fixed().map(Arc::new)
}

fn check_binding(quote: &Quote<'_>, expected: Option<&ReportData>) -> Outcome {
    let Some(expected) = expected else {
        return Outcome::Skipped { needs: EXPECTED_REPORT_DATA };
    };
    let got = ReportData(quote.report_data());
    if got == *expected {
        return Outcome::Holds;
    }
    Outcome::Fails(VerifyError::Unbound { expected: Box::new(*expected), got: Box::new(got) })
}

/// The standing of every certificate that the verdict rests on. A "no" goes before a "could not tell".
fn check_revocation(
    pck: &VerifiedPath,
    signers: [Option<&VerifiedPath>; 2],
    context: &Context<'_>,
) -> Result<(), VerifyError> {
    let lists = context.endorsements.crl_set();
    let mut unknown = None;
    for path in [Some(pck)].into_iter().chain(signers).flatten() {
        for (certificate, issuer) in path.pairs() {
            match standing(certificate, issuer, lists, context.now, context.cache).map_err(VerifyError::from) {
                Ok(()) => {}
                Err(error) if error.is_refusal() => return Err(error),
                Err(error) => unknown = unknown.or(Some(error)),
            }
        }
    }
    unknown.map_or(Ok(()), Err)
}

fn judge_qe(
    tee: Tee,
    qe: &EnclaveReport,
    context: &Context<'_>,
) -> (Option<Arc<VerifiedPath>>, Option<QeTcb>, Outcome) {
    use collateral::Statement as _;
    let found: Result<Arc<Signed<QeIdentity>>, _> = collateral::find(
        context.endorsements.qe_identities(),
        || Need::QeIdentity { tee },
        |identity: &QeIdentity| identity.tee() == Some(tee),
        context,
    );
    match found {
        Ok(signed) => {
            let signer = Some(Arc::clone(&signed.signer));
            match signed.statement.judge(qe) {
                Ok(tcb) => (signer, Some(tcb), Outcome::Holds),
                Err(error) => (signer, None, Outcome::Fails(error.into())),
            }
        }
        Err(error) => (None, None, Outcome::Fails(error)),
    }
}

fn judge_platform(
    tee: Tee,
    pck: &PckExtension,
    body: &Body,
    context: &Context<'_>,
) -> (Option<Arc<VerifiedPath>>, Option<PlatformTcb>, Outcome) {
    use collateral::Statement as _;
    let found: Result<Arc<Signed<TcbInfo>>, _> = collateral::find(
        context.endorsements.tcb_infos(),
        || Need::TcbInfo { tee, fmspc: pck.fmspc },
        |info: &TcbInfo| info.tee() == Some(tee) && info.fmspc == pck.fmspc && info.pce_id == pck.pce_id,
        context,
    );
    match found {
        Ok(signed) => {
            let signer = Some(Arc::clone(&signed.signer));
            let judged = match body {
                Body::Sgx(_) => signed.statement.judge_sgx(pck),
                Body::Tdx(report) => signed.statement.judge_tdx(pck, report),
            };
            match judged {
                Ok(tcb) => (signer, Some(tcb), Outcome::Holds),
                Err(error) => (signer, None, Outcome::Fails(error.into())),
            }
        }
        Err(error) => (None, None, Outcome::Fails(error)),
    }
}

/// Which TEE's quote bytes look like, by version, TEE type and Intel's vendor id: enough to tell it from every other kind of
/// file, and not so much that a broken quote would not be explained as one.
pub(crate) fn detect(bytes: &[u8]) -> Option<Tee> {
    let (header, _) = bytes.split_first_chunk::<48>()?;
    quote::detect(header)
}

/// Which Endorsements a quote wants: read from it without believing anything in it. Empty for what is no quote.
pub(crate) fn needs(bytes: &[u8]) -> Vec<Need> {
    let Ok(quote) = Quote::parse(bytes) else { return Vec::new() };
    let tee = quote.tee();
    let mut needs = vec![Need::IntelRootCrl, Need::QeIdentity { tee }];
    let leaf = pem_chain(quote.chain).ok().and_then(|chain| chain.into_iter().next());
    if let Some(leaf) = leaf {
        needs.extend(authority(leaf.issuer()).map(|authority| Need::PckCrl { authority }));
        let extension = leaf.extension(PCK_EXTENSION).and_then(|der| PckExtension::parse(der).ok());
        needs.extend(extension.map(|extension| Need::TcbInfo { tee, fmspc: extension.fmspc }));
    }
    needs
}

/// What Intel's documents say of themselves, for whoever keeps them: when they were issued and until when they hold.
/// `None` for what is neither TCB info nor QE identity.
pub fn validity(document: &[u8]) -> Option<(UnixTime, UnixTime)> {
    use collateral::Statement as _;
    let tcb_info = collateral::read::<TcbInfo>(document).map(|(info, _)| info.validity());
    tcb_info.or_else(|_| collateral::read::<QeIdentity>(document).map(|(identity, _)| identity.validity())).ok()
}
