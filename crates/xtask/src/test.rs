//! `cargo xtask test`: every test of the workspace, and a table of what was skipped and why.
//!
//! A test that cannot run here (no root, no TEE, no evidence corpus) prints `SKIPPED: reason` and passes. That is never
//! silent: the line is collected, and a table of them ends the run.

use std::process::Command;

use anyhow::Result;
use clap::Args;

use crate::failure::negative;
use crate::proc::{self, Stream};
use crate::{packages, workspace};

/// Options of the command.
#[derive(Args, Debug, Default)]
pub(crate) struct TestArgs {
    /// Install missing packages without asking
    #[arg(long)]
    pub(crate) yes: bool,
    /// Only the tests of this crate; may be repeated
    #[arg(long, short, value_name = "CRATE")]
    pub(crate) package: Vec<String>,
    /// Only tests whose name contains this
    pub(crate) filter: Option<String>,
}

/// What the tests of a run added up to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) ignored: usize,
    /// Test and reason: tests that ran, and said that they could not do anything.
    pub(crate) skipped: Vec<(String, String)>,
    /// What did not even start, and so counts as ignored.
    pub(crate) skipped_beside: Vec<(String, String)>,
}

/// The command.
pub(crate) fn run(args: &TestArgs) -> Result<()> {
    let (summary, ok) = test(args)?;
    print_summary(&summary);
    if ok { Ok(()) } else { Err(negative("tests failed", "the failures are above; `./x test NAME` runs one again")) }
}

/// Runs the tests; also says whether cargo was content, which it is not when something does not compile.
pub(crate) fn test(args: &TestArgs) -> Result<(Summary, bool)> {
    packages::ensure(args.yes)?;
    // Scenarios run the real binaries, and cargo does not know that.
    workspace::build_product(false)?;
    let mut command = cargo_test(args);
    command.args(&args.filter);
    note!("$ {}", proc::shown("cargo", &command.get_args().collect::<Vec<_>>()));
    // Without this, libtest swallows what a passing test printed.
    command.args(["--", "--show-output"]);
    let (mut summary, mut ok) = run_and_read(&mut command)?;
    if args.filter.is_none() {
        ok &= corpus(args, &mut summary)?;
    }
    Ok((summary, ok))
}

fn cargo_test(args: &TestArgs) -> Command {
    let mut command = workspace::cargo();
    command.arg("test").arg("--no-fail-fast");
    if args.package.is_empty() {
        command.arg("--workspace");
    }
    for package in &args.package {
        command.args(["-p", package]);
    }
    command
}

/// Tests on Evidence that real hardware signed are ignored where it is not at hand, because nothing of it is in this
/// repository. Where it is, they run here.
fn corpus(args: &TestArgs, summary: &mut Summary) -> Result<bool> {
    if std::env::var_os("CASEMATE_EVIDENCE").is_none() {
        let reason = "CASEMATE_EVIDENCE is not set; `./x evidence` fetches the corpus and says how to set it";
        note!("SKIPPED: every test on evidence of real hardware: {reason}");
        summary.skipped_beside.push(("tests on evidence of real hardware".to_owned(), reason.to_owned()));
        return Ok(true);
    }
    let mut command = cargo_test(args);
    command.args(["corpus_", "--", "--ignored", "--show-output"]);
    note!("$ {}", proc::shown("cargo", &command.get_args().collect::<Vec<_>>()));
    let (read, ok) = run_and_read(&mut command)?;
    if read.passed + read.failed == 0 {
        return Err(negative("no test on evidence of real hardware ran", "did their names lose the prefix `corpus_`?"));
    }
    summary.ignored = summary.ignored.saturating_sub(read.passed + read.failed);
    summary.passed += read.passed;
    summary.failed += read.failed;
    summary.skipped.extend(read.skipped);
    Ok(ok)
}

