//! Public keys and signatures of the algorithms that hardware vendors use, checked with aws-lc-rs.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA384_ASN1, ECDSA_P384_SHA256_ASN1,
    ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA384_FIXED, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PSS_2048_8192_SHA384, UnparsedPublicKey, VerificationAlgorithm,
};
use x509_parser::signature_algorithm::RsaSsaPssParams;
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo};

/// An algorithm that no vendor's document should use.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("algorithm {oid} is not one that is accepted here")]
pub struct UnsupportedAlgorithm {
    /// Its object identifier, with what is wrong about its parameters.
    pub oid: String,
}

/// How a signature in a certificate, CRL or OCSP response was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SignatureAlgorithm {
    /// RSASSA-PSS with SHA-384, MGF1 with SHA-384 and 48 bytes of salt: AMD.
    RsaPssSha384,
    /// PKCS #1 v1.5.
    RsaSha256,
    /// PKCS #1 v1.5.
    RsaSha384,
    /// ECDSA with SHA-256, on the key's curve: Intel.
    EcdsaSha256,
    /// ECDSA with SHA-384, on the key's curve: NVIDIA.
    EcdsaSha384,
}

const SHA384: &str = "2.16.840.1.101.3.4.2.2";
const MGF1: &str = "1.2.840.113549.1.1.8";

impl SignatureAlgorithm {
    /// Reads an AlgorithmIdentifier. SHA-1 and everything else is refused.
    pub(crate) fn parse(algorithm: &AlgorithmIdentifier<'_>) -> Result<Self, UnsupportedAlgorithm> {
        let oid = algorithm.algorithm.to_id_string();
        match oid.as_str() {
            "1.2.840.113549.1.1.10" => {
                let unsupported = || UnsupportedAlgorithm { oid: format!("{oid} (RSASSA-PSS not with SHA-384)") };
                let parameters = algorithm.parameters.as_ref().ok_or_else(unsupported)?;
                let parameters = RsaSsaPssParams::try_from(parameters).map_err(|_| unsupported())?;
                let mask = parameters.mask_gen_algorithm().map_err(|_| unsupported())?;
                let exact = parameters.hash_algorithm_oid().to_id_string() == SHA384
                    && mask.mgf.to_id_string() == MGF1
                    && mask.hash.to_id_string() == SHA384
                    && parameters.salt_length() == 48
                    && parameters.trailer_field() == 1;
                if exact { Ok(Self::RsaPssSha384) } else { Err(unsupported()) }
            }
            "1.2.840.113549.1.1.11" => Ok(Self::RsaSha256),
            "1.2.840.113549.1.1.12" => Ok(Self::RsaSha384),
            "1.2.840.10045.4.3.2" => Ok(Self::EcdsaSha256),
            "1.2.840.10045.4.3.3" => Ok(Self::EcdsaSha384),
            _ => Err(UnsupportedAlgorithm { oid }),
        }
    }
}

/// A public key, in the form in which aws-lc-rs takes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum PublicKey {
    /// An RSAPublicKey in DER, 2048 to 8192 bits (checked at use).
    Rsa(Vec<u8>),
    /// An uncompressed point of P-256, 65 bytes.
    P256(Vec<u8>),
    /// An uncompressed point of P-384, 97 bytes.
    P384(Vec<u8>),
}

impl PublicKey {
    pub(crate) fn parse(spki: &SubjectPublicKeyInfo<'_>) -> Result<Self, UnsupportedAlgorithm> {
        let oid = spki.algorithm.algorithm.to_id_string();
        let bytes = spki.subject_public_key.data.to_vec();
        match oid.as_str() {
            "1.2.840.113549.1.1.1" => Ok(Self::Rsa(bytes)),
            "1.2.840.10045.2.1" => {
                let curve = spki
                    .algorithm
                    .parameters
                    .as_ref()
                    .and_then(|parameters| parameters.as_oid().ok())
                    .map(|curve| curve.to_id_string())
                    .unwrap_or_default();
                match (curve.as_str(), bytes.len()) {
                    ("1.2.840.10045.3.1.7", 65) => Ok(Self::P256(bytes)),
                    ("1.3.132.0.34", 97) => Ok(Self::P384(bytes)),
                    _ => Err(UnsupportedAlgorithm { oid: format!("{oid} (curve {curve}, {} bytes)", bytes.len()) }),
                }
            }
            _ => Err(UnsupportedAlgorithm { oid }),
        }
    }

