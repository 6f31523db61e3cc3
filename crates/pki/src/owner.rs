//! Owners: the people whose signatures make a manifest or store a secret.
//!
//! An owner key is ECDSA P-384. It signs the 32 bytes of a message digest from [`protocol::api`], with SHA-384, in
//! ASN.1. [`verify_quorum`] is the only way to an [`Approved`], and whoever acts on the owners' behalf asks for one.

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey,
};
use protocol::api::OwnerSignature;
use protocol::manifest::{PublicKey, Quorum};
use protocol::{Digest, Secret};
use rustls_pki_types::PrivateKeyDer;
use zeroize::Zeroizing;

use crate::CryptoFailure;
use crate::pem::{self, PemError};

/// DER of a SubjectPublicKeyInfo for an uncompressed P-384 point, up to the point (RFC 5480, section 2).
const P384_SPKI_PREFIX: [u8; 23] = [
    0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00,
    0x22, 0x03, 0x62, 0x00,
];
/// 0x04, then two coordinates of 48 bytes (SEC 1, section 2.3.3).
const P384_POINT: usize = 97;
/// LIMIT: two integers of at most 49 bytes with their headers and that of the sequence.
const MAX_SIGNATURE: usize = 104;

/// An owner's private key.
pub struct OwnerKey {
    pair: EcdsaKeyPair,
    pkcs8: Secret,
    public: PublicKey,
}

/// A text that is no owner key, or a failure to make one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OwnerKeyError {
    /// No PEM of a private key.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// A private key of another kind.
    #[error("the private key is not an ECDSA key on P-384")]
    NotP384,
    /// Our side failed.
    #[error(transparent)]
    Crypto(#[from] CryptoFailure),
}

impl OwnerKey {
    /// A new random key.
    pub fn generate() -> Result<Self, OwnerKeyError> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_ASN1_SIGNING)
            .map_err(|_| CryptoFailure::new("generate an owner key"))?;
        Self::from_pair(pair)
    }

    /// Reads a key from PEM: PKCS#8 (`PRIVATE KEY`) or SEC 1 (`EC PRIVATE KEY`), unencrypted.
    pub fn from_pem(text: &str) -> Result<Self, OwnerKeyError> {
        let key = pem::private_key(text)?;
        if matches!(key, PrivateKeyDer::Pkcs1(_)) {
            return Err(OwnerKeyError::NotP384);
        }
        let pair = EcdsaKeyPair::from_private_key_der(&ECDSA_P384_SHA384_ASN1_SIGNING, key.secret_der())
            .map_err(|_| OwnerKeyError::NotP384)?;
        Self::from_pair(pair)
    }

    fn from_pair(pair: EcdsaKeyPair) -> Result<Self, OwnerKeyError> {
        let failed = |_| CryptoFailure::new("encode an owner key");
        let pkcs8 = Secret::new(pair.to_pkcs8v1().map_err(failed)?.as_ref().to_vec());
        let public = PublicKey(pair.public_key().as_der().map_err(failed)?.as_ref().to_vec());
        Ok(Self { pair, pkcs8, public })
    }

    /// The key as PKCS#8 PEM, for a file that only its owner can read.
    pub fn to_pem(&self) -> Zeroizing<String> {
        pem::encode("PRIVATE KEY", self.pkcs8.expose())
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        self.public.clone()
    }

    /// Signs a message digest from [`protocol::api`].
    pub fn sign(&self, message: &Digest) -> Result<OwnerSignature, CryptoFailure> {
        let signature = self
            .pair
            .sign(&SystemRandom::new(), message.as_bytes())
            .map_err(|_| CryptoFailure::new("sign as an owner"))?;
        Ok(OwnerSignature { key: self.public.id(), signature: signature.as_ref().to_vec() })
    }
}

impl std::fmt::Debug for OwnerKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OwnerKey({})", self.public.id().short())
    }
}

/// The point of a P-384 key in its one encoding that we accept. A second encoding of the same key would have another
/// id, and its holder could then sign twice.
fn p384_point(key: &PublicKey) -> Option<&[u8]> {
    let point = key.0.strip_prefix(&P384_SPKI_PREFIX)?;
    (point.len() == P384_POINT && point.first() == Some(&4)).then_some(point)
}

/// Whether `key` is a P-384 key in the encoding that [`OwnerKey::public`] gives.
pub fn is_owner_key(key: &PublicKey) -> bool {
    use aws_lc_rs::signature::ParsedPublicKey;
    p384_point(key).is_some_and(|point| ParsedPublicKey::new(&ECDSA_P384_SHA384_ASN1, point).is_ok())
}

/// Proof that a threshold of owners signed one message. Only [`verify_quorum`] makes it.
#[derive(Debug, PartialEq, Eq)]
pub struct Approved {
    message: Digest,
    signers: Vec<Digest>,
}

impl Approved {
    /// What they signed.
    pub fn message(&self) -> Digest {
        self.message
    }

    /// The ids of the keys that signed, in the order of the signatures.
    pub fn signers(&self) -> &[Digest] {
        &self.signers
    }
}

