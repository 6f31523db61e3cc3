//! Why a channel was not opened, or broke.

use std::time::Duration;

use attester::AttestError;
use protocol::api::{ApiError, ErrorCode};
use protocol::{DeploymentId, Purpose, Role};
use verifier::{AppraiseError, Fault, VerifyError};

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
    /// TLS failed. A client's certificate is judged after the client's own handshake is over, so that this may come later.
    #[error("TLS failed {during}: {reason}")]
    Tls {
        /// In which step.
        during: Step,
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
    /// Something refused us before any Evidence of the peer was verified. This is the word of anybody on the path: good for
    /// a retry or a message to a person, never a "no".
    #[error("refused before the peer's evidence was verified")]
    RefusedBeforeEvidence(#[source] ApiError),
    /// The peer refused us, after its Evidence was verified and appraised.
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
    /// Verifying the peer's Evidence.
    Judge,
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
            Self::Judge => "while verifying the peer's evidence",
            Self::Message => "between messages",
            Self::Close => "while closing",
        })
    }
}

impl ChannelError {
    /// An IO error in a step. TLS failures come inside IO errors, and are told apart here.
    pub(crate) fn io(during: Step, error: &std::io::Error) -> Self {
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match tls {
            Some(
                rustls::Error::NoApplicationProtocol
                | rustls::Error::AlertReceived(rustls::AlertDescription::NoApplicationProtocol),
            ) => Self::NoProtocol,
            Some(error) => Self::Tls { during, reason: error.to_string() },
            None => Self::Io { during, kind: error.kind(), reason: error.to_string() },
        }
    }

    /// Whether this is a "no", as opposed to "could not tell".
    pub fn is_refusal(&self) -> bool {
        !matches!(self, Self::RefusedBeforeEvidence(_)) && self.code().is_some_and(ErrorCode::is_refusal)
    }

    /// The stable code told to, or by, the peer; `None` when no side came to a decision. That of a
    /// [`ChannelError::RefusedBeforeEvidence`] is anybody's word.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Io { .. } | Self::Closed { .. } | Self::Timeout { .. } | Self::Tls { .. } | Self::NoProtocol => None,
            Self::FrameTooLong { .. } | Self::Malformed { .. } => Some(ErrorCode::Malformed),
            Self::Version { .. } | Self::PurposeNotServed { .. } => Some(ErrorCode::Unsupported),
            Self::WrongDeployment { .. } => Some(ErrorCode::WrongDeployment),
            Self::WrongRole { .. } => Some(ErrorCode::NotInManifest),
            Self::EvidenceMissing { .. } => Some(ErrorCode::NotVerified),
            Self::Verify(error) if error.is_refusal() => Some(ErrorCode::NotVerified),
            Self::Appraise(error) if error.is_refusal() => Some(ErrorCode::Contraindicated),
            Self::Verify(_) | Self::Appraise(_) => Some(ErrorCode::Unsupported),
            Self::Unauthorized(error) | Self::RefusedBeforeEvidence(error) | Self::Refused(error) => Some(error.code),
            Self::Attest(_) | Self::Internal { .. } => Some(ErrorCode::Internal),
        }
    }

    /// Whether the same attempt may succeed later without anybody changing anything: the network's failures, and
    /// refusals that say so.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Io { .. } | Self::Closed { .. } | Self::Timeout { .. } | Self::Attest(_) => true,
            // A connection that breaks in the middle of a record looks like a TLS failure.
            Self::Tls { .. } => true,
            _ => self.code().is_some_and(ErrorCode::is_temporary),
        }
    }

    /// What the user may do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Io { .. } | Self::Closed { .. } | Self::Timeout { .. } => None,
            Self::Tls { .. } | Self::NoProtocol => {
                Some("another service may listen at this address; the user API has port 1313".to_owned())
            }
            Self::FrameTooLong { .. }
            | Self::Malformed { .. }
            | Self::Version { .. }
            | Self::PurposeNotServed { .. }
            | Self::EvidenceMissing { .. } => Some("client and server may be of different releases".to_owned()),
            Self::WrongDeployment { .. } | Self::WrongRole { .. } => {
                Some("check that address and work folder belong to the same deployment".to_owned())
            }
            Self::Attest(error) => error.hint(),
            Self::Verify(error) => error.hint(),
            Self::Appraise(error) => error.hint(),
            Self::Unauthorized(error) | Self::RefusedBeforeEvidence(error) | Self::Refused(error) => match error.code {
                code if code.is_temporary() => Some("try again later".to_owned()),
                ErrorCode::WrongDeployment => {
                    Some("check that address and work folder belong to the same deployment".to_owned())
                }
                _ => None,
            },
            Self::Internal { .. } => None,
        }
    }

    /// What the peer is told: the code and a fixed text that leaks nothing of policy or state.
    pub(crate) fn to_peer(&self) -> ApiError {
        let message = match self {
            // The authorisation wrote its answer for the peer.
            Self::Unauthorized(error) | Self::RefusedBeforeEvidence(error) | Self::Refused(error) => {
                return error.clone();
            }
            Self::FrameTooLong { .. } => "message is too long",
            Self::Malformed { .. } => "message is malformed",
            Self::Version { .. } => "this version of the channel is not spoken here",
            Self::PurposeNotServed { .. } => "this purpose is not served here",
            Self::WrongDeployment { .. } => "this is another deployment",
            Self::WrongRole { .. } => "this role was not asked for",
            Self::EvidenceMissing { .. } => "this purpose needs evidence of the client",
            Self::Verify(VerifyError::Unbound { .. }) => "evidence is not bound to this channel (report data)",
            Self::Verify(VerifyError::Unsupported { .. }) | Self::Appraise(AppraiseError::Unsupported { .. }) => {
                "evidence of this TEE is not verified here"
            }
            Self::Verify(error) => match error.fault() {
                Fault::Malformed => "evidence is malformed",
                Fault::NotGenuine => "evidence is not genuine",
                Fault::Unbound => "evidence is of another nonce or machine",
                Fault::Revoked => "evidence is signed by a key that its vendor has withdrawn",
                Fault::Contraindicated => "evidence is not acceptable",
                Fault::Missing | Fault::Expired | Fault::Unsupported => "evidence could not be verified",
            },
            Self::Appraise(_) => "evidence does not meet the reference values",
            Self::Attest(_) => "own evidence could not be made",
            Self::Io { .. } | Self::Closed { .. } | Self::Timeout { .. } | Self::Tls { .. } | Self::NoProtocol => {
                "the channel broke"
            }
            Self::Internal { .. } => "internal error",
        };
        ApiError::new(self.code().unwrap_or(ErrorCode::Internal), message)
    }
}

