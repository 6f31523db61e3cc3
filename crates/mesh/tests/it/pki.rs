//! A small certificate authority for tests.

use protocol::{Digest, Identity};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// The identity of a workload that a test calls `name`.
pub(crate) fn identity(name: &str) -> Identity {
    Identity(Digest::of(name.as_bytes()))
}

pub(crate) struct Ca(CertifiedIssuer<'static, KeyPair>);

/// A leaf with its key.
pub(crate) struct Leaf {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Leaf {
    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        self.key.clone_key()
    }
}

impl Ca {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    /// A leaf for a workload, with its identity in the certificate.
    pub(crate) fn leaf(&self, name: &str) -> Leaf {
        self.leaf_with(name, &[protocol::api::identity_uri(identity(name))])
    }

    pub(crate) fn leaf_with(&self, name: &str, uris: &[String]) -> Leaf {
        self.leaf_until(name, uris, 4096)
    }

    /// A leaf whose time is over.
    pub(crate) fn expired_leaf(&self, name: &str) -> Leaf {
        let uris = [protocol::api::identity_uri(identity(name))];
        self.leaf_until(name, &uris, 2020)
    }

    fn leaf_until(&self, name: &str, uris: &[String], last_year: i32) -> Leaf {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.subject_alt_names.extend(uris.iter().map(|uri| SanType::URI(uri.as_str().try_into().unwrap())));
        params.not_after = rcgen::date_time_ymd(last_year, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Leaf { chain: vec![certificate.der().clone()], key: PrivateKeyDer::try_from(key.serialize_der()).unwrap() }
    }
}
