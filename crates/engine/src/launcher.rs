//! How a pod is isolated. The launcher starts the pod agent as the first process of something that ends, with
//! everything in it, when that process ends: a tree of namespaces here; a virtual machine is to come.

use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::mpsc;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use crate::process::PATH;

/// Starts pods. Called by the TEE, once for each pod.
///
/// `Ok` proves that the measured executable runs as the pod's first process, with `device` and nothing else of the TEE's.
/// It does not prove that the agent accepts what it was given: its first messages on the device say that.
pub(crate) trait Launcher: Send + Sync {
    /// Starts the pod agent with `device` as its standard input.
    fn launch(&self, pod: &str, device: OwnedFd) -> std::io::Result<Guest>;
}

/// A pod that was started.
pub(crate) struct Guest {
    /// Its first process, by its pid on the host.
    pub(crate) pid: u32,
    /// Says how it ended, once.
    pub(crate) ended: mpsc::Receiver<String>,
}

/// The launcher `container`: the agent is process 1 of new pid and mount namespaces.
///
/// When process 1 of a pid namespace dies, the kernel kills every process in it, the containers' included, and with the
/// last process the mounts of the mount namespace go. So a pod cannot outlive its agent, and leaves nothing.
pub(crate) struct ContainerLauncher;

/// The agent is this very executable, opened through the kernel's link, so that replacing the file changes nothing.
pub(crate) const SELF: &str = "/proc/self/exe";

impl Launcher for ContainerLauncher {
    fn launch(&self, pod: &str, device: OwnedFd) -> std::io::Result<Guest> {
        let (started, pid) = mpsc::channel();
        let (ending, ended) = mpsc::channel();
        // A thread of its own, because `unshare` changes the calling thread: the agent is started from it and the
        // thread then only waits. The new mount namespace lives as long as these two.
        std::thread::Builder::new().name(format!("pod {pod}")).spawn(move || {
            let child = enter_namespaces().and_then(|()| {
                Command::new(SELF)
                    .arg0("casemate")
                    .args(["engine", "agent"])
                    .env_clear()
                    .env("PATH", PATH)
                    .current_dir("/")
                    .stdin(Stdio::from(device))
                    .stdout(Stdio::null())
                    .spawn()
            });
            match child {
                Ok(mut child) => {
                    let _ = started.send(Ok(child.id()));
                    let end = child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
                    let _ = ending.send(end);
                }
                Err(error) => {
                    let _ = started.send(Err(error));
                }
            }
        })?;
        let pid = pid.recv().map_err(|_| std::io::Error::other("the launcher's thread ended"))??;
        Ok(Guest { pid, ended })
    }
}

fn enter_namespaces() -> std::io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID)?;
    // No mount of the pod is seen by the host, and none of the host's later mounts by the pod.
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
    Ok(())
}
