//! NVIDIA GPUs and NVSwitches on the PCI bus, as sysfs shows them.

use serde::Serialize;

use crate::machine::{Machine, ReadError};

const DEVICES: &str = "/sys/bus/pci/devices";
/// NVIDIA's PCI vendor id.
const NVIDIA: u16 = 0x10de;
/// PCI class codes (PCI Code and ID Assignment Specification): VGA controller, 3D controller.
const GPU_CLASSES: [u32; 2] = [0x03_0000, 0x03_0200];
/// PCI class code "bridge, other": what an NVSwitch says it is.
const SWITCH_CLASS: u32 = 0x06_8000;

/// What a device is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// A graphics processor.
    Gpu,
    /// A switch between graphics processors.
    NvSwitch,
}

/// A device of NVIDIA's.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Device {
    /// Domain, bus, device, function.
    pub address: String,
    /// What it is.
    pub kind: DeviceKind,
    /// PCI device id.
    pub device_id: String,
    /// Its name in the distribution's `pci.ids`.
    pub name: Option<String>,
    /// The bound kernel driver.
    pub driver: Option<String>,
    /// Its IOMMU group; without one it cannot be given to a pod.
    pub iommu_group: Option<String>,
    /// Its NUMA node, where there is more than one.
    pub numa_node: Option<u32>,
}

/// NVIDIA's GPUs and switches, in the order of their addresses.
pub fn devices(machine: &Machine) -> Result<Vec<Device>, ReadError> {
    let mut found = Vec::new();
    let mut names = None;
    for address in machine.names(DEVICES)? {
        let folder = format!("{DEVICES}/{address}");
        let number = |file: &str| Ok(machine.text(&format!("{folder}/{file}"))?.as_deref().and_then(hex));
        if number("vendor")? != Some(u32::from(NVIDIA)) {
            continue;
        }
        let kind = match number("class")? {
            Some(class) if GPU_CLASSES.contains(&class) => DeviceKind::Gpu,
            Some(SWITCH_CLASS) => DeviceKind::NvSwitch,
            // A sound or USB function of a graphics card.
            _ => continue,
        };
        let Some(id) = number("device")? else { continue };
        if names.is_none() {
            names = Some(machine.pci_ids()?.unwrap_or_default());
        }
        let numa_node = machine.text(&format!("{folder}/numa_node"))?.and_then(|text| text.parse().ok());
        found.push(Device {
            kind,
            device_id: format!("{id:04x}"),
            name: names.as_deref().and_then(|names| device_name(names, NVIDIA, id)),
            driver: machine.link_name(&format!("{folder}/driver")),
            iommu_group: machine.link_name(&format!("{folder}/iommu_group")),
            numa_node,
            address,
        });
    }
    Ok(found)
}

/// A number as sysfs writes it: `0x10de`.
fn hex(text: &str) -> Option<u32> {
    u32::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

/// A name from `pci.ids`: a vendor's line starts with its id, its devices follow, each after one tab.
fn device_name(ids: &str, vendor: u16, device: u32) -> Option<String> {
    let vendor = format!("{vendor:04x}  ");
    let device = format!("\t{device:04x}  ");
    let mut lines = ids.lines().skip_while(|line| !line.starts_with(&vendor));
    lines.next()?;
    let of_vendor = lines.take_while(|line| line.starts_with('\t') || line.starts_with('#') || line.is_empty());
    of_vendor.into_iter().find_map(|line| line.strip_prefix(&device)).map(|name| name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDS: &str = "\
# a comment
10dd  Other
\t2330  Not this
10de  NVIDIA Corporation
# another
\t2330  GH100 [H100 SXM5 80GB]
\t\t10de 16c1  a subsystem
\t2331  GH100 [H100 PCIe]
10df  Emulex
\t2335  Not this either
";

    #[test]
    fn a_name_is_looked_up_under_its_own_vendor() {
        assert_eq!(device_name(IDS, NVIDIA, 0x2330).as_deref(), Some("GH100 [H100 SXM5 80GB]"));
        assert_eq!(device_name(IDS, NVIDIA, 0x2331).as_deref(), Some("GH100 [H100 PCIe]"));
    }

    #[test]
    fn unknown_devices_vendors_and_subsystems_have_no_name() {
        assert_eq!(device_name(IDS, NVIDIA, 0x2335), None);
        assert_eq!(device_name(IDS, NVIDIA, 0x10de), None);
        assert_eq!(device_name(IDS, 0x1234, 0x2330), None);
        assert_eq!(device_name("", NVIDIA, 0x2330), None);
    }

    #[test]
    fn numbers_need_their_prefix() {
        assert_eq!(hex("0x030200"), Some(0x03_0200));
        for bad in ["030200", "0x", "0xzz", "", "0x100000000"] {
            assert_eq!(hex(bad), None, "{bad}");
        }
    }
}
