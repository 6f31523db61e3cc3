//! The kernel's files under a root: `/` on a node, a folder of a test elsewhere.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// LIMIT: what is read of one file. `/proc/cpuinfo` is the longest here: 1.5 KiB for each of at most 8192 CPUs that an
/// x86-64 kernel takes (`NR_CPUS`), and all of them say the same about features, so a tail that is cut off is no loss.
const MAX_FILE: u64 = 1024 * 1024;
/// LIMIT: `pci.ids` has 1.6 MB today and grows by 0.1 MB a year.
const MAX_PCI_IDS: u64 = 16 * 1024 * 1024;

/// A machine, as its kernel shows it.
#[derive(Clone, Debug)]
pub struct Machine {
    root: PathBuf,
}

/// A file that is there and cannot be read: the answer is then unknown, which is not the same as no.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[error("read `{path}`")]
pub struct ReadError {
    /// The path, with the root.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

impl Machine {
    /// The machine whose files are under `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// A path of the machine: absolute there, under the root here.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// The text of a file without blanks around it; `None` when there is no such file.
    pub fn text(&self, path: &str) -> Result<Option<String>, ReadError> {
        read(&self.path(path), MAX_FILE)
    }

    /// The list of PCI names, where the distribution has it.
    pub fn pci_ids(&self) -> Result<Option<String>, ReadError> {
        for path in ["/usr/share/misc/pci.ids", "/usr/share/hwdata/pci.ids"] {
            if let Some(text) = read(&self.path(path), MAX_PCI_IDS)? {
                return Ok(Some(text));
            }
        }
        Ok(None)
    }

    /// Whether there is anything at a path; a link to nowhere counts as nothing.
    pub fn exists(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    /// Names in a folder, sorted; none when there is no such folder.
    pub fn names(&self, path: &str) -> Result<Vec<String>, ReadError> {
        let path = self.path(path);
        let fail = |source| ReadError { path: path.clone(), source };
        let entries = match std::fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(fail(error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            names.push(entry.map_err(fail)?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    /// The last part of what a link points at: the name of a driver or group.
    pub fn link_name(&self, path: &str) -> Option<String> {
        let target = std::fs::read_link(self.path(path)).ok()?;
        Some(target.file_name()?.to_string_lossy().into_owned())
    }
}

fn read(path: &Path, limit: u64) -> Result<Option<String>, ReadError> {
    let fail = |source| ReadError { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(fail(error)),
    };
    let mut bytes = Vec::new();
    match file.take(limit).read_to_end(&mut bytes) {
        Ok(_) => {}
        // The device behind the file went away between open and read: there is none.
        Err(error) if error.raw_os_error() == Some(NO_SUCH_DEVICE) => return Ok(None),
        Err(error) => return Err(fail(error)),
    }
    Ok(Some(String::from_utf8_lossy(&bytes).trim().to_owned()))
}

/// ENODEV of errno(3) on Linux.
const NO_SUCH_DEVICE: i32 = 19;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_read_is_an_error_and_one_that_is_missing_is_not() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("folder")).unwrap();
        let machine = Machine::new(dir.path());
        assert!(machine.text("/nothing").unwrap().is_none());
        assert!(machine.text("/folder").is_err());
        assert!(machine.names("/nothing").unwrap().is_empty());
    }

    #[test]
    fn a_file_is_read_up_to_the_limit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("long");
        std::fs::write(&path, "abcdef").unwrap();
        assert_eq!(read(&path, 3).unwrap().as_deref(), Some("abc"));
    }
}
