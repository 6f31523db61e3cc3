//! Asking an inference server over TLS, once ([`infer()`]) or many times ([`bench()`]).
//!
//! Who is trusted is decided by the TLS configuration that the caller brings, usually one whose only root is the mesh CA
//! that `casemate verify` wrote. This module reports the certificate it met and never looks the other way: there is no
//! unencrypted path, and a server whose certificate fails is an error of its own kind ([`ClientError::NotTrusted`]).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::Method;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use serde::{Deserialize, Serialize};

use crate::image::{PIXELS, Picture};
use crate::kserve::{BYTES, Class, InferResponse, OutputData};

mod bench;
mod connection;

pub use bench::{BenchError, BenchImage, BenchOptions, BenchReport, MAX_CLIENTS, MAX_REQUESTS, Progress, bench};
use connection::Connection;

/// Where to ask, and whom to trust.
#[derive(Debug, Clone)]
pub struct Target {
    /// Addresses of the service. One is enough; a question goes to the first that can be reached, benchmark clients spread
    /// over all.
    pub addresses: Vec<SocketAddr>,
    /// The name that the server's certificate must have.
    pub server_name: ServerName<'static>,
    /// Roots, versions and, where the server wants one, the client's certificate.
    pub tls: Arc<ClientConfig>,
    /// The model; when absent the server is asked for its only one.
    pub model: Option<String>,
    /// The model's output that holds the classes' probabilities.
    pub output: String,
    /// LIMIT: how long connecting and each request may take.
    pub timeout: Duration,
}

impl Target {
    /// A target with the usual settings: the server's only model, output `probabilities`, ten seconds.
    pub fn new(addresses: Vec<SocketAddr>, server_name: ServerName<'static>, tls: Arc<ClientConfig>) -> Self {
        Self {
            addresses,
            server_name,
            tls,
            model: None,
            output: "probabilities".to_owned(),
            timeout: Duration::from_secs(10),
        }
    }
}

/// An answer and who gave it.
#[derive(Debug, Clone, Serialize)]
pub struct Answer {
    /// The model's name.
    pub model: String,
    /// The model's version: SHA-256 of its ONNX file.
    pub version: String,
    /// The best classes, best first.
    pub classes: Vec<Class>,
    /// The pod that answered, by its own word.
    pub pod: Option<String>,
    /// The address that answered.
    pub address: SocketAddr,
    /// Milliseconds from the request to the whole answer, connecting not included.
    pub milliseconds: f64,
    /// The server's leaf certificate (DER), which the TLS configuration accepted.
    #[serde(skip)]
    pub peer: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// No address to connect to.
    #[error("the service has no address")]
    NoAddress,
    /// No connection.
    #[error("connect to {address}")]
    Connect {
        /// Where.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The server's certificate is not one that the configuration trusts for this name.
    #[error("{address} is not trusted as `{name}`")]
    NotTrusted {
        /// Where.
        address: SocketAddr,
        /// The name expected.
        name: String,
        /// What is wrong with it.
        #[source]
        source: rustls::Error,
    },
    /// The server wants a client certificate, or does not accept the given one.
    #[error("{address} does not accept this client")]
    ClientRefused {
        /// Where.
        address: SocketAddr,
        /// The alert.
        #[source]
        source: rustls::Error,
    },
    /// TLS failed for another reason.
    #[error("TLS with {address}")]
    Tls {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Too slow.
    #[error("no answer from {address} within {} s: {what}", after.as_secs_f64())]
    Timeout {
        /// Where.
        address: SocketAddr,
        /// What was waited for.
        what: &'static str,
        /// How long.
        after: Duration,
    },
    /// The connection broke.
    #[error("HTTP with {address}")]
    Http {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: hyper::Error,
    },
    /// The server answered with an error.
    #[error("the server answered {status}: {message}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Its words.
        message: String,
    },
    /// The server's answer makes no sense.
    #[error("unusable answer: {what}")]
    Answer {
        /// What is wrong.
        what: String,
    },
}

impl ClientError {
    /// Whether this is a "no" (exit 1): not trusted, or a request that the server finds wrong. Everything else is "could not
    /// tell" (exit 2).
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::NotTrusted { .. } | Self::ClientRefused { .. } => true,
            Self::Refused { status, .. } => (400..500).contains(status),
            _ => false,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoAddress => Some("no replica is ready; see `casemate ps`"),
            Self::Connect { .. } => Some("is the service up? see `casemate ps`"),
            Self::NotTrusted { .. } => Some(
                "after a new `set` or another deployment run `casemate verify` again; it writes the roots to trust",
            ),
            Self::ClientRefused { .. } => {
                Some("the port takes only workloads of the mesh; see the servicemesh-ingress annotation")
            }
            Self::Refused { status: 404, .. } => Some("ask for the model that the server has, or leave `--model` out"),
            Self::Refused { status: 503, .. } => Some("the server is starting or overloaded; try again"),
            _ => None,
        }
    }
}

