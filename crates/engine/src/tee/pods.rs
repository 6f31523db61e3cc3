//! The pods of the software TEE, and the device on which each asks for its reports.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use protocol::digest::Measurement;
use protocol::software::SoftwareReport;
use protocol::{Digest, ReportData};

use crate::error::EngineError;
use crate::frame::{self, FrameError};
use crate::identity;
use crate::launcher::{Launcher, SELF};
use crate::paths::Paths;
use crate::process::Started;
use crate::tee_api::device::{Boot, FromAgent, ToAgent};
use crate::tee_api::{Launch, Reply, TeeError, TeeErrorCode};

/// LIMIT: an agent is up in well under a second; a start that takes longer hangs.
const START_PATIENCE: Duration = Duration::from_secs(30);
/// LIMIT: a killed process is gone in milliseconds, unless its memory is large.
const KILL_PATIENCE: Duration = Duration::from_secs(10);
/// LIMIT: the path of a unix socket has 107 characters, and `/run/casemate/<id>/pods//agent.sock` takes 40 of them.
const MAX_POD_NAME: usize = 63;

pub(super) struct Pods {
    paths: Paths,
    key: Ed25519KeyPair,
    launcher: Box<dyn Launcher>,
    measured: OnceLock<Result<Measurement, EngineError>>,
    running: Mutex<BTreeMap<String, Arc<Pod>>>,
}

struct Pod {
    process: Mutex<Process>,
    ended: Mutex<Option<String>>,
    signal: Condvar,
}

/// A pod's process, which may be asked to stop before it is known.
#[derive(Default)]
struct Process {
    /// There is or was a guest, and somebody waits for its end and clears up after it.
    launched: bool,
    started: Option<Started>,
    stopped: bool,
}

fn failed(message: impl std::fmt::Display) -> TeeError {
    TeeError { code: TeeErrorCode::Failed, message: message.to_string() }
}

fn is_pod_name(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    let outer = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.len() <= MAX_POD_NAME && name.chars().all(inner) && name.starts_with(outer) && name.ends_with(outer)
}

impl Pods {
    pub(super) fn new(paths: Paths, key: Ed25519KeyPair, launcher: Box<dyn Launcher>) -> Self {
        Self { paths, key, launcher, measured: OnceLock::new(), running: Mutex::default() }
    }

    /// The measurement of the agent's executable, which is this one; taken once.
    pub(super) fn measurement(&self) -> Result<Measurement, EngineError> {
        self.measured.get_or_init(|| identity::measure(Path::new(SELF))).clone()
    }

    fn running(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Arc<Pod>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.running().keys().cloned().collect()
    }

    pub(super) fn launch(self: &Arc<Self>, launch: Launch) -> Result<Reply, TeeError> {
        let name = launch.pod.clone();
        if !is_pod_name(&name) {
            return Err(failed(format!("`{name}` is not a pod's name")));
        }
        let pod = Arc::new(Pod { process: Mutex::default(), ended: Mutex::default(), signal: Condvar::new() });
        {
            let mut running = self.running();
            if running.contains_key(&name) {
                let message = format!("pod `{name}` runs already");
                return Err(TeeError { code: TeeErrorCode::Exists, message });
            }
            running.insert(name.clone(), Arc::clone(&pod));
        }
        let result = self.start(&pod, launch);
        if result.is_err() {
            let (launched, process) = {
                let known = pod.process();
                (known.launched, known.started.clone())
            };
            // A guest that was started and refused ends by itself; end it now all the same.
            if let Some(process) = process {
                process.kill(KILL_PATIENCE);
            }
            if launched {
                pod.wait();
            } else {
                self.clear(&name, &pod, "it was never started");
            }
        }
        result
    }

