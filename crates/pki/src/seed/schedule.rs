//! The key schedule: every key of a deployment from its seed (decision 0002).
//!
//! `PRK = HKDF-Extract(salt = "casemate key schedule 1", seed)`, then `HKDF-Expand(PRK, info)` with SHA-256, where info
//! is the list of label, deployment id and what else names the key, each field preceded by its length as u64 big-endian.
//! Another deployment has other keys even from the same seed.

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use protocol::{DeploymentId, Digest, Secret};
use zeroize::Zeroizing;

use super::Seed;
use crate::CryptoFailure;
use crate::ca::{CaError, CaKey, MeshCa, RootCa};
use crate::log::LogSigner;

const SALT: &[u8] = b"casemate key schedule 1";

/// The order of P-256 (FIPS 186-5 and SP 800-186, section 3.2.1.3), big-endian.
const P256_ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa,
    0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// LIMIT: a candidate scalar is out of range with probability 2^-32, so two tries are already rare and eight never
/// needed.
const SCALAR_TRIES: u8 = 8;

/// Derives the keys of one deployment.
pub struct KeySchedule {
    prk: Prk,
    deployment: DeploymentId,
}

impl std::fmt::Debug for KeySchedule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeySchedule({})", self.deployment)
    }
}

/// An output length for HKDF-Expand.
struct Bytes(usize);

impl KeyType for Bytes {
    fn len(&self) -> usize {
        self.0
    }
}

impl KeySchedule {
    /// The schedule of a seed in a deployment.
    pub fn new(seed: &Seed, deployment: DeploymentId) -> Self {
        Self { prk: Salt::new(HKDF_SHA256, SALT).extract(seed.expose()), deployment }
    }

    /// The deployment.
    pub fn deployment(&self) -> DeploymentId {
        self.deployment
    }

    /// HKDF-Expand to 32 bytes.
    fn derive(&self, label: &str, rest: &[&[u8]]) -> Result<Zeroizing<[u8; 32]>, CryptoFailure> {
        let mut info = Vec::new();
        for field in [label.as_bytes(), self.deployment.as_bytes()].into_iter().chain(rest.iter().copied()) {
            // A usize always fits: no platform of ours has more than 64 bits.
            info.extend_from_slice(&u64::try_from(field.len()).unwrap_or(u64::MAX).to_be_bytes());
            info.extend_from_slice(field);
        }
        let mut key = Zeroizing::new([0; 32]);
        self.prk
            .expand(&[&info], Bytes(key.len()))
            .and_then(|okm| okm.fill(key.as_mut_slice()))
            .map_err(|_| CryptoFailure::new("derive a key"))?;
        Ok(key)
    }

    /// A P-256 key: the first candidate among the derived strings that lies in [1, n-1].
    fn p256(&self, label: &str, rest: &[&[u8]]) -> Result<EcdsaKeyPair, CryptoFailure> {
        let failed = |_| CryptoFailure::new("derive a P-256 key");
        for attempt in 0..SCALAR_TRIES {
            let counter = [attempt];
            let fields: Vec<&[u8]> = rest.iter().copied().chain([counter.as_slice()]).collect();
            let scalar = self.derive(label, &fields)?;
            if *scalar == [0; 32] || *scalar >= P256_ORDER {
                continue;
            }
            let public = PrivateKey::from_private_key(&ECDH_P256, scalar.as_slice())
                .map_err(failed)?
                .compute_public_key()
                .map_err(|_| CryptoFailure::new("compute a P-256 public key"))?;
            return EcdsaKeyPair::from_private_key_and_public_key(
                &ECDSA_P256_SHA256_ASN1_SIGNING,
                scalar.as_slice(),
                public.as_ref(),
            )
            .map_err(failed);
        }
        Err(CryptoFailure::new("derive a P-256 scalar"))
    }

    fn root_key(&self) -> Result<CaKey, CryptoFailure> {
        self.p256("root CA", &[]).map(CaKey::new)
    }

    fn mesh_key(&self, generation: u64) -> Result<CaKey, CryptoFailure> {
        self.p256("mesh CA", &[&generation.to_be_bytes()]).map(CaKey::new)
    }

    /// The root CA with a freshly signed certificate. The key and everything in the certificate but its signature are
    /// the same each time; whoever has handed a certificate out keeps it and uses [`Self::restore_root_ca`].
    pub fn root_ca(&self, insecure: bool) -> Result<RootCa, CaError> {
        RootCa::create(self.root_key()?, self.deployment, insecure)
    }

