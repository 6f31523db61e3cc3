//! The server, nodes, devices and agents of the tests.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gpu::registers::Access;
use gpu::simulated::{Host, Life, VirtualClock};
use gpu::transition::Hands;
use gpu::{Address, Bus, BusError, ConfigSpace};
use http::{HeaderName, HeaderValue};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, ListParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use node::agent::client;
use node::agent::device::{Change, Devices, Failure, Observed};
use node::agent::gpus::Gpus;
use node::agent::hands::Patience;
use node::agent::metrics::Metrics;
use node::agent::run::{self, Options};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::cluster::{self, ADMIN, Cluster, Missing};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long anything may take to happen; nothing is asserted about how long it does take.
const PATIENCE: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(20);
pub(crate) const SERVICE_ACCOUNT: &str = "system:serviceaccount:casemate-system:casemate-node";
pub(crate) const JSON: &str = "application/json";
pub(crate) const MERGE: &str = "application/merge-patch+json";
pub(crate) const APPLY: &str = "application/apply-patch+yaml";

pub(crate) type Labels = BTreeMap<String, String>;

/// What all tests share.
pub(crate) struct Rig {
    pub(crate) cluster: Cluster,
    pub(crate) runtime: Runtime,
}

impl Rig {
    pub(crate) fn start() -> Result<Self, Missing> {
        let cluster = Cluster::start(&cluster::Options::default())?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        Ok(Self { cluster, runtime: runtime.expect("an executor") })
    }

    /// After a test that failed in the middle of an outage.
    pub(crate) fn mend(&mut self) {
        self.cluster.restart_api(&[]);
    }

    /// A configuration for the administrator.
    pub(crate) fn admin(&self) -> Config {
        let file = Kubeconfig::from_yaml(&self.cluster.kubeconfig(ADMIN)).expect("a kubeconfig");
        let options = KubeConfigOptions::default();
        self.runtime.block_on(Config::from_custom_kubeconfig(file, &options)).expect("a configuration")
    }

    /// A configuration for the agent of a node, with the rights of the manifest and no more.
    pub(crate) fn agent_of(&self, node: &str) -> Config {
        let mut config = self.admin();
        for (name, value) in [
            ("impersonate-user", SERVICE_ACCOUNT),
            ("impersonate-group", "system:serviceaccounts"),
            // As the API server itself puts it into the token of a pod.
            ("impersonate-extra-authentication.kubernetes.io%2fnode-name", node),
        ] {
            let name = HeaderName::from_static(name);
            config.headers.push((name, HeaderValue::from_str(value).expect("a header")));
        }
        config
    }

    pub(crate) fn client(&self) -> Client {
        let config = self.admin();
        let _inside = self.runtime.enter();
        client::client(&config, Arc::default()).expect("a client")
    }

    /// Makes a node.
    pub(crate) fn node(&self, name: &str, labels: &[(&str, &str)]) {
        let labels: BTreeMap<&str, &str> = labels.iter().copied().collect();
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}});
        self.post("/api/v1/nodes", &node);
    }

    /// Sets labels of a node, or with null takes them away, as `kubectl label` does.
    pub(crate) fn label(&self, node: &str, labels: &Value) {
        let patch = json!({"metadata": {"labels": labels}}).to_string();
        let path = format!("/api/v1/nodes/{node}?fieldManager=kubectl-label");
        let answer = self.cluster.ask("PATCH", &path, Some((MERGE, &patch)));
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    pub(crate) fn post(&self, path: &str, object: &Value) -> Value {
        let answer = self.cluster.ask("POST", path, Some((JSON, &object.to_string())));
        assert!(matches!(answer.status, 200 | 201), "{path}: {}", answer.text());
        serde_json::from_slice(&answer.body).expect("JSON")
    }

    pub(crate) fn get(&self, path: &str) -> Value {
        let answer = self.cluster.ask("GET", path, None);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        serde_json::from_slice(&answer.body).expect("JSON")
    }

    pub(crate) fn labels(&self, node: &str) -> Labels {
        let node = self.get(&format!("/api/v1/nodes/{node}"));
        serde_json::from_value(node["metadata"]["labels"].clone()).unwrap_or_default()
    }

    /// Waits until a node's labels are as they should be.
    pub(crate) fn wait_for_labels(&self, node: &str, what: &str, good: impl Fn(&Labels) -> bool) -> Labels {
        let mut last = Labels::new();
        self.wait(what, || {
            last = self.labels(node);
            good(&last)
        });
        last
    }

    /// Waits until something holds.
    #[expect(clippy::unused_self, reason = "it reads better at the places that wait")]
    pub(crate) fn wait(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let begun = std::time::Instant::now();
        while !holds() {
            assert!(begun.elapsed() < PATIENCE, "it never happened: {what}");
            std::thread::sleep(POLL);
        }
    }

    /// Reasons and notes of the events about a node.
    pub(crate) fn events(&self, node: &str) -> Vec<(String, String)> {
        let api: Api<Event> = Api::namespaced(self.client(), "default");
        let events = self.runtime.block_on(api.list(&ListParams::default())).expect("events");
        let about = |event: &Event| event.regarding.as_ref().is_some_and(|r| r.name.as_deref() == Some(node));
        let words = |event: Event| (event.reason.unwrap_or_default(), event.note.unwrap_or_default());
        events.items.into_iter().filter(about).map(words).collect()
    }

    pub(crate) fn wait_for_event(&self, node: &str, reason: &str) -> String {
        let mut found = None;
        self.wait(&format!("event {reason} about {node}"), || {
            found = self.events(node).into_iter().find(|(seen, _)| seen == reason).map(|(_, note)| note);
            found.is_some()
        });
        found.unwrap_or_default()
    }

    /// Starts an agent.
    pub(crate) fn agent(&self, config: &Config, node: &str, devices: Arc<dyn Devices>) -> Agent {
        let metrics = Arc::new(Metrics::default());
        let (end, ending) = watch::channel(false);
        let options = Options {
            rescan: Duration::from_millis(100),
            patience: Patience { write: Duration::from_secs(30), pods: Duration::from_secs(30) },
            retry: (Duration::from_millis(200), Duration::from_secs(1)),
            settle: Duration::from_millis(100),
            ..Options::new(node)
        };
        let _inside = self.runtime.enter();
        let client = client::client(config, Arc::clone(&metrics)).expect("a client");
        let task = self.runtime.spawn(run::run(client, devices, options, Arc::clone(&metrics), ending));
        Agent { end, task: Some(task), metrics, runtime: self.runtime.handle().clone() }
    }
}

