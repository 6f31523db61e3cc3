//! Drivers of a simulated host: what the kernel does when something is written to its files for binding.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::{Fault, Host, Killed, Life, tree};
use crate::address::Address;
use crate::machine::WriteError;
use crate::pci;
use crate::vfio::{Kernel, LoadError};

const DRIVERS: &str = "sys/bus/pci/drivers";
/// Modules that can be loaded, and the drivers that they bring.
const MODULES: [(&str, &str); 5] = [
    ("vfio_pci", "vfio-pci"),
    ("nvgrace_gpu_vfio_pci", "nvgrace-gpu-vfio-pci"),
    ("nvidia", "nvidia"),
    ("nvidia_nvswitch", "nvidia-nvswitch"),
    ("snd_hda_intel", "snd_hda_intel"),
];

/// The kernel of a simulated host, as one process sees it.
pub(super) struct Simulated {
    host: Host,
    life: Arc<Life>,
}

impl Host {
    /// The kernel for a process, to load modules and bind drivers.
    pub fn kernel(&self, life: &Arc<Life>) -> Arc<dyn Kernel> {
        Arc::new(Simulated { host: self.clone(), life: Arc::clone(life) })
    }

    /// Gives a device a driver, as the kernel does when it starts.
    pub fn attach(&self, address: Address, driver: &str) {
        let folder = self.root.join(format!("{DRIVERS}/{driver}"));
        let _ = fs::create_dir_all(&folder);
        let device = self.folder(address);
        tree::link(&device.join("driver"), &format!("../../../../bus/pci/drivers/{driver}"));
        if driver.contains("vfio") {
            let node = device.join(format!("vfio-dev/vfio{}", u32::from(address > super::at(0x10))));
            let _ = fs::create_dir_all(node);
        }
    }

    /// Writes the kernel's version and its aliases.
    pub fn aliases(&self, aliases: &str) {
        for (path, text) in [("proc/sys/kernel/osrelease", "6.17.0\n"), ("lib/modules/6.17.0/modules.alias", aliases)] {
            let path = self.root.join(path);
            let _ = path.parent().map(fs::create_dir_all);
            let _ = fs::write(path, text);
        }
    }

    /// Adds the sound function of a VGA controller, with a driver.
    pub fn sound(&self, card: Address, function: Address, driver: &str) {
        let folder = self.folder(function);
        let _ = fs::create_dir_all(&folder);
        for (file, text) in [
            ("vendor", "0x10de\n"),
            ("device", "0x22e8\n"),
            ("class", "0x040300\n"),
            ("modalias", "pci:v000010DEd000022E8sv00000000sd00000000bc04sc03i00\n"),
            ("driver_override", "(null)\n"),
        ] {
            let _ = fs::write(folder.join(file), text);
        }
        tree::link(&folder.join("iommu_group"), "../../../../kernel/iommu_groups/65");
        tree::link(&self.folder(card).join(format!("consumer:pci:{function}")), "../../../virtual/devlink/x");
        self.attach(function, driver);
    }

    fn folder(&self, address: Address) -> PathBuf {
        self.root.join(pci::folder(address).trim_start_matches('/'))
    }
}

impl Simulated {
    fn act(&self, path: &str, text: &str) -> Result<(), io::ErrorKind> {
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let address = |text: &str| text.trim().parse::<Address>().map_err(|_| io::ErrorKind::InvalidInput);
        match parts.as_slice() {
            ["sys", "bus", "pci", "devices", device, "driver_override"] => {
                let folder = self.host.folder(address(device)?);
                fs::write(folder.join("driver_override"), text).map_err(|error| error.kind())
            }
            ["sys", "bus", "pci", "devices", device, "driver", "unbind"] => {
                let folder = self.host.folder(address(device)?);
                if address(text)? != address(device)? {
                    return Err(io::ErrorKind::NotFound);
                }
                let _ = fs::remove_dir_all(folder.join("vfio-dev"));
                fs::remove_file(folder.join("driver")).map_err(|error| error.kind())
            }
            ["sys", "bus", "pci", "drivers", driver, "bind"] => {
                let device = address(text)?;
                let folder = self.host.folder(device);
                if folder.join("driver").symlink_metadata().is_ok() {
                    return Err(io::ErrorKind::ResourceBusy);
                }
                if self.host.with(device, |slot, _| slot.strikes(Fault::BindRefused)) == Some(true) {
                    return Err(io::ErrorKind::NotFound);
                }
                let wanted = fs::read_to_string(folder.join("driver_override")).unwrap_or_default();
                let wanted = wanted.trim();
                let free = matches!(wanted, "" | "(null)");
                // Without an override, VFIO drivers match nothing.
                if (!free && wanted != *driver) || (free && driver.contains("vfio")) {
                    return Err(io::ErrorKind::NotFound);
                }
                self.host.attach(device, driver);
                Ok(())
            }
            _ => Err(io::ErrorKind::NotFound),
        }
    }
}

impl Kernel for Simulated {
    fn write(&self, path: &str, text: &str) -> Result<(), WriteError> {
        let failed = |kind: io::ErrorKind| WriteError {
            path: self.host.machine().path(path),
            text: text.trim_end().to_owned(),
            source: kind.into(),
        };
        let done = self.life.effect(|| self.act(path, text));
        done.unwrap_or(Err(io::ErrorKind::Interrupted)).map_err(failed)
    }

    fn load(&self, module: &str) -> Result<(), LoadError> {
        let failed = |reason: &str| LoadError { module: module.to_owned(), reason: reason.to_owned() };
        let Some((_, driver)) = MODULES.iter().find(|(name, _)| *name == module) else {
            return Err(failed("there is no such module"));
        };
        let folder = self.host.root.join(format!("{DRIVERS}/{driver}"));
        let done = self.life.effect(|| fs::create_dir_all(folder).map_err(|error| failed(&error.to_string())));
        done.unwrap_or_else(|Killed| Err(failed("killed")))
    }
}