/// LIMIT: this many characters of a peer's text go into our messages.
const PRINTABLE_CHARS: usize = 200;

/// A peer's text, bounded and without control characters, so that it cannot fill or forge a log.
pub(crate) fn printable(text: &str) -> String {
    text.chars().take(PRINTABLE_CHARS).map(|char| if char.is_control() { ' ' } else { char }).collect()
}

/// A verified peer's refusal.
pub(crate) fn refused(error: ApiError) -> ChannelError {
    ChannelError::Refused(bounded(&error))
}

/// A refusal that nobody vouches for.
pub(crate) fn refused_before_evidence(error: ApiError) -> ChannelError {
    ChannelError::RefusedBeforeEvidence(bounded(&error))
}

fn bounded(error: &ApiError) -> ApiError {
    ApiError::new(error.code, printable(&error.message))
}

#[cfg(test)]
mod tests {
    use protocol::{Digest, ReportData, Tee};
    use verifier::NotGenuine;

    use super::*;

    fn every_error() -> Vec<ChannelError> {
        let during = Step::Hello;
        let text = || "secret detail".to_owned();
        let deployment = |byte| DeploymentId::from_bytes([byte; 16]);
        let unbound =
            VerifyError::Unbound { expected: Box::new(ReportData([1; 64])), got: Box::new(ReportData([2; 64])) };
        let attest = AttestError::Failed { attester: "test", reason: text() };
        vec![
            ChannelError::Io { during, kind: std::io::ErrorKind::BrokenPipe, reason: text() },
            ChannelError::Closed { during },
            ChannelError::Timeout { during, limit: Duration::from_secs(1) },
            ChannelError::Tls { during, reason: text() },
            ChannelError::NoProtocol,
            ChannelError::FrameTooLong { during, got: 2, limit: 1 },
            ChannelError::Malformed { during, reason: text() },
            ChannelError::Version { got: 2, expected: 1 },
            ChannelError::PurposeNotServed { got: Purpose::Set },
            ChannelError::WrongDeployment { got: deployment(1), expected: deployment(2) },
            ChannelError::WrongRole { got: Role::Workload, expected: Role::Coordinator },
            ChannelError::EvidenceMissing { purpose: Purpose::Mesh },
            ChannelError::Attest(attest),
            ChannelError::Verify(VerifyError::TooLong { got: 2, limit: 1 }),
            ChannelError::Verify(VerifyError::NotGenuine(NotGenuine::Signature { root: Digest::ZERO })),
            ChannelError::Verify(unbound),
            ChannelError::Verify(VerifyError::Unsupported { tee: Tee::Snp }),
            ChannelError::Appraise(AppraiseError::SoftwareNotAccepted),
            ChannelError::Appraise(AppraiseError::OtherRoot { reported: Digest::ZERO, accepted: Digest::of(b"root") }),
            ChannelError::Appraise(AppraiseError::Unsupported { tee: Tee::Snp }),
            ChannelError::Unauthorized(ApiError::new(ErrorCode::NotInManifest, "not in the manifest")),
            ChannelError::Refused(ApiError::new(ErrorCode::Recovering, "recovering")),
            ChannelError::Refused(ApiError::new(ErrorCode::NotVerified, "not verified")),
            ChannelError::RefusedBeforeEvidence(ApiError::new(ErrorCode::Recovering, "recovering")),
            ChannelError::RefusedBeforeEvidence(ApiError::new(ErrorCode::WrongDeployment, "another deployment")),
            ChannelError::Internal { reason: text() },
        ]
    }

