//! What the agent writes on its node, as a function of what it knows.
//!
//! Names and values are the GPU Operator's and Node Feature Discovery's, so that runtime classes, validators and
//! dashboards written for those keep working. A label is a claim of an untrusted host: schedulers may go by it, no
//! secret ever does.

use super::crd::CcMode;
use super::wish::Labels;

/// The mode that a node's devices are to have. Ours to read.
pub const MODE: &str = "nvidia.com/cc.mode";
/// The mode that they have, or `failed`.
pub const MODE_STATE: &str = "nvidia.com/cc.mode.state";
/// Whether confidential pods with GPUs can start: `true` in `on` and `ppcie`, `false` in `off`, and neither, the empty
/// text, in `devtools`, after a failure and during a change. Runtime classes select on both `true` and `false`, so
/// neither is what keeps every pod with a GPU away.
pub const READY_STATE: &str = "nvidia.com/cc.ready.state";
/// What a node is for, to the GPU Operator: `container`, `vm-passthrough` or `vm-vgpu`.
pub const WORKLOAD: &str = "nvidia.com/gpu.workload.config";
/// Where the GPU Operator runs its own manager of modes.
pub const OPERATORS_MANAGER: &str = "nvidia.com/gpu.deploy.cc-manager";
/// What the agent is at on a node: a [`Phase`]. This one is our own; the status of configurations counts it.
pub const NODE_STATE: &str = "casemate.dev/node-state";

/// What the devices of a node are, as [`MODE_STATE`] says it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ModeState {
    /// All in one mode.
    Mode(CcMode),
    /// A change failed, or they are not in one mode.
    Failed,
}

impl ModeState {
    /// Reads a label. The operator's first manager of modes wrote `success` and never the mode, so with that word the
    /// mode is the one that was wanted. `None`: no state is known.
    pub fn read(label: Option<&str>, wanted: Option<CcMode>) -> Option<Self> {
        match label? {
            "failed" => Some(Self::Failed),
            "success" => wanted.map(Self::Mode),
            word => word.parse().ok().map(Self::Mode),
        }
    }

    /// What a node's labels say.
    pub fn of(node: &Labels) -> Option<Self> {
        let wanted = node.get(MODE).and_then(|word| word.parse().ok());
        Self::read(node.get(MODE_STATE).map(String::as_str), wanted)
    }

    /// As [`MODE_STATE`] says it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mode(mode) => mode.name(),
            Self::Failed => "failed",
        }
    }

    /// As [`READY_STATE`] says it once nothing is being changed.
    pub const fn ready(self) -> &'static str {
        match self {
            Self::Mode(CcMode::On | CcMode::Ppcie) => "true",
            Self::Mode(CcMode::Off) => "false",
            Self::Mode(CcMode::Devtools) | Self::Failed => NEITHER,
        }
    }
}

/// The value of [`READY_STATE`] that no runtime class selects.
pub const NEITHER: &str = "";

/// What the agent is at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// The devices are what they are to be, or nobody wants anything of them.
    Settled,
    /// They are being changed.
    Changing,
    /// A change did not succeed. Whether the devices are in a mode all the same is another matter: one that was given
    /// up because a pod holds a device leaves the node as it was.
    Failed,
    /// What they are to be makes no sense.
    Refused,
}

impl Phase {
    /// Every phase.
    pub const ALL: [Self; 4] = [Self::Settled, Self::Changing, Self::Failed, Self::Refused];

    /// As [`NODE_STATE`] says it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Settled => "settled",
            Self::Changing => "changing",
            Self::Failed => "failed",
            Self::Refused => "refused",
        }
    }
}

/// The labels about modes. `state` is `None` where there is no device with a mode; then only the phase is said.
pub fn of_modes(phase: Phase, state: Option<ModeState>) -> Labels {
    let mut labels = Labels::from([(NODE_STATE.to_owned(), phase.name().to_owned())]);
    let Some(state) = state else { return labels };
    // During a change the state keeps saying what was, as there is no word for it that others know; what tells them
    // that it goes on is that the state is not the mode wanted, and that neither kind of pod may come.
    let ready = if phase == Phase::Changing { NEITHER } else { state.ready() };
    labels.insert(MODE_STATE.to_owned(), state.name().to_owned());
    labels.insert(READY_STATE.to_owned(), ready.to_owned());
    labels
}

