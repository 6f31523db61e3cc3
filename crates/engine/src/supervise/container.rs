//! One container: create, start, watch, probe, and start again.

use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use policy::images::RegistryError;
use serde_json::{Value, json};

use crate::agent_api::{AgentErrorCode, Call, CallError, MAX_READ};
use crate::shim;

use super::backoff::BackOff;
use super::engine::random_hex;
use super::exec;
use super::pod::{Sandbox, describe};
use super::probe::{EAGER, Probe};
use super::status::State;
use super::volumes;

/// What is to happen when a container ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    /// It is started again, whatever it said.
    Stays,
    /// It is started again unless it said that all went well.
    UntilSuccess,
    /// It is not started again.
    Once,
}

const TERMINATE: u32 = 15;
const KILL: u32 = 9;

/// How a container ended, as the agent says.
struct End {
    status: i32,
    out_of_memory: bool,
}

/// Why a container does not run.
struct Trouble {
    state: &'static str,
    message: String,
    refused: Option<AgentErrorCode>,
}

/// Runs a container as its fate says; returns its last exit status.
pub(super) async fn run(sandbox: Arc<Sandbox>, index: usize, fate: Fate) -> i32 {
    let run = Run { spec: spec(&sandbox, index), sandbox, index };
    let mut backoff = BackOff::default();
    let mut first = true;
    loop {
        let begun = Instant::now();
        if !first {
            run.update(|container| container.restarts += 1);
        }
        let id = random_hex(32);
        match run.start(&id).await {
            Ok(()) => {
                first = false;
                let end = run.watch(&id).await;
                run.ended(&id, &end).await;
                let status = end.status;
                let done = match fate {
                    Fate::Stays => false,
                    Fate::UntilSuccess => status == 0,
                    Fate::Once => true,
                };
                if done {
                    return status;
                }
                let delay = backoff.delay(begun);
                if !delay.is_zero() {
                    let message = format!("back-off {} s restarting failed container", delay.as_secs());
                    run.trouble(&Trouble { state: "CrashLoopBackOff", message, refused: None });
                }
                tokio::time::sleep(delay).await;
            }
            Err(trouble) => {
                run.trouble(&trouble);
                // The agent's policy counts it as created, whatever became of it.
                let remove = Call::new("RemoveContainerRequest", json!({"container_id": id}));
                let _ = run.sandbox.agent.call(&remove).await;
                // The first try again is at once for what has run and ended, not for what cannot start.
                let delay = backoff.delay(begun).max(Duration::from_secs(1));
                tokio::time::sleep(delay).await;
            }
        }
    }
}

fn spec(sandbox: &Sandbox, index: usize) -> Value {
    let spec = &sandbox.pod.template["spec"];
    let containers = ["initContainers", "containers"].into_iter().filter_map(|field| spec[field].as_array());
    containers.flatten().nth(index).cloned().unwrap_or_default()
}

struct Run {
    sandbox: Arc<Sandbox>,
    index: usize,
    spec: Value,
}

impl Run {
    fn update(&self, change: impl FnOnce(&mut super::status::Container)) {
        self.sandbox.pod.update_container(&self.sandbox.engine, self.index, change);
    }

    fn event(&self, reason: &str, message: &str) {
        self.sandbox.engine.event(&format!("pod/{}", self.sandbox.pod.name), reason, message);
    }

    fn name(&self) -> &str {
        self.spec["name"].as_str().unwrap_or_default()
    }

    fn trouble(&self, trouble: &Trouble) {
        self.event(trouble.state, &format!("container `{}`: {}", self.name(), trouble.message));
        self.update(|container| {
            container.state = State::Waiting(trouble.state);
            container.message = Some(trouble.message.clone());
            container.refused = trouble.refused;
            container.ready = false;
            container.started = false;
        });
    }

