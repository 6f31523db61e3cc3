//! All layers of SEV-SNP Evidence, each judged on its own.

use std::sync::Arc;

use protocol::reference::snp::SigningKey;
use protocol::reference::{AmdProduct, TcbVersion};
use protocol::{Digest, ReportData};

use super::error::SnpError;
use super::key::{AMD_ARC, Holder, KeyCertificate, UNDERSTOOD};
use super::report::{Claims, Endorsed, FormatError, MASKED, RawReport};
use super::table::{CertificateTable, Content};
use crate::context::Context;
use crate::endorsements::{AmdKey, Documents, EndorsementKind, Endorsements, Need};
use crate::error::VerifyError;
use crate::layer::{EXPECTED_REPORT_DATA, Outcome};
use crate::x509::{Certificate, VerifiedPath, build_path, standing, verify_path};

/// The layers, one field each, so that forgetting one does not compile.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Layers {
    /// The bytes are a report, and what follows it a certificate table.
    pub format: Outcome,
    /// The signing key's certificate leads to AMD's root of its product, through the authority for its kind.
    pub chain: Outcome,
    /// AMD has not revoked that authority.
    pub revocation: Outcome,
    /// The certificate is of the key that the report names: kind, product, chip and reported TCB.
    pub chip_key: Outcome,
    /// That key signed the report.
    pub signature: Outcome,
    /// The report data is what this channel demands.
    pub binding: Outcome,
}

impl Layers {
    /// The layers with their names.
    pub fn list(&self) -> [(&'static str, &Outcome); 6] {
        let Self { format, chain, revocation, chip_key, signature, binding } = self;
        [
            ("format", format),
            ("chain", chain),
            ("revocation", revocation),
            ("chip_key", chip_key),
            ("signature", signature),
            ("binding", binding),
        ]
    }
}

/// What came of looking at all layers. The claims are worth something only where every layer holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Examination {
    /// What the report says, if it is one.
    pub claims: Option<Claims>,
    /// The layers.
    pub layers: Layers,
    /// The common names of the certificates from the key to the root, as far as they were found.
    pub endorsers: Vec<String>,
}

/// LIMIT: keys that are tried for one report, at a fifth of a millisecond each. AMD issues one for each chip and TCB, so one
/// is the rule; a report that masks its chip fits the keys of all machines of its TCB.
const MAX_TRIED: usize = 64;
/// Key, authority, root.
const AMD_CHAIN: usize = 3;
/// LIMIT: certificates that are read to find the nearest when none fits, for the sake of a better message.
const MAX_NEAR: usize = 32;

/// Examines Evidence.
pub(crate) fn examine(body: &[u8], expected: Option<&ReportData>, context: &Context<'_>) -> Examination {
    match read(body) {
        Ok((report, claims, table)) => examine_report(&report, claims, &table, expected, context),
        Err(error) => {
            let skipped = || Outcome::Skipped { needs: "format" };
            let layers = Layers {
                format: Outcome::Fails(error.into()),
                chain: skipped(),
                revocation: skipped(),
                chip_key: skipped(),
                signature: skipped(),
                binding: skipped(),
            };
            Examination { claims: None, layers, endorsers: Vec::new() }
        }
    }
}

fn read(body: &[u8]) -> Result<(RawReport<'_>, Claims, CertificateTable<'_>), SnpError> {
    let (report, rest) = RawReport::split(body)?;
    let claims = report.claims(None)?;
    let table = CertificateTable::parse(rest).map_err(FormatError::from)?;
    Ok((report, claims, table))
}

