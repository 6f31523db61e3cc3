//! Probes and metrics, over plain HTTP without any secret: the cluster's own tools ask here.
//!
//! `/probe/startup` and `/probe/readiness` answer 200 as soon as the APIs can be used, which includes a Coordinator that
//! waits for its first manifest or for share holders: the body says which. 503 means that this process has stopped and
//! must be replaced.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use protocol::api::CoordinatorState;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};

use crate::server::Shared;

/// LIMIT: a kubelet, a scraper and a few people at a time.
const MAX_CONNECTIONS: usize = 32;
/// LIMIT: an answer takes milliseconds; a connection that lasts longer than several probe periods holds a place.
const MAX_AGE: Duration = Duration::from_secs(30);

pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/probe/startup", get(probe))
        .route("/probe/readiness", get(probe))
        .route("/metrics", get(metrics))
        .with_state(shared)
}

async fn probe(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    let view = shared.view();
    if view.stopped.is_some() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopped\n");
    }
    let state = match view.state {
        CoordinatorState::Uninitialised => "uninitialised\n",
        CoordinatorState::Active => "active\n",
        CoordinatorState::Recovering => "recovering\n",
    };
    (StatusCode::OK, state)
}

async fn metrics(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], shared.metrics().render(&shared.view()))
}

/// A listener that has a bounded number of connections of bounded age.
pub(crate) struct Bounded {
    listener: TcpListener,
    places: Arc<Semaphore>,
}

impl Bounded {
    pub(crate) fn new(listener: TcpListener) -> Self {
        Self { listener, places: Arc::new(Semaphore::new(MAX_CONNECTIONS)) }
    }
}

impl axum::serve::Listener for Bounded {
    type Io = Held;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Held, SocketAddr) {
        let place = Arc::clone(&self.places).acquire_owned().await.expect("the semaphore is never closed");
        let (stream, address) = axum::serve::Listener::accept(&mut self.listener).await;
        (Held { stream, end: Box::pin(sleep(MAX_AGE)), _place: place }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection with its place and its end.
pub(crate) struct Held {
    stream: TcpStream,
    end: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl AsyncRead for Held {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.end.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Held {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.end.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
