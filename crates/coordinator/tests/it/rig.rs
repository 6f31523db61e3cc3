//! A deployment in a test: owners, holders, a software TEE, a Coordinator and clients of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use channel::{Channel, ChannelError, ClientTerms, TlsIdentity};
use coordinator::{Addresses, Config, Coordinator, Ports, RunError};
use pki::holder::HolderKey;
use pki::owner::OwnerKey;
use protocol::api::{
    ApiError, CoordinatorState, ErrorCode, Granted, MeshReply, MeshRequest, PutSecret, RecoverReply, RecoverShare,
    SeedShares, SetReply, SignedManifest, StateReply, UserReply, UserRequest, secret_message, transition,
};
use protocol::digest::Measurement;
use protocol::initdata::Settings;
use protocol::log::LoggedEntry;
use protocol::manifest::{Manifest, PolicyEntry, Quorum};
use protocol::{DeploymentId, Digest, Identity, Initdata, Purpose, Role, Secret};
use testkit::SoftwareTee;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// What the rig's TEE says was started.
pub(crate) const MEASUREMENT: Measurement = Measurement::from_bytes([1; 48]);

// Making RSA keys takes seconds, so all tests share three.
static HOLDERS: LazyLock<[HolderKey; 3]> = LazyLock::new(|| std::array::from_fn(|_| HolderKey::generate().unwrap()));

pub(crate) fn holders(n: usize) -> &'static [HolderKey] {
    &HOLDERS[..n]
}

pub(crate) fn quorum<'a>(threshold: u32, keys: impl IntoIterator<Item = &'a OwnerKey>) -> Quorum {
    Quorum { threshold, keys: keys.into_iter().map(OwnerKey::public).collect() }
}

pub(crate) fn identity(name: &str) -> Identity {
    Identity(Digest::of(name.as_bytes()))
}

/// A deployment before anything runs.
pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) tee: Arc<SoftwareTee>,
    pub(crate) deployment: DeploymentId,
    pub(crate) owner: OwnerKey,
    pub(crate) initdata: Initdata,
    pub(crate) manifest: Manifest,
}

impl World {
    /// One owner, and `threshold` of `holders` share holders.
    pub(crate) fn new(threshold: u32, shares: usize) -> Self {
        let tee = Arc::new(SoftwareTee::generate());
        let deployment = DeploymentId::from_bytes([7; 16]);
        let owner = OwnerKey::generate().unwrap();
        let initdata = Initdata::build("package agent_policy\n", &settings(deployment, &owner, &tee)).unwrap();
        let entry = |name: &str, role, secrets: &[&str]| PolicyEntry {
            names: vec![name.to_owned(), format!("{name}.default")],
            role,
            secrets: secrets.iter().map(|&secret| secret.to_owned()).collect(),
            callers: None,
            platforms: None,
        };
        let restricted = PolicyEntry {
            callers: Some(BTreeSet::from(["web".to_owned()])),
            ..entry("inference", Role::Workload, &["model"])
        };
        let manifest = Manifest {
            version: 1,
            deployment_id: deployment,
            policies: BTreeMap::from([
                (initdata.identity(), entry("coordinator", Role::Coordinator, &[])),
                (identity("web"), entry("web", Role::Workload, &[])),
                (identity("inference"), restricted),
            ]),
            reference_values: tee.reference_values(&[MEASUREMENT]),
            owners: quorum(1, [&owner]),
            seed_share_holders: Quorum { threshold, keys: holders(shares).iter().map(HolderKey::public).collect() },
            lease_seconds: 60,
        };
        let dir = tempfile::tempdir().unwrap();
        Self { dir, tee, deployment, owner, initdata, manifest }
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    pub(crate) fn config(&self, store: &Path) -> Config {
        let attester = self.tee.attester(MEASUREMENT, self.initdata.identity());
        Config {
            listen: Ipv4Addr::LOCALHOST.into(),
            ports: Ports { user: 0, mesh: 0, probes: 0 },
            ..Config::new(self.initdata.clone(), attester, store.to_owned())
        }
    }

    pub(crate) async fn start(&self) -> Running<'_> {
        self.start_on(&self.store()).await
    }

