//! How fast one identity may take certificates. Each is an entry of the log and a sync of the disk, and the log is never
//! shortened, so that a host which starts approved pods in a loop would otherwise fill it as fast as it can write.
//!
//! The clock is the monotonic one. Nothing but this bound rests on it: a host that makes it run fast gets back what it
//! could do without the bound, and one that refuses service needs no clock for that.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use protocol::Identity;

use crate::refusal::Refusal;

/// LIMIT: a pod takes one certificate at its start and, renewing at every third of the lease, three in each lease; 256 pods
/// of one identity that all start in the same lease take 1024. An entry has about 500 bytes, so an identity adds at most
/// 512 KiB to the log in a lease. With a lease of 60 s that is 30 MiB in an hour, where a disk that syncs 500 times a
/// second would take 860 MiB.
pub(super) const MAX_GRANTS: u32 = 1024;

/// Counts certificates by identity since the last window began. Only identities of the manifest are counted, each window
/// forgets the one before, and so this is bounded.
#[derive(Debug, Default)]
pub(super) struct Pace {
    began: Option<Instant>,
    granted: BTreeMap<Identity, u32>,
}

impl Pace {
    /// Counts one certificate, or refuses it.
    pub(super) fn step(&mut self, identity: Identity, lease_seconds: u32, now: Instant) -> Result<(), Refusal> {
        let lease = Duration::from_secs(lease_seconds.into());
        if self.began.is_none_or(|began| now.saturating_duration_since(began) >= lease) {
            self.began = Some(now);
            self.granted.clear();
        }
        let granted = self.granted.entry(identity).or_insert(0);
        if *granted >= MAX_GRANTS {
            return Err(Refusal::TooManyGrants { limit: MAX_GRANTS });
        }
        *granted += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use protocol::Digest;

    use super::*;

    fn identity(name: &str) -> Identity {
        Identity(Digest::of(name.as_bytes()))
    }

    #[test]
    fn an_identity_that_took_its_share_waits_for_the_next_lease_and_others_do_not() {
        let mut pace = Pace::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        for _ in 0..MAX_GRANTS {
            pace.step(identity("web"), 60, at(0)).unwrap();
        }
        for seconds in [0, 1, 59] {
            let error = pace.step(identity("web"), 60, at(seconds)).unwrap_err();
            assert_eq!(error, Refusal::TooManyGrants { limit: MAX_GRANTS }, "{seconds} s");
            pace.step(identity("other"), 60, at(seconds)).unwrap();
        }
        pace.step(identity("web"), 60, at(60)).unwrap();
    }

    #[test]
    fn a_clock_that_goes_back_opens_no_new_window() {
        let mut pace = Pace::default();
        let later = Instant::now() + Duration::from_secs(1000);
        for _ in 0..MAX_GRANTS {
            pace.step(identity("web"), 60, later).unwrap();
        }
        assert!(pace.step(identity("web"), 60, Instant::now()).is_err());
    }
}
