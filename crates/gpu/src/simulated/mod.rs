//! A simulated host: GPUs and NVSwitches behind the same trait and the same files as real ones.
//!
//! Registers, security processors and resets are simulated in memory behind [`Bus`]; the files of sysfs and procfs lie
//! in a folder, so that whatever reads files reads them. A device's registers are also a file that can be mapped, as
//! `resource0` is, where reading is enough. Faults are put in on purpose, and a process can be killed at any of its
//! effects ([`Life`]).
//!
//! For tests and benchmarks alone, behind the cargo feature `simulated`: what it knows of hardware is what
//! this crate's documents say of it, so it shows that the code does what they say and not that they are right.

mod clock;
mod device;
mod drivers;
mod life;
mod tree;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

pub use clock::VirtualClock;
pub use life::{Count, Death, Killed, Life};

use crate::address::Address;
use crate::bus::{Bus, BusError, Sysfs};
use crate::clock::Clock;
use crate::config_space::ConfigSpace;
use crate::fsp::Knob;
use crate::machine::{Machine, WriteError};
use crate::mode::{Mode, Observed};
use crate::registers::{Access, RegisterError, Registers};
use device::Simulated;

/// A model that can be simulated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Model {
    /// Hopper, on a board with switches.
    H100,
    /// Blackwell of the data centre.
    B200,
    /// Blackwell of workstations, a VGA controller.
    RtxPro6000,
    /// Blackwell for games: the same chip, without the knobs of confidential computing.
    Rtx5090,
    /// The third NVSwitch.
    NvSwitch,
    /// A GPU of before confidential computing.
    A100,
}

/// What can be wrong with a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// A reset does not come back.
    ResetHangs,
    /// The kernel refuses a reset.
    ResetRefused,
    /// After a reset the device is at the mode it was at before.
    KeepsMode,
    /// After a reset the device is no longer there.
    FallsOffAtReset,
    /// The device is not there.
    OffTheBus,
    /// After a reset the firmware does not start.
    DoesNotStart,
    /// The security processor takes requests and does not answer.
    FspSilent,
    /// The security processor answers each request with this status.
    FspStatus(u32),
    /// The security processor refuses to write knobs, with this status.
    FspRefusesWrites(u32),
    /// The security processor's answers are of another type.
    FspNonsense,
    /// Knobs take no new values, and the processor says that all is well.
    KnobsDoNotStick,
    /// The chip has locked itself.
    SecurityFault,
    /// No driver can be bound.
    BindRefused,
}

/// How long things take.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// An answer of the security processor.
    pub answer: Duration,
    /// A reset, until the kernel comes back.
    pub reset: Duration,
    /// The start of the firmware after a reset.
    pub start: Duration,
    /// Blackwell's firewall after a reset.
    pub firewall: Duration,
}

impl Default for Timing {
    /// Orders of magnitude of real devices.
    fn default() -> Self {
        Self {
            answer: Duration::from_millis(2),
            reset: Duration::from_millis(300),
            start: Duration::from_millis(1500),
            firewall: Duration::from_millis(500),
        }
    }
}

struct Slot {
    device: Simulated,
    asleep: bool,
    faults: Vec<(Fault, u32)>,
}

impl Slot {
    /// Whether a fault strikes now; a fault that strikes a number of times is used up by that.
    fn strikes(&mut self, fault: Fault) -> bool {
        let Some(found) = self.faults.iter_mut().find(|(kind, left)| *kind == fault && *left > 0) else { return false };
        found.1 = found.1.saturating_sub(u32::from(found.1 != u32::MAX));
        true
    }
}

#[derive(Default)]
struct Hanging {
    released: Mutex<bool>,
    changed: Condvar,
}

/// A simulated host. Clones are the same host.
#[derive(Clone)]
pub struct Host {
    root: PathBuf,
    clock: Arc<dyn Clock>,
    timing: Timing,
    // A lock for each device: threads that poll different ones must not wait for each other.
    slots: Arc<RwLock<BTreeMap<Address, Arc<Mutex<Slot>>>>>,
    hanging: Arc<Hanging>,
}

