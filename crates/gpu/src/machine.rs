//! The kernel's files under a root: `/` on a node, a folder of a test elsewhere.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use crate::names;

/// LIMIT: what is read of one file. `/proc/cpuinfo` is the longest here: 1.5 KiB for each of at most 8192 CPUs that an
/// x86-64 kernel takes (`NR_CPUS`), and all of them say the same about features, so a tail that is cut off is no loss.
const MAX_FILE: u64 = 1024 * 1024;
/// LIMIT: `pci.ids` has 1.6 MB today and grows by 0.1 MB a year.
const MAX_PCI_IDS: u64 = 16 * 1024 * 1024;

/// LIMIT: links on the way to a file, as in the kernel (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// The first argument by which an executable is asked to run a program under another root: folder, program, arguments.
pub const IN_ROOT: &str = "in-root";

/// A machine, as its kernel shows it. Clones share what they have learned of names.
#[derive(Clone, Debug)]
pub struct Machine {
    root: PathBuf,
    names: Arc<Mutex<Names>>,
}

/// Names of PCI devices that were looked up: the list is long, and who looks at the bus every few seconds asks the same.
#[derive(Debug, Default)]
struct Names {
    /// The list that they are from: its path, when it was changed, and how long it is.
    list: Option<(PathBuf, Option<SystemTime>, u64)>,
    /// By vendor and device; `None` for those that the list does not have. LIMIT: models of one vendor on one machine.
    known: BTreeMap<(u16, u16), Option<String>>,
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

/// A file of the kernel's that did not take what was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[error("write `{text}` to `{path}`")]
pub struct WriteError {
    /// The path, with the root.
    pub path: PathBuf,
    /// What was written, without the new line.
    pub text: String,
    /// Why not.
    pub source: io::Error,
}

impl Machine {
    /// The machine whose files are under `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), names: Arc::default() }
    }

    /// A path of the machine: absolute there, under the root here. Links are followed as the machine follows them: an
    /// absolute one starts at the root, and nothing leads out of it.
    pub fn path(&self, path: &str) -> PathBuf {
        self.find(path, true)
    }

    /// A path as this process sees it, with the links on it followed as in [`Machine::path`] where it is under the root.
    pub fn seen(&self, path: &Path) -> PathBuf {
        match path.strip_prefix(&self.root) {
            Ok(inside) => self.find(&inside.to_string_lossy(), true),
            Err(_) => path.to_owned(),
        }
    }

    /// The last part's own link is followed, or not.
    fn find(&self, path: &str, last: bool) -> PathBuf {
        let plain = self.root.join(path.trim_start_matches('/'));
        // The kernel's own links are relative, or lead into processes; and where the root is the machine's, the kernel
        // follows links by itself.
        let kernels = ["sys", "proc"].contains(&path.trim_start_matches('/').split('/').next().unwrap_or_default());
        if kernels || self.root.as_os_str() == "/" {
            return plain;
        }
        let (mut todo, mut at): (Vec<OsString>, Vec<OsString>) = (parts(Path::new(path)).rev().collect(), Vec::new());
        let mut links = 0;
        while let Some(part) = todo.pop() {
            if part == ".." {
                at.pop();
                continue;
            }
            at.push(part);
            if todo.is_empty() && !last {
                break;
            }
            // What is no link, is not there or may not be read is taken as it is written.
            let Ok(target) = std::fs::read_link(self.root.join(at.iter().collect::<PathBuf>())) else { continue };
            links += 1;
            if links > MAX_LINKS {
                // Links in a circle: nothing is there, and nothing is found where it is written either.
                return plain;
            }
            at.pop();
            if target.is_absolute() {
                at.clear();
            }
            todo.extend(parts(&target).rev());
        }
        self.root.join(at.iter().collect::<PathBuf>())
    }

    /// A program of the machine. Where its files are under a folder, as in a container, this process's executable changes
    /// its root to that folder first: an image need not hold a program that does so. The executable must understand
    /// [`IN_ROOT`].
    pub fn command(&self, program: &str) -> Command {
        if self.root.as_os_str() == "/" {
            return Command::new(program);
        }
        let mut command = Command::new("/proc/self/exe");
        command.arg(IN_ROOT).arg(&self.root).arg(program);
        command
    }

    /// The text of a file without blanks around it; `None` when there is no such file.
    pub fn text(&self, path: &str) -> Result<Option<String>, ReadError> {
        read(&self.path(path), MAX_FILE)
    }

