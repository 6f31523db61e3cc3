//! Certificates, paths and revocation lists of hardware vendors (RFC 5280, the part of it that they use).
//!
//! Vendors' chains do not have the shape of the web's: no names to match, no extended key usage, roots that are pinned.
//! So this is a small checker of its own, with every signature by aws-lc-rs. What it does not know and a certificate
//! calls critical is refused.

mod crl;
mod key;
mod path;

pub use crl::{CrlError, CrlProblem};
pub(crate) use crl::{describe as describe_crl, standing};
pub use key::UnsupportedAlgorithm;
pub(crate) use key::{PreparedKey, PublicKey, SignatureAlgorithm};
pub use path::{PathError, PathProblem};
pub(crate) use path::{VerifiedPath, build_path, verify_path};

use protocol::Digest;
use x509_parser::asn1_rs::Oid;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::time::UnixTime;
use crate::value;

/// LIMIT: AMD's largest certificate has 1.7 KiB, NVIDIA's RIM signers under 2 KiB; 16 KiB leaves room for extensions.
pub const MAX_CERTIFICATE: usize = 16 * 1024;
/// LIMIT: NVIDIA's device chains have five certificates, Intel's and AMD's three.
pub const MAX_CHAIN: usize = 8;
/// LIMIT: [`MAX_CHAIN`] certificates of the largest size, as base64 with line ends.
pub const MAX_PEM: usize = MAX_CERTIFICATE * MAX_CHAIN * 3 / 2;

/// Why bytes are not a certificate that can be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// Larger than any vendor makes.
    #[error("certificate of {got} bytes, at most {MAX_CERTIFICATE} are read")]
    TooLong {
        /// Its size.
        got: usize,
    },
    /// Not the DER of an X.509 certificate.
    #[error("not the DER of a certificate: {reason}")]
    Der {
        /// Where reading stopped.
        reason: String,
    },
    /// Bytes after the certificate.
    #[error("{got} bytes follow the certificate")]
    Trailing {
        /// How many.
        got: usize,
    },
    /// Not version 3.
    #[error("certificate is of X.509 version {got}, only 3 is read")]
    Version {
        /// Its version, counted from 1.
        got: u32,
    },
    /// An extension stands twice.
    #[error("extension {oid} stands twice")]
    DuplicateExtension {
        /// Which.
        oid: String,
    },
    /// A well-known extension that cannot be read.
    #[error("extension {oid} cannot be read")]
    Extension {
        /// Which.
        oid: String,
    },
    /// The two places that name the signature algorithm disagree.
    #[error("certificate names two different signature algorithms")]
    AlgorithmsDiffer,
    /// An algorithm that no vendor uses.
    #[error(transparent)]
    Algorithm(#[from] UnsupportedAlgorithm),
    /// Not PEM.
    #[error("not PEM: {reason}")]
    Pem {
        /// Why.
        reason: &'static str,
    },
    /// More certificates than a chain can have.
    #[error("more than {MAX_CHAIN} certificates in one chain")]
    TooMany,
}

/// A certificate, read but not verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Certificate {
    der: Vec<u8>,
    fingerprint: Digest,
    tbs: Vec<u8>,
    issuer: Vec<u8>,
    subject: Vec<u8>,
    subject_text: String,
    issuer_text: String,
    serial: Vec<u8>,
    not_before: UnixTime,
    not_after: UnixTime,
    key: PublicKey,
    spki: Vec<u8>,
    algorithm: SignatureAlgorithm,
    signature: Vec<u8>,
    extensions: Vec<Extension>,
    is_ca: bool,
    path_length: Option<u32>,
    usage: Option<KeyUse>,
    own_key_id: Option<Vec<u8>>,
    issuer_key_id: Option<Vec<u8>>,
    purposes: Vec<String>,
}

/// One extension as it stands in the certificate.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Extension {
    oid: String,
    critical: bool,
    value: Vec<u8>,
}

/// The two uses of a key that matter for paths (RFC 5280, section 4.2.1.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct KeyUse {
    certificates: bool,
    crls: bool,
    signatures: bool,
}

/// What this module understands of a certificate's extensions, critical or not.
const UNDERSTOOD: [&str; 6] = [
    "2.5.29.14", // subject key identifier
    "2.5.29.15", // key usage
    "2.5.29.17", // subject alternative name: read by nobody here, and harmless
    "2.5.29.19", // basic constraints
    "2.5.29.35", // authority key identifier
    "2.5.29.37", // extended key usage: compared where it matters (OCSP)
];

