//! The loop: what is seen of the cluster and of the machine goes in, labels and changes come out.
//!
//! It goes by what is, never by what changed: each time something may have changed, it compares what the node says with
//! what it should say and does the difference. So a missed event, a restart or somebody else's hand on a label all end
//! the same way.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::Instant;

use super::backoff::{Backoff, somewhere_in};
use super::client::CallError;
use super::conditions;
use super::crd::CcMode;
use super::device::{Devices, Failure, Kind, Observed};
use super::events::{Events, Reason};
use super::hands::{ClusterHands, Patience};
use super::labels::{self, Phase};
use super::metrics::Metrics;
use super::pause;
use super::watches::{self, NodeView, Picture};
use super::wish::{self, Labels, Wish};
use super::write::{FEATURES, NodeLabels, OnConflict, words};

/// How the agent runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// The name of its node.
    pub node: String,
    /// How often the machine is looked at for features that came or went. Nothing is asked of the API server for it.
    pub rescan: Duration,
    /// How long the cluster is waited for during a change.
    pub patience: Patience,
    /// How long after a failed change it is tried again: at first, and at most.
    pub retry: (Duration, Duration),
    /// Within which time after a change of the own node the status of configurations is counted anew. Spread, so that a
    /// thousand nodes that change at once do not count at once.
    pub settle: Duration,
    /// Where what the machine is to be is told to those who see to drivers, the device plugin and the runtime.
    pub told: watch::Sender<Option<wish::Settings>>,
}

impl Options {
    /// The usual ones.
    pub fn new(node: impl Into<String>) -> Self {
        Self {
            node: node.into(),
            rescan: Duration::from_secs(60),
            patience: Patience::default(),
            retry: (Duration::from_secs(30), Duration::from_secs(600)),
            settle: Duration::from_secs(5),
            told: watch::Sender::new(None),
        }
    }
}

/// Runs until `ending` turns true. A change that is under way then is left to its journal: the next agent ends it.
pub async fn run(
    client: Client,
    devices: Arc<dyn Devices>,
    options: Options,
    metrics: Arc<Metrics>,
    mut ending: watch::Receiver<bool>,
) {
    let picture = watches::start(&client, &options.node, &metrics);
    let hands =
        ClusterHands::new(client.clone(), &options.node, Arc::clone(&metrics), options.patience, ending.clone());
    let mut agent = Agent {
        node: NodeLabels::new(client.clone(), &options.node),
        events: Events::new(client.clone(), &options.node, Arc::clone(&metrics)),
        client,
        devices,
        hands,
        metrics,
        picture,
        observed: None,
        work: None,
        recovered: false,
        failed: None,
        refused: None,
        left: BTreeSet::new(),
        applied_features: None,
        applied_modes: None,
        said: None,
        wanted_since: None,
        retry: Backoff::new(options.retry.0, options.retry.1),
        trouble: Backoff::new(Duration::from_secs(1), Duration::from_secs(60)),
        again: None,
        count_at: None,
        options,
    };
    tokio::select! {
        () = agent.run() => {}
        _ = ending.wait_for(|ending| *ending) => tracing::info!("ending"),
    }
}

/// A change that did not succeed, and which.
struct Failed {
    mode: Option<CcMode>,
    kind: Kind,
    again_at: Option<Instant>,
}

/// The labels that a status counts, and the configurations that hold, with their generations.
type Said = (Labels, Vec<(String, Option<i64>)>);

/// What a thread is doing to the devices.
struct Work {
    mode: Option<CcMode>,
    begun: Instant,
    task: JoinHandle<Result<(), Failure>>,
}

