//! A pod and a Coordinator.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use base64::Engine as _;
use channel::{Channel, ClientTerms, TlsIdentity};
use coordinator::{Config, Coordinator};
use pki::owner::OwnerKey;
use protocol::api::{
    PutSecret, Roots, SetReply, SignedManifest, USER_PORT, UserReply, UserRequest, secret_message, transition,
};
use protocol::digest::Measurement;
use protocol::initdata::{Egress, Ingress, Settings};
use protocol::manifest::{Manifest, PolicyEntry, Quorum};
use protocol::{DeploymentId, Digest, Evidence, Identity, Initdata, Purpose, ReportData, Role, Secret};
use testkit::SoftwareTee;
use tokio::sync::oneshot;

use crate::netns::{Netns, ip};

pub(crate) const MEASUREMENT: Measurement = Measurement::from_bytes([3; 48]);
pub(crate) const POD: &str = "10.98.0.1";
pub(crate) const COORDINATOR: &str = "10.98.0.2";
/// The workload's port, which needs no client certificate.
pub(crate) const PORT: u16 = 8080;

/// The port of [`PEER`], which the pod's mesh calls for programs that connect to [`CALLS`].
pub(crate) const PEER_PORT: u16 = 9443;
const PEER: &str = "peer.default.svc";
/// Where programs of the pod connect to; the port takes a capability to listen at.
pub(crate) const CALLS: &str = "127.0.0.2:443";
/// Likewise; the mesh demands a name that the remote's certificate does not carry.
pub(crate) const CALLS_IN_VAIN: &str = "127.0.0.3:443";

fn egress((listen, certificate_name): (&str, &str)) -> Egress {
    Egress {
        name: certificate_name.to_owned(),
        listen: listen.parse().unwrap(),
        host: PEER.to_owned(),
        port: PEER_PORT,
        certificate_name: certificate_name.to_owned(),
    }
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// A deployment: owners, TEE, and what its pods are.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) deployment: DeploymentId,
    owner: Arc<OwnerKey>,
    pub(crate) tee: Arc<SoftwareTee>,
    coordinator: Initdata,
    pub(crate) workload: Initdata,
    pub(crate) manifest: Manifest,
}

impl World {
    pub(crate) fn new(number: u8, tee: &Arc<SoftwareTee>) -> Self {
        let deployment = DeploymentId::from_bytes([number; 16]);
        let owner = OwnerKey::generate().unwrap();
        let owners = Quorum { threshold: 1, keys: vec![owner.public()] };
        let mut settings = Settings {
            version: 1,
            deployment_id: deployment,
            role: Role::Coordinator,
            mesh: false,
            coordinator: None,
            open_ports: vec![],
            fs_group: None,
            owners: owners.clone(),
            reference_values: tee.reference_values(&[MEASUREMENT]),
            files: BTreeMap::new(),
            ingress: vec![],
            egress: vec![],
        };
        let coordinator = Initdata::build("package agent_policy\n", &settings).unwrap();
        settings.role = Role::Workload;
        settings.mesh = true;
        settings.coordinator = Some(coordinator.identity());
        let labels = BTreeMap::from([("labels.txt".to_owned(), Digest::of(b"zero one two").into())]);
        settings.files = BTreeMap::from([("config".to_owned(), labels)]);
        settings.ingress = vec![Ingress { name: "http".into(), port: PORT, client_certificate: false }];
        settings.egress = [(CALLS, "inference"), (CALLS_IN_VAIN, "another")].map(egress).to_vec();
        let workload = Initdata::build("package agent_policy\n", &settings).unwrap();
        let entry = |name: &str, role, secrets: &[&str]| PolicyEntry {
            names: vec![name.into()],
            role,
            secrets: secrets.iter().map(|&name| name.to_owned()).collect::<BTreeSet<_>>(),
            callers: None,
            platforms: None,
        };
        let manifest = Manifest {
            version: 1,
            deployment_id: deployment,
            policies: BTreeMap::from([
                (coordinator.identity(), entry("coordinator", Role::Coordinator, &[])),
                (workload.identity(), entry("inference", Role::Workload, &["model-key"])),
            ]),
            reference_values: settings.reference_values,
            seed_share_holders: Quorum {
                threshold: 1,
                keys: vec![pki::holder::HolderKey::generate().unwrap().public()],
            },
            owners,
            lease_seconds: 10,
        };
        Self { deployment, owner: Arc::new(owner), tee: Arc::clone(tee), coordinator, workload, manifest }
    }

