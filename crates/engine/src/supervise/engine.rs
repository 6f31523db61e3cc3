//! The engine's state: which pods are wanted, which are there, and what is behind each service.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use serde_json::Value;
use tokio::sync::{Semaphore, broadcast, watch};

use crate::agent_api::AgentErrorCode;
use crate::control::{Attachment, Event, PodStatus, ServicePort, ServiceStatus};
use crate::error::EngineError;
use crate::paths::Paths;

use super::images::Images;
use super::network::{Balanced, MAX_PODS, Network, PodNetwork};
use super::objects::{Objects, Service, Workload};
use super::pod::{self, Pod};
use super::probe;
use super::status::State;

/// LIMIT: events kept for whoever asks later.
const MAX_EVENTS: usize = 10_000;
/// LIMIT: how many pods are put on the network at once; more would only wait for the kernel's one lock on links.
const MAX_PLUGGING: usize = 4;

/// Everything that the supervisor knows.
pub(super) struct Engine {
    pub(super) paths: Paths,
    pub(super) network: Arc<Network>,
    pub(super) objects: Objects,
    pub(super) images: Images,
    services: Vec<(Service, Ipv4Addr)>,
    workloads: Mutex<Vec<Wanted>>,
    pods: Mutex<BTreeMap<String, Arc<Pod>>>,
    plugged: Mutex<BTreeMap<String, PodNetwork>>,
    /// A handful at a time: each makes a few processes.
    plugging: Semaphore,
    /// The rules that the node has.
    applied: Mutex<Option<Vec<Balanced>>>,
    changed: watch::Sender<()>,
    started: Instant,
    events: Mutex<VecDeque<Event>>,
    feed: broadcast::Sender<Event>,
}

struct Wanted {
    workload: Workload,
    replicas: u32,
    /// The number of the next pod, for kinds whose pods are never the same again.
    next: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `bytes` random bytes in hex.
pub(super) fn random_hex(bytes: usize) -> String {
    let mut random = vec![0; bytes];
    // Ids only: if the machine has no randomness, they are equal and the agent refuses the second.
    let _ = SystemRandom::new().fill(&mut random);
    hex::encode(random)
}

impl Objects {
    pub(super) fn config_maps_of(&self, namespace: &str) -> BTreeMap<String, Value> {
        of(&self.config_maps, namespace)
    }

    pub(super) fn secrets_of(&self, namespace: &str) -> BTreeMap<String, Value> {
        of(&self.secrets, namespace)
    }
}

fn of(objects: &BTreeMap<(String, String), Value>, wanted: &str) -> BTreeMap<String, Value> {
    let own = objects.iter().filter(|((namespace, _), _)| namespace == wanted);
    own.map(|((_, name), object)| (name.clone(), object.clone())).collect()
}

impl Engine {
    pub(super) fn new(paths: Paths, network: Network, objects: Objects) -> Result<Self, EngineError> {
        let services = objects.services.iter().map(|service| Ok((service.clone(), network.service_address()?)));
        let services = services.collect::<Result<_, EngineError>>()?;
        let workloads = objects.workloads.iter().map(|workload| Wanted {
            workload: workload.clone(),
            replicas: workload.replicas,
            next: 0,
        });
        Ok(Self {
            paths,
            network: Arc::new(network),
            images: Images::new(),
            services,
            workloads: Mutex::new(workloads.collect()),
            pods: Mutex::default(),
            plugged: Mutex::default(),
            plugging: Semaphore::new(MAX_PLUGGING),
            applied: Mutex::default(),
            changed: watch::Sender::new(()),
            started: Instant::now(),
            events: Mutex::default(),
            feed: broadcast::channel(1024).0,
            objects,
        })
    }

    pub(super) fn node_name(&self) -> String {
        format!("local-{}", self.paths.id())
    }

    /// Something changed.
    pub(super) fn touch(&self) {
        self.changed.send_replace(());
    }

    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    pub(super) fn event(&self, object: &str, reason: &str, message: &str) {
        let at_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let event = Event { at_ms, object: object.into(), reason: reason.into(), message: message.into() };
        tracing::info!("{object}: {reason}: {message}");
        let mut events = lock(&self.events);
        if events.len() == MAX_EVENTS {
            events.pop_front();
        }
        events.push_back(event.clone());
        let _ = self.feed.send(event);
    }

    /// What happened so far, and a feed of what will.
    pub(super) fn events(&self) -> (Vec<Event>, broadcast::Receiver<Event>) {
        let events = lock(&self.events);
        (events.iter().cloned().collect(), self.feed.subscribe())
    }

    // ---- Pods -------------------------------------------------------------------------------------------------------

