//! All checks together: which of them ran, what came of it, as text and as JSON.

use std::collections::{BTreeMap, BTreeSet};

use protocol::text::printable;
use serde_json::{Value, json};

use crate::bundle::{Bundle, Unknown};
use crate::checks::{Area, CATCH_ALL, CHECKS, Check};
use crate::finding::{Finding, Findings, Severity, Subject};

/// LIMIT: subjects that are named in one place; the rest is a number.
const NAMED: usize = 3;
/// LIMIT: checks that are named in one line; a cluster that does not answer leaves nearly all without one.
const LISTED: usize = 10;

/// Which checks are wanted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Selection {
    only: BTreeSet<String>,
    skip: BTreeSet<String>,
}

/// A name that no check has.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("there is no check `{id}`")]
pub struct UnknownCheck {
    /// The name.
    pub id: String,
}

impl Selection {
    /// Every check.
    pub fn all() -> Self {
        Self::default()
    }

    /// Only some, or all but some, by their ids.
    ///
    /// # Errors
    /// When an id is no check's: a misspelt `--skip` would else go unnoticed.
    pub fn new(only: &[String], skip: &[String]) -> Result<Self, UnknownCheck> {
        let stranger = only.iter().chain(skip).find(|id| CHECKS.iter().all(|check| check.id != id.as_str()));
        if let Some(id) = stranger {
            return Err(UnknownCheck { id: id.clone() });
        }
        Ok(Self { only: only.iter().cloned().collect(), skip: skip.iter().cloned().collect() })
    }

    fn takes(&self, id: &str) -> bool {
        (self.only.is_empty() || self.only.contains(id)) && !self.skip.contains(id)
    }
}

/// What came of one check.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The check.
    pub check: &'static Check,
    /// What is wrong.
    pub found: Vec<Finding>,
    /// What it could not look at.
    pub unknown: Vec<Unknown>,
    /// How many findings more there were than one check may have.
    pub left_out: usize,
}

impl Outcome {
    /// Whether something that was asked for could not be had.
    pub fn could_not_tell(&self) -> bool {
        self.unknown.iter().any(|unknown| matches!(unknown, Unknown::NoAnswer { .. }))
    }

    fn not_asked(&self) -> impl Iterator<Item = &'static str> {
        self.unknown.iter().filter_map(|unknown| match unknown {
            Unknown::NotAsked { what } => Some(*what),
            Unknown::NoAnswer { .. } => None,
        })
    }

    /// In one word.
    pub fn state(&self) -> &'static str {
        match self {
            _ if !self.found.is_empty() => "found",
            _ if self.could_not_tell() => "could-not-tell",
            _ if !self.unknown.is_empty() => "not-asked",
            _ => "well",
        }
    }
}

/// What came of all of them.
#[derive(Clone, Debug)]
pub struct Report {
    /// In the order of the checks.
    pub outcomes: Vec<Outcome>,
}

/// What a report comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// Nothing is wrong: exit status 0. There may be warnings.
    Well,
    /// There is a problem: 1.
    Problems,
    /// No problem was found, and not everything could be looked at: 2.
    CouldNotTell,
}

/// Runs checks, in parallel: they share nothing but the bundle.
pub fn examine(bundle: &Bundle, selection: &Selection) -> Report {
    let chosen: Vec<&'static Check> = CHECKS.iter().filter(|check| selection.takes(check.id)).collect();
    let run = |check: &'static Check| {
        let mut findings = Findings::default();
        if let Err(unknown) = (check.run)(bundle, &mut findings) {
            findings.unknown(unknown);
        }
        let Findings { mut found, unknown, left_out } = findings;
        found.sort();
        Outcome { check, found, unknown, left_out }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
    let share = chosen.len().div_ceil(threads).max(1);
    let mut outcomes: Vec<Outcome> = std::thread::scope(|scope| {
        let workers: Vec<_> = chosen
            .chunks(share)
            .map(|checks| (checks, scope.spawn(move || checks.iter().map(|check| run(check)).collect::<Vec<_>>())))
            .collect();
        let lost = |checks: &[&'static Check]| {
            // A check that panics is a bug of ours. It costs its own answers, and says so.
            let why = "the check itself failed, which is a bug of casemate".to_owned();
            let unknown = Unknown::NoAnswer { what: "its answer".to_owned(), why };
            let outcome =
                |check: &&'static Check| Outcome { check, found: vec![], unknown: vec![unknown.clone()], left_out: 0 };
            checks.iter().map(outcome).collect()
        };
        workers.into_iter().flat_map(|(checks, worker)| worker.join().unwrap_or_else(|_| lost(checks))).collect()
    });
    explained(&mut outcomes);
    Report { outcomes }
}

