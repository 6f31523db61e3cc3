//! What the command line calls. Every function blocks; none needs an async runtime.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use crate::control::Event;
use crate::control::{Attachment, PodStatus, ServiceStatus};
use crate::error::EngineError;
use crate::memory::ProcessMemory;

/// What [`up`] is to start.
pub struct UpOptions<'a> {
    /// The work folder.
    pub workspace: PathBuf,
    /// Files and folders of generated resources.
    pub resources: Vec<PathBuf>,
    /// How long the pods may take until they wait for the manifest or run; 120 s is generous.
    pub timeout: Duration,
    /// Called with each event while the pods start.
    pub progress: &'a mut dyn FnMut(&Event),
}

/// What [`up`] started.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UpReport {
    /// The pods.
    pub pods: Vec<PodStatus>,
    /// The services.
    pub services: Vec<ServiceStatus>,
    /// How long it took.
    pub elapsed: Duration,
}

/// Which log [`logs`] prints.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogOptions {
    /// `POD`, `deployment/NAME` or the name of any workload (its first pod).
    pub target: String,
    /// The container; may be left out where the pod has one that is no init container.
    pub container: Option<String>,
    /// Go on with what is written from now on, until the container's pod is gone.
    pub follow: bool,
    /// The log of the run before the last restart.
    pub previous: bool,
}

/// Starts the engine and the resources in the background. Returns when every pod either runs or waits in an init
/// container for what only a manifest can give it; or, everything having been stopped again, with what went wrong.
pub fn up(options: UpOptions<'_>) -> Result<UpReport, EngineError> {
    let _ = options;
    todo!()
}

/// The pods.
pub fn ps(workspace: &Path) -> Result<Vec<PodStatus>, EngineError> {
    let _ = workspace;
    todo!()
}

/// The services.
pub fn services(workspace: &Path) -> Result<Vec<ServiceStatus>, EngineError> {
    let _ = workspace;
    todo!()
}

/// Writes a container's log to `output`. Works on a stopped engine too: the files stay in the work folder.
pub fn logs(workspace: &Path, options: &LogOptions, output: &mut dyn Write) -> Result<(), EngineError> {
    let _ = (workspace, options, output);
    todo!()
}

/// Sets the number of replicas of a workload, and returns when the pods to come are created and those to go are gone.
pub fn scale(workspace: &Path, name: &str, replicas: u32) -> Result<(), EngineError> {
    let _ = (workspace, name, replicas);
    todo!()
}

/// Waits until every pod is ready or has completed.
pub fn wait_ready(workspace: &Path, timeout: Duration) -> Result<(), EngineError> {
    let _ = (workspace, timeout);
    todo!()
}

/// Kills every process of a pod at once, as a crash of its machine would; the engine then starts the pod again.
pub fn kill_pod(workspace: &Path, pod: &str) -> Result<(), EngineError> {
    let _ = (workspace, pod);
    todo!()
}

/// Stops everything and removes every trace outside the work folder. Does nothing, successfully, when nothing is there;
/// cleans up after a crash of the supervisor too.
pub fn down(workspace: &Path) -> Result<(), EngineError> {
    let _ = workspace;
    todo!()
}

/// Makes a network namespace with an address in the pod network, for a test that plays a hostile host.
pub fn attach_netns(workspace: &Path, name: &str) -> Result<Attachment, EngineError> {
    let _ = (workspace, name);
    todo!()
}

/// Removes it again.
pub fn detach_netns(workspace: &Path, name: &str) -> Result<(), EngineError> {
    let _ = (workspace, name);
    todo!()
}

/// The memory of every process of the engine and its pods.
pub fn memory_report(workspace: &Path) -> Result<Vec<ProcessMemory>, EngineError> {
    let _ = workspace;
    todo!()
}
