//! Unpacks one layer into a folder of its own, as overlayfs wants it.
//!
//! A layer comes from a registry and may name any path. Every name is resolved with the folder as its root (`openat2`,
//! `RESOLVE_IN_ROOT`), so that neither `..` nor a link of the layer leads out of it.

use std::fs::File;
use std::io::{BufReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Timestamps, Uid, XattrFlags, chownat, fchmod, fchown,
    fsetxattr, linkat, mkdirat, mknodat, openat2, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;
use tar::{Archive, Entry, EntryType};

/// LIMIT: entries of one layer. A distribution's base image has about ten thousand.
const MAX_ENTRIES: u64 = 4_000_000;
/// LIMIT: bytes of one layer when unpacked, against bombs: gzip packs a thousandfold. What comes after is cut off, and
/// the archive then ends too early.
const MAX_BYTES: u64 = 256 * 1024 * 1024 * 1024;
/// LIMIT: xattrs that are taken over; only file capabilities matter to a program.
const TAKEN_XATTR: &str = "SCHILY.xattr.security.capability";

/// Why a layer could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub(super) enum UnpackError {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("`{}`: {error}", path.display())]
    Entry { path: PathBuf, error: Errno },
    #[error("`{}` is not a path inside the image", path.display())]
    Path { path: PathBuf },
    #[error("`{}` is a kind of entry that images do not have", path.display())]
    Kind { path: PathBuf },
    #[error("more than {MAX_ENTRIES} entries")]
    Entries,
    #[error("zstd: {0}")]
    Zstd(String),
}

/// Unpacks the tar file `blob`, plain or packed by gzip or zstd, into the new folder `to`.
pub(super) fn layer(blob: &Path, to: &Path) -> Result<(), UnpackError> {
    let mut file = BufReader::with_capacity(1 << 20, File::open(blob)?);
    let magic = std::io::BufRead::fill_buf(&mut file)?;
    std::fs::create_dir(to)?;
    // A layer need not name its root; containers expect to read it.
    std::fs::set_permissions(to, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    if magic.starts_with(&[0x1f, 0x8b]) {
        unpack(flate2::bufread::MultiGzDecoder::new(file), to)
    } else if magic.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        let decoder =
            ruzstd::decoding::StreamingDecoder::new(file).map_err(|error| UnpackError::Zstd(error.to_string()))?;
        unpack(decoder, to)
    } else {
        unpack(file, to)
    }
}

fn unpack(stream: impl Read, to: &Path) -> Result<(), UnpackError> {
    let root: OwnedFd = File::open(to)?.into();
    let mut archive = Archive::new(stream.take(MAX_BYTES));
    let mut times = Vec::new();
    let mut count = 0;
    for entry in archive.entries()? {
        let mut entry = entry?;
        count += 1;
        if count > MAX_ENTRIES {
            return Err(UnpackError::Entries);
        }
        let path = entry.path()?.into_owned();
        let failed = |error| UnpackError::Entry { path: path.clone(), error };
        let Some((above, name)) = split(&path)? else {
            // The root itself: only its mode and owner count.
            let mode = Mode::from_raw_mode(entry.header().mode()? & 0o7777);
            fchmod(&root, mode).map_err(failed)?;
            continue;
        };
        let folder = open_folder(&root, &above).map_err(failed)?;
        match whiteout(&name) {
            Some(Whiteout::Opaque) => {
                fsetxattr(
                    &folder_for_writing(&root, &above).map_err(failed)?,
                    "trusted.overlay.opaque",
                    b"y",
                    XattrFlags::empty(),
                )
                .map_err(failed)?;
                continue;
            }
            Some(Whiteout::Of(hidden)) => {
                remove(&folder, &hidden).map_err(failed)?;
                // overlayfs marks what is deleted with a character device 0/0.
                mknodat(&folder, &hidden, FileType::CharacterDevice, Mode::empty(), 0).map_err(failed)?;
                continue;
            }
            None => {}
        }
        if make(&mut entry, &root, &folder, &name, &path)? && entry.header().entry_type() == EntryType::Directory {
            times.push((path.clone(), entry.header().mtime()?));
        }
    }
    // Folders last: making something inside one changes its time.
    for (path, mtime) in times.into_iter().rev() {
        if let Some((above, name)) = split(&path)?
            && let Ok(folder) = open_folder(&root, &above)
        {
            set_time(&folder, &name, mtime);
        }
    }
    Ok(())
}

