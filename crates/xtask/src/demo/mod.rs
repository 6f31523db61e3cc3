//! `cargo xtask demo`: a user's own commands on one machine, from plain YAML to a deployment that is confidential,
//! attested, asked, scaled, attacked, recovered and gone again.
//!
//! [`steps`] holds what happens; this module runs steps, shows them, times them, and cleans up whatever happens, Ctrl-C
//! included. Everything lies in `target/demo`; the registry is ours and ends with us.

pub(crate) mod report;
pub(crate) mod start_up;
mod steps;
mod traces;
mod ui;
mod web;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use crate::failure::{negative, unknown};
use crate::packages;
use crate::proc::{self, Interrupted, Stream};
use crate::registry::Registry;
use crate::workspace::{self, Metadata};
use report::{Report, Step};
use traces::Traces;
use ui::Ui;

/// Options of the command.
#[derive(Args, Debug, Default)]
pub(crate) struct DemoArgs {
    /// Which of the examples
    #[arg(long, value_enum, default_value_t)]
    pub(crate) example: Example,
    /// Also write steps, attacks and measurements to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Keep the work folder (target/demo) at the end
    #[arg(long)]
    pub(crate) keep: bool,
    /// Port of the registry on 127.0.0.1 [default: 5000, or any free one]
    #[arg(long, value_name = "PORT")]
    pub(crate) registry_port: Option<u16>,
    /// Install missing packages without asking
    #[arg(long)]
    pub(crate) yes: bool,
}

/// An example of this repository.
#[derive(ValueEnum, Clone, Copy, Debug, Default)]
pub(crate) enum Example {
    /// A sealed model behind an inference server, with everything that owners, clients and attackers do
    #[default]
    Inference,
    /// An ordinary web service and its client, from plain YAML to verified answers
    Web,
}

/// What the engine keeps in a work folder while it runs.
const ENGINE_STATE: &str = ".casemate/engine.json";

/// A demonstration that is under way.
struct Demo {
    ui: Ui,
    metadata: Metadata,
    /// The work folder.
    work: PathBuf,
    binaries: BTreeMap<String, PathBuf>,
    registry_port: Option<u16>,
    registry: Option<Registry>,
    /// Whether pods may be running.
    up: bool,
    before: Traces,
    report: Report,
}

/// A command that was run.
struct Finished {
    /// Exit status, -1 when a signal ended it.
    code: i32,
    stdout: String,
    /// What follows `error: ` and `caused by: ` on its standard error, or else its last line there.
    reason: String,
}

/// The command.
pub(crate) fn run(args: &DemoArgs) -> Result<()> {
    packages::ensure(args.yes)?;
    become_root_if_needed(args.yes)?;
    let started = Instant::now();
    let mut demo = Demo::prepare(args.registry_port, false)?;
    let result = demo.run_steps(match args.example {
        Example::Inference => steps::STEPS,
        Example::Web => web::STEPS,
    });
    proc::begin_cleanup();
    // After a failure there is something to look at; after Ctrl-C nobody asked for it.
    let failed = result.as_ref().is_err_and(|error| !error.is::<Interrupted>());
    let clean = demo.clean_up(args.keep || failed);
    out!("{}", demo.report.table());
    if let Some(path) = &args.json {
        let path = workspace::user_path(path);
        let text = serde_json::to_string_pretty(&demo.report)? + "\n";
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| format!("create `{}`", folder.display()))?;
        }
        fs::write(&path, text).with_context(|| format!("write `{}`", path.display()))?;
    }
    result?;
    clean?;
    note!("demo: all of it in {:.0} s", started.elapsed().as_secs_f64());
    Ok(())
}

/// The engine makes namespaces, which needs root. An ordinary user is asked for the password once, at the beginning.
fn become_root_if_needed(unattended: bool) -> Result<()> {
    if proc::is_root() {
        return Ok(());
    }
    note!("demo: the local engine makes network namespaces and containers, which needs root (through sudo)");
    let mut command = Command::new("sudo");
    command.args(if unattended { &["-n", "-v"][..] } else { &["-v"] });
    proc::run(&mut command).map_err(|_| unknown("there is no root", "run `./x demo` as root, or as a user of sudo"))
}

