//! Sockets as files: which one lies at a path.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// One socket, told from another that was made at the same path later. The inode's number alone does not tell, since it is
/// used again; the time of its last change does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    changed: (i64, i64),
}

impl Identity {
    /// Of what lies at a path; `None` when nothing does.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::symlink_metadata(path).ok()?;
        let changed = (metadata.ctime(), metadata.ctime_nsec());
        Some(Self { device: metadata.dev(), inode: metadata.ino(), changed })
    }
}

/// Removes a socket that an earlier process left.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_made_anew_is_another_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        assert_eq!(Identity::of(&path), None);
        std::fs::write(&path, "").unwrap();
        let first = Identity::of(&path);
        assert_eq!(Identity::of(&path), first);
        // Beside the first, so that it gets a number of its own, and then in its place.
        std::fs::write(dir.path().join("t"), "").unwrap();
        std::fs::rename(dir.path().join("t"), &path).unwrap();
        assert_ne!(Identity::of(&path), first);
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert_eq!(Identity::of(&path), None);
    }
}
