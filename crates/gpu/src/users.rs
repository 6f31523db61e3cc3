//! Who holds a device: processes with one of its nodes open or mapped.
//!
//! Labels and pod lists say who should; the kernel knows who does. A virtual machine that another runtime started, or
//! that outlived its pod, is seen here and nowhere else.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::machine::{Machine, ReadError};
use crate::pci::{self, Device, DeviceKind};

/// LIMIT: what is read of one process's mappings; a line has some 100 bytes, and a process at most 65530 mappings
/// unless its administrator allows more (`vm.max_map_count`).
const MAX_MAPS: u64 = 64 * 1024 * 1024;

/// A process that holds devices.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Holder {
    /// Its number, as the machine counts.
    pub process: u32,
    /// Its name: at most 15 bytes, and the process's own to choose.
    pub command: String,
    /// The node through which it holds them.
    pub node: String,
    /// What it holds.
    pub devices: Vec<Address>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} ({}) has {} open", self.process, self.command, self.node)
    }
}

/// Looks for those who hold devices.
pub trait Look: Send + Sync {
    /// Everyone who holds any of these. `Err` is not "nobody".
    fn holders(&self, devices: &[Address]) -> Result<Vec<Holder>, ReadError>;
}

/// The processes of a machine. The process that looks must see all of them, and their open files: in a container, the
/// machine's `/proc` and the right to read other users' (`CAP_SYS_PTRACE`).
#[derive(Clone, Debug)]
pub struct Processes {
    machine: Machine,
}

impl Processes {
    /// The processes of this machine.
    pub fn new(machine: Machine) -> Self {
        Self { machine }
    }
}

impl Look for Processes {
    fn holders(&self, devices: &[Address]) -> Result<Vec<Holder>, ReadError> {
        let scan = pci::scan(&self.machine)?;
        let wanted: Vec<Device> = scan.devices.into_iter().filter(|d| devices.contains(&d.address)).collect();
        holders(&self.machine, &wanted)
    }
}

/// Everyone who holds any of these devices, each once for each node, in the order of process numbers.
pub fn holders(machine: &Machine, devices: &[Device]) -> Result<Vec<Holder>, ReadError> {
    if devices.is_empty() {
        // Nobody has what is not there, also where the processes cannot be looked at.
        return Ok(Vec::new());
    }
    let nodes = Nodes::of(machine, devices)?;
    let mut found = BTreeSet::new();
    for process in machine.names("/proc")?.iter().filter_map(|name| name.parse::<u32>().ok()) {
        let mut held = BTreeMap::new();
        for path in opened(machine, process)? {
            // The kernel marks what has been removed since; it is held all the same.
            let path = path.strip_suffix(" (deleted)").unwrap_or(&path);
            let devices = nodes.devices(path);
            if !devices.is_empty() {
                held.insert(path.to_owned(), devices);
            }
        }
        for (node, devices) in held {
            let command = machine.text(&format!("/proc/{process}/comm"))?.unwrap_or_default();
            found.insert(Holder { process, command, node, devices });
        }
    }
    Ok(found.into_iter().collect())
}

/// What a process has open or mapped under `/dev`. A process that ends meanwhile holds nothing.
fn opened(machine: &Machine, process: u32) -> Result<Vec<String>, ReadError> {
    let folder = format!("/proc/{process}/fd");
    let mut paths = Vec::new();
    for name in machine.names(&folder)? {
        paths.extend(machine.link_target(&format!("{folder}/{name}"))?);
    }
    let maps = machine.bytes(&format!("/proc/{process}/maps"), MAX_MAPS)?.unwrap_or_default();
    // Address, rights, offset, device and inode come first and contain no slash.
    let maps = String::from_utf8_lossy(&maps);
    paths.extend(maps.lines().filter_map(|line| line.find("/dev/").and_then(|at| line.get(at..))).map(str::to_owned));
    paths.retain(|path| path.starts_with("/dev/"));
    Ok(paths)
}

/// Which nodes give access to which devices.
struct Nodes {
    exact: BTreeMap<String, Vec<Address>>,
    /// Devices of NVIDIA's own driver: whatever of its nodes is not known to be another device's may be theirs.
    gpus: Vec<Address>,
    switches: Vec<Address>,
}

impl Nodes {
    fn of(machine: &Machine, devices: &[Device]) -> Result<Self, ReadError> {
        let mut nodes = Self { exact: BTreeMap::new(), gpus: Vec::new(), switches: Vec::new() };
        for device in devices {
            let mut paths = Vec::new();
            if let Some(group) = &device.iommu_group {
                paths.extend([format!("/dev/vfio/{group}"), format!("/dev/vfio/noiommu-{group}")]);
            }
            if let Some(node) = &device.vfio_device {
                paths.push(format!("/dev/vfio/devices/{node}"));
            }
            if let Some(minor) = minor(machine, device.address)? {
                paths.push(format!("/dev/nvidia{minor}"));
            }
            for path in paths {
                nodes.exact.entry(path).or_default().push(device.address);
            }
            match (device.driver.as_deref(), device.kind) {
                (Some("nvidia"), DeviceKind::Gpu) => nodes.gpus.push(device.address),
                (Some("nvidia-nvswitch"), _) | (Some("nvidia"), DeviceKind::NvSwitch) => {
                    nodes.switches.push(device.address);
                }
                _ => {}
            }
        }
        // A numbered node that belongs to a device which nobody asked about is not everybody's.
        for name in machine.names(NVIDIA_GPUS)? {
            if let Some(minor) = name.parse().ok().map(|address| minor(machine, address)).transpose()?.flatten() {
                nodes.exact.entry(format!("/dev/nvidia{minor}")).or_default();
            }
        }
        Ok(nodes)
    }

