//! What one run of a program costs.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::failure::negative;
use crate::proc;

/// Time and memory of one run, or of the middle one of several.
#[derive(Serialize, Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    /// Wall time.
    pub(crate) seconds: f64,
    /// User and system time, in steps of the kernel's clock tick.
    pub(crate) cpu_seconds: f64,
    /// The most memory that was resident.
    pub(crate) peak_kib: u64,
}

impl Cost {
    /// Medians of the times, the largest memory; then the shortest and the longest wall time.
    pub(crate) fn summary(costs: &mut [Self]) -> (Self, f64, f64) {
        let middle = |costs: &mut [Self], of: fn(&Self) -> f64| {
            costs.sort_by(|a, b| of(a).total_cmp(&of(b)));
            costs.get(costs.len() / 2).map_or(0.0, of)
        };
        let cpu_seconds = middle(costs, |cost| cost.cpu_seconds);
        let seconds = middle(costs, |cost| cost.seconds);
        let peak_kib = costs.iter().map(|cost| cost.peak_kib).max().unwrap_or_default();
        let end = |cost: Option<&Self>| cost.map_or(0.0, |cost| cost.seconds);
        (Self { seconds, cpu_seconds, peak_kib }, end(costs.first()), end(costs.last()))
    }
}

/// How often memory is looked at. The kernel keeps the peak, so only one in the last instant can be missed.
const LOOK: Duration = Duration::from_millis(1);

/// Runs a program to its end.
pub(crate) fn measure(command: &mut Command) -> Result<Cost> {
    proc::check_interrupt()?;
    let cpu = children_cpu()?;
    let started = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("start `{}`", command.get_program().to_string_lossy()))?;
    // Read beside the program, which stops when nobody takes what it says.
    let said = child.stderr.take().map(|mut stderr| {
        std::thread::spawn(move || {
            let mut said = String::new();
            std::io::Read::read_to_string(&mut stderr, &mut said).ok();
            said
        })
    });
    let status = format!("/proc/{}/status", child.id());
    let mut peak_kib = 0;
    let ended = loop {
        if let Some(peak) = std::fs::read_to_string(&status).ok().as_deref().and_then(high_water) {
            peak_kib = peak_kib.max(peak);
        }
        if let Some(ended) = child.try_wait().context("wait for a program")? {
            break ended;
        }
        std::thread::sleep(LOOK);
    };
    let seconds = started.elapsed().as_secs_f64();
    if !ended.success() {
        let said = said.and_then(|said| said.join().ok()).unwrap_or_default();
        let program = proc::shown(&command.get_program().to_string_lossy(), &command.get_args().collect::<Vec<_>>());
        return Err(negative(&format!("`{program}` failed ({ended})"), said.trim().to_owned()));
    }
    Ok(Cost { seconds, cpu_seconds: children_cpu()? - cpu, peak_kib })
}

/// `VmHWM` of a process, in KiB (proc(5)).
fn high_water(status: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.split_whitespace().next()?.parse().ok()
}

/// CPU time of all children that have ended: fields 16 and 17 of `/proc/self/stat` (proc(5)), the third being the first
/// after the program's name in parentheses.
fn children_cpu() -> Result<f64> {
    /// Ticks a second that user space sees, on every architecture that we build for.
    const TICKS: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").context("read /proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3).and_then(|text| text.parse::<f64>().ok()).unwrap_or_default();
    Ok((field(16) + field(17)) / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_time_and_memory_and_a_failed_one_its_words() {
        let cost = measure(Command::new("sh").args(["-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"]));
        let cost = cost.expect("it runs");
        assert!(cost.seconds > 0.0 && cost.cpu_seconds > 0.0 && cost.peak_kib > 100, "{cost:?}");
        let error = measure(Command::new("sh").args(["-c", "yes | head -c 200000 >&2; echo no luck >&2; exit 3"]))
            .expect_err("it fails");
        assert!(format!("{error:?}").contains("no luck"), "{error:?}");
    }

    #[test]
    fn the_middle_counts() {
        let cost = |seconds: f64, peak_kib| Cost { seconds, cpu_seconds: 10.0 - seconds, peak_kib };
        let mut costs = [cost(3.0, 1), cost(1.0, 9), cost(2.0, 5)];
        let (middle, min, max) = Cost::summary(&mut costs);
        assert_eq!((middle.seconds, middle.cpu_seconds, middle.peak_kib, min, max), (2.0, 8.0, 9, 1.0, 3.0));
    }
}
