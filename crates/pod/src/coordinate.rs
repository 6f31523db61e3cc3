//! The Coordinator's process: everything of substance is in the crate `coordinator`.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use attester::Attester;
use coordinator::{Config, RunError};

use crate::failure::{Failure, Outcome};
use crate::own;
use crate::paths::Paths;

/// Where the history store is mounted. The store is untrusted; a volume of any kind will do.
pub(crate) const DEFAULT_STORE: &str = "/casemate-store";

/// Serves until `shutdown` completes.
pub(crate) async fn run(
    paths: &Paths,
    attester: Arc<dyn Attester>,
    store: PathBuf,
    shutdown: impl Future<Output = ()> + Send,
) -> Outcome {
    // The agent may come up a moment after us, so this check waits for it; the Coordinator makes it once more for itself.
    let own = own::read(&paths.initdata(), &*attester).await?;
    std::fs::create_dir_all(&store)
        .with_context(|| format!("make the folder of the store `{}`", store.display()))
        .map_err(Failure::unknown)?;
    let config = Config::new(own.initdata, attester, store);
    coordinator::run(config, shutdown).await.map_err(|error| {
        if let Some(hint) = error.hint() {
            tracing::error!("hint: {hint}");
        }
        match error {
            RunError::Initdata(_)
            | RunError::OtherRole { .. }
            | RunError::OtherInitdata { .. }
            | RunError::Owners { .. }
            | RunError::NotInManifest { .. } => Failure::refused(error),
            error => Failure::unknown(error),
        }
    })
}
