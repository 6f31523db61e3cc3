//! The Kata runtime that the settings name: installed, kept whole, never taken away.
//!
//! Taking a runtime away is `casemate-node runtime remove`, a decision of its own: a configuration that was deleted by
//! mistake must not take the runtime from under a cluster.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::spawn_blocking;

use super::backoff::Backoff;
use super::crd::Runtime;
use super::device::chain;
use super::events::{Events, Reason};
use super::gpus::Gpus;
use super::wish::Settings;
use crate::runtime::class::RUNTIME_LABEL;
use crate::runtime::host::{self, Processes, Systemd};
use crate::runtime::install::{Installer, Status};
use crate::runtime::{Handler, Root};

/// Keeps the runtime as the settings say, until `ending` turns true. Nodes that have it get the label that runtime
/// classes select on.
pub async fn keep(
    gpus: Arc<Gpus>,
    root: PathBuf,
    events: Events,
    mut settings: watch::Receiver<Option<Settings>>,
    mut ending: watch::Receiver<bool>,
) {
    let mut retry = Backoff::new(Duration::from_secs(30), Duration::from_secs(600));
    let mut wait = None;
    let mut before: Option<(Option<String>, Vec<Runtime>)> = None;
    loop {
        tokio::select! {
            _ = ending.wait_for(|ending| *ending) => return,
            changed = settings.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(wait.unwrap_or(Duration::MAX)), if wait.is_some() => before = None,
        }
        let wanted =
            settings.borrow_and_update().as_ref().map(|settings| (settings.bundle.clone(), settings.runtimes.clone()));
        let Some(wanted) = wanted else { continue };
        if before.as_ref() == Some(&wanted) {
            continue;
        }
        before = Some(wanted.clone());
        let (bundle, runtimes) = wanted;
        let folder = root.clone();
        let result = spawn_blocking(move || bring_about(&folder, bundle.as_deref(), &runtimes)).await;
        match result.unwrap_or_else(|error| Err(format!("installing ended in a panic: {error}"))) {
            Ok(outcome) => {
                wait = None;
                retry.reset();
                gpus.say(RUNTIME_LABEL, outcome.usable.then_some("true"));
                if !outcome.steps.is_empty() {
                    let note = outcome.steps.join("; ");
                    tracing::info!("runtime: {note}");
                    events.write(None, Reason::RuntimeInstalled, &note).await;
                }
            }
            Err(note) => {
                wait = Some(retry.wait());
                gpus.say(RUNTIME_LABEL, None);
                tracing::warn!(wait = ?wait, "the runtime could not be installed: {note}");
                events.write(None, Reason::RuntimeFailed, &note).await;
            }
        }
    }
}

struct Outcome {
    steps: Vec<String>,
    /// Whether all classes that are wanted can be used.
    usable: bool,
}

fn bring_about(root: &Path, bundle: Option<&str>, wanted: &[Runtime]) -> Result<Outcome, String> {
    let root = Root::new(root);
    let Some(bundle) = bundle else {
        // Installed by somebody else, or by hand: whether it is there is all that there is to know.
        let usable = !wanted.is_empty() && status(&root).is_ok_and(|status| lacks(&status, wanted).is_empty());
        return Ok(Outcome { steps: Vec::new(), usable });
    };
    if wanted.is_empty() {
        return Ok(Outcome { steps: Vec::new(), usable: false });
    }
    let path = root.path(bundle).map_err(|error| chain(&error))?;
    let classes: Vec<Handler> = wanted.iter().filter_map(|runtime| Handler::new(runtime.name()).ok()).collect();
    let done = with(&root, |installer| installer.only(classes).install(&path, None))?;
    let status = status(&root)?;
    Ok(Outcome { steps: done.steps, usable: status.is_ready() })
}

fn lacks(status: &Status, wanted: &[Runtime]) -> Vec<String> {
    let has: BTreeSet<String> = status.classes.iter().map(ToString::to_string).collect();
    wanted.iter().map(|runtime| runtime.name().to_owned()).filter(|name| !has.contains(name)).collect()
}

fn status(root: &Root) -> Result<Status, String> {
    with(root, |installer| installer.status())
}

fn with<T>(
    root: &Root,
    work: impl FnOnce(Installer<'_>) -> Result<T, crate::runtime::install::InstallError>,
) -> Result<T, String> {
    let distribution = host::distribution(root).map_err(|error| chain(&error))?;
    let users = Processes::new(root.clone());
    let mut systemd = Systemd::new(root);
    work(Installer::new(root.clone(), distribution, &users, &mut systemd)).map_err(|error| {
        let hint = error.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
        format!("{}{hint}", chain(&error))
    })
}
