//! A replayed log as an explanation.

use crate::explain::{Problem, Section, Verdict};
use crate::value::Value;

use super::{DataCheck, Event, Register, RegisterOutcome, Replay, compare};

const SILENT: &str = "the log has no event for this register: what was measured into it was measured after the firmware's \
                      log ended, or the log is another guest's";

const NO_CANDIDATE: &str = "no single event explains it: the log is another guest's, or something was measured after it \
                            ended; compare it with a log that is known to be good";

/// The log, register by register. Without the RTMRs of a quote nothing is judged but whether events contradict
/// themselves.
pub fn explain(replay: &Replay, rtmrs: Option<&[[u8; 48]; 4]>) -> Vec<Section> {
    let mut log = Section::note("event log")
        .claim("vendor", Value::peer_text(&replay.spec.vendor))
        .claim("events", number(replay.events.len()))
        .claim("bound to their data", number(count(replay, |event| event.data == DataCheck::Matches)))
        .claim("labels only", number(count(replay, |event| event.data == DataCheck::Unverifiable)));
    for event in replay.contradictions() {
        log.verdict = Verdict::Refused;
        log.problems.push(Problem {
            code: "ccel-data-contradicts",
            message: format!("{event}: its data are not what was measured"),
            hint: Some("text or digest of that event were altered after it was logged".to_owned()),
        });
    }
    let mut sections = vec![log];
    let outcomes = rtmrs.map(|rtmrs| compare(replay, rtmrs));
    for (place, register) in Register::RUNTIME.into_iter().enumerate() {
        let replayed = replay.registers.get(place).copied();
        let mut section = Section::note(register.name()).claim("replayed", replayed);
        let outcome = outcomes.as_ref().and_then(|outcomes| outcomes.get(place)).map(|(_, outcome)| outcome);
        match outcome {
            None => {}
            Some(RegisterOutcome::Matches) => section.verdict = Verdict::Verified,
            Some(RegisterOutcome::Differs { replayed, reported, candidates }) => {
                // A log that says nothing of a register contradicts nothing: the guest may measure into it at any time.
                let is_silent = replay.measured_into(register).next().is_none();
                section.verdict = if is_silent { Verdict::Unknown } else { Verdict::Refused };
                section = section.claim("reported", *reported);
                let hint = if is_silent { SILENT } else { NO_CANDIDATE };
                section.problems.push(Problem {
                    code: if is_silent { "ccel-register-not-logged" } else { "ccel-register-differs" },
                    message: format!("{register}: {}, the log gives {}", reported.short(), replayed.short()),
                    hint: candidates.is_empty().then(|| hint.to_owned()),
                });
                for candidate in candidates {
                    let event = replay.events.iter().find(|event| event.index == candidate.event);
                    section.problems.extend(event.map(|event| Problem {
                        code: "ccel-event",
                        message: format!("{event}: {}", candidate.reason.text()),
                        hint: None,
                    }));
                }
            }
        }
        for event in replay.measured_into(register) {
            section = section.claim(format!("{} {}", event.index, event.kind), text(event));
        }
        sections.push(section);
    }
    sections
}

fn text(event: &Event) -> Value {
    match event.data {
        DataCheck::Unverifiable => Value::peer_text(&format!("{} (label)", event.description)),
        DataCheck::Matches | DataCheck::Contradicts { .. } | DataCheck::NotMeasured => {
            Value::peer_text(&event.description)
        }
    }
}

fn count(replay: &Replay, which: impl Fn(&Event) -> bool) -> usize {
    replay.events.iter().filter(|event| which(event)).count()
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
