//! What all devices of a node are at, without changing any.

use super::journal::{Failure, Step};
use super::{Interrupted, Transition};
use crate::address::Address;
use crate::card::{Card, CardError};
use crate::chip::Chip;
use crate::mode::{Mode, Observed};
use crate::pci::DeviceKind;
use crate::registers::Access;

/// One device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Surveyed {
    /// Where it is.
    pub address: Address,
    /// What it is.
    pub kind: DeviceKind,
    /// Whether somebody has it open.
    pub held: bool,
    /// Its chip; `None` where its modes cannot be switched, or where it does not answer.
    pub chip: Option<Chip>,
    /// Whether it can do confidential computing; `None` where that cannot be told. A switch cannot by itself.
    pub capable: Option<bool>,
    /// The mode that it shows, or why it shows none. A device of before confidential computing is off.
    pub mode: Result<Observed, Failure>,
}

/// All devices.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Survey {
    /// In the order in which they were given.
    pub devices: Vec<Surveyed>,
}

impl Survey {
    /// The mode that all devices are at; `None` when they are at several, or one does not say. Without devices it is
    /// off.
    pub fn common(&self) -> Option<Mode> {
        let at = |mode: &Mode| {
            self.devices.iter().all(|device| match (&device.mode, device.chip) {
                (Ok(shown), Some(chip)) => *shown == Observed::Mode(chip.share_of(*mode)),
                (Ok(shown), None) => *shown == Observed::Mode(Mode::Off) && *mode == Mode::Off,
                (Err(_), _) => false,
            })
        };
        Mode::ALL.into_iter().find(at)
    }

    /// Whether some GPU can do confidential computing, as its registers say. `None` where none is known to and one does
    /// not tell, because it sleeps, somebody has it, or it is broken. Whether the processor of the machine can as well is
    /// another question.
    pub fn cc_capable(&self) -> Option<bool> {
        let mut gpus = self.devices.iter().filter(|device| device.kind == DeviceKind::Gpu).map(|gpu| gpu.capable);
        if gpus.clone().any(|capable| capable == Some(true)) {
            return Some(true);
        }
        gpus.all(|capable| capable.is_some()).then_some(false)
    }

    /// Whether the node can be brought to a mode, as far as chips tell: it has a GPU, and every device has the mode.
    pub fn can(&self, mode: Mode) -> bool {
        let can = |device: &Surveyed| device.chip.is_some_and(|chip| chip.can(chip.share_of(mode)));
        mode == Mode::Off
            || self.devices.iter().any(|device| device.kind == DeviceKind::Gpu) && self.devices.iter().all(can)
    }
}

impl Transition<'_> {
    /// Reads chips and modes of all devices at once. Devices that somebody has open are only looked at; the others are
    /// woken for it, so nobody else may be changing devices meanwhile.
    pub fn survey(&self) -> Result<Survey, Interrupted> {
        self.ask_all(Access::Full)
    }

    /// The same, and nothing is written to any device or to the kernel's files about it: this may run beside a change.
    /// A device that sleeps has no mode then, with the code `asleep`.
    pub fn glance(&self) -> Result<Survey, Interrupted> {
        self.ask_all(Access::Look)
    }

    fn ask_all(&self, access: Access) -> Result<Survey, Interrupted> {
        let addresses: Vec<Address> = self.devices.iter().map(|device| device.address).collect();
        let holders = self.look.holders(&addresses).map_err(Interrupted::Look)?;
        let held: Vec<Address> = holders.into_iter().flat_map(|holder| holder.devices).collect();
        let looked_at = if access == Access::Look { &addresses } else { &held };
        let mode = |card: &Card| match card.mode() {
            // It may have fallen asleep meanwhile.
            Err(CardError::OffTheBus) if looked_at.contains(&card.address()) => {
                card.is_awake().and(Err(CardError::OffTheBus))
            }
            mode => mode,
        };
        let ask = |card: &Card| {
            let looked_at = looked_at.contains(&card.address());
            if looked_at {
                card.is_awake()?;
            }
            let chip = match card.chip() {
                Ok(chip) => chip,
                Err(CardError::UnknownChip { .. }) => return Ok((None, Some(false), Ok(Observed::Mode(Mode::Off)))),
                Err(error) => return Err(error),
            };
            let mode = mode(card).map_err(|error| Failure::of(card.address(), Step::Validate, &error));
            // The security processor may be in a conversation with the host's own driver as well.
            let access = if looked_at || card.is_free().is_err() { Access::Look } else { Access::Full };
            // A device without a mode is not asked for anything that depends on one.
            let capable = mode.as_ref().ok().and_then(|_| card.is_capable(access).ok().flatten());
            Ok((Some(chip), capable, mode))
        };
        let answers = self.each(&self.devices, looked_at, Step::Validate, ask);
        let devices = answers.into_iter().map(|(device, answer)| {
            let (chip, capable, mode) = answer.unwrap_or_else(|failure| (None, None, Err(failure)));
            let (address, kind) = (device.address, device.kind);
            Surveyed { address, kind, held: held.contains(&address), chip, capable, mode }
        });
        Ok(Survey { devices: devices.collect() })
    }
}
