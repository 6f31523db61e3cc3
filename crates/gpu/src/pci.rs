//! NVIDIA GPUs and NVSwitches on the PCI bus, as sysfs shows them.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::address::Address;
use crate::machine::{Machine, ReadError};
use crate::names;

pub(crate) const DEVICES: &str = "/sys/bus/pci/devices";
/// NVIDIA's PCI vendor id.
pub(crate) const NVIDIA: u16 = 0x10de;
/// PCI class codes (PCI Code and ID Assignment Specification): VGA controller, 3D controller.
const VGA_CLASS: u32 = 0x03_0000;
const GPU_CLASSES: [u32; 2] = [VGA_CLASS, 0x03_0200];
/// PCI class code "bridge, other": what an NVSwitch says it is.
const SWITCH_CLASS: u32 = 0x06_8000;

/// What a device is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// A graphics processor.
    Gpu,
    /// A switch between graphics processors.
    NvSwitch,
}

/// A PCI device id, shown as four hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DeviceId(pub u16);

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}", self.0)
    }
}

impl Serialize for DeviceId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A device of NVIDIA's.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Device {
    /// Domain, bus, device, function.
    pub address: Address,
    /// What it is.
    pub kind: DeviceKind,
    /// PCI device id.
    pub device_id: DeviceId,
    /// Its name in the distribution's `pci.ids`.
    pub name: Option<String>,
    /// The bound kernel driver.
    pub driver: Option<String>,
    /// Its IOMMU group; without one it cannot be given to a pod.
    pub iommu_group: Option<String>,
    /// Its node under `/dev/vfio/devices`, such as `vfio3`, where the bound driver made one for iommufd.
    pub vfio_device: Option<String>,
    /// Its NUMA node, where there is more than one.
    pub numa_node: Option<u32>,
    /// What module aliases are matched against.
    pub modalias: Option<String>,
    /// Whether it is a VGA controller; such a card has a sound function in its IOMMU group.
    pub vga: bool,
}

impl Device {
    /// Its model as a resource's name, where `pci.ids` knows it.
    pub fn model_resource(&self) -> Option<String> {
        names::resource_name(self.name.as_deref()?)
    }
}

/// The folder of a device in sysfs.
pub(crate) fn folder(address: Address) -> String {
    format!("{DEVICES}/{address}")
}

/// A device that could not be looked at.
#[derive(Debug)]
pub struct Unreadable {
    /// Where it is.
    pub address: Address,
    /// Why not.
    pub error: ReadError,
}

/// What is on the bus.
#[derive(Debug, Default)]
pub struct Scan {
    /// NVIDIA's GPUs and switches, in the order of their addresses. Virtual functions are left out.
    pub devices: Vec<Device>,
    /// Devices of any vendor that could not be looked at. One of them does not end the scan, and is not silently
    /// missing from it either.
    pub unreadable: Vec<Unreadable>,
}

impl Scan {
    /// Its GPUs.
    pub fn gpus(&self) -> impl Iterator<Item = &Device> {
        self.devices.iter().filter(|device| device.kind == DeviceKind::Gpu)
    }

    /// Its switches.
    pub fn switches(&self) -> impl Iterator<Item = &Device> {
        self.devices.iter().filter(|device| device.kind == DeviceKind::NvSwitch)
    }
}

/// Looks at the bus. Fails only where the list of devices cannot be read.
pub fn scan(machine: &Machine) -> Result<Scan, ReadError> {
    let mut scan = Scan::default();
    // A folder with another name is none of the kernel's.
    let mut addresses: Vec<Address> = machine.names(DEVICES)?.iter().filter_map(|name| name.parse().ok()).collect();
    addresses.sort();
    for address in addresses {
        match look(machine, address) {
            Ok(Some(device)) => scan.devices.push(device),
            Ok(None) => {}
            Err(error) => scan.unreadable.push(Unreadable { address, error }),
        }
    }
    Ok(scan)
}

