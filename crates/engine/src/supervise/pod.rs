//! One pod: its machine, its sandbox, its containers in their order, and its end.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use policy::request::PodInstance;
use protocol::Initdata;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::agent_api::{Call, CallError};
use crate::error::EngineError;
use crate::shim::{self, SandboxNetwork};
use crate::tee_api;

use super::backoff::BackOff;
use super::container::{self, Fate};
use super::engine::{Engine, random_hex};
use super::exec;
use super::link::{self, Agent};
use super::network::{self, PodNetwork};
use super::objects::Workload;
use super::status::{Container, PodState, State};
use super::volumes;

/// A pod that is wanted.
pub(super) struct Pod {
    pub(super) name: String,
    pub(super) namespace: String,
    /// `kind/name` of its workload.
    pub(super) owner: String,
    pub(super) template: Value,
    pub(super) initdata: String,
    /// The digest of its initdata, in hex.
    pub(super) identity: String,
    uid: String,
    state: Mutex<PodState>,
    agent: Mutex<Option<Agent>>,
    changed: watch::Sender<()>,
    /// Set once: the pod is to go, and how long its containers may take.
    stop: watch::Sender<Option<Duration>>,
    gone: watch::Sender<bool>,
    /// Somebody killed it on purpose: no reason to wait before it is started again.
    killed: AtomicBool,
    created: Mutex<BTreeMap<usize, Value>>,
}

/// What became of a pod's machine.
enum End {
    /// All main containers have ended, and none is to be started again.
    Finished { success: bool },
    /// It could not be started.
    Failed { status: &'static str, reason: String },
    /// Its agent is gone.
    Crashed { reason: String },
}

/// What a pod's containers share while its machine runs.
pub(super) struct Sandbox {
    pub(super) engine: Arc<Engine>,
    pub(super) pod: Arc<Pod>,
    pub(super) agent: Agent,
    pub(super) instance: PodInstance,
}

impl Pod {
    /// The pod number `number` of a workload.
    pub(super) fn new(workload: &Workload, name: String, number: u64) -> Self {
        let initdata = workload.initdata().unwrap_or_default().to_owned();
        let identity =
            Initdata::from_annotation(&initdata).map_or_else(|_| String::new(), |data| data.identity().to_string());
        let mut template = policy::request::as_made(&workload.object, &workload.template, number);
        template["metadata"]["name"] = json!(name);
        let claims = volumes::claim_templates(&workload.object, &name);
        match template["spec"].get_mut("volumes").and_then(Value::as_array_mut) {
            Some(volumes) => volumes.extend(claims),
            None if claims.is_empty() => {}
            None => template["spec"]["volumes"] = json!(claims),
        }
        let hex = random_hex(16);
        let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
        Self {
            namespace: workload.namespace.clone(),
            owner: workload.path(),
            identity,
            initdata,
            // The form of a random UUID (RFC 9562, version 4).
            uid: format!("{}-{}-4{}-a{}-{}", part(0, 8), part(8, 12), part(13, 16), part(17, 20), part(20, 32)),
            state: Mutex::new(PodState::new(&template)),
            template,
            name,
            agent: Mutex::default(),
            changed: watch::Sender::new(()),
            stop: watch::Sender::new(None),
            gone: watch::Sender::new(false),
            killed: AtomicBool::new(false),
            created: Mutex::default(),
        }
    }

    /// The request that created a container, for the commands that run in it.
    pub(super) fn created(&self, index: usize) -> Option<Value> {
        self.created.lock().unwrap_or_else(PoisonError::into_inner).get(&index).cloned()
    }

    /// Keeps the request that created a container.
    pub(super) fn set_created(&self, index: usize, request: Option<Value>) {
        let mut all = self.created.lock().unwrap_or_else(PoisonError::into_inner);
        match request {
            Some(request) => drop(all.insert(index, request)),
            None => drop(all.remove(&index)),
        }
    }

