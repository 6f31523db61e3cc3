//! The Evidence endpoint: `GET http://127.0.0.1:8006/aa/evidence` inside the pod's network namespace, in the shape of
//! the loopback API of the Confidential Containers guest components.
//!
//! Whoever reaches it gets Evidence for this pod with report data of their choice. That is why the pod's firewall lets
//! only initializer and mesh reach it, and why nothing else is served here.

use std::convert::Infallible;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use protocol::ReportData;
use tokio::sync::Semaphore;

use super::device::Device;

/// LIMIT: initializer and mesh ask one at a time.
const MAX_CONNECTIONS: usize = 16;
/// LIMIT: the request is one short line; whoever takes longer does not mean it.
const HEADER_PATIENCE: Duration = Duration::from_secs(10);

/// Serves the endpoint for ever.
pub(super) async fn serve(listener: OwnedFd, device: Arc<Device>) {
    let listener = std::net::TcpListener::from(listener);
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let device = Arc::clone(&device);
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let device = Arc::clone(&device);
                async move { Ok::<_, Infallible>(answer(&request, &device).await) }
            });
            let _ = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_PATIENCE)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            drop(place);
        });
    }
}

async fn answer(request: &Request<Incoming>, device: &Device) -> Response<Full<Bytes>> {
    if request.uri().path() != "/aa/evidence" {
        return text(StatusCode::NOT_FOUND, "only /aa/evidence is served");
    }
    if request.method() != Method::GET {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET is served");
    }
    let report_data = match report_data(request.uri().query().unwrap_or_default()) {
        Ok(report_data) => report_data,
        Err(reason) => return text(StatusCode::BAD_REQUEST, reason),
    };
    match device.evidence(&report_data).await {
        Ok(evidence) => match serde_json::to_vec(&evidence) {
            Ok(body) => {
                let mut response = Response::new(Full::new(Bytes::from(body)));
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                response
            }
            Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "the evidence has no JSON form"),
        },
        Err(error) => text(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    }
}

/// The 64 bytes that the requester chooses.
fn report_data(query: &str) -> Result<ReportData, &'static str> {
    let mut data = None;
    for pair in query.split('&') {
        match pair.split_once('=') {
            Some(("encoding", "base64")) => {}
            Some(("encoding", _)) => return Err("encoding: only base64 is served"),
            Some(("runtime_data", _)) if data.is_some() => return Err("runtime_data: given twice"),
            Some(("runtime_data", value)) => data = Some(value),
            _ => {}
        }
    }
    // Padding is percent-encoded by some clients, and the contract is without.
    let bytes = URL_SAFE_NO_PAD.decode(data.ok_or("runtime_data: missing")?);
    let bytes = bytes.map_err(|_| "runtime_data: not URL-safe base64 without padding")?;
    bytes.try_into().map(ReportData).map_err(|_| "runtime_data: not 64 bytes")
}

fn text(status: StatusCode, message: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::copy_from_slice(message.as_bytes())));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixty_four_bytes_are_taken() {
        let query = format!("encoding=base64&runtime_data={}", URL_SAFE_NO_PAD.encode([250; 64]));
        assert_eq!(report_data(&query), Ok(ReportData([250; 64])));
    }

    #[test]
    fn anything_else_is_refused() {
        let with = |bytes: &[u8]| format!("runtime_data={}", URL_SAFE_NO_PAD.encode(bytes));
        let twice = format!("{0}&{0}", with(&[1; 64]));
        let hex = format!("encoding=hex&{}", with(&[1; 64]));
        for query in ["", "runtime_data=", "runtime_data=%%", &with(&[1; 63]), &with(&[1; 65]), &twice, &hex] {
            assert!(report_data(query).is_err(), "{query}");
        }
    }
}
