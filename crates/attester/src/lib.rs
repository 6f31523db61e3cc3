//! Collects Evidence inside a TEE. It asks for Evidence over bytes that the caller chose, and verifies nothing: whoever
//! receives the Evidence judges it (`verifier`).
//!
//! There is one Attester in this release, [`GuestAgent`]: the attestation agent that a confidential guest offers on its
//! loopback. There is no fallback from one Attester to another (design, section 7): a pod that cannot attest in the one
//! way that it was started with fails, and says why.

#![warn(missing_docs)]

mod error;
mod guest_agent;

pub use error::AttestError;
pub use guest_agent::{DEFAULT_ADDRESS, GuestAgent, MAX_ANSWER, TIMEOUT};

use std::future::Future;
use std::pin::Pin;

use protocol::{Evidence, ReportData};

/// A boxed future, so that [`Attester`] can be a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Makes Evidence about the TEE that this code runs in.
///
/// `channel` calls it once for each Evidence that a peer asks for, with report data computed from that very channel.
/// `Ok` proves nothing to the caller: on a hostile host the answer may be anything. It only ever goes to a peer, who
/// verifies it.
pub trait Attester: Send + Sync {
    /// Evidence whose report data is `report_data`.
    fn attest<'a>(&'a self, report_data: &'a ReportData) -> BoxFuture<'a, Result<Evidence, AttestError>>;
}
