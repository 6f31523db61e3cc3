//! The quote: what a quoting enclave of Intel's signs, and what it signs with.
//!
//! Layouts: version 3 in "Intel SGX ECDSA QuoteLibReference DCAP API", appendix A.4; versions 4 and 5 in "Intel TDX DCAP
//! Quoting Library API", appendix A.3. All numbers are little endian.
//!
//! ```text
//! header 48 | (v5: body type 2, body length 4) | body | length 4 | signature data
//! signature data v3:    signature 64, attestation key 64, QE part
//! signature data v4/v5: signature 64, attestation key 64, certification type 2 (= 6), length 4, QE part
//! QE part:              QE report 384, its signature 64, length 2, QE authentication data, type 2 (= 5), length 4, PEM chain
//! ```
//!
//! Every length must use up its bytes exactly. Two things follow that real quotes have and that mean nothing: a NUL after
//! the PEM chain (Intel's library stores a C string; so do both TDX quotes of the corpus), and zeros after a TDX quote
//! (the size that Intel's library announces is an upper bound, and some hosts hand out the whole buffer).

use protocol::Tee;
use serde::Serialize;

use super::read::Reader;
use super::report::{ENCLAVE_REPORT, EnclaveReport, TdReport, TdVersion};

/// Length of a quote's header.
pub const HEADER: usize = 48;

/// TEE type of SGX in the header.
const TEE_SGX: u32 = 0;
/// TEE type of TDX in the header.
const TEE_TDX: u32 = 0x81;

/// Attestation key type: ECDSA-256 with curve P-256. The only other that Intel has defined is ECDSA P-384, which no quoting
/// enclave uses.
const KEY_ECDSA_P256: u16 = 2;

/// Intel's quoting enclaves: 939a7233-f79c-4ca9-940a-0db3957f0607.
pub const INTEL_QE_VENDOR: [u8; 16] =
    [0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9, 0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07];

/// Certification data type: the PCK certificate and its chain, in PEM.
const CERTIFICATION_PCK_CHAIN: u16 = 5;
/// Certification data type: the QE report and, nested in it, its own certification data.
const CERTIFICATION_QE_REPORT: u16 = 6;

/// LIMIT: Intel's quoting enclaves write 32 bytes of authentication data.
const MAX_AUTH_DATA: usize = 256;
/// LIMIT: three certificates of about 1.8 KiB in PEM make 3.7 KiB; a PCK certificate with longer names stays far below this.
const MAX_CHAIN: usize = 16 * 1024;

/// Why bytes are no quote that this release reads.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QuoteError {
    /// The bytes end within a field.
    #[error("quote ends within {what}: {need} bytes needed, {have} left")]
    Truncated {
        /// The field.
        what: &'static str,
        /// Its length.
        need: usize,
        /// What there is.
        have: usize,
    },
    /// A length leaves bytes over.
    #[error("{extra} bytes too many after {what}")]
    Trailing {
        /// After what.
        what: &'static str,
        /// How many.
        extra: usize,
    },
    /// A length beyond any real one.
    #[error("{what} of {got} bytes, at most {limit} are read")]
    TooLong {
        /// The field.
        what: &'static str,
        /// Its length.
        got: usize,
        /// The limit.
        limit: usize,
    },
    /// Unknown version.
    #[error("quote version {0}, known are 3, 4 and 5")]
    Version(u16),
    /// Unknown TEE type.
    #[error("TEE type {tee:#x} in a quote of version {version}")]
    TeeType {
        /// What the header says.
        tee: u32,
        /// The version.
        version: u16,
    },
    /// Unknown kind of attestation key.
    #[error("attestation key type {0}, known is 2 (ECDSA P-256)")]
    KeyType(u16),
    /// A quoting enclave of somebody else.
    #[error("quoting enclave of vendor {}, not of Intel", hex::encode(.0))]
    Vendor(
        /// The vendor's UUID.
        [u8; 16],
    ),
    /// Unknown body, or one of the other TEE.
    #[error("quote body of type {body} for TEE type {tee:#x}")]
    BodyType {
        /// The type.
        body: u16,
        /// The header's TEE type.
        tee: u32,
    },
    /// A body of another length than its type has.
    #[error("quote body of {got} bytes, its type has {expected}")]
    BodyLength {
        /// The length that the quote gives.
        got: u32,
        /// The right one.
        expected: usize,
    },
    /// Certification data of a type that has no business here, nested ones included.
    #[error("certification data of type {got} where type {expected} belongs")]
    CertificationType {
        /// The type.
        got: u16,
        /// What belongs here.
        expected: u16,
    },
    /// Certification data that needs a service of Intel's to find the certificate (types 1 to 4 and 7).
    #[error("certification data of type {0} does not hold the certificate chain")]
    NoChain(u16),
    /// Bytes that the layout reserves are not zero.
    #[error("reserved bytes of {what} are not zero")]
    Reserved {
        /// In which structure.
        what: &'static str,
    },
}

