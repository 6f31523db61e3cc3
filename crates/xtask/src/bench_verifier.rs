//! `cargo xtask bench verifier`: what an appraisal of each kind of Evidence costs beside the signature checks that it cannot
//! avoid. The measuring is done by a program of the crate `verifier`; the figures in `docs/performance.md` come from here.

use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use clap::Args;

use crate::failure::negative;
use crate::{proc, workspace};

/// Options of the command.
#[derive(Args, Debug)]
pub(crate) struct VerifierArgs {
    /// How often to measure each row; the median counts
    #[arg(long, default_value_t = 7, value_name = "N")]
    rounds: u32,
    /// How long each of them lasts
    #[arg(long, default_value_t = 400, value_name = "MILLISECONDS")]
    round_ms: u32,
    /// Only rows with this in their name
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Figures as JSON
    #[arg(long)]
    json: bool,
}

/// The core that the measurement stays on, where it can be pinned: moving to another costs more than what is measured.
const CORE: &str = "1";

/// The command.
pub(crate) fn run(args: &VerifierArgs) -> Result<()> {
    let program = workspace::benchmark("verifier", "appraise")?;
    let mut command = match proc::find_program("taskset") {
        Some(taskset) if std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1) => {
            let mut command = Command::new(taskset);
            command.args(["--cpu-list", CORE]).arg(&program);
            command
        }
        _ => Command::new(&program),
    };
    command.args(["--rounds", &args.rounds.to_string(), "--round-ms", &args.round_ms.to_string()]);
    if let Some(only) = &args.only {
        command.args(["--only", only]);
    }
    if args.json {
        command.arg("--json");
    }
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("run {}", program.display()))?;
    proc::check_interrupt()?;
    if status.success() {
        return Ok(());
    }
    Err(negative("the benchmark of the Verifier failed", "the output above says why"))
}
