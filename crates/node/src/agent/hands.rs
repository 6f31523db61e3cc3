//! What a change of modes does in the cluster: [`Hands`] over the API server.
//!
//! A call returns once the API server has what was to be written, or with an error after a while; a change that cannot
//! say `not ready` does not begin.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, pin_mut};
use gpu::Mode;
use gpu::transition::{Hands, HandsError, Paused, Record, State};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, ResourceExt as _};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;

use super::backoff::Backoff;
use super::client::{CallError, call};
use super::device::HandsFailure;
use super::events::{Events, Reason};
use super::labels::{self, ModeState, NEITHER, Phase};
use super::metrics::Metrics;
use super::pause;
use super::wish::Labels;
use super::write::{Applied, MODES, NodeLabels, OnConflict};

/// What names of resources of devices begin with, whoever's plugin offers them.
const DEVICES: &str = "nvidia.com/";
/// LIMIT: pods are listed in pages of this many; a node has 110 by default.
const PODS: u32 = 500;

/// How long the cluster is waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Patience {
    /// For one write to be taken.
    pub write: Duration,
    /// For the pods of all paused components together to be gone. The operator's manager waits as long for each.
    pub pods: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { write: Duration::from_secs(120), pods: Duration::from_secs(300) }
    }
}

/// The hands of one node.
#[derive(Clone)]
pub struct ClusterHands {
    client: Client,
    node: String,
    labels: NodeLabels,
    events: Events,
    metrics: Arc<Metrics>,
    patience: Patience,
    runtime: Handle,
    ending: watch::Receiver<bool>,
}

/// Called where a change of modes is carried on: not on the runtime's own threads, since every call blocks.
impl Hands for ClusterHands {
    fn not_ready(&mut self, _wish: Mode) -> Result<(), HandsError> {
        Ok(self.runtime.block_on(self.say_not_ready())?)
    }

    fn pause(&mut self) -> Result<Paused, HandsError> {
        let gone = self.runtime.block_on(async {
            self.rewrite("the pause of components", pause::pause).await?;
            match self.wait_for_pods().await? {
                Paused::Gone => self.pods_with_devices().await,
                still_there @ Paused::StillThere(_) => Ok(still_there),
            }
        });
        Ok(gone?)
    }

    fn restore(&mut self) -> Result<(), HandsError> {
        self.runtime.block_on(self.resume_components())?;
        Ok(())
    }

    fn publish(&mut self, state: &State) -> Result<(), HandsError> {
        let (phase, state) = match state.mode() {
            Some(mode) => (Phase::Settled, ModeState::Mode(mode.into())),
            None => (Phase::Failed, ModeState::Failed),
        };
        self.runtime.block_on(self.say(&labels::of_modes(phase, Some(state))))?;
        Ok(())
    }

    fn progress(&mut self, record: &Record) {
        tracing::info!(step = %record.step, wish = %record.wish, heading = ?record.heading, "a change goes on");
    }
}

impl ClusterHands {
    /// The hands for a node. `ending` turns true when the agent is to end: waiting then stops.
    pub fn new(
        client: Client,
        node: &str,
        metrics: Arc<Metrics>,
        patience: Patience,
        ending: watch::Receiver<bool>,
    ) -> Self {
        Self {
            labels: NodeLabels::new(client.clone(), node),
            events: Events::new(client.clone(), node, Arc::clone(&metrics)),
            node: node.to_owned(),
            client,
            metrics,
            patience,
            runtime: Handle::current(),
            ending,
        }
    }

    /// Writes the labels of modes, and takes them from whoever else holds them: two who write about readiness cannot
    /// both be right, and ours is read from the devices.
    pub async fn say(&self, wanted: &Labels) -> Result<Labels, HandsFailure> {
        let applied: Applied = self
            .until_taken("the labels of the mode", || async {
                let read = self.labels.read().await?;
                let uid = read.metadata.uid.unwrap_or_default();
                let applied = self.labels.apply(MODES, &uid, wanted, OnConflict::Take).await?;
                Ok((applied, uid))
            })
            .await
            .map(|(applied, uid)| {
                self.tell_conflicts(&uid, &applied, "taken");
                applied
            })?;
        Ok(applied.labels)
    }

    /// Says, in an event and a metric, which labels others hold.
    pub fn tell_conflicts(&self, uid: &str, applied: &Applied, done: &'static str) {
        for conflict in &applied.conflicts {
            self.metrics.conflict(done);
            let note =
                format!("label `{}` is held by `{}` with another value: {done}", conflict.label, conflict.manager);
            tracing::warn!("{note}");
            let (events, uid) = (self.events.clone(), uid.to_owned());
            // An event must not hold up what it is about.
            self.runtime.spawn(async move { events.write(Some(uid), Reason::LabelConflict, &note).await });
        }
    }

