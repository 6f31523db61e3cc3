//! ConfigMap and Secret files: compared with the digests in initdata, then written to guest memory.
//!
//! The host copies these files in and may change them at any time, so each is read once, into memory, and those very bytes
//! are what is compared and what is written. Nothing is written before every file of every volume was found right.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Component, Path, PathBuf};

use nix::fcntl::OFlag;
use protocol::Digest;
use protocol::file::VolumeFile;

use crate::paths::{Paths, replace_file_of};

/// LIMIT: Kubernetes bounds a ConfigMap and a Secret to 1 MiB in all (`MaxSecretSize`); base64 is off by then.
const MAX_FILE: u64 = 1024 * 1024;
/// LIMIT: an object of 1 MiB with the shortest names holds some ten thousand files; nobody mounts that.
const MAX_FILES: usize = 10_000;
/// LIMIT: `items` of a volume may give a file a path with folders; this deep and no deeper.
const MAX_DEPTH: usize = 16;

/// The files of initdata: volume, file, digest and mode.
pub(crate) type Expected = BTreeMap<String, BTreeMap<String, VolumeFile>>;

/// A file that was found right.
#[derive(Debug)]
pub(crate) struct Checked {
    volume: String,
    file: String,
    content: Vec<u8>,
    mode: u32,
}

/// What is wrong with the files that the host gave.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FilesError {
    /// The content is another.
    #[error("files.{volume}/{file}: sha256 {got}, expected {expected}")]
    Changed { volume: String, file: String, got: Digest, expected: Digest },
    /// A file of initdata is not there.
    #[error("files.{volume}/{file}: missing")]
    Missing { volume: String, file: String },
    /// A file is there that initdata does not have.
    #[error("files.{volume}/{file}: not expected")]
    Extra { volume: String, file: String },
    /// A volume is there that initdata does not have.
    #[error("files.{volume}: volume is not expected")]
    ExtraVolume { volume: String },
    /// Something is no file, or a file without end.
    #[error("files.{volume}/{file}: {reason}")]
    NoFile { volume: String, file: String, reason: &'static str },
    /// Initdata has a name that would lead out of its volume.
    #[error("files.{volume}/{file}: is no relative path")]
    Name { volume: String, file: String },
    /// Reading failed.
    #[error("files.{volume}/{file}: cannot be read")]
    Unreadable {
        volume: String,
        file: String,
        #[source]
        source: io::Error,
    },
    /// Writing failed.
    #[error("write `{}`", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl FilesError {
    /// Whether the host's files are wrong, as opposed to our being unable to tell or to write.
    pub(crate) fn is_refusal(&self) -> bool {
        !matches!(self, Self::Unreadable { .. } | Self::Write { .. })
    }
}

/// Compares what lies in `given` with what is expected: every file, no other, each to the byte.
pub(crate) fn check(given: &Path, expected: &Expected) -> Result<Vec<Checked>, FilesError> {
    for volume in names(given).map_err(|source| unreadable("", "", source))? {
        if !expected.contains_key(&volume) {
            return Err(FilesError::ExtraVolume { volume });
        }
    }
    let mut checked = Vec::new();
    for (volume, files) in expected {
        if !is_plain(volume) || volume.contains('/') {
            return Err(FilesError::Name { volume: volume.clone(), file: String::new() });
        }
        let folder = given.join(volume);
        for (file, expected) in files {
            checked.push(read_checked(&folder, volume, file, *expected)?);
        }
        let mut found = BTreeSet::new();
        list(&folder, volume, "", 0, &mut found)?;
        if let Some(extra) = found.into_iter().find(|file| !files.contains_key(file)) {
            return Err(FilesError::Extra { volume: volume.clone(), file: extra });
        }
    }
    Ok(checked)
}

