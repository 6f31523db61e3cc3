//! The digest chain of the launch: SEV-SNP Firmware ABI (publication 56860), section 8.17.2, `PAGE_INFO`.

use aws_lc_rs::digest::{Context, SHA384, digest};
use protocol::digest::Measurement;

/// Bytes of a page.
pub(super) const PAGE: usize = 4096;

/// Where a VMSA page counts as lying: the highest page below 2^48, whatever page the host took (section 8.17.2).
pub(super) const VMSA_GPA: u64 = 0xffff_ffff_f000;

/// `PAGE_INFO.PAGE_TYPE` (table 67), those that a launch uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum PageType {
    Normal,
    Vmsa,
    Zero,
    Secrets,
    Cpuid,
}

impl PageType {
    fn code(self) -> u8 {
        match self {
            Self::Normal => 1,
            Self::Vmsa => 2,
            Self::Zero => 3,
            Self::Secrets => 5,
            Self::Cpuid => 6,
        }
    }
}

/// The launch digest so far (`GCTX.LD`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Chain([u8; 48]);

impl Chain {
    /// Before the first page the digest is zero (section 8.16, `SNP_LAUNCH_START`).
    pub(super) const START: Measurement = Measurement::from_bytes([0; 48]);

    pub(super) fn from_digest(digest: &Measurement) -> Self {
        Self(*digest.as_bytes())
    }

    pub(super) fn digest(&self) -> Measurement {
        Measurement::from_bytes(self.0)
    }

    /// One page: `contents` is its SHA-384 where the host chose the bytes, else zero.
    pub(super) fn page(&mut self, kind: PageType, gpa: u64, contents: &[u8; 48]) {
        // PAGE_INFO: digest so far (48), contents (48), length (2), type (1), flags (1), permissions of VMPL 3 to 1 (3),
        // reserved (1), guest-physical address (8). No guest here is started with pages for other VMPLs, so
        // flags and permissions are zero.
        let [low, high] = 0x70_u16.to_le_bytes();
        let mut info = Context::new(&SHA384);
        info.update(&self.0);
        info.update(contents);
        info.update(&[low, high, kind.code(), 0, 0, 0, 0, 0]);
        info.update(&gpa.to_le_bytes());
        self.0 = array(info.finish().as_ref());
    }
}

/// SHA-384 of a page.
pub(super) fn page_digest(page: &[u8]) -> [u8; 48] {
    array(digest(&SHA384, page).as_ref())
}

fn array(bytes: &[u8]) -> [u8; 48] {
    // PANIC-FREE: SHA-384 gives 48 bytes; were it not so, zero equals no digest.
    bytes.first_chunk().copied().unwrap_or([0; 48])
}
