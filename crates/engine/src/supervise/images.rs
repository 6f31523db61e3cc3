//! What the node knows of images: their configuration, from which requests are made, and a head start for the cache.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use policy::images::{ImageConfig, Registry, RegistryError};
use tokio::sync::OnceCell;

type Answer = Arc<OnceCell<ImageConfig>>;

/// Images by reference. Each is asked for once; a failure is not remembered.
pub(super) struct Images {
    registry: Registry,
    known: Mutex<BTreeMap<String, Answer>>,
}

impl Images {
    pub(super) fn new() -> Self {
        Self { registry: Registry::new(), known: Mutex::default() }
    }

    /// The configuration of an image.
    pub(super) async fn config(&self, reference: &str) -> Result<ImageConfig, RegistryError> {
        let answer = {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(known.entry(reference.to_owned()).or_default())
        };
        let ask = || async { self.registry.resolve(reference).await.map(|image| image.config) };
        answer.get_or_try_init(ask).await.cloned()
    }
}

/// Pulls an image into the shared cache before its container is created. The agent checks and pulls for itself; this
/// only means that it finds the layers there. Failures are the agent's to report.
pub(super) async fn warm(reference: String, cache: PathBuf) {
    if let Err(error) = crate::agent::pull(&reference, &cache).await {
        tracing::debug!("{error}");
    }
}