    fn devices(&self, path: &str) -> Vec<Address> {
        if let Some(devices) = self.exact.get(path) {
            return devices.clone();
        }
        match path.strip_prefix("/dev/nvidia") {
            Some(rest) if rest.starts_with("-nvswitch") => self.switches.clone(),
            Some(_) => self.gpus.clone(),
            None => Vec::new(),
        }
    }
}

const NVIDIA_GPUS: &str = "/proc/driver/nvidia/gpus";

/// The number that NVIDIA's driver gave to a GPU.
fn minor(machine: &Machine, device: Address) -> Result<Option<u32>, ReadError> {
    let text = machine.text(&format!("{NVIDIA_GPUS}/{device}/information"))?.unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Device Minor:"));
    Ok(line.and_then(|number| number.trim().parse().ok()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::sync::Arc;

    use super::*;
    use crate::simulated::{Host, Model, VirtualClock, at};

    fn host() -> (tempfile::TempDir, Host) {
        let dir = tempfile::tempdir().unwrap();
        let host = Host::new(dir.path(), Arc::new(VirtualClock::default()));
        host.add(at(0x10), Model::H100);
        host.add(at(0x11), Model::H100);
        host.add(at(0x80), Model::NvSwitch);
        (dir, host)
    }

    fn found(host: &Host) -> Vec<String> {
        let holders = Processes::new(host.machine()).holders(&[at(0x10), at(0x80)]).unwrap();
        holders
            .iter()
            .map(|h| format!("{h}: {:?}", h.devices.iter().map(Address::to_string).collect::<Vec<_>>()))
            .collect()
    }

    fn driver(host: &Host, address: Address, name: &str) {
        let link = host.root().join(format!("sys/bus/pci/devices/{address}/driver"));
        symlink(format!("../../../../bus/pci/drivers/{name}"), link).unwrap();
    }

    #[test]
    fn nobody_holds_anything_on_an_idle_machine() {
        let (_dir, host) = host();
        host.hold(1, "systemd", "/dev/null");
        host.hold(2, "qemu", "/dev/vfio/vfio");
        host.hold(3, "cat", "/dev/nvidia0");
        assert!(found(&host).is_empty());
    }

    #[test]
    fn a_virtual_machine_is_found_by_its_group_and_by_its_node() {
        let (_dir, host) = host();
        let node = host.root().join("sys/bus/pci/devices/0000:80:00.0/vfio-dev/vfio5");
        fs::create_dir_all(node).unwrap();
        host.hold(41, "qemu-system-x86", "/dev/vfio/16");
        host.hold(42, "cloud-hypervisor", "/dev/vfio/devices/vfio5");
        host.hold(43, "qemu-system-x86", "/dev/vfio/17");
        host.hold(44, "qemu-system-x86", "/dev/vfio/1");
        host.hold(45, "qemu-system-x86", "/dev/vfio/16 (deleted)");
        assert_eq!(
            found(&host),
            [
                r#"process 41 (qemu-system-x86) has /dev/vfio/16 open: ["0000:10:00.0"]"#,
                r#"process 42 (cloud-hypervisor) has /dev/vfio/devices/vfio5 open: ["0000:80:00.0"]"#,
                r#"process 45 (qemu-system-x86) has /dev/vfio/16 open: ["0000:10:00.0"]"#,
            ]
        );
        host.end(41);
        host.end(42);
        host.end(45);
        assert!(found(&host).is_empty());
    }

    #[test]
    fn a_mapping_counts_as_an_open_file_does() {
        let (_dir, host) = host();
        host.hold(7, "python3", "/dev/zero");
        let maps = "7f00-7f01 r--p 00000000 00:00 0 [heap]\n7f10-7f20 rw-s 00000000 00:06 391  /dev/vfio/16\n";
        fs::write(host.root().join("proc/7/maps"), maps).unwrap();
        assert_eq!(found(&host), [r#"process 7 (python3) has /dev/vfio/16 open: ["0000:10:00.0"]"#]);
    }

    #[test]
    fn nodes_of_nvidias_driver_are_told_apart_by_their_number() {
        let (_dir, host) = host();
        for (address, minor) in [(at(0x10), 3), (at(0x11), 0)] {
            driver(&host, address, "nvidia");
            let folder = host.root().join(format!("proc/driver/nvidia/gpus/{address}"));
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("information"), format!("Model: H100\nDevice Minor: \t {minor}\n")).unwrap();
        }
        driver(&host, at(0x80), "nvidia-nvswitch");
        host.hold(50, "train", "/dev/nvidia3");
        host.hold(51, "other", "/dev/nvidia0");
        host.hold(52, "nvidia-smi", "/dev/nvidiactl");
        host.hold(53, "nv-fabricmanage", "/dev/nvidia-nvswitch0");
        assert_eq!(
            found(&host),
            [
                r#"process 50 (train) has /dev/nvidia3 open: ["0000:10:00.0"]"#,
                r#"process 52 (nvidia-smi) has /dev/nvidiactl open: ["0000:10:00.0"]"#,
                r#"process 53 (nv-fabricmanage) has /dev/nvidia-nvswitch0 open: ["0000:80:00.0"]"#,
            ]
        );
    }

    #[test]
    fn a_process_that_cannot_be_looked_at_is_an_error_and_not_nobody() {
        let (_dir, host) = host();
        host.hold(60, "x", "/dev/null");
        // A file where a link should be fails as a denied right does.
        fs::write(host.root().join("proc/60/fd/3"), "").unwrap();
        assert!(Processes::new(host.machine()).holders(&[at(0x10)]).is_err());
        // A machine without devices can be looked at all the same.
        assert_eq!(Processes::new(host.machine()).holders(&[]).unwrap(), []);
    }
}
