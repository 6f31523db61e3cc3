//! Which features for confidential computing a machine has, and why not the others.
//!
//! What is looked at is what Node Feature Discovery looks at, so that labels agree, with two differences: capacities are
//! read by whole keys (`sev` is not the beginning of `sev_es`), and a file that cannot be read is an error, not a no.
//!
//! Files alone are looked at by [`detect`]. Whether a GPU can do confidential computing is in no file: [`look`] asks the
//! registers as well.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use gpu::transition::{FileJournal, Limits, Survey, Transition};
use gpu::users::Processes;
use serde::Serialize;

use crate::agent::device::chain;
use crate::agent::gpus::JOURNAL;

pub use gpu::pci::{Device, DeviceKind};
use gpu::{Bus, Chip, Clock, Machine, ReadError};

/// A feature of a machine.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Feature {
    /// KVM runs SEV guests: encrypted memory.
    Sev,
    /// KVM runs SEV-ES guests: encrypted registers as well.
    SevEs,
    /// KVM runs SEV-SNP guests: integrity and attestation as well.
    SevSnp,
    /// This machine is itself an SEV-SNP guest.
    SevSnpGuest,
    /// KVM runs TDX guests.
    Tdx,
    /// This machine is itself a TDX guest.
    TdxGuest,
    /// Processes can make SGX enclaves.
    Sgx,
    /// Devices are isolated from each other's memory.
    Iommu,
    /// Devices can be given to guests through `/dev/iommu`.
    Iommufd,
    /// There is an NVIDIA GPU.
    NvidiaGpu,
    /// There is an NVSwitch.
    NvSwitch,
    /// A GPU can do confidential computing.
    NvidiaCc,
}

impl Feature {
    /// As people call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sev => "AMD SEV",
            Self::SevEs => "AMD SEV-ES",
            Self::SevSnp => "AMD SEV-SNP",
            Self::SevSnpGuest => "AMD SEV-SNP guest",
            Self::Tdx => "Intel TDX",
            Self::TdxGuest => "Intel TDX guest",
            Self::Sgx => "Intel SGX",
            Self::Iommu => "IOMMU",
            Self::Iommufd => "iommufd",
            Self::NvidiaGpu => "NVIDIA GPU",
            Self::NvSwitch => "NVSwitch",
            Self::NvidiaCc => "NVIDIA CC",
        }
    }

    /// The labels that say so: of Node Feature Discovery, those that runtime classes select on, and those of the rules that
    /// the GPU Operator installed until v25.10, for pods that still select on them.
    const fn labels(self) -> &'static [&'static str] {
        match self {
            Self::Sev => &["feature.node.kubernetes.io/cpu-security.sev.enabled"],
            Self::SevEs => {
                &["feature.node.kubernetes.io/cpu-security.sev.es.enabled", "feature.node.kubernetes.io/sev.es.enabled"]
            }
            Self::SevSnp => &[
                "feature.node.kubernetes.io/cpu-security.sev.snp.enabled",
                "amd.feature.node.kubernetes.io/snp",
                "feature.node.kubernetes.io/sev.snp.enabled",
            ],
            Self::Tdx => &[
                "feature.node.kubernetes.io/cpu-security.tdx.enabled",
                "intel.feature.node.kubernetes.io/tdx",
                "feature.node.kubernetes.io/tdx.enabled",
            ],
            Self::TdxGuest => &["feature.node.kubernetes.io/cpu-security.tdx.protected"],
            Self::Sgx => &["feature.node.kubernetes.io/cpu-security.sgx.enabled"],
            Self::NvidiaGpu => &["feature.node.kubernetes.io/pci-10de.present"],
            // What a GPU can do is no use without a processor that can: see `cc_labels`.
            Self::NvidiaCc | Self::NvSwitch | Self::SevSnpGuest | Self::Iommu | Self::Iommufd => &[],
        }
    }
}

