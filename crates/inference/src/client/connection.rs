//! One keep-alive HTTP/1.1 connection over TLS.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use rustls::{AlertDescription, Error as TlsError};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use super::{ClientError, Target, decode};
use crate::kserve::{ErrorBody, POD_HEADER};

/// LIMIT: an answer about one picture takes some hundred bytes; a server that sends more is not ours.
const MAX_ANSWER: usize = 4 * 1024 * 1024;
/// LIMIT: a pod's name is a DNS label.
const MAX_POD_NAME: usize = 253;

/// An open connection.
pub(super) struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
    address: SocketAddr,
    host: String,
    timeout: Duration,
    peer: Vec<u8>,
}

/// The parts of a successful answer that are looked at.
pub(super) struct Reply {
    pub(super) body: Bytes,
    pub(super) pod: Option<String>,
}

impl Connection {
    /// Connects and finishes the TLS handshake.
    pub(super) async fn open(target: &Target, address: SocketAddr) -> Result<Self, ClientError> {
        let after = target.timeout;
        tokio::time::timeout(after, Self::open_unhurried(target, address)).await.unwrap_or(Err(ClientError::Timeout {
            address,
            what: "connecting",
            after,
        }))
    }

    async fn open_unhurried(target: &Target, address: SocketAddr) -> Result<Self, ClientError> {
        let tcp = TcpStream::connect(address).await.map_err(|source| ClientError::Connect { address, source })?;
        // Requests are single small writes; waiting for more would only add latency.
        tcp.set_nodelay(true).map_err(|source| ClientError::Connect { address, source })?;
        let name = target.server_name.clone();
        let tls = TlsConnector::from(target.tls.clone())
            .connect(name, tcp)
            .await
            .map_err(|error| tls_error(error, target, address))?;
        let leaf = tls.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let peer = leaf.map(|leaf| leaf.as_ref().to_vec()).unwrap_or_default();
        let (sender, connection) =
            http1::handshake(TokioIo::new(tls)).await.map_err(|source| ClientError::Http { address, source })?;
        let driver = tokio::spawn(async move {
            // An error of the connection reaches whoever waits for an answer; without one there is nobody to tell.
            let _ = connection.await;
        });
        let host = target.server_name.to_str().into_owned();
        Ok(Self { sender, driver, address, host, timeout: target.timeout, peer })
    }

    /// The server's leaf certificate (DER).
    pub(super) fn peer(&self) -> &[u8] {
        &self.peer
    }

    /// Sends one request and reads the whole answer; anything but 200 is an error.
    pub(super) async fn send(&mut self, method: Method, path: &str, body: Bytes) -> Result<Reply, ClientError> {
        let (address, after) = (self.address, self.timeout);
        tokio::time::timeout(after, self.send_unhurried(method, path, body))
            .await
            .unwrap_or(Err(ClientError::Timeout { address, what: "the answer", after }))
    }

    async fn send_unhurried(&mut self, method: Method, path: &str, body: Bytes) -> Result<Reply, ClientError> {
        let address = self.address;
        let http = |source| http_error(source, address);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.host)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| ClientError::Answer { what: error.to_string() })?;
        self.sender.ready().await.map_err(http)?;
        let response = self.sender.send_request(request).await.map_err(http)?;
        let status = response.status().as_u16();
        let pod = response.headers().get(POD_HEADER).and_then(|value| value.to_str().ok());
        let pod = pod.filter(|pod| pod.len() <= MAX_POD_NAME).map(ToOwned::to_owned);
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|error| ClientError::Answer { what: error.to_string() })?.to_bytes();
        if status == 200 {
            return Ok(Reply { body, pod });
        }
        let message = match decode::<ErrorBody>(&body) {
            Ok(error) => error.error.chars().filter(|c| !c.is_control()).take(300).collect(),
            Err(_) => "(no message)".to_owned(),
        };
        Err(ClientError::Refused { status, message })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// In TLS 1.3 a server judges the client's certificate after the client has finished, so its alert comes with the first read.
fn http_error(error: hyper::Error, address: SocketAddr) -> ClientError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(current) = cause {
        let tls = current.downcast_ref::<std::io::Error>().and_then(rustls_error);
        if let Some(source) = tls.filter(|error| refuses_client(error)) {
            return ClientError::ClientRefused { address, source: source.clone() };
        }
        cause = current.source();
    }
    ClientError::Http { address, source: error }
}

fn tls_error(error: std::io::Error, target: &Target, address: SocketAddr) -> ClientError {
    match rustls_error(&error) {
        Some(source @ (TlsError::InvalidCertificate(_) | TlsError::NoCertificatesPresented)) => {
            let name = target.server_name.to_str().into_owned();
            ClientError::NotTrusted { address, name, source: source.clone() }
        }
        Some(source) if refuses_client(source) => ClientError::ClientRefused { address, source: source.clone() },
        _ => ClientError::Tls { address, source: error },
    }
}

fn rustls_error(error: &std::io::Error) -> Option<&TlsError> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}

fn refuses_client(error: &TlsError) -> bool {
    matches!(
        error,
        TlsError::AlertReceived(
            AlertDescription::CertificateRequired
                | AlertDescription::BadCertificate
                | AlertDescription::CertificateUnknown
                | AlertDescription::CertificateExpired
                | AlertDescription::UnknownCA
                | AlertDescription::AccessDenied
        )
    )
}
