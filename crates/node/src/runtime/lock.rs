//! One installation or removal at a time, in whichever process.

use std::fs::{self, File};
use std::io::{Error, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::files::{FileError, io};

/// LIMIT: how often the file is taken away while it is waited for: each time somebody else ended his work in between.
const MAX_TURNS: usize = 1000;

/// Held until it is dropped. What it made goes then, where nothing else was put beside it.
pub(super) struct Lock {
    file: PathBuf,
    /// Whose lock ends when it is closed.
    _open: File,
}

impl Lock {
    /// Waits for it. Makes the folder where there is none.
    pub(super) fn take(folder: &Path) -> Result<Self, FileError> {
        let file = folder.join(".lock");
        for _ in 0..MAX_TURNS {
            match fs::create_dir_all(folder) {
                // The folder above went in between, or this one did after another had made it.
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::AlreadyExists) => continue,
                made => made.map_err(io("make folder", folder))?,
            }
            let open = match File::options().create(true).append(true).open(&file) {
                Ok(open) => open,
                // The folder went in between.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(io("open", file)(error)),
            };
            open.lock().map_err(io("lock", &file))?;
            // Whoever had it before may have taken away the file that we waited for, and another one have locked a new.
            let ours = open.metadata().map_err(io("look at", &file))?;
            match fs::metadata(&file) {
                Ok(there) if (there.dev(), there.ino()) == (ours.dev(), ours.ino()) => {
                    return Ok(Self { file, _open: open });
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(io("look at", file)(error)),
            }
        }
        Err(io("lock", file)(Error::from(ErrorKind::ResourceBusy)))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let Some(folder) = self.file.parent() else { return };
        let is_ours = |entry: std::io::Result<fs::DirEntry>| entry.is_ok_and(|entry| entry.path() == self.file);
        if fs::read_dir(folder).is_ok_and(|mut entries| entries.all(is_ours)) {
            // What cannot be removed does no harm, and a folder with something in it is not removed.
            let _ = fs::remove_file(&self.file);
            let _ = fs::remove_dir(folder);
            let _ = folder.parent().map(fs::remove_dir);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn nothing_is_left_where_nothing_was_put() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("casemate/kata");
        drop(Lock::take(&home).unwrap());
        assert!(!dir.path().join("casemate").exists());
        let lock = Lock::take(&home).unwrap();
        fs::write(home.join("installed.json"), "").unwrap();
        drop(lock);
        assert!(home.join(".lock").exists());
        fs::remove_file(home.join("installed.json")).unwrap();
        fs::write(dir.path().join("casemate/bundle.toml"), "").unwrap();
        drop(Lock::take(&home).unwrap());
        assert!(!home.exists() && dir.path().join("casemate/bundle.toml").exists());
    }

    #[test]
    fn one_holds_it_although_each_takes_the_file_away() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("casemate/kata");
        let (holders, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let lock = Lock::take(&home).unwrap();
                        most.fetch_max(holders.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        std::thread::yield_now();
                        holders.fetch_sub(1, Ordering::SeqCst);
                        drop(lock);
                    }
                });
            }
        });
        assert_eq!(most.load(Ordering::SeqCst), 1);
    }
}
