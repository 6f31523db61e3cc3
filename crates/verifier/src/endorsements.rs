//! Endorsements: what vendors say about their hardware, gathered by somebody else and believed only after each document's
//! own signature was checked.
//!
//! This module holds documents and says which ones are needed. Fetching and keeping them is the business of the crate
//! `endorsements`; this crate opens no socket and no file.

use std::fmt;
use std::sync::Arc;

use protocol::Digest;
use protocol::digest::Hex;
use protocol::evidence::Tee;
use protocol::reference::{AmdProduct, TcbVersion};
use serde::{Deserialize, Serialize};

use crate::x509;

/// What kind of document something is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndorsementKind {
    /// An X.509 certificate in DER: VCEK, VLEK, ASK, ARK, a signer of collateral.
    Certificate,
    /// An X.509 revocation list in DER.
    Crl,
    /// Intel's TCB info, the JSON with its signature as the service sends it.
    TcbInfo,
    /// Intel's identity of a quoting enclave, likewise.
    QeIdentity,
    /// NVIDIA's reference integrity manifest, XML.
    Rim,
    /// An OCSP response in DER.
    OcspResponse,
}

impl EndorsementKind {
    /// The name in outputs and bundles.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Crl => "crl",
            Self::TcbInfo => "tcb-info",
            Self::QeIdentity => "qe-identity",
            Self::Rim => "rim",
            Self::OcspResponse => "ocsp-response",
        }
    }

    /// LIMIT: the largest document of the kind that is taken. Intel's PCK revocation list for platforms is the largest real
    /// one, and grows; a RIM has about 25 KiB, TCB info about 10 KiB.
    pub const fn max_len(self) -> usize {
        match self {
            Self::Certificate => x509::MAX_CERTIFICATE,
            Self::Crl => 4 * 1024 * 1024,
            Self::TcbInfo | Self::QeIdentity => 256 * 1024,
            Self::Rim => 1024 * 1024,
            Self::OcspResponse => 64 * 1024,
        }
    }

    /// What a document looks like, if it looks like any kind: for files that a user names. PEM is not detected here,
    /// because one text can hold several documents: see [`Endorsements::add_file`].
    pub fn detect(bytes: &[u8]) -> Option<Self> {
        use x509_parser::prelude::{CertificateRevocationList, FromDer as _, X509Certificate};
        let text = bytes.trim_ascii_start();
        if text.starts_with(b"{") {
            // LIMIT: the member that names the kind stands at the beginning of Intel's answers.
            let head = text.get(..256).unwrap_or(text);
            let has = |member: &[u8]| head.windows(member.len()).any(|window| window == member);
            return match () {
                () if has(b"\"tcbInfo\"") => Some(Self::TcbInfo),
                () if has(b"\"enclaveIdentity\"") => Some(Self::QeIdentity),
                () => None,
            };
        }
        if text.starts_with(b"<") || text.starts_with(b"\xef\xbb\xbf<") {
            return Some(Self::Rim);
        }
        if !bytes.starts_with(&[0x30]) {
            return None;
        }
        if X509Certificate::from_der(bytes).is_ok_and(|(rest, _)| rest.is_empty()) {
            return Some(Self::Certificate);
        }
        if CertificateRevocationList::from_der(bytes).is_ok_and(|(rest, _)| rest.is_empty()) {
            return Some(Self::Crl);
        }
        crate::ocsp::looks_like(bytes).then_some(Self::OcspResponse)
    }
}

/// One document, hashed once.
#[derive(Clone, PartialEq, Eq)]
pub struct Document {
    bytes: Arc<[u8]>,
    digest: Digest,
}

impl Document {
    fn new(bytes: &[u8]) -> Self {
        Self { bytes: bytes.into(), digest: Digest::of(bytes) }
    }

    /// The document.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// SHA-256 of it.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The bytes of [`Self::digest`].
    pub(crate) fn digest_bytes(&self) -> &[u8; 32] {
        self.digest.as_bytes()
    }
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Document({}, {} bytes)", self.digest.short(), self.bytes.len())
    }
}

/// Documents of one kind, with one digest over all of them: what is remembered of a search among them is remembered under
/// that, and costs no more where there are many.
#[derive(Clone, Debug)]
pub(crate) struct Documents {
    documents: Vec<Document>,
    digest: Digest,
}