fn read_checked(folder: &Path, volume: &str, file: &str, expected: VolumeFile) -> Result<Checked, FilesError> {
    let (volume, file) = (volume.to_owned(), file.to_owned());
    if !is_plain(&file) {
        return Err(FilesError::Name { volume, file });
    }
    let content = match read(&folder.join(&file)) {
        Ok(Read::File(content)) => content,
        Ok(Read::Other(reason)) => return Err(FilesError::NoFile { volume, file, reason }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(FilesError::Missing { volume, file }),
        Err(source) => return Err(FilesError::Unreadable { volume, file, source }),
    };
    let (got, mode) = (Digest::of(&content), expected.mode());
    let expected = expected.digest();
    if got != expected {
        return Err(FilesError::Changed { volume, file, got, expected });
    }
    Ok(Checked { volume, file, content, mode })
}

enum Read {
    File(Vec<u8>),
    Other(&'static str),
}

/// Reads a regular file to its end. A pipe or a device in its place neither blocks nor feeds us without end.
fn read(path: &Path) -> io::Result<Read> {
    let file: File = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
    if !file.metadata()?.is_file() {
        return Ok(Read::Other("is no regular file"));
    }
    let mut content = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut content)?;
    if content.len() as u64 > MAX_FILE {
        return Ok(Read::Other("has more than 1 MiB"));
    }
    Ok(Read::File(content))
}

/// The files below a folder, relative to the volume. The kubelet keeps a volume's data in folders whose names begin with
/// two dots and links to them; those names are not the volume's.
fn list(
    folder: &Path,
    volume: &str,
    prefix: &str,
    depth: usize,
    found: &mut BTreeSet<String>,
) -> Result<(), FilesError> {
    let no_file = |file: &str, reason| FilesError::NoFile { volume: volume.to_owned(), file: file.to_owned(), reason };
    let entries = names(folder).map_err(|source| unreadable(volume, prefix, source))?;
    for name in entries.into_iter().filter(|name| depth > 0 || !name.starts_with("..")) {
        let file = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
        if depth >= MAX_DEPTH {
            return Err(no_file(&file, "lies too deep"));
        }
        if found.len() >= MAX_FILES {
            return Err(no_file(&file, "is one file too many"));
        }
        let path = folder.join(&name);
        // A link that leads nowhere is still a name that nobody expects.
        if path.is_dir() {
            list(&path, volume, &file, depth + 1, found)?;
        } else {
            found.insert(file);
        }
    }
    Ok(())
}

/// The names in a folder; none when it is not there.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        entries => entries?,
    };
    // A name that is not UTF-8 is in nobody's digests; what replaces its bytes is not either.
    entries.take(MAX_FILES + 1).map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

fn unreadable(volume: &str, file: &str, source: io::Error) -> FilesError {
    FilesError::Unreadable { volume: volume.to_owned(), file: file.to_owned(), source }
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && Path::new(name).components().all(|component| matches!(component, Component::Normal(_)))
}

