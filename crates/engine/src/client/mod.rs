//! What the command line calls. Every function blocks; none needs an async runtime.

mod logs;
mod memory;
mod up;

use std::io::{BufRead as _, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cleanup;
pub use crate::control::Event;
use crate::control::{Answer, Attachment, PodStatus, Request, ServiceStatus};
use crate::error::EngineError;
use crate::paths::Paths;

pub use logs::logs;
pub use memory::memory_report;
pub use up::up;

/// What [`up()`] is to start.
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

/// What [`up()`] started.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UpReport {
    /// The pods.
    pub pods: Vec<PodStatus>,
    /// The services.
    pub services: Vec<ServiceStatus>,
    /// How long it took.
    pub elapsed: Duration,
}

/// Which log [`logs()`] prints.
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

/// A connection to the supervisor.
struct Control(BufReader<UnixStream>);

impl Control {
    fn connect(paths: &Paths) -> Result<Self, EngineError> {
        match UnixStream::connect(paths.control_socket()) {
            Ok(stream) => Ok(Self(BufReader::new(stream))),
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Err(EngineError::NotRoot),
            Err(_) if paths.run().exists() => {
                Err(EngineError::Crashed { workspace: paths.workspace().to_owned(), log: paths.engine_log() })
            }
            Err(_) => Err(EngineError::NotUp { workspace: paths.workspace().to_owned() }),
        }
    }

    fn send(&mut self, request: &Request) -> Result<(), EngineError> {
        let failed = |error: &dyn std::fmt::Display| EngineError::io("ask the engine", error);
        let mut line = serde_json::to_vec(request).map_err(|error| failed(&error))?;
        line.push(b'\n');
        self.0.get_mut().write_all(&line).map_err(|error| failed(&error))
    }

    fn ask(&mut self, request: &Request) -> Result<Answer, EngineError> {
        self.send(request)?;
        let failed = |error: &dyn std::fmt::Display| EngineError::io("hear from the engine", error);
        let mut line = String::new();
        self.0.read_line(&mut line).map_err(|error| failed(&error))?;
        if line.is_empty() {
            return Err(failed(&"it ended"));
        }
        match serde_json::from_str(&line).map_err(|error| failed(&error))? {
            Answer::Error(error) => Err(error),
            answer => Ok(answer),
        }
    }
}

fn ask(workspace: &Path, request: &Request) -> Result<Answer, EngineError> {
    Control::connect(&Paths::of(workspace)?)?.ask(request)
}

fn unexpected(answer: &Answer) -> EngineError {
    EngineError::Bug { reason: format!("unexpected answer {answer:?}") }
}

fn done(workspace: &Path, request: &Request) -> Result<(), EngineError> {
    match ask(workspace, request)? {
        Answer::Done => Ok(()),
        other => Err(unexpected(&other)),
    }
}

/// The pods.
pub fn ps(workspace: &Path) -> Result<Vec<PodStatus>, EngineError> {
    match ask(workspace, &Request::Ps)? {
        Answer::Pods(pods) => Ok(pods),
        other => Err(unexpected(&other)),
    }
}

/// The services.
pub fn services(workspace: &Path) -> Result<Vec<ServiceStatus>, EngineError> {
    match ask(workspace, &Request::Services)? {
        Answer::Services(services) => Ok(services),
        other => Err(unexpected(&other)),
    }
}

/// Sets the number of replicas of a workload, and returns when the pods to come are created and those to go are gone.
pub fn scale(workspace: &Path, name: &str, replicas: u32) -> Result<(), EngineError> {
    done(workspace, &Request::Scale { name: name.to_owned(), replicas })
}

/// Waits until every pod is ready or has completed.
pub fn wait_ready(workspace: &Path, timeout: Duration) -> Result<(), EngineError> {
    let milliseconds = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
    done(workspace, &Request::WaitReady { milliseconds })
}

/// Kills every process of a pod at once, as a crash of its machine would; the engine then starts the pod again.
pub fn kill_pod(workspace: &Path, pod: &str) -> Result<(), EngineError> {
    done(workspace, &Request::Kill { pod: pod.to_owned() })
}

/// Stops everything and removes every trace outside the work folder. Does nothing, successfully, when nothing is there;
/// cleans up after a crash of the supervisor too.
pub fn down(workspace: &Path) -> Result<(), EngineError> {
    let paths = Paths::of(workspace)?;
    if !paths.run().exists() && cleanup::leftovers(&paths).is_empty() {
        return Ok(());
    }
    if !rustix::process::geteuid().is_root() {
        return Err(EngineError::NotRoot);
    }
    // An orderly stop where somebody answers. Its end is the end of the connection.
    if let Ok(mut control) = Control::connect(&paths)
        && control.send(&Request::Stop).is_ok()
    {
        let mut rest = String::new();
        let _ = control.0.get_ref().set_read_timeout(Some(STOP_PATIENCE));
        let _ = control.0.read_line(&mut rest);
    }
    cleanup::sweep(&paths)
}

/// LIMIT: killing some dozen pods takes well under a second; what takes longer is swept up by force.
const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// Makes a network namespace with an address in the pod network, for a test that plays a hostile host.
pub fn attach_netns(workspace: &Path, name: &str) -> Result<Attachment, EngineError> {
    match ask(workspace, &Request::Attach { name: name.to_owned() })? {
        Answer::Attached(attachment) => Ok(attachment),
        other => Err(unexpected(&other)),
    }
}

/// Removes it again.
pub fn detach_netns(workspace: &Path, name: &str) -> Result<(), EngineError> {
    done(workspace, &Request::Detach { name: name.to_owned() })
}

/// Calls `with` for every event so far and to come, until it says false or the engine ends.
pub fn events(workspace: &Path, with: &mut dyn FnMut(&Event) -> bool) -> Result<(), EngineError> {
    let mut control = Control::connect(&Paths::of(workspace)?)?;
    control.send(&Request::Events)?;
    for line in control.0.lines() {
        let Ok(line) = line else { break };
        if let Ok(event) = serde_json::from_str(&line)
            && !with(&event)
        {
            break;
        }
    }
    Ok(())
}