/// A pod that is not ready is no news where another check says why.
fn explained(outcomes: &mut [Outcome]) {
    let others = outcomes.iter().filter(|outcome| outcome.check.id != CATCH_ALL);
    let told: BTreeSet<Subject> =
        others.flat_map(|outcome| &outcome.found).map(|finding| finding.subject.clone()).collect();
    for outcome in outcomes.iter_mut().filter(|outcome| outcome.check.id == CATCH_ALL) {
        outcome.found.retain(|finding| !told.contains(&finding.subject));
    }
}

impl Report {
    /// What it comes to.
    pub fn exit(&self) -> Exit {
        if self.count(Severity::Problem) > 0 {
            Exit::Problems
        } else if self.outcomes.iter().any(Outcome::could_not_tell) {
            Exit::CouldNotTell
        } else {
            Exit::Well
        }
    }

    /// How many findings there are of a kind.
    pub fn count(&self, severity: Severity) -> usize {
        let found = self.outcomes.iter().flat_map(|outcome| &outcome.found);
        found.filter(|finding| finding.severity == severity).count()
    }

    /// For people: findings by area, then what could not be told, then a line that sums up.
    pub fn text(&self) -> String {
        let mut paragraphs = Vec::new();
        for area in Area::ALL {
            let outcomes = self.outcomes.iter().filter(|outcome| outcome.check.area == area);
            let findings: Vec<String> = outcomes.flat_map(paragraphs_of).collect();
            if !findings.is_empty() {
                paragraphs.push(format!("{}\n\n{}", area.name(), findings.join("\n\n")));
            }
        }
        if let Some(text) = self.unknown_text() {
            paragraphs.push(text);
        }
        paragraphs.push(self.summary());
        paragraphs.join("\n\n")
    }

    fn unknown_text(&self) -> Option<String> {
        let mut checks: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for outcome in &self.outcomes {
            for unknown in outcome.unknown.iter().filter(|unknown| matches!(unknown, Unknown::NoAnswer { .. })) {
                checks.entry(printable(&unknown.to_string())).or_default().push(outcome.check.id);
            }
        }
        let line = |(why, ids): (String, Vec<&str>)| match ids.len() {
            0..=LISTED => format!("  {why}\n    so these could not tell: {}", ids.join(", ")),
            more => format!("  {why}\n    so {more} checks could not tell"),
        };
        let lines = checks.into_iter().map(line);
        let lines: Vec<String> = lines.collect();
        (!lines.is_empty()).then(|| format!("Could not tell\n\n{}", lines.join("\n")))
    }

    /// One line.
    pub fn summary(&self) -> String {
        let states = |state: &str| self.outcomes.iter().filter(|outcome| outcome.state() == state).count();
        let not_asked = states("not-asked");
        let looked = self.outcomes.len().saturating_sub(not_asked);
        let (problems, warnings) = (self.count(Severity::Problem), self.count(Severity::Warning));
        let untold = self.outcomes.iter().filter(|outcome| outcome.could_not_tell()).count();
        let mut parts = Vec::new();
        if problems > 0 {
            parts.push(counted(problems, "problem"));
        }
        if warnings > 0 {
            parts.push(counted(warnings, "warning"));
        }
        if untold > 0 {
            parts.push(format!("{untold} could not tell"));
        }
        let checks = counted(looked, "check");
        let mut line =
            if parts.is_empty() { format!("{checks}, all well") } else { format!("{checks}: {}", parts.join(", ")) };
        if looked == 0 {
            "nothing was looked at".clone_into(&mut line);
        }
        if not_asked > 0 {
            let wants: BTreeSet<&str> = self
                .outcomes
                .iter()
                .filter(|outcome| outcome.state() == "not-asked")
                .flat_map(Outcome::not_asked)
                .collect();
            let wants: Vec<&str> = wants.into_iter().collect();
            line.push_str(&format!(" ({not_asked} more with {})", wants.join(", ")));
        }
        line
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let checks: Vec<Value> = self
            .outcomes
            .iter()
            .map(|outcome| {
                let unknown: Vec<String> = outcome.unknown.iter().map(ToString::to_string).collect();
                json!({
                    "id": outcome.check.id,
                    "about": outcome.check.about,
                    "state": outcome.state(),
                    "findings": outcome.found,
                    "findings_left_out": outcome.left_out,
                    "could_not_tell": unknown,
                })
            })
            .collect();
        let answer = match self.exit() {
            Exit::Well => "well",
            Exit::Problems => "problems",
            Exit::CouldNotTell => "could-not-tell",
        };
        json!({
            "answer": answer,
            "problems": self.count(Severity::Problem),
            "warnings": self.count(Severity::Warning),
            "checks": checks,
        })
    }
}

