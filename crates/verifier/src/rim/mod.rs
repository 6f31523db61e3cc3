//! NVIDIA's reference integrity manifests (RIMs): Reference Values that NVIDIA signs, one document for each version of a
//! GPU's driver, a GPU's VBIOS and a switch's firmware.
//!
//! A RIM is a SWID tag (ISO/IEC 19770-2:2015) with the attributes of the TCG RIM information model, in XML with an
//! enveloped XML signature. XML signatures are known for documents in which one element is signed and another is read.
//! So there is one narrow way through:
//!
//! 1. The document is bounded and free of whatever two readers could understand differently ([`RimError`] names it).
//! 2. It has exactly one signature, a child of the root, over the whole document, by the algorithms that NVIDIA uses.
//! 3. Its digest is right, its signature is by the leaf of the certificates that came along, and these lead to the root
//!    that is compiled in. The leaf is the one that issued none of the others, wherever it stands.
//! 4. The contents are read from the canonical bytes that were hashed, parsed anew. The document itself is not looked at
//!    again, so nothing that is not signed can be read.
//!
//! A document whose signer has expired is [`Expired`](crate::Fault::Expired): "could not tell", and only if it is genuine.
//!
//! What a RIM does **not** say: the id under which NVIDIA's service gives it (`NV_GPU_DRIVER_GH100_550.144.03`) is not in
//! it, and neither are a VBIOS's board numbers. What binds a RIM to a device are [`Rim::edition`], [`Rim::product`] and
//! [`Rim::version`], and then the measurements themselves.

mod c14n;
mod error;
mod explain;
mod signature;
mod signer;
mod swid;
#[cfg(test)]
mod tests;
mod xml;

use std::sync::Arc;

use protocol::Digest;

pub use error::{NamespaceProblem, Place, RimError, SignerProblem};
pub use explain::explain;

use crate::anchors::TrustAnchors;
use crate::context::{Cache, Context};
use crate::endorsements::{Document, EndorsementKind, Endorsements, Need};
use crate::ocsp::Standing;
use crate::time::UnixTime;
use crate::x509::Certificate;

/// LIMIT: RIMs number measurements from 0 to 63; index `i` is block `i + 1` of a GPU's 64 SPDM measurement blocks.
pub const MAX_INDEX: u32 = 63;

/// The Reference Value for one measurement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Golden {
    /// Which measurement: 0 to [`MAX_INDEX`], one less than the index of the SPDM measurement block.
    pub index: u32,
    /// Whether it is to be compared. NVIDIA's driver RIM and VBIOS RIM of one GPU have different ones active.
    pub active: bool,
    /// The digests of which one must be reported: at least one.
    pub digests: Vec<[u8; 48]>,
    /// What NVIDIA calls it, for people.
    pub name: Option<String>,
}

/// Who signed a RIM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signer {
    /// The common name of the certificate.
    pub subject: String,
    /// SHA-256 of the certificate as it came along. Whoever carries a document can write a certificate in another way that
    /// still verifies (of an ECDSA signature, `s` and `-s` are both good), so this may name who is accepted, and never
    /// who is not.
    pub certificate: Digest,
    /// SHA-256 of its SubjectPublicKeyInfo, which is signed and cannot be written in another way.
    pub key: Digest,
    /// From when it holds.
    pub not_before: UnixTime,
    /// Until when it holds.
    pub not_after: UnixTime,
}

impl Signer {
    fn of(leaf: &Certificate) -> Self {
        Self {
            subject: leaf.subject().to_owned(),
            certificate: leaf.fingerprint(),
            key: Digest::of(leaf.spki()),
            not_before: leaf.not_before(),
            not_after: leaf.not_after(),
        }
    }
}

/// A RIM that was verified: signed, by a signer under NVIDIA's root, valid at the time of the verification, and not
/// revoked as far as the OCSP responses at hand say. It is **not** said that it is the RIM of any device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rim {
    id: String,
    version: String,
    product: String,
    edition: String,
    manufacturer: String,
    measurements: Vec<Golden>,
    signer: Signer,
    not_after: UnixTime,
    standing: Vec<(String, Standing)>,
    digest: Digest,
}

impl Rim {
    /// The tag's own id, 96 hex digits. It is not the id under which NVIDIA's service gives the RIM.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The version of the driver (`550.144.03`), VBIOS (`96.00.5E.00.01`) or switch firmware (`96.10.55.00.01`).
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The chip: `GH100`, `LS10`.
    pub fn product(&self) -> &str {
        &self.product
    }

    /// What kind of device: `GPU`, for the driver and the VBIOS alike, or `SWITCH`.
    pub fn edition(&self) -> &str {
        &self.edition
    }

    /// Who makes the firmware, by name. The number beside it is NVIDIA's, or the RIM was not read.
    pub fn manufacturer(&self) -> &str {
        &self.manufacturer
    }

    /// Every measurement, active or not, by index; no index stands twice.
    pub fn measurements(&self) -> &[Golden] {
        &self.measurements
    }

