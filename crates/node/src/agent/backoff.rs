//! Waiting longer after each failure, and not all nodes at the same time.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

/// Delays that double up to a limit. Each is drawn between half of that and all of it, so that a thousand agents that
/// lost the same API server do not come back in the same instant.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    limit: Duration,
    failures: u32,
}

impl Backoff {
    /// Starts with `first`, never waits longer than `limit`.
    pub const fn new(first: Duration, limit: Duration) -> Self {
        Self { first, limit, failures: 0 }
    }

    /// After a success.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }

    /// How many failures there were in a row.
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// After a failure: how long to wait.
    pub fn wait(&mut self) -> Duration {
        self.draw(random())
    }

    /// With the random number as an argument.
    fn draw(&mut self, random: u64) -> Duration {
        let doubled = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        self.failures = self.failures.saturating_add(1);
        let whole = self.first.saturating_mul(doubled).min(self.limit);
        // A number in 1/2..=1, in steps of 1/2048.
        let step = u32::try_from(random % 1025).unwrap_or(0);
        whole / 2048 * (1024 + step)
    }
}

/// A moment somewhere in a span: spreads what many agents would do at once.
pub fn somewhere_in(span: Duration) -> Duration {
    let step = u32::try_from(random() % 1024).unwrap_or(0);
    span / 1024 * step
}

/// A random number good enough to spread load, and for nothing else: the keys of the standard library's hash maps are
/// random for each state.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_limit_and_start_again_after_a_success() {
        let mut backoff = Backoff::new(Duration::from_millis(2048), Duration::from_secs(60));
        let longest: Vec<u128> = (0..7).map(|_| backoff.draw(1024).as_millis()).collect();
        assert_eq!(longest, [2048, 4096, 8192, 16384, 32768, 60000, 60000]);
        assert_eq!(backoff.failures(), 7);
        backoff.reset();
        assert_eq!(backoff.draw(0), Duration::from_millis(1024));
    }

    #[test]
    fn many_failures_do_not_overflow() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
        for _ in 0..100 {
            let delay = backoff.wait();
            assert!(delay <= Duration::from_secs(60) && delay >= Duration::from_millis(499), "{delay:?}");
        }
    }

    #[test]
    fn two_agents_do_not_wait_equally_long() {
        let span = Duration::from_secs(3600);
        let drawn: std::collections::BTreeSet<Duration> = (0..32).map(|_| somewhere_in(span)).collect();
        assert!(drawn.len() > 8, "{drawn:?}");
        assert!(drawn.iter().all(|moment| *moment < span));
    }
}
