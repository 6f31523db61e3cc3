//! `cargo xtask bench node`: what a change of modes takes for eight GPUs beside one, how soon it begins, and what the node
//! agent costs at rest. The measuring is done by programs of the crates `gpu` and `node`.

use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::demo::report::table;
use crate::failure::negative;
use crate::{packages, proc, workspace};

/// Options of the command.
#[derive(Args, Debug)]
pub(crate) struct NodeArgs {
    /// How long the agent is watched at rest
    #[arg(long, default_value_t = 120, value_name = "SECONDS")]
    rest: u32,
    /// Figures as JSON
    #[arg(long)]
    json: bool,
    /// Install missing packages without asking
    #[arg(long)]
    yes: bool,
}

/// What we aim at: eight GPUs take hardly longer than one.
const AIM_RATIO: f64 = 1.2;
/// What an agent may take of a node's memory, in MiB.
const AIM_MIB: f64 = 20.0;

#[derive(Serialize, Debug)]
struct Figures {
    transition: Transition,
    cluster: Option<OfCluster>,
}

/// From `off` to `on` and back, of simulated devices that take as long as real ones.
#[derive(Serialize, Deserialize, Debug)]
struct Transition {
    one_gpu_s: f64,
    /// Eight GPUs and four switches.
    board_s: f64,
    ratio: f64,
}

/// Beside a real API server.
#[derive(Serialize, Deserialize, Debug)]
struct OfCluster {
    /// From a label to the node's answer.
    first_action_seconds: f64,
    rest_cpu_seconds_per_hour: f64,
    rest_requests_per_hour: f64,
    /// What happens to a node in a day, in a few seconds.
    day_events: u64,
    day_cpu_seconds: f64,
    day_requests: f64,
    resident_kib: u64,
    peak_kib: u64,
}

/// The command.
pub(crate) fn run(args: &NodeArgs) -> Result<()> {
    packages::ensure(args.yes)?;
    let binaries = workspace::build(&["node"], true)?;
    let agent = workspace::binary(&binaries, "casemate-node")?;
    let transition =
        figures("gpu", "transition", Command::new(workspace::benchmark("gpu", "transition")?).arg("--json"))?;
    let mut command = Command::new(workspace::benchmark("node", "node")?);
    let cluster = figures("node", "node", command.arg(agent).arg(args.rest.to_string()))?;
    let figures = Figures { transition, cluster };
    if args.json {
        out!("{}", serde_json::to_string_pretty(&figures)?);
    } else {
        out!("{}", text(&figures));
    }
    Ok(())
}

/// What a benchmark says on standard output.
fn figures<T: serde::de::DeserializeOwned>(package: &str, name: &str, command: &mut Command) -> Result<T> {
    let said = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().context("run the benchmark")?;
    proc::check_interrupt()?;
    if !said.status.success() {
        let what = format!("the benchmark `{name}` of `{package}` failed");
        return Err(negative(&what, "the output above says why"));
    }
    serde_json::from_slice(&said.stdout).with_context(|| format!("read the figures of `{name}`"))
}

fn text(figures: &Figures) -> String {
    let row = |what: &str, value: String, ratio: String| vec![what.to_owned(), value, ratio];
    let against = |value: f64, aim: f64, of: &str| {
        let late = if value > aim { "!" } else { "" };
        format!("{late}{:.2} of {of}", value / aim)
    };
    let Transition { one_gpu_s, board_s, ratio } = figures.transition;
    let mut rows = vec![
        row("a change of mode, 1 GPU", format!("{one_gpu_s:.2} s"), String::new()),
        row(
            "a change of mode, 8 GPUs and 4 switches",
            format!("{board_s:.2} s"),
            against(ratio, AIM_RATIO, "1.2 times one"),
        ),
    ];
    if let Some(cluster) = &figures.cluster {
        let mib = |kib: u64| kib as f64 / 1_024.0;
        let none = String::new;
        rows.extend([
            row("label to first action", format!("{:.0} ms", cluster.first_action_seconds * 1_000.0), none()),
            row("at rest, processor time in an hour", format!("{:.2} s", cluster.rest_cpu_seconds_per_hour), none()),
            row("at rest, requests in an hour", format!("{:.0}", cluster.rest_requests_per_hour), none()),
            row(
                &format!("a day's {} events, processor time", cluster.day_events),
                format!("{:.2} s", cluster.day_cpu_seconds),
                none(),
            ),
            row("a day's events, requests", format!("{:.0}", cluster.day_requests), none()),
            row(
                "memory, at most",
                format!("{:.1} MiB", mib(cluster.peak_kib)),
                against(mib(cluster.peak_kib), AIM_MIB, "20 MiB"),
            ),
        ]);
    }
    format!("{}\n! misses its aim", table(&["WHAT", "MEASURED", "RATIO TO AIM"], rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_stand_beside_their_aim() {
        let transition = Transition { one_gpu_s: 2.0, board_s: 2.2, ratio: 1.1 };
        let mut figures = Figures { transition, cluster: None };
        let shown = text(&figures);
        assert!(shown.contains("2.20 s") && shown.contains("0.92 of 1.2 times one"), "{shown}");
        figures.transition.ratio = 8.0;
        figures.cluster = Some(OfCluster {
            first_action_seconds: 0.012,
            rest_cpu_seconds_per_hour: 0.5,
            rest_requests_per_hour: 12.0,
            day_events: 312,
            day_cpu_seconds: 0.3,
            day_requests: 0.0,
            resident_kib: 10_240,
            peak_kib: 40_960,
        });
        let shown = text(&figures);
        assert!(shown.contains("!6.67 of 1.2 times one") && shown.contains("!2.00 of 20 MiB"), "{shown}");
        assert!(shown.contains("12 ms") && shown.contains("a day's 312 events"), "{shown}");
    }
}
