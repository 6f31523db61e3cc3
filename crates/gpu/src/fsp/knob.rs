//! Knobs of the product configuration: small numbers that the security processor keeps over resets.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A knob. The names are those of gpu-admin-tools, shortened.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Knob(u8);

impl Knob {
    /// Three knobs without a published name; 0 before confidential computing or PPCIe is switched on.
    pub const UNNAMED_2: Self = Self(2);
    /// See [`Knob::UNNAMED_2`].
    pub const UNNAMED_4: Self = Self(4);
    /// See [`Knob::UNNAMED_2`].
    pub const UNNAMED_34: Self = Self(34);
    /// Debuggers let in.
    pub const CCD: Self = Self(6);
    /// Confidential computing.
    pub const CCM: Self = Self(8);
    /// The filter in front of the registers: 2 is on.
    pub const DECOUPLER: Self = Self(10);
    /// Protected PCIe.
    pub const PPCIE: Self = Self(45);

    /// Its number.
    pub const fn id(self) -> u8 {
        self.0
    }

    /// The knob that says whether the host may change this one (1), or only the board's management controller (0).
    pub const fn permission(self) -> Option<Self> {
        match self {
            Self::UNNAMED_2
            | Self::UNNAMED_4
            | Self::UNNAMED_34
            | Self::CCD
            | Self::CCM
            | Self::DECOUPLER
            | Self::PPCIE => Some(Self(self.0 - 1)),
            _ => None,
        }
    }
}

impl fmt::Display for Knob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match *self {
            Self::CCD => "CCD",
            Self(5) => "CCD_ALLOW_INB",
            Self::CCM => "CCM",
            Self(7) => "CCM_ALLOW_INB",
            Self::DECOUPLER => "BAR0_DECOUPLER",
            Self(9) => "BAR0_DECOUPLER_ALLOW_INB",
            Self::PPCIE => "PPCIE",
            Self(44) => "PPCIE_ALLOW_INB",
            Self(id) => return write!(f, "{id}"),
        };
        write!(f, "{} ({name})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knobs_have_the_permissions_that_guard_them() {
        for (knob, permission) in [
            (Knob::CCM, Some(7)),
            (Knob::CCD, Some(5)),
            (Knob::DECOUPLER, Some(9)),
            (Knob::PPCIE, Some(44)),
            (Knob::UNNAMED_2, Some(1)),
            (Knob::UNNAMED_4, Some(3)),
            (Knob::UNNAMED_34, Some(33)),
            (Knob(7), None),
        ] {
            assert_eq!(knob.permission().map(Knob::id), permission);
        }
        assert_eq!(Knob::PPCIE.to_string(), "45 (PPCIE)");
        assert_eq!(Knob::PPCIE.permission().unwrap().to_string(), "44 (PPCIE_ALLOW_INB)");
        assert_eq!(Knob::UNNAMED_4.to_string(), "4");
    }
}
