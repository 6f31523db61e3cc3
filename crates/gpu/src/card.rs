//! One GPU or switch whose registers are open: which mode it shows, which it can have, and how it is brought there.

use std::sync::Arc;
use std::time::Duration;

use crate::address::Address;
use crate::bus::{Bus, BusError};
use crate::chip::{BOOT_0, Chip};
use crate::clock::{Clock, Patience, wait_for};
use crate::fsp::{Fsp, FspError, Knob, Status};
use crate::mode::{Mode, Observed, Setting, settings};
use crate::pci::{Device, DeviceKind, NVIDIA};
use crate::registers::{ALL_ONES, Access, RegisterError, Registers};

/// What firmware shows when it has started.
const STARTED: u32 = 0xff;
/// NVIDIA's capability in configuration space that tells of the firewall, and where: bit 20 of its third word.
const FIREWALL_CAPABILITY: u16 = 0;
const FIREWALL_WORD: usize = 8;
const FIREWALL_BIT: u32 = 1 << 20;
/// How long the firewall may stay up, and how long is waited blindly where the capability is missing.
const FIREWALL: Patience = Patience::millis(5_000, 10);
const WITHOUT_CAPABILITY: Duration = Duration::from_secs(3);
/// The command register in configuration space, and its bit for memory (PCI Local Bus Specification, 6.2.2).
const COMMAND: usize = 4;
const COMMAND_MEMORY: u32 = 1 << 1;
/// What `NV_PMC_BOOT_0` reads as after a security fault: the chip is locked until it is reset or powered off.
const SECURITY_FAULTS: [u32; 2] = [0xbadf_0200, 0xbad0_0200];