impl Host {
    /// A host without devices whose files are in a folder.
    pub fn new(root: impl Into<PathBuf>, clock: Arc<dyn Clock>) -> Self {
        let (slots, hanging) = (Arc::default(), Arc::default());
        Self { root: root.into(), clock, timing: Timing::default(), slots, hanging }
    }

    /// The same with other times.
    #[must_use]
    pub fn with_timing(mut self, timing: Timing) -> Self {
        self.timing = timing;
        self
    }

    /// Puts a device in, with its files. Its IOMMU group is the number of its bus.
    ///
    /// # Panics
    /// Where a file cannot be written: without its files there is no host.
    pub fn add(&self, address: Address, model: Model) {
        let device = Simulated::new(model, self.timing);
        tree::write(&self.root, address, &device);
        let slot = Arc::new(Mutex::new(Slot { device, asleep: false, faults: Vec::new() }));
        self.slots.write().unwrap_or_else(PoisonError::into_inner).insert(address, slot);
    }

    /// An HGX board: eight H100 and four switches, off.
    pub fn hgx(&self) {
        for number in 0..8 {
            self.add(at(0x10 + number), Model::H100);
        }
        for number in 0..4 {
            self.add(at(0x80 + number), Model::NvSwitch);
        }
    }

    /// The host's files.
    pub fn machine(&self) -> Machine {
        Machine::new(&self.root)
    }

    /// The folder of the host's files.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Its clock.
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    /// The way to the devices for a process.
    pub fn bus(&self, life: &Arc<Life>) -> Arc<dyn Bus> {
        Arc::new(Way { host: self.clone(), life: Arc::clone(life) })
    }

    /// Puts a fault into a device, to strike so many times.
    pub fn fault(&self, address: Address, fault: Fault, times: u32) {
        self.with(address, |slot, _| slot.faults.push((fault, times)));
    }

    /// Puts a device into a power saving state, as an idle one is. It wakes as soon as somebody opens it for more than a
    /// look.
    pub fn sleep(&self, address: Address) {
        self.set_asleep(address, true);
    }

    /// Whether a device is in a power saving state.
    pub fn is_asleep(&self, address: Address) -> bool {
        self.with(address, |slot, _| slot.asleep) == Some(true)
    }

    fn set_asleep(&self, address: Address, asleep: bool) {
        if self.with(address, |slot, _| std::mem::replace(&mut slot.asleep, asleep)) == Some(!asleep) {
            tree::write_power(&self.root, address, asleep);
        }
    }

    /// Takes all faults out of all devices.
    pub fn mend(&self) {
        for (_, slot) in self.slots() {
            lock(&slot).faults.clear();
        }
    }

    /// Sets a knob, as the board's management controller does.
    pub fn set_knob(&self, address: Address, knob: u8, value: u16) {
        self.with(address, |slot, _| slot.device.processor.knobs.insert(knob, value));
    }

    /// Takes a knob away, as older firmware lacks it.
    pub fn forget_knob(&self, address: Address, knob: u8) {
        self.with(address, |slot, _| slot.device.processor.knobs.remove(&knob));
    }

    /// A knob's value.
    pub fn knob(&self, address: Address, knob: Knob) -> Option<u16> {
        self.with(address, |slot, _| slot.device.processor.knobs.get(&knob.id()).copied())?
    }

    /// The mode that a device is at, whether or not anybody may read it now.
    pub fn mode(&self, address: Address) -> Option<Observed> {
        self.with(address, |slot, _| slot.device.mode())
    }

    /// How often a device was reset.
    pub fn resets(&self, address: Address) -> u32 {
        self.with(address, |slot, _| slot.device.resets).unwrap_or(0)
    }

    /// Every device.
    pub fn addresses(&self) -> Vec<Address> {
        self.slots().into_iter().map(|(address, _)| address).collect()
    }

