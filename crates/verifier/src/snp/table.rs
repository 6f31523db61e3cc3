//! The certificate table of an extended report: what the host adds so that nobody has to fetch certificates.
//!
//! Layout: AMD, "SEV-ES Guest-Hypervisor Communication Block Standardization" (56421), section 4.1.8.1: entries of a GUID,
//! an offset from the beginning of the table and a length, the last one all zeros, then the documents. All of it is the
//! host's word: a certificate from here is checked like any other.

/// LIMIT: Linux guests give the host 16 KiB for the table (`SEV_FW_BLOB_MAX_SIZE`); twice that leaves room for CRLs.
pub const MAX_TABLE: usize = 32 * 1024;
/// LIMIT: the standard knows five GUIDs; providers add one or two of their own.
pub const MAX_ENTRIES: usize = 16;
/// GUID, offset, length.
const ENTRY_LEN: usize = 24;

/// Why bytes are no certificate table.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// Longer than [`MAX_TABLE`].
    #[error("{got} bytes, at most {MAX_TABLE} are read")]
    TooLong {
        /// Its length.
        got: usize,
    },
    /// No entry of zeros ends it.
    #[error("no end after {entries} entries")]
    NoEnd {
        /// Entries seen.
        entries: usize,
    },
    /// More than [`MAX_ENTRIES`].
    #[error("more than {MAX_ENTRIES} entries")]
    TooMany,
    /// An entry points outside the table, or into the entries.
    #[error("entry {index} points at {length} bytes at {offset}, outside the table")]
    Outside {
        /// Which, from 0.
        index: usize,
        /// Its offset.
        offset: u32,
        /// Its length.
        length: u32,
    },
    /// Two entries of one kind: which one is meant?
    #[error("entry {index} repeats the GUID of an earlier one")]
    Repeated {
        /// Which, from 0.
        index: usize,
    },
}

/// What an entry holds (56421, section 4.1.8.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Content {
    /// The certificate of the chip's key.
    Vcek,
    /// The certificate of the provider's key.
    Vlek,
    /// The intermediate, of either kind.
    Ask,
    /// The root. It is not believed: the anchor is compiled in.
    Ark,
    /// A revocation list.
    Crl,
    /// A provider's own.
    Other,
}

/// 63da758d-e664-4564-adc5-f4b93be8accd, written in the order of its text, as all GUIDs of this table are.
const VCEK_GUID: [u8; 16] = 0x63da_758d_e664_4564_adc5_f4b9_3be8_accd_u128.to_be_bytes();
/// a8074bc2-a25a-483e-aae6-39c045a0b8a1.
const VLEK_GUID: [u8; 16] = 0xa807_4bc2_a25a_483e_aae6_39c0_45a0_b8a1_u128.to_be_bytes();
/// 4ab7b379-bbac-4fe4-a02f-05aef327c782.
const ASK_GUID: [u8; 16] = 0x4ab7_b379_bbac_4fe4_a02f_05ae_f327_c782_u128.to_be_bytes();
/// c0b406a4-a803-4952-9743-3fb6014cd0ae.
const ARK_GUID: [u8; 16] = 0xc0b4_06a4_a803_4952_9743_3fb6_014c_d0ae_u128.to_be_bytes();
/// 92f81bc3-5811-4d3d-97ff-d19f88dc67ea.
const CRL_GUID: [u8; 16] = 0x92f8_1bc3_5811_4d3d_97ff_d19f_88dc_67ea_u128.to_be_bytes();

impl Content {
    const fn of(guid: [u8; 16]) -> Self {
        match guid {
            VCEK_GUID => Self::Vcek,
            VLEK_GUID => Self::Vlek,
            ASK_GUID => Self::Ask,
            ARK_GUID => Self::Ark,
            CRL_GUID => Self::Crl,
            _ => Self::Other,
        }
    }
}

/// The documents of a table.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CertificateTable<'a> {
    entries: Vec<(Content, &'a [u8])>,
}

impl<'a> CertificateTable<'a> {
    /// Parses what follows a report. Nothing at all is an empty table.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, TableError> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        if bytes.len() > MAX_TABLE {
            return Err(TableError::TooLong { got: bytes.len() });
        }
        let headers = header_count(bytes)?;
        let first_document = headers.saturating_add(1).saturating_mul(ENTRY_LEN);
        let mut entries = Vec::with_capacity(headers);
        let mut guids: Vec<[u8; 16]> = Vec::with_capacity(headers);
        for (index, entry) in bytes.chunks_exact(ENTRY_LEN).take(headers).enumerate() {
            let Some((guid, offset, length)) = split_entry(entry) else { break };
            let outside = || TableError::Outside { index, offset, length };
            let start = usize::try_from(offset).map_err(|_| outside())?;
            let end = start.checked_add(usize::try_from(length).map_err(|_| outside())?).ok_or_else(outside)?;
            if start < first_document {
                return Err(outside());
            }
            let document = bytes.get(start..end).ok_or_else(outside)?;
            if guids.contains(&guid) {
                return Err(TableError::Repeated { index });
            }
            guids.push(guid);
            entries.push((Content::of(guid), document));
        }
        Ok(Self { entries })
    }

    /// The documents of one kind.
    pub fn of(&self, content: Content) -> impl Iterator<Item = &'a [u8]> {
        self.entries.iter().filter(move |(kind, _)| *kind == content).map(|(_, document)| *document)
    }
}

/// How many entries stand before the one of zeros.
fn header_count(bytes: &[u8]) -> Result<usize, TableError> {
    let mut count: usize = 0;
    for entry in bytes.chunks_exact(ENTRY_LEN) {
        if entry.iter().all(|byte| *byte == 0) {
            return Ok(count);
        }
        if count == MAX_ENTRIES {
            return Err(TableError::TooMany);
        }
        count = count.saturating_add(1);
    }
    Err(TableError::NoEnd { entries: count })
}

fn split_entry(entry: &[u8]) -> Option<([u8; 16], u32, u32)> {
    let (guid, rest) = entry.split_first_chunk::<16>()?;
    let (offset, rest) = rest.split_first_chunk::<4>()?;
    let length = rest.first_chunk::<4>()?;
    Some((*guid, u32::from_le_bytes(*offset), u32::from_le_bytes(*length)))
}
