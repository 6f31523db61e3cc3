//! The certificate authorities of a deployment: a root for as long as the seed lives, under it one mesh CA for each
//! generation of the manifest, under that the short-lived leaf certificates of workloads.
//!
//! CA keys come from the key schedule, and so does everything in a CA certificate except its ECDSA signature, which is
//! random. A certificate that was given to clients is therefore kept in the (untrusted) store and *restored*: accepted
//! only if it is one that this CA could have made.
//!
//! What a certificate shows: that the Coordinator issued it to the holder of the key, for these names and this identity.
//! Its dates are the host's clock and bound nothing that matters (design, P7). CA certificates carry no dates of their
//! own: they are valid from 2020 on, without a defined end (RFC 5280, section 4.1.2.5).

mod leaf;

use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey};
use protocol::{DeploymentId, Digest};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PublicKeyData, SerialNumber, SigningKey, date_time_ymd,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

pub use self::leaf::{IssuedLeaf, LeafProfile, MAX_CSR};
use crate::{CryptoFailure, pem};

/// What the subject says when Evidence proves nothing about hardware (promise P8).
pub const INSECURE_ORGANIZATION: &str = "INSECURE software TEE";
const ORGANIZATION: &str = "Casemate";
/// 2020-01-01T00:00:00Z.
const FIRST_SECOND: u64 = 1_577_836_800;
/// LIMIT: 9999-12-31T23:59:59Z, the last moment of GeneralizedTime (RFC 5280, section 4.1.2.5.2).
const LAST_SECOND: u64 = 253_402_300_799;
/// The AlgorithmIdentifier of ECDSA with SHA-256 (RFC 5758, section 3.2).
const ECDSA_WITH_SHA256: [u8; 12] = [0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
/// LIMIT: our CA certificates are under 1 KiB of PEM.
const MAX_CERTIFICATE: usize = 16 * 1024;

/// Why there is no certificate.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaError {
    /// The request is longer than [`MAX_CSR`].
    #[error("a certificate request of {got} bytes, at most {MAX_CSR} are read")]
    RequestTooLong {
        /// Its length.
        got: usize,
    },
    /// The request is no PKCS#10.
    #[error("the certificate request is not a PKCS #10 request")]
    RequestMalformed,
    /// A key or signature of another kind.
    #[error("the certificate request has another {what} than ECDSA on P-256 with SHA-256")]
    RequestAlgorithm {
        /// Key or signature.
        what: &'static str,
    },
    /// The request is not signed by the key that it holds.
    #[error("the certificate request is not signed by its own key")]
    NotPossessed,
    /// A profile without names, or with one that a certificate cannot carry.
    #[error("a certificate cannot carry the name `{name}`")]
    Name {
        /// The name.
        name: String,
    },
    /// No name at all.
    #[error("a certificate needs at least one name")]
    NoName,
    /// A time beyond what a certificate can express.
    #[error("{now} seconds since 1970 and a lifetime of {lifetime} seconds cannot be put into a certificate")]
    Time {
        /// The time given.
        now: u64,
        /// The lifetime given.
        lifetime: u64,
    },
    /// A stored CA certificate that this CA did not make.
    #[error("the stored certificate is not one of this {authority}: {what} differs")]
    NotOurs {
        /// Root CA or mesh CA.
        authority: &'static str,
        /// What differs.
        what: &'static str,
    },
    /// The certificate cannot be encoded: our side failed.
    #[error("a certificate cannot be encoded: {reason}")]
    Encode {
        /// The encoder's words.
        reason: String,
    },
    /// Our side failed.
    #[error(transparent)]
    Crypto(#[from] CryptoFailure),
}

impl From<rcgen::Error> for CaError {
    fn from(error: rcgen::Error) -> Self {
        Self::Encode { reason: error.to_string() }
    }
}

/// A CA's P-256 key.
pub(crate) struct CaKey {
    pair: EcdsaKeyPair,
}

impl CaKey {
    pub(crate) fn new(pair: EcdsaKeyPair) -> Self {
        Self { pair }
    }
}

impl PublicKeyData for CaKey {
    fn der_bytes(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl SigningKey for CaKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature = self.pair.sign(&SystemRandom::new(), message).map_err(|_| rcgen::Error::RingUnspecified)?;
        Ok(signature.as_ref().to_vec())
    }
}

/// A CA: its key, what its certificate says, and the certificate.
struct Authority {
    /// For error messages.
    what: &'static str,
    deployment: DeploymentId,
    insecure: bool,
    key: CaKey,
    params: CertificateParams,
    der: CertificateDer<'static>,
    pem: String,
}

fn subject(insecure: bool, common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, if insecure { INSECURE_ORGANIZATION } else { ORGANIZATION });
    name.push(DnType::CommonName, common_name);
    name
}

