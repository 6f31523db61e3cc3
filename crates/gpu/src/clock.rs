//! Time, as an argument: hardware is waited for, and tests do not wait.

use std::time::{Duration, Instant};

/// A clock that only goes forward, and a way to let it.
pub trait Clock: Send + Sync {
    /// How long the clock has been running.
    fn now(&self) -> Duration;
    /// Comes back when at least this much time has passed.
    fn sleep(&self, time: Duration);
}

/// The machine's own clock.
#[derive(Clone, Copy, Debug)]
pub struct Monotonic(Instant);

impl Monotonic {
    /// A clock that starts now.
    pub fn start() -> Self {
        Self(Instant::now())
    }
}

impl Clock for Monotonic {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }

    fn sleep(&self, time: Duration) {
        std::thread::sleep(time);
    }
}

/// How long to wait for something, and how often to look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Patience {
    pub(crate) limit: Duration,
    pub(crate) pause: Duration,
}

impl Patience {
    pub(crate) const fn millis(limit: u64, pause: u64) -> Self {
        Self { limit: Duration::from_millis(limit), pause: Duration::from_millis(pause) }
    }
}

/// Looks until there is something; `None` when there was nothing in time.
///
/// The time is taken before the look and compared after it, so that a process that was not scheduled for longer than
/// the limit still looks once more before it says that there was nothing.
pub(crate) fn wait_for<T, E>(
    clock: &dyn Clock,
    patience: Patience,
    mut look: impl FnMut() -> Result<Option<T>, E>,
) -> Result<Option<T>, E> {
    let deadline = clock.now().saturating_add(patience.limit);
    loop {
        let before = clock.now();
        if let Some(found) = look()? {
            return Ok(Some(found));
        }
        if before >= deadline {
            return Ok(None);
        }
        clock.sleep(patience.pause);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::convert::Infallible;

    use super::*;
    use crate::simulated::VirtualClock;

    #[test]
    fn what_is_there_is_found_without_waiting() {
        let clock = VirtualClock::default();
        let found = wait_for(&clock, Patience::millis(5, 1), || Ok::<_, Infallible>(Some(7)));
        assert_eq!(found, Ok(Some(7)));
        assert_eq!(clock.now(), Duration::ZERO);
    }

    #[test]
    fn what_never_comes_is_waited_for_up_to_the_limit() {
        let clock = VirtualClock::default();
        let found = wait_for(&clock, Patience::millis(5, 2), || Ok::<Option<()>, Infallible>(None));
        assert_eq!(found, Ok(None));
        assert_eq!(clock.now(), Duration::from_millis(6));
    }

    #[test]
    fn after_a_long_pause_there_is_one_more_look() {
        let clock = VirtualClock::default();
        let looks = Cell::new(0);
        let found = wait_for(&clock, Patience::millis(5, 1000), || {
            looks.set(looks.get() + 1);
            Ok::<_, Infallible>((looks.get() == 2).then_some(()))
        });
        assert_eq!(found, Ok(Some(())));
    }

    #[test]
    fn an_error_ends_the_wait() {
        let clock = VirtualClock::default();
        assert_eq!(wait_for(&clock, Patience::millis(5, 1), || Err::<Option<()>, _>("no")), Err("no"));
    }
}
