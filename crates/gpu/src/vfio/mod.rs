//! Drivers: taking devices for VFIO, so that they can be given to virtual machines, and giving them back.
//!
//! What a device had before is written down before it is taken, and it gets that again. A device that somebody holds
//! is neither taken nor given back: the kernel would wait for that process for ever.

mod aliases;
mod memory;

use std::fmt;
use std::io;
use std::process::Stdio;

use memory::Before;
pub use memory::{Memory, MemoryError};

use crate::address::Address;
use crate::machine::{Machine, ReadError, WriteError};
use crate::pci::{self, Device};
use crate::users::{Holder, Look};

const DRIVERS: &str = "/sys/bus/pci/drivers";
/// LIMIT: a distribution's `modules.alias` has 2 MB.
const MAX_ALIASES: u64 = 32 * 1024 * 1024;

/// What the kernel is told.
pub trait Kernel: Send + Sync {
    /// Writes to one of its files.
    fn write(&self, path: &str, text: &str) -> Result<(), WriteError>;
    /// Loads a module, with whatever it needs; nothing when it is there already.
    fn load(&self, module: &str) -> Result<(), LoadError>;
}

/// A module that is not loaded.
#[derive(Debug, thiserror::Error)]
#[error("load module `{module}`: {reason}")]
pub struct LoadError {
    /// Which.
    pub module: String,
    /// Why not, in the words of `modprobe`.
    pub reason: String,
}

/// The kernel of this machine.
#[derive(Clone, Debug)]
pub struct Host {
    machine: Machine,
}

impl Host {
    /// The kernel whose files are the machine's.
    pub fn new(machine: Machine) -> Self {
        Self { machine }
    }
}

impl Kernel for Host {
    fn write(&self, path: &str, text: &str) -> Result<(), WriteError> {
        self.machine.write(path, text)
    }

    fn load(&self, module: &str) -> Result<(), LoadError> {
        let failed = |reason: String| LoadError { module: module.to_owned(), reason };
        // Names come from the machine's files, and become an argument.
        if module.is_empty() || !module.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
        {
            return Err(failed("this is no module's name".to_owned()));
        }
        // The machine's own modprobe, on the machine's own modules.
        let done = self.machine.command("modprobe").arg("--").arg(module).stdin(Stdio::null()).output();
        let done = done.map_err(|error: io::Error| failed(error.to_string()))?;
        if done.status.success() {
            return Ok(());
        }
        Err(failed(format!("{} ({})", String::from_utf8_lossy(&done.stderr).trim(), done.status)))
    }
}

/// A driver that could not be changed. Which device it is stands beside it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The kernel's files.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The kernel refuses.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The driver's module.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// What was before.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// Somebody has the device open.
    #[error("{0}")]
    InUse(Holder),
    /// Without a group nothing is isolated.
    #[error("the device is in no IOMMU group, so it cannot be given to a virtual machine")]
    NoGroup,
    /// The module is loaded, and there is no such driver.
    #[error("there is no driver `{0}`")]
    NoDriver(String),
    /// The kernel took everything, and the device has another driver.
    #[error("the device has driver {} and should have `{wanted}`", name(.found.as_deref()))]
    NotBound {
        /// What it should have.
        wanted: String,
        /// What it has.
        found: Option<String>,
    },
}

fn name(driver: Option<&str>) -> String {
    driver.map_or_else(|| "none".to_owned(), |driver| format!("`{driver}`"))
}

impl BindError {
    /// What may help.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::InUse(_) => "delete the pod that uses the device, or end the process",
            Self::NoGroup => "switch the IOMMU on, in the firmware's setup and on the kernel's command line",
            Self::NoDriver(_) | Self::Load(_) => "the kernel's VFIO modules must be installed",
            _ => return None,
        })
    }
}

/// A device and what went wrong with it.
#[derive(Debug)]
pub struct BindFailure {
    /// Which.
    pub device: Address,
    /// What.
    pub error: BindError,
}

impl fmt::Display for BindFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.device, self.error)
    }
}

/// A device and the driver that it has now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bound {
    /// Which.
    pub device: Address,
    /// Its driver.
    pub driver: Option<String>,
    /// Whether that is new.
    pub changed: bool,
}

/// Takes devices for VFIO and gives them back.
pub struct Binder<'a> {
    machine: Machine,
    kernel: &'a dyn Kernel,
    look: &'a dyn Look,
    memory: Memory,
}

impl<'a> Binder<'a> {
    /// For the devices of a machine.
    pub fn new(machine: Machine, kernel: &'a dyn Kernel, look: &'a dyn Look, memory: Memory) -> Self {
        Self { machine, kernel, look, memory }
    }

    /// Binds devices, and the functions that belong to them, to the VFIO driver that is the best for each. All of them
    /// are tried; one that failed is a failure of the whole.
    pub fn bind(&self, devices: &[Device]) -> Result<Vec<Bound>, Vec<BindFailure>> {
        // A distribution's list has megabytes: it is read for the first device, and not at all where there is none.
        let mut aliases = None;
        self.each(devices, |address| {
            let aliases = match &mut aliases {
                Some(read) => read,
                none => none.insert(self.aliases()?),
            };
            self.take(address, aliases)
        })
    }

    /// Gives devices, and the functions that belong to them, the drivers that they had before. Those that were never
    /// taken are left.
    pub fn restore(&self, devices: &[Device]) -> Result<Vec<Bound>, Vec<BindFailure>> {
        self.each(devices, |address| self.give_back(address))
    }

