//! Explanations: what a document claims, who endorses it, what holds, what does not and by how much, in a form that a
//! command line prints as text or JSON. Nothing decides by an explanation: it is made from the same layers that
//! [`crate::Verifier::verify`] demands, and is for people.

use serde::Serialize;

use crate::layer::{EXPECTED_NONCE, EXPECTED_REPORT_DATA, Outcome};
use crate::mismatch::Mismatch;
use crate::value::Value;

/// The verdict on one section.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Nothing was judged here: facts for the reader.
    Note,
    /// Everything in it holds.
    Verified,
    /// Something could not be told.
    Unknown,
    /// Something is wrong.
    Refused,
}

impl Verdict {
    /// The word for it in text.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Note => "noted",
            Self::Verified => "verified",
            Self::Unknown => "could not tell",
            Self::Refused => "refused",
        }
    }
}

/// What stands in the way, and what to do about it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Problem {
    /// A stable name.
    pub code: &'static str,
    /// What is wrong, and by how much.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Whether a layer was left open by the person who asks, who is told so and nothing worse.
fn not_asked(needs: &str) -> bool {
    [EXPECTED_REPORT_DATA, EXPECTED_NONCE].contains(&needs)
}

/// One claim of a document.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Claim {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Value,
}

/// One layer of an explanation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Section {
    /// What it is about, two words at most.
    pub title: String,
    /// What came of it.
    pub verdict: Verdict,
    /// Who vouches for the claims, if somebody does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endorsed_by: Option<String>,
    /// What it says.
    pub claims: Vec<Claim>,
    /// What stands in the way.
    pub problems: Vec<Problem>,
}

impl Section {
    /// A section of facts that are not judged.
    pub fn note(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            verdict: Verdict::Note,
            endorsed_by: None,
            claims: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// A section for the outcome of one layer.
    pub fn layer(title: impl Into<String>, outcome: &Outcome) -> Self {
        let mut section = Self::note(title);
        section.add(outcome);
        section
    }

    /// A section for a comparison with reference values.
    pub fn comparison(title: impl Into<String>, mismatches: &[Mismatch]) -> Self {
        let mut section = Self::note(title);
        section.verdict = match mismatches {
            [] => Verdict::Verified,
            _ if mismatches.iter().all(Mismatch::could_not_tell) => Verdict::Unknown,
            _ => Verdict::Refused,
        };
        section.problems = mismatches
            .iter()
            .map(|mismatch| Problem { code: "mismatch", message: mismatch.to_string(), hint: mismatch.hint.clone() })
            .collect();
        section
    }

    /// A section for something that is wrong in its form.
    pub fn failure(title: impl Into<String>, error: &crate::ccel::CcelError) -> Self {
        let mut section = Self::note(title);
        section.verdict = if error.fault().is_refusal() { Verdict::Refused } else { Verdict::Unknown };
        section.problems.push(Problem { code: error.code(), message: error.to_string(), hint: error.hint() });
        section
    }

    /// A section for an appraisal that was refused as a whole.
    pub fn refusal(title: impl Into<String>, error: &crate::AppraiseError) -> Self {
        let mut section = Self::note(title);
        section.verdict = if error.is_refusal() { Verdict::Refused } else { Verdict::Unknown };
        section.problems.push(Problem { code: "not-accepted", message: error.to_string(), hint: error.hint() });
        section
    }

    /// A section for a refusal in words of our own.
    pub fn refusal_text(title: impl Into<String>, code: &'static str, message: &str) -> Self {
        let mut section = Self::note(title);
        section.verdict = Verdict::Refused;
        section.problems.push(Problem { code, message: message.to_owned(), hint: None });
        section
    }

    /// Adds the outcome of another layer: the section is as good as its worst layer.
    pub fn add(&mut self, outcome: &Outcome) {
        let verdict = match outcome {
            Outcome::Holds => Verdict::Verified,
            Outcome::Fails(error) if error.is_refusal() => Verdict::Refused,
            Outcome::Fails(_) => Verdict::Unknown,
            Outcome::Skipped { needs } if not_asked(needs) => Verdict::Note,
            Outcome::Skipped { .. } => Verdict::Unknown,
        };
        self.verdict = self.verdict.max(verdict);
        match outcome {
            Outcome::Holds => {}
            Outcome::Fails(error) => {
                self.problems.push(Problem { code: error.code(), message: error.chain(), hint: error.hint() });
            }
            Outcome::Skipped { needs } if not_asked(needs) => self.problems.push(Problem {
                code: "not-compared",
                message: format!("not compared: {needs} was not given"),
                hint: None,
            }),
            Outcome::Skipped { needs } => self.problems.push(Problem {
                code: "not-judged",
                message: format!("not judged: it needs {needs}"),
                hint: None,
            }),
        }
    }

    /// The same, with who vouches for it.
    #[must_use]
    pub fn by(mut self, endorser: impl Into<String>) -> Self {
        self.endorsed_by = Some(endorser.into());
        self
    }

    /// The same, with a claim.
    #[must_use]
    pub fn claim(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.claims.push(Claim { name: name.into(), value: value.into() });
        self
    }
}

/// The explanation of one document.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Explanation {
    /// What it is, for people: `SEV-SNP report, version 3`.
    pub subject: String,
    /// The worst verdict of its sections.
    pub verdict: Verdict,
    /// Its layers.
    pub sections: Vec<Section>,
}

impl Explanation {
    /// An explanation of these layers.
    pub fn new(subject: impl Into<String>, sections: Vec<Section>) -> Self {
        let verdict = sections.iter().map(|section| section.verdict).max().unwrap_or(Verdict::Note);
        Self { subject: subject.into(), verdict, sections }
    }
}
