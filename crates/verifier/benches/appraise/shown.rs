//! The figures, for people and as JSON.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use crate::clock::Spread;

/// How much more than its unavoidable signature checks an appraisal may cost.
const AIM: f64 = 1.15;

/// Everything that one run measured. Rates are per second.
#[derive(Serialize, Debug)]
pub(crate) struct Figures {
    rounds: usize,
    round_ms: u64,
    aim: f64,
    pub(crate) raw: Vec<Raw>,
    pub(crate) rows: Vec<Row>,
    /// What devices add to the appraisal of their TEE.
    pub(crate) added: Vec<Added>,
}

/// Verifications by the crypto library alone.
#[derive(Serialize, Debug)]
pub(crate) struct Raw {
    pub(crate) name: &'static str,
    pub(crate) parsed_each_time: Spread,
    pub(crate) kept: Spread,
}

/// Appraisals of one kind of Evidence.
#[derive(Serialize, Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) unavoidable: String,
    pub(crate) evidence_bytes: usize,
    pub(crate) appraisals: Spread,
    pub(crate) checks: Spread,
    pub(crate) ratio: Spread,
    pub(crate) allocations: u64,
    pub(crate) allocated_bytes: u64,
}

/// A composite appraisal less that of its TEE alone: the cost of the devices, from the medians.
#[derive(Serialize, Debug)]
pub(crate) struct Added {
    name: String,
    appraisals: f64,
    checks: f64,
    ratio: f64,
}

impl Figures {
    pub(crate) fn new(rounds: usize, round: Duration) -> Self {
        let round_ms = u64::try_from(round.as_millis()).unwrap_or(u64::MAX);
        Self { rounds, round_ms, aim: AIM, raw: Vec::new(), rows: Vec::new(), added: Vec::new() }
    }

    /// Works out what devices add.
    pub(crate) fn derive(&mut self) {
        let Some(alone) = self.rows.iter().find(|row| row.name == super::cases::ALONE) else { return };
        let prefix = format!("{} + ", super::cases::ALONE);
        let less = |both: &Spread, one: &Spread| 1.0 / (1.0 / both.median - 1.0 / one.median);
        self.added = self
            .rows
            .iter()
            .filter_map(|row| {
                let name = row.name.strip_prefix(&prefix)?.to_owned();
                let (appraisals, checks) = (less(&row.appraisals, &alone.appraisals), less(&row.checks, &alone.checks));
                Some(Added { name, appraisals, checks, ratio: checks / appraisals })
            })
            .collect();
    }

    /// As a text.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(text, "{} rounds of {} ms for each row; rates per second\n", self.rounds, self.round_ms);
        let _ = writeln!(text, "{:<34} {:>14} {:>22}", "signature checks", "key kept", "key parsed each time");
        for Raw { name, parsed_each_time, kept } in &self.raw {
            let _ = writeln!(text, "{name:<34} {:>14.0} {:>22.0}", kept.median, parsed_each_time.median);
        }
        let _ = writeln!(
            text,
            "\n{:<34} {:>10} {:<18} {:>10}  {:<19} {:>7} {:>8}",
            "appraisals", "rate", "unavoidable", "rate", "ratio [min..max]", "allocs", "bytes"
        );
        for row in &self.rows {
            let ratio = format!("{:.3} [{:.3}..{:.3}]", row.ratio.median, row.ratio.least, row.ratio.most);
            let late = if row.ratio.median > self.aim { "!" } else { " " };
            let _ = writeln!(
                text,
                "{:<34} {:>10.0} {:<18} {:>10.0} {late}{ratio:<20} {:>6} {:>8}",
                row.name,
                row.appraisals.median,
                row.unavoidable,
                row.checks.median,
                row.allocations,
                row.allocated_bytes
            );
        }
        if !self.added.is_empty() {
            let _ =
                writeln!(text, "\n{:<34} {:>10} {:<18} {:>10}  ratio", "devices alone, by difference", "rate", "", "");
        }
        for Added { name, appraisals, checks, ratio } in &self.added {
            let late = if *ratio > self.aim { "!" } else { " " };
            let _ = writeln!(text, "{name:<34} {appraisals:>10.0} {:<18} {checks:>10.0} {late}{ratio:.3}", "");
        }
        let _ = writeln!(text, "\n! misses the aim of {}", self.aim);
        text
    }
}