/// Why signatures do not approve a message.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QuorumError {
    /// A quorum that anybody, or nobody, could meet.
    #[error("a threshold of {threshold} among {keys} keys cannot be met or means nothing")]
    Threshold {
        /// The threshold.
        threshold: u32,
        /// How many keys there are.
        keys: usize,
    },
    /// More signatures than there are keys.
    #[error("{got} signatures for {keys} keys")]
    TooMany {
        /// Signatures.
        got: usize,
        /// Keys.
        keys: usize,
    },
    /// A signature by a key that is not an owner's.
    #[error("key {} is not among the owners", key.short())]
    UnknownKey {
        /// The key's id.
        key: Digest,
    },
    /// Two signatures by one key.
    #[error("key {} signed twice", key.short())]
    Repeated {
        /// The key's id.
        key: Digest,
    },
    /// The quorum lists a key that is no P-384 key in its canonical encoding.
    #[error("owner key {} is not a P-384 key", key.short())]
    NotP384 {
        /// The key's id.
        key: Digest,
    },
    /// A signature that does not verify.
    #[error("the signature by key {} is not valid for this message", key.short())]
    Invalid {
        /// The key's id.
        key: Digest,
    },
    /// Fewer valid signatures than the threshold.
    #[error("{got} of {threshold} needed signatures")]
    TooFew {
        /// Valid signatures.
        got: usize,
        /// The threshold.
        threshold: u32,
    },
}

