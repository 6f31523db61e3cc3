//! Who signed a RIM: the leaf of the one path that the signature's certificates form, up to NVIDIA's root for RIMs.

use protocol::Digest;

use super::error::{RimError, SignerProblem};
use super::signature::Envelope;
use crate::anchors::TrustAnchors;
use crate::context::{Cache, Context};
use crate::ocsp::{self, Standing};
use crate::time::UnixTime;
use crate::x509::{Certificate, PathError, PublicKey, VerifiedPath, build_path, verify_path};

/// Reads the certificates of a signature and puts them in order, leaf first. Nothing is verified.
///
/// Their order in the document means nothing, and none may be left over: so nobody can offer a second certificate for a
/// laxer reader to take, or hide the signer behind another first one.
pub(super) fn order(envelope: &Envelope) -> Result<Vec<Certificate>, RimError> {
    let mut certificates = Vec::new();
    for (number, der) in envelope.certificates.iter().enumerate() {
        let certificate = Certificate::parse(der).map_err(|error| {
            PathError::malformed(&format!("number {} of the signature", number.saturating_add(1)), error)
        })?;
        if certificates.contains(&certificate) {
            return Err(RimError::Stray { certificate: certificate.subject().to_owned() });
        }
        certificates.push(certificate);
    }
    let leaves: Vec<_> = certificates
        .iter()
        .filter(|leaf| !certificates.iter().any(|other| other != *leaf && other.issuer_der() == leaf.subject_der()))
        .collect();
    let [leaf] = leaves.as_slice() else {
        return Err(RimError::Leaves { given: certificates.len(), leaves: leaves.len() });
    };
    let path = build_path(leaf, certificates.iter())?;
    match certificates.iter().find(|certificate| !path.contains(certificate)) {
        Some(stray) => Err(RimError::Stray { certificate: stray.subject().to_owned() }),
        None => Ok(path),
    }
}

/// Verifies that the leaf of `path` is a signer of RIMs under NVIDIA's root, and that it signed the document. Whether it
/// may do so at this time is not said: see [`timely`]. So a forgery is refused also when its certificates have expired.
pub(super) fn genuine(
    envelope: &Envelope,
    path: &[Certificate],
    anchors: &TrustAnchors,
    now: UnixTime,
    cache: &Cache,
) -> Result<(), RimError> {
    let from = path.iter().map(Certificate::not_before).max().unwrap_or_default();
    let until = path.iter().map(Certificate::not_after).min().unwrap_or_default();
    // The moment nearest to now at which all of them held. If there is none, now is as bad as any.
    let moment = if from <= until { now.clamp(from, until) } else { now };
    let path = verify_path(path.to_vec(), &[anchors.nvidia_rim()], &[], moment, cache)?;
    let leaf = path.leaf().ok_or(RimError::Leaves { given: 0, leaves: 0 })?;
    if let Some(problem) = problem(leaf) {
        return Err(RimError::Signer { signer: leaf.subject().to_owned(), problem });
    }
    if !leaf.key().verify_fixed(&envelope.signed_info, &envelope.signature) {
        return Err(RimError::Signature { signer: leaf.subject().to_owned() });
    }
    Ok(())
}

/// Verifies that the path holds now.
pub(super) fn timely(path: Vec<Certificate>, context: &Context<'_>) -> Result<VerifiedPath, RimError> {
    Ok(verify_path(path, &[context.anchors.nvidia_rim()], &[], context.now, context.cache)?)
}

/// Why a certificate cannot be a signer of RIMs, if it cannot.
fn problem(leaf: &Certificate) -> Option<SignerProblem> {
    if !matches!(leaf.key(), PublicKey::P384(_)) {
        return Some(SignerProblem::Curve);
    }
    // BasicConstraints (RFC 5280, 4.2.1.9): SEQUENCE of nothing, cA being false by default.
    if leaf.extension(BASIC_CONSTRAINTS).is_some_and(|value| value != [0x30, 0]) {
        return Some(SignerProblem::Authority);
    }
    // KeyUsage (4.2.1.3): a BIT STRING whose first bit is digitalSignature. The first two bytes are tag and length, the
    // third says how many bits are unused.
    if leaf.extension(KEY_USAGE).and_then(|value| value.get(3)).is_none_or(|bits| bits & 0x80 == 0) {
        return Some(SignerProblem::KeyUsage);
    }
    // NVIDIA's signers have no extended key usage. Its OCSP responders have one, are under the same root and sign too.
    if leaf.extension(EXTENDED_KEY_USAGE).is_some() {
        return Some(SignerProblem::Purpose);
    }
    None
}

const KEY_USAGE: &str = "2.5.29.15";
const BASIC_CONSTRAINTS: &str = "2.5.29.19";
const EXTENDED_KEY_USAGE: &str = "2.5.29.37";

/// What OCSP says of each certificate of the path but the root, whose standing is that it is compiled in.
pub(super) fn standing(path: &[Certificate], context: &Context<'_>) -> Result<Vec<(String, Standing)>, RimError> {
    let responses = context.endorsements.ocsp_set();
    let mut standing = Vec::new();
    let mut could_not_tell = None;
    for (certificate, issuer) in path.iter().zip(path.iter().skip(1)) {
        match ocsp::check(responses, certificate, issuer, context.now, context.cache) {
            Ok(found) => standing.push((certificate.subject().to_owned(), found)),
            // A revoked one further up goes before a response that could not be used.
            Err(error) if error.fault().is_refusal() => return Err(error.into()),
            Err(error) => could_not_tell = could_not_tell.or(Some(error)),
        }
    }
    could_not_tell.map_or(Ok(standing), |error| Err(error.into()))
}

/// A digest over all that the verification of a document rests on but the time.
pub(super) fn key(document: &Digest, context: &Context<'_>) -> Digest {
    let root = context.anchors.nvidia_rim();
    let responses = context.endorsements.ocsp_set();
    Digest::of_fields(&[b"rim", document.as_bytes(), root.as_bytes(), responses.digest_bytes()])
}
