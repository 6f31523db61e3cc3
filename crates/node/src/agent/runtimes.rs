//! The Kata runtime that the settings name: installed, kept whole, never taken away.
//!
//! Looked at every minute, since people install and remove by hand, restart containerd and break files without telling
//! anybody. The look is at names and times of files; their bytes are compared when those changed, and once a day.
//!
//! Taking a runtime away is `casemate-node runtime remove`, a decision of its own: a configuration that was deleted by
//! mistake must not take the runtime from under a cluster.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::spawn_blocking;

use super::backoff::Backoff;
use super::crd::Runtime;
use super::device::chain;
use super::events::{Events, Reason};
use super::gpus::Gpus;
use super::wish::Settings;
use crate::runtime::class::RUNTIME_LABEL;
use crate::runtime::host::{self, Processes, Service, Systemd, Users};
use crate::runtime::install::{InstallError, Installer, Mark, Status};
use crate::runtime::{Handler, Root};

/// How often the runtime is looked at.
const PERIOD: Duration = Duration::from_secs(60);
/// How long bytes that were compared are taken for the same when no file seems touched.
const BYTES: Duration = Duration::from_secs(24 * 60 * 60);

/// Keeps the runtime as the settings say, until `ending` turns true. Nodes that have it get the label that runtime
/// classes select on.
pub async fn keep(
    gpus: Arc<Gpus>,
    root: PathBuf,
    events: Events,
    mut settings: watch::Receiver<Option<Settings>>,
    mut ending: watch::Receiver<bool>,
) {
    let root = Root::new(root);
    let mut retry = Backoff::new(Duration::from_secs(30), Duration::from_secs(600));
    let mut next = tokio::time::Instant::now() + PERIOD;
    let mut before: Option<Wanted> = None;
    let mut keeper = Keeper::new(root.clone());
    let mut troubles = Vec::new();
    loop {
        let due = tokio::select! {
            _ = ending.wait_for(|ending| *ending) => return,
            changed = settings.changed() => if changed.is_err() { return } else { false },
            () = tokio::time::sleep_until(next) => true,
        };
        let wanted = settings.borrow_and_update().as_ref().map(Wanted::of);
        let Some(wanted) = wanted else {
            next = tokio::time::Instant::now() + PERIOD;
            continue;
        };
        if !due && before.as_ref() == Some(&wanted) {
            continue;
        }
        before = Some(wanted.clone());
        let mut worker = std::mem::replace(&mut keeper, Keeper::new(root.clone()));
        let result = spawn_blocking(move || {
            let users = Processes::new(worker.root.clone());
            let mut systemd = Systemd::new(&worker.root);
            let result = worker.look(&wanted, &users, &mut systemd);
            (worker, result)
        });
        let result = match result.await {
            Ok((worker, result)) => {
                keeper = worker;
                result
            }
            Err(error) => Err(format!("installing ended in a panic: {error}")),
        };
        let wait = match result {
            Ok(outcome) => {
                retry.reset();
                gpus.say(RUNTIME_LABEL, outcome.usable.then_some("true"));
                if !outcome.steps.is_empty() {
                    let note = outcome.steps.join("; ");
                    tracing::info!("runtime: {note}");
                    events.write(None, Reason::RuntimeInstalled, &note).await;
                }
                if outcome.troubles != troubles && !outcome.troubles.is_empty() {
                    let note = outcome.troubles.join("; ");
                    tracing::warn!("the runtime cannot be used: {note}");
                    events.write(None, Reason::RuntimeFailed, &note).await;
                }
                troubles = outcome.troubles;
                PERIOD
            }
            Err(note) => {
                let wait = retry.wait();
                gpus.say(RUNTIME_LABEL, None);
                tracing::warn!(?wait, "the runtime could not be installed: {note}");
                events.write(None, Reason::RuntimeFailed, &note).await;
                wait
            }
        };
        next = tokio::time::Instant::now() + wait;
    }
}

