//! What OVMF says about itself: the GUIDed table at its end, and the SEV metadata that the table points to.
//!
//! Layouts: edk2, `OvmfPkg/ResetVector/Ia16/ResetVectorVtf0.asm` (footer table, entries with their GUIDs) and
//! `OvmfPkg/ResetVector/X64/OvmfSevMetadata.asm` (metadata).

use std::fmt;

use protocol::digest::Measurement;

use super::chain::{Chain, PAGE, PageType, page_digest};
use super::{KernelHashes, LaunchError};

/// LIMIT: QEMU maps at most 16 MiB (`max-fw-size`; above that the firmware would reach into the IO-APIC's addresses).
pub const MAX_FIRMWARE: usize = 16 << 20;

/// LIMIT: OVMF lists seven to ten sections.
pub const MAX_SECTIONS: u32 = 64;

/// LIMIT: the memory that OVMF uses before it has set up paging lies below 16 MiB (`MEMFD` of its flash layout), and
/// no two sections overlap.
pub const MAX_SECTION_BYTES: u64 = 16 << 20;

/// The firmware ends here in guest-physical addresses: the reset vector is 16 bytes below 4 GiB.
const END_OF_FIRMWARE: u64 = 1 << 32;

/// The footer table ends this far before the end of the firmware, where the reset vector's code begins.
const AFTER_FOOTER: usize = 32;

/// Each entry of the footer table ends with its length (2 bytes) and its GUID (16).
const ENTRY_HEADER: usize = 18;

/// 96b582de-1fb2-45f7-baea-a366c55a082d, the footer table itself.
const FOOTER: [u8; 16] =
    [0xde, 0x82, 0xb5, 0x96, 0xb2, 0x1f, 0xf7, 0x45, 0xba, 0xea, 0xa3, 0x66, 0xc5, 0x5a, 0x08, 0x2d];

/// An entry that is read here.
struct Entry {
    name: &'static str,
    guid: [u8; 16],
    length: usize,
}

/// 00f771de-1a7e-4fcb-890e-68c77e2fb44e: where application processors start.
const RESET: Entry = Entry {
    name: "SEV-ES reset block",
    guid: [0xde, 0x71, 0xf7, 0x00, 0x7e, 0x1a, 0xcb, 0x4f, 0x89, 0x0e, 0x68, 0xc7, 0x7e, 0x2f, 0xb4, 0x4e],
    length: 4,
};

/// 7255371f-3a3b-4b04-927b-1da6efa8d454: where the firmware looks for the kernel's hashes, base and size.
const HASHES: Entry = Entry {
    name: "SEV hash table",
    guid: [0x1f, 0x37, 0x55, 0x72, 0x3b, 0x3a, 0x04, 0x4b, 0x92, 0x7b, 0x1d, 0xa6, 0xef, 0xa8, 0xd4, 0x54],
    length: 8,
};

/// dc886566-984a-4798-a75e-5585a7bf67cc: where the SEV metadata are, counted from the end of the firmware.
const METADATA: Entry = Entry {
    name: "SEV metadata",
    guid: [0x66, 0x65, 0x88, 0xdc, 0x4a, 0x98, 0x98, 0x47, 0xa7, 0x5e, 0x55, 0x85, 0xa7, 0xbf, 0x67, 0xcc],
    length: 4,
};

/// Signature, length, version and number of sections of the SEV metadata, 4 bytes each.
const METADATA_HEADER: usize = 16;

/// Address, size and kind of a section, 4 bytes each.
const SECTION: usize = 12;

/// What a section of the SEV metadata is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SectionKind {
    /// Memory that the firmware uses before it can accept any itself; starts as zero.
    SecMemory,
    /// The page into which the security processor puts the guest's secrets.
    Secrets,
    /// The page with the CPUID answers that the security processor checked.
    Cpuid,
    /// The calling area of an SVSM; starts as zero.
    SvsmCallingArea,
    /// The page into which the VMM puts the hashes of kernel, initrd and command line.
    KernelHashes,
}

impl SectionKind {
    fn from_code(code: u32) -> Option<Self> {
        Some(match code {
            1 => Self::SecMemory,
            2 => Self::Secrets,
            3 => Self::Cpuid,
            4 => Self::SvsmCallingArea,
            0x10 => Self::KernelHashes,
            _ => return None,
        })
    }

    /// Whether it is exactly one page, of which there is one.
    fn is_single_page(self) -> bool {
        matches!(self, Self::Secrets | Self::Cpuid | Self::KernelHashes)
    }
}

impl fmt::Display for SectionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SecMemory => "memory",
            Self::Secrets => "secrets",
            Self::Cpuid => "CPUID",
            Self::SvsmCallingArea => "SVSM calling area",
            Self::KernelHashes => "kernel hashes",
        })
    }
}

/// Pages that the VMM adds because the firmware asks for them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Section {
    /// Guest-physical address.
    pub gpa: u32,
    /// Bytes: whole pages.
    pub size: u32,
    /// What for.
    pub kind: SectionKind,
}