fn counted(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// The findings of one check; those that differ in their subject alone are one paragraph.
fn paragraphs_of(outcome: &Outcome) -> Vec<String> {
    let mut merged: Vec<(&Finding, Vec<String>)> = Vec::new();
    for finding in &outcome.found {
        let same = |other: &Finding| {
            (other.severity, &other.what, &other.why, &other.mend, &other.commands)
                == (finding.severity, &finding.what, &finding.why, &finding.mend, &finding.commands)
        };
        let subject = finding.subject.to_string();
        match merged.iter_mut().find(|(other, _)| same(other)) {
            Some((_, subjects)) => subjects.push(subject),
            None => merged.push((finding, vec![subject])),
        }
    }
    let mut paragraphs: Vec<String> =
        merged.into_iter().map(|(finding, subjects)| paragraph(outcome.check.id, finding, &subjects)).collect();
    if outcome.left_out > 0 {
        paragraphs.push(format!("  {} more of `{}` are left out", outcome.left_out, outcome.check.id));
    }
    paragraphs
}

fn paragraph(id: &str, finding: &Finding, subjects: &[String]) -> String {
    let named = subjects.get(..NAMED.min(subjects.len())).unwrap_or_default().join(", ");
    let more = subjects.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let mut lines = vec![format!("  {}  {named}{more}  ({id})", finding.severity.name())];
    lines.push(format!("    {}", finding.what));
    for (title, text) in [("why ", &finding.why), ("mend", &finding.mend)] {
        if !text.is_empty() {
            lines.push(format!("    {title}  {text}"));
        }
    }
    lines.extend(finding.commands.iter().map(|command| format!("          $ {command}")));
    let lines: Vec<String> = lines.iter().map(|line| printable(line)).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_looked_up_before_anything_is_done() {
        let id = |text: &str| vec![text.to_owned()];
        assert_eq!(Selection::new(&id("clok"), &[]), Err(UnknownCheck { id: "clok".to_owned() }));
        assert_eq!(Selection::new(&[], &id("clok")), Err(UnknownCheck { id: "clok".to_owned() }));
        let only = Selection::new(&id("clock"), &[]).unwrap();
        assert!(only.takes("clock") && !only.takes("image-name"));
        let skip = Selection::new(&[], &id("clock")).unwrap();
        assert!(!skip.takes("clock") && skip.takes("image-name"));
    }

    #[test]
    fn what_was_not_asked_for_is_not_what_could_not_be_told() {
        let report = examine(&Bundle::default(), &Selection::all());
        assert_eq!(report.exit(), Exit::Well);
        assert!(report.summary().starts_with("nothing was looked at"), "{}", report.summary());
        let cluster = crate::bundle::Cluster { unreachable: Some("no route".to_owned()), ..Default::default() };
        let bundle = Bundle { cluster: Some(cluster), ..Bundle::default() };
        let selection = Selection::new(&[], &["cluster".to_owned()]).unwrap();
        assert_eq!(examine(&bundle, &selection).exit(), Exit::CouldNotTell);
    }

    #[test]
    fn findings_that_differ_in_their_subject_are_told_once() {
        let finding = |name: &str| Finding::problem(Subject::named("Pod", Some("shop"), name), "It sleeps.").why("zzz");
        let check = CHECKS.first().expect("a check");
        let found = ["a", "b", "c", "d", "e"].map(finding).to_vec();
        let outcome = Outcome { check, found, unknown: vec![], left_out: 2 };
        expect_test::expect![[r#"
            Pods
              problem  Pod shop/a, Pod shop/b, Pod shop/c and 2 more  (cluster)
                It sleeps.
                why   zzz
              2 more of `cluster` are left out"#]]
        .assert_eq(&format!("Pods\n{}", paragraphs_of(&outcome).join("\n")));
    }
}
