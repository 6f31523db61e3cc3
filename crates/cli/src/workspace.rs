//! The work folder: its file names, reading with paths in errors, and writing all or nothing.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use protocol::Manifest;
use protocol::manifest::ManifestError;

use crate::failure::{Failure, Outcome};

/// The folder in which a deployment's files lie.
#[derive(Clone, Debug)]
pub(crate) struct Workspace {
    dir: PathBuf,
}

impl Workspace {
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// An explicit path as it stands, or the default name in the work folder.
    pub(crate) fn or_default(&self, explicit: Option<&PathBuf>, name: &str) -> PathBuf {
        explicit.cloned().unwrap_or_else(|| self.dir.join(name))
    }

    pub(crate) fn verify_dir(&self) -> PathBuf {
        self.dir.join("verify")
    }

    /// Reads `verify/NAME` if it is there.
    pub(crate) fn verified(&self, name: &str) -> Outcome<Option<String>> {
        let path = self.verify_dir().join(name);
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => {
                Err(Failure::could_not_tell(anyhow::Error::new(error).context(format!("read `{}`", path.display()))))
            }
        }
    }
}

/// Reads a text file that the user named or that a command before this one wrote.
pub(crate) fn read_input(path: &Path, hint: &str) -> Outcome<String> {
    std::fs::read_to_string(path).map_err(|error| {
        let absent = error.kind() == std::io::ErrorKind::NotFound;
        let failure = Failure::no(anyhow::Error::new(error).context(format!("read `{}`", path.display())));
        if absent { failure.hint(hint) } else { failure }
    })
}

/// Reads and checks a manifest; the text is what is signed and compared.
pub(crate) fn read_manifest(path: &Path) -> Outcome<(String, Manifest)> {
    let text = read_input(path, "`casemate generate --reference-values local resources/` writes a manifest")?;
    let manifest = Manifest::parse(&text).map_err(|error| {
        let missing = matches!(error, ManifestError::MissingValues { .. });
        let failure = Failure::no(error).context(format!("`{}`", path.display()));
        if missing { failure.hint("`casemate generate` says how to get each of them") } else { failure }
    })?;
    Ok((text, manifest))
}

/// Who may read a file.
#[derive(Clone, Copy)]
pub(crate) enum Mode {
    Public,
    Private,
}

/// Writes a file whole or not at all: to a temporary name in the same folder, synced, then renamed.
pub(crate) fn write(path: &Path, content: &[u8], mode: Mode) -> anyhow::Result<()> {
    let dir = path.parent().unwrap_or_else(|| Path::new("."));
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    std::fs::create_dir_all(dir).with_context(|| format!("create `{}`", dir.display()))?;
    let name = path.file_name().with_context(|| format!("`{}` names no file", path.display()))?;
    let temporary = dir.join(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
    let mode = match mode {
        Mode::Public => 0o644,
        Mode::Private => 0o600,
    };
    let attempt = || -> std::io::Result<()> {
        let mut file =
            std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    };
    attempt()
        .inspect_err(|_| drop(std::fs::remove_file(&temporary)))
        .with_context(|| format!("write `{}`", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("taken");
        std::fs::create_dir(&target).unwrap();
        assert!(write(&target, b"x", Mode::Public).is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn private_files_are_for_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pem");
        write(&path, b"x", Mode::Private).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