/// Whether a machine has a feature.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    /// The feature.
    pub feature: Feature,
    /// Whether it is there.
    pub present: bool,
    /// Whether that could be told; where it could not, `present` is false.
    pub known: bool,
    /// What shows it, or why it is not there.
    pub reason: String,
}

/// Everything that was found out about a machine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// Every feature, present or not.
    pub features: Vec<Finding>,
    /// How many guests the hardware has keys for, by the key of the kernel's `misc` controller.
    pub capacities: BTreeMap<String, u64>,
    /// GPUs and switches.
    pub devices: Vec<Device>,
    /// Devices that could not be looked at, and why; a GPU may be among them.
    pub unreadable: Vec<String>,
    /// The labels that hold.
    pub labels: BTreeMap<String, String>,
}

impl Report {
    /// What was found out about one feature.
    pub fn feature(&self, feature: Feature) -> Option<&Finding> {
        self.features.iter().find(|finding| finding.feature == feature)
    }

    /// Whether everything could be told.
    pub fn is_known(&self) -> bool {
        self.unreadable.is_empty() && self.features.iter().all(|finding| finding.known)
    }

    /// Whether the machine runs confidential guests.
    pub fn host_is_confidential(&self) -> bool {
        [Feature::SevSnp, Feature::Tdx].into_iter().any(|one| self.feature(one).is_some_and(|found| found.present))
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for Finding { feature, present, known, reason } in &self.features {
            let answer = match (known, present) {
                (false, _) => "?",
                (true, true) => "yes",
                (true, false) => "no",
            };
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{:<18}  {answer:<3}  {reason}", feature.name());
        }
        let mut section = |title: &str, lines: Vec<String>| {
            if !lines.is_empty() {
                let _ = write!(text, "\n{title}\n  {}\n", lines.join("\n  "));
            }
        };
        section(
            "guests that the hardware has keys for",
            self.capacities.iter().map(|(k, v)| format!("{k} {v}")).collect(),
        );
        section("devices", self.devices.iter().map(device_line).collect());
        section("devices that could not be looked at", self.unreadable.clone());
        section("labels", self.labels.iter().map(|(key, value)| format!("{key}={value}")).collect());
        text
    }
}

fn device_line(device: &Device) -> String {
    let kind = match device.kind {
        DeviceKind::Gpu => "GPU",
        DeviceKind::NvSwitch => "NVSwitch",
    };
    let name = device.name.as_deref().unwrap_or("unknown model");
    let driver = device.driver.as_deref().unwrap_or("none");
    let group = device.iommu_group.as_deref().unwrap_or("none");
    format!("{}  {kind} {name} ({})  driver {driver}  IOMMU group {group}", device.address, device.device_id)
}

/// Looks at a machine's files. Nothing is changed, and no device is asked.
pub fn detect(machine: &Machine) -> Result<Report, ReadError> {
    let cpu = Cpu::read(machine)?;
    let mut features = amd(machine, &cpu)?;
    features.extend(intel(machine, &cpu)?);
    features.extend(io(machine, &cpu)?);
    let scan = gpu::pci::scan(machine)?;
    let unreadable: Vec<String> =
        scan.unreadable.iter().map(|device| format!("{}: {}", device.address, device.error)).collect();
    let on_the_bus = |feature, found: usize, what: &str| match (found, unreadable.len()) {
        (0, 0) => no(feature, format!("no PCI device of vendor 10de is a {what}")),
        (0, lost) => unknown(feature, format!("{lost} devices on the PCI bus could not be looked at")),
        (found, _) => yes(feature, format!("{found} on the PCI bus")),
    };
    features.push(on_the_bus(Feature::NvidiaGpu, scan.gpus().count(), "display or 3D controller"));
    features.push(on_the_bus(Feature::NvSwitch, scan.switches().count(), "bridge of class 0680"));
    let present = features.iter().filter(|finding| finding.present);
    let labels = present.flat_map(|finding| finding.feature.labels()).map(|key| ((*key).to_owned(), "true".to_owned()));
    let mut labels: BTreeMap<String, String> = labels.collect();
    labels.extend(scan.gpus().flat_map(hopper_labels));
    Ok(Report { features, capacities: capacities(machine)?, devices: scan.devices, unreadable, labels })
}

