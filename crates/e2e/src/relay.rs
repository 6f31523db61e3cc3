//! A machine in the middle: records the Coordinator's Evidence on one channel and presents it on another.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use protocol::wire::{ALPN, Hello, ServerEvidence, ServerOpening};
use protocol::{DeploymentId, Evidence, Nonce, Purpose, Role};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Whoever records does not care whom it talks to.
#[derive(Debug)]
struct AnyServer;

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        channel::provider().signature_verification_algorithms.supported_schemes()
    }
}

/// Asks the genuine Coordinator for Evidence, as anybody may, with the nonce of the client to be deceived.
pub(crate) async fn record(
    coordinator: SocketAddr,
    deployment: DeploymentId,
    nonce: Nonce,
) -> anyhow::Result<Evidence> {
    let certificate = SelfSigned::generate()?;
    let mut config = ClientConfig::builder_with_provider(channel::provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer))
        .with_client_auth_cert(vec![certificate.leaf], certificate.key)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    let tcp = TcpStream::connect(coordinator).await.with_context(|| format!("connect to {coordinator}"))?;
    let name = ServerName::try_from("coordinator")?;
    let mut tls = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, tcp).await.context("TLS")?;
    let hello = Hello { version: 1, purpose: Purpose::Verify, deployment, nonce, attests_as: None };
    write_frame(&mut tls, &hello).await?;
    match read_frame(&mut tls).await? {
        ServerOpening::Evidence(opening) => Ok(opening.evidence),
        ServerOpening::Refused(error) => bail!("the Coordinator refuses: {error}"),
    }
}

/// Poses as the Coordinator on loopback for one client: takes the client's nonce, has the genuine Coordinator make
/// Evidence for it on a channel of its own, and presents that. Returns the address to send the client to.
pub(crate) async fn pose(coordinator: SocketAddr, deployment: DeploymentId) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("listen on loopback")?;
    let address = listener.local_addr()?;
    let certificate = SelfSigned::generate()?;
    let mut config = ServerConfig::builder_with_provider(channel::provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.leaf], certificate.key)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        let relay = async {
            let (tcp, _) = listener.accept().await?;
            let mut tls = acceptor.accept(tcp).await?;
            let hello: Hello = read_frame(&mut tls).await?;
            let evidence = record(coordinator, deployment, hello.nonce).await?;
            let opening = ServerEvidence { role: Role::Coordinator, evidence, nonce: None };
            write_frame(&mut tls, &ServerOpening::Evidence(opening)).await?;
            // The client breaks off; that is the point. It is given the time to say so.
            let _ = tls.read_u8().await;
            anyhow::Ok(())
        };
        let _ = relay.await;
    });
    Ok(address)
}

async fn write_frame<S: AsyncWrite + Unpin>(stream: &mut S, message: &impl serde::Serialize) -> anyhow::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    stream.write_u32(u32::try_from(bytes.len())?).await?;
    stream.write_all(&bytes).await?;
    stream.flush().await?;
    Ok(())
}

async fn read_frame<S: AsyncRead + Unpin, T: serde::de::DeserializeOwned>(stream: &mut S) -> anyhow::Result<T> {
    let length = usize::try_from(stream.read_u32().await.context("read a frame")?)?;
    if length > protocol::wire::MAX_HANDSHAKE_FRAME {
        bail!("a frame of {length} bytes");
    }
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await?;
    Ok(serde_json::from_slice(&bytes)?)
}

struct SelfSigned {
    leaf: CertificateDer<'static>,
    key: rustls::pki_types::PrivateKeyDer<'static>,
}

impl SelfSigned {
    fn generate() -> anyhow::Result<Self> {
        let key = rcgen::KeyPair::generate()?;
        let leaf = rcgen::CertificateParams::default().self_signed(&key)?.der().clone();
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        Ok(Self { leaf, key })
    }
}
