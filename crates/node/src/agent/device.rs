//! The boundary to the devices: what the agent asks of them.
//!
//! A change of modes is a journaled state machine of its own, [`gpu::transition`], which knows no cluster. It calls
//! [`Hands`] where the cluster has a part in it, from a thread that may block. The agent decides when a change begins,
//! and tells the world. [`Gpus`](super::gpus::Gpus) is the real thing.

use gpu::transition::Hands;

use super::crd::{CcMode, Vfio, WhenInUse};
use super::labels::ModeState;
use super::wish::Labels;

/// What was found on a machine.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Observed {
    /// Labels of features that hold.
    pub features: Labels,
    /// Whether the machine runs confidential guests (SEV-SNP or TDX).
    pub host_is_confidential: bool,
    /// The modes of its devices.
    pub modes: Modes,
}

/// The modes of a machine's devices.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Modes {
    /// No device has a mode, or none can be asked.
    #[default]
    None,
    /// All have this one.
    All(CcMode),
    /// They differ, or some do not say, as after an interrupted tool: what each has, by PCI address.
    Mixed(Vec<(String, String)>),
}

impl Kind {
    /// Whether the change has not ended: its record is there, and says how to go on.
    pub const fn is_unfinished(self) -> bool {
        matches!(self, Self::Waiting | Self::Interrupted)
    }

    /// As metrics call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Impossible => "refused",
            Self::GivenUp => "given-up",
            Self::Waiting => "waiting",
            Self::Interrupted => "interrupted",
            Self::Failed => "failed",
        }
    }
}

impl Modes {
    /// As a label says it.
    pub const fn state(&self) -> Option<ModeState> {
        match self {
            Self::None => None,
            Self::All(mode) => Some(ModeState::Mode(*mode)),
            Self::Mixed(_) => Some(ModeState::Failed),
        }
    }
}

/// A change that somebody wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Change {
    /// The mode of all devices.
    pub mode: CcMode,
    /// The drivers that they are to have; a GPU with its ordinary driver cannot be changed.
    pub vfio: Vfio,
    /// What is done about those who have a device.
    pub when_in_use: WhenInUse,
}

/// The devices of a machine.
pub trait Devices: Send + Sync + 'static {
    /// Reads them. Changes nothing. May block for some milliseconds.
    ///
    /// # Errors
    /// A sentence that names the device and the reason.
    fn observe(&self) -> Result<Observed, String>;

    /// Ends what was begun and did not end: goes on with it, or takes it back, and then does what is wanted now. `false`
    /// where there was nothing to end, and nothing was done. Called once, before anything else is changed, and again
    /// after [`Kind::Interrupted`] and [`Kind::Waiting`]. May block for minutes.
    ///
    /// # Errors
    /// [`Failure`].
    fn recover(&self, wanted: Option<Change>, hands: &mut dyn Hands) -> Result<bool, Failure>;

    /// Brings all devices into a mode. `Ok` proves that every one of them was read back in that mode and that the
    /// components go on; it does not prove that they will stay in it. May block for minutes.
    ///
    /// # Errors
    /// [`Failure`]; its kind says what the node is then.
    fn change(&self, to: Change, hands: &mut dyn Hands) -> Result<(), Failure>;
}

/// What a change that did not succeed left behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// These devices cannot be in that mode. Nothing was touched; only other devices would help.
    Impossible,
    /// Given up before a device was touched, because somebody holds one or one is not ready for it. The node is what it
    /// was.
    GivenUp,
    /// Somebody holds a device, and the end of that is waited for. The node is out of service until then.
    Waiting,
    /// The cluster did not take a step. The node is out of service; the journal knows how to go on.
    Interrupted,
    /// Devices did not do it, and the node says so.
    Failed,
}

/// A change that did not succeed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What it left behind.
    pub kind: Kind,
    /// Which device and why.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// The cluster did not do its part of a change.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandsFailure {
    /// The API server did not take a write in time.
    #[error("the API server did not take `{what}` within {seconds} s: {last}")]
    ApiServer {
        /// What was to be written.
        what: &'static str,
        /// How long it was tried.
        seconds: u64,
        /// The last error.
        last: String,
    },
    /// The API server refused a write for good.
    #[error("the API server refuses `{what}`: {why}")]
    Refused {
        /// What was to be written.
        what: &'static str,
        /// Its words.
        why: String,
    },
    /// A component cannot be paused.
    #[error(transparent)]
    NoRoom(#[from] super::pause::NoRoom),
    /// The agent is ending.
    #[error("the agent is ending")]
    Ending,
}

/// A machine without devices that could be changed: only its features are read.
#[derive(Debug)]
pub struct FeaturesOnly(pub crate::Machine);

impl Devices for FeaturesOnly {
    fn observe(&self) -> Result<Observed, String> {
        let report = crate::features::detect(&self.0).map_err(|error| chain(&error))?;
        let host_is_confidential = report.host_is_confidential();
        Ok(Observed { features: report.labels, host_is_confidential, ..Observed::default() })
    }

    fn recover(&self, _: Option<Change>, _: &mut dyn Hands) -> Result<bool, Failure> {
        Ok(false)
    }

    fn change(&self, _: Change, _: &mut dyn Hands) -> Result<(), Failure> {
        Err(Failure { kind: Kind::Impossible, message: "no device of this machine has a mode".into(), hint: None })
    }
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Some libraries repeat the cause in the error.
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
