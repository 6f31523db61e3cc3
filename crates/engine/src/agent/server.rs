//! The agent's socket: each request is put to the policy, and only then acted on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use policy::evaluate::PolicyEngine;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};

use crate::agent_api::{AgentError, AgentErrorCode, Call, Reply};
use crate::frame::{self, FrameError};

use super::container::{Container, Pod};
use super::exec::Execs;
use super::guest::Guest;
use super::request::{CopyFile, CreateContainer, CreateSandbox, ExecProcess, OfContainer, ReadStream, Signal, is_id};
use super::{files, oci, storage};

/// LIMIT: a shim holds three connections for each container (requests, wait, output), and a pod has some dozen at most.
const MAX_CONNECTIONS: usize = 256;

/// The agent of one pod.
pub(super) struct Agent {
    guest: Guest,
    policy: Mutex<PolicyEngine>,
    capabilities: BTreeSet<String>,
    hostname: Mutex<String>,
    mounted: Mutex<Vec<String>>,
    containers: Mutex<BTreeMap<String, Slot>>,
    execs: Execs,
    out_of_memory: watch::Sender<Option<String>>,
}

/// A container's place. It is taken before the work of creating begins, so that two requests cannot both do it.
enum Slot {
    Creating,
    Made(Arc<Container>),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves connections for ever.
pub(super) async fn serve(listener: UnixListener, agent: Arc<Agent>) -> std::io::Result<()> {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let (stream, _) = listener.accept().await?;
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return Ok(()) };
        let agent = Arc::clone(&agent);
        tokio::spawn(async move {
            let result = connection(&agent, stream).await;
            if let Err(error) = result
                && !matches!(error, FrameError::Closed | FrameError::Io(_))
            {
                tracing::warn!("agent: connection ended: {error}");
            }
            drop(place);
        });
    }
}

async fn connection(agent: &Arc<Agent>, mut stream: UnixStream) -> Result<(), FrameError> {
    loop {
        let reply = match frame::read_async::<Call>(&mut stream).await {
            Ok(call) => agent.serve(call).await,
            Err(FrameError::Malformed(error)) => Err(AgentError::malformed(format!("the request is no call: {error}"))),
            Err(error) => return Err(error),
        };
        let reply = reply.map_or_else(Reply::Error, Reply::Ok);
        frame::write_async(&mut stream, &reply).await?;
    }
}

fn parse<T: DeserializeOwned>(request: Value) -> Result<T, AgentError> {
    serde_json::from_value(request).map_err(|error| AgentError::malformed(error.to_string()))
}

/// Whether a request means a command, and not the container's own process.
fn is_exec(container: &str, exec: &str) -> bool {
    !exec.is_empty() && exec != container
}

impl Agent {
    pub(super) fn new(guest: Guest, policy: PolicyEngine) -> Self {
        Self {
            guest,
            policy: Mutex::new(policy),
            capabilities: oci::available_capabilities(),
            hostname: Mutex::default(),
            mounted: Mutex::default(),
            containers: Mutex::default(),
            execs: Execs::default(),
            out_of_memory: watch::Sender::new(None),
        }
    }

