//! From bytes to events.

use protocol::digest::Measurement;
use serde::Serialize;

use super::error::{CcelError, Part};
use super::{EventKind, Register};

/// LIMIT: td-shim's log area is 1 MiB, OVMF's 64 KiB; this is four of the larger.
pub const MAX_LOG: usize = 4 << 20;

/// LIMIT: a boot through GRUB, which logs each command, has a few hundred events.
pub const MAX_EVENTS: usize = 4096;

/// LIMIT: the TCG registry has nine hash algorithms.
pub const MAX_ALGORITHMS: u32 = 9;

/// How the first event's data begin (`TCG_EfiSpecIDEvent.signature`).
pub(super) const SIGNATURE: &[u8; 16] = b"Spec ID Event03\0";

/// `TPM_ALG_SHA384` of the TCG algorithm registry.
const SHA384: u16 = 0x000c;

/// Algorithms of the TCG registry whose size is known: SHA-1, SHA-256, SHA-384, SHA-512, SM3, SHA3-256, -384 and -512.
const SIZES: [(u16, u16); 8] =
    [(0x04, 20), (0x0b, 32), (SHA384, 48), (0x0d, 64), (0x12, 32), (0x27, 32), (0x28, 48), (0x29, 64)];

/// What the first event says of the log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct SpecId {
    /// Platform class; 0 is a client.
    pub platform_class: u32,
    /// Errata of the specification.
    pub errata: u8,
    /// Algorithms, each with the bytes of its digests.
    pub algorithms: Vec<(u16, u16)>,
    /// What the firmware's vendor put there, printable part of it.
    pub vendor: String,
}

/// An event as it lies in the log.
pub(super) struct RawEvent<'a> {
    pub(super) index: usize,
    pub(super) register: Register,
    pub(super) kind: EventKind,
    pub(super) digest: Measurement,
    pub(super) data: &'a [u8],
}

/// Takes bytes from the front and says where it ran out.
struct Reader<'a> {
    rest: &'a [u8],
    offset: usize,
    event: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize, part: Part) -> Result<&'a [u8], CcelError> {
        let truncated = CcelError::Truncated { part, event: self.event, offset: self.offset };
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(truncated)?;
        self.rest = rest;
        self.offset = self.offset.saturating_add(count);
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, part: Part) -> Result<[u8; N], CcelError> {
        let truncated = CcelError::Truncated { part, event: self.event, offset: self.offset };
        self.take(N, part)?.first_chunk().copied().ok_or(truncated)
    }

    fn u8(&mut self, part: Part) -> Result<u8, CcelError> {
        self.array::<1>(part).map(|[byte]| byte)
    }

    fn u16(&mut self, part: Part) -> Result<u16, CcelError> {
        self.array(part).map(u16::from_le_bytes)
    }

    fn u32(&mut self, part: Part) -> Result<u32, CcelError> {
        self.array(part).map(u32::from_le_bytes)
    }

    /// A size field and that many bytes.
    fn sized(&mut self, size: Part, data: Part) -> Result<&'a [u8], CcelError> {
        let size = self.u32(size)?;
        // A size that does not fit does not fit the log either.
        self.take(usize::try_from(size).unwrap_or(usize::MAX), data)
    }

    /// Whether the log ends here: with its last byte, with zeros (td-shim), or with a register `0xffffffff`, after which
    /// OVMF has more of the same.
    fn at_end(&self) -> Result<bool, CcelError> {
        let all = |bytes: &[u8], byte| bytes.iter().all(|other| *other == byte);
        if all(self.rest, 0) {
            return Ok(true);
        }
        let Some((marker, after)) = self.rest.split_first_chunk::<4>() else {
            return Ok(all(self.rest, 0xff));
        };
        if !all(marker, 0xff) {
            return Ok(false);
        }
        if all(after, 0) || all(after, 0xff) {
            return Ok(true);
        }
        Err(CcelError::TrailingBytes { offset: self.offset })
    }
}

pub(super) fn parse(log: &[u8]) -> Result<(SpecId, Vec<RawEvent<'_>>), CcelError> {
    if log.len() > MAX_LOG {
        return Err(CcelError::TooLong { got: log.len(), limit: MAX_LOG });
    }
    let mut reader = Reader { rest: log, offset: 0, event: 0 };
    let spec = spec_id(&mut reader)?;
    let mut events = Vec::new();
    while !reader.at_end()? {
        if events.len() >= MAX_EVENTS {
            return Err(CcelError::TooManyEvents { limit: MAX_EVENTS });
        }
        reader.event = events.len().saturating_add(1);
        events.push(event(&mut reader, &spec)?);
    }
    Ok((spec, events))
}