/// Makes one entry; says whether its time is to be set again at the end.
fn make<R: Read>(
    entry: &mut Entry<'_, R>,
    root: &OwnedFd,
    folder: &OwnedFd,
    name: &str,
    path: &Path,
) -> Result<bool, UnpackError> {
    let failed = |error| UnpackError::Entry { path: path.to_owned(), error };
    let header = entry.header();
    let mode = Mode::from_raw_mode(header.mode()? & 0o7777);
    let (uid, gid) = (id(header.uid()?), id(header.gid()?));
    let (owner, group) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    let mtime = header.mtime()?;
    match header.entry_type() {
        EntryType::Directory => {
            match mkdirat(folder, name, mode) {
                Ok(()) => {}
                Err(Errno::EXIST) => {
                    // A folder may be named twice; anything else gives way.
                    if open_folder(folder, Path::new(name)).is_err() || is_link(folder, name) {
                        remove(folder, name).map_err(failed)?;
                        mkdirat(folder, name, mode).map_err(failed)?;
                    }
                }
                Err(error) => return Err(failed(error)),
            }
            let made =
                openat2(folder, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty(), INSIDE)
                    .map_err(failed)?;
            fchown(&made, owner, group).map_err(failed)?;
            fchmod(&made, mode).map_err(failed)?;
            Ok(true)
        }
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            remove(folder, name).map_err(failed)?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let made = openat2(folder, name, flags, Mode::from_raw_mode(0o600), INSIDE).map_err(failed)?;
            let capability = capability(entry)?;
            let mut made = File::from(made);
            std::io::copy(entry, &mut made)?;
            // The owner before the mode: a change of owner takes the set-id bits away.
            fchown(&made, owner, group).map_err(failed)?;
            fchmod(&made, mode).map_err(failed)?;
            if let Some(value) = capability {
                fsetxattr(&made, "security.capability", &value, XattrFlags::empty()).map_err(failed)?;
            }
            set_time(folder, name, mtime);
            Ok(false)
        }
        EntryType::Symlink => {
            let target = entry.link_name_bytes().ok_or_else(|| UnpackError::Path { path: path.to_owned() })?;
            remove(folder, name).map_err(failed)?;
            symlinkat(std::ffi::OsStr::from_bytes(&target), folder, name).map_err(failed)?;
            chownat(folder, name, owner, group, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
            set_time(folder, name, mtime);
            Ok(false)
        }
        EntryType::Link => {
            let target = entry.link_name()?.ok_or_else(|| UnpackError::Path { path: path.to_owned() })?.into_owned();
            let Some((above, target_name)) = split(&target)? else {
                return Err(UnpackError::Path { path: target });
            };
            remove(folder, name).map_err(failed)?;
            let from = openat2(root, &above, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty(), INSIDE)
                .map_err(failed)?;
            linkat(&from, target_name, folder, name, AtFlags::empty()).map_err(failed)?;
            Ok(false)
        }
        // Devices come with the container's own `/dev`; a device of an image's making is not wanted.
        EntryType::Char | EntryType::Block | EntryType::Fifo => Ok(false),
        EntryType::XGlobalHeader => Ok(false),
        _ => Err(UnpackError::Kind { path: path.to_owned() }),
    }
}

const INSIDE: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);

fn id(id: u64) -> u32 {
    // Ids beyond 32 bits do not exist on Linux; 65534 is nobody.
    u32::try_from(id).unwrap_or(65534)
}

/// The folder and the name of a path; `None` for the root.
fn split(path: &Path) -> Result<Option<(PathBuf, String)>, UnpackError> {
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => parts.push(part),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => return Err(UnpackError::Path { path: path.to_owned() }),
        }
    }
    let Some(name) = parts.pop() else { return Ok(None) };
    let name = name.to_str().ok_or_else(|| UnpackError::Path { path: path.to_owned() })?.to_owned();
    let above: PathBuf = parts.iter().collect();
    Ok(Some((if above.as_os_str().is_empty() { ".".into() } else { above }, name)))
}

enum Whiteout {
    Opaque,
    Of(String),
}

/// The image specification's marks for "deleted" and "hides all below".
fn whiteout(name: &str) -> Option<Whiteout> {
    match name.strip_prefix(".wh.")? {
        ".wh..opq" => Some(Whiteout::Opaque),
        // Other names with two prefixes are aufs' own and mean nothing here.
        hidden if hidden.starts_with(".wh.") || hidden.is_empty() => Some(Whiteout::Of(String::from(".wh."))),
        hidden => Some(Whiteout::Of(hidden.to_owned())),
    }
}

