//! The endpoints: health, metadata, inference, metrics.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, watch};

use super::Config;
use super::load::Loaded;
use crate::kserve::{
    BYTES, Class, ErrorBody, FP32, InferRequest, InferResponse, OutputData, OutputTensor, POD_HEADER, RequestError,
    shape_text,
};
use crate::metrics::{InGauge, Metrics};
use crate::model::{Model, ModelError, TensorSpec};

/// How long a request's body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// LIMIT: room in a body for names, shapes and punctuation beside the numbers.
const BODY_OVERHEAD: usize = 64 * 1024;
/// LIMIT: bytes of one number in JSON: a sign, 17 digits, a point, an exponent, a comma, and as much again for white space.
const BYTES_PER_NUMBER: usize = 48;
/// LIMIT: no body is read beyond this, however large model and batch are.
const MAX_BODY: usize = 256 * 1024 * 1024;
/// LIMIT: an empty JSON object or a short filter.
const MAX_INDEX_BODY: usize = 4096;
/// The header by which clients announce tensors in binary form.
const BINARY_HEADER: &str = "inference-header-content-length";
/// Prometheus' text format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What the endpoints share.
pub(super) struct Service {
    model: Arc<OnceLock<Loaded>>,
    metrics: Arc<Metrics>,
    workers: Arc<Semaphore>,
    max_pending: i64,
    max_batch: usize,
    pod: Option<HeaderValue>,
    stopping: watch::Receiver<bool>,
}

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("there is nothing at this path")]
    NoSuchPath,
    #[error("this path does not take that method")]
    Method,
    #[error("model `{0}` is not served here")]
    NoSuchModel(String),
    #[error("the model is still being loaded")]
    NotReady,
    #[error("the server is shutting down")]
    Stopping,
    #[error("too many requests are waiting")]
    Busy,
    #[error("the body is larger than {max} bytes")]
    BodyTooLarge { max: usize },
    #[error("the body did not arrive")]
    Body,
    #[error("the body did not arrive within {} s", BODY_TIMEOUT.as_secs())]
    BodyTimeout,
    #[error("tensors in binary form are not served; send JSON")]
    Binary,
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error("the computation stopped unexpectedly")]
    Worker,
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::NoSuchPath | Self::NoSuchModel(_) => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotReady | Self::Stopping | Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::Binary => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Body | Self::Request(_) => StatusCode::BAD_REQUEST,
            // Finite numbers of the right shape went in: that nothing came out is not the caller's doing.
            Self::Model(_) | Self::Worker => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = self.status();
        if status.is_server_error() {
            tracing::warn!(status = status.as_u16(), error = %self, "no answer");
        } else {
            tracing::debug!(status = status.as_u16(), error = %self, "refused");
        }
        let body = json_body(&ErrorBody { error: self.to_string() });
        let mut response = (status, body).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

fn json_body<T: serde::Serialize>(value: &T) -> impl IntoResponse + use<T> {
    let body = serde_json::to_vec(value).unwrap_or_else(|_| br#"{"error":"the answer cannot be written"}"#.to_vec());
    ([(CONTENT_TYPE, "application/json")], body)
}

type Shared = State<Arc<Service>>;

impl Service {
    pub(super) fn new(
        config: &Config,
        model: Arc<OnceLock<Loaded>>,
        metrics: Arc<Metrics>,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        let workers = config.workers.max(1);
        Self {
            model,
            metrics,
            workers: Arc::new(Semaphore::new(workers)),
            max_pending: i64::try_from(workers.saturating_add(config.max_queue)).unwrap_or(i64::MAX),
            max_batch: config.max_batch.max(1),
            pod: config.pod.as_deref().and_then(|pod| HeaderValue::from_str(pod).ok()),
            stopping,
        }
    }

    pub(super) fn router(self: &Arc<Self>) -> Router {
        Router::new()
            .route("/v2", get(server_metadata))
            .route("/v2/", get(server_metadata))
            .route("/v2/health/live", get(live))
            .route("/v2/health/ready", get(ready))
            .route("/v2/repository/index", post(index))
            .route("/v2/models/{model}", get(model_metadata))
            .route("/v2/models/{model}/ready", get(model_ready))
            .route("/v2/models/{model}/infer", post(infer))
            .route("/v2/models/{model}/versions/{version}", get(version_metadata))
            .route("/v2/models/{model}/versions/{version}/ready", get(version_ready))
            .route("/v2/models/{model}/versions/{version}/infer", post(version_infer))
            .route("/metrics", get(metrics))
            .fallback(async || Refusal::NoSuchPath)
            .method_not_allowed_fallback(async || Refusal::Method)
            .layer(from_fn_with_state(self.clone(), count_and_name))
            .with_state(self.clone())
    }

    fn stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// The model of this name and version.
    fn loaded(&self, name: &str, version: Option<&str>) -> Result<&Loaded, Refusal> {
        let loaded = self.model.get().ok_or(Refusal::NotReady)?;
        let is_it =
            loaded.model.name == name && version.is_none_or(|version| version == loaded.model.version.to_string());
        if is_it { Ok(loaded) } else { Err(Refusal::NoSuchModel(name.chars().take(80).collect())) }
    }
}

/// Puts the pod's name on every answer and counts it.
async fn count_and_name(State(service): Shared, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if let Some(pod) = &service.pod {
        response.headers_mut().insert(POD_HEADER, pod.clone());
    }
    service.metrics.count_request(response.status().as_u16());
    response
}

async fn server_metadata() -> impl IntoResponse {
    json_body(&json!({
        "name": "casemate-serve",
        "version": env!("CARGO_PKG_VERSION"),
        "extensions": ["classification", "model_repository"],
    }))
}

async fn live() -> impl IntoResponse {
    json_body(&json!({ "live": true }))
}

async fn ready(State(service): Shared) -> Response {
    let ready = service.model.get().is_some() && !service.stopping();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, json_body(&json!({ "ready": ready }))).into_response()
}

