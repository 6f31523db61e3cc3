//! The transparent proxy: ends TLS 1.3 on the ports that the firewall hands over, checks the caller, and forwards to the
//! workload's loopback. The other way round it takes what programs of the pod say on the loopback interface to remotes
//! that initdata lists, over TLS 1.3 with the pod's certificate, once the remote has shown one of the mesh with its name.
//!
//! The original destination of a connection is the local address of its accepted socket, because TPROXY rewrites
//! nothing. A connection lives only while [`Material`] is valid: its certificate, roots and callers are replaced without
//! touching connections that the new material still allows, and when its lease ends every connection is reset and new
//! ones are refused, until there is material again.
//!
//! Absent on purpose: session tickets and resumption (a resumed session would skip the caller's certificate), 0-RTT,
//! TLS 1.2, ALPN (the proxy does not know what the workload speaks), any plain-text mode.

mod egress;
mod forward;
mod listener;
mod metrics;
mod terms;

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use protocol::Identity;
use protocol::initdata::Ingress;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

pub use self::egress::{Resolver, system_resolver};
use self::forward::End;
pub use self::listener::Listeners;
use self::listener::Taker;
pub use self::metrics::Metrics;
use self::metrics::{Cut, Refusal};
use self::terms::{Caller, Terms};
use crate::lease::{BootInstant, sleep_until};

/// LIMIT: an idle connection costs about 16 KiB, so this many add 16 MiB to the 8 MiB of the process, and as many again
/// where programs of the pod make them: each direction has a limit of its own, so that neither starves the other.
const MAX_CONNECTIONS: usize = 1024;
/// LIMIT: a handshake is about 0.25 ms of one core with a client certificate; a queue of this many is 64 ms long. More
/// strangers at once wait, so that connections that are already open keep their share of the core.
const MAX_HANDSHAKES: usize = 256;
/// LIMIT: three round trips on a very slow link, and no longer for who never finishes.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// LIMIT: the workload is on the loopback interface; it answers at once or its backlog is full.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to pause when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What the proxy needs from the Coordinator, for the length of one lease.
pub struct Material {
    /// Leaf and intermediates.
    pub chain: Vec<CertificateDer<'static>>,
    /// The leaf's key.
    pub key: PrivateKeyDer<'static>,
    /// Certificates that a caller's chain must lead to.
    pub roots: Vec<CertificateDer<'static>>,
    /// The workloads that may call, with their names for the log.
    pub callers: BTreeMap<Identity, String>,
    /// When the lease ends.
    pub valid_until: BootInstant,
}

/// What the proxy serves.
pub struct ProxyConfig {
    /// The ports, as the pod's initdata lists them.
    pub ingress: Vec<Ingress>,
    /// Where the workload listens.
    pub workload: IpAddr,
    /// How many connections may be open, in each direction.
    pub max_connections: usize,
    /// How long a handshake may take.
    pub handshake_timeout: Duration,
    /// Finds the addresses of remotes.
    pub resolver: Resolver,
    /// Counters, shared with whoever shows them.
    pub metrics: Arc<Metrics>,
}

impl ProxyConfig {
    /// The proxy of a pod.
    pub fn new(ingress: Vec<Ingress>) -> Self {
        Self {
            ingress,
            workload: IpAddr::V4(Ipv4Addr::LOCALHOST),
            max_connections: MAX_CONNECTIONS,
            handshake_timeout: HANDSHAKE_TIMEOUT,
            resolver: system_resolver(),
            metrics: Arc::new(Metrics::default()),
        }
    }
}

/// Why the proxy does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// A socket could not be opened.
    #[error("listen on {address} for transparent connections")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A socket for programs of the pod could not be opened.
    #[error("listen on {address} for egress `{name}`")]
    Egress {
        /// The entry.
        name: String,
        /// Where.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The first material is unusable. Later unusable material is logged, and the earlier one stays until its lease ends.
    #[error("certificates of the mesh: {reason}")]
    Material {
        /// What is wrong with them.
        reason: String,
    },
}