/// What a quote's header says, beside what the parser has checked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Header {
    /// 3, 4 or 5.
    pub version: u16,
    /// QE SVN (version 3; zero in later ones).
    pub qe_svn: u16,
    /// PCE SVN (version 3; zero in later ones).
    pub pce_svn: u16,
    /// The QE's own data; its first 16 bytes are the QE's id.
    pub user_data: protocol::digest::Hex<20>,
}

/// What is attested.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Body {
    /// An enclave.
    Sgx(Box<EnclaveReport>),
    /// A TD.
    Tdx(Box<TdReport>),
}

/// A quote, taken apart. Nothing in it is believed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Quote<'a> {
    /// The header.
    pub header: Header,
    /// The body.
    pub body: Body,
    /// Header and body: what the attestation key signs.
    pub signed: &'a [u8],
    /// The signature over them, r and s.
    pub signature: &'a [u8; 64],
    /// The attestation key, x and y.
    pub attestation_key: &'a [u8; 64],
    /// The QE's report as the PCK signs it.
    pub qe_report_bytes: &'a [u8; ENCLAVE_REPORT],
    /// The same, read.
    pub qe_report: EnclaveReport,
    /// The PCK's signature over it, r and s.
    pub qe_report_signature: &'a [u8; 64],
    /// What the QE's report covers beside the attestation key.
    pub qe_auth_data: &'a [u8],
    /// The PCK certificate and its chain, in PEM.
    pub chain: &'a [u8],
}

fn need<T>(value: Option<T>, what: &'static str, need: usize, have: usize) -> Result<T, QuoteError> {
    value.ok_or(QuoteError::Truncated { what, need, have })
}

macro_rules! take {
    ($reader:ident . $method:ident, $what:literal, $len:expr) => {{
        let have = $reader.len();
        need($reader.$method(), $what, $len, have)
    }};
}

/// A length field and as many bytes.
fn counted<'a>(reader: &mut Reader<'a>, what: &'static str, len: usize, limit: usize) -> Result<&'a [u8], QuoteError> {
    if len > limit {
        return Err(QuoteError::TooLong { what, got: len, limit });
    }
    let have = reader.len();
    need(reader.slice(len), what, len, have)
}

fn used_up(reader: Reader<'_>, what: &'static str) -> Result<(), QuoteError> {
    match reader.len() {
        0 => Ok(()),
        extra => Err(QuoteError::Trailing { what, extra }),
    }
}

impl<'a> Quote<'a> {
    /// Takes a quote apart.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, QuoteError> {
        let mut reader = Reader::new(bytes);
        let (header, tee) = header(&mut reader)?;
        let body = match header.version {
            5 => body_by_descriptor(&mut reader, tee)?,
            _ if tee == TEE_TDX => td_report(&mut reader, TdVersion::V10)?,
            _ => enclave_report(&mut reader)?,
        };
        // What has been read so far is what is signed.
        let signed = bytes.len().checked_sub(reader.len()).and_then(|len| bytes.get(..len)).unwrap_or_default();
        let len = usize_of(take!(reader.u32, "the length of the signature data", 4)?);
        let data = counted(&mut reader, "the signature data", len, bytes.len())?;
        // COMPAT: zeros after a TDX quote, see the module's documentation.
        if header.version == 3 || reader.rest().iter().any(|byte| *byte != 0) {
            used_up(reader, "the quote")?;
        }
        let mut data = Reader::new(data);
        let signature = take!(data.array, "the signature", 64)?;
        let attestation_key = take!(data.array, "the attestation key", 64)?;
        let mut qe = if header.version == 3 { data } else { certified_qe_report(&mut data)? };
        let qe_report_bytes = take!(qe.array, "the QE report", ENCLAVE_REPORT)?;
        let qe_report = EnclaveReport::parse(qe_report_bytes, "the QE report")?;
        let qe_report_signature = take!(qe.array, "the QE report's signature", 64)?;
        let len = usize::from(take!(qe.u16, "the length of the QE authentication data", 2)?);
        let qe_auth_data = counted(&mut qe, "the QE authentication data", len, MAX_AUTH_DATA)?;
        let certification = take!(qe.u16, "the certification data type", 2)?;
        match certification {
            CERTIFICATION_PCK_CHAIN => {}
            1..=4 | 7 => return Err(QuoteError::NoChain(certification)),
            got => return Err(QuoteError::CertificationType { got, expected: CERTIFICATION_PCK_CHAIN }),
        }
        let len = usize_of(take!(qe.u32, "the length of the PCK chain", 4)?);
        let chain = counted(&mut qe, "the PCK chain", len, MAX_CHAIN)?;
        used_up(qe, "the PCK chain")?;
        Ok(Self {
            header,
            body,
            signed,
            signature,
            attestation_key,
            qe_report_bytes,
            qe_report,
            qe_report_signature,
            qe_auth_data,
            chain: without_nul(chain),
        })
    }

    /// Whose quote it is.
    pub fn tee(&self) -> Tee {
        match self.body {
            Body::Sgx(_) => Tee::Sgx,
            Body::Tdx(_) => Tee::Tdx,
        }
    }

    /// The 64 bytes that the TEE chose.
    pub fn report_data(&self) -> [u8; 64] {
        match &self.body {
            Body::Sgx(report) => report.report_data.0,
            Body::Tdx(report) => report.report_data.0,
        }
    }
}