/// The first event: `TCG_PCR_EVENT` (the older form, with one SHA-1 digest), holding `TCG_EfiSpecIDEvent`.
fn spec_id(reader: &mut Reader<'_>) -> Result<SpecId, CcelError> {
    let index = reader.u32(Part::SpecHeader)?;
    let kind = EventKind(reader.u32(Part::SpecHeader)?);
    let digest = reader.array::<20>(Part::SpecHeader)?;
    if index != 0 || kind != EventKind::NO_ACTION || digest != [0; 20] {
        return Err(CcelError::NotCryptoAgile);
    }
    let start = reader.offset.saturating_add(4);
    let data = reader.sized(Part::SpecHeader, Part::SpecData)?;
    let mut data = Reader { rest: data, offset: start, event: 0 };
    let part = Part::SpecData;
    if data.array::<16>(part)? != *SIGNATURE {
        return Err(CcelError::NotCryptoAgile);
    }
    let platform_class = data.u32(part)?;
    let [minor, major, errata, _uintn] = data.array::<4>(part)?;
    if (major, minor) != (2, 0) {
        return Err(CcelError::Version { major, minor });
    }
    let count = data.u32(part)?;
    if count == 0 || count > MAX_ALGORITHMS {
        return Err(CcelError::AlgorithmCount { got: count, limit: MAX_ALGORITHMS });
    }
    let mut algorithms: Vec<(u16, u16)> = Vec::new();
    for _ in 0..count {
        let (algorithm, size) = (data.u16(part)?, data.u16(part)?);
        if algorithms.iter().any(|(other, _)| *other == algorithm) {
            return Err(CcelError::AlgorithmTwice { algorithm });
        }
        if let Some((_, expected)) = SIZES.iter().find(|(known, _)| *known == algorithm)
            && size != *expected
        {
            return Err(CcelError::AlgorithmSize { algorithm, got: size, expected: *expected });
        }
        algorithms.push((algorithm, size));
    }
    if !algorithms.iter().any(|(algorithm, _)| *algorithm == SHA384) {
        return Err(CcelError::NoSha384);
    }
    let vendor_size = data.u8(part)?;
    let vendor = data.take(usize::from(vendor_size), part)?;
    if !data.rest.is_empty() {
        return Err(CcelError::SpecRest { got: data.rest.len() });
    }
    Ok(SpecId { platform_class, errata, algorithms, vendor: super::describe::printable(vendor) })
}

/// `TCG_PCR_EVENT2`: register, kind, digests, data.
fn event<'a>(reader: &mut Reader<'a>, spec: &SpecId) -> Result<RawEvent<'a>, CcelError> {
    let index = reader.event;
    let register = reader.u32(Part::EventHeader)?;
    let register = Register::from_index(register).ok_or(CcelError::RegisterIndex { event: index, index: register })?;
    let kind = EventKind(reader.u32(Part::EventHeader)?);
    let count = reader.u32(Part::EventHeader)?;
    let expected = u32::try_from(spec.algorithms.len()).unwrap_or(u32::MAX);
    if count != expected {
        return Err(CcelError::DigestCount { event: index, got: count, expected });
    }
    let mut seen: Vec<u16> = Vec::new();
    let mut sha384 = None;
    for _ in 0..count {
        let algorithm = reader.u16(Part::Digests)?;
        let listed = spec.algorithms.iter().find(|(listed, _)| *listed == algorithm);
        let (_, size) = listed.ok_or(CcelError::UnknownAlgorithm { event: index, algorithm })?;
        if seen.contains(&algorithm) {
            return Err(CcelError::DigestTwice { event: index, algorithm });
        }
        seen.push(algorithm);
        let digest = reader.take(usize::from(*size), Part::Digests)?;
        if algorithm == SHA384 {
            sha384 = digest.first_chunk().copied();
        }
    }
    // Every listed algorithm was seen just once, and SHA-384 is listed.
    let digest = Measurement::from_bytes(sha384.ok_or(CcelError::NoSha384)?);
    let data = reader.sized(Part::DataSize, Part::Data)?;
    Ok(RawEvent { index, register, kind, digest, data })
}