    async fn say_not_ready(&self) -> Result<(), HandsFailure> {
        let read = self.until_taken("reading the node", || self.labels.read()).await?;
        let node = read.metadata.labels.unwrap_or_default();
        let state = ModeState::of(&node);
        let mut wanted = labels::of_modes(Phase::Changing, state);
        // Also on a node that said nothing about its mode so far.
        wanted.insert(labels::READY_STATE.to_owned(), NEITHER.to_owned());
        let said = self.say(&wanted).await?;
        match said.get(labels::READY_STATE).map(String::as_str) {
            Some(NEITHER) => Ok(()),
            other => Err(HandsFailure::Refused {
                what: "not ready",
                why: format!("the node says `{}={}` all the same", labels::READY_STATE, other.unwrap_or("(nothing)")),
            }),
        }
    }

    /// Lets paused components go on; says how many.
    pub async fn resume_components(&self) -> Result<usize, HandsFailure> {
        self.rewrite("the resumption of components", |node| Ok(pause::restore(node))).await
    }

    async fn rewrite(
        &self,
        what: &'static str,
        changes: impl Fn(&Labels) -> Result<Vec<pause::Change>, pause::NoRoom>,
    ) -> Result<usize, HandsFailure> {
        let done = self
            .until_taken(what, || async {
                let read = self.labels.read().await?;
                match changes(&read.metadata.labels.clone().unwrap_or_default()) {
                    Ok(changes) => self.labels.rewrite(&read, &changes).await.map(|()| Ok(changes.len())),
                    Err(no_room) => Ok(Err(no_room)),
                }
            })
            .await?;
        Ok(done?)
    }

    /// Waits until no pod of a paused component is on the node. Which pods those are is asked of the pods: a
    /// DaemonSet's pods carry its node selector, whatever else they are labelled with.
    async fn wait_for_pods(&self) -> Result<Paused, HandsFailure> {
        let read = self.until_taken("reading the node", || self.labels.read()).await?;
        let paused = pause::paused(&read.metadata.labels.unwrap_or_default());
        if paused.is_empty() {
            return Ok(Paused::Gone);
        }
        let api: Api<Pod> = Api::all(self.client.clone());
        let config = watcher::Config::default().fields(&format!("spec.nodeName={}", self.node));
        let events = watcher(api, config);
        pin_mut!(events);
        let mut running = BTreeSet::new();
        let mut listed = false;
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(10));
        let deadline = Instant::now() + self.patience.pods;
        let mut ending = self.ending.clone();
        loop {
            if listed && running.is_empty() {
                return Ok(Paused::Gone);
            }
            let event = tokio::select! {
                event = events.next() => event,
                () = tokio::time::sleep_until(deadline) => break,
                _ = ending.wait_for(|ending| *ending) => return Err(HandsFailure::Ending),
            };
            match event {
                Some(Ok(Event::Init)) => (listed, running) = (false, BTreeSet::new()),
                Some(Ok(Event::InitDone)) => listed = true,
                Some(Ok(Event::Apply(pod) | Event::InitApply(pod))) => {
                    let name = format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any());
                    if is_of(&pod, &paused) {
                        running.insert(name)
                    } else {
                        running.remove(&name)
                    };
                }
                Some(Ok(Event::Delete(pod))) => {
                    running.remove(&format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any()));
                }
                Some(Err(_)) | None => tokio::time::sleep(backoff.wait()).await,
            }
        }
        if !listed {
            running.insert("(the pods of this node could not be listed)".to_owned());
        }
        Ok(Paused::StillThere(running.into_iter().collect()))
    }

    /// Whether a pod that is bound to the node was given a device, and may not have opened it yet: it is seen nowhere
    /// among the machine's processes. The device plugin grants nothing by now, so there can be no new one.
    async fn pods_with_devices(&self) -> Result<Paused, HandsFailure> {
        let api: Api<Pod> = Api::all(self.client.clone());
        let pods = self
            .until_taken("reading the pods of the node", || async {
                let mut params = ListParams::default().fields(&format!("spec.nodeName={}", self.node)).limit(PODS);
                let mut found = Vec::new();
                loop {
                    let page = call(api.list(&params)).await?;
                    found.extend(page.items.iter().filter_map(device_of));
                    match page.metadata.continue_.filter(|token| !token.is_empty()) {
                        Some(token) => params = params.continue_token(&token),
                        None => return Ok(found),
                    }
                }
            })
            .await?;
        Ok(if pods.is_empty() { Paused::Gone } else { Paused::StillThere(pods) })
    }

    /// Tries until the API server takes it, or refuses, or patience ends.
    async fn until_taken<T, F: Future<Output = Result<T, CallError>>>(
        &self,
        what: &'static str,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T, HandsFailure> {
        let deadline = Instant::now() + self.patience.write;
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
        let mut ending = self.ending.clone();
        loop {
            let last = match attempt().await {
                Ok(value) => return Ok(value),
                Err(CallError::Never(why)) => return Err(HandsFailure::Refused { what, why }),
                Err(CallError::Later(last)) => last,
            };
            let next = Instant::now() + backoff.wait();
            if next >= deadline {
                return Err(HandsFailure::ApiServer { what, seconds: self.patience.write.as_secs(), last });
            }
            tracing::debug!(what, error = last, "tried again");
            tokio::select! {
                () = tokio::time::sleep_until(next) => {}
                _ = ending.wait_for(|ending| *ending) => return Err(HandsFailure::Ending),
            }
        }
    }
}

