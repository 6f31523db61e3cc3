//! Work in another namespace. Namespaces belong to threads, so each piece of such work gets a thread of its own, which
//! ends with it: no other code ever runs in a namespace it did not ask for.

use std::os::fd::{AsFd, OwnedFd};

use nix::sched::{CloneFlags, setns, unshare};

use crate::error::EngineError;

/// Runs `work` on a new thread and waits for it.
pub(crate) fn on_thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> Result<T, EngineError> + Send + 'static,
) -> Result<T, EngineError> {
    let failed = |error: &dyn std::fmt::Display| EngineError::io(format!("run the thread `{name}`"), error);
    let thread = std::thread::Builder::new().name(name.into()).spawn(work).map_err(|error| failed(&error))?;
    thread.join().map_err(|_| EngineError::Bug { reason: format!("the thread `{name}` panicked") })?
}

/// Runs `work` inside a network namespace.
pub(crate) fn in_netns<T: Send + 'static>(
    netns: &OwnedFd,
    work: impl FnOnce() -> Result<T, EngineError> + Send + 'static,
) -> Result<T, EngineError> {
    let failed = |error: &dyn std::fmt::Display| EngineError::io("enter the pod's network namespace", error);
    let netns = netns.try_clone().map_err(|error| failed(&error))?;
    on_thread("netns", move || {
        setns(netns.as_fd(), CloneFlags::CLONE_NEWNET).map_err(|error| failed(&error))?;
        work()
    })
}

/// Makes a network namespace with nothing in it.
pub(crate) fn new_netns() -> Result<OwnedFd, EngineError> {
    on_thread("netns", || {
        let failed = |error: &dyn std::fmt::Display| EngineError::io("make a network namespace", error);
        unshare(CloneFlags::CLONE_NEWNET).map_err(|error| failed(&error))?;
        let file = std::fs::File::open("/proc/thread-self/ns/net").map_err(|error| failed(&error))?;
        Ok(OwnedFd::from(file))
    })
}