impl Certificate {
    /// Reads one certificate, and nothing after it.
    pub(crate) fn parse(der: &[u8]) -> Result<Self, CertificateError> {
        if der.len() > MAX_CERTIFICATE {
            return Err(CertificateError::TooLong { got: der.len() });
        }
        let (rest, parsed) =
            X509Certificate::from_der(der).map_err(|error| CertificateError::Der { reason: der_reason(&error) })?;
        if !rest.is_empty() {
            return Err(CertificateError::Trailing { got: rest.len() });
        }
        let tbs = &parsed.tbs_certificate;
        if tbs.version.0 != 2 {
            return Err(CertificateError::Version { got: tbs.version.0.saturating_add(1) });
        }
        if tbs.signature != parsed.signature_algorithm {
            return Err(CertificateError::AlgorithmsDiffer);
        }
        let mut certificate = Self {
            der: der.to_vec(),
            fingerprint: Digest::of(der),
            tbs: tbs.as_ref().to_vec(),
            issuer: tbs.issuer.as_raw().to_vec(),
            subject: tbs.subject.as_raw().to_vec(),
            subject_text: common_name(&tbs.subject),
            issuer_text: common_name(&tbs.issuer),
            serial: tbs.raw_serial().to_vec(),
            not_before: UnixTime::from_signed(tbs.validity.not_before.timestamp()),
            not_after: UnixTime::from_signed(tbs.validity.not_after.timestamp()),
            key: PublicKey::parse(&tbs.subject_pki)?,
            spki: tbs.subject_pki.raw.to_vec(),
            algorithm: SignatureAlgorithm::parse(&parsed.signature_algorithm)?,
            signature: parsed.signature_value.data.to_vec(),
            extensions: Vec::new(),
            is_ca: false,
            path_length: None,
            usage: None,
            own_key_id: None,
            issuer_key_id: None,
            purposes: Vec::new(),
        };
        for extension in tbs.extensions() {
            let oid = extension.oid.to_id_string();
            if certificate.extension(&oid).is_some() {
                return Err(CertificateError::DuplicateExtension { oid });
            }
            certificate.read_extension(&oid, extension.parsed_extension())?;
            certificate.extensions.push(Extension {
                oid,
                critical: extension.critical,
                value: extension.value.to_vec(),
            });
        }
        Ok(certificate)
    }

