//! The client of the API server: deadlines, throttling, and a count of every request that really went out.
//!
//! What a busy API server asks for with `Retry-After` is kept to. Whatever else fails is for the caller to try again,
//! after a [`Backoff`](super::backoff::Backoff).

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::{Method, Request, Response};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::{Body, ConfigExt as _, retry::RetryPolicy};
use kube::{Client, Config};
use tower::retry::RetryLayer;
use tower::{BoxError, Layer, Service, ServiceBuilder};

use super::metrics::Metrics;

/// How long one request may take in all, watches excepted: their server ends them, and the watcher notices silence.
pub const REQUEST: Duration = Duration::from_secs(30);
/// LIMIT: how often a request that the server throttled is sent again before its caller hears of it.
const TRIES: u32 = 4;
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(10);
const CONNECT: Duration = Duration::from_secs(10);
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// A client for this configuration that counts into `metrics`.
///
/// # Errors
/// When the configuration's certificates or credentials cannot be used.
pub fn client(config: &Config, metrics: Arc<Metrics>) -> Result<Client, kube::Error> {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_connect_timeout(Some(config.connect_timeout.unwrap_or(CONNECT)));
    // A peer that went away without a word is noticed.
    connector.set_keepalive(Some(KEEP_ALIVE));
    connector.set_nodelay(true);
    let https = config.rustls_https_connector_with_connector(connector)?;
    let http: HttpClient<_, Body> = HttpClient::builder(TokioExecutor::new()).build(https);
    let retry = RetryPolicy::new(FIRST_WAIT, LONGEST_WAIT, TRIES, true).map_err(|error| service_error(error.into()))?;
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .layer(RetryLayer::new(retry))
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .layer(CountLayer { metrics })
        .map_err(BoxError::from)
        .service(http);
    Ok(Client::new(service, config.default_namespace.clone()))
}

fn service_error(error: BoxError) -> kube::Error {
    kube::Error::Service(error)
}

/// Why a call did not succeed, as far as the next step depends on it.
#[derive(Debug)]
pub enum CallError {
    /// Trying again later can help: no answer, too slow an answer, throttled, a conflict, the server's own trouble.
    Later(String),
    /// It cannot: forbidden, invalid, not there.
    Never(String),
}

impl CallError {
    fn of(error: &kube::Error) -> Self {
        let text = super::device::chain(error);
        match error {
            kube::Error::Api(status) => match status.code {
                408 | 409 | 410 | 429 | 500..=599 => Self::Later(status.message.clone()),
                _ => Self::Never(status.message.clone()),
            },
            _ => Self::Later(text),
        }
    }

    /// The words.
    pub fn message(&self) -> &str {
        match self {
            Self::Later(message) | Self::Never(message) => message,
        }
    }
}

/// Waits for an answer, but not for ever.
pub async fn call<T>(request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, CallError> {
    match tokio::time::timeout(REQUEST, request).await {
        Ok(answer) => answer.map_err(|error| CallError::of(&error)),
        Err(_) => Err(CallError::Later(format!("no answer within {} s", REQUEST.as_secs()))),
    }
}

/// Counts what passes.
#[derive(Clone)]
struct CountLayer {
    metrics: Arc<Metrics>,
}

impl<S> Layer<S> for CountLayer {
    type Service = Count<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Count { inner, metrics: Arc::clone(&self.metrics) }
    }
}

#[derive(Clone)]
struct Count<S> {
    inner: S,
    metrics: Arc<Metrics>,
}

impl<S, B> Service<Request<Body>> for Count<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let verb = verb(request.method(), request.uri().query().unwrap_or_default());
        let kind = kind(request.uri().path());
        let metrics = Arc::clone(&self.metrics);
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            metrics.request(verb, kind, outcome(answer.as_ref().ok().map(|answer| answer.status().as_u16())));
            answer
        })
    }
}

fn verb(method: &Method, query: &str) -> &'static str {
    match method.as_str() {
        "GET" if query.split('&').any(|part| matches!(part, "watch=true" | "watch=1")) => "watch",
        "GET" => "get",
        "PATCH" => "patch",
        "POST" => "post",
        "PUT" => "put",
        "DELETE" => "delete",
        _ => "other",
    }
}

/// The kinds that the agent asks about.
const KINDS: [&str; 6] =
    ["clusterpolicies", "customresourcedefinitions", "events", "nodeconfigurations", "nodes", "pods"];

fn kind(path: &str) -> &'static str {
    KINDS.into_iter().find(|kind| path.split('/').any(|part| part == *kind)).unwrap_or("other")
}

fn outcome(status: Option<u16>) -> &'static str {
    match status {
        None => "no answer",
        Some(200..=299) => "ok",
        Some(401 | 403) => "forbidden",
        Some(404) => "not found",
        Some(409) => "conflict",
        Some(410) => "expired",
        Some(429) => "throttled",
        Some(400..=499) => "refused",
        Some(_) => "server error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_words_of_ours() {
        assert_eq!(verb(&Method::GET, "a=b&watch=true"), "watch");
        assert_eq!(verb(&Method::GET, "fieldSelector=watch%3Dtrue"), "get");
        assert_eq!(verb(&Method::TRACE, ""), "other");
        assert_eq!(kind("/api/v1/nodes/nodes-are-fine"), "nodes");
        assert_eq!(kind("/apis/casemate.dev/v1alpha1/nodeconfigurations/cluster/status"), "nodeconfigurations");
        assert_eq!(kind("/api/v1/secrets"), "other");
        let outcomes: Vec<&str> = [200, 403, 404, 409, 410, 422, 429, 503].map(Some).map(outcome).to_vec();
        let expected = ["ok", "forbidden", "not found", "conflict", "expired", "refused", "throttled", "server error"];
        assert_eq!(outcomes, expected);
        assert_eq!(outcome(None), "no answer");
    }

    #[test]
    fn only_what_can_change_is_tried_again() {
        let error = |code: u16| {
            let status = kube::core::Status { code, message: format!("answer {code}"), ..Default::default() };
            CallError::of(&kube::Error::Api(Box::new(status)))
        };
        for code in [408, 409, 410, 429, 500, 503, 504] {
            assert!(matches!(error(code), CallError::Later(_)), "{code}");
        }
        for code in [400, 401, 403, 404, 405, 415, 422] {
            assert!(matches!(error(code), CallError::Never(_)), "{code}");
        }
    }
}
