//! Which steps are done.

use serde::{Deserialize, Serialize};

use super::{Step, StepName};

/// The journal's file, in the work folder.
pub const JOURNAL: &str = "deploy.json";
/// LIMIT: thirteen names and two digests; anything longer is another file.
const MAX_JOURNAL: usize = 4096;
const FORMAT: u32 = 1;

/// What was done of a plan.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Journal {
    version: u32,
    /// Digest of the plan's commands: another plan has other steps behind the same names.
    plan: String,
    /// Digest of the user's resources.
    resources: String,
    done: Vec<StepName>,
}

/// Why a journal cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// It is longer than any journal.
    #[error("it has {length} bytes, and a journal has {limit} at most")]
    TooLong {
        /// What it has.
        length: usize,
        /// What it may have.
        limit: usize,
    },
    /// It is no journal.
    #[error("it is no journal")]
    Malformed(#[source] serde_json::Error),
    /// It is one of a later release.
    #[error("it is of format {found}, and this release knows format {known}")]
    Version {
        /// Its format.
        found: u32,
        /// Ours.
        known: u32,
    },
}

impl Journal {
    /// One in which nothing is done.
    pub fn new(plan: String, resources: String) -> Self {
        Self { version: FORMAT, plan, resources, done: Vec::new() }
    }

    /// The same steps, done for this plan and these resources.
    #[must_use]
    pub fn of(self, plan: String, resources: String) -> Self {
        Self { plan, resources, ..self }
    }

    /// Reads one.
    pub fn parse(text: &str) -> Result<Self, JournalError> {
        if text.len() > MAX_JOURNAL {
            return Err(JournalError::TooLong { length: text.len(), limit: MAX_JOURNAL });
        }
        let journal: Self = serde_json::from_str(text).map_err(JournalError::Malformed)?;
        if journal.version != FORMAT {
            return Err(JournalError::Version { found: journal.version, known: FORMAT });
        }
        Ok(journal)
    }

    /// As it is written.
    pub fn text(&self) -> String {
        // A struct of strings and numbers always has a JSON form.
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// Notes that a step is done.
    pub fn done(&mut self, step: StepName) {
        if !self.done.contains(&step) {
            self.done.push(step);
        }
    }

    /// Forgets a step and all after it: they are about to be run again.
    pub fn rewind(&mut self, step: StepName) {
        self.done.retain(|done| *done < step);
    }
}

/// Where a run begins, and why there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    /// At the beginning: nothing is known of earlier runs.
    Fresh,
    /// At the beginning: the last run was for something else.
    OtherPlan,
    /// At the beginning: the last run did everything.
    Complete,
    /// Where the last run stopped.
    Resume(StepName),
    /// At the first step that reads resources: they changed.
    Changed(StepName),
    /// Where the user said.
    Asked(StepName),
}

impl Start {
    /// The first step to run.
    pub fn step(self) -> StepName {
        match self {
            Self::Fresh | Self::OtherPlan | Self::Complete => StepName::Check,
            Self::Resume(step) | Self::Changed(step) | Self::Asked(step) => step,
        }
    }
}

/// Where to begin. `Err` is a step that the user asked for and the plan lacks.
pub fn start(
    plan: &[Step],
    digests: (&str, &str),
    journal: Option<&Journal>,
    from: Option<StepName>,
) -> Result<Start, StepName> {
    if let Some(from) = from {
        let known = plan.iter().any(|step| step.name == from);
        return if known { Ok(Start::Asked(from)) } else { Err(from) };
    }
    let Some(journal) = journal else { return Ok(Start::Fresh) };
    if journal.plan != digests.0 {
        return Ok(Start::OtherPlan);
    }
    let Some(next) = plan.iter().map(|step| step.name).find(|name| !journal.done.contains(name)) else {
        return Ok(Start::Complete);
    };
    if journal.done.is_empty() {
        return Ok(Start::Fresh);
    }
    let reads = plan.iter().map(|step| step.name).find(|name| [StepName::Generate, StepName::Apply].contains(name));
    match reads {
        Some(reads) if journal.resources != digests.1 && reads < next => Ok(Start::Changed(reads)),
        _ => Ok(Start::Resume(next)),
    }
}