    pub(crate) async fn start_on(&self, store: &Path) -> Running<'_> {
        let coordinator = Coordinator::start(self.config(store)).await.unwrap();
        let addresses = coordinator.addresses();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(coordinator.serve(async {
            let _ = stopped.await;
        }));
        Running { world: self, addresses, stop, task }
    }

    /// Starts a Coordinator that is expected not to start.
    pub(crate) async fn fails_to_start(&self) -> RunError {
        Coordinator::start(self.config(&self.store())).await.unwrap_err()
    }

    /// Signs a manifest as the successor of `previous`.
    pub(crate) fn sign(&self, manifest: &Manifest, previous: Digest, keys: &[&OwnerKey]) -> SignedManifest {
        let manifest = manifest.to_text();
        let message = transition(self.deployment, previous, &manifest);
        let signatures = keys.iter().map(|key| key.sign(&message).unwrap()).collect();
        SignedManifest { manifest, previous, signatures }
    }

    /// The first manifest, as its owner hands it over.
    pub(crate) fn first(&self) -> SignedManifest {
        self.sign(&self.manifest, Digest::ZERO, &[&self.owner])
    }

    pub(crate) fn transition(&self, signed: &SignedManifest) -> Digest {
        transition(self.deployment, signed.previous, &signed.manifest)
    }

    /// A secret for those whom the first manifest names.
    pub(crate) fn secret(&self, name: &str, version: u64, value: &[u8], key: &OwnerKey) -> UserRequest {
        self.secret_under(self.transition(&self.first()), name, version, value, key)
    }

    /// A secret for those whom the manifest with transition `active` names.
    pub(crate) fn secret_under(
        &self,
        active: Digest,
        name: &str,
        version: u64,
        value: &[u8],
        key: &OwnerKey,
    ) -> UserRequest {
        let message = secret_message(self.deployment, active, name, version, value);
        UserRequest::PutSecret(PutSecret {
            name: name.to_owned(),
            version,
            value: Secret::new(value.to_vec()),
            signatures: vec![key.sign(&message).unwrap()],
        })
    }
}

/// What holder `index` sends.
pub(crate) fn share(shares: &SeedShares, index: usize, checkpoint: Option<&str>) -> RecoverShare {
    let key = &HOLDERS[index];
    let encrypted = shares.shares.iter().find(|share| share.holder == key.public().id()).unwrap();
    RecoverShare {
        holder: key.public().id(),
        share: key.decrypt(encrypted).unwrap(),
        checkpoint: checkpoint.map(ToOwned::to_owned),
    }
}

pub(crate) fn settings(deployment: DeploymentId, owner: &OwnerKey, tee: &SoftwareTee) -> Settings {
    Settings {
        version: 1,
        deployment_id: deployment,
        role: Role::Coordinator,
        mesh: false,
        coordinator: None,
        open_ports: vec![1313, 7777, 9102],
        fs_group: None,
        owners: quorum(1, [owner]),
        reference_values: tee.reference_values(&[MEASUREMENT]),
        files: BTreeMap::new(),
        ingress: vec![],
        egress: vec![],
    }
}

/// A Coordinator that serves.
pub(crate) struct Running<'a> {
    pub(crate) world: &'a World,
    pub(crate) addresses: Addresses,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), RunError>>,
}

/// A key and a request for a certificate of it.
pub(crate) fn csr() -> Vec<u8> {
    let key = rcgen::KeyPair::generate().unwrap();
    rcgen::CertificateParams::new(vec![]).unwrap().serialize_request(&key).unwrap().der().to_vec()
}

