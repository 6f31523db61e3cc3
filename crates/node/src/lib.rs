//! The node agent: what a worker node can do for confidential pods.
//!
//! This first part answers one question: which features has this machine ([`features`]), and why not the others? The
//! rest of the agent is not written yet: it installs no runtime, switches no GPU's mode, binds no device to VFIO, serves
//! no device plugin and writes no label to an API server.
//!
//! It must never be trusted: it runs on the host, as the host. A node that lies about a feature loses pods to a
//! start-up failure; it gains no secret, because no secret rests on a label.
//!
//! It reads what the kernel shows under a root folder, so tests give it a machine made of files, and it never writes.

pub mod agent;
pub mod cdi;
pub mod features;
pub mod plugin;
pub mod runtime;

pub use gpu::{Machine, ReadError};