/// Which of `wanted` a node does not have, and which of ours it has although they are not wanted: what makes a write
/// necessary. `ours` says which labels may only be there if wanted.
pub fn differences(node: &Labels, wanted: &Labels, ours: impl Fn(&str) -> bool) -> Vec<String> {
    let missing = wanted.iter().filter(|(label, value)| node.get(*label) != Some(*value)).map(|(label, _)| label);
    let stale = node.keys().filter(|label| ours(label) && !wanted.contains_key(*label));
    missing.chain(stale).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect()
    }

    /// The table of the GPU Operator's manager, and our phases.
    #[test]
    fn modes_are_said_as_others_expect_them() {
        use CcMode::{Devtools, Off, On, Ppcie};
        use ModeState::{Failed, Mode};
        let cases = [
            (Phase::Settled, Mode(On), "on", "true"),
            (Phase::Settled, Mode(Ppcie), "ppcie", "true"),
            (Phase::Settled, Mode(Off), "off", "false"),
            (Phase::Settled, Mode(Devtools), "devtools", ""),
            (Phase::Settled, Failed, "failed", ""),
            (Phase::Refused, Mode(On), "on", "true"),
            (Phase::Refused, Mode(Off), "off", "false"),
            (Phase::Changing, Mode(On), "on", ""),
            (Phase::Changing, Mode(Ppcie), "ppcie", ""),
            (Phase::Changing, Mode(Off), "off", ""),
            (Phase::Changing, Failed, "failed", ""),
            (Phase::Failed, Failed, "failed", ""),
            (Phase::Failed, Mode(Off), "off", "false"),
        ];
        for (phase, state, said, ready) in cases {
            let labels = of_modes(phase, Some(state));
            assert_eq!(
                (labels[MODE_STATE].as_str(), labels[READY_STATE].as_str()),
                (said, ready),
                "{phase:?} {state:?}"
            );
            assert_eq!(labels[NODE_STATE], phase.name());
        }
        assert_eq!(of_modes(Phase::Settled, None), labels(&[(NODE_STATE, "settled")]));
    }

    #[test]
    fn ready_is_never_said_during_a_change_or_after_a_failure() {
        for state in CcMode::ALL.map(ModeState::Mode).into_iter().chain([ModeState::Failed]) {
            assert_eq!(of_modes(Phase::Changing, Some(state))[READY_STATE], NEITHER);
        }
        for phase in Phase::ALL {
            assert_eq!(of_modes(phase, Some(ModeState::Failed))[READY_STATE], NEITHER);
        }
    }

    #[test]
    fn both_generations_of_states_are_read() {
        let read = |label, wanted| ModeState::read(label, wanted);
        assert_eq!(read(Some("success"), Some(CcMode::On)), Some(ModeState::Mode(CcMode::On)));
        assert_eq!(read(Some("success"), None), None);
        assert_eq!(read(Some("failed"), Some(CcMode::On)), Some(ModeState::Failed));
        assert_eq!(read(Some("ppcie"), None), Some(ModeState::Mode(CcMode::Ppcie)));
        for word in [None, Some(""), Some("SUCCESS"), Some("unknown")] {
            assert_eq!(read(word, Some(CcMode::On)), None, "{word:?}");
        }
    }

    #[test]
    fn a_write_is_necessary_for_what_is_missing_wrong_or_stale_and_for_nothing_else() {
        let node = labels(&[("a", "1"), ("b", "2"), ("ours/old", "x"), ("theirs", "y")]);
        let wanted = labels(&[("a", "1"), ("b", "3"), ("c", "4")]);
        let different = differences(&node, &wanted, |label| label.starts_with("ours/"));
        assert_eq!(different, ["b", "c", "ours/old"]);
        assert!(differences(&node, &labels(&[("a", "1")]), |_| false).is_empty());
    }
}
