//! Files of the host, under the folder where its file system is mounted.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Component, Path, PathBuf};

/// LIMIT: links on the way to a file, as in the kernel (path_resolution(7)).
const MAX_LINKS: usize = 40;
/// LIMIT: a configuration or journal. A full default configuration of containerd has 12 KiB; a journal has 200 bytes for
/// each of a few hundred files.
const MAX_TEXT: u64 = 4 * 1024 * 1024;

/// A file operation that failed.
#[derive(Debug, thiserror::Error)]
#[error("{action} `{path}`")]
pub struct FileError {
    /// What was tried: a verb.
    pub action: &'static str,
    /// On what, the root included.
    pub path: PathBuf,
    /// Why it failed.
    pub source: io::Error,
}

pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> FileError {
    let path = path.into();
    move |source| FileError { action, path, source }
}

/// The host's file system: `/` on the host, a mount of it in a container, a folder in a test.
///
/// A link of the host is followed as the host would follow it: an absolute one starts at this root, and nothing leads
/// out of it.
#[derive(Clone, Debug)]
pub struct Root(PathBuf);

impl Root {
    /// The file system that is mounted at a folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// Where an absolute path of the host is here, all links followed; what does not exist is taken as it is written.
    pub fn path(&self, path: &str) -> Result<PathBuf, FileError> {
        let fail = |source| FileError { action: "find", path: self.0.join(path.trim_start_matches('/')), source };
        let mut links = 0;
        let mut todo: Vec<std::ffi::OsString> = parts(Path::new(path));
        todo.reverse();
        let mut at: Vec<std::ffi::OsString> = Vec::new();
        while let Some(part) = todo.pop() {
            if part == ".." {
                at.pop();
                continue;
            }
            at.push(part);
            let here = self.here(&at);
            match fs::read_link(&here) {
                Ok(target) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(fail(io::Error::from(ErrorKind::TooManyLinks)));
                    }
                    at.pop();
                    if target.is_absolute() {
                        at.clear();
                    }
                    todo.extend(parts(&target).into_iter().rev());
                }
                // EINVAL: no link.
                Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::NotFound) => {}
                Err(error) => return Err(fail(error)),
            }
        }
        Ok(self.here(&at))
    }

    fn here(&self, parts: &[std::ffi::OsString]) -> PathBuf {
        parts.iter().fold(self.0.clone(), |path, part| path.join(part))
    }

    /// The text of a file; `None` when there is none.
    pub fn text(&self, path: &str) -> Result<Option<String>, FileError> {
        let path = self.path(path)?;
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
            Err(error) => return Err(io("open", path)(error)),
        };
        let mut text = String::new();
        let read = file.take(MAX_TEXT + 1).read_to_string(&mut text).map_err(io("read", &path))?;
        if read as u64 > MAX_TEXT {
            return Err(io("read", path)(io::Error::from(ErrorKind::FileTooLarge)));
        }
        Ok(Some(text))
    }

    /// Puts a text in place, whole or not at all. A file that is there keeps its mode and owner; a new one has 0644,
    /// whatever the umask.
    pub fn replace(&self, path: &str, text: &str) -> Result<(), FileError> {
        let path = self.path(path)?;
        let folder = path.parent().unwrap_or(&self.0).to_owned();
        fs::create_dir_all(&folder).map_err(io("make folder", &folder))?;
        let old = match fs::metadata(&path) {
            Ok(old) => Some(old),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(io("look at", path)(error)),
        };
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        // One writer at a time (see the installer's lock), so what lies here is what a killed one left.
        let temporary = folder.join(format!(".{name}.casemate-new"));
        remove_file(&temporary)?;
        let written = File::options().write(true).create_new(true).open(&temporary).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.set_permissions(Permissions::from_mode(old.as_ref().map_or(0o644, |old| old.mode() & 0o7777)))?;
            if let Some(old) = &old {
                let new = file.metadata()?;
                if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
                    chown(&temporary, Some(old.uid()), Some(old.gid()))?;
                }
            }
            file.sync_all()
        });
        written.map_err(io("write", &temporary))?;
        fs::rename(&temporary, &path).map_err(io("put in place", &path))?;
        sync_folder(&folder)
    }

    /// Removes a file, if it is there.
    pub fn remove(&self, path: &str) -> Result<(), FileError> {
        let path = self.path(path)?;
        remove_file(&path)?;
        match path.parent() {
            Some(folder) if folder.is_dir() => sync_folder(folder),
            _ => Ok(()),
        }
    }

    /// Names in a folder, sorted; none when there is no such folder.
    pub fn names(&self, path: &str) -> Result<Vec<String>, FileError> {
        let path = self.path(path)?;
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(Vec::new());
            }
            Err(error) => return Err(io("list", path)(error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            names.push(entry.map_err(io("list", &path))?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }
}

fn parts(path: &Path) -> Vec<std::ffi::OsString> {
    let kept = path.components().filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    kept.map(|part| part.as_os_str().to_owned()).collect()
}

pub(crate) fn remove_file(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Makes renames and removals in a folder last.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), FileError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io("sync", folder))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn host() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path());
        (dir, root)
    }

    #[test]
    fn links_are_followed_as_the_host_would() {
        let (dir, root) = host();
        fs::create_dir_all(dir.path().join("data/rancher")).unwrap();
        fs::create_dir_all(dir.path().join("var/lib")).unwrap();
        symlink("/data/rancher", dir.path().join("var/lib/rancher")).unwrap();
        symlink("../../../../../etc", dir.path().join("data/out")).unwrap();
        assert_eq!(root.path("/var/lib/rancher/k3s/x").unwrap(), dir.path().join("data/rancher/k3s/x"));
        assert_eq!(root.path("/data/out/passwd").unwrap(), dir.path().join("etc/passwd"));
        assert_eq!(root.path("/a/../../b").unwrap(), dir.path().join("b"));
    }

    #[test]
    fn links_in_a_circle_are_an_error() {
        let (dir, root) = host();
        symlink("/b", dir.path().join("a")).unwrap();
        symlink("/a", dir.path().join("b")).unwrap();
        assert_eq!(root.path("/a").unwrap_err().action, "find");
    }

    #[test]
    fn a_file_keeps_its_mode_and_a_new_one_is_not_for_others_to_write() {
        let (dir, root) = host();
        let mode = |path: &str| fs::metadata(dir.path().join(path)).unwrap().mode() & 0o7777;
        root.replace("/etc/new", "x").unwrap();
        assert_eq!(mode("etc/new"), 0o644);
        fs::set_permissions(dir.path().join("etc/new"), Permissions::from_mode(0o600)).unwrap();
        root.replace("/etc/new", "y").unwrap();
        assert_eq!((mode("etc/new"), root.text("/etc/new").unwrap().as_deref()), (0o600, Some("y")));
        assert_eq!(root.names("/etc").unwrap(), ["new"]);
    }

    #[test]
    fn what_a_killed_writer_left_is_no_hindrance() {
        let (dir, root) = host();
        fs::write(dir.path().join(".a.casemate-new"), "half").unwrap();
        root.replace("/a", "whole").unwrap();
        assert_eq!(root.names("/").unwrap(), ["a"]);
    }

    #[test]
    fn missing_is_not_unreadable() {
        let (dir, root) = host();
        assert_eq!(root.text("/nothing").unwrap(), None);
        assert!(root.names("/nothing").unwrap().is_empty());
        root.remove("/nothing").unwrap();
        fs::write(dir.path().join("bytes"), [0xff, 0xfe]).unwrap();
        assert_eq!(root.text("/bytes").unwrap_err().action, "read");
    }
}
