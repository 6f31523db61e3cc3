//! What differs from chip to chip: where modes are shown, when the firmware has started, how it is spoken to.
//!
//! The numbers are those of NVIDIA's published gpu-admin-tools (v2025.10.20); `NV_` names are NVIDIA's.

use std::fmt;

use serde::Serialize;

use crate::clock::Patience;
use crate::mode::{Mode, Observed};
use crate::pci::DeviceKind;

/// `NV_PMC_BOOT_0`: which chip this is. All ones when nothing answers.
pub(crate) const BOOT_0: u32 = 0;

/// A chip whose modes can be switched.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Chip {
    /// Hopper: H100, H200, H800, H20, GH200.
    Gh100,
    /// Blackwell of the data centre: GB100, GB102, GB110, GB112.
    Gb10x,
    /// Blackwell of workstations: GB202 to GB207.
    Gb20x,
    /// The third NVSwitch.
    Ls10,
}

impl fmt::Display for Chip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gh100 => "GH100",
            Self::Gb10x => "GB10x",
            Self::Gb20x => "GB20x",
            Self::Ls10 => "LS10",
        })
    }
}

/// How a chip's security processor (FSP) is spoken to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Transport {
    /// A window into its memory and queues.
    Emem,
    /// A mailbox.
    Mnoc,
}

/// A bit of a register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Bit {
    pub(crate) register: u32,
    pub(crate) bit: u32,
}

/// What [`Chip`] knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Layout {
    /// Where bits 1 and 0 show the CC mode; a switch has none.
    pub(crate) cc: Option<u32>,
    /// Where PPCIe is shown, on chips that have it.
    pub(crate) ppcie: Option<Bit>,
    /// Where firmware shows 0xff when it has started.
    pub(crate) boot: u32,
    /// How long that may take after a reset.
    pub(crate) boot_wait: Patience,
    /// Whether the registers are behind a firewall right after a reset, which the configuration space tells.
    pub(crate) firewall: bool,
    pub(crate) transport: Transport,
}

const GH100: Layout = Layout {
    cc: Some(0x11_82cc),
    ppcie: Some(Bit { register: 0x11_82cc, bit: 5 }),
    boot: 0x2_00bc, // NV_THERM_I2CS_SCRATCH_FSP_BOOT_COMPLETE
    boot_wait: Patience::millis(5_000, 10),
    firewall: false,
    transport: Transport::Emem,
};
const GB10X: Layout = Layout {
    cc: Some(0x590), // NV_PMC_SCRATCH_RESET_2_CC
    ppcie: None,
    boot: 0x2_00bc,
    boot_wait: Patience::millis(10_000, 10),
    firewall: true,
    transport: Transport::Mnoc,
};
const GB20X: Layout = Layout { boot: 0xad_00bc, ..GB10X };
const LS10: Layout = Layout {
    cc: None,
    ppcie: Some(Bit { register: 0x2_8c50, bit: 0 }),
    boot: 0x6_60bc,
    boot_wait: Patience::millis(5_000, 10),
    firewall: false,
    transport: Transport::Emem,
};

/// Device ids of GPUs by chip, first and last.
const GPUS: [(u16, u16, Chip); 10] = [
    (0x22f0, 0x237f, Chip::Gh100),
    (0x2900, 0x297f, Chip::Gb10x), // GB100
    (0x2980, 0x29ff, Chip::Gb10x), // GB102
    (0x3180, 0x31ff, Chip::Gb10x), // GB110
    (0x3200, 0x327f, Chip::Gb10x), // GB112
    (0x2b80, 0x2bff, Chip::Gb20x), // GB202
    (0x2c00, 0x2c7f, Chip::Gb20x), // GB203
    (0x2d00, 0x2d7f, Chip::Gb20x), // GB206
    (0x2d80, 0x2dff, Chip::Gb20x), // GB207
    (0x2f00, 0x2f7f, Chip::Gb20x), // GB205
];

impl Chip {
    /// The chip that a PCI device id belongs to. Known before a register can be read, which matters for Blackwell: its
    /// registers are behind a firewall after a reset.
    pub fn of_device(kind: DeviceKind, device: u16) -> Option<Self> {
        match kind {
            DeviceKind::Gpu => {
                GPUS.iter().find(|(first, last, _)| (*first..=*last).contains(&device)).map(|(_, _, chip)| *chip)
            }
            DeviceKind::NvSwitch => None,
        }
    }

    /// The chip that `NV_PMC_BOOT_0` names: the architecture is in bits 28 to 24 on a GPU; a switch shows one number.
    pub fn of_boot(kind: DeviceKind, boot: u32) -> Option<Self> {
        match (kind, boot >> 24 & 0x1f) {
            (DeviceKind::Gpu, 0x18) => Some(Self::Gh100),
            (DeviceKind::Gpu, 0x1a) => Some(Self::Gb10x),
            (DeviceKind::Gpu, 0x1b) => Some(Self::Gb20x),
            (DeviceKind::NvSwitch, 0) if boot == 0x70_00a1 => Some(Self::Ls10),
            _ => None,
        }
    }