/// A DER element (X.690, section 8.1) of at most 65535 bytes, which our certificates do not come near.
fn der_element(tag: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(content.len()).unwrap_or(u16::MAX).to_be_bytes();
    let header = match (high, low) {
        (0, 0..0x80) => vec![tag, low],
        (0, _) => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    [header.as_slice(), content].concat()
}

/// Sets both dates, in seconds since 1970. The caller keeps them at or below [`LAST_SECOND`].
#[expect(clippy::arithmetic_side_effects, reason = "the clamped sum lies within the calendar")]
fn set_dates(params: &mut CertificateParams, not_before: u64, not_after: u64) {
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + Duration::from_secs(not_before.min(LAST_SECOND));
    params.not_after = epoch + Duration::from_secs(not_after.min(LAST_SECOND));
}

/// A positive serial number of 16 bytes without leading zeros (RFC 5280, section 4.1.2.2).
fn serial(mut bytes: [u8; 16]) -> [u8; 16] {
    if let Some(first) = bytes.first_mut() {
        *first = (*first & 0x7f) | 0x40;
    }
    bytes
}

fn ca_params(insecure: bool, name: &str, key: &CaKey, below: u8) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = subject(insecure, name);
    set_dates(&mut params, FIRST_SECOND, LAST_SECOND);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    let fingerprint = Digest::of_fields(&[b"casemate CA serial 1", name.as_bytes(), key.der_bytes()]);
    if let Some(bytes) = fingerprint.as_bytes().first_chunk::<16>() {
        params.serial_number = Some(SerialNumber::from_slice(&serial(*bytes)));
    }
    params
}

impl Authority {
    fn from_der(
        what: &'static str,
        deployment: DeploymentId,
        insecure: bool,
        key: CaKey,
        params: CertificateParams,
        der: CertificateDer<'static>,
    ) -> Self {
        let pem = pem::encode("CERTIFICATE", &der).to_string();
        Self { what, deployment, insecure, key, params, der, pem }
    }

    /// Replaces the certificate by one that was kept, if `signer` made it and all else is equal.
    fn with_certificate(mut self, kept: &str, signer: &[u8]) -> Result<Self, CaError> {
        let authority = self.what;
        let differs = |what| CaError::NotOurs { authority, what };
        if kept.len() > MAX_CERTIFICATE {
            return Err(differs("length"));
        }
        let der = CertificateDer::from_pem_slice(kept.as_bytes()).map_err(|_| differs("encoding"))?;
        let parse = x509_parser::parse_x509_certificate;
        let (_, old) = parse(&der).map_err(|_| differs("encoding"))?;
        let (_, own) = parse(&self.der).map_err(|_| CryptoFailure::new("parse an own certificate"))?;
        let (contents, signature) = (own.tbs_certificate.as_ref(), &old.signature_value.data);
        if old.tbs_certificate.as_ref() != contents {
            return Err(differs("subject, key or extension"));
        }
        // The parser is lenient about what stands around the signed part; we are not.
        let around = [contents, &ECDSA_WITH_SHA256, &der_element(0x03, &[&[0], signature.as_ref()].concat())];
        if der_element(0x30, &around.concat()) != *der {
            return Err(differs("encoding"));
        }
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, signer)
            .verify(contents, signature)
            .map_err(|_| differs("signature"))?;
        self.pem = pem::encode("CERTIFICATE", &der).to_string();
        self.der = der;
        Ok(self)
    }
}