/// Looks at a machine's files and at the registers of its GPUs. Nothing is changed and no device is woken, so this may
/// run beside an agent that changes modes; what then cannot be told is said to be unknown.
pub fn look(machine: &Machine, bus: &Arc<dyn Bus>, clock: &Arc<dyn Clock>) -> Result<Report, ReadError> {
    let mut report = detect(machine)?;
    let processes = Processes::new(machine.clone());
    let journal = FileJournal::new(machine.path(JOURNAL));
    let (devices, bus, clock) = (report.devices.clone(), Arc::clone(bus), Arc::clone(clock));
    let survey = Transition::new(devices, bus, clock, &processes, &journal, Limits::default()).glance();
    let finding = match &survey {
        Ok(survey) => confidential_gpus(&report, survey),
        Err(error) => unknown(Feature::NvidiaCc, chain(error)),
    };
    let capable = survey.ok().and_then(|survey| survey.cc_capable());
    report.labels.extend(cc_labels(&report, capable));
    report.features.push(finding);
    Ok(report)
}

/// The labels of a machine whose GPUs and processor can both do confidential computing. `capable` is what the GPUs say
/// of themselves, [`Survey::cc_capable`]. Runtime classes that select on `nvidia.com/cc.capable` alone start guests of
/// SEV-SNP or TDX, so a machine that runs neither does not have the label, as it did not under the GPU Operator's rule.
pub fn cc_labels(report: &Report, capable: Option<bool>) -> BTreeMap<String, String> {
    let holds = capable == Some(true) && report.host_is_confidential();
    CC_LABELS.iter().filter(|_| holds).map(|label| ((*label).to_owned(), "true".to_owned())).collect()
}

/// The second is what the first was called at first.
const CC_LABELS: [&str; 2] = ["nvidia.com/cc.capable", "nvidia.com/cc.enabled"];

/// The labels by which the GPU Operator's rules named Hopper GPUs until v25.10: the family, and five models by device id.
fn hopper_labels(gpu: &Device) -> Vec<(String, String)> {
    if Chip::of_device(gpu.kind, gpu.device_id.0) != Some(Chip::Gh100) {
        return Vec::new();
    }
    let model = match gpu.device_id.0 {
        0x2339 => Some("H100"),
        0x2331 => Some("H100.pcie"),
        0x2330 => Some("H100.HBM3"),
        0x2324 => Some("H800"),
        0x2322 => Some("H800.pcie"),
        _ => None,
    };
    let mut labels = vec![("nvidia.com/gpu.family".to_owned(), "hopper".to_owned())];
    labels.extend(model.map(|model| (format!("nvidia.com/gpu.{model}"), "true".to_owned())));
    labels
}

/// Which GPUs can do confidential computing, and why not the others.
fn confidential_gpus(report: &Report, survey: &Survey) -> Finding {
    let feature = Feature::NvidiaCc;
    let gpus: Vec<_> = survey.devices.iter().filter(|device| device.kind == DeviceKind::Gpu).collect();
    let able: Vec<String> = gpus
        .iter()
        .filter(|gpu| gpu.capable == Some(true))
        .map(|gpu| format!("{}{}", gpu.address, gpu.chip.map(|chip| format!(" ({chip})")).unwrap_or_default()))
        .collect();
    let without = if report.host_is_confidential() {
        String::new()
    } else {
        "; no label says so, because the processor runs no confidential guests".to_owned()
    };
    match survey.cc_capable() {
        Some(true) => yes(feature, format!("the registers of {} say so{without}", able.join(", "))),
        Some(false) if gpus.is_empty() && report.unreadable.is_empty() => no(feature, "there is no NVIDIA GPU"),
        Some(false) if gpus.is_empty() => unknown(feature, "devices on the PCI bus could not be looked at"),
        Some(false) => no(feature, "the GPUs are older than Hopper, or have no knob for it"),
        None => {
            let why = gpus.iter().filter(|gpu| gpu.capable.is_none()).map(|gpu| match &gpu.mode {
                Err(failure) => failure.reason_of_device(),
                Ok(_) => format!(
                    "{}: it is off, and the registers that may be read of this chip do not say more",
                    gpu.address
                ),
            });
            unknown(feature, why.collect::<Vec<_>>().join("; "))
        }
    }
}