    async fn serve(self: &Arc<Self>, call: Call) -> Result<Value, AgentError> {
        // Before the policy, because its memory changes with its decision: a container that still runs must not be
        // forgotten by it, or a second one could be created beside the first.
        if call.ep == "RemoveContainerRequest"
            && let Some(id) = call.request["container_id"].as_str()
            && self.is_busy(id)
        {
            return Err(AgentError::failed("container_id: the container is still running"));
        }
        self.decide(&call)?;
        match call.ep.as_str() {
            "CreateSandboxRequest" => self.create_sandbox(&parse(call.request)?),
            "CopyFileRequest" => {
                let request: CopyFile = parse(call.request)?;
                files::copy(&request, &call.data).map(|()| json!({}))
            }
            "CreateContainerRequest" => self.create_container(&parse(call.request)?, &call.shared).await,
            "StartContainerRequest" => self.start_container(&parse(call.request)?).await,
            "ExecProcessRequest" => {
                let request: ExecProcess = parse(call.request)?;
                let container = self.container(&request.container_id)?;
                self.execs.start(&container, &request).await.map(|()| json!({}))
            }
            "WaitProcessRequest" => {
                let request: OfContainer = parse(call.request)?;
                if is_exec(&request.container_id, &request.exec_id) {
                    let status = self.execs.get(&request.container_id, &request.exec_id)?.wait().await;
                    self.execs.forget(&request.container_id, &request.exec_id);
                    return Ok(json!({"status": status, "out_of_memory": false}));
                }
                let exit = self.container(&request.container_id)?.wait().await;
                Ok(json!({"status": exit.status, "out_of_memory": exit.out_of_memory}))
            }
            "ReadStreamRequest" => {
                let request: ReadStream = parse(call.request)?;
                let container = self.container(&request.container_id)?;
                let limit = usize::try_from(request.len).unwrap_or(usize::MAX);
                let data = container.output.read(limit).await;
                Ok(json!({"eof": data.is_none(), "data": STANDARD.encode(data.unwrap_or_default())}))
            }
            "SignalProcessRequest" => {
                let request: Signal = parse(call.request)?;
                if is_exec(&request.container_id, &request.exec_id) {
                    let exec = self.execs.get(&request.container_id, &request.exec_id)?;
                    return exec.signal(request.signal).map(|()| json!({}));
                }
                self.container(&request.container_id)?.signal(request.signal).map(|()| json!({}))
            }
            "RemoveContainerRequest" => {
                self.remove_container(&parse(call.request)?);
                Ok(json!({}))
            }
            "StatsContainerRequest" => {
                let request: OfContainer = parse(call.request)?;
                let (memory, processes) = self.container(&request.container_id)?.stats();
                Ok(json!({"memory_bytes": memory, "pids": processes}))
            }
            "GetOOMEventRequest" => {
                let mut event = self.out_of_memory.subscribe();
                let container = event.changed().await.ok().and_then(|()| event.borrow_and_update().clone());
                Ok(json!({"container_id": container.unwrap_or_default()}))
            }
            "DestroySandboxRequest" => {
                self.destroy().await;
                Ok(json!({}))
            }
            "GuestDetailsRequest" => {
                Ok(json!({"agent_version": env!("CARGO_PKG_VERSION"), "init_daemon": true, "insecure": true}))
            }
            // What these ask for is so already: the pod's network is ready when it starts, and it has no machine of
            // its own to which processors or memory could be added.
            "UpdateInterfaceRequest"
            | "UpdateRoutesRequest"
            | "OnlineCPUMemRequest"
            | "UpdateEphemeralMountsRequest" => Ok(json!({})),
            other => Err(AgentError::failed(format!("{other}: not served by the local engine"))),
        }
    }

    fn decide(&self, call: &Call) -> Result<(), AgentError> {
        let decision = lock(&self.policy).decide(&call.ep, &call.request);
        let (message, reasons) = match decision {
            Ok(decision) if decision.allowed => return Ok(()),
            Ok(decision) => (format!("the policy does not allow this {}", call.ep), decision.reasons),
            // No decision is a refusal.
            Err(error) => (format!("the policy could not decide on this {}: {error}", call.ep), Vec::new()),
        };
        tracing::warn!("agent: denied {}: {}", call.ep, reasons.join("; "));
        Err(AgentError { code: AgentErrorCode::Denied, message, reasons })
    }

    fn is_busy(&self, id: &str) -> bool {
        match lock(&self.containers).get(id) {
            Some(Slot::Creating) => true,
            Some(Slot::Made(container)) => container.is_live(),
            None => false,
        }
    }