/// Asks for the `top` best classes of one picture.
pub async fn infer(target: &Target, picture: &Picture, top: u64) -> Result<Answer, ClientError> {
    let (mut connection, address) = connect_any(target).await?;
    let model = model_name(target, &mut connection).await?;
    let body = request_body(picture, &target.output, top);
    let begin = Instant::now();
    let reply = connection.send(Method::POST, &infer_path(&model), body).await?;
    let milliseconds = begin.elapsed().as_secs_f64() * 1000.0;
    let answer: InferResponse = decode(&reply.body)?;
    Ok(Answer {
        classes: classes(&answer)?,
        model: answer.model_name,
        version: answer.model_version,
        pod: reply.pod,
        address,
        milliseconds,
        peer: connection.peer().to_vec(),
    })
}

/// Connects to the first address that can be reached. One that can be reached and is not trusted ends the search: going on
/// to another would hide it.
async fn connect_any(target: &Target) -> Result<(Connection, SocketAddr), ClientError> {
    let mut unreachable = ClientError::NoAddress;
    for &address in &target.addresses {
        match Connection::open(target, address).await {
            Ok(connection) => return Ok((connection, address)),
            Err(error @ ClientError::Connect { .. }) => unreachable = error,
            Err(error) => return Err(error),
        }
    }
    Err(unreachable)
}

fn infer_path(model: &str) -> String {
    format!("/v2/models/{}/infer", path_segment(model))
}

/// A model name as one segment of a path: everything unusual is percent-encoded.
fn path_segment(name: &str) -> String {
    name.bytes().fold(String::with_capacity(name.len()), |mut path, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("%{byte:02X}"));
        }
        path
    })
}

/// The model to ask: the one given, or the only one that the server lists.
async fn model_name(target: &Target, connection: &mut Connection) -> Result<String, ClientError> {
    #[derive(Deserialize)]
    struct Listed {
        name: String,
    }
    if let Some(name) = &target.model {
        return Ok(name.clone());
    }
    let reply = connection.send(Method::POST, "/v2/repository/index", Bytes::from_static(b"{}")).await?;
    let mut models: Vec<Listed> = decode(&reply.body)?;
    match (models.pop(), models.is_empty()) {
        (Some(only), true) => Ok(only.name),
        (None, _) => Err(ClientError::Answer { what: "the server lists no model".into() }),
        (Some(_), false) => Err(ClientError::Answer { what: "the server lists several models; name one".into() }),
    }
}

fn request_body(picture: &Picture, output: &str, top: u64) -> Bytes {
    let request = serde_json::json!({
        "inputs": [{ "name": "pixels", "shape": [1, PIXELS], "datatype": "FP32", "data": picture.pixels.as_slice() }],
        "outputs": [{ "name": output, "parameters": { "classification": top } }],
    });
    Bytes::from(request.to_string())
}

fn decode<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ClientError> {
    serde_json::from_slice(body)
        .map_err(|error| ClientError::Answer { what: error.to_string().chars().take(160).collect() })
}

fn classes(answer: &InferResponse) -> Result<Vec<Class>, ClientError> {
    let wrong = |what: &str| ClientError::Answer { what: what.to_owned() };
    let output =
        answer.outputs.first().filter(|output| output.datatype == BYTES).ok_or_else(|| wrong("no classes in it"))?;
    let OutputData::Classes(texts) = &output.data else { return Err(wrong("classes that are numbers")) };
    let classes: Option<Vec<Class>> = texts.iter().map(|text| Class::decode(text)).collect();
    classes.filter(|classes| !classes.is_empty()).ok_or_else(|| wrong("a class that is no `score:index:label`"))
}