    /// The root CA with a certificate that was kept somewhere untrusted: refused unless it is one that
    /// [`Self::root_ca`] could have made.
    pub fn restore_root_ca(&self, insecure: bool, certificate_pem: &str) -> Result<RootCa, CaError> {
        RootCa::restore(self.root_key()?, self.deployment, insecure, certificate_pem)
    }

    /// The mesh CA of a generation, signed by the root.
    pub fn mesh_ca(&self, root: &RootCa, generation: u64) -> Result<MeshCa, CaError> {
        MeshCa::create(root, self.mesh_key(generation)?, generation)
    }

    /// The mesh CA of a generation with a certificate that was kept somewhere untrusted.
    pub fn restore_mesh_ca(&self, root: &RootCa, generation: u64, certificate_pem: &str) -> Result<MeshCa, CaError> {
        MeshCa::restore(root, self.mesh_key(generation)?, generation, certificate_pem)
    }

    /// The key that signs checkpoints of the log.
    pub fn log_signer(&self) -> Result<LogSigner, CryptoFailure> {
        let seed = self.derive("log signer", &[])?;
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.as_slice())
            .map_err(|_| CryptoFailure::new("derive the log signer"))?;
        Ok(LogSigner::new(self.deployment, pair))
    }

    /// The key that seals what goes into the untrusted store.
    pub fn store_key(&self) -> Result<StoreKey, CryptoFailure> {
        let key = self.derive("store", &[])?;
        let key = RandomizedNonceKey::new(&AES_256_GCM, key.as_slice())
            .map_err(|_| CryptoFailure::new("derive the store key"))?;
        Ok(StoreKey { key })
    }

    /// 32 bytes that only workloads of this deployment and this name can get, the same after every recovery.
    pub fn workload_secret(&self, name: &str) -> Result<Secret, CryptoFailure> {
        self.derive("workload secret", &[name.as_bytes()]).map(|key| Secret::new(key.to_vec()))
    }
}

/// Seals values for the untrusted store: AES-256-GCM with a random nonce, name and version as associated data.
///
/// LIMIT: random 96-bit nonces are safe for 2^32 values under one key (NIST SP 800-38D, section 8.3).
pub struct StoreKey {
    key: RandomizedNonceKey,
}

impl std::fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StoreKey")
    }
}

/// A sealed value that is not what it should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// Changed, cut, sealed under another seed, or stored under another name or version.
    #[error("a sealed value was changed, or moved from another name, version or seed")]
    NotGenuine,
    /// Our side failed.
    #[error(transparent)]
    Crypto(#[from] CryptoFailure),
}

const NONCE: usize = 12;

impl StoreKey {
    fn aad(name: &str, version: u64) -> [u8; 32] {
        *Digest::of_fields(&[b"casemate stored value 1", name.as_bytes(), &version.to_be_bytes()]).as_bytes()
    }

    /// Seals a value for one name and version: nonce, ciphertext, tag.
    pub fn seal(&self, name: &str, version: u64, value: &Secret) -> Result<Vec<u8>, CryptoFailure> {
        let mut body = value.expose().to_vec();
        let nonce = self
            .key
            .seal_in_place_append_tag(Aad::from(Self::aad(name, version)), &mut body)
            .map_err(|_| CryptoFailure::new("seal a value"))?;
        let mut sealed = nonce.as_ref().to_vec();
        sealed.append(&mut body);
        Ok(sealed)
    }