/// Writes files to guest memory with the modes that initdata says, as root's and of the group of `fsGroup`: what the host's
/// copies have counts for nothing.
pub(crate) fn write(paths: &Paths, checked: &[Checked], fs_group: Option<u32>) -> Result<(), FilesError> {
    // The volume may hand its own group on to what is made in it.
    let group = nix::unistd::geteuid().is_root().then(|| fs_group.unwrap_or(0));
    for Checked { volume, file, content, mode } in checked {
        let path = paths.checked_files(volume).join(file);
        let written = path
            .parent()
            .map_or(Ok(()), std::fs::create_dir_all)
            .and_then(|()| replace_file_of(group, &path, content, *mode));
        written.map_err(|source| FilesError::Write { path, source })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    use tempfile::TempDir;

    use super::*;

    struct Rig {
        folder: TempDir,
        expected: Expected,
    }

    /// A volume as the kubelet lays it out, and one as the local engine does.
    fn rig() -> Rig {
        let folder = tempfile::tempdir().unwrap();
        let given = folder.path().join("casemate-in/files");
        let data = given.join("config/..2026_01_01");
        std::fs::create_dir_all(data.join("deep")).unwrap();
        std::fs::write(data.join("labels.txt"), "zero one").unwrap();
        std::fs::write(data.join("deep/run.sh"), "#!/bin/sh").unwrap();
        std::fs::set_permissions(data.join("deep/run.sh"), std::fs::Permissions::from_mode(0o755)).unwrap();
        symlink("..2026_01_01", given.join("config/..data")).unwrap();
        symlink("..data/labels.txt", given.join("config/labels.txt")).unwrap();
        symlink("..data/deep", given.join("config/deep")).unwrap();
        std::fs::create_dir_all(given.join("plain")).unwrap();
        std::fs::write(given.join("plain/a"), "a").unwrap();
        let digests = |files: &[(&str, &str)]| {
            files.iter().map(|(name, content)| ((*name).to_owned(), Digest::of(content.as_bytes()).into())).collect()
        };
        let expected = BTreeMap::from([
            ("config".to_owned(), digests(&[("labels.txt", "zero one"), ("deep/run.sh", "#!/bin/sh")])),
            ("plain".to_owned(), digests(&[("a", "a")])),
        ]);
        Rig { folder, expected }
    }

    impl Rig {
        fn given(&self) -> PathBuf {
            self.folder.path().join("casemate-in/files")
        }

        fn refused(&self) -> String {
            let error = check(&self.given(), &self.expected).unwrap_err();
            assert!(error.is_refusal(), "{error}");
            error.to_string()
        }
    }

    #[test]
    fn expected_files_are_written_with_the_modes_and_the_group_of_initdata() {
        let mut rig = rig();
        let own = |mode| VolumeFile::new(Digest::of(b"#!/bin/sh"), mode).unwrap();
        let paths = Paths::below(rig.folder.path());
        let (labels, script) = ("labels.txt", "deep/run.sh");
        // The host's copy is executable, whoever may read it.
        for (mode, group) in [(0o644, None), (0o555, None), (0o400, Some(2000)), (0o440, Some(2001)), (0, None)] {
            rig.expected.get_mut("config").unwrap().insert(script.into(), own(mode));
            let checked = check(&rig.given(), &rig.expected).unwrap();
            write(&paths, &checked, group).unwrap();
            for (file, mode) in [(labels, 0o644), (script, mode)] {
                let written = paths.checked_files("config").join(file).metadata().unwrap();
                assert_eq!(written.permissions().mode() & 0o7777, mode, "{file}");
                if nix::unistd::geteuid().is_root() {
                    assert_eq!((written.uid(), written.gid()), (0, group.unwrap_or(0)), "{file}");
                }
            }
        }
        assert_eq!(std::fs::read_to_string(paths.checked_files("config").join(labels)).unwrap(), "zero one");
        assert_eq!(std::fs::read_to_string(paths.checked_files("plain").join("a")).unwrap(), "a");
    }

    #[test]
    fn nothing_is_written_by_checking() {
        let rig = rig();
        let paths = Paths::below(rig.folder.path());
        check(&rig.given(), &rig.expected).unwrap();
        assert!(!paths.checked_files("config").exists());
    }

    #[test]
    fn a_changed_file_is_named_with_both_digests() {
        let rig = rig();
        std::fs::write(rig.given().join("config/..data/labels.txt"), "one zero").unwrap();
        let (got, expected) = (Digest::of(b"one zero"), Digest::of(b"zero one"));
        assert_eq!(rig.refused(), format!("files.config/labels.txt: sha256 {got}, expected {expected}"));
    }

    #[test]
    fn missing_and_extra_files_and_volumes_are_named() {
        type Change = fn(&Path);
        let cases: [(Change, &str); 7] = [
            (|g| std::fs::remove_file(g.join("config/labels.txt")).unwrap(), "files.config/labels.txt: missing"),
            (|g| std::fs::remove_dir_all(g.join("plain")).unwrap(), "files.plain/a: missing"),
            (|g| std::fs::write(g.join("plain/b"), "b").unwrap(), "files.plain/b: not expected"),
            (|g| std::fs::write(g.join("config/..data/deep/x"), "").unwrap(), "files.config/deep/x: not expected"),
            (|g| symlink("nowhere", g.join("plain/link")).unwrap(), "files.plain/link: not expected"),
            (|g| std::fs::create_dir(g.join("more")).unwrap(), "files.more: volume is not expected"),
            (|g| std::fs::write(g.join("stray"), "").unwrap(), "files.stray: volume is not expected"),
        ];
        for (change, message) in cases {
            let rig = rig();
            change(&rig.given());
            assert_eq!(rig.refused(), message);
        }
    }

    #[test]
    fn what_is_no_file_is_refused_and_never_waited_for() {
        let rig = rig();
        let path = rig.given().join("plain/a");
        std::fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(rig.refused(), "files.plain/a: is no regular file");
        std::fs::remove_file(&path).unwrap();
        symlink("/dev/zero", &path).unwrap();
        assert_eq!(rig.refused(), "files.plain/a: is no regular file");
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert_eq!(rig.refused(), "files.plain/a: is no regular file");
        std::fs::remove_dir(&path).unwrap();
        std::fs::write(&path, vec![0; 1024 * 1024 + 1]).unwrap();
        assert_eq!(rig.refused(), "files.plain/a: has more than 1 MiB");
    }

    #[test]
    fn names_that_lead_out_of_their_volume_are_refused() {
        for name in ["../a", "/etc/passwd", "x/../../a", ""] {
            let mut rig = rig();
            rig.expected.get_mut("plain").unwrap().insert(name.to_owned(), Digest::ZERO.into());
            assert_eq!(rig.refused(), format!("files.plain/{name}: is no relative path"));
        }
    }

    #[test]
    fn no_volumes_are_no_files() {
        let folder = tempfile::tempdir().unwrap();
        assert!(check(&folder.path().join("none"), &BTreeMap::new()).unwrap().is_empty());
    }
}
