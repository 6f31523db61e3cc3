//! The layers of a verification: each is judged on its own, so that an explanation can show all of them, and all must hold.

use crate::error::VerifyError;

/// What [`Outcome::Skipped`] needs where nobody said which report data to expect: only a person who looks at a file may
/// leave that open.
pub(crate) const EXPECTED_REPORT_DATA: &str = "the report data to expect";
/// Likewise for the nonce of devices.
pub(crate) const EXPECTED_NONCE: &str = "a nonce to compare with";

/// What came of one layer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It holds.
    Holds,
    /// It does not hold, or that could not be told: [`VerifyError::is_refusal`] says which.
    Fails(VerifyError),
    /// It was not judged, because another layer, or something to compare with, is missing.
    Skipped {
        /// The name of that.
        needs: &'static str,
    },
}

impl Outcome {
    /// Whether it holds.
    pub fn holds(&self) -> bool {
        matches!(self, Self::Holds)
    }

    /// The error, if that is what came of it.
    pub fn error(&self) -> Option<&VerifyError> {
        match self {
            Self::Fails(error) => Some(error),
            Self::Holds | Self::Skipped { .. } => None,
        }
    }
}

impl<E: Into<VerifyError>> From<Result<(), E>> for Outcome {
    fn from(result: Result<(), E>) -> Self {
        match result {
            Ok(()) => Self::Holds,
            Err(error) => Self::Fails(error.into()),
        }
    }
}

/// The verdict over all layers: every one has to hold. A "no" goes before a "could not tell", because what is known to be
/// wrong stays wrong whatever else comes to light.
pub(crate) fn demand_all(layers: &[(&'static str, &Outcome)]) -> Result<(), VerifyError> {
    let errors = || layers.iter().filter_map(|(_, outcome)| outcome.error());
    if let Some(error) = errors().find(|error| error.is_refusal()).or_else(|| errors().next()) {
        return Err(error.clone());
    }
    match layers.iter().find(|(_, outcome)| !outcome.holds()) {
        None => Ok(()),
        // A layer is skipped only where another failed, or where an explanation has nothing to compare with; a
        // verification has both. If it happens all the same, it is not a yes.
        Some((layer, _)) => Err(VerifyError::NotJudged { layer }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no() -> Outcome {
        Outcome::Fails(VerifyError::TooLong { got: 2, limit: 1 })
    }

    fn unknown() -> Outcome {
        Outcome::Fails(VerifyError::NotJudged { layer: "x" })
    }

    #[test]
    fn all_layers_must_hold() {
        let holds = Outcome::Holds;
        assert_eq!(demand_all(&[("a", &holds), ("b", &holds)]), Ok(()));
        let skipped = Outcome::Skipped { needs: "a" };
        assert_eq!(demand_all(&[("a", &holds), ("b", &skipped)]), Err(VerifyError::NotJudged { layer: "b" }));
    }

    #[test]
    fn a_no_goes_before_a_could_not_tell() {
        let (no, unknown) = (no(), unknown());
        assert!(demand_all(&[("a", &unknown), ("b", &no)]).unwrap_err().is_refusal());
        assert!(!demand_all(&[("a", &unknown), ("b", &Outcome::Holds)]).unwrap_err().is_refusal());
    }
}
