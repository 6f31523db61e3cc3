//! The state of a pod, and the words in which `ps` shows it: those of kubectl.

use std::net::Ipv4Addr;
use std::time::Instant;

use serde_json::Value;

use crate::agent_api::AgentErrorCode;
use crate::control::{ContainerStatus, PodStatus};

/// The state of one container.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// Not running, for this reason.
    Waiting(&'static str),
    Running,
    /// Ended with this status.
    Terminated(i32),
}

/// One container of a pod.
#[derive(Clone, Debug)]
pub(super) struct Container {
    pub(super) name: String,
    pub(super) init: bool,
    /// An init container with `restartPolicy: Always`.
    pub(super) sidecar: bool,
    pub(super) id: Option<String>,
    pub(super) state: State,
    /// Its startup probe has succeeded, or it runs and has none.
    pub(super) started: bool,
    pub(super) ready: bool,
    pub(super) restarts: u32,
    pub(super) exit_status: Option<i32>,
    pub(super) message: Option<String>,
    /// What the agent said last, when it did not do what it was asked.
    pub(super) refused: Option<AgentErrorCode>,
    pub(super) started_after_ms: Option<u64>,
    pub(super) ready_after_ms: Option<u64>,
}

/// The state of a pod.
#[derive(Clone, Debug)]
pub(super) struct PodState {
    pub(super) created: Instant,
    pub(super) ip: Option<Ipv4Addr>,
    /// A status of the whole pod that goes before its containers': `Terminating`, `CreatePodSandboxError`.
    pub(super) overall: Option<&'static str>,
    pub(super) reason: Option<String>,
    /// Every init container has done its work.
    pub(super) initialised: bool,
    pub(super) containers: Vec<Container>,
    /// How often the pod as a whole was started again.
    pub(super) crashes: u32,
    /// It has ended for good: whether all went well.
    pub(super) finished: Option<bool>,
}

impl PodState {
    /// The state of a pod that is about to be started.
    pub(super) fn new(pod: &Value) -> Self {
        let containers = |field: &str, init: bool| {
            let list = pod["spec"][field].as_array().cloned().unwrap_or_default();
            list.into_iter().map(move |container| Container {
                name: container["name"].as_str().unwrap_or_default().to_owned(),
                init,
                sidecar: init && container["restartPolicy"] == "Always",
                id: None,
                state: State::Waiting(if init { "PodInitializing" } else { "ContainerCreating" }),
                started: false,
                ready: false,
                restarts: 0,
                exit_status: None,
                message: None,
                refused: None,
                started_after_ms: None,
                ready_after_ms: None,
            })
        };
        Self {
            created: Instant::now(),
            ip: None,
            overall: None,
            reason: None,
            initialised: false,
            containers: containers("initContainers", true).chain(containers("containers", false)).collect(),
            crashes: 0,
            finished: None,
        }
    }

    /// Forgets what a crash took away; counts stay.
    pub(super) fn reset(&mut self) {
        self.ip = None;
        self.initialised = false;
        for container in &mut self.containers {
            container.id = None;
            container.started = false;
            container.ready = false;
            container.state = State::Waiting("PodInitializing");
        }
    }

