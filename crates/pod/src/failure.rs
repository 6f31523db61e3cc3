//! How a command ends. "No" and "could not tell" never look alike: they differ in the type and in the exit status.

use std::fmt;

/// Why a command ended without having done its work.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A negative answer, or a wrong input: exit status 1.
    Refused(anyhow::Error),
    /// Our failure, or the system's or the network's: exit status 2.
    Unknown(anyhow::Error),
}

pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// A negative answer.
    pub(crate) fn refused(error: impl Into<anyhow::Error>) -> Self {
        Self::Refused(error.into())
    }

    /// A failure to come to an answer.
    pub(crate) fn unknown(error: impl Into<anyhow::Error>) -> Self {
        Self::Unknown(error.into())
    }

    /// The exit status.
    pub(crate) fn status(&self) -> u8 {
        match self {
            Self::Refused(_) => 1,
            Self::Unknown(_) => 2,
        }
    }
}

impl fmt::Display for Failure {
    /// The whole chain in one line, as a pod's log wants it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(error) | Self::Unknown(error) => write!(f, "{error:#}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_and_could_not_tell_differ() {
        assert_eq!(Failure::refused(anyhow::anyhow!("x")).status(), 1);
        assert_eq!(Failure::unknown(anyhow::anyhow!("x")).status(), 2);
    }

    #[test]
    fn the_whole_chain_is_told() {
        let error = anyhow::anyhow!("inner").context("outer");
        assert_eq!(Failure::unknown(error).to_string(), "outer: inner");
    }
}
