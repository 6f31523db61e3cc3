//! The facts of a machine, from files under a root folder.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::Path;

use crate::bundle::{Answer, Machine};

/// LIMIT: `/proc/cpuinfo` has about 1.5 KiB for each processor; what is needed is in the first.
const MAX_TEXT: u64 = 64 * 1024;
/// LIMIT: a board has some hundreds of devices and groups.
const MAX_ENTRIES: usize = 65_536;
const FLAGS: [&str; 8] = ["svm", "vmx", "sev", "sev_es", "sev_snp", "tdx_host_platform", "tdx_guest", "hypervisor"];
const DEVICES: [&str; 7] =
    ["/dev/kvm", "/dev/sev", "/dev/iommu", "/dev/vfio/vfio", "/dev/sev-guest", "/dev/tdx_guest", "/dev/sgx_enclave"];
const PARAMETERS: [(&str, &str); 3] = [("kvm_amd", "sev"), ("kvm_amd", "sev_snp"), ("kvm_intel", "tdx")];

/// Looks at a machine; `root` is `/`, or where its file system is mounted.
pub fn machine(root: &Path) -> Answer<Machine> {
    let at = |path: &str| root.join(path.trim_start_matches('/'));
    let text = |path: &str| -> Option<String> {
        let mut text = String::new();
        fs::File::open(at(path)).ok()?.take(MAX_TEXT).read_to_string(&mut text).ok()?;
        Some(text)
    };
    let Some(cpu) = text("/proc/cpuinfo") else {
        return Answer::Unknown("/proc/cpuinfo cannot be read: this is no Linux, or /proc is not mounted".to_owned());
    };
    let field = |name: &str| {
        let lines = cpu.lines().filter_map(|line| line.split_once(':'));
        lines.into_iter().find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().to_owned())
    };
    let flags = field("flags").unwrap_or_default();
    let has = |flag: &&&str| flags.split_whitespace().any(|have| have == **flag);
    let parameter = |(module, name): &(&str, &str)| {
        let value = text(&format!("/sys/module/{module}/parameters/{name}"))?;
        Some((format!("{module}.{name}"), value.trim().to_owned()))
    };
    let words = text("/proc/cmdline").unwrap_or_default();
    let matters = |word: &&str| ["iommu", "mem_encrypt", "tdx", "sev", "vfio"].iter().any(|it| word.contains(it));
    let count = |path: &str, is: &dyn Fn(&Path) -> bool| {
        let entries = fs::read_dir(at(path)).into_iter().flatten().flatten().take(MAX_ENTRIES);
        entries.filter(|entry| is(&entry.path())).count()
    };
    let is_gpu = |device: &Path| {
        let read = |name: &str| fs::read_to_string(device.join(name)).unwrap_or_default();
        // Classes 0300 and 0302: display and 3D controllers.
        read("vendor").trim() == "0x10de" && read("class").starts_with("0x03")
    };
    Answer::Known(Machine {
        kernel: text("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
        vendor: field("vendor_id").unwrap_or_default(),
        flags: FLAGS.iter().filter(has).map(|flag| (*flag).to_owned()).collect(),
        parameters: PARAMETERS.iter().filter_map(parameter).collect::<BTreeMap<_, _>>(),
        command_line: words.split_whitespace().filter(matters).map(str::to_owned).collect(),
        iommu_groups: count("/sys/kernel/iommu_groups", &|_| true),
        devices: DEVICES.iter().filter(|device| at(device).exists()).map(|device| (*device).to_owned()).collect(),
        gpus: count("/sys/bus/pci/devices", &is_gpu),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_what_its_files_say() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, content: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        assert!(matches!(machine(folder.path()), Answer::Unknown(_)));
        write("proc/cpuinfo", "vendor_id\t: AuthenticAMD\nflags\t\t: fpu svm sev sev_snp nx\n\nvendor_id\t: other\n");
        write("proc/sys/kernel/osrelease", "6.11.0-9-generic\n");
        write("proc/cmdline", "root=/dev/sda1 amd_iommu=on secret=x\n");
        write("sys/module/kvm_amd/parameters/sev_snp", "Y\n");
        write("sys/kernel/iommu_groups/0/type", "DMA");
        write("dev/kvm", "");
        write("sys/bus/pci/devices/0000:01:00.0/vendor", "0x10de\n");
        write("sys/bus/pci/devices/0000:01:00.0/class", "0x030200\n");
        write("sys/bus/pci/devices/0000:02:00.0/vendor", "0x10de\n");
        write("sys/bus/pci/devices/0000:02:00.0/class", "0x068000\n");
        let Answer::Known(found) = machine(folder.path()) else { panic!("unknown") };
        assert_eq!(
            found,
            Machine {
                kernel: "6.11.0-9-generic".to_owned(),
                vendor: "AuthenticAMD".to_owned(),
                flags: ["svm", "sev", "sev_snp"].map(str::to_owned).to_vec(),
                parameters: BTreeMap::from([("kvm_amd.sev_snp".to_owned(), "Y".to_owned())]),
                command_line: vec!["amd_iommu=on".to_owned()],
                iommu_groups: 1,
                devices: vec!["/dev/kvm".to_owned()],
                gpus: 1,
            }
        );
    }
}
