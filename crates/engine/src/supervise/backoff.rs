//! How long to wait before something is tried again: as the kubelet does.

use std::time::{Duration, Instant};

/// The first delay, doubled each time (kubelet: `backOffPeriod` 10 s, at most `MaxContainerBackOff` 300 s).
const FIRST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(300);
/// What has run for so long is not failing any more (twice the longest delay).
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);

/// The delays of one container or pod.
#[derive(Debug, Default)]
pub(super) struct BackOff {
    next: Duration,
}

impl BackOff {
    /// The delay before the next try of something that was last begun at `begun`. The first try again is at once.
    pub(super) fn delay(&mut self, begun: Instant) -> Duration {
        if begun.elapsed() >= FORGOTTEN_AFTER {
            self.next = Duration::ZERO;
        }
        let delay = self.next;
        self.next = (delay * 2).clamp(FIRST, LONGEST);
        delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_restart_is_at_once_and_then_they_become_rare() {
        let mut backoff = BackOff::default();
        let delays: Vec<_> = (0..8).map(|_| backoff.delay(Instant::now()).as_secs()).collect();
        assert_eq!(delays, [0, 10, 20, 40, 80, 160, 300, 300]);
    }
}