impl Demo {
    fn prepare(registry_port: Option<u16>, release: bool) -> Result<Self> {
        let metadata = Metadata::load()?;
        let binaries = workspace::build_product(release)?;
        let work = metadata.target_directory.join("demo");
        let mut demo = Self {
            ui: Ui::new(),
            metadata,
            work,
            binaries,
            registry_port,
            registry: None,
            up: false,
            before: Traces::default(),
            report: Report::default(),
        };
        demo.take_down_leftovers()?;
        remove_folder(&demo.work)?;
        let temporary = demo.temporary();
        fs::create_dir_all(&temporary).with_context(|| format!("create `{}`", temporary.display()))?;
        demo.before = Traces::take();
        Ok(demo)
    }

    /// A demonstration that was killed may have left pods; they are found by the state in its work folder.
    fn take_down_leftovers(&mut self) -> Result<()> {
        if !self.work.join(ENGINE_STATE).exists() {
            return Ok(());
        }
        self.ui.line("demo: an earlier demonstration was not taken down; doing that now");
        fs::create_dir_all(self.temporary()).context("create a folder for temporary files")?;
        self.casemate(&["down"]).map(|_| ())
    }

    fn run_steps(&mut self, steps: &[(&'static str, steps::Run)]) -> Result<()> {
        for (number, (name, step)) in steps.iter().enumerate() {
            proc::check_interrupt()?;
            self.ui.begin(&format!("{}/{} {name}", number + 1, steps.len()));
            let started = Instant::now();
            let result = step(self);
            let seconds = started.elapsed().as_secs_f64();
            self.ui.end(result.is_ok(), seconds);
            self.report.steps.push(Step { name: (*name).to_owned(), ok: result.is_ok(), seconds });
            if let Err(error) = result {
                proc::check_interrupt()?;
                let work = self.work.display();
                let hint = format!("the work folder is kept: `{work}`, logs of the pods in `{work}/.casemate/logs`");
                return Err(negative(&format!("step `{name}` failed: {error:#}"), hint));
            }
        }
        Ok(())
    }

    /// Ends everything that was started, whatever state it is in.
    fn clean_up(&mut self, keep: bool) -> Result<()> {
        let down = if self.up { self.casemate(&["down"]).map(|_| ()) } else { Ok(()) };
        self.registry = None;
        down.context("clean up; `casemate down` in the work folder tries again")?;
        if keep {
            self.ui.line(&format!("demo: the work folder stays in `{}`", self.work.display()));
            return Ok(());
        }
        remove_folder(&self.work)
    }

    fn temporary(&self) -> PathBuf {
        self.work.join("tmp")
    }

    fn registry_address(&self) -> Result<String> {
        self.registry.as_ref().map(Registry::address).context("the registry does not run")
    }

    /// Runs a command of the user's and fails if it fails.
    fn casemate(&self, args: &[&str]) -> Result<Finished> {
        self.casemate_exits(args, 0)
    }

    /// Runs a command of the user's and fails unless it exits with this status.
    fn casemate_exits(&self, args: &[&str], code: i32) -> Result<Finished> {
        let finished = self.program("casemate", args)?;
        if finished.code == code {
            return Ok(finished);
        }
        let what = proc::shown("casemate", args);
        Err(anyhow::anyhow!("`{what}` exited with {}, not {code}: {}", finished.code, finished.reason))
    }

    /// Runs one of our binaries in the work folder, as root, showing the command and what it prints.
    fn program(&self, name: &str, args: &[impl AsRef<OsStr>]) -> Result<Finished> {
        let binary = workspace::binary(&self.binaries, name)?;
        self.ui.line(&format!("$ {}", proc::shown(name, args)));
        let root = proc::is_root();
        let mut command = if root {
            Command::new(binary)
        } else {
            let mut sudo = Command::new("sudo");
            sudo.arg("--preserve-env=TMPDIR").arg(binary);
            sudo
        };
        // Anything a program leaves among temporary files is found there at the end.
        command.args(args).current_dir(&self.work).env("TMPDIR", self.temporary());
        let mut stdout = String::new();
        let mut errors = Vec::new();
        let mut last = String::new();
        let status = proc::stream(&mut command, !root, |stream, line| {
            self.ui.line(&format!("  {line}"));
            match stream {
                Stream::Out => stdout.push_str(&format!("{line}\n")),
                Stream::Err => {
                    if !line.trim().is_empty() {
                        line.clone_into(&mut last);
                    }
                    errors.extend(cause(line).map(str::to_owned));
                }
            }
        })?;
        let reason = if errors.is_empty() { last } else { errors.join(": ") };
        Ok(Finished { code: status.code().unwrap_or(-1), stdout, reason })
    }

    /// What is left of the deployment on this machine, once the kernel had time to clear it away.
    fn left_over(&self, patience: Duration) -> Result<Vec<String>> {
        let deadline = Instant::now() + patience;
        loop {
            proc::check_interrupt()?;
            let mut left = Traces::take().since(&self.before);
            let temporary = fs::read_dir(self.temporary()).into_iter().flatten().flatten();
            left.extend(temporary.map(|entry| format!("temporary file {}", entry.path().display())));
            if left.is_empty() || Instant::now() > deadline {
                return Ok(left);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// The part of an error message that says why.
fn cause(line: &str) -> Option<&str> {
    let line = line.trim_start();
    line.strip_prefix("error: ").or_else(|| line.strip_prefix("caused by: "))
}

/// Removes a folder, as root where root's files are in it.
fn remove_folder(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied && !proc::is_root() => {
            proc::output(proc::as_root("rm").args(["-rf", "--"]).arg(folder)).map(|_| ())
        }
        Err(error) => Err(error).with_context(|| format!("remove `{}`", folder.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_read_off_a_programs_messages() {
        assert_eq!(cause("error: not trusted"), Some("not trusted"));
        assert_eq!(cause("  caused by: OCI.Process.Args[2]"), Some("OCI.Process.Args[2]"));
        assert_eq!(cause("hint: look"), None);
    }

    /// A demonstration whose `casemate` is a shell script.
    fn fake(work: &Path, script: &str) -> Demo {
        let program = work.join("casemate.sh");
        // Another process writes it: while this one has it open, a child that another test starts at the same moment
        // would have it open too, and a file that is open for writing cannot be executed.
        let write = "printf '#!/bin/sh\\n%s\\n' \"$1\" > \"$2\" && chmod +x \"$2\"";
        let status = Command::new("sh").args(["-c", write, "sh", script]).arg(&program).status();
        assert!(status.expect("sh runs").success());
        let metadata = Metadata {
            packages: Vec::new(),
            workspace_members: Vec::new(),
            target_directory: work.to_owned(),
            workspace_root: work.to_owned(),
        };
        Demo {
            ui: Ui::new(),
            metadata,
            work: work.to_owned(),
            binaries: BTreeMap::from([("casemate".to_owned(), program)]),
            registry_port: None,
            registry: None,
            up: false,
            before: Traces::default(),
            report: Report::default(),
        }
    }

    #[test]
    fn a_command_that_exits_otherwise_is_an_error_that_says_why() {
        if !proc::is_root() {
            out!("SKIPPED: needs root");
            return;
        }
        let dir = tempfile::tempdir().expect("tempdir");
        let script =
            "echo result; echo 'error: not trusted' >&2; echo 'caused by: other root' >&2; echo 'hint: x' >&2; exit 1";
        let demo = fake(dir.path(), script);
        let finished = demo.casemate_exits(&["verify"], 1).expect("exits as it should");
        assert_eq!((finished.stdout.as_str(), finished.reason.as_str()), ("result\n", "not trusted: other root"));
        let error = demo.casemate(&["verify"]).err().expect("exits otherwise").to_string();
        assert_eq!(error, "`casemate verify` exited with 1, not 0: not trusted: other root");
    }

    #[test]
    fn cleaning_up_takes_down_what_is_up_and_nothing_else() {
        if !proc::is_root() {
            out!("SKIPPED: needs root");
            return;
        }
        let dir = tempfile::tempdir().expect("tempdir");
        let mut demo = fake(dir.path(), "echo \"$@\" >> calls");
        demo.clean_up(true).expect("nothing to do");
        assert!(!dir.path().join("calls").exists());
        demo.up = true;
        demo.clean_up(true).expect("taken down");
        assert_eq!(fs::read_to_string(dir.path().join("calls")).expect("called"), "down\n");
    }

    #[test]
    fn a_temporary_file_that_is_left_is_found() {
        let dir = tempfile::tempdir().expect("tempdir");
        let mut demo = fake(dir.path(), "true");
        fs::create_dir(demo.temporary()).expect("created");
        fs::write(demo.temporary().join("leftover"), "").expect("written");
        demo.before = Traces::take();
        let left = demo.left_over(Duration::ZERO).expect("looked");
        assert!(
            left.iter().any(|trace| trace.starts_with("temporary file") && trace.ends_with("leftover")),
            "{left:?}"
        );
    }
}
