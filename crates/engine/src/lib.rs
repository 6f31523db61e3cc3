//! The local engine (design, section 11): runs generated resources on one machine with no cluster and no TEE hardware.
//!
//! It provides what a cluster would: a node (network, services, probes, restarts), a TEE that measures and launches
//! pods, and in every pod an agent that asks the policy before it does anything. Each is a process of its own, started
//! from the one executable as `casemate engine <role>`:
//!
//! | role | stands for | trusted |
//! |---|---|---|
//! | `supervise` | kubelet, containerd, shim, kube-proxy | no |
//! | `tee` | the processor: measures a pod's agent, signs reports | yes, by the engine's root key alone: INSECURE |
//! | `agent` | the guest of one pod | yes, once measured |
//!
//! The sockets between them are documented types, [`agent_api`], [`tee_api`] and [`control`], because a hostile host
//! speaks them too: whoever is root on this machine may, and the agent must refuse what the policy does not allow.
//!
//! It must never let `supervise` hand anything to a pod that the agent did not put to the policy first, and it must
//! never be mistaken for protection: everything here rests on a key that lies in the work folder (promise P8).
//!
//! Decision 0006 says why a pod is a tree of namespaces with the agent as its first process.

mod agent;
pub mod agent_api;
mod cleanup;
pub mod client;
pub mod control;
pub mod error;
pub mod frame;
pub mod identity;
mod launcher;
pub mod memory;
pub mod paths;
mod process;
pub mod role;
pub mod shim;
mod supervise;
mod tee;
pub mod tee_api;
mod threads;

pub use client::{
    Event, LogOptions, UpOptions, UpReport, attach_netns, detach_netns, down, events, kill_pod, logs, memory_report,
    ps, scale, services, up, wait_ready,
};
pub use control::{PodStatus, ServiceStatus};
pub use error::EngineError;
pub use identity::{EngineIdentity, identity, known_identity};
pub use memory::ProcessMemory;
pub use paths::Paths;
