//! Bringing all devices of a node to a mode, and back if it cannot be done, whatever happens in between.
//!
//! A transition is a [`Record`] that is executed. Its step is written down before it runs, and every step may run
//! again, so a process that was killed goes on by running what the record says. The order:
//!
//! | step | does | when it fails |
//! |---|---|---|
//! | validate | asks every device whether it can | refused, nothing moved |
//! | not-ready | takes the node out of service | |
//! | users | looks for whoever holds a device | waits, or back: nothing moved |
//! | pause | sends components away, looks and asks again | back: nothing moved |
//! | stage | writes knobs on all devices that change, at once | back, by the same steps |
//! | reset | resets these, at once | back |
//! | boot | waits for all of these | back |
//! | read-back | reads the mode of every device | back |
//! | restore | lets components come back | |
//! | publish | reads again, says ready or failed | back |
//!
//! A device that is at its share of the mode already, as switches are when GPUs go from off to on, is left alone: it may
//! keep its driver and its users. Which devices are touched is written down before the first one is.
//!
//! A device that somebody has open is only looked at, and where the kernel forbids even that, it is waited for.
//!
//! A cluster that does not answer stops a transition where it is and fails nothing; [`Transition::resume`] goes on.

mod hands;
mod journal;
mod run;
mod survey;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use hands::{AtMode, Hands, HandsError, Paused, State};
pub(crate) use journal::replace;
pub use journal::{Failure, FileJournal, Heading, Journal, JournalError, Part, Record, Step};

pub use survey::{Survey, Surveyed};

use crate::address::Address;
use crate::bus::Bus;
use crate::clock::Clock;
use crate::machine::ReadError;
use crate::mode::Mode;
use crate::pci::Device;
use crate::users::{Holder, Look};

/// What is decided about waiting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// LIMIT: how long a reset may take until it counts as hanging. The kernel itself gives a device 60 seconds to
    /// answer again (`PCIE_RESET_READY_POLL_MS`), and may try a second way.
    pub reset: Duration,
    /// LIMIT: how many devices are spoken to at once, each from a thread; a board has eight GPUs and four switches.
    pub at_once: usize,
    /// Whether to wait for those who hold a device, not ready meanwhile, or to give up at once.
    pub wait_for_users: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self { reset: Duration::from_secs(150), at_once: 32, wait_for_users: false }
    }
}

/// Why a transition was not begun. Nothing was touched.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// There is no GPU.
    #[error("mode {0} needs a GPU, and there is none")]
    NoGpu(Mode),
    /// Devices cannot be asked while these hold them. Ask again later.
    #[error("{} cannot be asked while it is in use: {}", .0, .1.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    InUse(Address, Vec<Holder>),
    /// Devices that cannot be brought to the mode.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Devices(Vec<Failure>),
}

/// How a transition ended, or that it waits.
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use]
pub enum Outcome {
    /// All devices are at the mode that was asked for.
    Ready(Mode),
    /// The mode was refused before anything was touched; the node is what it was.
    Refused(Refusal),
    /// These hold devices. The node is out of service, and nothing else was touched; resume later.
    Waiting(Vec<Holder>),
    /// It was given up before a device was touched: these failures say why. The node is in service again at the mode
    /// that it had, or failed where its devices had none in common.
    GivenUp {
        /// Why.
        failures: Vec<Failure>,
        /// The mode that it is ready at.
        ready: Option<Mode>,
    },
    /// It failed, and the node says so.
    Failed {
        /// Why.
        failures: Vec<Failure>,
        /// The mode that all devices were brought back to; `None` when that failed too.
        back_at: Option<Mode>,
        /// What went wrong on the way back.
        lost: Vec<Failure>,
    },
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |failures: &[Failure]| failures.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        match self {
            Self::Ready(mode) => write!(f, "all devices are at mode {mode}"),
            Self::Refused(refusal) => write!(f, "refused, nothing was touched: {refusal}"),
            Self::Waiting(holders) => {
                let holders: Vec<String> = holders.iter().map(ToString::to_string).collect();
                write!(f, "waiting: {}", holders.join("; "))
            }
            Self::GivenUp { failures, .. } => write!(f, "given up, no device was touched: {}", list(failures)),
            Self::Failed { failures, back_at: Some(mode), .. } => {
                write!(f, "failed, all devices are back at mode {mode}: {}", list(failures))
            }
            Self::Failed { failures, back_at: None, lost } => {
                write!(f, "failed: {}; and on the way back: {}", list(failures), list(lost))
            }
        }
    }
}

/// Why a transition stopped where it is. Its record says where; resume it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Interrupted {
    /// The cluster.
    #[error("the cluster did not take step {step}")]
    Hands {
        /// Which.
        step: Step,
        /// Why not.
        source: HandsError,
    },
    /// The record.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The processes could not be looked at, so who holds a device is not known.
    #[error("look for the holders of devices")]
    Look(#[source] ReadError),
}

/// Brings the devices of a node to modes. One at a time for a node: the caller sees to that.
pub struct Transition<'a> {
    devices: Vec<Device>,
    bus: Arc<dyn Bus>,
    clock: Arc<dyn Clock>,
    look: &'a dyn Look,
    journal: &'a dyn Journal,
    limits: Limits,
}

impl<'a> Transition<'a> {
    /// For these devices: all GPUs and switches of the node, as [`crate::pci::scan`] found them.
    pub fn new(
        devices: Vec<Device>,
        bus: Arc<dyn Bus>,
        clock: Arc<dyn Clock>,
        look: &'a dyn Look,
        journal: &'a dyn Journal,
        limits: Limits,
    ) -> Self {
        Self { devices, bus, clock, look, journal, limits }
    }

    /// Goes on with a transition that has not ended; `None` when there is none. To be called when the agent starts,
    /// before anything else is done with devices, and again after [`Interrupted`] and [`Outcome::Waiting`].
    pub fn resume(&self, hands: &mut dyn Hands) -> Result<Option<Outcome>, Interrupted> {
        match self.journal.load()? {
            Some(record) => self.run(record, hands).map(Some),
            None => Ok(None),
        }
    }

    /// Brings all devices to a mode. A transition that has not ended is ended first: if it had the same wish, its
    /// outcome is the answer.
    ///
    /// Whether and when to try again after a failure is the caller's to decide.
    pub fn bring_to(&self, wish: Mode, hands: &mut dyn Hands) -> Result<Outcome, Interrupted> {
        if let Some(mut record) = self.journal.load()? {
            let same = record.wish == wish;
            if !same && record.heading == Heading::Forward && record.step < Step::Pause {
                // It waits for users, and nobody wants it any more.
                record.heading = Heading::BackUntouched;
                record.step = Step::Restore;
            }
            let outcome = self.run(record, hands)?;
            if same || matches!(outcome, Outcome::Waiting(_)) {
                return Ok(outcome);
            }
        }
        match self.validate(wish)? {
            Err(refusal) => Ok(Outcome::Refused(refusal)),
            Ok(run::Plan::Move(record)) => self.run(record, hands),
            Ok(run::Plan::Stay(proof)) => {
                // Somebody may have been killed, of another version even, with components still sent away.
                let step = |step| move |source| Interrupted::Hands { step, source };
                hands.restore().map_err(step(Step::Restore))?;
                hands.publish(&State::ready(proof)).map_err(step(Step::Publish))?;
                Ok(Outcome::Ready(wish))
            }
        }
    }
}

#[cfg(test)]
mod crashes;
#[cfg(test)]
mod rig;
#[cfg(test)]
mod seeds;
#[cfg(test)]
mod tests;
