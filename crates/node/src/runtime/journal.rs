//! What is installed, and what was under way: one file, replaced whole before and after every change.

use serde::{Deserialize, Serialize};

use super::bundle::{Digest, InnerPath, Mode, Release};
use super::class::Runtime;
use super::containerd::Distribution;
use super::files::{FileError, Root};
use super::service::Run;

/// Where runtimes are installed on the host.
pub(super) const HOME: &str = "/opt/casemate/kata";

/// A file of a release, as it lies on the host.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstalledFile {
    /// In the folder of the release.
    pub path: InnerPath,
    /// Of its bytes there, which are not the source's where it was relocated.
    pub sha256: Digest,
    /// Its mode.
    pub mode: Mode,
}

/// A release on the host.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Installed {
    /// Its name.
    pub release: Release,
    /// Of the TOML that described it.
    pub bundle: Digest,
    /// What containerd is told.
    pub runtimes: Vec<Runtime>,
    /// Every file but the shims' other names.
    pub files: Vec<InstalledFile>,
}

/// What was begun and is not done.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Pending {
    /// This release is to become the installed one.
    Install(Installed),
    /// Everything is to go.
    Remove,
}

/// The file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Journal {
    /// Of this file: 1.
    format: u32,
    /// Whose configuration was changed.
    pub(super) distribution: Distribution,
    /// What new pods get.
    pub(super) installed: Option<Installed>,
    /// What was begun.
    pub(super) pending: Option<Pending>,
    /// Whether containerd has not read its configuration since we changed it, as far as this file knows.
    pub(super) restart_due: bool,
    /// The run of containerd in which its configuration was changed: another one has read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) changed_in: Option<Run>,
}

/// A journal that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// Not ours, or damaged.
    #[error("`{HOME}/installed.json` line {line}: {message}")]
    Syntax {
        /// From 1.
        line: usize,
        /// What the parser says.
        message: String,
    },
    /// Written by a later version.
    #[error("`{HOME}/installed.json` is of format {found}, and this version reads 1")]
    Format {
        /// What it says.
        found: u32,
    },
    /// It cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
}

fn path() -> String {
    format!("{HOME}/installed.json")
}

impl Journal {
    pub(super) const fn new(distribution: Distribution) -> Self {
        Self { format: 1, distribution, installed: None, pending: None, restart_due: false, changed_in: None }
    }

    pub(super) fn read(root: &Root) -> Result<Option<Self>, JournalError> {
        let Some(text) = root.text(&path())? else { return Ok(None) };
        // The format first, so that a later one is called that, and not damaged.
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let syntax = |error: serde_json::Error| JournalError::Syntax { line: error.line(), message: error.to_string() };
        let Format { format } = serde_json::from_str(&text).map_err(syntax)?;
        if format != 1 {
            return Err(JournalError::Format { found: format });
        }
        Ok(Some(serde_json::from_str(&text).map_err(syntax)?))
    }

    pub(super) fn write(&self, root: &Root) -> Result<(), JournalError> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| JournalError::Syntax { line: error.line(), message: error.to_string() })?;
        Ok(root.replace(&path(), &(text + "\n"))?)
    }

    pub(super) fn remove(root: &Root) -> Result<(), JournalError> {
        Ok(root.remove(&path())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path());
        assert!(Journal::read(&root).unwrap().is_none());
        let journal = Journal { pending: Some(Pending::Remove), restart_due: true, ..Journal::new(Distribution::K3s) };
        journal.write(&root).unwrap();
        assert_eq!(Journal::read(&root).unwrap(), Some(journal));
        Journal::remove(&root).unwrap();
        assert!(Journal::read(&root).unwrap().is_none());
    }

    #[test]
    fn a_journal_of_another_format_or_of_none_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path());
        root.replace(&path(), "{\"format\": 2, \"anything\": 1}").unwrap();
        assert!(matches!(Journal::read(&root), Err(JournalError::Format { found: 2 })));
        for text in ["", "{}", "{\"format\": 1}", "{\"format\": 1, \"x\": 1}"] {
            root.replace(&path(), text).unwrap();
            assert!(matches!(Journal::read(&root), Err(JournalError::Syntax { .. })), "{text}");
        }
    }
}
