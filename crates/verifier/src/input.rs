//! Tells what a file is that a user hands over: which kind of Evidence, Endorsement or log, and in which dress: raw, hex,
//! base64, PEM or JSON. It decides nothing about trust.

use base64::Engine as _;
use protocol::software::SoftwareReport;
use protocol::{DeviceEvidence, Evidence, Tee};

use crate::endorsements::{EndorsementKind, MAX_DOCUMENTS};
use crate::{value, x509};

/// LIMIT: the largest thing that is read is a CCEL area, which firmware makes 1 MiB large or less, in hex with line ends;
/// NVIDIA's lists of evidence for twelve devices have 150 KiB.
pub const MAX_INPUT: usize = 4 * 1024 * 1024;

/// What a file holds.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Input {
    /// Evidence of a TEE, perhaps with devices.
    Evidence(Evidence),
    /// Evidence of devices alone.
    Devices(Vec<DeviceEvidence>),
    /// A TDX guest's event log.
    EventLog(Vec<u8>),
    /// A document of a vendor's.
    Endorsement(EndorsementKind, Vec<u8>),
    /// Certificates, leaf first, in DER.
    Certificates(Vec<Vec<u8>>),
}

impl Input {
    /// What it is, for people.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Evidence(evidence) => match evidence.tee {
                Tee::Snp => "SEV-SNP report",
                Tee::Tdx => "TDX quote",
                Tee::Sgx => "SGX quote",
                Tee::Software => "software report",
                _ => "Evidence",
            },
            Self::Devices(_) => "device evidence",
            Self::EventLog(_) => "CCEL event log",
            Self::Endorsement(EndorsementKind::Certificate, _) => "certificate",
            Self::Endorsement(EndorsementKind::Crl, _) => "revocation list",
            Self::Endorsement(EndorsementKind::TcbInfo, _) => "TCB info",
            Self::Endorsement(EndorsementKind::QeIdentity, _) => "QE identity",
            Self::Endorsement(EndorsementKind::Rim, _) => "reference integrity manifest",
            Self::Endorsement(EndorsementKind::OcspResponse, _) => "OCSP response",
            Self::Certificates(_) => "certificates",
        }
    }
}

/// Why a file could not be taken for anything.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// Empty.
    #[error("the file is empty")]
    Empty,
    /// Too large for anything that is read here.
    #[error("{got} bytes, at most {MAX_INPUT} are read")]
    TooLong {
        /// Its size.
        got: usize,
    },
    /// No known kind.
    #[error("no kind of Evidence, Endorsement or event log that is known here: it begins with {begins}")]
    Unknown {
        /// Its first bytes in hex.
        begins: String,
    },
    /// JSON that looks like Evidence and is not.
    #[error("JSON that is no Evidence: {reason}")]
    Json {
        /// The parser's words.
        reason: String,
    },
    /// NVIDIA's evidence that cannot be read.
    #[error("device evidence that cannot be read: {reason}")]
    Devices {
        /// Why.
        reason: String,
    },
    /// Certificates that cannot be read.
    #[error(transparent)]
    Pem(#[from] x509::CertificateError),
}

impl InputError {
    /// What the user may do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Unknown { .. } | Self::Empty => {
                "known are SNP reports, TDX and SGX quotes, NVIDIA's reports, CCEL logs, certificates, revocation lists, \
                 TCB info, QE identities and RIMs: raw, in hex, base64, PEM or JSON"
                    .to_owned()
            }
            _ => return None,
        })
    }
}

/// LIMIT: how deep one dress may be worn over another: hex in base64 in nothing.
const DRESSES: usize = 3;

/// Tells what bytes are.
pub fn read(bytes: &[u8]) -> Result<Input, InputError> {
    if bytes.trim_ascii().is_empty() {
        return Err(InputError::Empty);
    }
    if bytes.len() > MAX_INPUT {
        return Err(InputError::TooLong { got: bytes.len() });
    }
    undress(bytes, DRESSES)
}

fn undress(bytes: &[u8], dresses: usize) -> Result<Input, InputError> {
    if let Some(input) = raw(bytes) {
        return Ok(input);
    }
    let text = bytes.trim_ascii();
    if text.starts_with(b"{") || text.starts_with(b"[") {
        return json(text);
    }
    if text.starts_with(b"-----BEGIN ") || contains(text, b"\n-----BEGIN ") {
        return pem(text);
    }
    if let (Some(inner), Some(left)) = (decoded(text), dresses.checked_sub(1)) {
        return undress(&inner, left);
    }
    let begins = hex::encode(bytes.get(..8).unwrap_or(bytes));
    Err(InputError::Unknown { begins })
}

/// What raw bytes are, by their first bytes and their length.
fn raw(bytes: &[u8]) -> Option<Input> {
    if let Some(tee) = crate::dcap::detect(bytes) {
        return Some(Input::Evidence(Evidence::new(tee, bytes.to_vec())));
    }
    if crate::nvidia::looks_like(bytes) {
        return Some(Input::Devices(vec![crate::nvidia::device(bytes.to_vec(), Vec::new())]));
    }
    if crate::snp::looks_like(bytes) {
        return Some(Input::Evidence(Evidence::new(Tee::Snp, bytes.to_vec())));
    }
    if SoftwareReport::parse(bytes).is_ok() {
        return Some(Input::Evidence(Evidence::new(Tee::Software, bytes.to_vec())));
    }
    if crate::ccel::looks_like(bytes) {
        return Some(Input::EventLog(bytes.to_vec()));
    }
    EndorsementKind::detect(bytes).map(|kind| Input::Endorsement(kind, bytes.to_vec()))
}

/// Our own Evidence, or NVIDIA's list of evidence.
fn json(text: &[u8]) -> Result<Input, InputError> {
    if text.starts_with(b"[") || contains(text.get(..4096).unwrap_or(text), b"\"evidence_list\"") {
        return crate::nvidia::read_json(text)
            .map(Input::Devices)
            .map_err(|reason| InputError::Devices { reason: reason.to_string() });
    }
    let evidence: Evidence =
        serde_json::from_slice(text).map_err(|error| InputError::Json { reason: value::reason(&error) })?;
    Ok(Input::Evidence(evidence))
}

fn pem(text: &[u8]) -> Result<Input, InputError> {
    if contains(text, b"-----BEGIN X509 CRL-----") {
        let mut lists = x509::pem_blocks(text, "X509 CRL", 1)?;
        if let Some(list) = lists.pop() {
            return Ok(Input::Endorsement(EndorsementKind::Crl, list));
        }
    }
    let certificates = x509::pem_blocks(text, "CERTIFICATE", MAX_DOCUMENTS)?;
    if certificates.is_empty() {
        return Err(x509::CertificateError::Pem { reason: "there is no certificate in it" }.into());
    }
    Ok(Input::Certificates(certificates))
}

/// Hex or base64, with white space anywhere.
fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    let compact: Vec<u8> = text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let compact = compact.strip_prefix(b"0x").unwrap_or(&compact);
    if compact.len() < 16 {
        return None;
    }
    hex::decode(compact)
        .ok()
        .or_else(|| base64::engine::general_purpose::STANDARD.decode(compact).ok())
        .or_else(|| base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(compact).ok())
}

fn contains(text: &[u8], needle: &[u8]) -> bool {
    text.windows(needle.len()).any(|window| window == needle)
}
