//! Why SEV-SNP Evidence does not hold, by whose fault.

use protocol::reference::snp::SigningKey;
use protocol::reference::{AmdProduct, TcbVersion};

use super::report::FormatError;
use crate::error::Fault;
use crate::value::Value;

/// Why SEV-SNP Evidence does not hold.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnpError {
    /// It is no report that this release reads.
    #[error("SNP evidence cannot be read")]
    Format(#[from] FormatError),
    /// The machine signs no reports: somebody masked its key.
    #[error("the report says that nobody signed it")]
    NotSigned,
    /// The key of the certificate that fits the report did not sign it.
    #[error("the report's signature is not by {key} of {product}, which it names as its signer")]
    Signature {
        /// Which kind of key.
        key: SigningKey,
        /// Of which product.
        product: AmdProduct,
    },
    /// No certificate at hand is of the key that the report names; the nearest one differs.
    #[error("no {key} certificate at hand is of this report's key: {}", list(differences))]
    OtherKey {
        /// Which kind of key the report names.
        key: SigningKey,
        /// How the nearest certificate differs from the report.
        differences: Vec<Difference>,
    },
    /// The key of a certificate signed the report, and the two contradict each other.
    #[error("the {key} certificate whose key signed the report contradicts it: {}", list(differences))]
    KeyContradicts {
        /// Which kind of key the report names.
        key: SigningKey,
        /// How.
        differences: Vec<Difference>,
    },
    /// More certificates fit the report than are tried, and none of those tried signed it.
    #[error("none of the first {tried} {key} certificates that fit this report is of the key that signed it")]
    TooManyKeys {
        /// Which kind of key the report names.
        key: SigningKey,
        /// How many were tried.
        tried: usize,
    },
    /// The certificate of a signing key without what makes it one.
    #[error("key certificate")]
    KeyCertificate(#[from] KeyCertificateError),
    /// A key of one kind below the authority of the other.
    #[error("{key} certificate is issued by `{issuer}`, expected `{expected}`")]
    Authority {
        /// Which kind of key.
        key: SigningKey,
        /// The common name of its issuer.
        issuer: String,
        /// What it has to be.
        expected: String,
    },
}

/// One thing that a report and a certificate say differently.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// What it is about.
    pub field: &'static str,
    /// What the report says.
    pub report: Value,
    /// What the certificate says.
    pub certificate: Value,
}

fn list(differences: &[Difference]) -> String {
    if differences.is_empty() {
        return "one fits, and its key did not sign".to_owned();
    }
    let texts: Vec<_> = differences
        .iter()
        .map(|Difference { field, report, certificate }| format!("{field} is {report}, certified is {certificate}"))
        .collect();
    texts.join("; ")
}

/// What is wrong with the certificate of a signing key (AMD, "VCEK Certificate and KDS Interface Specification", 57230,
/// chapter 3).
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyCertificateError {
    /// An extension is not there.
    #[error("extension {oid} ({name}) is missing")]
    Missing {
        /// Which.
        oid: &'static str,
        /// AMD's name for it.
        name: &'static str,
    },
    /// An extension cannot be read.
    #[error("extension {oid} ({name}) cannot be read")]
    Unreadable {
        /// Which.
        oid: &'static str,
        /// AMD's name for it.
        name: &'static str,
    },
    /// The product is none that this release has a root key for.
    #[error("product `{name}` is none of Milan, Genoa, Turin")]
    Product {
        /// What it says.
        name: String,
    },
    /// Both the chip of a VCEK and the provider of a VLEK, or neither, or a subject of another kind.
    #[error("it is neither a VCEK's nor a VLEK's: its subject is `{subject}`")]
    Kind {
        /// The common name of its subject.
        subject: String,
    },
    /// The key is not on P-384.
    #[error("its key is {got}, AMD's are on P-384")]
    Curve {
        /// What it is.
        got: &'static str,
    },
}

impl SnpError {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Format(error) if error.is_unknown() => Fault::Unsupported,
            Self::Format(_) => Fault::Malformed,
            Self::NotSigned | Self::Signature { .. } | Self::KeyContradicts { .. } | Self::Authority { .. } => {
                Fault::NotGenuine
            }
            // Somebody else's certificate says nothing about this report: the right one is missing.
            Self::OtherKey { .. } | Self::TooManyKeys { .. } => Fault::Missing,
            Self::KeyCertificate(KeyCertificateError::Product { .. }) => Fault::Unsupported,
            Self::KeyCertificate(_) => Fault::Malformed,
        }
    }

    /// The stable name.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Format(FormatError::Length { .. }) => "snp-length",
            Self::Format(FormatError::Version { .. }) => "snp-version",
            Self::Format(FormatError::Algorithm { .. }) => "snp-signature-algorithm",
            Self::Format(FormatError::Reserved { .. }) => "snp-reserved",
            Self::Format(FormatError::Value { .. }) => "snp-value",
            Self::Format(FormatError::Processor { .. }) => "snp-processor",
            Self::Format(FormatError::Table(_)) => "snp-certificate-table",
            Self::NotSigned => "snp-not-signed",
            Self::Signature { .. } => "snp-signature",
            Self::OtherKey { .. } => "snp-other-key",
            Self::TooManyKeys { .. } => "snp-too-many-keys",
            Self::KeyContradicts { .. } => "snp-key-contradicts",
            Self::KeyCertificate(_) => "snp-key-certificate",
            Self::Authority { .. } => "snp-key-authority",
        }
    }

    /// What the user may do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Format(error) if error.is_unknown() => {
                Some("the machine is newer than this release; a newer release of casemate may know it".to_owned())
            }
            Self::Format(_) | Self::KeyCertificate(_) | Self::Authority { .. } | Self::KeyContradicts { .. } => None,
            Self::NotSigned => Some(
                "the host's operator has set MaskChipKey; without a signature there is nothing to trust: ask for it to \
                 be cleared (`snphost config reset`)"
                    .to_owned(),
            ),
            Self::Signature { .. } => {
                Some("the report was changed after it was signed, or made up: do not trust the machine".to_owned())
            }
            Self::TooManyKeys { .. } => Some(
                "the report masks its chip; have the host add the certificate to its reports (`snphost import`), or import \
                 only the certificates of the machines that you use"
                    .to_owned(),
            ),
            Self::OtherKey { differences, .. } if differences.is_empty() => Some(
                "the report does not name its machine, so the key may be another one's; have the host add the certificate \
                 to its reports (`snphost import`), or give it with `--endorsement`. If it is the right one, the report was \
                 changed after it was signed"
                    .to_owned(),
            ),
            Self::OtherKey { .. } => Some(
                "fetch the certificate of this report's key with `casemate endorsements fetch`; a host that changed its \
                 firmware or its reported TCB has another key than before"
                    .to_owned(),
            ),
        }
    }
}

/// The differences of two TCB versions.
pub(crate) fn tcb_differences(report: TcbVersion, certificate: TcbVersion) -> Vec<Difference> {
    const FIELDS: [&str; 5] = [
        "reported_tcb.fmc",
        "reported_tcb.bootloader",
        "reported_tcb.tee",
        "reported_tcb.snp",
        "reported_tcb.microcode",
    ];
    let pairs = super::tcb::components(report).into_iter().zip(super::tcb::components(certificate));
    FIELDS
        .into_iter()
        .zip(pairs)
        .filter(|(_, ((_, report), (_, certificate)))| report != certificate)
        .map(|(field, ((_, report), (_, certificate)))| Difference {
            field,
            report: report.into(),
            certificate: certificate.into(),
        })
        .collect()
}
