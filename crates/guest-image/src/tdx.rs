//! What of a TD's measurements can be computed from the files it is started with: MRTD from the firmware, RTMR2 from the
//! kernel's command line.
//!
//! MRTD: Intel TDX Module base specification, "Measurement of the initial TD contents" (a SHA-384 over one record of 128 bytes for each
//! page that is added, and one with 256 bytes of contents for each chunk that is measured), in the order of the TDVF metadata
//! (Intel TDX Virtual Firmware Design Guide, section 11; edk2, `OvmfPkg/ResetVector/X64/IntelTdxMetadata.asm`), page by page,
//! as Linux' KVM does it. RTMR2: Linux' EFI stub measures the load options, which are the command line in UTF-16 with its zero.
//!
//! Not computed, because the host's machine model goes into them: RTMR0 (the list of memory and the ACPI tables that QEMU makes for this
//! number of vCPUs, this memory and these devices) and RTMR1 (the kernel as QEMU hands it to the firmware, with fields filled in).
//! `casemate reference-values from` takes them from a machine that has booted the same kernel; the image does not change them.

use aws_lc_rs::digest::{Context, SHA384, digest};
use protocol::digest::Measurement;
use serde::Serialize;

use crate::source::Fields as _;

/// LIMIT: firmware, as QEMU maps it.
pub const MAX_FIRMWARE: usize = 16 << 20;
/// LIMIT: sections. TDVF lists six or seven.
const MAX_SECTIONS: usize = 64;
/// LIMIT: pages that are added before the TD runs; TDVF's lie below 16 MiB, and its firmware below 4 GiB has at most as much.
const MAX_PAGES: u64 = 2 * (16 << 20) / PAGE;
const PAGE: u64 = 4096;
const CHUNK: u64 = 256;
/// 96b582de-1fb2-45f7-baea-a366c55a082d: the end of OVMF's table.
const TABLE: [u8; 16] =
    [0xde, 0x82, 0xb5, 0x96, 0xb2, 0x1f, 0xf7, 0x45, 0xba, 0xea, 0xa3, 0x66, 0xc5, 0x5a, 0x08, 0x2d];
/// e47a6535-984a-4798-865e-4685a7bf8ec2: where the TDX metadata are, counted from the end.
const METADATA: [u8; 16] =
    [0x35, 0x65, 0x7a, 0xe4, 0x4a, 0x98, 0x98, 0x47, 0x86, 0x5e, 0x46, 0x85, 0xa7, 0xbf, 0x8e, 0xc2];
/// Attributes of a section: its contents are measured; its pages are added later.
const EXTEND: u32 = 1;
const LATER: u32 = 2;

/// Firmware that no TD is started with.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TdxError {
    /// Larger than QEMU maps.
    #[error("firmware has {got} bytes, at most {MAX_FIRMWARE} are read")]
    TooLarge {
        /// Its bytes.
        got: usize,
    },
    /// There is no table, or the table has no entry for TDX.
    #[error("firmware has no TDX metadata: no OVMF, or one without TDX")]
    NoMetadata,
    /// The metadata are not what they should be.
    #[error("TDX metadata: {reason}")]
    Metadata {
        /// What is wrong.
        reason: &'static str,
    },
    /// A section that cannot be.
    #[error("section {index} of the TDX metadata: {reason}")]
    Section {
        /// Which, from 0.
        index: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// A register that is not computed, and why.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct NotComputed {
    /// Its name.
    pub register: &'static str,
    /// Why not.
    pub why: &'static str,
}

/// What cannot be computed.
pub const NOT_COMPUTED: [NotComputed; 2] = [
    NotComputed {
        register: "rtmr0",
        why: "the host's QEMU puts memory, vCPUs and devices into it; take it from a machine's own Evidence",
    },
    NotComputed {
        register: "rtmr1",
        why: "the kernel as the host's QEMU hands it over; take it from a machine's own Evidence, the image does not change it",
    },
];

struct Section<'a> {
    contents: &'a [u8],
    address: u64,
    size: u64,
    attributes: u32,
}

/// MRTD of a firmware.
pub fn mrtd(firmware: &[u8]) -> Result<Measurement, TdxError> {
    let sections = sections(firmware)?;
    let mut context = Context::new(&SHA384);
    let mut pages = 0;
    for (index, section) in sections.iter().enumerate() {
        if section.attributes & LATER != 0 {
            continue;
        }
        for page in 0..section.size / PAGE {
            pages += 1;
            if pages > MAX_PAGES {
                return Err(TdxError::Section { index, reason: "more memory than any firmware uses before it runs" });
            }
            let at = section.address.saturating_add(page * PAGE);
            context.update(&record(b"MEM.PAGE.ADD", at));
            if section.attributes & EXTEND == 0 {
                continue;
            }
            for chunk in 0..PAGE / CHUNK {
                let inner = page * PAGE + chunk * CHUNK;
                context.update(&record(b"MR.EXTEND", at + chunk * CHUNK));
                let from = usize::try_from(inner).unwrap_or(usize::MAX);
                // What the file does not have is zero.
                let mut bytes = [0; 256];
                for (to, from) in bytes.iter_mut().zip(section.contents.get(from..).unwrap_or_default()) {
                    *to = *from;
                }
                context.update(&bytes);
            }
        }
    }
    Ok(measurement(context.finish().as_ref()))
}