/// What new and open connections obey.
#[derive(Clone)]
enum Gate {
    Open(Arc<Terms>),
    Closed,
}

impl Gate {
    /// The terms of a new connection; none where the lease has ended.
    fn terms(&self) -> Option<Arc<Terms>> {
        match self {
            Self::Open(terms) if !terms.has_ended() => Some(Arc::clone(terms)),
            _ => None,
        }
    }
}

struct Shared {
    config: ProxyConfig,
    gate: watch::Receiver<Gate>,
    connections: Arc<Semaphore>,
    handshakes: Semaphore,
    egress_connections: Arc<Semaphore>,
    lookups: Semaphore,
}

/// Serves until `shutdown` completes. Connections that are open then are reset.
///
/// A dropped sender of `material` means that no renewal will come: the proxy goes on until the lease ends and stays
/// closed from then on.
pub async fn run(
    listeners: Listeners,
    config: ProxyConfig,
    mut material: watch::Receiver<Material>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ProxyError> {
    let terms = Terms::new(&material.borrow_and_update())?;
    let metrics = Arc::clone(&config.metrics);
    let (gate_sender, gate) = watch::channel(Gate::Open(Arc::new(terms)));
    let shared = Arc::new(Shared {
        connections: Arc::new(Semaphore::new(config.max_connections)),
        handshakes: Semaphore::new(MAX_HANDSHAKES),
        egress_connections: Arc::new(Semaphore::new(config.max_connections)),
        lookups: Semaphore::new(egress::MAX_LOOKUPS),
        config,
        gate,
    });
    let mut accepting = tokio::task::JoinSet::new();
    for (listener, taker) in listeners.into_tokio()? {
        let shared = Arc::clone(&shared);
        match taker {
            Taker::Ingress { mutual } => accepting.spawn(accept_loop(listener, mutual, shared)),
            Taker::Egress(entry) => accepting.spawn(egress::accept_loop(listener, egress::Remote::new(entry)?, shared)),
        };
    }
    tokio::select! {
        () = keep_gate(material, &gate_sender, &metrics) => {}
        () = shutdown => {}
    }
    // Dropping the sender tells every open connection to end; dropping the set ends the listeners.
    Ok(())
}

/// Opens the gate for new material and closes it when a lease ends. Never returns.
async fn keep_gate(mut material: watch::Receiver<Material>, gate: &watch::Sender<Gate>, metrics: &Metrics) {
    let mut renewable = true;
    let mut valid_until = material.borrow().valid_until;
    let mut closed = false;
    loop {
        tokio::select! {
            changed = material.changed(), if renewable => {
                renewable = changed.is_ok();
                if !renewable {
                    continue;
                }
                let next = material.borrow_and_update();
                match Terms::new(&next) {
                    Ok(terms) => {
                        valid_until = next.valid_until;
                        closed = false;
                        metrics.renewed(valid_until);
                        gate.send_replace(Gate::Open(Arc::new(terms)));
                    }
                    Err(error) => tracing::error!(%error, "renewed certificates are unusable; the earlier ones stay"),
                }
            }
            () = sleep_until(valid_until), if !closed => {
                closed = true;
                tracing::error!("lease ended without renewal: every connection is cut and new ones are refused");
                gate.send_replace(Gate::Closed);
            }
        }
    }
}

async fn accept_loop(listener: TcpListener, mutual: bool, shared: Arc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let Ok(permit) = Arc::clone(&shared.connections).try_acquire_owned() else {
                    shared.config.metrics.refused(Refusal::TooMany, peer, &"too many connections");
                    forward::reset(&stream);
                    continue;
                };
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    shared.config.metrics.opened();
                    serve(stream, peer, mutual, &shared).await;
                    shared.config.metrics.closed();
                    drop(permit);
                });
            }
            Err(error) => pause(&error).await,
        }
    }
}

