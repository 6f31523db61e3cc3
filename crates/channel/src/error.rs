//! Why a channel was not opened, or broke.

use std::time::Duration;

use attester::AttestError;
use protocol::api::{ApiError, ErrorCode};
use protocol::{DeploymentId, Purpose, Role};
use verifier::{AppraiseError, VerifyError};

/// Why a channel was not opened, or broke.
///
/// [`ChannelError::is_refusal`] separates "no" (exit status 1) from "could not tell" (exit status 2).
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// The connection broke.
    #[error("connection broke {during}: {reason}")]
    Io {
        /// In which step.
        during: Step,
        /// The kind of failure.
        kind: std::io::ErrorKind,
        /// The system's words.
        reason: String,
    },
    /// The peer closed the channel, in order, where a message was due.
    #[error("peer closed the channel {during}")]
    Closed {
        /// In which step.
        during: Step,
    },
    /// The peer took too long.
    #[error("no progress {during} within {} s", limit.as_secs_f32())]
    Timeout {
        /// In which step.
        during: Step,
        /// How long was waited.
        limit: Duration,
    },
    /// The TLS handshake failed.
    #[error("TLS handshake failed: {reason}")]
    Tls {
        /// The TLS library's words.
        reason: String,
    },
    /// The peer did not agree to the protocol `casemate/1`.
    #[error("peer does not speak `casemate/1`")]
    NoProtocol,
    /// A frame was longer than its limit.
    #[error("frame of {got} bytes {during}, at most {limit} are read")]
    FrameTooLong {
        /// In which step.
        during: Step,
        /// The length.
        got: usize,
        /// The limit.
        limit: usize,
    },
    /// A frame holds no message that is due in this step.
    #[error("malformed message {during}: {reason}")]
    Malformed {
        /// In which step.
        during: Step,
        /// The parser's words.
        reason: String,
    },
    /// The peer speaks another version of the opening.
    #[error("peer speaks version {got} of the channel, expected {expected}")]
    Version {
        /// The peer's version.
        got: u32,
        /// Ours.
        expected: u32,
    },
    /// The client's purpose is not served here.
    #[error("purpose `{}` is not served here", got.name())]
    PurposeNotServed {
        /// The client's purpose.
        got: Purpose,
    },
    /// The client means another deployment.
    #[error("client means deployment `{got}`, this is `{expected}`")]
    WrongDeployment {
        /// The client's deployment.
        got: DeploymentId,
        /// Ours.
        expected: DeploymentId,
    },
    /// The server says that it is something else than was asked for.
    #[error("server is a {}, expected a {}", got.name(), expected.name())]
    WrongRole {
        /// The server's role.
        got: Role,
        /// The expected one.
        expected: Role,
    },
    /// The client must attest here and did not.
    #[error("client did not attest, which purpose `{}` needs", purpose.name())]
    EvidenceMissing {
        /// The purpose.
        purpose: Purpose,
    },
    /// Our own TEE made no Evidence.
    #[error("own evidence could not be made")]
    Attest(#[source] AttestError),
    /// The peer's Evidence was not verified.
    #[error("peer's evidence was not verified")]
    Verify(#[source] VerifyError),
    /// The peer's Evidence was verified, and it is not acceptable.
    #[error("peer's evidence is not acceptable")]
    Appraise(#[source] AppraiseError),
    /// We refused the client after judging its Evidence.
    #[error("client refused")]
    Unauthorized(#[source] ApiError),
    /// The peer refused us.
    #[error("peer refused")]
    Refused(#[source] ApiError),
    /// Our fault.
    #[error("internal: {reason}")]
    Internal {
        /// What went wrong.
        reason: String,
    },
}

/// What was going on, as a fragment of a sentence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Step {
    /// The TLS handshake.
    Handshake,
    /// The client's first message.
    Hello,
    /// The server's first message.
    ServerEvidence,
    /// The client's Evidence or verdict.
    ClientAnswer,
    /// The server's verdict.
    Verdict,
    /// Making Evidence of our own.
    Attest,
    /// Application messages.
    Message,
    /// Closing.
    Close,
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Handshake => "in the TLS handshake",
            Self::Hello => "at the client's hello",
            Self::ServerEvidence => "at the server's evidence",
            Self::ClientAnswer => "at the client's evidence",
            Self::Verdict => "at the server's verdict",
            Self::Attest => "while making evidence",
            Self::Message => "between messages",
            Self::Close => "while closing",
        })
    }
}

impl ChannelError {
    /// Whether this is a "no", as opposed to "could not tell".
    pub fn is_refusal(&self) -> bool {
        todo!()
    }

    /// The stable code told to, or by, the peer; `None` when no side came to a decision.
    pub fn code(&self) -> Option<ErrorCode> {
        todo!()
    }

    /// Whether the same attempt may succeed later without anybody changing anything.
    pub fn is_temporary(&self) -> bool {
        todo!()
    }

    /// What the user may do about it.
    pub fn hint(&self) -> Option<String> {
        todo!()
    }
}
