//! Marks of init containers that ended well, and who waits for them.
//!
//! A policy decides about one container at a time and does not see how one ended, so the host could leave an init
//! container out. So each writes a mark when it is through, and whoever comes after it waits for that mark. They lie in a
//! volume of guest memory into which the host copies nothing; init containers alone may write there, and the
//! policy binds both that and who waits for whom.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// Where `generate` mounts the volume.
pub(crate) const FOLDER: &str = "/casemate-done";

/// LIMIT: the kubelet starts a container when those before it are through, so a mark that is not there by now will not
/// come: it is the launcher of a sidecar, still on its way, that is waited for.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// LIMIT: names of containers are DNS labels.
const MAX_NAME: usize = 63;

/// Whether this may be the name of a container, and so that of a mark: a path is none.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// Whether a container has its mark: a file, and not what leads to one.
pub(crate) fn is_set(folder: &Path, name: &str) -> bool {
    folder.join(name).symlink_metadata().is_ok_and(|found| found.is_file())
}

/// Waits until a container has its mark, and gives up after a while.
pub(crate) fn wait(folder: &Path, name: &str, longest: Duration) -> bool {
    let start = Instant::now();
    loop {
        if is_set(folder, name) {
            return true;
        }
        if start.elapsed() >= longest {
            return false;
        }
        std::thread::sleep(PAUSE);
    }
}

/// Sets a container's mark. One that is there stays.
pub(crate) fn set(folder: &Path, name: &str) -> io::Result<()> {
    // A link that lies there is not followed, whatever it leads to.
    match OpenOptions::new().write(true).create_new(true).mode(0o444).open(folder.join(name)) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists && is_set(folder, name) => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const SOON: Duration = Duration::from_millis(50);

    #[test]
    fn a_mark_is_set_once_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!is_set(folder.path(), "init"));
        for _ in 0..2 {
            set(folder.path(), "init").unwrap();
            assert!(is_set(folder.path(), "init"));
        }
        assert!(!is_set(folder.path(), "other"));
        assert!(wait(folder.path(), "init", Duration::ZERO), "one that is there needs no time");
    }

    #[test]
    fn a_mark_that_comes_late_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| wait(folder.path(), "init", Duration::from_secs(60)));
            std::thread::sleep(SOON);
            set(folder.path(), "init").unwrap();
            assert!(waiting.join().unwrap());
        });
    }

    #[test]
    fn what_is_no_file_is_no_mark_and_nothing_is_written_through_it() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("folder")).unwrap();
        std::fs::write(at("real"), "").unwrap();
        symlink("real", at("link")).unwrap();
        symlink("nowhere", at("dangling")).unwrap();
        nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        for name in ["folder", "link", "dangling", "pipe", "none"] {
            assert!(!is_set(folder.path(), name), "{name}");
            assert!(!wait(folder.path(), name, SOON), "{name}");
        }
        for name in ["folder", "link", "dangling", "pipe"] {
            assert!(set(folder.path(), name).is_err(), "{name}");
        }
        assert!(!at("nowhere").exists());
        assert!(set(&at("none"), "init").is_err(), "without a folder there is nothing to write to");
    }

    #[test]
    fn a_path_is_no_name() {
        for name in ["init", "init-2", "a"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", ".", "..", "a/b", "/a", "a.b", "A", "a b", "a\n", &"x".repeat(64)] {
            assert!(!is_name(name), "{name}");
        }
    }
}