    pub(super) fn pods(&self) -> Vec<Arc<Pod>> {
        lock(&self.pods).values().cloned().collect()
    }

    pub(super) fn pod(&self, name: &str) -> Result<Arc<Pod>, EngineError> {
        let pods = lock(&self.pods);
        pods.get(name)
            .cloned()
            .ok_or_else(|| EngineError::NoSuchPod { name: name.to_owned(), pods: pods.keys().cloned().collect() })
    }

    pub(super) fn ps(&self) -> Vec<PodStatus> {
        let node = self.node_name();
        self.pods().iter().map(|pod| pod.state().shown(&pod.name, &pod.owner, &pod.identity, &node)).collect()
    }

    /// Starts the pods that are missing and stops those that are too many; returns the latter.
    pub(super) fn reconcile(self: &Arc<Self>) -> Vec<Arc<Pod>> {
        let mut leaving = Vec::new();
        for wanted in lock(&self.workloads).iter_mut() {
            let path = wanted.workload.path();
            let mut own: Vec<_> = self.pods().into_iter().filter(|pod| pod.owner == path).collect();
            let count = usize::try_from(wanted.replicas).unwrap_or(usize::MAX);
            // A stateful set loses its highest number first; of others, the youngest.
            own.sort_by_key(|pod| {
                let number = pod.name.rsplit('-').next().and_then(|number| number.parse::<u64>().ok());
                (number.filter(|_| wanted.workload.kind == "StatefulSet"), pod.state().created)
            });
            for pod in own.iter().skip(count) {
                pod.stop(pod.grace());
                leaving.push(Arc::clone(pod));
            }
            let ordered = matches!(wanted.workload.kind.as_str(), "StatefulSet" | "Pod");
            let mut index = 0;
            for _ in own.len()..count {
                let (name, number) = loop {
                    let number = if ordered { index } else { wanted.next };
                    index += 1;
                    wanted.next += 1;
                    let name = policy::request::pod_name(&wanted.workload.object, number);
                    if !lock(&self.pods).contains_key(&name) {
                        break (name, number);
                    }
                };
                let pod = Arc::new(Pod::new(&wanted.workload, name.clone(), number));
                lock(&self.pods).insert(name, Arc::clone(&pod));
                let engine = Arc::clone(self);
                tokio::spawn(async move {
                    pod::run(Arc::clone(&engine), Arc::clone(&pod)).await;
                    lock(&engine.pods).remove(&pod.name);
                    engine.touch();
                });
            }
        }
        self.touch();
        leaving
    }

    /// Sets the number of a workload's pods.
    pub(super) async fn scale(self: &Arc<Self>, name: &str, replicas: u32) -> Result<(), EngineError> {
        {
            let mut workloads = lock(&self.workloads);
            let known: Vec<_> = workloads
                .iter()
                .filter(|wanted| wanted.workload.scales())
                .map(|wanted| wanted.workload.path())
                .collect();
            let found = workloads.iter_mut().find(|wanted| {
                wanted.workload.scales() && (wanted.workload.name == name || wanted.workload.path() == name)
            });
            let found = found.ok_or_else(|| EngineError::NoSuchWorkload { name: name.to_owned(), workloads: known })?;
            let before = std::mem::replace(&mut found.replicas, replicas);
            let path = found.workload.path();
            let wanted = workloads.iter().map(|wanted| u64::from(wanted.replicas)).sum();
            if wanted > MAX_PODS {
                if let Some(found) = workloads.iter_mut().find(|wanted| wanted.workload.path() == path) {
                    found.replicas = before;
                }
                return Err(EngineError::TooManyPods { wanted, most: MAX_PODS });
            }
        }
        self.event(&format!("workload/{name}"), "Scaled", &format!("to {replicas}"));
        for pod in self.reconcile() {
            pod.gone().await;
        }
        Ok(())
    }