/// RTMR2 of a guest that has this command line, no initrd, and nothing else that measures into it before it is asked.
pub fn rtmr2(command_line: &str) -> Measurement {
    let options: Vec<u8> = command_line.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
    let event = digest(&SHA384, &options);
    let mut context = Context::new(&SHA384);
    context.update(&[0; 48]);
    context.update(event.as_ref());
    measurement(context.finish().as_ref())
}

fn measurement(bytes: &[u8]) -> Measurement {
    // PANIC-FREE: SHA-384 gives 48 bytes; were it not so, zero is no measurement of anything.
    Measurement::from_bytes(bytes.first_chunk().copied().unwrap_or([0; 48]))
}

fn record(name: &[u8], address: u64) -> [u8; 128] {
    let mut record = [0; 128];
    for (to, from) in record.iter_mut().zip(name) {
        *to = *from;
    }
    for (to, from) in record.iter_mut().skip(16).zip(address.to_le_bytes()) {
        *to = from;
    }
    record
}

fn sections(firmware: &[u8]) -> Result<Vec<Section<'_>>, TdxError> {
    if firmware.len() > MAX_FIRMWARE {
        return Err(TdxError::TooLarge { got: firmware.len() });
    }
    let from_end = entry(firmware).ok_or(TdxError::NoMetadata)?;
    let wrong = |reason| TdxError::Metadata { reason };
    let start = firmware.len().checked_sub(from_end).ok_or_else(|| wrong("they begin before the firmware does"))?;
    let metadata = firmware.get(start..).unwrap_or_default();
    if metadata.get(..4) != Some(b"TDVF") {
        return Err(wrong("they do not begin with `TDVF`"));
    }
    if metadata.u32_at(8) != Some(1) {
        return Err(wrong("they are not of version 1"));
    }
    let count = metadata.u32_at(12).and_then(|count| usize::try_from(count).ok()).unwrap_or(usize::MAX);
    if count == 0 || count > MAX_SECTIONS {
        return Err(wrong("they list no section, or more than any firmware has"));
    }
    let mut sections = Vec::new();
    for index in 0..count {
        let raw = metadata.get(16 + index * 32..48 + index * 32).ok_or_else(|| wrong("they end before their list"))?;
        let u32 = |at| raw.u32_at(at).unwrap_or_default();
        let wrong = |reason| TdxError::Section { index, reason };
        let (offset, length) = (u32(0), u32(4));
        let (address, size) = (raw.u64_at(8).unwrap_or_default(), raw.u64_at(16).unwrap_or_default());
        if address % PAGE != 0 || size % PAGE != 0 || address.checked_add(size).is_none() {
            return Err(wrong("it is not whole pages"));
        }
        let range = usize::try_from(offset).ok().zip(usize::try_from(length).ok());
        let contents = range.and_then(|(offset, length)| firmware.get(offset..offset.checked_add(length)?));
        let contents = contents.ok_or_else(|| wrong("its contents are not in the firmware"))?;
        if contents.len() as u64 > size {
            return Err(wrong("its contents are larger than its memory"));
        }
        sections.push(Section { contents, address, size, attributes: u32(28) });
    }
    Ok(sections)
}

