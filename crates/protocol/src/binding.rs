//! What Evidence signs over: the report data that ties it to one TLS channel (design, section 7).

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha512};

use crate::digest::{DeploymentId, Digest};
use crate::evidence::Evidence;

/// The 32 random bytes of the side that wants Evidence.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Nonce(#[serde(with = "hex32")] pub [u8; 32]);

mod hex32 {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(text.as_bytes(), &mut bytes).map_err(serde::de::Error::custom)?;
        Ok(bytes)
    }
}

/// The 64 bytes of a report that its requester chooses (SNP REPORT_DATA, TDX REPORTDATA, SGX report data).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ReportData(pub [u8; 64]);

impl std::fmt::Debug for ReportData {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ReportData({})", hex::encode(self.0))
    }
}

/// Why a channel was opened. Evidence made for one purpose is worthless for another.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// Hand over a manifest.
    Set,
    /// Check a Coordinator from outside.
    Verify,
    /// Give a seed share to a recovering Coordinator.
    Recover,
    /// Hand over or rotate a secret.
    Secret,
    /// A workload asks for its certificate and secrets.
    Mesh,
}

impl Purpose {
    /// The name that is hashed into the report data.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Set => "set",
            Self::Verify => "verify",
            Self::Recover => "recover",
            Self::Secret => "secret",
            Self::Mesh => "mesh",
        }
    }
}

/// Which end of the TLS connection the Attester is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TlsSide {
    /// The side that connected.
    Client,
    /// The side that accepted.
    Server,
}

/// What the Attester claims to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// A Coordinator.
    Coordinator,
    /// A workload pod.
    Workload,
}

impl Role {
    /// The name that is hashed into the report data.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Coordinator => "coordinator",
            Self::Workload => "workload",
        }
    }
}

/// The fields that Evidence is bound to. Two bindings give the same report data only if every field is equal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Binding {
    /// Why the channel was opened.
    pub purpose: Purpose,
    /// The Attester's end of the TLS connection.
    pub side: TlsSide,
    /// What the Attester is.
    pub role: Role,
    /// The deployment that both sides mean.
    pub deployment: DeploymentId,
    /// The Relying Party's nonce.
    pub nonce: Nonce,
    /// 64 bytes of RFC 8446 keying-material exporter, label [`EXPORTER_LABEL`], the nonce as context.
    pub exporter: [u8; 64],
    /// SHA-256 of the Attester's own leaf certificate (DER).
    pub own_leaf: Digest,
    /// SHA-256 of the peer's leaf certificate, when the peer showed one.
    pub peer_leaf: Option<Digest>,
    /// Digest of the device evidence that travels with this Evidence, when there is any.
    pub devices: Option<Digest>,
}

/// The exporter label of the attested channel.
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-casemate-attestation";

/// The first hashed field: the protocol and its version.
const CONTEXT: &[u8] = b"casemate attestation 1";
/// The first hashed field of a device's nonce.
const DEVICE_CONTEXT: &[u8] = b"casemate device 1";

/// What genuine Evidence on one channel has to carry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expected {
    /// The report data of the CPU's TEE.
    pub report_data: ReportData,
    /// The nonce of every device. `None`: devices are not expected, and Evidence that brings some is refused.
    pub device_nonce: Option<Nonce>,
}

impl From<ReportData> for Expected {
    fn from(report_data: ReportData) -> Self {
        Self { report_data, device_nonce: None }
    }
}

impl Binding {
    /// SHA-512 over all fields, each preceded by its length as u64 big-endian. An absent field is a length of
    /// 2^64-1 with no bytes, so that "none" is not an empty field.
    pub fn report_data(&self) -> ReportData {
        let mut hash = Fields::default();
        self.channel_fields(&mut hash, CONTEXT);
        hash.field(self.devices.as_ref().map(|digest| digest.as_bytes().as_slice()));
        ReportData(hash.0.finalize().into())
    }

