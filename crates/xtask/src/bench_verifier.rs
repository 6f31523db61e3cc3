//! `cargo xtask bench verifier`: what an appraisal of each kind of Evidence costs beside the signature checks that it cannot
//! avoid. The measuring is done by a program of the crate `verifier`; the figures in `docs/performance.md` come from here.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use clap::Args;
use serde::Deserialize;

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
    let program = build()?;
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

/// Builds the benchmark, optimised as releases are.
fn build() -> Result<PathBuf> {
    let words = ["bench", "-p", "verifier", "--bench", "appraise", "--no-run", "--message-format=json-render-diagnostics"];
    note!("$ {}", proc::shown("cargo", &words));
    let mut command = workspace::cargo();
    let out = command.args(words).stdin(Stdio::null()).stderr(Stdio::inherit()).output().context("run cargo")?;
    proc::check_interrupt()?;
    if !out.status.success() {
        return Err(negative("the benchmark of the Verifier does not build", "the output above says why"));
    }
    executable(&String::from_utf8_lossy(&out.stdout)).context("cargo built no benchmark")
}

/// The benchmark in what cargo says of a build.
fn executable(messages: &str) -> Option<PathBuf> {
    #[derive(Deserialize)]
    struct Message {
        target: Target,
        executable: Option<PathBuf>,
    }
    #[derive(Deserialize)]
    struct Target {
        name: String,
    }
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok());
    messages.filter(|message| message.target.name == "appraise").find_map(|message| message.executable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_benchmark_is_found_in_cargos_messages() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","target":{"name":"verifier"},"executable":null}"#,
            "\n",
            r#"{"reason":"compiler-artifact","target":{"name":"appraise"},"executable":"/t/appraise-1"}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        assert_eq!(executable(messages), Some(PathBuf::from("/t/appraise-1")));
        assert_eq!(executable("not json"), None);
    }
}