    fn read_extension(&mut self, oid: &str, parsed: &ParsedExtension<'_>) -> Result<(), CertificateError> {
        match parsed {
            ParsedExtension::BasicConstraints(constraints) => {
                self.is_ca = constraints.ca;
                self.path_length = constraints.path_len_constraint;
            }
            ParsedExtension::KeyUsage(usage) => {
                self.usage = Some(KeyUse {
                    certificates: usage.key_cert_sign(),
                    crls: usage.crl_sign(),
                    signatures: usage.digital_signature(),
                });
            }
            ParsedExtension::SubjectKeyIdentifier(id) => self.own_key_id = Some(id.0.to_vec()),
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                self.issuer_key_id = id.key_identifier.as_ref().map(|id| id.0.to_vec());
            }
            ParsedExtension::ExtendedKeyUsage(usage) => {
                self.purposes = usage.other.iter().map(Oid::to_id_string).collect();
                if usage.ocsp_signing {
                    self.purposes.push(OCSP_SIGNING.to_owned());
                }
            }
            _ if UNDERSTOOD.contains(&oid) && oid != "2.5.29.17" => {
                return Err(CertificateError::Extension { oid: oid.to_owned() });
            }
            _ => {}
        }
        Ok(())
    }

    /// The whole certificate.
    pub(crate) fn der(&self) -> &[u8] {
        &self.der
    }

    /// SHA-256 of the whole certificate.
    pub(crate) fn fingerprint(&self) -> Digest {
        self.fingerprint
    }

    /// The subject's common name, for people. From a peer until the path is verified.
    pub(crate) fn subject(&self) -> &str {
        &self.subject_text
    }

    /// The issuer's common name, for people.
    pub(crate) fn issuer(&self) -> &str {
        &self.issuer_text
    }

    /// The issuer's name as DER.
    pub(crate) fn issuer_der(&self) -> &[u8] {
        &self.issuer
    }

    /// The subject's name as DER.
    pub(crate) fn subject_der(&self) -> &[u8] {
        &self.subject
    }

    /// The serial number's content bytes, big-endian, with the sign byte if it has one.
    pub(crate) fn serial(&self) -> &[u8] {
        &self.serial
    }

    /// From when it holds.
    pub(crate) fn not_before(&self) -> UnixTime {
        self.not_before
    }

    /// Until when it holds.
    pub(crate) fn not_after(&self) -> UnixTime {
        self.not_after
    }

    /// The key.
    pub(crate) fn key(&self) -> &PublicKey {
        &self.key
    }

    /// The SubjectPublicKeyInfo as DER.
    pub(crate) fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// The content of an extension, if it is there.
    pub(crate) fn extension(&self, oid: &str) -> Option<&[u8]> {
        self.extensions.iter().find(|extension| extension.oid == oid).map(|extension| extension.value.as_slice())
    }

    /// Whether the extended key usage names a purpose.
    pub(crate) fn has_purpose(&self, oid: &str) -> bool {
        self.purposes.iter().any(|purpose| purpose == oid)
    }

    /// Whether the issuer and the subject are of one name.
    pub(crate) fn is_self_issued(&self) -> bool {
        self.issuer == self.subject
    }

    /// Whether `issuer`'s key made the signature. Names, validity and rights are for [`verify_path`].
    pub(crate) fn is_signed_by(&self, issuer: &Self) -> bool {
        issuer.key.verify(self.algorithm, &self.tbs, &self.signature)
    }

    /// Whether `issuer` may be the issuer, by names and key identifiers.
    fn names_issuer(&self, issuer: &Self) -> bool {
        self.issuer == issuer.subject
            && match (&self.issuer_key_id, &issuer.own_key_id) {
                (Some(named), Some(own)) => named == own,
                _ => true,
            }
    }

    fn critical_extensions(&self) -> impl Iterator<Item = &str> {
        self.extensions.iter().filter(|extension| extension.critical).map(|extension| extension.oid.as_str())
    }
}

/// id-kp-OCSPSigning (RFC 6960, section 4.2.2.2).
pub(crate) const OCSP_SIGNING: &str = "1.3.6.1.5.5.7.3.9";

/// LIMIT: a name that a line can hold.
const NAME: usize = 64;

fn common_name(name: &x509_parser::x509::X509Name<'_>) -> String {
    let text =
        name.iter_common_name().next().and_then(|attribute| attribute.as_str().ok()).unwrap_or("(no common name)");
    value::safe(text, NAME)
}

fn der_reason(error: &x509_parser::asn1_rs::Err<x509_parser::error::X509Error>) -> String {
    use x509_parser::asn1_rs::Err;
    match error {
        Err::Incomplete(_) => "it ends too early".to_owned(),
        Err::Error(error) | Err::Failure(error) => error.to_string(),
    }
}

/// The DER blocks of a PEM text, by label, in order. Text outside of blocks is passed over, as every PEM reader does.
pub(crate) fn pem_blocks(text: &[u8], label: &str, limit: usize) -> Result<Vec<Vec<u8>>, CertificateError> {
    use base64::Engine as _;
    if text.len() > MAX_PEM.max(limit.saturating_mul(MAX_CERTIFICATE)) {
        return Err(CertificateError::TooLong { got: text.len() });
    }
    let text = std::str::from_utf8(text).map_err(|_| CertificateError::Pem { reason: "it is not text" })?;
    let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once(begin.as_str()) {
        let (body, after) =
            after.split_once(end.as_str()).ok_or(CertificateError::Pem { reason: "a block has no end line" })?;
        if blocks.len() == limit {
            return Err(CertificateError::TooMany);
        }
        let compact: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        let der = base64::engine::general_purpose::STANDARD
            .decode(compact)
            .map_err(|_| CertificateError::Pem { reason: "a block is not base64" })?;
        blocks.push(der);
        rest = after;
    }
    Ok(blocks)
}

/// The certificates of a PEM text, in order.
pub(crate) fn pem_chain(text: &[u8]) -> Result<Vec<Certificate>, CertificateError> {
    let blocks = pem_blocks(text, "CERTIFICATE", MAX_CHAIN)?;
    if blocks.is_empty() {
        return Err(CertificateError::Pem { reason: "there is no certificate in it" });
    }
    blocks.iter().map(|der| Certificate::parse(der)).collect()
}
