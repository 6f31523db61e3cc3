//! The role `agent`: the guest of one pod. It stands where the Kata agent stands on a machine with a TEE.
//!
//! Order is everything here. The start-up check comes before the first request can be sent; the policy decides each
//! request before anything of it happens; and what it decided on is what is done: paths are resolved once and kept
//! open, images are had by digest. The agent believes nothing that the host says, least of all that it is the host
//! it should have.

mod container;
mod device;
mod evidence;
mod exec;
mod files;
mod guest;
mod image;
mod oci;
mod output;
mod request;
mod resolve;
mod server;
mod startup;
mod storage;

use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::Arc;

use policy::evaluate::PolicyEngine;

use crate::frame;
use crate::tee_api::device::{Boot, FromAgent};

use device::Device;
use guest::Guest;
use startup::StartupError;

/// Runs the role. Standard input is the TEE device.
pub(crate) fn run() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("agent: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> Result<(), String> {
    let device = std::io::stdin().as_fd().try_clone_to_owned().map_err(|error| error.to_string())?;
    let mut device = UnixStream::from(device);
    let boot: Boot = frame::read(&mut device).map_err(|error| error.to_string())?;
    let name = boot.pod.clone();
    let (guest, policy) = match prepare(&mut device, boot) {
        Ok(prepared) => prepared,
        Err(refusal) => {
            let refused = FromAgent::Refused { check: refusal.check, message: refusal.message.clone() };
            let _ = frame::write(&mut device, &refused);
            return Err(format!("{name}: {}", refusal.message));
        }
    };
    // One thread serves every request: decisions are one after the other anyway, and a pod should cost little memory.
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    let result = runtime.block_on(serve(device, guest, policy)).map_err(|error| format!("{name}: {error}"));
    // Without waiting for a pull: when the first process ends, the pod does.
    runtime.shutdown_background();
    result
}

struct Refusal {
    /// Whether the start-up check said no, as opposed to something that went wrong.
    check: bool,
    message: String,
}

/// Everything that comes before the first request.
fn prepare(device: &mut UnixStream, boot: Boot) -> Result<(Guest, PolicyEngine), Refusal> {
    let check = |error: StartupError| Refusal { check: true, message: format!("start-up check: {error}") };
    let host_data = device::own_host_data(device)
        .map_err(|error| Refusal { check: false, message: format!("read the own report: {error}") })?;
    let initdata = startup::check(boot.initdata.as_deref(), &host_data).map_err(check)?;
    let rego = initdata.policy().map_err(StartupError::from).map_err(check)?;
    let policy = PolicyEngine::new(rego)
        .map_err(|error| Refusal { check: true, message: format!("start-up check: load the policy: {error}") })?;
    let guest = Guest::prepare(boot).map_err(|error| Refusal { check: false, message: error.to_string() })?;
    Ok((guest, policy))
}

async fn serve(device: UnixStream, guest: Guest, policy: PolicyEngine) -> std::io::Result<()> {
    let (device, gone) = Device::start(device)?;
    let device = Arc::new(device);
    let evidence: OwnedFd = guest.evidence_listener.try_clone()?;
    tokio::spawn(evidence::serve(evidence, Arc::clone(&device)));
    let listener = tokio::net::UnixListener::from_std(guest.listener.try_clone()?)?;
    let agent = Arc::new(server::Agent::new(guest, policy));
    device.ready().await?;
    tokio::select! {
        // The TEE is gone, and with it the only thing that makes this pod more than a folder of files.
        _ = gone => Ok(()),
        result = server::serve(listener, agent) => result,
    }
}

/// Pulls an image into a cache, with all checks of the agent: for the node, which may do so ahead of time.
pub(crate) async fn pull(reference: &str, cache: &std::path::Path) -> Result<(), crate::agent_api::AgentError> {
    image::layers(reference, cache).await.map(drop)
}
