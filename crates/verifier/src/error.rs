//! Why Evidence was not accepted, by whose fault.

use protocol::digest::Measurement;
use protocol::software::ParseReportError;
use protocol::{Digest, Identity, ReportData, Tee};

use crate::dcap::DcapError;
use crate::endorsements::Need;
use crate::mismatch::Mismatch;
use crate::x509::{CrlError, PathError};

/// Whose fault a failure is. It decides between "no" and "could not tell" (promise P9), in one place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The document is not what it says it is, by its form.
    Malformed,
    /// A signature, or what two documents say of each other, is wrong.
    NotGenuine,
    /// Genuine, and made for somebody else.
    Unbound,
    /// The vendor has withdrawn a key.
    Revoked,
    /// Genuine, and not acceptable.
    Contraindicated,
    /// An Endorsement is not at hand, or cannot be used.
    Missing,
    /// An Endorsement is not of this time.
    Expired,
    /// This release cannot judge it.
    Unsupported,
}

impl Fault {
    /// Whether this is a "no", as opposed to "could not tell".
    pub const fn is_refusal(self) -> bool {
        match self {
            Self::Malformed | Self::NotGenuine | Self::Unbound | Self::Revoked | Self::Contraindicated => true,
            Self::Missing | Self::Expired | Self::Unsupported => false,
        }
    }
}

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
    /// A chain of certificates does not lead to the vendor's root.
    #[error("chain of certificates")]
    Path(#[from] PathError),
    /// The standing of a certificate is bad or unknown.
    #[error("revocation")]
    Crl(#[from] CrlError),
    /// SEV-SNP Evidence does not hold.
    #[error("SEV-SNP evidence")]
    Snp(#[from] crate::snp::SnpError),
    /// An Intel quote, or what Intel says about its platform.
    #[error("quote of an Intel TEE")]
    Dcap(#[from] DcapError),
    /// Evidence of a GPU or switch does not hold.
    #[error("device evidence")]
    Nvidia(#[from] crate::nvidia::NvidiaError),
    /// A reference integrity manifest cannot be used.
    #[error("reference integrity manifest")]
    Rim(#[from] crate::rim::RimError),
    /// OCSP says that a certificate is bad, or cannot tell.
    #[error("revocation")]
    Ocsp(#[from] crate::ocsp::OcspError),
    /// Could not tell: an Endorsement is not at hand.
    #[error("{need} is not at hand")]
    MissingEndorsement {
        /// Which.
        need: Need,
    },
    /// Malformed: more devices than a machine holds.
    #[error("evidence of {got} devices, at most {limit} are read")]
    TooManyDevices {
        /// How many came.
        got: usize,
        /// The limit.
        limit: usize,
    },
    /// Not genuine: a TEE of a kind that owns no devices.
    #[error("evidence of TEE `{}` comes with {got} devices, which it cannot vouch for", tee.name())]
    DevicesNotVouchedFor {
        /// The TEE.
        tee: Tee,
        /// How many came.
        got: usize,
    },
    /// Unbound: devices where none were asked for, so that nobody knows which nonce they should answer.
    #[error("evidence comes with {got} devices, and none were asked for")]
    DevicesUnexpected {
        /// How many came.
        got: usize,
    },
    /// Could not tell: a layer was not judged. A mistake of ours, answered by not trusting.
    #[error("layer `{layer}` was not judged")]
    NotJudged {
        /// Which.
        layer: &'static str,
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
    /// Contraindicated: the reference values name no platform with this TEE.
    #[error("evidence of TEE `{}` is not accepted by these reference values", tee.name())]
    NotAccepted {
        /// The TEE.
        tee: Tee,
    },
    /// Contraindicated: no entry of the reference values accepts this Evidence.
    #[error("{}", what_was_tried(tried))]
    NoEntryAccepts {
        /// What each entry for this TEE found.
        tried: Vec<Tried>,
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

/// What one entry of the reference values did not accept.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Tried {
    /// The entry's `platform`.
    pub platform: String,
    /// Every claim that differs.
    pub mismatches: Vec<Mismatch>,
}

fn what_was_tried(tried: &[Tried]) -> String {
    let entries: Vec<_> = tried
        .iter()
        .map(|entry| {
            let mismatches: Vec<_> = entry.mismatches.iter().map(ToString::to_string).collect();
            format!("`{}` does not accept {}", entry.platform, mismatches.join("; "))
        })
        .collect();
    entries.join("; and ")
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
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::TooLong { .. } | Self::TooManyDevices { .. } | Self::Malformed(_) => Fault::Malformed,
            Self::NotGenuine(_) | Self::DevicesNotVouchedFor { .. } => Fault::NotGenuine,
            Self::Unbound { .. } | Self::DevicesUnexpected { .. } => Fault::Unbound,
            Self::Unsupported { .. } | Self::NotJudged { .. } => Fault::Unsupported,
            Self::Path(error) => error.fault(),
            Self::Crl(error) => error.fault(),
            Self::Snp(error) => error.fault(),
            Self::Dcap(error) => error.fault(),
            Self::Nvidia(error) => error.fault(),
            Self::Rim(error) => error.fault(),
            Self::Ocsp(error) => error.fault(),
            Self::MissingEndorsement { .. } => Fault::Missing,
        }
    }

    /// Whether this is a "no", as opposed to "could not tell".
    pub fn is_refusal(&self) -> bool {
        self.fault().is_refusal()
    }

    /// A stable name.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLong { .. } => "evidence-too-long",
            Self::TooManyDevices { .. } => "evidence-too-many-devices",
            Self::DevicesNotVouchedFor { .. } => "evidence-devices-not-vouched-for",
            Self::Malformed(_) => "evidence-malformed",
            Self::NotGenuine(_) => "evidence-not-genuine",
            Self::Unbound { .. } => "evidence-unbound",
            Self::Unsupported { .. } => "evidence-unsupported",
            Self::DevicesUnexpected { .. } => "evidence-devices-unexpected",
            Self::NotJudged { .. } => "not-judged",
            Self::Path(error) => error.code(),
            Self::Crl(error) => error.code(),
            Self::Snp(error) => error.code(),
            Self::Dcap(error) => error.code(),
            Self::Nvidia(error) => error.code(),
            Self::Rim(error) => error.code(),
            Self::Ocsp(error) => error.code(),
            Self::MissingEndorsement { .. } => "endorsement-missing",
        }
    }

    /// The message with those of its sources, in one line.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            text.push_str(": ");
            text.push_str(&error.to_string());
            source = error.source();
        }
        text
    }

    /// What the user may do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::TooLong { .. }
            | Self::TooManyDevices { .. }
            | Self::DevicesNotVouchedFor { .. }
            | Self::DevicesUnexpected { .. }
            | Self::Malformed(_)
            | Self::NotGenuine(_)
            | Self::NotJudged { .. } => None,
            Self::Unbound { .. } => Some(
                "somebody between you and the TEE may be relaying Evidence; if the address is right, do not trust it"
                    .to_owned(),
            ),
            Self::Unsupported { tee } => Some(unsupported_hint(*tee)),
            Self::Path(error) => error.hint(),
            Self::Crl(error) => error.hint(),
            Self::Snp(error) => error.hint(),
            Self::Dcap(error) => error.hint(),
            Self::Nvidia(error) => error.hint(),
            Self::Rim(error) => error.hint(),
            Self::Ocsp(error) => error.hint(),
            Self::MissingEndorsement { .. } => {
                Some("fetch it with `casemate endorsements fetch`, or import a bundle that has it".to_owned())
            }
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
            | Self::NotAccepted { .. }
            | Self::OtherIdentity { .. } => true,
            // An entry that lacks nothing but a vendor's word might accept the Evidence yet.
            Self::NoEntryAccepts { tried } => {
                !tried.iter().any(|entry| entry.mismatches.iter().all(Mismatch::could_not_tell))
            }
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
            Self::NotAccepted { .. } => Some(
                "`casemate reference-values from` writes what would accept a piece of Evidence; read it before you use it"
                    .to_owned(),
            ),
            Self::NoEntryAccepts { tried } => {
                tried.iter().flat_map(|entry| &entry.mismatches).find_map(|mismatch| mismatch.hint.clone())
            }
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
