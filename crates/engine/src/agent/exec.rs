//! Commands in containers that run: exec probes and hooks. What they write goes nowhere; their exit status says it all.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};
use tokio::sync::watch;

use crate::agent_api::AgentError;

use super::container::{Container, failed, last_error, runc};
use super::request::{ExecProcess, is_id};

/// LIMIT: a pod has some dozen containers with three probes each, and a probe is not made twice at a time.
const MAX_EXECS: usize = 128;

/// A command that runs, or has ended and not been waited for.
pub(super) struct Exec {
    handle: OwnedFd,
    status: watch::Sender<Option<i32>>,
}

/// The commands of a pod, by container and by their own id.
#[derive(Default)]
pub(super) struct Execs(Mutex<BTreeMap<(String, String), Arc<Exec>>>);

impl Execs {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<(String, String), Arc<Exec>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a command.
    pub(super) async fn start(&self, container: &Container, request: &ExecProcess) -> Result<(), AgentError> {
        if !is_id(&request.exec_id) || request.exec_id == request.container_id {
            return Err(AgentError::malformed("exec_id: not an id"));
        }
        let key = (request.container_id.clone(), request.exec_id.clone());
        {
            let mut all = self.lock();
            if all.contains_key(&key) {
                return Err(AgentError::failed("exec_id: there is such a process already"));
            }
            if all.len() >= MAX_EXECS {
                all.retain(|_, exec| exec.status.borrow().is_none());
            }
            if all.len() >= MAX_EXECS {
                return Err(AgentError::failed(format!("exec_id: {MAX_EXECS} commands run in this pod already")));
            }
        }
        let exec = Arc::new(Exec::start(container, request).await?);
        self.lock().insert(key, exec);
        Ok(())
    }

    /// A command by the ids of a request.
    pub(super) fn get(&self, container: &str, exec: &str) -> Result<Arc<Exec>, AgentError> {
        let found = self.lock().get(&(container.to_owned(), exec.to_owned())).cloned();
        found.ok_or_else(|| AgentError::failed("exec_id: there is no such process"))
    }

    /// Forgets a command that was waited for.
    pub(super) fn forget(&self, container: &str, exec: &str) {
        self.lock().remove(&(container.to_owned(), exec.to_owned()));
    }

    /// Forgets the commands of a container that is gone.
    pub(super) fn forget_all(&self, container: &str) {
        self.lock().retain(|(of, _), _| of != container);
    }
}

impl Exec {
    async fn start(container: &Container, request: &ExecProcess) -> Result<Self, AgentError> {
        let what = "run the command";
        let process = container.command(&request.process)?;
        let file = |kind: &str| format!("{}/exec-{}.{kind}", container.bundle(), request.exec_id);
        let (spec, pid_file, log) = (file("json"), file("pid"), file("log"));
        std::fs::write(&spec, process.to_string()).map_err(|error| failed(&spec, &error))?;
        let status = runc()
            .args(["--log", &log, "--log-format", "json", "exec", "--detach", "--pid-file", &pid_file])
            .args(["--process", &spec, container.id()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .await
            .map_err(|error| failed("run `runc`", &error));
        let pid = std::fs::read_to_string(&pid_file);
        let reason = last_error(&std::fs::read_to_string(&log).unwrap_or_default());
        for file in [&spec, &pid_file, &log] {
            let _ = std::fs::remove_file(file);
        }
        if !status?.success() {
            return Err(failed(what, &reason));
        }
        let pid = pid.ok().and_then(|pid| pid.trim().parse().ok()).and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| AgentError::failed(format!("{what}: runc gave no pid")))?;
        let handle = rustix::process::pidfd_open(pid, PidfdFlags::empty()).map_err(|error| failed(what, &error))?;
        let exec = Self { handle, status: watch::Sender::new(None) };
        let ended = exec.status.clone();
        // runc has left it to the first process of the pod, which is this one.
        let waiting = std::thread::Builder::new().name("wait-exec".into()).spawn(move || {
            let status = rustix::process::waitid(WaitId::Pid(pid), WaitIdOptions::EXITED).ok().flatten();
            let status = status.map_or(255, |status| {
                status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal)).unwrap_or(255)
            });
            ended.send_replace(Some(status));
        });
        waiting.map_err(|error| failed(what, &error))?;
        Ok(exec)
    }

    /// Waits for the end of the command.
    pub(super) async fn wait(&self) -> i32 {
        let mut status = self.status.subscribe();
        status.wait_for(Option::is_some).await.ok().and_then(|status| *status).unwrap_or(255)
    }

    /// Sends a signal to the command.
    pub(super) fn signal(&self, number: u32) -> Result<(), AgentError> {
        let signal = i32::try_from(number).ok().and_then(Signal::from_named_raw);
        let signal = signal.ok_or_else(|| failed("signal", &format!("{number} is not a signal")))?;
        match rustix::process::pidfd_send_signal(&self.handle, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(failed("signal", &error)),
        }
    }
}
