//! What an appraisal found to differ from a reference value, with both values.

use std::fmt;

use serde::Serialize;

use crate::value::Value;

/// How a claim has to relate to what is accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// It is this value.
    Equals,
    /// It is one of these.
    OneOf,
    /// It is at least this.
    AtLeast,
    /// It is at most this.
    AtMost,
    /// Every part of it is among these: bits of a mask, advisories.
    Within,
}

/// One claim that is not accepted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Mismatch {
    /// The JSON path in the reference value's entry, `tcb.reported.microcode`.
    pub field: &'static str,
    /// How it has to relate.
    pub rule: Rule,
    /// What the Evidence says.
    pub reported: Value,
    /// What is accepted.
    pub accepted: Value,
    /// The claim's part that is meant, where the field alone does not say it: an index, a device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
    /// What the user may do about it, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Mismatch {
    /// A mismatch of a whole field.
    pub fn new(field: &'static str, rule: Rule, reported: impl Into<Value>, accepted: impl Into<Value>) -> Self {
        Self { field, rule, reported: reported.into(), accepted: accepted.into(), part: None, hint: None }
    }

    /// Whether this says that something could not be told, rather than that it is wrong.
    pub fn could_not_tell(&self) -> bool {
        self.field == crate::nvidia::COULD_NOT_TELL
    }

    /// The same, of a part of the field.
    #[must_use]
    pub fn part(mut self, part: impl Into<String>) -> Self {
        self.part = Some(part.into());
        self
    }

    /// The same, with advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, reported, accepted, .. } = self;
        f.write_str(field)?;
        if let Some(part) = &self.part {
            write!(f, " ({part})")?;
        }
        match self.rule {
            Rule::Equals => write!(f, ": {reported}, accepted is {accepted}"),
            Rule::OneOf => write!(f, ": {reported}, accepted are {accepted}"),
            Rule::AtLeast => write!(f, ": {reported}, floor {accepted}"),
            Rule::AtMost => write!(f, ": {reported}, ceiling {accepted}"),
            Rule::Within => write!(f, ": {reported}, accepted at most {accepted}"),
        }
    }
}

/// Collects mismatches while an appraisal goes through its fields: all of them, so that a user mends them in one go.
#[derive(Debug, Default)]
pub(crate) struct Comparison {
    mismatches: Vec<Mismatch>,
}

impl Comparison {
    pub(crate) fn equals<T: PartialEq + Clone + Into<Value>>(
        &mut self,
        field: &'static str,
        reported: &T,
        accepted: &T,
    ) {
        if reported != accepted {
            self.push(Mismatch::new(field, Rule::Equals, reported.clone(), accepted.clone()));
        }
    }

    pub(crate) fn one_of<T: PartialEq + Clone + Into<Value>>(
        &mut self,
        field: &'static str,
        reported: &T,
        accepted: &[T],
    ) {
        if !accepted.contains(reported) {
            let accepted: Value = accepted.iter().cloned().collect();
            self.push(Mismatch::new(field, Rule::OneOf, reported.clone(), accepted));
        }
    }

    pub(crate) fn at_least<T: PartialOrd + Copy + Into<Value>>(&mut self, field: &'static str, reported: T, floor: T) {
        if reported < floor {
            self.push(Mismatch::new(field, Rule::AtLeast, reported, floor));
        }
    }

    pub(crate) fn push(&mut self, mismatch: Mismatch) {
        self.mismatches.push(mismatch);
    }

    pub(crate) fn finish(self) -> Result<(), Vec<Mismatch>> {
        if self.mismatches.is_empty() { Ok(()) } else { Err(self.mismatches) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mismatch_shows_both_values() {
        let mut comparison = Comparison::default();
        comparison.at_least("tcb.reported.microcode", 209u8, 213);
        comparison.at_least("tcb.reported.snp", 9u8, 9);
        comparison.equals("vmpl", &1u32, &0);
        comparison.one_of("product", &"Milan", &["Genoa", "Turin"]);
        let shown: Vec<_> = comparison.finish().unwrap_err().iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "tcb.reported.microcode: 209, floor 213",
                "vmpl: 1, accepted is 0",
                "product: Milan, accepted are Genoa, Turin"
            ]
        );
        assert_eq!(Comparison::default().finish(), Ok(()));
    }
}