    #[test]
    fn no_and_could_not_tell_are_told_apart() {
        let refusals: Vec<_> =
            every_error().into_iter().filter(ChannelError::is_refusal).map(|error| error.to_string()).collect();
        assert_eq!(
            refusals,
            [
                "client means deployment `01010101010101010101010101010101`, this is `02020202020202020202020202020202`",
                "server is a workload, expected a coordinator",
                "client did not attest, which purpose `mesh` needs",
                "peer's evidence was not verified",
                "peer's evidence was not verified",
                "peer's evidence was not verified",
                "peer's evidence is not acceptable",
                "peer's evidence is not acceptable",
                "client refused",
                "peer refused",
            ]
        );
    }

    #[test]
    fn the_peer_is_told_nothing_of_policy_or_state() {
        for error in every_error() {
            let told = error.to_peer();
            assert!(told.message.len() < 60 && !told.message.contains("secret detail"), "{told}");
            assert!(!told.message.contains(&Digest::of(b"root").short()), "{told}");
            assert!(!told.message.contains("0202"), "{told}");
            assert_eq!(told.code, error.code().unwrap_or(ErrorCode::Internal));
        }
    }

    #[test]
    fn display_does_not_repeat_its_source() {
        for error in every_error() {
            if let Some(source) = std::error::Error::source(&error) {
                assert!(!error.to_string().contains(&source.to_string()), "{error}");
            }
        }
    }

    #[test]
    fn a_refusals_text_is_bounded_and_printable() {
        let long = format!("no\r\nerror: forged{}", "x".repeat(1000));
        let long = ApiError::new(ErrorCode::Busy, long);
        for error in [refused(long.clone()), refused_before_evidence(long)] {
            let (ChannelError::Refused(error) | ChannelError::RefusedBeforeEvidence(error)) = error else {
                panic!("another error");
            };
            assert_eq!(error.message.chars().count(), PRINTABLE_CHARS);
            assert!(error.message.starts_with("no  error: forged"), "{}", error.message);
        }
    }

    #[test]
    fn a_refusal_of_anybody_is_never_a_no_whatever_its_code() {
        for code in [
            ErrorCode::WrongDeployment,
            ErrorCode::NotVerified,
            ErrorCode::Contraindicated,
            ErrorCode::NotInManifest,
            ErrorCode::NotSigned,
            ErrorCode::Rollback,
        ] {
            let error = ApiError::new(code, "no");
            assert!(refused(error.clone()).is_refusal());
            let early = refused_before_evidence(error);
            assert!(!early.is_refusal(), "{code:?}");
            assert_eq!(early.code(), Some(code));
        }
        assert!(refused_before_evidence(ApiError::new(ErrorCode::Busy, "busy")).is_temporary());
    }

    #[test]
    fn only_what_may_pass_by_itself_is_temporary() {
        let temporary = every_error().iter().filter(|error| error.is_temporary()).count();
        // Four of the network, the own Attester, and a Coordinator that recovers, before and after its Evidence.
        assert_eq!(temporary, 7);
    }
}