    pub(crate) const fn layout(self) -> &'static Layout {
        match self {
            Self::Gh100 => &GH100,
            Self::Gb10x => &GB10X,
            Self::Gb20x => &GB20X,
            Self::Ls10 => &LS10,
        }
    }

    /// Whether the chip has a mode. A switch is off where its GPUs are on: it has no memory to protect, and traffic
    /// over it is then not used.
    pub fn can(self, mode: Mode) -> bool {
        match mode {
            Mode::Off => true,
            Mode::On | Mode::Devtools => self.layout().cc.is_some(),
            Mode::Ppcie => self.layout().ppcie.is_some(),
        }
    }

    /// Whether every GPU with this chip can do confidential computing. Workstation Blackwell is sold for games, too, and
    /// one of those shows a mode, off, and has no knob for another.
    pub(crate) const fn is_always_capable(self) -> bool {
        matches!(self, Self::Gh100 | Self::Gb10x)
    }

    /// What this chip is to be at when its node is at `mode`.
    pub fn share_of(self, mode: Mode) -> Mode {
        match (self, mode) {
            (Self::Ls10, Mode::On | Mode::Devtools) => Mode::Off,
            _ => mode,
        }
    }

    /// The mode from the values of the two registers that show it.
    pub(crate) fn observed(self, cc: u32, ppcie: u32) -> Observed {
        let layout = self.layout();
        let protected = layout.ppcie.is_some_and(|bit| ppcie >> bit.bit & 1 == 1);
        match (if layout.cc.is_some() { cc & 3 } else { 0 }, protected) {
            (0, false) => Observed::Mode(Mode::Off),
            (1, false) => Observed::Mode(Mode::On),
            (3, false) => Observed::Mode(Mode::Devtools),
            (0, true) => Observed::Mode(Mode::Ppcie),
            _ => Observed::Invalid,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chips_are_known_by_their_device_id() {
        for (device, chip) in [
            (0x2330, Some(Chip::Gh100)),
            (0x2335, Some(Chip::Gh100)),
            (0x2342, Some(Chip::Gh100)),
            (0x2901, Some(Chip::Gb10x)),
            (0x3182, Some(Chip::Gb10x)),
            (0x2bb5, Some(Chip::Gb20x)),
            (0x20b0, None),
            (0x2236, None),
            (0x22ef, None),
            (0x2380, None),
        ] {
            assert_eq!(Chip::of_device(DeviceKind::Gpu, device), chip, "{device:#x}");
        }
        assert_eq!(Chip::of_device(DeviceKind::NvSwitch, 0x22a3), None);
    }

    #[test]
    fn chips_are_known_by_their_boot_register() {
        for (boot, chip) in [
            (0x1800_00a1, Some(Chip::Gh100)),
            (0x1a00_00a1, Some(Chip::Gb10x)),
            (0x1b20_00a1, Some(Chip::Gb20x)),
            (0x1700_00a1, None),
            (ALL, None),
        ] {
            assert_eq!(Chip::of_boot(DeviceKind::Gpu, boot), chip, "{boot:#x}");
        }
        assert_eq!(Chip::of_boot(DeviceKind::NvSwitch, 0x70_00a1), Some(Chip::Ls10));
        for boot in [0x60_00a1, 0x1800_00a1, ALL] {
            assert_eq!(Chip::of_boot(DeviceKind::NvSwitch, boot), None);
        }
    }

    const ALL: u32 = u32::MAX;

    #[test]
    fn modes_are_read_from_their_bits() {
        for (chip, cc, ppcie, observed) in [
            (Chip::Gh100, 0, 0, Observed::Mode(Mode::Off)),
            (Chip::Gh100, 1, 1, Observed::Mode(Mode::On)),
            (Chip::Gh100, 3, 3, Observed::Mode(Mode::Devtools)),
            (Chip::Gh100, 2, 2, Observed::Invalid),
            (Chip::Gh100, 0x20, 0x20, Observed::Mode(Mode::Ppcie)),
            (Chip::Gh100, 0x21, 0x21, Observed::Invalid),
            (Chip::Gb10x, 5, 0, Observed::Mode(Mode::On)),
            (Chip::Gb20x, 2, 0, Observed::Invalid),
            (Chip::Ls10, 3, 0, Observed::Mode(Mode::Off)),
            (Chip::Ls10, 0, 1, Observed::Mode(Mode::Ppcie)),
        ] {
            assert_eq!(chip.observed(cc, ppcie), observed, "{chip} {cc:#x} {ppcie:#x}");
        }
    }

    #[test]
    fn blackwell_has_no_ppcie_and_a_switch_nothing_else() {
        for chip in [Chip::Gb10x, Chip::Gb20x] {
            assert!(chip.can(Mode::On) && chip.can(Mode::Devtools) && !chip.can(Mode::Ppcie));
        }
        assert!(Chip::Gh100.can(Mode::Ppcie) && Chip::Ls10.can(Mode::Ppcie) && !Chip::Ls10.can(Mode::On));
        assert_eq!(Chip::Ls10.share_of(Mode::On), Mode::Off);
        assert_eq!(Chip::Ls10.share_of(Mode::Ppcie), Mode::Ppcie);
        assert_eq!(Chip::Gh100.share_of(Mode::Devtools), Mode::Devtools);
    }
}
