//! The event log of the boot (CCEL), as firmware and boot loader wrote it (UEFI 2.10, section 38.4).
//!
//! A log proves nothing by itself: who replays it compares the outcome with the registers of a TDX quote. It does not travel
//! with Evidence, since the registers alone decide; it explains why they differ, to people (`casemate explain`).

use nix::errno::Errno;

use crate::AttestError;
use crate::kernel::Kernel;

/// The log.
pub const DATA: &str = "/sys/firmware/acpi/tables/data/CCEL";
/// The ACPI table that announces it.
pub const TABLE: &str = "/sys/firmware/acpi/tables/CCEL";
/// LIMIT: OVMF reserves 64 KiB for the log; firmware of clouds up to 1 MiB.
const MAX_LOG: usize = 4 << 20;

/// The log, if this machine has one.
pub fn read(kernel: &dyn Kernel) -> Result<Option<Vec<u8>>, AttestError> {
    match kernel.read(DATA, MAX_LOG) {
        Ok(log) if log.is_empty() => Ok(None),
        Ok(log) => Ok(Some(log)),
        Err(Errno::ENOENT) => Ok(None),
        Err(errno) => Err(AttestError::Kernel { during: "read", path: DATA.to_owned(), errno, attempts: 1 }),
    }
}