    /// Whether every device is at its share of a mode.
    pub fn is_at(&self, mode: Mode) -> bool {
        let there = |slot: &Mutex<Slot>| {
            let slot = lock(slot);
            match slot.device.chip() {
                Some(chip) => slot.device.mode() == Observed::Mode(chip.share_of(mode)),
                None => mode == Mode::Off,
            }
        };
        self.slots().iter().all(|(_, slot)| there(slot))
    }

    /// Brings every device to a mode at once, as if it had been started there. Those that cannot are left.
    pub fn put_at(&self, mode: Mode) {
        for (_, slot) in self.slots() {
            let mut slot = lock(&slot);
            if let Some(chip) = slot.device.chip() {
                slot.device.put_at(chip, chip.share_of(mode));
            }
        }
    }

    /// The machine is switched off and on: every device starts with the knobs that it has, and those that had fallen off
    /// the bus are back.
    pub fn power_cycle(&self) {
        let now = self.clock.now();
        for (_, slot) in self.slots() {
            let mut slot = lock(&slot);
            slot.device.gone = false;
            slot.device.reset(now, false);
        }
    }

    /// Lets hanging resets come back.
    pub fn release(&self) {
        *self.hanging.released.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.hanging.changed.notify_all();
    }

    /// Puts what registers show now into the files that can be mapped.
    pub fn write_registers(&self) {
        for (address, slot) in self.slots() {
            tree::write_registers(&self.root, address, &lock(&slot).device);
        }
    }

    /// A process opens a device's node, such as `/dev/vfio/16`.
    pub fn hold(&self, process: u32, command: &str, node: &str) {
        tree::hold(&self.root, process, command, node);
    }

    /// A process ends.
    pub fn end(&self, process: u32) {
        let _ = std::fs::remove_dir_all(self.root.join(format!("proc/{process}")));
    }

    fn slots(&self) -> Vec<(Address, Arc<Mutex<Slot>>)> {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        slots.iter().map(|(address, slot)| (*address, Arc::clone(slot))).collect()
    }

    fn slot(&self, address: Address) -> Option<Arc<Mutex<Slot>>> {
        self.slots.read().unwrap_or_else(PoisonError::into_inner).get(&address).cloned()
    }

    fn with<T>(&self, address: Address, act: impl FnOnce(&mut Slot, Duration) -> T) -> Option<T> {
        let slot = self.slot(address)?;
        let now = self.clock.now();
        Some(act(&mut lock(&slot), now))
    }
}

fn lock(slot: &Mutex<Slot>) -> MutexGuard<'_, Slot> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The first function of a bus in the first domain.
///
/// # Panics
/// Never: the address is one.
pub const fn at(bus: u8) -> Address {
    match Address::new(0, bus, 0, 0) {
        Some(address) => address,
        None => panic!("an address"),
    }
}

/// The way of one process to the devices.
struct Way {
    host: Host,
    life: Arc<Life>,
}

struct Opened {
    access: Access,
    clock: Arc<dyn Clock>,
    life: Arc<Life>,
    slot: Arc<Mutex<Slot>>,
}

impl Opened {
    fn with<T>(&self, act: impl FnOnce(&mut Slot, Duration) -> T) -> T {
        let now = self.clock.now();
        act(&mut lock(&self.slot), now)
    }
}

impl Bus for Way {
    fn open(&self, device: Address, access: Access) -> Result<Box<dyn Registers>, BusError> {
        let slot = self.host.slot(device).ok_or(BusError::NoDevice(device))?;
        if access == Access::Full {
            self.host.set_asleep(device, false);
        }
        Ok(Box::new(Opened { access, clock: self.host.clock(), life: Arc::clone(&self.life), slot }))
    }

    fn config(&self, device: Address) -> Result<ConfigSpace, BusError> {
        let config = self.host.with(device, |slot, now| {
            let gone = slot.strikes(Fault::OffTheBus) || slot.device.gone;
            if gone { ConfigSpace(vec![0xff; 4096]) } else { slot.device.config(now) }
        });
        config.ok_or(BusError::NoDevice(device))
    }

