//! A proxy in front of the API server that writes down what is asked, and can throttle and cut.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
use http_body_util::BodyExt as _;
use kube::{Client, Config};
use tokio::sync::watch;

use crate::rig::Rig;

/// A request as the server would have seen it.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) status: u16,
    pub(crate) at: Instant,
}

impl Asked {
    pub(crate) fn is_watch(&self) -> bool {
        self.method == "GET" && self.target.contains("watch=true")
    }
}

struct Inside {
    upstream: Client,
    asked: Mutex<Vec<Asked>>,
    /// How many requests are still to be throttled, and how long those who asked are to wait.
    throttle: Mutex<(usize, u64)>,
    cut: watch::Sender<bool>,
}

/// The proxy. It lives as long as the executor.
#[derive(Clone)]
pub(crate) struct Proxy {
    inside: Arc<Inside>,
    address: SocketAddr,
}

impl Proxy {
    pub(crate) fn start(rig: &Rig) -> Self {
        let mut config = rig.admin();
        config.default_retry = false;
        rig.runtime.block_on(async move {
            let upstream = Client::try_from(config).expect("a client");
            let (cut, _) = watch::channel(false);
            let inside = Arc::new(Inside { upstream, asked: Mutex::default(), throttle: Mutex::default(), cut });
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("an address");
            let router = Router::new().fallback(forward).with_state(Arc::clone(&inside));
            tokio::spawn(async move { axum::serve(listener, router).await });
            Self { inside, address }
        })
    }

    /// A configuration that goes through the proxy. Who asks is the administrator.
    pub(crate) fn config(&self, rig: &Rig) -> Config {
        let mut config = rig.admin();
        config.cluster_url = format!("http://{}", self.address).parse().expect("an address");
        config.auth_info = kube::config::AuthInfo::default();
        config
    }

    /// Answers the next requests with 429.
    pub(crate) fn throttle(&self, requests: usize, retry_after: Duration) {
        *self.inside.throttle.lock().expect("no panic") = (requests, retry_after.as_secs());
    }

    /// Ends all answers that go on, and lets nothing through until it is mended.
    pub(crate) fn cut(&self) {
        self.inside.cut.send_replace(true);
    }

    pub(crate) fn mend(&self) {
        self.inside.cut.send_replace(false);
    }

    /// What was asked since the last call.
    pub(crate) fn take(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.inside.asked.lock().expect("no panic"))
    }
}

async fn forward(State(inside): State<Arc<Inside>>, request: Request) -> Response {
    let method = request.method().to_string();
    let target = request.uri().to_string();
    let response = answer(&inside, request).await;
    let asked = Asked { method, target, status: response.status().as_u16(), at: Instant::now() };
    inside.asked.lock().expect("no panic").push(asked);
    response
}

async fn answer(inside: &Arc<Inside>, request: Request) -> Response {
    if *inside.cut.borrow() {
        return StatusCode::BAD_GATEWAY.into_response();
    }
    {
        let mut throttle = inside.throttle.lock().expect("no panic");
        if throttle.0 > 0 {
            throttle.0 -= 1;
            // As the server's priority and fairness answers.
            let header = [("retry-after", throttle.1.to_string())];
            return (StatusCode::TOO_MANY_REQUESTS, header, "Too many requests, please try again later.\n")
                .into_response();
        }
    }
    let (parts, body) = request.into_parts();
    let bytes = to_bytes(body, 1024 * 1024).await.expect("a body");
    let mut upstream = http::Request::builder().method(parts.method).uri(parts.uri);
    for name in ["accept", "content-type"] {
        if let Some(value) = parts.headers.get(name) {
            upstream = upstream.header(name, value);
        }
    }
    let upstream = upstream.body(kube::client::Body::from(bytes.to_vec())).expect("a request");
    match inside.upstream.send(upstream).await {
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
        Ok(response) => {
            let (parts, body) = response.into_parts();
            let mut cut = inside.cut.subscribe();
            let cut = Box::pin(async move {
                let _ = cut.wait_for(|cut| *cut).await;
            });
            let body = Body::from_stream(body.into_data_stream().take_until(cut));
            let mut response = Response::new(body);
            *response.status_mut() = parts.status;
            if let Some(kind) = parts.headers.get("content-type") {
                response.headers_mut().insert("content-type", kind.clone());
            }
            response
        }
    }
}
