//! The attested channel: TLS 1.3 between two peers, at least one of which proves with Evidence bound to this very
//! connection what it is (design, section 7).
//!
//! Whoever holds a [`Channel`] knows that both sides came to their verdicts. What this crate must never do: hand out a
//! channel earlier, accept Evidence that is bound to anything else, or fall back to a connection without Evidence.
//!
//! # The opening
//!
//! After the TLS handshake, in which both sides show a self-signed leaf (see [`danger`]), frames of JSON follow. A frame
//! is a length, u32 big-endian, and that many bytes; the messages are those of [`protocol::wire`].
//!
//! ```text
//! client                                                     server
//!   | -- Hello: purpose, deployment, nonce, attests_as -------> |  refuses what it does not serve
//!   | <------- ServerOpening: Evidence, nonce if attests_as --- |
//!   |  verifies and appraises the server                        |
//!   |                                                           |
//!   |  when it attests:                                         |
//!   | -- ClientEvidence --------------------------------------> |  verifies and appraises the client
//!   | <------------------------------------------------ Verdict |
//!   |  when it does not:                                        |
//!   | -- Verdict ---------------------------------------------> |
//! ```
//!
//! - A client that attests gives no Evidence before it has accepted the server. Sending it *is* its acceptance. When it
//!   does not accept, it sends [`Verdict::Refused`](protocol::wire::Verdict::Refused) in that place, so that the server's log says why.
//! - A client that does not attest tells its verdict itself. Its first application message may follow at once.
//! - A server that will not go on answers the Hello with [`ServerOpening::Refused`](protocol::wire::ServerOpening::Refused). Nothing vouches for such an
//!   answer: whoever is on the path could have given it. It is good for a retry or a message to a person, no more, and
//!   is [`ChannelError::RefusedBeforeEvidence`].
//! - Application messages before the last verdict are malformed messages of the opening, and end it.
//!
//! Report data is [`protocol::Binding::report_data`]; the exporter's context is the nonce that the Evidence answers, the
//! leaves are those of this handshake, seen from the Attester. So Evidence that was recorded elsewhere, made for the other
//! side, or relayed by somebody who ends TLS in between, is [`verifier::VerifyError::Unbound`].
//!
//! # Example
//!
//! ```
//! # use std::sync::Arc;
//! # use channel::{ChannelError, ClientTerms, ServerTerms, TlsIdentity};
//! # use protocol::{DeploymentId, Digest, Identity, Purpose, Role, digest::Measurement};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), ChannelError> {
//! # let tee = Arc::new(testkit::SoftwareTee::generate());
//! # let measurement = Measurement::from_bytes([0; 48]);
//! # let reference_values = tee.reference_values(&[measurement]);
//! # let attester = tee.attester(measurement, Identity(Digest::of(b"initdata")));
//! # let deployment = DeploymentId::from_bytes([0; 16]);
//! # let (near, far) = tokio::io::duplex(4096);
//! let server = async {
//!     let role = Role::Coordinator;
//!     let terms = ServerTerms { purposes: vec![Purpose::Verify], deployment, role, attester, client_evidence: false,
//!         judge: channel::Given::nothing() };
//!     let identity = TlsIdentity::generate()?;
//!     let mut channel = channel::accept(far, &identity, &terms, |_| unreachable!("the client does not attest")).await?;
//!     channel.send("hello").await
//! };
//! let client = async {
//!     let terms = ClientTerms { purpose: Purpose::Verify, deployment, attest: None, judge: channel::Given::nothing() };
//!     let identity = TlsIdentity::generate()?;
//!     let appraise = |evidence| verifier::appraise(evidence, &reference_values);
//!     let mut channel = channel::connect(near, &identity, terms, appraise).await?;
//!     assert!(channel.peer().is_some_and(|peer| peer.is_insecure()));
//!     channel.recv::<String>().await
//! };
//! let (sent, received) = tokio::join!(server, client);
//! sent?;
//! assert_eq!(received?, "hello");
//! # Ok(()) }
//! ```
//!
//! # What is deliberately absent
//!
//! TLS below 1.3, session resumption, tickets, pre-shared keys, early data, certificate chains, server names: each is a
//! way in which two connections could share state that Evidence is not bound to. Limits on how many channels a server
//! opens at once, and on how often it makes Evidence, are the server's.

#![warn(missing_docs)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

mod conversation;
pub mod danger;
mod error;
mod frame;
mod judge;
mod opening;
mod tls;

pub use conversation::Channel;
pub use error::{ChannelError, Step};
pub use judge::{Given, Judge, now};
pub use opening::{ClientTerms, ServerTerms, accept, connect};
pub use tls::{TlsIdentity, provider};

use std::time::Duration;

/// How long each step may take. A step that takes longer ends in [`ChannelError::Timeout`], which is "could not tell".
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    /// LIMIT: a handshake or a short message is one round trip and two signatures; slow paths have round trips of a second.
    pub(crate) short: Duration,
    /// LIMIT: verifying Evidence may wait for a vendor's server that answers slowly, and for one more attempt.
    pub(crate) judge: Duration,
    /// LIMIT: making Evidence waits for the quotes of other pods on the host: the agent's own limit.
    pub(crate) attest: Duration,
    /// LIMIT: the peer's Evidence takes it as long as ours takes us, and a verdict as long as ours.
    pub(crate) evidence: Duration,
    /// LIMIT: the slowest answer is that to a manifest that a Coordinator writes to its store, and the largest a history
    /// of 16 MiB, which takes 30 s at 4 Mbit/s.
    pub(crate) message: Duration,
    /// LIMIT: nothing depends on a peer that reads the end of a channel.
    pub(crate) close: Duration,
}

pub(crate) const TIMEOUTS: Timeouts = Timeouts {
    short: Duration::from_secs(10),
    judge: Duration::from_secs(30),
    attest: attester::TIMEOUT.saturating_add(Duration::from_secs(1)),
    evidence: attester::TIMEOUT.saturating_add(Duration::from_secs(41)),
    message: Duration::from_mins(1),
    close: Duration::from_secs(2),
};
