//! The Coordinator: attests itself to owners and clients, takes the manifest from its owners, and gives certificates and
//! secrets to workloads whose Evidence meets that manifest. Every such decision is in an append-only log before its result
//! leaves.
//!
//! States: *uninitialised* until the owners set a first manifest, *active* while the seed is in memory, *recovering*
//! after a restart until share holders have brought the seed back. One function decides who gets what (`grant`); what
//! it grants is carried out once, and logged first.
//!
//! | port | what | bound to |
//! |---|---|---|
//! | 1313 | user API: the Coordinator attests, clients need not | the pod's addresses: owners come from outside |
//! | 7777 | mesh API: both sides attest | the pod's addresses: workloads come from other pods |
//! | 9102 | probes and metrics, plain HTTP without any secret | the pod's addresses: the kubelet and scrapers |
//!
//! What it must never do: believe its store, its clock or the host's word on anything; write a secret in the clear; or
//! sign two different heads of its log with one size.

#![warn(missing_docs)]

mod core;
mod grant;
mod metrics;
mod probes;
mod record;
mod refusal;
mod server;
mod store;

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use attester::{AttestError, Attester};
use channel::{ChannelError, Given, Judge, TlsIdentity};
use protocol::initdata::InitdataError;
use protocol::manifest::Quorum;
use protocol::{Identity, Initdata, ReportData, Role, api};
use tokio::net::TcpListener;
use tokio::sync::watch;
use verifier::{Endorsements, VerifyError};

pub use crate::core::{MAX_SECRET, MAX_SECRET_NAME, MAX_SECRETS};
pub use crate::record::LoadError;
pub use crate::store::StoreError;

use crate::core::{Core, Own};
use crate::record::Record;
use crate::server::{Api, Shared};
use crate::store::file::FileStore;

/// The file in the store's folder.
pub const STORE_FILE: &str = "history.redb";

/// The three ports. 0 lets the system choose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ports {
    /// The user API.
    pub user: u16,
    /// The mesh API.
    pub mesh: u16,
    /// Probes and metrics.
    pub probes: u16,
}

impl Default for Ports {
    fn default() -> Self {
        Self { user: api::USER_PORT, mesh: api::MESH_PORT, probes: api::PROBE_PORT }
    }
}

/// What a Coordinator is started with.
#[derive(Clone)]
pub struct Config {
    /// Its own initdata, as the host handed it over: checked against its own Evidence before anything else.
    pub initdata: Initdata,
    /// What makes its Evidence.
    pub attester: Arc<dyn Attester>,
    /// Who verifies the Evidence of workloads.
    pub judge: Arc<dyn Judge>,
    /// Endorsements of its own TEE.
    pub endorsements: Endorsements,
    /// The store: a file, or an existing folder that holds or will hold [`STORE_FILE`].
    pub store: PathBuf,
    /// The address to listen on.
    pub listen: IpAddr,
    /// The ports to listen on.
    pub ports: Ports,
}

impl Config {
    /// A Coordinator on the usual ports of all addresses.
    pub fn new(initdata: Initdata, attester: Arc<dyn Attester>, store: PathBuf) -> Self {
        Self {
            initdata,
            attester,
            judge: Given::nothing(),
            endorsements: Endorsements::default(),
            store,
            listen: Ipv4Addr::UNSPECIFIED.into(),
            ports: Ports::default(),
        }
    }
}