    /// Milliseconds since the pod was created.
    pub(super) fn age_ms(&self) -> u64 {
        u64::try_from(self.created.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The containers that stay: those that `ps` counts.
    fn lasting(&self) -> impl Iterator<Item = &Container> {
        self.containers.iter().filter(|container| !container.init || container.sidecar)
    }

    pub(super) fn is_ready(&self) -> bool {
        self.overall.is_none() && self.initialised && self.lasting().all(|container| container.ready)
    }

    /// The one word.
    pub(super) fn status(&self) -> String {
        if let Some(overall) = self.overall {
            return overall.into();
        }
        if let Some(finished) = self.finished {
            return if finished { "Completed" } else { "Error" }.into();
        }
        if !self.initialised {
            let init: Vec<_> = self.containers.iter().filter(|container| container.init).collect();
            if init.is_empty() {
                return "ContainerCreating".into();
            }
            let done = |container: &&&Container| match container.state {
                State::Terminated(status) => status == 0,
                State::Running => container.sidecar && container.started,
                State::Waiting(_) => false,
            };
            let count = init.iter().take_while(done).count();
            let detail = init.get(count).and_then(|container| match container.state {
                State::Waiting("PodInitializing" | "ContainerCreating") | State::Running => None,
                State::Waiting(reason) => Some(reason.to_owned()),
                State::Terminated(_) => Some("Error".to_owned()),
            });
            return detail.map_or_else(|| format!("Init:{count}/{}", init.len()), |detail| format!("Init:{detail}"));
        }
        let mains = || self.containers.iter().filter(|container| !container.init);
        for container in mains() {
            match container.state {
                State::Waiting(reason) => return reason.into(),
                State::Terminated(status) if status != 0 => return "Error".into(),
                _ => {}
            }
        }
        let completed = mains().all(|container| matches!(container.state, State::Terminated(_)));
        if completed { "Completed" } else { "Running" }.into()
    }

    /// Why it is not running: the pod's own reason, or the first of its containers'.
    pub(super) fn why(&self) -> Option<String> {
        self.reason.clone().or_else(|| {
            let waiting = |container: &&Container| !matches!(container.state, State::Running);
            self.containers.iter().filter(waiting).find_map(|container| container.message.clone())
        })
    }

    /// The pod as callers see it.
    pub(super) fn shown(&self, name: &str, owner: &str, identity: &str, node: &str) -> PodStatus {
        let ready = self.lasting().filter(|container| container.ready).count();
        let restarts = self.containers.iter().map(|container| container.restarts).sum::<u32>() + self.crashes;
        let containers = self.containers.iter().map(|container| ContainerStatus {
            name: container.name.clone(),
            id: container.id.clone(),
            init: container.init,
            state: match container.state {
                State::Waiting(reason) => reason.to_owned(),
                State::Running => "Running".to_owned(),
                State::Terminated(_) => "Terminated".to_owned(),
            },
            ready: container.ready,
            restarts: container.restarts,
            exit_status: container.exit_status,
            message: container.message.clone(),
            started_after_ms: container.started_after_ms,
            ready_after_ms: container.ready_after_ms,
        });
        PodStatus {
            name: name.to_owned(),
            owner: owner.to_owned(),
            ready: format!("{ready}/{}", self.lasting().count()),
            is_ready: self.is_ready(),
            status: self.status(),
            restarts,
            age_seconds: self.age_ms() / 1000,
            ip: self.ip,
            node: node.to_owned(),
            identity: identity.to_owned(),
            reason: self.why(),
            containers: containers.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod() -> PodState {
        PodState::new(&json!({"spec": {
            "initContainers": [{"name": "init"}, {"name": "mesh", "restartPolicy": "Always"}],
            "containers": [{"name": "main"}]
        }}))
    }

    type Change = fn(&mut PodState);

    #[test]
    fn the_status_is_what_kubectl_would_say() {
        let cases: [(&str, &str, Change); 12] = [
            ("Init:0/2", "0/2", |_| ()),
            ("Init:0/2", "0/2", |p| p.containers[0].state = State::Running),
            ("Init:CrashLoopBackOff", "0/2", |p| p.containers[0].state = State::Waiting("CrashLoopBackOff")),
            ("Init:Error", "0/2", |p| p.containers[0].state = State::Terminated(1)),
            ("Init:1/2", "0/2", |p| p.containers[0].state = State::Terminated(0)),
            ("Init:ErrImagePull", "0/2", |p| {
                p.containers[0].state = State::Terminated(0);
                p.containers[1].state = State::Waiting("ErrImagePull");
            }),
            ("ContainerCreating", "1/2", |p| {
                p.initialised = true;
                p.containers[1].ready = true;
            }),
            ("Running", "1/2", |p| {
                p.initialised = true;
                p.containers[1].ready = true;
                p.containers[2].state = State::Running;
            }),
            ("CrashLoopBackOff", "0/2", |p| {
                p.initialised = true;
                p.containers[2].state = State::Waiting("CrashLoopBackOff");
            }),
            ("Completed", "0/2", |p| {
                p.initialised = true;
                p.containers[2].state = State::Terminated(0);
            }),
            ("Terminating", "0/2", |p| p.overall = Some("Terminating")),
            ("Error", "0/2", |p| p.finished = Some(false)),
        ];
        for (status, ready, change) in cases {
            let mut state = pod();
            change(&mut state);
            assert_eq!(state.status(), status);
            assert_eq!(state.shown("p", "", "", "").ready, ready, "{status}");
        }
    }

    #[test]
    fn a_pod_is_ready_when_all_that_stays_is() {
        let mut state = pod();
        state.initialised = true;
        state.containers[2].ready = true;
        assert!(!state.is_ready());
        state.containers[1].ready = true;
        assert!(state.is_ready());
        state.overall = Some("Terminating");
        assert!(!state.is_ready());
    }
}
