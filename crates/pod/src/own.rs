//! What this pod is, by its TEE's word.
//!
//! The host hands over a document. It is believed only when its digest is the identity that the TEE reports in Evidence of
//! our own; the guest has checked the same before the first agent request, and this check does not rely on that.

use std::io::Read as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use attester::{AttestError, Attester};
use protocol::initdata::{MAX_ANNOTATION, Settings};
use protocol::{Evidence, Identity, Initdata, ReportData};

use crate::failure::{Failure, Outcome};

/// LIMIT: the kubelet writes the volume before the container starts, and the agent is up before the first container; a
/// machine under load may take some seconds.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(50);

/// This pod.
#[derive(Clone, Debug)]
pub(crate) struct Own {
    /// The document, as it was given and found to be right.
    pub(crate) initdata: Initdata,
    /// What it says to us.
    pub(crate) settings: Settings,
    /// Its digest.
    pub(crate) identity: Identity,
}

/// The document is not the one that the TEE was launched with.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("initdata: the document given to this pod has digest {given}, the TEE was launched with {launched}")]
pub(crate) struct OtherInitdata {
    given: Identity,
    launched: Identity,
}

/// Reads the document and checks it against the TEE.
pub(crate) async fn read(path: &Path, attester: &dyn Attester) -> Outcome<Own> {
    check(given(path).await?, attester).await
}

/// The document as the host gives it. Nothing in it is to be believed yet.
pub(crate) async fn given(path: &Path) -> Outcome<Initdata> {
    let annotation = patiently(async || read_annotation(path))
        .await
        .with_context(|| format!("read initdata `{}`", path.display()))
        .map_err(Failure::unknown)?;
    Initdata::from_annotation(&annotation).map_err(Failure::refused)
}

/// Checks a document against the TEE.
pub(crate) async fn check(initdata: Initdata, attester: &dyn Attester) -> Outcome<Own> {
    let evidence = patiently(async || own_evidence(attester).await).await;
    let evidence = evidence.inspect_err(advise).map_err(Failure::unknown)?;
    // Of our own Evidence, and for this comparison alone. What we may do is decided by who verifies it.
    let launched = verifier::claimed_identity(&evidence).context("own evidence").map_err(Failure::unknown)?;
    let given = initdata.identity();
    if given != launched {
        return Err(Failure::refused(OtherInitdata { given, launched }));
    }
    let settings = initdata.settings().map_err(Failure::refused)?;
    Ok(Own { initdata, settings, identity: given })
}

/// Evidence whose report data is all zero, which no binding of a channel gives.
async fn own_evidence(attester: &dyn Attester) -> anyhow::Result<Evidence> {
    attester.attest(&ReportData([0; 64])).await.context("make own evidence")
}

/// What to do about it, for the log.
fn advise(error: &anyhow::Error) {
    if let Some(hint) = error.downcast_ref::<AttestError>().and_then(AttestError::hint) {
        tracing::error!("hint: {hint}");
    }
}

fn read_annotation(path: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    let limit = MAX_ANNOTATION as u64 + 1;
    std::fs::File::open(path)?.take(limit).read_to_string(&mut text)?;
    if text.is_empty() {
        return Err(anyhow!("it is empty"));
    }
    Ok(text)
}

async fn patiently<T>(attempt: impl AsyncFn() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let start = Instant::now();
    loop {
        match attempt().await {
            Err(_) if start.elapsed() < PATIENCE => tokio::time::sleep(PAUSE).await,
            outcome => return outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use testkit::SoftwareTee;

    use super::*;
    use crate::rig;

    #[tokio::test(flavor = "current_thread")]
    async fn a_document_that_the_tee_was_launched_with_is_believed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("initdata");
        let initdata = rig::initdata(|_| {});
        std::fs::write(&path, initdata.to_annotation()).unwrap();
        let attester = Arc::new(SoftwareTee::generate()).attester(rig::MEASUREMENT, initdata.identity());
        let own = read(&path, &*attester).await.unwrap();
        assert_eq!((own.identity, own.settings), (initdata.identity(), initdata.settings().unwrap()));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn another_document_is_refused_with_both_digests() {
        let initdata = rig::initdata(|_| {});
        let other = rig::initdata(|settings| settings.open_ports.push(22));
        let attester = Arc::new(SoftwareTee::generate()).attester(rig::MEASUREMENT, initdata.identity());
        let failure = check(other.clone(), &*attester).await.unwrap_err();
        assert_eq!(failure.status(), 1);
        let text = failure.to_string();
        assert!(text.starts_with("initdata: "), "{text}");
        assert!(text.contains(&other.identity().to_string()) && text.contains(&initdata.identity().to_string()));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn text_that_is_no_document_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("initdata");
        for text in ["!", "aGVsbG8=", "AAAA"] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(given(&path).await.unwrap_err().status(), 1, "{text}");
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_document_that_comes_a_little_late_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("initdata");
        let initdata = rig::initdata(|_| {});
        let (late, annotation) = (path.clone(), initdata.to_annotation());
        let writer = tokio::spawn(async move {
            tokio::time::sleep(PAUSE * 3).await;
            std::fs::write(late, annotation).unwrap();
        });
        assert_eq!(given(&path).await.unwrap(), initdata);
        writer.await.unwrap();
    }
}