async fn metrics(State(service): Shared) -> impl IntoResponse {
    let model = service.model.get().map(|loaded| (loaded.model.name.clone(), loaded.model.version.to_string()));
    let text = service.metrics.text(model.as_ref().map(|(name, version)| (name.as_str(), version.as_str())));
    ([(CONTENT_TYPE, METRICS_TYPE)], text)
}

/// The `model_repository` extension: what is served here. A filter is not needed for one model and so not taken.
async fn index(State(service): Shared, request: Request) -> Result<Response, Refusal> {
    let body = read_body(request.into_body(), MAX_INDEX_BODY).await?;
    if !body.is_empty() && !matches!(serde_json::from_slice(&body), Ok(Value::Object(fields)) if fields.is_empty()) {
        return Err(RequestError::Malformed("the index takes an empty object".into()).into());
    }
    let models: Vec<Value> = service.model.get().map(|loaded| {
        json!({ "name": loaded.model.name, "version": loaded.model.version, "state": "READY", "reason": "" })
    }).into_iter().collect();
    Ok(json_body(&models).into_response())
}

async fn model_metadata(
    State(service): Shared,
    name: Result<Path<String>, PathRejection>,
) -> Result<Response, Refusal> {
    let Path(name) = name.map_err(|_| Refusal::NoSuchPath)?;
    Ok(metadata(&service.loaded(&name, None)?.model))
}