fn examine_report(
    report: &RawReport<'_>,
    claims: Claims,
    table: &CertificateTable<'_>,
    expected: Option<&ReportData>,
    context: &Context<'_>,
) -> Examination {
    let binding = match expected {
        None => Outcome::Skipped { needs: EXPECTED_REPORT_DATA },
        Some(expected) if claims.report_data.0 == expected.0 => Outcome::Holds,
        Some(expected) => Outcome::Fails(VerifyError::Unbound {
            expected: Box::new(*expected),
            got: Box::new(ReportData(claims.report_data.0)),
        }),
    };
    let without_key = |claims, chip_key, signature, needs, binding| {
        let skipped = || Outcome::Skipped { needs };
        let layers =
            Layers { format: Outcome::Holds, chain: skipped(), revocation: skipped(), chip_key, signature, binding };
        Examination { claims: Some(claims), layers, endorsers: Vec::new() }
    };
    let Some(signer) = claims.signer.key() else {
        let chip_key = Outcome::Skipped { needs: "signature" };
        let signature = Outcome::Fails(SnpError::NotSigned.into());
        return without_key(claims, chip_key, signature, "signature", binding);
    };
    let candidate = match find(report, &claims, signer, table, context) {
        Ok(candidate) => candidate,
        Err(error) => {
            let signature = Outcome::Skipped { needs: "chip_key" };
            return without_key(claims, Outcome::Fails(error), signature, "chip_key", binding);
        }
    };
    let Candidate { key, claims: mut endorsed, differences, path, signed } = candidate;
    let chip_key = match (differences.is_empty(), signed) {
        (true, _) => Outcome::Holds,
        (false, true) => Outcome::Fails(SnpError::KeyContradicts { key: signer, differences }.into()),
        (false, false) => Outcome::Fails(SnpError::OtherKey { key: signer, differences }.into()),
    };
    let chip_key = match chip_key {
        // The report does not say which of several keys is its: a certificate that fits may be another machine's or another
        // provider's.
        Outcome::Holds if !signed && (signer == SigningKey::Vlek || endorsed.chip_id == MASKED) => {
            Outcome::Fails(SnpError::OtherKey { key: signer, differences: Vec::new() }.into())
        }
        judged => judged,
    };
    let signature = match (signed, chip_key.holds()) {
        (true, _) => Outcome::Holds,
        (false, true) => Outcome::Fails(SnpError::Signature { key: signer, product: key.product }.into()),
        // Another key's certificate says nothing about this signature.
        (false, false) => Outcome::Skipped { needs: "chip_key" },
    };
    let mut own = Endorsements::default();
    if signature.holds() {
        // A machine of AMD's sent them. Anybody else's lists would only be work.
        for crl in table.of(Content::Crl) {
            // One that is too long is as good as none: the layer says which list is missing.
            let _ = own.add(EndorsementKind::Crl, crl);
        }
    }
    let (revocation, endorsers) = match &path {
        Ok(path) => {
            let endorsers = path.certificates().iter().map(|certificate| certificate.subject().to_owned()).collect();
            (revocation(path, &own, context), endorsers)
        }
        Err(_) => (Outcome::Skipped { needs: "chain" }, vec![key.certificate.subject().to_owned()]),
    };
    if chip_key.holds() {
        endorsed.product = Some(key.product);
        let product_name = key.product_name.clone();
        endorsed.endorsed = Some(match &key.holder {
            Holder::Chip(chip) => Endorsed { product_name, chip_id: Some(*chip), csp_id: None },
            Holder::Provider(csp) => Endorsed { product_name, chip_id: None, csp_id: Some(csp.clone()) },
        });
    }
    let layers =
        Layers { format: Outcome::Holds, chain: path.map(|_| ()).into(), revocation, chip_key, signature, binding };
    Examination { claims: Some(endorsed), layers, endorsers }
}

/// The standing of the authority below the root. Keys themselves have serial number 0 and are on no list: AMD takes one
/// back by raising the TCB that it stands for.
fn revocation(path: &VerifiedPath, own: &Endorsements, context: &Context<'_>) -> Outcome {
    let mut lists = context.endorsements.crl_set();
    let mut both: Documents;
    if !own.crls().is_empty() {
        both = lists.clone();
        own.crls().iter().cloned().for_each(|list| both.push(list));
        lists = &both;
    }
    let authorities = path.pairs().skip(1);
    for (certificate, issuer) in authorities {
        if let Err(error) = standing(certificate, issuer, lists, context.now, context.cache) {
            return Outcome::Fails(error.into());
        }
    }
    Outcome::Holds
}

/// A key whose certificate was verified before, so that neither is done again while it lasts.
#[derive(Clone, Debug)]
struct Known {
    key: Arc<KeyCertificate>,
    path: Arc<VerifiedPath>,
}

/// A key certificate and what came of comparing it.
struct Candidate {
    key: Arc<KeyCertificate>,
    /// The claims, read for the product of this certificate.
    claims: Claims,
    differences: Vec<super::error::Difference>,
    path: Result<Arc<VerifiedPath>, VerifyError>,
    signed: bool,
}

impl Candidate {
    fn new(report: &RawReport<'_>, claims: &Claims, key: Arc<KeyCertificate>, context: &Context<'_>) -> Self {
        let (claims, differences) = compare(report, claims, &key);
        let path = chain(&key, context).map(Arc::new);
        let signed = key.signed(report);
        Self { key, claims, differences, path, signed }
    }

    /// How much of what is wanted holds.
    fn rank(&self) -> (bool, bool, bool) {
        (self.differences.is_empty(), self.path.is_ok(), self.signed)
    }
}

