//! Collects Evidence inside a TEE. It asks for Evidence over bytes that the caller chose, and verifies nothing: whoever
//! receives the Evidence judges it (`verifier`).
//!
//! [`Automatic`] is a pod's Attester. It looks at every place where a TEE may show itself ([`detect()`]), and makes Evidence
//! in the one way that it found:
//!
//! | interface | where | Evidence |
//! |---|---|---|
//! | configfs | confidential VMs, Linux 6.7 and later | SEV-SNP with certificates, TDX |
//! | `/dev/sev-guest` | older kernels | SEV-SNP with certificates |
//! | `/dev/tdx_guest` | older kernels, host with QGS | TDX |
//! | `/dev/attestation` | Gramine | SGX |
//! | `/dev/sgx` | Occlum | SGX |
//! | [`GuestAgent`] | pods: Kata guests, the local engine | of any kind, with devices |
//!
//! There is no fallback from one to another (design, section 7): a pod that cannot attest in the way that was found fails,
//! and says why. Where nothing is found the agent is asked, and its answer must fit the hardware whose traces are seen.

#![warn(missing_docs)]

mod automatic;
pub mod ccel;
mod certificates;
mod detect;
mod devices;
mod enclave;
mod error;
mod guest_agent;
mod kernel;
mod linux;
#[cfg(not(target_feature = "crt-static"))]
mod nvml;
mod sev_guest;
mod survey;
mod sys;
mod tdx_guest;
mod tsm;

pub use automatic::Automatic;
pub use detect::{Detection, Interface, Looked, detect};
pub use error::{AttestError, Listed};
pub use guest_agent::{AgentInfo, DEFAULT_ADDRESS, GuestAgent, MAX_ANSWER, MAX_DEVICES_ANSWER, TIMEOUT};
pub use kernel::{Kernel, MAX_CERTIFICATES, Node, SevReply};
pub use linux::Linux;
#[cfg(not(target_feature = "crt-static"))]
pub use nvml::Nvml;
pub use survey::survey;

use std::future::Future;
use std::pin::Pin;

use protocol::{Binding, DeviceEvidence, Evidence, Nonce, ReportData};

/// A boxed future, so that [`Attester`] can be a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Makes Evidence about the TEE that this code runs in.
///
/// `channel` calls [`Attester::attest_bound`] once for each Evidence that a peer asks for, with what that very channel is
/// bound to. `Ok` proves nothing to the caller: on a hostile host the answer may be anything. It only ever goes to a peer,
/// who verifies it.
pub trait Attester: Send + Sync {
    /// Evidence whose report data is `report_data`, without devices.
    fn attest<'a>(&'a self, report_data: &'a ReportData) -> BoxFuture<'a, Result<Evidence, AttestError>>;

    /// What the devices of this TEE sign over `nonce`. A TEE without devices has none.
    fn devices<'a>(&'a self, _nonce: &'a Nonce) -> BoxFuture<'a, Result<Vec<DeviceEvidence>, AttestError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    /// Evidence of the TEE and its devices, bound to a channel: devices answer first, and the report data covers what they
    /// said (design, section 7). [`Binding::devices`] is taken from them, whatever it was.
    fn attest_bound<'a>(&'a self, binding: &'a Binding) -> BoxFuture<'a, Result<Evidence, AttestError>> {
        Box::pin(async move {
            let devices = self.devices(&binding.device_nonce()).await?;
            // The TEE and its body do not count for the digest of the devices; they are there to have its shape.
            let mut evidence = Evidence { tee: protocol::Tee::Software, body: Vec::new(), devices };
            let bound = Binding { devices: evidence.devices_digest(), ..binding.clone() };
            let of_tee = self.attest(&bound.report_data()).await?;
            evidence.tee = of_tee.tee;
            evidence.body = of_tee.body;
            Ok(evidence)
        })
    }
}
