//! Why no launch digest can be computed. None of these is about a peer: they are about the files and settings that the
//! caller wants measured.

use super::SectionKind;

/// Why no launch digest can be computed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// The firmware is larger than any VMM maps.
    #[error("firmware has {got} bytes, at most {limit} are read")]
    FirmwareTooLarge {
        /// Its bytes.
        got: usize,
        /// The limit.
        limit: usize,
    },
    /// The firmware is not whole pages, or none.
    #[error("firmware has {got} bytes, which is not a positive multiple of 4096")]
    FirmwareNotPages {
        /// Its bytes.
        got: usize,
    },
    /// There is no GUIDed table 32 bytes before the end: no OVMF, or one built without SEV.
    #[error("firmware has no OVMF footer table")]
    NoFooter,
    /// The footer table says that it is shorter than its own header or longer than the firmware.
    #[error("footer table of the firmware claims {got} bytes, which it cannot have")]
    FooterSize {
        /// What it says.
        got: u16,
    },
    /// An entry of the footer table reaches out of the table or is shorter than its own header.
    #[error(
        "entry of the firmware's footer table that ends at byte {end} of the table claims {got} bytes, which it cannot have"
    )]
    EntrySize {
        /// Where in the table it ends.
        end: usize,
        /// What it says.
        got: u16,
    },
    /// Bytes at the start of the footer table that are no entry.
    #[error("footer table of the firmware starts with {got} bytes that are no entry")]
    FooterRest {
        /// How many.
        got: usize,
    },
    /// An entry that is read here occurs twice; readers would disagree about which one counts.
    #[error("entry `{entry}` occurs twice in the firmware's footer table")]
    EntryTwice {
        /// Which.
        entry: &'static str,
    },
    /// An entry of the footer table that SEV-SNP needs is not there.
    #[error("entry `{entry}` is absent from the firmware's footer table")]
    EntryAbsent {
        /// Which.
        entry: &'static str,
    },
    /// An entry of the footer table has another length than its kind has.
    #[error("entry `{entry}` of the firmware's footer table has {got} bytes, expected {expected}")]
    EntryLength {
        /// Which.
        entry: &'static str,
        /// Its bytes.
        got: usize,
        /// What its kind has.
        expected: usize,
    },
    /// The address where application processors start is zero, which no VMM accepts.
    #[error("reset vector for application processors is zero")]
    ResetVectorZero,
    /// The SEV metadata are not inside the firmware.
    #[error("SEV metadata start {offset} bytes before the end of a firmware of {firmware} bytes")]
    MetadataOffset {
        /// What the footer table says.
        offset: u32,
        /// Bytes of the firmware.
        firmware: usize,
    },
    /// The SEV metadata do not start with `ASEV`.
    #[error("SEV metadata have signature {got:02x?}, expected `ASEV`")]
    MetadataSignature {
        /// What is there.
        got: [u8; 4],
    },
    /// The SEV metadata are of a version that is not known here.
    #[error("SEV metadata have version {got}, expected 1")]
    MetadataVersion {
        /// Their version.
        got: u32,
    },
    /// There are more sections than any firmware has.
    #[error("SEV metadata list {got} sections, at most {limit} are read")]
    TooManySections {
        /// How many they list.
        got: u32,
        /// The limit.
        limit: u32,
    },
    /// The SEV metadata's length does not hold their sections or reaches out of the firmware.
    #[error("SEV metadata claim {got} bytes for {sections} sections, which do not fit")]
    MetadataSize {
        /// What they say.
        got: u32,
        /// How many sections they list.
        sections: u32,
    },
    /// A section of a kind that is not known here, so how it is measured is not known either.
    #[error("section {index} of the SEV metadata has unknown kind {kind:#x}")]
    SectionKind {
        /// Which, from 0.
        index: usize,
        /// Its kind.
        kind: u32,
    },
    /// A section that is not whole pages, empty, or not of the one page that its kind has.
    #[error("section {index} ({kind}) of the SEV metadata is {size} bytes at {gpa:#x}, which its kind cannot be")]
    SectionShape {
        /// Which, from 0.
        index: usize,
        /// Its kind.
        kind: SectionKind,
        /// Its guest-physical address.
        gpa: u32,
        /// Its bytes.
        size: u32,
    },
    /// Two sections share a page, so its contents at the start depend on the order.
    #[error("sections {first} and {second} of the SEV metadata overlap")]
    SectionsOverlap {
        /// The earlier one, from 0.
        first: usize,
        /// The later one.
        second: usize,
    },
    /// A section lies where the firmware itself is mapped.
    #[error("section {index} of the SEV metadata overlaps the firmware")]
    SectionOverFirmware {
        /// Which, from 0.
        index: usize,
    },
    /// A kind that must occur at most once occurs twice.
    #[error("section {second} of the SEV metadata repeats kind {kind}")]
    SectionTwice {
        /// The later one.
        second: usize,
        /// Its kind.
        kind: SectionKind,
    },
    /// The sections are more memory than any firmware uses before it runs.
    #[error("sections of the SEV metadata have {got} bytes together, at most {limit} are measured")]
    SectionsTooLarge {
        /// Their bytes.
        got: u64,
        /// The limit.
        limit: u64,
    },
    /// A kernel is given and the firmware has no page for its hashes, so it would start unmeasured.
    #[error("a kernel is given, and the firmware has no section for its hashes")]
    HashesSectionAbsent,
    /// A kernel is given and the firmware does not say where in that page it looks for the hashes.
    #[error("a kernel is given, and the firmware has no table for its hashes")]
    HashesTableAbsent,
    /// The firmware looks for the hashes outside of the page that is measured.
    #[error(
        "the table of kernel hashes is {size} bytes at {gpa:#x}, which is not inside the page at {page:#x} or too small"
    )]
    HashesTableOutside {
        /// Where the firmware looks.
        gpa: u32,
        /// How many bytes it reads.
        size: u32,
        /// The page that is measured.
        page: u32,
    },
    /// A vCPU type that is not known by that name.
    #[error("vCPU type `{name}` is unknown")]
    VcpuType {
        /// The name, at most [`super::VcpuType::MAX_NAME`] characters of it.
        name: String,
    },
    /// Family, model or stepping that a CPUID signature cannot carry.
    #[error("family {family}, model {model}, stepping {stepping} cannot be told by CPUID")]
    Cpuid {
        /// The family.
        family: u32,
        /// The model.
        model: u32,
        /// The stepping.
        stepping: u32,
    },
    /// A VMM that is not known by that name.
    #[error("VMM `{name}` is unknown")]
    Vmm {
        /// The name, at most [`super::VcpuType::MAX_NAME`] characters of it.
        name: String,
    },
    /// A range of vCPU counts that starts at none, ends before it starts or goes beyond what a VMM starts.
    #[error("vCPU counts {first} to {last} cannot be measured: they go from 1 to {limit}")]
    VcpuCount {
        /// The first count.
        first: u32,
        /// The last count.
        last: u32,
        /// The limit.
        limit: u32,
    },
    /// `SEV_FEATURES` without SNP: such a guest has no SNP report.
    #[error("guest features {features:#x} do not have bit 0 (SNP)")]
    NotSnp {
        /// The features.
        features: u64,
    },
}