/// What is wrong with a device. Which device it is stands beside it, in whatever carries this.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CardError {
    /// The kernel's way to it is closed.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// A register cannot be reached.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// All of its registers read as all ones.
    #[error("the device has fallen off the bus: every register reads as all ones")]
    OffTheBus,
    /// It sleeps, and was not to be woken.
    #[error("the device is asleep ({state}), and was not woken to be asked")]
    Asleep {
        /// Its power state.
        state: String,
    },
    /// It is told to answer no accesses to its registers, as a device without a driver is.
    #[error("the device is switched off for accesses to its registers, and was not switched on to be asked")]
    MemoryOff,
    /// The chip has locked itself.
    #[error("the chip has locked itself after a security fault (NV_PMC_BOOT_0 is {boot:#010x})")]
    SecurityFault {
        /// The register.
        boot: u32,
    },
    /// Another chip than those whose modes can be switched.
    #[error("the modes of this chip are not known (device {device_id:04x}, NV_PMC_BOOT_0 {boot:#010x})")]
    UnknownChip {
        /// PCI device id.
        device_id: u16,
        /// The register.
        boot: u32,
    },
    /// The PCI id names one chip, the register another.
    #[error("device {device_id:04x} is {by_id}, and NV_PMC_BOOT_0 {boot:#010x} says {by_boot}")]
    ChipsDisagree {
        /// PCI device id.
        device_id: u16,
        /// The register.
        boot: u32,
        /// Of the id.
        by_id: Chip,
        /// Of the register.
        by_boot: Chip,
    },
    /// The firewall in front of the registers stays up.
    #[error("the firewall in front of the registers is still up after {} ms", waited.as_millis())]
    Firewalled {
        /// How long it was waited for.
        waited: Duration,
    },
    /// Firmware has not started.
    #[error("the firmware has not started after {} ms (it shows {shown:#x}, not 0xff)", waited.as_millis())]
    NotStarted {
        /// What it shows.
        shown: u32,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The chip, or its firmware, does not have the mode.
    #[error("{chip} cannot do mode {mode}{}", if *.firmware { ": its firmware does not know the knob" } else { "" })]
    Unsupported {
        /// The chip.
        chip: Chip,
        /// The mode.
        mode: Mode,
        /// Whether other firmware of the chip can.
        firmware: bool,
    },
    /// The host may not change a knob.
    #[error("knob {knob} is {now} and must be {wanted}, and the host may not change it ({permission} is 0)")]
    Locked {
        /// Which.
        knob: Knob,
        /// What it is.
        now: u16,
        /// What the mode needs.
        wanted: u16,
        /// The knob that forbids it.
        permission: Knob,
    },
    /// A knob was written and reads as something else.
    #[error("knob {knob} was set to {wanted} and reads {now}")]
    DidNotStick {
        /// Which.
        knob: Knob,
        /// What was written.
        wanted: u16,
        /// What it reads.
        now: u16,
    },
    /// The device is at another mode than the one it was brought to.
    #[error("the device shows {shown} and should be at {wanted}")]
    WrongMode {
        /// What it shows.
        shown: Observed,
        /// What was asked.
        wanted: Mode,
    },
    /// The security processor.
    #[error(transparent)]
    Fsp(#[from] FspError),
    /// A driver uses the device that would not survive a reset.
    #[error("driver `{0}` uses the device and would not survive a reset of it")]
    Driver(String),
    /// A reset that does not come back.
    #[error("the reset has not come back after {} s; the kernel still waits for it", waited.as_secs())]
    ResetHangs {
        /// How long it was waited for.
        waited: Duration,
    },
}

impl CardError {
    /// A stable name for metrics, events and scripts.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Bus(_) => "bus",
            Self::Register(_) => "register",
            Self::OffTheBus => "off-the-bus",
            Self::Asleep { .. } => "asleep",
            Self::MemoryOff => "memory-off",
            Self::SecurityFault { .. } => "security-fault",
            Self::UnknownChip { .. } => "unknown-chip",
            Self::ChipsDisagree { .. } => "chips-disagree",
            Self::Firewalled { .. } => "firewalled",
            Self::NotStarted { .. } => "not-started",
            Self::Unsupported { .. } => "unsupported",
            Self::Locked { .. } => "locked",
            Self::DidNotStick { .. } => "knob-did-not-stick",
            Self::WrongMode { .. } => "wrong-mode",
            Self::Fsp(FspError::Timeout { .. }) => "fsp-timeout",
            Self::Fsp(FspError::Refused { .. }) => "fsp-refused",
            Self::Fsp(_) => "fsp",
            Self::Driver(_) => "driver",
            Self::ResetHangs { .. } => "reset-hangs",
        }
    }

    /// What may help.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Bus(BusError::Open(error)) => return error.hint(),
            Self::OffTheBus | Self::SecurityFault { .. } => {
                "power the machine off and on; a device that does this again is broken"
            }
            Self::Asleep { .. } | Self::MemoryOff => {
                "the agent wakes it to ask it, and labels the node with what it says"
            }
            Self::Locked { .. } => "the board's management controller sets this knob, or permits the host to",
            Self::ResetHangs { .. } => "something still holds the device, or it must be powered off and on",
            Self::Unsupported { firmware: true, .. } => "newer firmware of the device may have it",
            Self::NotStarted { .. } | Self::Fsp(FspError::Timeout { .. }) => {
                "a reset may help; if it does not, power the machine off and on"
            }
            Self::Driver(_) => "bind the device to VFIO, or to no driver",
            Self::UnknownChip { .. } => "Hopper, Blackwell and the third NVSwitch are known here",
            _ => return None,
        })
    }

    /// Whether the device may be brought back by a reset.
    pub(crate) fn wants_reset(&self) -> bool {
        match self {
            Self::Fsp(error) => error.is_lost(),
            Self::NotStarted { .. } | Self::Firewalled { .. } | Self::DidNotStick { .. } => true,
            _ => false,
        }
    }
}

/// A knob that is not what a mode needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Change {
    /// Which.
    pub knob: Knob,
    /// What it is.
    pub now: u16,
    /// What the mode needs.
    pub wanted: u16,
}

/// A device whose registers are open.
pub struct Card {
    address: Address,
    kind: DeviceKind,
    device_id: u16,
    registers: Box<dyn Registers>,
    bus: Arc<dyn Bus>,
    clock: Arc<dyn Clock>,
}

impl Card {
    /// Opens a device that nobody else uses. Nothing is asked of it yet.
    pub fn open(bus: &Arc<dyn Bus>, clock: &Arc<dyn Clock>, device: &Device) -> Result<Self, CardError> {
        Self::open_for(Access::Full, bus, clock, device)
    }

    /// Opens a device. With [`Access::Look`], only its chip and its mode are to be asked: its security processor may be
    /// in a conversation with whoever uses the device.
    pub fn open_for(
        access: Access,
        bus: &Arc<dyn Bus>,
        clock: &Arc<dyn Clock>,
        device: &Device,
    ) -> Result<Self, CardError> {
        Ok(Self {
            address: device.address,
            kind: device.kind,
            device_id: device.device_id.0,
            registers: bus.open(device.address, access)?,
            bus: Arc::clone(bus),
            clock: Arc::clone(clock),
        })
    }

    /// Where it is.
    pub fn address(&self) -> Address {
        self.address
    }

