//! Writing many files, all or none.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Why files were not written. Nothing is left of an attempt.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlaceError {
    /// Something is there.
    #[error("`{}` is there already", path.display())]
    Taken {
        /// What.
        path: PathBuf,
    },
    /// The file system said no.
    #[error("{doing} `{}`", path.display())]
    Io {
        /// What was being attempted.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PlaceError {
    let path = path.to_owned();
    move |source| PlaceError::Io { doing, path, source }
}

/// A file to write: its path below the folder, and its content.
pub type Entry = (String, String);

/// Makes a folder with these files in it. It appears whole or not at all: it is written beside its place and renamed.
/// A folder that is there must be empty.
pub fn new_folder(target: &Path, files: &[Entry]) -> Result<(), PlaceError> {
    let taken = match fs::read_dir(target) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => true,
        Err(error) => return Err(failed("read", target)(error)),
    };
    if taken {
        return Err(PlaceError::Taken { path: target.to_owned() });
    }
    let parent = parent(target);
    fs::create_dir_all(parent).map_err(failed("create", parent))?;
    let staged = beside(target);
    let attempt = || {
        fs::create_dir(&staged).map_err(failed("create", &staged))?;
        for (name, text) in files {
            let path = staged.join(name);
            let folder = self::parent(&path);
            fs::create_dir_all(folder).map_err(failed("create", folder))?;
            write_synced(&path, text)?;
        }
        // Onto an empty folder, too; one that was filled in the meantime is refused by the kernel.
        fs::rename(&staged, target).map_err(failed("move into place", target))
    };
    attempt().inspect_err(|_| drop(fs::remove_dir_all(&staged)))
}

/// Writes files into a folder that may hold others. One that is there with the same content stays; with another, it is
/// [`PlaceError::Taken`] unless `replace`.
pub fn into_folder(folder: &Path, files: &[Entry], replace: bool) -> Result<(), PlaceError> {
    fs::create_dir_all(folder).map_err(failed("create", folder))?;
    let mut to_write = Vec::new();
    for (name, text) in files {
        let path = folder.join(name);
        match fs::read(&path) {
            Ok(there) if there == text.as_bytes() => {}
            Ok(_) if replace => to_write.push((path, text)),
            Ok(_) => return Err(PlaceError::Taken { path }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => to_write.push((path, text)),
            Err(error) => return Err(failed("read", &path)(error)),
        }
    }
    let mut staged: Vec<(PathBuf, PathBuf)> = Vec::new();
    let mut attempt = || {
        for (path, text) in &to_write {
            let temporary = beside(path);
            staged.push((temporary.clone(), path.clone()));
            write_synced(&temporary, text)?;
        }
        for (temporary, path) in &staged {
            fs::rename(temporary, path).map_err(failed("move into place", path))?;
        }
        Ok(())
    };
    let result = attempt();
    if result.is_err() {
        for (temporary, _) in &staged {
            drop(fs::remove_file(temporary));
        }
    }
    result
}

fn write_synced(path: &Path, text: &str) -> Result<(), PlaceError> {
    let write = || {
        let mut file = File::create_new(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(failed("write", path))
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// A name in the same folder, so that a rename stays within a file system.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    parent(path).join(format!(".{name}.{}", std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(names: &[&str]) -> Vec<Entry> {
        names.iter().map(|name| ((*name).to_owned(), format!("{name}\n"))).collect()
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_folder_appears_with_everything_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("deep/gke");
        new_folder(&target, &entries(&["main.tf", "tests/plan.tftest.hcl"])).unwrap();
        assert_eq!(names(&target), ["main.tf", "tests"]);
        assert_eq!(names(&dir.path().join("deep")), ["gke"]);
    }

    #[test]
    fn an_empty_folder_is_filled_and_another_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let empty = dir.path().join("empty");
        fs::create_dir(&empty).unwrap();
        new_folder(&empty, &entries(&["a"])).unwrap();
        assert!(matches!(new_folder(&empty, &entries(&["b"])), Err(PlaceError::Taken { .. })));
        assert_eq!(names(&empty), ["a"]);
        let file = dir.path().join("file");
        fs::write(&file, "x").unwrap();
        assert!(matches!(new_folder(&file, &entries(&["b"])), Err(PlaceError::Taken { .. })));
        assert_eq!(names(dir.path()), ["empty", "file"]);
    }

    #[test]
    fn nothing_is_left_of_a_folder_that_could_not_be_written() {
        let dir = tempfile::tempdir().unwrap();
        // A file and a folder of one name.
        let clash = entries(&["a", "a/b"]);
        assert!(matches!(new_folder(&dir.path().join("gke"), &clash), Err(PlaceError::Io { .. })));
        assert_eq!(names(dir.path()), [""; 0]);
    }

    #[test]
    fn files_beside_others_are_written_all_or_none() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("b"), "somebody's").unwrap();
        assert!(matches!(into_folder(dir.path(), &entries(&["a", "b"]), false), Err(PlaceError::Taken { .. })));
        assert_eq!(names(dir.path()), ["b"]);
        into_folder(dir.path(), &entries(&["a", "b"]), true).unwrap();
        assert_eq!(names(dir.path()), ["a", "b"]);
        // Again: what is the same is not in the way.
        into_folder(dir.path(), &entries(&["a", "b"]), false).unwrap();
    }

    #[test]
    fn a_folder_in_the_place_of_a_file_stays() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("b")).unwrap();
        assert!(matches!(into_folder(dir.path(), &entries(&["a", "b"]), true), Err(PlaceError::Io { .. })));
        assert_eq!(names(dir.path()), ["b"]);
    }
}