impl Default for Documents {
    fn default() -> Self {
        Self { documents: Vec::new(), digest: Digest::ZERO }
    }
}

impl Documents {
    /// Adds a document.
    pub(crate) fn push(&mut self, document: Document) {
        // Over the documents in their order, each by its own digest.
        self.digest = Digest::of_fields(&[self.digest.as_bytes(), document.digest_bytes()]);
        self.documents.push(document);
    }

    /// The digest over all of them.
    pub(crate) fn digest_bytes(&self) -> &[u8; 32] {
        self.digest.as_bytes()
    }
}

impl std::ops::Deref for Documents {
    type Target = [Document];

    fn deref(&self) -> &[Document] {
        &self.documents
    }
}

/// LIMIT: documents of one kind in one set: certificates and RIMs of a few hundred machines of one site.
pub const MAX_DOCUMENTS: usize = 1_024;

/// Why a document was not taken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EndorsementError {
    /// Larger than any of its kind.
    #[error("{} of {got} bytes, at most {limit} are read", kind.name())]
    TooLong {
        /// Its kind.
        kind: EndorsementKind,
        /// Its size.
        got: usize,
        /// The limit.
        limit: usize,
    },
    /// Too many of one kind.
    #[error("more than {MAX_DOCUMENTS} documents of kind {}", kind.name())]
    TooMany {
        /// The kind.
        kind: EndorsementKind,
    },
    /// Of no kind that is known.
    #[error("it is no certificate, revocation list, TCB info, QE identity, RIM or OCSP response")]
    Unknown,
    /// PEM that cannot be read.
    #[error(transparent)]
    Pem(#[from] x509::CertificateError),
}

/// Documents of vendors. Nothing in here is believed: each is verified where it is used, and one that is forged, foreign
/// or broken is passed over as if it were not there.
#[derive(Clone, Default, Debug)]
pub struct Endorsements {
    certificates: Documents,
    crls: Documents,
    tcb_infos: Documents,
    qe_identities: Documents,
    rims: Documents,
    ocsp_responses: Documents,
}

impl Endorsements {
    /// Adds a document of a known kind. One that is there already is not added again.
    pub fn add(&mut self, kind: EndorsementKind, bytes: &[u8]) -> Result<(), EndorsementError> {
        if bytes.len() > kind.max_len() {
            return Err(EndorsementError::TooLong { kind, got: bytes.len(), limit: kind.max_len() });
        }
        let document = Document::new(bytes);
        self.insert(kind, document)
    }

    /// Adds what a user's file holds: DER, PEM with any number of certificates and revocation lists, Intel's JSON or a RIM.
    /// Returns the kinds that were found.
    pub fn add_file(&mut self, bytes: &[u8]) -> Result<Vec<EndorsementKind>, EndorsementError> {
        if let Some(kind) = EndorsementKind::detect(bytes) {
            self.add(kind, bytes)?;
            return Ok(vec![kind]);
        }
        if !bytes.windows(PEM_BEGIN.len()).any(|window| window == PEM_BEGIN) {
            return Err(EndorsementError::Unknown);
        }
        let mut kinds = Vec::new();
        for (label, kind) in [("CERTIFICATE", EndorsementKind::Certificate), ("X509 CRL", EndorsementKind::Crl)] {
            for der in x509::pem_blocks(bytes, label, MAX_DOCUMENTS)? {
                self.add(kind, &der)?;
                kinds.push(kind);
            }
        }
        if kinds.is_empty() { Err(EndorsementError::Unknown) } else { Ok(kinds) }
    }

    /// Adds all documents of another set.
    pub fn merge(&mut self, other: &Self) -> Result<(), EndorsementError> {
        for (kind, documents) in other.by_kind() {
            for document in documents {
                self.insert(kind, document.clone())?;
            }
        }
        Ok(())
    }

