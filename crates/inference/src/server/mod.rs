//! `casemate-serve`: one ONNX model behind the KServe v2 protocol on plain HTTP/1.1.
//!
//! The port is bound first and answers probes while the model is opened and compiled; it is ready afterwards. Requests are
//! parsed on the one async thread and computed on a fixed number of blocking threads; what waits beyond a bound is
//! refused with 503. On shutdown it is unready at once, takes no new connection, and finishes what it has begun.
//!
//! Plain HTTP is right here and nowhere else: the pod's firewall lets nobody in but the mesh, which ends TLS in the same
//! pod (design, section 10).

mod load;
mod routes;

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use self::load::Loaded;
use self::routes::Service;
use crate::metrics::{InGauge, Metrics};

pub use load::{LoadError, Source};

/// LIMIT: open connections; half of the usual 1024 file descriptors of a process.
const MAX_CONNECTIONS: usize = 512;
/// How long a connection may take to send a request's head, idle time between requests included.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
/// LIMIT: head of a request, and read-ahead of its body.
const READ_BUFFER: usize = 64 * 1024;
/// After a failed accept (no file descriptors left) it waits instead of spinning.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How to serve.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// What to serve.
    pub source: Source,
    /// Inferences computed at once.
    pub workers: usize,
    /// LIMIT: inferences that may wait for a worker.
    pub max_queue: usize,
    /// LIMIT: rows in one request.
    pub max_batch: usize,
    /// How long connections may go on after a shutdown began.
    pub grace: Duration,
    /// The pod's name, for the header `x-casemate-pod`.
    pub pod: Option<String>,
}

impl Config {
    /// A server with the usual limits.
    pub fn new(listen: SocketAddr, model: PathBuf) -> Self {
        let source = Source { model, key_file: None, labels: None, name: None, max_model_bytes: 8 << 30 };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            listen,
            source,
            workers: cores.min(8),
            max_queue: 256,
            max_batch: 64,
            grace: Duration::from_secs(10),
            pod: None,
        }
    }
}

/// Why it does not serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The port cannot be had.
    #[error("listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// There is no model to serve.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Our fault.
    #[error("loading the model stopped unexpectedly")]
    Loader,
}

impl ServeError {
    /// Whether the input is wrong (exit 1), as opposed to a failure around it (exit 2).
    pub fn is_input(&self) -> bool {
        matches!(self, Self::Load(error) if error.is_input())
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Load(error) => error.hint(),
            Self::Listen { .. } => Some("name a free port with `--listen`"),
            Self::Loader => None,
        }
    }
}

/// A server whose port is bound.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    config: Config,
}

impl Server {
    /// Binds the port.
    pub async fn bind(config: Config) -> Result<Self, ServeError> {
        let failed = |source| ServeError::Listen { address: config.listen, source };
        let listener = TcpListener::bind(config.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address, config })
    }

    /// Where it listens, with the port that the system chose for port 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Loads the model and serves until `shutdown`, or until loading fails.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), ServeError> {
        let Self { listener, address, config } = self;
        let metrics = Arc::new(Metrics::default());
        let model = Arc::new(OnceLock::new());
        let (stop, stopping) = watch::channel(false);
        let service = Arc::new(Service::new(&config, model.clone(), metrics.clone(), stopping.clone()));
        tracing::info!(%address, "listening");

        let source = config.source.clone();
        let mut loading = Some(tokio::task::spawn_blocking(move || load::load(&source)));
        let mut connections = JoinSet::new();
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut shutdown = pin!(shutdown);
        let result = loop {
            tokio::select! {
                () = &mut shutdown => break Ok(()),
                loaded = wait_for(&mut loading) => {
                    loading = None;
                    match loaded {
                        Ok(Ok(loaded)) => announce(&model, loaded),
                        Ok(Err(error)) => break Err(error.into()),
                        Err(_) => break Err(ServeError::Loader),
                    }
                }
                (stream, slot) = accept(&listener, &slots) => {
                    let open = InGauge::new(&metrics, |metrics| &metrics.connections);
                    let (service, stopping) = (service.clone(), stopping.clone());
                    connections.spawn(async move {
                        serve_connection(stream, service, stopping).await;
                        drop((slot, open));
                    });
                }
                // Keeps the set from growing by the connections that have ended.
                Some(_) = connections.join_next() => {}
            }
        };
        // Nobody new comes in; who is in finishes one request and is sent away.
        drop(listener);
        stop.send_replace(true);
        let all_gone = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(config.grace, all_gone).await.is_err() {
            tracing::warn!(
                connections = metrics.connections.get(),
                "connections still open after the grace period are cut"
            );
        }
        connections.shutdown().await;
        result
    }
}

/// The result of loading; never, once it was taken.
async fn wait_for<T>(task: &mut Option<tokio::task::JoinHandle<T>>) -> Result<T, tokio::task::JoinError> {
    match task {
        Some(task) => task.await,
        None => std::future::pending().await,
    }
}

fn announce(slot: &OnceLock<Loaded>, loaded: Loaded) {
    let (name, version) = (loaded.model.name.clone(), loaded.model.version);
    // PANIC-FREE: loading ends once, so the slot is empty.
    if slot.set(loaded).is_ok() {
        tracing::info!(model = name, %version, "ready");
    }
}

/// The next connection, once there is room for it.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> (TcpStream, Option<tokio::sync::OwnedSemaphorePermit>) {
    // The semaphore is never closed, so there always is a permit to wait for.
    let slot = slots.clone().acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, slot),
            Err(error) => {
                tracing::warn!(%error, "accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve_connection(stream: TcpStream, service: Arc<Service>, mut stopping: watch::Receiver<bool>) {
    // Answers are single small writes; an error here is the connection's own and shows at once.
    let _ = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(READ_BUFFER)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service.router()));
    let mut connection = pin!(connection);
    // The server outlives its connections, so the sender is there; were it gone, stopping would be right too.
    let stopped = async { drop(stopping.wait_for(|stop| *stop).await) };
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = stopped => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "connection");
    }
}
