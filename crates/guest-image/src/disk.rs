//! The partition table of a guest image: a master boot record with the root file system in the first partition and its hash
//! tree in the second.
//!
//! Kata builds its images so (kata-containers, `tools/osbuilder/image-builder/image_builder.sh`); where an image also has a
//! header for NVDIMM, this is the first of its two records, which is the one that virtio-blk shows.

use crate::source::{Fields as _, ReadAt};

/// Bytes of a sector.
pub const SECTOR: u64 = 512;
/// Where the first partition begins, and to what all are aligned.
pub const ALIGN: u64 = 1 << 20;
/// `Linux`, in the record.
const LINUX: u8 = 0x83;
/// Where the four entries are.
const ENTRIES: usize = 446;

/// A partition, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Partition {
    /// Where it begins.
    pub start: u64,
    /// How long it is.
    pub size: u64,
}

/// A disk that has no such table.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiskError {
    /// It ends before the record does.
    #[error("the image ends after {bytes} bytes, before its partition table does")]
    Short {
        /// Its size.
        bytes: u64,
    },
    /// There is no record.
    #[error("the image has no partition table (no master boot record)")]
    NoTable,
    /// It has another kind of table.
    #[error("the image has a GUID partition table, and Kata's have a master boot record")]
    Gpt,
    /// There is no first partition.
    #[error("the image has no first partition")]
    NoRoot,
    /// A partition that is not on the disk.
    #[error("partition {number} reaches from byte {start} to {end}, and the image has {size}")]
    Outside {
        /// From 1.
        number: usize,
        /// Where it begins.
        start: u64,
        /// Where it would end.
        end: u64,
        /// Bytes of the image.
        size: u64,
    },
    /// Two partitions share a sector.
    #[error("the first two partitions overlap")]
    Overlap,
    /// More than the record can say.
    #[error("{bytes} bytes do not fit into a master boot record, which holds 2 TiB")]
    TooLarge {
        /// How many there would be.
        bytes: u64,
    },
}

/// The first partition and, if there is one, the second.
pub fn partitions(image: &dyn ReadAt) -> Result<(Partition, Option<Partition>), DiskError> {
    let mut record = vec![0; 512];
    image.read_exact_at(&mut record, 0).map_err(|_| DiskError::Short { bytes: image.size() })?;
    if record.get(510..) != Some(&[0x55, 0xaa]) {
        return Err(DiskError::NoTable);
    }
    let entry = |number: usize| -> Result<Option<Partition>, DiskError> {
        let at = ENTRIES + (number - 1) * 16;
        let kind = record.u8_at(at + 4).unwrap_or_default();
        let field = |inner: usize| u64::from(record.u32_at(at + inner).unwrap_or_default()) * SECTOR;
        let (start, size) = (field(8), field(12));
        match kind {
            0 => return Ok(None),
            0xee => return Err(DiskError::Gpt),
            _ => {}
        }
        let end = start + size;
        if start == 0 || size == 0 || end > image.size() {
            return Err(DiskError::Outside { number, start, end, size: image.size() });
        }
        Ok(Some(Partition { start, size }))
    };
    let first = entry(1)?.ok_or(DiskError::NoRoot)?;
    let second = entry(2)?;
    if let Some(second) = second
        && first.start < second.start + second.size
        && second.start < first.start + first.size
    {
        return Err(DiskError::Overlap);
    }
    Ok((first, second))
}

/// Where two partitions of these sizes lie, and the size of the whole.
pub fn layout(root: u64, tree: u64) -> Result<([Partition; 2], u64), DiskError> {
    let first = Partition { start: ALIGN, size: root };
    let second = Partition { start: (ALIGN + root).next_multiple_of(ALIGN), size: tree };
    let bytes = (second.start + second.size).next_multiple_of(ALIGN);
    if bytes / SECTOR > u64::from(u32::MAX) {
        return Err(DiskError::TooLarge { bytes });
    }
    Ok(([first, second], bytes))
}

/// The record for them. Its disk signature is zero and its addresses are logical ones: nothing in it differs from build to
/// build.
pub fn record(partitions: &[Partition; 2]) -> Result<[u8; 512], DiskError> {
    let mut record = [0; 512];
    let mut set = |at: usize, bytes: &[u8]| {
        if let Some(part) = record.get_mut(at..at + bytes.len()) {
            part.copy_from_slice(bytes);
        }
    };
    for (number, partition) in partitions.iter().enumerate() {
        let at = ENTRIES + number * 16;
        let sectors = |bytes: u64| u32::try_from(bytes / SECTOR).map_err(|_| DiskError::TooLarge { bytes });
        // No cylinders: 0xfffeff says so.
        let flag = if number == 0 { 0x80 } else { 0 };
        set(at, &[flag, 0xfe, 0xff, 0xff, LINUX, 0xfe, 0xff, 0xff]);
        set(at + 8, &sectors(partition.start)?.to_le_bytes());
        set(at + 12, &sectors(partition.size)?.to_le_bytes());
    }
    set(510, &[0x55, 0xaa]);
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read_as_it_was_written() {
        let (parts, bytes) = layout(3 << 20, 8192).unwrap();
        let mut image = vec![0; usize::try_from(bytes).unwrap()];
        image[..512].copy_from_slice(&record(&parts).unwrap());
        assert_eq!(partitions(&image).unwrap(), (parts[0], Some(parts[1])));
        assert_eq!(bytes % ALIGN, 0);
    }

    #[test]
    fn a_table_that_lies_is_one_named_error() {
        let (parts, bytes) = layout(1 << 20, 4096).unwrap();
        let mut image = vec![0; usize::try_from(bytes).unwrap()];
        image[..512].copy_from_slice(&record(&parts).unwrap());
        let with = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut image = image.clone();
            change(&mut image);
            partitions(&image).unwrap_err()
        };
        assert_eq!(with(&|image| image.truncate(511)), DiskError::Short { bytes: 511 });
        assert_eq!(with(&|image| image[510] = 0), DiskError::NoTable);
        assert_eq!(with(&|image| image[450] = 0), DiskError::NoRoot);
        assert_eq!(with(&|image| image[450] = 0xee), DiskError::Gpt);
        assert_eq!(with(&|image| image[470..474].copy_from_slice(&2100_u32.to_le_bytes())), DiskError::Overlap);
        for at in [454, 458] {
            let error = with(&|image| image[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes()));
            assert!(matches!(error, DiskError::Outside { number: 1, .. }), "{error}");
        }
        assert!(matches!(with(&|image| image[454..458].fill(0)), DiskError::Outside { start: 0, .. }));
        assert!(matches!(layout(3 << 40, 0), Err(DiskError::TooLarge { .. })));
    }
}
