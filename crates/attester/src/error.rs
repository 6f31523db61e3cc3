//! Why no Evidence was made. All of these are "could not tell": none says that the TEE is not to be trusted.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use nix::errno::Errno;
use protocol::Tee;

use crate::detect::Looked;

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
    /// The agent answered Evidence of its stand-in for tests, which proves nothing.
    #[error("attestation agent at `{address}` answered sample evidence: it found no TEE that it knows")]
    Sample {
        /// The address.
        address: SocketAddr,
    },
    /// The agent answered Evidence of a TEE that this release does not know.
    #[error("attestation agent at `{address}` answered evidence of a kind that is not known here, with {fields}")]
    UnknownKind {
        /// The address.
        address: SocketAddr,
        /// The names of its fields.
        fields: String,
    },
    /// Evidence of another kind than the TEE whose traces this machine shows.
    #[error("evidence is of kind `{got}`, and this machine shows {seen} (`{path}`)", got = got.name(), seen = seen.name())]
    OtherKind {
        /// What was answered.
        got: Tee,
        /// What this machine is.
        seen: Tee,
        /// What shows it.
        path: &'static str,
    },
    /// A device signed another nonce than the one that was asked for.
    #[error("device {index} answers the nonce {got}, and was asked with {asked}")]
    OtherNonce {
        /// Which device, from 0.
        index: usize,
        /// What it answers, hexadecimal.
        got: String,
        /// What was asked, hexadecimal.
        asked: String,
    },
    /// Neither a TEE's interface nor an agent was found.
    #[error("no TEE can be reached: {looked}; {agent}")]
    NothingFound {
        /// What was looked at.
        looked: Listed,
        /// Why the agent did not answer.
        agent: Box<AttestError>,
    },
    /// Traces of two kinds of TEE.
    #[error("it cannot be told which TEE this is: {looked}")]
    Contradictory {
        /// What was looked at.
        looked: Listed,
    },
    /// An interface that says what this release does not know.
    #[error("`{path}` says `{got}`, which is not one of {known}")]
    UnknownInterface {
        /// Where.
        path: String,
        /// What it says.
        got: String,
        /// What is known.
        known: &'static str,
    },
    /// The kernel refused.
    #[error("{during} `{path}`: {errno}{}", after(*attempts))]
    Kernel {
        /// What was being done.
        during: &'static str,
        /// With what.
        path: String,
        /// The kernel's answer.
        errno: Errno,
        /// How often it was tried.
        attempts: u32,
    },
    /// Somebody else wrote to our entry, or the kernel did not take what we wrote.
    #[error("`{path}` is at generation {got} after our writes, not {expected}{}", after(*attempts))]
    Raced {
        /// The counter.
        path: String,
        /// What it says.
        got: u64,
        /// What it has to say.
        expected: u64,
        /// How often it was tried.
        attempts: u32,
    },
    /// More than any Evidence.
    #[error("`{path}` gave {got} bytes, at most {limit} are taken")]
    Oversized {
        /// Where.
        path: String,
        /// How many.
        got: usize,
        /// The limit.
        limit: usize,
    },
    /// A device answered what its documentation does not have.
    #[error("`{path}` answered {reason}")]
    Answer {
        /// The device.
        path: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// There is a TDREPORT, which only this very machine can check, and nobody to make a quote of it.
    #[error("a TDREPORT is no quote, and the host's quoting service (vsock port {port}) {reason}")]
    NoQuote {
        /// Its port.
        port: u32,
        /// What it did.
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

/// What was looked at, in a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed(pub Vec<Looked>);

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, looked) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}`{}` {}", looked.path, looked.found)?;
        }
        Ok(())
    }
}

fn after(attempts: u32) -> String {
    if attempts > 1 { format!(", {attempts} times") } else { String::new() }
}

impl AttestError {
    /// Whether this is a "no", as opposed to "could not tell": another attempt on the same machine will not differ.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::NotLoopback { .. }
                | Self::Sample { .. }
                | Self::UnknownKind { .. }
                | Self::OtherKind { .. }
                | Self::NothingFound { .. }
                | Self::Contradictory { .. }
                | Self::UnknownInterface { .. }
        )
    }

    /// What the user may do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unreachable { .. } | Self::Timeout { .. } => {
                Some("only inside a pod is there an attestation agent; there, see the log of the pod agent".to_owned())
            }
            Self::Status { .. } | Self::TooLong { .. } | Self::Malformed { .. } => {
                Some("the guest image and this program may be of different releases".to_owned())
            }
            Self::Sample { .. } => Some(
                "the agent's log says which TEEs it was built for; a guest image for this hardware brings an agent that knows it"
                    .to_owned(),
            ),
            Self::UnknownKind { .. } | Self::UnknownInterface { .. } => {
                Some("evidence of SEV-SNP, TDX and SGX is understood; see docs/attest.md".to_owned())
            }
            Self::OtherKind { got, .. } if got.is_insecure() => Some(
                "software evidence never stands in for hardware; `casemate up` belongs on a machine that is no TEE".to_owned(),
            ),
            Self::OtherNonce { .. } => Some(
                "an agent that ignores `encoding=base64` takes the text for the nonce; it is too old for this program".to_owned(),
            ),
            Self::NothingFound { .. } => Some(
                "`casemate-pod attest --raw` says what is missing; in a Kata guest the agent's REST API has to be switched on in the \
                 measured command line (agent.guest_components_rest_api=all)"
                    .to_owned(),
            ),
            Self::Kernel { errno: Errno::EACCES | Errno::EPERM, .. } => {
                Some("the kernel gives evidence to root; a container needs the device or configfs mounted as well".to_owned())
            }
            Self::Kernel { errno: Errno::EBUSY | Errno::EAGAIN, .. } | Self::Raced { .. } => {
                Some("the host makes one quote at a time; ask again".to_owned())
            }
            Self::NoQuote { .. } => Some(
                "a kernel from 6.7 on with CONFIG_TSM_REPORTS makes quotes through configfs; before that the host must run Intel's QGS with vsock"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_looked_at_is_listed() {
        let looked = Listed(vec![Looked::new("/a", "is not there"), Looked::new("/b", "is there")]);
        let error = AttestError::Contradictory { looked };
        assert_eq!(error.to_string(), "it cannot be told which TEE this is: `/a` is not there, `/b` is there");
        assert!(error.is_refusal());
    }

    #[test]
    fn attempts_are_told_when_there_were_several() {
        let error = |attempts| {
            AttestError::Kernel { during: "read", path: "/x".into(), errno: Errno::EBUSY, attempts }.to_string()
        };
        assert_eq!(error(1), "read `/x`: EBUSY: Device or resource busy");
        assert_eq!(error(3), "read `/x`: EBUSY: Device or resource busy, 3 times");
    }

    #[test]
    fn software_evidence_on_hardware_is_refused_in_so_many_words() {
        let error = AttestError::OtherKind { got: Tee::Software, seen: Tee::Snp, path: "/dev/sev-guest" };
        assert_eq!(error.to_string(), "evidence is of kind `software`, and this machine shows snp (`/dev/sev-guest`)");
        assert!(error.is_refusal() && error.hint().unwrap().contains("never"));
    }
}