/// The entry for TDX in OVMF's table, which is read from its end: each entry has its contents, its length and its name.
fn entry(firmware: &[u8]) -> Option<usize> {
    let end = firmware.len().checked_sub(32)?;
    if firmware.get(end - 16..end)? != TABLE {
        return None;
    }
    let length = usize::from(firmware.u16_at(end - 18)?);
    let floor = end.checked_sub(length)?;
    let mut at = end - 18;
    while at >= floor + 18 {
        let length = usize::from(firmware.u16_at(at - 18)?);
        let begin = at.checked_sub(length).filter(|begin| *begin >= floor && length >= 18)?;
        if firmware.get(at - 16..at)? == METADATA {
            return (length == 22).then(|| firmware.u32_at(begin)).flatten().and_then(|at| usize::try_from(at).ok());
        }
        at = begin;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A firmware of two pages: four sections, the table at its end.
    fn firmware() -> Vec<u8> {
        let mut image = vec![0x11; 8192];
        let metadata: usize = 4096;
        image[metadata..metadata + 4].copy_from_slice(b"TDVF");
        for (at, value) in [(4, 144_u32), (8, 1), (12, 4)] {
            image[metadata + at..metadata + at + 4].copy_from_slice(&value.to_le_bytes());
        }
        let sections: [(u32, u32, u64, u64, u32, u32); 4] = [
            (0, 4096, 0xffff_e000, 4096, 0, EXTEND),
            (0, 100, 0xffff_f000, 4096, 1, EXTEND),
            (0, 0, 0x80_9000, 8192, 2, 0),
            (0, 0, 0x10_0000, 4096, 4, LATER),
        ];
        for (index, (offset, length, address, size, kind, attributes)) in sections.into_iter().enumerate() {
            let at = metadata + 16 + index * 32;
            image[at..at + 4].copy_from_slice(&offset.to_le_bytes());
            image[at + 4..at + 8].copy_from_slice(&length.to_le_bytes());
            image[at + 8..at + 16].copy_from_slice(&address.to_le_bytes());
            image[at + 16..at + 24].copy_from_slice(&size.to_le_bytes());
            image[at + 24..at + 28].copy_from_slice(&kind.to_le_bytes());
            image[at + 28..at + 32].copy_from_slice(&attributes.to_le_bytes());
        }
        // The table: one entry of no interest, ours, and the end.
        let mut table = vec![7; 4];
        table.extend_from_slice(&22_u16.to_le_bytes());
        table.extend_from_slice(&[9; 16]);
        table.extend_from_slice(&4096_u32.to_le_bytes());
        table.extend_from_slice(&22_u16.to_le_bytes());
        table.extend_from_slice(&METADATA);
        let length = u16::try_from(table.len() + 18).unwrap();
        table.extend_from_slice(&length.to_le_bytes());
        table.extend_from_slice(&TABLE);
        let end = image.len() - 32;
        image[end - table.len()..end].copy_from_slice(&table);
        image
    }

    #[test]
    fn mrtd_is_that_of_the_records_written_out_one_by_one() {
        let image = firmware();
        let mut stream = Vec::new();
        let mut add = |name: &[u8], address: u64, contents: &[u8]| {
            let mut record = name.to_vec();
            record.resize(16, 0);
            record.extend_from_slice(&address.to_le_bytes());
            record.resize(128, 0);
            stream.extend_from_slice(&record);
            stream.extend_from_slice(contents);
        };
        let mut second = image[..100].to_vec();
        second.resize(4096, 0);
        for (address, contents) in [(0xffff_e000, &image[..4096]), (0xffff_f000, &second)] {
            add(b"MEM.PAGE.ADD", address, &[]);
            for (index, chunk) in contents.chunks(256).enumerate() {
                add(b"MR.EXTEND", address + index as u64 * 256, chunk);
            }
        }
        add(b"MEM.PAGE.ADD", 0x80_9000, &[]);
        add(b"MEM.PAGE.ADD", 0x80_a000, &[]);
        assert_eq!(mrtd(&image).unwrap(), measurement(digest(&SHA384, &stream).as_ref()));
    }

    #[test]
    fn damaged_firmware_is_one_named_error() {
        let good = firmware();
        let with = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut image = good.clone();
            change(&mut image);
            mrtd(&image).unwrap_err().to_string()
        };
        let set = |at: usize, bytes: &'static [u8]| {
            move |image: &mut Vec<u8>| image[at..at + bytes.len()].copy_from_slice(bytes)
        };
        for (expected, error) in [
            ("no TDX metadata", with(&Vec::clear)),
            ("no TDX metadata", with(&|image| image.truncate(8191))),
            ("no TDX metadata", with(&set(8192 - 33, &[0]))),
            ("no TDX metadata", with(&set(8192 - 32 - 18 - 1, &[0]))),
            ("do not begin with `TDVF`", with(&set(4096, b"X"))),
            ("not of version 1", with(&set(4104, &[2]))),
            ("list no section", with(&set(4108, &[0]))),
            ("list no section", with(&set(4108, &[255]))),
            ("section 0 of the TDX metadata: it is not whole pages", with(&set(4112 + 8, &[1]))),
            ("contents are not in the firmware", with(&set(4112, &[0xff, 0xff]))),
            ("larger than its memory", with(&set(4112 + 4, &[0, 0x20]))),
            ("more memory than", with(&set(4112 + 64 + 16 + 4, &[1]))),
        ] {
            assert!(error.contains(expected), "{expected}: {error}");
        }
        assert!(matches!(mrtd(&vec![0; MAX_FIRMWARE + 1]), Err(TdxError::TooLarge { .. })));
    }

    #[test]
    fn rtmr2_changes_with_every_letter_of_the_command_line() {
        // SHA-384 of 48 zeros and of the SHA-384 of `61 00 00 00`, by another program.
        let one = rtmr2("a");
        assert_eq!(one.to_string(), RTMR2_OF_A);
        assert_ne!(one, rtmr2("b"));
        assert_ne!(one, rtmr2("a "));
    }

    const RTMR2_OF_A: &str =
        "4e887c4266bae367bce6bce4d73e0db554328c8d0e8becaa5e95813ee2708d9e7d179d409991da1d6af9ddbdc647be9d";
}
