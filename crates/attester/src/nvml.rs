//! GPU evidence through NVML, the library of NVIDIA's driver. Only a dynamically linked binary can load it.
//!
//! Structures and functions are those of `nvml.h` ("Confidential Compute" and "Device Queries"). They are called through
//! [`sys`], which alone has the pointers.

mod sys;

use std::path::Path;

use protocol::{DeviceEvidence, DeviceKind, Evidence, Nonce};

use crate::AttestError;
use crate::guest_agent::answers;
use sys::Library;

/// The library, as the driver installs it.
pub(crate) const LIBRARY: &str = "libnvidia-ml.so.1";

/// `NVML_DEVICE_ARCH_HOPPER` and `NVML_DEVICE_ARCH_BLACKWELL`.
const ARCHITECTURES: [u32; 2] = [9, 10];

/// A loaded and initialised NVML.
pub struct Nvml {
    library: Library,
}

impl std::fmt::Debug for Nvml {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Nvml").finish_non_exhaustive()
    }
}

impl Nvml {
    /// Loads the library; `None`: there is none. A library that is there and does not start is an error, because there may
    /// be GPUs behind it.
    pub fn open(library: impl AsRef<Path>) -> Result<Option<Self>, AttestError> {
        let Some(library) = Library::load(library.as_ref()).map_err(failed)? else { return Ok(None) };
        Ok(Some(Self { library }))
    }

    /// Evidence of every GPU, over `nonce`; none when the driver does not run in confidential mode.
    pub fn evidence(&self, nonce: &Nonce) -> Result<Vec<DeviceEvidence>, AttestError> {
        if !self.library.is_confidential().map_err(failed)? {
            return Ok(Vec::new());
        }
        let count = self.library.count().map_err(failed)?;
        let limit = Evidence::MAX_DEVICES;
        if usize::try_from(count).unwrap_or(usize::MAX) > limit {
            return Err(failed(format!("{count} GPUs, at most {limit}")));
        }
        (0..count).map(|index| self.device(index, nonce)).collect()
    }

    fn device(&self, index: u32, nonce: &Nonce) -> Result<DeviceEvidence, AttestError> {
        let failed = |reason: String| failed(format!("GPU {index}: {reason}"));
        let device = self.library.device(index).map_err(failed)?;
        let architecture = self.library.architecture(device).map_err(failed)?;
        if !ARCHITECTURES.contains(&architecture) {
            return Err(failed(format!(
                "architecture {architecture} makes no evidence; Hopper (9) and Blackwell (10) do"
            )));
        }
        let chain = self.library.chain(device).map_err(failed)?;
        let report = self.library.report(device, &nonce.0).map_err(failed)?;
        let device = DeviceEvidence { kind: DeviceKind::Gpu, report, chain };
        answers(usize::try_from(index).unwrap_or(usize::MAX), &device, nonce)?;
        Ok(device)
    }
}

fn failed(reason: String) -> AttestError {
    AttestError::Failed { attester: "NVML", reason }
}