fn yes(feature: Feature, reason: impl Into<String>) -> Finding {
    Finding { feature, present: true, known: true, reason: reason.into() }
}

fn no(feature: Feature, reason: impl Into<String>) -> Finding {
    Finding { feature, present: false, known: true, reason: reason.into() }
}

fn unknown(feature: Feature, reason: impl Into<String>) -> Finding {
    Finding { feature, present: false, known: false, reason: reason.into() }
}

/// What `/proc/cpuinfo` says of the first processor.
struct Cpu {
    vendor: String,
    flags: Vec<String>,
}

const AMD: &str = "AuthenticAMD";
const INTEL: &str = "GenuineIntel";

impl Cpu {
    fn read(machine: &Machine) -> Result<Self, ReadError> {
        let text = machine.text("/proc/cpuinfo")?.unwrap_or_default();
        let field = |name: &str| {
            let lines = text.lines().filter_map(|line| line.split_once(':'));
            lines.into_iter().find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().to_owned())
        };
        let flags = field("flags").unwrap_or_default();
        Ok(Self {
            vendor: field("vendor_id").unwrap_or_else(|| "unknown".to_owned()),
            flags: flags.split_whitespace().map(str::to_owned).collect(),
        })
    }

    fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|have| have == flag)
    }

    /// The hypervisor flag of CPUID leaf 1: this is a guest.
    fn is_guest(&self) -> bool {
        self.has("hypervisor")
    }
}

/// A module parameter that is a boolean; the kernel has written them as `Y`/`N` and as `1`/`0`.
fn parameter(machine: &Machine, module: &str, name: &str) -> Result<Option<bool>, ReadError> {
    let text = machine.text(&format!("/sys/module/{module}/parameters/{name}"))?;
    Ok(text.map(|text| matches!(text.as_str(), "Y" | "y" | "1")))
}

fn amd(machine: &Machine, cpu: &Cpu) -> Result<Vec<Finding>, ReadError> {
    let mut findings = Vec::new();
    // Each builds on the one before it.
    let steps = [(Feature::Sev, "sev"), (Feature::SevEs, "sev_es"), (Feature::SevSnp, "sev_snp")];
    for (feature, name) in steps {
        let module = parameter(machine, "kvm_amd", name)?;
        findings.push(match module {
            Some(true) => yes(feature, format!("kvm_amd has {name} on")),
            _ if cpu.vendor != AMD => no(feature, format!("the processor is not AMD's ({})", cpu.vendor)),
            _ if !cpu.has(name) && cpu.is_guest() => no(feature, "this is a virtual machine that is not given it"),
            _ if !cpu.has(name) => no(
                feature,
                format!(
                    "the processor does not show {name}: it is too old, or SMEE and SEV are off in the firmware's setup"
                ),
            ),
            None => {
                no(feature, format!("the processor has it, but kvm_amd is not loaded or knows no parameter {name}"))
            }
            Some(false) if feature == Feature::SevSnp => no(
                feature,
                "kvm_amd has sev_snp off: it needs SNP memory coverage in the firmware's setup and the IOMMU on",
            ),
            Some(false) => no(feature, format!("kvm_amd has {name} off (load it with {name}=1)")),
        });
    }
    findings.push(guest(
        machine,
        Feature::SevSnpGuest,
        "/dev/sev-guest",
        "there is no /dev/sev-guest: not such a guest, or its sev-guest module is not loaded",
    ));
    Ok(findings)
}