/// A running agent. Dropping it ends it.
pub(crate) struct Agent {
    end: watch::Sender<bool>,
    task: Option<JoinHandle<()>>,
    pub(crate) metrics: Arc<Metrics>,
    runtime: Handle,
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.end.send(true);
        if let Some(task) = self.task.take() {
            let ended = self.runtime.block_on(task);
            assert!(ended.is_ok() || std::thread::panicking(), "the agent ended in a panic");
        }
    }
}

/// A machine with features that a test changes, and without devices.
#[derive(Default)]
pub(crate) struct Told(pub(crate) Mutex<Observed>);

impl Told {
    pub(crate) fn features(labels: &[(&str, &str)]) -> Arc<Self> {
        let told = Self::default();
        told.set(labels);
        Arc::new(told)
    }

    pub(crate) fn set(&self, labels: &[(&str, &str)]) {
        let labels = labels.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned()));
        self.0.lock().expect("no panic").features = labels.collect();
    }
}

impl Devices for Told {
    fn observe(&self) -> Result<Observed, String> {
        Ok(self.0.lock().expect("no panic").clone())
    }

    fn recover(&self, _: Option<Change>, _: &mut dyn Hands) -> Result<bool, Failure> {
        Ok(false)
    }

    fn change(&self, to: Change, _: &mut dyn Hands) -> Result<(), Failure> {
        panic!("nobody asked for `{}`", to.mode)
    }
}

/// Devices, and how many threads are at them now: one process ends before the next begins, and threads do not.
pub(crate) struct Counted {
    pub(crate) devices: Arc<Gpus>,
    pub(crate) at_work: AtomicUsize,
}

impl Counted {
    fn counted<T>(&self, work: impl FnOnce() -> T) -> T {
        self.at_work.fetch_add(1, Ordering::SeqCst);
        let result = work();
        self.at_work.fetch_sub(1, Ordering::SeqCst);
        result
    }
}

impl Devices for Counted {
    fn observe(&self) -> Result<Observed, String> {
        self.devices.observe()
    }

    fn recover(&self, wanted: Option<Change>, hands: &mut dyn Hands) -> Result<bool, Failure> {
        self.counted(|| self.devices.recover(wanted, hands))
    }

    fn change(&self, to: Change, hands: &mut dyn Hands) -> Result<(), Failure> {
        self.counted(|| self.devices.change(to, hands))
    }
}

/// A machine with simulated GPUs, whose every reset looks at what the node says at that moment.
pub(crate) struct Simulated {
    pub(crate) host: Host,
    pub(crate) devices: Arc<Gpus>,
    /// What the node said about readiness at each reset.
    pub(crate) said_at_resets: Arc<Mutex<Vec<Option<String>>>>,
    _folder: TempDir,
}

impl Simulated {
    pub(crate) fn new(rig: &Rig, node: &str, fill: impl FnOnce(&Host)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let clock: Arc<VirtualClock> = Arc::default();
        let host = Host::new(folder.path().join("root"), Arc::clone(&clock) as Arc<dyn gpu::Clock>);
        fill(&host);
        let parameters = host.root().join("sys/module/kvm_amd/parameters");
        std::fs::create_dir_all(&parameters).expect("a folder");
        std::fs::write(parameters.join("sev_snp"), "Y\n").expect("a file");
        let said_at_resets: Arc<Mutex<Vec<Option<String>>>> = Arc::default();
        let bus = Watchful {
            bus: host.bus(&Arc::new(Life::long())),
            nodes: Api::all(rig.client()),
            node: node.to_owned(),
            runtime: rig.runtime.handle().clone(),
            said: Arc::clone(&said_at_resets),
        };
        let journal = folder.path().join("transition.json");
        let devices = Arc::new(Gpus::new(host.machine(), Arc::new(bus), clock, journal));
        Self { host, devices, said_at_resets, _folder: folder }
    }
}

struct Watchful {
    bus: Arc<dyn Bus>,
    nodes: Api<Node>,
    node: String,
    runtime: Handle,
    said: Arc<Mutex<Vec<Option<String>>>>,
}

impl Bus for Watchful {
    fn open(&self, device: Address, access: Access) -> Result<Box<dyn gpu::registers::Registers>, BusError> {
        self.bus.open(device, access)
    }

    fn config(&self, device: Address) -> Result<ConfigSpace, BusError> {
        self.bus.config(device)
    }

    fn driver(&self, device: Address) -> Result<Option<String>, BusError> {
        self.bus.driver(device)
    }

    fn asleep(&self, device: Address) -> Result<Option<String>, BusError> {
        self.bus.asleep(device)
    }

    fn reset(&self, device: Address) -> Result<(), BusError> {
        let node = self.runtime.block_on(self.nodes.get(&self.node)).expect("the node");
        let said = node.metadata.labels.unwrap_or_default().get("nvidia.com/cc.ready.state").cloned();
        self.said.lock().expect("no panic").push(said);
        self.bus.reset(device)
    }
}
