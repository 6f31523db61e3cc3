//! One container: its bundle, its process, its end.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{MountFlags, OpenTreeFlags, UnmountFlags, mount, open_tree, unmount};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};
use serde_json::{Value, json};
use tokio::sync::{oneshot, watch};

use crate::agent_api::AgentError;
use crate::process::PATH;

use super::guest::{BUNDLES, IMAGES, VOLUMES};
use super::output::Output;
use super::request::{Command, CreateContainer, is_id};
use super::resolve::{self, by_fd};
use super::{guest, image, oci, storage};

/// Where runc keeps its state.
const RUNC_ROOT: &str = "/run/runc";
/// Short names for layers: overlayfs takes its options in one page of 4096 bytes.
const LAYERS: &str = "/run/l";
/// Where the initializer puts the launcher of workloads.
const WORKLOAD_LAUNCHER: &str = "/casemate/bin/launch";

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Exit {
    /// The exit status, or 128 and the signal.
    pub(super) status: i32,
    /// Whether the kernel killed it for want of memory.
    pub(super) out_of_memory: bool,
}

#[derive(Debug)]
enum State {
    Created,
    Starting,
    Running(OwnedFd),
    Ended,
}

/// A container, from the request that created it to its removal.
pub(super) struct Container {
    id: String,
    bundle: String,
    root: String,
    cgroup: String,
    argv0: String,
    /// Those of its process, which a command in it has, too.
    capabilities: Value,
    pinned: usize,
    has_root: bool,
    /// The pause container has no process here: the namespaces that it would hold are held by the agent.
    pause: bool,
    state: Mutex<State>,
    exit: watch::Sender<Option<Exit>>,
    pub(super) output: Arc<Output>,
}

/// What a container shares with its pod.
pub(super) struct Pod<'a> {
    pub(super) hostname: &'a str,
    pub(super) cgroup: &'a str,
    pub(super) capabilities: &'a BTreeSet<String>,
    pub(super) volumes: &'a [String],
    pub(super) mounted: &'a Mutex<Vec<String>>,
}

pub(super) fn failed(what: &str, error: &dyn std::fmt::Display) -> AgentError {
    AgentError::failed(format!("{what}: {error}"))
}

impl Container {
    /// Makes everything but the process. On failure nothing is left.
    pub(super) async fn create(
        request: &CreateContainer,
        shared: &BTreeMap<String, String>,
        pod: Pod<'_>,
    ) -> Result<Self, AgentError> {
        if !is_id(&request.container_id) {
            return Err(AgentError::malformed("container_id: not an id"));
        }
        let mut container = Self {
            id: request.container_id.clone(),
            bundle: format!("{BUNDLES}/{}", request.container_id),
            root: request.oci.root.path.clone(),
            cgroup: format!("{}/{}", pod.cgroup, request.container_id),
            argv0: request.oci.process.command.args.first().cloned().unwrap_or_default(),
            capabilities: Value::Null,
            pinned: 0,
            has_root: false,
            pause: oci::is_pause(&request.oci),
            state: Mutex::new(State::Created),
            exit: watch::Sender::new(None),
            output: Arc::new(Output::default()),
        };
        if container.pause {
            container.output.end();
            return Ok(container);
        }
        match container.prepare(request, shared, pod).await {
            Ok(()) => Ok(container),
            Err(error) => {
                container.clear();
                Err(error)
            }
        }
    }

    async fn prepare(
        &mut self,
        request: &CreateContainer,
        shared: &BTreeMap<String, String>,
        pod: Pod<'_>,
    ) -> Result<(), AgentError> {
        let mut images = request.storages.iter().filter(|storage| storage.driver == "image_guest_pull");
        let (Some(image), None) = (images.next(), images.next()) else {
            return Err(AgentError::failed("storages: exactly one `image_guest_pull` is needed"));
        };
        if image.mount_point != self.root {
            return Err(AgentError::failed("OCI.Root.Path: not where the image is mounted"));
        }
        // First, because it may take long and fail for reasons of others.
        let layers = image::layers(&image.source, Path::new(IMAGES)).await?;
        for storage in request.storages.iter().filter(|storage| storage.driver != "image_guest_pull") {
            let mut mounted = pod.mounted.lock().unwrap_or_else(PoisonError::into_inner);
            storage::add(storage, &mut mounted)?;
        }
        for folder in ["", "/mounts", "/upper", "/work"] {
            let folder = format!("{}{folder}", self.bundle);
            std::fs::create_dir(&folder).map_err(|error| failed(&folder, &error))?;
        }
        self.mount_root(&layers)?;
        for (index, mount) in request.oci.mounts.iter().enumerate() {
            if mount.kind == "bind" {
                self.pin(index, &mount.source, shared, pod.volumes)?;
            }
        }
        let config = oci::config(request, &self.bundle, pod.hostname, pod.cgroup, pod.capabilities)?;
        self.capabilities = config["process"]["capabilities"].clone();
        let file = format!("{}/config.json", self.bundle);
        std::fs::write(&file, config.to_string()).map_err(|error| failed(&file, &error))
    }

