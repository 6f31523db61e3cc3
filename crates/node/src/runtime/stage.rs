//! Copying a bundle's files to where they will be, each checked against its digest on the way.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Read, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::bundle::{self, Bundle, Digest, InnerPath, SHIMS, Source};
use super::class::Runtime;
use super::files::{FileError, io, sync_folder};
use super::journal::{HOME, Installed, InstalledFile};

/// LIMIT: one file. Root images with the drivers of a GPU have 1 to 4 GiB.
const MAX_FILE: u64 = 16 << 30;
/// LIMIT: a file that is relocated, since it is changed in memory; configurations have 30 KiB.
const MAX_RELOCATED: u64 = 4 << 20;
/// LIMIT: entries of an archive. A whole release of Kata has 2,000.
const MAX_ENTRIES: usize = 200_000;

/// A file of a bundle that is not what the bundle says.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StageError {
    /// Its bytes are others.
    #[error("`{path}` has the SHA-256 {found}, and the bundle says {expected}")]
    Digest {
        /// In the release.
        path: String,
        /// What the bundle says.
        expected: Digest,
        /// What it is.
        found: Digest,
    },
    /// It is larger than a file may be.
    #[error("`{path}` has more than {most} bytes")]
    TooLarge {
        /// In the release.
        path: String,
        /// The limit.
        most: u64,
    },
    /// The archive lacks a member.
    #[error("`{archive}` has no file `{member}`")]
    NoMember {
        /// The archive.
        archive: PathBuf,
        /// What the bundle names.
        member: String,
    },
    /// The archive has something else than a file under this name.
    #[error("`{member}` of `{archive}` is no plain file")]
    NotAFile {
        /// The archive.
        archive: PathBuf,
        /// What the bundle names.
        member: String,
    },
    /// More entries than an archive may have.
    #[error("`{archive}` has more than {MAX_ENTRIES} entries")]
    TooMany {
        /// The archive.
        archive: PathBuf,
    },
    /// A file to be relocated that is not text.
    #[error("`{path}` is to be relocated and is not UTF-8")]
    NotText {
        /// In the release.
        path: String,
    },
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
}

/// What containerd is told of a bundle's classes. All paths go through `current`, so that a release with the same classes
/// changes no configuration.
pub(super) fn runtimes(bundle: &Bundle) -> Result<Vec<Runtime>, super::class::NameError> {
    let path = |inner: String| super::class::HostPath::new(format!("{HOME}/current/{inner}"));
    let runtimes = bundle.classes.iter().map(|class| {
        Ok(Runtime {
            shim: path(format!("{SHIMS}/{}", class.name.shim_name()))?,
            config: path(class.config.as_str().to_owned())?,
            snapshotter: class.snapshotter.clone(),
            handler: class.name.clone(),
        })
    });
    runtimes.collect()
}

