//! Firmware images that look like OVMF to whoever measures a launch, and can be wrong in one place at a time.
//!
//! Layout as in edk2's `OvmfPkg/ResetVector`: code, SEV metadata, the GUIDed footer table, 32 bytes of reset vector.

/// A section kind of the SEV metadata, as a number.
pub mod kind {
    /// Memory before the firmware accepts any.
    pub const SEC_MEMORY: u32 = 1;
    /// The secrets page.
    pub const SECRETS: u32 = 2;
    /// The CPUID page.
    pub const CPUID: u32 = 3;
    /// The calling area of an SVSM.
    pub const SVSM_CALLING_AREA: u32 = 4;
    /// The page of kernel hashes.
    pub const KERNEL_HASHES: u32 = 0x10;
}

/// The GUIDs of the footer table, as they lie in memory.
pub mod guid {
    /// The footer table itself.
    pub const FOOTER: [u8; 16] = *b"\xde\x82\xb5\x96\xb2\x1f\xf7\x45\xba\xea\xa3\x66\xc5\x5a\x08\x2d";
    /// The SEV-ES reset block.
    pub const RESET: [u8; 16] = *b"\xde\x71\xf7\x00\x7e\x1a\xcb\x4f\x89\x0e\x68\xc7\x7e\x2f\xb4\x4e";
    /// The table of kernel hashes.
    pub const HASHES: [u8; 16] = *b"\x1f\x37\x55\x72\x3b\x3a\x04\x4b\x92\x7b\x1d\xa6\xef\xa8\xd4\x54";
    /// The SEV metadata.
    pub const METADATA: [u8; 16] = *b"\x66\x65\x88\xdc\x4a\x98\x98\x47\xa7\x5e\x55\x85\xa7\xbf\x67\xcc";
}

/// An entry of the footer table.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its GUID, as it lies in memory.
    pub guid: [u8; 16],
    /// Its data.
    pub data: Vec<u8>,
    /// Its length field, if that is to be wrong.
    pub length: Option<u16>,
}

/// A section of the SEV metadata.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// Guest-physical address.
    pub gpa: u32,
    /// Bytes.
    pub size: u32,
    /// One of [`kind`], or not.
    pub kind: u32,
}

/// A firmware to be built. [`Ovmf::default`] is one that every reader accepts; each field can be changed.
#[derive(Clone, Debug)]
pub struct Ovmf {
    /// How many pages.
    pub pages: usize,
    /// What its code looks like: the pages differ from each other and from those of another seed.
    pub seed: u8,
    /// Address at which application processors start; `None` leaves the entry out.
    pub reset_eip: Option<u32>,
    /// Base and size of the table of kernel hashes; `None` leaves the entry out.
    pub hashes: Option<(u32, u32)>,
    /// Whether the footer table points to the SEV metadata.
    pub metadata: bool,
    /// Sections of the SEV metadata.
    pub sections: Vec<Section>,
    /// Further entries, in memory before the others, so read after them.
    pub extra: Vec<Entry>,
    /// The footer's own GUID.
    pub footer: [u8; 16],
    /// The footer's length field, if that is to be wrong.
    pub footer_length: Option<u16>,
    /// Where the footer table says that the metadata are, from the end, if that is to be wrong.
    pub metadata_offset: Option<u32>,
    /// Signature of the metadata.
    pub metadata_signature: [u8; 4],
    /// Version of the metadata.
    pub metadata_version: u32,
    /// Length field of the metadata, if that is to be wrong.
    pub metadata_length: Option<u32>,
    /// Number of sections that the metadata claim, if that is to be wrong.
    pub metadata_count: Option<u32>,
    /// Bytes cut off the end of the image, so that it is no longer whole pages.
    pub cut: usize,
}