    fn driver(&self, device: Address) -> Result<Option<String>, BusError> {
        Ok(self.host.machine().link_name(&format!("{}/driver", crate::pci::folder(device)))?)
    }

    fn asleep(&self, device: Address) -> Result<Option<String>, BusError> {
        Sysfs::new(self.host.machine()).asleep(device)
    }

    fn reset(&self, device: Address) -> Result<(), BusError> {
        let refused = |kind: std::io::ErrorKind| {
            let path = self.host.root.join(format!("sys/bus/pci/devices/{device}/reset"));
            BusError::Reset(WriteError { path, text: "1".to_owned(), source: kind.into() })
        };
        self.life
            .effect(|| {
                if self.host.with(device, |slot, _| slot.strikes(Fault::ResetRefused)) != Some(false) {
                    return Err(refused(std::io::ErrorKind::Unsupported));
                }
                if self.host.with(device, |slot, _| slot.strikes(Fault::ResetHangs)) == Some(true) {
                    let mut released = self.host.hanging.released.lock().unwrap_or_else(PoisonError::into_inner);
                    while !*released {
                        released = self.host.hanging.changed.wait(released).unwrap_or_else(PoisonError::into_inner);
                    }
                    return Err(refused(std::io::ErrorKind::TimedOut));
                }
                self.host.clock.sleep(self.host.timing.reset);
                self.host.with(device, |slot, now| {
                    let keeps = slot.strikes(Fault::KeepsMode);
                    slot.device.reset(now, keeps);
                    slot.device.gone |= slot.strikes(Fault::FallsOffAtReset);
                    slot.device.stuck |= slot.strikes(Fault::DoesNotStart);
                });
                Ok(())
            })
            .unwrap_or_else(|Killed| Err(refused(std::io::ErrorKind::Interrupted)))
    }
}

impl Registers for Opened {
    fn read32(&self, offset: u32) -> Result<u32, RegisterError> {
        if self.life.is_over() {
            return Err(RegisterError::Gone { offset });
        }
        let value = self.with(|slot, now| {
            if slot.asleep || slot.strikes(Fault::OffTheBus) {
                return u32::MAX;
            }
            if offset == 0 && slot.strikes(Fault::SecurityFault) {
                return 0xbadf_0200;
            }
            slot.device.read(offset, now)
        });
        Ok(value)
    }

    fn write32(&self, offset: u32, value: u32) -> Result<(), RegisterError> {
        if self.access == Access::Look {
            return Err(RegisterError::ReadOnly { offset });
        }
        let write = || {
            self.with(|slot, now| {
                let troubles = device::Troubles {
                    silent: slot.device.is_request(offset) && slot.strikes(Fault::FspSilent),
                    nonsense: slot.device.is_request(offset) && slot.strikes(Fault::FspNonsense),
                    stuck: slot.faults.iter().any(|(fault, left)| *fault == Fault::KnobsDoNotStick && *left > 0),
                    status: slot.faults.iter().find_map(|(fault, left)| match fault {
                        Fault::FspStatus(status) if *left > 0 => Some(*status),
                        _ => None,
                    }),
                    refuses_writes: slot.faults.iter().find_map(|(fault, left)| match fault {
                        Fault::FspRefusesWrites(status) if *left > 0 => Some(*status),
                        _ => None,
                    }),
                };
                slot.device.write(offset, value, now, troubles);
            });
            Ok(())
        };
        let counts = match self.life.count() {
            Count::RegisterWrites => true,
            Count::KnobWrites => self.with(|slot, _| slot.device.writes_knob(offset)),
        };
        if !counts {
            return if self.life.is_over() { Err(RegisterError::Gone { offset }) } else { write() };
        }
        self.life.effect(write).unwrap_or(Err(RegisterError::Gone { offset }))
    }
}

#[cfg(test)]
mod tests;
