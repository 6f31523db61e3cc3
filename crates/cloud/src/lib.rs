//! What Casemate is deployed with: the YAML and Terraform under `deploy/`, in the binary, and the steps of a deployment.
//!
//! | module | holds |
//! |---|---|
//! | [`files`] | `runtime-PLATFORM.yml` and `coordinator-PLATFORM.yml`, from the kustomize bases |
//! | [`gke`] | the Terraform of a cluster, with its variables filled in |
//! | [`steps`] | the commands of `casemate deploy`, in order, and the journal of those that are done |
//! | [`place`] | writing many files, all or none |
//!
//! Nothing in here starts a process or asks a network: [`steps`] says what is to run, and the command line runs it. It
//! must never hold a secret: what is written here goes into repositories and pipelines.

#![warn(missing_docs)]

pub mod files;
pub mod gke;
pub mod place;
pub mod steps;

/// The release that the embedded files are of.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