    /// Waits until every pod is ready or has completed.
    pub(super) async fn wait_ready(&self, patience: Duration) -> Result<(), EngineError> {
        let mut changes = self.changes();
        let missing = || -> Vec<String> {
            let pods = self.ps();
            let missing = pods.iter().filter(|pod| !pod.is_ready && pod.status != "Completed");
            missing.map(|pod| format!("pod `{}` is {} ({})", pod.name, pod.status, pod.ready)).collect()
        };
        let wait = async {
            while !missing().is_empty() || !self.is_balanced() {
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::time::timeout(patience, wait)
            .await
            .map_err(|_| EngineError::Timeout { what: missing().join(", "), seconds: patience.as_secs() })
    }

    /// Waits until every pod runs, or waits in an init container for what only a manifest can give it; or until one
    /// has failed.
    pub(super) async fn wait_settled(&self, patience: Duration) -> Result<(), EngineError> {
        let mut changes = self.changes();
        let wait = async {
            loop {
                let mut all = true;
                for pod in self.pods() {
                    all &= settled(&self.paths, &pod)?;
                }
                if (all && self.is_balanced()) || changes.changed().await.is_err() {
                    return Ok(());
                }
            }
        };
        let unsettled = || {
            let pods = self.ps();
            let pods: Vec<_> = pods.iter().map(|pod| format!("pod `{}` is {}", pod.name, pod.status)).collect();
            EngineError::Timeout { what: pods.join(", "), seconds: patience.as_secs() }
        };
        tokio::time::timeout(patience, wait).await.unwrap_or_else(|_| Err(unsettled()))
    }

    // ---- Network ----------------------------------------------------------------------------------------------------

    /// Makes a pod's place in the network. Not cancel-safe: a caller that gives up would leave the place behind.
    pub(super) async fn plug(&self, pod: &str) -> Result<PodNetwork, EngineError> {
        let _turn = self.plugging.acquire().await.map_err(|error| EngineError::Bug { reason: error.to_string() })?;
        let network = Arc::clone(&self.network);
        let made = tokio::task::spawn_blocking(move || network.add_pod())
            .await
            .map_err(|error| EngineError::Bug { reason: error.to_string() })??;
        lock(&self.plugged).insert(pod.to_owned(), made.clone());
        Ok(made)
    }

    /// Removes it.
    pub(super) async fn unplug(&self, pod: &str) {
        let Some(made) = lock(&self.plugged).remove(pod) else { return };
        let _turn = self.plugging.acquire().await;
        let network = Arc::clone(&self.network);
        let _ = tokio::task::spawn_blocking(move || network.remove_pod(&made)).await;
    }

    pub(super) async fn attach(&self, name: &str) -> Result<Attachment, EngineError> {
        let place = format!("attached/{name}");
        self.unplug(&place).await;
        let made = self.plug(&place).await?;
        Ok(Attachment { netns: made.path(), ip: made.ip })
    }

    pub(super) async fn detach(&self, name: &str) {
        self.unplug(&format!("attached/{name}")).await;
    }

    // ---- Services ---------------------------------------------------------------------------------------------------

    /// Name, namespace and address of every service.
    pub(super) fn service_addresses(&self) -> Vec<(String, String, Ipv4Addr)> {
        self.services.iter().map(|(service, ip)| (service.name.clone(), service.namespace.clone(), *ip)).collect()
    }

    /// The variables by which Kubernetes tells pods of services.
    pub(super) fn service_environment(&self, namespace: &str) -> Vec<(String, String)> {
        let mut all = Vec::new();
        for (service, ip) in self.services.iter().filter(|(service, _)| service.namespace == namespace) {
            let Some(first) = service.ports.first() else { continue };
            let upper = |name: &str| name.to_uppercase().replace('-', "_");
            let name = upper(&service.name);
            all.push((format!("{name}_SERVICE_HOST"), ip.to_string()));
            all.push((format!("{name}_SERVICE_PORT"), first.port.to_string()));
            for port in service.ports.iter().filter(|port| !port.name.is_empty()) {
                all.push((format!("{name}_SERVICE_PORT_{}", upper(&port.name)), port.port.to_string()));
            }
            let url = |protocol: &str, port: u16| format!("{}://{ip}:{port}", protocol.to_lowercase());
            all.push((format!("{name}_PORT"), url(&first.protocol, first.port)));
            for port in &service.ports {
                let prefix = format!("{name}_PORT_{}_{}", port.port, port.protocol);
                all.push((prefix.clone(), url(&port.protocol, port.port)));
                all.push((format!("{prefix}_PROTO"), port.protocol.to_lowercase()));
                all.push((format!("{prefix}_PORT"), port.port.to_string()));
                all.push((format!("{prefix}_ADDR"), ip.to_string()));
            }
        }
        all
    }

    fn behind<'a>(&self, service: &'a Service) -> impl Iterator<Item = Arc<Pod>> + use<'a> {
        let counts = |pod: &Pod| {
            let state = pod.state();
            state.is_ready() || (service.unready_too && state.ip.is_some() && state.overall.is_none())
        };
        self.pods().into_iter().filter(move |pod| service.selects(&pod.namespace, &pod.template) && counts(pod))
    }

    pub(super) fn services(&self) -> Vec<ServiceStatus> {
        let shown = self.services.iter().map(|(service, ip)| ServiceStatus {
            name: service.name.clone(),
            namespace: service.namespace.clone(),
            kind: service.kind.clone(),
            ip: *ip,
            ports: service
                .ports
                .iter()
                .map(|port| ServicePort { name: port.name.clone(), port: port.port, protocol: port.protocol.clone() })
                .collect(),
            endpoints: self.behind(service).map(|pod| pod.name.clone()).collect(),
        });
        shown.collect()
    }

