//! A replay against the RTMRs of a quote, against a known-good log, and against digests expected of single events.

use protocol::digest::Measurement;
use serde::Serialize;

use super::{Event, EventKind, Register, Replay, ZERO, extend, extend_all};

/// LIMIT: a register with more events than this is not searched for the one that explains a mismatch. The search
/// replays the register a few times per event, so this many cost some 100,000 hashes of 96 bytes, tens of milliseconds.
pub const SEARCHED_EVENTS: usize = 256;

/// Why an event may be what makes a register differ.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// With the digest of the event's own data the register is as reported: somebody altered its digest.
    DigestAltered,
    /// Without the event the register is as reported: somebody added it.
    Added,
    /// With the event and the next one swapped the register is as reported.
    Swapped,
    /// Up to before the event the register is as reported: this one and those after it were not measured (yet).
    FirstNotMeasured,
    /// Its data contradict its digest. That alone does not make the register differ, but is where to look first.
    DataContradicts,
}

impl Reason {
    /// What it means, to follow an event's name.
    pub const fn text(self) -> &'static str {
        match self {
            Self::DigestAltered => "its digest was altered: with the digest of its data the register is as reported",
            Self::Added => "it was added: without it the register is as reported",
            Self::Swapped => "it was swapped with the next: the other way round the register is as reported",
            Self::FirstNotMeasured => {
                "it and those after it were not measured: up to before it the register is as reported"
            }
            Self::DataContradicts => "its data contradict its digest",
        }
    }
}

/// An event that may be what makes a register differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Candidate {
    /// Its place in the log.
    pub event: usize,
    /// Why.
    pub reason: Reason,
}

/// How a replayed register relates to the reported one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case", tag = "outcome")]
pub enum RegisterOutcome {
    /// The log's digests are what was measured into it, in this order.
    Matches,
    /// They are not.
    Differs {
        /// What the replay gives.
        replayed: Measurement,
        /// What the quote reports.
        reported: Measurement,
        /// Events that explain it. None: no single event does; compare with a known-good log.
        candidates: Vec<Candidate>,
    },
}

/// Compares a replay with the RTMRs of a quote.
pub fn compare(replay: &Replay, rtmrs: &[[u8; 48]; 4]) -> [(Register, RegisterOutcome); 4] {
    let [log0, log1, log2, log3] = replay.registers;
    let [quote0, quote1, quote2, quote3] = rtmrs.map(Measurement::from_bytes);
    let registers = [
        (Register::Rtmr0, log0, quote0),
        (Register::Rtmr1, log1, quote1),
        (Register::Rtmr2, log2, quote2),
        (Register::Rtmr3, log3, quote3),
    ];
    registers.map(|(register, replayed, reported)| {
        let outcome = if replayed == reported {
            RegisterOutcome::Matches
        } else {
            RegisterOutcome::Differs { replayed, reported, candidates: candidates(replay, register, &reported) }
        };
        (register, outcome)
    })
}

/// Which events explain that the register is not what was reported.
fn candidates(replay: &Replay, register: Register, reported: &Measurement) -> Vec<Candidate> {
    let events: Vec<&Event> = replay.measured_into(register).collect();
    let mut found: Vec<Candidate> = Vec::new();
    if events.len() <= SEARCHED_EVENTS {
        let mut before = ZERO;
        let digests_from = |start: usize| events.iter().skip(start).map(|event| event.digest);
        for (place, event) in events.iter().enumerate() {
            let mut add = |reason| found.push(Candidate { event: event.index, reason });
            let next = place.saturating_add(1);
            if before == *reported {
                add(Reason::FirstNotMeasured);
            } else if extend_all(before, digests_from(next)) == *reported {
                // The last event, left out, is a register up to before it: told above.
                add(Reason::Added);
            }
            if let Some(digest) = event.digest_of_data()
                && extend_all(extend(&before, &digest), digests_from(next)) == *reported
            {
                add(Reason::DigestAltered);
            }
            if let Some(other) = events.get(next) {
                let swapped = extend(&extend(&before, &other.digest), &event.digest);
                if extend_all(swapped, digests_from(next.saturating_add(1))) == *reported {
                    add(Reason::Swapped);
                }
            }
            before = extend(&before, &event.digest);
        }
    }
    for event in events {
        let is_known = found.iter().any(|candidate| candidate.event == event.index);
        if event.digest_of_data().is_some() && !is_known {
            found.push(Candidate { event: event.index, reason: Reason::DataContradicts });
        }
    }
    found.sort_by_key(|candidate| candidate.reason);
    found
}