    /// Checks that it can be read as it is: that all ones in its registers would mean that it is gone. To be called before
    /// a device that was opened with [`Access::Look`] is read, because a sleeping one is no broken one.
    pub fn is_awake(&self) -> Result<(), CardError> {
        if let Some(state) = self.bus.asleep(self.address)? {
            return Err(CardError::Asleep { state });
        }
        let command = self.bus.config(self.address)?.read32(COMMAND);
        match command {
            // All ones: it does not answer at all, which its registers will say.
            Some(word) if word != ALL_ONES && word & COMMAND_MEMORY == 0 => Err(CardError::MemoryOff),
            _ => Ok(()),
        }
    }

    /// A register that is not expected to be all ones. All ones there and in `NV_PMC_BOOT_0` mean that nobody answers.
    fn read(&self, register: u32) -> Result<u32, CardError> {
        let value = self.registers.read32(register)?;
        if value == ALL_ONES && self.registers.read32(BOOT_0)? == ALL_ONES {
            return Err(CardError::OffTheBus);
        }
        Ok(value)
    }

    /// Which chip it is, by its PCI id and by what it says of itself.
    pub fn chip(&self) -> Result<Chip, CardError> {
        let by_id = Chip::of_device(self.kind, self.device_id);
        if by_id.is_some_and(|chip| chip.layout().firewall) {
            self.pass_firewall()?;
        }
        let boot = self.read(BOOT_0)?;
        if SECURITY_FAULTS.contains(&boot) {
            return Err(CardError::SecurityFault { boot });
        }
        let device_id = self.device_id;
        match (by_id, Chip::of_boot(self.kind, boot)) {
            (Some(by_id), Some(by_boot)) if by_id != by_boot => {
                Err(CardError::ChipsDisagree { device_id, boot, by_id, by_boot })
            }
            (Some(chip), _) | (None, Some(chip)) => Ok(chip),
            (None, None) => Err(CardError::UnknownChip { device_id, boot }),
        }
    }

    /// Waits until Blackwell's registers can be read: right after a reset a firewall is in front of them.
    fn pass_firewall(&self) -> Result<(), CardError> {
        let place = self.bus.config(self.address)?.designated(NVIDIA, FIREWALL_CAPABILITY);
        let Some(place) = place else {
            if self.registers.read32(BOOT_0)? == ALL_ONES {
                self.clock.sleep(WITHOUT_CAPABILITY);
            }
            return Ok(());
        };
        let look = || {
            let word = self.bus.config(self.address)?.read32(place + FIREWALL_WORD);
            // All ones: the device does not answer yet.
            let open = word.is_some_and(|word| word != ALL_ONES && word & FIREWALL_BIT == 0);
            Ok::<_, CardError>(open.then_some(()))
        };
        match wait_for(&*self.clock, FIREWALL, look)? {
            Some(()) => Ok(()),
            None => Err(CardError::Firewalled { waited: FIREWALL.limit }),
        }
    }

    /// Waits until the firmware has started, and says which chip it is.
    pub fn started(&self) -> Result<Chip, CardError> {
        let chip = self.chip()?;
        let layout = chip.layout();
        let mut shown = 0;
        let look = || {
            // Other values, all ones and the 0xbadf.... of a block that is not up yet among them, are "not yet".
            shown = self.registers.read32(layout.boot)?;
            Ok::<_, CardError>((shown == STARTED).then_some(()))
        };
        if wait_for(&*self.clock, layout.boot_wait, look)?.is_some() {
            return Ok(chip);
        }
        self.read(layout.boot)?;
        Err(CardError::NotStarted { shown, waited: layout.boot_wait.limit })
    }

    /// The mode that it is at. Waits for the firmware.
    pub fn mode(&self) -> Result<Observed, CardError> {
        let chip = self.started()?;
        let layout = chip.layout();
        let cc = layout.cc.map_or(Ok(0), |register| self.read(register))?;
        let ppcie = layout.ppcie.map_or(Ok(0), |bit| self.read(bit.register))?;
        Ok(chip.observed(cc, ppcie))
    }

    /// Whether it can do confidential computing, as its registers say: its chip is one that always can, or it shows a mode
    /// of it, or its security processor has the knob. `None` where only the processor could tell, and it may not be asked
    /// (with [`Access::Look`]) or does not answer with a yes or no.
    pub fn is_capable(&self, access: Access) -> Result<Option<bool>, CardError> {
        let (chip, shown) = match self.mode() {
            Ok(shown) => (self.chip()?, shown),
            Err(CardError::UnknownChip { .. }) => return Ok(Some(false)),
            Err(error) => return Err(error),
        };
        if !chip.can(Mode::On) {
            return Ok(Some(false));
        }
        if chip.is_always_capable() || shown != Observed::Mode(Mode::Off) {
            return Ok(Some(true));
        }
        if access == Access::Look {
            return Ok(None);
        }
        Ok(match self.fsp(chip)?.read(Knob::CCM) {
            Ok(_) => Some(true),
            Err(FspError::Refused { status: Status::InvalidKnob, .. }) => Some(false),
            Err(_) => None,
        })
    }

