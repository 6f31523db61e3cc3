//! Device evidence that is collected here, where no agent does it: GPUs through NVML.

use protocol::{DeviceEvidence, Nonce};

use crate::AttestError;

/// Evidence of the GPUs in confidential mode that this process may use.
///
/// NVML is a shared library of NVIDIA's driver, which a static binary cannot load: there are no devices in its Evidence, and
/// reference values that demand some refuse it.
#[cfg(target_feature = "crt-static")]
#[expect(clippy::unnecessary_wraps, reason = "the library of the other variant may fail")]
pub(crate) fn local(_nonce: &Nonce) -> Result<Vec<DeviceEvidence>, AttestError> {
    Ok(Vec::new())
}

/// Evidence of the GPUs in confidential mode that this process may use. Without the library there is no driver, and
/// without a driver no GPU.
#[cfg(not(target_feature = "crt-static"))]
pub(crate) fn local(nonce: &Nonce) -> Result<Vec<DeviceEvidence>, AttestError> {
    match crate::Nvml::open(crate::nvml::LIBRARY)? {
        Some(nvml) => nvml.evidence(nonce),
        None => Ok(Vec::new()),
    }
}
