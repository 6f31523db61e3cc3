//! Images: references, and what a registry says of them.
use serde::{Deserialize, Serialize};

/// The parts of an image's configuration that end up in a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// `NAME=value`.
    #[serde(default)]
    pub env: Vec<String>,
    /// The command.
    #[serde(default)]
    pub entrypoint: Vec<String>,
    /// Its default arguments.
    #[serde(default)]
    pub cmd: Vec<String>,
    /// `user[:group]`, names or numbers, or empty.
    #[serde(default)]
    pub user: String,
    /// The working directory, or empty.
    #[serde(default)]
    pub working_dir: String,
}

/// An image as a registry has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedImage {
    /// `registry/name:tag@sha256:…`.
    pub reference_with_digest: String,
    /// Its configuration for linux/amd64.
    pub config: ImageConfig,
}

/// Why an image could not be resolved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// No image reference.
    #[error("`{reference}` is not an image reference: {reason}")]
    Reference {
        /// The text.
        reference: String,
        /// Why.
        reason: String,
    },
}

impl RegistryError {
    /// Whether this means "could not tell" rather than "no".
    pub fn could_not_tell(&self) -> bool {
        false
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        None
    }
}

/// A client of image registries. Plain HTTP for loopback addresses, HTTPS for all others.
#[derive(Default)]
pub struct Registry {}

impl Registry {
    /// A client without credentials.
    pub fn new() -> Self {
        Self::default()
    }

    /// Resolves a reference to a digest and reads the image's configuration.
    pub async fn resolve(&self, reference: &str) -> Result<ResolvedImage, RegistryError> {
        Err(RegistryError::Reference { reference: reference.into(), reason: "not built yet".into() })
    }
}
