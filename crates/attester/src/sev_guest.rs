//! SEV-SNP reports from `/dev/sev-guest`, for kernels before 6.7 and those without configfs.
//!
//! `SNP_GET_EXT_REPORT` gives the report together with the certificates that the host offers. Where the host offers more
//! than Linux takes, the report is asked for alone: the certificates are a convenience, and verifiers can fetch them.

use std::time::Duration;

use nix::errno::Errno;
use protocol::{Evidence, ReportData, Tee};

use crate::AttestError;
use crate::certificates;
use crate::kernel::{Kernel, SevReply};

pub(crate) const DEVICE: &str = "/dev/sev-guest";

/// The hypervisor's errors in the high half of `exitinfo2` (AMD 56421, section 4.1.7).
const INVALID_LENGTH: u64 = 1;
const BUSY: u64 = 2;
/// Where the report stands in the response, and what it has (AMD 56860, table of MSG_REPORT_RSP).
const HEADER: usize = 32;
const REPORT: usize = 1184;

/// LIMIT: as for configfs; a host throttles guests to some requests a second.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(100);

/// Evidence over our report data.
pub(crate) fn evidence(kernel: &dyn Kernel, report_data: &ReportData) -> Result<Evidence, AttestError> {
    let failed =
        |errno, attempts| AttestError::Kernel { during: "ask for a report", path: DEVICE.to_owned(), errno, attempts };
    let (mut attempts, mut extended, mut pause) = (1, true, PAUSE);
    loop {
        let reply = kernel.sev_report(&report_data.0, 0, extended).map_err(|errno| AttestError::Kernel {
            during: "open",
            path: DEVICE.to_owned(),
            errno,
            attempts,
        })?;
        match (reply.error >> 32, reply.outcome) {
            // Kernels from 5.19 on report this with success, so that no message is ever encrypted twice.
            (INVALID_LENGTH, _) if extended => extended = false,
            (0, Ok(())) => return body(&reply).map(|body| Evidence::new(Tee::Snp, body)),
            (BUSY, _) | (_, Err(Errno::EAGAIN | Errno::EBUSY | Errno::EINTR)) if attempts < ATTEMPTS => {
                kernel.pause(pause);
                pause = pause.saturating_mul(2);
                attempts += 1;
            }
            (BUSY, _) => return Err(failed(Errno::EBUSY, attempts)),
            (_, Err(errno)) if reply.error == 0 => return Err(failed(errno, attempts)),
            (_, Err(errno)) => return Err(answer(format!("{errno}, error {:#x}", reply.error))),
            (error, Ok(())) => return Err(answer(format!("the hypervisor's error {error}"))),
        }
    }
}

fn answer(reason: String) -> AttestError {
    AttestError::Answer { path: DEVICE, reason }
}

/// The report of a response, with the certificate table behind it.
fn body(reply: &SevReply) -> Result<Vec<u8>, AttestError> {
    let number = |at: usize| -> Option<u32> {
        let bytes = reply.response.get(at..at + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    };
    let short = || answer(format!("{} bytes, which hold no report", reply.response.len()));
    let (status, length) = (number(0).ok_or_else(short)?, number(4).ok_or_else(short)?);
    if status != 0 {
        return Err(answer(format!("the firmware's status {status:#x}")));
    }
    let report = usize::try_from(length).ok().and_then(|length| reply.response.get(HEADER..HEADER + length));
    match report {
        Some(report) if report.len() == REPORT => Ok([report, certificates::trimmed(&reply.certificates)].concat()),
        _ => Err(answer(format!("a report of {length} bytes, not {REPORT}"))),
    }
}
