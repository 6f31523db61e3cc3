//! The supervisor's socket: `/run/casemate/<id>/control.sock`, lines of JSON: one [`Request`], one [`Answer`]; to
//! [`Request::Events`] a stream of [`Event`]s.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::EngineError;

/// A request to the supervisor.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub enum Request {
    /// The pods.
    Ps,
    /// The services.
    Services,
    /// Sets the number of replicas of a deployment, replica set or stateful set.
    Scale {
        /// `NAME` or `KIND/NAME`.
        name: String,
        /// The wanted number.
        replicas: u32,
    },
    /// Kills every process of a pod at once, as a crash of its machine would.
    Kill {
        /// The pod.
        pod: String,
    },
    /// Waits until every pod is ready, or has completed.
    WaitReady {
        /// LIMIT of patience.
        milliseconds: u64,
    },
    /// Makes a network namespace with an address in the pod network: what a CNI does. For tests of hostile hosts.
    Attach {
        /// Names the attachment.
        name: String,
    },
    /// Removes it again.
    Detach {
        /// Its name.
        name: String,
    },
    /// Stops everything and answers when it is gone.
    Stop,
    /// What happened so far, and from now on.
    Events,
}

/// An answer of the supervisor.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// To `ps`.
    Pods(Vec<PodStatus>),
    /// To `services`.
    Services(Vec<ServiceStatus>),
    /// To `attach`.
    Attached(Attachment),
    /// Done.
    Done,
    /// Not done.
    Error(EngineError),
}

/// One pod, as `casemate ps` shows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PodStatus {
    /// Name.
    pub name: String,
    /// `KIND/NAME` of what the pod belongs to, or empty.
    pub owner: String,
    /// Ready containers of all, as `1/2`.
    pub ready: String,
    /// Whether the pod counts as ready.
    pub is_ready: bool,
    /// `Pending`, `Init:0/2`, `Running`, `Completed`, `CrashLoopBackOff`, `ErrImagePull`, `CreateContainerError`, …
    pub status: String,
    /// Restarts of all its containers.
    pub restarts: u32,
    /// Seconds since it was created.
    pub age_seconds: u64,
    /// Its address.
    pub ip: Option<Ipv4Addr>,
    /// The node: this engine.
    pub node: String,
    /// The digest of its initdata in hex: its identity.
    pub identity: String,
    /// Why it is not running, when it is not.
    pub reason: Option<String>,
    /// Its containers, init containers first.
    pub containers: Vec<ContainerStatus>,
}

/// One container of a pod.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ContainerStatus {
    /// Name.
    pub name: String,
    /// Its id in the agent's requests, once it was created.
    pub id: Option<String>,
    /// Whether it is an init container (a sidecar is one that stays).
    pub init: bool,
    /// `Waiting`, `Running`, `Terminated` or a reason such as `CrashLoopBackOff`.
    pub state: String,
    /// Whether it counts as ready.
    pub ready: bool,
    /// How often it was started again.
    pub restarts: u32,
    /// Its last exit status.
    pub exit_status: Option<i32>,
    /// Why it is not running, when it is not.
    pub message: Option<String>,
    /// Milliseconds from the creation of its pod to its start, for measurements.
    pub started_after_ms: Option<u64>,
    /// Milliseconds from the creation of its pod to its first readiness, for measurements.
    pub ready_after_ms: Option<u64>,
}

/// One service.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// Name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// `ClusterIP`, `LoadBalancer`, `NodePort`: locally all are an address of this machine.
    pub kind: String,
    /// The virtual address, reachable from the host and from pods.
    pub ip: Ipv4Addr,
    /// Ports.
    pub ports: Vec<ServicePort>,
    /// Ready pods behind it.
    pub endpoints: Vec<String>,
}

/// A port of a service.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ServicePort {
    /// Its name, or empty.
    pub name: String,
    /// The port.
    pub port: u16,
    /// `TCP` or `UDP`.
    pub protocol: String,
}

/// A network namespace with an address in the pod network.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Attachment {
    /// The namespace.
    pub netns: PathBuf,
    /// Its address.
    pub ip: Ipv4Addr,
}

/// Something that happened.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Event {
    /// Milliseconds since `up`.
    pub at_ms: u64,
    /// `pod/NAME`, `service/NAME` or `engine`.
    pub object: String,
    /// One word, as Kubernetes has it: `Scheduled`, `Pulled`, `Created`, `Started`, `Unhealthy`, `BackOff`, `Killing`.
    pub reason: String,
    /// A sentence.
    pub message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_single_lines_with_an_op() {
        let text = serde_json::to_string(&Request::Scale { name: "inference".into(), replicas: 3 }).unwrap();
        assert_eq!(text, r#"{"op":"scale","name":"inference","replicas":3}"#);
    }
}
