//! The hashes of kernel, initrd and command line, as QEMU puts them into a measured page for OVMF to check.
//!
//! Layout: QEMU, `target/i386/sev.c` (`SevHashTable`), read by edk2's `OvmfPkg/AmdSev/BlobVerifierLibSevHashes`.

use aws_lc_rs::digest::{SHA256, digest};

/// Bytes of the table: header (18), three entries of GUID, length and SHA-256 (50 each), padded to a multiple of 16.
pub(super) const TABLE: usize = 176;

/// What the table and each entry say of their own length: the table without its padding.
const TABLE_LENGTH: u16 = 168;
const ENTRY_LENGTH: u16 = 50;

/// 9438d606-4f22-4cc9-b479-a793d411fd21.
const TABLE_GUID: [u8; 16] =
    [0x06, 0xd6, 0x38, 0x94, 0x22, 0x4f, 0xc9, 0x4c, 0xb4, 0x79, 0xa7, 0x93, 0xd4, 0x11, 0xfd, 0x21];
/// 97d02dd8-bd20-4c94-aa78-e7714d36ab2a.
const CMDLINE_GUID: [u8; 16] =
    [0xd8, 0x2d, 0xd0, 0x97, 0x20, 0xbd, 0x94, 0x4c, 0xaa, 0x78, 0xe7, 0x71, 0x4d, 0x36, 0xab, 0x2a];
/// 44baf731-3a2f-4bd7-9af1-41e29169781d.
const INITRD_GUID: [u8; 16] =
    [0x31, 0xf7, 0xba, 0x44, 0x2f, 0x3a, 0xd7, 0x4b, 0x9a, 0xf1, 0x41, 0xe2, 0x91, 0x69, 0x78, 0x1d];
/// 4de79437-abd2-427f-b835-d5b172d2045b.
const KERNEL_GUID: [u8; 16] =
    [0x37, 0x94, 0xe7, 0x4d, 0xd2, 0xab, 0x7f, 0x42, 0xb8, 0x35, 0xd5, 0xb1, 0x72, 0xd2, 0x04, 0x5b];

/// SHA-256 of what the guest boots.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KernelHashes {
    /// Of the kernel file.
    pub kernel: [u8; 32],
    /// Of the initrd file; of nothing where there is none.
    pub initrd: [u8; 32],
    /// Of the command line and the zero byte after it.
    pub cmdline: [u8; 32],
}

impl KernelHashes {
    /// Hashes the files. No initrd is an empty one.
    ///
    /// The command line is taken to the byte as QEMU gets it; spaces at its ends count, and the zero byte is added here.
    pub fn of(kernel: &[u8], initrd: &[u8], cmdline: &[u8]) -> Self {
        let mut line = cmdline.to_vec();
        line.push(0);
        Self { kernel: sha256(kernel), initrd: sha256(initrd), cmdline: sha256(&line) }
    }

    pub(super) fn table(&self) -> [u8; TABLE] {
        let mut table = Vec::with_capacity(TABLE);
        table.extend_from_slice(&TABLE_GUID);
        table.extend_from_slice(&TABLE_LENGTH.to_le_bytes());
        let entries = [(CMDLINE_GUID, self.cmdline), (INITRD_GUID, self.initrd), (KERNEL_GUID, self.kernel)];
        for (guid, hash) in entries {
            table.extend_from_slice(&guid);
            table.extend_from_slice(&ENTRY_LENGTH.to_le_bytes());
            table.extend_from_slice(&hash);
        }
        table.resize(TABLE, 0);
        // PANIC-FREE: it was just made that long.
        table.first_chunk().copied().unwrap_or([0; TABLE])
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    // PANIC-FREE: SHA-256 gives 32 bytes.
    digest(&SHA256, bytes).as_ref().first_chunk().copied().unwrap_or([0; 32])
}