    /// Who signed it.
    pub fn signer(&self) -> &Signer {
        &self.signer
    }

    /// When the first certificate between signer and root expires.
    pub fn not_after(&self) -> UnixTime {
        self.not_after
    }

    /// What OCSP says of the signer and each authority above it, by common name. A reader who wants an answer, and not
    /// only no bad one, compares with [`Standing::NotGiven`].
    pub fn standing(&self) -> &[(String, Standing)] {
        &self.standing
    }

    /// SHA-256 of the document, signature and all.
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

/// Verifies a RIM. One that was verified before is neither parsed nor verified again, while its certificates and the
/// OCSP responses that spoke for them hold.
pub(crate) fn verify(document: &Document, context: &Context<'_>) -> Result<Arc<Rim>, RimError> {
    let key = signer::key(&document.digest(), context);
    if let Some(rim) = context.cache.get::<Rim>(&key, context.now) {
        return Ok(rim);
    }
    let text = xml::text(document.bytes())?;
    let envelope = signature::open(&xml::parse(&text)?)?;
    let path = signer::order(&envelope)?;
    signer::genuine(&envelope, &path, context.anchors, context.now, context.cache)?;
    let contents = swid::read(&envelope.content)?;
    // What is wrong goes before what cannot be told: first a revoked signer, then an expired one.
    let standing = signer::standing(&path, context);
    if let Err(error) = &standing
        && error.fault().is_refusal()
    {
        return Err(error.clone());
    }
    let path = signer::timely(path, context)?;
    let standing = standing?;
    let signer = path.leaf().map(Signer::of).ok_or(RimError::Leaves { given: 0, leaves: 0 })?;

    let until = standing.iter().filter_map(|(_, standing)| standing.until()).chain([path.until()]).min();
    let rim = Arc::new(Rim {
        id: contents.id,
        version: contents.version,
        product: contents.product,
        edition: contents.edition,
        manufacturer: contents.manufacturer,
        measurements: contents.measurements,
        signer,
        not_after: path.until(),
        standing,
        digest: document.digest(),
    });
    context.cache.keep(key, context.now, until.unwrap_or_default(), &rim);
    Ok(rim)
}

/// Verifies a RIM by itself, with nothing remembered: for whoever looks at a file.
pub fn verify_alone(
    document: &[u8],
    anchors: &TrustAnchors,
    endorsements: &Endorsements,
    now: UnixTime,
) -> Result<Arc<Rim>, RimError> {
    verify(&alone(document)?, &Context { anchors, endorsements, now, cache: &Cache::default() })
}

/// A file as a document.
fn alone(bytes: &[u8]) -> Result<Document, RimError> {
    let mut endorsements = Endorsements::default();
    // The only error is the size: there is no other document.
    let limit = EndorsementKind::Rim.max_len();
    let too_much = || RimError::TooMuch { what: "bytes", got: bytes.len(), limit };
    endorsements.add(EndorsementKind::Rim, bytes).map_err(|_| too_much())?;
    endorsements.rims().first().cloned().ok_or_else(too_much)
}

/// The OCSP responses that would speak for a RIM's signer and the authorities above it. Nothing is verified; of a document
/// that cannot be read nothing is needed.
pub fn needs(document: &[u8]) -> Vec<Need> {
    let path = xml::text(document)
        .and_then(|text| signature::open(&xml::parse(&text)?))
        .and_then(|envelope| signer::order(&envelope))
        .unwrap_or_default();
    path.iter()
        .zip(path.iter().skip(1))
        .map(|(certificate, issuer)| Need::Ocsp {
            certificate: certificate.der().to_vec(),
            issuer: issuer.der().to_vec(),
        })
        .collect()
}

/// LIMIT: certificates whose standing is asked for: NVIDIA has signed its RIMs with a handful of signers, each with two
/// authorities between it and the root.
const MAX_FURTHER_NEEDS: usize = 64;

/// The second phase of gathering Endorsements: what the RIMs that are at hand by now need in turn, each once. The OCSP
/// responses about their signers cannot be named before, as only a RIM says who signed it; without them the policy
/// `ocsp: required` cannot be met. So whoever gathers asks [`crate::needs`] first, adds what was found, and asks this.
///
/// Nothing is verified, and no more than 64 are named, in the order of the RIMs: it says what to fetch, and nothing else.
pub fn further_needs(endorsements: &Endorsements) -> Vec<Need> {
    let mut further: Vec<Need> = Vec::new();
    for need in endorsements.rims().iter().flat_map(|document| needs(document.bytes())) {
        if further.len() == MAX_FURTHER_NEEDS {
            break;
        }
        if !further.contains(&need) {
            further.push(need);
        }
    }
    further
}

/// The canonical form (C14N 1.1 without comments) of a whole document, for comparison with another implementation.
pub fn canonical_form(document: &[u8]) -> Result<Vec<u8>, RimError> {
    let text = xml::text(document)?;
    let document = xml::parse(&text)?;
    Ok(c14n::canonical(document.root_element(), None))
}