impl Running<'_> {
    /// Ends it; the store is free afterwards.
    pub(crate) async fn stop(self) {
        drop(self.stop);
        self.task.await.unwrap().unwrap();
    }

    pub(crate) async fn open(&self, purpose: Purpose) -> Channel<TcpStream> {
        let terms =
            ClientTerms { purpose, deployment: self.world.deployment, attest: None, judge: channel::Given::nothing() };
        self.connect(self.addresses.user, terms).await.unwrap()
    }

    pub(crate) async fn connect(&self, to: SocketAddr, terms: ClientTerms) -> Result<Channel<TcpStream>, ChannelError> {
        let stream = TcpStream::connect(to).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let values = &self.world.manifest.reference_values;
        let tls = TlsIdentity::generate().unwrap();
        channel::connect(stream, &tls, terms, |evidence| verifier::appraise(evidence, values)).await
    }

    pub(crate) async fn ask(&self, purpose: Purpose, request: &UserRequest) -> Result<UserReply, ApiError> {
        let mut channel = self.open(purpose).await;
        channel.send(request).await.unwrap();
        match channel.recv().await.unwrap() {
            UserReply::Error(error) => Err(error),
            reply => Ok(reply),
        }
    }

    pub(crate) async fn state(&self, known: Option<u64>) -> StateReply {
        match self.ask(Purpose::Verify, &UserRequest::State { known }).await.unwrap() {
            UserReply::State(state) => state,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn set(&self, signed: &SignedManifest) -> Result<SetReply, ApiError> {
        match self.ask(Purpose::Set, &UserRequest::SetManifest(signed.clone())).await? {
            UserReply::Set(reply) => Ok(reply),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn put(&self, request: &UserRequest) -> Result<LoggedEntry, ApiError> {
        match self.ask(Purpose::Secret, request).await? {
            UserReply::SecretStored(logged) => Ok(logged),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn recover(&self, share: RecoverShare) -> Result<RecoverReply, ApiError> {
        match self.ask(Purpose::Recover, &UserRequest::Recover(share)).await? {
            UserReply::Recover(reply) => Ok(reply),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn mesh_terms(&self, identity: Identity) -> ClientTerms {
        let attester = self.world.tee.attester(MEASUREMENT, identity);
        ClientTerms {
            purpose: Purpose::Mesh,
            deployment: self.world.deployment,
            attest: Some((Role::Workload, attester)),
            judge: channel::Given::nothing(),
        }
    }

    /// A workload's request, from connection to answer.
    pub(crate) async fn mesh(&self, terms: ClientTerms, request: &MeshRequest) -> Result<Granted, ErrorCode> {
        let mut channel = self.connect(self.addresses.mesh, terms).await.map_err(|error| error.code().unwrap())?;
        channel.send(request).await.unwrap();
        match channel.recv().await.unwrap() {
            MeshReply::Granted(granted) => Ok(*granted),
            MeshReply::Error(error) => Err(error.code),
        }
    }

    pub(crate) async fn enroll(&self, name: &str) -> Result<Granted, ErrorCode> {
        self.mesh(self.mesh_terms(identity(name)), &MeshRequest::Enroll { csr: csr() }).await
    }

    pub(crate) async fn renew(&self, name: &str) -> Result<Granted, ErrorCode> {
        self.renew_after(name, 0).await
    }

    /// Renews as a workload that was shown a log of `known` entries.
    pub(crate) async fn renew_after(&self, name: &str, known: u64) -> Result<Granted, ErrorCode> {
        self.mesh(self.mesh_terms(identity(name)), &MeshRequest::Renew { csr: csr(), known }).await
    }

    /// The code of a refusal.
    pub(crate) async fn refused(&self, purpose: Purpose, request: &UserRequest) -> ErrorCode {
        self.ask(purpose, request).await.unwrap_err().code
    }

    pub(crate) async fn is(&self, state: CoordinatorState) -> bool {
        self.state(None).await.state == state
    }
}