/// Why a Coordinator did not start or had to stop.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// Its initdata has no settings.
    #[error("own initdata")]
    Initdata(#[from] InitdataError),
    /// Its initdata makes it something else.
    #[error("own initdata gives this pod the role `{}`, not `coordinator`", got.name())]
    OtherRole {
        /// The role in the initdata.
        got: Role,
    },
    /// Its TEE made no Evidence.
    #[error("make evidence of the own TEE")]
    Attest(#[from] AttestError),
    /// Its own Evidence cannot be read.
    #[error("own evidence")]
    OwnEvidence(#[from] VerifyError),
    /// The host handed over another initdata than the TEE was launched with.
    #[error("the host gave initdata {}, the TEE was launched with {}", given.0.short(), reported.0.short())]
    OtherInitdata {
        /// The digest of the document.
        given: Identity,
        /// What the TEE reports.
        reported: Identity,
    },
    /// The owners' keys in the initdata can never sign.
    #[error("own initdata has an unusable quorum of owners: {reason}")]
    Owners {
        /// What is wrong.
        reason: String,
    },
    /// The store cannot be used.
    #[error("open the store `{}`", path.display())]
    Store {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: LoadError,
    },
    /// The stored manifest is for another Coordinator.
    #[error("the active manifest does not list this Coordinator's identity {}", identity.0.short())]
    NotInManifest {
        /// This Coordinator's identity.
        identity: Identity,
    },
    /// A TLS key could not be made.
    #[error("make a TLS identity")]
    Tls(#[source] ChannelError),
    /// A port cannot be used.
    #[error("listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// The store failed while running, or a request panicked. The next process will recover.
    #[error("stopped: {reason}")]
    Stopped {
        /// What happened.
        reason: String,
    },
}

impl RunError {
    /// What an operator may do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::OtherInitdata { .. } => Some(
                "the pod's annotation and its launch do not belong together; apply the generated resources again"
                    .to_owned(),
            ),
            Self::NotInManifest { .. } => Some(
                "`generate` made another Coordinator since the last `set`; start the former one, `set` the new \
                 manifest, then start this one"
                    .to_owned(),
            ),
            Self::Store { source: LoadError::Store(StoreError::InUse), .. } => {
                Some("another Coordinator uses this store; end it first".to_owned())
            }
            Self::Store { source: LoadError::OtherDeployment { .. }, .. } => {
                Some("give this deployment a store of its own".to_owned())
            }
            Self::Store { .. } => Some(
                "restore the newest backup of the store; without one, the deployment must be set up anew".to_owned(),
            ),
            Self::Stopped { .. } => {
                Some("the next start is a recovery: share holders run `casemate recover`".to_owned())
            }
            _ => None,
        }
    }
}

/// The addresses that a Coordinator listens on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Addresses {
    /// The user API.
    pub user: SocketAddr,
    /// The mesh API.
    pub mesh: SocketAddr,
    /// Probes and metrics.
    pub probes: SocketAddr,
}

/// A Coordinator that has checked itself and its store and holds its ports.
pub struct Coordinator {
    shared: Arc<Shared>,
    user: TcpListener,
    mesh: TcpListener,
    probes: TcpListener,
    addresses: Addresses,
}

impl std::fmt::Debug for Coordinator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Coordinator({:?})", self.addresses)
    }
}

impl Coordinator {
    /// Checks initdata, TEE and store, and takes the ports.
    pub async fn start(config: Config) -> Result<Self, RunError> {
        let settings = config.initdata.settings()?;
        if settings.role != Role::Coordinator {
            return Err(RunError::OtherRole { got: settings.role });
        }
        check_owners(&settings.owners)?;
        let own = attest_self(&config).await?;
        let deployment = settings.deployment_id;
        let path = if config.store.is_dir() { config.store.join(STORE_FILE) } else { config.store.clone() };
        let open = {
            let (path, owners) = (path.clone(), settings.owners);
            move || -> Result<(FileStore, Record), LoadError> {
                let store = FileStore::open(&path)?;
                let record = Record::load(&store, deployment, &owners)?;
                Ok((store, record))
            }
        };
        let opened = tokio::task::spawn_blocking(open).await.unwrap_or_else(|error| {
            // The database is not ours and its file is untrusted.
            Err(StoreError::damaged(format!("reading it ended in a panic: {error}")).into())
        });
        let (store, record) = opened.map_err(|source| RunError::Store { path, source })?;
        if let Some(manifest) = record.manifest() {
            let identity = own.identity;
            if manifest.policies.get(&identity).is_none_or(|entry| entry.role != Role::Coordinator) {
                return Err(RunError::NotInManifest { identity });
            }
        }
        let core = Core::new(own, Box::new(store), record);
        let tls = TlsIdentity::generate().map_err(RunError::Tls)?;
        let (user, user_address) = listen(config.listen, config.ports.user).await?;
        let (mesh, mesh_address) = listen(config.listen, config.ports.mesh).await?;
        let (probes, probes_address) = listen(config.listen, config.ports.probes).await?;
        let addresses = Addresses { user: user_address, mesh: mesh_address, probes: probes_address };
        let shared = Arc::new(Shared::new(core, tls, deployment, config.attester, config.judge));
        Ok(Self { shared, user, mesh, probes, addresses })
    }