    fn insert(&mut self, kind: EndorsementKind, document: Document) -> Result<(), EndorsementError> {
        let documents = match kind {
            EndorsementKind::Certificate => &mut self.certificates,
            EndorsementKind::Crl => &mut self.crls,
            EndorsementKind::TcbInfo => &mut self.tcb_infos,
            EndorsementKind::QeIdentity => &mut self.qe_identities,
            EndorsementKind::Rim => &mut self.rims,
            EndorsementKind::OcspResponse => &mut self.ocsp_responses,
        };
        if documents.iter().any(|known| known.digest == document.digest) {
            return Ok(());
        }
        if documents.len() >= MAX_DOCUMENTS {
            return Err(EndorsementError::TooMany { kind });
        }
        documents.push(document);
        Ok(())
    }

    /// All documents, by kind.
    pub fn by_kind(&self) -> [(EndorsementKind, &[Document]); 6] {
        [
            (EndorsementKind::Certificate, &self.certificates),
            (EndorsementKind::Crl, &self.crls),
            (EndorsementKind::TcbInfo, &self.tcb_infos),
            (EndorsementKind::QeIdentity, &self.qe_identities),
            (EndorsementKind::Rim, &self.rims),
            (EndorsementKind::OcspResponse, &self.ocsp_responses),
        ]
    }

    /// Certificates, of any vendor.
    pub fn certificates(&self) -> &[Document] {
        &self.certificates
    }

    /// Revocation lists, of any vendor.
    pub fn crls(&self) -> &[Document] {
        &self.crls
    }

    /// TCB infos, for any platform.
    pub fn tcb_infos(&self) -> &[Document] {
        &self.tcb_infos
    }

    /// Identities of quoting enclaves.
    pub fn qe_identities(&self) -> &[Document] {
        &self.qe_identities
    }

    /// Reference integrity manifests.
    pub fn rims(&self) -> &[Document] {
        &self.rims
    }

    /// OCSP responses.
    pub fn ocsp_responses(&self) -> &[Document] {
        &self.ocsp_responses
    }

    /// [`Self::crls`] with their digest.
    pub(crate) fn crl_set(&self) -> &Documents {
        &self.crls
    }

    /// [`Self::rims`] with their digest.
    pub(crate) fn rim_set(&self) -> &Documents {
        &self.rims
    }

    /// [`Self::ocsp_responses`] with their digest.
    pub(crate) fn ocsp_set(&self) -> &Documents {
        &self.ocsp_responses
    }
}

const PEM_BEGIN: &[u8] = b"-----BEGIN ";

/// Which of Intel's authorities issued a PCK certificate.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PckAuthority {
    /// Intel SGX PCK Processor CA: single-socket client and Xeon E.
    Processor,
    /// Intel SGX PCK Platform CA: servers.
    Platform,
}

impl PckAuthority {
    /// As Intel's service writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Processor => "processor",
            Self::Platform => "platform",
        }
    }
}

/// Which key of AMD's a document is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AmdKey {
    /// Versioned chip endorsement key: one for each chip and TCB.
    Vcek,
    /// Versioned loaded endorsement key: one for each cloud and TCB.
    Vlek,
}

impl AmdKey {
    /// As AMD's key server writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vcek => "vcek",
            Self::Vlek => "vlek",
        }
    }
}

