//! The transcript that a device signs: one SPDM request for all measurements and the response to it, back to back
//! (DMTF DSP0274 1.1.0, sections 10.11.1 and 10.11.2).
//!
//! Only SPDM 1.1 is read. From 1.2 on the signature covers a context string and more than these two messages, and opaque
//! data has a header of its own; 1.3 lengthens both messages. NVIDIA's devices up to Blackwell speak 1.1, and reading a
//! later transcript as a 1.1 one would mean checking a signature over the wrong bytes: it is refused by name, as
//! "could not tell".
//!
//! Every length is exact: nothing may stand before, between or after what is read.

use std::fmt;

use super::error::NvidiaError;

/// LIMIT: the largest report that NVIDIA's management library hands out: `NVML_CC_GPU_ATTESTATION_REPORT_SIZE` in
/// `nvml.h`, and the same for switches in `nscq.h`.
pub const MAX_REPORT: usize = 0x2000;

/// DSP0274 1.1.0, table 43: GET_MEASUREMENTS with a nonce and a slot.
const REQUEST: usize = 37;
/// DSP0274 1.1.0, table 8: the version byte of 1.1.
const VERSION: u8 = 0x11;
/// DSP0274 1.1.0, table 4.
const GET_MEASUREMENTS: u8 = 0xe0;
/// DSP0274 1.1.0, table 5.
const MEASUREMENTS: u8 = 0x60;
/// DSP0274 1.1.0, table 44: bit 0 of the request's attributes asks for a signature.
const SIGNED: u8 = 0x01;
/// DSP0274 1.1.0, table 43: this operation asks for all measurements.
const ALL: u8 = 0xff;
/// DSP0274 1.1.0, section 10.5: slots of certificates are 0 to 7.
const LAST_SLOT: u8 = 7;
/// DSP0274 1.1.0, table 46: bit 0 of MeasurementSpecification is DMTF's own.
const DMTF: u8 = 0x01;
/// DSP0274 1.1.0, table 47: bit 7 of DMTFSpecMeasurementValueType says "not a digest".
const RAW: u8 = 0x80;
/// A SHA-384 digest.
pub const DIGEST: usize = 48;
/// DSP0274 1.1.0, table 47: type, length and a SHA-384 digest.
const DMTF_LEN: u16 = 51;
/// ECDSA on P-384: r and s side by side (DSP0274 1.1.0, section 4.1).
const SIGNATURE: usize = 96;
/// LIMIT: measurement indices are one byte from 1 (DSP0274 1.1.0, table 46; 255 is reserved).
const MAX_BLOCKS: usize = 254;
/// LIMIT: NVIDIA numbers 36 kinds of opaque fields, and none may stand twice.
const MAX_FIELDS: usize = 64;

/// One transcript, taken apart. Nothing in it is believed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transcript<'a> {
    /// The requester's nonce: what makes the report fresh.
    pub nonce: [u8; 32],
    /// The certificate slot that was asked for.
    pub slot: u8,
    /// The measurements, in the order of the report.
    pub blocks: Vec<Block<'a>>,
    /// The responder's own nonce.
    pub responder_nonce: [u8; 32],
    /// NVIDIA's fields, in the order of the report.
    pub fields: Vec<Field<'a>>,
    /// Everything that the signature covers.
    pub signed: &'a [u8],
    /// r and s.
    pub signature: &'a [u8; SIGNATURE],
}

/// One measurement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Block<'a> {
    /// SPDM's index, from 1.
    pub index: u8,
    /// DMTFSpecMeasurementValueType.
    pub kind: u8,
    /// The SHA-384 digest.
    pub digest: &'a [u8; DIGEST],
}

/// One opaque field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Field<'a> {
    /// NVIDIA's number for what it is.
    pub kind: u16,
    /// Its content.
    pub data: &'a [u8],
}

/// A part of the transcript, for errors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Part {
    /// The request.
    Request,
    /// The response's header.
    Response,
    /// The measurement record.
    Record,
    /// One block of the record.
    Block,
    /// The responder's nonce.
    ResponderNonce,
    /// The opaque data.
    Opaque,
    /// One field of the opaque data.
    Field,
    /// The signature.
    Signature,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Request => "request",
            Self::Response => "response",
            Self::Record => "measurement record",
            Self::Block => "measurement block",
            Self::ResponderNonce => "responder's nonce",
            Self::Opaque => "opaque data",
            Self::Field => "opaque field",
            Self::Signature => "signature",
        })
    }
}

/// Bytes that are read from the front.
struct Reader<'a> {
    rest: &'a [u8],
    part: Part,
}

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8], NvidiaError> {
        let short = NvidiaError::TooShort { part: self.part, needed: count, left: self.rest.len() };
        let (bytes, rest) = self.rest.split_at_checked(count).ok_or(short)?;
        self.rest = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], NvidiaError> {
        let short = NvidiaError::TooShort { part: self.part, needed: N, left: self.rest.len() };
        let (bytes, rest) = self.rest.split_first_chunk::<N>().ok_or(short)?;
        self.rest = rest;
        Ok(bytes)
    }

    fn byte(&mut self) -> Result<u8, NvidiaError> {
        self.array::<1>().map(|[byte]| *byte)
    }

    fn u16(&mut self) -> Result<u16, NvidiaError> {
        self.array().map(|bytes| u16::from_le_bytes(*bytes))
    }

    /// Demands one exact byte.
    fn exact(&mut self, field: &'static str, expected: u8) -> Result<(), NvidiaError> {
        let got = self.byte()?;
        if got == expected { Ok(()) } else { Err(NvidiaError::Header { part: self.part, field, got, expected }) }
    }

    /// Demands SPDM 1.1.
    fn version(&mut self) -> Result<(), NvidiaError> {
        match self.byte()? {
            VERSION => Ok(()),
            // The high nibble is the major version: 1.x is SPDM, and not this module's; anything else is no SPDM.
            version if version >> 4 == VERSION >> 4 => {
                Err(NvidiaError::SpdmVersion { part: self.part, major: version >> 4, minor: version & 0xf })
            }
            got => Err(NvidiaError::Header { part: self.part, field: "version", got, expected: VERSION }),
        }
    }
}

