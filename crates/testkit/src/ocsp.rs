//! OCSP responses (RFC 6960), also of shapes that no responder would make.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA384, digest};

use crate::der::{self, Extension, Key, NOT_AFTER, NOT_BEFORE, Name};

/// Which hash names the issuer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IssuerHash {
    /// What NVIDIA's responder takes.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
}

/// What is said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TestStatus {
    /// Good.
    Good,
    /// Revoked at a time, for a reason if one is given.
    Revoked {
        /// When.
        at: u64,
        /// CRLReason.
        reason: Option<u8>,
    },
    /// Not known.
    Unknown,
}

/// How the responder is named.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TestResponder {
    /// By name.
    Name(Name),
    /// By SHA-1 of a public key.
    Key(Vec<u8>),
}

/// One answer to be written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TestAnswer {
    /// The issuer's name.
    pub issuer: Name,
    /// The issuer's public key.
    pub issuer_key: Vec<u8>,
    /// How the issuer is named.
    pub hash: IssuerHash,
    /// Serial number, big-endian.
    pub serial: Vec<u8>,
    /// What is said.
    pub status: TestStatus,
    /// From when.
    pub this_update: u64,
    /// Until when.
    pub next_update: Option<u64>,
    /// singleExtensions.
    pub extensions: Vec<Extension>,
}

impl TestAnswer {
    /// "Good", by SHA-1, for all the time of the rig.
    pub fn good(issuer: Name, issuer_key: &Key, serial: u64) -> Self {
        Self {
            issuer,
            issuer_key: issuer_key.public_key().to_vec(),
            hash: IssuerHash::Sha1,
            serial: serial.to_be_bytes().to_vec(),
            status: TestStatus::Good,
            this_update: NOT_BEFORE,
            next_update: Some(NOT_AFTER),
            extensions: vec![],
        }
    }

    fn der(&self) -> Vec<u8> {
        let (algorithm, oid) = match self.hash {
            IssuerHash::Sha1 => (&SHA1_FOR_LEGACY_USE_ONLY, "1.3.14.3.2.26"),
            IssuerHash::Sha256 => (&SHA256, "2.16.840.1.101.3.4.2.1"),
            IssuerHash::Sha384 => (&SHA384, "2.16.840.1.101.3.4.2.2"),
        };
        let hash = |bytes: &[u8]| der::octet_string(digest(algorithm, bytes).as_ref());
        let id = der::sequence(&[
            der::sequence(&[der::oid(oid), der::null()]),
            hash(&self.issuer.der()),
            hash(&self.issuer_key),
            der::integer_bytes(&self.serial),
        ]);
        let status = match self.status {
            TestStatus::Good => der::implicit(0, &[]),
            TestStatus::Unknown => der::implicit(2, &[]),
            TestStatus::Revoked { at, reason } => {
                let mut fields = der::generalized_time(at);
                fields.extend(reason.iter().flat_map(|reason| der::explicit(0, &der::tlv(0x0a, &[*reason]))));
                der::explicit(1, &fields)
            }
        };
        let mut fields = vec![id, status, der::generalized_time(self.this_update)];
        fields.extend(self.next_update.map(|time| der::explicit(0, &der::generalized_time(time))));
        fields.extend(extensions(1, &self.extensions));
        der::sequence(&fields)
    }
}

/// A response to be written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TestOcsp {
    /// Who answers.
    pub responder: TestResponder,
    /// What.
    pub answers: Vec<TestAnswer>,
    /// Certificates that come along.
    pub certificates: Vec<Vec<u8>>,
    /// responseExtensions.
    pub extensions: Vec<Extension>,
}

impl TestOcsp {
    /// A response by the issuer of the certificate itself.
    pub fn by_issuer(answer: TestAnswer) -> Self {
        let responder = TestResponder::Name(answer.issuer.clone());
        Self { responder, answers: vec![answer], certificates: vec![], extensions: vec![] }
    }

    /// A response by somebody else, with a certificate.
    pub fn by_delegate(answer: TestAnswer, key: &Key, certificate: Vec<u8>) -> Self {
        let responder = TestResponder::Key(key.public_key().to_vec());
        Self { responder, answers: vec![answer], certificates: vec![certificate], extensions: vec![] }
    }

    /// The response, signed.
    pub fn sign(&self, key: &Key) -> Vec<u8> {
        let responder = match &self.responder {
            TestResponder::Name(name) => der::explicit(1, &name.der()),
            TestResponder::Key(key) => {
                let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, key);
                der::explicit(2, &der::octet_string(hash.as_ref()))
            }
        };
        let answers: Vec<_> = self.answers.iter().map(TestAnswer::der).collect();
        let mut fields = vec![responder, der::generalized_time(NOT_BEFORE), der::sequence(&answers)];
        fields.extend(extensions(1, &self.extensions));
        let tbs = der::sequence(&fields);
        let mut basic = vec![tbs.clone(), key.algorithm(), der::bit_string(&key.sign(&tbs))];
        if !self.certificates.is_empty() {
            basic.push(der::explicit(0, &der::sequence(&self.certificates)));
        }
        response(0, Some(&der::sequence(&basic)))
    }
}

/// An OCSPResponse around a basic response, or with an error alone.
pub fn response(status: u8, basic: Option<&[u8]>) -> Vec<u8> {
    let mut fields = vec![der::tlv(0x0a, &[status])];
    fields.extend(basic.map(|basic| {
        let bytes = der::sequence(&[der::oid("1.3.6.1.5.5.7.48.1.1"), der::octet_string(basic)]);
        der::explicit(0, &bytes)
    }));
    der::sequence(&fields)
}

fn extensions(tag: u8, extensions: &[Extension]) -> Option<Vec<u8>> {
    if extensions.is_empty() {
        return None;
    }
    let items: Vec<_> = extensions
        .iter()
        .map(|extension| {
            let mut fields = vec![der::oid(&extension.oid)];
            if extension.critical {
                fields.push(der::boolean(true));
            }
            fields.push(der::octet_string(&extension.value));
            der::sequence(&fields)
        })
        .collect();
    Some(der::explicit(tag, &der::sequence(&items)))
}
