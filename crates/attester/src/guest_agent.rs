//! The attestation agent of a confidential guest, asked over its loopback REST API.
//!
//! The API is that of the Confidential Containers guest components: `GET /aa/evidence?encoding=base64&runtime_data=…`,
//! where `runtime_data` is the report data in URL-safe base64 without padding, answered with status 200 and Evidence as
//! JSON ([`answer`]), and `GET /aa/additional-evidence` for the devices of the TEE ([`devices`]), whose nonce is passed in the
//! same way. In the local engine the pod agent serves the first of them in the pod's network namespace.
//!
//! Agents before `encoding=base64` took the text itself for the data. For the TEE it is too long, so they refuse; of devices
//! the nonce they signed is compared.
//!
//! One request opens one connection, and nothing is tried twice: the caller's peer waits on a channel with a deadline
//! of its own, and a second attempt on another channel has other report data anyway.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use protocol::{DeviceEvidence, Evidence, Nonce, ReportData};
use serde::Deserialize;
use tokio::net::TcpStream;

use crate::{AttestError, Attester, BoxFuture};

mod answer;
mod devices;
mod snp;

#[cfg(not(target_feature = "crt-static"))]
pub(crate) use devices::answers;

/// Where the agent listens inside a pod.
pub const DEFAULT_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8006);

/// LIMIT: an answer is one Evidence in base64 (four bytes for three) inside a small JSON object.
///
/// The guest components list a SEV-SNP report's bytes and those of its certificates as decimal numbers, up to four
/// characters each: 8 KiB and 64 KiB at the most that Linux takes.
pub const MAX_ANSWER: usize = 2 * Evidence::MAX_BODY;

/// LIMIT: of each of the largest machine's devices a report and a chain in base64.
pub const MAX_DEVICES_ANSWER: usize = Evidence::MAX_DEVICES * 2 * (2 * Evidence::MAX_DEVICE);

/// LIMIT: a few words.
const MAX_INFO: usize = 16 * 1024;

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

    /// What the agent says of itself. It is for people; nothing rests on it. `None`: this agent does not say.
    pub async fn info(&self) -> Result<Option<AgentInfo>, AttestError> {
        let address = self.address;
        let body = match self.within(self.get("/info", MAX_INFO)).await {
            Err(AttestError::Status { status: 404, .. }) => return Ok(None),
            outcome => outcome?,
        };
        let info = serde_json::from_slice(&body);
        info.map(Some).map_err(|error| AttestError::Malformed { address, reason: error.to_string() })
    }

    async fn within<T>(&self, exchange: impl Future<Output = Result<T, AttestError>>) -> Result<T, AttestError> {
        match tokio::time::timeout(self.timeout, exchange).await {
            Ok(result) => result,
            Err(_) => Err(AttestError::Timeout { address: self.address, limit: self.timeout }),
        }
    }

    /// One question, one answer of status 200 and at most `limit` bytes.
    async fn get(&self, target: &str, limit: usize) -> Result<Bytes, AttestError> {
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
        let request = Request::get(target)
            .header(header::HOST, address.to_string())
            .header(header::ACCEPT, "application/json")
            .body(Empty::<Bytes>::new())
            .map_err(|error| unreachable(address, &error))?;
        let exchange = async {
            let answer = sender.send_request(request).await.map_err(|error| unreachable(address, &error))?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), limit).collect().await.map_err(|error| {
                if error.is::<http_body_util::LengthLimitError>() {
                    AttestError::TooLong { address, limit }
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
        Ok(body)
    }

    async fn ask(&self, report_data: &ReportData) -> Result<Evidence, AttestError> {
        let runtime_data = URL_SAFE_NO_PAD.encode(report_data.0);
        let body = self.get(&format!("/aa/evidence?encoding=base64&runtime_data={runtime_data}"), MAX_ANSWER).await?;
        answer::evidence(self.address, &body)
    }

    async fn ask_devices(&self, nonce: &Nonce) -> Result<Vec<DeviceEvidence>, AttestError> {
        let runtime_data = URL_SAFE_NO_PAD.encode(nonce.0);
        let target = format!("/aa/additional-evidence?encoding=base64&runtime_data={runtime_data}");
        match self.get(&target, MAX_DEVICES_ANSWER).await {
            Ok(body) => devices::evidence(self.address, &body, nonce),
            // An agent without this question knows no devices. Were there some, reference values that demand them refuse.
            Err(AttestError::Status { status: 404, .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}

/// What an agent of the guest components says of itself.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[non_exhaustive]
pub struct AgentInfo {
    /// Its release.
    #[serde(default)]
    pub version: String,
    /// Which TEE it found.
    #[serde(default)]
    pub tee: Option<String>,
    /// Which kinds of devices it found.
    #[serde(default)]
    pub additional_tees: Vec<String>,
    /// Which parts of its API are switched on.
    #[serde(default)]
    pub feature: String,
}

impl Default for GuestAgent {
    fn default() -> Self {
        Self::new(DEFAULT_ADDRESS)
    }
}

impl Attester for GuestAgent {
    fn attest<'a>(&'a self, report_data: &'a ReportData) -> BoxFuture<'a, Result<Evidence, AttestError>> {
        Box::pin(self.within(self.ask(report_data)))
    }

    fn devices<'a>(&'a self, nonce: &'a Nonce) -> BoxFuture<'a, Result<Vec<DeviceEvidence>, AttestError>> {
        Box::pin(self.within(self.ask_devices(nonce)))
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