    /// The root file system: the image's layers below, and on top what the container writes, in the pod's memory.
    fn mount_root(&mut self, layers: &[std::path::PathBuf]) -> Result<(), AgentError> {
        let what = "OCI.Root.Path: mount the root file system";
        std::fs::create_dir_all(LAYERS).map_err(|error| failed(what, &error))?;
        let mut lower = Vec::new();
        for layer in layers.iter().rev() {
            let short: String = layer.file_name().unwrap_or_default().to_string_lossy().chars().take(16).collect();
            let short = format!("{LAYERS}/{short}");
            match std::os::unix::fs::symlink(layer, &short) {
                Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(failed(what, &error)),
                _ => lower.push(short),
            }
        }
        // A layer that an image holds twice counts once, or overlayfs refuses the stack.
        let mut seen = BTreeSet::new();
        lower.retain(|layer| seen.insert(layer.clone()));
        let options = format!("lowerdir={},upperdir={1}/upper,workdir={1}/work", lower.join(":"), self.bundle);
        let options = std::ffi::CString::new(options).map_err(|error| failed(what, &error))?;
        let root = resolve::folder(&self.root, 0o755, "OCI.Root.Path")?;
        mount("overlay", by_fd(root.as_fd()), "overlay", MountFlags::empty(), options.as_c_str())
            .map_err(|error| failed(what, &error))?;
        self.has_root = true;
        Ok(())
    }

    /// Keeps the source of a bind mount, so that what the policy saw at creation is what is there at the start.
    fn pin(
        &mut self,
        index: usize,
        source: &str,
        shared: &BTreeMap<String, String>,
        volumes: &[String],
    ) -> Result<(), AgentError> {
        let field = format!("OCI.Mounts[{index}].source");
        let found = match resolve::existing(source, &field)? {
            Some(found) => found,
            None => {
                let volume = shared.get(source).filter(|volume| volumes.contains(volume));
                let volume = volume.ok_or_else(|| AgentError::failed(format!("{field}: `{source}` is not there")))?;
                let path = format!("{VOLUMES}/{volume}");
                rustix::fs::openat(CWD, &path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
                    .map_err(|error| failed(&field, &error))?
            }
        };
        let at = oci::pinned(&self.bundle, index);
        let stat = rustix::fs::fstat(&found).map_err(|error| failed(&field, &error))?;
        let made = match rustix::fs::FileType::from_raw_mode(stat.st_mode) {
            rustix::fs::FileType::Directory => std::fs::create_dir(&at),
            _ => std::fs::write(&at, b""),
        };
        made.map_err(|error| failed(&field, &error))?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_EMPTY_PATH
            | OpenTreeFlags::AT_RECURSIVE;
        let tree = open_tree(&found, "", flags).map_err(|error| failed(&field, &error))?;
        guest::attach(tree.as_fd(), &at).map_err(|error| failed(&field, &error))?;
        self.pinned = index + 1;
        Ok(())
    }

    /// Starts the process. At most once.
    pub(super) async fn start(self: &Arc<Self>) -> Result<(), AgentError> {
        {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if !matches!(*state, State::Created) {
                return Err(AgentError::failed("container_id: the container has been started before"));
            }
            *state = State::Starting;
        }
        if self.pause {
            return Ok(());
        }
        match self.run().await {
            Ok(()) => Ok(()),
            Err(error) => {
                self.output.end();
                self.delete().await;
                self.end(Exit { status: 128, out_of_memory: false });
                Err(error)
            }
        }
    }

    async fn run(self: &Arc<Self>) -> Result<(), AgentError> {
        let what = "start the container";
        let (read, write) =
            rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(|error| failed(what, &error))?;
        rustix::io::ioctl_fionbio(&read, true).map_err(|error| failed(what, &error))?;
        let stderr = write.try_clone().map_err(|error| failed(what, &error))?;
        self.output.collect(read).map_err(|error| failed(what, &error))?;
        let (log, pid_file) = (format!("{}/log", self.bundle), format!("{}/pid", self.bundle));
        let status = runc()
            .args(["--log", &log, "--log-format", "json", "run", "--detach", "--pid-file", &pid_file])
            .args(["--bundle", &self.bundle, &self.id])
            .stdin(Stdio::null())
            .stdout(write)
            .stderr(stderr)
            .status()
            .await
            .map_err(|error| failed("run `runc`", &error))?;
        if !status.success() {
            let log = std::fs::read_to_string(&log).unwrap_or_default();
            return Err(AgentError::failed(explain(&last_error(&log), &self.argv0)));
        }
        let pid = std::fs::read_to_string(&pid_file).map_err(|error| failed(what, &error))?;
        let pid = pid.trim().parse().ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| AgentError::failed(format!("{what}: runc gave no pid")))?;
        let handle = rustix::process::pidfd_open(pid, PidfdFlags::empty()).map_err(|error| failed(what, &error))?;
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = State::Running(handle);
        let container = Arc::clone(self);
        tokio::spawn(async move {
            let exit = container.wait_for(pid).await;
            container.delete().await;
            container.end(exit);
        });
        Ok(())
    }