/// A pod that has not ended and that asks for one of NVIDIA's devices, and which.
fn device_of(pod: &Pod) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let limits = containers.filter_map(|container| container.resources.as_ref()?.limits.as_ref()).flatten();
    let (resource, _) = limits.into_iter().find(|(name, many)| name.starts_with(DEVICES) && many.0 != "0")?;
    let name = format!("pod {}/{} ({resource})", pod.namespace().unwrap_or_default(), pod.name_any());
    (!has_ended(pod)).then_some(name)
}

fn has_ended(pod: &Pod) -> bool {
    let over = |phase: &String| phase == "Succeeded" || phase == "Failed";
    pod.status.as_ref().and_then(|status| status.phase.as_ref()).is_some_and(over)
}

/// Whether a pod belongs to one of these components and can still hold a device.
fn is_of(pod: &Pod, components: &[&str]) -> bool {
    let selector = pod.spec.as_ref().and_then(|spec| spec.node_selector.as_ref());
    !has_ended(pod)
        && selector.is_some_and(|selector| components.iter().any(|component| selector.contains_key(*component)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_with_a_device_is_one_that_asks_for_it_and_has_not_ended() {
        let pod = |kind: &str, resource: &str, many: &str, phase: &str| -> Pod {
            let containers = serde_json::json!([{"name": "c", "resources": {"limits": {resource: many, "cpu": "1"}}}]);
            let mut pod = serde_json::json!({
                "metadata": {"name": "p", "namespace": "n"}, "spec": {"containers": []}, "status": {"phase": phase},
            });
            pod["spec"][kind] = containers;
            serde_json::from_value(pod).expect("a pod")
        };
        let pgpu = "nvidia.com/pgpu";
        assert_eq!(device_of(&pod("containers", pgpu, "1", "Pending")).as_deref(), Some("pod n/p (nvidia.com/pgpu)"));
        assert!(device_of(&pod("initContainers", "nvidia.com/GH100_H100_SXM5_80GB", "8", "Running")).is_some());
        assert!(device_of(&pod("containers", "nvidia.com/gpu", "1", "")).is_some(), "another's plugin gave it");
        for none in [
            pod("containers", pgpu, "1", "Succeeded"),
            pod("containers", pgpu, "1", "Failed"),
            pod("containers", pgpu, "0", "Running"),
            pod("containers", "memory", "1Gi", "Running"),
            pod("containers", "example.com/nvidia.com", "1", "Running"),
            Pod::default(),
        ] {
            assert_eq!(device_of(&none), None);
        }
    }

    #[test]
    fn pods_are_known_by_the_selector_of_their_component() {
        let pod = |selector: &str, phase: &str| -> Pod {
            serde_json::from_value(serde_json::json!({
                "metadata": {"name": "p"},
                "spec": {"containers": [], "nodeSelector": {selector: "true"}},
                "status": {"phase": phase},
            }))
            .expect("a pod")
        };
        let components = ["nvidia.com/gpu.deploy.vfio-manager"];
        assert!(is_of(&pod("nvidia.com/gpu.deploy.vfio-manager", "Running"), &components));
        assert!(is_of(&pod("nvidia.com/gpu.deploy.vfio-manager", "Pending"), &components));
        assert!(!is_of(&pod("nvidia.com/gpu.deploy.vfio-manager", "Succeeded"), &components));
        assert!(!is_of(&pod("nvidia.com/gpu.deploy.driver", "Running"), &components));
        assert!(!is_of(&Pod::default(), &components));
    }
}
