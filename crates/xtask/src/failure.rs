//! Errors with advice and an exit status: 1 for a negative answer, 2 for "could not tell".

use std::fmt;

use crate::proc::Interrupted;

/// An error that knows its exit status and what to do next.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    hint: String,
    status: u8,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// A negative answer: something that was checked is wrong.
pub(crate) fn negative(message: &str, hint: impl Into<String>) -> anyhow::Error {
    Failure { message: message.to_owned(), hint: hint.into(), status: 1 }.into()
}

/// Something outside of what was checked went wrong.
pub(crate) fn unknown(message: &str, hint: impl Into<String>) -> anyhow::Error {
    Failure { message: message.to_owned(), hint: hint.into(), status: 2 }.into()
}

/// Prints an error as the whole of Casemate does, and says with which status to exit.
pub(crate) fn report(error: &anyhow::Error) -> u8 {
    note_part!("{}", render(error));
    match error.chain().find_map(|cause| cause.downcast_ref::<Failure>()) {
        Some(failure) => failure.status,
        // What a shell reports for a program that SIGINT ended.
        None if error.downcast_ref::<Interrupted>().is_some() => 130,
        None => 1,
    }
}

fn render(error: &anyhow::Error) -> String {
    let mut text = format!("error: {error}\n");
    for cause in error.chain().skip(1) {
        text.push_str(&format!("caused by: {cause}\n"));
    }
    let hint = error.chain().find_map(|cause| cause.downcast_ref::<Failure>()).map_or("", |failure| &failure.hint);
    if !hint.is_empty() {
        text.push_str(&format!("\nhint: {hint}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn causes_and_advice_come_after_the_error() {
        let error = Err::<(), _>(unknown("no registry", "start one")).context("push images").expect_err("fails");
        assert_eq!(render(&error), "error: push images\ncaused by: no registry\n\nhint: start one\n");
        assert_eq!(report(&error), 2);
    }

    #[test]
    fn a_negative_answer_differs_from_not_knowing_and_from_an_interrupt() {
        assert_eq!(report(&negative("not formatted", "")), 1);
        assert_eq!(report(&anyhow::anyhow!("other")), 1);
        assert_eq!(report(&Interrupted.into()), 130);
    }
}