/// Opens a folder inside the root; makes those that the layer did not name.
fn open_folder(root: &OwnedFd, path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match openat2(root, path, flags, Mode::empty(), INSIDE) {
        Err(Errno::NOENT) => {
            let mut so_far = PathBuf::new();
            for part in path.components() {
                so_far.push(part);
                match openat2(root, &so_far, flags, Mode::empty(), INSIDE) {
                    Err(Errno::NOENT) => {
                        let above = so_far.parent().filter(|path| !path.as_os_str().is_empty());
                        let above = openat2(root, above.unwrap_or(Path::new(".")), flags, Mode::empty(), INSIDE)?;
                        mkdirat(&above, so_far.file_name().unwrap_or_default(), Mode::from_raw_mode(0o755))?;
                    }
                    Err(error) => return Err(error),
                    Ok(_) => {}
                }
            }
            openat2(root, path, flags, Mode::empty(), INSIDE)
        }
        other => other,
    }
}

fn folder_for_writing(root: &OwnedFd, path: &Path) -> Result<OwnedFd, Errno> {
    openat2(root, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty(), INSIDE)
}

fn is_link(folder: &OwnedFd, name: &str) -> bool {
    rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
}

/// Removes what an earlier entry of the same layer put there.
fn remove(folder: &OwnedFd, name: &str) -> Result<(), Errno> {
    match unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::ISDIR) => unlinkat(folder, name, AtFlags::REMOVEDIR),
        Err(error) => Err(error),
    }
}

fn set_time(folder: impl AsFd, name: &str, mtime: u64) {
    let time = rustix::time::Timespec { tv_sec: i64::try_from(mtime).unwrap_or(0), tv_nsec: 0 };
    // A wrong time hurts nobody.
    let _ =
        utimensat(folder, name, &Timestamps { last_access: time, last_modification: time }, AtFlags::SYMLINK_NOFOLLOW);
}