async fn version_metadata(
    State(service): Shared,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Response, Refusal> {
    let Path((name, version)) = path.map_err(|_| Refusal::NoSuchPath)?;
    Ok(metadata(&service.loaded(&name, Some(&version))?.model))
}

fn metadata(model: &Model) -> Response {
    let tensors = |specs: &[TensorSpec]| -> Vec<Value> {
        let shape = |spec: &TensorSpec| -> Vec<i64> {
            let row = spec.row.iter().map(|&length| i64::try_from(length).unwrap_or(i64::MAX));
            std::iter::once(-1).chain(row).collect()
        };
        specs.iter().map(|spec| json!({ "name": spec.name, "datatype": FP32, "shape": shape(spec) })).collect()
    };
    json_body(&json!({
        "name": model.name,
        "versions": [model.version],
        "platform": "casemate_onnx",
        "inputs": tensors(&model.inputs),
        "outputs": tensors(&model.outputs),
    }))
    .into_response()
}

async fn model_ready(State(service): Shared, name: Result<Path<String>, PathRejection>) -> Result<Response, Refusal> {
    let Path(name) = name.map_err(|_| Refusal::NoSuchPath)?;
    readiness(&service, &name, None)
}

async fn version_ready(
    State(service): Shared,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Response, Refusal> {
    let Path((name, version)) = path.map_err(|_| Refusal::NoSuchPath)?;
    readiness(&service, &name, Some(&version))
}

fn readiness(service: &Service, name: &str, version: Option<&str>) -> Result<Response, Refusal> {
    if service.stopping() {
        return Err(Refusal::Stopping);
    }
    let model = &service.loaded(name, version)?.model;
    Ok(json_body(&json!({ "name": model.name, "ready": true })).into_response())
}

async fn infer(
    State(service): Shared,
    name: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Refusal> {
    let Path(name) = name.map_err(|_| Refusal::NoSuchPath)?;
    answer(service, &name, None, request).await
}

async fn version_infer(
    State(service): Shared,
    path: Result<Path<(String, String)>, PathRejection>,
    request: Request,
) -> Result<Response, Refusal> {
    let Path((name, version)) = path.map_err(|_| Refusal::NoSuchPath)?;
    answer(service, &name, Some(&version), request).await
}

async fn answer(
    service: Arc<Service>,
    name: &str,
    version: Option<&str>,
    request: Request,
) -> Result<Response, Refusal> {
    let loaded = service.loaded(name, version)?;
    refuse_binary(request.headers())?;
    let body = read_body(request.into_body(), max_body(&loaded.model, service.max_batch)).await?;
    let mut question = Question::new(InferRequest::parse(&body)?, loaded, service.max_batch)?;
    let begin = Instant::now();

    let pending = InGauge::new(&service.metrics, |metrics| &metrics.pending);
    if service.metrics.pending.get() > service.max_pending {
        return Err(Refusal::Busy);
    }
    let worker = service.workers.clone().acquire_owned().await.map_err(|_| Refusal::Worker)?;
    let (rows, inputs) = (question.rows, std::mem::take(&mut question.inputs));
    let model = service.model.clone();
    // The permit moves along: a caller who goes away does not free a worker that still computes.
    let computed = tokio::task::spawn_blocking(move || {
        let result = model.get().map(|loaded| loaded.model.run(rows, &inputs));
        drop((worker, pending));
        result
    });
    let outputs = computed.await.ok().flatten().ok_or(Refusal::Worker)??;
    let response = question.response(loaded, &outputs);
    service.metrics.count_answer(rows, begin.elapsed());
    Ok(json_body(&response).into_response())
}

fn refuse_binary(headers: &HeaderMap) -> Result<(), Refusal> {
    let octets = |value: &HeaderValue| value.as_bytes().to_ascii_lowercase().starts_with(b"application/octet-stream");
    if headers.contains_key(BINARY_HEADER) || headers.get(CONTENT_TYPE).is_some_and(octets) {
        return Err(Refusal::Binary);
    }
    Ok(())
}

fn max_body(model: &Model, max_batch: usize) -> usize {
    let row: usize = model.inputs.iter().map(TensorSpec::row_len).fold(0, usize::saturating_add);
    row.saturating_mul(max_batch).saturating_mul(BYTES_PER_NUMBER).saturating_add(BODY_OVERHEAD).min(MAX_BODY)
}

async fn read_body(body: Body, max: usize) -> Result<Bytes, Refusal> {
    let collected = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, max).collect()).await;
    match collected.map_err(|_| Refusal::BodyTimeout)? {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Refusal::BodyTooLarge { max }),
        Err(_) => Err(Refusal::Body),
    }
}

/// A request that fits the model.
struct Question {
    id: Option<String>,
    rows: usize,
    /// Numbers of every input, in the model's order.
    inputs: Vec<Vec<f32>>,
    /// Outputs by their place in the model, and how many classes of each.
    wanted: Vec<(usize, Option<usize>)>,
}

