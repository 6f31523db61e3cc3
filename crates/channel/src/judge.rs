//! Who verifies the peer's Evidence for a channel: somebody with a clock and with Endorsements.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use attester::BoxFuture;
use protocol::Expected;
use verifier::{Endorsements, UnixTime, UnverifiedEvidence, VerifiedEvidence, Verifier, VerifyError};

/// Verifies Evidence. It is called once for each peer that attests, after the channel has worked out what that peer's
/// Evidence has to carry. `Ok` can only come from a [`Verifier`]: nobody else makes [`VerifiedEvidence`].
pub trait Judge: Send + Sync {
    /// Gathers what the Evidence needs and verifies it. May take as long as a fetch of Endorsements takes; the channel
    /// bounds it.
    fn verify<'a>(
        &'a self,
        evidence: UnverifiedEvidence,
        expected: &'a Expected,
    ) -> BoxFuture<'a, Result<VerifiedEvidence, VerifyError>>;
}

/// A [`Judge`] with the Endorsements that it was given and this machine's clock. It fetches nothing: what is missing ends
/// in "could not tell".
#[derive(Debug, Default)]
pub struct Given {
    verifier: Verifier,
    endorsements: Endorsements,
}

impl Given {
    /// A judge with these Endorsements.
    pub fn new(verifier: Verifier, endorsements: Endorsements) -> Self {
        Self { verifier, endorsements }
    }

    /// A judge that has the vendors' roots and nothing else: enough for Evidence that brings all it needs, and for the
    /// software TEE.
    pub fn nothing() -> Arc<dyn Judge> {
        Arc::new(Self::default())
    }
}

impl Judge for Given {
    fn verify<'a>(
        &'a self,
        evidence: UnverifiedEvidence,
        expected: &'a Expected,
    ) -> BoxFuture<'a, Result<VerifiedEvidence, VerifyError>> {
        Box::pin(async move { self.verifier.verify(evidence, expected, &self.endorsements, now()) })
    }
}

/// This machine's clock. Inside a guest the host can set it: see `SECURITY.md` on what that can do, and what it cannot.
pub fn now() -> UnixTime {
    UnixTime(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}