/// COMPAT: the NUL of Intel's C string, see the module's documentation.
fn without_nul(chain: &[u8]) -> &[u8] {
    chain.strip_suffix(&[0]).unwrap_or(chain)
}

/// A u32 as a length; what does not fit is beyond every limit.
fn usize_of(len: u32) -> usize {
    usize::try_from(len).unwrap_or(usize::MAX)
}

fn header(reader: &mut Reader<'_>) -> Result<(Header, u32), QuoteError> {
    let version = take!(reader.u16, "the header", HEADER)?;
    let key_type = take!(reader.u16, "the header", HEADER)?;
    let tee = take!(reader.u32, "the header", HEADER)?;
    let qe_svn = take!(reader.u16, "the header", HEADER)?;
    let pce_svn = take!(reader.u16, "the header", HEADER)?;
    let vendor: &[u8; 16] = take!(reader.array, "the header", HEADER)?;
    let user_data: &[u8; 20] = take!(reader.array, "the header", HEADER)?;
    // The vendor first: of bytes that are no quote at all it is no use to say that their version is unknown.
    if *vendor != INTEL_QE_VENDOR {
        return Err(QuoteError::Vendor(*vendor));
    }
    if !(3..=5).contains(&version) {
        return Err(QuoteError::Version(version));
    }
    let known = tee == TEE_SGX || (tee == TEE_TDX && version > 3);
    if !known {
        return Err(QuoteError::TeeType { tee, version });
    }
    if key_type != KEY_ECDSA_P256 {
        return Err(QuoteError::KeyType(key_type));
    }
    Ok((Header { version, qe_svn, pce_svn, user_data: protocol::digest::Hex(*user_data) }, tee))
}

/// Whose quote a header would be.
pub(super) fn detect(header: &[u8; HEADER]) -> Option<Tee> {
    let mut reader = Reader::new(header);
    let version = reader.u16()?;
    let _key_type = reader.u16()?;
    let tee = match reader.u32()? {
        TEE_SGX => Tee::Sgx,
        TEE_TDX => Tee::Tdx,
        _ => return None,
    };
    let _svns = reader.u32()?;
    ((3..=5).contains(&version) && reader.array() == Some(&INTEL_QE_VENDOR)).then_some(tee)
}

fn enclave_report(reader: &mut Reader<'_>) -> Result<Body, QuoteError> {
    let bytes = take!(reader.array, "the enclave report", ENCLAVE_REPORT)?;
    Ok(Body::Sgx(Box::new(EnclaveReport::parse(bytes, "the enclave report")?)))
}

fn td_report(reader: &mut Reader<'_>, version: TdVersion) -> Result<Body, QuoteError> {
    let have = reader.len();
    let report = reader.slice(version.len()).and_then(|bytes| TdReport::parse(bytes, version));
    Ok(Body::Tdx(Box::new(need(report, "the TD report", version.len(), have)?)))
}

/// Version 5 says which body follows and how long it is.
fn body_by_descriptor(reader: &mut Reader<'_>, tee: u32) -> Result<Body, QuoteError> {
    let body = take!(reader.u16, "the body descriptor", 6)?;
    let got = take!(reader.u32, "the body descriptor", 6)?;
    let td = match (tee, body) {
        (TEE_SGX, 1) => None,
        (TEE_TDX, 2) => Some(TdVersion::V10),
        (TEE_TDX, 3) => Some(TdVersion::V15),
        (TEE_TDX, 4) => Some(TdVersion::V15Extended),
        _ => return Err(QuoteError::BodyType { body, tee }),
    };
    let expected = td.map_or(ENCLAVE_REPORT, TdVersion::len);
    if usize_of(got) != expected {
        return Err(QuoteError::BodyLength { got, expected });
    }
    match td {
        Some(version) => td_report(reader, version),
        None => enclave_report(reader),
    }
}

/// Versions 4 and 5 wrap the QE part in certification data of its own. Only one level: what is inside must be type 5.
fn certified_qe_report<'a>(data: &mut Reader<'a>) -> Result<Reader<'a>, QuoteError> {
    let got = take!(data.u16, "the certification data type", 2)?;
    if got != CERTIFICATION_QE_REPORT {
        return Err(QuoteError::CertificationType { got, expected: CERTIFICATION_QE_REPORT });
    }
    let len = usize_of(take!(data.u32, "the length of the certification data", 4)?);
    let limit = data.len();
    let have = data.len();
    let inner = need(data.slice(len), "the certification data", len.min(limit), have)?;
    used_up(*data, "the certification data")?;
    Ok(Reader::new(inner))
}
