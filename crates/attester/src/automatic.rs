//! The Attester of a pod: finds out once which TEE this is, and makes Evidence in that one way.

use std::sync::{Arc, OnceLock};

use protocol::{DeviceEvidence, Evidence, Nonce, ReportData};

use crate::detect::{Detection, Interface, detect};
use crate::error::Listed;
use crate::kernel::Kernel;
use crate::{AttestError, Attester, BoxFuture, GuestAgent, Linux, devices, enclave, sev_guest, tdx_guest, tsm};

/// Looks which TEE this is when first asked, and stays with what it found. There is no way from one interface to another:
/// one that was found and fails is an error, and no reason to ask elsewhere.
#[derive(Clone, Debug)]
pub struct Automatic {
    kernel: Arc<dyn Kernel>,
    agent: GuestAgent,
    detection: Arc<OnceLock<Detection>>,
}

impl Default for Automatic {
    fn default() -> Self {
        Self::new(Arc::new(Linux::default()), GuestAgent::default())
    }
}

impl Automatic {
    /// An Attester of a machine with this kernel, which may have this agent.
    pub fn new(kernel: Arc<dyn Kernel>, agent: GuestAgent) -> Self {
        Self { kernel, agent, detection: Arc::default() }
    }

    /// What this machine shows of its TEE.
    pub async fn detection(&self) -> Result<Detection, AttestError> {
        if let Some(known) = self.detection.get() {
            return Ok(known.clone());
        }
        // What fails is looked at again when asked again: a driver may come up after us.
        let detection = self.apart(|kernel| detect(kernel)).await?;
        Ok(self.detection.get_or_init(|| detection).clone())
    }

    /// Calls that block belong to a thread of their own.
    async fn apart<T: Send + 'static>(
        &self,
        call: impl FnOnce(&dyn Kernel) -> Result<T, AttestError> + Send + 'static,
    ) -> Result<T, AttestError> {
        let kernel = Arc::clone(&self.kernel);
        match tokio::task::spawn_blocking(move || call(&*kernel)).await {
            Ok(outcome) => outcome,
            Err(error) => Err(AttestError::Failed { attester: "this process", reason: error.to_string() }),
        }
    }

    async fn ask_agent(&self, detection: &Detection, report_data: &ReportData) -> Result<Evidence, AttestError> {
        let evidence = match self.agent.attest(report_data).await {
            Err(agent @ AttestError::Unreachable { .. }) => return Err(nothing(detection, agent)),
            outcome => outcome?,
        };
        match detection.traces {
            Some((seen, path)) if seen != evidence.tee => Err(AttestError::OtherKind { got: evidence.tee, seen, path }),
            _ => Ok(evidence),
        }
    }
}

/// No interface, and no agent either.
fn nothing(detection: &Detection, agent: AttestError) -> AttestError {
    AttestError::NothingFound { looked: Listed(detection.looked.clone()), agent: Box::new(agent) }
}

impl Attester for Automatic {
    fn attest<'a>(&'a self, report_data: &'a ReportData) -> BoxFuture<'a, Result<Evidence, AttestError>> {
        Box::pin(async move {
            let detection = self.detection().await?;
            let (interface, report_data) = (detection.interface, *report_data);
            if interface == Interface::GuestAgent {
                return self.ask_agent(&detection, &report_data).await;
            }
            self.apart(move |kernel| match interface {
                Interface::Configfs(tee) => tsm::evidence(kernel, tee, &report_data),
                Interface::SevGuest => sev_guest::evidence(kernel, &report_data),
                Interface::TdxGuest => tdx_guest::evidence(kernel, &report_data),
                Interface::Gramine => enclave::gramine(kernel, &report_data),
                Interface::Occlum => enclave::occlum(kernel, &report_data),
                // Asked above, from an executor's thread.
                Interface::GuestAgent => Err(AttestError::Failed {
                    attester: "this process",
                    reason: "the agent is asked elsewhere".to_owned(),
                }),
            })
            .await
        })
    }

    fn devices<'a>(&'a self, nonce: &'a Nonce) -> BoxFuture<'a, Result<Vec<DeviceEvidence>, AttestError>> {
        Box::pin(async move {
            let detection = self.detection().await?;
            match detection.interface {
                Interface::GuestAgent => match self.agent.devices(nonce).await {
                    Err(agent @ AttestError::Unreachable { .. }) => Err(nothing(&detection, agent)),
                    outcome => outcome,
                },
                // An enclave owns no device.
                Interface::Gramine | Interface::Occlum => Ok(Vec::new()),
                Interface::Configfs(_) | Interface::SevGuest | Interface::TdxGuest => {
                    let nonce = *nonce;
                    self.apart(move |_| devices::local(&nonce)).await
                }
            }
        })
    }
}
