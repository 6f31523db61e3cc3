//! Why Evidence was not accepted, by whose fault.

use protocol::digest::Measurement;
use protocol::software::ParseReportError;
use protocol::{Digest, Identity, ReportData, Tee};

/// Why Evidence was not verified.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// Malformed: larger than any TEE makes.
    #[error("evidence of {got} bytes, at most {limit} are read")]
    TooLong {
        /// Bytes received.
        got: usize,
        /// The limit.
        limit: usize,
    },
    /// Malformed: no software report.
    #[error("evidence is malformed")]
    Malformed(#[source] ParseReportError),
    /// Not genuine: it contradicts itself or its signature.
    #[error("evidence is not genuine")]
    NotGenuine(#[source] NotGenuine),
    /// Unbound: genuine, but made for another channel, nonce, purpose, role or deployment. This is what relayed
    /// Evidence gets.
    #[error(
        "evidence is not bound to this channel: report data is {}, expected {}",
        short(&got.0),
        short(&expected.0)
    )]
    Unbound {
        /// What this channel demands.
        expected: Box<ReportData>,
        /// What the Evidence carries.
        got: Box<ReportData>,
    },
    /// Could not tell: this release verifies no Evidence of that TEE.
    #[error("evidence of TEE `{}` could not be checked: this release does not verify it", tee.name())]
    Unsupported {
        /// The TEE.
        tee: Tee,
    },
}

/// How Evidence contradicts itself.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotGenuine {
    /// The signature is not by the root that the Evidence presents.
    #[error("signature is not by the presented root {}", root.short())]
    Signature {
        /// SHA-256 of the presented root key.
        root: Digest,
    },
    /// The chip id is not the digest of the root that the Evidence presents.
    #[error("chip id is {}, expected {} from the presented root", reported.short(), expected.short())]
    ChipId {
        /// What the Evidence carries.
        reported: Digest,
        /// SHA-256 of the presented root key.
        expected: Digest,
    },
}

/// Why verified Evidence is not acceptable.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppraiseError {
    /// Contraindicated: software Evidence where the reference values name no software root (promise P8).
    #[error("software evidence is not accepted by these reference values")]
    SoftwareNotAccepted,
    /// Contraindicated: the software TEE of another engine.
    #[error("software root is {}, accepted is {}", reported.short(), accepted.short())]
    OtherRoot {
        /// SHA-256 of the root that signed the Evidence.
        reported: Digest,
        /// SHA-256 of the one root that the reference values name.
        accepted: Digest,
    },
    /// Contraindicated: something else was started than the reference values allow.
    #[error("measurement is {}, accepted {}", reported.short(), list(accepted))]
    OtherMeasurement {
        /// What was started.
        reported: Measurement,
        /// What may be started.
        accepted: Vec<Measurement>,
    },
    /// Contraindicated: genuine and acceptable, and another pod than the one that was meant.
    #[error("identity is {}, expected {}", reported.0.short(), expected.0.short())]
    OtherIdentity {
        /// The identity in the Evidence.
        reported: Identity,
        /// The identity that was meant.
        expected: Identity,
    },
    /// Could not tell: this release appraises no Evidence of that TEE.
    #[error("evidence of TEE `{}` could not be checked: this release does not appraise it", tee.name())]
    Unsupported {
        /// The TEE.
        tee: Tee,
    },
}

/// The first 12 hex digits, as digests are shortened.
fn short(bytes: &[u8]) -> String {
    let mut text = hex::encode(bytes);
    text.truncate(12);
    text
}

/// LIMIT: this many measurements tell a reader which release was expected; a longer list is counted.
const LISTED: usize = 4;

fn list(measurements: &[Measurement]) -> String {
    let mut text = match measurements {
        [] => return "is none".to_owned(),
        [_] => "is ".to_owned(),
        _ => "are ".to_owned(),
    };
    let named: Vec<_> = measurements.iter().take(LISTED).map(Measurement::short).collect();
    text.push_str(&named.join(", "));
    match measurements.len().saturating_sub(LISTED) {
        0 => {}
        more => text.push_str(&format!(" and {more} more")),
    }
    text
}

impl VerifyError {
    /// Whether this is a "no", as opposed to "could not tell".
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::TooLong { .. } | Self::Malformed(_) | Self::NotGenuine(_) | Self::Unbound { .. } => true,
            Self::Unsupported { .. } => false,
        }
    }

    /// What the user may do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::TooLong { .. } | Self::Malformed(_) | Self::NotGenuine(_) => None,
            Self::Unbound { .. } => Some(
                "somebody between you and the TEE may be relaying Evidence; if the address is right, do not trust it"
                    .to_owned(),
            ),
            Self::Unsupported { tee } => Some(unsupported_hint(*tee)),
        }
    }
}

impl AppraiseError {
    /// Whether this is a "no", as opposed to "could not tell".
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::SoftwareNotAccepted
            | Self::OtherRoot { .. }
            | Self::OtherMeasurement { .. }
            | Self::OtherIdentity { .. } => true,
            Self::Unsupported { .. } => false,
        }
    }

    /// What the user may do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::SoftwareNotAccepted => Some(
                "the peer runs in the local engine, which protects nothing; reference values for it come from \
                 `casemate generate --reference-values local`"
                    .to_owned(),
            ),
            Self::OtherRoot { .. } => Some(
                "the peer runs under another local engine; run `casemate generate` again in the work folder whose engine \
                 runs it"
                    .to_owned(),
            ),
            Self::OtherMeasurement { .. } => Some(
                "the peer was started by another release; run `casemate generate` again with the release that starts it"
                    .to_owned(),
            ),
            Self::OtherIdentity { .. } => Some(
                "the peer was started with other initdata; check that address and work folder belong to the same \
                 deployment, and that what `casemate generate` wrote last is what runs"
                    .to_owned(),
            ),
            Self::Unsupported { tee } => Some(unsupported_hint(*tee)),
        }
    }
}

fn unsupported_hint(tee: Tee) -> String {
    format!("this is no statement about the peer; a release that verifies `{}` is needed", tee.name())
}
