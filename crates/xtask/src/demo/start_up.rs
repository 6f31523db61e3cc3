//! `cargo xtask bench start-up`: how long from `up` to the first answer, how long an initializer takes to its certificate,
//! and what each process keeps in memory. The figures in `docs/performance.md` come from here.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;

use super::report::table;
use super::{Demo, become_root_if_needed, remove_folder, steps, traces};
use crate::{packages, proc, workspace};

/// Options of the command.
#[derive(Args, Debug)]
pub(crate) struct StartUpArgs {
    /// How often to start; the first time pulls images, the others have them
    #[arg(long, default_value_t = 5, value_name = "N")]
    rounds: u32,
    /// Measure the binaries as a newcomer builds them, instead of optimised ones
    #[arg(long)]
    dev: bool,
    /// Also write the figures to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Install missing packages without asking
    #[arg(long)]
    yes: bool,
}

/// Everything that was measured.
#[derive(Serialize, Debug, Default)]
struct Figures {
    rounds: Vec<Round>,
    initializers: Vec<Initializer>,
    memory: Vec<Memory>,
}

/// One start: each command with its seconds, and all of them together.
#[derive(Serialize, Debug)]
struct Round {
    commands: Vec<(&'static str, f64)>,
    seconds: f64,
}

/// What an initializer says of itself. One that had to wait for the manifest needed several attempts; only those of a
/// single attempt say how long it takes.
#[derive(Serialize, Debug, PartialEq)]
struct Initializer {
    attempts: u64,
    total_ms: u64,
    last_attempt_ms: u64,
}

/// A process and its memory in KiB: resident, and proportional (shared pages count by share).
#[derive(Serialize, Debug, PartialEq)]
struct Memory {
    program: String,
    resident_kib: u64,
    proportional_kib: u64,
}

/// The command.
pub(crate) fn run(args: &StartUpArgs) -> Result<()> {
    packages::ensure(args.yes)?;
    become_root_if_needed(args.yes)?;
    let mut demo = Demo::prepare(None, !args.dev)?;
    let result = measure(&mut demo, args.rounds);
    proc::begin_cleanup();
    demo.clean_up(false)?;
    let figures = result?;
    out!("{}", text(&figures));
    if let Some(path) = &args.json {
        let path = workspace::user_path(path);
        let json = serde_json::to_string_pretty(&figures)? + "\n";
        fs::write(&path, json).with_context(|| format!("write `{}`", path.display()))?;
    }
    Ok(())
}

/// The commands from `up` to the first answer, as a person gives them.
const COMMANDS: [(&str, steps::Run); 5] = [
    ("up", steps::up),
    ("set", steps::set),
    ("secret put and wait", steps::put_secret),
    ("verify", steps::verify),
    ("infer", steps::infer),
];

fn measure(demo: &mut Demo, rounds: u32) -> Result<Figures> {
    steps::seal(demo)?;
    steps::publish(demo)?;
    steps::generate(demo)?;
    let mut figures = Figures::default();
    for _ in 0..rounds {
        forget_deployment(demo)?;
        let mut commands = Vec::new();
        let started = Instant::now();
        for (name, command) in COMMANDS {
            proc::check_interrupt()?;
            let at = Instant::now();
            command(demo)?;
            commands.push((name, at.elapsed().as_secs_f64()));
        }
        figures.rounds.push(Round { commands, seconds: started.elapsed().as_secs_f64() });
        // The pod that is added finds a manifest and a key, so its initializer waits for nothing.
        steps::scale(demo)?;
        let logs = demo.casemate(&["logs", steps::WORKLOAD, "--container", "casemate-initializer"])?;
        figures.initializers.extend(logs.stdout.lines().filter_map(initializer));
        figures.memory = memory();
        demo.casemate(&["down"])?;
    }
    Ok(figures)
}

/// Every round is a first start: no history, no shares, nothing verified. Keys, manifest and images stay.
fn forget_deployment(demo: &Demo) -> Result<()> {
    remove_folder(&demo.work.join(steps::VOLUMES))?;
    remove_folder(&demo.work.join("verify"))?;
    match fs::remove_file(demo.work.join("seed-shares.json")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).context("remove `seed-shares.json`"),
        _ => Ok(()),
    }
}