/// One side of a difference.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Side {
    /// The event's place in its own log.
    pub event: usize,
    /// Its kind.
    pub kind: EventKind,
    /// Its digest.
    pub digest: Measurement,
    /// What it is about.
    pub name: String,
    /// The same with what its data say.
    pub description: String,
}

impl From<&Event> for Side {
    fn from(event: &Event) -> Self {
        Self {
            event: event.index,
            kind: event.kind,
            digest: event.digest,
            name: event.name.clone(),
            description: event.description.clone(),
        }
    }
}

/// Where a log departs from a known-good one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Difference {
    /// In which register.
    pub register: Register,
    /// The how-manieth event of that register, from 0.
    pub place: usize,
    /// What the known-good log has there. `None`: it has ended.
    pub expected: Option<Side>,
    /// What the log has there. `None`: it has ended.
    pub got: Option<Side>,
}

/// The first difference in each register, in the order of the registers. Only what is measured counts: events may be
/// interleaved otherwise, and labels may differ.
pub fn differences(log: &Replay, reference: &Replay) -> Vec<Difference> {
    Register::RUNTIME.into_iter().filter_map(|register| difference(log, reference, register)).collect()
}

/// The difference that comes first in the log. What the log lacks at a register's end comes
/// after all else.
pub fn first_difference(log: &Replay, reference: &Replay) -> Option<Difference> {
    differences(log, reference)
        .into_iter()
        .min_by_key(|difference| difference.got.as_ref().map_or(usize::MAX, |side| side.event))
}

fn difference(log: &Replay, reference: &Replay, register: Register) -> Option<Difference> {
    let mut ours = log.measured_into(register);
    let mut theirs = reference.measured_into(register);
    let mut place = 0_usize;
    loop {
        let (got, expected) = (ours.next(), theirs.next());
        match (got, expected) {
            (None, None) => return None,
            (Some(a), Some(b)) if a.digest == b.digest => place = place.saturating_add(1),
            _ => {
                let (got, expected) = (got.map(Side::from), expected.map(Side::from));
                return Some(Difference { register, place, expected, got });
            }
        }
    }
}

/// What a single event is expected to measure.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReferenceEvent {
    /// In which register.
    pub register: Register,
    /// Under which name ([`Event::name`]).
    pub name: String,
    /// Which digests are accepted.
    pub accepted: Vec<Measurement>,
}

/// What became of an expected event.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case", tag = "outcome")]
pub enum NamedOutcome {
    /// Every event of that name has an accepted digest.
    Holds {
        /// Their places in the log.
        events: Vec<usize>,
    },
    /// An event of that name has another digest.
    Differs {
        /// Its place in the log.
        event: usize,
        /// Its digest.
        digest: Measurement,
    },
    /// No measured event of that register has the name.
    Absent,
}

/// Compares single events with the digests expected of them, one outcome per expectation, in their order.
///
/// A name is a label that the host can change, so `Holds` means something only where the register matches the quote's;
/// renaming an event makes it [`NamedOutcome::Absent`], never accepted.
pub fn check_named(replay: &Replay, expected: &[ReferenceEvent]) -> Vec<NamedOutcome> {
    expected
        .iter()
        .map(|expected| {
            let named = || replay.measured_into(expected.register).filter(|event| event.name == expected.name);
            if let Some(event) = named().find(|event| !expected.accepted.contains(&event.digest)) {
                return NamedOutcome::Differs { event: event.index, digest: event.digest };
            }
            let events: Vec<usize> = named().map(|event| event.index).collect();
            if events.is_empty() { NamedOutcome::Absent } else { NamedOutcome::Holds { events } }
        })
        .collect()
}