/// Copies everything into a folder that is empty or not there.
///
/// `checkpoint` is asked before every file; its error ends the work.
pub(super) fn stage(
    bundle: &Bundle,
    sources: &Path,
    folder: &Path,
    checkpoint: &dyn Fn(&'static str) -> io::Result<()>,
) -> Result<Vec<InstalledFile>, StageError> {
    let home = format!("{HOME}/{}", bundle.release);
    let mut installed = Vec::new();
    let mut archives: BTreeMap<&InnerPath, BTreeMap<&str, &bundle::File>> = BTreeMap::new();
    for file in bundle.files.values() {
        match &file.source {
            Source::File { file: source } => {
                let source = sources.join(source.as_str());
                let reader = File::open(&source).map_err(io("open", &source))?;
                checkpoint("copy").map_err(io("copy", &source))?;
                installed.push(copy(bundle, file, reader, folder, &home)?);
            }
            Source::Member { archive, member } => {
                archives.entry(archive).or_default().insert(member.as_str(), file);
            }
        }
    }
    for (archive, wanted) in archives {
        installed.extend(unpack(bundle, &sources.join(archive.as_str()), wanted, folder, &home, checkpoint)?);
    }
    link_shims(bundle, folder)?;
    sync_tree(folder)?;
    installed.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(installed)
}

fn unpack(
    bundle: &Bundle,
    archive: &Path,
    mut wanted: BTreeMap<&str, &bundle::File>,
    folder: &Path,
    home: &str,
    checkpoint: &dyn Fn(&'static str) -> io::Result<()>,
) -> Result<Vec<InstalledFile>, StageError> {
    let mut file = File::open(archive).map_err(io("open", archive))?;
    let mut magic = [0; 4];
    let plain = file.read_exact(&mut magic).is_err() || magic != ZSTD_MAGIC;
    let file = File::open(archive).map_err(io("open", archive))?;
    let reader: Box<dyn Read> = if plain {
        Box::new(io::BufReader::new(file))
    } else {
        let decoder = ruzstd::decoding::StreamingDecoder::new(io::BufReader::new(file));
        Box::new(decoder.map_err(|error| io("unpack", archive)(io::Error::other(error.to_string())))?)
    };
    let mut installed = Vec::new();
    let mut tar = tar::Archive::new(reader);
    for (number, entry) in tar.entries().map_err(io("read", archive))?.enumerate() {
        if number >= MAX_ENTRIES {
            return Err(StageError::TooMany { archive: archive.to_owned() });
        }
        let entry = entry.map_err(io("read", archive))?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let name = name.strip_prefix("./").unwrap_or(&name).trim_start_matches('/');
        let Some(file) = wanted.remove(name) else { continue };
        if !entry.header().entry_type().is_file() {
            return Err(StageError::NotAFile { archive: archive.to_owned(), member: name.to_owned() });
        }
        checkpoint("copy").map_err(io("copy", archive))?;
        installed.push(copy(bundle, file, entry, folder, home)?);
        if wanted.is_empty() {
            break;
        }
    }
    match wanted.into_keys().next() {
        Some(member) => Err(StageError::NoMember { archive: archive.to_owned(), member: member.to_owned() }),
        None => Ok(installed),
    }
}

/// The first four bytes of a frame (RFC 8878, section 3.1.1).
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

fn copy(
    bundle: &Bundle,
    file: &bundle::File,
    reader: impl Read,
    folder: &Path,
    home: &str,
) -> Result<InstalledFile, StageError> {
    let inner = file.path.as_str();
    let target = folder.join(inner);
    let parent = target.parent().unwrap_or(folder);
    fs::create_dir_all(parent).map_err(io("make folder", parent))?;
    let mut out = File::options().write(true).create_new(true).open(&target).map_err(io("write", &target))?;
    let most = if file.relocate { MAX_RELOCATED } else { MAX_FILE };
    let mut reader = reader.take(most + 1);
    let mut hasher = Sha256::new();
    let mut text = Vec::new();
    let mut buffer = vec![0; 128 * 1024];
    let mut total = 0u64;
    loop {
        let n = match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(io("copy", &target)(error).into()),
        };
        let chunk = buffer.get(..n).unwrap_or_default();
        total += n as u64;
        if total > most {
            return Err(StageError::TooLarge { path: inner.to_owned(), most });
        }
        hasher.update(chunk);
        if file.relocate {
            text.extend_from_slice(chunk);
        } else {
            out.write_all(chunk).map_err(io("write", &target))?;
        }
    }
    let found = Digest(hasher.finalize().into());
    if found != file.sha256 {
        return Err(StageError::Digest { path: inner.to_owned(), expected: file.sha256, found });
    }
    let mut sha256 = found;
    if file.relocate {
        let text = String::from_utf8(text).map_err(|_| StageError::NotText { path: inner.to_owned() })?;
        let from = bundle.relocate.as_ref().map_or(home, |from| from.as_str());
        let text = relocate(&text, from, home);
        sha256 = Digest(Sha256::digest(text.as_bytes()).into());
        out.write_all(text.as_bytes()).map_err(io("write", &target))?;
    }
    out.set_permissions(Permissions::from_mode(file.mode.bits())).map_err(io("set the mode of", &target))?;
    out.sync_all().map_err(io("write", &target))?;
    Ok(InstalledFile { path: file.path.clone(), sha256, mode: file.mode })
}

/// Replaces a folder where it stands as a whole: `/opt/kata` is in `/opt/kata/bin`, and not in `/opt/kata-old` or
/// `/x/opt/kata`.
fn relocate(text: &str, from: &str, to: &str) -> String {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let mut out = String::with_capacity(text.len());
    let mut rest = 0;
    for (at, _) in text.match_indices(from) {
        let before = text.as_bytes().get(at.wrapping_sub(1)).copied();
        let after = text.as_bytes().get(at + from.len()).copied();
        if before.is_some_and(|byte| inner(byte) || byte == b'/') || after.is_some_and(inner) {
            continue;
        }
        out.push_str(&text[rest..at]);
        out.push_str(to);
        rest = at + from.len();
    }
    out.push_str(&text[rest..]);
    out
}

/// Gives the shim a name for each class. Hard links, since `/proc/PID/exe` then shows which class a process belongs to.
fn link_shims(bundle: &Bundle, folder: &Path) -> Result<(), StageError> {
    let shims = folder.join(SHIMS);
    fs::create_dir_all(&shims).map_err(io("make folder", &shims))?;
    for class in &bundle.classes {
        let link = shims.join(class.name.shim_name());
        fs::hard_link(folder.join(class.shim.as_str()), &link).map_err(io("link", link))?;
    }
    Ok(())
}

fn sync_tree(folder: &Path) -> Result<(), FileError> {
    for entry in fs::read_dir(folder).map_err(io("list", folder))? {
        let entry = entry.map_err(io("list", folder))?;
        if entry.file_type().map_err(io("look at", entry.path()))?.is_dir() {
            sync_tree(&entry.path())?;
        }
    }
    sync_folder(folder)
}

/// How closely files are looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Look {
    /// Whether they are there, with their modes.
    Names,
    /// Every byte.
    Bytes,
}