impl<'a> Transcript<'a> {
    /// Takes a transcript apart.
    pub fn parse(report: &'a [u8]) -> Result<Self, NvidiaError> {
        if report.len() > MAX_REPORT {
            return Err(NvidiaError::ReportTooLong { got: report.len() });
        }
        let mut reader = Reader { rest: report, part: Part::Request };
        reader.version()?;
        reader.exact("code", GET_MEASUREMENTS)?;
        reader.exact("attributes", SIGNED)?;
        // A request for one index would let whoever asks choose what the verifier sees.
        reader.exact("operation", ALL)?;
        let nonce = *reader.array()?;
        let slot = reader.byte()?;
        if slot > LAST_SLOT {
            return Err(NvidiaError::Header { part: Part::Request, field: "slot", got: slot, expected: LAST_SLOT });
        }

        reader.part = Part::Response;
        reader.version()?;
        reader.exact("code", MEASUREMENTS)?;
        reader.exact("reserved", 0)?;
        reader.exact("slot", slot)?;
        let count = usize::from(reader.byte()?);
        let length = reader.array::<3>()?;
        let length = usize::from(length[0]) | usize::from(length[1]) << 8 | usize::from(length[2]) << 16;
        reader.part = Part::Record;
        let record = reader.bytes(length)?;
        let blocks = blocks(record, count)?;

        reader.part = Part::ResponderNonce;
        let responder_nonce = *reader.array()?;
        reader.part = Part::Opaque;
        let length = usize::from(reader.u16()?);
        let opaque = reader.bytes(length)?;
        let fields = fields(opaque)?;

        let signed_len = report.len().saturating_sub(reader.rest.len());
        reader.part = Part::Signature;
        let signature = reader.array()?;
        if !reader.rest.is_empty() {
            return Err(NvidiaError::Trailing { part: Part::Signature, got: reader.rest.len() });
        }
        let signed = report.get(..signed_len).unwrap_or_default();
        Ok(Self { nonce, slot, blocks, responder_nonce, fields, signed, signature })
    }

    /// The content of a field, if it is there.
    pub(super) fn field(&self, kind: u16) -> Option<&'a [u8]> {
        self.fields.iter().find(|field| field.kind == kind).map(|field| field.data)
    }
}

fn blocks(record: &[u8], count: usize) -> Result<Vec<Block<'_>>, NvidiaError> {
    if count == 0 || count > MAX_BLOCKS {
        return Err(NvidiaError::BlockCount { got: count });
    }
    let mut reader = Reader { rest: record, part: Part::Block };
    let mut blocks: Vec<Block<'_>> = Vec::with_capacity(count);
    for _ in 0..count {
        let index = reader.byte()?;
        reader.exact("specification", DMTF)?;
        let size = reader.u16()?;
        if size != DMTF_LEN {
            return Err(NvidiaError::BlockSize { index, got: size, expected: DMTF_LEN });
        }
        let kind = reader.byte()?;
        if kind & RAW != 0 {
            return Err(NvidiaError::RawMeasurement { index });
        }
        let size = reader.u16()?;
        if usize::from(size) != DIGEST {
            return Err(NvidiaError::BlockSize { index, got: size, expected: 48 });
        }
        let digest = reader.array()?;
        if index == 0 || usize::from(index) > MAX_BLOCKS {
            return Err(NvidiaError::BlockIndex { index });
        }
        if blocks.iter().any(|block| block.index == index) {
            return Err(NvidiaError::DuplicateMeasurement { index });
        }
        blocks.push(Block { index, kind, digest });
    }
    if reader.rest.is_empty() {
        Ok(blocks)
    } else {
        Err(NvidiaError::Trailing { part: Part::Record, got: reader.rest.len() })
    }
}

fn fields(opaque: &[u8]) -> Result<Vec<Field<'_>>, NvidiaError> {
    let mut reader = Reader { rest: opaque, part: Part::Field };
    let mut fields: Vec<Field<'_>> = Vec::new();
    while !reader.rest.is_empty() {
        if fields.len() == MAX_FIELDS {
            return Err(NvidiaError::TooManyFields);
        }
        let kind = reader.u16()?;
        let length = usize::from(reader.u16()?);
        let data = reader.bytes(length)?;
        if fields.iter().any(|field| field.kind == kind) {
            return Err(NvidiaError::DuplicateField { kind });
        }
        fields.push(Field { kind, data });
    }
    Ok(fields)
}

/// The nonce of a report, unverified: for a collector that wants to see that a device answered its question.
pub fn claimed_nonce(report: &[u8]) -> Option<[u8; 32]> {
    report.get(4..REQUEST)?.first_chunk().copied()
}
