//! `cargo xtask ci`: what `.ci/run` calls, and what a person runs before handing work in.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;
use clap::Args;

use crate::demo::{DemoArgs, Example};
use crate::failure::negative;
use crate::test::{Summary, TestArgs};
use crate::workspace::{self, Metadata};
use crate::{check, demo, packages, proc, test};

/// Options of the command.
#[derive(Args, Debug)]
pub(crate) struct CiArgs {
    /// Where the demo's report goes
    #[arg(long, value_name = "FILE", default_value = "target/demo.json")]
    json: PathBuf,
}

/// Packages, check, tests, demo. Goes on after a failure, so that one run shows all there is to see.
pub(crate) fn run(args: &CiArgs) -> Result<()> {
    packages::ensure(true)?;
    let mut stages = Stages::default();
    stages.add("check", check::run())?;
    let mut summary = Summary::default();
    let tests = test::test(&TestArgs { yes: true, ..TestArgs::default() }).and_then(|(read, ok)| {
        summary = read;
        if ok { Ok(()) } else { Err(negative("tests failed", "")) }
    });
    stages.add("test", tests)?;
    stages.add("oracles", oracles())?;
    let demo = DemoArgs { json: Some(args.json.clone()), yes: true, ..DemoArgs::default() };
    stages.add("demo", demo::run(&demo))?;
    let web = DemoArgs { example: Example::Web, yes: true, ..DemoArgs::default() };
    stages.add("demo of the web example", demo::run(&web))?;

    if std::env::var("CI").as_deref() == Ok("true") {
        stages.add("nothing changed", unchanged())?;
    }

    // The stages count like tests: a demo that fails must not end under a line that says `0 failed`.
    summary.passed += stages.passed;
    summary.failed += stages.failed.len();
    test::print_summary(&summary);
    if stages.failed.is_empty() {
        return Ok(());
    }
    Err(negative(
        &format!("failed: {}", stages.failed.join(", ")),
        "`./x check`, `./x test` and `./x demo` run one each",
    ))
}

/// The second implementations that check ours: a workspace of their own, so that nothing of theirs is in what ships.
fn oracles() -> Result<()> {
    let metadata = Metadata::load()?;
    let mut command = workspace::cargo();
    command.current_dir(metadata.workspace_root.join("oracles")).args(["test", "--locked", "--target-dir"]);
    command.arg(metadata.target_directory.join("oracles"));
    if std::env::var_os("CASEMATE_EVIDENCE").is_some() {
        command.args(["--", "--include-ignored"]);
    }
    note!("$ {} (in oracles/)", proc::shown("cargo", &command.get_args().collect::<Vec<_>>()));
    proc::run(&mut command)
}

/// A lock file or a golden file that a build rewrites was not up to date when it was committed.
fn unchanged() -> Result<()> {
    let changed = proc::output(Command::new("git").args(["diff", "--name-only"]))?;
    if changed.is_empty() {
        return Ok(());
    }
    let list = changed.lines().collect::<Vec<_>>().join(", ");
    Err(negative(&format!("building or testing changed {list}"), "commit what it changed, or find out why it did"))
}

#[derive(Default)]
struct Stages {
    passed: usize,
    failed: Vec<&'static str>,
}

impl Stages {
    fn add(&mut self, name: &'static str, result: Result<()>) -> Result<()> {
        proc::check_interrupt()?;
        match result {
            Ok(()) => self.passed += 1,
            Err(error) => {
                note!("ci: {name} failed");
                crate::failure::report(&error);
                self.failed.push(name);
            }
        }
        Ok(())
    }
}
