//! Running other programs: plainly, captured, or streamed line by line, and always so that Ctrl-C ends them.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// How often a wait looks at the interrupt flag and at the child; a step's timing is no finer than this.
const TICK: Duration = Duration::from_millis(10);
/// What a child gets between the polite signal and SIGKILL. Longer than `casemate` takes to end its own children.
const GRACE: Duration = Duration::from_secs(10);
/// How long the output of a finished child is still read: a daemon that it left behind may keep the pipe open for ever.
const DRAIN: Duration = Duration::from_millis(100);

static INTERRUPT: OnceLock<Arc<AtomicBool>> = OnceLock::new();
static CLEANING_UP: AtomicBool = AtomicBool::new(false);

/// Turns SIGINT, SIGTERM and SIGHUP into a flag, so that whoever started something also gets to end it.
pub(crate) fn watch_signals() -> Result<()> {
    let flag = INTERRUPT.get_or_init(Arc::default);
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(flag)).context("watch for Ctrl-C")?;
    }
    Ok(())
}

/// Whether somebody asked this process to end.
pub(crate) fn interrupted() -> bool {
    !CLEANING_UP.load(Ordering::Relaxed) && INTERRUPT.get().is_some_and(|flag| flag.load(Ordering::Relaxed))
}

/// From here on a Ctrl-C changes nothing: what is left to do is the cleaning up, and it runs programs of its own.
pub(crate) fn begin_cleanup() {
    CLEANING_UP.store(true, Ordering::Relaxed);
}

/// Fails if somebody asked this process to end.
pub(crate) fn check_interrupt() -> Result<()> {
    if interrupted() { Err(Interrupted.into()) } else { Ok(()) }
}

/// Somebody pressed Ctrl-C or sent SIGTERM.
#[derive(Debug)]
pub(crate) struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// Whether this process is root.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A program as root: itself, or through sudo, which must not ask at this point.
pub(crate) fn as_root(program: impl AsRef<OsStr>) -> Command {
    if is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.arg("-n").arg(program);
    command
}

/// A program in `PATH` or in the folders for root's programs, which the `PATH` of an ordinary user lacks on Debian.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|candidate| candidate.is_file())
}

/// A command line as a person would type it.
pub(crate) fn shown(program: &str, args: &[impl AsRef<OsStr>]) -> String {
    let mut line = program.to_owned();
    for arg in args {
        let arg = arg.as_ref().to_string_lossy();
        line.push(' ');
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@,+%".contains(c);
        if !arg.is_empty() && arg.chars().all(plain) {
            line.push_str(&arg);
        } else {
            line.push_str(&format!("'{}'", arg.replace('\'', r"'\''")));
        }
    }
    line
}

/// Says what is run, runs it with our terminal, and fails if it fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let line = describe(command);
    note!("$ {line}");
    let status = wait(&mut spawn(command)?, check_interrupt)?;
    if !status.success() {
        bail!("`{line}` failed ({status})");
    }
    Ok(())
}

/// Runs a program and returns its standard output; its standard error goes into the error if it fails.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let line = describe(command);
    let out = command.stdin(Stdio::null()).output().with_context(|| format!("run `{line}`"))?;
    if !out.status.success() {
        bail!("`{line}` failed ({}): {}", out.status, String::from_utf8_lossy(&out.stderr).trim());
    }
    String::from_utf8(out.stdout).with_context(|| format!("output of `{line}` is not UTF-8"))
}

/// Which of its two outputs a program wrote a line to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stream {
    Out,
    Err,
}

