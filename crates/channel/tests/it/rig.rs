//! Honest ends over real TCP, and a hostile end that speaks TLS and frames by hand.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use attester::{AttestError, Attester, BoxFuture};
use channel::{Channel, ChannelError, ClientTerms, ServerTerms, TlsIdentity, accept, connect, provider};
use protocol::api::{ApiError, ErrorCode};
use protocol::digest::Measurement;
use protocol::manifest::ReferenceValues;
use protocol::wire::{ALPN, Hello};
use protocol::{Binding, DeploymentId, Digest, Evidence, Identity, Nonce, Purpose, ReportData, Role, TlsSide, binding};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme};
use serde::Serialize;
use serde::de::DeserializeOwned;
use testkit::SoftwareTee;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};
use verifier::{AppraiseError, AttestationResult, VerifiedEvidence};

pub(crate) const MEASUREMENT: Measurement = Measurement::from_bytes([1; 48]);
pub(crate) const DEPLOYMENT: DeploymentId = DeploymentId::from_bytes([2; 16]);
pub(crate) const OTHER_DEPLOYMENT: DeploymentId = DeploymentId::from_bytes([3; 16]);

pub(crate) type Opened = Result<Channel<TcpStream>, ChannelError>;

pub(crate) fn tee() -> Arc<SoftwareTee> {
    Arc::new(SoftwareTee::from_seed([7; 32]))
}

pub(crate) fn coordinator() -> Identity {
    Identity(Digest::of(b"coordinator"))
}

pub(crate) fn workload() -> Identity {
    Identity(Digest::of(b"workload"))
}

pub(crate) fn values() -> ReferenceValues {
    tee().reference_values(&[MEASUREMENT])
}

pub(crate) fn client_terms() -> ClientTerms {
    ClientTerms { purpose: Purpose::Verify, deployment: DEPLOYMENT, attest: None, judge: channel::Given::nothing() }
}

pub(crate) fn attesting_client_terms() -> ClientTerms {
    let attester = tee().attester(MEASUREMENT, workload());
    ClientTerms {
        purpose: Purpose::Mesh,
        deployment: DEPLOYMENT,
        attest: Some((Role::Workload, attester)),
        judge: channel::Given::nothing(),
    }
}

pub(crate) fn server_terms() -> ServerTerms {
    ServerTerms {
        purposes: vec![Purpose::Verify, Purpose::Mesh],
        deployment: DEPLOYMENT,
        role: Role::Coordinator,
        attester: tee().attester(MEASUREMENT, coordinator()),
        client_evidence: false,
        judge: channel::Given::nothing(),
    }
}

pub(crate) fn appraise_server(evidence: VerifiedEvidence) -> Result<AttestationResult, AppraiseError> {
    verifier::appraise(evidence, &values())
}

pub(crate) fn appraise_client(evidence: VerifiedEvidence) -> Result<AttestationResult, ApiError> {
    verifier::appraise(evidence, &values())
        .map_err(|_| ApiError::new(ErrorCode::Contraindicated, "evidence does not meet the reference values"))
}

pub(crate) async fn client(stream: TcpStream, terms: ClientTerms) -> Opened {
    connect(stream, &TlsIdentity::generate().unwrap(), terms, appraise_server).await
}

pub(crate) async fn server(stream: TcpStream, terms: ServerTerms) -> Opened {
    accept(stream, &TlsIdentity::generate().unwrap(), &terms, appraise_client).await
}

/// Two ends of one TCP connection: the connecting and the accepting one.
pub(crate) async fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let connect = TcpStream::connect(listener.local_addr().unwrap());
    let (client, server) = tokio::join!(connect, listener.accept());
    (client.unwrap(), server.unwrap().0)
}

/// An honest client and an honest server.
pub(crate) async fn open(client_terms: ClientTerms, server_terms: ServerTerms) -> (Opened, Opened) {
    let (near, far) = tcp().await;
    tokio::join!(client(near, client_terms), server(far, server_terms))
}

