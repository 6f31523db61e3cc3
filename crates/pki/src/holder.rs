//! Seed-share holders: each gets one Shamir share, encrypted with RSA-4096 OAEP-SHA256 (MGF1 with SHA-256, empty label).

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::{
    KeyPair, KeySize, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, OaepPublicEncryptingKey, PrivateDecryptingKey,
    PublicEncryptingKey,
};
use protocol::Secret;
use protocol::api::EncryptedShare;
use protocol::manifest::PublicKey;
use rustls_pki_types::PrivateKeyDer;
use zeroize::Zeroizing;

use crate::CryptoFailure;
use crate::pem::{self, PemError};

/// The one key size.
const BITS: usize = 4096;
/// A ciphertext is as long as the modulus (RFC 8017, section 7.1.1).
const CIPHERTEXT: usize = 512;
/// LIMIT: the SubjectPublicKeyInfo of a 4096-bit key with exponent 65537 is 550 bytes.
const MAX_SPKI: usize = 600;

/// A holder's private key.
pub struct HolderKey {
    key: OaepPrivateDecryptingKey,
    pkcs8: Secret,
    public: PublicKey,
}

/// A key or share that cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HolderError {
    /// No PEM of a private key.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// A key of another kind or size.
    #[error("the key is not an RSA key of {BITS} bits in its canonical encoding")]
    NotRsa4096,
    /// The share is encrypted to somebody else.
    #[error("the share is for holder {}, this key is {}", share.short(), key.short())]
    OtherHolder {
        /// Whom the share is for.
        share: protocol::Digest,
        /// This key's id.
        key: protocol::Digest,
    },
    /// A ciphertext that this key does not open.
    #[error("the share cannot be decrypted: it is damaged or was made for another key")]
    Decrypt,
    /// A share longer than OAEP can carry.
    #[error("a share of {got} bytes is too long to encrypt")]
    TooLong {
        /// Its length.
        got: usize,
    },
    /// Our side failed.
    #[error(transparent)]
    Crypto(#[from] CryptoFailure),
}

impl HolderKey {
    /// A new random key. Takes about a second.
    pub fn generate() -> Result<Self, HolderError> {
        let key = PrivateDecryptingKey::generate(KeySize::Rsa4096)
            .map_err(|_| CryptoFailure::new("generate a holder key"))?;
        Self::from_key(key)
    }

    /// Reads a key from PEM: PKCS#8 (`PRIVATE KEY`) or PKCS#1 (`RSA PRIVATE KEY`), unencrypted.
    pub fn from_pem(text: &str) -> Result<Self, HolderError> {
        let key = match pem::private_key(text)? {
            PrivateKeyDer::Pkcs8(der) => PrivateDecryptingKey::from_pkcs8(der.secret_pkcs8_der()),
            PrivateKeyDer::Pkcs1(der) => {
                let pair = KeyPair::from_der(der.secret_pkcs1_der()).map_err(|_| HolderError::NotRsa4096)?;
                let der: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| CryptoFailure::new("encode a holder key"))?;
                PrivateDecryptingKey::from_pkcs8(der.as_ref())
            }
            _ => return Err(HolderError::NotRsa4096),
        };
        Self::from_key(key.map_err(|_| HolderError::NotRsa4096)?)
    }

    fn from_key(key: PrivateDecryptingKey) -> Result<Self, HolderError> {
        let failed = |_| CryptoFailure::new("encode a holder key");
        if key.key_size_bits() != BITS {
            return Err(HolderError::NotRsa4096);
        }
        let pkcs8: Pkcs8V1Der<'_> = key.as_der().map_err(failed)?;
        let pkcs8 = Secret::new(pkcs8.as_ref().to_vec());
        let public = PublicKey(key.public_key().as_der().map_err(failed)?.as_ref().to_vec());
        let key = OaepPrivateDecryptingKey::new(key).map_err(failed)?;
        Ok(Self { key, pkcs8, public })
    }

    /// The key as PKCS#8 PEM, for a file that only its holder can read.
    pub fn to_pem(&self) -> Zeroizing<String> {
        pem::encode("PRIVATE KEY", self.pkcs8.expose())
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        self.public.clone()
    }

    /// Opens a share that was encrypted to this key. That it is the right share is only seen when the seed is rebuilt.
    pub fn decrypt(&self, share: &EncryptedShare) -> Result<Secret, HolderError> {
        if share.holder != self.public.id() {
            return Err(HolderError::OtherHolder { share: share.holder, key: self.public.id() });
        }
        if share.ciphertext.len() != CIPHERTEXT {
            return Err(HolderError::Decrypt);
        }
        let mut buffer = Zeroizing::new(vec![0; CIPHERTEXT]);
        let plain = self
            .key
            .decrypt(&OAEP_SHA256_MGF1SHA256, &share.ciphertext, &mut buffer, None)
            .map_err(|_| HolderError::Decrypt)?;
        Ok(Secret::new(plain.to_vec()))
    }
}

impl std::fmt::Debug for HolderKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HolderKey({})", self.public.id().short())
    }
}