/// What the settings say of the runtime.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Wanted {
    bundle: Option<String>,
    classes: Vec<Runtime>,
}

impl Wanted {
    fn of(settings: &Settings) -> Self {
        Self { bundle: settings.bundle.clone(), classes: settings.runtimes.clone() }
    }
}

#[derive(Debug)]
struct Outcome {
    steps: Vec<String>,
    /// Whether all classes that are wanted can be used.
    usable: bool,
    /// Why not.
    troubles: Vec<String>,
}

/// Remembers what it saw, so that it need not read whole files each time.
struct Keeper {
    root: Root,
    seen: Option<Seen>,
}

struct Seen {
    wanted: Wanted,
    marks: Vec<Mark>,
    /// When bytes were compared.
    at: Instant,
    damaged: Vec<String>,
}

impl Keeper {
    const fn new(root: Root) -> Self {
        Self { root, seen: None }
    }

    /// Brings about what is wanted where a bundle says from what, and says whether pods can use it.
    fn look(&mut self, wanted: &Wanted, users: &dyn Users, service: &mut dyn Service) -> Result<Outcome, String> {
        if wanted.classes.is_empty() {
            return Ok(Outcome { steps: Vec::new(), usable: false, troubles: Vec::new() });
        }
        let distribution = host::distribution(&self.root).map_err(|error| chain(&error))?;
        // What speaks of this host for as long as one call takes.
        macro_rules! host {
            () => {
                Installer::new(self.root.clone(), distribution, users, &mut *service)
            };
        }
        let bundle = wanted.bundle.as_deref().map(|bundle| self.root.path(bundle)).transpose();
        let bundle = bundle.map_err(|error| chain(&error))?;
        let marks = |host: Installer<'_>| -> Result<Vec<Mark>, String> {
            let mut marks = host.marks().map_err(|error| told(&error))?;
            marks.extend(bundle.iter().map(|path| Mark::of(path)));
            Ok(marks)
        };
        let now = marks(host!())?;
        let is_same = |seen: &Seen| seen.wanted == *wanted && seen.marks == now && seen.at.elapsed() < BYTES;
        let known = self.seen.take().filter(is_same);
        let mut status = match &known {
            Some(seen) => {
                let mut status = host!().glance().map_err(|error| told(&error))?;
                for file in &seen.damaged {
                    if !status.damaged.contains(file) {
                        status.damaged.push(file.clone());
                    }
                }
                Some(status)
            }
            None if bundle.is_none() => Some(host!().status().map_err(|error| told(&error))?),
            // What is there is compared by the installation.
            None => None,
        };
        let mut steps = Vec::new();
        if let (Some(bundle), false) = (&bundle, status.as_ref().is_some_and(Status::is_ready)) {
            let classes = wanted.classes.iter().filter_map(|class| Handler::new(class.name()).ok());
            let done = host!().only(classes).install(bundle, None).map_err(|error| told(&error))?;
            steps = done.steps;
            status = None;
        }
        let status = match status {
            Some(status) => status,
            None => host!().glance().map_err(|error| told(&error))?,
        };
        let at = known.filter(|_| steps.is_empty()).map_or_else(Instant::now, |seen| seen.at);
        // Of before the look: what was touched in the meantime is looked at again.
        let marks = if steps.is_empty() { now } else { marks(host!())? };
        self.seen = Some(Seen { wanted: wanted.clone(), marks, at, damaged: status.damaged.clone() });
        let mut troubles = status.troubles();
        if status.release.is_some() {
            let has = |class: &&Runtime| !status.classes.iter().any(|handler| handler.as_str() == class.name());
            troubles.extend(wanted.classes.iter().filter(has).map(|class| format!("no class `{}`", class.name())));
        }
        Ok(Outcome { steps, usable: troubles.is_empty(), troubles })
    }
}

/// An error with what to do about it.
fn told(error: &InstallError) -> String {
    let hint = error.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
    format!("{}{hint}", chain(error))
}

#[cfg(test)]
mod tests;
