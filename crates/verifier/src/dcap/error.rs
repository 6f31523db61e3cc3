//! Why a quote, or what Intel says about its platform, is not accepted.

use protocol::Tee;
use protocol::digest::Hex;

use super::pck::PckError;
use super::quote::QuoteError;
use crate::error::Fault;
use crate::time::UnixTime;
use crate::value::Value;
use crate::x509::PathError;

/// Why a quote is not verified.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DcapError {
    /// Not a quote, or not one that this release reads.
    #[error("quote")]
    Quote(#[from] QuoteError),
    /// The quote of the other TEE.
    #[error("a quote of {}, presented as one of {}", got.name(), expected.name())]
    OtherTee {
        /// What the quote is of.
        got: Tee,
        /// What it was presented as.
        expected: Tee,
    },
    /// The PCK certificate does not say which platform it is for.
    #[error(transparent)]
    Pck(#[from] PckError),
    /// A certificate of Intel's that is not a PCK certificate, or not issued by one of the two PCK authorities.
    #[error("`{leaf}` issued by `{issuer}` is no PCK certificate below the root")]
    NotPck {
        /// The leaf's subject.
        leaf: String,
        /// Its issuer.
        issuer: String,
    },
    /// The platform's key did not sign the quoting enclave's report.
    #[error("the quoting enclave's report is not signed by the PCK")]
    QeReportSignature,
    /// The quoting enclave's report vouches for another attestation key.
    #[error("the quoting enclave's report does not name the attestation key: it has {reported}, expected {expected}")]
    AttestationKey {
        /// REPORTDATA of the quoting enclave.
        reported: Value,
        /// SHA-256 of key and authentication data, and zeros.
        expected: Value,
    },
    /// The attestation key did not sign the quote.
    #[error("the quote is not signed by its attestation key")]
    Signature,
    /// The quoting enclave is not the one that Intel's identity describes.
    #[error("the quoting enclave's {field} is {reported}, Intel's is {expected}")]
    QeIdentity {
        /// The field.
        field: &'static str,
        /// What the enclave has.
        reported: Value,
        /// What Intel says.
        expected: Value,
    },
    /// A quoting enclave older than any that Intel lists.
    #[error("the quoting enclave's SVN {svn} is below every level that Intel lists")]
    NoQeLevel {
        /// Its SVN.
        svn: u16,
    },
    /// A TDX module that is not the one that Intel's TCB info describes.
    #[error("the TDX module's {field} is {reported}, Intel's is {expected}")]
    TdxModule {
        /// The field.
        field: &'static str,
        /// What the module has.
        reported: Value,
        /// What Intel says.
        expected: Value,
    },
    /// A TDX module of a version, or with an SVN, that Intel does not list.
    #[error("TDX module version {version} with SVN {svn} is below every level that Intel lists")]
    NoModuleLevel {
        /// Major version, TEE_TCB_SVN byte 1.
        version: u8,
        /// SVN, TEE_TCB_SVN byte 0.
        svn: u8,
    },
    /// A platform older than any level that Intel lists.
    #[error("the platform's TCB {cpu_svn} (PCE {pce_svn}) is below every level that Intel lists")]
    NoTcbLevel {
        /// The SVNs of its components.
        cpu_svn: Hex<16>,
        /// The SVN of its provisioning certification enclave.
        pce_svn: u16,
    },
    /// Intel has revoked this TCB.
    #[error("Intel has revoked the TCB of the {of}")]
    Revoked {
        /// Of what.
        of: &'static str,
    },
    /// A document of Intel's that is at hand and cannot be used.
    #[error("{document}: {problem}")]
    Collateral {
        /// Which: TCB info or QE identity.
        document: &'static str,
        /// What is wrong with it.
        problem: CollateralProblem,
    },
}

/// Why a document of Intel's cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CollateralProblem {
    /// Not the JSON that Intel's service sends.
    #[error("not as Intel's service sends it: {reason}")]
    Malformed {
        /// Why.
        reason: String,
    },
    /// No certificate at hand made its signature.
    #[error("not signed by any `Intel SGX TCB Signing` certificate at hand")]
    Unsigned,
    /// The signer's certificate does not lead to Intel's root, or is not of this time.
    #[error("signer")]
    Signer(#[source] Box<PathError>),
    /// Not of this time.
    #[error("from {issue_date} to {next_update}, it is {now}")]
    Expired {
        /// From when it holds.
        issue_date: UnixTime,
        /// Until when it held.
        next_update: UnixTime,
        /// The time of the appraisal.
        now: UnixTime,
    },
}

impl DcapError {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Quote(QuoteError::Version(_) | QuoteError::KeyType(_) | QuoteError::NoChain(_)) => Fault::Unsupported,
            Self::Quote(QuoteError::Vendor(_)) => Fault::NotGenuine,
            Self::Quote(_) | Self::OtherTee { .. } | Self::Pck(_) => Fault::Malformed,
            Self::NotPck { .. }
            | Self::QeReportSignature
            | Self::AttestationKey { .. }
            | Self::Signature
            | Self::QeIdentity { .. }
            | Self::TdxModule { .. } => Fault::NotGenuine,
            Self::NoQeLevel { .. } | Self::NoModuleLevel { .. } | Self::NoTcbLevel { .. } => Fault::Contraindicated,
            Self::Revoked { .. } => Fault::Revoked,
            // A document that cannot be used is as good as none.
            Self::Collateral { problem: CollateralProblem::Expired { .. }, .. } => Fault::Expired,
            Self::Collateral { .. } => Fault::Missing,
        }
    }

    /// The stable name.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Quote(error) => match error {
                QuoteError::Version(_) => "quote-version",
                QuoteError::KeyType(_) => "quote-key-type",
                QuoteError::Vendor(_) => "quote-qe-vendor",
                QuoteError::NoChain(_) => "quote-without-chain",
                _ => "quote-malformed",
            },
            Self::OtherTee { .. } => "quote-other-tee",
            Self::Pck(_) => "pck-malformed",
            Self::NotPck { .. } => "pck-role",
            Self::QeReportSignature => "qe-report-signature",
            Self::AttestationKey { .. } => "qe-report-attestation-key",
            Self::Signature => "quote-signature",
            Self::QeIdentity { .. } => "qe-identity-mismatch",
            Self::NoQeLevel { .. } => "qe-tcb-unknown",
            Self::TdxModule { .. } => "tdx-module-mismatch",
            Self::NoModuleLevel { .. } => "tdx-module-tcb-unknown",
            Self::NoTcbLevel { .. } => "tcb-unknown",
            Self::Revoked { .. } => "tcb-revoked",
            Self::Collateral { problem, .. } => match problem {
                CollateralProblem::Malformed { .. } => "collateral-malformed",
                CollateralProblem::Unsigned => "collateral-unsigned",
                CollateralProblem::Signer(_) => "collateral-signer",
                CollateralProblem::Expired { .. } => "collateral-expired",
            },
        }
    }

    /// What the user may do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Quote(QuoteError::NoChain(_)) => Some(
                "the host's quoting service has no PCK certificate: register the platform with Intel, and point its \
                 provisioning agent to a working cache"
                    .to_owned(),
            ),
            Self::NoQeLevel { .. } | Self::NoModuleLevel { .. } | Self::NoTcbLevel { .. } => {
                Some("update the machine's firmware, TDX module and DCAP packages".to_owned())
            }
            Self::Revoked { .. } => Some("Intel has withdrawn this TCB: do not trust the machine".to_owned()),
            Self::Collateral { problem: CollateralProblem::Expired { .. }, .. } => Some(
                "fetch the current one with `casemate endorsements fetch`; if this machine's clock is wrong, set it"
                    .to_owned(),
            ),
            Self::Collateral { .. } => {
                Some("fetch it and its signer's chain with `casemate endorsements fetch`".to_owned())
            }
            _ => None,
        }
    }
}