/// Parses a holder's public key and refuses all but the canonical encoding: another encoding of the same key would
/// pass for a second holder.
fn encrypting_key(holder: &PublicKey) -> Result<OaepPublicEncryptingKey, HolderError> {
    if holder.0.len() > MAX_SPKI {
        return Err(HolderError::NotRsa4096);
    }
    let key = PublicEncryptingKey::from_der(&holder.0).map_err(|_| HolderError::NotRsa4096)?;
    let canonical = key.as_der().map_err(|_| CryptoFailure::new("encode a holder key"))?;
    if key.key_size_bits() != BITS || canonical.as_ref() != holder.0 {
        return Err(HolderError::NotRsa4096);
    }
    OaepPublicEncryptingKey::new(key).map_err(|_| HolderError::NotRsa4096)
}

/// Whether `key` is an RSA-4096 key in the encoding that [`HolderKey::public`] gives.
pub fn is_holder_key(key: &PublicKey) -> bool {
    encrypting_key(key).is_ok()
}

/// Encrypts a share to its holder.
pub fn encrypt_share(holder: &PublicKey, share: &Secret) -> Result<EncryptedShare, HolderError> {
    let key = encrypting_key(holder)?;
    if share.expose().len() > key.max_plaintext_size(&OAEP_SHA256_MGF1SHA256) {
        return Err(HolderError::TooLong { got: share.expose().len() });
    }
    let mut ciphertext = vec![0; key.ciphertext_size()];
    let length = key
        .encrypt(&OAEP_SHA256_MGF1SHA256, share.expose(), &mut ciphertext, None)
        .map_err(|_| CryptoFailure::new("encrypt a share"))?
        .len();
    ciphertext.truncate(length);
    Ok(EncryptedShare { holder: holder.id(), ciphertext })
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    // Making an RSA key takes about a second, so the tests share two.
    static KEY: LazyLock<HolderKey> = LazyLock::new(|| HolderKey::generate().unwrap());
    static OTHER: LazyLock<HolderKey> = LazyLock::new(|| HolderKey::generate().unwrap());

    #[test]
    fn a_share_reaches_its_holder() {
        let share = Secret::new(vec![7; 33]);
        let encrypted = encrypt_share(&KEY.public(), &share).unwrap();
        assert_eq!(encrypted.holder, KEY.public().id());
        assert_eq!(KEY.decrypt(&encrypted).unwrap().expose(), share.expose());
        assert_ne!(encrypt_share(&KEY.public(), &share).unwrap(), encrypted, "encryption must be randomised");
    }

    #[test]
    fn a_key_survives_its_pem_form_and_pkcs1() {
        let pem = KEY.to_pem();
        assert_eq!(HolderKey::from_pem(&pem).unwrap().public(), KEY.public());
        // PKCS#1 sits inside PKCS#8 after 26 bytes of version, algorithm and OCTET STRING header.
        let pkcs1 = pem::encode("RSA PRIVATE KEY", &KEY.pkcs8.expose()[26..]);
        assert_eq!(HolderKey::from_pem(&pkcs1).unwrap().public(), KEY.public());
    }

    #[test]
    fn another_holder_cannot_open_a_share() {
        let mut share = encrypt_share(&KEY.public(), &Secret::new(vec![7; 33])).unwrap();
        assert_eq!(
            OTHER.decrypt(&share).unwrap_err(),
            HolderError::OtherHolder { share: KEY.public().id(), key: OTHER.public().id() }
        );
        share.holder = OTHER.public().id();
        assert_eq!(OTHER.decrypt(&share).unwrap_err(), HolderError::Decrypt);
    }

    #[test]
    fn a_damaged_share_is_refused() {
        let share = encrypt_share(&KEY.public(), &Secret::new(vec![7; 33])).unwrap();
        for byte in [0, 1, 255, 511] {
            let mut damaged = share.clone();
            damaged.ciphertext[byte] ^= 1;
            assert_eq!(KEY.decrypt(&damaged).unwrap_err(), HolderError::Decrypt, "byte {byte}");
        }
        for length in [0, 1, 511, 513, 4096] {
            let mut damaged = share.clone();
            damaged.ciphertext.resize(length, 0);
            assert_eq!(KEY.decrypt(&damaged).unwrap_err(), HolderError::Decrypt, "length {length}");
        }
    }

    #[test]
    fn keys_of_another_kind_or_size_are_refused() {
        let small = PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap();
        let pkcs8: Pkcs8V1Der<'_> = small.as_der().unwrap();
        let pem = pem::encode("PRIVATE KEY", pkcs8.as_ref());
        assert_eq!(HolderKey::from_pem(&pem).unwrap_err(), HolderError::NotRsa4096);
        let public = PublicKey(small.public_key().as_der().unwrap().as_ref().to_vec());
        assert!(!is_holder_key(&public));
        let owner = crate::owner::OwnerKey::generate().unwrap();
        assert_eq!(HolderKey::from_pem(&owner.to_pem()).unwrap_err(), HolderError::NotRsa4096);
        assert!(!is_holder_key(&owner.public()));
        let mut trailing = KEY.public();
        trailing.0.push(0);
        assert!(!is_holder_key(&trailing), "trailing bytes make a second encoding");
        assert!(!is_holder_key(&PublicKey(vec![])));
        assert!(is_holder_key(&KEY.public()));
    }

    #[test]
    fn a_share_too_long_for_oaep_is_refused() {
        // RFC 8017, section 7.1.1: at most k - 2hLen - 2 bytes, 446 here.
        assert!(encrypt_share(&KEY.public(), &Secret::new(vec![0; 446])).is_ok());
        assert_eq!(
            encrypt_share(&KEY.public(), &Secret::new(vec![0; 447])).unwrap_err(),
            HolderError::TooLong { got: 447 }
        );
    }
}
