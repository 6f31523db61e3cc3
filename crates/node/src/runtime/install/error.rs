//! Why something was not installed or removed.

use std::path::PathBuf;

use super::super::bundle::{BundleError, Digest, Release};
use super::super::class::{Handler, NameError};
use super::super::containerd::ConfigError;
use super::super::files::FileError;
use super::super::host::HostError;
use super::super::journal::JournalError;
use super::super::service::ServiceError;
use super::super::stage::StageError;

/// Why something was not installed or removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// The bundle's description.
    #[error("read bundle `{path}`")]
    Bundle {
        /// Its file.
        path: PathBuf,
        /// What is wrong with it.
        source: BundleError,
    },
    /// The description is not the one that was asked for.
    #[error("bundle `{path}` has the SHA-256 {found}, and {expected} was asked for")]
    NotPinned {
        /// Its file.
        path: PathBuf,
        /// What was asked for.
        expected: Digest,
        /// What it is.
        found: Digest,
    },
    /// A path of the bundle that cannot be written to containerd's configuration.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A file of the bundle.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// containerd's configuration.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// containerd was configured and could not be restarted; the next call tries again.
    #[error("restart containerd")]
    Service(#[from] ServiceError),
    /// A file operation.
    #[error(transparent)]
    File(#[from] FileError),
    /// Pods run with what would be taken away.
    #[error("class `{handler}` is in use by {}", who.join(", "))]
    InUse {
        /// The class.
        handler: Handler,
        /// Processes or pods.
        who: Vec<String>,
    },
    /// A class is asked for that the bundle does not have.
    #[error("release {release} has no class `{class}`; it has {}", quoted(.has))]
    NoClass {
        /// Of the bundle.
        release: Release,
        /// What was asked for.
        class: Handler,
        /// What there is.
        has: Vec<Handler>,
    },
    /// The same name for other files.
    #[error("release {release} is installed from another bundle")]
    SameRelease {
        /// Its name.
        release: Release,
    },
    /// Files of the installed release are damaged, and pods run with them.
    #[error("release {release} is damaged ({}) and in use by {}", files.join(", "), who.join(", "))]
    Damaged {
        /// Its name.
        release: Release,
        /// Which files.
        files: Vec<String>,
        /// Processes or pods.
        who: Vec<String>,
    },
}

fn quoted(classes: &[Handler]) -> String {
    classes.iter().map(|class| format!("`{class}`")).collect::<Vec<_>>().join(", ")
}

impl From<ConfigError> for InstallError {
    fn from(error: ConfigError) -> Self {
        Self::Host(HostError::Config(error))
    }
}

impl InstallError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Host(HostError::Config(error)) => error.hint(),
            Self::InUse { .. } | Self::Damaged { .. } => Some("delete those pods, or wait for their end"),
            Self::NoClass { .. } => Some("ask for classes that it has, or name another bundle"),
            Self::SameRelease { .. } => Some("give the changed bundle a release of its own"),
            Self::Service(_) => Some("start containerd, then run the command again: it goes on from here"),
            _ => None,
        }
    }

    /// Whether this is a no, rather than a "could not": what was asked for was understood and refused.
    pub const fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Bundle { .. }
                | Self::NotPinned { .. }
                | Self::Name(_)
                | Self::Stage(
                    StageError::Digest { .. }
                        | StageError::NoMember { .. }
                        | StageError::NotAFile { .. }
                        | StageError::NotText { .. }
                        | StageError::TooLarge { .. }
                        | StageError::TooMany { .. }
                )
                | Self::Host(HostError::Config(_) | HostError::Ambiguous(_) | HostError::Pattern { .. })
                | Self::InUse { .. }
                | Self::NoClass { .. }
                | Self::SameRelease { .. }
                | Self::Damaged { .. }
        )
    }
}
