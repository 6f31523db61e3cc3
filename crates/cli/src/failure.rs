//! How a command fails: a negative answer (exit 1) or "could not tell" (exit 2), and what to do next.

use std::fmt::Display;
use std::process::ExitCode;

/// Whose failure it is, and so which exit code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Class {
    /// A negative answer: not trusted, or the input is wrong.
    No,
    /// Our failure, the network's or the machine's: nothing is known.
    CouldNotTell,
}

/// A command's failure.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) class: Class,
    pub(crate) error: anyhow::Error,
    pub(crate) hint: Option<String>,
    /// Under `--json` the result, already printed, says it: standard output holds one document.
    pub(crate) told: bool,
}

/// What commands return.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    pub(crate) fn no(error: impl Into<anyhow::Error>) -> Self {
        Self { class: Class::No, error: error.into(), hint: None, told: false }
    }

    pub(crate) fn could_not_tell(error: impl Into<anyhow::Error>) -> Self {
        Self { class: Class::CouldNotTell, error: error.into(), hint: None, told: false }
    }

    /// A negative answer in words.
    pub(crate) fn refuse(message: impl Display) -> Self {
        Self::no(anyhow::anyhow!("{message}"))
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn maybe_hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint.or(self.hint);
        self
    }

    /// The result that was printed under `--json` already says this.
    pub(crate) fn told(mut self, json: bool) -> Self {
        self.told = json;
        self
    }

    /// Puts what was being attempted before the cause.
    pub(crate) fn context(mut self, what: impl Display + Send + Sync + 'static) -> Self {
        self.error = self.error.context(what);
        self
    }

    /// Prints `error:`, the chain of causes and the hint to stderr.
    pub(crate) fn report(&self, json: bool) -> ExitCode {
        let mut causes = self.error.chain();
        let first = causes.next().map(ToString::to_string).unwrap_or_default();
        let causes: Vec<String> = causes.map(ToString::to_string).collect();
        let answer = match self.class {
            Class::No => "no",
            Class::CouldNotTell => "could-not-tell",
        };
        if self.told {
            // Nothing more.
        } else if json {
            let object = serde_json::json!({
                "error": first, "caused_by": causes, "hint": self.hint, "answer": answer,
            });
            crate::output::json(&object);
        } else {
            // Further lines are indented: a peer's text that is quoted here cannot pass for a hint of ours.
            let indented = |text: &str| text.replace('\n', "\n  ");
            crate::output::say(&format!("error: {}", indented(&first)));
            for cause in causes {
                crate::output::say(&format!("  caused by: {}", indented(&cause)));
            }
            if let Some(hint) = &self.hint {
                crate::output::say(&format!("\nhint: {}", indented(hint)));
            }
        }
        ExitCode::from(match self.class {
            Class::No => 1,
            Class::CouldNotTell => 2,
        })
    }
}

impl From<engine::EngineError> for Failure {
    /// The engine classes its own errors and knows what helps.
    fn from(error: engine::EngineError) -> Self {
        let hint = error.hint();
        let failure = if error.is_refusal() { Self::no(error) } else { Self::could_not_tell(error) };
        failure.maybe_hint(hint)
    }
}

impl From<anyhow::Error> for Failure {
    /// An error that nobody classified is not a "no".
    fn from(error: anyhow::Error) -> Self {
        Self::could_not_tell(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_and_could_not_tell_have_their_own_exit_codes() {
        let code = |failure: Failure| format!("{:?}", failure.report(true));
        assert_eq!(code(Failure::refuse("x")), format!("{:?}", ExitCode::from(1)));
        assert_eq!(code(Failure::from(anyhow::anyhow!("x"))), format!("{:?}", ExitCode::from(2)));
    }
}