    /// The name for people.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "RSA",
            Self::P256(_) => "P-256",
            Self::P384(_) => "P-384",
        }
    }

    /// The key's own bytes: an elliptic-curve point, or RSAPublicKey.
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Rsa(bytes) | Self::P256(bytes) | Self::P384(bytes) => bytes,
        }
    }

    /// Whether the signature is good. An algorithm that does not fit the key is no good signature.
    pub(crate) fn verify(&self, algorithm: SignatureAlgorithm, message: &[u8], signature: &[u8]) -> bool {
        let algorithm: &'static dyn VerificationAlgorithm = match (self, algorithm) {
            (Self::Rsa(_), SignatureAlgorithm::RsaPssSha384) => &RSA_PSS_2048_8192_SHA384,
            (Self::Rsa(_), SignatureAlgorithm::RsaSha256) => &RSA_PKCS1_2048_8192_SHA256,
            (Self::Rsa(_), SignatureAlgorithm::RsaSha384) => &RSA_PKCS1_2048_8192_SHA384,
            (Self::P256(_), SignatureAlgorithm::EcdsaSha256) => &ECDSA_P256_SHA256_ASN1,
            (Self::P256(_), SignatureAlgorithm::EcdsaSha384) => &ECDSA_P256_SHA384_ASN1,
            (Self::P384(_), SignatureAlgorithm::EcdsaSha256) => &ECDSA_P384_SHA256_ASN1,
            (Self::P384(_), SignatureAlgorithm::EcdsaSha384) => &ECDSA_P384_SHA384_ASN1,
            (Self::Rsa(_), SignatureAlgorithm::EcdsaSha256 | SignatureAlgorithm::EcdsaSha384)
            | (
                Self::P256(_) | Self::P384(_),
                SignatureAlgorithm::RsaPssSha384 | SignatureAlgorithm::RsaSha256 | SignatureAlgorithm::RsaSha384,
            ) => return false,
        };
        UnparsedPublicKey::new(algorithm, self.bytes()).verify(message, signature).is_ok()
    }

    /// Whether a signature that is r and s side by side, big-endian, is good: SHA-256 on P-256 (64 bytes), SHA-384 on
    /// P-384 (96 bytes). So do quotes, SPDM and XML write them.
    pub(crate) fn verify_fixed(&self, message: &[u8], signature: &[u8]) -> bool {
        let algorithm: &'static dyn VerificationAlgorithm = match self {
            Self::P256(_) => &ECDSA_P256_SHA256_FIXED,
            Self::P384(_) => &ECDSA_P384_SHA384_FIXED,
            Self::Rsa(_) => return false,
        };
        UnparsedPublicKey::new(algorithm, self.bytes()).verify(message, signature).is_ok()
    }

    /// The key made ready for [`PreparedKey::verify_fixed`], for keys that verify many signatures: preparing it once
    /// saves the check that the point lies on the curve.
    pub(crate) fn prepare_fixed(&self) -> Option<PreparedKey> {
        let algorithm: &'static dyn VerificationAlgorithm = match self {
            Self::P256(_) => &ECDSA_P256_SHA256_FIXED,
            Self::P384(_) => &ECDSA_P384_SHA384_FIXED,
            Self::Rsa(_) => return None,
        };
        ParsedPublicKey::new(algorithm, self.bytes()).ok().map(PreparedKey)
    }
}

/// A key of an elliptic curve that was found to lie on it.
#[derive(Debug)]
pub(crate) struct PreparedKey(ParsedPublicKey);

impl PreparedKey {
    /// As [`PublicKey::verify_fixed`].
    pub(crate) fn verify_fixed(&self, message: &[u8], signature: &[u8]) -> bool {
        self.0.verify_sig(message, signature).is_ok()
    }
}
