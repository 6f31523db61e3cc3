//! Images: references, what a registry or a layout says of them, and the users that their layers hold.
//!
//! Everything that is answered is checked against the digest that asked for it; only the step from a tag to a digest
//! rests on the registry's word, and `generate` writes that digest down for all to see. No image is ever unpacked:
//! layers are read as streams, from the top, and no further than until `/etc/passwd` and `/etc/group` are decided.

mod auth;
mod cache;
mod document;
mod error;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod http;
mod layer;
mod layout;
mod pull;
mod reference;
mod rootfs;
mod source;
mod tar;
mod users;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

pub use auth::CredentialSource;
pub use cache::CACHE_FILE;
pub use document::DocumentError;
pub use error::{Place, RegistryError};
pub use layer::LayerError;
pub use layout::LayoutSource;
pub use tar::TarError;
pub use users::{ProcessUser, UserError, Users};

use cache::Cache;

/// Layers that are read at a time, over all images: memory is bounded by it, and so is what a registry sees of us.
const PARALLEL: usize = 4;

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
    /// Paths that are volumes unless the pod mounts something there, in order.
    #[serde(default)]
    pub volumes: Vec<String>,
    /// The image's `/etc/passwd` and `/etc/group`.
    #[serde(default)]
    pub users: Users,
}

impl ImageConfig {
    /// Reads an OCI or Docker image configuration. Its users are not known from it.
    pub fn from_oci(document: &[u8]) -> Result<Self, DocumentError> {
        document::configuration(&document::parse(document)?).map(|read| read.config)
    }
}

/// A layer of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Its digest as the registry has it.
    pub digest: String,
    /// Its digest when unpacked.
    pub diff_id: String,
    /// Its size as the registry has it.
    pub size: u64,
    /// Its size when unpacked, if it was read.
    pub unpacked: Option<u64>,
}

/// An image as a registry has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedImage {
    /// `registry/name:tag@sha256:…`, in full.
    pub reference_with_digest: String,
    /// Its configuration for linux/amd64.
    pub config: ImageConfig,
    /// Its layers, bottom first.
    pub layers: Vec<Layer>,
}

/// What is to be known of an image beyond its configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Its users. A container whose user, group and groups are all numbers of the pod (`runAsUser`, `runAsGroup`,
    /// `supplementalGroupsPolicy: Strict`) does not need them.
    pub users: bool,
    /// The unpacked size of every layer.
    pub sizes: bool,
}

impl Default for Ask {
    fn default() -> Self {
        Self { users: true, sizes: false }
    }
}

impl Ask {
    /// What the process of a container needs: nothing, if the pod says all of it in numbers.
    pub fn for_container(pod_spec: &serde_json::Value, container: &serde_json::Value) -> Self {
        let (own, shared) = (&container["securityContext"], &pod_spec["securityContext"]);
        let is_number = |field: &str| {
            let value = if own[field].is_null() { &shared[field] } else { &own[field] };
            value.is_u64()
        };
        let strict = shared["supplementalGroupsPolicy"] == "Strict";
        Self { users: !(strict && is_number("runAsUser") && is_number("runAsGroup")), sizes: false }
    }
}

/// Is told how far the reading of layers is.
pub trait Progress: Send + Sync {
    /// Layers of an image are about to be read: at most so many, with so many bytes in all.
    fn started(&self, image: &str, layers: usize, bytes: u64);
    /// More bytes of some layer of an image have come.
    fn received(&self, image: &str, bytes: u64);
    /// All is known of the image; what was not read is not needed.
    fn finished(&self, image: &str);
}

/// Where images come from.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Credentials; by default none.
    pub credentials: CredentialSource,
    /// Mirrors of registries, `https://host` each, asked in order for what a digest names. Tags are always resolved by
    /// the registry itself.
    pub mirrors: BTreeMap<String, Vec<String>>,
    /// PEM files of authorities that are trusted beside those of the system.
    pub ca_files: Vec<PathBuf>,
    /// Images that come from OCI layouts, by the reference as it stands in the YAML.
    pub layouts: BTreeMap<String, LayoutSource>,
    /// `layers-cache.json`; none means that nothing is kept.
    pub cache: Option<PathBuf>,
    /// How long to wait for a registry that is silent, in place of 15 seconds.
    pub patience: Option<Duration>,
}

/// A client of image registries. Plain HTTP for loopback addresses, HTTPS for all others.
pub struct Registry {
    options: Arc<Options>,
    client: Arc<http::Client>,
    cache: Arc<Mutex<Cache>>,
    permits: Arc<Semaphore>,
    progress: Option<Arc<dyn Progress>>,
}

impl Default for Registry {
    fn default() -> Self {
        Self::with(Options::default())
    }
}

impl Registry {
    /// A client without credentials and without a cache.
    pub fn new() -> Self {
        Self::default()
    }

    /// A client with these sources.
    pub fn with(options: Options) -> Self {
        let options = Arc::new(options);
        Self {
            client: Arc::new(http::Client::new(Arc::clone(&options))),
            cache: Arc::new(Mutex::new(Cache::open(options.cache.clone()))),
            permits: Arc::new(Semaphore::new(PARALLEL)),
            progress: None,
            options,
        }
    }

    /// Tells somebody how far it is.
    #[must_use]
    pub fn with_progress(mut self, progress: Arc<dyn Progress>) -> Self {
        self.progress = Some(progress);
        self
    }

    /// Resolves a reference to a digest and reads the image's configuration and users.
    pub async fn resolve(&self, reference: &str) -> Result<ResolvedImage, RegistryError> {
        self.resolve_with(reference, Ask::default()).await
    }

    /// Resolves a reference and reads what is asked of the image.
    pub async fn resolve_with(&self, reference: &str, ask: Ask) -> Result<ResolvedImage, RegistryError> {
        pull::resolve(self, reference, ask).await
    }

    /// Resolves many references at a time, in their order.
    pub async fn resolve_all(
        &self,
        references: impl IntoIterator<Item = (String, Ask)>,
    ) -> Vec<Result<ResolvedImage, RegistryError>> {
        use futures_util::StreamExt as _;
        let each =
            references.into_iter().map(|(reference, ask)| async move { self.resolve_with(&reference, ask).await });
        futures_util::stream::iter(each).buffered(2 * PARALLEL).collect().await
    }

    /// Writes `layers-cache.json`, if there is anything new.
    pub fn save_cache(&self) -> Result<(), RegistryError> {
        let path = self.options.cache.clone().unwrap_or_default();
        self.cache().save().map_err(|error| RegistryError::Configuration { path, reason: error.to_string() })
    }

    /// What the user should know of the cache, one sentence.
    pub fn notice(&self) -> Option<String> {
        self.cache().notice.clone()
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod debian;
#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod tests;