/// The root CA of a deployment.
pub struct RootCa(Authority);

impl std::fmt::Debug for RootCa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RootCa({})", self.0.deployment)
    }
}

impl RootCa {
    pub(crate) fn create(key: CaKey, deployment: DeploymentId, insecure: bool) -> Result<Self, CaError> {
        let params = ca_params(insecure, &format!("casemate root {deployment}"), &key, 1);
        let der = params.self_signed(&key)?.der().clone();
        Ok(Self(Authority::from_der("root CA", deployment, insecure, key, params, der)))
    }

    pub(crate) fn restore(
        key: CaKey,
        deployment: DeploymentId,
        insecure: bool,
        certificate_pem: &str,
    ) -> Result<Self, CaError> {
        let signer = key.der_bytes().to_vec();
        let fresh = Self::create(key, deployment, insecure)?;
        fresh.0.with_certificate(certificate_pem, &signer).map(Self)
    }

    /// The certificate.
    pub fn certificate_pem(&self) -> &str {
        &self.0.pem
    }

    /// The certificate, DER.
    pub fn certificate_der(&self) -> &CertificateDer<'static> {
        &self.0.der
    }
}

/// The mesh CA of one generation.
pub struct MeshCa(Authority);

impl std::fmt::Debug for MeshCa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MeshCa({})", self.0.deployment)
    }
}

impl MeshCa {
    pub(crate) fn create(root: &RootCa, key: CaKey, generation: u64) -> Result<Self, CaError> {
        let RootCa(root) = root;
        let name = format!("casemate mesh {} generation {generation}", root.deployment);
        let params = ca_params(root.insecure, &name, &key, 0);
        let der = params.signed_by(&key, &Issuer::from_params(&root.params, &root.key))?.der().clone();
        Ok(Self(Authority::from_der("mesh CA", root.deployment, root.insecure, key, params, der)))
    }

    pub(crate) fn restore(root: &RootCa, key: CaKey, generation: u64, certificate_pem: &str) -> Result<Self, CaError> {
        let fresh = Self::create(root, key, generation)?;
        fresh.0.with_certificate(certificate_pem, root.0.key.der_bytes()).map(Self)
    }

    /// The certificate.
    pub fn certificate_pem(&self) -> &str {
        &self.0.pem
    }

