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
use super::device::{Change, Devices, Failure, Kind, Observed};
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
        changed: false,
        unproven: false,
        failed: None,
        told_failure: None,
        refused: None,
        left: BTreeSet::new(),
        applied_features: None,
        applied_modes: None,
        said: None,
        held_before: BTreeSet::new(),
        refused_features: None,
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
    /// What was wanted then; another wish is tried at once.
    wanted: Option<CcMode>,
    kind: Kind,
    again_at: Instant,
}

/// The labels that a status counts, and the configurations that hold, with their generations.
type Said = (Labels, Vec<(String, Option<i64>)>);

/// What a thread is doing to the devices.
struct Work {
    /// `None`: ending what was begun before.
    change: Option<CcMode>,
    wanted: Option<CcMode>,
    begun: Instant,
    task: JoinHandle<Result<Done, Failure>>,
}

/// What came of it.
enum Done {
    Changed,
    /// What was begun before has ended.
    Recovered,
    /// There was nothing to end.
    Nothing,
}

/// What a thread is to do to the devices.
enum Begin {
    Change { to: Change, wanted: Option<CcMode>, why: String },
    Recovery(Option<Change>),
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
    /// Whether nothing that was begun is left to be ended.
    recovered: bool,
    /// Whether a change of ours has ended since the devices were looked at.
    changed: bool,
    /// Whether the last change failed and no later one proved where the devices are. Until then the node is not ready,
    /// whatever they show, and the device plugin grants nothing.
    unproven: bool,
    failed: Option<Failed>,
    /// The failure that was told last: one that comes again is not told again.
    told_failure: Option<String>,
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
    /// Configurations that held before and whose status still counts this node.
    held_before: BTreeSet<String>,
    /// Labels of features that the API server refused, told once.
    refused_features: Option<Labels>,
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

async fn done(work: &mut Option<Work>) -> Result<Done, Failure> {
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
            let retry = self.failed.as_ref().map(|failed| failed.again_at);
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
            Ok(Ok(observed)) => {
                let before = self.observed.replace(observed).map(|before| before.modes);
                let now = self.observed.as_ref().map(|observed| &observed.modes);
                // Not by a change of ours: then nobody has proven where the devices are.
                self.unproven |= !self.changed && before.is_some() && before.as_ref() != now;
                self.changed = false;
            }
            Ok(Err(error)) => tracing::warn!(error, "the machine could not be looked at"),
            Err(error) => tracing::error!(%error, "looking at the machine ended in a panic"),
        }
    }

    /// Brings the node up to date, and begins a change if one is due.
    async fn reconcile(&mut self) -> Result<(), CallError> {
        let picture = self.picture.borrow_and_update().clone();
        self.metrics.synced(picture.is_whole());
        if picture.is_whole() && picture.node.is_none() && self.said.is_some() {
            // The node is gone, and with it whoever would count it out.
            self.held_before.extend(self.said.take().into_iter().flat_map(|(_, names)| names).map(|(name, _)| name));
            self.count_at.get_or_insert_with(|| Instant::now() + somewhere_in(self.options.settle));
        }
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
        let settings = wish::decide(
            &node.labels,
            picture.configurations.values(),
            picture.policy(),
            observed.host_is_confidential,
        );
        let wanted = match &settings.mode {
            Wish::Mode { mode, .. } => Some(*mode),
            Wish::AsIs | Wish::Refused(_) => None,
        };
        if self.failed.as_ref().is_some_and(|failed| failed.wanted != wanted) {
            // Something else is wanted now.
            self.failed = None;
            self.retry.reset();
        }
        let change = |mode| Change { mode, vfio: settings.vfio, when_in_use: settings.when_in_use };
        if !self.recovered {
            if self.failed.is_none() {
                self.begin(Begin::Recovery(wanted.map(change)), &node);
            }
            return Ok(());
        }
        self.options.told.send_if_modified(|told| {
            let differs = told.as_ref() != Some(&settings);
            if differs {
                *told = Some(settings.clone());
            }
            differs
        });
        let wish = settings.mode.clone();
        self.metrics.mode(match observed.modes.state() {
            Some(labels::ModeState::Mode(mode)) => Some(mode),
            _ => None,
        });
        self.tell_refusal(&node, &wish);
        let state = observed.modes.state();
        // After a failure the devices are asked once more, also at the mode that they were brought back to.
        let goal = match (&wish, state) {
            (Wish::Mode { mode, .. }, Some(state)) if state != labels::ModeState::Mode(*mode) => Some(*mode),
            (Wish::Mode { mode, .. }, Some(_)) if self.unproven => Some(*mode),
            (Wish::AsIs | Wish::Refused(_), Some(labels::ModeState::Mode(mode))) if self.unproven => Some(mode),
            _ => None,
        };
        let phase = match (goal, &self.failed) {
            (Some(_), Some(failed)) => match failed.kind {
                Kind::Impossible => Phase::Refused,
                Kind::GivenUp | Kind::Failed => Phase::Failed,
                Kind::Waiting | Kind::Interrupted => Phase::Changing,
            },
            (Some(mode), None) => {
                let seen = self.wanted_since.filter(|(wanted, _)| *wanted == mode).map(|(_, since)| since);
                let since = seen.unwrap_or_else(Instant::now);
                self.wanted_since = Some((mode, since));
                let why = match &wish {
                    Wish::Mode { mode: wanted, source } if state != Some(labels::ModeState::Mode(*wanted)) => {
                        format!("{source} wants `{mode}`")
                    }
                    _ => "the last change failed, and they are asked once more".to_owned(),
                };
                self.begin(Begin::Change { to: change(mode), wanted, why }, &node);
                self.metrics.wish_delay(since.elapsed());
                Phase::Changing
            }
            (None, _) => {
                self.wanted_since = None;
                match (&wish, state) {
                    (Wish::Refused(_), _) => Phase::Refused,
                    // Devices that are not at one mode are nobody's wish.
                    (Wish::AsIs, Some(labels::ModeState::Failed)) => Phase::Failed,
                    _ => {
                        self.failed = None;
                        Phase::Settled
                    }
                }
            }
        };
        self.metrics.phase(phase);
        if phase != Phase::Changing {
            let said = if self.unproven { state.map(|_| labels::ModeState::Failed) } else { state };
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
        let wanted = observed.features.clone();
        let mut different = labels::differences(&node.labels, &wanted, |_| false);
        // What another holds is left to it, until it lets go.
        different.retain(|label| !self.left.contains(label) || !node.labels.contains_key(label));
        let changed = self.applied_features.as_ref() != Some(&wanted);
        if different.is_empty() && !changed {
            return Ok(());
        }
        let applied = match self.node.apply(FEATURES, &node.uid, &wanted, OnConflict::Leave).await {
            Ok(applied) => applied,
            // Labels of features are a courtesy to the scheduler; modes are not to wait for an administrator to mend
            // what refuses them.
            Err(CallError::Never(why)) => {
                if self.refused_features.as_ref() != Some(&wanted) {
                    tracing::warn!(why, "the labels of features are refused");
                    self.refused_features = Some(wanted);
                }
                return Ok(());
            }
            Err(later) => return Err(later),
        };
        self.refused_features = None;
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

    fn begin(&mut self, what: Begin, node: &NodeView) {
        let (devices, mut hands) = (Arc::clone(&self.devices), self.hands.clone());
        let (change, wanted) = match &what {
            Begin::Change { to, wanted, why } => {
                tracing::info!(mode = %to.mode, why, "a change of mode begins");
                self.metrics.phase(Phase::Changing);
                if self.told_failure.is_none() {
                    let note = format!("changing all devices to `{}`: {why}", to.mode);
                    self.tell(node, Reason::CcModeChanging, note);
                }
                (Some(to.mode), *wanted)
            }
            Begin::Recovery(wanted) => (None, wanted.map(|change| change.mode)),
        };
        self.applied_modes = None;
        let task = spawn_blocking(move || match what {
            Begin::Change { to, .. } => devices.change(to, &mut hands).map(|()| Done::Changed),
            Begin::Recovery(wanted) => {
                Ok(if devices.recover(wanted, &mut hands)? { Done::Recovered } else { Done::Nothing })
            }
        });
        self.work = Some(Work { change, wanted, begun: Instant::now(), task });
    }

    async fn end_work(&mut self, result: Result<Done, Failure>) {
        let Some(work) = self.work.take() else { return };
        let node = self.picture.borrow().node.clone().unwrap_or_default();
        let took = work.begun.elapsed();
        // What is said next is read from the devices, not from the result.
        self.changed = true;
        self.observe().await;
        if let Some(mode) = work.change.or(work.wanted).filter(|_| !matches!(result, Ok(Done::Nothing))) {
            let outcome = result.as_ref().map_or_else(|failure| failure.kind.name(), |_| "changed");
            self.metrics.change(mode, outcome, took);
        }
        let failure = match result {
            Ok(done) => {
                self.recovered = true;
                self.unproven = false;
                self.retry.reset();
                self.wanted_since = None;
                self.told_failure = None;
                let seconds = took.as_secs_f64();
                match (done, work.change) {
                    (Done::Changed, Some(mode)) => {
                        let note = format!("all devices are in mode `{mode}` ({seconds:.1} s)");
                        self.tell(&node, Reason::CcModeChanged, note);
                    }
                    (Done::Recovered, _) => {
                        let note = format!("a change that was begun before has ended ({seconds:.1} s)");
                        self.tell(&node, Reason::CcModeRecovered, note);
                    }
                    (Done::Changed | Done::Nothing, _) => {}
                }
                return;
            }
            Err(failure) => failure,
        };
        self.recovered = !failure.kind.is_unfinished();
        match failure.kind {
            Kind::Failed => self.unproven = true,
            // The node was given back to service at the mode that it had.
            Kind::GivenUp => self.unproven = false,
            Kind::Impossible | Kind::Waiting | Kind::Interrupted => {}
        }
        let wait = match failure.kind {
            // Other devices would make a difference, and they are looked for now and then.
            Kind::Impossible => self.options.retry.1,
            // It only looks who is still there.
            Kind::Waiting => self.options.retry.0,
            _ => self.retry.wait(),
        };
        let what = match work.change {
            Some(mode) => format!("mode `{mode}`"),
            None => "a change that was begun before".to_owned(),
        };
        let hint = failure.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
        let told = format!("{what}: {failure}{hint}");
        let note = format!("{told}; tried again in {} s", wait.as_secs());
        tracing::error!("{note}");
        if self.told_failure.as_ref() != Some(&told) {
            self.tell(&node, Reason::CcModeFailed, note);
            self.told_failure = Some(told);
        }
        self.failed = Some(Failed { wanted: work.wanted, kind: failure.kind, again_at: Instant::now() + wait });
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
            // Those that no longer hold here still count this node until somebody counts again.
            let before = self.said.take().into_iter().flat_map(|(_, names)| names).map(|(name, _)| name);
            self.held_before.extend(before);
            self.said = said;
            self.count_at.get_or_insert_with(|| Instant::now() + somewhere_in(self.options.settle));
        }
    }

    async fn count(&mut self) {
        self.count_at = None;
        let holding = self.said.iter().flat_map(|(_, names)| names).map(|(name, _)| name.clone());
        let names: BTreeSet<String> = holding.chain(std::mem::take(&mut self.held_before)).collect();
        for name in names {
            match conditions::publish(&self.client, &name).await {
                Ok(()) => {}
                Err(CallError::Never(error)) => tracing::warn!(name, error, "the status of a configuration is refused"),
                Err(CallError::Later(error)) => {
                    tracing::debug!(name, error, "the status of a configuration is counted again");
                    self.held_before.insert(name.clone());
                    let wait = self.options.settle.max(Duration::from_secs(1)) + somewhere_in(self.options.settle);
                    self.count_at = Some(Instant::now() + wait);
                }
            }
        }
    }
}