struct Agent {
    client: Client,
    node: NodeLabels,
    events: Events,
    devices: Arc<dyn Devices>,
    hands: ClusterHands,
    metrics: Arc<Metrics>,
    picture: watch::Receiver<Picture>,
    observed: Option<Observed>,
    work: Option<Work>,
    recovered: bool,
    failed: Option<Failed>,
    /// The refusal that was told last.
    refused: Option<wish::Refusal>,
    /// Labels of features that others hold, told once.
    left: BTreeSet<String>,
    /// The labels that this agent applied last, so that those of an earlier one which no longer hold are taken away
    /// once, although nobody remembers them.
    applied_features: Option<Labels>,
    applied_modes: Option<Labels>,
    /// What the node says about its modes, as far as we know; a change of it is what a status counts.
    said: Option<Said>,
    wanted_since: Option<(CcMode, Instant)>,
    retry: Backoff,
    trouble: Backoff,
    /// When to look again although nothing changed.
    again: Option<Instant>,
    count_at: Option<Instant>,
    options: Options,
}

/// Waits for a moment, or for ever.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

async fn done(work: &mut Option<Work>) -> Result<(), Failure> {
    match work {
        Some(work) => (&mut work.task).await.unwrap_or_else(|error| {
            let message = format!("the change ended in a panic: {error}");
            Err(Failure { kind: Kind::Interrupted, message, hint: None })
        }),
        None => std::future::pending().await,
    }
}