impl Default for Ovmf {
    /// The sections of OVMF's AmdSev build, scaled down: memory, secrets, CPUID, memory, an SVSM's calling area, kernel
    /// hashes.
    fn default() -> Self {
        let section = |gpa, size, kind| Section { gpa, size, kind };
        Self {
            pages: 4,
            seed: 1,
            reset_eip: Some(0x0080_b004),
            hashes: Some((0x0081_0c00, 0x400)),
            metadata: true,
            sections: vec![
                section(0x0080_0000, 0x9000, kind::SEC_MEMORY),
                section(0x0080_a000, 0x3000, kind::SEC_MEMORY),
                section(0x0080_d000, 0x1000, kind::SECRETS),
                section(0x0080_e000, 0x1000, kind::CPUID),
                section(0x0080_f000, 0x1000, kind::SVSM_CALLING_AREA),
                section(0x0081_1000, 0xf000, kind::SEC_MEMORY),
                section(0x0081_0000, 0x1000, kind::KERNEL_HASHES),
            ],
            extra: Vec::new(),
            footer: guid::FOOTER,
            footer_length: None,
            metadata_offset: None,
            metadata_signature: *b"ASEV",
            metadata_version: 1,
            metadata_length: None,
            metadata_count: None,
            cut: 0,
        }
    }
}

impl Ovmf {
    /// A firmware that checks no kernel, as OVMF's general build.
    pub fn without_kernel_hashes() -> Self {
        let mut ovmf = Self { hashes: None, ..Self::default() };
        ovmf.sections.retain(|section| section.kind != kind::KERNEL_HASHES);
        ovmf
    }

    /// The image.
    ///
    /// # Panics
    /// When the tables do not fit into the pages.
    pub fn build(&self) -> Vec<u8> {
        let size = self.pages * 4096;
        // No two pages are alike.
        let mut image: Vec<u8> =
            (0..size).map(|at| byte(at % 251) ^ byte(at / 4096 % 256) ^ self.seed.wrapping_mul(37)).collect();

        let metadata = self.metadata_bytes();
        let mut table = Vec::new();
        let word = |value: u32| value.to_le_bytes().to_vec();
        let mut entries = self.extra.clone();
        let mut entry = |guid, data| entries.push(Entry { guid, data, length: None });
        if let Some((base, size)) = self.hashes {
            entry(guid::HASHES, [word(base), word(size)].concat());
        }
        if self.metadata {
            // The metadata lie right before the table, whose length does not depend on where they are.
            entry(guid::METADATA, word(0));
        }
        if let Some(eip) = self.reset_eip {
            entry(guid::RESET, word(eip));
        }
        let after: usize = entries.iter().map(|entry| entry.data.len() + 18).sum::<usize>() + 18 + 32;
        let offset = word(self.metadata_offset.unwrap_or(long(after + metadata.len())));
        for entry in &entries {
            let is_ours = entry.guid == guid::METADATA && entry.data == word(0);
            table.extend_from_slice(if is_ours { &offset } else { &entry.data });
            table.extend_from_slice(&entry.length.unwrap_or(short(entry.data.len() + 18)).to_le_bytes());
            table.extend_from_slice(&entry.guid);
        }
        table.extend_from_slice(&self.footer_length.unwrap_or(short(table.len() + 18)).to_le_bytes());
        table.extend_from_slice(&self.footer);

        let start = size - 32 - table.len() - metadata.len();
        let tail = [metadata, table].concat();
        image[start..start + tail.len()].copy_from_slice(&tail);
        image.truncate(size - self.cut);
        image
    }

    fn metadata_bytes(&self) -> Vec<u8> {
        let length = long(16 + 12 * self.sections.len());
        let mut bytes = self.metadata_signature.to_vec();
        let mut word = |value: u32| bytes.extend_from_slice(&value.to_le_bytes());
        word(self.metadata_length.unwrap_or(length));
        word(self.metadata_version);
        word(self.metadata_count.unwrap_or(long(self.sections.len())));
        for section in &self.sections {
            word(section.gpa);
            word(section.size);
            word(section.kind);
        }
        bytes
    }
}

fn byte(value: usize) -> u8 {
    u8::try_from(value).expect("a byte")
}

fn short(value: usize) -> u16 {
    u16::try_from(value).expect("a table of less than 64 KiB")
}

fn long(value: usize) -> u32 {
    u32::try_from(value).expect("a firmware of less than 4 GiB")
}