/// Checks that at least `threshold` different owners signed `message`. Every signature that is presented must be
/// valid: a stray one points at a mistake that its sender wants to hear of.
pub fn verify_quorum(
    quorum: &Quorum,
    message: &Digest,
    signatures: &[OwnerSignature],
) -> Result<Approved, QuorumError> {
    let keys = quorum.keys.len();
    let threshold = usize::try_from(quorum.threshold).unwrap_or(usize::MAX);
    if threshold == 0 || threshold > keys {
        return Err(QuorumError::Threshold { threshold: quorum.threshold, keys });
    }
    if signatures.len() > keys {
        return Err(QuorumError::TooMany { got: signatures.len(), keys });
    }
    let mut signers: Vec<Digest> = Vec::with_capacity(signatures.len());
    for OwnerSignature { key, signature } in signatures {
        let owner = quorum.keys.iter().find(|owner| owner.id() == *key).ok_or(QuorumError::UnknownKey { key: *key })?;
        if signers.contains(key) {
            return Err(QuorumError::Repeated { key: *key });
        }
        let point = p384_point(owner).ok_or(QuorumError::NotP384 { key: *key })?;
        if signature.len() > MAX_SIGNATURE {
            return Err(QuorumError::Invalid { key: *key });
        }
        UnparsedPublicKey::new(&ECDSA_P384_SHA384_ASN1, point)
            .verify(message.as_bytes(), signature)
            .map_err(|_| QuorumError::Invalid { key: *key })?;
        signers.push(*key);
    }
    if signers.len() < threshold {
        return Err(QuorumError::TooFew { got: signers.len(), threshold: quorum.threshold });
    }
    Ok(Approved { message: *message, signers })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(n: usize) -> Vec<OwnerKey> {
        (0..n).map(|_| OwnerKey::generate().unwrap()).collect()
    }

    fn quorum(threshold: u32, keys: &[OwnerKey]) -> Quorum {
        Quorum { threshold, keys: keys.iter().map(OwnerKey::public).collect() }
    }

    #[test]
    fn a_threshold_of_owners_approves() {
        let keys = keys(3);
        let message = Digest::of(b"message");
        let signatures = [keys[2].sign(&message).unwrap(), keys[0].sign(&message).unwrap()];
        let approved = verify_quorum(&quorum(2, &keys), &message, &signatures).unwrap();
        assert_eq!(approved.signers(), [keys[2].public().id(), keys[0].public().id()]);
        assert_eq!(approved.message(), message);
    }

    #[test]
    fn a_key_survives_its_pem_form_and_openssl_s_form() {
        let key = OwnerKey::generate().unwrap();
        let again = OwnerKey::from_pem(&key.to_pem()).unwrap();
        assert_eq!(again.public(), key.public());
        let sec1: aws_lc_rs::encoding::EcPrivateKeyRfc5915Der<'_> = key.pair.private_key().as_der().unwrap();
        let openssl = pem::encode("EC PRIVATE KEY", sec1.as_ref());
        assert_eq!(OwnerKey::from_pem(&openssl).unwrap().public(), key.public());
        assert!(is_owner_key(&key.public()));
    }

    #[test]
    fn keys_of_another_kind_are_refused() {
        let p256 = EcdsaKeyPair::generate(&aws_lc_rs::signature::ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let pem = pem::encode("PRIVATE KEY", p256.to_pkcs8v1().unwrap().as_ref());
        assert_eq!(OwnerKey::from_pem(&pem).unwrap_err(), OwnerKeyError::NotP384);
        let garbage = pem::encode("PRIVATE KEY", &[0x30, 0x03, 1, 2, 3]);
        assert_eq!(OwnerKey::from_pem(&garbage).unwrap_err(), OwnerKeyError::NotP384);
        let rsa = pem::encode("RSA PRIVATE KEY", &[0x30, 0x03, 1, 2, 3]);
        assert_eq!(OwnerKey::from_pem(&rsa).unwrap_err(), OwnerKeyError::NotP384);
        assert!(matches!(OwnerKey::from_pem("").unwrap_err(), OwnerKeyError::Pem(_)));
        assert!(!is_owner_key(&PublicKey(vec![1, 2, 3])));
        let off_curve = PublicKey([P384_SPKI_PREFIX.as_slice(), &[4], &[1; 96]].concat());
        assert!(!is_owner_key(&off_curve));
    }

    #[test]
    fn debug_output_holds_no_key() {
        let key = OwnerKey::generate().unwrap();
        assert_eq!(format!("{key:?}"), format!("OwnerKey({})", key.public().id().short()));
    }

    #[test]
    fn every_way_to_miss_the_quorum_has_its_error() {
        let keys = keys(3);
        let stranger = OwnerKey::generate().unwrap();
        let message = Digest::of(b"message");
        let other = Digest::of(b"other");
        let sign = |key: &OwnerKey| key.sign(&message).unwrap();
        let id = |key: &OwnerKey| key.public().id();
        let two = quorum(2, &keys);
        let check = |quorum: &Quorum, signatures: &[OwnerSignature], expected: QuorumError| {
            assert_eq!(verify_quorum(quorum, &message, signatures), Err(expected));
        };
        check(&two, &[], QuorumError::TooFew { got: 0, threshold: 2 });
        check(&two, &[sign(&keys[0])], QuorumError::TooFew { got: 1, threshold: 2 });
        check(&two, &[sign(&keys[0]), sign(&keys[0])], QuorumError::Repeated { key: id(&keys[0]) });
        check(&two, &[sign(&keys[0]), sign(&stranger)], QuorumError::UnknownKey { key: id(&stranger) });
        check(&two, &[sign(&keys[0]), keys[1].sign(&other).unwrap()], QuorumError::Invalid { key: id(&keys[1]) });
        let mut renamed = sign(&keys[0]);
        renamed.key = id(&keys[1]);
        check(&two, &[renamed], QuorumError::Invalid { key: id(&keys[1]) });
        let mut long = sign(&keys[0]);
        long.signature.resize(MAX_SIGNATURE + 1, 0);
        check(&two, &[long], QuorumError::Invalid { key: id(&keys[0]) });
        let mut empty = sign(&keys[0]);
        empty.signature.clear();
        check(&two, &[empty], QuorumError::Invalid { key: id(&keys[0]) });
        check(&two, &vec![sign(&keys[0]); 4], QuorumError::TooMany { got: 4, keys: 3 });
        check(&quorum(0, &keys), &[sign(&keys[0])], QuorumError::Threshold { threshold: 0, keys: 3 });
        check(&quorum(4, &keys), &[sign(&keys[0])], QuorumError::Threshold { threshold: 4, keys: 3 });
        check(&quorum(1, &[]), &[], QuorumError::Threshold { threshold: 1, keys: 0 });
    }

    #[test]
    fn one_key_in_two_encodings_does_not_count_twice() {
        let key = OwnerKey::generate().unwrap();
        let message = Digest::of(b"message");
        // The compressed form of the same point is a valid SubjectPublicKeyInfo elsewhere.
        let point = p384_point(&key.public()).unwrap().to_vec();
        let parity = 2 + (point[96] & 1);
        let header = [
            0x30, 0x46, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04,
            0x00, 0x22, 0x03, 0x32, 0x00,
        ];
        let second = PublicKey([header.as_slice(), &[parity], &point[1..49]].concat());
        let quorum = Quorum { threshold: 2, keys: vec![key.public(), second.clone()] };
        let first_signature = key.sign(&message).unwrap();
        let mut second_signature = key.sign(&message).unwrap();
        second_signature.key = second.id();
        assert_eq!(
            verify_quorum(&quorum, &message, &[first_signature, second_signature]),
            Err(QuorumError::NotP384 { key: second.id() })
        );
    }

    #[test]
    fn any_flipped_bit_of_message_or_signature_is_noticed() {
        let key = OwnerKey::generate().unwrap();
        let quorum = quorum(1, std::slice::from_ref(&key));
        let message = Digest::of(b"message");
        let signature = key.sign(&message).unwrap();
        for bit in 0..256 {
            let mut bytes = *message.as_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(verify_quorum(&quorum, &Digest::from_bytes(bytes), std::slice::from_ref(&signature)).is_err());
        }
        for byte in 0..signature.signature.len() {
            let mut changed = signature.clone();
            changed.signature[byte] ^= 1;
            assert!(verify_quorum(&quorum, &message, &[changed]).is_err(), "byte {byte}");
        }
    }
}