/// An Endorsement that some Evidence cannot be judged without. It says which, not where: that is for whoever fetches it.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
#[non_exhaustive]
pub enum Need {
    /// The certificate of a chip's key, at a TCB.
    Vcek {
        /// The line of processors.
        product: AmdProduct,
        /// The chip.
        chip_id: Hex<64>,
        /// The reported TCB.
        tcb: TcbVersion,
    },
    /// The certificate of a cloud's key. AMD gives it to the cloud alone; it comes with the Evidence or not at all.
    Vlek {
        /// The line of processors.
        product: AmdProduct,
        /// The reported TCB.
        tcb: TcbVersion,
    },
    /// The certificates between a key and AMD's root.
    AmdChain {
        /// The line of processors.
        product: AmdProduct,
        /// For which key.
        key: AmdKey,
    },
    /// The revocation list of AMD's root.
    AmdCrl {
        /// The line of processors.
        product: AmdProduct,
        /// For which key.
        key: AmdKey,
    },
    /// The revocation list of one of Intel's PCK authorities.
    PckCrl {
        /// Which.
        authority: PckAuthority,
    },
    /// The revocation list of Intel's root.
    IntelRootCrl,
    /// Intel's TCB info of a family of platforms.
    TcbInfo {
        /// For TDX or for SGX.
        tee: Tee,
        /// The family.
        fmspc: Hex<6>,
    },
    /// Intel's identity of its quoting enclave.
    QeIdentity {
        /// For TDX or for SGX.
        tee: Tee,
    },
    /// NVIDIA's reference integrity manifest of a firmware or driver.
    Rim {
        /// Its id.
        id: String,
    },
    /// The standing of a certificate of NVIDIA's.
    Ocsp {
        /// The certificate, DER.
        #[serde(with = "hex::serde")]
        certificate: Vec<u8>,
        /// Its issuer's certificate, DER.
        #[serde(with = "hex::serde")]
        issuer: Vec<u8>,
    },
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vcek { product, chip_id, .. } => {
                let chip = hex::encode(chip_id.0.get(..6).unwrap_or_default());
                write!(f, "the VCEK certificate of {product} chip {chip}")
            }
            Self::Vlek { product, .. } => write!(f, "the VLEK certificate of a {product} machine"),
            Self::AmdChain { product, key } => write!(f, "AMD's certificates for {} of {product}", key.name()),
            Self::AmdCrl { product, key } => write!(f, "AMD's revocation list for {} of {product}", key.name()),
            Self::PckCrl { authority } => write!(f, "Intel's revocation list of the PCK {} CA", authority.name()),
            Self::IntelRootCrl => f.write_str("the revocation list of Intel's root"),
            Self::TcbInfo { tee, fmspc } => write!(f, "Intel's TCB info for {} of platform family {fmspc}", tee.name()),
            Self::QeIdentity { tee } => write!(f, "Intel's identity of the quoting enclave for {}", tee.name()),
            Self::Rim { id } => write!(f, "NVIDIA's manifest `{id}`"),
            Self::Ocsp { certificate, .. } => {
                write!(f, "NVIDIA's word on certificate {}", Digest::of(certificate).short())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_kept_once_and_within_its_size() {
        let mut endorsements = Endorsements::default();
        endorsements.add(EndorsementKind::Rim, b"<a/>").unwrap();
        endorsements.add(EndorsementKind::Rim, b"<a/>").unwrap();
        assert_eq!(endorsements.rims().len(), 1);
        let long = vec![0; x509::MAX_CERTIFICATE + 1];
        assert_eq!(
            endorsements.add(EndorsementKind::Certificate, &long),
            Err(EndorsementError::TooLong {
                kind: EndorsementKind::Certificate,
                got: x509::MAX_CERTIFICATE + 1,
                limit: x509::MAX_CERTIFICATE
            })
        );
        let mut other = Endorsements::default();
        other.merge(&endorsements).unwrap();
        assert_eq!(other.rims(), endorsements.rims());
    }

    #[test]
    fn the_number_of_documents_is_bounded() {
        let mut endorsements = Endorsements::default();
        for number in 0..MAX_DOCUMENTS {
            endorsements.add(EndorsementKind::Rim, &number.to_be_bytes()).unwrap();
        }
        let error = endorsements.add(EndorsementKind::Rim, b"one more").unwrap_err();
        assert_eq!(error, EndorsementError::TooMany { kind: EndorsementKind::Rim });
    }

    #[test]
    fn files_are_told_apart() {
        let anchor = crate::anchors::TrustAnchors::vendor().known().first().unwrap().bytes().to_vec();
        for (bytes, kind) in [
            (anchor.as_slice(), Some(EndorsementKind::Certificate)),
            (br#"{"tcbInfo":{}}"#.as_slice(), Some(EndorsementKind::TcbInfo)),
            (br#" {"enclaveIdentity":{}}"#.as_slice(), Some(EndorsementKind::QeIdentity)),
            (b"<?xml version=\"1.0\"?>".as_slice(), Some(EndorsementKind::Rim)),
            (b"{}".as_slice(), None),
            (b"".as_slice(), None),
            (b"0".as_slice(), None),
        ] {
            assert_eq!(EndorsementKind::detect(bytes), kind);
        }
        assert_eq!(Endorsements::default().add_file(b"hello"), Err(EndorsementError::Unknown));
    }
}
