//! Why an Endorsement could not be fetched. None of it says anything about the Evidence: all of it is "could not tell".

use std::time::Duration;

use protocol::Digest;
use verifier::endorsements::EndorsementKind;

/// LIMIT: the most of an answer's own words that a message repeats.
pub(crate) const QUOTE: usize = 80;

/// Text of a service, shortened for a message and without control characters.
pub(crate) fn quote(text: &str) -> String {
    text.chars().take(QUOTE).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// What is wrong with an answer that came as if it were right.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Wrong {
    /// It is another kind of document, or none.
    #[error("no {}", kind.name())]
    NotA {
        /// What was asked for.
        kind: EndorsementKind,
    },
    /// It holds more or fewer documents than the question has answers.
    #[error("{got} certificates")]
    Count {
        /// How many.
        got: usize,
    },
    /// It answers another question.
    #[error("an answer for `{got}` instead of `{asked}`")]
    Other {
        /// What was asked for.
        asked: String,
        /// What it answers.
        got: String,
    },
    /// A field that is not there, or not of its type.
    #[error("no field `{field}` that can be read")]
    Field {
        /// Its name.
        field: &'static str,
    },
    /// A document that is not what the digest beside it says.
    #[error("a document with digest {}, announced with {}", got.short(), announced.short())]
    WrongDigest {
        /// What stands beside it.
        announced: Digest,
        /// What it is.
        got: Digest,
    },
    /// The certificates of the signer are missing.
    #[error("no certificates in header `{header}`")]
    NoChain {
        /// Where they should be.
        header: &'static str,
    },
    /// An OCSP responder that does not answer the question (RFC 6960, 4.2.1).
    #[error("OCSP status {status} instead of an answer")]
    OcspStatus {
        /// `OCSPResponseStatus`.
        status: u8,
    },
}

/// Why a document could not be fetched.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The caller wants no network.
    #[error("working offline, and the cache does not have it")]
    Offline,
    /// Nobody gives it out.
    #[error("no service gives it out")]
    NoSource,
    /// An id that no vendor would give, and that is not put into an address.
    #[error("`{id}` is no id of a manifest")]
    BadId {
        /// The id, shortened.
        id: String,
    },
    /// A certificate of the Evidence that cannot be read, and about which nobody can be asked therefore.
    #[error("the certificate in question cannot be read")]
    BadCertificate,
    /// More needs at once than any Evidence has.
    #[error("more than {limit} documents at once")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// No connection, or one that broke.
    #[error("`{host}` does not answer `{path}`: {reason}")]
    Unreachable {
        /// Host and port.
        host: String,
        /// Path and query.
        path: String,
        /// The innermost cause.
        reason: String,
    },
    /// This system has no root certificates, so that no service can prove who it is.
    #[error("`{host}` is not asked, because this system has no root certificates: {reason}")]
    NoRoots {
        /// Host and port.
        host: String,
        /// The innermost cause.
        reason: String,
    },
    /// A connection, and no answer in time.
    #[error("`{host}` did not answer `{path}` within {} s", limit.as_secs_f32())]
    TimedOut {
        /// Host and port.
        host: String,
        /// Path and query.
        path: String,
        /// The time it had.
        limit: Duration,
    },
    /// 429 or 503: the service wants to be left alone for a while.
    #[error("`{host}` puts off `{path}` (status {status})")]
    PutOff {
        /// Host and port.
        host: String,
        /// Path and query.
        path: String,
        /// The HTTP status.
        status: u16,
        /// For how long, if it says so.
        retry_after: Option<Duration>,
    },
    /// Another 5xx.
    #[error("`{host}` failed on `{path}` (status {status})")]
    Failed {
        /// Host and port.
        host: String,
        /// Path and query.
        path: String,
        /// The HTTP status.
        status: u16,
    },
    /// 404 or 410.
    #[error("`{host}` does not have `{path}` (status {status})")]
    NotFound {
        /// Host and port.
        host: String,
        /// Path and query.
        path: String,
        /// The HTTP status.
        status: u16,
    },
    /// Any other status, redirections among them: where a service sends its callers is not for it to choose.
    #[error("`{host}` answers `{path}` with status {status}")]
    Unexpected {
        /// Host and port.
        host: String,
        /// Path and query.
        path: String,
        /// The HTTP status.
        status: u16,
    },
    /// More bytes than any genuine answer has.
    #[error("`{host}` answers `{path}` with more than {limit} bytes")]
    TooLong {
        /// Host and port.
        host: String,
        /// Path and query.
        path: String,
        /// The limit.
        limit: usize,
    },
    /// An answer that is none.
    #[error("`{host}` answers `{path}` with {wrong}")]
    Malformed {
        /// Host and port.
        host: String,
        /// Path and query.
        path: String,
        /// What is wrong.
        wrong: Wrong,
    },
    /// The service failed several times in a row, and is not asked for a while.
    #[error("`{host}` failed several times and is left alone for another {} s", left.as_secs().max(1))]
    CoolingDown {
        /// Host and port.
        host: String,
        /// For how long.
        left: Duration,
    },
    /// The fetch ended without a result, because the program is ending.
    #[error("the fetch was given up")]
    GivenUp,
}

impl FetchError {
    /// Whether this is "could not tell" rather than "no". Always: that a document is missing proves nothing.
    pub fn could_not_tell(&self) -> bool {
        true
    }

    /// A stable name, in kebab-case.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::NoSource => "no-source",
            Self::BadId { .. } => "bad-id",
            Self::BadCertificate => "bad-certificate",
            Self::TooMany { .. } => "too-many",
            Self::Unreachable { .. } => "unreachable",
            Self::NoRoots { .. } => "no-roots",
            Self::TimedOut { .. } => "timed-out",
            Self::PutOff { .. } => "put-off",
            Self::Failed { .. } => "service-failed",
            Self::NotFound { .. } => "not-found",
            Self::Unexpected { .. } => "unexpected-status",
            Self::TooLong { .. } => "answer-too-long",
            Self::Malformed { .. } => "malformed-answer",
            Self::CoolingDown { .. } => "cooling-down",
            Self::GivenUp => "given-up",
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Offline => "on a machine with a way out, `casemate endorsements export` writes a bundle; \
                              `casemate endorsements import` takes it here"
                .into(),
            Self::NoSource => "it comes with the Evidence; ask whoever runs the machine".into(),
            Self::Unreachable { host, .. } | Self::TimedOut { host, .. } => {
                format!(
                    "see whether this machine reaches `{host}`; a proxy or an offline bundle helps where it must not"
                )
            }
            Self::NoRoots { .. } => "install the system's root certificates (`ca-certificates`), or ask a proxy".into(),
            Self::PutOff { retry_after: Some(wait), .. } => format!("repeat it in {} s", wait.as_secs().max(1)),
            Self::CoolingDown { left, .. } => format!("repeat it in {} s", left.as_secs().max(1)),
            Self::PutOff { .. } | Self::Failed { .. } => "repeat it in a minute".into(),
            Self::NotFound { host, .. } => {
                format!(
                    "`{host}` does not know this chip, platform or firmware (yet); see whether the address is right"
                )
            }
            Self::Unexpected { host, .. } | Self::Malformed { host, .. } | Self::TooLong { host, .. } => {
                format!(
                    "see whether `{host}` is the service itself, and not a login page or a proxy that is in the way"
                )
            }
            Self::BadId { .. } | Self::BadCertificate | Self::TooMany { .. } | Self::GivenUp => return None,
        })
    }

    /// Whether another attempt can end otherwise.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::TimedOut { .. } | Self::PutOff { .. } | Self::Failed { .. })
    }
}
