//! One [`Material`] made ready for use, and the decision who may call.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use protocol::Identity;
use rustls::client::Resumption;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::CertificateDer;

use super::{Material, ProxyError};
use crate::lease::BootInstant;

/// What precedes the identity in a certificate; see [`protocol::api::identity_uri`].
const IDENTITY_SCHEME: &str = "casemate:identity:";

/// What connections are accepted and made under.
pub(super) struct Terms {
    mutual: Arc<ServerConfig>,
    server_only: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    callers: BTreeMap<Identity, String>,
    valid_until: BootInstant,
}

impl Terms {
    pub(super) fn new(material: &Material) -> Result<Self, ProxyError> {
        let bad = |error: &dyn fmt::Display| ProxyError::Material { reason: error.to_string() };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        for root in &material.roots {
            roots.add(root.clone()).map_err(|error| bad(&error))?;
        }
        let roots = Arc::new(roots);
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
            .build()
            .map_err(|error| bad(&error))?;
        let builder = || {
            ServerConfig::builder_with_provider(Arc::clone(&provider))
                .with_protocol_versions(&[&rustls::version::TLS13])
                .map_err(|error| bad(&error))
        };
        let finish = |mut config: ServerConfig| {
            // A resumed session carries the caller of an earlier one past the roots and callers of today.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
            Arc::new(config)
        };
        let chain = || material.chain.clone();
        let key = || material.key.clone_key();
        let mutual = builder()?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain(), key())
            .map_err(|error| bad(&error))?;
        let server_only =
            builder()?.with_no_client_auth().with_single_cert(chain(), key()).map_err(|error| bad(&error))?;
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| bad(&error))?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain(), key())
            .map_err(|error| bad(&error))?;
        // A resumed session would carry the remote of an earlier one past the roots of today.
        client.resumption = Resumption::disabled();
        Ok(Self {
            mutual: finish(mutual),
            server_only: finish(server_only),
            client: Arc::new(client),
            callers: material.callers.clone(),
            valid_until: material.valid_until,
        })
    }

    /// The TLS configuration of a listener.
    pub(super) fn tls(&self, mutual: bool) -> &Arc<ServerConfig> {
        if mutual { &self.mutual } else { &self.server_only }
    }

    /// The TLS configuration of connections to others.
    pub(super) fn client(&self) -> &Arc<ClientConfig> {
        &self.client
    }

    /// Whether the lease has ended, whether or not a timer has noticed.
    pub(super) fn has_ended(&self) -> bool {
        self.valid_until.has_passed()
    }

    /// Whether a caller may call.
    pub(super) fn allows(&self, caller: &Caller) -> bool {
        self.callers.contains_key(&caller.identity)
    }
}

/// The workload that a verified certificate stands for. Its name is for logs, its identity decides.
pub(super) struct Caller {
    identity: Identity,
    name: String,
}

/// A verified certificate that is no workload's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum CallerError {
    #[error("certificate cannot be read")]
    Unreadable,
    #[error("certificate names {got} identities, expected 1")]
    Identities { got: usize },
    #[error("identity in the certificate is no digest")]
    Malformed,
}

impl Caller {
    /// Reads the identity from a certificate whose chain has been verified.
    pub(super) fn of_certificate(certificate: &CertificateDer<'_>) -> Result<Self, CallerError> {
        let leaf = webpki::EndEntityCert::try_from(certificate).map_err(|_| CallerError::Unreadable)?;
        let identities: Vec<_> = leaf.valid_uri_names().filter_map(|uri| uri.strip_prefix(IDENTITY_SCHEME)).collect();
        let [identity] = identities.as_slice() else {
            return Err(CallerError::Identities { got: identities.len() });
        };
        let identity = identity.parse().map_err(|_| CallerError::Malformed)?;
        let name = leaf.valid_dns_names().next().unwrap_or("unnamed").to_owned();
        Ok(Self { identity, name })
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.identity.0.short())
    }
}

#[cfg(test)]
mod tests {
    use protocol::Digest;
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    fn certificate(uris: &[String]) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec!["frontend".to_owned()]).unwrap();
        params.subject_alt_names.extend(uris.iter().map(|uri| SanType::URI(uri.as_str().try_into().unwrap())));
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    #[test]
    fn a_caller_is_its_identity() {
        let identity = Identity(Digest::of(b"frontend"));
        let uris = ["spiffe://x/frontend".to_owned(), protocol::api::identity_uri(identity)];
        let caller = Caller::of_certificate(&certificate(&uris)).ok().unwrap();
        assert_eq!(caller.identity, identity);
        assert_eq!(caller.to_string(), format!("frontend ({})", identity.0.short()));
    }

    #[test]
    fn certificates_without_exactly_one_identity_name_nobody() {
        let identity = |text: &[u8]| protocol::api::identity_uri(Identity(Digest::of(text)));
        let cases = [
            (vec![], CallerError::Identities { got: 0 }),
            (vec!["spiffe://x/frontend".to_owned()], CallerError::Identities { got: 0 }),
            (vec![identity(b"a"), identity(b"b")], CallerError::Identities { got: 2 }),
            (vec!["casemate:identity:abcd".to_owned()], CallerError::Malformed),
            (vec!["casemate:identity:".to_owned()], CallerError::Malformed),
        ];
        for (uris, error) in cases {
            assert_eq!(Caller::of_certificate(&certificate(&uris)).err(), Some(error), "{uris:?}");
        }
        let garbage = CertificateDer::from(vec![0x30, 0x03, 1, 2, 3]);
        assert_eq!(Caller::of_certificate(&garbage).err(), Some(CallerError::Unreadable));
    }
}