fn capability<R: Read>(entry: &mut Entry<'_, R>) -> Result<Option<Vec<u8>>, UnpackError> {
    let Some(extensions) = entry.pax_extensions()? else { return Ok(None) };
    for extension in extensions {
        let extension = extension?;
        if extension.key_bytes() == TAKEN_XATTR.as_bytes() {
            return Ok(Some(extension.value_bytes().to_vec()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};

    use super::*;

    fn header(kind: EntryType, mode: u32, size: u64) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(size);
        header.set_uid(rustix::process::getuid().as_raw().into());
        header.set_gid(rustix::process::getgid().as_raw().into());
        header.set_mtime(1_000_000_000);
        header
    }

    type Archive = tar::Builder<Vec<u8>>;

    fn put(archive: &mut Archive, path: &str, kind: EntryType, mode: u32, content: &[u8]) {
        let mut header = header(kind, mode, content.len() as u64);
        // Written by hand, because the builder refuses the very paths that are to be refused here.
        let name = header.as_gnu_mut().unwrap();
        name.name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        archive.append(&header, content).unwrap();
    }

    fn link(archive: &mut Archive, path: &str, kind: EntryType, target: &str) {
        let mut header = header(kind, 0o777, 0);
        let gnu = header.as_gnu_mut().unwrap();
        gnu.name[..path.len()].copy_from_slice(path.as_bytes());
        gnu.linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_cksum();
        archive.append(&header, std::io::empty()).unwrap();
    }

    fn unpacked(fill: impl FnOnce(&mut Archive)) -> (tempfile::TempDir, Result<(), UnpackError>) {
        let folder = tempfile::tempdir().unwrap();
        let mut archive = tar::Builder::new(Vec::new());
        fill(&mut archive);
        let blob = folder.path().join("blob");
        std::fs::write(&blob, archive.into_inner().unwrap()).unwrap();
        let result = layer(&blob, &folder.path().join("layer"));
        (folder, result)
    }

    #[test]
    fn files_folders_and_links_come_out_as_they_went_in() {
        let (folder, result) = unpacked(|archive| {
            put(archive, "bin/", EntryType::Directory, 0o750, b"");
            put(archive, "bin/a", EntryType::Regular, 0o4755, b"hello");
            link(archive, "bin/b", EntryType::Symlink, "a");
            link(archive, "c", EntryType::Link, "bin/a");
            put(archive, "deep/er/file", EntryType::Regular, 0o600, b"x");
        });
        result.unwrap();
        let root = folder.path().join("layer");
        assert_eq!(std::fs::read(root.join("bin/a")).unwrap(), b"hello");
        let file = std::fs::metadata(root.join("bin/a")).unwrap();
        assert_eq!((file.permissions().mode() & 0o7777, file.mtime()), (0o4755, 1_000_000_000));
        assert_eq!(std::fs::read_link(root.join("bin/b")).unwrap().to_str(), Some("a"));
        assert_eq!(std::fs::metadata(root.join("c")).unwrap().ino(), file.ino());
        assert_eq!(std::fs::metadata(root.join("bin")).unwrap().permissions().mode() & 0o7777, 0o750);
        assert_eq!(std::fs::metadata(root.join("bin")).unwrap().mtime(), 1_000_000_000);
        assert!(root.join("deep/er/file").is_file());
    }

    #[test]
    fn gzip_and_zstd_are_known_by_their_content() {
        use std::io::Write as _;
        let mut archive = tar::Builder::new(Vec::new());
        put(&mut archive, "a", EntryType::Regular, 0o644, b"x");
        let plain = archive.into_inner().unwrap();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&plain).unwrap();
        let zstd = ruzstd::encoding::compress_to_vec(plain.as_slice(), ruzstd::encoding::CompressionLevel::Fastest);
        for bytes in [plain, gzip.finish().unwrap(), zstd] {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("blob"), bytes).unwrap();
            layer(&folder.path().join("blob"), &folder.path().join("layer")).unwrap();
            assert_eq!(std::fs::read(folder.path().join("layer/a")).unwrap(), b"x");
        }
    }

    #[test]
    fn no_entry_lands_outside() {
        for path in ["../out", "a/../../out", ".."] {
            let (folder, result) = unpacked(|archive| put(archive, path, EntryType::Regular, 0o644, b"x"));
            assert!(matches!(result, Err(UnpackError::Path { .. })), "{path}");
            assert!(!folder.path().join("out").exists());
        }
        // An absolute path is one inside the image.
        let (folder, result) = unpacked(|archive| put(archive, "/etc/x", EntryType::Regular, 0o644, b"x"));
        result.unwrap();
        assert!(folder.path().join("layer/etc/x").is_file());
    }

    #[test]
    fn a_link_of_the_layer_leads_nowhere_outside() {
        let outside = tempfile::tempdir().unwrap();
        let target = outside.path().to_str().unwrap().to_owned();
        let (folder, result) = unpacked(|archive| {
            link(archive, "out", EntryType::Symlink, &target);
            put(archive, "out/x", EntryType::Regular, 0o644, b"x");
        });
        // Either refused, or kept inside; never written outside.
        drop(result);
        assert!(!outside.path().join("x").exists());
        let (_, result) = unpacked(|archive| {
            link(archive, "up", EntryType::Symlink, "../../../../../../../../etc");
            link(archive, "mine", EntryType::Link, "up/passwd");
        });
        assert!(result.is_err());
        drop(folder);
    }

    #[test]
    fn a_file_replaces_a_link_instead_of_being_written_through_it() {
        let outside = tempfile::NamedTempFile::new().unwrap();
        let target = outside.path().to_str().unwrap().to_owned();
        let (folder, result) = unpacked(|archive| {
            link(archive, "a", EntryType::Symlink, &target);
            put(archive, "a", EntryType::Regular, 0o644, b"x");
        });
        result.unwrap();
        assert_eq!(std::fs::metadata(outside.path()).unwrap().len(), 0);
        assert!(!folder.path().join("layer/a").is_symlink());
    }

    #[test]
    fn deletions_become_overlay_whiteouts() {
        if !rustix::process::geteuid().is_root() {
            eprintln_skipped("deletions_become_overlay_whiteouts");
            return;
        }
        let (folder, result) = unpacked(|archive| {
            put(archive, "d/.wh.gone", EntryType::Regular, 0o644, b"");
            put(archive, "e/", EntryType::Directory, 0o755, b"");
            put(archive, "e/.wh..wh..opq", EntryType::Regular, 0o644, b"");
        });
        result.unwrap();
        let gone = std::fs::symlink_metadata(folder.path().join("layer/d/gone")).unwrap();
        assert!(gone.file_type().is_char_device());
        assert_eq!(gone.rdev(), 0);
        let mut value = [0; 8];
        let length = rustix::fs::getxattr(folder.path().join("layer/e"), "trusted.overlay.opaque", &mut value).unwrap();
        assert_eq!(&value[..length], b"y");
    }

    #[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
    fn eprintln_skipped(test: &str) {
        eprintln!("SKIPPED: {test}: needs root");
    }

    #[test]
    fn a_truncated_layer_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let mut archive = tar::Builder::new(Vec::new());
        put(&mut archive, "a", EntryType::Regular, 0o644, &[7; 5000]);
        let mut bytes = archive.into_inner().unwrap();
        bytes.truncate(3000);
        std::fs::write(folder.path().join("blob"), bytes).unwrap();
        assert!(layer(&folder.path().join("blob"), &folder.path().join("layer")).is_err());
    }
}
