//! Probes, as the kubelet makes them from the node.
//!
//! One thing differs. Until a probe has succeeded for the first time it is made every few milliseconds instead of
//! every `periodSeconds`, so that a pod counts as ready when it is; how long it may take until then stays what the
//! resources say.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use policy::request::probe_command;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// How often a probe that has not yet succeeded is made.
pub(super) const EAGER: Duration = Duration::from_millis(50);
/// LIMIT: nobody reads the body of a probe's answer; the kubelet takes 10 KiB for its log.
const MAX_BODY: usize = 10 * 1024;

/// A probe of a container.
#[derive(Clone, Debug)]
pub(super) struct Probe {
    action: Action,
    pub(super) initial_delay: Duration,
    pub(super) period: Duration,
    timeout: Duration,
    pub(super) failure_threshold: u32,
    pub(super) success_threshold: u32,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Action {
    Http { port: u16, path: String, https: bool, headers: Vec<(String, String)> },
    Tcp { port: u16 },
    Exec { argv: Vec<String> },
    Nothing,
}

impl Probe {
    /// The probe under this name, with Kubernetes' defaults.
    pub(super) fn of(container: &Value, name: &str) -> Option<Self> {
        let probe = container.get(name).filter(|probe| probe.is_object())?;
        let number = |field: &str, default: u32| {
            probe[field].as_u64().and_then(|number| u32::try_from(number).ok()).unwrap_or(default)
        };
        let seconds = |field: &str, default: u32| Duration::from_secs(number(field, default).into());
        Some(Self {
            action: match probe_command(container, name) {
                Some(argv) => Action::Exec { argv },
                None => action(probe, container),
            },
            initial_delay: seconds("initialDelaySeconds", 0),
            period: seconds("periodSeconds", 10).max(Duration::from_secs(1)),
            timeout: seconds("timeoutSeconds", 1).max(Duration::from_secs(1)),
            failure_threshold: number("failureThreshold", 3).max(1),
            success_threshold: number("successThreshold", 1).max(1),
        })
    }

    /// The `httpGet` of a hook, which the kubelet makes like a probe.
    pub(super) fn of_hook(container: &Value, hook: &Value, timeout: Duration) -> Option<Self> {
        let action = Some(action(hook, container)).filter(|action| matches!(action, Action::Http { .. }))?;
        let (initial_delay, period) = (Duration::ZERO, Duration::ZERO);
        Some(Self { action, initial_delay, period, timeout, failure_threshold: 1, success_threshold: 1 })
    }

    /// The command that the probe runs, and for how long.
    pub(super) fn command(&self) -> Option<(&[String], Duration)> {
        match &self.action {
            Action::Exec { argv } => Some((argv, self.timeout)),
            _ => None,
        }
    }

    /// How long the first success may take.
    pub(super) fn patience(&self) -> Duration {
        self.initial_delay + self.period * self.failure_threshold
    }

    /// Makes the probe once, if it reaches a port.
    pub(super) async fn make(&self, ip: IpAddr) -> Result<(), String> {
        let attempt = async {
            match &self.action {
                Action::Tcp { port } => {
                    TcpStream::connect((ip, *port)).await.map(drop).map_err(|error| error.to_string())
                }
                Action::Http { port, path, https, headers } => http(ip, *port, path, *https, headers).await,
                Action::Exec { .. } | Action::Nothing => Err("the probe names no port".into()),
            }
        };
        let seconds = self.timeout.as_secs();
        tokio::time::timeout(self.timeout, attempt)
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {seconds} s")))
    }
}

fn action(probe: &Value, container: &Value) -> Action {
    let port = |source: &Value| port(&source["port"], container);
    if let (get, Some(port)) = (&probe["httpGet"], port(&probe["httpGet"])) {
        let path = get["path"].as_str().filter(|path| path.starts_with('/')).unwrap_or("/").to_owned();
        let headers = get["httpHeaders"].as_array().into_iter().flatten();
        let headers = headers
            .filter_map(|header| Some((header["name"].as_str()?.to_owned(), header["value"].as_str()?.to_owned())))
            .collect();
        return Action::Http { port, path, https: get["scheme"] == "HTTPS", headers };
    }
    if let Some(port) = port(&probe["tcpSocket"]).or_else(|| port(&probe["grpc"])) {
        return Action::Tcp { port };
    }
    Action::Nothing
}

/// A port by its number or by the name of a container's port.
pub(super) fn port(wanted: &Value, container: &Value) -> Option<u16> {
    let number = |value: &Value| value.as_u64().and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
    if let Some(port) = number(wanted) {
        return Some(port);
    }
    let name = wanted.as_str()?;
    let ports = container["ports"].as_array().into_iter().flatten();
    let named =
        ports.filter(|port| port["name"].as_str() == Some(name)).find_map(|port| number(&port["containerPort"]));
    named.or_else(|| name.parse().ok())
}

async fn http(ip: IpAddr, port: u16, path: &str, https: bool, headers: &[(String, String)]) -> Result<(), String> {
    let address = SocketAddr::new(ip, port);
    let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    if https {
        let connector = tokio_rustls::TlsConnector::from(danger::unverified_client());
        let stream = connector.connect(ip.into(), stream).await.map_err(|error| error.to_string())?;
        get(stream, address, path, headers).await
    } else {
        get(stream, address, path, headers).await
    }
}

async fn get<S>(stream: S, address: SocketAddr, path: &str, headers: &[(String, String)]) -> Result<(), String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| text(&error))?;
    let mut request =
        Request::get(path).header(header::USER_AGENT, "kube-probe/1.34").header(header::CONNECTION, "close");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        request = request.header(header::HOST, address.to_string());
    }
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request = request.body(Empty::<bytes::Bytes>::new()).map_err(|error| text(&error))?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|error| text(&error))?;
        let status = response.status();
        let _ = Limited::new(response.into_body(), MAX_BODY).collect().await;
        // What the kubelet takes for success.
        if status.is_success() || status.is_redirection() { Ok(()) } else { Err(format!("HTTP status {status}")) }
    };
    tokio::pin!(exchange);
    tokio::select! {
        result = &mut exchange => result,
        _ = connection => exchange.await,
    }
}