impl LaunchError {
    /// A stable word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::FirmwareTooLarge { .. } => "launch-firmware-too-large",
            Self::FirmwareNotPages { .. } => "launch-firmware-not-pages",
            Self::NoFooter => "launch-no-footer",
            Self::FooterSize { .. } | Self::FooterRest { .. } => "launch-footer-size",
            Self::EntrySize { .. } | Self::EntryLength { .. } => "launch-entry-size",
            Self::EntryTwice { .. } => "launch-entry-twice",
            Self::EntryAbsent { .. } => "launch-entry-absent",
            Self::ResetVectorZero => "launch-reset-vector-zero",
            Self::MetadataOffset { .. } | Self::MetadataSize { .. } => "launch-metadata-size",
            Self::MetadataSignature { .. } => "launch-metadata-signature",
            Self::MetadataVersion { .. } => "launch-metadata-version",
            Self::TooManySections { .. } => "launch-too-many-sections",
            Self::SectionKind { .. } => "launch-section-kind",
            Self::SectionShape { .. } => "launch-section-shape",
            Self::SectionsOverlap { .. } | Self::SectionOverFirmware { .. } => "launch-sections-overlap",
            Self::SectionTwice { .. } => "launch-section-twice",
            Self::SectionsTooLarge { .. } => "launch-sections-too-large",
            Self::HashesSectionAbsent | Self::HashesTableAbsent => "launch-hashes-absent",
            Self::HashesTableOutside { .. } => "launch-hashes-outside",
            Self::VcpuType { .. } | Self::Cpuid { .. } => "launch-vcpu-type",
            Self::Vmm { .. } => "launch-vmm",
            Self::VcpuCount { .. } => "launch-vcpu-count",
            Self::NotSnp { .. } => "launch-not-snp",
        }
    }

    /// What the user may do about it.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::NoFooter | Self::EntryAbsent { .. } => {
                "this firmware does not start SEV-SNP guests; take the OVMF that the platform uses for SEV-SNP, as a \
                 whole (code and variables in one file)"
            }
            Self::HashesSectionAbsent | Self::HashesTableAbsent => {
                "only OVMF's AmdSev build checks a kernel that is passed directly; take that one, or leave the kernel out \
                 if the guest boots from its disk"
            }
            Self::VcpuType { .. } => "names are those of QEMU's `-cpu`, such as `EPYC-Milan` or `EPYC-Genoa-v1`",
            Self::Vmm { .. } => "known are `qemu` and `ec2`",
            _ => return None,
        };
        Some(text.to_owned())
    }
}