/// A line of an initializer's log: `initializer start to certificate attempts=1 total_ms=60 last_attempt_ms=40 …`.
fn initializer(line: &str) -> Option<Initializer> {
    let (_, fields) = line.split_once("initializer start to certificate")?;
    let field = |name: &str| {
        let value = fields.split_whitespace().find_map(|field| field.strip_prefix(name)?.strip_prefix('='))?;
        value.parse().ok()
    };
    Some(Initializer {
        attempts: field("attempts")?,
        total_ms: field("total_ms")?,
        last_attempt_ms: field("last_attempt_ms")?,
    })
}

fn memory() -> Vec<Memory> {
    let mut found: Vec<Memory> = traces::processes().iter().filter_map(memory_of).collect();
    found.sort_by(|a, b| a.program.cmp(&b.program));
    found
}

fn memory_of(process: &traces::Process) -> Option<Memory> {
    let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", process.pid)).ok()?;
    let field =
        |name: &str| rollup.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok());
    // Program and role; what follows differs from pod to pod.
    let program = process.line.split(' ').take(3).collect::<Vec<_>>().join(" ");
    Some(Memory { program, resident_kib: field("Rss:")?, proportional_kib: field("Pss:")? })
}

fn text(figures: &Figures) -> String {
    let mut header = vec!["ROUND"];
    header.extend(COMMANDS.iter().map(|(name, _)| *name));
    header.push("TOGETHER");
    let seconds = |value: f64| format!("{value:.2} s");
    let rounds = figures.rounds.iter().enumerate().map(|(number, round)| {
        let mut row = vec![(number + 1).to_string()];
        row.extend(round.commands.iter().map(|(_, value)| seconds(*value)));
        row.push(seconds(round.seconds));
        row
    });
    let mut text = format!("\n{}", table(&header, rounds.collect()));
    let mut single: Vec<u64> =
        figures.initializers.iter().filter(|one| one.attempts == 1).map(|one| one.total_ms).collect();
    single.sort_unstable();
    if let Some(median) = single.get(single.len() / 2) {
        let n = single.len();
        text.push_str(&format!(
            "\ninitializer start to certificate: median {median} ms of {n} that waited for nothing\n"
        ));
    }
    let mib = |kib: u64| format!("{:.1} MiB", kib as f64 / 1024.0);
    let memory = figures.memory.iter();
    let memory = memory.map(|one| vec![mib(one.resident_kib), mib(one.proportional_kib), one.program.clone()]);
    text.push('\n');
    text.push_str(&table(&["RESIDENT", "PROPORTIONAL", "PROCESS"], memory.collect()));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_initializers_times_are_read_off_its_log() {
        let line = "2026-01-01T00:00:00Z  INFO initializer start to certificate attempts=1 total_ms=61 \
                    last_attempt_ms=40 lease_s=300";
        assert_eq!(initializer(line), Some(Initializer { attempts: 1, total_ms: 61, last_attempt_ms: 40 }));
        assert_eq!(initializer("INFO pod is ready name=\"inference\""), None);
        assert_eq!(initializer("initializer start to certificate attempts=many"), None);
    }

    #[test]
    fn our_own_memory_is_known() {
        let me = traces::Process { pid: "self".to_owned(), line: "a b c d".to_owned() };
        let memory = memory_of(&me).expect("we have memory");
        assert_eq!(memory.program, "a b c");
        assert!(memory.resident_kib >= memory.proportional_kib && memory.proportional_kib > 0);
    }

    #[test]
    fn figures_are_shown_with_units() {
        let commands = COMMANDS.iter().map(|(name, _)| (*name, 0.5)).collect();
        let figures = Figures {
            rounds: vec![Round { commands, seconds: 2.5 }],
            initializers: vec![
                Initializer { attempts: 1, total_ms: 60, last_attempt_ms: 40 },
                Initializer { attempts: 9, total_ms: 6000, last_attempt_ms: 40 },
            ],
            memory: vec![Memory {
                program: "casemate-pod mesh".to_owned(),
                resident_kib: 10240,
                proportional_kib: 5120,
            }],
        };
        let text = text(&figures);
        assert!(text.contains("median 60 ms of 1 that waited"), "{text}");
        assert!(text.contains("10.0 MiB  5.0 MiB       casemate-pod mesh"), "{text}");
        assert!(text.contains("2.50 s"), "{text}");
    }
}