/// An Attester that remembers the Evidence it made.
pub(crate) struct Recorder {
    pub(crate) inner: Arc<dyn Attester>,
    pub(crate) made: Mutex<Vec<Evidence>>,
}

impl Recorder {
    pub(crate) fn new(inner: Arc<dyn Attester>) -> Arc<Self> {
        Arc::new(Self { inner, made: Mutex::default() })
    }

    pub(crate) fn made(&self) -> Vec<Evidence> {
        self.made.lock().unwrap().clone()
    }
}

impl Attester for Recorder {
    fn attest<'a>(&'a self, report_data: &'a ReportData) -> BoxFuture<'a, Result<Evidence, AttestError>> {
        Box::pin(async move {
            let evidence = self.inner.attest(report_data).await?;
            self.made.lock().unwrap().push(evidence.clone());
            Ok(evidence)
        })
    }
}

/// An Attester that gives the same Evidence whatever it is asked for.
pub(crate) struct Replay(pub(crate) Evidence);

impl Attester for Replay {
    fn attest<'a>(&'a self, _: &'a ReportData) -> BoxFuture<'a, Result<Evidence, AttestError>> {
        Box::pin(async move { Ok(self.0.clone()) })
    }
}

/// An Attester that fails.
pub(crate) struct Broken;

impl Attester for Broken {
    fn attest<'a>(&'a self, _: &'a ReportData) -> BoxFuture<'a, Result<Evidence, AttestError>> {
        Box::pin(async { Err(AttestError::Failed { attester: "test", reason: "no TEE".to_owned() }) })
    }
}

/// A certificate verifier of the hostile end: it checks nothing at all.
#[derive(Debug)]
struct Blind;

const SCHEMES: [SignatureScheme; 1] = [SignatureScheme::ECDSA_NISTP256_SHA256];

impl ServerCertVerifier for Blind {
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
        SCHEMES.to_vec()
    }
}

impl ClientCertVerifier for Blind {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
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
        SCHEMES.to_vec()
    }
}

/// A leaf and a key that need not belong together.
pub(crate) struct Key {
    pub(crate) leaf: CertificateDer<'static>,
    pub(crate) key: Vec<u8>,
}

pub(crate) fn key() -> Key {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let leaf = rcgen::CertificateParams::default().self_signed(&key).unwrap().der().clone();
    Key { leaf, key: key.serialize_der() }
}

fn resolver(chain: Vec<CertificateDer<'static>>, key: &Key) -> Arc<SingleCertAndKey> {
    let der: PrivateKeyDer<'static> = PrivatePkcs8KeyDer::from(key.key.clone()).into();
    let key = provider().key_provider.load_private_key(der).unwrap();
    Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key)))
}

/// TLS settings of a hostile client.
pub(crate) fn client_config(chain: Vec<CertificateDer<'static>>, key: &Key, alpn: &[&[u8]]) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Blind));
    let mut config = if chain.is_empty() {
        builder.with_no_client_auth()
    } else {
        builder.with_client_cert_resolver(resolver(chain, key))
    };
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    config
}

/// TLS settings of a hostile server.
pub(crate) fn server_config(chain: Vec<CertificateDer<'static>>, key: &Key, alpn: &[&[u8]]) -> ServerConfig {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(Arc::new(Blind))
        .with_cert_resolver(resolver(chain, key));
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    config
}

/// A hostile end after its TLS handshake.
pub(crate) struct Raw {
    pub(crate) stream: TlsStream<TcpStream>,
    own_leaf: Digest,
    side: TlsSide,
}

impl Raw {
    pub(crate) async fn connect_with(stream: TcpStream, config: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from("anything.invalid").unwrap();
        Ok(TlsConnector::from(Arc::new(config)).connect(name, stream).await?.into())
    }

    pub(crate) async fn connect(stream: TcpStream) -> Self {
        let key = key();
        let own_leaf = Digest::of(&key.leaf);
        let config = client_config(vec![key.leaf.clone()], &key, &[ALPN]);
        let stream = Self::connect_with(stream, config).await.unwrap();
        Self { stream, own_leaf, side: TlsSide::Client }
    }

