//! The pod's key: born in the TEE, never leaving it, kept for the life of the pod so that a renewal replaces one file and
//! an application never sees a certificate without its key.

use anyhow::Context as _;
use rcgen::{CertificateParams, KeyPair, PublicKeyData as _};
use zeroize::Zeroizing;

/// An ECDSA P-256 key.
pub(crate) struct Key(KeyPair);

impl Key {
    /// A new random key.
    pub(crate) fn generate() -> anyhow::Result<Self> {
        KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map(Self).context("generate a key")
    }

    /// A key that was kept.
    pub(crate) fn from_pem(pem: &str) -> anyhow::Result<Self> {
        KeyPair::from_pkcs8_pem_and_sign_algo(pem, &rcgen::PKCS_ECDSA_P256_SHA256).map(Self).context("read the key")
    }

    /// PKCS #8, PEM.
    pub(crate) fn to_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.0.serialize_pem())
    }

    /// SubjectPublicKeyInfo, as certificates carry it.
    pub(crate) fn public(&self) -> Vec<u8> {
        self.0.subject_public_key_info()
    }

    /// A PKCS #10 request (DER) that proves possession. It names nobody: names come from the manifest.
    pub(crate) fn request(&self) -> anyhow::Result<Vec<u8>> {
        let request = CertificateParams::default().serialize_request(&self.0).context("make a certificate request")?;
        Ok(request.der().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_its_pem_form() {
        let key = Key::generate().unwrap();
        let again = Key::from_pem(&key.to_pem()).unwrap();
        assert_eq!(again.public(), key.public());
        assert!(Key::from_pem("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n").is_err());
    }
}