    fn start(self: &Arc<Self>, pod: &Arc<Pod>, launch: Launch) -> Result<Reply, TeeError> {
        let name = launch.pod;
        let measurement = self.measurement().map_err(failed)?;
        let folder = self.paths.pod(&name);
        std::fs::create_dir_all(&folder).map_err(failed)?;
        std::fs::create_dir_all(self.paths.images()).map_err(failed)?;
        let (mut device, theirs) = UnixStream::pair().map_err(failed)?;
        let guest = self.launcher.launch(&name, OwnedFd::from(theirs)).map_err(failed)?;
        let process = Started::now("agent", Some(&name), guest.pid);
        let stopped = {
            let mut known = pod.process();
            known.launched = true;
            known.started.clone_from(&process);
            known.stopped
        };
        let (pods, watched, watched_name) = (Arc::clone(self), Arc::clone(pod), name.clone());
        std::thread::spawn(move || {
            let end = guest.ended.recv().unwrap_or_else(|_| "its launcher ended".into());
            pods.clear(&watched_name, &watched, &end);
        });
        if let Some(process) = &process {
            process.record(&self.paths.processes()).map_err(failed)?;
        }
        if stopped {
            return Err(failed(format!("pod `{name}` was stopped before it had started")));
        }
        let socket = self.paths.agent_socket(&name);
        let boot = Boot {
            socket: socket.clone(),
            images: self.paths.images(),
            cgroup: format!("{}/{name}", self.paths.cgroup()),
            pod: name.clone(),
            initdata: launch.initdata,
            netns: launch.netns,
            volumes: launch.volumes,
        };
        frame::write(&mut device, &boot).map_err(failed)?;
        device.set_read_timeout(Some(START_PATIENCE)).map_err(failed)?;
        let reports = Reports { measurement, host_data: launch.host_data, launched_at: now() };
        loop {
            match self.device(&mut device, &reports) {
                Ok(Some(FromAgent::Ready)) => break,
                Ok(Some(FromAgent::Refused { check, message })) => {
                    let code = if check { TeeErrorCode::Refused } else { TeeErrorCode::Failed };
                    return Err(TeeError { code, message });
                }
                Ok(_) => {}
                Err(error) => return Err(failed(format!("the pod agent did not start: {error}"))),
            }
        }
        device.set_read_timeout(None).map_err(failed)?;
        let pods = Arc::clone(self);
        std::thread::spawn(move || while pods.device(&mut device, &reports).is_ok() {});
        Ok(Reply::Launched { pid: guest.pid, agent: socket })
    }

    /// Serves one message on a pod's device: a report is answered, everything else is handed back.
    fn device(&self, device: &mut UnixStream, pod: &Reports) -> Result<Option<FromAgent>, FrameError> {
        match frame::read(device)? {
            FromAgent::Report { report_data } => {
                let answer = match <[u8; 64]>::try_from(report_data.as_slice()) {
                    Ok(data) => ToAgent::Report(self.report(pod, ReportData(data))),
                    Err(_) => ToAgent::Error { message: format!("report data of {} bytes", report_data.len()) },
                };
                frame::write(device, &answer)?;
                Ok(None)
            }
            other => Ok(Some(other)),
        }
    }

    fn report(&self, pod: &Reports, report_data: ReportData) -> Vec<u8> {
        let mut root = [0; 32];
        root.copy_from_slice(self.key.public_key().as_ref());
        let mut report = SoftwareReport {
            measurement: pod.measurement,
            host_data: pod.host_data,
            report_data,
            launched_at: pod.launched_at,
            root,
            chip_id: Digest::of(&root),
            signature: [0; 64],
        };
        let signature = self.key.sign(&report.signed_bytes());
        report.signature.copy_from_slice(signature.as_ref());
        report.encode()
    }

    pub(super) fn stop(&self, name: &str) -> Result<Reply, TeeError> {
        let pod = self.find(name)?;
        let process = {
            let mut known = pod.process();
            known.stopped = true;
            known.started.clone()
        };
        if let Some(process) = process
            && !process.kill(KILL_PATIENCE)
        {
            return Err(failed(format!("pod `{name}` does not end")));
        }
        Ok(Reply::Stopped { reason: pod.wait() })
    }

    pub(super) fn wait(&self, name: &str) -> Result<Reply, TeeError> {
        Ok(Reply::Stopped { reason: self.find(name)?.wait() })
    }

    pub(super) fn stop_all(&self) {
        for name in self.names() {
            if let Err(error) = self.stop(&name) {
                tracing::warn!("tee: {error}");
            }
        }
    }

    fn find(&self, name: &str) -> Result<Arc<Pod>, TeeError> {
        let missing = || TeeError { code: TeeErrorCode::NotFound, message: format!("there is no pod `{name}`") };
        self.running().get(name).cloned().ok_or_else(missing)
    }

    /// After a pod's end: its name is free again and nothing of it is left.
    fn clear(&self, name: &str, pod: &Pod, end: &str) {
        if let Some(process) = pod.process().started.take() {
            process.forget(&self.paths.processes());
        }
        let _ = std::fs::remove_dir_all(self.paths.pod(name));
        crate::cleanup::remove_cgroup(&format!("{}/{name}", self.paths.cgroup()));
        self.running().remove(name);
        *pod.ended.lock().unwrap_or_else(PoisonError::into_inner) = Some(end.to_owned());
        pod.signal.notify_all();
    }
}

impl Pod {
    fn process(&self) -> std::sync::MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self) -> String {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match &*ended {
                Some(reason) => return reason.clone(),
                None => ended = self.signal.wait(ended).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

/// What every report of one pod says.
struct Reports {
    measurement: Measurement,
    host_data: Digest,
    launched_at: u64,
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_name_is_no_path() {
        for name in ["coordinator-0", "a", "x.y"] {
            assert!(is_pod_name(name), "{name}");
        }
        for name in ["", ".", "..", "../x", "a/b", "A", "-a", "a-", "a b", &"a".repeat(64)] {
            assert!(!is_pod_name(name), "{name}");
        }
    }
}