/// Out of descriptors or memory, or the peer went away first. Neither is a reason to stop listening.
async fn pause(error: &io::Error) {
    tracing::debug!(%error, "accept failed");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

async fn serve(client: TcpStream, peer: SocketAddr, mutual: bool, shared: &Shared) {
    let metrics = &shared.config.metrics;
    let refuse = |client: &TcpStream, refusal: Refusal, reason: &dyn std::fmt::Display| {
        metrics.refused(refusal, peer, reason);
        forward::reset(client);
    };
    let Ok(port) = client.local_addr().map(|address| address.port()) else { return };
    // The firewall decides which port goes to which listener; this holds even if it is wrong.
    let known =
        shared.config.ingress.iter().any(|ingress| ingress.port == port && ingress.client_certificate == mutual);
    if !known {
        return refuse(&client, Refusal::Port, &"port is not listed for this listener");
    }
    forward::tune(&client);

    let mut gate = shared.gate.clone();
    let terms = gate.borrow_and_update().terms();
    let Some(terms) = terms else { return refuse(&client, Refusal::Lease, &"lease has ended") };
    let handshake = async {
        let _turn = shared.handshakes.acquire().await;
        TlsAcceptor::from(Arc::clone(terms.tls(mutual))).accept(client).await
    };
    let client = match timeout(shared.config.handshake_timeout, handshake).await {
        Ok(Ok(client)) => client,
        Ok(Err(error)) => return metrics.refused(Refusal::Handshake, peer, &error),
        Err(_) => return metrics.refused(Refusal::Handshake, peer, &"handshake took too long"),
    };
    let caller = if mutual {
        let leaf = client.get_ref().1.peer_certificates().and_then(<[_]>::first);
        match leaf.map(Caller::of_certificate) {
            Some(Ok(caller)) => Some(caller),
            Some(Err(reason)) => return refuse(client.get_ref().0, Refusal::Caller, &reason),
            None => return refuse(client.get_ref().0, Refusal::Caller, &"no certificate"),
        }
    } else {
        None
    };
    drop(terms);
    // The handshake took its time; what counts is what holds now.
    match still_allowed(&gate.borrow_and_update(), caller.as_ref()) {
        Ok(()) => {}
        Err(Cut::Lease) => return refuse(client.get_ref().0, Refusal::Lease, &"lease has ended"),
        Err(Cut::Caller) => {
            let name = caller.map(|caller| caller.to_string()).unwrap_or_default();
            return refuse(client.get_ref().0, Refusal::Caller, &format!("`{name}` is not among the callers"));
        }
    }

    let workload = SocketAddr::new(shared.config.workload, port);
    let upstream = match timeout(CONNECT_TIMEOUT, TcpStream::connect(workload)).await {
        Ok(Ok(upstream)) => upstream,
        Ok(Err(error)) => return refuse(client.get_ref().0, Refusal::Workload, &error),
        Err(_) => return refuse(client.get_ref().0, Refusal::Workload, &"connecting took too long"),
    };
    forward::tune(&upstream);
    tracing::debug!(%peer, port, caller = caller.as_ref().map(tracing::field::display), "forwarding");
    let cut = until_cut(gate, caller.as_ref());
    if let End::Cut(cut) = forward::run(client.into(), upstream, cut, &metrics.bytes).await {
        metrics.cut(cut, peer);
    }
}

fn still_allowed(gate: &Gate, caller: Option<&Caller>) -> Result<(), Cut> {
    match (gate, caller) {
        (Gate::Closed, _) => Err(Cut::Lease),
        (Gate::Open(terms), _) if terms.has_ended() => Err(Cut::Lease),
        (Gate::Open(terms), Some(caller)) if !terms.allows(caller) => Err(Cut::Caller),
        (Gate::Open(_), _) => Ok(()),
    }
}

/// Completes when an open connection must end.
async fn until_cut(mut gate: watch::Receiver<Gate>, caller: Option<&Caller>) -> Cut {
    loop {
        if let Err(cut) = still_allowed(&gate.borrow_and_update(), caller) {
            return cut;
        }
        if gate.changed().await.is_err() {
            return Cut::Lease;
        }
    }
}
