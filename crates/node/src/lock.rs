//! One process at a time has a machine's devices: the agent, a device plugin by itself, or whoever wakes devices to ask
//! them. The kernel lets the lock go when its holder ends, however that happens.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::PathBuf;

use gpu::Machine;

/// Where the lock is, on the machine: beside the journal of changes.
pub const LOCK: &str = "/var/lib/casemate/node/lock";
/// LIMIT: what is read of who has it.
const MAX_HOLDER: u64 = 256;

/// The machine's devices are this process's. Dropped, they are anybody's.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// The lock was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Somebody has it.
    #[error("the devices of this machine belong to {holder} (`{path}`)")]
    Held {
        /// The file.
        path: PathBuf,
        /// What it said of itself.
        holder: String,
    },
    /// The file.
    #[error("{action} `{path}`")]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl LockError {
    /// What may help.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Held { .. } => Some("end it first; the labels of the node say what the agent knows of its devices"),
            Self::File { .. } => None,
        }
    }
}

impl Lock {
    /// Takes the lock, or says at once who has it. `who` is what others are told: `the agent`.
    pub fn take(machine: &Machine, who: &str) -> Result<Self, LockError> {
        let path = machine.path(LOCK);
        let fail = |action| {
            let path = path.clone();
            move |source| LockError::File { action, path, source }
        };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(fail("make the folder of"))?;
        }
        // Never removed: who has a removed file locked and who has a new one would both think to be alone.
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = options.map_err(fail("open"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // It may not have written its name yet.
                let _ = file.take(MAX_HOLDER).read_to_string(&mut holder);
                let holder = holder.trim();
                let holder = if holder.is_empty() { "another process" } else { holder }.to_owned();
                return Err(LockError::Held { path, holder });
            }
            Err(TryLockError::Error(source)) => return Err(fail("lock")(source)),
        }
        let name = format!("{who}, process {}\n", std::process::id());
        file.set_len(0).and_then(|()| file.write_all(name.as_bytes())).map_err(fail("write"))?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_has_the_devices_and_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let machine = Machine::new(dir.path());
        let first = Lock::take(&machine, "the agent").unwrap();
        let error = Lock::take(&machine, "the device plugin").unwrap_err();
        let LockError::Held { holder, path } = &error else { panic!("{error}") };
        assert_eq!(*holder, format!("the agent, process {}", std::process::id()));
        assert_eq!(*path, machine.path(LOCK));
        assert!(error.hint().is_some());
        drop(first);
        let _second = Lock::take(&machine, "the device plugin").unwrap();
        let text = machine.text(LOCK).unwrap().unwrap();
        assert!(text.starts_with("the device plugin, process "), "{text}");
    }

    #[test]
    fn a_lock_that_cannot_be_made_is_not_taken_for_one_that_is_held() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("var"), "").unwrap();
        let error = Lock::take(&Machine::new(dir.path()), "the agent").unwrap_err();
        assert!(matches!(error, LockError::File { .. }), "{error}");
    }
}
