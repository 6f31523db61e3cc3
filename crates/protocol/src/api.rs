//! The Coordinator's messages: the user API (port 1313) and the mesh API (port 7777), both inside attested channels.

use serde::{Deserialize, Serialize};

use crate::digest::{DeploymentId, Digest, Identity};
use crate::log::{ConsistencyProof, LoggedEntry};
use crate::secret::{Secret, base64_bytes};

/// Port of the attested user API.
pub const USER_PORT: u16 = 1313;
/// Port of the attested mesh API.
pub const MESH_PORT: u16 = 7777;
/// Port of probes and metrics.
pub const PROBE_PORT: u16 = 9102;

/// What owners sign to make a manifest the successor of another: domain, deployment, predecessor's transition
/// (all zero for the first), digest of the manifest's text. The digest of this is the new transition.
pub fn transition(deployment: DeploymentId, previous: Digest, manifest: &str) -> Digest {
    Digest::of_fields(&[
        b"casemate set 1",
        deployment.as_bytes(),
        previous.as_bytes(),
        Digest::of(manifest.as_bytes()).as_bytes(),
    ])
}

/// What owners sign to store a version of a secret. The version must be the successor of the stored one, which makes
/// an old signature worthless. `active` is the [`transition`] of the manifest that says who may read it: a Coordinator
/// with another manifest must not take the secret.
pub fn secret_message(deployment: DeploymentId, active: Digest, name: &str, version: u64, value: &[u8]) -> Digest {
    Digest::of_fields(&[
        b"casemate secret 1",
        deployment.as_bytes(),
        active.as_bytes(),
        name.as_bytes(),
        &version.to_be_bytes(),
        Digest::of(value).as_bytes(),
    ])
}

/// An owner's signature: ECDSA P-384 with SHA-384, ASN.1, over the 32 bytes of a message digest from this module.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnerSignature {
    /// [`crate::manifest::PublicKey::id`] of the signing key.
    pub key: Digest,
    /// The signature.
    #[serde(with = "base64_bytes")]
    pub signature: Vec<u8>,
}

/// A manifest with its predecessor and its owners' signatures over the [`transition`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedManifest {
    /// The manifest's exact text.
    pub manifest: String,
    /// The predecessor's transition, all zero for the first.
    pub previous: Digest,
    /// Signatures over the transition.
    pub signatures: Vec<OwnerSignature>,
}

/// A request of the user API. The channel's purpose must fit the request.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UserRequest {
    /// Purpose `set`: make a manifest active.
    SetManifest(SignedManifest),
    /// Purpose `verify`, and also allowed under `set`, `secret` and `recover`: what is the state? `known` is the size of
    /// the last checkpoint that the caller has.
    State {
        /// Size of the caller's last checkpoint.
        known: Option<u64>,
    },
    /// Purpose `secret`: store the next version of a secret.
    PutSecret(PutSecret),
    /// Purpose `secret`: which secrets exist, in which version.
    ListSecrets,
    /// Purpose `recover`: give a seed share.
    Recover(RecoverShare),
}

/// A new version of a secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PutSecret {
    /// Its name.
    pub name: String,
    /// The stored version plus one.
    pub version: u64,
    /// Its value.
    pub value: Secret,
    /// Signatures over [`secret_message`].
    pub signatures: Vec<OwnerSignature>,
}

/// One holder's share, decrypted by the holder and sent through the attested channel.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecoverShare {
    /// Id of the holder's key.
    pub holder: Digest,
    /// The share.
    pub share: Secret,
    /// The last checkpoint that the holder knows.
    pub checkpoint: Option<String>,
}

/// An answer of the user API.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UserReply {
    /// To `SetManifest`.
    Set(SetReply),
    /// To `State`.
    State(StateReply),
    /// To `PutSecret`.
    SecretStored(LoggedEntry),
    /// To `ListSecrets`: names and current versions.
    Secrets(Vec<crate::log::SecretVersion>),
    /// To `Recover`.
    Recover(RecoverReply),
    /// The request was not granted.
    Error(ApiError),
}

/// What the owner gets after a `set`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetReply {
    /// The new generation.
    pub generation: u64,
    /// Certificates of the deployment.
    pub roots: Roots,
    /// The log entry of this manifest, with proof and checkpoint.
    pub logged: LoggedEntry,
    /// On the first set, and when holders changed: one encrypted share for each holder.
    pub seed_shares: Option<SeedShares>,
}

/// PEM certificates that clients keep.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Roots {
    /// The deployment's root CA; lives as long as the seed.
    pub root_ca: String,
    /// The mesh CA of the active generation, signed by the root.
    pub mesh_ca: String,
    /// Verifier key of the log (C2SP signed note `vkey`).
    pub log_key: String,
}

/// The encrypted shares of a seed, as `seed-shares.json` keeps them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeedShares {
    /// The format of this document, 1.
    pub version: u32,
    /// The deployment.
    pub deployment_id: DeploymentId,
    /// How many shares rebuild the seed.
    pub threshold: u32,
    /// One for each holder.
    pub shares: Vec<EncryptedShare>,
}

/// One share, RSA-OAEP-SHA256 under its holder's key, label empty.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncryptedShare {
    /// Id of the holder's key.
    pub holder: Digest,
    /// The ciphertext.
    #[serde(with = "base64_bytes")]
    pub ciphertext: Vec<u8>,
}

