//! The files of a simulated host.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;
use std::time::Duration;

use super::device::Simulated;
use crate::address::Address;
use crate::pci::DeviceKind;

/// # Panics
/// All of these, where a file cannot be written.
fn put(path: &Path, text: &str) {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).expect("make a folder of the simulated host");
    }
    fs::write(path, text).expect("write a file of the simulated host");
}

pub(super) fn link(path: &Path, target: &str) {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).expect("make a folder of the simulated host");
    }
    let _ = fs::remove_file(path);
    symlink(target, path).expect("make a link of the simulated host");
}

pub(super) fn write(root: &Path, address: Address, device: &Simulated) {
    let folder = root.join(format!("sys/bus/pci/devices/{address}"));
    let (id, class) = (device.device_id(), device.class());
    // As the kernel writes it: upper-case hexadecimal, subsystem ids left at 0.
    let alias =
        format!("pci:v000010DEd{id:08X}sv00000000sd00000000bc{:02X}sc{:02X}i00\n", class >> 16, class >> 8 & 0xff);
    for (file, text) in [
        ("vendor", "0x10de\n".to_owned()),
        ("device", format!("{id:#06x}\n")),
        ("class", format!("{class:#08x}\n")),
        ("numa_node", format!("{}\n", u32::from(address >= super::at(0x14)))),
        ("modalias", alias),
        ("driver_override", "(null)\n".to_owned()),
        ("reset", String::new()),
        ("power/control", "auto\n".to_owned()),
        ("power_state", "D0\n".to_owned()),
    ] {
        put(&folder.join(file), &text);
    }
    fs::write(folder.join("config"), device.config(Duration::MAX).0).expect("write the configuration space");
    let group = address.to_string()[5..7].to_owned();
    let group = u32::from_str_radix(&group, 16).expect("the number of a bus");
    link(&folder.join("iommu_group"), &format!("../../../../kernel/iommu_groups/{group}"));
    put(&root.join(format!("sys/kernel/iommu_groups/{group}/type")), "DMA\n");
    link(
        &root.join(format!("sys/kernel/iommu_groups/{group}/devices/{address}")),
        &format!("../../../../bus/pci/devices/{address}"),
    );
    write_registers(root, address, device);
    let ids = "10de  NVIDIA Corporation\n\t20b0  GA100 [A100 SXM4 40GB]\n\t22a3  GH100 [H100 NVSwitch]\n\
        \t2330  GH100 [H100 SXM5 80GB]\n\t2901  GB100 [B200]\n\
        \t2b85  GB202 [GeForce RTX 5090]\n\t2bb5  GB202GL [RTX PRO 6000 Blackwell Server Edition]\n";
    put(&root.join("usr/share/misc/pci.ids"), ids);
}

pub(super) fn write_power(root: &Path, address: Address, asleep: bool) {
    let state = if asleep { "D3hot\n" } else { "D0\n" };
    put(&root.join(format!("sys/bus/pci/devices/{address}/power_state")), state);
}

/// The registers that only show something, in a file with holes.
pub(super) fn write_registers(root: &Path, address: Address, device: &Simulated) {
    let path = root.join(format!("sys/bus/pci/devices/{address}/resource0"));
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path).expect("open the registers");
    let mebibytes = if device.kind() == DeviceKind::NvSwitch { 32 } else { 16 };
    file.set_len(mebibytes * 1024 * 1024).expect("size the registers");
    for (register, value) in device.shown() {
        file.write_all_at(&value.to_le_bytes(), u64::from(register)).expect("write a register");
    }
}

pub(super) fn hold(root: &Path, process: u32, command: &str, node: &str) {
    let folder = root.join(format!("proc/{process}"));
    put(&folder.join("comm"), &format!("{command}\n"));
    put(&folder.join("maps"), "");
    link(&folder.join("fd/0"), "/dev/null");
    link(&folder.join("fd/17"), node);
}
