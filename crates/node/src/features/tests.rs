use std::fs;
use std::os::unix::fs::symlink;

use expect_test::{Expect, expect};
use gpu::simulated::{Fault, Host, Life, Model, VirtualClock, at};
use tempfile::TempDir;

use super::*;

/// A machine made of files.
struct Fake(TempDir);

impl Fake {
    fn new(vendor: &str, flags: &str) -> Self {
        let fake = Self(tempfile::tempdir().unwrap());
        fake.file("/proc/cpuinfo", &format!("processor\t: 0\nvendor_id\t: {vendor}\nflags\t\t: fpu {flags} sse\n"))
    }

    fn file(self, path: &str, text: &str) -> Self {
        let path = self.0.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn link(self, path: &str, target: &str) -> Self {
        let path = self.0.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
        self
    }

    fn pci(self, address: &str, vendor: &str, device: &str, class: &str) -> Self {
        let folder = format!("/sys/bus/pci/devices/{address}");
        self.file(&format!("{folder}/vendor"), &format!("{vendor}\n"))
            .file(&format!("{folder}/device"), &format!("{device}\n"))
            .file(&format!("{folder}/class"), &format!("{class}\n"))
            .file(&format!("{folder}/numa_node"), "-1\n")
    }

    fn report(&self) -> Report {
        detect(&Machine::new(self.0.path())).unwrap()
    }

    fn check(&self, feature: Feature, expected: Expect) {
        let report = self.report();
        let finding = report.feature(feature).unwrap();
        expected.assert_eq(&format!("{}: {}", if finding.present { "yes" } else { "no" }, finding.reason));
    }
}

fn snp_host() -> Fake {
    Fake::new(AMD, "sev sev_es sev_snp")
        .file("/sys/module/kvm_amd/parameters/sev", "Y\n")
        .file("/sys/module/kvm_amd/parameters/sev_es", "Y\n")
        .file("/sys/module/kvm_amd/parameters/sev_snp", "Y\n")
        .file("/sys/fs/cgroup/misc.capacity", "sev_es 99\nsev 410\n")
        .file("/sys/kernel/iommu_groups/0/type", "DMA\n")
        .file("/sys/kernel/iommu_groups/1/type", "DMA\n")
        .file("/dev/iommu", "")
        .file("/usr/share/misc/pci.ids", "10de  NVIDIA Corporation\n\t2330  GH100 [H100 SXM5 80GB]\n")
        .pci("0000:41:00.0", "0x10de", "0x2330", "0x030200")
        .link("/sys/bus/pci/devices/0000:41:00.0/driver", "../../../bus/pci/drivers/vfio-pci")
        .link("/sys/bus/pci/devices/0000:41:00.0/iommu_group", "../../../kernel/iommu_groups/1")
        .pci("0000:41:00.1", "0x10de", "0x22a3", "0x040300")
        .pci("0000:43:00.0", "0x10de", "0x22a3", "0x068000")
        .pci("0000:00:02.0", "0x8086", "0x2330", "0x030000")
}

#[test]
fn an_snp_host_with_a_gpu_has_the_labels_that_runtime_classes_select_on() {
    expect![[r#"
        AMD SEV             yes  kvm_amd has sev on
        AMD SEV-ES          yes  kvm_amd has sev_es on
        AMD SEV-SNP         yes  kvm_amd has sev_snp on
        AMD SEV-SNP guest   no   there is no /dev/sev-guest: not such a guest, or its sev-guest module is not loaded
        Intel TDX           no   the processor is not Intel's (AuthenticAMD)
        Intel TDX guest     no   the processor does not say so
        Intel SGX           no   the processor is not Intel's (AuthenticAMD)
        IOMMU               yes  2 groups
        iommufd             yes  there is /dev/iommu
        NVIDIA GPU          yes  1 on the PCI bus
        NVSwitch            yes  1 on the PCI bus

        guests that the hardware has keys for
          sev 410
          sev_es 99

        devices
          0000:41:00.0  GPU GH100 [H100 SXM5 80GB] (2330)  driver vfio-pci  IOMMU group 1
          0000:43:00.0  NVSwitch unknown model (22a3)  driver none  IOMMU group none

        labels
          amd.feature.node.kubernetes.io/snp=true
          feature.node.kubernetes.io/cpu-security.sev.enabled=true
          feature.node.kubernetes.io/cpu-security.sev.es.enabled=true
          feature.node.kubernetes.io/cpu-security.sev.snp.enabled=true
          feature.node.kubernetes.io/pci-10de.present=true
          feature.node.kubernetes.io/sev.es.enabled=true
          feature.node.kubernetes.io/sev.snp.enabled=true
          nvidia.com/gpu.H100.HBM3=true
          nvidia.com/gpu.family=hopper
    "#]]
    .assert_eq(&snp_host().report().text());
}

#[test]
fn capacities_are_told_apart_whatever_their_order() {
    let report = snp_host().report();
    assert_eq!(report.capacities.get("sev"), Some(&410));
    assert_eq!(report.capacities.get("sev_es"), Some(&99));
}

#[test]
fn capacities_are_found_where_control_groups_v1_have_them_and_broken_lines_are_not() {
    let fake = Fake::new(INTEL, "").file("/sys/fs/cgroup/misc/misc.capacity", "tdx 31\nbroken\nsgx_epc many\n");
    assert_eq!(fake.report().capacities, BTreeMap::from([("tdx".to_owned(), 31)]));
}

#[test]
fn a_tdx_host_with_sgx_has_its_labels() {
    let fake = Fake::new(INTEL, "sgx sgx_lc tdx_host_platform")
        .file("/sys/module/kvm_intel/parameters/tdx", "Y\n")
        .file("/dev/sgx_enclave", "");
    let labels: Vec<String> = fake.report().labels.into_keys().collect();
    assert_eq!(
        labels,
        [
            "feature.node.kubernetes.io/cpu-security.sgx.enabled",
            "feature.node.kubernetes.io/cpu-security.tdx.enabled",
            "feature.node.kubernetes.io/tdx.enabled",
            "intel.feature.node.kubernetes.io/tdx",
        ]
    );
}

#[test]
fn a_tdx_guest_is_protected_and_hosts_nothing() {
    let report = Fake::new(INTEL, "hypervisor tdx_guest").report();
    let labels: Vec<&String> = report.labels.keys().collect();
    assert_eq!(labels, ["feature.node.kubernetes.io/cpu-security.tdx.protected"]);
}

#[test]
fn an_snp_guest_is_known_by_its_device() {
    let fake = Fake::new(AMD, "hypervisor").file("/dev/sev-guest", "");
    fake.check(Feature::SevSnpGuest, expect!["yes: there is /dev/sev-guest"]);
}

#[test]
fn older_kernels_write_parameters_as_digits() {
    let fake = Fake::new(AMD, "sev sev_es")
        .file("/sys/module/kvm_amd/parameters/sev", "1\n")
        .file("/sys/module/kvm_amd/parameters/sev_es", "0\n");
    fake.check(Feature::Sev, expect!["yes: kvm_amd has sev on"]);
    fake.check(Feature::SevEs, expect!["no: kvm_amd has sev_es off (load it with sev_es=1)"]);
}

#[test]
fn snp_that_is_off_names_the_firmware_and_the_iommu() {
    let fake = Fake::new(AMD, "sev sev_es sev_snp").file("/sys/module/kvm_amd/parameters/sev_snp", "N\n");
    fake.check(
        Feature::SevSnp,
        expect!["no: kvm_amd has sev_snp off: it needs SNP memory coverage in the firmware's setup and the IOMMU on"],
    );
}

#[test]
fn snp_without_the_module_names_the_module() {
    let fake = Fake::new(AMD, "sev sev_es sev_snp");
    fake.check(
        Feature::SevSnp,
        expect!["no: the processor has it, but kvm_amd is not loaded or knows no parameter sev_snp"],
    );
}

#[test]
fn an_old_amd_processor_is_told_apart_from_a_virtual_machine() {
    let reason = "no: the processor does not show sev: it is too old, or SMEE and SEV are off in the firmware's setup";
    let finding = |fake: Fake| {
        let report = fake.report();
        let finding = report.feature(Feature::Sev).unwrap().clone();
        format!("{}: {}", if finding.present { "yes" } else { "no" }, finding.reason)
    };
    assert_eq!(finding(Fake::new(AMD, "")), reason);
    assert_eq!(finding(Fake::new(AMD, "hypervisor")), "no: this is a virtual machine that is not given it");
}

#[test]
fn tdx_that_is_off_and_tdx_that_the_kernel_does_not_know_differ() {
    Fake::new(INTEL, "").file("/sys/module/kvm_intel/parameters/tdx", "N\n").check(
        Feature::Tdx,
        expect!["no: kvm_intel has tdx off: it needs TDX and TME-MT in the firmware's setup and kvm_intel.tdx=1"],
    );
    Fake::new(INTEL, "").check(
        Feature::Tdx,
        expect!["no: kvm_intel is not loaded or knows no parameter tdx (Linux 6.16 is the first)"],
    );
}

#[test]
fn sgx_without_its_device_is_no_sgx() {
    Fake::new(INTEL, "sgx").check(
        Feature::Sgx,
        expect!["no: the processor has it, but there is no /dev/sgx_enclave: flexible launch control is off or no EPC"],
    );
    Fake::new(INTEL, "").check(
        Feature::Sgx,
        expect!["no: the processor does not show sgx: it has none, or it is off in the firmware's setup"],
    );
}

#[test]
fn an_iommu_that_is_off_says_where() {
    Fake::new(INTEL, "")
        .file("/proc/cmdline", "quiet intel_iommu=off\n")
        .check(Feature::Iommu, expect!["no: `intel_iommu=off` is on the kernel's command line"]);
    Fake::new(INTEL, "").file("/proc/cmdline", "quiet\n").check(
        Feature::Iommu,
        expect![
            "no: no unit: VT-d is off in the firmware's setup, or `intel_iommu=on` is missing on the kernel's command line"
        ],
    );
    Fake::new(AMD, "").check(Feature::Iommu, expect!["no: no unit: it is off in the firmware's setup"]);
    Fake::new(AMD, "hypervisor").check(Feature::Iommu, expect!["no: this is a virtual machine that is not given one"]);
    Fake::new(AMD, "")
        .file("/sys/class/iommu/ivhd0/x", "")
        .check(Feature::Iommu, expect!["no: 1 units and no group: no device is behind one"]);
}

#[test]
fn another_vendors_gpu_and_a_sound_function_are_no_nvidia_gpu() {
    let fake = Fake::new(AMD, "").pci("0000:00:02.0", "0x8086", "0x2330", "0x030000").pci(
        "0000:01:00.1",
        "0x10de",
        "0x22a3",
        "0x040300",
    );
    let report = fake.report();
    assert!(report.devices.is_empty());
    assert!(!report.feature(Feature::NvidiaGpu).unwrap().present);
    assert!(report.labels.is_empty());
}

#[test]
fn hopper_has_the_labels_that_it_had_under_the_gpu_operators_rules() {
    for (id, labels) in [
        ("0x2339", "nvidia.com/gpu.H100=true nvidia.com/gpu.family=hopper"),
        ("0x2331", "nvidia.com/gpu.H100.pcie=true nvidia.com/gpu.family=hopper"),
        ("0x2330", "nvidia.com/gpu.H100.HBM3=true nvidia.com/gpu.family=hopper"),
        ("0x2324", "nvidia.com/gpu.H800=true nvidia.com/gpu.family=hopper"),
        ("0x2322", "nvidia.com/gpu.H800.pcie=true nvidia.com/gpu.family=hopper"),
        ("0x2335", "nvidia.com/gpu.family=hopper"),
        ("0x2901", ""),
        ("0x20b0", ""),
    ] {
        let report = Fake::new(AMD, "").pci("0000:41:00.0", "0x10de", id, "0x030200").report();
        let found = report.labels.iter().filter(|(label, _)| label.starts_with("nvidia.com/"));
        let found: Vec<String> = found.map(|(label, value)| format!("{label}={value}")).collect();
        assert_eq!(found.join(" "), labels, "{id}");
    }
}

#[test]
fn files_alone_do_not_say_that_a_gpu_can_do_cc() {
    let report = snp_host().report();
    assert!(!report.labels.contains_key("nvidia.com/cc.capable"));
    assert!(report.feature(Feature::NvidiaCc).is_none());
}

/// What the registers of simulated devices say on a machine with, or without, SEV-SNP: the line, the label, and whether
/// everything is known.
fn asked(snp: bool, fill: impl FnOnce(&Host)) -> (String, bool, bool) {
    let dir = tempfile::tempdir().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(VirtualClock::default());
    let host = Host::new(dir.path(), Arc::clone(&clock));
    fill(&host);
    if snp {
        let folder = dir.path().join("sys/module/kvm_amd/parameters");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("sev_snp"), "Y\n").unwrap();
    }
    let report = look(&host.machine(), &host.bus(&Arc::new(Life::long())), &clock).unwrap();
    let label = report.labels.contains_key("nvidia.com/cc.capable");
    assert_eq!(report.labels.contains_key("nvidia.com/cc.enabled"), label);
    let line = report.text().lines().find(|line| line.starts_with("NVIDIA CC")).unwrap().to_owned();
    (line, label, report.is_known())
}

/// Whether the processor runs confidential guests, what the machine has, and then the line, the label and whether all is
/// known.
type Case<'a> = (bool, &'a dyn Fn(&Host), &'a str, bool, bool);

#[test]
fn whether_a_gpu_can_do_cc_is_asked_of_its_registers() {
    let place = at(0x41);
    let cases: [Case<'_>; 7] = [
        (true, &|host| host.add(place, Model::H100), "yes  the registers of 0000:41:00.0 (GH100) say so", true, true),
        (
            false,
            &|host| host.add(place, Model::H100),
            "yes  the registers of 0000:41:00.0 (GH100) say so; no label says so, because the processor runs no confidential guests",
            false,
            true,
        ),
        (true, &|_| {}, "no   there is no NVIDIA GPU", false, true),
        (
            true,
            &|host| host.add(place, Model::A100),
            "no   the GPUs are older than Hopper, or have no knob for it",
            false,
            true,
        ),
        (
            true,
            &|host| host.add(place, Model::Rtx5090),
            "?    0000:41:00.0: it is off, and the registers that may be read of this chip do not say more",
            false,
            false,
        ),
        (
            true,
            &|host| {
                host.add(place, Model::H100);
                host.sleep(place);
            },
            "?    0000:41:00.0: the device is asleep (D3hot), and was not woken to be asked",
            false,
            false,
        ),
        (
            true,
            &|host| {
                host.add(place, Model::H100);
                host.fault(place, Fault::OffTheBus, u32::MAX);
            },
            "?    0000:41:00.0: the device has fallen off the bus: every register reads as all ones",
            false,
            false,
        ),
    ];
    for (snp, fill, line, label, known) in cases {
        assert_eq!(asked(snp, fill), (format!("{:<18}  {line}", "NVIDIA CC"), label, known));
    }
}

#[test]
fn a_bus_that_cannot_be_read_as_a_whole_is_no_bus_without_gpus() {
    let fake = Fake::new(AMD, "").file("/sys/bus/pci/devices/0000:2b:00.0/vendor/oops", "");
    let report = fake.report();
    assert!(!report.is_known() && !report.feature(Feature::NvidiaGpu).unwrap().known);
    assert!(report.text().contains("NVSwitch            ?    1 devices on the PCI bus could not be looked at"));
}

#[test]
fn an_empty_root_is_a_machine_without_features() {
    let dir = tempfile::tempdir().unwrap();
    let report = detect(&Machine::new(dir.path())).unwrap();
    assert!(report.features.iter().all(|finding| !finding.present && !finding.reason.is_empty()));
    assert!(report.labels.is_empty() && report.capacities.is_empty());
}

#[test]
fn a_parameter_that_cannot_be_read_is_an_error_and_no_answer() {
    let fake = Fake::new(AMD, "sev").file("/sys/module/kvm_amd/parameters/sev/oops", "");
    let error = detect(&Machine::new(fake.0.path())).unwrap_err();
    assert!(error.path.ends_with("sys/module/kvm_amd/parameters/sev"), "{error}");
}
