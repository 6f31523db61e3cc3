//! The report of the local engine's software TEE. INSECURE: it proves only that the holder of one engine's root key
//! vouches for a pod on that machine. It has the fields of a hardware report so that everything above it is real.
//!
//! Body layout, all of fixed size, 288 bytes:
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 8 | magic `CMSWTEE1` |
//! | 8 | 48 | measurement: SHA-384 of the pod agent's executable |
//! | 56 | 32 | host data: what the host said at launch, the digest of the initdata for a pod that may run |
//! | 88 | 64 | report data |
//! | 152 | 8 | launch time, seconds since 1970, u64 big-endian, by the host's clock: a hint for people, never judged |
//! | 160 | 32 | Ed25519 public key of the engine's root |
//! | 192 | 32 | chip id: SHA-256 of the root key, as a machine's identity |
//! | 224 | 64 | Ed25519 signature by the root over bytes 0 to 223 |

use crate::binding::ReportData;
use crate::digest::{Digest, Measurement};

/// The length of a software report.
pub const LEN: usize = 288;
/// How many of its bytes are signed.
pub const SIGNED: usize = 224;
const MAGIC: &[u8; 8] = b"CMSWTEE1";

/// A parsed software report. Parsing checks the shape; the signature is for the Verifier.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SoftwareReport {
    /// SHA-384 of the pod agent's executable.
    pub measurement: Measurement,
    /// Chosen by the host at launch, immutable afterwards.
    pub host_data: Digest,
    /// Chosen by the requester.
    pub report_data: ReportData,
    /// When the pod was launched, by the host's clock.
    pub launched_at: u64,
    /// The engine's root key (Ed25519).
    pub root: [u8; 32],
    /// SHA-256 of the root key.
    pub chip_id: Digest,
    /// The root's signature over the first [`SIGNED`] bytes.
    pub signature: [u8; 64],
}

/// A body that is no software report.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ParseReportError {
    /// Another length than [`LEN`].
    #[error("software report of {got} bytes, expected {LEN}")]
    Length {
        /// Bytes received.
        got: usize,
    },
    /// The magic is not there.
    #[error("software report does not begin with `CMSWTEE1`")]
    Magic,
}

fn take<const N: usize>(bytes: &[u8; LEN], offset: usize) -> [u8; N] {
    let mut field = [0; N];
    for (to, from) in field.iter_mut().zip(bytes.iter().skip(offset)) {
        *to = *from;
    }
    field
}

impl SoftwareReport {
    /// Parses a body.
    pub fn parse(body: &[u8]) -> Result<Self, ParseReportError> {
        let bytes: &[u8; LEN] = body.try_into().map_err(|_| ParseReportError::Length { got: body.len() })?;
        if take::<8>(bytes, 0) != *MAGIC {
            return Err(ParseReportError::Magic);
        }
        Ok(Self {
            measurement: Measurement::from_bytes(take(bytes, 8)),
            host_data: Digest::from_bytes(take(bytes, 56)),
            report_data: ReportData(take(bytes, 88)),
            launched_at: u64::from_be_bytes(take(bytes, 152)),
            root: take(bytes, 160),
            chip_id: Digest::from_bytes(take(bytes, 192)),
            signature: take(bytes, 224),
        })
    }

    /// The bytes that the root signs.
    pub fn signed_bytes(&self) -> [u8; SIGNED] {
        let mut bytes = [0; SIGNED];
        let fields: [&[u8]; 7] = [
            MAGIC,
            self.measurement.as_bytes(),
            self.host_data.as_bytes(),
            &self.report_data.0,
            &self.launched_at.to_be_bytes(),
            &self.root,
            self.chip_id.as_bytes(),
        ];
        for (to, from) in bytes.iter_mut().zip(fields.into_iter().flatten()) {
            *to = *from;
        }
        bytes
    }

    /// The whole body.
    pub fn encode(&self) -> Vec<u8> {
        let mut body = self.signed_bytes().to_vec();
        body.extend_from_slice(&self.signature);
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> SoftwareReport {
        SoftwareReport {
            measurement: Measurement::from_bytes([1; 48]),
            host_data: Digest::of(b"initdata"),
            report_data: ReportData([2; 64]),
            launched_at: 1_800_000_000,
            root: [3; 32],
            chip_id: Digest::of(&[3; 32]),
            signature: [4; 64],
        }
    }

    #[test]
    fn a_report_survives_its_encoding() {
        let body = report().encode();
        assert_eq!(body.len(), LEN);
        assert_eq!(SoftwareReport::parse(&body), Ok(report()));
    }

    #[test]
    fn a_body_of_another_length_or_magic_is_refused() {
        let body = report().encode();
        assert_eq!(SoftwareReport::parse(&body[1..]), Err(ParseReportError::Length { got: LEN - 1 }));
        let mut other = body;
        other[0] = b'X';
        assert_eq!(SoftwareReport::parse(&other), Err(ParseReportError::Magic));
        assert_eq!(SoftwareReport::parse(&[]), Err(ParseReportError::Length { got: 0 }));
    }
}
