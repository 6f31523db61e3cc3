//! The life of a process that can be ended at any of its effects.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Which register writes are effects. Resets, and whatever calls [`Life::effect`] itself, always are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Count {
    /// All of them: also those that only put a request together.
    RegisterWrites,
    /// Those that hand a new knob value to the security processor.
    KnobWrites,
}

/// Whether the effect at which a process dies still happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Death {
    /// It does not.
    Before,
    /// It does, and the process never learns of it.
    After,
}

/// The process is dead: nothing that it does has an effect any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the process was killed")]
pub struct Killed;

/// A process's life.
#[derive(Debug)]
pub struct Life {
    /// At which effect it ends, counted from 0.
    end: u64,
    death: Death,
    count: Count,
    effects: AtomicU64,
    over: AtomicBool,
}

impl Life {
    /// A life that nothing ends.
    pub fn long() -> Self {
        Self::until(u64::MAX, Death::Before, Count::KnobWrites)
    }

    /// A life that ends at an effect.
    pub fn until(end: u64, death: Death, count: Count) -> Self {
        Self { end, death, count, effects: AtomicU64::new(0), over: AtomicBool::new(false) }
    }

    pub(super) fn count(&self) -> Count {
        self.count
    }

    /// Whether it has ended.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// Does something that the world can see, unless the process is dead or dies of it.
    pub fn effect<T>(&self, act: impl FnOnce() -> T) -> Result<T, Killed> {
        if self.is_over() {
            return Err(Killed);
        }
        let number = self.effects.fetch_add(1, Ordering::SeqCst);
        if number < self.end {
            return Ok(act());
        }
        // The threads of a process die together; which of them is first decides nothing.
        self.over.store(true, Ordering::SeqCst);
        if number == self.end && self.death == Death::After {
            act();
        }
        Err(Killed)
    }
}