/// Runs a program without a terminal and hands over each line it writes as it comes. The program gets a process group
/// of its own, unless `shared_group`: what runs under `sudo` can be reached by the terminal's Ctrl-C only.
pub(crate) fn stream(
    command: &mut Command,
    shared_group: bool,
    mut on_line: impl FnMut(Stream, &str),
) -> Result<ExitStatus> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if !shared_group {
        command.process_group(0);
    }
    let mut child = spawn(command)?;
    let (sender, lines) = mpsc::channel();
    pump(child.stdout.take(), Stream::Out, sender.clone());
    pump(child.stderr.take(), Stream::Err, sender);
    let mut finished: Option<Instant> = None;
    loop {
        match lines.recv_timeout(TICK) {
            Ok((stream, line)) => on_line(stream, &line),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                if finished.is_some_and(|at| at.elapsed() > DRAIN) {
                    break;
                }
                if finished.is_none() && child.try_wait().context("wait for a program")?.is_some() {
                    finished = Some(Instant::now());
                }
            }
        }
        if interrupted() && finished.is_none() {
            end(&mut child, !shared_group);
            return Err(Interrupted.into());
        }
    }
    wait(&mut child, check_interrupt)
}

/// Ends a child: politely, then by force. With `group`, what it started too.
pub(crate) fn end(child: &mut Child, group: bool) {
    for signal in [Signal::TERM, Signal::KILL] {
        let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) else { return };
        if matches!(child.try_wait(), Ok(Some(_))) {
            return;
        }
        let sent = if group { kill_process_group(pid, signal) } else { kill_process(pid, signal) };
        if sent.is_err() {
            // A program under sudo belongs to root; sudo ends it for us if it still knows the password.
            let _ = Command::new("sudo").args(["-n", "kill", "-TERM", &child.id().to_string()]).status();
        }
        let deadline = Instant::now() + GRACE;
        while Instant::now() < deadline {
            if matches!(child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(TICK);
        }
    }
}

fn spawn(command: &mut Command) -> Result<Child> {
    command.spawn().with_context(|| format!("start `{}`", describe(command)))
}

/// Waits for a child that is ended when `go_on` says no.
fn wait(child: &mut Child, go_on: impl Fn() -> Result<()>) -> Result<ExitStatus> {
    loop {
        if let Some(status) = child.try_wait().context("wait for a program")? {
            return Ok(status);
        }
        if let Err(stop) = go_on() {
            end(child, false);
            return Err(stop);
        }
        std::thread::sleep(TICK);
    }
}

fn describe(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
    shown(&program, &command.get_args().collect::<Vec<_>>())
}

fn pump(pipe: Option<impl Read + Send + 'static>, stream: Stream, sender: Sender<(Stream, String)>) {
    let Some(pipe) = pipe else { return };
    std::thread::spawn(move || {
        let mut reader = BufReader::new(pipe);
        let mut line = Vec::new();
        while matches!(reader.read_until(b'\n', &mut line), Ok(n) if n > 0) {
            let text = String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned();
            line.clear();
            if sender.send((stream, text)).is_err() {
                return;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_it_would_be_typed() {
        let line = shown("casemate", &["secret", "put", "it's", "a b", "k=v", ""]);
        assert_eq!(line, r"casemate secret put 'it'\''s' 'a b' k=v ''");
    }

    #[test]
    fn lines_of_both_outputs_and_the_exit_status_come_through() {
        let mut lines = Vec::new();
        let status =
            stream(Command::new("sh").args(["-c", "echo out; echo err >&2; exit 3"]), false, |stream, line| {
                lines.push((stream, line.to_owned()));
            });
        assert_eq!(status.expect("sh runs").code(), Some(3));
        lines.sort_by_key(|(stream, _)| *stream == Stream::Err);
        assert_eq!(lines, [(Stream::Out, "out".to_owned()), (Stream::Err, "err".to_owned())]);
    }

    #[test]
    fn a_daemon_that_keeps_the_pipe_open_does_not_keep_us() {
        let started = Instant::now();
        let mut daemon = String::new();
        stream(Command::new("sh").args(["-c", "sleep 30 & echo $!"]), false, |_, line| daemon = line.to_owned())
            .expect("sh runs");
        assert!(started.elapsed() < Duration::from_secs(10), "waited for the daemon");
        let pid = daemon.parse().ok().and_then(Pid::from_raw).expect("a pid");
        kill_process(pid, Signal::KILL).expect("the daemon still runs");
    }

    #[test]
    fn a_program_that_does_not_exist_is_named() {
        let error = output(&mut Command::new("/no/such/program")).expect_err("cannot run");
        assert_eq!(error.to_string(), "run `program`");
    }
}
