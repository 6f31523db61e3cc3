//! Device evidence as files hold it: NVIDIA's JSON list, and raw transcripts.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use protocol::DeviceEvidence;
use protocol::Evidence;
use protocol::evidence::DeviceKind;
use serde::Deserialize;

use super::claims::Report;
use super::spdm::Transcript;

/// LIMIT: a list of [`Evidence::MAX_DEVICES`] devices, each with a report and a chain in base64, with room for names.
pub const MAX_LIST: usize = Evidence::MAX_DEVICES * Evidence::MAX_DEVICE * 3;

/// Why a list of evidence was not read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// Larger than the largest machine makes.
    #[error("a list of {got} bytes, at most {MAX_LIST} are read")]
    TooLong {
        /// Its size.
        got: usize,
    },
    /// Not the JSON that NVIDIA's tools write.
    #[error("not a list of evidence: {reason}")]
    Json {
        /// The parser's words.
        reason: String,
    },
    /// More devices than a machine holds.
    #[error("{got} devices, at most {} are read", Evidence::MAX_DEVICES)]
    TooMany {
        /// How many.
        got: usize,
    },
    /// A member that is neither hex nor base64, or too long.
    #[error("`{member}` of device {position} is neither base64 nor hex of at most {} bytes", Evidence::MAX_DEVICE)]
    Member {
        /// Which.
        member: &'static str,
        /// The device's place, from 1.
        position: usize,
    },
}

/// One entry of NVIDIA's list. What it says of architecture, nonce and versions is not read: the signed report and its
/// certificates say so.
#[derive(Deserialize)]
struct Entry {
    evidence: String,
    certificate: String,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a list of `{\"evidence\", \"certificate\"}`, alone or under `evidence_list`")]
enum List {
    Alone(Vec<Entry>),
    Request { evidence_list: Vec<Entry> },
}

/// Reads a list of evidence as NVIDIA's tools write it, or a request to NVIDIA's remote attestation service.
pub fn read_json(text: &[u8]) -> Result<Vec<DeviceEvidence>, ReadError> {
    if text.len() > MAX_LIST {
        return Err(ReadError::TooLong { got: text.len() });
    }
    let list: List =
        serde_json::from_slice(text).map_err(|error| ReadError::Json { reason: crate::value::reason(&error) })?;
    let (List::Alone(entries) | List::Request { evidence_list: entries }) = list;
    if entries.len() > Evidence::MAX_DEVICES {
        return Err(ReadError::TooMany { got: entries.len() });
    }
    let read = |(index, entry): (usize, Entry)| {
        let position = index.saturating_add(1);
        let report = decode(&entry.evidence).ok_or(ReadError::Member { member: "evidence", position })?;
        let chain = if entry.certificate.contains("-----BEGIN ") && entry.certificate.len() <= Evidence::MAX_DEVICE {
            entry.certificate.into_bytes()
        } else {
            decode(&entry.certificate).ok_or(ReadError::Member { member: "certificate", position })?
        };
        Ok(device(report, chain))
    };
    entries.into_iter().enumerate().map(read).collect()
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let compact: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    // LIMIT: hex is the longest form.
    if compact.len() > Evidence::MAX_DEVICE.saturating_mul(2) {
        return None;
    }
    let bytes = hex::decode(&compact).or_else(|_| STANDARD.decode(&compact)).ok()?;
    (bytes.len() <= Evidence::MAX_DEVICE).then_some(bytes)
}

/// Device evidence of the kind that its report is of.
pub fn device(report: Vec<u8>, chain: Vec<u8>) -> DeviceEvidence {
    DeviceEvidence { kind: claimed_kind(&report).unwrap_or(DeviceKind::Gpu), report, chain }
}

/// What kind of device a report is of, unverified; `None` when it cannot be read.
pub fn claimed_kind(report: &[u8]) -> Option<DeviceKind> {
    let report = Transcript::parse(report).and_then(|transcript| Report::read(&transcript)).ok()?;
    Some(report.kind)
}

/// Whether bytes look like a report: an SPDM request for measurements, of any version, and not a short one.
pub(crate) fn looks_like(bytes: &[u8]) -> bool {
    // SPDM 1.x and GET_MEASUREMENTS; a response follows the request of 37 bytes.
    matches!(bytes, [version, 0xe0, _, _, ..] if version >> 4 == 1) && bytes.len() > 37
}