/// The states of a Coordinator.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CoordinatorState {
    /// No manifest was ever set.
    Uninitialised,
    /// A manifest is active.
    Active,
    /// There is a history and no seed.
    Recovering,
}

/// What `verify` looks at. In state `recovering` everything in it is the untrusted store's word.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateReply {
    /// The state.
    pub state: CoordinatorState,
    /// The active generation, 0 when there is none.
    pub generation: u64,
    /// Certificates, once a manifest is active.
    pub roots: Option<Roots>,
    /// The latest signed checkpoint, once there is a log.
    pub checkpoint: Option<String>,
    /// Proof that `checkpoint` extends the tree of size `known`; absent when `known` is absent or beyond the log.
    pub consistency: Option<ConsistencyProof>,
    /// Every manifest, oldest first.
    pub history: Vec<SignedManifest>,
    /// The log entry of every manifest, same order, proven for `checkpoint`.
    pub logged: Vec<LoggedEntry>,
}

/// What a share holder gets back.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecoverReply {
    /// Shares received so far, this one included.
    pub have: u32,
    /// Shares needed.
    pub need: u32,
    /// The state after this share.
    pub state: CoordinatorState,
}

/// A request of the mesh API. The client has attested; its identity comes from its Evidence, never from the message.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MeshRequest {
    /// A certificate and the secrets of the identity.
    Enroll {
        /// PKCS #10 request (DER): proves possession of the key; its names are ignored.
        #[serde(with = "base64_bytes")]
        csr: Vec<u8>,
    },
    /// A fresh certificate for the same identity, without secrets: the answered heartbeat that a lease runs on.
    Renew {
        /// PKCS #10 request (DER).
        #[serde(with = "base64_bytes")]
        csr: Vec<u8>,
        /// Size of the log in the last checkpoint that the pod was given.
        known: u64,
    },
}

/// An answer of the mesh API.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MeshReply {
    /// Granted.
    Granted(Box<Granted>),
    /// Not granted.
    Error(ApiError),
}

/// Certificate, secrets and what proves that they were given rightly.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Granted {
    /// Leaf and mesh CA, PEM.
    pub certificate_chain: String,
    /// Certificates of the deployment.
    pub roots: Roots,
    /// Seconds that the certificate, and every connection under it, may live without renewal.
    pub lease_seconds: u32,
    /// Names of the identity's callers: `None` means every workload of the manifest.
    pub callers: Option<Vec<String>>,
    /// The secrets of the identity, empty on renewal.
    pub secrets: Vec<ReleasedSecret>,
    /// The log entry of this grant, with proof and checkpoint.
    pub logged: LoggedEntry,
    /// On renewal: proof that the checkpoint of `logged` extends the log of size `known`.
    #[serde(default)]
    pub consistency: Option<ConsistencyProof>,
    /// The active manifest with its owners' signatures.
    pub manifest: SignedManifest,
}

/// A secret on its way into a pod.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleasedSecret {
    /// Name.
    pub name: String,
    /// Version.
    pub version: u64,
    /// Value.
    pub value: Secret,
}

/// A refusal as the peer sees it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// Stable code.
    pub code: ErrorCode,
    /// A sentence fragment for people.
    pub message: String,
}

impl ApiError {
    /// A refusal.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// Stable codes of refusals.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ErrorCode {
    /// The message is malformed or too long.
    Malformed,
    /// The protocol version or purpose is not served here.
    Unsupported,
    /// Another deployment.
    WrongDeployment,
    /// Evidence is missing, not genuine, stale or bound to another channel.
    NotVerified,
    /// Evidence is genuine, but does not meet the reference values.
    Contraindicated,
    /// The identity is not in the manifest, or has another role.
    NotInManifest,
    /// Signatures are missing or do not reach the threshold.
    NotSigned,
    /// The request rests on a state that has moved on; ask for the state and try again.
    Conflict,
    /// No manifest is set yet; try again later.
    NoManifest,
    /// The Coordinator lost its seed and waits for share holders; try again later.
    Recovering,
    /// The history does not extend a checkpoint that was shown.
    Rollback,
    /// A secret that the identity should get has no value yet; try again later.
    SecretMissing,
    /// Too many requests; try again later.
    Busy,
    /// Our fault.
    Internal,
}

impl ErrorCode {
    /// Whether the same request may succeed later without anybody changing it.
    pub const fn is_temporary(self) -> bool {
        matches!(self, Self::NoManifest | Self::Recovering | Self::SecretMissing | Self::Busy)
    }

    /// Whether this is a "no", as opposed to "could not tell".
    pub const fn is_refusal(self) -> bool {
        matches!(
            self,
            Self::WrongDeployment
                | Self::NotVerified
                | Self::Contraindicated
                | Self::NotInManifest
                | Self::NotSigned
                | Self::Rollback
        )
    }
}

/// The SPIFFE id of a workload: `spiffe://<deployment>/<name>`.
pub fn spiffe_id(deployment: DeploymentId, name: &str) -> String {
    format!("spiffe://{deployment}/{name}")
}

/// The SPIFFE id's companion in every leaf certificate: the identity as a second URI, `casemate:identity:<hex>`.
pub fn identity_uri(identity: Identity) -> String {
    format!("casemate:identity:{identity}")
}