fn intel(machine: &Machine, cpu: &Cpu) -> Result<Vec<Finding>, ReadError> {
    let tdx = match parameter(machine, "kvm_intel", "tdx")? {
        Some(true) => yes(Feature::Tdx, "kvm_intel has tdx on"),
        _ if cpu.vendor != INTEL => no(Feature::Tdx, format!("the processor is not Intel's ({})", cpu.vendor)),
        None => no(Feature::Tdx, "kvm_intel is not loaded or knows no parameter tdx (Linux 6.16 is the first)"),
        Some(false) => no(
            Feature::Tdx,
            "kvm_intel has tdx off: it needs TDX and TME-MT in the firmware's setup and kvm_intel.tdx=1",
        ),
    };
    let guest = if cpu.has("tdx_guest") {
        yes(Feature::TdxGuest, "the processor says so (tdx_guest)")
    } else {
        no(Feature::TdxGuest, "the processor does not say so")
    };
    let sgx = if !cpu.has("sgx") && cpu.vendor != INTEL {
        no(Feature::Sgx, format!("the processor is not Intel's ({})", cpu.vendor))
    } else if !cpu.has("sgx") {
        no(Feature::Sgx, "the processor does not show sgx: it has none, or it is off in the firmware's setup")
    } else if machine.exists("/dev/sgx_enclave") {
        yes(Feature::Sgx, "the processor has it and there is /dev/sgx_enclave")
    } else {
        no(
            Feature::Sgx,
            "the processor has it, but there is no /dev/sgx_enclave: flexible launch control is off or no EPC",
        )
    };
    Ok(vec![tdx, guest, sgx])
}

fn guest(machine: &Machine, feature: Feature, device: &str, why_not: &str) -> Finding {
    if machine.exists(device) { yes(feature, format!("there is {device}")) } else { no(feature, why_not) }
}

fn io(machine: &Machine, cpu: &Cpu) -> Result<Vec<Finding>, ReadError> {
    let groups = machine.names("/sys/kernel/iommu_groups")?.len();
    let units = machine.names("/sys/class/iommu")?.len();
    let iommu = if groups > 0 {
        yes(Feature::Iommu, format!("{groups} groups"))
    } else if units > 0 {
        no(Feature::Iommu, format!("{units} units and no group: no device is behind one"))
    } else if cpu.is_guest() {
        no(Feature::Iommu, "this is a virtual machine that is not given one")
    } else {
        let line = machine.text("/proc/cmdline")?.unwrap_or_default();
        let off =
            line.split_whitespace().find(|word| matches!(*word, "iommu=off" | "intel_iommu=off" | "amd_iommu=off"));
        match off {
            Some(word) => no(Feature::Iommu, format!("`{word}` is on the kernel's command line")),
            None if cpu.vendor == INTEL && !line.contains("intel_iommu=on") => no(
                Feature::Iommu,
                "no unit: VT-d is off in the firmware's setup, or `intel_iommu=on` is missing on the kernel's command line",
            ),
            None => no(Feature::Iommu, "no unit: it is off in the firmware's setup"),
        }
    };
    let iommufd = guest(
        machine,
        Feature::Iommufd,
        "/dev/iommu",
        "there is no /dev/iommu: the kernel is older than 6.2 or built without it, or the module iommufd is not loaded",
    );
    Ok(vec![iommu, iommufd])
}

/// The kernel's `misc` controller: lines of a key and a number. It lies in one place with control groups v2, in
/// another with v1.
fn capacities(machine: &Machine) -> Result<BTreeMap<String, u64>, ReadError> {
    let mut found = BTreeMap::new();
    for path in ["/sys/fs/cgroup/misc.capacity", "/sys/fs/cgroup/misc/misc.capacity"] {
        let text = machine.text(path)?.unwrap_or_default();
        for (key, value) in text.lines().filter_map(|line| line.trim().split_once(' ')) {
            if let Ok(value) = value.trim().parse() {
                found.entry(key.to_owned()).or_insert(value);
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
