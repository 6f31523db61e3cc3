//! The launch digest of an SEV-SNP guest, computed from what it is started with: firmware, kernel, initrd, command line,
//! and the vCPUs. It provides the reference value that an attestation report's `MEASUREMENT` is compared with; it never
//! says that a report is genuine.
//!
//! The digest is a chain (SEV-SNP Firmware ABI, publication 56860, section 8.17): each page that the host adds before the
//! guest starts is hashed together with the digest so far. The order is: the firmware, the pages that the firmware's
//! SEV metadata asks for, then one page of initial registers (VMSA) per vCPU. All application processors (APs) start
//! alike, so guests that differ in nothing but the number of vCPUs have a common chain, of which each further vCPU is
//! one step. [`Launch`] keeps the digest before the first vCPU and gives the digests of *n* counts in *n* steps of 112
//! hashed bytes each; the firmware, which is thousands of times that, is hashed once.
//!
//! What is measured follows QEMU and OVMF; [`Vmm::Ec2`] differs in registers and in order. Not covered: plain SEV and
//! SEV-ES digests (another algorithm, no SNP report carries them), IGVM images, and libkrun, whose firmware carries no
//! SEV metadata.
//!
//! ```
//! # fn f(firmware: &[u8], kernel: &[u8], initrd: &[u8], reported: &protocol::digest::Measurement)
//! # -> Result<(), verifier::snp::launch::LaunchError> {
//! use verifier::snp::launch::{Firmware, KernelHashes, Launch, Machine, MAX_VCPUS, VcpuType};
//!
//! let firmware = Firmware::parse(firmware)?;
//! let hashes = KernelHashes::of(kernel, initrd, b"console=ttyS0");
//! let launch = Launch::measure(&firmware, Some(&hashes), &Machine::qemu(VcpuType::from_name("EPYC-Milan")?))?;
//! let vcpus: Option<u32> = launch.which_vcpu_count(reported, MAX_VCPUS);
//! # Ok(()) }
//! ```

mod chain;
mod error;
mod explain;
mod firmware;
mod hashes;
mod machine;
mod vmsa;

pub use error::LaunchError;
pub use explain::explain;
pub use firmware::{Firmware, MAX_FIRMWARE, MAX_SECTION_BYTES, MAX_SECTIONS, Section, SectionKind};
pub use hashes::KernelHashes;
pub use machine::{GuestFeatures, Machine, VcpuType, Vmm};

use std::ops::RangeInclusive;

use protocol::digest::Measurement;

use chain::{Chain, PageType, page_digest};

/// LIMIT: Linux starts no guest with more vCPUs (`KVM_MAX_VCPUS`, at most 4096 by `CONFIG_KVM_MAX_NR_VCPUS`, x86). That
/// many steps hash less than half a megabyte.
pub const MAX_VCPUS: u32 = 4096;

/// A launch, measured up to its vCPUs. From here each further vCPU costs one step of the chain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Launch {
    chain: Chain,
    /// SHA-384 of the boot processor's first register page.
    bsp: [u8; 48],
    /// The same of every application processor.
    ap: [u8; 48],
}

impl Launch {
    /// Measures firmware, metadata pages and, where the guest boots a kernel directly, the kernel's hashes.
    pub fn measure(
        firmware: &Firmware<'_>,
        kernel: Option<&KernelHashes>,
        machine: &Machine,
    ) -> Result<Self, LaunchError> {
        Self::after_firmware(&firmware.digest(), firmware, kernel, machine)
    }

    /// The same where the digest after the firmware's own pages is already known (other tools call it the OVMF hash).
    /// Of `firmware` only the tables are then read, so its last pages, which hold them, are enough.
    pub fn after_firmware(
        seed: &Measurement,
        firmware: &Firmware<'_>,
        kernel: Option<&KernelHashes>,
        machine: &Machine,
    ) -> Result<Self, LaunchError> {
        let hashes_page = match kernel {
            Some(hashes) => Some(firmware.hashes_page(hashes)?),
            None => None,
        };
        let mut chain = Chain::from_digest(seed);
        // EC2 adds the CPUID page after all others, wherever the metadata lists it.
        let last = |section: &&Section| machine.vmm == Vmm::Ec2 && section.kind == SectionKind::Cpuid;
        let early = firmware.sections().iter().filter(|section| !last(section));
        let late = firmware.sections().iter().filter(last);
        for section in early.chain(late) {
            let gpa = u64::from(section.gpa);
            match (section.kind, &hashes_page) {
                (SectionKind::KernelHashes, Some(page)) => chain.page(PageType::Normal, gpa, &page_digest(page)),
                (SectionKind::SecMemory | SectionKind::SvsmCallingArea | SectionKind::KernelHashes, _) => {
                    section.pages().for_each(|gpa| chain.page(PageType::Zero, gpa, &[0; 48]));
                }
                (SectionKind::Secrets, _) => chain.page(PageType::Secrets, gpa, &[0; 48]),
                (SectionKind::Cpuid, _) => chain.page(PageType::Cpuid, gpa, &[0; 48]),
            }
        }
        Self::before_vcpus(&chain.digest(), firmware.reset_eip(), machine)
    }

    /// The same where the digest before the first vCPU is already known: `seed` is that digest, `reset_eip` where the
    /// firmware lets application processors start (see [`Firmware::reset_eip`]).
    pub fn before_vcpus(seed: &Measurement, reset_eip: u32, machine: &Machine) -> Result<Self, LaunchError> {
        machine.features.check()?;
        Ok(Self {
            chain: Chain::from_digest(seed),
            bsp: page_digest(&vmsa::page(vmsa::BSP_RESET, machine)),
            ap: page_digest(&vmsa::page(reset_eip, machine)),
        })
    }

    /// The digest before the first vCPU: what [`Self::before_vcpus`] takes.
    pub fn seed(&self) -> Measurement {
        self.chain.digest()
    }

    /// The launch digest with that many vCPUs.
    pub fn digest(&self, vcpus: u32) -> Result<Measurement, LaunchError> {
        let digests = self.digests(vcpus..=vcpus)?;
        Ok(digests.last().map_or_else(|| self.seed(), |(_, digest)| digest))
    }

    /// The launch digests for every number of vCPUs in the range, in ascending order.
    pub fn digests(
        &self,
        vcpus: RangeInclusive<u32>,
    ) -> Result<impl Iterator<Item = (u32, Measurement)> + use<>, LaunchError> {
        let (first, last) = vcpus.into_inner();
        if first == 0 || last > MAX_VCPUS || first > last {
            return Err(LaunchError::VcpuCount { first, last, limit: MAX_VCPUS });
        }
        Ok(self.steps(last).skip_while(move |(count, _)| *count < first))
    }

    /// With how many vCPUs, at most `limit`, the launch has this digest. `None`: with none of them, so something other
    /// than their number differs. A limit beyond [`MAX_VCPUS`] counts as that.
    pub fn which_vcpu_count(&self, digest: &Measurement, limit: u32) -> Option<u32> {
        self.steps(limit.min(MAX_VCPUS)).find(|(_, candidate)| candidate == digest).map(|(count, _)| count)
    }

    fn steps(&self, last: u32) -> impl Iterator<Item = (u32, Measurement)> + use<> {
        let Self { mut chain, bsp, ap } = self.clone();
        (1..=last).map(move |count| {
            chain.page(PageType::Vmsa, chain::VMSA_GPA, if count == 1 { &bsp } else { &ap });
            (count, chain.digest())
        })
    }
}
