//! The TLS stack of Casemate, reached in this one place, and the keys of channel ends.

use std::fmt;
use std::sync::{Arc, LazyLock};

use protocol::Digest;
use protocol::wire::ALPN;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, cipher_suite, kx_group};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use crate::danger::AnyLeaf;
use crate::{ChannelError, Step};

/// The one crypto provider: aws-lc-rs, TLS 1.3 suites, X25519MLKEM768 first.
///
/// The lists are spelt out, because the library's defaults depend on cargo features that any crate of a build can turn on.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
        Arc::new(CryptoProvider {
            cipher_suites: vec![
                cipher_suite::TLS13_AES_256_GCM_SHA384,
                cipher_suite::TLS13_AES_128_GCM_SHA256,
                cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
            ],
            kx_groups: vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1],
            ..aws_lc_rs::default_provider()
        })
    });
    Arc::clone(&PROVIDER)
}

/// The TLS key and self-signed leaf of one channel end, made in this process and never leaving it. The leaf proves
/// nothing until Evidence is bound to it. Cheap to clone; one identity may serve any number of channels.
#[derive(Clone)]
pub struct TlsIdentity {
    leaf: Digest,
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TlsIdentity(leaf {})", self.leaf.short())
    }
}

impl TlsIdentity {
    /// A fresh P-256 key with a self-signed leaf.
    pub fn generate() -> Result<Self, ChannelError> {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(internal)?;
        let mut params = rcgen::CertificateParams::default();
        // Nobody reads the name; without one some tools print the leaf as broken.
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, "casemate channel");
        let leaf = params.self_signed(&key).map_err(internal)?.der().clone();
        Self::new(leaf, PrivatePkcs8KeyDer::from(key.serialize_der()))
    }

    fn new(leaf: CertificateDer<'static>, key: PrivatePkcs8KeyDer<'static>) -> Result<Self, ChannelError> {
        let digest = Digest::of(&leaf);
        let key = provider().key_provider.load_private_key(key.into()).map_err(internal)?;
        let resolver = Arc::new(SingleCertAndKey::from(CertifiedKey::new(vec![leaf], key)));
        let any_leaf = Arc::new(AnyLeaf::new(provider()));

        let mut client = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(internal)?
            .dangerous()
            .with_custom_certificate_verifier(any_leaf.clone())
            .with_client_cert_resolver(resolver.clone());
        client.alpn_protocols = vec![ALPN.to_vec()];
        client.resumption = Resumption::disabled();
        client.enable_early_data = false;
        client.enable_sni = false;
        client.cert_decompressors = Vec::new();
        client.cert_compressors = Vec::new();

        let mut server = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(internal)?
            .with_client_cert_verifier(any_leaf)
            .with_cert_resolver(resolver);
        server.alpn_protocols = vec![ALPN.to_vec()];
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        server.max_early_data_size = 0;
        server.cert_decompressors = Vec::new();
        server.cert_compressors = Vec::new();

        Ok(Self { leaf: digest, client: Arc::new(client), server: Arc::new(server) })
    }

    /// SHA-256 of the leaf certificate.
    pub fn leaf(&self) -> Digest {
        self.leaf
    }

    /// The handshake as client, ALPN included.
    pub(crate) async fn connect<S>(&self, stream: S) -> Result<TlsStream<S>, ChannelError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        // No name is sent and none is compared: the name below only fills a parameter.
        let name = ServerName::try_from("casemate.invalid").map_err(internal)?;
        let stream = TlsConnector::from(Arc::clone(&self.client)).connect(name, stream).await;
        agreed(stream.map_err(|error| ChannelError::io(Step::Handshake, &error))?.into())
    }

    /// The handshake as server, ALPN included.
    pub(crate) async fn accept<S>(&self, stream: S) -> Result<TlsStream<S>, ChannelError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let stream = TlsAcceptor::from(Arc::clone(&self.server)).accept(stream).await;
        agreed(stream.map_err(|error| ChannelError::io(Step::Handshake, &error))?.into())
    }
}

/// A peer that offers no ALPN at all gets through the handshake; it does not get further.
fn agreed<S>(stream: TlsStream<S>) -> Result<TlsStream<S>, ChannelError> {
    if stream.get_ref().1.alpn_protocol() == Some(ALPN) { Ok(stream) } else { Err(ChannelError::NoProtocol) }
}

/// SHA-256 of the leaf that the peer showed in the handshake.
pub(crate) fn peer_leaf<S>(stream: &TlsStream<S>) -> Result<Digest, ChannelError> {
    match stream.get_ref().1.peer_certificates() {
        Some([leaf]) => Ok(Digest::of(leaf)),
        // The verifiers in `danger` let exactly one leaf through.
        _ => Err(internal("the handshake ended without a peer certificate")),
    }
}

/// 64 bytes of keying material for one nonce.
pub(crate) fn exporter<S>(stream: &TlsStream<S>, nonce: &[u8; 32]) -> Result<[u8; 64], ChannelError> {
    let label = protocol::binding::EXPORTER_LABEL;
    let exported = match stream {
        TlsStream::Client(stream) => stream.get_ref().1.export_keying_material([0; 64], label, Some(nonce)),
        TlsStream::Server(stream) => stream.get_ref().1.export_keying_material([0; 64], label, Some(nonce)),
    };
    exported.map_err(internal)
}

/// 32 fresh random bytes.
pub(crate) fn nonce() -> Result<[u8; 32], ChannelError> {
    let mut bytes = [0; 32];
    provider().secure_random.fill(&mut bytes).map_err(|_| internal("the system gave no randomness"))?;
    Ok(bytes)
}

pub(crate) fn internal(reason: impl fmt::Display) -> ChannelError {
    ChannelError::Internal { reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_identity_has_a_leaf_of_its_own() {
        let [one, other] = [(); 2].map(|()| TlsIdentity::generate().unwrap());
        assert_ne!(one.leaf(), other.leaf());
        assert_eq!(format!("{one:?}"), format!("TlsIdentity(leaf {})", one.leaf().short()));
    }

    #[test]
    fn nothing_below_tls_1_3_is_offered() {
        let suites = &provider().cipher_suites;
        assert!(suites.iter().all(|suite| suite.version().version == rustls::ProtocolVersion::TLSv1_3));
        assert_eq!(provider().kx_groups[0].name(), rustls::NamedGroup::X25519MLKEM768);
    }
}