    fn each(
        &self,
        devices: &[Device],
        mut act: impl FnMut(Address) -> Result<Bound, BindError>,
    ) -> Result<Vec<Bound>, Vec<BindFailure>> {
        let (mut bound, mut failures) = (Vec::new(), Vec::new());
        for device in devices {
            match self.companions(device) {
                Ok(companions) => {
                    for address in std::iter::once(device.address).chain(companions) {
                        match act(address) {
                            Ok(one) => bound.push(one),
                            Err(error) => failures.push(BindFailure { device: address, error }),
                        }
                    }
                }
                Err(error) => failures.push(BindFailure { device: device.address, error: error.into() }),
            }
        }
        if failures.is_empty() { Ok(bound) } else { Err(failures) }
    }

    /// Functions that the kernel says depend on a VGA controller: its sound function is in the same IOMMU group, and a
    /// group is given to a virtual machine as a whole.
    fn companions(&self, device: &Device) -> Result<Vec<Address>, ReadError> {
        if !device.vga {
            return Ok(Vec::new());
        }
        let names = self.machine.names(&pci::folder(device.address))?;
        Ok(names.iter().filter_map(|name| name.strip_prefix("consumer:pci:")?.parse().ok()).collect())
    }

    fn take(&self, device: Address, aliases: &str) -> Result<Bound, BindError> {
        let folder = pci::folder(device);
        let modalias = self.machine.text(&format!("{folder}/modalias"))?.unwrap_or_default();
        let module = aliases::best(aliases, &modalias);
        let has = self.driver(device)?;
        if has.as_deref().is_some_and(|has| has.replace('-', "_") == module) {
            // Also after a crash before it was remembered: then it had this driver before us.
            return Ok(Bound { device, driver: has, changed: false });
        }
        if self.machine.link_name(&format!("{folder}/iommu_group"))?.is_none() {
            return Err(BindError::NoGroup);
        }
        self.nobody_holds(device)?;
        self.kernel.load(&module)?;
        let driver = self.driver_of(&module)?;
        self.memory.remember(device, has.as_deref())?;
        // The override first: from then on no other driver can take the device in between.
        self.kernel.write(&format!("{folder}/driver_override"), &driver)?;
        if has.is_some() {
            self.kernel.write(&format!("{folder}/driver/unbind"), &device.to_string())?;
        }
        let bound = self.attach(device, &driver);
        if bound.is_err() {
            // Better the driver from before than none. That this may fail too is not the news.
            let _ = self.give_back(device);
        }
        bound
    }

    fn give_back(&self, device: Address) -> Result<Bound, BindError> {
        let has = self.driver(device)?;
        let Some(Before(before)) = self.memory.recall(device)? else {
            return Ok(Bound { device, driver: has, changed: false });
        };
        let folder = pci::folder(device);
        if has == before {
            // It was taken back by hand, or a predecessor was killed after its last step but one.
            self.kernel.write(&format!("{folder}/driver_override"), "\n")?;
            self.memory.forget(device)?;
            return Ok(Bound { device, driver: has, changed: false });
        }
        self.nobody_holds(device)?;
        self.kernel.write(&format!("{folder}/driver_override"), "\n")?;
        if has.is_some() {
            self.kernel.write(&format!("{folder}/driver/unbind"), &device.to_string())?;
        }
        let bound = match before {
            Some(driver) => {
                if !self.machine.exists(&format!("{DRIVERS}/{driver}")) {
                    self.kernel.load(&driver.replace('-', "_"))?;
                }
                self.attach(device, &driver)?
            }
            None => Bound { device, driver: None, changed: true },
        };
        self.memory.forget(device)?;
        Ok(bound)
    }

    fn attach(&self, device: Address, driver: &str) -> Result<Bound, BindError> {
        // The kernel may have bound it by itself as the last driver let go.
        if self.driver(device)?.as_deref() != Some(driver) {
            self.kernel.write(&format!("{DRIVERS}/{driver}/bind"), &device.to_string())?;
        }
        match self.driver(device)? {
            Some(found) if found == driver => Ok(Bound { device, driver: Some(found), changed: true }),
            found => Err(BindError::NotBound { wanted: driver.to_owned(), found }),
        }
    }

    fn nobody_holds(&self, device: Address) -> Result<(), BindError> {
        match self.look.holders(&[device])?.into_iter().next() {
            Some(holder) => Err(BindError::InUse(holder)),
            None => Ok(()),
        }
    }

    fn driver(&self, device: Address) -> Result<Option<String>, ReadError> {
        self.machine.link_name(&format!("{}/driver", pci::folder(device)))
    }

    /// The driver that a module brings: module names have `_` where driver names may have `-`.
    fn driver_of(&self, module: &str) -> Result<String, BindError> {
        let names = [module.to_owned(), module.replace('_', "-")];
        let found = names.into_iter().find(|name| self.machine.exists(&format!("{DRIVERS}/{name}")));
        found.ok_or_else(|| BindError::NoDriver(module.to_owned()))
    }

    /// The running kernel's module aliases; empty where there are none.
    fn aliases(&self) -> Result<String, ReadError> {
        let release = self.machine.text("/proc/sys/kernel/osrelease")?.unwrap_or_default();
        for modules in ["/lib/modules", "/usr/lib/modules"] {
            if let Some(bytes) = self.machine.bytes(&format!("{modules}/{release}/modules.alias"), MAX_ALIASES)? {
                return Ok(String::from_utf8_lossy(&bytes).into_owned());
            }
        }
        Ok(String::new())
    }
}

#[cfg(test)]
mod tests;