    /// The Coordinator's identity.
    pub(crate) fn coordinator(&self) -> Identity {
        self.coordinator.identity()
    }

    /// Runs everything in another TEE, which the manifest of whoever runs it accepts.
    pub(crate) fn move_to(&mut self, tee: &Arc<SoftwareTee>) {
        self.tee = Arc::clone(tee);
        self.manifest.reference_values = tee.reference_values(&[MEASUREMENT]);
    }

    fn transition(&self) -> Digest {
        transition(self.deployment, Digest::ZERO, &self.manifest.to_text())
    }

    fn signed(&self) -> SignedManifest {
        let manifest = self.manifest.to_text();
        let signatures = vec![self.owner.sign(&self.transition()).unwrap()];
        SignedManifest { manifest, previous: Digest::ZERO, signatures }
    }

    fn secret(&self) -> PutSecret {
        let (name, version, value) = ("model-key".to_owned(), 1, b"open sesame".to_vec());
        let message = secret_message(self.deployment, self.transition(), &name, version, &value);
        PutSecret { name, version, signatures: vec![self.owner.sign(&message).unwrap()], value: Secret::new(value) }
    }
}

/// Two namespaces joined by a cable, the pod's root folder, and whatever runs.
pub(crate) struct Rig {
    pub(crate) pod: Netns,
    pub(crate) outside: Netns,
    pub(crate) root: tempfile::TempDir,
    coordinator: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
    store: tempfile::TempDir,
}

impl Rig {
    /// A pod with the initdata of `world`, whose TEE was launched with `launched`.
    pub(crate) fn new(world: &World, launched: Identity) -> Self {
        let (pod, outside) = (Netns::new(), Netns::new());
        ip(&format!("-n {} link add eth0 type veth peer name eth0 netns {}", pod.name, outside.name));
        for (netns, address) in [(&pod, POD), (&outside, COORDINATOR)] {
            ip(&format!("-n {} link set eth0 up", netns.name));
            ip(&format!("-n {} addr add {address}/24 dev eth0", netns.name));
        }
        let root = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let put = |path: &str, content: &[u8]| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        };
        put("casemate-in/podinfo/initdata", world.workload.to_annotation().as_bytes());
        put("casemate-in/files/config/labels.txt", b"zero one two");
        put("etc/hosts", format!("127.0.0.1 localhost\n{COORDINATOR} coordinator {PEER}\n").as_bytes());
        std::fs::create_dir_all(root.path().join("casemate-files/config")).unwrap();
        for (name, binary) in [
            ("casemate-pod", env!("CARGO_BIN_EXE_casemate-pod")),
            ("casemate-launch", env!("CARGO_BIN_EXE_casemate-launch")),
        ] {
            std::fs::hard_link(binary, root.path().join(name)).unwrap();
        }
        serve_agent(&pod, &world.tee, launched);
        Self { pod, outside, root, coordinator: None, store: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn start_coordinator(&mut self, world: &World) {
        let identity = world.coordinator.identity();
        let attester = world.tee.attester(MEASUREMENT, identity);
        let mut config = Config::new(world.coordinator.clone(), attester, self.store.path().to_owned());
        config.listen = COORDINATOR.parse::<IpAddr>().unwrap();
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = self.outside.spawn(move || {
            block_on(async {
                let coordinator = Coordinator::start(config).await.unwrap();
                ready.send(()).unwrap();
                let stopped = async {
                    let _ = stopped.await;
                };
                coordinator.serve(stopped).await.unwrap();
            });
        });
        is_ready.recv().unwrap();
        self.coordinator = Some((stop, thread));
    }

    pub(crate) fn stop_coordinator(&mut self) {
        if let Some((stop, thread)) = self.coordinator.take() {
            drop(stop);
            thread.join().unwrap();
        }
    }

    /// What a host does that wants a fresh start: the Coordinator keeps its identity and loses its past.
    pub(crate) fn empty_store(&mut self) {
        self.store = tempfile::tempdir().unwrap();
    }

    /// Sets the manifest and stores the secret, as the owner does.
    pub(crate) fn set(&self, world: &World) -> Roots {
        let (signed, secret) = (world.signed(), world.secret());
        let values = world.manifest.reference_values.clone();
        let deployment = world.deployment;
        self.outside.run(move || {
            block_on(async {
                let open = async |purpose| -> Channel<tokio::net::TcpStream> {
                    let stream = tokio::net::TcpStream::connect((COORDINATOR, USER_PORT)).await.unwrap();
                    let terms = ClientTerms { purpose, deployment, attest: None, judge: channel::Given::nothing() };
                    let identity = TlsIdentity::generate().unwrap();
                    channel::connect(stream, &identity, terms, |evidence| verifier::appraise(evidence, &values))
                        .await
                        .unwrap()
                };
                let mut channel = open(Purpose::Set).await;
                channel.send(&UserRequest::SetManifest(signed)).await.unwrap();
                let UserReply::Set(SetReply { roots, .. }) = channel.recv().await.unwrap() else { panic!("not set") };
                let mut channel = open(Purpose::Secret).await;
                channel.send(&UserRequest::PutSecret(secret)).await.unwrap();
                let UserReply::SecretStored(_) = channel.recv().await.unwrap() else { panic!("not stored") };
                roots
            })
        })
    }

    /// Starts a command of the pod's image, in the pod.
    pub(crate) fn start(&self, arguments: &[&str]) -> Process {
        let mut child = Command::new("ip")
            .args(["netns", "exec", &self.pod.name, "chroot"])
            .arg(self.root.path())
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let into = Arc::clone(&log);
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let reader = std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = writeln!(into.lock().unwrap(), "{line}");
            }
        });
        Process { child, log, reader: Some(reader) }
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    pub(crate) fn has_launcher(&self) -> bool {
        self.path("casemate/bin/launch").exists()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.stop_coordinator();
    }
}

