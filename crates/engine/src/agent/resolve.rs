//! Paths from requests, resolved inside `/run/kata-containers` and nowhere else.
//!
//! The policy decides on the text of a path. A symbolic link that the host has copied in could make that text mean
//! something else, a secret of another container for one, so no link is ever followed here, and what was resolved once
//! is kept as an open file rather than resolved again.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, mkdirat, openat2};
use rustix::io::Errno;

use crate::agent_api::AgentError;

use super::guest::KATA;

/// A path below [`KATA`] in parts, or why it is none.
pub(super) fn parts<'a>(path: &'a str, below: &str, field: &str) -> Result<Vec<&'a str>, AgentError> {
    let outside = || AgentError::failed(format!("{field}: `{path}` is not below {below}"));
    let rest = path.strip_prefix(below).and_then(|rest| rest.strip_prefix('/')).ok_or_else(outside)?;
    let parts: Vec<_> = rest.split('/').filter(|part| !part.is_empty()).collect();
    if parts.is_empty() || parts.iter().any(|part| matches!(*part, "." | "..") || part.contains('\0')) {
        return Err(outside());
    }
    Ok(parts)
}

const FLAGS: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

/// Opens one name in a directory, never through a link.
pub(super) fn open_in(folder: impl AsFd, name: &str, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    openat2(folder, name, flags | OFlags::CLOEXEC, mode, FLAGS)
}

/// Opens `parts` below `base` as directories, making those that are missing.
pub(super) fn make_folders(base: &str, parts: &[&str], mode: u32) -> Result<OwnedFd, Errno> {
    let mut folder = open_in(CWD, ".", OFlags::PATH, Mode::empty())?;
    folder = rustix::fs::openat(&folder, base, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    for part in parts {
        match mkdirat(&folder, *part, Mode::from_raw_mode(mode)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
        folder = open_in(&folder, part, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
    }
    Ok(folder)
}

/// Makes the directory `path` below [`KATA`] and opens it.
pub(super) fn folder(path: &str, mode: u32, field: &str) -> Result<OwnedFd, AgentError> {
    let parts = parts(path, KATA, field)?;
    make_folders(KATA, &parts, mode).map_err(|error| AgentError::failed(format!("{field}: make `{path}`: {error}")))
}

/// Opens what `path` below [`KATA`] names; `None` when there is nothing.
pub(super) fn existing(path: &str, field: &str) -> Result<Option<OwnedFd>, AgentError> {
    let parts = parts(path, KATA, field)?.join("/");
    let failed = |error: Errno| AgentError::failed(format!("{field}: open `{path}`: {error}"));
    let base = rustix::fs::openat(CWD, KATA, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(failed)?;
    match open_in(&base, &parts, OFlags::PATH, Mode::empty()) {
        Ok(found) => Ok(Some(found)),
        Err(Errno::NOENT) => Ok(None),
        Err(Errno::LOOP) => Err(AgentError::failed(format!("{field}: `{path}` leads through a symbolic link"))),
        Err(error) => Err(failed(error)),
    }
}

/// The kernel's path of an open file, for calls that take paths only.
pub(super) fn by_fd(fd: BorrowedFd<'_>) -> String {
    use std::os::fd::AsRawFd as _;
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_below_the_base_have_parts() {
        assert_eq!(parts("/run/kata-containers/a//b", KATA, "x").unwrap(), ["a", "b"]);
        for path in [
            "",
            "/",
            "/etc/passwd",
            "/run/kata-containers",
            "/run/kata-containers/",
            "/run/kata-containers-2/a",
            "/run/kata-containers/../a",
            "/run/kata-containers/a/../../b",
            "/run/kata-containers/./a",
            "run/kata-containers/a",
        ] {
            assert!(parts(path, KATA, "x").is_err(), "{path}");
        }
    }

    #[test]
    fn no_link_is_followed() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().to_str().unwrap();
        std::os::unix::fs::symlink("/etc", base.path().join("out")).unwrap();
        std::fs::create_dir(base.path().join("in")).unwrap();
        std::os::unix::fs::symlink("in", base.path().join("alias")).unwrap();
        assert_eq!(make_folders(path, &["out", "x"], 0o700).unwrap_err(), Errno::LOOP);
        assert_eq!(make_folders(path, &["alias"], 0o700).unwrap_err(), Errno::LOOP);
        assert!(make_folders(path, &["in", "x"], 0o700).is_ok());
        assert!(base.path().join("in/x").is_dir());
    }
}
