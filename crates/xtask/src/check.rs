//! `cargo xtask check`: everything that can be said about the code without running it.

use anyhow::Result;

use crate::failure::negative;
use crate::{proc, tidy, workspace};

type Step = fn() -> Result<()>;

/// The command. Goes on after a finding, so that one run shows them all.
pub(crate) fn run() -> Result<()> {
    let steps: [(&str, Step); 6] = [
        ("formatting", format),
        ("tidy", tidy::run),
        ("clippy", clippy),
        ("fuzz targets", fuzz_targets),
        ("documentation", documentation),
        ("dependencies", deny),
    ];
    let mut wrong = Vec::new();
    for (name, step) in steps {
        note!("check: {name}");
        if let Err(error) = step() {
            proc::check_interrupt()?;
            note!("error: {error:#}");
            wrong.push(name);
        }
    }
    if wrong.is_empty() {
        note!("check: all is well");
        return Ok(());
    }
    Err(negative(&format!("not in order: {}", wrong.join(", ")), "`cargo fmt` and the messages above help"))
}

fn format() -> Result<()> {
    proc::run(workspace::cargo().args(["fmt", "--all", "--check"]))
}

fn clippy() -> Result<()> {
    proc::run(workspace::cargo().args(["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

/// What is compiled for `cargo xtask fuzz` alone, and would otherwise break unseen.
fn fuzz_targets() -> Result<()> {
    let policy = ["clippy", "--quiet", "-p", "policy", "--lib", "--", "--cfg=fuzzing", "-D", "warnings"];
    proc::run(workspace::cargo().args(policy))
}

/// Broken links in the documentation are errors, those of private items too: they are for whoever works here.
fn documentation() -> Result<()> {
    let mut command = workspace::cargo();
    command.args(["doc", "--quiet", "--workspace", "--no-deps", "--document-private-items"]);
    proc::run(command.env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private_intra_doc_links"))
}

/// What `deny.toml` says, where the tool is installed; tidy has checked the bans that matter most in any case.
fn deny() -> Result<()> {
    let here = proc::find_program("cargo-deny").is_some()
        || std::env::home_dir().is_some_and(|home| home.join(".cargo/bin/cargo-deny").is_file());
    if !here {
        note!("SKIPPED: cargo-deny is not installed; `cargo install cargo-deny` gets it");
        return Ok(());
    }
    proc::run(workspace::cargo().args(["deny", "check", "bans", "licenses", "sources"]))?;
    // Advisories need their database from the network; not to reach it is no finding.
    if proc::run(workspace::cargo().args(["deny", "fetch"])).is_err() {
        proc::check_interrupt()?;
        note!("SKIPPED: the advisory database could not be fetched");
        return Ok(());
    }
    proc::run(workspace::cargo().args(["deny", "check", "advisories"]))
}