    /// The nonce that devices sign over: the first 32 bytes of the same hash under another label and without the digest of
    /// the devices, which is not known yet when they are asked.
    pub fn device_nonce(&self) -> Nonce {
        let mut hash = Fields::default();
        self.channel_fields(&mut hash, DEVICE_CONTEXT);
        let bytes: [u8; 64] = hash.0.finalize().into();
        let mut nonce = [0; 32];
        nonce.copy_from_slice(&bytes[..32]);
        Nonce(nonce)
    }

    /// What this very Evidence has to carry on this channel. [`Binding::devices`] is taken from it.
    pub fn expected(mut self, evidence: &Evidence) -> Expected {
        self.devices = evidence.devices_digest();
        Expected { report_data: self.report_data(), device_nonce: Some(self.device_nonce()) }
    }

    fn channel_fields(&self, hash: &mut Fields, context: &[u8]) {
        let side: &[u8] = match self.side {
            TlsSide::Client => b"client",
            TlsSide::Server => b"server",
        };
        hash.field(Some(context));
        hash.field(Some(self.purpose.name().as_bytes()));
        hash.field(Some(side));
        hash.field(Some(self.role.name().as_bytes()));
        hash.field(Some(self.deployment.as_bytes()));
        hash.field(Some(&self.nonce.0));
        hash.field(Some(&self.exporter));
        hash.field(Some(self.own_leaf.as_bytes()));
        hash.field(self.peer_leaf.as_ref().map(|digest| digest.as_bytes().as_slice()));
    }
}

/// A SHA-512 over fields with their lengths.
#[derive(Default)]
struct Fields(Sha512);

impl Fields {
    fn field(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => {
                self.0.update((bytes.len() as u64).to_be_bytes());
                self.0.update(bytes);
            }
            None => self.0.update(u64::MAX.to_be_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding() -> Binding {
        Binding {
            purpose: Purpose::Mesh,
            side: TlsSide::Client,
            role: Role::Workload,
            deployment: DeploymentId::from_bytes([1; 16]),
            nonce: Nonce([2; 32]),
            exporter: [3; 64],
            own_leaf: Digest::of(b"own"),
            peer_leaf: Some(Digest::of(b"peer")),
            devices: None,
        }
    }

    #[test]
    fn every_field_changes_the_report_data() {
        let base = binding().report_data();
        let mutations: [fn(&mut Binding); 9] = [
            |b| b.purpose = Purpose::Verify,
            |b| b.side = TlsSide::Server,
            |b| b.role = Role::Coordinator,
            |b| b.deployment = DeploymentId::from_bytes([9; 16]),
            |b| b.nonce = Nonce([9; 32]),
            |b| b.exporter[63] ^= 1,
            |b| b.own_leaf = Digest::of(b"other"),
            |b| b.peer_leaf = None,
            |b| b.devices = Some(Digest::ZERO),
        ];
        for (index, mutate) in mutations.into_iter().enumerate() {
            let mut changed = binding();
            mutate(&mut changed);
            assert_ne!(changed.report_data(), base, "mutation {index}");
        }
    }

    #[test]
    fn a_device_nonce_covers_the_channel_and_not_the_devices() {
        let base = binding().device_nonce();
        assert_eq!(Binding { devices: Some(Digest::ZERO), ..binding() }.device_nonce(), base);
        assert_ne!(Binding { nonce: Nonce([9; 32]), ..binding() }.device_nonce(), base);
        assert_ne!(&binding().report_data().0[..32], base.0);
        expect_test::expect!["1e0816aead750f291696008022e68bfb"].assert_eq(&hex::encode(&base.0[..16]));
    }

    #[test]
    fn report_data_is_stable_across_releases() {
        // DO NOT CHANGE: a client of one release must accept the Evidence of a Coordinator of another.
        expect_test::expect!["d099729903dfc18b84c81ccd5ff04039"]
            .assert_eq(&hex::encode(&binding().report_data().0[..16]));
    }
}
