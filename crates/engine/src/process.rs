//! Programs of the system, and the processes that the engine has started.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal};
use serde::{Deserialize, Serialize};

use crate::error::EngineError;

/// The programs that the engine runs, with the Debian and Ubuntu package of each.
pub(crate) const PROGRAMS: [(&str, &str); 3] = [("runc", "runc"), ("nft", "nftables"), ("ip", "iproute2")];

/// Where the programs are looked for: root's usual path, which sudo and minimal images do not always set.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Refuses with the missing package's name when a program is not there.
pub(crate) fn require_programs() -> Result<(), EngineError> {
    for (program, package) in PROGRAMS {
        if !PATH.split(':').any(|folder| Path::new(folder).join(program).is_file()) {
            return Err(EngineError::MissingProgram { program: program.into(), package: package.into() });
        }
    }
    Ok(())
}

/// A command with a defined environment: what the caller's shell has set must not change what the engine does.
pub(crate) fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", PATH).env("LC_ALL", "C");
    command
}

/// Runs a program to its end with `input` as its standard input; gives its standard output.
pub(crate) fn run<A: AsRef<OsStr>>(program: &str, args: &[A], input: &str) -> Result<String, EngineError> {
    let line = || {
        let args: Vec<_> = args.iter().map(|arg| arg.as_ref().to_string_lossy()).collect();
        format!("{program} {}", args.join(" "))
    };
    let failed = |reason: String| EngineError::Command { command: line(), reason };
    let mut child = command(program)
        .args(args)
        .stdin(if input.is_empty() { Stdio::null() } else { Stdio::piped() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).map_err(|error| failed(error.to_string()))?;
    }
    let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let words = words.trim();
    Err(failed(if words.is_empty() { output.status.to_string() } else { words.replace('\n', "; ") }))
}

/// A process that the engine started, so that it can be told from a later one with the same pid.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Started {
    /// `supervise`, `tee` or `agent`.
    pub(crate) role: String,
    /// The pod of an agent.
    pub(crate) pod: Option<String>,
    /// The pid on the host.
    pub(crate) pid: u32,
    /// Its start time in clock ticks since boot (proc(5), field 22 of `stat`).
    pub(crate) start: u64,
}

impl Started {
    /// A process that runs now.
    pub(crate) fn now(role: &str, pod: Option<&str>, pid: u32) -> Option<Self> {
        Some(Self { role: role.into(), pod: pod.map(Into::into), pid, start: start_time(pid)? })
    }

    /// Writes it down in the engine's list.
    pub(crate) fn record(&self, list: &Path) -> std::io::Result<()> {
        std::fs::create_dir_all(list)?;
        std::fs::write(list.join(self.pid.to_string()), serde_json::to_vec(self)?)
    }

    /// Takes it off the list.
    pub(crate) fn forget(&self, list: &Path) {
        let _ = std::fs::remove_file(list.join(self.pid.to_string()));
    }

    /// The engine's list. A file that cannot be read is passed over: it was being written when its writer died, and
    /// then its process was not yet told to do anything.
    pub(crate) fn all(list: &Path) -> Vec<Self> {
        let Ok(entries) = std::fs::read_dir(list) else { return Vec::new() };
        entries.filter_map(|entry| serde_json::from_slice(&std::fs::read(entry.ok()?.path()).ok()?).ok()).collect()
    }

    /// Whether it still runs: the same pid with the same start time. A zombie has ended.
    pub(crate) fn is_alive(&self) -> bool {
        stat(self.pid).is_some_and(|(state, start)| start == self.start && state != "Z" && state != "X")
    }

    /// Kills it and waits for its end. The pid file descriptor is opened before the start time is compared, so that
    /// another process can never be hit.
    pub(crate) fn kill(&self, patience: Duration) -> bool {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else { return true };
        let Ok(handle) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else { return true };
        if !self.is_alive() {
            return true;
        }
        let _ = rustix::process::pidfd_send_signal(&handle, Signal::KILL);
        let deadline = Instant::now() + patience;
        while self.is_alive() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let mut fds = [rustix::event::PollFd::new(&handle, rustix::event::PollFlags::IN)];
            let wait = rustix::time::Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
            let _ = rustix::event::poll(&mut fds, Some(&wait));
        }
        true
    }
}

/// State and start time of a process (proc(5)).
fn stat(pid: u32) -> Option<(String, u64)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the name in parentheses and may hold anything, so count from the last parenthesis.
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?.to_owned();
    // Field 22, and field 3 is already taken.
    let start = fields.nth(18)?.parse().ok()?;
    Some((state, start))
}

/// The start time of a process.
pub(crate) fn start_time(pid: u32) -> Option<u64> {
    stat(pid).map(|(_, start)| start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_again_and_another_one_is_not() {
        let me = Started::now("supervise", None, std::process::id()).unwrap();
        assert!(me.is_alive());
        let other = Started { start: me.start + 1, ..me };
        assert!(!other.is_alive());
        // Does nothing: the start time differs.
        assert!(other.kill(Duration::ZERO));
    }

    #[test]
    fn a_killed_process_is_gone() {
        let mut child = command("sleep").arg("60").spawn().unwrap();
        let started = Started::now("agent", Some("p"), child.id()).unwrap();
        assert!(started.kill(Duration::from_secs(5)));
        assert!(!started.is_alive());
        child.wait().unwrap();
    }

    #[test]
    fn the_list_survives_files_that_are_none() {
        let list = tempfile::tempdir().unwrap();
        let me = Started::now("tee", None, std::process::id()).unwrap();
        me.record(list.path()).unwrap();
        std::fs::write(list.path().join("123"), b"{").unwrap();
        assert_eq!(Started::all(list.path()), std::slice::from_ref(&me));
        me.forget(list.path());
        assert!(Started::all(list.path()).is_empty());
    }

    #[test]
    fn a_failing_program_is_quoted() {
        let error = run("ip", &["link", "show", "dev", "nosuchdevice0"], "").unwrap_err();
        assert!(error.to_string().starts_with("`ip link show dev nosuchdevice0` failed: "), "{error}");
    }
}
