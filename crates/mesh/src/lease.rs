//! The clock of leases: time since boot, which nobody in the pod and no host service sets, and which runs on through a
//! suspension of the guest. Wall-clock time has no part in a lease (promise P7).

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A moment on the boot clock (`CLOCK_BOOTTIME`). Comparable between the processes of one pod, meaningless elsewhere.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct BootInstant(Duration);

impl BootInstant {
    /// The present moment.
    pub fn now() -> Self {
        let now = clock_gettime(ClockId::Boottime);
        // The boot clock starts at zero and its nanoseconds are below a billion, so neither conversion loses anything.
        Self(Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0)))
    }

    /// A moment that another process of this pod wrote down with [`BootInstant::as_millis`].
    pub fn from_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// Milliseconds since boot, rounded down, so that a lease that is passed on never grows.
    pub fn as_millis(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }

    /// How long until this moment; zero when it has passed.
    pub fn remaining(self) -> Duration {
        self.0.saturating_sub(Self::now().0)
    }

    /// Whether this moment has come.
    pub fn has_passed(self) -> bool {
        self.remaining().is_zero()
    }
}

impl std::ops::Add<Duration> for BootInstant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
}

/// LIMIT: Tokio's timers stand still while the guest is suspended, the boot clock does not. Waits are cut into pieces of
/// this length so that a lease which ended during a suspension is noticed within one piece of resuming.
const LONGEST_NAP: Duration = Duration::from_millis(500);

/// Waits until `moment` on the boot clock.
pub async fn sleep_until(moment: BootInstant) {
    loop {
        let remaining = moment.remaining();
        if remaining.is_zero() {
            return;
        }
        tokio::time::sleep(remaining.min(LONGEST_NAP)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_that_is_written_down_never_grows() {
        let moment = BootInstant::now() + Duration::from_nanos(1_999_999);
        assert!(BootInstant::from_millis(moment.as_millis()) <= moment);
    }

    #[test]
    fn the_past_has_nothing_remaining() {
        assert!(BootInstant::from_millis(0).has_passed());
        assert!(!(BootInstant::now() + Duration::from_mins(1)).has_passed());
        assert!((BootInstant::now() + Duration::MAX).remaining() > Duration::from_secs(1));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn sleeping_ends_no_earlier_than_asked() {
        let until = BootInstant::now() + Duration::from_millis(20);
        sleep_until(until).await;
        assert!(BootInstant::now() >= until);
    }
}