/// The files of a release that are not as they were installed.
pub(super) fn damaged(installed: &Installed, folder: &Path, look: Look) -> Result<Vec<String>, FileError> {
    let mut damaged = Vec::new();
    for file in &installed.files {
        let path = folder.join(file.path.as_str());
        let mut reader = match File::open(&path) {
            Ok(reader) => reader,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                damaged.push(file.path.as_str().to_owned());
                continue;
            }
            Err(error) => return Err(io("open", path)(error)),
        };
        let mode = reader.metadata().map_err(io("look at", &path))?.permissions().mode() & 0o7777;
        let mut same = mode == file.mode.bits();
        if same && look == Look::Bytes {
            let mut hasher = Sha256::new();
            io::copy(&mut reader, &mut Hashing(&mut hasher)).map_err(io("read", &path))?;
            same = Digest(hasher.finalize().into()) == file.sha256;
        }
        if !same {
            damaged.push(file.path.as_str().to_owned());
        }
    }
    for runtime in &installed.runtimes {
        let shim = runtime.handler.shim_name();
        if !folder.join(SHIMS).join(&shim).is_file() {
            damaged.push(format!("{SHIMS}/{shim}"));
        }
    }
    Ok(damaged)
}

struct Hashing<'a>(&'a mut Sha256);

impl io::Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_replaced_where_it_stands_as_a_whole() {
        let to = "/opt/casemate/kata/1";
        let cases = [
            ("kernel = \"/opt/kata/share/vmlinuz\"", "kernel = \"/opt/casemate/kata/1/share/vmlinuz\""),
            ("/opt/kata", "/opt/casemate/kata/1"),
            ("a=/opt/kata:/opt/kata/x", "a=/opt/casemate/kata/1:/opt/casemate/kata/1/x"),
            ("/opt/kata-old /opt/katamari /x/opt/kata", "/opt/kata-old /opt/katamari /x/opt/kata"),
            ("", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(relocate(text, "/opt/kata", to), expected);
        }
    }
}