    /// The certificate, DER.
    pub fn certificate_der(&self) -> &CertificateDer<'static> {
        &self.0.der
    }

    /// Issues a leaf certificate to the holder of the request's key. The request's own names and extensions are
    /// ignored: what the certificate says is the profile's alone.
    ///
    /// Whoever calls this has decided that the profile is right; nothing in here looks at Evidence.
    pub fn issue(&self, csr_der: &[u8], profile: &LeafProfile<'_>) -> Result<IssuedLeaf, CaError> {
        leaf::issue(&self.0.params, &self.0.key, &self.0.pem, csr_der, profile)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::{KeySchedule, Seed};

    fn schedule() -> KeySchedule {
        KeySchedule::new(&Seed::generate().unwrap(), DeploymentId::from_bytes([5; 16]))
    }

    fn text(pem: &str) -> (String, String) {
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let (_, certificate) = x509_parser::parse_x509_certificate(&der).unwrap();
        (certificate.subject().to_string(), certificate.issuer().to_string())
    }

    #[test]
    fn certificates_say_insecure_when_evidence_is_software() {
        let schedule = schedule();
        let root = schedule.root_ca(true).unwrap();
        let mesh = schedule.mesh_ca(&root, 3).unwrap();
        let id = "05050505050505050505050505050505";
        let root_name = format!("O=INSECURE software TEE, CN=casemate root {id}");
        assert_eq!(text(root.certificate_pem()), (root_name.clone(), root_name.clone()));
        let mesh_name = format!("O=INSECURE software TEE, CN=casemate mesh {id} generation 3");
        assert_eq!(text(mesh.certificate_pem()), (mesh_name, root_name));
        let hardware = schedule.root_ca(false).unwrap();
        assert_eq!(text(hardware.certificate_pem()).0, format!("O=Casemate, CN=casemate root {id}"));
    }

    #[test]
    fn a_kept_certificate_is_restored_byte_by_byte() {
        let schedule = schedule();
        let root = schedule.root_ca(true).unwrap();
        let again = schedule.restore_root_ca(true, root.certificate_pem()).unwrap();
        assert_eq!(again.certificate_pem(), root.certificate_pem());
        assert_eq!(again.certificate_der(), root.certificate_der());
        let mesh = schedule.mesh_ca(&root, 2).unwrap();
        let mesh_again = schedule.restore_mesh_ca(&again, 2, mesh.certificate_pem()).unwrap();
        assert_eq!(mesh_again.certificate_pem(), mesh.certificate_pem());
    }

    #[test]
    fn a_certificate_of_another_ca_is_not_restored() {
        let (schedule, other) = (schedule(), schedule());
        let root = schedule.root_ca(true).unwrap();
        let foreign = other.root_ca(true).unwrap();
        let not_ours = |authority, what| CaError::NotOurs { authority, what };
        let restore = |pem: &str| schedule.restore_root_ca(true, pem).unwrap_err();
        assert_eq!(restore(foreign.certificate_pem()), not_ours("root CA", "subject, key or extension"));
        let hardware = schedule.root_ca(false).unwrap();
        assert_eq!(restore(hardware.certificate_pem()), not_ours("root CA", "subject, key or extension"));
        assert_eq!(restore(""), not_ours("root CA", "encoding"));
        assert_eq!(restore(&"x".repeat(MAX_CERTIFICATE + 1)), not_ours("root CA", "length"));
        let mut resigned = root.certificate_der().to_vec();
        *resigned.last_mut().unwrap() ^= 1;
        assert_eq!(restore(&pem::encode("CERTIFICATE", &resigned)), not_ours("root CA", "signature"));
        let mut trailing = root.certificate_der().to_vec();
        trailing.push(0);
        assert_eq!(restore(&pem::encode("CERTIFICATE", &trailing)), not_ours("root CA", "encoding"));

        let mesh = schedule.mesh_ca(&root, 1).unwrap();
        let wrong_generation = schedule.restore_mesh_ca(&root, 2, mesh.certificate_pem()).unwrap_err();
        assert_eq!(wrong_generation, not_ours("mesh CA", "subject, key or extension"));
        let foreign_mesh = other.mesh_ca(&foreign, 1).unwrap();
        let foreign_mesh = schedule.restore_mesh_ca(&root, 1, foreign_mesh.certificate_pem()).unwrap_err();
        assert_eq!(foreign_mesh, not_ours("mesh CA", "subject, key or extension"));
    }

    #[test]
    fn every_changed_byte_of_a_kept_certificate_is_noticed() {
        let schedule = schedule();
        let root = schedule.root_ca(true).unwrap();
        let der = root.certificate_der().to_vec();
        for index in 0..der.len() {
            let mut changed = der.clone();
            changed[index] ^= 1;
            let error = schedule.restore_root_ca(true, &pem::encode("CERTIFICATE", &changed)).unwrap_err();
            assert!(matches!(error, CaError::NotOurs { .. }), "byte {index}: {error}");
        }
    }

    #[test]
    fn serial_numbers_are_positive_and_of_full_length() {
        assert_eq!(serial([0; 16])[0], 0x40);
        assert_eq!(serial([0xff; 16])[0], 0x7f);
    }
}