/// The claims as they read for the certificate's product, and how the two differ.
fn compare(report: &RawReport<'_>, claims: &Claims, key: &KeyCertificate) -> (Claims, Vec<super::error::Difference>) {
    if claims.processor.is_some() || claims.product == Some(key.product) {
        let differences = key.differences(claims);
        return (claims.clone(), differences);
    }
    // Version 2: only the certificate says which layout the TCB versions have.
    match report.claims(Some(key.product)) {
        Ok(claims) => {
            let differences = key.differences(&claims);
            (claims, differences)
        }
        Err(_) => {
            let mut differences = key.differences(claims);
            differences.push(super::error::Difference {
                field: "tcb_layout",
                report: "another product's".into(),
                certificate: key.product.name().into(),
            });
            (claims.clone(), differences)
        }
    }
}

/// Finds the certificate of the key that signed, verifies its chain and tries its key.
///
/// Certificates come from the host's table and from the Endorsements; neither is believed. One that fits the report by
/// what it says may still be forged, so others that fit are tried before a forged one is complained about.
fn find(
    report: &RawReport<'_>,
    claims: &Claims,
    signer: SigningKey,
    table: &CertificateTable<'_>,
    context: &Context<'_>,
) -> Result<Candidate, VerifyError> {
    let memory = memory_key(report, claims, context);
    if let Some(known) = context.cache.get::<Known>(&memory, context.now) {
        let (claims, differences) = compare(report, claims, &known.key);
        if differences.is_empty() && known.key.signed(report) {
            let Known { key, path } = Known::clone(&known);
            return Ok(Candidate { key, claims, differences, path: Ok(path), signed: true });
        }
    }
    let content = match signer {
        SigningKey::Vcek => Content::Vcek,
        SigningKey::Vlek => Content::Vlek,
    };
    let from_host = table.of(content).map(|der| (der, true));
    let others = context.endorsements.certificates().iter().map(|document| (document.bytes(), false));
    let mut best: Option<Candidate> = None;
    let mut near: Vec<Arc<KeyCertificate>> = Vec::new();
    let mut unreadable: Option<SnpError> = None;
    let (mut tried, mut read_near) = (0_usize, 0_usize);
    for (der, of_host) in from_host.chain(others) {
        if !of_host && !contains(der, &AMD_ARC) {
            continue;
        }
        // The chip id stands in the certificate as it is, so that most need not be read at all.
        let likely = of_host || claims.chip_id == MASKED || contains(der, significant(claims));
        if !likely {
            read_near = read_near.saturating_add(1);
            if read_near > MAX_NEAR {
                continue;
            }
        }
        let key = match Certificate::parse(der).map_err(|_| None).and_then(|c| KeyCertificate::read(c).map_err(Some)) {
            Ok(key) => Arc::new(key),
            Err(error) => {
                if let (true, Some(error)) = (of_host, error) {
                    unreadable = Some(error.into());
                }
                continue;
            }
        };
        if !compare(report, claims, &key).1.is_empty() {
            if near.len() < MAX_NEAR {
                near.push(key);
            }
            continue;
        }
        tried = tried.saturating_add(1);
        if tried > MAX_TRIED {
            return Err(SnpError::TooManyKeys { key: signer, tried: MAX_TRIED }.into());
        }
        // Of keys that fit and did not sign, one is enough to complain about.
        if best.as_ref().is_some_and(|best| best.path.is_ok()) && !key.signed(report) {
            continue;
        }
        let candidate = Candidate::new(report, claims, key, context);
        let complete = candidate.rank() == (true, true, true);
        if best.as_ref().is_none_or(|best| candidate.rank() > best.rank()) {
            best = Some(candidate);
        }
        if complete {
            break;
        }
    }
    if let Some(best) = best {
        if let (true, Ok(path)) = (best.rank() == (true, true, true), &best.path) {
            let known = Known { key: Arc::clone(&best.key), path: Arc::clone(path) };
            context.cache.keep(memory, context.now, path.until(), &Arc::new(known));
        }
        return Ok(best);
    }
    if let Some(key) = nearest(report, claims, signer, near) {
        return Ok(Candidate::new(report, claims, key, context));
    }
    if let Some(error) = unreadable {
        return Err(error.into());
    }
    let need = needs_of(claims, signer).into_iter().next();
    Err(match need {
        Some(need) => VerifyError::MissingEndorsement { need },
        // A masked chip: nobody can say which certificate it would be.
        None => SnpError::OtherKey { key: signer, differences: Vec::new() }.into(),
    })
}

/// Of certificates that do not fit, the one that fits most: of the right kind, of the right chip, with the fewest
/// differences.
fn nearest(
    report: &RawReport<'_>,
    claims: &Claims,
    signer: SigningKey,
    near: Vec<Arc<KeyCertificate>>,
) -> Option<Arc<KeyCertificate>> {
    near.into_iter().min_by_key(|key| {
        let (_, differences) = compare(report, claims, key);
        let other_chip = differences.iter().any(|difference| difference.field == "chip_id");
        (key.kind() != signer, other_chip, differences.len())
    })
}