fn run_and_read(command: &mut Command) -> Result<(Summary, bool)> {
    let mut reader = Reader::default();
    let status = proc::stream(command, false, |stream, line| match stream {
        Stream::Err => note!("{line}"),
        Stream::Out if reader.read(line) => out!("{line}"),
        Stream::Out => {}
    })?;
    Ok((reader.summary, status.success()))
}

/// Prints the table of skipped tests and the closing line that CI looks for.
pub(crate) fn print_summary(summary: &Summary) {
    if !summary.skipped.is_empty() || !summary.skipped_beside.is_empty() {
        out!("\nskipped:");
        for (test, reason) in summary.skipped.iter().chain(&summary.skipped_beside) {
            out!("  {test}: {reason}");
        }
    }
    if summary.ignored > 0 {
        out!("\n{} tests are ignored (slow or special; `cargo test -- --ignored` runs them)", summary.ignored);
    }
    // A skipped test reported itself as passed; here it does not count as that.
    let skipped = summary.skipped.len();
    let passed = summary.passed.saturating_sub(skipped);
    out!("\n{passed} passed, {} failed, {skipped} skipped", summary.failed);
}

/// Reads what libtest prints.
#[derive(Default)]
struct Reader {
    summary: Summary,
    /// Inside the block that repeats the output of passing tests.
    in_successes: bool,
    /// The test whose output is being read.
    current: String,
}

impl Reader {
    /// Takes a line, and says whether a person wants to see it.
    fn read(&mut self, line: &str) -> bool {
        match line {
            "successes:" => self.in_successes = true,
            "failures:" => self.in_successes = false,
            _ => {}
        }
        if let Some(rest) = line.strip_prefix("test result: ") {
            self.in_successes = false;
            self.summary.passed += count(rest, "passed");
            self.summary.failed += count(rest, "failed");
            self.summary.ignored += count(rest, "ignored");
        } else if let Some(name) = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----")) {
            name.clone_into(&mut self.current);
        } else if let Some((_, reason)) = line.split_once("SKIPPED: ") {
            let entry = (self.current.clone(), reason.to_owned());
            // A test that skips in a loop says so once.
            if !self.summary.skipped.iter().any(|(test, _)| *test == entry.0) {
                self.summary.skipped.push(entry);
            }
        }
        !self.in_successes
    }
}

/// The number before a word: `3` in `ok. 3 passed; 0 failed`.
fn count(text: &str, word: &str) -> usize {
    let before = text.split(word).next().filter(|before| before.len() < text.len());
    before.and_then(|before| before.trim_end().rsplit(' ').next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
running 3 tests
test a::yes ... ok
test a::no_tee ... ok
test a::no ... FAILED

successes:

---- a::no_tee stdout ----
SKIPPED: no TEE
SKIPPED: no TEE, said again


successes:
    a::no_tee
    a::yes

failures:

---- a::no stdout ----
why it failed

failures:
    a::no

test result: FAILED. 2 passed; 1 failed; 4 ignored; 0 measured; 0 filtered out; finished in 0.00s
";

    #[test]
    fn results_are_added_up_and_skips_are_collected_by_test() {
        let mut reader = Reader::default();
        let seen: Vec<&str> = OUTPUT.lines().chain(OUTPUT.lines()).filter(|line| reader.read(line)).collect();
        let skipped = vec![("a::no_tee".to_owned(), "no TEE".to_owned())];
        assert_eq!(reader.summary, Summary { passed: 4, failed: 2, ignored: 8, skipped, ..Summary::default() });
        assert!(seen.contains(&"why it failed") && seen.contains(&"test a::yes ... ok"));
        assert!(!seen.iter().any(|line| line.contains("SKIPPED") || *line == "    a::yes"), "{seen:#?}");
    }

    #[test]
    fn a_line_without_the_word_counts_nothing() {
        assert_eq!(count("ok. 12 passed; 0 failed", "passed"), 12);
        assert_eq!(count("ok.", "passed"), 0);
    }
}
