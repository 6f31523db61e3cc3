//! The node agent: what a worker node can do for confidential pods.
//!
//! What it does, each with a command of its own beside the agent that does all of it:
//!
//! | module | does | command |
//! |---|---|---|
//! | [`features`] | finds out what the machine can do, and why not the rest | `features` |
//! | [`status`] | shows devices, their modes and users, and the runtime | `status` |
//! | [`runtime`] | installs Kata bundles and tells containerd of them | `runtime` |
//! | [`plugin`], [`cdi`] | offers devices to the kubelet | `inventory`, `device-plugin` |
//! | [`agent`] | asks the cluster what the machine is to be, makes it so and says what it is | `agent` |
//!
//! Modes of GPUs, drivers and who holds a device are the crate [`gpu`]'s.
//!
//! It must never be trusted: it runs on the host, as the host. A node that lies about a feature loses pods to a
//! start-up failure; it gains no secret, because no secret rests on a label.
//!
//! The machine's files are read and written under a root folder, so tests give it a machine made of files.

pub mod agent;
pub mod cdi;
pub mod features;
pub mod lock;
pub mod plugin;
pub mod runtime;
pub mod status;

pub use gpu::{Machine, ReadError};
