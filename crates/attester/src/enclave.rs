//! SGX quotes from inside an enclave, through what its library operating system offers.
//!
//! - Gramine: files below `/dev/attestation`. The report data is written to one, and reading another makes the quote
//!   (Gramine, "Attestation and Secret Provisioning"). Both belong to the whole process, so one asks at a time.
//! - Occlum: the device `/dev/sgx`, which is one only inside of Occlum; the environment says so (`OCCLUM`).

use std::sync::{Mutex, PoisonError};

use protocol::{Evidence, ReportData, Tee};

use crate::AttestError;
use crate::kernel::Kernel;

/// Which kind of attestation Gramine was told to offer.
pub(crate) const GRAMINE_TYPE: &str = "/dev/attestation/attestation_type";
const GRAMINE_DATA: &str = "/dev/attestation/user_report_data";
const GRAMINE_QUOTE: &str = "/dev/attestation/quote";
/// Occlum's device.
pub(crate) const OCCLUM: &str = "/dev/sgx";
/// LIMIT: one word.
const MAX_WORD: usize = 64;

/// The kind that Gramine offers.
pub(crate) fn gramine_type(kernel: &dyn Kernel) -> Result<String, AttestError> {
    let text = kernel.read(GRAMINE_TYPE, MAX_WORD).map_err(|errno| failed("read", GRAMINE_TYPE, errno))?;
    Ok(String::from_utf8_lossy(&text).trim().to_owned())
}

/// Evidence from Gramine.
pub(crate) fn gramine(kernel: &dyn Kernel, report_data: &ReportData) -> Result<Evidence, AttestError> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    kernel.write(GRAMINE_DATA, &report_data.0).map_err(|errno| failed("write", GRAMINE_DATA, errno))?;
    let quote = kernel.read(GRAMINE_QUOTE, Evidence::MAX_BODY).map_err(|errno| failed("read", GRAMINE_QUOTE, errno))?;
    enclave(GRAMINE_QUOTE, quote)
}

/// Evidence from Occlum.
pub(crate) fn occlum(kernel: &dyn Kernel, report_data: &ReportData) -> Result<Evidence, AttestError> {
    let quote = kernel
        .occlum_quote(&report_data.0, Evidence::MAX_BODY)
        .map_err(|errno| failed("ask for a quote", OCCLUM, errno))?;
    enclave(OCCLUM, quote)
}

fn enclave(path: &'static str, quote: Vec<u8>) -> Result<Evidence, AttestError> {
    if quote.is_empty() {
        return Err(AttestError::Answer { path, reason: "an empty quote".to_owned() });
    }
    Ok(Evidence::new(Tee::Sgx, quote))
}

fn failed(during: &'static str, path: &str, errno: nix::errno::Errno) -> AttestError {
    AttestError::Kernel { during, path: path.to_owned(), errno, attempts: 1 }
}