    async fn start(&self, id: &str) -> Result<(), Trouble> {
        let reference = self.spec["image"].as_str().unwrap_or_default();
        let config = |message: String| Trouble { state: "CreateContainerConfigError", message, refused: None };
        let engine = &self.sandbox.engine;
        let image = engine.images.config(reference).await.map_err(|error| image_trouble(&error))?;
        let hosts = volumes::hosts(&self.sandbox.pod.template, &self.sandbox.instance, &engine.service_addresses());
        let contents =
            volumes::contents(&self.sandbox.pod.template, &self.spec, &self.sandbox.instance, &engine.objects, &hosts)
                .map_err(|error| config(error.to_string()))?;
        let content = |destination: &str| contents.get(destination).cloned();
        let calls =
            shim::container_calls(&self.sandbox.pod.template, &self.spec, &image, &self.sandbox.instance, id, &content)
                .map_err(|error| config(error.to_string()))?;
        let created = calls.iter().find(|call| call.ep == "CreateContainerRequest").map(|call| call.request.clone());
        self.sandbox.pod.set_created(self.index, created);
        let mut connection =
            self.sandbox.agent.connect().await.map_err(|error| agent_trouble("CreateContainerError", &error))?;
        for call in &calls {
            connection.call(call).await.map_err(|error| agent_trouble("CreateContainerError", &error))?;
        }
        self.event("Created", &format!("container `{}`", self.name()));
        for call in shim::start_calls(id) {
            connection.call(&call).await.map_err(|error| agent_trouble("RunContainerError", &error))?;
        }
        let has_startup_probe = Probe::of(&self.spec, "startupProbe").is_some();
        let has_readiness_probe = Probe::of(&self.spec, "readinessProbe").is_some();
        let age = self.sandbox.pod.state().age_ms();
        self.update(|container| {
            container.id = Some(id.to_owned());
            container.state = State::Running;
            container.message = None;
            container.refused = None;
            container.started = !has_startup_probe;
            container.ready = !has_startup_probe && !has_readiness_probe;
            container.started_after_ms = Some(age);
            if container.ready {
                container.ready_after_ms.get_or_insert(age);
            }
        });
        self.event("Started", &format!("container `{}`", self.name()));
        self.keep_log(id);
        Ok(())
    }

    /// Writes the container's output to its log until it ends. Goes on after this task, so that the last words of a
    /// container that is being stopped are kept.
    fn keep_log(&self, id: &str) {
        let paths = &self.sandbox.engine.paths;
        let (pod, name) = (&self.sandbox.pod.name, self.name());
        let (current, previous) = (paths.container_log(pod, name), paths.previous_log(pod, name));
        let (agent, id) = (self.sandbox.agent.clone(), id.to_owned());
        if let Some(folder) = current.parent() {
            let _ = std::fs::create_dir_all(folder);
        }
        let _ = std::fs::rename(&current, &previous);
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&current);
        tokio::spawn(async move {
            let (Ok(mut file), Ok(mut connection)) = (file, agent.connect().await) else { return };
            let request = json!({"container_id": id, "exec_id": id, "len": MAX_READ});
            let call = Call::new("ReadStreamRequest", request);
            while let Ok(output) = connection.call(&call).await {
                let bytes = STANDARD.decode(output["data"].as_str().unwrap_or_default()).unwrap_or_default();
                if output["eof"] == json!(true) || file.write_all(&bytes).is_err() {
                    break;
                }
            }
        });
    }

    /// Waits for the container's end, making its probes meanwhile.
    async fn watch(&self, id: &str) -> End {
        let wait = Call::new("WaitProcessRequest", json!({"container_id": id, "exec_id": id}));
        let end = self.sandbox.agent.call(&wait);
        tokio::pin!(end);
        let unhealthy = tokio::select! {
            answer = &mut end => return ended(answer).await,
            reason = self.care() => reason,
        };
        self.event("Unhealthy", &format!("container `{}` is to be started again: {unhealthy}", self.name()));
        self.update(|container| container.ready = false);
        self.sandbox.pod.before_stop(&self.sandbox.agent, self.index, self.sandbox.pod.grace()).await;
        for (signal, patience) in [(TERMINATE, self.sandbox.pod.grace()), (KILL, Duration::MAX)] {
            let request = json!({"container_id": id, "exec_id": id, "signal": signal});
            if let Err(error) = self.sandbox.agent.call(&Call::new("SignalProcessRequest", request)).await {
                self.event("Killing", &format!("container `{}`: {}", self.name(), describe(&error)));
                break;
            }
            if let Ok(answer) = tokio::time::timeout(patience, &mut end).await {
                return ended(answer).await;
            }
        }
        ended(end.await).await
    }

    async fn ended(&self, id: &str, end: &End) {
        let status = end.status;
        let message = if end.out_of_memory {
            let message = format!("container `{}` used more memory than its limit", self.name());
            self.event("OOMKilled", &message);
            Some(message)
        } else {
            (status != 0).then(|| format!("exit status {status}"))
        };
        self.update(|container| {
            container.state = State::Terminated(status);
            container.exit_status = Some(status);
            container.ready = false;
            container.started = false;
            container.message = message;
        });
        let remove = Call::new("RemoveContainerRequest", json!({"container_id": id}));
        if let Err(error) = self.sandbox.agent.call(&remove).await {
            tracing::debug!("remove container: {}", describe(&error));
        }
    }

    /// Does what the container's `postStart` says, then makes its probes; returns why it must be started again.
    async fn care(&self) -> String {
        let pod = &self.sandbox.pod;
        if let Some(created) = pod.created(self.index) {
            let ip = pod.state().ip.map(Into::into);
            // The kubelet sets a hook no time.
            let done = exec::hook(&self.sandbox.agent, &created, &self.spec, "postStart", ip, Duration::MAX);
            if let Err(reason) = done.await {
                return format!("postStart: {reason}");
            }
        }
        self.probes().await
    }

    /// Makes the container's probes; returns when one says that it must be started again, and why.
    async fn probes(&self) -> String {
        if let Some(probe) = Probe::of(&self.spec, "startupProbe") {
            if let Err(reason) = self.first_success(&probe).await {
                return format!("startup probe: {reason}");
            }
            let has_readiness_probe = Probe::of(&self.spec, "readinessProbe").is_some();
            self.update(|container| container.started = true);
            if !has_readiness_probe {
                self.set_ready(true);
            }
        }
        let readiness = async {
            match Probe::of(&self.spec, "readinessProbe") {
                Some(probe) => self.readiness(&probe).await,
                None => std::future::pending().await,
            }
        };
        let liveness = async {
            match Probe::of(&self.spec, "livenessProbe") {
                Some(probe) => self.liveness(&probe).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = readiness => String::new(),
            reason = liveness => format!("liveness probe: {reason}"),
        }
    }

    async fn make(&self, probe: &Probe) -> Result<(), String> {
        if let Some((argv, timeout)) = probe.command() {
            let created = self.sandbox.pod.created(self.index).ok_or("the container is not there")?;
            return exec::run(&self.sandbox.agent, &created, argv, timeout).await;
        }
        let ip = self.sandbox.pod.state().ip;
        match ip {
            Some(ip) => probe.make(ip.into()).await,
            None => Err("the pod has no address".into()),
        }
    }

    async fn first_success(&self, probe: &Probe) -> Result<(), String> {
        let deadline = Instant::now() + probe.patience();
        tokio::time::sleep(probe.initial_delay).await;
        loop {
            match self.make(probe).await {
                Ok(()) => return Ok(()),
                Err(reason) if Instant::now() >= deadline => return Err(reason),
                Err(_) => tokio::time::sleep(EAGER).await,
            }
        }
    }

    fn set_ready(&self, ready: bool) {
        let age = self.sandbox.pod.state().age_ms();
        self.update(|container| {
            container.ready = ready;
            if ready {
                container.ready_after_ms.get_or_insert(age);
            }
        });
    }

    async fn readiness(&self, probe: &Probe) {
        tokio::time::sleep(probe.initial_delay).await;
        let (mut ready, mut row) = (false, 0);
        loop {
            let result = self.make(probe).await;
            row = if result.is_ok() == ready { 0 } else { row + 1 };
            let threshold = if ready { probe.failure_threshold } else { probe.success_threshold };
            if row >= threshold {
                ready = !ready;
                row = 0;
                self.set_ready(ready);
                if let Err(reason) = &result {
                    self.event("Unhealthy", &format!("container `{}`: readiness probe: {reason}", self.name()));
                }
            }
            tokio::time::sleep(if ready { probe.period } else { EAGER }).await;
        }
    }

    async fn liveness(&self, probe: &Probe) -> String {
        // Until the first success, failures count by time, as in `first_success`.
        if let Err(reason) = self.first_success(probe).await {
            return reason;
        }
        let mut row = 0;
        loop {
            tokio::time::sleep(probe.period).await;
            match self.make(probe).await {
                Ok(()) => row = 0,
                Err(reason) => {
                    row += 1;
                    if row >= probe.failure_threshold {
                        return reason;
                    }
                }
            }
        }
    }
}

