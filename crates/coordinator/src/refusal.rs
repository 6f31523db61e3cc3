//! Why a request was not granted: in full for our log, as a stable code and a short text for the peer.

use pki::CryptoFailure;
use pki::ca::CaError;
use pki::history::HistoryError;
use pki::holder::HolderError;
use pki::log::CheckpointError;
use pki::owner::QuorumError;
use pki::seed::{SealError, ShareError};
use protocol::api::{ApiError, ErrorCode};
use protocol::manifest::ManifestError;
use protocol::{Digest, Identity, Purpose};
use verifier::{AppraiseError, VerifyError};

use crate::grant::Denied;
use crate::store::StoreError;

/// Why a request was not granted.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// The request does not belong into this channel.
    #[error("request `{request}` does not belong into a channel with purpose `{}`", purpose.name())]
    WrongPurpose { request: &'static str, purpose: Purpose },
    /// No message of this API.
    #[error("the message cannot be read: {reason}")]
    Malformed { reason: String },
    /// More work is waiting than this process takes on.
    #[error("too many requests are waiting")]
    Busy,
    /// One client keeps asking.
    #[error("the state was shown {limit} times in this channel, which is the limit")]
    Asked { limit: usize },
    /// One identity takes more certificates than its pods can use.
    #[error("{limit} certificates were issued for this identity within one lease, which is the limit")]
    TooManyGrants { limit: u32 },
    /// There is no manifest.
    #[error("no manifest is set yet")]
    NoManifest,
    /// The seed is lost.
    #[error("the Coordinator lost its seed and waits for share holders")]
    Recovering,
    /// There is nothing to recover.
    #[error("the Coordinator is not recovering")]
    NotRecovering,
    /// The manifest is not the next one of the history.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// A Coordinator must be in the manifest that it serves, or nobody could verify it.
    #[error("the manifest does not list this Coordinator's identity {} with the role `coordinator`", identity.0.short())]
    OwnIdentityMissing { identity: Identity },
    /// The manifest's reference values do not accept this Coordinator's own Evidence.
    #[error("the manifest's reference values do not accept this Coordinator's own evidence")]
    OwnEvidence(#[source] AppraiseError),
    /// A key in the manifest cannot be used.
    #[error("manifest `{path}`: key {} is not {expected}", key.short())]
    UnusableKey { path: &'static str, key: Digest, expected: &'static str },
    /// Another set of share holders needs another seed.
    #[error("the manifest changes `seed_share_holders`, which this release cannot do: the seed would have to change")]
    HoldersChanged,
    /// Pods know the owners from their initdata and would follow no others.
    #[error("the manifest changes `owners`, which this release cannot do: pods know them from their initdata")]
    OwnersChanged,
    /// The history would no longer fit into an answer.
    #[error("the history of manifests is full: {size} bytes, at most {limit} can be shown to a client")]
    HistoryFull { size: usize, limit: usize },
    /// The owners did not sign the secret.
    #[error("the secret is not signed by its owners")]
    NotSigned(#[from] QuorumError),
    /// A name that cannot be a file name.
    #[error("a secret's name is 1 to {limit} of the characters `a-z A-Z 0-9 . _ -` and does not begin with a dot")]
    SecretName { limit: usize },
    /// A value that is empty or too long.
    #[error("a secret of {got} bytes; from 1 to {limit} can be stored")]
    SecretSize { got: usize, limit: usize },
    /// Somebody else was first, or the version is a guess.
    #[error("version {got} of the secret does not follow version {current}")]
    SecretVersion { got: u64, current: u64 },
    /// No more names.
    #[error("{limit} secrets are stored, which is the limit")]
    SecretsFull { limit: usize },
    /// No holder of this deployment.
    #[error("key {} holds no share of this seed", holder.short())]
    UnknownHolder { holder: Digest },
    /// Another share than the holder was given.
    #[error("the share is not the one that holder {} was given", holder.short())]
    WrongShare { holder: Digest },
    /// The shares give a seed, but not that of this history.
    #[error("the shares do not rebuild the seed that signed the stored history; all of them are dropped")]
    WrongSeed,
    /// The checkpoint that came with a share is not one.
    #[error("the checkpoint that came with the share cannot be used")]
    Checkpoint(#[from] CheckpointError),
    /// A checkpoint of another deployment's log.
    #[error("the checkpoint is of another log")]
    OtherLog,
    /// The store is older than a checkpoint.
    #[error("rollback: the stored log has {stored} entries, a holder saw {shown}")]
    Rollback { stored: u64, shown: u64 },
    /// The store holds another history than a checkpoint.
    #[error("fork: the stored log of {stored} entries does not contain the {shown} that a holder saw")]
    Fork { stored: u64, shown: u64 },
    /// A workload was shown a log that is longer than ours.
    #[error("rollback: this log has {size} entries, the workload was shown {known}")]
    Behind { size: u64, known: u64 },
    /// The one function that decides said no.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// No certificate for this request.
    #[error("no certificate was issued")]
    Certificate(#[from] CaError),
    /// Something in the store cannot be used.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// A step of the log may or may not be stored.
    #[error("the store did not take a step of the log")]
    Commit(#[source] StoreError),
    /// This process has stopped, after an error that left its state unknown.
    #[error("the Coordinator has stopped: {reason}")]
    Stopped { reason: String },
    /// Our fault.
    #[error("internal")]
    Internal(#[from] Fault),
}

/// Failures that say nothing about a peer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// The crypto library.
    #[error(transparent)]
    Crypto(#[from] CryptoFailure),
    /// A sealed value that does not open.
    #[error("stored secret `{name}`")]
    Sealed {
        name: String,
        #[source]
        source: SealError,
    },
    /// Shares that cannot be made.
    #[error("make seed shares")]
    Shares(#[from] ShareError),
    /// A share that cannot be encrypted.
    #[error("encrypt a seed share")]
    Encrypt(#[from] HolderError),
    /// Own Evidence that does not verify.
    #[error("own evidence")]
    OwnEvidence(#[source] VerifyError),
    /// What cannot happen.
    #[error("{what}")]
    Unreachable { what: &'static str },
}

/// What the peer hears: the one place where refusals become codes. Texts name what the requester sent or what the state
/// answer shows to everybody, never a secret, and of our own failures nothing at all.
pub(crate) fn answer(refusal: &Refusal) -> ApiError {
    let code = code(refusal);
    let message = match refusal {
        Refusal::Store(_) | Refusal::Commit(_) | Refusal::Stopped { .. } | Refusal::Internal(_) => {
            "internal error".to_owned()
        }
        Refusal::Certificate(_) if code == ErrorCode::Internal => "internal error".to_owned(),
        // The cause is the owner's own mistake, and the owner cannot look into our log.
        Refusal::History(_)
        | Refusal::NotSigned(_)
        | Refusal::OwnEvidence(_)
        | Refusal::Certificate(_)
        | Refusal::Checkpoint(_) => chain(refusal),
        _ => refusal.to_string(),
    };
    ApiError::new(code, message)
}

/// An error with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

fn code(refusal: &Refusal) -> ErrorCode {
    match refusal {
        Refusal::WrongPurpose { .. } | Refusal::HoldersChanged | Refusal::OwnersChanged => ErrorCode::Unsupported,
        Refusal::Malformed { .. }
        | Refusal::UnusableKey { .. }
        | Refusal::HistoryFull { .. }
        | Refusal::SecretName { .. }
        | Refusal::SecretSize { .. }
        | Refusal::SecretsFull { .. }
        | Refusal::WrongShare { .. }
        | Refusal::WrongSeed
        | Refusal::Checkpoint(_) => ErrorCode::Malformed,
        Refusal::Busy | Refusal::Asked { .. } | Refusal::TooManyGrants { .. } => ErrorCode::Busy,
        Refusal::NoManifest => ErrorCode::NoManifest,
        Refusal::Recovering => ErrorCode::Recovering,
        Refusal::NotRecovering | Refusal::SecretVersion { .. } => ErrorCode::Conflict,
        Refusal::History(error) => match error {
            HistoryError::OtherDeployment { .. } => ErrorCode::WrongDeployment,
            HistoryError::Broken { .. } => ErrorCode::Conflict,
            HistoryError::NotSigned { .. } => ErrorCode::NotSigned,
            HistoryError::Manifest {
                source:
                    ManifestError::Json { .. }
                    | ManifestError::MissingValues { .. }
                    | ManifestError::TooLong { .. }
                    | ManifestError::Invalid { .. },
                ..
            } => ErrorCode::Malformed,
            _ => ErrorCode::Malformed,
        },
        Refusal::OwnIdentityMissing { .. } => ErrorCode::NotInManifest,
        Refusal::OwnEvidence(_) => ErrorCode::Contraindicated,
        Refusal::NotSigned(_) | Refusal::UnknownHolder { .. } => ErrorCode::NotSigned,
        Refusal::OtherLog => ErrorCode::WrongDeployment,
        Refusal::Rollback { .. } | Refusal::Fork { .. } | Refusal::Behind { .. } => ErrorCode::Rollback,
        Refusal::Denied(denied) => match denied {
            Denied::NotAttested | Denied::WrongRole => ErrorCode::NotVerified,
            Denied::ManifestMoved => ErrorCode::Busy,
            Denied::NotListed { .. } | Denied::NotAWorkload { .. } | Denied::OtherPlatform { .. } => {
                ErrorCode::NotInManifest
            }
            Denied::SecretMissing { .. } => ErrorCode::SecretMissing,
        },
        Refusal::Certificate(error) => match error {
            CaError::RequestTooLong { .. }
            | CaError::RequestMalformed
            | CaError::RequestAlgorithm { .. }
            | CaError::NotPossessed => ErrorCode::Malformed,
            _ => ErrorCode::Internal,
        },
        Refusal::Store(_) | Refusal::Commit(_) | Refusal::Stopped { .. } | Refusal::Internal(_) => ErrorCode::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of each, so that a new variant needs a decision here: the `match` in `code` is exhaustive, and the golden
    /// text shows what a peer hears.
    fn all() -> Vec<Refusal> {
        let key = Digest::of(b"key");
        let identity = Identity(Digest::of(b"identity"));
        let invalid = ManifestError::Invalid { path: "version".into(), reason: "only version 1 is known".into() };
        let deployment = |byte| protocol::DeploymentId::from_bytes([byte; 16]);
        vec![
            Refusal::WrongPurpose { request: "set-manifest", purpose: Purpose::Verify },
            Refusal::Malformed { reason: "expected value".into() },
            Refusal::Busy,
            Refusal::Asked { limit: 1 },
            Refusal::TooManyGrants { limit: 1 },
            Refusal::NoManifest,
            Refusal::Recovering,
            Refusal::NotRecovering,
            Refusal::History(HistoryError::Manifest { generation: 2, source: invalid }),
            Refusal::History(HistoryError::OtherDeployment {
                generation: 1,
                got: deployment(1),
                expected: deployment(2),
            }),
            Refusal::History(HistoryError::Broken { generation: 2, got: key, expected: Digest::ZERO }),
            Refusal::History(HistoryError::NotSigned {
                generation: 1,
                source: QuorumError::TooFew { got: 0, threshold: 1 },
            }),
            Refusal::OwnIdentityMissing { identity },
            Refusal::OwnEvidence(AppraiseError::SoftwareNotAccepted),
            Refusal::UnusableKey { path: "owners.keys", key, expected: "a P-384 key" },
            Refusal::HoldersChanged,
            Refusal::OwnersChanged,
            Refusal::HistoryFull { size: 2, limit: 1 },
            Refusal::NotSigned(QuorumError::UnknownKey { key }),
            Refusal::SecretName { limit: 128 },
            Refusal::SecretSize { got: 0, limit: 1 },
            Refusal::SecretVersion { got: 1, current: 1 },
            Refusal::SecretsFull { limit: 1 },
            Refusal::UnknownHolder { holder: key },
            Refusal::WrongShare { holder: key },
            Refusal::WrongSeed,
            Refusal::Checkpoint(CheckpointError::TooLong { got: 9999 }),
            Refusal::OtherLog,
            Refusal::Rollback { stored: 1, shown: 2 },
            Refusal::Fork { stored: 2, shown: 1 },
            Refusal::Behind { size: 1, known: 2 },
            Refusal::Denied(Denied::NotAttested),
            Refusal::Denied(Denied::WrongRole),
            Refusal::Denied(Denied::ManifestMoved),
            Refusal::Denied(Denied::NotListed { identity }),
            Refusal::Denied(Denied::NotAWorkload { identity }),
            Refusal::Denied(Denied::SecretMissing { name: "model".into() }),
            Refusal::Certificate(CaError::RequestTooLong { got: 9999 }),
            Refusal::Certificate(CaError::RequestMalformed),
            Refusal::Certificate(CaError::RequestAlgorithm { what: "key" }),
            Refusal::Certificate(CaError::NotPossessed),
            Refusal::Certificate(CaError::NoName),
            Refusal::Certificate(CaError::Encode { reason: "inner workings".into() }),
            Refusal::Commit(StoreError::Moved),
            Refusal::Store(StoreError::Damaged { what: "inner workings".into() }),
            Refusal::Stopped { reason: "inner workings".into() },
            Refusal::Internal(Fault::Unreachable { what: "inner workings" }),
            Refusal::Internal(Fault::Sealed { name: "inner workings".into(), source: SealError::NotGenuine }),
        ]
    }

    #[test]
    fn every_refusal_has_a_code_and_tells_nothing_of_our_inner_workings() {
        let mut text = String::new();
        for refusal in all() {
            let error = answer(&refusal);
            assert!(!error.message.contains("inner workings"), "{error:?}");
            let code = serde_json::to_string(&error.code).unwrap();
            text.push_str(&format!("{}: {}\n", code.trim_matches('"'), error.message));
        }
        expect_test::expect![[r"
            unsupported: request `set-manifest` does not belong into a channel with purpose `verify`
            malformed: the message cannot be read: expected value
            busy: too many requests are waiting
            busy: the state was shown 1 times in this channel, which is the limit
            busy: 1 certificates were issued for this identity within one lease, which is the limit
            no-manifest: no manifest is set yet
            recovering: the Coordinator lost its seed and waits for share holders
            conflict: the Coordinator is not recovering
            malformed: manifest of generation 2: manifest `version`: only version 1 is known
            wrong-deployment: manifest of generation 1 is for deployment 01010101010101010101010101010101, expected 02020202020202020202020202020202
            conflict: manifest of generation 2 follows transition 2c70e12b7a06, its predecessor is 000000000000
            not-signed: signatures of generation 1: 0 of 1 needed signatures
            not-in-manifest: the manifest does not list this Coordinator's identity 689f6a627384 with the role `coordinator`
            contraindicated: the manifest's reference values do not accept this Coordinator's own evidence: software evidence is not accepted by these reference values
            malformed: manifest `owners.keys`: key 2c70e12b7a06 is not a P-384 key
            unsupported: the manifest changes `seed_share_holders`, which this release cannot do: the seed would have to change
            unsupported: the manifest changes `owners`, which this release cannot do: pods know them from their initdata
            malformed: the history of manifests is full: 2 bytes, at most 1 can be shown to a client
            not-signed: the secret is not signed by its owners: key 2c70e12b7a06 is not among the owners
            malformed: a secret's name is 1 to 128 of the characters `a-z A-Z 0-9 . _ -` and does not begin with a dot
            malformed: a secret of 0 bytes; from 1 to 1 can be stored
            conflict: version 1 of the secret does not follow version 1
            malformed: 1 secrets are stored, which is the limit
            not-signed: key 2c70e12b7a06 holds no share of this seed
            malformed: the share is not the one that holder 2c70e12b7a06 was given
            malformed: the shares do not rebuild the seed that signed the stored history; all of them are dropped
            malformed: the checkpoint that came with the share cannot be used: a checkpoint of 9999 bytes, at most 4096 are read
            wrong-deployment: the checkpoint is of another log
            rollback: rollback: the stored log has 1 entries, a holder saw 2
            rollback: fork: the stored log of 2 entries does not contain the 1 that a holder saw
            rollback: rollback: this log has 1 entries, the workload was shown 2
            not-verified: no fresh evidence: one certificate is issued for each evidence
            not-verified: the evidence was not given in the role of a workload
            busy: the manifest changed meanwhile; attest again
            not-in-manifest: identity 689f6a627384 is not in the manifest
            not-in-manifest: identity 689f6a627384 is not a workload of the manifest
            secret-missing: secret `model` has no value yet
            malformed: no certificate was issued: a certificate request of 9999 bytes, at most 4096 are read
            malformed: no certificate was issued: the certificate request is not a PKCS #10 request
            malformed: no certificate was issued: the certificate request has another key than ECDSA on P-256 with SHA-256
            malformed: no certificate was issued: the certificate request is not signed by its own key
            internal: internal error
            internal: internal error
            internal: internal error
            internal: internal error
            internal: internal error
            internal: internal error
            internal: internal error
        "]].assert_eq(&text);
    }

    #[test]
    fn only_refusals_that_pass_by_themselves_are_called_temporary() {
        let temporary: Vec<_> = all().into_iter().filter(|refusal| answer(refusal).code.is_temporary()).collect();
        assert_eq!(
            temporary,
            [
                Refusal::Busy,
                Refusal::Asked { limit: 1 },
                Refusal::TooManyGrants { limit: 1 },
                Refusal::NoManifest,
                Refusal::Recovering,
                Refusal::Denied(Denied::ManifestMoved),
                Refusal::Denied(Denied::SecretMissing { name: "model".into() }),
            ]
        );
    }
}
