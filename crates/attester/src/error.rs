//! Why no Evidence was made. All of these are "could not tell": none says that the TEE is not to be trusted.

use std::net::SocketAddr;
use std::time::Duration;

/// Why no Evidence was made.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttestError {
    /// The agent's address is not on the loopback: Evidence about this TEE cannot come from elsewhere.
    #[error("attestation agent address `{address}` is not on the loopback")]
    NotLoopback {
        /// The address.
        address: SocketAddr,
    },
    /// Nothing listens, or the connection broke.
    #[error("attestation agent at `{address}` cannot be reached: {reason}")]
    Unreachable {
        /// The address.
        address: SocketAddr,
        /// The system's or the HTTP library's words.
        reason: String,
    },
    /// No whole answer in time.
    #[error("attestation agent at `{address}` did not answer within {} ms", limit.as_millis())]
    Timeout {
        /// The address.
        address: SocketAddr,
        /// How long was waited.
        limit: Duration,
    },
    /// An HTTP status other than 200.
    #[error("attestation agent at `{address}` answered status {status}: `{excerpt}`")]
    Status {
        /// The address.
        address: SocketAddr,
        /// The status.
        status: u16,
        /// The first characters of the body.
        excerpt: String,
    },
    /// An answer longer than any Evidence.
    #[error("attestation agent at `{address}` answered more than {limit} bytes")]
    TooLong {
        /// The address.
        address: SocketAddr,
        /// The limit.
        limit: usize,
    },
    /// An answer that is not Evidence.
    #[error("attestation agent at `{address}` answered no evidence: {reason}")]
    Malformed {
        /// The address.
        address: SocketAddr,
        /// The parser's words.
        reason: String,
    },
    /// An Attester of another kind failed.
    #[error("{attester} made no evidence: {reason}")]
    Failed {
        /// Which Attester.
        attester: &'static str,
        /// Why.
        reason: String,
    },
}

impl AttestError {
    /// What the user may do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unreachable { .. } | Self::Timeout { .. } => {
                Some("only inside a pod is there an attestation agent; there, see the log of the pod agent".to_owned())
            }
            Self::Status { .. } | Self::TooLong { .. } | Self::Malformed { .. } => {
                Some("the guest image and this program may be of different releases".to_owned())
            }
            Self::NotLoopback { .. } | Self::Failed { .. } => None,
        }
    }
}
