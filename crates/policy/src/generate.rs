//! `casemate generate`.
use std::path::PathBuf;

use protocol::Identity;
use protocol::manifest::{PublicKey, SoftwareReferenceValues};
use serde::Serialize;

/// What to generate from, and for whom.
#[derive(Clone, Debug)]
pub struct GenerateOptions {
    /// YAML files, or directories of them.
    pub paths: Vec<PathBuf>,
    /// The work folder: `manifest.json` and `settings.json` lie in it.
    pub workspace: PathBuf,
    /// `local`; further platforms follow.
    pub platform: String,
    /// Reference values of the local engine.
    pub software: Option<SoftwareReferenceValues>,
    /// Keys of the owners, for a manifest that does not exist yet.
    pub owner_keys: Vec<PublicKey>,
    /// How many owners must agree.
    pub owner_threshold: u32,
    /// Keys of the seed-share holders, for a manifest that does not exist yet.
    pub holder_keys: Vec<PublicKey>,
    /// How many holders rebuild the seed.
    pub holder_threshold: u32,
    /// Our own image, instead of the one in `settings.json`.
    pub pod_image: Option<String>,
    /// Inject nothing into any pod.
    pub skip_initializer: bool,
    /// Write the YAML here and leave the originals alone.
    pub output: Option<PathBuf>,
    /// Write nothing; say whether the files are up to date.
    pub check: bool,
}

/// What was generated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The pods, Coordinator first.
    pub workloads: Vec<WorkloadReport>,
    /// Files that were written or, under `check`, would be.
    pub changed: Vec<PathBuf>,
    /// Whether nothing had to change.
    pub up_to_date: bool,
    /// What the user should know, one sentence each.
    pub notices: Vec<String>,
}

/// One workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WorkloadReport {
    /// `Deployment/inference`.
    pub resource: String,
    /// The file it is in.
    pub file: PathBuf,
    /// The first name in the manifest.
    pub name: String,
    /// Its identity.
    pub identity: Identity,
    /// Container name and pinned image.
    pub images: Vec<(String, String)>,
    /// Secrets that it may read.
    pub secrets: Vec<String>,
    /// What the user should know.
    pub notices: Vec<String>,
}

/// Why nothing was generated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// Not built yet.
    #[error("not built yet")]
    Unbuilt,
}

impl GenerateError {
    /// Whether this means "could not tell" (exit 2) rather than a wrong input (exit 1).
    pub fn could_not_tell(&self) -> bool {
        false
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        None
    }
}

/// Makes the deployment under `options.paths` confidential. All files are written, or none.
pub async fn generate(_options: &GenerateOptions) -> Result<Report, GenerateError> {
    Err(GenerateError::Unbuilt)
}