    fn balanced(&self) -> Vec<Balanced> {
        let mut all = Vec::new();
        for (service, ip) in &self.services {
            for port in &service.ports {
                let endpoints = self.endpoints(service, &port.target);
                all.push(Balanced { ip: *ip, port: port.port, udp: port.protocol == "UDP", endpoints });
            }
        }
        all
    }

    fn endpoints(&self, service: &Service, target: &Value) -> Vec<(Ipv4Addr, u16)> {
        let of_pod = |pod: Arc<Pod>| {
            let spec = &pod.template["spec"];
            // Sidecars may own a named port too.
            let containers = ["containers", "initContainers"].into_iter().filter_map(|field| spec[field].as_array());
            let port = containers.flatten().find_map(|container| probe::port(target, container))?;
            let ip = pod.state().ip?;
            Some((ip, port))
        };
        self.behind(service).filter_map(of_pod).collect()
    }

    /// Whether the node's rules are as the pods' readiness is. Whoever was told that a pod is ready may count on its
    /// service.
    fn is_balanced(&self) -> bool {
        let wanted = self.balanced();
        lock(&self.applied).as_ref() == Some(&wanted)
    }

    /// Keeps the node's rules as the pods' readiness is.
    pub(super) async fn keep_balanced(self: Arc<Self>) {
        let mut changes = self.changes();
        loop {
            let wanted = self.balanced();
            if lock(&self.applied).as_ref() != Some(&wanted) {
                let (network, rules) = (Arc::clone(&self.network), wanted.clone());
                match tokio::task::spawn_blocking(move || network.balance(&rules)).await {
                    Ok(Ok(())) => {
                        *lock(&self.applied) = Some(wanted);
                        self.touch();
                    }
                    Ok(Err(error)) => {
                        self.event("services", "FailedToBalance", &error.to_string());
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                    Err(_) => return,
                }
                continue;
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    }
}

/// Whether a pod has come as far as it can without a manifest; an error when it cannot come that far.
fn settled(paths: &Paths, pod: &Pod) -> Result<bool, EngineError> {
    let state = pod.state();
    if let Some(finished) = state.finished {
        return if finished { Ok(true) } else { Err(failure(paths, pod, &state.status(), state.why())) };
    }
    if state.overall.is_some() {
        return Err(failure(paths, pod, &state.status(), state.why()));
    }
    for (container, index) in state.containers.iter().zip(0..) {
        let State::Waiting(reason) = container.state else { continue };
        if matches!(reason, "PodInitializing" | "ContainerCreating") {
            continue;
        }
        let message = container.message.clone().unwrap_or_default();
        let image = image_of(pod, index);
        return Err(match container.refused {
            Some(AgentErrorCode::ImageMissing) => EngineError::ImageMissing {
                image,
                pod: pod.name.clone(),
                container: container.name.clone(),
                reason: message,
            },
            Some(AgentErrorCode::RegistryDown) => EngineError::RegistryDown { image, reason: message },
            _ => {
                let tail = log_tail(paths, &pod.name, &container.name);
                let why = format!("container `{}`: {message}{tail}", container.name);
                failure(paths, pod, &state.status(), Some(why))
            }
        });
    }
    let waits = |container: &super::status::Container| {
        container.init && !container.sidecar && container.state == State::Running
    };
    let runs = state.initialised
        && state.containers.iter().filter(|container| !container.init).all(|container| match container.state {
            State::Running => container.started,
            State::Terminated(status) => status == 0,
            State::Waiting(_) => false,
        });
    Ok(runs || state.containers.iter().any(waits))
}

fn failure(_: &Paths, pod: &Pod, status: &str, reason: Option<String>) -> EngineError {
    EngineError::PodFailed {
        pod: pod.name.clone(),
        status: status.to_owned(),
        reason: reason.unwrap_or_else(|| "no reason given".into()),
    }
}

fn image_of(pod: &Pod, index: usize) -> String {
    let spec = &pod.template["spec"];
    let containers = ["initContainers", "containers"].into_iter().filter_map(|field| spec[field].as_array());
    containers.flatten().nth(index).and_then(|container| container["image"].as_str()).unwrap_or_default().to_owned()
}

/// The last words of a container that keeps ending.
fn log_tail(paths: &Paths, pod: &str, container: &str) -> String {
    let text = std::fs::read(paths.container_log(pod, container)).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    match text.trim_end().lines().last() {
        Some(line) if !line.is_empty() => format!("; its last words: {line}"),
        _ => String::new(),
    }
}