impl Agent {
    async fn run(&mut self) {
        let mut rescan = tokio::time::interval(self.options.rescan);
        rescan.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let retry = self.failed.as_ref().and_then(|failed| failed.again_at);
            tokio::select! {
                result = done(&mut self.work) => self.end_work(result).await,
                changed = self.picture.changed() => if changed.is_err() { return },
                _ = rescan.tick() => if self.work.is_none() { self.observe().await },
                () = at(retry) => self.failed = None,
                () = at(self.again) => self.again = None,
                () = at(self.count_at) => self.count().await,
            }
            if let Err(error) = self.reconcile().await {
                let wait = self.trouble.wait();
                tracing::warn!(error = words(&error), ?wait, "the node could not be brought up to date");
                self.again = Some(Instant::now() + wait);
            } else {
                self.trouble.reset();
            }
        }
    }

    /// Looks at the machine.
    async fn observe(&mut self) {
        let devices = Arc::clone(&self.devices);
        match spawn_blocking(move || devices.observe()).await {
            Ok(Ok(observed)) => self.observed = Some(observed),
            Ok(Err(error)) => tracing::warn!(error, "the machine could not be looked at"),
            Err(error) => tracing::error!(%error, "looking at the machine ended in a panic"),
        }
    }

    /// Brings the node up to date, and begins a change if one is due.
    async fn reconcile(&mut self) -> Result<(), CallError> {
        let picture = self.picture.borrow_and_update().clone();
        self.metrics.synced(picture.is_whole());
        let (Some(observed), Some(node)) = (self.observed.clone(), picture.node.clone()) else { return Ok(()) };
        if !picture.is_whole() {
            return Ok(());
        }
        self.metrics.paused(pause::paused(&node.labels).len());
        self.label_features(&node, &observed).await?;
        if self.work.is_some() {
            // The labels of modes are the change's own until it ends.
            return Ok(());
        }
        if !self.recovered {
            if self.failed.is_some() {
                return Ok(()); // until it is tried again
            }
            self.begin(None, &node, "ending what an earlier agent began");
            return Ok(());
        }
        let settings = wish::decide(
            &node.labels,
            picture.configurations.values(),
            picture.policy(),
            observed.host_is_confidential,
        );
        self.options.told.send_if_modified(|told| {
            let differs = told.as_ref() != Some(&settings);
            if differs {
                *told = Some(settings.clone());
            }
            differs
        });
        let wish = settings.mode;
        self.metrics.mode(match observed.modes.state() {
            Some(labels::ModeState::Mode(mode)) => Some(mode),
            _ => None,
        });
        self.tell_refusal(&node, &wish);
        let state = observed.modes.state();
        let phase = match &wish {
            Wish::Refused(_) => Phase::Refused,
            Wish::AsIs => Phase::Settled,
            Wish::Mode { mode, source } => {
                if self.failed.as_ref().is_some_and(|failed| failed.mode.is_some_and(|failed| failed != *mode)) {
                    // Something else is wanted now.
                    self.failed = None;
                    self.retry.reset();
                }
                if state.is_none() || state == Some(labels::ModeState::Mode(*mode)) {
                    self.failed = None;
                    self.wanted_since = None;
                    Phase::Settled
                } else if let Some(failed) = &self.failed {
                    match failed.kind {
                        Kind::Impossible => Phase::Refused,
                        Kind::GivenUp | Kind::Failed => Phase::Failed,
                        Kind::Waiting | Kind::Interrupted => Phase::Changing,
                    }
                } else {
                    let seen = self.wanted_since.filter(|(wanted, _)| wanted == mode).map(|(_, since)| since);
                    let since = seen.unwrap_or_else(Instant::now);
                    self.wanted_since = Some((*mode, since));
                    let why = format!("{source} wants `{mode}`");
                    self.begin(Some(*mode), &node, &why);
                    self.metrics.wish_delay(since.elapsed());
                    Phase::Changing
                }
            }
        };
        self.metrics.phase(phase);
        let broken = self.failed.as_ref().is_some_and(|failed| failed.kind == Kind::Failed);
        if phase != Phase::Changing {
            let said = if broken { state.map(|_| labels::ModeState::Failed) } else { state };
            self.label_modes(&node, &labels::of_modes(phase, said)).await?;
            // What a crash, or another manager, left paused.
            if !pause::paused(&node.labels).is_empty() {
                let resumed =
                    self.hands.resume_components().await.map_err(|error| CallError::Later(error.to_string()))?;
                if resumed > 0 {
                    let note = format!("{resumed} components were paused and nothing is being changed: they go on");
                    self.events.write(Some(node.uid.clone()), Reason::ComponentsResumed, &note).await;
                }
            }
        }
        self.plan_count(&picture, &node);
        Ok(())
    }

    async fn label_features(&mut self, node: &NodeView, observed: &Observed) -> Result<(), CallError> {
        let wanted = labels::of_features(&observed.features, observed.cc_capable);
        let mut different = labels::differences(&node.labels, &wanted, |_| false);
        // What another holds is left to it, until it lets go.
        different.retain(|label| !self.left.contains(label) || !node.labels.contains_key(label));
        let changed = self.applied_features.as_ref() != Some(&wanted);
        if different.is_empty() && !changed {
            return Ok(());
        }
        let applied = self.node.apply(FEATURES, &node.uid, &wanted, OnConflict::Leave).await?;
        let held: BTreeSet<String> = applied.conflicts.iter().map(|conflict| conflict.label.clone()).collect();
        if held != self.left {
            self.hands.tell_conflicts(&node.uid, &applied, "left");
            self.left = held;
        }
        self.applied_features = Some(wanted);
        Ok(())
    }

    async fn label_modes(&mut self, node: &NodeView, wanted: &Labels) -> Result<(), CallError> {
        let ours = |label: &str| [labels::MODE_STATE, labels::READY_STATE, labels::NODE_STATE].contains(&label);
        let first = self.applied_modes.as_ref() != Some(wanted);
        if !first && labels::differences(&node.labels, wanted, ours).is_empty() {
            return Ok(());
        }
        self.hands.say(wanted).await.map_err(|error| CallError::Later(error.to_string()))?;
        self.applied_modes = Some(wanted.clone());
        Ok(())
    }

    fn tell_refusal(&mut self, node: &NodeView, wish: &Wish) {
        let refused = match wish {
            Wish::Refused(refusal) => Some(refusal.clone()),
            _ => None,
        };
        if refused != self.refused {
            if let Some(refusal) = &refused {
                let note = format!("{refusal}; {}", refusal.hint());
                tracing::warn!("{note}");
                self.tell(node, Reason::CcModeRefused, note);
            }
            self.refused = refused;
        }
    }

    /// Writes an event without waiting for it.
    fn tell(&self, node: &NodeView, reason: Reason, note: String) {
        let (events, uid) = (self.events.clone(), node.uid.clone());
        tokio::spawn(async move { events.write(Some(uid), reason, &note).await });
    }

    /// Begins a change, or with no mode the recovery.
    fn begin(&mut self, mode: Option<CcMode>, node: &NodeView, why: &str) {
        let (devices, mut hands) = (Arc::clone(&self.devices), self.hands.clone());
        if let Some(mode) = mode {
            tracing::info!(%mode, why, "a change of mode begins");
            self.metrics.phase(Phase::Changing);
            self.tell(node, Reason::CcModeChanging, format!("changing all devices to `{mode}`: {why}"));
        }
        self.applied_modes = None;
        let task = spawn_blocking(move || match mode {
            Some(mode) => devices.change(mode, &mut hands),
            None => devices.recover(&mut hands),
        });
        self.work = Some(Work { mode, begun: Instant::now(), task });
    }

    async fn end_work(&mut self, result: Result<(), Failure>) {
        let Some(work) = self.work.take() else { return };
        let node = self.picture.borrow().node.clone().unwrap_or_default();
        let took = work.begun.elapsed();
        // What is said next is read from the devices, not from the result.
        self.observe().await;
        if let Some(mode) = work.mode {
            self.metrics.change(mode, if result.is_ok() { "changed" } else { "failed" }, took);
        }
        match (result, work.mode) {
            (Ok(()), Some(mode)) => {
                self.retry.reset();
                self.wanted_since = None;
                self.tell(
                    &node,
                    Reason::CcModeChanged,
                    format!("all devices are in mode `{mode}` ({:.1} s)", took.as_secs_f64()),
                );
            }
            (Ok(()), None) => self.recovered = true,
            (Err(failure), mode) => {
                // Recovery is tried again before anything else is done.
                let unfinished = matches!(failure.kind, Kind::Waiting | Kind::Interrupted);
                self.recovered = mode.is_some() || !unfinished;
                let again_at = (failure.kind != Kind::Impossible).then(|| Instant::now() + self.retry.wait());
                let again = again_at.map_or("not tried again until something else is wanted".to_owned(), |moment| {
                    format!("tried again in {} s", moment.saturating_duration_since(Instant::now()).as_secs())
                });
                let what = mode.map_or("what an earlier agent began".to_owned(), |mode| format!("mode `{mode}`"));
                let hint = failure.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
                let note = format!("{what}: {failure}; {again}{hint}");
                tracing::error!("{note}");
                self.tell(&node, Reason::CcModeFailed, note);
                self.failed = Some(Failed { mode, kind: failure.kind, again_at });
            }
        }
    }

    /// Plans a new count if what this node says, or a configuration that holds for it, is another one than before.
    fn plan_count(&mut self, picture: &Picture, node: &NodeView) {
        let ours = [labels::MODE_STATE, labels::NODE_STATE];
        let says: Labels = node
            .labels
            .iter()
            .filter(|(label, _)| ours.contains(&label.as_str()))
            .map(|(a, b)| (a.clone(), b.clone()))
            .collect();
        let holding = wish::holding(&node.labels, picture.configurations.values());
        let generation = |name: &String| picture.configurations.get(name).and_then(|object| object.metadata.generation);
        let holding: Vec<(String, Option<i64>)> =
            holding.into_iter().map(|name| (name.clone(), generation(&name))).collect();
        let said = Some((says, holding));
        if said != self.said {
            self.said = said;
            self.count_at.get_or_insert_with(|| Instant::now() + somewhere_in(self.options.settle));
        }
    }

    async fn count(&mut self) {
        self.count_at = None;
        let names: Vec<String> = self.said.iter().flat_map(|(_, names)| names).map(|(name, _)| name.clone()).collect();
        for name in names {
            match conditions::publish(&self.client, &name).await {
                Ok(()) => {}
                Err(CallError::Never(error)) => tracing::warn!(name, error, "the status of a configuration is refused"),
                Err(CallError::Later(error)) => {
                    tracing::debug!(name, error, "the status of a configuration is counted again");
                    let wait = self.options.settle.max(Duration::from_secs(1)) + somewhere_in(self.options.settle);
                    self.count_at = Some(Instant::now() + wait);
                }
            }
        }
    }
}