    /// Does what a container's `preStop` says. Whatever comes of it, the container is stopped.
    pub(super) async fn before_stop(&self, agent: &Agent, index: usize, patience: Duration) {
        let Some(created) = self.created(index) else { return };
        let spec = &self.template["spec"];
        let containers = ["initContainers", "containers"].into_iter().filter_map(|field| spec[field].as_array());
        let Some(container) = containers.flatten().nth(index) else { return };
        let ip = self.state().ip.map(Into::into);
        if let Err(reason) = exec::hook(agent, &created, container, "preStop", ip, patience).await {
            tracing::warn!("pod {}: preStop of container {}: {reason}", self.name, container["name"]);
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, PodState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and tells everybody.
    pub(super) fn update(&self, engine: &Engine, change: impl FnOnce(&mut PodState)) {
        change(&mut self.state());
        self.changed.send_replace(());
        engine.touch();
    }

    /// Changes the state of one container.
    pub(super) fn update_container(&self, engine: &Engine, index: usize, change: impl FnOnce(&mut Container)) {
        self.update(engine, |state| {
            if let Some(container) = state.containers.get_mut(index) {
                change(container);
            }
        });
    }

    /// Waits until the state is as wanted.
    pub(super) async fn wait_until(&self, mut wanted: impl FnMut(&PodState) -> bool) {
        let mut changed = self.changed.subscribe();
        loop {
            if wanted(&self.state()) {
                return;
            }
            if changed.changed().await.is_err() {
                return;
            }
        }
    }

    /// Asks the pod to go.
    pub(super) fn stop(&self, grace: Duration) {
        self.stop.send_if_modified(|stop| stop.is_none().then(|| *stop = Some(grace)).is_some());
    }

    /// Waits until it is gone.
    pub(super) async fn gone(&self) {
        let _ = self.gone.subscribe().wait_for(|gone| *gone).await;
    }

    /// Says that its next crash is wanted.
    pub(super) fn expect_crash(&self) {
        self.killed.store(true, Ordering::Relaxed);
    }

    /// Its grace period.
    pub(super) fn grace(&self) -> Duration {
        Duration::from_secs(self.template["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap_or(30))
    }

    async fn stopping(&self) -> Duration {
        let mut stop = self.stop.subscribe();
        match stop.wait_for(Option::is_some).await {
            Ok(grace) => grace.unwrap_or_default(),
            Err(_) => Duration::ZERO,
        }
    }

    fn restarts(&self) -> &str {
        self.template["spec"]["restartPolicy"].as_str().unwrap_or("Always")
    }
}

/// Keeps a pod running until it is to go.
pub(super) async fn run(engine: Arc<Engine>, pod: Arc<Pod>) {
    let mut backoff = BackOff::default();
    loop {
        let begun = Instant::now();
        // Outside of what may be given up half-way, or its place in the network would be left behind.
        let network = engine.plug(&pod.name).await;
        let end = tokio::select! {
            end = machine(&engine, &pod, network) => Some(end),
            grace = pod.stopping() => {
                pod.update(&engine, |state| state.overall = Some("Terminating"));
                shut_down(&engine, &pod, grace).await;
                None
            }
        };
        let _ = link::tee(&engine.paths.tee_socket(), &tee_api::Request::Stop { pod: pod.name.clone() }).await;
        *pod.agent.lock().unwrap_or_else(PoisonError::into_inner) = None;
        engine.unplug(&pod.name).await;
        let Some(end) = end else { break };
        let object = format!("pod/{}", pod.name);
        match end {
            End::Finished { success } => {
                pod.update(&engine, |state| state.finished = Some(success));
                pod.stopping().await;
                break;
            }
            End::Failed { status, reason } => {
                engine.event(&object, status, &reason);
                pod.update(&engine, |state| {
                    state.reset();
                    state.overall = Some(status);
                    state.reason = Some(reason);
                });
            }
            End::Crashed { reason } => {
                engine.event(&object, "SandboxChanged", &format!("the pod's machine ended: {reason}"));
                if pod.restarts() == "Never" {
                    pod.update(&engine, |state| state.finished = Some(false));
                    pod.stopping().await;
                    break;
                }
                pod.update(&engine, |state| {
                    state.reset();
                    state.crashes += 1;
                });
            }
        }
        let wanted = pod.killed.swap(false, Ordering::Relaxed);
        let delay = if wanted { Duration::ZERO } else { backoff.delay(begun) };
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            _ = pod.stopping() => break,
        }
        pod.update(&engine, |state| {
            state.overall = None;
            state.reason = None;
        });
    }
    pod.gone.send_replace(true);
    engine.touch();
}

/// One machine, from its start to its end.
async fn machine(engine: &Arc<Engine>, pod: &Arc<Pod>, network: Result<PodNetwork, EngineError>) -> End {
    let failed = |status, reason: String| End::Failed { status, reason };
    let network = match network {
        Ok(network) => network,
        Err(error) => return failed("CreatePodSandboxError", error.to_string()),
    };
    let mut volumes = BTreeMap::new();
    for (volume, claim) in volumes::claims(&pod.template) {
        let folder = engine.paths.volume(&claim);
        if let Err(error) = std::fs::create_dir_all(&folder) {
            return failed("CreatePodSandboxError", format!("make `{}`: {error}", folder.display()));
        }
        volumes.insert(volume, folder);
    }
    let Ok(host_data) = pod.identity.parse() else {
        return failed("CreatePodSandboxError", "its initdata cannot be read".into());
    };
    let launch = tee_api::Request::Launch(tee_api::Launch {
        pod: pod.name.clone(),
        host_data,
        initdata: Some(pod.initdata.clone()),
        netns: Some(network.path()),
        volumes,
    });
    let socket = engine.paths.tee_socket();
    let agent = match link::tee(&socket, &launch).await {
        Ok(tee_api::Reply::Launched { agent, .. }) => Agent(agent),
        Ok(_) => return failed("CreatePodSandboxError", "the TEE gave another answer".into()),
        Err(error) => return failed("CreatePodSandboxError", error.to_string()),
    };
    *pod.agent.lock().unwrap_or_else(PoisonError::into_inner) = Some(agent.clone());
    pod.update(engine, |state| state.ip = Some(network.ip));
    engine.event(&format!("pod/{}", pod.name), "Scheduled", &format!("its machine runs at {}", network.ip));
    let wait = tee_api::Request::Wait { pod: pod.name.clone() };
    let crash = async {
        match link::tee(&socket, &wait).await {
            Ok(tee_api::Reply::Stopped { reason }) => reason,
            Ok(_) => "the TEE gave another answer".into(),
            Err(error) => error.to_string(),
        }
    };
    tokio::select! {
        reason = crash => End::Crashed { reason },
        end = life(engine, pod, agent, &network) => end,
    }
}

fn instance(engine: &Engine, pod: &Pod, network: &PodNetwork) -> PodInstance {
    // A host name has 63 characters, a pod's name may have more.
    let hostname = pod.template["spec"]["hostname"].as_str().unwrap_or(&pod.name).chars().take(63).collect();
    PodInstance {
        name: pod.name.clone(),
        namespace: pod.namespace.clone(),
        uid: pod.uid.clone(),
        sandbox_id: random_hex(32),
        node_name: engine.node_name(),
        host_ip: engine.network.node_ip().to_string(),
        pod_ip: network.ip.to_string(),
        hostname,
        service_env: engine.service_environment(&pod.namespace),
        config_maps: engine.objects.config_maps_of(&pod.namespace),
        secrets: engine.objects.secrets_of(&pod.namespace),
    }
}

/// The life of a sandbox: what kubelet and containerd do once its agent answers.
async fn life(engine: &Arc<Engine>, pod: &Arc<Pod>, agent: Agent, network: &PodNetwork) -> End {
    let instance = instance(engine, pod, network);
    let as_seen =
        SandboxNetwork { ip: network.ip, prefix: network::PREFIX, gateway: network.gateway, mac: network.mac.clone() };
    let resolv_conf = volumes::resolv_conf(&instance);
    let calls = shim::sandbox_calls(&pod.template, &instance, &as_seen, &resolv_conf);
    if let Err(error) = send_all(&agent, &calls).await {
        return End::Failed { status: "CreatePodSandboxError", reason: describe(&error) };
    }
    let sandbox = Arc::new(Sandbox { engine: Arc::clone(engine), pod: Arc::clone(pod), agent, instance });
    let init = pod.template["spec"]["initContainers"].as_array().map_or(0, Vec::len);
    let all = pod.state().containers.len();
    let mut tasks = JoinSet::new();
    for index in 0..init {
        let sidecar = pod.state().containers.get(index).is_some_and(|container| container.sidecar);
        if sidecar {
            tasks.spawn(container::run(Arc::clone(&sandbox), index, Fate::Stays));
            pod.wait_until(|state| state.containers.get(index).is_some_and(|container| container.started)).await;
            continue;
        }
        let fate = if pod.restarts() == "Never" { Fate::Once } else { Fate::UntilSuccess };
        if container::run(Arc::clone(&sandbox), index, fate).await != 0 {
            return End::Finished { success: false };
        }
    }
    pod.update(engine, |state| {
        state.initialised = true;
        for container in state.containers.iter_mut().skip(init) {
            container.state = State::Waiting("ContainerCreating");
        }
    });
    let fate = match pod.restarts() {
        "Never" => Fate::Once,
        "OnFailure" => Fate::UntilSuccess,
        _ => Fate::Stays,
    };
    let mut mains = JoinSet::new();
    for index in init..all {
        mains.spawn(container::run(Arc::clone(&sandbox), index, fate));
    }
    let mut success = true;
    while let Some(status) = mains.join_next().await {
        success &= matches!(status, Ok(0));
    }
    // Sidecars end with the last main container.
    drop(tasks);
    End::Finished { success }
}

async fn send_all(agent: &Agent, calls: &[Call]) -> Result<(), CallError> {
    let mut connection = agent.connect().await?;
    for call in calls {
        connection.call(call).await?;
    }
    Ok(())
}

/// An agent's refusal with its reasons, in one line.
pub(super) fn describe(error: &CallError) -> String {
    match error {
        CallError::Refused(error) if !error.reasons.is_empty() => {
            format!("{}: {}", error.message, error.reasons.join("; "))
        }
        CallError::Refused(error) => error.message.clone(),
        CallError::Frame(error) => {
            let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
            format!("the pod agent does not answer: {error}{cause}")
        }
    }
}

/// Lets the containers end: SIGTERM, and as long as the grace period allows. Then the machine is taken away.
async fn shut_down(engine: &Engine, pod: &Arc<Pod>, grace: Duration) {
    const TERMINATE: u32 = 15;
    let agent = pod.agent.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let Some(agent) = agent.filter(|_| !grace.is_zero()) else { return };
    let running: Vec<_> = pod
        .state()
        .containers
        .iter()
        .enumerate()
        .filter(|(_, container)| !container.init && container.state == State::Running)
        .filter_map(|(index, container)| Some((index, container.id.clone()?)))
        .collect();
    engine.event(&format!("pod/{}", pod.name), "Killing", "stopping its containers");
    let mut ends = JoinSet::new();
    for (index, id) in running {
        let (pod, agent) = (Arc::clone(pod), agent.clone());
        ends.spawn(async move {
            pod.before_stop(&agent, index, grace).await;
            let signal = json!({"container_id": id, "exec_id": id, "signal": TERMINATE});
            // Where the policy denies it, nothing would happen however long one waits.
            if agent.call(&Call::new("SignalProcessRequest", signal)).await.is_ok() {
                let wait = Call::new("WaitProcessRequest", json!({"container_id": id, "exec_id": id}));
                let _ = agent.call(&wait).await;
            }
        });
    }
    let _ = tokio::time::timeout(grace, async { while ends.join_next().await.is_some() {} }).await;
}
