//! What is done to devices through the kernel: opening their registers, reading their configuration, resetting them.

use crate::address::Address;
use crate::config_space::{ConfigSpace, MAX_CONFIG};
use crate::machine::{Machine, ReadError, WriteError};
use crate::pci;
use crate::registers::{Access, Bar0, OpenError, Registers};

/// The way to a device. A simulator implements it with the same files and its own registers.
pub trait Bus: Send + Sync {
    /// Opens a device's registers. Its answers are not yet trustworthy: a device that is asleep, resetting or gone
    /// reads as all ones.
    fn open(&self, device: Address, access: Access) -> Result<Box<dyn Registers>, BusError>;
    /// Reads a device's configuration space.
    fn config(&self, device: Address) -> Result<ConfigSpace, BusError>;
    /// The kernel driver that a device is bound to.
    fn driver(&self, device: Address) -> Result<Option<String>, BusError>;
    /// The power state that a device sleeps in, `D3hot` say; `None` where it is awake or the kernel does not know. Does
    /// not wake it.
    fn asleep(&self, device: Address) -> Result<Option<String>, BusError>;
    /// Resets a device. The kernel saves and restores its configuration around it, and holds the caller until it is
    /// through, which can be for ever. `Ok` does not mean that its firmware has started again.
    fn reset(&self, device: Address) -> Result<(), BusError>;
}

/// What the kernel did not do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BusError {
    /// Registers cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Configuration cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The device is not there.
    #[error("there is no device {0} on the bus")]
    NoDevice(Address),
    /// The kernel refuses a reset.
    #[error("the kernel does not reset the device")]
    Reset(#[source] WriteError),
}

/// The kernel's own files.
#[derive(Clone, Debug)]
pub struct Sysfs {
    machine: Machine,
}

impl Sysfs {
    /// The bus of this machine.
    pub fn new(machine: Machine) -> Self {
        Self { machine }
    }
}

impl Bus for Sysfs {
    fn open(&self, device: Address, access: Access) -> Result<Box<dyn Registers>, BusError> {
        Ok(Box::new(Bar0::open(&self.machine, &pci::folder(device), access)?))
    }

    fn config(&self, device: Address) -> Result<ConfigSpace, BusError> {
        let bytes = self.machine.bytes(&format!("{}/config", pci::folder(device)), MAX_CONFIG)?;
        bytes.map(ConfigSpace).ok_or(BusError::NoDevice(device))
    }

    fn driver(&self, device: Address) -> Result<Option<String>, BusError> {
        Ok(self.machine.link_name(&format!("{}/driver", pci::folder(device)))?)
    }

    fn asleep(&self, device: Address) -> Result<Option<String>, BusError> {
        let state = self.machine.text(&format!("{}/power_state", pci::folder(device)))?;
        // The kernel's words: D0 to D2, D3hot, D3cold, unknown; kernels before 5.12 have no such file.
        Ok(state.filter(|state| matches!(state.as_str(), "D1" | "D2" | "D3hot" | "D3cold")))
    }

    fn reset(&self, device: Address) -> Result<(), BusError> {
        self.machine.write(&format!("{}/reset", pci::folder(device)), "1\n").map_err(BusError::Reset)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use super::*;
    use crate::simulated::{Host, Model, VirtualClock, at};

    #[test]
    fn the_kernels_files_are_read_and_written() {
        let dir = tempfile::tempdir().unwrap();
        let host = Host::new(dir.path(), Arc::new(VirtualClock::default()));
        host.add(at(0x10), Model::B200);
        host.attach(at(0x10), "vfio-pci");
        let bus = Sysfs::new(host.machine());
        assert_eq!(bus.driver(at(0x10)).unwrap().as_deref(), Some("vfio-pci"));
        assert_eq!(bus.config(at(0x10)).unwrap().read32(0), Some(0x2901_10de));
        bus.reset(at(0x10)).unwrap();
        let reset = dir.path().join("sys/bus/pci/devices/0000:10:00.0/reset");
        assert_eq!(fs::read_to_string(reset).unwrap(), "1\n");
    }

    #[test]
    fn a_device_that_is_not_there_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let bus = Sysfs::new(Machine::new(dir.path()));
        let device = at(0x10);
        assert!(matches!(bus.config(device), Err(BusError::NoDevice(found)) if found == device));
        assert!(matches!(bus.reset(device), Err(BusError::Reset(_))));
        assert!(matches!(bus.open(device, Access::Full), Err(BusError::Open(OpenError::Open { .. }))));
        assert_eq!(bus.driver(device).unwrap(), None);
    }
}
