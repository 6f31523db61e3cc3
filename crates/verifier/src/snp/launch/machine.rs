//! What the VMM chooses and the launch digest covers: the vCPUs' type, their SEV features, and the VMM's own habits.

use std::str::FromStr;

use super::LaunchError;

/// Who starts the guest: VMMs give vCPUs different first registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Vmm {
    /// QEMU on KVM, and VMMs that do as it does.
    #[default]
    Qemu,
    /// AWS EC2.
    Ec2,
}

impl FromStr for Vmm {
    type Err = LaunchError;

    fn from_str(name: &str) -> Result<Self, LaunchError> {
        match name {
            "qemu" => Ok(Self::Qemu),
            "ec2" => Ok(Self::Ec2),
            _ => Err(LaunchError::Vmm { name: shortened(name) }),
        }
    }
}

/// `SEV_FEATURES` of the VMSA (AMD64 Architecture Programmer's Manual, volume 2, table B-4, offset 3B0h).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GuestFeatures(pub u64);

impl GuestFeatures {
    /// Bit 0: SEV-SNP is active. Every guest measured here has it.
    pub const SNP: u64 = 1;
    /// Bit 5: debug registers are swapped. Some Linux hosts set it without being asked.
    pub const DEBUG_SWAP: u64 = 1 << 5;
    /// Bit 9: the guest's time stamp counter is not the host's to change.
    pub const SECURE_TSC: u64 = 1 << 9;

    pub(super) fn check(self) -> Result<(), LaunchError> {
        if self.0 & Self::SNP == 0 { Err(LaunchError::NotSnp { features: self.0 }) } else { Ok(()) }
    }
}

impl Default for GuestFeatures {
    fn default() -> Self {
        Self(Self::SNP)
    }
}

/// The CPUID signature (`CPUID Fn0000_0001_EAX`) that a vCPU starts with in EDX.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VcpuType {
    signature: u32,
}

/// QEMU's models: base name, family, model, stepping, highest version `-vN`. All versions of one share its signature.
const MODELS: [(&str, u32, u32, u32, u32); 5] = [
    ("EPYC", 23, 1, 2, 5),
    ("EPYC-Rome", 23, 49, 0, 5),
    ("EPYC-Milan", 25, 1, 1, 3),
    ("EPYC-Genoa", 25, 17, 0, 2),
    ("EPYC-Turin", 26, 0, 0, 2),
];

impl VcpuType {
    /// LIMIT: the longest name, `EPYC-Genoa-v2`, has 13 characters; an error shows this much of another.
    pub const MAX_NAME: usize = 32;

    /// The type by QEMU's name for it, such as `EPYC-Milan-v2`.
    ///
    /// A version that is not known here is refused, although all known versions of a model share a signature: that it
    /// stays so is not ours to promise.
    pub fn from_name(name: &str) -> Result<Self, LaunchError> {
        let unknown = || LaunchError::VcpuType { name: shortened(name) };
        // The second version of the first model, under the name it had before QEMU numbered them.
        let name_or_base = if name == "EPYC-IBPB" { "EPYC-v2" } else { name };
        let (base, version) = match name_or_base.rsplit_once("-v") {
            Some((base, version)) => (base, Some(version)),
            None => (name_or_base, None),
        };
        let (_, family, model, stepping, last) =
            *MODELS.iter().find(|(candidate, ..)| *candidate == base).ok_or_else(unknown)?;
        if let Some(version) = version
            && !(1..=last).any(|known| known.to_string() == version)
        {
            return Err(unknown());
        }
        Self::from_cpuid(family, model, stepping)
    }

    /// The type by family, model and stepping, for `-cpu host` and for models that QEMU does not name.
    pub fn from_cpuid(family: u32, model: u32, stepping: u32) -> Result<Self, LaunchError> {
        // AMD's CPUID specification (publication 25481), Fn0000_0001_EAX: family is base plus extended where the base
        // is 15; model is extended (4 bits) and base; stepping has 4 bits.
        let (base, extended) = if family > 15 { (15, family.saturating_sub(15)) } else { (family, 0) };
        if extended > 0xff || model > 0xff || stepping > 0xf {
            return Err(LaunchError::Cpuid { family, model, stepping });
        }
        let signature = (extended << 20) | ((model >> 4) << 16) | (base << 8) | ((model & 15) << 4) | stepping;
        Ok(Self { signature })
    }

    /// The type by its signature.
    pub const fn from_signature(signature: u32) -> Self {
        Self { signature }
    }

    /// The signature.
    pub const fn signature(self) -> u32 {
        self.signature
    }
}

impl FromStr for VcpuType {
    type Err = LaunchError;

    fn from_str(name: &str) -> Result<Self, LaunchError> {
        Self::from_name(name)
    }
}

/// What the VMM chooses and the launch digest covers, but for the number of vCPUs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Machine {
    /// Who starts the guest.
    pub vmm: Vmm,
    /// Type of the vCPUs. EC2 does not measure it.
    pub vcpu: VcpuType,
    /// Their SEV features.
    pub features: GuestFeatures,
}

impl Machine {
    /// QEMU with no feature but SNP.
    pub fn qemu(vcpu: VcpuType) -> Self {
        Self { vmm: Vmm::Qemu, vcpu, features: GuestFeatures::default() }
    }
}

fn shortened(name: &str) -> String {
    name.chars().take(VcpuType::MAX_NAME).collect()
}