/// TLS without a check of the peer. The kubelet does not verify certificates of `scheme: HTTPS` probes either: a probe
/// carries nothing secret and proves nothing.
mod danger {
    use super::Arc;

    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

    #[derive(Debug)]
    struct AnyServer(Arc<rustls::crypto::CryptoProvider>);

    impl ServerCertVerifier for AnyServer {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.0.signature_verification_algorithms.supported_schemes()
        }
    }

    pub(super) fn unverified_client() -> Arc<ClientConfig> {
        static CONFIG: std::sync::OnceLock<Arc<ClientConfig>> = std::sync::OnceLock::new();
        let config = CONFIG.get_or_init(|| {
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
                .with_protocol_versions(&[&rustls::version::TLS13])
                .expect("the provider has TLS 1.3 suites")
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyServer(provider)))
                .with_no_client_auth();
            Arc::new(config)
        });
        Arc::clone(config)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    async fn server(answer: &'static str) -> u16 {
        let listener = TcpListener::bind((LOCAL, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut buffer = [0; 1024];
                let _ = stream.read(&mut buffer).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        port
    }

    fn probe(probe: Value) -> Probe {
        let container = json!({"ports": [{"name": "http", "containerPort": 8080}], "readinessProbe": probe});
        Probe::of(&container, "readinessProbe").unwrap()
    }

    #[tokio::test]
    async fn success_is_a_status_from_200_to_399() {
        for (answer, ok) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", true),
            ("HTTP/1.1 302 Found\r\ncontent-length: 0\r\n\r\n", true),
            ("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", false),
            ("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n", false),
            ("nonsense\r\n\r\n", false),
        ] {
            let port = server(answer).await;
            let result = probe(json!({"httpGet": {"port": port, "path": "/ready"}})).make(LOCAL).await;
            assert_eq!(result.is_ok(), ok, "{answer}: {result:?}");
        }
    }

    #[tokio::test]
    async fn a_closed_port_and_a_probe_without_one_fail() {
        let listener = std::net::TcpListener::bind((LOCAL, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(probe(json!({"tcpSocket": {"port": port}})).make(LOCAL).await.is_ok());
        drop(listener);
        assert!(probe(json!({"tcpSocket": {"port": port}})).make(LOCAL).await.is_err());
        let exec = probe(json!({"exec": {"command": ["true", "x"]}, "timeoutSeconds": 3}));
        assert_eq!(exec.command(), Some((&["true".to_owned(), "x".to_owned()][..], Duration::from_secs(3))));
        for nothing in [exec, probe(json!({})), probe(json!({"exec": {"command": []}}))] {
            assert!(nothing.make(LOCAL).await.unwrap_err().contains("names no port"));
        }
        assert_eq!(probe(json!({"tcpSocket": {"port": port}})).command(), None);
    }

    #[tokio::test]
    async fn a_hook_asks_like_a_probe() {
        let port = server("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
        let second = Duration::from_secs(1);
        let hook = Probe::of_hook(&json!({}), &json!({"httpGet": {"port": port}}), second).unwrap();
        assert_eq!(hook.make(LOCAL).await, Ok(()));
        for other in [json!({"sleep": {"seconds": 1}}), json!({"exec": {"command": ["x"]}}), json!(null)] {
            assert!(Probe::of_hook(&json!({}), &other, second).is_none());
        }
    }

    #[test]
    fn defaults_are_those_of_kubernetes() {
        let probe = probe(json!({"httpGet": {"port": "http"}}));
        assert_eq!(probe.action, Action::Http { port: 8080, path: "/".into(), https: false, headers: Vec::new() });
        assert_eq!((probe.period.as_secs(), probe.timeout.as_secs(), probe.failure_threshold), (10, 1, 3));
        assert_eq!(probe.patience().as_secs(), 30);
        assert!(Probe::of(&json!({}), "readinessProbe").is_none());
    }
}