impl Section {
    fn end(&self) -> u64 {
        u64::from(self.gpa).saturating_add(u64::from(self.size))
    }

    fn overlaps(&self, other: &Self) -> bool {
        u64::from(self.gpa) < other.end() && u64::from(other.gpa) < self.end()
    }

    /// The addresses of its pages.
    pub(super) fn pages(&self) -> impl Iterator<Item = u64> {
        (u64::from(self.gpa)..self.end()).step_by(PAGE)
    }
}

/// A firmware whose tables have been read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Firmware<'a> {
    image: &'a [u8],
    reset_eip: u32,
    /// Base and size.
    hashes: Option<(u32, u32)>,
    sections: Vec<Section>,
}

impl<'a> Firmware<'a> {
    /// Reads the tables of an OVMF image. `Ok` says that an SEV-SNP guest can start with it, not that it is any good.
    pub fn parse(image: &'a [u8]) -> Result<Self, LaunchError> {
        if image.len() > MAX_FIRMWARE {
            return Err(LaunchError::FirmwareTooLarge { got: image.len(), limit: MAX_FIRMWARE });
        }
        if image.is_empty() || !image.len().is_multiple_of(PAGE) {
            return Err(LaunchError::FirmwareNotPages { got: image.len() });
        }
        let table = footer_table(image)?;
        let found = entries(table)?;
        let reset = found.reset.ok_or(LaunchError::EntryAbsent { entry: RESET.name })?;
        let reset_eip = word(reset, 0);
        if reset_eip == 0 {
            return Err(LaunchError::ResetVectorZero);
        }
        let metadata = found.metadata.ok_or(LaunchError::EntryAbsent { entry: METADATA.name })?;
        // OVMF's flag build without the table leaves base and size zero.
        let hashes = found.hashes.map(|entry| (word(entry, 0), word(entry, 4))).filter(|(base, _)| *base != 0);
        Ok(Self { image, reset_eip, hashes, sections: sections(image, word(metadata, 0))? })
    }

    /// Where application processors start.
    pub fn reset_eip(&self) -> u32 {
        self.reset_eip
    }

    /// The sections of the SEV metadata, in their order, which is the order of measurement.
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// Whether it checks a kernel that is passed directly.
    pub fn takes_kernel_hashes(&self) -> bool {
        self.hashes.is_some() && self.sections.iter().any(|section| section.kind == SectionKind::KernelHashes)
    }

    /// The digest after the firmware's own pages: what [`super::Launch::after_firmware`] takes.
    pub fn digest(&self) -> Measurement {
        let mut chain = Chain::from_digest(&Chain::START);
        let gpas = (start_of(self.image)..END_OF_FIRMWARE).step_by(PAGE);
        for (gpa, page) in gpas.zip(self.image.chunks_exact(PAGE)) {
            chain.page(PageType::Normal, gpa, &page_digest(page));
        }
        chain.digest()
    }

    /// The page of kernel hashes as the VMM fills it.
    pub(super) fn hashes_page(&self, hashes: &KernelHashes) -> Result<[u8; PAGE], LaunchError> {
        let section = self.sections.iter().find(|section| section.kind == SectionKind::KernelHashes);
        let section = section.ok_or(LaunchError::HashesSectionAbsent)?;
        let (gpa, size) = self.hashes.ok_or(LaunchError::HashesTableAbsent)?;
        let outside = LaunchError::HashesTableOutside { gpa, size, page: section.gpa };
        let table = hashes.table();
        let offset = gpa.checked_sub(section.gpa).and_then(|offset| usize::try_from(offset).ok());
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let mut page = [0; PAGE];
        let place = offset.and_then(|offset| page.get_mut(offset..)?.first_chunk_mut());
        match place {
            Some(place) if size >= table.len() => *place = table,
            _ => return Err(outside),
        }
        Ok(page)
    }
}

/// The lowest address at which the firmware is mapped.
fn start_of(image: &[u8]) -> u64 {
    END_OF_FIRMWARE.saturating_sub(u64::try_from(image.len()).unwrap_or(END_OF_FIRMWARE))
}

/// The little-endian word at an offset. Callers have checked the length; a missing word reads as zero.
fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u32::from_le_bytes(*word))
}

/// Splits an entry header (length, GUID) from the end.
fn split_header(bytes: &[u8]) -> Option<(&[u8], u16, &[u8; 16])> {
    let (rest, guid) = bytes.split_last_chunk::<16>()?;
    let (_, length) = rest.split_last_chunk::<2>()?;
    Some((bytes, u16::from_le_bytes(*length), guid))
}

