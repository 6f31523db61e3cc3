//! Leaf certificates.

use std::time::Duration;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use protocol::{DeploymentId, Identity, api};
use rcgen::string::Ia5String;
use rcgen::{
    CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData,
    SanType, SerialNumber,
};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::oid_registry::{OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_SIG_ECDSA_WITH_SHA256};
use x509_parser::prelude::FromDer as _;

use super::{CaError, CaKey, LAST_SECOND, serial, set_dates, subject};
use crate::pem;

/// LIMIT: a P-256 request without extensions is under 300 bytes; names are ignored, but some tools always write them.
pub const MAX_CSR: usize = 4096;
/// Certificates begin this much before the Coordinator's now, for peers whose clocks lag.
const BACKDATE_SECONDS: u64 = 60;
/// LIMIT: RFC 5280, appendix A.1, `ub-common-name`. A longer name is in the subject alternative names alone, which is
/// the only place where TLS looks.
const MAX_COMMON_NAME: usize = 64;
/// 0x04, then two coordinates of 32 bytes.
const P256_POINT: usize = 65;

/// What a leaf certificate says.
#[derive(Clone, Debug)]
pub struct LeafProfile<'a> {
    /// The deployment, for the SPIFFE id.
    pub deployment: DeploymentId,
    /// DNS names; the first is the workload's name, and part of the SPIFFE id.
    pub names: &'a [String],
    /// The identity that the Evidence showed.
    pub identity: Identity,
    /// Whether that Evidence proves nothing about hardware.
    pub insecure: bool,
    /// How long the certificate lasts.
    pub lifetime: Duration,
    /// Now, in seconds since 1970.
    pub now: u64,
}

/// A leaf certificate that was just issued. It holds no secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IssuedLeaf {
    /// Leaf and mesh CA, PEM.
    pub chain_pem: String,
    /// The serial number, hex.
    pub serial_hex: String,
    /// When it ends, in seconds since 1970.
    pub not_after: u64,
}

/// A workload's key, as its request has it.
struct LeafKey(Vec<u8>);

impl PublicKeyData for LeafKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

/// Takes the key out of a request, once the request's signature has shown that the requester holds it.
fn possessed_key(csr_der: &[u8]) -> Result<LeafKey, CaError> {
    if csr_der.len() > MAX_CSR {
        return Err(CaError::RequestTooLong { got: csr_der.len() });
    }
    let (rest, csr) = X509CertificationRequest::from_der(csr_der).map_err(|_| CaError::RequestMalformed)?;
    if !rest.is_empty() {
        return Err(CaError::RequestMalformed);
    }
    let info = &csr.certification_request_info;
    let key_algorithm = &info.subject_pki.algorithm;
    let curve = key_algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
    let point = &info.subject_pki.subject_public_key.data;
    if key_algorithm.algorithm != OID_KEY_TYPE_EC_PUBLIC_KEY
        || curve != Some(OID_EC_P256)
        || point.len() != P256_POINT
        || point.first() != Some(&4)
    {
        return Err(CaError::RequestAlgorithm { what: "key" });
    }
    if csr.signature_algorithm.algorithm != OID_SIG_ECDSA_WITH_SHA256 {
        return Err(CaError::RequestAlgorithm { what: "signature" });
    }
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point.as_ref())
        .verify(info.raw, &csr.signature_value.data)
        .map_err(|_| CaError::NotPossessed)?;
    Ok(LeafKey(point.to_vec()))
}

fn text(name: &str) -> Result<Ia5String, CaError> {
    Ia5String::try_from(name).map_err(|_| CaError::Name { name: name.chars().take(80).collect() })
}

pub(super) fn issue(
    ca: &CertificateParams,
    ca_key: &CaKey,
    ca_pem: &str,
    csr_der: &[u8],
    profile: &LeafProfile<'_>,
) -> Result<IssuedLeaf, CaError> {
    let key = possessed_key(csr_der)?;
    let name = profile.names.first().ok_or(CaError::NoName)?;
    let lifetime = profile.lifetime.as_secs();
    let not_after = profile
        .now
        .checked_add(lifetime)
        .filter(|end| *end <= LAST_SECOND)
        .ok_or(CaError::Time { now: profile.now, lifetime })?;
    let serial_bytes = serial(crate::random()?);

    let mut params = CertificateParams::default();
    params.distinguished_name =
        subject(profile.insecure, if name.len() <= MAX_COMMON_NAME { name } else { "workload" });
    params.serial_number = Some(SerialNumber::from_slice(&serial_bytes));
    set_dates(&mut params, profile.now.saturating_sub(BACKDATE_SECONDS), not_after);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    for dns in profile.names {
        params.subject_alt_names.push(SanType::DnsName(text(dns)?));
    }
    for uri in [api::spiffe_id(profile.deployment, name), api::identity_uri(profile.identity)] {
        params.subject_alt_names.push(SanType::URI(text(&uri)?));
    }
    let certificate = params.signed_by(&key, &Issuer::from_params(ca, ca_key))?;
    let leaf_pem = pem::encode("CERTIFICATE", certificate.der());
    Ok(IssuedLeaf { chain_pem: format!("{}{ca_pem}", *leaf_pem), serial_hex: hex::encode(serial_bytes), not_after })
}

