//! The first process of the check: it has the second one compare, and becomes the agent or turns the guest off.

use std::convert::Infallible;
use std::ffi::OsString;
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::hold::{Refusal, YES};
use crate::machine::{Machine, say};
use crate::{HOLD, hold, tee};

/// LIMIT: how long comparing may take, waiting for the device included. A report takes some tens of milliseconds, and several
/// seconds where the host lets many guests ask at once.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why the agent was not started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BootError {
    /// The second process could not be started.
    #[error("start the second process of the check")]
    Spawn(#[source] std::io::Error),
    /// The second process did not say yes; it has said why.
    #[error("the agent is not started")]
    Refused,
    /// It said nothing in time.
    #[error("no answer within {} seconds: the agent is not started", PATIENCE.as_secs())]
    Late,
    /// The agent could not be started.
    #[error("start the agent `{path}`")]
    Agent {
        /// Where it should be.
        path: PathBuf,
        /// Why it could not be started.
        source: std::io::Error,
    },
}

/// The first process: comes back only if the agent was not started.
pub fn first(arguments: Vec<OsString>, own_path: &Path, agent: &Path) -> Result<Infallible, BootError> {
    let mut holder = Command::new(own_path);
    holder.arg(HOLD).stdin(Stdio::inherit()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let mut child = holder.spawn().map_err(BootError::Spawn)?;
    let mut answer = child.stdout.take().ok_or(BootError::Refused)?;
    let begun = Instant::now();
    let mut heard = Vec::new();
    while heard.len() < YES.len() {
        let left = PATIENCE.saturating_sub(begun.elapsed());
        let seconds = i64::try_from(left.as_secs()).unwrap_or_default();
        let timeout = Timespec { tv_sec: seconds, tv_nsec: left.subsec_nanos().into() };
        let mut polled = [PollFd::new(&answer, PollFlags::IN)];
        match poll(&mut polled, Some(&timeout)) {
            Ok(0) => return Err(BootError::Late),
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => return Err(BootError::Refused),
            Ok(_) => {}
        }
        let mut bytes = [0; 64];
        match answer.read(&mut bytes) {
            Ok(0) | Err(_) => return Err(BootError::Refused),
            Ok(n) => heard.extend_from_slice(bytes.get(..n).unwrap_or_default()),
        }
    }
    if heard != YES {
        return Err(BootError::Refused);
    }
    // The holder goes on beside the agent. It reads nothing from here, and the pipe closes with the exec.
    let mut arguments = arguments.into_iter();
    let name = arguments.next().unwrap_or_else(|| agent.as_os_str().to_owned());
    let source = Command::new(agent).arg0(name).args(arguments).exec();
    Err(BootError::Agent { path: agent.to_owned(), source })
}

/// The second process: compares and holds.
pub fn second(machine: &Machine) -> Result<(), Refusal> {
    let mut nonce = [0; 64];
    let random = rustix::rand::getrandom(&mut nonce, rustix::rand::GetRandomFlags::empty());
    if !matches!(random, Ok(64)) {
        return Err(Refusal::Tee(tee::TeeError::NotOurs));
    }
    let hardware = tee::Kernel::new(&machine.tee, nonce);
    hold::run(machine, &hardware, &mut std::io::stdout())
}

/// Says why, with all causes, and turns the guest off.
pub fn refuse(machine: &Machine, error: &dyn std::error::Error) {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    say(&format!("REFUSED: {text}"));
    say("turning this guest off; hint: `docs/guest-image.md` says what each refusal means");
    machine.power_off();
}

/// What a process of the check does, by its arguments: the whole of `main`.
pub fn main_with(machine: impl Fn(u32) -> Machine, agent: &Path) -> std::process::ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let holds = arguments.len() == 2 && arguments.get(1).is_some_and(|argument| argument == HOLD);
    if holds {
        let parent = rustix::process::getppid().map_or(1, |pid| pid.as_raw_nonzero().get().unsigned_abs());
        let machine = machine(parent);
        return match second(&machine) {
            Ok(()) => std::process::ExitCode::SUCCESS,
            Err(error) => {
                refuse(&machine, &error);
                std::process::ExitCode::FAILURE
            }
        };
    }
    // The kernel and systemd start the check by an absolute path; `/proc` may not be mounted yet.
    let own_path = match arguments.first().map(PathBuf::from) {
        Some(path) if path.is_absolute() => path,
        _ => PathBuf::from("/proc/self/exe"),
    };
    let machine = machine(std::process::id());
    match first(arguments, &own_path, agent) {
        Ok(never) => match never {},
        Err(error) => {
            refuse(&machine, &error);
            std::process::ExitCode::FAILURE
        }
    }
}
