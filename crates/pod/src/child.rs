//! A program that the launcher waits for, because it must know how it ended: that of an init container.
//!
//! The launcher is process 1 of the container then, and does what is expected of one: it hands on signals, and takes leave
//! of processes that nobody else waits for. Both end together.

use std::io;
use std::process::Command;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use signal_hook::consts::signal::{
    SIGALRM, SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH,
};
use signal_hook::iterator::Signals;

/// What is handed on. An image may name any signal for its end, and the kubelet sends KILL after that, which needs no help.
const HANDED_ON: [i32; 9] = [SIGALRM, SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH];

/// Added to the number of a signal, as a shell has it.
const BY_SIGNAL: u8 = 128;

/// Why there is no status.
#[derive(Debug)]
pub(crate) enum ChildError {
    /// The program does not start.
    Start(io::Error),
    /// It cannot be waited for.
    Wait(io::Error),
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct End {
    /// As a shell has it.
    pub(crate) status: u8,
    /// Whether somebody asked it to end, so that its status says nothing of its work.
    pub(crate) was_asked: bool,
}

/// Runs a program to its end: `reap` waits for it, and for all others.
pub(crate) fn run(command: &mut Command) -> Result<End, ChildError> {
    // From here on no signal is lost; in the program each does again what it does by default.
    let mut signals = Signals::new(HANDED_ON.iter().chain([&SIGCHLD])).map_err(ChildError::Wait)?;
    let child = command.spawn().map_err(ChildError::Start)?;
    let id = i32::try_from(child.id()).map_err(|_| ChildError::Wait(Errno::ESRCH.into()))?;
    let child = Pid::from_raw(id);
    let mut was_asked = false;
    for signal in signals.forever() {
        if signal == SIGCHLD {
            if let Some(status) = reap(child).map_err(|error| ChildError::Wait(error.into()))? {
                return Ok(End { status, was_asked });
            }
        } else if let Ok(signal) = Signal::try_from(signal) {
            was_asked |= ![Signal::SIGWINCH, Signal::SIGCONT].contains(&signal);
            // One that has just ended needs no signal, and one that became another user takes none.
            let _ = kill(child, signal);
        }
    }
    Err(ChildError::Wait(Errno::EINTR.into()))
}

/// Takes leave of all that ended; the status of the program if it is among them.
fn reap(child: Pid) -> Result<Option<u8>, Errno> {
    loop {
        let status = match waitpid(None, Some(WaitPidFlag::WNOHANG))? {
            WaitStatus::StillAlive => return Ok(None),
            WaitStatus::Exited(ended, status) if ended == child => u8::try_from(status).unwrap_or(u8::MAX),
            WaitStatus::Signaled(ended, signal, _) if ended == child => {
                BY_SIGNAL.saturating_add(u8::try_from(signal as i32).unwrap_or(u8::MAX))
            }
            _ => continue,
        };
        return Ok(Some(status));
    }
}