    /// Checks that it is at its share of a mode of the node.
    pub fn is_at(&self, mode: Mode) -> Result<(), CardError> {
        let wanted = self.chip()?.share_of(mode);
        match self.mode()? {
            Observed::Mode(shown) if shown == wanted => Ok(()),
            shown => Err(CardError::WrongMode { shown, wanted }),
        }
    }

    /// Checks that it may be reset: the kernel does that behind its driver's back, and VFIO's drivers alone know of it.
    pub fn is_free(&self) -> Result<(), CardError> {
        match self.bus.driver(self.address)? {
            Some(driver) if !driver.contains("vfio") => Err(CardError::Driver(driver)),
            _ => Ok(()),
        }
    }

    /// Checks that its chip has its share of a mode of the node. Its firmware may still not have it.
    pub fn can(&self, mode: Mode) -> Result<Chip, CardError> {
        let chip = self.started()?;
        let mode = chip.share_of(mode);
        if chip.can(mode) { Ok(chip) } else { Err(CardError::Unsupported { chip, mode, firmware: false }) }
    }

    /// Which knobs must change for its share of a mode of the node. Writes nothing.
    ///
    /// Fails when the chip or its firmware does not have the mode, or when a knob must change that the host may not
    /// change: that is known before anything is tried.
    pub fn changes(&self, mode: Mode) -> Result<Vec<Change>, CardError> {
        let chip = self.can(mode)?;
        let mode = chip.share_of(mode);
        let fsp = self.fsp(chip)?;
        let mut changes = Vec::new();
        for setting in settings(chip, mode) {
            let Some(now) = self.value(&fsp, chip, mode, setting)? else { continue };
            if now == setting.value {
                continue;
            }
            let change = Change { knob: setting.knob, now, wanted: setting.value };
            if let Some(permission) = setting.knob.permission()
                && !self.permits(&fsp, permission)?
            {
                return Err(CardError::Locked { knob: change.knob, now, wanted: change.wanted, permission });
            }
            changes.push(change);
        }
        Ok(changes)
    }

    /// Writes what must change for its share of a mode of the node, and reads it back. It takes effect with the next
    /// reset.
    pub fn stage(&self, mode: Mode) -> Result<(), CardError> {
        let changes = self.changes(mode)?;
        if changes.is_empty() {
            return Ok(());
        }
        let fsp = self.fsp(self.chip()?)?;
        for Change { knob, wanted, .. } in changes {
            self.answer(fsp.write(knob, wanted))?;
            let now = self.answer(fsp.read(knob))?;
            if now != wanted {
                return Err(CardError::DidNotStick { knob, wanted, now });
            }
        }
        Ok(())
    }

    /// Whether a permission is given. Firmware that does not know it asks for none.
    fn permits(&self, fsp: &Fsp<'_>, permission: Knob) -> Result<bool, CardError> {
        match fsp.read(permission) {
            Err(FspError::Refused { status: Status::InvalidKnob, .. }) => Ok(true),
            answer => self.answer(answer).map(|value| value != 0),
        }
    }

    /// A knob's value; `None` when the firmware does not know it and that is as good as 0.
    fn value(&self, fsp: &Fsp<'_>, chip: Chip, mode: Mode, setting: Setting) -> Result<Option<u16>, CardError> {
        match fsp.read(setting.knob) {
            Err(FspError::Refused { status: Status::InvalidKnob, .. }) if setting.absent_is_zero => Ok(None),
            Err(FspError::Refused { status: Status::InvalidKnob, .. }) if setting.knob == Knob::PPCIE => {
                Err(CardError::Unsupported { chip, mode, firmware: true })
            }
            answer => self.answer(answer).map(Some),
        }
    }

    fn fsp(&self, chip: Chip) -> Result<Fsp<'_>, CardError> {
        self.answer(Fsp::open(&*self.registers, &*self.clock, chip.layout().transport))
    }

    /// Tells a security processor that does not answer from a device that is not there any more.
    fn answer<T>(&self, answer: Result<T, FspError>) -> Result<T, CardError> {
        match answer {
            Err(error) if error.is_lost() && self.registers.read32(BOOT_0)? == ALL_ONES => Err(CardError::OffTheBus),
            answer => Ok(answer?),
        }
    }
}

#[cfg(test)]
mod tests;
