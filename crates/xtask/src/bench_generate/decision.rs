//! `cargo xtask bench decision`: what one decision of a policy costs a pod agent. The policy is generated as a user's
//! would be; the measuring is done by a program of the crate `policy`.

use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use clap::Args;
use serde::{Deserialize, Serialize};

use super::{Bench, Case, Start};
use crate::demo::report::table;
use crate::failure::negative;
use crate::registry::Registry;
use crate::workspace::{self, Metadata};
use crate::{packages, proc};

/// Options of the command.
#[derive(Args, Debug)]
pub(crate) struct DecisionArgs {
    /// How many pods start; each decides once on its container, and four times on one with another command
    #[arg(long, default_value_t = 1_000, value_name = "N")]
    rounds: usize,
    /// Figures as JSON
    #[arg(long)]
    json: bool,
    /// Install missing packages without asking
    #[arg(long)]
    yes: bool,
}

/// What we aim at for the decision on a container.
const AIM_SECONDS: f64 = 0.002;

/// What the program says.
#[derive(Serialize, Deserialize, Debug)]
struct Figures {
    /// From the policy's text to an engine.
    load: Times,
    /// Of the container as it is.
    allow: Times,
    /// Of the container with another command, reasons included.
    deny: Times,
    /// What the engine adds to the process.
    engine_kib: u64,
    /// The process.
    peak_kib: u64,
    policy_bytes: usize,
    request_bytes: usize,
}

#[derive(Serialize, Deserialize, Debug)]
struct Times {
    median_seconds: f64,
    p99_seconds: f64,
    count: usize,
}

/// The command.
pub(crate) fn run(args: &DecisionArgs) -> Result<()> {
    packages::ensure(args.yes)?;
    let metadata = Metadata::load()?;
    let binaries = workspace::build(&["cli"], true)?;
    let casemate = workspace::binary(&binaries, "casemate")?;
    let program = workspace::benchmark("policy", "decision")?;
    let folder = metadata.target_directory.join("bench-generate");
    std::fs::create_dir_all(&folder).with_context(|| format!("create `{}`", folder.display()))?;
    let registry = Registry::start_on_free_port(&folder)?;
    super::images::push(&folder, &registry.address(), &["tiny"])?;
    let bench = Bench { casemate, folder: &folder, registry: registry.address(), rounds: 1 };
    bench.measure(&Case { name: "the policy", image: "tiny", workloads: 1, start: Start::Empty, aim: None }, 0.0)?;

    let mut command = Command::new(program);
    command.arg(bench.work().join("out").join("web-00.yaml")).arg(args.rounds.to_string());
    let said = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().context("run the benchmark")?;
    proc::check_interrupt()?;
    if !said.status.success() {
        return Err(negative("the benchmark of decisions failed", "the output above says why"));
    }
    let figures: Figures = serde_json::from_slice(&said.stdout).context("read the benchmark's figures")?;
    if args.json {
        out!("{}", serde_json::to_string_pretty(&figures)?);
    } else {
        out!("{}", text(&figures));
    }
    Ok(())
}

fn text(figures: &Figures) -> String {
    let ms = |seconds: f64| format!("{:.2} ms", seconds * 1_000.0);
    let row = |name: &str, times: &Times, aim: Option<f64>| {
        let against = aim.map_or_else(String::new, |aim| {
            let late = if times.median_seconds > aim { "!" } else { "" };
            format!("{late}{:.2} of {}", times.median_seconds / aim, ms(aim))
        });
        vec![name.to_owned(), ms(times.median_seconds), ms(times.p99_seconds), times.count.to_string(), against]
    };
    let rows = vec![
        row("load a policy", &figures.load, None),
        row("allow a container", &figures.allow, Some(AIM_SECONDS)),
        row("refuse a container, with reasons", &figures.deny, None),
    ];
    format!(
        "{}\npolicy {} bytes, request {} bytes; an engine adds {:.1} MiB to a process of {:.1} MiB\n! misses its aim",
        table(&["WHAT", "MEDIAN", "P99", "COUNT", "RATIO TO AIM"], rows),
        figures.policy_bytes,
        figures.request_bytes,
        figures.engine_kib as f64 / 1_024.0,
        figures.peak_kib as f64 / 1_024.0,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_stand_beside_their_aim() {
        let times = |median_seconds: f64| Times { median_seconds, p99_seconds: 2.0 * median_seconds, count: 7 };
        let figures = Figures {
            load: times(0.01),
            allow: times(0.001),
            deny: times(0.004),
            engine_kib: 2_048,
            peak_kib: 10_240,
            policy_bytes: 20_000,
            request_bytes: 7_000,
        };
        let text = text(&figures);
        assert!(text.contains("1.00 ms") && text.contains("2.00 ms") && text.contains("0.50 of 2.00 ms"), "{text}");
        assert!(text.contains("an engine adds 2.0 MiB to a process of 10.0 MiB"), "{text}");
    }
}
