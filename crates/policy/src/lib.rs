//! From ordinary Kubernetes YAML to a policy that binds everything, and the decisions of that policy.
//!
//! - [`generate()`] pins images, injects initializer and mesh, and writes policy, initdata and manifest.
//! - [`request`] is what kubelet, containerd and the Kata shim make of a pod. The generator derives the expected values
//!   from it and the local engine's shim makes its requests with it, so that there is one place for templates.
//! - [`evaluate`] decides the requests of a Kata agent with the embedded rules and says why one is refused.
//! - [`describe`] says in words what a policy lets a pod do, and what changed between two.
//! - [`images`] resolves images to digests and reads their configuration and users.
//!
//! This crate never starts anything and touches no network beyond the registry client. The decision on a request is
//! always the Rego policy's; Rust code only explains it.

#[cfg(test)]
mod corpus;
pub mod describe;
pub mod evaluate;
mod explain;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod generate;
pub mod images;
mod policy_data;
pub mod request;
mod yaml;

pub use evaluate::{Decision, PolicyEngine};
pub use generate::{Gathered, GenerateError, GenerateOptions, Report, gather, generate};
