//! CCEL: the event log of a TDX guest, replayed against its runtime registers (RTMRs), so that a mismatch names the event.
//!
//! The log is bytes that the host could have written. It proves nothing by itself: only where its replay gives the RTMRs
//! of a verified quote are its digests what was measured, in that order. Its text is bound by those digests only for
//! events whose digest is over their data; [`DataCheck`] says so event by event, and everything else in a description is
//! a label that nobody vouches for.
//!
//! Formats: TCG PC Client Platform Firmware Profile 1.06, section 10 (crypto-agile log: a Spec ID event, then
//! `TCG_PCR_EVENT2`); UEFI 2.10, section 38.4.1 (measurement registers of a TDX guest: index 0 is MRTD, 1 to 4 are RTMR0
//! to 3); ACPI 6.5, section 5.2.35 (the CCEL table says where the log is; this module takes the log, not the table).
//!
//! ```
//! # fn f(log: &[u8], rtmrs: &[[u8; 48]; 4]) -> Result<(), verifier::ccel::CcelError> {
//! let replay = verifier::ccel::replay(log)?;
//! for (register, outcome) in verifier::ccel::compare(&replay, rtmrs) {
//!     println!("{register}: {outcome:?}");
//! }
//! # Ok(()) }
//! ```

mod compare;
mod data;
mod describe;
mod error;
mod explain;
mod kind;
mod parse;

pub use compare::{
    Candidate, Difference, NamedOutcome, Reason, ReferenceEvent, RegisterOutcome, SEARCHED_EVENTS, Side, check_named,
    compare, differences, first_difference,
};
pub use data::DataCheck;
pub use error::{CcelError, Part};
pub use explain::explain;
pub use kind::EventKind;
pub use parse::{MAX_ALGORITHMS, MAX_EVENTS, MAX_LOG, SpecId};

use std::fmt;

use aws_lc_rs::digest::{Context, SHA384, digest};
use protocol::digest::Measurement;
use serde::Serialize;

/// A measurement register of a TDX guest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Register {
    /// What the TDX module measured before the guest started. No event of a log extends it.
    Mrtd,
    /// The firmware's configuration.
    Rtmr0,
    /// Boot loader and kernel.
    Rtmr1,
    /// What the operating system measures.
    Rtmr2,
    /// What applications measure.
    Rtmr3,
}

impl Register {
    /// The registers that a log is replayed into, in order.
    pub const RUNTIME: [Self; 4] = [Self::Rtmr0, Self::Rtmr1, Self::Rtmr2, Self::Rtmr3];

    fn from_index(index: u32) -> Option<Self> {
        Some(match index {
            0 => Self::Mrtd,
            1 => Self::Rtmr0,
            2 => Self::Rtmr1,
            3 => Self::Rtmr2,
            4 => Self::Rtmr3,
            _ => return None,
        })
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mrtd => "MRTD",
            Self::Rtmr0 => "RTMR0",
            Self::Rtmr1 => "RTMR1",
            Self::Rtmr2 => "RTMR2",
            Self::Rtmr3 => "RTMR3",
        }
    }
}

impl fmt::Display for Register {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One event of a log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Event {
    /// Its place in the log; the Spec ID event has 0.
    pub index: usize,
    /// Where it was measured.
    pub register: Register,
    /// What kind of event.
    pub kind: EventKind,
    /// What was measured.
    pub digest: Measurement,
    /// What it is about, such as a variable's or a file's name. Printable, bounded; see [`DataCheck`] for its worth.
    pub name: String,
    /// The same with what the data say. Printable, bounded; see [`DataCheck`] for its worth.
    pub description: String,
    /// Whether the digest is that of the data.
    pub data: DataCheck,
}

impl Event {
    /// Whether it changes its register.
    pub fn is_measured(&self) -> bool {
        self.register != Register::Mrtd && self.kind.is_measured()
    }

    /// The digest that its data would have, where the log's digest should be that and is not.
    fn digest_of_data(&self) -> Option<Measurement> {
        match self.data {
            DataCheck::Contradicts { computed } => Some(computed),
            DataCheck::Matches | DataCheck::Unverifiable | DataCheck::NotMeasured => None,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "event {} ({}, {}, {})", self.index, self.register, self.kind, self.name)
    }
}

/// A log, replayed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Replay {
    /// What the first event says of the log.
    pub spec: SpecId,
    /// What RTMR0 to 3 would hold if just this had been measured.
    pub registers: [Measurement; 4],
    /// The events, without the Spec ID event.
    pub events: Vec<Event>,
}

impl Replay {
    /// The events that change a register, in order.
    pub fn measured_into(&self, register: Register) -> impl Iterator<Item = &Event> {
        self.events.iter().filter(move |event| event.register == register && event.is_measured())
    }

    /// The events whose data are not what was measured: somebody changed the one or the other.
    pub fn contradictions(&self) -> impl Iterator<Item = &Event> {
        self.events.iter().filter(|event| event.digest_of_data().is_some())
    }
}

/// Whether bytes begin as a crypto-agile log does: for telling files apart.
pub(crate) fn looks_like(bytes: &[u8]) -> bool {
    // Register, kind, SHA-1 digest and size are before the signature.
    bytes.get(32..).is_some_and(|rest| rest.starts_with(parse::SIGNATURE))
}

/// Reads a log and replays it. `Ok` says that it is well-formed, no more.
pub fn replay(log: &[u8]) -> Result<Replay, CcelError> {
    let (spec, raw) = parse::parse(log)?;
    let events: Vec<Event> = raw
        .iter()
        .map(|event| {
            let described = describe::describe(event.kind, event.data);
            Event {
                index: event.index,
                register: event.register,
                kind: event.kind,
                digest: event.digest,
                name: described.name,
                description: described.text,
                data: data::check(event.kind, event.data, &event.digest),
            }
        })
        .collect();
    let registers = Register::RUNTIME.map(|register| {
        let events = events.iter().filter(|event| event.register == register && event.is_measured());
        extend_all(ZERO, events.map(|event| event.digest))
    });
    Ok(Replay { spec, registers, events })
}

/// An RTMR before anything was measured into it.
const ZERO: Measurement = Measurement::from_bytes([0; 48]);

/// `TDG.MR.RTMR.EXTEND`: the register becomes SHA-384 of itself and the digest (Intel TDX module, application binary
/// interface specification).
fn extend(register: &Measurement, event: &Measurement) -> Measurement {
    let mut context = Context::new(&SHA384);
    context.update(register.as_bytes());
    context.update(event.as_bytes());
    measurement(context.finish().as_ref())
}

fn extend_all(start: Measurement, digests: impl IntoIterator<Item = Measurement>) -> Measurement {
    digests.into_iter().fold(start, |register, digest| extend(&register, &digest))
}

fn sha384(bytes: &[u8]) -> Measurement {
    measurement(digest(&SHA384, bytes).as_ref())
}

fn measurement(bytes: &[u8]) -> Measurement {
    // PANIC-FREE: SHA-384 gives 48 bytes.
    Measurement::from_bytes(bytes.first_chunk().copied().unwrap_or([0; 48]))
}
