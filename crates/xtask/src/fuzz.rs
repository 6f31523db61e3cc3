//! `cargo xtask fuzz TARGET`: libFuzzer over one of the targets in `fuzz/`, for a time, with a bound on memory.
//!
//! It needs the C++ compiler that libFuzzer's runtime is built with, and no other tool: the flags that instrument our code
//! are the compiler's own. What it finds stays in `fuzz/corpus`, where an ordinary test replays it.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::failure::negative;
use crate::proc;
use crate::workspace::{self, Metadata};

/// Options of the command.
#[derive(Args, Debug)]
pub(crate) struct FuzzArgs {
    /// Which parser: a folder of `fuzz/corpus`; without it the targets are listed
    pub(crate) target: Option<String>,
    /// For how long
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    pub(crate) seconds: u32,
    /// Keep what it finds: the smallest inputs that reach new code join the corpus
    #[arg(long)]
    pub(crate) keep: bool,
}

/// LIMIT: a parser of documents that are at most 4 MiB needs no more; growing beyond is a fault.
const MEMORY_MIB: u32 = 1_024;
/// LIMIT: one input that takes longer is a fault.
const SLOWEST_SECONDS: u32 = 5;

/// What makes the compiler count edges and comparisons for libFuzzer.
const INSTRUMENTATION: [&str; 7] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    "--cfg=fuzzing",
];

/// The command.
pub(crate) fn run(args: &FuzzArgs) -> Result<()> {
    let workspace = Metadata::load()?;
    let folder = workspace.workspace_root.join("fuzz");
    let corpus = folder.join("corpus");
    let targets = targets(&corpus)?;
    let Some(target) = &args.target else {
        for target in targets {
            out!("{target}");
        }
        return Ok(());
    };
    if !targets.contains(target) {
        let hint = format!("known are {}", targets.join(", "));
        return Err(negative(&format!("there is no fuzz target `{target}`"), hint));
    }
    let built = workspace.target_directory.join("fuzz");
    note!("building the fuzzer into {}", built.display());
    let mut build = workspace::cargo();
    build.current_dir(&folder).args(["build", "--target-dir"]).arg(&built);
    // The workspace's flags make static binaries, which libFuzzer's C++ runtime cannot be.
    build.env("RUSTFLAGS", INSTRUMENTATION.join(" ")).env("CARGO_TARGET_DIR", &built);
    run_plainly(&mut build, "build the fuzzer")?;

    // New inputs go to a folder of their own, unless they are to be kept.
    let found = built.join("found").join(target);
    std::fs::create_dir_all(&found).with_context(|| format!("make {}", found.display()))?;
    let seeds = corpus.join(target);
    let mut fuzz = Command::new(built.join("x86_64-unknown-linux-gnu/debug/fuzz"));
    fuzz.current_dir(&built).env("CASEMATE_FUZZ_TARGET", target).arg(&found).arg(&seeds).args([
        format!("-max_total_time={}", args.seconds),
        format!("-rss_limit_mb={MEMORY_MIB}"),
        format!("-timeout={SLOWEST_SECONDS}"),
        "-print_final_stats=1".to_owned(),
    ]);
    run_plainly(&mut fuzz, &format!("fuzz `{target}`"))?;
    if args.keep {
        let mut merge = Command::new(built.join("x86_64-unknown-linux-gnu/debug/fuzz"));
        merge.current_dir(&built).env("CASEMATE_FUZZ_TARGET", target).arg("-merge=1").arg(&seeds).arg(&found);
        run_plainly(&mut merge, "keep what is new")?;
    }
    out!("fuzz {target}: no crash in {} s", args.seconds);
    Ok(())
}

fn targets(corpus: &Path) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(corpus).with_context(|| format!("read {}", corpus.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.with_context(|| format!("read {}", corpus.display()))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn run_plainly(command: &mut Command, what: &str) -> Result<()> {
    let status = proc::stream(command, false, |_, line| note!("{line}"))?;
    if status.success() {
        return Ok(());
    }
    Err(negative(&format!("could not {what}"), "the output above says why; a crash leaves its input in target/fuzz"))
}