    fn container(&self, id: &str) -> Result<Arc<Container>, AgentError> {
        match lock(&self.containers).get(id) {
            Some(Slot::Made(container)) => Ok(Arc::clone(container)),
            _ => Err(AgentError::failed("container_id: there is no such container")),
        }
    }

    fn create_sandbox(&self, request: &CreateSandbox) -> Result<Value, AgentError> {
        if !is_id(&request.sandbox_id) {
            return Err(AgentError::malformed("sandbox_id: not an id"));
        }
        lock(&self.hostname).clone_from(&request.hostname);
        for storage in &request.storages {
            storage::add(storage, &mut lock(&self.mounted))?;
        }
        Ok(json!({}))
    }

    async fn create_container(
        &self,
        request: &CreateContainer,
        shared: &BTreeMap<String, String>,
    ) -> Result<Value, AgentError> {
        let id = request.container_id.clone();
        {
            let mut containers = lock(&self.containers);
            if containers.contains_key(&id) {
                return Err(AgentError::failed("container_id: there is such a container already"));
            }
            containers.insert(id.clone(), Slot::Creating);
        }
        if oci::is_pause(&request.oci) {
            self.sandbox_sysctls(&request.oci.linux.sysctl)?;
        }
        let hostname = lock(&self.hostname).clone();
        let pod = Pod {
            hostname: &hostname,
            cgroup: &self.guest.cgroup,
            capabilities: &self.capabilities,
            volumes: &self.guest.volumes,
            mounted: &self.mounted,
        };
        match Container::create(request, shared, pod).await {
            Ok(container) => {
                lock(&self.containers).insert(id, Slot::Made(Arc::new(container)));
                Ok(json!({}))
            }
            Err(error) => {
                // The policy still counts it as created; the host removes it before it tries again.
                lock(&self.containers).remove(&id);
                Err(error)
            }
        }
    }

    /// Kernel parameters of the pod's network namespace. Others would change the whole machine.
    fn sandbox_sysctls(&self, sysctls: &BTreeMap<String, String>) -> Result<(), AgentError> {
        let wanted: Vec<_> = sysctls.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        for (name, _) in &wanted {
            let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
            if !name.starts_with("net.") || !plain || name.contains("..") {
                return Err(AgentError::failed(format!("OCI.Linux.Sysctl: `{name}` is not of the pod's network")));
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
        crate::threads::in_netns(&self.guest.netns, move || {
            for (name, value) in wanted {
                let file = format!("/proc/sys/{}", name.replace('.', "/"));
                std::fs::write(&file, value)
                    .map_err(|error| crate::EngineError::io(format!("set OCI.Linux.Sysctl `{name}`"), &error))?;
            }
            Ok(())
        })
        .map_err(|error| AgentError::failed(error.to_string()))
    }

    async fn start_container(self: &Arc<Self>, request: &OfContainer) -> Result<Value, AgentError> {
        let container = self.container(&request.container_id)?;
        container.start().await?;
        let (agent, id) = (Arc::clone(self), request.container_id.clone());
        tokio::spawn(async move {
            if container.wait().await.out_of_memory {
                agent.out_of_memory.send_replace(Some(id));
            }
        });
        Ok(json!({}))
    }

    fn remove_container(&self, request: &OfContainer) {
        // Unknown: its creation failed, and the policy has forgotten it by now.
        if let Some(Slot::Made(container)) = lock(&self.containers).remove(&request.container_id) {
            container.clear();
            self.execs.forget_all(&request.container_id);
        }
    }

    async fn destroy(&self) {
        let containers: Vec<_> = lock(&self.containers)
            .values()
            .filter_map(|slot| match slot {
                Slot::Made(container) if container.is_live() => Some(Arc::clone(container)),
                _ => None,
            })
            .collect();
        const KILL: u32 = 9;
        for container in containers {
            if container.signal(KILL).is_ok() {
                container.wait().await;
            }
        }
    }
}
