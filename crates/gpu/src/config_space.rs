//! PCI configuration space, and the one thing that is looked up in it.

/// LIMIT: what is read of it; PCI Express has 4096 bytes (PCI Express Base Specification, configuration space).
pub(crate) const MAX_CONFIG: u64 = 4096;
/// Where extended capabilities begin.
const EXTENDED: usize = 0x100;
/// The extended capability "designated vendor-specific".
const DVSEC: u32 = 0x23;

/// The bytes of a device's configuration space. A process without the right to see all of it sees 64 bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigSpace(pub Vec<u8>);

impl ConfigSpace {
    /// A word; `None` beyond the end.
    pub fn read32(&self, offset: usize) -> Option<u32> {
        let bytes = self.0.get(offset..)?.first_chunk::<4>()?;
        Some(u32::from_le_bytes(*bytes))
    }

    /// Where a vendor's capability of this id begins.
    pub(crate) fn designated(&self, vendor: u16, id: u16) -> Option<usize> {
        let mut offset = EXTENDED;
        // LIMIT: a capability takes at least 8 bytes, so there are at most 480; a list that goes in circles ends here.
        for _ in 0..480 {
            let header = self.read32(offset)?;
            if header & 0xffff == DVSEC {
                let owner = self.read32(offset + 4)? & 0xffff;
                let kind = self.read32(offset + 8)? & 0xffff;
                if owner == u32::from(vendor) && kind == u32::from(id) {
                    return Some(offset);
                }
            }
            // Bits 31 to 20 are the next one's offset, its lowest two reserved; 0 ends the list.
            offset = usize::try_from((header >> 20) & 0xffc).ok()?;
            if offset < EXTENDED {
                return None;
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(words: &[(usize, u32)]) -> ConfigSpace {
        let mut bytes = vec![0; 4096];
        for (offset, word) in words {
            bytes[*offset..offset + 4].copy_from_slice(&word.to_le_bytes());
        }
        ConfigSpace(bytes)
    }

    #[test]
    fn a_designated_capability_is_found_behind_others() {
        let space = space(&[
            (0x100, 0x2000_0001),
            (0x200, 0x3000_0023),
            (0x204, 0x8086),
            (0x300, 0xffc0_0023),
            (0x304, 0x10de),
            (0x308, 0x7),
            (0xffc, 0),
        ]);
        assert_eq!(space.designated(0x10de, 7), Some(0x300));
        assert_eq!(space.designated(0x10de, 8), None);
        assert_eq!(space.designated(0x8086, 0), Some(0x200));
    }

    #[test]
    fn short_spaces_circles_and_all_ones_have_none() {
        assert_eq!(ConfigSpace(vec![0; 64]).designated(0x10de, 0), None);
        assert_eq!(ConfigSpace(vec![0xff; 4096]).designated(0x10de, 0), None);
        assert_eq!(space(&[(0x100, 0x1000_0001)]).designated(0x10de, 0), None);
        assert_eq!(space(&[(0x100, 0x0400_0001)]).designated(0x10de, 0), None);
        assert_eq!(ConfigSpace(Vec::new()).read32(0), None);
    }
}