#[cfg(test)]
mod tests {
    use protocol::Digest;
    use rcgen::{DnType, KeyPair};
    use rustls_pki_types::pem::PemObject as _;
    use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
    use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
    use x509_parser::extensions::GeneralName;

    use super::*;
    use crate::ca::{MeshCa, RootCa};
    use crate::seed::{KeySchedule, Seed};

    const NOW: u64 = 1_800_000_000;

    fn cas() -> (RootCa, MeshCa) {
        let schedule = KeySchedule::new(&Seed::generate().unwrap(), deployment());
        let root = schedule.root_ca(true).unwrap();
        let mesh = schedule.mesh_ca(&root, 1).unwrap();
        (root, mesh)
    }

    fn deployment() -> DeploymentId {
        DeploymentId::from_bytes([5; 16])
    }

    fn profile(names: &[String]) -> LeafProfile<'_> {
        LeafProfile {
            deployment: deployment(),
            names,
            identity: Identity(Digest::of(b"identity")),
            insecure: true,
            lifetime: Duration::from_mins(5),
            now: NOW,
        }
    }

    fn names() -> Vec<String> {
        vec!["inference".to_owned(), "inference.default".to_owned()]
    }

    /// A request that asks for names and powers that it must not get.
    fn greedy_csr(key: &KeyPair) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["coordinator".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "root of all");
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.serialize_request(key).unwrap().der().to_vec()
    }

    fn csr() -> Vec<u8> {
        greedy_csr(&KeyPair::generate().unwrap())
    }

    fn chain(leaf: &IssuedLeaf) -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_slice_iter(leaf.chain_pem.as_bytes()).map(Result::unwrap).collect()
    }

    /// webpki as an independent referee.
    fn referee(
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        anchor: &CertificateDer<'_>,
        now: u64,
        usage: KeyUsage,
    ) -> Result<(), webpki::Error> {
        let anchor = anchor_from_trusted_cert(anchor)?;
        let end = EndEntityCert::try_from(leaf)?;
        end.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &[anchor],
            intermediates,
            UnixTime::since_unix_epoch(Duration::from_secs(now)),
            usage,
            None,
            None,
        )?;
        end.verify_is_valid_for_subject_name(&ServerName::try_from("inference.default").unwrap())
    }

    #[test]
    fn webpki_accepts_a_leaf_under_the_root_and_under_the_mesh_ca_for_both_usages() {
        let (root, mesh) = cas();
        let leaf = mesh.issue(&csr(), &profile(&names())).unwrap();
        let chain = chain(&leaf);
        assert_eq!(chain.len(), 2);
        assert_eq!(&chain[1], mesh.certificate_der());
        for usage in [KeyUsage::server_auth, KeyUsage::client_auth] {
            referee(&chain[0], &chain[1..], root.certificate_der(), NOW, usage()).unwrap();
            referee(&chain[0], &[], mesh.certificate_der(), NOW, usage()).unwrap();
        }
        assert_eq!(leaf.not_after, NOW + 300);
    }

    #[test]
    fn webpki_refuses_a_leaf_out_of_time_or_under_another_root() {
        let (root, mesh) = cas();
        let leaf = mesh.issue(&csr(), &profile(&names())).unwrap();
        let chain = chain(&leaf);
        let check = |anchor: &RootCa, now| {
            referee(&chain[0], &chain[1..], anchor.certificate_der(), now, KeyUsage::server_auth())
        };
        assert!(matches!(check(&root, NOW + 301), Err(webpki::Error::CertExpired { .. })));
        assert!(matches!(check(&root, NOW - 61), Err(webpki::Error::CertNotValidYet { .. })));
        assert_eq!(check(&root, NOW - 60), Ok(()));
        let (other, _) = cas();
        assert!(check(&other, NOW).is_err());
    }

    #[test]
    fn the_certificate_says_what_the_profile_says_and_nothing_of_the_request() {
        let (_, mesh) = cas();
        let key = KeyPair::generate().unwrap();
        let leaf = mesh.issue(&greedy_csr(&key), &profile(&names())).unwrap();
        let chain = chain(&leaf);
        let (_, certificate) = x509_parser::parse_x509_certificate(&chain[0]).unwrap();
        assert_eq!(certificate.subject().to_string(), "O=INSECURE software TEE, CN=inference");
        assert_eq!(certificate.public_key().subject_public_key.data.as_ref(), key.public_key_raw());
        assert!(!certificate.is_ca());
        let usage = certificate.key_usage().unwrap().unwrap().value;
        assert!(usage.digital_signature() && !usage.key_cert_sign());
        let mut found = Vec::new();
        for name in &certificate.subject_alternative_name().unwrap().unwrap().value.general_names {
            match name {
                GeneralName::DNSName(name) | GeneralName::URI(name) => found.push((*name).to_owned()),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(
            found,
            [
                "inference".to_owned(),
                "inference.default".to_owned(),
                "spiffe://05050505050505050505050505050505/inference".to_owned(),
                format!("casemate:identity:{}", Digest::of(b"identity")),
            ]
        );
        assert_eq!(hex::encode(certificate.raw_serial()), leaf.serial_hex);
        let names = names();
        let leaf = mesh.issue(&csr(), &LeafProfile { insecure: false, ..profile(&names) }).unwrap();
        let chain = self::chain(&leaf);
        let (_, certificate) = x509_parser::parse_x509_certificate(&chain[0]).unwrap();
        assert_eq!(certificate.subject().to_string(), "O=Casemate, CN=inference");
    }

    #[test]
    fn serial_numbers_do_not_repeat() {
        let (_, mesh) = cas();
        let (csr, names) = (csr(), names());
        let first = mesh.issue(&csr, &profile(&names)).unwrap();
        assert_ne!(mesh.issue(&csr, &profile(&names)).unwrap().serial_hex, first.serial_hex);
    }

    #[test]
    fn requests_out_of_form_are_refused() {
        let (_, mesh) = cas();
        let names = names();
        let check = |csr: &[u8], expected| assert_eq!(mesh.issue(csr, &profile(&names)).unwrap_err(), expected);
        check(&[], CaError::RequestMalformed);
        check(b"hello", CaError::RequestMalformed);
        check(&vec![0x30; MAX_CSR + 1], CaError::RequestTooLong { got: MAX_CSR + 1 });
        let mut trailing = csr();
        trailing.push(0);
        check(&trailing, CaError::RequestMalformed);
        let p384 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        check(&greedy_csr(&p384), CaError::RequestAlgorithm { what: "key" });
        let ed25519 = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        check(&greedy_csr(&ed25519), CaError::RequestAlgorithm { what: "key" });
    }

    #[test]
    fn a_request_for_somebody_else_s_key_is_refused() {
        let (_, mesh) = cas();
        let names = names();
        let (own, victim) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        // The victim's public key under the thief's signature: both points are 65 bytes long.
        let mut csr = greedy_csr(&own);
        let at = csr.windows(65).position(|window| window == own.public_key_raw()).unwrap();
        csr[at..at + 65].copy_from_slice(victim.public_key_raw());
        assert_eq!(mesh.issue(&csr, &profile(&names)).unwrap_err(), CaError::NotPossessed);
    }

    #[test]
    fn no_changed_byte_of_a_request_gets_another_key_certified() {
        let (_, mesh) = cas();
        let names = names();
        let key = KeyPair::generate().unwrap();
        let csr = greedy_csr(&key);
        for index in 0..csr.len() {
            for bit in [1, 0x80] {
                let mut changed = csr.clone();
                changed[index] ^= bit;
                // The parser is lenient about the headers around the signed part, which hold nothing that is used.
                if let Ok(leaf) = mesh.issue(&changed, &profile(&names)) {
                    let chain = chain(&leaf);
                    let (_, certificate) = x509_parser::parse_x509_certificate(&chain[0]).unwrap();
                    let certified = certificate.public_key().subject_public_key.data.as_ref();
                    assert_eq!(certified, key.public_key_raw(), "byte {index}");
                }
            }
            assert!(mesh.issue(&csr[..index], &profile(&names)).is_err(), "cut at {index}");
        }
    }

    #[test]
    fn profiles_that_cannot_be_certified_are_refused() {
        let (_, mesh) = cas();
        let csr = csr();
        assert_eq!(mesh.issue(&csr, &profile(&[])).unwrap_err(), CaError::NoName);
        let names = ["ok".to_owned(), "naïve".to_owned()];
        assert_eq!(mesh.issue(&csr, &profile(&names)).unwrap_err(), CaError::Name { name: "naïve".to_owned() });
        let names = self::names();
        for (now, lifetime) in [(u64::MAX, 1), (LAST_SECOND, 1), (0, u64::MAX)] {
            let profile = LeafProfile { now, lifetime: Duration::from_secs(lifetime), ..profile(&names) };
            assert_eq!(mesh.issue(&csr, &profile).unwrap_err(), CaError::Time { now, lifetime });
        }
        let edge = LeafProfile { now: LAST_SECOND - 1, lifetime: Duration::from_secs(1), ..profile(&names) };
        assert_eq!(mesh.issue(&csr, &edge).unwrap().not_after, LAST_SECOND);
        let start = LeafProfile { now: 0, ..profile(&names) };
        assert!(mesh.issue(&csr, &start).is_ok());
    }

    #[test]
    fn a_name_too_long_for_the_subject_is_still_certified() {
        let (_, mesh) = cas();
        let long = ["a".repeat(60), "b".repeat(60)].join(".");
        let names = [long.clone()];
        let leaf = mesh.issue(&csr(), &profile(&names)).unwrap();
        let chain = chain(&leaf);
        let end = EndEntityCert::try_from(&chain[0]).unwrap();
        assert_eq!(end.verify_is_valid_for_subject_name(&ServerName::try_from(long).unwrap()), Ok(()));
    }
}