/// The pod agent's attestation API, in the pod's namespace.
fn serve_agent(pod: &Netns, tee: &Arc<SoftwareTee>, identity: Identity) {
    let listener = pod.run(|| TcpListener::bind("127.0.0.1:8006").unwrap());
    let tee = Arc::clone(tee);
    // Ends with the test process: a listener has no other end.
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            answer(stream, &tee, identity);
        }
    });
}

fn answer(mut stream: TcpStream, tee: &SoftwareTee, identity: Identity) {
    let mut request = String::new();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    if reader.read_line(&mut request).is_err() {
        return;
    }
    let mut header = String::new();
    while reader.read_line(&mut header).is_ok_and(|length| length > 2) {
        header.clear();
    }
    // As the engine's agent, it knows nothing of devices.
    if !request.starts_with("GET /aa/evidence?") {
        let _ = write!(stream, "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        return;
    }
    let Some(data) = request.split("runtime_data=").nth(1).and_then(|rest| rest.split(['&', ' ']).next()) else {
        return;
    };
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(data).unwrap();
    let evidence: Evidence = tee.evidence(MEASUREMENT, identity, &ReportData(bytes.try_into().unwrap()));
    let body = json(&evidence);
    let _ = write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
}

fn json(evidence: &Evidence) -> String {
    serde_json::to_string(evidence).unwrap()
}

/// A command that runs in the pod.
pub(crate) struct Process {
    child: Child,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Process {
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end; exit status and log.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        let start = Instant::now();
        while self.is_running() {
            assert!(start.elapsed() < Duration::from_secs(30), "it does not end:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        (self.child.wait().unwrap().code(), self.log())
    }

    /// What it wrote to standard output, once it has ended.
    pub(crate) fn output(mut self) -> String {
        let mut text = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        text
    }

    pub(crate) fn eventually_logs(&self, text: &str) {
        let start = Instant::now();
        while !self.log().contains(text) {
            assert!(start.elapsed() < Duration::from_secs(20), "`{text}` is not in the log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// A row of `/proc/PID/status`. `ip netns exec` and `chroot` replace themselves, so the child is the command.
    pub(crate) fn status(&self, row: &str) -> String {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = text.lines().find(|line| line.starts_with(&format!("{row}:"))).unwrap();
        line.split_once(':').unwrap().1.trim().to_owned()
    }

    pub(crate) fn terminate(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn eventually(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < limit, "{what} did not come about");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}