/// One device; `None` when it is none of ours.
fn look(machine: &Machine, address: Address) -> Result<Option<Device>, ReadError> {
    let folder = folder(address);
    let number = |file: &str| Ok(machine.text(&format!("{folder}/{file}"))?.as_deref().and_then(hex));
    if number("vendor")? != Some(u32::from(NVIDIA)) {
        return Ok(None);
    }
    let Some(class) = number("class")? else { return Ok(None) };
    let kind = match class {
        class if GPU_CLASSES.contains(&class) => DeviceKind::Gpu,
        SWITCH_CLASS => DeviceKind::NvSwitch,
        // A sound or USB function of a graphics card.
        _ => return Ok(None),
    };
    // A virtual function belongs to whoever made it.
    if machine.link_name(&format!("{folder}/physfn"))?.is_some() {
        return Ok(None);
    }
    let Some(id) = number("device")?.and_then(|id| u16::try_from(id).ok()) else { return Ok(None) };
    let vfio = machine.names(&format!("{folder}/vfio-dev"))?;
    Ok(Some(Device {
        address,
        kind,
        device_id: DeviceId(id),
        name: machine.pci_name(NVIDIA, id)?,
        driver: machine.link_name(&format!("{folder}/driver"))?,
        iommu_group: machine.link_name(&format!("{folder}/iommu_group"))?,
        vfio_device: vfio.into_iter().find(|name| name.starts_with("vfio")),
        // The kernel writes -1 where there is one node.
        numa_node: machine.text(&format!("{folder}/numa_node"))?.and_then(|text| text.parse().ok()),
        modalias: machine.text(&format!("{folder}/modalias"))?,
        vga: class == VGA_CLASS,
    }))
}

/// A number as sysfs writes it: `0x10de`.
pub(crate) fn hex(text: &str) -> Option<u32> {
    u32::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::*;

    fn put(root: &Path, path: &str, text: &str) {
        let path = root.join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn device(root: &Path, address: &str, class: &str) -> String {
        let folder = format!("{DEVICES}/{address}");
        for (file, text) in [("vendor", "0x10de\n"), ("device", "0x2330\n"), ("class", class), ("numa_node", "1\n")] {
            put(root, &format!("{folder}/{file}"), text);
        }
        folder
    }

    #[test]
    fn devices_come_in_the_order_of_their_addresses_and_virtual_functions_do_not_come() {
        let dir = tempfile::tempdir().unwrap();
        for address in ["10000:01:00.0", "0000:9b:00.0", "0000:1b:00.0"] {
            device(dir.path(), address, "0x030200\n");
        }
        let function = device(dir.path(), "0000:1b:00.4", "0x030200\n");
        symlink("../0000:1b:00.0", dir.path().join(format!("{}/physfn", &function[1..]))).unwrap();
        let scan = scan(&Machine::new(dir.path())).unwrap();
        let addresses: Vec<String> = scan.devices.iter().map(|device| device.address.to_string()).collect();
        assert_eq!(addresses, ["0000:1b:00.0", "0000:9b:00.0", "10000:01:00.0"]);
        assert!(scan.unreadable.is_empty());
    }

    #[test]
    fn one_device_that_cannot_be_read_is_reported_and_ends_nothing() {
        let dir = tempfile::tempdir().unwrap();
        device(dir.path(), "0000:1b:00.0", "0x030200\n");
        // A folder where a file should be: reading it fails as a broken device does.
        put(dir.path(), &format!("{DEVICES}/0000:2b:00.0/vendor/oops"), "");
        let scan = scan(&Machine::new(dir.path())).unwrap();
        assert_eq!(scan.devices.len(), 1);
        assert_eq!(scan.unreadable.len(), 1);
        assert_eq!(scan.unreadable[0].address.to_string(), "0000:2b:00.0");
        assert!(scan.unreadable[0].error.path.ends_with("0000:2b:00.0/vendor"));
    }

    #[test]
    fn what_sysfs_says_of_a_device_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let folder = device(dir.path(), "0000:41:00.0", "0x030000\n");
        put(dir.path(), &format!("{folder}/modalias"), "pci:v000010DEd00002330sv0sd0bc03sc02i00\n");
        put(dir.path(), &format!("{folder}/vfio-dev/vfio3/dev"), "511:3\n");
        symlink("../../../kernel/iommu_groups/17", dir.path().join(format!("{}/iommu_group", &folder[1..]))).unwrap();
        put(dir.path(), "/usr/share/misc/pci.ids", "10de  NVIDIA\n\t2330  GH100 [H100 SXM5 80GB]\n");
        let scan = scan(&Machine::new(dir.path())).unwrap();
        let device = &scan.devices[0];
        assert_eq!(device.vfio_device.as_deref(), Some("vfio3"));
        assert_eq!(device.iommu_group.as_deref(), Some("17"));
        assert_eq!(device.numa_node, Some(1));
        assert_eq!(device.driver, None);
        assert!(device.vga);
        assert_eq!(device.model_resource().as_deref(), Some("GH100_H100_SXM5_80GB"));
        assert_eq!((scan.gpus().count(), scan.switches().count()), (1, 0));
    }

    #[test]
    fn numbers_need_their_prefix() {
        assert_eq!(hex("0x030200"), Some(0x03_0200));
        for bad in ["030200", "0x", "0xzz", "", "0x100000000"] {
            assert_eq!(hex(bad), None, "{bad}");
        }
    }
}
