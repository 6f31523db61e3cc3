//! Which driver a device had before VFIO took it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::transition::replace;

/// The version of the format that is written; others are refused.
const VERSION: u32 = 1;
/// LIMIT: some 40 bytes for each device.
const MAX_MEMORY: u64 = 1024 * 1024;

#[derive(Debug, Serialize, Deserialize)]
struct Content {
    version: u32,
    drivers: BTreeMap<Address, Option<String>>,
}

/// A memory that cannot be read or written. Nothing is bound then: what could not be undone is not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// A file.
    #[error("{action} `{path}`")]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// What is there is something else.
    #[error("`{path}` does not list drivers: {reason}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
}

/// What a device had before; it may have had none.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Before(pub(super) Option<String>);

/// One file that lists drivers from before.
#[derive(Clone, Debug)]
pub struct Memory {
    path: PathBuf,
}

impl Memory {
    /// A memory in a file; its folder must be there, and survive restarts of the agent.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    fn load(&self) -> Result<Content, MemoryError> {
        let mut bytes = Vec::new();
        match File::open(&self.path).and_then(|file| file.take(MAX_MEMORY).read_to_end(&mut bytes)) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Content { version: VERSION, drivers: BTreeMap::new() });
            }
            Err(source) => return Err(MemoryError::File { action: "read", path: self.path.clone(), source }),
        }
        let malformed = |reason| MemoryError::Malformed { path: self.path.clone(), reason };
        let content: Content = serde_json::from_slice(&bytes).map_err(|error| malformed(error.to_string()))?;
        if content.version != VERSION {
            return Err(malformed(format!("it has version {}, and {VERSION} is known here", content.version)));
        }
        Ok(content)
    }

    fn save(&self, content: &Content) -> Result<(), MemoryError> {
        let text = serde_json::to_vec_pretty(content)
            .map_err(|error| MemoryError::Malformed { path: self.path.clone(), reason: error.to_string() })?;
        let failed = |source| MemoryError::File { action: "replace", path: self.path.clone(), source };
        replace(&self.path, &text).map_err(failed)
    }

    /// What a device had; `None` when it was never taken.
    pub(super) fn recall(&self, device: Address) -> Result<Option<Before>, MemoryError> {
        Ok(self.load()?.drivers.remove(&device).map(Before))
    }

    /// Remembers what a device has, unless something is remembered of it: then that is the older truth, and this was
    /// seen half-way.
    pub(super) fn remember(&self, device: Address, driver: Option<&str>) -> Result<(), MemoryError> {
        let mut content = self.load()?;
        if content.drivers.contains_key(&device) {
            return Ok(());
        }
        content.drivers.insert(device, driver.map(str::to_owned));
        self.save(&content)
    }

    pub(super) fn forget(&self, device: Address) -> Result<(), MemoryError> {
        let mut content = self.load()?;
        if content.drivers.remove(&device).is_some() { self.save(&content) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulated::at;

    #[test]
    fn the_first_driver_is_remembered_until_it_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let memory = Memory::new(dir.path().join("drivers.json"));
        assert_eq!(memory.recall(at(1)).unwrap(), None);
        memory.remember(at(1), Some("nvidia")).unwrap();
        memory.remember(at(1), Some("vfio-pci")).unwrap();
        memory.remember(at(2), None).unwrap();
        assert_eq!(memory.recall(at(1)).unwrap(), Some(Before(Some("nvidia".to_owned()))));
        assert_eq!(memory.recall(at(2)).unwrap(), Some(Before(None)));
        memory.forget(at(1)).unwrap();
        assert_eq!(memory.recall(at(1)).unwrap(), None);
    }

    #[test]
    fn a_memory_that_cannot_be_read_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("drivers.json");
        for bad in ["", "{}", "{\"version\":2,\"drivers\":{}}", "{\"version\":1,\"drivers\":{\"x\":null}}"] {
            std::fs::write(&path, bad).unwrap();
            assert!(matches!(Memory::new(&path).recall(at(1)), Err(MemoryError::Malformed { .. })), "{bad}");
        }
    }
}