    /// Waits for a process of which this one is the parent: runc has left it to the first process of the pod.
    /// A thread of its own waits, because a waiting task of the runtime would have to be ended before the agent can.
    async fn wait_for(&self, pid: Pid) -> Exit {
        let (sender, ended) = oneshot::channel();
        let waiting = std::thread::Builder::new().name("wait".into()).spawn(move || {
            let _ = sender.send(rustix::process::waitid(WaitId::Pid(pid), WaitIdOptions::EXITED).ok().flatten());
        });
        let status = match waiting {
            Ok(_) => ended.await.ok().flatten(),
            Err(_) => None,
        };
        let status = status.map_or(255, |status| {
            status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal)).unwrap_or(255)
        });
        Exit { status, out_of_memory: out_of_memory(&self.cgroup) }
    }

    fn end(&self, exit: Exit) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = State::Ended;
        self.exit.send_replace(Some(exit));
    }

    /// Removes what runc keeps of it, the cgroup included.
    async fn delete(&self) {
        let result = runc().args(["delete", "--force", &self.id]).stdin(Stdio::null()).output().await;
        if let Ok(output) = result
            && !output.status.success()
        {
            tracing::debug!("runc delete: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
    }

    /// Waits for the end of the process.
    pub(super) async fn wait(&self) -> Exit {
        let mut exit = self.exit.subscribe();
        match exit.wait_for(Option::is_some).await.map(|exit| *exit) {
            Ok(Some(exit)) => exit,
            // The sender lives as long as `self`.
            _ => Exit { status: 255, out_of_memory: false },
        }
    }

    /// Whether there is a process, or will be one in a moment.
    pub(super) fn is_live(&self) -> bool {
        !self.pause
            && matches!(*self.state.lock().unwrap_or_else(PoisonError::into_inner), State::Starting | State::Running(_))
    }

    /// The process of a command in this container, as runc takes it. Its capabilities are the container's.
    pub(super) fn command(&self, process: &Command) -> Result<Value, AgentError> {
        if self.pause || !self.is_live() {
            return Err(AgentError::failed("container_id: the container does not run"));
        }
        if process.terminal {
            return Err(AgentError::failed("process.Terminal: not supported by the local engine"));
        }
        oci::command(process, &json!(self.capabilities), "process")
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn bundle(&self) -> &str {
        &self.bundle
    }

    /// Sends a signal to the process.
    pub(super) fn signal(&self, number: u32) -> Result<(), AgentError> {
        let what = "signal";
        let signal = i32::try_from(number).ok().and_then(Signal::from_named_raw);
        let signal = signal.ok_or_else(|| failed(what, &format!("{number} is not a signal")))?;
        if self.pause {
            self.end(Exit { status: 128 + signal.as_raw(), out_of_memory: false });
            return Ok(());
        }
        match &*self.state.lock().unwrap_or_else(PoisonError::into_inner) {
            State::Running(handle) => match rustix::process::pidfd_send_signal(handle, signal) {
                // It has just ended, which is what most signals are for.
                Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
                Err(error) => Err(failed(what, &error)),
            },
            _ => Err(failed(what, &"the container does not run")),
        }
    }

    /// Memory and number of processes.
    pub(super) fn stats(&self) -> (u64, u64) {
        let memory = ["memory", ""].map(|controller| {
            let file = if controller.is_empty() { "memory.current" } else { "memory.usage_in_bytes" };
            cgroup_file(controller, &self.cgroup, file).and_then(|text| text.trim().parse().ok())
        });
        let processes = ["pids", ""].map(|controller| {
            let text = cgroup_file(controller, &self.cgroup, "cgroup.procs")?;
            u64::try_from(text.lines().count()).ok()
        });
        let first = |values: [Option<u64>; 2]| values.into_iter().flatten().next().unwrap_or(0);
        (first(memory), first(processes))
    }

    /// Unmounts and removes everything of it.
    pub(super) fn clear(&self) {
        if self.pause {
            return;
        }
        for index in 0..self.pinned {
            let _ = unmount(oci::pinned(&self.bundle, index), UnmountFlags::DETACH);
        }
        // Only what was mounted: the path is the request's, and may name anything until it has been resolved.
        if self.has_root {
            let _ = unmount(self.root.as_str(), UnmountFlags::DETACH | UnmountFlags::NOFOLLOW);
            let _ = std::fs::remove_dir(&self.root);
        }
        let _ = std::fs::remove_dir_all(&self.bundle);
    }
}

pub(super) fn runc() -> tokio::process::Command {
    let mut command = tokio::process::Command::new("runc");
    command.env_clear().env("PATH", PATH).args(["--root", RUNC_ROOT]);
    command
}

/// The last error in runc's log.
pub(super) fn last_error(log: &str) -> String {
    let messages = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut errors = messages.filter(|entry| entry["level"] == "error");
    errors
        .next_back()
        .and_then(|entry| entry["msg"].as_str().map(str::to_owned))
        .unwrap_or_else(|| "no reason given".into())
}

/// Names the field that runc's words are about, where that is known.
fn explain(reason: &str, argv0: &str) -> String {
    let missing = ["no such file or directory", "executable file not found", "permission denied"];
    if !reason.contains(&format!("exec: {argv0:?}")) || !missing.iter().any(|words| reason.contains(words)) {
        return format!("start the container: {reason}");
    }
    if argv0 == WORKLOAD_LAUNCHER {
        return format!(
            "process.args[0]: `{argv0}` is not there: the launcher is placed by the pod's initializer, last of all, and \
             the initializer has not finished"
        );
    }
    format!("process.args[0]: `{argv0}` cannot be run: {}", reason.rsplit(": ").next().unwrap_or(reason))
}

/// Reads a file of a cgroup: of a controller's hierarchy, or of the unified one.
fn cgroup_file(controller: &str, cgroup: &str, file: &str) -> Option<String> {
    std::fs::read_to_string(
        Path::new("/sys/fs/cgroup").join(controller).join(cgroup.trim_start_matches('/')).join(file),
    )
    .ok()
}

fn out_of_memory(cgroup: &str) -> bool {
    [("memory", "memory.oom_control"), ("", "memory.events")].iter().any(|(controller, file)| {
        let text = cgroup_file(controller, cgroup, file).unwrap_or_default();
        text.lines().any(|line| line.strip_prefix("oom_kill ").is_some_and(|count| count.trim() != "0"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNC: &str = r#"{"level":"warning","msg":"x","time":"t"}
{"level":"error","msg":"runc run failed: unable to start container process: exec: \"/casemate/bin/launch\": stat /casemate/bin/launch: no such file or directory","time":"t"}
"#;

    #[test]
    fn a_missing_launcher_is_named() {
        let message = explain(&last_error(RUNC), WORKLOAD_LAUNCHER);
        assert!(message.starts_with("process.args[0]: `/casemate/bin/launch` is not there: the launcher"), "{message}");
    }

    #[test]
    fn another_missing_program_is_named() {
        let reason = r#"unable to start: exec: "/bin/x": stat /bin/x: no such file or directory"#;
        assert_eq!(explain(reason, "/bin/x"), "process.args[0]: `/bin/x` cannot be run: no such file or directory");
        let reason = r#"unable to start: exec: "x": executable file not found in $PATH"#;
        assert!(explain(reason, "x").starts_with("process.args[0]: `x` cannot be run"));
    }

    #[test]
    fn other_reasons_are_quoted() {
        assert_eq!(explain("mount failed", "/bin/x"), "start the container: mount failed");
        assert_eq!(last_error(""), "no reason given");
    }
}