/// The entries of the footer table, without the footer itself.
fn footer_table(image: &[u8]) -> Result<&[u8], LaunchError> {
    let end = image.len().saturating_sub(AFTER_FOOTER);
    let (bytes, length, guid) = image.get(..end).and_then(split_header).ok_or(LaunchError::NoFooter)?;
    if *guid != FOOTER {
        return Err(LaunchError::NoFooter);
    }
    let bad = LaunchError::FooterSize { got: length };
    let start = bytes.len().checked_sub(usize::from(length)).ok_or(bad.clone())?;
    let table = bytes.get(start..).ok_or(bad.clone())?;
    let entries = table.len().checked_sub(ENTRY_HEADER).ok_or(bad.clone())?;
    table.get(..entries).ok_or(bad)
}

#[derive(Default)]
struct Found<'a> {
    reset: Option<&'a [u8]>,
    hashes: Option<&'a [u8]>,
    metadata: Option<&'a [u8]>,
}

/// Walks the footer table from its end, as every reader of it does.
fn entries(mut table: &[u8]) -> Result<Found<'_>, LaunchError> {
    let mut found = Found::default();
    while !table.is_empty() {
        let end = table.len();
        let (bytes, length, guid) = split_header(table).ok_or(LaunchError::FooterRest { got: end })?;
        let bad = || LaunchError::EntrySize { end, got: length };
        let start = end.checked_sub(usize::from(length)).ok_or_else(bad)?;
        let (rest, entry) = bytes.split_at_checked(start).ok_or_else(bad)?;
        let data = entry.len().checked_sub(ENTRY_HEADER).and_then(|data| entry.get(..data)).ok_or_else(bad)?;
        let slot = match *guid {
            guid if guid == RESET.guid => Some((&mut found.reset, RESET)),
            guid if guid == HASHES.guid => Some((&mut found.hashes, HASHES)),
            guid if guid == METADATA.guid => Some((&mut found.metadata, METADATA)),
            _ => None,
        };
        if let Some((slot, kind)) = slot {
            if data.len() != kind.length {
                return Err(LaunchError::EntryLength { entry: kind.name, got: data.len(), expected: kind.length });
            }
            if slot.replace(data).is_some() {
                return Err(LaunchError::EntryTwice { entry: kind.name });
            }
        }
        table = rest;
    }
    Ok(found)
}

/// Reads and checks the sections of the SEV metadata.
fn sections(image: &[u8], offset: u32) -> Result<Vec<Section>, LaunchError> {
    let outside = || LaunchError::MetadataOffset { offset, firmware: image.len() };
    let start = usize::try_from(offset).ok().and_then(|offset| image.len().checked_sub(offset)).ok_or_else(outside)?;
    let metadata = image.get(start..).ok_or_else(outside)?;
    let (header, body) = metadata.split_at_checked(METADATA_HEADER).ok_or_else(outside)?;
    let signature = word(header, 0).to_le_bytes();
    if signature != *b"ASEV" {
        return Err(LaunchError::MetadataSignature { got: signature });
    }
    let (size, version, count) = (word(header, 4), word(header, 8), word(header, 12));
    if version != 1 {
        return Err(LaunchError::MetadataVersion { got: version });
    }
    if count > MAX_SECTIONS {
        return Err(LaunchError::TooManySections { got: count, limit: MAX_SECTIONS });
    }
    let bad_size = || LaunchError::MetadataSize { got: size, sections: count };
    let room = usize::try_from(size).ok().and_then(|size| size.checked_sub(METADATA_HEADER)).ok_or_else(bad_size)?;
    let needed = usize::try_from(count).ok().and_then(|count| count.checked_mul(SECTION)).ok_or_else(bad_size)?;
    let body = body.get(..room).and_then(|body| body.get(..needed)).ok_or_else(bad_size)?;

    let mut sections: Vec<Section> = Vec::with_capacity(body.len() / SECTION);
    let mut total = 0_u64;
    for (index, bytes) in body.chunks_exact(SECTION).enumerate() {
        let (gpa, size, code) = (word(bytes, 0), word(bytes, 4), word(bytes, 8));
        let kind = SectionKind::from_code(code).ok_or(LaunchError::SectionKind { index, kind: code })?;
        let section = Section { gpa, size, kind };
        let page = u32::try_from(PAGE).unwrap_or(u32::MAX);
        let whole = size != 0 && gpa.is_multiple_of(page) && size.is_multiple_of(page);
        if !whole || section.end() > END_OF_FIRMWARE || (kind.is_single_page() && size != page) {
            return Err(LaunchError::SectionShape { index, kind, gpa, size });
        }
        if section.end() > start_of(image) {
            return Err(LaunchError::SectionOverFirmware { index });
        }
        if let Some(first) = sections.iter().position(|other| other.overlaps(&section)) {
            return Err(LaunchError::SectionsOverlap { first, second: index });
        }
        if kind.is_single_page() && sections.iter().any(|other| other.kind == kind) {
            return Err(LaunchError::SectionTwice { second: index, kind });
        }
        total = total.saturating_add(u64::from(size));
        if total > MAX_SECTION_BYTES {
            return Err(LaunchError::SectionsTooLarge { got: total, limit: MAX_SECTION_BYTES });
        }
        sections.push(section);
    }
    Ok(sections)
}
