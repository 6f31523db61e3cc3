//! A server on a free port, with or without TLS before it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use inference::client::Target;
use inference::server::{Config, ServeError, Server};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) fn example(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/inference").join(path)
}

pub(crate) const LABELS: &str = "zero\none\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\n";

/// A running server; dropping it leaves the task to the runtime's end.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) stop: oneshot::Sender<()>,
    pub(crate) task: JoinHandle<Result<(), ServeError>>,
}

pub(crate) fn config() -> Config {
    let mut config = Config::new(([127, 0, 0, 1], 0).into(), example("digits.onnx"));
    config.pod = Some("inference-0".into());
    config.grace = Duration::from_secs(5);
    config
}

pub(crate) async fn start(config: Config) -> Running {
    let server = Server::bind(config).await.unwrap();
    let address = server.address();
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(server.run(async {
        let _ = stopped.await;
    }));
    Running { address, stop, task }
}

pub(crate) async fn ready(config: Config) -> Running {
    let running = start(config).await;
    for _ in 0..1000 {
        if running.get("/v2/health/ready").await.status == 200 {
            return running;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the server did not become ready");
}

/// An answer as a peer sees it.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("no JSON: {}", String::from_utf8_lossy(&self.body)))
    }

    pub(crate) fn error(&self) -> String {
        self.json()["error"].as_str().unwrap_or_default().to_owned()
    }
}

impl Running {
    /// Sends raw bytes and reads until the server closes.
    pub(crate) async fn raw(&self, request: &[u8]) -> Reply {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // The server may refuse before it has read all; its answer is what counts.
        let _ = stream.write_all(request).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(answer.len());
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Reply { status, head, body: answer.get(end + 4..).unwrap_or_default().to_vec() }
    }

    pub(crate) async fn send(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Reply {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n",
            body.len()
        );
        self.raw(&[head.as_bytes(), body].concat()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, "", b"").await
    }

    pub(crate) async fn infer(&self, body: &Value) -> Reply {
        self.send("POST", "/v2/models/digits/infer", "", body.to_string().as_bytes()).await
    }
}

/// A good request: `rows` rows of zeros.
pub(crate) fn question(rows: usize) -> Value {
    json!({ "inputs": [{ "name": "pixels", "shape": [rows, 64], "datatype": "FP32", "data": vec![0; rows * 64] }] })
}

/// A CA with a server and a client certificate.
pub(crate) struct Pki {
    pub(crate) root: CertificateDer<'static>,
    pub(crate) server: (CertificateDer<'static>, PrivateKeyDer<'static>),
    pub(crate) client: (CertificateDer<'static>, PrivateKeyDer<'static>),
}

impl Pki {
    pub(crate) fn new(name: &str) -> Self {
        let ca_key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let root = params.self_signed(&ca_key).unwrap().der().clone();
        let issuer = rcgen::Issuer::new(params, ca_key);
        let leaf = || {
            let key = rcgen::KeyPair::generate().unwrap();
            let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
            let certificate = params.signed_by(&key, &issuer).unwrap().der().clone();
            (certificate, PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        };
        Self { root, server: leaf(), client: leaf() }
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).unwrap();
        Arc::new(roots)
    }

    pub(crate) fn client_config(&self, with_certificate: bool) -> Arc<ClientConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots());
        Arc::new(if with_certificate {
            builder.with_client_auth_cert(vec![self.client.0.clone()], self.client.1.clone_key()).unwrap()
        } else {
            builder.with_no_client_auth()
        })
    }

    fn server_config(&self, wants_client: bool) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder =
            ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
        let builder = if wants_client {
            let verifier = WebPkiClientVerifier::builder_with_provider(self.roots(), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let config = builder.with_single_cert(vec![self.server.0.clone()], self.server.1.clone_key()).unwrap();
        Arc::new(config)
    }

    /// TLS before a plain address, as the mesh does it. Gives the address to ask.
    pub(crate) async fn front(&self, behind: SocketAddr, wants_client: bool) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(self.server_config(wants_client));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(mut outside) = acceptor.accept(stream).await else { return };
                    let Ok(mut inside) = TcpStream::connect(behind).await else { return };
                    let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
                });
            }
        });
        address
    }

    pub(crate) fn target(&self, addresses: Vec<SocketAddr>) -> Target {
        let mut target = Target::new(addresses, ServerName::try_from("inference").unwrap(), self.client_config(false));
        target.timeout = Duration::from_secs(5);
        target
    }
}
