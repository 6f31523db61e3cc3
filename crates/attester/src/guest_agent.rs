//! The attestation agent of a confidential guest, asked over its loopback REST API.
//!
//! The API is that of the Confidential Containers guest components: `GET /aa/evidence?encoding=base64&runtime_data=…`,
//! where `runtime_data` is the report data in URL-safe base64 without padding, answered with status 200 and Evidence as
//! JSON. In the local engine the pod agent serves the same API in the pod's network namespace.
//!
//! One request opens one connection, and nothing is tried twice: the caller's peer waits on a channel with a deadline
//! of its own, and a second attempt on another channel has other report data anyway.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use protocol::{Evidence, ReportData};
use tokio::net::TcpStream;

use crate::{AttestError, Attester, BoxFuture};

/// Where the agent listens inside a pod.
pub const DEFAULT_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8006);

/// LIMIT: an answer is one Evidence in base64 (four bytes for three) inside a small JSON object.
pub const MAX_ANSWER: usize = 2 * Evidence::MAX_BODY;

/// LIMIT: a quote takes tens of milliseconds and a host makes one at a time, so a hundred pods that start at once wait
/// some seconds for each other. An agent that is still silent then is not coming back.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// LIMIT: error messages quote at most this many characters of an answer.
const EXCERPT_CHARS: usize = 200;

/// LIMIT: an agent sends half a dozen headers; hyper's own bound is some 400 KiB.
const MAX_HEAD: usize = 16 * 1024;

/// The attestation agent at one loopback address.
#[derive(Clone, Debug)]
pub struct GuestAgent {
    address: SocketAddr,
    timeout: Duration,
}

impl GuestAgent {
    /// The agent at `address`. An address that is not on the loopback makes every request fail: Evidence about this TEE
    /// cannot come from another machine.
    pub fn new(address: SocketAddr) -> Self {
        Self { address, timeout: TIMEOUT }
    }

    /// The same agent, waited for no longer than `timeout`.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    async fn ask(&self, report_data: &ReportData) -> Result<Evidence, AttestError> {
        let address = self.address;
        if !address.ip().is_loopback() {
            return Err(AttestError::NotLoopback { address });
        }
        let stream = TcpStream::connect(address).await.map_err(|error| unreachable(address, &error))?;
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(MAX_HEAD)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| unreachable(address, &error))?;
        let runtime_data = URL_SAFE_NO_PAD.encode(report_data.0);
        let request = Request::get(format!("/aa/evidence?encoding=base64&runtime_data={runtime_data}"))
            .header(header::HOST, address.to_string())
            .header(header::ACCEPT, "application/json")
            .body(Empty::<Bytes>::new())
            .map_err(|error| unreachable(address, &error))?;
        let exchange = async {
            let answer = sender.send_request(request).await.map_err(|error| unreachable(address, &error))?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await.map_err(|error| {
                if error.is::<http_body_util::LengthLimitError>() {
                    AttestError::TooLong { address, limit: MAX_ANSWER }
                } else {
                    unreachable(address, error.as_ref())
                }
            })?;
            Ok((status, body.to_bytes()))
        };
        tokio::pin!(exchange);
        // The connection must be driven for the exchange to move, and may end first: what it has read by then still
        // reaches the exchange.
        let (status, body) = tokio::select! {
            done = &mut exchange => done,
            _ = connection => exchange.await,
        }?;
        if status != StatusCode::OK {
            return Err(AttestError::Status { address, status: status.as_u16(), excerpt: excerpt(&body) });
        }
        let malformed = |reason: String| AttestError::Malformed { address, reason };
        let evidence: Evidence = serde_json::from_slice(&body).map_err(|error| malformed(error.to_string()))?;
        if evidence.body.len() > Evidence::MAX_BODY {
            return Err(malformed(format!(
                "evidence of {} bytes, at most {}",
                evidence.body.len(),
                Evidence::MAX_BODY
            )));
        }
        Ok(evidence)
    }
}

impl Default for GuestAgent {
    fn default() -> Self {
        Self::new(DEFAULT_ADDRESS)
    }
}

impl Attester for GuestAgent {
    fn attest<'a>(&'a self, report_data: &'a ReportData) -> BoxFuture<'a, Result<Evidence, AttestError>> {
        Box::pin(async move {
            match tokio::time::timeout(self.timeout, self.ask(report_data)).await {
                Ok(result) => result,
                Err(_) => Err(AttestError::Timeout { address: self.address, limit: self.timeout }),
            }
        })
    }
}

/// The whole chain in one line: the HTTP library's outermost error says only in which phase it failed.
fn unreachable(address: SocketAddr, error: &(dyn std::error::Error + 'static)) -> AttestError {
    let mut reason = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        reason.push_str(&format!(": {error}"));
        source = error.source();
    }
    AttestError::Unreachable { address, reason }
}

/// The beginning of an answer, with control characters replaced so that it cannot forge log lines.
fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    text.trim().chars().take(EXCERPT_CHARS).map(|char| if char.is_control() { ' ' } else { char }).collect()
}