    /// Opens what [`Self::seal`] made for the same name and version.
    pub fn open(&self, name: &str, version: u64, sealed: &[u8]) -> Result<Secret, SealError> {
        let (nonce, body) = sealed.split_first_chunk::<NONCE>().ok_or(SealError::NotGenuine)?;
        let mut body = Zeroizing::new(body.to_vec());
        let plain = self
            .key
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(Self::aad(name, version)), &mut body)
            .map_err(|_| SealError::NotGenuine)?;
        Ok(Secret::new(plain.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::KeyPair as _;

    use super::*;

    fn seed(byte: u8) -> Seed {
        Seed(Secret::new(vec![byte; 32]))
    }

    fn deployment(byte: u8) -> DeploymentId {
        DeploymentId::from_bytes([byte; 16])
    }

    fn schedule() -> KeySchedule {
        KeySchedule::new(&seed(1), deployment(2))
    }

    /// All public or derived values of a schedule, as text.
    fn outputs(schedule: &KeySchedule) -> Vec<String> {
        let point = |key: EcdsaKeyPair| hex::encode(key.public_key().as_ref());
        vec![
            point(schedule.p256("root CA", &[]).unwrap()),
            point(schedule.p256("mesh CA", &[&1_u64.to_be_bytes()]).unwrap()),
            point(schedule.p256("mesh CA", &[&2_u64.to_be_bytes()]).unwrap()),
            schedule.log_signer().unwrap().vkey(),
            hex::encode(schedule.workload_secret("db").unwrap().expose()),
            hex::encode(schedule.workload_secret("db2").unwrap().expose()),
            hex::encode(*schedule.derive("store", &[]).unwrap()),
        ]
    }

    #[test]
    fn the_schedule_is_stable_across_releases() {
        // DO NOT CHANGE: a Coordinator of a later release must recover what this one made.
        let outputs = outputs(&schedule());
        let digest = Digest::of(outputs.join("\n").as_bytes());
        assert_eq!(digest.short(), "c87886687a35");
    }

    #[test]
    fn all_keys_differ_from_each_other_and_between_seeds_and_deployments() {
        let mut all = Vec::new();
        for schedule in
            [schedule(), KeySchedule::new(&seed(2), deployment(2)), KeySchedule::new(&seed(1), deployment(3))]
        {
            all.extend(outputs(&schedule));
        }
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count);
        assert_eq!(outputs(&schedule()), outputs(&schedule()));
    }

    #[test]
    fn hkdf_agrees_with_rfc_5869_appendix_a_1() {
        let salt = Salt::new(HKDF_SHA256, &hex::decode("000102030405060708090a0b0c").unwrap());
        let prk = salt.extract(&[0x0b; 22]);
        let info = hex::decode("f0f1f2f3f4f5f6f7f8f9").unwrap();
        let mut okm = [0; 42];
        prk.expand(&[&info], Bytes(42)).unwrap().fill(&mut okm).unwrap();
        assert_eq!(
            hex::encode(okm),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
        );
    }

    #[test]
    fn the_order_of_p256_is_the_first_scalar_out_of_range() {
        assert!(PrivateKey::from_private_key(&ECDH_P256, &P256_ORDER).is_err());
        let mut largest = P256_ORDER;
        largest[31] -= 1;
        assert!(PrivateKey::from_private_key(&ECDH_P256, &largest).is_ok());
    }

    #[test]
    fn a_sealed_value_opens_only_under_its_own_name_version_and_seed() {
        let key = schedule().store_key().unwrap();
        let value = Secret::new(b"value".to_vec());
        let sealed = key.seal("model", 3, &value).unwrap();
        assert_eq!(key.open("model", 3, &sealed).unwrap().expose(), b"value");
        assert_ne!(key.seal("model", 3, &value).unwrap(), sealed, "the nonce must be random");
        assert_eq!(key.open("model", 2, &sealed).unwrap_err(), SealError::NotGenuine);
        assert_eq!(key.open("model", 4, &sealed).unwrap_err(), SealError::NotGenuine);
        assert_eq!(key.open("mode", 3, &sealed).unwrap_err(), SealError::NotGenuine);
        assert_eq!(key.open("", 0, &[]).unwrap_err(), SealError::NotGenuine);
        let other = KeySchedule::new(&seed(1), deployment(9)).store_key().unwrap();
        assert_eq!(other.open("model", 3, &sealed).unwrap_err(), SealError::NotGenuine);
        for byte in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[byte] ^= 1;
            assert_eq!(key.open("model", 3, &changed).unwrap_err(), SealError::NotGenuine, "byte {byte}");
            assert_eq!(key.open("model", 3, &sealed[..byte]).unwrap_err(), SealError::NotGenuine, "cut at {byte}");
        }
    }

    #[test]
    fn an_empty_value_can_be_sealed() {
        let key = schedule().store_key().unwrap();
        let sealed = key.seal("empty", 1, &Secret::new(vec![])).unwrap();
        assert_eq!(sealed.len(), NONCE + 16);
        assert_eq!(key.open("empty", 1, &sealed).unwrap().expose(), b"");
    }
}