    /// Where it listens.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Serves until `shutdown` resolves. An error says that the process must be replaced.
    pub async fn serve(self, shutdown: impl Future<Output = ()> + Send) -> Result<(), RunError> {
        let Self { shared, user, mesh, probes, addresses } = self;
        let view = shared.view();
        tracing::info!(
            user = %addresses.user, mesh = %addresses.mesh, probes = %addresses.probes,
            state = ?view.state, generation = view.generation, log_entries = view.log_size,
            "the Coordinator is up"
        );
        let (end, ended) = watch::channel(false);
        let user = tokio::spawn(server::serve(Api::User, user, Arc::clone(&shared), ended.clone()));
        let mesh = tokio::spawn(server::serve(Api::Mesh, mesh, Arc::clone(&shared), ended));
        let router = probes::router(Arc::clone(&shared));
        let probes = tokio::spawn(axum::serve(probes::Bounded::new(probes), router).into_future());
        let result = tokio::select! {
            () = shutdown => Ok(()),
            reason = shared.stopped() => Err(RunError::Stopped { reason }),
        };
        end.send_replace(true);
        for api in [user, mesh] {
            // A panic in a connection is caught by its own task; nothing is left to do about one in the loop.
            let _ = api.await;
        }
        probes.abort();
        shared.close().await;
        result
    }
}

/// Starts a Coordinator and serves until `shutdown` resolves.
pub async fn run(config: Config, shutdown: impl Future<Output = ()> + Send) -> Result<(), RunError> {
    Coordinator::start(config).await?.serve(shutdown).await
}

/// The owners in the initdata must be able to decide on a first manifest.
fn check_owners(owners: &Quorum) -> Result<(), RunError> {
    owners.validate("owners").map_err(|error| RunError::Owners { reason: error.to_string() })?;
    for key in &owners.keys {
        if !pki::owner::is_owner_key(key) {
            let reason = format!("key {} is not an ECDSA P-384 key", key.id().short());
            return Err(RunError::Owners { reason });
        }
    }
    Ok(())
}

/// Makes Evidence about this very pod, and checks that the initdata from the host is what the TEE was launched with.
async fn attest_self(config: &Config) -> Result<Own, RunError> {
    let mut report_data = ReportData([0; 64]);
    aws_lc_rs::rand::fill(&mut report_data.0).map_err(|_| RunError::Stopped { reason: "no randomness".to_owned() })?;
    let evidence = config.attester.attest(&report_data).await?;
    let reported = verifier::claimed_identity(&evidence)?;
    let given = config.initdata.identity();
    if reported != given {
        return Err(RunError::OtherInitdata { given, reported });
    }
    Ok(Own { identity: reported, evidence, report_data, endorsements: config.endorsements.clone() })
}

async fn listen(ip: IpAddr, port: u16) -> Result<(TcpListener, SocketAddr), RunError> {
    let address = SocketAddr::new(ip, port);
    let failed = |source| RunError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}