impl Question {
    fn new(mut request: InferRequest, loaded: &Loaded, max_batch: usize) -> Result<Self, RequestError> {
        let model = &loaded.model;
        for (number, input) in request.inputs.iter().enumerate() {
            if !model.inputs.iter().any(|spec| spec.name == input.name) {
                return Err(unknown("input", &input.name, &model.inputs));
            }
            if request.inputs.iter().take(number).any(|other| other.name == input.name) {
                return Err(RequestError::RepeatedTensor { kind: "input", name: input.name.clone() });
            }
        }
        let mut rows = None;
        let mut inputs = Vec::with_capacity(model.inputs.len());
        for spec in &model.inputs {
            let input = request.inputs.iter_mut().find(|input| input.name == spec.name);
            let input = input.ok_or_else(|| RequestError::MissingInput(spec.name.clone()))?;
            if input.datatype != FP32 {
                let (name, datatype) = (input.name.clone(), input.datatype.clone());
                return Err(RequestError::Datatype { name, datatype });
            }
            let batch = match input.shape.split_first() {
                Some((&batch, row)) if row == spec.row_u64() && batch > 0 => batch,
                _ => {
                    let (got, wanted) = (shape_text(&input.shape, false), shape_text(&spec.row_u64(), true));
                    return Err(RequestError::Shape { name: input.name.clone(), got, wanted });
                }
            };
            if batch > max_batch as u64 {
                return Err(RequestError::BatchTooLarge { got: batch, max: max_batch as u64 });
            }
            let first = *rows.get_or_insert(batch);
            if first != batch {
                return Err(RequestError::UnevenBatch { first, other: batch });
            }
            if !input.data.fills(&input.shape) {
                let got = match input.data.nesting.as_slice() {
                    nesting @ [_, _, ..] => format!("nested as {}", shape_text(nesting, false)),
                    _ => format!("{} numbers", input.data.values.len()),
                };
                let shape = shape_text(&input.shape, false);
                let wanted = batch.saturating_mul(spec.row_len() as u64);
                return Err(RequestError::Data { name: input.name.clone(), got, shape, wanted });
            }
            inputs.push(std::mem::take(&mut input.data.values));
        }
        let rows = usize::try_from(rows.unwrap_or_default()).unwrap_or_default();
        Ok(Self { wanted: wanted(&request, &model.outputs)?, id: request.id, rows, inputs })
    }

    fn response(&self, loaded: &Loaded, outputs: &[Vec<f32>]) -> InferResponse {
        let model = &loaded.model;
        let tensors = self.wanted.iter().filter_map(|&(place, classes)| {
            let (spec, values) = (model.outputs.get(place)?, outputs.get(place)?);
            let batch = self.rows as u64;
            Some(match classes {
                None => OutputTensor {
                    name: spec.name.clone(),
                    shape: std::iter::once(batch).chain(spec.row_u64()).collect(),
                    datatype: FP32.to_owned(),
                    data: OutputData::Numbers(values.clone()),
                },
                Some(count) => OutputTensor {
                    name: spec.name.clone(),
                    shape: vec![batch, count as u64],
                    datatype: BYTES.to_owned(),
                    data: OutputData::Classes(classify(values, spec, count, loaded.labels.as_deref())),
                },
            })
        });
        InferResponse {
            model_name: model.name.clone(),
            model_version: model.version.to_string(),
            id: self.id.clone(),
            outputs: tensors.collect(),
        }
    }
}

fn unknown(kind: &'static str, name: &str, specs: &[TensorSpec]) -> RequestError {
    let known: Vec<String> = specs.iter().map(|spec| format!("`{}`", spec.name)).collect();
    RequestError::UnknownTensor { kind, name: name.to_owned(), known: known.join(", ") }
}

/// The outputs asked for by their place in the model; all of them when none is named.
fn wanted(request: &InferRequest, outputs: &[TensorSpec]) -> Result<Vec<(usize, Option<usize>)>, RequestError> {
    let named = request.wanted()?;
    if named.is_empty() {
        return Ok((0..outputs.len()).map(|place| (place, None)).collect());
    }
    let place = |wanted: crate::kserve::WantedOutput| {
        let found = outputs.iter().enumerate().find(|(_, spec)| spec.name == wanted.name);
        let (place, spec) = found.ok_or_else(|| unknown("output", &wanted.name, outputs))?;
        let classes = match wanted.classification {
            None => None,
            Some(got) => {
                // Classes are a list of numbers for each row; a picture as output has none.
                let max = if let [classes] = spec.row.as_slice() { *classes } else { 0 };
                let count = usize::try_from(got).ok().filter(|count| (1..=max).contains(count));
                Some(count.ok_or(RequestError::Classification { name: wanted.name, got, max: max as u64 })?)
            }
        };
        Ok((place, classes))
    };
    named.into_iter().map(place).collect()
}

/// The best classes of every row; of equal ones the lower index comes first.
fn classify(values: &[f32], spec: &TensorSpec, count: usize, labels: Option<&[String]>) -> Vec<String> {
    // Labels belong to the output that has as many classes as there are labels.
    let labels = labels.filter(|labels| labels.len() == spec.row_len());
    values
        .chunks_exact(spec.row_len())
        .flat_map(|row| {
            let mut order: Vec<(usize, f32)> = row.iter().copied().enumerate().collect();
            order.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            order.truncate(count);
            order
        })
        .map(|(index, probability)| {
            let label = labels.and_then(|labels| labels.get(index)).cloned();
            Class { index: index as u64, label, probability }.encode()
        })
        .collect()
}