/// Verifies the certificates from a key to the root of its product.
fn chain(key: &KeyCertificate, context: &Context<'_>) -> Result<VerifiedPath, VerifyError> {
    let root = context.anchors.amd(key.product);
    let roots: Vec<Digest> = root.into_iter().collect();
    let path = build_path(&key.certificate, context.anchors.certificates().iter())?;
    let path = verify_path(path, &roots, &UNDERSTOOD, context.now, context.cache)?;
    // The authorities of one product differ in their names only: a VLEK must not come from the VCEKs' one.
    let expected = match key.kind() {
        SigningKey::Vcek => format!("SEV-{}", key.product),
        SigningKey::Vlek => format!("SEV-VLEK-{}", key.product),
    };
    let right = path.pairs().next().is_some_and(|(_, issuer)| issuer.subject() == expected);
    if right && path.certificates().len() == AMD_CHAIN {
        return Ok(path);
    }
    let issuer = key.certificate.issuer().to_owned();
    Err(SnpError::Authority { key: key.kind(), issuer, expected }.into())
}

/// Under what a verified key is remembered: all that the report says of its signer, and the roots that are believed.
fn memory_key(report: &RawReport<'_>, claims: &Claims, context: &Context<'_>) -> Digest {
    let roots: Vec<Digest> = AmdProduct::ALL.iter().filter_map(|product| context.anchors.amd(*product)).collect();
    let mut fields: Vec<&[u8]> = vec![b"snp key", report.signer_fields(), &claims.chip_id.0];
    fields.extend(roots.iter().map(|root| root.as_bytes().as_slice()));
    let signer: &[u8] = match claims.signer.key() {
        Some(SigningKey::Vcek) => b"vcek",
        Some(SigningKey::Vlek) => b"vlek",
        None => b"none",
    };
    fields.push(signer);
    Digest::of_fields(&fields)
}

/// The part of a chip id that a certificate has: Turin's are 8 bytes.
fn significant(claims: &Claims) -> &[u8] {
    let id: &[u8] = &claims.chip_id.0;
    if claims.chip_id_is_short() { id.get(..8).unwrap_or(id) } else { id }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    !part.is_empty() && bytes.windows(part.len()).any(|window| window == part)
}

/// The Endorsements that Evidence needs. Nothing is verified: it is for whoever fetches them, and a lie only makes them
/// fetch what does not help.
pub fn needs(body: &[u8]) -> Vec<Need> {
    let Ok((report, claims, table)) = read(body) else { return Vec::new() };
    let Some(signer) = claims.signer.key() else { return Vec::new() };
    let content = match signer {
        SigningKey::Vcek => Content::Vcek,
        SigningKey::Vlek => Content::Vlek,
    };
    let given = table.of(content).find_map(|der| {
        let key = KeyCertificate::read(Certificate::parse(der).ok()?).ok()?;
        compare(&report, &claims, &key).1.is_empty().then_some(key.product)
    });
    let mut needs = if given.is_some() { Vec::new() } else { needs_of(&claims, signer) };
    needs.extend(products(&claims, given).into_iter().map(|product| Need::AmdCrl { product, key: amd_key(signer) }));
    needs
}

/// The certificates that could be the signer's.
fn needs_of(claims: &Claims, signer: SigningKey) -> Vec<Need> {
    let tcb: TcbVersion = claims.reported_tcb;
    let products = products(claims, None);
    match signer {
        SigningKey::Vcek if claims.chip_id == MASKED => Vec::new(),
        SigningKey::Vcek => {
            products.into_iter().map(|product| Need::Vcek { product, chip_id: claims.chip_id, tcb }).collect()
        }
        SigningKey::Vlek => products.into_iter().map(|product| Need::Vlek { product, tcb }).collect(),
    }
}

/// The products that a report can be of. One of version 2 does not say; its chip id and the layout of its TCB versions
/// tell Turin from the others.
fn products(claims: &Claims, given: Option<AmdProduct>) -> Vec<AmdProduct> {
    match claims.product.or(given) {
        Some(product) => vec![product],
        None if claims.reported_tcb.fmc.is_some() => vec![AmdProduct::Turin],
        None => vec![AmdProduct::Milan, AmdProduct::Genoa],
    }
}

const fn amd_key(signer: SigningKey) -> AmdKey {
    match signer {
        SigningKey::Vcek => AmdKey::Vcek,
        SigningKey::Vlek => AmdKey::Vlek,
    }
}
