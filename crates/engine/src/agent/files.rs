//! `CopyFileRequest`: files, directories and links that the host puts into the guest.

use std::os::fd::OwnedFd;

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Uid, chownat, fchmod, fstat, mkdirat, renameat, symlinkat, unlinkat,
};
use rustix::io::Errno;

use crate::agent_api::{AgentError, MAX_COPIED_FILE, MAX_COPY_CHUNK};

use super::guest::COPIED;
use super::request::CopyFile;
use super::resolve::{make_folders, open_in, parts};

/// Directories that are missing on the way are made with this mode.
const FOLDER_MODE: u32 = 0o750;
/// Behind the name of a file that is not whole yet. No policy allows a copy whose name ends so: names end as the paths
/// of mounts do, and `:` is not for those.
const ASIDE: &str = ":part";
/// LIMIT: `PATH_MAX`, the longest link that the kernel takes.
const MAX_LINK: usize = 4095;

/// Writes what the request describes, below [`COPIED`].
pub(super) fn copy(request: &CopyFile, data: &[u8]) -> Result<(), AgentError> {
    let parts = parts(&request.path, COPIED, "path")?;
    copy_below(COPIED, &parts, request, data)
}

fn copy_below(base: &str, parts: &[&str], request: &CopyFile, data: &[u8]) -> Result<(), AgentError> {
    let failed = |error: Errno| AgentError::failed(format!("path: write `{}`: {error}", request.path));
    let end = request.offset.checked_add(data.len() as u64);
    if data.len() > MAX_COPY_CHUNK
        || end.is_none_or(|end| end > request.file_size)
        || request.file_size > MAX_COPIED_FILE
    {
        return Err(AgentError::malformed(format!(
            "{} bytes at offset {} do not fit file_size {} (at most {MAX_COPIED_FILE})",
            data.len(),
            request.offset,
            request.file_size
        )));
    }
    let Some((name, above)) = parts.split_last() else { return Err(AgentError::malformed("path: empty")) };
    let folder = make_folders(base, above, FOLDER_MODE).map_err(failed)?;
    // A mode beyond the permission bits is refused by the kernel's own mask; the set-id and sticky bits stay.
    let mode = Mode::from_raw_mode(request.file_mode & 0o7777);
    let (owner, group) = (Some(Uid::from_raw(request.uid)), Some(Gid::from_raw(request.gid)));
    match FileType::from_raw_mode(request.file_mode) {
        FileType::Directory => make_folder(&folder, name, mode).map_err(failed)?,
        FileType::Symlink => {
            if request.symlink_src.is_empty() || request.symlink_src.len() > MAX_LINK {
                return Err(AgentError::malformed("symlink_src: empty or too long"));
            }
            make_link(&folder, name, &request.symlink_src).map_err(failed)?;
        }
        FileType::RegularFile => {
            let aside = write(&folder, name, mode, request.offset, data, request.file_size).map_err(failed)?;
            let Some(aside) = aside else { return Ok(()) };
            chownat(&folder, aside.as_str(), owner, group, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
            return renameat(&folder, aside.as_str(), &folder, *name).map_err(failed);
        }
        _ => {
            return Err(AgentError::malformed(format!(
                "file_mode: {:o} is no file, folder or link",
                request.file_mode
            )));
        }
    }
    chownat(&folder, *name, owner, group, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)
}

fn make_folder(folder: &OwnedFd, name: &str, mode: Mode) -> Result<(), Errno> {
    match mkdirat(folder, name, mode) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error),
    }
    let made = open_in(folder, name, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
    fchmod(&made, mode)
}

fn make_link(folder: &OwnedFd, name: &str, target: &str) -> Result<(), Errno> {
    match symlinkat(target, folder, name) {
        Err(Errno::EXIST) => {}
        other => return other,
    }
    // The kubelet updates a volume by pointing `..data` elsewhere. Only a link may be replaced by a link.
    let old = open_in_link(folder, name)?;
    if FileType::from_raw_mode(fstat(&old)?.st_mode) != FileType::Symlink {
        return Err(Errno::EXIST);
    }
    unlinkat(folder, name, AtFlags::empty())?;
    symlinkat(target, folder, name)
}