    pub(crate) async fn accept_with(stream: TcpStream, config: ServerConfig) -> std::io::Result<TlsStream<TcpStream>> {
        Ok(TlsAcceptor::from(Arc::new(config)).accept(stream).await?.into())
    }

    pub(crate) async fn accept(stream: TcpStream) -> Self {
        let key = key();
        let own_leaf = Digest::of(&key.leaf);
        let config = server_config(vec![key.leaf.clone()], &key, &[ALPN]);
        let stream = Self::accept_with(stream, config).await.unwrap();
        Self { stream, own_leaf, side: TlsSide::Server }
    }

    /// A client over a handshake that is over.
    pub(crate) fn from_stream(stream: TlsStream<TcpStream>, key: &Key) -> Self {
        Self { stream, own_leaf: Digest::of(&key.leaf), side: TlsSide::Client }
    }

    /// The binding that this end's own Evidence should have.
    pub(crate) fn binding(&self, purpose: Purpose, role: Role, nonce: Nonce) -> Binding {
        let label = binding::EXPORTER_LABEL;
        let context = Some(nonce.0.as_slice());
        let (exporter, peer) = match &self.stream {
            TlsStream::Client(stream) => {
                let tls = stream.get_ref().1;
                (tls.export_keying_material([0; 64], label, context), tls.peer_certificates())
            }
            TlsStream::Server(stream) => {
                let tls = stream.get_ref().1;
                (tls.export_keying_material([0; 64], label, context), tls.peer_certificates())
            }
        };
        Binding {
            purpose,
            side: self.side,
            role,
            deployment: DEPLOYMENT,
            nonce,
            exporter: exporter.unwrap(),
            own_leaf: self.own_leaf,
            peer_leaf: peer.map(|chain| Digest::of(&chain[0])),
            devices: None,
        }
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    pub(crate) async fn send<T: Serialize>(&mut self, message: &T) {
        self.send_bytes(&frame(message)).await;
    }

    pub(crate) async fn recv<T: DeserializeOwned>(&mut self) -> T {
        let length = self.stream.read_u32().await.unwrap();
        let mut bytes = vec![0; usize::try_from(length).unwrap()];
        self.stream.read_exact(&mut bytes).await.unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    /// Whether the peer has closed the connection and sent nothing more.
    pub(crate) async fn is_at_end(&mut self) -> bool {
        matches!(self.stream.read_u8().await, Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof)
    }
}

pub(crate) fn frame<T: Serialize>(message: &T) -> Vec<u8> {
    let json = serde_json::to_vec(message).unwrap();
    [&u32::try_from(json.len()).unwrap().to_be_bytes(), json.as_slice()].concat()
}

pub(crate) fn hello(attests_as: Option<Role>) -> Hello {
    let purpose = if attests_as.is_some() { Purpose::Mesh } else { Purpose::Verify };
    Hello { version: 1, purpose, deployment: DEPLOYMENT, nonce: Nonce([9; 32]), attests_as }
}

/// A change to a binding.
pub(crate) type Mutation = fn(&mut Binding);

/// Every way to bind Evidence to something else than the channel it is shown on.
pub(crate) const MISBINDINGS: [(&str, Mutation); 9] = [
    ("purpose", |b| b.purpose = Purpose::Recover),
    ("side", |b| {
        b.side = if b.side == TlsSide::Client { TlsSide::Server } else { TlsSide::Client };
    }),
    ("role", |b| b.role = if b.role == Role::Workload { Role::Coordinator } else { Role::Workload }),
    ("deployment", |b| b.deployment = OTHER_DEPLOYMENT),
    ("nonce", |b| b.nonce = Nonce([0; 32])),
    ("exporter", |b| b.exporter[0] ^= 1),
    ("own leaf", |b| b.own_leaf = Digest::of(b"somebody else's leaf")),
    ("peer leaf", |b| b.peer_leaf = None),
    ("devices", |b| b.devices = Some(Digest::of(b"devices"))),
];
