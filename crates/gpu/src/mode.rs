//! Modes, and which knobs make them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::chip::Chip;
use crate::fsp::Knob;

/// What the devices of a node are switched to; all of them to the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// No confidential computing.
    Off,
    /// Confidential computing: memory is closed to the host.
    On,
    /// Confidential computing with debuggers let in; not confidential.
    Devtools,
    /// Protected PCIe: all GPUs and switches of a board together, links between them in clear.
    Ppcie,
}

impl Mode {
    /// Every mode.
    pub const ALL: [Self; 4] = [Self::Off, Self::On, Self::Devtools, Self::Ppcie];

    /// As the label `nvidia.com/cc.mode` has it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::On => "on",
            Self::Devtools => "devtools",
            Self::Ppcie => "ppcie",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// A label's value that is no mode. Nothing was touched.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is no mode (off, on, devtools, ppcie)")]
pub struct UnknownMode(pub String);

impl FromStr for Mode {
    type Err = UnknownMode;

    fn from_str(text: &str) -> Result<Self, UnknownMode> {
        Self::ALL.into_iter().find(|mode| mode.label() == text).ok_or_else(|| UnknownMode(text.to_owned()))
    }
}

/// What a device shows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Observed {
    /// A mode.
    Mode(Mode),
    /// A combination of bits that no mode has, such as debuggers let in without confidential computing. An interrupted
    /// switch leaves it; setting any mode mends it.
    Invalid,
}

impl fmt::Display for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mode(mode) => mode.fmt(f),
            Self::Invalid => f.write_str("an invalid mode"),
        }
    }
}

/// One value that a mode needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Setting {
    pub(crate) knob: Knob,
    pub(crate) value: u16,
    /// Firmware that does not know the knob is as good as firmware that has it at 0.
    pub(crate) absent_is_zero: bool,
}

/// What must hold for a mode, in the order in which it is written.
///
/// Confidential computing is switched on before debuggers are let in and off after they are shut out, so that an
/// interruption between two writes never leaves a device with debuggers alone, which it refuses to start with.
pub(crate) fn settings(chip: Chip, mode: Mode) -> Vec<Setting> {
    let set = |knob, value| Setting { knob, value, absent_is_zero: false };
    // Older firmware has no PPCIe.
    let no_ppcie = Setting { knob: Knob::PPCIE, value: 0, absent_is_zero: true };
    let clear = [Knob::UNNAMED_2, Knob::UNNAMED_4, Knob::UNNAMED_34].map(|knob| set(knob, 0));
    let mut list = Vec::new();
    match (chip, mode) {
        (Chip::Ls10, Mode::Ppcie) => {
            list.extend(clear);
            list.extend([Knob::CCD, Knob::CCM, Knob::DECOUPLER].map(|knob| set(knob, 0)));
            list.push(set(Knob::PPCIE, 1));
        }
        (Chip::Ls10, _) => list.extend([set(Knob::DECOUPLER, 0), no_ppcie]),
        (Chip::Gh100, Mode::Ppcie) => {
            list.extend(clear);
            list.extend([set(Knob::CCD, 0), set(Knob::CCM, 0), set(Knob::DECOUPLER, 2), set(Knob::PPCIE, 1)]);
        }
        // Blackwell is refused PPCIe before anybody asks for its settings; off is what is left.
        (_, Mode::Off) | (Chip::Gb10x | Chip::Gb20x, Mode::Ppcie) => {
            if chip == Chip::Gh100 {
                list.extend([no_ppcie, set(Knob::DECOUPLER, 0)]);
            }
            list.extend([set(Knob::CCD, 0), set(Knob::CCM, 0)]);
        }
        (_, Mode::On | Mode::Devtools) => {
            let devtools = mode == Mode::Devtools;
            list.extend(clear);
            if chip == Chip::Gh100 {
                list.extend([no_ppcie, set(Knob::DECOUPLER, if devtools { 0 } else { 2 })]);
            }
            list.extend([set(Knob::CCM, 1), set(Knob::CCD, u16::from(devtools))]);
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_read_exactly() {
        for mode in Mode::ALL {
            assert_eq!(mode.label().parse(), Ok(mode));
        }
        for bad in ["", "On", "ON", " on", "on ", "true", "success", "failed", "protected_pcie", "dev-tools"] {
            assert_eq!(bad.parse::<Mode>(), Err(UnknownMode(bad.to_owned())));
        }
    }

    fn order(chip: Chip, mode: Mode) -> String {
        let list = settings(chip, mode);
        list.iter().map(|s| format!("{}={}", s.knob.id(), s.value)).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn knobs_are_written_in_the_order_that_avoids_invalid_modes() {
        for (chip, mode, expected) in [
            (Chip::Gh100, Mode::On, "2=0 4=0 34=0 45=0 10=2 8=1 6=0"),
            (Chip::Gh100, Mode::Devtools, "2=0 4=0 34=0 45=0 10=0 8=1 6=1"),
            (Chip::Gh100, Mode::Off, "45=0 10=0 6=0 8=0"),
            (Chip::Gh100, Mode::Ppcie, "2=0 4=0 34=0 6=0 8=0 10=2 45=1"),
            (Chip::Gb10x, Mode::On, "2=0 4=0 34=0 8=1 6=0"),
            (Chip::Gb20x, Mode::Devtools, "2=0 4=0 34=0 8=1 6=1"),
            (Chip::Gb20x, Mode::Off, "6=0 8=0"),
            (Chip::Ls10, Mode::Ppcie, "2=0 4=0 34=0 6=0 8=0 10=0 45=1"),
            (Chip::Ls10, Mode::Off, "10=0 45=0"),
        ] {
            assert_eq!(order(chip, mode), expected, "{chip} {mode}");
        }
    }

    #[test]
    fn no_prefix_of_the_writes_lets_debuggers_in_alone() {
        for from in [Mode::Off, Mode::On, Mode::Devtools] {
            for to in [Mode::Off, Mode::On, Mode::Devtools, Mode::Ppcie] {
                let (mut ccm, mut ccd) = (u16::from(from != Mode::Off), u16::from(from == Mode::Devtools));
                for setting in settings(Chip::Gh100, to) {
                    match setting.knob {
                        Knob::CCM => ccm = setting.value,
                        Knob::CCD => ccd = setting.value,
                        _ => {}
                    }
                    assert!(ccd <= ccm, "{from} to {to}");
                }
            }
        }
    }
}
