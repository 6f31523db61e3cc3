//! Who verifies a Coordinator's Evidence for the command line: with the Endorsements of the work folder's cache, and with
//! those of the vendors' services where the cache has none.

use std::path::PathBuf;
use std::sync::Arc;

use attester::BoxFuture;
use channel::Judge;
use endorsements::{Cache, Client, Freshness, Need, Sources};
use protocol::Expected;
use verifier::{Endorsements, UnverifiedEvidence, VerifiedEvidence, Verifier, VerifyError};

use crate::Context;
use crate::commands::endorsements::{SourceArgs, folder};
use crate::failure::Outcome;

/// Judges with the cache of a work folder.
pub(crate) struct WorkFolder {
    verifier: Verifier,
    sources: Sources,
    folder: PathBuf,
}

impl WorkFolder {
    /// The judge of a command's work folder. Software Evidence needs no Endorsements, and touches neither folder nor network.
    pub(crate) fn judge(context: &Context) -> Outcome<Arc<dyn Judge>> {
        let sources = SourceArgs::from_environment()?.sources(false)?;
        Ok(Arc::new(Self { verifier: Verifier::new(), sources, folder: folder(context) }))
    }

    /// What could be had. That something is missing is for the verdict to say, which then is "could not tell".
    async fn gather(&self, needs: &[Need]) -> Endorsements {
        let client = Cache::open(&self.folder)
            .map_err(|error| error.to_string())
            .and_then(|cache| Client::new(self.sources.clone(), cache).map_err(|error| error.to_string()));
        match client {
            Ok(client) => {
                let gathered = client.gather(needs, Freshness::Normal).await;
                for status in gathered.report.iter().filter(|status| status.is_missing() || status.stale) {
                    tracing::warn!("{status}");
                }
                gathered.endorsements
            }
            Err(error) => {
                tracing::warn!("no endorsements: {error}");
                Endorsements::default()
            }
        }
    }
}

impl Judge for WorkFolder {
    fn verify<'a>(
        &'a self,
        evidence: UnverifiedEvidence,
        expected: &'a Expected,
    ) -> BoxFuture<'a, Result<VerifiedEvidence, VerifyError>> {
        Box::pin(async move {
            let needs = verifier::needs(evidence.as_claimed());
            let endorsements = if needs.is_empty() { Endorsements::default() } else { self.gather(&needs).await };
            self.verifier.verify(evidence, expected, &endorsements, channel::now())
        })
    }
}