fn open_in_link(folder: &OwnedFd, name: &str) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(folder, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// A file is written aside and then takes its place, as in Kata's agent: what a container has mounted, and its launcher
/// has compared, is never written into. The pieces of one file come one after the other.
fn write(
    folder: &OwnedFd,
    name: &str,
    mode: Mode,
    offset: u64,
    mut data: &[u8],
    size: u64,
) -> Result<Option<String>, Errno> {
    let aside = format!("{name}{ASIDE}");
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW;
    let flags = if offset == 0 { flags | OFlags::TRUNC } else { flags };
    let file = open_in(folder, &aside, flags, Mode::from_raw_mode(0o600))?;
    let mut at = offset;
    while !data.is_empty() {
        let written = rustix::io::pwrite(&file, data, at)?;
        data = data.get(written..).unwrap_or_default();
        at += written as u64;
    }
    if u64::try_from(fstat(&file)?.st_size).ok() != Some(size) {
        return Ok(None);
    }
    // After the umask.
    fchmod(&file, mode)?;
    Ok(Some(aside))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn request(mode: u32, size: u64) -> CopyFile {
        CopyFile {
            path: "p".into(),
            file_size: size,
            file_mode: mode,
            uid: rustix::process::getuid().as_raw(),
            gid: rustix::process::getgid().as_raw(),
            offset: 0,
            symlink_src: String::new(),
        }
    }

    const FILE: u32 = 0o100_644;

    #[test]
    fn a_file_is_written_in_pieces() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().to_str().unwrap();
        copy_below(path, &["a", "b"], &request(FILE, 6), b"abc").unwrap();
        let rest = CopyFile { offset: 3, ..request(FILE, 6) };
        copy_below(path, &["a", "b"], &rest, b"def").unwrap();
        let file = base.path().join("a/b");
        assert_eq!(std::fs::read(&file).unwrap(), b"abcdef");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o644);
    }

    #[test]
    fn what_was_copied_once_is_never_written_into() {
        use std::io::Read as _;
        let base = tempfile::tempdir().unwrap();
        let path = base.path().to_str().unwrap();
        copy_below(path, &["a"], &request(FILE, 3), b"old").unwrap();
        let mut mounted = std::fs::File::open(base.path().join("a")).unwrap();
        copy_below(path, &["a"], &request(FILE, 6), b"new").unwrap();
        assert_eq!(std::fs::read(base.path().join("a")).unwrap(), b"old", "a part is not there yet");
        let rest = CopyFile { offset: 3, ..request(FILE, 6) };
        copy_below(path, &["a"], &rest, b"NEW").unwrap();
        let mut content = String::new();
        mounted.read_to_string(&mut content).unwrap();
        assert_eq!(content, "old");
        assert_eq!(std::fs::read(base.path().join("a")).unwrap(), b"newNEW");
        std::fs::create_dir(base.path().join("folder")).unwrap();
        assert!(copy_below(path, &["folder"], &request(FILE, 3), b"new").is_err(), "no file takes a folder's place");
    }

    #[test]
    fn content_beyond_the_announced_size_is_refused() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().to_str().unwrap();
        assert!(copy_below(path, &["a"], &request(FILE, 2), b"abc").is_err());
        let far = CopyFile { offset: u64::MAX, ..request(FILE, 2) };
        assert!(copy_below(path, &["a"], &far, b"abc").is_err());
        assert!(copy_below(path, &["a"], &request(FILE, MAX_COPIED_FILE + 1), b"").is_err());
        assert!(!base.path().join("a").exists());
    }

    #[test]
    fn a_file_is_not_written_through_a_link_of_the_host() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().to_str().unwrap();
        let target = base.path().join("secret");
        std::fs::write(&target, b"old").unwrap();
        let link = CopyFile { symlink_src: "secret".into(), ..request(0o120_777, 0) };
        copy_below(path, &["link"], &link, b"").unwrap();
        copy_below(path, &["link"], &request(FILE, 3), b"new").unwrap();
        assert_eq!(std::fs::read(base.path().join("link")).unwrap(), b"new", "the file took the link's place");
        let folder = CopyFile { symlink_src: ".".into(), ..request(0o120_777, 0) };
        copy_below(path, &["folder"], &folder, b"").unwrap();
        assert!(copy_below(path, &["folder", "secret"], &request(FILE, 3), b"new").is_err());
        assert_eq!(std::fs::read(&target).unwrap(), b"old");
    }

    #[test]
    fn a_link_replaces_a_link_and_nothing_else() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().to_str().unwrap();
        let link = |target: &str| CopyFile { symlink_src: target.into(), ..request(0o120_777, 0) };
        copy_below(path, &["..data"], &link("..1"), b"").unwrap();
        copy_below(path, &["..data"], &link("..2"), b"").unwrap();
        assert_eq!(std::fs::read_link(base.path().join("..data")).unwrap().to_str(), Some("..2"));
        copy_below(path, &["file"], &request(FILE, 0), b"").unwrap();
        assert!(copy_below(path, &["file"], &link("..1"), b"").is_err());
        assert!(copy_below(path, &["x"], &link(""), b"").is_err());
    }

    #[test]
    fn devices_and_sockets_are_refused() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().to_str().unwrap();
        for mode in [0o020_666, 0o060_666, 0o010_666, 0o140_666, 0] {
            assert!(copy_below(path, &["a"], &request(mode, 0), b"").is_err(), "{mode:o}");
        }
    }
}