/// The end in an agent's answer. Without one the agent is gone, and with it the pod: whoever waits for this
/// container is about to be dropped, so there is nothing to say.
async fn ended(answer: Result<Value, CallError>) -> End {
    match answer {
        Ok(answer) => End {
            status: answer["status"].as_i64().and_then(|status| i32::try_from(status).ok()).unwrap_or(255),
            out_of_memory: answer["out_of_memory"] == json!(true),
        },
        Err(CallError::Refused(_)) => End { status: 255, out_of_memory: false },
        Err(CallError::Frame(_)) => std::future::pending().await,
    }
}

fn agent_trouble(state: &'static str, error: &CallError) -> Trouble {
    let refused = match error {
        CallError::Refused(error) => Some(error.code),
        CallError::Frame(_) => None,
    };
    let state = match refused {
        Some(AgentErrorCode::ImageMissing | AgentErrorCode::RegistryDown) => "ErrImagePull",
        _ => state,
    };
    Trouble { state, message: describe(error), refused }
}

fn image_trouble(error: &RegistryError) -> Trouble {
    let (state, refused) = match error {
        RegistryError::Reference { .. } => ("InvalidImageName", None),
        RegistryError::NotFound { .. } | RegistryError::Unauthorized { .. } => {
            ("ErrImagePull", Some(AgentErrorCode::ImageMissing))
        }
        error if error.could_not_tell() => ("ErrImagePull", Some(AgentErrorCode::RegistryDown)),
        _ => ("ErrImagePull", None),
    };
    Trouble { state, message: error.to_string(), refused }
}