    /// The name of a PCI device, from the list that the distribution has; `None` where there is no list, or no such device
    /// in it. The list is read again when it was changed, and for models that were not asked for yet.
    pub fn pci_name(&self, vendor: u16, device: u16) -> Result<Option<String>, ReadError> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let list = ["/usr/share/misc/pci.ids", "/usr/share/hwdata/pci.ids"].into_iter().find_map(|path| {
            let path = self.path(path);
            let found = std::fs::metadata(&path).ok()?;
            Some((path, found.modified().ok(), found.len()))
        });
        if names.list != list {
            *names = Names { list, known: BTreeMap::new() };
        }
        if let Some(known) = names.known.get(&(vendor, device)) {
            return Ok(known.clone());
        }
        let Some((path, ..)) = &names.list else { return Ok(None) };
        let name = read(path, MAX_PCI_IDS)?.and_then(|ids| names::device_name(&ids, vendor, device));
        names.known.insert((vendor, device), name.clone());
        Ok(name)
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
            Err(error) if is_absent(&error) => return Ok(Vec::new()),
            Err(error) => return Err(fail(error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            names.push(entry.map_err(fail)?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    /// What a link points at, as it is written; `None` when there is no such link.
    pub fn link_target(&self, path: &str) -> Result<Option<String>, ReadError> {
        let path = self.find(path, false);
        match std::fs::read_link(&path) {
            Ok(target) => Ok(Some(target.to_string_lossy().into_owned())),
            Err(error) if is_absent(&error) => Ok(None),
            Err(source) => Err(ReadError { path, source }),
        }
    }

    /// The last part of what a link points at, the name of a driver or a group; `None` when there is no such link.
    pub fn link_name(&self, path: &str) -> Result<Option<String>, ReadError> {
        let target = self.link_target(path)?;
        Ok(target.and_then(|target| target.rsplit('/').next().map(str::to_owned)))
    }

    /// The bytes of a file, up to a limit; `None` when there is no such file.
    pub fn bytes(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, ReadError> {
        read_bytes(&self.path(path), limit)
    }

    /// Writes to a file of the kernel's that is there; it is not created, so one that is missing is an error.
    pub fn write(&self, path: &str, text: &str) -> Result<(), WriteError> {
        let path = self.path(path);
        let written = OpenOptions::new()
            .write(true)
            .truncate(true)
            .open(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|source| WriteError { path, text: text.trim_end().to_owned(), source })
    }
}

/// The parts of a path between its slashes; `..` is one.
fn parts(path: &Path) -> impl DoubleEndedIterator<Item = OsString> {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

/// Whether an error says that there is nothing at the path.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        // The device behind the file went away between open and read, or the process whose file it is has ended.
        || matches!(error.raw_os_error(), Some(NO_SUCH_DEVICE | NO_SUCH_PROCESS))
}

fn read(path: &Path, limit: u64) -> Result<Option<String>, ReadError> {
    let bytes = read_bytes(path, limit)?;
    Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned()))
}

fn read_bytes(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, ReadError> {
    let mut bytes = Vec::new();
    match File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)) {
        Ok(_) => Ok(Some(bytes)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(source) => Err(ReadError { path: path.to_owned(), source }),
    }
}

/// ENODEV and ESRCH of errno(3) on Linux.
const NO_SUCH_DEVICE: i32 = 19;
const NO_SUCH_PROCESS: i32 = 3;

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
    fn names_are_looked_up_once_until_the_list_changes() {
        let dir = tempfile::tempdir().unwrap();
        let machine = Machine::new(dir.path());
        assert_eq!(machine.pci_name(0x10de, 0x2330).unwrap(), None);
        let list = dir.path().join("usr/share/misc/pci.ids");
        std::fs::create_dir_all(list.parent().unwrap()).unwrap();
        let write = |text: &str, age: u64| {
            std::fs::write(&list, text).unwrap();
            let file = OpenOptions::new().write(true).open(&list).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(age)).unwrap();
        };
        write("10de  NVIDIA\n\t2330  First\n", 1000);
        assert_eq!(machine.pci_name(0x10de, 0x2330).unwrap().as_deref(), Some("First"));
        assert_eq!(machine.pci_name(0x10de, 0x9999).unwrap(), None);
        // Not to be told from the list before, so nobody has read it.
        write("10de  NVIDIA\n\t2330  Other\n", 1000);
        assert_eq!(machine.clone().pci_name(0x10de, 0x2330).unwrap().as_deref(), Some("First"));
        write("10de  NVIDIA\n\t2330  Third\n", 2000);
        assert_eq!(machine.pci_name(0x10de, 0x2330).unwrap().as_deref(), Some("Third"));
    }

    #[test]
    fn links_of_the_machine_do_not_lead_out_of_it() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        for folder in ["data/kubelet", "var/lib", "usr/share/hwdata", "etc"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        std::fs::write(root.join("data/kubelet/file"), "of the machine").unwrap();
        symlink("/data/kubelet", root.join("var/lib/kubelet")).unwrap();
        symlink("../../../../../../data", root.join("var/lib/out")).unwrap();
        symlink("/loop", root.join("loop")).unwrap();
        let machine = Machine::new(root);
        for (path, found) in [
            ("/var/lib/kubelet/file", "data/kubelet/file"),
            ("/var/lib/kubelet", "data/kubelet"),
            ("/var/lib/out/kubelet/file", "data/kubelet/file"),
            ("/var/lib/kubelet/../kubelet/new", "data/kubelet/new"),
            ("/nothing/here", "nothing/here"),
            ("/../../etc", "etc"),
            ("/loop", "loop"),
            ("/", ""),
        ] {
            assert_eq!(machine.path(path), root.join(found), "{path}");
            assert_eq!(machine.seen(&root.join(path.trim_start_matches('/'))), root.join(found), "{path}");
        }
        assert_eq!(machine.seen(Path::new("/elsewhere/x")), Path::new("/elsewhere/x"));
        assert_eq!(machine.text("/var/lib/kubelet/file").unwrap().as_deref(), Some("of the machine"));
        // The link itself, and not what it leads to.
        assert_eq!(machine.link_target("/var/lib/kubelet").unwrap().as_deref(), Some("/data/kubelet"));
        assert!(!machine.exists("/loop"));
        assert_eq!(Machine::new("/").path("/var/lib/x"), Path::new("/var/lib/x"));
    }

    #[test]
    fn a_missing_attribute_is_not_created_by_a_write() {
        let dir = tempfile::tempdir().unwrap();
        let machine = Machine::new(dir.path());
        let error = machine.write("/reset", "1\n").unwrap_err();
        assert_eq!(error.source.kind(), io::ErrorKind::NotFound);
        assert_eq!(error.text, "1");
        assert!(!machine.exists("/reset"));
    }

    #[test]
    fn a_file_is_read_up_to_the_limit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("long");
        std::fs::write(&path, "abcdef").unwrap();
        assert_eq!(read(&path, 3).unwrap().as_deref(), Some("abc"));
    }
}
