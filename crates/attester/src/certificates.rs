//! The certificate table of an extended SEV-SNP report (AMD 56421, section 4.1.8.1): entries of a GUID, an offset from
//! the beginning of the table and a length, the last one all zeros, then the documents. It is the host's word and only
//! passed on; here it is cut where it ends, and put together from parts.

/// GUID, offset, length.
const ENTRY: usize = 24;
/// LIMIT: the standard knows five GUIDs; providers add one or two of their own.
const MAX_ENTRIES: usize = 16;

/// 63da758d-e664-4564-adc5-f4b93be8accd.
pub(crate) const VCEK: [u8; 16] = 0x63da_758d_e664_4564_adc5_f4b9_3be8_accd_u128.to_be_bytes();
/// a8074bc2-a25a-483e-aae6-39c045a0b8a1.
pub(crate) const VLEK: [u8; 16] = 0xa807_4bc2_a25a_483e_aae6_39c0_45a0_b8a1_u128.to_be_bytes();
/// 4ab7b379-bbac-4fe4-a02f-05aef327c782.
pub(crate) const ASK: [u8; 16] = 0x4ab7_b379_bbac_4fe4_a02f_05ae_f327_c782_u128.to_be_bytes();
/// c0b406a4-a803-4952-9743-3fb6014cd0ae.
pub(crate) const ARK: [u8; 16] = 0xc0b4_06a4_a803_4952_9743_3fb6_014c_d0ae_u128.to_be_bytes();
/// 92f81bc3-5811-4d3d-97ff-d19f88dc67ea.
pub(crate) const CRL: [u8; 16] = 0x92f8_1bc3_5811_4d3d_97ff_d19f_88dc_67ea_u128.to_be_bytes();

/// The table without what stands behind it: buffers are whole pages. Empty when the host gave no certificates. A table
/// that makes no sense is given whole: whoever verifies says what is wrong with it.
pub(crate) fn trimmed(table: &[u8]) -> &[u8] {
    let mut end = 0;
    for (index, entry) in table.chunks_exact(ENTRY).enumerate() {
        if entry.iter().all(|byte| *byte == 0) {
            // The entry of zeros ends the list; without any other there is nothing.
            let list = if index == 0 { 0 } else { (index + 1) * ENTRY };
            return table.get(..list.max(end)).unwrap_or(table);
        }
        if index == MAX_ENTRIES {
            break;
        }
        let number = |at: usize| {
            entry
                .get(at..at + 4)
                .and_then(|bytes| bytes.try_into().ok())
                .map_or(usize::MAX, |bytes| usize::try_from(u32::from_le_bytes(bytes)).unwrap_or(usize::MAX))
        };
        end = end.max(number(16).saturating_add(number(20)));
    }
    table
}

/// A table of these documents; `None` when they are too long for one.
pub(crate) fn table(documents: &[([u8; 16], Vec<u8>)]) -> Option<Vec<u8>> {
    if documents.is_empty() {
        return Some(Vec::new());
    }
    let mut offset = u32::try_from((documents.len() + 1) * ENTRY).ok()?;
    let mut table = Vec::new();
    let mut content: Vec<u8> = Vec::new();
    for (guid, document) in documents {
        let length = u32::try_from(document.len()).ok()?;
        table.extend(guid);
        table.extend(offset.to_le_bytes());
        table.extend(length.to_le_bytes());
        offset = offset.checked_add(length)?;
        content.extend(document);
    }
    table.extend([0; ENTRY]);
    table.extend(content);
    Some(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> Vec<u8> {
        table(&[(VCEK, b"vcek".to_vec()), (ASK, b"authority".to_vec())]).unwrap()
    }

    #[test]
    fn pages_end_where_the_table_ends() {
        let exact = two();
        assert_eq!(exact.len(), 3 * ENTRY + 4 + 9);
        for pages in [0, 1, 4096, 16384] {
            let padded = [exact.clone(), vec![0; pages]].concat();
            assert_eq!(trimmed(&padded), exact);
        }
    }

    #[test]
    fn no_certificates_are_no_table() {
        for zeros in [0, ENTRY, 16384] {
            assert_eq!(trimmed(&vec![0; zeros]), [0; 0]);
        }
        assert_eq!(table(&[]), Some(vec![]));
    }

    #[test]
    fn a_table_that_makes_no_sense_is_left_to_the_verifier() {
        let mut outside = two();
        outside[16..20].copy_from_slice(&u32::MAX.to_le_bytes());
        let endless = vec![1; 16384];
        let cut = two()[..30].to_vec();
        for table in [outside, endless, cut, vec![1; 5]] {
            assert_eq!(trimmed(&table), table);
        }
    }
}
