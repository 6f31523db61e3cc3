//! What a transition needs of the cluster.

use std::error::Error;
use std::fmt;

use crate::mode::Mode;
use crate::transition::Record;

/// The cluster did not do it, and may do it later.
pub type HandsError = Box<dyn Error + Send + Sync>;

/// Whether the components that were told to go are gone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Paused {
    /// They are.
    Gone,
    /// These are still there after the time that they are given.
    StillThere(Vec<String>),
}

/// Proof that every device of the node was read back at a mode. Only a transition makes one.
#[derive(PartialEq, Eq, Debug)]
pub struct AtMode {
    pub(super) mode: Mode,
}

/// What the node says of itself.
#[derive(PartialEq, Eq, Debug)]
pub struct State(Option<AtMode>);

impl State {
    pub(super) fn ready(proof: AtMode) -> Self {
        Self(Some(proof))
    }

    /// The last transition failed.
    pub(super) const FAILED: Self = Self(None);

    /// The mode that all devices are at; `None` after a failure.
    pub fn mode(&self) -> Option<Mode> {
        self.0.as_ref().map(|proof| proof.mode)
    }

    /// The value of `nvidia.com/cc.mode.state`.
    pub fn mode_label(&self) -> &'static str {
        self.mode().map_or("failed", Mode::label)
    }

    /// The value of `nvidia.com/cc.ready.state`, which runtime classes select on: `true` where confidential pods may
    /// go, `false` where ordinary ones may, empty for neither.
    pub fn ready_label(&self) -> &'static str {
        match self.mode() {
            Some(Mode::On | Mode::Ppcie) => "true",
            Some(Mode::Off) => "false",
            Some(Mode::Devtools) | None => "",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.mode_label())
    }
}

/// What a transition does to the cluster. Called in the order of the methods, from one thread.
///
/// Every method may be called again after it has succeeded, by this process or by the next one, and must then change
/// nothing. `Err` means that the cluster could not be asked or did not take it: the transition stops there and is
/// resumed later. It must not mean anything about devices.
pub trait Hands {
    /// Takes the node out of service for pods that want its devices: neither of the two states is true any more.
    fn not_ready(&mut self, wish: Mode) -> Result<(), HandsError>;
    /// Sends components away that use devices, and waits for them to be gone, within a limit of its own.
    fn pause(&mut self) -> Result<Paused, HandsError>;
    /// Lets components come back that were sent away, by whomever.
    fn restore(&mut self) -> Result<(), HandsError>;
    /// Says what the node is now.
    fn publish(&mut self, state: &State) -> Result<(), HandsError>;
    /// Is told which step comes next. For events and metrics; nothing depends on it.
    fn progress(&mut self, record: &Record) {
        let _ = record;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_those_that_others_select_on() {
        let ready = |mode| State::ready(AtMode { mode });
        for (state, mode, label) in [
            (ready(Mode::On), "on", "true"),
            (ready(Mode::Ppcie), "ppcie", "true"),
            (ready(Mode::Off), "off", "false"),
            (ready(Mode::Devtools), "devtools", ""),
            (State::FAILED, "failed", ""),
        ] {
            assert_eq!((state.mode_label(), state.ready_label()), (mode, label));
        }
    }
}
